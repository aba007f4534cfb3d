/* SPDX-License-Identifier: MIT */
/* target/txq.h - what a connection has to send: a queue of commands and control PDUs, and the ring
 * of PDUs that are made of them.
 *
 * tx.c makes and sends PDUs; everybody else only queues.
 */
#ifndef TARGET_TXQ_H
#define TARGET_TXQ_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "lu/cmd.h"
#include "target/bounds.h"
#include "wire/bhs.h"
#include "wire/pdu.h"

struct target;
struct tgt_conn;

struct tgt_tx {
    struct list link; /* conn->txq */
    bool is_cmd;      /* a struct tgt_cmd, else a struct tgt_ctl */
};

/* A PDU that is not about data. */
struct tgt_ctl {
    struct tgt_tx tx;
    uint8_t hdr[ISCSI_BHS_LEN];
    uint8_t *data; /* of lu_buf_alloc, owned; may be NULL */
    uint32_t len;
    bool numbered;                    /* takes a StatSN */
    bool close_after;                 /* the connection ends when it is sent */
    void (*made)(struct tgt_conn *c); /* called when the PDU is made: what is made behind it goes by
                                         what it says; may be NULL */
};

/* A PDU that is made. */
struct tgt_slot {
    uint8_t hdr[ISCSI_BHS_LEN + PDU_DIGEST_LEN];
    uint8_t tail[4 + PDU_DIGEST_LEN]; /* padding, data digest */
    uint8_t small[LU_SENSE_MAX + 4];  /* sense data */
    const uint8_t *data;
    void *owned; /* chain of lu_buf_alloc memory, freed when it is sent */
    uint32_t data_len;
    uint8_t hdr_len, tail_len;
    bool digest;  /* the data digest is computed just before it leaves */
    bool corrupt; /* a fault spoils the digest */
    bool close_after;
};

/* The PDUs of one connection between txq and socket; borrowed from the target while there are any.
 */
struct tgt_ring {
    struct list link; /* target->free_rings */
    struct tgt_slot slots[TGT_RING];
    uint32_t head, count; /* slots [head, head + count) are unsent */
    size_t sent;          /* bytes of slots[head] that are gone */
    uint8_t *bounce;      /* copy of the data of a PDU that is partly sent, owned */
    uint32_t bounce_size;
};

static inline struct tgt_slot *
tgt_slot_at(struct tgt_ring *r, uint32_t i)
{
    return &r->slots[(r->head + i) % TGT_RING];
}

/* buf (of lu_buf_alloc) becomes the slot's. */
void tgt_slot_own(struct tgt_slot *slot, void *buf);

/* Queues tx, which is in no queue, and lets it leave at the end of the turn. */
void tgt_tx_queue(struct tgt_conn *c, struct tgt_tx *tx);

/* Frees buf (may be NULL) when everything that is in the ring now has left. */
void tgt_tx_release(struct tgt_conn *c, void *buf);

/* A control PDU for the caller to fill in and send; NULL without memory. */
struct tgt_ctl *tgt_ctl_new(uint8_t opcode, uint32_t itt);
/* Takes ctl. */
void tgt_ctl_send(struct tgt_conn *c, struct tgt_ctl *ctl);
/* It is made, or will never be. */
void tgt_ctl_free(struct tgt_conn *c, struct tgt_ctl *ctl);

/* Forgets what is queued and what is in the ring. */
void tgt_tx_drop(struct tgt_conn *c);

/* Gives c a ring if it has none; false without memory. */
bool tgt_ring_take(struct tgt_conn *c);
void tgt_ring_put(struct tgt_conn *c);
/* For the end of the target. */
void tgt_rings_free(struct target *t);

#endif
