/* SPDX-License-Identifier: MIT */
/* ctl/ctl.h - the control plane's end of one struct ipc.
 *
 * There is one per ipc.  It sends requests and brings each reply back to whoever
 * asked, and brings the events of a connection or of an endpoint to whoever
 * watches it.  All of it runs on the loop's thread; callbacks come from the ipc's turns, never from
 * inside a call of this header.
 */
#ifndef CTL_CTL_H
#define CTL_CTL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/htab.h"
#include "base/list.h"
#include "seam/ipc.h"
#include "seam/loop.h"

struct ctl;

struct ctl_stats {
    uint64_t requests, replies, events;
    uint64_t stray_replies; /* to a request that nobody knows */
    uint64_t stray_events;  /* of a connection or an endpoint that nobody watches */
};

/* Becomes ipc's event handler: ipc->ev is taken over until ctl_free.  loop and ipc outlive it.
 * 0 or -ENOMEM. */
int ctl_new(struct loop *loop, struct ipc *ipc, struct ctl **ret);

/* Ends what ctl still carries: requests that were never answered, and operations (ctl/op.h) whose
 * owners have let go of them while they still tidy up in the data plane.  Operations that have an
 * owner must be freed before.  The ipc must not call back any more after this.  *ctl may be NULL.
 */
void ctl_free(struct ctl **ctl);

struct loop *ctl_loop(const struct ctl *ctl);
const struct ctl_stats *ctl_get_stats(const struct ctl *ctl);

/* Nothing is outstanding, so that ctl_free leaves nothing behind in the data plane. */
bool ctl_idle(const struct ctl *ctl);

/* Sends *ev with data_len bytes of data, which are borrowed for the call.  fn is called once, when
 * the reply comes.  0, or -errno: the message could not be sent, fn is not
 * called, and a descriptor in ev is still the caller's. */
int ctl_request(struct ctl *ctl, struct iscsi_uevent *ev, const void *data, uint32_t data_len,
                void (*fn)(void *user, const struct iscsi_reply *rep), void *user);

/* Events of connection (sid, cid); embedded in its owner.  Of several watches of one connection
 * the one added last is called, so that it may be handed over without a gap. */
struct ctl_watch {
    struct hnode node;
    struct ctl *ctl; /* NULL: it does not watch */
    uint32_t sid;
    uint16_t cid;
    uint32_t index; /* for an owner that has several watches */
    void (*fn)(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data);
};

void ctl_watch_init(struct ctl_watch *w,
                    void (*fn)(struct ctl_watch *w, const struct iscsi_kevent *ev,
                               const void *data));
/* w must not watch already. */
void ctl_watch_add(struct ctl *ctl, struct ctl_watch *w, uint32_t sid, uint16_t cid);
/* Harmless when it does not watch. */
void ctl_watch_del(struct ctl_watch *w);

/* Events of endpoint ep (EP_EVENT); embedded in its owner.  An endpoint has one watch at most. err:
 * 0, the endpoint is up; or -errno. */
struct ctl_ep_watch {
    struct hnode node;
    struct ctl *ctl; /* NULL: it does not watch */
    uint64_t ep;
    void (*fn)(struct ctl_ep_watch *w, int err);
};

void ctl_ep_watch_init(struct ctl_ep_watch *w, void (*fn)(struct ctl_ep_watch *w, int err));
/* w must not watch already. */
void ctl_ep_watch_add(struct ctl *ctl, struct ctl_ep_watch *w, uint64_t ep);
/* Harmless when it does not watch. */
void ctl_ep_watch_del(struct ctl_ep_watch *w);

/* Brings an event to the watch as if it had just come.  So an owner that kept an event hands it to
 * the next one. */
void ctl_dispatch(struct ctl *ctl, const struct iscsi_kevent *ev, const void *data);

/* CHAP challenges of ours that wait for their response, so that one that comes back to us as a
 * challenge of the target is seen (RFC 7143 9.2.1); embedded in their owner. */
#define CTL_CHALLENGE_LEN 32
struct ctl_challenge {
    struct list node;
    uint8_t bytes[CTL_CHALLENGE_LEN];
};
void ctl_challenge_add(struct ctl *ctl, struct ctl_challenge *c);
/* Is this number one of ours?  Leading zeros do not count. */
bool ctl_challenge_is_ours(const struct ctl *ctl, const uint8_t *bytes, size_t len);

/* An object that its owner has let go of but that is not at its end, for ctl_free (see ctl/op.h).
 */
struct ctl_orphan {
    struct list node;
    void (*destroy)(struct ctl_orphan *o); /* frees it without another word to the data plane */
};
void ctl_adopt(struct ctl *ctl, struct ctl_orphan *o);

#endif
