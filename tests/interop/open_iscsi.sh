#!/bin/bash
# SPDX-License-Identifier: MIT
# open_iscsi.sh - the unmodified iscsiadm of open-iscsi, and libopeniscsiusr, with iscsid
# --classic-socket --sysfs: against lunette-target and tgtd, with records that both share.
. "$(dirname "$0")/lib.sh"
requires iscsiadm tgtd tgtadm lunette-target
. "$here/tgtd.sh"
. "$here/open_iscsi_lib.sh"
theirs_world

A=iqn.2026-11.example:a B=iqn.2026-11.example:b SECRET=iqn.2026-11.example:secret
start_target() {
    theirs_target --target $A --lun ram:16M \
        --lun ram:8M,lun=5 --target $B --lun ram:16M --target $SECRET --lun ram:16M --chap joe:a-secret-of-21-bytes
}
start_target
tgt_start
tgt_target 1 disk
tgt_lun 1 1 "$tmp/disk" 32M
T=$tgt_iqn:disk
theirs_daemon

say "discovery, by itself"
ok theirs -m discovery -t st -p 127.0.0.1:3261
has "127.0.0.1:3261,1 $A"
ok theirs -m discovery -t st -p 127.0.0.1
has "127.0.0.1:3260,1 $T"
ok ours -m node
for i in "127.0.0.1:3261,1 $A" "127.0.0.1:3261,1 $B" "127.0.0.1:3260,1 $T"; do has "$i"; done
expect 21 theirs -m session
has "No active sessions." "$tmp/err"
expect 21 theirs -m session -s
expect 21 theirs -m node -u

say "login"
ok theirs -m node -T $A -l
has "Login to [iface: default, target: $A, portal: 127.0.0.1,3261] successful."
ok theirs -m session
has "tcp: [$(sid $A)] 127.0.0.1:3261,1 $A (non-flash)"
ok theirs -m node -T $T -p 127.0.0.1 -l
ok ours -m session
has "] 127.0.0.1:3260,1 $T (non-flash)"
expect 15 theirs -m node -T $A -l
expect 15 theirs -m node -T $A -o delete
has "but a session is using it" "$tmp/err"
expect 24 theirs -m node -T $SECRET -l
has "initiator reported error (24 - iSCSI login failed due to authorization failure)" "$tmp/err"
ok theirs -m node -T $SECRET -o update -n node.session.auth.authmethod -v CHAP
ok theirs -m node -T $SECRET -o update -n node.session.auth.username -v joe
ok theirs -m node -T $SECRET -o update -n node.session.auth.password -v a-secret-of-21-bytes
ok theirs -m node -T $SECRET -l
ok theirs -m node -T iqn.2026-11.example:none -p 127.0.0.1:3261 -o new
expect 19 theirs -m node -T iqn.2026-11.example:none -l
ok theirs -m node -T iqn.2026-11.example:none -o delete

say "session -P 3"
ok theirs -m session -r "$(sid $A)" -P 3
for i in "iSCSI Transport Class version 2.0-870" "Target: $A (non-flash)" "Current Portal: 127.0.0.1:3261,1" \
    "Persistent Portal: 127.0.0.1:3261,1" "Iface Name: default" "Iface Transport: tcp" \
    "Iface Initiatorname: iqn.2026-11.example:me" "iSCSI Connection State: LOGGED IN" \
    "iSCSI Session State: LOGGED_IN" "Internal iscsid Session State: NO CHANGE" "Recovery Timeout: 120" \
    "LUN Reset Timeout: 30" "Abort Timeout: 15" "FirstBurstLength: 262144" "ImmediateData: Yes" \
    "InitialR2T: No" "MaxOutstandingR2T: 1" "HeaderDigest: None" "State: running" "Lun: 0" "Lun: 5" \
    "Attached scsi disk lun-$(sid $A)-5-disk"; do
    has "$i"
done
ok theirs -m session -r "$(sid $SECRET)" -P 2 -S
has "username: joe"
has "password: a-secret-of-21-bytes"
ok theirs -m session -r "$(sid $SECRET)" -P 2
has "password: ********"
[[ $(stat -c %a "$tree/class/iscsi_session/session$(sid $SECRET)/password") == 600 ]] || fail "everybody reads secrets"
ok theirs -m session -r "$(sid $A)"
has "node.name = $A"
ok theirs -m host -P 4
has "Attached scsi disk"
[[ ! -s $tmp/err ]] || fail "host -P 4 complains: $(cat "$tmp/err")"

say "statistics"
ok theirs -m session -r "$(sid $A)" -s
has "Stats for session [sid: $(sid $A), target: $A, portal: 127.0.0.1,3261]"
has "iSCSI SNMP:"
n=$(sed -n 's/^\tscsicmd_pdus: //p' "$tmp/out")
((n > 5)) || fail "no commands are counted: $n"
ok ours -m session -r "$(sid $A)" -s
has "scsicmd_pdus: $n"
ok theirs -m node -T $A -s

say "a rescan finds a new LUN"
tgt_lun 1 2 "$tmp/disk2" 16M
ok theirs -m session -r "$(sid $T)" -R
has "Rescanning session [sid: $(sid $T), target: $T, portal: 127.0.0.1,3260]"
wait_until 10 has_lun $T 2 || fail "the new LUN is not shown"
ok theirs -m session -r "$(sid $T)" -P 3
has "Lun: 2"

say "records of both"
ok ours -m node -T $B -o update -n node.session.queue_depth -v 17
ok theirs -m node -T $B
has "node.session.queue_depth = 17"
ok theirs -m node -T $B -o update -n 'node.conn[0].iscsi.HeaderDigest' -v CRC32C
ok ours -m node -T $B -l
wait_until 10 sid $B || fail "a login of ours is not shown"
ok theirs -m session -r "$(sid $B)" -P 2
has "HeaderDigest: CRC32C"
ok theirs -m session -r "$(sid $B)" -o new
[[ $(theirs -m session | grep -c "$B") == 2 ]] || fail "no second session"
ok theirs -m node -T $B -u
! theirs -m session | grep -F "$B" || fail "sessions are left"
ok theirs -m iface
[[ $(wc -l < "$tmp/out") == 2 ]] || fail "interfaces were made: $(cat "$tmp/out")"

say "libopeniscsiusr"
ok python3 "$here/open_iscsi_usr.py" "$(sid $A)" $A 127.0.0.1 3261

say "a lost session"
kill -9 "$target_pid"
wait_until 20 state_is $A FAILED || fail "the loss is not shown"
ok theirs -m session -r "$(sid $A)" -P 1
has "iSCSI Session State: FAILED"
has "Internal iscsid Session State: REOPEN"
start_target
wait_until 20 state_is $A LOGGED_IN || fail "the return is not shown"

say "a new daemon: the tree is taken over, what has gone goes"
before=$(sid $A)
mkdir "$tree/devices/platform/host99" && ln -s ../../devices/platform/host99 "$tree/class/iscsi_session/session99"
echo stale > "$tree/devices/platform/host$before/session$before/stale"
kill -9 "$daemon"
theirs_tree_has "$before" || fail "the tree has gone with the daemon"
theirs_daemon
ok theirs -m session -r "$before" -P 3
has "Lun: 5"
wait_until 10 test ! -e "$tree/class/iscsi_session/session99" || fail "what has gone is shown"
wait_until 10 test ! -e "$tree/devices/platform/host99" || fail "its device is shown"
[[ ! -e $tree/devices/platform/host$before/session$before/stale ]] || fail "a stale file is shown"

say "logout of all"
ok theirs -m node -T $SECRET -u
ok theirs -m node -U all
has "Logout of [sid: $before, target: $A, portal: 127.0.0.1,3261] successful."
expect 21 theirs -m session
[[ -z $(ls "$tree/class/iscsi_session" "$tree/devices/platform" | grep -v :$) ]] || fail "sessions are shown"
ok theirs -m node -L all
expect 21 theirs -m node -T $A -o delete -p 192.0.2.1
ok theirs -m session -u
expect 21 theirs -m node -L onboot
ok theirs -k 0
gone_within 10 "$daemon" || fail "the daemon did not end"
expect 20 theirs -m node -T $A -l
