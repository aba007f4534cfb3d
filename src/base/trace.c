/* SPDX-License-Identifier: MIT */
#include "base/trace.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

static const struct {
    const char *name, *a, *b;
} points[TRACE_COUNT] = {
#define TRACE_POINT(name, a, b) {#name, a, b},
#include "base/trace.def"
#undef TRACE_POINT
};

struct trace *
trace_new(uint32_t size)
{
    struct trace *t;

    assert(size > 0 && (size & (size - 1)) == 0);
    t = calloc(1, sizeof(*t) + size * sizeof(t->ev[0]));
    if (t != NULL)
        t->size = size;
    return t;
}

void
trace_free(struct trace *t)
{
    free(t);
}

const char *
trace_name(enum trace_id id)
{
    assert(id < TRACE_COUNT);
    return points[id].name;
}

void
trace_add(struct trace *t, uint64_t now_ns, enum trace_id id, uint64_t a, uint64_t b)
{
    t->ev[t->head++ & (t->size - 1)] = (struct trace_event){now_ns, a, b, id};
}

/* A value that has a name.  Results are -errno, so that all are printed as signed numbers. */
static void
trace_print(FILE *to, const char *name, uint64_t value)
{
    if (name[0] != '-')
        (void)fprintf(to, " %s=%" PRId64, name, (int64_t)value);
}

void
trace_dump(const struct trace *t, FILE *to)
{
    uint32_t i = t->head > t->size ? t->head - t->size : 0;

    for (; i != t->head; i++) {
        const struct trace_event *e = &t->ev[i & (t->size - 1)];

        (void)fprintf(to, "%12" PRIu64 " %s", e->now_ns, points[e->id].name);
        trace_print(to, points[e->id].a, e->a);
        trace_print(to, points[e->id].b, e->b);
        (void)fputc('\n', to);
    }
}
