/* SPDX-License-Identifier: MIT */
/* tests/support/steady_alloc.h - memory for the tests' own machinery, which must not fail where a
 * test lets allocations fail: it goes past -Wl,--wrap. */
#ifndef TESTS_STEADY_ALLOC_H
#define TESTS_STEADY_ALLOC_H

#include <assert.h>
#include <stdlib.h>

/* The linker defines these in programs that wrap the functions. */
extern void *__real_calloc(size_t n, size_t size) __attribute__((weak));
extern void *__real_realloc(void *p, size_t size) __attribute__((weak));
extern void __real_free(void *p) __attribute__((weak));

/* Never NULL. */
static inline void *
steady_calloc(size_t n, size_t size)
{
    void *p = __real_calloc != NULL ? __real_calloc(n, size) : calloc(n, size);

    assert(p != NULL);
    return p;
}

static inline void *
steady_realloc(void *old, size_t size)
{
    void *p = __real_realloc != NULL ? __real_realloc(old, size) : realloc(old, size);

    assert(p != NULL);
    return p;
}

static inline void
steady_free(void *p)
{
    if (__real_free != NULL)
        __real_free(p);
    else
        free(p);
}

#endif
