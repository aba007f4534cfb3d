# SPDX-License-Identifier: MIT
# tgtd.sh - starts Debian's tgtd and makes targets.  Sourced after lib.sh.
# shellcheck shell=bash disable=SC2034,SC2154

tgt_iqn=iqn.2026-11.example.tgt

# Starts tgtd; sets $portal4 and $portal6 ("" where the port could not be had).
tgt_start() {
    export TGT_IPC_SOCKET=$tmp/tgt-ipc
    if [[ -n $isolated ]]; then
        port=3260
        start tgtd tgtd -f
        portal6="[::1]:$port"
    else
        port=$(free_port)
        start tgtd tgtd -f --iscsi "portal=127.0.0.1:$port"
        portal6=''
    fi
    portal4=127.0.0.1:$port
    wait_until 10 tgt_up || fail "tgtd does not start"
}

tgt_up() {
    tgtadm --lld iscsi --op show --mode sys && port_open 127.0.0.1 "$port"
}

tgt() { # OP MODE ARG...
    local op=$1 mode=$2
    shift 2
    tgtadm --lld iscsi --op "$op" --mode "$mode" "$@"
}

tgt_target() { # TID NAME: a target that lets everyone in and can do digests
    tgt new target --tid "$1" --targetname "$tgt_iqn:$2"
    tgt bind target --tid "$1" -I ALL
    tgt update target --tid "$1" --name HeaderDigest --value CRC32C,None
    tgt update target --tid "$1" --name DataDigest --value CRC32C,None
}

tgt_lun() { # TID LUN FILE SIZE [BLOCK-SIZE]
    truncate -s "$4" "$3"
    tgt new logicalunit --tid "$1" --lun "$2" --backing-store "$3" ${5:+--blocksize "$5"}
}

tgt_account() { # USER SECRET
    tgt new account --user "$1" --password "$2"
}
