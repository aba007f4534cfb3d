#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nbd_read.py SOCKET - reads the first 512 bytes of an NBD export to standard output, and says "asked" when
the server is at work on the request; exit 5 for an error."""
import array
import fcntl
import socket
import struct
import sys
import termios
import time


def take(s, n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            sys.exit("the export has hung up")
        data += more
    return data


def opened():
    s = socket.socket(socket.AF_UNIX)
    s.settimeout(60)
    s.connect(sys.argv[1])
    take(s, 18)
    s.sendall(struct.pack(">IQII", 3, 0x49484156454f5054, 1, 0))
    take(s, 10)
    return s


def unread(s):
    left = array.array("i", [0])
    fcntl.ioctl(s, termios.TIOCOUTQ, left)
    return left[0]


s = opened()
s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 512))
# The server has taken the request out of the socket; and has answered twice since then on another
# connection, so that it has done with it what there is to do.
while unread(s) > 0:
    time.sleep(0.01)
opened().close()
print("asked", file=sys.stderr, flush=True)
magic, error, cookie = struct.unpack(">IIQ", take(s, 16))
if error != 0:
    print("error", error, file=sys.stderr)
    sys.exit(5)
sys.stdout.buffer.write(take(s, 512))
