#!/bin/bash
# SPDX-License-Identifier: MIT
# static.sh - a program of somebody else links to liblunette.a with what `pkg-config --static` says, and
# runs; with -static, too, where the libraries that it needs are there as archives.
# usage: static.sh BUILD SANITIZERS SOURCE.c LIBDIR INCLUDEDIR CC...
set -u
build=$1 sanitizers=$2 source=$3 libdir=$4 includedir=$5
shift 5
[[ $sanitizers == none ]] || { echo "SKIP: the archive calls the runtime of the sanitizers"; exit 77; }
: "${LUNETTE_BIN:=$build/bin}"
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-static.XXXXXX")
cd "$tmp" || exit 1
target=
trap '[[ -z $target ]] || kill $target 2> /dev/null; wait; rm -rf "$tmp"' EXIT
fail() { echo "FAIL (line ${BASH_LINENO[0]}): $*"; [[ ! -s err ]] || tail -n 20 err; exit 1; }

DESTDIR=$tmp/inst meson install -C "$build" --no-rebuild --quiet > install.out 2>&1 || { cat install.out; fail "meson install"; }
rm "$tmp/inst$libdir"/liblunette.so*
pc() {
    PKG_CONFIG_PATH=$tmp/inst$libdir/pkgconfig pkg-config --define-variable=prefix="$tmp/inst${includedir%/include}" \
        "$@" lunette
}
cflags=$(pc --cflags) || fail "pkg-config --cflags"
libs=$(pc --static --libs) || fail "pkg-config --static --libs"

"$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target iqn.2026-11.example:disk --lun ram:1M > target.out 2> err &
target=$!
for _ in {1..1200}; do
    portal=$(sed -n 's/^listening on //p' target.out)
    [[ -z $portal ]] || break
    sleep 0.05
done
[[ -n $portal ]] || fail "the target does not start"

runs() { # PROGRAM
    "./$1" "iscsi://$portal/iqn.2026-11.example:disk/0" > out 2> err || fail "$1 does not run"
    [[ -s out ]] || fail "$1 prints nothing"
}

# shellcheck disable=SC2086
"$@" -O1 $cflags "$source" -o program $libs 2> err || fail "it does not link with: $libs"
if readelf -d program | grep -q liblunette; then fail "it was linked to the shared library"; fi
runs program

# What an archive is missing for.
lacks=
for l in $libs; do
    [[ $l == -l* && $l != -llunette ]] || continue
    [[ -f $("$@" -print-file-name="lib${l#-l}.a") ]] || lacks="$lacks ${l#-l}"
done
if [[ -z $lacks ]]; then
    # shellcheck disable=SC2086
    "$@" -O1 -static $cflags "$source" -o static $libs 2> err || fail "it does not link with -static $libs"
    if readelf -l static | grep -q INTERP; then fail "it is not static"; fi
    runs static
else
    echo "not tried with -static: there is no archive of$lacks"
fi
echo "linked with $libs"
