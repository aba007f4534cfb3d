/* SPDX-License-Identifier: MIT */
/* target/snack.h - SNACK Request (RFC 7143 11.16), from error recovery level 1 on.
 *
 * Status is kept (keep.h).  Data-In is not: it is read from the unit again.  A block that was
 * written in between then has its new content, as it could have had at once, since the
 * read is not over for the initiator; and no read costs a copy for the sake of the few that are
 * asked for again.  Parameter data, which no unit has, is kept with its command.
 */
#ifndef TARGET_SNACK_H
#define TARGET_SNACK_H

struct bhs_snack_req;
struct tgt_conn;

/* Carries out a request: queues what is to be sent again, or a Reject. */
void tgt_snack_pdu(struct tgt_conn *c, const struct bhs_snack_req *h);

#endif
