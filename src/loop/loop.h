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
    uint32_t spin_us;    /* the longest busy polling before a sleep, in microseconds; 0: none */
};

/* Makes a loop, which the caller owns.  cfg may be NULL and is borrowed for the call.  The loop
 * belongs to the thread that first runs it or asks for its loop_fd.  Returns 0, or -errno with
 * *err. */
int loop_new(const struct loop_config *cfg, struct loop **ret, struct lunette_error *err);

/* Tells whether loops here can share memory with other processes (seam/shm.h): 0; or -errno, as
 * -ENOSYS, and a sentence that says what is missing.  Changes nothing. */
int loop_shm_usable(struct lunette_error *err);

/* Frees a loop; does nothing for NULL.  All its streams, watches, timers and lookups must be gone,
 * and no other thread may post any more; work that is still queued is dropped. */
void loop_free(struct loop *l);

#endif
