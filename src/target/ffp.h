/* SPDX-License-Identifier: MIT */
/* target/ffp.h - carries out the requests of the full feature phase (RFC 7143 11). */
#ifndef TARGET_FFP_H
#define TARGET_FFP_H

#include <stdint.h>

struct tgt_conn;

/* Handles a PDU other than Data-Out that is complete and whose header, in c->h, has been checked.
 */
void tgt_ffp_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len);

#endif
