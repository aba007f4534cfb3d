# SPDX-License-Identifier: MIT
"""pdu.py - iSCSI PDUs (RFC 7143 11) as bytes, made by hand.

Shares nothing with src/wire, so that a misread RFC does not pass unseen.
Nothing here refuses anything: the hostile target must be able to say what is wrong.
"""
import struct

RESERVED = 0xffffffff  # the reserved tag

NOP_OUT, SCSI_CMD, TMF_REQ, LOGIN_REQ, TEXT_REQ, DATA_OUT, LOGOUT_REQ, SNACK = (
    0, 1, 2, 3, 4, 5, 6, 0x10)
NOP_IN, SCSI_RSP, TMF_RSP, LOGIN_RSP, TEXT_RSP, DATA_IN, LOGOUT_RSP, R2T, ASYNC, REJECT = (
    0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f)
NAMES = {0: "NOP-Out", 1: "SCSI Command", 2: "TMF Request", 3: "Login Request", 4: "Text Request",
         5: "Data-Out", 6: "Logout Request", 0x10: "SNACK", 0x20: "NOP-In", 0x21: "SCSI Response",
         0x22: "TMF Response", 0x23: "Login Response", 0x24: "Text Response", 0x25: "Data-In",
         0x26: "Logout Response", 0x31: "R2T", 0x32: "Async", 0x3f: "Reject"}

GOOD, CHECK, BUSY, CONFLICT, FULL = 0, 2, 8, 0x18, 0x28


def _crc_table():
    table = []
    for n in range(256):
        for _ in range(8):
            n = (n >> 1) ^ (0x82f63b78 if n & 1 else 0)
        table.append(n)
    return table


_CRC = _crc_table()


def crc32c(data):
    """The digest as it goes on the wire."""
    crc = 0xffffffff
    for b in data:
        crc = (crc >> 8) ^ _CRC[(crc ^ b) & 0xff]
    return struct.pack("<I", crc ^ 0xffffffff)


def text(*pairs):
    """Text keys as they go on the wire; bytes are taken as they are."""
    out = b""
    for p in pairs:
        if isinstance(p, bytes):
            out += p
        else:
            out += ("%s=%s" % p).encode("latin-1") + b"\0"
    return out


def parse_text(data):
    """[(key, value)] of a text."""
    pairs = []
    for item in data.split(b"\0"):
        if item:
            key, _, value = item.partition(b"=")
            pairs.append((key.decode("latin-1"), value.decode("latin-1")))
    return pairs


def sense(key, asc, ascq=0, length=18):
    """Fixed format sense data with the length that a SCSI Response wants before it."""
    s = bytes([0x70, 0, key, 0, 0, 0, 0, 10, 0, 0, 0, 0, asc, ascq, 0, 0, 0, 0])[:length]
    return struct.pack(">H", len(s)) + s


def shown(op, data):
    """The text of a PDU that carries one, for the log."""
    return " %r" % data[:600] if op in (LOGIN_REQ, TEXT_REQ, LOGIN_RSP, TEXT_RSP) else ""


class Request:
    """A PDU from the initiator."""

    def __init__(self, header, ahs, data, pad):
        self.h, self.ahs, self.data, self.pad = header, ahs, data, pad

    opcode = property(lambda s: s.h[0] & 0x3f)
    immediate = property(lambda s: bool(s.h[0] & 0x40))
    flags = property(lambda s: s.h[1])
    final = property(lambda s: bool(s.h[1] & 0x80))
    lun = property(lambda s: bytes(s.h[8:16]))
    itt = property(lambda s: s.word(16))
    ttt = property(lambda s: s.word(20))
    cmd_sn = property(lambda s: s.word(24))
    exp_stat_sn = property(lambda s: s.word(28))
    edtl = property(lambda s: s.word(20))
    cdb = property(lambda s: bytes(s.h[32:48]) + s.ahs[4:])
    reads = property(lambda s: bool(s.h[1] & 0x40))
    writes = property(lambda s: bool(s.h[1] & 0x20))
    csg = property(lambda s: (s.h[1] >> 2) & 3)
    nsg = property(lambda s: s.h[1] & 3)
    transit = property(lambda s: bool(s.h[1] & 0x80))
    more = property(lambda s: bool(s.h[1] & 0x40))

    def word(self, offset):
        return struct.unpack_from(">I", self.h, offset)[0]

    def __str__(self):
        return "%s%s itt=%08x flags=%02x %s len=%d%s" % (
            NAMES.get(self.opcode, "%#x" % self.opcode), " I" if self.immediate else "", self.itt,
            self.flags, self.cdb[:16].hex() if self.opcode == SCSI_CMD else self.h[20:48].hex(),
            len(self.data), shown(self.opcode, self.data))


class Out:
    """A PDU to the initiator.  Everything may be spoiled before it goes."""

    def __init__(self, op, flags=0x80, b2=0, b3=0, lun=bytes(8), itt=RESERVED, words=(), data=b"",
                 ahs=b""):
        self.h = bytearray(48)
        self.h[0:4] = bytes([op, flags, b2, b3])
        self.h[8:16] = lun
        self.put(16, itt)
        for i, w in enumerate(words):
            self.put(20 + 4 * i, w)
        self.data, self.ahs = bytes(data), bytes(ahs)
        self.dlen = None          # what DataSegmentLength says, if not the truth
        self.ahs_words = None     # the same for TotalAHSLength
        self.pad = 0              # the byte to pad with
        self.flip_header = self.flip_data = self.no_digests = False

    op = property(lambda s: s.h[0] & 0x3f)

    def put(self, offset, word):
        struct.pack_into(">I", self.h, offset, word & 0xffffffff)
        return self

    def word(self, offset):
        return struct.unpack_from(">I", self.h, offset)[0]

    def bytes(self, header_digest=False, data_digest=False):
        h = bytearray(self.h)
        h[4] = len(self.ahs) // 4 if self.ahs_words is None else self.ahs_words
        h[5:8] = struct.pack(">I", len(self.data) if self.dlen is None else self.dlen)[1:]
        head = bytes(h) + self.ahs
        body = self.data + bytes([self.pad]) * (-len(self.data) % 4)
        wire = head
        if header_digest and not self.no_digests:
            wire += _flipped(crc32c(head), self.flip_header)
        wire += body
        if data_digest and body and not self.no_digests:
            wire += _flipped(crc32c(body), self.flip_data)
        return wire

    def __str__(self):
        return "%s itt=%08x flags=%02x status=%02x %s len=%d%s" % (
            NAMES.get(self.op, "%#x" % self.op), self.word(16), self.h[1], self.h[3],
            self.h[20:48].hex(), len(self.data), shown(self.op, self.data))


def _flipped(digest, flip):
    return bytes([digest[0] ^ 1]) + digest[1:] if flip else digest
