#!/bin/bash
# SPDX-License-Identifier: MIT
# swapped.sh - while the connection is lost, another unit takes the place of the one that was
# opened: not one write reaches it, and all requests fail for good.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"

# replaced FILE VERIFY-OPTION...: FILE, which the other unit is kept in, stays as it was
replaced() {
    local file=$1
    shift
    random_file "$file" 32M
    cp "$file" "$tmp/before"
    # it gives up since no request succeeds any more
    expect 1 "$RECOVERY_BIN/verify" --errors --no-final --patience "$(long 10 3)" --cuts 1 "$@"
    jq -c . "$tmp/out"
    same "$file" "$tmp/before"
    is '.unfinished == 0 and .mismatches == 0 and .recovery_ms == null and (.by_errno | keys) == ["ENXIO"]'
    rm "$tmp/before"
}

truncate -s 32M "$tmp/lun"
while read -r what other; do
    say "lunette-target: another $what"
    prepare_target --lun "file:$tmp/lun,serial=one" --set DefaultTime2Wait=0
    make_up "$tmp/up.other" --lun "file:$tmp/other,$other" --set DefaultTime2Wait=0
    target_up
    replaced "$tmp/other" --url "iscsi://$portal/$iqn/0?default_time2wait=0" \
        --down "$tmp/down" --up "$tmp/up.other" --outage 300
    "$tmp/down"
done << 'EOT'
serial serial=two
block-size serial=one,block=4096
EOT

say "lunette-target: the same unit, but smaller"
prepare_target --lun "file:$tmp/lun,serial=one" --set DefaultTime2Wait=0
target_up
# half of the region is there no more: requests for it fail, those for the rest go on
verify --errors --no-final --url "iscsi://$portal/$iqn/0?default_time2wait=0" --cuts 1 --seconds 2 \
    --down "$tmp/down; truncate -s 8M '$tmp/lun'" --up "$tmp/up" --outage 300
is '.recovery_ms.n == 1 and .errors > 0 and .mismatches == 0 and (.by_errno | keys) == ["EINVAL"]'
[[ $(stat -c %s "$tmp/lun") == $((8 << 20)) ]] || fail "the file has grown again"
"$tmp/down"

PATH=$PATH:/usr/sbin command -v tgtd > /dev/null || exit 0
say tgtd
requires tgtd tgtadm
tgt_start
tgt_target 1 disk
tgt update target --tid 1 --name DefaultTime2Wait --value 0
new_unit() { # FILE NAME
    tgt_lun 1 1 "$1" 32M
    tgt update logicalunit --tid 1 --lun 1 --params "scsi_id=$2,scsi_sn=$2"
}
new_unit "$tmp/tgt" one
relay_to "$portal4"
declare -f tgt tgt_lun new_unit > "$tmp/swap"
cat >> "$tmp/swap" << EOT
$(told refuse) &&
$(told cut) &&
until tgt delete logicalunit --tid 1 --lun 1; do sleep 0.05; done 2> /dev/null
tmp='$tmp'
new_unit '$tmp/tgt.other' two
EOT
replaced "$tmp/tgt.other" --url "iscsi://$relay/$tgt_iqn:disk/1?default_time2wait=0" --relay "$control" \
    --down "bash '$tmp/swap'" --up "relay accept" --outage 100
