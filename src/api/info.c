/* SPDX-License-Identifier: MIT */
/* api/info.c - what is known of a session, and its time limits. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
#include "wire/bend.h"

#define INFO_TIME_MAX_MS 86400000u /* of any time limit: a day, as in a URL */

const char *
lunette_bend_text(unsigned n)
{
    return bend_text(n);
}

/* How the session is, and how long that has been so. */
static void
info_state(const struct lunette_session *s, struct lunette_session_info *ret)
{
    struct reopen_info info;
    struct reopen_conn conn;
    struct lunette_error why;

    if (!s->logged_in || s->reopen == NULL)
        return;
    reopen_get_info(s->reopen, &info);
    ret->state = api_session_state(s);
    ret->reopens = api_session_reopens(s);
    while (reopen_get_conn(s->reopen, ret->nconnections, &conn))
        ret->nconnections++;
    ret->attempt = info.attempt;
    ret->down_ms = (int64_t)(api_session_down_ns(s) / LOOP_NS_PER_MS);
    ret->next_try_ms = (int64_t)(info.next_try_ns / LOOP_NS_PER_MS);
    ret->give_up_ms = api_session_give_up_ms(s, api_session_down_ns(s));
    api_session_why(s, &why);
    ret->error = why.code;
    if (why.code < 0)
        (void)snprintf(ret->error_text, sizeof(ret->error_text), "%s", why.msg);
}

/* What the login has agreed on.  An adapter that logs in by itself keeps that to itself. */
static void
info_agreed(const struct lunette_session *s, struct lunette_session_info *ret)
{
    const struct iscsi_params *p = &s->params;

    if (s->portal != NULL)
        (void)snprintf(ret->auth_method, sizeof(ret->auth_method), "%s", s->auth_method);
    memcpy(ret->isid, s->isid, sizeof(ret->isid));
    ret->tsih = s->tsih;
    ret->tpgt = (uint16_t)(s->tpgt < 0 ? 0 : s->tpgt);
    ret->header_digest = p->header_digest == ISCSI_DIGEST_CRC32C;
    ret->data_digest = p->data_digest == ISCSI_DIGEST_CRC32C;
    ret->initial_r2t = p->initial_r2t;
    ret->immediate_data = p->immediate_data;
    ret->max_recv_data_segment_length = p->max_recv_dseg;
    ret->max_xmit_data_segment_length = p->max_xmit_dseg;
    ret->max_burst_length = p->max_burst;
    ret->first_burst_length = p->first_burst;
    ret->max_outstanding_r2t = p->max_outstanding_r2t;
    ret->max_connections = p->max_connections;
    ret->error_recovery_level = p->erl;
    ret->time2wait = p->time2wait;
    ret->time2retain = p->time2retain;
}

void
api_session_info(const struct lunette_session *s, struct lunette_session_info *ret)
{
    const struct iscsi_session *dp = dataplane_session(s->ctx->dp, s->sid);

    memset(ret, 0, sizeof(*ret));
    if (s->logged_in && dataplane_transport(s->ctx->dp, s->sid) != NULL)
        (void)snprintf(ret->transport, sizeof(ret->transport), "%s",
                       dataplane_transport(s->ctx->dp, s->sid));
    ret->bends = s->bends | (dp != NULL ? dp->bends : 0);
    (void)snprintf(ret->target_name, sizeof(ret->target_name), "%s", s->target_name);
    (void)snprintf(ret->initiator_name, sizeof(ret->initiator_name), "%s", s->initiator_name);
    if (s->target_alias != NULL)
        (void)log_clean(ret->target_alias, sizeof(ret->target_alias), s->target_alias,
                        strlen(s->target_alias));
    if (s->portal != NULL) /* it has logged in */
        (void)snprintf(ret->portal, sizeof(ret->portal), "%s", s->portal);
    if (!s->by_itself)
        info_agreed(s, ret);
    ret->nconnections_wanted = s->nconnections_wanted;
    ret->error_recovery_level_wanted = s->erl_wanted;
    info_state(s, ret);
}

int
lunette_session_get_info(const struct lunette_session *s, struct lunette_session_info *ret)
{
    struct lunette_session_info info;

    api_session_info(s, &info);
    return api_sized_out(ret, API_FIRST_SESSION, &info, sizeof(info));
}

int
lunette_get_session_info(const struct lunette_lun *lun, struct lunette_session_info *ret)
{
    return lunette_session_get_info(lun->s, ret);
}

static enum lunette_conn_state
info_conn_state(enum reopen_state state)
{
    switch (state) {
    case REOPEN_UP:
        return LUNETTE_CONN_LOGGED_IN;
    case REOPEN_LEAVING:
        return LUNETTE_CONN_LEAVING;
    case REOPEN_LOGIN:
        return LUNETTE_CONN_LOGIN;
    case REOPEN_NEW:
    case REOPEN_STOPPING:
    case REOPEN_WAITING:
    case REOPEN_QUEUED:
    case REOPEN_ENDING:
    case REOPEN_GAVE_UP:
    default:
        return LUNETTE_CONN_LOST;
    }
}

int
lunette_session_get_conn(const struct lunette_session *s, size_t i, struct lunette_conn_info *ret)
{
    struct lunette_conn_info conn = {.struct_size = 0};
    struct sock_addr local, peer;
    struct reopen_conn c;

    if (i >= LOGIN_CONNS_MAX || !s->logged_in || s->reopen == NULL ||
        !reopen_get_conn(s->reopen, (uint32_t)i, &c))
        return -ENOENT;
    conn.cid = c.cid;
    conn.state = info_conn_state(c.state);
    if (c.portal != NULL)
        (void)portal_format(c.portal, conn.portal, sizeof(conn.portal));
    else if (i == 0 && s->portal != NULL)
        (void)snprintf(conn.portal, sizeof(conn.portal), "%s", s->portal);
    conn.error = c.state == REOPEN_UP ? 0 : c.err;
    if (conn.error != 0 && c.why != NULL)
        (void)snprintf(conn.error_text, sizeof(conn.error_text), "%s", c.why);
    if (c.state == REOPEN_UP)
        (void)dataplane_conn_describe(s->ctx->dp, s->sid, c.cid, conn.carrier,
                                      sizeof(conn.carrier));
    if (c.state == REOPEN_UP && dataplane_conn_names(s->ctx->dp, s->sid, c.cid, &local, &peer) == 0)
        (void)sock_addr_format(&local, conn.local, sizeof(conn.local));
    return api_sized_out(ret, API_FIRST_CONN, &conn, sizeof(conn));
}

/* ---- time limits ---------------------------------------------------------------------------- */

int
lunette_session_get_timeouts(const struct lunette_session *s, struct lunette_timeouts *ret)
{
    const struct reopen_limits *limits = reopen_limits(s->reopen);
    const struct lunette_timeouts t = {
        .replacement_s = limits->replacement_timeout_s,
        .login_ms = limits->login_timeout_ms,
        .noop_interval_ms = limits->ping_interval_ms,
        .noop_timeout_ms = limits->ping_timeout_ms,
        .command_ms = s->timeout_ms > 0 ? s->timeout_ms : STACK_TIMEOUT_MS,
        .reopen_max = s->reopen_max,
    };

    return api_sized_out(ret, API_FIRST_TIMEOUTS, &t, sizeof(t));
}

static int
timeouts_check(const struct lunette_timeouts *t, struct lunette_error *err)
{
    const struct {
        const char *name;
        uint32_t value, min;
    } times[] = {{"login_ms", t->login_ms, 1},
                 {"noop_interval_ms", t->noop_interval_ms, 0},
                 {"noop_timeout_ms", t->noop_timeout_ms, 1},
                 {"command_ms", t->command_ms, 1}};

    if (t->replacement_s < -1 || t->replacement_s > ISCSI_RECOVERY_TMO_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "timeouts: replacement_s: want 0..%d seconds, or -1 for no limit",
                            ISCSI_RECOVERY_TMO_MAX);
    for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
        if (times[i].value < times[i].min || times[i].value > INFO_TIME_MAX_MS)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "timeouts: %s: want %u..%u milliseconds", times[i].name,
                                times[i].min, INFO_TIME_MAX_MS);
    }
    return 0;
}

static void
timeouts_answered(void *user, const struct iscsi_reply *rep)
{
    struct loop *loop = user;

    if (rep->err < 0)
        log_line(loop->log, LOG_LEVEL_WARN, "session %u: a time limit was not taken: %s", rep->sid,
                 rep->why.msg);
}

/* Tells the data plane of one that has changed.  What it is told later by another login is in the
 * configuration. */
static int
timeouts_tell(struct lunette_session *s, enum iscsi_param param, int64_t was, int64_t is)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = s->sid, .cid = s->cid};

    if (was == is)
        return 0;
    ev.u.set_param.param = param;
    (void)snprintf(ev.u.set_param.value, sizeof(ev.u.set_param.value), "%" PRId64, is);
    return ctl_request(s->ctx->ctl, &ev, NULL, 0, timeouts_answered, s->ctx->loop);
}

static int
timeouts_apply(struct lunette_session *s, const struct lunette_timeouts *t)
{
    struct reopen_limits *limits = reopen_limits(s->reopen);
    int r =
        timeouts_tell(s, ISCSI_PARAM_RECOVERY_TMO, limits->replacement_timeout_s, t->replacement_s);

    if (r < 0)
        return r;
    limits->replacement_timeout_s = t->replacement_s;
    reopen_limits_changed(s->reopen);
    r = timeouts_tell(s, ISCSI_PARAM_PING_INTERVAL_MS, limits->ping_interval_ms,
                      t->noop_interval_ms);
    if (r < 0)
        return r;
    limits->ping_interval_ms = t->noop_interval_ms;
    r = timeouts_tell(s, ISCSI_PARAM_PING_TIMEOUT_MS, limits->ping_timeout_ms, t->noop_timeout_ms);
    if (r < 0)
        return r;
    limits->ping_timeout_ms = t->noop_timeout_ms;
    limits->login_timeout_ms = t->login_ms;
    s->reopen_max = t->reopen_max;
    reopen_set_max(s->reopen, t->reopen_max);
    s->timeout_ms = t->command_ms;
    stack_set_timeout(s->stack, t->command_ms);
    return 0;
}

int
lunette_session_set_timeouts(struct lunette_session *s, const struct lunette_timeouts *timeouts,
                             struct lunette_error *err)
{
    struct lunette_timeouts t;
    int r = api_error_check(err);

    if (r < 0)
        return r;
    r = api_sized_in(&t, sizeof(t), timeouts, API_FIRST_TIMEOUTS);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0,
                            r == -E2BIG ? "lunette_timeouts: one is set that this library does not "
                                          "know; a newer one is needed"
                                        : "lunette_timeouts.struct_size is no size of a version: "
                                          "initialize the structure with LUNETTE_INIT");
    r = timeouts_check(&t, err);
    if (r < 0)
        return r;
    if (s->gone || !s->logged_in)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the session is gone");
    r = timeouts_apply(s, &t);
    return r < 0 ? lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r)) : 0;
}

int
lunette_session_reopen_now(struct lunette_session *s)
{
    struct reopen_info info;

    if (s->gone || !s->logged_in)
        return -ENOTCONN;
    reopen_get_info(s->reopen, &info);
    if (info.state != REOPEN_WAITING || info.rejoins)
        return -EALREADY;
    reopen_now(s->reopen);
    return 0;
}
