/* SPDX-License-Identifier: MIT */
/* fail_at.c - LD_PRELOAD: allocation number FAIL_AT of a program fails, and with FAIL_ALL each
 * later one, too.  With FAIL_COUNT the program says at its end how many there were. */
#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define SHOWN __attribute__((visibility("default"))) /* the loader looks for these */
#define BOOT  65536 /* bytes that dlsym may take before there is an allocator */

static void *(*real_malloc)(size_t);
static void *(*real_calloc)(size_t, size_t);
static void *(*real_realloc)(void *, size_t);
static _Alignas(16) char boot[BOOT];
static size_t boot_used;
static bool starting;
static long count, at;
static bool all;

static bool
allocation_fails(void)
{
    if (real_realloc == NULL && !starting) {
        starting = true;
        *(void **)&real_malloc = dlsym(RTLD_NEXT, "malloc"); /* so POSIX wants it */
        *(void **)&real_calloc = dlsym(RTLD_NEXT, "calloc");
        *(void **)&real_realloc = dlsym(RTLD_NEXT, "realloc");
        starting = false;
        at = getenv("FAIL_AT") != NULL ? atol(getenv("FAIL_AT")) : 0;
        all = getenv("FAIL_ALL") != NULL;
    }
    if (starting)
        return false;
    long k = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    if (at == 0 || k < at || (k > at && !all))
        return false;
    errno = ENOMEM;
    return true;
}

static void *
from_boot(size_t size)
{
    void *p = boot + boot_used;

    boot_used += (size + 15) & ~(size_t)15;
    return boot_used <= BOOT ? p : NULL;
}

SHOWN void *
malloc(size_t size)
{
    if (allocation_fails())
        return NULL;
    return starting ? from_boot(size) : real_malloc(size);
}

SHOWN void *
calloc(size_t n, size_t size)
{
    if (allocation_fails())
        return NULL;
    return starting ? from_boot(n * size) : real_calloc(n, size);
}

SHOWN void *
realloc(void *p, size_t size)
{
    return allocation_fails() ? NULL : real_realloc(p, size);
}

static void __attribute__((destructor)) tell_count(void)
{
    if (getenv("FAIL_COUNT") != NULL)
        dprintf(STDERR_FILENO, "allocations: %ld\n", count);
}
