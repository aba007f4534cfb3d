#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""nbd_read.py SOCKET - reads the first 512 bytes of an NBD export to standard output, and says when it has
asked for them; exit 5 for an error."""
import socket
import struct
import sys

s = socket.socket(socket.AF_UNIX)
s.settimeout(60)
s.connect(sys.argv[1])


def take(n):
    data = b""
    while len(data) < n:
        more = s.recv(n - len(data))
        if not more:
            sys.exit("the export has hung up")
        data += more
    return data


take(18)
s.sendall(struct.pack(">IQII", 3, 0x49484156454f5054, 1, 0))
take(10)
s.sendall(struct.pack(">IHHQQI", 0x25609513, 0, 0, 1, 0, 512))
print("asked", file=sys.stderr, flush=True)
magic, error, cookie = struct.unpack(">IIQ", take(16))
if error != 0:
    print("error", error, file=sys.stderr)
    sys.exit(5)
sys.stdout.buffer.write(take(512))
