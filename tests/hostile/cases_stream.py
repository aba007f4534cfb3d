# SPDX-License-Identifier: MIT
"""Closes, stalls and garbage at every step; framing: lengths, AHS, opcodes, digests."""
import random
import threading
import time

from pdu import (ASYNC, DATA_IN, LOGIN_RSP, NOP_IN, Out, R2T, RESERVED, SCSI_RSP, TEXT_RSP)
from registry import (ANY, BROKEN_LOGIN, CONNECT, FAILS, LOST, OK, TIMEOUT, case, variant)
from target import Target

# Then the data of a WRITE has to be asked for.
ASK = "immediate_data=no&initial_r2t=yes"
DIGESTS = "header_digest=crc32c&data_digest=crc32c"


# ---- where a target may go wrong; `act` is what happens there ----------------------------------

class _Step(Target):
    step = ""
    after = 0  # bytes of the PDU that still go

    def act(self, conn):
        raise NotImplementedError

    def cut(self, conn, out):
        """Sends the first bytes of a PDU, then goes wrong."""
        conn.sock.sendall(out.bytes(conn.header_digest, conn.data_digest)[:self.after])
        self.act(conn)

    def accepted(self, conn):
        if self.step == "accept":
            self.act(conn)

    def login_reply(self, conn, req, pairs, transit, nsg, status=(0, 0)):
        if self.step == "login":
            conn.read_login = True
            self.act(conn)
        if self.step == "login-last" and transit and nsg == 3:
            self.act(conn)
        super().login_reply(conn, req, pairs, transit, nsg, status)

    def mutate(self, conn, out):
        if (self.step, out.op) in (("mid-login", LOGIN_RSP), ("mid-text", TEXT_RSP)) or \
                (self.step == "mid-data" and out.op == DATA_IN and "read" in self.seen) or \
                (self.step == "mid-r2t" and out.op == R2T) or \
                (self.step == "mid-status" and out.op == SCSI_RSP and "write" in self.seen):
            self.cut(conn, out)

    def logged_in(self, conn):
        if self.step == "logged-in":
            self.act(conn)

    def command(self, conn, cmd):
        if self.step == "command":
            self.act(conn)
        super().command(conn, cmd)

    def read(self, conn, cmd, data):
        if self.step == "read":
            self.act(conn)
        if self.step == "read-data":
            self.piece(conn, cmd, 0, 0, data[:4096], False)
            self.act(conn)
        if self.step == "read-status":
            for sn, at in enumerate(range(0, len(data), 4096)):
                self.piece_without_status(conn, cmd, sn, at, data[at:at + 4096],
                                          at + 4096 >= len(data))
            self.act(conn)
        super().read(conn, cmd, data)

    def piece_without_status(self, conn, cmd, sn, at, data, last):
        conn.put(Out(DATA_IN, 0x80 if last else 0, itt=cmd.itt, data=data,
                     words=[RESERVED, 0, 0, 0, sn, at, 0]), None)

    def write(self, conn, cmd, lun, offset, size):
        if self.step == "write":
            self.act(conn)
        if self.step == "r2t":
            self.unsolicited(conn, cmd, bytearray(size))
            self.r2t(conn, cmd, 0, 0, min(size, 16384))
            self.act(conn)
        if self.step == "write-status":
            self.status = lambda *a, **k: self.act(conn)
        super().write(conn, cmd, lun, offset, size)

    def send_targets(self, conn, req):
        if self.step == "text":
            self.act(conn)
        super().send_targets(conn, req)

    def logout(self, conn, req):
        if self.step == "logout":
            self.act(conn)
        super().logout(conn, req)


class _Close(_Step):
    def act(self, conn):
        conn.close()


class _Reset(_Step):
    def act(self, conn):
        conn.close(reset=True)


class _Stall(_Step):
    def act(self, conn):
        conn.stall()


class _Garbage(_Step):
    def act(self, conn):
        conn.sock.sendall(random.Random(7).randbytes(4096))
        conn.stall()


_STEPS = [  # step, bytes that still go, client command, when it goes wrong
    ("accept", 0, "read", "before the login"),
    ("login", 0, "read", "instead of the first login response"),
    ("mid-login", 20, "read", "in the header of the login response"),
    ("mid-login", 50, "read", "in the text of the login response"),
    ("login-last", 0, "read", "instead of the last login response"),
    ("logged-in", 0, "read", "right after the login"),
    ("command", 0, "read", "at the first SCSI command"),
    ("read", 0, "read", "at a READ"),
    ("mid-data", 10, "read", "in the header of a Data-In"),
    ("mid-data", 47, "read", "one byte before the end of the header of a Data-In"),
    ("mid-data", 48, "read", "after the header of a Data-In"),
    ("mid-data", 1001, "read", "in the data of a Data-In"),
    ("read-data", 0, "read", "after a part of the data"),
    ("read-status", 0, "read", "after the data, before the status"),
    ("write", 0, "write", "at a WRITE"),
    ("mid-r2t", 30, "write", "in an R2T"),
    ("r2t", 0, "write", "after an R2T"),
    ("write-status", 0, "write", "before the status of a WRITE"),
    ("mid-status", 30, "write", "in the status of a WRITE"),
    ("text", 0, "discover", "at SendTargets"),
    ("mid-text", 60, "discover", "in the answer to SendTargets"),
    ("logout", 0, "read", "at the logout"),
]
for _step, _after, _run, _when in _STEPS:
    _tag = "%s%s" % (_step.replace("-", "_"), "_%d" % _after if _after else "")
    _early = _step in ("accept", "login", "mid-login", "login-last")
    _url = ASK if "r2t" in _step else ""
    _end = OK if _step == "logout" else BROKEN_LOGIN if _early else LOST
    _late = OK if _step == "logout" else TIMEOUT
    variant(_Close, "close_" + _tag, "closes " + _when, "close", "LOUT-07", _end,
            {"run": _run, "url": _url}, step=_step, after=_after)
    if not _after:
        variant(_Reset, "reset_" + _tag, "sends RST " + _when, "close", "LOUT-07", _end,
                {"run": _run, "url": _url}, step=_step)
    variant(_Stall, "stall_" + _tag, "falls silent " + _when, "stall", "LGN-18 TMO-03 TM-12",
            _late, {"run": _run, "seconds": 20, "url": _url}, step=_step, after=_after)
    if not _after and _step not in ("write-status",):
        variant(_Garbage, "garbage_" + _tag, "sends random bytes " + _when, "garbage",
                "FMT-03 PDU-04", OK if _step == "logout" else BROKEN_LOGIN if _early else FAILS,
                {"run": _run, "seconds": 20, "url": _url}, step=_step)


@case("stall", "LGN-18", TIMEOUT, seconds=20)
class trickle_login(Target):
    """A byte of the login response every 0.2 s: the timer is for the whole login."""
    def write_bytes(self, conn, data):
        for b in data:
            conn.sock.sendall(bytes([b]))
            self.wait(0.2)


@case("stall", "TM-10", TIMEOUT | LOST, run="write", seconds=20)
class never_reads(Target):
    """Stops reading after the login, with the initiator's data under way."""
    burst = 1 << 20

    def write(self, conn, cmd, lun, offset, size):
        self.r2t(conn, cmd, 0, 0, size)
        conn.freeze()


@case("stall", "LGN-18", BROKEN_LOGIN | TIMEOUT, seconds=20)
class accepts_nothing(Target):
    """Listens, but the kernel's queue is all there is."""
    def start(self, port=None):
        self.sock.listen(0)


@case("close", "-", CONNECT)
class nobody_listens(Target):
    """The port is closed."""
    def start(self, port=None):
        self.sock.close()


# ---- garbage in other shapes -------------------------------------------------------------------

def _banner(name, data, want=BROKEN_LOGIN):
    def accepted(self, conn):
        conn.sock.sendall(data)
        conn.stall()
    variant(Target, name, "greets with %r" % data[:20], "garbage", "LGN-01", want | TIMEOUT,
            {"seconds": 20}, accepted=accepted)


_banner("banner_http", b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n" * 4)
_banner("banner_escape", b"SSH-2.0-\x1b[31m\x1b]0;owned\x07\r\n" * 8)
_banner("banner_zeros", bytes(4096))
_banner("banner_ones", b"\xff" * 4096)


class _At(Target):
    """Sends `spoil`ed PDUs of one kind: the base of the framing cases."""
    op = DATA_IN

    def spoil(self, conn, out):
        raise NotImplementedError

    def mutate(self, conn, out):
        if out.op == self.op and (out.op != DATA_IN or "read" in self.seen):
            self.spoil(conn, out)


def _spoiled(name, about, ids, want, op, spoil, **options):
    variant(_At, name, about, "framing", ids, want, options, op=op,
            spoil=lambda self, conn, out: spoil(out))


def _set(**values):
    def spoil(out):
        for k, v in values.items():
            setattr(out, k, v)
    return spoil


_spoiled("login_length_16m", "DataSegmentLength of a login response is 0xffffff", "LGN-04 PDU-05",
         BROKEN_LOGIN, LOGIN_RSP, _set(dlen=0xffffff))
_spoiled("login_length_8196", "a login response with 8196 bytes", "LGN-04", BROKEN_LOGIN, LOGIN_RSP,
         lambda out: setattr(out, "data", (out.data + b"X-pad=" + b"a" * 200 + b"\0" +
                                           b"X-pad2=" + b"b" * 8196)[:8196]))
_spoiled("data_in_length_16m", "DataSegmentLength of a Data-In is 0xffffff", "PDU-05 DIN-02", LOST,
         DATA_IN, _set(dlen=0xffffff))
_spoiled("data_in_above_edtl", "DataSegmentLength of a Data-In is above the whole transfer",
         "PDU-05 DIN-03", LOST, DATA_IN,
         lambda out: setattr(out, "data", out.data * 32))
_spoiled("ahs_on_data_in", "AHS on a Data-In", "PDU-07", LOST, DATA_IN,
         _set(ahs=b"\0\5\2\0\0\0\0\0"))
_spoiled("ahs_on_response", "AHS on a SCSI Response", "PDU-07", LOST, SCSI_RSP,
         _set(ahs=b"\0\5\2\0\0\0\0\0"), run="write")
_spoiled("ahs_on_r2t", "AHS on an R2T", "PDU-06", LOST, R2T, _set(ahs=b"\0\5\2\0\0\0\0\0"),
         run="write", url=ASK)
_spoiled("ahs_length_lie", "TotalAHSLength 255 and no AHS", "PDU-06", LOST | TIMEOUT, DATA_IN,
         _set(ahs_words=255))
_spoiled("ahs_on_login", "AHS on a login response", "PDU-07", BROKEN_LOGIN, LOGIN_RSP,
         _set(ahs=b"\0\5\2\0\0\0\0\0"))
_spoiled("header_digest_wrong", "a wrong header digest", "DIG-05", LOST, DATA_IN,
         _set(flip_header=True), url=DIGESTS)
_spoiled("header_digest_wrong_response", "a wrong header digest on a SCSI Response", "DIG-05", LOST,
         SCSI_RSP, _set(flip_header=True), url=DIGESTS, run="write")
_spoiled("data_digest_wrong", "a wrong data digest", "DIG-07 DIG-09", LOST, DATA_IN,
         _set(flip_data=True), url=DIGESTS)
_spoiled("digests_missing", "no digests although they were agreed", "DIG-04", LOST | TIMEOUT,
         DATA_IN, _set(no_digests=True), url=DIGESTS)


@case("framing", "DIG-04", FAILS, url="header_digest=none&data_digest=none")
class digests_unasked(Target):
    """Sends digests that nobody agreed on."""
    def logged_in(self, conn):
        conn.witness.full_feature = True
        conn.write_digests = True

    def write_bytes(self, conn, data):
        from pdu import crc32c
        if getattr(conn, "write_digests", False):
            data = data[:48] + crc32c(data[:48]) + data[48:]
        conn.sock.sendall(data)


@case("framing", "DIG-05", LOST, url=DIGESTS)
class header_flipped_in_flight(Target):
    """A bit of a header changes after its digest was made."""
    def write_bytes(self, conn, data):
        if data[0] == DATA_IN and "read" in self.seen:
            data = data[:41] + bytes([data[41] ^ 4]) + data[42:]
        conn.sock.sendall(data)


@case("framing", "DIG-07 DIG-09", LOST, url=DIGESTS)
class data_flipped_in_flight(Target):
    """A bit of the data changes after its digest was made: never good data."""
    def write_bytes(self, conn, data):
        if data[0] == DATA_IN and "read" in self.seen and len(data) > 1000:
            data = data[:900] + bytes([data[900] ^ 4]) + data[901:]
        conn.sock.sendall(data)


@case("framing", "DIG-08", FAILS, url=DIGESTS, run="write")
class sense_digest_wrong(Target):
    """A wrong data digest on sense data."""
    def write(self, conn, cmd, lun, offset, size):
        self.unsolicited(conn, cmd, bytearray(size))
        self.fail(conn, cmd, 3, 0x0c)

    def mutate(self, conn, out):
        out.flip_data = out.op == SCSI_RSP and "write" in self.seen


for _op in (0x00, 0x01, 0x03, 0x05, 0x06, 0x10, 0x2a, 0x27, 0x30, 0x3b):
    def _read(self, conn, cmd, data, op=_op):
        conn.put(Out(op, itt=cmd.itt, words=[RESERVED, 0, 0, 0, 0, 0, 0]))
        Target.read(self, conn, cmd, data)
    variant(Target, "opcode_%02x" % _op, "sends opcode %#04x, which is not a target's" % _op,
            "framing", "PDU-04", LOST, read=_read)

for _op, _what in ((LOGIN_RSP, "Login Response"), (TEXT_RSP, "Text Response"),
                   (0x22, "TMF Response"), (0x26, "Logout Response")):
    def _read(self, conn, cmd, data, op=_op):
        conn.put(Out(op, itt=0x7777, words=[RESERVED, 0, 0, 0, 0, 0, 0]))
        Target.read(self, conn, cmd, data)
    variant(Target, "unasked_%02x" % _op, "sends a %s that answers nothing" % _what, "framing",
            "ID-14 FMT-01", LOST, read=_read)
    variant(Target, "unasked_%02x_itt" % _op,
            "answers a READ with a %s of its task tag" % _what, "framing", "ID-14 FMT-01", LOST,
            read=lambda self, conn, cmd, data, op=_op: (
                conn.put(Out(op, itt=cmd.itt, words=[RESERVED, 0, 0, 0, 0, 0, 0])),
                conn.stall()))


# ---- what is right, though unusual: the read must succeed ---------------------------------------

class _Ones(Target):
    """Sets all reserved bits."""
    reserved = {
        SCSI_RSP: [(1, 0x61)],
        DATA_IN: [(1, 0x38)],
        NOP_IN: [(1, 0x7f), (2, 0xff), (3, 0xff)] + [(i, 0xff) for i in range(36, 48)],
        R2T: [(1, 0x7f), (2, 0xff), (3, 0xff)],
        0x26: [(1, 0x7f), (3, 0xff)] + [(i, 0xff) for i in (36, 37, 38, 39, 44, 45, 46, 47)],
        LOGIN_RSP: [(1, 0x30), (38, 0xff), (39, 0xff)] + [(i, 0xff) for i in range(40, 48)],
    }

    def mutate(self, conn, out):
        for at, mask in self.reserved.get(out.op, []):
            if out.op == DATA_IN and out.h[1] & 1 == 0 and at == 1:
                mask &= ~6
            if out.op == SCSI_RSP and at == 1:
                mask &= 0x61
            out.h[at] |= mask


for _run in ("read", "write"):
    variant(_Ones, "reserved_bits_%s" % _run, "sets every reserved bit (%s)" % _run, "tolerance",
            "PDU-02", OK, {"run": _run})


@case("tolerance", "PDU-08", OK, url=DIGESTS)
class padding_of_ones(Target):
    """Pads with 0xff; the digest covers it."""
    chunk = 4096

    def inquiry(self):
        return super().inquiry() + b"xyz"  # an odd length

    def mutate(self, conn, out):
        out.pad = 0xff


@case("tolerance", "-", OK, seconds=20)
class one_byte_segments(Target):
    """Every byte of the first PDUs in a TCP segment of its own."""
    def write_bytes(self, conn, data):
        head, tail = (data, b"") if len(data) < 300 else (data[:100], data[100:])
        for b in head:
            conn.sock.sendall(bytes([b]))
            time.sleep(0.0002)
        conn.sock.sendall(tail)


@case("tolerance", "-", OK, url=DIGESTS, seconds=20)
class split_everywhere(Target):
    """Segments of 1 to 97 bytes, with digests."""
    def setup(self):
        self.random = random.Random(3)

    def write_bytes(self, conn, data):
        while data:
            n = self.random.randint(1, 97)
            conn.sock.sendall(data[:n])
            data = data[n:]


@case("tolerance", "-", OK)
class coalesced(Target):
    """All PDUs of an answer in one segment."""
    def setup(self):
        self.held = {}
        self.lock = threading.Lock()

    def write_bytes(self, conn, data):
        self.held[conn] = self.held.get(conn, b"") + data
        if data[0] != DATA_IN or data[1] & 0x80:
            conn.sock.sendall(self.held.pop(conn))


@case("tolerance", "LGN-09 NPO-03", OK, seen=("nop-out answer",))
class nop_glued_to_login(Target):
    """A NOP-In that wants an answer, in the segment of the final login response."""
    held = b""

    def login_reply(self, conn, req, pairs, transit, nsg, status=(0, 0)):
        conn.last = transit and nsg == 3
        super().login_reply(conn, req, pairs, transit, nsg, status)

    def write_bytes(self, conn, data):
        if getattr(conn, "last", False):
            conn.last = False
            self.held = data
            return
        conn.sock.sendall(self.held + data)
        self.held = b""

    def start_full_feature(self, conn):
        super().start_full_feature(conn)
        hd, conn.header_digest = conn.header_digest, False
        conn.header_digest = hd
        conn.put(Out(NOP_IN, words=[0x5151]), "next")


@case("tolerance", "ASY-07", OK)
class unknown_async(Target):
    """Async messages with codes that nobody knows."""
    def read(self, conn, cmd, data):
        for event in (100, 250):
            out = Out(ASYNC)
            out.h[36] = event
            conn.put(out)
        super().read(conn, cmd, data)


@case("tolerance", "DOU-06", OK)
class empty_data_in(Target):
    """Data-In without data in the middle of a transfer."""
    def piece(self, conn, cmd, sn, at, data, last, residual=0):
        super().piece(conn, cmd, 2 * sn, at, b"", False)
        super().piece(conn, cmd, 2 * sn + 1, at, data, last, residual)


variant(Target, "small_pieces", "Data-In of 512 bytes", "tolerance", "DIN-02", OK, chunk=512)
variant(Target, "odd_pieces", "Data-In of 52 bytes", "tolerance", "DIN-02", OK, chunk=52)
variant(Target, "status_apart", "the status of a READ in a SCSI Response", "tolerance", "RSP-10", OK,
        phase_collapse=False)
variant(Target, "window_of_one", "one command at a time", "tolerance", "CSN-06", OK, window=1)
variant(Target, "window_of_one_write", "one command at a time", "tolerance", "CSN-06", OK,
        {"run": "write"}, window=1)
variant(Target, "small_r2ts", "R2Ts of 512 bytes", "tolerance", "R2T-01", OK, {"run": "write"},
        burst=512)
variant(Target, "stat_sn_wraps", "StatSN starts at 0xfffffffe", "tolerance", "SSN-01", OK,
        first_stat_sn=0xfffffffe)
variant(Target, "no_digests", "refuses digests", "tolerance", "TNG-09", OK,
        {"url": "header_digest=none,crc32c"}, header_digest=False, data_digest=False)
for _run in ("read", "write", "info", "ls", "discover", "ping"):
    variant(Target, "plain_%s" % _run, "does all of it right: %s" % _run, "tolerance", "-", OK,
            {"run": _run})
    if _run in ("read", "write"):
        variant(Target, "plain_%s_digests" % _run, "does all of it right, with digests: %s" % _run,
                "tolerance", "DIG-01", OK, {"run": _run, "url": DIGESTS})
variant(Target, "gives_up_anything", "closes after the logout request", "tolerance", "LOUT-02", ANY,
        logout=lambda self, conn, req: conn.close())
