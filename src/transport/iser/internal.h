/* SPDX-License-Identifier: MIT */
/* transport/iser/internal.h - what the files of the iSER transport share.
 *
 * An endpoint (struct iser_ep) is one RDMA connection with all memory that the device knows of it.
 * It is used by one iSCSI connection, once: after stop_conn it is closed, and nothing of it is left
 * but the structure.
 *
 * A PDU is one Send.  Its header stands in a slot (struct iser_tx), its data behind it in a block
 * of the pool, or in a text slot where it is a control PDU; both come back when the Send is known
 * to be done, so that a task need not wait for that.  The other data of a command lie in a block of
 * the pool, too, or where the application has them (struct iser_data), and the target gets an STag
 * for them.
 *
 * Positions count the work requests of the send queue.  They are done in the order of posting, so
 * "done up to position n" says all; only the last of those that are posted together tells when.
 */
#ifndef TRANSPORT_ISER_INTERNAL_H
#define TRANSPORT_ISER_INTERNAL_H

#include "seam/rdma.h"
#include "seam/transport.h"
#include "transport/iser/pool.h"
#include "wire/iser.h"
#include "wire/iser_options.h"

/* Bytes of one command, as Linux has it; tgt ends connections above that. */
#define ISER_MAX_TRANSFER (512u << 10)

/* Commands that are out at a time, and places in the send queue: the first number of each where the
 * device has as many, and the second at least. */
#define ISER_CMDS_MAX    512u
#define ISER_CMDS_MIN    8u
#define ISER_SENDS       1024u
#define ISER_SENDS_MIN   64u
#define ISER_RECV_EXTRA  16u /* receives for answers to control PDUs, and for what nobody asked */
#define ISER_TX_EXTRA    32u /* header slots for control PDUs, and for Sends that are not done */
#define ISER_TEXTS       4u  /* control PDUs with data whose Sends are not done */
#define ISER_CHAIN       32u /* work requests that are posted together */
#define ISER_WINDOWS_MIN 2u  /* of a command that reads and writes */
#define ISER_MEM_MAX     64u /* ranges of registered memory of a session */
#define ISER_DRAIN_NS    (5 * LOOP_NS_PER_S)

/* Distances in the memory of slots and receives: cache lines are not shared. */
#define ISER_TX_BYTES   384u
#define ISER_RECV_BYTES 8320u

static_assert(ISER_TX_BYTES >= ISER_LEN + ISCSI_HDR_MAX && ISER_TX_BYTES % 64 == 0, "a header");
static_assert(ISER_RECV_BYTES >= ISER_RECV_LEN && ISER_RECV_BYTES % 64 == 0, "a message");
static_assert(ISER_MAX_TRANSFER <= ISER_BLOCK_MAX && 2 * ISER_MAX_TRANSFER <= ISER_POOL_MIN,
              "a command that reads and writes has room in any pool");

/* Memory that the application has registered. */
struct iser_mem {
    char *addr;
    size_t len;
};

struct iser_session {
    struct iser_mem mem[ISER_MEM_MAX]; /* sorted by address, none overlaps another */
    uint32_t nmem;
    struct list eps; /* those that are bound, the device of which has the memory */
    bool has_options;
    struct iser_options options;
};

struct iser_conn {
    struct iscsi_conn *conn;
    struct iser_ep *ep;          /* NULL: not bound, or stopped */
    struct loop_work start_work; /* what came before start_conn is handed up */
    struct loop_work room_work;  /* queue_xmit, where room was made outside of events */
};

/* One direction of a command: where its data are while the target may use them. */
struct iser_data {
    uint8_t *at; /* len bytes in one piece; NULL: nothing moves this way, or it is immediate data */
    uint32_t len;
    uint32_t stag;
    void *block;              /* of the pool, where the data are copied; else NULL */
    const struct rnic_mr *mr; /* the region of `at` */
    struct rnic_mr *own;      /* the same, where it was registered for this command */
    struct rnic_mw *mw;       /* NULL: the STag is the region's */
    bool open;                /* the window is bound, and no invalidation is posted */
};

struct iser_task {
    struct iscsi_task *task; /* while cleanup_task is under way */
    struct iser_ep *ep;      /* NULL: nothing is held */
    struct iser_tx *tx;      /* between alloc_pdu and xmit_task */
    struct iser_data in, out;
    uint64_t closed_at;  /* position of the last invalidation; 0: none was posted */
    struct list cleanup; /* in that of the endpoint */
};

/* A Send: the header, and where its data are. */
struct iser_tx {
    uint8_t *hdr;  /* ISER_TX_BYTES in the slots' region */
    void *block;   /* of the pool; NULL: none */
    uint8_t *text; /* a text slot; NULL: none */
    uint8_t *data; /* what goes behind the header: in block or text; NULL: nothing */
    uint64_t at;   /* its position, once it is laid out */
    uint16_t hdr_len;
    uint32_t data_len; /* with padding */
};

/* A receive. */
struct iser_rx {
    uint8_t *msg;     /* ISER_RECV_BYTES */
    uint32_t len;     /* of the message */
    uint64_t after;   /* it is handed up when this position is done; 0: at once */
    struct list node; /* in the endpoint's queue */
};

enum iser_ep_state { ISER_EP_RESOLVING, ISER_EP_CONNECTING, ISER_EP_UP, ISER_EP_FAILED };

struct iser_ep {
    struct iscsi_endpoint *pub;
    const struct iscsi_upcalls *up; /* the endpoint's */
    struct rnic_ep *rnic;           /* NULL: closed */
    enum iser_ep_state state;
    struct lunette_error err; /* ISER_EP_FAILED: why */
    struct rnic_caps caps;
    enum iser_way wish, way; /* way is never AUTO */
    struct iser_options options;

    /* From bind_conn on. */
    struct iser_conn *conn; /* NULL: not bound, or stopped */
    struct iser_session *session;
    struct list session_node;
    bool spoiled;  /* it was bound once: not again */
    bool lost;     /* the connection is of no more use; conn_failure was called */
    bool stopping; /* stop_conn was called */
    bool unsure;   /* what is posted is not known: nobody waits for it */
    bool hold;     /* what comes is kept until start_conn */
    bool in_event; /* the end of the event does what is due */
    bool want_xmit;
    uint32_t limit, cmds; /* commands that may be out, that are */

    /* The send queue. */
    struct rnic_wr chain[ISER_CHAIN];
    uint32_t nchain;
    uint64_t next, done; /* positions: the last that was given away, and up to which all is done */
    uint32_t bound;      /* windows whose invalidations will need a place */
    struct iser_tx *tx;
    uint32_t *free_tx, nfree_tx;
    uint32_t *sent, ntx; /* ring of the slots whose Sends are not done, in their order */
    uint32_t sent_at, nsent;
    uint8_t *text[ISER_TEXTS];
    uint32_t ntext;
    struct list cleanups; /* of struct iser_task */

    /* The receive queue. */
    struct iser_rx *rx;
    uint32_t nrx, posted;
    uint32_t *back, nback; /* receives that are to be posted again */
    struct list came;      /* messages that are not handed up yet, in their order */

    /* Memory. */
    void *arena; /* slots, text slots, receives */
    struct rnic_mr *arena_mr, *pool_mr;
    struct iser_pool pool;
    struct rnic_mw **mw; /* those that are free come first */
    uint32_t nmw, nfree_mw;
    struct rnic_mr *mem[ISER_MEM_MAX]; /* of the session's ranges; NULL: not registered */

    struct loop_timer drain;
};

static inline struct iser_conn *
iser_conn_of(const struct iscsi_conn *c)
{
    return (struct iser_conn *)c->dd_data;
}

/* The device may be given work. */
static inline bool
iser_ep_works(const struct iser_ep *e)
{
    return e->rnic != NULL && !e->lost && !e->stopping;
}

/* ---- mem.c: memory that the application has registered ---- */
int iser_mem_add(struct iscsi_session *s, void *addr, size_t len, struct lunette_error *err);
void iser_mem_remove(struct iscsi_session *s, void *addr, size_t len);
/* Makes all of it known to the device of an endpoint.  What cannot be is not used. */
void iser_mem_register(struct iser_ep *e);
/* The region that has those bytes; NULL: none. */
const struct rnic_mr *iser_mem_find(const struct iser_ep *e, const void *addr, size_t len);
/* What the peer, or a window, may do with regions of that endpoint. */
unsigned iser_access(const struct iser_ep *e);

/* ---- data.c: where the data of a command are ---- */
/* Finds a place for the data of sg, which the target will read or write, and a window where there
 * are such.  -EAGAIN: there is none now, and nothing has changed. */
int iser_data_place(struct iser_ep *e, struct iser_data *d, const struct sg *sg, bool target_reads);
/* Lets go of the place; the target cannot use it any more. */
void iser_data_release(struct iser_ep *e, struct iser_data *d);
/* Copies what is to be written to the place, and what was read from it, the first len bytes. */
void iser_data_fill(const struct iser_data *d, const struct sg *sg);
void iser_data_take(const struct iser_data *d, const struct sg *sg, uint32_t len);

/* ---- post.c: the send queue ---- */
/* Room for so many work requests, which may have to be followed by nmw invalidations. */
bool iser_has_room(const struct iser_ep *e, uint32_t wrs, uint32_t nmw);
/* Adds a work request to those that the next flush posts.  Returns its position. */
uint64_t iser_post(struct iser_ep *e, const struct rnic_wr *wr);
void iser_flush(struct iser_ep *e);
/* Binds the window of d, for what the target does, and sets its STag. */
void iser_post_bind(struct iser_ep *e, struct iser_data *d, bool target_reads);
/* Closes the windows of the task that are open.  Returns the position to wait for; 0: none is. */
uint64_t iser_post_close(struct iser_ep *e, struct iser_task *it);
/* A header slot, and where data is set a text slot; NULL: there is none. */
struct iser_tx *iser_tx_take(struct iser_ep *e, bool text);
void iser_post_tx(struct iser_ep *e, struct iser_tx *tx);
/* All up to position `at` is done. */
void iser_sends_done(struct iser_ep *e, uint64_t at);
/* The connection is of no more use: whoever has it is told. */
void iser_lost(struct iser_ep *e, enum iscsi_err err, const char *why);

/* ---- task.c: PDUs out, and the end of tasks ---- */
int iser_alloc_pdu(struct iscsi_task *t, uint8_t opcode);
int iser_init_task(struct iscsi_task *t);
int iser_xmit_task(struct iscsi_task *t);
void iser_xmit_flush(struct iscsi_conn *c);
int iser_cleanup_task(struct iscsi_task *t);
/* Ends the tasks of cleanups that nothing holds any more; all: the device holds nothing. */
void iser_finish_cleanups(struct iser_ep *e, bool all);
/* Tells of room that somebody waits for. */
void iser_tell_room(struct iser_ep *e);

/* ---- setup.c: the memory of an endpoint ---- */
/* What is needed to log in: slots and receives. */
int iser_setup_login(struct iser_ep *e, uint32_t cmds_max, struct lunette_error *err);
/* What commands need: the pool and windows. */
int iser_setup_commands(struct iser_ep *e, struct lunette_error *err);
/* Makes windows until there are `want`, or the device has no more. */
int iser_make_windows(struct iser_ep *e, uint32_t want, struct lunette_error *err);
/* Closes the connection, which is the fence, and frees all memory.  Twice is harmless. */
void iser_close(struct iser_ep *e);

/* ---- end.c: the end of a bound endpoint ---- */
/* As stop_conn. */
int iser_stop(struct iser_ep *e);
/* Where all that was posted has come back, the end. */
void iser_drained(struct iser_ep *e);
void iser_drain_timer(struct loop_timer *t);

/* ---- rx.c: completions, and PDUs in ---- */
/* Posts all receives. */
int iser_post_receives(struct iser_ep *e, struct lunette_error *err);
void iser_completed(void *user, const struct rnic_wc *wc, unsigned n);
/* Hands up what waits and may be handed up. */
void iser_hand_up(struct iser_ep *e);

/* ---- ep.c ---- */
int iser_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                    const struct iscsi_upcalls *up, struct lunette_error *err);
int iser_ep_poll(struct iscsi_endpoint *ep);
void iser_ep_why(const struct iscsi_endpoint *ep, struct lunette_error *ret);
void iser_ep_disconnect(struct iscsi_endpoint *ep);

#endif
