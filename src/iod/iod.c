/* SPDX-License-Identifier: MIT */
/* iod/iod.c - the threads of the data plane process, and who may come to them. */
#include "iod/iod.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "iod/worker.h"
#include "ipc/acceptor.h"
#include "loop/crew.h"
#include "offload/offload.h"
#include "rdma/rdma.h"

struct iod {
    struct iod_config cfg;
    struct transport_registry registry;
    struct dp_ids *ids;
    struct ipc_acceptor *acceptor;
    struct loop_work stop; /* posted to loop 0 */
    struct crew *crew;
    struct worker *worker[IOD_LOOPS_MAX];
};

static void
iod_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct iod *d = user;

    assert(loop < d->cfg.loops);
    if (loop == 0)
        worker_take(d->worker[0], s, hello);
    else
        worker_hand_over(d->worker[loop], s, hello);
}

/* On loop 0. */
static void
iod_stopping(struct loop_work *work)
{
    crew_stop(container_of(work, struct iod, stop)->crew);
}

void
iod_stop(struct iod *d)
{
    loop_post(d->worker[0]->loop, &d->stop);
}

/* ---- threads -------------------------------------------------------------------------------- */

static struct loop *
iod_loop(void *of, unsigned i)
{
    return ((const struct iod *)of)->worker[i]->loop;
}

static int
iod_run_loop(void *of, unsigned i)
{
    return worker_run(((const struct iod *)of)->worker[i]);
}

static void
iod_loop_ended(void *of, unsigned i)
{
    struct iod *d = of;

    worker_free(d->worker[i]);
    d->worker[i] = NULL;
}

/* Loop 0 is the first that is told. */
static void
iod_stop_loop(void *of, unsigned i)
{
    struct iod *d = of;

    ipc_acceptor_free(d->acceptor); /* nobody is handed over any more */
    d->acceptor = NULL;
    worker_stop(d->worker[i]);
}

int
iod_run(struct iod *d, struct lunette_error *err)
{
    return crew_run(d->crew, err);
}

/* ---- life ----------------------------------------------------------------------------------- */

static struct crew *
iod_crew(struct iod *d)
{
    const struct crew_config cfg = {.loops = d->cfg.loops,
                                    .name = "iod",
                                    .log = d->cfg.log,
                                    .loop = iod_loop,
                                    .run = iod_run_loop,
                                    .ended = iod_loop_ended,
                                    .stop = iod_stop_loop,
                                    .ready = d->cfg.ready,
                                    .alive = d->cfg.alive,
                                    .beat_ms = d->cfg.beat_ms,
                                    .user = d->cfg.user,
                                    .of = d};

    return crew_new(&cfg);
}

static int
iod_fill(struct iod *d, const struct iod_config *cfg, struct lunette_error *err)
{
    struct iscsi_transport session = offload_session_transport;
    int r = transport_register_built_in(&d->registry, rdma_usable, err);

    session.usable = loop_shm_usable;
    if (r == 0)
        r = transport_register(&d->registry, &session, err);
    if (r == 0)
        r = transport_load_env(&d->registry, err);
    if (r < 0)
        return r;
    d->ids = dp_ids_new();
    d->crew = iod_crew(d);
    if (d->ids == NULL || d->crew == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (unsigned i = 0; r == 0 && i < cfg->loops; i++)
        r = worker_new(cfg, i, &d->registry, d->ids, &d->worker[i], err);
    if (r < 0)
        return r;
    return ipc_acceptor_new(d->worker[0]->loop, cfg->at, cfg->fd, cfg->loops, iod_accepted, d,
                            &d->acceptor, err);
}

int
iod_new(const struct iod_config *cfg, struct iod **ret, struct lunette_error *err)
{
    struct iod *d;
    int r;

    if (cfg->loops == 0 || cfg->loops > IOD_LOOPS_MAX)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%u loops: 1 to %d are possible",
                            cfg->loops, IOD_LOOPS_MAX);
    d = calloc(1, sizeof(*d));
    if (d == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    d->cfg = *cfg;
    d->cfg.at = NULL;
    loop_work_init(&d->stop, iod_stopping);
    r = iod_fill(d, cfg, err);
    if (r < 0) {
        iod_free(d);
        return r;
    }
    *ret = d;
    return 0;
}

void
iod_free(struct iod *d)
{
    if (d == NULL)
        return;
    ipc_acceptor_free(d->acceptor);
    for (unsigned i = 0; i < IOD_LOOPS_MAX; i++)
        worker_free(d->worker[i]);
    crew_free(d->crew);
    dp_ids_free(d->ids);
    transport_registry_fini(&d->registry);
    free(d);
}
