#!/bin/bash
# SPDX-License-Identifier: MIT
# cuts.sh - verified random reads and writes at depth 32, while the connection is cut again and again
# in every way that the relay knows: no request fails, and all data is what the model says.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"

ways=(--down "relay cut rst" --down "relay cut fin" --down "relay cut rst initiator"
    --down "relay cut fin initiator" --down "relay cut rst target" --down "relay cut fin target"
    --down "relay cut rst after=100000 to-target" --down "relay cut rst after=100000 to-initiator")

say "lunette-target"
truncate -s 32M "$tmp/lun"
prepare_target --lun "file:$tmp/lun" --set DefaultTime2Wait=0
target_up
relay_to "$portal"
url="iscsi://$relay/$iqn/0?default_time2wait=0"
# what a peer hears nothing of, it finds out by itself: with a NOP that is not answered
url+="&ping_interval=200&ping_timeout=200"
final=iscsi://$portal/$iqn/0
# a session that is lost within 100 ms is taken up again the more slowly the more often that happens
verify --url "$url" --final-url "$final" --relay "$control" --cuts "$(long 1000 20)" --interval 100-200 \
    --least 101 "${ways[@]}"
is ".cuts >= $(long 1000 20) and .errors == 0 and .reads > 100 and .writes > 100"

say "lunette-target, cut as soon as it is back"
verify --url "$url" --final-url "$final" --relay "$control" --cuts "$(long 100 10)" --interval 0-5 "${ways[@]}"
is '.errors == 0'

say "lunette-target, with digests and bytes that are turned over"
verify --url "$url&header_digest=crc32c&data_digest=crc32c" --final-url "$final" --relay "$control" \
    --cuts "$(long 100 10)" --down "relay corrupt at=30000" --down "relay corrupt at=30000 to-initiator" \
    --down "relay cut rst"
is '.errors == 0'
[[ $(relay_stat corrupted) -gt 0 ]] || fail "nothing was turned over"

say "lunette-target, in pieces of 100 bytes that come late"
tell split 100
tell delay 1
verify --url "$url&first_burst_length=4096&max_burst_length=8192" --final-url "$final" --relay "$control" \
    --cuts "$(long 50 5)" "${ways[@]}"
tell calm
"$tmp/down"

PATH=$PATH:/usr/sbin command -v tgtd > /dev/null || exit 0
say tgtd
requires tgtd tgtadm
tgt_start
tgt_target 1 disk
tgt update target --tid 1 --name DefaultTime2Wait --value 0
tgt_lun 1 1 "$tmp/tgt" 32M
tell target "$portal4"
verify --url "iscsi://$relay/$tgt_iqn:disk/1?default_time2wait=0&ping_interval=200&ping_timeout=200" \
    --final-url "iscsi://$portal4/$tgt_iqn:disk/1" --relay "$control" --cuts "$(long 100 5)" --interval 100-200 \
    --down "relay cut rst" --down "relay cut fin" --down "relay cut rst initiator"
is '.errors == 0'
