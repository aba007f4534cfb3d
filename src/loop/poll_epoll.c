/* SPDX-License-Identifier: MIT */
/* loop/poll_epoll.c - readiness by epoll, edge-triggered but for those who ask for level. */
#include "loop/poll.h"

#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#define EVENTS_MAX 256 /* events taken from the kernel in one call */

struct poller_epoll {
    struct poller pub;
    int fd;
    bool no_pwait2; /* not in Linux < 5.11, or filtered: sleeps are then in milliseconds */
    struct epoll_event events[EVENTS_MAX];
};

static struct poller_epoll *
epoll_of(struct poller *p)
{
    return container_of(p, struct poller_epoll, pub);
}

static void
epoll_free(struct poller *p)
{
    struct poller_epoll *e = epoll_of(p);

    (void)close(e->fd);
    free(e);
}

static int
epoll_fd(struct poller *p)
{
    return epoll_of(p)->fd;
}

static int
epoll_add(struct poller *p, struct pollee *e)
{
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = e};

    assert(e->fd >= 0 && e->ready != NULL && !e->gone);
    if (e->level)
        ev.events = EPOLLIN | EPOLLRDHUP;
    p->stats->syscalls++;
    return epoll_ctl(epoll_of(p)->fd, EPOLL_CTL_ADD, e->fd, &ev) < 0 ? -errno : 0;
}

/* The kernel reports by level as long as the descriptor is ready. */
static int
epoll_again(struct poller *p, struct pollee *e)
{
    (void)p;
    assert(e->level && !e->gone);
    return 0;
}

/* Deletes the registration.  To close the descriptor would not be enough: the registration, which
 * refers to e, lives as long as any process has a copy of the descriptor. */
static void
epoll_del(struct poller *p, struct pollee *e)
{
    int r;

    assert(!e->gone);
    e->gone = true;
    p->stats->syscalls++;
    r = epoll_ctl(epoll_of(p)->fd, EPOLL_CTL_DEL, e->fd, NULL);
    assert(r == 0);
    (void)r;
}

static int
wait_for_events(struct poller_epoll *e, int64_t timeout_ns)
{
    int n, ms;

    if (timeout_ns > 0 && !e->no_pwait2) {
        struct timespec ts = {.tv_sec = (time_t)(timeout_ns / (int64_t)LOOP_NS_PER_S),
                              .tv_nsec = (long)(timeout_ns % (int64_t)LOOP_NS_PER_S)};

        n = epoll_pwait2(e->fd, e->events, EVENTS_MAX, &ts, NULL);
        if (n >= 0 || (errno != ENOSYS && errno != EPERM))
            return n < 0 ? -errno : n;
        e->no_pwait2 = true;
    }
    ms = timeout_ns < 0                                    ? -1
         : timeout_ns / (int64_t)LOOP_NS_PER_MS >= INT_MAX ? INT_MAX
                                                           : (int)((timeout_ns + 999999) / 1000000);
    n = epoll_wait(e->fd, e->events, EVENTS_MAX, ms);
    return n < 0 ? -errno : n;
}

static int
epoll_poll(struct poller *p, int64_t timeout_ns)
{
    struct poller_epoll *e = epoll_of(p);
    int n;

    p->stats->syscalls++;
    n = wait_for_events(e, timeout_ns);
    for (int i = 0; i < n; i++) {
        struct pollee *pe = e->events[i].data.ptr;

        pe->ready(pe, e->events[i].events);
    }
    return n < 0 ? n : 0;
}

static void
epoll_flush(struct poller *p)
{
    (void)p;
}

static const struct poller_ops epoll_ops = {
    .name = "epoll",
    .free = epoll_free,
    .fd = epoll_fd,
    .add = epoll_add,
    .again = epoll_again,
    .del = epoll_del,
    .wait = epoll_poll,
    .flush = epoll_flush,
};

int
poller_epoll_new(struct loop_stats *stats, struct poller **ret)
{
    struct poller_epoll *e = calloc(1, sizeof(*e));
    int r;

    if (e == NULL)
        return -ENOMEM;
    e->pub = (struct poller){.ops = &epoll_ops, .stats = stats, .bell_fd = -1};
    e->fd = epoll_create1(EPOLL_CLOEXEC);
    if (e->fd < 0) {
        r = -errno;
        free(e);
        return r;
    }
    *ret = &e->pub;
    return 0;
}
