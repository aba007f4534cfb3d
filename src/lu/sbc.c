/* SPDX-License-Identifier: MIT */
/* Block commands (SBC-3): those that move or change the medium, and those that describe it. */
#include "lu/sbc.h"

#include <assert.h>
#include <string.h>

#include "lu/cmd.h"
#include "lu/medium.h"
#include "lu/op.h"
#include "lu/pr.h"
#include "lu/unit.h"
#include "wire/be.h"
#include "wire/capacity.h"

#define ASC_MISCOMPARE SENSE_ASC(0x1d, 0x00)
#define ASC_LIST_LEN   SENSE_ASC(0x1a, 0x00)
#define ASC_LBA_RANGE  SENSE_ASC(0x21, 0x00)

/* The length of the extent in bytes, or false and the command has failed. */
static bool
sbc_extent_len(struct lu_cmd *c, uint32_t max, uint32_t *ret)
{
    if (c->blocks > max >> c->lu->block_shift) {
        lu_cmd_fail_field(c, true, c->op->len == 10 ? 7 : 10);
        return false;
    }
    *ret = c->blocks << c->lu->block_shift;
    return true;
}

/* Fails a command whose Expected Data Transfer Length is not len.  For commands that compare or
 * interpret their data, fewer or more bytes would mean something else. */
static bool
sbc_length_is(struct lu_cmd *c, uint32_t len)
{
    if (c->expect == len)
        return true;
    lu_cmd_fail_field(c, true, c->op->len == 10 ? 7 : 13);
    return false;
}

/* Asks the store for the extent; false: the command has failed. */
static bool
store_ready(struct lu_cmd *c, bool write)
{
    int r = lu_prepare(c->lu, c->lba, c->blocks, write);

    if (r < 0)
        lu_cmd_fail_store(c, r, write);
    return r == 0;
}

void
lu_sbc_read(struct lu_cmd *c)
{
    uint32_t len;

    if (!sbc_extent_len(c, LU_TRANSFER_MAX, &len) || len == 0 || !store_ready(c, false))
        return;
    c->dir = LU_DIR_IN;
    c->data = LU_DATA_MEDIA;
    c->len = len;
}

void
lu_sbc_write(struct lu_cmd *c)
{
    uint32_t len;

    if (!sbc_extent_len(c, LU_TRANSFER_MAX, &len) || len == 0 || !store_ready(c, true))
        return;
    lu_cmd_want(c, LU_DATA_MEDIA, len);
    lu_mark(c->lu, c->lba, c->blocks);
}

void
lu_sbc_write_finish(struct lu_cmd *c)
{
    bool fua = (c->op->flags & LU_OP_FUA) && (c->cdb[1] & SCSI_FUA);

    c->lu->dirty = true;
    c->sync = fua || !c->lu->mode.wce;
}

void
lu_sbc_write_verify(struct lu_cmd *c)
{
    if ((c->cdb[1] & SCSI_BYTCHK_MASK) > SCSI_BYTCHK)
        lu_cmd_fail_field(c, true, 1);
    else
        lu_sbc_write(c); /* what was written is what is read: nothing lies between */
}

/* VERIFY without data: the blocks can be read. */
static void
check_medium(struct lu_cmd *c, uint64_t off, uint32_t len)
{
    int r = lu_medium_check(c->lu, lu_address(c->lu, c->lba) + off, len);

    if (r < 0)
        lu_cmd_fail_store(c, r, false);
}

void
lu_sbc_verify(struct lu_cmd *c)
{
    uint8_t check = c->cdb[1] & SCSI_BYTCHK_MASK;
    uint32_t len;

    if (!sbc_extent_len(c, LU_TRANSFER_MAX, &len) || len == 0 || !store_ready(c, false))
        return;
    if (check == SCSI_BYTCHK)
        lu_cmd_want(c, LU_DATA_STREAM, len);
    else if (check == SCSI_BYTCHK_ONE && lu_cmd_buf(c, c->lu->block))
        lu_cmd_want(c, LU_DATA_BUF, c->lu->block);
    else if (check != 0 && !c->failed)
        lu_cmd_fail_field(c, true, 1);
}

/* Compares data with what is at offset off from the command's first block.  Returns the offset of
 * the first byte that differs, len if none does or the command has failed. */
static uint32_t
differs(struct lu_cmd *c, uint64_t off, const uint8_t *data, uint32_t len)
{
    uint32_t at = len;
    int r = lu_medium_compare(c->lu, lu_address(c->lu, c->lba) + off, data, len, &at);

    if (r < 0)
        lu_cmd_fail_store(c, r, false);
    return r < 0 ? len : at;
}

void
lu_sbc_verify_chunk(struct lu_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    uint32_t at = differs(c, off, data, len);

    if (at < len && c->scan == 0)
        c->scan = (uint64_t)off + at + 1;
}

void
lu_sbc_verify_finish(struct lu_cmd *c)
{
    if (c->scan != 0 && !c->failed)
        lu_cmd_fail(c, SENSE_MISCOMPARE, ASC_MISCOMPARE);
}

/* How many of the `left` blocks from lba on the next slice deals with.  Slices end at multiples of
 * LU_SLICE, so that what is freed is whole pages. */
static uint32_t
slice_blocks(const struct lu *lu, uint64_t lba, uint64_t left)
{
    uint64_t per_slice = LU_SLICE >> lu->block_shift, room = per_slice - lba % per_slice;

    return (uint32_t)(left < room ? left : room);
}

/* Compares some blocks with the one that was sent; without one, finds out whether they can be read.
 */
uint32_t
lu_sbc_verify_slice(struct lu_cmd *c)
{
    uint32_t block = c->lu->block, n = slice_blocks(c->lu, c->lba + c->at, c->blocks - c->at);

    if (c->data == LU_DATA_STREAM)
        return 0; /* compared as it came */
    if (c->data == LU_DATA_NONE && n > 0)
        check_medium(c, c->at * block, n * block);
    for (uint32_t i = 0; c->data == LU_DATA_BUF && i < n && !c->failed; i++) {
        if (differs(c, (c->at + i) * block, c->buf, block) < block)
            lu_cmd_fail(c, SENSE_MISCOMPARE, ASC_MISCOMPARE);
    }
    c->at += n;
    return n * block;
}

void
lu_sbc_caw(struct lu_cmd *c)
{
    uint32_t len = c->blocks << c->lu->block_shift;

    if (len > LU_CAW_MAX) {
        lu_cmd_fail_field(c, true, 13);
        return;
    }
    if (sbc_length_is(c, 2 * len) && len > 0 && lu_cmd_buf(c, 2 * len))
        lu_cmd_want(c, LU_DATA_BUF, 2 * len);
}

void
lu_sbc_caw_finish(struct lu_cmd *c)
{
    uint32_t half = c->len / 2, at;
    int r;

    if (c->buf == NULL || !store_ready(c, true))
        return; /* there are no blocks to compare, or none that can be written */
    at = differs(c, 0, c->buf, half);
    if (at < half) {
        struct scsi_sense s = {
            .key = SENSE_MISCOMPARE, .asc = ASC_MISCOMPARE >> 8, .has_info = true, .info = at};

        lu_cmd_fail_sense(c, &s);
        return;
    }
    if (c->failed)
        return;
    lu_mark(c->lu, c->lba, c->blocks);
    r = lu_medium_write(c->lu, lu_address(c->lu, c->lba), c->buf + half, half);
    if (r < 0)
        lu_cmd_fail_store(c, r, true);
    else
        lu_sbc_write_finish(c);
}

void
lu_sbc_write_same(struct lu_cmd *c)
{
    bool ten = c->op->len == 10;
    bool ndob = !ten && (c->cdb[1] & SCSI_WS_NDOB);
    uint8_t bad = SCSI_WS_ANCHOR | 0x06 | (ten ? SCSI_WS_NDOB : 0); /* PBDATA, LBDATA: obsolete */
    uint32_t len;

    if (c->cdb[1] & bad) {
        lu_cmd_fail_field(c, true, 1);
    } else if (c->blocks == 0) {
        lu_cmd_fail_field(c, true, ten ? 7 : 10); /* WSNZ */
    } else if (sbc_extent_len(c, LU_WRITE_SAME_MAX, &len)) {
        if (!ndob && sbc_length_is(c, c->lu->block) && lu_cmd_buf(c, c->lu->block))
            lu_cmd_want(c, LU_DATA_BUF, c->lu->block);
    }
}

void
lu_sbc_write_same_finish(struct lu_cmd *c)
{
    c->sync = !c->lu->mode.wce;
}

/* Writes the block that was sent to n blocks from lba on. */
static int
fill_blocks(struct lu_cmd *c, uint64_t lba, uint32_t n)
{
    struct lu *lu = c->lu;
    int r = lu_prepare(lu, lba, n, true);

    if (r < 0)
        return r;
    lu_mark(lu, lba, n);
    return lu_medium_fill(lu, lu_address(lu, lba), lu_address(lu, n), c->buf, lu->block);
}

/* Without a block (NDOB), zeroes are written. */
uint32_t
lu_sbc_write_same_slice(struct lu_cmd *c)
{
    static const uint8_t zeroes[LU_BLOCK_MAX];
    struct lu *lu = c->lu;
    uint64_t lba = c->lba + c->at;
    uint32_t n = slice_blocks(lu, lba, c->blocks - c->at);
    int r;

    if (n == 0)
        return 0;
    if (c->buf == NULL || memcmp(zeroes, c->buf, lu->block) == 0)
        r = lu_zero(lu, lba, n, c->cdb[1] & SCSI_WS_UNMAP);
    else
        r = fill_blocks(c, lba, n);
    if (r < 0)
        lu_cmd_fail_store(c, r, true);
    c->at += n;
    return n << lu->block_shift;
}

void
lu_sbc_unmap(struct lu_cmd *c)
{
    uint32_t len = ld_be16(&c->cdb[7]);

    if (c->cdb[1] & SCSI_UNMAP_ANCHOR)
        lu_cmd_fail_field(c, true, 1);
    else if (len > 0 && len < 8)
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LIST_LEN);
    else if (len > UNMAP_LIST_LEN(LU_UNMAP_DESC_MAX))
        lu_cmd_fail_field(c, false, 2); /* before there is memory for it */
    else if (len > 0 && lu_cmd_buf(c, len))
        lu_cmd_want(c, LU_DATA_BUF, len);
}

void
lu_sbc_unmap_finish(struct lu_cmd *c)
{
    struct lu *lu = c->lu;
    struct unmap_range ranges[LU_UNMAP_DESC_MAX];
    uint64_t sum = 0;
    int n = unmap_list_parse(c->buf, c->len, ranges, LU_UNMAP_DESC_MAX);

    if (n < 0) {
        lu_cmd_fail_field(c, false, 0);
        return;
    }
    assert(n <= (int)LU_UNMAP_DESC_MAX); /* lu_sbc_unmap takes no longer list */
    for (int i = 0; i < n; i++) {
        sum += ranges[i].blocks;
        if (ranges[i].lba > lu->blocks || ranges[i].blocks > lu->blocks - ranges[i].lba) {
            lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_RANGE);
            return;
        }
    }
    if (sum > LU_UNMAP_MAX >> lu->block_shift) {
        lu_cmd_fail_field(c, false, 8);
        return;
    }
    c->sync = !lu->mode.wce;
}

uint32_t
lu_sbc_unmap_slice(struct lu_cmd *c)
{
    struct unmap_range ranges[LU_UNMAP_DESC_MAX];
    int n = c->buf == NULL ? 0 : unmap_list_parse(c->buf, c->len, ranges, LU_UNMAP_DESC_MAX);
    uint64_t skip = c->at;

    assert(n >= 0 && n <= (int)LU_UNMAP_DESC_MAX); /* lu_sbc_unmap_finish has looked */
    for (int i = 0; i < n; i++) {
        uint64_t lba = ranges[i].lba + skip;
        uint32_t some;
        int r;

        if (skip >= ranges[i].blocks) {
            skip -= ranges[i].blocks;
            continue;
        }
        some = slice_blocks(c->lu, lba, ranges[i].blocks - skip);
        r = lu_zero(c->lu, lba, some, true);
        if (r < 0)
            lu_cmd_fail_store(c, r, true);
        c->at += some;
        return some << c->lu->block_shift;
    }
    return 0;
}

void
lu_sbc_sync_cache(struct lu_cmd *c)
{
    c->sync = !(c->cdb[1] & SCSI_SYNC_IMMED);
}

void
lu_sbc_prefetch(struct lu_cmd *c)
{
    c->status = SCSI_CONDITION_MET; /* all of it is in memory */
}

static struct scsi_capacity
capacity(const struct lu *lu)
{
    return (struct scsi_capacity){
        .blocks = lu->blocks, .block_len = lu->block, .lbpme = true, .lbprz = true};
}

void
lu_sbc_capacity10(struct lu_cmd *c)
{
    struct scsi_capacity cap = capacity(c->lu);
    int n;

    if (!(c->cdb[8] & 1) && ld_be32(&c->cdb[2]) != 0) {
        lu_cmd_fail_field(c, true, 2);
    } else if (lu_cmd_buf(c, CAPACITY10_LEN)) {
        n = capacity10_build(c->buf, CAPACITY10_LEN, &cap);
        assert(n == CAPACITY10_LEN);
        lu_cmd_reply(c, CAPACITY10_LEN, CAPACITY10_LEN);
    }
}

void
lu_sbc_capacity16(struct lu_cmd *c)
{
    struct scsi_capacity cap = capacity(c->lu);
    int n;

    if (!(c->cdb[14] & 1) && ld_be64(&c->cdb[2]) != 0) {
        lu_cmd_fail_field(c, true, 2);
    } else if (lu_cmd_buf(c, CAPACITY16_LEN)) {
        n = capacity16_build(c->buf, CAPACITY16_LEN, &cap);
        assert(n == CAPACITY16_LEN);
        lu_cmd_reply(c, CAPACITY16_LEN, ld_be32(&c->cdb[10]));
    }
}

#define LBA_STATUS_MAX 64 /* descriptors in one answer */

void
lu_sbc_lba_status(struct lu_cmd *c)
{
    const struct lu *lu = c->lu;
    uint64_t lba = ld_be64(&c->cdb[2]), end = lba + LU_WRITTEN_MAX, run;
    uint32_t alloc = ld_be32(&c->cdb[10]), n = 0;

    if (lba >= lu->blocks) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_RANGE);
        return;
    }
    if (!lu_cmd_buf(c, 8 + 16 * LBA_STATUS_MAX))
        return;
    while (n < LBA_STATUS_MAX && lba < lu->blocks && lba < end && (n == 0 || 8 + 16 * n < alloc)) {
        uint8_t *d = c->buf + 8 + 16 * n++;
        bool written = lu_written(lu, lba, &run);

        if (run > UINT32_MAX)
            run = UINT32_MAX;
        st_be64(d, lba);
        st_be32(d + 8, (uint32_t)run);
        d[12] = written ? 0 : 1;
        lba += run;
    }
    st_be32(c->buf, 4 + 16 * n);
    lu_cmd_reply(c, 8 + 16 * n, alloc);
}

void
lu_sbc_start_stop(struct lu_cmd *c)
{
    bool harmless = (c->cdb[4] & SCSI_START) && c->cdb[4] >> 4 == 0;

    if (!harmless && lu_pr_conflict(&c->lu->pr, c->nexus, LU_PR_WRITES))
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
    else
        c->sync = !(c->cdb[4] & SCSI_START); /* the LU stays ready: there is nothing to stop */
}

void
lu_sbc_prevent_allow(struct lu_cmd *c)
{
    if ((c->cdb[4] & 3) > 1)
        lu_cmd_fail_field(c, true, 4);
    else if ((c->cdb[4] & 3) != 0 && lu_pr_conflict(&c->lu->pr, c->nexus, LU_PR_WRITES))
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
}

/* READ DEFECT DATA: there are none. */
void
lu_sbc_defects(struct lu_cmd *c)
{
    bool ten = c->op->len == 10;

    if (!lu_cmd_buf(c, 8))
        return;
    c->buf[1] = (ten ? c->cdb[2] : c->cdb[1]) & 0x1f;
    lu_cmd_reply(c, ten ? 4 : 8, ten ? ld_be16(&c->cdb[7]) : ld_be32(&c->cdb[6]));
}
