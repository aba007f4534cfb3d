/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_engine.c - worlds with an engine: what a seed means, the processes that
 * come and go, and the story: ask, suffer, compare, leave. */
#include "tests/sim/lunette_sim_engine.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/support/steady_alloc.h"

#define STEP_NS   (2 * LOOP_NS_PER_MS)
#define QUIET_MS  90000 /* for everything to come back once nothing is wrong any more */
#define CLOSED_MS 3000  /* until a client that has lied is sent away */
#define LOOK      97u   /* steps between two looks at memory that nobody uses */
#define PATH      "/sim/engine"

/* ---- what a seed means ------------------------------------------------------------------------
 */

static uint64_t
draw(uint64_t *x, uint64_t below)
{
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return (*x >> 33) % below;
}

static void
plan_make(uint64_t seed, struct le_plan *p)
{
    uint64_t x = seed * 0x9e3779b97f4a7c15ull + 1;

    (void)draw(&x, 2);
    *p = (struct le_plan){.seed = seed,
                          .rough = draw(&x, 2) == 0,
                          .patient = draw(&x, 3) != 0,
                          .clients = 2 + (uint32_t)draw(&x, LE_CLIENTS - 1),
                          .span_ms = 500 + (uint32_t)draw(&x, 3000),
                          .most = LE_BLOCK << draw(&x, 7),
                          .slots = 8u << draw(&x, 4),
                          .arena_mib = 4 << draw(&x, 2),
                          .only_clients_die = draw(&x, 5) == 0,
                          .garbage = draw(&x, 4) != 0,
                          .reap_ms = 1 + (uint32_t)draw(&x, draw(&x, 2) == 0 ? 20 : 800)};
    p->cancels = draw(&x, 2) == 0;
    for (int f = 0; f < LE_FAULTS; f++) {
        bool client = f == LE_KILL_CLIENT || f == LE_LIE || f == LE_LEAVE;

        if ((client || !p->only_clients_die) && draw(&x, 2) == 0)
            p->chance[f] = 100 + (uint32_t)draw(&x, 900);
    }
    p->table = !p->only_clients_die || draw(&x, 2) == 0;
}

static bool
happens(struct le_world *w, enum le_fault f)
{
    return w->plan.chance[f] != 0 && le_below(w, w->plan.chance[f]) == 0;
}

/* ---- the target -------------------------------------------------------------------------------
 */

static void
store_close(struct lu_store *s)
{
    (void)s;
}

static const struct lu_store_ops store_ops = {.product = "lunette-sim", .close = store_close};

static void
target_start(struct le_world *w)
{
    static const struct target_key_value set[] = {{"DefaultTime2Wait", "0"},
                                                  {"NopInterval", "5"},
                                                  {"MaxRecvDataSegmentLength", "8192"},
                                                  {"MaxBurstLength", "16384"},
                                                  {"FirstBurstLength", "8192"}};
    struct lu_config lun = {.store = &w->store, .block = LE_BLOCK, .serial = "engine-1"};
    struct target_node_config node = {
        .name = LS_NODE, .luns = &lun, .luns_count = 1, .set = set, .set_count = 5};
    struct target_config tc = {.nodes = &node, .nodes_count = 1};
    struct lunette_error err = LUNETTE_INIT(err);

    w->store = (struct lu_store){.ops = &store_ops, .mem = w->disk, .size = LE_DISK};
    if (target_new(w->tloop, &tc, &w->target, &err) < 0 ||
        target_listen(w->target, &w->portal, NULL, &err) < 0)
        LE_FAIL(w, "no target: %s", err.msg);
}

static void
target_end(struct le_world *w)
{
    target_free(w->target);
    w->target = NULL;
}

/* ---- the engine -------------------------------------------------------------------------------
 */

static void
state_path(long pid, char *buf, size_t size)
{
    (void)snprintf(buf, size, "%s/lunette-sim-%ld",
                   access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp", pid);
}

static void
sweep(const char *path, int depth)
{
    DIR *d = opendir(path);
    const struct dirent *e;
    char name[512];

    if (d == NULL)
        return;
    while ((e = readdir(d)) != NULL) {
        if (e->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", path, e->d_name);
        if (unlink(name) < 0 && depth > 0)
            sweep(name, depth - 1);
    }
    (void)closedir(d);
    (void)rmdir(path);
}

void
le_sweep(long pid)
{
    char path[64];

    state_path(pid, path, sizeof(path));
    sweep(path, 2);
}

static void
engine_start(struct le_world *w)
{
    w->engine = engine_process_start(w->sim, PATH, w->plan.table ? w->state : NULL);
    w->engines++;
    w->engine_stops = false;
    LE_SAY(w, "engine %u starts", w->engines);
}

static void
engine_gone(struct le_world *w, const char *how)
{
    LE_SAY(w, "the engine %s", how);
    engine_process_free(w->engine);
    w->engine = NULL;
    w->engine_ns = sim_now_ns(w->sim) + le_below(w, 1500) * LOOP_NS_PER_MS;
}

static void
engine_kill(struct le_world *w)
{
    le_engine_dies(w);
    engine_process_kill(w->engine);
    LS_COUNT(engine_kills, 1);
    w->killed = true;
    engine_gone(w, "is killed");
}

static void
engine_step(struct le_world *w)
{
    if (w->engine == NULL) {
        if (!w->leaving && (w->calm || sim_now_ns(w->sim) >= w->engine_ns))
            engine_start(w);
        return;
    }
    if (w->engine_stops) {
        if (engine_process_over(w->engine)) {
            sim_process_kill(engine_process_loop(w->engine)); /* and its process ends */
            engine_gone(w, "has ended");
        }
        return;
    }
    if (w->calm || w->leaving)
        return;
    if (happens(w, LE_KILL_ENGINE)) {
        engine_kill(w);
    } else if (happens(w, LE_STOP_ENGINE)) {
        engine_process_stop(w->engine);
        w->engine_stops = true;
        LS_COUNT(engine_stops, 1);
    }
}

/* ---- the clients ------------------------------------------------------------------------------
 */

static void
client_start(struct le_client *c)
{
    struct lunette_ctx_options opts = {.struct_size = sizeof(opts),
                                       .initiator_name = "iqn.2026-11.example:initiator"};
    struct lunette_error err = LUNETTE_INIT(err);
    struct api_hooks hooks = {0};

    c->loop = hooks.loop = sim_loop(c->w->sim);
    c->lied = c->leaving = c->closed = false;
    if (api_ctx_new(&opts, &hooks, &c->ctx, &err) < 0)
        LE_FAIL(c->w, "no context: %s", err.msg);
    LE_SAY(c->w, "client %u begins life %u", c->index, c->life);
}

static void
client_gone(struct le_client *c)
{
    struct le_world *w = c->w;

    c->loop = NULL;
    c->ctx = NULL;
    c->op = NULL;
    c->lun = NULL;
    c->q = NULL;
    c->life++;
    c->again_ns = sim_now_ns(w->sim) + le_below(w, 300) * LOOP_NS_PER_MS;
}

/* What killed processes had in memory is kept where whoever looks for leaks finds it. */
static struct lunette_ctx *dead[LE_CLIENTS * LE_LIVES];
static struct lunette_queue *dead_queues[LE_CLIENTS * LE_LIVES];
static struct lunette_lun *dead_luns[LE_CLIENTS * LE_LIVES];
static struct lunette_open *dead_openings[LE_CLIENTS * LE_LIVES];

static void
client_kill(struct le_client *c)
{
    uint32_t at = c->index * LE_LIVES + c->life;

    LE_SAY(c->w, "client %u is killed with %u requests", c->index, c->inflight);
    le_io_memory(c);
    le_client_dies(c);
    sim_process_kill(c->loop);
    le_io_died(c, c->w->plan.garbage);
    dead[at] = c->ctx;
    dead_queues[at] = c->q;
    dead_luns[at] = c->lun;
    dead_openings[at] = c->op;
    c->w->killed = true;
    LS_COUNT(client_kills, 1);
    client_gone(c);
}

static void
opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct le_client *c = user;
    struct le_world *w = c->w;

    c->op = NULL;
    if (lun == NULL) {
        LE_SAY(w, "client %u: not opened: %s", c->index, err->msg);
        c->again_ns = sim_now_ns(w->sim) + (50 + le_below(w, 300)) * LOOP_NS_PER_MS;
        return;
    }
    c->lun = lun;
    LS_COUNT(opens, 1);
    LE_SAY(w, "client %u: opened", c->index);
}

static void
client_open(struct le_client *c)
{
    struct lunette_error err = LUNETTE_INIT(err);
    const struct le_plan *p = &c->w->plan;
    char url[512];

    (void)snprintf(url, sizeof(url),
                   "iscsi://10.0.0.1:3260/" LS_NODE "/0?transport=offload_session&engine=" PATH
                   "&offload_slots=%u&offload_arena=%uM&replacement_timeout=%d",
                   p->slots, p->arena_mib, p->patient ? 600 : 1);
    if (lunette_open_start(c->ctx, url, 0, opened, c, &c->op, &err) < 0)
        LE_FAIL(c->w, "client %u does not open: %s", c->index, err.msg);
}

static void
closed(void *user)
{
    ((struct le_client *)user)->closed = true;
}

static void
client_close(struct le_client *c)
{
    if (c->op != NULL) {
        lunette_open_cancel(c->op);
        c->op = NULL;
        c->closed = true;
    }
    if (c->q != NULL && c->inflight == 0) {
        lunette_queue_free(c->q);
        c->q = NULL;
    }
    if (c->q == NULL && c->lun != NULL) {
        lunette_close_start(c->lun, closed, c);
        c->lun = NULL;
    } else if (c->q == NULL && c->lun == NULL && c->op == NULL && dataplane_busy(c->ctx->dp) == 0) {
        le_io_memory(c);
        lunette_ctx_free(c->ctx);
        sim_process_kill(c->loop); /* the process ends */
        LE_SAY(c->w, "client %u has ended", c->index);
        client_gone(c);
    }
}

/* A client that lies is sent away; and dies before it can come again. */
static void
liar_step(struct le_client *c)
{
    struct le_world *w = c->w;
    const struct offload_attach *at = le_attachment(c);
    uint64_t now = sim_now_ns(w->sim);

    if (at != NULL && at->state == OFFLOAD_UP && at->generation == c->lied_generation &&
        now > c->lied_ns + CLOSED_MS * LOOP_NS_PER_MS)
        LE_FAIL(w, "client %u has sent an entry that is wrong, and is served", c->index);
    if (now >= c->dies_ns &&
        (at == NULL || at->state != OFFLOAD_UP || at->generation != c->lied_generation))
        client_kill(c);
}

static void
client_lie(struct le_client *c)
{
    struct le_world *w = c->w;

    if (!le_client_lies(c))
        return;
    c->lied = true;
    c->lied_ns = sim_now_ns(w->sim);
    c->dies_ns = c->lied_ns + le_below(w, 1000) * LOOP_NS_PER_MS;
    c->lied_generation = le_attachment(c)->generation;
    LS_COUNT(lies, 1);
}

/* Nobody but clients dies: whoever lives has noticed nothing. */
static void
client_sees_nothing(struct le_client *c)
{
    struct lunette_session_info info = LUNETTE_INIT(info);

    if (c->lun == NULL || lunette_get_session_info(c->lun, &info) < 0)
        return;
    if (info.reopens > 0 || info.state != LUNETTE_SESSION_LOGGED_IN)
        LE_FAIL(c->w, "client %u has lost its session by the death of another: %s", c->index,
                info.error_text);
}

static void
client_step(struct le_client *c)
{
    struct lunette_error err = LUNETTE_INIT(err);
    struct le_world *w = c->w;
    bool asks = !c->leaving && !c->lied && !w->leaving;

    if (c->loop == NULL) {
        if (c->life < LE_LIVES && !w->calm && !w->leaving && sim_now_ns(w->sim) >= c->again_ns)
            client_start(c);
        return;
    }
    if (c->lied) {
        le_io_turn(c, false);
        liar_step(c);
        return;
    }
    if (c->lun == NULL && c->op == NULL && asks && sim_now_ns(w->sim) >= c->again_ns)
        client_open(c);
    if (c->lun != NULL && c->q == NULL && !c->leaving &&
        lunette_queue_new(c->lun, LE_SLOTS, &c->q, &err) < 0)
        LE_FAIL(w, "client %u has no queue: %s", c->index, err.msg);
    le_io_turn(c, asks);
    if (w->plan.only_clients_die)
        client_sees_nothing(c);
    if (c->leaving || w->leaving)
        client_close(c);
    else if (!w->calm && happens(w, LE_KILL_CLIENT))
        client_kill(c);
    else if (!w->calm && happens(w, LE_LIE))
        client_lie(c);
    else if (!w->calm && happens(w, LE_LEAVE))
        c->leaving = true;
}

/* ---- what goes wrong in between ---------------------------------------------------------------
 */

static void
hold(struct le_world *w, enum le_fault f, uint64_t ms)
{
    w->held = f;
    w->held_until_ns = sim_now_ns(w->sim) + le_below(w, ms) * LOOP_NS_PER_MS;
}

static void
let_go(struct le_world *w)
{
    if (w->held == LE_BLACK_HOLE)
        sim_stall(w->sim, &w->portal, false);
    if (w->held == LE_REFUSE)
        sim_refuse(w->sim, &w->portal, false);
    if (w->held == LE_SLOW)
        target_set_faults(w->target, NULL);
    if (w->held == LE_RESTART)
        target_start(w);
    w->held = LE_FAULTS;
}

static void
fault_begins(struct le_world *w, enum le_fault f)
{
    struct target_faults slow = {.response_delay_ms = 1 + (uint32_t)le_below(w, 60)};

    LE_SAY(w, "fault %d", (int)f);
    LS_COUNT(engine_faults[f], 1);
    if (f == LE_CUT)
        (void)sim_cut(w->sim, &w->portal, le_below(w, 2) == 0 ? SIM_RESET : SIM_EOF);
    if (f == LE_BLACK_HOLE)
        sim_stall(w->sim, &w->portal, true);
    if (f == LE_REFUSE) {
        sim_refuse(w->sim, &w->portal, true);
        (void)sim_cut(w->sim, &w->portal, SIM_RESET);
    }
    if (f == LE_SLOW)
        target_set_faults(w->target, &slow);
    if (f == LE_RESTART)
        target_end(w);
    if (f != LE_CUT)
        hold(w, f, 1500);
}

static void
faults_step(struct le_world *w)
{
    if (w->held != LE_FAULTS) {
        if (w->calm || sim_now_ns(w->sim) >= w->held_until_ns)
            let_go(w);
        return;
    }
    for (enum le_fault f = LE_CUT; f <= LE_RESTART && !w->calm && !w->leaving; f++) {
        if (w->held == LE_FAULTS && happens(w, f))
            fault_begins(w, f);
    }
}

/* ---- the story --------------------------------------------------------------------------------
 */

static void
nothing(void *user)
{
    (void)user;
}

static void
step(struct le_world *w)
{
    sim_at(w->sim, STEP_NS, nothing, NULL); /* time passes, also where nothing else happens */
    (void)sim_run_until(w->sim, NULL, NULL, STEP_NS);
    faults_step(w);
    engine_step(w);
    for (uint32_t i = 0; i < w->plan.clients; i++)
        client_step(&w->client[i]);
    if (le_below(w, LOOK) == 0) {
        for (uint32_t i = 0; i < w->plan.clients; i++) {
            if (w->client[i].loop != NULL)
                le_io_memory(&w->client[i]);
        }
    }
}

static bool
all_work(const struct le_world *w)
{
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        const struct le_client *c = &w->client[i];

        if (c->loop != NULL && (c->lied || c->leaving || c->good_in_calm < 20))
            return false;
    }
    return true;
}

static bool
all_have_left(const struct le_world *w)
{
    for (uint32_t i = 0; i < w->plan.clients; i++) {
        if (w->client[i].loop != NULL)
            return false;
    }
    return true;
}

static bool
engine_has_left(const struct le_world *w)
{
    return w->engine == NULL;
}

static bool
target_is_left(const struct le_world *w)
{
    struct target_stats st;

    target_stats(w->target, &st);
    return st.conns == 0;
}

static void
until(struct le_world *w, bool (*done)(const struct le_world *w), const char *else_what)
{
    uint64_t end = sim_now_ns(w->sim) + QUIET_MS * LOOP_NS_PER_MS;

    while (!done(w)) {
        if (sim_now_ns(w->sim) > end)
            LE_FAIL(w, "%s", else_what);
        step(w);
    }
}

static void
world_begin(struct le_world *w)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(3260)};

    (void)setenv("LUNETTE_ARENA_CHECK", "1", 1);
    w->sim = w->base.sim = sim_new(w->plan.seed, w->plan.rough ? &sim_rough : NULL);
    w->base.start_ns = sim_now_ns(w->sim);
    sim_set_reaping(w->sim, w->plan.reap_ms * LOOP_NS_PER_MS);
    in.sin_addr.s_addr = htonl(0x0a000001);
    w->portal = (struct sock_addr){.len = sizeof(in)};
    memcpy(&w->portal.ss, &in, sizeof(in));
    w->tloop = sim_loop(w->sim);
    w->disk = steady_calloc(1, LE_DISK);
    w->held = LE_FAULTS;
    le_between(w);
    target_start(w);
    state_path(getpid(), w->state, sizeof(w->state));
    le_sweep(getpid());
    if (w->plan.table && mkdir(w->state, 0700) < 0)
        LE_FAIL(w, "no folder for the engine: %s", w->state);
    engine_start(w);
    for (uint32_t i = 0; i < LE_CLIENTS; i++) {
        w->client[i].w = w;
        w->client[i].index = i;
        le_slots_init(&w->client[i]);
    }
}

static void
world_end(struct le_world *w)
{
    le_between(NULL);
    target_end(w);
    (void)sim_run_until(w->sim, NULL, NULL, 2 * LOOP_NS_PER_S);
    LS_COUNT(virtual_ms, (sim_now_ns(w->sim) - w->base.start_ns) / LOOP_NS_PER_MS);
    ls_stats->hash = sim_hash(w->sim);
    sim_free(w->sim);
    w->sim = w->base.sim = NULL;
    le_sweep(getpid());
    for (uint32_t i = 0; i < LE_CLIENTS; i++) {
        for (uint32_t k = 0; k < LE_LIVES * LE_SLOTS; k++)
            steady_free(w->client[i].slot[k / LE_SLOTS][k % LE_SLOTS].buf);
    }
    steady_free(w->disk);
    if (!w->killed && ls_memory_left() > 0)
        LE_FAIL(w, "memory was not given back");
}

static void
one_login(struct le_world *w)
{
    struct target_stats st;

    target_stats(w->target, &st);
    if (w->plan.only_clients_die && st.logins != 1)
        LE_FAIL(w, "clients share a login, and the target saw %llu of them",
                (unsigned long long)st.logins);
}

void
le_world_run(uint64_t seed)
{
    static struct le_world world;
    struct le_world *w = &world;
    uint64_t end;

    memset(w, 0, sizeof(*w));
    plan_make(seed, &w->plan);
    w->base.plan.seed = seed;
    world_begin(w);
    end = sim_now_ns(w->sim) + w->plan.span_ms * LOOP_NS_PER_MS;
    while (sim_now_ns(w->sim) < end)
        step(w);
    for (uint32_t i = 0; i < w->plan.clients; i++)
        w->client[i].dies_ns = 0;
    w->calm = true;
    let_go(w);
    LE_SAY(w, "calm");
    until(w, all_work, "nothing is wrong any more, and requests do not go well");
    w->leaving = true;
    until(w, all_have_left, "a client does not come to its end");
    one_login(w);
    if (w->engine != NULL && !w->engine_stops)
        engine_process_stop(w->engine);
    w->engine_stops = true;
    until(w, engine_has_left, "the engine does not come to its end");
    until(w, target_is_left, "the engine has ended, and the target has a connection of it");
    le_io_compare(w);
    world_end(w);
    LS_COUNT(seeds, 1);
    LS_COUNT(worlds[2], 1);
}
