# SPDX-License-Identifier: MIT
"""The rows of the benchmark as data, and how a measurement is held against their bounds.

A run is one program that keeps a load up for a second or so.  A goal is a figure of one run, or
its ratio to the figure of another run of the same round.  What is claimed is the median over the
rounds.

Judged, against a bound, is what does not depend on the machine: ratios to bare sockets of the same
round, counts, and memory.  Shown beside it, and never judged, is what depends on what a sleep, a
copy or a CRC costs on a machine: everything against libiscsi or tgtd, busy polling, zero copy, digests.
"""
import dataclasses
import statistics

SPIN_US = 100  # busy polling of ours, where it is on
LOWAT = 262144  # of the bare sockets' large reads: without it they are slower
SESSIONS = 10000  # that are idle in one process
MACHINE = "depends on the machine"

AT_MOST, AT_LEAST = "at most", "at least"

# Bounds of ratios to bare sockets.  The tables of docs/performance.md are of a quiet machine, where
# the worst quartile of CPU is 1.10, of latency 1.05, of bandwidth 0.95; in three short rounds on a
# busy one CPU had 1.18 (1.22 at depth 128, where an I/O is cheap and our share of it largest) and
# latency 1.11.  What is beyond these bounds is no noise.
CPU_BOUND = {8: 1.2, 32: 1.2, 128: 1.3}
LATENCY_BOUND, BANDWIDTH_BOUND = 1.15, 0.9
# A turn is a wait, a receive and a send: three calls for all that is under way, 0.094 at depth 32.
# Twice that is what a target brings about that answers in two pieces.
CALLS_BOUND = {32: 0.2, 128: 0.1}
INSTRUCTIONS_BOUND = 500  # 487 to 495 are counted
CONNECTIONS_BOUND = 1.15
RSS_BOUND_KIB = 12  # 10.3 are counted


@dataclasses.dataclass(frozen=True)
class Run:
    """What one program does."""

    load: str  # lunette, libiscsi, sockets
    target: str  # see targets.py; "-" for the bare sockets, which bring their own
    op: str  # read, write
    bs: int
    depth: int
    random: bool = False
    digest: str = "none"  # none, header, both
    sessions: int = 1
    engine: str = "auto"  # lunette: auto, epoll, uring; sockets: also spin
    peer_engine: str = "epoll"  # sockets: of the other end
    spin_us: int = 0
    zero_copy: bool = False  # lunette: data of writes is lent to the system
    connections: int = 1  # lunette: of each session

    def options(self):
        """The command line, without the URL."""
        out = ["--op", self.op, "--bs", str(self.bs), "--depth", str(self.depth)]
        out += ["--sessions", str(self.sessions)] if self.sessions != 1 else []
        out += ["--random"] if self.random else []
        out += ["--engine", self.engine] if self.load != "libiscsi" else []
        out += ["--spin-us", str(self.spin_us)] if self.spin_us else []
        out += ["--zero-copy"] if self.zero_copy else []
        out += ["--peer-engine", self.peer_engine] if self.peer_engine != "epoll" else []
        if self.load == "sockets" and self.op == "read" and self.bs >= 128 << 10:
            out += ["--lowat", str(LOWAT)]
        return out

    def url_keys(self):
        keys = {"none": [], "header": ["header_digest=crc32c"],
                "both": ["header_digest=crc32c", "data_digest=crc32c"]}[self.digest]
        return keys + ([f"nr_connections={self.connections}"] if self.connections != 1 else [])

    def workload(self):
        text = f"{size_text(self.bs)} {'random' if self.random else 'sequential'} {self.op}"
        return f"{text}, depth {self.depth}"

    def who(self):
        out = {"lunette": "lunette", "libiscsi": "libiscsi", "sockets": "bare sockets"}[self.load]
        extra = []
        if self.engine not in ("auto", "epoll") or (self.load == "lunette" and self.engine == "epoll"):
            extra.append({"spin": "spinning"}.get(self.engine, self.engine))
        if self.peer_engine != "epoll":
            extra.append("both ends")
        if self.spin_us:
            extra.append("busy polling")
        if self.zero_copy:
            extra.append("zero-copy")
        if self.digest != "none":
            extra.append({"header": "header digest", "both": "both digests"}[self.digest])
        if self.sessions != 1:
            extra.append(f"{self.sessions} sessions")
        if self.connections != 1:
            extra.append(f"{self.connections} connections")
        return out + (f" ({', '.join(extra)})" if extra else "")

    def name(self):
        return f"{self.who()} / {self.target} / {self.workload()}"


def size_text(n):
    return f"{n >> 20} MiB" if n >= 1 << 20 else f"{n >> 10} KiB"


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure of run, divided by that of against where there is one.

    A bound makes it one that is judged; the others are shown, and their note says why."""

    row: str  # the row of the table of requirements that it belongs to
    figure: str  # a key of a result
    run: Run = None
    against: Run = None
    bound: float = None
    sense: str = AT_MOST
    kind: str = "timed"  # timed, counted, scale
    note: str = ""
    quick: bool = False  # part of BENCH=quick; all that are judged are

    @property
    def judged(self):
        return self.bound is not None

    def key(self):
        """For BENCH_ONLY."""
        parts = [self.row, self.figure]
        for run in (self.run, self.against):
            if run:
                parts.append(run.name())
        return " | ".join(parts)


FIGURES = {
    "cpu_us": "CPU per I/O",
    "mean_us": "mean latency",
    "mb_per_s": "bandwidth",
    "syscalls": "system calls per I/O",
    "target_cpu_us": "target's CPU per I/O",
    "instructions": "instructions per I/O outside memcpy and CRC",
    "rss_kib_per_session": "KiB resident per session",
    "idle_cpu_percent": "% of one core while idle",
    "logins_per_second": "logins per second",
}


def small(load, op, depth, target="null", **more):
    if load == "sockets":
        target, more = "-", {"engine": "epoll", **more}
    return Run(load, target, op, 4096, depth, random=True, **more)


def large(load, op, bs, target="null", **more):
    if load == "sockets":
        target, more = "-", {"engine": "epoll", **more}
    return Run(load, target, op, bs, 8, **more)


def to_sockets(row, figure, ours, bound, sense=AT_MOST):
    theirs = dataclasses.replace(ours, load="sockets", target="-", engine="epoll")
    return Goal(row, figure, ours, theirs, bound, sense)


def to_libiscsi(row, figure, ours, quick=False):
    """Beside libiscsi, and what bare sockets have of libiscsi's: whoever does iSCSI on this machine
    hardly gets beyond."""
    theirs = dataclasses.replace(ours, load="libiscsi")
    sockets = dataclasses.replace(ours, load="sockets", target="-", engine="epoll")
    yield Goal(row, figure, ours, theirs, note=MACHINE, quick=quick)
    yield Goal(row, figure, sockets, theirs, note=MACHINE, quick=quick)


def cpu_goals(op):
    row = f"4 KiB random {op}: CPU"
    for depth, bound in CPU_BOUND.items():
        yield to_sockets(row, "cpu_us", small("lunette", op, depth), bound)
    for depth in CPU_BOUND:
        yield from to_libiscsi(row, "cpu_us", small("lunette", op, depth), quick=depth == 32)


def latency_goals():
    row = "4 KiB, depth 1: latency"
    for op in ("read", "write"):
        yield to_sockets(row, "mean_us", small("lunette", op, 1), LATENCY_BOUND)


def bandwidth_goals():
    row = "128 KiB and 1 MiB, depth 8: bandwidth"
    for bs in (128 << 10, 1 << 20):
        for op in ("read", "write"):
            yield to_sockets(row, "mb_per_s", large("lunette", op, bs), BANDWIDTH_BOUND, AT_LEAST)
    for bs in (128 << 10, 1 << 20):
        yield from to_libiscsi(row, "mb_per_s", large("lunette", "write", bs))


def counted_goals():
    row = "user-space instructions, 4 KiB, depth 32"
    for op in ("read", "write"):
        yield Goal(row, "instructions", small("lunette", op, 32), None, INSTRUCTIONS_BOUND, kind="counted")
        yield Goal(row, "instructions", small("libiscsi", op, 32), None, kind="counted", note="to compare")
    for depth, bound in CALLS_BOUND.items():
        for op in ("read", "write"):
            yield Goal("system calls per I/O", "syscalls", small("lunette", op, depth), None, bound)


def scale_goals():
    row = f"{SESSIONS:,} logged-in idle sessions in one process"
    yield Goal(row, "rss_kib_per_session", bound=RSS_BOUND_KIB, kind="scale")
    yield Goal(row, "idle_cpu_percent", kind="scale", note=MACHINE)
    yield Goal(row, "logins_per_second", kind="scale", note=MACHINE)


def connections_goals():
    """Two connections of a session beside one, at a target that has both.

    At 1 MiB what is under way in two sockets leaves the CPU's own cache, as with bare sockets."""
    row = "two connections against one"
    for op in ("read", "write"):
        one = small("lunette", op, 32, "lunette-null")
        yield Goal(row, "cpu_us", dataclasses.replace(one, connections=2), one, CONNECTIONS_BOUND)
    for op in ("read", "write"):
        one = large("lunette", op, 1 << 20, "lunette-null")
        yield Goal(row, "mb_per_s", dataclasses.replace(one, connections=2), one, note=MACHINE)
        one = large("sockets", op, 1 << 20)
        yield Goal(row, "mb_per_s", dataclasses.replace(one, sessions=2, depth=4), one, note=MACHINE)


def polling_goals():
    """Busy polling of ours, against who sleeps, who spins, and a target that never sleeps."""
    row = "busy polling"
    for op in ("read", "write"):
        ours = small("lunette", op, 1, spin_us=SPIN_US)
        for theirs in (small("sockets", op, 1, engine="spin"), small("libiscsi", op, 1)):
            yield Goal(row, "mean_us", ours, theirs, note=MACHINE)
    for op, depth in (("read", 8), ("read", 32), ("write", 32)):
        yield Goal(row, "cpu_us", small("lunette", op, depth, spin_us=SPIN_US),
                   small("libiscsi", op, depth), note=MACHINE)
    row = "busy polling, and a target that does not sleep"
    for op, depth in (("read", 8), ("read", 32), ("write", 32)):
        ours = small("lunette", op, depth, "null-awake", spin_us=SPIN_US)
        for theirs in (small("sockets", op, depth, engine="spin", peer_engine="spin"),
                       small("libiscsi", op, depth, "null-awake")):
            yield Goal(row, "cpu_us", ours, theirs, note=MACHINE)


def zero_copy_goals():
    row = "writes with zero_copy, depth 8"
    for bs in (128 << 10, 1 << 20):
        ours = large("lunette", "write", bs, zero_copy=True)
        for theirs in ("sockets", "libiscsi"):
            yield Goal(row, "mb_per_s", ours, large(theirs, "write", bs), note=MACHINE)


def digest_goals():
    row = "header and data digest against none"
    for op in ("read", "write"):
        for target in ("null", "lunette-null"):
            yield Goal(row, "cpu_us", small("lunette", op, 32, target, digest="both"),
                       small("lunette", op, 32, target), note=MACHINE)
    for op in ("read", "write"):
        for target, note in (("lunette-null", MACHINE), ("null", "that target's own CRC is the limit")):
            yield Goal(row, "mb_per_s", large("lunette", op, 1 << 20, target, digest="both"),
                       large("lunette", op, 1 << 20, target), note=note)


def target_goals():
    row = "lunette-target against tgtd, libiscsi as load, 4 KiB, depth 32"
    for unit in ("null", "ram"):
        for op in ("read", "write"):
            yield Goal(row, "target_cpu_us", small("libiscsi", op, 32, f"lunette-{unit}"),
                       small("libiscsi", op, 32, f"tgtd-{unit}"), note=MACHINE)


def all_goals():
    """Those that are judged come first."""
    out = [*cpu_goals("read"), *cpu_goals("write"), *latency_goals(), *bandwidth_goals(),
           *connections_goals(), *counted_goals(), *scale_goals(), *polling_goals(), *zero_copy_goals(),
           *digest_goals(), *target_goals()]
    return [g for g in out if g.judged] + [g for g in out if not g.judged]


def quick_goals():
    return [g for g in all_goals() if g.judged or g.quick]


def with_engine(goal, engine):
    """The same goal, with lunette on that engine."""
    def on(run):
        ours = run is not None and run.load == "lunette" and engine != "auto"
        return dataclasses.replace(run, engine=engine) if ours else run
    return dataclasses.replace(goal, run=on(goal.run), against=on(goal.against))


# ---- the whole matrix --------------------------------------------------------------------------

WORKLOADS = [(4096, depth, True) for depth in (1, 8, 32, 128)] + [(128 << 10, 8, False), (1 << 20, 8, False)]
OTHER_TARGETS = ("lunette-null", "lunette-ram", "tgtd-null", "tgtd-ram", "istgt-ram")


def matrix():
    """Groups of runs whose rounds are interleaved: all that do the same work."""
    for bs, depth, random in WORKLOADS:
        for op in ("read", "write"):
            for sessions in (1, 2, 4):
                yield list(against_null(op, bs, depth, random, sessions))
            for target in OTHER_TARGETS:
                yield list(against_other(target, op, bs, depth, random))


def against_null(op, bs, depth, random, sessions):
    work = dict(op=op, bs=bs, depth=depth, random=random, sessions=sessions)
    for engine in ("epoll", "spin", "uring"):
        yield Run("sockets", "-", engine=engine, **work)
    for digest in ("none", "header"):
        yield Run("libiscsi", "null", digest=digest, **work)
    for digest in ("none", "header", "both"):
        for engine in ("epoll", "uring"):
            for spin_us in (0, SPIN_US):
                yield Run("lunette", "null", digest=digest, engine=engine, spin_us=spin_us, **work)


def against_other(target, op, bs, depth, random):
    work = dict(op=op, bs=bs, depth=depth, random=random)
    for digest in ("none", "header"):
        yield Run("libiscsi", target, digest=digest, **work)
    for digest in ("none", "header", "both"):
        yield Run("lunette", target, digest=digest, **work)
    for sessions in (2, 4):
        for load in ("libiscsi", "lunette"):
            yield Run(load, target, sessions=sessions, **work)


# ---- groups ------------------------------------------------------------------------------------


def cell(run):
    """Runs of one cell are in one round: all initiators of a workload against the bare target or
    without one, or what has to do with another target."""
    return run.workload(), run.target if run.target not in ("null", "-") else "null"


def groups_of(goals):
    """The runs of the timed goals, those of a cell and those that are compared together."""
    groups = []
    for goal in goals:
        if goal.kind != "timed":
            continue
        runs = [r for r in (goal.run, goal.against) if r]
        cells = {cell(r) for r in runs}
        mine = [g for g in groups if any(cell(r) in cells for r in g)]
        merged = [r for g in mine for r in g]
        merged += [r for r in runs if r not in merged]
        groups = [g for g in groups if g not in mine] + [merged]
    return groups


# ---- verdicts ----------------------------------------------------------------------------------


@dataclasses.dataclass
class Verdict:
    goal: Goal
    values: list  # one of each round
    median: float = None
    low: float = None
    high: float = None
    met: bool = None  # None: not measured, or not judged

    def text(self):
        if self.median is None:
            return "not measured"
        if not self.goal.judged:
            return "shown"
        return "met" if self.met else "missed"


def values_of(goal, rounds):
    """rounds: for each round, the result of each run."""
    out = []
    for results in rounds:
        mine = results.get(goal.run)
        other = results.get(goal.against) if goal.against else None
        if mine is None or mine.get(goal.figure) is None:
            continue
        if goal.against is None:
            out.append(mine[goal.figure])
        elif other is not None and other.get(goal.figure):
            out.append(mine[goal.figure] / other[goal.figure])
    return out


def within(goal, value):
    return value <= goal.bound if goal.sense == AT_MOST else value >= goal.bound


def judge(goal, values):
    """The median decides, unrounded; the spread is from the first to the third quartile."""
    v = Verdict(goal, list(values))
    if not values:
        return v
    v.median = statistics.median(values)
    quartiles = statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [v.median] * 3
    v.low, v.high = quartiles[0], quartiles[2]
    if goal.judged:
        v.met = within(goal, v.median)
    return v


def all_met(verdicts):
    """A goal that was not measured is not met."""
    return all(v.met for v in verdicts if v.goal.judged)
