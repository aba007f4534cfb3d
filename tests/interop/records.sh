#!/bin/bash
# SPDX-License-Identifier: MIT
# records.sh - one tree of records, and the iscsiadm of open-iscsi and our code take turns at it: what
# either writes the other reads, changes and removes, at the same time, too.
# usage: records.sh PATH-OF-records
. "$(dirname "$0")/lib.sh"
requires iscsiadm
own_machine "its iscsiadm knows only /etc/iscsi, which is hidden for the test" "$@"
tool=$1
root=/etc/iscsi locks=/run/lock/iscsi
# The iscsid.conf that came with it is read without a complaint.
[[ ! -e /etc/iscsi/iscsid.conf ]] || "$tool" /nowhere /nowhere conf /etc/iscsi/iscsid.conf ||
    fail "iscsid.conf of the package is not understood"
mkdir -p $root /run/lock
mount -t tmpfs none $root
mount -t tmpfs none /run/lock
printf 'InitiatorName=iqn.2026-11.example:me\n' > $root/initiatorname.iscsi
: > $root/iscsid.conf

A=iqn.2026-11.example:a B=iqn.2026-11.example:b
ours() { timeout 60 "$tool" $root $locks "$@" || fail "records $*"; }
theirs() { timeout 60 iscsiadm "$@" 2> "$tmp"/records.err || fail "iscsiadm $*: $(cat "$tmp"/records.err)"; }
same() { # what, expected, got
    [[ $2 == "$3" ]] || fail "$1: expected
$2
got
$3"
    checks=$((checks + 1))
}
has() { # what, line, text
    grep -qxF -- "$2" <<< "$3" || fail "$1: \"$2\" is not in
$3"
    checks=$((checks + 1))
}

# Ours first: all of it is there for them, key by key.
ours iface-new ifx
ours add $A 192.0.2.1 3260 1 default
ours add $A fe80::1 3260 1 default
ours add $A 192.0.2.1 3260 1 ifx
ours add $B 192.0.2.2 3260 -1 default
ours add $B 192.0.2.6 3260 -1 ifx
ours update $A 192.0.2.1 3260 1 default node.session.auth.username me
ours update $A 192.0.2.1 3260 1 default node.session.auth.password 'a secret of 20 bytes'
ours update $A 192.0.2.1 3260 1 default node.session.cmds_max 256
ours update $A 192.0.2.1 3260 1 default node.export nbd
ours update $A 192.0.2.1 3260 1 default node.transport_name iser
same "nodes that we wrote" "192.0.2.1:3260,1 $A
192.0.2.1:3260,1 $A
[fe80::1]:3260,1 $A
192.0.2.2:3260,4294967295 $B
192.0.2.6:3260,4294967295 $B" "$(theirs -m node)"
same "a record that we wrote" "$(ours show $A 192.0.2.1 3260 1 default | grep -v '^node.export')" \
    "$(theirs -m node -T $A -p 192.0.2.1:3260,1 -I default -S)"
same "a flat record that we wrote" "$(ours show $B 192.0.2.2 3260 -1 default)" "$(theirs -m node -T $B -p 192.0.2.2 -S)"
has "an interface that we wrote" "ifx tcp,<empty>,<empty>,<empty>,<empty>" "$(theirs -m iface)"
ours iface-update ifx iface.net_ifacename eth7
has "an interface that we changed" "ifx tcp,<empty>,<empty>,eth7,<empty>" "$(theirs -m iface)"
has "its copy in a record" "iface.net_ifacename = eth7" \
    "$(theirs -m node -T $A -p 192.0.2.1:3260,1 -I ifx)"

# They change it.
theirs -m node -T $A -p 192.0.2.1:3260,1 -I default -o update -n node.session.queue_depth -v 64
theirs -m node -T $B -o update -n node.startup -v automatic
has "a flat record of an interface" "node.startup = automatic" "$(ours show $B 192.0.2.6 3260 -1 ifx)"
theirs -m node -T $B -p 192.0.2.6 -o delete
has "what they changed" "node.session.queue_depth = 64" "$(ours show $A 192.0.2.1 3260 1 default)"
has "what we had changed" "node.session.cmds_max = 256" "$(ours show $A 192.0.2.1 3260 1 default)"
has "a flat record that they changed" "node.startup = automatic" "$(ours show $B 192.0.2.2 3260 -1 default)"

# Theirs first.
theirs -m node -T $B -p 192.0.2.3:3260,5 -o new > /dev/null
theirs -m node -T $B -p 192.0.2.4 -o new > /dev/null
theirs -m iface -I ify -o new > /dev/null
theirs -m discoverydb -t sendtargets -p 192.0.2.9 -o new > /dev/null
same "all nodes" "192.0.2.1,3260,1 $A default
192.0.2.1,3260,1 $A ifx
fe80::1,3260,1 $A default
192.0.2.2,3260,-1 $B default
192.0.2.3,3260,5 $B default
192.0.2.4,3260,-1 $B default" "$(ours list)"
same "a record that they wrote" "$(theirs -m node -T $B -p 192.0.2.3:3260,5 -S)" \
    "$(ours show $B 192.0.2.3 3260 5 default)"
same "a flat record that they wrote" "$(theirs -m node -T $B -p 192.0.2.4 -S)" \
    "$(ours show $B 192.0.2.4 3260 -1 default)"
has "an interface that they wrote" "iface.iscsi_ifacename = ify" "$(ours iface-show ify)"
same "a discovery record that they wrote" "$(theirs -m discoverydb -t sendtargets -p 192.0.2.9 -S)" \
    "$(ours disc-show 192.0.2.9 3260)"
ours update $B 192.0.2.3 3260 5 default node.session.scan manual
has "what we changed of theirs" "node.session.scan = manual" "$(theirs -m node -T $B -p 192.0.2.3:3260,5)"

# A discovery of ours: they list it, and remove it with what it found.
ours disc-new 192.0.2.8 3260
ours found 192.0.2.8 3260 iqn.2026-11.example:c 192.0.2.5 3260 1 default
same "discovery records" "192.0.2.8:3260 via sendtargets
192.0.2.9:3260 via sendtargets" "$(theirs -m discoverydb | sort)"
has "what our discovery found" "Target: iqn.2026-11.example:c" "$(theirs -m discoverydb -P 1)"
theirs -m discoverydb -t sendtargets -p 192.0.2.8 -o delete
[[ ! -e $root/nodes/iqn.2026-11.example:c ]] || fail "they left what our discovery found"
theirs -m discoverydb -t sendtargets -p 192.0.2.9 -o delete

# Both at once: nobody's change is lost.
for i in 1 2 3 4 5 6 7 8; do
    iscsiadm -m node -T $A -p 192.0.2.1:3260,1 -I default -o update -n node.conn[0].timeo.login_timeout -v $i &
    iscsiadm -m node -T $A -p 192.0.2.1:3260,1 -I ifx -o update -n node.session.nr_sessions -v $i &
    ours update $A 192.0.2.1 3260 1 default node.session.reopen_max $i &
    ours update $A 192.0.2.1 3260 1 ifx node.session.timeo.replacement_timeout $i &
done
wait
for i in default ifx; do
    [[ $(ours show $A 192.0.2.1 3260 1 $i | grep -c .) -gt 100 ]] || fail "a record is torn"
done
! ours list | grep torn || fail "a record is torn"
ours update $A 192.0.2.1 3260 1 default node.session.reopen_max 77
has "after many changes" "node.session.reopen_max = 77" "$(theirs -m node -T $A -p 192.0.2.1:3260,1 -I default)"

# The lock: they wait for us, and whoever of us was killed is in nobody's way.
exec 3< <(exec "$tool" $root $locks hold 2)
read -r held <&3
same "the lock" held "$held"
start=$(date +%s%N)
theirs -m node -T $B -p 192.0.2.3:3260,5 -o update -n node.startup -v onboot
((($(date +%s%N) - start) / 1000000 > 1000)) || fail "they did not wait for our lock"
"$tool" $root $locks hold 60 > "$tmp"/records.held &
holder=$!
for _ in {1..100}; do [[ -s "$tmp"/records.held ]] && break || sleep 0.05; done
kill -KILL $holder
wait $holder 2> /dev/null || true
start=$(date +%s%N)
ours update $B 192.0.2.3 3260 5 default node.startup manual
((($(date +%s%N) - start) / 1000000 < 1000)) || fail "we waited for somebody of us who is dead"
theirs -m node -T $B -p 192.0.2.3:3260,5 -o update -n node.startup -v automatic
# Theirs who was killed left this.
ln $locks/lock $locks/lock.write
ours update $B 192.0.2.3 3260 5 default node.startup manual
[[ ! -e $locks/lock.write ]] || fail "the lock of somebody who is dead is there"

# Each removes what the other wrote, and leaves nothing.
ours delete $B 192.0.2.3 3260 5 default
ours delete $B 192.0.2.4 3260 -1 default
theirs -m node -T $A -o delete
theirs -m node -T $B -o delete
theirs -m iface -I ifx -o delete > /dev/null
same "what is left of the nodes" "" "$(ls -A $root/nodes $root/static | grep -v : || true)"
