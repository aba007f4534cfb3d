/* SPDX-License-Identifier: MIT */
/* tests/daemon/nbd_load.h - an NBD client on a thread of its own, which writes, reads back and
 * compares until it is told to stop.  An error or a difference ends the program. */
#ifndef TESTS_DAEMON_NBD_LOAD_H
#define TESTS_DAEMON_NBD_LOAD_H

#include <pthread.h>
#include <stdatomic.h>

struct nbd_load {
    char path[108];
    pthread_t thread;
    atomic_uint ios; /* so far */
    atomic_bool stop;
    atomic_bool may_end; /* the export may go away under it */
};

/* Connects, and returns when the first block has been compared. */
void nbd_load_start(struct nbd_load *l, const char *path);
/* Returns when the last request has been answered. */
void nbd_load_stop(struct nbd_load *l);
/* Waits until so many further blocks have been compared, 20 s at most. */
void nbd_load_goes_on(struct nbd_load *l, unsigned ios);

#endif
