/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <string.h>

#include "seam/host.h"
#include "tests/sim/offload_ring.h"

static void
free_data(struct or_world *w, const struct or_use *u)
{
    if (u->sqe.in_len > 0)
        arena_free(&w->c.arena, u->sqe.in_off);
    if (u->sqe.out_len > 0)
        arena_free(&w->c.arena, u->sqe.out_off);
}

/* Data of a command: no more than there is room for. */
static bool
alloc_data(struct or_world *w, struct offload_sqe *e)
{
    uint32_t len[2] = {0, 0};
    int64_t off[2] = {0, 0};

    for (unsigned i = 0; i < 2; i++) {
        if (dice_below(&w->dice, 2) == 0)
            continue;
        len[i] = 1 + dice_below(&w->dice, 3 * ARENA_PAGE);
        off[i] = arena_alloc(&w->c.arena, len[i]);
        if (off[i] >= 0)
            continue;
        OR_CHECK(w, off[i] == -EAGAIN);
        if (i == 1 && len[0] > 0)
            arena_free(&w->c.arena, (uint64_t)off[0]);
        return false;
    }
    e->in_off = (uint64_t)off[0];
    e->in_len = len[0];
    e->out_off = (uint64_t)off[1];
    e->out_len = len[1];
    return true;
}

static void
fill_command(struct or_world *w, struct offload_sqe *e, uint64_t id)
{
    e->kind = OFFLOAD_SQ_COMMAND;
    e->attr = 1;
    e->cdb_len = 16;
    for (uint32_t i = 0; i < 16; i++)
        e->cdb[i] = or_byte(id, i);
    for (uint32_t i = 0; i < e->out_len; i++)
        w->arena[e->out_off + i] = or_byte(id, i);
}

/* Ends another command, if there is one; else it resets. */
static void
fill_tmf(struct or_world *w, struct offload_sqe *e)
{
    uint32_t other = slots_next_live(&w->c.slots, dice_below(&w->dice, w->slots));

    e->kind = OFFLOAD_SQ_TMF;
    e->function = OFFLOAD_LU_RESET;
    if (other == w->slots || other == e->slot)
        return;
    e->function = OFFLOAD_ABORT;
    e->ref_slot = (uint16_t)other;
    e->ref_generation = w->c.use[other].sqe.generation;
}

static void
put_lie(struct or_world *w, struct offload_sqe *e)
{
    struct or_client *c = &w->c;

    switch (dice_below(&w->dice, 6)) {
    case 0:
        or_lie_over(w, e, sizeof(*e));
        break;
    case 1: /* data, where they must not be */
        e->in_off = or_lie(w);
        e->in_len = dice_below(&w->dice, 2) == 0 ? 4096 : (uint32_t)or_lie(w);
        break;
    case 2:
        e->cdb_len = (uint16_t)dice_below(&w->dice, 300);
        e->cdb_off = or_lie(w);
        break;
    case 3: /* another use of another slot */
        e->slot = (uint16_t)dice_below(&w->dice, w->slots);
        e->generation += dice_below(&w->dice, 3) - 1;
        break;
    case 4:
        or_lie_ring(w, c->sq.sh, &c->sq.sh->produced, c->sq.entries, sizeof(*e) * c->sq.count);
        break;
    default:
        or_lie_ring(w, c->cq.sh, &c->cq.sh->consumed, w->region + offload_cq_at(w->slots),
                    sizeof(struct ring_shared));
    }
}

static void
ask(struct or_world *w)
{
    struct or_client *c = &w->c;
    struct offload_sqe e = {.sid = 1};
    struct or_use *u;

    if (slots_take(&c->slots, 0, &e.slot, &e.generation) < 0) {
        OR_CHECK(w, c->slots.live == w->slots);
        return;
    }
    u = &c->use[e.slot];
    OR_CHECK(w, !u->live);
    if (dice_below(&w->dice, 8) == 0) {
        fill_tmf(w, &e);
    } else if (alloc_data(w, &e)) {
        fill_command(w, &e, w->next_id);
    } else {
        OR_CHECK(w, slots_give(&c->slots, e.slot));
        return;
    }
    *u = (struct or_use){.sqe = e, .id = w->next_id++, .live = true};
    c->asked[e.slot] = (struct offload_asked){e.kind, e.sid, e.in_len, e.out_len};
    w->counts->uses++;
    if (w->liar == OR_CLIENT && dice_below(&w->dice, 10) == 0)
        put_lie(w, &e);
    if (ring_put(&c->sq, &e) <
        0) /* as many entries as slots: no ring between honest ones is full */
        OR_CHECK(w, w->liar != OR_NOBODY);
}

static void
client_commit(struct or_world *w)
{
    ring_release(&w->c.cq);
    w->e.bell |= ring_publish(&w->c.sq);
}

/* What came is what was asked for, and what the check has looked at. */
static void
completed(struct or_world *w, const struct offload_cqe *e)
{
    struct or_use *u = &w->c.use[e->slot];

    OR_CHECK(w, w->checked && memcmp(w->seen, e, sizeof(*e)) == 0);
    OR_CHECK(w, e->slot < w->slots && u->live && u->sqe.generation == e->generation);
    OR_CHECK(w, e->resid_in <= u->sqe.in_len && e->resid_out <= u->sqe.out_len);
    OR_CHECK(w, e->sense_len <= SCSI_SENSE_MAX);
    if (w->liar == OR_NOBODY) {
        OR_CHECK(w, u->finished && e->resid_in == u->resid_in);
        for (uint32_t i = 0; i < u->sqe.in_len - e->resid_in; i++)
            OR_CHECK(w, w->arena[u->sqe.in_off + i] == or_byte(u->id, i));
    }
    u->live = false;
    if (slots_give(&w->c.slots, e->slot))
        free_data(w, u);
    else
        OR_CHECK(w, !"a slot is free behind its completion");
}

static enum offload_take
client_take(struct or_world *w)
{
    struct or_client *c = &w->c;
    enum offload_fault why = OFFLOAD_FINE;
    struct offload_cqe e;
    enum offload_take r;

    w->checked = false;
    r = offload_take_cqe(&c->cq, &c->slots, &w->limits, c->asked, &e, &why);
    if (r == OFFLOAD_TAKEN)
        completed(w, &e);
    if (r == OFFLOAD_DROPPED)
        w->counts->stale++;
    OR_CHECK(w, r < OFFLOAD_DROPPED || w->liar != OR_NOBODY);
    OR_CHECK(w, (r == OFFLOAD_BROKEN) == (why != OFFLOAD_FINE));
    w->over |= r == OFFLOAD_BROKEN;
    c->idle = r == OFFLOAD_NONE;
    return r;
}

static void
client_sleep(struct or_world *w)
{
    w->c.asleep = ring_sleep(&w->c.cq);
    w->c.idle = false;
    w->counts->slept += w->c.asleep;
}

static void
client_wake(struct or_world *w)
{
    w->c.bell = w->c.asleep = false;
    ring_awake(&w->c.cq);
}

void
or_client_step(struct or_world *w)
{
    struct or_client *c = &w->c;

    switch (dice_below(&w->dice, 8)) {
    case 0:
    case 1:
        ask(w);
        break;
    case 2:
    case 3:
        client_commit(w);
        break;
    case 4:
        if (c->bell)
            client_wake(w);
        break;
    case 5:
        if (!c->asleep && c->idle)
            client_sleep(w);
        break;
    default:
        if (!c->asleep)
            (void)client_take(w);
    }
}

bool
or_client_turn(struct or_world *w)
{
    client_commit(w);
    if (w->c.asleep && !w->c.bell)
        return false;
    client_wake(w);
    while (!w->over && client_take(w) != OFFLOAD_NONE)
        ;
    client_commit(w);
    client_sleep(w);
    return true;
}

/* The engine is gone, and may still run.  Somebody has no patience and wants a command back. */
void
or_client_gone_step(struct or_world *w)
{
    struct or_client *c = &w->c;
    uint32_t slot = slots_next_live(&c->slots, dice_below(&w->dice, w->slots));

    slots_hold(&c->slots);
    OR_CHECK(w, client_take(w) == OFFLOAD_NONE);
    if (slot == w->slots)
        return;
    if (slots_give(&c->slots, slot)) {
        c->use[slot].live = false;
        free_data(w, &c->use[slot]);
    } else {
        w->counts->refused_before_fence++;
    }
}

void
or_client_fence(struct or_world *w)
{
    struct or_client *c = &w->c;

    slots_fence(&c->slots);
    for (uint32_t s = 0; (s = slots_next_live(&c->slots, s)) < w->slots;) {
        OR_CHECK(w, c->use[s].live);
        c->use[s].live = false;
        OR_CHECK(w, slots_give(&c->slots, s));
        free_data(w, &c->use[s]);
    }
    for (uint32_t s = 0; s < w->slots; s++)
        OR_CHECK(w, !c->use[s].live);
}
