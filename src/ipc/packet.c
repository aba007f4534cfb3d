/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "ipc/carrier.h"

struct ipc_packet *
ipc_packet_new(uint32_t room)
{
    struct ipc_packet *p = malloc(sizeof(*p) + room);

    if (p == NULL)
        return NULL;
    *p = (struct ipc_packet){.fd = -1, .room = room};
    list_init(&p->node);
    return p;
}

/* Only the loop knows how to close a descriptor: in the simulator it is none of the system's. */
void
ipc_close_descriptor(struct loop *l, int fd)
{
    static const struct stream_events none = {.readable = NULL};
    struct stream *s;

    if (fd >= 0 && stream_adopt(l, fd, &none, NULL, &s) == 0)
        stream_close(s);
}

void
ipc_packet_drop(struct loop *l, struct ipc_packet *p)
{
    ipc_close_descriptor(l, p->fd);
    free(p);
}
