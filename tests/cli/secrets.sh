#!/bin/bash
# SPDX-License-Identifier: MIT
# secrets.sh - whatever is wrong with a command line, no secret of it is printed, and ps(1) shows none.
set -u
: "${LUNETTE_BIN:=$(dirname "$0")/../../build/bin}"
LUNETTE_BIN=$(realpath "$LUNETTE_BIN")
unset LUNETTE_CHAP LUNETTE_CHAP_FILE LUNETTE_INITIATOR_NAME
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunette-secrets.XXXXXX")
cd "$tmp" || exit 1
pids=()
trap 'kill "${pids[@]}" 2> /dev/null; wait; rm -rf "$tmp"' EXIT
failed=0 checks=0
iqn=iqn.2026-11.example:d
at=@127.0.0.1:1

# The secret is S3CRet, with whatever stands beside it.
hides() { # PROGRAM WORD...
    checks=$((checks + 1))
    timeout 60 "$LUNETTE_BIN/$1" "${@:2}" > out 2> err < /dev/null
    local code=$?
    ((code > 0 && code < 124)) || { echo "FAIL: $*: exit $code"; failed=1; }
    [[ -s err || -s out ]] || { echo "FAIL: $*: fails without a word"; failed=1; }
    ! grep -i -H s3cr out err || { echo "FAIL: $*: prints the secret"; failed=1; }
}

for secret in S3CRet-of-12-and-more S3CRet/with/slash S3CRet?with-mark 'S3CRet?a=b' S3CRet@at S3CRet; do
    for scheme in iscsi:// ISCSI:// iscsi:/ iser:// ''; do
        for sign in % :; do
            url=$scheme'user'$sign$secret$at
            hides lunette info "$url/$iqn/0"
            hides lunette ls "$url/"
            hides lunette discover "$url"
            hides lunette copy "$url/$iqn/0" "$tmp/no/such/file"
            hides lunette copy "$tmp/no/such/file" "$url/$iqn/0"
            hides lunette "$url/$iqn/0"
        done
    done
    hides lunette info "iscsi://h/$iqn?target_user=t&target_password=$secret&nonsense=1"
    hides lunette info "iscsi://h/$iqn?chap_secret=$secret"
    hides lunette info "iscsi://127.0.0.1:1/$iqn" --chap-file "user:$secret"
    hides lunette info "iscsi://127.0.0.1:1/$iqn?chap_file=user:$secret"
    hides lunette info "iscsi://127.0.0.1:1/$iqn" --chap="user:$secret"
    hides lunette info "iscsi://127.0.0.1:1/$iqn" --chap="$secret"
    hides lunette info "iscsi://127.0.0.1:1/$iqn" --chap "$secret"
    hides lunette ls "iscsi://user%$secret$at" --json
    hides lunette scsi "iscsi://h/$iqn" "user:$secret"
    hides lunette read --offset "user%$secret$at"
    for user in $iqn iqn.2026-11.example; do # as many users are called
        hides lunette "$user:$secret"
        hides lunette info "$user:$secret"
        hides lunette info "iscsi://127.0.0.1:1/$iqn" --chap-file "$user:$secret"
        hides lunette info "iscsi://127.0.0.1:1/$iqn?chap_file=$user:$secret"
        hides lunette info "iscsi://127.0.0.1:1/$iqn?target_user=$user:$secret"
        LUNETTE_CHAP_FILE="$user:$secret" hides lunette info "iscsi://127.0.0.1:1/$iqn"
    done
    hides lunette-target --chapp "user:$secret"
    hides lunette-target --chapp="user:$secret"
    hides lunette-target --target $iqn "user:$secret"
    hides lunette-target --target $iqn --chap-file "user:$secret"
done

comes() { # COMMAND...: waits until it succeeds; false after a minute
    local until=$((SECONDS + 60))
    until "$@" 2> /dev/null; do
        ((SECONDS < until)) || return 1
        sleep 0.02
    done
}

# What ps(1) shows, once the command line has been parsed.
hidden() { grep -q -a alice "/proc/$1/cmdline" && ! grep -q -a S3CR "/proc/$1/cmdline"; }
shows_none() { # PID
    checks=$((checks + 1))
    comes hidden "$1" && return
    echo "FAIL: ps shows: $(tr '\0' ' ' < "/proc/$1/cmdline")"
    failed=1
}
"$LUNETTE_BIN/lunette-target" --listen 127.0.0.1:0 --target $iqn --lun ram:1M \
    --chap alice:S3CRet-of-12-and-more --mutual-chap target:S3CRet-the-other-one > target.out 2> target.err &
pids+=($!)
target=$!
comes grep -q '^listening on ' target.out
portal=$(sed -n 's/^listening on //p' target.out)
shows_none $target
url="iscsi://alice%S3CRet-of-12-and-more@$portal/$iqn/0?target_user=target&target_password=S3CRet-the-other-one"
mkfifo stall
exec 9<> stall
"$LUNETTE_BIN/lunette" copy - "$url" < stall > out 2> err & # the copies of the words still log in
pids+=($!)
shows_none $!
"$LUNETTE_BIN/lunette" info "$url" > out 2> err || { echo "FAIL: no login"; cat err; failed=1; }
grep -q 'CHAP mutual' out || { echo "FAIL: no mutual CHAP"; failed=1; }

# Once a login is over, the memory of the process has each secret in one place only: where the next
# login takes it from, when the connection is lost.
cat > keeps.py <<'END'
import re, sys
pid, secret, found = sys.argv[1], sys.argv[2].encode(), 0
with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", 0) as mem:
    for line in maps:
        start, end, how = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
        at, size = int(start, 16), int(end, 16) - int(start, 16)
        if not how.startswith("rw") or size > 1 << 30:
            continue  # a larger one is the shadow of a sanitizer
        try:
            mem.seek(at)
            found += mem.read(size).count(secret)
        except (OSError, ValueError, OverflowError):
            pass  # of the kernel
print(found)
END
printf 'alice:S3CRet-of-12-and-more\ntarget:S3CRet-the-other-one\n' > chap
chmod 600 chap
"$LUNETTE_BIN/lunette" copy - "iscsi://$portal/$iqn/0" --chap-file chap < stall > out 2> err -v &
pids+=($!)
comes grep -q 'unit attention' err # the first answer of the unit
checks=$((checks + 1))
if ! grep -q 'unit attention' err; then
    echo "FAIL: no login"; cat err; failed=1
elif [[ -r /proc/$!/mem ]] && python3 -c '' 2> err; then
    found=$(python3 keeps.py $! S3CRet-)
    [[ $found == 2 ]] || { echo "FAIL: two secrets are in memory $found times"; failed=1; }
fi

echo "$checks checks"
exit $failed
