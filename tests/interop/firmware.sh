#!/bin/bash
# SPDX-License-Identifier: MIT
# firmware.sh - targets of the firmware's table: iscsiadm of open-iscsi and ours read the same tree, print
# the same and make the same records; ours logs in to them, and the sessions outlive what happens to us.
. "$(dirname "$0")/lib.sh"
requires iscsiadm lunette-target
. "$here/open_iscsi_lib.sh"
theirs_world
trap 'status=$?; umount /sys/firmware/ibft 2> /dev/null; cleanup "$status"' EXIT

A=iqn.2026-11.example:a B=iqn.2026-11.example:b
start_target() {
    theirs_target --target $A --lun ram:16M \
        --chap joe:a-secret-of-21-bytes --mutual-chap target:another-of-19-bytes --target $B --lun ram:16M
}
start_target
theirs_daemon

put() { # PATH TEXT
    mkdir -p "$(dirname "$fw/$1")"
    printf '%s\n' "$2" > "$fw/$1"
}

# card N MAC ADDRESS, target N CARD NAME ADDRESS PORT: as the kernel shows them
card() {
    put "ethernet$1/index" "$1"
    put "ethernet$1/flags" 3
    put "ethernet$1/mac" "$2"
    put "ethernet$1/ip-addr" "$3"
    put "ethernet$1/prefix-len" 24
    put "ethernet$1/subnet-mask" 255.255.255.0
    put "ethernet$1/vlan" 0
    put "ethernet$1/origin" 1
}

target() {
    put "target$1/index" "$1"
    put "target$1/flags" 3
    put "target$1/nic-assoc" "$2"
    put "target$1/target-name" "$3"
    put "target$1/ip-addr" "$4"
    put "target$1/port" "$5"
    put "target$1/lun" 00000000
    put "target$1/chap-type" 0
}

# Both say the same of the same tree, by their first lines, which tell versions, apart.
both() { # EXIT OPTION...
    local rc=$1
    shift
    expect "$rc" theirs -m fw "$@"
    sed s/^'# BEGIN RECORD'.*/BEGIN/ "$tmp/out" > "$tmp/theirs"
    expect "$rc" ours -m fw -S "$@"
    sed s/^'# BEGIN RECORD'.*/BEGIN/ "$tmp/out" > "$tmp/ours"
    same_lines "-m fw $*: ours is not as theirs" "$tmp/theirs" "$tmp/ours"
}

say "no firmware"
both 22
mkdir "$tree/firmware"
both 21
expect 21 theirs -m discovery -t fw
expect 21 ours -m discovery -t fw
has "Could not get list of targets from firmware. (err 21)" "$tmp/err"
expect 21 ours -m fw -l
fw=/sys/firmware/ibft
mkdir "$fw"
mount -t tmpfs none "$fw" # which lists the newest first, so that theirs begins with target 0
both 21
put initiator/index 0
put initiator/flags 3
both 21

say "what is shown"
put initiator/initiator-name iqn.2026-11.example:firmware
card 1 02:00:00:00:00:02 10.0.1.5
card 0 02:00:00:00:00:01 10.0.0.5
target 1 1 $B 127.0.0.1 3261
target 0 0 $A 127.0.0.1 3261
put target0/chap-name joe
put target0/chap-secret a-secret-of-21-bytes
put target0/rev-chap-name target
put target0/rev-chap-name-secret another-of-19-bytes
both 0
has "iface.initiatorname = iqn.2026-11.example:firmware"
has "node.session.auth.password = a-secret-of-21-bytes"
ok ours -m fw
has "node.session.auth.password = ********"
has "node.session.auth.password_in = ********"
! grep -F a-secret-of "$tmp/out" || fail "a secret is shown"
ok ours -m fw --json
! grep -F a-secret-of "$tmp/out" || fail "a secret is shown"
put ethernet0/origin 3
put ethernet0/gateway 10.0.0.1
put ethernet0/primary-dns 10.0.0.2
put ethernet0/secondary-dns 10.0.0.3
put ethernet0/vlan 100
put ethernet1/dhcp 0.0.0.0
put target1/flags 2
both 0
put ethernet1/dhcp 10.0.1.2
rm "$fw/target1/port" "$fw/target1/lun"
both 0
put target1/flags 0
both 0
put target1/flags 3
put target1/nic-assoc 5
ok ours -m fw
[[ $(grep -c "^node.name" "$tmp/out") == 1 ]] || fail "a target by no card is shown"
put target1/nic-assoc 1
put target1/port 3261
mkdir -p "$tree/devices/pci/net/eth7" "$tree/devices/bare"
ln -s ../../../devices/pci "$fw/ethernet0/device"
both 0
has "iface.net_ifacename = eth7"
ln -s ../../../devices/bare "$fw/ethernet1/device" # a card that is not in this machine
both 0
! grep -F $B "$tmp/out" || fail "a target by a card that is not there is shown"
rm "$fw/ethernet0/device" "$fw/ethernet1/device"

say "records"
records() { # PROGRAM: what it makes of the firmware's targets
    rm -rf /etc/iscsi/nodes /etc/iscsi/fw
    ok "$1" -m discovery -t fw
    cp "$tmp/out" "$tmp/$1.lines"
    (cd /etc/iscsi && find nodes fw | sort; find nodes -type f | sort | while read -r i; do
        echo "== $i"
        # Their 2.1.8 has them all "manual", and later versions "onboot", and 0 for the priority, as ours.
        sed -e s/^'# BEGIN RECORD'.*/BEGIN/ -e /^node.startup/d -e /xmit_thread_priority/d "$i" | sort
    done) > "$tmp/$1.records"
}
records theirs
records ours
same_lines "-m discovery -t fw: ours is not as theirs" "$tmp/theirs.lines" "$tmp/ours.lines"
same_lines "the records are not as theirs" "$tmp/theirs.records" "$tmp/ours.records"
ok ours -m node -T $A
has "node.startup = onboot"
has "node.discovery_type = fw"
has "iface.initiatorname = iqn.2026-11.example:firmware"
ok ours -m discovery -P 1
has "FIRMWARE:"
ok ours -m node -T $A -o update -n node.session.queue_depth -v 17
ok ours -m discovery -t fw
ok ours -m node -T $A
has "node.session.queue_depth = 17"
rm -r "$fw/target1"
ok ours -m discovery -t fw -o delete
expect 21 ours -m node -T $B
ok ours -m discovery -t fw -o nonpersistent
target 1 1 $B 127.0.0.1 3261
ok ours -m discovery -t fw -l
has "Login to [iface: default, target: $A, portal: 127.0.0.1,3261] successful."
ok ours -m session -P 1
has "Iface Initiatorname: iqn.2026-11.example:firmware"
ok ours -m node -u
ok ours -m node -o delete

say "logins without records"
expect 7 ours -m fw -l -n iface.net_ifacename -v eth0
expect 7 theirs -m fw -l -n iface.net_ifacename -v eth0
ok ours -m fw -l
for i in $A $B; do has "Login to [iface: default, target: $i, portal: 127.0.0.1,3261] successful."; done
expect 21 ours -m node
ok ours -m session -P 1
[[ $(grep -c "Iface Initiatorname: iqn.2026-11.example:firmware" "$tmp/out") == 2 ]] || fail "another name"
expect 15 ours -m fw -l
expect 21 ours -m node -U all
ok ours -m session
[[ $(wc -l < "$tmp/out") == 2 ]] || fail "sessions of the firmware's targets are logged out of with all others"

say "they come back under another daemon"
kill -9 "$daemon"
gone_within 10 "$daemon" || fail "the daemon did not end"
theirs_daemon
ok ours -m session
[[ $(wc -l < "$tmp/out") == 2 ]] || fail "the sessions have gone with the daemon"
kill -9 "$target_pid"
wait_until 20 state_is $A FAILED || fail "the loss is not shown"
start_target
wait_until 20 state_is $A LOGGED_IN || fail "a session without a record does not come back"
wait_until 20 state_is $B LOGGED_IN || fail "a session without a record does not come back"
ok ours -m session -u
expect 21 ours -m session

say "the iscsiadm of open-iscsi logs in by it"
ok theirs -m fw -l
wait_until 10 sid $A || fail "no session"
ok ours -m session -P 1
has "Iface Initiatorname: iqn.2026-11.example:firmware"
ok ours -m session -u
expect 21 ours -m node
