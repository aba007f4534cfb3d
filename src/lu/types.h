/* SPDX-License-Identifier: MIT */
/* lu/types.h - the structures that the files of the device server share: units with their modes and
 * reservations, nexuses, devices.
 *
 * Each has a header with its functions: unit.h, mode.h, pr.h, nexus.h, device.h.
 * A router reads these structures, and changes none of them.
 */
#ifndef LU_TYPES_H
#define LU_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/htab.h"
#include "base/list.h"
#include "lu/config.h"
#include "lu/work.h"

struct lu;
struct lu_device;
struct lu_flusher;
struct lu_router;
struct lu_store;

#define LU_PORT_MAX    251 /* bytes of a port's name, without its NUL: what a designator holds */
#define LU_NEXUSES_MAX 256 /* ports that a device remembers after they have left */

/* Unit attentions, in the order in which they are reported. */
enum lu_ua {
    LU_UA_POWER_ON,         /* 29/00 */
    LU_UA_COLD_RESET,       /* 29/01 */
    LU_UA_TARGET_RESET,     /* 29/02 */
    LU_UA_LU_RESET,         /* 29/03 */
    LU_UA_NEXUS_LOSS,       /* 29/07 */
    LU_UA_MODE_CHANGED,     /* 2A/01 */
    LU_UA_PR_PREEMPTED,     /* 2A/03 */
    LU_UA_PR_RELEASED,      /* 2A/04 */
    LU_UA_REG_PREEMPTED,    /* 2A/05 */
    LU_UA_ALUA,             /* 2A/06 */
    LU_UA_CAPACITY,         /* 2A/09 */
    LU_UA_CLEARED,          /* 2F/00: by another initiator */
    LU_UA_PROTOCOL_CLEARED, /* 47/7F: by an event of the transport, here iSCSI */
    LU_UA_COUNT,
};

/* Counts of lu.sync_failures, for the nexus that may have lost what it had written. */
struct lu_sync_news {
    uint32_t told;      /* the last that a command of it ended with */
    uint32_t done_with; /* the last that does not matter to it any more */
};

struct lu_nexus {
    struct hnode hnode; /* dev->nexus_by_port */
    struct list link;   /* dev->nexuses, or dev->away, where the one that left last is first */
    struct lu_device *dev;
    char port[LU_PORT_MAX + 1]; /* the name that stands in a TransportID */
    bool live;                  /* it has joined */
    uint32_t *ua;               /* for each unit by index, a bit for each enum lu_ua */
    struct lu_sync_news *sync;  /* for each unit by index */
    struct lu_work_owner work;  /* of its commands */
};

/* What MODE SELECT can change, and LOGICAL UNIT RESET restores. */
struct lu_mode {
    bool wce;     /* write cache enable */
    bool swp;     /* software write protect */
    bool d_sense; /* sense data in descriptor format */
};

#define LU_PR_REGS_MAX 256 /* registrations of one LU */

enum lu_pr_type {
    LU_PR_NONE = 0,
    LU_PR_WE = 1,    /* write exclusive */
    LU_PR_EA = 3,    /* exclusive access */
    LU_PR_WE_RO = 5, /* registrants only */
    LU_PR_EA_RO = 6,
    LU_PR_WE_AR = 7, /* all registrants */
    LU_PR_EA_AR = 8,
};

/* How a command collides with somebody else's reservation. */
enum lu_pr_class {
    LU_PR_ALLOWED, /* never */
    LU_PR_READS,   /* with exclusive access */
    LU_PR_WRITES,  /* with every type */
};

struct lu_pr_reg {
    char port[LU_PORT_MAX + 1];
    uint64_t key;
    bool holder; /* it holds the reservation; false for all with the all-registrants types */
};

struct lu_pr {
    struct lu_pr_reg *regs;
    uint32_t count, room;
    uint32_t generation;
    enum lu_pr_type type; /* LU_PR_NONE: no reservation */
    bool aptpl;           /* the store keeps all this (pr_keep.h) */
    bool trial;           /* a change is tried: nobody is told, and nothing is aborted */
};

/* The asymmetric access of a unit by the one port that there is. */
struct lu_alua {
    uint8_t state; /* enum alua_state (wire/capacity.h) */
    bool preferred;
    uint8_t transition_s; /* IMPLICIT TRANSITION TIME that is told; 0: none */
};

#define LU_GRANULE 4096 /* bytes of a page, the best alignment of transfers and unmaps */

struct lu {
    struct lu_device *dev;
    uint32_t index;  /* in the device's table */
    uint32_t number; /* the LUN */
    struct lu_store *store;
    /* Copies of the store's mem and ops->prepare, since every I/O needs them. */
    uint8_t *mem;
    int (*prepare)(struct lu_store *s, uint64_t off, uint64_t len, bool write);
    /* A bit for each block that says whether it holds data.  NULL: all blocks do, or with a
     * null store none. */
    uint64_t *written;
    uint64_t written_size;
    uint64_t blocks, blocks_max;
    uint32_t block; /* bytes */
    uint32_t block_shift;
    uint32_t works, ordered_works; /* commands done in slices; of them those that are ORDERED */
    bool read_only;
    bool dirty;             /* something was written, perhaps after the last sync */
    uint32_t sync_failures; /* how often the store has failed to sync; may wrap */
    int sync_error;         /* -errno of the last one */
    struct lu_mode mode, mode_default;
    char serial[LU_SERIAL_MAX + 1];
    uint8_t naa[16];
    struct lu_pr pr;
    struct lu_nexus *reserved; /* who holds RESERVE(6) */
    struct lu_alua alua;
    struct list tasks; /* the task set: struct lu_cmd by link, from start to lu_cmd_end */
};

#define LU_NAME_MAX   223        /* bytes of a device's name */
#define LU_UNITS_MAX  1024       /* of one device */
#define LU_ZEROS_SIZE (1u << 20) /* bytes of lu_device.zeros */
#define LU_OP_ABSENT  0xffu      /* in op_first: the table has no such opcode */

struct lu_device {
    char name[LU_NAME_MAX + 1];
    char port[LU_PORT_MAX + 1];
    uint8_t protocol;
    uint16_t protocol_version;
    struct lu *lus; /* by number */
    uint32_t lus_count;
    const struct lu_router *router;
    struct lu_flusher *flusher;
    struct lu_worker *worker;
    struct list nexuses, away; /* with a session, and without */
    uint32_t away_count;
    struct htab nexus_by_port; /* of both lists */
    uint64_t hash_seed;
    uint8_t *zeros;        /* from here units without memory are read */
    uint8_t op_first[256]; /* by opcode: its first entry of lu_ops, or LU_OP_ABSENT */
};

#endif
