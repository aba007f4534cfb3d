/* SPDX-License-Identifier: MIT */
#include "target/query.h"

#include <string.h>

#include "lu/lu.h"
#include "target/command.h"
#include "target/state/session.h"
#include "target/state/tmf.h"
#include "wire/pdu.h"
#include "wire/sense.h"

static uint8_t
found_or_not(bool is)
{
    return is ? ISCSI_TMF_RSP_SUCCEEDED : ISCSI_TMF_RSP_COMPLETE;
}

static uint8_t
query_task(const struct tgt_tmf *t)
{
    const struct tgt_cmd *c = tgt_cmd_find(t->sess, get32(t->req.ref_tag));

    return found_or_not(c != NULL && pdu_opcode(&c->h.bhs) == ISCSI_OP_SCSI_CMD &&
                        c->state != TGT_CMD_DRAIN &&
                        memcmp(c->h.cmd.lun, t->req.lun, sizeof(t->req.lun)) == 0);
}

/* How many unit attentions there are, one or more, and the next one (SAM-5 7.9). */
static uint8_t
query_async_event(struct tgt_tmf *t, const struct lu *lu)
{
    unsigned count;
    uint16_t code = lu_ua_next(t->sess->nexus, lu, &count);

    if (count > 0)
        t->info = (count > 1 ? 2u : 1u) << 20 | SENSE_UNIT_ATTENTION << 16 | code;
    return found_or_not(count > 0);
}

uint8_t
tgt_query(struct tgt_tmf *t, const struct lu *lu)
{
    uint8_t function = t->req.flags & ISCSI_TMF_FUNC_MASK;

    if (lu == NULL)
        return ISCSI_TMF_RSP_NO_LUN;
    if (function == ISCSI_TMF_QUERY_TASK)
        return query_task(t);
    if (function == ISCSI_TMF_QUERY_TASK_SET)
        return found_or_not(lu_query_task_set(lu, t->sess->nexus));
    return query_async_event(t, lu);
}
