/* SPDX-License-Identifier: MIT */
/* export/nbd/internal.h - what the files of export/nbd share.
 *
 *     export.c   the export: its listener, its clients, its end
 *     client.c   a connection: its handshake, its life
 *     rx.c       bytes of a client become requests to the device
 *     tx.c       requests that have ended become bytes to a client
 */
#ifndef EXPORT_NBD_INTERNAL_H
#define EXPORT_NBD_INTERNAL_H

#include "export/nbd/handshake.h"
#include "export/nbd/memory.h"
#include "export/nbd/request.h"
#include "seam/export.h"
#include "seam/loop.h"

#define NBD_CLIENTS_MAX 64u  /* of an export, with those that are gone but for requests */
#define NBD_DEPTH       128u /* requests of a client that are under way */
#define NBD_CLIENT_BYTES                                                                           \
    (16u << 20) /* of buffers that a client has at once, unless one is larger */
#define NBD_STAGE        (32u << 10) /* bytes of a client that are received ahead */
#define NBD_QUEUE_DEPTH  128u        /* pieces of all clients with the device at once */
#define NBD_HANDSHAKE_NS (10 * LOOP_NS_PER_S)
#define NBD_STOP_NS      LOOP_NS_PER_S        /* to take replies when the export is being stopped */
#define NBD_LEAVE_NS     (10 * LOOP_NS_PER_S) /* to take replies after NBD_CMD_DISC */
#define NBD_SHORT_NS     (10 * LOOP_NS_PER_S) /* for memory to be there, when nothing is under way */
#define NBD_AGAIN_NS     (100 * LOOP_NS_PER_MS)                     /* between tries to get it */
#define NBD_EXTENTS      (NBD_BUF_MIN / sizeof(struct bdev_extent)) /* of one BLOCK_STATUS */

_Static_assert(NBD_STAGE >= NBD_HANDSHAKE_IN, "an option fits");

struct nbd_client;

/* A request of a client.  It is on one list at a time: free, done by the device, to be sent. */
struct nbd_req {
    struct bdev_req r;
    struct nbd_client *c;
    struct nbd_req *next;
    struct iovec iov; /* of the data; iov_base NULL: it has no buffer */
    struct nbd_head h;
    uint32_t error; /* NBD_E..., and why */
    const char *text;
    bool flushes; /* what it wrote is being flushed */
    uint8_t head_len;
    uint8_t head[sizeof(struct nbd_chunk_data)]; /* of the reply */
    struct iovec body;                           /* what follows it */
};

struct nbd_list { /* first in, first out */
    struct nbd_req *first, **last;
};

static inline void
nbd_list_init(struct nbd_list *l)
{
    l->first = NULL;
    l->last = &l->first;
}

static inline void
nbd_list_add(struct nbd_list *l, struct nbd_req *r)
{
    r->next = NULL;
    *l->last = r;
    l->last = &r->next;
}

static inline struct nbd_req *
nbd_list_take(struct nbd_list *l)
{
    struct nbd_req *r = l->first;

    if (r != NULL && (l->first = r->next) == NULL)
        l->last = &l->first;
    return r;
}

enum nbd_phase {
    NBD_PHASE_HANDSHAKE,
    NBD_PHASE_REQUESTS,
    NBD_PHASE_LEAVING, /* it sends nothing more that counts; what is under way is answered */
};

struct nbd_client {
    struct export *e;
    struct list node;  /* of the export */
    struct list dirty; /* export.dirty, while it has something to send */
    struct list lacks; /* export.lacking, while its next request waits for memory */
    struct stream *s;  /* NULL: gone; what it has with the device is waited for */
    enum nbd_phase phase;
    bool broken; /* the connection is to be given up */

    struct nbd_handshake hs;
    struct loop_timer limit; /* of the handshake, and of taking the last replies */
    uint8_t out[NBD_HANDSHAKE_OUT];
    size_t out_from, out_len;
    enum nbd_step after; /* what follows when `out` has been sent */
    bool reads;          /* the loop tells when there are bytes */

    struct nbd_req *reqs; /* NBD_DEPTH; NULL before the first */
    struct nbd_req *free; /* chained by `next` */
    uint32_t used;        /* requests that are not free */
    uint32_t busy;        /* of these, how many the device has */
    size_t bytes;         /* of the buffers that they have */

    struct nbd_req *incoming; /* a write whose data is being received; of one that was refused, and
                                 has no buffer, it is dropped */
    uint32_t have;            /* bytes of it */
    bool stalled;             /* a request waits for the end of others, or for memory, and nothing
                                 is read */
    bool large;               /* the last write was, so that the next is not received ahead */
    uint32_t from, to;        /* bytes of stage that are not looked at yet */
    uint8_t *stage;           /* NBD_STAGE */

    struct nbd_list replies;
    size_t sent; /* bytes of the first of them */
};

struct export
{
    struct bdev *b;
    struct loop *loop;
    struct bdev_queue *q;
    struct bdev_listener events;
    bool read_only;
    struct stream *listener;
    struct list clients;       /* nbd_client */
    uint32_t nclients, nconns; /* of them, and of those with a connection */
    struct list dirty;         /* nbd_client */
    struct list lacking;       /* nbd_client; who came first is the first */
    uint64_t lacking_ns;       /* since when (loop clock), or when a request has ended since */
    struct loop_timer again;   /* tries to get memory for them */
    struct nbd_list done;      /* requests that the device has ended */
    struct loop_work work; /* deals with done and dirty, with clients that are gone, and with the
                              end */
    struct nbd_memory memory;
    struct export_stats stats;
    const struct export_events *ev;
    void *user;
    bool gone, told;             /* the device is; and ev->stopped knows it */
    void (*stopped)(void *user); /* NULL: stop has not been called */
    void *stopped_user;
};

/* Has nbd_client_tend called for c at the end of this turn. */
static inline void
nbd_client_touch(struct nbd_client *c)
{
    if (list_empty(&c->dirty))
        list_push_back(&c->e->dirty, &c->dirty);
    loop_defer(c->e->loop, &c->e->work);
}

/* ---- tx.c ---- */

/* Makes the reply of r, which has ended as r->error says, and queues it.  Of a client that is gone,
 * r is freed instead. */
void nbd_reply(struct nbd_req *r);
/* Sends what is queued.  False: the connection is lost. */
bool nbd_send(struct nbd_client *c);
/* r and its buffer may be used again. */
void nbd_req_free(struct nbd_req *r);

/* ---- rx.c ---- */

/* Receives and takes requests; may set broken. */
void nbd_receive(struct nbd_client *c);
/* Goes on with the bytes that are there, after requests have ended. */
void nbd_take_staged(struct nbd_client *c);
/* The device has ended r, which is taken off export.done: answers it, or flushes what it wrote. */
void nbd_req_ended(struct nbd_req *r);

/* ---- client.c ---- */

/* Takes a connection, or closes it. */
void nbd_client_new(struct export *e, struct stream *s);
/* Takes no more requests from the client; the rest follows by nbd_client_tend.  Options of one that
 * is in its handshake are refused from now on, until nbd_client_cut. */
void nbd_client_leave(struct nbd_client *c);
/* Closes the connection; the rest follows by nbd_client_tend. */
void nbd_client_cut(struct nbd_client *c);
/* Sends, reads on where that has become possible, and frees c when there is nothing left of it. */
void nbd_client_tend(struct nbd_client *c);
/* Requests that wait for memory are tried again. */
void nbd_take_lacking(struct export *e);

#endif
