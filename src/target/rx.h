/* SPDX-License-Identifier: MIT */
/* target/rx.h - receiving: many PDUs from one receive, large Data-Out straight into a unit's
 * memory. */
#ifndef TARGET_RX_H
#define TARGET_RX_H

/* stream_events.readable of a connection: reads what there is, within bounds. */
void tgt_rx_readable(void *conn);

#endif
