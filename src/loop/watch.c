/* SPDX-License-Identifier: MIT */
/* loop/watch.c - descriptors that are no streams, watched by level (loop_watch).
 *
 * The poller reports a watch once, and looks at its descriptor again when its callback has run, so
 * that what the callback has left is told in the next turn and what it has taken is not.  The
 * callback is made by deferred work: a turn without watches pays nothing for them.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "loop/real.h"

struct loop_watch {
    struct pollee poll;
    struct real_loop *loop;
    struct list node; /* real_loop.watches, then real_loop.watches_over */
    struct loop_work work;
    void (*readable)(void *user);
    void *user;
    bool calling; /* readable runs: whoever has called it frees the watch if it ends meanwhile */
};

static void
watch_ready(struct pollee *e, uint32_t events)
{
    struct loop_watch *w = container_of(e, struct loop_watch, poll);

    (void)events;
    loop_defer(&w->loop->pub, &w->work);
}

/* Frees a watch that has ended, as soon as the kernel does not know it any more. */
static void
retire(struct loop_watch *w)
{
    if (w->poll.armed)
        list_push_back(&w->loop->watches_over, &w->node);
    else
        free(w);
}

static void
retire_others(struct real_loop *l)
{
    LIST_FOREACH_SAFE (n, &l->watches_over) {
        struct loop_watch *w = container_of(n, struct loop_watch, node);

        if (w->poll.armed)
            continue;
        list_del(n);
        free(w);
    }
}

static void
watch_work(struct loop_work *work)
{
    struct loop_watch *w = container_of(work, struct loop_watch, work);
    struct poller *p = w->loop->poller;

    w->calling = true;
    w->readable(w->user);
    w->calling = false;
    if (w->poll.gone)
        retire(w);
    else if (p->ops->again(p, &w->poll) < 0)
        loop_defer(&w->loop->pub, &w->work); /* there is no room: the owner looks again */
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
    retire_others(l);
    w = calloc(1, sizeof(*w));
    if (w == NULL)
        return -ENOMEM;
    w->poll = (struct pollee){.fd = fd, .level = true, .ready = watch_ready};
    w->loop = l;
    w->readable = readable;
    w->user = user;
    loop_work_init(&w->work, watch_work);
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
    loop_defer_cancel(&w->work);
    l->poller->ops->del(l->poller, &w->poll);
    if (!w->calling)
        retire(w);
}

void
real_drop_watches(struct real_loop *l)
{
    struct list *n;

    while ((n = list_pop_front(&l->watches_over)) != NULL)
        free(container_of(n, struct loop_watch, node));
}
