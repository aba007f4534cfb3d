/* SPDX-License-Identifier: MIT */
/* ipc/direct.c - control and data plane on one loop. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/ipc.h"

enum msg_kind { MSG_REQUEST, MSG_REPLY, MSG_EVENT };

/* A request's memory becomes its reply's. */
struct msg {
    struct list node; /* of queue or waiting */
    enum msg_kind kind;
    union {
        struct iscsi_uevent request;
        struct iscsi_reply reply;
        struct iscsi_kevent event;
    };
    uint64_t seq;
    uint32_t data_len, room; /* bytes in data, and that there are */
    uint8_t data[];
};

struct ipc_direct {
    struct ipc ipc; /* first */
    struct ipc_client client;
    struct loop *loop;
    const struct ipc_server_ops *ops;
    void *server;
    uint64_t seq;
    struct list queue;   /* struct msg, in the order of their making */
    struct list waiting; /* requests that were served and have no answer yet */
    struct loop_work work;
    struct list spare; /* memory for requests that tidy up */
    unsigned reserved, nspare;
    struct msg *lost; /* memory for an event LOST; NULL while one is under way in it */
};

static struct msg *
msg_new(enum msg_kind kind, const void *data, uint32_t len, uint32_t room)
{
    struct msg *m;

    if (room < len)
        room = len;
    m = malloc(sizeof(*m) + room);
    if (m == NULL)
        return NULL;
    m->kind = kind;
    m->data_len = len;
    m->room = room;
    if (len > 0)
        memcpy(m->data, data, len);
    return m;
}

/* The message is over: its memory fills up what is reserved, or is freed. */
static void
msg_done(struct ipc_direct *d, struct msg *m)
{
    if (d->nspare < d->reserved) {
        list_push_back(&d->spare, &m->node);
        d->nspare++;
    } else if (d->lost == NULL) {
        d->lost = m;
    } else {
        free(m);
    }
}

static struct msg *
msg_spare(struct ipc_direct *d, enum iscsi_uevent_type type)
{
    struct msg *m;

    if (!ipc_tidies_up(type) || list_empty(&d->spare))
        return NULL;
    assert(d->nspare > 0);
    d->nspare--;
    m = container_of(list_pop_front(&d->spare), struct msg, node);
    m->kind = MSG_REQUEST;
    m->data_len = 0;
    return m;
}

static void
msg_queue(struct ipc_direct *d, struct msg *m)
{
    list_push_back(&d->queue, &m->node);
    loop_defer(d->loop, &d->work);
}

static int
direct_request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    struct ipc_direct *d = container_of(ipc, struct ipc_direct, ipc);
    struct msg *m;

    if (data_len > IPC_PDU_DATA_MAX)
        return -EMSGSIZE;
    assert(data_len == ipc_uevent_data_len(ev));
    m = msg_new(MSG_REQUEST, data, data_len, ipc_reply_room(ev->type));
    if (m == NULL)
        m = msg_spare(d, ev->type);
    if (m == NULL)
        return -ENOMEM;
    m->seq = ev->seq = ++d->seq;
    m->request = *ev;
    msg_queue(d, m);
    return 0;
}

static int
direct_reserve(struct ipc *ipc)
{
    struct ipc_direct *d = container_of(ipc, struct ipc_direct, ipc);
    struct msg *m = msg_new(MSG_REQUEST, NULL, 0, 0);

    if (m == NULL)
        return -ENOMEM;
    d->reserved++;
    list_push_back(&d->spare, &m->node);
    d->nspare++;
    return 0;
}

static void
direct_unreserve(struct ipc *ipc)
{
    struct ipc_direct *d = container_of(ipc, struct ipc_direct, ipc);

    assert(d->reserved > 0);
    d->reserved--;
    if (d->nspare <= d->reserved)
        return;
    d->nspare--;
    free(container_of(list_pop_front(&d->spare), struct msg, node));
}

static const struct ipc_ops direct_ops = {
    .request = direct_request, .reserve = direct_reserve, .unreserve = direct_unreserve};

/* Finds the request of an answer, from the end of the list: most requests are answered at once and
 * are still the last. */
static struct msg *
direct_waiting(struct ipc_direct *d, uint64_t seq)
{
    for (struct list *n = d->waiting.prev; n != &d->waiting; n = n->prev) {
        struct msg *m = container_of(n, struct msg, node);

        if (m->seq == seq) {
            list_del(&m->node);
            return m;
        }
    }
    return NULL;
}

static void
direct_reply(void *binding, const struct iscsi_reply *rep)
{
    struct ipc_direct *d = binding;
    struct msg *m = direct_waiting(d, rep->seq);
    uint32_t len = ipc_reply_data_len(rep);

    assert(m != NULL); /* one answer to each request */
    assert(len <= m->room);
    m->kind = MSG_REPLY;
    m->reply = *rep;
    m->data_len = len;
    if (len > 0)
        memcpy(m->data, rep->data, len);
    m->reply.data = m->data;
    msg_queue(d, m);
}

static int
direct_event(void *binding, const struct iscsi_kevent *ev, const void *data)
{
    struct ipc_direct *d = binding;
    struct msg *m = msg_new(MSG_EVENT, data, ipc_kevent_data_len(ev), 0);

    if (m == NULL && ev->type == ISCSI_KEVENT_LOST && d->lost != NULL) {
        m = d->lost;
        d->lost = NULL;
        m->kind = MSG_EVENT;
        m->data_len = 0;
    }
    if (m == NULL)
        return -ENOMEM;
    m->event = *ev;
    msg_queue(d, m);
    return 0;
}

static void
direct_serve(struct ipc_direct *d, struct msg *m)
{
    struct iscsi_uevent request = m->request; /* the answer takes its place */

    list_push_back(&d->waiting, &m->node);
    d->ops->serve(d->server, &d->client, &request, m->data, m->data_len);
}

/* Hands a reply over.  The memory of one without data is free before, since the client may send the
 * next request at once, for which it is kept. */
static void
direct_hand_over(struct ipc_direct *d, struct msg *m)
{
    struct iscsi_reply rep = m->reply;

    if (m->data_len > 0) {
        d->ipc.ev->reply(d->ipc.ev_user, &rep);
        msg_done(d, m);
        return;
    }
    rep.data = "";
    msg_done(d, m);
    d->ipc.ev->reply(d->ipc.ev_user, &rep);
}

static void
direct_work(struct loop_work *w)
{
    struct ipc_direct *d = container_of(w, struct ipc_direct, work);
    struct list now;

    list_init(&now);
    list_splice(&now, &d->queue);
    while (!list_empty(&now)) {
        struct msg *m = container_of(list_pop_front(&now), struct msg, node);

        if (m->kind == MSG_REQUEST) {
            direct_serve(d, m);
            continue;
        }
        if (m->kind == MSG_REPLY) {
            direct_hand_over(d, m);
            continue;
        }
        d->ipc.ev->event(d->ipc.ev_user, &m->event, m->data);
        msg_done(d, m);
    }
}

int
ipc_direct_new(struct loop *l, const struct ipc_server_ops *ops, void *server,
               struct ipc_direct **ret, struct ipc_client *ret_client)
{
    struct ipc_direct *d = calloc(1, sizeof(*d));

    if (d != NULL)
        d->lost = msg_new(MSG_EVENT, NULL, 0, 0);
    if (d == NULL || d->lost == NULL) {
        free(d);
        return -ENOMEM;
    }
    d->ipc.ops = &direct_ops;
    d->client = (struct ipc_client){.reply = direct_reply, .event = direct_event, .binding = d};
    d->loop = l;
    d->ops = ops;
    d->server = server;
    list_init(&d->queue);
    list_init(&d->waiting);
    list_init(&d->spare);
    loop_work_init(&d->work, direct_work);
    *ret_client = d->client;
    *ret = d;
    return 0;
}

void
ipc_direct_free(struct ipc_direct *d)
{
    if (d == NULL)
        return;
    loop_defer_cancel(&d->work);
    while (!list_empty(&d->queue)) {
        struct msg *m = container_of(list_pop_front(&d->queue), struct msg, node);

        if (m->kind == MSG_REQUEST && ipc_uevent_fd(&m->request) != NULL)
            loop_close_fd(d->loop, *ipc_uevent_fd(&m->request));
        free(m);
    }
    while (!list_empty(&d->waiting))
        free(container_of(list_pop_front(&d->waiting), struct msg, node));
    while (!list_empty(&d->spare))
        free(container_of(list_pop_front(&d->spare), struct msg, node));
    free(d->lost);
    free(d);
}

struct ipc *
ipc_direct_ipc(struct ipc_direct *d)
{
    return &d->ipc;
}
