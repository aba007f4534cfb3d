/* SPDX-License-Identifier: MIT */
/* base/trace.h - trace points into a ring that belongs to one loop.
 *
 * Trace points are for the developers, log lines for the operator.  With no ring
 * attached a point costs one load and a branch.
 */
#ifndef BASE_TRACE_H
#define BASE_TRACE_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum trace_id {
#define TRACE_POINT(name, a, b) TRACE_##name,
#include "base/trace.def"
#undef TRACE_POINT
    TRACE_COUNT,
};

struct trace_event {
    uint64_t now_ns; /* the loop's clock */
    uint64_t a, b;
    enum trace_id id;
};

struct trace {
    uint32_t size; /* power of two */
    uint32_t head; /* events ever added */
    struct trace_event ev[];
};

/* size: events kept, a power of two.  NULL without memory.  trace_free(NULL) is harmless. */
struct trace *trace_new(uint32_t size);
void trace_free(struct trace *t);

const char *trace_name(enum trace_id id);
void trace_dump(const struct trace *t, FILE *to);
void trace_add(struct trace *t, uint64_t now_ns, enum trace_id id, uint64_t a, uint64_t b);

/* loop: struct loop * (seam/loop.h) */
#define TRACE(loop, name, a_, b_)                                                                  \
    do {                                                                                           \
        if (__builtin_expect((loop)->trace != NULL, 0))                                            \
            trace_add((loop)->trace, (loop)->now_ns, TRACE_##name, (uint64_t)(a_),                 \
                      (uint64_t)(b_));                                                             \
    } while (0)

#endif
