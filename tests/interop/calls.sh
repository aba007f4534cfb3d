#!/bin/bash
# SPDX-License-Identifier: MIT
# calls.sh PROGRAM - compare-and-write, persistent reservations and cancel against tgtd and
# lunette-target; reservations over restarts of the program and, with APTPL, of lunette-target.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/tgtd.sh"
requires lunette-target
calls=$1
isolate "$@"

ours=isid=0x800000000001 theirs=isid=0x800000000002
iqn=iqn.2026-11.example:disk

# serve: starts a target on the file; sets $portal and $pid.
serve() {
    n=$((${n-0} + 1))
    start "target-$n" "$LUNETTE_BIN/lunette-target" --listen "127.0.0.1:${port-0}" --target $iqn \
        --lun "file:$tmp/disk:64M"
    wait_until 10 grep -q '^listening on ' "$tmp/target-$n.log" || fail "the target does not start"
    portal=$(sed -n 's/^listening on //p' "$tmp/target-$n.log" | head -n 1)
}

say lunette-target
serve
url="iscsi://$portal/$iqn/0"
ok "$calls" check "$url"
cat "$tmp/out"
ok "$calls" take "$url?$ours"
ok "$calls" foreign "$url?$theirs"
ok "$calls" mine "$url?$ours"

say "its restarts, with APTPL"
ok "$calls" take "$url?$ours" aptpl
for _ in 1 2 3; do
    {
        kill -9 "$pid"
        wait "$pid" || true
    } 2> /dev/null
    serve
    url="iscsi://$portal/$iqn/0"
    ok "$calls" foreign "$url?$theirs"
    ok "$calls" mine "$url?$ours"
done

if command -v tgtd > /dev/null && command -v tgtadm > /dev/null; then
    say tgtd
    tgt_start
    tgt_target 1 disks
    tgt_lun 1 1 "$tmp/lun1" 64M
    url="iscsi://$portal4/$tgt_iqn:disks/1"
    ok "$calls" check "$url"
    cat "$tmp/out"
    # It keeps registrations by session and not by port: with the session they are lost.
else
    say "tgtd is not installed"
fi
