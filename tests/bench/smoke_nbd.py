#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""smoke_nbd.py - the benchmark of NBD for a moment: does each server serve, is what comes out complete, and
is it held against the bounds?  No claim is made about time.

usage: smoke_nbd.py BUILD-ROOT     exit: 0, 1, or 77 where it cannot run
"""
import math
import os
import shutil
import subprocess
import sys

import machine
import nbd_bench
from checks import check, passed, run_program
from nbd_bench import NULL, Run


def check_verdicts():
    """It is the median over the rounds of the ratio of one round that decides."""
    ours, null = Run("iscsi-iod, epoll", "null", "read"), Run(NULL, "null", "read")

    def verdicts(*rounds):
        rounds = [{ours: {"cpu_us": a, "iops": b}, null: {"cpu_us": c, "iops": d}} for a, b, c, d in rounds]
        return [met for _, _, _, met in nbd_bench.judged(rounds, [[ours, null]])]

    check(verdicts((1, 80, 1, 100)) == [True, True], "on the bounds is met")
    check(verdicts((1.001, 79.9, 1, 100)) == [False, False], "beyond the bounds is missed")
    check(verdicts((1, 9, 1, 10), (9, 1, 1, 10), (1, 9, 1, 10)) == [True, True], "one bad round counts")
    check(verdicts((9, 1, 1, 10), (9, 1, 1, 10), (1, 9, 1, 10)) == [False, False], "the median does not count")
    check(not list(nbd_bench.judged([{ours: {}}], [[ours]])), "without the null export there is no verdict")


def check_program(build):
    p, written = run_program("nbd_bench.py", build, os.path.join(build, "bench-nbd-smoke.json"), "--rounds", "1",
                             "--secs", "0.3", "--targets", "null,lunette-null", timeout=150)
    check((p.returncode == 1) == ("missed:" in p.stderr), f"exit {p.returncode}: {p.stderr}")
    runs = written["runs"]
    check(len(runs) == 14, f"{len(runs)} runs")
    for r in runs:
        for key in ("iops", "cpu_us", "load_cpu_us", "busy_percent"):
            check(math.isfinite(r[key]) and r[key] > 0, f"no {key}: {r}")
        check((r["target_cpu_us"] or 0) > 0 or r["server"] == NULL, f"no CPU of the target: {r}")
        check(p.stdout.count(f"| 4 KiB {r['op']} | {r['server']} | ") >= 1, f"{r} is not in the table")
    check(p.stdout.count("CPU / null") == 4 and p.stdout.count("IOPS / null") == 4, p.stdout)


def main():
    check_verdicts()
    fio = shutil.which("fio") and subprocess.run(["fio", "--enghelp"], capture_output=True, text=True,
                                                 check=False).stdout.split()
    if not fio or "nbd" not in fio or not shutil.which("qemu-storage-daemon"):
        print("SKIP: no fio with the nbd engine, or no qemu-storage-daemon")
        return 77
    if not machine.can_isolate():
        print("SKIP: needs root, for a network namespace of its own")
        return 77
    check_program(sys.argv[1])
    return passed()


if __name__ == "__main__":
    sys.exit(main())
