/* SPDX-License-Identifier: MIT */
/* cmd/lunette/share.c - how much of a CPU a process has used. */
#include "cmd/lunette/share.h"

#define LIMIT_SHARE 0.95
#define WALL_MIN_NS 50000000u /* less is hardly more than the kernel's accounts are exact to */

static double
seconds_of(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

double
cpu_share(const struct rusage *before, const struct rusage *after, uint64_t wall_ns)
{
    double used = seconds_of(after->ru_utime) - seconds_of(before->ru_utime) +
                  seconds_of(after->ru_stime) - seconds_of(before->ru_stime);

    return wall_ns == 0 ? 0 : used / ((double)wall_ns / 1e9);
}

bool
cpu_is_limit(double share, uint64_t wall_ns)
{
    return wall_ns >= WALL_MIN_NS && share >= (double)LIMIT_SHARE; /* not as x87 has it */
}
