/* SPDX-License-Identifier: MIT */
/* capture/segment.h - headers of IP and TCP for bytes whose real ones the kernel has. */
#ifndef CAPTURE_SEGMENT_H
#define CAPTURE_SEGMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"

#define SEGMENT_HEAD_MAX    60    /* IPv6 and TCP */
#define SEGMENT_PAYLOAD_MAX 65280 /* bytes of one segment: with its headers it is below 64 KiB */

enum segment_flags {
    SEGMENT_FIN = 0x01,
    SEGMENT_SYN = 0x02,
    SEGMENT_PSH = 0x08,
    SEGMENT_ACK = 0x10
};

/* One connection.  Its sequence numbers begin with 0, so that the first byte of each direction has
 * 1. */
struct conversation {
    struct sock_addr local, peer; /* both of IPv4, or both of IPv6 */
    uint32_t next[2];             /* [sent]: the next sequence number of each direction */
};

/* Takes the addresses, or makes some up (of RFC 5737, with that port) where they are not of IP. */
void conversation_init(struct conversation *v, const struct sock_addr *local,
                       const struct sock_addr *peer, uint16_t made_up_port);

/* Writes the headers of the next segment with that many bytes of payload, and counts these. Returns
 * the bytes of the headers. */
uint32_t segment_head(struct conversation *v, bool sent, uint8_t flags, uint32_t payload,
                      uint8_t out[SEGMENT_HEAD_MAX]);

#endif
