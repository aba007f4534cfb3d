/* SPDX-License-Identifier: MIT */
/* target/session.h - sessions: found by initiator port, with their connections and their numbers.
 *
 * A session comes into being with the last Login Response of its first
 * connection and ends with its last one (leave.c).  It owns its commands
 * (command.c), orders them (order.c), and its task management (tmf.c).
 */
#ifndef TARGET_SESSION_H
#define TARGET_SESSION_H

#include "target/state/session.h"

/* node may be NULL.  NULL: there is no such session. */
struct tgt_session *tgt_session_find(struct target *t, const struct tgt_node *node,
                                     const char *initiator, const uint8_t isid[6]);

/* The next one of the same port: of unnamed discovery there may be one through each portal. */
struct tgt_session *tgt_session_find_next(struct tgt_session *s);

/* A session without connections; the caller adds one or calls tgt_session_end.  NULL without
 * memory. */
struct tgt_session *tgt_session_new(struct target *t, struct tgt_node *node, const char *initiator,
                                    const uint8_t isid[6]);

/* Ends the tasks that wait in s for another connection, and s if it has none. */
void tgt_session_forget(struct tgt_session *s);

/* Closes all connections of s, and so ends s.  why is for the log. */
void tgt_session_kill(struct tgt_session *s, const char *why);

/* Whoever sends a PDU of a wrong form cannot be trusted with any: the session of c ends, on all of
 * its connections (RFC 7143 7.7), or c alone where it has none. */
void tgt_format_error(struct tgt_conn *c, const char *why);

/* Removes a session in which nothing is left from the target.  Its memory stays until the end of
 * the turn. */
void tgt_session_end(struct tgt_session *s);

void tgt_session_add_conn(struct tgt_session *s, struct tgt_conn *c);
/* Returns the connection with that CID, or NULL. */
struct tgt_conn *tgt_session_conn(struct tgt_session *s, uint16_t cid);

/* Returns a new Target Transfer Tag, which is not the reserved one. */
uint32_t tgt_session_ttt(struct tgt_session *s);

#endif
