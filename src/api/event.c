/* SPDX-License-Identifier: MIT */
#include "api/event.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "api/internal.h"
#include "api/sized.h"

struct kept_event {
    struct list node;
    struct lunette_event ev;
};

/* The descriptor, where there is one, is readable while there is something to take. */
static void
events_show(struct api_events *e)
{
    bool any = e->count > 0 || e->dropped > 0;
    uint64_t n = 1;

    if (e->fd < 0)
        return;
    /* Both can only fail where it is so already. */
    if (any)
        n = (uint64_t)write(e->fd, &n, sizeof(n));
    else
        n = (uint64_t)read(e->fd, &n, sizeof(n));
    (void)n;
}

/* Takes the oldest event; of those that were dropped it is told first, since they were older. */
static bool
events_take(struct api_events *e, struct lunette_event *ret)
{
    struct list *n;

    if (e->dropped > 0) {
        *ret = (struct lunette_event){
            .struct_size = sizeof(*ret), .type = LUNETTE_EVENT_DROPPED, .attempt = e->dropped};
        e->dropped = 0;
        return true;
    }
    n = list_pop_front(&e->queue);
    if (n == NULL)
        return false;
    *ret = container_of(n, struct kept_event, node)->ev;
    free(container_of(n, struct kept_event, node));
    e->count--;
    return true;
}

static void
events_drop_oldest(struct api_events *e)
{
    struct list *n = list_pop_front(&e->queue);

    free(container_of(n, struct kept_event, node));
    e->count--;
    e->dropped++;
}

/* A program that knows a larger event may copy all of it, so it gets one: zero behind what this
 * library knows. */
static void
events_tell(struct api_events *e, const struct lunette_event *ev)
{
    union {
        struct lunette_event ev;
        char room[API_SIZED_MAX];
    } told;

    memset(&told, 0, sizeof(told));
    told.ev = *ev;
    e->fn(e->user, &told.ev);
}

static void
events_work(struct loop_work *w)
{
    struct api_events *e = container_of(w, struct api_events, work);
    struct lunette_event ev;

    while (e->fn != NULL && events_take(e, &ev))
        events_tell(e, &ev);
    events_show(e);
}

void
api_events_init(struct api_events *e, struct loop *loop)
{
    *e = (struct api_events){.loop = loop, .fd = -1};
    list_init(&e->queue);
    loop_work_init(&e->work, events_work);
}

void
api_events_fini(struct api_events *e)
{
    if (e->loop == NULL)
        return;
    loop_defer_cancel(&e->work);
    while (e->count > 0)
        events_drop_oldest(e);
    if (e->fd >= 0)
        (void)close(e->fd);
    e->fd = -1;
}

void
api_events_add(struct api_events *e, const struct lunette_event *ev)
{
    struct kept_event *k;

    if (!api_events_wanted(e))
        return;
    if (e->count == API_EVENTS_MAX)
        events_drop_oldest(e);
    k = malloc(sizeof(*k));
    if (k != NULL) {
        k->ev = *ev;
        k->ev.struct_size = sizeof(k->ev);
        list_push_back(&e->queue, &k->node);
        e->count++;
    } else {
        e->dropped++;
    }
    if (e->fn != NULL)
        loop_defer(e->loop, &e->work);
    else
        events_show(e);
}

void
api_events_forget(struct api_events *e, const struct lunette_session *session,
                  const struct lunette_lun *lun)
{
    LIST_FOREACH_SAFE (n, &e->queue) {
        struct kept_event *k = container_of(n, struct kept_event, node);

        if (k->ev.session != session || (lun != NULL && k->ev.lun != lun))
            continue;
        list_del(n);
        free(k);
        e->count--;
    }
    events_show(e);
}

/* ---- the calls ------------------------------------------------------------------------------ */

int
lunette_ctx_set_events(struct lunette_ctx *ctx,
                       void (*fn)(void *user, const struct lunette_event *ev), void *user)
{
    struct api_events *e = &ctx->events;

    e->fn = fn;
    e->user = user;
    e->kept = fn == NULL;
    if (fn != NULL && (e->count > 0 || e->dropped > 0))
        loop_defer(e->loop, &e->work);
    return 0;
}

int
lunette_ctx_next_event(struct lunette_ctx *ctx, struct lunette_event *ret)
{
    struct api_events *e = &ctx->events;
    struct lunette_event ev;

    if (!api_size_possible(ret->struct_size, API_FIRST_EVENT))
        return -EINVAL;
    e->kept = true;
    if (e->fn != NULL || !events_take(e, &ev))
        return -EAGAIN;
    events_show(e);
    return api_sized_out(ret, API_FIRST_EVENT, &ev, sizeof(ev));
}

int
lunette_ctx_events_fd(struct lunette_ctx *ctx)
{
    struct api_events *e = &ctx->events;

    e->kept = true;
    if (e->fd < 0) {
        e->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (e->fd < 0)
            return -errno;
        events_show(e);
    }
    return e->fd;
}

/* ---- in words ------------------------------------------------------------------------------- */

static const char *const event_names[] = {
    [LUNETTE_EVENT_NONE] = "none",
    [LUNETTE_EVENT_CONN_LOST] = "conn_lost",
    [LUNETTE_EVENT_REOPENING] = "reopening",
    [LUNETTE_EVENT_RECOVERED] = "recovered",
    [LUNETTE_EVENT_TIMED_OUT] = "timed_out",
    [LUNETTE_EVENT_GONE] = "gone",
    [LUNETTE_EVENT_CAPACITY] = "capacity",
    [LUNETTE_EVENT_LUNS_CHANGED] = "luns_changed",
    [LUNETTE_EVENT_RESERVATIONS] = "reservations",
    [LUNETTE_EVENT_MODE] = "mode",
    [LUNETTE_EVENT_REPLACED] = "replaced",
    [LUNETTE_EVENT_OFFLINE] = "offline",
    [LUNETTE_EVENT_LOST_WRITES] = "lost_writes",
    [LUNETTE_EVENT_ALUA] = "alua",
    [LUNETTE_EVENT_ONLINE] = "online",
    [LUNETTE_EVENT_DROPPED] = "dropped",
    [LUNETTE_EVENT_CONN_DOWN] = "conn_down",
    [LUNETTE_EVENT_CONN_UP] = "conn_up",
};

const char *
lunette_event_name(enum lunette_event_type type)
{
    return (unsigned)type < sizeof(event_names) / sizeof(event_names[0]) ? event_names[type] : NULL;
}

/* " for 118 s more", or what stands in its place. */
static const char *
event_limit(const struct lunette_event *ev, char *buf, size_t size)
{
    if (ev->give_up_ms < 0)
        return "requests wait until it is back";
    if (ev->give_up_ms == 0)
        return "requests fail until it is back";
    (void)snprintf(buf, size, "requests wait for %lld s%s",
                   (long long)(ev->give_up_ms + 999) / 1000, ev->attempt > 0 ? " more" : "");
    return buf;
}

static const char *
event_when(int64_t ms, char *buf, size_t size)
{
    if (ms < 50)
        return "now";
    (void)snprintf(buf, size, "in %lld.%lld s", (long long)(ms + 50) / 1000,
                   (long long)(ms + 50) % 1000 / 100);
    return buf;
}

static void
event_session_text(const struct lunette_event *ev, char *buf, size_t size)
{
    char limit[64], when[32];

    if (ev->type == LUNETTE_EVENT_CONN_LOST)
        (void)snprintf(buf, size, "connection lost (%s); %s", ev->why,
                       event_limit(ev, limit, sizeof(limit)));
    else if (ev->type == LUNETTE_EVENT_REOPENING)
        (void)snprintf(buf, size, "logging in again %s, attempt %u (%s); %s",
                       event_when(ev->next_try_ms, when, sizeof(when)), ev->attempt, ev->why,
                       event_limit(ev, limit, sizeof(limit)));
    else if (ev->type == LUNETTE_EVENT_RECOVERED)
        (void)snprintf(buf, size, "logged in again after %lld.%lld s",
                       (long long)(ev->down_ms / 1000), (long long)(ev->down_ms % 1000 / 100));
    else if (ev->type == LUNETTE_EVENT_TIMED_OUT)
        (void)snprintf(buf, size, "not recovered in %lld s (%s): requests fail until it is back",
                       (long long)(ev->down_ms + 500) / 1000, ev->why);
    else
        (void)snprintf(buf, size, "the session is gone for good: %s", ev->why);
}

static void
event_conn_text(const struct lunette_event *ev, char *buf, size_t size)
{
    if (ev->type == LUNETTE_EVENT_CONN_UP)
        (void)snprintf(buf, size, "connection %u is logged in: %u of %u", ev->cid, ev->nconnections,
                       ev->nconnections_wanted);
    else if (ev->nconnections > 0)
        (void)snprintf(buf, size, "connection %u lost (%s); %u of %u go on", ev->cid, ev->why,
                       ev->nconnections, ev->nconnections_wanted);
    else
        (void)snprintf(buf, size, "connection %u lost (%s); requests wait for another", ev->cid,
                       ev->why);
}

const char *
lunette_event_text(const struct lunette_event *event, char *buf, size_t size)
{
    size_t told = event->struct_size > 0 ? event->struct_size : API_FIRST_EVENT;
    struct lunette_event ev = {0};

    if (size == 0)
        return buf;
    buf[0] = '\0';
    if (!api_size_possible(told, API_FIRST_EVENT))
        return buf;
    memcpy(&ev, event,
           told < sizeof(ev) ? told : sizeof(ev)); /* what is not known here is left out */
    ev.why[sizeof(ev.why) - 1] = '\0';
    if (ev.type >= LUNETTE_EVENT_CONN_LOST && ev.type <= LUNETTE_EVENT_GONE)
        event_session_text(&ev, buf, size);
    else if (ev.type == LUNETTE_EVENT_CONN_DOWN || ev.type == LUNETTE_EVENT_CONN_UP)
        event_conn_text(&ev, buf, size);
    else if (ev.type == LUNETTE_EVENT_DROPPED)
        (void)snprintf(buf, size, "%u events were dropped: nobody took them in time", ev.attempt);
    else
        (void)snprintf(buf, size, "%s", ev.why);
    return buf;
}
