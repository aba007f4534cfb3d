/* SPDX-License-Identifier: MIT */
/* ipc/posted.c - a carrier between two loops of two threads.
 *
 * Each side gathers what it sends in a list of its own until its turn ends, and
 * then puts the whole batch on the other side's stack by one compare-and-swap.
 * Whoever finds the stack empty posts the other side's work, which takes all of
 * it: so one post is under way at most for each side, and its loop_work is free
 * whenever it is posted.  This is no I/O path; data never passes here.
 */
#include <assert.h>
#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "ipc/carrier.h"

struct side {
    struct ipc_posted *posted;
    struct side *peer;
    struct loop *loop;
    const struct ipc_receiver *receiver;
    /* This side's thread only. */
    struct list out; /* sent in this turn */
    struct loop_work flush;
    /* Shared. */
    _Atomic(struct ipc_packet *) in; /* what came, newest first */
    struct loop_work arrive;         /* posted by the peer */
    atomic_bool closed;
};

struct ipc_posted {
    struct ipc_carrier carrier;
    struct side client, server;
    atomic_uint refs;   /* each side until it is closed, and each post under way */
    atomic_uint events; /* that the client has not taken */
};

static void
posted_put(struct ipc_posted *p)
{
    if (atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) > 1)
        return;
    assert(atomic_load(&p->client.in) == NULL && atomic_load(&p->server.in) == NULL);
    free(p);
}

static int
posted_send(struct ipc_carrier *c, struct ipc_packet *pkt)
{
    struct ipc_posted *p = container_of(c, struct ipc_posted, carrier);
    struct side *s = pkt->lane == IPC_LANE_REQUESTS ? &p->client : &p->server;

    if (atomic_load_explicit(&s->peer->closed, memory_order_relaxed))
        return -EPIPE;
    if (pkt->lane == IPC_LANE_EVENTS) {
        if (atomic_load_explicit(&p->events, memory_order_relaxed) >= IPC_POSTED_EVENTS_MAX)
            return -EAGAIN;
        (void)atomic_fetch_add_explicit(&p->events, 1, memory_order_relaxed);
    }
    list_push_back(&s->out, &pkt->node);
    loop_defer(s->loop, &s->flush);
    return 0;
}

/* Moves the batch over, last packet first: the peer turns it round. */
static void
side_flush(struct loop_work *w)
{
    struct side *s = container_of(w, struct side, flush), *to = s->peer;
    struct ipc_packet *first = NULL, *last = NULL, *head;

    while (!list_empty(&s->out)) {
        struct ipc_packet *pkt = container_of(list_pop_front(&s->out), struct ipc_packet, node);

        pkt->next = first;
        first = pkt;
        if (last == NULL)
            last = pkt;
    }
    if (first == NULL)
        return;
    (void)atomic_fetch_add_explicit(&s->posted->refs, 1, memory_order_relaxed);
    head = atomic_load_explicit(&to->in, memory_order_relaxed);
    do {
        last->next = head;
    } while (!atomic_compare_exchange_weak_explicit(&to->in, &head, first, memory_order_acq_rel,
                                                    memory_order_relaxed));
    if (head == NULL)
        loop_post(to->loop, &to->arrive);
    else
        posted_put(s->posted);
}

static void
side_arrive(struct loop_work *w)
{
    struct side *s = container_of(w, struct side, arrive);
    struct ipc_packet *pkt = atomic_exchange_explicit(&s->in, NULL, memory_order_acq_rel);
    struct ipc_packet *batch = NULL;

    while (pkt != NULL) {
        struct ipc_packet *next = pkt->next;

        pkt->next = batch;
        batch = pkt;
        pkt = next;
    }
    while (batch != NULL) {
        struct ipc_packet *now = batch;

        batch = batch->next;
        if (now->lane == IPC_LANE_EVENTS)
            (void)atomic_fetch_sub_explicit(&s->posted->events, 1, memory_order_relaxed);
        if (s->receiver->take != NULL)
            s->receiver->take(s->receiver->user, now);
        else
            ipc_packet_drop(s->loop, now);
    }
    posted_put(s->posted);
}

static const struct ipc_carrier_ops posted_ops = {.send = posted_send};

static void
side_init(struct ipc_posted *p, struct side *s, struct side *peer, struct loop *l,
          const struct ipc_receiver *receiver)
{
    s->posted = p;
    s->peer = peer;
    s->loop = l;
    s->receiver = receiver;
    list_init(&s->out);
    loop_work_init(&s->flush, side_flush);
    loop_work_init(&s->arrive, side_arrive);
    atomic_init(&s->in, NULL);
    atomic_init(&s->closed, false);
}

int
ipc_posted_new(struct loop *client, struct loop *server, struct ipc_posted **ret)
{
    struct ipc_posted *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -ENOMEM;
    p->carrier.ops = &posted_ops;
    p->carrier.client_loop = client;
    p->carrier.server_loop = server;
    side_init(p, &p->client, &p->server, client, &p->carrier.client);
    side_init(p, &p->server, &p->client, server, &p->carrier.server);
    atomic_init(&p->refs, 2);
    atomic_init(&p->events, 0);
    *ret = p;
    return 0;
}

struct ipc_carrier *
ipc_posted_carrier(struct ipc_posted *p)
{
    return &p->carrier;
}

static void
side_close(struct side *s)
{
    assert(s->receiver->take == NULL);
    loop_defer_cancel(&s->flush);
    side_flush(&s->flush);
    atomic_store_explicit(&s->closed, true, memory_order_relaxed);
    posted_put(s->posted);
}

void
ipc_posted_close_client(struct ipc_posted *p)
{
    side_close(&p->client);
}

void
ipc_posted_close_server(struct ipc_posted *p)
{
    side_close(&p->server);
}
