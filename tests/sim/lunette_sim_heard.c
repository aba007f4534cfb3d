/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_heard.c - what the initiator acknowledges has come to it, and what it moves
 * from one connection to another the first has let go of.
 *
 * ExpStatSN covers no response that is missing, nor one whose command lacks data (RFC 7143 4.2.2.2,
 * 7.9); a DataACK covers no Data-In that is missing (11.16).  A task is reassigned when its
 * connection was logged out for recovery or has logged in again (11.5.6, 6.3.4), and no CID logs in
 * again while a Logout for it is on its way.
 */
#include <string.h>

#include "tests/sim/lunette_sim_wire.h"
#include "wire/be.h"
#include "wire/pdu.h"
#include "wire/sn.h"

/* ---- StatSN ---------------------------------------------------------------------------------- */

static bool
takes_number(const uint8_t *h)
{
    uint8_t opcode = h[0] & ISCSI_OP_MASK;

    if (opcode == ISCSI_OP_DATA_IN)
        return h[1] & ISCSI_DATA_IN_STATUS;
    if (opcode == ISCSI_OP_NOP_IN)
        return ld_be32(h + 16) != ISCSI_TAG_RSVD;
    return opcode != ISCSI_OP_R2T && opcode != ISCSI_OP_LOGIN_RSP;
}

/* The response with that number has come. */
static void
number_came(struct wire_conn *c, uint32_t sn)
{
    uint32_t i = sn - c->stat_sn - 1;
    bool next = true;

    if (!c->stat_known || sn_lt(sn, c->stat_sn))
        return;
    if (sn != c->stat_sn) {
        if (i < STATUS_AHEAD)
            c->stat_ahead[i / 64] |= 1ull << i % 64;
        return;
    }
    while (next) {
        next = c->stat_ahead[0] & 1;
        c->stat_sn++;
        for (uint32_t k = 0; k < STATUS_AHEAD / 64; k++)
            c->stat_ahead[k] = c->stat_ahead[k] >> 1 |
                               (k + 1 < STATUS_AHEAD / 64 ? c->stat_ahead[k + 1] << 63 : 0);
    }
}

/* ---- data ------------------------------------------------------------------------------------ */

/* The first Data-In of the command that has not come whole. */
static uint32_t
first_missing(const struct task *t)
{
    uint32_t sn = 0;

    while (sn < DATA_INS && (t->good[sn / 64] >> sn % 64 & 1))
        sn++;
    return sn;
}

static bool
is_over(const struct task *t)
{
    return t->answered && (t->want > DATA_INS || first_missing(t) >= t->want);
}

static bool
data_came(struct wire_conn *c, struct task *t, const uint8_t *h)
{
    uint32_t sn = ld_be32(h + 36);

    if (h[1] & ISCSI_DATA_IN_ACK)
        t->ack_ttt = ld_be32(h + 20);
    if (sn < DATA_INS)
        t->good[sn / 64] |= 1ull << sn % 64;
    if (h[1] & ISCSI_DATA_IN_STATUS) {
        t->answered = true;
        t->stat_sn = ld_be32(h + 24);
        t->want = sn + 1;
    }
    return t->answered && (is_over(t) || !c->nexus->repairs);
}

static bool
response_came(struct wire_conn *c, struct task *t, const uint8_t *h)
{
    if (!t->reads || h[2] != ISCSI_RESPONSE_COMPLETED || !c->nexus->repairs)
        return true;
    t->answered = true;
    t->stat_sn = ld_be32(h + 24);
    t->want = ld_be32(h + 36);
    return is_over(t);
}

/* Something was rejected, perhaps a SNACK: then the data stay away, and the command is over. */
static void
reject_came(struct wire_conn *c)
{
    for (uint32_t i = c->tasks; i-- > 0;) {
        if (c->task[i].answered)
            ls_task_end(c, c->task[i].itt);
    }
}

/* ---- connections ----------------------------------------------------------------------------- */

/* The target has let go of the connection that the session had with that number. */
static void
conn_cleared(struct nexus *n, uint16_t cid)
{
    for (uint32_t i = 0; i < n->oweds; i++)
        n->owed[i].cleared |= n->owed[i].cid == cid;
    for (uint32_t i = n->looses; i-- > 0;) {
        if (n->loose[i].via == cid)
            n->loose[i] = n->loose[--n->looses];
    }
}

void
ls_heard_over(struct wire_conn *c)
{
    struct nexus *n = c->nexus;

    for (uint32_t i = 0; n != NULL && i < c->tasks; i++) {
        const struct task *t = &c->task[i];

        if (t->opcode == ISCSI_OP_SCSI_CMD && n->outlives && n->oweds < OWED_MAX)
            n->owed[n->oweds++] = (struct owed){.itt = t->itt, .cid = c->cid};
        if (t->opcode == ISCSI_OP_LOGOUT_REQ && t->cid != c->cid && n->looses < LOOSE_MAX)
            n->loose[n->looses++] = (struct loose){.cid = t->cid, .via = c->cid};
    }
}

void
ls_heard_joins(struct ls_wire *wi, const struct wire_conn *c)
{
    const struct nexus *n = c->nexus;

    for (uint32_t i = 0; i < n->looses; i++) {
        if (n->loose[i].cid == c->cid)
            ls_fail(wi->w,
                    "CID %u logs in again, and a Logout for it that CID %u has sent may arrive yet",
                    c->cid, n->loose[i].via);
    }
    LIST_FOREACH (at, &wi->conns) {
        const struct wire_conn *other = container_of(at, struct wire_conn, node);

        for (uint32_t i = 0; other->nexus == n && i < other->tasks; i++) {
            if (other->task[i].opcode == ISCSI_OP_LOGOUT_REQ && other->task[i].cid == c->cid &&
                other->cid != c->cid)
                ls_fail(wi->w, "CID %u logs in again while a Logout for it is not answered",
                        c->cid);
        }
    }
}

/* A task is reassigned at level 2 only, and when its connection is over on both sides. */
static void
check_reassign(struct ls_wire *wi, const struct wire_conn *c, const uint8_t *h)
{
    struct nexus *n = c->nexus;
    uint32_t itt = ld_be32(h + 20);

    LS_COUNT(reassigned, 1);
    if (!n->outlives || (h[0] & ISCSI_OP_IMMEDIATE) == 0)
        ls_fail(wi->w, "a TASK REASSIGN that may not be");
    LIST_FOREACH (at, &wi->conns) {
        const struct wire_conn *other = container_of(at, struct wire_conn, node);

        for (uint32_t i = 0; other->nexus == n && i < other->tasks; i++) {
            if (other->task[i].itt == itt && other->task[i].opcode == ISCSI_OP_SCSI_CMD)
                ls_fail(wi->w, "task %x is reassigned while its connection lives", itt);
        }
    }
    for (uint32_t i = n->oweds; i-- > 0;) {
        if (n->owed[i].itt != itt)
            continue;
        if (!n->owed[i].cleared)
            ls_fail(wi->w, "task %x is reassigned, and the target has not let go of CID %u", itt,
                    n->owed[i].cid);
        n->owed[i] = n->owed[--n->oweds];
    }
}

/* ---- both ways ------------------------------------------------------------------------------- */

void
ls_heard_login(struct wire_conn *c, const uint8_t *h)
{
    c->stat_known = true;
    c->stat_sn = ld_be32(h + 24) + 1;
    memset(c->stat_ahead, 0, sizeof(c->stat_ahead));
    conn_cleared(c->nexus, c->cid);
}

bool
ls_heard(struct wire_conn *c, const uint8_t *h)
{
    struct task *t = ls_task_of(c, ld_be32(h + 16));
    uint8_t opcode = h[0] & ISCSI_OP_MASK;

    if (takes_number(h))
        number_came(c, ld_be32(h + 24));
    if (opcode == ISCSI_OP_REJECT)
        reject_came(c);
    if (t == NULL)
        return false;
    if (opcode == ISCSI_OP_LOGOUT_RSP && t->opcode == ISCSI_OP_LOGOUT_REQ && t->cid != c->cid &&
        h[2] <= ISCSI_LOGOUT_RSP_CID_NOT_FOUND)
        conn_cleared(c->nexus, t->cid);
    if (opcode == ISCSI_OP_DATA_IN)
        return data_came(c, t, h);
    if (opcode == ISCSI_OP_SCSI_RSP)
        return response_came(c, t, h);
    return opcode != ISCSI_OP_LOGIN_RSP && opcode != ISCSI_OP_ASYNC && opcode != ISCSI_OP_R2T;
}

static void
check_data_ack(struct ls_wire *wi, const struct wire_conn *c, const uint8_t *h)
{
    uint32_t ttt = ld_be32(h + 20), next = ld_be32(h + 40);

    for (uint32_t i = 0; i < c->tasks; i++) {
        const struct task *t = &c->task[i];

        if (t->opcode == ISCSI_OP_SCSI_CMD && t->ack_ttt == ttt && next > first_missing(t))
            ls_fail(wi->w, "DataACK says that all Data-Ins before %u have come, and %u has not",
                    next, first_missing(t));
    }
}

void
ls_heard_check(struct ls_wire *wi, struct wire_conn *c, const uint8_t *h)
{
    uint8_t opcode = h[0] & ISCSI_OP_MASK;
    uint32_t exp = ld_be32(h + 28);

    if (opcode == ISCSI_OP_TMF_REQ && (h[1] & ISCSI_TMF_FUNC_MASK) == ISCSI_TMF_TASK_REASSIGN)
        check_reassign(wi, c, h);
    if (!c->stat_known || c->deaf)
        return;
    if (sn_gt(exp, c->stat_sn))
        ls_fail(wi->w, "%s has ExpStatSN %u, and the response %u has not come",
                pdu_opcode_name(opcode), exp, c->stat_sn);
    for (uint32_t i = 0; i < c->tasks; i++) {
        const struct task *t = &c->task[i];

        if (t->answered && sn_gt(exp, t->stat_sn))
            ls_fail(wi->w, "%s has ExpStatSN %u, and the command %x that %u answers lacks data",
                    pdu_opcode_name(opcode), exp, t->itt, t->stat_sn);
    }
    if (opcode == ISCSI_OP_SNACK_REQ && (h[1] & ISCSI_SNACK_TYPE_MASK) == ISCSI_SNACK_DATA_ACK)
        check_data_ack(wi, c, h);
}
