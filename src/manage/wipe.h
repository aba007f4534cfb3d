/* SPDX-License-Identifier: MIT */
/* manage/wipe.h - JSON that is freed leaves nothing behind, and memory that it did not get is
 * noticed. */
#ifndef MANAGE_WIPE_H
#define MANAGE_WIPE_H

#include <stddef.h>

/* Has jansson overwrite all memory that it frees from now on, in the whole process: passwords go
 * through requests and answers, and what was freed is found again in a core dump.  What memory is
 * taken with stays as it was set; it has to come from malloc.  Any number of times, before other
 * threads use jansson. */
void manage_wipe_json(void);

/* How often jansson got no memory on this thread, since manage_wipe_json was called.  Where it
 * grows meanwhile, what was read or made is not to be believed: jansson takes some shortages for
 * wrong syntax, and goes on after others. */
unsigned long manage_json_shortages(void);

/* Sets memory aside, of which jansson gets what it gets from nowhere else on this thread, until
 * manage_json_unreserve: its parser writes beyond its buffer where that could not grow.  It does so
 * at most once after the first shortage, where it gets no more input then.
 * What was made while manage_json_shortages grew must be freed before that.  Returns 0 or
 * -ENOMEM; not within itself. */
int manage_json_reserve(size_t bytes);
void manage_json_unreserve(void);

#endif
