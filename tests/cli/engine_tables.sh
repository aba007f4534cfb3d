#!/bin/bash
# SPDX-License-Identifier: MIT
# engine_tables.sh - the tables of an iscsi-engine with two loops, by iscsiadm: records, names and secrets,
# logins, a ping, counters; and what is left of them when the engine is killed.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

mkdir -p root/run/engine
sock=$tmp/root/run/engine/main.sock
secret=wonderland-wonder-1
serve --target $iqn:a --lun ram:16M --chap alice:$secret --target $iqn:b --lun ram:16M
port=${portal##*:}
a=$iqn:a b=$iqn:b

# The sanitizer looks for leaks at the end, by system calls that an engine gives up.
free=()
! grep -q __asan_init "$LUNETTE_BIN/iscsi-engine" || free=(--unconfined)
engine() { # sets $engine
    "$LUNETTE_BIN/iscsi-engine" --socket "$sock" --state "$tmp/state" --threads 2 -v "${free[@]}" 2> engine.err &
    engine=$!
    pids+=("$engine")
    wait_for ready engine.err
}

# host CODE ARGUMENT...: of iscsiadm -m host -H 0
host() {
    timeout 60 "$LUNETTE_BIN/iscsiadm" --root "$tmp/root" --no-start -m host -H 0 "${@:2}" > out 2> err
    is "$1" $? "iscsiadm ${*:2}"
}
nodes() { host "$1" -C flashnode "${@:2}"; }
# index TARGET: of its record
index() { nodes 0; sed -n "s/^tcp: \[\([0-9]*\)\] .* $1\$/\1/p" out; }
# state TARGET WANT
state() {
    nodes 0 --json
    is "$2" "$(jq -r ".flashnodes[] | select(.target == \"$1\") | .state" out)" "state of $1"
}
# fields TARGET: what makes a record complete
fields() {
    echo -n flashnode.session.targetname -v "$1" -n flashnode.session.initiatorname -v "$iqn:me" \
        -n 'flashnode.conn[0].ipaddress' -v 127.0.0.1 -n 'flashnode.conn[0].port' -v "$port"
}

# Without an engine.
nodes 27; says 'there is none'

engine
nodes 21; says 'No records found'
nodes 0 -o new
is 'New flashnode [0] added' "$(cat out)" new
nodes 0
is 'tcp: [0] <empty>:<empty>,0 <empty>' "$(cat out)" 'an empty record'
nodes 7 -x 0 -o login; says 'not complete'
# Whichever loop the target belongs to, the record gets there.
nodes 0 -x 0 -o update -n flashnode.session.targetname -v $a
x=$(index $a)
# shellcheck disable=SC2046
nodes 0 -x "$x" -o update -n $(fields $a)
nodes 0
is "tcp: [$x] 127.0.0.1:$port,0 $a" "$(cat out)" 'the record'
nodes 7 -x "$x" -o update -n flashnode.session.erl -v 7; says '0 to 2'
nodes 7 -x "$x" -o update -n flashnode.session.erll -v 1; says 'flashnode.session.erl meant'
nodes 7 -x "$x" -o update -n flashnode.session.password -v x; says chap_out_idx
nodes 7 -o update -n flashnode.session.erl -v 1; says '--index is missing'
nodes 21 -x 99; says 'no record 99'
nodes 7 -o apply

# It wants to know who; then it is told.
nodes 24 -x "$x" -o login
state $a NEW
host 21 -C chap
host 7 -C chap -o new -n host.auth.username -v alice; says host.auth.password
host 0 -C chap -o new -x 3 -n host.auth.username -v alice -n host.auth.password -v $secret
is 'New CHAP entry [3] added' "$(cat out)" 'a name and its secret'
host 7 -C chap -o new -x 3 -n host.auth.username -v alice -n host.auth.password -v $secret
host 0 -C chap -x 3
is 1 "$(grep -c '^host.auth.username = alice$' out)" 'the name is shown'
is 0 "$(grep -c $secret out)" 'the secret is not'
host 21 -C chap -x 4 -o delete
nodes 0 -x "$x" -o update -n flashnode.session.chap_out_idx -v 3
nodes 0 -x "$x" -o login
state $a ACTIVE
nodes 15 -x "$x" -o login; says 'logged in already'
nodes 28 -x "$x" -o delete; says 'log out of it first'
nodes 28 -x "$x" -o update -n flashnode.session.targetname -v $b; says "after a logout"
host 28 -C chap -x 3 -o delete; says "record $x has"

# Another one, with all of it at once, which logs in whenever the engine starts.
# shellcheck disable=SC2046
nodes 0 -o new -n $(fields $b) -n flashnode.session.is_boot_target -v 1
y=$(index $b)
nodes 0 -x "$y"
isid=$(grep flashnode.session.isid out)
is 1 "$(grep -c '^flashnode.session.is_boot_target = 1$' out)" 'the record is shown'
nodes 0 -P 1
is 2 "$(grep -c '^Index: ' out)" 'both are listed'

host 0 -C stats
is 'Host Statistics:' "$(head -1 out)" statistics
is 1 "$(grep -c '	sessions_running: 1$' out)" 'of one session'
host 0 -C stats --json; json '.stats.records == 2'
host 0 -C ping -a 127.0.0.1:"$port" -c 2
is $'Ping 1 completed\nPing 2 completed' "$(cat out)" ping
host 4 -C ping -a 127.0.0.1:1
is 'Ping 1 failed: no connection to 127.0.0.1:1: Connection refused' "$(cat out)" 'ping of nobody'
host 7 -C ping; says '--ip is missing'

# By its path, and by a number that it has not.
"$LUNETTE_BIN/iscsiadm" --root "$tmp/root" --no-start -m host -H "$sock" -C stats > out 2> err
is 0 $? 'by its path'
"$LUNETTE_BIN/iscsiadm" --root "$tmp/root" --no-start -m host -H 1 -C stats > out 2> err
is 23 $? 'no such engine'
"$LUNETTE_BIN/iscsiadm" --root "$tmp/root" --no-start -m host -C stats > out 2> err
is 7 $? 'which engine?'
host 7 -C nonsense

# It is killed, and one that comes after it has all of that.
kill -KILL "$engine"
wait "$engine" 2> /dev/null
nodes 4; says 'no engine answers'
engine
active() { timeout 20 "$LUNETTE_BIN/iscsiadm" --root root --no-start -m host -H 0 -C flashnode --json | jq -e "any(.flashnodes[]; .target == \"$b\" and .state == \"ACTIVE\")"; }
comes active > /dev/null; is 0 $? 'the boot record has logged in'
state $a NEW
nodes 0 -x "$y"
is "$isid" "$(grep flashnode.session.isid out)" 'the ISID stays'
nodes 0 -x "$x" -o login
nodes 0 -x "$x" -o logout
nodes 2 -x "$x" -o logout; says 'not logged in'
nodes 0 -x "$x" -o delete
host 0 -C chap -x 3 -o delete
"$LUNETTE_BIN/iscsi-engine" --socket "$tmp/other.sock" --state "$tmp/state" 2> err
is 1 $? "a second engine of that state"
says "process $engine, has the state"

# A record that is torn is set aside, and the others are there.
kill -TERM "$engine"
wait "$engine"
is 0 $? "the engine ends"
truncate -s 100 "state/flash/$(printf %03d "$y")"
engine
wait_for "set aside as $(printf %03d "$y").torn" engine.err
nodes 21
kill -TERM "$engine"
wait "$engine"
is 600 "$(stat -c %a state/chap)" 'the mode of the secrets'
is 0 "$(grep -rl $secret state/flash engine.err | wc -l)" 'files with the secret'
finish
