#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""iscsid, iscsi-iod and iscsiadm together: from nothing to an NBD socket, and what goes wrong there."""
import fcntl
import json
import os
import pathlib
import pwd
import random
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time

from world import (BIN, FULL, IQN, READ, UNIT, WRITE, Api, Load, Nbd, Target, World, alive, fail, free_port, run, sessions,
                   wait_for)

LUNS = ("--lun", "ram:16M", "--lun", "ram:24M")


def login(w, t, target=IQN):
    w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
    w.adm("-m", "node", "-T", target, "-l")


def export(w, api, target=IQN):
    sid = sessions(api)[target]["sid"]
    lines = w.adm("-m", "session", "-r", sid, "--export", "nbd").splitlines()
    return {int(l.split()[0]): l.split()[1] for l in lines}


def from_nothing():
    """Discovery, login, -P 3, export, a copy through it, logout, end."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        found = w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        assert found == f"{t.portal},1 {IQN}\n", found
        out = w.adm("-m", "node", "-l")
        assert "successful" in out, out
        s = sessions(api)[IQN]
        assert w.adm("-m", "session") == f"tcp: [{s['sid']}] {t.portal},1 {IQN} (non-flash)\n"
        wait_for("both LUNs are found", 10, lambda: "Lun: 1" in w.adm("-m", "session", "-P", "3"))
        tree = w.adm("-m", "session", "-P", "3")
        for line in ("iSCSI Connection State: LOGGED IN", "HeaderDigest: None", "Lun: 0"):
            assert line in tree, tree
        paths = export(w, api)
        assert sorted(paths) == [0, 1] and all(len(p) <= 107 for p in paths.values()), paths
        source = w.tmp / "source"
        source.write_bytes(os.urandom(16 << 20))
        uri = f"nbd+unix:///?socket={paths[0]}"
        subprocess.run(["nbdcopy", str(source), uri], check=True, timeout=60)
        info = json.loads(subprocess.run(["qemu-img", "info", "--output=json", uri], check=True, timeout=60,
                                         capture_output=True).stdout)
        assert info["virtual-size"] == 16 << 20, info
        subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", str(source), uri], check=True,
                       timeout=60, stdout=subprocess.DEVNULL)
        stats = w.adm("-m", "session", "-s")
        assert "scsicmd_pdus: " in stats, stats
        w.adm("-m", "session", "-R")
        out = w.adm("-m", "node", "-l", rc=15)
        why = w.adm("-m", "session", "--why")
        assert "logged in" in why, why
        w.adm("-m", "node", "-o", "delete", rc=15)
        api.ask("session.unexport", sid=s["sid"])
        assert not any(l["exports"] for l in sessions(api)[IQN]["luns"])
        w.adm("-m", "node", "-u")
        w.adm("-m", "session", rc=21)
        assert not list((w.root / "run/nbd").iterdir()), "what was exported has left a folder"
        w.adm("-m", "node", "-o", "delete")
        w.adm("-m", "node", rc=21)


def many_records():
    """While 400 records are changed and removed, others are answered, and the caller hears of it."""
    with World() as w:
        api, other = w.up(), w.api()
        name = "iqn.2026-11.example:m%d"
        api.ask("node.new", target=name % 0, portal="127.0.0.1:1")
        first = w.root / "nodes" / (name % 0)
        for i in range(1, 400):
            shutil.copytree(first, w.root / "nodes" / (name % i))

        def at_once(method, **params):
            began, answers = len(api.progress), []
            def run_it():
                answers.append(api.ask(method, **params))
            thread = threading.Thread(target=run_it)
            thread.start()
            heard = 0
            while thread.is_alive():
                other.ask("daemon.status")
                heard += 1
            assert answers == [{"count": 400}], answers
            counts = [p["count"] for p in api.progress[began:]]
            assert counts == sorted(counts) and len(counts) >= 2, counts
            assert heard >= 20, f"{method}: the daemon has answered {heard} times"
        at_once("node.update", values=[["node.startup", "automatic"]])
        startups = {n["startup"] for n in api.ask("node.list")["nodes"]}
        assert startups == {"automatic"}, startups
        w.adm("-m", "node", "-o", "update", "-n", "node.no.such", "-v", "1", rc=7)
        at_once("node.delete")
        assert api.ask("node.list")["nodes"] == []


def records_that_cannot_be_read():
    """Where none of the records can be read, the answer is not that there are none."""
    with World() as w:
        api = w.up()
        api.ask("node.new", target=IQN, portal="127.0.0.1:1")
        record = w.root / "nodes" / IQN / "127.0.0.1,1"
        record.unlink()
        os.mkfifo(record)
        for args in (["-m", "node"], ["-m", "node", "-T", IQN]):
            p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "--no-start", *args],
                               capture_output=True, text=True, timeout=30, check=False)
            assert p.returncode not in (0, 21) and str(record) in p.stderr, p
        api.ask("node.new", target=IQN + "2", portal="127.0.0.1:1", tpgt=1)
        api.ask("node.new", target=IQN + "3", portal="127.0.0.1:1", tpgt=1)
        torn = w.root / "nodes" / (IQN + "2") / "127.0.0.1,1,1/default"
        torn.unlink()
        os.mkfifo(torn)
        assert [n["target"] for n in api.ask("node.list")["nodes"]] == [IQN + "3"]
        assert str(torn.parent) in (w.tmp / "iscsid.log").read_text()
        for i in "23":
            shutil.rmtree(w.root / "nodes" / (IQN + i))
        record.unlink()
        record.parent.rmdir()
        record.parent.symlink_to(w.tmp)
        for method in ("node.list", "node.show", "node.login", "node.delete"):
            try:
                fail(f"{method}: {api.ask(method)}")
            except AssertionError as e:
                assert "symbolic link" in str(e), e


def second_instance_is_refused():
    with World() as w:
        w.up()
        first = w.daemon
        second = w.iscsid()
        assert second.wait(20) == 2, second.returncode
        assert "another iscsid, process %d" % first.pid in (w.tmp / "iscsid.log").read_text()
        p = subprocess.run([BIN / "iscsid", "--root", w.root], capture_output=True, text=True, timeout=30, check=False)
        assert p.returncode == 2 and "another iscsid" in p.stderr, p


def run_folder_removed():
    """A run folder that is removed under the daemons: they are reached again, no second ones take their
    place, and nothing logs in a second time, whichever of them lives."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        login(w, t)
        path = export(w, api)[0]
        load = Load(path, reconnect=True)
        first, sid = w.daemon, sessions(api)[IQN]["sid"]
        shutil.rmtree(w.root / "run")
        second = w.iscsid()
        assert second.wait(20) == 2, second.returncode
        log = (w.tmp / "iscsid.log").read_text()
        assert f"another iscsid, process {first.pid}, works for {w.root} already; end it (kill {first.pid})" in log, log
        w.daemon = first
        api = w.api()
        assert sessions(api)[IQN]["sid"] == sid
        load.goes_on()
        # the data plane alone is left, and has not heard of the folder's end yet
        w.kill()
        shutil.rmtree(w.root / "run")
        w.iscsid()
        api = w.api()
        assert w.find_iod(api) in w.iods and len(w.iods) == 1, "a second data plane was started"
        wait_for("the session is found", 20, lambda: sessions(api).get(IQN, {}).get("sid") == sid)
        wait_for("clients reach the export again", 20, lambda: pathlib.Path(path).exists())
        load.goes_on()
        load.stop()
        assert Nbd(path).ask(READ, 0, UNIT)[0] == 0
        assert t.logins() == 1, t.text()
        log = (w.tmp / "iscsid.log").read_text()
        assert f"{w.root}/run/iscsid.sock was removed, and is made anew" in log, log
        w.adm("-m", "node", "-u")


def a_data_plane_out_of_reach():
    """A data plane that lives and cannot be reached is not given a second one beside it."""
    with World() as w:
        w.up()
        w.kill()
        os.kill(w.iod, signal.SIGSTOP)  # so that its socket is not made anew
        shutil.rmtree(w.root / "run")
        w.iscsid()
        api = w.api()
        held = f"the data plane of these records, process {w.iod}, lives but does not answer at {w.root}/run/iod.sock"
        wait_for("it says so", 20, lambda: held in (w.tmp / "iscsid.log").read_text())
        assert api.ask("daemon.status")["data_plane"]["state"] != "up"
        os.kill(w.iod, signal.SIGCONT)
        first = w.iod
        assert w.find_iod(api) == first


def root_removed():
    """All of the instance is removed while its data plane is dead: it is started again all the same; and where
    its folder cannot be made, that is tried now and then, and said."""
    with World() as w:
        api = w.up()
        gone = w.tmp / "gone"
        w.root.rename(gone)
        w.root.write_text("no folder")
        os.kill(w.iod, signal.SIGKILL)
        before, began = cpu(w.daemon.pid), time.monotonic()
        said = "is not started: the run folder is gone and cannot be made anew"
        wait_for("it says so", 20, lambda: said in (w.tmp / "iscsid.log").read_text())
        time.sleep(3)
        tries = (w.tmp / "iscsid.log").read_text().count(said)
        took = time.monotonic() - began
        assert tries <= 12, f"{tries} tries in {took} s"
        assert cpu(w.daemon.pid) - before < 0.2 * took, "it is busy"
        w.root.unlink()
        api = w.api()
        w.find_iod(api)
        shutil.rmtree(gone)


def cpu(pid):
    fields = (pathlib.Path("/proc") / str(pid) / "stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def locked_records():
    """While another program has the lock of the records, others are answered at once; what is to be written waits
    for it."""
    with World() as w:
        api, other = w.up(), w.api()
        api.ask("node.new", target=IQN, portal="127.0.0.1:1")
        lock = w.root / "run/lock"
        (lock / "lock").touch()
        for method, params in (("node.update", {"values": [["node.startup", "automatic"]]}),
                               ("node.new", {"target": IQN + "2", "portal": "127.0.0.1:1"}),
                               ("iface.new", {"iface": "eth7"}),
                               ("node.delete", {"target": IQN})):
            os.link(lock / "lock", lock / "lock.write")
            answers = []
            thread = threading.Thread(target=lambda m=method, p=params: answers.append(api.ask(m, **p)))
            thread.start()
            took = []
            for _ in range(9):
                began = time.monotonic()
                other.ask("daemon.status")
                took.append(time.monotonic() - began)
                time.sleep(0.05)
            assert not answers, f"{method} did not wait"
            # A busy machine delays some of them, and a wait for the lock each.
            assert sorted(took)[4] < 0.3, f"{method}: answers took {took} s"
            (lock / "lock.write").unlink()
            thread.join(20)
            assert answers, method
        names = [n["target"] for n in api.ask("node.list")["nodes"]]
        assert names == [IQN + "2"], names
        # One that was left by a program that was killed is known while its caller waits, who is called as they are.
        os.link(lock / "lock", lock / "lock.write")
        w.adm("-m", "node", "-o", "update", "-n", "node.startup", "-v", "automatic")
        assert not (lock / "lock.write").exists()


def stopped_data_plane():
    """Whoever asks for what a data plane that is stopped would have to do is told so, long before a time limit."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        login(w, t)
        os.kill(w.iod, signal.SIGSTOP)
        for args in (["-m", "session", "-P", "3"], ["-m", "session", "-R"], ["-m", "node", "-u"]):
            began = time.monotonic()
            p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "--no-start", *args],
                               capture_output=True, text=True, timeout=60, check=False)
            assert p.returncode == 33, p
            assert f"of the data plane, process {w.iod}, has not answered for" in p.stderr, p
            assert time.monotonic() - began < 25, p
        assert api.ask("daemon.status")["sessions"] == 1
        os.kill(w.iod, signal.SIGCONT)
        wait_for("it is logged out after all", 20, lambda: not sessions(api))
        w.adm("-m", "node", "-l")
        wait_for("its LUNs are there", 20, lambda: "Lun: 1" in w.adm("-m", "session", "-P", "3"))


def logins_and_logouts():
    """Whatever overtakes what, each end of a login and of a logout has a sentence."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        said, until = [], time.monotonic() + 6
        def again(option):
            while time.monotonic() < until:
                p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "--no-start", "-m", "node", option],
                                   capture_output=True, text=True, timeout=60, check=False)
                said.append((p.returncode, p.stderr))
        threads = [threading.Thread(target=again, args=(o,)) for o in ("-l", "-u", "-l", "-u")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        codes = {rc for rc, _ in said}
        bad = [(rc, err) for rc, err in said if "unknown error" in err or rc == 1 or (rc != 0 and not err.strip())]
        assert not bad, bad[:3]
        assert len(said) > 20 and 0 in codes, codes
        print(f"{len(said)} logins and logouts, codes {sorted(codes)}")
        api.ask("daemon.status")


def one_thing_at_a_time():
    """What would be left out is refused; an export is what it is said to be."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        w.adm("-m", "node", "-l")
        sid = str(api.ask("session.list")["sessions"][0]["sid"])
        for args in (["--lease", "a:60", "--why"], ["--lease", "a:60", "-u"], ["--why", "-u"], ["-s", "-u"],
                     ["--export", "nbd", "-u"], ["--flight", "-R"], ["--histogram"]):
            w.adm("-m", "session", "-r", sid, *args, rc=7)
        w.adm("-m", "session", "-r", sid, "--export", "nbd")
        w.adm("-m", "session", "-r", sid, "--export", "nbd", "--read-only", rc=28)
        w.adm("-m", "session", "--unexport")
        all_of = w.adm("-m", "session", "-r", sid, "--export", "nbd").splitlines()
        for rc in (0, 21):  # there is no such export any more
            w.adm("-m", "session", "-r", sid, "--unexport", "--lun", "0", rc=rc)
        if w.adm("-m", "session", "-r", sid, "--export", "nbd").splitlines() != all_of:
            fail("what had been ended by itself is left out of all")
        w.adm("-m", "session", "--unexport")
        w.adm("-m", "session", "-r", sid, "--export", "nbd", "--read-only")
        w.adm("-m", "session", "-r", sid, "--export", "nbd", rc=28)
        exports = api.ask("session.export", sid=int(sid), kind="nbd", read_only=True)["exports"]
        assert exports and all(e["read_only"] for e in exports), exports
        try:
            api.ask("events.subscribe", bogus=1)
        except AssertionError:
            return
        fail("an unknown parameter is taken")


def idle_callers():
    """A thousand callers who say nothing keep nobody out, and lose nobody a request."""
    with World() as w:
        api = w.up()
        api.ask("events.subscribe")
        idle = []
        def caller():
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(20)
            s.connect(str(w.root / "run/iscsid.sock"))
            return s
        for i in range(1000):
            idle.append(caller())
            if i % 250 == 249:
                time.sleep(1.1)  # else they are about to ask
                s = caller()
                s.sendall(b'{"id":1,"method":"daemon.status"}\n')
                idle += [caller() for _ in range(80)]
                assert b'"result"' in s.recv(65536), i
                s.close()
        assert w.adm("-m", "node", rc=21) == ""
        api.ask("daemon.status")
        for s in idle:
            s.close()


def few_descriptors():
    """With hardly any descriptors, programs end and say why; they do not hang."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        url = f"iscsi://{t.portal}/{IQN}/0"
        for n in range(4, 11):
            for args in (["lunette", "info", url], ["lunette", "attach", url, "--socket", w.tmp / "a.sock"],
                         ["lunette-target", "--listen", "127.0.0.1:0", "--target", IQN, "--lun", "ram:1M"],
                         ["iscsid", "--root", w.root, "-f", "--iod-socket", w.tmp / "none"],
                         ["iscsi-iod", "--socket", w.tmp / "iod.sock"],
                         ["iscsiadm", "--root", w.root, "--no-start", "-m", "node"]):
                p = w.start(["sh", "-c", f'ulimit -n {n}; exec "$@"', "sh", BIN / args[0], *args[1:]],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                try:
                    out, err = p.communicate(timeout=10)
                    assert p.returncode == 0 or err.strip(), (n, args, p.returncode, out, err)
                except subprocess.TimeoutExpired:
                    if not serves(args[0], p.pid):
                        wait_for(f"{args} ends or serves with {n} descriptors", 20,
                                 lambda: p.poll() is not None or serves(args[0], p.pid))
                    p.terminate()
                    p.communicate(timeout=20)


def serves(name, pid):
    """Who goes on has room for those who come."""
    limit = int(pathlib.Path(f"/proc/{pid}/limits").read_text().split("Max open files")[1].split()[0])
    return name not in ("iscsiadm", "iscsid") and limit - len(os.listdir(f"/proc/{pid}/fd")) >= 4


def nothing_to_export():
    """An export of what is not there has not gone well."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        login(w, t)
        sid = sessions(api)[IQN]["sid"]
        export_it = ("-m", "session", "-r", sid, "--export", "nbd")
        assert w.adm(*export_it, "--lun", 9, rc=21) == ""
        assert w.adm(*export_it, "--lun", 1).startswith("1 ")
        assert len(export(w, api)) == 2


def callers_who_do_not_read():
    """Lists of records that thousands have asked for and nobody takes keep nobody else waiting."""
    with World() as w:
        api = w.up()
        name = "iqn.2026-11.example:m%d"
        api.ask("node.new", target=name % 0, portal="127.0.0.1:1")
        for i in range(1, 200):
            shutil.copytree(w.root / "nodes" / (name % 0), w.root / "nodes" / (name % i))
        def memory():
            return int((pathlib.Path("/proc") / str(w.daemon.pid) / "statm").read_text().split()[1]) * 4096
        before, deaf = memory(), []
        for _ in range(40):
            s = socket.socket(socket.AF_UNIX)
            s.connect(str(w.root / "run/iscsid.sock"))
            s.sendall(b"".join(b'{"id":%d,"method":"node.show"}\n' % i for i in range(60)))
            deaf.append(s)
        took = []
        for _ in range(20):
            began = time.monotonic()
            api.ask("session.list")
            took.append(time.monotonic() - began)
        assert sorted(took)[10] < 1 and max(took) < 10, took
        assert memory() - before < 200 << 20, memory() - before
        for s in deaf:
            s.close()
        assert len(api.ask("node.list")["nodes"]) == 200


def no_room_for_exports():
    """Where the path of an export would be too long for a socket, whoever asks for it is told."""
    with World() as w:
        w.root = w.tmp / ("x" * (80 - len(str(w.tmp)) - 1))
        w.root.mkdir()
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        login(w, t)
        sid = sessions(api)[IQN]["sid"]
        p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "--no-start", "-m", "session", "-r",
                            str(sid), "--export", "nbd"], capture_output=True, text=True, timeout=30, check=False)
        assert p.returncode != 0 and "too long" in p.stderr, p
        w.adm("-m", "node", "-u")


def nobody_can_call():
    """A daemon that no caller can reach has not ended well, and says why."""
    with World() as w:
        (w.root / "run/iscsid.sock").mkdir(parents=True)
        p = w.iscsid()
        assert p.wait(60) == 1, p.returncode
        log = (w.tmp / "iscsid.log").read_text()
        assert "callers cannot be listened to: " in log, log
        for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
            try:
                if str(w.root).encode() in path.read_bytes():
                    w.iods.add(int(path.parent.name))
            except OSError:
                pass


def background():
    """Without -f it detaches, and is ready when its parent ends; iscsiadm starts it by itself."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        end, held = os.pipe()
        p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "-m", "discovery", "-t", "st", "-p",
                            t.portal], capture_output=True, text=True, timeout=60, check=False, pass_fds=[held])
        assert p.returncode == 0 and IQN in p.stdout, p
        pid = int((w.root / "run/iscsid.pid").read_text())
        api = Api(w.root / "run/iscsid.sock")
        try:
            w.find_iod(api)
            assert alive(pid)
            os.close(held)
            assert select.select([end], [], [], 1)[0], "the daemons keep what their caller had open"
            w.adm("-k", "0")
            wait_for("the daemon ends", 10, lambda: not alive(pid))
            assert alive(w.iod)
            assert not (w.root / "run/iscsid.pid").exists(), "somebody else may have the number next"
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def other_user():
    """With --uid nothing of root's groups is left."""
    if os.geteuid() != 0:
        print("not root")
        return
    with World() as w:
        w.tmp.chmod(0o755)
        os.chown(w.root, 65534, 65534)
        with open(w.tmp / "iscsid.log", "a", encoding="utf-8") as log:
            w.daemon = w.start([BIN / "iscsid", "--root", w.root, "-f", "--uid", "65534"], stdout=log, stderr=log,
                               extra_groups=[0, 4])
        w.api()
        status = (pathlib.Path("/proc") / str(w.daemon.pid) / "status").read_text()
        lines = dict(l.split(":", 1) for l in status.splitlines())
        assert lines["Uid"].split() == ["65534"] * 4 and not lines["Groups"].split(), status
        iod = Api(w.root / "run/iscsid.sock").ask("daemon.status")["data_plane"]["pid"]
        if iod:
            w.iods.add(iod)
        (w.tmp / "mine").mkdir(mode=0o700)
        home = pwd.getpwuid(65534).pw_dir
        if os.path.exists(home):
            return
        p = subprocess.run([BIN / "iscsid", "-f", "--uid", "65534"], capture_output=True, text=True, timeout=30,
                           env={"HOME": str(w.tmp / "mine"), "PATH": os.environ["PATH"]}, check=False)
        assert p.returncode == 1 and f"cannot make {home}" in p.stderr, p


def left_alone():
    """The data plane is started again also where SIGCHLD was ignored, and keeps no folder busy."""
    with World() as w:
        here = w.tmp / "here"
        here.mkdir()
        with open(w.tmp / "iscsid.log", "a", encoding="utf-8") as log:
            w.daemon = w.start(["/bin/sh", "-c", "trap '' CHLD; exec \"$@\"", "sh", BIN / "iscsid", "--root",
                                w.root, "-f"], cwd=here, stdout=log, stderr=log)
        api = w.api()
        first = w.find_iod(api)
        assert os.readlink(f"/proc/{first}/cwd") == "/", os.readlink(f"/proc/{first}/cwd")
        os.kill(first, signal.SIGKILL)
        wait_for("it is gone", 10, lambda: not alive(first))
        assert w.find_iod(api) != first


def mute_data_plane():
    """A data plane that was started and does not listen is told of."""
    with World() as w:
        (w.tmp / "bin").mkdir()
        shutil.copy(BIN / "iscsid", w.tmp / "bin")
        mute = w.tmp / "bin/iscsi-iod"
        mute.write_text("#!/bin/sh\nexec sleep 60\n")
        mute.chmod(0o755)
        with open(w.tmp / "iscsid.log", "a", encoding="utf-8") as log:
            w.daemon = w.start([w.tmp / "bin/iscsid", "--root", w.root, "-f"], stdout=log, stderr=log)

        def said(text):
            return [l for l in (w.tmp / "iscsid.log").read_text().splitlines() if text in l]
        pid = int(wait_for("it is started", 10, lambda: said("is started as process"))[0].split()[-1])
        w.iods.add(pid)
        wait_for("that it does not listen", 20, lambda: said("does not listen at"))
        time.sleep(2)
        assert len(said("does not listen at")) == 1
        w.api().ask("daemon.shutdown", logout=True)
        wait_for("it ends, too", 10, lambda: not alive(pid))


def safe_logout():
    """iscsid.safe_logout keeps a session whose exports have clients."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        (w.root / "iscsid.conf").write_text("iscsid.safe_logout = Yes\n")
        api = w.up()
        login(w, t)
        client = Nbd(export(w, api)[1])
        w.adm("-m", "node", "-u", rc=28)
        try:
            api.ask("daemon.shutdown", logout=True)
            fail("it ends under a client")
        except AssertionError as e:
            assert "BUSY" in str(e), e
        try:  # nor when there is no time to ask whether it is in use
            api.ask("daemon.shutdown", logout=True, deadline_ms=0)
            fail("it ends under a client")
        except AssertionError as e:
            assert "safe_logout" in str(e), e
        assert client.ask(READ, 0, UNIT)[0] == 0
        client.close()
        wait_for("nobody is there", 10, lambda: not any(e["clients"] for l in sessions(api)[IQN]["luns"]
                                                        for e in l["exports"]))
        w.adm("-m", "node", "-u")


def service():
    """A socket that is handed over, readiness, SIGHUP, a data plane that somebody else starts."""
    with World() as w:
        (w.root / "run").mkdir()
        iod = w.start([BIN / "iscsi-iod", "--socket", w.tmp / "iod.sock"])
        w.iods.add(iod.pid)
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(w.tmp / "notify"))
        notify.settimeout(20)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(w.root / "run/iscsid.sock"))
        listener.listen(16)
        (w.root / "iscsid.conf").write_text("node.session.timeo.replacement_timeout = 77\n")
        early = Api(w.root / "run/iscsid.sock")
        w.daemon = w.start(["/bin/sh", "-c", 'exec 3<&"$0"; export LISTEN_PID=$$ LISTEN_FDS=1; exec "$@"',
                            listener.fileno(), BIN / "iscsid", "--root", w.root, "-f", "--iod-socket",
                            w.tmp / "iod.sock"], pass_fds=[listener.fileno()],
                           env={**os.environ, "NOTIFY_SOCKET": str(w.tmp / "notify")})
        assert notify.recv(100) == b"READY=1"
        assert early.ask("hello")["pid"] == w.daemon.pid
        assert early.ask("daemon.status")["data_plane"]["pid"] == iod.pid

        def limit(name):
            early.ask("node.new", target=name, portal="127.0.0.1:1")
            return dict(early.ask("node.show", target=name)["nodes"][0]["values"])[
                "node.session.timeo.replacement_timeout"]
        assert limit("iqn.2026-11.example:a") == "77"
        (w.root / "iscsid.conf").write_text("node.session.timeo.replacement_timeout = 78\n")
        w.daemon.send_signal(signal.SIGHUP)
        assert [notify.recv(100) for _ in range(2)] == [b"RELOADING=1", b"READY=1"]
        assert limit("iqn.2026-11.example:b") == "78" and limit("iqn.2026-11.example:a") == "78"
        w.daemon.terminate()
        assert notify.recv(100) == b"STOPPING=1" and w.daemon.wait(20) == 0
        assert iod.poll() is None


def installed():
    """iscsiadm in bin starts the iscsid in sbin beside it, which is not in PATH; paths are relative."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        for folder, programs in (("bin", ["iscsiadm"]), ("sbin", ["iscsid", "iscsi-iod"])):
            (w.tmp / folder).mkdir()
            for program in programs:
                shutil.copy(BIN / program, w.tmp / folder)
        p = subprocess.run(["bin/iscsiadm", "--root", "r", "-m", "discovery", "-t", "st", "-p", t.portal], cwd=w.tmp,
                           env={"PATH": "/usr/bin:/bin", "HOME": str(w.tmp)}, capture_output=True, text=True,
                           timeout=60, check=False)
        assert p.returncode == 0 and IQN in p.stdout, p
        pid = int((w.root / "run/iscsid.pid").read_text())
        try:
            api = Api(w.root / "run/iscsid.sock")
            w.find_iod(api)
            api.ask("daemon.reload")
            api.ask("daemon.shutdown", logout=True)
            wait_for("both have ended", 30, lambda: not alive(pid) and not alive(w.iod))
        finally:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)


def one_of_many():
    """What each instance of many_instances does, in its network namespace."""
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True, timeout=10)
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS, port=3260)
        api = w.up()
        login(w, t)
        load = Load(export(w, api)[0])
        w.kill()
        load.goes_on()
        api = w.up()
        assert sessions(api)[IQN]["portal"] == "127.0.0.1:3260"
        load.stop()
        assert t.logins() == 1


def many_instances():
    """20 instances in 20 network namespaces, all logged in to the same address, as a user who is not root."""
    user = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
    alone = [*user, "unshare", "--user", "--map-root-user", "--net"]
    if subprocess.run([*alone, "true"], check=False, capture_output=True).returncode != 0:
        print("no user namespaces here")
        return
    python = "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable
    if subprocess.run([*alone, python, __file__, "none"], check=False, capture_output=True).returncode != 0:
        print("that user cannot run this")
        return
    each = [subprocess.Popen([*alone, python, __file__, "one_of_many"], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True) for _ in range(20)]
    for p in each:
        out, _ = p.communicate(timeout=120)
        assert p.returncode == 0 and "ok one_of_many" in out, out


def long_names():
    """Where a path would be too long for a socket, it has a number in place of the name."""
    with World() as w:
        name = IQN + "x" * 150
        t = Target(w, "--target", name, *LUNS)
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal, "-l")
        paths = export(w, api, name)
        assert all(len(p) <= 107 and p.startswith(str(w.root / "run/nbd")) for p in paths.values()), paths
        load = Load(paths[0], reconnect=True)
        load.goes_on()
        os.kill(w.iod, signal.SIGKILL)
        wait_for("it is gone", 10, lambda: not alive(w.iod))
        w.find_iod(api)
        load.goes_on()
        load.stop()
        assert export(w, api, name) == paths


def several_sessions():
    """nr_sessions, one more by -o new, leading_login, and what a wrong secret is answered with."""
    with World() as w:
        secret = "user:correct horse battery"
        t = Target(w, "--target", IQN, *LUNS, "--target", IQN + "2", *LUNS, "--chap", secret)
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.session.nr_sessions", "-v", "2")
        w.adm("-m", "node", "-T", IQN, "-l")
        s = api.ask("session.list")["sessions"]
        assert len(s) == 2 and s[0]["isid"] != s[1]["isid"], s
        w.adm("-m", "session", "-r", s[0]["sid"], "-o", "new")
        s = api.ask("session.list")["sessions"]
        assert len(s) == 3, s
        paths = {e["path"] for x in s for e in api.ask("session.export", sid=x["sid"], kind="nbd")["exports"]}
        assert len(paths) == 6, paths
        w.adm("-m", "session", "-r", s[1]["sid"], "-u")
        assert len(api.ask("session.list")["sessions"]) == 2
        w.kill()
        api = w.up()
        assert len(api.ask("session.list")["sessions"]) == 2
        w.adm("-m", "node", "-T", IQN, "-u")
        for key, value in (("username", "user"), ("password", "wrong horse battery"), ("authmethod", "CHAP")):
            w.adm("-m", "node", "-T", IQN + "2", "-o", "update", "-n", f"node.session.auth.{key}", "-v", value)
        w.adm("-m", "node", "-T", IQN + "2", "-l", rc=24)
        w.adm("-m", "node", "-T", IQN + "2", "-o", "update", "-n", "node.session.auth.password", "-v", secret[5:])
        w.adm("-m", "node", "-T", IQN + "2", "-l")
        assert secret[5:] not in w.adm("-m", "session", "-P", "2")
        assert secret[5:] in w.adm("-m", "session", "-P", "2", "-S")
        portal, _ = w.relay(t.portal)
        api.ask("node.new", target=IQN, portal=portal, values=[["node.leading_login", "Yes"]])
        w.adm("-m", "node", "-p", t.portal, "-T", IQN, "-o", "update", "-n", "node.leading_login", "-v", "Yes")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.session.nr_sessions", "-v", "1")
        w.adm("-m", "node", "-T", IQN, "-L", "all")
        assert len([x for x in api.ask("session.list")["sessions"] if x["target"] == IQN]) == 1


def discovery_changes_records():
    """Sessions follow the records that a discovery makes and removes."""
    with World() as w:
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            second = "127.0.0.1:%d" % s.getsockname()[1]
        t = Target(w, "--listen", second, "--target", IQN, *LUNS)
        first, port = t.portal, int(t.portal.rsplit(":", 1)[1])
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", first)
        assert {n["portal"] for n in api.ask("node.list")["nodes"]} == {first, second}
        w.adm("-m", "node", "-T", IQN, "-p", first, "-l")
        w.kill()
        shutil.rmtree(w.root / "nodes")
        api = w.up()
        why = "it was found and has no record"
        assert why in w.adm("-m", "session", "--why")
        w.adm("-m", "discovery", "-t", "st", "-p", first)
        wait_for("the session has a record again", 5, lambda: why not in w.adm("-m", "session", "--why"))
        w.adm("-m", "node", "-u")
        t.p.kill()
        t.p.wait()
        api.ask("node.login", portal=second, wait=False)
        time.sleep(1)  # its listening socket may outlive it for a moment
        t = Target(w, "--target", IQN, *LUNS, port=port)
        assert api.ask("daemon.status")["wanted"] == 1
        api.ask("discovery.sendtargets", portal=first, op=["new", "update", "delete"])
        assert {n["portal"] for n in api.ask("node.list")["nodes"]} == {first}
        wait_for("what has no record any more is not tried", 5, lambda: api.ask("daemon.status")["wanted"] == 0)


def ifaces():
    """An iface that is refused is not there; all of its values are set, also where nodes are bound to it."""
    with World() as w:
        api = w.up()
        good, bad = ["iface.initiatorname", "iqn.2026-11.example:me"], ["iface.nonsense", "1"]
        for values in ([bad], [good, bad]):
            try:
                api.ask("iface.new", iface="eth", values=values)
                fail("a value that is none is taken")
            except AssertionError as e:
                assert "nonsense" in str(e), e
            assert "eth" not in {i["name"] for i in api.ask("iface.list")["ifaces"]}
        api.ask("iface.new", iface="eth", values=[good])
        api.ask("node.new", target=IQN, portal="127.0.0.1:1", iface="eth")
        api.ask("iface.update", iface="eth", values=[["iface.ipaddress", "127.0.0.1"], ["iface.initiatorname", IQN]])
        kept = dict(api.ask("node.show")["nodes"][0]["values"])
        assert (kept["iface.ipaddress"], kept["iface.initiatorname"]) == ("127.0.0.1", IQN), kept
        api.ask("iface.delete", iface="eth")
        assert not api.ask("node.list")["nodes"]


def iser_without_a_device():
    """What is to go over iSER, where nothing here can do that, ends with one sentence and code 12, whoever says iser:
    the iface or the record of a node.  The options of a transport are kept in records."""
    if pathlib.Path("/dev/infiniband").exists():
        print("not tried: this host may have an RDMA device")
        return
    with World() as w:
        api = w.up()
        assert "iser iser,<empty>,<empty>,<empty>,<empty>\n" in w.adm("-m", "iface")
        node = ("-m", "node", "-T", IQN, "-p", "127.0.0.1:1")
        api.ask("node.new", target=IQN, portal="127.0.0.1:1", iface="iser")
        began = time.monotonic()
        w.adm(*node, "-l", rc=12)
        w.adm("-m", "discovery", "-t", "st", "-p", "127.0.0.1:1", "-I", "iser", rc=12)
        assert time.monotonic() - began < 10 # nothing is tried again
        said = api.ask("node.login", target=IQN)["results"][0]["error"]
        assert said["exit"] == 12 and ("iser" in said["message"] or "RDMA" in said["message"]), said
        print(said["message"])
        api.ask("node.delete", target=IQN)
        api.ask("node.new", target=IQN, portal="127.0.0.1:1")
        w.adm(*node, "-o", "update", "-n", "iface.transport_name", "-v", "iser")
        w.adm(*node, "-o", "update", "-n", "node.transport_options", "-v", "iser_stag=pool&iser_poll_us=50")
        assert "node.transport_options = iser_stag=pool&iser_poll_us=50\n" in w.adm(*node)
        assert any("# lunette: node.transport_options = iser_stag" in p.read_text(encoding="ascii")
                   for p in (w.root / "nodes").rglob("*") if p.is_file()) # which older readers skip
        # What cannot be is refused where it is written, and told where it is read.
        for value, why in (("rubbish", '"rubbish": want NAME=VALUE'), ("iser_pool=2G", "iser_pool=2G: a size from 1M to 1G")):
            p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "--no-start", *node, "-o", "update", "-n",
                                "node.transport_options", "-v", value], capture_output=True, text=True, timeout=30, check=False)
            assert p.returncode == 7 and "node.transport_options: " in p.stderr and why in p.stderr, p
        (w.root / "iscsid.conf").write_text("node.transport_options = iser_stag=pools\n", encoding="ascii")
        api.ask("daemon.reload")
        assert "iscsid.conf:1: node.transport_options: iser_stag=pools: window, pool" in (w.tmp / "iscsid.log").read_text()
        assert "node.transport_options = iser_stag=pool&iser_poll_us=50\n" in w.adm(*node)
        w.adm(*node, "-l", rc=12)
        w.adm(*node, "-o", "update", "-n", "iface.transport_name", "-v", "tcp")
        w.adm(*node, "-l", rc=7) # of which tcp has none
        w.adm(*node, "-o", "update", "-n", "iface.transport_name", "-v", "qedi")
        w.adm(*node, "-l", rc=7)
        assert not sessions(api)


def number_for_a_name():
    """A second session and a session by an iface that is called 1 have exports of their own."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        api.ask("iface.new", iface="1")
        for iface, n in (("default", "2"), ("1", "1")):
            api.ask("node.new", target=IQN, portal=t.portal, iface=iface, values=[["node.session.nr_sessions", n]])
        w.adm("-m", "node", "-l")
        sids = [s["sid"] for s in api.ask("session.list")["sessions"]]
        paths = [e["path"] for s in sids for e in api.ask("session.export", sid=s, kind="nbd")["exports"]]
        assert len(paths) == len(set(paths)) == 6, paths


def live_limits():
    """Time limits of a session that is there: all of them are set, or none, and none that there is not."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        login(w, t)
        sid = sessions(api)[IQN]["sid"]
        good = ["node.session.timeo.replacement_timeout", "77"]

        def limit():
            return sessions(api)[IQN]["timeouts"]["recovery"]
        before = limit()
        for bad in (["node.session.timeo.replacment_timeout", "9"], ["node.session.err_timeo.abort_timeout", "x"]):
            try:
                api.ask("session.update", sid=sid, values=[good, bad])
                fail("what cannot be set is set")
            except AssertionError as e:
                assert bad[0] in str(e), e
            assert limit() == before
        api.ask("session.update", sid=sid, values=[good, ["node.startup", "manual"]])
        assert limit() == 77


def login_waits_for_luns():
    """Whoever has logged in looks for the LUNs next, and finds them, also where they take a moment."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        portal, control = w.relay(t.portal)
        w.tell(control, "delay", 50)
        api = w.up()
        api.ask("node.new", target=IQN, portal=portal)
        for _ in range(3):
            w.adm("-m", "node", "-l")
            luns = sessions(api)[IQN]["luns"]
            assert [l["state"] for l in luns] == ["UP", "UP"], luns
            w.adm("-m", "node", "-u")


def one_export_after_the_other():
    """An export that has ended takes no room from others."""
    with World() as w:
        t = Target(w, "--target", IQN, *["--lun", "ram:1M"] * 20)
        api = w.up()
        login(w, t)
        sid = sessions(api)[IQN]["sid"]
        for i in range(20):
            assert api.ask("session.export", sid=sid, kind="nbd", lun=i)["exports"][0]["lun"] == i
            api.ask("session.unexport", sid=sid, lun=i)
        assert not any(l["exports"] for l in sessions(api)[IQN]["luns"])
        for i in range(14):
            api.ask("session.export", sid=sid, kind="nbd", lun=i)
        try:
            fail(api.ask("session.export", sid=sid, kind="nbd", lun=19))
        except AssertionError as e:
            assert "export all instead" in str(e), e
        assert sum(len(l["exports"]) for l in sessions(api)[IQN]["luns"]) == 14


def many_ifaces():
    """Where no iface is named, a discovery goes by all that somebody has made."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        api.ask("iface.new", iface="e0")
        for i in range(1, 70):
            text = (w.root / "ifaces/e0").read_text()
            (w.root / f"ifaces/e{i}").write_text(text.replace("e0", f"e{i}"))
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        assert len(api.ask("node.list")["nodes"]) == 70


def busy_while(api, work):
    """Asks for the status again and again while work is done on a thread: how long that took, and the longest
    answer."""
    thread = threading.Thread(target=work)
    began, longest = time.monotonic(), 0
    thread.start()
    while thread.is_alive():
        at = time.monotonic()
        api.ask("daemon.status")
        longest = max(longest, time.monotonic() - at)
    return time.monotonic() - began, longest


def many_bound():
    """While 400 nodes follow their iface, and go with it, others are answered; what is bound to an iface that is not
    there stays when it cannot be made."""
    with World() as w:
        api, other = w.up(), w.api()
        name = "iqn.2026-11.example:m%d"
        api.ask("iface.new", iface="e0")
        api.ask("node.new", target=name % 0, portal="127.0.0.1:1,1", iface="e0")
        for i in range(1, 400):
            shutil.copytree(w.root / "nodes" / (name % 0), w.root / "nodes" / (name % i))
        record = "nodes/%s/127.0.0.1,1,1/e0" % name

        took, longest = busy_while(other, lambda: api.ask("iface.update", iface="e0",
                                                          values=[["iface.net_ifacename", "eth7"]]))
        assert longest < took / 2, f"it took {took} s, and an answer meanwhile {longest} s"
        for i in range(400):
            assert "iface.net_ifacename = eth7\n" in (w.root / (record % i)).read_text(), i
        (w.root / "ifaces/e0").rename(w.tmp / "e0")
        for method, values in (("iface.new", [["iface.no.such", "x"]]), ("iface.delete", None)):
            try:
                api.ask(method, iface="e0", **({"values": values} if values else {}))
            except AssertionError:
                continue
            fail(f"{method} is carried out")
        assert not (w.root / "ifaces/e0").exists() and len(api.ask("node.list")["nodes"]) == 400
        (w.tmp / "e0").rename(w.root / "ifaces/e0")
        api.ask("iface.delete", iface="e0")
        assert api.ask("node.list")["nodes"] == [] and not list((w.root / "nodes").iterdir())
        assert not (w.root / "ifaces/e0").exists()
        # who is bound to it is looked for among many that are not
        api.ask("node.new", target=name % 0, portal="127.0.0.1:1,1")
        for i in range(1, 2000):
            shutil.copytree(w.root / "nodes" / (name % 0), w.root / "nodes" / (name % i))
        api.ask("iface.new", iface="e0")
        took, longest = busy_while(other, lambda: api.ask("iface.delete", iface="e0"))
        assert longest < took / 4, f"it took {took} s, and an answer meanwhile {longest} s"


def two_changes_of_an_iface():
    """Nodes end with what their iface says, also where two change it at the same time, and others the records."""
    with World() as w:
        api, other = w.up(), w.api()
        name, count, over = "iqn.2026-11.example:m%d", 100, threading.Event()
        api.ask("iface.new", iface="e0")
        api.ask("node.new", target=name % 0, portal="127.0.0.1:1,1", iface="e0")
        for i in range(1, count):
            shutil.copytree(w.root / "nodes" / (name % 0), w.root / "nodes" / (name % i))

        def disturb():
            with open(w.root / "run/lock/lock.lunette", "rb") as f:
                while not over.wait(0.002):
                    fcntl.flock(f, fcntl.LOCK_EX)
                    time.sleep(0.0005)
                    fcntl.flock(f, fcntl.LOCK_UN)

        def change(api, text):
            api.ask("iface.update", iface="e0", values=[["iface.net_ifacename", text]])

        disturber = threading.Thread(target=disturb)
        disturber.start()
        try:
            for n in range(3):
                two = [threading.Thread(target=change, args=(a, f"{a is api}{n}")) for a in (api, other)]
                for t in two:
                    t.start()
                for t in two:
                    t.join()
                lines = [l for l in (w.root / "ifaces/e0").read_text().splitlines() if "net_ifacename" in l]
                for i in range(count):
                    text = (w.root / "nodes" / (name % i) / "127.0.0.1,1,1/e0").read_text()
                    assert lines[0] in text.splitlines(), (n, i, lines)
        finally:
            over.set()
            disturber.join()


def narrow_filters():
    """The tag of a portal is part of what is meant; what cannot be read is named."""
    with World() as w:
        api = w.up()
        api.ask("node.new", target=IQN, portal="127.0.0.1:1", tpgt=1)
        assert api.ask("node.list", portal="127.0.0.1:1,1")["nodes"]
        assert not api.ask("node.list", portal="127.0.0.1:1,2")["nodes"]
        api.ask("discovery.new", type="sendtargets", portal="127.0.0.1:1")
        record = w.root / "send_targets/127.0.0.1,1"
        record.rename(w.tmp / "elsewhere")
        record.symlink_to(w.tmp / "elsewhere")
        try:
            fail(api.ask("discovery.list", targets=True))
        except AssertionError as e:
            assert "symbolic link" in str(e), e


def records_of_discoveries():
    """Records of discoveries are told all together, by type and by portal, with what they hold."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        assert api.ask("discovery.show") == {"records": []}
        api.ask("discovery.new", type="sendtargets", portal=t.portal)
        api.ask("discovery.new", type="isns", portal="127.0.0.1:3205",
                values=[["discovery.startup", "manual"]])
        api.ask("discovery.sendtargets", type="sendtargets", portal=t.portal)
        api.ask("node.new", target=IQN + "2", portal="127.0.0.1:1", tpgt=1)
        records = {r["type"]: r for r in api.ask("discovery.show")["records"]}
        assert sorted(records) == ["isns", "sendtargets", "static"], records
        assert ["discovery.startup", "manual"] in records["isns"]["values"], records
        assert records["sendtargets"]["portal"] == t.portal and "targets" not in records["sendtargets"], records
        assert [n["target"] for n in records["static"]["targets"]] == [IQN + "2"] and "portal" not in records["static"]
        for type_, n in (("sendtargets", 1), ("isns", 1), ("static", 1), ("fw", 0)):
            assert [r["type"] for r in api.ask("discovery.show", type=type_)["records"]] == [type_] * n, type_
        for method in ("discovery.show", "discovery.list"):
            assert [r["type"] for r in api.ask(method, portal=t.portal)["records"]] == ["sendtargets"], method
        found = api.ask("discovery.list", type="sendtargets", targets=True)["records"]
        assert [n["target"] for n in found[0]["targets"]] == [IQN], found
        for method, params in (("discovery.show", {"portal": "127.0.0.1:1"}),
                               ("discovery.show", {"type": "isns", "portal": t.portal}),
                               ("discovery.new", {"type": "static", "portal": t.portal}),
                               ("discovery.delete", {"portal": t.portal}),
                               ("discovery.isns", {"type": "sendtargets", "portal": t.portal})):
            try:
                fail(f"{method} {params}: {api.ask(method, **params)}")
            except AssertionError as e:
                assert ("NOT_FOUND" if method == "discovery.show" else "INVALID") in str(e), e


def repeated_without_a_record():
    """A repeated discovery whose record cannot be read goes on, and whoever looks into the log hears of it."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        api.ask("discovery.new", type="sendtargets", portal=t.portal,
                values=[["discovery.sendtargets.use_discoveryd", "Yes"],
                        ["discovery.sendtargets.discoveryd_poll_inval", "1"]])
        wait_for("what is found is logged in to", 20, lambda: sessions(api).get(IQN))
        w.adm("-m", "node", "-u")
        record = w.root / ("send_targets/%s/st_config" % t.portal.replace(":", ","))
        text = record.read_bytes()
        record.unlink()
        os.mkfifo(record)
        api.ask("daemon.reload")
        log = (w.tmp / "iscsid.log").read_text()
        assert f"the record of the discovery at {t.portal.split(':')[0]} cannot be read" in log, log
        record.unlink()
        record.write_bytes(text)
        api.ask("daemon.reload")
        time.sleep(2)
        assert not sessions(api), "what somebody has logged out of is logged in to as if it were new"


def with_tgtd():
    """The same with the target of tgt."""
    if not shutil.which("tgtd") or os.geteuid() != 0:
        print("no tgtd, or not root")
        return
    with World() as w:
        disk = w.tmp / "disk"
        with open(disk, "wb") as f:
            f.truncate(16 << 20)
        port = free_port()
        control = os.getpid() % 30000 + 1000
        with open(w.tmp / "tgtd.log", "w", encoding="utf-8") as log:
            w.start(["tgtd", "-f", "-C", control, "--iscsi", f"portal=127.0.0.1:{port}"], stdout=log, stderr=log)

        def tgtadm(*args, check=True):
            return subprocess.run(["tgtadm", "-C", str(control), "--lld", "iscsi", *args], check=check, timeout=10,
                                  capture_output=True).returncode == 0
        wait_for("tgtd answers", 10, lambda: tgtadm("--mode", "system", "--op", "show", check=False))
        tgtadm("--op", "new", "--mode", "target", "--tid", "1", "-T", IQN)
        tgtadm("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", "1", "-b", str(disk))
        tgtadm("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", f"127.0.0.1:{port}", "-l")
        paths = export(w, api)
        assert list(paths) == [1], paths  # LUN 0 is a controller
        load = Load(paths[1], reconnect=True)
        load.goes_on()
        w.kill()
        load.goes_on()
        api = w.up()
        os.kill(w.iod, signal.SIGKILL)
        wait_for("it is gone", 10, lambda: not alive(w.iod))
        w.find_iod(api)
        load.goes_on()
        load.stop()
        tree = w.adm("-m", "session", "-P", "3")
        assert "Attached scsi disk" in tree, tree
        w.adm("-m", "node", "-u")


def two_control_planes():
    """Two instances that were given one data plane by mistake do not keep the machine busy."""
    with World() as w:
        iod = w.start([BIN / "iscsi-iod", "--socket", w.tmp / "iod.sock"])
        logs = []
        for i in range(2):
            logs.append(w.tmp / f"other{i}.log")
            with open(logs[i], "w", encoding="utf-8") as log:
                w.start([BIN / "iscsid", "--root", w.tmp / f"o{i}", "-f", "--iod-socket", w.tmp / "iod.sock"],
                        stdout=log, stderr=log)

        def lost():
            return sum(log.read_text().count("is lost") for log in logs)
        wait_for("each has lost it", 20, lambda: lost() > 1)
        before = lost()
        time.sleep(3)
        assert lost() - before < 40, (before, lost())
        assert iod.poll() is None


def automatic():
    """Automatic records are logged in to at the start, once for each data plane."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS, "--target", IQN + "2", *LUNS)
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        w.adm("-m", "node", "-o", "update", "-n", "node.startup", "-v", "automatic")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.export", "-v", "nbd")
        assert not sessions(api)
        api.ask("daemon.shutdown", logout=True)
        w.daemon.wait(30)
        wait_for("the data plane has ended", 30, lambda: not alive(w.iod))
        api = w.up()
        wait_for("both are up", 20, lambda: len(sessions(api)) == 2)
        wait_for("what the record exports", 20,
                 lambda: all(l["exports"] for l in sessions(api)[IQN]["luns"]) and sessions(api)[IQN]["luns"])
        assert not any(l["exports"] for l in sessions(api)[IQN + "2"]["luns"])
        w.adm("-m", "node", "-T", IQN, "-u")
        w.kill()
        api = w.up()
        time.sleep(0.5)
        assert list(sessions(api)) == [IQN + "2"], "somebody has logged out of it"


def killed_under_load():
    """iscsid is killed under I/O: no I/O error, and not one login."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        login(w, t)
        paths = export(w, api)
        loads = [Load(p) for p in paths.values()]
        for _ in range(5):
            loads[0].goes_on()
            w.kill()
            loads[0].goes_on()
            api = w.up()
            s = sessions(api)[IQN]
            assert s["state"] == "LOGGED_IN" and s["wanted"], s
            assert all(l["exports"][0]["path"] == paths[l["lun"]] for l in s["luns"]), s
        w.daemon.terminate()
        assert w.daemon.wait(20) == 0
        loads[0].goes_on()
        for load in loads:
            load.stop()
        assert t.logins() == 1, t.text()


def events_of_failures():
    """Whoever listens hears that I/O fails from now on, and which export has ended."""
    with World() as w:
        (w.root / "run/began").mkdir(parents=True)
        t = Target(w, "--target", IQN, *LUNS)
        port = int(t.portal.rsplit(":", 1)[1])
        api, events = w.up(), w.api()
        assert "run/began cannot be written" in (w.tmp / "iscsid.log").read_text()
        events.ask("events.subscribe")
        api.ask("node.new", target=IQN, portal=t.portal, values=[["node.session.timeo.replacement_timeout", "1"]])
        w.adm("-m", "node", "-l")
        paths = export(w, api)

        def seen(name):
            events.ask("hello")
            return [e for e in events.events if e["event"] == name]
        t.p.kill()
        t.p.wait()
        failed = wait_for("I/O fails", 20, lambda: seen("session.failed"))[0]
        assert failed["target"] == IQN and failed["reason"], failed
        assert sessions(api)[IQN]["state"] == "FAILED"
        assert "its commands fail until it is logged in again" in (w.tmp / "iscsid.log").read_text()
        t = Target(w, "--target", IQN, *LUNS[:2], port=port)
        wait_for("it is back", 30, lambda: sessions(api)[IQN]["state"] == "LOGGED_IN")
        w.adm("-m", "session", "-R")
        stopped = wait_for("the export of what is gone has ended", 30, lambda: seen("export.stopped"))[0]
        assert (stopped["kind"], stopped["path"]) == ("nbd", paths[stopped["lun"]]), stopped


def data_plane_killed():
    """iscsi-iod is killed: sessions and exports come back, and clients that connect again go on."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up("--threads", "2")
        events = w.api()
        events.ask("events.subscribe")
        login(w, t)
        loads = [Load(p, reconnect=True) for p in export(w, api).values()]
        for i in range(3):
            loads[1].goes_on()
            os.kill(w.iod, signal.SIGKILL)
            wait_for("it is gone", 10, lambda: not alive(w.iod))
            w.find_iod(api)
            loads[0].goes_on()
            if i == 1:  # the next control plane knows the exports that were wanted
                w.kill()
                api = w.up("--threads", "2")
            if i == 0:
                events.ask("hello")
                seen = [e["event"] for e in events.events]
                assert seen.count("session.up") == 2 and seen.count("daemon.dataplane") == 2, seen
        for load in loads:
            load.stop()
            assert load.reconnects >= 3, load.reconnects
        assert t.logins() == 4, t.text()


def second_signal():
    """Whoever does not want to wait for a data plane that flushes its disks sends a second signal."""
    with World() as w:
        t = Target(w, "--target", IQN, "--lun", "ram:16M,wce=1")
        portal, control = w.relay(t.portal)
        api = w.up()
        api.ask("node.new", target=IQN, portal=portal)
        w.adm("-m", "node", "-l")
        client = Nbd(export(w, api)[0])
        assert client.ask(WRITE, 0, UNIT, b"x" * UNIT)[0] == 0
        client.close()
        w.tell(control, "stall")
        w.kill()
        os.kill(w.iod, signal.SIGTERM)
        time.sleep(0.5)
        assert alive(w.iod), "nothing was to be flushed"
        os.kill(w.iod, signal.SIGTERM)
        wait_for("it ends at once", 3, lambda: not alive(w.iod))


def cut_connections():
    """Connections are cut while iscsid is there, is dead, and starts: I/O goes on."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        portal, control = w.relay(t.portal)
        api = w.up()
        api.ask("node.new", target=IQN, portal=portal, values=[["node.session.timeo.replacement_timeout", "60"]])
        w.adm("-m", "node", "-l")
        load = Load(export(w, api)[0])
        load.goes_on()
        w.tell(control, "cut", "rst")
        load.goes_on()
        w.kill()
        w.tell(control, "cut", "rst")
        time.sleep(0.3)
        api = w.up()
        load.goes_on()
        w.tell(control, "cut", "rst")
        w.kill()
        api = w.up()
        load.goes_on()
        load.stop()
        s = sessions(api)[IQN]
        assert s["state"] == "LOGGED_IN", s
        assert t.logins() == 4, t.text()


def several_connections():
    """The connections of a session go to all portals of the group that there are records of, and are told of,
    also by a control plane that has taken the session over."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS, "--error-recovery-level", "2", "--listen", "127.0.0.2:0")
        other = wait_for("the second portal", 5, lambda: [l.split()[-1] for l in t.text().splitlines()
                                                          if l.startswith("listening on 127.0.0.2")])[0]
        api = w.up()
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        assert len(api.ask("node.list")["nodes"]) == 2
        for key, value in (("node.nr_connections", "4"), ("node.session.iscsi.ERL", "2")):
            w.adm("-m", "node", "-p", t.portal, "-o", "update", "-n", key, "-v", value)
        w.adm("-m", "node", "-p", t.portal, "-l")

        def up():
            s = api.ask("session.list", detail=2)["sessions"][0]
            return s if s["connections_up"] == 4 else None

        for takeover in (False, True):
            if takeover:
                w.kill()
                api = w.up()
            s = wait_for("four connections", 10, up)
            assert s["connections_wanted"] == 4 and s["params"]["ErrorRecoveryLevel"] == 2, s
            portals = sorted(c["portal"] for c in s["connections"])
            assert portals == sorted([t.portal, t.portal, other, other]), portals
            assert sorted(c["cid"] for c in s["connections"]) == [0, 1, 2, 3], s["connections"]
            for c in s["connections"]:
                assert c["state"] == "LOGGED IN" and c["local"].startswith("127.0.0."), c
            assert t.logins() == 4, t.text()
        shown = w.adm("-m", "session", "-P", "2")
        assert "\t\tConnections: 4 of 4\n" in shown and "\t\tErrorRecoveryLevel: 2\n" in shown, shown
        for c in s["connections"]:
            assert f"\t\tConnection {c['cid']}: {c['portal']}, LOGGED IN, from {c['local']}\n" in shown, shown
        w.adm("-m", "session", "-u")


def one_of_several_is_lost():
    """A connection that is lost while the session goes on is told of to who asks why."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS, "--set", "DefaultTime2Wait=0")
        portal, control = w.relay(t.portal)
        api = w.up()
        api.ask("node.new", target=IQN, portal=portal)
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.nr_connections", "-v", "2")
        w.adm("-m", "node", "-l")
        wait_for("two connections", 10, lambda: api.ask("session.list")["sessions"][0]["connections_up"] == 2)
        w.tell(control, "cut", "rst", "oldest")

        def told():
            s = api.ask("session.why")["sessions"][0]
            return s if "is logged in, one of 2" in s["events"][-1]["text"] else None

        s = wait_for("the connection is back", 10, told)
        assert [e["event"] for e in s["events"]] == ["asked", "up", "connection"], s["events"]
        assert s["events"][-1]["count"] == 2 and s["reopens"] == 0, s
        assert "2 of 2 connections" in s["text"], s["text"]
        w.tell(control, "refuse")
        w.tell(control, "cut", "rst", "oldest")
        wait_for("the loss is told of", 10, lambda: "is lost, 1 of 2 go on: " in w.adm("-m", "session", "--why"))
        w.adm("-m", "session", "-u")


def killed_while_waiting():
    """A control plane that is killed all the time comes to the end of Time2Wait all the same."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS, "--set", "DefaultTime2Wait=2")
        portal, control = w.relay(t.portal)
        api = w.up()
        api.ask("node.new", target=IQN, portal=portal)
        w.adm("-m", "node", "-l")
        load = Load(export(w, api)[0])
        load.goes_on()
        w.tell(control, "cut", "rst")
        began = time.monotonic()
        while t.logins() < 2:
            assert time.monotonic() - began < 60, "none of them has waited for long enough"
            w.kill()
            api = w.up()
            time.sleep(0.5)
        load.goes_on()
        load.stop()
        assert t.logins() == 2, t.text()


def dead_target():
    """A logout of a session whose target is dead ends at once; a dead portal delays nobody."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        live = Target(w, *[o for i in range(8) for o in ("--target", f"{IQN}{i}", "--lun", "ram:1M")])
        portal, control = w.relay(t.portal)
        silent = socket.socket()  # takes connections and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen(64)
        api = w.up()
        api.ask("node.new", target=IQN, portal=portal)
        w.adm("-m", "node", "-l")
        w.tell(control, "refuse")
        w.tell(control, "cut", "rst")
        wait_for("the loss is known", 10, lambda: sessions(api)[IQN]["state"] == "FAILED")
        began = time.monotonic()
        w.adm("-m", "node", "-u")
        assert time.monotonic() - began < 9, "the logout has waited for a target that is gone"
        w.tell(control, "accept")
        w.adm("-m", "node", "-l")
        w.tell(control, "stall")
        w.tell(control, "refuse")
        began = time.monotonic()
        w.adm("-m", "node", "-u")
        assert time.monotonic() - began < 20, "the logout has waited for a target that says nothing"
        w.tell(control, "go")
        w.tell(control, "accept")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.conn[0].timeo.logout_timeout", "-v", "8")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.conn[0].timeo.noop_out_interval", "-v", "0")
        w.adm("-m", "node", "-T", IQN, "-l")
        w.tell(control, "stall")
        w.tell(control, "refuse")
        began = time.monotonic()
        w.adm("-m", "node", "-u")
        took = time.monotonic() - began
        assert 7 < took < 20, f"logout_timeout is 8 s, and the logout took {took:.1f} s"
        for i in range(40):
            api.ask("node.new", target=f"iqn.dead:{i}", portal="127.0.0.1:%d" % silent.getsockname()[1])
        w.adm("-m", "discovery", "-t", "st", "-p", live.portal)
        api.f.write(json.dumps({"id": 1, "method": "node.login", "params": {}}) + "\n")
        api.f.flush()
        began = time.monotonic()
        other = Api(w.root / "run/iscsid.sock")
        wait_for("the live ones are up", 10,
                 lambda: sum(s["state"] == "LOGGED_IN" for s in sessions(other).values()) == 8)
        print(f"8 live sessions beside 40 silent portals: {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        other.ask("node.logout")
        assert time.monotonic() - began < 12, "a logout waits for logins"


def command_lines():
    """What is typed wrongly, or cannot be, is answered with where to look or what failed."""
    with World() as w:
        for args, words in ((["iscsid", "-m", "node"], "Try `iscsid --help'"),
                            (["iscsid", "--root"], "Try `iscsid --help'"),
                            (["iscsi-iod", "--sockt", "x"], "Try `iscsi-iod --help'"),
                            (["iscsi-iod", "--socket", w.tmp / "no/iod.sock"], "cannot listen at")):
            p = subprocess.run([BIN / args[0], *args[1:]], capture_output=True, text=True, timeout=30, check=False)
            assert p.returncode in (1, 2) and words in p.stderr, p


def many_callers():
    """A hundred callers who connect at the same time, and wait for logins at a dead portal: nobody is sent
    away, and others are answered meanwhile."""
    with World() as w, socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen(128)
        w.up().ask("node.new", target=IQN, portal="127.0.0.1:%d" % silent.getsockname()[1])
        callers = [Api(w.root / "run/iscsid.sock") for _ in range(100)]
        for c in callers:
            c.f.write(json.dumps({"id": 1, "method": "node.login", "params": {"target": IQN}}) + "\n")
            c.f.flush()
        w.adm("-m", "session", rc=21)
        w.adm("-m", "node", "-u")
        for c in callers:
            answer = json.loads(c.f.readline())
            while "progress" in answer:
                answer = json.loads(c.f.readline())
            assert "result" in answer, answer


def no_login_response():
    """A target that takes the connection and says nothing is another fault than one that takes none."""
    with World() as w, socket.socket() as silent, socket.socket() as full:
        for s, backlog in ((silent, 16), (full, 0)):
            s.bind(("127.0.0.1", 0))
            s.listen(backlog)
        w.up()
        fillers = [socket.socket() for _ in range(3)]
        for f in fillers:
            f.setblocking(False)
            f.connect_ex(full.getsockname())
        for s, rc in ((silent, 11), (full, 8)):
            portal = "127.0.0.1:%d" % s.getsockname()[1]
            w.adm("-m", "node", "-T", IQN, "-p", portal, "-o", "new")
            for name, value in (("node.session.initial_login_retry_max", "0"),
                                ("node.conn[0].timeo.login_timeout", "1")):
                w.adm("-m", "node", "-T", IQN, "-p", portal, "-o", "update", "-n", name, "-v", value)
            w.adm("-m", "node", "-T", IQN, "-p", portal, "-l", rc=rc)


def bad_requests():
    """Names that lead elsewhere, values that are refused, tokens that come again, strangers."""
    with World() as w:
        t = Target(w, "--target", IQN, *LUNS)
        api = w.up()
        for target in ("../../etc/x", "a/b", ".x", "x\ny", ""):
            try:
                api.ask("node.new", target=target, portal="127.0.0.1:1")
            except AssertionError:
                continue
            fail(f"{target!r} is taken")
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        w.adm("-m", "node", "-o", "update", "-n", "node.nonsense", "-v", "1", rc=7)
        w.adm("-m", "node", "-T", "iqn.nobody:x", "-l", rc=21)
        # A login that nobody makes is not answered as if it had been.
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal, "-l", "-o", "nonpersistent", rc=7)
        w.adm("-m", "discovery", "-t", "isns", "-p", "127.0.0.1:1", rc=4)
        w.adm("-m", "discovery", "-t", "fw", rc=22)
        w.adm("-m", "discovery", "-t", "st", "-p", "127.0.0.1:1", rc=4)
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.session.auth.authmethod", "-v", "CHAP")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.session.auth.password", "-v", "verysecret12")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.session.queue_depth", "-v", "7")
        w.adm("-m", "discoverydb", "-t", "st", "-p", t.portal, "-o", "update", "-n", "discovery.startup", "-v", "automatic")
        log = (w.tmp / "iscsid.log").read_text()
        for key in ("node.session.auth.authmethod", "node.session.queue_depth", "discovery.startup"):
            assert f"{key} is kept in the records, but is not used here because" in log, log
        shown = w.adm("-m", "node", "-T", IQN)
        assert "verysecret12" not in shown and "********" in shown
        assert "verysecret12" in w.adm("-m", "node", "-T", IQN, "-S")
        assert "verysecret12" not in (w.tmp / "iscsid.log").read_text()
        api.s.sendall(b'{"id": 1, "method": "node.login", "token": "T", "params": {"target": "iqn.nobody:x"}}\n' * 2)
        assert [json.loads(api.f.readline())["error"]["exit"] for _ in range(2)] == [21, 21]
        assert pathlib.Path(w.root / "run/iscsid.sock").stat().st_mode & 0o777 == 0o600


def odd_requests():
    """All methods with parameters that make no sense, or little: the daemon goes on, and so does I/O."""
    schema = json.loads((pathlib.Path(__file__).parents[2] / "docs/api.schema.json").read_text())["$defs"]
    methods = {n[:-7]: list(d.get("properties", {})) for n, d in schema.items() if n.endswith(".params")}
    methods = {n: p for n, p in methods.items() if n not in ("daemon.shutdown", "events.subscribe")}
    rnd = random.Random(11)
    with World() as w:
        (w.root / "iscsid.conf").write_text("discovery.sendtargets.reopen_max = 0\n")
        t = Target(w, "--target", IQN, *LUNS, "--target", IQN + "2", *LUNS)
        api = w.up()
        login(w, t)
        load = Load(export(w, api)[0], reconnect=True)
        odd = [None, True, False, -1, 0, 1, 2, 2 ** 40, 1.5, "", "x", "nbd", "default", IQN, IQN + "2", "iqn.a:b" * 30,
               t.portal, "[::1]:3260", "127.0.0.1:1", "127.0.0.1:99999", ":", "../..", "a\u0001b", "\u00e4" * 40,
               "sendtargets", "isns", "static", "fw", "all", "automatic", [], {}, ["new"], ["delete", "nonpersistent"],
               ["default", "x"], [["node.startup", "automatic"]], [["node.startup", "x"]], [["a", "b"], ["c"]],
               [["iface.iscsi_ifacename", "../x"]], [["node.session.nr_sessions", "3"]],
               [["node.session.timeo.replacement_timeout", "9"]], [["node.session.auth.password", "x" * 255]], [[]] * 600]
        replies = 0
        for i in range(1500 if not FULL else 30000):
            method = rnd.choice(list(methods))
            names = [n for n in methods[method] if rnd.random() < 0.6] + (["extra"] if rnd.random() < 0.05 else [])
            params = {n: rnd.choice(odd) for n in names}
            if method.startswith("discovery.") or "login" in method:
                params["portal"] = rnd.choice([t.portal, "127.0.0.1:1", 7])
                params.pop("all", None)
            try:
                api.ask(method, **params)
                replies += 1
            except AssertionError as e:
                assert "'exit': 9" not in str(e), (method, params, e)
            assert w.daemon.poll() is None, (method, params)
            load.check()
        assert replies > 100, replies
        try:
            api.ask("node.logout")
        except AssertionError:
            pass  # nobody is logged in
        w.adm("-m", "discovery", "-t", "st", "-p", t.portal)
        api.ask("node.new", target=IQN, portal=t.portal, tpgt=1)
        w.adm("-m", "node", "-T", IQN, "-p", t.portal, "-I", "default", "-l")
        export(w, api)
        load.goes_on()
        load.stop()
        assert not (w.tmp / "x").exists() and sorted(p.name for p in w.root.iterdir()) == sorted(
            p.name for p in w.root.iterdir() if p.name in ("initiatorname.iscsi", "nodes", "send_targets", "isns", "static",
                                                           "ifaces", "run", "fw", "iscsid.conf", ".lunette.iscsid",
                                                           ".lunette.iod"))


def many_targets():
    """Thousands of targets in one answer do not stop the daemon from answering others."""
    with World() as w:
        n = 2000
        t = Target(w, *[o for i in range(n) for o in ("--target", f"iqn.2026-11.example:t{i:05}", "--lun", "null:1M")])
        api, other = w.up(), w.api()
        began = time.monotonic()
        api.f.write(json.dumps({"id": 1, "method": "discovery.sendtargets", "params": {"portal": t.portal}}) + "\n")
        api.f.flush()
        longest = 0.0
        while not (w.root / f"nodes/iqn.2026-11.example:t{n - 1:05}").exists():
            at = time.monotonic()
            other.ask("daemon.status")
            longest = max(longest, time.monotonic() - at)
            assert at - began < 120
        assert len(json.loads(api.f.readline())["result"]["targets"]) == n
        took = time.monotonic() - began
        print(f"{n} targets: {took:.2f} s, the longest answer meanwhile {longest:.3f} s")
        assert longest < max(3, took / 4)
        assert len(api.ask("node.list")["nodes"]) == n


run([from_nothing, many_records, records_that_cannot_be_read, second_instance_is_refused, run_folder_removed,
     a_data_plane_out_of_reach, root_removed, locked_records, stopped_data_plane, logins_and_logouts, idle_callers,
     one_thing_at_a_time, few_descriptors, no_room_for_exports, nothing_to_export, callers_who_do_not_read,
     nobody_can_call, background, other_user, left_alone, mute_data_plane, safe_logout, service, installed,
     many_instances, long_names, two_control_planes, several_sessions, ifaces, iser_without_a_device, live_limits, many_ifaces, many_bound,
     two_changes_of_an_iface,
     number_for_a_name, narrow_filters, records_of_discoveries, discovery_changes_records, repeated_without_a_record, with_tgtd, automatic,
     killed_under_load, events_of_failures, data_plane_killed, second_signal, cut_connections,
     several_connections, one_of_several_is_lost, killed_while_waiting, dead_target, no_login_response, bad_requests, odd_requests, many_targets, command_lines, many_callers,
     login_waits_for_luns, one_export_after_the_other], [one_of_many])
