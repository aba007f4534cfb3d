/* SPDX-License-Identifier: MIT */
/* rdma/cm.c - events of connections.
 *
 * An event is copied and acknowledged before anybody is called: an id cannot be destroyed, as the
 * owner may wish inside any callback, while events of it are not acknowledged. */
#include "rdma/internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define EVENTS_TURN 32 /* before others have their turn */

/* Reasons of a REJECTED: those of the InfiniBand connection manager (12.6.7.2). */
#define REJECT_NO_RESOURCES 3
#define REJECT_NO_SERVICE   8
#define REJECT_STALE        10
#define REJECT_CONSUMER     28

struct cm_event {
    int event, status;
    struct rdma_cm_id *id;
    struct verbs_ep *ep; /* its; of a request to connect, the listener */
    uint8_t reads_in, reads_out;
    size_t len;
    uint8_t private_data[UINT8_MAX];
};

static void
copy_event(const struct rdma_cm_event *e, struct cm_event *ret)
{
    const struct rdma_conn_param *c = &e->param.conn;

    ret->event = (int)e->event;
    ret->status = e->status;
    ret->id = e->id;
    ret->ep = e->listen_id != NULL ? e->listen_id->context : e->id->context;
    ret->len = 0;
    if (e->event != RDMA_CM_EVENT_CONNECT_REQUEST && e->event != RDMA_CM_EVENT_ESTABLISHED)
        return;
    ret->reads_in = c->responder_resources;
    ret->reads_out = c->initiator_depth;
    if (c->private_data != NULL)
        ret->len = c->private_data_len;
    if (ret->len > 0)
        memcpy(ret->private_data, c->private_data, ret->len);
}

static const char *
peer_text(const struct verbs_ep *ep, char buf[PORTAL_TEXT_MAX])
{
    return sock_addr_format(&ep->peer, buf, PORTAL_TEXT_MAX);
}

static int
negative(int status, int otherwise)
{
    return status < 0 ? status : otherwise;
}

static int
say_rejected(struct lunette_error *why, const char *peer, int status)
{
    const char *text;

    if (status < 0) /* iWARP */
        return lunette_fail(why, -ECONNREFUSED, LUNETTE_DOM_OS, (uint32_t)-status,
                            "%s refused the RDMA connection: %s", peer, errno_text(status));
    switch (status) {
    case REJECT_NO_SERVICE:
        text = "nobody listens there for RDMA; a target may offer the same portal for TCP alone";
        break;
    case REJECT_CONSUMER:
        text = "the listener does not want it; its log may say why";
        break;
    case REJECT_NO_RESOURCES:
        text = "it has no room for one more";
        break;
    case REJECT_STALE:
        text = "it takes this for a connection that it still has; try again";
        break;
    default:
        text = NULL;
    }
    if (text != NULL)
        return lunette_fail(why, -ECONNREFUSED, LUNETTE_DOM_OS, (uint32_t)status,
                            "%s refused the RDMA connection: %s", peer, text);
    return lunette_fail(why, -ECONNREFUSED, LUNETTE_DOM_OS, (uint32_t)status,
                        "%s refused the RDMA connection (reason %d)", peer, status);
}

static int
say_address(struct lunette_error *why, const char *peer, int status)
{
    int e = negative(status, -EHOSTUNREACH);

    if (e == -ETIMEDOUT)
        return lunette_fail(why, e, LUNETTE_DOM_OS, ETIMEDOUT, "nobody has the address of %s",
                            peer);
    return lunette_fail(why, e, LUNETTE_DOM_OS, (uint32_t)-e,
                        "no RDMA device of this machine reaches %s: %s", peer, errno_text(e));
}

/* The kernel resolves the loopback address of soft RDMA to no device at all, or finds no route to
 * it and does not say so. */
static int
say_no_route(struct lunette_error *why, const char *peer, int e)
{
    return lunette_fail(why, e, LUNETTE_DOM_OS, (uint32_t)-e,
                        "no RDMA route to %s: %s; the loopback address is no use: take the address "
                        "of the network device that the RDMA device belongs to",
                        peer, errno_text(e));
}

/* Says what an event that ends a connection means.  Returns -errno; 0: it ends nothing. */
static int
say_end(const struct cm_event *e, struct lunette_error *why)
{
    char buf[PORTAL_TEXT_MAX];
    const char *peer = peer_text(e->ep, buf);
    int r;

    switch (e->event) { /* of an int: which others there are depends on the library's version */
    case RDMA_CM_EVENT_ADDR_ERROR:
        return say_address(why, peer, e->status);
    case RDMA_CM_EVENT_ROUTE_ERROR:
        r = negative(e->status, -EHOSTUNREACH);
        return say_no_route(why, peer, r);
    case RDMA_CM_EVENT_CONNECT_ERROR:
        r = negative(e->status, -ECONNABORTED);
        return lunette_fail(why, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "the RDMA connection with %s could not be set up: %s", peer,
                            errno_text(r));
    case RDMA_CM_EVENT_UNREACHABLE:
        r = negative(e->status, -ETIMEDOUT);
        return lunette_fail(why, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "%s does not answer a request for an RDMA connection: %s", peer,
                            errno_text(r));
    case RDMA_CM_EVENT_REJECTED:
        return say_rejected(why, peer, e->status);
    case RDMA_CM_EVENT_DISCONNECTED:
        return lunette_fail(why, -ECONNRESET, LUNETTE_DOM_OS, ECONNRESET,
                            "%s has ended the RDMA connection", peer);
    case RDMA_CM_EVENT_DEVICE_REMOVAL:
        return lunette_fail(why, -ENODEV, LUNETTE_DOM_OS, ENODEV,
                            "the RDMA device of the connection with %s is gone", peer);
    default:
        return 0; /* ADDR_CHANGE, TIMEWAIT_EXIT, multicast: nothing for anybody to do */
    }
}

void
verbs_limit_over(struct loop_timer *t)
{
    struct verbs_ep *ep = container_of(t, struct verbs_ep, limit);
    struct verbs_state *st = ep->state;
    struct lunette_error why;
    char buf[PORTAL_TEXT_MAX];

    if (ep->phase == VERBS_ADDRESS)
        (void)lunette_fail(&why, -ETIMEDOUT, LUNETTE_DOM_OS, ETIMEDOUT,
                           "looking for an RDMA device on the way to %s took too long",
                           peer_text(ep, buf));
    else
        (void)say_no_route(&why, peer_text(ep, buf), -ETIMEDOUT);
    verbs_walk_begin(st);
    verbs_tell_end(ep, -ETIMEDOUT, why.msg);
    verbs_walk_end(st);
}

static void
address_resolved(struct verbs_ep *ep)
{
    struct lunette_error why;
    char buf[PORTAL_TEXT_MAX];
    int r;

    if (ep->phase != VERBS_ADDRESS || ep->over)
        return;
    ep->phase = VERBS_ROUTE;
    loop_timer_start(ep->pub.loop, &ep->limit, VERBS_LIMIT_NS);
    if (rdma_resolve_route(ep->id, VERBS_RESOLVE_MS) == 0)
        return;
    r = say_no_route(&why, peer_text(ep, buf), -errno);
    verbs_tell_end(ep, r, why.msg);
}

static void
route_resolved(struct verbs_ep *ep)
{
    struct lunette_error why;
    int r;

    if (ep->phase != VERBS_ROUTE || ep->over)
        return;
    loop_timer_stop(ep->pub.loop, &ep->limit);
    r = verbs_ep_ready(ep, &why);
    if (r < 0)
        verbs_tell_end(ep, r, why.msg);
    else
        ep->ev->resolved(ep->user);
}

/* A peer that cannot be served is refused, and the log says why. */
static void
verbs_refuse_request(struct verbs_state *st, struct rdma_cm_id *id, struct verbs_ep *ep,
                     const struct lunette_error *why)
{
    log_line(st->loop->log, LOG_LEVEL_WARN, "an RDMA connection was refused: %s", why->msg);
    (void)rdma_reject(id, NULL, 0);
    if (ep != NULL)
        verbs_close(&ep->pub);
    else
        (void)rdma_destroy_id(id);
}

static void
connect_requested(struct verbs_state *st, const struct cm_event *e)
{
    struct verbs_ep *listener = e->ep, *ep;
    struct sockaddr *from = rdma_get_peer_addr(e->id);
    struct lunette_error why;

    if (listener->over) {
        (void)rdma_destroy_id(e->id);
        return;
    }
    if (verbs_ep_new(st, &listener->depth, listener->ev, listener->user, &ep, &why) < 0) {
        verbs_refuse_request(st, e->id, NULL, &why);
        return;
    }
    ep->passive = true;
    ep->id = e->id;
    ep->id->context = ep;
    ep->reads_in = e->reads_in;
    ep->reads_out = e->reads_out;
    ep->peer.len =
        from->sa_family == AF_INET6 ? sizeof(struct sockaddr_in6) : sizeof(struct sockaddr_in);
    memcpy(&ep->peer.ss, from, ep->peer.len);
    if (verbs_ep_ready(ep, &why) < 0) {
        verbs_refuse_request(st, e->id, ep, &why);
        return;
    }
    listener->ev->requested(listener->user, &ep->pub, &ep->peer, e->private_data, e->len);
}

static void
connection_up(struct verbs_ep *ep, const struct cm_event *e)
{
    if (ep->phase != VERBS_CONNECTING || ep->over)
        return; /* its first message has told already, or it is wanted no more */
    ep->phase = VERBS_UP;
    ep->ev->established(ep->user, e->private_data, e->len);
}

/* What came before the peer left is told before that it has. */
static void
connection_over(struct verbs_state *st, struct cm_event *e)
{
    uint32_t serial = e->ep->serial;
    struct lunette_error why;
    int r = say_end(e, &why);

    if (r == 0)
        return;
    if (e->event == RDMA_CM_EVENT_DEVICE_REMOVAL)
        e->ep->device_err = true;
    else
        verbs_drain(e->ep);
    e->ep = verbs_find(st, serial);
    if (e->ep != NULL)
        verbs_tell_end(e->ep, r, why.msg);
}

static void
handle(struct verbs_state *st, struct cm_event *e)
{
    switch (e->event) {
    case RDMA_CM_EVENT_ADDR_RESOLVED:
        address_resolved(e->ep);
        break;
    case RDMA_CM_EVENT_ROUTE_RESOLVED:
        route_resolved(e->ep);
        break;
    case RDMA_CM_EVENT_CONNECT_REQUEST:
        connect_requested(st, e);
        break;
    case RDMA_CM_EVENT_ESTABLISHED:
        connection_up(e->ep, e);
        break;
    default:
        connection_over(st, e);
        break;
    }
}

void
verbs_events_readable(void *user)
{
    struct verbs_state *st = user;
    struct rdma_cm_event *e;
    struct cm_event copy;

    verbs_walk_begin(st);
    for (int i = 0; i < EVENTS_TURN && rdma_get_cm_event(st->channel, &e) == 0; i++) {
        copy_event(e, &copy);
        (void)rdma_ack_cm_event(e);
        handle(st, &copy);
    }
    verbs_walk_end(st);
}
