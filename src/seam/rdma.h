/* SPDX-License-Identifier: MIT */
/* seam/rdma.h - RDMA as iSER needs it (RFC 7145): reliable connections, Send messages, and memory
 * that the peer may read or write by itself.
 *
 * Whoever makes a loop may give it an implementation (loop->rnic): rdma/ has one on libibverbs and
 * librdmacm, tests/sim one on virtual time.  An RNIC is an RDMA-capable network interface
 * (RFC 5040).  Names begin with rnic_, since rdma_ and ibv_ are those libraries' own.
 *
 * Everything runs on the loop's thread, callbacks are made by loop_run() only, and no call waits
 * for the peer.  Functions that can fail return -errno; those with an err describe the failure
 * there for a person, and err may be NULL.
 *
 * The life of a connection:
 *
 *   initiator   rnic_resolve -> resolved: memory is registered, receives are posted
 *               rnic_connect -> established, or ended
 *   target      rnic_listen  -> requested: the same, then rnic_accept -> established, or ended
 *   both        completions, until ended or rnic_disconnect; then all that is posted comes back,
 *               flushed; then rnic_close
 *
 * What is posted to one connection begins in the order of posting, and completes in it: sends among
 * themselves, receives among themselves.
 */
#ifndef SEAM_RDMA_H
#define SEAM_RDMA_H

#include <assert.h>
#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "seam/loop.h"

/* Bytes of private data in a connect request that any fabric carries. */
#define RNIC_PRIVATE_MAX 56
#define RNIC_SGE_MAX     2  /* pieces of memory of one work request */
#define RNIC_DEVICE_MAX  63 /* bytes of a device's name, without the NUL */

/* Memory of a connection that the device may use.  The keys are the implementation's to choose; an
 * rkey is an STag of RFC 7145, by which the peer names the memory. */
struct rnic_mr {
    uint32_t lkey, rkey;
};

/* A memory window of type 2: after it is bound, its rkey opens a part of one region to the peer,
 * until it is invalidated.  Each bind gives it another rkey: see rnic_next_rkey. */
struct rnic_mw {
    uint32_t rkey; /* of the last bind that was posted */
};

enum rnic_access { /* of the peer, or of windows, to a region; the device itself may always write */
                   RNIC_PEER_READS = 1 << 0,
                   RNIC_PEER_WRITES = 1 << 1,
                   RNIC_WINDOWS = 1 << 2, /* windows may be bound to the region */
};

/* What the device of a connection can do; known from `resolved` or `requested` on. */
struct rnic_caps {
    bool windows;                     /* memory windows of type 2 */
    uint32_t max_windows;             /* of all connections on the device */
    uint64_t max_region;              /* bytes of one */
    uint32_t sends, recvs;            /* the queues of this connection: struct rnic_depth */
    char device[RNIC_DEVICE_MAX + 1]; /* its name, for a person */
};

struct rnic_sge {
    void *addr; /* in the region of lkey */
    uint32_t len, lkey;
};

enum rnic_op {
    RNIC_SEND,       /* a message, into the peer's next receive; with invalidate != 0 it also
                        invalidates that rkey of the peer's */
    RNIC_WRITE,      /* into the peer's memory */
    RNIC_READ,       /* out of the peer's memory */
    RNIC_BIND,       /* binds a window that is not bound */
    RNIC_INVALIDATE, /* ends a window's bind: `invalidate` is its rkey */
};

/* A work request of the send queue. */
struct rnic_wr {
    uint64_t id; /* the owner's; it comes back in the completion */
    enum rnic_op op;
    bool quiet; /* completes only where it fails: of one that was done nothing is heard, at the end
                   of a connection either.  It holds its place in the queue until a later one that
                   is not quiet completes, so that one in a few is not */
    uint8_t nsge; /* SEND, WRITE, READ: 1..RNIC_SGE_MAX */
    struct rnic_sge sge[RNIC_SGE_MAX];
    uint64_t remote_addr; /* WRITE, READ */
    uint32_t rkey;        /* WRITE, READ: the peer's */
    uint32_t invalidate;  /* SEND (0: none), INVALIDATE */
    struct {
        struct rnic_mw *mw; /* gets rnic_next_rkey of its rkey, by the call that posts it */
        const struct rnic_mr *mr;
        void *addr;
        uint64_t len;
        unsigned access; /* RNIC_PEER_READS, RNIC_PEER_WRITES */
    } bind;
};

/* A receive: one piece of memory for one message. */
struct rnic_recv {
    uint64_t id;
    struct rnic_sge sge;
};

enum rnic_status {
    RNIC_OK,
    RNIC_FLUSHED,       /* not done: the connection has ended */
    RNIC_TOO_LONG,      /* a message is longer than the receive that it came into */
    RNIC_LOCAL_ERROR,   /* memory, key or request of ours is wrong, or the peer has invalidated what
                           it may not */
    RNIC_REMOTE_ACCESS, /* the peer's memory is not open to this */
    RNIC_REMOTE_ERROR,  /* the peer could not take it: its receive was too short, say */
    RNIC_NO_ANSWER,     /* the peer, or the way to it, is gone */
    RNIC_STATUS_COUNT,
};

/* A completion.  Any status but RNIC_OK means that the connection is of no more use: whoever gets
 * it calls rnic_disconnect, unless it has. */
struct rnic_wc {
    uint64_t id;
    enum rnic_status status;
    bool recv;
    uint32_t len;         /* of a message that was received, bytes */
    uint32_t invalidated; /* the rkey of ours that it has invalidated; 0: none */
};

struct rnic_ep;

/* What the owner of a connection or listener is told.  The owner may call rnic_close inside any of
 * them.  A listener has `requested` and `ended`, a connection the others; resolved may be NULL on a
 * connection that a listener has made. */
struct rnic_events {
    /* The route to the peer and with it the device are known, and rnic_caps tells what it can do.
     */
    void (*resolved)(void *user);
    /* The connection is up; no completion comes before this.  private_data is the peer's, borrowed
     * for the call; its length is what the fabric carried, which may be more than the peer gave,
     * with zeroes. */
    void (*established)(void *user, const void *private_data, size_t len);
    /* It did not come up, the peer has left, or the device is gone: err is -errno, why a sentence,
     * borrowed for the call.  Once at most, and not after rnic_disconnect.  Of a peer that has left
     * it may come late or never: a completion that is not RNIC_OK may be the only sign.  What was
     * done before may complete after it; the rest of what is posted comes back only after
     * rnic_disconnect.  -ECONNREFUSED: nobody listens, or the listener refused; -ETIMEDOUT,
     * -EHOSTUNREACH: nobody has the address. */
    void (*ended)(void *user, int err, const char *why);
    /* On a listener, a peer asks to connect.  The callee owns ep from now on: it calls
     * rnic_set_events, and rnic_accept or rnic_close now or later.  The others are borrowed. */
    void (*requested)(void *user, struct rnic_ep *ep, const struct sock_addr *peer,
                      const void *private_data, size_t len);
    /* n work requests are done, in the order of their completion, and their places in the queues
     * are free; wc is borrowed.  The owner that calls rnic_close inside gets none of those that
     * were to follow. */
    void (*completed)(void *user, const struct rnic_wc *wc, unsigned n);
};

/* The size of a connection's queues: work requests, from their posting to their completion.  A
 * device that cannot have as many gives what it can, but never less than the least; rnic_get_caps
 * says how many there are.  A least of 0: all of them, or no connection. */
struct rnic_depth {
    uint32_t send, recv;
    uint32_t least_send, least_recv;
};

/* What an implementation fills in.  Callers use the functions below, which say what each does. */
struct rnic_ops {
    const char *name; /* "verbs", "sim" */
    int (*resolve)(struct loop *l, const struct sock_addr *to, const struct sock_addr *from,
                   const struct rnic_depth *depth, const struct rnic_events *ev, void *user,
                   struct rnic_ep **ret, struct lunette_error *err);
    int (*connect)(struct rnic_ep *ep, const void *private_data, size_t len,
                   struct lunette_error *err);
    int (*listen)(struct loop *l, const struct sock_addr *at, const struct rnic_depth *depth,
                  const struct rnic_events *ev, void *user, struct rnic_ep **ret,
                  struct sock_addr *ret_bound, struct lunette_error *err);
    int (*accept)(struct rnic_ep *ep, const void *private_data, size_t len,
                  struct lunette_error *err);
    void (*set_events)(struct rnic_ep *ep, const struct rnic_events *ev, void *user);
    void (*disconnect)(struct rnic_ep *ep);
    void (*close)(struct rnic_ep *ep);
    void (*caps)(const struct rnic_ep *ep, struct rnic_caps *ret);
    int (*names)(const struct rnic_ep *ep, struct sock_addr *ret_local, struct sock_addr *ret_peer);
    int (*reg)(struct rnic_ep *ep, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
               struct lunette_error *err);
    void (*dereg)(struct rnic_ep *ep, struct rnic_mr *mr);
    int (*mw_new)(struct rnic_ep *ep, struct rnic_mw **ret, struct lunette_error *err);
    void (*mw_free)(struct rnic_ep *ep, struct rnic_mw *mw);
    int (*post_send)(struct rnic_ep *ep, const struct rnic_wr *wr, unsigned n);
    int (*post_recv)(struct rnic_ep *ep, const struct rnic_recv *r, unsigned n);
    void (*spin)(struct loop *l, uint64_t ns);
};

/* The public head of every endpoint. */
struct rnic_ep {
    const struct rnic_ops *ops;
    struct loop *loop;
};

/* The rkey that a window gets when it is bound the next time: the low byte counts the binds
 * (InfiniBand Architecture 10.6.7.2.1).  So the message that tells the peer of it can be made
 * before both are posted. */
static inline uint32_t
rnic_next_rkey(const struct rnic_mw *mw)
{
    return (mw->rkey & ~UINT32_C(0xff)) | ((mw->rkey + 1) & 0xff);
}

/* Starts to look for the way to a portal; `from` is the local address or NULL: any.  `resolved` or
 * `ended` follows.  *ret is the caller's, who ends it with rnic_close.  -ENODEV: this machine has
 * no RDMA device; -EOPNOTSUPP: this loop has no implementation. */
static inline int
rnic_resolve(struct loop *l, const struct sock_addr *to, const struct sock_addr *from,
             const struct rnic_depth *depth, const struct rnic_events *ev, void *user,
             struct rnic_ep **ret, struct lunette_error *err)
{
    if (l->rnic == NULL)
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "RDMA is not built into this program");
    return l->rnic->resolve(l, to, from, depth, ev, user, ret, err);
}

/* Asks the peer to connect, after `resolved`; receives for what it may send at once are posted.
 * len is at most RNIC_PRIVATE_MAX. */
static inline int
rnic_connect(struct rnic_ep *ep, const void *private_data, size_t len, struct lunette_error *err)
{
    assert(len <= RNIC_PRIVATE_MAX);
    return ep->ops->connect(ep, private_data, len, err);
}

/* Listens at an address, whose port may be 0: *ret_bound has the real one.  depth is that of the
 * connections which it makes. */
static inline int
rnic_listen(struct loop *l, const struct sock_addr *at, const struct rnic_depth *depth,
            const struct rnic_events *ev, void *user, struct rnic_ep **ret,
            struct sock_addr *ret_bound, struct lunette_error *err)
{
    if (l->rnic == NULL)
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "RDMA is not built into this program");
    return l->rnic->listen(l, at, depth, ev, user, ret, ret_bound, err);
}

/* Takes a connection that was requested. */
static inline int
rnic_accept(struct rnic_ep *ep, const void *private_data, size_t len, struct lunette_error *err)
{
    assert(len <= RNIC_PRIVATE_MAX);
    return ep->ops->accept(ep, private_data, len, err);
}

/* Replaces the callbacks; ev is borrowed as long as ep has it. */
static inline void
rnic_set_events(struct rnic_ep *ep, const struct rnic_events *ev, void *user)
{
    ep->ops->set_events(ep, ev, user);
}

/* Ends a connection: all that is posted comes back in `completed`, what has not been done as
 * RNIC_FLUSHED.  `ended` does not follow.  May be called at any time after `resolved`, and twice.
 */
static inline void
rnic_disconnect(struct rnic_ep *ep)
{
    ep->ops->disconnect(ep);
}

/* Ends a connection or listener in any state; of one that was requested and not accepted, the peer
 * is told that it is refused.  There are no callbacks any more, and its regions and windows are
 * gone with it.  It is the fence: when it returns, no device touches their memory. */
static inline void
rnic_close(struct rnic_ep *ep)
{
    ep->ops->close(ep);
}

static inline void
rnic_get_caps(const struct rnic_ep *ep, struct rnic_caps *ret)
{
    ep->ops->caps(ep, ret);
}

/* Tells both ends' addresses of a connection that is up; neither pointer is NULL. */
static inline int
rnic_names(const struct rnic_ep *ep, struct sock_addr *ret_local, struct sock_addr *ret_peer)
{
    return ep->ops->names(ep, ret_local, ret_peer);
}

/* Registers memory for one connection, from `resolved` or `requested` on: its pages are pinned, and
 * nobody frees or remaps them until rnic_dereg or rnic_close.  access is of enum rnic_access.
 * -ENOMEM: the limit of locked memory (RLIMIT_MEMLOCK) is too low, and err has both numbers; or the
 * device has no room. */
static inline int
rnic_reg(struct rnic_ep *ep, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
         struct lunette_error *err)
{
    return ep->ops->reg(ep, addr, len, access, ret, err);
}

/* Nothing that is posted uses mr, and no window is bound to it. */
static inline void
rnic_dereg(struct rnic_ep *ep, struct rnic_mr *mr)
{
    ep->ops->dereg(ep, mr);
}

/* Makes a window, where caps.windows says that there are such.  -ENOMEM: the device has no more. */
static inline int
rnic_mw_new(struct rnic_ep *ep, struct rnic_mw **ret, struct lunette_error *err)
{
    return ep->ops->mw_new(ep, ret, err);
}

/* The window is not bound, or its connection has ended. */
static inline void
rnic_mw_free(struct rnic_ep *ep, struct rnic_mw *mw)
{
    ep->ops->mw_free(ep, mw);
}

/* Posts n requests, which leave together; from `established` on, and what is posted after the end
 * comes back flushed, as the rest does.  0: all are posted; -EAGAIN: not one is, since the send
 * queue has no room for all n; else the connection is of no more use, and how many were posted is
 * not known: rnic_disconnect brings back those that were.  wr is borrowed for the call, memory that
 * it names until the completion. */
static inline int
rnic_post_send(struct rnic_ep *ep, const struct rnic_wr *wr, unsigned n)
{
    return ep->ops->post_send(ep, wr, n);
}

/* Posts n receives, from `resolved` or `requested` on; the rest is as with rnic_post_send.  Where
 * none is posted, what the peer sends waits there, and no harm is done. */
static inline int
rnic_post_recv(struct rnic_ep *ep, const struct rnic_recv *r, unsigned n)
{
    return ep->ops->post_recv(ep, r, n);
}

/* For how long after the last completion the loop looks for the next one without sleeping, in
 * nanoseconds; 0, as at first: not at all.  It takes a core for itself. */
static inline void
rnic_spin(struct loop *l, uint64_t ns)
{
    if (l->rnic != NULL)
        l->rnic->spin(l, ns);
}

#endif
