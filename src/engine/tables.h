/* SPDX-License-Identifier: MIT */
/* engine/tables.h - serves the requests about the tables of an engine: NEW_FLASHNODE to
 * GET_HOST_STATS of seam/ipc.h.  On the loop of the logins.
 *
 * Text of a request is NEW_FLASHNODE, SET_FLASHNODE: lines "NAME = VALUE" (engine/flash_text.h);
 * SET_CHAP: the name, a newline, and the secret; SEND_PING: "HOST:PORT".
 *
 * A line of LIST_FLASHNODES is "INDEX STATE TARGET PORTAL" with '-' for what is not set, and behind
 * that, where something is wrong, a blank and the sentence.  STATE is one of
 *
 *   NEW     not logged in      LOGIN  logs in, or does it again     ACTIVE  logged in
 *   FAILED  it could not; it goes on trying where somebody wants it
 *
 * A line of LIST_CHAP is "INDEX NAME".  Both begin at the index of the request.
 */
#ifndef ENGINE_TABLES_H
#define ENGINE_TABLES_H

#include "engine/login.h"

/* Is that request served here? */
bool engine_table_is(enum iscsi_uevent_type type);

/* Answers one, which is such a request, through from->reply, at once or later.  All arguments are
 * borrowed for the call.  Errors are told as sentences: -EINVAL, -ENOENT, -EBUSY, -EXDEV and so on
 * as the functions of engine/flash.h and engine/login.h say. */
void engine_table_serve(struct engine_logins *e, const struct ipc_client *from,
                        const struct iscsi_uevent *ev, const void *data, uint32_t len);

/* That client (its binding) is gone: its late answers are dropped. */
void engine_table_forget(struct engine_logins *e, const struct ipc_client *from);

#endif
