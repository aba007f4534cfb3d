/* SPDX-License-Identifier: MIT */
/* iscsi/pick.c - which connection of a session does something (docs/design/mcs.md).
 *
 * A command gets its connection when its PDU is about to be handed to the transport, so that one
 * which is full, or whose answers do not come, holds no command that others could carry.
 */
#include "iscsi/internal.h"

/* Bytes that the connection's transport has been given and has not sent. */
static uint64_t
unsent(const struct conn *c)
{
    if (c->pub.tt->unsent != NULL)
        return c->pub.tt->unsent(&c->pub);
    return c->xmit_task != NULL;
}

static bool
is_better(const struct conn *c, const struct conn *than)
{
    uint64_t a = unsent(c), b = unsent(than);

    return a != b ? a < b : c->running < than->running;
}

struct conn *
iscsi_pick_conn(const struct session *s)
{
    struct conn *best = NULL;

    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (iscsi_conn_serves(c) && !c->full && (best == NULL || is_better(c, best)))
            best = c;
    }
    return best;
}

/* How little can be hoped for of what is sent on the connection next: its ping has not been
 * answered, and nothing else has come since; or it is slow with that, or its transport takes
 * nothing for now. */
static unsigned
looks_stuck(const struct conn *c)
{
    bool unheard = c->ping != NULL && c->pub.last_recv_ns <= c->ping_ns;

    return unheard ? 2 : c->ping != NULL || c->full;
}

struct conn *
iscsi_live_conn(const struct session *s)
{
    struct conn *best = NULL, *leaving = NULL;

    if (s->state != ISCSI_STATE_LOGGED_IN)
        return NULL;
    LIST_FOREACH (n, &s->conns) {
        struct conn *c = container_of(n, struct conn, node);

        if (iscsi_conn_serves(c) && (best == NULL || looks_stuck(c) < looks_stuck(best)))
            best = c;
        if (c->state == CONN_LOGOUT_REQUESTED && !c->suspended && !c->dying)
            leaving = c;
    }
    return best != NULL ? best : leaving;
}

bool
iscsi_pass_lead_on(struct session *s)
{
    struct conn *c = iscsi_live_conn(s);

    if (c == NULL)
        return false;
    s->leadconn = c;
    if (s->want_restart) /* commands that the connection which is left did not take */
        iscsi_want_restart(s);
    return true;
}

void
iscsi_count_serving(struct session *s)
{
    s->nserving = 0;
    LIST_FOREACH (n, &s->conns)
        s->nserving += iscsi_conn_serves(container_of(n, struct conn, node));
}

void
iscsi_xmit_wanted(struct session *s)
{
    struct conn *c;

    if (iscsi_next_command(s) == NULL)
        return;
    c = iscsi_pick_conn(s);
    if (c != NULL)
        iscsi_conn_queue_xmit(c);
}

void
iscsi_next_fast(struct session *s)
{
    struct conn *c = iscsi_pick_conn(s);

    if (c != NULL && iscsi_tx_fast_ok(s, c))
        s->fast_conn = c;
}
