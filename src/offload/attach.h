/* SPDX-License-Identifier: MIT */
/* offload/attach.h - the attachments of a loop (offload/types.h). */
#ifndef OFFLOAD_ATTACH_H
#define OFFLOAD_ATTACH_H

#include "offload/types.h"

void offload_adapter_init(struct offload_adapter *ad, struct loop *l);
/* No user is left. */
void offload_adapter_fini(struct offload_adapter *ad);

/* Has u, whose callbacks are set, use the attachment, which is made where there is none.  Either
 * attached or failed comes, later.  0, or -ENOMEM with *err. */
int offload_join(struct offload_adapter *ad, const struct offload_options *o, uint32_t index,
                 struct offload_user *u, struct lunette_error *err);
/* u has no slot in use and no call that waits.  Harmless where it uses none. */
void offload_leave(struct offload_user *u);

/* Sends a request.  c->done comes with its answer, unless the attachment is lost before.  Where it
 * cannot be sent, the attachment is lost, and failed comes from inside. */
void offload_ask(struct offload_attach *at, struct iscsi_uevent *ev, struct offload_call *c,
                 uint32_t limit_ms);

/* The engine has done what it must not, or does nothing: nothing more is taken from it. */
void offload_lost(struct offload_attach *at, int err, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Something is with the engine now: its beat is watched. */
static inline void
offload_watch_beat(struct offload_attach *at)
{
    if (__builtin_expect(!loop_timer_running(&at->pulse), 0)) {
        at->beat_ns = at->loop->now_ns;
        loop_timer_start(at->loop, &at->pulse, OFFLOAD_BEAT_MS * LOOP_NS_PER_MS);
    }
}

#endif
