/* SPDX-License-Identifier: MIT */
/* target/flow.h - when a connection is not read.
 *
 * An initiator that sends requests and does not read the answers must not make the
 * answers pile up here: when a number of control PDUs waits to be sent, its
 * connection is not read until half of them have left.  Its face then stops the initiator.
 * One that has sent thousands of PDUs at once is dealt with in portions, one in each
 * turn, so that other connections get theirs in between.
 */
#ifndef TARGET_FLOW_H
#define TARGET_FLOW_H

#include <stdbool.h>

#include "target/state/conn.h"

/* Make c's part of this, and undo it. */
void tgt_flow_init(struct tgt_conn *c);
void tgt_flow_stop(struct tgt_conn *c);

/* Tells whether one more PDU may be dealt with in this turn. */
static inline bool
tgt_flow_open(const struct tgt_conn *c)
{
    return c->ctl_count < TGT_CTL_MAX && c->ctl_bytes < TGT_CTL_BYTES && c->turn_pdus < TGT_RX_PDUS;
}

/* Called when tgt_flow_open is false: c is not read any more until it is true again, which ends
 * with a call of receive of its face. */
void tgt_flow_pause(struct tgt_conn *c);

/* Called when PDUs of c have left. */
void tgt_flow_sent(struct tgt_conn *c);

#endif
