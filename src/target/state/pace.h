/* SPDX-License-Identifier: MIT */
/* target/state/pace.h - the structures of target/pace.h, which says what they are for. */
#ifndef TARGET_STATE_PACE_H
#define TARGET_STATE_PACE_H

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

#endif
