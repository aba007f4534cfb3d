/* SPDX-License-Identifier: MIT */
/* tests/sim/sim_rdma_priv.h - shared by sim_rdma.c (endpoints and what their owners are told),
 * sim_rdma_conn.c (how connections are made), sim_rdma_queue.c (requests at their own end),
 * sim_rdma_xfer.c (at the other), sim_rdma_mem.c (regions, windows, keys) and sim_rdma_fault.c
 * (what a test does to a fabric). */
#ifndef TESTS_SIM_SIM_RDMA_PRIV_H
#define TESTS_SIM_SIM_RDMA_PRIV_H

#include "tests/sim/sim_priv.h"
#include "tests/sim/sim_rdma.h"

#define RSIM_REQUEST_LEN 56 /* what a connect request carries of private data */
#define RSIM_ANSWER_MAX  256
#define RSIM_WHY_MAX     120
#define RSIM_FIRST_PORT  50000
#define RSIM_LEFT        "the peer has left"

/* The fabric and all devices of a sim. */
struct rsim {
    struct sim *sim;
    struct sim_rdma_config cfg;
    struct list machines, eps, conns, rules; /* rsim_machine, _ep, _conn, _rule */
    uint32_t next_conn, next_key;
    uint16_t next_port;
    bool held[SIM_RDMA_WAYS];
    enum sim_rdma_verdict (*tap)(void *user, const struct sim_rdma_message *m);
    void *tap_user;
    void (*judge)(void *user, const char *what);
    void *judge_user;
    struct sim_rdma_stats stats;
};

/* A loop and its device. */
struct rsim_machine {
    struct list node; /* rsim.machines */
    struct rsim *r;
    struct sim_loop *l;
    struct loop_work work; /* calls the owners of what is in `ready` */
    struct list ready;     /* rsim_ep.ready */
    uint64_t locked;       /* bytes of its regions, in whole pages */
    uint32_t regions, windows;
    bool removed;
};

/* What a test has said about a server's connections. */
struct rsim_rule {
    struct list node; /* rsim.rules */
    bool any, stall, cut_next, leads;
    struct sock_addr server, to;
    enum sim_rdma_fate fate;
    enum sim_rdma_cut how;
    uint64_t cut_left[SIM_RDMA_WAYS], late_ns[SIM_RDMA_WAYS];
};

/* A posted request, from its posting until its owner has been told. */
struct rsim_req {
    struct list node; /* ep->sq, ->rq, ->cq or ->quiet */
    struct rsim_ep *ep;
    uint64_t seq;
    struct rnic_wr wr; /* of a receive: id and sge[0] */
    struct rnic_wc wc;
    uint32_t len, key; /* key: of a bind */
    bool launched, done, was_valid, missed;
    struct rsim_xfer *x;   /* on its way there; NULL: not yet, or its effect is done */
    struct sim_event back; /* on its way back */
    uint8_t *data;         /* of a READ, read and not yet put into our memory */
    uint32_t moved;
    unsigned pieces;
};

/* A request on its way to the other end, and while it takes effect there. */
struct rsim_xfer {
    struct list node; /* way->flying */
    struct rsim_way *way;
    struct rsim_req *req; /* NULL: who sent it has forgotten it, and it arrives all the same */
    struct rnic_wr wr;
    uint32_t len, moved, stop_at;
    unsigned pieces;
    uint8_t *data; /* NULL: it still lies in the sender's memory only */
    uint64_t at_ns;
    bool begun, dropped;
    enum sim_rdma_verdict verdict;
    struct rsim_req *into; /* the receive that it fills */
};

/* One way of a connection. */
struct rsim_way {
    struct rsim_conn *conn;
    enum sim_rdma_way way;
    struct list flying; /* rsim_xfer */
    struct sim_event due;
    uint64_t last_ns; /* nothing arrives before what was sent before */
    uint64_t cut_left, late_ns;
    uint32_t posted, number;
    bool held, busy, waits;
};

struct rsim_conn {
    struct list node; /* rsim.conns */
    struct rsim *r;
    uint32_t id;
    struct sock_addr server;  /* that was asked for */
    struct rsim_ep *ep[2];    /* client, server */
    struct rsim_way way[2];   /* by enum sim_rdma_way */
    struct sim_event setup;   /* the next step of connecting */
    struct sim_event timeout; /* of a request that nobody answers */
    void (*step)(struct rsim_conn *c);
    bool asked, made, severed, stalled, waits, stuck;
    enum sim_rdma_cut how;
    unsigned reason; /* of a rejection */
    uint8_t request[RSIM_REQUEST_LEN], answer[RSIM_ANSWER_MAX];
};

enum rsim_state {
    RSIM_LISTENING,
    RSIM_RESOLVING,
    RSIM_RESOLVED,
    RSIM_CONNECTING,
    RSIM_REQUESTED,
    RSIM_ACCEPTED,
    RSIM_UP,
};

struct rsim_ep {
    struct rnic_ep pub;
    struct rsim_machine *m;
    struct list node;  /* rsim.eps */
    struct list ready; /* m->ready */
    struct rsim_conn *conn;
    unsigned side; /* 0: client */
    enum rsim_state state;
    struct rnic_depth depth;
    const struct rnic_events *ev;
    void *user;
    struct sock_addr addr; /* its own; of a listener, where it listens */
    struct list asking;    /* of a listener: the `queued` of its new connections */
    struct list queued;
    uint32_t id;

    struct list mrs, mws;          /* rsim_mr, rsim_mw */
    struct list sq, rq, cq, quiet; /* rsim_req: posted, done and not told, done and holding */
    struct rsim_req *next_launch;
    uint32_t sq_used, rq_used;
    uint64_t next_seq;
    struct sim_event launch, retry, stop, flush, end;

    int end_err;
    char why[RSIM_WHY_MAX];
    bool can_receive; /* the queue pair has heard of its peer */
    bool error;       /* the queue pair is in error: nothing moves any more */
    bool flushes;     /* and gives back what was posted */
    bool broken;      /* a request has failed, and none begins any more */
    bool resolved_due, up_due, end_due, told_up, told_end;
    bool disconnected, closed, dead;
    unsigned calling;
};

struct rsim_mr {
    struct rnic_mr pub;
    struct list node;
    struct rsim_ep *ep;
    uint8_t *addr;
    size_t len;
    uint64_t pages;
    unsigned access;
};

struct rsim_mw {
    struct rnic_mw pub;
    struct list node;
    bool bound;
    uint32_t key; /* of the bind that holds now */
    const struct rsim_mr *mr;
    uint8_t *addr;
    uint64_t len;
    unsigned access, binds; /* binds: posted and not executed */
};

static inline struct rsim_ep *
rsim_ep_of(struct rnic_ep *ep)
{
    return container_of(ep, struct rsim_ep, pub);
}

static_assert(offsetof(struct rsim_ep, pub) == 0, "rsim_const_ep_of");
static inline const struct rsim_ep *
rsim_const_ep_of(const struct rnic_ep *ep)
{
    return (const struct rsim_ep *)(const void *)ep;
}

static inline struct rsim_ep *
rsim_peer(const struct rsim_ep *ep)
{
    return ep->conn != NULL ? ep->conn->ep[1 - ep->side] : NULL;
}

static inline struct rsim_machine *
rsim_machine_of(struct loop *l)
{
    return l->rnic_state;
}

/* The way that an endpoint's requests go. */
static inline struct rsim_way *
rsim_way_from(const struct rsim_ep *ep)
{
    return &ep->conn->way[ep->side == 0 ? SIM_RDMA_TO_SERVER : SIM_RDMA_TO_CLIENT];
}

static inline struct rsim_way *
rsim_way_to(const struct rsim_ep *ep)
{
    return &ep->conn->way[ep->side == 0 ? SIM_RDMA_TO_CLIENT : SIM_RDMA_TO_SERVER];
}

/* sim_rdma.c */
extern const struct rnic_ops rsim_ops;
void rsim_wake(struct rsim_ep *ep);
void rsim_tell_end(struct rsim_ep *ep, uint64_t delay_ns, int err, const char *why);
void rsim_end_due(struct sim_event *e);
/* The other end hears that this one has left: at once, late or never. */
void rsim_tell_left(struct rsim_ep *ep, bool late);

/* sim_rdma_conn.c */
int rsim_resolve(struct loop *l, const struct sock_addr *to, const struct sock_addr *from,
                 const struct rnic_depth *depth, const struct rnic_events *ev, void *user,
                 struct rnic_ep **ret, struct lunette_error *err);
int rsim_connect(struct rnic_ep *ep, const void *private_data, size_t len,
                 struct lunette_error *err);
int rsim_listen(struct loop *l, const struct sock_addr *at, const struct rnic_depth *depth,
                const struct rnic_events *ev, void *user, struct rnic_ep **ret,
                struct sock_addr *ret_bound, struct lunette_error *err);
int rsim_accept(struct rnic_ep *ep, const void *private_data, size_t len,
                struct lunette_error *err);
void rsim_refuse(struct rsim_conn *c, unsigned reason);
/* What waits for the network, or for its fate, goes on. */
void rsim_request_again(struct rsim_conn *c);

/* sim_rdma_queue.c */
int rsim_post_send(struct rnic_ep *ep, const struct rnic_wr *wr, unsigned n);
int rsim_post_recv(struct rnic_ep *ep, const struct rnic_recv *r, unsigned n);
void rsim_queues_init(struct rsim_ep *ep);
/* The queue pair goes to error; `flushes`: what is posted comes back without being asked for. */
void rsim_error(struct rsim_ep *ep, bool flushes);
/* It gives back what is posted, now that it is asked for. */
void rsim_flush(struct rsim_ep *ep);
/* No device touches its memory any more, and nothing of it is posted. */
void rsim_detach(struct rsim_ep *ep);
/* Has anything been launched that cannot be answered now?  Then time runs. */
void rsim_watch_retry(struct rsim_ep *ep);
/* The network is there again. */
void rsim_conn_heal(struct rsim_conn *c);
/* Its status is set: its owner is told, unless it is quiet. */
void rsim_complete(struct rsim_req *req);
/* What has become of it at the other end is on its way back. */
void rsim_come_back(struct rsim_req *req, enum rnic_status status);
/* Takes up to max completions that the owner has not been told; returns how many. */
unsigned rsim_take(struct rsim_ep *ep, struct rnic_wc *wc, unsigned max);

/* sim_rdma_xfer.c */
void rsim_way_init(struct rsim_conn *c, enum sim_rdma_way way);
/* What flies or waits to take effect is tried again, when it is due. */
void rsim_kick(struct rsim_way *w);
void rsim_fly(struct rsim_req *req);
void rsim_drop_ways(struct rsim_conn *c);
void rsim_forget_flying(struct rsim_ep *ep);
void rsim_drop_coming(struct rsim_ep *ep);
/* A copy of a message for whoever reads along, from its data or from its sender's memory. */
uint8_t *rsim_copy_of(const struct rsim_ep *from, const struct rnic_wr *wr, uint32_t len,
                      const uint8_t *data);
uint64_t rsim_moment(struct rsim *r, uint32_t max_us);
unsigned rsim_pieces(struct rsim *r, uint32_t len);
uint32_t rsim_piece(struct rsim *r, uint32_t left, unsigned pieces);

/* sim_rdma_mem.c */
void rsim_wrong(struct rsim *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
int rsim_reg(struct rnic_ep *ep, void *addr, size_t len, unsigned access, struct rnic_mr **ret,
             struct lunette_error *err);
void rsim_dereg(struct rnic_ep *ep, struct rnic_mr *mr);
int rsim_mw_new(struct rnic_ep *ep, struct rnic_mw **ret, struct lunette_error *err);
void rsim_mw_free(struct rnic_ep *ep, struct rnic_mw *mw);
void rsim_mem_free(struct rsim_ep *ep);
/* Is this memory the endpoint's own to use? */
bool rsim_sges_valid(const struct rsim_ep *ep, const struct rnic_wr *wr);
/* Bytes from `off` on of what the pieces of wr name; false: the memory is not registered. */
bool rsim_gather(const struct rsim_ep *ep, const struct rnic_wr *wr, uint32_t off, uint32_t n,
                 uint8_t *to);
bool rsim_scatter(const struct rsim_ep *ep, const struct rnic_wr *wr, uint32_t off, uint32_t n,
                  const uint8_t *from);
/* Where the peer may read or write, or NULL. */
uint8_t *rsim_open(const struct rsim_ep *ep, uint32_t rkey, uint64_t addr, uint64_t len,
                   unsigned access);
bool rsim_bind(struct rsim_req *req);
/* Ends a window's bind: false: there is none with that key. */
bool rsim_invalidate(struct rsim_ep *ep, uint32_t rkey);

/* sim_rdma_fault.c */
void rsim_configure(struct rsim *r, const struct sim_rdma_config *cfg);
bool rsim_same_addr(const struct sock_addr *a, const struct sock_addr *b, bool any_port);
enum sim_rdma_fate rsim_fate(const struct rsim_conn *c);
const struct sock_addr *rsim_leads_to(const struct rsim_conn *c);
/* A connection gets what rules say of it. */
void rsim_apply_rules(struct rsim_conn *c);
void rsim_apply_cuts(struct rsim_conn *c);
void rsim_sever(struct rsim_conn *c, enum sim_rdma_cut how);
enum sim_rdma_verdict rsim_show(struct rsim_way *w, enum sim_rdma_stage stage,
                                const struct rnic_wr *wr, uint32_t number, uint8_t *bytes,
                                uint32_t len);
void rsim_faults_free(struct rsim *r);

#endif
