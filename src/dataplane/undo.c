/* SPDX-License-Identifier: MIT */
/* dataplane/undo.c - what a client left half-made: a time to adopt it, then its end.
 *
 * A session that has been started is never undone here: it serves whoever uses
 * its disks, with or without a control plane.
 */
#include <assert.h>
#include <errno.h>

#include "dataplane/internal.h"

static bool
half_due(const struct dataplane *dp, const struct dp_half *half)
{
    return half->undo_at_ns != 0 && half->undo_at_ns <= dp->loop->now_ns;
}

/* Moves *next forward to when half is due. */
static void
half_next(const struct dp_half *half, uint64_t *next)
{
    if (half->undo_at_ns != 0 && half->undo_at_ns < *next)
        *next = half->undo_at_ns;
}

/* A connection that has been started before, and was to be reopened, is stopped and stays.  The
 * endpoint ends with its connection, once the transport has let go of that. */
static void
undo_conn(struct dp_conn *c)
{
    if (c->ep != NULL)
        dp_ep_close(c->ep);
    if (!c->started) {
        dp_conn_end(c);
        return;
    }
    c->half = (struct dp_half){0, 0};
    c->state = IPC_CONN_DOWN;
    c->session->ops->stop_conn(c->handle, STOP_CONN_RECOVER);
}

static void
undo_session(struct dp_session *ds)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_SESSION_GONE, .sid = ds->sid};

    LIST_FOREACH (n, &ds->conns) {
        struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (c->ep != NULL)
            dp_ep_close(c->ep);
    }
    dp_event(ds->dp, &ev, NULL);
    dp_session_end(ds);
}

static void
undo_conns(struct dp_session *ds, uint64_t *next)
{
    LIST_FOREACH_SAFE (n, &ds->conns) {
        struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (!c->dying && half_due(ds->dp, &c->half))
            undo_conn(c);
        else if (!c->dying)
            half_next(&c->half, next);
    }
}

static void
on_undo(struct loop_timer *t)
{
    struct dataplane *dp = container_of(t, struct dataplane, undo);
    uint64_t next = UINT64_MAX;

    LIST_FOREACH_SAFE (n, &dp->endpoints) {
        struct dp_endpoint *e = container_of(n, struct dp_endpoint, node);

        if (half_due(dp, &e->half))
            dp_ep_close(e);
        else
            half_next(&e->half, &next);
    }
    LIST_FOREACH_SAFE (n, &dp->sessions) {
        struct dp_session *ds = container_of(n, struct dp_session, node);

        if (ds->dying)
            continue;
        if (half_due(dp, &ds->half)) {
            undo_session(ds);
        } else {
            half_next(&ds->half, &next);
            undo_conns(ds, &next);
        }
    }
    if (next != UINT64_MAX)
        loop_timer_start(dp->loop, &dp->undo, next - dp->loop->now_ns);
}

void
dp_undo_init(struct dataplane *dp)
{
    loop_timer_init(&dp->undo, on_undo);
}

void
dp_undo_schedule(struct dataplane *dp, uint64_t generation)
{
    LIST_FOREACH (n, &dp->endpoints) {
        struct dp_endpoint *e = container_of(n, struct dp_endpoint, node);

        if (e->half.owner == generation && !e->closing)
            dp_half_leave(dp, &e->half);
    }
    LIST_FOREACH (n, &dp->sessions) {
        struct dp_session *ds = container_of(n, struct dp_session, node);

        if (ds->half.owner == generation)
            dp_half_leave(dp, &ds->half);
        LIST_FOREACH (m, &ds->conns) {
            struct dp_conn *c = container_of(m, struct dp_conn, node);

            if (ds->started && c->half.owner == generation)
                dp_half_leave(dp, &c->half);
        }
    }
}

int
dp_serve_adopt(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);
    struct dp_endpoint *e = dp_ep_find(dp, ev->ep);

    if (ev->sid == 0) {
        if (e == NULL)
            return dp_ep_missing(ev, rep);
        if (e->conn == NULL)
            dp_ep_adopt(e);
        else
            e->known_to = dp->generation;
        return 0;
    }
    if (ds == NULL)
        return dp_session_missing(ev, rep);
    dp_session_adopt(ds);
    LIST_FOREACH (n, &ds->conns) {
        struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (!c->dying)
            dp_conn_adopt(c);
    }
    return 0;
}
