/* SPDX-License-Identifier: MIT */
/* seam/export.h - the contract for exports, which make a block device reachable for other
 * processes: NBD (export/nbd); and it would do for FUSE, vhost-user, ublk.
 *
 * All functions are called on the loop that start
 * was given, and all callbacks come on it.
 *
 * Who owns what: the export borrows the device from start until stop has ended.  The queues are the
 * export's own: it makes as many as it likes with bdev_queue_new and submits requests that stand in
 * its own memory.  It neither frees the device nor drains it (bdev_drain would shut out everybody
 * else who uses it); whoever frees the device stops its exports first.
 */
#ifndef SEAM_EXPORT_H
#define SEAM_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "seam/bdev.h"

struct export;

/* Counters since start.  They only grow, except for clients, which is how many there are now. */
struct export_stats {
    uint64_t reads, writes, flushes, discards, errors; /* requests that have ended */
    uint64_t bytes_read, bytes_written;
    uint32_t clients;
};

struct export_events {
    /* The export cannot go on by itself: the client has unmounted, the kernel has let go, or the
     * device is gone.  why may be NULL, and is valid until this returns.  Called once at most,
     * never from inside start or stop, and never after stop.  The export still has to be stopped,
     * which may be done from inside this callback. */
    void (*stopped)(void *user, const struct lunette_error *why);
};

struct export_ops {
    const char *name; /* "nbd", "fuse", "vhost_user", "ublk" */
    /* Serves device b at `where` (a socket path, a mount point, a device number as text).  loop is
     * that of the device's driver: limits, events and the first queue are used on it.  An export
     * that serves clients on other loops asks for queues there, and does without where
     * bdev_queue_new says -ENOTSUP.  ev and user are borrowed until stop has ended; ev may be NULL.
     * 0: *ret is the caller's until stop, and clients may submit from now on, even before this
     * returns.  Otherwise -errno and a sentence in err, and nothing is left: no queue, no socket.
     */
    int (*start)(struct bdev *b, struct loop *loop, const char *where, bool read_only,
                 const struct export_events *ev, void *user, struct export **ret,
                 struct lunette_error *err);
    /* Nothing new is taken from clients from now on.  The export waits for each request that it has
     * with the device, and answers those whose client is still there and takes the answer: for one
     * that does not it waits a second at most.  Then it frees its queues,
     * which are empty by then, and itself, and calls done: once, later, never from inside this call
     * and never from the done callback of a request.  The device may be freed from inside done.
     * Stopping takes as long as the device takes to answer; an owner that cannot wait ends the
     * session, which makes the device answer at once. */
    void (*stop)(struct export *e, void (*done)(void *user), void *user);
    /* *ret is filled in; any time between start and stop. */
    void (*stats)(const struct export *e, struct export_stats *ret);
};

#endif
