/* SPDX-License-Identifier: MIT */
/* manage/wipe.h - JSON that is freed leaves nothing behind. */
#ifndef MANAGE_WIPE_H
#define MANAGE_WIPE_H

#include <stdbool.h>

/* Has jansson overwrite all memory that it frees from now on, in the whole process: passwords go
 * through requests and answers, and what was freed is found again in a core dump.  What memory is
 * taken with stays as it was set; it has to come from malloc.  Any number of times, before other
 * threads use jansson. */
void manage_wipe_json(void);

/* Whether jansson got no memory on this thread since this was asked last; only where
 * manage_wipe_json was called. */
bool manage_json_was_short(void);

#endif
