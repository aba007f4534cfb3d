#!/bin/bash
# SPDX-License-Identifier: MIT
# level2.sh - error recovery level 2: single connections of a session are cut under verified I/O, and
# the session goes on with all its tasks: no login begins another nexus, no request fails, and the
# others hardly wait.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"

prepare_target --lun ram:32M --set DefaultTime2Wait=0 --error-recovery-level 2
target_up
relay_to "$portal"
url="iscsi://$relay/$iqn/0?error_recovery_level=2&ping_interval=200&ping_timeout=2000"
final=iscsi://$portal/$iqn/0
common=(--final-url "$final" --relay "$control" --verbose)

say "four connections, cut one after the other"
verify --url "$url&nr_connections=4" "${common[@]}" --cuts "$(long 1000 40)" --interval 20-60 --least 101 \
    --down "relay cut rst oldest" --down "relay cut fin oldest"
is ".cuts >= $(long 1000 40) and .errors == 0 and .twice == 0 and .mismatches == 0 and .reads > 100"
same_session
# What is on the connection that is cut waits for its reassignment and is measured, too.  On a
# machine that does much else the short form cannot tell.
full && is '.longest_ms < 50'

say "four connections, small bursts that are asked for"
bursts="&initial_r2t=yes&immediate_data=no&first_burst_length=4096&max_burst_length=8192"
verify --url "$url&nr_connections=4$bursts" "${common[@]}" --cuts "$(long 100 15)" --interval 20-60 \
    --down "relay cut rst oldest"
is '.errors == 0'
same_session

say "one connection, cut in the middle of PDUs, comes again in its session"
verify --url "$url$bursts" "${common[@]}" --cuts "$(long 100 15)" --interval 20-60 \
    --down "relay cut rst after=30000 to-target" --down "relay cut rst after=100000 to-initiator"
is '.errors == 0'
same_session

say "all four at once"
verify --url "$url&nr_connections=4" "${common[@]}" --cuts "$(long 100 10)" --interval 100-200 \
    --down "relay cut rst" --down "relay cut fin"
is '.errors == 0'
same_session

say "a target that forgets: the session is recovered"
"$tmp/down"
truncate -s 32M "$tmp/lun" # the same unit when it is back
prepare_target --lun "file:$tmp/lun" --set DefaultTime2Wait=0 --error-recovery-level 2
target_up
tell target "$portal"
verify --url "$url&nr_connections=4" "${common[@]}" --cuts 2 --interval 100-200 --no-final --errors \
    --down "$tmp/down" --up "$tmp/up" --outage 50
checks=$((checks + 1))
grep -q 'logged in again' "$tmp/err" || fail "the session was not recovered"
