/* SPDX-License-Identifier: MIT */
/* transport/iser/iser.c - iSER (RFC 7145): the table of the transport, and the life of its sessions
 * and connections.  See docs/design/iser.md. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/trace.h"
#include "transport/iser/internal.h"
#include "transport/transport.h"

static int
iser_create_session(struct iscsi_session *s, struct lunette_error *err)
{
    struct iser_session *is = s->dd_data;

    (void)err;
    list_init(&is->eps);
    return 0;
}

static void
iser_destroy_session(struct iscsi_session *s)
{
    assert(list_empty(&((struct iser_session *)s->dd_data)->eps));
}

/* What came behind the final Login Response is handed up. */
static void
iser_start_work(struct loop_work *w)
{
    struct iser_conn *ic = container_of(w, struct iser_conn, start_work);
    struct iser_ep *e = ic->ep;

    e->hold = false;
    iser_completed(e, NULL, 0);
}

static void
iser_room_work(struct loop_work *w)
{
    struct iser_conn *ic = container_of(w, struct iser_conn, room_work);

    if (ic->ep->want_xmit && iser_ep_works(ic->ep)) {
        ic->ep->want_xmit = false;
        ic->conn->up->queue_xmit(ic->conn);
    }
}

static int
iser_create_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    struct iser_conn *ic = iser_conn_of(c);

    (void)err;
    ic->conn = c;
    loop_work_init(&ic->start_work, iser_start_work);
    loop_work_init(&ic->room_work, iser_room_work);
    return 0;
}

static void
iser_destroy_conn(struct iscsi_conn *c)
{
    assert(iser_conn_of(c)->ep == NULL);
}

/* The options of the session hold, as far as the connection was not made with others. */
static int
bind_options(struct iser_ep *e, const struct iser_session *s, struct lunette_error *err)
{
    enum iser_way wish = e->wish;

    if (s->has_options) {
        wish = s->options.way;
        e->options = s->options;
    }
    if (wish == ISER_WAY_WINDOW && e->way != ISER_WAY_WINDOW)
        return lunette_fail(err, e->caps.windows ? -ENOMEM : -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "iser_stag=window: the RDMA device %s has no %s: use pool or register, "
                            "or leave the option out",
                            e->caps.device,
                            e->caps.windows ? "more memory windows, others use them all"
                                            : "memory windows of type 2");
    if (e->way == ISER_WAY_WINDOW && (wish == ISER_WAY_POOL || wish == ISER_WAY_REGISTER))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "iser_stag=%s: the connection was made for memory windows already",
                            iser_way_name(wish));
    if (wish != ISER_WAY_AUTO)
        e->way = wish;
    return 0;
}

static int
iser_bind_conn(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
               struct lunette_error *err)
{
    struct iser_conn *ic = iser_conn_of(c);
    struct iser_ep *e = ep != NULL ? ep->dd_data : NULL;
    int r;

    (void)leading;
    if (e == NULL || ep->id != (uint64_t)eph || ic->ep != NULL || e->spoiled)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "bind_conn wants an endpoint of iSER, once");
    if (e->state != ISER_EP_UP || e->lost)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, ENOTCONN,
                            "the RDMA connection has ended already");
    e->spoiled = true;
    e->session = c->session->dd_data;
    r = bind_options(e, e->session, err);
    if (r == 0)
        r = iser_setup_login(e, c->session->cmds_max, err);
    if (r == 0) /* before the target can have anything to answer (RFC 7145 5.1.3) */
        r = iser_post_receives(e, err);
    if (r < 0) {
        iser_lost(e, ISCSI_ERR_LOCAL, "it could not be bound");
        return r;
    }
    list_push_back(&e->session->eps, &e->session_node);
    e->conn = ic;
    ic->ep = e;
    c->last_recv_ns = c->loop->now_ns;
    if (e->options.poll_us > 0)
        rnic_spin(c->loop, e->options.poll_us * UINT64_C(1000));
    return 0;
}

static int
iser_start_conn(struct iscsi_conn *c, struct lunette_error *err)
{
    struct iser_conn *ic = iser_conn_of(c);
    int r;

    if (ic->ep == NULL || !iser_ep_works(ic->ep))
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, ENOTCONN,
                            "the RDMA connection has ended");
    r = iser_setup_commands(ic->ep, err);
    if (r < 0)
        return r;
    c->all_or_none = true;
    if (c->max_xmit_dlength > ISER_DSEG_MAX) /* a target may say more than its receives have */
        c->max_xmit_dlength = ISER_DSEG_MAX;
    loop_defer(c->loop, &ic->start_work);
    return 0;
}

static int
iser_stop_conn(struct iscsi_conn *c, enum iscsi_stop how)
{
    struct iser_ep *e = iser_conn_of(c)->ep;

    (void)how;
    return e != NULL ? iser_stop(e) : 0;
}

static int
iser_set_param(struct iscsi_conn *c, enum iscsi_param p, const char *value,
               struct lunette_error *err)
{
    struct iser_session *s = c->session->dd_data;
    int r;

    if (p != ISCSI_PARAM_OPTIONS)
        return 0;
    r = iser_options_parse(value, &s->options, err);
    s->has_options |= r == 0;
    return r;
}

static int
iser_get_names(struct iscsi_conn *c, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    const struct iser_ep *e = iser_conn_of(c)->ep;

    return e != NULL && e->rnic != NULL ? rnic_names(e->rnic, ret_local, ret_peer) : -ENOTCONN;
}

static void
iser_describe(const struct iscsi_conn *c, char *buf, size_t size)
{
    const struct iser_ep *e = iser_conn_of(c)->ep;

    if (e == NULL)
        (void)snprintf(buf, size, "no connection");
    else if (e->way == ISER_WAY_WINDOW)
        (void)snprintf(buf, size, "%s, %u memory windows, a pool of %zu KiB", e->caps.device,
                       e->nmw, e->pool.bytes >> 10);
    else
        (void)snprintf(buf, size, "%s, %sa pool of %zu KiB", e->caps.device,
                       e->way == ISER_WAY_REGISTER ? "memory registered for each command, " : "",
                       e->pool.bytes >> 10);
}

const struct iscsi_transport iser_transport = {
    .version = ISCSI_TRANSPORT_VERSION,
    .size = sizeof(struct iscsi_transport),
    .name = "iser",
    .caps = CAP_RECOVERY_L0 | CAP_MULTI_R2T | CAP_TEXT_NEGO | CAP_DATA_PATH_OFFLOAD | CAP_RDMA,
    .max_recv_dlength = ISER_DSEG_MAX,
    .max_transfer = ISER_MAX_TRANSFER,
    .session_size = sizeof(struct iser_session),
    .conn_size = sizeof(struct iser_conn),
    .task_size = sizeof(struct iser_task),
    .ep_size = sizeof(struct iser_ep),
    .ep_connect = iser_ep_connect,
    .ep_poll = iser_ep_poll,
    .ep_disconnect = iser_ep_disconnect,
    .create_session = iser_create_session,
    .destroy_session = iser_destroy_session,
    .create_conn = iser_create_conn,
    .destroy_conn = iser_destroy_conn,
    .set_param = iser_set_param,
    .bind_conn = iser_bind_conn,
    .start_conn = iser_start_conn,
    .stop_conn = iser_stop_conn,
    .alloc_pdu = iser_alloc_pdu,
    .init_task = iser_init_task,
    .xmit_task = iser_xmit_task,
    .xmit_flush = iser_xmit_flush,
    .cleanup_task = iser_cleanup_task,
    .get_names = iser_get_names,
    .mem_add = iser_mem_add,
    .mem_remove = iser_mem_remove,
    .describe = iser_describe,
    .ep_why = iser_ep_why,
};
