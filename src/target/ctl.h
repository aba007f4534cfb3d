/* SPDX-License-Identifier: MIT */
/* target/ctl.h - control PDUs that several modules send: Reject, NOP-In, Asynchronous Message. */
#ifndef TARGET_CTL_H
#define TARGET_CTL_H

#include <stdint.h>

struct bhs;
struct tgt_conn;

/* Rejects the request whose header of hdr_len bytes (with AHS) is h.  Kills c without memory. */
void tgt_reject(struct tgt_conn *c, const struct bhs *h, uint32_t hdr_len, uint8_t reason);
/* ... and ends the connection when the Reject has left. */
void tgt_reject_and_close(struct tgt_conn *c, const struct bhs *h, uint8_t reason);

/* NOP-In that asks for an answer; that only tells the numbers. */
void tgt_nop_ping(struct tgt_conn *c);
void tgt_nop_tell(struct tgt_conn *c);

/* Asks the initiator to log out within that time (RFC 7143 11.9.1, event 1). */
void tgt_ask_logout(struct tgt_conn *c, uint32_t seconds);

#endif
