/* SPDX-License-Identifier: MIT */
/* offload/entry.h - what lies in the memory that an engine and a client share: the region with its
 * rings and their entries, and the arena.
 *
 * A client makes both memories and both bells and sends them with ATTACH (seam/ipc.h).  The region
 * has a page of its head, the submission ring (client to engine), the completion ring (engine to
 * client) and the sense area, OFFLOAD_SENSE_BYTES for each slot.  The arena has data: every offset
 * and length in an entry is of the arena.  Sizes are those that ATTACH said and both sides keep for
 * themselves; what the head says is for people who look at it.
 *
 * A slot is the client's name of something that it has asked for, a command or a task management
 * function, from its entry until the DONE of the same slot and generation.  There are never more
 * entries in a ring than slots, so that none can overflow: one that does is the fault of the other
 * side, and ends the attachment.  Numbers are in the byte order of the machine.
 */
#ifndef OFFLOAD_ENTRY_H
#define OFFLOAD_ENTRY_H

#include <stddef.h>
#include <stdint.h>

#include "offload/ring.h"

#define OFFLOAD_VERSION     1
#define OFFLOAD_SLOTS_MAX   1024
#define OFFLOAD_ARENA_MAX   ((uint64_t)1 << 30) /* bytes; a multiple of 4096 */
#define OFFLOAD_SENSE_BYTES 256
#define OFFLOAD_CDB_INLINE  32
#define OFFLOAD_CDB_MAX     260

/* The first page of the region.  The engine writes beat and released; everything else the client
 * has written before ATTACH, and nobody believes it. */
struct offload_head {
    uint32_t magic, version, slots, generation;
    uint64_t arena;
    _Alignas(
        64) uint64_t beat; /* moves at least once in OFFLOAD_BEAT_MS while work is outstanding */
    /* 1: the engine has seen the end of the attachment, every command of it has ended, and nothing
     * of the memory is touched any more.  So a client that has lost an engine which lives on need
     * not wait for the end of that process. */
    uint32_t released;
};
#define OFFLOAD_MAGIC     0x6e6f6c6fu
#define OFFLOAD_HEAD_SIZE 4096
#define OFFLOAD_BEAT_MS   1000

enum offload_sq_kind {
    OFFLOAD_SQ_COMMAND = 1, /* a SCSI command */
    OFFLOAD_SQ_TMF = 2,     /* ends commands, or asks: function says which */
};

/* enum scsi_host_ops' eh_ calls, as numbers that keep their meaning. */
enum offload_function {
    OFFLOAD_ABORT = 1, /* the command ref_slot, ref_generation */
    OFFLOAD_LU_RESET = 2,
    OFFLOAD_TARGET_RESET = 3,
    OFFLOAD_SESSION_RESET = 4,
    OFFLOAD_CLEAR_ACA = 5,
    OFFLOAD_QUERY_TASK_SET = 6,
    OFFLOAD_QUERY_ASYNC_EVENT = 7,
};

struct offload_sqe {
    uint8_t kind, attr, function, reserved; /* attr: RFC 7143 11.3.1 */
    uint16_t slot, cdb_len;
    uint32_t generation; /* of the slot's use: each use has another than the one before */
    uint32_t sid;        /* of the session, as CREATE_SESSION has answered */
    uint8_t lun[8];
    uint64_t in_off, out_off; /* of data from the target, and to it */
    uint32_t in_len, out_len; /* bytes; 0: none */
    uint16_t ref_slot, reserved2;
    uint32_t ref_generation;
    uint64_t cdb_off; /* of a CDB of more than OFFLOAD_CDB_INLINE bytes */
    uint8_t cdb[OFFLOAD_CDB_INLINE];
    uint8_t reserved3[32]; /* 0 */
};
_Static_assert(sizeof(struct offload_sqe) == 128, "layout of a submission entry");
_Static_assert(offsetof(struct offload_sqe, cdb) == 64, "layout of a submission entry");

enum offload_cq_kind {
    OFFLOAD_CQ_DONE = 1, /* of a command */
    OFFLOAD_CQ_TMF_DONE = 2,
};

struct offload_cqe {
    uint8_t kind, host_result, status, response; /* as in struct scsi_cmd (seam/host.h) */
    uint16_t slot, sense_len;                    /* sense: in the slot's part of the sense area */
    uint32_t generation;
    uint32_t sid;
    uint32_t resid_in, resid_out; /* bytes that were not moved */
    uint16_t status_qualifier;
    uint8_t overflow; /* 1: the target had more to move */
    uint8_t result;   /* TMF_DONE: enum scsi_eh_result */
    uint32_t info;    /* TMF_DONE of a query: scsi_eh_wait.info */
    /* The state of the session when the command ended (enum ipc_session_state), and the low bits of
     * the number of the event SESSION_STATE that has told of it or will: a client that learns of it
     * here takes no older event afterwards. */
    uint32_t state, state_event;
    uint8_t reserved[24]; /* 0 */
};
_Static_assert(sizeof(struct offload_cqe) == 64, "layout of a completion entry");

/* The loop of an engine that has the sessions of a target: both sides work it out by themselves, so
 * that all clients of a target meet at one login (FNV-1a of the name).  loops > 0. */
static inline uint32_t
offload_loop_of(const char *target, uint32_t loops)
{
    uint64_t h = 0xcbf29ce484222325u;

    for (const char *c = target; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * 0x100000001b3u;
    return (uint32_t)(h % loops);
}

/* Entries of each ring: the power of two that is not below slots. */
static inline uint32_t
offload_ring_count(uint32_t slots)
{
    uint32_t n = 1;

    while (n < slots)
        n *= 2;
    return n;
}

static inline size_t
offload_sq_at(void)
{
    return OFFLOAD_HEAD_SIZE;
}

static inline size_t
offload_cq_at(uint32_t slots)
{
    return offload_sq_at() + ring_bytes(sizeof(struct offload_sqe), offload_ring_count(slots));
}

static inline size_t
offload_sense_at(uint32_t slots)
{
    return offload_cq_at(slots) + ring_bytes(sizeof(struct offload_cqe), offload_ring_count(slots));
}

/* Bytes of the region: whole pages. */
static inline size_t
offload_region_size(uint32_t slots)
{
    return (offload_sense_at(slots) + (size_t)slots * OFFLOAD_SENSE_BYTES + 4095) & ~(size_t)4095;
}

#endif
