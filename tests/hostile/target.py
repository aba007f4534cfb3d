# SPDX-License-Identifier: MIT
"""target.py - a small iSCSI target that is correct until a case overrides a part of it.

One thread per connection, one command after the other.  Each method is a hook:
a case is a subclass of Target which does one thing otherwise.  See cases_*.py.
"""
import hashlib
import os
import random
import socket
import struct
import threading

from pdu import (CHECK, DATA_IN, DATA_OUT, GOOD, LOGIN_REQ, LOGIN_RSP, LOGOUT_REQ, LOGOUT_RSP,
                 NOP_IN, NOP_OUT, Out, R2T, Request, RESERVED, SCSI_CMD, SCSI_RSP, TEXT_REQ,
                 TEXT_RSP, TMF_REQ, TMF_RSP, crc32c, parse_text, sense, text)
from witness import Witness

IQN = "iqn.2026-11.example:hostile"
MAX_RECV = 65536  # what the target takes in one PDU


class Gone(Exception):
    """The initiator closed, or the case is over."""


def pattern(size, seed=1):
    """Bytes that differ at every offset, the same in each run."""
    return random.Random(seed).randbytes(size)


class Conn:
    """One TCP connection: bytes, digests, numbering."""

    def __init__(self, target, sock, number):
        self.target, self.sock, self.number = target, sock, number
        self.header_digest = self.data_digest = False
        self.stat_sn = target.first_stat_sn
        self.exp_cmd_sn = None
        self.window = target.window
        self.max_send = 8192      # the initiator's MaxRecvDataSegmentLength
        self.keys = {}            # as negotiated
        self.offered = {}         # by the initiator
        self.pending = []         # requests that came while another was served
        self.witness = Witness()
        self.tsih = 0
        self.discovery = False
        self.log = []
        self.next_ttt = 0x1000

    # ---- bytes

    def read_bytes(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                got = self.sock.recv(count - len(data))
            except OSError as e:
                raise Gone(str(e)) from e
            if not got:
                raise Gone("closed by the initiator")
            data += got
        return bytes(data)

    def write_bytes(self, data):
        try:
            self.target.write_bytes(self, data)
        except OSError as e:
            raise Gone(str(e)) from e

    def close(self, reset=False):
        """Ends the connection, with a RST if asked for."""
        try:
            if reset:
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            else:
                self.sock.shutdown(socket.SHUT_RDWR)
            self.sock.close()
        except OSError:
            pass
        raise Gone("closed by the target")

    def stall(self):
        """Says nothing more, takes what comes, until the initiator gives up."""
        while True:
            self.read_bytes(1)

    def freeze(self):
        """Neither sends nor reads until the initiator gives up or the case ends."""
        while not self.target.over.wait(0.05):
            pass
        raise Gone("case over")

    # ---- PDUs

    def recv(self):
        if self.pending:
            return self.pending.pop(0)
        return self.recv_new()

    def recv_new(self):
        h = self.read_bytes(48)
        ahs = self.read_bytes(4 * h[4])
        if self.header_digest and self.read_bytes(4) != crc32c(h + ahs):
            self.witness.breach("DIG-02", "bad header digest")
        size = int.from_bytes(h[5:8], "big")
        body = self.read_bytes(size + (-size % 4))
        if self.data_digest and body and self.read_bytes(4) != crc32c(body):
            self.witness.breach("DIG-02", "bad data digest")
        req = Request(h, ahs, body[:size], body[size:])
        self.log.append("<- %s" % req)
        self.witness.received(req)
        if req.opcode not in (DATA_OUT, LOGIN_REQ) and not req.immediate:
            self.exp_cmd_sn = (req.cmd_sn + 1) & 0xffffffff
        return req

    def put(self, out, number="status"):
        """Sends.  number: "status" takes a StatSN, "next" shows the next one, None leaves it."""
        if number:
            out.put(24, self.stat_sn)
        if number == "status":
            self.stat_sn = (self.stat_sn + 1) & 0xffffffff
        exp = self.exp_cmd_sn or 0
        out.put(28, exp).put(32, exp + self.window - 1)
        self.target.mutate(self, out)
        self.log.append("-> %s" % out)
        self.witness.sent(out)
        self.write_bytes(out.bytes(self.header_digest, self.data_digest))

    def ttt(self):
        self.next_ttt += 1
        return self.next_ttt


class Lun:
    def __init__(self, blocks=2048, block_size=512):
        self.block_size, self.blocks = block_size, blocks
        self.data = bytearray(pattern(blocks * block_size))


class Target:
    chap = None           # (user, secret) that the initiator must know
    mutual = None         # (user, secret) that the target proves
    header_digest = data_digest = True  # willing
    params = {}           # RFC keys that replace what negotiate() would answer
    window = 32
    first_stat_sn = 1000
    chunk = 4096          # bytes per Data-In
    burst = 16384         # bytes per R2T
    phase_collapse = True  # status in the last Data-In
    tags = ()             # LUN numbers beside 0
    address = "127.0.0.1"
    family = socket.AF_INET

    def __init__(self):
        self.over = threading.Event()
        self.conns = []
        self.errors = []      # what the case itself found wrong with the initiator
        self.threads = []
        self.asked_before = set()  # the initiator's challenges
        self.seen = set()     # what happened, for cases that want proof
        self.luns = {n: Lun() for n in (0,) + tuple(self.tags)}
        self.sock = socket.socket(self.family, socket.SOCK_STREAM)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind((self.address, 0))
        self.port = self.sock.getsockname()[1]
        self.setup()

    def setup(self):
        """For cases that change LUNs or need more."""

    def start(self, port=None):
        self.sock.listen(16)
        thread = threading.Thread(target=self._accept, daemon=True)
        thread.start()
        self.threads.append(thread)

    def stop(self):
        self.over.set()
        for sock in [self.sock] + [c.sock for c in self.conns]:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
            sock.close()
        for thread in self.threads:
            thread.join(5)

    def _accept(self):
        while not self.over.is_set():
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            conn = Conn(self, sock, len(self.conns))
            self.conns.append(conn)
            thread = threading.Thread(target=self._run, args=(conn,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _run(self, conn):
        try:
            self.serve(conn)
        except Gone as e:
            conn.log.append("-- %s" % e)
        except Exception as e:  # a bug of the case: the runner shows it
            self.errors.append("the case itself failed: %r" % e)
            import traceback
            traceback.print_exc()
        finally:
            try:
                conn.sock.close()
            except OSError:
                pass

    # ---- hooks of the whole connection

    def write_bytes(self, conn, data):
        conn.sock.sendall(data)

    def mutate(self, conn, out):
        """The last word on each PDU, after numbering."""

    def serve(self, conn):
        self.accepted(conn)
        self.login(conn)
        self.logged_in(conn)
        while self.request(conn, conn.recv()):
            pass
        conn.close()

    def accepted(self, conn):
        pass

    def logged_in(self, conn):
        pass

    # ---- login

    def login(self, conn):
        got = b""
        first = True
        while True:
            req = conn.recv_new()
            if first:
                conn.exp_cmd_sn = req.cmd_sn
                first = False
            got += req.data
            if req.more:
                self.login_reply(conn, req, [], False, 0)
                continue
            pairs = parse_text(got)
            got = b""
            conn.offered.update(pairs)
            conn.discovery = conn.offered.get("SessionType") == "Discovery"
            if self.login_step(conn, req, pairs):
                break
        self.start_full_feature(conn)

    def start_full_feature(self, conn):
        k, w = conn.keys, conn.witness
        conn.header_digest = k.get("HeaderDigest") == "CRC32C"
        conn.data_digest = k.get("DataDigest") == "CRC32C"
        conn.max_send = number(conn.offered.get("MaxRecvDataSegmentLength"), 8192)
        w.full_feature = True
        w.limits = {"max_recv": MAX_RECV, "first_burst": number(k.get("FirstBurstLength"), 65536),
                    "max_burst": number(k.get("MaxBurstLength"), 262144),
                    "immediate": k.get("ImmediateData", "Yes") == "Yes",
                    "initial_r2t": k.get("InitialR2T", "Yes") == "Yes",
                    "level": number(k.get("iSCSIProtocolLevel"), 1)}

    def login_step(self, conn, req, pairs):
        """Answers one whole text; True when the login is over."""
        answer = self.answers(conn, req, pairs)
        transit = req.transit and self.may_transit(conn, req)
        nsg = self.choose_stage(conn, req) if transit else 0
        self.login_reply(conn, req, answer, transit, nsg)
        return transit and nsg == 3

    def may_transit(self, conn, req):
        return not (req.csg == 0 and self.chap and not conn.keys.get("authenticated"))

    def choose_stage(self, conn, req):
        return req.nsg

    def answers(self, conn, req, pairs):
        out = []
        if req.csg == 0:
            out += self.security(conn, req, dict(pairs))
        else:
            if self.chap and not conn.keys.get("authenticated"):
                self.refuse(conn, req, 2, 1)
            out += self.negotiate(conn, req, pairs)
        if "TargetName" in dict(pairs) and not conn.keys.get("tpgt"):
            conn.keys["tpgt"] = True
            out = [("TargetPortalGroupTag", "1")] + out
        return out

    def security(self, conn, req, keys):
        if "AuthMethod" in keys:
            offered = keys["AuthMethod"].split(",")
            method = "CHAP" if self.chap else "None"
            if method not in offered:
                self.refuse(conn, req, 2, 1)
            return [("AuthMethod", method)]
        if "CHAP_A" in keys:
            return self.challenge(conn, keys["CHAP_A"].split(","))
        if "CHAP_R" in keys:
            return self.prove(conn, req, keys)
        return []

    def challenge(self, conn, offered):
        conn.chap_id, conn.chap_c = 0x2a, os.urandom(16)
        return [("CHAP_A", "5"), ("CHAP_I", str(conn.chap_id)),
                ("CHAP_C", "0x" + conn.chap_c.hex())]

    def prove(self, conn, req, keys):
        want = hashlib.md5(bytes([conn.chap_id]) + self.chap[1].encode() + conn.chap_c).digest()
        if keys["CHAP_N"] != self.chap[0] or binary(keys["CHAP_R"]) != want:
            self.refuse(conn, req, 2, 1)
        conn.keys["authenticated"] = True
        if "CHAP_C" not in keys:
            return []
        if not self.mutual:
            self.refuse(conn, req, 2, 1)
        asked = binary(keys["CHAP_C"])
        if len(asked) < 16 or asked in self.asked_before or asked == conn.chap_c:
            self.errors.append("SEC-08: a challenge that is short or not fresh")
        self.asked_before.add(asked)
        return self.mutual_answer(conn, int(keys["CHAP_I"], 0), binary(keys["CHAP_C"]))

    def mutual_answer(self, conn, ident, chal):
        answer = hashlib.md5(bytes([ident]) + self.mutual[1].encode() + chal).hexdigest()
        return [("CHAP_N", self.mutual[0]), ("CHAP_R", "0x" + answer)]

    def negotiate(self, conn, req, pairs):
        out = []
        for key, value in pairs:
            answer = self.answer_key(conn, key, value)
            if answer is not None:
                out.append((key, answer))
                conn.keys[key] = answer
        if "MaxRecvDataSegmentLength" not in conn.keys:
            conn.keys["MaxRecvDataSegmentLength"] = str(MAX_RECV)
            out.append(("MaxRecvDataSegmentLength", str(MAX_RECV)))
        return out

    def answer_key(self, conn, key, value):
        if key in self.params:
            return self.params[key]
        if key in ("InitiatorName", "TargetName", "SessionType", "InitiatorAlias",
                   "MaxRecvDataSegmentLength") or value in ("NotUnderstood", "Reject",
                                                            "Irrelevant"):
            return None
        if key in ("HeaderDigest", "DataDigest"):
            willing = self.header_digest if key == "HeaderDigest" else self.data_digest
            for v in value.split(","):
                if v == "None" or (v == "CRC32C" and willing):
                    return v
            return "Reject"
        if key in ("InitialR2T", "DataPDUInOrder", "DataSequenceInOrder", "ImmediateData",
                   "MaxBurstLength", "FirstBurstLength", "DefaultTime2Retain"):
            return value
        if key in ("MaxConnections", "MaxOutstandingR2T"):
            return "1"
        if key == "ErrorRecoveryLevel":
            return "0"
        if key == "DefaultTime2Wait":
            return value if int(value, 0) > 2 else "2"
        if key == "TaskReporting":
            return "RFC3720"
        return "NotUnderstood"

    def login_reply(self, conn, req, pairs, transit, nsg, status=(0, 0)):
        if transit and nsg == 3:
            conn.tsih = 0x1234
        out = Out(LOGIN_RSP, (0x80 if transit else 0) | req.csg << 2 | (nsg if transit else 0),
                  lun=req.h[8:14] + struct.pack(">H", conn.tsih if transit and nsg == 3 else 0),
                  itt=req.itt, data=text(*pairs))
        out.h[36], out.h[37] = status
        self.login_out(conn, req, out)

    def login_out(self, conn, req, out):
        conn.put(out)

    def refuse(self, conn, req, status_class, detail, pairs=()):
        self.login_reply(conn, req, list(pairs), False, 0, (status_class, detail))
        conn.close()

    # ---- requests

    def request(self, conn, req):
        """Serves one request; False ends the connection."""
        if req.opcode == SCSI_CMD:
            self.command(conn, req)
        elif req.opcode == NOP_OUT:
            self.nop_out(conn, req)
        elif req.opcode == TEXT_REQ:
            self.text_request(conn, req)
        elif req.opcode == TMF_REQ:
            self.tmf(conn, req)
        elif req.opcode == LOGOUT_REQ:
            self.seen.add("logout")
            self.logout(conn, req)
            return False
        return True

    def nop_out(self, conn, req):
        if req.itt == RESERVED:
            self.seen.add("nop-out answer" if req.ttt != RESERVED else "nop-out")
            return
        self.nop_reply(conn, req)

    def nop_reply(self, conn, req):
        conn.put(Out(NOP_IN, itt=req.itt, words=[RESERVED], data=req.data))

    def text_request(self, conn, req):
        keys = dict(parse_text(req.data))
        if "SendTargets" in keys:
            self.send_targets(conn, req)
        else:
            self.text_reply(conn, req, text())

    def text_reply(self, conn, req, data, flags=0x80, ttt=RESERVED):
        conn.put(Out(TEXT_RSP, flags, itt=req.itt, words=[ttt], data=data))

    def records(self):
        return [("TargetName", IQN), ("TargetAddress", "%s:%d,1" % (self.address, self.port))]

    def send_targets(self, conn, req):
        self.text_reply(conn, req, text(*self.records()))

    def tmf(self, conn, req):
        self.seen.add("tmf")
        conn.put(Out(TMF_RSP, itt=req.itt))

    def logout(self, conn, req):
        conn.put(Out(LOGOUT_RSP, itt=req.itt))

    # ---- SCSI

    def command(self, conn, cmd):
        lun = self.find_lun(cmd.lun)
        op = cmd.cdb[0]
        if op == 0xa0:
            return self.data(conn, cmd, self.report_luns())
        if lun is None:
            if op == 0x12:
                return self.data(conn, cmd, bytes([0x7f]) + bytes(35))
            return self.fail(conn, cmd, 5, 0x25)
        if op == 0x12:
            return self.inquiry_command(conn, cmd, lun)
        if op == 0x00:
            return self.test_unit_ready(conn, cmd)
        if op == 0x25:
            return self.data(conn, cmd, self.capacity10(lun))
        if op == 0x9e and cmd.cdb[1] & 31 == 0x10:
            return self.data(conn, cmd, self.capacity16(lun))
        if op in (0x1a, 0x5a):
            return self.data(conn, cmd, self.mode_sense(cmd, op == 0x5a))
        if op == 0x03:
            return self.data(conn, cmd, sense(0, 0)[2:])
        if op in (0x35, 0x91):
            return self.status(conn, cmd, GOOD)
        if op in (0x08, 0x28, 0xa8, 0x88):
            return self.read_command(conn, cmd, lun)
        if op in (0x0a, 0x2a, 0xaa, 0x8a):
            return self.write_command(conn, cmd, lun)
        return self.fail(conn, cmd, 5, 0x20)

    def find_lun(self, wire):
        if wire[2:] != bytes(6):
            return None
        kind, number = wire[0] >> 6, (wire[0] & 0x3f) << 8 | wire[1]
        return self.luns.get(number) if kind in (0, 1) else None

    def inquiry_command(self, conn, cmd, lun):
        if cmd.cdb[1] & 1:
            page = self.vpd(cmd.cdb[2], lun)
            if page is None:
                return self.fail(conn, cmd, 5, 0x24)
            return self.data(conn, cmd, page)
        return self.data(conn, cmd, self.inquiry())

    def inquiry(self):
        return bytes([0, 0, 5, 0x12, 31, 0, 0, 2]) + b"LUNETTE " + b"HOSTILE PEER    " + b"0001"

    def vpd(self, page, lun):
        pages = {0x00: bytes([0x00, 0x80, 0x83, 0xb0]), 0x80: b"SERIAL01",
                 0x83: bytes([0x01, 3, 0, 8]) + bytes.fromhex("3abcdef012345678"),
                 0xb0: bytes(60)}
        if page not in pages:
            return None
        return bytes([0, page]) + struct.pack(">H", len(pages[page])) + pages[page]

    def test_unit_ready(self, conn, cmd):
        self.status(conn, cmd, GOOD)

    def capacity10(self, lun):
        return struct.pack(">II", min(lun.blocks - 1, 0xffffffff), lun.block_size)

    def capacity16(self, lun):
        return struct.pack(">QI", lun.blocks - 1, lun.block_size) + bytes(20)

    def report_luns(self):
        entries = b"".join(self.lun_wire(n) for n in sorted(self.luns))
        return struct.pack(">II", len(entries), 0) + entries

    def lun_wire(self, n):
        return bytes([0x40 | n >> 8 if n > 255 else 0, n & 255]) + bytes(6)

    def mode_sense(self, cmd, ten):
        page = bytes([8, 18]) + bytes(18) if cmd.cdb[2] & 0x3f in (8, 0x3f) else b""
        if ten:
            return struct.pack(">H", 6 + len(page)) + bytes(6) + page
        return bytes([3 + len(page), 0, 0, 0]) + page

    def extent(self, cmd, lun):
        """(offset, length) in bytes of a READ or WRITE."""
        c = cmd.cdb
        if c[0] in (0x08, 0x0a):
            lba, n = int.from_bytes(c[1:4], "big") & 0x1fffff, c[4] or 256
        elif c[0] in (0x28, 0x2a):
            lba, n = int.from_bytes(c[2:6], "big"), int.from_bytes(c[7:9], "big")
        elif c[0] in (0xa8, 0xaa):
            lba, n = int.from_bytes(c[2:6], "big"), int.from_bytes(c[6:10], "big")
        else:
            lba, n = int.from_bytes(c[2:10], "big"), int.from_bytes(c[10:14], "big")
        return lba * lun.block_size, n * lun.block_size

    def read_command(self, conn, cmd, lun):
        offset, size = self.extent(cmd, lun)
        if offset + size > len(lun.data):
            return self.fail(conn, cmd, 5, 0x21)
        self.seen.add("read")
        return self.read(conn, cmd, bytes(lun.data[offset:offset + size]))

    def read(self, conn, cmd, data):
        """The data of a READ: the hook of most cases."""
        self.data(conn, cmd, data)

    def data(self, conn, cmd, data):
        """Sends data and status as they should be."""
        allocated = data[:cmd.edtl]
        if not allocated or not cmd.reads:
            return self.status(conn, cmd, GOOD, residual=cmd.edtl - len(allocated))
        size = max(4, min(self.chunk, conn.max_send) & ~3)
        pieces = range(0, len(allocated), size)
        for sn, at in enumerate(pieces):
            last = at + size >= len(allocated)
            self.piece(conn, cmd, sn, at, allocated[at:at + size], last,
                       cmd.edtl - len(allocated) if last else 0)
        if not self.phase_collapse:
            self.status(conn, cmd, GOOD, residual=cmd.edtl - len(allocated), data_sn=len(pieces))
        return None

    def piece(self, conn, cmd, sn, at, data, last, residual=0):
        """One Data-In."""
        flags = 0x80 if last else 0
        collapse = last and self.phase_collapse
        if collapse:
            flags |= 1 | (2 if residual else 0)
        conn.put(Out(DATA_IN, flags, itt=cmd.itt, data=data,
                     words=[RESERVED, 0, 0, 0, sn, at, residual if collapse else 0]),
                 "status" if collapse else None)

    def status(self, conn, cmd, status, data=b"", residual=0, data_sn=0, response=0):
        flags = 0x80 | (2 if residual > 0 else 0)
        conn.put(Out(SCSI_RSP, flags, response, status, itt=cmd.itt, data=data,
                     words=[0, 0, 0, 0, data_sn, 0, residual]))

    def fail(self, conn, cmd, key, asc, ascq=0):
        self.status(conn, cmd, CHECK, sense(key, asc, ascq), residual=cmd.edtl)

    def write_command(self, conn, cmd, lun):
        offset, size = self.extent(cmd, lun)
        if offset + size > len(lun.data):
            return self.fail(conn, cmd, 5, 0x21)
        self.seen.add("write")
        return self.write(conn, cmd, lun, offset, size)

    def write(self, conn, cmd, lun, offset, size):
        """A WRITE: unsolicited data, R2Ts, status."""
        buf = bytearray(size)
        got = self.unsolicited(conn, cmd, buf)
        sn = 0
        while got < size:
            n = min(self.burst, size - got, conn.witness.limits["max_burst"])
            self.collect(conn, cmd, buf, self.r2t(conn, cmd, sn, got, n), n)
            got += n
            sn += 1
        lun.data[offset:offset + size] = buf
        self.status(conn, cmd, GOOD)

    def unsolicited(self, conn, cmd, buf):
        buf[:len(cmd.data)] = cmd.data
        got = len(cmd.data)
        if not cmd.final:
            while True:
                out = self.next_data_out(conn, cmd, RESERVED)
                buf[got:got + len(out.data)] = out.data
                got += len(out.data)
                if out.final:
                    break
        return got

    def r2t(self, conn, cmd, sn, at, size, ttt=None, **change):
        ttt = conn.ttt() if ttt is None else ttt
        out = Out(R2T, lun=cmd.lun, itt=cmd.itt, words=[ttt, 0, 0, 0, sn, at, size])
        for name, value in change.items():
            if name == "itt":
                out.put(16, value)
            else:
                setattr(out, name, value)
        conn.put(out, "next")
        return ttt

    def collect(self, conn, cmd, buf, ttt, size):
        """The data of one R2T."""
        while size > 0:
            out = self.next_data_out(conn, cmd, ttt)
            at = out.word(40)
            buf[at:at + len(out.data)] = out.data
            size -= len(out.data)
            if out.final:
                break

    def next_data_out(self, conn, cmd, ttt):
        for i, req in enumerate(conn.pending):
            if req.opcode == DATA_OUT and req.itt == cmd.itt and req.ttt == ttt:
                return conn.pending.pop(i)
        while True:
            req = conn.recv_new()
            if req.opcode == DATA_OUT and req.itt == cmd.itt and req.ttt == ttt:
                return req
            conn.pending.append(req)

    # ---- for cases

    def wait(self, seconds):
        if self.over.wait(seconds):
            raise Gone("case over")


def number(value, default):
    """What a key says, or its default where it says none (Reject and the like)."""
    try:
        return int(value, 0)
    except (TypeError, ValueError):
        return default


def binary(value):
    """A CHAP value as bytes."""
    if value[:2] in ("0x", "0X"):
        digits = value[2:]
        return bytes.fromhex("0" * (len(digits) % 2) + digits)
    import base64
    return base64.b64decode(value[2:])
