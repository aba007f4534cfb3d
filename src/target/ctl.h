/* SPDX-License-Identifier: MIT */
/* target/ctl.h - control PDUs that several modules send: Reject, NOP-In, Asynchronous Message. */
#ifndef TARGET_CTL_H
#define TARGET_CTL_H

#include <stdbool.h>
#include <stdint.h>

struct bhs;
struct tgt_conn;

/* Sends a Reject of the request whose header of hdr_len bytes (AHS included) is h.  Closes c when
 * there is no memory for it. */
void tgt_reject(struct tgt_conn *c, const struct bhs *h, uint32_t hdr_len, uint8_t reason);

/* Does the same, and closes the connection when the Reject has been sent. */
void tgt_reject_and_close(struct tgt_conn *c, const struct bhs *h, uint8_t reason);

/* Rejects a SNACK Request for the Data-In of the command itt from DataSN `begin` on, `run` of them,
 * which turns out not to be readable any more.  Does nothing without memory. */
void tgt_reject_snack(struct tgt_conn *c, uint32_t itt, uint32_t begin, uint32_t run);

/* Send a NOP-In: tgt_nop_ping one that asks for an answer, tgt_nop_tell one that only reports
 * ExpCmdSN and MaxCmdSN. */
void tgt_nop_ping(struct tgt_conn *c);
void tgt_nop_tell(struct tgt_conn *c);

/* Sends an Asynchronous Message (RFC 7143 11.9.1) with Parameter1 to Parameter3, and closes the
 * connection behind it where `close` is set. */
void tgt_tell_async(struct tgt_conn *c, uint8_t event, const uint16_t param[3], bool close);

/* Tells that all tasks of a unit are being ended (event 5), which asks for a NOP-Out.  Only for
 * sessions with TaskReporting=FastAbort. */
void tgt_tell_fast_abort(struct tgt_conn *c, const uint8_t lun[8]);

/* Asks the initiator to log out within that time (RFC 7143 11.9.1, event 1). */
void tgt_ask_logout(struct tgt_conn *c, uint32_t seconds);

#endif
