/* SPDX-License-Identifier: MIT */
/* seam/export.h - ways out of the process for a block device: nbd, fuse, vhost-user, ublk.
 *
 * Called by control/ and api/; implemented by export/.  An export submits to
 * the bdev's queue on its own loop and never outlives the bdev.
 */
#ifndef SEAM_EXPORT_H
#define SEAM_EXPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "seam/bdev.h"

struct export;

struct export_stats {
    uint64_t reads, writes, flushes, discards, errors;
    uint64_t bytes_read, bytes_written;
    uint32_t clients;
};

struct export_events {
    /* The export ended by itself: the client unmounted, the kernel let go.  why may be NULL. */
    void (*stopped)(void *user, const struct lunette_error *why);
};

struct export_ops {
    const char *name; /* "nbd", "fuse", "vhost_user", "ublk" */
    /* Serves queue q at `where` (a socket path, a mount point, a device number as text).
     * *ret is owned by the caller until stop has said so. */
    int (*start)(struct bdev_queue *q, const char *where, bool read_only,
                 const struct export_events *ev, void *user, struct export **ret,
                 struct lunette_error *err);
    /* Takes no more requests, waits for those under way, then calls done once and is gone. */
    void (*stop)(struct export *e, void (*done)(void *user), void *user);
    void (*stats)(const struct export *e, struct export_stats *ret);
};

#endif
