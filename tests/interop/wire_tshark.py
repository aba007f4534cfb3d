#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""PDUs from our structs and builders, as Wireshark's dissector of iSCSI reads them.

usage: wire_tshark.py GEN_PDUS

Each field of each sample must decode to what was put in, plainly and with digests, and nothing may
be malformed.  A dissector that sees a broken digest must say so, or this test could not fail.
Exit 77: tshark or text2pcap is not installed.
"""
import os
import shutil
import subprocess
import sys
import tempfile

R = 0xFFFFFFFF
ISID = bytes.fromhex("801234560007")
CDB_TAIL = bytes(range(16, 32))

# Short names of the dissector's fields
F = {
    "op": "iscsi.opcode", "I": "iscsi.I", "ahs": "iscsi.totalahslength",
    "dlen": "iscsi.datasegmentlength", "itt": "iscsi.initiatortasktag",
    "ttt": "iscsi.targettransfertag", "lun": "scsi.lun", "cmdsn": "iscsi.cmdsn",
    "expstatsn": "iscsi.expstatsn", "statsn": "iscsi.statsn", "expcmdsn": "iscsi.expcmdsn",
    "maxcmdsn": "iscsi.maxcmdsn", "isid": "iscsi.isid", "tsih": "iscsi.tsih", "cid": "iscsi.cid",
    "T": "iscsi.login.T", "csg": "iscsi.login.csg", "nsg": "iscsi.login.nsg",
    "login": "iscsi.login.status", "keys": "iscsi.keyvalue", "F": "iscsi.scsicommand.F",
    "R": "iscsi.scsicommand.R", "W": "iscsi.scsicommand.W", "attr": "iscsi.scsicommand.attr",
    "edtl": "iscsi.scsicommand.expecteddatatransferlength", "cdb": "scsi_sbc.opcode",
    "fua": "scsi_sbc.fua", "lba": "scsi_sbc.rdwr10.lba", "blocks": "scsi_sbc.rdwr10.xferlen",
    "ahslen": "iscsi.ahs.length", "ahstype": "iscsi.ahs.type", "ecdb": "iscsi.ahs.extended_cdb",
    "bidi": "iscsi.ahs.bidir.length", "dF": "iscsi.scsidata.F", "dA": "iscsi.scsidata.A",
    "dO": "iscsi.scsidata.O", "dU": "iscsi.scsidata.U", "dS": "iscsi.scsidata.S",
    "datasn": "iscsi.datasn", "offset": "iscsi.bufferOffset",
    "dresid": "iscsi.scsidata.readresidualcount", "r2tsn": "iscsi.r2tsn",
    "desired": "iscsi.desireddatalength", "response": "iscsi.scsiresponse.response",
    "status": "iscsi.scsiresponse.status", "o": "iscsi.scsiresponse.o",
    "u": "iscsi.scsiresponse.u", "O": "iscsi.scsiresponse.O", "U": "iscsi.scsiresponse.U",
    "expdatasn": "iscsi.expdatasn", "bresid": "iscsi.scsiresponse.bidireadresidualcount",
    "resid": "iscsi.scsiresponse.residualcount", "senselen": "iscsi.scsiresponse.senselength",
    "key": "scsi.sns.key", "asc": "scsi.sns.ascascq", "tmf": "iscsi.taskmanfun.function",
    "reftag": "iscsi.taskmanfun.referencedtasktag", "refcmdsn": "iscsi.refcmdsn",
    "tmfrsp": "iscsi.taskmanfun.response", "ping": "iscsi.pingdata", "tF": "iscsi.text.F",
    "tC": "iscsi.text.C", "snack": "iscsi.snack.type", "begrun": "iscsi.snack.begrun",
    "run": "iscsi.snack.runlength", "event": "iscsi.asyncevent", "vcode": "iscsi.eventvendorcode",
    "p1": "iscsi.parameter1", "p2": "iscsi.parameter2", "p3": "iscsi.parameter3",
    "reject": "iscsi.reject.reason", "logout": "iscsi.logout.reason",
    "logoutrsp": "iscsi.logout.response", "t2w": "iscsi.time2wait", "t2r": "iscsi.time2retain",
    "data": "iscsi.immediatedata", "pad": "iscsi.padding",
}

WANT = {
    "login_req": dict(op=3, T=1, csg=0, nsg=1, ahs=0, dlen=117, isid=ISID, tsih=0, itt=0x11, cid=3,
                      cmdsn=100, expstatsn=0, pad=bytes(3),
                      keys="InitiatorName=iqn.2024-01.org.example:i|"
                           "TargetName=iqn.2024-01.org.example:t|SessionType=Normal|"
                           "AuthMethod=CHAP,None"),
    "login_rsp": dict(op=0x23, T=1, csg=0, nsg=1, dlen=39, isid=ISID, tsih=0, itt=0x11, statsn=500,
                      expcmdsn=100, maxcmdsn=131, login=0,
                      keys="TargetPortalGroupTag=1|AuthMethod=None"),
    "login_req_final": dict(op=3, T=1, csg=1, nsg=3, dlen=31, cmdsn=100, expstatsn=501,
                            keys="MaxConnections=4|InitialR2T=No"),
    "login_rsp_final": dict(op=0x23, T=1, csg=1, nsg=3, dlen=32, tsih=0x42, statsn=501, login=0,
                            keys="MaxConnections=1|InitialR2T=Yes"),
    "cmd_read": dict(op=1, I=0, F=1, R=1, W=0, attr=1, ahs=0, dlen=0, lun=1, itt=0x21, edtl=1026,
                     cmdsn=100, expstatsn=502, cdb=0x28, fua=1, lba=0x01020304, blocks=2),
    "data_in": dict(op=0x25, dF=0, dA=1, dO=0, dU=0, dS=0, dlen=512, lun=1, itt=0x21,
                    ttt=0x5A5A0001, expcmdsn=101, maxcmdsn=132, datasn=0, offset=0),
    "data_in_status": dict(op=0x25, dF=1, dA=0, dO=0, dU=1, dS=1, dlen=513, itt=0x21, statsn=502,
                           expcmdsn=101, maxcmdsn=132, datasn=1, offset=512, dresid=1, status=4),
    "cmd_write32": dict(op=1, F=1, R=0, W=1, attr=2, ahs=5, dlen=256, lun=1, itt=0x22, edtl=1024,
                        cmdsn=101, cdb=0x7F, ahslen=17, ahstype=1,
                        ecdb=bytes.fromhex("55667788aabbccdd0000000000000002"),
                        data=b"C" * 256),
    "r2t": dict(op=0x31, dlen=0, lun=1, itt=0x22, ttt=0x77, statsn=503, expcmdsn=102, maxcmdsn=133,
                r2tsn=3, offset=256, desired=768),
    "data_out": dict(op=5, dF=1, dlen=7, lun=1, itt=0x22, ttt=0x77, expstatsn=503, datasn=4,
                     offset=1017),
    "scsi_rsp": dict(op=0x21, o=0, u=1, O=0, U=1, response=0, status=2, dlen=20, itt=0x22,
                     statsn=503, expcmdsn=103, maxcmdsn=134, expdatasn=6, bresid=77, resid=1024,
                     senselen=18, key=6, asc=0x2900),
    "cmd_bidi_cdb_first": dict(op=1, F=1, R=1, W=1, ahs=7, ecdb=CDB_TAIL, bidi=0x010203, cdb=0x7F),
    "cmd_bidi_len_first": dict(op=1, F=1, R=1, W=1, ahs=7, ecdb=CDB_TAIL, bidi=0x010203, cdb=0x7F),
    # ExpDataSN is shown for TASK REASSIGN only
    "tmf_req": dict(op=2, I=1, tmf=1, dlen=0, lun=1, itt=0x23, reftag=0x22, cmdsn=103,
                    expstatsn=504, refcmdsn=101),
    "tmf_rsp": dict(op=0x22, tmfrsp=1, itt=0x23, statsn=504, expcmdsn=103, maxcmdsn=134),
    "nop_out": dict(op=0, I=1, dlen=5, lun=300, itt=0x24, ttt=0x88, cmdsn=103, expstatsn=505,
                    ping=b"ping!"),
    "nop_in": dict(op=0x20, dlen=5, itt=0x24, ttt=R, statsn=505, expcmdsn=103, maxcmdsn=134,
                   ping=b"ping!"),
    "text_req": dict(op=4, I=0, tF=1, tC=0, dlen=16, itt=0x25, ttt=R, cmdsn=103, expstatsn=506,
                     keys="SendTargets=All"),
    "text_rsp": dict(op=0x24, tF=0, tC=1, dlen=68, itt=0x25, ttt=0x99, statsn=506, expcmdsn=104,
                     maxcmdsn=135, keys="TargetName=iqn.2024-01.org.example:t|"
                                        "TargetAddress=127.0.0.1:3260,1"),
    "snack_req": dict(op=0x10, snack=1, dlen=0, itt=R, ttt=R, expstatsn=507, begrun=505, run=2),
    "async": dict(op=0x32, event=2, vcode=9, p1=3, p2=2, p3=20, statsn=507, expcmdsn=104,
                  maxcmdsn=135),
    # A Reject holds the rejected header, here a SNACK Request, which the dissector reads as well.
    "reject": dict(op="0x3f|0x10", reject=4, dlen="48|0", statsn=508, expcmdsn=104, maxcmdsn=135,
                   datasn=11),
    "logout_req": dict(op=6, I=1, logout=1, dlen=0, itt=0x26, cid=3, cmdsn=104, expstatsn=509),
    "logout_rsp": dict(op=0x26, logoutrsp=3, dlen=0, itt=0x26, statsn=509, expcmdsn=105,
                       maxcmdsn=136, t2w=2, t2r=20),
}

EXTRA = ["frame.protocols", "_ws.malformed", "_ws.expert.message", "iscsi.headerdigest32",
         "iscsi.datadigest32"]


def run(*command, **more):
    return subprocess.run(command, check=True, capture_output=True, **more).stdout.decode()


def capture(text, path):
    """Makes a capture file of a TCP conversation on port 3260 from text2pcap input."""
    run("text2pcap", "-q", "-D", "-T", "50000,3260", "-", path, input=text.encode())


def fields_of(path):
    """One dictionary per frame: field -> text; several values with | between them."""
    names = EXTRA + sorted(set(F.values()))
    command = ["tshark", "-r", path, "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a",
               "-E", "aggregator=|"]
    for name in names:
        command += ["-e", name]
    out = run(*command)
    return [dict(zip(names, line.split("\t"))) for line in out.splitlines()]


def value_of(text):
    """Numbers as numbers."""
    try:
        return int(text, 0)
    except ValueError:
        return text


def compare(name, want, frame):
    bad = []
    for short, value in want.items():
        text = frame[F[short]]
        got = value_of(text)
        # a field that appears in several trees of one frame, with one value
        if "|" in text and len(set(text.split("|"))) == 1:
            got = value_of(text.split("|")[0])
        if isinstance(value, bytes):  # with or without colons, by version
            got = text.replace(":", "")
            value = value.hex()
        elif short == "lun":
            got &= 0x3FFF  # the dissector shows the two bytes of the address method with it
        if got != value:
            bad.append(f"{name}: {F[short]}: put in {value!r}, read {text!r}")
    return bad


def check(names, path, digests):
    bad = []
    frames = fields_of(path)
    if len(frames) != len(names):
        return [f"{len(names)} PDUs, {len(frames)} frames"]
    for name, frame in zip(names, frames):
        if "iscsi" not in frame["frame.protocols"]:
            bad.append(f"{name}: not taken for iSCSI: {frame['frame.protocols']}")
        if frame["_ws.malformed"] or frame["_ws.expert.message"]:
            bad.append(f"{name}: malformed: {frame['_ws.expert.message'] or 'yes'}")
        bad += compare(name, WANT[name], frame)
        has = bool(frame["iscsi.headerdigest32"])
        if has != (digests and not name.startswith("login")):
            bad.append(f"{name}: header digest {frame['iscsi.headerdigest32'] or 'missing'}")
    return bad


def verdicts(path):
    """How many digests the dissector found good, and how many bad."""
    text = run("tshark", "-r", path, "-V")
    lines = [line for line in text.splitlines() if "Digest: 0x" in line]
    good = sum("(Good CRC32)" in line for line in lines)
    return good, len(lines) - good


def main():
    for tool in ("tshark", "text2pcap"):
        if shutil.which(tool) is None:
            print(f"skipped: {tool} is not installed")
            return 77
    gen = sys.argv[1]
    bad = []
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "pdus.pcapng")
        plain = run(gen)
        names = [line[2:] for line in plain.splitlines() if line.startswith("# ")]
        if sorted(names) != sorted(WANT):
            bad.append(f"samples {set(names) ^ set(WANT)} are on one side only")
            names = []
        if names:
            capture(plain, path)
            bad += check(names, path, False)
            text = run(gen, "digests")
            capture(text, path)
            bad += check(names, path, True)
            good, wrong = verdicts(path)
            # 20 headers; data of 9 PDUs; and the header that a Reject carries, whose data digest
            # the dissector takes for that header's own
            if (good, wrong) != (30, 0):
                bad.append(f"digests: {good} good and {wrong} bad, should be 30 and 0")
            # the check must be able to fail
            broken = text.replace("70 69 6e 67 21", "70 69 6e 67 22")
            capture(broken, path)
            if broken == text or verdicts(path) == (30, 0):
                bad.append("a changed byte under a digest went unnoticed")
    print("\n".join(bad) or f"{len(WANT)} PDUs, {sum(map(len, WANT.values()))} fields, "
          "plainly and with digests: all as put in")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
