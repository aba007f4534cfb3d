#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""no_memory.py FAIL_AT.SO - each allocation of a command fails in turn, alone and with all later ones.

The command ends as without that, or with an exit code and a sentence; it neither dies nor hangs, and a
list of which something is missing does not end well.
"""
import os
import re
import subprocess
import sys

BIN = os.path.realpath(os.environ.get("LUNETTE_BIN", "build/bin"))
IQN = "iqn.2026-11.example:t"
LIMIT_S = 30
ALL_EVERY = 3  # of so many, one is tried with all later ones failing, too


def outcome(words, **env):
    p = subprocess.run([BIN + "/lunette", *words], capture_output=True, timeout=LIMIT_S,
                       env=dict(os.environ, LD_PRELOAD=os.path.realpath(sys.argv[1]), **env))
    return p.returncode, p.stdout, p.stderr.decode(errors="replace")


def fault(code, out, err, want):
    if code < 0:
        return "died of signal %d" % -code
    if code != 0:
        return "" if err.strip() else "said nothing"
    return "" if out == want else "shows something else: %r" % out[-300:]


def fail_each(words):
    code, want, err = outcome(words, FAIL_COUNT="1")
    found = re.search(r"allocations: (\d+)", err)
    assert code == 0 and found and int(found[1]) > 50, (words, code, err)
    bad = 0
    for at in range(1, int(found[1]) + 1):
        for env in ({}, {"FAIL_ALL": "1"}) if at % ALL_EVERY == 0 else ({},):
            code, out, err = outcome(words, FAIL_AT=str(at), **env)
            text = fault(code, out, err, want)
            if text:
                print("FAIL: %s, allocation %d%s: exit %d, %s" %
                      (words[:1] + words[2:], at, " and later" if env else "", code, text))
                bad += 1
    print("%s: %s allocations" % (" ".join(words[:1] + words[2:]), found[1]))
    return bad


def main():
    target = subprocess.Popen([BIN + "/lunette-target", "--listen", "127.0.0.1:0", "--target", IQN,
                               "--lun", "ram:1M"], stdout=subprocess.PIPE)
    try:
        portal = target.stdout.readline().decode().split()[-1]
        url = "iscsi://%s/%s/0" % (portal, IQN)
        return sum(fail_each(words) for words in (
            ["read", url, "--length", "64k"], ["discover", portal, "--json"],
            ["scsi", url, "120000006000", "--in", "96", "--json"]))
    finally:
        target.terminate()
        target.wait()


sys.exit(1 if main() else 0)
