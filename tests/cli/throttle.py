#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""throttle.py HOST:PORT BYTES-PER-SECOND [STOP-AFTER] - a way to a target that is slow; prints its own port.

A copy over it takes long enough to be stopped in the middle.  SIGSTOP makes the target stall; it stops
itself when so many bytes have gone over one connection.
"""
import os
import selectors
import signal
import socket
import sys
import time

host, port = sys.argv[1].rsplit(":", 1)
rate = float(sys.argv[2])
stop_after = float(sys.argv[3]) if len(sys.argv) > 3 else float("inf")
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
            gone = [0]  # of both ways
            sel.register(a, selectors.EVENT_READ, (b, gone))
            sel.register(b, selectors.EVENT_READ, (a, gone))
            continue
        other, gone = key.data
        if key.fileobj.fileno() < 0:
            continue
        try:
            data = key.fileobj.recv(65536)
            if data:
                other.sendall(data)
        except OSError:
            data = b""
        if not data:
            drop(key.fileobj, other)
            continue
        gone[0] += len(data)
        if gone[0] >= stop_after > gone[0] - len(data):
            os.kill(os.getpid(), signal.SIGSTOP)
        now = time.monotonic()
        allowed = min(allowed + (now - last) * rate, 65536) - len(data)
        last = now
        if allowed < 0:
            time.sleep(-allowed / rate)
