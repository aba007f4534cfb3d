/* SPDX-License-Identifier: MIT */
/* target/pace.h - how often a busy connection is read; pace.c says why. */
#ifndef TARGET_PACE_H
#define TARGET_PACE_H

#include "target/state/pace.h"

/* Make c->pace, and stop its timer. */
void tgt_pace_init(struct tgt_conn *c);
void tgt_pace_stop(struct tgt_conn *c);

/* Counts a SCSI command that has come. */
void tgt_pace_command(struct tgt_conn *c, uint32_t exp_stat_sn);

/* Called when all that was there has been read.  Returns how many bytes to wait for before the next
 * read; for more than 1 it sets a timer, which ends the wait by calling c->ops->readable. */
uint32_t tgt_pace_turn(struct tgt_conn *c);

#endif
