/* SPDX-License-Identifier: MIT */
/* login/reopen_lost.c - how a connection ends: it is lost, or the target wants us to leave. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "base/log.h"
#include "login/members.h"

#define REOPEN_DROP_MS    1000 /* for a target that announces it to drop the connection */
#define REOPEN_TIME_MAX_S 3600 /* RFC 7143 13.15, 13.16: there is no longer Time2Wait or Retain */

/* How the connection has ended. */
struct reopen_loss {
    struct lunette_error why;
    uint32_t time2wait_s, time2retain_s;
    bool served;  /* requests were answered since the login */
    bool to_stop; /* the data plane may not have noticed */
};

void
reopen_give_up(struct iscsi_reopen *r)
{
    struct lunette_error why = r->why;

    if (reopen_has_conn(r)) /* else it has been down for longer */
        r->lost_ns = r->loop->now_ns;
    r->state = REOPEN_GAVE_UP;
    loop_timer_stop(r->loop, &r->timer);
    loop_defer_cancel(&r->told_work);
    members_down(r);
    reopen_unwatch(r);
    login_packed_free(&r->packed);
    log_line(r->loop->log, LOG_LEVEL_ERROR, "%s: the session is given up: %s", r->target_name,
             why.msg);
    r->cb.gave_up(r->cb.user, &why);
}

/* ---- what is left of a connection ----------------------------------------------------------- */

static void
reopen_stopped(struct undo *u)
{
    struct iscsi_reopen *r = container_of(u, struct reopen_undo, undo)->reopen;

    free(r->undo);
    r->undo = NULL;
    ctl_unreserve(r->ctl);
    if (r->freed)
        reopen_end_if_over(r);
    else if (r->state == REOPEN_ENDING)
        reopen_give_up(r);
    else
        reopen_wait(r);
}

/* Stops the connection and disconnects its endpoint, where there is one.  After STOP_CONN with TERM
 * the data plane waits for no other login, and the commands fail. */
void
reopen_stop(struct iscsi_reopen *r)
{
    struct reopen_undo *u = malloc(sizeof(*u));

    assert(r->state == REOPEN_STOPPING || r->state == REOPEN_ENDING);
    if (u == NULL || ctl_reserve(r->ctl) < 0) {
        free(u);
        reopen_retry_later(r);
        return;
    }
    u->reopen = r;
    u->undo = (struct undo){
        .ctl = r->ctl,
        .sid = r->sid,
        .conns = {{.cid = r->cid, .ep = r->ep, .stop = true}},
        .nconns = 1,
        .how = r->state == REOPEN_ENDING ? STOP_CONN_TERM : STOP_CONN_RECOVER,
        .done = reopen_stopped,
    };
    for (uint32_t i = 0; i < r->members.n && u->undo.nconns < UNDO_CONNS_MAX; i++) {
        if (r->members.m[i].made) /* we may take for lost what is there */
            u->undo.conns[u->undo.nconns++] =
                (struct undo_conn){.cid = r->members.m[i].cid, .stop = true};
    }
    r->ep = 0;
    r->undo = u;
    undo_start(&u->undo);
}

/* ---- lost ----------------------------------------------------------------------------------- */

static uint64_t
reopen_seconds(uint32_t s)
{
    return (s < REOPEN_TIME_MAX_S ? s : REOPEN_TIME_MAX_S) * LOOP_NS_PER_S;
}

/* A session that is lost as soon as it has come up goes on with the back-off that it had.  One that
 * has served requests in so short a time is of use, and is lost for another reason than the login
 * before it: it begins anew, with the first step. */
static void
reopen_back_off(struct iscsi_reopen *r, const struct reopen_loss *loss)
{
    uint64_t now = r->loop->now_ns;
    bool steady = now - r->up_ns >= BACKOFF_STEADY_MS * LOOP_NS_PER_MS;

    r->due_ns = now;
    if (steady || loss->served)
        backoff_reset(&r->backoff, now);
    if (!steady)
        r->due_ns += backoff_next(&r->backoff, r->loop, now, &loss->why);
}

static uint32_t
seconds_until(const struct iscsi_reopen *r, uint64_t ns)
{
    return ns > r->loop->now_ns ? (uint32_t)((ns - r->loop->now_ns) / LOOP_NS_PER_S) : 0;
}

/* The leading connection, cid, has ended, and the session goes on by another.  May free r. */
static void
reopen_go_on(struct iscsi_reopen *r, uint16_t cid, const struct reopen_loss *loss)
{
    r->state = REOPEN_UP;
    reopen_tell_conn(r, cid, &loss->why);
    log_line(r->loop->log, LOG_LEVEL_WARN, "%s: %s", r->target_name, loss->why.msg);
    if (members_lead_to_leave(r))
        reopen_leave(r, seconds_until(r, r->leave_ns));
    else
        reopen_ask(r); /* that may be down as well */
    reopen_led(r);
}

/* The connection has ended, and another is wanted.  May free r. */
static void
reopen_begin(struct iscsi_reopen *r, const struct reopen_loss *loss)
{
    uint64_t now = r->loop->now_ns;
    uint16_t cid = r->cid;

    assert(reopen_has_conn(r));
    loop_timer_stop(r->loop, &r->timer);
    loop_defer_cancel(&r->told_work);
    if (members_take_lead(r, loss->time2wait_s, loss->to_stop)) {
        reopen_go_on(r, cid, loss);
        return;
    }
    if (members_are_asked(r)) { /* one of them may be up: asked about again when that is known */
        r->state = REOPEN_UP;
        r->time2wait_s = loss->time2wait_s;
        reopen_retry_later(r);
        return;
    }
    members_down(r);
    r->why = loss->why;
    r->lost_ns = now;
    r->ready_ns = now + reopen_seconds(loss->time2wait_s);
    r->linger_ns = r->ready_ns + reopen_seconds(loss->time2retain_s);
    r->attempt = r->refusals = r->members.turn = 0;
    reopen_back_off(r, loss);
    r->state = REOPEN_STOPPING;
    r->rejoins = r->erl >= 2 && loss->time2retain_s > 0 && !r->session_down && r->members.tsih != 0;
    log_line(r->loop->log, LOG_LEVEL_WARN, "%s: %s", r->target_name, loss->why.msg);
    ctl_op_enter(&r->op);
    if (r->rejoins)
        reopen_tell_conn(r, cid, &loss->why);
    else if (r->cb.lost != NULL)
        r->cb.lost(r->cb.user, &loss->why);
    if (!r->freed && (loss->to_stop || r->ep != 0))
        reopen_stop(r);
    else if (!r->freed)
        reopen_wait(r);
    ctl_op_leave(&r->op);
}

void
reopen_conn_error(struct iscsi_reopen *r, const struct iscsi_kevent *ev)
{
    struct reopen_loss loss = {.time2wait_s = ev->u.conn_error.time2wait_s,
                               .time2retain_s = ev->u.conn_error.time2retain_s,
                               .served = ev->u.conn_error.served};

    if (!reopen_has_conn(r) || r->logout != NULL)
        return; /* of a connection that has been given up */
    if (ev->u.conn_error.why.code < 0)
        (void)lunette_fail_as(&loss.why, &ev->u.conn_error.why);
    else
        (void)lunette_fail(&loss.why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the connection was lost");
    reopen_begin(r, &loss);
}

/* The loss is in r->why, and nobody has told of Time2Wait. */
static void
reopen_found_lost(struct iscsi_reopen *r)
{
    struct reopen_loss loss = {.why = r->why,
                               .time2wait_s = r->time2wait_s,
                               .time2retain_s = r->time2retain_s,
                               .to_stop = true};

    reopen_begin(r, &loss);
}

void
reopen_on_told(struct loop_work *w)
{
    struct iscsi_reopen *r = container_of(w, struct iscsi_reopen, told_work);

    if (r->logout == NULL) /* else its end is the end of the connection, too */
        reopen_found_lost(r);
}

void
reopen_lost(struct iscsi_reopen *r, const struct lunette_error *why, int32_t time2wait_s)
{
    assert(why->code < 0);
    if (!reopen_has_conn(r) || r->logout != NULL)
        return;
    (void)lunette_fail_as(&r->why, why);
    if (time2wait_s >= 0)
        r->time2wait_s = (uint32_t)time2wait_s;
    loop_defer(r->loop, &r->told_work);
}

/* ---- events that may have been missed ------------------------------------------------------- */

static void
reopen_on_conn(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_reopen *r = user;
    bool down = rep->err == 0 && !ipc_conn_is_up(rep->r.conn.state);

    r->asking = false;
    if (r->freed) {
        reopen_end_if_over(r);
    } else if (r->state != REOPEN_UP) {
        return; /* what has happened meanwhile says more */
    } else if (rep->cid != r->cid) {
        reopen_ask(r); /* another one leads by now */
    } else if (rep->err == -ENOENT) {
        (void)lunette_fail(&r->why, -ENOENT, LUNETTE_DOM_USAGE, 0,
                           "the session is not there any more");
        reopen_give_up(r);
    } else if (down) {
        (void)lunette_fail(&r->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the connection was lost; what told why was lost, too");
        reopen_found_lost(r);
    } else if (rep->err < 0) {
        reopen_retry_later(r);
    } else {
        if (r->members.portal != NULL)
            members_take_portal(r->members.portal, rep);
        if (rep->r.conn.state == IPC_CONN_LEAVING)
            reopen_leave(r, 0);
    }
}

void
reopen_ask(struct iscsi_reopen *r)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_CONN, .sid = r->sid, .cid = r->cid};
    int e;

    assert(r->state == REOPEN_UP);
    if (r->asking) /* the reply to come may be older than what is asked about now */
        e = -EAGAIN;
    else
        e = ctl_request(r->ctl, &ev, NULL, 0, reopen_on_conn, r);
    r->asking |= e == 0;
    if (e < 0 && e != -EPIPE)
        reopen_retry_later(r);
}

/* ---- the target asks us to leave ------------------------------------------------------------ */

static void
reopen_logged_out(void *user, const struct lunette_error *err)
{
    struct iscsi_reopen *r = user;
    int32_t told = logout_time2wait(r->logout);
    struct reopen_loss loss = {.time2wait_s = told >= 0 ? (uint32_t)told : r->time2wait_s,
                               .time2retain_s = err == NULL ? 0 : r->time2retain_s};

    if (err == NULL)
        (void)lunette_fail(&loss.why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the target asked for a logout; the connection was closed in order");
    else
        (void)lunette_fail(&loss.why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the target asked for a logout; the connection was dropped: %s",
                           err->msg);
    if (logout_is_over(r->logout))
        logout_free(&r->logout);
    reopen_begin(r, &loss);
}

void
reopen_log_out(struct iscsi_reopen *r)
{
    struct logout_config cfg = {
        .sid = r->sid, .nconns = 1, .timeout_ms = r->leave_ms, .keep_session = true};

    cfg.conns[0].cid = r->cid;
    cfg.conns[0].ep = r->ep;
    cfg.close_conn = members_count_up(r) > 1;
    if (session_logout_task(r->ctl, &cfg, reopen_logged_out, r, &r->logout) < 0)
        reopen_retry_later(r);
    else
        r->ep = 0;
}

/* The target has given us that many seconds to log out.  The data plane sends the request when the
 * commands that are outstanding have ended, after half of that time at the latest, and what is left
 * is for the response.  It is not waited for longer than for any other. */
static uint32_t
reopen_leave_ms(uint32_t given_s)
{
    uint32_t enough = 500 * given_s + LOGOUT_TIMEOUT_MS;

    if (given_s == 0)
        return LOGOUT_TIMEOUT_MS;
    return 1000 * given_s < enough ? 1000 * given_s : enough;
}

void
reopen_leave(struct iscsi_reopen *r, uint32_t given_s)
{
    /* To a request to negotiate a Logout Request is the other answer that the RFC allows. */
    log_line(r->loop->log, LOG_LEVEL_WARN, "%s asks for a logout", r->target_name);
    r->state = REOPEN_LEAVING;
    r->leave_ns = 0;
    loop_timer_stop(r->loop, &r->timer);
    r->leave_ms = reopen_leave_ms(given_s);
    reopen_log_out(r);
}

bool
reopen_async(struct iscsi_reopen *r, const struct bhs_async *a)
{
    bool asks = a->event == ISCSI_ASYNC_LOGOUT_REQUEST || a->event == ISCSI_ASYNC_NEGOTIATE;
    bool drops = a->event == ISCSI_ASYNC_DROP_SESSION ||
                 (a->event == ISCSI_ASYNC_DROP_CONNECTION && get16(a->param1) == r->cid);
    bool leaving = r->state == REOPEN_LEAVING;
    bool dropping = leaving && r->logout == NULL && r->leave_ms == 0;

    if (!asks && !drops)
        return false;
    if (drops) {
        r->time2wait_s = get16(a->param2);
        r->time2retain_s = get16(a->param3);
    }
    if (dropping || r->logout != NULL || (leaving && asks))
        return true; /* it has begun, and ends in its time, however often the target says so */
    if (drops) {
        r->state = REOPEN_LEAVING;
        r->leave_ms = 0;
        loop_timer_start(r->loop, &r->timer, REOPEN_DROP_MS * LOOP_NS_PER_MS);
        return true;
    }
    reopen_leave(r, get16(a->param3));
    return true;
}

void
reopen_not_dropped(struct iscsi_reopen *r)
{
    (void)lunette_fail(&r->why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                       "the target announced that it drops the connection");
    reopen_found_lost(r);
}
