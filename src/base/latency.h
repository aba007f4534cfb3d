/* SPDX-License-Identifier: MIT */
/* base/latency.h - a histogram of times: two buckets for each power of two from 1 us to a minute,
 * in memory of a fixed size.
 *
 * The bounds are 1024, 1536, 2048, 3072, ... nanoseconds.  Bucket 0 has what is below the first
 * one, and the last bucket what is not below the last one, 2^36 ns (69 s).  So a percentile is
 * right to a factor of 1.5.
 */
#ifndef BASE_LATENCY_H
#define BASE_LATENCY_H

#include <stdint.h>

#define LATENCY_BITS    10u /* the first bound is so many powers of two */
#define LATENCY_BUCKETS 54u

struct latency {
    uint64_t sum_ns;
    uint64_t bucket[LATENCY_BUCKETS];
};

/* The bucket that a time falls into. */
static inline uint32_t
latency_bucket(uint64_t ns)
{
    uint32_t power, bucket;

    if (ns < 1u << LATENCY_BITS)
        return 0;
    power = 63u - (uint32_t)__builtin_clzll(ns);
    bucket = 1 + 2 * (power - LATENCY_BITS) + (uint32_t)(ns >> (power - 1) & 1);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* Nanoseconds that all times of the bucket are below; UINT64_MAX for the last one. */
static inline uint64_t
latency_bound(uint32_t bucket)
{
    if (bucket >= LATENCY_BUCKETS - 1)
        return UINT64_MAX;
    return (uint64_t)(bucket & 1 ? 3u << (LATENCY_BITS - 1) : 1u << LATENCY_BITS) << bucket / 2;
}

/* Counts a time n times. */
static inline void
latency_add(struct latency *h, uint64_t ns, uint64_t n)
{
    h->sum_ns += ns * n;
    h->bucket[latency_bucket(ns)] += n;
}

/* How many times have been counted. */
static inline uint64_t
latency_count(const struct latency *h)
{
    uint64_t n = 0;

    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
        n += h->bucket[i];
    return n;
}

/* Adds what `from` has counted. */
static inline void
latency_merge(struct latency *to, const struct latency *from)
{
    to->sum_ns += from->sum_ns;
    for (uint32_t i = 0; i < LATENCY_BUCKETS; i++)
        to->bucket[i] += from->bucket[i];
}

#endif
