/* SPDX-License-Identifier: MIT */
/* ipc/handover.c - a connection that has said HELLO goes to the loop that it means. */
#include <stdlib.h>

#include "ipc/acceptor.h"

struct handover {
    struct loop_work work;
    struct loop *to;
    struct ipc_packet *hello;
    int fd;
    ipc_arrived_fn *arrived;
    void *user;
};

static void
handover_arrived(struct loop_work *work)
{
    struct handover *h = container_of(work, struct handover, work);
    static const struct stream_events none;
    struct stream *s;

    if (stream_adopt_packets(h->to, h->fd, &none, NULL, &s) == 0) {
        h->arrived(h->user, s, h->hello);
    } else {
        loop_close_fd(h->to, h->fd);
        ipc_packet_drop(h->to, h->hello);
    }
    free(h);
}

void
ipc_hand_over(struct loop *to, struct stream *s, struct ipc_packet *hello, ipc_arrived_fn *arrived,
              void *user)
{
    struct handover *h = malloc(sizeof(*h));

    if (h == NULL) {
        ipc_packet_drop(s->loop, hello);
        stream_close(s);
        return;
    }
    *h = (struct handover){.to = to, .hello = hello, .arrived = arrived, .user = user};
    h->fd = stream_release(s);
    loop_work_init(&h->work, handover_arrived);
    loop_post(to, &h->work);
}
