#!/bin/bash
# SPDX-License-Identifier: MIT
# figures.sh - how long it takes until I/O goes on, as a table: from a cut to the next completed I/O
# at depth 32, and from the end of an outage.  Nothing is judged: figures depend on the machine.
#
#     tests/recovery/figures.sh          by hand; RECOVERY=full: more rounds
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target tgtd tgtadm jq
isolate "$@"

row() { # WHAT VERIFY-OPTION...
    local what=$1
    shift
    "$RECOVERY_BIN/verify" "$@" > "$tmp/out" 2> "$tmp/err" || fail "$what" "$tmp/err" "$tmp/out"
    jq -r --arg what "$what" '"| \($what) | \(.recovery_ms | "\(.n) | \(.median) | \(.p90) | \(.max)") |"' "$tmp/out"
}

truncate -s 32M "$tmp/lun"
tgt_start
tgtd=$pid
relay_to "$portal4"
echo "| from .. to the next I/O | n | median ms | p90 | max |"
echo "|---|---:|---:|---:|---:|"
for wait in 0 2; do
    cuts=(--cuts "$(long $((200 - 80 * wait)) $((20 - 8 * wait)))" --relay "$control" --interval 120-220)
    prepare_target --lun "file:$tmp/lun" --set "DefaultTime2Wait=$wait"
    target_up
    tell target "$portal"
    for how in rst fin; do
        row "a cut ($how), lunette-target, Time2Wait $wait" --url "iscsi://$relay/$iqn/0?default_time2wait=$wait" \
            "${cuts[@]}" --down "relay cut $how"
    done
    "$tmp/down"
    tgt_target $((wait + 1)) "disk$wait"
    tgt update target --tid $((wait + 1)) --name DefaultTime2Wait --value "$wait"
    tgt_lun $((wait + 1)) 1 "$tmp/tgt$wait" 32M
    tell target "$portal4"
    row "a cut (rst), tgtd, Time2Wait $wait" --url "iscsi://$relay/$tgt_iqn:disk$wait/1?default_time2wait=$wait" \
        "${cuts[@]}" --down "relay cut rst"
done
rounds=$(long 10 2)
prepare_target --lun "file:$tmp/lun"
target_up
row "the end of an outage of 10 s, lunette-target killed" --url "iscsi://$portal/$iqn/0" --cuts "$rounds" \
    --down "$tmp/down" --up "$tmp/up" --outage 10000
tell target "$portal"
row "the end of an outage of 10 s, connections refused" --url "iscsi://$relay/$iqn/0" --cuts "$rounds" \
    --down "$(told refuse) && $(told cut)" --up "$(told accept)" --outage 10000
row "the end of an outage of 10 s, connections taken and not served" \
    --url "iscsi://$relay/$iqn/0?ping_interval=200&ping_timeout=200" --cuts "$rounds" --relay "$control" \
    --down "relay hole on" --up "relay hole off" --outage 10000
"$tmp/down"
tell target "$portal4"
row "the end of an outage of 10 s, tgtd stopped" --url "iscsi://$portal4/$tgt_iqn:disk0/1?ping_interval=1000&ping_timeout=1000" \
    --cuts "$rounds" --down "kill -STOP $tgtd" --up "kill -CONT $tgtd" --outage 10000
