/* SPDX-License-Identifier: MIT */
/* tests/support/ipc_queue.h - a carrier that takes no memory: packets wait in a list for the end of
 * the turn, or for as long as the test holds them back. */
#ifndef TESTS_IPC_QUEUE_H
#define TESTS_IPC_QUEUE_H

#include "ipc/carrier.h"

struct ipc_queue {
    struct ipc_carrier carrier;
    struct list packets;
    struct loop_work work;
    bool cut; /* the other end has gone: -EPIPE */
};

static inline void
ipc_queue_deliver(struct loop_work *w)
{
    struct ipc_queue *q = container_of(w, struct ipc_queue, work);
    struct list now;

    list_init(&now);
    list_splice(&now, &q->packets);
    while (!list_empty(&now)) {
        struct ipc_packet *p = container_of(list_pop_front(&now), struct ipc_packet, node);
        struct ipc_receiver *to =
            p->lane == IPC_LANE_REQUESTS ? &q->carrier.server : &q->carrier.client;

        if (to->take != NULL)
            to->take(to->user, p);
        else
            ipc_packet_drop(q->carrier.server_loop, p);
    }
}

static inline int
ipc_queue_send(struct ipc_carrier *c, struct ipc_packet *p)
{
    struct ipc_queue *q = container_of(c, struct ipc_queue, carrier);

    if (q->cut)
        return -EPIPE;
    list_push_back(&q->packets, &p->node);
    loop_defer(c->server_loop, &q->work);
    return 0;
}

static const struct ipc_carrier_ops ipc_queue_ops = {.send = ipc_queue_send};

static inline void
ipc_queue_init(struct ipc_queue *q, struct loop *l)
{
    *q = (struct ipc_queue){.carrier = {.ops = &ipc_queue_ops, .client_loop = l, .server_loop = l}};
    list_init(&q->packets);
    loop_work_init(&q->work, ipc_queue_deliver);
}

static inline void
ipc_queue_fini(struct ipc_queue *q)
{
    loop_defer_cancel(&q->work);
    while (!list_empty(&q->packets))
        ipc_packet_drop(q->carrier.server_loop,
                        container_of(list_pop_front(&q->packets), struct ipc_packet, node));
}

#endif
