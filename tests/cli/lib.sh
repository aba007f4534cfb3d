# SPDX-License-Identifier: MIT
# lib.sh - what the tests of the command share: a folder of their own, targets, and checks that count.
# A test sources it and ends with `finish`.
set -u
: "${LUNETTE_BIN:=$(dirname "${BASH_SOURCE[0]}")/../../build/bin}"
LUNETTE_BIN=$(realpath "$LUNETTE_BIN")
[[ -x $LUNETTE_BIN/lunette-target ]] || { echo "SKIP: lunette-target is not built"; exit 77; }
unset LUNETTE_CHAP LUNETTE_CHAP_FILE LUNETTE_INITIATOR_NAME

tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-cli.XXXXXX")
cd "$tmp" || exit 1
pids=()
# The end takes whatever the test has started: waiting for one that nobody ends would take for ever.
leave_nothing() {
    local left
    mapfile -t left < <(jobs -p)
    ((${#left[@]} == 0)) || { kill -KILL "${left[@]}"; wait "${left[@]}"; }
    rm -rf "$tmp"
} 2> /dev/null
trap leave_nothing EXIT
failed=0 checks=0

L() { timeout 60 "$LUNETTE_BIN/lunette" "$@"; }

# is WANT GOT WHAT
is() {
    checks=$((checks + 1))
    [[ $1 == "$2" ]] && return
    echo "FAIL (line ${BASH_LINENO[0]}): $3: want $1, got $2"
    [[ ! -s err ]] || sed 's/^/    /' err
    failed=1
}

# code WANT ARGUMENT...: the exit code; output in out and err, input from in
: > in
code() {
    local want=$1
    shift
    L "$@" < in > out 2> err
    is "$want" $? "lunette $*"
}

same() { cmp -s "$1" "$2"; is 0 $? "$1 and $2 are equal"; }
says() { grep -q -- "$1" err; is 0 $? "stderr says '$1'"; }
json() { jq -e "$1" out > jq.out 2>&1; is 0 $? "JSON: $1"; }

# comes COMMAND...: waits until it succeeds; false after a minute, which is longer than anything takes
# here on a machine that is busy.  What a test supposes of another process it waits for so.
comes() {
    local until=$((SECONDS + 60))
    until "$@" 2> /dev/null; do
        ((SECONDS < until)) || return 1
        sleep 0.02
    done
}

wait_for() { # PATTERN FILE
    comes grep -q -- "$1" "$2" && return
    echo "FAIL (line ${BASH_LINENO[0]}): no '$1' in $2"; cat "$2"; failed=1
}

serve() { # OPTION...: sets $portal
    : > target.out
    "$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 "$@" > target.out 2> target.err &
    pids+=($!)
    comes grep -q '^listening on ' target.out || { echo "FAIL: the target does not start"; cat target.err; exit 1; }
    portal=$(sed -n 's/^listening on //p' target.out)
}

# at_least BLOCKS FILE: so much of it is there, in units of 512 bytes
at_least() { [[ $(stat -c %b "$2" 2> /dev/null || echo 0) -ge $1 ]]; }

iqn=iqn.2026-11.example

finish() { echo "$checks checks"; exit "$failed"; }
