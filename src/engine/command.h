/* SPDX-License-Identifier: MIT */
/* engine/command.h - the rings of one client: takes its commands, hands them to the hosts of its
 * sessions and tells how they ended.
 *
 * A lane has the client's memory mapped.  What lies there is hostile: an index is read once and an
 * entry copied once, and the copy is checked before it is used.  Of an entry that no client of ours
 * writes, the lane says why, once, and takes nothing any more; its owner ends it.  Data is only
 * handed on as addresses in the arena, and nothing in it is ever looked at.
 *
 * All memory is there from engine_lane_new on: one struct scsi_cmd for each slot, and nothing is
 * allocated for a command.
 *
 * Everything runs on one loop.
 */
#ifndef ENGINE_COMMAND_H
#define ENGINE_COMMAND_H

#include "engine/share.h"
#include "offload/entry.h"
#include "seam/ipc.h"

#define ENGINE_SESSIONS_MAX 64         /* of one client at a time */
#define ENGINE_TRANSFER_MAX (16 << 20) /* bytes of one command each way */
#define ENGINE_LANE_BATCH   64   /* entries of one client in a turn; then the others have theirs */
#define ENGINE_ABORT_MS     5000 /* until an abort that failed is tried again */

struct engine_lane;

/* A session of the client, as its commands see it; embedded in what its owner has for it. */
struct engine_member {
    uint32_t sid; /* of the client's entries; engine_lane_add gives it */
    struct engine_lane *lane;
    struct engine_sharer sharer; /* of the host; its share is NULL while it is not started */
    /* What each DONE tells: enum ipc_session_state, and the number of its event. */
    uint32_t state, state_event;
    struct list commands;    /* slots of commands that are not done */
    struct list tmfs;        /* slots of task management that waits for its turn */
    struct engine_slot *tmf; /* that which the host has; NULL: none */
    uint32_t busy;           /* slots that are not done */
    bool draining;
    /* All that was there when it began to drain is done.  Called from the loop, once. */
    void (*drained)(struct engine_member *m);
    struct loop_work work; /* has it called */
};

struct engine_lane_config {
    struct loop *loop;
    uint32_t slots, generation; /* as ENGINE_ATTACH has them, checked */
    uint64_t arena;             /* bytes */
    void *region, *arena_map;   /* mapped */
    int bell_engine, bell_client;
    /* The client breaks the rules.  Called once, from the loop and not from inside a call of this
     * header; the lane takes nothing any more.  The owner may close it inside. */
    void (*broken)(void *user, const struct lunette_error *why);
    void *user;
};

struct engine_lane_stats {
    uint64_t commands, tmfs, refused; /* refused: there was no session or no host for them */
    uint64_t bells_rung;
};

/* cfg is copied.  The mappings and bells stay the owner's, and have to be there until
 * engine_lane_free.  0, or -errno with *err. */
int engine_lane_new(const struct engine_lane_config *cfg, struct engine_lane **ret,
                    struct lunette_error *err);
/* The client is gone: nothing is taken from it, and nothing is told to it any more. */
void engine_lane_close(struct engine_lane *l);
/* After engine_lane_close and with no members. */
void engine_lane_free(struct engine_lane *l);
const struct engine_lane_stats *engine_lane_get_stats(const struct engine_lane *l);

/* Makes m a session of the lane, which gives it a sid that the lane has not given for long. -EBUSY:
 * there are ENGINE_SESSIONS_MAX. */
int engine_lane_add(struct engine_lane *l, struct engine_member *m);
/* m has nothing that is not done. */
void engine_lane_remove(struct engine_member *m);

/* Ends all that m has: what the host has not got at once, and the rest by aborts.  Meanwhile
 * commands for it are answered with DID_IMM_RETRY.  False: it has nothing, and drained is not
 * called; else it is called when all is done. */
bool engine_member_drain(struct engine_member *m, void (*drained)(struct engine_member *m));
/* Takes commands again after a drain. */
void engine_member_resume(struct engine_member *m);
/* Its host is gone and has given back all commands: what has not been handed to it ends with
 * DID_NO_CONNECT.  The share is left, unless something is still held. */
void engine_member_host_gone(struct engine_member *m);

#endif
