/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_handle.c - the LUNs that a world opens, and opens again where a user would.
 */
#include <stdio.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"

#define TRIES_MAX     200u
#define OPEN_AGAIN_NS (300 * LOOP_NS_PER_MS)

static void
make_url(struct ls_world *w, struct ls_handle *h)
{
    char portal[64];

    (void)snprintf(h->url, sizeof(h->url), "iscsi://%s%s/" LS_NODE "/%u%s%s",
                   w->plan.chap ? "initiator%a-secret-of-ours@" : "",
                   sock_addr_format(&w->portal[0], portal, sizeof(portal)), h->index,
                   w->plan.options,
                   w->plan.chap ? "&target_user=target&target_password=another-secret-1" : "");
}

void
ls_handles_init(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct ls_handle *h = &w->handle[i];

        h->w = w;
        h->index = i;
        make_url(w, h);
    }
}

static void
opened(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct ls_handle *h = user;
    struct ls_world *w = h->w;

    h->op = NULL;
    h->lun = lun;
    h->again_ns = sim_now_ns(w->sim) + OPEN_AGAIN_NS;
    ls_say(w, "LUN %u %s%s", h->index,
           lun != NULL ? "is open" : "does not open: ", lun != NULL ? "" : err->msg);
    if (lun == NULL && (err->code >= 0 || err->msg[0] == '\0'))
        ls_fail(w, "LUN %u does not open, and nothing says why", h->index);
    if (lun == NULL && w->plan.nfaults == 0)
        ls_fail(w, "LUN %u does not open: %s", h->index, err->msg);
    if (lun != NULL)
        LS_COUNT(opens, 1);
}

static void
open_again(struct ls_world *w, struct ls_handle *h)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (h->tries++ > TRIES_MAX)
        ls_fail(w, "LUN %u never opens", h->index);
    h->again_ns = sim_now_ns(w->sim) + OPEN_AGAIN_NS;
    if (lunette_open_start(w->ctx, h->url, 0, opened, h, &h->op, &err) < 0 && !w->lossy)
        ls_fail(w, "LUN %u cannot be opened: %s", h->index, err.msg);
}

static void
free_queues(struct ls_handle *h)
{
    for (int k = 0; k < LS_QUEUES_MAX; k++) {
        lunette_queue_free(h->q[k]);
        h->q[k] = NULL;
    }
}

/* In a callback nothing of this could be done where it fails. */
static void
make_queues(struct ls_world *w, struct ls_handle *h)
{
    struct lunette_error err = LUNETTE_INIT(err);

    for (uint32_t k = 0; k < w->plan.queues; k++) {
        if (lunette_queue_new(h->lun, w->plan.depth, &h->q[k], &err) == 0) {
            (void)lunette_queue_set_timeout(h->q[k], w->plan.limit_ms);
            continue;
        }
        if (!w->lossy)
            ls_fail(w, "no queue: %s", err.msg);
        free_queues(h);
        return;
    }
}

void
ls_handles_free_queues(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++)
        free_queues(&w->handle[i]);
}

static bool
is_idle(const struct ls_handle *h)
{
    for (int k = 0; k < LS_QUEUES_MAX; k++) {
        if (h->q[k] != NULL && lunette_queue_inflight(h->q[k]) > 0)
            return false;
    }
    return true;
}

static void
closed(void *user)
{
    struct ls_handle *h = user;

    h->closing = h->gone = h->lost = false;
    h->failures = 0;
    h->lun = NULL;
    ls_say(h->w, "LUN %u is closed", h->index);
}

static void
start_close(struct ls_handle *h)
{
    struct lunette_lun *lun = h->lun;

    free_queues(h);
    h->closing = true;
    h->lun = NULL;
    lunette_close_start(lun, closed, h);
}

/* What a user does about a session that has ended for good. */
static void
look_at(struct ls_world *w, struct ls_handle *h)
{
    bool later = sim_now_ns(w->sim) < h->again_ns;

    if (h->op != NULL || h->closing || later)
        return;
    if (h->lun == NULL && w->swaps == 0) /* nobody wants somebody else's disk */
        open_again(w, h);
    else if (h->lun == NULL)
        return;
    else if (h->q[0] == NULL)
        make_queues(w, h);
    else if (h->gone && is_idle(h))
        start_close(h);
}

void
ls_handles_look(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns && !w->leaving; i++)
        look_at(w, &w->handle[i]);
}

bool
ls_handles_up(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        const struct ls_handle *h = &w->handle[i];

        if (h->lun == NULL || h->closing || h->q[0] == NULL || h->gone || h->lost)
            return false;
    }
    return true;
}

void
ls_handles_cancel(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        lunette_open_cancel(w->handle[i].op);
        w->handle[i].op = NULL;
    }
}

static bool
all_closed(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->handle[i].lun != NULL || w->handle[i].closing || w->handle[i].op != NULL)
            return false;
    }
    return true;
}

void
ls_handles_close(struct ls_world *w)
{
    w->leaving = true;
    for (uint32_t i = 0; i < w->plan.luns; i++)
        start_close(&w->handle[i]);
    if (!ls_world_until(w, all_closed, 60000))
        ls_fail(w, "a LUN never closes");
}
