/* SPDX-License-Identifier: MIT */
/* dataplane/client.c - the control plane that is attached: its generation, the events for it, and
 * answers that come later than their requests.
 *
 * Events that cannot go out wait in the order of their numbers, bounded.  When
 * one finds no room or no memory it counts as lost, and so do all after it
 * until the client has been told: what waits never has a gap, and one LOST with
 * a count closes it.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dataplane/internal.h"

#define RETRY_MS 50 /* until a client that took no event is offered it again */

struct dp_event {
    struct list node;
    struct iscsi_kevent ev;
    uint8_t data[];
};

/* ---- events --------------------------------------------------------------------------------- */

static uint32_t
event_bytes(const struct iscsi_kevent *ev)
{
    return (uint32_t)sizeof(struct dp_event) + ipc_kevent_data_len(ev);
}

static void
event_keep(struct dataplane *dp, const struct iscsi_kevent *ev, const void *data)
{
    uint32_t bytes = event_bytes(ev), data_len = ipc_kevent_data_len(ev);
    struct dp_event *e = NULL;

    if (dp->lost == 0 && dp->nevents < dp->limits.events_max &&
        bytes <= dp->limits.event_bytes_max - dp->event_bytes)
        e = malloc(sizeof(*e) + data_len);
    if (e == NULL) {
        dp->lost++;
        return;
    }
    e->ev = *ev;
    if (data_len > 0)
        memcpy(e->data, data, data_len);
    list_push_back(&dp->events, &e->node);
    dp->nevents++;
    dp->event_bytes += bytes;
}

static void
event_drop_first(struct dataplane *dp)
{
    struct dp_event *e = container_of(list_pop_front(&dp->events), struct dp_event, node);

    assert(dp->nevents > 0 && dp->event_bytes >= event_bytes(&e->ev));
    dp->nevents--;
    dp->event_bytes -= event_bytes(&e->ev);
    free(e);
}

static int
tell_lost(struct dataplane *dp)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_LOST, .number = dp->last_event + 1};
    int r;

    ev.u.lost.count = dp->lost;
    r = dp->client.event(dp->client.binding, &ev, NULL);
    if (r == 0) {
        dp->last_event++;
        dp->lost = 0;
    }
    return r;
}

/* Sends what waits, as far as the client takes it. */
static void
events_flush(struct dataplane *dp)
{
    int r = 0;

    assert(dp->flowing && dp->generation != 0);
    while (r == 0 && !list_empty(&dp->events)) {
        const struct dp_event *e = container_of(dp->events.next, struct dp_event, node);

        r = dp->client.event(dp->client.binding, &e->ev, e->data);
        if (r == 0)
            event_drop_first(dp);
    }
    if (r == 0 && dp->lost > 0)
        r = tell_lost(dp);
    if (r < 0)
        loop_timer_start(dp->loop, &dp->retry, RETRY_MS * LOOP_NS_PER_MS);
}

static void
on_retry(struct loop_timer *t)
{
    events_flush(container_of(t, struct dataplane, retry));
}

void
dp_event(struct dataplane *dp, struct iscsi_kevent *ev, const void *data)
{
    ev->number = ++dp->last_event;
    if (dp->flowing && dp->nevents == 0 && dp->lost == 0 &&
        dp->client.event(dp->client.binding, ev, data) == 0)
        return;
    event_keep(dp, ev, data);
    if (dp->flowing && !loop_timer_running(&dp->retry))
        loop_timer_start(dp->loop, &dp->retry, RETRY_MS * LOOP_NS_PER_MS);
}

/* ---- coming and going ----------------------------------------------------------------------- */

void
dp_client_init(struct dataplane *dp)
{
    list_init(&dp->events);
    loop_timer_init(&dp->retry, on_retry);
}

void
dp_client_fini(struct dataplane *dp)
{
    loop_timer_stop(dp->loop, &dp->retry);
    while (!list_empty(&dp->events))
        event_drop_first(dp);
}

void
dp_client_attach(struct dataplane *dp, const struct ipc_client *client)
{
    assert(dp->generation == 0);
    assert(client->reply != NULL && client->event != NULL);
    dp->client = *client;
    dp->generation = ++dp->generations;
    dp->greeted = dp->flowing = !client->hello;
    if (dp->flowing)
        events_flush(dp);
}

void
dp_client_detach(struct dataplane *dp)
{
    assert(dp->generation != 0);
    loop_timer_stop(dp->loop, &dp->retry);
    dp->generation = 0;
    dp->greeted = dp->flowing = false;
    dp->client = (struct ipc_client){NULL, NULL, NULL, false};
}

int
dp_serve_hello(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    uint32_t max = ev->u.hello.max;
    int r = ipc_hello_check(ev, dp->loops, &rep->why);

    if (r < 0)
        return r;
    if (ev->u.hello.loop != dp->loop_index)
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "HELLO: loop %u is asked for, this is loop %u", ev->u.hello.loop,
                            dp->loop_index);
    loop_timer_stop(dp->loop, &dp->retry);
    dp->greeted = true;
    dp->flowing = false;
    rep->r.hello.version = max < IPC_VERSION_MAX ? max : IPC_VERSION_MAX;
    rep->r.hello.generation = dp->generation;
    rep->r.hello.next_event = dp->last_event + 1;
    rep->r.hello.first_event = rep->r.hello.next_event;
    if (dp->nevents > 0)
        rep->r.hello.first_event = container_of(dp->events.next, struct dp_event, node)->ev.number;
    rep->r.hello.grace_ms = dp->limits.grace_ms;
    rep->r.hello.loops = dp->loops;
    return 0;
}

int
dp_serve_take_events(struct dataplane *dp, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    uint64_t from = ev->u.take_events.from;

    (void)rep;
    while (!list_empty(&dp->events) &&
           container_of(dp->events.next, struct dp_event, node)->ev.number < from)
        event_drop_first(dp);
    if (from > dp->last_event) /* the client asked for the state after the last that was lost */
        dp->lost = 0;
    dp->flowing = true;
    events_flush(dp);
    return 0;
}

/* ---- whose what is ------------------------------------------------------------------------- */

void
dp_half_adopt(struct dataplane *dp, struct dp_half *half)
{
    assert(dp->generation != 0);
    *half = (struct dp_half){.owner = dp->generation, .undo_at_ns = 0};
}

void
dp_half_leave(struct dataplane *dp, struct dp_half *half)
{
    uint64_t grace = dp->limits.grace_ms * LOOP_NS_PER_MS;

    half->owner = dp->generations;
    half->undo_at_ns = dp->loop->now_ns + grace;
    if (!loop_timer_running(&dp->undo)) /* the grace is the same for all, so what was left earlier
                                           is due earlier, and the timer runs for that */
        loop_timer_start(dp->loop, &dp->undo, grace);
}

/* ---- answers that come later ---------------------------------------------------------------- */

struct dp_call
dp_call_of(const struct dataplane *dp, const struct iscsi_uevent *ev)
{
    assert(dp->generation != 0);
    return (struct dp_call){.generation = dp->generation, .seq = ev->seq};
}

void
dp_call_answer(struct dataplane *dp, struct dp_call *call, struct iscsi_reply *rep)
{
    if (call->generation != 0 && call->generation == dp->generation) {
        rep->seq = call->seq;
        dp->client.reply(dp->client.binding, rep);
    }
    call->generation = 0;
}
