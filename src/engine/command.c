/* SPDX-License-Identifier: MIT */
/* engine/command.c - takes entries from a client's ring, and puts answers into the other one.
 *
 * A slot is in use from its entry until its answer is in the ring.  A command that is being aborted
 * keeps its slot until the host has said how the abort went, though it may have ended meanwhile,
 * since the host may use what is in the slot until then (seam/host.h).
 */
#include "engine/lane.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- commands ------------------------------------------------------------------------------- */

static void
slot_on_done(struct scsi_cmd *sc)
{
    struct engine_slot *s = container_of(sc, struct engine_slot, item.sc);

    assert(s->stage == SLOT_WITH_HOST);
    engine_share_ended(&s->member->sharer);
    if (s->aborting)
        s->stage = SLOT_HELD;
    else
        engine_slot_done(s);
}

static struct sg
lane_data(struct engine_lane *l, struct iovec *iov, uint64_t off, uint32_t len)
{
    if (len == 0)
        return (struct sg){.len = 0};
    *iov = (struct iovec){l->arena + off, len};
    return (struct sg){.iov = iov, .iovcnt = 1, .len = len};
}

static void
slot_fill(struct engine_lane *l, struct engine_slot *s, const struct offload_sqe *q)
{
    struct scsi_cmd *sc = &s->item.sc;

    sc->not_good = 0;
    sc->not_moved = 0;
    sc->done = slot_on_done;
    memcpy(sc->lun, q->lun, sizeof(sc->lun));
    sc->cdb_len = q->cdb_len;
    memset(sc->cdb, 0, sizeof(sc->cdb));
    if (q->cdb_len > OFFLOAD_CDB_INLINE) { /* copied once: what is checked is what is sent */
        memcpy(s->cdb, l->arena + q->cdb_off, q->cdb_len);
        sc->cdb_long = s->cdb;
    } else {
        memcpy(sc->cdb, q->cdb, q->cdb_len);
    }
    sc->in = lane_data(l, &s->in, q->in_off, q->in_len);
    sc->out = lane_data(l, &s->out, q->out_off, q->out_len);
    sc->host_priv = NULL;
    sc->attr = q->attr;
    sc->watch = NULL;
}

/* The host's own limits, which the client has no need to know. */
static bool
host_takes(const struct scsi_host *h, const struct offload_sqe *q)
{
    return q->cdb_len <= h->max_cdb_len && q->in_len <= h->max_transfer &&
           q->out_len <= h->max_transfer;
}

static void
lane_command(struct engine_lane *l, struct engine_member *m, struct engine_slot *s,
             const struct offload_sqe *q)
{
    struct scsi_host *h = m->sharer.share->host;

    l->stats.commands++;
    slot_fill(l, s, q);
    list_push_back(&m->commands, &s->node);
    if (!host_takes(h, q)) {
        engine_slot_unsent(s, DID_ERROR);
        return;
    }
    s->stage = SLOT_WITH_HOST; /* or in the queue: see engine_slot_queued */
    engine_share_submit(&m->sharer, &s->item);
}

/* ---- entries -------------------------------------------------------------------------------- */

static struct engine_member *
lane_member(const struct engine_lane *l, uint32_t sid)
{
    struct engine_member *m = l->member[sid % ENGINE_SESSIONS_MAX];

    return m != NULL && m->sid == sid ? m : NULL;
}

static void
lane_take(struct engine_lane *l, const struct offload_sqe *q)
{
    struct engine_member *m = lane_member(l, q->sid);
    struct engine_slot *s = &l->slot[q->slot];

    assert(s->stage == SLOT_FREE);
    s->generation = q->generation;
    if (q->in_len > ENGINE_TRANSFER_MAX || q->out_len > ENGINE_TRANSFER_MAX) {
        engine_lane_break(l, "a command that moves more than was agreed on");
        return;
    }
    if (m == NULL || m->draining || m->sharer.share == NULL || m->sharer.share->host == NULL) {
        engine_lane_refuse(l, s, q, m != NULL && m->draining);
        return;
    }
    s->member = m;
    m->busy++;
    if (q->kind == OFFLOAD_SQ_COMMAND)
        lane_command(l, m, s, q);
    else
        engine_lane_tmf(l, m, s, q);
}

/* Takes up to ENGINE_LANE_BATCH entries.  True: there may be more.  The entries are given back to
 * the client before it is shown any answer to them, which is done when the turn ends. */
static bool
lane_batch(struct engine_lane *l)
{
    const struct offload_limits lim = {l->cfg.slots, l->cfg.arena};
    enum offload_take got = OFFLOAD_TAKEN;
    enum offload_fault fault;
    struct offload_sqe q;

    for (unsigned n = 0; n < ENGINE_LANE_BATCH && got == OFFLOAD_TAKEN && !l->broken; n++) {
        got = offload_take_sqe(&l->sq, &l->slots, &lim, &q, &fault);
        if (got == OFFLOAD_TAKEN)
            lane_take(l, &q);
        else if (got != OFFLOAD_NONE)
            engine_lane_break(l, offload_fault_text(fault));
    }
    ring_release(&l->sq);
    if (l->slots.live > 0 && !loop_timer_running(&l->beat))
        loop_timer_start(l->cfg.loop, &l->beat, OFFLOAD_BEAT_MS / 2 * LOOP_NS_PER_MS);
    return got == OFFLOAD_TAKEN && !l->broken;
}

/* The bell is cleared only where the ring has been seen empty, so that a client that fills it
 * faster than it is served is served again in the next turn, after the others. */
static void
lane_rung(void *user)
{
    struct engine_lane *l = user;

    if (l->broken) {
        shm_bell_clear(l->cfg.loop, l->cfg.bell_engine);
        return;
    }
    ring_awake(&l->sq);
    if (lane_batch(l))
        return;
    shm_bell_clear(l->cfg.loop, l->cfg.bell_engine);
    if (!l->broken && !ring_sleep(&l->sq))
        shm_bell_ring(l->cfg.loop, l->cfg.bell_engine);
}

/* Tells who looks at the head that this process makes turns. */
static void
lane_beat(struct loop_timer *t)
{
    struct engine_lane *l = container_of(t, struct engine_lane, beat);

    __atomic_store_n(&l->head->beat, ++l->beats, __ATOMIC_RELAXED);
    if (l->slots.live > 0)
        loop_timer_start(l->cfg.loop, t, OFFLOAD_BEAT_MS / 2 * LOOP_NS_PER_MS);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
lane_map(struct engine_lane *l, uint8_t *region)
{
    uint32_t slots = l->cfg.slots, count = offload_ring_count(slots);

    l->head = (void *)region;
    l->sense = region + offload_sense_at(slots);
    l->arena = l->cfg.arena_map;
    ring_consumer_init(&l->sq, region + offload_sq_at(), sizeof(struct offload_sqe), count);
    ring_producer_init(&l->cq, region + offload_cq_at(slots), sizeof(struct offload_cqe), count);
}

int
engine_lane_new(const struct engine_lane_config *cfg, struct engine_lane **ret,
                struct lunette_error *err)
{
    struct engine_lane *l = calloc(1, sizeof(*l) + cfg->slots * sizeof(l->slot[0]));
    int r;

    if (l == NULL || slots_init(&l->slots, cfg->slots, false) < 0) {
        free(l);
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory for %u slots",
                            cfg->slots);
    }
    l->cfg = *cfg;
    l->next_sid = ENGINE_SESSIONS_MAX;
    lane_map(l, cfg->region);
    for (uint32_t i = 0; i < cfg->slots; i++) {
        l->slot[i].lane = l;
        l->slot[i].index = (uint16_t)i;
        list_init(&l->slot[i].node);
        list_init(&l->slot[i].item.node);
    }
    loop_work_init(&l->publish, engine_lane_publish);
    loop_work_init(&l->tell, engine_lane_tell);
    loop_timer_init(&l->beat, lane_beat);
    loop_timer_init(&l->again, engine_lane_abort_again);
    r = loop_watch(cfg->loop, cfg->bell_engine, lane_rung, l, &l->watch);
    if (r < 0) {
        slots_fini(&l->slots);
        free(l);
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "the client's bell cannot be waited for: %s", errno_text(r));
    }
    /* What the client has put there before this cannot have rung a bell that is cleared below. */
    if (!ring_sleep(&l->sq))
        shm_bell_ring(cfg->loop, cfg->bell_engine);
    *ret = l;
    return 0;
}

void
engine_lane_close(struct engine_lane *l)
{
    if (l->closed)
        return;
    l->closed = true;
    loop_unwatch(l->cfg.loop, l->watch);
    loop_defer_cancel(&l->publish);
    loop_defer_cancel(&l->tell);
    loop_timer_stop(l->cfg.loop, &l->beat);
}

void
engine_lane_free(struct engine_lane *l)
{
    if (l == NULL)
        return;
    assert(l->closed && l->slots.live == 0);
    for (unsigned i = 0; i < ENGINE_SESSIONS_MAX; i++)
        assert(l->member[i] == NULL);
    loop_timer_stop(l->cfg.loop, &l->again);
    slots_fini(&l->slots);
    free(l);
}

const struct engine_lane_stats *
engine_lane_get_stats(const struct engine_lane *l)
{
    return &l->stats;
}
