/* SPDX-License-Identifier: MIT */
/* target/pace.h - how often a busy connection is read; pace.c says why. */
#ifndef TARGET_PACE_H
#define TARGET_PACE_H

#include "target/state/pace.h"

/* Both are about c->pace. */
void tgt_pace_init(struct tgt_conn *c);
void tgt_pace_stop(struct tgt_conn *c);

/* A SCSI command has come. */
void tgt_pace_command(struct tgt_conn *c, uint32_t exp_stat_sn);

/* All that was there has been read.  Returns the bytes to wait for; when there are more than 1, a
 * timer is set that ends the wait by c->ops->readable. */
uint32_t tgt_pace_turn(struct tgt_conn *c);

#endif
