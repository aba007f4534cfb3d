/* SPDX-License-Identifier: MIT */
#include "engine/ping.h"

#include <errno.h>
#include <stdlib.h>

#define NS_PER_US 1000

struct engine_ping {
    struct loop *loop;
    struct portal to;
    struct resolve *resolve;
    struct stream *stream;
    struct sock_addr addr[LOOP_RESOLVE_MAX];
    int count, at; /* addresses, and the one that is tried */
    uint64_t began_ns;
    int err; /* how the last one failed */
    struct loop_timer limit;
    struct loop_work next; /* tries the next address */
    void (*done)(void *user, const struct lunette_error *why, uint64_t us);
    void *user;
};

void
engine_ping_cancel(struct engine_ping *p)
{
    if (p->resolve != NULL)
        loop_resolve_cancel(p->loop, p->resolve);
    if (p->stream != NULL)
        stream_close(p->stream);
    loop_timer_stop(p->loop, &p->limit);
    loop_defer_cancel(&p->next);
    free(p);
}

static void
ping_end(struct engine_ping *p, int err)
{
    void (*done)(void *user, const struct lunette_error *why, uint64_t us) = p->done;
    uint64_t us = (loop_clock(p->loop) - p->began_ns) / NS_PER_US;
    char text[PORTAL_TEXT_MAX];
    void *user = p->user;
    struct lunette_error why;

    if (err < 0)
        (void)lunette_fail(&why, err, err == -ETIMEDOUT ? LUNETTE_DOM_TIMEOUT : LUNETTE_DOM_CONNECT,
                           (uint32_t)-err, "no connection to %s: %s",
                           portal_format(&p->to, text, sizeof(text)), errno_text(err));
    engine_ping_cancel(p);
    done(user, err < 0 ? &why : NULL, us);
}

static void
ping_connected(void *user, int err)
{
    struct engine_ping *p = user;

    if (err == 0) {
        ping_end(p, 0);
        return;
    }
    p->err = err;
    stream_close(p->stream);
    p->stream = NULL;
    loop_defer(p->loop, &p->next);
}

static void
ping_next(struct loop_work *w)
{
    static const struct stream_events events = {.connected = ping_connected};
    static const struct stream_opts opts = {.nodelay = true};
    struct engine_ping *p = container_of(w, struct engine_ping, next);
    int r = p->err;

    while (p->at < p->count) {
        p->began_ns = loop_clock(p->loop);
        r = stream_connect(p->loop, &p->addr[p->at++], &opts, &events, p, &p->stream);
        if (r == 0)
            return;
        p->stream = NULL;
    }
    ping_end(p, r);
}

static void
ping_resolved(void *user, int err, const struct sock_addr *addr, int count)
{
    struct engine_ping *p = user;

    p->resolve = NULL;
    p->err = err;
    p->count = count;
    for (int i = 0; i < count; i++)
        p->addr[i] = addr[i];
    loop_defer(p->loop, &p->next);
}

static void
ping_over(struct loop_timer *t)
{
    ping_end(container_of(t, struct engine_ping, limit), -ETIMEDOUT);
}

int
engine_ping_start(struct loop *l, const struct portal *to,
                  void (*done)(void *user, const struct lunette_error *why, uint64_t us),
                  void *user, struct engine_ping **ret)
{
    struct engine_ping *p = calloc(1, sizeof(*p));
    int r;

    if (p == NULL)
        return -ENOMEM;
    *p = (struct engine_ping){.loop = l, .to = *to, .done = done, .user = user};
    loop_timer_init(&p->limit, ping_over);
    loop_work_init(&p->next, ping_next);
    r = loop_resolve(l, p->to.host, p->to.port, ping_resolved, p, &p->resolve);
    if (r < 0) {
        free(p);
        return r;
    }
    loop_timer_start(l, &p->limit, ENGINE_PING_MS * LOOP_NS_PER_MS);
    *ret = p;
    return 0;
}
