/* SPDX-License-Identifier: MIT */
/* wire/params.h - sets, formats and checks the operational values (wire/iscsi_params.h).  Any
 * thread. */
#ifndef WIRE_PARAMS_H
#define WIRE_PARAMS_H

#include <stddef.h>

#include "base/err.h"
#include "wire/iscsi_params.h"
#include "wire/keys.h"

/* Sets the defaults of the RFCs. */
void params_init(struct iscsi_params *p);

/* Puts a negotiated result, or the peer's declaration, into p.  Does nothing for a key without a
 * field and for outcomes other than KEY_AGREED and KEY_DECLARED.  A declared
 * MaxRecvDataSegmentLength is the peer's and bounds what we send, so it goes to max_xmit_dseg. */
void params_set(struct iscsi_params *p, const struct key *k, const struct key_value *v);

/* Writes the value of k in p as text with a NUL into buf[size], as it is offered, or as
 * key_answer() wants it as `ours`.  Returns the length of the text, -ENOBUFS, or -ENOENT when k has
 * no field. */
int params_format(const struct iscsi_params *p, const struct key *k, char *buf, size_t size);

/* Checks the rules that concern several keys, on the final values before they take effect (RFC 7143
 * 6.2, 13.14, 13.19): FirstBurstLength <= MaxBurstLength, unless FirstBurstLength is irrelevant;
 * and MaxOutstandingR2T is 1 with ErrorRecoveryLevel > 0 and DataSequenceInOrder=Yes.  Returns 0,
 * or -EPROTO with the reason. */
int params_check_integrity(const struct iscsi_params *p, struct lunette_error *err);

#endif
