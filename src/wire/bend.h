/* SPDX-License-Identifier: MIT */
/* wire/bend.h - where a target bends a rule of RFC 7143 in a way that harms nothing on a single
 * connection, and the session goes on (docs/design/bends.md).
 *
 * What bends are known is wire/bend.def.  They are kept as bits of a uint32_t.  Any thread.
 */
#ifndef WIRE_BEND_H
#define WIRE_BEND_H

#include <stdint.h>

enum wire_bend {
#define BEND(name, text) BEND_##name,
#include "wire/bend.def"
#undef BEND
    BEND_COUNT,
};

#define BEND_BIT(name) (UINT32_C(1) << BEND_##name)

/* Returns what a target does that bends so, such as "answers with another ISID"; NULL for a number
 * that is not one of enum wire_bend. */
const char *bend_text(unsigned bend);

#endif
