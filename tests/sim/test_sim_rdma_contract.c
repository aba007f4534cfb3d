/* SPDX-License-Identifier: MIT */
/* The contract of seam/rdma.h on the simulated devices: polite and rough ones, initiator and target
 * on one loop and on two, many seeds; and the same seed is the same run. */
#include "tests/test.h"

#include <netinet/in.h>
#include <string.h>

#include "tests/rdma/contract.h"
#include "tests/sim/sim_rdma.h"

#define SEEDS 100

static bool
run(void *user, bool (*done)(void *arg), void *arg, uint64_t ns)
{
    return sim_run_until(user, done, arg, ns);
}

static uint64_t
one(const struct rnic_contract_test *test, uint64_t seed)
{
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x0a000001)};
    struct sock_addr nobody = {.len = sizeof(in)};
    struct rnic_contract k = {.run = run,
                              .nobody = &nobody,
                              .patience_ns = 100 * LOOP_NS_PER_S,
                              .moment_ns = 500 * LOOP_NS_PER_MS,
                              .exact = true,
                              .windows = true};
    bool rough = seed % 2 == 1;
    struct sim *sim = sim_new(seed, rough ? &sim_rough : NULL);
    const struct sim_rdma_stats *stats;
    uint64_t hash;

    sim_rdma_open(sim, rough ? &sim_rdma_rough : NULL);
    k.user = sim;
    k.server = sim_loop(sim);
    k.client = seed % 4 < 2 ? sim_loop(sim) : k.server;
    k.at.len = sizeof(in);
    memcpy(&k.at.ss, &in, sizeof(in));
    in.sin_addr.s_addr = htonl(0x0a0000fe);
    in.sin_port = htons(3260);
    memcpy(&nobody.ss, &in, sizeof(in));
    sim_rdma_set_fate(sim, &nobody, SIM_RDMA_NOBODY);
    test->run(&k);
    stats = sim_rdma_stats(sim);
    assert_int_equal(stats->late_writes, 0);
    assert_int_equal(stats->open + stats->regions + stats->windows + stats->region_bytes, 0);
    assert_int_equal(sim_rdma_links(sim, NULL), 0);
    hash = sim_hash(sim);
    sim_free(sim);
    return hash;
}

static void
contract(void **state)
{
    const struct rnic_contract_test *test = *state;

    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint64_t hash = one(test, seed);

        if (seed < 4)
            assert_true(one(test, seed) == hash);
    }
}

int
main(void)
{
    struct CMUnitTest tests[64];

    assert_true(rnic_contract_ntests <= 64);
    for (unsigned i = 0; i < rnic_contract_ntests; i++) {
        tests[i] = (struct CMUnitTest){.name = rnic_contract_tests[i].name, .test_func = contract};
        tests[i].initial_state = (void *)(uintptr_t)&rnic_contract_tests[i];
    }
    return _cmocka_run_group_tests("rdma contract", tests, rnic_contract_ntests, NULL, NULL);
}
