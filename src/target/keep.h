/* SPDX-License-Identifier: MIT */
/* target/keep.h - from error recovery level 1 on: the responses of a connection that are sent and
 * not acknowledged, since the initiator may ask for them again (RFC 7143 7.1.4.1, 11.16).
 *
 * They are in the order of StatSN.  An ExpStatSN frees those below it.  The answer of a
 * command is its struct tgt_cmd, in state SENT; other responses are their struct tgt_ctl.
 */
#ifndef TARGET_KEEP_H
#define TARGET_KEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "target/state/command.h"

struct tgt_conn;

/* Keeps what has just been stamped with the StatSN before c->stat_sn.  bytes: of memory beside
 * tx. */
void tgt_keep(struct tgt_conn *c, struct tgt_tx *tx, uint32_t bytes);

/* The initiator has told an ExpStatSN.  False: it lets more pile up than is kept for it. */
bool tgt_keep_ack(struct tgt_conn *c, uint32_t exp_stat_sn);

/* The kept answer of a command, by its Initiator Task Tag, the newest if that was used again, or by
 * the Target Transfer Tag that it has for DataACK; NULL: there is none.  By ITT also one that was
 * reassigned to c and has not left since. */
struct tgt_cmd *tgt_keep_find(const struct tgt_conn *c, uint32_t itt);
struct tgt_cmd *tgt_keep_find_ttt(const struct tgt_conn *c, uint32_t ttt);

/* The connection is dead: keeps the answers of commands that were reassigned to it and have not
 * left since, as ones that are not acknowledged. */
void tgt_keep_queued(struct tgt_conn *c);

/* Queues the responses from StatSN `begin` up to `end` once more. */
void tgt_keep_send_again(struct tgt_conn *c, uint32_t begin, uint32_t end);

/* Takes the answer of a command out, for another connection. */
void tgt_keep_take(struct tgt_conn *c, struct tgt_tx *tx);

/* Frees all but the answers of commands. */
void tgt_keep_commands_only(struct tgt_conn *c);

/* Frees all, when the connection is dead. */
void tgt_keep_drop(struct tgt_conn *c);

#endif
