#!/bin/bash
# SPDX-License-Identifier: MIT
# object.sh - a transport in a shared object, built from what is installed, passes the suite.
# usage: object.sh BUILD SANITIZERS SOURCE.c LIBDIR INCLUDEDIR CONFORMANCE CC...
set -u
build=$1 sanitizers=$2 source=$3 libdir=$4 includedir=$5 conformance=$6
shift 6
# The library installed by a build with sanitizers calls their runtime, which is in the programs.
defs=-Wl,-z,defs
[[ $sanitizers == none ]] || defs=-Wl,-z,undefs
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-object.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAIL: $*"; exit 1; }

DESTDIR=$tmp/inst meson install -C "$build" --no-rebuild --quiet > "$tmp/install.out" 2>&1 ||
    { cat "$tmp/install.out"; fail "meson install"; }
pkgconfig=$tmp/inst$libdir/pkgconfig
cflags=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --define-variable=prefix="$tmp/inst${includedir%/include}" --cflags lunette-transport) ||
    fail "pkg-config"
libs=$(PKG_CONFIG_PATH=$pkgconfig pkg-config --libs-only-l lunette-transport)
# shellcheck disable=SC2086
"$@" -std=c17 -O1 -g -fPIC -shared "$defs" $cflags "$source" -o "$tmp/object.so" -L"$tmp/inst$libdir" $libs ||
    fail "the object cannot be built"
failed=0
for net in sim epoll; do
    CONFORMANCE_OBJECT=$tmp/object.so "$conformance" object/$net
    code=$?
    [[ $code == 0 || $code == 77 ]] || failed=1
done
exit $failed
