#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The PDUs of whole sessions on the wire, as Wireshark's dissector of iSCSI reads them.

usage: wire_session.py CAPTURE RELAY-PORT TARGET-PORT

The sessions went through a relay that spoils and loses some of what passes.  What the initiator sends
is taken before the relay, and what the target sends before the relay as well, so that all of it is as
they have sent it: nothing is malformed, no digest is bad, no field is one that the dissector does not
know, what is reserved is 0, and the tags and numbers of repairs name what they should.  Each kind of
PDU that the sessions are to show has to be there, or this test would prove nothing.
"""
import collections
import json
import os
import re
import struct
import subprocess
import sys
import tempfile

NONE = 0xFFFFFFFF

# opcode: name, and the bits of byte 1 that are reserved (RFC 7143 11.2 to 11.17)
KINDS = {
    0x00: ("NOP-Out", 0x7F), 0x01: ("SCSI Command", 0x18), 0x02: ("Task Management", 0),
    0x03: ("Login Request", 0x30), 0x04: ("Text Request", 0x3F), 0x05: ("Data-Out", 0x7F),
    0x06: ("Logout Request", 0), 0x10: ("SNACK", 0x70), 0x20: ("NOP-In", 0x7F),
    0x21: ("SCSI Response", 0x61), 0x22: ("Task Management Response", 0x7F),
    0x23: ("Login Response", 0x30), 0x24: ("Text Response", 0x3F), 0x25: ("Data-In", 0x38),
    0x26: ("Logout Response", 0x7F), 0x31: ("R2T", 0x7F), 0x32: ("Async Message", 0x7F),
    0x3F: ("Reject", 0x7F),
}

# Fields that the dissector does not show: the CDB, which is another one's; a Target Transfer Tag that is
# none; an Initiator Task Tag that is always none; ExpDataSN.
NOT_SHOWN = {0x01: range(32, 48), 0x02: range(36, 40), 0x25: range(20, 24), 0x3F: range(16, 20),
             0x32: range(16, 20)}

# What the sessions have to show, beside one of each kind.
SHOWN = ["SNACK for data", "SNACK for status", "DataACK", "TASK REASSIGN", "Logout for recovery",
         "Logout of the session", "Async event 2", "Reject for a data digest", "CHAP",
         "a command that goes again", "four connections"]

# What the dissector calls a thing that it does not know or does not like.  It does not know the command
# of data that come on another connection, after a TASK REASSIGN.
ODD = re.compile(r"Unknown (?!SCSI exchange)|[Mm]alformed|Bad CRC|[Ii]nvalid|Vendor Specific|Expert Info(?!.*Unknown SCSI exchange)")


def run(*command):
    return subprocess.run(command, check=True, capture_output=True).stdout.decode()


def segments(path, ports):
    """(stream, to the target?, sequence number, payload) of what the two sides have sent."""
    out = run("tshark", "-r", path, "-Y", f"tcp.len > 0 && (tcp.dstport == {ports[0]} || tcp.srcport == {ports[1]})",
              "-o", "tcp.desegment_tcp_streams:FALSE", "-d", f"tcp.port=={ports[0]},data",
              "-d", f"tcp.port=={ports[1]},data", "-T", "fields", "-e", "tcp.stream", "-e", "tcp.dstport",
              "-e", "tcp.seq_raw", "-e", "tcp.payload")
    for line in out.splitlines():
        stream, to, seq, payload = line.split("\t")
        yield int(stream), to == ports[0], int(seq), bytes.fromhex(payload.replace(":", ""))


def pdu_length(data):
    """Of the PDU that begins here; all but those of the login phase have both digests."""
    if len(data) < 48:
        return 48
    digest = 0 if data[0] & 0x3F in (0x03, 0x23) else 4
    length = int.from_bytes(data[5:8], "big")
    return 48 + 4 * data[4] + digest + (length + 3 & ~3) + (digest if length else 0)


def whole_pdus(path, ports):
    """(stream, to the target?, PDU), in the order in which they were complete.  What a cut has left of
    a PDU is none."""
    held, expected = collections.defaultdict(bytes), {}
    for stream, ours, seq, payload in segments(path, ports):
        way = stream, ours
        ahead = seq - expected.setdefault(way, seq) & NONE
        if 0 < ahead < 1 << 31:
            sys.exit(f"stream {stream}: the capture has lost packets")
        # What TCP has sent again, as it does where the machine is slow, has come before.
        payload = payload[-ahead & NONE:]
        expected[way] = expected[way] + len(payload) & NONE
        data = held[way] + payload
        while len(data) >= pdu_length(data):
            yield stream, ours, data[:pdu_length(data)]
            data = data[pdu_length(data):]
        held[way] = data


def rewrite(path, ports, to):
    """A capture with one frame for each PDU: where several come in one segment the dissector, which
    learns of data digests as they come, takes the first for the beginning of the next PDU."""
    seqs, at = collections.Counter(), 0
    with open(to, "wb") as f:
        f.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 1 << 20, 101))  # LINKTYPE_RAW
        for stream, ours, pdu in whole_pdus(path, ports):
            here, there = 10000 + stream, 3260
            way, back = (stream, ours), (stream, not ours)
            tcp = struct.pack(">HHIIBBHHH", here if ours else there, there if ours else here,
                              1 + seqs[way], 1 + seqs[back], 0x50, 0x18, 65535, 0, 0)
            seqs[way] += len(pdu)
            if len(pdu) > 65000:
                sys.exit("a PDU that is too long for one packet")
            ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 40 + len(pdu), 0, 0, 64, 6, 0, b"\x7f\0\0\1",
                             b"\x7f\0\0\1")
            frame = ip + tcp + pdu
            f.write(struct.pack("<IIII", at // 1000000, at % 1000000, len(frame), len(frame)) + frame)
            at += 1000


def tshark(path, *more):
    return run("tshark", "-r", path, "-d", "tcp.port==3260,iscsi", "-Y", "iscsi", *more)


class Pairs(list):
    """An object of JSON whose names come several times: a frame may hold several PDUs."""

    def get(self, name):
        return next((value for key, value in self if key == name), None)


def raw_of(node):
    """All (position, length) that the dissector has shown something of below a node."""
    for key, value in node if isinstance(node, Pairs) else []:
        if key.endswith("_raw") and isinstance(value, list) and not isinstance(value, Pairs):
            yield value[1], value[2]
        elif isinstance(value, Pairs):
            yield from raw_of(value)


class Pdu:
    def __init__(self, frame, stream, port, raw, shown):
        self.frame, self.stream, self.ours = frame, stream, port
        self.all = bytes.fromhex(raw[0])
        self.bhs = self.all[:48]
        self.op = self.bhs[0] & 0x3F
        self.name = KINDS.get(self.op, (f"opcode {self.op:#x}", 0))[0]
        self.shown = {at + i - raw[1] for at, length in shown for i in range(length)}

    def u16(self, at):
        return int.from_bytes(self.bhs[at:at + 2], "big")

    def u32(self, at):
        return int.from_bytes(self.bhs[at:at + 4], "big")

    def immediate(self):
        return self.bhs[0] & 0x40 != 0

    def say(self, what):
        return f"frame {self.frame}, {self.name}: {what} [{self.bhs.hex(' ', 4)}]"


def pdus_of(path):
    text = tshark(path, "-T", "json", "-x", "-J", "frame tcp iscsi scsi")
    found = []
    for packet in json.loads(text, object_pairs_hook=Pairs):
        layers = packet.get("_source").get("layers")
        frame = int(layers.get("frame").get("frame.number"))
        tcp = layers.get("tcp")
        # A Reject holds the header that it is about, which the dissector shows as a PDU, too.
        raw, tree = layers.get("iscsi_raw"), layers.get("iscsi")
        if isinstance(raw[0], list):
            raw, tree = raw[0], tree[0]
        found.append(Pdu(frame, int(tcp.get("tcp.stream")), tcp.get("tcp.dstport") == "3260", raw,
                         list(raw_of(tree))))
    return found


def reserved(p):
    """What is reserved is 0: bits of byte 1, the top bit, and bytes that no field covers."""
    if p.op not in KINDS:
        return [p.say("no such kind")]
    bad = []
    if p.bhs[0] & (0x80 if p.op < 0x20 else 0xC0):
        bad.append(p.say("reserved bits of byte 0"))
    if p.bhs[1] & KINDS[p.op][1]:
        bad.append(p.say("reserved bits of byte 1"))
    other = NOT_SHOWN.get(p.op, ())
    odd = [i for i in range(2, 48) if p.bhs[i] and i not in p.shown and i not in other]
    if p.op in (0x25, 0x32, 0x3F) and any(p.bhs[i] != 0xFF for i in other if i not in p.shown):
        bad.append(p.say("a tag where there is none"))
    if odd:
        bad.append(p.say(f"bytes that are no field: {odd}"))
    return bad


class Session:
    """What one side's PDUs say about another."""

    def __init__(self):
        self.bad, self.seen = [], collections.Counter()
        self.cid, self.nexus = {}, {}  # of a stream; the nexus is what its CmdSNs belong to
        self.commands = {}             # (nexus, CmdSN) -> PDU
        self.of_itt = {}               # (nexus, ITT) -> PDU
        self.statsn = {}               # (stream, StatSN) -> PDU
        self.data_ins = collections.Counter()

    def wrong(self, p, what):
        self.bad.append(p.say(what))

    def initiator(self, p):
        if p.op == 0x03:
            if p.stream not in self.cid:
                self.cid[p.stream] = p.u16(20)
                self.seen["a login"] += 1
                if p.u16(14) == 0:
                    self.nexus_now = p.stream
                self.nexus[p.stream] = self.nexus_now
            if b"CHAP_R=" in p.all:
                self.seen["CHAP"] += 1
            return
        nexus = self.nexus[p.stream]
        cids = {self.cid[s] for s in self.cid if self.nexus[s] == nexus}
        if len(cids) == 4:
            self.seen["four connections"] += 1
        if p.op == 0x01:
            self.command(p, nexus)
        elif p.op == 0x02 and p.bhs[1] == 0x88:
            self.reassign(p, nexus)
        elif p.op == 0x06:
            reason = p.bhs[1] & 0x7F
            self.seen[{0: "Logout of the session", 2: "Logout for recovery"}.get(reason, "")] += 1
            if reason == 2 and (p.u16(20) == self.cid[p.stream] or p.u16(20) not in cids):
                self.wrong(p, "a CID that cannot be recovered")
        elif p.op == 0x10:
            self.snack(p, nexus)

    def command(self, p, nexus):
        before = self.commands.setdefault((nexus, p.u32(24)), p)
        if before is not p:
            self.seen["a command that goes again"] += 1
            if before.bhs[:28] + before.bhs[32:] != p.bhs[:28] + p.bhs[32:]:
                self.wrong(p, f"another command with the CmdSN of frame {before.frame}")
        self.of_itt[nexus, p.u32(16)] = p

    def reassign(self, p, nexus):
        self.seen["TASK REASSIGN"] += 1
        task = self.of_itt.get((nexus, p.u32(20)))
        if not p.immediate():
            self.wrong(p, "is not immediate")
        if task is None:
            self.wrong(p, "no such task")
            return
        if p.u32(32) != task.u32(24):
            self.wrong(p, f"RefCmdSN is not that of frame {task.frame}")
        if p.bhs[8:16] != task.bhs[8:16]:
            self.wrong(p, f"LUN is not that of frame {task.frame}")
        # A read, and the target has sent so many Data-Ins at least.
        if p.u32(36) and not task.bhs[1] & 0x40:
            self.wrong(p, "ExpDataSN of what is no read")
        if p.u32(36) > self.data_ins[p.u32(20)]:
            self.wrong(p, "ExpDataSN beyond what was sent")

    def snack(self, p, nexus):
        kind = p.bhs[1] & 0x0F
        self.seen[{0: "SNACK for data", 1: "SNACK for status", 2: "DataACK"}.get(kind, "")] += 1
        itt, ttt, run = p.u32(16), p.u32(20), p.u32(44)
        if kind == 1 and (itt != NONE or ttt != NONE):
            self.wrong(p, "tags in a SNACK for status")
        if kind == 0 and (ttt != NONE or (nexus, itt) not in self.of_itt):
            self.wrong(p, "tags of no task")
        if kind == 2 and (itt != NONE or ttt == NONE or run != 0):
            self.wrong(p, "a DataACK with other tags, or a run")
        if kind > 2:
            self.wrong(p, "a kind of SNACK that has no use here")

    def target(self, p):
        if p.op == 0x25:
            self.data_ins[p.u32(16)] = max(self.data_ins[p.u32(16)], p.u32(36) + 1)
        if p.op == 0x32:
            self.seen[f"Async event {p.bhs[36]}"] += 1
        if p.op == 0x3F and p.bhs[2] == 2:
            self.seen["Reject for a data digest"] += 1
        # R2Ts and NOP-Ins that ask show the next StatSN, Data-Ins without status none.
        if p.op == 0x31 or (p.op == 0x20 and p.u32(16) == NONE) or \
                (p.op == 0x25 and not p.bhs[1] & 1):
            return
        before = self.statsn.setdefault((p.stream, p.u32(24)), p)
        if before is not p and (before.op, before.u32(16)) != (p.op, p.u32(16)):
            self.wrong(p, f"the StatSN of frame {before.frame}, {before.name}")


def main():
    with tempfile.TemporaryDirectory() as tmp:
        path = os.path.join(tmp, "pdus.pcap")
        rewrite(sys.argv[1], sys.argv[2:4], path)
        sys.exit(judge(pdus_of(path), tshark(path, "-V", "-O", "iscsi")))


def judge(pdus, text):
    session = Session()
    bad = []
    for p in pdus:
        bad += reserved(p)
        (session.initiator if p.ours else session.target)(p)
    bad += session.bad
    bad += sorted({line.strip() for line in text.splitlines() if ODD.search(line)})
    good = len(re.findall(r"Digest: 0x\w+ \(Good CRC32\)", text))
    kinds = collections.Counter(p.name for p in pdus)
    bad += [f"no {name} among the PDUs" for name, _ in KINDS.values() if not kinds[name]]
    bad += [f"never shown: {name}" for name in SHOWN if not session.seen[name]]
    # All but those of the login phase have a digest of their header.
    framed = sum(count for name, count in kinds.items() if not name.startswith("Login"))
    if good < framed:
        bad.append(f"{good} good digests, and {framed} PDUs that have one")
    print(", ".join(f"{count} {name}" for name, count in sorted(kinds.items())))
    print(", ".join(f"{name}: {session.seen[name]}" for name in SHOWN))
    print("\n".join(bad[:30]) or f"{len(pdus)} PDUs, {good} digests: all as they should be")
    return 1 if bad else 0


if __name__ == "__main__":
    main()
