/* SPDX-License-Identifier: MIT */
/* tests/support/loop_until.h - tests on a real loop that wait for something, but not for ever, and
 * count what is open at the end. */
#ifndef TESTS_SUPPORT_LOOP_UNTIL_H
#define TESTS_SUPPORT_LOOP_UNTIL_H

#include <dirent.h>

#include "seam/loop.h"
#include "tests/test.h"

/* Turns of loop l until cond, or failure after LIMIT_NS, which the test defines. */
#define LOOP_UNTIL(l, cond)                                                                        \
    do {                                                                                           \
        struct loop *l_ = (l);                                                                     \
        uint64_t limit_ = l_->now_ns + LIMIT_NS;                                                   \
        while (!(cond)) {                                                                          \
            assert_true(loop_run(l_, (int64_t)LOOP_NS_PER_MS) >= 0);                               \
            if (l_->now_ns > limit_)                                                               \
                fail_msg("never: %s", #cond);                                                      \
        }                                                                                          \
    } while (0)

/* Descriptors that this process has open. */
static inline unsigned
count_fds(void)
{
    DIR *d = opendir("/proc/self/fd");
    unsigned n = 0;

    assert_non_null(d);
    while (readdir(d) != NULL)
        n++;
    (void)closedir(d);
    return n;
}

#endif
