/* SPDX-License-Identifier: MIT */
/* dice.h - numbers that a seed decides on: splitmix64, which takes any seed. */
#ifndef TESTS_SUPPORT_DICE_H
#define TESTS_SUPPORT_DICE_H

#include <stdint.h>

struct dice {
    uint64_t state; /* the seed */
};

static inline uint64_t
dice_u64(struct dice *d)
{
    uint64_t z = d->state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static inline uint32_t
dice_u32(struct dice *d)
{
    return (uint32_t)(dice_u64(d) >> 32);
}

/* 0 <= the result < n */
static inline uint32_t
dice_below(struct dice *d, uint32_t n)
{
    return dice_u32(d) % n;
}

#endif
