#!/bin/bash
# SPDX-License-Identifier: MIT
# engine_kills.sh - iscsi-engine and its clients are killed under verified I/O, again and again: each request
# ends once and with the truth, what was acknowledged is on the disk, nothing is written to data of requests that
# have ended, clients that live see nothing of those that die, and the target has one login at a time.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"
export LUNETTE_ARENA_CHECK=1 # clients look at free data of theirs: whoever writes there is sent away, and the log says so

# engine_at NAME OPTION...: writes $tmp/NAME.up and $tmp/NAME.down, which start and kill an engine at $tmp/NAME.
engine_at() {
    local name=$1
    shift
    cat > "$tmp/$name.up" <<- END
	#!/bin/sh
	"$LUNETTE_BIN/iscsi-engine" --socket "$tmp/$name" $* >> "$tmp/$name.log" 2>&1 < /dev/null &
	echo \$! > "$tmp/$name.pid"
	while ! [ -S "$tmp/$name" ] && kill -0 \$! 2> /dev/null; do sleep 0.01; done
	END
    cat > "$tmp/$name.down" <<- END
	#!/bin/sh
	kill -9 \$(cat "$tmp/$name.pid")
	while kill -0 \$(cat "$tmp/$name.pid") 2> /dev/null; do sleep 0.01; done
	rm -f "$tmp/$name"
	END
    chmod +x "$tmp/$name.up" "$tmp/$name.down"
}

# through NAME LUN: the URL of that LUN by that engine
through() {
    echo "iscsi://$portal/$iqn/$2?default_time2wait=0&replacement_timeout=-1&transport=offload_session&engine=$tmp/$1"
}

logins() { # how many the engine has had in all its lives
    grep -c 'logged in at' "$tmp/$1.log"
}

# The client says so, and is lost to that engine; this is the log of the client that was run last.
nothing_was_spoiled() {
    grep -q 'engine at' "$tmp/err" || [[ ${1-} == quiet ]] || fail "the client has kept no log"
    ! grep -h 'has written to data' "$tmp/err" || fail "data of a request that had ended was written to"
}

prepare_target --lun ram:32M,lun=0 --lun ram:32M,lun=1 --set DefaultTime2Wait=0
target_up
trap 'status=$?; kill -9 $(cat "$tmp"/*.pid) 2> /dev/null || true; cleanup $status' EXIT

cuts=$(long 500 8)
engine_at kept -v --state "$tmp/state"
engine_at bare -v
for name in kept bare; do
    say "the engine is killed $cuts times, and another follows ($name)"
    "$tmp/$name.up"
    verify --verbose --url "$(through $name 0)" --final-url "iscsi://$portal/$iqn/0" --cuts "$cuts" \
        --down "$tmp/$name.down" --up "$tmp/$name.up" --outage 20 --interval 50-400
    is '.errors == 0 and .mismatches == 0 and .twice == 0 and .unfinished == 0'
    is ".recovery_ms.n == $cuts"
    nothing_was_spoiled
    "$tmp/$name.down"
done

kills=$(long 1000 20)
say "a client is killed $kills times beside another one"
: > "$tmp/kept.log"
"$tmp/kept.up"
(
    n=0
    while ((n < kills)) && [[ ! -e $tmp/enough ]]; do
        "$RECOVERY_BIN/verify" --url "$(through kept 1)" --seconds 60 --errors > /dev/null 2>&1 &
        sleep "0.$((RANDOM % 4 + 1))$((RANDOM % 10))"
        kill -9 $! 2> /dev/null || true
        wait $! 2> /dev/null || true
        n=$((n + 1))
    done
    echo $n > "$tmp/kills"
) &
killer=$!
verify --verbose --url "$(through kept 0)" --final-url "iscsi://$portal/$iqn/0" --seconds "$(long 420 9)"
is '.errors == 0 and .mismatches == 0 and .twice == 0 and .unfinished == 0'
touch "$tmp/enough"
wait "$killer"
say "$(cat "$tmp/kills") clients were killed, the longest request of the other took $(figure .longest_ms) ms"
(($(cat "$tmp/kills") >= 5)) || fail "only $(cat "$tmp/kills") clients were killed"
[[ $(logins kept) == 1 ]] || fail "clients share a login, and there were $(logins kept)"
nothing_was_spoiled quiet
verify --url "$(through kept 1)" --final-url "iscsi://$portal/$iqn/1" --seconds 1
is '.errors == 0 and .mismatches == 0'
"$tmp/kept.down"
