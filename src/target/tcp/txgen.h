/* SPDX-License-Identifier: MIT */
/* target/tcp/txgen.h - what commands send: R2T, Data-In, SCSI Response (RFC 7143 11.4, 11.7, 11.8).
 */
#ifndef TARGET_TCP_TXGEN_H
#define TARGET_TCP_TXGEN_H

#include <stdbool.h>

struct tgt_cmd;
struct tgt_slot;

/* Makes the next PDU of a command in a slot; false: there is nothing (more) to send now.  The
 * command is freed with its last PDU, and leaves txq when it has nothing to send. */
bool tgt_cmd_next_pdu(struct tgt_cmd *c, struct tgt_slot *slot);

#endif
