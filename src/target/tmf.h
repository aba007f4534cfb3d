/* SPDX-License-Identifier: MIT */
/* target/tmf.h - task management (RFC 7143 11.5, 11.6, and 4.2.3.3 with the semantics of RFC 3720).
 */
#ifndef TARGET_TMF_H
#define TARGET_TMF_H

#include "target/state/tmf.h"

/* Carries out a request whose CmdSN has come up, or that is immediate. */
void tgt_tmf_pdu(struct tgt_conn *c, const struct bhs_tmf_req *h);

/* Called when ExpCmdSN has advanced: runs the functions that waited for it. */
void tgt_tmf_run_waiting(struct tgt_session *s);

/* Called for each command c that the device server has to end for t.  Ends c and returns true; or
 * returns false if c was sent after t. */
bool tgt_tmf_abort(struct tgt_tmf *t, struct tgt_cmd *c);

/* Called when the answer of c is ready and the session's fence_ua is set.  True: c waits, and its
 * answer is queued when it may go. */
bool tgt_tmf_fence_answer(struct tgt_cmd *c);

/* Frees a command in state DRAIN whose data has come, or will not come. */
void tgt_tmf_drained(struct tgt_cmd *c);

/* Forgets the functions that came on conn, or all of the session (conn NULL). */
void tgt_tmf_drop(struct tgt_session *s, const struct tgt_conn *conn);

#endif
