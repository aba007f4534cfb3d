/* SPDX-License-Identifier: MIT */
/* A connection from its face to its end, and its one timer: this is where the modules that a
 * connection goes through are put together. */
#include "target/serve.h"

#include "target/conn.h"
#include "target/ctl.h"
#include "target/face.h"
#include "target/fence.h"
#include "target/flow.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/leave.h"
#include "target/login.h"
#include "target/lost.h"
#include "target/state/node.h"
#include "target/state/session.h"
#include "target/text.h"
#include "target/txq.h"

/* Pings an initiator that has been silent for the interval, and ends the connection of one from
 * which nothing at all has come since the ping.  It may be busy, so it has some time for that. */
static void
watch(struct tgt_conn *c, uint64_t interval)
{
    struct loop *l = c->target->loop;
    uint64_t patience = c->target->ping_timeout_ms * LOOP_NS_PER_MS;

    if (l->now_ns - c->alive_ns >= interval)
        c->face->receive(c); /* what is less than the low-water mark is life, too */
    if (c->state != TGT_CONN_FFP)
        return;
    if (l->now_ns - c->alive_ns < interval) {
        c->ping_sent = false;
        loop_timer_start(l, &c->timer, c->alive_ns + interval - l->now_ns);
    } else if (c->ping_sent && c->alive_ns < c->ping_ns) {
        tgt_conn_kill(c, "no answer to a ping");
    } else {
        tgt_nop_ping(c);
        loop_timer_start(l, &c->timer, interval > patience ? interval : patience);
    }
}

/* Ends a connection whose last response makes no way. */
static void
watch_end(struct tgt_conn *c)
{
    struct loop *l = c->target->loop;
    uint64_t patience = c->target->ping_timeout_ms * LOOP_NS_PER_MS;

    if (l->now_ns - c->alive_ns >= patience)
        tgt_conn_kill(c, "the last response is not read");
    else
        loop_timer_start(l, &c->timer, c->alive_ns + patience - l->now_ns);
}

static void
serve_timer(struct loop_timer *timer)
{
    struct tgt_conn *c = container_of(timer, struct tgt_conn, timer);

    if (c->lost)
        tgt_lost_end(c);
    else if (c->state == TGT_CONN_LOGIN || c->login != NULL) /* refused, and that cannot be sent */
        tgt_conn_kill(c, "login took too long");
    else if (c->state == TGT_CONN_CLOSING)
        watch_end(c);
    else if (c->state == TGT_CONN_FFP && c->sess->node != NULL &&
             c->sess->node->nop_interval_s != 0)
        watch(c, c->sess->node->nop_interval_s * LOOP_NS_PER_S);
}

/* Everything that is of the connection ends with it; whoever ended it may still be in its code. */
static void
serve_gone(struct tgt_conn *c)
{
    tgt_keep_queued(c);
    if (c->sess != NULL && tgt_lost_waits(c)) {
        tgt_lost_begin(c);
        tgt_fence_leave(c);
        tgt_tx_drop(c);
        tgt_leave_told(c, c->sess);
    } else {
        if (c->sess != NULL)
            tgt_leave_session(c);
        tgt_keep_drop(c);
        tgt_tx_drop(c);
    }
    tgt_text_fini(c);
    tgt_login_free(c->login);
    c->login = NULL;
}

static const struct tgt_conn_ops serve_ops = {.gone = serve_gone, .forget = tgt_lost_end};

bool
tgt_serve_room(struct target *t)
{
    if (t->logins_count >= TGT_LOGINS_MAX)
        tgt_conn_kill(container_of(t->logins.next, struct tgt_conn, login_link),
                      "of too many connections that do not log in it is the oldest");
    return !t->stopping && t->conns_count < t->conns_max;
}

void
tgt_serve(struct target *t, struct tgt_conn *c, const struct tgt_face *face)
{
    c->ops = &serve_ops;
    c->face = face;
    c->target = t;
    c->state = TGT_CONN_LOGIN;
    c->recv_max = ISCSI_LOGIN_DSEG_MAX;
    c->xmit_max = ISCSI_LOGIN_DSEG_MAX;
    /* Any number would do, but some initiators (libiscsi 1.19) take the first one only if it comes
     * after 0 in serial arithmetic, and else acknowledge nothing for ever. */
    c->stat_sn = (uint32_t)loop_random(t->loop) & INT32_MAX;
    c->alive_ns = t->loop->now_ns;
    list_init(&c->sess_link);
    list_init(&c->login_link);
    list_init(&c->txq);
    list_init(&c->kept);
    loop_work_init(&c->flush, face->flush);
    loop_timer_init(&c->timer, serve_timer);
    tgt_flow_init(c);
    loop_timer_start(t->loop, &c->timer, t->login_timeout_ms * LOOP_NS_PER_MS);
    list_push_back(&t->conns, &c->link);
    t->conns_count++;
    t->stats.conns++;
    tgt_conn_logs_in(c);
}
