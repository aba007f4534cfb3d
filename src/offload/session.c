/* SPDX-License-Identifier: MIT */
#include "offload/session.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "offload/command.h"
#include "offload/entry.h"
#include "offload/ep.h"
#include "offload/session_priv.h"
#include "wire/text.h"

#define RECOVERY_TMO_S 120 /* until it is told */
#define AGAIN_MS       1000
#define AGAIN_MAX_MS   30000
#define KEPT_MS        2000 /* for answers that are in the ring when a session has ended */

/* What an engine is told, in this order.  Without the first of them it cannot log in. */
static const enum iscsi_param told[] = {
    ISCSI_PARAM_TARGET_NAME,      ISCSI_PARAM_INITIATOR_NAME,
    ISCSI_PARAM_PORTAL,           ISCSI_PARAM_ISID,
    ISCSI_PARAM_PING_INTERVAL_MS, ISCSI_PARAM_PING_TIMEOUT_MS,
    ISCSI_PARAM_ABORT_TIMEOUT_MS, ISCSI_PARAM_LU_RESET_TIMEOUT_MS,
    ISCSI_PARAM_RECOVERY_TMO,     ISCSI_PARAM_TGT_RESET_TIMEOUT_MS};
#define TOLD        (sizeof(told) / sizeof(told[0]))
#define TOLD_NEEDED 3u

static void session_go(struct offload_session *s);
static void offload_session_moved(struct offload_session *s);

static struct offload_session *
session_of(struct offload_user *u)
{
    return container_of(u, struct offload_session, user);
}

static struct offload_session *
session_of_call(struct offload_call *c)
{
    return container_of(c, struct offload_session, call);
}

/* ---- the state of the host ------------------------------------------------------------------ */

static void
session_recovery_starts(struct offload_session *s)
{
    uint64_t waited = s->loop->now_ns - s->blocked_ns, limit;
    bool never = s->recovery_tmo_s == ISCSI_RECOVERY_TMO_NEVER;

    s->host.patience_ns = never ? 0 : (uint64_t)s->recovery_tmo_s * LOOP_NS_PER_S;
    loop_timer_stop(s->loop, &s->recovery);
    if (s->host.state != SCSI_HOST_BLOCKED || never || s->blocked_ns == 0)
        return;
    limit = s->host.patience_ns;
    loop_timer_start(s->loop, &s->recovery, limit > waited ? limit - waited : 0);
}

static void
session_set_state(struct offload_session *s, enum scsi_host_state state,
                  const struct lunette_error *why)
{
    if (s->host.state == state)
        return;
    s->host.state = state;
    s->blocked_ns = state == SCSI_HOST_BLOCKED ? s->loop->now_ns : 0;
    session_recovery_starts(s);
    s->ev->state(s->ev_user, state, why);
    if (s->host.ev != NULL)
        s->host.ev->state(s->host.ev_user, state, why);
    if (state == SCSI_HOST_GONE)
        offload_host_give_up(s);
    offload_host_moved(s);
}

static void
session_is_gone(struct offload_session *s, const char *what)
{
    struct lunette_error why;

    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "%s", what);
    session_set_state(s, SCSI_HOST_GONE, &why);
}

static void
session_on_recovery(struct loop_timer *t)
{
    struct offload_session *s = container_of(t, struct offload_session, recovery);
    struct lunette_error why;

    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_TIMEOUT, (uint32_t)s->recovery_tmo_s,
                       "the session was not recovered within %d s", s->recovery_tmo_s);
    session_set_state(s, SCSI_HOST_GONE, &why);
    offload_session_moved(s);
}

/* A number is that of an event, of which the low 32 bits count up. */
static void
session_stated(struct offload_session *s, enum ipc_session_state st, uint32_t number,
               const struct lunette_error *why)
{
    struct lunette_error unknown;

    if (s->phase != OFFLOAD_IN || (int32_t)(number - s->state_event) <= 0)
        return;
    s->state_event = number;
    (void)lunette_fail(&unknown, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                       "the engine has lost the session");
    if (why == NULL || why->code >= 0)
        why = &unknown;
    switch (st) {
    case IPC_SESSION_RUNNING:
        session_set_state(s, SCSI_HOST_RUNNING, NULL);
        break;
    case IPC_SESSION_BLOCKED:
        if (s->host.state != SCSI_HOST_GONE) /* nobody waits for it any more */
            session_set_state(s, SCSI_HOST_BLOCKED, why);
        break;
    case IPC_SESSION_FAILED:
    case IPC_SESSION_ENDING:
        session_set_state(s, SCSI_HOST_GONE, why);
        break;
    case IPC_SESSION_NEW:
    case IPC_SESSION_STATES:
        break;
    }
}

/* ---- logging in ----------------------------------------------------------------------------- */

/* The engine does not know of the session (any more). */
static void
session_out(struct offload_session *s)
{
    s->phase = OFFLOAD_OUT;
    s->esid = s->user.sid = 0;
    s->came_up = s->asking = false;
}

static void
session_ask(struct offload_session *s, struct iscsi_uevent *ev, enum offload_phase phase,
            void (*done)(struct offload_call *c, const struct iscsi_reply *rep))
{
    s->phase = phase;
    s->asking = true;
    s->call.done = done;
    ev->sid = s->esid;
    offload_ask(s->user.at, ev, &s->call,
                phase == OFFLOAD_LEAVING ? OFFLOAD_LEAVE_MS : OFFLOAD_ANSWER_MS);
}

/* The first login is over, or there is another try later. */
static void
session_refused(struct offload_session *s, const struct lunette_error *why)
{
    struct lunette_error copy = *why;
    uint64_t ms = AGAIN_MS;

    if (s->due) {
        s->due = s->wanted = s->user.keeps = false;
        s->ev->login_state(s->ev_user, s->conn, &copy);
        return;
    }
    for (unsigned i = 0; i < s->refusals && ms < AGAIN_MAX_MS; i++)
        ms *= 2;
    if (ms > AGAIN_MAX_MS)
        ms = AGAIN_MAX_MS;
    s->refusals++;
    log_line(s->loop->log, LOG_LEVEL_WARN, "%s: the engine did not log in again: %s",
             s->value[ISCSI_PARAM_TARGET_NAME], copy.msg);
    ms = ms / 2 + loop_random(s->loop) % (ms / 2 + 1);
    loop_timer_start(s->loop, &s->again, ms * LOOP_NS_PER_MS);
}

/* The engine has the session, and may not keep it. */
static void
session_refused_there(struct offload_session *s, const struct lunette_error *why)
{
    s->phase = OFFLOAD_REFUSED;
    session_refused(s, why);
    session_go(s);
}

static void
session_is_in(struct offload_session *s)
{
    s->phase = OFFLOAD_IN;
    s->refusals = 0;
    session_set_state(s, SCSI_HOST_RUNNING, NULL);
    if (!s->due)
        return;
    s->due = false;
    s->ev->login_state(s->ev_user, s->conn, NULL);
}

static void
session_on_started(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct offload_session *s = session_of_call(c);

    s->asking = false;
    if (rep->err < 0) {
        session_refused_there(s, &rep->why);
    } else if (s->came_up && s->why.code < 0) {
        session_refused_there(s, &s->why);
    } else if (s->came_up && s->wanted) {
        session_is_in(s);
    } else {
        s->phase = OFFLOAD_LOGIN;
        session_go(s);
    }
}

static void
session_on_told(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct offload_session *s = session_of_call(c);

    s->asking = false;
    /* What an engine does not take of the others is its own to choose. */
    if (rep->err < 0 && s->at <= TOLD_NEEDED)
        session_refused_there(s, &rep->why);
    else
        session_go(s);
}

static void
session_on_created(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct offload_session *s = session_of_call(c);

    s->asking = false;
    if (rep->err < 0) {
        session_out(s);
        session_refused(s, &rep->why);
        offload_session_moved(s);
        return;
    }
    if (rep->sid == 0) {
        offload_lost(s->user.at, -EPROTO, "has made a session without a number");
        return;
    }
    s->esid = s->user.sid = rep->sid;
    s->phase = OFFLOAD_TELLING;
    s->at = 0;
    session_go(s);
}

static void
session_create_there(struct offload_session *s)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};

    s->came_up = false;
    s->state_event = 0;
    memcpy(ev.u.create_session.transport, "session", sizeof("session"));
    ev.u.create_session.cmds_max = s->host.can_queue;
    session_ask(s, &ev, OFFLOAD_CREATING, session_on_created);
}

/* The next value; or all are told, and the engine is to log in. */
static void
session_tell(struct offload_session *s)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_CONN};

    while (s->at < TOLD && s->value[told[s->at]] == NULL)
        s->at++;
    if (s->at == TOLD) {
        session_ask(s, &ev, OFFLOAD_STARTING, session_on_started);
        return;
    }
    ev.type = ISCSI_UEVENT_SET_PARAM;
    ev.u.set_param.param = told[s->at];
    memcpy(ev.u.set_param.value, s->value[told[s->at]], strlen(s->value[told[s->at]]));
    s->at++;
    session_ask(s, &ev, OFFLOAD_TELLING, session_on_told);
}

/* Answers may still be in the ring, which is looked at before anything is made of it. */
static void
session_on_left(struct offload_call *c, const struct iscsi_reply *rep)
{
    struct offload_session *s = session_of_call(c);

    (void)rep; /* it is gone in any case */
    session_out(s);
    if (s->live > 0) {
        loop_defer(s->loop, &s->user.at->turn);
        loop_timer_start(s->loop, &s->again, KEPT_MS * LOOP_NS_PER_MS);
    }
    session_go(s); /* a login may have been refused, and another is due */
    offload_session_moved(s);
}

/* Not with an engine that takes less than what the host has promised. */
static void
session_begin_there(struct offload_session *s)
{
    struct lunette_error why;

    if (offload_host_attached(s, &why) < 0)
        session_refused(s, &why);
    else
        session_create_there(s);
}

/* Does what is next, unless an answer is waited for. */
static void
session_go(struct offload_session *s)
{
    struct iscsi_uevent leave = {.type = ISCSI_UEVENT_DESTROY_SESSION};

    /* It may be lost, and others be told before us. */
    if (s->asking || s->user.at == NULL || !s->user.up || s->user.at->state != OFFLOAD_UP)
        return;
    if (s->phase == OFFLOAD_OUT) {
        if (s->wanted && !loop_timer_running(&s->again))
            session_begin_there(s);
    } else if (!s->wanted || s->phase == OFFLOAD_REFUSED) {
        session_ask(s, &leave, OFFLOAD_LEAVING, session_on_left);
    } else if (s->phase == OFFLOAD_TELLING) {
        session_tell(s);
    }
}

/* There was no memory to join the loop that has the target: begins with the first again. */
static void
session_join(struct offload_session *s)
{
    struct lunette_error why;

    if (offload_join(s->conn->ad, &s->conn->opt, 0, &s->user, &why) < 0)
        session_refused(s, &why);
}

/* Another login is due; or answers that were in the ring should have been taken by now. */
static void
session_on_again(struct loop_timer *t)
{
    struct offload_session *s = container_of(t, struct offload_session, again);

    if (s->live > 0 && s->phase == OFFLOAD_OUT && s->user.at != NULL)
        offload_lost(s->user.at, -EPROTO, "has ended a session and not its commands");
    else if (s->user.at == NULL && s->wanted)
        session_join(s);
    else
        session_go(s);
}

/* ---- what the attachment tells -------------------------------------------------------------- */

/* The attachment is to that loop of the engine which has the target, or another one is joined. */
static bool
session_is_at_home(struct offload_session *s, struct lunette_error *err)
{
    struct offload_attach *at = s->user.at;
    uint32_t home = offload_loop_of(s->value[ISCSI_PARAM_TARGET_NAME], at->loops);

    if (home == at->index)
        return true;
    offload_leave(&s->user);
    if (offload_join(s->conn->ad, &s->conn->opt, home, &s->user, err) < 0)
        session_refused(s, err);
    return false;
}

static void
session_attached(struct offload_user *u)
{
    struct offload_session *s = session_of(u);
    struct lunette_error why;

    if (s->wanted && session_is_at_home(s, &why))
        session_go(s);
}

static void
session_failed(struct offload_user *u, const struct lunette_error *why)
{
    struct offload_session *s = session_of(u);

    session_out(s);
    loop_timer_stop(s->loop, &s->again);
    if (s->due)
        session_refused(s, why);
    else if (s->wanted && s->host.state != SCSI_HOST_GONE)
        session_set_state(s, SCSI_HOST_BLOCKED, why);
    if (s->host.state == SCSI_HOST_GONE)
        offload_host_give_up(s);
    offload_session_moved(s);
}

static void
session_fenced(struct offload_user *u)
{
    offload_session_moved(session_of(u));
}

static void
session_login_event(struct offload_session *s, const struct iscsi_kevent *ev)
{
    s->why = ev->u.conn_login.why;
    if (s->phase == OFFLOAD_STARTING) {
        s->came_up = true;
        s->state_event = (uint32_t)ev->number;
    } else if (s->phase == OFFLOAD_LOGIN && s->wanted) {
        s->state_event = (uint32_t)ev->number;
        if (s->why.code < 0)
            session_refused_there(s, &s->why);
        else
            session_is_in(s);
    }
}

static void
offload_session_event(struct offload_user *u, const struct iscsi_kevent *ev)
{
    struct offload_session *s = session_of(u);

    if (ev->type == ISCSI_KEVENT_CONN_LOGIN_STATE)
        session_login_event(s, ev);
    else if (ev->type == ISCSI_KEVENT_SESSION_STATE)
        session_stated(s, ev->u.session_state.state, (uint32_t)ev->number,
                       &ev->u.session_state.why);
    else if (ev->type == ISCSI_KEVENT_SESSION_GONE && s->phase == OFFLOAD_IN)
        session_is_gone(s, "the engine was told to log out of the target");
}

/* ---- the connection ------------------------------------------------------------------------- */

static void
session_tell_logged_out(struct offload_session *s)
{
    union bhs_any h;

    s->logout = false;
    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    s->ev->recv_pdu(s->ev_user, s->conn, &h.h, NULL, 0);
}

static void
session_conn_down(struct offload_session *s)
{
    struct offload_conn *c = s->conn;
    bool destroyed = c->destroyed; /* else whoever is told may do that, and it is gone */

    c->bound = c->stopping = false;
    loop_timer_stop(s->loop, &s->again);
    offload_leave(&s->user);
    s->ev->conn_down(s->ev_user, c);
    if (!destroyed)
        return;
    s->conn = NULL;
    free(c);
}

/* Tells what is due, once nothing of the session is with an engine. */
static void
offload_session_moved(struct offload_session *s)
{
    if (s->phase == OFFLOAD_OUT && !s->asking && s->live == 0) {
        if (s->logout && s->conn != NULL && !s->conn->stopping)
            session_tell_logged_out(s);
        if (s->conn != NULL && s->conn->stopping)
            session_conn_down(s);
    }
    if (s->dying && (s->conn == NULL || !s->conn->bound) && offload_host_idle(s))
        loop_defer(s->loop, &s->freed);
}

static void
offload_session_leave(struct offload_session *s)
{
    s->wanted = s->due = s->user.keeps = false;
    loop_timer_stop(s->loop, &s->again);
    session_go(s);
}

static void
offload_stop_conn(void *conn, enum iscsi_stop how)
{
    struct offload_conn *c = conn;
    struct offload_session *s = c->s;
    struct lunette_error why;

    if (!c->bound)
        return;
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the session was stopped");
    if (how == STOP_CONN_TERM)
        session_set_state(s, SCSI_HOST_GONE, &why);
    else if (s->host.state == SCSI_HOST_RUNNING)
        session_set_state(s, SCSI_HOST_BLOCKED, &why);
    c->stopping = true;
    offload_session_leave(s);
    offload_session_moved(s);
}

static int
offload_create_conn(void *session, uint16_t cid, void **ret_conn, struct lunette_error *err)
{
    struct offload_session *s = session;
    struct offload_conn *c;

    if (s->conn != NULL)
        return lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0,
                            "a session of an engine has one connection here: how many it has to "
                            "the target is the engine's");
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    c->s = s;
    c->cid = cid;
    s->conn = c;
    *ret_conn = c;
    return 0;
}

static void
offload_destroy_conn(void *conn)
{
    struct offload_conn *c = conn;
    struct offload_session *s = c->s;

    c->destroyed = true;
    if (c->bound) {
        offload_stop_conn(c, STOP_CONN_TERM);
        return;
    }
    s->conn = NULL;
    free(c);
}

static int
offload_bind_conn(void *conn, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                  struct lunette_error *err)
{
    struct offload_conn *c = conn;

    (void)eph;
    (void)leading;
    if (ep == NULL)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "a session of an engine is bound to an endpoint, and to no descriptor");
    c->opt = ((const struct offload_ep *)ep->dd_data)->opt;
    c->ad = ep->host->dd_data;
    c->bound = true;
    return 0;
}

static int
offload_start_conn(void *conn, struct lunette_error *err)
{
    struct offload_conn *c = conn;
    struct offload_session *s = c->s;
    int r;

    if (!c->bound || c->stopping)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_USAGE, 0,
                            "the connection is not bound to an endpoint");
    if (s->user.at != NULL)
        return lunette_fail(err, -EALREADY, LUNETTE_DOM_USAGE, 0,
                            "the session has been started already");
    for (unsigned i = 0; i < TOLD_NEEDED; i++) {
        if (s->value[told[i]] == NULL)
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                                "an engine has to be told the names of target and initiator, and "
                                "the portal");
    }
    session_out(s);
    s->logout = false;
    r = offload_join(c->ad, &c->opt, 0, &s->user, err);
    if (r < 0)
        return r;
    s->wanted = s->due = s->user.keeps = true;
    return 0;
}

static int
session_take_recovery(struct offload_session *s, const char *value, struct lunette_error *err)
{
    uint64_t n = 0;

    if (strcmp(value, "-1") != 0 &&
        (text_parse_num(value, strlen(value), &n) < 0 || n > (uint64_t)ISCSI_RECOVERY_TMO_MAX))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the replacement timeout is -1, or 0..%d seconds",
                            ISCSI_RECOVERY_TMO_MAX);
    s->recovery_tmo_s = value[0] == '-' ? ISCSI_RECOVERY_TMO_NEVER : (int32_t)n;
    session_recovery_starts(s);
    return 0;
}

/* What changes while the engine is logged in is told it with the next login. */
static int
offload_set_param(void *conn, enum iscsi_param p, const char *value, struct lunette_error *err)
{
    struct offload_session *s = ((struct offload_conn *)conn)->s;
    char *copy;

    if (p >= ISCSI_PARAM_COUNT)
        return lunette_fail(err, -ENOTSUP, LUNETTE_DOM_USAGE, 0, "parameter %d is not known",
                            (int)p);
    if (p == ISCSI_PARAM_RECOVERY_TMO && session_take_recovery(s, value, err) < 0)
        return -EINVAL;
    copy = strndup(value, IPC_VALUE_MAX - 1);
    if (copy == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    free(s->value[p]);
    s->value[p] = copy;
    return 0;
}

/* The one PDU that means something here: the client lets go of the session, which stays the
 * engine's, and is told when it has. */
static int
offload_send_pdu(void *conn, const struct bhs *hdr, const void *data, uint32_t len,
                 struct lunette_error *err)
{
    struct offload_conn *c = conn;
    struct offload_session *s = c->s;
    struct lunette_error why;

    (void)data;
    (void)len;
    if ((hdr->opcode & ISCSI_OP_MASK) != ISCSI_OP_LOGOUT_REQ)
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "the engine has the connections of this session: no PDU can be sent "
                            "on them from here");
    if (!c->bound || c->stopping)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the session is not logged in");
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0, "the session is being left");
    s->logout = true;
    if (s->host.state == SCSI_HOST_RUNNING)
        session_set_state(s, SCSI_HOST_BLOCKED, &why);
    offload_session_leave(s);
    loop_defer(s->loop, &s->work); /* it may be over */
    return 0;
}

static void
offload_get_stats(void *conn, struct iscsi_stats *ret)
{
    *ret = ((const struct offload_conn *)conn)->s->stats;
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
session_on_freed(struct loop_work *w)
{
    struct offload_session *s = container_of(w, struct offload_session, freed);

    if (!offload_host_idle(s))
        return; /* it comes again */
    assert(s->dying && s->user.at == NULL);
    if (s->host.ev != NULL && s->host.ev->freed != NULL)
        s->host.ev->freed(s->host.ev_user);
    loop_timer_stop(s->loop, &s->recovery);
    loop_timer_stop(s->loop, &s->again);
    offload_host_fini(s);
    for (unsigned i = 0; i < ISCSI_PARAM_COUNT; i++)
        free(s->value[i]);
    free(s->conn);
    s->ev->freed(s->ev_user);
    free(s);
}

static int
offload_create(const struct dp_session_config *cfg, void **ret_session, struct scsi_host **ret_host,
               struct lunette_error *err)
{
    struct offload_session *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for a session");
    s->loop = cfg->loop;
    s->ev = cfg->ev;
    s->ev_user = cfg->user;
    s->stated = session_stated;
    s->moved = offload_session_moved;
    s->recovery_tmo_s = RECOVERY_TMO_S;
    s->user.attached = session_attached;
    s->user.failed = session_failed;
    s->user.fenced = session_fenced;
    s->user.event = offload_session_event;
    list_init(&s->call.node);
    loop_timer_init(&s->recovery, session_on_recovery);
    loop_timer_init(&s->again, session_on_again);
    loop_work_init(&s->freed, session_on_freed);
    offload_host_init(s, cfg->sid, cfg->cmds_max);
    *ret_session = s;
    *ret_host = &s->host;
    return 0;
}

static void
offload_teardown(void *session)
{
    struct offload_session *s = session;

    assert(!s->dying);
    s->dying = true;
    session_is_gone(s, "the session was closed");
    if (s->conn != NULL && s->conn->bound)
        offload_stop_conn(s->conn, STOP_CONN_TERM);
    offload_session_moved(s);
}

const struct dp_session_ops offload_session_ops = {
    .size = sizeof(struct dp_session_ops),
    .create = offload_create,
    .teardown = offload_teardown,
    .create_conn = offload_create_conn,
    .destroy_conn = offload_destroy_conn,
    .bind_conn = offload_bind_conn,
    .start_conn = offload_start_conn,
    .stop_conn = offload_stop_conn,
    .set_param = offload_set_param,
    .send_pdu = offload_send_pdu,
    .get_stats = offload_get_stats,
};
