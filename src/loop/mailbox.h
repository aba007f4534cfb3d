/* SPDX-License-Identifier: MIT */
/* loop/mailbox.h - where other threads leave work for a loop.
 *
 * A mailbox is counted, since a name lookup that was canceled may outlive its loop: each thread
 * that may post holds a reference.  All but mailbox_any, mailbox_take, mailbox_set_bell and
 * mailbox_close, which are the loop's, may be called on any thread.
 */
#ifndef LOOP_MAILBOX_H
#define LOOP_MAILBOX_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "seam/loop.h"

struct mailbox {
    pthread_mutex_t lock;
    struct list posted; /* under lock */
    uint32_t refs;      /* under lock */
    bool closed;        /* under lock: the loop is gone */
    atomic_bool any;    /* posted is not empty */
    int wake_fd;        /* eventfd that ends a wait; edge-triggered, so it is never read */
    int bell_fd;        /* under lock: poller.bell_fd, once loop_fd was asked for; else -1 */
};

/* With one reference, the loop's.  wake_fd is an eventfd, which the mailbox owns from then on and
 * closes with the last reference.  NULL where memory is short: wake_fd is then still the caller's.
 */
struct mailbox *mailbox_new(int wake_fd);
struct mailbox *mailbox_ref(struct mailbox *m);
void mailbox_unref(struct mailbox *m);

/* Queues w, which must not be queued, for the loop's thread and wakes that.  False when the loop is
 * gone: w is then still the caller's. */
bool mailbox_post(struct mailbox *m, struct loop_work *w);

/* Whether there is something to take. */
static inline bool
mailbox_any(struct mailbox *m)
{
    return atomic_load_explicit(&m->any, memory_order_acquire);
}

/* Moves all that was posted to the end of `to`. */
void mailbox_take(struct mailbox *m, struct list *to);

/* From now on a post rings that descriptor, too; it stays the poller's. */
void mailbox_set_bell(struct mailbox *m, int bell_fd);

/* The loop is about to go: posts fail from now on and ring no bell.  `to` gets what was not run. */
void mailbox_close(struct mailbox *m, struct list *to);

/* Makes an eventfd readable. */
void mailbox_ring(int fd);

#endif
