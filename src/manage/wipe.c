/* SPDX-License-Identifier: MIT */
#include "manage/wipe.h"

#include <errno.h>
#include <jansson.h>
#include <malloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static json_free_t wipe_next; /* what frees the memory then */

static json_malloc_t wipe_take; /* what finds it */
static _Thread_local unsigned long wipe_shortages;
static _Thread_local struct {
    char *at; /* NULL: there is none */
    size_t used, size;
} wipe_reserve;

static void *
reserve_take(size_t size)
{
    size_t need = (size + 15) & ~(size_t)15;
    void *p;

    if (wipe_reserve.at == NULL || need < size || need > wipe_reserve.size - wipe_reserve.used)
        return NULL;
    p = wipe_reserve.at + wipe_reserve.used;
    wipe_reserve.used += need;
    return p;
}

static bool
reserve_holds(const void *p)
{
    uintptr_t at = (uintptr_t)wipe_reserve.at;

    return at != 0 && (uintptr_t)p >= at && (uintptr_t)p < at + wipe_reserve.size;
}

static void *
take_and_note(size_t size)
{
    void *p = wipe_take(size);

    if (p != NULL)
        return p;
    wipe_shortages++;
    return reserve_take(size);
}

static void
wipe_and_free(void *p)
{
    if (reserve_holds(p))
        return;
    if (p != NULL)
        explicit_bzero(p, malloc_usable_size(p));
    wipe_next(p);
}

void
manage_wipe_json(void)
{
    json_malloc_t take;
    json_free_t give;

    json_get_alloc_funcs(&take, &give);
    if (give == wipe_and_free)
        return;
    wipe_next = give;
    wipe_take = take;
    json_set_alloc_funcs(take_and_note, wipe_and_free);
}

unsigned long
manage_json_shortages(void)
{
    return wipe_shortages;
}

int
manage_json_reserve(size_t bytes)
{
    wipe_reserve.at = malloc(bytes);
    wipe_reserve.used = 0;
    wipe_reserve.size = bytes;
    return wipe_reserve.at != NULL ? 0 : -ENOMEM;
}

void
manage_json_unreserve(void)
{
    if (wipe_reserve.at != NULL)
        explicit_bzero(wipe_reserve.at, wipe_reserve.used);
    free(wipe_reserve.at);
    wipe_reserve.at = NULL;
}
