/* SPDX-License-Identifier: MIT */
/* target/iser/iser.h - the face on RDMA (RFC 7145): messages, and data that move by themselves.
 *
 * accept.c makes connections and ends them, memory.c has what the device may use for them, rx.c
 * receives, tx.c sends and moves data.  What a device is given lies in memory of the connection: a
 * ring of receives, and an arena from which everything is taken that is posted to the send queue.
 */
#ifndef TARGET_ISER_ISER_H
#define TARGET_ISER_ISER_H

#include "seam/rdma.h"
#include "target/face.h"
#include "target/state/conn.h"
#include "wire/iser.h"

/* Bytes of a receive: header segments may come beside all the data that was agreed on, as many of
 * them as whoever declares no MaxAHSLength takes (RFC 7145 6.8). */
#define TGT_ISER_RECV_LEN (ISER_RECV_LEN + 256u)

#define TGT_ISER_LOGIN_RECVS 8           /* receives until a connection is logged in */
#define TGT_ISER_EXTRA_RECVS 32          /* ... then, beside one for each command of its queue */
#define TGT_ISER_LOGIN_ARENA (32u << 10) /* bytes: of what a login sends */
#define TGT_ISER_ARENA       (1u << 20)  /* bytes: data under way, and PDUs */
#define TGT_ISER_PIECE       (64u << 10) /* bytes of one RDMA Read or Write, at most */
#define TGT_ISER_SENDS       256u        /* work requests in the send queue */

/* Memory that is taken for requests in the order in which they are posted, and given back in the
 * order in which they complete, which is the same: so it is a ring of bytes. */
struct tgt_arena {
    uint8_t *mem; /* size bytes, owned with the rest of its slab */
    uint32_t size, head, used, lkey;
};

enum tgt_post_kind { TGT_POST_SEND, TGT_POST_WRITE, TGT_POST_READ };

/* A request in the send queue, until it or a later one completes. */
struct tgt_post {
    enum tgt_post_kind kind;
    bool close_after; /* the connection ends when it has left */
    struct tgt_arena *arena;
    uint32_t take;       /* bytes of it, with what was left over at its end */
    uint8_t *mem;        /* there */
    uint32_t len;        /* READ */
    uint32_t off;        /* READ: among the command's data */
    struct tgt_cmd *cmd; /* READ; NULL: it has ended */
};

/* A part of a connection's memory: receives, and behind them an arena. */
struct tgt_slab {
    uint8_t *mem; /* owned */
    struct rnic_mr *mr;
    uint32_t recvs;
    struct tgt_arena arena;
};

enum { TGT_SLAB_LOGIN, TGT_SLAB_FFP, TGT_SLABS };

struct tgt_message { /* one that was received */
    uint32_t recv;   /* the number of its receive */
    uint32_t len;
};

struct tgt_iser {
    struct tgt_conn c; /* first, so that either pointer is the other one */
    struct rnic_ep *ep;
    bool up;          /* established */
    bool invalidates; /* responses invalidate the STags of their commands */
    struct tgt_slab slabs[TGT_SLABS];
    struct tgt_arena *arena; /* from which is taken now */
    /* receiving: rx.c */
    uint32_t recvs;              /* of all slabs */
    struct tgt_message *waiting; /* recvs of them, round, owned: they have come and are not dealt
                                    with */
    uint32_t waiting_head, waiting_count;
    /* sending: tx.c */
    struct tgt_post posts[TGT_ISER_SENDS]; /* round, by the id of the request */
    uint64_t post_first, post_next;        /* ids: those of the requests between are under way */
    bool leaves;                           /* a fault: it disconnects when what is made is posted */
};

static inline struct tgt_iser *
tgt_iser(struct tgt_conn *c)
{
    return container_of(c, struct tgt_iser, c);
}

#endif
