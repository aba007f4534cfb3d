#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""floods.py - initiators that flood lunette-target, beside one that goes on reading.

    floods.py --flood nop       one flood (one meson test each)
    floods.py --list            all floods, and what each does

Under each flood the target's memory stays within LIMIT_KIB, the reads of another
session go on, each with the right data and nearly all within P99_SECONDS, and the
target lives and ends in order.
The program comes from $LUNETTE_BIN.  Exit: 0, 1, or 77 when there is no target.
"""
import os
import resource
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import by_name
from pdu import (BUSY, DATA_OUT, GOOD, LOGIN_REQ, NOP_OUT, Out, RESERVED, SCSI_CMD, SNACK, TEXT_REQ,
                 TMF_REQ, text)

IQN = "iqn.2026-11.example:disk"
LUN_BYTES, BIG_BYTES, BLOCK = 4 << 20, 64 << 20, 512
LIMIT_KIB = (64 << 10) + LUN_BYTES // 1024  # resident, over what the LUNs hold
P99_SECONDS = 0.1  # of the other session's reads: a few ms where nobody else needs the machine
FLOOD_BYTES, FLOOD_SECONDS, STALL_SECONDS = 48 << 20, 5, 1
IMMEDIATE = 0x40
FLOODS = {}


def flood(function):
    FLOODS[function.__name__.strip("_")] = function
    return function


class Target:
    """The program.  LUN 0 is read and compared, LUN 1 is huge and empty, LUN 2 is for piles."""

    def __init__(self, *options):
        self.log = tempfile.TemporaryFile()
        program = os.path.join(os.environ.get("LUNETTE_BIN", "build/bin"), "lunette-target")
        if not os.access(program, os.X_OK):
            print("SKIP: no %s" % program)
            sys.exit(77)
        # A sanitizer keeps what was freed; that is not the target's.
        env = dict(os.environ, ASAN_OPTIONS="quarantine_size_mb=1:" +
                   os.environ.get("ASAN_OPTIONS", ""))
        self.process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0", "--target", IQN, "--lun", "ram:%d" % LUN_BYTES,
             "--lun", "ram:64G", "--lun", "ram:%d" % BIG_BYTES, *options],
            stdout=subprocess.PIPE, stderr=self.log, env=env)
        self.port = int(self.process.stdout.readline().decode().rsplit(":", 1)[1])

    def peak_kib(self):
        """The most memory that it has had."""
        with open("/proc/%d/status" % self.process.pid, encoding="ascii") as f:
            fields = dict(line.split(":", 1) for line in f)
        return int(fields["VmHWM"].split()[0])

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(20)
        self.log.seek(0)
        log = self.log.read()
        assert status == 0 and b"Sanitizer" not in log and b"runtime error" not in log, \
            "the target ended with %d: %s" % (status, log[-800:])


class Initiator:
    """A session that sends what it is told."""

    def __init__(self, target, port_id, keys=(), discovery=False, rcvbuf=0, login=True):
        self.socket = socket.socket()
        if rcvbuf:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, rcvbuf)
        self.socket.settimeout(30)
        self.socket.connect(("127.0.0.1", target.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.isid = b"\x80\0\0\0\0" + bytes([port_id])
        self.cmd_sn, self.stat_sn, self.itt = 1, 0, 0
        if login:
            self.login(keys, discovery)

    def login_pdu(self, flags, data):
        p = Out(IMMEDIATE | LOGIN_REQ, flags=flags, itt=0, words=(0, self.cmd_sn, 0), data=data)
        p.h[8:14] = self.isid
        return p.bytes()

    def login(self, keys, discovery):
        whom = [("SessionType", "Discovery")] if discovery else [("TargetName", IQN)]
        self.socket.sendall(self.login_pdu(0x87, text(
            ("InitiatorName", "iqn.2026-11.example:flood"), *whom,
            ("MaxRecvDataSegmentLength", "262144"), *keys)))
        header, _ = self.receive()
        assert header[36:38] == b"\0\0", "login refused: %s" % header[36:38].hex()

    def take(self, n):
        data = b""
        while len(data) < n:
            piece = self.socket.recv(n - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def receive(self):
        header = self.take(48)
        n = int.from_bytes(header[5:8], "big")
        data = self.take(n + -n % 4)[:n]
        if header[0] != 0x31 and (header[0] != 0x25 or header[1] & 1):
            self.stat_sn = struct.unpack(">I", header[24:28])[0] + 1
        return header, data

    def pdu(self, op, flags=0x80, words=None, **fields):
        if words is None:
            words = (RESERVED, self.cmd_sn, self.stat_sn)
        return Out(op, flags=flags, words=words, **fields).bytes()

    def command(self, cdb, flags=0x80, edtl=0, data=b"", lun=0, immediate=False):
        self.itt += 1
        p = Out(SCSI_CMD | (IMMEDIATE if immediate else 0), flags=flags, lun=bytes([0, lun] + [0] * 6),
                itt=self.itt, words=(edtl, self.cmd_sn, self.stat_sn), data=data)
        p.h[32:32 + len(cdb)] = cdb
        self.cmd_sn += not immediate
        return p.bytes()

    def run(self, *args, **kw):
        """One command; its status and what it has read."""
        self.socket.sendall(self.command(*args, **kw))
        read = b""
        while True:
            header, data = self.receive()
            if header[0] == 0x25:
                read += data
            if ends(header):
                return header[3], read

    def ready(self, lun=0):
        """Takes the unit attentions."""
        while self.run(bytes(6), lun=lun)[0] != GOOD:
            pass


def ends(header):
    """Whether that PDU carries the status of its command."""
    return header[0] == 0x21 or (header[0] == 0x25 and bool(header[1] & 1))


class Reader(threading.Thread):
    """The other session: one read after the other, each compared."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.session = Initiator(target, 7)
        self.session.ready()
        self.data = bytes(range(256)) * (4096 // 256)
        status, _ = self.session.run(b"\x8a\0" + struct.pack(">QI", 8, 8), flags=0xa0, edtl=4096,
                                     data=self.data)
        assert status == GOOD
        self.count, self.error, self.ends = 0, None, False
        self.seconds = []

    def run(self):
        try:
            while not self.ends:
                start = time.monotonic()
                status, data = self.session.run(b"\x88\0" + struct.pack(">QI", 8, 8), flags=0xc0,
                                                edtl=4096)
                self.seconds.append(time.monotonic() - start)
                assert status == GOOD and data == self.data, "wrong data"
                self.count += 1
        except Exception as e:
            self.error = e

    def end(self):
        self.ends = True
        self.join(30)
        assert not self.is_alive(), "the other session hangs"
        assert self.error is None, "the other session: %r" % self.error


def send_much(session, piece):
    """Sends one PDU again and again and reads nothing, until the target takes no more."""
    blob, sent, end = piece * (1 + 65536 // len(piece)), 0, time.monotonic() + FLOOD_SECONDS
    session.socket.settimeout(STALL_SECONDS)
    try:
        while sent < FLOOD_BYTES and time.monotonic() < end:
            session.socket.sendall(blob)
            sent += len(blob)
    except (TimeoutError, ConnectionError):
        pass
    return session


def deaf(target, **kw):
    return Initiator(target, 1, rcvbuf=4096, **kw)


@flood
def nop(target):
    """immediate NOP-Outs"""
    s = deaf(target)
    return send_much(s, s.pdu(IMMEDIATE | NOP_OUT, itt=5))


@flood
def nop_data(target):
    """immediate NOP-Outs with 64 KiB of data each"""
    s = deaf(target)
    return send_much(s, s.pdu(IMMEDIATE | NOP_OUT, itt=5, data=bytes(65536)))


@flood
def opcode(target):
    """an opcode that does not exist, in a discovery session"""
    s = deaf(target, discovery=True)
    return send_much(s, s.pdu(0x5c, itt=5))


@flood
def text_request(target):
    """SendTargets=All, over and over"""
    s = deaf(target, discovery=True)
    return send_much(s, s.pdu(IMMEDIATE | TEXT_REQ, itt=5, data=text(("SendTargets", "All"))))


@flood
def snack(target):
    """SNACKs"""
    s = deaf(target)
    return send_much(s, s.pdu(IMMEDIATE | SNACK, itt=5))


@flood
def task_management(target):
    """ABORT TASK of a task that is not there"""
    s = deaf(target)
    return send_much(s, s.pdu(IMMEDIATE | TMF_REQ, flags=0x81, itt=5,
                              words=(3, s.cmd_sn, s.stat_sn, 0)))


@flood
def immediate_commands(target):
    """immediate SCSI commands, of one tag and of many"""
    s = deaf(target)
    return send_much(s, b"".join(s.command(b"\x12\0\0\0\xff\0", flags=0xc0, edtl=255, immediate=True)
                                 for _ in range(600)))


@flood
def silence(target):
    """PDUs that need no answer: NOP-Outs without a tag, Data-Outs of no task, old CmdSNs"""
    s = deaf(target)
    old = s.command(bytes(6), immediate=False)
    s.cmd_sn += 5
    return send_much(s, s.pdu(IMMEDIATE | NOP_OUT) * 300 + s.pdu(DATA_OUT, itt=0x999) * 300 +
                     old[:24] + struct.pack(">I", 0xfffffff0) + old[28:])


@flood
def held(target):
    """NOP-Outs and writes with 256 KiB of data that wait for a CmdSN that does not come; then it does"""
    s = Initiator(target, 1, keys=[("FirstBurstLength", "262144"), ("InitialR2T", "No")])
    s.socket.settimeout(STALL_SECONDS)
    s.cmd_sn += 1
    try:
        for i in range(800):
            if i % 2:
                p = s.pdu(NOP_OUT, itt=0x1000 + i, data=bytes([i % 256]) * 262144)
                s.cmd_sn += 1
            else:
                p = s.command(b"\x8a\0" + struct.pack(">QI", 1024, 512), flags=0xa0, edtl=262144,
                              data=bytes([i % 256]) * 262144)
            s.socket.sendall(p)
    except (TimeoutError, ConnectionError):
        return s
    s.cmd_sn, last = 1, s.cmd_sn
    s.socket.sendall(s.command(bytes(6)))
    statuses = []
    while len(statuses) < 401:
        header, _ = s.receive()
        if ends(header):
            statuses.append(header[3])
    assert statuses.count(GOOD) > 30, "only %d held writes were done" % statuses.count(GOOD)
    assert set(statuses[1:]) <= {GOOD, BUSY}, "a held write ended otherwise"
    s.cmd_sn = last
    return s


@flood
def half_open(target):
    """connections that do not log in: mute ones, and such with half a text"""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    many = []
    for i in range(min(6000, hard - 100)):
        s = Initiator(target, 1, login=False)
        many.append(s)
        try:
            if i % 3 == 0:
                s.socket.sendall(s.login_pdu(0x44, b"x" * 8000) + s.login_pdu(0x44, b"x" * 8000))
            elif i % 3 == 1:
                s.socket.sendall(s.login_pdu(0x44, b"x" * 8000)[:500])
        except ConnectionError:
            pass
    assert soft <= hard
    return many


def pile(target, *commands):
    """128 long commands at once.  The other session must get its turn while they run."""
    s = Initiator(target, 1)
    s.ready(lun=2)
    piece = b""
    for i in range(127):
        piece += s.command(**commands[i % len(commands)])
    before = READER.count
    s.socket.sendall(piece)
    left = 127
    while left > 0:
        header, _ = s.receive()
        left -= ends(header)
        assert not ends(header) or header[3] == GOOD, "status %#x" % header[3]
    done = READER.count - before
    assert done >= 100, "the other session did %d reads during 127 long commands" % done
    return s


def write_same(data, flags=0):
    return dict(cdb=bytes([0x93, flags]) + struct.pack(">QI", 0, BIG_BYTES // BLOCK), flags=0xa0,
                edtl=BLOCK, data=data, lun=2)


@flood
def write_same_pile(target):
    """WRITE SAME of 64 MiB, 127 at once, with bytes and with zeroes"""
    return pile(target, write_same(b"same" * 128), write_same(bytes(BLOCK)))


@flood
def unmap_pile(target):
    """UNMAP of 64 MiB that hold data, 127 at once, each after a WRITE SAME"""
    descriptor = struct.pack(">HH4xQI4x", 22, 16, 0, BIG_BYTES // BLOCK)
    return pile(target, write_same(b"same" * 128),
                dict(cdb=b"\x42\0\0\0\0\0\0\0\x18\0", flags=0xa0, edtl=24, data=descriptor, lun=2))


@flood
def verify_pile(target):
    """VERIFY of 32 MiB against one block, 127 at once"""
    return pile(target, dict(cdb=b"\x8f\x06" + struct.pack(">QI", 0, (32 << 20) // BLOCK),
                             flags=0xa0, edtl=BLOCK, data=bytes(BLOCK), lun=2))


@flood
def block_status(target):
    """GET LBA STATUS over 64 GiB, 127 at once"""
    s = deaf(target)
    s.ready(lun=1)
    return send_much(s, b"".join(s.command(b"\x9e\x12" + struct.pack(">QI", 0, 1032) + b"\0\0",
                                           flags=0xc0, edtl=1032, lun=1) for _ in range(127)))


@flood
def unread_data(target):
    """128 reads of 32 MiB each, whose data nobody takes"""
    s = deaf(target)
    s.ready(lun=1)
    return send_much(s, b"".join(s.command(b"\x88\0" + struct.pack(">QI", 0, 65536), flags=0xc0,
                                           edtl=32 << 20, lun=1) for _ in range(127)))


OPTIONS = {"held": ("--set", "QueueDepth=1024")}


def run(name):
    global READER
    target = Target(*OPTIONS.get(name, ()))
    READER = Reader(target)
    READER.start()
    before = READER.count
    kept = FLOODS[name](target)
    now = READER.count
    during = sorted(READER.seconds[before:now]) or [0.0]
    end = time.monotonic() + 20
    while READER.count < now + 10 and READER.error is None and time.monotonic() < end:
        time.sleep(0.01)
    READER.end()
    peak = target.peak_kib()
    limit = LIMIT_KIB + (BIG_BYTES // 1024 if name.endswith("_pile") else 0)  # LUN 2 is filled
    p99 = during[len(during) * 99 // 100]
    print("%s: at most %d KiB, %d reads beside it, p99 %.1f ms" %
          (name, peak, now - before, p99 * 1000))
    assert p99 < P99_SECONDS, "the other session waits"
    assert READER.count >= now + 10, "the other session does not go on"
    assert peak < limit, "the target has grown to %d KiB" % peak
    for s in kept if isinstance(kept, list) else [kept]:
        s.socket.close()
    target.stop()


if __name__ == "__main__":
    sys.exit(by_name.main(__doc__.splitlines()[0], "flood", FLOODS, run))
