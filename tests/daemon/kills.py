#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Either daemon is killed again and again under 20 sessions with verified I/O through NBD.

iscsid: no I/O error, and no login at the target but those that a cut connection asked for, of which
some are made all the time.  iscsi-iod: all sessions and exports come back, clients that connect again
go on, and no write that was acknowledged is lost; also where QEMU is the client that connects again, and
whoever is behind it notices nothing but time.
RECOVERY=full kills iscsid 1,000 times and iscsi-iod 50 times, and 50 times under QEMU.  Each case prints
its figures in one line.  By hand, which may take longer than meson test allows:

    RECOVERY=full LUNETTE_BIN=build/bin RELAY=build/tests/recovery/relay tests/daemon/kills.py [CASE...]
"""
import os
import random
import re
import shutil
import signal
import time

from world import FULL, Api, Load, Target, World, alive, fail, run, sessions, wait_for

SESSIONS, CUT = 20, 4  # of them, through a relay that cuts


def name(i):
    return f"iqn.2026-11.example:t{i}"


def begin(w, cut, count=SESSIONS):
    t = Target(w, *[o for i in range(count) for o in ("--target", name(i), "--lun", "ram:1M")])
    portal, control = w.relay(t.portal)
    api = w.up("--threads", "2")
    for i in range(count):
        api.ask("node.new", target=name(i), portal=portal if i < cut else t.portal,
                values=[["node.export", "nbd"], ["node.session.iscsi.DefaultTime2Wait", "0"]])
    results = api.ask("node.login")["results"]
    assert len(results) == count and all(r["ok"] for r in results), results
    def exported():
        s = sessions(api)
        return len(s) == count and all(x["luns"] and x["luns"][0]["exports"] for x in s.values()) and s
    s = wait_for("all are exported", 30, exported)
    return t, control, {n: x["luns"][0]["exports"][0]["path"] for n, x in s.items()}


def logins(t):
    counts = {name(i): 0 for i in range(SESSIONS)}
    for found in re.findall(r"logged in to (\S+)", t.text()):
        counts[found] += 1
    return counts


def settled(api, count=SESSIONS):
    """All sessions are up, as the daemon sees them."""
    def test():
        s = sessions(api)
        return len(s) == count and all(x["state"] == "LOGGED_IN" for x in s.values())
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
        settled(api)
        for k, load in enumerate(loads):
            load.stop()
            load.compare_all()
            assert load.ios > at[k] + 10, (load.path, load.ios)
        counts = logins(t)
        cut = t.text().count("Connection reset by peer")
        direct = [n for n, c in counts.items() if c != 1 and int(n.split(":t")[1]) >= CUT]
        assert not direct, f"logins that nobody has asked for: {[(n, counts[n]) for n in direct]}"
        assert sum(counts.values()) - SESSIONS <= cut, (counts, cut)
        if kills >= 25:
            assert cut > 0, "nothing was cut"
        print(f"iscsid: {kills} kills, {cut} cuts, {sum(l.ios for l in loads)} I/Os, the longest "
              f"{max(l.longest for l in loads):.2f} s, {sum(counts.values()) - SESSIONS} logins after cuts")


def kill_iod(w, kills, loads):
    """Kills it that often; each time all loads have to go on."""
    api = w.api()
    rnd = random.Random(kills)
    for _ in range(kills):
        time.sleep(rnd.random() * 0.5)
        pid = w.iod
        os.kill(pid, signal.SIGKILL)
        wait_for("it is gone", 10, lambda pid=pid: not alive(pid))
        w.find_iod(api)
        for load in loads:
            load.goes_on(3)
    return api


def data_plane():
    kills = 50 if FULL else 4
    with World() as w:
        t, _, paths = begin(w, 0)
        loads = [Load(p, reconnect=True, pause=0.01) for p in paths.values()]
        api = kill_iod(w, kills, loads)
        settled(api)
        for load in loads:
            load.stop()
            load.compare_all()
            assert load.reconnects > 0
        counts = logins(t)
        assert all(1 <= c <= kills + 1 for c in counts.values()), counts
        print(f"iscsi-iod: {kills} kills, {sum(l.ios for l in loads)} I/Os, the longest "
              f"{max(l.longest for l in loads):.2f} s, {sum(counts.values()) - SESSIONS} logins again")


def behind_qemu(w, i, path):
    """The export once more, by a QEMU that connects again when it is lost."""
    again = w.tmp / f"qemu{i}.sock"
    path = path.replace(",", ",,")  # which end a value
    with open(w.tmp / f"qemu{i}.log", "w", encoding="utf-8") as log:
        w.start(["qemu-storage-daemon", "--blockdev",
                 f"driver=nbd,node-name=n,server.type=unix,server.path={path},reconnect-delay=120",
                 "--nbd-server", f"addr.type=unix,addr.path={again}",
                 "--export", "type=nbd,id=e,node-name=n,name=,writable=on"], stdout=log, stderr=log)
    wait_for("QEMU exports it", 20, again.exists)
    return str(again)


def qemu():
    if not shutil.which("qemu-storage-daemon"):
        print("SKIP: no qemu-storage-daemon")
        return
    kills, count = 50 if FULL else 4, 4
    with World() as w:
        _, _, paths = begin(w, 0, count)
        loads = [Load(behind_qemu(w, i, p), pause=0.005) for i, p in enumerate(paths.values())]
        api = kill_iod(w, kills, loads)
        settled(api, count)
        for load in loads:
            load.stop()
            load.compare_all()
        print(f"iscsi-iod under QEMU: {kills} kills, {sum(l.ios for l in loads)} I/Os, the longest "
              f"{max(l.longest for l in loads):.2f} s, no error")


run([control_plane, data_plane, qemu])
