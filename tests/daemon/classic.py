#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""classic.py - iscsid --classic-socket --sysfs, and callers who mean no good: requests of any size and
content, half of one, crowds, other users, those who do not wait; and directories that are not its own.

usage: classic.py [CASE...]
"""
import os
import random
import shutil
import socket
import struct
import subprocess
import sys
import time

from world import IQN, Target, World, alive, fail, run, wait_for

SIZES = (16104, 16112, 16128)
REPLY = 2464
CONN = {16104: 2232, 16112: 2240, 16128: 2240}
IFACE = {16104: 3328, 16112: 3336, 16128: 3352}
LOGIN, LOGOUT, STATS, INAME, FILE, STOP, INFO = 1, 2, 7, 8, 10, 11, 13


def isolated():
    """The abstract socket is one for each network namespace: this test has its own."""
    if os.environ.get("CLASSIC_ISOLATED"):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    how = ["unshare", "--net"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--net"]
    if not shutil.which("unshare") or subprocess.run([*how, "true"], stderr=subprocess.DEVNULL, check=False).returncode:
        print("SKIP: no network namespaces here")
        sys.exit(77)
    os.environ["CLASSIC_ISOLATED"] = "yes"
    os.execvp(how[0], [*how, sys.executable, *sys.argv])


def connect(timeout=30):
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(timeout)
    s.connect("\0ISCSIADM_ABSTRACT_NAMESPACE")
    return s


def request(command, sid=0, size=16104, record=b""):
    return (struct.pack("=IIi4x", command, 0, sid) + record).ljust(size, b"\0")


def record(target, host, port, size=16104, iface="default", tpgt=1, more=False):
    r = bytearray(size - 16)
    r[16:16 + len(target)] = target.encode()
    struct.pack_into("=i", r, 272, tpgt)
    # 2.1.11 has something more at the head of the session's part, so far as is known.
    shift = 4 if size == 16112 else 0
    struct.pack_into("=6i", r, 288 + 1128 + shift, 262144, 1 << 20, 2, 0, 1, 1)
    r[288 + 1172 + (8 if shift else 0)] = more
    at = CONN[size]
    r[at + 4:at + 4 + len(host)] = host.encode()
    struct.pack_into("=i", r, at + 1032, port)
    r[IFACE[size] + 16:IFACE[size] + 16 + len(iface)] = iface.encode()
    return bytes(r)


def take(s):
    """The whole reply, or what came of it."""
    data = b""
    try:
        while len(data) < REPLY:
            more = s.recv(REPLY - len(data))
            if not more:
                break
            data += more
    except (ConnectionResetError, BrokenPipeError):
        pass
    s.close()
    return data


def ask(data):
    s = connect()
    s.sendall(data)
    reply = take(s)
    if len(reply) != REPLY:
        fail(f"a reply of {len(reply)} bytes")
    command, err = struct.unpack_from("=Ii", reply)
    if command != struct.unpack_from("=I", data)[0]:
        fail(f"the reply is for command {command}")
    return err, reply[8:]


def text(body):
    return body.split(b"\0", 1)[0].decode()


def begin(w, *options):
    api = w.up("--classic-socket", *options)
    wait_for("the socket is there", 10, lambda: ask(request(FILE))[0] == 0)
    return api


def three_sizes():
    with World() as w:
        target = Target(w, "--target", IQN, "--lun", "ram:1M", "--target", IQN + "2", "--lun", "ram:1M",
                        "--target", IQN + "3", "--lun", "ram:1M")
        host, port = target.portal.rsplit(":", 1)
        api = begin(w)
        for i, size in enumerate(SIZES):
            if text(ask(request(FILE, size=size))[1]) != str(w.root / "iscsid.conf"):
                fail(f"another configuration for size {size}")
            if not text(ask(request(INAME, size=size))[1]).startswith("iqn."):
                fail("no initiator name")
            # The daemon has no such record, and makes one.
            name = IQN + ("" if i == 0 else str(i + 1))
            login = request(LOGIN, size=size, record=record(name, host, int(port), size))
            if ask(login)[0] != 0:
                fail(f"no login of size {size}")
            if ask(login)[0] != 15:
                fail("the same session twice")
            more = record(name, host, int(port), size, more=True)
            if ask(request(LOGIN, size=size, record=more))[0] != 0:
                fail(f"no second session of size {size}")
            sids = [s["sid"] for s in api.ask("session.list")["sessions"] if s["target"] == name]
            if len(sids) != 2:
                fail(f"{name} has sessions {sids}")
            for sid in sids:
                err, body = ask(request(INFO, sid, size))
                if err or struct.unpack_from("=ii", body) != (0, 3):
                    fail(f"state of {sid}: {err} {body[:8]!r}")
                err, body = ask(request(STATS, sid, size))
                if err or struct.unpack_from("=QQ", body, 56)[0] == 0:
                    fail(f"statistics of {sid}: {err}")
                if ask(request(LOGOUT, sid, size))[0] != 0:
                    fail("no logout")
                if ask(request(LOGOUT, sid, size))[0] != 2 or ask(request(STATS, sid, size))[0] != 2:
                    fail("a session that is gone is there")


def one_record_of_two():
    """A record without a tag, as somebody makes it by hand, and the one with a tag beside it, as a discovery finds it:
    a request for one of them is not about the other, whichever comes first and however late the second."""
    for first, second in ((-1, 1), (1, -1)):
        with World() as w:
            target = Target(w, "--target", IQN, "--lun", "ram:1M")
            host, port = target.portal.rsplit(":", 1)
            api = begin(w)
            for tpgt in (1, -1):
                api.ask("node.new", target=IQN, portal=target.portal, tpgt=tpgt)
            if len(api.ask("node.list")["nodes"]) != 2:
                fail("there are not two records")
            for n, tpgt in enumerate((first, second)):
                err = ask(request(LOGIN, record=record(IQN, host, int(port), tpgt=tpgt)))[0]
                sessions = [s["tpgt"] for s in api.ask("session.list")["sessions"]]
                if err or len(sessions) != n + 1:
                    fail(f"tag {tpgt} after {first}: error {err}, sessions with tags {sessions}")
            if ask(request(LOGIN, record=record(IQN, host, int(port), tpgt=-1)))[0] != 15:
                fail("the same session twice")
        # Without a record that has no tag, whatever is there is meant.
        with World() as w:
            target = Target(w, "--target", IQN, "--lun", "ram:1M")
            host, port = target.portal.rsplit(":", 1)
            api = begin(w)
            api.ask("node.new", target=IQN, portal=target.portal, tpgt=1)
            if ask(request(LOGIN, record=record(IQN, host, int(port), tpgt=-1)))[0] != 0:
                fail("no login by the only record")
            if len(api.ask("node.list")["nodes"]) != 1 or len(api.ask("session.list")["sessions"]) != 1:
                fail("a record was made beside the only one")


def what_is_answered():
    with World() as w:
        begin(w)
        for command in (0, 3, 4, 14, 20, 99, 0x7fffffff, 0xffffffff):
            if ask(request(command))[0] != 16:
                fail(f"command {command} is known")
        for command, err in ((5, 1), (6, 1), (15, 27), (12, 27), (16, 0), (19, 0), (INFO, 2), (LOGOUT, 2)):
            if ask(request(command, -1))[0] != err:
                fail(f"command {command} is answered otherwise")
        if ask(struct.pack("=II8x", 17, 60000).ljust(16104 + 60000, b"x"))[0] != 0:
            fail("no payload is taken")
        good = record(IQN, "127.0.0.1", 1)
        for at, bad in ((16, b"x" * 256), (16, b"../../../etc/passwd\0"), (16, b"\n\n\0"), (16, b"\0"),
                        (CONN[16104] + 4, b"h" * 1025), (CONN[16104] + 4, b"a/../b\0"),
                        (CONN[16104] + 1032, b"\0\0\0\0"), (CONN[16104] + 1032, b"\xff\xff\xff\xff"),
                        (IFACE[16104] + 16, b"i" * 65), (IFACE[16104] + 16, b"../x\0"),
                        (IFACE[16104] + 16, b"missing\0")):
            r = bytearray(good)
            r[at:at + len(bad)] = bad
            err = ask(request(LOGIN, record=bytes(r)))[0]
            if err not in (6, 7, 21):
                fail(f"{bad[:20]!r} at {at}: {err}")
        if list(w.tmp.rglob("passwd")):
            fail("a name has become a path")


def nonsense():
    rnd = random.Random(11)
    with World() as w:
        api = begin(w)
        for i in range(400):
            n = rnd.choice((0, 1, 4, 7, 8, 15, 16, 100, *SIZES, 16103, 16105, 16127, 16129, 70000, 90000))
            data = rnd.randbytes(n)
            if rnd.random() < 0.5:
                data = (struct.pack("=II", rnd.randrange(24), rnd.choice((0, 1, 8, 70000))) + data)[:n]
            if struct.unpack_from("=I", data.ljust(4, b"\0"))[0] == STOP:
                continue
            s = connect(2)
            try:
                s.sendall(data)
                if rnd.random() < 0.5:
                    s.shutdown(socket.SHUT_WR)
                    take(s)
            except (BrokenPipeError, ConnectionResetError, TimeoutError):
                pass
            s.close()
            if i % 50 == 0 and ask(request(FILE))[0] != 0:
                fail("nobody is answered any more")
        api.ask("hello")


def crowds():
    with World() as w:
        begin(w)
        fds = len(os.listdir(f"/proc/{w.daemon.pid}/fd"))
        half = [connect() for _ in range(300)]
        for s in half[::2]:
            try:
                s.sendall(request(FILE)[:8000])
            except (BrokenPipeError, ConnectionResetError):
                pass
        began = time.monotonic()
        for _ in range(20):
            if ask(request(FILE))[0] != 0:
                fail("a good caller is not answered")
        if time.monotonic() - began > 10:
            fail("a crowd delays others")
        more = len(os.listdir(f"/proc/{w.daemon.pid}/fd")) - fds
        if more > 80:
            fail(f"{more} descriptors for a crowd")
        wait_for("half a request is given up", 15,
                 lambda: len(os.listdir(f"/proc/{w.daemon.pid}/fd")) <= fds + 4)
        for s in half:
            s.close()
        # A request in pieces is one all the same.
        s = connect()
        for i in range(0, 16104, 4026):
            s.sendall(request(FILE)[i:i + 4026])
            time.sleep(0.002)
        if len(take(s)) != REPLY:
            fail("pieces are not put together")


def other_users():
    with open("/proc/self/uid_map", encoding="ascii") as f:
        users = int(f.read().split()[2])
    if os.geteuid() != 0 or users < 65535:
        print("SKIP: only root has other users")
        return
    with World() as w:
        begin(w)
        code = ("import socket,struct,sys,os\nos.setgid(65534)\nos.setuid(65534)\ns=socket.socket(socket.AF_UNIX)\n"
                "s.settimeout(20)\ns.connect('\\0ISCSIADM_ABSTRACT_NAMESPACE')\n"
                "s.sendall(struct.pack('=II',int(sys.argv[1]),0).ljust(16104,b'\\0'))\nd=b''\n"
                "while len(d)<2464:\n d+=s.recv(4096) or sys.exit(99)\n"
                "print(*struct.unpack_from('=Ii',d), d[8:]==bytes(2456))\n")
        for command in (LOGIN, INAME, STOP):
            got = subprocess.run([sys.executable, "-c", code, str(command)], capture_output=True, text=True,
                                 timeout=60, check=False).stdout.split()
            if got != [str(command), "13", "True"]:
                fail(f"another user is answered {got}")
        if ask(request(FILE))[0] != 0:
            fail("root is not answered")


def nobody_waits():
    with World() as w:
        target = Target(w, "--target", IQN, "--lun", "ram:1M")
        host, port = target.portal.rsplit(":", 1)
        api = begin(w, "--sysfs", w.tmp / "sys")
        s = connect()
        s.sendall(request(LOGIN, record=record(IQN, host, int(port))))
        s.close()
        sid = wait_for("the login goes on", 20,
                       lambda: [x["sid"] for x in api.ask("session.list")["sessions"] if x["state"] == "LOGGED_IN"])[0]
        wait_for("the tree shows it", 10, (w.tmp / f"sys/class/iscsi_session/session{sid}/state").exists)
        # A hundred ask for the same; each is answered, and the session is logged out of once.  Each asks when
        # it has connected, as iscsiadm does: who only connects makes room for others.
        many = []
        for _ in range(100):
            many.append(connect())
            many[-1].sendall(request(LOGOUT, sid))
        errs = {struct.unpack_from("=i", take(s), 4)[0] for s in many}
        if not errs <= {0, 2}:
            fail(f"logouts end with {errs}")
        if os.listdir(w.tmp / "sys/class/iscsi_session"):
            fail("the answer came before the tree showed it")
        if ask(request(STOP))[0] != 0 or w.daemon.wait(20) != 0:
            fail("the daemon does not end")


def directories():
    with World() as w:
        outside = w.tmp / "outside"
        outside.mkdir()
        (outside / "file").write_text("mine")

        def refused(path, why):
            p = w.iscsid("--sysfs", path)
            if p.wait(20) != 2 and p.returncode != 1:
                fail(f"{why}: exit {p.returncode}")
            if (outside / "file").read_text() != "mine" or sorted(x.name for x in outside.iterdir()) != ["file"]:
                fail(f"{why}: something outside has changed")

        refused(outside, "a directory of somebody")
        refused(outside / "file", "a file")
        refused(w.tmp / "no/parent", "a directory in none")
        wide = w.tmp / "wide"
        wide.mkdir()
        wide.chmod(0o777)
        refused(wide, "everybody's directory")
        tree = w.tmp / "tree"
        api = w.up("--sysfs", tree)
        del api
        w.kill()
        shutil.rmtree(tree / "class")
        (tree / "class").symlink_to(outside)
        refused(tree, "a link that leads outside")
        (tree / "class").unlink()
        shutil.rmtree(tree / ".tmp")
        (tree / ".tmp").symlink_to(outside)
        w.up("--sysfs", tree)
        if not (tree / "class/iscsi_transport/tcp/handle").exists():
            fail("the tree is not put right")
        if sorted(x.name for x in outside.iterdir()) != ["file"]:
            fail("something was written outside")


def killed_and_started():
    """Whoever starts it in the place of one that was just killed finds its lock and its names free, whether or not
    the end of that one was waited for."""
    with World() as w:
        w.up("--classic-socket")
        for i in range(100):
            old = w.daemon
            old.kill()
            if i % 2:
                old.wait()
            w.iscsid("--classic-socket")
            w.api()
            old.wait()
        assert ask(request(FILE))[0] == 0
        assert alive(w.iod)


isolated()
run([killed_and_started, three_sizes, one_record_of_two, what_is_answered, nonsense, crowds, other_users, nobody_waits, directories])
