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
    "$vmlab" start --port "$port" --mem 1024 "${@:2}" > "$tmp/start.log" 2>&1 ||
        vm_skip "the machine does not start: $(tail -n 1 "$tmp/start.log")"
    cat "$tmp/start.log"
}

[[ ${LUNETTE_VM-} != off ]] || skip "LUNETTE_VM=off"
