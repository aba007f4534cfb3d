#!/bin/bash
# SPDX-License-Identifier: MIT
# cli.sh - the command against lunette-target: what it copies, what it refuses, its exit codes, its JSON.
. "$(dirname "$0")/lib.sh"

truncate -s 32M d0
truncate -s 16M d1
truncate -s 8M d2
printf 'alice:alice-secret-1\ntarget:target-secret-2\n' > chap
printf 'alice:wrong-secret-9\n' > wrong
chmod 600 chap wrong
serve --target $iqn:disk --lun file:d0 --lun file:d1 --lun file:d2,block=4096 --lun ram:1M,ro \
    --target $iqn:chap --lun ram:1M --chap-file chap
U=iscsi://$portal/$iqn:disk

# an image with a hole and a tail that fills no block
{ printf 1; head -c 5000000 /dev/urandom; } > src # its first byte is no zero: a LUN of zeroes differs there
truncate -s 8000001 src
head -c 1000 /dev/urandom >> src
size=$(stat -c %s src)

for loop in epoll auto; do
    code 0 copy src $U/0 --verify --loop $loop
    says 'zero bytes added'
    says 'both sides are equal'
    cmp -s -n "$size" src d0; is 0 $? "what was copied"
done
code 0 copy $U/0 back; same back d0
code 0 copy $U/1 $U/0 --verify --json; json '.verified and .bytes == 16777216'
cmp -s -n 16777216 d1 d0; is 0 $? "LUN to LUN"
code 0 copy src $U/0 --no-sparse --bs 64k --depth 3 -q; is 0 "$(stat -c %s err)" "--quiet"
cat src > in; code 0 copy - $U/0; : > in
cmp -s -n "$size" src d0; is 0 $? "from a pipe"
L copy $U/0 - 2> err | cmp -s - d0; is "0 0" "${PIPESTATUS[*]}" "to a pipe"
code 0 copy src $U/2 --verify
cmp -s -n "$size" src d2; is 0 $? "4096 byte blocks"

# any offset and length
cp d1 want
for spec in "0 512" "100 10" "511 2" "1 1500000" "16777215 1" "700 0"; do
    read -r at len <<< "$spec"
    head -c "$len" /dev/urandom > in
    dd if=in of=want bs=64k seek="$at" oflag=seek_bytes conv=notrunc status=none
    code 0 write $U/1 --offset "$at"; same d1 want
    L write $U/1 --offset "$at" -q < <(cat in); is 0 $? "write at $at from a pipe"; same d1 want
    code 0 read $U/1 --offset "$at" --length "$len"; same out in
done
: > in
code 0 read $U/1 --length 20 --hex; is 2 "$(wc -l < out)" "lines of a hex dump"

# refused before anything is written
cp d1 want
code 2 copy d0 $U/1; says 'does not fit'; same d1 want
cp src in; code 2 write $U/1 --offset 16M; says 'past the end'; same d1 want; : > in
code 2 copy $U/0 $U/0; says 'the same'
code 2 copy src back; says 'cp(1)'
code 2 copy - $U/0 --verify
code 2 read $U/0 --offset 32M --length 1
code 2 read $U/0 --offset 33M
code 6 copy src $U/3; says 'write protected'
L write $U/1 --offset 15M < <(head -c 2M /dev/zero) 2> err; is 2 $? "a pipe past the end"

# exit codes
code 2; code 2 nonsense; code 2 copy; code 2 copy --nonsense a b; code 2 copy --bs=x src $U/0
code 2 info nonsense; code 2 info "$U/0?nonsense=1"; code 2 info $U/x; code 2 bench $U/0 --rw nonsense
code 2 info "$U/0?max_burst_length=1"; code 2 scsi $U/0 12; code 2 scsi $U/0 zz; code 2 info iscsi://$portal/
code 3 info iscsi://127.0.0.1:1/$iqn:disk; says 'nothing listens'
code 4 info iscsi://$portal/$iqn:chap; says '--chap-file'
code 4 info iscsi://$portal/$iqn:chap --chap-file wrong
code 0 info iscsi://$portal/$iqn:chap --chap-file chap --json; json '.session.auth_method == "CHAP mutual" and .session.transport == "tcp"'
LUNETTE_CHAP=alice:alice-secret-1 code 0 info iscsi://$portal/$iqn:chap
LUNETTE_CHAP_FILE=chap code 0 discover $portal
code 2 info "iscsi://$portal/$iqn:chap?chap_file=none"; says 'CHAP file none: No such file'
LUNETTE_CHAP_FILE=/ code 2 info iscsi://$portal/$iqn:chap; says 'Is a directory'
: > wrong2; chmod 600 wrong2; code 2 info iscsi://$portal/$iqn:chap --chap-file wrong2; says 'wrong2: it is empty'
printf 'name = alice\nsecert = alice-secret-1\n' > wrong2
code 2 info iscsi://$portal/$iqn:chap --chap-file wrong2; says 'wrong2: line 2: want name:secret'
code 4 info $U/0 --chap-file chap; says 'must prove itself (mutual CHAP)'
chmod 644 chap; code 2 info iscsi://$portal/$iqn:chap --chap-file chap; chmod 600 chap
code 4 info iscsi://alice%secretsecretsecret@$portal/$iqn:chap
grep -q secretsecret err; is 1 $? "a secret in a message"
code 5 info iscsi://$portal/$iqn:none; code 5 info $U/9
# what is near to what was typed
code 2 cpoy; says 'did you mean `lunette copy`'
code 2 nonsense; grep -q 'did you mean' err; is 1 $? "a suggestion for nonsense"
code 2 info --jsn $U/0; says 'did you mean --json'
code 2 bench $U/0 --rw=randomread; says 'want one of randread'
code 2 info "$U/0?header_digst=crc32c"; says 'did you mean header_digest'
code 5 info iscsi://$portal/$iqn:dsik; says "did you mean $iqn:disk"
"$LUNETTE_BIN/lunette-target" --listn x 2> err; is 2 $? "lunette-target --listn"; says 'did you mean --listen'
# what is missing, or too much
code 2 copy a; says 'DST is missing'
code 2 copy; says 'SRC is missing'
code 2 copy a b c; says "too many: 'c'"
code 2 info; says 'URL is missing'
code 2 info $U/0 iscsi://alice%secretsecret@host/$iqn:x; says 'too many'; grep -q secretsecret err; is 1 $? "a secret in a message"
code 2 scsi $U/0; says 'HEX is missing'
code 2 copy --bs; says 'SIZE is missing'
# a value where none belongs, or apart from its option; options before the command
code 2 copy --verify=yes src $U/0; says '--verify takes no value'
code 2 copy src $U/0 --resume 64k; says 'behind a =: --resume=64k'
code 2 copy src $U/0 --progress json; says 'behind a =: --progress=json'
code 2 info --busy-poll 100 $U/0; says 'behind a =: --busy-poll=100'
code 2 copy src $U/0 --resume other; grep -q 'behind a =' err; is 1 $? "a value that is none"
code 2 --json info $U/0; says 'a command before its options'
# what was meant as a URL is no job for cp(1)
code 2 copy src iscsi:/$portal/$iqn:disk/0; says 'is no URL'
code 2 copy http://$portal/ back; says 'is no URL'
code 2 copy $portal/$iqn:disk/0 back; says 'is no URL'
# what is out of range
code 2 copy $U/0 back --offset 33M; says '--offset=34603008 is past the end'
code 2 copy $U/0 back --offset 16M --length 32M; says '--length=33554432 at offset 16777216 reaches past'
code 6 bench $U/3 --rw write; says '/3: the device is write protected'
code 2 bench $U/0 --size 64M; says '--size=67108864 reaches past the end'
code 2 bench $U/0 --offset 32M; says '--offset=33554432 reaches past the end'
code 2 bench $U/0 --depth 0; says 'from 1 to 4096'
code 2 bench $U/0 --bs 1; says 'from 512 to 16M'
code 2 bench $U/0 --time 0; says 'at least 0.001'
code 2 ping $U/0 -s 5000; says 'from 0 to 4k'
code 2 info $U/0 --trace /nonexistent/t; says '/nonexistent/t'; is 0 "$(stat -c %s out)" "output before a trace that cannot be"
# what does not arrive is an error
for words in --help --version "help copy" "copy --help" "info $U/0" "ping $U/0 -c 1"; do
    L $words > /dev/full 2> err; is 1 $? "lunette $words on a full disk"; says 'No space left'
done
# for generators
code 0 --print-options; json '.commands | length == 13 and all((.options | map(.name) | index("help") != null) and
    (.name == "transports" or (.options | length > 4)))'
json '[.commands[] | select(.name == "bench").options[] | select(.name == "rw").choices[]] | length == 6'
# write says what it did
head -c 1000 /dev/urandom > in
code 0 write $U/1; says 'wrote 1000 B at offset 0'
code 0 write $U/1 -q; is 0 "$(stat -c %s err)" "write --quiet"
code 0 write $U/1 --offset 512 --json; json '.bytes == 1000 and .offset == 512 and .seconds > 0'; is 0 "$(stat -c %s err)" "write --json"
: > in
code 0 copy src $U/0 --progress=json --no-sparse --bs 4k --depth 1; grep '^{' err | jq -es 'length > 0 and (last | .phase == "copying" and .last and .bytes == .total)' > jq.out; is 0 $? "--progress=json"
code 2 copy src $U/0 --progress=x; says 'text|json'

code 2 scsi $U/0 2a000000000000000100 --out none; says '--out=none: No such file'
code 0 scsi $U/1 2a000000000000000100 --out chap; grep -q 'bytes sent, the target wanted more' out; is 0 $? "a WRITE with too little data"
code 6 scsi $U/9 000000000000; grep -q 'logical unit not supported' out; is 0 $? "a command to a LUN that is not there"
code 0 scsi $U/9 120000006000 --json; json '.in[0:2] == "7f"'
code 0 scsi $U/0xc101000000000000 a00000000000000001000000 --json; json '.in | length >= 80' # well known: REPORT LUNS
code 6 scsi $U/0 ff0000000000; grep -q 'ILLEGAL REQUEST' out; is 0 $? "sense in words"
python3 -c 'import socket, time
s = socket.create_server(("127.0.0.1", 0))
print(s.getsockname()[1], flush=True)
time.sleep(60)' > mute &
pids+=($!)
until [[ -s mute ]]; do sleep 0.05; done
code 7 info "iscsi://127.0.0.1:$(< mute)/$iqn:disk/0?login_timeout=300"

# a list goes on where one target refuses
code 4 ls iscsi://$portal/; grep -q 'not listed' out; is 0 $? "the refusal is listed"
is 4 "$(grep -c 'disk .*512\|disk .*4096' out)" "LUNs listed"
code 4 ls $portal; is 4 "$(grep -c 'disk .*512\|disk .*4096' out)" "LUNs listed"
code 4 ls iscsi://$portal/ --json; json '[.targets[] | .error // empty] | length == 1'
code 0 ls $U --json; json '.targets[0].luns | length == 4'

# forms of URLs
code 0 discover $portal/; code 0 discover ISCSI://$portal/
code 0 info ISCSI://$portal/$iqn%3Adisk/0
code 5 info iscsi://$portal/$iqn:Disk_; says 'sent as it is'; says 'warning: name: the target'
code 2 info "iscsi://$portal/$iqn:a%20b"; says 'blanks'
code 2 discover '[fe80::1]'; says 'add the interface that leads to it'
code 3 discover '[fe80::1%nosuchif0]'; says 'no interface of the name'

# JSON that scripts rely on
code 0 discover $portal --json; json '.targets | length == 2 and .[0].portals[0].address == "'$portal'"'
code 0 info "$U/2?header_digest=crc32c&data_digest=crc32c" --json
json '.block_size == 4096 and .size == 8388608 and .session.data_digest == "CRC32C"'
code 0 bench $U/0 --time 0.2 --rw randrw --json
json '.ios > 0 and .errors == 0 and .iops > 0 and .bytes_per_second > 0 and .seconds >= 0.2'
json '.latency_us | .mean > 0 and .p50 <= .p99 and .p99 <= .p999 and .p999 <= .max'
json '.cpu_us_per_io | .user >= 0 and .system >= 0'
# the sentence of the limit stands there if and only if JSON and the share say so
limited() {
    local said=false
    grep -q 'of a CPU, which is the limit here' err && said=true
    json ".cpu_is_limit == $said and (.cpu_percent >= 95) == $said"
}
limited
code 0 bench $U/0 --time 0.3 --depth 1 --json; limited
json '.cpu_is_limit == false' # one request at a time: we wait for the target
code 0 bench $U/0 --time 0.3 --depth 256 --json; limited
code 0 bench $U/0 --time 0.1 --busy-poll --json; json '.cpu_is_limit == null and .cpu_percent > 0'
if valgrind -q --tool=none "$LUNETTE_BIN/lunette" --version > out 2> err; then # a slow initiator
    timeout 60 valgrind -q --tool=none "$LUNETTE_BIN/lunette" bench $U/0 --time 1 --depth 64 --json > out 2> err
    is 0 $? "bench under valgrind"
    limited
fi
code 0 bench $U/1 --ios 1000 --rw read --busy-poll --loop epoll --json; json '.ios == 1000 and .loop == "epoll"'
code 0 bench $U/0 --time 100ms --rw write --bs 1M --depth 4
code 0 ping $U -c 3 -i 0 --json; json '.sent == 3 and .answered == 3 and .rtt_us.min > 0'
code 0 scsi $U/0 12 00 00 00 60 00 --json; json '.status == 0 and (.in | length) > 70'
code 0 scsi $U/0 0x25,00,00,00,00,00,00,00,00,00 --raw; is 8 "$(stat -c %s out)" "bytes of READ CAPACITY"
head -c 512 /dev/urandom > blk
code 0 scsi $U/0 2a000000000000000100 --out blk; cmp -s -n 512 blk d0; is 0 $? "a raw WRITE"
code 0 info $U/0 --trace trace; grep -q 'session_login_task' trace; is 0 $? "--trace"
code 0 read $U/0 --length 4k --trace trace
for point in blk_mq_try_issue_directly iscsi_queuecommand xmit_flush iscsi_tcp_recv iscsi_complete_task blk_mq_complete_request; do
    grep -q " $point [^-]" trace; is 0 $? "--trace of a read, $point"
done

# options that would mean nothing are refused by the commands that log in to nothing
for option in --loop=epoll --busy-poll --initiator-name=x --chap-file=x --trace=x --capture=x --no-payload --verbose -v --chap-f=x; do
    code 2 top $option
    says '^lunette: top: --[a-z-]* is for commands that log in themselves, and top does not$'
done
code 2 demo --capture=x; says 'demo: --capture is for commands that log in themselves'
code 2 top --intervall=1; says 'did you mean --interval'
[[ ! -e x ]]; is 0 $? "no file of an option that is refused"

# a destination that lies is found out: the null LUN forgets what is written
truncate -s 16M stalled
serve --target $iqn:null --lun null:16M --lun file:stalled
code 8 copy src iscsi://$portal/$iqn:null/0 --verify --json; says 'differ, first at offset 0'
json '.verified == false and .differs_at == 0'

# Ctrl-C while the input stalls
mkfifo stall
exec 9<> stall
# a shell without job control ignores SIGINT for what it starts in the background
env --default-signal=INT "$LUNETTE_BIN/lunette" copy - iscsi://$portal/$iqn:null/1 < stall 2> err 9>&- &
p=$!
timeout 60 head -c 4M src > stall
comes at_least 1000 stalled # so that its handlers have been installed
kill -INT $p
wait $p
is 130 $? "Ctrl-C"
says 'interrupted'

finish
