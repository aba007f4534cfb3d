/* SPDX-License-Identifier: MIT */
/* tests/sim/world.h - one seed, one world: the whole initiator, behind its public header, and
 * lunette-target, over simulated byte streams on virtual time.
 *
 * The control plane speaks to the data plane through the delaying binding.
 */
#ifndef TESTS_SIM_WORLD_H
#define TESTS_SIM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "api/internal.h"
#include "target/target.h"
#include "tests/sim/sim_loop.h"
#include "tests/sim/sim_rdma.h"
#include "tests/support/ipc_delayed.h"

#define WORLD_NODE     "iqn.2026-11.example:sim"
#define WORLD_LUN_SIZE (1u << 20) /* bytes of the RAM LUN */

struct world_config {
    struct sim_config net;
    uint32_t block;                     /* logical block of the LUN, bytes */
    const struct target_key_value *set; /* keys that the target offers */
    uint32_t set_count;
    const char *options; /* of the URL: "?key=value&..." or "" */
    bool chap;           /* mutual */
    uint64_t ipc_delay_ns;
    uint32_t trace_events;
    bool rdma; /* the target listens for RDMA connections; the URL's transport is the test's */
    const struct sim_rdma_config *fabric; /* NULL: one that is polite */
    bool apart; /* the target is a machine of its own, and so has another device */
};

struct world {
    struct sim *sim;
    struct loop *loop, *tloop; /* the initiator's, the target's; mostly the same */
    struct target *target;
    struct sock_addr portal;
    struct ipc_delayed *binding;
    uint64_t ipc_delay_ns;
    struct lunette_ctx *ctx;
    char url[512];
    bool rdma;
    uint8_t *disk;           /* the LUN's own memory */
    struct lunette_lun *lun; /* the test's, to be looked at by world_check; may be NULL */
    uint64_t checks;         /* made with a disk */
};

void world_new(struct world *w, uint64_t seed, const struct world_config *cfg);
void world_free(struct world *w);

/* Opens the LUN of w->url, which must go well. */
struct lunette_lun *world_open_lun(struct world *w);

/* What must hold after each turn: no layer is set to take the fast path where its state forbids it.
 * world_new sees to it that it is called. */
void world_check(struct world *w);

#endif
