/* SPDX-License-Identifier: MIT */
/* target/iser/tx.h - sending: PDUs as messages, data by RDMA Read and Write. */
#ifndef TARGET_ISER_TX_H
#define TARGET_ISER_TX_H

#include "target/iser/iser.h"

/* flush of the face. */
void tgt_iser_flush(struct loop_work *w);

/* The request with that id is done, and those before it that were quiet.  It may end the
 * connection. */
void tgt_iser_done(struct tgt_iser *f, uint64_t id);

/* What request id was, for a person. */
const char *tgt_iser_request_name(const struct tgt_iser *f, uint64_t id);

/* forget of the face. */
void tgt_iser_forget(struct tgt_cmd *cmd);

#endif
