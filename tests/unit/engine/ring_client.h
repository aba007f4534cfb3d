/* SPDX-License-Identifier: MIT */
/* tests/unit/engine/ring_client.h - the other side of a lane: fills one ring, reads the other. */
#ifndef TESTS_RING_CLIENT_H
#define TESTS_RING_CLIENT_H

#include "tests/unit/engine/fake_shm.h"

#include "offload/entry.h"

#define CLIENT_ANSWERS 1024

struct ring_client {
    struct fake_shm *w;
    uint32_t slots, gen[OFFLOAD_SLOTS_MAX];
    uint64_t arena_size;
    uint8_t *region, *arena;
    int fd[4]; /* region, arena, bell of the engine, bell of the client */
    struct ring_producer sq;
    struct ring_consumer cq;
    struct offload_cqe got[CLIENT_ANSWERS];
    unsigned ngot;
};

static inline void
ring_client_init(struct ring_client *c, struct fake_shm *w, uint32_t slots, uint64_t arena)
{
    uint32_t count = offload_ring_count(slots);
    void *map;

    memset(c, 0, sizeof(*c));
    c->w = w;
    c->slots = slots;
    c->arena_size = arena;
    assert_int_equal(shm_make(&w->f.l, offload_region_size(slots), &c->fd[0], &map), 0);
    c->region = map;
    assert_int_equal(shm_make(&w->f.l, arena, &c->fd[1], &map), 0);
    c->arena = map;
    assert_int_equal(shm_bell_make(&w->f.l, &c->fd[2]), 0);
    assert_int_equal(shm_bell_make(&w->f.l, &c->fd[3]), 0);
    ring_producer_init(&c->sq, c->region + offload_sq_at(), sizeof(struct offload_sqe), count);
    ring_consumer_init(&c->cq, c->region + offload_cq_at(slots), sizeof(struct offload_cqe), count);
}

/* Shows all that was put; rings where that is wanted. */
static inline void
ring_client_publish(struct ring_client *c)
{
    if (ring_publish(&c->sq))
        fake_bell_ring(&c->w->f.l, c->fd[2]);
}

static inline struct offload_sqe
ring_client_entry(struct ring_client *c, uint32_t sid, uint16_t slot)
{
    struct offload_sqe e = {.kind = OFFLOAD_SQ_COMMAND,
                            .attr = 1,
                            .slot = slot,
                            .generation = ++c->gen[slot],
                            .sid = sid,
                            .cdb_len = 16,
                            .cdb = {0x88}};

    return e;
}

static inline void
ring_client_put(struct ring_client *c, const struct offload_sqe *e)
{
    assert_int_equal(ring_put(&c->sq, e), 0);
}

/* A read of so many bytes to the start of the arena. */
static inline void
ring_client_read(struct ring_client *c, uint32_t sid, uint16_t slot, uint32_t len)
{
    struct offload_sqe e = ring_client_entry(c, sid, slot);

    e.in_len = len;
    ring_client_put(c, &e);
}

static inline void
ring_client_tmf(struct ring_client *c, uint32_t sid, uint16_t slot, enum offload_function fn,
                uint16_t ref)
{
    struct offload_sqe e = {.kind = OFFLOAD_SQ_TMF,
                            .function = (uint8_t)fn,
                            .slot = slot,
                            .generation = ++c->gen[slot],
                            .sid = sid};

    if (fn == OFFLOAD_ABORT) {
        e.ref_slot = ref;
        e.ref_generation = c->gen[ref];
    }
    ring_client_put(c, &e);
}

/* Takes all answers there are, after a turn. */
static inline unsigned
ring_client_turn(struct ring_client *c)
{
    unsigned before = c->ngot;

    fake_shm_turn(c->w);
    while (c->ngot < CLIENT_ANSWERS && ring_get(&c->cq, &c->got[c->ngot]) > 0)
        c->ngot++;
    ring_release(&c->cq);
    (void)ring_sleep(&c->cq);
    return c->ngot - before;
}

static inline const struct offload_cqe *
ring_client_last(const struct ring_client *c)
{
    assert_true(c->ngot > 0);
    return &c->got[c->ngot - 1];
}

#endif
