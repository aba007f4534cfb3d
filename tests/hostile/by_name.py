# SPDX-License-Identifier: MIT
"""The command line of a program whose cases are functions with a name each."""
import argparse
import subprocess


def main(about, kind, cases, run):
    """Lists the cases (name: function), or runs one or all; about: the program's first line, kind: what
    a case is called.  Returns the exit code."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--" + kind, choices=sorted(cases), dest="name")
    parser.add_argument("--list", action="store_true")
    args = parser.parse_args()
    if args.list:
        for name in cases:
            print("%-20s %s" % (name, cases[name].__doc__))
        return 0
    failed = 0
    for name in [args.name] if args.name else cases:
        try:
            run(name)
        except (AssertionError, OSError, EOFError, subprocess.TimeoutExpired) as e:
            print("FAIL %s: %s" % (name, e or repr(e)))
            failed += 1
    return 1 if failed else 0
