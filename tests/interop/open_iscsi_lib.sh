# SPDX-License-Identifier: MIT
# open_iscsi_lib.sh - a machine for the tools of open-iscsi, and iscsid on it.  Sourced after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154

# theirs_world [ARGUMENT...]: runs the script again in namespaces of its own, with its arguments, and hides
# /etc/iscsi, /sys and /run there, so that the instance of the system is that of the test.
theirs_world() {
    own_machine "tools of open-iscsi read /sys and /etc/iscsi, which are hidden for the test" "$@"
    tree=$tmp/sys
    mkdir "$tree"
    mount -t tmpfs none /etc/iscsi
    mount -t tmpfs none /run
    mkdir -p /run/lock/iscsi
    mount --bind "$tree" /sys
    printf 'InitiatorName=iqn.2026-11.example:me\n' > /etc/iscsi/initiatorname.iscsi
    : > /etc/iscsi/iscsid.conf
}

# theirs_daemon [OPTION...]: starts iscsid; sets $daemon.
theirs_daemon() {
    start "iscsid$SECONDS" "$LUNETTE_BIN/iscsid" -f --classic-socket --sysfs "$tree" "$@"
    daemon=$pid
    wait_until 20 answers || fail "iscsid does not start"
}

# theirs_target OPTION...: starts lunette-target at 127.0.0.1:3261; sets $target_pid.
theirs_target() {
    wait_until 10 target_listens "$@" || fail "lunette-target does not start"
}

target_listens() { # OPTION...: the socket of one before may outlive it by a moment
    start target "$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:3261 "$@"
    target_pid=$pid
    until grep -q listening "$tmp/target.log"; do
        kill -0 "$pid" 2> /dev/null || return 1
        sleep 0.02
    done
}

answers() {
    local rc=0
    ours -m session || rc=$?
    [[ $rc == 0 || $rc == 21 ]]
}

theirs() {
    timeout 60 /sbin/iscsiadm "$@"
}

ours() {
    timeout 60 "$LUNETTE_BIN/iscsiadm" --no-start "$@"
}

sid() { # TARGET: the first of its sessions
    local i
    for i in "$tree"/class/iscsi_session/session*; do
        [[ $(cat "$i/targetname") != "$1" ]] || { echo "${i##*session}"; return; }
    done
    return 1
}

has_lun() { # TARGET LUN
    local n
    n=$(sid "$1") && [[ -e $tree/bus/scsi/devices/$n:0:0:$2/state ]]
}

state_is() { # TARGET STATE
    [[ $(cat "$tree/class/iscsi_session/session$(sid "$1")/state") == "$2" ]]
}

theirs_tree_has() { # SID
    [[ -e $tree/class/iscsi_session/session$1/targetname ]]
}
