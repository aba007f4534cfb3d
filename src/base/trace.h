/* SPDX-License-Identifier: MIT */
/* base/trace.h - trace points, which write into a ring that belongs to one loop.
 *
 * Trace points are for developers, log lines for the operator.  A trace point costs one
 * load and one branch when its loop has no ring.
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

/* The ring: the last `size` events.  Each function is called on the thread of the loop that has it.
 */
struct trace {
    uint32_t size; /* events that are kept, a power of two */
    uint32_t head; /* events ever added, modulo 2^32 */
    struct trace_event ev[];
};

/* Returns a ring of size events, a power of two, which the caller owns, or NULL when there is no
 * memory.  trace_free(NULL) does nothing. */
struct trace *trace_new(uint32_t size);
void trace_free(struct trace *t);

const char *trace_name(enum trace_id id);
/* Prints the events, the oldest first, one a line: the time in nanoseconds, the name, and those of
 * a and b that have a name. */
void trace_dump(const struct trace *t, FILE *to);
void trace_add(struct trace *t, uint64_t now_ns, enum trace_id id, uint64_t a, uint64_t b);

/* Records the point name of trace.def in the ring of loop, a struct loop * of seam/loop.h. */
#define TRACE(loop, name, a_, b_)                                                                  \
    do {                                                                                           \
        if (__builtin_expect((loop)->trace != NULL, 0))                                            \
            trace_add((loop)->trace, (loop)->now_ns, TRACE_##name, (uint64_t)(a_),                 \
                      (uint64_t)(b_));                                                             \
    } while (0)

#endif
