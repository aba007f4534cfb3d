/* SPDX-License-Identifier: MIT */
#include "manage/wipe.h"

#include <jansson.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

static json_free_t wipe_next; /* what frees the memory then */

static json_malloc_t wipe_take; /* what finds it */
static _Thread_local unsigned long wipe_shortages;

static void *
take_and_note(size_t size)
{
    void *p = wipe_take(size);

    if (p == NULL)
        wipe_shortages++;
    return p;
}

static void
wipe_and_free(void *p)
{
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
