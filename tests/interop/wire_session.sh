#!/bin/bash
# SPDX-License-Identifier: MIT
# wire_session.sh - what goes over the wire between us and lunette-target when a session uses all that
# there is: CHAP both ways, digests, four connections at level 2, PDUs that are spoilt and lost, and
# connections that are cut.  Wireshark's dissector finds nothing malformed and nothing unexpected.  Each
# kind of repair is provoked once; after that chance has its turn.
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

final=iscsi://$who$portal/$iqn/0?$proof
# PDUs are small, so that commands have several, and come late, so that they are few.  A connection is
# not given up because the machine is busy.
url="iscsi://$who$relay/$iqn/0?$proof&error_recovery_level=2&header_digest=crc32c&data_digest=crc32c"
url+="&max_recv_data_segment_length=4096&first_burst_length=4096&max_burst_length=16384"
url+="&ping_interval=200&ping_timeout=20000"
tell delay 5
tell spoil 0 header
ok lunette ping "$url" --count 1

no_link() {
    [[ $(relay_stat open) == 0 ]]
}

# provoke WORDS...: the relay does this to the next such PDU of a session whose four connections are
# there.  All requests end well, which they do after the repair.
provoke() {
    say "$*"
    cat > "$tmp/provoke" <<- EOF
	until $(told stats) | jq -e '.open == 4'; do sleep 0.01; done &&
	    ${refuse:-true} && $(told next "$@") &&
	    until $(told stats) | jq -e '.awaited == 0'; do sleep 0.01; done
	EOF
    wait_until 60 no_link || fail "links of the session before are left"
    verify --url "$url&nr_connections=4" --final-url "$final" --verbose --depth 1 --region 262144 \
        --cuts 1 --interval 0-0 --down "timeout 60 sh '$tmp/provoke' > '$tmp/provoked' 2>&1"
    is '.cuts == 1 and .errors == 0 and .mismatches == 0 and .twice == 0'
}
provoke lose response
provoke lose data-in
provoke spoil command
# No other connection comes in the place of the one that is lost before it has been logged out.
refuse=$(told refuse) provoke cut data-out
tell accept

say "by chance"
tell spoil 60 lose=120 header
verify --url "$url&nr_connections=4" --final-url "$final" --relay "$control" --verbose \
    --depth 4 --region 1M --cuts "$(long 60 8)" --interval 100-300 \
    --down "relay cut rst oldest" --down "relay cut fin oldest"
is '.errors == 0 and .mismatches == 0 and .twice == 0'
stop "$dumpcap"
ok python3 "$here/wire_session.py" "$tmp/session.pcapng" "${relay##*:}" "$target_port"
cat "$tmp/out"
