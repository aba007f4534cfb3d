#!/bin/bash
# SPDX-License-Identifier: MIT
# connections.sh - eight connections to lunette-target that are cut one after the other under verified
# I/O: at level 2, which the kernel's target does not survive (lio_level2.sh), and with targets that
# offer less than what is asked for.  No request fails, and no other session begins.
# shellcheck disable=SC2154
. "$(dirname "$0")/../recovery/lib.sh"
requires lunette-target jq
isolate "$@"

# cut_one_by_one CONNECTIONS TARGET-OPTION...: that many links are there, and the session stays the same
cut_one_by_one() {
    local connections=$1 links
    shift
    prepare_target --lun ram:32M --set DefaultTime2Wait=0 "$@"
    target_up
    tell target "$portal"
    links=$(relay_stat links)
    verify --url "iscsi://$relay/$iqn/0?nr_connections=8&error_recovery_level=2&data_digest=crc32c" \
        --final-url "iscsi://$portal/$iqn/0" --relay "$control" --verbose --least 101 \
        --cuts "$(long 500 30)" --interval 20-80 --down "relay cut rst oldest" --down "relay cut fin oldest"
    is '.errors == 0 and .twice == 0 and .mismatches == 0 and .reads > 100 and .writes > 100'
    same_session
    [[ $(relay_stat links) -ge $((links + connections + $(figure .cuts) - 1)) ]] ||
        fail "there were no $connections connections"
    "$tmp/down"
}

relay_to 127.0.0.1:1
say "level 2"
cut_one_by_one 8 --error-recovery-level 2
say "the target offers level 1"
cut_one_by_one 8 --error-recovery-level 1
say "the target offers level 0, and four connections"
cut_one_by_one 4 --error-recovery-level 0 --max-connections 4
