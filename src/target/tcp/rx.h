/* SPDX-License-Identifier: MIT */
/* target/tcp/rx.h - receiving: many PDUs from one receive, large Data-Out straight into a unit's
 * memory. */
#ifndef TARGET_TCP_RX_H
#define TARGET_TCP_RX_H

/* stream_events.readable of a struct tgt_tcp: reads what there is, within bounds. */
void tgt_rx_readable(void *tcp);

#endif
