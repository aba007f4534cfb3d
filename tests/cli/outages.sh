#!/bin/bash
# SPDX-License-Identifier: MIT
# outages.sh - a connection that is lost ends no command: the target dies and comes back, or does not.
here=$(realpath "$(dirname "$0")")
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

listen=127.0.0.1:0
down() { kill -KILL $target; wait $target; } 2> /dev/null
up() { # OPTION...: sets $target and $portal; once more at the same port
    for _ in {1..100}; do # the port may still be taken
        : > target.out
        "$LUNETTE_BIN/lunette-target" --listen $listen --target $iqn:t --loop epoll --set DefaultTime2Wait=0 \
            "$@" > target.out 2> target.err 9>&- &
        target=$!
        comes listens_or_ended
        portal=$(sed -n 's/^listening on //p' target.out)
        if [[ -n $portal ]]; then
            pids=($target) listen=$portal U="iscsi://$portal/$iqn:t/0?default_time2wait=0"
            return
        fi
        down # one that is only slow would hold the port, and nobody would know it
        sleep 0.1
    done
    echo "FAIL: the target does not start"; cat target.err
    exit 1
}
listens_or_ended() { grep -q '^listening on ' target.out || ! kill -0 $target; }
wait_for_lines() { # NUMBER PATTERN FILE
    comes has_lines "$@" && return
    echo "FAIL (line ${BASH_LINENO[0]}): no $1 lines with '$2' in $3"; cat "$3"; failed=1
}
has_lines() { [[ $(grep -c -- "$2" "$3") -ge $1 ]]; }
asks() { # sets $q: a client whose request the export has taken
    : > got.err # the one before has asked, too
    timeout 60 python3 "$here/nbd_read.py" s > got 2> got.err & q=$!
    wait_for asked got.err
}
# The command, for the background, where a shell would have it ignore Ctrl-C.
B() { exec env --default-signal=INT "$LUNETTE_BIN/lunette" "$@"; }
lines() { is "$1" "$(grep -c -- "$2" err)" "lines with '$2'"; }

# ping counts what is lost, and goes on
up --lun ram:4M,serial=A
B ping "$U" -i 0.05 > out 2> err & p=$!
wait_for seq=3 out
# An outage may fall between two pings: then there is another one.
for outages in {1..20}; do
    down
    wait_for_lines $outages 'connection lost' err
    sleep 0.3
    up --lun ram:4M,serial=A
    wait_for_lines $outages 'connected again' err
    answered=$(grep -c seq= out)
    wait_for_lines $((answered + 2)) seq= out
    sent=$(sed -n 's/.*seq=\([0-9]*\) .*/\1/p' out | tail -n 1)
    [[ $sent -le $(grep -c seq= out) ]] || break
done
kill -INT $p
wait $p; is 0 $? "ping over an outage"
lines $outages 'connection lost'
lines $outages 'connected again'
grep -q ' 0 % lost' out; is 1 $? "ping tells of none that was lost"

# attach: a client waits, and is answered; and a stop while it waits says so, and can be cut short
rm -f s
: > out
B attach "$U" --socket s > out 2> err & p=$!
wait_for '^0 s$' out
down
wait_for 'connection lost' err
asks
is 1 "$(kill -0 $q 2> /dev/null && echo 1)" "the client waits"
up --lun ram:4M,serial=A
wait $q; is 0 $? "a client of attach over an outage"
is 512 "$(stat -c %s got)" "its data"
lines 1 'connected again'
down
asks
kill -INT $p
wait_for 'waiting for the requests' err
kill -INT $p
wait $p; is 130 $? "ended at the second signal"
wait $q; is 1 $? "its client is told by the end of the connection"

# bench tells how long there was none
up --lun file:"$PWD"/written:4M
B bench "$U" --rw randwrite --time 4 --json > out 2> err & p=$!
comes at_least 8 written
down
up --lun file:"$PWD"/written:4M
wait $p; is 0 $? "bench over an outage"
json '.outages == 1 and .outage_seconds > 0 and .errors == 0'
down

# a cache may lose what it has acknowledged: all of it arrives nevertheless, also from a pipe
head -c 64M /dev/urandom > rnd
truncate -s 96M lun
in_two_parts() { # the second one when there have been two outages
    head -c 16M rnd
    comes test -e more
    tail -c +$(((16 << 20) + 1)) rnd
}
for from in rnd -; do
    up --lun file:"$PWD"/lun
    rm -f more
    B copy $from "$U&max_transfer=4k" --bs 4k --depth 1 --progress=json < <(in_two_parts) > out 2> err & p=$!
    for mib in 1 8; do
        comes at_least $((mib << 11)) lun
        down
        up --lun file:"$PWD"/lun
    done
    touch more
    wait $p; is 0 $? "copy $from over outages"
    says connection.lost
    grep '^{' err | jq -e . > jq.out; is 0 $? "the progress is JSON"
    cmp -n $((64 << 20)) rnd lun; is 0 $? "what arrived of $from"
    down
    : > lun
    truncate -s 96M lun
done

# quiet: nothing, where nothing fails
mkfifo feed
up --lun ram:32M,serial=A
exec 9<> feed
B copy - "$U" -q < feed 2> err 9>&- & p=$!
timeout 60 head -c 8M rnd > feed
down
up --lun ram:32M,serial=A
timeout 60 tail -c 8M rnd > feed
exec 9>&-
wait $p; is 0 $? "copy --quiet over an outage"
is "" "$(cat err)" "what copy --quiet prints"

# away for too long; refused for good; another unit in its place, as memory is after a restart; each is
# told once
for how in 'away:3:was not recovered within 1 s' 'secret:4:authentication failed' 'unit:5:another unit is in the place' \
    'memory:5:another unit is in the place'; do
    IFS=: read -r what want words <<< "$how"
    down
    serial=,serial=A
    [[ $what != memory ]] || serial=
    up --lun ram:32M$serial --chap alice:a-secret-of-16
    seconds=60
    [[ $what != away ]] || seconds=1
    LUNETTE_CHAP=alice:a-secret-of-16 B write "$U&replacement_timeout=$seconds&reopen_max=2" < feed 2> err 9>&- & p=$!
    exec 9<> feed
    timeout 60 head -c 4M rnd > feed
    down
    [[ $what != secret ]] || up --lun ram:32M,serial=A --chap alice:b-secret-of-16
    [[ $what != memory ]] || up --lun ram:32M --chap alice:a-secret-of-16
    [[ $what != unit ]] || up --lun ram:32M,serial=B --chap alice:a-secret-of-16
    timeout 60 head -c 16M rnd > feed & feeder=$!
    wait $p; is "$want" $? "write, $what"
    lines 1 "connection lost"
    lines 1 "$words"
    kill $feeder 2> /dev/null
    wait $feeder
    exec 9>&-
    [[ $what != away ]] || up --lun ram:32M,serial=A
done

# info --watch: a line for each event
down
up --lun ram:4M,serial=A
B info "$U" --watch --json > out 2> err & p=$!
wait_for '"reopens"' out
down
wait_for conn_lost out
up --lun ram:8M,serial=A
wait_for '"capacity"' out
kill -INT $p
wait $p; is 130 $? "info --watch, Ctrl-C"
jq -es '.[0].session.state == "logged_in" and ([.[].event] | index("recovered") != null) and
        .[-1].size == 8388608 and (.[1].session.state == "blocked")' out > jq.out; is 0 $? "events of info --watch"

down
finish
