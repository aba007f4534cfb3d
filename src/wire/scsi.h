/* SPDX-License-Identifier: MIT */
/* wire/scsi.h - SCSI opcodes, statuses, and command descriptor blocks (SAM, SPC, SBC).
 *
 * The builders (cdb_...) clear the buffer of CDB_MAX bytes, because a CDB shorter than
 * 16 bytes is filled with zeroes in the BHS (RFC 7143 11.3.5), write the CDB and return
 * its length.  CONTROL stays 0, so NACA is never set.  A value that does not fit its
 * field is the caller's bug and asserted.  Lengths are in bytes; alloc is the ALLOCATION
 * LENGTH.  Any thread.
 */
#ifndef WIRE_SCSI_H
#define WIRE_SCSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/be.h"

#define CDB_MAX     32  /* bytes of the longest CDB that is built here */
#define CDB_LONGEST 260 /* bytes of the longest CDB there is: 8 + 252 */

enum scsi_status {
    SCSI_GOOD = 0x00,
    SCSI_CHECK_CONDITION = 0x02,
    SCSI_CONDITION_MET = 0x04,
    SCSI_BUSY = 0x08,
    SCSI_INTERMEDIATE = 0x10,
    SCSI_INTERMEDIATE_CONDITION_MET = 0x14,
    SCSI_RESERVATION_CONFLICT = 0x18,
    SCSI_COMMAND_TERMINATED = 0x22,
    SCSI_TASK_SET_FULL = 0x28,
    SCSI_ACA_ACTIVE = 0x30,
    SCSI_TASK_ABORTED = 0x40,
};

enum scsi_opcode {
    SCSI_TEST_UNIT_READY = 0x00,
    SCSI_REQUEST_SENSE = 0x03,
    SCSI_FORMAT_UNIT = 0x04,
    SCSI_READ_6 = 0x08,
    SCSI_WRITE_6 = 0x0a,
    SCSI_INQUIRY = 0x12,
    SCSI_MODE_SELECT_6 = 0x15,
    SCSI_RESERVE_6 = 0x16,
    SCSI_RELEASE_6 = 0x17,
    SCSI_MODE_SENSE_6 = 0x1a,
    SCSI_START_STOP_UNIT = 0x1b,
    SCSI_PREVENT_ALLOW = 0x1e,
    SCSI_READ_CAPACITY_10 = 0x25,
    SCSI_READ_10 = 0x28,
    SCSI_WRITE_10 = 0x2a,
    SCSI_WRITE_VERIFY_10 = 0x2e,
    SCSI_VERIFY_10 = 0x2f,
    SCSI_PREFETCH_10 = 0x34,
    SCSI_SYNC_CACHE_10 = 0x35,
    SCSI_WRITE_BUFFER = 0x3b,
    SCSI_READ_BUFFER = 0x3c,
    SCSI_WRITE_SAME_10 = 0x41,
    SCSI_UNMAP = 0x42,
    SCSI_LOG_SENSE = 0x4d,
    SCSI_MODE_SELECT_10 = 0x55,
    SCSI_MODE_SENSE_10 = 0x5a,
    SCSI_PERSISTENT_RESERVE_IN = 0x5e,
    SCSI_PERSISTENT_RESERVE_OUT = 0x5f,
    SCSI_VARIABLE_LENGTH = 0x7f,
    SCSI_READ_16 = 0x88,
    SCSI_COMPARE_AND_WRITE = 0x89,
    SCSI_WRITE_16 = 0x8a,
    SCSI_WRITE_VERIFY_16 = 0x8e,
    SCSI_VERIFY_16 = 0x8f,
    SCSI_PREFETCH_16 = 0x90,
    SCSI_SYNC_CACHE_16 = 0x91,
    SCSI_WRITE_SAME_16 = 0x93,
    SCSI_WRITE_ATOMIC_16 = 0x9c,
    SCSI_SERVICE_ACTION_IN_16 = 0x9e,
    SCSI_REPORT_LUNS = 0xa0,
    SCSI_MAINTENANCE_IN = 0xa3,
    SCSI_MAINTENANCE_OUT = 0xa4,
    SCSI_READ_12 = 0xa8,
    SCSI_WRITE_12 = 0xaa,
    SCSI_WRITE_VERIFY_12 = 0xae,
    SCSI_VERIFY_12 = 0xaf,
};

/* Service actions */
#define SCSI_SAI_READ_CAPACITY_16         0x10u   /* of 9Eh */
#define SCSI_SAI_GET_LBA_STATUS           0x12u   /* of 9Eh */
#define SCSI_MI_REPORT_TARGET_PORT_GROUPS 0x0au   /* of A3h */
#define SCSI_MI_REPORT_SUPPORTED_OPCODES  0x0cu   /* of A3h */
#define SCSI_MI_REPORT_SUPPORTED_TMFS     0x0du   /* of A3h */
#define SCSI_MO_SET_TARGET_PORT_GROUPS    0x0au   /* of A4h */
#define SCSI_VL_READ_32                   0x0009u /* of 7Fh */
#define SCSI_VL_VERIFY_32                 0x000au
#define SCSI_VL_WRITE_32                  0x000bu
#define SCSI_VL_WRITE_VERIFY_32           0x000cu
#define SCSI_VL_WRITE_SAME_32             0x000du

enum scsi_pr_in {
    SCSI_PRIN_READ_KEYS = 0,
    SCSI_PRIN_READ_RESERVATION = 1,
    SCSI_PRIN_REPORT_CAPABILITIES = 2,
    SCSI_PRIN_READ_FULL_STATUS = 3,
};

enum scsi_pr_out {
    SCSI_PROUT_REGISTER = 0,
    SCSI_PROUT_RESERVE = 1,
    SCSI_PROUT_RELEASE = 2,
    SCSI_PROUT_CLEAR = 3,
    SCSI_PROUT_PREEMPT = 4,
    SCSI_PROUT_PREEMPT_AND_ABORT = 5,
    SCSI_PROUT_REGISTER_AND_IGNORE = 6,
    SCSI_PROUT_REGISTER_AND_MOVE = 7,
};

/* Byte 1 flags, each where its command has it */
#define SCSI_FUA           0x08u /* READ, WRITE 10/12/16 */
#define SCSI_DPO           0x10u /* READ, WRITE 10/12/16, VERIFY */
#define SCSI_BYTCHK        0x02u /* VERIFY: compare with the data sent */
#define SCSI_BYTCHK_ONE    0x06u /* VERIFY: compare each block with one block */
#define SCSI_BYTCHK_MASK   0x06u
#define SCSI_SYNC_IMMED    0x02u /* SYNCHRONIZE CACHE */
#define SCSI_WS_NDOB       0x01u /* WRITE SAME(16): no data, zeros */
#define SCSI_WS_UNMAP      0x08u /* WRITE SAME */
#define SCSI_WS_ANCHOR     0x10u /* WRITE SAME */
#define SCSI_PROTECT_SHIFT 5     /* RDPROTECT, WRPROTECT, VRPROTECT */
#define SCSI_UNMAP_ANCHOR  0x01u /* UNMAP */
#define SCSI_START         0x01u /* START STOP UNIT byte 4 */
#define SCSI_LOEJ          0x02u /* START STOP UNIT byte 4 */

int cdb_test_unit_ready(uint8_t cdb[CDB_MAX]);
int cdb_request_sense(uint8_t cdb[CDB_MAX], bool descriptor, uint8_t alloc);
int cdb_inquiry(uint8_t cdb[CDB_MAX], uint16_t alloc);
int cdb_inquiry_vpd(uint8_t cdb[CDB_MAX], uint8_t page, uint16_t alloc);
int cdb_report_luns(uint8_t cdb[CDB_MAX], uint8_t select, uint32_t alloc);
int cdb_read_capacity10(uint8_t cdb[CDB_MAX]);
int cdb_read_capacity16(uint8_t cdb[CDB_MAX], uint32_t alloc);
/* page_control: 0 current, 1 changeable, 2 default, 3 saved.  dbd: no block descriptors. */
int cdb_mode_sense6(uint8_t cdb[CDB_MAX], bool dbd, unsigned page_control, uint8_t page,
                    uint8_t subpage, uint8_t alloc);
int cdb_mode_sense10(uint8_t cdb[CDB_MAX], bool dbd, unsigned page_control, uint8_t page,
                     uint8_t subpage, uint16_t alloc);
/* The builders of MODE SELECT set PF.  save: SP. */
int cdb_mode_select6(uint8_t cdb[CDB_MAX], bool save, uint8_t len);
int cdb_mode_select10(uint8_t cdb[CDB_MAX], bool save, uint16_t len);

/* Build READ(10) or WRITE(10), and READ(16) or WRITE(16), with two stores, for the I/O path.  They
 * do not mask: the caller has checked that lba and blocks fit.  They write only the 16 bytes that a
 * BHS takes. */
static inline int
cdb_rw10(uint8_t cdb[CDB_MAX], uint64_t opcode, uint64_t lba, uint64_t blocks)
{
    st_le64(cdb, opcode | __builtin_bswap64(lba << 16 | blocks >> 8));
    st_le64(cdb + 8, blocks & 0xff);
    return 10;
}

static inline int
cdb_rw16(uint8_t cdb[CDB_MAX], uint64_t opcode, uint64_t lba, uint64_t blocks)
{
    st_le64(cdb, opcode | __builtin_bswap64(lba >> 16));
    st_be64(cdb + 8, lba << 48 | blocks << 16);
    return 16;
}

/* READ(6) and WRITE(6) take lba < 2^21 and 1..256 blocks. */
int cdb_read6(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks);
int cdb_write6(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks);
int cdb_read10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags);
int cdb_write10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags);
int cdb_read12(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks, uint8_t flags);
int cdb_write12(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks, uint8_t flags);
int cdb_read16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags);
int cdb_write16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags);
/* 32-byte forms (protection type 2): ref_tag is the expected initial logical block reference tag.
 */
int cdb_read32(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags,
               uint32_t ref_tag);
int cdb_write32(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags,
                uint32_t ref_tag);
int cdb_verify10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags);
int cdb_verify16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags);
/* blocks 0: to the end */
int cdb_sync_cache10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags);
int cdb_sync_cache16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags);
/* blocks > 0: 0 would mean "to the end of the disk" and is never built */
int cdb_write_same10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags);
int cdb_write_same16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags);
int cdb_unmap(uint8_t cdb[CDB_MAX], uint16_t list_len, uint8_t flags);
int cdb_compare_and_write(uint8_t cdb[CDB_MAX], uint64_t lba, uint8_t blocks, uint8_t flags);
int cdb_get_lba_status(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t alloc);
/* options: 0 all, 1 one opcode, 2 opcode with service action, 3 either */
int cdb_report_opcodes(uint8_t cdb[CDB_MAX], unsigned options, uint8_t opcode, uint16_t sa,
                       uint32_t alloc);
int cdb_pr_in(uint8_t cdb[CDB_MAX], enum scsi_pr_in sa, uint16_t alloc);
int cdb_pr_out(uint8_t cdb[CDB_MAX], enum scsi_pr_out sa, uint8_t scope_type, uint32_t list_len);
int cdb_start_stop(uint8_t cdb[CDB_MAX], bool immed, uint8_t power_condition, uint8_t start_loej);
int cdb_rtpg(uint8_t cdb[CDB_MAX], bool extended_header, uint32_t alloc);
int cdb_stpg(uint8_t cdb[CDB_MAX], uint32_t list_len);

/* Returns the length of the CDB at cdb[avail], avail >= 1, which the group code of the opcode
 * tells, and for 7Fh byte 7.  It may be larger than avail.  Returns -EINVAL for a vendor-specific
 * or reserved group, and when avail is too small to tell. */
int cdb_length(const uint8_t *cdb, size_t avail);

struct scsi_extent {
    uint64_t lba;
    uint32_t blocks; /* 256 for a count of 0 in READ(6) and WRITE(6) */
    /* Byte 1 (byte 10 of 32-byte CDBs) without the protect field; 0 in 6-byte CDBs. */
    uint8_t flags;
    uint8_t protect; /* RDPROTECT, WRPROTECT or VRPROTECT */
};

/* Gets LBA and block count of a READ, WRITE, WRITE AND VERIFY, VERIFY, PRE-FETCH, SYNCHRONIZE
 * CACHE, WRITE SAME or COMPARE AND WRITE of any size.  Returns 0, -ENOTSUP for other commands, or
 * -EINVAL if len is less than the CDB's length. */
int cdb_extent(const uint8_t *cdb, size_t len, struct scsi_extent *ret);

/* Gets the ALLOCATION LENGTH or PARAMETER LIST LENGTH.  Returns 0, -ENOTSUP for commands that have
 * neither, or -EINVAL if len is less than the CDB's length. */
int cdb_param_len(const uint8_t *cdb, size_t len, uint32_t *ret);

/* Returns the service action of a CDB that has one (7Fh 9Eh A3h A4h 5Eh 5Fh), else -1. */
int cdb_service_action(const uint8_t *cdb, size_t len);

/* A block descriptor of the UNMAP parameter list. */
struct unmap_range {
    uint64_t lba;
    uint32_t blocks;
};
#define UNMAP_LIST_LEN(n) (8u + 16u * (n))

/* Writes the parameter list of n ranges.  Returns the bytes written, or -ENOBUFS. */
int unmap_list_build(uint8_t *buf, size_t size, const struct unmap_range *ranges, unsigned n);
/* Returns the number of ranges in the list, bounded by its lengths and by len, and writes at most
 * max of them to ret.  Returns -EINVAL when the header is not all there, and when the UNMAP DATA
 * LENGTH is less than the descriptors need. */
int unmap_list_parse(const uint8_t *buf, size_t len, struct unmap_range *ret, unsigned max);

/* Returns the name of the command, such as "READ(10)", or that of its service action where it has
 * one that is known; "unknown command" for others. */
const char *cdb_name(const uint8_t *cdb, size_t len);
const char *scsi_status_name(uint8_t status);

#endif
