/* SPDX-License-Identifier: MIT */
/* loop/poll.h - what a backend provides: which descriptors became ready.
 *
 * Readiness is edge-triggered, and a descriptor is registered only once, for reading,
 * writing and hang-up together, so that an I/O needs no system call for it.  Descriptors that are
 * watched by level are the exception.  All of it runs on the loop's thread.
 */
#ifndef LOOP_POLL_H
#define LOOP_POLL_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/loop.h"

/* A registered descriptor, embedded in its owner. */
struct pollee {
    int fd;
    bool armed; /* the kernel may still report an event for it, so it must stay in memory */
    bool gone;  /* it was deleted, and an event that still comes is dropped */
    /* The owner's, set before it is added: the poller must not keep the descriptor's file open, so
     * that it is gone as soon as its process is. */
    bool apart;
    /* The owner's, set before it is added: only reading and hang-up are looked at, by level.  After
     * each ->ready nothing more is reported until `again`. */
    bool level;
    struct list levels; /* the poller's, of one by level */
    /* Called with EPOLL* bits.  It only notes them; the turn makes the callbacks later. */
    void (*ready)(struct pollee *e, uint32_t events);
};

struct poller {
    const struct poller_ops *ops;
    struct loop_stats *stats; /* borrowed: system calls are counted there */
    /* An eventfd, owned by the poller.  To write to it makes the descriptor of fd() readable at
     * once.  -1: to write to any registered eventfd does so. */
    int bell_fd;
};

struct poller_ops {
    const char *name;
    void (*free)(struct poller *p);
    /* Returns a descriptor, owned by the poller, that is readable when wait would find something;
     * or -errno. */
    int (*fd)(struct poller *p);
    /* Registers e->fd.  e is borrowed until it is deleted and not armed.  Returns 0 or -errno. */
    int (*add)(struct poller *p, struct pollee *e);
    /* For a pollee by level, after its ->ready: ->ready is called again if it can be read from
     * then, or as soon as it can.  Returns 0, or -errno, and may be called again later. */
    int (*again)(struct poller *p, struct pollee *e);
    /* Called before the descriptor is closed.  e may be freed once it is not armed. */
    void (*del)(struct poller *p, struct pollee *e);
    /* Waits until a descriptor becomes ready or timeout_ns nanoseconds have passed (<0: no limit),
     * and calls ->ready for each that is.  Returns 0, also after a timeout; -EINTR after a signal;
     * or another -errno. */
    int (*wait)(struct poller *p, int64_t timeout_ns);
    /* Makes sure that the descriptor of fd() shows the events of all descriptors that were added.
     */
    void (*flush)(struct poller *p);
};

/* Make a poller.  stats is borrowed for its life.  Return 0 or -errno; -ENOSYS or -EPERM where the
 * kernel, the build or a policy has no io_uring for us. */
int poller_epoll_new(struct loop_stats *stats, struct poller **ret);
int poller_uring_new(struct loop_stats *stats, struct poller **ret);

#endif
