/* SPDX-License-Identifier: MIT */
/* login/logout.c - ends a session: Logout Request with reason 0 (RFC 7143 11.14), then undo.
 *
 * Three steps and no way back, so no table: asking, undoing, ended.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/undo.h"
#include "login/login.h"
#include "wire/bhs.h"

struct iscsi_logout {
    struct ctl_orphan orphan;
    struct ctl *ctl;
    struct loop *loop;
    struct logout_config cfg;
    void (*done)(void *user, const struct lunette_error *err);
    void *user;
    enum { LOGOUT_ASKING, LOGOUT_UNDOING, LOGOUT_ENDED } state;
    bool reported, abandoned, tidy, running;
    struct loop_work begin;
    struct loop_timer limit;
    struct ctl_watch watches[LOGOUT_CONNS_MAX];
    uint32_t pending; /* SEND_PDU without a reply */
    struct undo undo;
    struct lunette_error err;
};

static void
destroy(struct iscsi_logout *l)
{
    loop_defer_cancel(&l->begin);
    loop_timer_stop(l->loop, &l->limit);
    for (uint32_t i = 0; i < l->cfg.nconns; i++)
        ctl_watch_del(&l->watches[i]);
    list_del(&l->orphan.node);
    free(l);
}

static void
destroy_orphan(struct ctl_orphan *o)
{
    destroy(container_of(o, struct iscsi_logout, orphan));
}

static void
report(struct iscsi_logout *l)
{
    struct lunette_error err = l->err;

    loop_timer_stop(l->loop, &l->limit);
    if (!l->reported) {
        l->reported = l->running = true;
        l->done(l->user, err.code < 0 ? &err : NULL);
        l->running = false;
    }
    if (l->abandoned && l->state == LOGOUT_ENDED)
        destroy(l);
}

static void
undone(struct undo *u)
{
    struct iscsi_logout *l = container_of(u, struct iscsi_logout, undo);

    l->tidy = true;
    if (l->pending > 0)
        return; /* on_sent ends it */
    l->state = LOGOUT_ENDED;
    report(l);
}

/* code 0: the target agreed. */
static void
undo_all(struct iscsi_logout *l)
{
    assert(l->state == LOGOUT_ASKING);
    l->state = LOGOUT_UNDOING;
    l->undo = (struct undo){
        .ctl = l->ctl,
        .sid = l->cfg.sid,
        .nconns = l->cfg.nconns,
        .how = STOP_CONN_TERM,
        .destroy_session = true,
        .done = undone,
    };
    for (uint32_t i = 0; i < l->cfg.nconns; i++)
        l->undo.conns[i] = (struct undo_conn){
            .cid = l->cfg.conns[i].cid, .ep = l->cfg.conns[i].ep, .stop = true, .destroy = true};
    loop_timer_start(l->loop, &l->limit, l->cfg.timeout_ms * LOOP_NS_PER_MS);
    undo_start(&l->undo);
}

static void
on_sent(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_logout *l = user;

    l->pending--;
    if (rep->err < 0 && l->state == LOGOUT_ASKING) {
        if (rep->why.code < 0)
            l->err = rep->why;
        else
            (void)lunette_fail(&l->err, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err,
                               "logout: the data path refused the request: %s",
                               errno_text(-rep->err));
        undo_all(l);
    } else if (l->tidy && l->pending == 0) {
        l->state = LOGOUT_ENDED;
        report(l);
    }
}

static void
on_logout_rsp(struct iscsi_logout *l, const struct bhs_logout_rsp *h)
{
    if (h->response != ISCSI_LOGOUT_RSP_OK) /* LOR-01; reason 0 leaves nothing to try again */
        (void)lunette_fail(&l->err, -EPROTO, LUNETTE_DOM_PROTO, h->response,
                           "the target did not log the session out cleanly (response %u)",
                           h->response);
    undo_all(l);
}

static void
on_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct iscsi_logout *l = container_of(w - w->index, struct iscsi_logout, watches[0]);

    (void)data;
    if (l->state != LOGOUT_ASKING)
        return;
    if (ev->type == ISCSI_KEVENT_RECV_PDU &&
        (ev->u.recv_pdu.hdr.opcode & ISCSI_OP_MASK) == ISCSI_OP_LOGOUT_RSP) {
        on_logout_rsp(l, (const void *)&ev->u.recv_pdu.hdr);
    } else if (ev->type == ISCSI_KEVENT_CONN_ERROR && w->index == 0) {
        (void)lunette_fail(&l->err, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET,
                           "the connection was lost before the target answered the logout");
        undo_all(l);
    }
}

static void
on_begin(struct loop_work *w)
{
    struct iscsi_logout *l = container_of(w, struct iscsi_logout, begin);
    struct iscsi_uevent ev = {
        .type = ISCSI_UEVENT_SEND_PDU, .sid = l->cfg.sid, .cid = l->cfg.conns[0].cid};
    int r;

    TRACE(l->loop, session_logout_task, l->cfg.sid, 0);
    if (l->cfg.skip_request) {
        undo_all(l);
        return;
    }
    /* Immediate, as the command window may be closed for good. */
    bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGOUT_REQ | ISCSI_OP_IMMEDIATE,
             ISCSI_FLAG_FINAL | ISCSI_LOGOUT_CLOSE_SESSION);
    loop_timer_start(l->loop, &l->limit, l->cfg.timeout_ms * LOOP_NS_PER_MS);
    r = ctl_request(l->ctl, &ev, NULL, 0, on_sent, l);
    if (r == 0) {
        l->pending++;
        return;
    }
    (void)lunette_fail(&l->err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                       "logout: the data path cannot be reached: %s", errno_text(-r));
    undo_all(l);
}

static void
on_limit(struct loop_timer *t)
{
    struct iscsi_logout *l = container_of(t, struct iscsi_logout, limit);

    if (l->err.code == 0)
        (void)lunette_fail(&l->err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, l->cfg.timeout_ms,
                           l->state == LOGOUT_ASKING
                               ? "the target did not answer the logout within %u ms"
                               : "the data path did not tidy up within %u ms",
                           l->cfg.timeout_ms);
    if (l->state == LOGOUT_ASKING)
        undo_all(l);
    else
        report(l); /* the owner need not wait; the undoing goes on */
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
    l = calloc(1, sizeof(*l));
    if (l == NULL)
        return -ENOMEM;
    l->ctl = ctl;
    l->loop = ctl_loop(ctl);
    l->cfg = *cfg;
    if (l->cfg.timeout_ms == 0)
        l->cfg.timeout_ms = LOGOUT_TIMEOUT_MS;
    l->done = done;
    l->user = user;
    l->orphan.destroy = destroy_orphan;
    list_init(&l->orphan.node);
    loop_work_init(&l->begin, on_begin);
    loop_timer_init(&l->limit, on_limit);
    for (uint32_t i = 0; i < cfg->nconns; i++) {
        ctl_watch_init(&l->watches[i], on_event);
        l->watches[i].index = i;
        ctl_watch_add(ctl, &l->watches[i], cfg->sid, cfg->conns[i].cid);
    }
    loop_defer(l->loop, &l->begin);
    *ret = l;
    return 0;
}

void
logout_free(struct iscsi_logout **pl)
{
    struct iscsi_logout *l = *pl;

    if (l == NULL)
        return;
    *pl = NULL;
    l->reported = l->abandoned = true;
    if (l->state != LOGOUT_ENDED)
        ctl_adopt(l->ctl, &l->orphan);
    else if (!l->running)
        destroy(l);
}
