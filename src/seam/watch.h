/* SPDX-License-Identifier: MIT */
/* seam/watch.h - where the time of a request goes: a watch that a few requests carry along.
 *
 * block/ times one request in many (docs/design/observe.md).  A request that is timed has a
 * struct io_watch, which goes down with it and is moved from stage to stage by whoever has the
 * request.  It is in one stage at a time, so that the times of the stages add up to that of the
 * request.  A request that is not timed has no watch, and nobody on the fast path looks for one:
 * whoever takes over a request with a watch takes it off the fast path first.
 *
 * All of it runs on the thread of the request's loop.
 */
#ifndef SEAM_WATCH_H
#define SEAM_WATCH_H

#include <stddef.h>
#include <stdint.h>

#include "seam/loop.h"

enum io_stage {
    IO_STAGE_QUEUE,   /* from its submission until it is handed down for the first time */
    IO_STAGE_WINDOW,  /* handed down and not sent: the window, the depth of the unit or the session
                         holds it back, or it waits to be sent again */
    IO_STAGE_SEND,    /* given to the transport, and not all of it has been given to the system */
    IO_STAGE_TARGET,  /* sent: the target, and the way there and back */
    IO_STAGE_RECEIVE, /* the answer has begun to arrive, and the request has not been completed.
                         Of one in several pieces: the answer to the first of them */
    IO_STAGES,
};

struct io_watch {
    uint64_t at_ns;         /* clock of the loop when it came into its stage */
    uint64_t ns[IO_STAGES]; /* spent in each stage so far */
    /* Of those of a connection that wait until all is sent, whose head is NULL where there is none;
     * link is what points to this one, NULL: it is not among them. */
    struct io_watch *next, **link;
    enum io_stage stage;
};

/* Starts w in the stage QUEUE. */
static inline void
io_watch_start(struct io_watch *w, uint64_t now_ns)
{
    *w = (struct io_watch){.at_ns = now_ns, .stage = IO_STAGE_QUEUE};
}

/* Takes w off the list that it is on, if it is on one. */
static inline void
io_watch_unlink(struct io_watch *w)
{
    if (w->link == NULL)
        return;
    *w->link = w->next;
    if (w->next != NULL)
        w->next->link = w->link;
    w->link = NULL;
}

/* Puts w, which is on no list, on that of *head. */
static inline void
io_watch_link(struct io_watch *w, struct io_watch **head)
{
    w->next = *head;
    w->link = head;
    if (w->next != NULL)
        w->next->link = &w->next;
    *head = w;
}

/* The time since at_ns was spent in the stage that w is in; from now on it is in `stage`.  A clock
 * that has been read before at_ns is taken for at_ns. */
static inline void
io_watch_enter(struct io_watch *w, enum io_stage stage, uint64_t now_ns)
{
    if (now_ns > w->at_ns) {
        w->ns[w->stage] += now_ns - w->at_ns;
        w->at_ns = now_ns;
    }
    w->stage = stage;
}

/* The same when bytes of the target's have come, which the loop found at recv_ns (its now_ns then).
 * Where w has come into its stage since, so that they came during this turn, the clock is read. */
static inline void
io_watch_arrived(struct io_watch *w, enum io_stage stage, uint64_t recv_ns, struct loop *l)
{
    io_watch_enter(w, stage, recv_ns > w->at_ns ? recv_ns : loop_clock(l));
}

/* All that was handed to the transport has been given to the system: the watches of the list, in
 * the stage SEND, are in TARGET from now on, and leave it. */
static inline void
io_watch_sent(struct io_watch **sending, struct loop *l)
{
    uint64_t now = loop_clock(l);

    while (*sending != NULL) {
        struct io_watch *w = *sending;

        io_watch_unlink(w);
        io_watch_enter(w, IO_STAGE_TARGET, now);
    }
}

#endif
