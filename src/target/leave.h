/* SPDX-License-Identifier: MIT */
/* target/leave.h - ends what has to end when a connection leaves its session (RFC
 * 7143 11.14, 6.3.5).
 */
#ifndef TARGET_LEAVE_H
#define TARGET_LEAVE_H

struct tgt_conn;
struct tgt_session;

/* Ends the commands and task management functions of the connection `only`, or with NULL of the
 * whole session, without responses, as a logout demands.  Where the session goes on without `only`,
 * unit attention 47/7F tells of the commands (RFC 7143 7.6, 11.14.5). */
void tgt_end_commands(struct tgt_session *s, const struct tgt_conn *only);

/* Takes c out of the list of its session, which ends if nothing is left of it. */
void tgt_leave_list(struct tgt_conn *c);

/* Tells the other connections of s that c is gone, unless c->asked (11.9.1, event 2). */
void tgt_leave_told(struct tgt_conn *c, struct tgt_session *s);

/* Called when c is dead.  Ends its commands and task management functions, and tells the other
 * connections unless c->asked (11.9.1, event 2); ends the session if c was its last connection. */
void tgt_leave_session(struct tgt_conn *c);

#endif
