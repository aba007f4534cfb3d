/* SPDX-License-Identifier: MIT */
/* loop/crew.c - threads with a loop each, and whether they are alive. */
#include "loop/crew.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

struct crew_member {
    struct crew *c;
    unsigned index;
    pthread_t thread;
    bool there;
    int result; /* of run */
    struct loop_work beat;
    atomic_bool beating; /* beat is posted, and the loop has not come to it */
};

struct crew {
    struct crew_config cfg;
    struct loop_timer pulse;
    uint64_t pulse_ns; /* when all loops were seen alive */
    bool hung;         /* it has been said that one is not */
    struct crew_member member[CREW_LOOPS_MAX];
};

static struct loop *
crew_loop(const struct crew *c, unsigned i)
{
    return c->cfg.loop(c->cfg.of, i);
}

/* ---- is everybody alive? -------------------------------------------------------------------- */

static void
crew_on_beat(struct loop_work *work)
{
    atomic_store(&container_of(work, struct crew_member, beat)->beating, false);
}

/* The first loop that has not come to its beat; 0: all have. */
static unsigned
crew_silent(struct crew *c)
{
    unsigned i = 1;

    while (i < c->cfg.loops && !atomic_load(&c->member[i].beating))
        i++;
    return i < c->cfg.loops ? i : 0;
}

static void
crew_on_pulse(struct loop_timer *t)
{
    struct crew *c = container_of(t, struct crew, pulse);
    struct loop *loop0 = crew_loop(c, 0);
    unsigned silent = crew_silent(c);

    loop_timer_start(loop0, t, c->cfg.beat_ms * LOOP_NS_PER_MS);
    if (silent > 0) {
        if (!c->hung)
            log_line(c->cfg.log, LOG_LEVEL_ERROR, "loop %u has made no turn for %llu ms", silent,
                     (unsigned long long)((loop0->now_ns - c->pulse_ns) / LOOP_NS_PER_MS));
        c->hung = true;
        return;
    }
    c->hung = false;
    c->pulse_ns = loop0->now_ns;
    c->cfg.alive(c->cfg.user);
    for (unsigned i = 1; i < c->cfg.loops; i++) {
        if (!c->member[i].there)
            continue;
        atomic_store(&c->member[i].beating, true);
        loop_post(crew_loop(c, i), &c->member[i].beat);
    }
}

static void
crew_start_pulse(struct crew *c)
{
    c->pulse_ns = crew_loop(c, 0)->now_ns;
    if (c->cfg.beat_ms > 0 && c->cfg.alive != NULL)
        loop_timer_start(crew_loop(c, 0), &c->pulse, c->cfg.beat_ms * LOOP_NS_PER_MS);
}

/* ---- threads -------------------------------------------------------------------------------- */

/* A loop that fails takes the process along: sessions that nobody serves must not stay up. */
static void
crew_failed(const struct crew_member *m)
{
    log_line(m->c->cfg.log, LOG_LEVEL_ERROR, "loop %u has failed: %s", m->index,
             errno_text(-m->result));
    abort();
}

static void *
crew_main(void *arg)
{
    struct crew_member *m = arg;

    m->result = m->c->cfg.run(m->c->cfg.of, m->index);
    if (m->result < 0 && m->result != -ETIMEDOUT)
        crew_failed(m);
    if (m->result == 0)
        m->c->cfg.ended(m->c->cfg.of, m->index);
    return NULL;
}

/* Signals are the first thread's. */
static int
crew_start_threads(struct crew *c, struct lunette_error *err)
{
    sigset_t all, before;
    int r = 0;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    for (unsigned i = 1; r == 0 && i < c->cfg.loops; i++) {
        char name[16];

        r = pthread_create(&c->member[i].thread, NULL, crew_main, &c->member[i]);
        if (r != 0)
            break;
        c->member[i].there = true;
        (void)snprintf(name, sizeof(name), "%s-loop-%u", c->cfg.name, i);
        (void)pthread_setname_np(c->member[i].thread, name);
    }
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    return r == 0 ? 0
                  : lunette_fail(err, -r, LUNETTE_DOM_OS, (uint32_t)r,
                                 "cannot start a thread for each of %u loops: %s", c->cfg.loops,
                                 errno_text(r));
}

int
crew_run(struct crew *c, struct lunette_error *err)
{
    struct crew_member *first = &c->member[0];
    int r = crew_start_threads(c, err);
    bool late;

    if (r < 0)
        crew_stop(c);
    else if (c->cfg.ready != NULL)
        c->cfg.ready(c->cfg.user);
    if (r == 0)
        crew_start_pulse(c);
    first->result = c->cfg.run(c->cfg.of, 0);
    if (first->result < 0 && first->result != -ETIMEDOUT)
        crew_failed(first);
    late = first->result < 0;
    for (unsigned i = 1; i < c->cfg.loops; i++) {
        if (!c->member[i].there)
            continue;
        (void)pthread_join(c->member[i].thread, NULL); /* each has a deadline of its own */
        c->member[i].there = false;
        late = late || c->member[i].result < 0;
    }
    if (r == 0 && late)
        r = lunette_fail(err, -ETIMEDOUT, LUNETTE_DOM_OS, ETIMEDOUT,
                         "not all sessions have ended in time");
    return r;
}

void
crew_stop(struct crew *c)
{
    loop_timer_stop(crew_loop(c, 0), &c->pulse); /* a loop that has ended can be asked nothing */
    for (unsigned i = 0; i < c->cfg.loops; i++) {
        if (i == 0 || c->member[i].there)
            c->cfg.stop(c->cfg.of, i);
    }
}

struct crew *
crew_new(const struct crew_config *cfg)
{
    struct crew *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return NULL;
    assert(cfg->loops > 0 && cfg->loops <= CREW_LOOPS_MAX);
    c->cfg = *cfg;
    loop_timer_init(&c->pulse, crew_on_pulse);
    for (unsigned i = 0; i < cfg->loops; i++) {
        c->member[i].c = c;
        c->member[i].index = i;
        loop_work_init(&c->member[i].beat, crew_on_beat);
    }
    return c;
}

void
crew_free(struct crew *c)
{
    free(c);
}
