/* SPDX-License-Identifier: MIT */
#include "tests/support/ipc_delayed.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum lane { LANE_REQUESTS, LANE_REPLIES, LANE_EVENTS, LANES };

struct msg {
    struct list node;
    struct loop_timer timer;
    struct ipc_delayed *d;
    enum lane lane;
    int fd;
    uint32_t data_len;
    uint8_t *data;
    int len;
    uint8_t bytes[IPC_MSG_MAX];
};

struct ipc_delayed {
    struct ipc ipc;
    struct loop *loop;
    const struct ipc_server_ops *ops;
    void *server;
    uint64_t max_delay_ns, seq;
    uint64_t last_ns[LANES]; /* a lane keeps its order */
    struct list msgs;
};

static void
msg_free(struct msg *m)
{
    loop_timer_stop(m->d->loop, &m->timer);
    list_del(&m->node);
    free(m->data);
    free(m);
}

static void
deliver(struct loop_timer *t)
{
    struct msg *m = container_of(t, struct msg, timer);
    struct ipc_delayed *d = m->d;
    struct iscsi_uevent request;
    struct iscsi_reply reply;
    struct iscsi_kevent event;

    switch (m->lane) {
    case LANE_REQUESTS:
        assert(ipc_decode_uevent(m->bytes, (size_t)m->len, &request) == 0);
        if (request.type == ISCSI_UEVENT_BIND_CONN)
            request.u.bind_conn.fd = m->fd; /* as SCM_RIGHTS would bring it */
        d->ops->serve(d->server, &request, m->data, m->data_len);
        break;
    case LANE_REPLIES:
        assert(ipc_decode_reply(m->bytes, (size_t)m->len, &reply) == 0);
        d->ipc.ev->reply(d->ipc.ev_user, &reply);
        break;
    case LANE_EVENTS:
        assert(ipc_decode_kevent(m->bytes, (size_t)m->len, &event) == 0);
        d->ipc.ev->event(d->ipc.ev_user, &event, m->data);
        break;
    case LANES:
        break;
    }
    msg_free(m);
}

static struct msg *
post(struct ipc_delayed *d, enum lane lane, const void *data, uint32_t data_len)
{
    struct msg *m = calloc(1, sizeof(*m));
    uint64_t when;

    assert(m != NULL);
    m->d = d;
    m->lane = lane;
    m->fd = -1;
    if (data_len > 0) {
        m->data = malloc(data_len);
        assert(m->data != NULL);
        memcpy(m->data, data, data_len);
        m->data_len = data_len;
    }
    when = d->loop->now_ns + loop_random(d->loop) % (d->max_delay_ns + 1);
    if (when <= d->last_ns[lane])
        when = d->last_ns[lane] + 1;
    d->last_ns[lane] = when;
    loop_timer_init(&m->timer, deliver);
    list_push_back(&d->msgs, &m->node);
    loop_timer_start(d->loop, &m->timer, when - d->loop->now_ns);
    return m;
}

static int
request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    struct ipc_delayed *d = container_of(ipc, struct ipc_delayed, ipc);
    struct msg *m = post(d, LANE_REQUESTS, data, data_len);

    ev->seq = ++d->seq;
    if (ev->type == ISCSI_UEVENT_BIND_CONN)
        m->fd = ev->u.bind_conn.fd;
    m->len = ipc_encode_uevent(ev, m->bytes, sizeof(m->bytes));
    assert(m->len > 0);
    return 0;
}

static const struct ipc_ops delayed_ops = {.request = request};

static void
reply(void *binding, const struct iscsi_reply *rep)
{
    struct msg *m = post(binding, LANE_REPLIES, NULL, 0);

    m->len = ipc_encode_reply(rep, m->bytes, sizeof(m->bytes));
    assert(m->len > 0);
}

static void
event(void *binding, const struct iscsi_kevent *ev, const void *data)
{
    struct msg *m = post(binding, LANE_EVENTS, data,
                         ev->type == ISCSI_KEVENT_RECV_PDU ? ev->u.recv_pdu.data_len : 0);

    m->len = ipc_encode_kevent(ev, m->bytes, sizeof(m->bytes));
    assert(m->len > 0);
}

int
ipc_delayed_new(struct loop *l, uint64_t max_delay_ns, const struct ipc_server_ops *ops,
                void *server, struct ipc_delayed **ret, struct ipc_client *ret_client)
{
    struct ipc_delayed *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return -ENOMEM;
    d->ipc.ops = &delayed_ops;
    d->loop = l;
    d->ops = ops;
    d->server = server;
    d->max_delay_ns = max_delay_ns;
    list_init(&d->msgs);
    *ret_client = (struct ipc_client){.reply = reply, .event = event, .binding = d};
    *ret = d;
    return 0;
}

void
ipc_delayed_free(struct ipc_delayed *d)
{
    if (d == NULL)
        return;
    while (!list_empty(&d->msgs))
        msg_free(container_of(d->msgs.next, struct msg, node));
    free(d);
}

struct ipc *
ipc_delayed_ipc(struct ipc_delayed *d)
{
    return &d->ipc;
}
