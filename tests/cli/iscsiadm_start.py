#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""iscsiadm and daemons that are not there, are started, fail, lie or die.

LUNETTE_BIN: where iscsiadm is.  It runs from a folder of its own, with an iscsid beside it that is a
script of this test.
"""
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

# A daemon that detaches itself, answers one method, and ends by itself.
DAEMON = """#!/usr/bin/env python3
import os, socket, sys, time
path = sys.argv[2] + "/run/iscsid.sock"
if os.fork():
    for _ in range(2000):         # the parent ends when the daemon is ready
        if os.path.exists(path) or not os.path.isdir(sys.argv[2]):
            sys.exit(0)
        time.sleep(0.02)
    sys.exit(1)
os.setsid()
with open(sys.argv[2] + "/pids", "a") as f:
    f.write(f"{os.getpid()}\\n")
if not os.path.isdir(sys.argv[2] + "/run"):
    sys.exit(1)                   # the test is over
s = socket.socket(socket.AF_UNIX)
try:
    s.bind(path)
except OSError:
    sys.exit(1)
s.listen()
s.settimeout(60)
try:
    while True:
        c, _ = s.accept()
        c.settimeout(60)
        while c.recv(65536):
            c.sendall(b'{"id": 1, "result": {"nodes": [{"target": "iqn.a:b", "portal": "1.2.3.4:3260", "tpgt": 1}]}}\\n')
except OSError:
    pass
"""


class Place:
    """A folder with iscsiadm, the iscsid that is given, and an instance."""

    def __init__(self, iscsid=None):
        self.dir = tempfile.TemporaryDirectory()
        self.at = pathlib.Path(self.dir.name)
        self.root = self.at / "root"
        (self.root / "run").mkdir(parents=True)
        self.program = self.at / "iscsiadm"
        shutil.copy(pathlib.Path(os.environ["LUNETTE_BIN"]) / "iscsiadm", self.program)
        if iscsid is not None:
            (self.at / "iscsid").write_text(iscsid, encoding="utf-8")
            (self.at / "iscsid").chmod(0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        """Ends the daemons that were started, by the numbers that they have left; one that is still about to
        start finds nothing."""
        self.root.rename(self.at / "over")
        pids = self.at / "over/pids"
        for pid in pids.read_text(encoding="utf-8").split() if pids.exists() else []:
            try:
                os.kill(int(pid), signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.dir.cleanup()

    def start(self, *args, **env):
        return subprocess.Popen([self.program, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env={**os.environ, "PATH": "/usr/bin:/bin", **env})

    def run(self, *args, **env):
        p = self.start(*args, **env)
        out, err = p.communicate(timeout=60)
        return p.returncode, out, err


def check(what, ok, *seen):
    if not ok:
        print(f"{what}: {seen}")
        sys.exit(1)


def no_daemon():
    with Place() as p:
        rc, out, err = p.run("--root", str(p.root), "-m", "node", "--no-start")
        check("no daemon", rc == 20 and out == "" and f"start it (iscsid --root {p.root})" in err, rc, out, err)
        rc, out, err = p.run("--root", str(p.root), "-m", "node")
        check("no program", rc == 20 and "cannot be started" in err and f"by hand (iscsid --root {p.root})" in err,
              rc, out, err)
        rc, out, err = p.run("--root", str(p.root), "-k", "0")
        check("nothing is started to be ended", rc == 20 and "nothing to end" in err and "--no-start" not in err,
              rc, out, err)
        # a socket file of a daemon that is dead
        s = socket.socket(socket.AF_UNIX)
        s.bind(str(p.root / "run/iscsid.sock"))
        s.close()
        rc, out, err = p.run("--root", str(p.root), "-m", "node", "--no-start")
        check("dead daemon", rc == 20 and "Connection refused" in err, rc, out, err)


def not_allowed():
    """Another user's daemon; root, who may everything, tries as nobody."""
    with Place() as p:
        p.at.chmod(0o755)
        (p.root / "run").chmod(0)
        user = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}
        r = subprocess.run([p.program, "--root", p.root, "-m", "node"], capture_output=True, text=True, check=False,
                           timeout=60, cwd="/", **user)
        check("not allowed", r.returncode == 13 and "Permission denied" in r.stderr and "of your own" in r.stderr, r)
        (p.root / "run").chmod(0o755)


def started():
    with Place(DAEMON) as p:
        begin = time.monotonic()
        rc, out, err = p.run("--root", str(p.root), "-m", "node")
        check("started", rc == 0 and out == "1.2.3.4:3260,1 iqn.a:b\n" and err == "", rc, out, err)
        check("its output is not waited for", time.monotonic() - begin < 40, time.monotonic() - begin)
        rc, out, err = p.run("-m", "node", "--no-start", LUNETTE_ROOT=str(p.root))
        check("it goes on, and is found by the environment", rc == 0, rc, out, err)


def started_twice():
    with Place(DAEMON) as p:
        programs = [p.start("--root", str(p.root), "-m", "node") for _ in range(4)]
        for q in programs:
            out, err = q.communicate(timeout=60)
            check("at the same time", q.returncode == 0, q.returncode, out, err)


def fails():
    with Place("#!/bin/sh\necho 'iscsid: no room on the disk' >&2\nexit 3\n") as p:
        rc, out, err = p.run("--root", str(p.root), "-m", "node")
        check("fails", rc == 20 and "ended with status 3: iscsid: no room on the disk" in err, rc, out, err)
        check("the hint is of the instance", f"iscsid -f --root {p.root}\n" in err, err)
        own = f"{p.root}/my 'own'"
        rc, out, err = p.run("--root", own, "-m", "node", "--no-start")
        check("as a shell takes it", f"iscsid --root {shlex.quote(own)})".replace("'\"'\"'", "'\\''") in err, err)
        rc, out, err = p.run("--instance", "one", "-m", "node", "--no-start", HOME=str(p.root), XDG_RUNTIME_DIR="",
                             XDG_CONFIG_HOME="", XDG_STATE_HOME="")
        check("a name", "iscsid --instance one)" in err, err)
    with Place("#!/bin/sh\nkill -9 $$\n") as p:
        rc, out, err = p.run("--root", str(p.root), "-m", "node")
        check("killed", rc == 20 and "killed by signal 9" in err, rc, out, err)


def wrong_instance():
    with Place() as p:
        for args, words in [(["--root", "a", "--instance", "b"], "give one of them"),
                            (["--instance", "../b"], "--instance wants a name"),
                            (["--instance", "x" * 65], "--instance wants a name"),
                            (["--root", ""], "--root wants a folder"),
                            (["--root", "/" + "x" * 2000], "too long"),
                            (["--root", "/" + "x" * 200, "--no-start"], "")]:
            rc, out, err = p.run("-m", "node", *args)
            check(f"{args}", rc in (7, 20) and words in err, rc, out, err)


def not_utf8():
    """What cannot be said in JSON must not be left out: that would select all records."""
    with Place() as p:
        for args in ([b"-T", b"iqn.a:\xff"], [b"-I", b"\xff"], [b"-p", b"\xff"]):
            rc, out, err = p.run("--root", str(p.root), "--no-start", "-m", "node", "-o", "delete", *args)
            check(f"{args}", rc == 7 and "no daemon runs" not in err, rc, out, err)


def hides():
    """A secret is shown neither by ps(1) nor in an error, however it was written."""
    name = ["-n", "node.session.auth.password"]
    update = ["-m", "node", "-T", "iqn.a:b", "-o", "update"]
    for args in (["-m", "session", "-v", "S3CRet"], name + ["-v", "S3CRet"], name + ["-vS3CRet"],
                 name + ["--value=S3CRet"], name + ["--val", "S3CRet"], name + ["--val=S3CRet"], ["-vS3CRet"] + name):
        with Place() as p, socket.socket(socket.AF_UNIX) as s:
            s.bind(str(p.root / "run/iscsid.sock"))
            s.listen()
            alone = args[0] == "-m"  # a value without a name, which nobody is told
            q = p.start("--root", str(p.root), *([] if alone else update), *args, "--no-start")
            c, _ = s.accept()
            with c:
                seen = pathlib.Path(f"/proc/{q.pid}/cmdline").read_bytes()
                asked = c.recv(65536)
            q.communicate(timeout=60)
            check(f"hidden: {args}", b"S3CR" not in seen and b"--no-start" in seen and (b"S3CRet" in asked) != alone,
                  seen, asked)
    with Place() as p:
        rc, out, err = p.run("--root", str(p.root), "--no-start", *update, *name, "S3CRet")
        check("not printed", rc == 7 and "S3CR" not in out + err and "--value" in err, rc, out, err)


def lies(says, want_rc, words):
    """One connection, in which the daemon says that whatever it is asked."""
    with Place() as p, socket.socket(socket.AF_UNIX) as s:
        s.bind(str(p.root / "run/iscsid.sock"))
        s.listen()

        def answer():
            c, _ = s.accept()
            with c:
                c.recv(65536)
                try:
                    c.sendall(says)
                except OSError:
                    pass

        t = threading.Thread(target=answer)
        t.start()
        rc, out, err = p.run("--root", str(p.root), "-m", "node", "--no-start")
        t.join()
        check(f"{says[:60]}", rc == want_rc and words in err, rc, out[:200], err)
        check("fit for a terminal", "\x1b" not in err, err)


def slow():
    """People are told that an answer is waited for, and what to do; scripts are not."""
    for debug, said in (("1", True), ("0", False)):
        with Place() as p, socket.socket(socket.AF_UNIX) as s:
            s.bind(str(p.root / "run/iscsid.sock"))
            s.listen()
            q = p.start("--root", str(p.root), "-m", "node", "-l", "--no-start", "-d", debug)
            c, _ = s.accept()
            with c:
                c.recv(65536)
                told = q.stderr.readline() if said else ""  # after 5 s
                time.sleep(0 if said else 7)
                c.sendall(b'{"id": 1, "result": {"results": []}}\n')
                c.recv(65536)
            err = told + q.communicate(timeout=60)[1]
            check("slow", (f"there is no answer yet; `iscsiadm --root {p.root} -m session --why'" in err) == said, err)
            check("it is told once", err.count("no answer yet") == said, err)


def main():
    slow()
    no_daemon()
    not_allowed()
    started()
    started_twice()
    fails()
    wrong_instance()
    not_utf8()
    hides()
    lies(b"", 18, "it closed the connection")
    lies(b"nonsense\n", 18, "cannot be understood")
    lies(b'{"id": 1, "result": {"nod', 18, "it closed the connection")
    lies(b'{"id": 1, "result": 5}\n', 21, "No records found")
    lies(b'{"id": 1, "result": {"nodes": {"a": 1}}}\n', 21, "No records found")
    lies(b'{"id": 1, "result": {"nodes": [5, null, {"target": 7}]}}\n', 0, "")
    lies(b'{"id": 1, "error": {"exit": 13, "message": "\\u001b[2Jgo away"}}\n', 13, "go away")
    lies(b'{"id": 1, "error": "no"}\n', 1, "unknown error")
    lies(b"[" * 100000 + b"\n", 18, "cannot be understood")
    print("all as it should be")
    return 0


if __name__ == "__main__":
    sys.exit(main())
