/* SPDX-License-Identifier: MIT */
/* wire/sn.h - compares serial numbers, such as CmdSN, StatSN and DataSN, which wrap at 2^32
 * (RFC 1982).
 *
 * Two numbers exactly 2^31 apart have no order (RFC 1982 3.2), so all four functions
 * return false for them: a window or counter never moves on such a pair.
 */
#ifndef WIRE_SN_H
#define WIRE_SN_H

#include <stdbool.h>
#include <stdint.h>

static inline bool
sn_gt(uint32_t a, uint32_t b)
{
    uint32_t d = a - b;

    return d != 0 && d < 0x80000000u;
}

static inline bool
sn_lt(uint32_t a, uint32_t b)
{
    return sn_gt(b, a);
}

static inline bool
sn_gte(uint32_t a, uint32_t b)
{
    return a - b < 0x80000000u;
}

static inline bool
sn_lte(uint32_t a, uint32_t b)
{
    return sn_gte(b, a);
}

#endif
