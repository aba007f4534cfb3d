/* SPDX-License-Identifier: MIT */
/* Builds the CDBs of wire/scsi.h. */
#include "wire/scsi.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/be.h"

static void
cdb_start(uint8_t cdb[CDB_MAX], uint8_t opcode)
{
    memset(cdb, 0, CDB_MAX);
    cdb[0] = opcode;
}

int
cdb_test_unit_ready(uint8_t cdb[CDB_MAX])
{
    cdb_start(cdb, SCSI_TEST_UNIT_READY);
    return 6;
}

int
cdb_request_sense(uint8_t cdb[CDB_MAX], bool descriptor, uint8_t alloc)
{
    cdb_start(cdb, SCSI_REQUEST_SENSE);
    cdb[1] = descriptor;
    cdb[4] = alloc;
    return 6;
}

int
cdb_inquiry(uint8_t cdb[CDB_MAX], uint16_t alloc)
{
    cdb_start(cdb, SCSI_INQUIRY);
    st_be16(cdb + 3, alloc);
    return 6;
}

int
cdb_inquiry_vpd(uint8_t cdb[CDB_MAX], uint8_t page, uint16_t alloc)
{
    cdb_start(cdb, SCSI_INQUIRY);
    cdb[1] = 0x01; /* EVPD */
    cdb[2] = page;
    st_be16(cdb + 3, alloc);
    return 6;
}

int
cdb_report_luns(uint8_t cdb[CDB_MAX], uint8_t select, uint32_t alloc)
{
    cdb_start(cdb, SCSI_REPORT_LUNS);
    cdb[2] = select;
    st_be32(cdb + 6, alloc);
    return 12;
}

int
cdb_read_capacity10(uint8_t cdb[CDB_MAX])
{
    cdb_start(cdb, SCSI_READ_CAPACITY_10);
    return 10;
}

int
cdb_read_capacity16(uint8_t cdb[CDB_MAX], uint32_t alloc)
{
    cdb_start(cdb, SCSI_SERVICE_ACTION_IN_16);
    cdb[1] = SCSI_SAI_READ_CAPACITY_16;
    st_be32(cdb + 10, alloc);
    return 16;
}

static void
mode_sense(uint8_t cdb[CDB_MAX], bool dbd, unsigned page_control, uint8_t page, uint8_t subpage)
{
    assert(page_control <= 3 && page <= 0x3f);
    cdb[1] = dbd ? 0x08 : 0;
    cdb[2] = (uint8_t)(page_control << 6 | page);
    cdb[3] = subpage;
}

int
cdb_mode_sense6(uint8_t cdb[CDB_MAX], bool dbd, unsigned page_control, uint8_t page,
                uint8_t subpage, uint8_t alloc)
{
    cdb_start(cdb, SCSI_MODE_SENSE_6);
    mode_sense(cdb, dbd, page_control, page, subpage);
    cdb[4] = alloc;
    return 6;
}

int
cdb_mode_sense10(uint8_t cdb[CDB_MAX], bool dbd, unsigned page_control, uint8_t page,
                 uint8_t subpage, uint16_t alloc)
{
    cdb_start(cdb, SCSI_MODE_SENSE_10);
    mode_sense(cdb, dbd, page_control, page, subpage);
    st_be16(cdb + 7, alloc);
    return 10;
}

#define MODE_SELECT_PF 0x10u
#define MODE_SELECT_SP 0x01u

int
cdb_mode_select6(uint8_t cdb[CDB_MAX], bool save, uint8_t len)
{
    cdb_start(cdb, SCSI_MODE_SELECT_6);
    cdb[1] = MODE_SELECT_PF | (save ? MODE_SELECT_SP : 0);
    cdb[4] = len;
    return 6;
}

int
cdb_mode_select10(uint8_t cdb[CDB_MAX], bool save, uint16_t len)
{
    cdb_start(cdb, SCSI_MODE_SELECT_10);
    cdb[1] = MODE_SELECT_PF | (save ? MODE_SELECT_SP : 0);
    st_be16(cdb + 7, len);
    return 10;
}

/* Commands that have an LBA and a block count, by the size of their CDB. */
static int
extent6(uint8_t cdb[CDB_MAX], uint8_t opcode, uint32_t lba, uint32_t blocks)
{
    assert(lba < 1u << 21 && blocks >= 1 && blocks <= 256);
    cdb_start(cdb, opcode);
    st_be24(cdb + 1, lba);
    cdb[4] = (uint8_t)blocks; /* 0 means 256 */
    return 6;
}

static int
extent10(uint8_t cdb[CDB_MAX], uint8_t opcode, uint32_t lba, uint16_t blocks, uint8_t flags)
{
    cdb_start(cdb, opcode);
    cdb[1] = flags;
    st_be32(cdb + 2, lba);
    st_be16(cdb + 7, blocks);
    return 10;
}

static int
extent12(uint8_t cdb[CDB_MAX], uint8_t opcode, uint32_t lba, uint32_t blocks, uint8_t flags)
{
    cdb_start(cdb, opcode);
    cdb[1] = flags;
    st_be32(cdb + 2, lba);
    st_be32(cdb + 6, blocks);
    return 12;
}

static int
extent16(uint8_t cdb[CDB_MAX], uint8_t opcode, uint64_t lba, uint32_t blocks, uint8_t flags)
{
    cdb_start(cdb, opcode);
    cdb[1] = flags;
    st_be64(cdb + 2, lba);
    st_be32(cdb + 10, blocks);
    return 16;
}

struct extent32 {
    uint64_t lba;
    uint32_t blocks, ref_tag;
    uint8_t flags;
};

static int
extent32(uint8_t cdb[CDB_MAX], uint16_t sa, const struct extent32 *e)
{
    cdb_start(cdb, SCSI_VARIABLE_LENGTH);
    cdb[7] = 0x18; /* additional length: 32 - 8 */
    st_be16(cdb + 8, sa);
    cdb[10] = e->flags;
    st_be64(cdb + 12, e->lba);
    st_be32(cdb + 20, e->ref_tag);
    st_be32(cdb + 28, e->blocks);
    return 32;
}

int
cdb_read6(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks)
{
    return extent6(cdb, SCSI_READ_6, lba, blocks);
}

int
cdb_write6(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks)
{
    return extent6(cdb, SCSI_WRITE_6, lba, blocks);
}

int
cdb_read10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags)
{
    return extent10(cdb, SCSI_READ_10, lba, blocks, flags);
}

int
cdb_write10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags)
{
    return extent10(cdb, SCSI_WRITE_10, lba, blocks, flags);
}

int
cdb_read12(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks, uint8_t flags)
{
    return extent12(cdb, SCSI_READ_12, lba, blocks, flags);
}

int
cdb_write12(uint8_t cdb[CDB_MAX], uint32_t lba, uint32_t blocks, uint8_t flags)
{
    return extent12(cdb, SCSI_WRITE_12, lba, blocks, flags);
}

int
cdb_read16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags)
{
    return extent16(cdb, SCSI_READ_16, lba, blocks, flags);
}

int
cdb_write16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags)
{
    return extent16(cdb, SCSI_WRITE_16, lba, blocks, flags);
}

int
cdb_read32(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags, uint32_t ref_tag)
{
    return extent32(cdb, SCSI_VL_READ_32, &(struct extent32){lba, blocks, ref_tag, flags});
}

int
cdb_write32(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags, uint32_t ref_tag)
{
    return extent32(cdb, SCSI_VL_WRITE_32, &(struct extent32){lba, blocks, ref_tag, flags});
}

int
cdb_verify10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags)
{
    return extent10(cdb, SCSI_VERIFY_10, lba, blocks, flags);
}

int
cdb_verify16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags)
{
    return extent16(cdb, SCSI_VERIFY_16, lba, blocks, flags);
}

int
cdb_sync_cache10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags)
{
    return extent10(cdb, SCSI_SYNC_CACHE_10, lba, blocks, flags);
}

int
cdb_sync_cache16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags)
{
    return extent16(cdb, SCSI_SYNC_CACHE_16, lba, blocks, flags);
}

int
cdb_write_same10(uint8_t cdb[CDB_MAX], uint32_t lba, uint16_t blocks, uint8_t flags)
{
    assert(blocks > 0 && (flags & SCSI_WS_NDOB) == 0);
    return extent10(cdb, SCSI_WRITE_SAME_10, lba, blocks, flags);
}

int
cdb_write_same16(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t blocks, uint8_t flags)
{
    assert(blocks > 0);
    return extent16(cdb, SCSI_WRITE_SAME_16, lba, blocks, flags);
}

int
cdb_unmap(uint8_t cdb[CDB_MAX], uint16_t list_len, uint8_t flags)
{
    cdb_start(cdb, SCSI_UNMAP);
    cdb[1] = flags;
    st_be16(cdb + 7, list_len);
    return 10;
}

int
cdb_compare_and_write(uint8_t cdb[CDB_MAX], uint64_t lba, uint8_t blocks, uint8_t flags)
{
    cdb_start(cdb, SCSI_COMPARE_AND_WRITE);
    cdb[1] = flags;
    st_be64(cdb + 2, lba);
    cdb[13] = blocks;
    return 16;
}

int
cdb_get_lba_status(uint8_t cdb[CDB_MAX], uint64_t lba, uint32_t alloc)
{
    cdb_start(cdb, SCSI_SERVICE_ACTION_IN_16);
    cdb[1] = SCSI_SAI_GET_LBA_STATUS;
    st_be64(cdb + 2, lba);
    st_be32(cdb + 10, alloc);
    return 16;
}

int
cdb_report_opcodes(uint8_t cdb[CDB_MAX], unsigned options, uint8_t opcode, uint16_t sa,
                   uint32_t alloc)
{
    assert(options <= 3);
    cdb_start(cdb, SCSI_MAINTENANCE_IN);
    cdb[1] = SCSI_MI_REPORT_SUPPORTED_OPCODES;
    cdb[2] = (uint8_t)options;
    cdb[3] = opcode;
    st_be16(cdb + 4, sa);
    st_be32(cdb + 6, alloc);
    return 12;
}

int
cdb_pr_in(uint8_t cdb[CDB_MAX], enum scsi_pr_in sa, uint16_t alloc)
{
    cdb_start(cdb, SCSI_PERSISTENT_RESERVE_IN);
    cdb[1] = (uint8_t)sa;
    st_be16(cdb + 7, alloc);
    return 10;
}

int
cdb_pr_out(uint8_t cdb[CDB_MAX], enum scsi_pr_out sa, uint8_t scope_type, uint32_t list_len)
{
    cdb_start(cdb, SCSI_PERSISTENT_RESERVE_OUT);
    cdb[1] = (uint8_t)sa;
    cdb[2] = scope_type;
    st_be32(cdb + 5, list_len);
    return 10;
}

int
cdb_start_stop(uint8_t cdb[CDB_MAX], bool immed, uint8_t power_condition, uint8_t start_loej)
{
    assert(power_condition <= 15 && start_loej <= (SCSI_START | SCSI_LOEJ));
    cdb_start(cdb, SCSI_START_STOP_UNIT);
    cdb[1] = immed;
    cdb[4] = (uint8_t)(power_condition << 4 | start_loej);
    return 6;
}

int
cdb_rtpg(uint8_t cdb[CDB_MAX], bool extended_header, uint32_t alloc)
{
    cdb_start(cdb, SCSI_MAINTENANCE_IN);
    cdb[1] = (uint8_t)(SCSI_MI_REPORT_TARGET_PORT_GROUPS | (extended_header ? 0x20u : 0));
    st_be32(cdb + 6, alloc);
    return 12;
}

int
cdb_stpg(uint8_t cdb[CDB_MAX], uint32_t list_len)
{
    cdb_start(cdb, SCSI_MAINTENANCE_OUT);
    cdb[1] = SCSI_MO_SET_TARGET_PORT_GROUPS;
    st_be32(cdb + 6, list_len);
    return 12;
}

int
unmap_list_build(uint8_t *buf, size_t size, const struct unmap_range *ranges, unsigned n)
{
    size_t len = UNMAP_LIST_LEN(n);

    assert(len - 2 <= UINT16_MAX);
    if (size < len)
        return -ENOBUFS;
    memset(buf, 0, len);
    st_be16(buf, (uint16_t)(len - 2));
    st_be16(buf + 2, (uint16_t)(len - 8));
    for (unsigned i = 0; i < n; i++) {
        st_be64(buf + UNMAP_LIST_LEN(i), ranges[i].lba);
        st_be32(buf + UNMAP_LIST_LEN(i) + 8, ranges[i].blocks);
    }
    return (int)len;
}

int
unmap_list_parse(const uint8_t *buf, size_t len, struct unmap_range *ret, unsigned max)
{
    size_t data, desc;
    unsigned n;

    if (len < 8)
        return -EINVAL;
    data = 2u + ld_be16(buf);
    desc = ld_be16(buf + 2);
    if (data < 8 + desc || len < 8 + desc)
        return -EINVAL;
    n = (unsigned)(desc / 16);
    for (unsigned i = 0; i < n && i < max; i++) {
        ret[i].lba = ld_be64(buf + UNMAP_LIST_LEN(i));
        ret[i].blocks = ld_be32(buf + UNMAP_LIST_LEN(i) + 8);
    }
    return (int)n;
}
