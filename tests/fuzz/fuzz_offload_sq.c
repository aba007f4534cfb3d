/* SPDX-License-Identifier: MIT */
/* fuzz_offload_sq.c - a submission ring as an engine finds it: its index and its entries.
 *
 * Input: slots, pages of the arena, the index of the producer (4 bytes), entries.  What the engine
 * takes lies within the arena, which has exactly as many bytes as it says; it is read here. */
#include "fuzz.h"
#include "offload/take.h"

#define COUNT 8u

struct engine {
    struct offload_limits lim;
    struct slots slots;
    struct ring_consumer sq;
    uint8_t *arena;
};

static unsigned
bytes_of(const struct engine *g, uint64_t off, uint32_t len)
{
    unsigned sum = 0;

    for (uint32_t i = 0; i < len; i++)
        sum += g->arena[off + i];
    return sum;
}

static void
check_taken(struct engine *g, const struct offload_sqe *e)
{
    unsigned sum;

    CHECK(e->kind == OFFLOAD_SQ_COMMAND || e->kind == OFFLOAD_SQ_TMF);
    CHECK(e->slot < g->lim.slots && e->generation != 0);
    CHECK(slots_look(&g->slots, e->slot, e->generation) == SLOTS_LIVE);
    sum = bytes_of(g, e->in_off, e->in_len) + bytes_of(g, e->out_off, e->out_len);
    if (e->kind == OFFLOAD_SQ_TMF) {
        CHECK(e->function >= OFFLOAD_ABORT && e->function <= OFFLOAD_QUERY_ASYNC_EVENT);
        CHECK(e->in_len == 0 && e->out_len == 0 && e->cdb_len == 0);
        CHECK(e->function != OFFLOAD_ABORT || e->ref_slot != e->slot);
        (void)slots_look(&g->slots, e->ref_slot, e->ref_generation);
    } else {
        CHECK(e->cdb_len > 0 && e->cdb_len <= OFFLOAD_CDB_MAX && e->attr <= 4);
        if (e->cdb_len > OFFLOAD_CDB_INLINE)
            sum += bytes_of(g, e->cdb_off, e->cdb_len);
    }
    CHECK(sum == 0); /* nobody has written to the arena */
    if (e->sid % 2 == 0)
        CHECK(slots_give(&g->slots, e->slot));
}

static void
take_entries(struct engine *g)
{
    enum offload_fault why = OFFLOAD_FINE;
    struct offload_sqe e;

    for (unsigned n = 0;; n++) {
        enum offload_take r = offload_take_sqe(&g->sq, &g->slots, &g->lim, &e, &why);

        CHECK(n <= COUNT && r != OFFLOAD_DROPPED);
        fuzz_check_text(offload_fault_text(why), 80);
        CHECK((r == OFFLOAD_BROKEN) == (why != OFFLOAD_FINE));
        if (r != OFFLOAD_TAKEN)
            return;
        check_taken(g, &e);
    }
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    size_t bytes = ring_bytes(sizeof(struct offload_sqe), COUNT);
    struct engine g = {.lim = {.slots = 1}};
    struct ring_shared *sh;

    if (len < 6)
        return;
    g.lim = (struct offload_limits){1 + data[0] % 64u, (1 + data[1] % 4u) * UINT64_C(4096)};
    g.arena = calloc(1, (size_t)g.lim.arena);
    sh = aligned_alloc(64, bytes);
    CHECK(g.arena != NULL && sh != NULL && slots_init(&g.slots, g.lim.slots, false) == 0);
    memset(sh, 0, bytes);
    ring_consumer_init(&g.sq, sh, sizeof(struct offload_sqe), COUNT);
    memcpy(&sh->produced, data + 2, 4);
    len = len - 6 < bytes - sizeof(*sh) ? len - 6 : bytes - sizeof(*sh);
    memcpy((uint8_t *)sh + sizeof(*sh), data + 6, len);
    take_entries(&g);
    slots_fini(&g.slots);
    free(sh);
    free(g.arena);
}
