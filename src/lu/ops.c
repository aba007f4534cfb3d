/* SPDX-License-Identifier: MIT */
/* The table stands here together with the two that look into it: dispatch, and REPORT SUPPORTED
 * OPERATION CODES, which is an entry itself. */
#include "lu/ops.h"

#include <string.h>

#include "lu/cmd.h"
#include "lu/mode.h"
#include "lu/pr.h"
#include "lu/sbc.h"
#include "lu/spc.h"
#include "lu/types.h"
#include "wire/be.h"

#define TIMEOUT_S    30 /* what RCTD says that a command may take */
#define TIMEOUTS_LEN 12

#define ASC_INVALID_OPCODE SENSE_ASC(0x20, 0x00)

static void report_opcodes(struct lu_cmd *c);

#define W  LU_OP_WRITES
#define E  LU_OP_EXTENT
#define P  LU_OP_PROTECT
#define F  LU_OP_FUA
#define R6 LU_OP_RSV6
#define SB LU_OP_STANDBY
#define AL LU_OP_ALUA

#define ALLOWED LU_PR_ALLOWED
#define READS   LU_PR_READS
#define WRITES  LU_PR_WRITES

/* clang-format off */
const struct lu_op lu_ops[] = {
    /* opcode len sa PR flags usage from byte 1 on, handlers */
    {0x28, 10, -1, READS, E | P | F, "\x1a\xff\xff\xff\xff\x1f\xff\xff\x04", lu_sbc_read, NULL, NULL, NULL},
    {0x2a, 10, -1, WRITES, E | P | F | W, "\x1a\xff\xff\xff\xff\x1f\xff\xff\x04", lu_sbc_write, lu_sbc_write_finish, NULL, NULL},
    {0x88, 16, -1, READS, E | P | F, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_read, NULL, NULL, NULL},
    {0x8a, 16, -1, WRITES, E | P | F | W, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_write, lu_sbc_write_finish, NULL, NULL},
    {0xa8, 12, -1, READS, E | P | F, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_read, NULL, NULL, NULL},
    {0xaa, 12, -1, WRITES, E | P | F | W, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_write, lu_sbc_write_finish, NULL, NULL},
    {0x08, 6, -1, READS, E, "\x1f\xff\xff\xff\x04", lu_sbc_read, NULL, NULL, NULL},
    {0x0a, 6, -1, WRITES, E | W, "\x1f\xff\xff\xff\x04", lu_sbc_write, lu_sbc_write_finish, NULL, NULL},
    {0x00, 6, -1, ALLOWED, 0, "\x00\x00\x00\x00\x04", lu_spc_test_unit_ready, NULL, NULL, NULL},
    {0x03, 6, -1, ALLOWED, LU_OP_NO_UA | LU_OP_NO_LU | R6, "\x01\x00\x00\xff\x04", lu_spc_request_sense, NULL, NULL, NULL},
    {0x12, 6, -1, ALLOWED, LU_OP_NO_UA | LU_OP_NO_LU | R6, "\x01\xff\xff\xff\x04", lu_spc_inquiry, NULL, NULL, NULL},
    {0xa0, 12, -1, ALLOWED, LU_OP_NO_UA | LU_OP_NO_LU | R6, "\x00\xff\x00\x00\x00\xff\xff\xff\xff\x00\x04", lu_spc_report_luns, NULL, NULL, NULL},
    {0x15, 6, -1, WRITES, SB, "\x11\x00\x00\xff\x04", lu_mode_select, lu_mode_select_finish, NULL, NULL},
    {0x55, 10, -1, WRITES, SB, "\x11\x00\x00\x00\x00\x00\xff\xff\x04", lu_mode_select, lu_mode_select_finish, NULL, NULL},
    {0x1a, 6, -1, READS, SB, "\x08\xff\xff\xff\x04", lu_mode_sense, NULL, NULL, NULL},
    {0x5a, 10, -1, READS, SB, "\x18\xff\xff\x00\x00\x00\xff\xff\x04", lu_mode_sense, NULL, NULL, NULL},
    {0x16, 6, -1, ALLOWED, 0, "\x00\x00\x00\x00\x04", lu_spc_reserve6, NULL, NULL, NULL},
    {0x17, 6, -1, ALLOWED, R6, "\x00\x00\x00\x00\x04", lu_spc_release6, NULL, NULL, NULL},
    {0x1b, 6, -1, ALLOWED, 0, "\x01\x00\x0f\xf7\x04", lu_sbc_start_stop, NULL, NULL, NULL},
    {0x1d, 6, -1, WRITES, SB, "\x07\x00\x00\x00\x04", lu_spc_send_diagnostic, NULL, NULL, NULL},
    {0x1e, 6, -1, ALLOWED, 0, "\x00\x00\x00\x03\x04", lu_sbc_prevent_allow, NULL, NULL, NULL},
    {0x25, 10, -1, ALLOWED, R6, "\x00\xff\xff\xff\xff\x00\x00\x01\x04", lu_sbc_capacity10, NULL, NULL, NULL},
    {0x2e, 10, -1, WRITES, E | P | W, "\x16\xff\xff\xff\xff\x1f\xff\xff\x04", lu_sbc_write_verify, lu_sbc_write_finish, NULL, NULL},
    {0xae, 12, -1, WRITES, E | P | W, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_write_verify, lu_sbc_write_finish, NULL, NULL},
    {0x8e, 16, -1, WRITES, E | P | W, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_write_verify, lu_sbc_write_finish, NULL, NULL},
    {0x2f, 10, -1, READS, E | P, "\x16\xff\xff\xff\xff\x1f\xff\xff\x04", lu_sbc_verify, lu_sbc_verify_finish, lu_sbc_verify_chunk, lu_sbc_verify_slice},
    {0xaf, 12, -1, READS, E | P, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_verify, lu_sbc_verify_finish, lu_sbc_verify_chunk, lu_sbc_verify_slice},
    {0x8f, 16, -1, READS, E | P, "\x16\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_verify, lu_sbc_verify_finish, lu_sbc_verify_chunk, lu_sbc_verify_slice},
    {0x34, 10, -1, READS, E, "\x02\xff\xff\xff\xff\x1f\xff\xff\x04", lu_sbc_prefetch, NULL, NULL, NULL},
    {0x90, 16, -1, READS, E, "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_prefetch, NULL, NULL, NULL},
    {0x35, 10, -1, WRITES, E, "\x02\xff\xff\xff\xff\x1f\xff\xff\x04", lu_sbc_sync_cache, NULL, NULL, NULL},
    {0x91, 16, -1, WRITES, E, "\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_sync_cache, NULL, NULL, NULL},
    {0x37, 10, -1, READS, 0, "\x00\x1f\x00\x00\x00\x00\xff\xff\x04", lu_sbc_defects, NULL, NULL, NULL},
    {0xb7, 12, -1, READS, 0, "\x1f\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04", lu_sbc_defects, NULL, NULL, NULL},
    {0x41, 10, -1, WRITES, E | P | W, "\x1a\xff\xff\xff\xff\x1f\xff\xff\x04", lu_sbc_write_same, lu_sbc_write_same_finish, NULL, lu_sbc_write_same_slice},
    {0x93, 16, -1, WRITES, E | P | W, "\x1b\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x1f\x04", lu_sbc_write_same, lu_sbc_write_same_finish, NULL, lu_sbc_write_same_slice},
    {0x42, 10, -1, WRITES, W, "\x01\x00\x00\x00\x00\x1f\xff\xff\x04", lu_sbc_unmap, lu_sbc_unmap_finish, NULL, lu_sbc_unmap_slice},
    {0x89, 16, -1, WRITES, E | P | W | F, "\x1a\xff\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\xff\x1f\x04", lu_sbc_caw, lu_sbc_caw_finish, NULL, NULL},
    {0x5e, 10, 0, ALLOWED, SB, "\x00\x00\x00\x00\x00\x00\xff\xff\x04", lu_pr_in, NULL, NULL, NULL},
    {0x5e, 10, 1, ALLOWED, SB, "\x01\x00\x00\x00\x00\x00\xff\xff\x04", lu_pr_in, NULL, NULL, NULL},
    {0x5e, 10, 2, ALLOWED, SB, "\x02\x00\x00\x00\x00\x00\xff\xff\x04", lu_pr_in, NULL, NULL, NULL},
    {0x5e, 10, 3, ALLOWED, SB, "\x03\x00\x00\x00\x00\x00\xff\xff\x04", lu_pr_in, NULL, NULL, NULL},
    {0x5f, 10, 0, ALLOWED, SB, "\x00\x00\x00\x00\xff\xff\xff\xff\x04", lu_pr_out, lu_pr_out_finish, NULL, NULL},
    {0x5f, 10, 1, ALLOWED, SB, "\x01\xff\x00\x00\xff\xff\xff\xff\x04", lu_pr_out, lu_pr_out_finish, NULL, NULL},
    {0x5f, 10, 2, ALLOWED, SB, "\x02\xff\x00\x00\xff\xff\xff\xff\x04", lu_pr_out, lu_pr_out_finish, NULL, NULL},
    {0x5f, 10, 3, ALLOWED, SB, "\x03\x00\x00\x00\xff\xff\xff\xff\x04", lu_pr_out, lu_pr_out_finish, NULL, NULL},
    {0x5f, 10, 4, ALLOWED, SB, "\x04\xff\x00\x00\xff\xff\xff\xff\x04", lu_pr_out, lu_pr_out_finish, NULL, NULL},
    {0x5f, 10, 5, ALLOWED, SB, "\x05\xff\x00\x00\xff\xff\xff\xff\x04", lu_pr_out, lu_pr_out_finish, NULL, NULL},
    {0x5f, 10, 6, ALLOWED, SB, "\x06\x00\x00\x00\xff\xff\xff\xff\x04", lu_pr_out, lu_pr_out_finish, NULL, NULL},
    {0x9e, 16, 0x10, ALLOWED, R6, "\x10\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x04", lu_sbc_capacity16, NULL, NULL, NULL},
    {0x9e, 16, 0x12, READS, 0, "\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x00\x04", lu_sbc_lba_status, NULL, NULL, NULL},
    {0xa3, 12, 0x0a, ALLOWED, R6 | AL, "\xea\x00\x00\x00\x00\xff\xff\xff\xff\x00\x04", lu_spc_rtpg, NULL, NULL, NULL},
    {0xa3, 12, 0x0c, READS, 0, "\x0c\x87\xff\xff\xff\xff\xff\xff\xff\x00\x04", report_opcodes, NULL, NULL, NULL},
    {0xa3, 12, 0x0d, READS, 0, "\x0d\x80\x00\x00\x00\xff\xff\xff\xff\x00\x04", lu_spc_report_tmfs, NULL, NULL, NULL},
};
/* clang-format on */

const unsigned lu_ops_count = sizeof(lu_ops) / sizeof(lu_ops[0]);

const struct lu_op *
lu_op_find(struct lu_cmd *c)
{
    uint8_t opcode = c->cdb[0];
    unsigned first = c->dev->op_first[opcode];

    if (first == LU_OP_ABSENT) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_INVALID_OPCODE);
        return NULL;
    }
    if (lu_ops[first].sa < 0)
        return &lu_ops[first];
    for (unsigned i = first; i < lu_ops_count && lu_ops[i].opcode == opcode; i++) {
        if (lu_ops[i].sa == (c->cdb[1] & 0x1f))
            return &lu_ops[i];
    }
    lu_cmd_fail_field(c, true, 1);
    return NULL;
}

/* Command timeouts descriptor. */
static uint32_t
put_timeouts(uint8_t *b)
{
    st_be16(b, TIMEOUTS_LEN - 2);
    st_be32(b + 8, TIMEOUT_S);
    return TIMEOUTS_LEN;
}

static void
report_all(struct lu_cmd *c, bool rctd, uint32_t alloc)
{
    uint32_t len = 4, each = rctd ? 8 + TIMEOUTS_LEN : 8;

    if (!lu_cmd_buf(c, 4 + lu_ops_count * each))
        return;
    for (unsigned i = 0; i < lu_ops_count; i++) {
        const struct lu_op *op = &lu_ops[i];
        uint8_t *d = c->buf + len;

        d[0] = op->opcode;
        if (op->sa >= 0)
            d[3] = (uint8_t)op->sa;
        d[5] = (uint8_t)((op->sa >= 0 ? 0x01 : 0) | (rctd ? 0x02 : 0));
        st_be16(d + 6, op->len);
        if (rctd)
            (void)put_timeouts(d + 8);
        len += each;
    }
    st_be32(c->buf, len - 4);
    lu_cmd_reply(c, len, alloc);
}

static void
report_one(struct lu_cmd *c, const struct lu_op *op, bool rctd, uint32_t alloc)
{
    uint32_t len = 4;

    if (!lu_cmd_buf(c, 64))
        return;
    c->buf[1] = 1; /* not supported */
    if (op != NULL) {
        c->buf[1] = (uint8_t)(3 | (rctd ? 0x80 : 0));
        st_be16(c->buf + 2, op->len);
        c->buf[4] = op->opcode;
        memcpy(c->buf + 5, op->usage, op->len - 1u);
        len += op->len;
        if (rctd)
            len += put_timeouts(c->buf + len);
    }
    lu_cmd_reply(c, len, alloc);
}

static void
report_opcodes(struct lu_cmd *c)
{
    unsigned options = c->cdb[2] & 7, first = c->dev->op_first[c->cdb[3]];
    uint16_t sa = ld_be16(&c->cdb[4]);
    uint32_t alloc = ld_be32(&c->cdb[6]);
    bool rctd = c->cdb[2] & 0x80, known = first != LU_OP_ABSENT;
    bool has_sa = known && lu_ops[first].sa >= 0;
    const struct lu_op *op = NULL;

    if (options == 0) {
        report_all(c, rctd, alloc);
        return;
    }
    if (options > 3 || (known && options == 1 && has_sa) || (known && options == 2 && !has_sa)) {
        lu_cmd_fail_field(c, true, options > 3 ? 2 : 3);
        return;
    }
    for (unsigned i = first; known && i < lu_ops_count && op == NULL; i++) {
        if (lu_ops[i].opcode != c->cdb[3])
            break;
        if (has_sa ? lu_ops[i].sa == sa : options != 3 || sa == 0)
            op = &lu_ops[i];
    }
    report_one(c, op, rctd, alloc);
}
