/* SPDX-License-Identifier: MIT */
/* engine/events.c - events to a client, numbered, of which no more than so many wait for it. */
#include <assert.h>

#include "engine/attachment.h"

#define EVENTS_RETRY_MS 20 /* until a client that took no event is tried again */

static struct engine_attach *
events_attach(struct loop_timer *t)
{
    return container_of(t, struct engine_attach, events.retry);
}

static void
engine_events_flush(struct engine_attach *a)
{
    struct engine_events *q = &a->events;

    while (q->count > 0 && !a->gone) {
        if (a->client.event(a->client.binding, &q->one[q->first], "") < 0) {
            loop_timer_start(a->site->loop, &q->retry, EVENTS_RETRY_MS * LOOP_NS_PER_MS);
            return;
        }
        q->first = (q->first + 1) % ENGINE_EVENTS_MAX;
        q->count--;
    }
}

static void
events_on_retry(struct loop_timer *t)
{
    engine_events_flush(events_attach(t));
}

void
engine_events_init(struct engine_attach *a)
{
    loop_timer_init(&a->events.retry, events_on_retry);
}

void
engine_events_fini(struct engine_attach *a)
{
    loop_timer_stop(a->site->loop, &a->events.retry);
    a->events.count = 0;
}

static void
events_put(struct engine_events *q, const struct iscsi_kevent *ev)
{
    assert(q->count < ENGINE_EVENTS_MAX);
    q->one[(q->first + q->count++) % ENGINE_EVENTS_MAX] = *ev;
}

/* Those that wait are dropped together where there is no room, since a client that has lost one
 * asks for the state anyhow. */
static void
events_make_room(struct engine_events *q)
{
    struct iscsi_kevent lost = {.type = ISCSI_KEVENT_LOST};

    for (; q->count > 0; q->count--, q->first = (q->first + 1) % ENGINE_EVENTS_MAX) {
        const struct iscsi_kevent *ev = &q->one[q->first];

        lost.u.lost.count += ev->type == ISCSI_KEVENT_LOST ? ev->u.lost.count + 1 : 1;
    }
    lost.number = ++q->last;
    events_put(q, &lost);
}

uint64_t
engine_events_send(struct engine_attach *a, struct iscsi_kevent *ev)
{
    struct engine_events *q = &a->events;

    if (a->gone)
        return q->last;
    if (q->count == ENGINE_EVENTS_MAX)
        events_make_room(q);
    ev->number = ++q->last;
    events_put(q, ev);
    engine_events_flush(a);
    return ev->number;
}
