#!/bin/bash
# SPDX-License-Identifier: MIT
# wire_session.sh - what goes over the wire between us and lunette-target when a session uses all that
# there is: CHAP both ways, digests, four connections at level 2, PDUs that are spoilt and lost, and
# connections that are cut.  Wireshark's dissector finds nothing malformed and nothing unexpected.
# shellcheck disable=SC2154
. "$(dirname "$0")/../recovery/lib.sh"
requires lunette lunette-target jq tshark dumpcap
isolate "$@"
[[ -n $isolated ]] || requires_root "packets are taken from the network"

prepare_target --lun ram:8M --error-recovery-level 2 --set DefaultTime2Wait=0 \
    --chap user:secret0secret0 --mutual-chap them:1secret1secret
target_up
relay_to "$portal"
start dumpcap dumpcap -q -i lo -B 64 -w "$tmp/session.pcapng" -f "tcp port ${relay##*:} or tcp port $target_port"
dumpcap=$pid
# It names the file when it takes packets.
wait_until 10 grep -q '^File:' "$tmp/dumpcap.log" || fail "dumpcap does not start"

who="user%secret0secret0@"
proof="target_user=them&target_password=1secret1secret"
ok lunette discover "iscsi://$who$relay/?$proof"
has "$iqn"

url="iscsi://$who$relay/$iqn/0?$proof&error_recovery_level=2&nr_connections=4"
url+="&header_digest=crc32c&data_digest=crc32c&ping_interval=200&ping_timeout=1000"
# PDUs are small, so that commands have several, and come late, so that they are few.
url+="&max_recv_data_segment_length=4096&first_burst_length=4096&max_burst_length=16384"
tell delay 5
tell spoil 60 lose=120 header
verify --url "$url" --final-url "iscsi://$who$portal/$iqn/0?$proof" --relay "$control" --verbose \
    --depth 4 --region 1M --cuts "$(long 60 8)" --interval 100-300 \
    --down "relay cut rst oldest" --down "relay cut fin oldest"
is '.errors == 0 and .mismatches == 0 and .twice == 0'
stop "$dumpcap"
ok python3 "$here/wire_session.py" "$tmp/session.pcapng" "${relay##*:}" "$target_port"
cat "$tmp/out"
