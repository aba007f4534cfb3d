/* SPDX-License-Identifier: MIT */
/* target/fence.h - the response fence of sessions with several connections (RFC 7143 4.2.2.3).
 *
 * A response that is fenced goes when all responses before it, on whatever connection, are
 * acknowledged, and those after it go when it is acknowledged itself.  This is the part that
 * waits; tmf.c says what for.
 */
#ifndef TARGET_FENCE_H
#define TARGET_FENCE_H

#include <stdbool.h>

struct tgt_conn;
struct tgt_session;

/* Called once for a new session. */
void tgt_fence_init(struct tgt_session *s);

/* Waits for all of the session's connections but one to acknowledge what is queued or sent there,
 * or with `others` false for that one alone, and asks for it by NOP-In.  Then calls passed, perhaps
 * before it returns.  A connection that does not answer in time is lost, which ends the wait for
 * it.
 */
void tgt_fence_wait(struct tgt_session *s, struct tgt_conn *one, bool others,
                    void (*passed)(struct tgt_session *s));

/* Lets all connections but one send nothing more, or all of them go on (NULL). */
void tgt_fence_hold(struct tgt_session *s, const struct tgt_conn *but);

/* Called when ExpStatSN of c may have grown. */
void tgt_fence_acked(struct tgt_conn *c);

/* Called when c leaves its session. */
void tgt_fence_leave(struct tgt_conn *c);

#endif
