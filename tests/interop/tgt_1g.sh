#!/bin/bash
# SPDX-License-Identifier: MIT
# tgt_1g.sh - a random image of 1 GiB into a tgtd LUN and back, byte for byte, over all of loops,
# address families and digests (1 GiB once per loop, 128 MiB for the rest); then an ext4 image that
# we write and QEMU reads.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tgtd.sh"
requires lunette tgtd tgtadm
isolate "$@"

free_mib=$(df --output=avail -m "$tmp" | tail -n 1)
((free_mib > 4096)) || skip "needs 4 GiB in $tmp, has $free_mib MiB"

tgt_start
tgt_target 1 big
tgt_lun 1 1 "$tmp/lun" 1G
random_file "$tmp/image" 1G

there_and_back() { # PORTAL LOOP DIGESTS MIB
    local digest=none url
    [[ $3 == off ]] || digest=crc32c
    url="iscsi://$1/$tgt_iqn:big/1?header_digest=$digest&data_digest=$digest"
    say "$4 MiB, $1, $2, digests $3"
    if [[ $4 == 1024 ]]; then
        ok lunette copy "$tmp/image" "$url" --loop "$2"
        same "$tmp/lun" "$tmp/image"
        ok lunette copy "$url" "$tmp/back" --loop "$2"
        same "$tmp/back" "$tmp/image"
        rm "$tmp/back"
    else
        # other bytes than those that are there
        head -c "$4M" /dev/urandom | tee "$tmp/part" | lunette write "$url" --offset 0 --loop "$2" ||
            fail "write: exit $?"
        same "$tmp/lun" "$tmp/part" $(($4 << 20))
        ok lunette read "$url" --offset 0 --length "$4M" --loop "$2"
        same "$tmp/out" "$tmp/part"
    fi
}

there_and_back "$portal4" uring off 1024
there_and_back "${portal6:-$portal4}" epoll on 1024
for portal in $portal4 $portal6; do
    for loop in uring epoll; do
        for digests in on off; do
            there_and_back "$portal" $loop $digests 128
        done
    done
done

say "an ext4 image, written by us, read by QEMU"
requires mkfs.ext4 debugfs e2fsck qemu-img
mkdir -p "$tmp/tree/etc"
random_file "$tmp/tree/random.bin" 20M
printf 'hello from the initiator\n' > "$tmp/tree/etc/motd"
truncate -s 256M "$tmp/ext4"
ok mkfs.ext4 -q -d "$tmp/tree" "$tmp/ext4"
ok lunette copy "$tmp/ext4" "iscsi://$portal4/$tgt_iqn:big/1" --verify
ok qemu-img convert -f raw -O raw "iscsi://$portal4/$tgt_iqn:big/1" "$tmp/ext4.back"
same "$tmp/ext4.back" "$tmp/ext4" $((256 << 20))
truncate -s 256M "$tmp/ext4.back"
ok e2fsck -fn "$tmp/ext4.back"
ok debugfs -R "dump /random.bin $tmp/random.back" "$tmp/ext4.back"
same "$tmp/random.back" "$tmp/tree/random.bin"
ok debugfs -R "dump /etc/motd $tmp/motd.back" "$tmp/ext4.back"
same "$tmp/motd.back" "$tmp/tree/etc/motd"
