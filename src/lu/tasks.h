/* SPDX-License-Identifier: MIT */
/* lu/tasks.h - task sets ended by task management functions, and resets (SAM-5 7; SPC-4 5.14).
 *
 * Each function asks router->abort for every task that it ends, with the ctx
 * that it was given; n is the nexus that it came on.  The router does ABORT
 * TASK by itself, with lu_cmd_end.
 */
#ifndef LU_TASKS_H
#define LU_TASKS_H

#include "lu/types.h"

struct lu;
struct lu_device;

/* ABORT TASK SET: n's own tasks. */
void lu_abort_task_set(struct lu *lu, const struct lu_nexus *n, void *ctx);

/* CLEAR TASK SET: everybody's; the others find a unit attention, 2F/00. */
void lu_clear_task_set(struct lu *lu, const struct lu_nexus *n, void *ctx);

/* LOGICAL UNIT RESET: everybody's tasks, RESERVE(6), changed modes; a unit attention for all. */
void lu_reset(struct lu *lu, const struct lu_nexus *n, void *ctx);

/* TARGET WARM RESET and COLD RESET: the same for all units.  Sessions are the router's to end. */
void lu_device_reset(struct lu_device *dev, const struct lu_nexus *n, bool cold, void *ctx);

/* PREEMPT AND ABORT: the tasks of victim, silently. */
void lu_preempt_tasks(struct lu *lu, const struct lu_nexus *victim);

#endif
