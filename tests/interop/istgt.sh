#!/bin/bash
# SPDX-License-Identifier: MIT
# istgt.sh - lunette against Debian's istgt: plain and CHAP, both ways.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette istgt
isolate "$@"

port=3260
[[ -n $isolated ]] || port=$(free_port 2)
control=$((port + 1))
portal=127.0.0.1:$port
iqn=iqn.2026-11.example.istgt

conf() { # NAME NUMBER AUTH-METHOD AUTH-GROUP
    cat <<- EOF
	[LogicalUnit$2]
	  TargetName $1
	  Mapping PortalGroup1 InitiatorGroup1
	  AuthMethod $3
	  AuthGroup $4
	  UnitType Disk
	  QueueDepth 32
	  LUN0 Storage $tmp/$1.img 64MB
	EOF
}

{
    cat <<- EOF
	[Global]
	  NodeBase "$iqn"
	  PidFile $tmp/istgt.pid
	  AuthFile $tmp/auth.conf
	  LogFacility "local7"
	  Timeout 30
	  NopInInterval 20
	  DiscoveryAuthMethod Auto
	  MaxSessions 16
	  MaxConnections 4
	  MaxR2T 32
	  MaxOutstandingR2T 16
	  DefaultTime2Wait 2
	  DefaultTime2Retain 60
	  FirstBurstLength 262144
	  MaxBurstLength 1048576
	  MaxRecvDataSegmentLength 262144
	[UnitControl]
	  AuthMethod None
	  AuthGroup None
	  Portal UC1 127.0.0.1:$control
	  Netmask 127.0.0.1
	[PortalGroup1]
	  Portal DA1 $portal
	[InitiatorGroup1]
	  InitiatorName "ALL"
	  Netmask ALL
	EOF
    conf plain 1 None None
    conf chap 2 CHAP AuthGroup1
    conf mutual 3 "CHAP Mutual" AuthGroup2
} > "$tmp/istgt.conf"
cat > "$tmp/auth.conf" << 'EOF'
[AuthGroup1]
  Auth "user" "secret0secret0"
[AuthGroup2]
  Auth "user" "secret0secret0" "them" "1secret1secret"
EOF
chmod 600 "$tmp/auth.conf"
truncate -s 64M "$tmp/plain.img" "$tmp/chap.img" "$tmp/mutual.img"

start istgt istgt -D -c "$tmp/istgt.conf"
wait_until 10 port_open 127.0.0.1 "$port" || fail "istgt does not start"

say discovery
ok lunette discover "$portal"
has "$iqn:plain"
# two of the three want CHAP
expect $EX_LOGIN lunette ls "iscsi://$portal/"
has "$iqn:plain"
ok lunette ls "iscsi://user%secret0secret0@$portal/$iqn:chap"
ok lunette info "iscsi://$portal/$iqn:plain/0"

say plain
random_file "$tmp/image" 32M
for loop in epoll uring; do
    for options in '' '?header_digest=crc32c&data_digest=crc32c' '?initial_r2t=no&immediate_data=yes' \
        '?initial_r2t=yes&immediate_data=no&max_outstanding_r2t=8&max_burst_length=16384&first_burst_length=4096'; do
        u="iscsi://$portal/$iqn:plain/0$options"
        ok lunette copy "$tmp/image" "$u" --verify --loop $loop
        ok lunette read "$u" --offset 0 --length 32M --loop $loop
        same "$tmp/out" "$tmp/image"
    done
done
same "$tmp/plain.img" "$tmp/image" $((32 << 20))
has "HeaderDigest=on, DataDigest=on" "$tmp/istgt.log"
has "HeaderDigest=off, DataDigest=off" "$tmp/istgt.log"

say CHAP
ok lunette copy "$tmp/image" "iscsi://user%secret0secret0@$portal/$iqn:chap/0" --verify
same "$tmp/chap.img" "$tmp/image" $((32 << 20))
expect $EX_LOGIN lunette info "iscsi://user%secret0secret1@$portal/$iqn:chap/0"
expect $EX_LOGIN lunette info "iscsi://$portal/$iqn:chap/0"

say "mutual CHAP"
mutual="iscsi://user%secret0secret0@$portal/$iqn:mutual/0?target_user=them&target_password"
ok lunette info "$mutual=1secret1secret"
expect $EX_LOGIN lunette info "$mutual=1secret1secreT"

say "what is not there"
expect $EX_NOT_FOUND lunette info "iscsi://$portal/$iqn:nothing/0"
expect $EX_NOT_FOUND lunette info "iscsi://$portal/$iqn:plain/9"
