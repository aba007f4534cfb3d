/* SPDX-License-Identifier: MIT */
/* target/answer.h - the SCSI Response of a command (RFC 7143 11.4), the same on every face. */
#ifndef TARGET_ANSWER_H
#define TARGET_ANSWER_H

#include <string.h>

#include "target/state/command.h"
#include "wire/be.h"

#define TGT_ANSWER_MAX (2 + LU_SENSE_MAX) /* bytes of its data segment */

/* Flags and count of RFC 7143 11.4.5 for the bytes that the CDB moves against those expected. */
static inline uint8_t
tgt_residual(const struct tgt_cmd *c, struct be32 *count)
{
    if (c->s.len > c->edtl) {
        *count = put32(c->s.len - c->edtl);
        return ISCSI_RSP_OVERFLOW;
    }
    if (c->s.len < c->edtl) {
        *count = put32(c->edtl - c->s.len);
        return ISCSI_RSP_UNDERFLOW;
    }
    return 0;
}

/* Makes the header of the response, without its numbers (order.h), and its data segment in sense,
 * which has room for TGT_ANSWER_MAX bytes.  Returns the bytes that it has. */
static inline uint32_t
tgt_answer(const struct tgt_cmd *c, struct bhs_scsi_rsp *h, uint8_t *sense)
{
    bhs_init(h, ISCSI_OP_SCSI_RSP, ISCSI_FLAG_FINAL);
    h->status = c->s.status;
    h->itt = put32(c->itt);
    h->snack_tag = put32(c->snack_tag);
    h->exp_data_sn = put32(c->tx_sn);
    h->flags |= tgt_residual(c, &h->residual);
    if (c->s.sense_len == 0)
        return 0;
    st_be16(sense, c->s.sense_len);
    memcpy(sense + 2, c->s.sense, c->s.sense_len);
    return 2u + c->s.sense_len;
}

#endif
