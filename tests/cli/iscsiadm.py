#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""iscsiadm against a daemon that answers as a transcript says.

usage: iscsiadm.py TRANSCRIPT SCHEMA     LUNETTE_BIN: where iscsiadm is

What is asked and answered is held against the schema of the API, where python3-jsonschema is installed.

A transcript is a list of what the daemon answers and of commands with all that they print:

    @ METHOD JSON       the answer to METHOD from now on, {"result": ...} or {"error": ...}
    @+ METHOD JSON      progress that comes before it; to be told before the answer
    @- METHOD           the method is not known any more
    $ ARGUMENTS         a command, without its name and the instance
    ...                 its standard output
    ! ...               its standard error
    [rc=N]              its exit code
    > METHOD PARAMS     what it asked for, all of it, where any such line is there

Between commands, lines that begin with % are comments.  @VERSION@ stands for the version.
"""
import json
import os
import pathlib
import shlex
import socket
import subprocess
import sys
import tempfile
import threading


class Daemon(threading.Thread):
    """Answers by methods, and notes what it was asked."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.answers, self.progress, self.asked = {}, {}, []
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.bind(str(path))
        self.sock.listen()

    def run(self):
        while True:
            try:
                conn, _ = self.sock.accept()
            except OSError:
                return
            with conn, conn.makefile("rwb") as f:
                for line in f:
                    self.answer(f, json.loads(line))

    def answer(self, f, request):
        method = request["method"]
        self.asked.append((method, request.get("params", {})))
        for p in self.progress.get(method, []):
            self.say(f, {"id": request["id"], "progress": p})
        unknown = {"error": {"code": "UNKNOWN_METHOD", "exit": 16, "message": f"there is no method {method}"}}
        self.say(f, {"id": request["id"], **self.answers.get(method, unknown)})

    @staticmethod
    def say(f, message):
        f.write(json.dumps(message).encode() + b"\n")
        f.flush()


def version(program):
    return subprocess.run([program, "-V"], capture_output=True, text=True, check=True).stdout.split()[-1]


class Schema:
    def __init__(self, path):
        self.schema, self.bad, self.checked = json.loads(pathlib.Path(path).read_text(encoding="utf-8")), [], 0
        try:
            import jsonschema
            self.validator = jsonschema.Draft202012Validator
        except ImportError:
            self.validator = None

    def check(self, name, value):
        if name not in self.schema["$defs"]:
            self.bad.append(f"{name} is not in the schema")
        elif self.validator is not None:
            self.checked += 1
            v = self.validator({**self.schema, "$ref": f"#/$defs/{name}"})
            self.bad += [f"{name}: {'/'.join(map(str, e.path))}: {e.message}" for e in v.iter_errors(value)]


    def check_members(self, method, params):
        """A daemon refuses parameters that it does not know."""
        known = self.schema["$defs"].get(f"{method}.params", {}).get("properties", {})
        self.bad += [f"{method}: the parameter {n} is not in the schema" for n in sorted(set(params) - set(known))]


class Transcript:
    def __init__(self, path, program, root, daemon, schema):
        text = pathlib.Path(path).read_text(encoding="utf-8").replace("@VERSION@", version(program))
        self.lines = list(enumerate(text.splitlines(), 1))
        self.program, self.root, self.daemon, self.schema = program, root, daemon, schema
        self.commands, self.bad = 0, []

    def run(self):
        while self.lines:
            number, line = self.lines.pop(0)
            if line == "$" or line.startswith("$ "):
                self.command(number, line[2:])
            elif line.startswith("@"):
                self.teach(line)
            elif line.strip() and not line.startswith("%"):
                sys.exit(f"line {number} of the transcript is not understood: {line}")

    def teach(self, line):
        how, method, *rest = line.split(" ", 2)
        if how == "@+":
            self.daemon.progress.setdefault(method, []).append(json.loads(rest[0]))
            self.schema.check(f"{method}.progress", json.loads(rest[0]))
        elif how == "@-":
            self.daemon.answers.pop(method, None)
            self.daemon.progress.pop(method, None)
        else:
            if method in self.daemon.answers:
                self.daemon.progress.pop(method, None)
            self.daemon.answers[method] = answer = json.loads(rest[0])
            self.schema.check("answer", answer)
            if "result" in answer:
                self.schema.check(f"{method}.result", answer["result"])

    def expected(self):
        out, err, rc, asked = [], [], None, []
        while rc is None:
            _, line = self.lines.pop(0)
            if line.startswith("[rc="):
                rc = int(line[4:-1])
            elif line.startswith("! "):
                err.append(line[2:])
            else:
                out.append(line)
        while self.lines and self.lines[0][1].startswith("> "):
            method, params = self.lines.pop(0)[1][2:].split(" ", 1)
            asked.append((method, json.loads(params)))
        return {"rc": rc, "stdout": out, "stderr": err, "asked": asked}

    def command(self, number, arguments):
        want = self.expected()
        self.daemon.asked.clear()
        self.commands += 1
        r = subprocess.run([self.program, "--root", self.root, "--no-start", *shlex.split(arguments)],
                           capture_output=True, text=True, timeout=60, check=False)
        err = r.stderr.replace(str(self.program) + ":", "iscsiadm:")
        got = {"rc": r.returncode, "stdout": r.stdout.splitlines(), "stderr": err.splitlines(),
               "asked": list(self.daemon.asked)}
        for method, params in got["asked"]:
            self.schema.check(f"{method}.params", params)
            self.schema.check_members(method, params)
        if not want["asked"]:
            del want["asked"]
        for what, value in want.items():
            if got[what] != value:
                self.bad.append(f"line {number}: iscsiadm {arguments}: {what}\n"
                                f"  want {json.dumps(value, indent=1)}\n  got  {json.dumps(got[what], indent=1)}")


def main():
    program = pathlib.Path(os.environ["LUNETTE_BIN"]) / "iscsiadm"
    with tempfile.TemporaryDirectory() as root:
        (pathlib.Path(root) / "run").mkdir()
        daemon = Daemon(pathlib.Path(root) / "run/iscsid.sock")
        daemon.start()
        schema = Schema(sys.argv[2])
        t = Transcript(sys.argv[1], program, root, daemon, schema)
        t.run()
    bad = t.bad + schema.bad
    print("\n".join(bad), end="\n" if bad else "")
    print(f"{t.commands} commands, {schema.checked} messages against the schema, {len(bad)} differences")
    return 1 if bad or not t.commands else 0


if __name__ == "__main__":
    sys.exit(main())
