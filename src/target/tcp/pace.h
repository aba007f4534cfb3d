/* SPDX-License-Identifier: MIT */
/* target/tcp/pace.h - how often a busy connection is read; pace.c says why. */
#ifndef TARGET_TCP_PACE_H
#define TARGET_TCP_PACE_H

#include "target/tcp/tcp.h"

/* Make f->pace, and stop its timer. */
void tgt_pace_init(struct tgt_tcp *f);
void tgt_pace_stop(struct tgt_tcp *f);

/* Counts a SCSI command that has come. */
static inline void
tgt_pace_command(struct tgt_tcp *f, uint32_t exp_stat_sn)
{
    f->pace.commands++;
    f->pace.exp_stat_sn = exp_stat_sn;
}

/* Called when all that was there has been read.  Returns how many bytes to wait for before the next
 * read; for more than 1 it sets a timer, which ends the wait by calling receive of the face. */
uint32_t tgt_pace_turn(struct tgt_tcp *f);

#endif
