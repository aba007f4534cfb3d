# SPDX-License-Identifier: MIT
"""world.py - what the tests of iscsid share: targets, an instance of the daemons, NBD load.

A test makes a World, which ends all that it has started by their process ids.  Programs come from
$LUNETTE_BIN, the relay from $RELAY.
"""
import ctypes
import json
import os
import pathlib
import random
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

try:
    import jsonschema
except ImportError:  # then answers are not held against their schema
    jsonschema = None

BIN = pathlib.Path(os.environ["LUNETTE_BIN"])
IQN = "iqn.2026-11.example:disk"
FULL = os.environ.get("RECOVERY") == "full"
READ, WRITE, DISC, FLUSH = range(4)
UNIT = 4096


def fail(text):
    raise AssertionError(text)


SLOW = 3  # times as long as on a machine that has nothing else to do


def wait_for(what, seconds, test):
    """Waits until test() is true and returns what it says."""
    end = time.monotonic() + SLOW * seconds
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > end:
            fail(f"not within {SLOW * seconds} s: {what}")
        time.sleep(0.01)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def free_port():
    """One that nobody gets who does not ask for it by its number."""
    while True:
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", random.randrange(20000, 32000)))
                return s.getsockname()[1]
            except OSError:
                pass


class Nbd:
    """A client that asks for one thing at a time."""

    def __init__(self, path, timeout=60):
        self.handle = 0
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(timeout)
        self.s.connect(path)
        if self.take(18) != b"NBDMAGICIHAVEOPT\0\3":
            raise OSError("not an NBD server")
        self.s.sendall(struct.pack(">IQIIIHH", 3, 0x49484156454F5054, 7, 8, 0, 1, 3))
        while True:
            _, _, kind, length = struct.unpack(">QIII", self.take(20))
            data = self.take(length)
            if kind == 3 and struct.unpack(">H", data[:2])[0] == 0:
                self.size = struct.unpack(">Q", data[2:10])[0]
            if kind == 1:
                return
            if kind & 0x80000000:
                raise OSError("the handshake was refused")

    def take(self, n):
        data = b""
        while len(data) < n:
            more = self.s.recv(n - len(data))
            if not more:
                raise ConnectionError("the server has closed the connection")
            data += more
        return data

    def ask(self, what, offset=0, length=0, data=b""):
        """Returns the error of the reply, and what was read."""
        self.handle += 1
        self.s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, what, self.handle, offset, length) + data)
        magic, error, handle = struct.unpack(">IIQ", self.take(16))
        if magic != 0x67446698 or handle != self.handle:
            fail("the server answers something else")
        return error, self.take(length) if what == READ and error == 0 else b""

    def close(self):
        self.s.close()


class Load(threading.Thread):
    """Writes and reads back one unit after the other, and knows what each of them may hold."""

    def __init__(self, path, reconnect=False, units=64, pause=0.002):
        super().__init__(daemon=True)
        self.path, self.reconnect, self.units, self.pause = path, reconnect, units, pause
        self.may = [{None} for _ in range(units)]  # versions; None: what was there before
        self.version = 0
        self.enough = threading.Event()
        self.ios = self.errors = self.reconnects = 0
        self.trouble = None
        self.longest = 0.0
        self.rnd = random.Random(path)
        self.start()

    def block(self, unit, version):
        return struct.pack(">QQ", unit, version) * (UNIT // 16)

    def step(self, nbd):
        unit = self.rnd.randrange(self.units)
        if self.rnd.random() < 0.5:
            self.version += 1
            self.may[unit].add(self.version)
            error, _ = nbd.ask(WRITE, unit * UNIT, UNIT, self.block(unit, self.version))
            if error == 0:
                self.may[unit] = {self.version}
        else:
            error, data = nbd.ask(READ, unit * UNIT, UNIT)
            if error == 0:
                held = [v for v in self.may[unit] if v is None or data == self.block(unit, v)]
                if not held:
                    fail(f"{self.path}: unit {unit} holds what nobody wrote or what was overwritten")
                if held != [None] and None in held:
                    held.remove(None)
                self.may[unit] = set(held)
        if error:
            self.errors += 1
            fail(f"{self.path}: I/O error {error}")
        self.ios += 1

    def connect(self):
        end = time.monotonic() + 60
        while True:
            try:
                return Nbd(self.path)
            except OSError:
                if not self.reconnect or time.monotonic() > end:
                    raise
                time.sleep(0.02)

    def run(self):
        try:
            nbd = self.connect()
            while not self.enough.is_set():
                began = time.monotonic()
                try:
                    self.step(nbd)
                except OSError:
                    if not self.reconnect:
                        raise
                    self.reconnects += 1
                    nbd.close()
                    nbd = self.connect()
                self.longest = max(self.longest, time.monotonic() - began)
                time.sleep(self.pause)
            nbd.close()
        except Exception as e:  # pylint: disable=broad-except
            self.trouble = e

    def check(self):
        if self.trouble:
            fail(f"load: {self.trouble!r}")

    def goes_on(self, ios=20, seconds=30):
        at = self.ios
        wait_for(f"{ios} more I/Os at {self.path}", seconds,
                 lambda: self.check() or self.ios >= at + ios)

    def stop(self):
        self.enough.set()
        self.join(60)
        self.check()

    def compare_all(self):
        """When it has stopped: each unit holds what was acknowledged last, or what may have come after."""
        nbd = self.connect()
        for unit, may in enumerate(self.may):
            error, data = nbd.ask(READ, unit * UNIT, UNIT)
            if error:
                fail(f"{self.path}: unit {unit}: error {error}")
            if None not in may and all(data != self.block(unit, v) for v in may):
                fail(f"{self.path}: unit {unit} does not hold what was acknowledged")
        nbd.close()


def closed(schema):
    """The schema, but that callers may ignore what it does not name: here it is a fault."""
    if isinstance(schema, list):
        return [closed(s) for s in schema]
    if not isinstance(schema, dict):
        return schema
    assert "allOf" not in schema, "what one part names is unknown to the other: write it as one"
    found = {k: closed(v) for k, v in schema.items()}
    if schema.get("type") == "object" and "properties" in schema:
        found.setdefault("additionalProperties", False)
    return found


VALIDATORS = {}
SCHEMA = json.loads((pathlib.Path(__file__).parents[2] / "docs/api.schema.json").read_text(encoding="utf-8"))
CLOSED = closed(SCHEMA["$defs"])


def hold(name, value):
    """Holds what the daemon has said against the schema of the API, which has to name all of it."""
    if name not in CLOSED:
        fail(f"{name} is not in the schema of the API: {value}")
    if jsonschema is None:
        return
    if name not in VALIDATORS:
        VALIDATORS[name] = jsonschema.Draft202012Validator({"$defs": CLOSED, "$ref": f"#/$defs/{name}"})
    for error in VALIDATORS[name].iter_errors(value):
        fail(f"{name}: {error.json_path}: {error.message}: {json.dumps(value)[:2000]}")


class Api:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(60)
        self.s.connect(str(path))
        self.f = self.s.makefile("rw", encoding="utf-8")
        self.events, self.progress = [], []

    def ask(self, method, **params):
        """Returns the result, or raises an AssertionError with the error."""
        self.f.write(json.dumps({"id": method, "method": method, "params": params}) + "\n")
        self.f.flush()
        while True:
            line = self.f.readline()
            if not line:
                raise ConnectionError("the daemon has closed the connection")
            o = json.loads(line)
            if "event" in o:
                hold(f"event.{o['event']}", o)
                self.events.append(o)
            elif "progress" in o:
                hold(f"{method}.progress", o["progress"])
                self.progress.append(o["progress"])
            elif "error" in o:
                hold("error", o["error"])
                fail(f"{method}: {o['error']}")
            else:
                hold(f"{method}.result", o["result"])
                return o["result"]


class Target:
    def __init__(self, world, *options, port=0):
        self.log = world.tmp / f"target{len(world.started)}.log"
        self.options = options
        self.world = world
        self.up(port)

    def up(self, port):
        with open(self.log, "w", encoding="utf-8") as log:
            self.p = self.world.start([BIN / "lunette-target", "-v", "--listen", f"127.0.0.1:{port}",
                                       *self.options], stdout=log, stderr=log)
        line = wait_for("the target listens", 10,
                        lambda: [l for l in self.text().splitlines() if l.startswith("listening on")])[0]
        self.portal = line.split()[-1]

    def text(self):
        return self.log.read_text(encoding="utf-8", errors="replace")

    def logins(self):
        return self.text().count("logged in to")


class World:
    def __init__(self, memory=False):
        """memory: files are kept in memory, so that no other user of a disk is measured."""
        shm = memory and os.access("/dev/shm", os.W_OK)
        self.dir = tempfile.TemporaryDirectory(prefix="iscsid-", dir="/dev/shm" if shm else "/tmp")
        self.tmp = pathlib.Path(self.dir.name)
        self.root = self.tmp / "r"
        self.root.mkdir()
        self.started = []
        self.iod = None
        self.iods = set()
        self.daemon = None

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind is not None:
            for log in sorted(self.tmp.glob("*.log")):
                text = log.read_text(encoding="utf-8", errors="replace").splitlines()
                print(f"--- {log.name}", *text[-40:], sep="\n", file=sys.stderr)
        for p in self.started:
            if p.poll() is None:
                p.kill()
                p.wait()
        for pid in self.iods:
            if alive(pid):
                os.kill(pid, signal.SIGKILL)
        self.dir.cleanup()

    def start(self, args, **kwargs):
        p = subprocess.Popen([str(a) for a in args], stdin=subprocess.DEVNULL, **kwargs)
        self.started.append(p)
        return p

    def iscsid(self, *options):
        with open(self.tmp / "iscsid.log", "a", encoding="utf-8") as log:
            self.daemon = self.start([BIN / "iscsid", "--root", self.root, "--firmware", self.tmp / "firmware", "-f",
                                      *options], stdout=log, stderr=log)
        return self.daemon

    def api(self):
        """A connection to the daemon, once its socket is there and answers."""
        def connect():
            if self.daemon.poll() is not None:
                fail(f"iscsid has ended with {self.daemon.returncode}")
            try:
                api = Api(self.root / "run/iscsid.sock")
                # The socket of one that was killed may outlive it for a moment.
                return api if api.ask("hello")["pid"] == self.daemon.pid else None
            except OSError:
                return None
        return wait_for("iscsid answers", 20, connect)

    def up(self, *options):
        """Starts the daemon and waits until the data plane is there; notes its process id."""
        self.iscsid(*options)
        api = self.api()
        self.find_iod(api)
        return api

    def find_iod(self, api):
        def found():
            plane = api.ask("daemon.status")["data_plane"]
            return plane["pid"] if plane["state"] == "up" and alive(plane["pid"]) else 0
        self.iod = wait_for("the data plane is up", 20, found)
        self.iods.add(self.iod)
        return self.iod

    def kill(self):
        self.daemon.kill()
        self.daemon.wait()

    def adm(self, *args, rc=0):
        p = subprocess.run([str(BIN / "iscsiadm"), "--root", str(self.root), "--no-start",
                            *[str(a) for a in args]],
                           stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90, check=False)
        if p.returncode != rc:
            fail(f"iscsiadm {args}: {p.returncode} instead of {rc}: {p.stdout} {p.stderr}")
        return p.stdout

    def relay(self, portal):
        control = self.tmp / f"relay{len(self.started)}"
        log = self.tmp / f"relay{len(self.started)}.log"
        with open(log, "w", encoding="utf-8") as f:
            self.start([os.environ["RELAY"], "--listen", "127.0.0.1:0", "--target", portal, "--control",
                        control], stdout=f, stderr=f)
        line = wait_for("the relay listens", 10, lambda: log.read_text(encoding="utf-8").strip())
        return line.splitlines()[0].split()[-1], control

    def tell(self, control, *words):
        subprocess.run([os.environ["RELAY"], "--tell", str(control), *map(str, words)], check=True,
                       stdout=subprocess.DEVNULL, timeout=10)


def sessions(api):
    return {s["target"]: s for s in api.ask("session.list", detail=3)["sessions"]}


def told(w, method, **params):
    """Asks on a connection of its own, in the background; returns what waits for the answer."""
    said = []

    def ask():
        api = w.api()
        api.f.write(json.dumps({"id": 1, "method": method, "params": params}) + "\n")
        api.f.flush()
        for o in map(json.loads, api.f):
            if "progress" not in o:
                said.append(o)
                return
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()

    return lambda: wait_for(f"{method} is answered", 60, lambda: said)[0]


PTRACE_SEIZE, PTRACE_INTERRUPT, PTRACE_DETACH = 0x4206, 0x4207, 17
WALL = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)
LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]


class Hung:
    """A thread that stands still until it is let go, stopped alone, as a debugger does."""

    def __init__(self, pid, name):
        self.tid = next(int(t.name) for t in pathlib.Path(f"/proc/{pid}/task").iterdir()
                        if (t / "comm").read_text().strip() == name)
        for request in (PTRACE_SEIZE, PTRACE_INTERRUPT):
            if LIBC.ptrace(request, self.tid, None, None) < 0:
                fail(f"thread {self.tid} cannot be stopped: {os.strerror(ctypes.get_errno())}")
        os.waitpid(self.tid, WALL)

    def let_go(self):
        if LIBC.ptrace(PTRACE_DETACH, self.tid, None, None) < 0:
            fail("the thread cannot be let go")

    def reap(self):
        """After the end of its process."""
        os.waitpid(self.tid, WALL)


def run(cases, inner=()):
    """Runs the cases that are named on the command line, or all."""
    for case in [*cases, *(inner if len(sys.argv) > 1 else ())]:
        if len(sys.argv) > 1 and case.__name__ not in sys.argv[1:]:
            continue
        began = time.monotonic()
        case()
        print(f"ok {case.__name__} {time.monotonic() - began:.1f} s", flush=True)
