/* SPDX-License-Identifier: MIT */
/* tests/unit/loop/contract.h - what seam/loop.h promises, checked on any implementation. */
#ifndef TESTS_UNIT_LOOP_CONTRACT_H
#define TESTS_UNIT_LOOP_CONTRACT_H

#include "seam/loop.h"

struct loop_factory {
    const char *name;
    /* Two loops that reach each other.  False: not possible here, why says why. */
    bool (*make)(struct loop **ret_a, struct loop **ret_b, const char **why);
    void (*unmake)(struct loop *a, struct loop *b);
    /* Counters that loop_watch takes, alive between make and unmake: bell makes one, ring adds to
     * it, read takes what it has counted. */
    int (*bell)(void);
    void (*ring)(int fd);
    uint64_t (*read)(int fd);
    void (*bell_free)(int fd);
    /* Whether a descriptor that came in a packet is closed on exec; and how many are open. */
    bool (*closes_on_exec)(int fd);
    unsigned (*open_fds)(void);
    /* For contract_shm_run only.  A descriptor of memory, of the loop's process, with these seals
     * and no others. */
    int (*unsealed)(struct loop *l, size_t size, int seals);
    /* Starts another process, which calls begin with a loop of its own, and step now and then as
     * long as it can write to memory.  kill kills it, which takes a while; ended tells whether that
     * is over; reap frees what is left of it, with end, if that is in this process. */
    void (*process)(struct loop *b, void (*begin)(struct loop *l), void (*step)(void));
    void (*kill)(void);
    bool (*ended)(void);
    void (*reap)(void (*end)(void));
    /* Whether the second loop can be run still: it may be that of the other process. */
    bool (*runs)(struct loop *b);
};

/* Runs all the tests; returns the number that failed. */
int contract_run(const struct loop_factory *f);
/* The same for local sockets. */
int contract_local_run(const struct loop_factory *f);
/* The same for loop_watch. */
int contract_watch_run(const struct loop_factory *f);
/* What seam/shm.h promises. */
int contract_shm_run(const struct loop_factory *f);

#endif
