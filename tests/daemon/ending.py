#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What a service manager relies on: signs of life, which stop when a loop hangs; an end within its
time, whatever hangs; and levels for the journal.

A thread is made to hang by stopping it alone, as a debugger does.

usage: ending.py [CASE]...
"""
import os
import pathlib
import re
import signal
import socket
import struct
import subprocess
import sys
import time

from world import BIN, FLUSH, Hung, IQN, Nbd, READ, Target, World, WRITE, fail, run, sessions, wait_for


class Manager:
    """The service manager's end."""

    def __init__(self, world, watchdog_ms):
        self.world, self.ms = world, watchdog_ms
        self.s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.s.bind(str(world.tmp / "notify"))
        self.env = {**os.environ, "NOTIFY_SOCKET": str(world.tmp / "notify"), "WATCHDOG_USEC": str(watchdog_ms * 1000)}
        self.env.pop("WATCHDOG_PID", None)

    def word(self, seconds=20):
        self.s.settimeout(seconds)
        try:
            return self.s.recv(100).decode()
        except TimeoutError:
            return None

    def until(self, word, seconds=20):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.word(end - time.monotonic()) == word:
                return
        fail(f"{word} did not come")

    def lives(self):
        """There are signs of life, more often than is asked for."""
        for _ in range(6):
            assert self.word(self.ms / 1000) == "WATCHDOG=1"

    def is_silent(self):
        """None is left, and none comes."""
        end = time.monotonic() + self.ms / 1000
        while self.word(self.ms / 1000 / 2) is not None:
            if time.monotonic() > end:
                fail("there are signs of life of a process that hangs")
        assert self.word(2 * self.ms / 1000) is None


def start_iod(w, log, *options, env=None):
    with open(log, "w", encoding="utf-8") as f:
        p = w.start([BIN / "iscsi-iod", "--socket", w.tmp / "iod.sock", "-v", *options], stdout=f, stderr=f, env=env)
    w.iods.add(p.pid)
    wait_for("iscsi-iod listens", 10, (w.tmp / "iod.sock").exists)
    return p


def stop(p):
    """Stops a process, and waits until it stands."""
    p.send_signal(signal.SIGSTOP)
    stat = pathlib.Path(f"/proc/{p.pid}/stat")
    wait_for("it stands", 10, lambda: stat.read_text(encoding="ascii").rsplit(")", 1)[1].split()[0] == "T")


def ends(p, least, most, status):
    """Within so many seconds, or twice as many where the machine is busy."""
    p.terminate()
    began = time.monotonic()
    try:
        got = p.wait(most + 20)
    except subprocess.TimeoutExpired:
        fail("it hangs")
    took = time.monotonic() - began
    assert least <= took <= 2 * most and got == status, f"it took {took:.1f} s and ended with {got}"


def every_loop_lives():
    """The data plane gives signs of life as long as all its loops make turns."""
    with World() as w:
        m = Manager(w, 2000)
        p = start_iod(w, w.tmp / "iod.log", "--threads", "3", env=m.env)
        m.until("READY=1")
        m.lives()
        for loop in ("iod-loop-2", "iod-loop-1", "iscsi-iod"):
            hung = Hung(p.pid, loop)
            m.is_silent()
            hung.let_go()
            m.until("WATCHDOG=1")
            m.lives()
        text = (w.tmp / "iod.log").read_text(encoding="utf-8")
        for loop in (1, 2):
            assert re.search(fr"loop {loop} has made no turn for \d+ ms", text), text
        ends(p, 0, 6, 0)
        m.until("STOPPING=1")


def control_plane_lives():
    with World() as w:
        m = Manager(w, 2000)
        with open(w.tmp / "iscsid.log", "w", encoding="utf-8") as f:
            w.daemon = w.start([BIN / "iscsid", "--root", w.root, "-f"], stdout=f, stderr=f, env=m.env)
        m.until("READY=1")
        w.find_iod(w.api())
        m.lives()
        hung = Hung(w.daemon.pid, "iscsid")
        m.is_silent()
        hung.let_go()
        m.until("WATCHDOG=1")
        m.lives()
        ends(w.daemon, 0, 6, 0)


def thread_that_hangs():
    """Neither daemon waits for one when it is told to end, and each says so."""
    with World() as w:
        p = start_iod(w, w.tmp / "iod.log", "--threads", "2", "--stop-timeout", "1")
        api = w.up("--iod-socket", w.tmp / "iod.sock")
        api.ask("hello")
        hung = Hung(p.pid, "iod-loop-1"), Hung(w.daemon.pid, "iscsid")
        p.terminate()
        w.daemon.terminate()
        began = time.monotonic()
        hung[0].reap()
        assert p.wait(40) == 1 and 10 < time.monotonic() - began < 40
        assert w.daemon.wait(40) == 1
        for log, name in (("iod.log", "data"), ("iscsid.log", "control")):
            text = (w.tmp / log).read_text(encoding="utf-8")
            assert f"the {name} plane has not come to its end within" in text, text


def log_is_bounded():
    """The log of a data plane that nobody else looks after: a large one gives way, and what is said follows."""
    with World() as w:
        log = w.tmp / "own.log"
        with open(log, "wb") as f:
            f.truncate(5 << 20)
        p = start_iod(w, w.tmp / "iod.log", "--log", log)
        assert (w.tmp / "own.log.1").stat().st_size == 5 << 20
        wait_for("it says something", 10, lambda: "ready" in log.read_text(encoding="utf-8"))
        ends(p, 0, 6, 0)
        assert (w.tmp / "iod.log").stat().st_size == 0


def target_that_is_dead():
    """The control plane ends at once, whatever it was about to do with a target that does not answer."""
    with World() as w:
        t, dead = Target(w, "--target", IQN, "--lun", "ram:8M"), Target(w, "--target", IQN + "2", "--lun", "ram:8M")
        api = w.up()
        for x in (t, dead):
            w.adm("-m", "discovery", "-t", "st", "-p", x.portal)
        w.adm("-m", "node", "-T", IQN, "-l")
        w.adm("-m", "session", "--export", "nbd")
        for x in (t, dead):
            stop(x.p)
        api.ask("node.login", target=IQN + "2", wait=False)
        begun = Unanswered(w, "session.rescan"), Unanswered(w, "session.logout")
        time.sleep(0.5)
        ends(w.daemon, 0, 6, 0)
        for b in begun:
            b.close()
        # What it had begun goes on: the one that comes next ends the session, and asks nobody for ever.
        w.iscsid()
        api = w.api()
        wait_for("the session has gone", 40, lambda: IQN not in sessions(api))


class Unanswered:
    """A request whose answer does not come soon."""

    def __init__(self, w, method):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.connect(str(w.root / "run/iscsid.sock"))
        self.s.sendall(f'{{"id":1,"method":"{method}"}}\n'.encode())

    def close(self):
        self.s.close()


def clients_that_are_stuck():
    """The data plane ends within its time: clients that stop in the middle, replies that nobody reads, a flush
    that does not end."""
    with World() as w:
        t = Target(w, "--target", IQN, "--lun", "ram:64M", "--lun", "ram:8M,wce=1")
        p = start_iod(w, w.tmp / "iod.log", "--stop-timeout", "2")
        w.up("--iod-socket", w.tmp / "iod.sock")
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal, "-l")
        paths = [l.split()[1] for l in w.adm("-m", "session", "--export", "nbd").splitlines()]
        half, deaf, flush = Nbd(paths[0]), Nbd(paths[0]), Nbd(paths[1])
        half.s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, WRITE, 1, 0, 1 << 20) + bytes(4096))
        deaf.s.setblocking(False)
        try:
            for i in range(100000):
                deaf.s.send(struct.pack(">IHHQQI", 0x25609513, 0, READ, i, 0, 1 << 20))
        except BlockingIOError:
            pass
        assert flush.ask(WRITE, 0, 4096, bytes(4096))[0] == 0
        stop(t.p)
        flush.s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, FLUSH, 99, 0, 0))
        time.sleep(0.3)
        ends(p, 1.5, 8, 0)
        text = (w.tmp / "iod.log").read_text(encoding="utf-8")
        assert "exports and disks have not ended in time" in text, text


def logout_of_all():
    """daemon.shutdown with logout ends within its time, although a target does not answer."""
    with World() as w:
        t = Target(w, "--target", IQN, "--lun", "ram:8M")
        start_iod(w, w.tmp / "iod.log", "--stop-timeout", "1")
        api = w.up("--iod-socket", w.tmp / "iod.sock")
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal, "-l")
        stop(t.p)
        began = time.monotonic()
        api.ask("daemon.shutdown", deadline_ms=700, logout=True)
        assert w.daemon.wait(20) == 0 and 0.6 < time.monotonic() - began < 15
        text = (w.tmp / "iscsid.log").read_text(encoding="utf-8")
        assert "not all sessions are logged out in time" in text, text


def levels_for_the_journal():
    """Lines have a level where standard error is what JOURNAL_STREAM names, and the program's name elsewhere."""
    with World() as w:
        for journal in (True, False):
            log = w.tmp / f"out{journal}.log"
            with open(log, "w", encoding="utf-8") as f:
                st = os.fstat(f.fileno())
                env = {**os.environ, "JOURNAL_STREAM": f"{st.st_dev}:{st.st_ino + (not journal)}"}
                w.daemon = w.start([BIN / "iscsid", "--root", w.root, "-f"], stdout=f, stderr=f, env=env)
                w.find_iod(w.api())
                ends(w.daemon, 0, 6, 0)
                os.kill(w.iod, signal.SIGTERM)
                wait_for("iscsi-iod has ended", 10, lambda: not pathlib.Path(f"/proc/{w.iod}").exists() or
                         not pathlib.Path(f"/proc/{w.iod}/fd").exists())
                p = w.start([BIN / "iscsi-iod", "--socket", w.tmp / "iod2.sock", "-v"], stdout=f, stderr=f, env=env)
                wait_for("iscsi-iod listens", 10, (w.tmp / "iod2.sock").exists)
                time.sleep(0.2)
                ends(p, 0, 6, 0)
            lines = log.read_text(encoding="utf-8").splitlines()
            form = r"<[3467]>[^<]" if journal else r"(iscsid|iscsi-iod): "
            assert len(lines) >= 2 and all(re.match(form, l) for l in lines), lines


if __name__ == "__main__":
    if not sys.platform.startswith("linux"):
        sys.exit(77)
    run([every_loop_lives, control_plane_lives, thread_that_hangs, log_is_bounded, target_that_is_dead,
         clients_that_are_stuck, logout_of_all, levels_for_the_journal])
