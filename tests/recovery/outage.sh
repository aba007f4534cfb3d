#!/bin/bash
# SPDX-License-Identifier: MIT
# outage.sh - targets that are away for a while: shorter than replacement_timeout, no request fails;
# longer, they fail when it is over, nothing hangs, and all goes on when the target is back.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"

timeout=$(long 3 1)
slack=$(long 1000 5000) # milliseconds: what a busy machine may add
# what a peer that is silent is noticed by
nop="ping_interval=200&ping_timeout=200"

# away WHAT SECONDS REPLACEMENT-TIMEOUT VERIFY-OPTION...
away() {
    local what=$1 seconds=$2 replacement=$3
    shift 3
    say "$what for $seconds s, replacement_timeout=$replacement"
    verify --url "$url&$nop&replacement_timeout=$replacement" --final-url "$final" --cuts 1 \
        --outage $((seconds * 1000)) "$@"
    is '.recovery_ms.n == 1 and .mismatches == 0'
}

not_one_fails() {
    is '.errors == 0'
}

# failed_after SECONDS: and not before
failed_after() {
    is '.by_errno.ENOTCONN > 0 and ((.by_errno | keys) - ["ENOLINK", "ENOTCONN"]) == []'
    is ".first_error_ms.min >= $1 * 1000 - 50 and .first_error_ms.max <= $1 * 1000 + $slack"
}

truncate -s 32M "$tmp/lun"
prepare_target --lun "file:$tmp/lun" --set DefaultTime2Wait=0
target_up
relay_to "$portal"
url="iscsi://$portal/$iqn/0?default_time2wait=0"
final=iscsi://$portal/$iqn/0
away "lunette-target killed" "$(long 10 1)" 120 --down "$tmp/down" --up "$tmp/up"
not_one_fails
away "lunette-target killed" 2 -1 --down "$tmp/down" --up "$tmp/up"
not_one_fails
away "lunette-target killed" $((timeout + 2)) "$timeout" --errors --down "$tmp/down" --up "$tmp/up"
failed_after "$timeout"
away "lunette-target killed" 1 0 --errors --down "$tmp/down" --up "$tmp/up"
failed_after 0

url="iscsi://$relay/$iqn/0?default_time2wait=0"
away "a black hole" "$(long 10 1)" 120 --relay "$control" --down "relay hole on" --up "relay hole off"
not_one_fails
away "a black hole" $((timeout + 2)) "$timeout" --errors --relay "$control" --down "relay hole on" --up "relay hole off"
failed_after "$timeout"
away "a stall" "$(long 10 1)" 120 --relay "$control" --down "relay stall" --up "relay go"
not_one_fails
tell go
if [[ -n $isolated ]]; then
    # what is sent is lost, and nobody says so
    away "the network down" "$(long 10 1)" 120 --down "ip link set lo down" --up "ip link set lo up"
    not_one_fails
fi
"$tmp/down"

PATH=$PATH:/usr/sbin command -v tgtd > /dev/null || exit 0
requires tgtd tgtadm
tgt_start
tgtd=$pid
tgt_target 1 disk
tgt update target --tid 1 --name DefaultTime2Wait --value 0
tgt_lun 1 1 "$tmp/tgt" 32M
url="iscsi://$portal4/$tgt_iqn:disk/1?default_time2wait=0"
final=iscsi://$portal4/$tgt_iqn:disk/1
stopped=(--down "kill -STOP $tgtd" --up "kill -CONT $tgtd")
away "tgtd stopped" "$(long 10 1)" 120 "${stopped[@]}"
not_one_fails
away "tgtd stopped" $((timeout + 2)) "$timeout" --errors "${stopped[@]}"
failed_after "$timeout"
