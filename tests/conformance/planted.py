#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Each fault that is planted in the fake adapter is found by the group that is there to find it.

usage: planted.py CONFORMANCE
"""
import os
import subprocess
import sys

FAULTS = {
    "up_though_refused": ["connect"],
    "empty_text": ["login"],
    "short_copy": ["sizes"],
    "window_ignored": ["window"],
    "no_abort": ["abort"],
    "loses_an_answer": ["reset"],
    "lies_at_loss": ["cut", "kill"],
    "goes_on_when_stopped": ["order"],
    "sends_when_stopped": ["unbind"],
    "uncounted": ["stats"],
}


def exit_code(program, group, fault):
    env = dict(os.environ, CONFORMANCE_PLANT=fault)
    return subprocess.run([program, "fake/sim", group], env=env, check=False, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL, timeout=100).returncode


def main():
    unseen = [f"{fault} by {group}" for fault, groups in FAULTS.items() for group in groups
              if exit_code(sys.argv[1], group, fault) == 0]
    for what in unseen:
        print(f"planted.py: not found: {what}")
    sys.exit(1 if unseen else 0)


if __name__ == "__main__":
    main()
