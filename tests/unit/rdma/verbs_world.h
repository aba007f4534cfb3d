/* SPDX-License-Identifier: MIT */
/* tests/unit/rdma/verbs_world.h - a loop on virtual time that watches descriptors, connections of
 * rdma/ on it, and what their owner was told. */
#ifndef TESTS_VERBS_WORLD_H
#define TESTS_VERBS_WORLD_H

#include "tests/unit/fake_loop.h"
#include "tests/unit/rdma/fake_verbs.h"

#include "rdma/rdma.h"

#define SEEN_MAX 2048

struct verbs_world {
    struct fake_loop f;
    struct list watches;
    unsigned nwatches;
    unsigned rounds; /* of deferred work in the last turn */
};

/* An owner, and what it was told. */
struct owner {
    struct verbs_world *w;
    struct rnic_ep *ep;
    struct rdma_cm_id *id;
    struct fake_qp *qp;
    unsigned resolved, established, ended, requested, calls;
    int err;
    char why[300];
    uint8_t private_data[256];
    size_t private_len;
    struct rnic_wc wc[SEEN_MAX];
    unsigned nwc;
    bool close_at_resolved, close_at_established, close_at_ended, close_at_requested;
    unsigned close_at_wc;   /* closed inside `completed` once so many were told */
    struct rnic_ep *other;  /* closed by the same */
    char order[64];         /* a letter for each callback */
    struct owner *accepted; /* by a listener: who takes the next request */
};

extern const struct rnic_events owner_events;
extern const struct rnic_depth small_depth;

void world_begin(struct verbs_world *w);
/* Nothing is left. */
void world_end(struct verbs_world *w);
/* A turn as the real loop makes it, with at most 16 rounds of deferred work. */
void world_turn(struct verbs_world *w);
/* The first part of a turn: what is readable. */
void call_only_watches(struct verbs_world *w);
/* Time passes, and a turn is made at its end. */
void world_sleep(struct verbs_world *w, uint64_t ns);

struct sock_addr world_addr(const char *ip, uint16_t port);
void owner_init(struct owner *o, struct verbs_world *w);
int owner_resolve(struct owner *o, const struct rnic_depth *depth);
/* Up to `resolved`, and up to `established`. */
void owner_ready(struct owner *o, const struct rnic_depth *depth);
void owner_up(struct owner *o, const struct rnic_depth *depth);
void owner_close(struct owner *o);
/* Post one each, with that id. */
int owner_send(struct owner *o, uint64_t id, bool quiet);
int owner_recv(struct owner *o, uint64_t id);

#endif
