/* SPDX-License-Identifier: MIT */
/* target/lost.h - at error recovery level 2: a connection that was lost, whose tasks wait for
 * another one (RFC 7143 7.1.4.3, 7.2.2, 7.5).
 *
 * Its struct tgt_conn stays, dead and without a stream, in session->lost: tasks go on in the device
 * server and queue their answers there.  It ends after Time2Wait + Time2Retain, and what is then
 * left of its tasks with it.
 */
#ifndef TARGET_LOST_H
#define TARGET_LOST_H

#include <stdbool.h>
#include <stdint.h>

struct tgt_conn;
struct tgt_session;

/* Whether the tasks of c, which is dead, are to wait. */
bool tgt_lost_waits(const struct tgt_conn *c);

/* Called instead of the end of its tasks.  What cannot be reassigned ends: immediate commands, task
 * management, and what has not been acknowledged. */
void tgt_lost_begin(struct tgt_conn *c);

/* Ends the tasks of c and c itself.  The session ends if nothing else is left of it. */
void tgt_lost_end(struct tgt_conn *c);

/* The newest lost connection with that CID, or NULL. */
struct tgt_conn *tgt_lost_find(const struct tgt_session *s, uint16_t cid);

/* c is logged out for recovery, so that its tasks may be reassigned; the time begins anew. */
void tgt_lost_logged_out(struct tgt_conn *c);

#endif
