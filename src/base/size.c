/* SPDX-License-Identifier: MIT */
#include "base/size.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <strings.h>

#include "base/hex.h"

/* The part of the text that has not been read yet. */
struct size_text {
    const char *at, *end;
};

static int
size_number(struct size_text *t, unsigned base, uint64_t *ret)
{
    uint64_t n = 0;
    const char *start = t->at;

    for (; t->at < t->end; t->at++) {
        int d = hex_digit(*t->at);

        if (d < 0 || (unsigned)d >= base)
            break;
        if (n > (UINT64_MAX - (unsigned)d) / base)
            return -ERANGE;
        n = n * base + (unsigned)d;
    }
    *ret = n;
    return t->at > start ? 0 : -EINVAL;
}

/* Returns unit times 0.digits, rounded down.  It goes from the last digit to the first; a division
 * rounds down at each step, which comes to the same as rounding down once at the end. */
static uint64_t
size_fraction(const char *digits, const char *end, uint64_t unit)
{
    uint64_t part = 0;

    while (end > digits)
        part = (part + (uint64_t)(*--end - '0') * unit) / 10;
    return part;
}

/* The power of 1024 of the unit, which is all that is left; -1 if it is none. */
static int
size_unit(const struct size_text *t)
{
    static const char units[] = "kMGTP";
    size_t left = (size_t)(t->end - t->at);

    if (left == 0 || (left == 1 && *t->at == 'B'))
        return 0;
    if (left > 3 || (left == 2 && t->at[1] != 'B') ||
        (left == 3 && memcmp(t->at + 1, "iB", 2) != 0))
        return -1;
    for (int i = 0; units[i] != '\0'; i++) {
        if (strncasecmp(t->at, &units[i], 1) == 0)
            return i + 1;
    }
    return -1;
}

int
size_parse(const char *text, size_t len, uint64_t *ret)
{
    struct size_text t = {text, text + len};
    bool hex = len > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X');
    const char *fraction = NULL, *fraction_end = NULL;
    uint64_t number = 0, unit, part;
    int r, power;

    if (hex)
        t.at += 2;
    r = size_number(&t, hex ? 16 : 10, &number);
    if (r < 0)
        return r;
    if (!hex && t.at < t.end && *t.at == '.') {
        fraction = ++t.at;
        while (t.at < t.end && *t.at >= '0' && *t.at <= '9')
            t.at++;
        fraction_end = t.at;
        if (fraction_end == fraction)
            return -EINVAL;
    }
    power = size_unit(&t);
    if (power < 0 || (power == 0 && fraction != NULL))
        return -EINVAL;
    unit = 1ull << (10 * power);
    part = size_fraction(fraction, fraction_end, unit);
    if (number > (UINT64_MAX - part) / unit)
        return -ERANGE;
    *ret = number * unit + part;
    return 0;
}
