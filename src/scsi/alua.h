/* SPDX-License-Identifier: MIT */
/* scsi/alua.h - between the ALUA state of a path (alua_state.c) and the commands that find it out
 * (alua.c). */
#ifndef SCSI_ALUA_H
#define SCSI_ALUA_H

#include "scsi/internal.h"

#define ALUA_ALLOC 512u

/* A question that is under way.  Thousands of units are seldom asked at once, and so it is there
 * only that long. */
struct alua_question {
    struct disk_alua *alua;
    struct scsi_exec x;
    uint8_t cdb[CDB_MAX];
    struct iovec iov;
    uint32_t size; /* of buf */
    uint8_t buf[];
};

struct disk_alua {
    struct scsi_disk *disk;
    struct alua_question *q; /* NULL: none */
    uint32_t size;           /* bytes that the next answer may have */
    struct loop_timer poll;
    struct loop_work work;
    uint64_t wait_since_ns; /* when the transition began that is waited for; 0: there is none */
    uint8_t transition_s;   /* how long one may take, as the unit told; 0: it did not */
    bool again;             /* when the answer has come, another question is due */
    bool step;              /* the run of the disk goes on when the state is known */
    bool ids_stale;         /* another port may answer now: VPD 83h first */
    bool no_ext;            /* the extended header was refused */
    bool failed;            /* commands have failed since the unit was looked at */
    bool mute; /* the unit has said nothing of our group; a state that only sense data tells would
                  never be known to be over */
};

/* How long the transition is still waited for. */
uint64_t alua_wait_left_ns(const struct disk_alua *a);
/* The state of the path is told. */
void alua_take(struct disk_alua *a, uint8_t state);
/* REPORT TARGET PORT GROUPS does not tell it; why is a sentence. */
void alua_not_told(struct disk_alua *a, const char *why);
/* Lets I/O through, or not, as the state demands. */
void alua_set_gate(struct disk_alua *a);

#endif
