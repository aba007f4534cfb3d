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
    bool armed; /* an event that names it may still come: it has to stay in memory */
    bool gone;  /* deleted: such an event is dropped */
    void (*ready)(struct pollee *e, uint32_t events); /* EPOLL* bits; takes note, calls nobody */
};

struct poller {
    const struct poller_ops *ops;
    struct loop_stats *stats; /* borrowed: system calls are counted there */
    int bell_fd; /* an eventfd which makes fd() readable at once; -1: any registered one does */
};

struct poller_ops {
    const char *name;
    void (*free)(struct poller *p);
    /* Polls readable when wait would find something. */
    int (*fd)(struct poller *p);
    int (*add)(struct poller *p, struct pollee *e);
    /* Before the descriptor is closed.  e may be freed once it is not armed. */
    void (*del)(struct poller *p, struct pollee *e);
    /* Calls ->ready for what has become ready; timeout <0: no limit.  0 or -errno (-EINTR). */
    int (*wait)(struct poller *p, int64_t timeout_ns);
    /* Makes sure that fd() reports what was added. */
    void (*flush)(struct poller *p);
};

int poller_epoll_new(struct loop_stats *stats, struct poller **ret);
int poller_uring_new(struct loop_stats *stats, struct poller **ret);

#endif
