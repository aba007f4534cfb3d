/* SPDX-License-Identifier: MIT */
/* target/tcp/ring.h - the PDUs of a connection between its queue and its socket. */
#ifndef TARGET_TCP_RING_H
#define TARGET_TCP_RING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "lu/cmd.h"
#include "target/bounds.h"
#include "wire/bhs.h"
#include "wire/pdu.h"

struct target;
struct tgt_tcp;

/* A PDU that is ready to be sent. */
struct tgt_slot {
    uint8_t hdr[ISCSI_BHS_LEN + PDU_DIGEST_LEN];
    uint8_t tail[4 + PDU_DIGEST_LEN]; /* padding, data digest */
    uint8_t small[LU_SENSE_MAX + 4];  /* sense data */
    const uint8_t *data;
    void *owned; /* chain of lu_buf_alloc memory, freed when it is sent */
    uint32_t data_len;
    uint8_t hdr_len, tail_len;
    bool copied;  /* data is not the memory of a LUN */
    bool digest;  /* the data digest is computed just before it leaves */
    bool corrupt; /* a fault spoils the digest */
    bool close_after;
};

/* Borrowed from the target while there are any. */
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

/* Gives buf (of lu_buf_alloc) to the slot, which frees it when its PDU has been sent. */
void tgt_slot_own(struct tgt_slot *slot, void *buf);

/* Frees buf, which is not NULL, when everything that is in the ring now has left. */
void tgt_ring_release(struct tgt_tcp *f, void *buf);

/* Returns a ring of the target; NULL without memory. */
struct tgt_ring *tgt_ring_borrow(struct target *t);

/* Forgets the PDUs that are in the ring of f, if it has one, and gives the ring back. */
void tgt_ring_drop(struct tgt_tcp *f);

/* Frees the rings that are not in use, at the end of the target. */
void tgt_rings_free(struct target *t);

#endif
