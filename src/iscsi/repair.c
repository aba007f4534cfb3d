/* SPDX-License-Identifier: MIT */
/* iscsi/repair.c - from ErrorRecoveryLevel 1 on: what was lost or broken is asked for again (RFC
 * 7143 7.1.4.1, 7.8, 7.9).
 *
 * A PDU whose data digest is wrong counts as one that has not come.  What is missing is asked for
 * as soon as it is known to be, and later PDUs are taken meanwhile.  When it does not come, it is
 * asked for a few times more; then the connection fails, as it would have at level 0.
 */
#include <stdlib.h>

#include "iscsi/internal.h"
#include "iscsi/mend.h"
#include "wire/pdu.h"

#define R2TSN_FAR 64 /* a target that skips so many R2Ts has not lost them */

/* ---- the data of a command ------------------------------------------------------------------ */

/* Of commands that move data both ways nothing is repaired: R2Ts and Data-Ins count together there
 * (RFC 7143 4.2.2.4), and nobody sends such commands. */
static bool
is_read(const struct iscsi_task *t)
{
    return t->sc->in.len > 0 && t->sc->out.len == 0;
}

/* All that was sent of the command's data has come, or the target does not send the rest: the
 * response that waits is taken as if it came now. */
static void
release_answer(struct conn *c, struct mend *m)
{
    union bhs_any h = m->rsp;
    void *data = m->rsp_data;
    uint32_t len = m->rsp_len;

    m->answered = false;
    m->rsp_data = NULL;
    (void)c->pub.up->complete_pdu(&c->pub, &h.h, data, len);
    free(data);
}

/* A number was used by the target that is behind those that have come: the ones between are asked
 * for. */
static void
data_gap(struct mend *m, uint32_t sn)
{
    struct iscsi_task *t = &m->task->pub;
    uint32_t exp = t->exp_datasn;

    t->exp_datasn = sn + 1;
    if (sn != exp)
        iscsi_ask_data(m, exp, sn - exp, 1);
}

/* DataSN begins at 0 with each command and counts its Data-Ins, so that it never wraps: a number
 * that would only be smaller as a serial number is none that was lost. */
enum iscsi_odd
iscsi_odd_data_in(struct iscsi_task *t, const struct bhs_data_in *h)
{
    uint32_t sn = get32(h->data_sn), off = get32(h->offset), len = get24(h->dseg_len);
    struct conn *c = to_conn(t->conn);
    struct mend *m = to_task(t)->mend;

    if (!is_read(t))
        return ISCSI_ODD_FAIL;
    if (m == NULL) {
        if (sn < t->exp_datasn)
            return ISCSI_ODD_DROP; /* RFC 7143 7.9 */
        if (sn == t->exp_datasn)
            return off == t->in_done || len == 0 ? ISCSI_ODD_TAKE : ISCSI_ODD_FAIL;
    }
    if (sn > t->exp_datasn && sn - t->exp_datasn > t->sc->in.len)
        return ISCSI_ODD_FAIL; /* each brings a byte at least */
    m = iscsi_mend(to_task(t), t->exp_datasn);
    if (m == NULL)
        return ISCSI_ODD_FAIL;
    if (sn < t->exp_datasn && datasn_set_has(&m->came.seen, sn, sn + 1) != DATASN_NONE)
        return ISCSI_ODD_DROP;
    switch (len > 0 ? datasn_set_has(&m->came.good, off, off + len) : DATASN_NONE) {
    case DATASN_NONE:
        break;
    case DATASN_SOME: /* it would overwrite what is good, before its digest is known */
    case DATASN_ALL:
        iscsi_conn_failure(&c->pub, ISCSI_ERR_DATA_OFFSET,
                           "Data-In brings bytes that another one has brought");
        return ISCSI_ODD_FAIL;
    }
    if (sn >= t->exp_datasn)
        data_gap(m, sn);
    return c->suspended ? ISCSI_ODD_FAIL : ISCSI_ODD_TAKE;
}

void
iscsi_data_in_came(struct iscsi_task *t, const struct bhs_data_in *h)
{
    uint32_t sn = get32(h->data_sn), len = get24(h->dseg_len), first;
    struct conn *c = to_conn(t->conn);
    struct mend *m = to_task(t)->mend;

    if (m == NULL) { /* it is the next one, and wants to be acknowledged */
        t->exp_datasn++;
        t->in_done += len;
        iscsi_ack_data(t, h->lun, h->ttt, t->exp_datasn);
        return;
    }
    (void)datasn_runs_add(&m->came, sn, get32(h->offset), len);
    if (h->flags & ISCSI_DATA_IN_ACK) {
        m->ack_wanted = true;
        m->ack_ttt = h->ttt;
        memcpy(m->ack_lun, h->lun, sizeof(m->ack_lun));
    }
    if (iscsi_mend_missing(m, 0, &first) > 0)
        return;
    if (m->ack_wanted)
        iscsi_ack_data(t, m->ack_lun, m->ack_ttt, t->exp_datasn);
    m->ack_wanted = false;
    if (m->answered)
        release_answer(c, m);
}

enum iscsi_odd
iscsi_odd_r2t(struct iscsi_task *t, const struct bhs_r2t *h, uint32_t exp_r2tsn)
{
    uint32_t sn = get32(h->r2t_sn);
    struct mend *m = to_task(t)->mend;

    if (t->sc->in.len > 0)
        return ISCSI_ODD_FAIL;
    if (sn < exp_r2tsn)
        return m != NULL && datasn_runs_add(&m->came, sn, 0, 0) ? ISCSI_ODD_TAKE : ISCSI_ODD_DROP;
    if (sn - exp_r2tsn > R2TSN_FAR)
        return ISCSI_ODD_FAIL;
    m = iscsi_mend(to_task(t), exp_r2tsn);
    if (m == NULL)
        return ISCSI_ODD_FAIL;
    datasn_runs_saw(&m->came, t->exp_datasn, exp_r2tsn); /* in order, since the last gap */
    (void)datasn_runs_add(&m->came, sn, 0, 0);
    t->exp_datasn = exp_r2tsn;
    data_gap(m, sn);
    return to_conn(t->conn)->suspended ? ISCSI_ODD_FAIL : ISCSI_ODD_TAKE;
}

/* ---- digests -------------------------------------------------------------------------------- */

static bool
bad_data_in(struct conn *c, struct iscsi_task *t, const struct bhs_data_in *h)
{
    uint32_t sn = get32(h->data_sn);
    struct mend *m;

    if (t != NULL) {
        m = is_read(t) ? iscsi_mend(to_task(t), sn) : NULL;
        if (m == NULL)
            return false;
        if (sn >= t->exp_datasn)
            t->exp_datasn = sn + 1;
        m->end_seen |= (h->flags & ISCSI_DATA_IN_STATUS) != 0;
        iscsi_ask_data(m, sn, 1, 1);
    }
    if (h->flags & ISCSI_DATA_IN_STATUS)
        return iscsi_status_lost(c, get32(h->stat_sn), true);
    return !c->suspended;
}

bool
iscsi_bad_data_digest(struct iscsi_conn *pub, struct iscsi_task *t, const struct bhs *hdr)
{
    const union bhs_any *h = (const void *)hdr;
    struct conn *c = to_conn(pub);
    uint8_t op = pdu_opcode(hdr);

    if (c->suspended || c->state == CONN_IN_LOGIN || op == ISCSI_OP_LOGIN_RSP)
        return false;
    log_line(pub->loop->log, LOG_LEVEL_INFO,
             "%s: connection %u: the data digest of a PDU of type \"%s\" is wrong, it is asked for "
             "again",
             c->session->host.name, pub->cid, pdu_opcode_name(op));
    if (op == ISCSI_OP_DATA_IN)
        return bad_data_in(c, t, &h->data_in);
    if (op == ISCSI_OP_R2T || (op == ISCSI_OP_NOP_IN && get32(hdr->itt) == ISCSI_TAG_RSVD))
        return false; /* it has no data, so that the header is wrong */
    return iscsi_status_lost(c, get32(h->nop_in.stat_sn), true); /* every response has it there */
}

/* ---- the response of a command -------------------------------------------------------------- */

/* Asks for data that the response counts and that have not come (RFC 7143 11.4.8).  False where it
 * says nothing of them. */
static bool
counts_data(struct task *t, const union bhs_any *h)
{
    uint32_t n, first;

    if (pdu_opcode(&h->h) == ISCSI_OP_DATA_IN)
        return true;
    if (h->scsi_rsp.response != ISCSI_RESPONSE_COMPLETED)
        return false;
    n = get32(h->scsi_rsp.exp_data_sn);
    if (!sn_gt(n, t->pub.exp_datasn) || n - t->pub.exp_datasn > t->pub.sc->in.len)
        return true;
    first = t->pub.exp_datasn;
    if (iscsi_mend(t, first) != NULL) {
        t->pub.exp_datasn = n;
        t->mend->end_seen = true;
        iscsi_ask_data(t->mend, first, n - first, 1);
    }
    return true;
}

bool
iscsi_snack_holds(struct conn *c, const union bhs_any *h, const void *data, uint32_t len)
{
    struct task *t = iscsi_task_of_itt(c, h->h.itt);
    uint32_t sn = get32(h->scsi_rsp.stat_sn), first;
    struct mend *m;

    if (t == NULL || t->kind != TASK_SCSI || !is_read(&t->pub) || sn_lt(sn, c->pub.exp_statsn))
        return false;
    if (!counts_data(t, h)) {
        if (t->mend != NULL)
            iscsi_mend_end(t);
        return false;
    }
    m = t->mend;
    if (m == NULL)
        return false;
    if (m->refused || iscsi_mend_missing(m, 0, &first) == 0) {
        t->data_lost = m->refused;
        if (!m->refused && !iscsi_mend_joins(m))
            iscsi_conn_failure(&c->pub, ISCSI_ERR_DATA_OFFSET,
                               "Data-In that was sent again does not fill what was missing");
        iscsi_mend_end(t);
        return c->suspended;
    }
    if (!iscsi_mend_keep_answer(m, h, data, len))
        iscsi_conn_failure(&c->pub, ISCSI_ERR_MEMORY,
                           "no memory for a response whose data are missing");
    else
        (void)iscsi_status_lost(c, sn, false);
    return true;
}

/* ---- what does not come --------------------------------------------------------------------- */

void
iscsi_snack_rejected(struct conn *c, const struct bhs_snack_req *h)
{
    uint8_t type = h->flags & ISCSI_SNACK_TYPE_MASK;
    uint32_t first = get32(h->beg_run);
    struct task *t;

    if (type == ISCSI_SNACK_STATUS && sn_gte(first, c->pub.exp_statsn))
        iscsi_conn_failure(&c->pub, ISCSI_ERR_STATSN,
                           "responses were lost, and the target does not send them again");
    if (type != ISCSI_SNACK_DATA_R2T)
        return;
    t = iscsi_task_of_itt(c, h->itt);
    if (t == NULL || t->mend == NULL || first == UINT32_MAX ||
        datasn_set_has(&t->mend->came.seen, first, first + 1) != DATASN_NONE)
        return; /* it has come meanwhile */
    t->mend->refused = true;
    if (t->mend->answered)
        release_answer(c, t->mend);
}

/* True while something is missing that the target may still send. */
static bool
ask_again(struct conn *c, struct mend *m)
{
    bool due = m->unasked || iscsi_snack_due(c, m->asked_ns);
    uint32_t weight = m->unasked ? 1 : ISCSI_SNACK_LATE;
    uint32_t at = 0, n;

    if (m->refused || iscsi_mend_missing(m, 0, &at) == 0)
        return false;
    m->unasked = m->unasked && !due;
    for (at = 0; due && !c->suspended && (n = iscsi_mend_missing(m, at, &at)) > 0; at += n) {
        iscsi_ask_data(m, at, n, weight);
        weight = 1; /* it is one silence, however many runs are missing */
    }
    return true;
}

/* Is it the response that waits for the data of its command? */
static bool
is_held(const struct conn *c, uint32_t sn)
{
    LIST_FOREACH (i, &c->mends) {
        const struct mend *m = container_of(i, struct mend, node);

        if (m->answered && get32(m->rsp.scsi_rsp.stat_sn) == sn)
            return true;
    }
    return false;
}

void
iscsi_snack_timer(struct loop_timer *timer)
{
    struct conn *c = container_of(timer, struct conn, snack_timer);
    uint32_t first, n, weight;
    bool open = false;

    if (c->suspended)
        return;
    LIST_FOREACH_SAFE (i, &c->mends) {
        open |= ask_again(c, container_of(i, struct mend, node));
        if (c->suspended)
            return;
    }
    if (!c->statsn.no_gap) {
        n = statsn_window_missing(&c->statsn, &first);
        open = true;
        if (n > 0 && (c->status_unasked || iscsi_snack_due(c, c->status_asked_ns)) &&
            !is_held(c, first)) {
            weight = c->status_unasked ? 1 : ISCSI_SNACK_LATE;
            c->status_unasked = false;
            iscsi_ask_status(c, first, n, weight);
        }
    }
    if (open && !c->suspended)
        iscsi_snack_watch(c);
}
