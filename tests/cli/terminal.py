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
PATIENCE = 60  # seconds that nothing here takes, on a busy machine either, unless something is broken
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

    def run(self, seconds, until=None, since=0):
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
            if until is not None and until in self.raw[since:]:
                return True
        return until is None

    def comes(self, until, since=0):
        return self.run(PATIENCE, until, since)

    def runs_until(self, condition):
        deadline = time.monotonic() + PATIENCE
        while not condition() and time.monotonic() < deadline and self.process.poll() is None:
            self.run(0.1)
        return condition()

    def of_proc(self, name, field):
        """The first word behind a field of /proc/PID/NAME; the program has not been waited for."""
        with open(f"/proc/{self.process.pid}/{name}", encoding="utf-8") as f:
            return re.search(field + r":\s*(\S+)", f.read())[1]

    def works(self):
        """It has waited for answers so often, which a login does some ten times, that I/O is under way."""
        return self.runs_until(lambda: int(self.of_proc("status", "\nvoluntary_ctxt_switches")) >= 100)

    def settles(self):
        """It waits, and says nothing more."""
        def still():
            mark = len(self.raw)
            self.run(0.3)
            return len(self.raw) == mark and self.of_proc("status", "State") == "S"
        return self.runs_until(still)

    def end(self, seconds=PATIENCE):
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
    t.comes("[##")
    for columns in (60, 41, 25, 8, 120):
        t.run(0.25)
        mark = len(t.raw)
        t.resize(columns)
        t.runs_until(lambda since=mark: t.raw.count("\r", since) >= 5)
        frames = t.raw[mark:].split("\r")[2:]  # the one that was under way had the old width
        check(f"{columns} columns after a resize", frames and
              all(len(f.split("\x1b")[0]) < columns for f in frames), repr(frames))
    os.kill(t.process.pid, signal.SIGINT)
    check("a copy that is resized", t.end() == 130, t.screen.text())


def stalls(url, way):
    t = Terminal(["copy", "img", url], 70)
    check("a time left", t.comes(" left"), t.screen.text())
    way.send_signal(signal.SIGSTOP)
    check("a stall is shown", t.comes("stalled for"), t.screen.text())
    os.kill(t.process.pid, signal.SIGINT)
    check("Ctrl-C tells what is waited for", t.comes("again ends at once"), t.screen.text())
    check("it ends all the same", t.end() == 130, t.screen.text())
    check("and says so", "without waiting any longer" in t.raw, t.screen.text())
    check("a stall: nothing wraps", t.screen.wrapped == 0, t.screen.text())
    way.send_signal(signal.SIGCONT)


def others_stall(url, way):
    for argv, begun in ((["bench", url, "--time", "100"], ""), (["ping", url, "-i", "0"], "seq=3 "),
                        (["read", url, "--hex"], "00000010 ")):
        t = Terminal(argv, 80)
        check(f"{argv[0]}: it begins", t.comes(begun) and (argv[0] == "read" or t.works()), t.screen.text()[-500:])
        way.send_signal(signal.SIGSTOP)
        t.run(0.5)
        os.kill(t.process.pid, signal.SIGINT)
        # or the signal came between two requests, and it is the logout that is not answered
        check(f"{argv[0]}: Ctrl-C tells what is waited for", t.comes("again ends at once") or
              "without waiting any longer" in t.raw, t.screen.text()[-500:])
        code = t.end()
        check(f"{argv[0]}: interrupted", code == 130, f"{code} {t.screen.text()[-500:]}")
        check(f"{argv[0]}: what there is is printed", argv[0] == "read" or
              rows_with(t.screen, " answered, " if argv[0] == "ping" else "requests "), t.screen.text()[-500:])
        way.send_signal(signal.SIGCONT)


def twice_on_one_request(url, way):
    t = Terminal(["ping", url, "-i", "0"], 80)
    t.comes("seq=3 ")
    way.send_signal(signal.SIGSTOP)
    check("ping: one is not answered", t.settles(), t.screen.text()[-500:])
    os.kill(t.process.pid, signal.SIGINT)
    t.comes("again ends at once")
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
    check("it begins", t.comes(" left"), t.screen.text())
    target.down()
    check(f"{columns} columns: the progress knows of the outage", t.comes("no connection (1"), t.screen.text())

    def shown():
        return [int(s) for s in re.findall(r"no connection \((\d+) s\)", t.raw)]
    t.runs_until(lambda: len(set(shown())) >= 3)
    check("it counts down", len(set(shown())) >= 3 and shown() == sorted(shown(), reverse=True) and max(shown()) <= 120,
          repr(shown()))
    target.up()
    check("it is back", t.comes("connected again"), t.screen.text())
    mark = len(t.raw)
    check("it goes on", t.comes(" left", since=mark) and "no connection" not in t.raw[mark:], repr(t.raw[mark:]))
    os.kill(t.process.pid, signal.SIGINT)
    check("Ctrl-C afterwards", t.end() == 130, t.screen.text())
    shown = t.screen.text()
    check(f"{columns} columns: nothing wraps in an outage", t.screen.wrapped == 0, shown)
    check(f"{columns} columns: each is told once", shown.count("connection lost (") == 1 and
          shown.count("connected again after") == 1 and len(rows_with(t.screen, "copying ")) == 1, shown)
    check(f"{columns} columns: lines begin where rows begin", all(
        r.startswith("lunette: ") for r in rows_with(t.screen, "lunette: ")), shown)
    target.down()


def interrupted(target, argv, begun, away, code, words):
    t = Terminal([w.replace("URL", f"iscsi://{target.portal}/{IQN}/0") for w in argv], 80, stdin=open("/dev/zero", "rb"))
    what = f"{argv[0]}, Ctrl-C with the target {away}"
    check(f"{what}: it begins", t.comes(begun) and (argv[0] != "bench" or t.works()), t.screen.text()[-500:])
    if away == "gone":
        target.down()
        check(f"{what}: the outage is told", t.comes("connection lost ("), t.screen.text()[-500:])
    else:
        target.process.send_signal(signal.SIGSTOP)
        t.run(0.3)
    os.kill(t.process.pid, signal.SIGINT)
    began = time.monotonic()
    got = t.end()
    # a second is promised, and a machine that is busy adds some; what it must not wait for takes longer
    check(f"{what}: it ends", got == code and time.monotonic() - began < 9, f"{got} {t.screen.text()[-500:]}")
    check(f"{what}: '{words}'", words in t.raw, t.screen.text()[-500:])
    check(f"{what}: nothing wraps", t.screen.wrapped == 0, t.screen.text())


def interrupts():
    commands = ((["copy", "-", "URL", "--no-sparse"], "copying ", 130, "is not complete"),
                (["copy", "URL", "back", "--no-sparse", "--no-space-check", "--length", "16G"], "copying ", 130, "--resume"),
                (["write", "URL"], "writing ", 130, "write: interrupted after"),
                (["bench", "URL", "--time", "200"], "", 130, "per second"),
                (["ping", "URL", "-i", "0.01"], "seq=3 ", 3, " answered, "),
                (["info", "URL", "--watch"], "logged in", 130, "logged in"))
    for away in ("gone", "stopped"):
        for argv, begun, code, words in commands:
            target = Target("--lun", "null:1T")
            interrupted(target, argv, begun, away, 130 if away == "stopped" else code, words)
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
    slower_way, slower_port = start(HERE + "/throttle.py", portal, "2e6")
    direct, slow = f"iscsi://{portal}/{IQN}/0", f"iscsi://127.0.0.1:{port}/{IQN}/0"
    slower = f"iscsi://127.0.0.1:{slower_port}/{IQN}/0"
    try:
        help_fits()
        messages(direct)
        tables(direct, portal)
        for columns in (60, 100, 45, 20, 1):
            one_line(slow, columns)
        resized(slower + "?max_transfer=64k")
        recorded(slow)
        stalls(slower, slower_way)
        others_stall(slower, slower_way)
        twice_on_one_request(slower, slower_way)
        outage(80)
        outage(60)
        interrupts()
    finally:
        way.kill()
        slower_way.kill()
        target.kill()
        shutil.rmtree(os.getcwd(), ignore_errors=True)
    print("failed: " + ", ".join(failed) if failed else "what was drawn fits")
    return bool(failed)


sys.exit(main())
