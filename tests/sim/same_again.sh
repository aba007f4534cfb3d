#!/bin/sh
# SPDX-License-Identifier: MIT
# The same seed is the same world, to the last byte and nanosecond: else no failure could be replayed.
# usage: same_again.sh LUNETTE-SIM COUNT [FIRST]
seed=${3:-1}
end=$((seed + $2))
while [ "$seed" -lt "$end" ]; do
    first=$("$1" --seed "$seed" 2>&1 | tail -n 1)
    again=$("$1" --seed "$seed" --trace 2>&1 | tail -n 1)
    if [ "$first" != "$again" ]; then
        echo "seed $seed is not the same world again:"
        echo "  $first"
        echo "  $again"
        exit 1
    fi
    case $first in *hash*) ;; *) echo "$first"; exit 1 ;; esac
    seed=$((seed + 1))
done
echo "$2 worlds were the same again, with a trace"
