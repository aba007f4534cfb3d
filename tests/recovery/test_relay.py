#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""The relay does what it is told, no more and no less.

usage: test_relay.py RELAY
"""
import json
import os
import random
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

PATIENCE = 20  # seconds that nothing here takes unless something is broken


class World:
    """A relay, and a peer behind it that the test plays itself."""

    def __init__(self, program):
        self.program = program
        self.dir = tempfile.TemporaryDirectory(prefix="lunette-relay.")
        self.control = os.path.join(self.dir.name, "control")
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(PATIENCE)
        where = "127.0.0.1:%d" % self.server.getsockname()[1]
        self.process = subprocess.Popen(
            [program, "--listen", "127.0.0.1:0", "--target", where, "--control", self.control],
            stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        assert line.startswith("listening on 127.0.0.1:"), line
        self.port = int(line.rsplit(":", 1)[1])

    def tell(self, words, code=0):
        done = subprocess.run([self.program, "--tell", self.control, *words.split()],
                              capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == code, (words, done)
        return done.stdout

    def stats(self):
        return json.loads(self.tell("stats"))

    def connect(self):
        s = socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return s

    def ends(self):
        """Both ends of a new link that is about to be there."""
        initiator = self.connect()
        target, _ = self.server.accept()
        target.settimeout(PATIENCE)
        return initiator, target

    def pair(self):
        """Both ends of a new link."""
        initiator, target = self.ends()
        initiator.sendall(b"x")
        assert target.recv(1) == b"x"
        return initiator, target

    def pair_of_pdus(self):
        """The same; nothing but PDUs goes over it."""
        initiator = self.connect()
        target, _ = self.server.accept()
        target.settimeout(PATIENCE)
        return initiator, target

    def end(self):
        self.tell("quit")
        assert self.process.wait(PATIENCE) == 0
        self.process.stdout.close()
        self.server.close()
        self.dir.cleanup()


def receive(s, n):
    data = b""
    while len(data) < n:
        part = s.recv(n - len(data))
        if not part:
            break
        data += part
    return data


def silent(s, seconds=0.3):
    """Neither bytes nor an end."""
    return not select.select([s], [], [], seconds)[0]


def ending(s):
    """How a connection ends, and what came before."""
    data = b""
    try:
        while part := s.recv(65536):
            data += part
        return "fin", data
    except ConnectionResetError:
        return "rst", data


def drain(s, into):
    while part := s.recv(1 << 16):
        into.append(part)


def test_forwards(w):
    data = random.randbytes(5 << 20)
    a, b = w.pair()
    for x, y in ((a, b), (b, a)):
        got = []
        t = threading.Thread(target=drain, args=(y, got))
        t.start()
        x.sendall(data)
        x.shutdown(socket.SHUT_WR)  # the end of one way leaves the other open
        t.join(PATIENCE)
        assert b"".join(got) == data
    s = w.stats()
    assert s["to_target"] == len(data) + 1 and s["to_initiator"] == len(data), s


def test_backpressure(w):
    """Who does not read stops who writes, and loses nothing."""
    a, b = w.pair()
    a.setblocking(False)
    sent = 0
    block = bytes(65536)
    while select.select([], [a], [], 0.2)[1]:
        sent += a.send(block)
    assert sent < 64 << 20
    a.settimeout(PATIENCE)
    a.shutdown(socket.SHUT_WR)
    got = []
    drain(b, got)
    assert sum(map(len, got)) == sent


def test_cut(w):
    for how in ("rst", "fin"):
        for ends in ("both", "initiator", "target"):
            a, b = w.pair()
            w.tell("cut %s %s" % (how, ends))
            for s, name in ((a, "initiator"), (b, "target")):
                if ends in ("both", name):
                    assert ending(s) == (how, b""), (how, ends, name)
                else:
                    s.sendall(b"is anybody there?")
                    assert silent(s)
            a.close()
            b.close()
    assert w.stats()["cuts"] == 6


def test_cut_oldest(w):
    """Not a link that an end has given up already, and that the other has yet to close: nobody would
    make another one for it."""
    links = [w.pair() for _ in range(4)]
    links[0][0].shutdown(socket.SHUT_WR)
    assert links[0][1].recv(1) == b""
    links[1][1].shutdown(socket.SHUT_WR)
    assert links[1][0].recv(1) == b""
    w.tell("cut rst oldest")
    assert [ending(s) for s in links[2]] == [("rst", b"")] * 2
    assert silent(links[0][0]) and silent(links[1][1]) and silent(links[3][0])
    w.tell("cut rst oldest")
    assert [ending(s) for s in links[3]] == [("rst", b"")] * 2
    assert w.stats()["cuts"] == 2


def test_cut_after(w):
    for way in ("to-target", "to-initiator", "both"):
        a, b = w.pair()
        w.tell("cut fin after=1000 " + way)
        x, y = (b, a) if way == "to-initiator" else (a, b)
        y.sendall(bytes(999 if way == "both" else 5000))
        x.sendall(bytes(5000))
        assert ending(y) == ("fin", bytes(1000)), way
        a, b = w.pair()  # it comes once
        a.sendall(bytes(5000))
        assert receive(b, 5000) == bytes(5000)
    w.tell("cut rst after=10 to-target each")
    for _ in range(3):
        a, b = w.pair()
        a.sendall(bytes(100))
        assert ending(a)[0] == "rst"
    w.tell("calm")
    a, b = w.pair()
    a.sendall(bytes(100))
    assert receive(b, 100) == bytes(100)


def test_every(w):
    w.tell("every 20 rst")
    for _ in range(3):
        a = w.connect()
        assert ending(a)[0] == "rst"
        a.close()
    w.tell("every 0")
    before = w.stats()["cuts"]
    while select.select([w.server], [], [], 0)[0]:
        w.server.accept()[0].close()
    a, _ = w.pair()
    assert silent(a)
    assert w.stats()["cuts"] == before


def test_delay(w):
    a, b = w.pair()
    w.tell("delay 300 to-target")
    start = time.monotonic()
    a.sendall(b"late")
    b.sendall(b"at once")
    assert receive(a, 7) == b"at once"
    assert receive(b, 4) == b"late"
    assert time.monotonic() - start >= 0.3
    w.tell("delay 0")
    data = random.randbytes(3 << 20)
    w.tell("delay 50")
    a.sendall(data)
    a.shutdown(socket.SHUT_WR)
    assert receive(b, len(data) + 1) == data


def test_split(w):
    a, b = w.pair()
    w.tell("split 3 gap=20000")
    a.sendall(b"abcdefgh")
    pieces = []
    while sum(map(len, pieces)) < 8:
        pieces.append(b.recv(100))
    assert b"".join(pieces) == b"abcdefgh" and all(len(p) <= 6 for p in pieces) and len(pieces) > 1, pieces
    w.tell("split 100")
    data = random.randbytes(1 << 20)
    threading.Thread(target=a.sendall, args=(data,)).start()
    assert receive(b, len(data)) == data


def test_corrupt(w):
    a, b = w.pair()
    data = random.randbytes(1000)
    for way, x, y in (("", a, b), ("to-target", a, b), ("to-initiator", b, a)):
        w.tell("corrupt at=1500 " + way)
        x.sendall(data)
        assert receive(y, 1000) == data
        x.sendall(data)
        got = receive(y, 1000)
        assert [i for i in range(1000) if got[i] != data[i]] == [500], way
        x.sendall(data)
        assert receive(y, 1000) == data
    assert w.stats()["corrupted"] == 3


def pdu(opcode, data, final=True, flags=0, itt=0):
    """With a data digest, which nobody checks here."""
    header = bytes([opcode, (0x80 if final else 0) | flags, 0, 0, 0]) + len(data).to_bytes(3, "big")
    header += bytes(8) + itt.to_bytes(4, "big") + bytes(28)
    return header + data + bytes(-len(data) % 4) + (b"crc!" if data else b"")


def test_spoil(w):
    a, b = w.pair()
    b.close()
    a.close()
    w.tell("spoil 1 to-target")
    a, b = w.pair_of_pdus()
    login, plain, write = pdu(0x43, b"key=value")[:-4], pdu(0x01, b""), pdu(0x05, b"x" * 1001, final=False)
    for piece in (1, 47, 48, 49, 5000):
        stream = login + plain + write + plain + write
        for at in range(0, len(stream), piece):
            a.sendall(stream[at:at + piece])
        got = receive(b, len(stream))
        wrong = [i for i in range(len(stream)) if got[i] != stream[i]]
        first = len(login) + 48 + 48
        second = first + len(write) + 48
        assert len(wrong) == 2 and first <= wrong[0] < first + 1001 and second <= wrong[1] < second + 1001, wrong
    w.tell("spoil 0 lose=1 to-target")
    a.sendall(write + plain + pdu(0x05, b"last") + write + plain)
    assert receive(b, 48 + 56 + 48) == plain + pdu(0x05, b"last") + plain
    assert w.stats()["spoilt"] == 10 and w.stats()["lost"] == 2
    w.tell("spoil 0")


def test_next(w):
    """Once, and to a PDU of that kind alone, however it comes in pieces."""
    w.tell("next lose data-in", code=1)  # nothing is known of the PDUs
    w.tell("spoil 0")
    for words in ("next", "next lose", "next data-in", "next lose login", "next lose cut data-in"):
        w.tell(words, code=1)
    command, bare, out = pdu(0x01, b"w" * 100), pdu(0x01, b""), pdu(0x05, b"o" * 100)
    part, last = pdu(0x25, b"p" * 100, final=False), pdu(0x25, b"l" * 100)
    ask = pdu(0x25, b"l" * 100, flags=0x40, itt=7)
    other, answer = pdu(0x21, b"", itt=8), pdu(0x21, b"", itt=7)
    for piece in (1, 47, 48, 49, 5000):
        for kind, to_target, stream, chosen in (
                ("command", True, (out, bare, command, command), 2),
                ("data-out", True, (command, bare, out, out), 2),
                ("data-in", False, (answer, last, part, part), 2),
                ("response", False, (answer, ask, other, part, answer, answer), 4)):
            for deed in ("lose", "spoil", "cut fin"):
                a, b = w.pair_of_pdus()
                x, y = (a, b) if to_target else (b, a)
                if deed == "spoil" and kind == "response":
                    continue  # it has no data
                w.tell("next %s %s" % (deed, kind))
                assert w.stats()["awaited"] == 1
                sent = b"".join(stream)
                try:
                    for at in range(0, len(sent), piece):
                        x.sendall(sent[at:at + piece])
                except (ConnectionResetError, BrokenPipeError):
                    assert deed == "cut fin"
                before, rest = b"".join(stream[:chosen]), b"".join(stream[chosen + 1:])
                if deed == "cut fin":
                    assert ending(y) == ("fin", before), (kind, deed, piece)
                elif deed == "lose":
                    assert receive(y, len(before + rest)) == before + rest, (kind, deed, piece)
                else:
                    got = receive(y, len(sent))
                    wrong = [i - len(before) for i in range(len(sent)) if got[i] != sent[i]]
                    assert len(wrong) == 1 and 48 <= wrong[0] < 148, (kind, piece, wrong)
                assert w.stats()["awaited"] == 0
                a.close()
                b.close()
    w.tell("next cut data-in")
    w.tell("calm")
    assert w.stats()["awaited"] == 0


def test_spoil_links(w):
    """Each link has a chance of its own: the same PDUs are not spoilt on all of them."""
    w.tell("spoil 10 to-target")
    stream = pdu(0x05, b"data", final=False) * 100
    patterns = []
    for _ in range(3):
        a, b = w.ends()
        a.sendall(stream)
        got = receive(b, len(stream))
        patterns.append([i for i in range(len(got)) if got[i] != stream[i]])
    assert all(patterns) and patterns[0] != patterns[1] != patterns[2] != patterns[0], patterns


def test_stall(w):
    a, b = w.pair()
    w.tell("stall to-target")
    a.sendall(b"waits")
    b.sendall(b"passes")
    assert receive(a, 6) == b"passes"
    assert silent(b)
    w.tell("go")
    assert receive(b, 5) == b"waits"


def test_hole(w):
    a, b = w.pair()
    w.tell("hole on")
    a.sendall(b"lost")
    b.sendall(b"lost")
    c = w.connect()
    c.sendall(b"lost")
    assert silent(a) and silent(b, 0) and silent(c, 0) and silent(w.server, 0)
    w.tell("hole off")
    a.sendall(b"lost, too")  # bytes of it are missing for good
    assert silent(b)
    assert w.stats()["dropped"] == 4 * 3 + 9
    a.close()
    assert silent(b)
    a, b = w.pair()


def test_refuse(w):
    w.tell("refuse")
    try:
        w.connect()
        raise AssertionError("not refused")
    except ConnectionRefusedError:
        pass
    w.tell("accept")
    w.pair()
    w.tell("refuse 300")
    start = time.monotonic()
    while True:
        try:
            w.connect().close()
            break
        except ConnectionRefusedError:
            time.sleep(0.01)
    assert time.monotonic() - start > 0.2


def test_target(w):
    other = socket.create_server(("127.0.0.1", 0))
    other.settimeout(PATIENCE)
    w.tell("target 127.0.0.1:%d" % other.getsockname()[1])
    a = w.connect()
    b, _ = other.accept()
    b.sendall(b"y")
    assert receive(a, 1) == b"y"
    other.close()
    try:
        assert ending(w.connect())[0] == "rst"  # nobody listens there now
    except ConnectionResetError:
        pass  # it came before the option was set
    assert w.stats()["unreached"] == 1


def test_reset_passes(w):
    """A peer's own RST reaches the other end as a RST."""
    for one, other in ((0, 1), (1, 0)):
        ends = w.pair()
        ends[one].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        ends[one].close()
        assert ending(ends[other])[0] == "rst"


def test_events(w):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(PATIENCE)
    s.connect(w.control)
    f = s.makefile("rw")
    f.write("events\n")
    f.flush()
    assert f.readline() == "ok\n"
    w.pair()
    assert f.readline() == "event link 1\n"
    w.tell("cut")
    assert f.readline() == "event end 1\n"
    w.tell("refuse 1")
    assert f.readline() == "event accepting\n"
    f.close()
    s.close()


def test_wrong(w):
    for words in ("sing", "cut sideways", "cut 5", "split", "corrupt", "corrupt at=x", "hole",
                  "hole maybe", "target", "target nowhere", "stall initiator", "every -1", "delay 1 2"):
        w.tell(words, code=1)
    w.pair()


def main():
    random.seed(1)
    tests = {n: f for n, f in globals().items() if n.startswith("test_")}
    failed = 0
    for name, function in tests.items():
        w = World(sys.argv[1])
        try:
            function(w)
            w.end()
        except Exception as e:  # pylint: disable=broad-except
            print("FAIL", name, type(e).__name__, e)
            failed += 1
            w.process.kill()
    print("%d passed, %d failed" % (len(tests) - failed, failed))
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
