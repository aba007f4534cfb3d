# SPDX-License-Identifier: MIT
"""Writes whose data is lent to the kernel (zero_copy=yes), and targets that answer early."""
import socket

from pdu import CHECK, GOOD, SCSI_CMD, Request, sense
from registry import LOST, OK, SCSI, TIMEOUT, case, variant
from target import Lun, Target, pattern

SIZE = 256 << 10       # of each write, all of it immediate data
COUNT = 12
WRITTEN = pattern(SIZE * COUNT, 98)
URL = "zero_copy=yes&max_transfer=%d" % SIZE
WRITE = (0x0a, 0x2a, 0x8a)


class _Lent(Target):
    """Takes writes of SIZE whole, through a window that is much smaller."""
    params = {"MaxRecvDataSegmentLength": str(SIZE), "FirstBurstLength": str(SIZE)}

    def setup(self):
        self.luns = {0: Lun(len(WRITTEN) // 512)}
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)

    def serve(self, conn):
        self.login(conn)
        while True:
            h = conn.read_bytes(48)
            size = int.from_bytes(h[5:8], "big")
            if h[0] & 0x3f == SCSI_CMD and h[32] in WRITE:
                conn.exp_cmd_sn = (int.from_bytes(h[24:28], "big") + 1) & 0xffffffff
                self.lent(conn, Request(h, b"", b"", b""), size)
                continue
            req = Request(h, b"", conn.read_bytes(size), conn.read_bytes(-size % 4))
            if not req.immediate:
                conn.exp_cmd_sn = (req.cmd_sn + 1) & 0xffffffff
            if not self.request(conn, req):
                conn.close()

    def take(self, conn, cmd, size):
        """The data of a write, which must be what was written."""
        offset, _ = self.extent(cmd, self.luns[0])
        if conn.read_bytes(size) != WRITTEN[offset:offset + size]:
            self.errors.append("memory was given back while its bytes were still to be sent")


def _early(name, about, want, status, then, **options):
    """Each write is answered before its data is read."""
    def lent(self, conn, cmd, size):
        self.status(conn, cmd, status, data=sense(5, 0x21) if status == CHECK else b"")
        then(self, conn, cmd, size)
    variant(_Lent, name, about, "lent", "RSP-01", want,
            dict({"run": "write-large", "url": URL, "seconds": 30, "quiet": True}, **options), lent=lent)


def _late(self, conn, cmd, size):
    self.wait(0.2)
    self.take(conn, cmd, size)


def _never(self, conn, cmd, size):
    conn.freeze()


@case("lent", "RSP-01", OK, run="write-large", url=URL, seconds=30, quiet=True)
class lent_in_order(_Lent):
    """Read slowly, then answered."""
    def lent(self, conn, cmd, size):
        self.wait(0.05)
        self.take(conn, cmd, size)
        self.status(conn, cmd, GOOD)


_early("lent_good_early", "GOOD at once, the data is read a while later", OK, GOOD, _late)
_early("lent_check_early", "CHECK CONDITION at once, the data is read a while later", SCSI, CHECK, _late)
_early("lent_good_unread", "GOOD at once, and nothing is read any more", TIMEOUT | LOST, GOOD, _never)
_early("lent_check_unread", "CHECK CONDITION at once, and nothing is read any more", TIMEOUT | LOST | SCSI,
       CHECK, _never)
_early("lent_good_closed", "GOOD at once, then the connection is reset", LOST, GOOD,
       lambda self, conn, cmd, size: conn.close(reset=True))
_early("lent_good_ended", "GOOD at once, then the connection is closed", LOST, GOOD,
       lambda self, conn, cmd, size: conn.close())


@case("tmf", "TMO-01", OK, run="write-large", seconds=40,
      url="max_transfer=%d&ping_interval=300&ping_timeout=300&timeout=30000" % SIZE)
class slow_link_out(_Lent):
    """Takes 26 KB every 0.1 s of each write: our pings wait behind the data, and it is alive."""
    def lent(self, conn, cmd, size):
        offset, _ = self.extent(cmd, self.luns[0])
        data = b""
        while len(data) < size:
            data += conn.read_bytes(min(26000, size - len(data)))
            self.wait(0.1)
        if data != WRITTEN[offset:offset + size]:
            self.errors.append("wrong data")
        self.status(conn, cmd, GOOD)
