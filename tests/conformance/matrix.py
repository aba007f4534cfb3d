#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes a table of what the conformance suite has printed: members and groups, and below it why a group
does not apply.

usage: matrix.py LOG...      for instance build/meson-logs/testlog.txt
       matrix.py --json LOG...

The lines that count are "matrix", member, net, group, result, with tabs between.  The exit code is 1
where a group of a row is missing or has failed, so that no gap goes unseen.
"""
import json
import pathlib
import sys

WHY = "does not apply: "


def read(paths):
    """The results as {row: {group: result}}, in the order in which they were found."""
    rows, groups = {}, []
    for path in paths:
        for line in pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            f = line.split("\t")
            if len(f) != 5 or f[0] != "matrix":
                continue
            rows.setdefault(f"{f[1]}/{f[2]}", {})[f[3]] = f[4]
            if f[3] not in groups:
                groups.append(f[3])
    return rows, groups


def word(result):
    return "-" if result.startswith(WHY) else result


def table(rows, groups):
    names = sorted(rows)
    yield "| group | " + " | ".join(names) + " |"
    yield "|---" * (len(names) + 1) + "|"
    for g in groups:
        yield f"| {g} | " + " | ".join(word(rows[n].get(g, "missing")) for n in names) + " |"
    for n in names:
        for g in groups:
            if rows[n].get(g, "").startswith(WHY):
                yield f"\n{n}, {g}: {rows[n][g][len(WHY):]}"


def main():
    paths = [a for a in sys.argv[1:] if a != "--json"]
    rows, groups = read(paths)
    if not rows:
        sys.exit("matrix.py: there is no line of a matrix in " + " ".join(paths))
    if "--json" in sys.argv:
        print(json.dumps(rows, indent=1))
    else:
        print("\n".join(table(rows, groups)))
    good = all(r.get(g, "") == "passed" or r.get(g, "").startswith(WHY) for r in rows.values() for g in groups)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
