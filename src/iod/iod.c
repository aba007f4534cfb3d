/* SPDX-License-Identifier: MIT */
/* iod/iod.c - the threads of the data plane process, and who may come to them. */
#include "iod/iod.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "iod/worker.h"
#include "ipc/acceptor.h"
#include "rdma/rdma.h"

struct iod_thread {
    struct iod *d;
    struct worker *w;
    pthread_t thread;
    bool there;
    int result; /* of worker_run */
    struct loop_work beat;
    atomic_bool beating; /* beat is posted, and the loop has not come to it */
};

struct iod {
    struct iod_config cfg;
    struct transport_registry registry;
    struct dp_ids *ids;
    struct ipc_acceptor *acceptor;
    struct loop_work stop; /* posted to loop 0 */
    struct loop_timer pulse;
    uint64_t pulse_ns; /* when all loops were seen alive */
    bool hung;         /* it has been said that one is not */
    struct iod_thread thread[IOD_LOOPS_MAX];
};

static struct loop *
loop0(const struct iod *d)
{
    return d->thread[0].w->loop;
}

static void
iod_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct iod *d = user;

    assert(loop < d->cfg.loops);
    if (loop == 0)
        worker_take(d->thread[0].w, s, hello);
    else
        worker_hand_over(d->thread[loop].w, s, hello);
}

/* On loop 0. */
static void
iod_stopping(struct loop_work *work)
{
    struct iod *d = container_of(work, struct iod, stop);

    loop_timer_stop(loop0(d), &d->pulse); /* a loop that has ended can be asked nothing */
    ipc_acceptor_free(d->acceptor);       /* nobody is handed over any more */
    d->acceptor = NULL;
    for (unsigned i = 0; i < d->cfg.loops; i++) {
        if (i == 0 || d->thread[i].there)
            worker_stop(d->thread[i].w);
    }
}

void
iod_stop(struct iod *d)
{
    loop_post(loop0(d), &d->stop);
}

/* ---- is everybody alive? -------------------------------------------------------------------- */

static void
iod_on_beat(struct loop_work *work)
{
    atomic_store(&container_of(work, struct iod_thread, beat)->beating, false);
}

/* The first loop that has not come to its beat; 0: all have. */
static unsigned
iod_silent_loop(struct iod *d)
{
    unsigned i = 1;

    while (i < d->cfg.loops && !atomic_load(&d->thread[i].beating))
        i++;
    return i < d->cfg.loops ? i : 0;
}

static void
iod_on_pulse(struct loop_timer *t)
{
    struct iod *d = container_of(t, struct iod, pulse);
    unsigned silent = iod_silent_loop(d);

    loop_timer_start(loop0(d), t, d->cfg.beat_ms * LOOP_NS_PER_MS);
    if (silent > 0) {
        if (!d->hung)
            log_line(d->cfg.log, LOG_LEVEL_ERROR, "loop %u has made no turn for %llu ms", silent,
                     (unsigned long long)((loop0(d)->now_ns - d->pulse_ns) / LOOP_NS_PER_MS));
        d->hung = true;
        return;
    }
    d->hung = false;
    d->pulse_ns = loop0(d)->now_ns;
    d->cfg.alive(d->cfg.user);
    for (unsigned i = 1; i < d->cfg.loops; i++) {
        if (!d->thread[i].there)
            continue;
        atomic_store(&d->thread[i].beating, true);
        loop_post(d->thread[i].w->loop, &d->thread[i].beat);
    }
}

static void
iod_start_pulse(struct iod *d)
{
    d->pulse_ns = loop0(d)->now_ns;
    if (d->cfg.beat_ms > 0 && d->cfg.alive != NULL)
        loop_timer_start(loop0(d), &d->pulse, d->cfg.beat_ms * LOOP_NS_PER_MS);
}

/* ---- threads -------------------------------------------------------------------------------- */

/* A loop that fails takes the process along: sessions that nobody serves must not stay up. */
static void
iod_failed(const struct iod_thread *t)
{
    log_line(t->d->cfg.log, LOG_LEVEL_ERROR, "loop %u has failed: %s", t->w->index,
             errno_text(-t->result));
    abort();
}

static void *
iod_thread_main(void *arg)
{
    struct iod_thread *t = arg;

    t->result = worker_run(t->w);
    if (t->result < 0 && t->result != -ETIMEDOUT)
        iod_failed(t);
    if (t->result == 0) {
        worker_free(t->w); /* a loop belongs to its thread */
        t->w = NULL;
    }
    return NULL;
}

/* Signals are the first thread's. */
static int
iod_start_threads(struct iod *d, struct lunette_error *err)
{
    sigset_t all, before;
    int r = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; r == 0 && i < d->cfg.loops; i++) {
        char name[16];

        r = pthread_create(&d->thread[i].thread, NULL, iod_thread_main, &d->thread[i]);
        if (r != 0)
            break;
        d->thread[i].there = true;
        (void)snprintf(name, sizeof(name), "iod-loop-%u", i);
        (void)pthread_setname_np(d->thread[i].thread, name);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0 ? 0
                  : lunette_fail(err, -r, LUNETTE_DOM_OS, (uint32_t)r,
                                 "cannot start a thread for each of %u loops: %s", d->cfg.loops,
                                 errno_text(r));
}

int
iod_run(struct iod *d, struct lunette_error *err)
{
    int r = iod_start_threads(d, err);
    bool late;

    if (r < 0)
        iod_stopping(&d->stop);
    else if (d->cfg.ready != NULL)
        d->cfg.ready(d->cfg.user);
    if (r == 0)
        iod_start_pulse(d);
    d->thread[0].result = worker_run(d->thread[0].w);
    if (d->thread[0].result < 0 && d->thread[0].result != -ETIMEDOUT)
        iod_failed(&d->thread[0]);
    late = d->thread[0].result < 0;
    for (unsigned i = 1; i < d->cfg.loops; i++) {
        if (!d->thread[i].there)
            continue;
        (void)pthread_join(d->thread[i].thread, NULL); /* each has a deadline of its own */
        d->thread[i].there = false;
        late = late || d->thread[i].result < 0;
    }
    if (r == 0 && late)
        r = lunette_fail(err, -ETIMEDOUT, LUNETTE_DOM_OS, ETIMEDOUT,
                         "not all sessions have ended in time");
    return r;
}

/* ---- life ----------------------------------------------------------------------------------- */

static int
iod_fill(struct iod *d, const struct iod_config *cfg, struct lunette_error *err)
{
    int r = transport_register_built_in(&d->registry, rdma_usable, err);

    if (r == 0)
        r = transport_load_env(&d->registry, err);
    if (r < 0)
        return r;
    d->ids = dp_ids_new();
    if (d->ids == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (unsigned i = 0; r == 0 && i < cfg->loops; i++) {
        d->thread[i].d = d;
        loop_work_init(&d->thread[i].beat, iod_on_beat);
        r = worker_new(cfg, i, &d->registry, d->ids, &d->thread[i].w, err);
    }
    if (r < 0)
        return r;
    return ipc_acceptor_new(loop0(d), cfg->at, cfg->fd, cfg->loops, iod_accepted, d, &d->acceptor,
                            err);
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
    loop_timer_init(&d->pulse, iod_on_pulse);
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
        worker_free(d->thread[i].w);
    dp_ids_free(d->ids);
    transport_registry_fini(&d->registry);
    free(d);
}
