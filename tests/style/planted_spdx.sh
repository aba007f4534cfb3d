#!/bin/sh
# SPDX-License-Identifier: MIT
# A file without its license is found and mended, in the comment of its kind; so is a useless entry of
# REUSE.toml.
# usage: planted_spdx.sh SOURCE-ROOT
set -eu
check=$1/tools/check-spdx
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
cp "$1/REUSE.toml" "$tree"
sed -i '/^ *"/d; s/^path = \[/path = [\n    "data.json",/' "$tree/REUSE.toml"
echo '{}' >"$tree/data.json"
printf 'page(1)\n\n# NAME\n' >"$tree/page.1.scd"
printf '#!/bin/sh\ntrue\n' >"$tree/script"
printf 'int x;\n' >"$tree/x.c"
printf '# Title\n' >"$tree/x.md"

if "$check" "$tree" >"$tree/build.out"; then
    echo "files without a license are not found"
    exit 1
fi
for name in page.1.scd script x.c x.md; do
    grep -q "^$name does not say" "$tree/build.out" || { echo "$name is not found"; exit 1; }
done
"$check" --add "$tree" && "$check" "$tree"
[ "$(head -n 1 "$tree/script")" = '#!/bin/sh' ] && [ "$(head -n 1 "$tree/page.1.scd")" = 'page(1)' ]
grep -q '^/\* SPDX' "$tree/x.c"
grep -q '^<!-- SPDX' "$tree/x.md"
rm "$tree/data.json"
if "$check" "$tree" >"$tree/build.out"; then
    echo "an entry of REUSE.toml without a file is not found"
    exit 1
fi
