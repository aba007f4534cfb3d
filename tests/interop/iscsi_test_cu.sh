#!/bin/bash
# SPDX-License-Identifier: MIT
# iscsi_test_cu.sh - libiscsi's conformance tool against lunette-target: each family of tests on a
# RAM LUN, a file LUN and a RAM LUN of 4096-byte blocks, with a time limit for each.
#
# usage: iscsi_test_cu.sh LUNETTE-TARGET [FAMILY...]
# A failure that is not in iscsi_test_cu.known fails the script.
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source=tests/interop/target_lib.sh disable=SC2154
. "$here/target_lib.sh"
requires iscsi-test-cu
limit=60 # seconds for a family on one LUN

mapfile -t families < <(iscsi-test-cu --list | sed -n 's/^\(ALL\.[A-Za-z0-9]*\)$/\1/p')
[[ ${#families[@]} -gt 50 ]] || fail "iscsi-test-cu --list names only ${#families[@]} families"
[[ $# -lt 2 ]] || families=("${@:2}")

serve --lun ram:256M --lun "file:$tmp/disk:64M" --lun ram:64M,block=4096 --lun ram:64M,ro --set QueueDepth=64

passed=0 skipped=0 failed=0 unexpected=()

# Prints the failed tests of an output as Suite.Test.
failed_tests() {
    awk '/^Suite:/ { suite = $2 }
         /^ *Test: / { test = $2 }
         /^ *[0-9]+\. test_/ && !seen[suite test]++ { print suite "." test }' "$1"
}

run() {
    local family=$1 lun=$2 out=$tmp/$1.$2 url=iscsi://$portal/$iqn/$2 name total bad skips
    if ! timeout "$limit" iscsi-test-cu --dataloss -t "$family" "$url" "$url" > "$out" 2>&1; then
        unexpected+=("$family on LUN $lun: no end within $limit s, or a crash")
        return
    fi
    read -r total bad < <(awk '$1 == "tests" { print $2, $5 }' "$out") || true
    if [[ -z ${total-} ]]; then
        unexpected+=("$family on LUN $lun: no summary")
        return
    fi
    skips=$(awk '/^ *Test: / { t++ } /SKIPPED/ && !s[t]++ { n++ } END { print n + 0 }' "$out")
    passed=$((passed + total - bad - skips))
    skipped=$((skipped + skips))
    failed=$((failed + bad))
    while read -r name; do
        grep -q "^$name\\b" "$here/iscsi_test_cu.known" || unexpected+=("$name on LUN $lun")
    done < <(failed_tests "$out")
}

for family in "${families[@]}"; do
    for lun in 0 1 2; do run "$family" "$lun"; done
done
run ALL.ReadOnly 3
stop

echo "iscsi-test-cu: $passed passed, $skipped skipped, $failed failed in ${#families[@]} families"
for u in "${unexpected[@]}"; do echo "unexpected: $u"; done
[[ ${#unexpected[@]} == 0 ]]
