#!/bin/sh
# SPDX-License-Identifier: MIT
# Every C file stands as .clang-format says.
# usage: format.sh SOURCE-ROOT
cd "$1" || exit 1
if ! command -v clang-format >/dev/null; then
    echo "clang-format is not installed"
    exit 77
fi
find include src cmd examples tests \( -name '*.c' -o -name '*.h' \) -print0 |
    xargs -0 clang-format --dry-run --Werror
