/* SPDX-License-Identifier: MIT */
/* target/command.h - a request that lives longer than its PDU: a SCSI command, or any request that
 * waits for the turn of its CmdSN.
 *
 * A request lives from tgt_cmd_new to tgt_cmd_free.  exec.c runs SCSI commands,
 * dataout.c receives their data, txgen.c makes what they send.  Loop's thread, as all of
 * target/.
 */
#ifndef TARGET_COMMAND_H
#define TARGET_COMMAND_H

#include "target/state/command.h"
#include "target/state/conn.h"

/* Makes a command in state DATA, for a request that came on conn with header h, which may be of any
 * kind.  Returns NULL without memory. */
struct tgt_cmd *tgt_cmd_new(struct tgt_conn *conn, const struct bhs_scsi_cmd *h);

/* Returns the session's command with that ITT, or NULL. */
struct tgt_cmd *tgt_cmd_find(const struct tgt_session *s, uint32_t itt);

/* Takes a command out of all lists and frees it, without a response. */
void tgt_cmd_free(struct tgt_cmd *c);

/* The answer of a command has left, and is kept until it is acknowledged: the command is no task
 * any more, and goes to state SENT.  tgt_cmd_forget frees it then. */
void tgt_cmd_sent(struct tgt_cmd *c);
void tgt_cmd_forget(struct tgt_cmd *c);

/* Bytes of memory that the kept answer of a command holds beside it. */
static inline uint32_t
tgt_cmd_kept_bytes(const struct tgt_cmd *c)
{
    return c->s.buf != NULL ? c->s.buf_size : 0;
}

/* Lets a command that sends, or has sent, data begin anew behind what is acknowledged. */
void tgt_cmd_rewind(struct tgt_cmd *c);

/* Called when the device server no longer uses a command that was freed while it did. */
void tgt_cmd_released(struct tgt_cmd *c);

/* Called when the response of a command is made, so that it no longer counts against the window. */
void tgt_cmd_close_window(struct tgt_cmd *c);

/* Whether the target itself is at work in memory of the initiator for the command, which must not
 * be told that it has ended before that is over. */
static inline bool
tgt_cmd_moving(const struct tgt_cmd *c)
{
    return c->conn->rdma && c->r2t_sn != c->r2t_done;
}

/* Ends a SCSI command without a response.  With a tmf, which waits for the Data-Out that was asked
 * for, the command stays in state DRAIN until that has come; tmf may be NULL. */
void tgt_cmd_abort(struct tgt_cmd *c, struct tgt_tmf *tmf);

/* Reserves memory for the data of a command that waits for its turn.  Returns false when its
 * session, or all of them together, would have more than their bound. */
bool tgt_cmd_reserve_early(struct tgt_cmd *c, uint32_t room);

/* Ends the reservation.  Returns c->early, which the caller then owns; may be NULL. */
uint8_t *tgt_cmd_take_early(struct tgt_cmd *c);
/* The same, but frees it. */
void tgt_cmd_drop_early(struct tgt_cmd *c);

/* Queues a command that has something to send, and sets its state to SEND. */
void tgt_cmd_queue(struct tgt_cmd *c);

/* Frees the memory of all commands, at the end of the target. */
void tgt_cmd_pool_fini(struct target *t);

#endif
