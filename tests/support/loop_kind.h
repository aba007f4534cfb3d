/* SPDX-License-Identifier: MIT */
/* tests/support/loop_kind.h - tests that run once on each kind of loop, which their command line
 * names. */
#ifndef TESTS_SUPPORT_LOOP_KIND_H
#define TESTS_SUPPORT_LOOP_KIND_H

#include <string.h>

#include "loop/loop.h"

/* Returns 0 and the kind; or the exit code of a test that is not run: 77 where the system has no
 * such loop, 2 where none is named. */
static inline int
loop_kind_named(int argc, char **argv, enum loop_kind *ret)
{
    struct loop_config cfg = {.kind = LOOP_URING};
    struct loop *l = NULL;

    if (argc < 2)
        return 2;
    *ret = strcmp(argv[1], "epoll") == 0 ? LOOP_EPOLL : LOOP_URING;
    if (*ret == LOOP_URING && loop_new(&cfg, &l, NULL) < 0)
        return 77;
    loop_free(l);
    return 0;
}

#endif
