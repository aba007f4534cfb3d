#!/bin/bash
# SPDX-License-Identifier: MIT
# copy_cut.sh - lunette copy --verify to tgtd, through the relay that cuts the connection all the
# time: byte for byte, and exit 0.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette tgtd tgtadm jq
isolate "$@"

mib=$(long 1024 64)
[[ $(df --output=avail -m "$tmp" | tail -n 1) -gt $((3 * mib)) ]] || skip "needs $((3 * mib)) MiB in $tmp"
random_file "$tmp/image" "${mib}M"
tgt_start
tgt_target 1 disk
tgt update target --tid 1 --name DefaultTime2Wait --value 0
tgt_lun 1 1 "$tmp/lun" "${mib}M"
relay_to "$portal4"
for how in $(long "rst fin" rst); do
    say "$mib MiB, each connection cut by $how after 8 MB"
    head -c 1M /dev/urandom | dd of="$tmp/image" conv=notrunc status=none
    before=$(relay_stat cuts)
    # By what it has carried and not by time, as a machine that is slow would not come on.
    tell cut "$how" after=8000000 each
    ok lunette copy "$tmp/image" "iscsi://$relay/$tgt_iqn:disk/1?default_time2wait=0" --verify --bs "$(long 64k 4k)" --depth "$(long 4 1)"
    tell calm
    same "$tmp/image" "$tmp/lun"
    cuts=$(($(relay_stat cuts) - before))
    echo "cut $cuts times"
    ((cuts >= 2)) || fail "there were only $cuts cuts: nothing was tried"
done
