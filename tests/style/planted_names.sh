#!/bin/sh
# SPDX-License-Identifier: MIT
# The checks of names and of words must fail for what is planted, and for an entry of their lists that
# is not needed any more.
# usage: planted_names.sh SOURCE-ROOT
set -eu
root=$1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/tests/style"
cp -r "$root/src" "$root/cmd" "$tmp/"
for list in names words; do # a list that has become empty may be gone
    cat "$root/tests/style/$list.allowed" >"$tmp/tests/style/$list.allowed" 2>/dev/null || true
done

check() { python3 "$root/tools/check-$1" "$tmp" >"$tmp/out"; }
# check, what is expected, file; the text to add is read from standard input
plant() {
    cp "$tmp/$3" "$tmp/kept"
    cat >>"$tmp/$3"
    if check "$1" || ! grep -q "$2" "$tmp/out"; then
        cat "$tmp/out"
        echo "planted in $3, and check-$1 does not say: $2"
        exit 1
    fi
    cp "$tmp/kept" "$tmp/$3"
}

for which in names words; do
    if ! check $which; then
        cat "$tmp/out"
        echo "check-$which fails on the tree itself"
        exit 1
    fi
done

# loop/loop.c has a clock_of_planted; a static one, one with an attribute, and one of another program
printf 'static int\nclock_of_planted(int n)\n{\n    return n;\n}\n' >>"$tmp/src/loop/loop.c"
check names
printf 'static int\nclock_of_planted(int n)\n{\n    return n;\n}\n' |
    plant names '^clock_of_planted: src/base/err.c src/loop/loop.c' src/base/err.c
printf 'static int __attribute__((noinline, cold)) clock_of_planted(int n)\n{\n    return n;\n}\n' |
    plant names '^clock_of_planted: ' src/wire/pdu.c
printf 'int\nclock_of_planted(int n, /* ) */\n                 char c)\n{\n    return c == %s ? n : 0;\n}\n' "')'" |
    plant names '^clock_of_planted: ' cmd/lunette/main.c
echo no_such_name | plant names 'no_such_name stands once' tests/style/names.allowed
# a declaration, a call and a comment are no definition
printf 'int clock_of_planted(int n);\n/*\nclock_of_planted(1)\n{\n*/\n' >>"$tmp/src/base/err.c"
check names

echo 'extern int blk_planted_ways;' | plant words 'blk_planted_ways' src/block/split.c
echo '/* This one is told just so. */' | plant words 'just so' src/base/err.c
echo 'base/err.c plain' | plant words 'is not there any more' tests/style/words.allowed
echo 'extern int base_plain; /* not on the I/O path */' >>"$tmp/src/base/err.c"
check words
echo "each planted name and word was caught"
