/* SPDX-License-Identifier: MIT */
/* engine/session.c - sessions of a client: what it wants to use, and what becomes of that.
 *
 * A client says which target at which portal it means.  The engine's login of that record is used,
 * with whatever the record says, so that all clients of it share one session at the target; where
 * there is no record one is made, unless the table is fixed.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "engine/attachment.h"

#define RECOVERY_NOT_GIVEN (-2)
#define RECOVERY_MAX       86400 /* seconds */

static int
session_fault(struct lunette_error *why, int err, const char *what)
{
    return lunette_fail(why, err, LUNETTE_DOM_USAGE, 0, "%s", what);
}

static struct engine_session *
session_find(const struct engine_attach *a, uint32_t sid)
{
    struct engine_session *s = a->session[sid % ENGINE_SESSIONS_MAX];

    return s != NULL && s->m.sid == sid ? s : NULL;
}

/* ---- what the login says -------------------------------------------------------------------- */

static void
session_tell_login(struct engine_session *s, const struct lunette_error *why)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_CONN_LOGIN_STATE, .sid = s->m.sid};

    ev.cid = s->cid;
    if (why != NULL)
        ev.u.conn_login.why = *why;
    s->login_told = true;
    (void)engine_events_send(s->attach, &ev);
}

static void
session_tell_state(struct engine_session *s, enum ipc_session_state st,
                   const struct lunette_error *why)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_SESSION_STATE, .sid = s->m.sid};

    ev.u.session_state.state = st;
    if (why != NULL)
        ev.u.session_state.why = *why;
    s->m.state = st;
    s->m.state_event = (uint32_t)engine_events_send(s->attach, &ev);
}

static void
session_on_state(struct engine_use *u, enum ipc_session_state st, const struct lunette_error *why)
{
    struct engine_session *s = container_of(u, struct engine_session, use);
    struct engine_share *sh = s->m.sharer.share;

    if (s->phase != ENGINE_SESSION_STARTED || st == IPC_SESSION_ENDING) /* gone tells of the end */
        return;
    sh->host = engine_login_host(u->login);
    if (sh->host != NULL)
        engine_share_restart(sh);
    if (!s->login_told) {
        if (st != IPC_SESSION_RUNNING && st != IPC_SESSION_FAILED)
            return; /* it is logging in */
        session_tell_login(s, st == IPC_SESSION_RUNNING ? NULL : why);
    }
    session_tell_state(s, st, why);
}

static void
session_on_gone(struct engine_use *u)
{
    struct engine_session *s = container_of(u, struct engine_session, use);
    struct lunette_error why = {.code = 0};

    s->in_use = false;
    engine_member_host_gone(&s->m);
    if (s->phase != ENGINE_SESSION_STARTED)
        return;
    s->phase = ENGINE_SESSION_NEW;
    (void)session_fault(&why, -ENOTCONN, "the engine has logged out of the target");
    if (!s->login_told)
        session_tell_login(s, &why);
    session_tell_state(s, IPC_SESSION_FAILED, &why);
}

static void
session_on_restart(struct engine_use *u)
{
    struct engine_session *s = container_of(u, struct engine_session, use);

    if (s->m.sharer.share != NULL && s->m.sharer.share->host != NULL)
        engine_share_restart(s->m.sharer.share);
}

/* ---- the end -------------------------------------------------------------------------------- */

/* It has no command and no use of a login any more. */
static void
session_free(struct engine_session *s)
{
    struct engine_attach *a = s->attach;

    a->session[s->m.sid % ENGINE_SESSIONS_MAX] = NULL;
    a->nsessions--;
    engine_lane_remove(&s->m);
    free(s);
    if (a->gone)
        loop_defer(a->site->loop, &a->end);
}

static void
session_leave_login(struct engine_session *s)
{
    if (s->m.sharer.share != NULL)
        engine_share_leave(&s->m.sharer);
    if (s->in_use)
        engine_login_leave(&s->use);
    s->in_use = false;
}

static void
session_answer(struct engine_session *s, struct engine_ask *ask)
{
    const struct ipc_client *to = &s->attach->client;
    struct iscsi_reply rep = {.type = ask->type, .seq = ask->seq, .sid = s->m.sid, .cid = ask->cid};

    if (ask->there)
        to->reply(to->binding, &rep);
    ask->there = false;
}

static void
session_stopped(struct engine_session *s)
{
    session_leave_login(s);
    engine_member_resume(&s->m);
    s->phase = ENGINE_SESSION_NEW;
    s->m.state = IPC_SESSION_NEW;
    session_answer(s, &s->stop);
    session_answer(s, &s->end);
    if (s->destroy)
        session_free(s);
}

static void
session_drained(struct engine_member *m)
{
    session_stopped(container_of(m, struct engine_session, m));
}

/* Ends its commands, and then its use of the login. */
static void
session_stop(struct engine_session *s)
{
    s->phase = ENGINE_SESSION_STOPPING;
    if (!engine_member_drain(&s->m, session_drained))
        session_stopped(s);
}

void
engine_session_drop_all(struct engine_attach *a)
{
    for (unsigned i = 0; i < ENGINE_SESSIONS_MAX; i++) {
        struct engine_session *s = a->session[i];

        if (s == NULL)
            continue;
        s->stop.there = s->end.there = false; /* nobody hears the answers */
        s->destroy = true;
        if (s->phase != ENGINE_SESSION_STOPPING)
            session_stop(s);
    }
}

/* ---- requests ------------------------------------------------------------------------------- */

static int
session_create(struct engine_attach *a, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct engine_session *s;

    if (strcmp(ev->u.create_session.transport, "session") != 0)
        return session_fault(&rep->why, -EINVAL, "an engine's sessions have the transport session");
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return session_fault(&rep->why, -ENOMEM, "no memory");
    if (engine_lane_add(a->lane, &s->m) < 0) {
        free(s);
        return session_fault(&rep->why, -EBUSY, "the client has as many sessions as it may have");
    }
    s->attach = a;
    s->recovery_tmo = RECOVERY_NOT_GIVEN;
    a->session[s->m.sid % ENGINE_SESSIONS_MAX] = s;
    a->nsessions++;
    rep->sid = s->m.sid;
    return 0;
}

static int
session_take_number(const char *text, int32_t min, int32_t max, int32_t *ret)
{
    char *end;
    long v = strtol(text, &end, 10);

    if (text[0] == '\0' || *end != '\0' || v < min || v > max)
        return -EINVAL;
    *ret = (int32_t)v;
    return 0;
}

static int
session_take_name(const char *text, char name[ISCSI_NAME_MAX + 1], struct lunette_error *why)
{
    size_t len = strlen(text);

    if (len == 0 || len > ISCSI_NAME_MAX)
        return session_fault(why, -EINVAL, "a name has 1 to 223 bytes");
    memcpy(name, text, len + 1);
    return 0;
}

static int
session_set_param(struct engine_session *s, const struct iscsi_uevent *ev,
                  struct lunette_error *why)
{
    const char *text = ev->u.set_param.value;

    if (s->phase != ENGINE_SESSION_NEW)
        return session_fault(why, -EBUSY, "the session is started: stop it first");
    if (ev->u.set_param.param == ISCSI_PARAM_TARGET_NAME)
        return session_take_name(text, s->target, why);
    if (ev->u.set_param.param == ISCSI_PARAM_INITIATOR_NAME)
        return session_take_name(text, s->initiator, why);
    if (ev->u.set_param.param == ISCSI_PARAM_PORTAL)
        return portal_parse(text, strlen(text), &s->portal, why);
    if (ev->u.set_param.param == ISCSI_PARAM_RECOVERY_TMO)
        return session_take_number(text, -1, RECOVERY_MAX, &s->recovery_tmo) == 0
                   ? 0
                   : session_fault(why, -EINVAL, "a time to wait has -1 to 86400 seconds");
    return session_fault(why, -EOPNOTSUPP, "that is the engine's to know: its record has it");
}

/* Finds or makes the record: its index or -errno. */
static int
session_find_record(struct engine_session *s, struct lunette_error *why)
{
    const struct engine_site *site = s->attach->site;
    struct flash_record r;
    int i = engine_flash_find(site->flash, s->target, &s->portal);

    if (i >= 0)
        return i;
    if (site->fixed)
        return lunette_fail(
            why, -ENOENT, LUNETTE_DOM_USAGE, 0,
            "the engine's table has no target %s at that portal, and clients cannot "
            "add to it",
            s->target);
    if (s->initiator[0] == '\0')
        return session_fault(why, -EINVAL, "the name of the initiator is not given");
    engine_flash_record_init(&r);
    (void)snprintf(r.login.target_name, sizeof(r.login.target_name), "%s", s->target);
    (void)snprintf(r.login.initiator_name, sizeof(r.login.initiator_name), "%s", s->initiator);
    r.login.portal = s->portal;
    if (s->recovery_tmo != RECOVERY_NOT_GIVEN)
        r.login.replacement_timeout_s = s->recovery_tmo;
    i = engine_flash_add(site->flash, &r, why);
    if (i == -ENOSPC)
        return session_fault(why, i, "the engine's table of targets is full");
    return i;
}

static int
session_begin(struct engine_session *s, struct lunette_error *why)
{
    const struct engine_site *site = s->attach->site;
    int i, r;

    if (s->phase != ENGINE_SESSION_NEW)
        return session_fault(why, -EBUSY, "the session is started");
    if (s->target[0] == '\0' || s->portal.host[0] == '\0')
        return session_fault(why, -EINVAL, "the name or the portal of the target is not given");
    if (offload_loop_of(s->target, site->loops) != site->index)
        return lunette_fail(why, -EXDEV, LUNETTE_DOM_USAGE, 0,
                            "%s belongs to loop %u of the engine, and this is loop %u", s->target,
                            offload_loop_of(s->target, site->loops), site->index);
    i = session_find_record(s, why);
    if (i < 0)
        return i;
    s->use = (struct engine_use){
        .state = session_on_state, .gone = session_on_gone, .restart = session_on_restart};
    (void)snprintf(s->initiator, sizeof(s->initiator), "%s",
                   engine_flash_get(site->flash, (uint32_t)i)->login.initiator_name);
    list_init(&s->use.node);
    r = engine_login_use(site->logins, (uint32_t)i, &s->use, why);
    if (r < 0)
        return r;
    if (engine_share_join(&s->attach->site->shares, site->loop, s->use.login, &s->m.sharer) < 0) {
        engine_login_leave(&s->use);
        return session_fault(why, -ENOMEM, "no memory");
    }
    s->in_use = true;
    s->phase = ENGINE_SESSION_STARTED;
    s->login_told = false;
    s->m.state = IPC_SESSION_NEW;
    return 0;
}

/* Answered when its commands have ended. */
static int
session_end(struct engine_session *s, const struct iscsi_uevent *ev, struct lunette_error *why)
{
    bool destroy = ev->type == ISCSI_UEVENT_DESTROY_SESSION;
    struct engine_ask *ask = destroy ? &s->end : &s->stop;

    if (ask->there)
        return session_fault(why, -EBUSY, "the session is being stopped");
    *ask = (struct engine_ask){true, ev->type, ev->seq, ev->cid};
    s->destroy = destroy;
    if (s->phase != ENGINE_SESSION_STOPPING)
        session_stop(s);
    return 0;
}

static uint32_t
session_pack(uint8_t *to, uint32_t at, enum iscsi_param p, const char *text)
{
    uint32_t len = (uint32_t)strlen(text);

    assert(at + IPC_VALUE_HEAD + len <= IPC_VALUES_MAX);
    to[at] = (uint8_t)p;
    to[at + 1] = (uint8_t)((unsigned)p >> 8);
    to[at + 2] = (uint8_t)len;
    to[at + 3] = (uint8_t)(len >> 8);
    memcpy(to + at + IPC_VALUE_HEAD, text, len);
    return at + IPC_VALUE_HEAD + len;
}

static void
session_describe(const struct engine_session *s, uint8_t values[IPC_VALUES_MAX],
                 struct iscsi_reply *rep)
{
    char text[PORTAL_TEXT_MAX];
    uint32_t len = session_pack(values, 0, ISCSI_PARAM_TARGET_NAME, s->target);

    len = session_pack(values, len, ISCSI_PARAM_INITIATOR_NAME, s->initiator);
    if (s->portal.host[0] != '\0')
        len = session_pack(values, len, ISCSI_PARAM_PORTAL,
                           portal_format(&s->portal, text, sizeof(text)));
    rep->r.session.next_event = s->attach->events.last + 1;
    rep->r.session.state = s->phase == ENGINE_SESSION_STOPPING ? IPC_SESSION_ENDING
                                                               : (enum ipc_session_state)s->m.state;
    (void)snprintf(rep->r.session.transport, sizeof(rep->r.session.transport), "session");
    rep->r.session.nconns = s->phase == ENGINE_SESSION_STARTED ? 1 : 0;
    rep->r.session.values_len = len;
    rep->data = values;
}

bool
engine_session_serves(enum iscsi_uevent_type type)
{
    return type == ISCSI_UEVENT_CREATE_SESSION || type == ISCSI_UEVENT_DESTROY_SESSION ||
           type == ISCSI_UEVENT_SET_PARAM || type == ISCSI_UEVENT_START_CONN ||
           type == ISCSI_UEVENT_STOP_CONN || type == ISCSI_UEVENT_GET_STATS ||
           type == ISCSI_UEVENT_GET_SESSION;
}

/* What is answered at once. */
static int
session_serve_now(struct engine_session *s, const struct iscsi_uevent *ev, uint8_t *values,
                  struct iscsi_reply *rep)
{
    if (ev->type == ISCSI_UEVENT_SET_PARAM)
        return session_set_param(s, ev, &rep->why);
    if (ev->type == ISCSI_UEVENT_START_CONN) {
        s->cid = ev->cid;
        return session_begin(s, &rep->why);
    }
    if (ev->type == ISCSI_UEVENT_GET_SESSION) {
        session_describe(s, values, rep);
        return 0;
    }
    if (s->phase != ENGINE_SESSION_STARTED)
        return session_fault(&rep->why, -ENOTCONN, "the session is not started");
    engine_login_stats(s->use.login, &rep->r.stats);
    return 0;
}

void
engine_session_serve(struct engine_attach *a, const struct iscsi_uevent *ev)
{
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .sid = ev->sid, .cid = ev->cid};
    struct engine_session *s = session_find(a, ev->sid);
    uint8_t values[IPC_VALUES_MAX];

    if (a->lane == NULL) {
        rep.err = session_fault(&rep.why, -ENOTCONN, "sessions need an attachment with memory");
    } else if (ev->type == ISCSI_UEVENT_CREATE_SESSION) {
        rep.err = session_create(a, ev, &rep);
    } else if (s == NULL || s->destroy) {
        rep.err = session_fault(&rep.why, -ENODEV, "there is no such session");
    } else if (ev->type == ISCSI_UEVENT_STOP_CONN || ev->type == ISCSI_UEVENT_DESTROY_SESSION) {
        rep.err = session_end(s, ev, &rep.why);
        if (rep.err == 0)
            return;
    } else {
        rep.err = session_serve_now(s, ev, values, &rep);
    }
    a->client.reply(a->client.binding, &rep);
}
