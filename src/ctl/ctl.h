/* SPDX-License-Identifier: MIT */
/* ctl/ctl.h - the control plane's end of one struct ipc.
 *
 * There is one struct ctl for each struct ipc.  It sends requests and calls whoever
 * asked when the reply comes, and it calls the watch of a connection or of an endpoint
 * when an event comes.  All of it runs on the loop's thread.  Callbacks are made when
 * the binding delivers a message, never from inside a call of this header; only
 * ctl_dispatch calls a watch at once.
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

/* Makes a ctl, which sets ipc->ev and handles what comes from ipc until ctl_free.  loop and ipc are
 * borrowed and outlive it.  Returns 0 or -ENOMEM. */
int ctl_new(struct loop *loop, struct ipc *ipc, struct ctl **ret);

/* Frees ctl and sets *ctl to NULL; *ctl may be NULL.  Forgets the requests that were never
 * answered, and destroys the operations (ctl/op.h) whose owners have let go of them while they
 * still tidy up in the data plane.  Operations that have an owner must be freed before.  The
 * binding must not deliver a message after this. */
void ctl_free(struct ctl **ctl);

/* Takes memory so that one more of the requests of ipc_tidies_up (seam/ipc.h) may be under way at a
 * time and is not refused for want of memory.  Whoever makes something in the data plane that it
 * must undo takes this first, and gives it back with ctl_unreserve when nothing is left to undo.
 * Returns 0 or -ENOMEM. */
int ctl_reserve(struct ctl *ctl);
void ctl_unreserve(struct ctl *ctl);

#define CTL_SPARE_SIZE 6144 /* bytes */

/* The memory of one operation that ends what is there, with a reservation of its own, for when
 * there is none.  Returns CTL_SPARE_SIZE bytes of zeroes, aligned for any type, or NULL while
 * another operation has it. */
void *ctl_spare_take(struct ctl *ctl);
/* Gives it back, when nothing is left to undo. */
void ctl_spare_put(struct ctl *ctl, void *mem);
/* Tells whether mem is that memory. */
bool ctl_spare_is(const struct ctl *ctl, const void *mem);

struct loop *ctl_loop(const struct ctl *ctl);
const struct ctl_stats *ctl_get_stats(const struct ctl *ctl);

/* Tells that no reply and no orphaned operation is outstanding, so that ctl_free leaves nothing
 * behind in the data plane. */
bool ctl_idle(const struct ctl *ctl);

/* Sends *ev with data_len bytes of data, which are borrowed for the call.  fn is called once, when
 * the reply comes; rep is borrowed for that call.  Returns 0; or -errno when the message could not
 * be sent, and then fn is not called, and a descriptor in ev is still the caller's. */
int ctl_request(struct ctl *ctl, struct iscsi_uevent *ev, const void *data, uint32_t data_len,
                void (*fn)(void *user, const struct iscsi_reply *rep), void *user);

/* A watch is called for the events of connection (sid, cid) or of a session (SESSION_STATE, LUN,
 * EXPORT_STOPPED), and for each event LOST, since what was lost may have been its own.  It is
 * embedded in its owner. When a connection passes from one owner to another, such as from a login
 * to the session, the new owner adds its watch before the old one removes its own, so that no event
 * is missed: of several watches of one connection only the one that was added last is called. */
#define CTL_NO_CID 0x10000u /* more than 16 bits */
struct ctl_watch {
    struct hnode node;
    struct list all; /* of ctl's watches */
    struct ctl *ctl; /* NULL: it does not watch */
    uint32_t sid;
    uint32_t cid;   /* CTL_NO_CID: it watches the session */
    uint32_t index; /* for an owner that has several watches */
    void (*fn)(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data);
};

void ctl_watch_init(struct ctl_watch *w,
                    void (*fn)(struct ctl_watch *w, const struct iscsi_kevent *ev,
                               const void *data));
/* Starts to watch.  w must not watch already. */
void ctl_watch_add(struct ctl *ctl, struct ctl_watch *w, uint32_t sid, uint16_t cid);
/* Starts to watch the state of session sid, its units and their exports. */
void ctl_watch_add_session(struct ctl *ctl, struct ctl_watch *w, uint32_t sid);
/* Stops.  Does nothing when w does not watch. */
void ctl_watch_del(struct ctl_watch *w);

/* A watch that is called for the EP_EVENT of endpoint ep, embedded in its owner.  An endpoint has
 * at most one.  err is 0 when the endpoint is up, or -errno with which it failed: -ENOBUFS when the
 * event may have been lost. */
struct ctl_ep_watch {
    struct hnode node;
    struct list all; /* of ctl's watches of endpoints */
    struct ctl *ctl; /* NULL: it does not watch */
    uint64_t ep;
    void (*fn)(struct ctl_ep_watch *w, int err);
};

void ctl_ep_watch_init(struct ctl_ep_watch *w, void (*fn)(struct ctl_ep_watch *w, int err));
/* Starts to watch.  w must not watch already. */
void ctl_ep_watch_add(struct ctl *ctl, struct ctl_ep_watch *w, uint64_t ep);
/* Stops.  Does nothing when w does not watch. */
void ctl_ep_watch_del(struct ctl_ep_watch *w);

/* Calls the watch for an event as if the event had just come.  An owner that has kept an event
 * hands it to the next owner in this way. */
void ctl_dispatch(struct ctl *ctl, const struct iscsi_kevent *ev, const void *data);

/* A CHAP challenge that one of our logins has sent and that waits for its response; embedded in the
 * login.  ctl lists them so that another login notices when its target sends the same challenge to
 * us, which an impostor does to have us compute the response (RFC 7143 9.2.1). */
#define CTL_CHALLENGE_LEN 32 /* bytes */
struct ctl_challenge {
    struct list node;
    uint8_t bytes[CTL_CHALLENGE_LEN];
};
void ctl_challenge_add(struct ctl *ctl, struct ctl_challenge *c);
/* Tells whether bytes[0..len), read as a number, is one of our challenges; leading zero bytes are
 * ignored, since a peer may leave them out or add some. */
bool ctl_challenge_is_ours(const struct ctl *ctl, const uint8_t *bytes, size_t len);

/* An object without an owner that still has work to do in the data plane (ctl/op.h).  ctl lists it,
 * so that ctl_free can destroy it. */
struct ctl_orphan {
    struct list node;
    void (*destroy)(struct ctl_orphan *o); /* frees the object and sends no further request */
};
void ctl_adopt(struct ctl *ctl, struct ctl_orphan *o);

#endif
