/* SPDX-License-Identifier: MIT */
/* Block commands (SBC-3) that move or change the medium. */
#include <assert.h>
#include <string.h>

#include "lu/cmd.h"
#include "target/session.h"
#include "wire/be.h"
#include "wire/capacity.h"

#define ASC_MISCOMPARE SENSE_ASC(0x1d, 0x00)
#define ASC_LIST_LEN   SENSE_ASC(0x1a, 0x00)
#define ASC_LBA_RANGE  SENSE_ASC(0x21, 0x00)

static uint8_t *
medium(const struct tgt_lu *lu, uint64_t lba)
{
    return lu->mem == NULL ? NULL : lu->mem + (lba << lu->block_shift);
}

/* The length of the extent in bytes, or false and the command has failed. */
static bool
extent_len(struct tgt_cmd *c, uint32_t max, uint32_t *ret)
{
    if (c->s.blocks > max >> c->s.lu->block_shift) {
        tgt_scsi_fail_field(c, true, c->s.op->len == 10 ? 7 : 10);
        return false;
    }
    *ret = c->s.blocks << c->s.lu->block_shift;
    return true;
}

/* Commands whose data is not what it seems if its length is wrong. */
static bool
length_is(struct tgt_cmd *c, uint32_t len)
{
    if (c->edtl == len)
        return true;
    tgt_scsi_fail_field(c, true, c->s.op->len == 10 ? 7 : 13);
    return false;
}

static void
want(struct tgt_cmd *c, enum tgt_data data, uint32_t len)
{
    c->s.dir = TGT_DIR_OUT;
    c->s.data = data;
    c->s.len = len;
}

void
tgt_sbc_read(struct tgt_cmd *c)
{
    uint32_t len;

    if (!extent_len(c, TGT_TRANSFER_MAX, &len) || len == 0)
        return;
    c->s.dir = TGT_DIR_IN;
    c->s.data = TGT_DATA_MEDIA;
    c->s.len = len;
}

void
tgt_sbc_write(struct tgt_cmd *c)
{
    uint32_t len;

    if (!extent_len(c, TGT_TRANSFER_MAX, &len) || len == 0)
        return;
    want(c, TGT_DATA_MEDIA, len);
    tgt_lu_mark(c->s.lu, c->s.lba, c->s.blocks);
}

void
tgt_sbc_write_finish(struct tgt_cmd *c)
{
    bool fua = (c->s.op->flags & TGT_OP_FUA) && (c->s.cdb[1] & SCSI_FUA);

    c->s.lu->file_dirty = true;
    c->s.sync = fua || !c->s.lu->mode.wce;
}

void
tgt_sbc_write_verify(struct tgt_cmd *c)
{
    if ((c->s.cdb[1] & SCSI_BYTCHK_MASK) > SCSI_BYTCHK)
        tgt_scsi_fail_field(c, true, 1);
    else
        tgt_sbc_write(c); /* what was written is what is read: nothing lies between */
}

void
tgt_sbc_verify(struct tgt_cmd *c)
{
    uint8_t check = c->s.cdb[1] & SCSI_BYTCHK_MASK;
    uint32_t len;

    if (!extent_len(c, TGT_TRANSFER_MAX, &len) || len == 0)
        return;
    if (check == SCSI_BYTCHK)
        want(c, TGT_DATA_STREAM, len);
    else if (check == SCSI_BYTCHK_ONE && tgt_scsi_buf(c, c->s.lu->block))
        want(c, TGT_DATA_BUF, c->s.lu->block);
    else if (check != 0 && !c->s.failed)
        tgt_scsi_fail_field(c, true, 1);
}

/* Offset of the first byte that differs, len if none; memory NULL stands for zeros. */
static uint32_t
differs(const uint8_t *mem, const uint8_t *data, uint32_t len)
{
    uint32_t i = 0;

    if (mem != NULL && memcmp(mem, data, len) == 0)
        return len;
    while (i < len && data[i] == (mem != NULL ? mem[i] : 0))
        i++;
    return i;
}

void
tgt_sbc_verify_chunk(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    const uint8_t *mem = medium(c->s.lu, c->s.lba);
    uint32_t at = differs(mem == NULL ? NULL : mem + off, data, len);

    if (at < len && c->s.scan == 0)
        c->s.scan = (uint64_t)off + at + 1;
}

void
tgt_sbc_verify_finish(struct tgt_cmd *c)
{
    uint32_t block = c->s.lu->block;

    if (c->s.data == TGT_DATA_BUF) {
        for (uint32_t i = 0; i < c->s.blocks && c->s.scan == 0; i++) {
            if (differs(medium(c->s.lu, c->s.lba + i), c->s.buf, block) < block)
                c->s.scan = 1;
        }
    }
    if (c->s.scan != 0)
        tgt_scsi_fail(c, SENSE_MISCOMPARE, ASC_MISCOMPARE);
}

void
tgt_sbc_caw(struct tgt_cmd *c)
{
    uint32_t len = c->s.blocks << c->s.lu->block_shift;

    if (len > TGT_CAW_MAX) {
        tgt_scsi_fail_field(c, true, 13);
        return;
    }
    if (length_is(c, 2 * len) && len > 0 && tgt_scsi_buf(c, 2 * len))
        want(c, TGT_DATA_BUF, 2 * len);
}

void
tgt_sbc_caw_finish(struct tgt_cmd *c)
{
    uint8_t *mem = medium(c->s.lu, c->s.lba);
    uint32_t half = c->s.len / 2, at;

    if (c->s.buf == NULL)
        return; /* no blocks */
    at = differs(mem, c->s.buf, half);
    if (at < half) {
        struct scsi_sense s = {
            .key = SENSE_MISCOMPARE, .asc = ASC_MISCOMPARE >> 8, .has_info = true, .info = at};

        tgt_scsi_fail_sense(c, &s);
        return;
    }
    if (mem != NULL)
        memcpy(mem, c->s.buf + half, half);
    tgt_lu_mark(c->s.lu, c->s.lba, c->s.blocks);
    tgt_sbc_write_finish(c);
}

static void
write_zeros(struct tgt_cmd *c)
{
    bool unmap = c->s.cdb[1] & SCSI_WS_UNMAP;

    (void)tgt_lu_zero(c->s.lu, c->s.lba, c->s.blocks, unmap);
    c->s.sync = !c->s.lu->mode.wce;
}

void
tgt_sbc_write_same(struct tgt_cmd *c)
{
    bool ten = c->s.op->len == 10;
    bool ndob = !ten && (c->s.cdb[1] & SCSI_WS_NDOB);
    uint8_t bad = SCSI_WS_ANCHOR | 0x06 | (ten ? SCSI_WS_NDOB : 0); /* PBDATA, LBDATA: obsolete */
    uint32_t len;

    if (c->s.cdb[1] & bad) {
        tgt_scsi_fail_field(c, true, 1);
    } else if (c->s.blocks == 0) {
        tgt_scsi_fail_field(c, true, ten ? 7 : 10); /* WSNZ */
    } else if (extent_len(c, TGT_WRITE_SAME_MAX, &len)) {
        if (ndob)
            write_zeros(c);
        else if (length_is(c, c->s.lu->block) && tgt_scsi_buf(c, c->s.lu->block))
            want(c, TGT_DATA_BUF, c->s.lu->block);
    }
}

void
tgt_sbc_write_same_finish(struct tgt_cmd *c)
{
    struct tgt_lu *lu = c->s.lu;
    uint8_t *mem = medium(lu, c->s.lba);
    uint32_t len = c->s.blocks << lu->block_shift, done = lu->block;

    if (c->s.buf == NULL)
        return; /* NDOB: done already */
    if (differs(NULL, c->s.buf, lu->block) == lu->block) {
        write_zeros(c);
        return;
    }
    if (mem != NULL) {
        memcpy(mem, c->s.buf, lu->block);
        while (done < len) {
            uint32_t n = done < len - done ? done : len - done;

            memcpy(mem + done, mem, n);
            done += n;
        }
    }
    tgt_lu_mark(lu, c->s.lba, c->s.blocks);
    c->s.sync = !lu->mode.wce;
}

void
tgt_sbc_unmap(struct tgt_cmd *c)
{
    uint32_t len = ld_be16(&c->s.cdb[7]);

    if (c->s.cdb[1] & SCSI_UNMAP_ANCHOR)
        tgt_scsi_fail_field(c, true, 1);
    else if (len > 0 && len < 8)
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LIST_LEN);
    else if (len > 0 && tgt_scsi_buf(c, len))
        want(c, TGT_DATA_BUF, len);
}

void
tgt_sbc_unmap_finish(struct tgt_cmd *c)
{
    struct tgt_lu *lu = c->s.lu;
    struct unmap_range ranges[TGT_UNMAP_DESC_MAX];
    uint64_t sum = 0;
    int n = unmap_list_parse(c->s.buf, c->s.len, ranges, TGT_UNMAP_DESC_MAX);

    if (n < 0 || n > (int)TGT_UNMAP_DESC_MAX) {
        tgt_scsi_fail_field(c, false, n < 0 ? 0 : 2);
        return;
    }
    for (int i = 0; i < n; i++) {
        sum += ranges[i].blocks;
        if (ranges[i].lba > lu->blocks || ranges[i].blocks > lu->blocks - ranges[i].lba) {
            tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_RANGE);
            return;
        }
    }
    if (sum > TGT_UNMAP_MAX >> lu->block_shift) {
        tgt_scsi_fail_field(c, false, 8);
        return;
    }
    for (int i = 0; i < n; i++)
        (void)tgt_lu_zero(lu, ranges[i].lba, ranges[i].blocks, true);
    c->s.sync = !lu->mode.wce;
}

void
tgt_sbc_sync_cache(struct tgt_cmd *c)
{
    c->s.sync = !(c->s.cdb[1] & SCSI_SYNC_IMMED);
}

void
tgt_sbc_prefetch(struct tgt_cmd *c)
{
    c->s.status = SCSI_CONDITION_MET; /* all of it is in memory */
}

static struct scsi_capacity
capacity(const struct tgt_lu *lu)
{
    return (struct scsi_capacity){
        .blocks = lu->blocks, .block_len = lu->block, .lbpme = true, .lbprz = true};
}

void
tgt_sbc_capacity10(struct tgt_cmd *c)
{
    struct scsi_capacity cap = capacity(c->s.lu);
    int n;

    if (!(c->s.cdb[8] & 1) && ld_be32(&c->s.cdb[2]) != 0) {
        tgt_scsi_fail_field(c, true, 2);
    } else if (tgt_scsi_buf(c, CAPACITY10_LEN)) {
        n = capacity10_build(c->s.buf, CAPACITY10_LEN, &cap);
        assert(n == CAPACITY10_LEN);
        tgt_scsi_reply(c, CAPACITY10_LEN, CAPACITY10_LEN);
    }
}

void
tgt_sbc_capacity16(struct tgt_cmd *c)
{
    struct scsi_capacity cap = capacity(c->s.lu);
    int n;

    if (!(c->s.cdb[14] & 1) && ld_be64(&c->s.cdb[2]) != 0) {
        tgt_scsi_fail_field(c, true, 2);
    } else if (tgt_scsi_buf(c, CAPACITY16_LEN)) {
        n = capacity16_build(c->s.buf, CAPACITY16_LEN, &cap);
        assert(n == CAPACITY16_LEN);
        tgt_scsi_reply(c, CAPACITY16_LEN, ld_be32(&c->s.cdb[10]));
    }
}

#define LBA_STATUS_MAX 64 /* descriptors in one answer */

void
tgt_sbc_lba_status(struct tgt_cmd *c)
{
    const struct tgt_lu *lu = c->s.lu;
    uint64_t lba = ld_be64(&c->s.cdb[2]), run;
    uint32_t alloc = ld_be32(&c->s.cdb[10]), n = 0;

    if (lba >= lu->blocks) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_RANGE);
        return;
    }
    if (!tgt_scsi_buf(c, 8 + 16 * LBA_STATUS_MAX))
        return;
    while (n < LBA_STATUS_MAX && lba < lu->blocks && (n == 0 || 8 + 16 * n < alloc)) {
        uint8_t *d = c->s.buf + 8 + 16 * n++;
        bool written = tgt_lu_written(lu, lba, &run);

        if (run > UINT32_MAX)
            run = UINT32_MAX;
        st_be64(d, lba);
        st_be32(d + 8, (uint32_t)run);
        d[12] = written ? 0 : 1;
        lba += run;
    }
    st_be32(c->s.buf, 4 + 16 * n);
    tgt_scsi_reply(c, 8 + 16 * n, alloc);
}

void
tgt_sbc_start_stop(struct tgt_cmd *c)
{
    bool harmless = (c->s.cdb[4] & SCSI_START) && c->s.cdb[4] >> 4 == 0;

    if (!harmless && tgt_pr_conflict(c->s.lu, c->s.nexus, TGT_PR_WRITES))
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
    else
        c->s.sync = !(c->s.cdb[4] & SCSI_START); /* the LU stays ready: there is nothing to stop */
}

void
tgt_sbc_prevent_allow(struct tgt_cmd *c)
{
    if ((c->s.cdb[4] & 3) > 1)
        tgt_scsi_fail_field(c, true, 4);
    else if ((c->s.cdb[4] & 3) != 0 && tgt_pr_conflict(c->s.lu, c->s.nexus, TGT_PR_WRITES))
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
}

/* READ DEFECT DATA: there are none. */
void
tgt_sbc_defects(struct tgt_cmd *c)
{
    bool ten = c->s.op->len == 10;

    if (!tgt_scsi_buf(c, 8))
        return;
    c->s.buf[1] = (ten ? c->s.cdb[2] : c->s.cdb[1]) & 0x1f;
    tgt_scsi_reply(c, ten ? 4 : 8, ten ? ld_be16(&c->s.cdb[7]) : ld_be32(&c->s.cdb[6]));
}
