/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_watch.c - loop_watch in the simulator, and the descriptors that it takes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/sim_priv.h"
#include "tests/support/steady_alloc.h"

/* Rings that come later. */
struct ring {
    struct sim_event event;
    struct list node;
    struct sim_bell *bell;
};

struct sim_bell {
    struct sim *sim;
    struct list later;      /* struct ring */
    struct sim_event awake; /* those who wait are woken then */
    uint64_t count, awake_ns;
    unsigned fds, watched;
};

struct loop_watch {
    struct list node;
    struct sim_bell *bell; /* NULL: the process was killed */
    int fd;
    void (*readable)(void *user);
    void *user;
    uint64_t turn; /* the loop's turn in which it was called last, or in which it was made */
};

static void
bell_opened(void *of)
{
    ((struct sim_bell *)of)->fds++;
}

static void
bell_closed(void *of)
{
    struct sim_bell *b = of;
    struct list *n;

    if (--b->fds > 0)
        return;
    assert(b->watched == 0);
    while ((n = list_pop_front(&b->later)) != NULL) {
        struct ring *r = container_of(n, struct ring, node);

        sim_event_del(b->sim, &r->event);
        steady_free(r);
    }
    sim_event_del(b->sim, &b->awake);
    steady_free(b);
}

static const struct sim_fd_ops bell_fd_ops = {.opened = bell_opened, .closed = bell_closed};

static struct sim_bell *
bell_of(struct sim *sim, int fd)
{
    struct sim_fd *f = sim_fd_find(sim, fd);

    return f != NULL && f->ops == &bell_fd_ops ? f->of : NULL;
}

bool
sim_is_bell(struct sim *sim, int fd)
{
    return bell_of(sim, fd) != NULL;
}

/* The time has come to look who waits. */
static void
awake_due(struct sim_event *e)
{
    (void)e;
}

int
sim_bell_of(struct sim *sim, struct sim_process *owner)
{
    struct sim_bell *b = steady_calloc(1, sizeof(*b));

    b->sim = sim;
    b->awake.fn = awake_due;
    list_init(&b->later);
    return sim_fd_new(sim, &bell_fd_ops, b, owner);
}

int
sim_bell(struct sim *sim)
{
    return sim_bell_of(sim, NULL);
}

void
sim_bell_free(struct sim *sim, int fd)
{
    assert(bell_of(sim, fd) != NULL);
    sim_fd_close(sim, fd);
}

void
sim_bell_wake(struct sim *sim, int fd, uint64_t late_ns)
{
    struct sim_bell *b = bell_of(sim, fd);

    assert(b != NULL);
    if (b->count++ > 0)
        return;
    b->awake_ns = sim->now_ns + late_ns;
    if (late_ns > 0)
        sim_event_at(sim, &b->awake, b->awake_ns);
}

static bool
bell_is_awake(const struct sim_bell *b)
{
    return b != NULL && b->count > 0 && b->sim->now_ns >= b->awake_ns;
}

static void
ring_due(struct sim_event *e)
{
    struct ring *r = container_of(e, struct ring, event);

    r->bell->count++;
    list_del(&r->node);
    steady_free(r);
}

void
sim_bell_ring(struct sim *sim, int fd, uint64_t delay_ns)
{
    struct sim_bell *b = bell_of(sim, fd);
    struct ring *r;

    assert(b != NULL);
    if (delay_ns == 0) {
        b->count++;
        return;
    }
    r = steady_calloc(1, sizeof(*r));
    r->event.fn = ring_due;
    r->bell = b;
    list_push_back(&b->later, &r->node);
    sim_event_at(sim, &r->event, sim->now_ns + delay_ns);
}

uint64_t
sim_bell_read(struct sim *sim, int fd)
{
    struct sim_bell *b = bell_of(sim, fd);
    uint64_t count;

    assert(b != NULL);
    count = b->count;
    b->count = 0;
    return count;
}

int
sim_watch(struct loop *pub, int fd, void (*readable)(void *user), void *user,
          struct loop_watch **ret)
{
    struct sim_loop *l = sim_loop_of(pub);
    struct sim_bell *b = bell_of(l->sim, fd);
    struct loop_watch *w;

    assert(readable != NULL);
    if (b == NULL)
        return sim_fd_find(l->sim, fd) == NULL ? -EBADF : -EPERM;
    LIST_FOREACH (n, &l->watches) {
        if (container_of(n, struct loop_watch, node)->fd == fd)
            return -EEXIST;
    }
    w = steady_calloc(1, sizeof(*w));
    w->bell = b;
    w->fd = fd;
    w->readable = readable;
    w->user = user;
    w->turn = pub->stats.turns;
    b->watched++;
    list_push_back(&l->watches, &w->node);
    *ret = w;
    return 0;
}

void
sim_unwatch(struct loop *pub, struct loop_watch *w)
{
    (void)pub;
    if (w->bell != NULL) {
        assert(w->bell->watched > 0);
        w->bell->watched--;
    }
    list_del(&w->node);
    steady_free(w);
}

bool
sim_watches_ready(const struct sim_loop *l)
{
    LIST_FOREACH (n, &l->watches) {
        if (bell_is_awake(container_of(n, struct loop_watch, node)->bell))
            return true;
    }
    return false;
}

/* The next one to call in this turn, or NULL.  It is looked for anew after each callback, which may
 * have ended any watch. */
static struct loop_watch *
watch_due(struct sim_loop *l)
{
    LIST_FOREACH (n, &l->watches) {
        struct loop_watch *w = container_of(n, struct loop_watch, node);

        if (w->turn != l->pub.stats.turns && bell_is_awake(w->bell))
            return w;
    }
    return NULL;
}

void
sim_dispatch_watches(struct sim_loop *l)
{
    struct loop_watch *w;

    while ((w = watch_due(l)) != NULL) {
        w->turn = l->pub.stats.turns;
        l->callbacks++;
        sim_note(l->sim, NOTE_WATCH, l->id, (uint64_t)w->fd);
        w->readable(w->user);
    }
}

void
sim_watches_cut_off(struct sim_loop *l)
{
    LIST_FOREACH (n, &l->watches) {
        struct loop_watch *w = container_of(n, struct loop_watch, node);

        w->bell->watched--;
        w->bell = NULL;
    }
}

void
sim_watches_drop(struct sim_loop *l)
{
    struct list *n;

    while ((n = list_pop_front(&l->watches)) != NULL)
        steady_free(container_of(n, struct loop_watch, node));
}

/* Those that are left: bells that the test has not freed. */
void
sim_watch_free(struct sim *sim)
{
    while (!list_empty(&sim->fds)) {
        struct sim_fd *f = container_of(sim->fds.next, struct sim_fd, node);

        assert(f->owner == NULL && f->ops == &bell_fd_ops);
        sim_fd_close(sim, f->number);
    }
}
