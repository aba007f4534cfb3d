#!/bin/bash
# SPDX-License-Identifier: MIT
# iser_target.sh - lunette-target's iSER (RFC 7145) by soft RDMA in a virtual machine, with three initiators:
# lunette, the kernel's (ib_iser with open-iscsi), and iscsid with iscsi-iod.  RECOVERY=full: more cuts.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/../recovery/lib.sh"
. "$here/vm_lib.sh"
. "$here/iser_lib.sh"
requires lunette lunette-target jq
rdma_world iser-target "$LUNETTE_BIN"/{lunette,lunette-target,iscsid,iscsiadm,iscsi-iod} "$RECOVERY_BIN/verify"

serve() {
    vm_service target '^listening' lunette-target --listen-iser $here_rdma:$own_port \
        --target $own --lun file:/root/medium:64M --lun ram:16M "$@"
}
medium=/root/medium
guest truncate -s 64M $medium
serve --set DefaultTime2Wait=0

say "lunette"
ok in_vm lunette discover "iscsi://$here_rdma:$own_port/?transport=iser&initiator_name=$me"
has "$here_rdma:$own_port,1 $own"
for depth in 32 1; do
    say "depth $depth"
    copied "$(long 64 8)" $medium "$(url $own_port $own/0)" --depth $depth
done
for stag in window pool register; do
    say "iser_stag=$stag"
    copied "$(long 64 2)" $medium "$(url $own_port $own/0 iser_stag=$stag)" --depth 8
done

say "the target is killed $(long 20 4) times under I/O"
guest_sh "cat > /root/up << 'END'
#!/bin/sh
cd /root
/opt/host/bin/lunette-target --listen-iser $here_rdma:$own_port --target $own --lun file:/root/medium:64M --set DefaultTime2Wait=0 > target.log 2>&1 < /dev/null &
echo \$! > target.pid
until grep -q '^listening' target.log; do sleep 0.02; done
END
cat > /root/down << 'END'
#!/bin/sh
kill -9 \$(cat /root/target.pid)
while kill -0 \$(cat /root/target.pid) 2> /dev/null; do sleep 0.02; done
END
chmod +x /root/up /root/down"
loaded --url "$(url $own_port $own/0 "default_time2wait=0&$pings")" --cuts "$(long 20 4)" --interval 100-400 \
    --down /root/down --up /root/up --outage 50
is '.errors == 0'

if full; then
    say "packets are lost for longer than replacement_timeout, then for less"
    hole=(--down "vmlab-wire cut" --up "vmlab-wire mend" --cuts 1)
    loaded --url "$(url $own_port $own/0 "default_time2wait=0&$pings&replacement_timeout=2")" --errors --outage 6000 "${hole[@]}"
    is '.by_errno.ENOTCONN > 0 and ((.by_errno | keys) - ["ENOLINK", "ENOTCONN"]) == []'
    loaded --url "$(url $own_port $own/0 "default_time2wait=0&$pings&replacement_timeout=120")" --outage 6000 "${hole[@]}"
    is '.errors == 0'
fi

say "iscsid and iscsi-iod"
admin() {
    in_vm iscsiadm --root /root/ours --no-start "$@"
}
vm_service iscsid 'is started as process' iscsid --root /root/ours -f
guest_sh "n=0; until /opt/host/bin/iscsiadm --root /root/ours --no-start -m iface > /dev/null 2>&1; do
    [ \$((n += 1)) -lt 100 ]; sleep 0.1; done"
ok admin -m iface -I rdma -o new
ok admin -m iface -I rdma -o update -n iface.transport_name -v iser
ok admin -m iface -I rdma -o update -n iface.initiatorname -v $me
ok admin -m discovery -t st -p $here_rdma:$own_port -I rdma
has "$here_rdma:$own_port,1 $own"
ok admin -m node -T $own -p $here_rdma:$own_port -I rdma -l
ok admin -m session
has "$here_rdma:$own_port,1 $own (non-flash)"
has "iser: ["
session=$(sed -n 's/^iser: \[\([0-9]*\)\].*/\1/p' "$tmp/out")
ok admin -m session -r "$session" -P 3
has "Iface Transport: iser"
ok admin -m session -r "$session" --export nbd --lun 0
socket=$(sed -n 's/^0 //p' "$tmp/out")
guest_sh "modprobe nbd; nbd-client -unix $socket /dev/nbd0 -N ''; dd if=/root/image of=/dev/nbd0 bs=1M oflag=direct status=none
    dd if=/dev/nbd0 bs=1M count=64 iflag=direct status=none | cmp - /root/image; nbd-client -d /dev/nbd0; cmp -n 67108864 /root/image $medium" ||
    fail "NBD over iSER"
ok admin -m node -T $own -u
expect 21 admin -m session
ok admin -k 0 -u # two daemons of that name are one too many for vmlab-svc
guest_sh "n=0; while pidof iscsid > /dev/null; do [ \$((n += 1)) -lt 100 ]; sleep 0.1; done"

say "the kernel's initiator"
mib=$(long 64 16)
guest_sh "truncate -s ${mib}M /root/image"
theirs() {
    guest iscsiadm "$@"
}
guest_sh "sed -i 's/^InitiatorName=.*/InitiatorName=$me/' /etc/iscsi/initiatorname.iscsi; vmlab-svc udev iscsid"
ok theirs -m discovery -t st -I iser -p $here_rdma:$own_port
has "$here_rdma:$own_port,1 $own"
ok theirs -m node -T $own -I iser -l
ok theirs -m session
has "] $here_rdma:$own_port,1 $own (non-flash)"
has "iser: ["
guest_sh "udevadm settle; disk=/dev/disk/by-path/ip-$here_rdma:$own_port-iscsi-$own-lun-0
    n=0; until [ -e \$disk ]; do [ \$((n += 1)) -lt 100 ]; sleep 0.1; done
    printf kernel | dd of=/root/image conv=notrunc status=none
    dd if=/root/image of=\$disk bs=1M oflag=direct status=none; cmp -n $((mib << 20)) /root/image $medium
    dd if=\$disk bs=256k count=$((mib * 4)) iflag=direct status=none | cmp - /root/image
    mkfs.ext4 -q \$disk; mount \$disk /mnt; cp /bin/busybox /mnt/; umount /mnt
    mount \$disk /mnt; cmp /bin/busybox /mnt/busybox; umount /mnt; e2fsck -fn \$disk > /dev/null 2>&1" ||
    fail "the kernel's initiator: $(guest dmesg | tail -n 10)"

say "and the target is killed under it"
guest_sh "disk=\$(readlink -f /dev/disk/by-path/ip-$here_rdma:$own_port-iscsi-$own-lun-0)
    dd if=/root/image of=\$disk bs=64k oflag=direct status=none & job=\$!
    for i in 1 2 3; do sleep 1; /root/down; /root/up; done
    wait \$job; dd if=\$disk bs=1M count=$mib iflag=direct status=none | cmp - /root/image" ||
    fail "the kernel's initiator, cut: $(guest dmesg | tail -n 10)"
ok theirs -m node -T $own -u
vm_service_ends target
