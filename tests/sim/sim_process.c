/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_process.c - the processes of a world, their descriptors, and their end. */
#include <assert.h>
#include <errno.h>
#include <unistd.h>

#include "tests/sim/sim_net.h"
#include "tests/support/steady_alloc.h"

#define FIRST_PID  1000
#define REAPING_NS (50 * LOOP_NS_PER_MS)
#define LAST_MAX   4 /* times that something of it still writes, at most */

/* Descriptors. */

int
sim_fd_new(struct sim *sim, const struct sim_fd_ops *ops, void *of, struct sim_process *owner)
{
    struct sim_fd *f = steady_calloc(1, sizeof(*f));

    f->ops = ops;
    f->of = of;
    f->number = sim->next_fd++;
    list_push_back(&sim->fds, &f->node);
    sim_fd_give(f, owner);
    ops->opened(of);
    return f->number;
}

struct sim_fd *
sim_fd_find(struct sim *sim, int fd)
{
    LIST_FOREACH (n, &sim->fds) {
        struct sim_fd *f = container_of(n, struct sim_fd, node);

        if (f->number == fd)
            return f;
    }
    return NULL;
}

unsigned
sim_fds(struct sim *sim)
{
    unsigned count = 0;

    LIST_FOREACH (n, &sim->fds)
        count++;
    return count;
}

bool
sim_fd_room(const struct sim_process *p)
{
    return p->fds_max == 0 || p->fds < p->fds_max;
}

void
sim_fd_give(struct sim_fd *f, struct sim_process *owner)
{
    if (f->owner != NULL)
        f->owner->fds--;
    f->owner = owner;
    if (owner != NULL)
        owner->fds++;
}

void
sim_fd_close(struct sim *sim, int fd)
{
    struct sim_fd *f = sim_fd_find(sim, fd);

    assert(f != NULL); /* closed twice, or never open */
    sim_fd_give(f, NULL);
    list_del(&f->node);
    f->ops->closed(f->of);
    steady_free(f);
}

void
sim_close_fd(struct sim *sim, int fd)
{
    sim_fd_close(sim, fd);
}

void
sim_process_close_fd(struct sim_process *p, int fd)
{
    const struct sim_fd *f = sim_fd_find(p->sim, fd);

    if (p->killed)
        return;
    assert(f != NULL && f->owner == p);
    sim_fd_close(p->sim, fd);
}

/* Processes. */

static struct sim_process *
process_of(struct loop *l)
{
    return container_of(l, struct sim_loop, pub)->process;
}

static void
reaping_due(struct sim_event *e)
{
    struct sim_process *p = container_of(e, struct sim_process, reaping);

    sim_shm_last(p);
    sim_event_del(p->sim, &p->dying);
    p->reaped = true;
    sim_note(p->sim, NOTE_REAPED, (uint64_t)p->pid, 0);
    sim_shm_reaped(p);
}

static void
dying_due(struct sim_event *e)
{
    struct sim_process *p = container_of(e, struct sim_process, dying);

    sim_shm_last(p);
    sim_event_at(p->sim, e, p->sim->now_ns + 1 + sim_below(p->sim, p->sim->reap_max_ns / LAST_MAX));
}

struct sim_process *
sim_process_new(struct sim *sim)
{
    struct sim_process *p = steady_calloc(1, sizeof(*p));

    p->sim = sim;
    p->uid = geteuid();
    p->pid = (pid_t)(FIRST_PID + sim->nprocesses++);
    p->reaping.fn = reaping_due;
    p->dying.fn = dying_due;
    list_init(&p->maps);
    list_init(&p->watches);
    list_push_back(&sim->processes, &p->node);
    return p;
}

void
sim_process_kill(struct loop *l)
{
    struct sim_process *p = process_of(l);
    struct sim *sim = p->sim;

    assert(!p->killed);
    LIST_FOREACH (n, &sim->loops) {
        struct sim_loop *of = container_of(n, struct sim_loop, node);

        assert(of->process != p || !of->running);
        if (of->process == p)
            sim_watches_cut_off(of);
    }
    p->killed = true;
    sim_note(sim, NOTE_KILLED, (uint64_t)p->pid, 0);
    sim_shm_cut_off(p);
    sim_net_cut_off(sim, p);
    LIST_FOREACH_SAFE (n, &sim->fds) {
        struct sim_fd *f = container_of(n, struct sim_fd, node);

        if (f->owner == p)
            sim_fd_close(sim, f->number);
    }
    sim_event_at(sim, &p->reaping, sim->now_ns + 1 + sim_below(sim, sim->reap_max_ns));
    if (p->last != NULL)
        sim_event_at(sim, &p->dying, sim->now_ns + sim_below(sim, sim->reap_max_ns / LAST_MAX + 1));
}

bool
sim_process_killed(struct loop *l)
{
    return process_of(l)->killed;
}

bool
sim_process_reaped(struct loop *l)
{
    return process_of(l)->reaped;
}

void
sim_set_reaping(struct sim *sim, uint64_t max_ns)
{
    sim->reap_max_ns = max_ns > 0 ? max_ns : REAPING_NS;
}

void
sim_process_set_dying(struct loop *l, sim_dying_fn *fn, void *user)
{
    process_of(l)->last = fn;
    process_of(l)->last_user = user;
}

void
sim_process_set_uid(struct loop *l, uid_t uid)
{
    process_of(l)->uid = uid;
}

void
sim_process_set_fds(struct loop *l, unsigned most)
{
    process_of(l)->fds_max = most;
}

unsigned
sim_process_fds(struct loop *l)
{
    return process_of(l)->fds;
}

void
sim_processes_free(struct sim *sim)
{
    struct list *n;

    while ((n = list_pop_front(&sim->processes)) != NULL) {
        struct sim_process *p = container_of(n, struct sim_process, node);

        assert(list_empty(&p->watches) && p->fds == 0); /* nothing was forgotten */
        sim_event_del(sim, &p->reaping);
        sim_event_del(sim, &p->dying);
        steady_free(p);
    }
}
