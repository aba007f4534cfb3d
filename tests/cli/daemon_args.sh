#!/bin/bash
# SPDX-License-Identifier: MIT
# daemon_args.sh - what iscsid, iscsi-iod, iscsi-engine and lunette-target say of command lines that make no sense, before they do anything.
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/lib.sh"

# refused PROGRAM PATTERN ARGUMENT...: exit code 2, and what is said
refused() {
    timeout 20 "$LUNETTE_BIN/$1" "${@:3}" > out 2> err
    is 2 $? "$1 ${*:3}"
    says "^$1: $2"
    is '' "$(cat out)" "standard output"
}
hints() { says "^  did you mean $1?\$"; says '^Try `'"$2"' --help'; }

refused iscsid 'unknown option --rooot' --rooot=x; hints --root iscsid
refused iscsid 'unknown option --foregruond' --foregruond; hints --foreground iscsid
refused iscsid 'unknown option --nonsense' --nonsense
is 0 "$(grep -c 'did you mean' err)" "far from any option"
refused iscsid 'unknown option -Z' --foreground -Zf
refused iscsid '--foreground takes no value' --foreground=yes
refused iscsid '--root wants a value' --root
refused iscsid '-c wants a value' -f -c
refused iscsid '--i may be one option or another' --i x
refused iscsid '.*a value: --root$' --root=
refused iscsid '.*: many$' --threads=many
refused iscsid '--threads is 1 to 64: 65' --threads=65
refused iscsid '--loop is auto, epoll or uring: pol' --loop pol
refused iscsi-iod '--loop is auto, epoll or uring: auto|epoll' --loop 'auto|epoll'
refused iscsid 'it takes options only: x' --root "$tmp/i" x
[[ ! -e i ]]; is 0 $? "nothing is made"
refused iscsi-iod 'unknown option --sokcet' --sokcet "$tmp/s"; hints --socket iscsi-iod
refused iscsi-iod '--socket wants a value' --socket
refused iscsi-iod 'unknown option -=' -v=3
refused iscsi-iod '--grace is 1 to 86400 seconds: 0' --socket "$tmp/s" --grace 0
refused iscsi-engine '--allow: there is no such user: nobody-at-all' --allow root,nobody-at-all
refused iscsi-engine '--allow wants users with commas between them' --allow root,
refused iscsi-engine '--threads is 1 to 64: 0' --socket "$tmp/s" --threads 0
refused iscsi-engine 'where to listen is not known: --socket PATH'
for words in '-V' '-v' '--version'; do
    is "iscsid version" "$("$LUNETTE_BIN/iscsid" $words | sed 's/ [0-9.]*$//')" "iscsid $words"
done
for program in iscsid iscsi-iod iscsi-engine lunette-target; do
    "$LUNETTE_BIN/$program" --help > /dev/full 2> err
    is 1 $? "$program --help to a full disk"
    says "^$program: standard output cannot be written: No space left on device"
    "$LUNETTE_BIN/$program" --help > out
    is 0 $? "$program --help"
    is '' "$(grep -E '.{81}' out)" "lines of $program --help above 80 columns"
    "$LUNETTE_BIN/$program" --print-options > out
    json '.options | length > 8'
done
finish
