#!/bin/bash
# SPDX-License-Identifier: MIT
# test_verify.sh - the verified load itself: it sees data that is wrong, stale, or of another place.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette-target jq
isolate "$@"

truncate -s 32M "$tmp/lun"
prepare_target --lun "file:$tmp/lun"
target_up
url=iscsi://$portal/$iqn/0

say "nothing wrong"
verify --url "$url" --seconds 1
is '.reads > 0 and .writes > 0 and .compared > 4096 and .mismatches == 0'

# harm WHAT COMMAND: while the load runs, COMMAND changes the LUN behind its back
harm() {
    say "$1"
    expect 1 "$RECOVERY_BIN/verify" --url "$url" --seconds 1 --cuts 1 --down "$2"
    is '.mismatches > 0 and .errors == 0'
    has "$3" "$tmp/err"
}
harm "other bytes" "head -c 4M /dev/urandom | dd of=$tmp/lun bs=1M seek=3 conv=notrunc status=none" "want version"
harm "stale ones" "head -c 4M $tmp/lun > $tmp/old; while cmp -s -n 4194304 $tmp/old $tmp/lun; do sleep 0.1; done; sleep 0.3; dd if=$tmp/old of=$tmp/lun bs=4M conv=notrunc status=none" "got unit"
harm "of another place" "dd if=$tmp/lun of=$tmp/lun bs=1M count=2 seek=8 conv=notrunc status=none" "got unit"

say "requests that fail"
expect 1 "$RECOVERY_BIN/verify" --url "$url?replacement_timeout=0" --no-final --cuts 1 --down "$tmp/down"
is '.errors > 0 and .unfinished == 0 and .by_errno.ENOTCONN > 0 and ((.by_errno | keys) - ["ENOLINK", "ENOTCONN"]) == []'

say "requests that never end"
target_up
expect 1 "$RECOVERY_BIN/verify" --url "$url?replacement_timeout=-1" --no-final --patience 1 --cuts 1 --down "$tmp/down"
is '.unfinished == 32 and .errors == 1'
has "no I/O for" "$tmp/err"
