# SPDX-License-Identifier: MIT
"""Sessions of several connections, and levels 1 and 2: a target that mixes connections up, loses them,
does not take them, or does not do what it is asked for when one is to be recovered."""
import struct
import threading

from cases_io import _async
from pdu import DATA_IN, DATA_OUT, GOOD, Out, REJECT, RESERVED, SCSI_RSP, SNACK, TMF_RSP
from registry import FAILS, OK, TIMEOUT, variant
from target import Target

URL = "nr_connections=%d&error_recovery_level=%d&replacement_timeout=8&default_time2wait=0" \
      "&timeout=6000&ping_interval=500"
REASSIGN = 8
RECOVERY = 2


class _Several(Target):
    """Takes four connections, and level 2; waits with the first READs and WRITEs until there are three."""
    level = 2
    conns_wanted = 3
    chunk = 2048
    most = {"MaxConnections": 4, "DefaultTime2Wait": 0, "DefaultTime2Retain": 20}

    def setup(self):
        self.most = dict(self.most, ErrorRecoveryLevel=self.level)
        self.lock = threading.RLock()
        self.joined = threading.Event()
        self.exp = None        # CmdSN that the session expects
        self.ahead = set()
        self.session_keys = {}
        self.live = []         # connections in full feature phase
        self.open = {}         # ITT: command that has no status yet
        self.struck = 0
        self.nexus = 0
        self.waited = False

    # ---- one session over all connections

    def answer_key(self, conn, key, value):
        if key in self.most:
            return str(min(self.most[key], int(value)))
        return super().answer_key(conn, key, value)

    def login_step(self, conn, req, pairs):
        with self.lock:
            conn.cid = struct.unpack_from(">H", req.h, 20)[0]
            conn.leading = req.h[14:16] == b"\0\0"
            if conn.leading and conn.number != getattr(self, "leader", None):
                self.leader = conn.number
                self.nexus += 1
                self.exp, self.ahead = req.cmd_sn, set()
                self.open, self.live = {}, []
        return super().login_step(conn, req, pairs)

    def start_full_feature(self, conn):
        if conn.leading:
            self.session_keys = {k: v for k, v in conn.keys.items() if "Digest" not in k}
        else:
            conn.keys = dict(self.session_keys, **conn.keys)
        super().start_full_feature(conn)
        conn.witness.limits["max_recv"] = 65536

    def serve(self, conn):
        try:
            super().serve(conn)
        finally:
            with self.lock:
                self.live = [c for c in self.live if c is not conn]

    def logged_in(self, conn):
        with self.lock:
            self.live.append(conn)
            if not conn.leading:
                self.seen.add("member")
            if len(self.live) >= self.conns_wanted:
                self.joined.set()

    def mutate(self, conn, out):
        out.put(28, self.exp or 0).put(32, (self.exp or 0) + self.window - 1)

    def request(self, conn, req):
        with self.lock:
            if not req.immediate and req.opcode not in (DATA_OUT, SNACK):
                self.ahead.add(req.cmd_sn)
                while self.exp in self.ahead:
                    self.ahead.remove(self.exp)
                    self.exp = (self.exp + 1) & 0xffffffff
            if req.opcode == SNACK:
                return True
        return super().request(conn, req)

    def vpd(self, page, lun):
        if page == 0xb0:  # many small commands
            return bytes([0, 0xb0]) + struct.pack(">HII", 60, 0, 16) + bytes(52)
        return super().vpd(page, lun)

    def wait_for_members(self):
        if not self.waited:
            self.joined.wait(1.5)
        self.waited = True

    def read_command(self, conn, cmd, lun):
        self.wait_for_members()
        self.open[cmd.itt] = cmd
        return self.strike(conn, cmd) or super().read_command(conn, cmd, lun)

    def write_command(self, conn, cmd, lun):
        self.wait_for_members()
        self.open[cmd.itt] = cmd
        return self.strike(conn, cmd) or super().write_command(conn, cmd, lun)

    def strike(self, conn, cmd):
        """What it does with a READ or WRITE instead of what is right; None: nothing."""
        return None

    def tmf(self, conn, req):
        if req.flags & 0x7f != REASSIGN:
            return super().tmf(conn, req)
        return self.reassign(conn, req)

    def reassign(self, conn, req):
        """Does what is right: the task goes on here."""
        cmd = self.open.get(req.word(20))
        if cmd is None:
            return conn.put(Out(TMF_RSP, 0x80, 1, itt=req.itt))
        self.seen.add("reassigned")
        conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
        self.go_on(conn, cmd, req.word(36))

    def go_on(self, conn, cmd, sn):
        lun = self.luns[0]
        offset, size = self.extent(cmd, lun)
        if cmd.reads:
            data, step = bytes(lun.data[offset:offset + size]), max(4, min(self.chunk, conn.max_send) & ~3)
            for n, at in enumerate(range(0, size, step)):
                if n >= sn:
                    Target.piece(self, conn, cmd, n, at, data[at:at + step], at + step >= size)
            if sn * step >= size or not self.phase_collapse:
                self.status(conn, cmd, GOOD, data_sn=(size + step - 1) // step)
            return
        buf = bytearray(size)
        n = min(size, conn.witness.limits["max_burst"])
        for sn, at in enumerate(range(0, size, n)):
            self.collect(conn, cmd, buf, Target.r2t(self, conn, cmd, sn, at, min(n, size - at)), min(n, size - at))
        lun.data[offset:offset + size] = buf
        self.status(conn, cmd, GOOD)

    def once(self, conn, member=True):
        """True for the first time that it is asked about a connection which was added (or leads)."""
        with self.lock:
            if self.struck or conn.leading == member or not self.joined.is_set():
                return False
            self.struck += 1
            self.seen.add("struck")
            return True

    def other(self, conn):
        with self.lock:
            return next((c for c in self.live if c is not conn), conn)

    def wait_after(self, conn):
        """Serves what comes until the initiator ends the connection."""
        while self.request(conn, conn.recv()):
            pass
        conn.close()


def _several(name, about, ids, want, base=_Several, run="read-large", conns=3, level=2, url="", seen=(),
             seconds=40, text=None, **attributes):
    variant(base, "conns_" + name, about, "conns", ids, want,
            {"run": run, "seconds": seconds, "url": URL % (conns, level) + url, "quiet": True, "seen": seen,
             "text": text}, level=level, conns_wanted=conns, **attributes)


for _level in (0, 1, 2):
    _several("plain_read_%d" % _level, "does all that is right at level %d" % _level, "", OK, level=_level,
             seen=("member",))
    _several("plain_write_%d" % _level, "does all that is right at level %d" % _level, "", OK, level=_level,
             run="write", seen=("member",))


# ---- what belongs to one connection comes on another -------------------------------------------------

class _Crossed(_Several):
    what, always = None, False

    def strike(self, conn, cmd):
        if not (self.always and self.joined.is_set()) and not self.once(conn):
            return None
        self.seen.add("struck")
        other = self.other(conn)
        with self.lock:
            getattr(self, "cross_" + self.what)(other, cmd)
        if self.what in ("status", "r2t"):
            self.wait_after(conn)
        return None

    def cross_status(self, other, cmd):
        self.status(other, cmd, GOOD)

    def cross_data(self, other, cmd):
        other.put(Out(DATA_IN, 0, itt=cmd.itt, data=b"\xee" * 512, words=[RESERVED, 0, 0, 0, 0, 0, 0]), None)

    def cross_r2t(self, other, cmd):
        self.r2t(other, cmd, 0, 0, 512)

    def cross_reject(self, other, cmd):
        other.put(Out(REJECT, 0x80, 4, data=cmd.h))

    def cross_tmf(self, other, cmd):
        other.put(Out(TMF_RSP, itt=cmd.itt))


for _what in ("status", "data", "r2t", "reject", "tmf"):
    for _run in ("read-large", "write"):
        for _level in (0, 2):
            _several("crossed_%s_%s_%d" % (_what, _run[:4], _level),
                     "sends %s of a command on another connection" % _what, "ID-13", OK, base=_Crossed,
                     run=_run, level=_level, what=_what)
_several("crossed_always", "answers everything on another connection", "ID-13", FAILS | OK, base=_Crossed,
         what="status", always=True, level=0)


class _SameNumber(_Several):
    """Sends each status on all connections."""
    def status(self, conn, cmd, *args, **kwargs):
        super().status(conn, cmd, *args, **kwargs)
        if cmd.itt in self.open and self.once(conn):
            with self.lock:
                super().status(self.other(conn), cmd, *args, **kwargs)
    phase_collapse = False


for _run in ("read-large", "write"):
    _several("status_twice_" + _run[:4], "sends a status on its connection and on another", "ID-13", OK,
             base=_SameNumber, run=_run)


# ---- one is lost ---------------------------------------------------------------------------------------

class _Drops(_Several):
    stage, times = None, 1

    def drops(self, conn, stage):
        with self.lock:
            if self.stage != stage or self.struck >= self.times:
                return
            self.struck += 1
        conn.close(reset=bool(self.struck % 2))

    def accepted(self, conn):
        if conn.number > 0:
            self.drops(conn, "accepted")

    def login_step(self, conn, req, pairs):
        if conn.number > 0:
            self.drops(conn, "login")
        done = super().login_step(conn, req, pairs)
        if conn.number > 0 and not done:
            self.drops(conn, "login-half")
        return done

    def logged_in(self, conn):
        super().logged_in(conn)
        if not conn.leading:
            self.drops(conn, "logged-in")

    def strike(self, conn, cmd):
        if self.joined.is_set() and not conn.leading:
            self.drops(conn, "command")
        if self.joined.is_set() and conn.leading:
            self.drops(conn, "leading")
        return None

    def piece(self, conn, cmd, sn, at, data, last, residual=0):
        super().piece(conn, cmd, sn, at, data, last, residual)
        if self.joined.is_set() and sn == 1:
            self.drops(conn, "data")

    def r2t(self, conn, cmd, sn, at, size, ttt=None, **change):
        got = super().r2t(conn, cmd, sn, at, size, ttt, **change)
        if self.joined.is_set():
            self.drops(conn, "r2t")
        return got


for _stage in ("accepted", "login", "login-half", "logged-in", "command", "leading", "data", "r2t"):
    for _level in (0, 1, 2):
        for _times in (1, 3):
            _several("drops_%s_%d_%d" % (_stage.replace("-", "_"), _level, _times),
                     "resets a connection %d times (%s)" % (_times, _stage), "SSN-06", OK, base=_Drops,
                     run="write" if _stage == "r2t" else "read-large", level=_level, stage=_stage, times=_times)


# ---- members are not let in ----------------------------------------------------------------------------

class _Refuses(_Several):
    code, times = (2, 0), 1000

    def login_step(self, conn, req, pairs):
        if req.h[14:16] != b"\0\0" and self.struck < self.times:
            self.struck += 1
            to = [("TargetAddress", "127.0.0.1:%d,1" % self.port)] if self.code[0] == 1 else []
            self.refuse(conn, req, *self.code, to)
        return super().login_step(conn, req, pairs)

    def stop(self):
        if len(self.conns) > 150:  # some thirty in a second while the trouble is young
            self.errors.append("%d logins in a few seconds" % len(self.conns))
        super().stop()


for _code in ((1, 1), (1, 2), (2, 0), (2, 1), (2, 2), (2, 6), (2, 8), (2, 9), (2, 10), (3, 0), (3, 1), (3, 2), (9, 9)):
    _several("refuses_%d_%d" % _code, "refuses all members with %02x/%02x" % _code, "LGR-03", OK, base=_Refuses,
             code=_code)
_several("refuses_once", "refuses the first member, and takes the others", "LGR-03", OK, base=_Refuses,
         code=(3, 1), times=1, seen=("member",))


class _OtherTsih(_Several):
    def login_out(self, conn, req, out):
        if conn.number > 0 and out.h[14:16] != b"\0\0":
            out.h[14:16] = b"\x77\x77"
        conn.put(out)


_several("other_tsih", "gives members another TSIH", "LGR-03", OK | FAILS, base=_OtherTsih)


# ---- async messages ------------------------------------------------------------------------------------

class _Tells(_Several):
    event, p1, p2, p3, times = 2, 0, 0, 0, 1

    def strike(self, conn, cmd):
        if self.once(conn):
            p1 = {"own": conn.cid, "other": self.other(conn).cid}.get(self.p1, self.p1)
            for _ in range(self.times):
                _async(self.event, p1, self.p2, self.p3)(self, conn, cmd)
        return None


for _event in (1, 2, 3, 4):
    for _p1 in ("own", "other", 77, 0xffff):
        _several("event_%d_%s" % (_event, _p1), "event %d, of a CID that is %s" % (_event, _p1), "ASY-03", OK,
                 base=_Tells, event=_event, p1=_p1, p3=1)
_several("event_2_storm", "a thousand events 2 of CIDs that are not there", "ASY-03", OK, base=_Tells, p1=500,
         times=1000)
_several("event_2_long", "event 2 with a Time2Wait of 18 hours", "ASY-03", OK | FAILS, base=_Tells, p1="other",
         p2=0xffff, p3=0xffff)


# ---- recovery that does not work -----------------------------------------------------------------------

class _BadLogout(_Drops):
    """Resets a connection under I/O, and answers the Logout for it with a code, or never."""
    code = 0

    def logout(self, conn, req):
        if req.flags & 0x7f == 0:
            return super().logout(conn, req)
        self.seen.add("recovery")
        if self.code is not None:
            conn.put(Out(0x26, 0x80, self.code, itt=req.itt, words=[0, 0, 0, 0, 0, 20]))
        return None

    def request(self, conn, req):
        if req.opcode == 6 and req.flags & 0x7f:
            self.logout(conn, req)
            return True
        return super().request(conn, req)


for _code in (0, 1, 2, 3, 77, None):
    for _level in (0, 2):
        _several("logout_%s_%d" % (_code, _level), "answers the Logout of a lost connection with %s" % _code, "LOR-01",
                 OK, base=_BadLogout, level=_level, code=_code, stage="data")


class _BadReassign(_BadLogout):
    """Resets a connection under I/O, and answers TASK REASSIGN wrongly."""
    answer = None

    def reassign(self, conn, req):
        self.seen.add("reassigned")
        if self.answer == "silent":
            return
        if self.answer == "reject":
            conn.put(Out(REJECT, 0x80, 9, data=req.h))
        elif self.answer == "reject-immediate":
            conn.put(Out(REJECT, 0x80, 6, data=req.h))
        elif self.answer == "nothing":
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
        elif self.answer == "from-the-start":
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
            self.go_on(conn, self.open[req.word(20)], 0)
        elif self.answer == "too-far":
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
            self.go_on(conn, self.open[req.word(20)], req.word(36) + 1)
        elif self.answer == "status-alone":
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
            self.status(conn, self.open[req.word(20)], GOOD)
        elif self.answer == "before":
            self.go_on(conn, self.open[req.word(20)], req.word(36))
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
        elif self.answer == "other":
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
            self.go_on(self.other(conn), self.open[req.word(20)], req.word(36))
        elif self.answer == "close":
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
            conn.close()
        elif self.answer == "twice":
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
            conn.put(Out(TMF_RSP, 0x80, 0, itt=req.itt))
            self.go_on(conn, self.open[req.word(20)], req.word(36))
        else:
            conn.put(Out(TMF_RSP, 0x80, self.answer, itt=req.itt))


for _answer in (1, 2, 3, 4, 5, 6, 7, 100, 255, "silent", "reject", "reject-immediate", "nothing", "from-the-start",
                "too-far", "status-alone", "before", "other", "twice", "close"):
    for _stage in ("data", "r2t"):
        if _stage == "r2t" and _answer == "from-the-start":
            continue
        _several("reassign_%s_%s" % (str(_answer).replace("-", "_"), _stage),
                 "answers TASK REASSIGN with %s" % _answer, "TMR-04",
                 OK | TIMEOUT | FAILS if _answer in ("nothing", "reject-immediate", "status-alone") else OK,
                 base=_BadReassign, run="write" if _stage == "r2t" else "read-large", stage=_stage,
                 answer=_answer)
