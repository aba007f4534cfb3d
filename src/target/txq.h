/* SPDX-License-Identifier: MIT */
/* target/txq.h - what a connection has to send: a queue of commands and control PDUs.
 *
 * Its face makes PDUs of them and sends these; everybody else only queues.
 */
#ifndef TARGET_TXQ_H
#define TARGET_TXQ_H

#include "target/face.h"
#include "target/state/conn.h"
#include "target/state/txq.h"

/* Queues tx, which is in no queue, and lets it leave at the end of the turn. */
void tgt_tx_queue(struct tgt_conn *c, struct tgt_tx *tx);

/* Frees buf (may be NULL) when everything that the face has taken has left. */
static inline void
tgt_tx_release(struct tgt_conn *c, void *buf)
{
    if (buf != NULL)
        c->face->release(c, buf);
}

/* A control PDU for the caller to fill in and send; NULL without memory. */
struct tgt_ctl *tgt_ctl_new(uint8_t opcode, uint32_t itt);
/* The same with a copy of len bytes of data; data may be NULL if len is 0. */
struct tgt_ctl *tgt_ctl_new_with(uint8_t opcode, uint32_t itt, const void *data, uint32_t len);
/* Queues ctl, and owns it from then on. */
void tgt_ctl_send(struct tgt_conn *c, struct tgt_ctl *ctl);
/* Frees ctl, whose PDU has been made or will not be made. */
void tgt_ctl_free(struct tgt_conn *c, struct tgt_ctl *ctl);

/* ctl is out of the queue, and stays. */
void tgt_ctl_left(struct tgt_conn *c, struct tgt_ctl *ctl);
/* Frees ctl, which was kept, and may be in the queue once more. */
void tgt_ctl_forget(struct tgt_conn *c, struct tgt_ctl *ctl);

/* Drops all PDUs that are queued. */
void tgt_tx_drop(struct tgt_conn *c);

#endif
