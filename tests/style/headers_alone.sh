#!/bin/sh
# SPDX-License-Identifier: MIT
# Every header compiles alone; the public ones as C99 and as C++11 too.  What C++ programs initialize with
# LUNETTE_INIT is as it should be, and no warning comes of it.
# usage: headers_alone.sh SOURCE-ROOT
set -u
cd "$1" || exit 1
failed=0
have_rdma=-DHAVE_RDMA=0
if pkg-config --exists libibverbs librdmacm 2>/dev/null; then have_rdma=-DHAVE_RDMA=1; fi
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
try() { # compiler and options..., header last
    if ! echo "#include \"$header\"" | "$@" -fsyntax-only - 2>"$errors"; then
        echo "$header does not compile alone ($*):"
        head -n 5 "$errors"
        failed=1
    fi
}
n=0
for file in $(find src include -name '*.h' | sort); do
    header=${file#src/}
    header=${header#include/}
    n=$((n + 1))
    try "${CC:-cc}" -std=c17 -D_GNU_SOURCE -DHAVE_URING=1 "$have_rdma" -Wall -Wextra -Werror -Wno-unused-function -Isrc -Iinclude -xc
    case $file in
    include/*)
        try "${CC:-cc}" -std=c99 -D_POSIX_C_SOURCE=200809L -Wall -Wextra -Wpedantic -Werror -Iinclude -xc
        if command -v "${CXX:-c++}" >/dev/null; then
            try "${CXX:-c++}" -std=c++11 -Wall -Wextra -Wpedantic -Werror -Iinclude -xc++
        fi
        ;;
    esac
done
if command -v "${CXX:-c++}" >/dev/null; then
    echo 'extern "C" {
#include <lunette/lunette.h>
}
lunette_error err = LUNETTE_INIT(err);' | "${CXX:-c++}" -std=c++11 -Wall -Wextra -Werror -Iinclude -fsyntax-only -xc++ - || failed=1
    program=$(mktemp)
    trap 'rm -f "$errors" "$program"' EXIT
    "${CXX:-c++}" -std=c++11 -Wall -Wextra -Wpedantic -Werror -Iinclude -o "$program" tests/style/public_headers.cc &&
        "$program" || { echo "public_headers.cc does not compile, or exits with another code than 0"; failed=1; }
fi
echo "$n headers"
exit $failed
