/* SPDX-License-Identifier: MIT */
#include "lu/cmd.h"

#include <assert.h>
#include <string.h>

#include "target/session.h"
#include "wire/lun.h"

#define CONTROL_NACA 0x04u

#define ASC_INVALID_OPCODE SENSE_ASC(0x20, 0x00)
#define ASC_LBA_RANGE      SENSE_ASC(0x21, 0x00)
#define ASC_CDB_FIELD      SENSE_ASC(0x24, 0x00)
#define ASC_LUN            SENSE_ASC(0x25, 0x00)
#define ASC_PARAM_FIELD    SENSE_ASC(0x26, 0x00)
#define ASC_WRITE_PROTECT  SENSE_ASC(0x27, 0x00)
#define ASC_RESOURCES      SENSE_ASC(0x55, 0x03)

static const uint16_t ua_codes[TGT_UA_COUNT] = {
    [TGT_UA_POWER_ON] = 0x2900,     [TGT_UA_COLD_RESET] = 0x2901,  [TGT_UA_TARGET_RESET] = 0x2902,
    [TGT_UA_LU_RESET] = 0x2903,     [TGT_UA_NEXUS_LOSS] = 0x2907,  [TGT_UA_MODE_CHANGED] = 0x2a01,
    [TGT_UA_PR_PREEMPTED] = 0x2a03, [TGT_UA_PR_RELEASED] = 0x2a04, [TGT_UA_REG_PREEMPTED] = 0x2a05,
    [TGT_UA_CAPACITY] = 0x2a09,     [TGT_UA_CLEARED] = 0x2f00,     [TGT_UA_ISCSI_CLEARED] = 0x477f,
};

void
tgt_ua_set(struct tgt_nexus *n, const struct tgt_lu *lu, enum tgt_ua ua)
{
    n->ua[lu->index] |= 1u << ua;
}

void
tgt_ua_all(struct tgt_lu *lu, const struct tgt_nexus *except, enum tgt_ua ua)
{
    struct list *const lists[] = {&lu->node->nexuses, &lu->node->away};

    for (int k = 0; k < 2; k++) {
        LIST_FOREACH (i, lists[k]) {
            struct tgt_nexus *n = container_of(i, struct tgt_nexus, link);

            if (n != except)
                tgt_ua_set(n, lu, ua);
        }
    }
}

uint16_t
tgt_ua_take(struct tgt_nexus *n, const struct tgt_lu *lu)
{
    uint32_t *ua = &n->ua[lu->index];
    unsigned i;

    assert(*ua != 0);
    i = (unsigned)__builtin_ctz(*ua);
    *ua &= ~(1u << i);
    return ua_codes[i];
}

void
tgt_scsi_fail_status(struct tgt_cmd *c, uint8_t status)
{
    c->s.status = status;
    c->s.failed = true;
    c->s.dir = TGT_DIR_NONE;
    c->s.data = TGT_DATA_NONE;
    c->s.len = 0;
}

void
tgt_scsi_fail_sense(struct tgt_cmd *c, struct scsi_sense *s)
{
    uint8_t buf[SENSE_MAX];
    bool descriptor = c->s.lu != NULL && c->s.lu->mode.d_sense;
    int n = descriptor ? sense_build_descriptor(buf, s) : sense_build_fixed(buf, s);

    assert(n > 0 && n <= TGT_SENSE_MAX);
    tgt_scsi_fail_status(c, SCSI_CHECK_CONDITION);
    memcpy(c->s.sense, buf, (size_t)n);
    c->s.sense_len = (uint8_t)n;
}

void
tgt_scsi_fail(struct tgt_cmd *c, uint8_t key, uint16_t asc)
{
    struct scsi_sense s = {.key = key, .asc = (uint8_t)(asc >> 8), .ascq = (uint8_t)asc};

    tgt_scsi_fail_sense(c, &s);
}

void
tgt_scsi_fail_field(struct tgt_cmd *c, bool in_cdb, uint16_t byte)
{
    struct scsi_sense s = {
        .key = SENSE_ILLEGAL_REQUEST,
        .asc = in_cdb ? ASC_CDB_FIELD >> 8 : ASC_PARAM_FIELD >> 8,
        .has_field = true,
        .field_in_cdb = in_cdb,
        .field = byte,
    };

    tgt_scsi_fail_sense(c, &s);
}

bool
tgt_scsi_buf(struct tgt_cmd *c, uint32_t size)
{
    assert(c->s.buf == NULL);
    c->s.buf = tgt_buf_alloc(size);
    c->s.buf_size = size;
    if (c->s.buf == NULL)
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_RESOURCES);
    return c->s.buf != NULL;
}

void
tgt_scsi_reply(struct tgt_cmd *c, uint32_t len, uint32_t alloc)
{
    assert(len <= c->s.buf_size);
    c->s.dir = TGT_DIR_IN;
    c->s.data = TGT_DATA_BUF;
    c->s.len = len < alloc ? len : alloc;
}

void
tgt_scsi_reset_lu(struct tgt_lu *lu)
{
    lu->reserved = NULL;
    lu->mode = lu->mode_default;
}

/* The table's entry; NULL, and the command has failed. */
static const struct tgt_op *
find_op(struct tgt_cmd *c)
{
    uint8_t opcode = c->s.cdb[0];
    unsigned first = c->conn->target->op_first[opcode];

    if (first == TGT_OP_ABSENT) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
        return NULL;
    }
    if (tgt_ops[first].sa < 0)
        return &tgt_ops[first];
    for (unsigned i = first; i < tgt_ops_count && tgt_ops[i].opcode == opcode; i++) {
        if (tgt_ops[i].sa == (c->s.cdb[1] & 0x1f))
            return &tgt_ops[i];
    }
    tgt_scsi_fail_field(c, true, 1);
    return NULL;
}

/* Reports one pending unit attention. */
static bool
unit_attention(struct tgt_cmd *c)
{
    if (c->s.nexus->ua[c->s.lu->index] == 0)
        return false;
    tgt_scsi_fail(c, SENSE_UNIT_ATTENTION, tgt_ua_take(c->s.nexus, c->s.lu));
    return true;
}

static bool
reserved_elsewhere(const struct tgt_cmd *c, const struct tgt_op *op)
{
    const struct tgt_lu *lu = c->s.lu;

    if (lu->reserved != NULL && lu->reserved != c->s.nexus && !(op->flags & TGT_OP_RSV6))
        return true;
    return tgt_pr_conflict(lu, c->s.nexus, op->pr);
}

/* LBA and count; they must be on the medium. */
static bool
check_extent(struct tgt_cmd *c)
{
    struct scsi_extent e;
    const struct tgt_lu *lu = c->s.lu;
    int r = cdb_extent(c->s.cdb, sizeof(c->s.cdb), &e);

    assert(r == 0);
    c->s.lba = e.lba;
    c->s.blocks = e.blocks;
    if (e.lba > lu->blocks || e.blocks > lu->blocks - e.lba ||
        (e.blocks == 0 && e.lba == lu->blocks)) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_RANGE);
        return false;
    }
    return true;
}

/* False: the command has failed. */
static bool
check(struct tgt_cmd *c, const struct tgt_op *op)
{
    if (!(op->flags & TGT_OP_NO_UA) && unit_attention(c))
        return false;
    if (reserved_elsewhere(c, op)) {
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
        return false;
    }
    if (c->s.cdb[op->len - 1] & CONTROL_NACA) {
        tgt_scsi_fail_field(c, true, (uint16_t)(op->len - 1));
        return false;
    }
    if ((op->flags & TGT_OP_PROTECT) && (c->s.cdb[1] & 0xe0)) {
        tgt_scsi_fail_field(c, true, 1);
        return false;
    }
    if ((op->flags & TGT_OP_WRITES) && tgt_lu_read_only(c->s.lu)) {
        tgt_scsi_fail(c, SENSE_DATA_PROTECT, ASC_WRITE_PROTECT);
        return false;
    }
    return !(op->flags & TGT_OP_EXTENT) || check_extent(c);
}

void
tgt_scsi_start(struct tgt_cmd *c)
{
    const struct tgt_op *op;

    c->s.status = SCSI_GOOD;
    op = find_op(c);
    if (c->s.lu == NULL && (op == NULL || !(op->flags & TGT_OP_NO_LU))) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LUN);
        return;
    }
    if (op == NULL)
        return;
    c->s.op = op;
    if (c->s.lu != NULL && !check(c, op))
        return;
    op->start(c);
}

void
tgt_scsi_finish(struct tgt_cmd *c)
{
    if (c->s.op->finish != NULL)
        c->s.op->finish(c);
}

uint8_t *
tgt_scsi_place(struct tgt_cmd *c, uint32_t off, uint32_t *len)
{
    struct tgt_lu *lu = c->s.lu;

    assert(off < c->s.len);
    if (*len > c->s.len - off)
        *len = c->s.len - off;
    if (c->s.data == TGT_DATA_BUF)
        return c->s.buf + off;
    if (c->s.data == TGT_DATA_MEDIA && lu->mem != NULL)
        return lu->mem + (c->s.lba << lu->block_shift) + off;
    return NULL;
}

void
tgt_scsi_chunk(struct tgt_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    if (c->s.data == TGT_DATA_STREAM)
        c->s.op->chunk(c, off, data, len);
}

const uint8_t *
tgt_scsi_source(const struct tgt_cmd *c, uint32_t off, uint32_t *len)
{
    const struct tgt_lu *lu = c->s.lu;

    assert(off < c->s.len);
    if (c->s.data == TGT_DATA_BUF)
        return c->s.buf + off;
    assert(c->s.data == TGT_DATA_MEDIA);
    if (lu->mem != NULL)
        return lu->mem + (c->s.lba << lu->block_shift) + off;
    if (*len > TGT_ZEROS_SIZE)
        *len = TGT_ZEROS_SIZE;
    return c->conn->target->zeros;
}
