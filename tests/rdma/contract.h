/* SPDX-License-Identifier: MIT */
/* tests/rdma/contract.h - what every implementation of seam/rdma.h does, as tests.
 *
 * They run in the simulator (test_sim_rdma_contract.c, many seeds) and on libibverbs
 * (rnic_contract.c, on a machine that has a device).  A test that fails prints the line and the
 * condition, and aborts.
 */
#ifndef TESTS_RDMA_CONTRACT_H
#define TESTS_RDMA_CONTRACT_H

#include "seam/rdma.h"

struct rnic_contract {
    struct loop *server, *client;   /* with an implementation; may be the same loop */
    struct sock_addr at;            /* to listen at; port 0 */
    const struct sock_addr *nobody; /* what nobody has; NULL: that is not tried */
    /* Runs the loops until done(arg), for at most ns of theirs; returns done(arg). */
    bool (*run)(void *user, bool (*done)(void *arg), void *arg, uint64_t ns);
    void *user;
    uint64_t patience_ns; /* what must happen has happened by then */
    uint64_t moment_ns;   /* what must not happen is waited for so long */
    bool exact;           /* each failure has its own status; devices mix up some of them */
    bool windows; /* the device must have them; else what needs them is left out where it has not */
};

struct rnic_contract_test {
    const char *name;
    void (*run)(const struct rnic_contract *k);
};

extern const struct rnic_contract_test rnic_contract_tests[];
extern const unsigned rnic_contract_ntests;

#endif
