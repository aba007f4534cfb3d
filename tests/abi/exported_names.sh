#!/bin/sh
# SPDX-License-Identifier: MIT
# Only lunette_* may be linked to, and the same in the shared library and in the archive.
# usage: exported_names.sh LIBRARY.so ARCHIVE.a
set -eu
others=$({ nm -D --defined-only "$1"; nm -g --defined-only "$2"; } |
    awk 'NF >= 3 && $2 != "A" && $3 !~ /^lunette_/ { print $3 }' | sort -u)
if [ -n "$others" ]; then
    echo "names that should not be visible:"
    echo "$others" | head -20
    exit 1
fi
names() {
    awk 'NF >= 3 && $2 == "T" { sub("@.*", "", $3); print $3 }' | sort -u
}
other=$({ nm -D --defined-only "$1" | names; nm -g --defined-only "$2" | names; } | sort | uniq -u)
if [ -n "$other" ]; then
    echo "only in one of library and archive:"
    echo "$other"
    exit 1
fi
nm -D --defined-only "$1" | awk '$3 ~ /^lunette_/ { n++ } END { print n " functions are visible" }'
