# SPDX-License-Identifier: MIT
"""What a measurement needs of the machine: a network of its own, quiet, and honest accounts."""
import contextlib
import fcntl
import os
import platform
import subprocess
import sys
import time

TICKS = os.sysconf("SC_CLK_TCK")
CONGESTION = "/proc/sys/net/ipv4/tcp_congestion_control"
INSIDE = "LUNETTE_BENCH_INSIDE"


def can_isolate():
    if os.environ.get(INSIDE):
        return True
    return os.geteuid() == 0 and subprocess.run(
        ["unshare", "--net", "--pid", "--fork", "--mount-proc", "true"], check=False,
        capture_output=True).returncode == 0


def isolate(argv):
    """Runs the program again in network and PID namespaces of its own, once."""
    if os.environ.get(INSIDE):
        os.system("ip link set lo up")
        with open(CONGESTION, "w", encoding="ascii") as f:
            f.write("reno")
        return
    if not can_isolate():
        print("bench: needs root and unshare(1), for a network namespace of its own: only there is "
              "the congestion control known, and are the ports free", file=sys.stderr)
        sys.exit(2)
    os.environ[INSIDE] = "1"
    os.execvp("unshare", ["unshare", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
                          sys.executable] + argv)


def describe():
    model = "unknown"
    with open("/proc/cpuinfo", encoding="ascii", errors="replace") as f:
        for line in f:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    with open(CONGESTION, encoding="ascii") as f:
        congestion = f.read().strip()
    return {"cpu": model, "cpus": os.cpu_count(), "kernel": platform.release(),
            "congestion_control": congestion}


def idle_seconds():
    """What each CPU was idle so far.  This is exact; the busy times beside it are samples, and too
    little where tasks run for less than a tick at a time."""
    with open("/proc/stat", encoding="ascii") as f:
        times = {w[0]: w[1:] for w in map(str.split, f) if w[0].startswith("cpu") and w[0] != "cpu"}
    return {cpu: (int(t[3]) + int(t[4])) / TICKS for cpu, t in times.items()}


def wait_quiet(limit=0.25, sample=0.1, patience=10.0):
    """Until each CPU was busy less than limit for a while.  False when that did not come."""
    end = time.monotonic() + patience
    while True:
        before, began = idle_seconds(), time.monotonic()
        time.sleep(sample)
        after, took = idle_seconds(), time.monotonic() - began
        if all(1 - (after[cpu] - before[cpu]) / took <= limit for cpu in before):
            return True
        if time.monotonic() > end:
            return False


class Disturbance:
    """Tells what others used from what nobody did: the kernel's way to sleep and back is much where
    both sides go it all the time, and always the same.  So what counts is how much more it is than
    the least that was seen with the same run."""

    def __init__(self, allowed_percent):
        self.allowed = allowed_percent
        self.least = {}

    def allows(self, run, percent):
        limit = self.least.get(run, 0) + self.allowed
        self.least[run] = max(0, min(percent, self.least.get(run, percent)))
        return percent <= limit


def cpu_ns(pid):
    """What all threads of a process have run, those included that have ended."""
    clock = ~pid << 3 | 2  # as clock_getcpuclockid(3) makes it
    try:
        return time.clock_gettime_ns(clock)
    except OSError:
        return 0


@contextlib.contextmanager
def locked(path, alone):
    """Holds a lock that is shared with others who use the machine, alone or with whoever else does
    not measure time.  path None: nothing to hold."""
    if path is None:
        yield
        return
    with open(path, "a", encoding="ascii") as f:
        fcntl.flock(f, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield
