#!/bin/bash
# SPDX-License-Identifier: MIT
# orchestrators.sh - the commands that orchestrators give iscsiadm, in their order, against tgtd: our
# iscsiadm and iscsid have to say, and to end with, what was recorded of open-iscsi's iscsiadm 2.1.8 in
# orchestrators.txt.  Where that is installed, it says it again, to iscsid --classic-socket, so that the
# record is known to be true.  What is not the same for reasons of the matter (numbers of sessions, names
# of disks) is told by a word in place of it.
# usage: orchestrators.sh [record]
. "$(dirname "$0")/lib.sh"
requires tgtd tgtadm
. "$here/tgtd.sh"
. "$here/open_iscsi_lib.sh"
theirs_world "$@"
tgt_start
for i in 1 2; do
    tgt_target $i "vol$i"
    tgt_lun $i 1 "$tmp/vol$i" 32M
done
tgt_target 3 secret
tgt_lun 3 1 "$tmp/secret" 16M
tgt_account joe a-secret-of-21-bytes
tgt bind account --tid 3 --user joe
T=$tgt_iqn:vol1 T2=$tgt_iqn:vol2 TS=$tgt_iqn:secret P=127.0.0.1:3260

plain() {
    sed -E -e 's/\[sid: [0-9]+/[sid: N/; s/^tcp: \[[0-9]+\]/tcp: [N]/; s/(SID|Host Number): [0-9]+/\1: N/' \
        -e 's/scsi[0-9]+ Channel/scsiN Channel/; s/(Attached scsi disk) [^\t]*/\1 DISK/' \
        -e 's/(Iface IPaddress): .*/\1: ADDRESS/; s/(Iface HWaddress|Iface Netdev): .*/\1: NAME/' \
        -e 's/^\t([a-z0-9_]+): [0-9]+$/\t\1: N/; s/(session -r) [0-9]+/\1 N/' \
        -e 's/^(iSCSI Transport Class version).*/\1 X/; s/^version .*/version X/; s/BEGIN RECORD .*/BEGIN RECORD/' \
        -e '/could not read session targetname/d; s/requested, but [0-9]+ already/requested, but N already/' \
        -e '/^node.export =/d; /^node.session.xmit_thread_priority =/d'
}

# Runs iscsiadm as a caller would, within 30 s, and notes all that the caller sees.
x() {
    local rc=0
    "$tool" "$@" > "$tmp/o" 2> "$tmp/e" || rc=$?
    { echo "\$ iscsiadm $*"; sort_lines "$@" < "$tmp/o"; sed 's/^/! /' "$tmp/e"; echo "= $rc"; } | plain >> "$said"
    wait_until 5 shown || fail "the tree does not follow"
}

# Where several are meant, nobody has promised an order.
sort_lines() {
    if [[ $* == "-m session" || $* == "-m node" || $* == *-L* || $* == *-U* ]]; then sort; else cat; fi
}

# What the one daemon knows and the tree are the same.
shown() {
    [[ $(ours -m session 2> /dev/null | wc -l) == $(find "$tree/class/iscsi_session" -type l | wc -l) ]]
}

note() {
    echo "# $*" >> "$said"
}

sequences() {
    note "csi-lib-iscsi, csi-driver-iscsi: connect, find, disconnect"
    x -m session
    x -m iface -I default -o show
    x -m iface -o show
    x -m iface -I csi -o new
    x -m iface -I csi -o update -n iface.initiatorname -v iqn.2026-11.example:csi
    x -m iface -I csi -o show
    x -m discoverydb -t sendtargets -p $P -I default -o new
    x -m discoverydb -t sendtargets -p $P -I default -o update -n discovery.sendtargets.auth.authmethod -v None
    x -m discoverydb -t sendtargets -p $P -I default --discover
    x -m node -T $T -p $P -I default -o new
    x -m node -T $T -p $P -I default -l
    x -m session
    x -m node -T $T -p $P -I default -l
    x -m node -T $T -p $P -u
    x -m node -T $T -p $P -u
    x -m node -T $T -o delete
    x -m node -T $T -o delete
    x -m discoverydb -t sendtargets -p $P -I default -o delete
    x -m iface -I csi -o delete
    note "the same with CHAP, and without"
    x -m discoverydb -t sendtargets -p $P -I default -o new
    x -m discoverydb -t sendtargets -p $P -I default --discover
    x -m node -T $TS -p $P -l
    x -m node -T $TS -p $P -o update -n node.session.auth.authmethod -v CHAP
    x -m node -T $TS -p $P -o update -n node.session.auth.username -v joe
    x -m node -T $TS -p $P -o update -n node.session.auth.password -v a-secret-of-21-bytes
    x -m node -T $TS -p $P -l
    x -m node -T $TS -p $P -u
    x -m discoverydb -t sendtargets -p $P -o delete

    note "longhorn go-iscsi-helper"
    x -m discovery -t sendtargets -p 127.0.0.1
    x -m node -T $T -o update -n node.session.err_timeo.abort_timeout -v 15
    x -m node -T $T -o update -n node.session.timeo.replacement_timeout -v 120
    x -m node -T $T -p 127.0.0.1 --login
    x -m session
    x -m session -P 3
    x -m node -T $T -p 127.0.0.1 -o show
    x -m node -T $T -R
    x -m node -T $T -p 127.0.0.1 -R
    x -m node -T $T -o delete
    x -m node -T $T -p 127.0.0.1 --logout
    x -m node -T $T -p 127.0.0.1 -o delete
    x -m node -T $T -p 127.0.0.1 -o show

    note "democratic-csi"
    x -m iface -o show
    x -m node -T $T2 -p $P -o new
    x -m node -T $T2 -p $P -o update --name node.startup --value manual
    x -m node -T $T2 -p $P -o update --name node.session.nope --value 1
    x -m discovery -t sendtargets -p $P
    x -m node -T $T2 -p $P -l
    x -m session
    x -m session -P 3
    x -m session -r "$(sid $T2)" --rescan
    x -m session -r "$(sid $T2)" -s
    x -m session -r 4711 --rescan
    x -m session -P 4
    x -m node -T $T2 -p $P -u
    x -m node -T $T2 -p $P -o delete
    x -m session -P 3

    note "os-brick, vdsm, trident"
    x -m discoverydb -t sendtargets -p $P -I default --op new
    x -m discoverydb -t sendtargets -p $P --discover
    x -m node -T $T -p $P
    x -m node -T iqn.2026-11.example:none -p $P
    x -m node -T $T -p $P --interface default --op new
    x -m node -T $T -p $P --op update -n node.session.scan -v manual
    x -m node -T $T -p $P --login
    x -m session
    x -m node -T $T -p $P --op update -n node.startup -v automatic
    x -m node -T $T -p $P --op update -n node.startup -v manual
    x -m session -r "$(sid $T)" -R
    x -m node -T $T -p $P --logout
    x -m node -T $T -p $P --op delete
    x -m node -T $T2 -p $P -o update -n node.startup -v automatic
    x -m node
    x -m node -L automatic
    x -m node -U automatic
    x -m node -U all
    x -m node -T $T2 -p $P -l -u
    x -m node -T $T2 -p 127.0.0.1:1 -l
    x -m nonsense
}

# records_as TOOL CONF: a fresh daemon and records, and what TOOL says.
records_as() {
    tool=$1 said=$tmp/said.$1
    rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets /etc/iscsi/static /etc/iscsi/ifaces
    printf '%s\n' "$2" > /etc/iscsi/iscsid.conf
    theirs_daemon
    sequences
    ours -k 0 > /dev/null 2>&1 || true
    kill "$daemon" 2> /dev/null || true
    gone_within 10 "$daemon" || fail "iscsid does not end"
}

compare() { # FILE, who
    checks=$((checks + $(grep -c '^= ' "$1")))
    same_lines "$2 says something else than was recorded" <(grep -v SPDX "$here/orchestrators.txt") "$1"
}

if [[ -x /sbin/iscsiadm ]]; then
    echo "-- open-iscsi"
    records_as theirs ''
    if [[ ${1-} == record ]]; then
        { grep SPDX "$here/orchestrators.txt"; cat "$tmp/said.theirs"; } > "$tmp/recorded"
        cp "$tmp/recorded" "$here/orchestrators.txt"
    fi
    compare "$tmp/said.theirs" "open-iscsi's iscsiadm"
fi
echo "-- ours"
# A LUN is a disk by its export.
records_as ours 'node.export = nbd'
compare "$tmp/said.ours" "our iscsiadm"
