/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_handle.c - the sessions and LUNs that a world opens, and opens again where
 * a user would.  Each LUN has a session of its own, made by lunette_open, or all share one.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"

#define TRIES_MAX     300u
#define OPEN_AGAIN_NS (300 * LOOP_NS_PER_MS)

static void
make_url(struct ls_world *w, struct ls_session *se)
{
    char portal[64], lun[16] = "", isid[24] = "";

    if (!w->plan.shared)
        (void)snprintf(lun, sizeof(lun), "/%u", se->index);
    if (w->plan.reserves) /* for the port of the next opening to be the same */
        (void)snprintf(isid, sizeof(isid), "&isid=80000000000%u", se->index);
    (void)snprintf(se->url, sizeof(se->url), "iscsi://%s%s/" LS_NODE "%s%s%s%s",
                   w->plan.chap ? "initiator%a-secret-of-ours@" : "",
                   sock_addr_format(&w->portal[w->moved], portal, sizeof(portal)), lun,
                   w->plan.options, isid,
                   w->plan.chap ? "&target_user=target&target_password=another-secret-1" : "");
}

void
ls_handles_init(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        w->session[i] = (struct ls_session){.w = w, .index = i};
        w->handle[i].w = w;
        w->handle[i].index = i;
        w->handle[i].se = &w->session[w->plan.shared ? 0 : i];
    }
}

/* ---- opening -------------------------------------------------------------------------------- */

/* How a session is, where no event has said so. */
void
ls_session_ask(struct ls_session *se)
{
    struct lunette_session_info info = LUNETTE_INIT(info);

    if (lunette_session_get_info(se->s, &info) < 0)
        ls_fail(se->w, "session %u: nothing is known of it", se->index);
    se->attempt = info.attempt;
    se->lost = info.state != LUNETTE_SESSION_LOGGED_IN;
    se->failed = info.state == LUNETTE_SESSION_FAILED;
    se->gone = info.state == LUNETTE_SESSION_GONE;
    se->reopens = info.reopens;
}

bool
ls_session_runs(const struct ls_session *se)
{
    const struct scsi_host *host = dataplane_host(se->w->ctx->dp, se->sid);

    return host != NULL && host->state == SCSI_HOST_RUNNING;
}

void
ls_session_new_nexus(struct ls_session *se)
{
    for (uint32_t i = 0; i < se->w->plan.luns; i++) {
        if (se->w->handle[i].se == se)
            ls_model_new_nexus(se->w->model[i]);
    }
}

/* It may have lost its connection before it is ours. */
static void
session_is_open(struct ls_session *se, struct lunette_session *s)
{
    struct ls_world *w = se->w;

    se->s = s;
    se->sid = s->sid;
    ls_session_ask(se);
    se->replacement_s = se->least_s = se->most_s = w->plan.replacement_s;
    ls_session_new_nexus(se);
    if (!ls_session_runs(se)) {
        se->blocked_ns = ls_clock_ns(w);
        se->blocked_at_ns = se->opening_ns; /* it was lost at some time since then */
    }
    LS_COUNT(opens, 1);
}

static void
check_refusal(struct ls_world *w, const struct lunette_error *err, const char *what, uint32_t index)
{
    if (err->code >= 0 || err->msg[0] == '\0')
        ls_fail(w, "%s %u does not open, and nothing says why", what, index);
    if (w->plan.nfaults == 0 && !w->plan.restless)
        ls_fail(w, "%s %u does not open: %s", what, index, err->msg);
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
    if (lun == NULL)
        check_refusal(w, err, "LUN", h->index);
    else if (!w->plan.shared)
        session_is_open(h->se, lunette_lun_session(lun));
    else if (lunette_lun_session(lun) != h->se->s)
        ls_fail(w, "LUN %u is not in the session that it was opened in", h->index);
}

static void
session_opened(void *user, struct lunette_session *s, const struct lunette_error *err)
{
    struct ls_session *se = user;
    struct ls_world *w = se->w;

    se->op = NULL;
    se->again_ns = sim_now_ns(w->sim) + OPEN_AGAIN_NS;
    ls_say(w, "the session %s%s",
           s != NULL ? "is open" : "does not open: ", s != NULL ? "" : err->msg);
    if (s == NULL)
        check_refusal(w, err, "session", se->index);
    else
        session_is_open(se, s);
}

static void
open_again(struct ls_world *w, struct ls_handle *h)
{
    struct lunette_error err = LUNETTE_INIT(err);
    int r;

    if (h->tries++ > TRIES_MAX)
        ls_fail(w, "LUN %u never opens", h->index);
    h->again_ns = sim_now_ns(w->sim) + OPEN_AGAIN_NS;
    make_url(w, h->se);
    if (!w->plan.shared)
        h->se->opening_ns = sim_now_ns(w->sim);
    if (w->plan.shared)
        r = lunette_session_lun_start(h->se->s, h->index, 0, opened, h, &h->op, &err);
    else
        r = lunette_open_start(w->ctx, h->se->url, 0, opened, h, &h->op, &err);
    if (r == -EBUSY && w->plan.shared)
        return; /* an opening that was given up has not ended yet */
    if (r < 0 && !w->lossy)
        ls_fail(w, "LUN %u cannot be opened: %s", h->index, err.msg);
}

static void
open_session_again(struct ls_world *w, struct ls_session *se)
{
    struct lunette_error err = LUNETTE_INIT(err);

    if (se->tries++ > TRIES_MAX)
        ls_fail(w, "the session never opens");
    se->opening_ns = sim_now_ns(w->sim);
    se->again_ns = se->opening_ns + OPEN_AGAIN_NS;
    make_url(w, se);
    if (lunette_session_open_start(w->ctx, se->url, 0, session_opened, se, &se->op, &err) < 0 &&
        !w->lossy)
        ls_fail(w, "the session cannot be opened: %s", err.msg);
}

/* ---- queues --------------------------------------------------------------------------------- */

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

/* ---- closing -------------------------------------------------------------------------------- */

static void
closed(void *user)
{
    struct ls_handle *h = user;

    h->closing = false;
    ls_say(h->w, "LUN %u is closed", h->index);
}

static void
session_closed(void *user)
{
    struct ls_session *se = user;

    se->closing = false;
    ls_say(se->w, "the session is closed");
}

/* What the network has of a session that is lost nobody ends: the next one is another nexus. */
static void
leave_adrift(struct ls_session *se)
{
    struct ls_world *w = se->w;

    if (ls_session_runs(se) || ls_world_orphans(w) == 0)
        return;
    w->adrift = true;
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->handle[i].se == se)
            ls_model_adrift(w->model[i]);
    }
}

/* Nothing is told of it any more. */
static void
session_is_left(struct ls_session *se)
{
    leave_adrift(se);
    se->s = NULL;
    se->gone = se->lost = se->failed = se->want_close = false;
    se->blocked_ns = se->gone_ns = se->failing_ns = 0;
    se->attempt = 0;
}

static void
start_close(struct ls_handle *h)
{
    struct lunette_lun *lun = h->lun;

    free_queues(h);
    h->closing = true;
    h->gone = h->want_close = false;
    h->asked_ns = 0;
    h->lun = NULL;
    if (!h->w->plan.shared)
        session_is_left(h->se);
    lunette_close_start(lun, closed, h);
}

static void
start_session_close(struct ls_session *se)
{
    struct lunette_session *s = se->s;

    ls_say(se->w, "user: closes the session");
    session_is_left(se);
    se->closing = true;
    lunette_session_close_start(s, session_closed, se);
}

/* Whether the program is going to close it, or what it stands on. */
bool
ls_handle_leaves(const struct ls_handle *h)
{
    return h->gone || h->want_close || h->se->gone || h->se->want_close;
}

/* ---- what a user does ----------------------------------------------------------------------- */

/* A session that has not heard that the target has moved finds nobody where it was. */
static bool
is_left_behind(const struct ls_world *w, const struct ls_session *se)
{
    struct login_config cfg;
    char portal[64];
    bool behind;

    if (!w->moved || !se->lost || se->gone || se->s == NULL)
        return false;
    reopen_get_config(se->s->reopen, &cfg);
    (void)snprintf(portal, sizeof(portal), "%s:%u", cfg.portal.host, (unsigned)cfg.portal.port);
    login_config_wipe(&cfg);
    behind = strcmp(portal, "10.0.0.1:3260") == 0;
    return behind;
}

static void
look_at(struct ls_world *w, struct ls_handle *h)
{
    bool later = sim_now_ns(w->sim) < h->again_ns;

    if (h->op != NULL || h->closing || later)
        return;
    if (h->lun == NULL && w->swaps == 0 && /* nobody wants somebody else's disk */
        (!w->plan.shared || (h->se->s != NULL && !h->se->gone && !h->se->want_close)))
        open_again(w, h);
    else if (h->lun == NULL)
        return;
    else if (ls_handle_leaves(h) && is_idle(h))
        start_close(h);
    else if (h->q[0] == NULL && !ls_handle_leaves(h))
        make_queues(w, h);
}

/* A session that LUNs share is closed when they are, or when their closing has begun. */
static void
look_at_session(struct ls_world *w, struct ls_session *se)
{
    if (se->op != NULL || se->closing || sim_now_ns(w->sim) < se->again_ns)
        return;
    if (se->s == NULL) {
        if (w->swaps == 0)
            open_session_again(w, se);
        return;
    }
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->handle[i].lun != NULL || w->handle[i].op != NULL)
            return;
    }
    if (se->gone || se->want_close)
        start_session_close(se);
}

void
ls_handles_look(struct ls_world *w)
{
    if (ls_ctl_is_away(w))
        return; /* who would log in or out? */
    for (uint32_t i = 0; i < w->plan.luns && !w->leaving; i++) {
        w->session[i].want_close |= is_left_behind(w, &w->session[i]);
        look_at(w, &w->handle[i]);
    }
    if (w->plan.shared && !w->leaving)
        look_at_session(w, &w->session[0]);
}

uint64_t
ls_handle_size(const struct ls_handle *h)
{
    struct lunette_info info = LUNETTE_INIT(info);

    return lunette_get_info(h->lun, &info) < 0 ? 0 : info.size;
}

bool
ls_handles_up(struct ls_world *w)
{
    if (ls_ctl_is_away(w))
        return false;
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        const struct ls_handle *h = &w->handle[i];

        if (h->lun == NULL || h->closing || h->q[0] == NULL || ls_handle_leaves(h) || h->se->lost)
            return false;
    }
    return true;
}

void
ls_handle_cancel(struct ls_handle *h)
{
    lunette_open_cancel(h->op);
    h->op = NULL;
}

void
ls_handles_cancel(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        ls_handle_cancel(&w->handle[i]);
        lunette_open_cancel(w->session[i].op);
        w->session[i].op = NULL;
    }
}

static bool
all_closed(struct ls_world *w)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        if (w->handle[i].lun != NULL || w->handle[i].closing || w->handle[i].op != NULL ||
            w->session[i].s != NULL || w->session[i].closing || w->session[i].op != NULL)
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
    if (w->plan.shared)
        start_session_close(&w->session[0]);
    if (!ls_world_until(w, all_closed, 60000))
        ls_fail(w, "a LUN never closes");
}
