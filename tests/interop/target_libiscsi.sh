#!/bin/bash
# SPDX-License-Identifier: MIT
# target_libiscsi.sh - libiscsi's tools and QEMU against lunette-target: discovery, identity,
# capacity, write protection, whole images there and back, CHAP, header digests.
#
# usage: target_libiscsi.sh LUNETTE-TARGET
# shellcheck source=tests/interop/target_lib.sh disable=SC2154
. "$(cd "$(dirname "$0")" && pwd)/target_lib.sh"
requires iscsi-ls iscsi-inq iscsi-readcapacity16 iscsi-swp qemu-img qemu-io

# Image in, image out, compared; then single requests with patterns.
images() {
    local url=$1
    qemu-img convert -n -f raw -O raw "$tmp/image" "$url" || fail "qemu-img convert to $url"
    qemu-img compare -f raw -F raw "$tmp/image" "$url" > /dev/null || fail "qemu-img compare $url"
    qemu-img convert -f raw -O raw "$url" "$tmp/back" || fail "qemu-img convert from $url"
    cmp "$tmp/image" "$tmp/back" || fail "the image came back different"
    patterns -f raw "$url"
}

patterns() {
    qemu-io -c 'write -P 0x5a 3k 1M' -c 'read -P 0x5a 3k 1M' -c 'write -z 64k 128k' \
        -c 'read -P 0 64k 128k' -c 'discard 1M 1M' -c 'read -P 0 1M 1M' -c 'aio_write -P 1 8M 4M' \
        -c 'aio_write -P 2 12M 4M' -c 'aio_flush' -c 'read -P 1 8M 4M' -c 'read -P 2 12M 4M' \
        -c flush "$@" > "$tmp/io.log" 2>&1 || fail "qemu-io: $(cat "$tmp/io.log")"
    ! grep -qiE 'fail|error|mismatch' "$tmp/io.log" || fail "qemu-io: $(cat "$tmp/io.log")"
}

dd if=/dev/urandom of="$tmp/image" bs=1M count=32 status=none
dd if=/dev/zero of="$tmp/image" bs=1M seek=4 count=8 conv=notrunc status=none

serve --lun ram:32M --lun "file:$tmp/disk:32M" --lun null:1T,lun=300 --alias 'a target'
iscsi-ls -s "iscsi://$portal" > "$tmp/ls" || fail "iscsi-ls"
grep -q "Target:$iqn Portal:$portal,1" "$tmp/ls" || fail "iscsi-ls: $(cat "$tmp/ls")"
[[ $(grep -c DIRECT_ACCESS "$tmp/ls") == 3 ]] || fail "iscsi-ls shows other LUNs: $(cat "$tmp/ls")"
iscsi-inq "iscsi://$portal/$iqn/0" | grep -q '^Vendor:LUNETTE' || fail "iscsi-inq"
for page in 0x00 0x80 0x83 0xb0 0xb1 0xb2; do
    iscsi-inq -e 1 -c $page "iscsi://$portal/$iqn/0" > /dev/null || fail "iscsi-inq page $page"
done
iscsi-readcapacity16 "iscsi://$portal/$iqn/1" | grep -q '^Total size:33554432$' || fail "capacity"
iscsi-swp -s on "iscsi://$portal/$iqn/0" > /dev/null || fail "iscsi-swp on"
! qemu-io -f raw -c 'write 0 4k' "iscsi://$portal/$iqn/0" > /dev/null 2>&1 || fail "written although protected"
iscsi-swp -s off "iscsi://$portal/$iqn/0" > /dev/null || fail "iscsi-swp off"
images "iscsi://$portal/$iqn/0"
images "iscsi://$portal/$iqn/1"
stop
cmp "$tmp/disk" "$tmp/back" > /dev/null && fail "the patterns are not in the file"
qemu-io -f raw -r -c 'read -P 2 12M 4M' "$tmp/disk" | grep -q '4 MiB' || fail "the file lacks what was written"

echo "header digests"
serve --lun ram:32M --set HeaderDigest=CRC32C
opts="driver=iscsi,transport=tcp,portal=$portal,target=$iqn,lun=0,header-digest=crc32c"
patterns --image-opts "$opts"
stop

echo "CHAP"
(umask 077 && printf '%s\n' user:secret0secret0 > "$tmp/chap")
serve --lun ram:32M --chap-file "$tmp/chap"
images "iscsi://user%secret0secret0@$portal/$iqn/0"
for url in "iscsi://$portal/$iqn/0" "iscsi://user%wrongwrongwrong@$portal/$iqn/0" \
    "iscsi://other%secret0secret0@$portal/$iqn/0"; do
    ! iscsi-inq "$url" > /dev/null 2>&1 || fail "logged in with $url"
done
stop

echo "small bursts, no unsolicited data, one R2T at a time"
serve --lun ram:32M --set InitialR2T=Yes --set ImmediateData=No --set MaxBurstLength=4096 \
    --set FirstBurstLength=512 --set MaxRecvDataSegmentLength=1537 --set MaxOutstandingR2T=1
images "iscsi://$portal/$iqn/0"
stop
echo "libiscsi and QEMU: passed"
