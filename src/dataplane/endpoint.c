/* SPDX-License-Identifier: MIT */
/* dataplane/endpoint.c - endpoints of transports that connect by themselves.
 *
 * Whoever made an endpoint holds it until EP_DISCONNECT; a connection that is
 * bound to it holds it, too, until the transport has let go of the connection.
 * So ep_disconnect always comes after the end of stop_conn, however long that
 * takes and whichever request came first.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/internal.h"
#include "transport/transport.h"

struct dp_endpoint *
dp_ep_find(struct dataplane *dp, uint64_t id)
{
    for (struct hnode *n = htab_find(&dp->by_ep, hash_u64(0, id)); n != NULL; n = htab_next(n)) {
        struct dp_endpoint *e = container_of(n, struct dp_endpoint, hnode);

        if (e->pub.id == id)
            return e->closing ? NULL : e;
    }
    return NULL;
}

int
dp_ep_missing(const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    return lunette_fail(&rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0, "there is no endpoint %llu",
                        (unsigned long long)ev->ep);
}

bool
dp_ep_is_up(struct dp_endpoint *e)
{
    return (e->state != 0 ? e->state : e->pub.tt->ep_poll(&e->pub)) > 0;
}

/* ---- references ----------------------------------------------------------------------------- */

/* Runs apart from whoever gave the last reference back, who may be inside a call of the transport.
 */
static void
release_endpoints(struct loop_work *w)
{
    struct dataplane *dp = container_of(w, struct dataplane, release);
    struct list *n;

    while ((n = list_pop_front(&dp->released)) != NULL) {
        struct dp_endpoint *e = container_of(n, struct dp_endpoint, node);
        struct iscsi_reply rep = {.type = ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT};

        assert(e->refs == 0 && e->conn == NULL && dp->nendpoints > 0);
        TRACE(dp->loop, ep_disconnect, e->pub.id, 0);
        e->pub.tt->ep_disconnect(&e->pub);
        dp->nendpoints--;
        dp_adapter_leave(&e->use);
        dp_call_answer(dp, &e->disconnect, &rep);
        free(e);
    }
}

static void
ep_put(struct dp_endpoint *e)
{
    assert(e->refs > 0);
    if (--e->refs > 0)
        return;
    htab_del(&e->dp->by_ep, &e->hnode);
    list_del(&e->node);
    list_push_back(&e->dp->released, &e->node);
    loop_defer(e->dp->loop, &e->dp->release);
}

void
dp_ep_close(struct dp_endpoint *e)
{
    if (e->closing)
        return;
    e->closing = true;
    ep_put(e);
}

void
dp_ep_bound(struct dp_endpoint *e, struct dp_conn *c)
{
    assert(e->conn == NULL && c->ep == NULL && !e->closing);
    e->conn = c;
    c->ep = e;
    e->refs++;
    e->half = (struct dp_half){0, 0}; /* the connection's from now on */
    e->known_to = e->dp->generation;
}

void
dp_ep_adopt(struct dp_endpoint *e)
{
    dp_half_adopt(e->dp, &e->half);
    e->known_to = e->dp->generation;
}

/* The endpoint is the client's again who had bound it.  Where that has gone, the one that is
 * attached may not know that there is such an endpoint, and would never disconnect it: as after any
 * client that has left something, there are grace_ms to adopt it. */
void
dp_ep_unbound(struct dp_conn *c)
{
    struct dp_endpoint *e = c->ep;
    struct dataplane *dp;

    if (e == NULL)
        return;
    dp = e->dp;
    assert(e->conn == c);
    e->conn = NULL;
    c->ep = NULL;
    if (!e->closing && e->known_to == dp->generation) {
        dp_half_adopt(dp, &e->half);
    } else if (!e->closing) {
        dp_half_leave(dp, &e->half);
        e->half.owner = e->known_to;
    }
    ep_put(e);
}

void
dp_endpoints_init(struct dataplane *dp)
{
    list_init(&dp->endpoints);
    list_init(&dp->released);
    htab_init(&dp->by_ep);
    loop_work_init(&dp->release, release_endpoints);
}

void
dp_endpoints_fini(struct dataplane *dp)
{
    assert(list_empty(&dp->endpoints) && list_empty(&dp->released));
    loop_defer_cancel(&dp->release);
    htab_fini(&dp->by_ep);
}

/* ---- requests ------------------------------------------------------------------------------- */

static void
up_ep_event(struct iscsi_endpoint *pub, int err)
{
    struct dp_endpoint *e = container_of(pub, struct dp_endpoint, pub);
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_EP_EVENT};

    assert(err <= 0);
    e->state = err < 0 ? err : 1;
    if (e->closing)
        return;
    ev.u.ep_event.ep = pub->id;
    ev.u.ep_event.err = err;
    dp_event(e->dp, &ev, NULL);
}

static const struct iscsi_upcalls ep_upcalls = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_upcalls),
    .ep_event = up_ep_event,
};

int
dp_transport(struct dataplane *dp, const char name[IPC_NAME_MAX],
             const struct iscsi_transport **ret, struct lunette_error *err)
{
    const struct iscsi_transport *tt = NULL;

    static_assert(IPC_NAME_MAX == TRANSPORT_NAME_MAX + 1, "every name can be asked for");
    if (memchr(name, '\0', IPC_NAME_MAX) != NULL)
        tt = transport_find(dp->registry, name);
    if (tt == NULL) {
        char there[128];

        return lunette_fail(err, -ENOENT, LUNETTE_DOM_USAGE, 0,
                            "there is no transport \"%.31s\", only %s", name,
                            transport_names(dp->registry, there, sizeof(there)));
    }
    *ret = tt;
    return 0;
}

int
dp_serve_get_transport(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    const struct iscsi_transport *tt = NULL;
    int r = dp_transport(dp, ev->u.get_transport.transport, &tt, &rep->why);

    if (r == 0 && tt->usable != NULL) /* a login that cannot come about is not begun */
        r = tt->usable(&rep->why);
    if (r < 0)
        return r;
    rep->r.transport.caps = tt->caps;
    rep->r.transport.max_recv_dlength = tt->max_recv_dlength;
    return 0;
}

int
dp_serve_ep_connect(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    const struct iscsi_transport *tt = NULL;
    struct dp_endpoint *e;
    int r = dp_transport(dp, ev->u.ep_connect.transport, &tt, &rep->why);

    if (r < 0)
        return r;
    if (tt->ep_connect == NULL)
        return lunette_fail(&rep->why, -ENOTSUP, LUNETTE_DOM_USAGE, 0,
                            "transport %s takes a connected descriptor", tt->name);
    if (dp->nendpoints >= DATAPLANE_ENDPOINTS_MAX)
        return lunette_fail(&rep->why, -EAGAIN, LUNETTE_DOM_OS, EAGAIN,
                            "there are %d endpoints already", DATAPLANE_ENDPOINTS_MAX);
    if (memchr(ev->u.ep_connect.options, '\0', IPC_VALUE_MAX) == NULL)
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0, "options without an end");
    e = calloc(1, sizeof(*e) + tt->ep_size);
    if (e == NULL)
        return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    r = dp_adapter_join(dp, tt, &e->use, &rep->why);
    if (r < 0) {
        free(e);
        return r;
    }
    e->dp = dp;
    e->refs = 1;
    e->to = ev->u.ep_connect.to;
    dp_ep_adopt(e);
    e->pub = (struct iscsi_endpoint){.tt = tt,
                                     .host = e->use.host,
                                     .loop = dp->loop,
                                     .id = dp_ids_take_ep(dp->ids),
                                     .dd_data = e->dd_data,
                                     .source = ev->u.ep_connect.source};
    TRACE(dp->loop, ep_connect, e->pub.id, 0);
    e->pub.options = ev->u.ep_connect.options[0] != '\0' ? ev->u.ep_connect.options : NULL;
    r = tt->ep_connect(&e->pub, &ev->u.ep_connect.to, &ep_upcalls, &rep->why);
    e->pub.options = NULL;
    if (r < 0) {
        dp_adapter_leave(&e->use);
        free(e);
        return r;
    }
    list_push_back(&dp->endpoints, &e->node);
    htab_add(&dp->by_ep, &e->hnode, hash_u64(0, e->pub.id));
    dp->nendpoints++;
    rep->r.ep = e->pub.id;
    return 0;
}

int
dp_serve_ep_poll(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_endpoint *e = dp_ep_find(dp, ev->ep);
    int r;

    if (e == NULL)
        return dp_ep_missing(ev, rep);
    r = e->state != 0 ? e->state : e->pub.tt->ep_poll(&e->pub);
    TRACE(dp->loop, ep_poll, ev->ep, r);
    if (r < 0) {
        (void)lunette_fail(&rep->why, r, LUNETTE_DOM_CONNECT, (uint32_t)-r, "%s", errno_text(-r));
        if (e->pub.tt->ep_why != NULL)
            e->pub.tt->ep_why(&e->pub, &rep->why);
        return r;
    }
    rep->r.value = r;
    return 0;
}

/* A connection that is bound is stopped first, as STOP_CONN does.  Answered when the endpoint is
 * gone. */
int
dp_serve_ep_disconnect(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct dp_endpoint *e = dp_ep_find(dp, ev->ep);

    if (e == NULL)
        return dp_ep_missing(ev, rep);
    e->disconnect = dp_call_of(dp, ev);
    dp_ep_close(e);
    /* One that is being destroyed lets go by itself.  Another may let go at once, but e lives until
     * release_endpoints. */
    if (e->conn != NULL && !e->conn->dying && !e->conn->session->dying) {
        e->conn->state = IPC_CONN_DOWN;
        e->conn->session->ops->stop_conn(e->conn->handle, STOP_CONN_RECOVER);
    }
    return DP_ANSWERED_LATER;
}
