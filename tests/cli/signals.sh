#!/bin/bash
# SPDX-License-Identifier: MIT
# signals.sh - signals that were ignored before, and descriptors that were closed before.
. "$(dirname "$0")/lib.sh"

serve --target $iqn:t --lun ram:4M --lun ram:4M
target=${pids[0]}
U=iscsi://$portal/$iqn:t
head -c 4M /dev/urandom > rnd
mkfifo feed

# The LUN has data of the copy, so that its handlers have been installed.
has_data() { L read $U/0 --length 1M 2> /dev/null | cmp -s -n 1048576 - rnd; }
wait_under_way() {
    comes has_data || { echo "FAIL: the copy does not begin"; failed=1; }
}

# a hang-up under nohup: the copy goes on to its end
exec 9<> feed
nohup "$LUNETTE_BIN/lunette" copy - $U/0 < feed > nohup.log 2>&1 9>&- &
p=$!
timeout 60 head -c 3M rnd > feed
wait_under_way
kill -HUP $p
timeout 60 tail -c 1M rnd > feed
exec 9>&-
wait $p; is 0 $? "a copy under nohup, after a hang-up"
L read $U/0 > back; same rnd back
grep -q 'nothing\|interrupted' nohup.log; is 1 $? "nohup.log tells of an interruption"

# each signal: ignored, it does nothing; else the copy ends in order, with 128 and its number
for sig in HUP:129 INT:130 TERM:143; do
    L write $U/0 < /dev/zero 2> /dev/null
    for how in ignore default; do
        exec 9<> feed
        env --$how-signal="${sig%:*}" "$LUNETTE_BIN/lunette" copy - $U/0 < feed 2> err 9>&- &
        p=$!
        timeout 60 head -c 3M rnd > feed
        wait_under_way
        kill -"${sig%:*}" $p
        if [[ $how == default ]]; then # its input goes on, so that nothing else ends it
            wait $p; is "${sig#*:}" $? "SIG${sig%:*}"
            says interrupted
            exec 9>&-
        else
            timeout 60 tail -c 1M rnd > feed
            exec 9>&-
            wait $p; is 0 $? "SIG${sig%:*}, ignored before"
        fi
    done
done

# the target: what is ignored stays ignored, what is not ends it
for sig in INT TERM; do
    : > s.out # what stands there is of the one before, until the next has begun
    env --ignore-signal=$sig "$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target $iqn:s --lun ram:1M > s.out &
    p=$!
    wait_for '^listening' s.out
    kill -$sig $p
    sleep 0.2
    kill -0 $p 2> /dev/null; is 0 $? "lunette-target lives on after a SIG$sig that was ignored before"
    kill -KILL $p
    wait $p 2> /dev/null
    : > s.out # what stands there is of the one before, until the next has begun
    env --default-signal=$sig "$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target $iqn:s --lun ram:1M > s.out &
    p=$!
    wait_for '^listening' s.out
    kill -$sig $p
    wait $p; is 0 $? "SIG$sig ends lunette-target in order"
done

# descriptors 0 to 2 closed: nothing gets their numbers
L copy rnd $U/0 -q
for v in "" -v -vv; do
    for closed in '0<&- 1>&- 2>&-' '0<&- 2>&-' '1>&- 2>&-' '2>&-' '0<&-'; do
        rm -f img
        eval "L copy $v $U/0 img $closed" 2> err; is 0 $? "copy $v to a file with $closed"
        same rnd img
        eval "L copy $v rnd $U/1 $closed" 2> err; is 0 $? "copy $v to a LUN with $closed"
        L read $U/1 > back; same rnd back
        L write $U/1 < /dev/zero 2> /dev/null
    done
done
L write $U/1 2> err 0<&-; is 1 $? "write without standard input"
L read $U/1 2> err 1>&-; is 1 $? "read without standard output"
"$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target $iqn:s --lun ram:1M -vv 0<&- 1>&- 2>&- &
p=$!
closed_are_null() { for fd in 0 1 2; do [[ $(readlink /proc/$p/fd/$fd) == /dev/null ]] || return; done; }
comes closed_are_null
for fd in 0 1 2; do
    is /dev/null "$(readlink /proc/$p/fd/$fd)" "descriptor $fd of lunette-target"
done
kill $p
wait $p
kill -0 $target; is 0 $? "the target lives"
finish
