# SPDX-License-Identifier: MIT
# target_lib.sh - what the tests of lunette-target against foreign initiators share.
# A script gets the program as its first argument, ends 0, 1, or 77 (skipped, with the reason).
# shellcheck shell=bash disable=SC2034
set -euo pipefail
export LC_ALL=C.UTF-8
unset LUNETTE_TARGET_CHAP

target_bin=${1:?usage: $0 LUNETTE-TARGET}
iqn=iqn.2026-11.example:disk
tmp=$(mktemp -d)
pids=()

cleanup() {
    for p in "${pids[@]}"; do kill -9 "$p" 2> /dev/null || true; done
    rm -rf "$tmp"
}
trap cleanup EXIT

fail() {
    [[ ! -s $tmp/target.log ]] || tail -n 20 "$tmp/target.log" >&2
    echo "FAIL: $*" >&2
    exit 1
}

requires() {
    local p
    for p; do
        command -v "$p" > /dev/null || {
            echo "SKIP: $p is not installed"
            exit 77
        }
    done
}

# serve OPTION...: starts a target on a free port; sets $port, $portal and $pid.
serve() {
    rm -f "$tmp/target.out"
    "$target_bin" --listen 127.0.0.1:0 --target "$iqn" "$@" > "$tmp/target.out" 2> "$tmp/target.log" &
    pid=$!
    pids+=("$pid")
    for _ in $(seq 200); do
        grep -qs "^listening on " "$tmp/target.out" && break
        kill -0 "$pid" 2> /dev/null || fail "the target does not start"
        sleep 0.05
    done
    portal=$(sed -n 's/^listening on //p' "$tmp/target.out" | head -n 1)
    port=${portal##*:}
    [[ -n $portal ]] || fail "the target does not say where it listens"
}

# The target ends cleanly on SIGTERM.
stop() {
    kill "$pid"
    for _ in $(seq 100); do
        kill -0 "$pid" 2> /dev/null || break
        sleep 0.05
    done
    kill -0 "$pid" 2> /dev/null && fail "the target does not end"
    wait "$pid" || fail "the target ended with $?"
    pids=()
    ! grep -qE 'runtime error|Sanitizer' "$tmp/target.log" || fail "a sanitizer complained"
}
