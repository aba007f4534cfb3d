/* SPDX-License-Identifier: MIT */
/* target/state/txq.h - the structures of target/txq.h, which says what they are for. */
#ifndef TARGET_STATE_TXQ_H
#define TARGET_STATE_TXQ_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "wire/bhs.h"

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

#endif
