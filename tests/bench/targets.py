# SPDX-License-Identifier: MIT
"""The targets of the benchmark: started when first used, ended with the benchmark.

null          the bare target, a fixed pattern        null-ram      the same, memory
null-awake    the same, a pattern, never sleeping: it is ended behind each run
lunette-null  lunette-target, a null unit             lunette-ram   the same, memory
tgtd-null     tgtd, its null store                    tgtd-ram      tgtd, a file on tmpfs
istgt-ram     istgt, a file on tmpfs
"""
import os
import shutil
import socket
import subprocess
import tempfile
import time

IQN = "iqn.2026-11.example:bench"
RAM = 1 << 30
TGTD_PORT, ISTGT_PORT = 3260, 3360  # the network is ours alone
SHM = "/dev/shm"

# What reads are compared with: see load_* --verify.
VERIFY = {"null": "pattern", "null-awake": "pattern", "null-ram": "write", "lunette-null": "zero",
          "lunette-ram": "write", "tgtd-ram": "write", "istgt-ram": "write"}
NEEDS = {"tgtd": ("tgtd", "tgtadm"), "istgt": ("istgt",)}


class Unavailable(Exception):
    """The target cannot be had here."""


class Process:
    def __init__(self, command, cpu, log, env=None):
        self.log = log
        with open(log, "w", encoding="utf-8") as out:
            self.popen = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT, env=env,
                preexec_fn=lambda: os.sched_setaffinity(0, {cpu}))
        self.pid = self.popen.pid

    def wait_for(self, what, seconds=15):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = what()
            if found:
                return found
            if self.popen.poll() is not None:
                break
            time.sleep(0.02)
        with open(self.log, encoding="utf-8", errors="replace") as f:
            raise RuntimeError(f"{self.popen.args[0]} does not start: {f.read()[-2000:]}")

    def listening(self):
        """The address of the line "listening on ADDRESS"."""
        with open(self.log, encoding="utf-8", errors="replace") as f:
            for line in f:
                if line.startswith("listening on ") and line.endswith("\n"):
                    return line.split()[2]
        return None

    def end(self):
        if self.popen.poll() is None:
            self.popen.kill()
            self.popen.wait()


def port_open(port):
    with socket.socket() as s:
        s.settimeout(1)
        return s.connect_ex(("127.0.0.1", port)) == 0


class Targets:
    def __init__(self, build, cpu, ram=RAM):
        self.build, self.cpu, self.ram = build, cpu, ram
        self.tmp = tempfile.mkdtemp(prefix="lunette-bench.")
        self.shm = tempfile.mkdtemp(prefix="lunette-bench.", dir=SHM)
        self.running = {}  # family: Process
        self.urls = {}

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for process in self.running.values():
            process.end()
        shutil.rmtree(self.tmp, ignore_errors=True)
        shutil.rmtree(self.shm, ignore_errors=True)

    def get(self, name):
        """The URL and the process."""
        family = name if name.startswith("null") else name.split("-")[0]
        if family not in self.running:
            for program in NEEDS.get(family, ()):
                if not shutil.which(program):
                    raise Unavailable(f"{program} is not installed")
            getattr(self, "start_" + family.replace("-", "_"))()
        process = self.running[family]
        if process.popen.poll() is not None:
            raise RuntimeError(f"{family} has ended with {process.popen.returncode}")
        return self.urls[name], process

    def start(self, family, command, env=None):
        process = Process(command, self.cpu, os.path.join(self.tmp, family + ".log"), env)
        self.running[family] = process
        return process

    def start_bare(self, name, *options):
        process = self.start(name, [f"{self.build}/tests/bench/null_target", "-p", "0", *options])
        self.urls[name] = f"iscsi://{process.wait_for(process.listening)}/{IQN}/0"

    def start_null(self):
        self.start_bare("null")

    def start_null_awake(self):
        self.start_bare("null-awake", "-S")

    def end_awake(self):
        """It takes a whole CPU, which the runs of others are not to feel."""
        process = self.running.pop("null-awake", None)
        if process:
            process.end()

    def start_null_ram(self):
        self.start_bare("null-ram", "-m", str(min(self.ram >> 20, 256)))

    def start_lunette(self):
        process = self.start("lunette", [f"{self.build}/bin/lunette-target", "--listen",
                                         "127.0.0.1:0", "--target", IQN, "--lun", "null:1T",
                                         "--lun", f"ram:{self.ram}"])
        portal = process.wait_for(process.listening)
        self.urls["lunette-null"] = f"iscsi://{portal}/{IQN}/0"
        self.urls["lunette-ram"] = f"iscsi://{portal}/{IQN}/1"

    def ram_file(self, name):
        path = os.path.join(self.shm, name)
        with open(path, "wb") as f:
            zeroes = bytes(1 << 20)
            for _ in range(self.ram >> 20):
                f.write(zeroes)  # no holes: the pages are there
        return path

    def start_tgtd(self):
        env = dict(os.environ, TGT_IPC_SOCKET=os.path.join(self.tmp, "tgt-ipc"))

        def tgtadm(*words):
            return subprocess.run(["tgtadm", "--lld", "iscsi", *words], env=env, check=False,
                                  capture_output=True).returncode == 0

        process = self.start("tgtd", ["tgtd", "-f", "--iscsi", f"portal=127.0.0.1:{TGTD_PORT}"], env)
        process.wait_for(lambda: tgtadm("--op", "show", "--mode", "sys") and port_open(TGTD_PORT))
        ok = tgtadm("--op", "new", "--mode", "target", "--tid", "1", "-T", IQN)
        for key in ("HeaderDigest", "DataDigest"):
            ok &= tgtadm("--op", "update", "--mode", "target", "--tid", "1", "--name", key,
                         "--value", "CRC32C,None")
        for lun, path, kind in (("1", "/dev/null", "null"), ("2", self.ram_file("tgtd"), "rdwr")):
            ok &= tgtadm("--op", "new", "--mode", "logicalunit", "--tid", "1", "--lun", lun,
                         "-b", path, "--bstype", kind)
        ok &= tgtadm("--op", "bind", "--mode", "target", "--tid", "1", "-I", "ALL")
        if not ok:
            raise RuntimeError("tgtadm fails")
        self.urls["tgtd-null"] = f"iscsi://127.0.0.1:{TGTD_PORT}/{IQN}/1"
        self.urls["tgtd-ram"] = f"iscsi://127.0.0.1:{TGTD_PORT}/{IQN}/2"

    def start_istgt(self):
        conf = os.path.join(self.tmp, "istgt.conf")
        with open(conf, "w", encoding="ascii") as f:
            f.write(ISTGT_CONF.format(base=IQN.split(":")[0], tmp=self.tmp, port=ISTGT_PORT,
                                      control=ISTGT_PORT + 1, name=IQN.split(":")[1],
                                      file=self.ram_file("istgt"), mib=self.ram >> 20))
        with open(os.path.join(self.tmp, "auth.conf"), "w", encoding="ascii") as f:
            f.write("")
        os.chmod(os.path.join(self.tmp, "auth.conf"), 0o600)
        process = self.start("istgt", ["istgt", "-D", "-c", conf])
        process.wait_for(lambda: port_open(ISTGT_PORT))
        self.urls["istgt-ram"] = f"iscsi://127.0.0.1:{ISTGT_PORT}/{IQN}/0"


ISTGT_CONF = """
[Global]
  NodeBase "{base}"
  PidFile {tmp}/istgt.pid
  AuthFile {tmp}/auth.conf
  LogFacility "local7"
  Timeout 30
  NopInInterval 20
  DiscoveryAuthMethod Auto
  MaxSessions 16
  MaxConnections 4
  MaxR2T 32
  MaxOutstandingR2T 16
  DefaultTime2Wait 2
  DefaultTime2Retain 60
  FirstBurstLength 262144
  MaxBurstLength 1048576
  MaxRecvDataSegmentLength 262144
[UnitControl]
  AuthMethod None
  AuthGroup None
  Portal UC1 127.0.0.1:{control}
  Netmask 127.0.0.1
[PortalGroup1]
  Portal DA1 127.0.0.1:{port}
[InitiatorGroup1]
  InitiatorName "ALL"
  Netmask ALL
[LogicalUnit1]
  TargetName {name}
  Mapping PortalGroup1 InitiatorGroup1
  AuthMethod None
  AuthGroup None
  UnitType Disk
  QueueDepth 255
  LUN0 Storage {file} {mib}MB
"""
