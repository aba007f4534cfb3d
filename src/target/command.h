/* SPDX-License-Identifier: MIT */
/* target/command.h - a request that lives longer than its PDU: a SCSI command, or any request that
 * waits for the turn of its CmdSN.
 *
 * Here is the life of one, from tgt_cmd_new to tgt_cmd_free.  exec.c runs SCSI
 * commands, dataout.c receives for them, txgen.c sends for them.
 */
#ifndef TARGET_COMMAND_H
#define TARGET_COMMAND_H

#include "target/state/command.h"

/* Of a request in conn's session, in state DATA; NULL without memory.  h: its header, of any kind.
 */
struct tgt_cmd *tgt_cmd_new(struct tgt_conn *conn, const struct bhs_scsi_cmd *h);

/* By ITT; NULL: none. */
struct tgt_cmd *tgt_cmd_find(const struct tgt_session *s, uint32_t itt);

/* Out of everything, without a response. */
void tgt_cmd_free(struct tgt_cmd *c);

/* The device server no longer uses a command that was freed. */
void tgt_cmd_released(struct tgt_cmd *c);

/* It needs no room in the window any more: its response is made. */
void tgt_cmd_close_window(struct tgt_cmd *c);

/* Ends a SCSI command without a response.  tmf (may be NULL) waits for its Data-Out: then it stays
 * in state DRAIN as long as there is some under way. */
void tgt_cmd_abort(struct tgt_cmd *c, struct tgt_tmf *tmf);

/* It has something to send: state SEND. */
void tgt_cmd_queue(struct tgt_cmd *c);

/* For the end of the target. */
void tgt_cmd_pool_fini(struct target *t);

#endif
