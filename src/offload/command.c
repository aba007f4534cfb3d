/* SPDX-License-Identifier: MIT */
/* offload/command.c - the SCSI host of a session that an engine has.
 *
 * A command takes a slot and extents of the arena.  Data go through the arena, so that the engine
 * never has memory of the application: what is written is copied there when the command is queued,
 * and what is read is copied out when it has ended.
 */
#include "offload/command.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "offload/turn.h"

#define COMMANDS_DEFAULT 128
#define HOST_MAX_SG      256
#define HOST_TRANSFER    (1u << 20) /* bytes, until the engine has told what it takes */

static struct offload_session *
session_of_host(struct scsi_host *h)
{
    return container_of(h, struct offload_session, host);
}

static struct offload_session *
session_of_user(struct offload_user *u)
{
    return container_of(u, struct offload_session, user);
}

static bool
host_is_attached(const struct offload_session *s)
{
    return s->host.state == SCSI_HOST_RUNNING && s->user.at != NULL &&
           s->user.at->state == OFFLOAD_UP && s->phase == OFFLOAD_IN;
}

static uint32_t
use_slot(const struct offload_share *sh, const struct offload_use *u)
{
    return (uint32_t)(u - sh->use);
}

/* ---- ends ----------------------------------------------------------------------------------- */

/* The command ends, later, and its answer has not come. */
static void
command_end_later(struct offload_session *s, struct scsi_cmd *sc, enum scsi_host_result r)
{
    sc->host_result = (uint8_t)r;
    sc->resid_in = sc->in.len;
    sc->resid_out = sc->out.len;
    sc->host_priv = NULL;
    list_push_back(&s->done, &sc->host_node);
    loop_defer(s->loop, &s->work);
}

static void
wait_end_later(struct offload_session *s, struct scsi_eh_wait *w, enum scsi_eh_result r)
{
    struct offload_use *u = w->sc != NULL ? w->sc->host_priv : NULL;

    if (u != NULL && u->eh == w)
        u->eh = NULL;
    w->sc = NULL;
    w->result = r;
    list_push_back(&s->eh_done, &w->node);
    loop_defer(s->loop, &s->work);
}

/* It is over when the session runs or is gone. */
static void
reset_waits(struct offload_session *s, struct scsi_eh_wait *w)
{
    list_push_back(&s->eh_resets, &w->node);
    loop_defer(s->loop, &s->work);
}

/* The function has no answer of the engine, and gets none. */
static void
tmf_unanswered(struct offload_session *s, struct scsi_eh_wait *w)
{
    if (w->function == OFFLOAD_SESSION_RESET)
        reset_waits(s, w);
    else
        wait_end_later(s, w, SCSI_EH_FAILED);
}

/* ---- commands ------------------------------------------------------------------------------- */

static void
command_fill(struct offload_share *sh, const struct offload_use *u, const struct scsi_cmd *sc,
             struct offload_sqe *e)
{
    struct sg_cursor at;

    if (u->out >= 0) {
        sg_cursor_init(&at, &sc->out);
        sg_copy_from(&at, &sc->out, sh->arena.base + u->out, sc->out.len);
    }
    memcpy(u->cdb >= 0 ? sh->arena.base + u->cdb : e->cdb, scsi_cmd_cdb(sc), sc->cdb_len);
}

static int
command_no_room(struct offload_session *s)
{
    s->want_restart = s->user.at->want_room = true;
    return -EBUSY;
}

static int
offload_queuecommand(struct scsi_host *h, struct scsi_cmd *sc)
{
    struct offload_session *s = session_of_host(h);
    struct offload_attach *at = s->user.at;
    struct offload_sqe e = {.kind = OFFLOAD_SQ_COMMAND,
                            .attr = sc->attr,
                            .cdb_len = sc->cdb_len,
                            .sid = s->esid,
                            .in_len = sc->in.len,
                            .out_len = sc->out.len};
    struct offload_use *u;

    assert(sc->cdb_len > 0 && sc->cdb_len <= h->max_cdb_len);
    if (!host_is_attached(s)) {
        command_end_later(s, sc, h->state == SCSI_HOST_GONE ? DID_NO_CONNECT : DID_IMM_RETRY);
        return 0;
    }
    u = s->live < h->can_queue + OFFLOAD_TMF_SLOTS
            ? offload_share_take(&at->share, &e, OFFLOAD_TMF_SLOTS)
            : NULL;
    if (u == NULL)
        return command_no_room(s);
    u->user = &s->user;
    u->sc = sc;
    sc->host_priv = u;
    s->live++;
    memcpy(e.lun, sc->lun, sizeof(e.lun));
    command_fill(&at->share, u, sc, &e);
    s->stats.scsicmd_pdus++;
    s->stats.txdata_octets += sc->out.len;
    if (ring_put(&at->share.sq, &e) < 0) {
        at->sq_broken = true; /* told at the end of the turn: our caller is busy with the host */
        loop_defer(at->loop, &at->turn);
    }
    offload_watch_beat(at);
    return 0;
}

static void
offload_commit(struct scsi_host *h)
{
    struct offload_attach *at = session_of_host(h)->user.at;

    if (at != NULL)
        offload_publish(at);
}

/* What the engine has said, and the data that came with it.  Sense and data are copied once, from
 * memory that the engine can still change. */
static void
command_take_answer(const struct offload_share *sh, const struct offload_use *u,
                    const struct offload_cqe *e)
{
    struct scsi_cmd *sc = u->sc;
    struct sg_cursor at;
    const uint8_t *sense = (const uint8_t *)sh->region + offload_sense_at(sh->lim.slots) +
                           (size_t)e->slot * OFFLOAD_SENSE_BYTES;

    sc->host_result = e->host_result;
    sc->status = e->status;
    sc->response = e->response;
    sc->overflow = e->overflow != 0;
    sc->status_qualifier = e->status_qualifier;
    sc->sense_len = e->sense_len;
    sc->resid_in = e->resid_in;
    sc->resid_out = e->resid_out;
    memcpy(sc->sense, sense, e->sense_len);
    if (u->in >= 0 && e->host_result == DID_OK && e->resid_in < sc->in.len) {
        sg_cursor_init(&at, &sc->in);
        sg_copy_to(&at, &sc->in, sh->arena.base + u->in, sc->in.len - e->resid_in);
    }
}

static void
command_answered(struct offload_session *s, const struct offload_cqe *e)
{
    struct offload_share *sh = &s->user.at->share;
    struct offload_use *u = &sh->use[e->slot];
    struct scsi_cmd *sc = u->sc;

    command_take_answer(sh, u, e);
    s->stats.scsirsp_pdus++;
    s->stats.rxdata_octets += sc->in.len - e->resid_in;
    if (u->eh != NULL) /* its abort finds that it is back */
        u->eh->sc = NULL;
    sc->host_priv = NULL;
    offload_share_give(sh, e->slot);
    s->live--;
    sc->done(sc);
}

/* ---- task management ------------------------------------------------------------------------ */

/* Tells the engine.  False: no slot is free. */
static bool
tmf_send(struct offload_session *s, struct scsi_eh_wait *w)
{
    struct offload_attach *at = s->user.at;
    struct offload_sqe e = {.kind = OFFLOAD_SQ_TMF, .function = w->function, .sid = s->esid};
    const struct offload_use *victim = w->sc != NULL ? w->sc->host_priv : NULL;
    struct offload_use *u = offload_share_take(&at->share, &e, 0);

    if (u == NULL)
        return false;
    memcpy(e.lun, w->lun, sizeof(e.lun));
    if (victim != NULL) {
        e.ref_slot = (uint16_t)use_slot(&at->share, victim);
        e.ref_generation = victim->generation;
    }
    u->user = &s->user;
    u->w = w;
    s->live++;
    s->stats.tmfcmd_pdus++;
    if (ring_put(&at->share.sq, &e) < 0) {
        at->sq_broken = true;
        loop_defer(at->loop, &at->turn);
    }
    offload_watch_beat(at);
    offload_publish(at);
    return true;
}

static void
tmf_try(struct offload_session *s, struct scsi_eh_wait *w)
{
    if (w->function == OFFLOAD_ABORT && w->sc == NULL) {
        wait_end_later(s, w, SCSI_EH_NOT_FOUND);
    } else if (!host_is_attached(s)) {
        tmf_unanswered(s, w);
    } else if (!tmf_send(s, w)) {
        s->user.at->want_room = true;
        list_push_back(&s->eh_slots, &w->node);
    }
}

static void
offload_tmf_begin(struct scsi_host *h, enum offload_function function, const uint8_t *lun,
                  struct scsi_cmd *sc, struct scsi_eh_wait *w)
{
    w->function = (uint8_t)function;
    w->sc = sc;
    w->info = 0;
    memset(w->lun, 0, sizeof(w->lun));
    if (lun != NULL)
        memcpy(w->lun, lun, sizeof(w->lun));
    tmf_try(session_of_host(h), w);
}

static void
tmf_answered(struct offload_session *s, const struct offload_cqe *e)
{
    struct offload_attach *at = s->user.at;
    struct scsi_eh_wait *w = at->share.use[e->slot].w;
    enum scsi_eh_result r = (enum scsi_eh_result)e->result;

    offload_share_give(&at->share, e->slot);
    s->live--;
    s->stats.tmfrsp_pdus++;
    w->info = e->info;
    if (w->function == OFFLOAD_ABORT && w->sc != NULL && r != SCSI_EH_FAILED) {
        wait_end_later(s, w, SCSI_EH_FAILED);
        offload_lost(at, -EPROTO, "has aborted a command and has not given it back");
    } else if (w->function == OFFLOAD_SESSION_RESET && r == SCSI_EH_SUCCESS) {
        reset_waits(s, w);
    } else {
        wait_end_later(s, w, r);
    }
}

static void
offload_eh_abort(struct scsi_host *h, struct scsi_cmd *sc, struct scsi_eh_wait *w)
{
    struct offload_use *u = sc->host_priv;

    if (u != NULL)
        u->eh = w;
    offload_tmf_begin(h, OFFLOAD_ABORT, sc->lun, u != NULL ? sc : NULL, w);
}

static void
offload_eh_device_reset(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    offload_tmf_begin(h, OFFLOAD_LU_RESET, lun, NULL, w);
}

static void
offload_eh_target_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    offload_tmf_begin(h, OFFLOAD_TARGET_RESET, NULL, NULL, w);
}

static void
offload_eh_clear_aca(struct scsi_host *h, const uint8_t lun[8], struct scsi_eh_wait *w)
{
    offload_tmf_begin(h, OFFLOAD_CLEAR_ACA, lun, NULL, w);
}

static void
offload_eh_query(struct scsi_host *h, enum scsi_query what, const uint8_t lun[8],
                 struct scsi_eh_wait *w)
{
    offload_tmf_begin(
        h, what == SCSI_QUERY_TASK_SET ? OFFLOAD_QUERY_TASK_SET : OFFLOAD_QUERY_ASYNC_EVENT, lun,
        NULL, w);
}

static void
offload_eh_session_reset(struct scsi_host *h, struct scsi_eh_wait *w)
{
    offload_tmf_begin(h, OFFLOAD_SESSION_RESET, NULL, NULL, w);
}

/* Whether data of it move only the engine knows.  Where the session is away, something else ends
 * the command. */
static enum scsi_timeout_action
offload_eh_timed_out(struct scsi_host *h, struct scsi_cmd *sc)
{
    return sc->host_priv != NULL && host_is_attached(session_of_host(h)) ? SCSI_TIMEOUT_ABORT
                                                                         : SCSI_TIMEOUT_RESET_TIMER;
}

/* ---- what the attachment tells -------------------------------------------------------------- */

static void
command_on_answer(struct offload_user *user, const struct offload_cqe *e)
{
    struct offload_session *s = session_of_user(user);
    struct offload_attach *at = user->at;

    /* Before the commands that a loss has ended are told (offload/entry.h).  Whoever hears of it
     * may ask the engine for something, and find that it is gone: then the slot is held, or was
     * given up with all others. */
    s->stated(s, (enum ipc_session_state)e->state, e->state_event, NULL);
    if (at->state != OFFLOAD_UP)
        return;
    if (at->share.use[e->slot].command)
        command_answered(s, e);
    else
        tmf_answered(s, e);
    s->moved(s);
}

static void
command_on_back(struct offload_user *user, const struct offload_use *was)
{
    struct offload_session *s = session_of_user(user);

    assert(s->live > 0);
    s->live--;
    if (!was->command) {
        tmf_unanswered(s, was->w);
    } else {
        if (was->eh != NULL)
            was->eh->sc = NULL;
        command_end_later(s, was->sc, DID_TRANSPORT_DISRUPTED);
    }
}

static void
command_on_room(struct offload_user *user)
{
    struct offload_session *s = session_of_user(user);

    if (!list_empty(&s->eh_slots))
        loop_defer(s->loop, &s->work);
    if (!s->want_restart)
        return;
    s->want_restart = false;
    if (s->host.ev != NULL && s->host.ev->restart != NULL)
        s->host.ev->restart(s->host.ev_user);
}

void
offload_host_give_up(struct offload_session *s)
{
    struct offload_attach *at = s->user.at;
    struct offload_share *sh;

    if (at == NULL || at->state != OFFLOAD_LOST)
        return;
    sh = &at->share;
    for (uint32_t i = slots_next_live(&sh->slots, 0); i < sh->slots.count;
         i = slots_next_live(&sh->slots, i + 1)) {
        struct offload_use *u = &sh->use[i];

        if (u->user != &s->user)
            continue;
        u->user = NULL;
        s->live--;
        if (!u->command) {
            tmf_unanswered(s, u->w);
            continue;
        }
        if (u->eh != NULL)
            u->eh->sc = NULL;
        command_end_later(s, u->sc, DID_TRANSPORT_FAILFAST);
    }
}

/* ---- what is told later --------------------------------------------------------------------- */

static void
work_commands(struct offload_session *s)
{
    struct list now, *n;

    list_init(&now);
    list_splice(&now, &s->done);
    while ((n = list_pop_front(&now)) != NULL) {
        struct scsi_cmd *sc = container_of(n, struct scsi_cmd, host_node);

        sc->done(sc);
    }
}

static void
work_waits(struct offload_session *s)
{
    struct list now, *n;

    list_init(&now);
    list_splice(&now, &s->eh_slots);
    while ((n = list_pop_front(&now)) != NULL)
        tmf_try(s, container_of(n, struct scsi_eh_wait, node));
    while (s->host.state != SCSI_HOST_BLOCKED && (n = list_pop_front(&s->eh_resets)) != NULL)
        wait_end_later(s, container_of(n, struct scsi_eh_wait, node), SCSI_EH_SUCCESS);
    list_splice(&now, &s->eh_done);
    while ((n = list_pop_front(&now)) != NULL) {
        struct scsi_eh_wait *w = container_of(n, struct scsi_eh_wait, node);

        w->done(w, w->result);
    }
}

static void
host_on_work(struct loop_work *work)
{
    struct offload_session *s = container_of(work, struct offload_session, work);

    work_commands(s);
    work_waits(s);
    s->moved(s);
}

void
offload_host_moved(struct offload_session *s)
{
    if (!list_empty(&s->eh_resets) || !list_empty(&s->eh_slots))
        loop_defer(s->loop, &s->work);
    if (s->host.state == SCSI_HOST_RUNNING)
        s->want_restart = false; /* the midlayer begins anew */
}

bool
offload_host_idle(const struct offload_session *s)
{
    return s->live == 0 && list_empty(&s->done) && list_empty(&s->eh_slots) &&
           list_empty(&s->eh_resets) && list_empty(&s->eh_done);
}

static const struct scsi_host_ops offload_host_ops = {
    .queuecommand = offload_queuecommand,
    .commit = offload_commit,
    .eh_timed_out = offload_eh_timed_out,
    .eh_abort = offload_eh_abort,
    .eh_device_reset = offload_eh_device_reset,
    .eh_target_reset = offload_eh_target_reset,
    .eh_clear_aca = offload_eh_clear_aca,
    .eh_query = offload_eh_query,
    .eh_session_reset = offload_eh_session_reset,
};

void
offload_host_init(struct offload_session *s, uint32_t sid, uint32_t cmds_max)
{
    list_init(&s->done);
    list_init(&s->eh_slots);
    list_init(&s->eh_resets);
    list_init(&s->eh_done);
    loop_work_init(&s->work, host_on_work);
    s->cmds_max = cmds_max > 0 ? cmds_max : COMMANDS_DEFAULT;
    s->host = (struct scsi_host){
        .ops = &offload_host_ops,
        .loop = s->loop,
        .can_queue = s->cmds_max,
        .max_cdb_len = SCSI_CDB_MAX,
        .max_sg = HOST_MAX_SG,
        .max_transfer = HOST_TRANSFER,
        .state = SCSI_HOST_BLOCKED,
    };
    (void)snprintf(s->host.name, sizeof(s->host.name), "host%u", sid);
    s->user.answer = command_on_answer;
    s->user.back = command_on_back;
    s->user.room = command_on_room;
}

int
offload_host_attached(struct offload_session *s, struct lunette_error *err)
{
    const struct offload_attach *at = s->user.at;
    uint32_t slots = at->opt.slots - OFFLOAD_TMF_SLOTS;

    if (s->sized && at->max_transfer < s->host.max_transfer)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_CONNECT, EINVAL,
                            "the engine at %s takes %u bytes at a time, and the one before it "
                            "took %llu: disks that are open count on these",
                            at->opt.engine, at->max_transfer,
                            (unsigned long long)s->host.max_transfer);
    if (!s->sized) {
        s->host.max_transfer = at->max_transfer;
        s->host.can_queue = s->cmds_max < slots ? s->cmds_max : slots;
    }
    s->sized = true;
    return 0;
}

void
offload_host_fini(struct offload_session *s)
{
    assert(offload_host_idle(s));
    loop_defer_cancel(&s->work);
}
