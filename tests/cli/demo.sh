#!/bin/bash
# SPDX-License-Identifier: MIT
# demo.sh - the demo ends well, shows what it promises, and leaves nothing behind.
set -u
: "${LUNETTE_BIN:=$(dirname "$0")/../../build/bin}"
[[ -x $LUNETTE_BIN/lunette-target ]] || { echo "SKIP: lunette-target is not built"; exit 77; }
out=$(mktemp) || exit 1
trap 'rm -f "$out"' EXIT

# no program is needed but the two: there is nothing else in PATH
timeout 110 env PATH=/nonexistent "$LUNETTE_BIN/lunette" demo --size 8M < /dev/null > "$out" 2>&1
r=$?
bad=0
check() { grep -q -- "$1" "$out" || { echo "FAIL: '$1' is missing"; bad=1; }; }
[[ $r == 0 ]] || { echo "FAIL: exit code $r"; bad=1; }
check 'listening on 127.0.0.1:'
check 'CHAP mutual'
check 'header CRC32C, data CRC32C'
check 'null disk\|1 TiB'
check 'both sides are equal'
check 'no difference'
check 'randwrite'
check 'point it at your own target'
dir=$(sed -n 's/.*cd \(\/tmp\/lunette-demo-[^ ]*\).*/\1/p' "$out")
[[ -n $dir && ! -e $dir ]] || { echo "FAIL: $dir was left behind"; bad=1; }
port=$(sed -n 's/^listening on //p' "$out")
if timeout 5 "$LUNETTE_BIN/lunette" discover "$port" > /dev/null 2>&1; then
    echo "FAIL: the target is still there"
    bad=1
fi
[[ $bad == 0 ]] || tail -n 40 "$out"
exit $bad
