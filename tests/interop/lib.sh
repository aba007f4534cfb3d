# SPDX-License-Identifier: MIT
# lib.sh - what the interop tests share: isolation, peers that start and stop, checks.
#
# A test is a bash script that begins with
#
#     . "$(dirname "$0")/lib.sh"
#     requires tgtd tgtadm
#     isolate "$@"
#
# and ends 0 (passed), 1 (failed) or 77 (skipped, with the reason).  isolate runs it in network and
# PID namespaces of its own where that is allowed: then every port is free, and what it started
# ends with it.  Where not, free_port finds ports and the trap ends what was started.
# Programs of ours come from $LUNETTE_BIN.
# shellcheck shell=bash disable=SC2034

set -euo pipefail
export LC_ALL=C.UTF-8
unset LUNETTE_CHAP LUNETTE_CHAP_FILE

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${LUNETTE_BIN:=$here/../../build/bin}"
EX_OK=0 EX_USAGE=2 EX_CONNECT=3 EX_LOGIN=4 EX_NOT_FOUND=5 EX_SCSI=6 EX_TIMEOUT=7 EX_VERIFY=8
checks=0 tmp='' logs_shown=''

skip() {
    echo "SKIP: $*"
    exit 77
}

# fail WHY [FILE...]: what was started has said, the end of each file, and why.  The reason comes last,
# since of a test that has failed a summary shows the last lines.
fail() {
    local why=$1 f
    shift
    show_logs
    for f; do
        [[ ! -s $f ]] || { echo "--- ${f##*/}"; tail -n 20 "$f"; } >&2
    done
    echo "FAIL: $why" >&2
    exit 1
}

show_logs() {
    local f
    [[ -n $tmp && -z $logs_shown ]] || return 0
    logs_shown=yes
    for f in "$tmp"/*.log; do
        [[ ! -s $f ]] || { echo "--- ${f##*/}"; tail -n 30 "$f"; } >&2
    done
}

# Programs that the test cannot do without.  Ours are built, or the build is wrong.
requires() {
    local p
    for p; do
        if [[ $p == lunette* ]]; then
            [[ -x $LUNETTE_BIN/$p ]] || fail "$LUNETTE_BIN/$p is not built"
        else
            PATH=$PATH:/usr/sbin:/sbin command -v "$p" > /dev/null || skip "$p is not installed"
        fi
    done
    PATH=$PATH:/usr/sbin:/sbin
}

requires_root() {
    [[ $(id -u) == 0 ]] || skip "needs root: $*"
}

# Runs the script again in namespaces of its own.
isolate() {
    if [[ -n ${LUNETTE_ISOLATED-} ]]; then
        isolated=yes
        ip link set lo up
    elif [[ $(id -u) == 0 ]] && unshare --net --pid --fork --mount-proc ip link set lo up 2> /dev/null; then
        LUNETTE_ISOLATED=yes exec unshare --net --pid --fork --kill-child --mount-proc bash "$0" "$@"
    else
        isolated=''
    fi
    tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-interop.XXXXXX")
    pids=()
    trap cleanup EXIT
    trap 'exit 1' INT TERM
}

# own_machine WHY [ARGUMENT...]: as isolate, and with mounts of its own, so that what programs read in
# /sys and /etc can be hidden.  The mounts outside are compared, since a variable of the caller must not
# have the test mount anything there.
own_machine() {
    local why=$1 mounts
    shift
    requires_root "$why"
    mounts=$(readlink /proc/self/ns/mnt)
    if [[ ${LUNETTE_OUTSIDE:-$mounts} == "$mounts" ]]; then
        unshare --mount --net --pid --fork true 2> /dev/null || skip "no mount namespaces here"
        LUNETTE_OUTSIDE=$mounts exec unshare --mount --net --pid --fork --kill-child --mount-proc bash "$0" "$@"
    fi
    mount --make-rprivate /
    LUNETTE_ISOLATED=yes
    isolate
}

cleanup() {
    local status=${1-$?} pid what=$BASH_COMMAND
    trap - EXIT
    for pid in ${pids+"${pids[@]}"}; do
        kill -9 "$pid" 2> /dev/null || continue
        wait "$pid" 2> /dev/null || true
    done
    if [[ $status != 0 && $status != 77 && -z $logs_shown ]]; then
        show_logs
        echo "FAIL: ended with $status at: $what" >&2
    fi
    rm -rf "$tmp"
    [[ $status != 0 ]] || echo "$checks checks passed"
    exit "$status"
}

gone_within() { # SECONDS PID
    local n=$(($1 * 50))
    while kill -0 "$2" 2> /dev/null; do
        ((n-- > 0)) || return 1
        sleep 0.02
    done
}

# wait_until SECONDS COMMAND...: until it succeeds; fails in the end, which comes later on a busy machine.
wait_until() {
    local deadline=$((SECONDS + 3 * $1 + 1))
    shift
    until "$@" > /dev/null 2>&1; do
        ((SECONDS < deadline)) || return 1
        sleep 0.02
    done
}

port_open() { # ADDRESS PORT
    (exec 3<> "/dev/tcp/$1/$2") 2> /dev/null
}

free_port() { # [COUNT]: the first of so many free ones in a row
    python3 - "${1:-1}" <<- 'EOF'
	import random, socket, sys
	while True:
	    first, held = random.randrange(20000, 32000), []
	    try:
	        for port in range(first, first + int(sys.argv[1])):
	            s = socket.socket()
	            s.bind(("127.0.0.1", port))
	            held.append(s)
	    except OSError:
	        continue
	    print(first)
	    break
	EOF
}

# start NAME COMMAND...: in the background, output to NAME.log; sets $pid.
start() {
    local name=$1
    shift
    : > "$tmp/$name.log" # what an earlier one by that name has said must not be taken for this one's word
    "$@" > "$tmp/$name.log" 2>&1 &
    pid=$!
    pids+=("$pid")
}

# stop PID: ends it, and fails if it does not end by itself.
stop() {
    kill "$1"
    gone_within 30 "$1" || fail "process $1 does not end"
}

random_file() { # PATH SIZE, as head -c takes it
    head -c "$2" /dev/urandom > "$1"
}

lunette() {
    "$LUNETTE_BIN/lunette" "$@"
}

say() {
    echo "-- $*"
}

# ok COMMAND...: has to end 0.
ok() {
    expect 0 "$@"
}

# expect CODE COMMAND...: has to end so, and not to fail silently.
expect() {
    local want=$1 got=0
    shift
    "$@" > "$tmp/out" 2> "$tmp/err" || got=$?
    checks=$((checks + 1))
    if grep -qE 'Sanitizer|runtime error:' "$tmp/err"; then
        cat "$tmp/err" >&2
        fail "$*: sanitizer report"
    fi
    [[ $got == "$want" ]] || fail "$*: exit $got, wanted $want" "$tmp/err" "$tmp/out"
    [[ $want == 0 || -s $tmp/err ]] || fail "$*: failed without a word"
}

# has TEXT [FILE]: the last output (or FILE) has it.
has() {
    checks=$((checks + 1))
    grep -qF -- "$1" "${2:-$tmp/out}" || fail "no '$1' in the output" "${2:-$tmp/out}"
}

same() { # FILE FILE [BYTES]
    checks=$((checks + 1))
    cmp ${3:+-n "$3"} "$1" "$2" || fail "$1 and $2 differ"
}

# Nobody has logged in to another session while the last program ran, by what it has logged (verify --verbose).
same_session() {
    checks=$((checks + 1))
    ! grep -E 'logged in again|the session is recovered|does not reassign' "$tmp/err" > "$tmp/lost" ||
        fail "the session was recovered" "$tmp/err" "$tmp/lost"
}

# same_lines WHY WANTED GOT [FILE...]: what is not the same is shown next to the reason, since of a test that
# has failed a summary shows the last lines; and its beginning, since what comes later may follow from that.
same_lines() {
    local why=$1 wanted=$2 got=$3 f
    shift 3
    checks=$((checks + 1))
    ! diff -U 2 --label wanted --label got "$wanted" "$got" > "$tmp/difference" || return 0
    show_logs
    for f; do
        [[ ! -s $f ]] || { echo "--- ${f##*/}"; tail -n 20 "$f"; } >&2
    done
    head -n 40 "$tmp/difference" >&2
    fail "$why"
}

# Moves a random image of SIZE MiB to the LUN at URL and back, and compares.
# round_trip URL MIB [copy options]
round_trip() {
    local url=$1 mib=$2
    shift 2
    [[ $(stat -c %s "$tmp/image.$mib" 2> /dev/null) == $((mib << 20)) ]] ||
        random_file "$tmp/image.$mib" "${mib}M"
    ok lunette copy "$tmp/image.$mib" "$url" "$@"
    rm -f "$tmp/back"
    ok lunette read "$url" --offset 0 --length "${mib}M"
    same "$tmp/out" "$tmp/image.$mib"
}
