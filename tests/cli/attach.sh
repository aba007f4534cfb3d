#!/bin/bash
# SPDX-License-Identifier: MIT
# attach.sh - lunette attach: where the socket is, what is said of it, and how it ends.
here=$(realpath "$(dirname "$0")")
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

head -c 1M /dev/urandom > d0
serve --target $iqn:t --lun file:d0 --lun ram:1M,lun=7
U=iscsi://$portal/$iqn:t
B() { exec env --default-signal=INT,HUP "$LUNETTE_BIN/lunette" "$@"; }
begin() { # ARGUMENT...: in the background, until it says where the LUN is
    : > out
    B attach "$@" > out 2> err & p=$!
    pids+=($p)
    comes test -s out && return
    echo "FAIL (line ${BASH_LINENO[0]}): nothing is said"; cat err; failed=1
}
end() { # SIGNAL: it ends at once, and well; a machine that is busy may need some seconds for that
    local since=$EPOCHREALTIME
    kill "-$1" $p
    wait $p; is 0 $? "ends at $1"
    is 1 "$((${EPOCHREALTIME/./} - ${since/./} < 5000000))" "at once"
}
reads() { # SOCKET: as the LUN is
    python3 "$here/nbd_read.py" "$1" > got 2> got.err; is 0 $? "a client reads"
    cmp -s -n 512 got d0; is 0 $? "what it reads"
}

for signal in INT TERM HUP; do
    begin "$U/0" --socket s
    is "0 s" "$(cat out)" "LUN PATH"
    reads s
    end $signal
    [[ ! -e s ]]; is 0 $? "the socket is gone"
    is "" "$(cat err)" "nothing is said"
done

begin "$U/7" -S "$tmp/s" --as nbd-socket --json
json '. == {lun: 7, kind: "nbd", socket: "'"$tmp"'/s", size: 1048576, read_only: false}'
end TERM

# what is there already
begin "$U/0" --socket s
code 1 attach "$U/0" --socket s; says 'somebody listens there'
reads s
kill -KILL $p; wait $p 2> /dev/null
[[ -S s ]]; is 0 $? "a socket that was left behind"
begin "$U/0" --socket s
reads s
end TERM
code 1 attach "$U/0" --socket d0; says 'no socket'
[[ -s d0 ]]; is 0 $? "the file is still there"
code 1 attach "$U/0" --socket none/s; says 'cannot listen'

# paths that are made
mkdir run
XDG_RUNTIME_DIR=$tmp/run begin "$U/0"
socket=$(cut -d' ' -f2 out)
[[ $socket == "$tmp"/run/lunette-*.sock ]]; is 0 $? "in the run directory: $socket"
reads "$socket"
end TERM
XDG_RUNTIME_DIR='' begin "$U/0"
socket=$(cut -d' ' -f2 out)
[[ $socket == /tmp/lunette-*/nbd.sock ]]; is 0 $? "in a folder of its own: $socket"
is 700 "$(stat -c %a "${socket%/*}")" "which is nobody else's"
reads "$socket"
end TERM
[[ ! -e ${socket%/*} ]]; is 0 $? "which is gone"

code 2 attach "$U/0" --socket "$(printf 'x%.0s' {1..108})"; says '107 bytes'
code 2 attach "$U/0" --socket ''; says '107 bytes'
code 2 attach "$U/0" --as fuse; says nbd-socket
code 2 attach; code 2 attach "$U/0" "$U/7"; code 2 attach "iscsi://$portal/"
code 5 attach "$U/3" --socket s
[[ ! -e s ]]; is 0 $? "no socket for what is not there"
finish
