#!/bin/bash
# SPDX-License-Identifier: MIT
# transport.sh - a transport in a shared object, built from what is installed, carries I/O; and what
# is said of one that cannot be loaded.
# usage: transport.sh BUILD SANITIZERS SOURCE.c LIBDIR INCLUDEDIR CC...
set -u
build=$1 sanitizers=$2 source=$3 libdir=$4 includedir=$5
shift 5
# The library installed by a build with sanitizers calls their runtime, which is in the programs.
defs=-Wl,-z,defs
[[ $sanitizers == none ]] || defs=-Wl,-z,undefs
: "${LUNETTE_BIN:=$build/bin}"
unset LUNETTE_CHAP LUNETTE_CHAP_FILE LUNETTE_INITIATOR_NAME LUNETTE_TRANSPORTS LUNETTE_TRANSPORT_DIR
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-installed.XXXXXX")
cd "$tmp" || exit 1
target=
trap '[[ -z $target ]] || kill $target 2> /dev/null; wait; rm -rf "$tmp"' EXIT
fail() { echo "FAIL (line ${BASH_LINENO[0]}): $*"; [[ ! -s err ]] || sed 's/^/    /' err; exit 1; }

DESTDIR=$tmp/inst meson install -C "$build" --no-rebuild --quiet > install.out 2>&1 || { cat install.out; fail "meson install"; }
include=$tmp/inst$includedir lib=$tmp/inst$libdir

# Each header alone, in strict C17, with no path but that of lunette.h.
n=0
while IFS= read -r header; do
    echo "#include <$header>" |
        "$@" -std=c17 -Wall -Wextra -Wpedantic -Werror -I"$include" -xc -fsyntax-only - || fail "$header"
    n=$((n + 1))
done < <(cd "$include" && find . -name '*.h' | sed 's,^\./,,')
((n > 10)) || fail "only $n headers are installed"

cflags=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --define-variable=prefix="$tmp/inst${includedir%/include}" --cflags lunette-transport) || fail "pkg-config"
libs=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --libs-only-l lunette-transport)
dir=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --variable=transport_includedir lunette)
[[ -f $tmp/inst$dir/stream.h ]] || fail "no headers in $dir"
make_object() { # OUT OPTION...
    local out=$1
    shift
    # shellcheck disable=SC2086
    "${compiler[@]}" -std=c17 -O1 -g -Wall -Wextra -Wpedantic -Werror -fPIC -shared "$defs" $cflags \
        "$@" "$source" -o "$out" -L"$lib" $libs || fail "$out cannot be built"
}
compiler=("$@")
make_object sockets.so
make_object other_version.so -DSOCKETS_VERSION=77
make_object no_size.so -DSOCKETS_SIZE=0
make_object too_small.so '-DSOCKETS_SIZE=offsetof(struct iscsi_transport, ep_connect)'
echo 'no object' > text.so
echo 'int nothing_here;' | "${compiler[@]}" -xc - -fPIC -shared -o empty.so

"$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target iqn.2026-11.example:disk \
    --lun ram:16M --lun ram:16M > target.out 2> target.err &
target=$!
for _ in {1..1200}; do
    portal=$(sed -n 's/^listening on //p' target.out)
    [[ -z $portal ]] || break
    sleep 0.05
done
[[ -n $portal ]] || fail "the target does not start"
U=iscsi://$portal/iqn.2026-11.example:disk

L() { timeout 60 "$LUNETTE_BIN/lunette" "$@" 2> err; }

# ---- I/O -----------------------------------------------------------------------------------------

export LUNETTE_TRANSPORTS=$tmp/sockets.so
head -c 5000001 /dev/urandom > src
digests="header_digest=crc32c&data_digest=crc32c"
r2t="immediate_data=no&initial_r2t=yes&max_burst_length=20000&max_outstanding_r2t=4"
unsolicited="immediate_data=yes&initial_r2t=no&first_burst_length=50000"
for loop in epoll auto; do
    for keys in "max_outstanding_r2t=8" "$digests" "$r2t" "$r2t&$digests" "$unsolicited&$digests"; do
        : > report
        T="transport=sockets&$keys"
        LUNETTE_SOCKETS_REPORT=report L copy src "$U/0?$T" --verify --loop $loop > /dev/null || fail "copy with $keys"
        LUNETTE_SOCKETS_REPORT=report L copy "$U/0?$T" "$U/1?$T" --verify --loop $loop > /dev/null || fail "LUN to LUN with $keys"
        LUNETTE_SOCKETS_REPORT=report L read "$U/1?$T" --length 5000001 --loop $loop > back || fail "read with $keys"
        cmp -s src back || fail "other data came back with $keys"
        # It went through the shared object: two writes of 5 MB, and reads of all that is compared.
        awk '{ sent += $2; received += $4; cleanups += $6 }
             END { exit !(NR >= 3 && sent > 10e6 && received > 30e6 && cleanups > 10) }' report ||
            { cat report; fail "it did not go that way"; }
        L copy "$U/1" "$U/0" --loop $loop > /dev/null || fail "tcp beside it"
    done
    L discover "iscsi://$portal/?transport=sockets" --loop $loop > out || fail "discovery"
    grep -q iqn.2026-11.example:disk out || fail "discovery finds nothing"
done

# Nobody listens: ep_event says so.
L read "iscsi://127.0.0.1:1/iqn.2026-11.example:disk?transport=sockets&login_retries=0" > out && fail "nobody listens"
grep -q 'refused' err || fail "the message does not say that nobody listens"

# ---- what cannot be loaded -----------------------------------------------------------------------

says() { # TRANSPORTS MESSAGE
    LUNETTE_TRANSPORTS=$1 L ls "$U" > out && fail "$1 was taken"
    grep -qF -- "$2" err || fail "$1: the message lacks: $2"
}
says "$tmp/missing.so" "LUNETTE_TRANSPORTS: transport $tmp/missing.so cannot be loaded"
says "$tmp/empty.so" "transport $tmp/empty.so: it has no transport"
says "$tmp/other_version.so" "transport $tmp/other_version.so: the transport was made for version"
says "$tmp/no_size.so" "transport $tmp/no_size.so: the transport does not say its size"
says "$tmp/too_small.so" "transport $tmp/too_small.so: transport \"sockets\" connects by itself but lacks ep_connect"
says "$tmp/text.so" "transport $tmp/text.so cannot be loaded: "
says "$tmp/sockets.so:$tmp/sockets.so" "is registered already"
says "sockets.so" "/lunette/transports/sockets.so.so cannot be loaded: No such file"
says "not a name" "no transport has such a name, and a path has a slash in it"
chmod g+w sockets.so
says "$tmp/sockets.so" "others may write to $tmp/sockets.so"
chmod g-w sockets.so

# By name, out of the folder of an installation.
mkdir -p "$lib/lunette/transports" && cp sockets.so "$lib/lunette/transports/" || exit 1
export LUNETTE_TRANSPORT_DIR=$lib/lunette/transports
LUNETTE_TRANSPORTS=sockets L ls "$U?transport=sockets" > out || fail "by name"
LUNETTE_TRANSPORTS=sockets L transports > out || fail "lunette transports"
grep -q "^sockets  *$lib/lunette/transports/sockets.so" out || { cat out; fail "it is not listed"; }
unset LUNETTE_TRANSPORTS
L ls "$U/0?transport=sockets" > out && fail "a transport that is not there was taken"
grep -q 'no transport "sockets", only tcp' err || fail "the message does not name it, and those that are there"

# Not in a set-uid program, whose environment is somebody else's.
if [[ $(id -u) == 0 ]] && command -v setpriv > /dev/null && cp "$LUNETTE_BIN/lunette" suid && chmod 4755 suid && chmod 755 "$tmp" &&
    [[ -z $(find . -name suid -not -perm -4000) ]] && ! findmnt -no OPTIONS -T "$tmp" | grep -q nosuid; then
    LUNETTE_TRANSPORTS=$tmp/missing.so timeout 60 setpriv --reuid=65534 ./suid ls "$U" > out 2> err ||
        fail "a set-uid program heeds LUNETTE_TRANSPORTS"
fi
echo "$n headers, and a transport built from them"
