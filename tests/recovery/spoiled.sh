#!/bin/bash
# SPDX-License-Identifier: MIT
# spoiled.sh - error recovery level 1: verified random reads and writes while bytes of data are turned
# over, both ways, and PDUs are left out: no connection is lost, and all data is what the model says.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"

truncate -s 32M "$tmp/lun"
prepare_target --lun "file:$tmp/lun" --error-recovery-level 1
target_up
relay_to "$portal"
url="iscsi://$relay/$iqn/0?error_recovery_level=1&data_digest=crc32c"
final=iscsi://$portal/$iqn/0

# spoiled LEAST RULE... -- OPTIONS: so many are to be spoiled and lost at least, and one connection does
spoiled() {
    local least=$1 before links harm
    shift
    tell calm > /dev/null
    while [[ $1 != -- ]]; do
        # shellcheck disable=SC2086
        tell spoil $1
        shift
    done
    before=$(($(relay_stat spoilt) + $(relay_stat lost)))
    # A machine that is slow needs several runs for that.
    for _ in {1..20}; do
        links=$(relay_stat links)
        verify --url "$url$2" --final-url "$final" --seconds "$(long 120 4)" --least 101
        is '.errors == 0 and .twice == 0 and .mismatches == 0 and .reads > 100 and .writes > 100'
        [[ $(relay_stat links) == $((links + 1)) ]] || fail "a connection was lost"
        harm=$(($(relay_stat spoilt) + $(relay_stat lost) - before))
        [[ $harm -lt $least ]] || break
    done
    [[ $harm -ge $least ]] || fail "only $harm PDUs were harmed"
}

say "one PDU in 1,000 has a wrong data digest"
spoiled 10 "1000" -- ""

say "one in 50, with header digests, too, and all data asked for by R2T"
spoiled 50 "50 header" -- "&header_digest=crc32c&initial_r2t=yes&immediate_data=no"

say "one in 200 of those that come, and one in 500 does not come"
spoiled 20 "200 lose=500 to-initiator" "1000 to-target" -- "&max_recv_data_segment_length=4096"

say "a target that offers level 0: a spoilt byte costs a connection, as ever"
"$tmp/down"
prepare_target --lun "file:$tmp/lun" --set DefaultTime2Wait=0
target_up
tell target "$portal"
tell spoil 2000
links=$(relay_stat links)
before=$(relay_stat spoilt)
for _ in {1..20}; do
    verify --url "$url&default_time2wait=0" --final-url "iscsi://$portal/$iqn/0" --seconds "$(long 30 3)"
    is '.errors == 0 and .mismatches == 0'
    [[ $(relay_stat spoilt) == "$before" ]] || break
    links=$(relay_stat links)
done
[[ $(relay_stat links) -gt $((links + 1)) ]] || fail "no connection was lost"
