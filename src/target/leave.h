/* SPDX-License-Identifier: MIT */
/* target/leave.h - ends what has to end when a connection leaves its session (RFC
 * 7143 11.14, 6.3.5).
 */
#ifndef TARGET_LEAVE_H
#define TARGET_LEAVE_H

struct tgt_conn;
struct tgt_session;

/* Ends the commands and task management functions of the connection `only`, or with NULL of the
 * whole session, without responses, as a logout demands. */
void tgt_end_commands(struct tgt_session *s, const struct tgt_conn *only);

/* Called when c is dead.  Ends its commands and task management functions, with unit attention
 * 47/7F if the session goes on; ends the session if c was its last connection. */
void tgt_leave_session(struct tgt_conn *c);

#endif
