# SPDX-License-Identifier: MIT
"""Plants a fault in one source file and builds a program with it.

A mutant is one source file with a few lines changed, compiled as the build compiles it, and linked in
front of the archives that hold the honest one.  Nothing of the source tree is touched.
"""
import json
import pathlib
import shlex
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent


def fail(text):
    print(text)
    sys.exit(1)


def mutate(name, path, changes):
    """The file with each change made, every one of which has to fit once."""
    text = (ROOT / path).read_text(encoding="utf-8")
    for old, new in changes:
        if text.count(old) != 1:
            fail(f"{name}: {path} does not have these lines once: {old!r}")
        text = text.replace(old, new)
    return text


def compile_command(commands, path):
    """The one of the layer's archive; a program may compile the same file once more."""
    for entry in commands:
        source = pathlib.Path(entry["directory"], entry["file"]).resolve()
        if source == (ROOT / path).resolve() and ".a.p/" in entry["output"]:
            return shlex.split(entry["command"])
    fail(f"{path} is not in compile_commands.json")


def build(build_dir, program, name, path, changes, tmp):
    """A copy of the program with the fault in it; returns where it is."""
    source, obj, copy = tmp / (name + ".c"), tmp / (name + ".o"), tmp / name
    source.write_text(mutate(name, path, changes), encoding="utf-8")
    commands = json.loads((build_dir / "compile_commands.json").read_text(encoding="utf-8"))
    cc = compile_command(commands, path)
    out, at = cc.index("-o"), cc.index("-c")
    cc[out + 1], cc[at + 1] = str(obj), str(source)
    cc = [a for i, a in enumerate(cc) if a not in ("-MD",) and not (a in ("-MQ", "-MF") or
                                                                  (i > 0 and cc[i - 1] in ("-MQ", "-MF")))]
    # A file beside its own headers finds them there.
    cc += ["-Wno-error", "-Werror=incompatible-pointer-types", "-iquote", str((ROOT / path).parent)]
    done = subprocess.run(cc, cwd=build_dir, capture_output=True, text=True)
    if done.returncode != 0:
        fail(f"{name}: it does not compile: {done.stderr}")
    link = subprocess.run(["ninja", "-t", "commands", "-s", program], cwd=build_dir, check=True,
                          capture_output=True, text=True).stdout
    link = shlex.split(link.strip().splitlines()[-1])
    out = link.index("-o")
    link[out + 1] = str(copy)
    link.insert(out + 2, str(obj))
    subprocess.run(link, cwd=build_dir, check=True)
    return copy
