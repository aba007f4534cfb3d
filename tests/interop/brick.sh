#!/bin/bash
# SPDX-License-Identifier: MIT
# brick.sh - OpenStack's os-brick attaches volumes of tgtd by our iscsiadm and iscsid, and finds what
# it looks for in the tree that iscsid --sysfs renders.
. "$(dirname "$0")/lib.sh"
requires tgtd tgtadm
/usr/bin/python3 -c 'import os_brick' 2> /dev/null || skip "os-brick is not installed"
. "$here/tgtd.sh"
. "$here/open_iscsi_lib.sh"
theirs_world
tgt_start
tgt_target 1 vol
tgt_lun 1 1 "$tmp/vol" 32M
tgt_lun 1 2 "$tmp/other" 16M
tgt_target 2 secret
tgt_lun 2 1 "$tmp/secret" 16M
tgt_account joe a-secret-of-21-bytes
tgt bind account --tid 2 --user joe
# A LUN is a disk by its export.
printf 'node.export = nbd\n' > /etc/iscsi/iscsid.conf
theirs_daemon
mkdir "$tmp/bin" "$tmp/locks"
printf '#!/bin/sh\nexec "%s" --no-start "$@"\n' "$LUNETTE_BIN/iscsiadm" > "$tmp/bin/iscsiadm"
chmod +x "$tmp/bin/iscsiadm"
PATH=$tmp/bin:$PATH timeout 150 /usr/bin/python3 "$here/brick.py" "$tmp/locks" "$tgt_iqn" > "$tmp/said" 2> "$tmp/err" ||
    fail "os-brick is not content: $(tail -n 1 "$tmp/said")" "$tmp/err"
cat "$tmp/said"
checks=$((checks + $(grep -c '^ok ' "$tmp/said")))
