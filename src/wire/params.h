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

/* Takes over a result or the peer's declaration; nothing for keys without a field and for outcomes
 * other than KEY_AGREED and KEY_DECLARED.  A declared MaxRecvDataSegmentLength is the peer's, so it
 * goes to max_xmit_dseg. */
void params_set(struct iscsi_params *p, const struct key *k, const struct key_value *v);

/* The value of k in p as text (what to offer or to hold against an offer) into buf[size]; its
 * length, -ENOBUFS, or -ENOENT when k has no field. */
int params_format(const struct iscsi_params *p, const struct key *k, char *buf, size_t size);

/* The rules that bind several keys, on the final set before it takes effect (6.2, 13.14, 13.19):
 * FirstBurstLength <= MaxBurstLength (unless irrelevant); ErrorRecoveryLevel > 0 with
 * DataSequenceInOrder needs MaxOutstandingR2T 1.  -EPROTO with the reason. */
int params_check_integrity(const struct iscsi_params *p, struct lunette_error *err);

#endif
