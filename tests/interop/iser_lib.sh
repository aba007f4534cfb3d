# SPDX-License-Identifier: MIT
# iser_lib.sh - a virtual machine with soft RDMA at both ends of a wire (tests/vm/vmlab), where our programs
# run and meet the kernel's target, tgtd, our target and the kernel's initiator.  Sourced after vm_lib.sh.
#
# Initiators are at 10.9.0.1, targets at 10.9.0.2.  All else is in the machine, too: the images, the mediums,
# and the commands that cut.
# shellcheck shell=bash disable=SC2034,SC2154

me=iqn.2026-11.example:rdma # tgtd lets initiators in by name
here_rdma=10.9.0.2
lio=iqn.2026-01.lab.vm lio_port=3262
tgt=iqn.2026-01.lab.tgt tgt_port=3260
own=iqn.2026-11.example:own own_port=3264
pings="ping_interval=300&ping_timeout=1500"
stamps=0

# rdma_world NAME PROGRAM...: a machine with the wire, and the programs in it
rdma_world() {
    vm_start "$1" --mem 2048 --timeout 240
    shift
    rdma_programs=("$@")
    rdma_furnish
}

rdma_furnish() {
    guest vmlab-svc wire || vm_skip "no soft RDMA in the machine"
    ok "$vmlab" bring "${rdma_programs[@]}"
    guest_sh "head -c 67108864 /dev/urandom > /root/image"
}

# A target that was ill-treated may be of no more use: everything anew.
rdma_again() {
    vm_again
    rdma_furnish
}

# url PORT TARGET/LUN [OPTIONS]
url() {
    echo "iscsi://${credentials-}$here_rdma:$1/$2?transport=iser&initiator_name=$me${3:+&$3}"
}

# copied MIB MEDIUM URL OPTION...: copies that much to the LUN, other data each time, verifies it, and
# compares the image with the medium, of which the machine knows more than the target says.
copied() {
    local mib=$1 medium=$2 to=$3
    shift 3
    stamps=$((stamps + 1))
    guest_sh "truncate -s ${mib}M /root/part; dd if=/root/image of=/root/part bs=1M count=$mib conv=notrunc status=none
        printf '%08d' $stamps | dd of=/root/part bs=1 seek=500000 conv=notrunc status=none"
    ok in_vm lunette copy /root/part "$to" --verify --progress=json "$@"
    tail -n 1 "$tmp/err"
    ok guest cmp -n $((mib << 20)) /root/part "$medium"
}

# Where the machine's kernel waits, and what it had to say last, for somebody who asks why nothing went on.
kernel_waits() {
    guest_sh 'ps -eo pid,stat,etime,wchan:25,args | grep -E "vmlab-|tgtd" | grep -v grep || true
        for p in /proc/[0-9]*; do
            s=$(cat $p/stack 2> /dev/null) || continue
            case "$s" in *iscsi* | *isert* | *rdma* | *ib_*) echo "-- ${p#/proc/} $(cat $p/comm)"; echo "$s" | head -n 9 ;; esac
        done
        rdma res show qp; dmesg | tail -n 20' || true
}

# loaded OPTION...: verified I/O (tests/recovery/verify), and nothing of it is lost or spoilt
loaded() {
    local got=0
    checks=$((checks + 1))
    in_vm verify --no-final --depth 16 --region 4M --patience 60 "$@" > "$tmp/out" 2> "$tmp/err" || got=$?
    ! grep -qE 'Sanitizer|runtime error:' "$tmp/err" || fail "verify $*: sanitizer report" "$tmp/err"
    if [[ $got != 0 ]]; then
        kernel_waits >&2
        fail "verify $*: exit $got" "$tmp/err" "$tmp/out"
    fi
    jq -c 'del(.first_error)' "$tmp/out"
    is '.twice == 0 and .mismatches == 0'
}
