#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""lunette top: what it tells, and how it treats a terminal.

usage: top.py [CASE...]
"""
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time

from world import BIN, IQN, Load, Target, World, fail, run, wait_for

ESCAPE = re.compile(r"\x1b\[[?0-9;]*[A-Za-z]")


class Top:
    """The program on a terminal of our own."""

    def __init__(self, world, columns, *options):
        self.master, self.slave = pty.openpty()
        self.resize(columns)
        self.was = termios.tcgetattr(self.slave)
        self.raw = ""
        self.p = subprocess.Popen([BIN / "lunette", "top", "--root", world.root, "-i", "0.2", *options],
                                  stdin=self.slave, stdout=self.slave, stderr=self.slave, start_new_session=True,
                                  preexec_fn=lambda: fcntl.ioctl(self.slave, termios.TIOCSCTTY, 0))
        world.started.append(self.p)

    def resize(self, columns, rows=12):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self.master], [], [], 0.05)[0]:
                self.raw += os.read(self.master, 65536).decode()

    def until(self, text, seconds=20):
        end = time.monotonic() + seconds
        while text not in self.raw:
            if time.monotonic() > end:
                fail(f"the terminal never shows {text!r}: {self.raw[-1500:]!r}")
            self.read(0.1)

    def frame(self):
        """The lines of the last picture that is whole."""
        frames = self.raw.split("\x1b[H")
        return [ESCAPE.sub("", line).rstrip("\r") for line in frames[-2].split("\n")]

    def type(self, text):
        os.write(self.master, text.encode())

    def end(self, code):
        got = self.p.wait(10)
        self.read(0.2)
        if got != code:
            fail(f"it ends with {got} instead of {code}: {self.raw[-500:]!r}")
        assert termios.tcgetattr(self.slave) == self.was, "the terminal is not as it was"
        assert self.raw.count("\x1b[?1049h") == 1 and self.raw.rstrip().endswith("\x1b[?25h\x1b[?1049l"), self.raw[-200:]
        os.close(self.master)
        os.close(self.slave)


def working(w):
    """A session with I/O."""
    target = Target(w, "--target", IQN, "--lun", "ram:8M")
    api = w.up()
    api.ask("discovery.sendtargets", portal=target.portal, type="sendtargets", login=True)
    path = api.ask("session.export", kind="nbd")["exports"][0]["path"]
    load = Load(path, reconnect=True)
    load.goes_on()
    return target, load


def once(w, *options):
    p = subprocess.run([BIN / "lunette", "top", "--root", w.root, "--once", "-i", "0.5", *options],
                       stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=True)
    return p.stdout


def what_is_told():
    with World() as w:
        _, load = working(w)
        o = json.loads(once(w, "--json"))
        s = o["sessions"][0]
        lun = s["luns"][0]
        assert 0.4 < o["seconds"] < 5 and s["target"] == IQN and s["state"] == "LOGGED_IN", o
        assert lun["reads_per_s"] > 0 and lun["writes_per_s"] > 0, lun
        assert abs(lun["read_bytes_per_s"] - lun["reads_per_s"] * 4096) < 1, lun
        assert lun["mean_ns"] > 0 and lun["p99_ns"] >= 1024 and lun["target_ns"] > 0, lun
        lines = once(w).splitlines()
        assert lines[0].startswith("1 session, 1 up"), lines
        assert lines[2].split()[:3] == ["SID", "LUN", "STATE"] and lines[3].endswith(IQN), lines
        load.stop()
        with open(w.tmp / "many", "wb") as f:
            p = w.start([BIN / "lunette", "top", "--root", w.root, "-i", "0.1", "--json"], stdout=f)
            time.sleep(1)
            p.send_signal(signal.SIGINT)
            assert p.wait(10) == 130
        many = [json.loads(line) for line in (w.tmp / "many").read_text().splitlines()]
        assert len(many) >= 3 and many[-1]["sessions"][0]["luns"][0]["writes_per_s"] == 0, many


def nobody_is_there():
    with World() as w:
        p = subprocess.run([BIN / "lunette", "top", "--root", w.root, "--once"], capture_output=True, text=True,
                           timeout=30, check=False)
        assert p.returncode == 3 and "no iscsid at" in p.stderr and p.stdout == "", p
        assert f"`iscsiadm --root {w.root} -m session` starts it" in p.stderr, p
        t = Top(w, 80)
        t.until("no iscsid at")
        w.up()  # it is found as soon as it is there
        stranger = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", str(BIN / "lunette")]
        if os.geteuid() == 0 and subprocess.run([*stranger, "-V"], capture_output=True, check=False).returncode == 0:
            p = subprocess.run([*stranger, "top", "--root", w.root, "--once"], capture_output=True, text=True,
                               timeout=30, check=False)
            assert p.returncode == 3 and "no access to iscsid at" in p.stderr, p
            assert "only its own user and root may ask it" in p.stderr, p
        t.until("0 sessions, 0 up")
        w.kill()
        t.raw = "\x1b[?1049h"
        t.until("no iscsid at")
        w.up()
        t.raw = "\x1b[?1049h"
        t.until("0 sessions, 0 up")
        t.type("q")
        t.end(0)


def terminals():
    with World() as w:
        target, load = working(w)
        for columns in (100, 80, 60, 45, 25, 12, 3, 1):
            t = Top(w, columns)
            t.until("\x1b[H", 10)
            t.read(0.8)
            lines = t.frame()
            assert len(lines) >= 4 and all(len(line) < max(columns, 2) for line in lines), (columns, lines)
            if columns >= 60:
                assert IQN[-10:] in lines[3] and "mean" in lines[2], lines
            if columns == 80:
                for more in (30, 200):
                    t.resize(more)
                    t.read(0.6)
                    assert all(len(line) < more for line in t.frame()), t.frame()
            t.type("xyzq" if columns % 2 else "q")
            t.end(0)
        t = Top(w, 80)
        t.until(" up")
        t.type("\x1a")  # Ctrl-Z does nothing
        t.read(0.3)
        t.type("\x03")
        t.end(130)
        t = Top(w, 90)
        t.until("UP")
        target.p.kill()
        t.until("FAILED")
        os.kill(t.p.pid, signal.SIGTERM)
        t.end(143)
        load.enough.set()


def many_rows():
    """What does not fit the terminal is left out."""
    with World() as w:
        luns = [o for _ in range(30) for o in ("--lun", "ram:1M")]
        target = Target(w, "--target", IQN, *luns)
        api = w.up()
        api.ask("discovery.sendtargets", portal=target.portal, type="sendtargets", login=True)
        wait_for("all LUNs", 20, lambda: len(api.ask("session.stats")["sessions"][0]["luns"]) == 30)
        t = Top(w, 80)
        t.until(" up")
        t.read(0.5)
        assert len([line for line in t.frame() if line]) <= 12, t.frame()
        t.type("q")
        t.end(0)
        assert len(once(w).splitlines()) == 33


if __name__ == "__main__":
    run([what_is_told, nobody_is_there, terminals, many_rows])
