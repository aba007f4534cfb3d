/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_hand.c - logs a session in again when its connection is lost, as a control
 * plane does. */
#include <string.h>

#include "tests/sim/lunette_sim.h"
#include "tests/support/steady_alloc.h"

#define AGAIN_MS 100
#define EARLY_NS (3 * LOOP_NS_PER_S)

struct ls_hand {
    struct ls_handle *h;
    uint64_t since_ns;
    struct api_url url;
    struct ctl_watch watch;
    struct iscsi_login *login;
    struct loop_timer again;
    bool lost, ready, early; /* early: lost before it was told to wait */
};

static void log_in(struct ls_hand *hand);

static void
again_timer(struct loop_timer *t)
{
    log_in(container_of(t, struct ls_hand, again));
}

static void
logged_in(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct ls_hand *hand = user;
    struct ls_world *w = hand->h->w;

    login_free(&hand->login);
    if (res == NULL) {
        ls_say(w, "LUN %u: not logged in again: %s", hand->h->index, err->msg);
        loop_timer_start(w->loop, &hand->again, AGAIN_MS * LOOP_NS_PER_MS);
        return;
    }
    hand->lost = false;
    LS_COUNT(reopens, 1);
    ls_say(w, "LUN %u: logged in again", hand->h->index);
}

static void
log_in(struct ls_hand *hand)
{
    struct login_callbacks cb = {logged_in, hand};
    struct ls_world *w = hand->h->w;
    struct lunette_error err = LUNETTE_INIT(err);

    if (login_start(w->ctx->ctl, &hand->url.cfg, &cb, &hand->login, &err) == 0)
        return;
    if (!w->lossy)
        ls_fail(w, "no login: %s", err.msg);
    loop_timer_start(w->loop, &hand->again, AGAIN_MS * LOOP_NS_PER_MS);
}

static void
lost(struct ls_hand *hand, const char *why)
{
    struct ls_world *w = hand->h->w;

    if (hand->lost) /* of an attempt that has failed */
        return;
    if (w->plan.nfaults == 0 && !w->leaving)
        ls_fail(w, "LUN %u: the connection was lost: %s", hand->h->index, why);
    ls_say(w, "LUN %u: connection lost: %s", hand->h->index, why);
    LS_COUNT(losses, 1);
    hand->lost = true;
    hand->early |= !hand->ready || sim_now_ns(w->sim) - hand->since_ns < EARLY_NS;
    log_in(hand);
}

static void
on_event(struct ctl_watch *watch, const struct iscsi_kevent *ev, const void *data)
{
    struct ls_hand *hand = container_of(watch, struct ls_hand, watch);
    const struct lunette_session *s = hand->h->lun->s;

    (void)data;
    if (ev->type == ISCSI_KEVENT_CONN_ERROR)
        lost(hand, ev->u.conn_error.why.msg);
    else if (ev->type == ISCSI_KEVENT_LOST && !hand->lost &&
             dataplane_conn_is_down(hand->h->w->ctx->dp, s->sid, s->cid))
        lost(hand, "events were lost");
}

static void
param_is_set(void *user, const struct iscsi_reply *rep)
{
    struct ls_handle *h = user;

    if (h->hand != NULL)
        h->hand->ready = rep->err == 0;
}

void
ls_hand_watch(struct ls_handle *h)
{
    struct ls_world *w = h->w;
    struct lunette_session *s = h->lun->s;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = s->sid, .cid = s->cid};
    struct ls_hand *hand = steady_calloc(1, sizeof(*hand));
    struct lunette_error err = LUNETTE_INIT(err);

    hand->h = h;
    hand->since_ns = sim_now_ns(w->sim);
    h->hand = hand;
    ls_memory_pause(true);
    if (api_url_of(w->ctx, h->url, false, &hand->url, &err) < 0)
        ls_fail(w, "URL: %s", err.msg);
    ls_memory_pause(false);
    memcpy(hand->url.cfg.isid, s->isid, sizeof(s->isid));
    hand->url.cfg.kind = LOGIN_REOPEN;
    hand->url.cfg.sid = s->sid;
    hand->url.cfg.cid = s->cid;
    hand->url.cfg.replacement_timeout_s = 200;
    loop_timer_init(&hand->again, again_timer);
    ctl_watch_init(&hand->watch, on_event);
    if (s->dead)
        return;
    ctl_watch_add(w->ctx->ctl, &hand->watch, s->sid, s->cid);
    ev.u.set_param.param = ISCSI_PARAM_RECOVERY_TMO;
    strcpy(ev.u.set_param.value, "200");
    if (ctl_request(w->ctx->ctl, &ev, NULL, 0, param_is_set, h) < 0 && !w->lossy)
        ls_fail(w, "a request could not be sent");
}

void
ls_hand_drop(struct ls_handle *h)
{
    struct ls_hand *hand = h->hand;

    if (hand == NULL)
        return;
    h->hand = NULL;
    login_free(&hand->login);
    loop_timer_stop(h->w->loop, &hand->again);
    ctl_watch_del(&hand->watch);
    url_wipe(&hand->url);
    steady_free(hand);
}

bool
ls_hand_ready(const struct ls_handle *h)
{
    const struct scsi_host *host = dataplane_host(h->w->ctx->dp, h->lun->s->sid);

    if (host == NULL || host->state == SCSI_HOST_GONE)
        return false; /* it was lost before it was told to wait */
    return h->hand != NULL && h->hand->ready && !h->hand->early &&
           sim_now_ns(h->w->sim) - h->hand->since_ns >= EARLY_NS;
}

bool
ls_hand_busy(const struct ls_handle *h)
{
    return h->hand != NULL && h->hand->lost;
}
