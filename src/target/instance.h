/* SPDX-License-Identifier: MIT */
/* target/instance.h - struct target: what all nodes, sessions and connections share. */
#ifndef TARGET_INSTANCE_H
#define TARGET_INSTANCE_H

#include "base/addr.h"
#include "base/htab.h"
#include "base/list.h"
#include "lu/work.h"
#include "seam/loop.h"
#include "target/bounds.h"
#include "target/config.h"
#include "target/hook.h"

struct lu_flusher;
struct rnic_ep;
struct tgt_node;

/* stream or rnic is there, whichever its face needs; neither: its device is gone. */
struct tgt_listener {
    struct target *target;
    struct sock_addr bound;
    bool rdma;
    struct stream *stream;
    struct rnic_ep *rnic;
};

struct target {
    struct loop *loop;
    struct tgt_node *nodes;
    uint32_t nodes_count;
    struct htab node_by_name;
    struct tgt_listener listeners[TARGET_LISTENERS_MAX];
    uint32_t listeners_count;
    struct list conns, dead; /* struct tgt_conn; dead: freed at the end of the turn */
    struct list logins;      /* those that are not logged in, the oldest first, by login_link */
    uint32_t logins_count;
    struct list sessions, dead_sessions;
    uint32_t conns_count, sessions_count, sessions_max, conns_max;
    uint32_t login_timeout_ms, ping_timeout_ms, hole_timeout_ms, stop_timeout_ms;
    uint64_t pace_ns;      /* 0: every connection is read as soon as it can be */
    bool rdma_keeps_stags; /* target_config */
    struct htab session_by_port;
    uint64_t hash_seed; /* names and ISIDs are the initiators' choice */
    uint16_t next_tsih;
    uint32_t tmf_serial;
    uint64_t tsih_taken[TGT_TSIHS / 64]; /* a bit for each */
    struct tgt_hook *hook;               /* &faults.hook; NULL: behave */
    struct tgt_faults faults;
    struct list free_cmds, free_rings;
    struct list chunks;  /* memory of the commands */
    uint32_t held_bytes; /* of all sessions */
    uint64_t kept_bytes; /* of all connections */
    struct lu_flusher *flusher;
    struct lu_worker worker;
    struct loop_work reap; /* frees dead connections and sessions */
    struct loop_timer stop_timer;
    struct loop_work stop_done;
    bool stopping, stopped;
    void (*stop_cb)(void *user);
    void *stop_user;
    struct target_stats stats;
};

#endif
