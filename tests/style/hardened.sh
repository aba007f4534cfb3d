#!/bin/sh
# SPDX-License-Identifier: MIT
# hardened.sh - what was built has what makes holes hard to use: position-independent code, all symbols
# bound at start and the tables read-only from then on, no executable stack, stack protector, checked
# copies.  That the check finds each of these missing is tried on programs built without.
# usage: hardened.sh PIE FORTIFY ARCHIVE LIBRARY PROGRAM... -- CC...
set -eu
pie=$1 fortify=$2 archive=$3
shift 3
bad=0

lacks() { # FILE WHAT
    echo "$1 lacks: $2"
    bad=$((bad + 1))
}

symbols() { # names that the file takes from elsewhere
    nm --undefined-only "$1" 2>/dev/null | awk '{ sub(/@.*/, "", $2); print $2 }'
    nm -D --undefined-only "$1" 2>/dev/null | awk '{ sub(/@.*/, "", $2); print $2 }'
}

code() { # FILE: what can be seen in any object
    symbols "$1" | grep -q '^__stack_chk_fail' || lacks "$1" "stack protector"
    [ "$fortify" = false ] || symbols "$1" | grep -q '_chk$' || lacks "$1" "checked copies (_FORTIFY_SOURCE)"
}

linked() { # FILE
    readelf -W -l "$1" >"$tmp/segments"
    readelf -W -d "$1" >"$tmp/dynamic"
    grep -q GNU_RELRO "$tmp/segments" || lacks "$1" "RELRO"
    grep -Eq 'BIND_NOW|FLAGS_1.*NOW' "$tmp/dynamic" || lacks "$1" "BIND_NOW"
    if grep GNU_STACK "$tmp/segments" | grep -q E; then lacks "$1" "a stack that is not executable"; fi
    if grep -q TEXTREL "$tmp/dynamic"; then lacks "$1" "code without relocations"; fi
    [ "$pie" = false ] || readelf -W -h "$1" | grep -q 'Type: *DYN' || lacks "$1" "position-independent code"
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
code "$archive"
n=0
while [ "$1" != -- ]; do
    code "$1"
    linked "$1"
    n=$((n + 1))
    shift
done
shift
[ $bad = 0 ] || exit 1
[ $n -ge 3 ] || { echo "only $n files"; exit 1; }

# The check itself: everything is missing here.
echo 'int main(void) { return 0; }' >"$tmp/plain.c"
"$@" -w -O2 -fno-stack-protector -U_FORTIFY_SOURCE -no-pie -Wl,-z,norelro -Wl,-z,lazy -Wl,-z,execstack \
    "$tmp/plain.c" -o "$tmp/plain" 2>"$tmp/err" || { cat "$tmp/err"; exit 1; }
pie=true fortify=true
found=$(code "$tmp/plain"; linked "$tmp/plain")
for want in "stack protector" "checked copies" RELRO BIND_NOW executable position-independent; do
    echo "$found" | grep -q "$want" || { echo "the check does not see what is missing: $want"; exit 1; }
done
echo "$n files and an archive"
