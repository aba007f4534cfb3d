#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""terminal.py - what a person sees: progress and messages on a terminal of some columns.

The terminal is a pty of our own, whose output is replayed on a screen that wraps as terminals do.
"""
import fcntl
import os
import pty
import re
import select
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time

HERE = os.path.dirname(os.path.realpath(__file__))
BIN = os.path.realpath(os.environ.get("LUNETTE_BIN", HERE + "/../../build/bin"))
IQN = "iqn.2026-11.example:t"
failed = []


def check(what, good, shown=""):
    if not good:
        failed.append(what)
        print(f"FAIL: {what}\n{shown}")


class Screen:
    """Rows of a terminal that begins a new row when one is full, and never scrolls away."""

    def __init__(self, columns):
        self.columns, self.rows, self.at, self.wrapped = columns, [""], 0, 0

    def put(self, text):
        while text:
            if text.startswith("\r"):
                self.at = 0
            elif text.startswith("\n"):
                self.rows.append("")
                self.at = 0
            elif text.startswith("\x1b[K"):
                self.rows[-1] = self.rows[-1][:self.at]
                text = text[2:]
            else:
                if self.at >= self.columns:
                    self.rows.append("")
                    self.at = 0
                    self.wrapped += 1
                row = self.rows[-1]
                self.rows[-1] = row[:self.at] + text[0] + row[self.at + 1:]
                self.at += 1
            text = text[1:]

    def text(self):
        return "\n".join(self.rows)


class Terminal:
    def __init__(self, argv, columns, stdin=None):
        self.master, slave = pty.openpty()
        self.slave = slave
        self.screen = Screen(columns)
        self.raw = ""
        self.resize(columns)
        tty = [slave] * 2
        self.process = subprocess.Popen([BIN + "/lunette", *argv], stdin=stdin or slave, stdout=tty[0],
                                        stderr=tty[1], start_new_session=True)

    def resize(self, columns):
        fcntl.ioctl(self.slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.screen.columns = columns

    def run(self, seconds, until=None):
        """Replays what comes, until the program ends, or says `until`, or the time is up."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if select.select([self.master], [], [], 0 if ended else 0.05)[0]:
                text = os.read(self.master, 65536).decode()
                self.raw += text
                self.screen.put(text)
            elif ended:
                break
            if until is not None and until in self.raw:
                return True
        return until is None

    def end(self, seconds=30):
        self.run(seconds)
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
            check("the program ends", False, self.screen.text())
        os.close(self.master)
        os.close(self.slave)
        return self.process.returncode


def start(*argv):
    p = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    return p, p.stdout.readline().strip().removeprefix("listening on ")


def rows_with(screen, word):
    return [r for r in screen.rows if word in r]


def one_line(url, columns):
    t = Terminal(["copy", "img", url, "--verify"], columns)
    code = t.end()
    shown = t.screen.text()
    check(f"a copy on {columns} columns", code == 0, shown)
    check(f"{columns} columns: nothing wraps", t.screen.wrapped == 0 or columns < 10, shown)
    check(f"{columns} columns: several states were drawn", t.raw.count("\x1b[K") >= 4, repr(t.raw))
    if columns >= 50:
        check(f"{columns} columns: one line of progress each", len(rows_with(t.screen, "copying ")) == 1 and
              len(rows_with(t.screen, "verifying ")) == 1, shown)
    check(f"{columns} columns: the share is shown", "100 %" in shown or columns < 10, shown)
    widest = max(len(f.split("\x1b")[0]) for f in t.raw.split("\r") if "\x1b[K" in f)
    check(f"{columns} columns: no line is longer", widest < max(columns, 1), str(widest))
    check(f"{columns} columns: a bar where there is room, else numbers", ("[#" in t.raw) == (columns >= 80),
          repr(t.raw[-300:]))


def resized(url):
    t = Terminal(["copy", "long", url], 100)
    t.run(10, until="[##")
    for columns in (60, 41, 25, 8, 120):
        t.run(0.25)
        mark = len(t.raw)
        t.resize(columns)
        t.run(0.5)
        frames = t.raw[mark:].split("\r")[2:]  # the one that was under way had the old width
        check(f"{columns} columns after a resize", frames and
              all(len(f.split("\x1b")[0]) < columns for f in frames), repr(frames))
    check("a copy that is resized", t.end() == 0, t.screen.text())


def stalls(url, way):
    t = Terminal(["copy", "img", url], 70)
    check("a time left", t.run(10, until=" left"), t.screen.text())
    way.send_signal(signal.SIGSTOP)
    check("a stall is shown", t.run(10, until="stalled for"), t.screen.text())
    os.kill(t.process.pid, signal.SIGINT)
    check("Ctrl-C tells what is waited for", t.run(5, until="again ends at once"), t.screen.text())
    check("it ends all the same", t.end() == 130, t.screen.text())
    check("and says so", "without waiting any longer" in t.raw, t.screen.text())
    check("a stall: nothing wraps", t.screen.wrapped == 0, t.screen.text())
    way.send_signal(signal.SIGCONT)


def others_stall(url, way):
    for argv in (["bench", url, "--time", "20"], ["ping", url, "-i", "0"], ["read", url, "--hex"]):
        t = Terminal(argv, 80)
        t.run(1)
        way.send_signal(signal.SIGSTOP)
        t.run(0.5)
        os.kill(t.process.pid, signal.SIGINT)
        # or the signal came between two requests, and it is the logout that is not answered
        check(f"{argv[0]}: Ctrl-C tells what is waited for", t.run(5, until="again ends at once") or
              "without waiting any longer" in t.raw, t.screen.text()[-500:])
        code = t.end()
        check(f"{argv[0]}: interrupted", code == 130, f"{code} {t.screen.text()[-500:]}")
        check(f"{argv[0]}: what there is is printed", argv[0] == "read" or
              rows_with(t.screen, " answered, " if argv[0] == "ping" else "requests "), t.screen.text()[-500:])
        way.send_signal(signal.SIGCONT)


def twice_on_one_request(url, way):
    t = Terminal(["ping", url, "-i", "0"], 80)
    t.run(1)
    way.send_signal(signal.SIGSTOP)
    t.run(0.5)
    os.kill(t.process.pid, signal.SIGINT)
    t.run(5, until="again ends at once")
    os.kill(t.process.pid, signal.SIGINT)
    code = t.end()  # 130: it had ended before
    check("ping: twice ends it", code in (-signal.SIGINT, 130), f"{code} {t.screen.text()[-500:]}")
    check("it says so once", t.screen.text().count("again ends at once") == 1, t.screen.text()[-500:])
    way.send_signal(signal.SIGCONT)


class Target:
    """One that can be killed, and comes back at the same port."""

    def __init__(self, *argv):
        self.argv, self.portal = argv, "127.0.0.1:0"
        self.up()

    def up(self):
        for _ in range(100):  # the port may still be taken
            self.process, portal = start(BIN + "/lunette-target", "--listen", self.portal, "--target", IQN, "--loop", "epoll",
                                          *self.argv)
            if portal:
                self.portal = portal
                return
            self.process.wait()
            time.sleep(0.1)
        sys.exit("the target does not start")

    def down(self):
        self.process.kill()
        self.process.wait()


def outage(columns):
    """The lines about it stand above the progress, which says for how long it is tried yet."""
    target = Target("--lun", "ram:2G,serial=A", "--set", "DefaultTime2Wait=0")
    t = Terminal(["copy", "zeroes", f"iscsi://{target.portal}/{IQN}/0", "--bs", "4k", "--depth", "1",
                  "--no-sparse"], columns)
    check("it begins", t.run(10, until=" left"), t.screen.text())
    target.down()
    check(f"{columns} columns: the progress knows of the outage", t.run(10, until="no connection (11"), t.screen.text())
    t.run(1.5)
    mark = len(t.raw)
    t.run(0.5)
    check("it counts down", re.search(r"no connection \(11[0-9] s\)", t.raw[mark:]), repr(t.raw[mark:]))
    target.up()
    check("it is back", t.run(20, until="connected again"), t.screen.text())
    mark = len(t.raw)
    check("it goes on", t.run(10, until=" left") and "no connection" not in t.raw[mark:], repr(t.raw[mark:]))
    os.kill(t.process.pid, signal.SIGINT)
    check("Ctrl-C afterwards", t.end() == 130, t.screen.text())
    shown = t.screen.text()
    check(f"{columns} columns: nothing wraps in an outage", t.screen.wrapped == 0, shown)
    check(f"{columns} columns: each is told once", shown.count("connection lost (") == 1 and
          shown.count("connected again after") == 1 and len(rows_with(t.screen, "copying ")) == 1, shown)
    check(f"{columns} columns: lines begin where rows begin", all(
        r.startswith("lunette: ") for r in rows_with(t.screen, "lunette: ")), shown)
    target.down()


def interrupted(target, argv, away, code, words):
    t = Terminal([w.replace("URL", f"iscsi://{target.portal}/{IQN}/0") for w in argv], 80, stdin=open("/dev/zero", "rb"))
    what = f"{argv[0]}, Ctrl-C with the target {away}"
    t.run(0.4)
    if away == "gone":
        target.down()
        check(f"{what}: the outage is told", t.run(10, until="connection lost ("), t.screen.text()[-500:])
    else:
        target.process.send_signal(signal.SIGSTOP)
        t.run(0.3)
    os.kill(t.process.pid, signal.SIGINT)
    began = time.monotonic()
    got = t.end(20)
    # a second is promised, and a machine that is busy adds some
    check(f"{what}: it ends", got == code and time.monotonic() - began < 5, f"{got} {t.screen.text()[-500:]}")
    check(f"{what}: '{words}'", words in t.raw, t.screen.text()[-500:])
    check(f"{what}: nothing wraps", t.screen.wrapped == 0, t.screen.text())


def interrupts():
    commands = ((["copy", "-", "URL", "--no-sparse"], 130, "is not complete"),
                (["copy", "URL", "back", "--no-sparse", "--no-space-check", "--length", "16G"], 130, "--resume"),
                (["write", "URL"], 130, "write: interrupted after"),
                (["bench", "URL", "--time", "60"], 130, "per second"),
                (["ping", "URL", "-i", "0.01"], 3, " answered, "),
                (["info", "URL", "--watch"], 130, "logged in"))
    for away in ("gone", "stopped"):
        for argv, code, words in commands:
            target = Target("--lun", "null:1T")
            interrupted(target, argv, away, 130 if away == "stopped" else code, words)
            target.down()
            if os.path.exists("back.partial"):
                os.unlink("back.partial")


def messages(url):
    for argv in (["copy", "--nonsense=1", "a", "b"], ["bench", "iscsi://h/" + IQN + "?data_digst=x"], ["info", url[:-1] + "77"],
                 ["copy", "big", url], ["read", url], ["info", "iscsi://127.0.0.1:1/" + IQN]):
        t = Terminal(argv, 60)
        check(f"{argv[0]} fails", t.end() not in (0, None), t.screen.text())
        check(f"{argv[0]}: messages break at words", t.screen.wrapped == 0 and
              all(len(r) < 60 for r in t.screen.rows), t.screen.text())
    t = Terminal(["write", url, "--length", "1M"], 60, stdin=open("img", "rb"))
    check("write", t.end() == 0, t.screen.text())
    check("write: progress and summary", rows_with(t.screen, "wrote 1 MiB at offset 0 ") and t.screen.wrapped == 0,
          t.screen.text())


def tables(url, portal):
    """Lines that do not fit are only those of commands that one may copy, and what lists LUNs on 60 columns."""
    for argv, columns in ((["bench", url, "--time", "0.2", "--rw", "randrw"], 80), (["ls", portal], 80),
                          (["demo", "--size", "2M"], 80)):
        t = Terminal(argv, columns)
        code = t.end()
        check(f"{argv[0]}: exit code", code == (4 if argv[0] == "ls" else 0), t.screen.text())
        lines = [re.sub("\x1b\\[[0-9]*m", "", line).split("\r")[-1] for line in t.raw.replace("\r\n", "\n").split("\n")]
        wide = [line for line in lines if len(line) > columns and "$ " not in line and "\x1b[K" not in line]
        check(f"{argv[0]} fits {columns} columns", not wide, "\n".join(wide))
    t = Terminal(["ls", portal], 60)
    t.end()
    check("ls: why a target is not listed breaks at words", all(
        len(r) < 60 for r in t.screen.rows[t.screen.rows.index(rows_with(t.screen, "not listed")[0]):]), t.screen.text())


def recorded(url):
    """As script(1) records it."""
    if not shutil.which("script"):
        return
    command = f"stty cols 60; {BIN}/lunette copy img {url}"
    subprocess.run(["script", "-qec", command, "typescript"], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                   check=False, timeout=60)
    screen = Screen(60)
    with open("typescript", encoding="utf-8", newline="") as f:
        lines = [line for line in f.read().split("\n") if not line.startswith("Script ")]
    screen.put("\n".join(lines))
    check("script(1): one line of progress", len(rows_with(screen, "copying ")) == 1 and screen.wrapped == 0,
          screen.text())


def help_fits():
    words = subprocess.run([BIN + "/lunette", "--help"], capture_output=True, text=True, check=True).stdout
    commands = [line.split()[0] for line in words.splitlines() if line.startswith("  ") and line[2:3].isalpha()]
    texts = {"lunette": words}
    for c in commands:
        texts[c] = subprocess.run([BIN + "/lunette", c, "--help"], capture_output=True, text=True,
                                  check=True).stdout
    texts["lunette-target"] = subprocess.run([BIN + "/lunette-target", "--help"], capture_output=True, text=True,
                                             check=True).stdout
    check("commands are found in the help", len(commands) >= 10, words)
    for name, text in texts.items():
        check(f"{name} --help fits 80 columns", all(len(line) <= 80 for line in text.splitlines()),
              "\n".join(line for line in text.splitlines() if len(line) > 80))


def main():
    if not os.access(BIN + "/lunette-target", os.X_OK):
        print("SKIP: lunette-target is not built")
        return 77
    os.chdir(tempfile.mkdtemp(prefix="lunette-terminal."))
    for name in list(os.environ):
        if name.startswith("LUNETTE_") and name != "LUNETTE_BIN":
            del os.environ[name]
    with open("img", "wb") as f:
        f.write(os.urandom(12 << 20))
    with open("long", "wb") as f:
        f.write(os.urandom(60 << 20))
    with open("big", "wb") as f:
        f.truncate(1 << 30)
    with open("zeroes", "wb") as f:
        f.truncate(2 << 30)
    target, portal = start(BIN + "/lunette-target", "--listen", "127.0.0.1:0", "--target", IQN, "--lun", "ram:64M",
                           "--target", IQN + "2", "--lun", "ram:1M", "--chap", "alice:a-secret-of-16")
    way, port = start(HERE + "/throttle.py", portal, "14e6")
    direct, slow = f"iscsi://{portal}/{IQN}/0", f"iscsi://127.0.0.1:{port}/{IQN}/0"
    try:
        help_fits()
        messages(direct)
        tables(direct, portal)
        for columns in (60, 100, 45, 20, 1):
            one_line(slow, columns)
        resized(slow + "?max_transfer=64k")
        recorded(slow)
        stalls(slow, way)
        others_stall(slow, way)
        twice_on_one_request(slow, way)
        outage(80)
        outage(60)
        interrupts()
    finally:
        way.kill()
        target.kill()
        shutil.rmtree(os.getcwd(), ignore_errors=True)
    print("failed: " + ", ".join(failed) if failed else "what was drawn fits")
    return bool(failed)


sys.exit(main())
