# SPDX-License-Identifier: MIT
"""witness.py - watches what the initiator sends on one connection and notes each breach of the RFC.

However badly the target behaves, the initiator's own PDUs have to stay correct;
so every case has this strict observer beside it.  Section numbers: RFC 7143.
"""
from pdu import (ASYNC, DATA_IN, DATA_OUT, LOGIN_REQ, LOGIN_RSP, LOGOUT_REQ, NAMES, NOP_IN, NOP_OUT,
                 R2T, REJECT, RESERVED, SCSI_CMD, SNACK, TEXT_REQ, TEXT_RSP, TMF_REQ, parse_text)

# (offset, mask) that must be zero, per opcode (11.3 to 11.18)
_B23 = [(2, 0xff), (3, 0xff)]
_ZERO = {
    NOP_OUT: _B23 + [(1, 0x7f)] + [(i, 0xff) for i in range(32, 48)],
    SCSI_CMD: _B23 + [(1, 0x18)],
    TMF_REQ: _B23 + [(i, 0xff) for i in range(40, 48)],
    LOGIN_REQ: [(1, 0x30), (22, 0xff), (23, 0xff)] + [(i, 0xff) for i in range(32, 48)],
    TEXT_REQ: _B23 + [(1, 0x3f)] + [(i, 0xff) for i in range(32, 48)],
    DATA_OUT: _B23 + [(1, 0x7f)] + [(i, 0xff) for i in (24, 25, 26, 27, 32, 33, 34, 35, 44, 45, 46,
                                                       47)],
    LOGOUT_REQ: _B23 + [(i, 0xff) for i in range(8, 16)] + [(22, 0xff), (23, 0xff)] +
                [(i, 0xff) for i in range(32, 48)],
}
_SECURITY_KEYS = {"SessionType", "InitiatorName", "TargetName", "InitiatorAlias", "AuthMethod",
                  "CHAP_A", "CHAP_I", "CHAP_C", "CHAP_N", "CHAP_R"}
_ANY_STAGE = {"SessionType", "InitiatorName", "TargetName", "InitiatorAlias"}
# Irrelevant in a Discovery session (13): not to be offered there.
_NOT_IN_DISCOVERY = {"MaxConnections", "InitialR2T", "ImmediateData", "MaxBurstLength",
                     "FirstBurstLength", "MaxOutstandingR2T", "DataPDUInOrder",
                     "DataSequenceInOrder", "TaskReporting", "iSCSIProtocolLevel"}
_CDB_LENGTH = {0: 6, 1: 10, 2: 10, 4: 16, 5: 12}  # by the upper three bits of the opcode
_WORDS = {"Reject", "Irrelevant", "NotUnderstood"}


def sn_lt(a, b):
    """Serial number arithmetic (RFC 1982); a difference of 2^31 is not less."""
    return 0 < ((b - a) & 0xffffffff) < 0x80000000


class Witness:
    def __init__(self):
        self.breaches = []
        self.first_login = None
        self.cmd_sn = None        # the next that a non-immediate command must have
        self.exp_cmd_sn = self.max_cmd_sn = None
        self.stat_sn = None       # the next that the target owes
        self.last_ack = None
        self.full_feature = False
        self.logout_seen = False
        self.tasks = {}           # ITT: Request, of commands that have no status yet
        self.ended = set()
        self.r2ts = {}            # TTT: what was asked for
        self.pings = {}           # TTT: LUN of NOP-Ins that want an answer
        self.unsolicited = {}     # ITT: [DataSN, offset] of an unsolicited burst
        self.limits = {"max_recv": 8192, "first_burst": 65536, "max_burst": 262144,
                       "immediate": True, "initial_r2t": True, "level": 1}
        self.keys_sent = set()
        self.discovery = False
        self.text_due = None      # (ITT, TTT, LUN) that the next Text Request has to continue
        self.csg = None

    def breach(self, rule, what, req=None):
        self.breaches.append("%s: %s%s" % (rule, what, " (%s)" % req if req else ""))

    # ---- from the initiator -------------------------------------------------------------------

    def received(self, req):
        h = req.h
        if h[0] & 0x80:
            self.breach("PDU-02", "bit 7 of the opcode byte is set", req)
        if req.opcode not in (NOP_OUT, SCSI_CMD, TMF_REQ, LOGIN_REQ, TEXT_REQ, DATA_OUT, LOGOUT_REQ,
                              SNACK):
            self.breach("PDU-04", "opcode %#x is not an initiator's" % req.opcode)
            return
        for offset, mask in _ZERO.get(req.opcode, []):
            if h[offset] & mask:
                self.breach("PDU-02", "reserved byte %d is %#x" % (offset, h[offset]), req)
        if any(req.pad):
            self.breach("PDU-08", "padding is not zero", req)
        if req.ahs and req.opcode != SCSI_CMD:
            self.breach("PDU-06", "AHS", req)
        if self.logout_seen:
            self.breach("LGO-02", "request after the Logout Request", req)
        if len(req.data) > (self.limits["max_recv"] if self.full_feature else 8192):
            self.breach("DOU-03", "data segment above the target's limit", req)
        if not self.full_feature and req.opcode != LOGIN_REQ:
            self.breach("LGN-01", "before the end of the login", req)
            return
        if self.full_feature and req.opcode == LOGIN_REQ:
            self.breach("LGN-01", "login after the login", req)
            return
        self._acknowledged(req)
        if req.opcode not in (DATA_OUT, SNACK):
            self._numbered(req)
        {NOP_OUT: self._nop, SCSI_CMD: self._command, LOGIN_REQ: self._login,
         DATA_OUT: self._data_out, LOGOUT_REQ: self._logout, TEXT_REQ: self._text,
         TMF_REQ: self._tmf, SNACK: self._snack}[req.opcode](req)

    def _acknowledged(self, req):
        if self.stat_sn is None or req.opcode == LOGIN_REQ:
            return
        if sn_lt(self.stat_sn, req.exp_stat_sn):
            self.breach("SSN-05", "acknowledges StatSN %u, which was not due" % (
                (req.exp_stat_sn - 1) & 0xffffffff), req)
        if self.last_ack is not None and sn_lt(req.exp_stat_sn, self.last_ack):
            self.breach("SSN-05", "ExpStatSN goes back", req)
        self.last_ack = req.exp_stat_sn

    def _numbered(self, req):
        if req.opcode == LOGIN_REQ:
            if self.cmd_sn is None:
                self.cmd_sn = req.cmd_sn
            elif req.cmd_sn != self.cmd_sn:
                self.breach("CSN-02", "CmdSN changed in the login", req)
            return
        if req.cmd_sn != self.cmd_sn:
            self.breach("CSN-04" if req.immediate else "CSN-03", "CmdSN %u, expected %u" % (req.cmd_sn, self.cmd_sn), req)
        if req.immediate:
            return
        if self.max_cmd_sn is not None and sn_lt(self.max_cmd_sn, req.cmd_sn):
            self.breach("CSN-06", "CmdSN %u above MaxCmdSN %u" % (req.cmd_sn, self.max_cmd_sn), req)
        self.cmd_sn = (req.cmd_sn + 1) & 0xffffffff

    def _login(self, req):
        if not req.immediate:
            self.breach("LGQ-01", "login without I", req)
        if req.more and req.transit:
            self.breach("LGQ-01", "C and T", req)
        if req.h[2] or req.h[3]:
            self.breach("LGQ-02", "a version other than 0", req)
        if self.first_login is None:
            self.first_login = req
            keys = dict(parse_text(req.data))
            self.discovery = keys.get("SessionType") == "Discovery"
            if req.h[14:16] != b"\0\0":
                self.breach("ID-05", "TSIH in a new session", req)
            if "InitiatorName" not in keys:
                self.breach("LGN-03", "no InitiatorName in the first request")
            if "TargetName" not in keys and keys.get("SessionType") != "Discovery":
                self.breach("LGN-03", "no TargetName in the first request")
        else:
            for what, a, b in (("ISID", 8, 14), ("TSIH", 14, 16), ("ITT", 16, 20), ("CID", 20, 22)):
                if req.h[a:b] != self.first_login.h[a:b]:
                    self.breach("ID-07", "%s changed in the login" % what, req)
        if req.csg not in (0, 1) or (self.csg is not None and req.csg < self.csg):
            self.breach("LGN-05", "CSG %d after %s" % (req.csg, self.csg), req)
        self.csg = req.csg
        if req.transit and (req.nsg <= req.csg or req.nsg == 2):
            self.breach("LGN-05", "CSG %d to NSG %d" % (req.csg, req.nsg), req)
        for key, value in parse_text(req.data):
            if key in self.keys_sent and value not in _WORDS:
                self.breach("TNG-13", "%s twice" % key)
            self.keys_sent.add(key)
            if self.discovery and key in _NOT_IN_DISCOVERY and value not in _WORDS:
                self.breach("KEY-15", "%s in a Discovery session" % key)
            if req.csg == 0 and key not in _SECURITY_KEYS and value not in _WORDS:
                self.breach("LGN-11", "%s in the security stage" % key)
            if req.csg == 1 and key in _SECURITY_KEYS - _ANY_STAGE and value not in _WORDS:
                self.breach("LGN-11", "%s in the operational stage" % key)

    def _new_task(self, req):
        if req.itt == RESERVED:
            self.breach("ID-12", "the reserved tag names a task", req)
        if req.itt in self.tasks:
            self.breach("ID-11", "the ITT is in use", req)
        self.ended.discard(req.itt)
        self.tasks[req.itt] = req

    def _command(self, req):
        self._new_task(req)
        lim = self.limits
        if req.immediate:
            self.breach("CSN-22", "an immediate SCSI command", req)
        if not req.final and not req.writes:
            self.breach("CMD-01", "neither W nor F", req)
        size = _CDB_LENGTH.get(req.cdb[0] >> 5)
        if size and any(req.h[32 + size:48]):
            self.breach("CMD-11", "the CDB is not filled with zeroes", req)
        if req.flags & 7 > 4:
            self.breach("CMD-10", "a reserved task attribute", req)
        if req.ahs and size:
            self.breach("PDU-11", "AHS for a short CDB", req)
        if req.edtl and not (req.reads or req.writes):
            self.breach("CMD-03", "a length without a direction", req)
        if req.data:
            if not req.writes:
                self.breach("CMD-08", "data with a command that does not write", req)
            if not lim["immediate"]:
                self.breach("CMD-08", "immediate data, ImmediateData=No", req)
            if len(req.data) > min(lim["first_burst"], req.edtl):
                self.breach("CMD-08", "immediate data above FirstBurstLength or EDTL", req)
        if not req.final:
            if lim["initial_r2t"]:
                self.breach("CMD-08", "F=0 though InitialR2T=Yes", req)
            if len(req.data) == req.edtl:
                self.breach("CMD-05", "F=0 though all of the data is here", req)
            self.unsolicited[req.itt] = [0, len(req.data)]

    def _data_out(self, req):
        itt, offset, size = req.itt, req.word(40), len(req.data)
        if itt in self.ended:
            return  # crossed the status
        task = self.tasks.get(itt)
        if task is None:
            self.breach("DOU-07", "Data-Out for no task", req)
            return
        if req.ttt == RESERVED:
            burst = self.unsolicited.get(itt)
            if burst is None:
                self.breach("CMD-08", "unsolicited Data-Out", req)
                return
            if next(iter(self.unsolicited)) != itt:
                self.breach("CMD-09", "unsolicited data before that of an older command", req)
            total = min(self.limits["first_burst"], task.edtl)
            data_sn, due, end = burst[0], burst[1], total
            burst[0], burst[1] = burst[0] + 1, offset + size
            if req.final:
                del self.unsolicited[itt]
        else:
            r2t = self.r2ts.get(req.ttt)
            if r2t is None or r2t["itt"] != itt:
                self.breach("DOU-01", "Data-Out for no valid R2T", req)
                return
            if req.lun != r2t["lun"]:
                self.breach("DOU-01", "LUN is not the R2T's", req)
            data_sn, due, end = r2t["data_sn"], r2t["next"], r2t["end"]
            r2t["data_sn"], r2t["next"] = data_sn + 1, offset + size
            if req.final:
                del self.r2ts[req.ttt]
        if req.word(36) != data_sn:
            self.breach("DSN-02", "DataSN %u, expected %u" % (req.word(36), data_sn), req)
        if offset != due:
            self.breach("DOU-04", "offset %u, expected %u" % (offset, due), req)
        if offset + size > end:
            self.breach("DOU-03", "past the end of the sequence", req)
        if req.final != (offset + size == end):
            self.breach("DOU-02", "F=%d at %u of %u" % (req.final, offset + size, end), req)
        if size % 4 and not req.final:
            self.breach("DOU-05", "odd length inside a sequence", req)

    def _nop(self, req):
        if req.itt == RESERVED:
            if not req.immediate:
                self.breach("NPO-01", "ITT=R without I", req)
        else:
            self._new_task(req)
        if req.ttt != RESERVED:
            lun = self.pings.pop(req.ttt, None)
            if lun is None:
                self.breach("NPO-02", "answers a NOP-In that is not there", req)
            elif lun != req.lun:
                self.breach("NPO-02", "LUN is not the NOP-In's", req)

    def _logout(self, req):
        if not req.flags & 0x80 or (req.flags & 0x7f) > 2 or req.data:
            self.breach("LGO-01", "bad Logout Request", req)
        self._new_task(req)
        self.logout_seen = True

    def _text(self, req):
        if req.more and req.final:
            self.breach("TXT-03", "C and F", req)
        if any(t.opcode == TEXT_REQ for t in self.tasks.values()):
            self.breach("TXT-01", "a second Text Request", req)
        if self.text_due and req.itt != self.text_due[0]:
            self.breach("TXT-02", "another ITT in a sequence", req)
        if self.text_due and (req.ttt, req.lun) != self.text_due[1:]:
            self.breach("TXT-04", "does not continue the last response", req)
        if not self.text_due and req.ttt != RESERVED:
            self.breach("TXT-04", "continues a text that is over", req)
        if self.discovery and not self.text_due and \
                [k for k, _ in parse_text(req.data)] != ["SendTargets"]:
            self.breach("DSC-03", "not exactly SendTargets", req)
        self.tasks[req.itt] = req

    def _tmf(self, req):
        if not req.flags & 0x80 or req.data:
            self.breach("TMF-01", "bad TMF Request", req)
        function = req.flags & 0x7f
        if function > (12 if self.limits["level"] >= 2 else 8) and function != 14:
            self.breach("PL-02", "function %d below protocol level 2" % function, req)
        if any(t.opcode == TMF_REQ for t in self.tasks.values()):
            self.breach("TMF-09", "a second TMF", req)
        if function in (6, 7, 11) and any(req.lun):
            self.breach("TMF-02", "a LUN with a target reset", req)
        task = self.tasks.get(req.word(20))
        if function == 1 and task:
            if task.lun != req.lun:
                self.breach("TMF-02", "LUN is not the task's", req)
            if task.cmd_sn != req.word(32):
                self.breach("TMF-04", "RefCmdSN is not the task's", req)
        if function in (1, 14) and req.word(20) == RESERVED:
            self.breach("TMF-03", "no Referenced Task Tag", req)
        if function not in (1, 14, 9) and req.word(20) != RESERVED:
            self.breach("TMF-03", "a Referenced Task Tag", req)
        self._new_task(req)

    def _snack(self, req):
        self.breach("SNK-01", "SNACK at ErrorRecoveryLevel 0", req)

    # ---- from the target ----------------------------------------------------------------------

    def sent(self, out):
        op, itt = out.op, out.word(16)
        if op == LOGIN_RSP and out.h[36]:
            return
        if op not in (R2T, NOP_IN, DATA_IN) or (op == DATA_IN and out.h[1] & 1) or \
                (op == NOP_IN and itt != RESERVED):
            stat_sn = out.word(24)
            if self.stat_sn is None or stat_sn == self.stat_sn:
                self.stat_sn = (stat_sn + 1) & 0xffffffff
        exp, top = out.word(28), out.word(32)
        if not sn_lt(top, (exp - 1) & 0xffffffff):
            if self.max_cmd_sn is None or sn_lt(self.max_cmd_sn, top):
                self.max_cmd_sn = top
        if op == NOP_IN and out.word(20) != RESERVED:
            self.pings[out.word(20)] = bytes(out.h[8:16])
        if op == TEXT_RSP:
            self.text_due = None if out.h[1] & 0x80 else (itt, out.word(20), bytes(out.h[8:16]))
        if op == R2T:
            self._asked(out)
        elif op not in (ASYNC, REJECT, DATA_IN, LOGIN_RSP) or (op == DATA_IN and out.h[1] & 1):
            if self.tasks.pop(itt, None):
                self.ended.add(itt)

    def _asked(self, out):
        task = self.tasks.get(out.word(16))
        offset, length, ttt = out.word(40), out.word(44), out.word(20)
        if task is not None and task.opcode == SCSI_CMD and task.writes and not out.data and \
                task.lun == bytes(out.h[8:16]) and \
                length and ttt != RESERVED and offset + length <= task.edtl:
            self.r2ts[ttt] = {"itt": task.itt, "lun": task.lun, "next": offset,
                              "end": offset + length, "data_sn": 0}

    def name(self, op):
        return NAMES.get(op, "%#x" % op)
