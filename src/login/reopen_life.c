/* SPDX-License-Identifier: MIT */
/* login/reopen_life.c - a session that has lost its connection is logged in to again (RFC
 * 7143 7.5): the life of a reopen, and where events go. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "login/members.h"
#include "login/task.h"
#include "wire/pdu.h"

/* ---- events --------------------------------------------------------------------------------- */

static void
reopen_on_timer(struct loop_timer *t)
{
    struct iscsi_reopen *r = container_of(t, struct iscsi_reopen, timer);

    switch (r->state) {
    case REOPEN_UP:
        reopen_ask(r);
        break;
    case REOPEN_LEAVING:
        if (r->leave_ms > 0)
            reopen_log_out(r);
        else
            reopen_not_dropped(r);
        break;
    case REOPEN_STOPPING:
    case REOPEN_ENDING:
        reopen_stop(r);
        break;
    case REOPEN_WAITING:
        reopen_due(r);
        break;
    case REOPEN_NEW:
    case REOPEN_QUEUED:
    case REOPEN_LOGIN:
    case REOPEN_GAVE_UP:
        assert(false); /* the timer does not run */
        break;
    }
}

/* Hands an event to the owner.  May free r. */
static void
reopen_pass_on(struct iscsi_reopen *r, const struct iscsi_kevent *ev, const void *data)
{
    if (r->cb.event != NULL)
        r->cb.event(r->cb.user, ev, data);
}

static void
reopen_on_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct iscsi_reopen *r = container_of(w, struct iscsi_reopen, watch);
    const struct bhs *h = &ev->u.recv_pdu.hdr;

    if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        reopen_conn_error(r, ev);
        return;
    }
    if (ev->type == ISCSI_KEVENT_RECV_PDU) {
        if (!reopen_has_conn(r) ||
            (pdu_opcode(h) == ISCSI_OP_ASYNC && reopen_async(r, (const void *)h)))
            return;
    } else if (ev->type == ISCSI_KEVENT_LOST && r->state == REOPEN_UP) {
        reopen_ask(r);
    }
    reopen_pass_on(r, ev, data);
}

/* A member that is asked to leave does so as the leading connection, one after the other. */
static void
reopen_member_asked(struct iscsi_reopen *r, struct login_member *m, uint32_t given_s)
{
    if (r->state != REOPEN_UP) { /* another one leaves, or is lost */
        m->leave_ns = r->loop->now_ns + given_s * LOOP_NS_PER_S;
        return;
    }
    members_change_places(r, m);
    ctl_op_enter(&r->op); /* the owner may let go of r when it is told */
    reopen_led(r);
    if (!r->freed)
        reopen_leave(r, given_s);
    ctl_op_leave(&r->op);
}

static void
reopen_on_member(struct iscsi_reopen *r, struct login_member *m, const struct iscsi_kevent *ev,
                 const void *data)
{
    const struct bhs *h = &ev->u.recv_pdu.hdr;
    const struct bhs_async *a = (const void *)h;

    if (ev->type == ISCSI_KEVENT_RECV_PDU && pdu_opcode(h) == ISCSI_OP_ASYNC &&
        (a->event == ISCSI_ASYNC_LOGOUT_REQUEST || a->event == ISCSI_ASYNC_NEGOTIATE)) {
        reopen_member_asked(r, m, get16(a->param3));
        return;
    }
    reopen_pass_on(r, ev, data);
}

/* An event of the session and not of its connection, or LOST, which reopen_on_event has as well. */
static void
reopen_on_session_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct iscsi_reopen *r = container_of(w, struct iscsi_reopen, session_watch);

    if (ev->type == ISCSI_KEVENT_LOST)
        return;
    if (ev->type == ISCSI_KEVENT_SESSION_STATE)
        r->session_down = ev->u.session_state.state != IPC_SESSION_RUNNING;
    if (ev->type == ISCSI_KEVENT_SESSION_STATE && r->rejoins && r->session_down) {
        r->linger_ns = r->loop->now_ns; /* the data plane keeps it no longer */
        if (r->state == REOPEN_WAITING)
            loop_timer_start(r->loop, &r->timer, 0);
    }
    if (ev->type == ISCSI_KEVENT_SESSION_STATE && r->state == REOPEN_UP &&
        ev->u.session_state.state != IPC_SESSION_RUNNING)
        reopen_ask(r); /* its CONN_ERROR should come, but may be one that was lost */
    reopen_pass_on(r, ev, data);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
reopen_destroy(struct ctl_op *op)
{
    struct iscsi_reopen *r = container_of(op, struct iscsi_reopen, op);

    assert(r->freed && r->login == NULL && r->logout == NULL);
    members_free(r);
    if (r->undo != NULL)
        ctl_unreserve(r->ctl);
    free(r->undo);
    free(r->target_name);
    free(r->moved_to);
    ctl_op_fini(&r->op);
    free(r);
}

/* The owner lets go. */
static void
reopen_on_cancel(struct ctl_op *op)
{
    struct iscsi_reopen *r = container_of(op, struct iscsi_reopen, op);

    r->freed = true;
    loop_timer_stop(r->loop, &r->timer);
    loop_defer_cancel(&r->told_work);
    reopen_unwatch(r);
    members_down(r);
    login_gate_leave(&r->turn);
    login_free(&r->login);
    logout_free(&r->logout);
    login_packed_free(&r->packed);
    reopen_end_if_over(r);
}

static const struct ctl_op_ops reopen_op_ops = {.cancel = reopen_on_cancel,
                                                .destroy = reopen_destroy};

static void
reopen_take_limits(struct iscsi_reopen *r, const struct login_config *cfg)
{
    r->limits = (struct reopen_limits){.login_timeout_ms = cfg->login_timeout_ms,
                                       .ping_interval_ms = cfg->ping_interval_ms,
                                       .ping_timeout_ms = cfg->ping_timeout_ms,
                                       .replacement_timeout_s = cfg->replacement_timeout_s};
}

/* Keeps of the configuration what is asked for often, and packs all of it. */
static int
reopen_take_config(struct iscsi_reopen *r, const struct login_config *cfg)
{
    int e = login_pack(cfg, &r->packed);

    r->target_name = strdup(cfg->target_name);
    if (e < 0 || r->target_name == NULL) {
        login_packed_free(&r->packed);
        free(r->target_name);
        return -ENOMEM;
    }
    reopen_take_limits(r, cfg);
    return 0;
}

int
reopen_new(struct ctl *ctl, struct login_gate *gate, const struct reopen_config *cfg,
           const struct reopen_callbacks *cb, struct iscsi_reopen **ret, struct lunette_error *err)
{
    struct iscsi_reopen *r = calloc(1, sizeof(*r));

    assert(cb->gave_up != NULL);
    if (r == NULL || reopen_take_config(r, cfg->login) < 0) {
        free(r);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a session");
    }
    r->ctl = ctl;
    r->loop = ctl_loop(ctl);
    r->gate = gate;
    r->cb = *cb;
    r->reopen_max = cfg->reopen_max;
    r->members.wanted = cfg->login->nr_connections;
    r->member_event = reopen_on_member;
    r->member_asked = reopen_member_asked;
    ctl_op_init(&r->op, ctl, &reopen_op_ops);
    loop_timer_init(&r->timer, reopen_on_timer);
    loop_work_init(&r->told_work, reopen_on_told);
    login_turn_init(&r->turn, reopen_passed);
    ctl_watch_init(&r->watch, reopen_on_event);
    ctl_watch_init(&r->session_watch, reopen_on_session_event);
    *ret = r;
    return 0;
}

static void
reopen_watch(struct iscsi_reopen *r, const struct login_result *res)
{
    assert(r->state == REOPEN_NEW);
    r->sid = res->sid;
    r->cid = res->cid;
    reopen_keep_result(r, res);
    backoff_reset(&r->backoff, r->loop->now_ns);
    ctl_watch_add(r->ctl, &r->watch, res->sid, res->cid);
    ctl_watch_add_session(r->ctl, &r->session_watch, res->sid);
}

void
reopen_attach(struct iscsi_reopen *r, const struct login_result *res)
{
    reopen_watch(r, res);
    members_up(r, res);
}

void
reopen_take_over(struct iscsi_reopen *r, const struct reopen_found *found)
{
    reopen_watch(r, &found->res);
    r->session_down = found->down;
    members_found(r, found);
    if (found->asked_to_leave)
        reopen_leave(r, 0);
    else if (r->members.n > 0 && found->conn_up)
        reopen_ask(r); /* for its portal */
    reopen_tell_limits(r, true);
}

void
reopen_free(struct iscsi_reopen **pr)
{
    struct iscsi_reopen *r = *pr;

    if (r == NULL)
        return;
    *pr = NULL;
    ctl_op_free(&r->op);
}

/* ---- what the owner may ask ----------------------------------------------------------------- */

void
reopen_get_info(const struct iscsi_reopen *r, struct reopen_info *ret)
{
    uint64_t now = r->loop->now_ns;
    bool down = r->state > REOPEN_LEAVING;

    *ret = (struct reopen_info){
        .state = r->state,
        .rejoins = r->rejoins,
        .attempt = r->attempt,
        .reopens = r->reopens,
        .down_ns = down ? now - r->lost_ns : 0,
        .next_try_ns = r->state == REOPEN_WAITING && r->due_ns > now ? r->due_ns - now : 0,
        .why = r->why,
        .conns = members_count_up(r),
        .conns_wanted = r->members.wanted > 1 ? r->members.wanted : 1,
    };
}

bool
reopen_get_conn(const struct iscsi_reopen *r, uint32_t i, struct reopen_conn *ret)
{
    const struct portal *portal = r->members.portal;
    const struct login_member *m;

    if (i > r->members.on)
        return false;
    *ret = (struct reopen_conn){.cid = r->cid, .state = r->state};
    if (i > 0) {
        m = &r->members.m[i - 1];
        ret->cid = m->cid;
        ret->state = m->state == MEMBER_UP      ? REOPEN_UP
                     : m->state == MEMBER_LOGIN ? REOPEN_LOGIN
                                                : REOPEN_WAITING;
        ret->err = m->err;
        ret->why = m->why;
        portal = &m->portal;
    }
    ret->portal = portal != NULL && portal->host[0] != '\0' ? portal : NULL;
    return true;
}

struct reopen_limits *
reopen_limits(struct iscsi_reopen *r)
{
    return &r->limits;
}

int
reopen_change(struct iscsi_reopen *r, const struct reopen_config *cfg)
{
    struct login_packed *packed;
    struct login_config was;

    r->reopen_max = cfg->reopen_max;
    if (r->packed == NULL) /* given up */
        return 0;
    if (login_pack(cfg->login, &packed) < 0)
        return -ENOMEM;
    login_unpack(r->packed, &was);
    if (!portal_same(&was.portal, &cfg->login->portal)) {
        free(r->moved_to); /* it has moved away from another portal */
        r->moved_to = NULL;
    }
    login_config_wipe(&was);
    login_packed_free(&r->packed);
    r->packed = packed;
    r->members.wanted = cfg->login->nr_connections;
    reopen_take_limits(r, cfg->login);
    reopen_limits_changed(r);
    return 0;
}

void
reopen_limits_changed(struct iscsi_reopen *r)
{
    if (r->login != NULL)
        login_set_replacement(r->login, r->limits.replacement_timeout_s);
}

void
reopen_set_max(struct iscsi_reopen *r, uint32_t reopen_max)
{
    r->reopen_max = reopen_max;
}

void
reopen_logout_config(const struct iscsi_reopen *r, struct logout_config *cfg)
{
    assert(r->state != REOPEN_NEW);
    *cfg =
        (struct logout_config){.sid = r->sid, .nconns = 1, .skip_request = r->state != REOPEN_UP};
    cfg->conns[0].cid = r->cid;
    cfg->conns[0].ep = r->ep;
}
