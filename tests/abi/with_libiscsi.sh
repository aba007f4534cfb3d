#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: with_libiscsi.sh PROGRAM
set -eu
out=$(mktemp)
"$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target iqn.2026-11.example:both --lun ram:1M >"$out" &
pid=$!
trap 'kill $pid 2>/dev/null; rm -f "$out"' EXIT
n=0
until grep -q '^listening on ' "$out"; do
    n=$((n + 1))
    [ "$n" -lt 200 ] || { echo "the target does not start"; exit 1; }
    sleep 0.05
done
"$1" "$(sed -n 's/^listening on //p' "$out")" iqn.2026-11.example:both 0
