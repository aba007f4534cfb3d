/* SPDX-License-Identifier: MIT */
/* engine/ends.c - task management of a client, and the end of what a client or a session leaves.
 *
 * One request of a session is with the host at a time, since a host sends them one by one for all
 * of its clients: so they have turns.  What a request ends at the target must also end where it has
 * not been sent yet, or it would be sent after the reset that was to end it.
 */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "engine/lane.h"

/* Whose LUN a reset means; NULL: all. */
static bool
reset_concerns(const struct engine_slot *s, const uint8_t *lun)
{
    return lun == NULL || memcmp(s->item.sc.lun, lun, sizeof(s->item.sc.lun)) == 0;
}

/* Ends what the host has not seen, of a unit or of all. */
static void
member_end_queued(struct engine_member *m, const uint8_t *lun, enum scsi_host_result r)
{
    LIST_FOREACH_SAFE (n, &m->commands) {
        struct engine_slot *s = container_of(n, struct engine_slot, node);

        if (!engine_slot_queued(s) || !reset_concerns(s, lun))
            continue;
        engine_share_take_back(&m->sharer, &s->item);
        engine_slot_unsent(s, r);
    }
}

/* ---- task management ------------------------------------------------------------------------ */

static void member_next_tmf(struct engine_member *m);

static void
tmf_end(struct engine_slot *s, enum scsi_eh_result r)
{
    struct engine_member *m = s->member;

    if (m->tmf == s)
        m->tmf = NULL;
    engine_slot_tmf_done(s, r);
}

/* The command may have ended meanwhile, and its answer goes before that of the abort. */
static void
victim_settled(struct engine_slot *v)
{
    v->aborting = false;
    if (v->stage == SLOT_HELD)
        engine_slot_done(v);
}

/* A command of a member that drains has not been ended by its abort, whoever has asked for that: it
 * is tried again, and what ends it in any case is the end of the session's connections. */
static void
slot_abort_later(struct engine_slot *s)
{
    struct engine_lane *l = s->lane;

    if (s->stage == SLOT_WITH_HOST && s->member->draining && !loop_timer_running(&l->again))
        loop_timer_start(l->cfg.loop, &l->again, ENGINE_ABORT_MS * LOOP_NS_PER_MS);
}

static void
tmf_on_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct engine_slot *s = container_of(w, struct engine_slot, wait);
    struct engine_member *m = s->member;

    if (s->victim != NULL) {
        victim_settled(s->victim);
        slot_abort_later(s->victim);
    }
    s->victim = NULL;
    tmf_end(s, r);
    member_next_tmf(m);
}

/* Returns the result where it is known at once, or -EINPROGRESS. */
static int
tmf_abort(struct engine_member *m, struct engine_slot *s)
{
    struct engine_slot *v = &m->lane->slot[s->ref_slot];
    struct scsi_host *h = m->sharer.share->host;

    if (v->member != m || v->stage == SLOT_FREE || v->stage == SLOT_TMF ||
        v->generation != s->ref_generation)
        return SCSI_EH_NOT_FOUND;
    if (engine_slot_queued(v)) {
        engine_share_take_back(&m->sharer, &v->item);
        engine_slot_unsent(v, DID_ABORT);
        return SCSI_EH_SUCCESS;
    }
    if (v->aborting)
        return SCSI_EH_FAILED;
    v->aborting = true;
    s->victim = v;
    h->ops->eh_abort(h, &v->item.sc, &s->wait);
    return -EINPROGRESS;
}

static int
tmf_ask(struct engine_slot *s, struct scsi_host *h, enum scsi_query what)
{
    if (h->ops->eh_query == NULL)
        return SCSI_EH_FAILED;
    h->ops->eh_query(h, what, s->lun, &s->wait);
    return -EINPROGRESS;
}

static int
member_begin_tmf(struct engine_member *m, struct engine_slot *s)
{
    struct scsi_host *h = m->sharer.share->host;

    switch (s->function) {
    case OFFLOAD_ABORT:
        return tmf_abort(m, s);
    case OFFLOAD_LU_RESET:
        member_end_queued(m, s->lun, DID_RESET);
        h->ops->eh_device_reset(h, s->lun, &s->wait);
        return -EINPROGRESS;
    case OFFLOAD_TARGET_RESET:
        member_end_queued(m, NULL, DID_RESET);
        h->ops->eh_target_reset(h, &s->wait);
        return -EINPROGRESS;
    case OFFLOAD_SESSION_RESET:
        member_end_queued(m, NULL, DID_RESET);
        h->ops->eh_session_reset(h, &s->wait);
        return -EINPROGRESS;
    case OFFLOAD_CLEAR_ACA:
        if (h->ops->eh_clear_aca == NULL)
            return SCSI_EH_FAILED;
        h->ops->eh_clear_aca(h, s->lun, &s->wait);
        return -EINPROGRESS;
    case OFFLOAD_QUERY_TASK_SET:
        return tmf_ask(s, h, SCSI_QUERY_TASK_SET);
    default:
        return tmf_ask(s, h, SCSI_QUERY_ASYNC_EVENT);
    }
}

static void
member_next_tmf(struct engine_member *m)
{
    while (m->tmf == NULL && !list_empty(&m->tmfs)) {
        struct engine_slot *s = container_of(list_pop_front(&m->tmfs), struct engine_slot, node);
        int r = SCSI_EH_FAILED;

        m->tmf = s;
        if (!m->draining && m->sharer.share != NULL)
            r = member_begin_tmf(m, s);
        if (r != -EINPROGRESS)
            tmf_end(s, (enum scsi_eh_result)r);
    }
}

void
engine_lane_tmf(struct engine_lane *l, struct engine_member *m, struct engine_slot *s,
                const struct offload_sqe *q)
{
    l->stats.tmfs++;
    s->stage = SLOT_TMF;
    s->function = q->function;
    s->ref_slot = q->ref_slot;
    s->ref_generation = q->ref_generation;
    memcpy(s->lun, q->lun, sizeof(s->lun));
    s->victim = NULL;
    s->wait = (struct scsi_eh_wait){.done = tmf_on_done};
    list_push_back(&m->tmfs, &s->node);
    member_next_tmf(m);
}

/* ---- the end of a session's commands -------------------------------------------------------- */

static void
abort_on_done(struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct engine_slot *s = container_of(w, struct engine_slot, wait);

    (void)r;
    victim_settled(s);
    slot_abort_later(s);
}

static void
member_abort(struct engine_member *m)
{
    struct scsi_host *h = m->sharer.share->host;

    LIST_FOREACH (n, &m->commands) {
        struct engine_slot *s = container_of(n, struct engine_slot, node);

        if (s->stage != SLOT_WITH_HOST || s->aborting)
            continue;
        s->aborting = true;
        s->wait = (struct scsi_eh_wait){.done = abort_on_done};
        h->ops->eh_abort(h, &s->item.sc, &s->wait);
    }
}

void
engine_lane_abort_again(struct loop_timer *t)
{
    struct engine_lane *l = container_of(t, struct engine_lane, again);

    for (unsigned i = 0; i < ENGINE_SESSIONS_MAX; i++) {
        struct engine_member *m = l->member[i];

        if (m != NULL && m->draining && m->sharer.share != NULL)
            member_abort(m);
    }
}

bool
engine_member_drain(struct engine_member *m, void (*drained)(struct engine_member *m))
{
    m->draining = true;
    m->drained = drained;
    if (m->busy == 0) {
        m->drained = NULL;
        return false;
    }
    engine_share_leaving(&m->sharer, true);
    member_end_queued(m, NULL, DID_IMM_RETRY);
    if (m->tmf == NULL)
        member_next_tmf(m); /* they end */
    if (m->sharer.share != NULL)
        member_abort(m);
    return true;
}

void
engine_member_resume(struct engine_member *m)
{
    assert(m->busy == 0);
    m->draining = false;
    m->drained = NULL;
    loop_defer_cancel(&m->work);
}

void
engine_member_host_gone(struct engine_member *m)
{
    member_end_queued(m, NULL, DID_NO_CONNECT);
    engine_share_leave(&m->sharer);
    if (m->tmf == NULL)
        member_next_tmf(m); /* they end */
}

/* ---- sessions of a lane --------------------------------------------------------------------- */

int
engine_lane_add(struct engine_lane *l, struct engine_member *m)
{
    for (unsigned i = 0; i < ENGINE_SESSIONS_MAX; i++) {
        uint32_t sid = l->next_sid++;

        if (l->next_sid == 0) /* a sid is never 0 */
            l->next_sid = ENGINE_SESSIONS_MAX;
        if (l->member[sid % ENGINE_SESSIONS_MAX] != NULL)
            continue;
        *m = (struct engine_member){.sid = sid, .lane = l};
        list_init(&m->commands);
        list_init(&m->tmfs);
        engine_sharer_init(&m->sharer);
        loop_work_init(&m->work, engine_member_work);
        l->member[sid % ENGINE_SESSIONS_MAX] = m;
        return 0;
    }
    return -EBUSY;
}

void
engine_lane_remove(struct engine_member *m)
{
    assert(m->busy == 0 && m->sharer.share == NULL);
    assert(m->lane->member[m->sid % ENGINE_SESSIONS_MAX] == m);
    loop_defer_cancel(&m->work);
    m->lane->member[m->sid % ENGINE_SESSIONS_MAX] = NULL;
}
