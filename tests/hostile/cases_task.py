# SPDX-License-Identifier: MIT
"""Timeouts, task management, logout; and what a person is told when a connection ends."""
import cases_stream  # noqa: F401 (its cases come again below)
from cases_io import data_in
from pdu import ASYNC, GOOD, Out
from registry import CASES, LOGIN, LOST, NOT_FOUND, OK, TIMEOUT, case, variant
from target import Target


# ---- timeouts and task management ---------------------------------------------------------------

class _Silent(Target):
    """Does not answer READs; what it does with the TMFs that follow is the case's."""
    replies = {}  # function: response, missing: silence
    wanted = None

    def setup(self):
        self.functions = []

    def read(self, conn, cmd, data):
        self.held = cmd, data

    def tmf(self, conn, req):
        function = req.flags & 0x7f
        self.functions.append(function)
        if self.wanted and self.functions != self.wanted[:len(self.functions)]:
            self.errors.append("TM-12: task management functions %s" % self.functions)
        if function in self.replies:
            self.answer(conn, req, self.replies[function])

    def answer(self, conn, req, response):
        conn.put(Out(0x22, 0x80, response, itt=req.itt))


def _silent(name, about, ids, want, answers, wanted=None, **more):
    variant(_Silent, name, about, "tmf", ids, want, {"seconds": 30}, replies=answers,
            wanted=wanted, **more)


_silent("tmf_silent", "no answer to any TMF: abort, LU reset, target reset, the end", "TM-12",
        TIMEOUT, {}, [1, 5, 6])
_silent("tmf_abort_works", "the abort is done", "TMR-03 TM-10", TIMEOUT, {1: 0})
_silent("tmf_abort_unknown", "the task does not exist", "TMR-05 TM-11", TIMEOUT, {1: 1, 5: 0})
_silent("tmf_unsupported", "no TMF is supported", "TMF-08 TM-12", TIMEOUT | LOST,
        {n: 5 for n in range(1, 9)}, [1, 5, 6])
_silent("tmf_rejected", "all TMFs are refused", "TMR-01", TIMEOUT | LOST, {n: 255 for n in range(1, 9)})
_silent("tmf_code_unknown", "a response code that nobody knows", "TMR-01", TIMEOUT | LOST,
        {n: 100 for n in range(1, 9)})
_silent("tmf_lun_reset_works", "the LU reset is done", "TM-12", TIMEOUT, {1: 5, 5: 0})


class _NexusReset(_Silent):
    """Refuses all that ends less than the session, at protocol level 2."""
    params = {"iSCSIProtocolLevel": "2"}
    replies = {1: 255, 5: 255, 6: 255, 11: 0}
    wanted = [1, 5, 6, 11]
    silent = False

    def answer(self, conn, req, response):
        if req.flags & 0x7f != 11:
            return super().answer(conn, req, response)
        self.seen.add("nexus reset")
        if not self.silent:
            conn.close()


for _name, _about, _silent_then in (
        ("closes", "I_T NEXUS RESET is answered by the end of the connection", False),
        ("silent", "I_T NEXUS RESET is not answered", True)):
    variant(_NexusReset, "tmf_nexus_reset_" + _name, _about, "tmf", "PL-05", TIMEOUT | LOST,
            {"seconds": 30, "url": "protocol_level=yes", "seen": ("nexus reset",)},
            silent=_silent_then)


@case("tmf", "TM-05 TMR-02", TIMEOUT | LOST, seconds=30)
class tmf_late_data(_Silent):
    """Data and status for a task whose abort is done."""
    def answer(self, conn, req, response):
        super().answer(conn, req, response)
        cmd, _ = self.held
        data_in(conn, cmd, b"\xee" * 4096)
        self.status(conn, cmd, GOOD, data_sn=1)
    replies = {1: 0}


@case("tmf", "TM-04", OK | TIMEOUT, seconds=30)
class tmf_crossed(_Silent):
    """The data and the status come before the answer to the abort."""
    def answer(self, conn, req, response):
        cmd, data = self.held
        self.data(conn, cmd, data)
        super().answer(conn, req, 1)
    replies = {1: 1}


# ---- FastAbort ----------------------------------------------------------------------------------

class _FastAbort(_Silent):
    """Another initiator resets the unit of the first READ, which event 5 tells."""
    params = {"TaskReporting": "FastAbort"}
    held = None
    response = 1  # of the abort: the task does not exist

    def read(self, conn, cmd, data):
        if self.held is not None:
            return self.data(conn, cmd, data)
        super().read(conn, cmd, data)
        self.tell(conn, cmd)

    def tell(self, conn, cmd):
        out = Out(ASYNC, lun=self.unit(cmd))
        out.h[36] = 5
        conn.put(out)

    def unit(self, cmd):
        return cmd.lun

    def tmf(self, conn, req):
        if "nop-out" not in self.seen:
            self.errors.append("ASY-06: event 5 was not acknowledged before anything else")
        first = "abort" not in self.seen
        if first and (req.flags & 0x7f != 1 or req.word(20) != self.held[0].itt):
            self.errors.append("ASY-06: function %d about %#x" % (req.flags & 0x7f, req.word(20)))
        self.seen.add("abort")
        self.answer(conn, req, self.response)


def _fast_abort(name, about, want=OK, seen=("nop-out", "abort"), **more):
    variant(_FastAbort, name, about, "tmf", "ASY-06", want,
            {"seconds": 30, "seen": seen, "url": "task_reporting=FastAbort,ResponseFence,RFC3720"},
            **more)


def _data_as_well(self, conn, cmd):
    _FastAbort.tell(self, conn, cmd)
    self.data(conn, cmd, self.held[1])


def _data_when_asked(self, conn, req, response):
    self.data(conn, *self.held)
    _Silent.answer(self, conn, req, response)


_fast_abort("async_5", "the READ is over: it is asked about at once, and sent again")
_fast_abort("async_5_aborts", "the READ came behind the reset, and its abort is done", response=0)
_fast_abort("async_5_lives", "the READ came behind the reset, and is answered when asked about",
            answer=_data_when_asked)
_fast_abort("async_5_answered", "the READ is answered all the same", seen=("nop-out",),
            tell=_data_as_well)
_fast_abort("async_5_elsewhere", "a unit that nobody uses", seen=("nop-out",),
            unit=lambda self, cmd: bytes([0, 77]) + bytes(6),
            tell=_data_as_well)
_fast_abort("async_5_refused", "nothing is told of the READ: its time limit ends it",
            TIMEOUT | LOST, replies={}, response=255)


@case("tmf", "TMO-01", LOST | TIMEOUT, url="ping_interval=300&ping_timeout=300&timeout=60000",
      seconds=5)
class black_hole_found_by_ping(Target):
    """Silence in the middle of a READ with a long command timeout: the ping finds it."""
    def read(self, conn, cmd, data):
        data_in(conn, cmd, data[:4096])
        conn.freeze()


@case("tmf", "TMO-01 TMO-02", OK, url="ping_interval=300&ping_timeout=300", seconds=30)
class slow_but_moving(Target):
    """2 KiB every 0.1 s, longer than any timeout, and pings go unanswered: still alive."""
    def read(self, conn, cmd, data):
        for sn, at in enumerate(range(0, len(data), 2048)):
            self.wait(0.1)
            data_in(conn, cmd, data[at:at + 2048], sn=sn, at=at,
                    flags=0x81 if at + 2048 >= len(data) else 0)


@case("tmf", "TMO-01", OK, run="read-large", seconds=30,
      url="ping_interval=300&ping_timeout=300&timeout=30000")
class slow_link(Target):
    """One large PDU, 10 KB every 0.1 s: longer than any timeout, and no ping gets through."""
    chunk = 1 << 20

    def write_bytes(self, conn, data):
        if len(data) < 60000:
            return conn.sock.sendall(data)
        for at in range(0, len(data), 10240):
            conn.sock.sendall(data[at:at + 10240])
            self.wait(0.1)


for _code in (1, 2, 3, 77):
    variant(Target, "logout_code_%d" % _code, "answers the logout with code %d" % _code, "tmf",
            "LOR-01 LOUT-05", OK, {"seconds": 30},
            logout=lambda self, conn, req, code=_code: conn.put(Out(0x26, 0x80, code, itt=req.itt)))


# ---- the reason has to be said -----------------------------------------------------------------

for _name, _text in (
        ("close_read", "(?i)clos"), ("data_digest_wrong", "(?i)digest"), ("data_gap", "Data-In"),
        ("data_sn_gap", "DataSN"), ("r2t_for_a_read", "R2T"), ("stat_sn_gap", "StatSN"),
        ("opcode_2a", "(?i)opcode"), ("reject_04", "(?i)reject"), ("nop_with_data", "NOP-In"),
        ("async_drop_all", "(?i)announced|dropped"), ("header_digest_wrong", "(?i)digest"),
        ("response_o_and_u", "(?i)residual|underflow|overflow")):
    _base = CASES[_name]
    variant(_base.target, "reason_" + _name, "says why: " + _base.about, "reason", _base.ids,
            _base.want, {"run": _base.run, "url": _base.url, "seconds": _base.seconds,
                         "text": _text, "quiet": _base.quiet})


def _says(name, about, ids, want, text, options=None, **attributes):
    variant(Target, "reason_" + name, about, "reason", ids, want,
            dict({"seconds": 20, "text": text}, **(options or {})), **attributes)


_says("lost_after_open", "closes while it owes an answer: no advice to look at the route", "SSN-06",
      LOST, r"(?s)\A(?!.*check host).*target's log may say why",
      read=lambda self, conn, cmd, data: conn.close())
_says("controller", "LUN 0 is a controller: the disks begin at 1", "", NOT_FOUND,
      "LUN 0 is not a disk: controller; try /1",
      inquiry=lambda self: bytes([0x0c]) + Target.inquiry(self)[1:])
_says("tape", "LUN 0 is a tape: there may be no LUN 1", "", NOT_FOUND,
      r"LUN 0 is not a disk: tape \(device type 0x01, only raw",
      inquiry=lambda self: bytes([0x01]) + Target.inquiry(self)[1:])
_says("digest_required", "does no digests, and one is required", "TNG-08", LOGIN,
      "header_digest=crc32c,none", {"url": "header_digest=crc32c"},
      header_digest=False, params={"HeaderDigest": "None"})
_says("digest_rejected", "rejects the digest that is required", "TNG-12", LOGIN,
      "data_digest=crc32c,none", {"url": "data_digest=crc32c"}, params={"DataDigest": "Reject"})
_says("digest_not_offered", "requires a digest, and none is offered", "TNG-08", LOGIN,
      "header_digest=crc32c,none", params={"HeaderDigest": "CRC32C"})
_says("chap_ours", "does not take the initiator's secret", "SEC-15", LOGIN,
      r"CHAP, initiator to target", {"user": "user%othersecret12"},
      chap=("user", "secret0secret0"))
_says("chap_its_own", "has another secret of its own", "SEC-16", LOGIN,
      r"CHAP, target to initiator",
      {"user": "user%secret0secret0", "url": "target_user=target&target_password=1secret1secret"},
      chap=("user", "secret0secret0"), mutual=("target", "anothersecret"))
