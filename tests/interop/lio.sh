#!/bin/bash
# SPDX-License-Identifier: MIT
# lio.sh - lunette against the kernel's target, LIO, in a virtual machine (tests/vm/vmlab).
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/lib.sh"
. "$here/vm_lib.sh"
requires lunette
: "${RECOVERY_BIN:=$here/../../build/tests/recovery}"
vm_start interop

base=iqn.2026-01.lab.vm
portal=127.0.0.1:$port
lio add plain --lun ram:64 --lun ram:64 --lun file:64
lio add digest --lun ram:64 --digests CRC32C
lio add chap --lun ram:16 --chap user:secret0secret0
lio add mutual --lun ram:16 --chap user:secret0secret0 --mutual them:1secret1secret

say discovery
ok lunette discover "$portal"
for t in plain digest chap mutual; do has "$base:$t"; done
ok lunette ls "iscsi://$portal/$base:plain"
for lun in 0 1 2; do ok lunette info "iscsi://$portal/$base:plain/$lun"; done

say "copies of 32 MiB"
random_file "$tmp/image" 32M
for loop in epoll uring; do
    for digest in none crc32c; do
        url="iscsi://$portal/$base:plain/0?header_digest=$digest&data_digest=$digest"
        printf '%s' "$loop $digest" | dd of="$tmp/image" bs=1 seek=8000000 conv=notrunc status=none
        ok lunette copy "$tmp/image" "$url" --loop $loop
        rm -f "$tmp/back"
        ok lunette read "$url" --offset 0 --length 32M --loop $loop
        same "$tmp/out" "$tmp/image"
        say "$loop, digests $digest"
    done
done
# the target insists on digests
ok lunette copy "$tmp/image" "iscsi://$portal/$base:digest/0?header_digest=crc32c,none&data_digest=crc32c,none" --verify
expect $EX_LOGIN lunette info "iscsi://$portal/$base:digest/0?header_digest=none"

say "several LUNs"
random_file "$tmp/one" 1M
random_file "$tmp/two" 1M
ok lunette write "iscsi://$portal/$base:plain/1" --offset 3M < "$tmp/one"
ok lunette write "iscsi://$portal/$base:plain/2" --offset 3M < "$tmp/two"
ok lunette read "iscsi://$portal/$base:plain/1" --offset 3M --length 1M
same "$tmp/out" "$tmp/one"
ok lunette read "iscsi://$portal/$base:plain/2" --offset 3M --length 1M
same "$tmp/out" "$tmp/two"
expect $EX_NOT_FOUND lunette info "iscsi://$portal/$base:plain/9"
expect $EX_LOGIN lunette info "iscsi://$portal/$base:nothing/0" # LIO: 0301h, service unavailable

say CHAP
ok lunette write "iscsi://user%secret0secret0@$portal/$base:chap/0" --offset 0 < "$tmp/one"
ok lunette read "iscsi://user%secret0secret0@$portal/$base:chap/0" --offset 0 --length 1M
same "$tmp/out" "$tmp/one"
expect $EX_LOGIN lunette info "iscsi://user%secret0secret1@$portal/$base:chap/0"
got=0
# LIO hangs up on AuthMethod=None alone, without a Login Response
lunette info "iscsi://$portal/$base:chap/0" > /dev/null 2>&1 || got=$?
[[ $got == "$EX_LOGIN" || $got == "$EX_CONNECT" ]] || fail "no credentials: exit $got"

say "mutual CHAP"
mutual="iscsi://user%secret0secret0@$portal/$base:mutual/0?target_user=them&target_password"
ok lunette copy "$tmp/one" "$mutual=1secret1secret&header_digest=crc32c&data_digest=crc32c" --verify
expect $EX_LOGIN lunette info "$mutual=1secret1secreT"

say "a persistent reservation, and data, over connections that are cut"
control=$tmp/relay.control
start relay "$RECOVERY_BIN/relay" --listen 127.0.0.1:0 --target "$portal" --control "$control"
wait_until 10 grep -q '^listening' "$tmp/relay.log" || fail "the relay does not start"
relay=$(sed -n 's/^listening on //p' "$tmp/relay.log")
# a time that LIO has agreed to; in its answer to a login it says 2 by itself
url="iscsi://$relay/$base:plain/2"
ok "$RECOVERY_BIN/reserve" "$url" "iscsi://$portal/$base:plain/2?initiator_name=iqn.2026-11.example:other" 3 \
    "'$RECOVERY_BIN/relay' --tell '$control' cut rst"
cat "$tmp/out"
ok "$RECOVERY_BIN/verify" --url "$url" --final-url "iscsi://$portal/$base:plain/2" --relay "$control" --cuts 5 \
    --down "relay cut rst" --down "relay cut fin" --down "relay cut rst initiator"
cat "$tmp/out"
