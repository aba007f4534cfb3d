/* SPDX-License-Identifier: MIT */
#include <stdlib.h>

#include "ipc/carrier.h"

struct ipc_packet *
ipc_packet_new(uint32_t room)
{
    struct ipc_packet *p = malloc(sizeof(*p) + room);

    if (p == NULL)
        return NULL;
    p->room = room;
    ipc_packet_reset(p);
    return p;
}

void
ipc_packet_reset(struct ipc_packet *p)
{
    *p = (struct ipc_packet){.fd = -1, .room = p->room};
    list_init(&p->node);
}

void
ipc_packet_drop(struct loop *l, struct ipc_packet *p)
{
    loop_close_fd(l, p->fd);
    free(p);
}
