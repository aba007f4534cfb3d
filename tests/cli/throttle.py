#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""throttle.py HOST:PORT BYTES-PER-SECOND - a way to a target that is slow; prints its own port.

A copy over it takes long enough to be stopped in the middle.  SIGSTOP makes the target stall.
"""
import selectors
import socket
import sys
import time

host, port = sys.argv[1].rsplit(":", 1)
rate = float(sys.argv[2])
server = socket.create_server(("127.0.0.1", 0))
print(server.getsockname()[1], flush=True)
sel = selectors.DefaultSelector()
sel.register(server, selectors.EVENT_READ, None)
allowed, last = 0.0, time.monotonic()


def drop(a, b):
    for s in (a, b):
        sel.unregister(s)
        s.close()


while True:
    for key, _ in sel.select(0.5):
        if key.data is None:
            a, _ = server.accept()
            b = socket.create_connection((host, int(port)))
            sel.register(a, selectors.EVENT_READ, b)
            sel.register(b, selectors.EVENT_READ, a)
            continue
        if key.fileobj.fileno() < 0:
            continue
        try:
            data = key.fileobj.recv(65536)
            if data:
                key.data.sendall(data)
        except OSError:
            data = b""
        if not data:
            drop(key.fileobj, key.data)
            continue
        now = time.monotonic()
        allowed = min(allowed + (now - last) * rate, 65536) - len(data)
        last = now
        if allowed < 0:
            time.sleep(-allowed / rate)
