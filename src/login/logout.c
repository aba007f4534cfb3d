/* SPDX-License-Identifier: MIT */
/* login/logout.c - ends a session, or stops it for another login: Logout Request with reason 0 (RFC
 * 7143 11.14), then ctl/undo.h.
 *
 * A logout asks the target, then undoes the session, then is done.  It never goes back
 * to an earlier state, so it needs no table of states.
 */
#include "login/logout.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/op.h"
#include "ctl/undo.h"
#include "wire/bhs.h"

struct iscsi_logout {
    struct ctl_op op;
    struct ctl *ctl;
    struct loop *loop;
    struct logout_config cfg;
    void (*done)(void *user, const struct lunette_error *err);
    void *user;
    enum { LOGOUT_ASKING, LOGOUT_UNDOING, LOGOUT_UNDONE } state;
    struct loop_work begin;
    struct loop_timer limit;
    struct ctl_watch watches[LOGOUT_CONNS_MAX];
    uint32_t pending; /* SEND_PDU without a reply */
    struct undo undo;
    int32_t time2wait;        /* of the response; -1: not told */
    struct lunette_error err; /* code 0: the target agreed */
};

/* A session must be ended even when there is no memory for it: ctl's spare serves one at a time. */
static struct iscsi_logout *
logout_mem(struct ctl *ctl)
{
    struct iscsi_logout *l = calloc(1, sizeof(*l));

    static_assert(sizeof(*l) <= CTL_SPARE_SIZE, "ctl.h");
    if (l != NULL && ctl_reserve(ctl) == 0)
        return l;
    free(l);
    return ctl_spare_take(ctl);
}

static void
logout_mem_put(struct ctl *ctl, struct iscsi_logout *l)
{
    if (ctl_spare_is(ctl, l)) {
        ctl_spare_put(ctl, l);
        return;
    }
    ctl_unreserve(ctl);
    free(l);
}

static void
logout_destroy(struct ctl_op *op)
{
    struct iscsi_logout *l = container_of(op, struct iscsi_logout, op);

    loop_defer_cancel(&l->begin);
    loop_timer_stop(l->loop, &l->limit);
    for (uint32_t i = 0; i < l->cfg.nconns; i++)
        ctl_watch_del(&l->watches[i]);
    ctl_op_fini(&l->op);
    logout_mem_put(l->ctl, l);
}

static void
logout_tell(struct iscsi_logout *l)
{
    struct lunette_error err = l->err;

    l->done(l->user, err.code < 0 ? &err : NULL);
}

/* Ends the logout when the session is undone and no reply is due.  May free l. */
static void
logout_end_if_over(struct iscsi_logout *l)
{
    bool tell;

    if (l->state != LOGOUT_UNDONE || l->pending > 0)
        return;
    loop_timer_stop(l->loop, &l->limit);
    ctl_op_enter(&l->op);
    tell = ctl_op_tell(&l->op);
    ctl_op_end(&l->op);
    if (tell)
        logout_tell(l);
    ctl_op_leave(&l->op);
}

static void
logout_undone(struct undo *u)
{
    struct iscsi_logout *l = container_of(u, struct iscsi_logout, undo);

    assert(l->state == LOGOUT_UNDOING);
    l->state = LOGOUT_UNDONE;
    logout_end_if_over(l);
}

/* Takes the session out of the data plane; l->err has the result of the Logout Request.  May free
 * l. */
static void
logout_undo(struct iscsi_logout *l)
{
    assert(l->state == LOGOUT_ASKING);
    l->state = LOGOUT_UNDOING;
    loop_defer_cancel(&l->begin); /* an event may have come before the request was sent */
    if (l->cfg.timeout_ms > LOGOUT_TIMEOUT_MS) /* that was for the target */
        l->cfg.timeout_ms = LOGOUT_TIMEOUT_MS;
    l->undo = (struct undo){
        .ctl = l->ctl,
        .sid = l->cfg.sid,
        .nconns = l->cfg.nconns,
        .how = l->cfg.keep_session ? STOP_CONN_RECOVER : STOP_CONN_TERM,
        .destroy_session = !l->cfg.keep_session,
        .done = logout_undone,
    };
    for (uint32_t i = 0; i < l->cfg.nconns; i++)
        l->undo.conns[i] = (struct undo_conn){.cid = l->cfg.conns[i].cid,
                                              .ep = l->cfg.conns[i].ep,
                                              .stop = true,
                                              .destroy = !l->cfg.keep_session};
    loop_timer_start(l->loop, &l->limit, l->cfg.timeout_ms * LOOP_NS_PER_MS);
    undo_start(&l->undo);
}

static void
logout_on_sent(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_logout *l = user;

    assert(l->pending > 0);
    l->pending--;
    if (rep->err < 0 && l->state == LOGOUT_ASKING) {
        if (rep->why.code < 0)
            l->err = rep->why;
        else
            (void)lunette_fail(&l->err, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err,
                               "logout: the data path refused the request: %s",
                               errno_text(-rep->err));
        logout_undo(l);
    } else {
        logout_end_if_over(l);
    }
}

static void
logout_on_rsp(struct iscsi_logout *l, const struct bhs_logout_rsp *h)
{
    if (h->response != ISCSI_LOGOUT_RSP_CID_NOT_FOUND) /* RFC 7143 11.15.3 */
        l->time2wait = get16(h->time2wait);
    if (h->response != ISCSI_LOGOUT_RSP_OK) /* RFC 7143 11.15.1 */
        (void)lunette_fail(&l->err, -EPROTO, LUNETTE_DOM_PROTO, h->response,
                           "the target did not log the session out cleanly (response %u)",
                           h->response);
    logout_undo(l);
}

static void
logout_on_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct iscsi_logout *l = container_of(w - w->index, struct iscsi_logout, watches[0]);

    (void)data;
    if (l->state != LOGOUT_ASKING)
        return;
    if (ev->type == ISCSI_KEVENT_RECV_PDU &&
        (ev->u.recv_pdu.hdr.opcode & ISCSI_OP_MASK) == ISCSI_OP_LOGOUT_RSP) {
        logout_on_rsp(l, (const void *)&ev->u.recv_pdu.hdr);
    } else if (ev->type == ISCSI_KEVENT_CONN_ERROR && w->index == 0) {
        (void)lunette_fail(&l->err, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET,
                           "the connection was lost before the target answered the logout");
        l->time2wait = (int32_t)ev->u.conn_error.time2wait_s;
        logout_undo(l);
    } else if (ev->type == ISCSI_KEVENT_LOST) {
        (void)lunette_fail(&l->err, -ENOBUFS, LUNETTE_DOM_OS, ENOBUFS,
                           "the answer to the logout may have been lost for want of memory");
        logout_undo(l);
    }
}

static void
logout_on_begin(struct loop_work *w)
{
    struct iscsi_logout *l = container_of(w, struct iscsi_logout, begin);
    struct iscsi_uevent ev = {
        .type = ISCSI_UEVENT_SEND_PDU, .sid = l->cfg.sid, .cid = l->cfg.conns[0].cid};
    int r;

    TRACE(l->loop, session_logout_task, l->cfg.sid, 0);
    if (l->cfg.skip_request) {
        logout_undo(l);
        return;
    }
    /* The request is immediate, since the command window may be closed for good. */
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL |
                 (l->cfg.close_conn ? ISCSI_LOGOUT_CLOSE_CONNECTION : ISCSI_LOGOUT_CLOSE_SESSION));
    if (l->cfg.close_conn)
        ((struct bhs_logout_req *)(void *)&ev.u.send_pdu.hdr)->cid = put16(l->cfg.conns[0].cid);
    loop_timer_start(l->loop, &l->limit, l->cfg.timeout_ms * LOOP_NS_PER_MS);
    r = ctl_request(l->ctl, &ev, NULL, 0, logout_on_sent, l);
    if (r == 0) {
        l->pending++;
        return;
    }
    (void)lunette_fail(&l->err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                       "logout: the data path cannot be reached: %s", errno_text(-r));
    logout_undo(l);
}

/* An owner that lets go of a logout still wants the session gone, in order.  But one that was to
 * keep the session has somebody else end it now, and does not wait for the target. */
static void
logout_on_cancel(struct ctl_op *op)
{
    struct iscsi_logout *l = container_of(op, struct iscsi_logout, op);

    if (!l->cfg.keep_session || l->state != LOGOUT_ASKING)
        return;
    logout_undo(l);
}

static const struct ctl_op_ops logout_op_ops = {.cancel = logout_on_cancel,
                                                .destroy = logout_destroy};

static void
logout_on_limit(struct loop_timer *t)
{
    struct iscsi_logout *l = container_of(t, struct iscsi_logout, limit);

    if (l->err.code == 0)
        (void)lunette_fail(&l->err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, l->cfg.timeout_ms,
                           l->state == LOGOUT_ASKING
                               ? "the target did not answer the logout within %u ms"
                               : "the data path did not tidy up within %u ms",
                           l->cfg.timeout_ms);
    if (l->state == LOGOUT_ASKING)
        logout_undo(l);
    else if (!l->cfg.until_gone && ctl_op_tell(&l->op))
        logout_tell(l); /* The owner need not wait for the undoing, which goes on. */
}

int
session_logout_task(struct ctl *ctl, const struct logout_config *cfg,
                    void (*done)(void *user, const struct lunette_error *err), void *user,
                    struct iscsi_logout **ret)
{
    struct iscsi_logout *l;

    assert(done != NULL);
    assert(cfg->nconns >= 1 && cfg->nconns <= LOGOUT_CONNS_MAX);
    static_assert(LOGOUT_CONNS_MAX <= UNDO_CONNS_MAX, "undo.h");
    l = logout_mem(ctl);
    if (l == NULL)
        return -ENOMEM;
    l->ctl = ctl;
    l->loop = ctl_loop(ctl);
    l->cfg = *cfg;
    if (l->cfg.timeout_ms == 0)
        l->cfg.timeout_ms = LOGOUT_TIMEOUT_MS;
    l->time2wait = -1;
    l->done = done;
    l->user = user;
    ctl_op_init(&l->op, ctl, &logout_op_ops);
    loop_work_init(&l->begin, logout_on_begin);
    loop_timer_init(&l->limit, logout_on_limit);
    for (uint32_t i = 0; i < cfg->nconns; i++) {
        ctl_watch_init(&l->watches[i], logout_on_event);
        l->watches[i].index = i;
        ctl_watch_add(ctl, &l->watches[i], cfg->sid, cfg->conns[i].cid);
    }
    loop_defer(l->loop, &l->begin);
    *ret = l;
    return 0;
}

int32_t
logout_time2wait(const struct iscsi_logout *l)
{
    return l->time2wait;
}

bool
logout_is_over(const struct iscsi_logout *l)
{
    return l->op.ended;
}

void
logout_free(struct iscsi_logout **pl)
{
    struct iscsi_logout *l = *pl;

    if (l == NULL)
        return;
    *pl = NULL;
    ctl_op_free(&l->op);
}
