/* SPDX-License-Identifier: MIT */
/* target/pace.h - how often a busy connection is read; pace.c says why. */
#ifndef TARGET_PACE_H
#define TARGET_PACE_H

#include <stdbool.h>
#include <stdint.h>

#include "seam/loop.h"

struct tgt_conn;

struct tgt_pace {
    struct loop_timer timer;
    uint64_t turn_ns;     /* of the last turn that brought commands */
    uint32_t gap_ns;      /* from one command to the next, smoothed */
    uint32_t exp_stat_sn; /* of the newest command */
    uint32_t commands;    /* of this turn */
    uint32_t usual;       /* commands of a turn that did not wait, smoothed, in 1/16 */
    uint32_t due;         /* commands that the initiator could send during the wait */
    uint32_t rest;        /* turns until a wait is tried again */
    bool waits, timed;    /* timed: the wait is over because of the timer */
};

/* Both are about c->pace. */
void tgt_pace_init(struct tgt_conn *c);
void tgt_pace_stop(struct tgt_conn *c);

/* A SCSI command has come. */
void tgt_pace_command(struct tgt_conn *c, uint32_t exp_stat_sn);

/* All that was there has been read.  Returns the bytes to wait for; when there are more than 1, a
 * timer is set that ends the wait by c->ops->readable. */
uint32_t tgt_pace_turn(struct tgt_conn *c);

#endif
