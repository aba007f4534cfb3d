/* SPDX-License-Identifier: MIT */
/* api/event.h - the events of a context: told by a callback, or kept until they are taken.
 *
 * An event is never told from inside the call that reports it, so that whoever hears of it may
 * close what it is about.
 */
#ifndef API_EVENT_H
#define API_EVENT_H

#include <lunette/lunette.h>

#include "seam/loop.h"

#define API_EVENTS_MAX 1024 /* kept at most; then the oldest goes */

struct api_events { /* of a context */
    struct loop *loop;
    struct list queue; /* struct kept_event */
    uint32_t count;
    uint32_t dropped; /* since that was told */
    bool kept;        /* somebody takes them */
    int fd;           /* -1: nobody has asked for it */
    void (*fn)(void *user, const struct lunette_event *ev);
    void *user;
    struct loop_work work; /* calls fn */
};

void api_events_init(struct api_events *e, struct loop *loop);
void api_events_fini(struct api_events *e);

/* Tells whether anybody wants to hear of events. */
static inline bool
api_events_wanted(const struct api_events *e)
{
    return e->fn != NULL || e->kept;
}

/* Reports an event, which is copied; where there is no memory, it counts as dropped. */
void api_events_add(struct api_events *e, const struct lunette_event *ev);

/* The session, or the LUN of it where lun is not NULL, is no longer the caller's: events of it that
 * were not told are taken away. */
void api_events_forget(struct api_events *e, const struct lunette_session *session,
                       const struct lunette_lun *lun);

#endif
