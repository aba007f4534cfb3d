/* SPDX-License-Identifier: MIT */
/* target/conn.h - a connection as all modules share it; what ends it; what the log says of it.
 *
 * Its face (face.h) receives and sends for it, login*.c log it in, and serve.c connects these.
 * All of them call the functions of this header, which call none of them; what happens
 * to a connection is reported through tgt_conn_ops.
 */
#ifndef TARGET_CONN_H
#define TARGET_CONN_H

#include "target/state/conn.h"

/* Closes a connection.  Its commands end in this call, and so does its session if it was the last.
 * The caller must not use its queues any more, or what its face has, but the memory stays until the
 * end of the turn.  why is for the log and may be NULL.  A second call does nothing. */
void tgt_conn_kill(struct tgt_conn *c, const char *why);

/* c, if it is in full feature phase, receives nothing from now on, and ends when what is queued has
 * left, or when its initiator reads nothing of that for some time. */
void tgt_conn_close_soon(struct tgt_conn *c);

/* Count c, which has been accepted, among those that are not logged in, and end that. */
void tgt_conn_logs_in(struct tgt_conn *c);
void tgt_conn_logged_in(struct tgt_conn *c);

void tgt_conn_log(const struct tgt_conn *c, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
