/* SPDX-License-Identifier: MIT */
/* lu/pr_keep.h - persistent reservations that outlive the process: what APTPL asks for (SPC-4
 * 5.13.5), as text that the store keeps.  The text is only replaced as a whole. */
#ifndef LU_PR_KEEP_H
#define LU_PR_KEEP_H

#include <stdbool.h>

#include "lu/types.h"

/* True when the unit's store can keep them. */
bool lu_pr_can_keep(const struct lu *lu);

/* Has the store keep the registrations and the reservation, or forget them where APTPL does not
 * hold any more.  When it returns 0 that is stable; else -errno, and what was kept before most
 * likely still is (store.h). */
int lu_pr_keep(const struct lu *lu);

/* Takes up what was kept, when the unit is opened and has no registration yet.  0, or -errno with a
 * sentence: what is kept cannot be read or understood, and a unit that somebody may have reserved
 * is not to be opened to all. */
int lu_pr_resume(struct lu *lu, struct lunette_error *err);

#endif
