/* SPDX-License-Identifier: MIT */
/* target/target.h - an iSCSI target on RAM, files or nothing.
 *
 * Everything runs on the loop that it was given: real sockets for the program
 * lunette-target and the demo, virtual time in the simulator.  Only a flush of
 * a file runs on a helper thread of the target's own, which never starts when
 * no LUN is a file.  All functions are called on the loop's thread.
 */
#ifndef TARGET_TARGET_H
#define TARGET_TARGET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "lu/config.h"
#include "seam/loop.h"
#include "target/faults.h"

struct target;

#define TARGET_NODES_MAX     1024 /* targets that one process offers */
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
    const char *chap_user, *chap_secret; /* what initiators must know; NULL: no authentication */
    const char *mutual_user, *mutual_secret; /* what this target proves; NULL: nothing */
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
    uint32_t stop_timeout_ms;           /* how long target_stop waits for logouts; 0: 1 s */
    uint32_t pace_us;                   /* how long a connection may go unread whose initiator has
                                           many responses still to read; 0: not at all */
    const struct target_faults *faults; /* may be NULL */
};

struct target_stats {
    uint32_t sessions, conns;
    uint64_t logins, logins_failed;
    uint64_t commands, bytes_read, bytes_written;
    uint64_t rejects, digest_errors;
};

/* Checks the configuration and opens the LUNs.  *ret is owned by the caller.  loop is borrowed. */
int target_new(struct loop *loop, const struct target_config *cfg, struct target **ret,
               struct lunette_error *err);

/* Adds a listener; *ret_bound gets the address taken (port 0 asks for any). */
int target_listen(struct target *t, const struct sock_addr *at, struct sock_addr *ret_bound,
                  struct lunette_error *err);

/* Serves a connection that the caller accepted; takes s. */
void target_accept(struct target *t, struct stream *s, const struct sock_addr *peer);

/* Stops listening, asks initiators to log out, closes what is left after stop_timeout_ms, flushes
 * files, then calls done once, from the loop.  After it only target_free may follow. */
void target_stop(struct target *t, void (*done)(void *user), void *user);

/* Closes everything at once, without asking, and frees it.  target_free(NULL) is harmless.  Not
 * from a callback of the target itself, but for target_stop's done. */
void target_free(struct target *t);

/* Changes the size of a RAM or null LUN up to its max_size: UNIT ATTENTION 2A/09 for everyone. */
int target_resize(struct target *t, const char *node, uint32_t lun, uint64_t size,
                  struct lunette_error *err);

/* faults is copied; NULL: behave. */
void target_set_faults(struct target *t, const struct target_faults *faults);

/* Closes every connection, as a crash would; sessions are lost, LUNs and reservations stay. */
void target_drop_connections(struct target *t);

/* The memory of a RAM LUN, for tests that compare it; NULL for others.  ret_size may be NULL. */
void *target_lun_memory(struct target *t, const char *node, uint32_t lun, uint64_t *ret_size);

void target_stats(const struct target *t, struct target_stats *ret);

#endif
