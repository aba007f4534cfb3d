/* SPDX-License-Identifier: MIT */
/* export/nbd/export.c - the export: its listener, its clients, its end. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "export/nbd/internal.h"
#include "export/nbd/nbd.h"

static void
export_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    (void)peer;
    nbd_client_new(user, s);
}

static const struct stream_events listening = {.accepted = export_accepted};

static void
export_free(struct export *e)
{
    bdev_unlisten(&e->events);
    loop_defer_cancel(&e->work);
    loop_timer_stop(e->loop, &e->again);
    if (e->listener != NULL)
        stream_close(e->listener);
    bdev_queue_free(&e->q);
    nbd_memory_trim(&e->memory);
    free(e);
}

static void
export_end(struct export *e)
{
    void (*stopped)(void *user) = e->stopped;
    void *user = e->stopped_user;

    assert(e->nclients == 0 && e->nconns == 0 && bdev_queue_outstanding(e->q) == 0);
    export_free(e);
    stopped(user);
}

static void
export_tell_gone(struct export *e)
{
    struct lunette_error why;

    e->told = true;
    (void)lunette_fail(&why, -ENODEV, LUNETTE_DOM_SCSI, 0,
                       "the device is gone, so that its NBD clients get errors");
    if (e->ev != NULL && e->ev->stopped != NULL)
        e->ev->stopped(e->user, &why);
}

/* Those that are in their handshake do not keep up the end of the export. */
static void
export_cut_handshakes(struct export *e)
{
    LIST_FOREACH (n, &e->clients) {
        if (container_of(n, struct nbd_client, node)->phase != NBD_PHASE_HANDSHAKE)
            return;
    }
    LIST_FOREACH_SAFE (n, &e->clients) {
        struct nbd_client *c = container_of(n, struct nbd_client, node);

        c->broken = true;
        nbd_client_tend(c);
    }
}

/* At the end of a turn: all that it has gathered is dealt with. */
static void
export_work(struct loop_work *w)
{
    struct export *e = container_of(w, struct export, work);
    struct nbd_req *r;
    struct list *n;

    if (e->done.first != NULL)
        e->lacking_ns = e->loop->now_ns;
    while ((r = nbd_list_take(&e->done)) != NULL)
        nbd_req_ended(r);
    while ((n = list_pop_front(&e->dirty)) != NULL)
        nbd_client_tend(container_of(n, struct nbd_client, dirty));
    if (!list_empty(&e->lacking))
        nbd_take_lacking(e);
    if (e->stopped != NULL)
        export_cut_handshakes(e);
    if (e->stopped != NULL && list_empty(&e->clients))
        export_end(e);
    else if (e->gone && !e->told && e->stopped == NULL)
        export_tell_gone(e);
}

static void
export_on_again(struct loop_timer *t)
{
    nbd_take_lacking(container_of(t, struct export, again));
}

static void
export_event(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    struct export *e = container_of(l, struct export, events);

    (void)b;
    if (ev != BDEV_EV_GONE)
        return; /* limits are looked at with each request, and by each handshake */
    e->gone = true;
    loop_defer(e->loop, &e->work);
}

static int
export_listen(struct export *e, const char *where, struct lunette_error *err)
{
    struct sock_addr at;
    int r = sock_addr_local(where, strlen(where), &at, err);

    if (r < 0)
        return r;
    r = stream_listen(e->loop, &at, &listening, e, &e->listener, NULL);
    if (r == -EADDRINUSE)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "%s: somebody listens there, or a file that is no socket is there",
                            where);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s: cannot listen: %s", where,
                            errno_text(r));
    return 0;
}

static int
export_start(struct bdev *b, struct loop *loop, const char *where, bool read_only,
             const struct export_events *ev, void *user, struct export **ret,
             struct lunette_error *err)
{
    struct export *e = calloc(1, sizeof(*e));
    int r;

    if (e == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    e->b = b;
    e->loop = loop;
    e->read_only = read_only;
    e->ev = ev;
    e->user = user;
    list_init(&e->clients);
    list_init(&e->dirty);
    list_init(&e->lacking);
    loop_timer_init(&e->again, export_on_again);
    nbd_list_init(&e->done);
    loop_work_init(&e->work, export_work);
    e->events.event = export_event;
    bdev_listen(b, &e->events);
    r = bdev_queue_new(b, loop, NBD_QUEUE_DEPTH, &e->q);
    if (r < 0)
        (void)lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no queue for %s: %s", where,
                           errno_text(r));
    else
        r = export_listen(e, where, err);
    if (r < 0) {
        export_free(e);
        return r;
    }
    *ret = e;
    return 0;
}

static void
export_stop(struct export *e, void (*done)(void *user), void *user)
{
    assert(e->stopped == NULL && done != NULL);
    e->stopped = done;
    e->stopped_user = user;
    stream_close(e->listener);
    e->listener = NULL;
    LIST_FOREACH (n, &e->clients)
        nbd_client_leave(container_of(n, struct nbd_client, node));
    loop_defer(e->loop, &e->work);
}

static void
export_stats(const struct export *e, struct export_stats *ret)
{
    *ret = e->stats;
    ret->clients = e->nconns;
}

const struct export_ops nbd_export = {
    .name = "nbd", .start = export_start, .stop = export_stop, .stats = export_stats};
