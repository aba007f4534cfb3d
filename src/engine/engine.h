/* SPDX-License-Identifier: MIT */
/* engine/engine.h - an engine as a process: loops on threads, each with its node (engine/node.h),
 * behind one local socket.
 *
 * A client opens a connection for each loop that it needs, says in HELLO which it means, and learns
 * there how many there are; the sessions of a target are on the loop that offload_loop_of names.
 * Nothing else goes from one loop to another.
 */
#ifndef ENGINE_ENGINE_H
#define ENGINE_ENGINE_H

#include <sys/types.h>

#include "base/addr.h"
#include "base/err.h"
#include "loop/crew.h"
#include "loop/loop.h"

#define ENGINE_STOP_MS 15000 /* for sessions to be logged out, when it is stopped */

struct engine;

struct engine_config {
    const struct sock_addr *at; /* where to listen; NULL: fd listens already */
    int fd;
    unsigned loops; /* 1..CREW_LOOPS_MAX */
    struct loop_config loop;
    const char *state; /* folder of the tables; NULL: they are in memory only */
    /* What names this engine and none beside it, and its successor as well: the path of its socket.
     * NULL: nothing does. */
    const char *identity;
    bool fixed;         /* clients cannot add to the table of targets */
    const uid_t *allow; /* users whose processes are let in beside our own and root's */
    unsigned nallow;
    const struct log *log; /* its sink is called on any of the threads */
    uint32_t stop_ms;      /* 0: ENGINE_STOP_MS */
    uint32_t pid;
    const char *version;
    /* As of struct crew_config. */
    void (*ready)(void *user);
    void (*alive)(void *user);
    uint32_t beat_ms;
    void *user;
};

/* Makes all loops, opens the tables and listens.  cfg is copied, what it points to is borrowed
 * until engine_free, but at, which is borrowed for the call.  Returns 0, and fd is the caller's no
 * more; or -errno with *err. */
int engine_new(const struct engine_config *cfg, struct engine **ret, struct lunette_error *err);

/* Serves clients until engine_stop.  Once, on the thread that has called engine_new.  Returns 0
 * when all has ended; -ETIMEDOUT where sessions were not logged out in time, or another -errno,
 * with *err; then threads may still be at work, and the process has to end. */
int engine_run(struct engine *e, struct lunette_error *err);

/* Has engine_run come to its end: nobody is let in any more, clients are sent away, sessions are
 * logged out, for stop_ms at most.  May be called on any thread, and once. */
void engine_stop(struct engine *e);

/* After engine_run has returned 0, or where it was never called.  NULL is harmless. */
void engine_free(struct engine *e);

#endif
