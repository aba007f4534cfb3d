/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_world.c - the target, the context and the handles of a world, and the story
 * that every world tells: open, ask, suffer, compare, close. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"

#define TURNS_MAX 3000000u /* nothing may go on for ever */
#define STEP_NS   (20 * LOOP_NS_PER_MS)
#define QUIET_MS  60000 /* for everything to come back once nothing is wrong any more */
#define GRACE_MS  10000 /* until the data plane undoes what a control plane left half-made */

uint64_t
ls_random(struct ls_world *w, uint64_t below)
{
    return sim_below(w->sim, below);
}

uint64_t
ls_clock_ns(const struct ls_world *w)
{
    return sim_now_ns(w->sim) - w->jumped_ns;
}

uint64_t
ls_now_ms(const struct ls_world *w)
{
    return (sim_now_ns(w->sim) - w->start_ns) / LOOP_NS_PER_MS;
}

/* ---- the target ----------------------------------------------------------------------------- */

static void
set_addresses(struct ls_world *w)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(3260)};

    for (uint32_t i = 0; i < 2; i++) {
        in.sin_addr.s_addr = htonl(0x0a000001 + i);
        w->portal[i] = (struct sock_addr){.len = sizeof(in)};
        memcpy(&w->portal[i].ss, &in, sizeof(in));
    }
}

void
ls_target_orders(struct ls_world *w)
{
    static const struct target_faults none;

    if (w->target != NULL)
        target_set_faults(w->target,
                          memcmp(&none, &w->orders, sizeof(none)) == 0 ? NULL : &w->orders);
}

static int
listen_at(struct ls_world *w, unsigned portal, struct lunette_error *err)
{
    return w->plan.rdma ? target_listen_rdma(w->target, &w->portal[portal], NULL, err)
                        : target_listen(w->target, &w->portal[portal], NULL, err);
}

void
ls_target_start(struct ls_world *w)
{
    struct lu_config lun[LS_LUNS_MAX];
    struct target_node_config node = {.name = LS_NODE,
                                      .luns = lun,
                                      .luns_count = w->plan.luns,
                                      .set = w->plan.set,
                                      .set_count = w->plan.set_count};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct lunette_error err = LUNETTE_INIT(err);

    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct ls_disk *d = w->swaps > 0 ? &w->other[i] : &w->disk[i];

        d->crashed = false;
        lun[i] = (struct lu_config){
            .store = &d->store, .block = w->plan.block[i], .lun = (int32_t)i, .wce = w->plan.wce};
        (void)snprintf(lun[i].serial, sizeof(lun[i].serial), "%s-%u", d->foreign ? "other" : "disk",
                       i);
    }
    if (w->plan.chap) {
        node.chap_user = "initiator";
        node.chap_secret = "a-secret-of-ours";
        node.mutual_user = "target";
        node.mutual_secret = "another-secret-1";
    }
    ls_memory_pause(true);
    if (target_new(w->tloop, &tc, &w->target, &err) < 0 || listen_at(w, 0, &err) < 0 ||
        listen_at(w, 1, &err) < 0)
        ls_fail(w, "the target does not start: %s", err.msg);
    ls_memory_pause(false);
    ls_target_orders(w);
    ls_faults_of_target(w);
}

void
ls_target_kill(struct ls_world *w)
{
    target_free(w->target);
    w->target = NULL;
}

void
ls_world_spoiled(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++)
        ls_model_spoiled(w->model[i]);
}

/* ---- time ----------------------------------------------------------------------------------- */

static bool
some_turns(void *user)
{
    struct ls_world *w = user;

    return w->turns_left-- == 0 || ls_ctl_is_due(w);
}

/* Whether the network has the last bytes of sessions that were left. */
static void
look_for_orphans(struct ls_world *w)
{
    if (!w->adrift || ls_world_orphans(w) > 0)
        return;
    w->adrift = false;
    for (uint32_t i = 0; i < w->plan.luns; i++)
        ls_model_settled(w->model[i]);
}

void
ls_world_step(struct ls_world *w, uint64_t max_ns)
{
    uint64_t end = sim_now_ns(w->sim) + max_ns;

    ls_ctl_look(w);
    w->turns_left = 1 + (uint32_t)ls_random(w, 12);
    if (!sim_run_until(w->sim, some_turns, w, max_ns) && sim_now_ns(w->sim) < end)
        sim_jump(w->sim, end - sim_now_ns(w->sim)); /* nobody waits for anything */
    look_for_orphans(w);
    ls_user_acts(w);
    ls_io_cancel_some(w);
    (void)ls_io_poll(w);
    ls_judge_deadlines(w);
    if (!ls_ctl_is_away(w))
        ls_events_check(w);
    ls_handles_look(w);
    if (w->turns > TURNS_MAX)
        ls_fail(w, "goes on for ever");
}

bool
ls_world_until(struct ls_world *w, bool (*done)(struct ls_world *w), uint64_t max_ms)
{
    uint64_t end = ls_now_ms(w) + max_ms;

    while (!done(w)) {
        if (ls_now_ms(w) >= end)
            return false;
        ls_world_step(w, STEP_NS);
    }
    return true;
}

static void
after_turn(void *user)
{
    struct ls_world *w = user;

    w->turns++;
    ls_check_turn(w);
    if (ls_tracing)
        ls_trace_new(w);
}

/* ---- beginning and end ---------------------------------------------------------------------- */

static struct ipc *
make_ipc(void *user, struct loop *loop, const struct ipc_server_ops *ops, void *server,
         struct ipc_client *ret_client)
{
    const struct dataplane_limits limits = {.grace_ms = GRACE_MS,
                                            .events_max = DATAPLANE_EVENTS_MAX,
                                            .event_bytes_max = DATAPLANE_EVENT_BYTES_MAX};
    struct ls_world *w = user;

    w->ctl.generation = 1;
    dataplane_set_limits(server, &limits);
    if (ipc_delayed_new(loop, w->plan.ipc_delay_ns, ops, server, &w->binding, ret_client) < 0)
        return NULL;
    return ipc_delayed_ipc(w->binding);
}

static void
make_context(struct ls_world *w)
{
    struct lunette_ctx_options opts = {.struct_size = sizeof(opts),
                                       .initiator_name = "iqn.2026-11.example:initiator",
                                       .trace_events = ls_tracing ? 65536 : 0};
    struct api_hooks hooks = {.loop = w->loop, .make_ipc = make_ipc, .user = w};
    struct lunette_error err = LUNETTE_INIT(err);

    if (api_ctx_new(&opts, &hooks, &w->ctx, &err) < 0)
        ls_fail(w, "no context: %s", err.msg);
    if (w->plan.rdma && transport_find(&w->ctx->registry, "iser") == NULL &&
        transport_register(&w->ctx->registry, &iser_transport, &err) < 0)
        ls_fail(w, "%s", err.msg);
    ls_events_init(w);
}

static void
world_begin(struct ls_world *w)
{
    const struct ls_plan *p = &w->plan;

    w->sim = sim_new(p->seed, p->rough ? &sim_rough : NULL);
    if (p->rdma)
        w->rdma = ls_rdma_new(w);
    w->start_ns = sim_now_ns(w->sim);
    w->loop = sim_loop(w->sim);
    w->tloop = p->two_loops ? sim_loop(w->sim) : w->loop;
    sim_after_turn(w->sim, after_turn, w);
    w->wire = ls_wire_new(w);
    sim_tap(w->sim, ls_wire_tap, w->wire);
    set_addresses(w);
    for (uint32_t i = 0; i < p->luns; i++) {
        uint64_t size = (uint64_t)p->blocks[i] * p->block[i];
        uint64_t full = (uint64_t)(p->blocks[i] + p->blocks[i] / 2) * p->block[i];

        ls_disk_init(&w->disk[i], w, full, p->medium_calls, p->cache);
        w->disk[i].size = size;
        ls_disk_init(&w->other[i], w, size, p->medium_calls, false);
        w->other[i].foreign = true;
        ls_pattern(UINT32_MAX, 0, w->other[i].bytes, size);
        w->model[i] = ls_model_new(w, i, full, p->cache);
    }
    ls_io_init(w);
    w->orders.keep_stags = p->keep_stags;
    ls_target_start(w);
    make_context(w);
    if (p->registers)
        ls_rdma_register(w);
    ls_handles_init(w);
}

static bool
all_over(struct ls_world *w)
{
    struct target_stats st;

    target_stats(w->target, &st);
    return dataplane_busy(w->ctx->dp) == 0 && st.conns == 0;
}

static void
world_end(struct ls_world *w)
{
    if (!ls_world_until(w, all_over, QUIET_MS))
        ls_fail(w, "something of a session has stayed, in the data plane or at the target");
    lunette_ctx_free(w->ctx);
    w->ctx = NULL;
    ipc_delayed_free(w->binding);
    ipc_delayed_free(w->ctl.old); /* of one that died last, and nobody came after it */
    ls_target_kill(w);
    ls_io_fini(w);
    (void)sim_run_until(w->sim, NULL, NULL, LOOP_NS_PER_S);
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        ls_disk_fini(&w->disk[i]);
        ls_disk_fini(&w->other[i]);
        ls_model_free(w->model[i]);
    }
    LS_COUNT(turns, w->turns);
    LS_COUNT(virtual_ms, ls_now_ms(w));
    LS_COUNT(ios, w->completed);
    LS_COUNT(failed, w->failed);
    ls_stats->hash = sim_hash(w->sim);
    ls_rdma_free(w->rdma);
    sim_free(w->sim);
    w->sim = NULL;
    ls_wire_free(w->wire);
    if (ls_memory_left() > 0)
        ls_fail(w, "memory was not given back");
}

/* ---- the story ------------------------------------------------------------------------------ */

/* Requests, spread over the time that the plan gives them. */
static void
ask(struct ls_world *w)
{
    const struct ls_plan *p = &w->plan;

    while (w->submitted < p->ops) {
        uint32_t due;

        ls_reserve_some(w);
        due = p->span_ms == 0 ? p->ops : (uint32_t)(ls_now_ms(w) * p->ops / p->span_ms);

        if (w->submitted <= due && ls_random(w, 3) != 0 && ls_io_start(w))
            continue;
        ls_world_step(w, STEP_NS);
        if (ls_now_ms(w) > p->span_ms + p->faults_ms + 10 * QUIET_MS)
            ls_fail(w, "requests cannot be made any more");
    }
}

static bool
nothing_outstanding(struct ls_world *w)
{
    return ls_io_outstanding(w) == 0;
}

static bool
never(struct ls_world *w)
{
    (void)w;
    return false;
}

/* All that the initiator finds, and all that the medium has, is what the model allows. */
static void
compare(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        uint64_t size = w->disk[i].full;

        ls_model_settled(w->model[i]);
        ls_model_check(w->model[i], ls_model_read(w->model[i]), 0, w->disk[i].bytes, size,
                       "the medium");
    }
}

/* Whoever has asked a LUN for something since it has changed has been told, even if that was in an
 * answer that a mute target kept to itself. */
static bool
sizes_are_known(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        const struct ls_handle *h = &w->handle[i];

        if (ls_handle_size(h) != w->disk[i].size)
            return false;
    }
    return true;
}

static bool
all_answer(const struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->handle[i].asked_ns == 0)
            return false;
    }
    return true;
}

static void
work_as_before(struct ls_world *w)
{
    uint32_t n = w->submitted + 20;
    uint64_t end = ls_now_ms(w) + QUIET_MS;

    while (w->submitted < n || !all_answer(w)) {
        if (ls_now_ms(w) > end)
            ls_fail(w, "nothing is wrong any more, and requests do not go well");
        /* Those that come after the twentieth are for LUNs that had none: they do not compete. */
        if ((w->submitted >= n && ls_io_outstanding(w) > 0) || !ls_io_start(w))
            ls_world_step(w, STEP_NS);
    }
}

void
ls_world_run(const struct ls_plan *p)
{
    static struct ls_world world;
    struct ls_world *w = &world;

    memset(w, 0, sizeof(*w));
    w->plan = *p;
    world_begin(w);
    ls_faults_plan(w);
    ask(w);
    if (ls_now_ms(w) < p->faults_ms)
        (void)ls_world_until(w, never, p->faults_ms - ls_now_ms(w) + 1);
    if (!ls_world_until(w, nothing_outstanding, 10 * QUIET_MS))
        ls_fail(w, "%u requests never end", ls_io_outstanding(w));
    if (!ls_world_until(w, ls_handles_up, QUIET_MS))
        ls_fail(w, "nothing is wrong any more, and a LUN does not come back");
    w->calm = true;
    ls_memory_fail_nth(0);
    work_as_before(w);
    if (!ls_world_until(w, nothing_outstanding, 10 * QUIET_MS))
        ls_fail(w, "%u requests never end", ls_io_outstanding(w));
    if (!ls_world_until(w, ls_handles_up, QUIET_MS)) /* a request may have found somebody else's */
        ls_fail(w, "a LUN is not there at the end");
    ls_reserve_check(w);
    if (!ls_world_until(w, sizes_are_known, QUIET_MS))
        ls_fail(w, "a LUN has another size than the library knows");
    compare(w);
    w->leaving = true;
    if (p->leave)
        ls_io_leave(w);
    ls_handles_close(w);
    world_end(w);
    LS_COUNT(seeds, 1);
    LS_COUNT(worlds[p->rdma], 1);
}
