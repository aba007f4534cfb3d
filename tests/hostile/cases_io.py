# SPDX-License-Identifier: MIT
"""The full feature phase: Data-In, R2T, status and numbering, NOP, Async, Reject."""
import struct

from pdu import (ASYNC, BUSY, CHECK, CONFLICT, DATA_IN, DATA_OUT, FULL, GOOD, NOP_IN, Out, R2T,
                 REJECT, RESERVED, SCSI_RSP, sense)
from registry import (ANY, FAILS, LOST, OK, SCSI, TIMEOUT, case, variant)
from target import Target


def data_in(conn, cmd, data, sn=0, at=0, flags=0, itt=None, status=0, residual=0, lun=bytes(8),
            ttt=RESERVED):
    out = Out(DATA_IN, flags, b3=status, itt=cmd.itt if itt is None else itt, data=data, lun=lun,
              words=[ttt, 0, 0, 0, sn, at, residual])
    conn.put(out, "status" if flags & 1 else None)


# ---- Data-In -----------------------------------------------------------------------------------

def _reads(name, about, ids, want, play, run="read", **options):
    """play(target, conn, cmd, data) instead of the data of a READ."""
    variant(Target, name, about, "datain", ids, want, dict({"run": run, "seconds": 20}, **options),
            read=lambda self, conn, cmd, data: play(self, conn, cmd, data))


def _good(self, conn, cmd, data):
    Target.data(self, conn, cmd, data)


def _then_good(**change):
    def play(self, conn, cmd, data):
        data_in(conn, cmd, b"\xee" * 4096, **change)
        _good(self, conn, cmd, data)
    return play


_reads("data_unknown_itt", "Data-In of no task", "ID-14", LOST, _then_good(itt=0x13572468))
_reads("data_reserved_itt", "Data-In with the reserved tag", "ID-12 ID-14", LOST,
       _then_good(itt=RESERVED))
_reads("data_past_edtl", "Data-In past the end of the transfer", "DIN-03", LOST,
       lambda s, conn, cmd, data: data_in(conn, cmd, b"\xee" * 4096, at=cmd.edtl))
_reads("data_over_the_end", "Data-In that runs over the end of the transfer", "DIN-03", LOST,
       lambda s, conn, cmd, data: data_in(conn, cmd, b"\xee" * 4096, at=cmd.edtl - 2048))
_reads("data_offset_wraps", "Data-In whose offset and length wrap around", "DIN-03", LOST,
       lambda s, conn, cmd, data: data_in(conn, cmd, b"\xee" * 8, at=0xfffffffc))
_reads("data_gap", "Data-In leaves 4096 bytes out", "KEY-14 DSN-04", LOST,
       lambda s, conn, cmd, data: (data_in(conn, cmd, data[:4096]),
                                   data_in(conn, cmd, data[8192:], sn=1, at=8192, flags=0x81)))
_reads("data_overlap", "Data-In goes back", "KEY-14", LOST,
       lambda s, conn, cmd, data: (data_in(conn, cmd, data[:8192]),
                                   data_in(conn, cmd, b"\xee" * 4096, sn=1, at=0),
                                   data_in(conn, cmd, data[8192:], sn=2, at=8192, flags=0x81)))
_reads("data_sn_gap", "DataSN leaves a number out", "DSN-04", LOST,
       lambda s, conn, cmd, data: (data_in(conn, cmd, data[:4096]),
                                   data_in(conn, cmd, data[4096:], sn=2, at=4096, flags=0x81)))
_reads("data_sn_from_one", "DataSN starts at 1", "DSN-01 DSN-04", LOST,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, sn=1, flags=0x81))
_reads("data_sn_repeated", "a Data-In twice with the same DataSN", "DSN-05", OK,
       lambda s, conn, cmd, data: (data_in(conn, cmd, data[:4096]),
                                   data_in(conn, cmd, data[:4096]),
                                   data_in(conn, cmd, data[4096:], sn=1, at=4096, flags=0x81)))
_reads("data_above_mrdsl", "a Data-In above the initiator's MaxRecvDataSegmentLength",
       "DIN-02 PDU-05", LOST,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x81),
       url="max_recv_data_segment_length=4096")
_reads("data_at_mrdsl", "an odd MaxRecvDataSegmentLength, used to the last byte", "KEY-04", OK,
       lambda s, conn, cmd, data: [
           data_in(conn, cmd, data[at:at + 1537], sn=at // 1537, at=at,
                   flags=0x81 if at + 1537 >= len(data) else 0)
           for at in range(0, len(data), 1537)], url="max_recv_data_segment_length=1537")
_reads("data_status_without_f", "S without F", "DIN-01", LOST,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x01))
_reads("data_check_condition", "CHECK CONDITION in a Data-In", "RSP-11", LOST | SCSI,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x81, status=CHECK))
_reads("data_busy", "BUSY in a Data-In", "RSP-11", LOST | SCSI | TIMEOUT,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x81, status=BUSY))
_reads("data_o_and_u", "O and U with the status", "RSP-02", LOST | SCSI,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x87, residual=512))
_reads("data_residual_above", "U with a residual above the transfer", "RSP-06", LOST | SCSI,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x83, residual=cmd.edtl + 512))
_reads("data_short_good", "half of the data, then GOOD without a residual", "RSP-06 FMT-01",
       LOST | SCSI,
       lambda s, conn, cmd, data: data_in(conn, cmd, data[:len(data) // 2], flags=0x81))
_reads("data_short_good_apart", "half of the data, then a response GOOD", "DSN-06 RSP-06",
       LOST | SCSI,
       lambda s, conn, cmd, data: (data_in(conn, cmd, data[:len(data) // 2], flags=0x80),
                                   s.status(conn, cmd, GOOD, data_sn=1)))
_reads("data_short_residual", "half of the data and the residual to match", "RSP-06",
       LOST | SCSI,
       lambda s, conn, cmd, data: data_in(conn, cmd, data[:len(data) // 2], flags=0x83,
                                          residual=len(data) // 2))
_reads("data_none_good", "GOOD without any data", "RSP-06 DSN-06", LOST | SCSI,
       lambda s, conn, cmd, data: s.status(conn, cmd, GOOD))
_reads("data_residual_lie", "all of the data and a residual", "RSP-06", ANY - TIMEOUT,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x83, residual=4096))
_reads("data_exp_data_sn_high", "a response that counts more Data-In than there were", "DSN-06",
       LOST | SCSI,
       lambda s, conn, cmd, data: (data_in(conn, cmd, data, flags=0x80),
                                   s.status(conn, cmd, GOOD, data_sn=3)))
_reads("data_ack_bit", "the A bit at ErrorRecoveryLevel 0 is ignored", "DIN-04", OK,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0xc1, ttt=5, lun=cmd.lun))
_reads("data_residual_unflagged", "a residual count without a flag is ignored", "RSP-03", OK,
       lambda s, conn, cmd, data: data_in(conn, cmd, data, flags=0x81, residual=77))
_reads("data_after_status", "Data-In after the status", "ID-14 TMR-02", LOST | OK,
       lambda s, conn, cmd, data: (_good(s, conn, cmd, data),
                                   data_in(conn, cmd, b"\xee" * 4096)))
_reads("data_status_twice", "the status twice: in the Data-In and in a response", "REIN-08 SSN-07",
       LOST | OK,
       lambda s, conn, cmd, data: (_good(s, conn, cmd, data), s.status(conn, cmd, GOOD)))
_reads("data_endless", "Data-In without end, one byte each time at the same place", "DIN-03 DSN-07",
       LOST | TIMEOUT,
       lambda s, conn, cmd, data: [data_in(conn, cmd, b"\xee", sn=n) for n in range(1 << 20)])


@case("datain", "ID-14", LOST, run="write", seconds=20)
class data_for_a_write(Target):
    """Data-In for a WRITE."""
    def write(self, conn, cmd, lun, offset, size):
        data_in(conn, cmd, b"\xee" * 4096, flags=0x80)
        conn.stall()


@case("datain", "ID-14", LOST, run="ping", seconds=20)
class data_for_a_ping(Target):
    """Data-In with the tag of a NOP-Out."""
    def nop_reply(self, conn, req):
        data_in(conn, req, b"\xee" * 4096, flags=0x81)
        conn.stall()


@case("datain", "ID-14", LOST, run="tur", seconds=20)
class data_for_a_tur(Target):
    """Data-In for a TEST UNIT READY, which has no data."""
    def test_unit_ready(self, conn, cmd):
        data_in(conn, cmd, b"\xee" * 64, flags=0x81)


# ---- R2T ---------------------------------------------------------------------------------------

def _writes(name, about, ids, want, play, **options):
    """play(target, conn, cmd, size) after the unsolicited data of a WRITE."""
    def write(self, conn, cmd, lun, offset, size):
        self.unsolicited(conn, cmd, bytearray(size))
        play(self, conn, cmd, size)
        conn.stall()
    variant(Target, name, about, "r2t", ids, want, dict(
        {"run": "write", "seconds": 20, "url": "immediate_data=no&initial_r2t=yes"}, **options),
        write=write)


_writes("r2t_past_edtl", "R2T past the end of the transfer", "R2T-03", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, size, 4096))
_writes("r2t_over_the_end", "R2T that runs over the end", "R2T-03", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, size - 2048, 4096))
_writes("r2t_wraps", "R2T whose offset and length wrap around", "R2T-03", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, 0xfffff000, 0x2000))
_writes("r2t_length_zero", "R2T for nothing", "R2T-02", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, 0, 0))
_writes("r2t_length_4g", "R2T for 0xffffffff bytes", "R2T-02 R2T-03", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, 0, 0xffffffff))
_writes("r2t_reserved_ttt", "R2T with the reserved TTT", "R2T-02", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, 0, 4096, ttt=RESERVED))
_writes("r2t_with_data", "R2T with data", "R2T-02", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, 0, 4096, data=b"x" * 16))
_writes("r2t_sn_from_five", "R2TSN starts at 5", "DSN-04", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 5, 0, 4096))
_writes("r2t_unknown_itt", "R2T for no task", "ID-14", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, 0, 4096, itt=0x13572468))
_writes("r2t_reserved_itt", "R2T for the reserved tag", "ID-14", LOST,
        lambda s, conn, cmd, size: s.r2t(conn, cmd, 0, 0, 4096, itt=RESERVED))
_writes("r2t_other_lun", "R2T with another LUN", "ID-14 FMT-01", LOST,
        lambda s, conn, cmd, size: conn.put(Out(R2T, lun=bytes([0, 7]) + bytes(6), itt=cmd.itt,
                                                words=[9, 0, 0, 0, 0, 0, 4096]), "next"))
_writes("r2t_too_many", "a hundred R2Ts, one at a time agreed", "R2T-05", LOST,
        lambda s, conn, cmd, size: [s.r2t(conn, cmd, i, 512 * i, 512) for i in range(100)],
        url="immediate_data=no&initial_r2t=yes&max_outstanding_r2t=1", quiet=True)


@case("r2t", "DSN-05", OK, run="write", seconds=20, url="immediate_data=no&initial_r2t=yes")
class r2t_twice(Target):
    """Each R2T twice: its data come once."""
    def write(self, conn, cmd, lun, offset, size):
        buf = bytearray(size)
        for sn, at in enumerate(range(0, size, 4096)):
            n = min(4096, size - at)
            ttt = [self.r2t(conn, cmd, sn, at, n, ttt=77 + sn) for _ in range(2)][0]
            self.collect(conn, cmd, buf, ttt, n)
        if any(req.opcode == DATA_OUT for req in conn.pending):
            self.errors.append("DSN-05: data came twice")
        lun.data[offset:offset + size] = buf
        self.status(conn, cmd, GOOD)


_writes("r2t_above_burst", "R2T above MaxBurstLength", "R2T-02", ANY,
        lambda s, conn, cmd, size: (s.r2t(conn, cmd, 0, 0, size), s.next_data_out(conn, cmd,
                                                                                conn.next_ttt)),
        url="immediate_data=no&initial_r2t=yes&max_burst_length=4096&first_burst_length=4096",
        quiet=True)


_writes("r2t_out_of_order", "the second half first, DataSequenceInOrder=Yes", "R2T-06 KEY-14", LOST,
        lambda s, conn, cmd, size: (s.r2t(conn, cmd, 0, size // 2, size // 2),
                                    s.next_data_out(conn, cmd, conn.next_ttt)))
_writes("r2t_gap", "R2Ts that leave bytes out", "R2T-06 KEY-14", LOST,
        lambda s, conn, cmd, size: (s.r2t(conn, cmd, 0, 0, 4096),
                                    s.next_data_out(conn, cmd, conn.next_ttt),
                                    s.r2t(conn, cmd, 1, 8192, 4096),
                                    s.next_data_out(conn, cmd, conn.next_ttt)))
_writes("r2t_overlap", "an R2T for bytes that were sent, at ErrorRecoveryLevel 0", "R2T-06", LOST,
        lambda s, conn, cmd, size: (s.r2t(conn, cmd, 0, 0, 8192),
                                    s.next_data_out(conn, cmd, conn.next_ttt),
                                    s.r2t(conn, cmd, 1, 4096, 4096),
                                    s.next_data_out(conn, cmd, conn.next_ttt)))


_writes("write_good_untaken", "GOOD for a WRITE whose data nobody asked for", "RSP-01", FAILS,
        lambda s, conn, cmd, size: s.status(conn, cmd, GOOD))


@case("r2t", "ID-14", LOST, seconds=20)
class r2t_for_a_read(Target):
    """R2T for a READ."""
    def read(self, conn, cmd, data):
        self.r2t(conn, cmd, 0, 0, 4096)
        conn.stall()


@case("r2t", "ID-14 DOU-07", LOST | OK, run="write", seconds=20)
class r2t_after_status(Target):
    """R2T for a WRITE that has its status."""
    def write(self, conn, cmd, lun, offset, size):
        super().write(conn, cmd, lun, offset, size)
        self.r2t(conn, cmd, 9, 0, 4096)


@case("r2t", "R2T-01 TM-10", LOST | TIMEOUT, run="write", seconds=20, quiet=True)
class r2t_endless(Target):
    """Asks for the same bytes again and again."""
    def write(self, conn, cmd, lun, offset, size):
        self.unsolicited(conn, cmd, bytearray(size))
        sn = 0
        while True:
            ttt = self.r2t(conn, cmd, sn, 0, 512)
            self.next_data_out(conn, cmd, ttt)
            sn += 1


@case("r2t", "RSP-08", SCSI, run="write", text="(?i)medium|write error|0c",
      url="immediate_data=no&initial_r2t=yes")
class write_error_after_data(Target):
    """Takes the data, then reports a write error."""
    def write(self, conn, cmd, lun, offset, size):
        self.unsolicited(conn, cmd, bytearray(size))
        for at in range(0, size, 16384):
            ttt = self.r2t(conn, cmd, at // 16384, at, min(16384, size - at))
            self.collect(conn, cmd, bytearray(size), ttt, min(16384, size - at))
        self.fail(conn, cmd, 3, 0x0c)


@case("r2t", "RSP-08", SCSI, run="write", url="immediate_data=no&initial_r2t=yes")
class write_refused_at_once(Target):
    """Refuses without asking for data."""
    def write(self, conn, cmd, lun, offset, size):
        self.fail(conn, cmd, 7, 0x27)


@case("r2t", "RSP-08", SCSI, run="write", quiet=True, url="immediate_data=no&initial_r2t=yes")
class write_refused_midway(Target):
    """Fails the command while the data of an R2T is under way."""
    def write(self, conn, cmd, lun, offset, size):
        self.unsolicited(conn, cmd, bytearray(size))
        self.r2t(conn, cmd, 0, 0, min(size, 65536))
        self.fail(conn, cmd, 3, 0x0c)


@case("r2t", "R2T-04 R2T-05", OK, run="write", url="max_outstanding_r2t=8&immediate_data=no")
class r2t_eight_at_once(Target):
    """Eight R2Ts at a time, as agreed."""
    params = {"MaxOutstandingR2T": "8"}

    def write(self, conn, cmd, lun, offset, size):
        buf = bytearray(size)
        got = self.unsolicited(conn, cmd, buf)
        sn = 0
        while got < size:
            asked = []
            while got < size and len(asked) < 8:
                n = min(4096, size - got)
                asked.append((self.r2t(conn, cmd, sn, got, n), n))
                got += n
                sn += 1
            for ttt, n in asked:
                self.collect(conn, cmd, buf, ttt, n)
        lun.data[offset:offset + size] = buf
        self.status(conn, cmd, GOOD)


for _imm, _r2t in (("yes", "no"), ("no", "no"), ("yes", "yes"), ("no", "yes")):
    variant(Target, "write_imm_%s_r2t_%s" % (_imm, _r2t),
            "ImmediateData=%s InitialR2T=%s, odd bursts" % (_imm, _r2t), "r2t",
            "KEY-05 CMD-07 CMD-08 DOU-02", OK,
            {"run": "write", "url": "immediate_data=%s&initial_r2t=%s&first_burst_length=5123"
                                    "&max_burst_length=12289" % (_imm, _r2t)},
            params={"MaxRecvDataSegmentLength": "1537"}, burst=9999)


# ---- status, StatSN ----------------------------------------------------------------------------

def _responds(name, about, ids, want, play, run="read", **options):
    variant(Target, name, about, "status", ids, want, dict({"run": run, "seconds": 20}, **options),
            read=lambda self, conn, cmd, data: play(self, conn, cmd, data),
            write=lambda self, conn, cmd, lun, offset, size: (
                self.unsolicited(conn, cmd, bytearray(size)), play(self, conn, cmd, b"")))


def _rsp(flags=0x80, response=0, status=0, data=b"", itt=None, residual=0, data_sn=0):
    def play(self, conn, cmd, _):
        conn.put(Out(SCSI_RSP, flags, response, status, itt=cmd.itt if itt is None else itt,
                     data=data, words=[0, 0, 0, 0, data_sn, 0, residual]))
    return play


def _skip(step):
    def play(self, conn, cmd, data):
        conn.stat_sn = (conn.stat_sn + step) & 0xffffffff
        _good(self, conn, cmd, data)
    return play


_responds("stat_sn_gap", "StatSN leaves a number out", "SSN-06", LOST, _skip(1))
_responds("stat_sn_jump", "StatSN jumps by 2^31 - 1", "SSN-06 SSN-08", LOST, _skip(0x7fffffff))


@case("status", "SSN-07", OK | LOST, seconds=20)
class stat_sn_replayed(Target):
    """The last response again, with its old StatSN, before the right one."""
    last = None

    def mutate(self, conn, out):
        if out.op == SCSI_RSP or (out.op == DATA_IN and out.h[1] & 1):
            self.last = bytes(out.h), out.data

    def read(self, conn, cmd, data):
        if self.last and not conn.header_digest:
            h, body = self.last
            conn.sock.sendall(h + body + bytes(-len(body) % 4))
        super().read(conn, cmd, data)


_responds("response_unknown_itt", "a response for no task", "ID-14", LOST, _rsp(itt=0x13572468))
_responds("response_reserved_itt", "a response with the reserved tag", "ID-12", LOST,
          _rsp(itt=RESERVED))
_responds("response_target_failure", "Response 1: target failure, Status GOOD", "RSP-01",
          SCSI | LOST, _rsp(response=1))
_responds("response_vendor", "Response 0x80", "RSP-01", SCSI | LOST, _rsp(response=0x80))
_responds("response_failure_wild", "Response 1 with residual flags", "RSP-01 RSP-02",
          SCSI | LOST, _rsp(flags=0x9e, response=1, residual=0xffffffff))
_responds("check_without_sense", "CHECK CONDITION without sense data", "RSP-07", SCSI | LOST,
          _rsp(status=CHECK))
_responds("sense_length_lie", "SenseLength 0xffff with 18 bytes", "RSP-07", SCSI | LOST,
          _rsp(status=CHECK, data=b"\xff\xff" + sense(3, 0x11)[2:]))
_responds("sense_length_odd", "a sense segment of one byte", "RSP-07", SCSI | LOST,
          _rsp(status=CHECK, data=b"\0"))
_responds("sense_length_zero", "SenseLength 0", "RSP-07", SCSI | LOST,
          _rsp(status=CHECK, data=b"\0\0"))
_responds("sense_three_bytes", "sense data cut after 3 bytes", "RSP-07", SCSI | LOST,
          _rsp(status=CHECK, data=sense(3, 0x11, length=3)))
_responds("sense_long", "4000 bytes of sense data", "RSP-07", SCSI | LOST,
          _rsp(status=CHECK, data=struct.pack(">H", 4000) + sense(3, 0x11)[2:] + bytes(3982)))
_responds("sense_response_code", "sense data of an unknown response code", "RSP-07", SCSI | LOST,
          _rsp(status=CHECK, data=b"\0\x12\x7b" + bytes(17)))
_responds("sense_descriptors_lie", "descriptor sense whose lengths run past the end", "RSP-07",
          SCSI | LOST,
          _rsp(status=CHECK, data=b"\0\x14\x72\x03\x11\x00\0\0\0\xff\0\xff" + b"\x80\xff" * 5))
_responds("response_o_and_u", "O and U", "RSP-02", LOST | SCSI, _rsp(flags=0x86, residual=4))
_responds("response_bidi_o_and_u", "bidirectional o and u", "RSP-02", ANY - OK,
          _rsp(flags=0x98, residual=0))
_responds("response_residual_above", "a residual above the transfer", "RSP-06", LOST | SCSI,
          _rsp(flags=0x82, residual=0xffffffff))
_responds("response_status_unknown", "SAM status 0x7e", "RSP-01", LOST | SCSI, _rsp(status=0x7e))
_responds("response_conflict", "RESERVATION CONFLICT", "RSP-01", SCSI, _rsp(status=CONFLICT))
_responds("medium_error", "unrecovered read error", "RSP-07", SCSI,
          _rsp(flags=0x82, status=CHECK, data=sense(3, 0x11), residual=65536),
          text="(?i)medium|unrecovered|read error")
_responds("illegal_request", "LBA out of range", "RSP-07", SCSI,
          _rsp(status=CHECK, data=sense(5, 0x21)), text="(?i)range|illegal")
_responds("data_protect", "write protected", "RSP-07", SCSI,
          _rsp(status=CHECK, data=sense(7, 0x27)), run="write", text="(?i)protect")
_responds("hardware_error", "hardware error", "RSP-07", SCSI,
          _rsp(status=CHECK, data=sense(4, 0x44)))


class _Often(Target):
    """Fails the first `times` READs and WRITEs, then works."""
    times, answer = 2, (BUSY, b"")

    def command(self, conn, cmd):
        if cmd.cdb[0] in (0x08, 0x28, 0x88, 0x0a, 0x2a, 0x8a):
            self.count = getattr(self, "count", 0) + 1
            if self.count <= self.times:
                if cmd.writes:
                    self.unsolicited(conn, cmd, bytearray(cmd.edtl))
                self.status(conn, cmd, self.answer[0], self.answer[1], residual=cmd.edtl)
                return None
        return super().command(conn, cmd)


_EVER = 1 << 30
for _name, _answer, _few in [
        ("busy", (BUSY, b""), OK), ("task_set_full", (FULL, b""), OK),
        ("unit_attention", (CHECK, sense(6, 0x29)), OK),
        ("becoming_ready", (CHECK, sense(2, 0x04, 1)), OK),
        ("aborted", (CHECK, sense(0xb, 0x47, 5)), OK)]:
    for _run in ("read", "write"):
        variant(_Often, "%s_twice_%s" % (_name, _run), "%s twice, then GOOD" % _name, "retry",
                "PL-06", _few, {"run": _run, "seconds": 30}, times=2, answer=_answer)
    variant(_Often, "%s_for_ever" % _name, "%s without end" % _name, "retry", "PL-06",
            SCSI | TIMEOUT | LOST, {"seconds": 60}, times=_EVER, answer=_answer)


@case("status", "REIN-08 SSN-07", LOST | OK, run="write", seconds=20)
class write_completed_twice(Target):
    """Two responses to a WRITE."""
    def status(self, conn, cmd, status, *args, **kwargs):
        super().status(conn, cmd, status, *args, **kwargs)
        if "write" in self.seen:
            super().status(conn, cmd, status, *args, **kwargs)


@case("status", "REIN-08 RSP-01", SCSI | LOST, seconds=20)
class good_after_failure(Target):
    """A failure and then GOOD for the same READ: the failure stands."""
    def read(self, conn, cmd, data):
        self.fail(conn, cmd, 3, 0x11)
        self.data(conn, cmd, data)


# ---- the command window ------------------------------------------------------------------------

@case("window", "CSN-06", TIMEOUT, seconds=30)
class window_closed(Target):
    """The login closes the command window, and it stays closed."""
    def mutate(self, conn, out):
        if conn.exp_cmd_sn is not None:
            out.put(32, conn.exp_cmd_sn - 1)


@case("window", "CSN-06 CSN-08", OK, seconds=30)
class window_reopened(Target):
    """The login closes the command window; a NOP-In opens it a while later."""
    shut = True

    def mutate(self, conn, out):
        if self.shut:
            out.put(32, conn.exp_cmd_sn - 1)

    def logged_in(self, conn):
        self.wait(0.4)
        if not conn.discovery and conn.witness.tasks:
            self.errors.append("CSN-06: a command came through a closed window")
        self.shut = False
        conn.put(Out(NOP_IN, words=[RESERVED]), "next")


@case("window", "CSN-07", OK)
class window_impossible(Target):
    """MaxCmdSN below ExpCmdSN - 1 in all but the responses: both are ignored."""
    phase_collapse = False

    def mutate(self, conn, out):
        if out.op == DATA_IN:
            out.put(32, conn.exp_cmd_sn - 100)


@case("window", "CSN-07", OK)
class window_stale(Target):
    """Data-In with numbers from long ago."""
    phase_collapse = False

    def mutate(self, conn, out):
        if out.op == DATA_IN:
            out.put(28, conn.exp_cmd_sn - 1000).put(32, conn.exp_cmd_sn - 990)


variant(Target, "window_huge", "a window of 2^31 - 2", "window", "CSN-01", OK, window=0x7ffffffe)
variant(Target, "window_undefined", "a window of 2^31 + 1: not greater", "window", "CSN-01",
        OK | TIMEOUT, {"seconds": 30}, window=0x80000001)


# ---- NOP, Async, Reject ------------------------------------------------------------------------

def _says(name, about, ids, want, play, group="message", run="read", **options):
    """play(target, conn, cmd), then the data as it should be."""
    def read(self, conn, cmd, data):
        play(self, conn, cmd)
        self.data(conn, cmd, data)
    variant(Target, name, about, group, ids, want, dict({"run": run, "seconds": 30}, **options),
            read=read)


def _nop_in(itt=RESERVED, ttt=RESERVED, data=b"", lun=bytes(8), number="next"):
    return lambda self, conn, cmd: conn.put(Out(NOP_IN, itt=itt, lun=lun, words=[ttt], data=data),
                                            number)


_says("nop_wants_answer", "NOP-In that wants an answer", "NPO-02 NPO-03", OK,
      _nop_in(ttt=0x77), seen=("nop-out answer",))
_says("nop_wants_nothing", "NOP-In that wants none", "NPO-03", OK, _nop_in())
_says("nop_storm", "a thousand NOP-Ins that want answers", "NPO-03", OK,
      lambda s, conn, cmd: [_nop_in(ttt=i)(s, conn, cmd) for i in range(1, 1001)])
_says("nop_both_tags", "NOP-In with both tags valid", "FMT-01", LOST,
      lambda s, conn, cmd: _nop_in(itt=cmd.itt, ttt=5, number="status")(s, conn, cmd))
_says("nop_with_data", "unsolicited NOP-In with data", "NPI-02", LOST, _nop_in(data=b"x" * 64))
_says("nop_unknown_itt", "an answer to a ping that was never sent", "ID-14", LOST,
      _nop_in(itt=0x13572468, number="status"))
_says("nop_of_a_command", "a NOP-In with the tag of a READ", "ID-14", LOST,
      lambda s, conn, cmd: _nop_in(itt=cmd.itt, number="status")(s, conn, cmd))


class _Pings(Target):
    def nop_reply(self, conn, req):
        self.answer(conn, req)


for _name, _about, _want, _data in [
        ("altered", "a byte changed", FAILS, lambda d: b"\xee" + d[1:]),
        ("short", "half of the data", FAILS, lambda d: d[:len(d) // 2]),
        ("long", "more data than was sent", FAILS, lambda d: d + b"more"),
        ("huge", "a megabyte", FAILS, lambda d: d + bytes(1 << 20))]:
    variant(_Pings, "ping_" + _name, "the echo comes back with %s" % _about, "message", "NPO-04",
            _want, {"run": "ping", "seconds": 20},
            answer=lambda self, conn, req, f=_data: conn.put(
                Out(NOP_IN, itt=req.itt, words=[RESERVED], data=f(req.data))))
variant(_Pings, "ping_silent", "no echo", "message", "NPO-04 TMO-01", TIMEOUT | LOST,
        {"run": "ping", "seconds": 30}, answer=lambda self, conn, req: None)


def _async(event, p1=0, p2=0, p3=0, data=b"", lun=bytes(8), vcode=0):
    def play(self, conn, cmd):
        out = Out(ASYNC, lun=lun, data=data)
        out.h[36:44] = struct.pack(">BBHHH", event, vcode, p1, p2, p3)
        conn.put(out)
    return play


def _async_then(play, then):
    def both(self, conn, cmd):
        play(self, conn, cmd)
        then(conn)
    return both


_says("async_sense", "a unit attention as an Async message", "ASY-01", OK,
      _async(0, data=sense(6, 0x3f, 0x0e)))
_says("async_sense_short", "an Async message with cut sense data", "ASY-01", OK | LOST,
      _async(0, data=b"\xff\xff\x70"))
_says("async_sense_none", "an Async message without sense data", "ASY-01", OK | LOST, _async(0))
_says("async_text", "asks for a text negotiation", "ASY-05", OK | LOST | TIMEOUT, _async(4, p3=2))
_says("async_5_unagreed", "event 5 without FastAbort", "ASY-06", LOST | OK, _async(5))
_says("async_storm", "two thousand unknown Async messages", "ASY-07", OK,
      lambda s, conn, cmd: [_async(200)(s, conn, cmd) for _ in range(2000)])
_says("async_logout_request", "asks for a logout and then does nothing", "ASY-02",
      FAILS | OK, _async_then(_async(1, p3=1), lambda conn: None))
_says("async_logout_stall", "asks for a logout, stalls the READ", "ASY-02", FAILS,
      _async_then(_async(1, p3=1), lambda conn: _serve_logout(conn)))
_says("async_drop_connection", "says that the connection is gone, and drops it", "ASY-03", FAILS,
      _async_then(_async(2, p1=0, p2=1, p3=1), lambda conn: conn.close()))
_says("async_drop_all", "says that all connections are gone, and drops them", "ASY-04", FAILS,
      _async_then(_async(3, p2=1), lambda conn: conn.close()))
_says("async_drop_lie", "says that all connections are gone, and goes on", "ASY-04", FAILS | OK,
      _async(3, p2=1))


def _serve_logout(conn):
    """Answers nothing but a Logout Request."""
    while True:
        req = conn.recv()
        if req.opcode == 6:
            conn.target.seen.add("logout")
            conn.put(Out(0x26, itt=req.itt))
            conn.close()


def _reject(reason, data=None):
    def read(self, conn, cmd, _):
        conn.put(Out(REJECT, 0x80, reason, data=cmd.h if data is None else data))
    return read


for _reason in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x7f):
    variant(Target, "reject_%02x" % _reason, "rejects a READ with reason %#x" % _reason, "reject",
            "REJ-02 REJ-04 CSN-20", FAILS, {"seconds": 40}, read=_reject(_reason))
for _name, _data in [("empty", b""), ("one_byte", b"\1"), ("47_bytes", bytes(47)),
                     ("zeros", bytes(48)), ("ones", b"\xff" * 48)]:
    variant(Target, "reject_data_" + _name, "a Reject with bad data: %s" % _name, "reject",
            "REJ-01", FAILS, {"seconds": 40}, read=_reject(4, _data))


@case("reject", "REJ-03", SCSI | LOST | TIMEOUT, run="write", seconds=30,
      url="immediate_data=no&initial_r2t=yes")
class reject_data_out(Target):
    """Rejects a Data-Out for its digest, then fails the command as the RFC wants."""
    def write(self, conn, cmd, lun, offset, size):
        ttt = self.r2t(conn, cmd, 0, 0, min(size, 4096))
        out = self.next_data_out(conn, cmd, ttt)
        conn.put(Out(REJECT, 0x80, 2, data=out.h))
        self.fail(conn, cmd, 0xb, 0x47, 5)

