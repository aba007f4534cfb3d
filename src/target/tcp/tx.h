/* SPDX-License-Identifier: MIT */
/* target/tcp/tx.h - sends all PDUs of a turn with one gathered send; tx.c says how. */
#ifndef TARGET_TCP_TX_H
#define TARGET_TCP_TX_H

struct loop_work;

/* conn->flush: makes PDUs of conn->txq and sends them, as far as the socket takes them. */
void tgt_tx_flush(struct loop_work *w);

/* stream_events.writable of a struct tgt_tcp. */
void tgt_tx_writable(void *tcp);

#endif
