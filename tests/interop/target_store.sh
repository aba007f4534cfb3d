#!/bin/bash
# SPDX-License-Identifier: MIT
# target_store.sh - file LUNs whose file system is full, whose file was shortened, whose device fails:
# the initiator gets an error that says so, and the target serves its other LUNs.
# shellcheck disable=SC2154
. "$(dirname "$0")/lib.sh"
requires lunette lunette-target mount truncate
requires_root "mounts file systems"
isolate "$@"
[[ -n $isolated ]] || skip "no namespaces of its own to mount in"

iqn=iqn.2026-11.example:disk
mkdir "$tmp/full"
mount -t tmpfs -o size=1m tmpfs "$tmp/full" || skip "tmpfs cannot be mounted"
random_file "$tmp/image" $((4 << 20))
loop='' table='' serves=0

undo() {
    local status=$?
    [[ -z $table ]] || dmsetup remove --retry "$table" 2> /dev/null || true
    [[ -z $loop ]] || losetup -d "$loop" || true
    umount "$tmp/full" || true
    cleanup "$status"
}
trap undo EXIT

# serve FILE...: LUN 0 is memory, the others are files; sets $portal and $server.
serve() {
    local luns=() f
    for f; do luns+=(--lun "file:$f"); done
    serves=$((serves + 1))
    log=target-$serves
    start "$log" "$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target $iqn --lun ram:4M "${luns[@]}"
    server=$pid
    wait_until 10 grep -q '^listening on ' "$tmp/$log.log" || fail "the target does not start"
    portal=$(sed -n 's/^listening on //p' "$tmp/$log.log" | head -n 1)
}

# refused SENTENCE COMMAND...: ends with the status for a SCSI error, and says that.
refused() {
    local want=$1 status=0
    shift
    "$@" > /dev/null 2> "$tmp/err" || status=$?
    [[ $status != 0 ]] || fail "it succeeded: $*"
    grep -qi -- "$want" "$tmp/err" || fail "$* says: $(cat "$tmp/err")"
    checks=$((checks + 1))
}

# The target is there, and so is its memory LUN.
lives() {
    kill -0 "$server" 2> /dev/null || fail "the target has died"
    lunette write "iscsi://$portal/$iqn/0" < "$tmp/image" > /dev/null || fail "LUN 0 cannot be written"
    lunette read "iscsi://$portal/$iqn/0" > "$tmp/back" || fail "LUN 0 cannot be read"
    cmp "$tmp/back" "$tmp/image"
    checks=$((checks + 1))
}

# ended STATUS: the target ends on order, with that status.
ended() {
    kill "$server"
    gone_within 10 "$server" || fail "the target does not end"
    local status=0
    wait "$server" || status=$?
    [[ $status == "$1" ]] || fail "the target ended with $status instead of $1"
}

say "no space"
serve "$tmp/full/disk:64M"
for digest in none crc32c; do
    url="iscsi://$portal/$iqn/1?data_digest=$digest"
    refused "space allocation failed\|no space" lunette write "$url" < "$tmp/image"
    lives
done
# what is there can be read
lunette read "$url" --length 4096 > "$tmp/back"
cmp "$tmp/back" <(head -c 4096 "$tmp/image")
ended 0
rm "$tmp/full/disk"

say "a file that may not grow"
truncate -s 4M "$tmp/limited"
start limited bash -c "ulimit -f 64; exec '$LUNETTE_BIN/lunette-target' --listen 127.0.0.1:0 --target $iqn \
    --lun 'file:$tmp/limited' --lun ram:4M"
server=$pid
wait_until 10 grep -q '^listening on ' "$tmp/limited.log" || fail "the target does not start"
portal=$(sed -n 's/^listening on //p' "$tmp/limited.log" | head -n 1)
refused "space allocation failed\|no space" lunette write "iscsi://$portal/$iqn/0" < "$tmp/image"
kill -0 "$server" || fail "SIGXFSZ ended the target"
# copy looks at the limit before it begins, read finds it in the middle
for command in "copy iscsi://$portal/$iqn/1 $tmp/copy" "read iscsi://$portal/$iqn/1"; do
    status=0
    # shellcheck disable=SC2086
    (ulimit -f 64; exec "$LUNETTE_BIN/lunette" $command) > "$tmp/out" 2> "$tmp/err" || status=$?
    ((status > 0 && status < 128)) || fail "lunette ended with $status: $(cat "$tmp/err")"
    grep -qi "file too large\|files may have" "$tmp/err" || fail "$command says: $(cat "$tmp/err")"
done
ended 0

say "a file that somebody has shortened"
cp "$tmp/image" "$tmp/disk"
serve "$tmp/disk"
for digest in none crc32c; do
    url="iscsi://$portal/$iqn/1?data_digest=$digest"
    truncate -s 1M "$tmp/disk"
    refused "medium error\|unrecovered read error" lunette read "$url"
    refused "medium error\|write error" lunette write "$url" --offset 2M < <(head -c 65536 "$tmp/image")
    [[ $(stat -c %s "$tmp/disk") == $((1 << 20)) ]] || fail "a write has made the file longer again"
    lives
    lunette read "$url" --length 1M > "$tmp/back"
    cmp "$tmp/back" <(head -c 1M "$tmp/image")
done
ended 0

say "a block device that fails: loop, on a file that was shortened"
cp "$tmp/image" "$tmp/under"
if loop=$(losetup -f --show "$tmp/under" 2> /dev/null); then
    serve "$loop"
    url="iscsi://$portal/$iqn/1"
    lunette read "$url" --length 4096 > "$tmp/back"
    truncate -s 1M "$tmp/under"
    refused "medium error\|unrecovered read error" lunette read "$url" --offset 2M
    lives
    ended 0
    losetup -d "$loop"
    loop=''

    say "a block device whose writes fail behind the cache: the flush says so"
    truncate -s 64M "$tmp/full/under"
    loop=$(losetup -f --show "$tmp/full/under")
    serve "$loop"
    refused "space allocation failed\|no space\|medium error\|write error" \
        lunette write "iscsi://$portal/$iqn/1" < "$tmp/image"
    lives
    kill "$server"
    gone_within 10 "$server" || fail "the target does not end"
    losetup -d "$loop"
    loop=''
else
    loop=''
    echo "not tried: no loop devices here"
fi

say "a block device that fails: dm-error"
if command -v dmsetup > /dev/null && dmsetup create "lunette-$$" --table "0 8192 error" 2> /dev/null; then
    table=lunette-$$
    serve "/dev/mapper/$table"
    url="iscsi://$portal/$iqn/1"
    refused "medium error\|unrecovered read error" lunette read "$url"
    refused "medium error\|write error" lunette write "$url" < "$tmp/image"
    lives
    ended 0
else
    echo "not tried: this kernel has no device mapper, or no target \"error\""
fi
