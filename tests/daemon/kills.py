#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Either daemon is killed again and again under 20 sessions with verified I/O through NBD.

iscsid: no I/O error, and no login at the target but those that a cut connection asked for, of which
some are made all the time.  iscsi-iod: all sessions and exports come back, clients that connect again
go on, and no write that was acknowledged is lost.
RECOVERY=full kills iscsid 1,000 times and iscsi-iod 50 times.
"""
import os
import random
import re
import signal
import time

from world import FULL, Api, Load, Target, World, alive, fail, run, sessions, wait_for

SESSIONS, CUT = 20, 4  # of them, through a relay that cuts


def name(i):
    return f"iqn.2026-11.example:t{i}"


def begin(w, cut):
    t = Target(w, *[o for i in range(SESSIONS) for o in ("--target", name(i), "--lun", "ram:1M")])
    portal, control = w.relay(t.portal)
    api = w.up("--threads", "2")
    for i in range(SESSIONS):
        api.ask("node.new", target=name(i), portal=portal if i < cut else t.portal,
                values=[["node.export", "nbd"], ["node.session.iscsi.DefaultTime2Wait", "0"]])
    results = api.ask("node.login")["results"]
    assert len(results) == SESSIONS and all(r["ok"] for r in results), results
    def exported():
        s = sessions(api)
        return len(s) == SESSIONS and all(x["luns"] and x["luns"][0]["exports"] for x in s.values()) and s
    s = wait_for("all are exported", 30, exported)
    return t, control, {n: x["luns"][0]["exports"][0]["path"] for n, x in s.items()}


def logins(t):
    counts = {name(i): 0 for i in range(SESSIONS)}
    for found in re.findall(r"logged in to (\S+)", t.text()):
        counts[found] += 1
    return counts


def settled(w, api):
    """All sessions are up, as the daemon sees them."""
    def test():
        s = sessions(api)
        return len(s) == SESSIONS and all(x["state"] == "LOGGED_IN" for x in s.values())
    wait_for("all sessions are up", 60, test)


def control_plane():
    kills = 1000 if FULL else 25
    with World() as w:
        t, control, paths = begin(w, CUT)
        rnd = random.Random(kills)
        loads = [Load(p, pause=0.01) for p in paths.values()]
        w.tell(control, "every", 1500, "rst")
        at = [load.ios for load in loads]
        for i in range(kills):
            w.kill()
            if rnd.random() < 0.3:
                time.sleep(rnd.random() * 0.2)
            w.iscsid("--threads", "2")
            time.sleep(rnd.random() * 0.3)
            if i % 10 == 9:
                for load in loads:
                    load.check()
        w.tell(control, "every", 0)
        api = w.api()
        assert w.find_iod(api) in w.iods and len(w.iods) == 1, "the data plane was started anew"
        settled(w, api)
        for k, load in enumerate(loads):
            load.stop()
            assert load.ios > at[k] + 10, (load.path, load.ios)
        counts = logins(t)
        cut = t.text().count("Connection reset by peer")
        direct = [n for n, c in counts.items() if c != 1 and int(n.split(":t")[1]) >= CUT]
        assert not direct, f"logins that nobody has asked for: {[(n, counts[n]) for n in direct]}"
        assert sum(counts.values()) - SESSIONS <= cut, (counts, cut)
        if kills >= 25:
            assert cut > 0, "nothing was cut"
        print(f"{kills} kills, {cut} cuts, {sum(l.ios for l in loads)} I/Os, the longest "
              f"{max(l.longest for l in loads):.2f} s, {sum(counts.values()) - SESSIONS} logins after cuts")


def data_plane():
    kills = 50 if FULL else 4
    with World() as w:
        t, _, paths = begin(w, 0)
        loads = [Load(p, reconnect=True, pause=0.01) for p in paths.values()]
        api = w.api()
        rnd = random.Random(kills)
        for i in range(kills):
            time.sleep(rnd.random() * 0.5)
            pid = w.iod
            os.kill(pid, signal.SIGKILL)
            wait_for("it is gone", 10, lambda pid=pid: not alive(pid))
            w.find_iod(api)
            for load in loads:
                load.goes_on(3)
        settled(w, api)
        for load in loads:
            load.stop()
            assert load.reconnects > 0
        counts = logins(t)
        assert all(1 <= c <= kills + 1 for c in counts.values()), counts
        print(f"{kills} kills, {sum(l.ios for l in loads)} I/Os, the longest {max(l.longest for l in loads):.2f} s")


run([control_plane, data_plane])
