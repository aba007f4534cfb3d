#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Counters and times: session.stats of the API, and metrics.sock, held against the grammar of
OpenMetrics; and callers of it who misbehave.

usage: metrics.py [CASE...]
"""
import json
import os
import pathlib
import resource
import shutil
import signal
import socket
import subprocess
import threading
import time

import openmetrics
from world import BIN, IQN, READ, UNIT, WRITE, Hung, Nbd, Target, World, fail, run, told, wait_for

# Under ASan freed memory stays for a while, which is no memory of the daemon's.
os.environ["ASAN_OPTIONS"] = "quarantine_size_mb=1:" + os.environ.get("ASAN_OPTIONS", "")
# And what is there takes more.
ASAN = b"__asan_init" in (BIN / "iscsid").read_bytes()
UNDER_WAY = 17 << 10 if ASAN else 8 << 10  # bytes of one request, also where MALLOC_PERTURB_ touches all of it
KEPT = 4 << 20 if ASAN else 1 << 20

STAGES = ("queue", "window", "send", "target", "receive")


def connect(world):
    s = socket.socket(socket.AF_UNIX)
    s.connect(str(world.root / "run/metrics.sock"))  # waits where many have come
    s.settimeout(30)
    return s


def read_all(s):
    data = b""
    while True:
        more = s.recv(65536)
        if not more:
            s.close()
            return data
        data += more


def text_of(world, half_closed=True):
    s = connect(world)
    if half_closed:
        s.shutdown(socket.SHUT_WR)
    return read_all(s).decode("utf-8")


def http(world, request):
    s = connect(world)
    s.sendall(request)
    head, _, body = read_all(s).partition(b"\r\n\r\n")
    return head.decode("ascii").split("\r\n"), body.decode("utf-8")


def value(families, name, suffix="", **labels):
    found = [v for s, l, v in families[name].samples
             if s == suffix and all(l.get(k) == w for k, w in labels.items())]
    if len(found) != 1:
        fail(f"{name}{suffix} {labels}: {len(found)} samples")
    return found[0]


def disks(world, *more):
    return Target(world, "--target", IQN, "--lun", "ram:8M", *more)


def logged_in(world):
    """An instance with a session, whose disk is exported, and each request of which is timed."""
    target = disks(world)
    api = world.up("--time-every", "1")
    api.ask("discovery.sendtargets", portal=target.portal, type="sendtargets", login=True)
    api.ask("session.export", kind="nbd")
    return api


def some_io(api, n):
    path = api.ask("session.export", kind="nbd")["exports"][0]["path"]
    nbd = Nbd(path)
    for i in range(n):
        assert nbd.ask(WRITE, i * UNIT, UNIT, bytes(UNIT))[0] == 0
        assert nbd.ask(READ, i * UNIT, UNIT)[0] == 0
    nbd.close()


def check_histogram(h):
    assert h["count"] == sum(n for _, n in h["buckets"]), h
    bounds = [b for b, _ in h["buckets"] if b is not None]
    assert bounds == sorted(set(bounds)), h


def counters_and_times():
    with World() as w:
        api = logged_in(w)
        some_io(api, 50)
        plain = api.ask("session.stats")["sessions"][0]
        assert "latency" not in plain and "latency" not in plain["luns"][0]
        s = api.ask("session.stats", histograms=True)["sessions"][0]
        lun = s["luns"][0]
        assert lun["reads"] >= 50 and lun["writes"] == 50, lun
        assert lun["written_bytes"] == 50 * UNIT
        assert lun["exports"][0]["kind"] == "nbd"
        for op in ("read", "write"):
            times = lun["latency"][op]
            for h in times.values():
                check_histogram(h)
            assert 45 <= times["total"]["count"] <= lun[op + "s"], (times["total"], lun)
            assert sum(times[stage]["sum_ns"] for stage in STAGES) == times["total"]["sum_ns"]
            assert times["target"]["sum_ns"] > 0 and times["send"]["sum_ns"] > 0, times
            assert s["latency"][op] == times  # the only LUN
        mean = lun["latency"]["read"]["total"]["sum_ns"] / lun["latency"]["read"]["total"]["count"]
        assert 1000 < mean < 1e9, mean
        out = json.loads(w.adm("-m", "session", "-s", "--json"))
        assert out["sessions"][0]["luns"][0]["latency"]["write"]["total"]["count"] > 0
        text = w.adm("-m", "session", "-s")
        assert "iSCSI SNMP:" in text and "latency" not in text.lower() and "scsicmd_pdus" in text
        more = w.adm("-m", "session", "-s", "--histogram")
        assert "Latency of LUN 0, write: " in more and "\ttarget: " in more and "\tbelow " in more
        assert more.startswith(text.splitlines()[0])


def nothing_is_timed():
    with World() as w:
        target = disks(w)
        api = w.up("--time-every", "0")
        api.ask("discovery.sendtargets", portal=target.portal, type="sendtargets", login=True)
        api.ask("session.export", kind="nbd")
        some_io(api, 20)
        lun = api.ask("session.stats", histograms=True)["sessions"][0]["luns"][0]
        assert lun["writes"] == 20 and "latency" not in lun or lun["latency"]["timed"] == 0, lun


def metrics_are_well_formed():
    with World() as w:
        api = w.up()
        empty = openmetrics.parse(text_of(w))
        assert value(empty, "lunette_sessions") == 0
        target = disks(w, "--lun", "ram:8M")
        api.ask("discovery.sendtargets", portal=target.portal, type="sendtargets", login=True)
        some_io(api, 50)
        time.sleep(1.1)  # figures that are not older are told again
        for half_closed in (True, False):
            families = openmetrics.parse(text_of(w, half_closed))
        assert value(families, "lunette_data_plane_up") == 1
        assert value(families, "lunette_sessions") == 1
        assert value(families, "lunette_session_up", target=IQN, portal=target.portal) == 1
        assert value(families, "lunette_lun_requests", "_total", lun="0", op="write") == 50
        assert value(families, "lunette_lun_data_bytes", "_total", lun="0", op="write") == 50 * UNIT
        assert value(families, "lunette_lun_up", lun="1") == 1
        assert value(families, "lunette_lun_size_bytes", lun="1") == 8 << 20
        assert value(families, "lunette_lun_request_seconds", "_count", lun="0", op="write") > 0
        sums = [value(families, "lunette_lun_stage_seconds", "_sum", lun="0", stage=s) for s in STAGES]
        total = sum(v for s, l, v in families["lunette_lun_request_seconds"].samples
                    if s == "_sum" and l["lun"] == "0")
        assert abs(sum(sums) - total) < 1e-6, (sums, total)
        assert not [l for f in families.values() for _, l, _ in f.samples
                    if set(l) - {"target", "sid", "portal", "lun", "op", "stage", "le", "pdu",
                                 "direction", "version"}]


def http_is_answered():
    with World() as w:
        w.up()
        head, body = http(w, b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n")
        assert head[0] == "HTTP/1.1 200 OK", head
        assert "Content-Type: application/openmetrics-text; version=1.0.0; charset=utf-8" in head, head
        openmetrics.parse(body)
        assert http(w, b"GET /secret HTTP/1.1\r\n\r\n")[0][0].startswith("HTTP/1.1 404")
        assert http(w, b"POST /metrics HTTP/1.1\r\n\r\n")[0][0].startswith("HTTP/1.1 405")
        assert http(w, b"GET / HTTP/1.0\n\n")[0][0] == "HTTP/1.1 200 OK"
        assert http(w, b"x" * 9000) == ([""], "")  # no request, and no text
        if shutil.which("curl"):
            out = subprocess.run(["curl", "-sf", "--unix-socket", str(w.root / "run/metrics.sock"),
                                  "http://localhost/metrics"], capture_output=True, text=True, timeout=30, check=True)
            openmetrics.parse(out.stdout)


def secrets_are_not_told():
    with World() as w:
        target = disks(w, "--chap", "somebody:a-long-secret-1234")
        api = w.up()
        values = [["node.session.auth.authmethod", "CHAP"], ["node.session.auth.username", "somebody"],
                  ["node.session.auth.password", "a-long-secret-1234"]]
        api.ask("node.new", target=IQN, portal=target.portal, values=values)
        results = api.ask("node.login", target=IQN)["results"]
        assert results[0]["ok"], results
        text = text_of(w)
        assert 'lunette_session_up{' in text
        assert "a-long-secret" not in text and "somebody" not in text


def callers_who_misbehave():
    """Others are served while callers say nothing, read nothing, or come by the thousand."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    with World() as w:
        api = logged_in(w)
        silent = [connect(w) for _ in range(64)]
        for s in silent[-20:]:
            s.sendall(b"GET /met")  # and no more
        openmetrics.parse(text_of(w))
        for _ in range(3000):
            connect(w).close()
        for _ in range(300):
            s = connect(w)
            s.sendall(b"GET /metrics HTTP/1.1\r\n\r\n")
            s.close()
        openmetrics.parse(text_of(w))
        began = time.monotonic()
        api.ask("hello")
        assert time.monotonic() - began < 15
        for s in silent:
            s.close()
        wait_for("all of them are forgotten", 10, lambda: descriptors(w) < 64)
        openmetrics.parse(text_of(w))
        w.daemon.terminate()
        assert w.daemon.wait(20) == 0


def descriptors(world):
    return len(list(pathlib.Path(f"/proc/{world.daemon.pid}/fd").iterdir()))


def samples(families):
    return sorted({l["sid"] for f in families.values() for _, l, _ in f.samples if "sid" in l})


def scraped(world):
    """How long a scrape takes, whether the data plane is up by it, and the sessions that it tells of."""
    began = time.monotonic()
    families = openmetrics.parse(text_of(world))
    return time.monotonic() - began, value(families, "lunette_data_plane_up"), samples(families)


def resident(pid):
    return int(pathlib.Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * resource.getpagesize()


def data_plane_that_hangs():
    """Whoever scrapes waits a second at most, for all sessions together, and is told that it hangs."""
    with World() as w:
        target = disks(w)
        api = w.up()
        api.ask("discovery.sendtargets", portal=target.portal, type="sendtargets")
        api.ask("node.login", target=IQN)
        for _ in range(7):
            api.ask("node.login", target=IQN, more=True)
        sids = sorted(str(s["sid"]) for s in api.ask("session.list")["sessions"])
        assert len(sids) == 8 and scraped(w)[1:] == (1, sids), scraped(w)
        os.kill(w.iod, signal.SIGSTOP)
        time.sleep(1.1)  # the figures of before are not told any more
        times = []
        for _ in range(3):
            took, up, found = scraped(w)
            times.append(took)
            assert up == 0 and found == [], (took, up, found)
            time.sleep(1.1)
        assert min(times) < 2.5, times  # it does not wait for each of them
        began, said = time.monotonic(), []  # many at a time share what is found
        threads = [threading.Thread(target=lambda: said.append(scraped(w))) for _ in range(20)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert time.monotonic() - began < 10 and [s[1:] for s in said] == [(0, [])] * 20, said
        os.kill(w.iod, signal.SIGCONT)
        wait_for("all are told of again", 20, lambda: scraped(w)[1:] == (1, sids))


def one_loop_that_hangs():
    """Of two loops of the data plane: the sessions of the other are told, and nobody who waits for it is given up."""
    with World() as w:
        target = disks(w)
        api = w.up("--threads", "2")
        api.ask("discovery.sendtargets", portal=target.portal, type="sendtargets")
        api.ask("node.login", target=IQN)
        api.ask("node.login", target=IQN, more=True)
        _, up, sids = scraped(w)
        assert up == 1 and len(sids) == 2, sids  # one on each loop
        hung = Hung(w.iod, "iod-loop-1")
        time.sleep(1.1)
        took, up, found = scraped(w)
        assert took < 5 and up == 0 and len(found) == 1, (took, up, found)
        slow = next(s for s in sids if s not in found)
        target.p.send_signal(signal.SIGSTOP)  # so that a logout at the other loop takes its time
        others = [told(w, "session.logout", sid=int(sid)) for sid in (found[0], slow)]
        assert others[1]()["error"]["code"] == "TIMEOUT"
        time.sleep(2)
        target.p.send_signal(signal.SIGCONT)
        assert others[0]()["result"]["results"][0]["ok"], others[0]()
        hung.let_go()
        wait_for("all are told again", 20, lambda: scraped(w)[1] == 1)


def readers_who_go_away():
    """What nobody waits for any more takes next to no memory while the data plane hangs."""
    with World() as w:
        api = logged_in(w)
        os.kill(w.iod, signal.SIGSTOP)
        ask = json.dumps({"method": "session.stats", "params": {"histograms": True}}) + "\n"
        before = resident(w.daemon.pid)

        def go_away(n):
            for _ in range(n):
                s = socket.socket(socket.AF_UNIX)
                s.connect(str(w.root / "run/iscsid.sock"))
                s.sendall((ask * 60).encode("ascii"))
                time.sleep(0.02)
                s.close()
        go_away(40)  # each of these is under way until the data plane is known to hang
        assert told(w, "session.list", detail=3)()["error"]["code"] == "TIMEOUT"
        first = resident(w.daemon.pid) - before
        assert first < 40 * 60 * UNDER_WAY, first
        go_away(80)  # from now on it is known, and nothing more is asked, so that nothing is under way
        time.sleep(1.5)
        assert len(api.ask("session.list")["sessions"]) == 1
        grown = resident(w.daemon.pid) - before - first
        assert grown < KEPT, grown
        os.kill(w.iod, signal.SIGCONT)
        assert api.ask("session.stats", histograms=True)["sessions"][0]["iscsi_stats"]["scsicmd_pdus"] > 0


def the_daemon_is_killed():
    """Its successor listens at the same place."""
    with World() as w:
        w.up()
        openmetrics.parse(text_of(w))
        w.kill()
        w.up()
        wait_for("metrics are told again", 10, lambda: try_text(w))


def try_text(world):
    try:
        return openmetrics.parse(text_of(world))
    except OSError:
        return None


if __name__ == "__main__":
    run([counters_and_times, nothing_is_timed, metrics_are_well_formed, http_is_answered,
         secrets_are_not_told, callers_who_misbehave, data_plane_that_hangs, one_loop_that_hangs, readers_who_go_away, the_daemon_is_killed])
