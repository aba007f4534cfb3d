/* SPDX-License-Identifier: MIT */
/* tests/bench/load.h - what the loads of the benchmark share: options, the closed loop's
 * accounting, the result as one line of JSON, and a pass that compares data.
 *
 * A load keeps depth requests of each session under way and submits again from the completion:
 *
 *     load_options(&l, "name", argc, argv);
 *     load_target_size(&l, bytes, block_size);
 *     load_run(&l, loop);
 *     load_print(&l);
 *
 * where loop() calls load_begin for each request it submits while load_more says so, load_stamp
 * once for each batch of completions (the only reading of the clock), and then load_end for each
 * completion of the batch, or load_end_n for several that began together.
 */
#ifndef TESTS_BENCH_LOAD_H
#define TESTS_BENCH_LOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>

#include "cmd/lunette/hist.h"

#define LOAD_DEPTH_MAX    1024
#define LOAD_SESSIONS_MAX 16

/* What is known of the data; nothing is compared in a run that is timed. */
enum load_verify {
    LOAD_VERIFY_NONE,
    LOAD_VERIFY_PATTERN, /* reads give the pattern of the null target */
    LOAD_VERIFY_ZERO,    /* reads give zeroes */
    LOAD_VERIFY_WRITE,   /* a pass that writes, then one that reads it back */
};

struct load {
    /* options */
    const char *name, *url, *engine, *peer_engine;
    bool write, random, zero_copy;
    enum load_verify verify;
    uint32_t depth, sessions, spin_us; /* depth: of each session */
    uint32_t lowat;                    /* SO_RCVLOWAT for large reads; 0: not set */
    int cpu, peer_cpu;                 /* -1: wherever the kernel likes */
    uint64_t bs, region;               /* region 0: the whole unit */
    uint64_t ios;                      /* exactly so many requests; 0: as long as secs says */
    double secs, warm;
    /* The system calls so far, where the load can tell; NULL: it cannot. */
    uint64_t (*syscalls)(void *user);
    void *syscalls_user;
    double peer_cpu_us; /* of the peer, where it is ours; all of its I/Os */
    /* the run */
    uint64_t positions; /* fewer than 2^32 */
    uint64_t next, pattern_seed;
    uint32_t seed;
    uint64_t now_ns, start_ns, measure_ns, end_ns;
    uint64_t begun, done, done_before, done_after, done_all_passes, compared;
    uint64_t syscalls_before, syscalls_after;
    uint64_t limit; /* of begun: there are no more */
    bool measuring, stopped;
    struct rusage before, after;
    struct hist hist;
};

/* One request under way. */
struct load_io {
    char *buf;
    uint64_t offset, start_ns;
    void *user; /* the load's own */
};

/* Fills l from the command line and pins the process; does not return on a wrong one. */
void load_options(struct load *l, const char *name, int argc, char **argv);

/* Requests with a buffer of bs bytes each, all of its pages touched. */
struct load_io *load_ios_new(const struct load *l, uint32_t n);
void load_ios_free(struct load_io *ios, uint32_t n);

/* How much there is to read or write.  A load without addresses need not say. */
void load_target_size(struct load *l, uint64_t bytes, uint32_t block_size);

/* Runs loop once, or once to write and once to read back. */
void load_run(struct load *l, void (*loop)(struct load *l));

/* The result, one line of JSON. */
void load_print(const struct load *l);

/* What cannot go on: says why and ends the process. */
void load_die(const char *format, ...) __attribute__((format(printf, 1, 2), noreturn));

uint64_t load_now_ns(void);
void load_pin(int cpu);
double load_rusage_us(const struct rusage *r); /* user and system */

/* ---- inside the loop ------------------------------------------------------------------------ */

void load_phase(struct load *l); /* load_stamp's rare half */
void load_fill(struct load *l, struct load_io *io);
void load_compare(struct load *l, const struct load_io *io);

static inline bool
load_more(const struct load *l)
{
    return l->begun < l->limit;
}

/* Chooses where the next request goes, and leaves its data. */
static inline void
load_go(struct load *l, struct load_io *io)
{
    uint64_t at;

    if (l->random) {
        l->seed = l->seed * 1664525u + 1013904223u; /* Numerical Recipes: the high bits are used */
        at = l->seed * l->positions >> 32;
    } else {
        at = l->next++;
        if (l->next == l->positions)
            l->next = 0;
    }
    io->offset = at * l->bs;
}

static inline void
load_place(struct load *l, struct load_io *io)
{
    load_go(l, io);
    if (l->verify != LOAD_VERIFY_NONE)
        load_fill(l, io);
}

static inline void
load_begin(struct load *l, struct load_io *io)
{
    io->start_ns = l->now_ns;
    l->begun++;
}

static inline void
load_stamp(struct load *l)
{
    l->now_ns = load_now_ns();
    if (l->now_ns >= l->end_ns)
        load_phase(l);
}

/* n requests that began at start_ns and are not to be compared. */
static inline void
load_end_n(struct load *l, uint64_t start_ns, uint64_t n)
{
    if (l->measuring)
        hist_add_n(&l->hist, l->now_ns - start_ns, n);
    l->done += n;
}

static inline void
load_end(struct load *l, const struct load_io *io)
{
    load_end_n(l, io->start_ns, 1);
    if (l->verify != LOAD_VERIFY_NONE)
        load_compare(l, io);
}

#endif
