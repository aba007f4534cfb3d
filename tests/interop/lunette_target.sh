#!/bin/bash
# SPDX-License-Identifier: MIT
# lunette_target.sh - our tool against our target: every regime of data transfer, CHAP, shutdown.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette lunette-target
isolate "$@"

iqn=iqn.2026-11.example:disk

# serve NAME OPTION...: starts a target on a free port; sets $portal and $pid.
serve() {
    local name=$1
    shift
    start "$name" "$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target $iqn "$@"
    wait_until 10 grep -q '^listening on ' "$tmp/$name.log" || fail "the target does not start"
    portal=$(sed -n 's/^listening on //p' "$tmp/$name.log" | head -n 1)
}

random_file "$tmp/image" $((3 * 1024 * 1024 + 512))

n=0
for mrdsl in 262144 512 1537; do
    truncate -s 4M "$tmp/disk.$mrdsl"
    serve "target-$mrdsl" --lun "file:$tmp/disk.$mrdsl" --set InitialR2T=No --set ImmediateData=Yes \
        --set MaxOutstandingR2T=8 --set "MaxRecvDataSegmentLength=$mrdsl" --set MaxBurstLength=1048576 \
        --set FirstBurstLength=262144
    server=$pid
    say "the target takes $mrdsl bytes in a PDU"
    for r2t in yes no; do
        for imm in yes no; do
            for bursts in 512/512 4608/1027 65536/8192 1048576/262144; do
                for outstanding in 1 8; do
                    n=$((n + 1))
                    loop=epoll digest=none recv=262144
                    ((n % 2)) || loop=uring
                    ((n % 3)) || digest=crc32c
                    ((n % 5)) || recv=513
                    url="iscsi://$portal/$iqn/0?initial_r2t=$r2t&immediate_data=$imm"
                    url+="&max_burst_length=${bursts%/*}&first_burst_length=${bursts#*/}"
                    url+="&max_outstanding_r2t=$outstanding&max_recv_data_segment_length=$recv"
                    url+="&header_digest=$digest&data_digest=$digest"
                    # other data each time: what an earlier turn wrote does not count
                    printf '%08d' "$n" | dd of="$tmp/image" bs=8 seek=1000 conv=notrunc status=none
                    ok lunette write "$url" --offset 512 --loop $loop < "$tmp/image"
                    ok lunette read "$url" --offset 512 --length $((3 * 1024 * 1024 + 512)) --loop $loop
                    same "$tmp/out" "$tmp/image"
                done
            done
        done
    done
    kill "$server"
    gone_within 5 "$server" || fail "the target does not end"
    wait "$server" || fail "the target ended with $?"
    cmp -i 512:0 -n $((3 * 1024 * 1024 + 512)) "$tmp/disk.$mrdsl" "$tmp/image" ||
        fail "the file does not hold what was written"
done

say "several LUNs, CHAP both ways, many at a time"
serve many --lun ram:16M --lun ram:16M --lun null:1T --chap user:secret0secret0 \
    --mutual-chap them:1secret1secret
server=$pid
base=iscsi://user%secret0secret0@$portal/$iqn
both="target_user=them&target_password=1secret1secret"
ok lunette discover "$portal"
ok lunette info "$base/0?$both"
ok lunette info "$base/2?$both"
expect $EX_LOGIN lunette info "$base/0?target_user=them&target_password=wrongwrongwrong"
expect $EX_LOGIN lunette info "iscsi://user%wrongwrongwrong@$portal/$iqn/0"
expect $EX_LOGIN lunette info "iscsi://$portal/$iqn/0"
expect $EX_NOT_FOUND lunette info "$base/5?$both"
expect $EX_NOT_FOUND lunette info "iscsi://user%secret0secret0@$portal/iqn.2026-11.example:no/0"
ok lunette read "$base/2?$both" --offset 500G --length 1M
cmp -n $((1 << 20)) "$tmp/out" /dev/zero || fail "the null LUN is not zeroes"
round_trip "$base/0?$both" 16 --verify
jobs=()
for i in 0 1 2 3 4 5 6 7; do
    random_file "$tmp/part.$i" 1M
    lunette write "$base/1?$both" --offset ${i}M < "$tmp/part.$i" 2> "$tmp/job.$i.log" &
    jobs+=($!)
done
for j in "${jobs[@]}"; do wait "$j" || fail "one of eight writers: exit $?"; done
for i in 0 1 2 3 4 5 6 7; do
    ok lunette read "$base/1?$both" --offset ${i}M --length 1M
    same "$tmp/out" "$tmp/part.$i"
done
kill "$server"
gone_within 5 "$server" || fail "the target does not end"
wait "$server" || fail "the target ended with $?"
