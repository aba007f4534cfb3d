/* SPDX-License-Identifier: MIT */
/* ipc/encoded.c - the two ends of a binding that turns every message into bytes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "ipc/ipc.h"

struct ipc_encoded_client {
    struct ipc ipc; /* first */
    struct ipc_carrier *carrier;
    ipc_broken_fn *broken;
    void *user;
    uint64_t seq;
    struct list spare; /* packets for requests that tidy up */
    unsigned reserved, nspare;
    bool dead;
};

struct ipc_encoded_server {
    struct ipc_client client; /* what the server talks to */
    struct ipc_carrier *carrier;
    const struct ipc_server_ops *ops;
    void *server;
    ipc_broken_fn *broken;
    void *user;
    struct list waiting;     /* packets of requests that have no answer yet, in their order */
    struct ipc_packet *lost; /* for an event LOST; NULL: it is used up, and there was no other */
    bool dead;
};

/* ---- the client's end ----------------------------------------------------------------------- */

static uint32_t
larger(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

/* A packet that the client's end does not need any more fills up what is reserved, or is freed. */
static void
client_done(struct ipc_encoded_client *e, struct ipc_packet *p)
{
    if (e->nspare == e->reserved || p->room < IPC_MSG_MAX) {
        free(p);
        return;
    }
    list_push_back(&e->spare, &p->node);
    e->nspare++;
}

static struct ipc_packet *
client_spare(struct ipc_encoded_client *e, enum iscsi_uevent_type type)
{
    struct ipc_packet *p;

    if (!ipc_tidies_up(type) || list_empty(&e->spare))
        return NULL;
    assert(e->nspare > 0);
    e->nspare--;
    p = container_of(list_pop_front(&e->spare), struct ipc_packet, node);
    ipc_packet_reset(p);
    return p;
}

static int
encoded_request(struct ipc *ipc, struct iscsi_uevent *ev, const void *data, uint32_t data_len)
{
    struct ipc_encoded_client *e = container_of(ipc, struct ipc_encoded_client, ipc);
    struct ipc_packet *p;
    int len, r;

    if (data_len > IPC_PDU_DATA_MAX)
        return -EMSGSIZE;
    if (e->dead)
        return -EPIPE;
    assert(data_len == ipc_uevent_data_len(ev));
    p = ipc_packet_new(IPC_MSG_MAX + larger(data_len, ipc_reply_room(ev->type)));
    if (p == NULL)
        p = client_spare(e, ev->type);
    if (p == NULL)
        return -ENOMEM;
    ev->seq = e->seq + 1;
    len = ipc_encode_uevent(ev, p->bytes, IPC_MSG_MAX);
    assert(len > 0);
    p->lane = IPC_LANE_REQUESTS;
    p->len = (uint32_t)len;
    p->data_len = data_len;
    if (data_len > 0)
        memcpy(p->bytes + len, data, data_len);
    if (ipc_uevent_fd(ev) != NULL)
        p->fd = *ipc_uevent_fd(ev);
    r = e->carrier->ops->send(e->carrier, p);
    if (r < 0)
        client_done(e, p); /* its descriptor stays the caller's */
    else
        e->seq++;
    return r;
}

static int
encoded_reserve(struct ipc *ipc)
{
    struct ipc_encoded_client *e = container_of(ipc, struct ipc_encoded_client, ipc);
    struct ipc_packet *p = ipc_packet_new(IPC_MSG_MAX);

    if (p == NULL)
        return -ENOMEM;
    e->reserved++;
    client_done(e, p);
    return 0;
}

static void
encoded_unreserve(struct ipc *ipc)
{
    struct ipc_encoded_client *e = container_of(ipc, struct ipc_encoded_client, ipc);

    assert(e->reserved > 0);
    e->reserved--;
    if (e->nspare <= e->reserved)
        return;
    e->nspare--;
    free(container_of(list_pop_front(&e->spare), struct ipc_packet, node));
}

static const struct ipc_ops encoded_ops = {
    .request = encoded_request, .reserve = encoded_reserve, .unreserve = encoded_unreserve};

static void
client_break(struct ipc_encoded_client *e)
{
    e->dead = true;
    if (e->broken != NULL)
        e->broken(e->user, -EPROTO);
}

/* Hands a reply over.  The packet of one without data is free before, since the client may send the
 * next request at once, for which it is kept. */
static bool
take_reply(struct ipc_encoded_client *e, struct ipc_packet *p)
{
    struct iscsi_reply rep;

    if (ipc_decode_reply(p->bytes, p->len, &rep) < 0 || p->data_len != ipc_reply_data_len(&rep)) {
        client_done(e, p);
        return false;
    }
    rep.data = p->data_len > 0 ? (const void *)(p->bytes + p->len) : "";
    if (p->data_len == 0) {
        client_done(e, p);
        p = NULL;
    }
    if (e->ipc.ev != NULL)
        e->ipc.ev->reply(e->ipc.ev_user, &rep); /* may free e */
    free(p);
    return true;
}

static bool
take_event(struct ipc_encoded_client *e, struct ipc_packet *p)
{
    struct iscsi_kevent ev;
    bool ok =
        ipc_decode_kevent(p->bytes, p->len, &ev) == 0 && p->data_len == ipc_kevent_data_len(&ev);

    if (ok && e->ipc.ev != NULL)
        e->ipc.ev->event(e->ipc.ev_user, &ev, p->bytes + p->len); /* may free e */
    free(p);
    return ok;
}

static void
client_take(void *user, struct ipc_packet *p)
{
    struct ipc_encoded_client *e = user;

    loop_close_fd(e->carrier->client_loop, p->fd); /* none to a client has a descriptor */
    p->fd = -1;
    if (e->dead)
        client_done(e, p);
    else if (!(p->lane == IPC_LANE_REPLIES ? take_reply(e, p) : take_event(e, p)))
        client_break(e);
}

int
ipc_encoded_client_new(struct ipc_carrier *c, ipc_broken_fn *broken, void *user,
                       struct ipc_encoded_client **ret)
{
    struct ipc_encoded_client *e = calloc(1, sizeof(*e));

    if (e == NULL)
        return -ENOMEM;
    assert(c->client.take == NULL);
    e->ipc.ops = &encoded_ops;
    e->carrier = c;
    e->broken = broken;
    e->user = user;
    list_init(&e->spare);
    c->client = (struct ipc_receiver){client_take, e};
    *ret = e;
    return 0;
}

void
ipc_encoded_client_free(struct ipc_encoded_client *e)
{
    if (e == NULL)
        return;
    e->carrier->client = (struct ipc_receiver){NULL, NULL};
    while (!list_empty(&e->spare))
        free(container_of(list_pop_front(&e->spare), struct ipc_packet, node));
    free(e);
}

struct ipc *
ipc_encoded_client_ipc(struct ipc_encoded_client *e)
{
    return &e->ipc;
}

/* ---- the server's end ----------------------------------------------------------------------- */

/* Finds the request of an answer, from both ends of the list at once: most requests are answered at
 * once and are still the last, and of those that take their time the first is often the first to
 * end. */
static struct ipc_packet *
encoded_waiting(struct ipc_encoded_server *e, uint64_t seq)
{
    struct list *front = e->waiting.next, *back = e->waiting.prev;

    while (front != &e->waiting) {
        struct ipc_packet *first = container_of(front, struct ipc_packet, node);
        struct ipc_packet *last = container_of(back, struct ipc_packet, node);
        struct ipc_packet *p = last->seq == seq ? last : first->seq == seq ? first : NULL;

        if (p != NULL) {
            list_del(&p->node);
            return p;
        }
        if (front == back || front->next == back) /* they have met */
            return NULL;
        front = front->next;
        back = back->prev;
    }
    return NULL;
}

static void
encoded_reply(void *binding, const struct iscsi_reply *rep)
{
    struct ipc_encoded_server *e = binding;
    struct ipc_packet *p = encoded_waiting(e, rep->seq);
    uint32_t data_len = ipc_reply_data_len(rep);
    int len;

    assert(p != NULL);                      /* one answer to each request */
    if (rep->type == ISCSI_UEVENT_SET_CHAP) /* a secret came with it */
        explicit_bzero(p->bytes, p->room);
    len = ipc_encode_reply(rep, p->bytes, IPC_MSG_MAX);
    assert(len > 0 && (uint32_t)len + data_len <= p->room);
    p->lane = IPC_LANE_REPLIES;
    p->fd = -1;
    p->len = (uint32_t)len;
    p->data_len = data_len;
    if (data_len > 0)
        memcpy(p->bytes + len, rep->data, data_len);
    if (e->carrier->ops->send(e->carrier, p) < 0)
        free(p);
}

static int
encoded_event(void *binding, const struct iscsi_kevent *ev, const void *data)
{
    struct ipc_encoded_server *e = binding;
    uint32_t data_len = ipc_kevent_data_len(ev);
    struct ipc_packet *p = ipc_packet_new(IPC_MSG_MAX + data_len);
    int len, r;

    if (p == NULL && ev->type == ISCSI_KEVENT_LOST) {
        p = e->lost;
        e->lost = NULL;
    }
    if (p == NULL)
        return -ENOMEM;
    if (e->lost == NULL)
        e->lost = ipc_packet_new(IPC_MSG_MAX);
    len = ipc_encode_kevent(ev, p->bytes, IPC_MSG_MAX);
    assert(len > 0);
    p->lane = IPC_LANE_EVENTS;
    p->len = (uint32_t)len;
    p->data_len = data_len;
    if (data_len > 0)
        memcpy(p->bytes + len, data, data_len);
    r = e->carrier->ops->send(e->carrier, p);
    if (r < 0)
        free(p);
    return r;
}

static void
server_take(void *user, struct ipc_packet *p)
{
    struct ipc_encoded_server *e = user;
    struct iscsi_uevent req;

    if (e->dead || ipc_decode_uevent(p->bytes, p->len, &req) < 0 ||
        p->data_len != ipc_uevent_data_len(&req) || (p->fd >= 0 && ipc_uevent_fd(&req) == NULL) ||
        p->room < IPC_MSG_MAX + ipc_reply_room(req.type)) {
        ipc_packet_drop(e->carrier->server_loop, p);
        if (!e->dead && e->broken != NULL)
            e->broken(e->user, -EPROTO);
        e->dead = true;
        return;
    }
    if (ipc_uevent_fd(&req) != NULL)
        *ipc_uevent_fd(&req) = p->fd;
    p->seq = req.seq;
    list_push_back(&e->waiting, &p->node);
    e->ops->serve(e->server, &e->client, &req, p->bytes + p->len, p->data_len);
}

int
ipc_encoded_server_new(struct ipc_carrier *c, const struct ipc_server_ops *ops, void *server,
                       ipc_broken_fn *broken, void *user, struct ipc_encoded_server **ret,
                       struct ipc_client *ret_client)
{
    struct ipc_encoded_server *e = calloc(1, sizeof(*e));

    if (e != NULL)
        e->lost = ipc_packet_new(IPC_MSG_MAX);
    if (e == NULL || e->lost == NULL) {
        free(e);
        return -ENOMEM;
    }
    assert(c->server.take == NULL);
    e->client = (struct ipc_client){.reply = encoded_reply, .event = encoded_event, .binding = e};
    e->carrier = c;
    e->ops = ops;
    e->server = server;
    e->broken = broken;
    e->user = user;
    list_init(&e->waiting);
    c->server = (struct ipc_receiver){server_take, e};
    *ret_client = e->client;
    *ret = e;
    return 0;
}

void
ipc_encoded_server_free(struct ipc_encoded_server *e)
{
    if (e == NULL)
        return;
    e->carrier->server = (struct ipc_receiver){NULL, NULL};
    while (!list_empty(&e->waiting)) /* the server owns the descriptors that came with them */
        free(container_of(list_pop_front(&e->waiting), struct ipc_packet, node));
    free(e->lost);
    free(e);
}
