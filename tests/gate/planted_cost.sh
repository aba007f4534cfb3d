#!/bin/sh
# SPDX-License-Identifier: MIT
# tools/check-cost must fail for each thing that makes a request dearer, and only then.
# usage: planted_cost.sh BUILD-ROOT
set -eu
build=$1
cd "$(dirname "$0")/../.."
case=read-4k-d32
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
baseline=$tmp/baseline.json

check() { # options
    tools/check-cost --build "$build" --baseline "$baseline" --loop epoll "$@" "$case" >"$tmp/out" 2>&1
}

edit() { # jq filter
    jq "$1" "$tmp/kept" >"$baseline"
}

wrong() {
    cat "$tmp/out"
    echo "$1"
    exit 1
}

# what is expected, options
fails() {
    text=$1
    shift
    if check "$@"; then
        wrong "planted, and not said: $text"
    fi
    grep -q "^FAIL: $case, epoll: $text" "$tmp/out" || wrong "failed, but not for: $text"
}

passes() {
    check || wrong "the check fails: $1"
    grep -q "$1" "$tmp/out" || wrong "not said: $1"
}

# What is measured now is the baseline, whichever compiler it was.
cp tests/gate/baseline.json "$baseline"
r=0
check --update || r=$?
[ $r = 0 ] || cat "$tmp/out"
[ $r = 0 ] || exit $r
jq '.bounds |= map(.enforced = (.figure != "instructions"))' "$baseline" >"$tmp/kept"

edit .
passes "$case, epoll"
fails 'instructions per request: was' --plant plant-spin=100
fails 'system calls per request: was' --plant plant-syscall
fails 'lunette_ctx_get_stats says' --plant plant-syscall

# the same from the other side: what is on record was cheaper, or dearer
edit "(.instructions[] | .epoll[\"$case\"]) *= 0.96"
fails 'instructions per request: was'
edit "(.instructions[] | .epoll[\"$case\"]) *= 0.98"
passes "$case, epoll"
edit "(.instructions[] | .epoll[\"$case\"]) *= 1.1"
passes '^improved: .*instructions per request: was'
edit ".[\"system calls\"].epoll[\"$case\"] *= 0.96"
fails 'system calls per request: was'
edit "del(.[\"system calls\"].epoll[\"$case\"])"
fails 'no system calls on record'
edit '.instructions = {}'
passes '^no baseline for'

# bounds
edit '.bounds[].at_most = 0.01'
fails 'system calls per request: .* at most 0.01 wanted'
edit '.bounds[].at_most = 0.01 | .bounds[].enforced = false'
passes '^not enforced yet: .*instructions per request: .*, at most 0.01 wanted'
edit '(.bounds[] | select(.figure == "instructions")) |= (.at_most = 100000)'
passes '^reached, and could be enforced: .*instructions'
