#!/bin/bash
# SPDX-License-Identifier: MIT
# nbd_kernel.sh - the kernel's NBD client, in a virtual machine (tests/vm/vmlab), at lunette attach.
# shellcheck disable=SC2034,SC2154
. "$(dirname "$0")/lib.sh"
. "$here/vm_lib.sh"
requires lunette lunette-target python3
vm_start nbd --timeout 240

guest() { # SCRIPT
    timeout 200 "$vmlab" sh "set -e; $1" > "$tmp/out" 2>&1 || fail "in the guest: $1: $(tail -n 20 "$tmp/out")"
    checks=$((checks + 1))
}

# The guest reaches local sockets of the host by a port of 127.0.0.1.
cat > "$tmp/forward.py" << 'PYTHON'
import asyncio, sys

async def pump(reader, writer):
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()

async def forward(reader, writer):
    r, w = await asyncio.open_unix_connection(sys.argv[1])
    await asyncio.gather(pump(reader, w), pump(r, writer))

async def main():
    server = await asyncio.start_server(forward, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
PYTHON

start target "$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target iqn.2026-11.example:nbd \
    --lun ram:256M --lun ram:64M,block=4096
wait_until 10 grep -q "^listening on" "$tmp/target.log" || fail "the target does not listen"
portal=$(sed -n 's/^listening on //p' "$tmp/target.log")

for lun in 0 1; do
    start "attach$lun" "$LUNETTE_BIN/lunette" attach "iscsi://$portal/iqn.2026-11.example:nbd/$lun" --socket "$tmp/$lun"
    wait_until 10 grep -q . "$tmp/attach$lun.log" || fail "attach says nothing"
    start "forward$lun" python3 "$tmp/forward.py" "$tmp/$lun"
    wait_until 10 grep -q . "$tmp/forward$lun.log" || fail "nobody forwards"
done
guest 'modprobe nbd'

say "a file system on /dev/nbd0"
guest "nbd-client 10.0.2.2 $(cat "$tmp/forward0.log") /dev/nbd0 -N ''"
guest '[ "$(blockdev --getsize64 /dev/nbd0)" = 268435456 ] && [ "$(blockdev --getss /dev/nbd0)" = 512 ]'
guest 'mkfs.ext4 -q /dev/nbd0 && mount -o discard /dev/nbd0 /mnt'
guest 'head -c 40000000 /dev/urandom > /mnt/a && sha256sum < /mnt/a > /root/sum && cp /mnt/a /mnt/b && rm /mnt/a && sync &&
    umount /mnt && mount /dev/nbd0 /mnt && sha256sum < /mnt/b | cmp - /root/sum && fstrim /mnt && umount /mnt && e2fsck -fn /dev/nbd0'
guest 'nbd-client -d /dev/nbd0'

say "requests as large as the kernel makes them"
guest "nbd-client 10.0.2.2 $(cat "$tmp/forward0.log") /dev/nbd0 -N ''"
guest 'cat /sys/block/nbd0/queue/max_hw_sectors_kb > /sys/block/nbd0/queue/max_sectors_kb
    cat /sys/block/nbd0/queue/max_sectors_kb
    head -c 100663296 /dev/urandom > /root/image && dd if=/root/image of=/dev/nbd0 bs=32M oflag=direct status=none &&
    dd if=/dev/nbd0 bs=32M count=3 iflag=direct status=none | cmp - /root/image'
cat "$tmp/out"
guest 'blkdiscard /dev/nbd0 && nbd-client -d /dev/nbd0'

say "a LUN of 4096 byte blocks"
guest "nbd-client 10.0.2.2 $(cat "$tmp/forward1.log") /dev/nbd1 -N '' -b 4096"
guest '[ "$(blockdev --getss /dev/nbd1)" = 4096 ] && mkfs.ext4 -q -b 4096 /dev/nbd1 && mount /dev/nbd1 /mnt && cp /bin/busybox /mnt/ &&
    umount /mnt && e2fsck -fn /dev/nbd1 && nbd-client -d /dev/nbd1'
