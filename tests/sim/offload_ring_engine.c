/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "seam/host.h"
#include "seam/ipc.h"
#include "tests/sim/offload_ring.h"

/* Both are below 2^33, so that the sum is what it seems to be. */
static bool
inside(uint64_t off, uint64_t len)
{
    return len == 0 || (off < OR_ARENA && off + len <= OR_ARENA);
}

static void
claimed(struct or_world *w, const struct offload_sqe *e)
{
    struct or_work *k;
    const struct or_use *u;

    OR_CHECK(w, w->checked && memcmp(w->seen, e, sizeof(*e)) == 0);
    OR_CHECK(w, e->slot < w->slots);
    OR_CHECK(w, inside(e->in_off, e->in_len) && inside(e->out_off, e->out_len));
    OR_CHECK(w, inside(e->cdb_off, e->cdb_len > OFFLOAD_CDB_INLINE ? e->cdb_len : 0));
    OR_CHECK(w, e->cdb_len <= OFFLOAD_CDB_MAX);
    k = &w->e.work[e->slot];
    OR_CHECK(w, !k->live);
    *k = (struct or_work){.sqe = *e, .live = true};
    if (w->liar != OR_NOBODY)
        return;
    u = &w->c.use[e->slot];
    OR_CHECK(w, u->live && memcmp(&u->sqe, e, sizeof(*e)) == 0);
    for (uint32_t i = 0; i < e->out_len; i++)
        OR_CHECK(w, w->arena[e->out_off + i] == or_byte(u->id, i));
    if (e->function == OFFLOAD_ABORT) /* it was asked for before, and may be done */
        OR_CHECK(w, slots_look(&w->e.slots, e->ref_slot, e->ref_generation) != SLOTS_IMPOSSIBLE);
}

static enum offload_take
engine_take(struct or_world *w)
{
    struct or_engine *g = &w->e;
    enum offload_fault why = OFFLOAD_FINE;
    struct offload_sqe e;
    enum offload_take r;

    w->checked = false;
    r = offload_take_sqe(&g->sq, &g->slots, &w->limits, &e, &why);
    if (r == OFFLOAD_TAKEN)
        claimed(w, &e);
    OR_CHECK(w, r < OFFLOAD_DROPPED || w->liar != OR_NOBODY);
    OR_CHECK(w, (r == OFFLOAD_BROKEN) == (why != OFFLOAD_FINE));
    w->over |= r == OFFLOAD_BROKEN;
    g->idle = r == OFFLOAD_NONE;
    return r;
}

static struct or_work *
any_work(struct or_world *w)
{
    uint32_t slot = slots_next_live(&w->e.slots, dice_below(&w->dice, w->slots));

    if (slot == w->slots)
        slot = slots_next_live(&w->e.slots, 0);
    return slot < w->slots ? &w->e.work[slot] : NULL;
}

static void
move(struct or_world *w, struct or_work *k, uint32_t len)
{
    uint64_t id = w->c.use[k->sqe.slot].id;

    for (; len > 0 && k->moved < k->sqe.in_len; len--, k->moved++)
        w->arena[k->sqe.in_off + k->moved] = or_byte(id, k->moved);
}

static void
put_cq_lie(struct or_world *w, struct offload_cqe *e)
{
    struct or_engine *g = &w->e;

    switch (dice_below(&w->dice, 5)) {
    case 0:
        or_lie_over(w, e, sizeof(*e));
        break;
    case 1: /* what was told before, once more */
        *e = g->last[dice_below(&w->dice, w->slots)];
        break;
    case 2: /* an older use of a slot that has a new one */
        *e = g->last[dice_below(&w->dice, w->slots)];
        e->slot = (uint16_t)dice_below(&w->dice, w->slots);
        e->generation -= dice_below(&w->dice, 3);
        break;
    case 3:
        or_lie_ring(w, g->cq.sh, &g->cq.sh->produced, g->cq.entries, sizeof(*e) * g->cq.count);
        break;
    default:
        or_lie_ring(w, g->sq.sh, &g->sq.sh->consumed, w->region + offload_sq_at(),
                    sizeof(struct ring_shared));
    }
}

static void
put_cqe(struct or_world *w, const struct offload_cqe *e)
{
    struct offload_cqe lie = *e;

    /* The lie comes beside the truth, or in its place. */
    if (w->liar == OR_ENGINE && dice_below(&w->dice, 5) == 0) {
        put_cq_lie(w, &lie);
        (void)ring_put(&w->e.cq, &lie);
        if (dice_below(&w->dice, 2) == 0)
            return;
    }
    if (ring_put(&w->e.cq, e) < 0)
        OR_CHECK(w, w->liar != OR_NOBODY);
}

static void
finish(struct or_world *w, struct or_work *k)
{
    struct or_use *u = &w->c.use[k->sqe.slot];
    struct offload_cqe e = {.slot = k->sqe.slot,
                            .generation = k->sqe.generation,
                            .sid = k->sqe.sid,
                            .state = IPC_SESSION_RUNNING};

    if (k->sqe.kind == OFFLOAD_SQ_TMF) {
        e.kind = OFFLOAD_CQ_TMF_DONE;
        e.result = SCSI_EH_NOT_FOUND;
    } else {
        e.kind = OFFLOAD_CQ_DONE;
        move(w, k, dice_below(&w->dice, 3) == 0 ? dice_below(&w->dice, 4096) : UINT32_MAX);
        e.resid_in = k->sqe.in_len - k->moved;
    }
    u->finished = true;
    u->resid_in = e.resid_in;
    k->live = false;
    OR_CHECK(w, slots_give(&w->e.slots, k->sqe.slot));
    w->e.last[k->sqe.slot] = e;
    put_cqe(w, &e);
}

static void
engine_commit(struct or_world *w)
{
    ring_release(&w->e.sq);
    w->c.bell |= ring_publish(&w->e.cq);
}

static void
engine_sleep(struct or_world *w)
{
    w->e.asleep = ring_sleep(&w->e.sq);
    w->e.idle = false;
    w->counts->slept += w->e.asleep;
}

static void
engine_wake(struct or_world *w)
{
    w->e.bell = w->e.asleep = false;
    ring_awake(&w->e.sq);
}

/* What the network brings comes while it sleeps, too. */
static void
engine_work(struct or_world *w)
{
    struct or_work *k = any_work(w);

    if (k == NULL)
        return;
    if (dice_below(&w->dice, 2) == 0)
        move(w, k, dice_below(&w->dice, 2000));
    else
        finish(w, k);
}

void
or_engine_step(struct or_world *w)
{
    struct or_engine *g = &w->e;

    switch (dice_below(&w->dice, 8)) {
    case 0:
    case 1:
        engine_work(w);
        break;
    case 2:
    case 3:
        engine_commit(w);
        break;
    case 4:
        if (g->bell)
            engine_wake(w);
        break;
    case 5:
        if (!g->asleep && g->idle)
            engine_sleep(w);
        break;
    default:
        if (!g->asleep)
            (void)engine_take(w);
    }
}

/* A thread of it was in the middle of something. */
void
or_engine_last_step(struct or_world *w)
{
    struct or_work *k = any_work(w);

    if (k != NULL && k->sqe.in_len > 0)
        w->arena[k->sqe.in_off + dice_below(&w->dice, k->sqe.in_len)] ^= 0x5a;
}

bool
or_engine_turn(struct or_world *w)
{
    struct or_work *k;

    while (!w->over && (k = any_work(w)) != NULL)
        finish(w, k);
    engine_commit(w);
    if (w->e.asleep && !w->e.bell)
        return false;
    engine_wake(w);
    while (!w->over && engine_take(w) != OFFLOAD_NONE)
        ;
    while (!w->over && (k = any_work(w)) != NULL)
        finish(w, k);
    engine_commit(w);
    engine_sleep(w);
    return true;
}
