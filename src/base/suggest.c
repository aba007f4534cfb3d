/* SPDX-License-Identifier: MIT */
#include "base/suggest.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define WORD_MAX     255 /* a longer one is not looked at */
#define DISTANCE_MAX 3u
#define PREFIX_MIN   3

static unsigned
least(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

/* Edits that lead from a to b, a swap of two neighbours being one: the optimal string alignment. */
static unsigned
edits(const char *a, size_t alen, const char *b, size_t blen)
{
    unsigned rows[3][WORD_MAX + 1];
    unsigned *two = rows[0], *one = rows[1], *now = rows[2]; /* two: the row before the last */

    for (size_t j = 0; j <= blen; j++)
        one[j] = two[j] = (unsigned)j;
    for (size_t i = 1; i <= alen; i++) {
        now[0] = (unsigned)i;
        for (size_t j = 1; j <= blen; j++) {
            int x = tolower((unsigned char)a[i - 1]), y = tolower((unsigned char)b[j - 1]);
            now[j] = least(least(one[j] + 1, now[j - 1] + 1), one[j - 1] + (x != y));
            if (i > 1 && j > 1 && x == tolower((unsigned char)b[j - 2]) &&
                y == tolower((unsigned char)a[i - 2]))
                now[j] = least(now[j], two[j - 2] + 1);
        }
        unsigned *free_row = two;
        two = one;
        one = now;
        now = free_row;
    }
    return one[blen];
}

void
suggest_try(struct suggest *s, const char *known)
{
    size_t typed = strlen(s->typed), len = strlen(known);

    if (typed == 0 || typed > WORD_MAX || len > WORD_MAX)
        return;
    unsigned limit = least(DISTANCE_MAX, (unsigned)len / 3);
    unsigned d = edits(s->typed, typed, known, len);
    if (typed >= PREFIX_MIN && typed < len && strncasecmp(s->typed, known, typed) == 0)
        d = least(d, limit); /* the rest was left out */
    if (d > (limit > 0 ? limit : 1) || (s->best != NULL && d >= s->distance))
        return;
    s->best = known;
    s->distance = d;
}
