#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nbd_clients.py - NBD clients that lie, stall, flood or go away, beside one that goes on.

    nbd_clients.py --case magic     one case
    nbd_clients.py --list           all cases, and what each does

Whatever a client does at the socket of `lunette attach`, the reads and writes of another go on, each
with the right data and each within LIMIT_SECONDS; the memory of the process stays within LIMIT_KIB of
what it was; and at SIGTERM it ends in order.
The programs come from $LUNETTE_BIN.  Exit: 0, 1, or 77 where they are not built.
"""
import os
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

import by_name

IQN = "iqn.2026-11.example:disk"
LUN_BYTES = 64 << 20
LIMIT_KIB = 128 << 10
SHARE_KIB = 16 << 10  # of buffers, of a client: LARGE cases have 20 that take it, or as much as they
LARGE = ("unread", "unread_and_gone", "gone_in_a_write", "stop_with_clients", "large", "disconnect_unread")
LIMIT_SECONDS = 5  # of one request of the other client; a few ms where the machine is free
OPTION, REQUEST = 0x49484156454f5054, 0x25609513
READ, WRITE, DISC, FLUSH, TRIM, CACHE, ZEROES, STATUS = range(8)
CASES = {}


def case(function):
    CASES[function.__name__.strip("_")] = function
    return function


class Client:
    def __init__(self, path, structured=False, handshake=True, ask=True):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(30)
        self.s.connect(path)
        if handshake:
            assert self.take(18) == b"NBDMAGICIHAVEOPT\0\3"
            self.send(struct.pack(">I", 3))
            if structured:
                self.option(8)
                assert self.reply()[1] == 1
            self.option(7, struct.pack(">IHH", 0, 1, 3) if ask else bytes(6))
            while self.reply()[1] != 1:
                pass

    def send(self, data):
        self.s.sendall(data)

    def take(self, n):
        data = bytearray()
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise EOFError("the export has hung up")
            data += more
        return bytes(data)

    def option(self, number, data=b"", length=None):
        self.send(struct.pack(">QII", OPTION, number, len(data) if length is None else length) + data)

    def reply(self):
        magic, option, kind, length = struct.unpack(">QIII", self.take(20))
        assert magic == 0x3e889045565a9, hex(magic)
        return option, kind, self.take(length)

    def request(self, kind, offset=0, length=0, data=b"", flags=0, cookie=1, magic=REQUEST):
        self.send(struct.pack(">IHHQQI", magic, flags, kind, cookie, offset, length) + data)

    def answer(self, length=0):
        """Of simple replies: cookie, error, data."""
        magic, error, cookie = struct.unpack(">IIQ", self.take(16))
        assert magic == 0x67446698, hex(magic)
        return cookie, error, self.take(length) if error == 0 else b""

    def data(self):
        """Of structured replies: the data of a read, in one chunk."""
        magic, flags, kind, _, length = struct.unpack(">IHHQI", self.take(20))
        assert (magic, flags, kind) == (0x668e33ef, 1, 1), (hex(magic), flags, kind)
        return self.take(length)[8:]

    def is_cut_off(self):
        """Whether the export hangs up, after whatever it still says."""
        try:
            while self.s.recv(1 << 16):
                pass
        except ConnectionError:
            pass
        except socket.timeout:
            return False
        return True

    def close(self):
        self.s.close()


class Other(threading.Thread):
    """The client that behaves: writes and reads in a part of the LUN of its own."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.client = Client(path)
        self.error, self.count, self.worst, self.over = None, 0, 0.0, False
        self.start()

    def run(self):
        try:
            while not self.over:
                begin = time.monotonic()
                offset = (8 << 20) + random.randrange(1024) * 4096
                data = random.randbytes(4096)
                self.client.request(WRITE, offset, 4096, data)
                assert self.client.answer() == (1, 0, b"")
                self.client.request(READ, offset, 4096)
                assert self.client.answer(4096) == (1, 0, data), "wrong data"
                self.worst = max(self.worst, time.monotonic() - begin)
                self.count += 1
        except (OSError, EOFError, AssertionError) as e:
            self.error = e or repr(e)


class World:
    def __init__(self):
        bin_dir = os.environ.get("LUNETTE_BIN", "build/bin")
        self.lunette, target = (os.path.join(bin_dir, p) for p in ("lunette", "lunette-target"))
        if not os.access(self.lunette, os.X_OK) or not os.access(target, os.X_OK):
            print("SKIP: no %s" % self.lunette)
            sys.exit(77)
        self.folder = tempfile.TemporaryDirectory(prefix="lunette-nbd.")
        self.path = os.path.join(self.folder.name, "socket")
        self.target = subprocess.Popen(
            [target, "--listen", "127.0.0.1:0", "--target", IQN, "--lun", "ram:%d" % LUN_BYTES],
            stdout=subprocess.PIPE)
        port = self.target.stdout.readline().decode().rsplit(":", 1)[1].strip()
        env = dict(os.environ, ASAN_OPTIONS="quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", ""))
        self.attach = subprocess.Popen(
            [self.lunette, "attach", "iscsi://127.0.0.1:%s/%s/0" % (port, IQN), "--socket", self.path],
            stdout=subprocess.PIPE, env=env)
        assert self.attach.stdout.readline().decode() == "0 %s\n" % self.path
        self.kib = self.peak()

    def peak(self):
        with open("/proc/%d/status" % self.attach.pid) as f:
            return next(int(line.split()[1]) for line in f if line.startswith("VmHWM"))

    def end(self):
        self.attach.send_signal(signal.SIGTERM)
        code = self.attach.wait(timeout=20)
        assert code == 0, "attach ends with %d" % code
        assert not os.path.exists(self.path), "the socket is still there"

    def __del__(self):
        for p in (self.attach, self.target):
            p.kill()
            p.wait()


@case
def handshake_garbage(w):
    """bytes of chance instead of a handshake"""
    for n in (1, 4, 20, 100, 100000):
        c = Client(w.path, handshake=False)
        try:
            c.send(bytes([255]) * 4 + random.randbytes(n))
        except ConnectionError:
            pass
        assert c.is_cut_off()


@case
def option_of_4_gib(w):
    """an option that says that it is 4 GiB long; and one of 1 MiB, which is dropped and refused"""
    c = Client(w.path, handshake=False)
    c.send(b"\0\0\0\3")
    c.option(3, length=0xffffffff)
    assert c.is_cut_off()
    c = Client(w.path, handshake=False)
    c.take(18)
    c.send(b"\0\0\0\3")
    c.option(3, bytes(1 << 20))
    assert c.reply()[:2] == (3, 0x80000009)
    c.option(3)
    assert c.reply()[:2] == (3, 2)


@case
def options_10000(w):
    """ten thousand options in a row"""
    c = Client(w.path, handshake=False)
    try:
        c.send(b"\0\0\0\3" + struct.pack(">QII", OPTION, 3, 0) * 10000)
    except ConnectionError:
        pass
    assert c.is_cut_off()


@case
def lengths_in_options(w):
    """lengths inside of options that point beyond them"""
    c = Client(w.path, handshake=False)
    c.take(18)
    c.send(b"\0\0\0\3")
    c.option(8)
    assert c.reply()[1] == 1
    for number in (6, 7, 9, 10):
        for data in (b"\xff\xff\xff\xff", b"\0\0\0\1", b"\0\0\0\0\xff\xff", b"\0\0\0\0\xff\xff\xff\xff",
                     b"\0\0\0\0\0\0\0\1\xff\xff\xff\xff", b"\0\0\0\0\0\0\0\0\0"):
            c.option(number, data)
            assert c.reply()[1] >= 0x80000000, (number, data)


@case
def half_a_head(w):
    """half of a handshake, then silence: its time is limited; half of a request: it is not"""
    silent = Client(w.path, handshake=False)
    silent.send(b"\0\0\0\3IHAVE")
    half = Client(w.path)
    half.send(struct.pack(">IHHQ", REQUEST, 0, READ, 1))
    assert silent.is_cut_off()  # within its 30 s
    half.send(struct.pack(">QI", 0, 512))
    assert half.answer(512)[:2] == (1, 0)


@case
def connections_2000(w):
    """two thousand connections, as many as may be at a time, and each goes away some time"""
    held = []
    for i in range(2000):
        try:
            held.append(Client(w.path, handshake=False))
        except BlockingIOError:
            time.sleep(0.01)
        if len(held) > 300:
            held.pop(random.randrange(len(held))).close()
    c = Client(w.path)
    c.request(READ, 0, 512)
    assert c.answer(512)[:2] == (1, 0)


@case
def magic(w):
    """a request with a wrong magic number"""
    c = Client(w.path)
    c.request(READ, 0, 512, magic=0)
    assert c.is_cut_off()


@case
def lengths(w):
    """requests of 4 GiB, past the end, misaligned, unknown, with odd flags"""
    c = Client(w.path)
    for kind, offset, length, flags, want in (
            (READ, 0, 0xffffffff, 0, 22), (READ, 0, 0xfffffe00, 0, 22), (READ, LUN_BYTES, 512, 0, 22),
            (READ, (1 << 64) - 512, 512, 0, 22), (READ, 1, 512, 0, 22), (READ, 0, 100, 0, 22),
            (READ, 0, 512, 0xfffe, 22), (TRIM, 0, 0xfffffe00, 0, 22), (ZEROES, 0, 0xfffffe00, 0, 28),
            (ZEROES, 1 << 63, 512, 0, 28), (STATUS, 0, 512, 0, 22), (CACHE, 0, 512, 0, 22),
            (FLUSH, 512, 0, 0, 22), (99, 0, 0, 0, 22), (0xffff, 0, 0, 0, 22)):
        c.request(kind, offset, length, flags=flags, cookie=7)
        assert c.answer()[:2] == (7, want), (kind, offset, length)
    c.request(WRITE, LUN_BYTES, 512, bytes(512))
    assert c.answer()[:2] == (1, 28)
    c.request(WRITE, 0, 33 << 20, bytes(33 << 20))
    assert c.answer()[:2] == (1, 22)
    c.request(READ, 0, 512)
    assert c.answer(512)[:2] == (1, 0)
    c.request(WRITE, 0, 0xffffffff)
    assert c.is_cut_off()


@case
def large(w):
    """what a client may take for granted that has not asked: requests of 32 MiB"""
    for structured in (False, True):
        c = Client(w.path, structured, ask=False)
        data = random.randbytes(32 << 20)
        c.request(WRITE, 16 << 20, len(data), data)
        assert c.answer()[:2] == (1, 0)
        c.request(READ, 16 << 20, len(data))
        assert (c.data() if structured else c.answer(len(data))[2]) == data
        c.close()


@case
def disconnect_unread(w):
    """clients that disconnect and do not take their replies: each loses its place in the end"""
    held = []
    for _ in range(63):
        c = Client(w.path)
        for k in range(30):
            c.request(READ, 0, 65536, cookie=k)
        c.request(DISC)
        held.append(c)
    end = time.monotonic() + 30
    while len(held) < 63 + 60:
        try:
            held.append(Client(w.path))
        except (EOFError, ConnectionError):
            assert time.monotonic() < end, "their places are not free"
            time.sleep(0.1)
    return held


@case
def disconnect_at_once(w):
    """a client that disconnects and does not close: the export does"""
    c = Client(w.path)
    c.request(READ, 0, 512)
    c.request(DISC)
    c.request(ZEROES, 0, 512)  # does not count
    assert c.answer(512)[:2] == (1, 0)
    began = time.monotonic()
    assert c.is_cut_off() and time.monotonic() < began + 10


@case
def gone_in_a_write(w):
    """clients that go away in the middle of a write, and with requests under way"""
    refused, end = 0, time.monotonic() + 60
    for i in range(200):
        while True:
            try:
                c = Client(w.path)
                break
            except (EOFError, ConnectionError):  # those that are gone count, until the device is done with them
                assert time.monotonic() < end, "nobody is let in any more"
                refused += 1
                time.sleep(0.01)
        for k in range(i % 50):
            c.request(READ, k * 65536, 65536, cookie=k)
        c.request(WRITE, 0, 1 << 20, bytes(random.randrange(1 << 18)))
        c.close()
    print("refused for a while: %d times" % refused)


@case
def unread(w):
    """clients that ask for much and read nothing"""
    held = []
    for i in range(20):
        c = Client(w.path, structured=i % 2 == 0)
        c.s.setblocking(False)
        try:
            for k in range(100000):
                c.request(READ, 0, 65536, cookie=k)
        except (BlockingIOError, OSError):
            pass
        held.append(c)
    time.sleep(1)
    return held


@case
def unread_and_gone(w):
    """the same, and then they go away"""
    for c in unread(w):
        c.close()
    time.sleep(0.5)


@case
def slow_writers(w):
    """writes that come byte by byte"""
    held = [Client(w.path) for _ in range(30)]
    for c in held:
        c.request(WRITE, 0, 1 << 20)
    for _ in range(50):
        for c in held:
            c.send(b"x")
        time.sleep(0.01)
    return held


@case
def chance(w):
    """requests of chance, with data that may belong to them or not"""
    for i in range(300):
        c = Client(w.path, structured=i % 2 == 0)
        try:
            for _ in range(20):
                kind = random.randrange(9)
                length = random.choice((0, 1, 512, 4096, 65536, 1 << 20, 0xffffffff))
                offset = random.choice((0, 512, 1 << 20, 7 << 20, LUN_BYTES, 1 << 63))
                if offset + length > 8 << 20 and length < 1 << 30:
                    offset = LUN_BYTES  # not in what is the other's
                c.request(kind, offset, length, random.randbytes(min(length, 4096)) if kind == WRITE else b"",
                          flags=random.choice((0, 0, 1, 0xffff)))
        except (ConnectionError, socket.timeout):
            pass
        c.close()


@case
def stop_with_clients(w):
    """the export ends while clients are in every state"""
    held = unread(w) + slow_writers(w) + [Client(w.path, handshake=False) for _ in range(5)]
    w.stopping = True
    return held


def run(name):
    w = World()
    w.stopping = False
    other = Other(w.path)
    kept = CASES[name](w)
    now, end = other.count, time.monotonic() + 20
    while other.count < now + 10 and other.error is None and time.monotonic() < end:
        time.sleep(0.01)
    grown = w.peak() - w.kib
    other.over = True
    other.join(10)
    print("%s: %d requests beside it, the slowest %.0f ms, %d KiB more" %
          (name, other.count, other.worst * 1000, grown))
    assert other.error is None, "the other client: %s" % other.error
    assert other.count >= now + 10, "the other client does not go on"
    assert other.worst < LIMIT_SECONDS, "the other client waits"
    assert grown < (LIMIT_KIB if name not in LARGE else 20 * SHARE_KIB), "it has grown"
    if not w.stopping:
        for c in kept or []:
            c.close()
    w.end()


if __name__ == "__main__":
    sys.exit(by_name.main(__doc__.splitlines()[0], "case", CASES, run))
