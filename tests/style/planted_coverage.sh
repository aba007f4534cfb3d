#!/bin/sh
# SPDX-License-Identifier: MIT
# The check of docs/rfc-coverage.md must notice each kind of untruth.
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

# What is only advised may be without a test.
cp "$table" "$tmp/kept"
sed -i '/^| DOU-05 /s/|[^|]*|$/| – |/' "$table"
if ! check; then
    cat "$tmp/out"
    echo "a test of what is only advised is asked for"
    exit 1
fi
cp "$tmp/kept" "$table"

# Each on a row of its own: what is expected, file, sed program
: >"$tmp/expected"
plant() {
    cp "$2" "$tmp/kept"
    sed -i "$3" "$2"
    if cmp -s "$2" "$tmp/kept"; then
        echo "nothing was planted for: $1"
        exit 1
    fi
    echo "$1" >>"$tmp/expected"
}
plant 'CSN-07 stands twice' "$table" 's/^| CSN-06 /| CSN-07 /'
plant 'CSN-08 is not in' "$table" '/^| CSN-08 /d'
plant 'iscsi/xmitt.c: no such file' "$table" '/^| CSN-03 /s,`iscsi/xmit.c`,`iscsi/xmitt.c`,'
plant 'no such test in it' "$table" '/^| CSN-21 /s/:closed_window_pushes_back/:closed_window_pushes/'
plant 'no such case' "$table" 's/hostile:window_stale/hostile:window_old/'
plant 'the witness does not look for NPO-03' "$table" 's/`hostile:nop_storm`/`witness`/'
plant 'state finished' "$table" '/^| CSN-22 /s/| done |/| finished |/'
plant 'level R' "$table" '/^| CSN-05 /s/| M |/| R |/'
plant 'CSN-04 is a must, is done, and has no test' "$table" '/^| CSN-04 /s/|[^|]*|$/| – |/'
plant 'RSP-11 is a must, is done, and has no test' "$table" '/^| RSP-11 /s/|[^|]*|$/| – |/' # a must not
plant 'RSP-07 is a must and has no test of side T' "$table" '/^| RSP-07 /s/, `target[^`]*`//2'
plant 'LGN-02 is a must and has no test of side I' "$table" '/^| LGN-02 /s/`\(login\|hostile\)[^`]*`, //g'
plant 'SSN-05 is a must, and nothing does it yet' "$table" '/^| SSN-05 /s/| done |/| not yet |/'
plant 'SNK-07 is a must and has no test of side I' "$table" '/^- SNK-07 (I)/d'
plant 'the reason as a sentence' "$table" 's/^- RSP-09 (I): .*/- RSP-09 (I): never./'
plant 'has a test of side I, so it applies' "$table" '/^- RSP-09/a - CSN-03 (I): there is a test, so that no reason is one at all, however long.'
plant 'ISR-03 is missing' "$table" '/^| ISR-03 /d'
plant 'ISR-04 is a must and has no test of side I' "$table" '/^| ISR-04 /s/`transport[^`]*test_[^`]*`, //g'
plant 'ISR-02 is a must and has no test of side T' "$table" '/^| ISR-02 /s/, `target[^`]*test_[^`]*`//g'
plant '7 columns' "$table" '/^| CSN-02 /s/| M |/|/'
plant 'xmit.c:.* is not in' "$tmp/src/iscsi/xmit.c" '$a /* CSN-9'9' */' # in two pieces: this file is looked at, too
if check; then
    echo "planted, and nothing was said"
    exit 1
fi
while read -r what; do
    if ! grep -q "$what" "$tmp/out"; then
        cat "$tmp/out"
        echo "planted, and not said: $what"
        exit 1
    fi
done <"$tmp/expected"
