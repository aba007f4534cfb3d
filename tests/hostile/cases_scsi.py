# SPDX-License-Identifier: MIT
"""What the logical unit says of itself: INQUIRY, VPD, capacity, REPORT LUNS, MODE SENSE."""
import struct

from pdu import CHECK, sense
from registry import (ANY, FAILS, NOT_FOUND, OK, SCSI, TIMEOUT, USAGE, case, variant)
from target import Lun, Target, pattern


def _inquiry(name, about, data, want=ANY, run="info"):
    variant(Target, "inquiry_" + name, "INQUIRY: %s" % about, "scsi", "FMT-03", want,
            {"run": run, "seconds": 30}, inquiry=lambda self: data)


_STD = Target.inquiry(None)
_inquiry("empty", "no data", b"", FAILS)
_inquiry("four_bytes", "four bytes", _STD[:4])
_inquiry("no_product", "eight bytes: no vendor, no product", _STD[:8])
_inquiry("length_lie", "ADDITIONAL LENGTH 255 with 36 bytes", _STD[:4] + b"\xff" + _STD[5:], OK)
_inquiry("ones", "0xff all over", b"\xff" * 96)
_inquiry("noise", "random bytes", pattern(255, 5))
_inquiry("escapes", "escape sequences as vendor and product",
         _STD[:8] + b"\x1b[31mA\x07\r" + b"\x1b]0;x\x07\n\0\x9b31m\x85\xff\xfe" + b"\x1b[0m", OK)
_inquiry("no_lun", "peripheral qualifier 3: no such unit", b"\x7f" + _STD[1:], NOT_FOUND, "read")
_inquiry("not_connected", "peripheral qualifier 1", b"\x20" + _STD[1:], FAILS, "read")
_inquiry("tape", "a tape", b"\x01" + _STD[1:], FAILS, "read")
_inquiry("unknown_type", "type 0x1d", b"\x1d" + _STD[1:], FAILS, "read")


class _Vpd(Target):
    pages = {}

    def vpd(self, page, lun):
        return self.pages[page] if page in self.pages else super().vpd(page, lun)


def _vpd(name, about, pages, want=OK, run="info"):
    variant(_Vpd, "vpd_" + name, "VPD: %s" % about, "scsi", "FMT-03", want,
            {"run": run, "seconds": 30}, pages=pages)


_vpd("none", "no page at all", {0: None, 0x80: None, 0x83: None, 0xb0: None})
_vpd("list_lie", "the list of pages says 65535 bytes", {0: b"\0\0\xff\xff\0\x80\x83"})
_vpd("list_only", "pages are listed and then refused", {0x80: None, 0x83: None, 0xb0: None})
_vpd("other_page", "answers with another page", {0x83: b"\0\x80\0\x04abcd", 0xb0: b"\0\0\0\0"})
_vpd("three_bytes", "pages of three bytes", {0x80: b"\0\x80\0", 0x83: b"\0\x83\0", 0xb0: b"\0\xb0\0"})
_vpd("designators_lie", "designators that run past the end",
     {0x83: b"\0\x83\xff\xff\x01\x03\0\xff" + b"\x3a" * 6})
_vpd("designators_zero", "designators of no length", {0x83: b"\0\x83\0\x10" + b"\x01\x03\0\0" * 4})
_vpd("designators_noise", "random designators", {0x83: b"\0\x83\0\xf8" + pattern(248, 9)})
_vpd("serial_escapes", "escape sequences in the serial number and the name",
     {0x80: b"\0\x80\0\x0c\x1b[31mSER\x07\r\n\xff", 0x83: b"\0\x83\0\x10\x03\x08\0\x0ceui.\x1b[2J\x07\n\0\0"})
_vpd("serial_long", "a serial number of 250 bytes", {0x80: b"\0\x80\0\xfa" + b"s" * 250})


def _limits(granularity=0, longest=0, optimal=0, unmap=0):
    return b"\0\xb0\0\x3c" + struct.pack(">BBHIIIIII", 0, 1, granularity, longest, optimal, 0,
                                         unmap, unmap, 0) + bytes(60 - 28)


_vpd("limit_of_one_block", "a transfer of one block at most", {0xb0: _limits(longest=1)}, OK,
     "read")
_vpd("limit_of_one_block_write", "a transfer of one block at most", {0xb0: _limits(longest=1)}, OK,
     "write")
_vpd("optimal_above_longest", "the best transfer is above the longest",
     {0xb0: _limits(longest=16, optimal=0xffffffff)}, OK, "read")
_vpd("granularity_wild", "an odd granularity", {0xb0: _limits(granularity=0xffff, optimal=7)}, OK,
     "read")
_vpd("limits_ones", "0xff all over", {0xb0: b"\0\xb0\0\x3c" + b"\xff" * 60}, OK, "read")


# ---- capacity ----------------------------------------------------------------------------------

class _Capacity(Target):
    ten = sixteen = None  # raw answers

    def capacity10(self, lun):
        return super().capacity10(lun) if self.ten is None else self.ten

    def capacity16(self, lun):
        return super().capacity16(lun) if self.sixteen is None else self.sixteen


def _capacity(name, about, last, block, want=FAILS, run="read"):
    variant(_Capacity, "capacity_" + name, "READ CAPACITY: %s" % about, "scsi", "FMT-03", want,
            {"run": run, "seconds": 30},
            ten=struct.pack(">II", min(last, 0xffffffff), block),
            sixteen=struct.pack(">QI", last, block) + bytes(20))


_capacity("block_zero", "blocks of 0 bytes: taken as 512, as Linux does", 2047, 0, OK)
_capacity("block_one", "blocks of 1 byte", 2047, 1)
_capacity("block_513", "blocks of 513 bytes", 2047, 513)
_capacity("block_520", "blocks of 520 bytes", 2047, 520)
_capacity("block_2g", "blocks of 2 GiB", 2047, 0x80000000)
_capacity("overflow", "2^64 blocks", (1 << 64) - 1, 512)
_capacity("overflow_bytes", "2^56 blocks of 512 bytes: more than 2^64 bytes", 1 << 56, 512)
for _name, _last, _want in [("2p63", (1 << 54) - 1, "it has 2\\^63 bytes or more"),
                            ("below_2p63", (1 << 54) - 2, "9223372036854775296 bytes")]:
    variant(_Capacity, "capacity_" + _name, "READ CAPACITY: 2^63 bytes, or a block less", "scsi", "FMT-03",
            OK, {"run": "info", "seconds": 30, "output": _want},
            ten=struct.pack(">II", 0xffffffff, 512), sixteen=struct.pack(">QI", _last, 512) + bytes(20))
_capacity("one_block", "a single block: the read is past the end", 0, 512, USAGE)
variant(_Capacity, "capacity_short", "READ CAPACITY: 4 bytes", "scsi", "FMT-03", FAILS,
        {"seconds": 30}, ten=b"\0\0\7\xff", sixteen=b"\0\0\7\xff")
variant(_Capacity, "capacity_empty", "READ CAPACITY: nothing", "scsi", "FMT-03", FAILS,
        {"seconds": 30}, ten=b"", sixteen=b"")
variant(_Capacity, "capacity_16_shorter", "READ CAPACITY(10) says more than (16)", "scsi", "FMT-03",
        USAGE, {"seconds": 30}, ten=struct.pack(">II", 0xffffffff, 512),
        sixteen=struct.pack(">QI", 0, 512) + bytes(20))
variant(_Capacity, "capacity_16_noise", "READ CAPACITY(16): noise after the sizes", "scsi",
        "FMT-03", OK, {"seconds": 30},
        sixteen=struct.pack(">QI", 2047, 512) + b"\x0e\x0d\x00\x00" + b"\xff" * 16)


class _Refuses16(Target):
    """No READ CAPACITY(16)."""
    def command(self, conn, cmd):
        if cmd.cdb[0] in (0x9e, 0x88, 0x8a):
            return self.fail(conn, cmd, 5, 0x20)
        return super().command(conn, cmd)


variant(_Refuses16, "old_disk", "knows no 16-byte command", "scsi", "-", OK)


@case("scsi", "-", FAILS, seconds=30)
class huge_disk_without_16(_Refuses16):
    """READ CAPACITY(10) says 0xffffffff, and (16) is refused."""
    def capacity10(self, lun):
        return struct.pack(">II", 0xffffffff, 512)


@case("scsi", "-", OK, run="read")
class blocks_of_4096(Target):
    """A disk with blocks of 4096 bytes."""
    def setup(self):
        self.luns = {0: Lun(256, 4096)}


# ---- readiness ---------------------------------------------------------------------------------

class _Unready(Target):
    answer, times = sense(2, 4, 1), 1 << 30

    def test_unit_ready(self, conn, cmd):
        self.count = getattr(self, "count", 0) + 1
        if self.count <= self.times:
            return self.status(conn, cmd, CHECK, self.answer)
        return super().test_unit_ready(conn, cmd)

    def read_command(self, conn, cmd, lun):
        if getattr(self, "count", 0) < self.times and self.times > 100:
            return self.status(conn, cmd, CHECK, self.answer, residual=cmd.edtl)
        return super().read_command(conn, cmd, lun)


for _name, _sense, _times, _want in [
        ("attention_5", sense(6, 0x29), 5, OK),
        ("attention_for_ever", sense(6, 0x29), 1 << 30, FAILS | OK),
        ("becoming_ready_3", sense(2, 4, 1), 3, OK),
        ("becoming_ready_ever", sense(2, 4, 1), 1 << 30, SCSI | TIMEOUT),
        ("no_medium", sense(2, 0x3a), 1 << 30, SCSI | NOT_FOUND),
        ("stopped", sense(2, 4, 2), 1 << 30, SCSI),
        ("broken", sense(4, 0x3e), 1 << 30, SCSI)]:
    variant(_Unready, "unready_" + _name, "TEST UNIT READY: %s" % _name.replace("_", " "), "scsi",
            "-", _want, {"seconds": 60}, answer=_sense, times=_times)


@case("scsi", "-", OK, seconds=30)
class attention_on_everything(Target):
    """A unit attention at the first command of each kind."""
    def setup(self):
        self.told = set()

    def command(self, conn, cmd):
        if cmd.cdb[0] not in (0x12, 0xa0) and cmd.cdb[0] not in self.told:
            self.told.add(cmd.cdb[0])
            if cmd.writes:
                self.unsolicited(conn, cmd, bytearray(cmd.edtl))
            return self.status(conn, cmd, CHECK, sense(6, 0x29), residual=cmd.edtl)
        return super().command(conn, cmd)


# ---- REPORT LUNS, MODE SENSE -------------------------------------------------------------------

def _luns(name, about, data, want=ANY, run="ls"):
    variant(Target, "luns_" + name, "REPORT LUNS: %s" % about, "scsi", "FMT-03", want,
            {"run": run, "seconds": 60}, report_luns=lambda self: data)


_luns("none", "no LUN", struct.pack(">II", 0, 0))
_luns("empty", "no data", b"")
_luns("four_bytes", "four bytes", b"\0\0\0\x08")
_luns("length_4g", "a length of 0xffffffff", struct.pack(">II", 0xffffffff, 0) + bytes(8), OK)
_luns("length_odd", "a length of 13", struct.pack(">II", 13, 0) + bytes(16), ANY)
_luns("twice", "LUN 0 three times", struct.pack(">II", 24, 0) + bytes(24), OK)
_luns("formats", "reserved and long addressing",
      struct.pack(">II", 40, 0) + bytes(8) + b"\x80\1\0\0\0\0\0\0" + b"\xc1\1\0\0\0\0\0\0" +
      b"\xff" * 8 + b"\xd2\0\0\1\0\0\0\0", ANY)
_luns("thousand", "a thousand LUNs that are not there",
      struct.pack(">II", 8000, 0) + b"".join(bytes([0x40 | i >> 8, i & 255]) + bytes(6)
                                             for i in range(1000)), ANY)


@case("scsi", "-", OK, run="ls", seconds=30)
class luns_refused(Target):
    """No REPORT LUNS: LUN 0 is found all the same."""
    def command(self, conn, cmd):
        if cmd.cdb[0] == 0xa0:
            return self.fail(conn, cmd, 5, 0x20)
        return super().command(conn, cmd)


variant(Target, "luns_far", "LUNs 0, 255, 256 and 16383", "scsi", "-", OK,
        {"run": "ls", "seconds": 30, "output": "(?s)255.*256.*16383"}, tags=(255, 256, 16383))
variant(Target, "lun_missing", "the LUN of the URL is not there", "scsi", "-", NOT_FOUND,
        {"run": "read-lun-7"})


def _mode(name, about, six, ten, want=OK):
    variant(Target, "mode_" + name, "MODE SENSE: %s" % about, "scsi", "FMT-03", want,
            {"run": "info", "seconds": 30},
            mode_sense=lambda self, cmd, is_ten: ten if is_ten else six)


_mode("empty", "no data", b"", b"")
_mode("ones", "0xff all over", b"\xff" * 192, b"\xff" * 192)
_mode("lengths_lie", "lengths past the end", b"\xff\0\0\xff\x08\xff", b"\xff\xff\0\0\0\0\xff\xff\x08\xff")
_mode("noise", "random bytes", pattern(192, 21), pattern(192, 22), ANY)
_mode("page_of_none", "pages of no length", b"\x17\0\0\0" + bytes(20), b"\0\x16\0\0\0\0\0\0" + bytes(16))
_mode("write_protected", "the write protect bit", b"\x03\0\x80\0", b"\0\6\0\x80\0\0\0\0")


@case("scsi", "-", SCSI, run="write", seconds=30)
class write_protected_disk(Target):
    """A write to a disk that says that it is read only."""
    def mode_sense(self, cmd, ten):
        return b"\0\6\0\x80\0\0\0\0" if ten else b"\x03\0\x80\0"

    def write(self, conn, cmd, lun, offset, size):
        self.unsolicited(conn, cmd, bytearray(size))
        self.fail(conn, cmd, 7, 0x27)


@case("scsi", "RSP-04 RSP-06", OK, run="info", seconds=30)
class answers_cut_short(Target):
    """Every answer but the data of a READ is cut to 8 bytes less, with the residual to match."""
    def data(self, conn, cmd, data):
        if cmd.cdb[0] in (0x12, 0x1a, 0x5a) and len(data) > 44:
            data = data[:-8]
        return super().data(conn, cmd, data)


@case("scsi", "-", FAILS, run="info", seconds=30)
class everything_illegal(Target):
    """ILLEGAL REQUEST to everything but REPORT LUNS."""
    def command(self, conn, cmd):
        if cmd.cdb[0] == 0xa0:
            return super().command(conn, cmd)
        return self.fail(conn, cmd, 5, 0x20)
