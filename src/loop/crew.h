/* SPDX-License-Identifier: MIT */
/* loop/crew.h - the loops of a process, each on a thread of its own.
 *
 * The thread that calls crew_run has loop 0, and the signals of the process; each further loop has
 * a thread that crew_run makes.  What a loop does is its owner's to say.
 */
#ifndef LOOP_CREW_H
#define LOOP_CREW_H

#include "base/err.h"
#include "base/log.h"
#include "seam/loop.h"

#define CREW_LOOPS_MAX 64

struct crew;

struct crew_config {
    unsigned loops;        /* 1..CREW_LOOPS_MAX */
    const char *name;      /* of the program's threads: "NAME-loop-1"; 5 bytes at most */
    const struct log *log; /* its sink is called on any of the threads */
    struct loop *(*loop)(void *user, unsigned i);
    /* Makes turns on that loop until it has been told to end: 0, -ETIMEDOUT where something has not
     * ended in time, or -errno of the loop. */
    int (*run)(void *user, unsigned i);
    /* run has returned 0, on the same thread, which is not that of loop 0: a loop belongs to its
     * thread, and is freed here. */
    void (*ended)(void *user, unsigned i);
    /* Has run of that loop return; called on loop 0, once.  Loops of which no thread was made are
     * not told. */
    void (*stop)(void *user, unsigned i);
    /* Called once, on loop 0, when all threads are there.  May be NULL. */
    void (*ready)(void *user);
    /* Called on loop 0, once in beat_ms (0: never), as long as each loop has made a turn since the
     * call before, so that a loop that hangs ends the calls.  May be NULL. */
    void (*alive)(void *user);
    uint32_t beat_ms;
    void *user; /* of ready and alive, */
    void *of;   /* and of the others */
};

/* cfg is copied.  NULL: no memory. */
struct crew *crew_new(const struct crew_config *cfg);

/* Runs all loops until crew_stop, and returns 0 when all have ended; -ETIMEDOUT where something has
 * not ended in time, or another -errno where threads cannot be made, with *err; then threads may
 * still be at work, and the process has to end.  A loop that fails ends the process.  Once, on the
 * thread that has made loop 0. */
int crew_run(struct crew *c, struct lunette_error *err);

/* On loop 0, once: tells all loops to end. */
void crew_stop(struct crew *c);

/* After crew_run has returned 0, or where it was never called.  NULL is harmless. */
void crew_free(struct crew *c);

#endif
