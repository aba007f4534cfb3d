#!/bin/sh
# SPDX-License-Identifier: MIT
# The check of circles must fail for a call and for an include that closes one, and for an entry of
# its list that is not needed any more.
# usage: planted_circles.sh SOURCE-ROOT BUILD-ROOT
set -eu
root=$1
build=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/tests/style" "$tmp/build"
cp -r "$root/src" "$tmp/"
cat "$root/tests/style/circles.allowed" >"$tmp/tests/style/circles.allowed" 2>/dev/null || true # it may be gone

# the objects of the real build, for the copy's sources
database() { # another object for src/base/err.c
    python3 - "$root" "$build" "$tmp" "${1:-}" <<'END'
import json, os, sys
root, build, tmp, other = sys.argv[1:]
out = []
for e in json.load(open(os.path.join(build, "compile_commands.json"))):
    source = os.path.realpath(os.path.join(e["directory"], e["file"]))
    rel = os.path.relpath(source, os.path.realpath(root))
    if rel.startswith("src/"):
        obj = other if other and rel == "src/base/err.c" else os.path.join(e["directory"], e["output"])
        out.append({"directory": tmp, "file": rel, "output": obj})
json.dump(out, open(os.path.join(tmp, "build/compile_commands.json"), "w"))
END
}
check() { python3 "$root/tools/check-circles" "$tmp" "$tmp/build" >"$tmp/out"; }
expect() {
    if check || ! grep -q "$1" "$tmp/out"; then
        cat "$tmp/out"
        echo "planted, and not said: $1"
        exit 1
    fi
}

database
if ! check; then
    cat "$tmp/out"
    echo "the check fails on the tree itself"
    exit 1
fi

# base/addr.c calls base/err.c, which must not call it
printf 'int portal_parse(void);\nint lunette_fail(void);\nint lunette_fail(void) { return portal_parse(); }\n' >"$tmp/a.c"
${CC:-cc} -c "$tmp/a.c" -o "$tmp/a.o"
database "$tmp/a.o"
expect 'base/err needs base/addr: portal_parse'
database

printf '#include "base/pool.h"\n' >>"$tmp/src/base/sg.h"
check # one direction is no circle
printf '#include "base/sg.h"\n' >>"$tmp/src/base/pool.h"
expect 'base/pool needs base/sg: #include "base/sg.h"'
sed -i '$d' "$tmp/src/base/pool.h"

echo 'base/err # it was there once' >>"$tmp/tests/style/circles.allowed"
expect 'base/err is in no circle now'
sed -i '$d' "$tmp/tests/style/circles.allowed"
check
echo "a planted call, a planted include and an entry without need were all caught"
