/* SPDX-License-Identifier: MIT */
/* Watches one connection of a puppet, and fails the test at each PDU of the target that breaks the
 * RFC, whatever the test is about.  ids are of docs/rfc-coverage.md, and so is each message. */
#ifndef TESTS_UNIT_TARGET_JUDGE_H
#define TESTS_UNIT_TARGET_JUDGE_H

#include <stdbool.h>
#include <stdint.h>

#define JUDGE_TASKS 256u

/* A command that has no status yet. */
struct judge_task {
    bool live, reads, writes;
    uint32_t itt, cmd_sn, edtl;
    uint32_t data_sn, in_off, in_burst; /* of Data-In */
    uint32_t r2t_sn;
};

struct judge {
    bool off;          /* the target is told to break rules, or requests go another way */
    bool full_feature; /* the last Login Response has come */
    bool recovers;     /* ErrorRecoveryLevel may be above 0: PDUs come again */
    bool sent_any, numbered_any, window_any;
    uint8_t login_flags; /* of the last Login Request */
    uint8_t login_isid[6];
    uint32_t login_itt;
    uint32_t limit, limit_next; /* our MaxRecvDataSegmentLength, now and when it is agreed */
    uint32_t max_burst;         /* 0: not known */
    uint32_t stat_sn;           /* the next one that is due */
    uint32_t exp_cmd_sn, max_cmd_sn;
    struct judge_task tasks[JUDGE_TASKS];
};

void judge_init(struct judge *j);
/* A PDU that leaves: its header, 48 bytes, and its data. */
void judge_sent(struct judge *j, const void *bhs, const uint8_t *data, uint32_t len);
/* A PDU that came; pad: the bytes behind the data, as many as there must be. */
void judge_got(struct judge *j, const void *bhs, const uint8_t *data, uint32_t len,
               const uint8_t *pad);

#endif
