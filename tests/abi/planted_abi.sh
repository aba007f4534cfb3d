#!/bin/sh
# SPDX-License-Identifier: MIT
# The check of the ABI tells changes of each kind: here the record is changed, and not the library.
# usage: planted_abi.sh SOURCE-ROOT LIBRARY
set -eu
check=$1/tools/check-abi abi=$1/tests/abi/liblunette.abi library=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0

tells() { # what, words of the report, sed command for the record, one for the constants
    sed "$3" "$abi" >"$work/abi"
    sed "${4:-}" "$abi.constants" >"$work/abi.constants"
    if cmp -s "$abi" "$work/abi" && cmp -s "$abi.constants" "$work/abi.constants"; then
        echo "$1: nothing was planted"
        failed=1
        return
    fi
    how=0
    "$check" "$library" "$work/abi" >"$work/out" || how=$?
    [ "$how" != 77 ] || { cat "$work/out"; exit 77; }
    if [ "$how" != 1 ] || ! grep -q "$2" "$work/out" || ! grep -q 'tools/check-abi --record' "$work/out"; then
        echo "$1: not told (exit code $how)"
        cat "$work/out"
        failed=1
    fi
}
tells 'a function that is gone' 'Removed functions\?:\|1 Removed' \
    "s/\(<elf-symbol name='lunette_\)open_cancel'/\1open_stop'/; s/name='lunette_open_cancel'/name='lunette_open_stop'/
     s/mangled-name='lunette_open_cancel'/mangled-name='lunette_open_stop'/; s/elf-symbol-id='lunette_open_cancel@@/elf-symbol-id='lunette_open_stop@@/"
tells 'a function that is new' 'lunette_open_cancel' "/<elf-symbol name='lunette_open_cancel'/d"
tells 'a member that has moved' 'detail' "s/name='detail' type-id/name='more' type-id/"
tells 'a structure that has grown' 'size' \
    "s/name='lunette_info' size-in-bits='[0-9]*'/name='lunette_info' size-in-bits='64'/"
tells 'a number of an enumeration' LUNETTE_LOOP_URING "s/\(LUNETTE_LOOP_URING' value='\)2/\13/"
tells 'a flag' 'LUNETTE_FUA' '' '/LUNETTE_FUA/s/1u/4u/'
tells 'a soname' 'SONAME' "s/soname='liblunette.so.[0-9]*'/soname='liblunette.so.99'/"
exit $failed
