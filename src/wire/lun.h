/* SPDX-License-Identifier: MIT */
/* wire/lun.h - 8-byte logical unit numbers, SAM.
 *
 * The 8 bytes are the identity: they are stored and sent untouched.  Numbers
 * are for people and for configuration only, so `00 05` and `40 05` are two
 * LUNs although both say 5.
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
#define LUN_TEXT_MAX   32

/* The bytes for LUN n as targets use them: peripheral addressing below 256, flat space below
 * 16384, extended flat space below 2^24, long extended flat space below 2^40.  n <= LUN_NUMBER_MAX
 */
struct lun lun_from_number(uint64_t n);

/* The number of a single-level LUN of any of those methods, peripheral with bus 0 only; -EINVAL for
 * others (logical unit addressing, well-known LUs, several levels). */
int lun_to_number(struct lun l, uint64_t *ret);

/* The integer view: the four 16-bit words as words of increasing weight, so that LUN 5 is 5 and
 * flat LUN 300 is 0x412c.  One to one. */
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

/* Well-known logical units (C1h): 1 REPORT LUNS, 2 access controls, 3 target log pages, 4 security
 * protocol, 5 management protocol. */
struct lun lun_well_known(uint8_t which);
bool lun_is_well_known(struct lun l);

/* "5" for what lun_from_number(5) makes, else "0x" and 16 digits; returns buf. */
const char *lun_format(struct lun l, char buf[LUN_TEXT_MAX]);

/* The inverse: decimal <= LUN_NUMBER_MAX, or 0x and exactly 16 hex digits.  -EINVAL. */
int lun_parse(const char *text, size_t len, struct lun *ret);

#endif
