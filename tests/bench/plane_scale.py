#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""plane_scale.py - thousands of sessions from one iscsid and one iscsi-iod, with dead portals among them.

    make bench-plane                      2,000 records, 30 % of whose portals are dead
    make bench-plane BENCH_PLANE_ARGS=... the options below

Half of the dead portals refuse, half take no connection at all, as a host that is off.  One request
logs in to all of them.  Told are when the first session had its LUN, when all live ones had theirs, how
many logins the target saw at a time, and what a session holds in both daemons when all is idle.
Exit: 0 when all bounds are met, 1 when not.
"""
import argparse
import json
import os
import pathlib
import random
import resource
import socket
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
NAME = "iqn.2026-11.example:t"
FIRST_BOUND, ALL_BOUND, RSS_BOUND = 1.0, 20.0, 64.0  # seconds, seconds, KiB a session
MAX_LOGINS = 32  # the default of iscsid.max_logins


class Deaf:
    """Portals whose queue of connections is full: a SYN is not answered."""

    def __init__(self, n):
        self.sockets, self.portals = [], []
        for i in range(n):
            s = socket.socket()
            s.bind((f"127.9.{i // 250}.{i % 250 + 1}", 0))
            s.listen(0)
            self.portals.append("%s:%d" % s.getsockname())
            self.sockets.append(s)
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(s.getsockname())
            self.sockets.append(filler)


def refusing(n):
    """Portals where nobody listens: the ports are bound, so that nobody else takes them."""
    held, portals = [], []
    for i in range(n):
        s = socket.socket()
        s.bind((f"127.8.{i // 250}.{i % 250 + 1}", 0))
        portals.append("%s:%d" % s.getsockname())
        held.append(s)
    return held, portals


class Watch(threading.Thread):
    """How many connections the target has that have not logged in yet: at least, and at most."""

    def __init__(self, target):
        super().__init__(daemon=True)
        self.target, self.enough = target, threading.Event()
        self.port = ":%04X" % int(target.portal.rsplit(":", 1)[1])
        self.at_least = self.at_most = 0

    def connections(self):
        with open("/proc/net/tcp", encoding="ascii") as f:
            return sum(1 for line in f if line.split(None, 4)[1].endswith(self.port)
                       and line.split(None, 4)[3] == "01")

    def run(self):
        while not self.enough.wait(0.02):
            before = self.target.logins()
            there = self.connections()
            self.at_most = max(self.at_most, there - before)
            self.at_least = max(self.at_least, there - self.target.logins())


def rss(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS:"))


def measure(args, world):
    dead = round(args.sessions * args.dead / 100)
    live = args.sessions - dead
    deaf, (held, refuse) = Deaf(dead // 2), refusing(dead - dead // 2)
    portals = [None] * live + deaf.portals + refuse
    random.Random(1).shuffle(portals)  # records are logged in to in the order of their names
    with world.World(memory=True) as w:
        units = [o for i, portal in enumerate(portals) if portal is None
                 for o in ("--target", f"{NAME}{i:05}", "--lun", "null:1M")]
        target = world.Target(w, *units)
        api = w.up()
        for i, portal in enumerate(portals):
            api.ask("node.new", target=f"{NAME}{i:05}", portal=portal or target.portal)
        empty = rss(w.iod) + rss(w.daemon.pid)
        watch = Watch(target)
        watch.start()
        events = w.api()
        events.ask("events.subscribe")
        began = time.monotonic()
        api.f.write(json.dumps({"id": 1, "method": "node.login", "params": {"all": "all", "wait": False}}) + "\n")
        api.f.flush()
        came = {}
        while len(came) < live:
            if time.monotonic() - began > args.patience:
                raise AssertionError(f"{len(came)} of {live} live sessions are up within {args.patience} s")
            event = json.loads(events.f.readline())
            if event.get("event") == "lun.came":
                came.setdefault(event["sid"], time.monotonic() - began)
        watch.enough.set()
        watch.join()
        time.sleep(args.idle)
        whole = rss(w.iod) + rss(w.daemon.pid)
    for s in held + deaf.sockets:
        s.close()
    return {"sessions": live, "dead": dead, "first_s": min(came.values()), "all_s": max(came.values()),
            "logins_at_least": watch.at_least, "logins_at_most": watch.at_most, "max_logins": MAX_LOGINS,
            "rss_kib_per_session": (whole - empty) / live}


def judge(r):
    """What is not met, a sentence each."""
    bounds = [("first_s", FIRST_BOUND, "the first LUN came after {:.2f} s, bound {}"),
              ("all_s", ALL_BOUND, "the last live session was up after {:.1f} s, bound {}"),
              ("logins_at_least", MAX_LOGINS, "the target saw {} logins at a time, bound {}"),
              ("rss_kib_per_session", RSS_BOUND, "an idle session holds {:.1f} KiB, bound {}")]
    return [text.format(r[name], bound) for name, bound, text in bounds if r[name] > bound]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--build", default=str(ROOT / "build"), help="the build directory")
    parser.add_argument("--sessions", type=int, default=2000, help="records to log in to (2000)")
    parser.add_argument("--dead", type=int, default=30, help="percent of them whose portal is dead (30)")
    parser.add_argument("--idle", type=float, default=3, help="seconds of quiet before memory is read (3)")
    parser.add_argument("--patience", type=float, default=120, help="seconds that all may take (120)")
    parser.add_argument("--no-bounds", action="store_true", help="judge nothing")
    parser.add_argument("--json", action="store_true", help="one object, for scripts")
    args = parser.parse_args()
    os.environ["LUNETTE_BIN"] = f"{args.build}/bin"
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    sys.path.insert(0, str(ROOT / "tests/daemon"))
    import world  # pylint: disable=import-outside-toplevel
    r = measure(args, world)
    missed = [] if args.no_bounds else judge(r)
    if args.json:
        print(json.dumps({**r, "missed": missed}))
    else:
        print("{sessions} live sessions, {dead} dead portals: the first LUN after {first_s:.2f} s, all after "
              "{all_s:.1f} s; {logins_at_least} to {logins_at_most} logins at a time at the target (limit "
              "{max_logins}); {rss_kib_per_session:.1f} KiB per idle session in both daemons".format(**r))
        for text in missed:
            print(f"MISSED: {text}")
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
