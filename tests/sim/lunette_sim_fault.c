/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_fault.c - makes the faults of a plan happen, and ends them. */
#include "tests/sim/lunette_sim.h"
#include "tests/support/steady_alloc.h"
#include "wire/bhs.h"
#include "wire/capacity.h"

struct event {
    struct ls_world *w;
    const struct ls_fault *f;
    bool on;
};

/* Faults that last may overlap: what several of them hold goes on when the last one ends. */
static void
stall(struct ls_world *w, bool on)
{
    w->stalls += on ? 1u : -1u;
    sim_stall(w->sim, NULL, w->stalls > 0);
}

/* The target's process is gone for a while.  The disks may lose what they have not written, or be
 * somebody else's when it comes back. */
static void
restart(struct ls_world *w, bool on, bool crash)
{
    if (on && w->downs++ == 0) {
        for (uint32_t i = 0; i < w->plan.luns; i++)
            w->disk[i].crashed = crash;
        ls_target_kill(w);
    }
    for (uint32_t i = 0; on && crash && i < w->plan.luns; i++) {
        ls_disk_crash(&w->disk[i]);
        ls_model_crash(w->model[i]);
    }
    w->crashes += on && crash;
    if (!on && --w->downs == 0)
        ls_target_start(w);
}

/* Another unit is behind each number, from one restart to the next. */
static void
swap(struct ls_world *w, bool on)
{
    if (w->target != NULL)
        ls_target_kill(w);
    w->swaps += on ? 1u : -1u;
    ls_handles_cancel(w);
    if (w->downs == 0)
        ls_target_start(w);
}

uint64_t
ls_half_of(const struct ls_world *w, uint32_t lun)
{
    return (uint64_t)(w->plan.blocks[lun] / 2) * w->plan.block[lun];
}

void
ls_faults_of_target(struct ls_world *w)
{
    struct lunette_error err = LUNETTE_INIT(err);
    char there[64];

    if (w->target == NULL)
        return;
    (void)sock_addr_format(&w->portal[1], there, sizeof(there));
    if (target_redirect(w->target, LS_NODE, w->held_moves > 0 ? there : NULL, w->held_moves == 2,
                        &err) < 0)
        ls_fail(w, "%s", err.msg);
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        uint64_t size = w->held[FAULT_SHRINK] > 0 ? ls_half_of(w, i) : w->disk[i].size;

        if ((w->swaps == 0 && target_resize(w->target, LS_NODE, i, size, &err) < 0) ||
            target_set_alua(w->target, LS_NODE, i, w->path_state, 0, &err) < 0)
            ls_fail(w, "%s", err.msg);
    }
}

static void
cut_at_byte(struct ls_world *w, uint64_t arg)
{
    uint64_t bytes = arg % 7 == 0 ? arg / 8 % 200 : arg / 8 % 20000;

    sim_cut_after(w->sim, NULL, arg & 1 ? SIM_EOF : SIM_RESET, arg & 2 ? bytes : UINT64_MAX,
                  arg & 2 ? UINT64_MAX : bytes);
}

static void
clock_jump(struct ls_world *w, uint64_t arg)
{
    uint64_t ns = (100 + arg % 20000) * LOOP_NS_PER_MS;

    w->jumped_ns += ns;
    sim_jump(w->sim, ns);
}

static void
spoil(struct ls_world *w, uint64_t arg, bool on)
{
    struct ls_spoil s = {.to_server = arg & 1,
                         .data = arg & 2,
                         .count = on ? 1 + (uint32_t)(arg >> 24 & 3) : 0,
                         .skip = (uint32_t)(arg >> 3 & 31),
                         .every = (uint32_t)(arg >> 9 & 255),
                         .at = (uint32_t)(arg >> 17 & 255)};

    if (s.data)
        s.skip *= 1 + (uint32_t)(arg >> 17 & 63);
    ls_wire_spoil(w->wire, &s);
}

static void
shut(struct ls_world *w, unsigned portal, bool on)
{
    if (w->plan.rdma)
        ls_rdma_shut(w, portal, on);
    else
        sim_refuse(w->sim, &w->portal[portal], on);
}

/* Logins are sent to the other portal, and the one that nobody is to use any more is shut: the
 * first one, for the rest of the world, once the target has moved for good; the other one when a
 * visit is over. */
static void
send_away(struct ls_world *w, bool on, bool permanent)
{
    w->moved |= permanent && !on;
    /* Nobody is sent away for now by a target that is about to be gone, or is. */
    w->held_moves = w->held[FAULT_MOVED] > 0 ? 2 : w->held[FAULT_REDIRECT] > 0 && !w->moved ? 1 : 0;
    ls_faults_of_target(w);
    ls_world_cut(w);
    if (w->moved)
        shut(w, 0, true);
    shut(w, 1, !on && !permanent && !ls_has_fault(w, FAULT_MOVED));
}

static void
tell_async(struct ls_world *w, uint8_t event, uint64_t arg)
{
    uint16_t wait_s = (uint16_t)(arg % 4), limit_s = (uint16_t)(1 + arg / 4 % 5);

    if (w->target != NULL)
        target_tell_async(w->target, event, wait_s, limit_s);
}

/* Who was asked to leave, and has not, is thrown out. */
static void
throw_out(struct ls_world *w)
{
    if (w->target != NULL)
        target_drop_connections(w->target);
}

static uint16_t
login_status(const struct ls_world *w)
{
    static const uint16_t final[] = {0x0200, 0x0201, 0x0202, 0x0203, 0x0204, 0x0205, 0x0206,
                                     0x0207, 0x0208, 0x0209, 0x020a, 0x020b, 0x0101, 0x0102};

    if (w->held[FAULT_LOGIN_REFUSED] > 0)
        return final[w->login_arg % (sizeof(final) / sizeof(final[0]))];
    return w->held[FAULT_LOGIN_BUSY] > 0 ? (uint16_t)(0x0300 + w->login_arg % 3) : 0;
}

static void
shrink(struct ls_world *w, bool on)
{
    if (on) {
        for (uint32_t i = 0; i < w->plan.luns; i++) {
            uint32_t id = ++w->next_id;
            uint64_t size = w->disk[i].full, half = ls_half_of(w, i);

            /* What is cut off reads as zeroes when it is back. */
            (void)ls_model_write(w->model[i], id, LS_ZEROES, half, size - half);
            ls_model_wrote(w->model[i], id, half, size - half, LS_WEAK);
        }
    }
    ls_faults_of_target(w);
}

/* For good. */
static void
grow(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++)
        w->disk[i].size = w->disk[i].full;
    ls_faults_of_target(w);
}

static void
path_state(struct ls_world *w, uint64_t arg)
{
    static const uint8_t states[] = {ALUA_NON_OPTIMIZED, ALUA_STANDBY, ALUA_UNAVAILABLE,
                                     ALUA_TRANSITIONING};

    w->path_state = w->held[FAULT_ALUA] > 0 ? states[arg % 4] : ALUA_OPTIMIZED;
    ls_faults_of_target(w);
}

static void
no_memory(struct ls_world *w, uint64_t arg)
{
    w->lossy = true;
    ls_memory_fail_nth(1 + arg % 60);
}

/* Of 1024: the higher the level, the more goes wrong. */
static uint32_t
share_of(const struct ls_world *w, uint64_t arg)
{
    return w->plan.level == 2 ? 6 + (uint32_t)(arg % 20) : 1 + (uint32_t)(arg % 12);
}

static void
losses(struct ls_world *w, const struct ls_fault *f, bool on)
{
    struct target_losses *l = &w->orders.losses;
    uint16_t share = on ? (uint16_t)share_of(w, f->arg) : 0;

    if (on)
        l->seed = (uint32_t)(f->arg >> 3 | 1);
    if (f->kind == FAULT_SILENT)
        l->silent = share;
    if (f->kind == FAULT_TWICE)
        l->twice = (uint16_t)(4 * share);
    if (f->kind != FAULT_LOSSES)
        return;
    l->data_in = f->arg & 0x100 ? share : 0;
    l->response = f->arg & 0x200 ? share : 0;
    l->data_out = f->arg & 0x300 ? share : 0;
    if ((f->arg & 0x700) == 0x700 || (f->arg & 0x300) == 0)
        l->data_in = l->response = l->data_out = share;
}

static void
apply(struct ls_world *w, const struct ls_fault *f, bool on)
{
    struct target_faults *o = &w->orders;

    if (w->plan.rdma && ls_rdma_fault(w, f, on))
        return;
    switch (f->kind) {
    case FAULT_CUT:
        if (on)
            (void)sim_cut(w->sim, NULL, f->arg & 1 ? SIM_EOF : SIM_RESET);
        break;
    case FAULT_CUT_BYTES:
        if (on)
            cut_at_byte(w, f->arg);
        break;
    case FAULT_BLACK_HOLE:
        stall(w, on);
        break;
    case FAULT_OLD_PATH:
        sim_hold(w->sim, w->held[FAULT_OLD_PATH] > 0);
        break;
    case FAULT_CUT_ONE:
        if (on)
            sim_cut_one(w->sim, (unsigned)(f->arg >> 1), f->arg & 1 ? SIM_EOF : SIM_RESET);
        break;
    case FAULT_HOLD_ONE:
        if (on)
            sim_hold_one(w->sim, (unsigned)f->arg);
        else if (w->held[FAULT_HOLD_ONE] + w->held[FAULT_OLD_PATH] == 0)
            sim_hold(w->sim, false);
        break;
    case FAULT_REFUSE:
        sim_refuse(w->sim, NULL, w->held[FAULT_REFUSE] > 0);
        break;
    case FAULT_BUSY:
        o->busy_every = on ? 2 + (uint32_t)(f->arg % 9) : 0;
        break;
    case FAULT_FULL:
        o->task_set_full_every = on ? 2 + (uint32_t)(f->arg % 9) : 0;
        break;
    case FAULT_SLOW:
        o->response_delay_ms = on ? 10 + (uint32_t)(f->arg % (w->plan.timeout_ms * 3 / 4)) : 0;
        break;
    case FAULT_MUTE:
        o->mute = on;
        o->mute_opcode = f->arg & 1 ? 0x28 : 0x2a;
        break;
    case FAULT_MUTE_TMF:
        o->mute = o->mute_tmf = on;
        o->mute_opcode = f->arg & 1 ? 0x28 : 0x2a;
        break;
    case FAULT_RESTART:
        restart(w, on, false);
        break;
    case FAULT_CRASH:
        restart(w, on, true);
        break;
    case FAULT_SWAP:
        swap(w, on);
        break;
    case FAULT_SHRINK:
        shrink(w, on);
        break;
    case FAULT_WINDOW:
        o->shut_window = w->held[FAULT_WINDOW] > 0;
        break;
    case FAULT_ASYNC_LOGOUT:
        if (on)
            tell_async(w, ISCSI_ASYNC_LOGOUT_REQUEST, f->arg);
        else
            throw_out(w);
        break;
    case FAULT_ASYNC_DROP:
        if (on)
            tell_async(w, ISCSI_ASYNC_DROP_CONNECTION, f->arg);
        break;
    case FAULT_ASYNC_DROP_ALL:
        if (on)
            tell_async(w, ISCSI_ASYNC_DROP_SESSION, f->arg);
        break;
    case FAULT_ASYNC_NEGOTIATE:
        if (on)
            tell_async(w, ISCSI_ASYNC_NEGOTIATE, f->arg);
        else
            throw_out(w);
        break;
    case FAULT_LOGIN_BUSY:
    case FAULT_LOGIN_REFUSED:
        w->login_arg = f->arg;
        o->refuse_login = login_status(w);
        break;
    case FAULT_REDIRECT:
        send_away(w, on, false);
        break;
    case FAULT_MOVED:
        send_away(w, on, true);
        break;
    case FAULT_EVENTS:
        if (w->binding != NULL)
            ipc_delayed_refuse_events(w->binding, w->held[FAULT_EVENTS] > 0);
        break;
    case FAULT_SPOIL:
        spoil(w, f->arg, on);
        break;
    case FAULT_CLOCK:
        if (on)
            clock_jump(w, f->arg);
        break;
    case FAULT_NOMEM:
        if (on)
            no_memory(w, f->arg);
        break;
    case FAULT_GROW:
        if (on)
            grow(w);
        break;
    case FAULT_ALUA:
        path_state(w, f->arg);
        break;
    case FAULT_CTL:
        if (on)
            ls_ctl_doom(w, f->arg, f->for_ms);
        break;
    case FAULT_LOSSES:
    case FAULT_SILENT:
    case FAULT_TWICE:
        losses(w, f, on);
        break;
    case FAULT_DIGESTS:
        ls_wire_spoil_share(w->wire, w->held[FAULT_DIGESTS] > 0 ? share_of(w, f->arg) / 2 : 0);
        break;
    case FAULT_LATE_ONE:
        if (on)
            sim_late_one(w->sim, (unsigned)f->arg, (1 + f->arg / 64 % 30) * LOOP_NS_PER_MS);
        else if (w->held[FAULT_LATE_ONE] == 0)
            sim_late_none(w->sim);
        break;
    case FAULT_NOT_READY:
    case FAULT_STUCK:
    case FAULT_NOBODY:
    case FAULT_KINDS:
        break; /* of a fabric */
    }
    ls_target_orders(w);
}

static void
due(void *user)
{
    struct event *e = user;

    ls_say(e->w, "fault: %s %s", ls_fault_name(e->f->kind), e->on ? "begins" : "is over");
    if (e->on)
        LS_COUNT(faults[e->f->kind], 1);
    e->w->held[e->f->kind] += e->on ? 1u : -1u;
    apply(e->w, e->f, e->on);
    steady_free(e);
}

static void
plan_event(struct ls_world *w, const struct ls_fault *f, uint64_t at_ms, bool on)
{
    struct event *e = steady_calloc(1, sizeof(*e));

    *e = (struct event){w, f, on};
    sim_at(w->sim, at_ms * LOOP_NS_PER_MS, due, e);
}

void
ls_faults_plan(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.nfaults; i++) {
        const struct ls_fault *f = &w->plan.fault[i];

        plan_event(w, f, f->at_ms, true);
        plan_event(w, f, (uint64_t)f->at_ms + f->for_ms, false);
    }
}
