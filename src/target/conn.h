/* SPDX-License-Identifier: MIT */
/* target/conn.h - a connection as all modules share it; what ends it; what the log says of it.
 *
 * rx.c reads into it, tx.c sends from it, login*.c begin it, serve.c puts them
 * together: what happens to a connection goes up to them through tgt_conn_ops,
 * so that everybody can call what is here.
 */
#ifndef TARGET_CONN_H
#define TARGET_CONN_H

#include "target/state/conn.h"

/* The connection is gone: its commands, and its session if it was the last, end in this call.  The
 * caller must not touch its streams or queues any more, but the memory stays until the end of the
 * turn.  why, for the log, may be NULL.  A second call is harmless. */
void tgt_conn_kill(struct tgt_conn *c, const char *why);

void tgt_conn_log(const struct tgt_conn *c, enum log_level level, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
