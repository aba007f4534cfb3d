#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Leases of sessions, and why sessions are as they are: iscsid, iscsi-iod and iscsiadm together.

usage: lease.py [CASE]...
"""
import json
import os
import re
import signal
import time

from world import IQN, Nbd, Target, World, fail, run, sessions, told, wait_for

LUNS = ["--lun", "ram:8M"]
IDLE_S = 1


class Leased(World):
    """A world whose sessions end soon when nobody needs them."""

    def __init__(self):
        super().__init__()
        (self.root / "iscsid.conf").write_text(f"iscsid.lease_idle_timeout = {IDLE_S}\n")

    def begin(self):
        self.target = Target(self, "--target", IQN, *LUNS)
        api = self.up()
        self.adm("-m", "discovery", "-t", "st", "-p", self.target.portal)
        return api

    def why(self, *args):
        return json.loads(self.adm("-m", "session", "--why", "--json", *args))


def leases(api):
    return {l["owner"]: l for l in sessions(api)[IQN]["leases"]}


def is_there(api):
    return IQN in sessions(api)


def stays(api, seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if not is_there(api):
            fail("the session has gone")
        time.sleep(0.1)


def goes(api, seconds):
    wait_for("the session has gone", seconds, lambda: not is_there(api))


def log_has(w, text):
    return text in (w.tmp / "iscsid.log").read_text(encoding="utf-8")


def ends_by_itself():
    """A login with a lease, which is renewed once, and then its owner dies."""
    with Leased() as w:
        api = w.begin()
        api.ask("events.subscribe")
        assert "successful" in w.adm("-m", "node", "-l", "--lease", "pod:17:8")
        s = sessions(api)[IQN]
        assert not s["kept"] and 0 < leases(api)["pod:17"]["left_ms"] <= 8000, s
        tree = w.adm("-m", "session", "-P", "1")
        assert re.search(r"\n\t\tLease: pod:17, [1-8] s of 8 s left\n", tree), tree
        assert w.adm("-m", "session") == f"tcp: [{s['sid']}] {w.target.portal},1 {IQN} (non-flash)\n"
        out = w.adm("-m", "session", "--lease", "pod:17:5")
        began = time.monotonic()
        assert re.fullmatch(fr"\[{s['sid']}\] pod:17: [45] s of 5 s left\n", out), out
        goes(api, 20)
        assert time.monotonic() - began >= 5 + IDLE_S - 0.5, "it went before its lease"
        assert log_has(w, "the session is logged out: its last lease, that of pod:17, has ended")
        ended = w.why()["ended"][0]
        assert ended["sid"] == s["sid"] and "the lease" not in ended["reason"][:4], ended
        assert "pod:17" in ended["reason"] and ended["began"] < ended["ended"], ended
        kinds = [e["event"] for e in ended["events"]]
        assert kinds == ["asked", "lease-given", "up", "lease-ended", "leave", "logout"] or \
            kinds == ["asked", "up", "lease-given", "lease-ended", "leave", "logout"], kinds
        api.ask("daemon.status")
        names = [e["event"] for e in api.events]
        assert "lease.given" in names and "lease.ended" in names, names
        gone = [e for e in api.events if e["event"] == "session.gone"][-1]
        assert "pod:17" in gone["reason"], gone
        w.adm("-m", "session", "--lease", "pod:17:5", rc=21)


def others_keep_it():
    """No lease ends what somebody, or a record, wants without one."""
    with Leased() as w:
        api = w.begin()
        w.adm("-m", "node", "-l")
        sid = sessions(api)[IQN]["sid"]
        w.adm("-m", "session", "-r", sid, "--lease", "a:1")
        assert sessions(api)[IQN]["kept"] and list(leases(api)) == ["a"]
        stays(api, 1 + 3 * IDLE_S)
        assert leases(api) == {}
        w.adm("-m", "session", "-r", sid, "--lease", "a:1", "--leases-only")
        goes(api, 10)
        # A login without a lease to a session that has one is told that it is there, and relies on it.
        w.adm("-m", "node", "-l", "--lease", "a:1")
        w.adm("-m", "node", "-l", rc=15)
        stays(api, 1 + 3 * IDLE_S)
        w.adm("-m", "node", "-u")
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.startup", "-v", "automatic")
        w.adm("-m", "node", "-l", "--lease", "a:1")
        stays(api, 1 + 3 * IDLE_S)
        assert "record" in w.why()["sessions"][0]["keeps"]
        w.adm("-m", "node", "-T", IQN, "-o", "update", "-n", "node.startup", "-v", "manual")
        goes(api, 10)


def used():
    """A client of an export holds a session that nobody has a lease of."""
    with Leased() as w:
        api = w.begin()
        w.adm("-m", "node", "-l", "--lease", "a:1", "--lease", "b:2")
        assert list(leases(api)) == ["b"]
        path = w.adm("-m", "session", "--export", "nbd").split()[1]
        nbd = Nbd(path)
        stays(api, 2 + 3 * IDLE_S)
        assert "have 1 client: " in w.why()["sessions"][0]["keeps"], w.why()
        end = time.monotonic() + 4 * IDLE_S  # one that comes and goes is not idle either
        while time.monotonic() < end:
            nbd.close()
            nbd = Nbd(path)
            assert nbd.ask(0, 0, 4096)[0] == 0
            nbd.close()
            time.sleep(0.3)
            if not is_there(api):
                fail("the session has gone under its clients")
        goes(api, 10)


def two_owners():
    """A session ends with the last of its leases, however that ends."""
    with Leased() as w:
        api = w.begin()
        w.adm("-m", "node", "-l", "--lease", "a:100")
        sid = sessions(api)[IQN]["sid"]
        w.adm("-m", "node", "-l", "--lease", "b:100", rc=15)
        assert sorted(leases(api)) == ["a", "b"]
        w.adm("-m", "session", "-r", sid, "--lease", "b2:100")  # each owner is an event of its own
        w.adm("-m", "session", "--release", "b2")
        given = [(e["text"], e.get("count", 1)) for e in w.why()["sessions"][0]["events"] if e["event"] == "lease-given"]
        assert sorted(given) == [(f"{owner} has a lease, of 100 s", 1) for owner in ("a", "b", "b2")], given
        text = w.why()["sessions"][0]["text"]
        assert text.endswith("; 1 LUN, 0 exported") and "come back" not in text, text
        assert w.adm("-m", "session", "--release", "a") == f"[{sid}] b: 100 s of 100 s left\n"
        w.adm("-m", "session", "--release", "a", rc=21)
        stays(api, 3 * IDLE_S)
        for i in range(7):
            w.adm("-m", "session", "-r", sid, "--lease", f"c{i}:100")
        w.adm("-m", "session", "-r", sid, "--lease", "d:100", rc=1)
        for i in range(7):
            w.adm("-m", "session", "-r", sid, "--release", f"c{i}")
        assert w.adm("-m", "session", "--release", "b") == f"[{sid}] no leases\n"
        goes(api, 10)
        for bad in ("a", ":5", "a:", "a:0", "a:x", "a:99999999", "x" * 65 + ":5"):
            w.adm("-m", "node", "-l", "--lease", bad, rc=7)
        w.adm("-m", "node", "--lease", "a:5", rc=7)
        w.adm("-m", "session", "--lease", "a:5", "--leases-only", rc=7)
        w.adm("-m", "session", "--lease", "a:5", "--release", "a", rc=7)


def restarts():
    """Leases go on with what is left of them, and who has asked is still known."""
    with Leased() as w:
        api = w.begin()
        before = time.monotonic()
        w.adm("-m", "node", "-l", "--lease", "a:15")
        after = time.monotonic()
        asked = w.why()["sessions"][0]["asked"]
        assert asked["by"] == "caller" and asked["uid"] == os.getuid() and asked["pid"] > 1, asked
        for _ in range(3):
            w.kill()
            time.sleep(0.3)
            w.iscsid()
            api = w.api()
        s = w.why()["sessions"][0]
        assert {k: s["asked"][k] for k in ("by", "uid", "pid")} == {k: asked[k] for k in ("by", "uid", "pid")}, s
        assert abs(s["asked"]["time"] - asked["time"]) < 0.5, (s["asked"], asked)
        began = time.monotonic()
        left = leases(api)["a"]["left_ms"] / 1000
        assert before + 15 - time.monotonic() - 0.1 <= left <= after + 15 - began + 0.1, left
        assert not s["kept"], s
        assert [e["event"] for e in s["events"]] == ["found"], s["events"]
        was = w.iod
        os.kill(was, signal.SIGKILL)  # the data plane comes back with the session and its lease
        wait_for("another data plane is there", 20, lambda: w.find_iod(api) != was)
        wait_for("the session is back", 20, lambda: is_there(api))
        assert list(leases(api)) == ["a"]
        w.kill()
        w.iscsid()
        api = w.api()
        assert list(leases(api)) == ["a"]
        goes(api, 40)
        assert time.monotonic() - before >= 15 + IDLE_S
        assert w.target.logins() == 2, w.target.text()


def why():
    """Sessions that come and go, that cannot log in, and that have ended."""
    with Leased() as w:
        api = w.begin()
        w.adm("-m", "node", "-l")
        w.target.p.kill()
        w.target.p.wait()
        lost = wait_for("a try has failed", 20, lambda: next(
            (s for s in w.why()["sessions"] if s["state"] == "LOST" and "try" in [e["event"] for e in s["events"]]),
            None))
        assert lost["reason"] and lost["attempt"] > 1 and lost["next_try_ms"] >= 0 and lost["down_ms"] > 0, lost
        text = w.adm("-m", "session", "--why")
        for line in ("has lost its connection", "asked for by: user ", "a try to log in has failed: ",
                     "until somebody logs out"):
            assert line in text, text
        w.target.up(int(w.target.portal.rsplit(":", 1)[1]))
        wait_for("it is back", 30, lambda: w.why()["sessions"][0]["state"] == "UP")
        events = w.why()["sessions"][0]["events"]
        assert [e["event"] for e in events] == ["asked", "up", "lost", "try", "back"], events
        assert "logged in again after" in events[-1]["text"] and len(events) <= 16, events
        w.adm("-m", "node", "-u")
        ended = w.why()
        assert ended["sessions"] == [] and f"logged out by user {os.getuid()}, process" in ended["ended"][0]["reason"]
        assert "has ended at" in w.adm("-m", "session", "--why", "-r", ended["ended"][0]["sid"])
        w.adm("-m", "session", "--why", "-r", 4711, rc=22)
        # One that is wanted and not there.
        api.ask("node.new", target="iqn.2026-11.example:dead", portal="127.0.0.1:1")
        api.ask("node.login", target="iqn.2026-11.example:dead", wait=False)
        dead = wait_for("a try has failed", 20, lambda: next(
            (s for s in w.why()["sessions"] if s["sid"] == 0 and s["events"][-1]["event"] == "try"), None))
        assert dead["wanted"] and "127.0.0.1" in dead["portal"] and dead["events"][0]["event"] == "asked", dead
        text = w.adm("-m", "session", "--why")
        assert "\n[-] iqn.2026-11.example:dead: " in "\n" + text and "[0]" not in text, text
        assert not log_has(w, "session 0 "), "a session without a number is called 0"
        for _ in range(80):  # what has ended is bounded
            api.ask("node.logout", target="iqn.2026-11.example:dead")
            api.ask("node.login", target="iqn.2026-11.example:dead", wait=False)
        assert 2 < len(w.why()["ended"]) <= 64


def one_goes_meanwhile():
    """A session that goes while all leases are renewed is left out, and the others are renewed."""
    with Leased() as w:
        api = w.begin()
        w.adm("-m", "node", "-l", "--lease", "a:60")
        api.ask("node.login", target=IQN, more=True, lease={"owner": "a", "seconds": 60})
        sids = [s["sid"] for s in api.ask("session.list")["sessions"]]
        assert len(sids) == 2, sids
        for renewed in (sids, sids[1:]):  # the second time nothing is left of what was asked for
            os.kill(w.iod, signal.SIGSTOP)  # so that both are under way
            answer = told(w, "session.lease", owner="a", seconds=100)
            time.sleep(0.2)
            end = told(w, "session.logout", sid=renewed[0])
            time.sleep(0.2)
            os.kill(w.iod, signal.SIGCONT)
            assert end()["result"]["results"][0]["ok"]
            o = answer()
            if len(renewed) == 2:
                found = o["result"]["sessions"]
                assert [(s["sid"], s["leases"][0]["seconds"]) for s in found] == [(sids[1], 100)], found
            else:
                assert o["error"]["code"] == "NOT_FOUND" and "logged out" in o["error"]["message"], o


def one_more_beside():
    """A login to one session more leaves those that are there, and their leases, as they are."""
    with Leased() as w:
        api = w.begin()
        w.adm("-m", "node", "-l", "--lease", "a:60")
        sid = sessions(api)[IQN]["sid"]
        results = api.ask("node.login", target=IQN, more=True, lease={"owner": "b", "seconds": 60})["results"]
        assert [r["ok"] for r in results] == [True] and results[0]["sid"] != sid, results
        api.ask("node.login", target=IQN, more=True)
        found = [(s["sid"] == sid, s["kept"], [l["owner"] for l in s["leases"]])
                 for s in api.ask("session.list", detail=1)["sessions"]]
        assert sorted(found) == [(False, False, ["b"]), (False, True, []), (True, False, ["a"])], found


def silent_data_plane():
    """What a data plane that hangs would have to do for leases, flights and captures is answered in time."""
    with Leased() as w:
        api = w.begin()
        w.adm("-m", "node", "-l", "--lease", "a:60")
        sid = sessions(api)[IQN]["sid"]
        os.kill(w.iod, signal.SIGSTOP)
        began = time.monotonic()
        answers = [told(w, "session.lease", owner="a", seconds=90), told(w, "session.flight", sid=sid),
                   told(w, "session.capture", sid=sid)]
        for answer in answers:
            error = answer()["error"]
            assert error["code"] == "TIMEOUT" and f"process {w.iod}, has not answered" in error["message"], error
        assert time.monotonic() - began < 15
        os.kill(w.iod, signal.SIGCONT)
        assert api.ask("session.lease", owner="a", seconds=80)["sessions"][0]["leases"][0]["seconds"] == 80


def why_without_data_plane():
    """Nothing can be logged in, and that is what is said."""
    with Leased() as w:
        w.iscsid("--iod-socket", w.tmp / "none.sock")
        w.api()
        assert "the data plane, iscsi-iod, is not there" in w.adm("-m", "session", "--why")
        assert w.why()["data_plane"] == "lost" and w.why()["sessions"] == []


if __name__ == "__main__":
    run([ends_by_itself, others_keep_it, used, two_owners, one_goes_meanwhile, one_more_beside, silent_data_plane,
         restarts, why, why_without_data_plane])
