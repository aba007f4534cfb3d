/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_engine_death.c - what may still be written to shared memory by processes
 * that were killed and are not reaped yet, and entries that no honest client writes. */
#include <string.h>

#include "dataplane/internal.h"
#include "seam/shm.h"
#include "tests/sim/lunette_sim_engine.h"

#define SIDS 64 /* sessions of a context are numbered from 1 on */

struct offload_attach *
le_attachment(struct le_client *c)
{
    for (uint32_t sid = 1; c->ctx != NULL && sid <= SIDS; sid++) {
        const struct dp_session *ds = dp_session_find(c->ctx->dp, sid);
        const struct offload_adapter *ad =
            ds != NULL && ds->use.host != NULL ? ds->use.host->dd_data : NULL;

        if (ad != NULL && !list_empty(&ad->attachments))
            return container_of(ad->attachments.next, struct offload_attach, node);
    }
    return NULL;
}

/* ---- a dead engine ----------------------------------------------------------------------------
 */

/* The answer is in the ring, so that the engine has no use for its memory any more. */
static bool
is_answered(const struct offload_share *sh, uint32_t slot)
{
    const struct ring_consumer *cq = &sh->cq;

    for (uint32_t i = cq->consumed; i != __atomic_load_n(&cq->sh->produced, __ATOMIC_RELAXED);
         i++) {
        struct offload_cqe e;

        memcpy(&e, cq->entries + (size_t)(i & (cq->count - 1)) * cq->entry_size, sizeof(e));
        if (e.slot == slot)
            return true;
    }
    return false;
}

static void
note_left(struct le_client *c, struct offload_attach *at)
{
    struct offload_share *sh = &at->share;

    for (uint32_t i = slots_next_live(&sh->slots, 0); i < sh->slots.count;
         i = slots_next_live(&sh->slots, i + 1)) {
        const struct offload_use *u = &sh->use[i];

        if (u->in < 0 || is_answered(sh, i) || c->w->nleft == LE_LEFT_MAX)
            continue;
        c->w->left[c->w->nleft++] = (struct le_left){.c = c,
                                                     .life = c->life,
                                                     .at = at,
                                                     .generation = at->generation,
                                                     .off = (uint64_t)u->in,
                                                     .len = sh->asked[i].in_len};
    }
}

/* Both addresses are of the same memory, which is mapped twice. */
static bool
is_same_memory(uint8_t *a, const uint8_t *b)
{
    uint8_t was = *b;
    bool same;

    *a ^= 0xff;
    same = *(const volatile uint8_t *)b != was;
    *a ^= 0xff;
    return same;
}

/* The client's arena is still that which the engine had. */
static bool
left_is_there(const struct le_left *l)
{
    return l->c->loop != NULL && l->c->life == l->life && le_attachment(l->c) == l->at &&
           l->at->generation == l->generation && offload_share_there(&l->at->share);
}

/* Until the engine is reaped its clients keep what it had, and attach to no other: who has given
 * back what may still be written to could have it written to. */
static void
left_must_be_there(struct le_world *w, const struct le_left *l)
{
    const struct offload_attach *at =
        l->c->loop != NULL && l->c->life == l->life ? le_attachment(l->c) : NULL;

    if (at != NULL && (at->generation != l->generation || !offload_share_there(&at->share)))
        LE_FAIL(w, "client %u has given back what an engine has that may still run", l->c->index);
}

/* An engine receives data into the arena: of what was being read when it was killed anything may
 * come to be there, and nowhere else. */
static void
engine_still_writes(void *user, uint8_t *mem, size_t size)
{
    struct le_world *w = user;

    for (uint32_t i = 0; i < w->nleft; i++) {
        const struct le_left *l = &w->left[i];
        struct offload_share *sh = &l->at->share;

        left_must_be_there(w, l);
        if (!left_is_there(l) || sh->map_size != size || le_below(w, 2) == 0 ||
            !is_same_memory(mem + l->off, (uint8_t *)sh->map + l->off))
            continue;
        for (uint32_t k = 0; k < l->len; k++)
            mem[l->off + k] ^= (uint8_t)(1 + le_below(w, 255));
        LS_COUNT(dying_writes, 1);
        if (!arena_check(&sh->arena))
            LE_FAIL(w,
                    "client %u has given back data that the engine may still write to (offset "
                    "%llu)",
                    l->c->index, (unsigned long long)sh->arena.spoiled_at);
    }
}

/* What lies in a ring from long ago is there once more, as if it had been put there anew: whoever
 * takes it has to see by its generation that it is about something that is over. */
static void
old_again(struct le_world *w, struct ring_shared *sh, uint32_t slots)
{
    uint32_t n = 1 + (uint32_t)le_below(w, slots);

    (void)__atomic_fetch_add(&sh->produced, n, __ATOMIC_RELAXED);
    LS_COUNT(dying_writes, 1);
}

void
le_engine_dies(struct le_world *w)
{
    w->nleft = 0;
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        struct le_client *c = &w->client[i];
        struct offload_attach *at = c->loop != NULL ? le_attachment(c) : NULL;

        if (at == NULL || at->state != OFFLOAD_UP)
            continue;
        note_left(c, at);
        if (w->plan.garbage && le_below(w, 2) == 0) {
            old_again(w, at->share.cq.sh, w->plan.slots);
            sim_bell_ring(w->sim, at->share.bell_client, 0);
        }
    }
    if (w->plan.garbage)
        sim_process_set_dying(engine_process_loop(w->engine), engine_still_writes, w);
}

/* ---- a dead client ----------------------------------------------------------------------------
 */

/* A client's threads write what they like to what it has mapped. */
static void
client_still_writes(void *user, uint8_t *mem, size_t size)
{
    struct le_client *c = user;
    struct le_world *w = c->w;
    uint64_t n = 1 + le_below(w, 64);

    if (size != (uint64_t)w->plan.arena_mib << 20 && le_below(w, 2) == 0) {
        /* The ring again, as it was: entries that were taken long ago. */
        old_again(w, (struct ring_shared *)(void *)(mem + offload_sq_at()), w->plan.slots);
        return;
    }
    for (; n > 0; n--) {
        size_t at = le_below(w, size), len = 1 + le_below(w, 600);

        for (size_t i = at; i < size && i < at + len; i++)
            mem[i] = (uint8_t)le_below(w, 256);
    }
    LS_COUNT(dying_writes, 1);
}

void
le_client_dies(struct le_client *c)
{
    struct offload_attach *at = le_attachment(c);
    struct le_world *w = c->w;

    for (uint32_t i = 0; i < w->nleft; i++) { /* nobody reads that any more */
        if (w->left[i].c == c)
            w->left[i--] = w->left[--w->nleft];
    }
    if (!w->plan.garbage)
        return;
    sim_process_set_dying(c->loop, client_still_writes, c);
    if (at != NULL && at->state == OFFLOAD_UP && le_below(w, 2) == 0) {
        old_again(w, at->share.sq.sh, w->plan.slots);
        shm_bell_ring(c->loop, at->share.bell_engine);
    }
}

/* ---- a client that lies -----------------------------------------------------------------------
 */

/* The entry that the client has put into its ring last. */
static bool
last_entry(const struct offload_share *sh, struct offload_sqe *ret)
{
    const struct ring_producer *sq = &sh->sq;

    if (sq->produced == 0)
        return false;
    memcpy(ret, sq->entries + (size_t)((sq->produced - 1) & (sq->count - 1)) * sq->entry_size,
           sizeof(*ret));
    return ret->kind == OFFLOAD_SQ_COMMAND && (ret->in_len > 0 || ret->out_len > 0);
}

/* Makes the entry, which was good, one that must not be executed: what it says is what a client
 * might hope to get away with.  It is of a slot that is free, with the generation that comes next,
 * unless that is what is wrong. */
static const char *
spoil(struct le_world *w, const struct offload_share *sh, struct offload_sqe *e)
{
    uint64_t *off = e->in_len > 0 ? &e->in_off : &e->out_off;
    uint32_t *len = e->in_len > 0 ? &e->in_len : &e->out_len;
    uint32_t old = e->generation;

    e->generation += 0x1000;
    switch (le_below(w, 8)) {
    case 0:
        *off += (uint64_t)1 << 32;
        return "an offset that is right in its low 32 bits";
    case 1:
        *off = 0 - (uint64_t)ARENA_PAGE;
        *len += ARENA_PAGE;
        return "a range whose end is right in 64 bits";
    case 2:
        *off = sh->lim.arena - LE_BLOCK / 2;
        return "a range whose end is beyond the arena";
    case 3:
        e->slot = (uint16_t)sh->lim.slots;
        return "a slot that there is not";
    case 4:
        e->kind = 77;
        return "a kind that there is not";
    case 5:
        e->cdb_len = 261;
        e->cdb_off = sh->lim.arena - 100;
        return "a CDB beyond the arena";
    case 6:
        e->reserved3[5] = 1;
        return "bytes that are reserved";
    default:
        e->generation = old;
        return "a generation that was used before";
    }
}

bool
le_client_lies(struct le_client *c)
{
    struct offload_attach *at = le_attachment(c);
    struct offload_sqe e;
    const char *what;

    if (at == NULL || at->state != OFFLOAD_UP || !last_entry(&at->share, &e) ||
        slots_next_live(&at->share.slots, e.slot) == e.slot)
        return false;
    what = spoil(c->w, &at->share, &e);
    if (ring_put(&at->share.sq, &e) < 0)
        return false;
    LE_SAY(c->w, "client %u lies: %s", c->index, what);
    (void)ring_publish(&at->share.sq);
    shm_bell_ring(c->loop, at->share.bell_engine);
    return true;
}
