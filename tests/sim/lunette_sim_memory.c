/* SPDX-License-Identifier: MIT */
/* tests/sim/lunette_sim_memory.c - allocations of the code that is tested: they are counted, and
 * one of them fails.  The simulator's own go past this (tests/support/steady_alloc.h). */
#include <stdio.h>
#include <string.h>

#include "tests/sim/lunette_sim.h"
#include "tests/support/steady_alloc.h"

/* Memory that is in use: a table with open addressing. */
static struct block {
    void *p; /* NULL: free; a freed place is filled again by those behind it */
    size_t size;
    void *caller;
} * blocks;
static size_t blocks_room, blocks_count;

static uint64_t fail_at; /* allocations until one fails; 0: none does */
static bool has_failed, paused;

void *__real_malloc(size_t size);
void *__real_aligned_alloc(size_t align, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_aligned_alloc(size_t align, size_t size);
char *__wrap_strdup(const char *s);
void __wrap_free(void *p);

static size_t
place(const void *p)
{
    return (size_t)((uintptr_t)p / 16 * 0x9e3779b97f4a7c15ull >> 20) & (blocks_room - 1);
}

static void
put(void *p, size_t size, void *caller)
{
    size_t at = place(p);

    while (blocks[at].p != NULL)
        at = (at + 1) & (blocks_room - 1);
    blocks[at] = (struct block){p, size, caller};
}

static void
grow(void)
{
    struct block *old = blocks;
    size_t n = blocks_room;

    blocks_room = n == 0 ? 1024 : 2 * n;
    blocks = steady_calloc(blocks_room, sizeof(*blocks));
    for (size_t i = 0; i < n; i++) {
        if (old[i].p != NULL)
            put(old[i].p, old[i].size, old[i].caller);
    }
    steady_free(old);
}

static void *
taken(void *p, size_t size, void *caller)
{
    if (p == NULL)
        return NULL;
    if (2 * ++blocks_count > blocks_room)
        grow();
    put(p, size, caller);
    return p;
}

/* What is not here was taken by the C library, or before the first count. */
static void
given_back(const void *p)
{
    size_t at, next;

    if (p == NULL || blocks_count == 0)
        return;
    for (at = place(p); blocks[at].p != p; at = (at + 1) & (blocks_room - 1)) {
        if (blocks[at].p == NULL)
            return;
    }
    blocks[at].p = NULL;
    blocks_count--;
    for (next = (at + 1) & (blocks_room - 1); blocks[next].p != NULL;
         next = (next + 1) & (blocks_room - 1)) {
        struct block b = blocks[next];

        blocks[next].p = NULL;
        put(b.p, b.size, b.caller);
    }
}

static bool
fails(void)
{
    if (fail_at == 0 || paused || --fail_at > 0)
        return false;
    has_failed = true;
    return true;
}

void *
__wrap_malloc(size_t size)
{
    return fails() ? NULL : taken(__real_malloc(size), size, __builtin_return_address(0));
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : taken(__real_calloc(n, size), n * size, __builtin_return_address(0));
}

void *
__wrap_realloc(void *p, size_t size)
{
    void *new;

    if (fails())
        return NULL;
    given_back(p);
    new = __real_realloc(p, size);
    return taken(new, size, __builtin_return_address(0));
}

void *
__wrap_aligned_alloc(size_t align, size_t size)
{
    return fails() ? NULL
                   : taken(__real_aligned_alloc(align, size), size, __builtin_return_address(0));
}

char *
__wrap_strdup(const char *s)
{
    size_t size = strlen(s) + 1;
    char *p = fails() ? NULL : taken(__real_malloc(size), size, __builtin_return_address(0));

    return p != NULL ? memcpy(p, s, size) : NULL;
}

void
__wrap_free(void *p)
{
    given_back(p);
    __real_free(p);
}

void
ls_memory_fail_nth(uint64_t n)
{
    fail_at = n;
}

void
ls_memory_pause(bool on)
{
    paused = on;
}

bool
ls_memory_failed(void)
{
    return has_failed;
}

size_t
ls_memory_left(void)
{
    size_t n = 0;

    for (size_t i = 0; i < blocks_room && n < 10; i++) {
        if (blocks[i].p == NULL)
            continue;
        n++;
        (void)fprintf(stderr, "memory: %zu bytes, taken at %p\n", blocks[i].size, blocks[i].caller);
    }
    return n;
}
