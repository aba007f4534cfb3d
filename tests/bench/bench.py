#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""bench.py - what an I/O costs with lunette, with libiscsi and over bare sockets, side by side.

    make bench                    all rows, nine rounds
    make bench BENCH=quick        what is judged and a little beside it, in less than four minutes
    make bench BENCH=full         all rows, and then the whole matrix of workloads
    make bench BENCH_ONLY=REGEX   only the rows (and runs of the matrix) that match

Everything happens in a network namespace of its own, the target on one CPU and the initiator on
another.  One round runs all that are compared with each other one after the other; a ratio is of
one round, and the median over the rounds is what counts.  A run that others disturbed is repeated.
Rows that depend on the machine are shown and not judged (goals.py).
Exit: 0 when all rows that are judged are met, 1 when not, 2 when nothing could be measured.
"""
import argparse
import json
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time

import counts
import goals
import loads
import machine
import report
import targets

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODES = {  # what options are, where they are not given
    "goals": dict(rounds=9, secs=0.7, counts=9, verify_bytes=32 << 20, idle_seconds=65, budget=0),
    "full": dict(rounds=9, secs=0.7, counts=9, verify_bytes=32 << 20, idle_seconds=65, budget=0),
    "quick": dict(rounds=3, secs=0.5, counts=3, verify_bytes=8 << 20, idle_seconds=1, budget=200),
}
MATRIX_ROUNDS = 3
SCALE = "tests/bench/scale"


class Failed(Exception):
    """A program did not do what it should."""


def arguments():
    env = os.environ
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--build", default=os.path.join(ROOT, "build"), help="the build folder")
    p.add_argument("--mode", choices=sorted(MODES), default=env.get("BENCH") or "goals")
    p.add_argument("--only", default=env.get("BENCH_ONLY") or "", help="a regular expression")
    p.add_argument("--rounds", type=int, help="how many; 9, or 3 where the mode is quick")
    p.add_argument("--secs", type=float, help="of one run (0.7, or 0.5)")
    p.add_argument("--warm", type=float, default=0.2, help="before it (0.2)")
    p.add_argument("--engine", choices=("auto", "epoll", "uring"), default="auto",
                   help="lunette's, for the goals; the matrix has both (auto)")
    p.add_argument("--target-cpu", type=int, default=0)
    p.add_argument("--initiator-cpu", type=int, default=1)
    p.add_argument("--foreign", type=float, default=10,
                   help="percent of one CPU that others may use during a run (10)")
    p.add_argument("--repeats", type=int, default=2, help="of a disturbed run (2)")
    p.add_argument("--patience", type=float, default=10,
                   help="seconds to wait before a run until nobody else uses the machine (10)")
    p.add_argument("--budget", type=float,
                   help="seconds after which nothing is waited for, repeated, or begun once more "
                        "(none, or 200)")
    p.add_argument("--counts", type=int, help="of instructions, whose median is taken (9, or 3)")
    p.add_argument("--idle-seconds", type=int, help="of the idle sessions (65, or 1)")
    p.add_argument("--no-counts", action="store_true", help="neither callgrind nor strace")
    p.add_argument("--no-verify", action="store_true", help="do not compare data first")
    p.add_argument("--verify-bytes", type=int, help="of each unit (32 MiB, or 8)")
    p.add_argument("--json", help="where every single run is written (bench.json of the build folder)")
    p.add_argument("--update-docs", action="store_true", help="put the short tables into docs/performance.md")
    p.add_argument("--lock", default=env.get("BENCH_LOCK") or None,
                   help="a file to be locked during each group of runs, where others measure too")
    p.add_argument("--list", action="store_true", help="print the rows and what to match them by")
    a = p.parse_args()
    for name, value in MODES[a.mode].items():
        if getattr(a, name) is None:
            setattr(a, name, value)
    a.json = a.json or os.path.join(a.build, "bench.json")
    return a


class Bench:
    def __init__(self, args, where):
        self.args, self.build, self.targets = args, args.build, where
        self.runs = []  # every single one
        self.disturbance = machine.Disturbance(args.foreign)
        self.began, self.steps, self.steps_done = time.monotonic(), 0, 0
        self.deadline = time.monotonic() + args.budget if args.budget else math.inf

    def left(self):
        """Seconds of the budget."""
        return self.deadline - time.monotonic()

    def say(self, text):
        """A line of progress, with the time that is left."""
        left = ""
        if self.steps_done:
            each = (time.monotonic() - self.began) / self.steps_done
            seconds = int(each * (self.steps - self.steps_done))
            left = f", {seconds // 60}:{seconds % 60:02d} left"
        print(f"bench: {text}{left}", file=sys.stderr, flush=True)

    # ---- one run -------------------------------------------------------------------------------

    def program(self, run, extra, before=(), timeout=60):
        """Runs a load and returns its line of JSON."""
        url = "-" if run.target == "-" else self.targets.get(run.target)[0]
        command = list(before) + loads.command(self.build, run, url, self.args.initiator_cpu,
                                               self.args.target_cpu) + list(extra)
        try:
            p = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                               timeout=timeout, check=False)
        except subprocess.TimeoutExpired as e:
            raise Failed(f"{run.name()}: does not end") from e
        if p.returncode != 0:
            raise Failed(f"{run.name()}: exit {p.returncode}: {p.stderr.strip()[:300]}")
        return json.loads(p.stdout.strip().splitlines()[-1])

    def accounted(self, run):
        """One run, with what the target and what others used meanwhile."""
        # with a budget a twentieth of what is left, so that waiting does not use it up
        patience = max(0, min(self.args.patience, self.left() / 20))
        quiet = machine.wait_quiet(patience=patience)
        process = None if run.target == "-" else self.targets.get(run.target)[1]
        idle, began = machine.idle_seconds(), time.monotonic()
        target = machine.cpu_ns(process.pid) if process else 0
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        result = self.program(run, ["--secs", str(self.args.secs), "--warm", str(self.args.warm)])
        children_after = resource.getrusage(resource.RUSAGE_CHILDREN)
        target = (machine.cpu_ns(process.pid) if process else 0) - target
        took = time.monotonic() - began
        self.targets.end_awake()
        busy = len(idle) * took - sum(machine.idle_seconds().values()) + sum(idle.values())
        own = sum(getattr(children_after, f) - getattr(children, f) for f in ("ru_utime", "ru_stime"))
        result["cpu_us"] = result["user_us"] + result["system_us"]
        result["target_cpu_us"] = result["peer_cpu_us"]
        if process:
            result["target_cpu_us"] = target / 1e3 / max(result["total_ios"], 1)
        result["target_busy_percent"] = result["target_cpu_us"] * result["iops"] / 1e4
        result["foreign_percent"] = 100 * (busy - own - target / 1e9) / took
        result["waited_in_vain"] = not quiet
        return result

    def timed(self, run):
        """The least disturbed of at most 1 + repeats runs."""
        best = None
        for attempt in range(1 + self.args.repeats):
            result = self.accounted(run)
            quiet = self.disturbance.allows(run, result["foreign_percent"])
            if best is None or result["foreign_percent"] < best["foreign_percent"]:
                best = result
            best["attempts"] = attempt + 1
            if quiet or self.left() < self.args.budget / 2:
                break
        return best

    # ---- many runs -----------------------------------------------------------------------------

    def round(self, group, number):
        """All runs of a group; each round begins with another one."""
        results = {}
        first = number % len(group)
        with machine.locked(self.args.lock, alone=True):
            for run in group[first:] + group[:first]:
                try:
                    results[run] = self.timed(run)
                    self.runs.append({"run": vars(run), "name": run.name(), "round": number,
                                      "result": results[run]})
                except (Failed, targets.Unavailable, RuntimeError) as e:
                    self.say(f"FAILED {e}")
                self.steps_done += 1
        return results

    def rounds(self, groups, n, what):
        """For each round, the results of all groups."""
        out = []
        self.began, self.steps, self.steps_done = time.monotonic(), n * sum(map(len, groups)), 0
        for number in range(n):
            took = (time.monotonic() - self.began) / max(number, 1)
            if number > 0 and self.left() < took:
                print(f"bench: {what}: the budget of {self.args.budget:.0f} s allows no more than {number} of "
                      f"{n} rounds: others use this machine", file=sys.stderr, flush=True)
                break
            results = {}
            for i, group in enumerate(groups):
                self.say(f"{what}: round {number + 1} of {n}, group {i + 1} of {len(groups)}: "
                         f"{group[0].workload()}")
                results.update(self.round(group, number))
            out.append(results)
        return out

    def verify(self, groups):
        """Compares data, since the timed runs do not.  Each way of doing I/O once for a target."""
        done, ios = set(), []
        for run in [r for g in groups for r in g if r.load != "sockets"]:
            where = {"null": ("null", "null-ram")}.get(run.target, (run.target,))
            for target in where:
                kind = targets.VERIFY.get(target)
                case = goals.dataclasses.replace(run, target=target, op="read")
                if kind is None or case in done:
                    continue
                done.add(case)
                try:
                    with machine.locked(self.args.lock, alone=False):
                        result = self.program(case, ["--verify", kind, "--region", str(self.args.verify_bytes)])
                    self.targets.end_awake()
                except targets.Unavailable as e:
                    self.say(str(e))
                    continue
                ios.append({"run": vars(case), "verify": kind, "compared": result["compared"]})
        total = sum(x["compared"] for x in ios)
        self.say(f"compared the data of {total} reads in {len(ios)} ways: all right")
        return ios

    def counted(self, runs):
        """Instructions and system calls per I/O, by run."""
        out = {}
        for run in runs:
            self.say(f"counting: {run.name()}")
            try:
                with machine.locked(self.args.lock, alone=False):
                    out[run] = counts.instructions(self, run, self.args.counts)
                    out[run].update(counts.system_calls(self, run))
            except (Failed, OSError) as e:
                self.say(f"FAILED {e}")
        return out

    def scale(self):
        """Thousands of idle sessions; None where that program is not there."""
        path = os.path.join(self.build, SCALE)
        if not os.access(path, os.X_OK):
            self.say(f"{SCALE} is not built")
            return None
        self.say("10,000 idle sessions")
        with machine.locked(self.args.lock, alone=True):
            p = subprocess.run([path, "--json", "--target", f"{self.build}/bin/lunette-target",
                                "--idle-seconds", str(self.args.idle_seconds)],
                               stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600,
                               check=False)
        if p.returncode != 0:
            self.say(f"FAILED {SCALE}: {p.stderr.strip()[-300:]}")
            return None
        return json.loads(p.stdout.strip().splitlines()[-1])


def judge_all(wanted, rounds, counted, scale):
    out = []
    for goal in wanted:
        if goal.kind == "scale":
            whole = scale is not None and scale.get("sessions", 0) >= goals.SESSIONS
            values = [scale[goal.figure]] if whole and goal.figure in scale else []
        elif goal.kind == "counted":
            values = [counted[goal.run][goal.figure]] if goal.run in counted else []
        else:
            values = goals.values_of(goal, rounds)
        out.append(goals.judge(goal, values))
    return out


def chosen(only, engine, quick):
    """The goals and the groups of the matrix that BENCH_ONLY matches."""
    pattern = re.compile(only)
    wanted = [goals.with_engine(g, engine) for g in (goals.quick_goals() if quick else goals.all_goals())]
    wanted = [g for g in wanted if pattern.search(g.key())]
    matrix = [[r for r in group if pattern.search(r.name())] for group in goals.matrix()]
    return wanted, [group for group in matrix if group]


def measure(bench, wanted, matrix):
    """Everything that was asked for, as one object for the report."""
    args = bench.args
    groups = goals.groups_of(wanted)
    verified = [] if args.no_verify else bench.verify(groups + matrix)
    counted = {} if args.no_counts else bench.counted(
        dict.fromkeys(g.run for g in wanted if g.kind == "counted"))
    scale = bench.scale() if any(g.kind == "scale" for g in wanted) else None
    rounds = bench.rounds(groups, args.rounds, "rows")
    matrix_rounds = bench.rounds(matrix, min(args.rounds, MATRIX_ROUNDS), "matrix") if matrix else []
    return report.Report(args, machine.describe(), judge_all(wanted, rounds, counted, scale), rounds,
                         matrix_rounds, counted, scale, verified, bench.runs)


def main():
    args = arguments()
    wanted, matrix = chosen(args.only, args.engine, args.mode == "quick")
    if args.list:
        print("\n".join(g.key() for g in wanted))
        return 0
    if not wanted:
        print(f"bench: nothing matches {args.only}", file=sys.stderr)
        return 2
    for program in ("null_target", "load_lunette", "load_libiscsi", "load_sockets"):
        if not os.access(os.path.join(args.build, "tests/bench", program), os.X_OK):
            print(f"bench: {args.build}/tests/bench/{program} is not built: ninja bench-programs",
                  file=sys.stderr)
            return 2
    machine.isolate([os.path.abspath(__file__)] + sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # else PID 1 of the namespace ignores it
    with targets.Targets(args.build, args.target_cpu) as where:
        bench = Bench(args, where)
        try:
            done = measure(bench, wanted, matrix if args.mode == "full" else [])
        except (Failed, RuntimeError) as e:
            print(f"bench: {e}", file=sys.stderr)
            return 2
    done.write_json(args.json)
    print(done.markdown())
    if args.update_docs:
        done.update(os.path.join(ROOT, "docs/performance.md"))
    missed = [v for v in done.verdicts if v.goal.judged and not v.met]
    for v in missed:
        print(f"bench: {v.text()}: {v.goal.row}: {report.what(v.goal)}", file=sys.stderr)
    judged = sum(1 for v in done.verdicts if v.goal.judged)
    print(f"bench: {judged} rows judged, {judged - len(missed)} met, {len(missed)} not; "
          f"{len(done.verdicts) - judged} depend on the machine and are shown; every run is in "
          f"{args.json}", file=sys.stderr)
    return 0 if goals.all_met(done.verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
