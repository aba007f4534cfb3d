/* SPDX-License-Identifier: MIT */
/* seam/shm.h and packets in the simulator: the contract from many seeds, and what a world can do
 * besides to processes. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "seam/shm.h"
#include "tests/sim/sim_loop.h"
#include "tests/unit/loop/contract.h"

#define SEEDS 40
#define STEP  (200 * 1000ull)

static struct sim *sim;
static uint64_t seed;
static struct loop *other; /* of the second process */
static void (*other_step)(void);

static bool
make(struct loop **a, struct loop **b, const char **why)
{
    (void)why;
    sim = sim_new(seed, seed % 2 == 1 ? &sim_rough : NULL);
    *a = sim_loop(sim);
    *b = other = sim_loop(sim);
    return true;
}

static void
unmake(struct loop *a, struct loop *b)
{
    (void)a;
    (void)b;
    sim_free(sim);
}

static int
unsealed(struct loop *l, size_t size, int seals)
{
    int fd = -1;

    assert_int_equal(sim_memory_unsealed(l, size, seals, &fd), 0);
    return fd;
}

static void
step_due(void *user)
{
    (void)user;
    if (sim_process_killed(other))
        return;
    other_step();
    sim_at(sim, STEP, step_due, NULL);
}

/* The last that a killed process does. */
static void
scribble(void *user, uint8_t *mem, size_t size)
{
    unsigned *times = user;

    for (size_t i = 0; i < size; i += 64)
        mem[i] = (uint8_t)(mem[i] + 1);
    (*times)++;
}

static unsigned scribbles;

static void
process(struct loop *b, void (*begin)(struct loop *l), void (*step)(void))
{
    begin(b);
    other_step = step;
    sim_process_set_dying(b, scribble, &scribbles);
    sim_at(sim, STEP, step_due, NULL);
}

static void
kill_other(void)
{
    sim_process_kill(other);
}

static bool
other_ended(void)
{
    return sim_process_reaped(other);
}

static void
reap_other(void (*end)(void))
{
    end();
}

static bool
other_runs(struct loop *b)
{
    return !sim_process_killed(b);
}

int
main(void)
{
    static const struct loop_factory factory = {.name = "sim",
                                                .make = make,
                                                .unmake = unmake,
                                                .unsealed = unsealed,
                                                .process = process,
                                                .kill = kill_other,
                                                .ended = other_ended,
                                                .reap = reap_other,
                                                .runs = other_runs};
    int failed = 0;

    for (seed = 1; seed <= SEEDS; seed++)
        failed += contract_shm_run(&factory);
    return failed;
}
