#!/bin/bash
# SPDX-License-Identifier: MIT
# nbd.sh - lunette attach, with everybody's NBD clients at its socket.
# shellcheck disable=SC2154
. "$(dirname "$0")/../recovery/lib.sh"
requires lunette lunette-target nbdinfo nbdcopy qemu-img fio jq
/usr/bin/python3 -c 'import nbd' 2> /dev/null || skip "python3-libnbd is not installed"
fio --enghelp | grep -qw nbd || skip "this fio has no nbd engine"
isolate "$@"

# attach NAME URL OPTION...: serves it at $tmp/NAME; sets $attached (its process) and $uri.
attach() {
    local name=$1
    shift
    rm -f "$tmp/attach-$name.log" # of an earlier one by that name, which has told its path, too
    start "attach-$name" "$LUNETTE_BIN/lunette" attach "$@" --socket "$tmp/$name"
    attached=$pid
    uri="nbd+unix:///?socket=$tmp/$name"
    wait_until 10 grep -q . "$tmp/attach-$name.log" || fail "attach says nothing"
}

# It ends by itself, at once but for what a busy machine adds, and leaves no socket.
detach() { # NAME
    kill "$attached"
    gone_within 5 "$attached" || fail "attach does not end at once"
    wait "$attached" || fail "attach ended with $?"
    [[ ! -e $tmp/$1 ]] || fail "the socket is still there"
    checks=$((checks + 1))
}

sh_nbd() { # URI PYTHON
    timeout 60 /usr/bin/python3 -m nbd -u "$1" -c "$2"
}

random_file "$tmp/image" 64M
truncate -s 64M "$tmp/lun0"
truncate -s 64M "$tmp/lun1"
prepare_target --lun "file:$tmp/lun0" --lun "file:$tmp/lun1,block=4096" --lun ram:1M,ro --lun ram:64M \
    --lun ram:1G --set DefaultTime2Wait=0
target_up
url=iscsi://$portal/$iqn

say "what it says of itself"
attach 0 "$url/0"
[[ $(cat "$tmp/attach-0.log") == "0 $tmp/0" ]] || fail "no line LUN PATH"
[[ $(stat -c %a "$tmp/0") == 600 ]] || fail "others may open the socket"
nbdinfo --json "$uri" > "$tmp/info.json"
jq -e '.protocol == "newstyle-fixed" and .structured and (.exports | length == 1) and
    (.exports[0] | ."export-size" == 67108864 and .can_multi_conn and .can_flush and .can_fua and
     .can_trim and .can_zero and .can_fast_zero and .can_df and (.is_read_only | not) and
     (.can_cache | not) and .block_size_minimum == 512 and .block_size_maximum == 33554432 and
     (.contexts | index("base:allocation")))' "$tmp/info.json" > /dev/null || fail "nbdinfo: $(cat "$tmp/info.json")"
nbdinfo --list "$uri" | grep -q 'export=""' || fail "the export is not listed"
[[ $(nbdinfo --size "$uri") == 67108864 ]] || fail "size"
expect 1 timeout 20 "$LUNETTE_BIN/lunette" attach "$url/0" --socket "$tmp/0"
[[ -S $tmp/0 ]] || fail "a second one has removed the socket"

say "holes"
nbdinfo --map "$uri" | grep -q '^ *0 *67108864 *3 *hole,zero$' || fail "a new file is no hole: $(nbdinfo --map "$uri")"
ok timeout 60 nbdcopy "$tmp/image" "$uri"
same "$tmp/image" "$tmp/lun0"
sh_nbd "$uri" 'h.trim(16 << 20, 8 << 20); h.zero(4 << 20, 32 << 20); h.flush()
assert h.pread(1 << 20, 16 << 20) == bytes(1 << 20)'
qemu-img map -f raw --output=json "$uri" > "$tmp/map.json"
jq -e '[.[] | select(.data | not) | {start, length}] ==
    [{start: 8388608, length: 16777216}, {start: 33554432, length: 4194304}]' "$tmp/map.json" > /dev/null ||
    fail "qemu-img map: $(cat "$tmp/map.json")"

say "copies"
ok timeout 60 nbdcopy "$uri" "$tmp/back"
same "$tmp/back" "$tmp/lun0"
ok timeout 60 qemu-img convert -f raw -O qcow2 "$uri" "$tmp/back.qcow2"
ok timeout 60 qemu-img compare -f raw -F qcow2 "$uri" "$tmp/back.qcow2"
random_file "$tmp/image" 64M
ok timeout 60 qemu-img convert -n -f raw -O raw "$tmp/image" "$uri"
same "$tmp/image" "$tmp/lun0"
ok timeout 60 nbdcopy --connections=4 --requests=64 "$tmp/image" "$uri"
same "$tmp/image" "$tmp/lun0"
# without structured replies, and without the newer options
sh_nbd "$uri" '
h2 = nbd.NBD(); h2.set_request_structured_replies(False); h2.connect_uri("'"$uri"'")
assert not h2.get_structured_replies_negotiated()
assert h2.pread(65536, 4096) == open("'"$tmp"'/image", "rb").read(69632)[4096:]
try:
    h2.pread(512, 1 << 40, 0); assert False
except nbd.Error as e:
    pass
h2.set_strict_mode(0)
for f in (lambda: h2.pread(512, 1), lambda: h2.pread(512, 1 << 30), lambda: h2.cache(512, 0)):
    try:
        f(); assert False
    except nbd.Error as e:
        assert e.errno == "EINVAL", e.errno
try:
    h2.pwrite(bytes(512), 1 << 30); assert False
except nbd.Error as e:
    assert e.errno == "ENOSPC", e.errno
h2.shutdown()'

say "QEMU reads and writes, 32 under way"
for how in "" -w; do
    # shellcheck disable=SC2086
    ok timeout 60 qemu-img bench -f raw -t none -c 20000 -d 32 -s 4096 $how "$uri"
done
ok timeout 60 qemu-img bench -f raw -t none -c 8 -d 2 -s 32M -w "$uri"

say "fio verifies over four connections"
ok timeout 120 fio --name=verify --aux-path="$tmp" --ioengine=nbd --uri="$uri" --rw=randrw --bsrange=512-64k --iodepth=32 --numjobs=4 \
    --size=16m --offset_increment=16m --verify=crc32c --verify_fatal=1 --randrepeat=0

say "fio verifies while the connection to the target is cut"
detach 0
relay_to "$portal"
attach 0 "iscsi://$relay/$iqn/0?default_time2wait=0"
tell every 300 rst
# It does not go by time: where that is over in the middle of a pass, fio looks for the seeds of another one.
# At this rate a pass takes two seconds and more.
ok timeout 250 fio --name=verify --aux-path="$tmp" --ioengine=nbd --uri="$uri" --rw=randrw --bs=4k --iodepth=32 --numjobs=4 \
    --rate_iops=1000 --loops="$(long 10 1)" --size=16m --offset_increment=16m --verify=crc32c --verify_fatal=1 --randrepeat=0
tell every 0
((cuts = $(relay_stat cuts), cuts >= 2)) || fail "only $cuts cuts: nothing was tried"
echo "cut $cuts times"
! grep -qE 'err=[ ]*[1-9]' "$tmp/out" || fail "fio: $(cat "$tmp/out")"
ok timeout 60 qemu-img map -f raw "$uri"
detach 0

say "a LUN of 4096 byte blocks"
attach 1 "$url/1" --json
jq -e '.lun == 1 and .kind == "nbd" and .size == 67108864 and .read_only == false' "$tmp/attach-1.log" > /dev/null ||
    fail "JSON: $(cat "$tmp/attach-1.log")"
[[ $(nbdinfo --json "$uri" | jq '.exports[0].block_size_minimum') == 4096 ]] || fail "block size"
ok timeout 60 nbdcopy "$tmp/image" "$uri"
same "$tmp/image" "$tmp/lun1"
ok timeout 60 qemu-img convert -f raw -O raw "$uri" "$tmp/back"
same "$tmp/back" "$tmp/lun1"
detach 1

say "a client that does not ask for block sizes"
attach 1 "$url/1"
sh_nbd "$uri" 'h.set_strict_mode(0)
h2 = nbd.NBD(); h2.set_request_block_size(False); h2.set_strict_mode(0); h2.connect_uri("'"$uri"'")
assert len(h2.pread(4096, 4096)) == 4096
for f in (lambda: h2.pread(512, 0), lambda: h2.pwrite(bytes(4096), 512)):
    try:
        f(); assert False
    except nbd.Error as e:
        assert e.errno == "EINVAL", e.errno
h2.pwrite(bytes(32 << 20), 0); assert h2.pread(32 << 20, 0) == bytes(32 << 20)
h2.shutdown()'
detach 1

say "a copy of 1 GiB, there and back"
attach 4 "$url/4"
random_file "$tmp/image" 1G
ok timeout 400 nbdcopy --requests=64 "$tmp/image" "$uri"
ok timeout 400 nbdcopy --request-size=33554432 "$uri" "$tmp/back"
same "$tmp/image" "$tmp/back"
rm -f "$tmp/back"
detach 4

say "zeroes that keep their storage"
attach 3 "$url/3"
sh_nbd "$uri" 'h.pwrite(b"x" * 65536, 0)
h.zero(16384, 0, nbd.CMD_FLAG_NO_HOLE | nbd.CMD_FLAG_FAST_ZERO)
h.zero(16384, 32768, nbd.CMD_FLAG_FUA)
assert h.pread(65536, 0) == bytes(16384) + b"x" * 16384 + bytes(16384) + b"x" * 16384'
[[ $(nbdinfo --map "$uri" | awk '{ print $1, $2, $3 }' | tr '\n' ,) == "0 32768 0,32768 16384 3,49152 16384 0,65536 67043328 3," ]] ||
    fail "$(nbdinfo --map "$uri")"
detach 3

say "read-only, as the LUN is and as is wished"
for how in "$url/2" "$url/0 -r"; do
    # shellcheck disable=SC2086
    attach ro $how
    [[ $(nbdinfo --json "$uri" | jq '.exports[0].is_read_only') == true ]] || fail "not read-only"
    sh_nbd "$uri" 'h.set_strict_mode(0)
for f in (lambda: h.pwrite(bytes(512), 0), lambda: h.trim(512, 0), lambda: h.zero(512, 0)):
    try:
        f(); assert False
    except nbd.Error as e:
        assert e.errno == "EPERM", e.errno'
    detach ro
done

say "the target is away for longer than requests wait"
attach 0 "$url/0?replacement_timeout=1"
sh_nbd "$uri" '
import subprocess
assert len(h.pread(512, 0)) == 512
subprocess.check_call(["'"$tmp"'/down"])
try:
    h.pread(512, 0); assert False
except nbd.Error as e:
    assert e.errno == "EIO", e.errno
subprocess.check_call(["'"$tmp"'/up"])
import time
for i in range(100):
    try:
        h.pread(512, 0); break
    except nbd.Error:
        time.sleep(0.1)
h.pwrite(bytes(512), 0)
h.flush()'
detach 0
