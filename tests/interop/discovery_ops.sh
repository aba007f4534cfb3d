#!/bin/bash
# SPDX-License-Identifier: MIT
# discovery_ops.sh - what a discovery does with records that are there: the iscsiadm of open-iscsi and ours
# with the same operations, from the same records, at the same portal that tells something else by then.
# The sets of records have to be the same; what an operator set is lost with theirs, and stays with ours.
. "$(dirname "$0")/lib.sh"
requires iscsiadm lunette-target
. "$here/open_iscsi_lib.sh"
theirs_world

N=iqn.2026-11.example
target() { # NAME...: what the portal tells from now on
    local options=() i
    for i; do options+=(--target "$N:$i" --lun ram:1M); done
    [[ -z ${target_pid-} ]] || stop "$target_pid"
    theirs_target "${options[@]}"
}
theirs_daemon

# Records before: a and b are found, x is a person's, and b has a value that a person has set.
before() {
    rm -rf /etc/iscsi/nodes /etc/iscsi/send_targets /etc/iscsi/static
    target a b
    ok "$program" -m discovery -t st -p 127.0.0.1:3261
    ok "$program" -m node -T $N:x -p 192.0.2.1:3260,1 -o new
    ok "$program" -m node -T $N:b -o update -n node.session.cmds_max -v 64
    target b c
}

# What there is afterwards: nodes, links to them, and the record of the discovery.
after() {
    (cd /etc/iscsi && find nodes send_targets static ! -type d | sort)
    echo "cmds_max of b: $(cat /etc/iscsi/nodes/$N:b/*/default 2> /dev/null | sed -n 's/^node.session.cmds_max = //p')"
}

try() { # SET-BY-OPERATOR OPTION...: the value that ours has kept, "kept" or "-" where b was not there before
    local kept=$1 r
    shift
    for program in theirs ours; do
        before
        [[ $kept != - ]] || ok "$program" -m node -T $N:b -o delete
        r=0
        "$program" "$@" > "$tmp/$program.out" 2> "$tmp/$program.err" || r=$?
        { echo "rc=$r"; sed s/^'# BEGIN RECORD'.*/BEGIN/ "$tmp/$program.out"; after; } > "$tmp/$program.tells"
    done
    checks=$((checks + 1))
    grep -v "^cmds_max of b" "$tmp/theirs.tells" > "$tmp/theirs.set"
    grep -v "^cmds_max of b" "$tmp/ours.tells" > "$tmp/ours.set"
    same_lines "$*: ours is not as theirs" "$tmp/theirs.set" "$tmp/ours.set" "$tmp/theirs.err" "$tmp/ours.err"
    [[ $kept == - ]] || has "cmds_max of b: 64" "$tmp/ours.tells"
    say "$* (theirs: $(tail -n 1 "$tmp/theirs.tells"))"
}

P=(-p 127.0.0.1:3261)
try kept -m discovery -t st "${P[@]}"
try kept -m discovery -t st "${P[@]}" -o new
try kept -m discovery -t st "${P[@]}" -o update
try kept -m discovery -t st "${P[@]}" -o delete
try kept -m discovery -t st "${P[@]}" -o new -o delete
try kept -m discovery -t st "${P[@]}" -o update -o delete
try kept -m discovery -t st "${P[@]}" -o new -o update
try kept -m discovery -t st "${P[@]}" -o nonpersistent
try kept -m discoverydb -t st "${P[@]}" -D
try kept -m discoverydb -t st "${P[@]}" -D -o new
try kept -m discoverydb -t st "${P[@]}" -D -o update
try kept -m discoverydb -t st "${P[@]}" -D -o delete
try kept -m discoverydb -t st "${P[@]}" -D -o new -o delete
try kept -m discoverydb -t st "${P[@]}" -D -o nonpersistent
try - -m discovery -t st "${P[@]}"
try - -m discoverydb -t st "${P[@]}" -D -o new
try kept -m discoverydb -t st "${P[@]}"
try - -m discoverydb -t st "${P[@]}" -o delete
try - -m discovery "${P[@]}" -o delete
