/* SPDX-License-Identifier: MIT */
/* transport/iser/ep.c - endpoints: the RDMA connection to a portal. */
#include <assert.h>
#include <errno.h>

#include "base/trace.h"
#include "transport/iser/internal.h"

/* It did not come up. */
static void
iser_ep_failed(struct iser_ep *e, int err, const char *why)
{
    log_line(e->pub->loop->log, LOG_LEVEL_INFO, "iser: cannot connect: %s", why);
    e->state = ISER_EP_FAILED;
    (void)lunette_fail(&e->err, err, LUNETTE_DOM_CONNECT, (uint32_t)-err, "%s", why);
    e->up->ep_event(e->pub, err);
}

/* Whether the target may invalidate our STags with a Send must be said now: windows can be, regions
 * must not (the connection would break).  So it is decided here what STags are. */
static enum iser_way
choose_way(struct iser_ep *e)
{
    bool wanted = e->wish == ISER_WAY_AUTO || e->wish == ISER_WAY_WINDOW;

    if (wanted && e->caps.windows && iser_make_windows(e, ISER_WINDOWS_MIN, NULL) == 0)
        return ISER_WAY_WINDOW;
    return e->wish == ISER_WAY_REGISTER ? ISER_WAY_REGISTER : ISER_WAY_POOL;
}

static void
iser_resolved(void *user)
{
    struct iser_ep *e = user;
    struct lunette_error err = {.code = 0};
    uint8_t says[ISER_PRIVATE_LEN];
    int r;

    rnic_get_caps(e->rnic, &e->caps);
    e->way = choose_way(e);
    e->state = ISER_EP_CONNECTING;
    iser_put_private(says,
                     (uint8_t)(ISER_NO_ZBVA | (e->way == ISER_WAY_WINDOW ? 0 : ISER_NO_SEND_INV)));
    r = rnic_connect(e->rnic, says, sizeof(says), &err);
    if (r < 0)
        iser_ep_failed(e, r, err.msg);
}

/* What the target says of itself is of no use: it says nothing about what it does with our STags.
 */
static void
iser_established(void *user, const void *private_data, size_t len)
{
    struct iser_ep *e = user;

    (void)private_data;
    (void)len;
    e->state = ISER_EP_UP;
    e->up->ep_event(e->pub, 0);
}

static void
iser_ended(void *user, int err, const char *why)
{
    struct iser_ep *e = user;

    if (e->state == ISER_EP_FAILED)
        return;
    if (e->state != ISER_EP_UP) {
        iser_ep_failed(e, err, why);
        return;
    }
    iser_lost(e, ISCSI_ERR_CONN_CLOSED, why);
    iser_drained(e);
}

static const struct rnic_events iser_events = {
    .resolved = iser_resolved,
    .established = iser_established,
    .ended = iser_ended,
    .completed = iser_completed,
};

int
iser_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                const struct iscsi_upcalls *up, struct lunette_error *err)
{
    static const struct rnic_depth depth = {.send = ISER_SENDS,
                                            .recv = ISER_CMDS_MAX + ISER_RECV_EXTRA,
                                            .least_send = ISER_SENDS_MIN,
                                            .least_recv = ISER_CMDS_MIN + ISER_RECV_EXTRA};
    struct iser_ep *e = ep->dd_data;
    int r = iser_options_parse(ep->options, &e->options, err);

    if (r < 0)
        return r;
    e->pub = ep;
    e->up = up;
    e->wish = e->options.way;
    list_init(&e->session_node);
    list_init(&e->cleanups);
    list_init(&e->came);
    loop_timer_init(&e->drain, iser_drain_timer);
    return rnic_resolve(ep->loop, to, ep->source.len > 0 ? &ep->source : NULL, &depth, &iser_events,
                        e, &e->rnic, err);
}

int
iser_ep_poll(struct iscsi_endpoint *ep)
{
    const struct iser_ep *e = ep->dd_data;

    switch (e->state) {
    case ISER_EP_UP:
        return e->lost ? -ECONNRESET : 1;
    case ISER_EP_FAILED:
        return e->err.code;
    case ISER_EP_RESOLVING:
    case ISER_EP_CONNECTING:
        break;
    }
    return 0;
}

void
iser_ep_why(const struct iscsi_endpoint *ep, struct lunette_error *ret)
{
    const struct iser_ep *e = ep->dd_data;

    if (e->state == ISER_EP_FAILED)
        *ret = e->err;
}

void
iser_ep_disconnect(struct iscsi_endpoint *ep)
{
    struct iser_ep *e = ep->dd_data;

    assert(e->conn == NULL);
    if (e->rnic != NULL && e->state == ISER_EP_UP)
        rnic_disconnect(e->rnic);
    iser_close(e);
}
