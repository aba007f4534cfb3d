/* SPDX-License-Identifier: MIT */
/* target/tx.h - what a turn has produced leaves in one gathered send; tx.c says how. */
#ifndef TARGET_TX_H
#define TARGET_TX_H

struct loop_work;

/* conn->flush: makes PDUs of conn->txq and sends them, as far as the socket takes them. */
void tgt_tx_flush(struct loop_work *w);

/* stream_events.writable of a connection. */
void tgt_tx_writable(void *conn);

#endif
