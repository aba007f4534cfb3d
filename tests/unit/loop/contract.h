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
};

/* Runs all the tests; returns the number that failed. */
int contract_run(const struct loop_factory *f);
/* The same for local sockets. */
int contract_local_run(const struct loop_factory *f);
/* The same for loop_watch. */
int contract_watch_run(const struct loop_factory *f);

#endif
