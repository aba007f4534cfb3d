/* SPDX-License-Identifier: MIT */
/* login/reopen_try.c - how another connection is made: when it is tried, and what a failure means.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/log.h"
#include "login/group.h"
#include "login/members.h"
#include "login/task.h"

/* What a login that names a session is told: the answer to one that was given up may come late. */
#define LOGIN_NO_SESSION  0x020a
#define REOPEN_REFUSED_MS 1000 /* refusals count once in so long */

void
reopen_keep_result(struct iscsi_reopen *r, const struct login_result *res)
{
    r->state = REOPEN_UP;
    r->attempt = 0;
    r->ep = res->ep;
    r->up_ns = r->loop->now_ns;
    r->connect_ns = res->connect_ns;
    r->answer_ns = res->answer_ns;
    r->tpgt = res->tpgt;
    r->time2wait_s = res->params.time2wait;
    r->time2retain_s = res->params.time2retain;
    r->erl = res->params.erl;
    r->session_down = false;
    r->leave_ns = 0;
    if (res->moved)
        reopen_move(r, &res->moved_to);
}

/* May free r. */
static void
reopen_came_back(struct iscsi_reopen *r, const struct login_result *res)
{
    uint64_t down_ns = r->loop->now_ns - r->lost_ns;

    reopen_keep_result(r, res);
    members_up(r, res);
    r->reopens++;
    r->why = (struct lunette_error){.code = 0};
    log_line(r->loop->log, LOG_LEVEL_INFO, "%s: logged in again after %llu ms", r->target_name,
             (unsigned long long)(down_ns / LOOP_NS_PER_MS));
    if (r->cb.back != NULL)
        r->cb.back(r->cb.user, res, down_ns);
}

/* The session goes on with the connection, and with its tasks.  May free r. */
static void
reopen_rejoined(struct iscsi_reopen *r, const struct login_result *res)
{
    r->state = REOPEN_UP;
    r->rejoins = false;
    r->attempt = 0;
    r->leave_ns = 0;
    r->ep = res->ep;
    r->up_ns = r->loop->now_ns;
    r->connect_ns = res->connect_ns;
    r->answer_ns = res->answer_ns;
    r->why = (struct lunette_error){.code = 0};
    if (res->moved)
        reopen_move(r, &res->moved_to);
    if (r->members.portal != NULL)
        *r->members.portal = res->portal;
    log_line(r->loop->log, LOG_LEVEL_INFO, "%s: connection %u is logged in after %llu ms",
             r->target_name, r->cid,
             (unsigned long long)((r->loop->now_ns - r->lost_ns) / LOOP_NS_PER_MS));
    members_resume(r);
    reopen_tell_conn(r, r->cid, NULL);
    reopen_led(r);
}

void
reopen_rejoin_over(struct iscsi_reopen *r)
{
    struct lunette_error why = r->why;

    r->rejoins = false;
    r->attempt = 0; /* of which the owner has not been told */
    log_line(r->loop->log, LOG_LEVEL_WARN, "%s: the session is recovered: %s", r->target_name,
             why.msg);
    if (r->cb.lost != NULL)
        r->cb.lost(r->cb.user, &why);
}

/* The target does not let a connection into the session, or has had the time to forget it, or the
 * data plane has given it up. */
static bool
reopen_rejoin_is_over(const struct iscsi_reopen *r, const struct lunette_error *err)
{
    return r->loop->now_ns >= r->linger_ns ||
           (err->domain == LUNETTE_DOM_USAGE && err->code == -ENOTCONN) ||
           (err->domain == LUNETTE_DOM_LOGIN && !login_error_retryable(err));
}

/* The session, or the data plane, is not there any more. */
static bool
reopen_is_gone(const struct lunette_error *err)
{
    return (err->domain == LUNETTE_DOM_USAGE && err->code == -ENOENT) ||
           (err->domain == LUNETTE_DOM_OS && err->code == -EPIPE);
}

/* The target will not have it, or we will not, or it cannot be done as it is configured.  All else
 * passes: a lack of memory, a stream that makes no sense and may have been damaged, a data plane
 * that is busy with the old connection. */
static bool
reopen_is_refusal(const struct lunette_error *err)
{
    return (err->domain == LUNETTE_DOM_LOGIN && !login_error_retryable(err) &&
            err->detail != LOGIN_NO_SESSION) ||
           (err->domain == LUNETTE_DOM_USAGE && err->code == -EINVAL);
}

/* Counts a refusal; true: it was the last that is allowed. */
static bool
reopen_was_last(struct iscsi_reopen *r)
{
    uint64_t now = r->loop->now_ns;

    /* Another portal group may serve us when the old nexus is over, and so may the portal that the
     * session is known by, which takes no connections now. */
    if (r->pinned || r->elsewhere)
        return false;
    if (r->refusals > 0 && now - r->refused_ns < REOPEN_REFUSED_MS * LOOP_NS_PER_MS)
        return false;
    r->refusals++;
    r->refused_ns = now;
    return r->reopen_max > 0 && r->refusals >= r->reopen_max;
}

/* The data plane is busy with the connection.  It may be one that we take for lost.  Or the target
 * has been asked to log it out through another one, which was lost as well and has to log in first,
 * since the target may yet read that (iscsi/clear.c): so each of them is tried. */
static void
reopen_busy(struct iscsi_reopen *r)
{
    if (r->rejoins && members_try_another(r))
        r->due_ns = r->loop->now_ns + BACKOFF_GAP_MS * LOOP_NS_PER_MS;
    r->state = REOPEN_STOPPING;
    reopen_stop(r);
}

/* May free r. */
static void
reopen_failed(struct iscsi_reopen *r, const struct lunette_error *err)
{
    (void)lunette_fail_as(&r->why, err);
    if (r->rejoins && !reopen_is_gone(err) && reopen_rejoin_is_over(r, err)) {
        ctl_op_enter(&r->op);
        reopen_rejoin_over(r);
        if (!r->freed) {
            r->due_ns = r->loop->now_ns;
            reopen_wait(r);
        }
        ctl_op_leave(&r->op);
    } else if (reopen_is_gone(err)) {
        reopen_give_up(r);
    } else if (!r->rejoins && reopen_is_refusal(err) && reopen_was_last(r)) {
        r->state = REOPEN_ENDING;
        reopen_stop(r);
    } else {
        r->due_ns = r->loop->now_ns + backoff_next(&r->backoff, r->loop, r->began_ns, err);
        if (r->rejoins && r->due_ns > r->linger_ns)
            r->due_ns = r->linger_ns;
        if (err->code == -EBUSY)
            reopen_busy(r);
        else
            reopen_wait(r);
    }
}

static void
reopen_on_limit(void *user, const struct iscsi_reply *rep)
{
    struct loop *loop = user;

    if (rep->err < 0)
        log_line(loop->log, LOG_LEVEL_WARN, "session %u: a time limit was not taken: %s", rep->sid,
                 rep->why.msg);
}

static void
reopen_tell_limit_of(struct iscsi_reopen *r, uint16_t cid, enum iscsi_param param, int64_t limit)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = r->sid, .cid = cid};
    int e;

    ev.u.set_param.param = param;
    (void)snprintf(ev.u.set_param.value, sizeof(ev.u.set_param.value), "%" PRId64, limit);
    e = ctl_request(r->ctl, &ev, NULL, 0, reopen_on_limit, r->loop);
    if (e < 0)
        log_line(r->loop->log, LOG_LEVEL_WARN, "%s: a time limit was not set: %s", r->target_name,
                 errno_text(-e));
}

/* One that is of the session is told once, through its leading connection. */
static void
reopen_tell_limit(struct iscsi_reopen *r, enum iscsi_param param, int64_t limit)
{
    reopen_tell_limit_of(r, r->cid, param, limit);
    for (uint32_t i = 0; param != ISCSI_PARAM_RECOVERY_TMO && i < r->members.n; i++) {
        if (r->members.m[i].state == MEMBER_UP)
            reopen_tell_limit_of(r, r->members.m[i].cid, param, limit);
    }
}

/* The owner may have set other limits while a login was under way, which has told the data plane of
 * those that it began with. */
void
reopen_tell_limits(struct iscsi_reopen *r, bool all)
{
    const struct reopen_limits *was = &r->told, *is = &r->limits;

    if (all || was->replacement_timeout_s != is->replacement_timeout_s)
        reopen_tell_limit(r, ISCSI_PARAM_RECOVERY_TMO, is->replacement_timeout_s);
    if (all || was->ping_interval_ms != is->ping_interval_ms)
        reopen_tell_limit(r, ISCSI_PARAM_PING_INTERVAL_MS, is->ping_interval_ms);
    if (all || was->ping_timeout_ms != is->ping_timeout_ms)
        reopen_tell_limit(r, ISCSI_PARAM_PING_TIMEOUT_MS, is->ping_timeout_ms);
}

static void
reopen_login_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct iscsi_reopen *r = user;
    struct lunette_error why = {.code = 0};
    struct login_result got;

    login_gate_leave(&r->turn);
    if (err != NULL)
        why = *err;
    r->elsewhere |= login_passed_over(r->login);
    if (login_is_over(r->login))
        login_free(&r->login);
    reopen_tell_limits(r, false);
    if (res == NULL) {
        reopen_failed(r, &why);
        return;
    }
    got = *res;
    got.moved &= !r->elsewhere; /* what another portal has moved to is none of ours */
    if (r->rejoins)
        reopen_rejoined(r, &got);
    else
        reopen_came_back(r, &got);
}

/* Each try begins with another portal of the group.  One that is to the session goes first where
 * the connection was, which may have been one that the target had sent us to. */
static void
reopen_choose_portal(struct iscsi_reopen *r, struct login_config *cfg)
{
    struct portal_group g;
    struct portal known = cfg->portal;
    uint32_t turn = r->attempt > 0 ? r->attempt - 1 : 0;

    group_init(&g, cfg, r->rejoins ? r->members.portal : NULL);
    group_store(&g, turn, cfg);
    r->elsewhere = !portal_same(&known, &cfg->portal);
}

/* Logs in.  A login in another portal group would not end the old nexus (RFC 7143 6.3.5), whose
 * commands could overtake what is sent then; so the group has to be the same until Time2Wait and
 * Time2Retain are over. */
static void
reopen_try(struct iscsi_reopen *r)
{
    struct login_callbacks cb = {.done = reopen_login_done, .user = r};
    struct login_config cfg;
    struct lunette_error err;
    int e;

    r->state = REOPEN_LOGIN;
    r->began_ns = r->loop->now_ns;
    reopen_get_config(r, &cfg);
    r->told = r->limits;
    r->pinned = cfg.expected_tpgt < 0 && r->tpgt >= 0 && r->began_ns < r->linger_ns;
    if (r->pinned)
        cfg.expected_tpgt = r->tpgt;
    if (r->rejoins) {
        cfg.kind = LOGIN_ADD_CONN;
        cfg.tsih = r->members.tsih;
        cfg.rejoins = true;
        cfg.expected_tpgt = r->tpgt;
    }
    reopen_choose_portal(r, &cfg);
    cfg.connect_try_ms = backoff_connect_ms(&r->backoff, &cfg, r->connect_ns);
    backoff_ep(&r->backoff, &cfg, r->connect_ns);
    cfg.login_timeout_ms = backoff_login_ms(&r->backoff, &cfg, r->connect_ns);
    cfg.answer_try_ms = backoff_answer_ms(&r->backoff, r->began_ns, r->answer_ns);
    e = login_start(r->ctl, &cfg, &cb, &r->login, &err);
    login_config_wipe(&cfg);
    if (e == 0)
        return;
    login_gate_leave(&r->turn);
    reopen_failed(r, &err);
}

void
reopen_passed(struct login_turn *t)
{
    reopen_try(container_of(t, struct iscsi_reopen, turn));
}

static void
reopen_enter_gate(struct iscsi_reopen *r)
{
    r->state = REOPEN_QUEUED;
    r->turn.behind = r->attempt > 1; /* one that has failed lets others go first */
    if (login_gate_enter(r->gate, &r->turn))
        reopen_try(r);
}

/* It is time for the next try, unless what was before it is not undone yet. */
void
reopen_due(struct iscsi_reopen *r)
{
    if ((r->login != NULL && !login_is_over(r->login)) ||
        (r->logout != NULL && !logout_is_over(r->logout))) {
        reopen_retry_later(r);
        return;
    }
    login_free(&r->login);
    logout_free(&r->logout);
    if (r->rejoins && r->loop->now_ns >= r->linger_ns) {
        ctl_op_enter(&r->op);
        reopen_rejoin_over(r);
        if (!r->freed)
            reopen_enter_gate(r);
        ctl_op_leave(&r->op);
        return;
    }
    reopen_enter_gate(r);
}

void
reopen_now(struct iscsi_reopen *r)
{
    uint64_t now = r->loop->now_ns;

    if (r->state != REOPEN_WAITING)
        return;
    backoff_reset(&r->backoff, now);
    r->due_ns = r->ready_ns > now ? r->ready_ns : now;
    loop_timer_start(r->loop, &r->timer, r->due_ns - now);
}
