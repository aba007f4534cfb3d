#!/bin/bash
# SPDX-License-Identifier: MIT
# tgt.sh - lunette against Debian's tgtd: LUNs of all sorts, CHAP, digests, IPv4 and IPv6.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tgtd.sh"
requires lunette tgtd tgtadm python3
isolate "$@"

tgt_start
tgt_target 1 disks
tgt_lun 1 1 "$tmp/lun1" 64M
tgt_lun 1 2 "$tmp/lun2" 64M 4096
tgt_lun 1 3 "$tmp/lun3" 3T
tgt_lun 1 300 "$tmp/lun300" 32M
tgt_target 2 chap
tgt_lun 2 1 "$tmp/lun-chap" 32M
tgt_target 3 mutual
tgt_lun 3 1 "$tmp/lun-mutual" 32M
tgt_account user secret0secret0
tgt_account them 1secret1secret
tgt bind account --tid 2 --user user
host_iqn=iqn.1991-05.com.example:host1 # as names of accounts often are
tgt_account $host_iqn secret0secret0
tgt bind account --tid 2 --user $host_iqn
tgt bind account --tid 3 --user user
tgt bind account --tid 3 --user them --outgoing

url=iscsi://$portal4/$tgt_iqn:disks

say discovery
ok lunette discover "$portal4"
for t in disks chap mutual; do has "$tgt_iqn:$t"; done
ok lunette ls "iscsi://$portal4/$tgt_iqn:disks"
ok lunette info "$url/1"
ok lunette info "$url/1" --json
python3 -c 'import json, sys; json.load(open(sys.argv[1]))' "$tmp/out" || fail "info --json is not JSON"

say "write and read back, 512 and 4096 byte blocks"
random_file "$tmp/data" 1M
for lun in 1 2 300; do
    ok lunette write "$url/$lun" --offset 1M < "$tmp/data"
    ok lunette read "$url/$lun" --offset 1M --length 1M
    same "$tmp/out" "$tmp/data"
    dd if="$tmp/lun$lun" of="$tmp/seen" bs=1M skip=1 count=1 status=none
    same "$tmp/seen" "$tmp/data"
done

say "beyond 2 TiB"
ok lunette write "$url/3" --offset 2500G < "$tmp/data"
ok lunette read "$url/3" --offset 2500G --length 1M
same "$tmp/out" "$tmp/data"
dd if="$tmp/lun3" of="$tmp/seen" bs=1M skip=$((2500 * 1024)) count=1 status=none
same "$tmp/seen" "$tmp/data"

say "copies, verified, on both loops and both address families, with and without digests"
random_file "$tmp/image" 16M
for portal in $portal4 $portal6; do
    for loop in epoll uring; do
        for digests in '' '?header_digest=crc32c&data_digest=crc32c'; do
            u="iscsi://$portal/$tgt_iqn:disks/1$digests"
            ok lunette copy "$tmp/image" "$u" --verify --loop "$loop"
            same "$tmp/lun1" "$tmp/image" $((16 << 20))
            ok lunette copy "$u" "$tmp/back" --loop "$loop"
            same "$tmp/back" "$tmp/image" $((16 << 20))
            rm "$tmp/back"
        done
    done
done

say "one digest of the two"
ok lunette copy "$tmp/image" "$url/2?header_digest=crc32c&data_digest=none" --verify
ok lunette copy "$tmp/image" "$url/2?header_digest=none&data_digest=crc32c" --verify
same "$tmp/lun2" "$tmp/image" $((16 << 20))

say "LUN to LUN"
ok lunette copy "$url/300" "$url/1" --verify
same "$tmp/lun1" "$tmp/lun300" $((32 << 20))

say CHAP
chap=iscsi://user%secret0secret0@$portal4/$tgt_iqn:chap/1
ok lunette write "$chap" --offset 0 < "$tmp/data"
ok lunette read "$chap" --offset 0 --length 1M
same "$tmp/out" "$tmp/data"
LUNETTE_CHAP=user:secret0secret0 ok lunette info "iscsi://$portal4/$tgt_iqn:chap/1"
echo user:secret0secret0 > "$tmp/secret"
chmod 600 "$tmp/secret"
LUNETTE_CHAP_FILE=$tmp/secret ok lunette info "iscsi://$portal4/$tgt_iqn:chap/1"
printf 'name = %s\nsecret = secret0secret0\n' "$host_iqn" > "$tmp/secret"
ok lunette info "iscsi://$portal4/$tgt_iqn:chap/1?chap_file=$tmp/secret"
LUNETTE_CHAP=$host_iqn:secret0secret0 ok lunette info "iscsi://$portal4/$tgt_iqn:chap/1"
expect $EX_LOGIN lunette info "iscsi://user%secret0secret1@$portal4/$tgt_iqn:chap/1"
expect $EX_LOGIN lunette info "iscsi://nobody%secret0secret0@$portal4/$tgt_iqn:chap/1"
expect $EX_LOGIN lunette info "iscsi://$portal4/$tgt_iqn:chap/1"

say "mutual CHAP"
mutual="iscsi://user%secret0secret0@$portal4/$tgt_iqn:mutual/1"
ok lunette info "$mutual?target_user=them&target_password=1secret1secret"
ok lunette copy "$tmp/image" "$mutual?target_user=them&target_password=1secret1secret&header_digest=crc32c&data_digest=crc32c" --verify
expect $EX_LOGIN lunette info "$mutual?target_user=them&target_password=1secret1secreT"
grep -q 'CHAP, target to initiator' "$tmp/err" || fail "does not say which direction of CHAP failed"
for secret in secret0secret0 1secret1secret; do
    ! grep -q "$secret" "$tmp/err" || fail "a secret on stderr"
done

say "what is not there"
expect $EX_NOT_FOUND lunette info "iscsi://$portal4/$tgt_iqn:nothing/1"
expect $EX_NOT_FOUND lunette info "$url/77"
expect $EX_NOT_FOUND lunette read "$url/0" --offset 0 --length 512
grep -q 'LUN 0 is not a disk: controller; try /1' "$tmp/err" || fail "does not say what LUN 0 is"
expect $EX_NOT_FOUND lunette read "$url/16000" --offset 0 --length 512
expect $EX_CONNECT lunette info "iscsi://127.0.0.1:1/$tgt_iqn:disks/1"
expect $EX_USAGE lunette info "iscsi://$portal4/$tgt_iqn:disks/1?no_such_option=1"
got=0
lunette write "$url/1" --offset 63M < "$tmp/image" > /dev/null 2>&1 || got=$?
[[ $got == "$EX_USAGE" || $got == "$EX_SCSI" ]] || fail "a write past the end: exit $got"

say "a target that dies"
{
    kill -9 "${pids[0]}"
    wait "${pids[0]}" || true
} 2> /dev/null
expect $EX_CONNECT lunette info "$url/1"
