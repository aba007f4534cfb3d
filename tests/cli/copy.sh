#!/bin/bash
# SPDX-License-Identifier: MIT
# copy.sh - what a copy leaves behind when it ends early, and how it goes on; what is refused before it.
self=$(realpath "$0")
. "$(dirname "$0")/lib.sh"

truncate -s 32M d0
truncate -s 32M d1
head -c 20M /dev/urandom | dd of=d0 bs=1M seek=4 conv=notrunc status=none
serve --target $iqn:t --lun file:d0 --lun file:d1 --lun null:64M
U=iscsi://$portal/$iqn:t
here=$(dirname "$self")

there() { [[ -e $1 ]]; is 0 $? "$1 is there"; }
gone() { [[ ! -e $1 ]]; is 0 $? "$1 is not there"; }
mode() { is "$1" "$(stat -c %a "$2")" "mode of $2"; }

# through a temporary name: complete or as it was
umask 027
code 0 copy $U/0 new -q; same new d0; mode 640 new; gone new.partial
printf old > old; chmod 604 old
ln -s old link
code 0 copy $U/0 link -q; same old d0; mode 604 old; [[ -L link ]]; is 0 $? "the link stays"
[[ $(stat -c %b new) -lt 45000 ]]; is 0 $? "zeroes take no room"
if [[ $(id -u) == 0 ]]; then
    chown 65534:65534 old
    code 0 copy $U/0 old -q; is 65534:65534 "$(stat -c %u:%g old)" "owner"
fi
ino=$(stat -c %i old)
code 0 copy $U/0 old -q; [[ $(stat -c %i old) != "$ino" ]]; is 0 $? "another file took its place"
ino=$(stat -c %i old)
head -c 40M /dev/zero > old
code 0 copy $U/0 old -q --in-place; same old d0; is "$ino" "$(stat -c %i old)" "the file itself is written"
code 0 copy $U/0 other -q --in-place; same other d0; gone other.partial
printf old > keep
code 3 copy iscsi://127.0.0.1:1/$iqn:t keep; is old "$(cat keep)" "a file is left alone when nobody answers"
gone keep.partial
code 3 copy iscsi://127.0.0.1:1/$iqn:t none; gone none; gone none.partial
code 8 copy d0 $U/2 --verify -q
code 2 copy $U/0 /nonexistent/x; says '/nonexistent'
code 2 copy $U/0 iscsi:/alice%secretsecret@host/x; grep -q secretsecret err; is 1 $? "a secret in a path that is none"
mkdir dir; code 2 copy $U/0 dir; says directory
printf mine > x.partial
code 2 copy $U/0 x; says 'in the way'; is mine "$(cat x.partial)" "a file that is not ours"; gone x

# ranges: of the LUN, or of both LUNs
code 0 copy $U/0 part --offset 5M --length 1234567 -q --verify
dd if=d0 bs=1M iflag=skip_bytes,count_bytes skip=5M count=1234567 status=none | cmp -s - part; is 0 $? "a part"
code 0 copy $U/0 part --offset 100 --length 700 -q; is 700 "$(stat -c %s part)" "a part that begins inside a block"
dd if=d0 bs=1 skip=100 count=700 status=none | cmp -s - part; is 0 $? "its bytes"
cp d1 want
dd if=d0 of=want bs=1M skip=7 seek=7 count=3 conv=notrunc status=none
code 0 copy $U/0 $U/1 --offset 7M --length 3M -q --verify; same d1 want
head -c 1000 /dev/urandom > small
dd if=small of=want bs=1M seek=9 conv=notrunc status=none
code 0 copy small $U/1 --offset 9M -q --verify; same d1 want # what lies behind it in the block is kept
code 2 copy small $U/1 --offset 100; says 'multiple of the block size'
code 2 copy $U/0 part --offset 33M; says '33554432 bytes'
code 2 copy $U/0 part --offset 31M --length 2M; says 'past the end'
code 2 copy d0 $U/1 --offset 1M; says 'does not fit'
cat d0 > in; code 0 copy - $U/1 --length 2M -q --offset 1M; : > in
dd if=d0 of=want bs=1M seek=1 count=2 conv=notrunc status=none; same d1 want

# a smaller source: what keeps its old data is said
code 0 copy small $U/1; says 'the last 32 MiB'; says 'from byte 1024 on'
code 0 copy small $U/1 --json; json '.kept == 33553408 and .padded == 24'
code 0 copy d0 $U/1; grep -q 'old data' err; is 1 $? "nothing keeps its data"

# room and permission, before anything is copied
if [[ $(id -u) == 0 ]] && mkdir tmpfs && mount -t tmpfs -o size=8M tmpfs tmpfs 2> /dev/null; then
    code 1 copy $U/0 tmpfs/x; says 'left, and 32 MiB are to be written'; gone tmpfs/x; gone tmpfs/x.partial
    printf old > tmpfs/x
    code 1 copy $U/0 tmpfs/x --no-space-check --no-sparse; says 'No space left'
    is old "$(cat tmpfs/x)" "a file is as it was when the disk is full"; gone tmpfs/x.partial
    code 1 copy $U/0 tmpfs/x --in-place; is old "$(cat tmpfs/x)" "a file in place, no room"
    code 0 copy $U/2 tmpfs/x --no-space-check -q; is 67108864 "$(stat -c %s tmpfs/x)" "a copy of zeroes"
    mount -o remount,ro tmpfs
    code 2 copy $U/0 tmpfs/y; says 'Read-only file system'
    umount tmpfs
fi
if command -v setpriv > /dev/null && [[ $(id -u) == 0 ]]; then
    chmod 755 . dir; printf old > dir/f; chmod 444 dir/f
    setpriv --reuid 65534 --regid 65534 --clear-groups "$LUNETTE_BIN/lunette" copy $U/0 dir/f 2> err
    is 2 $? "a file that may not be written"; says 'Permission denied'; is old "$(cat dir/f)" "it is as it was"
    setpriv --reuid 65534 --regid 65534 --clear-groups "$LUNETTE_BIN/lunette" copy $U/0 dir/g 2> err
    is 2 $? "a folder that may not be written"; says 'nothing can be made in its folder'
fi
if [[ $(id -u) == 0 ]]; then
    : > z.partial; chown 65534 z.partial; chmod 666 z.partial
    code 2 copy $U/0 z; says 'in the way'; is 0 "$(stat -c %s z.partial)" "nothing goes into a file of somebody else"
fi
(ulimit -f 1024; L copy $U/0 limited 2> err); is 1 $? "a limit on the size of files"; says 'ulimit'
(ulimit -f 32768; L copy $U/0 limited 2> err); is 1 $? "a limit that leaves no room for the record"; says 'File too large'
gone limited; gone limited.partial

# interrupted, lost, killed: the same command with --resume goes on
throttle() { # sets $way, $S: it stands when half of a copy has gone over it, until it is told to go on
    : > way.out
    "$here/throttle.py" "$portal" 12e6 14e6 > way.out &
    way=$!
    pids+=($way)
    comes test -s way.out
    S=iscsi://127.0.0.1:$(< way.out)/$iqn:t
}
slow() { # ARGUMENT...
    : > err
    env --default-signal=INT "$LUNETTE_BIN/lunette" copy --bs 64k --depth 2 "$@" 2> err &
    p=$!
}
under_way() { # FILE: 6 MiB and more have come, and no more comes
    comes way_stands && comes at_least 12001 "$1" && return
    echo "FAIL: no copy is under way"; failed=1
}
way_stands() { [[ $(cut -d' ' -f3 "/proc/$way/stat") == T ]]; }
goes_on() { kill -CONT $way; }
# The record is written every 2 s.
has_record() { tail -c 1024 f.partial | grep -aq '^done=[1-9]'; }
throttle
printf old > f
for how in INT KILL; do
    slow $S/0 f
    under_way f.partial
    [[ $how == INT ]] || comes has_record
    kill -$how $p
    [[ $how == KILL ]] || { wait_for 'stopping: waiting for . request' err; wait_for 'with --resume goes on' err; }
    goes_on
    wait $p 2> /dev/null
    is old "$(cat f)" "a file is as it was after SIG$how"
    there f.partial; mode 600 f.partial
    code 2 copy $U/1 f --resume; says 'of another source'; says 'it has lun=0*, and this copy lun=0001'
    code 0 copy $U/0 f --resume --json --verify; json '.verified and .resumed_at > 0 and .resumed_at + .bytes == 33554432'
    same f d0; gone f.partial
    printf old > f
done
# an earlier copy is overwritten where --resume is not given
slow $S/0 f
under_way f.partial
kill -INT $p
goes_on
wait $p; is 130 $? "Ctrl-C"
code 0 copy $U/0 f; says 'is overwritten'; same f d0
# a --resume that cannot write its record leaves what there is to the next one
printf old > f
slow $S/0 f
under_way f.partial
kill -INT $p
goes_on
wait $p; is 130 $? "Ctrl-C"
(ulimit -f 32768; L copy $U/0 f --resume 2> err); is 1 $? "a limit that leaves no room for the record"; says 'File too large'
code 0 copy $U/0 f --resume --json --verify; json '.verified and .resumed_at > 0'; same f d0
# another boot: what was not on stable storage is not relied on
slow $S/0 f
under_way f.partial
comes has_record; kill -KILL $p; goes_on; wait $p 2> /dev/null
python3 - << 'END'
with open("f.partial", "r+b") as f:
    f.seek(-1024, 2)
    record = f.read()
    f.seek(-1024, 2)
    f.write(record.replace(b"boot=", b"boot=x", 1)[:1024])
END
code 0 copy $U/0 f --resume --json; says 'begins anew'; json '.resumed_at == 0 and .bytes == 33554432'; same f d0
# two copies at a time
slow $S/0 f
under_way f.partial
kill -STOP $p
code 2 copy $U/0 f; says 'another copy'
kill -CONT $p; goes_on; wait $p; is 0 $? "the first of two copies"; same f d0
# the partial file is cut off, or another one put in its place, by somebody else: that is no copy
printf old > f
for what in cut replaced; do
    slow $S/0 f
    under_way f.partial
    if [[ $what == cut ]]; then truncate -s 4M f.partial; else rm f.partial; printf mine > f.partial; fi
    goes_on
    wait $p; is 1 $? "the partial file is $what"; says 'by somebody else'
    is 3 "$(stat -c %s f)" "the file is as it was, the partial one $what"
    [[ $what == cut ]] || { grep -q mine f.partial; is 0 $? "what took the place is left alone"; rm -f f.partial; }
    gone f.partial
done

# to a LUN: what has gone from the source is no hole
cp d0 shorter
fallocate -p -o 0 -l 32M d1
slow shorter $S/1
under_way d1
truncate -s 1M shorter
goes_on
wait $p; is 1 $? "a source that becomes shorter"; says 'ended early'

# to a LUN: the number is in the message
fallocate -p -o 0 -l 32M d1
slow d0 $S/1
under_way d1
kill -INT $p
goes_on
wait $p; is 130 $? "Ctrl-C"
at=$(sed -n 's/.*--resume=\([0-9]*\) goes on.*/\1/p' err)
[[ $at -gt 0 ]]; is 0 $? "the message has where to go on"
cmp -s -n "${at:-1}" d0 d1; is 0 $? "all before it is there"
code 0 copy d0 $U/1 --resume="${at:-0}" --json --verify; json ".verified and .resumed_at == ${at:-1}"; same d0 d1
code 2 copy d0 $U/1 --resume; says 'needs the number'
code 2 copy - $U/1 --resume=65536; says 'standard input'
code 2 copy d0 $U/1 --resume=1000; says 'multiple of'
code 2 copy $U/0 missing --in-place --resume=65536; gone missing
# in place
slow $S/0 g --in-place
under_way g
kill -INT $p
goes_on
wait $p; is 130 $? "Ctrl-C"
at=$(sed -n 's/.*--resume=\([0-9]*\) goes on.*/\1/p' err)
code 0 copy $U/0 g --in-place --resume="${at:-1}" -q --verify; same g d0

# a connection that is lost, and stays so for longer than it is waited for
cp f want
slow "$S/0?replacement_timeout=1" f
under_way f.partial
kill -KILL $way
wait $p; is 3 $? "a lost connection"
same f want; says 'with --resume goes on'; there f.partial
finish
