/* SPDX-License-Identifier: MIT */
/* iscsi/snack.c - from ErrorRecoveryLevel 1 on: SNACKs, and responses that are missing (RFC
 * 7143 7.9, 11.16). */
#include <stdio.h>

#include "iscsi/internal.h"
#include "iscsi/mend.h"
#include "wire/pdu.h"

#define SNACK_TICK_MS  100
#define SNACK_AGAIN_MS 2000 /* nothing has come for a SNACK: it is sent again */
#define SNACK_MAX      32   /* SNACKs for the data of a command, or for status that does not come */
#define ACKS_WAIT_MAX  8    /* SNACKs that wait to be sent, behind which no DataACK queues up */
#define STATSN_FAR     4096 /* a target that skips so many numbers has not lost them */

/* ---- the SNACK ------------------------------------------------------------------------------ */

/* Queues a SNACK (RFC 7143 11.16).  NULL: all tasks are taken. */
static struct task *
send_snack(struct conn *c, enum iscsi_snack_type type, struct be32 itt, const uint8_t lun[8],
           struct be32 ttt, uint32_t beg_run, uint32_t run_length)
{
    struct task *t = iscsi_alloc_task(c->session, c, TASK_SNACK);
    struct bhs_snack_req *h;

    if (t == NULL)
        return NULL;
    h = &t->ctl.snack_req;
    bhs_init(h, ISCSI_OP_SNACK_REQ, (uint8_t)(ISCSI_FLAG_FINAL | type));
    if (lun != NULL)
        memcpy(h->lun, lun, sizeof(h->lun));
    h->itt = itt;
    h->ttt = ttt;
    h->beg_run = put32(beg_run);
    h->run_length = put32(run_length);
    c->pub.stats.snack_pdus++;
    iscsi_queue_mgmt(t, NULL, 0);
    return t;
}

void
iscsi_snack_watch(struct conn *c)
{
    if (!loop_timer_running(&c->snack_timer))
        loop_timer_start(c->pub.loop, &c->snack_timer, SNACK_TICK_MS * LOOP_NS_PER_MS);
}

bool
iscsi_snack_due(const struct conn *c, uint64_t asked_ns)
{
    return c->pub.loop->now_ns - asked_ns >= SNACK_AGAIN_MS * LOOP_NS_PER_MS;
}

/* All Data-Ins from number first on are missing, which RunLength 0 says as well (RFC 7143 11.16.7).
 * LIO refuses to send the last one again if it is counted, and closes the connection. */
static bool
to_the_end(const struct mend *m, uint32_t first, uint32_t n)
{
    return m->end_seen && first + n == m->task->pub.exp_datasn;
}

void
iscsi_ask_data(struct mend *m, uint32_t first, uint32_t n, uint32_t weight)
{
    struct iscsi_task *t = &m->task->pub;
    struct conn *c = to_conn(t->conn);
    char why[160];

    if (m->refused || c->suspended)
        return;
    m->asks += weight;
    if (m->asks > SNACK_MAX) {
        (void)snprintf(why, sizeof(why),
                       "%s of a command do not come whole, however often the target is asked for "
                       "them: %u from number %u on are missing",
                       t->sc->in.len > 0 ? "data PDUs" : "R2Ts", n, first);
        iscsi_conn_failure(&c->pub, t->sc->in.len > 0 ? ISCSI_ERR_DATASN : ISCSI_ERR_R2TSN, why);
        return;
    }
    m->unasked =
        send_snack(c, ISCSI_SNACK_DATA_R2T, put32(t->itt), t->sc->lun, put32(ISCSI_TAG_RSVD), first,
                   to_the_end(m, first, n) ? 0 : n) == NULL ||
        m->unasked;
    m->asked_ns = c->pub.loop->now_ns;
    iscsi_snack_watch(c);
}

void
iscsi_ask_status(struct conn *c, uint32_t first, uint32_t n, uint32_t weight)
{
    char why[160];

    if (c->suspended)
        return;
    if (c->status_asks_sn != c->pub.exp_statsn)
        c->status_asks = 0;
    c->status_asks_sn = c->pub.exp_statsn;
    c->status_asks += weight;
    if (c->status_asks > SNACK_MAX) {
        (void)snprintf(why, sizeof(why),
                       "responses do not come whole, however often the target is asked for them: "
                       "%u from StatSN %u on are missing",
                       n, first);
        iscsi_conn_failure(&c->pub, ISCSI_ERR_STATSN, why);
        return;
    }
    if (sn_gt(first + n, c->status_asked_to))
        c->status_asked_to = first + n;
    c->status_unasked = send_snack(c, ISCSI_SNACK_STATUS, put32(ISCSI_TAG_RSVD), NULL,
                                   put32(ISCSI_TAG_RSVD), first, n) == NULL ||
                        c->status_unasked;
    c->status_asked_ns = c->pub.loop->now_ns;
    iscsi_snack_watch(c);
}

/* As many wait as there may be, on a connection that takes nothing.  Else a target that sends and
 * does not read could have all tasks for them, and none would be left for a ping. */
static bool
acks_pile_up(const struct conn *c)
{
    uint32_t n = 0;

    LIST_FOREACH (i, &c->mgmtqueue)
        n += to_task(container_of(i, struct iscsi_task, node))->kind == TASK_SNACK;
    return n >= ACKS_WAIT_MAX;
}

void
iscsi_ack_data(const struct iscsi_task *t, const uint8_t lun[8], struct be32 ttt, uint32_t next)
{
    struct conn *c = to_conn(t->conn);
    struct task *ack;

    if (acks_pile_up(c))
        return;
    /* Where there is no task for it, the target asks again, or takes the status' acknowledgment. */
    ack = send_snack(c, ISCSI_SNACK_DATA_ACK, put32(ISCSI_TAG_RSVD), lun, ttt, next, 0);
    if (ack != NULL)
        ack->acks_itt = t->itt;
}

/* ---- StatSN --------------------------------------------------------------------------------- */

static bool
too_far(struct conn *c, uint32_t sn)
{
    char why[128];

    if (!sn_gt(sn, c->statsn.good) || sn - c->statsn.good <= STATSN_FAR)
        return false;
    (void)snprintf(why, sizeof(why), "StatSN %u where %u was expected: so many are not lost", sn,
                   c->statsn.good);
    iscsi_conn_failure(&c->pub, ISCSI_ERR_STATSN, why);
    return true;
}

bool
iscsi_snack_gap(struct conn *c, uint32_t seen, uint32_t sn, bool dropped)
{
    if (too_far(c, sn))
        return false;
    if (seen == c->statsn.good) {
        c->status_asked_to = seen;
        c->status_forgets = false;
    }
    if (dropped && (!c->status_forgets || sn_lt(sn, c->status_forgot))) {
        c->status_forgets = true;
        c->status_forgot = sn;
    }
    if (sn_gt(sn, seen))
        iscsi_ask_status(c, seen, sn - seen, 1);
    return !c->suspended;
}

void
iscsi_snack_closed(struct conn *c)
{
    uint32_t first, n = statsn_window_missing(&c->statsn, &first);

    if (n == 0)
        return;
    if (c->status_forgets && sn_gt(first + n, c->status_forgot))
        c->status_forgot = first + n; /* what is behind the run may have been dropped, too */
    else if (sn_lt(first, c->status_asked_to))
        return;
    iscsi_ask_status(c, first, n, 1);
}

/* Takes note that the response sn was sent and has not come; returns false where it had. */
static bool
takes_as_lost(struct conn *c, uint32_t sn)
{
    struct statsn_window *w = &c->statsn;

    if (w->no_gap) {
        c->status_asked_to = w->good;
        c->status_forgets = false;
    }
    if (!statsn_window_lost(w, sn))
        return false;
    iscsi_leave_fast(c);
    return true;
}

bool
iscsi_status_lost(struct conn *c, uint32_t sn, bool ask)
{
    uint32_t seen;

    statsn_window_good(&c->statsn, c->pub.exp_statsn);
    if (too_far(c, sn))
        return false;
    seen = c->statsn.seen;
    if (!takes_as_lost(c, sn))
        return true;
    if (sn_gt(sn, seen))
        iscsi_ask_status(c, seen, sn - seen, 1);
    if (ask)
        iscsi_ask_status(c, sn, 1, 1);
    else if (sn_gte(sn, c->status_asked_to))
        c->status_asked_to = sn + 1;
    return !c->suspended;
}

bool
iscsi_status_told(struct conn *c, uint32_t next)
{
    struct statsn_window *w = &c->statsn;
    uint32_t seen;

    statsn_window_good(w, c->pub.exp_statsn);
    seen = w->seen;
    if (!w->known || !sn_gt(next, seen))
        return true;
    if (too_far(c, next - 1))
        return false;
    if (takes_as_lost(c, next - 1))
        iscsi_ask_status(c, seen, next - seen, 1);
    return !c->suspended;
}
