#!/bin/sh
# SPDX-License-Identifier: MIT
# The layer check must fail for an include, and for a bare extern, that crosses a layer, and for a
# LAYERS that has a circle or allows more than is used.
# usage: planted_layer.sh SOURCE-ROOT BUILD-ROOT
set -eu
root=$1
build=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

cp -r "$root/include" "$root/src" "$root/cmd" "$root/LAYERS" "$tmp/"
mkdir "$tmp/build"
check() { python3 "$root/tools/check-layers" "$tmp" "${1:-$tmp/build}"; }

if ! check >/dev/null; then
    echo "the check fails on the tree itself"
    exit 1
fi

echo '#include "iscsi/iscsi.h"' >>"$tmp/src/scsi/scan.c"
if check >"$tmp/out"; then
    echo "scsi/ includes iscsi/, and the check says nothing"
    exit 1
fi
grep -q 'scsi may not include iscsi' "$tmp/out"
sed -i '$d' "$tmp/src/scsi/scan.c"

# A folder of a folder is its layer's, too.
echo '#include "iscsi/iscsi.h"' >>"$tmp/src/transport/sw_tcp/sw_tcp.c"
if check >"$tmp/out"; then
    echo "transport/sw_tcp/ includes iscsi/, and the check says nothing"
    exit 1
fi
grep -q 'sw_tcp.c:.*transport may not include iscsi' "$tmp/out"
sed -i '$d' "$tmp/src/transport/sw_tcp/sw_tcp.c"

# Two archives of two layers, one of which calls the other without any include.
printf 'int iscsi_planted(void);\nint iscsi_planted(void) { return 0; }\n' >"$tmp/a.c"
printf 'extern int iscsi_planted(void);\nint scsi_planted(void);\nint scsi_planted(void) { return iscsi_planted(); }\n' >"$tmp/b.c"
${CC:-cc} -c "$tmp/a.c" -o "$tmp/a.o"
${CC:-cc} -c "$tmp/b.c" -o "$tmp/b.o"
ar rcs "$tmp/build/libiscsi.a" "$tmp/a.o"
ar rcs "$tmp/build/libscsi.a" "$tmp/b.o"
if check >"$tmp/out"; then
    echo "scsi/ calls iscsi/, and the check says nothing"
    exit 1
fi
grep -q 'scsi may not call iscsi' "$tmp/out"
rm "$tmp/build"/lib*.a

cp "$root/LAYERS" "$tmp/"
sed -i 's/^seam: .*/& loop/' "$tmp/LAYERS"
if check 2>"$tmp/out"; then
    echo "LAYERS has a circle, and the check says nothing"
    exit 1
fi
grep -q 'LAYERS: cycle' "$tmp/out"

cp "$root/LAYERS" "$tmp/"
sed -i 's/^block: .*/& wire/' "$tmp/LAYERS"
if check "$build" >"$tmp/out"; then
    echo "block/ may use wire/, does not, and the check says nothing"
    exit 1
fi
grep -q 'block may use wire, and does not' "$tmp/out"
echo "a planted include, a planted extern, a circle and a line too wide were all caught"
