/* SPDX-License-Identifier: MIT */
/* target/state/txq.h - the structures of target/txq.h, which says what they are for. */
#ifndef TARGET_STATE_TXQ_H
#define TARGET_STATE_TXQ_H

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
    bool again;       /* kept: its status is to leave once more, with the number that it had */
    struct list kept; /* conn->kept, from error recovery level 1 on */
    uint32_t stat_sn; /* kept: its number */
    uint32_t bytes;   /* kept: of its data */
};

/* A PDU that belongs to no struct tgt_cmd: anything but R2T, Data-In and SCSI Response. */
struct tgt_ctl {
    struct tgt_tx tx;
    uint8_t hdr[ISCSI_BHS_LEN];
    uint8_t *data; /* of lu_buf_alloc, owned; may be NULL */
    uint32_t len;
    bool numbered;    /* takes a StatSN */
    bool close_after; /* the connection ends when it is sent */
    /* Called when the PDU is made, to change the state for all PDUs that are made after it, such as
     * the digests after the last Login Response; may be NULL. */
    void (*made)(struct tgt_conn *c);
};

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

#endif
