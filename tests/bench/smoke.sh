#!/bin/bash
# SPDX-License-Identifier: MIT
# smoke.sh SCALE - 300 sessions at once: each one logs in, answers and logs out, and none holds more
# of the heap than it should.  Counts bytes, not time, and not under ASan, whose heap is another.
set -u
: "${LUNETTE_BIN:=$(dirname "$0")/../../build/bin}"
[[ -x $LUNETTE_BIN/lunette-target ]] || { echo "SKIP: lunette-target is not built"; exit 77; }
# The loop's share is in it, at most 1.3 KB each: 16 staging buffers kept.  What malloc keeps for
# itself in caches is not.  Of a session with a unit 15 KB are the flight recorder of its connection.
session_max=11500 unit_max=34000
export GLIBC_TUNABLES=glibc.malloc.tcache_count=0
bad=0
for loop in epoll auto; do
    out=$(timeout 100 "$1" --target "$LUNETTE_BIN/lunette-target" --sessions 300 --in-flight 32 \
        --idle-seconds 0 --loop $loop --json --heap-max $session_max --unit-heap-max $unit_max) || bad=1
    echo "$out"
    grep -q '"alive": 300,.*"units_alive": 300,' <<< "$out" || { echo "FAIL: not all are alive"; bad=1; }
done
# A gate that never shuts is none.
timeout 100 "$1" --target "$LUNETTE_BIN/lunette-target" --sessions 300 --idle-seconds 0 --json \
    --heap-max 1000 > /dev/null 2>&1
case $? in
0) grep -q '"heap_bytes_per_session": 0,' <<< "$out" || { echo "FAIL: --heap-max is not looked at"; bad=1; } ;;
1) ;;
*) echo "FAIL: scale ended oddly"; bad=1 ;;
esac
exit $bad
