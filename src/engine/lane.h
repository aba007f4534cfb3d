/* SPDX-License-Identifier: MIT */
/* engine/lane.h - what the parts of engine/command.h share: the slots of a client. */
#ifndef ENGINE_LANE_H
#define ENGINE_LANE_H

#include "engine/command.h"
#include "offload/ring.h"
#include "offload/take.h"
#include "seam/shm.h"

enum engine_slot_stage {
    SLOT_FREE,
    SLOT_WITH_HOST, /* a command: in the queue of its sharer, or with the host */
    SLOT_HELD,      /* it has ended, and is answered when its abort has */
    SLOT_TMF,       /* task management, which waits or is with the host */
};

/* item.sc and wait may be the host's; everything else is the lane's. */
struct engine_slot {
    struct engine_lane *lane;
    struct engine_member *member; /* NULL: free */
    struct list node;             /* of the member's commands or tmfs */
    enum engine_slot_stage stage;
    uint16_t index;
    bool aborting; /* the host has been asked to abort it, and has not said how that went */
    uint32_t generation;

    /* of task management */
    uint8_t function;
    uint16_t ref_slot;
    uint32_t ref_generation;
    uint8_t lun[8];
    struct engine_slot *victim; /* whose abort the host has been asked for */

    struct scsi_eh_wait wait; /* of it, or of a drain's abort of this command */
    struct iovec in, out;
    struct engine_item item;
    uint8_t cdb[OFFLOAD_CDB_MAX];
};

struct engine_lane {
    struct engine_lane_config cfg;
    struct offload_head *head; /* of the client's memory: only written to */
    uint8_t *sense, *arena;
    struct ring_consumer sq;
    struct ring_producer cq;
    struct slots slots; /* which are in use, and by which generation */
    struct loop_watch *watch;
    struct loop_work publish, tell;
    struct loop_timer beat, again; /* again: aborts that failed */
    uint64_t beats;
    bool closed, broken;
    struct lunette_error why; /* where it is broken */
    uint32_t next_sid;
    struct engine_member *member[ENGINE_SESSIONS_MAX]; /* by sid % ENGINE_SESSIONS_MAX */
    struct engine_lane_stats stats;
    struct engine_slot slot[];
};

/* A command is still in the queue of its sharer, and the host has not seen it. */
static inline bool
engine_slot_queued(const struct engine_slot *s)
{
    return s->stage == SLOT_WITH_HOST && !list_empty(&s->item.node);
}

/* Those of engine/answer.c.  The lane is broken: takes nothing any more, and says so later. */
void engine_lane_break(struct engine_lane *l, const char *what);
/* Answer a command with what is in its struct scsi_cmd, one that the host has never seen, and task
 * management; the slot is free then. */
void engine_slot_done(struct engine_slot *s);
void engine_slot_unsent(struct engine_slot *s, enum scsi_host_result r);
void engine_slot_tmf_done(struct engine_slot *s, enum scsi_eh_result r);
/* An entry of no session that could take it; draining: of one whose commands are being ended. */
void engine_lane_refuse(struct engine_lane *l, struct engine_slot *s, const struct offload_sqe *q,
                        bool draining);
void engine_lane_publish(struct loop_work *w);
void engine_lane_tell(struct loop_work *w);
void engine_member_work(struct loop_work *w);

/* Those of engine/ends.c. */
void engine_lane_tmf(struct engine_lane *l, struct engine_member *m, struct engine_slot *s,
                     const struct offload_sqe *q);
void engine_lane_abort_again(struct loop_timer *t);

#endif
