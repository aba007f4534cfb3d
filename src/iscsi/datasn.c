/* SPDX-License-Identifier: MIT */
#include "iscsi/datasn.h"

#include <assert.h>
#include <string.h>

static void
set_init(struct datasn_set *s, uint32_t end)
{
    *s = (struct datasn_set){.count = end > 0, .run[0] = {0, end}};
}

void
datasn_runs_init(struct datasn_runs *r, uint32_t sn, uint32_t bytes)
{
    set_init(&r->seen, sn);
    set_init(&r->good, bytes);
}

/* Joins the runs i .. j - 1, which [first, end) touches, and it into one. */
static void
set_join(struct datasn_set *s, uint32_t i, uint32_t j, uint32_t first, uint32_t end)
{
    assert(i < j && j <= s->count);
    if (s->run[i].first > first)
        s->run[i].first = first;
    if (s->run[j - 1].end > end)
        end = s->run[j - 1].end;
    s->run[i].end = end;
    memmove(&s->run[i + 1], &s->run[j], (s->count - j) * sizeof(s->run[0]));
    s->count -= j - i - 1;
}

static bool
set_insert(struct datasn_set *s, uint32_t i, uint32_t first, uint32_t end)
{
    if (s->count == DATASN_RUNS)
        return false;
    memmove(&s->run[i + 1], &s->run[i], (s->count - i) * sizeof(s->run[0]));
    s->run[i] = (struct datasn_run){first, end};
    s->count++;
    return true;
}

/* False when nothing of it is new, or there is no room for another run. */
static bool
set_add(struct datasn_set *s, uint32_t first, uint32_t end)
{
    uint32_t i = 0, j;

    assert(first < end);
    while (i < s->count && s->run[i].end < first)
        i++;
    for (j = i; j < s->count && s->run[j].first <= end;)
        j++;
    if (i == j)
        return set_insert(s, i, first, end);
    if (s->run[i].first <= first && end <= s->run[i].end)
        return false;
    set_join(s, i, j, first, end);
    return true;
}

bool
datasn_runs_add(struct datasn_runs *r, uint32_t sn, uint32_t offset, uint32_t len)
{
    bool news = false;

    if (len > 0 && len <= UINT32_MAX - offset) {
        news = set_add(&r->good, offset, offset + len);
        if (!news && datasn_set_has(&r->good, offset, offset + len) != DATASN_ALL)
            return false;
    }
    return (sn < UINT32_MAX && set_add(&r->seen, sn, sn + 1)) || news;
}

void
datasn_runs_saw(struct datasn_runs *r, uint32_t first, uint32_t end)
{
    if (first < end)
        (void)set_add(&r->seen, first, end);
}

enum datasn_overlap
datasn_set_has(const struct datasn_set *s, uint32_t first, uint32_t end)
{
    assert(first < end);
    for (uint32_t i = 0; i < s->count; i++) {
        const struct datasn_run *r = &s->run[i];

        if (r->first <= first && end <= r->end)
            return DATASN_ALL;
        if (r->first < end && first < r->end)
            return DATASN_SOME;
    }
    return DATASN_NONE;
}

uint32_t
datasn_set_missing_from(const struct datasn_set *s, uint32_t from, uint32_t limit,
                        uint32_t *ret_first)
{
    uint32_t to = limit;

    for (uint32_t i = 0; i < s->count; i++) {
        const struct datasn_run *r = &s->run[i];

        if (r->first <= from && from < r->end)
            from = r->end;
        else if (r->first > from && r->first < to)
            to = r->first;
    }
    *ret_first = from;
    return from < to ? to - from : 0;
}

uint32_t
datasn_set_missing(const struct datasn_set *s, uint32_t limit, uint32_t *ret_first)
{
    return datasn_set_missing_from(s, 0, limit, ret_first);
}
