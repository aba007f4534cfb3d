/* SPDX-License-Identifier: MIT */
/* target/segment.h - how the data of a read is cut into Data-In PDUs.
 *
 * A retransmission has the numbers and the bounds of the PDUs that were sent (RFC 7143
 * 11.16).  They follow from a few values that stay the same while a command sends, so
 * that nothing is written down for each PDU.  Pure functions.
 */
#ifndef TARGET_SEGMENT_H
#define TARGET_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

struct tgt_seg {
    uint32_t base_off, base_sn; /* Buffer Offset and DataSN of the first PDU */
    uint32_t xmit;              /* bytes of a PDU, at most */
    uint32_t burst;             /* ... of a sequence (MaxBurstLength) */
    uint32_t part;              /* a sequence also ends at multiples of this; 0: it does not */
};

/* Returns the bytes of the PDU that begins at off, of `total` bytes that the command sends. */
uint32_t tgt_seg_len(const struct tgt_seg *g, uint32_t off, uint32_t total);

/* Whether a sequence ends at `end`, which is behind a PDU. */
bool tgt_seg_final(const struct tgt_seg *g, uint32_t end, uint32_t total);

/* Whether the initiator is to acknowledge what it has at `end`: each MaxBurstLength bytes at most,
 * and not at the end, which its ExpStatSN acknowledges (11.7.2). */
bool tgt_seg_ack(const struct tgt_seg *g, uint32_t end, uint32_t total);

/* Returns the Buffer Offset of the PDU with that DataSN. */
uint32_t tgt_seg_off(const struct tgt_seg *g, uint32_t data_sn);

#endif
