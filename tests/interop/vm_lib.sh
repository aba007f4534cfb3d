# SPDX-License-Identifier: MIT
# vm_lib.sh - a virtual machine (tests/vm/vmlab) for tests that need a kernel of their own.  Sourced after
# lib.sh.
#
# The machine's image is made where there is none (about 90 s, from Debian packages) in
# $LUNETTE_VM_CACHE.  LUNETTE_VM=require: what would be a skip is a failure; LUNETTE_VM=off: skip.
# shellcheck shell=bash disable=SC2034,SC2154

vm_skip() {
    [[ ${LUNETTE_VM-} != require ]] || fail "$*"
    skip "$*"
}

vm_boot() {
    "$vmlab" start --port "$port" --mem 1024 "${vm_options[@]}" > "$tmp/start.log" 2>&1 && return
    "$vmlab" stop > /dev/null 2>&1 || true
    return 1
}

# vm_start NAME [OPTION...]: as the options of vmlab start; sets $vmlab, and $port, the first of three
# ports.  The machine ends with the test.
vm_start() {
    local cache=${LUNETTE_VM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/lunette-vm}
    [[ $(id -u) == 0 ]] || vm_skip "needs root to make the virtual machine's image"
    command -v apt-get > /dev/null || vm_skip "the virtual machine is made of Debian packages"
    isolated=''
    tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-interop.XXXXXX")
    pids=()
    export VMLAB_NAME=$1-$$
    vmlab=$here/../vm/vmlab
    trap 'status=$?; "$vmlab" stop 2> /dev/null || true; cleanup $status' EXIT
    trap 'exit 1' INT TERM
    mkdir -p "$cache"
    (
        flock 9
        "$vmlab" build > "$tmp/build.log" 2>&1
    ) 9> "$cache/lock" || vm_skip "no image: $(tail -n 1 "$tmp/build.log")"
    port=$(free_port 3)
    vm_options=("${@:2}")
    vm_boot || vm_boot || # an emulated kernel may panic while it boots
        vm_skip "the machine does not start: $(tail -n 1 "$tmp/start.log")"
    cat "$tmp/start.log"
}

# Another machine in its place, at the same ports and with the same options.
vm_again() {
    "$vmlab" stop > /dev/null 2>&1 || true
    vm_boot || vm_boot || fail "no other machine starts: $(tail -n 1 "$tmp/start.log")"
}

# ---- programs of ours in it ----

guest() { # COMMAND...
    timeout 300 "$vmlab" exec -- "$@"
}

guest_sh() { # SCRIPT
    timeout 300 "$vmlab" sh "set -e; $1"
}

# in_vm PROGRAM ARGUMENT...: one of those that were brought (vmlab bring)
in_vm() {
    guest "/opt/host/bin/$1" "${@:2}"
}

# vm_service NAME WORD PROGRAM ARGUMENT...: one that was brought, in the background, until NAME.log in
# the machine has WORD; its process id is in NAME.pid.
vm_service() {
    local name=$1 word=$2 line
    printf -v line '%q ' "/opt/host/bin/$3" "${@:4}"
    guest_sh "cd /root; rm -f $name.log; $line > $name.log 2>&1 < /dev/null & echo \$! > $name.pid
        n=0; until grep -q '$word' $name.log; do
            kill -0 \$(cat $name.pid) && [ \$((n += 1)) -lt 300 ] || { cat $name.log >&2; exit 1; }
            sleep 0.05; done" || fail "$3 does not start in the machine"
}

vm_service_ends() { # NAME: by itself, when it is asked to
    guest_sh "kill \$(cat /root/$1.pid); n=0; while kill -0 \$(cat /root/$1.pid) 2> /dev/null; do
        [ \$((n += 1)) -lt 300 ] || exit 1; sleep 0.1; done" || fail "$1 does not end"
    guest_sh "! grep -E 'Sanitizer|runtime error:|assert' /root/$1.log >&2" || fail "$1 ended with a report"
}

# ---- LIO in it, behind a relay (tests/recovery/lib.sh) ----

lio() {
    "$vmlab" target "$@" > "$tmp/lio.log" 2>&1 || fail "LIO: target $*"
}

# sets $portal, $base, which the names of its targets begin with, and what relay_to sets
lio_relay() {
    base=iqn.2026-01.lab.vm
    portal=127.0.0.1:$port
    relay_to "$portal"
}

# The kernel has hit a bug of its own: the first lines of what it says are in $tmp/oops.
lio_died() {
    "$vmlab" console > "$tmp/console" || return 1
    grep -a -A 8 -m 1 -E 'BUG:|Oops|Kernel panic|general protection' "$tmp/console" > "$tmp/oops"
}

# Fails with what verify and LIO had to say last.
lio_failed() {
    {
        grep -v ' [<>] ' "$tmp/err" | tail -n 60
        echo "--- LIO"
        timeout 60 "$vmlab" exec -- dmesg | tail -n 30 || true
    } >&2
    fail "$*"
}

# lio_load TARGET OPTIONS VERIFY-OPTION...: verified I/O.  False where LIO's kernel has died of it, which is
# told; if it has not, no request has failed, and none has waited for its time limit, 30 s: one that is
# lost waits so long.  An emulated machine on a busy one is slow, and no other time is a limit.
lio_load() {
    local url="iscsi://$relay/$base:$1/0?data_digest=crc32c&timeout=30000&$2" got=0
    shift 2
    checks=$((checks + 1))
    timeout 900 "$RECOVERY_BIN/verify" --url "$url" --verbose --errors --no-final --patience 40 --depth 16 \
        --region 4M "$@" > "$tmp/out" 2> "$tmp/err" || got=$?
    jq -c . "$tmp/out" || lio_failed "verify ended with $got"
    is '.twice == 0 and .mismatches == 0'
    sleep 1
    if lio_died; then
        say "LIO's kernel has died, after $(figure '"\(.cuts) cuts and \(.reads + .writes) requests"'):"
        cat "$tmp/oops"
        return 1
    fi
    [[ $got == 0 ]] || lio_failed "verify ended with $got"
    checks=$((checks + 1))
    jq -e '.errors == 0 and .longest_ms < 30000 and .writes > 60' "$tmp/out" > /dev/null ||
        lio_failed "a request has failed or waited for its time limit, or too few went through"
    say "$(grep -c 'logged in again' "$tmp/err" || true) times another session"
}

# lio_cut TARGET OPTIONS N VERIFY-OPTION...: the same with eight connections, of which one is cut N times
lio_cut() {
    lio_load "$1" "nr_connections=8&$2" --relay "$control" --cuts "$3" --interval 300-600 \
        --down "relay cut rst oldest" --down "relay cut fin oldest" "${@:4}"
}

[[ ${LUNETTE_VM-} != off ]] || skip "LUNETTE_VM=off"
