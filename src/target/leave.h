/* SPDX-License-Identifier: MIT */
/* target/leave.h - what ends when a connection leaves its session (RFC 7143 11.14, 6.3.5). */
#ifndef TARGET_LEAVE_H
#define TARGET_LEAVE_H

struct tgt_conn;
struct tgt_session;

/* Ends the commands and functions of one connection, or all of the session (only NULL), without
 * responses: a logout. */
void tgt_end_commands(struct tgt_session *s, const struct tgt_conn *only);

/* c is dead: its commands and functions end, with unit attentions (47/7F) if the session lives on,
 * and the session ends with its last connection. */
void tgt_leave_session(struct tgt_conn *c);

#endif
