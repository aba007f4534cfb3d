#!/bin/bash
# SPDX-License-Identifier: MIT
# capture.sh - lunette --capture: what is said of the file, what is in it, and where there is none.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

head -c 64k < /dev/zero | tr '\0' S > d0
chmod 600 d0
(umask 077; echo user:open-sesame-2 > chap)
serve --target $iqn:t --chap user:open-sesame-2 --lun file:d0
U=iscsi://$portal/$iqn:t/0
size() { stat -c %s "$1"; }
count() { grep -ac "$1" "$2"; }

code 0 read "$U" --length 64k --chap-file chap --capture c.pcapng
says "^lunette: capture: [1-9][0-9]* packets ($(size c.pcapng) bytes) are in c.pcapng, with the data of commands and without"
says 'secrets of logins$'
is 600 "$(stat -c %a c.pcapng)" "mode of the file"
is 0 "$(count open-sesame c.pcapng)" "secrets in the file"
is 1 "$(($(count SSSSSSSSSSSSSSSS c.pcapng) > 0))" "data is in the file"
code 0 read "$U" --length 64k --chap-file chap --capture=n.pcapng --no-payload
says 'are in n.pcapng, without the data of commands and without the secrets of logins$'
is 0 "$(count SSSSSSSSSSSSSSSS n.pcapng)" "data in the file"
is 1 "$(($(size n.pcapng) < 65536))" "the file is small"
code 0 copy "$U" img --chap-file chap -q --capture q.pcapng
is '' "$(cat err)" "a quiet copy says"

# what is there already stays, and what had no packet is not in the way of the next try
code 2 info "$U" --chap-file chap --capture c.pcapng; says 'c.pcapng: File exists'
code 3 info "iscsi://127.0.0.1:1/$iqn:t?login_timeout=2s" --capture e.pcapng
says 'there was no packet, and so there is no e.pcapng'
[[ ! -e e.pcapng ]]; is 0 $? "no file of nothing"
code 2 info "$U" --chap-file chap --capture -; says 'name a file; the standard output has what info prints'
[[ ! -e ./- ]]; is 0 $? "no file of the name -"
code 2 info "$U" --chap-file chap --no-payload; says 'no-payload is of --capture'

# a file that may not grow has whole packets, and the command does its work
(ulimit -f 16; L read "$U" --length 64k --chap-file chap --capture f.pcapng 2> err; exit $?) | cat > out
is 1 "${PIPESTATUS[0]}" "a full disk"
says 'f.pcapng: File too large'
same out d0
if command -v tshark > /dev/null; then
    tshark -r f.pcapng > packets 2> err; is 0 $? "tshark reads what there is"
    is 1 "$(($(wc -l < packets) > 3))" "packets of a full disk"
fi

# iscsiadm may write to the standard output, but not to a terminal
python3 -c 'import pty, sys; sys.exit(pty.spawn(sys.argv[1:]) >> 8)' "$LUNETTE_BIN/iscsiadm" --root "$tmp/i" --no-start \
    -m session -r 1 --capture - > out 2> err < /dev/null
is 7 $? "a capture to a terminal"
grep -q 'a terminal cannot show a capture; name a file, or pipe it on' out; is 0 $? "it says why"
finish
