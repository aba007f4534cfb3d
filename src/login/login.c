/* SPDX-License-Identifier: MIT */
/* login/login.c - the login task's life, and the table that brings its steps together. */
#include "login/login.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "login/task.h"

/* The action for events that change nothing in a state, such as a reply for which it does not wait.
 */
static void
login_nothing(struct iscsi_login *l)
{
    (void)l;
}

/* Keeps a PDU for the session's owner, whose watch is not there yet. */
static void
login_hold(struct iscsi_login *l)
{
    struct login_held *h = l->nheld < LOGIN_HELD_MAX ? &l->held[l->nheld] : NULL;
    uint32_t len = l->pdu->u.recv_pdu.data_len;

    assert(len == 0 || l->pdu_data != NULL);
    if ((l->pdu->u.recv_pdu.hdr.opcode & ISCSI_OP_MASK) == ISCSI_OP_LOGIN_RSP) { /* LGN-02 */
        (void)lunette_fail(login_err(l), -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                           "login: the target sent a Login Response after the final one");
        login_post(l, LOGIN_EV_FAIL);
        return;
    }
    if (h != NULL)
        h->data = malloc(len > 0 ? len : 1);
    if (h == NULL || h->data == NULL) {
        if (h == NULL)
            (void)lunette_fail(login_err(l), -ENOBUFS, LUNETTE_DOM_PROTO, 0,
                               "login: too much came before the session was started");
        else
            (void)lunette_fail(login_err(l), -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                               "login: no memory for what came before the session was started");
        login_post(l, LOGIN_EV_FAIL);
        return;
    }
    h->ev = *l->pdu;
    if (len > 0)
        memcpy(h->data, l->pdu_data, len);
    l->nheld++;
}

/* All that the target has bent.  What an attempt before this one has shown is sure only now, as the
 * other way to log in has worked. */
static uint32_t
login_bends(struct iscsi_login *l)
{
    for (unsigned i = 0; i < BEND_COUNT; i++) {
        if (l->bends >> i & 1)
            nego_bend(&l->nego, (enum wire_bend)i);
    }
    return l->nego.bends;
}

static void
login_logged_in(struct iscsi_login *l)
{
    struct login_result res = {
        .sid = l->sid,
        .cid = l->cfg.cid,
        .ep = l->ep,
        .tsih = l->nego.tsih,
        .tpgt = l->nego.tpgt,
        .params = l->nego.params,
        .auth_method = auth_method_name(&l->nego.auth),
        .portal = l->portal,
        .peer = l->addrs[l->iaddr],
        .connect_ns = l->connect_ns,
        .answer_ns = l->answer_ns,
        .moved = !portal_same(&l->base, &l->cfg.portal),
        .moved_to = l->base,
        .redirects = l->redirects,
        .retries = l->retries,
        .bends = login_bends(l),
    };
    bool tell = ctl_op_tell(&l->op);

    assert(l->pending == 0);
    assert(l->stream == NULL);
    memcpy(res.target_alias, l->nego.target_alias, sizeof(res.target_alias));
    loop_timer_stop(l->loop, &l->deadline);
    loop_timer_stop(l->loop, &l->step);
    ctl_watch_del(&l->watch);
    login_config_wipe(&l->cfg);
    ctl_op_end(&l->op); /* The task stays until login_post returns, since that has entered op. */
    if (tell)
        l->cb.done(l->cb.user, &res, NULL);
    for (uint32_t i = 0; i < l->nheld; i++) {
        ctl_dispatch(l->ctl, &l->held[i].ev, l->held[i].data);
        free(l->held[i].data);
    }
    l->nheld = 0;
    nego_fini(&l->nego);
}

/* ---- the table ------------------------------------------------------------------------------ */

/* A row names its action, and the type of that function tells which member of struct login_action
 * it is for. */
/* clang-format off */
#define LOGIN_ACT(fn)         _Generic((fn), void (*)(struct iscsi_login *): (fn), default: NULL)
#define LOGIN_ACT_BETWEEN(fn) _Generic((fn), void (*)(struct iscsi_login *): NULL, default: (fn))
/* clang-format on */

static const struct login_action login_actions[LOGIN_NSTATES][LOGIN_NEVENTS] = {
#define ROW(from, ev, to, what)                                                                    \
    [LOGIN_##from][LOGIN_EV_##ev] = {LOGIN_ACT(what), LOGIN_ACT_BETWEEN(what)},
#include "login/fsm.def"
};

/* ---- the task's life ------------------------------------------------------------------------ */

static void
login_destroy(struct ctl_op *op)
{
    struct iscsi_login *l = container_of(op, struct iscsi_login, op);

    loop_defer_cancel(&l->begin);
    loop_timer_stop(l->loop, &l->deadline);
    loop_timer_stop(l->loop, &l->step);
    login_connect_stop(l);
    ctl_watch_del(&l->watch);
    nego_fini(&l->nego);
    for (uint32_t i = 0; i < l->nheld; i++)
        free(l->held[i].data);
    login_config_wipe(&l->cfg);
    ctl_op_fini(&l->op);
    ctl_unreserve(l->ctl);
    free(l);
}

static void
login_on_cancel(struct ctl_op *op)
{
    login_post(container_of(op, struct iscsi_login, op), LOGIN_EV_CANCEL);
}

static const struct ctl_op_ops login_op_ops = {.cancel = login_on_cancel, .destroy = login_destroy};

static void
login_on_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct iscsi_login *l = container_of(w, struct iscsi_login, watch);
    struct lunette_error *err = login_err(l);

    assert(!l->running);
    if (ev->type == ISCSI_KEVENT_RECV_PDU) {
        l->pdu = ev;
        l->pdu_data = data;
        ctl_op_enter(&l->op);
        login_post(l, LOGIN_EV_PDU);
        l->pdu = NULL; /* the event is borrowed for this call only */
        l->pdu_data = NULL;
        ctl_op_leave(&l->op);
        return;
    }
    if (ev->type == ISCSI_KEVENT_LOST) {
        if (!login_is(l, LOGIN_IS_WORKING))
            return;
        (void)lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                           "no memory for a message of the login");
        login_post(l, LOGIN_EV_FAIL);
        return;
    }
    if (ev->type == ISCSI_KEVENT_CONN_LOGIN_STATE) {
        if (ev->u.conn_login.why.code < 0)
            (void)lunette_fail_as(err, &ev->u.conn_login.why);
        login_post(l, ev->u.conn_login.why.code < 0 ? LOGIN_EV_FAIL : LOGIN_EV_LOGGED_IN);
        return;
    }
    if (ev->type != ISCSI_KEVENT_CONN_ERROR)
        return;
    if (ev->u.conn_error.why.code < 0)
        (void)lunette_fail_as(err, &ev->u.conn_error.why);
    else
        (void)lunette_fail(err, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET,
                           "the connection was lost during login");
    login_post(l, ev->u.conn_error.err == ISCSI_ERR_CONN_CLOSED && l->state == LOGIN_LOGIN
                      ? LOGIN_EV_REFUSED
                      : LOGIN_EV_FAIL);
}

static void
login_on_begin(struct loop_work *w)
{
    struct iscsi_login *l = container_of(w, struct iscsi_login, begin);

    if (!ctl_op_canceled(&l->op)) /* when canceled, CANCEL is posted in this turn, and suffices */
        login_post(l, LOGIN_EV_BEGIN);
}

static void
login_on_deadline(struct loop_timer *t)
{
    struct iscsi_login *l = container_of(t, struct iscsi_login, deadline);

    login_post(l, LOGIN_EV_DEADLINE);
}

static void
login_on_step(struct loop_timer *t)
{
    struct iscsi_login *l = container_of(t, struct iscsi_login, step);

    login_post(l, LOGIN_EV_STEP);
}

static void
session_login_task(struct iscsi_login *l)
{
    TRACE(l->loop, session_login_task, l->sid, 0);
    login_set_limit(l, l->cfg.login_timeout_ms);
    loop_defer(l->loop, &l->begin);
}

int
login_start(struct ctl *ctl, const struct login_config *cfg, const struct login_callbacks *cb,
            struct iscsi_login **ret, struct lunette_error *err)
{
    struct iscsi_login *l = calloc(1, sizeof(*l));
    int r;

    assert(cb->done != NULL);
    if (l == NULL || ctl_reserve(ctl) < 0) {
        free(l);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a login");
    }
    l->ctl = ctl;
    l->loop = ctl_loop(ctl);
    l->cfg = *cfg;
    l->cb = *cb;
    l->portal = l->base = cfg->portal;
    l->sid = cfg->kind == LOGIN_NEW ? 0 : cfg->sid;
    l->have_session = cfg->kind != LOGIN_NEW;
    l->have_conn = l->conn_stays = cfg->kind == LOGIN_REOPEN || cfg->rejoins;
    l->actions = login_actions;
    ctl_op_init(&l->op, ctl, &login_op_ops);
    ctl_watch_init(&l->watch, login_on_event);
    loop_work_init(&l->begin, login_on_begin);
    loop_timer_init(&l->deadline, login_on_deadline);
    loop_timer_init(&l->step, login_on_step);
    login_connect_init(l);
    r = login_config_check(&l->cfg, err);
    if (r < 0) {
        login_destroy(&l->op);
        return r;
    }
    session_login_task(l);
    *ret = l;
    return 0;
}

void
login_cancel(struct iscsi_login *l)
{
    ctl_op_cancel(&l->op);
}

void
login_free(struct iscsi_login **pl)
{
    struct iscsi_login *l = *pl;

    if (l == NULL)
        return;
    *pl = NULL;
    ctl_op_free(&l->op);
}

void
login_set_replacement(struct iscsi_login *l, int32_t replacement_timeout_s)
{
    l->cfg.replacement_timeout_s = replacement_timeout_s;
}

bool
login_passed_over(const struct iscsi_login *l)
{
    return l->ngroup_tried > 0;
}

bool
login_is_over(const struct iscsi_login *l)
{
    return l->op.ended;
}

bool
login_error_retryable(const struct lunette_error *err)
{
    switch (err->domain) {
    case LUNETTE_DOM_TIMEOUT:
    case LUNETTE_DOM_CONNECT:
        return true;
    case LUNETTE_DOM_LOGIN:
        return err->detail >> 8 == ISCSI_LOGIN_TARGET_ERROR;
    case LUNETTE_DOM_OS:
    case LUNETTE_DOM_USAGE:
    case LUNETTE_DOM_PROTO:
    case LUNETTE_DOM_SCSI:
    case LUNETTE_DOM_NOTFOUND:
        break;
    }
    return false;
}
