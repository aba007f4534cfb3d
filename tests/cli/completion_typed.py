#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""completion_typed.py bash|zsh FOLDER - lines are typed in a real shell, with Tab; what has the shell made of them?

FOLDER is where the build has put the completions.  The programs are functions that write their arguments
to a file, so that a line ends as the words that the program would have seen.
"""
import fcntl
import os
import pathlib
import pty
import re
import select
import shutil
import signal
import struct
import sys
import tempfile
import termios
import time

# What is typed -> the arguments.
LINES = {
    "lunette cop\t": ["copy"],
    "lunette help ben\t": ["help", "bench"],
    "lunette copy --veri\t": ["copy", "--verify"],
    "lunette copy --leng\t4k": ["copy", "--length=4k"],
    "lunette info --loop ur\t": ["info", "--loop", "uring"],
    "lunette info --loop=ur\t": ["info", "--loop=uring"],
    "lunette copy --progress=js\t": ["copy", "--progress=json"],
    "lunette ls \thost/": ["ls", "iscsi://host/"],
    "lunette ls isc\thost/": ["ls", "iscsi://host/"],
    "lunette ls iscsi:\thost/": ["ls", "iscsi://host/"],
    "lunette ls --json -v isc\thost": ["ls", "--json", "-v", "iscsi://host"],
    "lunette copy isc\th/t/0 ima\t": ["copy", "iscsi://h/t/0", "image.img"],
    "lunette copy two\\ w\t isc\th/t/0": ["copy", "two words", "iscsi://h/t/0"],
    "lunette copy fold\tins\t iscsi://h/t/0": ["copy", "folder/inside", "iscsi://h/t/0"],
    "lunette ls --chap-file ima\t": ["ls", "--chap-file", "image.img"],
    "lunette ls --chap-file=ima\t": ["ls", "--chap-file=image.img"],
    "lunette ls --chap-file=fold\tin\t": ["ls", "--chap-file=folder/inside"],
    "lunette-target --lu\tra\t1M": ["--lun=ram:1M"],
    "lunette-target --lun fil\tima\t": ["--lun", "file:image.img"],
    "iscsid --foregr\t-c ima\t": ["--foreground", "-c", "image.img"],
    "iscsi-iod --loop=ur\t": ["--loop=uring"],
    "lunette-target --lun ram:1M --targ\tx --lun file:fold\tin\t": ["--lun", "ram:1M", "--target=x", "--lun", "file:folder/inside"],
}
# What is typed -> some of what is listed.
LISTS = {
    "lunette \t\t": ["demo", "discover", "copy", "scsi", "help"],
    "lunette bench --\t\t": ["--rw", "--bs", "--depth", "--time", "--mix", "--json", "--chap-file", "--help"],
    "lunette bench --rw rand\t\t": ["randread", "randwrite", "randrw"],
    "lunette-target --\t\t": ["--listen", "--lun", "--redirect-permanent", "--pace-us", "--version"],
}
START = {
    "bash": """PS1='ready> '
bind 'set enable-bracketed-paste off'
bind 'set completion-query-items 0'
bind 'set page-completions off'
source {folder}/lunette
source {folder}/lunette-target
source {folder}/iscsid
source {folder}/iscsi-iod
""",
    "zsh": """PS1='ready> '
bindkey -e
unset zle_bracketed_paste
setopt no_auto_menu no_prompt_sp
LISTMAX=1000
fpath=({folder} $fpath)
autoload -Uz compinit && compinit -u -D
""",
}
PROGRAMS = """
lunette() {{ printf '%s\\n' "$@" > words; echo th'at was all'; }}
lunette-target() {{ lunette "$@"; }}
iscsid() {{ lunette "$@"; }}
iscsi-iod() {{ lunette "$@"; }}
"""
COMMAND = {"bash": ["bash", "--noprofile", "--rcfile", ".zshrc", "-i"], "zsh": ["zsh", "-d", "-i"]}


class Shell:
    def __init__(self, kind, folder):
        home, self.shown = os.getcwd(), ""
        pathlib.Path(".zshrc").write_text((START[kind] + PROGRAMS).format(folder=folder), encoding="utf-8")
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 200, 200, 0, 0))
            os.execvpe(COMMAND[kind][0], COMMAND[kind], {
                "PATH": os.environ["PATH"], "HOME": home, "ZDOTDIR": home, "TERM": "vt100", "LC_ALL": "C.UTF-8",
                "INPUTRC": "/dev/null", "HISTFILE": ""})
        self.until("ready> ")

    def until(self, end):
        """What the shell prints up to `end`."""
        limit = time.monotonic() + 20
        while end not in self.shown:
            if not select.select([self.fd], [], [], max(0, limit - time.monotonic()))[0]:
                raise TimeoutError(f"no {end!r} in {self.shown!r}")
            self.shown += os.read(self.fd, 65536).decode(errors="replace")
        out, _, self.shown = self.shown.partition(end)
        return out

    def type(self, keys):
        os.write(self.fd, keys.encode())

    def words(self, line):
        """Types the line, and tells what the program is given."""
        self.type(line + "\r")
        self.until("that was all")
        self.until("ready> ")
        return pathlib.Path("words").read_text(encoding="utf-8").splitlines()

    def listed(self, line):
        """Types the line, and tells what the shell shows before it is taken back."""
        self.type(line)
        self.type("\x15echo tak''en back\r")
        out = self.until("taken back")
        self.until("ready> ")
        return out

    def end(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


def main():
    kind, folder = sys.argv[1], os.path.realpath(sys.argv[2])
    if shutil.which(kind) is None:
        print(f"SKIP: {kind} is not installed")
        return 77
    failed = 0
    with tempfile.TemporaryDirectory(prefix="lunette-completion.") as tmp:
        os.chdir(tmp)
        pathlib.Path("folder").mkdir()
        for name in ("image.img", "two words", "folder/inside"):
            pathlib.Path(name).touch()
        shell = Shell(kind, folder)
        try:
            for line, want in LINES.items():
                got = shell.words(line)
                if got != want:
                    failed += 1
                    print(f"FAIL: {line!r} becomes {got}, want {want}")
            for line, want in LISTS.items():
                shown = shell.listed(line)
                missing = [w for w in want if not re.search(rf"(?<![\w-]){w}(?![\w-])", shown)]
                if missing:
                    failed += 1
                    print(f"FAIL: {line!r} does not list {missing}: {shown!r}")
        finally:
            shell.end()
        os.chdir("/")
    print(f"{len(LINES) + len(LISTS)} lines typed, {failed} failed")
    return 1 if failed else 0


sys.exit(main())
