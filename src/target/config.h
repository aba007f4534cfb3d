/* SPDX-License-Identifier: MIT */
/* target/config.h - what a target is made of, and what it counts. */
#ifndef TARGET_CONFIG_H
#define TARGET_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/config.h"
#include "target/faults.h"

#define TARGET_NODES_MAX     16384 /* targets that one process offers */
#define TARGET_LISTENERS_MAX 16
#define TARGET_SESSIONS_MAX  32768 /* default limit, all targets together */
#define TARGET_CONNS_MAX     40960 /* default limit, all sessions and logins together */
#define TARGET_PACE_US       70    /* what target_config.pace_us should be for a program */

struct target_key_value {
    const char *key, *value;
};

/* One target as initiators see it.  All pointers are borrowed until target_new returns. */
struct target_node_config {
    const char *name;  /* iqn., eui. or naa. */
    const char *alias; /* TargetAlias, may be NULL */
    const struct lu_config *luns;
    uint32_t luns_count;
    const char *chap_user, *chap_secret;     /* of initiators; NULL: no authentication */
    const char *mutual_user, *mutual_secret; /* of this target; NULL: it does not authenticate */
    const struct target_key_value *set;      /* keys of RFC 7143 and QueueDepth, NopInterval */
    uint32_t set_count;
    const char *redirect; /* "host:port" that every login is sent to, NULL: none */
    bool redirect_permanent;
};

struct target_config {
    const struct target_node_config *nodes;
    uint32_t nodes_count;
    uint32_t sessions_max, conns_max;   /* 0: the defaults above */
    uint32_t login_timeout_ms;          /* 0: 15 s */
    uint32_t ping_timeout_ms;           /* how long an answer to a ping may take at least, however
                                           short NopInterval is; 0: 5 s */
    uint32_t hole_timeout_ms;           /* how long a session's commands wait for a CmdSN that is
                                           missing before the session fails; 0: 60 s */
    uint32_t stop_timeout_ms;           /* how long target_stop waits for logouts; 0: 1 s */
    uint32_t pace_us;                   /* the longest wait before a connection is read again, while
                                           its initiator still has many responses to read, in
                                           microseconds; 0: no wait */
    bool rdma_keeps_stags;              /* responses over RDMA never invalidate the STags of their
                                           commands, as tgt has it; else they do where the initiator
                                           allows that, as LIO has it */
    const struct target_faults *faults; /* may be NULL */
};

struct target_stats {
    uint32_t sessions, conns, conns_rdma; /* now; conns has those over RDMA, too */
    uint64_t logins, logins_failed;
    uint64_t commands, bytes_read, bytes_written;
    uint64_t rdma_reads, rdma_writes; /* requests of the target */
    uint64_t rejects, digest_errors;
    uint64_t sync_errors; /* LUNs that could not be synced when the target stopped */
};

#endif
