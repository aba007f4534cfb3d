#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""A strict reader of OpenMetrics text 1.0, for what iscsid exposes.

usage: openmetrics.py [FILE]   says what is wrong, or how many samples there are
"""
import math
import re
import sys

NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\["\\n])*)"')
NUMBER = re.compile(r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|[+-]?Inf|NaN")
SUFFIXES = {
    "counter": ("_total", "_created"),
    "gauge": ("",),
    "histogram": ("_bucket", "_count", "_sum", "_created"),
    "info": ("_info",),
}
UNESCAPE = re.compile(r'\\(["\\n])')


class Wrong(Exception):
    pass


class Family:
    def __init__(self, name):
        self.name, self.type, self.unit, self.help = name, None, None, None
        self.samples = []  # (suffix, labels, value)
        self.seen = set()


def number(text):
    if not NUMBER.fullmatch(text):
        raise Wrong(f"no number: {text!r}")
    return float(text.replace("Inf", "inf").replace("NaN", "nan"))


def labels(text):
    ret, at = {}, 0
    while at < len(text):
        m = LABEL.match(text, at)
        if not m:
            raise Wrong(f"no label: {text[at:]!r}")
        if m[1] in ret:
            raise Wrong(f"a label twice: {m[1]}")
        ret[m[1]] = UNESCAPE.sub(lambda e: "\n" if e[1] == "n" else e[1], m[2])
        at = m.end()
        if at < len(text):
            if text[at] != "," or at + 1 == len(text):
                raise Wrong(f"labels are not separated: {text!r}")
            at += 1
    return ret


def split_sample(line):
    """Name, labels and value; a brace may stand in a label's value."""
    m = NAME.match(line)
    if not m:
        raise Wrong("no name")
    rest, inside = line[m.end():], {}
    if rest.startswith("{"):
        end = re.compile(r'\{(?:[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\]|\\.)*",?)*\}').match(rest)
        if not end:
            raise Wrong("labels have no end")
        inside = labels(rest[1:end.end() - 1])
        rest = rest[end.end():]
    if not rest.startswith(" ") or " " in rest[1:]:
        raise Wrong("not one blank and one value")
    return m[0], inside, number(rest[1:])


def take_sample(family, line):
    name, inside, value = split_sample(line)
    if family is None or not name.startswith(family.name):
        raise Wrong("a sample outside its family")
    suffix = name[len(family.name):]
    if suffix not in SUFFIXES[family.type or "gauge"]:
        raise Wrong(f"a {family.type} has no {suffix!r}")
    key = (suffix, tuple(sorted(inside.items())))
    if key in family.seen:
        raise Wrong("the same sample twice")
    family.seen.add(key)
    if family.type in ("counter", "histogram") and not value >= 0:
        raise Wrong("it can only grow")
    if suffix == "_info" and value != 1:
        raise Wrong("an info is 1")
    family.samples.append((suffix, inside, value))


def take_comment(families, family, line):
    words = line.split(" ", 3)
    if len(words) < 4 or words[0] != "#" or words[1] not in ("TYPE", "UNIT", "HELP"):
        raise Wrong("neither a sample nor TYPE, UNIT or HELP")
    _, what, name, text = words
    if family is None or family.name != name:
        if name in families:
            raise Wrong("a family in two places")
        family = families.setdefault(name, Family(name))
    if family.samples:
        raise Wrong(f"{what} behind samples")
    if getattr(family, what.lower()) is not None:
        raise Wrong(f"{what} twice")
    if what == "TYPE" and text not in SUFFIXES:
        raise Wrong(f"an unknown type: {text}")
    if what == "UNIT" and not name.endswith("_" + text):
        raise Wrong("the name does not end with the unit")
    setattr(family, what.lower(), text)
    return family


def check_histogram(family):
    groups = {}
    for suffix, inside, value in family.samples:
        le = inside.get("le")
        if (suffix == "_bucket") != (le is not None):
            raise Wrong(f"{family.name}: le is a bucket's")
        rest = tuple(sorted((k, v) for k, v in inside.items() if k != "le"))
        groups.setdefault(rest, {"buckets": []})
        if suffix == "_bucket":
            groups[rest]["buckets"].append((number(le), value))
        else:
            groups[rest][suffix] = value
    for rest, g in groups.items():
        b = g["buckets"]
        if not b or b[-1][0] != math.inf:
            raise Wrong(f"{family.name}{dict(rest)}: no +Inf")
        for (x, n), (y, m) in zip(b, b[1:]):
            if not x < y or n > m:
                raise Wrong(f"{family.name}{dict(rest)}: buckets do not ascend")
        if g.get("_count") != b[-1][1] or "_sum" not in g:
            raise Wrong(f"{family.name}{dict(rest)}: count is not +Inf's, or there is no sum")


def parse(text):
    """{name: Family}, or Wrong with the line's number."""
    if not text.endswith("\n# EOF\n"):
        raise Wrong("it does not end with # EOF and a newline")
    families, family = {}, None
    for n, line in enumerate(text.split("\n")[:-2], 1):
        try:
            if line.startswith("#"):
                family = take_comment(families, family, line)
            else:
                take_sample(family, line)
        except Wrong as e:
            raise Wrong(f"line {n}: {e}: {line}") from None
    for f in families.values():
        if f.type is None or f.help is None:
            raise Wrong(f"{f.name}: no TYPE or no HELP")
        if f.type == "histogram":
            check_histogram(f)
        for other in families:
            if other != f.name and any(other == f.name + s for s in SUFFIXES[f.type] if s):
                raise Wrong(f"{other} is a sample of {f.name}")
    return families


def main():
    text = (open(sys.argv[1], encoding="utf-8", newline="") if len(sys.argv) > 1 else sys.stdin).read()
    try:
        families = parse(text)
    except Wrong as e:
        sys.exit(f"openmetrics: {e}")
    print(f"{sum(len(f.samples) for f in families.values())} samples of {len(families)} families")


if __name__ == "__main__":
    main()
