#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""test_witness.py - the witness can fail: wrong PDUs of an initiator, each with the rule it breaks."""
import struct
import sys

from pdu import (LOGIN_REQ, LOGOUT_REQ, Out, RESERVED, Request, SCSI_CMD, TEXT_REQ, TEXT_RSP,
                 TMF_REQ)
from witness import Witness


def pdu(op, flags=0x80, itt=1, w20=RESERVED, cmd_sn=5, w32=0, data=b"", lun=bytes(8), b23=b"\0\0",
        cdb=bytes(16), ahs=b""):
    h = bytearray(48)
    h[0], h[1], h[2:4], h[4] = op, flags, b23, len(ahs) // 4
    h[8:16] = lun
    struct.pack_into(">IIII", h, 16, itt, w20, cmd_sn, 0)
    struct.pack_into(">I", h, 32, w32)
    if op & 0x3f == SCSI_CMD:
        h[32:48] = cdb
    return Request(bytes(h), ahs, data, bytes(-len(data) % 4))


I = 0x40
TUR = dict(flags=0x80, w20=0)


def login(kind=b"Normal", **fields):
    fields = dict(dict(flags=0x87, w20=0, data=b"InitiatorName=a\0TargetName=b\0SessionType=" + kind +
                       b"\0"), **fields)
    return pdu(I | LOGIN_REQ, **fields)


def after(*pdus, kind=b"Normal", answer=None):
    w = Witness()
    w.received(login(kind))
    w.full_feature = True
    w.limits.update(initial_r2t=False)
    w.tasks.clear()
    for p in pdus:
        w.received(p)
        if answer and p.opcode == TEXT_REQ:
            w.sent(answer)
    return w.breaches


def first(request):
    w = Witness()
    w.received(request)
    return w.breaches


def data_out(itt):
    return pdu(5, 0x80, itt=itt, cmd_sn=0, data=bytes(512))


TEXT = b"SendTargets=All\0"
MORE = Out(TEXT_RSP, 0x40, itt=1, words=(7,))
WRITE = dict(flags=0x20, w20=512)
ROWS = [
    ("", after(pdu(SCSI_CMD, **TUR))),
    ("", after(pdu(I | TEXT_REQ, data=TEXT), pdu(I | TEXT_REQ, w20=7), kind=b"Discovery",
               answer=MORE)),
    ("", after(pdu(SCSI_CMD, itt=1, **WRITE), pdu(SCSI_CMD, itt=2, cmd_sn=6, **WRITE), data_out(1),
               data_out(2))),
    ("", after(pdu(SCSI_CMD, **TUR), pdu(I | TMF_REQ, 0x81, itt=2, w20=1, cmd_sn=6, w32=5))),
    ("LGQ-02", first(login(b23=b"\0\1"))),
    ("ID-05", first(login(lun=bytes(7) + b"\1"))),
    ("CSN-22", after(pdu(I | SCSI_CMD, **TUR))),
    ("PDU-11", after(pdu(SCSI_CMD, ahs=bytes(8), **TUR))),
    ("CMD-10", after(pdu(SCSI_CMD, 0x85, w20=0))),
    ("CMD-11", after(pdu(SCSI_CMD, cdb=bytes(15) + b"\1", **TUR))),
    ("CMD-09", after(pdu(SCSI_CMD, itt=1, **WRITE), pdu(SCSI_CMD, itt=2, cmd_sn=6, **WRITE),
                     data_out(2))),
    ("TMF-02", after(pdu(I | TMF_REQ, 0x86, lun=b"\0\1" + bytes(6)))),
    ("TMF-04", after(pdu(SCSI_CMD, **TUR), pdu(I | TMF_REQ, 0x81, itt=2, w20=1, cmd_sn=6, w32=6))),
    ("PL-02", after(pdu(I | TMF_REQ, 0x8b))),
    ("TMF-09", after(pdu(I | TMF_REQ, 0x86), pdu(I | TMF_REQ, 0x86, itt=2))),
    ("TXT-01", after(pdu(I | TEXT_REQ, data=TEXT), pdu(I | TEXT_REQ, itt=2, data=TEXT))),
    ("TXT-02", after(pdu(I | TEXT_REQ, data=TEXT), pdu(I | TEXT_REQ, itt=2, w20=7), answer=MORE)),
    ("TXT-04", after(pdu(I | TEXT_REQ, data=TEXT), pdu(I | TEXT_REQ, w20=8), answer=MORE)),
    ("DSC-03", after(pdu(I | TEXT_REQ, data=TEXT + b"X-a=1\0"), kind=b"Discovery")),
    ("LGO-02", after(pdu(I | LOGOUT_REQ, w20=0), pdu(SCSI_CMD, itt=2, **TUR))),
]

bad = [(rule, seen) for rule, seen in ROWS
       if (not rule and seen) or (rule and not any(b.startswith(rule + ":") for b in seen))]
for rule, seen in bad:
    print("want %s, the witness says %s" % (rule or "nothing", seen or "nothing"))
print("%d rows, %d wrong" % (len(ROWS), len(bad)))
sys.exit(bool(bad))
