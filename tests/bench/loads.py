# SPDX-License-Identifier: MIT
"""How the loads are called."""
import os


def path(build, run):
    return os.path.join(build, "tests/bench", "load_" + run.load)


def command(build, run, url, cpu, peer_cpu):
    out = [path(build, run), *run.options(), "--cpu", str(cpu)]
    if run.load == "sockets":
        return out + ["--peer-cpu", str(peer_cpu)]
    keys = run.url_keys()
    return out + ["--url", url + ("?" + "&".join(keys) if keys else "")]
