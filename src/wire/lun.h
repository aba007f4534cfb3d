/* SPDX-License-Identifier: MIT */
/* wire/lun.h - 8-byte logical unit numbers, SAM.  Any thread.
 *
 * A LUN is its 8 bytes: they are stored, compared and sent as they came.  A number is
 * for people and for configuration only; the bytes `00 05` and `40 05` are two LUNs,
 * although both have the number 5.
 */
#ifndef WIRE_LUN_H
#define WIRE_LUN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct lun {
    uint8_t b[8];
};

#define LUN_NUMBER_MAX 0xffffffffffull /* 40 bits: long extended flat space */
#define LUN_TEXT_MAX   32              /* bytes of any LUN's text, with the NUL */

/* Makes the LUN with number n <= LUN_NUMBER_MAX in the addressing method that targets use for it:
 * peripheral below 256, flat space below 16384, extended flat space below 2^24, long extended flat
 * space below 2^40. */
struct lun lun_from_number(uint64_t n);

/* Gets the number of a single-level LUN in one of those methods, for peripheral addressing with bus
 * 0 only.  Returns 0, or -EINVAL for others (logical unit addressing, well-known LUs, several
 * levels). */
int lun_to_number(struct lun l, uint64_t *ret);

/* Turn a LUN into one integer and back, as Linux does for people: the first two bytes are the
 * lowest 16 bits, the next two the next 16 bits, so that LUN 5 is 5 and flat LUN 300 is 0x412c.
 * Each LUN has an integer of its own. */
uint64_t lun_to_view(struct lun l);
struct lun lun_from_view(uint64_t view);

static inline struct lun
lun_load(const void *p)
{
    struct lun l;

    memcpy(l.b, p, sizeof(l.b));
    return l;
}

static inline void
lun_store(void *p, struct lun l)
{
    memcpy(p, l.b, sizeof(l.b));
}

static inline bool
lun_equal(struct lun a, struct lun b)
{
    return memcmp(a.b, b.b, sizeof(a.b)) == 0;
}

/* Makes the LUN of a well-known logical unit (C1h): 1 REPORT LUNS, 2 access controls, 3 target log
 * pages, 4 security protocol, 5 management protocol. */
struct lun lun_well_known(uint8_t which);
bool lun_is_well_known(struct lun l);

/* Writes the number in decimal of a LUN that lun_from_number() would make from it, and of any other
 * LUN "0x" and the 16 digits of its bytes.  Returns buf. */
const char *lun_format(struct lun l, char buf[LUN_TEXT_MAX]);

/* Reads text[0..len) as lun_format() writes it: a decimal number <= LUN_NUMBER_MAX, or 0x and
 * exactly 16 hex digits.  Returns 0, or -EINVAL for any other text. */
int lun_parse(const char *text, size_t len, struct lun *ret);

#endif
