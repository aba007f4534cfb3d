# SPDX-License-Identifier: MIT
"""What the smoke tests of the benchmarks check with."""
import json
import os
import subprocess
import sys

checks = 0


def check(right, what):
    global checks
    checks += 1
    if not right:
        sys.exit(f"FAIL: {what}")


def passed():
    print(f"{checks} checks passed")
    return 0


def run_program(name, build, path, *options, timeout):
    """A benchmark as a whole.  Returns how it ended, and what it has written to path, which is removed."""
    command = [sys.executable, os.path.join(os.path.dirname(os.path.abspath(__file__)), name), "--build", build,
               "--json", path, "--patience", "0", *options]
    p = subprocess.run(command, capture_output=True, text=True, timeout=timeout, check=False)
    check(p.returncode in (0, 1), f"{name}: exit {p.returncode}: {p.stderr}")
    with open(path, encoding="utf-8") as f:
        written = json.load(f)
    os.unlink(path)
    return p, written
