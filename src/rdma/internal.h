/* SPDX-License-Identifier: MIT */
/* rdma/internal.h - what the files of this folder share.
 *
 * From the bottom to the top: state.c (what a loop has), poll.c (completions), device.c (completion
 * queues), memory.c, post.c, ep.c (an endpoint's parts), cm.c (events of connections), verbs.c (the
 * operations). */
#ifndef RDMA_INTERNAL_H
#define RDMA_INTERNAL_H
#if HAVE_RDMA

#include <assert.h>
#include <infiniband/verbs.h>
#include <rdma/rdma_cma.h>

#include "base/htab.h"
#include "base/list.h"
#include "rdma/rdma.h"

#define VERBS_RESOLVE_MS 5000                /* that the kernel looks for an address, or a route */
#define VERBS_LIMIT_NS   (6 * LOOP_NS_PER_S) /* after which it is taken for lost in doing so */
#define VERBS_DEPTH_MAX  65535u              /* of one queue of a connection */

/* A loop's. */
struct verbs_state {
    struct loop *loop;
    struct rdma_event_channel *channel;
    struct loop_watch *watch; /* of the channel's descriptor */
    struct list devices;      /* struct verbs_device */
    struct htab eps;          /* struct verbs_ep, by serial */
    uint32_t serial;          /* of the last endpoint */
    uint32_t changes;         /* devices that have gone: whoever walks along them stops */
    bool walking;             /* callbacks are being made: the state stays */
    bool spinning;            /* queues are polled in each turn and are not armed */
    uint64_t seen_ns;         /* when the last completion was seen */
    struct loop_work poll;    /* polls all queues */
    struct list flushing;     /* struct verbs_ep whose requests the device does not give back */
};

/* A device, as one loop uses it. */
struct verbs_device {
    struct list node; /* verbs_state.devices */
    struct verbs_state *state;
    struct ibv_context *ctx; /* librdmacm's, as long as it has an id on the device */
    struct ibv_device_attr attr;
    struct ibv_comp_channel *channel;
    struct loop_watch *watch;
    struct list queues; /* struct verbs_cq: one, unless it could not grow */
    uint32_t eps;
};

struct verbs_cq {
    struct list node; /* verbs_device.queues */
    struct verbs_device *dev;
    struct ibv_cq *cq;
    struct list eps; /* struct verbs_ep */
    /* Entries that the endpoints may need at once, and how many of these are of closed ones, whose
     * completions may still be there. */
    uint32_t used, stale;
    unsigned unacked; /* events that were taken out of the channel */
    bool armed;       /* the next completion makes the channel readable, or has done so */
};

/* The ids of what is posted to one queue of an endpoint, in order. */
struct verbs_ring {
    uint32_t depth, mask; /* at most so many; of the array */
    uint32_t head, tail;  /* counts of what was posted, and of what is over */
    uint64_t *id;
};

enum verbs_phase {
    VERBS_NEW,
    VERBS_LISTENING,
    VERBS_ADDRESS,    /* is being resolved */
    VERBS_ROUTE,      /* ... too */
    VERBS_READY,      /* rnic_connect or rnic_accept is next */
    VERBS_CONNECTING, /* one of them was called */
    VERBS_UP,
};

struct verbs_ep {
    struct rnic_ep pub;
    struct verbs_state *state;
    struct hnode node; /* verbs_state.eps */
    uint32_t serial;   /* never another endpoint's: the upper half of ids of work requests */
    enum verbs_phase phase;
    bool passive;    /* a listener has made it */
    bool over;       /* `ended` was called, or rnic_disconnect */
    bool left;       /* rnic_disconnect was called */
    bool device_err; /* the device gives nothing back any more */
    bool flushed;    /* what was posted has been given back without the device */
    bool held;       /* a receive came back before the connection was up: the owner gets all of them
                        from us, after rnic_disconnect */
    const struct rnic_events *ev;
    void *user;
    struct rnic_depth depth;
    struct sock_addr peer; /* of a listener: where it listens */
    struct rdma_cm_id *id;
    struct verbs_device *dev; /* NULL before VERBS_READY */
    struct verbs_cq *cq;
    struct list cq_node, flush_node;
    struct ibv_pd *pd;
    struct list mrs, mws;
    struct loop_timer limit;        /* for the kernel to resolve */
    uint8_t reads_in, reads_out;    /* RDMA Reads that may be under way at once */
    struct verbs_ring sends, recvs; /* have memory from VERBS_READY on */
    uint32_t recvs_left; /* of the counts of recvs: from here on the device does not have them */
};

struct verbs_mr {
    struct rnic_mr pub;
    struct ibv_mr *mr;
    struct list node; /* verbs_ep.mrs */
};

struct verbs_mw {
    struct rnic_mw pub;
    struct ibv_mw *mw;
    struct list node; /* verbs_ep.mws */
    bool posting;     /* a bind of it is among what is being posted */
};

static inline struct verbs_ep *
verbs_ep(struct rnic_ep *ep)
{
    return container_of(ep, struct verbs_ep, pub);
}

/* The id of a work request: a completion that failed has nothing else that can be relied on. */
#define VERBS_ID_RECV      (UINT64_C(1) << 31)
#define VERBS_ID_POS       UINT32_C(0x7fffffff)
#define VERBS_ID_SERIAL(x) ((uint32_t)((x) >> 32))

static inline uint64_t
verbs_id(const struct verbs_ep *ep, uint64_t recv, uint32_t pos)
{
    return (uint64_t)ep->serial << 32 | recv | (pos & VERBS_ID_POS);
}

static inline uint32_t
verbs_ring_room(const struct verbs_ring *r)
{
    return r->depth - (r->head - r->tail);
}

/* usable.c */
/* Says why there is no RDMA: e is an errno. */
int verbs_no_device(struct lunette_error *err, int e);
/* Has memory that devices use survive a fork. */
void verbs_fork_init(void);
/* Says why the device or the kernel has no memory for `what`, which takes so many bytes: e is an
 * errno. */
int verbs_no_room(struct lunette_error *err, int e, const char *what, uint64_t bytes,
                  const struct verbs_ep *ep);
/* What decides that: the limit of locked memory, what is locked of it, and whether it holds for
 * this process, read from the text of /proc/self/status. */
struct verbs_locked {
    uint64_t limit, used; /* bytes; limit UINT64_MAX: none */
    bool exempt;          /* CAP_IPC_LOCK */
};
void verbs_locked_read(const char *status, struct verbs_locked *ret);
int verbs_locked_say(struct lunette_error *err, const struct verbs_locked *l, const char *what,
                     uint64_t bytes, const char *device);

/* state.c */
/* The state of a loop, which is made if there is none; events(state) is called when its channel is
 * readable, poll for its deferred work.  verbs_state_rest ends it if it has no endpoint. */
int verbs_state_get(struct loop *l, void (*events)(void *state), void (*poll)(struct loop_work *w),
                    struct verbs_state **ret, struct lunette_error *err);
void verbs_state_rest(struct verbs_state *st);
/* Between the two callbacks are made.  The second may end the state. */
void verbs_walk_begin(struct verbs_state *st);
void verbs_walk_end(struct verbs_state *st);
/* NULL: it is closed. */
struct verbs_ep *verbs_find(const struct verbs_state *st, uint32_t serial);
/* Makes the callback `ended`, if it is due at all.  err is -errno. */
void verbs_tell_end(struct verbs_ep *ep, int err, const char *why);

/* poll.c */
/* The callback of a completion channel's descriptor: user is the device. */
void verbs_channel_readable(void *user);
void verbs_poll_work(struct loop_work *w);
/* The next turn gives back what the device does not: of an endpoint whose device has failed, all;
 * else the receives that were posted after rnic_disconnect, when those before them are back. */
void verbs_flush_soon(struct verbs_ep *ep);
/* Delivers what has completed on the queue of an endpoint, which may be closed meanwhile. */
void verbs_drain(struct verbs_ep *ep);

/* device.c */
/* Gives ep its device and room in a completion queue, and takes them away. */
int verbs_device_join(struct verbs_ep *ep, struct lunette_error *err);
void verbs_device_leave(struct verbs_ep *ep);

/* memory.c */
int verbs_reg(struct rnic_ep *ep, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
              struct lunette_error *err);
void verbs_dereg(struct rnic_ep *ep, struct rnic_mr *mr);
int verbs_mw_new(struct rnic_ep *ep, struct rnic_mw **ret, struct lunette_error *err);
void verbs_mw_free(struct rnic_ep *ep, struct rnic_mw *mw);
/* Free all of an endpoint's: windows first, since a region that one is bound to stays. */
void verbs_windows_fini(struct verbs_ep *ep);
void verbs_regions_fini(struct verbs_ep *ep);

/* post.c */
int verbs_post_send(struct rnic_ep *ep, const struct rnic_wr *wr, unsigned n);
int verbs_post_recv(struct rnic_ep *ep, const struct rnic_recv *r, unsigned n);

/* ep.c */
/* An endpoint without an id. */
int verbs_ep_new(struct verbs_state *st, const struct rnic_depth *depth,
                 const struct rnic_events *ev, void *user, struct verbs_ep **ret,
                 struct lunette_error *err);
/* Makes what it needs of its device, which its id has. */
int verbs_ep_ready(struct verbs_ep *ep, struct lunette_error *err);
void verbs_disconnect(struct rnic_ep *ep);
void verbs_close(struct rnic_ep *ep);

/* cm.c */
/* The callback of an event channel's descriptor: user is the state. */
void verbs_events_readable(void *user);
/* The timer verbs_ep.limit. */
void verbs_limit_over(struct loop_timer *t);

#endif
#endif
