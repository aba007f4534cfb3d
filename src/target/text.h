/* SPDX-License-Identifier: MIT */
/* target/text.h - text negotiation in full feature phase: SendTargets and the few keys that may
 * change there (RFC 7143 11.10, 6.4, appendix C). */
#ifndef TARGET_TEXT_H
#define TARGET_TEXT_H

#include "target/state/text.h"

/* Carries out a Text Request that is complete and whose CmdSN has come up. */
void tgt_text_pdu(struct tgt_conn *c, const struct bhs_text_req *h, const uint8_t *data,
                  uint32_t len);

/* Ends c's negotiation, if there is one. */
void tgt_text_fini(struct tgt_conn *c);

#endif
