/* SPDX-License-Identifier: MIT */
/* iscsi/mend.h - what is kept of a command some of whose PDUs from the target were lost or broken,
 * from ErrorRecoveryLevel 1 on (RFC 7143 7.1.4.1, 7.8, 7.9). */
#ifndef ISCSI_MEND_H
#define ISCSI_MEND_H

#include "iscsi/datasn.h"
#include "seam/transport.h"

struct task;

struct mend {
    struct list node; /* conn->mends */
    struct task *task;
    struct datasn_runs came; /* Data-Ins; of a write: R2Ts, and no bytes */
    uint32_t asks;           /* SNACKs that were sent for it */
    uint64_t asked_ns;       /* loop clock of the last one */
    bool unasked;            /* one could not be sent, as all tasks were taken */
    bool refused;            /* the target does not send it again */
    bool end_seen;   /* exp_datasn is the end: the target has said how many Data-Ins there are */
    bool ack_wanted; /* when all has come so far, the target wants to know (A bit) */
    uint8_t ack_lun[8];
    struct be32 ack_ttt;
    bool answered; /* its response waits for the data; its StatSN counts as missing meanwhile */
    union bhs_any rsp;
    void *rsp_data; /* the beginning of its data segment, rsp_len bytes */
    uint32_t rsp_len;
};

/* What is kept of the task; begins it where there is nothing yet, with what the task knows: the
 * first `seen` PDUs have come, and the bytes that the task counts.  NULL: no memory. */
struct mend *iscsi_mend(struct task *t, uint32_t seen);

/* The first run of numbers from `from` on that is missing: how many, 0 for none, and *ret_first. */
uint32_t iscsi_mend_missing(const struct mend *m, uint32_t from, uint32_t *ret_first);

/* All bytes of those that came lie in one run from 0 on. */
bool iscsi_mend_joins(const struct mend *m);

/* Keeps a response with its data until the command's data have come.  False: no memory. */
bool iscsi_mend_keep_answer(struct mend *m, const union bhs_any *h, const void *data, uint32_t len);

/* Forgets it: the task counts again by itself what has come without a hole. */
void iscsi_mend_end(struct task *t);

#endif
