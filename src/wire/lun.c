/* SPDX-License-Identifier: MIT */
#include "wire/lun.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/hex.h"
#include "wire/be.h"

#define FLAT_SPACE      0x40u /* 14 bits in bytes 0-1 */
#define WELL_KNOWN      0xc1u /* byte 1 says which */
#define EXT_FLAT_SPACE  0xd2u /* 24 bits in bytes 1-3 */
#define LONG_FLAT_SPACE 0xe2u /* 40 bits in bytes 1-5 */

struct lun
lun_from_number(uint64_t n)
{
    struct lun l = {{0}};

    assert(n <= LUN_NUMBER_MAX);
    if (n < 256) {
        l.b[1] = (uint8_t)n;
    } else if (n < 16384) {
        st_be16(l.b, (uint16_t)(FLAT_SPACE << 8 | n));
    } else if (n < 1u << 24) {
        l.b[0] = EXT_FLAT_SPACE;
        st_be24(l.b + 1, (uint32_t)n);
    } else {
        l.b[0] = LONG_FLAT_SPACE;
        l.b[1] = (uint8_t)(n >> 32);
        st_be32(l.b + 2, (uint32_t)n);
    }
    return l;
}

int
lun_to_number(struct lun l, uint64_t *ret)
{
    unsigned used; /* bytes of the only level */
    uint64_t n;

    if (l.b[0] == 0) {
        n = l.b[1];
        used = 2;
    } else if ((l.b[0] & 0xc0) == FLAT_SPACE) {
        n = ld_be16(l.b) & 0x3fffu;
        used = 2;
    } else if (l.b[0] == EXT_FLAT_SPACE) {
        n = ld_be24(l.b + 1);
        used = 4;
    } else if (l.b[0] == LONG_FLAT_SPACE) {
        n = (uint64_t)l.b[1] << 32 | ld_be32(l.b + 2);
        used = 6;
    } else {
        return -EINVAL;
    }
    for (unsigned i = used; i < sizeof(l.b); i++)
        if (l.b[i] != 0)
            return -EINVAL;
    *ret = n;
    return 0;
}

uint64_t
lun_to_view(struct lun l)
{
    uint64_t v = 0;

    for (unsigned i = 4; i-- > 0;)
        v = v << 16 | ld_be16(l.b + 2 * (size_t)i);
    return v;
}

struct lun
lun_from_view(uint64_t view)
{
    struct lun l;

    for (unsigned i = 0; i < 4; i++)
        st_be16(l.b + 2 * (size_t)i, (uint16_t)(view >> 16 * i));
    return l;
}

struct lun
lun_well_known(uint8_t which)
{
    return (struct lun){{WELL_KNOWN, which}};
}

bool
lun_is_well_known(struct lun l)
{
    return l.b[0] == WELL_KNOWN;
}

const char *
lun_format(struct lun l, char buf[LUN_TEXT_MAX])
{
    uint64_t n;

    if (lun_to_number(l, &n) == 0 && lun_equal(lun_from_number(n), l))
        (void)snprintf(buf, LUN_TEXT_MAX, "%" PRIu64, n);
    else
        (void)snprintf(buf, LUN_TEXT_MAX, "0x%016" PRIx64, ld_be64(l.b));
    return buf;
}

int
lun_parse(const char *text, size_t len, struct lun *ret)
{
    bool hex = len == 18 && text[0] == '0' && text[1] == 'x';
    unsigned base = hex ? 16 : 10;
    uint64_t n = 0;

    if (len == 0 || (!hex && len > 13)) /* LUN_NUMBER_MAX has 13 digits */
        return -EINVAL;
    for (size_t i = hex ? 2 : 0; i < len; i++) {
        int d = hex_digit(text[i]);

        if (d < 0 || (unsigned)d >= base)
            return -EINVAL;
        n = n * base + (unsigned)d;
    }
    if (hex)
        st_be64(ret->b, n);
    else if (n > LUN_NUMBER_MAX)
        return -EINVAL;
    else
        *ret = lun_from_number(n);
    return 0;
}
