/* SPDX-License-Identifier: MIT */
/* rdma/state.c - what a loop has while it has endpoints. */
#include "rdma/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

static int
open_channel(struct verbs_state *st, void (*events)(void *state), struct lunette_error *err)
{
    int r;

    st->channel = rdma_create_event_channel();
    if (st->channel == NULL)
        return verbs_no_device(err, errno);
    r = fcntl(st->channel->fd, F_SETFL, fcntl(st->channel->fd, F_GETFL) | O_NONBLOCK);
    if (r < 0)
        r = -errno;
    else
        r = loop_watch(st->loop, st->channel->fd, events, st, &st->watch);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "events of RDMA connections cannot be waited for: %s", errno_text(-r));
    return 0;
}

int
verbs_state_get(struct loop *l, void (*events)(void *state), void (*poll)(struct loop_work *w),
                struct verbs_state **ret, struct lunette_error *err)
{
    struct verbs_state *st = l->rnic_state;
    int r;

    if (st != NULL) {
        *ret = st;
        return 0;
    }
    st = calloc(1, sizeof(*st));
    if (st == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    st->loop = l;
    list_init(&st->devices);
    list_init(&st->flushing);
    htab_init(&st->eps);
    loop_work_init(&st->poll, poll);
    l->rnic_state = st;
    verbs_fork_init();
    r = open_channel(st, events, err);
    if (r < 0) {
        verbs_state_rest(st);
        return r;
    }
    *ret = st;
    return 0;
}

void
verbs_state_rest(struct verbs_state *st)
{
    if (st->walking || st->eps.count > 0)
        return;
    loop_defer_cancel(&st->poll);
    if (st->watch != NULL)
        loop_unwatch(st->loop, st->watch);
    if (st->channel != NULL)
        rdma_destroy_event_channel(st->channel);
    htab_fini(&st->eps);
    st->loop->rnic_state = NULL;
    free(st);
}

void
verbs_walk_begin(struct verbs_state *st)
{
    assert(!st->walking);
    st->walking = true;
}

void
verbs_walk_end(struct verbs_state *st)
{
    st->walking = false;
    verbs_state_rest(st);
}

struct verbs_ep *
verbs_find(const struct verbs_state *st, uint32_t serial)
{
    struct hnode *n = htab_find(&st->eps, hash_u64(0, serial));

    for (; n != NULL; n = htab_next(n)) {
        struct verbs_ep *ep = container_of(n, struct verbs_ep, node);

        if (ep->serial == serial)
            return ep;
    }
    return NULL;
}

void
verbs_tell_end(struct verbs_ep *ep, int err, const char *why)
{
    loop_timer_stop(ep->pub.loop, &ep->limit);
    if (ep->over)
        return;
    ep->over = true;
    ep->ev->ended(ep->user, err, why);
}
