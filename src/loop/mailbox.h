/* SPDX-License-Identifier: MIT */
/* loop/mailbox.h - where other threads leave work for a loop.
 *
 * A mailbox has a reference count, since the thread of a canceled name lookup may outlive the
 * loop: each lookup thread holds a reference.  mailbox_any, mailbox_take, mailbox_set_bell and
 * mailbox_close are called on the loop's thread, the others on any.
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

/* Makes a mailbox with one reference, which is the loop's.  wake_fd is an eventfd, which the
 * mailbox owns and closes with its last reference.  Returns NULL where memory is short, and then
 * wake_fd is still the caller's. */
struct mailbox *mailbox_new(int wake_fd);
/* Take and give back a reference; mailbox_unref frees the mailbox with the last one. */
struct mailbox *mailbox_ref(struct mailbox *m);
void mailbox_unref(struct mailbox *m);

/* Queues w, which must not be queued, for the loop's thread, and wakes that thread.  Returns false
 * when the loop is gone, and then w is still the caller's. */
bool mailbox_post(struct mailbox *m, struct loop_work *w);

/* Whether there is something to take. */
static inline bool
mailbox_any(struct mailbox *m)
{
    return atomic_load_explicit(&m->any, memory_order_acquire);
}

/* Moves all that was posted to the end of `to`. */
void mailbox_take(struct mailbox *m, struct list *to);

/* From now on each post writes to bell_fd, too, which stays the poller's. */
void mailbox_set_bell(struct mailbox *m, int bell_fd);

/* Called when the loop is about to be freed: from now on posts fail and write to no descriptor.
 * `to` gets the work that was not run. */
void mailbox_close(struct mailbox *m, struct list *to);

/* Makes an eventfd readable. */
void mailbox_ring(int fd);

#endif
