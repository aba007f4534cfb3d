#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Discovery through iscsid, at portals that say too much, nothing, or what no target should."""
import json
import os
import pathlib
import socket
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[1] / "hostile"))
import target as hostile  # noqa: E402 pylint: disable=wrong-import-position
from world import BIN, IQN, Target, World, fail, run, sessions, wait_for  # noqa: E402 pylint: disable=wrong-import-position

# Under ASan freed memory stays for a while, which is no memory of the daemon's.
os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")
NAME = "iqn.2026-11.example:t%05d"
# Of the daemon's processor time that an answer may wait for: two steps of 50 ms, which take longer in a
# build for ASan.
ALLOWED_S = 0.3 if b"__asan_init" in (BIN / "iscsid").read_bytes() else 0.1


class Teller(hostile.Target):
    """Tells of what it is given, in responses as large as the initiator takes."""

    def __init__(self, lines=()):
        super().__init__()
        self.lines, self.asked = list(lines), 0
        self.start()
        self.portal = f"127.0.0.1:{self.port}"

    def many(self, numbers):
        self.lines = [p for i in numbers for p in (("TargetName", NAME % i), ("TargetAddress", "10.9.9.9:3260,1"))]

    def pieces(self, conn):
        data = hostile.text(*self.lines)
        return [data[i:i + conn.max_send] for i in range(0, len(data), conn.max_send)] or [b""]

    def send_targets(self, conn, req):
        self.asked += 1
        pieces = self.pieces(conn)
        for i, piece in enumerate(pieces):
            last = i == len(pieces) - 1
            self.text_reply(conn, req, piece, 0x80 if last else 0x40, hostile.RESERVED if last else 0x77)
            if not last:
                req = conn.recv()


class Others(threading.Thread):
    """Asks the daemon for how it is, all the time, and keeps the most that it has worked until it answered.

    That is processor time: how long it waits for a processor or a disk is up to whoever else uses them."""

    def __init__(self, w):
        super().__init__(daemon=True)
        self.api, self.over, self.answers = w.api(), threading.Event(), 0
        self.longest = self.waited = 0.0
        self.stat = pathlib.Path(f"/proc/{w.daemon.pid}/schedstat")
        self.start()

    def worked(self):
        return int(self.stat.read_text(encoding="ascii").split()[0]) / 1e9

    def run(self):
        while not self.over.is_set():
            at, worked = time.monotonic(), self.worked()
            self.api.ask("daemon.status")
            self.waited = max(self.waited, time.monotonic() - at)
            self.longest = max(self.longest, self.worked() - worked)
            self.answers += 1
            time.sleep(0.0005)

    def done(self):
        self.over.set()
        self.join()
        return self.longest


def memory_kib(w):
    text = pathlib.Path(f"/proc/{w.daemon.pid}/status").read_text(encoding="ascii")
    return int(text.split("VmHWM:")[1].split()[0])


def timed(w, what, work):
    """Does something while others ask, and returns the most that they had to wait for."""
    others, began = Others(w), time.monotonic()
    result = work()
    took = time.monotonic() - began
    longest = others.done()
    print(f"{what}: {took:.2f} s, {others.answers} others were answered, after {1000 * longest:.0f} ms of work and "
          f"{1000 * others.waited:.0f} ms at most; {memory_kib(w)} KiB")
    return result, longest


def ten_thousand():
    """Thousands of targets come, stay and go, and callers are answered meanwhile."""
    n = 10000
    with World(memory=True) as w, _teller() as t, _teller() as other:
        api = w.up()
        before = memory_kib(w)
        t.many(range(n))
        steps = {}

        def discover(what, *ops):
            r, steps[what] = timed(w, what, lambda: api.ask("discovery.sendtargets", portal=t.portal, op=list(ops)))
            return r["targets"]
        assert len(discover("all of them are new", "new", "update", "delete")) == n
        assert len(list((w.root / "nodes").iterdir())) == n
        assert len(discover("all of them are known", "new", "update", "delete")) == n
        # Where nothing fits, all has been looked at, and there is no long answer to write.
        _, steps["all of them are looked at"] = timed(
            w, "all of them are looked at", lambda: [api.ask("node.list", iface="none") for _ in range(3)])
        # Of a target with two portals each tells of both: the records are the other discovery's now.
        other.many(range(n))
        _, steps["all of them are told by another portal"] = timed(
            w, "all of them are told by another portal",
            lambda: api.ask("discovery.sendtargets", portal=other.portal, op=["new", "update", "delete"]))
        record = next((w.root / "nodes" / (NAME % 7)).glob("*/default")).read_text(encoding="utf-8")
        assert f"node.discovery_port = {other.port}" in record, record
        assert len(discover("all of them are known again", "new", "update", "delete")) == n
        t.many(range(n - 1000, n))
        assert len(discover("most of them have gone", "new", "update", "delete")) == 1000
        assert len(list((w.root / "nodes").iterdir())) == 1000
        t.many(range(n))
        assert len(discover("most of them are back", "new")) == n
        _, steps["the discovery is forgotten"] = timed(
            w, "the discovery is forgotten",
            lambda: api.ask("discovery.delete", type="sendtargets", portal=t.portal))
        assert not (w.root / "nodes").exists() or not list((w.root / "nodes").iterdir())
        assert memory_kib(w) - before < 100 << 10, memory_kib(w)
        slow = {k: round(v, 3) for k, v in steps.items() if v > ALLOWED_S}
        assert not slow, slow


class _teller(Teller):
    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
        if self.errors:
            fail(self.errors)


def hostile_names():
    """Names that lead elsewhere, or are no names, are left out; the others are taken."""
    bad = ["../../../../tmp/x", "a/b", "/etc/passwd", ".", "..", ".hidden", "a" * 224, "a\x1b[2J", "a b", ""]
    with World() as w, _teller() as t:
        api = w.up()
        t.lines = [("TargetName", IQN), ("TargetAddress", "10.9.9.9:3260,1")]
        for name in bad:
            t.lines += [("TargetName", name), ("TargetAddress", "10.9.9.8:3260,1")]
        t.lines += [("TargetName", IQN + "2"), ("TargetAddress", "../../x:3260,1"), ("TargetAddress", "10.9.9.9:0,1"),
                    ("TargetAddress", "10.9.9.9:3260,99999"), ("TargetAddress", "[fe80::1%../x]:3260,1"),
                    ("TargetAddress", "10.9.9.7:3260,65535")]
        api.ask("discovery.sendtargets", portal=t.portal)
        nodes = sorted((n["target"], n["portal"]) for n in api.ask("node.list")["nodes"])
        assert nodes == [(IQN, "10.9.9.9:3260"), (IQN + "2", "10.9.9.7:3260")], nodes
        assert sorted(p.name for p in (w.root / "nodes").iterdir()) == [IQN, IQN + "2"]
        assert {p.name for p in w.root.iterdir()} <= {"initiatorname.iscsi", "nodes", "send_targets", "run",
                                                       ".lunette.iscsid", ".lunette.iod"}
        log = (w.tmp / "iscsid.log").read_text(encoding="utf-8")
        assert "left out" in log and "\x1b" not in log, log


def duplicates():
    """A target that is told of twice is one record, and is logged in to once."""
    with World() as w, _teller() as t:
        real = Target(w, "--target", IQN, "--lun", "ram:1M")
        api = w.up()
        line = [("TargetName", IQN), ("TargetAddress", f"{real.portal},1")]
        t.lines = line + line + line[:1] + [line[1]] * 3
        out = w.adm("-m", "discovery", "-t", "st", "-p", t.portal, "-l")
        assert out.count("successful") == 1, out
        assert len(api.ask("node.list")["nodes"]) == 1 and len(sessions(api)) == 1
        assert real.logins() == 1


class _Endless(_teller):
    """Goes on, each time with what `piece` gives."""
    pause = 0.0

    def send_targets(self, conn, req):
        self.asked += 1
        n = 0
        while True:
            self.text_reply(conn, req, self.piece(n), 0x40, 0x77)
            n += 1
            time.sleep(self.pause)
            req = conn.recv()


def without_end():
    """An answer that never ends is given up, for what it says and for how long it takes, and is not asked for again."""
    kinds = {
        "names": lambda n: hostile.text(*[("TargetName", NAME % (n * 200 + i)) for i in range(200)]),
        "addresses": lambda n: hostile.text(*([("TargetName", IQN)] if n == 0 else []),
                                            *[("TargetAddress", "10.9.9.9:3260,1")] * 300),
        "nonsense": lambda n: hostile.text(*([("TargetName", IQN)] if n == 0 else []),
                                           *[("TargetAddress", "a b" * 60)] * 30),
        "one long pair": lambda n: b"TargetName=" if n == 0 else b"a" * 8000,
        "nothing": lambda n: b"",
    }
    with World() as w:
        api = w.up()
        for name, piece in kinds.items():
            with _Endless() as t:
                t.piece = piece

                def ask(t=t):
                    try:
                        return api.ask("discovery.sendtargets", portal=t.portal)
                    except AssertionError as e:
                        return str(e)
                said, longest = timed(w, f"{name} without end", ask)
                assert "SendTargets" in said, said
                assert t.asked == 1, t.asked
                assert longest < ALLOWED_S, longest
        (w.root / "iscsid.conf").write_text("discovery.sendtargets.timeo.active_timeout = 1\n")
        api.ask("daemon.reload")
        with _Endless() as t:
            t.piece = lambda n: hostile.text(("TargetName", NAME % n))
            t.pause = 0.3
            began = time.monotonic()
            try:
                fail(api.ask("discovery.sendtargets", portal=t.portal))
            except AssertionError as e:
                assert "goes on" in str(e), e
            assert 19 < time.monotonic() - began < 40 and t.asked == 1
        assert not api.ask("node.list")["nodes"] and not api.ask("discovery.list")["records"]


class _Loop(_teller):
    """Sends whoever comes to itself."""
    logins = 0

    def answers(self, conn, req, pairs):
        self.logins += 1
        self.refuse(conn, req, 1, 1, [("TargetAddress", self.portal)])


def redirects():
    """A portal that sends us round in circles is given up."""
    with World() as w, _Loop() as t:
        w.up()
        began = time.monotonic()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal, rc=5)
        assert time.monotonic() - began < 30 and t.logins < 30, t.logins


def at_the_same_time():
    """Discoveries of the same portal at the same time, with all operations: each has the whole answer."""
    with World() as w, _teller() as t:
        api = w.up()
        t.many(range(600))
        found = []

        def ask():
            for _ in range(4):
                found.append(len(w.api().ask("discovery.sendtargets", portal=t.portal,
                                             op=["new", "update", "delete"])["targets"]))
        threads = [threading.Thread(target=ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert found == [600] * 16, found
        assert len(api.ask("node.list")["nodes"]) == 600
        # One that is forgotten while it runs: what it adds afterwards can be removed by name.
        thread = threading.Thread(target=lambda: found.append(w.api().ask("discovery.sendtargets", portal=t.portal)))
        thread.start()
        api.ask("discovery.delete", type="sendtargets", portal=t.portal)
        thread.join()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        assert len(api.ask("node.list")["nodes"]) == 600
        api.ask("discovery.delete", type="sendtargets", portal=t.portal)
        assert not api.ask("node.list")["nodes"]


class _Closes(_teller):
    """Takes connections, and closes the first ones at once."""
    closes, came = 3, 0

    def accepted(self, conn):
        self.came += 1
        if self.came <= self.closes:
            conn.close()


def tried_again():
    """What may pass is tried again, as often as the record says; what may not, is not."""
    with World() as w:
        api = w.up()
        with _Closes([("TargetName", IQN), ("TargetAddress", "10.9.9.9:3260,1")]) as t:
            assert w.adm("-m", "discovery", "-t", "st", "-p", t.portal) == f"10.9.9.9:3260,1 {IQN}\n"
            assert t.came == 4, t.came
        # A portal at which nobody listens: as many failures as the record allows, one of them in a second.
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        dead = "127.0.0.1:%d" % s.getsockname()[1]
        for retries, least, most in ((0, 0, 10), (2, 1.8, 20)):
            try:
                api.ask("discovery.new", type="sendtargets", portal=dead,
                        values=[["discovery.sendtargets.reopen_max", str(retries)]])
            except AssertionError:
                api.ask("discovery.update", type="sendtargets", portal=dead,
                        values=[["discovery.sendtargets.reopen_max", str(retries)]])
            api.progress.clear()
            began = time.monotonic()
            try:
                fail(api.ask("discovery.sendtargets", portal=dead))
            except AssertionError as e:
                assert "'exit': 4" in str(e), e
            assert least <= time.monotonic() - began < most, (retries, time.monotonic() - began)
            assert [p["attempt"] for p in api.progress if p["state"] == "retrying"] == list(range(1, retries + 1))
        # Somebody begins to listen meanwhile.
        api.ask("discovery.update", type="sendtargets", portal=dead, values=[["discovery.sendtargets.reopen_max", "5"]])
        s.close()
        late = threading.Timer(1.5, lambda: Target(w, "--target", IQN, "--lun", "ram:1M", port=int(dead.split(":")[1])))
        late.start()
        assert len(api.ask("discovery.sendtargets", portal=dead)["targets"]) == 1
        late.join()
        # A silent one: login_timeout is for each try.
        silent = socket.socket()
        silent.bind(("127.0.0.1", 0))
        silent.listen(16)
        portal = "127.0.0.1:%d" % silent.getsockname()[1]
        api.ask("discovery.new", type="sendtargets", portal=portal,
                values=[["discovery.sendtargets.reopen_max", "1"],
                        ["discovery.sendtargets.timeo.login_timeout", "1"]])
        began = time.monotonic()
        try:
            fail(api.ask("discovery.sendtargets", portal=portal))
        except AssertionError as e:
            assert "'exit': 8" in str(e), e
        assert 1.8 < time.monotonic() - began < 12, time.monotonic() - began
        # One that knows us and does not want us is asked once.
        with _teller() as t:
            t.chap = ("joe", "a-secret-of-21-bytes")
            began = time.monotonic()
            w.adm("-m", "discovery", "-t", "st", "-p", t.portal, rc=24)
            assert time.monotonic() - began < 2


def ended_meanwhile():
    """The daemon ends while it waits for the next try; a caller that has gone is not told."""
    with World() as w:
        api = w.up()
        s = socket.socket()
        s.bind(("127.0.0.1", 0))
        api.f.write(json.dumps({"id": 1, "method": "discovery.sendtargets",
                                "params": {"portal": "127.0.0.1:%d" % s.getsockname()[1]}}) + "\n")
        api.f.flush()
        assert "retrying" in api.f.readline()
        api.s.close()
        time.sleep(1.2)
        w.daemon.terminate()
        wait_for("the daemon ends", 10, lambda: w.daemon.poll() is not None)
        assert w.daemon.returncode == 0, w.daemon.returncode


def one_iface_fails():
    """What was found by an iface that does not work now is not taken for gone, nor is anything else."""
    with World() as w, _teller() as t:
        api = w.up()
        for name in ("good", "other"):
            api.ask("iface.new", iface=name)
        t.many(range(2))

        def discover(*op):
            return api.ask("discovery.sendtargets", portal=t.portal, op=list(op), iface=["good", "other"])["targets"]

        def known():
            return sorted((n["target"], n["iface"]) for n in api.ask("node.list")["nodes"])
        assert len(discover("new")) == 4
        all_of_them = known()
        assert len(all_of_them) == 4, all_of_them
        api.ask("iface.update", iface="other", values=[["iface.net_ifacename", "nosuch0"]])
        t.many(range(1))
        assert len(discover("new", "update", "delete")) == 1
        assert known() == all_of_them, known()
        log = (w.tmp / "iscsid.log").read_text(encoding="utf-8")
        assert "has failed by some of the ifaces: no record is removed" in log, log
        assert "by iface other: " in log, log
        api.ask("iface.update", iface="other", values=[["iface.net_ifacename", ""]])
        assert len(discover("new", "update", "delete")) == 2
        assert known() == [(NAME % 0, "good"), (NAME % 0, "other")], known()


def firmware_table():
    """The firmware's table itself, where the kernel does not show it; one that makes no sense is told so."""
    good = (pathlib.Path(__file__).parents[1] / "fuzz/corpus/ibft/good").read_bytes()
    with World() as w:
        table = w.tmp / "firmware/acpi/tables/iBFT"
        table.parent.mkdir(parents=True)
        api = w.up()
        w.adm("-m", "fw", rc=21)
        table.write_bytes(good)
        shown = w.adm("-m", "fw")
        assert "node.name = iqn.2026-11.example:a\n" in shown and "password = ********\n" in shown, shown
        assert "a-secret" not in shown and "a-secret" in w.adm("-m", "fw", "-S")
        assert w.adm("-m", "discovery", "-t", "fw") == \
            "10.0.0.9:3260,1 iqn.2026-11.example:a\n[fd00::9]:3261,1 iqn.2026-11.example:b\n"
        record = w.adm("-m", "node", "-T", "iqn.2026-11.example:a")
        assert "node.startup = onboot\n" in record and "iface.initiatorname = iqn.2026-11.example:host\n" in record, record
        results = api.ask("fw.login", values=[["node.session.initial_login_retry_max", "0"],
                                              ["node.conn[0].timeo.login_timeout", "1"]])["results"]
        assert len(results) == 2 and not any(r["ok"] for r in results), results
        for values in ([["iface.hwaddress", "x"]], [["node.no.such", "1"]], [["iface.no.such", "1"]]):
            try:
                refused = api.ask("fw.login", values=values)["results"]
                assert not any(r["ok"] for r in refused), refused
            except AssertionError as e:
                assert "'exit': 7" in str(e), e
        table.write_bytes(good[:-1])
        w.adm("-m", "fw", rc=22)
        assert "a-secret" not in (w.tmp / "iscsid.log").read_text(encoding="utf-8")
        w.daemon.terminate()
        wait_for("the daemon ends", 10, lambda: w.daemon.poll() is not None)
        assert w.daemon.returncode == 0, w.daemon.returncode


run([ten_thousand, hostile_names, duplicates, without_end, redirects, at_the_same_time, tried_again,
     ended_meanwhile, one_iface_fails, firmware_table])
