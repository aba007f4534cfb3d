/* SPDX-License-Identifier: MIT */
/* Units are not registered for the device: a RAM unit may be larger than what may be locked, its
 * pages need not be there, and others have no memory at all.  Data are copied through an arena,
 * as they are through the socket's memory on TCP; docs/design/target-face.md has the figures. */
#include "target/iser/memory.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define RECV_STRIDE ((TGT_ISER_RECV_LEN + 63u) & ~63u)
#define POST_BATCH  32u

/* The slab and the place in it. */
static struct tgt_slab *
slab_of(struct tgt_iser *f, uint32_t *recv)
{
    struct tgt_slab *s = &f->slabs[TGT_SLAB_LOGIN];

    if (*recv < s->recvs)
        return s;
    *recv -= s->recvs;
    s = &f->slabs[TGT_SLAB_FFP];
    assert(*recv < s->recvs);
    return s;
}

uint8_t *
tgt_memory_recv(struct tgt_iser *f, uint32_t recv)
{
    struct tgt_slab *s = slab_of(f, &recv);

    return s->mem + (size_t)recv * RECV_STRIDE;
}

static struct rnic_recv
recv_request(struct tgt_iser *f, uint32_t recv)
{
    uint32_t at = recv;
    struct tgt_slab *s = slab_of(f, &at);

    return (struct rnic_recv){.id = recv,
                              .sge = {.addr = s->mem + (size_t)at * RECV_STRIDE,
                                      .len = TGT_ISER_RECV_LEN,
                                      .lkey = s->mr->lkey}};
}

int
tgt_memory_post(struct tgt_iser *f, uint32_t recv)
{
    struct rnic_recv r = recv_request(f, recv);

    return rnic_post_recv(f->ep, &r, 1);
}

/* Posts all receives of a slab, the first of which has that number. */
static int
post_slab(struct tgt_iser *f, uint32_t first, uint32_t count, struct lunette_error *err)
{
    struct rnic_recv r[POST_BATCH];

    while (count > 0) {
        uint32_t n = count < POST_BATCH ? count : POST_BATCH;
        int res;

        for (uint32_t i = 0; i < n; i++)
            r[i] = recv_request(f, first + i);
        res = rnic_post_recv(f->ep, r, n);
        if (res < 0)
            return lunette_fail(err, res, LUNETTE_DOM_OS, (uint32_t)-res,
                                "cannot post receives: %s", errno_text(-res));
        first += n;
        count -= n;
    }
    return 0;
}

static int
slab_init(struct tgt_iser *f, struct tgt_slab *s, uint32_t recvs, uint32_t arena,
          struct lunette_error *err)
{
    size_t size = (size_t)recvs * RECV_STRIDE + arena;
    uint32_t first = f->recvs;
    struct tgt_message *waiting;
    int r;

    /* Cleared, since padding of what is sent is taken from it, and nobody's data may leave so. */
    s->mem = calloc(1, size);
    waiting = calloc(f->recvs + recvs, sizeof(*waiting));
    if (s->mem == NULL || waiting == NULL) {
        free(waiting);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    }
    r = rnic_reg(f->ep, s->mem, size, 0, &s->mr, err);
    if (r < 0) {
        free(waiting);
        return r;
    }
    for (uint32_t i = 0; i < f->waiting_count; i++)
        waiting[i] = f->waiting[(f->waiting_head + i) % f->recvs];
    free(f->waiting);
    f->waiting = waiting;
    f->waiting_head = 0;
    s->recvs = recvs;
    f->recvs += recvs;
    s->arena = (struct tgt_arena){
        .mem = s->mem + (size_t)recvs * RECV_STRIDE, .size = arena, .lkey = s->mr->lkey};
    f->arena = &s->arena;
    return post_slab(f, first, recvs, err);
}

int
tgt_memory_init(struct tgt_iser *f, struct lunette_error *err)
{
    return slab_init(f, &f->slabs[TGT_SLAB_LOGIN], TGT_ISER_LOGIN_RECVS, TGT_ISER_LOGIN_ARENA, err);
}

int
tgt_memory_grow(struct tgt_iser *f, uint32_t commands, struct lunette_error *err)
{
    struct tgt_slab *s = &f->slabs[TGT_SLAB_FFP];
    int r = slab_init(f, s, commands + TGT_ISER_EXTRA_RECVS - TGT_ISER_LOGIN_RECVS, TGT_ISER_ARENA,
                      err);

    if (r < 0 && s->mr == NULL) {
        free(s->mem);
        s->mem = NULL;
    }
    return r;
}

void
tgt_memory_fini(struct tgt_iser *f)
{
    for (unsigned i = 0; i < TGT_SLABS; i++)
        free(f->slabs[i].mem);
    free(f->waiting);
}

/* The bytes that len bytes take, with what is left over at the end where they do not fit there; 0:
 * there is no room. */
static uint32_t
arena_cost(const struct tgt_arena *a, uint32_t len)
{
    uint32_t free_bytes = a->size - a->used, to_end = a->size - a->head;

    if (a->head < a->used || len <= to_end) /* what is free is in one piece, or its end will do */
        return len <= free_bytes ? len : 0;
    return len <= free_bytes - to_end ? to_end + len : 0;
}

static uint32_t
arena_len(const struct tgt_arena *a, uint32_t len)
{
    assert(len > 0 && len <= a->size / 2);
    return (len + 63u) & ~63u; /* so that a copy begins where a cache line does */
}

bool
tgt_arena_has(const struct tgt_arena *a, uint32_t len)
{
    return a->used == 0 || arena_cost(a, arena_len(a, len)) > 0;
}

uint8_t *
tgt_arena_take(struct tgt_arena *a, uint32_t len, uint32_t *ret_take)
{
    uint32_t cost, at;

    len = arena_len(a, len);
    if (a->used == 0)
        a->head = 0;
    cost = arena_cost(a, len);
    if (cost == 0)
        return NULL;
    at = cost == len ? a->head : 0;
    a->head = (at + len) % a->size;
    a->used += cost;
    *ret_take = cost;
    return a->mem + at;
}

void
tgt_arena_give(struct tgt_arena *a, uint32_t take)
{
    assert(take <= a->used);
    a->used -= take;
}
