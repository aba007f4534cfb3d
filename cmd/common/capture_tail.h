/* SPDX-License-Identifier: MIT */
/* cmd/common/capture_tail.h - how a capture went, from the pcapng that is made of it.
 *
 * Whoever writes the file shows all bytes here as they come.  The last block says how many packets
 * there are, how many were left out, and why the capture has ended.
 */
#ifndef CMD_COMMON_CAPTURE_TAIL_H
#define CMD_COMMON_CAPTURE_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CAPTURE_TAIL_KEPT 1024 /* bytes of a block that are looked at */

/* All zeroes before the first byte. */
struct capture_tail {
    uint64_t whole; /* bytes up to the end of the last whole block */
    uint8_t block[CAPTURE_TAIL_KEPT];
    uint32_t at, block_len; /* of the block that comes: bytes, and its length; 0: not known yet */
    bool done;              /* the last block has come: what follows is known */
    uint64_t packets, dropped;
    char reason[512]; /* why it has ended */
};

/* The next len bytes, which may end anywhere; what is no pcapng does no harm. */
void capture_tail_take(struct capture_tail *t, const uint8_t *bytes, size_t len);

#endif
