/* SPDX-License-Identifier: MIT */
/* cmd/lunette/share.h - how much of a CPU a process has used. */
#ifndef CMD_LUNETTE_SHARE_H
#define CMD_LUNETTE_SHARE_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>

/* The CPU time, user and system, between two calls of getrusage(2), as a share of wall_ns: 1 is all
 * of one CPU.  0 where wall_ns is 0. */
double cpu_share(const struct rusage *before, const struct rusage *after, uint64_t wall_ns);

/* Tells whether a program of one thread was limited by its CPU, so that it hardly ever waited for
 * the LUN.  False for runs that are too short to tell. */
bool cpu_is_limit(double share, uint64_t wall_ns);

#endif
