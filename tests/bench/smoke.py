#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""smoke.py - each load against each target, for a moment: do the benchmark's parts work?

No claim is made about time.  What comes out has to be complete, data has to be compared and wrong
data to be noticed.

usage: smoke.py BUILD-ROOT [--no-counts]     exit: 0, 1, or 77 where it cannot run
"""
import json
import math
import os
import shutil
import sys
import types

import bench
import counts
import goals
import machine
import report
import targets
from checks import check, passed, run_program
from goals import Goal, Run

RUN_S, WARM_S = 0.1, 0.03
OWN_TARGETS = ("null", "null-ram", "lunette-null", "lunette-ram")
FOREIGN_TARGETS = ("tgtd-null", "tgtd-ram", "istgt-ram")
ALWAYS = ("iops", "mb_per_s", "mean_us", "p50_us", "p99_us", "p999_us", "max_us", "user_us",
          "system_us", "cpu_us", "target_cpu_us", "foreign_percent", "seconds", "ios", "total_ios")


def runs():
    for target in OWN_TARGETS + FOREIGN_TARGETS:
        for load in ("lunette", "libiscsi"):
            yield Run(load, target, "read", 4096, 8, random=True)
    for engine in ("epoll", "spin", "uring"):
        for op in ("read", "write"):
            yield Run("sockets", "-", op, 4096, 8, engine=engine)
    yield Run("sockets", "-", "read", 1 << 20, 8, engine="epoll")
    yield Run("sockets", "-", "write", 131072, 4, engine="epoll", sessions=4)
    for engine in ("epoll", "uring"):
        yield Run("lunette", "null", "write", 4096, 32, random=True, engine=engine, digest="both")
    yield Run("lunette", "null", "read", 1 << 20, 8, sessions=2, spin_us=20)
    yield Run("lunette", "null", "write", 1 << 20, 8, zero_copy=True)
    yield Run("libiscsi", "null", "write", 131072, 8, sessions=4, digest="header")


def available(run):
    family = run.target.split("-")[0]
    return all(shutil.which(p) for p in targets.NEEDS.get(family, ()))


def check_result(run, r):
    for key in ALWAYS:
        check(r.get(key) is not None and math.isfinite(r[key]), f"{run.name()}: no {key}: {r}")
    check(r["ios"] > 0 and r["total_ios"] > r["ios"], f"{run.name()}: no warm-up: {r}")
    check(0 < r["p50_us"] <= r["p99_us"] <= r["p999_us"] <= r["max_us"], f"{run.name()}: {r}")
    check(abs(r["iops"] * run.bs / 1e6 - r["mb_per_s"]) < 1e-3 * r["mb_per_s"] + 1, f"{run.name()}: {r}")
    check((r["op"], r["bs"], r["depth"], r["sessions"]) == (run.op, run.bs, run.depth, run.sessions),
          f"{run.name()} did something else: {r}")
    check((r["syscalls"] is None) == (run.load == "libiscsi"), f"{run.name()}: {r['syscalls']} calls")
    if run.load == "lunette" and run.engine != "auto":
        check(r["engine"] == run.engine, f"{run.name()} ran on {r['engine']}")


def check_verify(b, cases):
    """Each way was compared, and what is wrong does not pass."""
    verified = b.verify([cases])
    check(all(v["compared"] > 0 for v in verified), f"not compared: {verified}")
    done = {(v["run"]["load"], v["run"]["target"]) for v in verified}
    for run in cases:
        if run.load != "sockets" and run.target in targets.VERIFY:
            check((run.load, run.target) in done, f"{run.name()}: not compared")
    for load in ("lunette", "libiscsi"):
        for target, wrong in (("null", "zero"), ("null", "write"), ("lunette-null", "pattern")):
            run = Run(load, target, "read", 4096, 8)
            try:
                b.program(run, ["--verify", wrong, "--region", "1048576"])
            except bench.Failed as e:
                check("wrong data" in str(e), f"{run.name()}: {e}")
            else:
                check(False, f"{run.name()}: wrong data was not noticed")
    return verified


def check_exact(b, cases):
    """--ios is exact, and depth requests are under way all the time.

    Little's law holds to the last digit where every request counts.  Only at the end fewer are
    under way: from the beginning of the last request on, which is no longer ago than max_us.
    """
    for run in cases:
        r = b.program(run, ["--ios", "1000"])
        check((r["ios"], r["total_ios"]) == (1000, 1000), f"{run.name()}: --ios 1000: {r}")
        inflight = r["iops"] * r["mean_us"] / 1e6 / (run.depth * run.sessions)
        end = r["max_us"] / 1e6 / r["seconds"]
        check(0.99 - end < inflight < 1.01, f"{run.name()}: {inflight:.2f} of depth under way: {r}")
    refused = Run("libiscsi", "null", "read", 4096, 8, digest="both")
    try:
        b.program(refused, [])
    except bench.Failed as e:
        check("no data digest" in str(e), str(e))
    else:
        check(False, "libiscsi 1.19 does not know the data digest")


def check_counts(b):
    for load in ("lunette", "libiscsi"):
        run = Run(load, "null", "read", 4096, 32, random=True)
        c = counts.instructions(b, run)
        c.update(counts.system_calls(b, run))
        check(c["kinds"]["other"] > 0 and c["kinds"]["load"] > 0, f"{run.name()}: {c['kinds']}")
        check(c["syscalls_strace"] > 0, f"{run.name()}: {c}")
        if load == "lunette":
            # a call in four thousand is a timer's
            check(abs(c["syscalls_own"] - c["syscalls_strace"]) < 0.01,
                  f"{c['syscalls_own']} system calls, strace: {c['syscalls_strace']} {c['by_name']}")


def check_report(b, args, measured, verified):
    """Goals that are met and missed by any machine, through to the JSON."""
    a, other = (r for r in measured if r.target == "null" and r.bs == 4096 and r.depth == 8)
    wanted = [Goal("row", "cpu_us", a, other, 1e9), Goal("row", "cpu_us", a, other, 1e-9),
              Goal("row", "iops", a, None, 1e-9, goals.AT_LEAST), Goal("row", "mean_us", kind="scale")]
    goals.FIGURES.setdefault("iops", "IOPS")
    verdicts = bench.judge_all(wanted, [measured], {}, None)
    check([v.met for v in verdicts] == [True, False, True, None], f"{verdicts}")
    check(not goals.all_met(verdicts), "a missed goal passes")
    done = report.Report(args, machine.describe(), verdicts, [measured], [], {}, None, verified, b.runs)
    path = os.path.join(b.targets.tmp, "bench.json")
    done.write_json(path)
    with open(path, encoding="utf-8") as f:
        j = json.load(f)
    check([g["verdict"] for g in j["goals"]] == ["met", "missed", "met", "not measured"], f"{j['goals']}")
    check(len(j["runs"]) == len(measured) == len(j["medians"]), "runs are missing in the JSON")
    text = done.markdown()
    for run in measured:
        check(text.count(f"| {run.who()} | ") > 0, f"{run.name()} is not in the table")


def check_program(build):
    """bench.py as a whole, on one row: exit code, JSON and what it says agree."""
    p, j = run_program("bench.py", build, os.path.join(build, "bench-smoke.json"), "--rounds", "2", "--secs", str(RUN_S),
                       "--warm", "0.02", "--repeats", "0", "--no-counts", "--verify-bytes", "4194304",
                       "--only", "^system calls.*read, depth 32", timeout=120)
    check(len(j["goals"]) == 1 and len(j["goals"][0]["values"]) == 2, f"{j['goals']}")
    check(p.returncode == (0 if j["goals"][0]["met"] else 1), f"exit {p.returncode}: {j['goals']}")
    check(j["verified"] and j["machine"]["congestion_control"] == "reno", f"{j['machine']}")
    check("| system calls per I/O |" in p.stdout, p.stdout)


def main():
    build, no_counts = sys.argv[1], "--no-counts" in sys.argv
    if not machine.can_isolate():
        print("SKIP: needs root, for a network namespace of its own")
        return 77
    machine.isolate([os.path.abspath(__file__)] + sys.argv[1:])
    args = types.SimpleNamespace(build=build, secs=RUN_S, warm=WARM_S, foreign=8, repeats=0, patience=0,
                                 lock=None, rounds=1, budget=0,
                                 verify_bytes=4 << 20, initiator_cpu=os.cpu_count() - 1, target_cpu=0)
    with targets.Targets(build, 0, ram=64 << 20) as where:
        b = bench.Bench(args, where)
        cases = [r for r in runs() if available(r)]
        verified = check_verify(b, cases)
        measured = b.rounds([cases], 1, "smoke")[0]
        for run in cases:
            check(run in measured, f"{run.name()} failed")
            check_result(run, measured[run])
        check_exact(b, cases)
        if not no_counts and shutil.which("valgrind") and shutil.which("strace"):
            check_counts(b)
        check_report(b, args, measured, verified)
    check_program(build)
    return passed()


if __name__ == "__main__":
    sys.exit(main())
