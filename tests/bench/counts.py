# SPDX-License-Identifier: MIT
"""Counts that noise does not touch: instructions by callgrind, system calls by strace.

Each is the difference of two runs of different length, so that what a start and a login cost
cancels out.
"""
import os
import re
import subprocess

import loads

SHORT, LONG = 2000, 42000
COPY = re.compile(r"^(_*mem(cpy|move|pcpy))")
CRC = re.compile(r"crc32")
KINDS = ("copy", "crc", "load", "other")


class Names:
    """Callgrind writes a name once, "(3) name", and then "(3)"."""

    def __init__(self):
        self.known = {}

    def get(self, text):
        number, _, name = text.strip().partition(" ")
        if not number.startswith("("):
            return text.strip()
        if name:
            self.known[number] = name
        return self.known[number]


def self_costs(path):
    """Instructions by (object, function), without those of functions called."""
    objects, functions = Names(), Names()
    obj = fn = ""
    out, skip = {}, False
    with open(path, encoding="utf-8", errors="replace") as f:
        for line in f:
            key, eq, value = line.rstrip("\n").partition("=")
            if eq and key == "ob":
                obj = objects.get(value)
            elif eq and key == "fn":
                fn = functions.get(value)
            elif eq and key == "cob":
                objects.get(value)
            elif eq and key == "cfn":
                functions.get(value)
            elif eq and key == "calls":
                skip = True  # the next line is the cost of the callee
            elif line[0] in "0123456789+-*":
                if not skip:
                    words = line.split()
                    out[obj, fn] = out.get((obj, fn), 0) + (int(words[1]) if len(words) > 1 else 0)
                skip = False
    return out


def kind_of(obj, fn, program):
    if COPY.match(fn):
        return "copy"
    if CRC.search(fn):
        return "crc"
    return "load" if os.path.basename(obj) == program else "other"


def per_io(short, long, program, ios):
    """Instructions per I/O, by kind and by function."""
    kinds = dict.fromkeys(KINDS, 0.0)
    functions = {}
    for where in set(short) | set(long):
        n = (long.get(where, 0) - short.get(where, 0)) / ios
        kinds[kind_of(*where, program)] += n
        functions[where] = n
    return kinds, functions


def instructions(bench, run, times=9):
    """What one I/O costs in user space: the median of several, since it depends a little on where
    the target happens to end its sends."""
    found = sorted((one_count(bench, run) for _ in range(times)), key=lambda x: x["instructions"])
    return found[times // 2] | {"all_instructions": [round(x["instructions"], 1) for x in found]}


def one_count(bench, run):
    costs, result = [], None
    for ios in (SHORT, LONG):
        out = os.path.join(bench.targets.tmp, f"callgrind.{ios}")
        command = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
        result = bench.program(run, ["--ios", str(ios)], before=command, timeout=300)
        costs.append(self_costs(out))
    kinds, functions = per_io(*costs, os.path.basename(loads.path(bench.build, run)), LONG - SHORT)
    top = sorted(functions.items(), key=lambda x: -x[1])[:25]
    return {"instructions": kinds["load"] + kinds["other"], "kinds": kinds, "engine": result["engine"],
            "functions": [{"object": os.path.basename(o), "function": f, "instructions": round(n, 1)}
                          for (o, f), n in top]}


def strace_total(path):
    """The number of calls and those by name, of strace -c."""
    calls = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            words = line.split()
            if len(words) >= 5 and words[3].isdigit() and words[-1] != "total":
                calls[words[-1]] = int(words[3])
    return calls


def system_calls(bench, run):
    """As strace counts them, and as the load counts them itself, where it does."""
    counted, own = [], []
    for ios in (SHORT, LONG):
        out = os.path.join(bench.targets.tmp, f"strace.{ios}")
        result = bench.program(run, ["--ios", str(ios)], before=["strace", "-f", "-qq", "-c", "-o", out],
                               timeout=120)
        counted.append(strace_total(out))
        own.append(None if result["syscalls"] is None else result["syscalls"] * ios)
    ios = LONG - SHORT
    by_name = {n: (c - counted[0].get(n, 0)) / ios for n, c in counted[1].items()}
    return {"syscalls_strace": sum(by_name.values()),
            "syscalls_own": None if own[0] is None else (own[1] - own[0]) / ios,
            "by_name": {n: round(v, 4) for n, v in sorted(by_name.items(), key=lambda x: -x[1]) if v > 0.001}}
