#!/bin/bash
# SPDX-License-Identifier: MIT
# iser.sh - lunette over iSER (RFC 7145) against the kernel's target, LIO, and against tgtd, by soft RDMA in a
# virtual machine: copies, memory, CHAP, users, cuts.  RECOVERY=full: all sizes in each mode, longer outages.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../recovery/lib.sh"
. "$here/vm_lib.sh"
. "$here/iser_lib.sh"
requires lunette jq

# Of a machine without an RDMA device, which this one most probably is.
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-interop.XXXXXX")
pids=()
trap cleanup EXIT
lunette transports --json > "$tmp/transports"
jq -e 'any(.transports[]; .name == "iser")' "$tmp/transports" > /dev/null || skip "built without iSER"
if [[ -z $(ls /sys/class/infiniband 2> /dev/null) ]]; then
    say "no device"
    jq -e '.transports[] | select(.name == "iser") | .usable | not' "$tmp/transports" > /dev/null ||
        fail "iser is usable without a device"
    expect 1 lunette info "iscsi://127.0.0.1/$own/0?transport=iser"
    has "no RDMA device" "$tmp/err"
    [[ $(wc -l < "$tmp/err") == 1 ]] || fail "more than one sentence: $(cat "$tmp/err")"
fi
rm -rf "$tmp"

rdma_world iser "$LUNETTE_BIN/lunette" "$RECOVERY_BIN/verify" "$RDMA_BIN/rnic_contract"
lio add disk --lun file:64 --iser $lio_port --param DefaultTime2Wait=0
lio add mutual --lun ram:16 --iser $lio_port --chap user:secret0secret0 --mutual them:1secret1secret
"$vmlab" tgt up
"$vmlab" tgt add 1 disk 64 $me
"$vmlab" tgt add 2 mutual 16 $me user:secret0secret0 them:1secret1secret
lio_medium=/run/vmlab/lio/disk-0 tgt_medium=/run/vmlab/tgt.1.img

say "the device, as the contract of RDMA has it"
ok in_vm rnic_contract $here_rdma 10.9.0.77
tail -n 3 "$tmp/out"
ok in_vm lunette transports --json
jq -e '.transports[] | select(.name == "iser") | .usable' "$tmp/out" > /dev/null || fail "iser is not usable in the machine"

say discovery
ok in_vm lunette discover "iscsi://$here_rdma:$lio_port/?transport=iser&initiator_name=$me"
has "$here_rdma:$lio_port,1 $lio:disk"
has $lio:mutual
ok in_vm lunette discover "iscsi://$here_rdma:$tgt_port/?transport=iser&initiator_name=$me"
has $tgt:disk
ok in_vm lunette info "$(url $lio_port $lio:disk/0)"
has iser
expect $EX_NOT_FOUND in_vm lunette info "$(url $lio_port $lio:disk/9)"
expect $EX_CONNECT in_vm lunette info "$(url 3299 $lio:disk/0)"

# both PEER: what is between the words is done with LIO and with tgtd
peer() {
    case $1 in
    lio) port_=$lio_port lun=$lio:disk/0 medium=$lio_medium mutual=$lio:mutual/0 ;;
    tgt) port_=$tgt_port lun=$tgt:disk/1 medium=$tgt_medium mutual=$tgt:mutual/1 ;;
    esac
}

for p in lio tgt; do
    peer $p
    for depth in 32 1; do
        say "$p: depth $depth"
        copied "$(long 64 8)" $medium "$(url $port_ $lun)" --depth $depth
    done
    for stag in window pool register; do
        say "$p: iser_stag=$stag"
        copied "$(long 64 2)" $medium "$(url $port_ $lun iser_stag=$stag)" --depth 8
    done
    say "$p: on the other loop"
    copied 2 $medium "$(url $port_ $lun)" --loop uring
    say "$p: mutual CHAP"
    credentials=user%secret0secret0@
    ok in_vm lunette info "$(url $port_ $mutual "target_user=them&target_password=1secret1secret")"
    expect $EX_LOGIN in_vm lunette info "$(url $port_ $mutual "target_user=them&target_password=1secret1secreT")"
    credentials=user%secret0secret1@
    got=0 # LIO may disconnect before its Login Response has left
    in_vm lunette info "$(url $port_ $mutual "target_user=them&target_password=1secret1secret")" > "$tmp/out" 2> "$tmp/err" || got=$?
    [[ $got == "$EX_LOGIN" || ($p == lio && $got == "$EX_CONNECT") ]] || fail "a wrong secret: exit $got" "$tmp/err"
    credentials=''
done

say "a user without rights"
peer lio
nobody=(setpriv --reuid 65534 --regid 65534 --clear-groups)
ok guest "${nobody[@]}" /opt/host/bin/lunette read "$(url $lio_port $lun)" --offset 0 --length 1M
expect 1 guest "${nobody[@]}" prlimit --memlock=65536:65536 /opt/host/bin/lunette info "$(url $lio_port $lun)"
has 65536 "$tmp/err"
[[ $(grep -oE '[0-9]{4,}' "$tmp/err" | sort -u | wc -l) -ge 2 ]] || fail "no two numbers: $(cat "$tmp/err")"

say "cut and reopened $(long 20 3) times under I/O: tgtd is killed"
peer tgt
# It listens before its targets are made, and a login that is refused is one of 8.  It would die of one that is
# given up before it is answered, which takes a second (tests/vm/README.md), and it would not be started again.
loaded --url "$(url $port_ $lun "default_time2wait=0&reopen_max=0&$pings")" --cuts "$(long 20 3)" --interval 100-400 \
    --down "vmlab-tgt down" --up "vmlab-tgt up" --outage 50
is '.errors == 0'
say "cut and reopened $(long 20 5) times under I/O: LIO's portal is disabled"
peer lio
loaded --url "$(url $port_ $lun "default_time2wait=0&$pings")" --cuts "$(long 20 5)" --interval 100-400 \
    --down "vmlab-lio portal disk 1 down" --up "vmlab-lio portal disk 1 up" --outage 50
is '.errors == 0'
if full; then
    say "LIO: packets are lost for longer than replacement_timeout, then for less"
    hole=(--down "vmlab-wire cut" --up "vmlab-wire mend" --cuts 3)
    loaded --url "$(url $port_ $lun "default_time2wait=0&$pings&replacement_timeout=2")" --errors --outage 6000 "${hole[@]}"
    is '.by_errno.ENOTCONN > 0 and ((.by_errno | keys) - ["ENOLINK", "ENOTCONN"]) == []'
    loaded --url "$(url $port_ $lun "default_time2wait=0&$pings&replacement_timeout=120")" --outage 6000 "${hole[@]}"
    is '.errors == 0'
fi
! lio_died || fail "LIO's kernel has died" "$tmp/oops"
