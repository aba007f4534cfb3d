/* SPDX-License-Identifier: MIT */
/* What stands above the iSCSI layer in its unit tests, in the data plane's place: it has one
 * session and one endpoint at a time, and does at once what it is asked for. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/dataplane.h"
#include "iscsi/iscsi.h"
#include "transport/transport.h"

#define OWNER_SID 7u

struct owner_endpoint {
    struct iscsi_endpoint pub;
    int state; /* 1 up, 0 not yet, -errno */
    unsigned bound;
    bool unwanted; /* freed once the connection has let go of it */
};

struct dataplane {
    struct loop *loop;
    const struct iscsi_transport *tt;
    struct ipc_client client;
    struct iscsi_session *s;
    uint64_t destroy_seq;
    bool dying;
    unsigned states[SCSI_HOST_GONE + 1]; /* how often each was told */
    struct owner_endpoint *ep[128];      /* by id; ids begin at 1 */
    uint64_t neps;
};

static struct owner_endpoint *
owner_ep(struct dataplane *dp, uint64_t id)
{
    return id >= 1 && id <= dp->neps ? dp->ep[id - 1] : NULL;
}

static void
owner_ep_free(struct dataplane *dp, uint64_t id)
{
    struct owner_endpoint *e = owner_ep(dp, id);

    e->pub.tt->ep_disconnect(&e->pub);
    free(e);
    dp->ep[id - 1] = NULL;
}

static void
owner_event(struct dataplane *dp, struct iscsi_kevent *ev, const void *data)
{
    if (dp->client.event != NULL)
        (void)dp->client.event(dp->client.binding, ev, data);
}

static void
owner_recv_pdu(void *user, struct iscsi_conn *c, const struct bhs *hdr, const void *data,
               uint32_t len)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .sid = c->session->sid, .cid = c->cid};

    ev.u.recv_pdu.hdr = *hdr;
    ev.u.recv_pdu.data_len = len;
    owner_event(user, &ev, data);
}

static void
owner_conn_error(void *user, struct iscsi_conn *c, const struct dp_conn_loss *loss)
{
    struct iscsi_kevent ev = {
        .type = ISCSI_KEVENT_CONN_ERROR, .sid = c->session->sid, .cid = c->cid};

    assert_true(loss->why.code < 0 && loss->why.msg[0] != '\0');
    ev.u.conn_error.err = loss->err;
    ev.u.conn_error.time2wait_s = loss->time2wait_s;
    ev.u.conn_error.time2retain_s = loss->time2retain_s;
    ev.u.conn_error.served = loss->served;
    ev.u.conn_error.why = loss->why;
    owner_event(user, &ev, NULL);
}

/* The host has told it already: what was told must agree. */
static void
owner_state(void *user, enum scsi_host_state state, const struct lunette_error *why)
{
    struct dataplane *dp = user;

    assert_int_equal(iscsi_session_host(dp->s)->state, state);
    assert_true((state == SCSI_HOST_RUNNING) == (why == NULL));
    dp->states[state]++;
}

static void
owner_conn_down(void *user, struct iscsi_conn *c)
{
    struct dataplane *dp = user;

    assert_true(c->session == dp->s);
}

static void
owner_freed(void *user, uint32_t sid)
{
    struct dataplane *dp = user;
    struct iscsi_reply rep = {
        .type = ISCSI_UEVENT_DESTROY_SESSION, .seq = dp->destroy_seq, .sid = sid};

    assert_int_equal(sid, OWNER_SID);
    dp->s = NULL;
    if (dp->destroy_seq != 0)
        dp->client.reply(dp->client.binding, &rep);
    for (uint64_t id = 1; id <= dp->neps; id++) {
        if (dp->ep[id - 1] != NULL && dp->ep[id - 1]->unwanted)
            owner_ep_free(dp, id);
    }
}

static const struct iscsi_session_events owner_events = {
    .recv_pdu = owner_recv_pdu,
    .conn_error = owner_conn_error,
    .conn_down = owner_conn_down,
    .state = owner_state,
    .freed = owner_freed,
};

static void
owner_ep_event(struct iscsi_endpoint *ep, int err)
{
    container_of(ep, struct owner_endpoint, pub)->state = err < 0 ? err : 1;
}

static const struct iscsi_upcalls owner_upcalls = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_upcalls),
    .ep_event = owner_ep_event,
};

static int
owner_ep_connect(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct owner_endpoint *e = calloc(1, sizeof(*e) + dp->tt->ep_size);

    assert_true(e != NULL && dp->neps < sizeof(dp->ep) / sizeof(dp->ep[0]));
    dp->ep[dp->neps++] = e;
    e->pub =
        (struct iscsi_endpoint){.tt = dp->tt, .loop = dp->loop, .id = dp->neps, .dd_data = e + 1};
    rep->r.ep = dp->neps;
    return dp->tt->ep_connect(&e->pub, &ev->u.ep_connect.to, &owner_upcalls, &rep->why);
}

static int
owner_create(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct iscsi_session_config cfg = {
        .sid = OWNER_SID,
        .initial_cmdsn = ev->u.create_session.initial_cmdsn,
        .cmds_max = ev->u.create_session.cmds_max,
        .ev = &owner_events,
        .user = dp,
    };

    assert_null(dp->s);
    rep->sid = OWNER_SID;
    return iscsi_session_setup(dp->loop, dp->tt, &cfg, &dp->s, &rep->why);
}

static int
owner_bind(struct dataplane *dp, struct iscsi_conn *c, const struct iscsi_uevent *ev,
           struct iscsi_reply *rep)
{
    struct owner_endpoint *e = owner_ep(dp, ev->ep);
    int r = e != NULL ? iscsi_conn_bind(c, (int64_t)ev->ep, &e->pub, ev->u.bind_conn.leading != 0,
                                        &rep->why)
                      : -ENOENT;

    if (r == 0)
        e->bound++;
    return r;
}

/* What is asked of a connection. */
static int
owner_conn(struct dataplane *dp, struct iscsi_conn *c, const struct iscsi_uevent *ev,
           const void *data, uint32_t len, struct iscsi_reply *rep)
{
    switch ((int)ev->type) {
    case ISCSI_UEVENT_BIND_CONN:
        return owner_bind(dp, c, ev, rep);
    case ISCSI_UEVENT_SET_PARAM:
        return iscsi_set_param(c, ev->u.set_param.param, ev->u.set_param.value, &rep->why);
    case ISCSI_UEVENT_START_CONN:
        return iscsi_conn_start(c, &rep->why);
    case ISCSI_UEVENT_STOP_CONN:
        iscsi_conn_stop(c, ev->u.stop_conn.how);
        return 0;
    case ISCSI_UEVENT_DESTROY_CONN:
        iscsi_conn_teardown(c);
        return 0;
    case ISCSI_UEVENT_SEND_PDU:
        return iscsi_conn_send_pdu(c, &ev->u.send_pdu.hdr, data, len, &rep->why);
    case ISCSI_UEVENT_GET_STATS:
        rep->r.stats = c->stats;
        return 0;
    default:
        fail_msg("request %d is none of these tests", (int)ev->type);
        return -ENOSYS;
    }
}

static int
owner_do(struct dataplane *dp, const struct iscsi_uevent *ev, const void *data, uint32_t len,
         struct iscsi_reply *rep)
{
    struct owner_endpoint *e = owner_ep(dp, ev->ep);
    struct iscsi_conn *c;

    switch ((int)ev->type) {
    case ISCSI_UEVENT_TRANSPORT_EP_CONNECT:
        return owner_ep_connect(dp, ev, rep);
    case ISCSI_UEVENT_TRANSPORT_EP_POLL:
        rep->r.value = e != NULL ? e->state : 0;
        return e == NULL ? -ENOENT : e->state < 0 ? e->state : 0;
    case ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT:
        if (e == NULL)
            return -ENOENT;
        if (e->bound > 0 && dp->s != NULL)
            e->unwanted = true;
        else
            owner_ep_free(dp, ev->ep);
        return 0;
    case ISCSI_UEVENT_CREATE_SESSION:
        return owner_create(dp, ev, rep);
    default:
        break;
    }
    if (dp->s == NULL || dp->dying || ev->sid != OWNER_SID)
        return -ENOENT;
    if (ev->type == ISCSI_UEVENT_DESTROY_SESSION) {
        dp->destroy_seq = ev->seq;
        dp->dying = true;
        iscsi_session_teardown(dp->s);
        return -EINPROGRESS;
    }
    if (ev->type == ISCSI_UEVENT_CREATE_CONN)
        return iscsi_conn_setup(dp->s, ev->cid, &c, &rep->why);
    c = iscsi_conn_find(dp->s, ev->cid);
    return c != NULL ? owner_conn(dp, c, ev, data, len, rep) : -ENOENT;
}

static void
owner_serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev,
            const void *data, uint32_t data_len)
{
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .sid = ev->sid, .cid = ev->cid};

    rep.err = owner_do(server, ev, data, data_len, &rep);
    if (rep.err != -EINPROGRESS)
        from->reply(from->binding, &rep);
}

const struct ipc_server_ops dataplane_server_ops = {.serve = owner_serve};

int
dataplane_new(struct loop *l, const struct transport_registry *registry, struct dataplane **ret,
              struct lunette_error *err)
{
    struct dataplane *dp = calloc(1, sizeof(*dp));

    (void)err;
    assert_non_null(dp);
    assert_int_equal(registry->count, 1);
    dp->loop = l;
    dp->tt = &registry->t[0];
    *ret = dp;
    return 0;
}

uint64_t
dataplane_set_client(struct dataplane *dp, const struct ipc_client *client)
{
    dp->client = *client;
    return 1;
}

void
dataplane_detach(struct dataplane *dp, uint64_t generation)
{
    assert_int_equal(generation, 1);
    memset(&dp->client, 0, sizeof(dp->client));
}

void
dataplane_shutdown(struct dataplane *dp)
{
    for (uint64_t id = 1; id <= dp->neps; id++) {
        if (dp->ep[id - 1] == NULL)
            continue;
        if (dp->s != NULL)
            dp->ep[id - 1]->unwanted = true;
        else
            owner_ep_free(dp, id);
    }
    if (dp->s != NULL && !dp->dying) {
        dp->dying = true;
        iscsi_session_teardown(dp->s);
    }
}

unsigned
dataplane_busy(const struct dataplane *dp)
{
    return dp->s != NULL;
}

void
dataplane_free(struct dataplane *dp)
{
    free(dp);
}

struct scsi_host *
dataplane_host(struct dataplane *dp, uint32_t sid)
{
    return dp->s != NULL && sid == OWNER_SID ? iscsi_session_host(dp->s) : NULL;
}

const struct iscsi_session *
dataplane_session(struct dataplane *dp, uint32_t sid)
{
    return sid == OWNER_SID ? dp->s : NULL;
}
