# SPDX-License-Identifier: MIT
"""The goals of the I/O path as data, and how a measurement is held against them.

A run is one program that keeps a load up for a second or so.  A goal is a figure of one run, or
its ratio to the figure of another run of the same round, with a bound.  What is claimed is the
median over the rounds.
"""
import dataclasses
import statistics

SPIN_US = 100  # busy polling of ours, where it is on
LOWAT = 262144  # of the bare sockets' large reads: without it they are slower
SESSIONS = 10000  # that are idle in one process

AT_MOST, AT_LEAST = "at most", "at least"
LIMIT = "the limit"  # the note of what the bare sockets reach


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
        return {"none": [], "header": ["header_digest=crc32c"],
                "both": ["header_digest=crc32c", "data_digest=crc32c"]}[self.digest]

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
        return out + (f" ({', '.join(extra)})" if extra else "")

    def name(self):
        return f"{self.who()} / {self.target} / {self.workload()}"


def size_text(n):
    return f"{n >> 20} MiB" if n >= 1 << 20 else f"{n >> 10} KiB"


@dataclasses.dataclass(frozen=True)
class Goal:
    """A figure of run, divided by that of against where there is one."""

    row: str  # the row of the table of requirements that it belongs to
    figure: str  # a key of a result
    run: Run = None
    against: Run = None
    bound: float = 0.0
    sense: str = AT_MOST
    decides: bool = True  # False: measured and shown, but not a goal
    kind: str = "timed"  # timed, counted, scale
    note: str = ""

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


def limit(row, figure, theirs):
    """What the bare sockets have of libiscsi's: whoever does iSCSI does not go below."""
    ours = dataclasses.replace(theirs, load="sockets", target="-", engine="epoll")
    return Goal(row, figure, ours, theirs, 0, decides=False, note=LIMIT)


def cpu_goals(op, bounds):
    row = f"4 KiB random {op}, depth 32 and 128"
    for depth, bound in bounds.items():
        ours = small("lunette", op, depth)
        yield Goal(row, "cpu_us", ours, small("libiscsi", op, depth), bound)
        yield Goal(row, "cpu_us", ours, small("sockets", op, depth), 1.6)
        yield limit(row, "cpu_us", small("libiscsi", op, depth))
    yield Goal(row, "cpu_us", small("lunette", op, 32, spin_us=SPIN_US), small("libiscsi", op, 32),
               decides=False, note="to compare")


def awake_goals():
    """Where neither end sleeps: what is left is the work, without what halting a CPU costs."""
    row = "4 KiB read and write, depth 8 and 32, neither end sleeps"
    for op, depth, bound in (("read", 8, 0.6), ("read", 32, 1 / 4), ("write", 32, 1 / 5)):
        ours = small("lunette", op, depth, "null-awake", spin_us=SPIN_US)
        yield Goal(row, "cpu_us", ours, small("libiscsi", op, depth, "null-awake"), bound)
        yield Goal(row, "cpu_us", ours, small("sockets", op, depth, engine="spin", peer_engine="spin"),
                   decides=False, note="to compare")


def latency_goals():
    row = "4 KiB read and write, depth 1"
    for op in ("read", "write"):
        ours, spinning = small("lunette", op, 1), small("lunette", op, 1, spin_us=SPIN_US)
        yield Goal(row, "mean_us", ours, small("sockets", op, 1), 1.15)
        yield Goal(row, "mean_us", spinning, small("sockets", op, 1, engine="spin"), 1.2)
        yield Goal(row, "mean_us", spinning, small("libiscsi", op, 1), 0.5)


def bandwidth_goals():
    row = "128 KiB and 1 MiB read and write, depth 8"
    for bs, bound in ((128 << 10, 1.4), (1 << 20, 1.15)):
        for op in ("read", "write"):
            ours = large("lunette", op, bs)
            yield Goal(row, "mb_per_s", ours, large("sockets", op, bs), 0.9, AT_LEAST)
            if op == "write":
                theirs = large("libiscsi", op, bs)
                yield Goal(row, "mb_per_s", ours, theirs, bound, AT_LEAST)
                yield limit(row, "mb_per_s", theirs)


def zero_copy_goals():
    row = "128 KiB and 1 MiB write with zero_copy, depth 8"
    for bs, bound in ((128 << 10, 1.4), (1 << 20, 1.15)):
        ours = large("lunette", "write", bs, zero_copy=True)
        yield Goal(row, "mb_per_s", ours, large("sockets", "write", bs), 0.9, AT_LEAST)
        yield Goal(row, "mb_per_s", ours, large("libiscsi", "write", bs), bound, AT_LEAST)


def digest_goals():
    """Where the digest code of the bare target is the limit, lunette-target decides."""
    for op in ("read", "write"):
        for target in ("null", "lunette-null"):
            yield Goal("header and data digest on, 4 KiB, depth 32", "cpu_us",
                       small("lunette", op, 32, target, digest="both"),
                       small("lunette", op, 32, target), 1.25)
    for op in ("read", "write"):
        for target, decides in (("lunette-null", True), ("null", False)):
            yield Goal("header and data digest on, 1 MiB", "mb_per_s",
                       large("lunette", op, 1 << 20, target, digest="both"),
                       large("lunette", op, 1 << 20, target), 0.8, AT_LEAST, decides,
                       note="" if decides else "that target's own CRC is the limit")


def counted_goals():
    for op in ("read", "write"):
        yield Goal("user-space instructions per 4 KiB read and write, depth 32", "instructions",
                   small("lunette", op, 32), None, 500, kind="counted")
        yield Goal("user-space instructions per 4 KiB read and write, depth 32", "instructions",
                   small("libiscsi", op, 32), None, 0, decides=False, kind="counted",
                   note="to compare")
    for depth, bound in ((32, 0.3), (128, 0.1)):
        for op in ("read", "write"):
            yield Goal("system calls per I/O", "syscalls", small("lunette", op, depth), None, bound)


def target_goals():
    row = "lunette-target against tgtd, libiscsi's client as load, 4 KiB, depth 32"
    for unit in ("null", "ram"):
        for op in ("read", "write"):
            yield Goal(row, "target_cpu_us", small("libiscsi", op, 32, f"lunette-{unit}"),
                       small("libiscsi", op, 32, f"tgtd-{unit}"), 1 / 3)


def scale_goals():
    row = "10,000 logged-in idle sessions in one process"
    for figure, bound, sense in (("rss_kib_per_session", 32, AT_MOST),
                                 ("idle_cpu_percent", 1, AT_MOST),
                                 ("logins_per_second", 2000, AT_LEAST)):
        yield Goal(row, figure, None, None, bound, sense, kind="scale")


def all_goals():
    out = list(cpu_goals("read", {32: 1 / 4, 128: 1 / 6}))
    out += cpu_goals("write", {32: 1 / 5, 128: 1 / 5})
    out += awake_goals()
    out += latency_goals()
    row, theirs = "4 KiB read, depth 8", small("libiscsi", "read", 8)
    out.append(Goal(row, "cpu_us", small("lunette", "read", 8), theirs, 0.6))
    out.append(Goal(row, "cpu_us", small("lunette", "read", 8, spin_us=SPIN_US), theirs, 0.6))
    out.append(limit(row, "cpu_us", theirs))
    out += bandwidth_goals()
    out += zero_copy_goals()
    out += digest_goals()
    out += counted_goals()
    out += target_goals()
    out += scale_goals()
    return out


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
    met: bool = None  # None: not measured
    limited: bool = False  # missed, and the bare sockets miss it in the same run

    def text(self):
        if self.met is None:
            return "not measured"
        if not self.goal.decides:
            return "shown"
        if self.limited:
            return "missed, as by bare sockets"
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
    v.met = within(goal, v.median)
    return v


def mark_limited(verdicts):
    """A bound that is missed stays missed; but where the bare sockets miss it, too, the verdict says so."""
    limits = {(v.goal.figure, v.goal.against): v.median for v in verdicts
              if v.goal.note == LIMIT and v.median is not None}
    for v in verdicts:
        theirs = limits.get((v.goal.figure, v.goal.against))
        if v.met is False and v.goal.decides and theirs is not None:
            v.limited = not within(v.goal, theirs)


def all_met(verdicts):
    """A goal that was not measured is not met."""
    return all(v.met for v in verdicts if v.goal.decides)
