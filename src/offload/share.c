/* SPDX-License-Identifier: MIT */
#include "offload/share.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

_Static_assert(OFFLOAD_OPT_SLOTS_MAX == OFFLOAD_SLOTS_MAX, "what can be asked for");
_Static_assert(OFFLOAD_OPT_ARENA_MAX == OFFLOAD_ARENA_MAX, "what can be asked for");

/* Test builds and tests of processes have what is free in the arena looked at. */
static bool
share_poison(void)
{
#ifdef OFFLOAD_POISON
    return true;
#else
    return secure_getenv("LUNETTE_ARENA_CHECK") != NULL;
#endif
}

static int
share_fail(struct lunette_error *err, int r, const char *what)
{
    if (r == -EOPNOTSUPP)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "this system has no memory, or no bells, that can be shared with an "
                            "engine safely");
    return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s: %s", what, errno_text(-r));
}

static void
share_lay_out(struct offload_share *sh, const struct offload_options *o, uint32_t generation)
{
    uint8_t *at = sh->region;
    uint32_t n = offload_ring_count(o->slots);
    struct offload_head *head = sh->region;

    *head = (struct offload_head){.magic = OFFLOAD_MAGIC,
                                  .version = OFFLOAD_VERSION,
                                  .slots = o->slots,
                                  .generation = generation,
                                  .arena = o->arena};
    sh->lim = (struct offload_limits){.slots = o->slots, .arena = o->arena};
    ring_producer_init(&sh->sq, at + offload_sq_at(), sizeof(struct offload_sqe), n);
    ring_consumer_init(&sh->cq, at + offload_cq_at(o->slots), sizeof(struct offload_cqe), n);
}

static int
share_tables(struct offload_share *sh, const struct offload_options *o)
{
    sh->asked = calloc(o->slots, sizeof(*sh->asked));
    sh->use = calloc(o->slots, sizeof(*sh->use));
    if (sh->asked == NULL || sh->use == NULL || slots_init(&sh->slots, o->slots, true) < 0)
        return -ENOMEM;
    return arena_init(&sh->arena, sh->map, o->arena, share_poison());
}

static int
share_bells(struct offload_share *sh)
{
    struct loop *l = sh->loop;
    int r = shm_bell_make(l, &sh->bell_engine);

    if (r == 0)
        r = shm_bell_make(l, &sh->bell_client);
    if (r == 0)
        r = shm_dup(l, sh->bell_engine, &sh->send[IPC_ENGINE_BELL_ENGINE]);
    return r < 0 ? r : shm_dup(l, sh->bell_client, &sh->send[IPC_ENGINE_BELL_CLIENT]);
}

int
offload_share_make(struct loop *l, const struct offload_options *o, uint32_t generation,
                   struct offload_share *ret, struct lunette_error *err)
{
    struct offload_share sh = {.loop = l, .bell_engine = -1, .bell_client = -1};
    const char *what = "memory to share with the engine";
    int r;

    for (unsigned i = 0; i < IPC_ENGINE_FDS; i++)
        sh.send[i] = -1;
    sh.region_size = offload_region_size(o->slots);
    sh.map_size = o->arena;
    r = shm_make(l, sh.region_size, &sh.send[IPC_ENGINE_REGION], &sh.region);
    if (r == 0)
        r = shm_make(l, sh.map_size, &sh.send[IPC_ENGINE_ARENA], &sh.map);
    if (r == 0) {
        share_lay_out(&sh, o, generation);
        r = share_tables(&sh, o);
    }
    if (r == 0) {
        what = "a bell to wake the engine with";
        r = share_bells(&sh);
    }
    if (r < 0) {
        offload_share_free(&sh);
        return share_fail(err, r, what);
    }
    *ret = sh;
    return 0;
}

void
offload_share_free(struct offload_share *sh)
{
    if (sh->loop == NULL)
        return;
    for (unsigned i = 0; i < IPC_ENGINE_FDS; i++)
        loop_close_fd(sh->loop, sh->send[i]);
    loop_close_fd(sh->loop, sh->bell_engine);
    loop_close_fd(sh->loop, sh->bell_client);
    arena_fini(&sh->arena);
    slots_fini(&sh->slots);
    free(sh->asked);
    free(sh->use);
    if (sh->map != NULL)
        shm_unmap(sh->loop, sh->map, sh->map_size);
    if (sh->region != NULL)
        shm_unmap(sh->loop, sh->region, sh->region_size);
    *sh = (struct offload_share){.loop = NULL};
}

/* An extent of len bytes; -1 where len is 0.  False: there is none. */
static bool
share_extent(struct offload_share *sh, uint32_t len, int64_t *ret, uint64_t *ret_off)
{
    *ret = -1;
    *ret_off = 0;
    if (len == 0)
        return true;
    *ret = arena_alloc(&sh->arena, len);
    if (*ret < 0) {
        *ret = -1;
        return false;
    }
    *ret_off = (uint64_t)*ret;
    return true;
}

static void
share_free_extents(struct offload_share *sh, struct offload_use *u)
{
    if (u->in >= 0)
        arena_free(&sh->arena, (uint64_t)u->in);
    if (u->out >= 0)
        arena_free(&sh->arena, (uint64_t)u->out);
    if (u->cdb >= 0)
        arena_free(&sh->arena, (uint64_t)u->cdb);
}

struct offload_use *
offload_share_take(struct offload_share *sh, struct offload_sqe *e, uint32_t keep)
{
    struct offload_use u = {.in = -1, .out = -1, .cdb = -1};
    uint32_t cdb_len = e->cdb_len > OFFLOAD_CDB_INLINE ? e->cdb_len : 0;

    if (sh->slots.held || sh->slots.count - sh->slots.live <= keep)
        return NULL; /* before the arena is asked */
    if (!share_extent(sh, e->out_len, &u.out, &e->out_off) ||
        !share_extent(sh, e->in_len, &u.in, &e->in_off) ||
        !share_extent(sh, cdb_len, &u.cdb, &e->cdb_off) ||
        slots_take(&sh->slots, keep, &e->slot, &e->generation) < 0) {
        share_free_extents(sh, &u);
        return NULL;
    }
    u.generation = e->generation;
    u.command = e->kind == OFFLOAD_SQ_COMMAND;
    sh->use[e->slot] = u;
    sh->asked[e->slot] = (struct offload_asked){
        .kind = e->kind, .sid = e->sid, .in_len = e->in_len, .out_len = e->out_len};
    return &sh->use[e->slot];
}

void
offload_share_give(struct offload_share *sh, uint32_t slot)
{
    struct offload_use *u = &sh->use[slot];
    bool given = slots_give(&sh->slots, slot);

    assert(given);
    (void)given;
    share_free_extents(sh, u);
    *u = (struct offload_use){.user = NULL, .in = -1, .out = -1, .cdb = -1};
}

uint64_t
offload_share_beat(const struct offload_share *sh)
{
    const struct offload_head *head = sh->region;

    return __atomic_load_n(&head->beat, __ATOMIC_RELAXED);
}

bool
offload_share_released(const struct offload_share *sh)
{
    const struct offload_head *head = sh->region;

    return __atomic_load_n(&head->released, __ATOMIC_ACQUIRE) != 0;
}
