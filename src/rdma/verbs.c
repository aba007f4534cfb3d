/* SPDX-License-Identifier: MIT */
/* rdma/verbs.c - the operations of seam/rdma.h. */
#include "rdma/internal.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LISTEN_BACKLOG 128
#define RETRIES        7 /* of what is not acknowledged; of messages without a receive: for ever */

/* The library's functions take addresses that are not const. */
static struct sockaddr *
sockaddr_of(struct sock_addr *a)
{
    return (struct sockaddr *)&a->ss;
}

static int
resolve_failed(struct lunette_error *err, int e, const struct sock_addr *to)
{
    char buf[PORTAL_TEXT_MAX];

    return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e,
                        "no RDMA device of this machine reaches %s: %s",
                        sock_addr_format(to, buf, sizeof(buf)), errno_text(e));
}

static int
check_family(const struct sock_addr *a, struct lunette_error *err)
{
    char buf[PORTAL_TEXT_MAX];

    if (a->ss.ss_family == AF_INET || a->ss.ss_family == AF_INET6)
        return 0;
    return lunette_fail(err, -EAFNOSUPPORT, LUNETTE_DOM_USAGE, 0,
                        "RDMA connections have IPv4 or IPv6 addresses, and %s is neither",
                        sock_addr_format(a, buf, sizeof(buf)));
}

/* An endpoint with an id. */
static int
open_ep(struct loop *l, const struct rnic_depth *depth, const struct rnic_events *ev, void *user,
        struct verbs_ep **ret, struct lunette_error *err)
{
    struct verbs_state *st;
    struct verbs_ep *ep;
    int r = verbs_state_get(l, verbs_events_readable, verbs_poll_work, &st, err);

    if (r < 0)
        return r;
    r = verbs_ep_new(st, depth, ev, user, &ep, err);
    if (r < 0) {
        verbs_state_rest(st);
        return r;
    }
    loop_timer_init(&ep->limit, verbs_limit_over);
    if (rdma_create_id(st->channel, &ep->id, ep, RDMA_PS_TCP) != 0) {
        r = verbs_no_device(err, errno);
        ep->id = NULL;
        verbs_close(&ep->pub);
        return r;
    }
    *ret = ep;
    return 0;
}

static int
verbs_resolve(struct loop *l, const struct sock_addr *to, const struct sock_addr *from,
              const struct rnic_depth *depth, const struct rnic_events *ev, void *user,
              struct rnic_ep **ret, struct lunette_error *err)
{
    struct sock_addr source, peer = *to;
    struct verbs_ep *ep;
    int r = check_family(to, err);

    if (r == 0 && from != NULL)
        r = check_family(from, err);
    if (r == 0)
        r = open_ep(l, depth, ev, user, &ep, err);
    if (r < 0)
        return r;
    if (from != NULL)
        source = *from;
    ep->peer = *to;
    ep->phase = VERBS_ADDRESS;
    if (rdma_resolve_addr(ep->id, from != NULL ? sockaddr_of(&source) : NULL, sockaddr_of(&peer),
                          VERBS_RESOLVE_MS) != 0) {
        r = resolve_failed(err, errno, to);
        verbs_close(&ep->pub);
        return r;
    }
    loop_timer_start(l, &ep->limit, VERBS_LIMIT_NS);
    *ret = &ep->pub;
    return 0;
}

static struct rdma_conn_param
conn_param(const struct verbs_ep *ep, const void *private_data, size_t len)
{
    return (struct rdma_conn_param){.private_data = len > 0 ? private_data : NULL,
                                    .private_data_len = (uint8_t)len,
                                    .responder_resources = ep->reads_in,
                                    .initiator_depth = ep->reads_out,
                                    .retry_count = RETRIES,
                                    .rnr_retry_count = RETRIES};
}

static int
begin_failed(const struct verbs_ep *ep, int e, struct lunette_error *err)
{
    char buf[PORTAL_TEXT_MAX];

    return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e,
                        "the RDMA connection with %s could not be set up: %s",
                        sock_addr_format(&ep->peer, buf, sizeof(buf)), errno_text(e));
}

/* Connects, or accepts. */
static int
begin(struct verbs_ep *ep, const void *private_data, size_t len, struct lunette_error *err)
{
    struct rdma_conn_param p = conn_param(ep, private_data, len);

    if (ep->phase != VERBS_READY || ep->over)
        return begin_failed(ep, ENOTCONN, err);
    if ((ep->passive ? rdma_accept(ep->id, &p) : rdma_connect(ep->id, &p)) != 0)
        return begin_failed(ep, errno, err);
    ep->phase = VERBS_CONNECTING;
    return 0;
}

static int
verbs_connect(struct rnic_ep *pub, const void *private_data, size_t len, struct lunette_error *err)
{
    assert(!verbs_ep(pub)->passive);
    return begin(verbs_ep(pub), private_data, len, err);
}

static int
verbs_accept(struct rnic_ep *pub, const void *private_data, size_t len, struct lunette_error *err)
{
    assert(verbs_ep(pub)->passive);
    return begin(verbs_ep(pub), private_data, len, err);
}

static int
copy_addr(const struct sockaddr *from, struct sock_addr *ret)
{
    if (from->sa_family != AF_INET && from->sa_family != AF_INET6)
        return -EAFNOSUPPORT;
    *ret = (struct sock_addr){.len = from->sa_family == AF_INET ? sizeof(struct sockaddr_in)
                                                                : sizeof(struct sockaddr_in6)};
    memcpy(&ret->ss, from, ret->len);
    return 0;
}

static int
verbs_listen_at(struct verbs_ep *ep, const struct sock_addr *at, struct sock_addr *ret_bound,
                struct lunette_error *err)
{
    struct sock_addr a = *at;
    char buf[PORTAL_TEXT_MAX];
    int e;

    if (rdma_bind_addr(ep->id, sockaddr_of(&a)) != 0 || rdma_listen(ep->id, LISTEN_BACKLOG) != 0) {
        e = errno;
        return lunette_fail(err, -e, LUNETTE_DOM_OS, (uint32_t)e, "listening at %s by RDMA: %s",
                            sock_addr_format(at, buf, sizeof(buf)),
                            e == ENODEV ? "no RDMA device has this address" : errno_text(e));
    }
    e = copy_addr(rdma_get_local_addr(ep->id), &ep->peer);
    if (e < 0)
        return lunette_fail(err, e, LUNETTE_DOM_OS, (uint32_t)-e, "listening by RDMA: %s",
                            errno_text(e));
    ep->phase = VERBS_LISTENING;
    if (ret_bound != NULL)
        *ret_bound = ep->peer;
    return 0;
}

static int
verbs_listen(struct loop *l, const struct sock_addr *at, const struct rnic_depth *depth,
             const struct rnic_events *ev, void *user, struct rnic_ep **ret,
             struct sock_addr *ret_bound, struct lunette_error *err)
{
    struct verbs_ep *ep;
    int r = check_family(at, err);

    if (r == 0)
        r = open_ep(l, depth, ev, user, &ep, err);
    if (r < 0)
        return r;
    r = verbs_listen_at(ep, at, ret_bound, err);
    if (r < 0) {
        verbs_close(&ep->pub);
        return r;
    }
    *ret = &ep->pub;
    return 0;
}

static void
verbs_set_events(struct rnic_ep *pub, const struct rnic_events *ev, void *user)
{
    verbs_ep(pub)->ev = ev;
    verbs_ep(pub)->user = user;
}

static void
verbs_caps(const struct rnic_ep *pub, struct rnic_caps *ret)
{
    const struct verbs_ep *ep = (const void *)((const char *)pub - offsetof(struct verbs_ep, pub));
    const struct ibv_device_attr *a;

    assert(ep->dev != NULL);
    a = &ep->dev->attr;
    *ret = (struct rnic_caps){
        .windows = (a->device_cap_flags & IBV_DEVICE_MEM_WINDOW_TYPE_2B) != 0 && a->max_mw > 0,
        .max_windows = a->max_mw > 0 ? (uint32_t)a->max_mw : 0,
        .max_region = a->max_mr_size,
        .sends = ep->depth.send,
        .recvs = ep->depth.recv};
    (void)snprintf(ret->device, sizeof(ret->device), "%s", ep->dev->ctx->device->name);
}

static int
verbs_names(const struct rnic_ep *pub, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    const struct verbs_ep *ep = (const void *)((const char *)pub - offsetof(struct verbs_ep, pub));
    int r;

    if (ep->phase < VERBS_READY)
        return -ENOTCONN;
    r = copy_addr(rdma_get_local_addr(ep->id), ret_local);
    return r < 0 ? r : copy_addr(rdma_get_peer_addr(ep->id), ret_peer);
}

static void
verbs_spin(struct loop *l, uint64_t ns)
{
    l->rnic_spin_ns = ns;
}

static const struct rnic_ops verbs_ops = {
    .name = "verbs",
    .resolve = verbs_resolve,
    .connect = verbs_connect,
    .listen = verbs_listen,
    .accept = verbs_accept,
    .set_events = verbs_set_events,
    .disconnect = verbs_disconnect,
    .close = verbs_close,
    .caps = verbs_caps,
    .names = verbs_names,
    .reg = verbs_reg,
    .dereg = verbs_dereg,
    .mw_new = verbs_mw_new,
    .mw_free = verbs_mw_free,
    .post_send = verbs_post_send,
    .post_recv = verbs_post_recv,
    .spin = verbs_spin,
};

const struct rnic_ops *const rdma_verbs = &verbs_ops;
