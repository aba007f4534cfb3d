/* SPDX-License-Identifier: MIT */
/* dataplane/session.c - sessions and connections, whoever owns them: the requests that make, change
 * and end them, and what the owners tell. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/internal.h"

static int
dp_no_memory(struct iscsi_reply *rep)
{
    return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
}

/* ---- looking up ----------------------------------------------------------------------------- */

struct dp_session *
dp_session_even_dying(struct dataplane *dp, uint32_t sid)
{
    for (struct hnode *n = htab_find(&dp->by_sid, hash_u64(0, sid)); n != NULL; n = htab_next(n)) {
        struct dp_session *ds = container_of(n, struct dp_session, hnode);

        if (ds->sid == sid)
            return ds;
    }
    return NULL;
}

struct dp_session *
dp_session_find(struct dataplane *dp, uint32_t sid)
{
    struct dp_session *ds = dp_session_even_dying(dp, sid);

    return ds != NULL && !ds->dying ? ds : NULL;
}

struct dp_conn *
dp_conn_find(struct dp_session *ds, uint16_t cid)
{
    LIST_FOREACH (n, &ds->conns) {
        struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (c->cid == cid && !c->dying)
            return c;
    }
    return NULL;
}

int
dp_session_missing(const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    return lunette_fail(&rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no session %u",
                        ev->sid);
}

int
dp_conn_missing(const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    return lunette_fail(&rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0,
                        "there is no connection %u of a session %u", ev->cid, ev->sid);
}

/* Each request that changes a thing which a client left half-made adopts it. */
void
dp_session_adopt(struct dp_session *ds)
{
    if (!ds->started)
        dp_half_adopt(ds->dp, &ds->half);
}

void
dp_conn_adopt(struct dp_conn *c)
{
    dp_session_adopt(c->session);
    if (c->state != IPC_CONN_STARTED)
        dp_half_adopt(c->session->dp, &c->half);
}

static struct dp_conn *
conn_of(struct dataplane *dp, const struct iscsi_uevent *ev)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);

    return ds != NULL ? dp_conn_find(ds, ev->cid) : NULL;
}

/* The connection that a request is going to change. */
static struct dp_conn *
conn_to_change(struct dataplane *dp, const struct iscsi_uevent *ev)
{
    struct dp_conn *c = conn_of(dp, ev);

    if (c != NULL)
        dp_conn_adopt(c);
    return c;
}

enum ipc_session_state
dp_state_of_host(enum scsi_host_state state)
{
    static const enum ipc_session_state of_host[] = {
        [SCSI_HOST_RUNNING] = IPC_SESSION_RUNNING,
        [SCSI_HOST_BLOCKED] = IPC_SESSION_BLOCKED,
        [SCSI_HOST_GONE] = IPC_SESSION_FAILED,
    };

    return of_host[state];
}

/* ---- what the owners tell ------------------------------------------------------------------- */

/* NULL where the connection was destroyed and has been let go of. */
static struct dp_conn *
conn_by_handle(struct dp_session *ds, const void *handle)
{
    LIST_FOREACH (n, &ds->conns) {
        struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (c->handle == handle)
            return c;
    }
    return NULL;
}

static void
conn_forget(struct dp_conn *c)
{
    assert(c->ep == NULL && c->session->nconns > 0);
    dp_values_fini(&c->values);
    list_del(&c->node);
    c->session->nconns--;
    free(c);
}

static bool
asks_for_logout(const struct bhs *hdr)
{
    const struct bhs_async *a = (const void *)hdr;

    return (hdr->opcode & ISCSI_OP_MASK) == ISCSI_OP_ASYNC &&
           (a->event == ISCSI_ASYNC_LOGOUT_REQUEST || a->event == ISCSI_ASYNC_NEGOTIATE);
}

static void
on_recv_pdu(void *user, void *conn, const struct bhs *hdr, const void *data, uint32_t len)
{
    struct dp_session *ds = user;
    struct dp_conn *c = conn_by_handle(ds, conn);
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .sid = ds->sid};

    if (c == NULL || c->dying || ds->dying)
        return;
    c->leaving |= asks_for_logout(hdr); /* for whoever comes later */
    ev.cid = c->cid;
    ev.u.recv_pdu.hdr = *hdr;
    assert(len <= IPC_RECV_DATA_MAX); /* DataSegmentLength has 24 bits */
    ev.u.recv_pdu.data_len = len;
    dp_event(ds->dp, &ev, data);
}

static void
on_conn_error(void *user, void *conn, const struct dp_conn_loss *loss)
{
    struct dp_session *ds = user;
    struct dp_conn *c = conn_by_handle(ds, conn);
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_CONN_ERROR, .sid = ds->sid};

    if (c == NULL || c->dying)
        return;
    c->state = IPC_CONN_DOWN;
    ev.cid = c->cid;
    ev.u.conn_error.err = loss->err;
    ev.u.conn_error.time2wait_s = loss->time2wait_s;
    ev.u.conn_error.time2retain_s = loss->time2retain_s;
    ev.u.conn_error.served = loss->served;
    ev.u.conn_error.why = loss->why;
    dp_event(ds->dp, &ev, NULL);
}

/* A session that was never started is NEW, whatever its host says, until START_CONN has gone well:
 * that the host runs is told from inside START_CONN. */
static void
on_state(void *user, enum scsi_host_state state, const struct lunette_error *why)
{
    struct dp_session *ds = user;
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_SESSION_STATE, .sid = ds->sid};

    if (ds->dying || (!ds->started && state != SCSI_HOST_RUNNING))
        return;
    if (state == SCSI_HOST_RUNNING)
        ds->lost_ns = 0;
    else if (ds->lost_ns == 0)
        ds->lost_ns = ds->dp->loop->now_ns + 1; /* never 0 */
    ev.u.session_state.state = dp_state_of_host(state);
    if (why != NULL)
        ev.u.session_state.why = *why;
    dp_event(ds->dp, &ev, NULL);
}

static void
on_conn_down(void *user, void *conn)
{
    struct dp_conn *c = conn_by_handle(user, conn);

    dp_capture_down(user, conn);
    if (c == NULL)
        return;
    assert(c->bound);
    c->bound = false;
    c->state = IPC_CONN_DOWN;
    dp_ep_unbound(c);
    if (c->dying)
        conn_forget(c);
}

static void
session_forget(struct dp_session *ds)
{
    struct dataplane *dp = ds->dp;
    struct iscsi_reply rep = {.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = ds->sid};

    assert(ds->freed && dp->nsessions > 0);
    htab_del(&dp->by_sid, &ds->hnode);
    list_del(&ds->node);
    dp->nsessions--;
    dp_adapter_leave(&ds->use);
    dp_ids_put_sid(dp->ids, ds->sid);
    dp_call_answer(dp, &ds->destroy, &rep);
    dp_values_fini(&ds->values);
    free(ds->note);
    free(ds);
    if (dp->closing)
        dp_captures_shutdown(dp);
}

static void
on_freed(void *user)
{
    struct dp_session *ds = user;
    struct dataplane *dp = ds->dp;

    assert(ds->dying && !ds->freed);
    LIST_FOREACH_SAFE (n, &ds->conns)
        conn_forget(container_of(n, struct dp_conn, node));
    dp_capture_session_over(ds);
    ds->freed = true;
    ds->s = NULL;
    ds->host = NULL;
    if (dp->upper_ops == NULL || !dp->upper_ops->gone(dp->upper, ds->sid))
        session_forget(ds);
}

static void
on_login_state(void *user, void *conn, const struct lunette_error *why)
{
    struct dp_session *ds = user;
    const struct dp_conn *c = conn_by_handle(ds, conn);
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_CONN_LOGIN_STATE, .sid = ds->sid};

    if (c == NULL || c->dying || ds->dying)
        return;
    ev.cid = c->cid;
    if (why != NULL)
        ev.u.conn_login.why = *why;
    dp_event(ds->dp, &ev, NULL);
}

static const struct dp_session_events session_events = {
    .recv_pdu = on_recv_pdu,
    .conn_error = on_conn_error,
    .conn_down = on_conn_down,
    .state = on_state,
    .freed = on_freed,
    .login_state = on_login_state,
};

/* ---- sessions ------------------------------------------------------------------------------- */

/* Fails one of the connections that are doomed.  False: there is none. */
static bool
fail_doomed(struct dp_session *ds, enum iscsi_err err, const char *why)
{
    LIST_FOREACH (n, &ds->conns) {
        struct dp_conn *c = container_of(n, struct dp_conn, node);

        if (!c->doomed)
            continue;
        c->doomed = false;
        if (!c->bound || c->dying)
            continue;
        dp_iscsi_conn_fail(c->handle, err, why);
        return true;
    }
    return false;
}

/* A connection that fails may let go at once, and with it others: the list is walked anew. */
static void
session_adapter_failed(struct dp_adapter_use *u, enum iscsi_err err, const char *why)
{
    struct dp_session *ds = container_of(u, struct dp_session, use);

    if (ds->dying || ds->ops != &dp_iscsi_session_ops)
        return;
    LIST_FOREACH (n, &ds->conns)
        container_of(n, struct dp_conn, node)->doomed = true;
    while (fail_doomed(ds, err, why)) {
    }
}

/* Ids nearly always come in ascending order; LIST_SESSIONS counts on it after they have gone round.
 */
static void
session_enter(struct dataplane *dp, struct dp_session *ds)
{
    struct list *after = dp->sessions.prev;

    while (after != &dp->sessions && container_of(after, struct dp_session, node)->sid > ds->sid)
        after = after->prev;
    list_push_front(after, &ds->node);
    htab_add(&dp->by_sid, &ds->hnode, hash_u64(0, ds->sid));
    dp->nsessions++;
}

static int
session_make(struct dataplane *dp, const struct iscsi_uevent *ev, struct dp_session *ds,
             struct lunette_error *err)
{
    struct dp_session_config cfg = {
        .loop = dp->loop,
        .tt = ds->tt,
        .initial_cmdsn = ev->u.create_session.initial_cmdsn,
        .cmds_max = ev->u.create_session.cmds_max,
        .ev = &session_events,
        .user = ds,
    };
    int r;

    ds->dp = dp;
    ds->ops = ds->tt->session_ops != NULL ? ds->tt->session_ops : &dp_iscsi_session_ops;
    list_init(&ds->conns);
    cfg.sid = ds->sid = dp_ids_take_sid(dp->ids);
    if (ds->sid == 0)
        return lunette_fail(err, -EAGAIN, LUNETTE_DOM_OS, EAGAIN, "there are %d sessions already",
                            DP_SIDS_MAX);
    ds->use.failed = session_adapter_failed;
    r = dp_adapter_join(dp, ds->tt, &ds->use, err);
    if (r < 0) {
        dp_ids_put_sid(dp->ids, ds->sid);
        return r;
    }
    cfg.host = ds->use.host;
    r = ds->ops->create(&cfg, &ds->s, &ds->host, err);
    if (r < 0) {
        dp_adapter_leave(&ds->use);
        dp_ids_put_sid(dp->ids, ds->sid);
    }
    return r;
}

int
dp_serve_create_session(struct dataplane *dp, const struct iscsi_uevent *ev,
                        struct iscsi_reply *rep)
{
    const struct iscsi_transport *tt = NULL;
    struct dp_session *ds;
    int r = dp_transport(dp, ev->u.create_session.transport, &tt, &rep->why);

    if (r < 0)
        return r;
    ds = calloc(1, sizeof(*ds));
    if (ds == NULL)
        return dp_no_memory(rep);
    ds->tt = tt;
    r = session_make(dp, ev, ds, &rep->why);
    if (r < 0) {
        free(ds);
        return r;
    }
    assert(ds->host != NULL);
    session_enter(dp, ds);
    dp_session_regions(ds);
    dp_capture_created(ds);
    dp_session_adopt(ds);
    rep->sid = ds->sid;
    return 0;
}

void
dp_session_end(struct dp_session *ds)
{
    if (ds->dying)
        return;
    ds->dying = true;
    if (ds->dp->upper_ops != NULL)
        ds->dp->upper_ops->ending(ds->dp->upper, ds->sid);
    ds->ops->teardown(ds->s);
}

void
dp_session_upper_done(struct dataplane *dp, uint32_t sid)
{
    struct dp_session *ds = dp_session_even_dying(dp, sid);

    assert(ds != NULL && ds->freed);
    session_forget(ds);
}

/* What is above the session. */
int
dp_serve_upper(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
               uint32_t data_len, struct iscsi_reply *rep)
{
    if (dp->upper_ops == NULL)
        return lunette_fail(&rep->why, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "this data plane has no SCSI units and no exports");
    if (dp_session_find(dp, ev->sid) == NULL)
        return dp_session_missing(ev, rep);
    return dp->upper_ops->serve(dp->upper, ev, data, data_len, rep);
}

/* Answered when the session is really gone. */
int
dp_serve_destroy_session(struct dataplane *dp, const struct iscsi_uevent *ev,
                         struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);

    if (ds == NULL)
        return dp_session_missing(ev, rep);
    ds->destroy = dp_call_of(dp, ev);
    dp_session_end(ds);
    return DP_ANSWERED_LATER;
}

int
dp_serve_set_note(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
                  uint32_t data_len, struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);
    uint8_t *note = NULL;

    if (ds == NULL)
        return dp_session_missing(ev, rep);
    if (data_len > IPC_NOTE_MAX)
        return lunette_fail(&rep->why, -EMSGSIZE, LUNETTE_DOM_USAGE, 0,
                            "a note of %u bytes: at most %d", data_len, IPC_NOTE_MAX);
    if (data_len > 0) {
        note = malloc(data_len);
        if (note == NULL)
            return dp_no_memory(rep);
        memcpy(note, data, data_len);
    }
    dp_session_adopt(ds);
    free(ds->note);
    ds->note = note;
    ds->note_len = data_len;
    return 0;
}

int
dp_serve_start_capture(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
                       uint32_t data_len, struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);

    return ds != NULL ? dp_capture_start(ds, ev, data, data_len, rep) : dp_session_missing(ev, rep);
}

/* ---- connections ---------------------------------------------------------------------------- */

int
dp_serve_create_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_session *ds = dp_session_find(dp, ev->sid);
    struct dp_conn *c;
    int r;

    if (ds == NULL)
        return dp_session_missing(ev, rep);
    if (ds->nconns == IPC_CONNS_MAX)
        return lunette_fail(&rep->why, -ENOSPC, LUNETTE_DOM_USAGE, 0,
                            "the session has %d connections already", IPC_CONNS_MAX);
    c = calloc(1, sizeof(*c));
    if (c == NULL)
        return dp_no_memory(rep);
    c->session = ds;
    c->cid = ev->cid;
    r = ds->ops->create_conn(ds->s, ev->cid, &c->handle, &rep->why);
    if (r < 0) {
        free(c);
        return r;
    }
    list_push_back(&ds->conns, &c->node);
    ds->nconns++;
    dp_conn_adopt(c);
    return 0;
}

void
dp_conn_end(struct dp_conn *c)
{
    bool bound = c->bound;

    assert(!c->dying);
    c->dying = true;
    c->session->ops->destroy_conn(c->handle);
    if (!bound)
        conn_forget(c); /* else conn_down comes, or has come, and forgets it */
}

int
dp_serve_destroy_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_conn *c = conn_to_change(dp, ev);

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    dp_conn_end(c);
    return 0;
}

static int
bind_conn(struct dp_conn *c, const struct iscsi_uevent *ev, struct dp_endpoint *e,
          struct iscsi_reply *rep)
{
    struct iscsi_endpoint *pub = e != NULL ? &e->pub : NULL;
    int64_t eph = e != NULL ? (int64_t)e->pub.id : ev->u.bind_conn.fd;
    int r;

    if (c->bound || (e != NULL && e->conn != NULL))
        return lunette_fail(&rep->why, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "the connection or the endpoint is bound already");
    if (e == NULL && !(c->session->tt->caps & CAP_BIND_DESCRIPTOR))
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "transport %s takes an endpoint, and no descriptor",
                            c->session->tt->name);
    if (e != NULL && !dp_ep_is_up(e))
        return lunette_fail(&rep->why, -ENOTCONN, LUNETTE_DOM_USAGE, 0,
                            "endpoint %llu is not connected", (unsigned long long)e->pub.id);
    r = c->session->ops->bind_conn(c->handle, eph, pub, ev->u.bind_conn.leading != 0, &rep->why);
    if (r < 0)
        return r;
    c->state = IPC_CONN_BOUND;
    c->bound = true;
    c->leaving = false;
    if (e != NULL)
        dp_ep_bound(e, c);
    dp_capture_bound(c->session, c, true);
    return 0;
}

void
dp_close_descriptor(struct dataplane *dp, const struct iscsi_uevent *ev)
{
    if (ev->type == ISCSI_UEVENT_BIND_CONN)
        loop_close_fd(dp->loop, ev->u.bind_conn.fd);
    if (ev->type == ISCSI_UEVENT_ENGINE_FD)
        loop_close_fd(dp->loop, ev->u.engine_fd.fd);
}

int
dp_serve_bind_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_conn *c = conn_to_change(dp, ev);
    struct dp_endpoint *e = ev->ep != 0 ? dp_ep_find(dp, ev->ep) : NULL;
    int r;

    if (c == NULL)
        r = dp_conn_missing(ev, rep);
    else if (ev->ep == 0 && ev->u.bind_conn.fd == -EMFILE)
        r = lunette_fail(&rep->why, -EMFILE, LUNETTE_DOM_OS, EMFILE,
                         "the data plane may open no further descriptors: raise its limit "
                         "(LimitNOFILE, ulimit -n)");
    else if (e == NULL && (ev->ep != 0 || ev->u.bind_conn.fd < 0))
        r = dp_ep_missing(ev, rep);
    else if (e != NULL && e->pub.tt != c->session->tt)
        r = dp_ep_missing(ev,
                          rep); /* none of its transport: an id must not pass for a descriptor */
    else
        r = bind_conn(c, ev, e, rep);
    if (r < 0 || e != NULL)
        dp_close_descriptor(dp, ev);
    return r;
}

int
dp_serve_set_param(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_conn *c = conn_to_change(dp, ev);
    enum iscsi_param p = ev->u.set_param.param;
    struct dp_values *values;
    uint32_t len;
    int r;

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    if (memchr(ev->u.set_param.value, '\0', IPC_VALUE_MAX) == NULL)
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0, "a value without an end");
    len = (uint32_t)strlen(ev->u.set_param.value);
    values = dp_param_of_conn(p) ? &c->values : &c->session->values;
    r = dp_values_reserve(values, p, len);
    if (r < 0)
        return r == -ENOMEM ? dp_no_memory(rep)
                            : lunette_fail(&rep->why, r, LUNETTE_DOM_USAGE, 0,
                                           "the values are more than %d bytes", IPC_VALUES_MAX);
    r = c->session->ops->set_param(c->handle, p, ev->u.set_param.value, &rep->why);
    if (r == 0)
        dp_values_set(values, p, ev->u.set_param.value, len);
    return r;
}

int
dp_serve_start_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_conn *c = conn_to_change(dp, ev);
    int r;

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    TRACE(dp->loop, start_conn, ev->sid, ev->cid);
    r = c->session->ops->start_conn(c->handle, &rep->why);
    if (r < 0)
        return r;
    c->state = IPC_CONN_STARTED;
    c->started = c->session->started = true;
    c->half = c->session->half = (struct dp_half){0, 0};
    if (dp->upper_ops != NULL)
        dp->upper_ops->started(dp->upper, ev->sid);
    return 0;
}

int
dp_serve_stop_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_conn *c = conn_to_change(dp, ev);

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    c->state = c->state == IPC_CONN_NEW ? IPC_CONN_NEW : IPC_CONN_DOWN;
    c->session->ops->stop_conn(c->handle, ev->u.stop_conn.how);
    return 0;
}

int
dp_serve_send_pdu(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
                  uint32_t data_len, struct iscsi_reply *rep)
{
    struct dp_conn *c = conn_to_change(dp, ev);

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    return c->session->ops->send_pdu(c->handle, &ev->u.send_pdu.hdr, data, data_len, &rep->why);
}

int
dp_serve_get_stats(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    const struct dp_conn *c = conn_of(dp, ev);

    if (c == NULL)
        return dp_conn_missing(ev, rep);
    c->session->ops->get_stats(c->handle, &rep->r.stats);
    return 0;
}
