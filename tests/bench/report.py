# SPDX-License-Identifier: MIT
"""Tables and JSON of what was measured."""
import dataclasses
import json
import statistics

import goals

BEGIN, END = "<!-- begin: make bench -->", "<!-- end: make bench -->"

SHORT = {"cpu_us": "CPU", "mean_us": "latency", "mb_per_s": "bandwidth", "syscalls": "calls",
         "instructions": "instructions"}  # for the page
FIGURES = [  # heading, key, digits
    ("IOPS", "iops", 0),
    ("MB/s", "mb_per_s", 0),
    ("mean µs", "mean_us", 1),
    ("p50", "p50_us", 1),
    ("p99", "p99_us", 1),
    ("p99.9", "p999_us", 1),
    ("CPU µs per I/O", "cpu_us", 2),
    ("user", "user_us", 2),
    ("system", "system_us", 2),
    ("system calls", "syscalls", 3),
    ("target's CPU µs", "target_cpu_us", 2),
]


def what(goal):
    """What a goal compares, in words."""
    figure = goals.FIGURES[goal.figure]
    if goal.run is None:
        return figure
    text = f"{goal.run.workload()}: {figure} of {goal.run.who()}"
    if goal.run.target not in ("null", "-") and goal.figure != "target_cpu_us":
        text += f" (target: {goal.run.target})"
    if goal.figure == "target_cpu_us":
        text = f"{goal.run.workload()}: {figure}, {goal.run.target}"
        return text + f" / {goal.against.target}"
    if goal.against:
        other = goal.against
        text += f" / {other.who()}" if other.who() != goal.run.who() else f" / {other.name()}"
    return text + (f"; {goal.note}" if goal.note not in ("", goals.MACHINE) else "")


def number(x, digits=None):
    if x is None:
        return ""
    if digits is None:
        digits = 0 if abs(x) >= 1000 else 1 if abs(x) >= 100 else 3
    return f"{x:,.{digits}f}"


def table(head, rows, right=()):
    line = "|" + "|".join("---:" if i in right else "---" for i in range(len(head))) + "|"
    body = ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(["| " + " | ".join(head) + " |", line, *body])


def put_between(path, begin, end, text):
    """Puts text between two markers of a page."""
    with open(path, encoding="utf-8") as f:
        before, found, rest = f.read().partition(begin)
        _, found_end, after = rest.partition(end)
    if not found or not found_end:
        raise RuntimeError(f"{path} has no {begin} and {end}")
    with open(path, "w", encoding="utf-8") as f:
        f.write(f"{before}{begin}\n\n{text}\n{end}{after}")


@dataclasses.dataclass
class Report:
    args: object
    machine: dict
    verdicts: list
    rounds: list
    matrix_rounds: list
    counted: dict
    scale: dict
    verified: list
    runs: list

    # ---- tables --------------------------------------------------------------------------------

    def verdict_table(self, judged):
        rows, last = [], None
        for v in self.verdicts:
            g = v.goal
            if g.judged != judged:
                continue
            spread = f"{number(v.low)} – {number(v.high)}" if len(v.values) > 1 else ""
            row = [g.row if g.row != last else "", what(g), number(v.median), spread]
            rows.append(row + [f"{g.sense} {number(g.bound)}", v.text()] if judged else row)
            last = g.row
        return table(["workload", "figure", "median", "quartiles"] + (["bound", ""] if judged else []),
                     rows, right=(2, 3))

    def medians(self, rounds):
        """By run, the median of each figure over the rounds."""
        out = {}
        for run in dict.fromkeys(r for results in rounds for r in results):
            mine = [results[run] for results in rounds if run in results]
            out[run] = {"engine": mine[0]["engine"], "runs": len(mine)}
            for _, key, _ in FIGURES:
                values = [m[key] for m in mine if m[key] is not None]
                out[run][key] = statistics.median(values) if values else None
            out[run]["foreign_percent"] = max(m["foreign_percent"] for m in mine)
        return out

    def figure_table(self, rounds):
        rows = []
        medians = self.medians(rounds)
        for run in sorted(medians, key=lambda r: (r.bs, r.depth, r.op, r.target, r.sessions)):
            m = medians[run]
            if m["syscalls"] is None and run in self.counted:
                m["syscalls"] = self.counted[run]["syscalls_strace"]
            rows.append([run.workload(), run.who(), "" if run.target == "-" else run.target,
                         *(number(m[key], digits) for _, key, digits in FIGURES)])
        return table(["workload", "initiator", "target", *(h for h, _, _ in FIGURES)], rows,
                     right=range(3, 3 + len(FIGURES)))

    def count_table(self):
        rows = []
        for run, c in self.counted.items():
            k = c["kinds"]
            own = number(c["syscalls_own"]) if c["syscalls_own"] is not None else ""
            rows.append([run.workload(), run.who(), c["engine"], number(c["instructions"], 0),
                         number(k["other"], 0), number(k["load"], 0), number(k["copy"], 0),
                         number(k["crc"], 0), number(c["syscalls_strace"]), own])
        return table(["workload", "initiator", "engine", "instructions", "of these the library's",
                      "the load's", "besides: memcpy", "CRC", "system calls (strace)",
                      "as the library counts them"], rows, right=range(3, 10))

    def markdown(self):
        m = self.machine
        engines = sorted({r["result"]["engine"] for r in self.runs if r["run"]["load"] == "lunette"})
        text = f"{m['cpus']} CPUs, {m['cpu']}, Linux {m['kernel']}, {m['congestion_control']}"
        if self.runs:
            text += f"; {len(self.rounds)} rounds, each run {self.args.secs} s"
        if engines:
            text += f"; lunette on {', '.join(engines)}"
        compared = sum(x["compared"] for x in self.verified)
        text += f". Compared before: the data of {compared:,} reads." if compared else "."
        parts = [text, "### Judged", self.verdict_table(True)]
        if any(not v.goal.judged for v in self.verdicts):
            parts += ["### Shown, as it depends on the machine", self.verdict_table(False)]
        if self.counted:
            parts += ["### Counts per I/O", self.count_table()]
        if self.rounds and any(self.rounds):
            parts += ["### Medians", self.figure_table(self.rounds)]
        if self.matrix_rounds:
            parts += ["### The whole matrix", self.figure_table(self.matrix_rounds)]
        return "\n\n".join(parts) + "\n"

    def cost_table(self):
        """One line for each workload: lunette as it is without options, and the others."""
        medians = self.medians(self.rounds)

        def like(run, load):
            target = "-" if load == "sockets" else "null"
            engine = "epoll" if load == "sockets" else run.engine if load == "lunette" else "auto"
            return dataclasses.replace(run, load=load, target=target, engine=engine)

        rows = []
        plain = [r for r in medians if r.load == "lunette" and r.target == "null" and r.digest == "none"
                 and not r.spin_us and not r.zero_copy and r.sessions == 1 and r.connections == 1]
        for run in sorted(plain, key=lambda r: (r.bs, r.depth, r.op)):
            three = [medians.get(like(run, load)) for load in ("lunette", "sockets", "libiscsi")]
            row = [f"{goals.size_text(run.bs)} {run.op}, {run.depth}"]
            for key, digits in (("cpu_us", 2), ("iops", 0)):
                row += [number(m[key], digits) if m else "" for m in three]
            rows.append(row + [number(three[0]["mean_us"], 1), number(three[0]["syscalls"])])
        return table(["I/O, depth", "CPU µs", "sockets", "libiscsi", "IOPS", "sockets", "libiscsi",
                      "latency µs", "calls"], rows, right=range(1, 9))

    def ratio_table(self):
        """What is judged, as short as can be."""
        rows = []
        for v in (v for v in self.verdicts if v.goal.judged):
            g = v.goal
            text = goals.FIGURES[g.figure] if g.run is None else \
                f"{goals.size_text(g.run.bs)} {g.run.op}, {g.run.depth}: {SHORT[g.figure]}"
            if g.run is not None and g.run.connections != 1:
                text += f", {g.run.connections} connections / 1"
            elif g.against is not None:
                text += " / sockets"
            spread = f"{number(v.low)}–{number(v.high)}" if len(v.values) > 1 else ""
            rows.append([text, number(v.median), spread, f"{'≤' if g.sense == goals.AT_MOST else '≥'} {g.bound:g}"])
        return table(["judged", "median", "quartiles", "bound"], rows, right=(1, 2, 3))

    def page(self):
        m = self.machine
        text = (f"{m['cpus']} CPUs, {m['cpu']}, Linux {m['kernel']}, {m['congestion_control']}; "
                f"{len(self.rounds)} rounds, each run {self.args.secs} s.")
        return "\n\n".join([text, self.cost_table(), self.ratio_table()]) + "\n"

    def update(self, path):
        """Puts the short tables into a page."""
        put_between(path, BEGIN, END, self.page())

    # ---- JSON ----------------------------------------------------------------------------------

    def as_json(self):
        return {
            "machine": self.machine,
            "options": vars(self.args),
            "goals": [self.verdict_json(v) for v in self.verdicts],
            "counts": [{"run": vars(run), "name": run.name(), **c} for run, c in self.counted.items()],
            "scale": self.scale,
            "verified": self.verified,
            "medians": [{"run": vars(run), "name": run.name(), **m}
                        for rounds in (self.rounds, self.matrix_rounds)
                        for run, m in self.medians(rounds).items()],
            "runs": self.runs,
        }

    @staticmethod
    def verdict_json(v):
        g = v.goal
        return {"row": g.row, "what": what(g), "figure": g.figure, "kind": g.kind,
                "judged": g.judged, "run": vars(g.run) if g.run else None,
                "against": vars(g.against) if g.against else None, "sense": g.sense, "bound": g.bound,
                "median": v.median, "quartiles": [v.low, v.high], "values": v.values,
                "met": v.met, "verdict": v.text()}

    def write_json(self, path):
        with open(path, "w", encoding="utf-8") as f:
            json.dump(self.as_json(), f, indent=1)
            f.write("\n")
