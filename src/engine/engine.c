/* SPDX-License-Identifier: MIT */
/* engine/engine.c - the loops of an engine's process, and who may come to them. */
#include "engine/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "dataplane/ids.h"
#include "engine/flash.h"
#include "engine/node.h"
#include "ipc/acceptor.h"
#include "rdma/rdma.h"

#define ENGINE_SOCKET_MODE 0666 /* where others are let in; who they are is asked of the kernel */

struct engine_loop {
    struct engine *e;
    unsigned index;
    struct loop *loop;
    struct engine_node *node;
    bool ended, stuck;
    struct loop_work stop;
    struct loop_timer deadline;
};

struct engine {
    struct engine_config cfg;
    struct transport_registry registry;
    struct dp_ids *ids;
    struct ipc_acceptor *acceptor;
    struct crew *crew;
    int lock;              /* of the folder of the tables; -1: there is none */
    struct loop_work stop; /* posted to loop 0 */
    struct engine_loop loop[CREW_LOOPS_MAX];
};

/* ---- clients -------------------------------------------------------------------------------- */

static void
engine_arrived(void *user, struct stream *s, struct ipc_packet *hello)
{
    struct engine_loop *l = user;

    engine_node_take(l->node, s, hello);
}

static void
engine_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct engine *e = user;

    assert(loop < e->cfg.loops);
    if (loop == 0)
        engine_node_take(e->loop[0].node, s, hello);
    else
        ipc_hand_over(e->loop[loop].loop, s, hello, engine_arrived, &e->loop[loop]);
}

/* ---- a loop --------------------------------------------------------------------------------- */

static void
engine_loop_done(void *user)
{
    ((struct engine_loop *)user)->ended = true;
}

static void
engine_loop_late(struct loop_timer *t)
{
    container_of(t, struct engine_loop, deadline)->stuck = true;
}

static void
engine_loop_stopped(struct loop_work *work)
{
    struct engine_loop *l = container_of(work, struct engine_loop, stop);
    uint32_t ms = l->e->cfg.stop_ms != 0 ? l->e->cfg.stop_ms : ENGINE_STOP_MS;

    loop_timer_start(l->loop, &l->deadline, ms * LOOP_NS_PER_MS);
    engine_node_stop(l->node, engine_loop_done, l);
}

static struct loop *
engine_crew_loop(void *of, unsigned i)
{
    return ((const struct engine *)of)->loop[i].loop;
}

static int
engine_crew_run(void *of, unsigned i)
{
    struct engine_loop *l = &((struct engine *)of)->loop[i];
    int r = 0;

    engine_node_start(l->node);
    while (r >= 0 && !l->ended && !l->stuck)
        r = loop_run(l->loop, -1);
    if (r < 0)
        return r;
    return l->ended ? 0 : -ETIMEDOUT;
}

static void
engine_loop_free(struct engine_loop *l)
{
    if (l->loop == NULL)
        return;
    loop_timer_stop(l->loop, &l->deadline);
    engine_node_free(l->node);
    while (loop_run(l->loop, 0) > 0)
        ; /* descriptors that are being closed */
    loop_free(l->loop);
    l->node = NULL;
    l->loop = NULL;
}

static void
engine_crew_ended(void *of, unsigned i)
{
    engine_loop_free(&((struct engine *)of)->loop[i]);
}

/* Loop 0 is the first that is told. */
static void
engine_crew_stop(void *of, unsigned i)
{
    struct engine *e = of;

    ipc_acceptor_free(e->acceptor); /* nobody is handed over any more */
    e->acceptor = NULL;
    loop_post(e->loop[i].loop, &e->loop[i].stop);
}

static int
engine_loop_new(struct engine *e, unsigned i, struct lunette_error *err)
{
    struct engine_loop *l = &e->loop[i];
    const struct engine_node_config cfg = {.registry = &e->registry,
                                           .ids = e->ids,
                                           .state = e->cfg.state,
                                           .identity = e->cfg.identity,
                                           .index = i,
                                           .loops = e->cfg.loops,
                                           .fixed = e->cfg.fixed,
                                           .pid = e->cfg.pid,
                                           .version = e->cfg.version};
    int r;

    l->e = e;
    l->index = i;
    loop_work_init(&l->stop, engine_loop_stopped);
    loop_timer_init(&l->deadline, engine_loop_late);
    r = loop_new(&e->cfg.loop, &l->loop, err);
    if (r < 0)
        return r;
    l->loop->log = e->cfg.log;
    l->loop->rnic = rdma_verbs;
    if (e->cfg.nallow > 0)
        l->loop->socket_mode = ENGINE_SOCKET_MODE;
    return engine_node_new(l->loop, &cfg, &l->node, err);
}

/* ---- life ----------------------------------------------------------------------------------- */

static void
engine_stopping(struct loop_work *work)
{
    crew_stop(container_of(work, struct engine, stop)->crew);
}

void
engine_stop(struct engine *e)
{
    loop_post(e->loop[0].loop, &e->stop);
}

int
engine_run(struct engine *e, struct lunette_error *err)
{
    return crew_run(e->crew, err);
}

static struct crew *
engine_crew(struct engine *e)
{
    const struct crew_config cfg = {.loops = e->cfg.loops,
                                    .name = "eng",
                                    .log = e->cfg.log,
                                    .loop = engine_crew_loop,
                                    .run = engine_crew_run,
                                    .ended = engine_crew_ended,
                                    .stop = engine_crew_stop,
                                    .ready = e->cfg.ready,
                                    .alive = e->cfg.alive,
                                    .beat_ms = e->cfg.beat_ms,
                                    .user = e->cfg.user,
                                    .of = e};

    return crew_new(&cfg);
}

static int
engine_lock_state(struct engine *e, struct lunette_error *err)
{
    if (e->cfg.state == NULL)
        return 0;
    e->lock = engine_flash_lock(e->cfg.state, err);
    return e->lock < 0 ? e->lock : 0;
}

static int
engine_fill(struct engine *e, const struct engine_config *cfg, struct lunette_error *err)
{
    int r = transport_register_built_in(&e->registry, rdma_usable, err);

    if (r == 0)
        r = transport_load_env(&e->registry, err);
    if (r == 0)
        r = engine_lock_state(e, err);
    if (r < 0)
        return r;
    e->ids = dp_ids_new();
    e->crew = engine_crew(e);
    if (e->ids == NULL || e->crew == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (unsigned i = 0; r == 0 && i < cfg->loops; i++)
        r = engine_loop_new(e, i, err);
    if (r == 0)
        r = ipc_acceptor_new(e->loop[0].loop, cfg->at, cfg->fd, cfg->loops, engine_accepted, e,
                             &e->acceptor, err);
    if (r == 0)
        ipc_acceptor_allow(e->acceptor, cfg->allow, cfg->nallow);
    return r;
}

int
engine_new(const struct engine_config *cfg, struct engine **ret, struct lunette_error *err)
{
    struct engine *e;
    int r;

    if (cfg->loops == 0 || cfg->loops > CREW_LOOPS_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%u loops: 1 to %d are possible",
                            cfg->loops, CREW_LOOPS_MAX);
    e = calloc(1, sizeof(*e));
    if (e == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    e->cfg = *cfg;
    e->cfg.at = NULL;
    e->lock = -1;
    loop_work_init(&e->stop, engine_stopping);
    r = engine_fill(e, cfg, err);
    if (r < 0) {
        engine_free(e);
        return r;
    }
    *ret = e;
    return 0;
}

void
engine_free(struct engine *e)
{
    if (e == NULL)
        return;
    ipc_acceptor_free(e->acceptor);
    if (e->loop[0].loop != NULL && e->lock >= 0)
        loop_close_fd(e->loop[0].loop, e->lock);
    for (unsigned i = 0; i < CREW_LOOPS_MAX; i++)
        engine_loop_free(&e->loop[i]);
    crew_free(e->crew);
    dp_ids_free(e->ids);
    transport_registry_fini(&e->registry);
    free(e);
}
