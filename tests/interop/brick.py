#!/usr/bin/python3
# SPDX-License-Identifier: MIT
# brick.py LOCKS PREFIX - what os-brick's iSCSI connector does for a volume service, with the iscsiadm that
# is first in PATH: discovery, attaching a volume, a second one of the same session, one with CHAP, a
# target that is not there, and leaving.  PREFIX: of the names of the targets.  Prints "ok WHAT" lines.
import sys

from oslo_concurrency import lockutils, processutils
from os_brick import exception
from os_brick.initiator.connectors import iscsi

LOCKS, PREFIX = sys.argv[1:]
PORTAL = "127.0.0.1:3260"


def run(*command, **options):
    # The service is root already, so that the helper that makes it root is not needed.
    options.pop("run_as_root", None)
    options.pop("root_helper", None)
    return processutils.execute(*command, **options)


def connector():
    c = iscsi.ISCSIConnector("none", execute=run, device_scan_attempts=3)
    c._linuxscsi.set_execute(run)
    # There is no udev, which would make /dev/disk/by-id; os-brick would wait 10 s for it.
    c._linuxscsi.get_sysfs_wwn = lambda *_: "unknown"
    return c


def volume(name, lun, **more):
    return dict({"target_portal": PORTAL, "target_iqn": f"{PREFIX}:{name}", "target_lun": lun}, **more)


def sessions(c):
    return [s[4] for s in c._get_iscsi_sessions_full()]


def expect(what, seen, wanted):
    if seen != wanted:
        sys.exit(f"{what}: {seen!r} instead of {wanted!r}")
    print("ok", what, flush=True)


lockutils.set_defaults(LOCKS)
c = connector()
expect("initiator name", c.get_initiator(), "iqn.2026-11.example:me")
expect("no sessions", sessions(c), [])
found = c._discover_iscsi_portals({"target_portal": PORTAL, "target_lun": 1})
expect("discovery", sorted(iqn for _, iqn, _ in found), [f"{PREFIX}:secret", f"{PREFIX}:vol"])

first = c.connect_volume(volume("vol", 1))
sid = c._get_iscsi_sessions_full()[0][1]
expect("a volume", first["path"], f"/dev/lun-{sid}-1-disk")
expect("a second one of the session", c.connect_volume(volume("vol", 2))["path"], f"/dev/lun-{sid}-2-disk")
expect("one session for both", sessions(c), [f"{PREFIX}:vol"])
of = c._get_connection_devices(volume("vol", 1))[(PORTAL, f"{PREFIX}:vol")]
expect("which is whose", of, ({f"lun-{sid}-1-disk"}, {f"lun-{sid}-2-disk"}))

joe = dict(auth_method="CHAP", auth_username="joe")
try:
    c.connect_volume(volume("secret", 1, auth_password="another-of-22-bytes---", **joe))
    sys.exit("a wrong secret was taken")
except exception.VolumeDeviceNotFound:
    expect("a wrong secret", sessions(c), [f"{PREFIX}:vol"])
secret = c.connect_volume(volume("secret", 1, auth_password="a-secret-of-21-bytes", **joe))
expect("CHAP", secret["type"], "block")
try:
    c.connect_volume(volume("none", 1))
    sys.exit("a target that is not there was attached")
except exception.VolumeDeviceNotFound:
    expect("no such target", sorted(sessions(c)), [f"{PREFIX}:secret", f"{PREFIX}:vol"])

# Nobody takes a disk away by writing into the tree, which comes before this in os-brick (docs/design/classic.md).
for name in "vol", "secret":
    c._disconnect_from_iscsi_portal(volume(name, 1))
expect("left", sessions(c), [])
expect("no records", [node for node in c._get_iscsi_nodes() if node[1] != f"{PREFIX}:none"], [])
