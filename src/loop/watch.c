/* SPDX-License-Identifier: MIT */
/* loop/watch.c - descriptors that are no streams, watched by level (loop_watch).
 *
 * The poller reports a watch once, and looks at its descriptor again when its callback has run, so
 * that what the callback has left is told in the next turn and what it has taken is not.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "loop/real.h"

struct loop_watch {
    struct pollee poll;
    struct real_loop *loop;
    struct list node;  /* real_loop.watches */
    struct list ready; /* real_loop.watches_ready, watches_now or watches_dead */
    void (*readable)(void *user);
    void *user;
};

static void
watch_ready(struct pollee *e, uint32_t events)
{
    struct loop_watch *w = container_of(e, struct loop_watch, poll);

    (void)events;
    if (list_empty(&w->ready))
        list_push_back(&w->loop->watches_ready, &w->ready);
}

/* A file is always ready: epoll refuses it, and io_uring would report it for ever. */
static int
may_watch(struct real_loop *l, int fd)
{
    struct stat st;

    l->pub.stats.syscalls++;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))
        return -EPERM;
    LIST_FOREACH (n, &l->watches) {
        if (container_of(n, struct loop_watch, node)->poll.fd == fd)
            return -EEXIST;
    }
    return 0;
}

int
real_watch(struct loop *pub, int fd, void (*readable)(void *user), void *user,
           struct loop_watch **ret)
{
    struct real_loop *l = real_loop(pub);
    struct loop_watch *w;
    int r = may_watch(l, fd);

    assert(readable != NULL);
    if (r < 0)
        return r;
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -ENOMEM;
    w->poll = (struct pollee){.fd = fd, .level = true, .ready = watch_ready};
    w->loop = l;
    w->readable = readable;
    w->user = user;
    list_init(&w->ready);
    r = l->poller->ops->add(l->poller, &w->poll);
    if (r < 0) {
        free(w);
        return r;
    }
    list_push_back(&l->watches, &w->node);
    real_changed(l);
    *ret = w;
    return 0;
}

void
real_unwatch(struct loop *pub, struct loop_watch *w)
{
    struct real_loop *l = real_loop(pub);

    assert(w->loop == l && !w->poll.gone);
    list_del(&w->node);
    list_del(&w->ready);
    l->poller->ops->del(l->poller, &w->poll);
    list_push_back(&l->watches_dead, &w->ready);
    if (!l->running)
        real_reap_watches(l, false);
}

void
real_dispatch_watches(struct real_loop *l)
{
    struct list *n;

    list_splice(&l->watches_now, &l->watches_ready);
    while ((n = list_pop_front(&l->watches_now)) != NULL) {
        struct loop_watch *w = container_of(n, struct loop_watch, ready);

        l->callbacks++;
        w->readable(w->user);
        if (w->poll.gone)
            continue;
        /* Where the poller has no room to look again, the owner does, in the next turn. */
        if (l->poller->ops->again(l->poller, &w->poll) < 0)
            watch_ready(&w->poll, 0);
    }
}

void
real_reap_watches(struct real_loop *l, bool all)
{
    LIST_FOREACH_SAFE (n, &l->watches_dead) {
        struct loop_watch *w = container_of(n, struct loop_watch, ready);

        if (w->poll.armed && !all)
            continue;
        list_del(n);
        free(w);
    }
}
