/* SPDX-License-Identifier: MIT */
/* target/ffp.h - full feature phase: what each request does once it is complete (RFC 7143 11). */
#ifndef TARGET_FFP_H
#define TARGET_FFP_H

#include <stdint.h>

struct tgt_conn;

/* A PDU whose header is in c->h, other than Data-Out, complete and in good order. */
void tgt_ffp_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len);

#endif
