/* SPDX-License-Identifier: MIT */
/* A connection from accept to close, and its one timer: this is where the modules that a connection
 * goes through are put together. */
#include "target/serve.h"

#include <stdlib.h>

#include "target/conn.h"
#include "target/ctl.h"
#include "target/fence.h"
#include "target/flow.h"
#include "target/instance.h"
#include "target/keep.h"
#include "target/leave.h"
#include "target/login.h"
#include "target/lost.h"
#include "target/pace.h"
#include "target/rx.h"
#include "target/state/node.h"
#include "target/state/session.h"
#include "target/text.h"
#include "target/tx.h"
#include "target/txq.h"

/* Pings an initiator that has been silent for the interval, and ends the connection of one from
 * which nothing at all has come since the ping.  It may be busy, so it has some time for that. */
static void
watch(struct tgt_conn *c, uint64_t interval)
{
    struct loop *l = c->target->loop;
    uint64_t patience = c->target->ping_timeout_ms * LOOP_NS_PER_MS;

    if (l->now_ns - c->alive_ns >= interval)
        tgt_rx_readable(c); /* what is less than the low-water mark is life, too */
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

static const struct stream_events serve_events = {.readable = tgt_rx_readable,
                                                  .writable = tgt_tx_writable};
static const struct stream_events serve_deaf_events = {.writable = tgt_tx_writable};

static const struct tgt_conn_ops serve_ops = {.readable = tgt_rx_readable,
                                              .events = &serve_events,
                                              .deaf_events = &serve_deaf_events,
                                              .gone = serve_gone,
                                              .forget = tgt_lost_end};

void
tgt_serve(struct target *t, struct stream *s, const struct sock_addr *peer)
{
    static const struct stream_opts opts = {.nodelay = true, .keepalive = true};
    struct tgt_conn *c = NULL;

    if (t->logins_count >= TGT_LOGINS_MAX)
        tgt_conn_kill(container_of(t->logins.next, struct tgt_conn, login_link),
                      "of too many connections that do not log in it is the oldest");
    if (!t->stopping && t->conns_count < t->conns_max)
        c = calloc(1, sizeof(*c));
    if (c == NULL) {
        log_line(t->loop->log, LOG_LEVEL_WARN, "a connection was refused: too many, or stopping");
        stream_close(s);
        return;
    }
    c->ops = &serve_ops;
    c->target = t;
    c->stream = s;
    c->state = TGT_CONN_LOGIN;
    c->recv_max = ISCSI_LOGIN_DSEG_MAX;
    c->xmit_max = ISCSI_LOGIN_DSEG_MAX;
    c->h_need = ISCSI_BHS_LEN;
    /* Any number would do, but some initiators (libiscsi 1.19) take the first one only if it comes
     * after 0 in serial arithmetic, and else acknowledge nothing for ever. */
    c->stat_sn = (uint32_t)loop_random(t->loop) & INT32_MAX;
    c->alive_ns = t->loop->now_ns;
    if (peer != NULL)
        c->peer = *peer;
    (void)stream_names(s, &c->local, NULL);
    (void)stream_set_opts(s, &opts);
    list_init(&c->sess_link);
    list_init(&c->login_link);
    list_init(&c->txq);
    list_init(&c->kept);
    loop_work_init(&c->flush, tgt_tx_flush);
    loop_timer_init(&c->timer, serve_timer);
    tgt_pace_init(c);
    tgt_flow_init(c);
    c->lowat = 1;
    loop_timer_start(t->loop, &c->timer, t->login_timeout_ms * LOOP_NS_PER_MS);
    list_push_back(&t->conns, &c->link);
    t->conns_count++;
    t->stats.conns++;
    tgt_conn_logs_in(c);
    stream_set_events(s, &serve_events, c);
}
