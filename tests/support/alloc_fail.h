/* SPDX-License-Identifier: MIT */
/* tests/support/alloc_fail.h - makes one allocation fail, or all of them for a while.  The test is
 * linked with -Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc,--wrap=aligned_alloc. */
#ifndef TESTS_ALLOC_FAIL_H
#define TESTS_ALLOC_FAIL_H

#include <stdbool.h>
#include <stdlib.h>

/* Allocations that still succeed before one fails; < 0: all do.  Volatile, as a compiler that sees
 * all of the program (LTO) may take it that malloc changes no variable of ours. */
static volatile long alloc_left = -1;
static volatile bool alloc_none; /* all fail */

static inline bool
alloc_fails(void)
{
    return alloc_none || (alloc_left >= 0 && alloc_left-- == 0);
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);

void *
__wrap_malloc(size_t size)
{
    return alloc_fails() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return alloc_fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    return alloc_fails() ? NULL : __real_realloc(p, size);
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
    return alloc_fails() ? NULL : __real_aligned_alloc(align, size);
}

#endif
