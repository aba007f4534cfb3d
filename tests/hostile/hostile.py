#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""hostile.py - runs the client against targets that misbehave in one way each.

    hostile.py --group login         the cases of a group (one meson test each)
    hostile.py --case tsih_zero -v   one case, with what went over the wire
    hostile.py --serve tsih_zero     the target alone, for a debugger; prints the command to run
    hostile.py --list                all cases, what they do, the rules that they are for

For each case: the exit code is one that the case allows, the client ends in
time, without a signal or a sanitizer's report; what it prints is clean text;
what it read is a prefix of the truth; and its own PDUs are right (witness.py).
Programs come from $LUNETTE_BIN.  Exit: 0, 1, or 77 when nothing can be run.
"""
import argparse
import concurrent.futures
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zlib

import registry
import cases_bend    # noqa: F401
import cases_conns   # noqa: F401
import cases_io      # noqa: F401 (these fill the registry)
import cases_login   # noqa: F401
import cases_scsi    # noqa: F401
import cases_stream  # noqa: F401
import cases_task    # noqa: F401
import cases_lent    # noqa: F401
import cases_reopen  # noqa: F401
from target import IQN, pattern

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OFFSET, LENGTH = 8192, 65536
LARGE = 4 * LENGTH
WRITTEN = pattern(LENGTH, 99)
# Short timers: a stall is to show within seconds.  Each case is about one connection, and nobody
# waits for another.
TIMERS = "replacement_timeout=0&connect_timeout=1000&login_timeout=2000&ping_timeout=1000&" \
         "abort_timeout=700&lu_reset_timeout=700&target_reset_timeout=700&timeout="
# Where a breach of the protocol is the whole case, a timeout must not pass for its discovery.
STALL_MS, PROMPT_MS = 1500, 5000
RSS_LIMIT_KIB = 1 << 20
SANITIZER = re.compile(rb"AddressSanitizer|LeakSanitizer|runtime error:|ThreadSanitizer|"
                       rb"==\d+== (Invalid|Conditional|Use of)|Assertion .* failed")


class Client:
    """How each client spells the commands of the cases."""

    def __init__(self, path):
        self.path = path

    def url(self, case, target, lun="0"):
        options = "&".join(o for o in (timers(case), case.url) if o)
        return "iscsi://%s%s:%d/%s/%s?%s" % (case.user + "@" if case.user else "", host(target),
                                             target.port, IQN, lun, options)

    def command(self, case, target):
        url = self.url(case, target)
        portal = "iscsi://%s%s:%d/?%s" % (case.user + "@" if case.user else "", host(target),
                                          target.port, timers(case))
        where = ["--offset", str(OFFSET)]
        # half of the cases on each loop, always the same one
        loop = ["--loop", "epoll" if zlib.crc32(case.name.encode()) & 1 else "auto"]
        return [self.path] + {
            "read": ["read", url] + where + ["--length", str(LENGTH)],
            "read-lun-7": ["read", self.url(case, target, "7")] + where + ["--length", str(LENGTH)],
            "read-large": ["read", url] + where + ["--length", str(LARGE)],
            "write": ["write", url] + where,
            "write-large": ["write", url, "--depth", "2"],
            "info": ["info", url],
            "info-json": ["info", url, "--json"],
            "tur": ["scsi", url] + ["00"] * 6,
            "ls": ["ls", portal],
            "discover": ["discover", portal],
            "discover-url": ["discover", portal + "&" + case.url],
            "ping": ["ping", url, "-c", "2", "-i", "0.1"],
        }[case.run.removesuffix("-v")] + loop + (["-v"] if case.run.endswith("-v") else [])


class OtherClient(Client):
    """Debian's libiscsi tools and QEMU: to see that the target itself is right."""

    def url(self, case, target, lun="0"):
        return "iscsi://%s%s:%d/%s/%s?%s" % (case.user + "@" if case.user else "", host(target),
                                             target.port, IQN, lun, case.url)

    def command(self, case, target):
        url = self.url(case, target)
        portal = "iscsi://%s:%d" % (host(target), target.port)
        image = "json:{\"driver\":\"raw\",\"file\":{\"driver\":\"iscsi\",\"transport\":\"tcp\"," \
                "\"portal\":\"%s:%d\",\"target\":\"%s\",\"lun\":0}}" % (host(target), target.port, IQN)
        copy = "d=$(mktemp -d) && trap 'rm -r $d' EXIT && cat > $d/in && "
        return {
            "read": ["sh", "-c", copy + "qemu-img dd -U -f raw -O raw bs=8192 skip=1 count=9 "
                     "\"if=$0\" of=$d/out && cat $d/out", image],
            "write": ["sh", "-c", copy + "qemu-io -f raw -c \"write -s $d/in %d %d\" \"$0\"" %
                      (OFFSET, LENGTH), image],
            "info": ["iscsi-inq", url],
            "ls": ["iscsi-ls", "-s", portal],
            "discover": ["iscsi-ls", portal],
            "ping": ["true"],
        }[case.run]


def prompt(case):
    return case.want <= registry.LOST


def timers(case):
    return TIMERS + str(PROMPT_MS if prompt(case) else STALL_MS)


def host(target):
    return "[%s]" % target.address if ":" in target.address else target.address


class Finished:
    def __init__(self, status, seconds, out, err, rss):
        self.status, self.seconds, self.out, self.err, self.rss = status, seconds, out, err, rss


def run_client(argv, data, limit, env):
    """Runs argv with data on standard input, for at most limit seconds."""
    with tempfile.TemporaryFile() as feed:
        feed.write(data)
        feed.seek(0)
        start = time.monotonic()
        p = subprocess.Popen(argv, stdin=feed, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             env=env, start_new_session=True)
        late = threading.Event()

        def kill():
            late.set()
            os.killpg(p.pid, signal.SIGKILL)
        timer = threading.Timer(limit, kill)
        timer.start()
        out, err = {}, {}
        readers = [threading.Thread(target=lambda f=f, d=d: d.update(all=f.read()))
                   for f, d in ((p.stdout, out), (p.stderr, err))]
        for r in readers:
            r.start()
        _, status, usage = os.wait4(p.pid, 0)
        seconds = time.monotonic() - start
        timer.cancel()
        p.returncode = os.waitstatus_to_exitcode(status)
        for r in readers:
            r.join()
        p.stdout.close()
        p.stderr.close()
        return Finished("late" if late.is_set() else p.returncode, seconds, out["all"], err["all"],
                        usage.ru_maxrss)


def unclean(data):
    """The first thing that must not reach a terminal, or None."""
    try:
        s = data.decode("utf-8")
    except UnicodeDecodeError as e:
        return "byte %#x is not UTF-8" % data[e.start]
    for c in s:
        if (ord(c) < 32 and c not in "\n\t") or 0x7f <= ord(c) < 0xa0:
            return "control character %#x" % ord(c)
    return None


def judge(case, target, done, truth, lunette):
    """What is wrong, as a list of sentences."""
    wrong = []
    if done.status == "late":
        wrong.append("still running after %d s" % case.seconds)
    elif done.status not in case.want:
        wrong.append("exit %s, wanted %s" % (done.status, "/".join(map(str, sorted(case.want)))))
    if lunette:
        if prompt(case) and done.seconds * 1000 >= PROMPT_MS:
            wrong.append("only a timeout ended it, after %.1f s" % done.seconds)
        if SANITIZER.search(done.err):
            wrong.append("sanitizer or assertion")
        if done.status not in (0, "late") and not done.err.strip():
            wrong.append("failed without a word")
        if done.err.count(b"\n") > 20:
            wrong.append("%d lines on stderr" % done.err.count(b"\n"))
        for what, data in (("stderr", done.err), ("stdout", b"" if "read" in case.run else done.out)):
            if unclean(data):
                wrong.append("%s: %s" % (what, unclean(data)))
        said = re.sub(r"iscsi://\S+", "URL", done.err.decode("utf-8", "replace"))
        if case.text and not re.search(case.text, said):
            wrong.append("stderr does not match %r" % case.text)
        if done.rss > RSS_LIMIT_KIB:
            wrong.append("used %d MiB" % (done.rss >> 10))
        for s in case.seen if done.status == 0 else ():
            if s not in target.seen:
                wrong.append("the target has not seen: %s" % s)
    if done.status == 0 and case.output and not re.search(case.output, done.out.decode("utf-8", "replace")):
        wrong.append("stdout does not match %r" % case.output)
    for secret in re.findall(r"%(\w+)|target_password=(\w+)", case.user + "&" + case.url):
        if "".join(secret).encode() in done.err + done.out:
            wrong.append("SEC-19: prints a secret")
    wrong += judge_data(case, target, done, truth)
    wrong += target.errors
    if lunette and not case.quiet:
        for conn in target.conns:
            wrong += conn.witness.breaches[:3]
    return wrong


def judge_data(case, target, done, truth):
    want = bytes(truth[OFFSET:OFFSET + (LARGE if case.run == "read-large" else LENGTH)])
    if case.run in ("read", "read-v", "read-large"):
        if not want.startswith(done.out):
            return ["WRONG DATA read"]
        if done.status == 0 and done.out != want:
            return ["exit 0 with %d of %d bytes" % (len(done.out), len(want))]
    if case.run == "write" and 0 in target.luns:
        now = getattr(target, "helper", target).luns[0].data
        if now[:OFFSET] != truth[:OFFSET] or now[OFFSET + LENGTH:] != truth[OFFSET + LENGTH:]:
            return ["WROTE outside of the range"]
        if done.status == 0 and 0 in case.want and now[OFFSET:OFFSET + LENGTH] != WRITTEN:
            return ["exit 0, and the data is not there"]
    return []


def run_case(case, client, verbose=False, wrapper=()):
    lunette = type(client) is Client
    target = case.target()
    truth = bytes(target.luns[0].data) if 0 in target.luns else b""
    target.start()
    env = dict(os.environ, ASAN_OPTIONS="exitcode=99:detect_leaks=1",
               UBSAN_OPTIONS="halt_on_error=1:print_stacktrace=1:exitcode=99", LC_ALL="C.UTF-8")
    env.pop("LUNETTE_CHAP", None)
    env.update(case.env)
    argv = list(wrapper) + client.command(case, target)
    try:
        data = {"write": WRITTEN, "write-large": cases_lent.WRITTEN}.get(case.run, b"")
        done = run_client(argv, data, case.seconds, env)
    finally:
        target.stop()
    wrong = judge(case, target, done, truth, lunette)
    if verbose:
        print("$ " + " ".join(argv))
        for conn in target.conns:
            print("connection %d" % conn.number)
            for line in conn.log[-80:]:
                print("  " + line[:700])
        print("stderr: %r" % done.err[:2000])
        print("stdout: %d bytes %r" % (len(done.out), done.out[:200]))
    return wrong, done


def serve(case, client):
    target = case.target()
    target.start()
    print("%s: %s\nwants exit %s; stop with Ctrl-C" % (
        case.name, case.about, "/".join(map(str, sorted(case.want)))))
    print("$ " + " ".join("'%s'" % a if "?" in a else a for a in client.command(case, target)),
          flush=True)
    try:
        while True:
            time.sleep(1)
    except KeyboardInterrupt:
        target.stop()
        for conn in target.conns:
            print("\n".join(conn.log + conn.witness.breaches))


def find_client(args):
    if args.client == "other":
        for tool in ("qemu-img", "qemu-io", "iscsi-ls", "iscsi-inq"):
            if not shutil.which(tool):
                print("no %s: apt-get install qemu-utils qemu-block-extra libiscsi-bin" % tool)
                sys.exit(77)
        return OtherClient("")
    path = os.path.join(os.environ.get("LUNETTE_BIN", os.path.join(ROOT, "build", "bin")), "lunette")
    if not os.path.exists(path):
        print("no %s: build it, or set LUNETTE_BIN" % path)
        sys.exit(1)
    return Client(path)


def report(case, wrong, done, client, verbose):
    if wrong:
        print("FAIL %-28s %s (%.1f s)" % (case.name, "; ".join(wrong), done.seconds))
        print("     %s [%s]" % (case.about, case.ids))
        if done.err.strip():
            print("     stderr: %s" % done.err.decode("utf-8", "backslashreplace").strip()[-300:])
        print("     again: tests/hostile/hostile.py --case %s -v%s" % (
            case.name, " --client other" if type(client) is OtherClient else ""))
    elif verbose:
        print("ok   %-28s exit %s (%.1f s) %s" % (
            case.name, done.status, done.seconds,
            done.err.decode("utf-8", "backslashreplace").strip()[:120]))
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--group", action="append", default=[])
    parser.add_argument("--case", action="append", default=[])
    parser.add_argument("--serve", metavar="CASE")
    parser.add_argument("--list", action="store_true")
    parser.add_argument("--client", choices=["lunette", "other"], default="lunette")
    parser.add_argument("--jobs", "-j", type=int, default=6)
    parser.add_argument("--wrapper", default=os.environ.get("LUNETTE_WRAPPER", ""),
                        help="for example valgrind")
    parser.add_argument("--verbose", "-v", action="store_true")
    args = parser.parse_args()
    cases = registry.CASES
    if args.list:
        for c in sorted(cases.values(), key=lambda c: c.group):
            print("%-10s %-32s %s [%s]" % (c.group, c.name, c.about, c.ids))
        return 0
    client = find_client(args)
    if args.serve:
        serve(cases[args.serve], client)
        return 0
    chosen = [cases[n] for n in args.case] + [
        c for c in cases.values() if c.group in args.group or not (args.group or args.case)]
    if not chosen:
        parser.error("no such group")
    failed = 0
    wrapper = args.wrapper.split()
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        runs = {pool.submit(run_case, c, client, args.verbose and len(chosen) == 1, wrapper): c
                for c in chosen}
        for run in concurrent.futures.as_completed(runs):
            wrong, done = run.result()
            failed += bool(wrong)
            report(runs[run], wrong, done, client, args.verbose)
    print("%d passed, %d failed" % (len(chosen) - failed, failed))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
