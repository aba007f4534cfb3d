#!/bin/bash
# SPDX-License-Identifier: MIT
# examples.sh EXAMPLES-FOLDER - each example does what examples/README.md says.
set -u
: "${LUNETTE_BIN:=$(dirname "$0")/../../build/bin}"
[[ -x $LUNETTE_BIN/lunette-target ]] || { echo "SKIP: lunette-target is not built"; exit 77; }
examples=$1
tmp=$(mktemp -d) || exit 1
pid=
trap '[[ -z $pid ]] || kill $pid; wait; rm -rf "$tmp"' EXIT
head -c 2M /dev/urandom > "$tmp/disk"
"$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target iqn.2026-11.example:disk \
    --lun "file:$tmp/disk" --lun "ram:1M,serial=A" > "$tmp/out" &
pid=$!
comes() { # COMMAND...: waits until it succeeds; false after a minute
    local until=$((SECONDS + 60))
    until "$@"; do
        ((SECONDS < until)) || return 1
        sleep 0.02
    done
}
comes grep -q '^listening on ' "$tmp/out"
url=iscsi://$(sed -n 's/^listening on //p' "$tmp/out")/iqn.2026-11.example:disk/0
bad=0
run() { timeout 90 "$examples/example-$1" "${@:2}" || { echo "FAIL: $1: exit code $?"; bad=1; }; }

run inquiry "$url" | grep -q '^type 0, LUNETTE' || { echo "FAIL: inquiry"; bad=1; }
run read_block "$url" 4096 | tr -d ' \n' > "$tmp/hex"
[[ $(cat "$tmp/hex") == "$(dd if="$tmp/disk" bs=512 skip=8 count=1 status=none | od -An -v -tx1 | tr -d ' \n')" ]] ||
    { echo "FAIL: read_block"; bad=1; }
run queue_copy "$url" "$tmp/copy"
cmp "$tmp/disk" "$tmp/copy" || bad=1
run poll_loop "$url" 200 | grep -q '^[1-9][0-9]* reads' || { echo "FAIL: poll_loop"; bad=1; }
run many_sessions "$url" 100 | grep -qx '100 sessions are open' || { echo "FAIL: many_sessions"; bad=1; }

# The target ends and is started again while LUNs 0 and 1 are read.
portal=${url#iscsi://}
portal=${portal%%/*}
run session_events "${url%/0}/?default_time2wait=0" 30 0 1 > "$tmp/events" 2> "$tmp/why" &
reader=$!
comes grep -q '^2 LUNs are open$' "$tmp/events"
kill $pid
wait $pid
"$LUNETTE_BIN/lunette-target" --listen "$portal" --target iqn.2026-11.example:disk \
    --lun "file:$tmp/disk" --lun "ram:1M,serial=A" > /dev/null &
pid=$!
wait $reader
for line in '^conn_lost: ' '^recovered: ' '^30 reads done$'; do
    grep -q "$line" "$tmp/events" || { echo "FAIL: session_events: no $line"; cat "$tmp/events" "$tmp/why"; bad=1; }
done
for e in inquiry read_block queue_copy poll_loop; do # a wrong URL ends with a message and a code
    if timeout 30 "$examples/example-$e" iscsi://127.0.0.1:1/iqn.2026-11.example:no/0 "$tmp/copy" 2> /dev/null; then
        echo "FAIL: $e takes what is not there"
        bad=1
    fi
done
if timeout 30 "$examples/example-many_sessions" iscsi://127.0.0.1:1/iqn.2026-11.example:no/0 3 > /dev/null 2>&1; then
    echo "FAIL: many_sessions takes what is not there"
    bad=1
fi
exit $bad
