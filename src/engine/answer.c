/* SPDX-License-Identifier: MIT */
/* engine/answer.c - what is told to a client in its ring, and when it is woken. */
#include <assert.h>
#include <string.h>

#include "engine/lane.h"

void
engine_lane_publish(struct loop_work *w)
{
    struct engine_lane *l = container_of(w, struct engine_lane, publish);

    if (l->closed || !ring_publish(&l->cq))
        return;
    l->stats.bells_rung++;
    shm_bell_ring(l->cfg.loop, l->cfg.bell_client);
}

void
engine_lane_tell(struct loop_work *w)
{
    struct engine_lane *l = container_of(w, struct engine_lane, tell);

    if (!l->closed)
        l->cfg.broken(l->cfg.user, &l->why);
}

void
engine_lane_break(struct engine_lane *l, const char *what)
{
    if (l->broken)
        return;
    l->broken = true;
    (void)lunette_fail(&l->why, -EPROTO, LUNETTE_DOM_PROTO, 0,
                       "the client broke the rules of its rings: it has sent %s", what);
    loop_defer(l->cfg.loop, &l->tell);
}

static void
lane_put(struct engine_lane *l, const struct offload_cqe *e)
{
    if (l->closed || l->broken)
        return;
    if (ring_put(&l->cq, e) < 0)
        engine_lane_break(l, "an index of what it has taken that cannot be");
    else
        loop_defer(l->cfg.loop, &l->publish);
}

static struct offload_cqe
lane_answer(const struct engine_slot *s, const struct engine_member *m, uint8_t kind)
{
    return (struct offload_cqe){.kind = kind,
                                .slot = s->index,
                                .generation = s->generation,
                                .sid = m->sid,
                                .state = m->state,
                                .state_event = m->state_event};
}

/* Something of m has been answered. */
static void
member_less(struct engine_member *m)
{
    assert(m->busy > 0);
    if (--m->busy > 0)
        return;
    engine_share_leaving(&m->sharer, false);
    if (m->draining && m->drained != NULL)
        loop_defer(m->lane->cfg.loop, &m->work);
}

void
engine_member_work(struct loop_work *w)
{
    struct engine_member *m = container_of(w, struct engine_member, work);
    void (*drained)(struct engine_member *) = m->drained;

    m->drained = NULL;
    if (drained != NULL)
        drained(m);
}

/* The use of a slot of the lane is over; an engine's slots are never held. */
static void
slot_give_back(struct engine_slot *s)
{
    bool given = slots_give(&s->lane->slots, s->index);

    assert(given);
    (void)given;
    s->stage = SLOT_FREE;
}

static void
slot_free(struct engine_slot *s)
{
    struct engine_member *m = s->member;

    list_del(&s->node);
    s->member = NULL;
    slot_give_back(s);
    member_less(m);
}

static uint32_t
at_most(uint32_t n, uint32_t max)
{
    return n < max ? n : max;
}

/* How a command ended, from its struct scsi_cmd. */
void
engine_slot_done(struct engine_slot *s)
{
    const struct scsi_cmd *sc = &s->item.sc;
    struct engine_lane *l = s->lane;
    struct offload_cqe e = lane_answer(s, s->member, OFFLOAD_CQ_DONE);

    e.host_result = sc->host_result;
    /* Nobody but us has asked for that abort: the client may send it again. */
    if (s->member->draining && e.host_result == DID_ABORT)
        e.host_result = DID_TRANSPORT_DISRUPTED;
    e.status = sc->status;
    e.response = sc->response;
    e.status_qualifier = sc->status_qualifier;
    e.overflow = sc->overflow;
    e.resid_in = at_most(sc->resid_in, sc->in.len);
    e.resid_out = at_most(sc->resid_out, sc->out.len);
    e.sense_len = (uint16_t)at_most(sc->sense_len, SCSI_SENSE_MAX);
    if (e.sense_len > 0 && !l->closed)
        memcpy(l->sense + (size_t)s->index * OFFLOAD_SENSE_BYTES, sc->sense, e.sense_len);
    lane_put(l, &e);
    slot_free(s);
}

/* Ends a command that the host has not got, or never saw. */
void
engine_slot_unsent(struct engine_slot *s, enum scsi_host_result r)
{
    s->item.sc.host_result = (uint8_t)r;
    s->item.sc.resid_in = s->item.sc.in.len;
    s->item.sc.resid_out = s->item.sc.out.len;
    engine_slot_done(s);
}

void
engine_slot_tmf_done(struct engine_slot *s, enum scsi_eh_result r)
{
    struct offload_cqe e = lane_answer(s, s->member, OFFLOAD_CQ_TMF_DONE);

    e.result = (uint8_t)r;
    e.info = r == SCSI_EH_SUCCESS ? s->wait.info : 0;
    lane_put(s->lane, &e);
    slot_free(s);
}

/* The client gets an answer for what belongs to no session. */
void
engine_lane_refuse(struct engine_lane *l, struct engine_slot *s, const struct offload_sqe *q,
                   bool draining)
{
    struct offload_cqe e = {.slot = s->index, .generation = s->generation, .sid = q->sid};

    l->stats.refused++;
    e.state = IPC_SESSION_FAILED;
    if (q->kind == OFFLOAD_SQ_TMF) {
        e.kind = OFFLOAD_CQ_TMF_DONE;
        e.result = SCSI_EH_FAILED;
    } else {
        e.kind = OFFLOAD_CQ_DONE;
        e.host_result = draining ? DID_IMM_RETRY : DID_NO_CONNECT; /* as what was in the queue */
        e.resid_in = q->in_len;
        e.resid_out = q->out_len;
    }
    lane_put(l, &e);
    slot_give_back(s);
}
