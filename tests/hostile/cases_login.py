# SPDX-License-Identifier: MIT
"""Login, negotiation, CHAP, redirection, discovery."""
import hashlib

from pdu import (LOGIN_RSP, NOP_IN, Out, RESERVED, SCSI_RSP, TEXT_RSP, text)
from registry import (ANY, BROKEN_LOGIN, FAILS, LOGIN, LOST, NOT_FOUND, OK, TIMEOUT, USAGE, case, variant)
from target import Target, pattern


# ---- status codes ------------------------------------------------------------------------------

class _Refuses(Target):
    code = (2, 0)

    def login_step(self, conn, req, pairs):
        self.refuse(conn, req, *self.code)


for _class, _detail in [(2, d) for d in range(0, 12)] + [(3, 0), (3, 1), (3, 2), (2, 0x77),
                                                         (3, 0x77), (4, 0), (0xff, 0xff)]:
    _want = NOT_FOUND if (_class, _detail) in ((2, 3), (2, 4)) else LOGIN if _class in (2, 3) \
        else BROKEN_LOGIN
    variant(_Refuses, "status_%02x%02x" % (_class, _detail),
            "login status %d/%02x" % (_class, _detail), "login", "LGN-15", _want,
            {"seconds": 20}, code=(_class, _detail))


@case("login", "LGR-02", LOGIN)
class refusal_with_wild_numbers(Target):
    """A refusal whose StatSN, ExpCmdSN, MaxCmdSN are garbage: they do not count."""
    def login_step(self, conn, req, pairs):
        self.refuse(conn, req, 2, 2)

    def mutate(self, conn, out):
        out.put(24, 0xdeadbeef).put(28, 0x12345678).put(32, 0x11111111)


@case("login", "LGR-03", LOGIN)
class refusal_without_close(Target):
    """A refusal, and the connection stays open: the initiator has to close it."""
    def refuse(self, conn, req, status_class, detail, pairs=()):
        self.login_reply(conn, req, list(pairs), False, 0, (status_class, detail))
        conn.stall()

    def login_step(self, conn, req, pairs):
        self.refuse(conn, req, 2, 2)


@case("login", "LGN-15", LOGIN)
class refusal_with_text(Target):
    """A refusal that carries keys."""
    def login_step(self, conn, req, pairs):
        self.refuse(conn, req, 2, 1, [("TargetAlias", "\x1b[31mgo away\x07")])


# ---- redirection -------------------------------------------------------------------------------

class _Redirects(Target):
    detail = 1
    where = None  # pairs

    def pairs(self):
        return self.where

    def login_step(self, conn, req, pairs):
        self.refuse(conn, req, 1, self.detail, self.pairs())


class _RedirectsWell(_Redirects):
    def setup(self):
        self.helper = Target()
        self.helper.luns = self.luns

    def start(self, port=None):
        super().start(port)
        self.helper.start()

    def stop(self):
        super().stop()
        self.helper.stop()

    def pairs(self):
        return [("TargetAddress", self.spelled % self.helper.port)]


variant(_RedirectsWell, "redirect_temporary", "moved for now, to a target that works", "redirect",
        "LGN-16 LGN-17", OK, detail=1, spelled="127.0.0.1:%d")
variant(_RedirectsWell, "redirect_permanent", "moved for good, to a target that works", "redirect",
        "LGN-16 LGN-17", OK, detail=2, spelled="127.0.0.1:%d")
variant(_RedirectsWell, "redirect_by_name", "moved to a host name", "redirect", "LGN-16", OK,
        detail=1, spelled="localhost:%d")
variant(_RedirectsWell, "redirect_with_tag", "the address has a portal group tag", "redirect",
        "LGN-16", ANY, detail=1, spelled="127.0.0.1:%d,1")


@case("redirect", "LGN-17", BROKEN_LOGIN, seconds=20)
class redirect_to_itself(_Redirects):
    """Redirects to its own address for ever."""
    def pairs(self):
        return [("TargetAddress", "127.0.0.1:%d" % self.port)]


@case("redirect", "LGN-17", BROKEN_LOGIN, seconds=20)
class redirect_loop(_Redirects):
    """Two portals that redirect to each other."""
    def setup(self):
        self.helper = _Redirects()

    def start(self, port=None):
        super().start(port)
        self.helper.where = [("TargetAddress", "127.0.0.1:%d" % self.port)]
        self.where = [("TargetAddress", "127.0.0.1:%d" % self.helper.port)]
        self.helper.start()

    def stop(self):
        super().stop()
        self.helper.stop()


for _name, _where in [
        ("missing", []), ("empty", [("TargetAddress", "")]), ("no_host", [("TargetAddress", ":1")]),
        ("bad_port", [("TargetAddress", "127.0.0.1:99999")]),
        ("port_zero", [("TargetAddress", "127.0.0.1:0")]),
        ("open_bracket", [("TargetAddress", "[::1")]),
        ("escape", [("TargetAddress", "\x1b[2J\x1b]0;x\x07:3260")]),
        ("long", [("TargetAddress", "a" * 5000 + ":3260")]),
        ("closed_port", [("TargetAddress", "127.0.0.1:1")]),
        ("slash", [("TargetAddress", "127.0.0.1/etc/passwd:1")])]:
    variant(_Redirects, "redirect_" + _name, "the new address is unusable: %s" % _name, "redirect",
            "LGN-17", BROKEN_LOGIN | TIMEOUT, {"seconds": 20}, where=_where)


# ---- the login response itself -----------------------------------------------------------------

class _Changed(Target):
    """Changes a field of each login response."""
    last_only = False

    def login_out(self, conn, req, out):
        if not self.last_only or out.h[1] & 0x83 == 0x83:
            self.change(conn, req, out)
        super().login_out(conn, req, out)


def _changed(name, about, ids, change, want=BROKEN_LOGIN, last_only=False, **options):
    variant(_Changed, name, about, "login", ids, want | TIMEOUT if want != OK else OK,
            dict({"seconds": 20}, **options),
            change=lambda self, conn, req, out: change(out), last_only=last_only)


def _flags(clear, put):
    def change(out):
        out.h[1] = out.h[1] & ~clear | put
    return change


def _byte(at, value):
    def change(out):
        out.h[at] = value
    return change


_changed("c_and_t", "C and T", "LGR-01", _flags(0, 0xc0))
_changed("version_active_1", "Version-active 1", "LGR-04", _byte(3, 1))
_changed("wrong_itt", "another ITT", "ID-07", lambda out: out.put(16, 0x12345678))
_changed("reserved_itt", "the reserved tag as ITT", "ID-07", lambda out: out.put(16, RESERVED))
_changed("wrong_isid", "another ISID", "ID-07", lambda out: out.h.__setitem__(9, out.h[9] ^ 0xee),
         url="isid=80a1b2c3000f")
_changed("csg_reserved", "CSG 2", "PDU-03 LGN-05", _flags(0x0c, 0x08))
_changed("csg_full_feature", "CSG 3", "LGN-05", _flags(0x0c, 0x0c))
_changed("nsg_reserved", "NSG 2 with T", "PDU-03 LGN-05", _flags(0x03, 0x82))
_changed("nsg_same", "NSG equal to CSG", "LGN-05",
         lambda out: out.h.__setitem__(1, out.h[1] & 0x8c | out.h[1] >> 2 & 3 | 0x80))
_changed("ffp_at_once", "T and NSG 3 in the first response, asked for or not", "LGR-01",
         _flags(3, 0x83), want=ANY)
_changed("status_class_0_detail_9", "Status-Class 0 with a detail", "LGN-15", _byte(37, 9),
         want=ANY)


@case("login", "LGN-06", BROKEN_LOGIN | TIMEOUT, user="user%secret0secret0",
      url="auth_required=yes", seconds=20)
class transit_unasked(Target):
    """T=1 in answer to a request without T."""
    chap = ("user", "secret0secret0")

    def login_out(self, conn, req, out):
        if not req.transit:
            out.h[1] = out.h[1] & 0x0c | 0x80 | 1
        super().login_out(conn, req, out)


@case("login", "LGN-02", BROKEN_LOGIN | LOST | TIMEOUT, seconds=20)
class two_responses(Target):
    """Each login response twice."""
    def login_out(self, conn, req, out):
        twin = Out(LOGIN_RSP)
        twin.h[:], twin.data = out.h, out.data
        super().login_out(conn, req, out)
        super().login_out(conn, req, twin)


for _op in (SCSI_RSP, NOP_IN, TEXT_RSP, 0x25, 0x31, 0x32, 0x3f):
    def _reply(self, conn, req, pairs, transit, nsg, status=(0, 0), op=_op):
        conn.put(Out(op, itt=req.itt, words=[RESERVED, 0, 0, 0, 0, 0, 0]))
        conn.stall()
    variant(Target, "login_answered_by_%02x" % _op, "answers the login with opcode %#x" % _op,
            "login", "LGN-01", BROKEN_LOGIN | TIMEOUT, {"seconds": 20}, login_reply=_reply)


@case("login", "LGN-07", OK, seconds=20)
class transit_delayed(Target):
    """T=0 three times, then T=1."""
    def login_step(self, conn, req, pairs):
        conn.delays = getattr(conn, "delays", 0) + 1
        if conn.delays in (2, 3, 4) or (conn.delays == 1 and req.csg == 1):
            self.login_reply(conn, req, self.answers(conn, req, pairs), False, 0)
            return False
        return super().login_step(conn, req, pairs)


@case("login", "LGN-06", OK)
class stage_by_stage(Target):
    """Goes to stage 1 when asked for 3."""
    def choose_stage(self, conn, req):
        return 1 if req.csg == 0 else req.nsg


@case("login", "TNG-17", OK)
class target_proposes(Target):
    """Proposes MaxBurstLength and MaxOutstandingR2T itself, and waits for the answer."""
    def login_step(self, conn, req, pairs):
        if req.csg == 1 and not getattr(conn, "proposed", False):
            conn.proposed = True
            out = self.answers(conn, req, pairs)
            own = [("MaxBurstLength", "65536"), ("X-hostile", "1")]
            if "MaxBurstLength" in dict(pairs):
                own = [("X-hostile", "1")]
            self.login_reply(conn, req, out + own, False, 0)
            return False
        if req.csg == 1 and dict(pairs).get("X-hostile", "NotUnderstood") != "NotUnderstood":
            self.errors.append("X-hostile was answered %r" % dict(pairs)["X-hostile"])
        return super().login_step(conn, req, pairs)


class _Splits(Target):
    """Its texts come by the C bit.  The last piece answers an empty request without T, so the
    initiator has to ask for the transit once more."""
    size = 1

    def login_step(self, conn, req, pairs):
        if not pairs:
            return super().login_step(conn, req, pairs)
        data = text(*self.answers(conn, req, pairs))
        while len(data) > self.size:
            conn.put(Out(LOGIN_RSP, 0x40 | req.csg << 2, lun=req.h[8:14] + b"\0\0", itt=req.itt,
                         data=data[:self.size]))
            data = data[self.size:]
            req = conn.recv_new()
            if req.data or req.transit or req.more:
                self.errors.append("TNG-03: the answer to C=1 is not empty: %s" % req)
        self.login_reply(conn, req, [data], False, 0)
        return False


variant(_Splits, "text_in_bytes", "the text of the login one byte at a time", "login", "TNG-03", OK,
        {"seconds": 20}, size=1)
variant(_Splits, "text_in_pieces", "the text of the login 7 bytes at a time", "login", "TNG-03", OK,
        size=7)


# ---- keys --------------------------------------------------------------------------------------

class _Adds(Target):
    """Adds keys to the operational answer."""
    more = []
    stage = 1

    def answers(self, conn, req, pairs):
        out = super().answers(conn, req, pairs)
        if req.csg == self.stage and not conn.keys.get("added"):
            conn.keys["added"] = True
            out = out + list(self.more)
        return out


def _adds(name, about, ids, more, want=BROKEN_LOGIN, stage=1, **options):
    variant(_Adds, name, about, "keys", ids, want if want in (OK, ANY) else want | TIMEOUT,
            dict({"seconds": 20}, **options), more=more, stage=stage)


_adds("unknown_keys", "keys that nobody knows, with T", "TNG-10 LGN-08", [("X-com.example.a", "b")],
      want=ANY)
_adds("duplicate_key", "a key twice", "TNG-13",
      [("MaxRecvDataSegmentLength", "8192"), ("MaxRecvDataSegmentLength", "8192")])
_adds("operational_key_in_security", "MaxBurstLength in the security stage", "LGN-11",
      [("MaxBurstLength", "65536")], stage=0, user="user%secret0secret0")
_adds("chap_key_in_operational", "CHAP_A in the operational stage", "LGN-11", [("CHAP_A", "5")])
_adds("no_equals", "a key without =", "TNG-01", [b"MaxBurstLength\0"])
_adds("empty_key", "an empty key", "TNG-01", [b"=5\0"])
_adds("no_final_nul", "the last NUL is missing", "TNG-01", [b"TargetAlias=abc"])
_adds("long_key", "a key of 64 characters", "TNG-02", [("X" * 64, "1")])
_adds("long_value", "a value of 300 bytes", "TNG-02", [("TargetAlias", "a" * 300)])
_adds("escapes_in_value", "escape sequences in a value", "NAME-13",
      [("TargetAlias", "\x1b[31m\x1b]0;x\x07\r\n")], want=ANY, run="info")
_adds("reject_proposed", "proposes Reject", "TNG-11", [("X-com.example.a", "Reject")], want=ANY)
_adds("target_name", "declares TargetName itself", "TNG-13 KEY-01", [("TargetName", "iqn.x:y")],
      want=ANY)
_adds("markers", "proposes the obsolete markers", "KEY-10", [("OFMarker", "Yes"),
                                                            ("IFMarker", "Yes")], want=ANY)
_adds("alias_not_utf8", "an alias that is not UTF-8", "NAME-13", [b"TargetAlias=\xff\xfe\x80\0"],
      want=ANY, run="info")


class _Answers(Target):
    """Answers a key in its own way; the key is offered by the URL."""


_OFFER = ("max_burst_length=65536&first_burst_length=16384&initial_r2t=no&immediate_data=no"
          "&max_outstanding_r2t=4&task_reporting=RFC3720,ResponseFence&default_time2wait=5&default_time2retain=10&" +
          "header_digest=crc32c,none")


def _answers(name, ids, key, value, want=BROKEN_LOGIN):
    variant(_Answers, name, "answers %s=%s" % (key, value[:40]), "keys", ids,
            want if want in (OK, ANY) else want | TIMEOUT,
            {"url": _OFFER, "seconds": 20, "quiet": want is ANY}, params={key: value})


_answers("burst_not_understood", "TNG-10", "MaxBurstLength", "NotUnderstood")
_answers("burst_rejected", "TNG-12", "MaxBurstLength", "Reject", want=ANY)
_answers("burst_irrelevant", "TNG-12", "MaxBurstLength", "Irrelevant", want=ANY)
_answers("first_burst_irrelevant", "TNG-12", "FirstBurstLength", "Irrelevant", want=ANY)
_answers("burst_above_offer", "TNG-08 KEY-02", "MaxBurstLength", "131072")
_answers("burst_zero", "KEY-01 KEY-02", "MaxBurstLength", "0")
_answers("burst_511", "KEY-01 KEY-02", "MaxBurstLength", "511")
_answers("burst_2_24", "KEY-01 KEY-02", "MaxBurstLength", "16777216")
_answers("burst_2_32", "TNG-05", "MaxBurstLength", str((1 << 32) + 4096))
_answers("burst_2_64", "TNG-05", "MaxBurstLength", str((1 << 64) + 4096))
_answers("burst_negative", "TNG-05", "MaxBurstLength", "-1")
_answers("burst_suffix", "TNG-05", "MaxBurstLength", "64k")
_answers("burst_empty", "TNG-05", "MaxBurstLength", "")
_answers("burst_0x", "TNG-05", "MaxBurstLength", "0x")
_answers("burst_range", "TNG-05", "MaxBurstLength", "512~65536")
_answers("burst_hex", "TNG-05", "MaxBurstLength", "0x8000", want=OK)
_answers("first_above_max", "KEY-06 TNG-15", "FirstBurstLength", "131072")
_answers("time2wait_below_offer", "KEY-02", "DefaultTime2Wait", "1")
_answers("time2wait_huge", "KEY-01", "DefaultTime2Wait", "3601")
_answers("time2retain_above_offer", "KEY-02", "DefaultTime2Retain", "20")
_answers("r2t_above_offer", "KEY-02", "MaxOutstandingR2T", "65535")
_answers("r2t_zero", "KEY-01", "MaxOutstandingR2T", "0")
_answers("immediate_data_yes_to_no", "TNG-08", "ImmediateData", "Yes")
_answers("boolean_maybe", "TNG-08", "InitialR2T", "Maybe")
_answers("boolean_lower_case", "TNG-01", "InitialR2T", "yes")
_answers("digest_not_offered", "TNG-08", "HeaderDigest", "SHA1")
_answers("digest_list", "TNG-08", "HeaderDigest", "CRC32C,None")
_answers("digest_lower_case", "TNG-01", "HeaderDigest", "crc32c")
_answers("digest_reject", "TNG-12", "HeaderDigest", "Reject", want=ANY)
_answers("mrdsl_small", "KEY-01", "MaxRecvDataSegmentLength", "511")
_answers("mrdsl_huge", "KEY-01", "MaxRecvDataSegmentLength", "4294967296")
_answers("mrdsl_zero", "KEY-01", "MaxRecvDataSegmentLength", "0")
_answers("erl_above_offer", "KEY-02 KEY-08", "ErrorRecoveryLevel", "2")
_answers("connections_above_offer", "KEY-02", "MaxConnections", "8")
_answers("task_reporting_unknown", "KEY-11", "TaskReporting", "Sometimes")
_answers("task_reporting_not_understood", "KEY-11", "TaskReporting", "NotUnderstood", want=OK)
_answers("sequence_in_order_no", "KEY-14", "DataSequenceInOrder", "No")


@case("keys", "TNG-07", BROKEN_LOGIN | TIMEOUT, url=_OFFER, seconds=20)
class answers_nothing(Target):
    """T=1 to the final stage without an answer to any key."""
    def negotiate(self, conn, req, pairs):
        return []


@case("keys", "TNG-04", BROKEN_LOGIN | TIMEOUT, seconds=20)
class text_of_a_mebibyte(_Splits):
    """1 MiB of keys by the C bit."""
    size = 8000

    def answers(self, conn, req, pairs):
        return super().answers(conn, req, pairs) + [
            ("X-com.example.%d" % i, "v" * 200) for i in range(5000)]


@case("keys", "TNG-04 TNG-16", BROKEN_LOGIN | TIMEOUT, seconds=20)
class text_without_end(Target):
    """C=1 for ever."""
    def login_reply(self, conn, req, pairs, transit, nsg, status=(0, 0)):
        while True:
            conn.put(Out(LOGIN_RSP, 0x40 | req.csg << 2, lun=req.h[8:14] + b"\0\0", itt=req.itt,
                         data=b"a" * 8000))
            req = conn.recv_new()


@case("keys", "TNG-16", BROKEN_LOGIN | TIMEOUT, seconds=20)
class negotiation_without_end(Target):
    """A new key in each response, never T."""
    def login_step(self, conn, req, pairs):
        conn.count = getattr(conn, "count", 0) + 1
        self.login_reply(conn, req, self.answers(conn, req, pairs) +
                         [("X-com.example.%d" % conn.count, "1")], False, 0)
        return False


@case("keys", "TNG-16", BROKEN_LOGIN | TIMEOUT, seconds=20)
class silence_without_end(Target):
    """Empty responses, never T."""
    def login_step(self, conn, req, pairs):
        self.login_reply(conn, req, self.answers(conn, req, pairs), False, 0)
        return False


@case("keys", "TNG-07", BROKEN_LOGIN | TIMEOUT, seconds=20)
class answers_not_offered(Target):
    """Answers keys that were never offered as though they had been."""
    def negotiate(self, conn, req, pairs):
        return super().negotiate(conn, req, pairs) + [
            ("RDMAExtensions", "Yes"), ("InitiatorName", "iqn.2026-11.example:someone-else")]


# ---- authentication ----------------------------------------------------------------------------

USER, SECRET = "user", "secret0secret0"
TUSER, TSECRET = "target", "1secret1secret"
ONE_WAY = {"user": "%s%%%s" % (USER, SECRET), "seconds": 20}
MUTUAL = {"user": "%s%%%s" % (USER, SECRET), "seconds": 20,
          "url": "target_user=%s&target_password=%s" % (TUSER, TSECRET)}


class _Chap(Target):
    chap = (USER, SECRET)


class _Mutual(_Chap):
    mutual = (TUSER, TSECRET)


variant(_Chap, "chap_ok", "CHAP as it should be", "chap", "SEC-01 SEC-04", OK, dict(ONE_WAY))
variant(_Mutual, "chap_mutual_ok", "mutual CHAP as it should be", "chap", "SEC-01 SEC-04", OK,
        dict(MUTUAL))
variant(_Chap, "chap_no_secret", "wants CHAP of a client that has no secret", "chap", "SEC-02",
        LOGIN)
variant(_Chap, "chap_wrong_secret", "the client has another secret", "chap", "SEC-15", LOGIN,
        {"user": "user%othersecret12"})
variant(_Chap, "chap_wrong_user", "the client has another name", "chap", "SEC-17", LOGIN,
        {"user": "nobody%" + SECRET})


class _Short(_Chap):
    chap = (USER, "elevenbytes")


variant(_Short, "chap_short_secret", "a secret of 11 bytes is not used", "chap", "SEC-10",
        USAGE | LOGIN, {"user": "user%elevenbytes"})
variant(_Short, "chap_short_secret_allowed", "a secret of 11 bytes, allowed by name", "chap",
        "SEC-10", OK, {"user": "user%elevenbytes", "url": "allow_short_secret=yes"})


@case("chap", "SEC-07", OK, **ONE_WAY)
class chap_base64(_Chap):
    """The challenge in base64."""
    def challenge(self, conn, offered):
        import base64
        pairs = dict(super().challenge(conn, offered))
        pairs["CHAP_C"] = "0b" + base64.b64encode(conn.chap_c).decode()
        return list(pairs.items())


class _Challenges(_Chap):
    """Changes the challenge step; value None drops the key."""
    change = {}

    def challenge(self, conn, offered):
        pairs = dict(super().challenge(conn, offered))
        for key, value in self.change.items():
            if value is None:
                pairs.pop(key, None)
            else:
                pairs[key] = value
        return list(pairs.items())

    def prove(self, conn, req, keys):
        conn.keys["authenticated"] = True  # the refusal has to come from the other side
        self.seen.add("response")
        return []


def _challenges(name, ids, change, want=LOGIN):
    variant(_Challenges, name, "CHAP challenge with %s" % ", ".join(
        "%s=%s" % (k, v if v is None else v[:24]) for k, v in change.items()), "chap", ids, want,
            dict(ONE_WAY), change=change)


_REFUSED = LOGIN | LOST
_challenges("chap_algorithm_9", "SEC-05", {"CHAP_A": "9"}, _REFUSED)
_challenges("chap_algorithm_0", "SEC-05", {"CHAP_A": "0"}, _REFUSED)
_challenges("chap_algorithm_list", "SEC-05 TNG-08", {"CHAP_A": "5,7"}, _REFUSED)
_challenges("chap_algorithm_huge", "SEC-05", {"CHAP_A": "4294967301"}, _REFUSED)
_challenges("chap_no_algorithm", "SEC-04", {"CHAP_A": None}, _REFUSED)
_challenges("chap_no_id", "SEC-04", {"CHAP_I": None}, _REFUSED)
_challenges("chap_no_challenge", "SEC-04", {"CHAP_C": None}, _REFUSED)
_challenges("chap_id_256", "SEC-04", {"CHAP_I": "256"}, _REFUSED)
_challenges("chap_id_negative", "SEC-04", {"CHAP_I": "-1"}, _REFUSED)
_challenges("chap_empty_challenge", "SEC-07", {"CHAP_C": "0x"}, _REFUSED)
_challenges("chap_challenge_nothing", "SEC-07", {"CHAP_C": ""}, _REFUSED)
_challenges("chap_challenge_1025", "SEC-07", {"CHAP_C": "0x" + "a5" * 1025}, _REFUSED)
_challenges("chap_challenge_1024", "SEC-07", {"CHAP_C": "0x" + "a5" * 1024}, OK)
_challenges("chap_challenge_one_byte", "SEC-07", {"CHAP_C": "0x5"}, OK)
_challenges("chap_challenge_4000", "SEC-07", {"CHAP_C": "0x" + "a5" * 3900}, _REFUSED)
_challenges("chap_bad_hex", "TNG-05", {"CHAP_C": "0x12zz"}, _REFUSED)
_challenges("chap_bad_base64", "TNG-06", {"CHAP_C": "0bAAA*"}, _REFUSED)
_challenges("chap_decimal_challenge", "TNG-05", {"CHAP_C": "123456"}, _REFUSED)
_challenges("chap_extra_key", "SEC-04", {"CHAP_R": "0x00"}, _REFUSED)
_challenges("chap_extra_name", "SEC-04", {"CHAP_N": "me"}, _REFUSED)


@case("chap", "SEC-03", LOGIN | LOST, **MUTUAL)
class chap_dodged(_Mutual):
    """Chooses None although mutual authentication is asked for."""
    def security(self, conn, req, keys):
        conn.keys["authenticated"] = True
        return [("AuthMethod", "None")]


@case("chap", "SEC-02 TNG-08", LOGIN | LOST, **ONE_WAY)
class chap_other_method(_Chap):
    """Chooses KRB5, which was not offered."""
    def security(self, conn, req, keys):
        return [("AuthMethod", "KRB5")]


@case("chap", "SEC-02", LOGIN | LOST, **ONE_WAY)
class chap_method_rejected(_Chap):
    """AuthMethod=Reject."""
    def security(self, conn, req, keys):
        return [("AuthMethod", "Reject")]


@case("chap", "SEC-02 TNG-07", LOGIN | LOST | TIMEOUT, **ONE_WAY)
class chap_method_unanswered(_Chap):
    """No answer to AuthMethod."""
    def security(self, conn, req, keys):
        return []


class _Proofs(_Mutual):
    """What the target proves itself with."""
    proof = []

    def mutual_answer(self, conn, ident, chal):
        return self.make(conn, ident, chal, dict(super().mutual_answer(conn, ident, chal)))


def _proof(name, about, ids, make, want=_REFUSED):
    variant(_Proofs, name, about, "chap", ids, want, dict(MUTUAL),
            make=lambda self, conn, ident, chal, good: make(ident, chal, good))


def _md5(ident, secret, chal):
    return "0x" + hashlib.md5(bytes([ident]) + secret.encode() + chal).hexdigest()


_proof("mutual_nothing", "no proof at all", "SEC-16", lambda i, c, g: [])
_proof("mutual_no_response", "a name without CHAP_R", "SEC-16",
       lambda i, c, g: [("CHAP_N", TUSER)])
_proof("mutual_no_name", "CHAP_R without a name", "SEC-16 SEC-04",
       lambda i, c, g: [("CHAP_R", g["CHAP_R"])])
_proof("mutual_wrong_response", "a wrong CHAP_R", "SEC-16",
       lambda i, c, g: [("CHAP_N", TUSER), ("CHAP_R", "0x" + "11" * 16)])
_proof("mutual_wrong_name", "the right CHAP_R under another name", "SEC-16",
       lambda i, c, g: [("CHAP_N", "somebody"), ("CHAP_R", g["CHAP_R"])])
_proof("mutual_reflected", "answers with the initiator's own secret", "SEC-12",
       lambda i, c, g: [("CHAP_N", TUSER), ("CHAP_R", _md5(i, SECRET, c))])
_proof("mutual_short", "the first 15 bytes of the right CHAP_R", "SEC-06",
       lambda i, c, g: [("CHAP_N", TUSER), ("CHAP_R", g["CHAP_R"][:-2])])
_proof("mutual_long", "the right CHAP_R and a byte", "SEC-06",
       lambda i, c, g: [("CHAP_N", TUSER), ("CHAP_R", g["CHAP_R"] + "00")])
_proof("mutual_empty", "an empty CHAP_R", "SEC-06",
       lambda i, c, g: [("CHAP_N", TUSER), ("CHAP_R", "0x")])
_proof("mutual_huge", "a CHAP_R of 3000 bytes", "SEC-07",
       lambda i, c, g: [("CHAP_N", TUSER), ("CHAP_R", "0x" + "00" * 3000)])
_proof("mutual_extra_challenge", "challenges again", "SEC-04",
       lambda i, c, g: list(g.items()) + [("CHAP_C", "0x" + "22" * 16)])


@case("chap", "SEC-11 SEC-12", USAGE, user="user%secret0secret0", seconds=20,
      url="target_user=target&target_password=secret0secret0")
class mutual_same_secret(_Chap):
    """The client has one secret for both ways; the target mirrors."""
    mutual = ("target", SECRET)


@case("chap", "SEC-13 SEC-14", LOGIN | LOST | TIMEOUT, **MUTUAL)
class challenge_replayed(_Mutual):
    """On a second connection, challenges with what the initiator asked on the first one."""
    asked = None

    def setup(self):
        Target.setup(self)

    def mutual_answer(self, conn, ident, chal):
        self.asked = (ident, chal)
        conn.close()

    def challenge(self, conn, offered):
        pairs = super().challenge(conn, offered)
        if self.asked:
            conn.chap_id, conn.chap_c = self.asked
            pairs = [("CHAP_A", "5"), ("CHAP_I", str(conn.chap_id)),
                     ("CHAP_C", "0x" + conn.chap_c.hex())]
        return pairs


@case("chap", "SEC-16", LOGIN | LOST, **MUTUAL)
class mutual_skipped(_Mutual):
    """Goes to the full feature phase right after the challenge was due."""
    def security(self, conn, req, keys):
        conn.keys["authenticated"] = True
        return [("AuthMethod", "CHAP")] if "AuthMethod" in keys else []

    def login_out(self, conn, req, out):
        out.h[1] = out.h[1] & 0x0c | 0x83
        out.h[14:16] = b"\1\2"
        super().login_out(conn, req, out)


# ---- discovery ---------------------------------------------------------------------------------

class _DiscoveryChap(_Chap):
    """What a discovery offers is refused; or only what is its own is taken."""
    taken = None  # (user, secret) of discoveries; None: nothing but None

    def security(self, conn, req, keys):
        self.seen.add(keys.get("AuthMethod", ""))
        if self.taken is None and keys.get("AuthMethod", "None") != "None":
            self.how(conn, req)
        if "AuthMethod" in keys and self.taken is None:
            conn.keys["authenticated"] = True
            return [("AuthMethod", "None")]
        return super().security(conn, req, keys)

    def answers(self, conn, req, pairs):
        if self.taken is None:
            conn.keys["authenticated"] = True  # a login that begins without the security stage
        return super().answers(conn, req, pairs)

    def how(self, conn, req):
        self.refuse(conn, req, 2, 1)


def _discovers(name, about, want, url="", **attributes):
    variant(_DiscoveryChap, name, about, "discovery", "SEC-02", want,
            {"run": "discover-url", "user": "%s%%%s" % (USER, SECRET), "url": url, "seconds": 20,
             "output": "TargetName|hostile" if want == OK else None}, **attributes)


_discovers("discovery_without", "refuses the session's credentials in discovery", OK)
_discovers("discovery_method_rejected", "rejects the list of methods in discovery", OK,
           how=lambda self, conn, req: (self.login_reply(
               conn, req, [("AuthMethod", "Reject")], False, 0), conn.stall()))
_discovers("discovery_insists", "refuses them, and the user insists", LOGIN, "discovery_auth=chap")
_discovers("discovery_requires", "refuses them, and authentication is required", LOGIN,
           "auth_required=yes")
_discovers("discovery_never_offers", "the user offers none", OK, "discovery_auth=none",
           how=lambda self, conn, req: self.errors.append("was offered credentials"))
_discovers("discovery_takes", "takes the session's", OK, "discovery_auth=chap",
           taken=(USER, SECRET))


class _DiscoveryOtherSecret(_DiscoveryChap):
    chap = taken = (USER, "other" + SECRET)


variant(_DiscoveryOtherSecret, "discovery_other_secret",
        "has another secret, and takes no discovery without: what is wrong is the secret", "discovery",
        "SEC-15", LOGIN, {"run": "discover-url", "user": "%s%%%s" % (USER, SECRET), "seconds": 20,
                          "text": "check the CHAP user and secret"})


class _Records(Target):
    lines = []

    def records(self):
        return self.lines


def _records(name, about, ids, lines, want=FAILS, **options):
    variant(_Records, name, about, "discovery", ids, want,
            dict({"run": "discover", "seconds": 20}, **options), lines=lines)


_GOOD = [("TargetName", "iqn.2026-11.example:a"), ("TargetAddress", "127.0.0.1:3260,1")]
_records("records_empty", "no target at all", "DSC-04", [], OK)
_records("records_no_address", "a name without an address: the one in use", "DSC-04",
         [("TargetName", "iqn.2026-11.example:a")], OK)
_records("records_many_addresses", "IPv6 and several portals", "DSC-04",
         _GOOD + [("TargetAddress", "[fe80::1]:3260,2"), ("TargetAddress", "host.example,3"),
                  ("TargetAddress", "[::1],65535")], OK)
_records("records_address_first", "an address before any name", "DSC-04", _GOOD[::-1])
_records("records_other_key", "a key that has no place there", "DSC-04",
         _GOOD + [("MaxBurstLength", "65536")])
_records("records_no_equals", "a key without =", "TNG-01", _GOOD + [b"TargetAddress\0"])
_records("records_no_nul", "the last NUL is missing", "TNG-01", _GOOD + [b"TargetName=iqn.2026-11.x:b"])
_records("records_escape_name", "escape sequences in a name", "NAME-03 DSC-04",
         [("TargetName", "iqn.2026-11.example:\x1b[31mred\x1b]0;t\x07")], ANY)
_records("records_newline_name", "a line end in a name", "NAME-03 DSC-04",
         [("TargetName", "iqn.2026-11.example:a\niqn.2026-11.example:b")], ANY)
_records("records_escape_address", "escape sequences in an address", "DSC-04",
         _GOOD[:1] + [("TargetAddress", "\x1b[2J:3260,1")], ANY)
_records("records_long_name", "a name of 300 bytes", "NAME-02",
         [("TargetName", "iqn.2026-11.example:" + "a" * 280)], ANY)
_records("records_long_address", "an address of 6000 bytes", "DSC-04",
         _GOOD[:1] + [("TargetAddress", "a" * 6000 + ":3260,1")], ANY)
_records("records_bad_port", "port 70000", "DSC-04",
         _GOOD[:1] + [("TargetAddress", "127.0.0.1:70000,1")], ANY)
_records("records_bad_tag", "portal group tag 65536", "DSC-04",
         _GOOD[:1] + [("TargetAddress", "127.0.0.1:3260,65536")], ANY)
_records("records_empty_name", "an empty name", "NAME-06", [("TargetName", "")], ANY)
_records("records_twice", "the same target twice", "DSC-04", _GOOD * 2, ANY)
_ODD = ["iqn.2026-11.example:my_lun", "iqn.com.example-10", "iqn.2026-1.example:vg0",
        "IQN.2026-11.example:Disk", "iqn.2026-11.example:\u00e9\u009b31m", "a/b?c%41"]
_records("records_odd_names", "names outside of the grammar are listed as told", "DSC-04",
         [("TargetName", n) for n in _ODD] + _GOOD, OK, text="! IQN.2026-11.example:Disk: .* no capitals",
         output=r"iqn.2026-11.example:my_lun !\n.*iqn.com.example-10 !\n.*iqn.2026-1.example:vg0 !\n"
                r".*IQN.2026-11.example:Disk !\n.*iqn.2026-11.example:%E9%9B31m !\n"
                r".*a%2Fb%3Fc%2541 !\n127.0.0.1:3260,1 iqn.2026-11.example:a\n")
_records("records_blank_name", "a name that cannot be sent is left out, which is said", "DSC-04",
         [("TargetName", "a b")] + _GOOD, OK, text="discovery: 1 targets left out",
         output=r"^127.0.0.1:3260,1 iqn.2026-11.example:a\n$")
_records("records_odd_address", "an address that cannot be understood is shown as it came", "DSC-04",
         _GOOD[:1] + [("TargetAddress", "\x1b[2J host:x,1"), ("TargetAddress", "127.0.0.1:70000,1")], OK,
         text="the port must be 1..65535",
         output=r"%1B\[2J%20host:x,1 iqn.2026-11.example:a !\n127.0.0.1:70000,1 iqn.2026-11.example:a !\n")


@case("discovery", "NAME-03", NOT_FOUND, seconds=20, text="only target is iqn[^ ]*%E9%9B31m")
class odd_name_is_offered(_Records):
    """Does not know the target; the one that it tells of may steer a terminal."""
    lines = [("TargetName", _ODD[4])]

    def answers(self, conn, req, pairs):
        if "TargetName" in dict(pairs):
            self.refuse(conn, req, 2, 3)
        return super().answers(conn, req, pairs)


_records("records_binary", "random bytes", "FMT-03", [pattern(4000)])


class _Text(Target):
    """Answers SendTargets with its own PDU."""
    flags, ttt = 0x80, RESERVED

    def send_targets(self, conn, req):
        self.text_reply(conn, req, b"".join(
            ("%s=%s" % p).encode() + b"\0" for p in self.records()), self.flags, self.ttt)


for _name, _flags_, _ttt, _want, _about in [
        ("text_f0_no_ttt", 0, RESERVED, FAILS, "F=0 with the reserved TTT"),
        ("text_c_and_f", 0xc0, RESERVED, FAILS, "C and F"),
        ("text_f1_with_ttt", 0x80, 0x33, ANY, "F=1 with a TTT")]:
    variant(_Text, _name, _about, "discovery", "TXR-01 TXR-03", _want | TIMEOUT,
            {"run": "discover", "seconds": 20}, flags=_flags_, ttt=_ttt)


class _Long(Target):
    """SendTargets in pieces."""
    size, count, c_bit = 512, 2000, True

    def send_targets(self, conn, req):
        data = b"".join(b"TargetName=iqn.2026-11.example:target-%05d\0"
                        b"TargetAddress=10.0.0.1:3260,1\0" % i for i in range(self.count))
        size = min(self.size, conn.max_send)
        pieces = [data[i:i + size] for i in range(0, len(data), size)]
        for i, piece in enumerate(pieces):
            last = i == len(pieces) - 1
            self.text_reply(conn, req, piece, 0x80 if last else 0x40 if self.c_bit else 0,
                            RESERVED if last else 0x1234)
            if not last:
                req = conn.recv()
                if req.opcode != 4 or req.ttt != 0x1234 or req.data:
                    self.errors.append("TXT-04: wrong continuation: %s" % req)


variant(_Long, "targets_2000", "2000 targets by the C bit", "discovery", "DSC-05", OK,
        {"run": "discover", "seconds": 30, "output": "target-01999"})
variant(_Long, "targets_without_c", "2000 targets by F=0", "discovery", "DSC-05", OK,
        {"run": "discover", "seconds": 30, "output": "target-01999"}, c_bit=False)
variant(_Long, "targets_split_anywhere", "pieces of 11 bytes", "discovery", "DSC-05", OK,
        {"run": "discover", "seconds": 30, "output": "target-00019"}, size=11, count=20)


for _name, _size, _c in [("declared", 1 << 24, True), ("odd", 997, False)]:
    variant(_Long, "targets_10000_" + _name, "10,000 targets in responses of the %s size" % _name,
            "discovery", "DSC-05", OK,
            {"run": "discover", "seconds": 30, "output": r"^(\S+ iqn\S+:target-\d{5}\n){10000}$"},
            size=_size, c_bit=_c, count=10000)


@case("discovery", "TNG-04 DSC-05", FAILS, run="discover", seconds=30)
class targets_without_end(Target):
    """Continues for ever."""
    def send_targets(self, conn, req):
        n = 0
        while True:
            self.text_reply(conn, req, b"".join(
                b"TargetName=iqn.2026-11.example:t%09d\0" % (n + i) for i in range(180)), 0x40, 0x77)
            n += 180
            req = conn.recv()


@case("discovery", "TNG-16", FAILS, run="discover", seconds=30)
class empty_continuation_without_end(Target):
    """Continues for ever without a byte."""
    nothing = b""

    def send_targets(self, conn, req):
        while True:
            self.text_reply(conn, req, self.nothing, 0, 0x77)
            req = conn.recv()


variant(empty_continuation_without_end, "nuls_without_end", "Continues for ever with NULs", "discovery",
        "TNG-16", FAILS, {"run": "discover", "seconds": 30}, nothing=b"\0\0")


@case("discovery", "ID-14", FAILS, run="discover", seconds=20)
class text_wrong_itt(Target):
    """The answer has another ITT."""
    def mutate(self, conn, out):
        if out.op == TEXT_RSP:
            out.put(16, 0x4444)


@case("discovery", "DSC-01", ANY, run="discover", seconds=20)
class text_answered_twice(Target):
    """The answer twice."""
    def send_targets(self, conn, req):
        super().send_targets(conn, req)
        super().send_targets(conn, req)


@case("discovery", "REJ-02", FAILS, run="discover", seconds=20)
class text_rejected(Target):
    """A Reject instead of the answer."""
    def send_targets(self, conn, req):
        conn.put(Out(0x3f, 0x80, 5, data=req.h))


@case("login", "DSC-01", LOGIN, run="discover")
class discovery_refused(Target):
    """Refuses discovery: session type not supported."""
    def login_step(self, conn, req, pairs):
        self.refuse(conn, req, 2, 9)

