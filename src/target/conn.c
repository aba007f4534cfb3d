/* SPDX-License-Identifier: MIT */
#include "target/conn.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#include "target/face.h"
#include "target/flow.h"
#include "target/instance.h"
#include "target/state/session.h"

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

void
tgt_conn_logs_in(struct tgt_conn *c)
{
    list_push_back(&c->target->logins, &c->login_link);
    c->target->logins_count++;
}

static void
leave_logins(struct tgt_conn *c)
{
    if (list_empty(&c->login_link))
        return;
    list_del(&c->login_link);
    c->target->logins_count--;
}

void
tgt_conn_logged_in(struct tgt_conn *c)
{
    leave_logins(c);
    c->target->stats.logins++;
}

void
tgt_conn_close_soon(struct tgt_conn *c)
{
    if (c->state != TGT_CONN_FFP)
        return;
    c->state = TGT_CONN_CLOSING;
    loop_timer_start(c->target->loop, &c->timer, c->target->ping_timeout_ms * LOOP_NS_PER_MS);
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
    tgt_flow_stop(c);
    c->face->close(c);
    c->ops->gone(c);
    assert(c->sess == NULL || c->lost);
    leave_logins(c);
    list_del(&c->link);
    t->conns_count--;
    t->stats.conns--;
    if (!c->lost)
        list_push_back(&t->dead, &c->link);
    loop_defer(t->loop, &t->reap);
}
