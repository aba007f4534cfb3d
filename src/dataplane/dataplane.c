/* SPDX-License-Identifier: MIT */
#include "dataplane/dataplane.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/htab.h"
#include "iscsi/iscsi.h"
#include "transport/transport.h"

struct dp_session {
    struct hnode hnode; /* of dataplane.by_sid */
    struct list node;
    struct iscsi_session *s;
    uint32_t sid;
    bool dying;
    uint64_t destroy_seq; /* DESTROY_SESSION that waits for its answer; 0: none */
};

struct dp_endpoint {
    struct list node;
    struct dataplane *dp;
    struct iscsi_endpoint pub; /* dd_data follows */
    int state;                 /* 1 up, 0 not yet, -errno */
};

struct dataplane {
    struct loop *loop;
    const struct transport_registry *registry;
    struct ipc_client client;
    struct list sessions, endpoints;
    struct htab by_sid; /* the sessions again */
    unsigned nsessions, nendpoints;
    uint32_t next_sid;
    uint64_t next_ep;
};

/* ---- events of the iSCSI layer -------------------------------------------------------------- */

static void
recv_pdu(void *user, struct iscsi_conn *c, const struct bhs *hdr, const void *data, uint32_t len)
{
    struct dataplane *dp = user;
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .sid = c->session->sid, .cid = c->cid};

    ev.u.recv_pdu.hdr = *hdr;
    ev.u.recv_pdu.data_len = len < IPC_PDU_DATA_MAX ? len : IPC_PDU_DATA_MAX;
    (void)dp->client.event(dp->client.binding, &ev, data);
}

static void
conn_error(void *user, struct iscsi_conn *c, enum iscsi_err err, const struct lunette_error *why)
{
    struct dataplane *dp = user;
    struct iscsi_kevent ev = {
        .type = ISCSI_KEVENT_CONN_ERROR, .sid = c->session->sid, .cid = c->cid};

    ev.u.conn_error.err = err;
    ev.u.conn_error.why = *why;
    (void)dp->client.event(dp->client.binding, &ev, NULL);
}

static struct dp_session *
find_session(struct dataplane *dp, uint32_t sid)
{
    for (struct hnode *n = htab_find(&dp->by_sid, hash_u64(0, sid)); n != NULL; n = htab_next(n)) {
        struct dp_session *ds = container_of(n, struct dp_session, hnode);

        if (ds->sid == sid)
            return ds;
    }
    return NULL;
}

static void
session_freed(void *user, uint32_t sid)
{
    struct dataplane *dp = user;
    struct dp_session *ds = find_session(dp, sid);

    assert(ds != NULL && dp->nsessions > 0);
    if (ds->destroy_seq != 0) {
        struct iscsi_reply rep = {
            .type = ISCSI_UEVENT_DESTROY_SESSION, .seq = ds->destroy_seq, .sid = sid};

        dp->client.reply(dp->client.binding, &rep);
    }
    htab_del(&dp->by_sid, &ds->hnode);
    list_del(&ds->node);
    dp->nsessions--;
    free(ds);
}

static const struct iscsi_session_events session_events = {
    .recv_pdu = recv_pdu,
    .conn_error = conn_error,
    .freed = session_freed,
};

/* ---- endpoints ------------------------------------------------------------------------------ */

static struct dp_endpoint *
find_endpoint(struct dataplane *dp, uint64_t id)
{
    LIST_FOREACH (n, &dp->endpoints) {
        struct dp_endpoint *e = container_of(n, struct dp_endpoint, node);

        if (e->pub.id == id)
            return e;
    }
    return NULL;
}

static void
ep_event(struct iscsi_endpoint *pub, int err)
{
    struct dp_endpoint *e = container_of(pub, struct dp_endpoint, pub);
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_EP_EVENT};

    assert(err <= 0);
    e->state = err < 0 ? err : 1;
    ev.u.ep_event.ep = pub->id;
    ev.u.ep_event.err = err;
    (void)e->dp->client.event(e->dp->client.binding, &ev, NULL);
}

static const struct iscsi_upcalls ep_upcalls = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_upcalls),
    .ep_event = ep_event,
};

static int
find_transport(struct dataplane *dp, const char name[IPC_NAME_MAX],
               const struct iscsi_transport **ret, struct lunette_error *err)
{
    const struct iscsi_transport *tt = NULL;

    if (memchr(name, '\0', IPC_NAME_MAX) != NULL)
        tt = transport_find(dp->registry, name);
    if (tt == NULL)
        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no transport \"%.31s\"",
                            name);
    *ret = tt;
    return 0;
}

static int
serve_get_transport(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    const struct iscsi_transport *tt = NULL;
    int r = find_transport(dp, ev->u.get_transport.transport, &tt, &rep->why);

    if (r < 0)
        return r;
    rep->r.transport.caps = tt->caps;
    rep->r.transport.max_recv_dlength = tt->max_recv_dlength;
    return 0;
}

static int
serve_ep_connect(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    const struct iscsi_transport *tt = NULL;
    struct dp_endpoint *e;
    int r = find_transport(dp, ev->u.ep_connect.transport, &tt, &rep->why);

    if (r < 0)
        return r;
    if (tt->ep_connect == NULL)
        return lunette_fail(&rep->why, -ENOTSUP, LUNETTE_DOM_USAGE, 0,
                            "transport %s takes a connected descriptor", tt->name);
    e = calloc(1, sizeof(*e) + tt->ep_size);
    if (e == NULL)
        return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    e->dp = dp;
    e->pub =
        (struct iscsi_endpoint){.tt = tt, .loop = dp->loop, .id = ++dp->next_ep, .dd_data = e + 1};
    TRACE(dp->loop, ep_connect, e->pub.id, 0);
    r = tt->ep_connect(&e->pub, &ev->u.ep_connect.to, &ep_upcalls, &rep->why);
    if (r < 0) {
        free(e);
        return r;
    }
    list_push_back(&dp->endpoints, &e->node);
    dp->nendpoints++;
    rep->r.ep = e->pub.id;
    return 0;
}

static int
no_endpoint(const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    return lunette_fail(&rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no endpoint %llu",
                        (unsigned long long)ev->ep);
}

static int
serve_ep_poll(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_endpoint *e = find_endpoint(dp, ev->ep);
    int r;

    if (e == NULL)
        return no_endpoint(ev, rep);
    r = e->state != 0 ? e->state : e->pub.tt->ep_poll(&e->pub);
    TRACE(dp->loop, ep_poll, ev->ep, r);
    if (r < 0)
        return lunette_fail(&rep->why, r, LUNETTE_DOM_CONNECT, (uint32_t)-r, "cannot connect: %s",
                            errno_text(-r));
    rep->r.value = r;
    return 0;
}

static int
serve_ep_disconnect(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_endpoint *e = find_endpoint(dp, ev->ep);

    if (e == NULL)
        return no_endpoint(ev, rep);
    TRACE(dp->loop, ep_disconnect, ev->ep, 0);
    e->pub.tt->ep_disconnect(&e->pub);
    list_del(&e->node);
    dp->nendpoints--;
    free(e);
    return 0;
}

/* ---- sessions and connections --------------------------------------------------------------- */

static int
no_conn(const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    return lunette_fail(&rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0,
                        "there is no connection %u of a session %u", ev->cid, ev->sid);
}

static struct iscsi_conn *
find_conn(struct dataplane *dp, const struct iscsi_uevent *ev)
{
    struct dp_session *ds = find_session(dp, ev->sid);

    return ds != NULL && !ds->dying ? iscsi_conn_find(ds->s, ev->cid) : NULL;
}

static int
serve_create_session(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    const struct iscsi_transport *tt = NULL;
    struct dp_session *ds;
    int r = find_transport(dp, ev->u.create_session.transport, &tt, &rep->why);

    if (r < 0)
        return r;
    ds = calloc(1, sizeof(*ds));
    if (ds == NULL)
        return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    ds->sid = ++dp->next_sid;
    r = iscsi_session_setup(dp->loop, tt,
                            &(struct iscsi_session_config){
                                .sid = ds->sid,
                                .initial_cmdsn = ev->u.create_session.initial_cmdsn,
                                .cmds_max = ev->u.create_session.cmds_max,
                                .ev = &session_events,
                                .user = dp,
                            },
                            &ds->s, &rep->why);
    if (r < 0) {
        free(ds);
        return r;
    }
    htab_add(&dp->by_sid, &ds->hnode, hash_u64(0, ds->sid));
    list_push_back(&dp->sessions, &ds->node);
    dp->nsessions++;
    rep->sid = ds->sid;
    return 0;
}

/* Answered when the session is really gone. */
static int
serve_destroy_session(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_session *ds = find_session(dp, ev->sid);

    if (ds == NULL || ds->dying)
        return lunette_fail(&rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no session %u",
                            ev->sid);
    ds->dying = true;
    ds->destroy_seq = ev->seq;
    iscsi_session_teardown(ds->s);
    return -EINPROGRESS;
}

static int
serve_create_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_session *ds = find_session(dp, ev->sid);
    struct iscsi_conn *c;

    if (ds == NULL || ds->dying)
        return no_conn(ev, rep);
    return iscsi_conn_setup(ds->s, ev->cid, &c, &rep->why);
}

static int
serve_destroy_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct iscsi_conn *c = find_conn(dp, ev);

    if (c == NULL)
        return no_conn(ev, rep);
    iscsi_conn_teardown(c);
    return 0;
}

static int
serve_bind_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct iscsi_conn *c = find_conn(dp, ev);
    struct dp_endpoint *e = ev->ep != 0 ? find_endpoint(dp, ev->ep) : NULL;
    int r;

    if (c == NULL || (ev->u.bind_conn.fd < 0 && e == NULL)) {
        r = no_conn(ev, rep);
    } else if (e != NULL && e->pub.tt != c->tt) {
        r = no_endpoint(ev, rep); /* none of its transport: an id must not pass for a descriptor */
    } else {
        r = iscsi_conn_bind(c, e != NULL ? (int64_t)e->pub.id : ev->u.bind_conn.fd,
                            e != NULL ? &e->pub : NULL, ev->u.bind_conn.leading != 0, &rep->why);
    }
    if (r < 0 && ev->u.bind_conn.fd >= 0) {
        struct stream *s;

        /* The descriptor is ours by contract; only the loop knows how to close it. */
        if (stream_adopt(dp->loop, ev->u.bind_conn.fd, &(struct stream_events){0}, NULL, &s) == 0)
            stream_close(s);
    }
    return r;
}

static int
serve_set_param(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct iscsi_conn *c = find_conn(dp, ev);

    if (c == NULL)
        return no_conn(ev, rep);
    if (memchr(ev->u.set_param.value, '\0', IPC_VALUE_MAX) == NULL)
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0, "a value without an end");
    return iscsi_set_param(c, ev->u.set_param.param, ev->u.set_param.value, &rep->why);
}

static int
serve_start_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct iscsi_conn *c = find_conn(dp, ev);

    if (c == NULL)
        return no_conn(ev, rep);
    TRACE(dp->loop, start_conn, ev->sid, ev->cid);
    return iscsi_conn_start(c, &rep->why);
}

static int
serve_stop_conn(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct iscsi_conn *c = find_conn(dp, ev);

    if (c == NULL)
        return no_conn(ev, rep);
    iscsi_conn_stop(c, ev->u.stop_conn.how);
    return 0;
}

static int
serve_send_pdu(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data,
               uint32_t data_len, struct iscsi_reply *rep)
{
    struct iscsi_conn *c = find_conn(dp, ev);

    if (c == NULL)
        return no_conn(ev, rep);
    return iscsi_conn_send_pdu(c, &ev->u.send_pdu.hdr, data, data_len, &rep->why);
}

static int
serve_get_stats(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct iscsi_conn *c = find_conn(dp, ev);

    if (c == NULL)
        return no_conn(ev, rep);
    rep->r.stats = c->stats;
    if (c->tt->get_stats != NULL)
        c->tt->get_stats(c, &rep->r.stats);
    return 0;
}

static void
serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev, const void *data,
      uint32_t data_len)
{
    static int (*const table[ISCSI_UEVENT_COUNT])(struct dataplane *, const struct iscsi_uevent *,
                                                  struct iscsi_reply *) = {
        [ISCSI_UEVENT_TRANSPORT_EP_CONNECT] = serve_ep_connect,
        [ISCSI_UEVENT_TRANSPORT_EP_POLL] = serve_ep_poll,
        [ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT] = serve_ep_disconnect,
        [ISCSI_UEVENT_CREATE_SESSION] = serve_create_session,
        [ISCSI_UEVENT_DESTROY_SESSION] = serve_destroy_session,
        [ISCSI_UEVENT_CREATE_CONN] = serve_create_conn,
        [ISCSI_UEVENT_DESTROY_CONN] = serve_destroy_conn,
        [ISCSI_UEVENT_BIND_CONN] = serve_bind_conn,
        [ISCSI_UEVENT_SET_PARAM] = serve_set_param,
        [ISCSI_UEVENT_START_CONN] = serve_start_conn,
        [ISCSI_UEVENT_STOP_CONN] = serve_stop_conn,
        [ISCSI_UEVENT_GET_STATS] = serve_get_stats,
        [ISCSI_UEVENT_GET_TRANSPORT] = serve_get_transport,
    };
    struct dataplane *dp = server;
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .sid = ev->sid, .cid = ev->cid};

    if (ev->type == ISCSI_UEVENT_SEND_PDU)
        rep.err = serve_send_pdu(dp, ev, data, data_len, &rep);
    else if (ev->type < ISCSI_UEVENT_COUNT && table[ev->type] != NULL)
        rep.err = table[ev->type](dp, ev, &rep);
    else
        rep.err = lunette_fail(&rep.why, -ENOSYS, LUNETTE_DOM_USAGE, 0, "request %d is not known",
                               (int)ev->type);
    if (rep.err != -EINPROGRESS)
        from->reply(from->binding, &rep);
}

const struct ipc_server_ops dataplane_server_ops = {.serve = serve};

/* ---- life ----------------------------------------------------------------------------------- */

int
dataplane_new(struct loop *l, const struct transport_registry *registry, struct dataplane **ret,
              struct lunette_error *err)
{
    struct dataplane *dp = calloc(1, sizeof(*dp));

    if (dp == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    dp->loop = l;
    dp->registry = registry;
    list_init(&dp->sessions);
    list_init(&dp->endpoints);
    htab_init(&dp->by_sid);
    *ret = dp;
    return 0;
}

void
dataplane_free(struct dataplane *dp)
{
    if (dp == NULL)
        return;
    assert(dataplane_busy(dp) == 0);
    htab_fini(&dp->by_sid);
    free(dp);
}

unsigned
dataplane_busy(const struct dataplane *dp)
{
    return dp->nsessions + dp->nendpoints;
}

void
dataplane_shutdown(struct dataplane *dp)
{
    LIST_FOREACH_SAFE (n, &dp->endpoints) {
        struct dp_endpoint *e = container_of(n, struct dp_endpoint, node);

        e->pub.tt->ep_disconnect(&e->pub);
        list_del(&e->node);
        dp->nendpoints--;
        free(e);
    }
    LIST_FOREACH (n, &dp->sessions) {
        struct dp_session *ds = container_of(n, struct dp_session, node);

        if (!ds->dying) {
            ds->dying = true;
            iscsi_session_teardown(ds->s);
        }
    }
}

void
dataplane_set_client(struct dataplane *dp, const struct ipc_client *client)
{
    dp->client = *client;
}

struct scsi_host *
dataplane_host(struct dataplane *dp, uint32_t sid)
{
    struct dp_session *ds = find_session(dp, sid);

    return ds != NULL && !ds->dying ? iscsi_session_host(ds->s) : NULL;
}

const struct iscsi_session *
dataplane_session(struct dataplane *dp, uint32_t sid)
{
    struct dp_session *ds = find_session(dp, sid);

    return ds != NULL ? ds->s : NULL;
}
