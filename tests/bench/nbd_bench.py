#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nbd_bench.py - what an I/O over NBD costs: iscsi-iod beside qemu-storage-daemon, in one run.

    make bench-nbd                        nine rounds
    make bench-nbd BENCH_NBD_ARGS=...     the options below

The same job of fio (its nbd engine, 4 KiB at random places, 32 under way) goes to each server in turn:

    iscsi-iod, epoll and io_uring   a LUN of the target, logged in to by iscsid and iscsiadm
    libiscsi in QEMU                the same LUN by the iscsi driver of qemu-storage-daemon
    null in QEMU                    qemu-storage-daemon's null-co, with no iSCSI and no target behind it

A round runs all of them, and each round begins with another one; a ratio is of one round, and the
median over the rounds counts.  CPU is that of all threads of the process, user and system, from
before fio starts until after it has ended, by the clock of the process, which is exact.
Judged is iscsi-iod beside QEMU's null export: its CPU per I/O, and its I/Os per second.
Exit: 0 when all that is judged is met, 1 when not, 2 when nothing could be measured.
"""
import argparse
import collections
import json
import os
import re
import signal
import statistics
import subprocess
import sys
import time

import machine
import report
import targets

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PAGE = os.path.join(ROOT, "docs/performance.md")
BEGIN, END = "<!-- begin: make bench-nbd -->", "<!-- end: make bench-nbd -->"
DEPTH, BYTES, REGION = 32, 4096, "1g"
CPU_BOUND, IOPS_BOUND = 1.0, 0.8  # of iscsi-iod to QEMU's null export
OPS = ("read", "write")
NULL = "null in QEMU"
Run = collections.namedtuple("Run", "server target op")
FIGURES = ("iops", "cpu_us", "load_cpu_us", "target_cpu_us", "busy_percent")


class Failed(Exception):
    """A program did not do what it should."""


class Server:
    """A daemon that serves NBD, and the path of its socket."""

    name = None
    iscsi = True

    def __init__(self, bench, target):
        self.bench, self.target = bench, target
        self.log = os.path.join(bench.tmp, f"{self.name}-{target}.log".replace(" ", "-"))
        self.path = os.path.join(bench.tmp, f"{self.name}-{target}.sock".replace(" ", "-").replace(",", ""))
        self.process = None

    def start(self, command):
        self.process = targets.Process(command, self.bench.args.server_cpu, self.log)

    def end(self):
        if self.process:
            self.process.end()


class Qemu(Server):
    def begin(self):
        self.start(["qemu-storage-daemon", "--blockdev", self.blockdev(), "--nbd-server",
                    f"addr.type=unix,addr.path={self.path}", "--export",
                    "type=nbd,id=e,node-name=d,name=,writable=on"])
        self.process.wait_for(lambda: os.path.exists(self.path))


class QemuIscsi(Qemu):
    name = "libiscsi in QEMU"

    def blockdev(self):
        portal, iqn, lun = self.bench.where(self.target)
        return f"driver=iscsi,node-name=d,transport=tcp,portal={portal},target={iqn},lun={lun}"


class QemuNull(Qemu):
    name, iscsi = NULL, False

    def blockdev(self):
        return f"driver=null-co,node-name=d,size={1 << 40}"


class Ours(Server):
    kind = None
    control = None

    def begin(self):
        portal, iqn, lun = self.bench.where(self.target)
        root, plane = self.path + ".d", self.path + ".iod"
        os.mkdir(root)
        self.start([f"{self.bench.args.build}/bin/iscsi-iod", "-f", "--socket", plane, "--loop", self.kind])
        self.process.wait_for(lambda: os.path.exists(plane))
        self.control = targets.Process(
            [f"{self.bench.args.build}/bin/iscsid", "--root", root, "-f", "--iod-socket", plane],
            self.bench.args.load_cpu, self.log + ".iscsid")
        adm = [f"{self.bench.args.build}/bin/iscsiadm", "--root", root, "--no-start"]
        self.control.wait_for(lambda: self.ask(adm + ["-m", "session", "-s"]) is not None)
        node = adm + ["-m", "node", "-T", iqn, "-p", portal]
        if self.ask(node + ["-o", "new"]) is None or self.ask(node + ["-l"]) is None:
            raise Failed(f"{self.name}: no login at {self.target}")
        self.path = self.control.wait_for(lambda: self.exported(adm, lun))

    def exported(self, adm, lun):
        for line in (self.ask(adm + ["-m", "session", "--export", "nbd", "-r", "1"]) or "").splitlines():
            words = line.split()
            if words[0] == lun:
                return words[1]
        return None

    @staticmethod
    def ask(command):
        p = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                           timeout=60)
        return p.stdout if p.returncode in (0, 21) else None  # 21: no session yet

    def end(self):
        for process in (self.control, self.process):
            if process:
                process.end()


class OursEpoll(Ours):
    name, kind = "iscsi-iod, epoll", "epoll"


class OursUring(Ours):
    name, kind = "iscsi-iod, io_uring", "uring"


SERVERS = {s.name: s for s in (OursEpoll, OursUring, QemuIscsi, QemuNull)}


def fio_command(args, op, path, secs):
    return ["taskset", "-c", str(args.load_cpu), "fio", "--name=bench", "--ioengine=nbd",
            f"--uri=nbd+unix:///?socket={path}", f"--rw=rand{op}", f"--bs={BYTES}", f"--iodepth={DEPTH}",
            f"--size={REGION}", "--time_based", f"--runtime={round(secs * 1000)}ms", "--randrepeat=0", "--norandommap",
            "--output-format=json"]


class Bench:
    def __init__(self, args, where):
        self.args, self.targets, self.tmp = args, where, where.tmp
        self.servers = {}
        self.runs = []

    def where(self, target):
        """Portal, name and LUN of a target."""
        portal, iqn, lun = self.targets.get(target)[0].removeprefix("iscsi://").split("/")
        return portal, iqn, lun

    def server(self, run):
        key = run.server, run.target
        if key not in self.servers:
            self.servers[key] = SERVERS[run.server](self, run.target)
            self.servers[key].begin()
        return self.servers[key]

    def end(self):
        for server in self.servers.values():
            server.end()

    def fio(self, run, path):
        p = subprocess.run(fio_command(self.args, run.op, path, self.args.secs), stdin=subprocess.DEVNULL,
                           capture_output=True, text=True, check=False, timeout=60 + self.args.secs,
                           cwd=self.tmp)
        if p.returncode != 0:
            raise Failed(f"{run}: fio exits with {p.returncode}: {p.stderr[-300:]} {p.stdout[-300:]}")
        job = json.loads(p.stdout[p.stdout.index("{"):])["jobs"][0]
        if job["error"] != 0 or job[run.op]["total_ios"] == 0:
            raise Failed(f"{run}: fio says error {job['error']}")
        return job

    def timed(self, run):
        server = self.server(run)
        target = self.targets.get(run.target)[1].pid if server.iscsi else None
        machine.wait_quiet(patience=self.args.patience)
        began = time.monotonic()
        cpu, target_cpu = machine.cpu_ns(server.process.pid), machine.cpu_ns(target) if target else 0
        job = self.fio(run, server.path)
        took = time.monotonic() - began
        cpu = machine.cpu_ns(server.process.pid) - cpu
        target_cpu = (machine.cpu_ns(target) if target else 0) - target_cpu
        ios = job[run.op]["total_ios"]
        seconds = job["job_runtime"] / 1e3
        result = {"iops": job[run.op]["iops"], "cpu_us": cpu / 1e3 / ios,
                  "load_cpu_us": (job["usr_cpu"] + job["sys_cpu"]) / 100 * seconds * 1e6 / ios,
                  "target_cpu_us": target_cpu / 1e3 / ios if target else None,
                  "busy_percent": 100 * cpu / 1e9 / took, "ios": ios,
                  "mean_us": job[run.op]["clat_ns"]["mean"] / 1e3}
        self.runs.append({**run._asdict(), **result})
        return result

    def rounds(self, groups):
        out = []
        for number in range(self.args.rounds):
            results = {}
            for group in groups:
                first = number % len(group)
                print(f"bench-nbd: round {number + 1} of {self.args.rounds}: {group[0].op}, {group[0].target}",
                      file=sys.stderr, flush=True)
                for run in group[first:] + group[:first]:
                    results[run] = self.timed(run)
            out.append(results)
        return out


# ---- what comes out ----------------------------------------------------------------------------


def medians(rounds):
    out = {}
    for run in rounds[0]:
        out[run] = {}
        for figure in FIGURES:
            values = [r[run][figure] for r in rounds if r[run][figure] is not None]
            out[run][figure] = statistics.median(values) if values else None
    return out


def ratios(rounds, run, null, figure):
    return [r[run][figure] / r[null][figure] for r in rounds]


def judged(rounds, groups):
    """(what, values, bound, whether it is met) for each of ours beside QEMU's null export."""
    for group in groups:
        null = next((r for r in group if r.server == NULL), None)
        for run in group:
            if null is None or not issubclass(SERVERS[run.server], Ours):
                continue
            what = f"4 KiB {run.op}, {run.server}"
            cpu, iops = (ratios(rounds, run, null, f) for f in ("cpu_us", "iops"))
            yield f"{what}: CPU / null", cpu, f"≤ {CPU_BOUND:g}", statistics.median(cpu) <= CPU_BOUND
            yield f"{what}: IOPS / null", iops, f"≥ {IOPS_BOUND:g}", statistics.median(iops) >= IOPS_BOUND


def number(x, digits):
    return report.number(x, digits) if x is not None else "–"


def version(program):
    text = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+(\.\d+)+", text)
    return found.group() if found else "?"


def tables(args, rounds, groups):
    m = machine.describe()
    text = (f"{m['cpus']} CPUs, {m['cpu']}, Linux {m['kernel']}, {m['congestion_control']}; "
            f"QEMU {version('qemu-storage-daemon')}, fio {version('fio')}; {args.rounds} rounds, each run "
            f"{args.secs:g} s; the server on CPU {args.server_cpu}, fio on {args.load_cpu}, the target on "
            f"{args.target_cpu}.")
    if os.sched_getscheduler(0) != os.SCHED_OTHER:
        text += " All of them had real-time priority, before others who used the machine."
    rows = []
    for run, x in medians(rounds).items():
        target = run.target if SERVERS[run.server].iscsi else "–"
        rows.append([f"4 KiB {run.op}", run.server, target, number(x["iops"], 0), number(x["cpu_us"], 2),
                     number(x["load_cpu_us"], 2), number(x["target_cpu_us"], 2), number(x["busy_percent"], 0)])
    first = report.table(["I/O", "server", "target", "IOPS", "its CPU µs", "fio's", "the target's",
                          "% of its CPU busy"], rows, right=range(3, 8))
    rows = []
    for what, values, bound, met in judged(rounds, groups):
        q = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3
        rows.append([what, number(statistics.median(values), 3), f"{q[0]:.3f}–{q[2]:.3f}", bound,
                     "met" if met else "missed"])
    second = report.table(["judged", "median", "quartiles", "bound", ""], rows, right=(1, 2, 3))
    return f"{text}\n\n{first}\n\n{second}\n"


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build folder")
    p.add_argument("--rounds", type=int, default=9)
    p.add_argument("--secs", type=float, default=2, help="of one run (2)")
    p.add_argument("--server-cpu", type=int, default=1)
    p.add_argument("--load-cpu", type=int, default=0)
    p.add_argument("--target-cpu", type=int, default=1)
    p.add_argument("--targets", default="null,tgtd-null", help="of the LUN, as targets.py names them")
    p.add_argument("--only", default="", help="servers, by the words in their names")
    p.add_argument("--op", choices=OPS, help="only that one")
    p.add_argument("--patience", type=float, default=3,
                   help="seconds to wait before a run until nobody else uses the machine (3)")
    p.add_argument("--json", help="where every single run is written (bench-nbd.json of the build folder)")
    p.add_argument("--update-docs", action="store_true", help="put the tables into docs/performance.md")
    a = p.parse_args()
    a.json = a.json or os.path.join(a.build, "bench-nbd.json")
    return a


def groups_of(args):
    """Runs of a round that are compared: one operation each, against the first target and beside the
    null export; the other targets are there for reference."""
    out = []
    for i, target in enumerate(args.targets.split(",")):
        for op in [args.op] if args.op else OPS:
            group = [Run(name, target, op) for name, s in SERVERS.items()
                     if (s.iscsi or i == 0) and all(w in name for w in args.only.split())]
            out += [group] if group else []
    return out


def main():
    args = arguments()
    machine.isolate([os.path.abspath(__file__)] + sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # else PID 1 of the namespace ignores it
    groups = groups_of(args)
    with targets.Targets(args.build, args.target_cpu) as where:
        bench = Bench(args, where)
        try:
            rounds = bench.rounds(groups)
            text = tables(args, rounds, groups)
        except (Failed, targets.Unavailable, RuntimeError, OSError, subprocess.TimeoutExpired) as e:
            print(f"bench-nbd: {e}", file=sys.stderr)
            return 2
        finally:
            bench.end()
    with open(args.json, "w", encoding="utf-8") as f:
        json.dump({"machine": machine.describe(), "options": vars(args), "runs": bench.runs}, f, indent=1)
        f.write("\n")
    print(text)
    if args.update_docs:
        report.put_between(PAGE, BEGIN, END, text)
    missed = [what for what, _, _, met in judged(rounds, groups) if not met]
    for what in missed:
        print(f"bench-nbd: missed: {what}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
