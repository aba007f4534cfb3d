# SPDX-License-Identifier: MIT
"""Targets that lose the connection of a session that works, and are not the same when it is back."""
import struct

from cases_io import _async
from pdu import CONFLICT
from registry import FAILS, OK, SCSI, variant
from target import Target

# For a session that does not come back, and to lose no time where it does.
WAITS = "replacement_timeout=3&default_time2wait=0&default_time2retain=0"
NO_WAIT = {"DefaultTime2Wait": "0", "DefaultTime2Retain": "0"}


class _Lost(Target):
    """Resets the connection at the first READ or WRITE; from the second connection on it is `later`."""
    params = NO_WAIT
    later_params = {}
    lost_once = False

    @property
    def later(self):
        return len(self.conns) > 1

    def setup(self):
        self.first_params = self.params

    def lose(self, conn):
        if conn.number == 0:
            self.lost_once = True
            conn.close(reset=True)

    def login(self, conn):
        if conn.number > 0:
            self.params = dict(self.first_params, **self.later_params)
        super().login(conn)

    def read_command(self, conn, cmd, lun):
        self.lose(conn)
        return super().read_command(conn, cmd, lun)

    def write_command(self, conn, cmd, lun):
        self.lose(conn)
        return super().write_command(conn, cmd, lun)


def _then(name, about, ids, want, options=None, base=_Lost, **attributes):
    options = dict({"seconds": 30, "url": WAITS, "quiet": False}, **(options or {}))
    group = options.pop("group", "reopen")
    variant(base, "later_" + name, "comes back, but " + about, group, ids, want, options, **attributes)


# ---- what is agreed on is another ---------------------------------------------------------------

_then("same", "is the same", "SSN-06", OK)
_then("same_write", "is the same", "SSN-06", OK, {"run": "write"})
for _name, _about, _params in (
        ("small_bursts", "takes bursts of 512 bytes", {"MaxBurstLength": "512", "FirstBurstLength": "512"}),
        ("asks_first", "takes no unsolicited data", {"ImmediateData": "No", "InitialR2T": "Yes"}),
        ("one_of_both", "takes immediate data only", {"ImmediateData": "Yes", "InitialR2T": "Yes"}),
        ("small_segments", "takes segments of 512 bytes", {"MaxRecvDataSegmentLength": "512"}),
        ("digests", "wants digests", {"HeaderDigest": "CRC32C", "DataDigest": "CRC32C"}),
        ("many_connections", "would take more connections", {"MaxConnections": "1"}),
        ("wrong_bursts", "has a FirstBurstLength above MaxBurstLength",
         {"MaxBurstLength": "512", "FirstBurstLength": "262144"}),
        ("long_wait", "wants a Time2Wait of an hour from now on",
         {"DefaultTime2Wait": "3600"})):
    for _run in ("read", "write"):
        _then("%s_%s" % (_name, _run), _about, "SSN-06",
              OK if _name != "wrong_bursts" else OK | FAILS,
              {"run": _run, "url": WAITS + ("&header_digest=none,crc32c&data_digest=none,crc32c"
                                            if _name == "digests" else "")}, later_params=_params)


class _Group(_Lost):
    def answers(self, conn, req, pairs):
        out = super().answers(conn, req, pairs)
        return [(k, "2" if k == "TargetPortalGroupTag" and conn.number else v) for k, v in out]


_then("group", "in another portal group", "SSN-06", OK, base=_Group)


class _Tsih(_Lost):
    def login_out(self, conn, req, out):
        if out.h[14:16] != b"\0\0":
            out.h[14:16] = struct.pack(">H", conn.number + 7)
        conn.put(out)


_then("tsih", "with another TSIH", "SSN-06", OK, base=_Tsih)


class _Bytewise(_Lost):
    """Answers the second login byte by byte."""
    def write_bytes(self, conn, data):
        if conn.number == 0 or conn.witness.full_feature:
            return conn.sock.sendall(data)
        for i in range(len(data)):
            conn.sock.sendall(data[i:i + 1])


_then("bytewise", "byte by byte", "SSN-06", OK, base=_Bytewise)

# ---- the unit is another ------------------------------------------------------------------------


class _Unit(_Lost):
    def change(self):
        """The unit as it is from the second connection on."""

    def logged_in(self, conn):
        if conn.number > 0:
            self.change()

    def write(self, conn, cmd, lun, offset, size):
        if self.later and not self.writes:
            self.errors.append("a write reached another unit")
        return super().write(conn, cmd, lun, offset, size)

    writes = False


def _unit(name, about, want, options=None, **attributes):
    for run in ("read", "write"):
        _then("%s_%s" % (name, run), about, "", want, dict({"run": run}, **(options or {})), base=_Unit,
              **attributes)


def _vpd_later(page, answer):
    def vpd(self, code, lun):
        if self.later and code == page:
            return answer(self)
        return _Unit.vpd(self, code, lun)
    return vpd


def _page(code, data):
    return bytes([0, code]) + struct.pack(">H", min(len(data), 0xffff)) + data


def _blocks(size):
    def change(self):
        self.luns[0].block_size = size
    return change


_unit("block_size", "has blocks of 4096 bytes", FAILS, change=_blocks(4096))
_unit("block_size_odd", "has blocks of 513 bytes", FAILS, change=_blocks(513))
_unit("block_size_0", "tells no block size", OK, writes=True,
      capacity16=lambda self, lun: Target.capacity16(self, lun)[:8] + bytes(24) if self.later
      else Target.capacity16(self, lun))
_unit("no_lun", "has no such LUN", FAILS, change=lambda self: self.luns.clear())
_unit("shrunk", "is smaller", SCSI, change=lambda self: setattr(self.luns[0], "blocks", 16))
_unit("empty", "has one block", SCSI, change=lambda self: setattr(self.luns[0], "blocks", 1))
_unit("tape", "is a tape", FAILS,
      inquiry=lambda self: bytes([1 if self.later else 0]) + Target.inquiry(self)[1:])
_unit("nothing", "is of type 1Fh, qualifier 3", FAILS,
      inquiry=lambda self: bytes([0x7f if self.later else 0]) + Target.inquiry(self)[1:])
_unit("unreachable", "has qualifier 1", FAILS,
      inquiry=lambda self: bytes([0x20 if self.later else 0]) + Target.inquiry(self)[1:])
_unit("vendor", "is another vendor's", FAILS,
      inquiry=lambda self: Target.inquiry(self).replace(b"LUNETTE", b"SPARROW" if self.later else b"LUNETTE"))
_unit("inquiry_short", "tells 5 bytes of INQUIRY data", FAILS,
      inquiry=lambda self: Target.inquiry(self)[:5 if self.later else 36])
_unit("inquiry_none", "tells no INQUIRY data", FAILS,
      inquiry=lambda self: Target.inquiry(self)[:0 if self.later else 36])
_unit("name", "has another name", FAILS,
      vpd=_vpd_later(0x83, lambda self: _page(0x83, bytes([1, 3, 0, 8]) + bytes.fromhex("3fff000012345678"))))
_unit("name_garbage", "has a name page of garbage", FAILS,
      vpd=_vpd_later(0x83, lambda self: _page(0x83, b"\xff" * 252)))
_unit("name_none", "has an empty name page", FAILS, vpd=_vpd_later(0x83, lambda self: _page(0x83, b"")))
_unit("name_huge", "has a name page of 64 KiB", FAILS,
      vpd=_vpd_later(0x83, lambda self: _page(0x83, (bytes([1, 3, 0, 8]) + b"NOTOURS!") * 5461)))
_unit("name_huge_ours", "has its name in a page of 64 KiB", OK | FAILS, writes=True,
      vpd=_vpd_later(0x83, lambda self: _page(0x83, (bytes([1, 3, 0, 8]) +
                                                     bytes.fromhex("3abcdef012345678")) * 5461)))
_unit("name_lies", "has a name page that is longer than it is", FAILS | OK, writes=True,
      vpd=_vpd_later(0x83, lambda self: b"\0\x83\xff\xff" + bytes([1, 3, 0, 8]) +
                     bytes.fromhex("3abcdef012345678")))
_unit("pages_none", "has no VPD pages", FAILS, vpd=lambda self, code, lun: None if self.later
      else _Unit.vpd(self, code, lun))
_unit("pages_garbage", "has VPD pages of garbage", FAILS,
      vpd=lambda self, code, lun: b"\xff" * 255 if self.later else _Unit.vpd(self, code, lun))


class _Answer(_Unit):
    """One command is answered otherwise from the second connection on."""
    opcode, answer = None, None

    def command(self, conn, cmd):
        if conn.number > 0 and cmd.cdb[0] in self.opcode and not (cmd.cdb[0] == 0x12 and not cmd.cdb[1]
                                                                  and self.vpd_only):
            return self.answer(conn, cmd)
        return super().command(conn, cmd)

    vpd_only = False


def _answers(name, about, want, opcodes, answer, **attributes):
    """Where it does not come up, nothing may be written.  Half a minute is how long it is tried."""
    for run in ("read", "write") if OK <= want else ("write",):
        _then("%s_%s" % (name, run), about, "", want, {"run": run, "seconds": 60, "group": "look"},
              base=_Answer, opcode=opcodes, answer=answer, writes=OK <= want, **attributes)


def _check(key, asc, ascq=0):
    return lambda self, conn, cmd: self.fail(conn, cmd, key, asc, ascq)


_answers("inquiry_fails", "fails INQUIRY", FAILS, (0x12,), _check(4, 0x44))
_answers("vpd_fails", "fails INQUIRY of VPD pages", FAILS, (0x12,), _check(4, 0x44), vpd_only=True)
_answers("capacity_fails", "fails READ CAPACITY", FAILS, (0x25, 0x9e), _check(3, 0x11))
_answers("capacity_empty", "tells no capacity", FAILS, (0x25, 0x9e),
         lambda self, conn, cmd: self.data(conn, cmd, b""))
_answers("capacity_huge", "has 2^64 blocks", FAILS, (0x25, 0x9e),
         lambda self, conn, cmd: self.data(conn, cmd, b"\xff" * 8 + b"\0\0\2\0" + bytes(20)))
_answers("mode_fails", "fails MODE SENSE", OK, (0x1a, 0x5a), _check(5, 0x24))
_answers("mode_garbage", "answers MODE SENSE with garbage", OK | FAILS, (0x1a, 0x5a),
         lambda self, conn, cmd: self.data(conn, cmd, b"\xff" * 252))
_answers("not_ready", "never becomes ready", FAILS, (0x00,), _check(2, 0x04, 0x01))
_answers("no_medium", "has no medium", FAILS, (0x00,), _check(2, 0x3a))
_answers("attentions", "has unit attentions without end", FAILS, (0x00,), _check(6, 0x29))
_answers("doubts", "says without end that it may have changed", FAILS, (0x00,), _check(6, 0x3f, 3))
_answers("reads_doubt", "says so to each command but TEST UNIT READY", FAILS,
         (0x12, 0x25, 0x9e, 0x28, 0x2a, 0x1a), _check(6, 0x3f, 0x0e))
_answers("io_doubts", "says so to reads and writes", FAILS, (0x28, 0x2a), _check(6, 0x3f, 3))
_answers("reserved", "is reserved by somebody", FAILS, (0x28, 0x2a),
         lambda self, conn, cmd: self.status(conn, cmd, CONFLICT, residual=cmd.edtl))
_answers("reserved_look", "is reserved where it is looked at", OK, (0x00, 0x25, 0x9e, 0x1a, 0x5a),
         lambda self, conn, cmd: self.status(conn, cmd, CONFLICT, residual=cmd.edtl))
_answers("busy", "is busy for ever", FAILS, (0x00,),
         lambda self, conn, cmd: self.status(conn, cmd, 8, residual=cmd.edtl))
_answers("silent", "does not answer TEST UNIT READY", FAILS, (0x00,), lambda self, conn, cmd: None)
_answers("luns_garbage", "has a list of LUNs of garbage", OK, (0xa0,),
         lambda self, conn, cmd: self.data(conn, cmd, b"\xff" * 4096))


class _Flaps(_Unit):
    """Tells another name each time it is asked."""
    asked = 0

    def vpd(self, page, lun):
        if page == 0x83 and self.later:
            self.asked += 1
            return _page(0x83, bytes([1, 3, 0, 8]) + struct.pack(">Q", self.asked))
        return super().vpd(page, lun)


_then("name_flaps", "has another name each time", "", FAILS, {"run": "write"}, base=_Flaps)

# ---- it does not let us in, or not for long -------------------------------------------------------


class _Cuts(_Lost):
    """Lets everybody in, and resets each connection at some opcodes."""
    opcode = ()

    def command(self, conn, cmd):
        if conn.number > 0 and (cmd.cdb[0] in self.opcode or not self.opcode):
            conn.close(reset=True)
        return super().command(conn, cmd)

    def stop(self):
        if len(self.conns) > 120:
            self.errors.append("%d logins in a few seconds" % len(self.conns))
        super().stop()


for _name, _about, _opcode in (("at_once", "cuts at the first command", ()),
                               ("at_look", "cuts at READ CAPACITY", (0x25, 0x9e)),
                               ("at_io", "cuts at each READ and WRITE", (0x28, 0x2a))):
    for _run in ("read", "write"):
        _then("cuts_%s_%s" % (_name, _run), _about, "SSN-06", FAILS, {"run": _run, "text": "lost|clos|reset"},
              base=_Cuts, opcode=_opcode)


class _NoLogin(_Lost):
    def login(self, conn):
        if conn.number > 0:
            conn.close()
        super().login(conn)


_then("no_login", "closes before the login", "SSN-06", FAILS, base=_NoLogin)


class _Circles(_Lost):
    """Redirects the second login, and all after it."""
    kind, to = 1, None

    def login_step(self, conn, req, pairs):
        if conn.number > 0:
            self.refuse(conn, req, 1, self.kind, [("TargetAddress", self.to or "127.0.0.1:%d,1" % self.port)])
        return super().login_step(conn, req, pairs)

    def stop(self):
        if len(self.conns) > 60:
            self.errors.append("%d logins in a few seconds" % len(self.conns))
        super().stop()


for _kind, _word in ((1, "for now"), (2, "for good")):
    _then("moved_to_itself_%d" % _kind, "has moved to itself " + _word, "LGN-17", FAILS, base=_Circles,
          kind=_kind)
    _then("moved_to_no_host_%d" % _kind, "has moved to a host that is none " + _word, "LGN-17", FAILS,
          base=_Circles, kind=_kind, to="nowhere.invalid:3260,1")
    _then("moved_to_no_port_%d" % _kind, "has moved to a port that is shut " + _word, "LGN-17", FAILS,
          base=_Circles, kind=_kind, to="127.0.0.1:1,1")


class _BackAfter(_Circles):
    """Has moved to nowhere for three logins, and is back then."""
    to = "127.0.0.1:1,1"

    def login_step(self, conn, req, pairs):
        if conn.number > 3:
            return Target.login_step(self, conn, req, pairs)
        return super().login_step(conn, req, pairs)


for _kind in (1, 2):
    _then("moved_back_%d" % _kind, "is elsewhere for three logins (%d)" % _kind, "LGN-17", OK,
          base=_BackAfter, kind=_kind)

# ---- it says what it does, and does otherwise ------------------------------------------------------


class _Says(Target):
    """Says something with the first READ, and loses the READ."""
    params = NO_WAIT
    says, times, answers_logout = (1, 0, 0, 0), 1, True

    def read(self, conn, cmd, data):
        if conn.number > 0:
            return self.data(conn, cmd, data)
        for _ in range(self.times):
            _async(*self.says)(self, conn, cmd)
        return None

    def logout(self, conn, req):
        if conn.number > 0 or self.answers_logout:
            return super().logout(conn, req)
        while True:
            conn.recv()


for _event in (1, 2, 3, 4):
    for _p3 in (0, 1):
        for _times in (1, 3000):
            variant(_Says, "leave_%d_%d_%d" % (_event, _p3, _times),
                    "event %d with Parameter3 %d, %d times" % (_event, _p3, _times), "reopen",
                    "ASY-02", OK, {"seconds": 30, "url": WAITS + "&timeout=20000"}, times=_times,
                    says=(_event, 0, 0, _p3))
    variant(_Says, "leave_%d_silent" % _event, "event %d, and no Logout Response" % _event, "reopen",
            "ASY-02", OK, {"seconds": 30, "url": WAITS + "&timeout=20000"}, answers_logout=False,
            says=(_event, 0, 0, 2))
for _event in (2, 3):
    variant(_Says, "leave_%d_for_long" % _event, "event %d with a Time2Wait of 18 hours" % _event,
            "reopen", "ASY-03 ASY-04", FAILS, {"seconds": 15, "url": WAITS, "text": "recovered within 3 s"},
            says=(_event, 0, 65535, 65535))


class _Both(_Says):
    """Asks for a logout, does not answer it, and says then that it drops the session."""
    def logout(self, conn, req):
        if conn.number > 0:
            return super().logout(conn, req)
        while True:
            _async(3, 0, 0, 0)(self, conn, None)
            self.wait(0.2)


variant(_Both, "leave_both", "asks for a logout, and drops the session instead of an answer", "reopen",
        "ASY-02 ASY-04", OK, {"seconds": 20, "url": WAITS + "&timeout=20000"}, says=(1, 0, 0, 2))
