/* SPDX-License-Identifier: MIT */
/* A connection from accept to close, and its one timer. */
#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/session.h"

static const struct stream_events events = {
    .readable = tgt_conn_readable,
    .writable = tgt_conn_writable,
};

void
tgt_conn_log(const struct tgt_conn *c, enum log_level level, const char *fmt, ...)
{
    char text[256], peer[PORTAL_TEXT_MAX];
    va_list ap;

    if (c->target->loop->log == NULL || level > c->target->loop->log->level)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    log_line(c->target->loop->log, level, "%s%s%s: %s",
             sock_addr_format(&c->peer, peer, sizeof(peer)), c->sess != NULL ? " " : "",
             c->sess != NULL ? c->sess->initiator : "", text);
}

static void
timer_fired(struct loop_timer *timer)
{
    struct tgt_conn *c = container_of(timer, struct tgt_conn, timer);
    struct loop *l = c->target->loop;
    uint64_t interval;

    if (c->state == TGT_CONN_LOGIN) {
        tgt_conn_kill(c, "login took too long");
        return;
    }
    if (c->state != TGT_CONN_FFP || c->sess->node == NULL || c->sess->node->nop_interval_s == 0)
        return;
    interval = c->sess->node->nop_interval_s * LOOP_NS_PER_S;
    if (l->now_ns - c->last_rx_ns < interval) {
        c->ping_sent = false;
        loop_timer_start(l, timer, c->last_rx_ns + interval - l->now_ns);
        return;
    }
    if (c->ping_sent) {
        tgt_conn_kill(c, "no answer to a ping");
        return;
    }
    tgt_nop_ping(c);
    loop_timer_start(l, timer, interval);
}

void
tgt_conn_new(struct target *t, struct stream *s, const struct sock_addr *peer)
{
    static const struct stream_opts opts = {.nodelay = true, .keepalive = true};
    struct tgt_conn *c = NULL;

    if (!t->stopping && t->conns_count < t->conns_max)
        c = calloc(1, sizeof(*c));
    if (c != NULL)
        c->login = tgt_login_new();
    if (c == NULL || c->login == NULL) {
        log_line(t->loop->log, LOG_LEVEL_WARN, "a connection was refused: too many, or stopping");
        free(c);
        stream_close(s);
        return;
    }
    c->target = t;
    c->stream = s;
    c->state = TGT_CONN_LOGIN;
    c->recv_max = ISCSI_LOGIN_DSEG_MAX;
    c->xmit_max = ISCSI_LOGIN_DSEG_MAX;
    c->h_need = ISCSI_BHS_LEN;
    /* Any number would do, but some initiators (libiscsi 1.19) take the first one only if it comes
     * after 0 in serial arithmetic, and else acknowledge nothing for ever. */
    c->stat_sn = (uint32_t)loop_random(t->loop) & INT32_MAX;
    c->last_rx_ns = t->loop->now_ns;
    if (peer != NULL)
        c->peer = *peer;
    (void)stream_names(s, &c->local, NULL);
    (void)stream_set_opts(s, &opts);
    list_init(&c->sess_link);
    list_init(&c->txq);
    loop_work_init(&c->flush, tgt_tx_flush);
    loop_timer_init(&c->timer, timer_fired);
    tgt_pace_init(c);
    c->lowat = 1;
    loop_timer_start(t->loop, &c->timer, t->login_timeout_ms * LOOP_NS_PER_MS);
    list_push_back(&t->conns, &c->link);
    t->conns_count++;
    t->stats.conns++;
    stream_set_events(s, &events, c);
}

void
tgt_conn_kill(struct tgt_conn *c, const char *why)
{
    struct target *t = c->target;

    if (c->state == TGT_CONN_DEAD)
        return;
    if (why != NULL)
        tgt_conn_log(c, LOG_LEVEL_INFO, "connection ends: %s", why);
    c->state = TGT_CONN_DEAD;
    loop_defer_cancel(&c->flush);
    loop_timer_stop(t->loop, &c->timer);
    tgt_pace_stop(c);
    stream_close(c->stream);
    c->stream = NULL;
    if (c->sess != NULL)
        tgt_session_del_conn(c->sess, c);
    tgt_tx_drop(c);
    tgt_text_fini(c);
    tgt_login_free(c->login);
    c->login = NULL;
    list_del(&c->link);
    list_push_back(&t->dead, &c->link);
    t->conns_count--;
    t->stats.conns--;
    loop_defer(t->loop, &t->reap);
}

void
tgt_conn_start_ffp(struct tgt_conn *c)
{
    const struct tgt_node *node = c->sess->node;

    c->header_digest = c->params.header_digest == ISCSI_DIGEST_CRC32C;
    c->data_digest = c->params.data_digest == ISCSI_DIGEST_CRC32C;
    c->recv_max = c->params.max_recv_dseg;
    c->xmit_max = c->params.max_xmit_dseg;
    c->state = TGT_CONN_FFP;
    tgt_login_free(c->login);
    c->login = NULL;
    c->target->stats.logins++;
    loop_timer_stop(c->target->loop, &c->timer);
    if (node != NULL && node->nop_interval_s != 0)
        loop_timer_start(c->target->loop, &c->timer, node->nop_interval_s * LOOP_NS_PER_S);
    tgt_conn_log(c, LOG_LEVEL_INFO, "logged in%s%s", node != NULL ? " to " : " for discovery",
                 node != NULL ? node->name : "");
}

void
tgt_conn_ask_logout(struct tgt_conn *c, uint32_t seconds)
{
    struct tgt_ctl *ctl = tgt_ctl_new(c, ISCSI_OP_ASYNC, ISCSI_TAG_RSVD);
    struct bhs_async *h;

    if (ctl == NULL)
        return;
    h = (struct bhs_async *)(void *)ctl->hdr;
    h->event = ISCSI_ASYNC_LOGOUT_REQUEST;
    h->param3 = put16((uint16_t)seconds);
    c->logout_asked = true;
    tgt_ctl_send(c, ctl);
}
