#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_goals.py - the benchmark's arithmetic on fixed numbers: what is met, what is missed."""
import dataclasses
import os
import tempfile
import types
import unittest

import counts
import goals
import machine
import report
from goals import AT_LEAST, AT_MOST, Goal, Run

OURS = Run("lunette", "null", "read", 4096, 32, random=True)
THEIRS = Run("libiscsi", "null", "read", 4096, 32, random=True)

# The bounds, again: one is not loosened by a slip.
REQUIRED = {
    ("4 KiB random read: CPU", "cpu_us"): [1.2, 1.2, 1.3],
    ("4 KiB random write: CPU", "cpu_us"): [1.2, 1.2, 1.3],
    ("4 KiB, depth 1: latency", "mean_us"): [1.15] * 2,
    ("128 KiB and 1 MiB, depth 8: bandwidth", "mb_per_s"): [0.9] * 4,
    ("two connections against one", "cpu_us"): [1.15] * 2,
    ("user-space instructions, 4 KiB, depth 32", "instructions"): [500, 500],
    ("system calls per I/O", "syscalls"): [0.2, 0.2, 0.1, 0.1],
    ("10,000 logged-in idle sessions in one process", "rss_kib_per_session"): [12],
}


def rounds(ours, theirs):
    return [{OURS: {"cpu_us": a}, THEIRS: {"cpu_us": b}} for a, b in zip(ours, theirs)]


def ratio(bound, sense=AT_MOST):
    return Goal("a row", "cpu_us", OURS, THEIRS, bound, sense)


class Verdicts(unittest.TestCase):
    def judge(self, goal, ours, theirs):
        return goals.judge(goal, goals.values_of(goal, rounds(ours, theirs)))

    def test_the_ratio_is_of_one_round(self):
        # medians of both sides: 2 and 8, 1/4; the rounds' ratios: 1/8, 1, 1/4 and their median 1/4
        v = self.judge(ratio(0.25), [1, 8, 2], [8, 8, 8])
        self.assertEqual(v.values, [0.125, 1, 0.25])
        self.assertEqual(v.median, 0.25)
        # a slow minute hits both sides: the ratio stays, the median of each side alone would not
        v = self.judge(ratio(0.25), [1, 10, 100], [5, 50, 300])
        self.assertEqual(v.median, 0.2)

    def test_met_and_missed(self):
        self.assertTrue(self.judge(ratio(0.25), [1], [4]).met)
        self.assertFalse(self.judge(ratio(0.25), [1.0001], [4]).met)
        self.assertTrue(self.judge(ratio(0.9, AT_LEAST), [9], [10]).met)
        self.assertFalse(self.judge(ratio(0.9, AT_LEAST), [8.999], [10]).met)

    def test_it_is_the_median_that_decides(self):
        self.assertTrue(self.judge(ratio(1), [1, 1, 50], [1, 1, 1]).met)
        self.assertFalse(self.judge(ratio(1), [1, 2, 2], [1, 1, 1]).met)

    def test_the_spread(self):
        v = self.judge(ratio(9), [1, 2, 3, 4, 5], [1, 1, 1, 1, 1])
        self.assertEqual((v.low, v.median, v.high), (2, 3, 4))

    def test_an_absolute_figure(self):
        goal = Goal("a row", "cpu_us", OURS, None, 3)
        v = goals.judge(goal, goals.values_of(goal, rounds([2, 9, 3], [1, 1, 1])))
        self.assertEqual((v.median, v.met), (3, True))

    def test_rounds_that_lack_a_side_do_not_count(self):
        goal = ratio(0.25)
        results = rounds([1, 1], [4, 4]) + [{OURS: {"cpu_us": 1}}, {THEIRS: {"cpu_us": 1}}, {}]
        results.append({OURS: {"cpu_us": None}, THEIRS: {"cpu_us": 1}})
        self.assertEqual(goals.values_of(goal, results), [0.25, 0.25])

    def test_what_is_not_measured_is_not_met(self):
        v = goals.judge(ratio(1), [])
        self.assertIsNone(v.met)
        self.assertEqual(v.text(), "not measured")
        self.assertFalse(goals.all_met([v]))

    def test_all_met(self):
        met, missed = goals.judge(ratio(1), [1]), goals.judge(ratio(1), [2])
        shown = [goals.judge(Goal("a row", "cpu_us", OURS, THEIRS), values) for values in ([99], [])]
        self.assertTrue(goals.all_met([met, *shown]))
        self.assertFalse(goals.all_met([met, missed, *shown]))
        self.assertEqual([v.text() for v in (met, missed, *shown)],
                         ["met", "missed", "shown", "not measured"])
        self.assertEqual([v.met for v in shown], [None, None])
        self.assertEqual(shown[0].median, 99)


class Quiet(unittest.TestCase):
    def test_what_is_always_there_is_nobodys(self):
        d = machine.Disturbance(10)
        self.assertEqual([d.allows("a", x) for x in (34, 33, 60, 43, 44)], [False, True, False, True, False])
        self.assertEqual([d.allows("a", x) for x in (5, 16, 15, -3, 11, 10)],
                         [True, False, True, True, False, True])
        self.assertTrue(d.allows("b", 10))


class Table(unittest.TestCase):
    def test_every_bound_is_there(self):
        have = {}
        for goal in goals.all_goals():
            if goal.judged:
                have.setdefault((goal.row, goal.figure), []).append(goal.bound)
        self.assertEqual(have, REQUIRED)

    def test_what_depends_on_the_machine_is_not_judged(self):
        for goal in goals.all_goals():
            runs = [r for r in (goal.run, goal.against) if r]
            if goal.row == "two connections against one":  # with itself
                self.assertEqual(goal.judged, goal.figure == "cpu_us", goal.key())
                continue
            depends = (any(r.load == "libiscsi" or r.spin_us or r.zero_copy or r.digest != "none" or
                           r.engine == "spin" or r.target not in ("null", "-") for r in runs) or
                       goal.figure in ("idle_cpu_percent", "logins_per_second", "target_cpu_us"))
            self.assertEqual(goal.judged, not depends, goal.key())
            if not goal.judged:
                self.assertTrue(goal.note, goal.key())
            elif goal.kind == "timed" and goal.figure != "syscalls":
                self.assertEqual(goal.against.load, "sockets", goal.key())
                self.assertEqual(dataclasses.replace(goal.run, load="sockets", target="-", engine="epoll"),
                                 goal.against)

    def test_a_quick_run_judges_all(self):
        quick = goals.quick_goals()
        self.assertEqual([g for g in quick if g.judged], [g for g in goals.all_goals() if g.judged])
        self.assertLess(sum(map(len, goals.groups_of(quick))), 36)  # runs of a round

    def test_bandwidth_is_to_be_high_and_all_else_low(self):
        for goal in filter(lambda g: g.judged, goals.all_goals()):
            self.assertEqual(goal.sense, AT_LEAST if goal.figure == "mb_per_s" else AT_MOST, goal.key())

    def test_what_is_compared_is_in_one_group(self):
        groups = goals.groups_of(goals.all_goals())
        for goal in goals.all_goals():
            if goal.kind == "timed":
                mine = [g for g in groups if goal.run in g]
                self.assertEqual(len(mine), 1, goal.key())
                self.assertEqual(mine[0].count(goal.run), 1)
                self.assertTrue(goal.against is None or goal.against in mine[0], goal.key())

    def test_the_matrix_has_every_workload(self):
        runs = [r for group in goals.matrix() for r in group]
        self.assertEqual(len(runs), len(set(runs)))
        for op in ("read", "write"):
            for bs, depth in ((4096, 1), (4096, 8), (4096, 32), (4096, 128), (131072, 8), (1048576, 8)):
                mine = [r for r in runs if (r.op, r.bs, r.depth, r.target) == (op, bs, depth, "null")
                        and r.load == "lunette"]
                ways = {(r.digest, r.sessions, r.engine, r.spin_us > 0) for r in mine}
                self.assertEqual(len(ways), 3 * 3 * 2 * 2)


CALLGRIND = """# callgrind format
version: 1
positions: line
events: Ir
summary: 1000

ob=(1) /somewhere/load_lunette
fl=(1) load.c
fn=(1) loop
10 100
+2 20
cob=(2) /somewhere/liblunette.so.0
cfi=(2) queue.c
cfn=(2) lunette_queue_poll
calls=3 40
+1 5000
* 3

ob=(2)
fl=(2)
fn=(2)
40 200
fi=(3) list.h
7 11
fe=(2)
-3 1
cob=(3) /lib/libc.so.6
cfn=(3) __memcpy_avx_unaligned_erms
calls=1 9
41 77

ob=(3)
fn=(3)
9 77
ob=(4) /lib/libisal.so.2
fn=(4) crc32_iscsi_by8_02
1 33
"""


class Counting(unittest.TestCase):
    def parse(self, text):
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as f:
            f.write(text)
            f.flush()
            return counts.self_costs(f.name)

    def test_costs_of_a_function_are_its_own(self):
        costs = self.parse(CALLGRIND)
        self.assertEqual(costs["/somewhere/load_lunette", "loop"], 123)
        self.assertEqual(costs["/somewhere/liblunette.so.0", "lunette_queue_poll"], 212)
        self.assertEqual(costs["/lib/libc.so.6", "__memcpy_avx_unaligned_erms"], 77)
        self.assertEqual(sum(costs.values()), 123 + 212 + 77 + 33)

    def test_what_grows_with_the_requests_is_sorted(self):
        short = self.parse(CALLGRIND)
        long = {where: 3 * n for where, n in short.items()}
        kinds, functions = counts.per_io(short, long, "load_lunette", 2)
        self.assertEqual(kinds, {"load": 123, "other": 212, "copy": 77, "crc": 33})
        self.assertEqual(functions["/lib/libisal.so.2", "crc32_iscsi_by8_02"], 33)

    def test_strace(self):
        text = ("% time     seconds  usecs/call     calls    errors syscall\n"
                "------ ----------- ----------- --------- --------- ------------------\n"
                " 30.52    0.003000          14       204           recvmsg\n"
                "  1.19    0.000117          13         9         3 close\n"
                "------ ----------- ----------- --------- --------- ------------------\n"
                "100.00    0.009829          12       213         3 total\n")
        with tempfile.NamedTemporaryFile("w", encoding="ascii") as f:
            f.write(text)
            f.flush()
            self.assertEqual(counts.strace_total(f.name), {"recvmsg": 204, "close": 9})


def result(cpu_us):
    keys = [key for _, key, _ in report.FIGURES]
    return {**dict.fromkeys(keys, 1.0), "cpu_us": cpu_us, "engine": "epoll", "foreign_percent": 0}


class Pages(unittest.TestCase):
    def setUp(self):
        measured = [{OURS: result(1), THEIRS: result(8)}, {OURS: result(3), THEIRS: result(8)}]
        verdicts = [goals.judge(g, goals.values_of(g, measured))
                    for g in (ratio(0.25), ratio(0.2), ratio(None))]
        args = types.SimpleNamespace(rounds=2, secs=1)
        machine = {"cpu": "a CPU", "cpus": 2, "kernel": "6", "congestion_control": "reno"}
        runs = [{"run": vars(r), "result": x} for m in measured for r, x in m.items()]
        self.report = report.Report(args, machine, verdicts, measured, [], {}, None, [], runs)

    def test_both_verdicts_are_told(self):
        text = self.report.markdown()
        self.assertIn("| 0.250 | 0.188 – 0.312 | at most 0.250 | met |", text)
        self.assertIn("| at most 0.200 | missed |", text)
        self.assertIn("| 0.250 | 0.188 – 0.312 |\n", text.split("### Shown")[1])

    def test_the_page_has_a_line_for_each_workload(self):
        text = self.report.page()
        self.assertIn("| 4 KiB read, 32 | 2.00 |  | 8.00 | 1 |  | 1 | 1.0 | 1.000 |", text)
        self.assertIn("/ sockets | 0.250 | 0.188–0.312 | ≤ 0.25 |", text)

    def test_only_what_is_between_the_markers_changes(self):
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "page.md")
            for _ in range(2):
                if not os.path.exists(path):
                    with open(path, "w", encoding="utf-8") as f:
                        f.write(f"# before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
                self.report.update(path)
                with open(path, encoding="utf-8") as f:
                    text = f.read()
                self.assertTrue(text.startswith(f"# before\n{report.BEGIN}\n\n2 CPUs"))
                self.assertTrue(text.endswith(f"{report.END}\nafter\n"))
                self.assertNotIn("old", text)

    def test_a_page_without_markers_is_left_alone(self):
        with tempfile.NamedTemporaryFile("w", encoding="utf-8") as f:
            f.write("nothing")
            f.flush()
            self.assertRaises(RuntimeError, self.report.update, f.name)


if __name__ == "__main__":
    unittest.main()
