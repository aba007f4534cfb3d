/* SPDX-License-Identifier: MIT */
/* engine/share.c - whose command is next. */
#include "engine/share.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

/* What is kept for sharers that have nothing at the host.  No more than half of its tasks, since
 * clients that only sit there must not slow down the one that works. */
static uint32_t
share_kept(const struct engine_share *sh, const struct engine_sharer *s)
{
    uint32_t others = sh->idle - (s->outstanding == 0 ? 1 : 0), half = sh->host->can_queue / 2;

    return others < half ? others : half;
}

static bool
share_may_take(const struct engine_share *sh, const struct engine_sharer *s)
{
    uint32_t room = sh->host->can_queue;

    if (sh->refused || sh->outstanding >= room || (s->behind && sh->leaving > 0))
        return false;
    return s->outstanding == 0 || room - sh->outstanding > share_kept(sh, s);
}

/* Returns 0 or -EBUSY. */
static int
share_give(struct engine_share *sh, struct engine_sharer *s, struct engine_item *it)
{
    int r = sh->host->ops->queuecommand(sh->host, &it->sc);

    if (r < 0) {
        sh->refused = true;
        return r;
    }
    s->behind = false;
    if (s->outstanding++ == 0)
        sh->idle--;
    sh->outstanding++;
    sh->given = true;
    return 0;
}

/* One command of the first sharer in turn; false: it may give none. */
static bool
share_serve_first(struct engine_share *sh)
{
    struct engine_sharer *s =
        container_of(list_pop_front(&sh->waiting), struct engine_sharer, node);
    bool served = false;

    if (share_may_take(sh, s)) {
        struct engine_item *it = container_of(s->queue.next, struct engine_item, node);

        list_del(&it->node);
        served = share_give(sh, s, it) == 0;
        if (!served)
            list_push_front(&s->queue, &it->node);
    }
    if (list_empty(&s->queue))
        return served;
    if (sh->refused) /* it stays the next one */
        list_push_front(&sh->waiting, &s->node);
    else
        list_push_back(&sh->waiting, &s->node);
    return served;
}

/* Ends when a whole round has given nothing. */
static void
share_serve(struct engine_share *sh)
{
    uint32_t idle_turns = 0;

    while (!list_empty(&sh->waiting) && !sh->refused && idle_turns < sh->sharers) {
        if (share_serve_first(sh))
            idle_turns = 0;
        else
            idle_turns++;
    }
}

static void
share_work(struct loop_work *w)
{
    struct engine_share *sh = container_of(w, struct engine_share, work);

    share_serve(sh);
    if (!sh->given)
        return;
    sh->given = false;
    sh->host->ops->commit(sh->host);
}

void
engine_sharer_init(struct engine_sharer *s)
{
    *s = (struct engine_sharer){.share = NULL};
    list_init(&s->node);
    list_init(&s->queue);
}

static struct engine_share *
share_find(struct list *shares, const void *key)
{
    LIST_FOREACH (n, shares) {
        struct engine_share *sh = container_of(n, struct engine_share, node);

        if (sh->key == key)
            return sh;
    }
    return NULL;
}

int
engine_share_join(struct list *shares, struct loop *l, const void *key, struct engine_sharer *s)
{
    struct engine_share *sh = share_find(shares, key);

    assert(s->share == NULL);
    if (sh == NULL) {
        sh = calloc(1, sizeof(*sh));
        if (sh == NULL)
            return -ENOMEM;
        sh->key = key;
        sh->loop = l;
        list_init(&sh->waiting);
        loop_work_init(&sh->work, share_work);
        list_push_back(shares, &sh->node);
    }
    sh->sharers++;
    sh->idle++;
    s->share = sh;
    s->behind = sh->leaving > 0;
    return 0;
}

void
engine_share_leaving(struct engine_sharer *s, bool leaving)
{
    struct engine_share *sh = s->share;

    if (sh == NULL || s->leaving == leaving)
        return;
    s->leaving = leaving;
    if (leaving)
        sh->leaving++;
    else if (--sh->leaving == 0)
        loop_defer(sh->loop, &sh->work);
}

void
engine_share_leave(struct engine_sharer *s)
{
    struct engine_share *sh = s->share;

    assert(sh != NULL && s->outstanding == 0 && list_empty(&s->queue));
    engine_share_leaving(s, false);
    s->share = NULL;
    sh->sharers--;
    sh->idle--;
    if (sh->sharers > 0) {
        loop_defer(sh->loop, &sh->work); /* a task is not kept any more */
        return;
    }
    assert(sh->outstanding == 0);
    loop_defer_cancel(&sh->work);
    list_del(&sh->node);
    free(sh);
}

void
engine_share_submit(struct engine_sharer *s, struct engine_item *it)
{
    struct engine_share *sh = s->share;

    assert(sh != NULL && sh->host != NULL);
    loop_defer(sh->loop, &sh->work);
    if (list_empty(&sh->waiting) && share_may_take(sh, s) && share_give(sh, s, it) == 0)
        return;
    if (list_empty(&s->queue))
        list_push_back(&sh->waiting, &s->node);
    list_push_back(&s->queue, &it->node);
}

void
engine_share_take_back(struct engine_sharer *s, struct engine_item *it)
{
    list_del(&it->node);
    if (list_empty(&s->queue))
        list_del(&s->node);
}

void
engine_share_ended(struct engine_sharer *s)
{
    struct engine_share *sh = s->share;

    assert(s->outstanding > 0 && sh->outstanding > 0);
    if (--s->outstanding == 0)
        sh->idle++;
    sh->outstanding--;
    if (list_empty(&sh->waiting))
        return;
    sh->refused = false; /* a task is free, whatever the window says */
    loop_defer(sh->loop, &sh->work);
}

void
engine_share_restart(struct engine_share *sh)
{
    sh->refused = false;
    if (!list_empty(&sh->waiting))
        loop_defer(sh->loop, &sh->work);
}
