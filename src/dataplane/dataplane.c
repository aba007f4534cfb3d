/* SPDX-License-Identifier: MIT */
/* dataplane/dataplane.c - which request is served where, and the life of a data plane. */
#include "dataplane/dataplane.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/internal.h"

/* ---- requests ------------------------------------------------------------------------------- */

typedef int serve_fn(struct dataplane *, const struct iscsi_uevent *, struct iscsi_reply *);

static serve_fn *const servers[ISCSI_UEVENT_COUNT] = {
    [ISCSI_UEVENT_TRANSPORT_EP_CONNECT] = dp_serve_ep_connect,
    [ISCSI_UEVENT_TRANSPORT_EP_POLL] = dp_serve_ep_poll,
    [ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT] = dp_serve_ep_disconnect,
    [ISCSI_UEVENT_CREATE_SESSION] = dp_serve_create_session,
    [ISCSI_UEVENT_DESTROY_SESSION] = dp_serve_destroy_session,
    [ISCSI_UEVENT_CREATE_CONN] = dp_serve_create_conn,
    [ISCSI_UEVENT_DESTROY_CONN] = dp_serve_destroy_conn,
    [ISCSI_UEVENT_BIND_CONN] = dp_serve_bind_conn,
    [ISCSI_UEVENT_SET_PARAM] = dp_serve_set_param,
    [ISCSI_UEVENT_START_CONN] = dp_serve_start_conn,
    [ISCSI_UEVENT_STOP_CONN] = dp_serve_stop_conn,
    [ISCSI_UEVENT_GET_STATS] = dp_serve_get_stats,
    [ISCSI_UEVENT_GET_TRANSPORT] = dp_serve_get_transport,
    [ISCSI_UEVENT_HELLO] = dp_serve_hello,
    [ISCSI_UEVENT_TAKE_EVENTS] = dp_serve_take_events,
    [ISCSI_UEVENT_LIST_SESSIONS] = dp_serve_list_sessions,
    [ISCSI_UEVENT_LIST_ENDPOINTS] = dp_serve_list_endpoints,
    [ISCSI_UEVENT_ADOPT] = dp_serve_adopt,
    [ISCSI_UEVENT_GET_FLIGHT] = dp_serve_get_flight,
};

/* Why a request is not served at all, or 0. */
static int
dp_refuse(const struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    if (!dp->greeted && ev->type != ISCSI_UEVENT_HELLO)
        return lunette_fail(&rep->why, -EPROTO, LUNETTE_DOM_USAGE, 0,
                            "a control plane begins with HELLO");
    if (dp->closing &&
        (ev->type == ISCSI_UEVENT_CREATE_SESSION || ev->type == ISCSI_UEVENT_TRANSPORT_EP_CONNECT))
        return lunette_fail(&rep->why, -ESHUTDOWN, LUNETTE_DOM_USAGE, 0,
                            "the data plane is going down");
    return 0;
}

static int
serve_one(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data, uint32_t data_len,
          uint8_t buf[IPC_SESSION_DATA_MAX], struct iscsi_reply *rep)
{
    int r = dp_refuse(dp, ev, rep);

    if (r < 0) {
        dp_close_descriptor(dp, ev);
        return r;
    }
    if (ev->type == ISCSI_UEVENT_SEND_PDU)
        return dp_serve_send_pdu(dp, ev, data, data_len, rep);
    if (ev->type == ISCSI_UEVENT_SET_NOTE)
        return dp_serve_set_note(dp, ev, data, data_len, rep);
    if (ev->type == ISCSI_UEVENT_START_CAPTURE)
        return dp_serve_start_capture(dp, ev, data, data_len, rep);
    if (ev->type >= ISCSI_UEVENT_SCAN_HOST && ev->type <= ISCSI_UEVENT_GET_LUN_STATS)
        return dp_serve_upper(dp, ev, data, data_len, rep);
    if (ev->type == ISCSI_UEVENT_GET_SESSION)
        return dp_serve_get_session(dp, ev, buf, rep);
    if (ev->type == ISCSI_UEVENT_GET_CONN)
        return dp_serve_get_conn(dp, ev, buf, rep);
    if (ev->type < ISCSI_UEVENT_COUNT && servers[ev->type] != NULL)
        return servers[ev->type](dp, ev, rep);
    if (ev->type >= ISCSI_UEVENT_ENGINE_FD && ev->type <= ISCSI_UEVENT_GET_HOST_STATS) {
        dp_close_descriptor(dp, ev);
        return lunette_fail(&rep->why, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "this is a data plane, and no engine");
    }
    return lunette_fail(&rep->why, -ENOSYS, LUNETTE_DOM_USAGE, 0, "request %d is not known",
                        (int)ev->type);
}

static void
dp_serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev,
         const void *data, uint32_t data_len)
{
    struct dataplane *dp = server;
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .sid = ev->sid, .cid = ev->cid};
    uint8_t buf[IPC_SESSION_DATA_MAX];

    if (dp->generation == 0 || from->binding != dp->client.binding) {
        dp_close_descriptor(dp, ev);
        rep.err = lunette_fail(&rep.why, -ESTALE, LUNETTE_DOM_USAGE, 0,
                               "this control plane is not attached any more");
    } else {
        rep.err = serve_one(dp, ev, data, data_len, buf, &rep);
    }
    if (rep.err != DP_ANSWERED_LATER)
        from->reply(from->binding, &rep);
}

const struct ipc_server_ops dataplane_server_ops = {.serve = dp_serve};

/* ---- clients -------------------------------------------------------------------------------- */

uint64_t
dataplane_set_client(struct dataplane *dp, const struct ipc_client *client)
{
    dataplane_detach(dp, dp->generation);
    dp_client_attach(dp, client);
    return dp->generation;
}

void
dataplane_detach(struct dataplane *dp, uint64_t generation)
{
    if (generation == 0 || generation != dp->generation)
        return;
    dp_client_detach(dp);
    dp_undo_schedule(dp, generation);
}

/* ---- life ----------------------------------------------------------------------------------- */

int
dataplane_new(struct loop *l, const struct transport_registry *registry, struct dataplane **ret,
              struct lunette_error *err)
{
    struct dataplane *dp = calloc(1, sizeof(*dp));

    if (dp != NULL)
        dp->ids = dp_ids_new();
    if (dp == NULL || dp->ids == NULL) {
        free(dp);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    }
    dp->own_ids = true;
    dp->loop = l;
    dp->loops = 1;
    dp->registry = registry;
    dp->limits = (struct dataplane_limits){.grace_ms = DATAPLANE_GRACE_MS,
                                           .events_max = DATAPLANE_EVENTS_MAX,
                                           .event_bytes_max = DATAPLANE_EVENT_BYTES_MAX};
    list_init(&dp->sessions);
    list_init(&dp->captures);
    htab_init(&dp->by_sid);
    dp_adapters_init(dp);
    dp_endpoints_init(dp);
    dp_client_init(dp);
    dp_undo_init(dp);
    *ret = dp;
    return 0;
}

void
dataplane_share_ids(struct dataplane *dp, struct dp_ids *ids)
{
    assert(dataplane_busy(dp) == 0 && ids != NULL);
    if (dp->own_ids)
        dp_ids_free(dp->ids);
    dp->ids = ids;
    dp->own_ids = false;
}

void
dataplane_set_limits(struct dataplane *dp, const struct dataplane_limits *limits)
{
    assert(dp->generations == 0);
    dp->limits = *limits;
}

void
dataplane_set_loops(struct dataplane *dp, uint32_t index, uint32_t loops)
{
    assert(dp->generations == 0 && index < loops);
    dp->loop_index = index;
    dp->loops = loops;
}

void
dataplane_set_upper(struct dataplane *dp, const struct dataplane_upper_ops *ops, void *upper)
{
    assert(dp->generations == 0 && dp->nsessions == 0);
    dp->upper_ops = ops;
    dp->upper = upper;
}

void
dataplane_free(struct dataplane *dp)
{
    if (dp == NULL)
        return;
    assert(dataplane_busy(dp) == 0);
    loop_timer_stop(dp->loop, &dp->undo);
    dp_endpoints_fini(dp);
    dp_adapters_fini(dp);
    dp_client_fini(dp);
    htab_fini(&dp->by_sid);
    if (dp->own_ids)
        dp_ids_free(dp->ids);
    free(dp);
}

unsigned
dataplane_busy(const struct dataplane *dp)
{
    return dp->nsessions + dp->nendpoints + dp->ncaptures;
}

/* An endpoint that a connection is bound to goes when its session has let go of that. */
void
dataplane_shutdown(struct dataplane *dp)
{
    dp->closing = true;
    LIST_FOREACH_SAFE (n, &dp->endpoints)
        dp_ep_close(container_of(n, struct dp_endpoint, node));
    LIST_FOREACH_SAFE (n, &dp->sessions)
        dp_session_end(container_of(n, struct dp_session, node));
    dp_captures_shutdown(dp);
}

void
dataplane_drop_captures(struct dataplane *dp)
{
    dp_captures_drop(dp);
}

/* ---- for those who use the sessions --------------------------------------------------------- */

struct scsi_host *
dataplane_host(struct dataplane *dp, uint32_t sid)
{
    const struct dp_session *ds = dp_session_find(dp, sid);

    return ds != NULL ? ds->host : NULL;
}

const struct iscsi_session *
dataplane_session(struct dataplane *dp, uint32_t sid)
{
    const struct dp_session *ds = dp_session_find(dp, sid);

    return ds != NULL && ds->ops == &dp_iscsi_session_ops ? dp_iscsi_session(ds->s) : NULL;
}

int
dataplane_conn_names(struct dataplane *dp, uint32_t sid, uint16_t cid, struct sock_addr *ret_local,
                     struct sock_addr *ret_peer)
{
    struct dp_session *ds = dp_session_find(dp, sid);
    const struct dp_conn *c = ds != NULL ? dp_conn_find(ds, cid) : NULL;

    return c != NULL ? dp_conn_names(c, ret_local, ret_peer) : -ENOENT;
}

int
dataplane_conn_stats(struct dataplane *dp, uint32_t sid, uint16_t cid, struct iscsi_stats *ret)
{
    struct dp_session *ds = dp_session_find(dp, sid);
    const struct dp_conn *c = ds != NULL ? dp_conn_find(ds, cid) : NULL;

    if (c == NULL)
        return -ENOENT;
    ds->ops->get_stats(c->handle, ret);
    return 0;
}

const char *
dataplane_conn_describe(struct dataplane *dp, uint32_t sid, uint16_t cid, char *buf, size_t size)
{
    struct dp_session *ds = dp_session_find(dp, sid);
    const struct dp_conn *c = ds != NULL ? dp_conn_find(ds, cid) : NULL;

    buf[0] = '\0';
    return c != NULL && dp_conn_describe(c, buf, size) ? buf : "";
}

const char *
dataplane_transport(struct dataplane *dp, uint32_t sid)
{
    const struct dp_session *ds = dp_session_find(dp, sid);

    return ds != NULL ? ds->tt->name : NULL;
}

bool
dataplane_conn_is_down(struct dataplane *dp, uint32_t sid, uint16_t cid)
{
    struct dp_session *ds = dp_session_find(dp, sid);
    const struct dp_conn *c = ds != NULL ? dp_conn_find(ds, cid) : NULL;

    return c == NULL || c->state == IPC_CONN_DOWN;
}

/* ---- for the upper -------------------------------------------------------------------------- */

void
dataplane_upper_done(struct dataplane *dp, uint32_t sid)
{
    dp_session_upper_done(dp, sid);
}

bool
dataplane_started(struct dataplane *dp, uint32_t sid)
{
    const struct dp_session *ds = dp_session_find(dp, sid);

    return ds != NULL && ds->started;
}

struct dp_call
dataplane_call_of(const struct dataplane *dp, const struct iscsi_uevent *ev)
{
    return dp_call_of(dp, ev);
}

void
dataplane_answer(struct dataplane *dp, struct dp_call *call, struct iscsi_reply *rep)
{
    dp_call_answer(dp, call, rep);
}

void
dataplane_event(struct dataplane *dp, struct iscsi_kevent *ev)
{
    dp_event(dp, ev, NULL);
}

uint64_t
dataplane_next_event(const struct dataplane *dp)
{
    return dp->last_event + 1;
}
