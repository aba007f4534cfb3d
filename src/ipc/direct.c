/* SPDX-License-Identifier: MIT */
/* ipc/direct.c - control and data plane on one loop. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/ipc.h"

enum msg_kind { MSG_REQUEST, MSG_REPLY, MSG_EVENT };

struct msg {
    struct list node;
    enum msg_kind kind;
    union {
        struct iscsi_uevent request;
        struct iscsi_reply reply;
        struct iscsi_kevent event;
    };
    uint32_t data_len;
    uint8_t data[];
};

struct ipc_direct {
    struct ipc ipc; /* first */
    struct loop *loop;
    const struct ipc_server_ops *ops;
    void *server;
    uint64_t seq;
    struct list queue; /* struct msg, in the order of their making */
    struct loop_work work;
};

static struct msg *
queue_msg(struct ipc_direct *d, enum msg_kind kind, const void *data, uint32_t len)
{
    struct msg *m = malloc(sizeof(*m) + len);

    if (m == NULL)
        return NULL;
    m->kind = kind;
    m->data_len = len;
    if (len > 0)
        memcpy(m->data, data, len);
    list_push_back(&d->queue, &m->node);
    loop_defer(d->loop, &d->work);
    return m;
}

static int
request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    struct ipc_direct *d = container_of(ipc, struct ipc_direct, ipc);
    struct msg *m;

    if (data_len > IPC_PDU_DATA_MAX)
        return -EMSGSIZE;
    m = queue_msg(d, MSG_REQUEST, data, data_len);
    if (m == NULL)
        return -ENOMEM;
    ev->seq = ++d->seq;
    m->request = *ev;
    return 0;
}

static const struct ipc_ops direct_ops = {.request = request};

static void
reply(void *binding, const struct iscsi_reply *rep)
{
    struct msg *m = queue_msg(binding, MSG_REPLY, NULL, 0);

    assert(m != NULL); /* a lost reply would leave the control plane waiting for ever */
    m->reply = *rep;
}

static void
event(void *binding, const struct iscsi_kevent *ev, const void *data)
{
    uint32_t len = ev->type == ISCSI_KEVENT_RECV_PDU ? ev->u.recv_pdu.data_len : 0;
    struct msg *m = queue_msg(binding, MSG_EVENT, data, len);

    assert(m != NULL);
    m->event = *ev;
}

static void
deliver(struct ipc_direct *d, const struct msg *m)
{
    switch (m->kind) {
    case MSG_REQUEST:
        d->ops->serve(d->server, &m->request, m->data, m->data_len);
        break;
    case MSG_REPLY:
        d->ipc.ev->reply(d->ipc.ev_user, &m->reply);
        break;
    case MSG_EVENT:
        d->ipc.ev->event(d->ipc.ev_user, &m->event, m->data);
        break;
    }
}

static void
work(struct loop_work *w)
{
    struct ipc_direct *d = container_of(w, struct ipc_direct, work);
    struct list now;

    list_init(&now);
    list_splice(&now, &d->queue);
    while (!list_empty(&now)) {
        struct msg *m = container_of(list_pop_front(&now), struct msg, node);

        deliver(d, m);
        free(m);
    }
}

int
ipc_direct_new(struct loop *l, const struct ipc_server_ops *ops, void *server,
               struct ipc_direct **ret, struct ipc_client *ret_client)
{
    struct ipc_direct *d = calloc(1, sizeof(*d));

    if (d == NULL)
        return -ENOMEM;
    d->ipc.ops = &direct_ops;
    d->loop = l;
    d->ops = ops;
    d->server = server;
    list_init(&d->queue);
    loop_work_init(&d->work, work);
    *ret_client = (struct ipc_client){.reply = reply, .event = event, .binding = d};
    *ret = d;
    return 0;
}

void
ipc_direct_free(struct ipc_direct *d)
{
    if (d == NULL)
        return;
    loop_defer_cancel(&d->work);
    while (!list_empty(&d->queue))
        free(container_of(list_pop_front(&d->queue), struct msg, node));
    free(d);
}

struct ipc *
ipc_direct_ipc(struct ipc_direct *d)
{
    return &d->ipc;
}
