/* SPDX-License-Identifier: MIT */
/* lu/pr.h - persistent reservations of one logical unit (SPC-4 5.13).
 *
 * A registration belongs to an I_T nexus, which is known by the name of the initiator port, so it
 * outlives connections and sessions.  It outlives the process where the initiator has set APTPL and
 * the store can keep it (pr_keep.h); else APTPL is refused.
 */
#ifndef LU_PR_H
#define LU_PR_H

#include <stdbool.h>
#include <stdint.h>

#include "lu/types.h"

struct lu_cmd;

void lu_pr_fini(struct lu_pr *pr);

/* Tells whether a reservation of another nexus forbids n to run a command of that class. */
bool lu_pr_conflict(const struct lu_pr *pr, const struct lu_nexus *n, enum lu_pr_class cls);

/* The handlers of PERSISTENT RESERVE IN, and of PERSISTENT RESERVE OUT before and after its
 * parameter list has come. */
void lu_pr_in(struct lu_cmd *c);
void lu_pr_out(struct lu_cmd *c);
void lu_pr_out_finish(struct lu_cmd *c);

#endif
