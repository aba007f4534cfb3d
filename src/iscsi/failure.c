/* SPDX-License-Identifier: MIT */
/* iscsi/failure.c - a connection fails: the first reason counts. */
#include <errno.h>

#include "iscsi/internal.h"

const char *
iscsi_err_name(enum iscsi_err e)
{
    static const char *const names[ISCSI_ERR_COUNT] = {
        "OK",           "CONN_CLOSED",  "BAD_OPCODE", "PROTO", "BAD_ITT",  "DATASN",
        "DATA_OFFSET",  "STATSN",       "DATALEN",    "R2TSN", "HDR_DGST", "DATA_DGST",
        "NOP_TIMEDOUT", "TMF_TIMEDOUT", "WINDOW",     "ASYNC", "LOCAL",    "MEMORY",
    };

    assert(e < ISCSI_ERR_COUNT);
    return names[e];
}

/* A PDU has come that cannot be: whatever else the target says on other connections is not to be
 * trusted either, so that all of them end (RFC 7143 7.7).  An opcode that is not known is another
 * matter, and so are losses. */
static bool
is_format_error(const struct conn *c, enum iscsi_err err)
{
    return c->started && c->session->state == ISCSI_STATE_LOGGED_IN &&
           (err == ISCSI_ERR_PROTO || err == ISCSI_ERR_DATALEN || err == ISCSI_ERR_DATA_OFFSET);
}

/* Takes note that the connection has failed, and why; of several calls the first counts.  Nothing
 * is torn down here, since the caller may be deep inside the parser: fail_work does that, later. */
void
iscsi_conn_failure(struct iscsi_conn *pub, enum iscsi_err err, const char *why)
{
    struct conn *c = to_conn(pub);
    struct session *s = c->session;
    bool all, closed;

    if (c->failing || c->down || c->stopping || c->state == CONN_FREE)
        return;
    all = !s->ends && is_format_error(c, err);
    /* A target that logs a session out may close the other connections before its answer is read.
     */
    closed = err == ISCSI_ERR_CONN_CLOSED && iscsi_conn_leaving(c) && c != s->leadconn;
    s->ends |= all;
    TRACE(pub->loop, iscsi_conn_failure, pub->cid, err);
    c->failing = true;
    c->suspended = c->pub.failed = true;
    iscsi_leave_fast(c);
    c->err = err;
    (void)lunette_fail(
        &c->why, err == ISCSI_ERR_MEMORY ? -ENOMEM : -ENOTCONN,
        err == ISCSI_ERR_MEMORY ? LUNETTE_DOM_OS
        : err == ISCSI_ERR_NOP_TIMEDOUT || err == ISCSI_ERR_TMF_TIMEDOUT || err == ISCSI_ERR_WINDOW
            ? LUNETTE_DOM_TIMEOUT
        : err == ISCSI_ERR_CONN_CLOSED || err == ISCSI_ERR_ASYNC || err == ISCSI_ERR_LOCAL
            ? LUNETTE_DOM_CONNECT
            : LUNETTE_DOM_PROTO,
        err, "%s", why);
    log_line(pub->loop->log, closed ? LOG_LEVEL_DEBUG : LOG_LEVEL_WARN,
             "%s: connection %u %s (%s): %s", s->host.name, pub->cid,
             closed ? "ended with its logout" : "lost", iscsi_err_name(err), why);
    if (c == s->leadconn && s->state == ISCSI_STATE_LOGGED_IN && !iscsi_pass_lead_on(s) &&
        !s->adrift && !iscsi_may_drift(c))
        s->state = iscsi_lost_state(s); /* no command goes out before recovery.c does the rest */
    iscsi_count_serving(s);
    loop_defer(pub->loop, &c->fail_work);
    if (!all)
        return;
    LIST_FOREACH (n, &s->conns)
        iscsi_conn_failure(&container_of(n, struct conn, node)->pub, err, why);
}

void
iscsi_session_failure(struct session *s, enum iscsi_err err, const char *why)
{
    s->ends = true;
    if (s->adrift) /* no connection is there to tell of it */
        loop_timer_start(s->pub.loop, &s->adrift_timer, 0);
    LIST_FOREACH (n, &s->conns)
        iscsi_conn_failure(&container_of(n, struct conn, node)->pub, err, why);
}
