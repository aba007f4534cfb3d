#!/bin/bash
# SPDX-License-Identifier: MIT
# thread.sh - examples/transport_thread.c, built from what is installed, carries I/O: of the library, and
# of the daemons.
# usage: thread.sh BUILD SANITIZERS SOURCE.c LIBDIR INCLUDEDIR CC...
set -u
build=$1 sanitizers=$2 source=$3 libdir=$4 includedir=$5
shift 5
defs=-Wl,-z,defs
[[ $sanitizers == none ]] || defs=-Wl,-z,undefs
: "${LUNETTE_BIN:=$build/bin}"
unset LUNETTE_CHAP LUNETTE_CHAP_FILE LUNETTE_INITIATOR_NAME LUNETTE_TRANSPORTS
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-thread.XXXXXX")
cd "$tmp" || exit 1
target='' relays=''
leave() {
    [[ ! -d i ]] || timeout 20 "$LUNETTE_BIN/iscsiadm" --root "$tmp/i" -k 0 -u > /dev/null 2>&1
    [[ -z $target$relays ]] || kill $target $relays 2> /dev/null
    wait
    rm -rf "$tmp"
}
trap leave EXIT
fail() { echo "FAIL (line ${BASH_LINENO[0]}): $*"; [[ ! -s err ]] || sed 's/^/    /' err; exit 1; }

DESTDIR=$tmp/inst meson install -C "$build" --no-rebuild --quiet > install.out 2>&1 || { cat install.out; fail "meson install"; }
include=$tmp/inst$includedir lib=$tmp/inst$libdir
cflags=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --define-variable=prefix="$tmp/inst${includedir%/include}" --cflags lunette-transport) || fail "pkg-config"
libs=$(PKG_CONFIG_PATH=$lib/pkgconfig pkg-config --libs-only-l lunette-transport)
mkdir -p "$lib/lunette/transports"
# shellcheck disable=SC2086
"$@" -std=c17 -O1 -g -Wall -Wextra -Wpedantic -Werror -fPIC -shared -pthread "$defs" -I"$include" $cflags \
    "$source" -o "$lib/lunette/transports/thread.so" -L"$lib" $libs || fail "the example cannot be built"

serve() { # sets $target and $portal
    "$LUNETTE_BIN/lunette-target" --listen "127.0.0.1:${1:-0}" --target iqn.2026-11.example:disk --lun ram:32M,serial=A \
        --lun ram:32M,serial=B > target.out 2> target.err &
    target=$!
    for _ in {1..100}; do
        portal=$(sed -n 's/^listening on //p' target.out)
        [[ -z $portal ]] || return 0
        sleep 0.05
    done
    fail "the target does not start"
}
L() { timeout 60 "$LUNETTE_BIN/lunette" "$@" 2> err; }
serve
U=iscsi://$portal/iqn.2026-11.example:disk
export LUNETTE_TRANSPORT_DIR=$lib/lunette/transports LUNETTE_TRANSPORTS=thread

# ---- the library ---------------------------------------------------------------------------------

L transports > out || fail "lunette transports"
grep -q "^thread  *$lib/lunette/transports/thread.so" out || { cat out; fail "it is not listed"; }
grep -q 'text_nego digest_offload padding_offload' out || { cat out; fail "what it can do"; }
head -c 3000001 /dev/urandom > src
digests="header_digest=crc32c&data_digest=crc32c"
r2t="immediate_data=no&initial_r2t=yes&max_burst_length=20000&max_outstanding_r2t=4"
unsolicited="immediate_data=yes&initial_r2t=no&first_burst_length=50000"
for loop in epoll auto; do
    for keys in "max_outstanding_r2t=8" "$digests" "$r2t&$digests" "$unsolicited&$digests" "header_digest=crc32c"; do
        T="transport=thread&$keys"
        L copy src "$U/0?$T" --verify --loop $loop > /dev/null || fail "copy with $keys"
        L copy "$U/0?$T" "$U/1?$T" --verify --loop $loop > /dev/null || fail "LUN to LUN with $keys"
        L read "$U/1?$T" --length 3000001 --loop $loop > back || fail "read with $keys"
        cmp -s src back || fail "other data came back with $keys"
    done
    L info "$U/0?transport=thread&$digests" --json --loop $loop > out || fail "info"
    jq -e '.session | .header_digest and .data_digest' out > /dev/null || { cat out; fail "digests are not agreed on"; }
    L discover "iscsi://$portal/?transport=thread" --loop $loop > out || fail "discovery"
    grep -q iqn.2026-11.example:disk out || fail "discovery finds nothing"
done

# A capture, which Wireshark would read, has digests off and whole PDUs.
L read "$U/0?transport=thread&$digests" --length 1001 --capture cap.pcapng > /dev/null || fail "a captured read"
[[ $(stat -c %s cap.pcapng) -gt 1500 ]] || fail "nothing was captured"

# Nobody listens.
L read "iscsi://127.0.0.1:1/iqn.2026-11.example:disk?transport=thread&login_retries=0" > out && fail "nobody listens"
grep -q 'refused' err || fail "the message does not say that nobody listens"

# The target goes away and comes back, with reads under way: they go on.
timeout 60 "$LUNETTE_BIN/lunette" bench "$U/0?transport=thread&$digests" --rw randread --time 8 --json > bench.out 2> err &
bench=$!
sleep 1
kill -KILL $target
wait $target 2> /dev/null
serve "${portal##*:}"
wait $bench || fail "reads do not go on after the target has come back"
grep -q 'connection' err || fail "nothing is told of the lost connection"

# A header whose digest is wrong ends the connection at once, as nobody knows how much follows it: here it
# says that it has 65,000 bytes, which never come.
relay() { "$build/tests/recovery/relay" --tell relay.control "$@"; }
"$build/tests/recovery/relay" --listen 127.0.0.1:0 --target "$portal" --control relay.control > relay.out 2>&1 &
relays=$!
until grep -q '^listening on ' relay.out; do kill -0 $relays || fail "the relay does not start"; sleep 0.05; done
V=iscsi://$(sed -n 's/^listening on //p' relay.out)/iqn.2026-11.example:disk/0?transport=thread
timeout 60 "$LUNETTE_BIN/lunette" ping "$V&header_digest=crc32c&ping_interval=40000&ping_timeout=40000" --count 3 --interval 2 \
    > ping.out 2> err &
ping=$!
until grep -q seq ping.out; do kill -0 $ping || fail "no ping comes back"; sleep 0.05; done
relay corrupt at=6 to-initiator > out || fail "nothing is spoilt"
SECONDS=0
wait $ping
[[ $SECONDS -lt 20 ]] || fail "a wrong header digest was found after $SECONDS s"
grep -q 'header digest' err || fail "the message does not say that a header digest is wrong"

# ---- the daemons ---------------------------------------------------------------------------------

A() { timeout 60 "$LUNETTE_BIN/iscsiadm" --root "$tmp/i" "$@" 2> err; }
A -m discovery -t st -p "$portal" > out || fail "discovery by iscsid"
A -m node -o update -n iface.transport_name -v thread || fail "the record takes no transport"
A -m node -l > out || fail "a login by iscsi-iod"
A -m session -P 1 > out || fail "sessions"
grep -qi 'transport: thread' out || { cat out; fail "the session has another transport"; }
A -m session --export nbd > out || fail "an export"
path=$(sed -n 's/^0 //p' out)
if command -v nbdcopy > /dev/null; then
    L write "$U/0" < src > /dev/null || fail "write"
    timeout 60 nbdcopy "nbd+unix:///?socket=$path" nbd.out || fail "nbdcopy"
    cmp -s -n 3000001 src nbd.out || fail "other data came by NBD"
fi
A -m node -u > out || fail "logout"
echo "the example carries I/O of the library and of the daemons"
