# SPDX-License-Identifier: MIT
# lib.sh - what the tests of recovery share: targets that die and come back, the relay, the load.
#
# A test is as one of tests/interop: it sources this, names what it requires, and calls isolate.
# RECOVERY=full runs the long form of each.  Programs come from $RECOVERY_BIN.
# shellcheck shell=bash disable=SC2034,SC2154
. "$(dirname "${BASH_SOURCE[0]}")/../interop/lib.sh"
. "$(dirname "${BASH_SOURCE[0]}")/../interop/tgtd.sh"
: "${RECOVERY_BIN:=$here/../../build/tests/recovery}"
iqn=iqn.2026-11.example:disk

full() {
    [[ ${RECOVERY-} == full ]]
}

# long FULL SMALL: the one that this run is for
long() {
    if full; then echo "$1"; else echo "$2"; fi
}

# ---- a lunette-target that is killed and started again ----

# prepare_target OPTION...: sets $portal, and writes $tmp/up and $tmp/down, which start and kill a
# target there.  They are programs, so that others can call them; up ends when the target listens.
prepare_target() {
    target_port=$(free_port 1)
    portal=127.0.0.1:$target_port
    make_up "$tmp/up" "$@"
    cat > "$tmp/down" <<- EOF
	#!/bin/sh
	kill -9 \$(cat "$tmp/target.pid")
	while kill -0 \$(cat "$tmp/target.pid") 2> /dev/null; do sleep 0.01; done
	EOF
    chmod +x "$tmp/down"
    trap 'status=$?; kill -9 $(cat "$tmp/target.pid") 2> /dev/null || true; cleanup $status' EXIT
}

# With io_uring the socket of a target that was killed outlives it for a moment.
make_up() { # FILE OPTION...
    local file=$1
    shift
    cat > "$file" <<- EOF
	#!/bin/sh
	while : > "$tmp/target.log"; do
	    "$LUNETTE_BIN/lunette-target" --listen $portal --target $iqn $* > "$tmp/target.log" 2>&1 < /dev/null &
	    echo \$! > "$tmp/target.pid"
	    while kill -0 \$! 2> /dev/null; do
	        ! grep -q '^listening' "$tmp/target.log" || exit 0
	        sleep 0.01
	    done
	    grep -q 'Address already in use' "$tmp/target.log" || exit 1
	done
	EOF
    chmod +x "$file"
}

target_up() {
    "$tmp/up" || fail "the target does not start"
}

# killer SECONDS FILE: kills the target and starts it again, so often, until $tmp/enough is there; says
# how often in $tmp/kills.  Each life of it brings more into FILE, unless that takes long because nothing is
# written any more: on a machine that is slow nothing would come on.
killer() {
    local kills=0
    while sleep "$1" && [[ ! -e $tmp/enough ]]; do
        more_within 3 "$2" || true
        "$tmp/down"
        "$tmp/up"
        kills=$((kills + 1))
    done
    echo $kills > "$tmp/kills"
}

more_within() { # SECONDS FILE: than half a MiB
    local n=$(($1 * 20)) at
    at=$(stat -c %b "$2")
    until (($(stat -c %b "$2") > at + 1024)) || [[ -e $tmp/enough ]]; do
        ((n-- > 0)) || return 1
        sleep 0.05
    done
}

# ---- the relay ----

# relay_to ADDRESS:PORT: sets $relay, where to connect, and $control
relay_to() {
    control=$tmp/relay.control
    start relay "$RECOVERY_BIN/relay" --listen 127.0.0.1:0 --target "$1" --control "$control"
    wait_until 10 grep -q '^listening' "$tmp/relay.log" || fail "the relay does not start"
    relay=$(sed -n 's/^listening on //p' "$tmp/relay.log")
}

tell() {
    "$RECOVERY_BIN/relay" --tell "$control" "$@"
}

# told WORDS: the same as a line for a shell
told() {
    echo "'$RECOVERY_BIN/relay' --tell '$control' $*"
}

relay_stat() { # NAME
    tell stats | jq ".$1"
}

# ---- the load ----

# verify OPTION...: the result is in $tmp/out, and is to be a success
verify() {
    ok "$RECOVERY_BIN/verify" "$@"
    jq -c 'del(.first_error)' "$tmp/out"
}

# figure FILTER: of the last result
figure() {
    jq "$1" "$tmp/out"
}

# is FILTER: of the last result
is() {
    checks=$((checks + 1))
    jq -e "$1" "$tmp/out" > /dev/null || fail "not so: $1" "$tmp/err" "$tmp/out"
}
