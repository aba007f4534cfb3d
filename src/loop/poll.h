/* SPDX-License-Identifier: MIT */
/* loop/poll.h - what a backend provides: which descriptors became ready.
 *
 * All readiness is edge-triggered and a descriptor is registered once, for
 * reading, writing and hang-up: no system call per I/O.
 */
#ifndef LOOP_POLL_H
#define LOOP_POLL_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/loop.h"

/* A registered descriptor, embedded in its owner. */
struct pollee {
    int fd;
    bool armed; /* the kernel may still report an event for it: it has to stay in memory */
    bool gone;  /* it was deleted: an event that still comes is dropped */
    /* events: EPOLL* bits.  Keeps them and makes no callback: the turn does that later. */
    void (*ready)(struct pollee *e, uint32_t events);
};

struct poller {
    const struct poller_ops *ops;
    struct loop_stats *stats; /* borrowed: system calls are counted there */
    /* An eventfd, owned, that makes fd() readable at once; -1: writing to any registered eventfd
     * does. */
    int bell_fd;
};

struct poller_ops {
    const char *name;
    void (*free)(struct poller *p);
    /* A descriptor, owned by the poller, that polls readable when wait would find something; or
     * -errno. */
    int (*fd)(struct poller *p);
    /* Registers e->fd.  e is borrowed until it is deleted and not armed.  0 or -errno. */
    int (*add)(struct poller *p, struct pollee *e);
    /* To be called before the descriptor is closed.  e may be freed once it is not armed. */
    void (*del)(struct poller *p, struct pollee *e);
    /* Waits, timeout_ns at most (<0: without a limit), and calls ->ready for each descriptor that
     * has become ready.  0, also when nothing has; or -errno, -EINTR among it. */
    int (*wait)(struct poller *p, int64_t timeout_ns);
    /* After this, fd() reports events of all that were added. */
    void (*flush)(struct poller *p);
};

/* stats is borrowed for the life of the poller.  0 or -errno; -ENOSYS or -EPERM where io_uring is
 * not to be had. */
int poller_epoll_new(struct loop_stats *stats, struct poller **ret);
int poller_uring_new(struct loop_stats *stats, struct poller **ret);

#endif
