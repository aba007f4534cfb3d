#!/bin/bash
# SPDX-License-Identifier: MIT
# engine.sh - iscsi-engine as the system sees it: who may come, one login for several processes, the
# death of a client and of the engine, and its end.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

# Who looks for leaks traces the process, which the filter of system calls does not let it.
free=()
! grep -q __asan_init "$LUNETTE_BIN/iscsi-engine" || free=(--unconfined)
engine() { # OPTION...: sets $engine; a line more in engine.err for each that has started
    "$LUNETTE_BIN/iscsi-engine" --socket "$tmp/s" -v "${free[@]}" "$@" 2>> engine.err &
    engine=$!
    pids+=($!)
    comes test -S "$tmp/s" || { echo "FAIL: the engine does not start"; cat engine.err; exit 1; }
}
lines() { is "$1" "$(grep -c -- "$2" engine.err)" "lines with '$2'"; }
begins() { cmp -s -n $((1 << 24)) data "$1"; is 0 $? "$1 begins with the data"; }
holds() { # how many memories of clients the engine has mapped
    local n
    n=$(grep -c memfd "/proc/$engine/maps")
    [[ $n == "$1" ]]
}

head -c 16M /dev/urandom > data
serve --target $iqn:e --lun ram:256M
url="iscsi://$portal/$iqn:e/0?transport=offload_session&engine=$tmp/s"

# Without an engine, a sentence.
code 3 info "$url&login_timeout=2000"
says 'there is no engine at'

engine --state "$tmp/state"
is 600 "$(stat -c %a s)" "mode of the socket"
is 700 "$(stat -c %a state)" "mode of the folder"
"$LUNETTE_BIN/iscsi-engine" --socket "$tmp/other" --state "$tmp/state" 2> err
is 1 $? "a second engine of the same tables"
[[ ! -S other ]]; is 0 $? "and it does not listen"

# One login serves processes that come and go.
code 0 copy --verify data "$url"
code 0 copy "$url" back
begins back
lines 1 'logged in at'

# What the engine has agreed on is not made up.
code 0 info "$url"
grep -q 'offload_session, which logs in by itself' out; is 0 $? "info says who logs in"
grep -q MaxBurstLength out; is 1 $? "info does not know what was agreed on"

# Clients are killed while they write; the others see nothing.
for i in 1 2 3 4 5 6; do
    timeout -s KILL "0.0$i" "$LUNETTE_BIN/lunette" copy data "$url" > /dev/null 2>&1
    code 0 copy "$url" back$i
    begins back$i
done 2> /dev/null
lines 1 'logged in at'
comes holds 0; is 0 $? "nothing of the dead clients is mapped"
lines 0 'sent away'

# An engine that stands still for longer than its clients wait, as with its machine, goes on, and so do they.
L bench "$url" --rw randread --depth 4 --time 15 > stood.out 2> stood.err & stood=$!
sleep 1
kill -STOP "$engine"
sleep 12
kill -CONT "$engine"
wait $stood; is 0 $? "reads over an engine that stood still"
grep -q 'has done nothing for 10 s' stood.err; is 0 $? "which was noticed"
code 0 copy "$url" back
begins back
comes holds 0; is 0 $? "nothing is mapped of the time before"

# Another user is not let in, and then is.
if [[ $(id -u) == 0 ]] && command -v setpriv > /dev/null; then
    as_nobody() { timeout 60 setpriv --reuid=65534 --regid=65534 --clear-groups "$LUNETTE_BIN/lunette" "$@"; }
    chmod 755 "$tmp"
    as_nobody info "$url&login_timeout=2000" > out 2> err
    is 3 $? "another user"
    says 'this user may not use the engine'
    kill -TERM "$engine"
    wait "$engine"
    is 0 $? "exit code of the engine"
    lines 1 'logged out'
    engine --state "$tmp/state" --allow 65534
    is 666 "$(stat -c %a s)" "mode of the socket"
    as_nobody info "$url" > out 2> err
    is 0 $? "a user that is let in"
fi

# The engine is killed under a client's I/O, and the next one goes on with the same record.
for _ in {1..14}; do cat data; done > large
L copy --verify large "$url" > out 2> err &
copy=$!
comes holds 2; is 0 $? "its memory is mapped"
sleep 0.2 # it writes
kill -KILL "$engine"
wait "$engine" 2> /dev/null
engine --state "$tmp/state"
wait "$copy"
is 0 $? "a copy that has seen an engine die"
code 0 copy "$url" back
cmp -s -n $((14 << 24)) large back
is 0 $? "what was written is there"
is 1 "$(find state/flash -type f | wc -l)" "records of the table"

# A table that is fixed takes no other target.
kill -TERM "$engine"
wait "$engine"
is 0 $? "exit code of the engine"
[[ ! -e s ]]; is 0 $? "the socket is gone"
engine --fixed
code 2 info "$url&login_timeout=2000"
says 'clients cannot add to it'
kill -TERM "$engine"
wait "$engine"
is 0 $? "exit code of the engine"
finish
