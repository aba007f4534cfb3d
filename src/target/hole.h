/* SPDX-License-Identifier: MIT */
/* target/hole.h - a CmdSN that does not come.
 *
 * What was sent on a connection that is lost leaves a hole in the numbers of its session, and so
 * does a request that was rejected.  The initiator has to plug it (RFC 7143 7.2.1, 7.3, 11.6.1);
 * when it does not, what came after the hole would wait for ever.  The session then fails, and the
 * initiator starts anew (7.1.4.4).
 */
#ifndef TARGET_HOLE_H
#define TARGET_HOLE_H

struct tgt_session;

/* Called once for a new session. */
void tgt_hole_init(struct tgt_session *s);

/* Called when a request, or a function, begins to wait for a CmdSN that has not come. */
void tgt_hole_watch(struct tgt_session *s);

#endif
