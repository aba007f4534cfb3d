#!/bin/bash
# SPDX-License-Identifier: MIT
# target_args.sh - the command line of lunette-target: what it refuses, with which exit code and why,
# and how many targets it takes.
set -u
: "${LUNETTE_BIN:=$(dirname "$0")/../../build/bin}"
LUNETTE_BIN=$(realpath "$LUNETTE_BIN")
target=$LUNETTE_BIN/lunette-target
[[ -x $target ]] || { echo "SKIP: lunette-target is not built"; exit 77; }
unset LUNETTE_TARGET_CHAP

tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-args.XXXXXX")
cd "$tmp" || exit 1
pid=
trap 'kill $pid 2> /dev/null; wait; rm -rf "$tmp"' EXIT
failed=0
disk=(--listen 127.0.0.1:0 --target iqn.2026-11.example:disk --lun ram:1M)

fail() {
    echo "FAIL (line ${BASH_LINENO[1]}): $*"
    sed 's/^/    /' err
    failed=1
}

# refused SENTENCE ARGUMENT...: exit code 2, and stderr has the sentence.
refused() {
    local want=$1
    shift
    timeout 60 "$target" "$@" > out 2> err
    local status=$?
    [[ $status == 2 ]] || fail "$*: ended with $status"
    grep -q -- "$want" err || fail "$*: does not say '$want'"
}

comes() { # COMMAND...: waits until it succeeds; false after a minute
    local until=$((SECONDS + 60))
    until "$@" 2> /dev/null; do
        ((SECONDS < until)) || return 1
        sleep 0.02
    done
}

for us in -1 '' 1x ' 1' +1 99999999999999999999 4294967296; do
    refused "--pace-us wants microseconds" "${disk[@]}" --pace-us="$us"
    refused "--spin-us wants microseconds" "${disk[@]}" --spin-us="$us"
done
refused "no address of that name" --listen foo.invalid "${disk[@]:2}"
refused "the port must be" --listen foo:bar "${disk[@]:2}"
refused "--listen-iser foo.invalid: no address of that name" --listen-iser foo.invalid "${disk[@]:2}"
refused "the port must be" --listen-iser foo:bar "${disk[@]:2}"
refused "RDMAExtensions=Maybe" "${disk[@]}" --set RDMAExtensions=Maybe
# Without a device, or built without RDMA, it says which of both, and does not go on with TCP alone.
if [[ ! -e /sys/class/infiniband ]]; then
    timeout 60 "$target" --listen-iser 192.0.2.1:3260 "${disk[@]}" > out 2> err
    status=$?
    [[ $status == 1 || $status == 2 ]] || fail "--listen-iser without a device: ended with $status"
    grep -Eq "cannot listen for iSER on 192.0.2.1:3260: .*(no RDMA device|RDMA is not built)" err ||
        fail "--listen-iser without a device: does not say so"
fi
for set in MaxBurstLength=5 MaxBurstLength=foo InitialR2T=maybe FirstBurstLength=99999999999 \
    MaxRecvDataSegmentLength=1 MaxConnections=0 DefaultTime2Wait=-1 MaxOutstandingR2T=; do
    refused "${set%%=*}" "${disk[@]}" --set $set
done
refused "Foo cannot be set" "${disk[@]}" --set Foo=1
refused "HeaderDigst cannot be set (did you mean HeaderDigest?)" "${disk[@]}" --set HeaderDigst=CRC32C
refused "MaxBurstLength=5: out of range: want 512..16777215" "${disk[@]}" --set MaxBurstLength=5
refused "options are block=N" "${disk[@]}" --lun ram:1M,bolck=512
refused "options are block=N" "${disk[@]}" --lun null:1M,lun
refused "alua= must be optimized, non-optimized" "${disk[@]}" --lun ram:1M,alua=active
refused "there is no such folder" "${disk[@]}" --lun file:/no/such/folder:1M
refused "file:missing:SIZE makes it" "${disk[@]}" --lun file:missing
refused "two LUNs have the number 7" "${disk[@]}" --lun ram:1M,lun=7 --lun ram:1M,lun=7
truncate -s 1M d.pr e
ln -s "$PWD/d.pr" link
mkdir folder
ln -s .. folder/up
for pair in "d d.pr" "d.pr d" "./d $PWD/d.pr" "d link" "folder/up/d d.pr" "d:1M d.pr.new:1M"; do
    read -r one other <<< "$pair"
    refused "whose persistent reservations" "${disk[@]}" --lun "file:$one" --lun "file:$other"
    refused "whose persistent reservations" "${disk[@]}" --lun "file:$one" --target iqn.2026-11.example:b --lun "file:$other"
done
refused "two LUNs have the number 7" "${disk[@]}" --lun file:e,lun=7 --lun file:d.pr,lun=7 # no such pair
refused "at most 255 bytes" "${disk[@]}" --alias "$(printf '%256s' '' | tr ' ' a)"
refused "byte 20h at offset 3" --target "foo bar" --lun ram:1M
refused "for example: lunette-target --target"
refused "HeaderDigest takes" "${disk[@]}" --set HeaderDigest=x

# A file of secrets that others can read, or change, is refused, as the initiator does.
echo "user:a secret of the file" > secrets
for mode in 644 640 602 660; do
    chmod $mode secrets
    refused "chmod 600" "${disk[@]}" --chap-file secrets
done
refused "No such file" "${disk[@]}" --chap-file missing
chmod 600 secrets
rm out # else what stands in it from before may be taken for this target's word
"$target" "${disk[@]}" --chap-file secrets > out 2> err &
pid=$!
comes grep -q "^listening on " out || fail "a file of mode 600 is refused"
kill $pid
wait $pid

# More targets than one would think.
many=()
for i in $(seq 500); do
    many+=(--target "iqn.2026-11.example:disk-$i" --lun null:1M)
done
rm out
"$target" --listen 127.0.0.1:0 "${many[@]}" > out 2> err &
pid=$!
comes grep -q "^listening on " out
portal=$(sed -n 's/^listening on //p' out)
timeout 60 "$LUNETTE_BIN/lunette" discover "$portal" > list 2> err || fail "discover ended with $?"
listed=$(grep -o 'iqn\.2026-11\.example:disk-[0-9]*' list | sort -u | wc -l)
[[ $listed == 500 ]] || fail "$listed targets of 500 are listed"
kill $pid
wait $pid
exit $failed
