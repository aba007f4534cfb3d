#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Flight recorder and captures of sessions, through iscsid, iscsi-iod and iscsiadm, read by tshark."""
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time

from world import (BIN, IQN, READ, WRITE, Load, Nbd, Target, World, fail, hold, run, sessions,
                   wait_for)

SECRET = "a-secret-of-sixteen"
USER = "somebody-we-know"
MARK = b"PAYLOAD-THAT-IS-SEEN"
ROOM = 4 << 20  # bytes that wait for a reader
MIB = 1 << 20


def login(w, target, *options):
    """Logs in by discovery, and returns the id of the session."""
    w.adm("-m", "discovery", "-t", "st", "-p", target)
    for name, value in options:
        w.adm("-m", "node", "-p", target, "-o", "update", "-n", name, "-v", value)
    w.adm("-m", "node", "-p", target, "-l")
    return next(iter(sessions(w.api()).values()))["sid"]


CHAP = [("node.session.auth.authmethod", "CHAP"), ("node.session.auth.username", USER),
        ("node.session.auth.password", SECRET)]


def export(w, sid):
    return w.adm("-m", "session", "-r", sid, "--export", "nbd").split()[1]


class Capture:
    """iscsiadm --capture in the background."""

    def __init__(self, w, sid, *options, name="c.pcapng", **kwargs):
        self.file = w.tmp / name
        self.p = w.start([BIN / "iscsiadm", "--root", w.root, "--no-start", "-m", "session", "-r", sid,
                          "--capture", self.file, *options],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **kwargs)
        wait_for("the capture has begun", 20,
                 lambda: self.p.poll() is not None or (self.file.exists() and self.file.stat().st_size > 0))

    def end(self, rc=0):
        out, err = self.p.communicate(timeout=30)
        if self.p.returncode != rc:
            fail(f"iscsiadm --capture: {self.p.returncode} instead of {rc}: {out} {err}")
        return out + err

    def stop(self):
        self.p.send_signal(signal.SIGINT)
        return self.end()


def tshark(path, *fields, ports=(), extra=()):
    """Rows of fields, one for each packet."""
    command = ["tshark", "-r", str(path), "-T", "fields", "-E", "separator=/t", "-E", "occurrence=a", "-E",
               "aggregator=|"]
    for port in ports:
        command += ["-d", f"tcp.port=={port},iscsi"]
    for f in fields:
        command += ["-e", f]
    p = subprocess.run([*command, *extra], capture_output=True, text=True, check=False, timeout=120)
    if p.returncode != 0 or "cut short" in p.stderr:
        fail(f"tshark: {p.stderr}")
    return [line.split("\t") for line in p.stdout.splitlines()]


def port_of(portal):
    return int(portal.rsplit(":", 1)[1])


def opcodes(path, ports):
    """How many PDUs of each opcode; and sees that nothing is malformed, missing or not iSCSI."""
    found = {}
    rows = tshark(path, "frame.number", "iscsi.opcode", "_ws.malformed", "tcp.analysis.flags",
                  "tcp.analysis.lost_segment", "tcp.len", "tcp.flags.syn", ports=ports)
    for number, ops, malformed, flags, lost, *_ in rows:
        if malformed or lost or flags:
            fail(f"{path}: packet {number}: malformed {malformed!r}, flags {flags!r}")
        for op in filter(None, ops.split("|")):
            found[int(op, 0)] = found.get(int(op, 0), 0) + 1
    return found


def no_secret(path):
    data = path.read_bytes()
    for text in (SECRET, USER):
        if text.encode() in data:
            fail(f"{path} has {text}")
    for key in (b"CHAP_N=", b"CHAP_R=", b"CHAP_C="):
        for m in re.finditer(key + rb"([^\0]*)\0", data):
            if m[1].strip(b"x"):
                fail(f"{path}: {m[0]!r}")
    return data


def flight():
    """The last PDUs of a session, as lines and as JSON; and none of a session that is not there."""
    with World() as w:
        w.up()
        t = Target(w, "--target", IQN, "--lun", "ram:16M")
        sid = login(w, t.portal)
        nbd = Nbd(export(w, sid))
        if nbd.ask(WRITE, 0, 4096, b"x" * 4096)[0] or nbd.ask(READ, 0, 4096)[0]:
            fail("I/O error")
        text = w.adm("-m", "session", "-r", sid, "--flight")
        for want in (r"^-\d+\.\d{3} ms > SCSI Command ITT [0-9a-f]{8} data 4096 FW LUN 0 CDB \w\w WRITE\(",
                     r"^-\d+\.\d{3} ms > SCSI Command ITT [0-9a-f]{8} FR LUN 0 CDB \w\w READ\(",
                     r"^-.* < SCSI Data-In ITT [0-9a-f]{8} data 4096 FS DataSN 0 Offset 0 status 00 StatSN \d+",
                     r"^-.* < SCSI Response ITT [0-9a-f]{8} response 0 status 00 .*StatSN \d+ ExpCmdSN"):
            if not re.search(want, text, re.MULTILINE | re.IGNORECASE):
                fail(f"{want} is not in\n{text}")
        o = json.loads(w.adm("-m", "session", "-r", sid, "--flight", "--json"))
        hold("session.flight.result", o)
        if len(o["pdus"]) < 20 or len(o["pdus"][0]["bhs"]) != 96 or SECRET in json.dumps(o):
            fail(f"{len(o['pdus'])} PDUs")
        ages = [p["age_us"] for p in o["pdus"]]
        if ages != sorted(ages, reverse=True):
            fail(f"not in their order: {ages}")
        last = next(p for p in reversed(o["pdus"]) if p["text"].startswith("SCSI Command"))
        if not last["sent"] or last["bhs"][:2] != "01":
            fail(f"{last}")
        w.adm("-m", "session", "-r", 4711, "--flight", rc=22)


def cut_and_reopen():
    """A capture of writes and reads, of a cut, of the login after it, with payload and without."""
    with World() as w:
        w.up()
        t = Target(w, "--target", IQN, "--lun", "ram:16M", "--chap", f"{USER}:{SECRET}", "--set",
                   "MaxRecvDataSegmentLength=65536")
        portal, control = w.relay(t.portal)
        w.adm("-m", "node", "-T", IQN, "-p", portal, "-o", "new")
        for name, value in CHAP:
            w.adm("-m", "node", "-T", IQN, "-p", portal, "-o", "update", "-n", name, "-v", value)
        w.adm("-m", "node", "-T", IQN, "-p", portal, "-l")
        sid = next(iter(sessions(w.api()).values()))["sid"]
        path = export(w, sid)
        for payload in (True, False):
            nbd = Nbd(path)
            logins = t.logins()
            c = Capture(w, sid, *([] if payload else ["--no-payload"]), name=f"cut-{payload}.pcapng")
            for length in (512, 4096, 65536, 300 * 1024):
                data = (MARK + bytes([length % 251])) * (length // 21 + 1)
                if nbd.ask(WRITE, MIB, length, data[:length])[0]:
                    fail("write")
                if nbd.ask(READ, MIB, length) != (0, data[:length]):
                    fail("read")
            w.tell(control, "cut", "rst")
            wait_for("the session is back", 30, lambda: t.logins() > logins)
            if nbd.ask(READ, 0, 4096)[0]:
                fail("read after the cut")
            text = c.stop()
            if "ended by Ctrl-C" not in text or "left out" in text:
                fail(text)
            found = opcodes(c.file, [port_of(portal)])
            want = {0x01: 8, 0x03: 2, 0x23: 2, 0x05: 1, 0x31: 1, 0x25: 4, 0x21: 4}
            for op, n in want.items():
                if found.get(op, 0) < n:
                    fail(f"opcode {op:#x}: {found}")
            data = no_secret(c.file)
            if (MARK in data) != payload:
                fail(f"payload {payload}")
            rows = tshark(c.file, "tcp.stream", "ip.src", "ip.dst", "tcp.dstport", "frame.time_epoch",
                          ports=[port_of(portal)])
            if {r[0] for r in rows} != {"0", "1"} or port_of(portal) not in {int(r[3]) for r in rows}:
                fail(f"streams {rows[0]} {rows[-1]}")
            if abs(float(rows[-1][4]) - time.time()) > 60:
                fail(f"time {rows[-1]}")
            if payload:
                keys = "".join(r[0] for r in tshark(c.file, "iscsi.keyvalue", ports=[port_of(portal)]))
                if not re.search(r"CHAP_R=x{10,}", keys) or "CHAP_A=" not in keys:
                    fail(keys)
            nbd.close()


def bounds():
    """Ends by time, by count, with the session; one at a time; files that are there stay."""
    with World() as w:
        w.up()
        t = Target(w, "--target", IQN, "--lun", "ram:16M")
        sid = login(w, t.portal)
        load = Load(export(w, sid))
        began = time.monotonic()
        c = Capture(w, sid, "--seconds", 1, name="s.pcapng")
        w.adm("-m", "session", "-r", sid, "--capture", w.tmp / "other.pcapng", rc=28)
        if (w.tmp / "other.pcapng").exists():
            fail("a file without a capture")
        text = c.end()
        if "after the time" not in text or time.monotonic() - began < 0.9:
            fail(text)
        c = Capture(w, sid, "--count", 50, "--json", name="n.pcapng")
        o = json.loads(c.end())
        if o["packets"] != 50 or o["dropped"] != 0 or o["bytes"] != c.file.stat().st_size:
            fail(f"{o}")
        if len(tshark(c.file, "frame.number")) != 50:
            fail("not 50 packets")
        kept = w.tmp / "kept"
        kept.write_text("mine")
        w.adm("-m", "session", "-r", sid, "--capture", kept, rc=7)
        os.symlink(w.tmp / "nowhere", w.tmp / "link")
        w.adm("-m", "session", "-r", sid, "--capture", w.tmp / "link", rc=7)
        if kept.read_text() != "mine" or (w.tmp / "nowhere").exists():
            fail("a file was overwritten")
        p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(w.root), "-m", "session", "-r", str(sid),
                            "--capture", "-", "--count", "20"], capture_output=True, timeout=30, check=True)
        (w.tmp / "piped.pcapng").write_bytes(p.stdout)
        if len(tshark(w.tmp / "piped.pcapng", "frame.number")) != 20 or b"20 packets" not in p.stderr:
            fail(f"{p.stderr}")
        c = Capture(w, sid, name="k.pcapng")  # one that is killed leaves nothing behind
        c.p.kill()
        c.p.wait()
        load.goes_on()
        c = wait_for("another capture", 10, lambda: Capture(w, sid, name="l.pcapng"))
        load.stop()
        w.adm("-m", "session", "-r", sid, "-u")
        if "ended with the session" not in c.end():
            fail("logout")
        found = opcodes(c.file, [port_of(t.portal)])
        if found.get(0x06) != 1 or found.get(0x26) != 1:
            fail(f"no logout: {found}")
        if c.file.stat().st_mode & 0o777 != 0o600:
            fail("mode")


def full_disk():
    """What the file has no room for ends the capture with a reason, and no I/O."""
    with World() as w:
        w.up()
        t = Target(w, "--target", IQN, "--lun", "ram:16M")
        sid = login(w, t.portal)
        load = Load(export(w, sid), pause=0)
        small = w.tmp / "small"
        small.mkdir()
        adm = f"{BIN}/iscsiadm --root {w.root} --no-start -m session -r {sid} --capture {small}/c.pcapng"
        if os.geteuid() == 0 and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0:
            script = f"mount -t tmpfs -o size=1m none {small} && {adm}; r=$?; cp {small}/c.pcapng {w.tmp}; exit $r"
            p = subprocess.run(["unshare", "-m", "sh", "-c", script], capture_output=True, text=True, timeout=60,
                               check=False)
            reason, size = "No space left on device", MIB
        else:
            p = subprocess.run(["sh", "-c", f"trap '' XFSZ; ulimit -f 512; {adm}; r=$?; cp {small}/c.pcapng {w.tmp}; exit $r"],
                               capture_output=True, text=True, timeout=60, check=False)
            reason, size = "File too large", MIB
        if p.returncode != 1 or reason not in p.stderr or "goes on" not in p.stderr:
            fail(f"{p.returncode} {p.stdout} {p.stderr}")
        file = w.tmp / "c.pcapng"
        if not 0 < file.stat().st_size <= size or len(tshark(file, "frame.number")) < 10:
            fail(f"{file.stat()}")
        load.goes_on()
        load.stop()
        Capture(w, sid, name="again.pcapng").stop()


def lunette(*args, rc=0, env=()):
    p = subprocess.run([str(BIN / "lunette"), *map(str, args)], stdin=subprocess.DEVNULL, capture_output=True,
                       text=True, timeout=60, check=False, env={**os.environ, **dict(env)})
    if p.returncode not in (rc if isinstance(rc, tuple) else (rc,)):
        fail(f"lunette {args}: {p.returncode} instead of {rc}: {p.stdout} {p.stderr}")
    return p.stdout + p.stderr


def plain_tool():
    """lunette --capture, from the first Login Request to the Logout Response."""
    with World() as w:
        t = Target(w, "--target", IQN, "--lun", "ram:16M", "--chap", f"{USER}:{SECRET}")
        url, file = f"iscsi://{t.portal}/{IQN}/0", w.tmp / "tool.pcapng"
        lunette("info", url, "--capture", file, env=[("LUNETTE_CHAP", f"{USER}:{SECRET}")])
        found = opcodes(file, [port_of(t.portal)])
        if found.get(0x03, 0) < 3 or found.get(0x06) != 1 or found.get(0x26) != 1 or 0x25 not in found:
            fail(f"{found}")
        no_secret(file)
        lunette("info", url, "--capture", file, rc=2)


def bhs(opcode, flags=0x80, length=0, rest=b""):
    return (bytes([opcode, flags, 0, 0, 0]) + length.to_bytes(3, "big") + rest).ljust(48, b"\0")


def answers(request):
    """What hostile targets answer to the first Login Request."""
    itt = request[16:20]

    def login(flags, text, length=None, statsn=0):
        pad = text + bytes(-len(text) % 4)
        return bhs(0x23, flags, len(text) if length is None else length,
                   request[8:16] + itt + bytes(4) + struct.pack(">III", statsn, 1, 10)) + pad
    secret = b"AuthMethod=CHAP\0CHAP_C=0x" + SECRET.encode()
    yield b""
    yield b"HTTP/1.1 400 Bad Request\r\n\r\n" * 3
    yield login(0x81, b"X" * 100, length=8000)  # cut short
    yield login(0x40, secret[:20]) + login(0x00, secret[20:], statsn=1)
    yield login(0x00, secret) + login(0x00, SECRET.encode(), statsn=1)
    yield bhs(0x3E, length=0xFFFFFF) + b"vendor"
    yield bhs(0x25, 0x81, 4096, bytes(8) + itt) + bytes(4096)
    yield bhs(0x21) * 50
    yield bhs(0x03, 0x87, 8, request[8:20]) + b"CHAP_R=1"  # a PDU of initiators
    yield os.urandom(100000)


def hostile():
    """Captures of targets that lie are files that can be read, and no secret is in them."""
    with World() as w:
        for i in range(10):
            server = socket.create_server(("127.0.0.1", 0))
            port = server.getsockname()[1]
            file = w.tmp / f"hostile{i}.pcapng"
            p = w.start([BIN / "lunette", "info", f"iscsi://127.0.0.1:{port}/{IQN}/0?login_timeout=5s", "--capture",
                         file, "-v"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
            s, _ = server.accept()
            s.settimeout(20)
            request = s.recv(65536)
            try:  # it may have had enough before the end
                s.sendall(list(answers(request))[i])
                s.shutdown(socket.SHUT_WR)
            except OSError:
                pass
            server.close()  # it may try again
            _, err = p.communicate(timeout=60)
            s.close()
            if p.returncode <= 0 or p.returncode > 20:
                fail(f"{i}: {p.returncode} {err}")
            rows = tshark(file, "iscsi.opcode", ports=[port])
            if not any("0x03" in r[0] or r[0] == "3" for r in rows):
                fail(f"{i}: no Login Request in {rows}")
            if SECRET.encode()[8:] in file.read_bytes():
                fail(f"{i}: a secret")
            if not re.search(r"connection 0: -\d+\.\d{3} ms > Login Request", err):
                fail(f"{i}: the flight recorder is not in the log: {err}")


def last_block(data):
    length = struct.unpack("=I", data[-4:])[0]
    return data[-length:]


def slow_reader():
    """A reader that takes nothing loses packets and never holds up I/O; the file says what is missing."""
    with World() as w:
        api = w.up()
        t = Target(w, "--target", IQN, "--lun", "ram:16M")
        sid = login(w, t.portal)
        path = api.ask("session.capture", sid=sid)["path"]
        s = socket.socket(socket.AF_UNIX)
        s.connect(path)
        nbd = Nbd(export(w, sid))
        began = time.monotonic()
        for _ in range(3 * ROOM // MIB):
            if nbd.ask(WRITE, 0, MIB, bytes(MIB))[0]:
                fail("write")
        if time.monotonic() - began > 20:
            fail("a reader holds up I/O")
        s.settimeout(20)
        data = b""
        while len(data) < ROOM:
            data += s.recv(1 << 20)
        time.sleep(0.2)
        if nbd.ask(READ, 0, 4096)[0]:
            fail("read")
        s.shutdown(socket.SHUT_WR)
        while more := s.recv(1 << 20):
            data += more
        end = last_block(data)
        if struct.unpack("=I", end[:4])[0] != 5 or b"were left out" not in end:
            fail(f"{end!r}")
        if b"are left out before this one" not in data:
            fail("the file does not say where something is missing")
        (w.tmp / "slow.pcapng").write_bytes(data)
        rows = tshark(w.tmp / "slow.pcapng", "_ws.malformed", ports=[port_of(t.portal)])
        if len(rows) < 50:
            fail(f"{len(rows)} packets")
        # nobody comes: it ends by itself, and does not stand in the way of another
        path = api.ask("session.capture", sid=sid, payload=False)["path"]
        w.adm("-m", "session", "-r", sid, "--capture", w.tmp / "busy.pcapng", rc=28)
        wait_for("the socket is gone", 20, lambda: not os.path.exists(path))
        Capture(w, sid, name="after.pcapng").stop()


def main():
    if shutil.which("tshark") is None:
        print("skipped: tshark is not installed")
        return 77
    run([flight, cut_and_reopen, bounds, full_disk, slow_reader, plain_tool, hostile])
    return 0


if __name__ == "__main__":
    sys.exit(main())
