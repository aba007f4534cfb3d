/* SPDX-License-Identifier: MIT */
/* iod/config.h - what a data plane process is told. */
#ifndef IOD_CONFIG_H
#define IOD_CONFIG_H

#include "base/addr.h"
#include "base/log.h"
#include "loop/loop.h"
#include "seam/export.h"

#define IOD_LOOPS_MAX 64
#define IOD_STOP_MS   20000 /* for exports to end and disks to be flushed, when it is stopped */
#define IOD_DROP_MS   5000  /* and then for sessions to be dropped */

struct iod_config {
    const struct sock_addr *at; /* where to listen; NULL: fd listens already */
    int fd;
    unsigned loops; /* 1..IOD_LOOPS_MAX */
    struct loop_config loop;
    const struct export_ops *const *kinds; /* ends with NULL */
    const struct log *log;                 /* its sink is called on any of the threads */
    uint32_t grace_ms;                     /* for what a control plane leaves half-made */
    uint32_t stop_ms;                      /* 0: IOD_STOP_MS */
    uint32_t watch_every;                  /* one request in so many is timed; 0: none */
    /* Called once, on loop 0, when control planes may come.  May be NULL. */
    void (*ready)(void *user);
    /* Called on loop 0, once in beat_ms (0: never), as long as each loop has made a turn since the
     * call before, so that a loop that hangs ends the calls.  May be NULL. */
    void (*alive)(void *user);
    uint32_t beat_ms;
    void *user;
};

#endif
