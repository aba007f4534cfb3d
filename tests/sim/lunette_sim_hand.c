/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_hand.c - how the library keeps a session whose connection is lost. */
#include "tests/sim/lunette_sim.h"

bool
ls_hand_ready(const struct ls_handle *h)
{
    const struct scsi_host *host = dataplane_host(h->w->ctx->dp, h->lun->s->sid);

    return host != NULL && host->state != SCSI_HOST_GONE && !h->timed_out;
}

bool
ls_hand_busy(const struct ls_handle *h)
{
    return h->lun->s->lost && !h->lun->s->gone;
}

static struct ls_handle *
hand_of(struct ls_world *w, const struct lunette_event *ev)
{
    for (uint32_t i = 0; i < w->plan.luns; i++) {
        struct ls_handle *h = &w->handle[i];

        if (h->lun != NULL && lunette_lun_session(h->lun) == ev->session)
            return h;
    }
    return NULL;
}

static void
on_event(void *user, const struct lunette_event *ev)
{
    struct ls_world *w = user;
    struct ls_handle *h = hand_of(w, ev);
    char text[400];

    ls_say(w, "event: %s", lunette_event_text(ev, text, sizeof(text)));
    if (h == NULL)
        return;
    if (ev->type == LUNETTE_EVENT_CONN_LOST) {
        if (w->plan.nfaults == 0 && !w->leaving)
            ls_fail(w, "LUN %u: the connection was lost: %s", h->index, ev->why);
        LS_COUNT(losses, 1);
    } else if (ev->type == LUNETTE_EVENT_RECOVERED) {
        LS_COUNT(reopens, 1);
    } else if (ev->type == LUNETTE_EVENT_TIMED_OUT) {
        h->timed_out = true;
    }
}

void
ls_hand_listen(struct ls_world *w)
{
    (void)lunette_ctx_set_events(w->ctx, on_event, w);
}
