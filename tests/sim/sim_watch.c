/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_watch.c - loop_watch in the simulator, and the descriptors that it takes. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "tests/sim/sim_priv.h"
#include "tests/support/steady_alloc.h"

#define BELL_FD 2000000000 /* the first: far from those of streams and of the process */

/* Rings that come later. */
struct ring {
    struct sim_event event;
    struct list node;
    struct sim_bell *bell;
};

struct sim_bell {
    struct list node;
    struct sim *sim;
    struct list later; /* struct ring */
    uint64_t count;
    int fd;
    unsigned watched;
};

struct loop_watch {
    struct list node;
    struct sim_bell *bell;
    void (*readable)(void *user);
    void *user;
    uint64_t turn; /* the loop's turn in which it was called last, or in which it was made */
};

static struct sim_bell *
bell_of(struct sim *sim, int fd)
{
    LIST_FOREACH (n, &sim->bells) {
        struct sim_bell *b = container_of(n, struct sim_bell, node);

        if (b->fd == fd)
            return b;
    }
    return NULL;
}

int
sim_bell(struct sim *sim)
{
    struct sim_bell *b = steady_calloc(1, sizeof(*b));

    b->sim = sim;
    b->fd = BELL_FD + sim->next_bell++;
    list_init(&b->later);
    list_push_back(&sim->bells, &b->node);
    return b->fd;
}

void
sim_bell_free(struct sim *sim, int fd)
{
    struct sim_bell *b = bell_of(sim, fd);
    struct list *n;

    assert(b != NULL && b->watched == 0);
    while ((n = list_pop_front(&b->later)) != NULL) {
        struct ring *r = container_of(n, struct ring, node);

        sim_event_del(sim, &r->event);
        steady_free(r);
    }
    list_del(&b->node);
    steady_free(b);
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
        return -EBADF;
    LIST_FOREACH (n, &l->watches) {
        if (container_of(n, struct loop_watch, node)->bell == b)
            return -EEXIST;
    }
    w = steady_calloc(1, sizeof(*w));
    w->bell = b;
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
    assert(w->bell->watched > 0);
    w->bell->watched--;
    list_del(&w->node);
    steady_free(w);
}

bool
sim_watches_ready(const struct sim_loop *l)
{
    LIST_FOREACH (n, &l->watches) {
        if (container_of(n, struct loop_watch, node)->bell->count > 0)
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

        if (w->turn != l->pub.stats.turns && w->bell->count > 0)
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
        sim_note(l->sim, NOTE_WATCH, l->id, (uint64_t)w->bell->fd);
        w->readable(w->user);
    }
}

void
sim_watch_free(struct sim *sim)
{
    while (!list_empty(&sim->bells))
        sim_bell_free(sim, container_of(sim->bells.next, struct sim_bell, node)->fd);
}
