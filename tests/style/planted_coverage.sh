#!/bin/sh
# SPDX-License-Identifier: MIT
# The check of docs/rfc-coverage.md must fail for each kind of untruth.
# usage: planted_coverage.sh SOURCE-ROOT
set -eu
root=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cp -r "$root/src" "$root/tests" "$root/docs" "$tmp/"
table=$tmp/docs/rfc-coverage.md
# $tmp/out has what was said.
check() { python3 "$root/tools/check-coverage" "$tmp" >"$tmp/out"; }

if ! check; then
    cat "$tmp/out"
    echo "the check fails on the tree itself"
    exit 1
fi
# what is expected, file, sed program
plant() {
    cp "$2" "$tmp/kept"
    sed -i "$3" "$2"
    if check || ! grep -q "$1" "$tmp/out"; then
        echo "planted, and not said: $1"
        exit 1
    fi
    cp "$tmp/kept" "$2"
}
plant 'CSN-07 stands twice' "$table" 's/^| CSN-06 /| CSN-07 /'
plant 'CSN-06 is not in' "$table" '/^| CSN-06 /d'
plant 'iscsi/xmitt.c: no such file' "$table" 's,`iscsi/xmit.c`,`iscsi/xmitt.c`,'
plant 'no such test in it' "$table" 's/:closed_window_pushes_back/:closed_window_pushes/'
plant 'no such case' "$table" 's/hostile:window_closed/hostile:window_shut/'
plant 'the witness does not look for NPO-03' "$table" 's/`hostile:nop_storm`/`witness`/'
plant 'state finished' "$table" 's/| done | `iscsi/| finished | `iscsi/'
plant 'level R' "$table" '/^| CSN-06 /s/| M |/| R |/'
plant 'CSN-06 is a must, is done, and has no test' "$table" '/^| CSN-06 /s/|[^|]*|$/| – |/'
plant 'RSP-11 is a must, is done, and has no test' "$table" '/^| RSP-11 /s/|[^|]*|$/| – |/' # a must not
plant '7 columns' "$table" '/^| CSN-06 /s/| M |/|/'
plant 'xmit.c:.* is not in' "$tmp/src/iscsi/xmit.c" '$a /* CSN-9'9' */' # in two pieces: this file is looked at, too
check
# What nothing does yet may be without a test, and is counted; what is only advised may be, too.
counted() { check && sed -n 's/.*; \([0-9]*\) musts .*/\1/p' "$tmp/out"; }
before=$(counted)
sed -i '/^| CSN-06 /{s/| done |/| not yet |/;s/|[^|]*|$/| – |/};/^| DOU-05 /s/|[^|]*|$/| – |/' "$table"
[ "$(counted)" = $((before + 1)) ] && grep -q ' CSN-06' "$tmp/out" || { echo "an exception is not counted"; exit 1; }
