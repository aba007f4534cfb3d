/* SPDX-License-Identifier: MIT */
/* seam/export.h - ways out of the process for a block device: nbd, fuse, vhost-user, ublk.
 *
 * Called by control/ and api/; implemented by export/.  Everything here is called on the loop that
 * start was given, and calls back on it.
 *
 * Who owns what: the export borrows the device from start until stop has ended.  The queues are its
 * own: it makes as many as it likes with bdev_queue_new, on the loops on which it serves its
 * clients, and submits requests of its own memory.  It never frees the device; whoever does stops
 * the exports first.
 */
#ifndef SEAM_EXPORT_H
#define SEAM_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "seam/bdev.h"

struct export;

/* Counters since start; they only grow, but for clients, which is how many there are now. */
struct export_stats {
    uint64_t reads, writes, flushes, discards, errors; /* requests that have ended */
    uint64_t bytes_read, bytes_written;
    uint32_t clients;
};

struct export_events {
    /* The export ended by itself: the client unmounted, the kernel let go.  why may be NULL, and
     * lives until this returns.  Called once at most, never from inside start or stop, and not any
     * more once stop has been called; stop is due all the same, also from inside. */
    void (*stopped)(void *user, const struct lunette_error *why);
};

struct export_ops {
    const char *name; /* "nbd", "fuse", "vhost_user", "ublk" */
    /* Serves device b at `where` (a socket path, a mount point, a device number as text).
     * ev and user are borrowed until stop has ended; ev may be NULL.  0: *ret is the caller's until
     * stop; clients may submit from now on, before this returns even.  Else -errno and a sentence
     * in err, and nothing is left: no queue, no socket. */
    int (*start)(struct bdev *b, struct loop *loop, const char *where, bool read_only,
                 const struct export_events *ev, void *user, struct export **ret,
                 struct lunette_error *err);
    /* From now on nothing new is taken from clients.  What they have submitted is drained: every
     * request that the export has with the device is waited for, and answered where the client is
     * still there.  Then the export frees its queues, all empty by then, and itself, and calls done
     * once, later, never from inside this call.  The device may be freed from inside done.  It
     * takes as long as the device does: where it must not, the owner fails the device's requests
     * (the session's end does). */
    void (*stop)(struct export *e, void (*done)(void *user), void *user);
    /* *ret is filled in; any time between start and stop. */
    void (*stats)(const struct export *e, struct export_stats *ret);
};

#endif
