#!/bin/bash
# SPDX-License-Identifier: MIT
# copy_killed.sh - lunette copy --verify to a file LUN whose lunette-target is killed (SIGKILL) and
# started again all the time: byte for byte, and exit 0.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette lunette-target jq
isolate "$@"

mib=$(long 1024 64) every=$(long 1 0.2)
[[ $(df --output=avail -m "$tmp" | tail -n 1) -gt $((3 * mib)) ]] || skip "needs $((3 * mib)) MiB in $tmp"
random_file "$tmp/image" "${mib}M"
for wait in 0 $(long 2 ''); do
    say "$mib MiB, killed every $every s, Time2Wait $wait"
    rm -f "$tmp/lun" "$tmp/enough"
    truncate -s "${mib}M" "$tmp/lun"
    prepare_target --lun "file:$tmp/lun" --set "DefaultTime2Wait=$wait"
    target_up
    killer "$every" "$tmp/lun" &
    # so small that the copy takes longer than some lives of the target
    ok lunette copy "$tmp/image" "iscsi://$portal/$iqn/0?default_time2wait=$wait" --verify --bs "$(long 8k 4k)" --depth 1
    touch "$tmp/enough"
    wait $!
    same "$tmp/image" "$tmp/lun"
    kills=$(cat "$tmp/kills")
    echo "killed $kills times"
    ((kills >= 2)) || fail "the target was killed only $kills times: nothing was tried"
    "$tmp/down"
done
