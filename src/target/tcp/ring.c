/* SPDX-License-Identifier: MIT */
#include "target/tcp/ring.h"

#include <stdlib.h>

#include "lu/buf.h"
#include "target/instance.h"
#include "target/tcp/tcp.h"

void
tgt_slot_own(struct tgt_slot *slot, void *buf)
{
    slot->owned = lu_buf_chain(buf, slot->owned);
}

void
tgt_ring_release(struct tgt_tcp *f, void *buf)
{
    if (f->ring != NULL && f->ring->count > 0)
        tgt_slot_own(tgt_slot_at(f->ring, f->ring->count - 1), buf);
    else
        lu_buf_free(buf);
}

struct tgt_ring *
tgt_ring_borrow(struct target *t)
{
    struct list *l = list_pop_front(&t->free_rings);
    struct tgt_ring *r;

    if (l != NULL)
        return container_of(l, struct tgt_ring, link);
    r = calloc(1, sizeof(*r));
    if (r != NULL)
        list_init(&r->link);
    return r;
}

void
tgt_ring_drop(struct tgt_tcp *f)
{
    struct tgt_ring *r = f->ring;

    if (r == NULL)
        return;
    for (uint32_t i = 0; i < r->count; i++)
        lu_buf_free(tgt_slot_at(r, i)->owned);
    r->head = r->count = 0;
    r->sent = 0;
    list_push_front(&f->c.target->free_rings, &r->link);
    f->ring = NULL;
}

void
tgt_rings_free(struct target *t)
{
    struct list *l;

    while ((l = list_pop_front(&t->free_rings)) != NULL) {
        struct tgt_ring *r = container_of(l, struct tgt_ring, link);

        free(r->bounce);
        free(r);
    }
}
