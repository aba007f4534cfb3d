# SPDX-License-Identifier: MIT
"""Targets that bend a rule in a way that harms nothing on a single connection: the client goes on,
and says so (docs/design/bends.md).  Each alone, all together, and what is too bent."""

from pdu import DATA_IN, NOP_IN, Out, RESERVED, SCSI_RSP
from registry import FAILS, LOGIN, LOST, OK, case, variant
from target import IQN, Target

ISID = "another ISID"
TSIH = "TSIH 0"
OURS = "keys that only an initiator declares"
STAGE = "begins with the operational stage"
TWICE = "declares a key twice"
NULS = "ends its texts with NULs"
LIST = "takes MD5 alone"
TAG = "Target Transfer Tag 0"
COUNTS = "counts its own pings in StatSN"


class _Bends(Target):
    """Hooks for each bend; a case switches some of them on."""
    isid = None            # what becomes of the ISID
    tsih_zero = False
    repeats = ()           # pairs that each answer has as well
    only_security = None   # how a login that begins elsewhere is refused; "close", or a status
    forgets = False        # what was said in the security stage
    nuls = 0               # behind each text
    list_refused = None    # how a list of CHAP algorithms is refused
    ttt = RESERVED         # of answers to pings
    pings = 0              # of its own before each answer to a command
    counts = False         # those take a StatSN

    def turn_away(self, conn, req, how):
        if how == "close":
            conn.close()
        self.refuse(conn, req, *how)

    def login_step(self, conn, req, pairs):
        first = not hasattr(conn, "begun")
        conn.begun = getattr(conn, "begun", req.csg)
        if first and req.csg == 1 and self.only_security:
            self.turn_away(conn, req, self.only_security)
        if self.forgets and req.csg == 1 and "InitiatorName" not in dict(pairs):
            self.refuse(conn, req, 2, 7)
        return super().login_step(conn, req, pairs)

    def answers(self, conn, req, pairs):
        return super().answers(conn, req, pairs) + list(self.repeats)

    def login_out(self, conn, req, out):
        if self.isid:
            out.h[8:14] = self.isid(bytes(out.h[8:14]))
        if self.tsih_zero:
            out.h[14:16] = b"\0\0"
        out.data += bytes(self.nuls)
        super().login_out(conn, req, out)

    def challenge(self, conn, offered):
        self.seen.add("CHAP_A=" + ",".join(offered))
        if self.list_refused and len(offered) > 1:
            self.turn_away(conn, self.asking, self.list_refused)
        return super().challenge(conn, offered)

    def security(self, conn, req, keys):
        self.asking = req
        return super().security(conn, req, keys)

    def nop_reply(self, conn, req):
        conn.put(Out(NOP_IN, itt=req.itt, words=[self.ttt], data=req.data))

    def text_reply(self, conn, req, data, flags=0x80, ttt=RESERVED):
        super().text_reply(conn, req, data + bytes(self.nuls), flags, ttt)

    def ping(self, conn):
        """A NOP-In that asks for nothing; the next one asks for an answer."""
        conn.pinged = not getattr(conn, "pinged", False)
        conn.put(Out(NOP_IN, itt=RESERVED, words=[RESERVED if conn.pinged else conn.ttt()]),
                 "status" if self.counts else "next")
        if self.counts:
            conn.witness.stat_sn = conn.stat_sn

    def command(self, conn, cmd):
        for _ in range(self.pings):
            self.ping(conn)
        super().command(conn, cmd)


def _extended(isid):
    """As a language without unsigned bytes puts it together."""
    out = bytearray(isid)
    for i in range(len(out) - 1, 0, -1):
        if out[i] & 0x80 and i != 4:  # its 16-bit qualifier stands apart
            out[i - 1] = 0xff
    return bytes(out)


def _bends(name, about, ids, says, want=OK, options=None, **attributes):
    """Two cases: `lunette info`, which says what is bent, and a read with the line of -v."""
    told = "(?s)" + "".join("(?=.*this target bends: it [^\n]*%s)" % s for s in says) if says \
        else None
    options = dict({"seconds": 20}, **(options or {}))
    variant(_Bends, name, about, "bend", ids, want, dict({"run": "info", "output": told}, **options),
            **attributes)
    variant(_Bends, name + "_reads", about, "bend", ids, want,
            dict({"run": "read-v", "text": told}, **options), **attributes)


_bends("bends_not", "a target that bends nothing", "", [])
_bends("isid_zero", "the ISID as zeroes", "ID-07", [ISID], isid=staticmethod(lambda isid: bytes(6)))
_bends("isid_extended", "the ISID with bytes sign-extended", "ID-07", [ISID], isid=staticmethod(_extended),
       options={"url": "isid=80f1c2d300ff"})
_bends("tsih_zero", "TSIH 0 in the final response", "ID-06", [TSIH], tsih_zero=True)
_bends("repeats_target_name", "repeats TargetName", "LGN-11", [OURS],
       repeats=[("TargetName", IQN)])
_bends("repeats_ours", "declares other keys of the initiator", "LGN-11", [OURS],
       repeats=[("SessionType", "Normal"), ("InitiatorAlias", "you")])
_bends("declares_twice", "the portal group tag in each response, twice", "TNG-13", [TWICE],
       repeats=[("TargetPortalGroupTag", "1"), ("TargetPortalGroupTag", "1")])
_bends("forgets_security", "loses what was said in the security stage", "LGN-12", [], forgets=True)
for _how in ((2, 0), (2, 1), (2, 7), "close"):
    _bends("only_security_%s" % ("close" if _how == "close" else "%02x%02x" % _how),
           "takes no login that begins with the operational stage", "LGN-12", [STAGE],
           only_security=_how)
_bends("padded_texts", "NULs behind each text", "TNG-01", [NULS], nuls=3)
_bends("pings_uncounted", "pings before each answer, as they should be", "NPI-02", [], pings=2)
_bends("pings_counted", "pings before each answer, with a StatSN each", "SSN-06", [COUNTS], pings=2,
       counts=True)
_bends("all_at_once", "everything at once", "ID-06 ID-07 LGN-11 TNG-13 TNG-01 SSN-06",
       [ISID, TSIH, OURS, STAGE, TWICE, NULS, COUNTS], isid=staticmethod(lambda isid: bytes(6)), tsih_zero=True,
       repeats=[("TargetName", IQN), ("TargetPortalGroupTag", "1"), ("TargetPortalGroupTag", "1")],
       only_security=(2, 0), nuls=2, pings=1, counts=True, ttt=0)

_CHAP = {"user": "user%secret0secret0"}
for _how in ((2, 0), (2, 1), "close"):
    _bends("list_refused_%s" % ("close" if _how == "close" else "%02x%02x" % _how),
           "takes one CHAP algorithm and no list of them", "SEC-05", [LIST],
           chap=("user", "secret0secret0"), list_refused=_how,
           options=dict(_CHAP, seen=["CHAP_A=5"]))
variant(_Bends, "list_refused_but_set", "the list is the user's: no other is tried", "bend",
        "SEC-05", LOGIN, dict(_CHAP, url="chap_algs=sha3-256,md5", seconds=20),
        chap=("user", "secret0secret0"), list_refused=(2, 0))
variant(_Bends, "list_refused_by_0202", "refused for a reason that is not the list", "bend",
        "SEC-05", LOGIN, dict(_CHAP, seconds=20), chap=("user", "secret0secret0"),
        list_refused=(2, 2))

variant(_Bends, "answers_with_tag_zero", "TTT 0 in answers to pings", "bend", "NPI-01", OK,
        {"run": "ping-v", "text": TAG, "seconds": 20}, ttt=0)
variant(_Bends, "answers_and_asks", "another TTT in answers to pings", "bend", "NPI-01", LOST,
        {"run": "ping", "seconds": 20}, ttt=7)
variant(_Bends, "targets_padded", "NULs behind the targets it lists", "bend", "TNG-01", OK,
        {"run": "discover-v", "output": IQN, "text": NULS, "seconds": 20}, nuls=5)

variant(_Bends, "bends_as_json", "two bends, for scripts", "bend", "ID-06 ID-07", OK,
        {"run": "info-json", "output": r'(?s)"bends": \[\s*"[^"]*ISID[^"]*",\s*"[^"]*TSIH 0[^"]*"\s*\]',
         "seconds": 20}, isid=staticmethod(lambda isid: bytes(6)), tsih_zero=True)
variant(_Bends, "bends_not_as_json", "no bend, for scripts", "bend", "", OK,
        {"run": "info-json", "output": r'"bends": \[\]', "seconds": 20})

# ---- what is too bent ---------------------------------------------------------------------------

variant(_Bends, "other_target_name", "declares another TargetName", "bend", "LGN-11", FAILS,
        {"run": "info", "text": "TargetName is ours to declare", "seconds": 20},
        repeats=[("TargetName", IQN + "x")])
variant(_Bends, "declares_twice_otherwise", "declares a key twice, with two values", "bend",
        "TNG-13", FAILS, {"run": "info", "text": "came twice", "seconds": 20},
        repeats=[("TargetAlias", "a"), ("TargetAlias", "b")])
variant(_Bends, "negotiates_twice", "answers a key twice, with the same value", "bend", "TNG-13",
        FAILS, {"run": "info", "text": "came twice", "seconds": 20},
        answers=lambda self, conn, req, pairs:
        Target.answers(self, conn, req, pairs) + [("ErrorRecoveryLevel", "0")])


@case("bend", "SSN-06", LOST, run="info", seconds=20, text="responses were lost")
class pings_counted_and_one_more(_Bends):
    """A gap of one more than the pings explain."""
    pings, counts = 2, True

    def ping(self, conn):
        super().ping(conn)
        if conn.pinged:
            conn.stat_sn += 1


@case("bend", "SSN-07", LOST, run="info", seconds=20, text="several answers one StatSN")
class one_stat_sn(_Bends):
    """All answers in full feature phase have the StatSN of the first."""
    def put_first(self, conn, out):
        conn.first = getattr(conn, "first", out.word(24))
        out.put(24, conn.first)

    def mutate(self, conn, out):
        if out.op == SCSI_RSP or (out.op == DATA_IN and out.h[1] & 1):
            self.put_first(conn, out)


@case("bend", "SSN-07", FAILS, run="info", seconds=20, text="several answers one StatSN")
class one_stat_sn_in_login(_Bends):
    """All Login Responses have one StatSN."""
    only_security = None

    def login_step(self, conn, req, pairs):
        if req.csg == 1 and pairs:
            self.login_reply(conn, req, self.answers(conn, req, pairs), False, 0)
            return False
        return super().login_step(conn, req, pairs)

    def login_out(self, conn, req, out):
        conn.stat_sn = 500
        super().login_out(conn, req, out)
