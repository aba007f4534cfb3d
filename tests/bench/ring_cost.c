/* SPDX-License-Identifier: MIT */
/* ring_cost.c - what the way through two rings costs: two processes, entries as they are, bells
 * that are eventfds, and nothing behind them.
 *
 * One process asks, the other answers each entry.  Asleep: whoever has nothing to do sleeps until
 * its bell rings.  Polling: nobody sleeps and no bell rings; each needs a core of its own.
 *
 * usage: ring_cost [ROUND-TRIPS]     for each way and depth: time and bells of a round trip */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "offload/take.h"

#define SLOTS 64u

static const struct offload_limits limits = {SLOTS, UINT64_C(1) << 20};

struct run {
    uint8_t *region;
    int bell[2]; /* of the client, of the engine */
    bool polls;
    uint32_t depth;
    uint64_t trips;
    uint64_t rung; /* bells of this process */
};

static void
die(const char *what)
{
    perror(what);
    exit(1);
}

static void
ring_bell(struct run *r, unsigned whose)
{
    const uint64_t one = 1;

    r->rung++;
    if (write(r->bell[whose], &one, sizeof(one)) < 0)
        die("write");
}

static void
wait_for_bell(struct run *r, unsigned whose, struct ring_consumer *c)
{
    struct pollfd p = {.fd = r->bell[whose], .events = POLLIN};
    uint64_t n;

    if (r->polls || !ring_sleep(c))
        return;
    if (poll(&p, 1, -1) < 0 || read(r->bell[whose], &n, sizeof(n)) < 0)
        die("poll");
    ring_awake(c);
}

static _Noreturn void
engine(struct run *r)
{
    uint32_t count = offload_ring_count(SLOTS);
    enum offload_fault why = OFFLOAD_FINE;
    struct ring_consumer sq;
    struct ring_producer cq;
    struct offload_sqe e;
    struct slots t;

    if (slots_init(&t, SLOTS, false) < 0)
        die("slots");
    ring_consumer_init(&sq, r->region + offload_sq_at(), sizeof(e), count);
    ring_producer_init(&cq, r->region + offload_cq_at(SLOTS), sizeof(struct offload_cqe), count);
    for (;;) { /* until it is killed */
        unsigned n = 0;

        while (offload_take_sqe(&sq, &t, &limits, &e, &why) == OFFLOAD_TAKEN) {
            struct offload_cqe done = {
                .kind = OFFLOAD_CQ_DONE, .slot = e.slot, .generation = e.generation, .sid = e.sid};

            if (!slots_give(&t, e.slot) || ring_put(&cq, &done) < 0)
                die("completion");
            n++;
        }
        if (why != OFFLOAD_FINE)
            die(offload_fault_text(why));
        ring_release(&sq);
        if (n > 0 && ring_publish(&cq) && !r->polls)
            ring_bell(r, 0);
        if (n == 0)
            wait_for_bell(r, 1, &sq);
    }
}

static void
ask(struct run *r, struct ring_producer *sq, struct slots *t, struct offload_asked *asked,
    uint64_t *asked_for)
{
    struct offload_sqe e = {.kind = OFFLOAD_SQ_COMMAND, .attr = 1, .cdb_len = 16, .in_len = 4096};

    while (t->live < r->depth && *asked_for < r->trips &&
           slots_take(t, 0, &e.slot, &e.generation) == 0) {
        asked[e.slot] = (struct offload_asked){e.kind, 0, e.in_len, 0};
        e.in_off = e.slot * UINT64_C(4096);
        if (ring_put(sq, &e) < 0)
            die("submission");
        ++*asked_for;
    }
    if (ring_publish(sq) && !r->polls)
        ring_bell(r, 1);
}

static void
client(struct run *r)
{
    uint32_t count = offload_ring_count(SLOTS);
    struct offload_asked asked[SLOTS];
    enum offload_fault why = OFFLOAD_FINE;
    uint64_t asked_for = 0, got = 0;
    struct ring_producer sq;
    struct ring_consumer cq;
    struct offload_cqe e;
    struct slots t;

    if (slots_init(&t, SLOTS, true) < 0)
        die("slots");
    ring_producer_init(&sq, r->region + offload_sq_at(), sizeof(struct offload_sqe), count);
    ring_consumer_init(&cq, r->region + offload_cq_at(SLOTS), sizeof(e), count);
    while (got < r->trips) {
        uint64_t before = got;

        ask(r, &sq, &t, asked, &asked_for);
        while (offload_take_cqe(&cq, &t, &limits, asked, &e, &why) == OFFLOAD_TAKEN) {
            if (!slots_give(&t, e.slot))
                die("slot");
            got++;
        }
        if (why != OFFLOAD_FINE)
            die(offload_fault_text(why));
        ring_release(&cq);
        if (got == before)
            wait_for_bell(r, 0, &cq);
    }
    slots_fini(&t);
}

static double
now_us(void)
{
    struct timespec t;

    if (clock_gettime(CLOCK_MONOTONIC, &t) < 0)
        die("clock_gettime");
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static void
measure(bool polls, uint32_t depth, uint64_t trips)
{
    size_t size = offload_region_size(SLOTS);
    struct run r = {.polls = polls, .depth = depth, .trips = trips};
    double from;
    pid_t pid;

    r.region = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    r.bell[0] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    r.bell[1] = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (r.region == MAP_FAILED || r.bell[0] < 0 || r.bell[1] < 0)
        die("memory and bells");
    pid = fork();
    if (pid < 0)
        die("fork");
    if (pid == 0)
        engine(&r);
    from = now_us();
    client(&r);
    printf("%-8s depth %2u  %8.2f us  %.2f bells of the client\n", polls ? "polling" : "asleep",
           depth, (now_us() - from) / (double)trips, (double)r.rung / (double)trips);
    if (kill(pid, SIGKILL) < 0 || waitpid(pid, NULL, 0) < 0)
        die("kill");
    if (munmap(r.region, size) < 0 || close(r.bell[0]) < 0 || close(r.bell[1]) < 0)
        die("close");
}

int
main(int argc, char **argv)
{
    static const uint32_t depths[] = {1, 8, 32};
    uint64_t trips = argc > 1 ? strtoull(argv[1], NULL, 10) : 300000;

    if (trips == 0) {
        (void)fprintf(stderr, "usage: %s [ROUND-TRIPS]\n", argv[0]);
        return 2;
    }
    for (unsigned polls = 0; polls < 2; polls++) {
        for (unsigned i = 0; i < sizeof(depths) / sizeof(depths[0]); i++)
            measure(polls != 0, depths[i], trips);
    }
    return 0;
}
