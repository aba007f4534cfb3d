#!/bin/sh
# SPDX-License-Identifier: MIT
# The packages have the version and the soname of the project.
# usage: versions.sh SOURCE-ROOT
set -eu
cd "$1"
failed=0
project=$(sed -n "s/^project('lunette', 'c', version: '\([^']*\)'.*/\1/p" meson.build)
soname=$(sed -n "s/.*soversion: '\([0-9]*\)'.*/\1/p" meson.build)
same() { # what, it, what it should be
    [ "$2" = "$3" ] || { echo "$1 is \"$2\", the project has \"$3\""; failed=1; }
}
same "the version in debian/changelog" "$(sed -n '1s/^lunette (\([^)-]*\).*/\1/p' debian/changelog)" "$project"
same "the version in rpm/lunette.spec" "$(sed -n 's/^Version: *//p' rpm/lunette.spec)" "$project"
same "the soname of src/api/lunette.map" "$(sed -n 's/^LUNETTE_\([0-9]*\) {.*/\1/p' src/api/lunette.map)" "$soname"
same "the soname in debian/control" "$(sed -n 's/^Package: liblunette\([0-9][0-9]*\)$/\1/p' debian/control)" "$soname"
same "the soname in rpm/lunette.spec" "$(sed -n 's/^%package -n liblunette\([0-9]*\)$/\1/p' rpm/lunette.spec)" "$soname"
same "the soname in tests/abi" "$(sed -n "s/^<abi-corpus .*soname='liblunette.so.\([0-9]*\)'.*/\1/p" tests/abi/liblunette.abi)" "$soname"
exit $failed
