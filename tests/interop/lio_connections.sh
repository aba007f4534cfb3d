#!/bin/bash
# SPDX-License-Identifier: MIT
# lio_connections.sh - the kernel's target, LIO, and sessions of eight connections: they are cut one after
# the other, and bytes are turned over at level 1.  Its kernel may die of each: that is told, and no failure,
# and what follows has a machine of its own.
# shellcheck disable=SC2154
. "$(dirname "$0")/../recovery/lib.sh"
. "$here/vm_lib.sh"
requires lunette jq
vm_start connections
lio_relay
targets() {
    local level
    for level in 0 1 2; do
        lio add "level$level" --lun ram:32 --erl $level --conns 8 --digests CRC32C,None --param DefaultTime2Wait=0
    done
}
targets

# after a death
another_machine() {
    vm_again
    targets
}

say "eight connections at level 2, cut while nothing is under way"
# Pings acknowledge the last responses before each cut: LIO may die of those that are left, too.
links=$(relay_stat links)
if lio_cut level2 "error_recovery_level=2&ping_interval=100&ping_timeout=10000" "$(long 100 8)" --quiet; then
    same_session
    [[ $(relay_stat links) -ge $((links + 8 + $(figure .cuts) - 1)) ]] || fail "there were no eight connections"
else
    another_machine
fi

# spoiled CONNECTIONS OPTIONS: no connection is lost, while two PDUs are spoilt at least; false where it dies
spoiled() {
    local before harm=0 runs=0
    before=$(relay_stat spoilt)
    while [[ $harm -lt 2 && $runs -lt 10 ]]; do
        lio_load level1 "error_recovery_level=1&nr_connections=$1&ping_timeout=20000&$2" --seconds "$(long 120 5)" || return 1
        ! grep -qF ' lost (' "$tmp/err" || lio_failed "a connection was lost"
        harm=$(($(relay_stat spoilt) - before))
        runs=$((runs + 1))
    done
    say "$harm PDUs were spoilt"
    [[ $harm -ge 1 ]] || fail "no PDU was spoilt"
}
# The short form has no time for as many PDUs as 1,000 takes.  Data come with their commands: where LIO has
# asked for them it gives two answers one StatSN (tests/vm/README.md).
tell spoil "$(long 1000 200)"
say "one PDU in $(long "1,000" 200) has a wrong data digest, level 1, eight connections"
spoiled 8 "immediate_data=yes" || another_machine
tell calm

# Below level 2 LIO means all connections to end with one, unless we log that one out before it has
# noticed.
for level in 0 1; do
    say "eight connections at level $level, cut under I/O"
    lio_cut "level$level" "error_recovery_level=$level" "$(long 100 6)" || another_machine
done
