#!/bin/bash
# SPDX-License-Identifier: MIT
# reservation.sh - a persistent reservation that was taken before a cut is still ours after it.
# (Not with tgtd, which knows registrants by their sessions.  tests/interop/lio.sh has it with LIO.)
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"

other=initiator_name=iqn.2026-11.example:other

prepare_target --lun ram:4M,serial=A --set DefaultTime2Wait=0
target_up
relay_to "$portal"
for how in "rst both" "fin both" "rst initiator"; do
    say "lunette-target, cut by $how"
    ok "$RECOVERY_BIN/reserve" "iscsi://$relay/$iqn/0?default_time2wait=0" "iscsi://$portal/$iqn/0?$other" \
        "$(long 50 5)" "$(told cut "$how")"
    cat "$tmp/out"
done
