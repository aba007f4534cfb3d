/* SPDX-License-Identifier: MIT */
/* loop/loop.h - making a real loop. */
#ifndef LOOP_LOOP_H
#define LOOP_LOOP_H

#include "seam/loop.h"

enum loop_kind {
    LOOP_AUTO, /* io_uring where it is allowed, else epoll */
    LOOP_EPOLL,
    LOOP_URING, /* fails where io_uring is forbidden, as in most containers */
};

struct loop_config {
    enum loop_kind kind;
    size_t scratch_size; /* 0: 512 KiB */
    uint32_t spin_us;    /* busy polling before sleeping, at most; 0: none */
};

/* cfg may be NULL.  The loop belongs to the thread that first runs it or asks for its loop_fd. */
int loop_new(const struct loop_config *cfg, struct loop **ret, struct lunette_error *err);

/* All streams, timers and lookups of the loop must be gone; work that is still queued is dropped.
 * loop_free(NULL) is harmless. */
void loop_free(struct loop *l);

#endif
