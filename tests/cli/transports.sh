#!/bin/bash
# SPDX-License-Identifier: MIT
# transports.sh - lunette transports: what is built in, named and installed, and why one cannot be used.
# usage: transports.sh PLAIN.so PLAIN_UNUSABLE.so
plain=$(realpath "$1") unusable=$(realpath "$2")
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
unset LUNETTE_TRANSPORTS
mkdir installed
export LUNETTE_TRANSPORT_DIR=$tmp/installed

# Alone.
code 0 transports
is "tcp          built in" "$(sed -n 1p out)" "the first line"
grep -q '^  can do: recovery_l0 recovery_l1 recovery_l2 multi_r2t hdrdgst datadgst multi_conn ' out
is 0 $? "what tcp can do"
grep -q "^iser         built in$" out
is 0 $? "iser is built in, too"
grep -q '^  can do: recovery_l0 multi_r2t text_nego data_path_offload rdma$' out
is 0 $? "what iser can do"
grep -q "^offload_session built in$" out
is 0 $? "offload_session is built in, too"
grep -q '^  can do: recovery_l0 data_path_offload login_offload$' out
is 0 $? "what offload_session can do"
code 0 transports --json
json '.transports | length == 3'
json '.transports[2] | .name == "offload_session" and .from == "built_in" and (.usable or (.why | test("engine")))'
json '.transports[1] | .name == "iser" and .from == "built_in" and .max_recv_data_segment_length == 8192 and (.usable or (.why | test("RDMA")))'
json '.transports[0] | .name == "tcp" and .from == "built_in" and .usable and (has("path") or has("why") | not)'
json '.transports[0] | .max_recv_data_segment_length == 262144 and (.caps | index("bind_descriptor") and index("digest_offload") == null)'

# Installed: shown, not loaded by others.
install -m 644 "$plain" installed/plain.so
code 0 transports
grep -q "^plain        $tmp/installed/plain.so$" out
is 0 $? "where it is"
grep -q '^  is not loaded: LUNETTE_TRANSPORTS=plain does so$' out
is 0 $? "how it is loaded"
code 0 transports --json
json '.transports[3] | .name == "plain" and .from == "installed" and .usable and .caps == ["recovery_l0", "bind_descriptor"]'
code 2 ls 'iscsi://127.0.0.1:1/?transport=plain'
says 'there is no transport "plain", only tcp, iser, offload_session'

# Named, by name and by path.
LUNETTE_TRANSPORTS=plain code 0 transports --json
json '.transports | length == 4'
json ".transports[3] | .name == \"plain\" and .from == \"named\" and .usable and .path == \"$tmp/installed/plain.so\""
LUNETTE_TRANSPORTS=$tmp/installed/plain.so code 0 transports --json
json '.transports | length == 4 and .[3].from == "named"'

# Not on this machine: no login begins.
install -m 644 "$unusable" installed/plain.so
LUNETTE_TRANSPORTS=plain code 0 transports
grep -q '^  cannot be used: this machine has no adapter$' out
is 0 $? "why it cannot be used"
LUNETTE_TRANSPORTS=plain code 0 transports --json
json '.transports[3] | .name == "plain" and (.usable | not) and .why == "this machine has no adapter"'
LUNETTE_TRANSPORTS=plain L ls 'iscsi://127.0.0.1:1/?transport=plain' > out 2> err
is 1 $(($? != 0)) "a login over it"
says 'this machine has no adapter'

# What cannot be loaded: the list says why, and everything else does not begin.
echo text > installed/text.so
chmod 666 installed/plain.so
LUNETTE_TRANSPORTS=plain:missing:/nowhere/t.so:tcp:a/../b code 0 transports --json
json '.transports | length == 9'
json '.transports[3] | .from == "named" and .path == "plain" and (has("name") | not) and (.why | test("mode 0666.: chmod go-w"))'
json '.transports[4].why | test("installed/missing.so cannot be loaded: No such file")'
json '.transports[5].why | test("/nowhere/t.so cannot be loaded: No such file")'
json '.transports[6].path == "tcp" and (.transports[6].why | test("/tcp.so cannot be loaded"))'
json '.transports[8] | .from == "installed" and (.why | test("text.so cannot be loaded"))'
LUNETTE_TRANSPORTS=plain code 2 ls iscsi://127.0.0.1:1/
says "LUNETTE_TRANSPORTS: transport $tmp/installed/plain.so is not loaded: others may write to"
code 2 transports operand

# An object that is named by a path from here, and cannot be loaded, is shown once.
LUNETTE_TRANSPORTS=./installed/text.so:installed/../installed/plain.so code 0 transports --json
json '[.transports[] | select(.path | tostring | test("text.so"))] | length == 1'
json '[.transports[] | select(.path | tostring | test("plain.so"))] | length == 1'
LUNETTE_TRANSPORTS=tcp/../text.so code 0 transports --json # leads nowhere
json '[.transports[] | select(.path | tostring | test("text.so"))] | length == 2'

# A folder that cannot be read is not passed over in silence, and none at all only where nobody named it.
rm installed/plain.so
LUNETTE_TRANSPORT_DIR=$tmp/installed/text.so code 0 transports
grep -q '^  cannot be used: the folder of installed transports cannot be read: Not a directory$' out
is 0 $? "why a folder is not read"
LUNETTE_TRANSPORT_DIR=$tmp/nowhere code 0 transports --json
json ".transports | length == 4 and .[3].from == \"installed\" and (.[3].usable | not) and .[3].path == \"$tmp/nowhere\""
json '.transports[3].why | test("cannot be read: No such file")'

finish
