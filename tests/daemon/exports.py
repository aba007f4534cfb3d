#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""NBD exports beside each other on one session and one loop: what clients of one do does not hold up
another, nor the session."""
import shutil
import struct
import subprocess
import threading
import time

from world import IQN, READ, UNIT, WRITE, Load, Nbd, Target, World, fail, run, sessions, wait_for


def exported(w, *luns):
    """A session whose LUNs are exported; the paths of their sockets."""
    t = Target(w, "--target", IQN, *[o for lun in luns for o in ("--lun", lun)])
    api = w.up("--threads", "1")
    api.ask("node.new", target=IQN, portal=t.portal, values=[["node.export", "nbd"]])
    assert all(r["ok"] for r in api.ask("node.login")["results"])

    def found():
        found = sessions(api).get(IQN, {}).get("luns") or []
        return len(found) == len(luns) and all(x["exports"] for x in found) and found
    return api, [x["exports"][0]["path"] for x in wait_for("all are exported", 30, found)]


def send(nbd, what, offset, length, data=b""):
    nbd.handle += 1
    nbd.s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, what, nbd.handle, offset, length) + data)


def flood(path, count, what, length):
    """So many clients that ask for more than they will ever take."""
    held = []
    for _ in range(count):
        nbd = Nbd(path)
        nbd.s.setblocking(False)
        try:
            for _ in range(10000):
                send(nbd, what, 0, length)
        except BlockingIOError:
            pass
        held.append(nbd)
    return held


def unread():
    """63 clients of one LUN never take a reply."""
    with World() as w:
        api, (first, second) = exported(w, "ram:16M", "ram:16M")
        load = Load(second)
        held = flood(first, 62, READ, 65536) + flood(first, 1, READ, 16 << 20)
        load.longest = 0
        load.goes_on(300)
        same = Nbd(first)  # the 64th of that LUN is served as well
        for i in range(50):
            assert same.ask(READ, i * UNIT, UNIT)[0] == 0
        assert load.longest < 15, f"another LUN waits {load.longest:.2f} s"
        load.stop()
        load.compare_all()
        began = time.monotonic()
        assert all(r["ok"] for r in api.ask("node.logout")["results"])
        took = time.monotonic() - began
        assert took < 30, f"logged out in {took:.1f} s"
        print(f"{len(held)} never read; {load.ios} I/Os beside them, the longest {load.longest:.3f} s, "
              f"logged out in {took:.2f} s")


def large():
    """A small read beside requests of 32 MiB, of which pieces are waiting all the time."""
    with World() as w:
        _, (path,) = exported(w, "ram:64M")
        greedy, other, over = Nbd(path), Nbd(path), threading.Event()

        def ask():
            while not over.is_set():
                assert greedy.ask(READ, 0, 32 << 20)[0] == 0
                assert greedy.ask(WRITE, 32 << 20, 32 << 20, bytes(32 << 20))[0] == 0
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        worst = 0
        for i in range(200):
            began = time.monotonic()
            assert other.ask(READ, i * UNIT, UNIT)[0] == 0
            worst = max(worst, time.monotonic() - began)
        over.set()
        thread.join(20)
        assert worst < 5, f"a read waits {worst:.2f} s"
        print(f"the slowest read beside requests of 32 MiB took {worst:.3f} s")


def two_write():
    """A flush of one client covers what another has been told is written: multi-conn."""
    if not shutil.which("nbdcopy"):
        print("SKIP: no nbdcopy")
        return
    with World() as w:
        _, (path,) = exported(w, "ram:64M")
        image, back = w.tmp / "image", w.tmp / "back"
        with open("/dev/urandom", "rb") as f:
            image.write_bytes(f.read(64 << 20))
        uri = f"nbd+unix:///?socket={path}"
        for source, sink in ((image, uri), (uri, back)):
            subprocess.run(["nbdcopy", "--connections=8", "--requests=64", "--flush", str(source), str(sink)],
                           check=True, timeout=120)
        if image.read_bytes() != back.read_bytes():
            fail("nbdcopy over 8 connections: not the same")
        one, two = Nbd(path), Nbd(path)
        for i in range(100):
            data = bytes([i]) * UNIT
            assert one.ask(WRITE, 0, UNIT, data)[0] == 0
            assert two.ask(READ, 0, UNIT) == (0, data)


run([unread, large, two_write])
