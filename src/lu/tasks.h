/* SPDX-License-Identifier: MIT */
/* lu/tasks.h - task management functions that end tasks, and resets (SAM-5 7; SPC-4 5.14).
 *
 * Each function calls router->abort for every task that it ends, with the ctx that it was
 * given.  n is the nexus on which the router received the task management function.  The
 * router carries out ABORT TASK by itself, with lu_cmd_end.
 */
#ifndef LU_TASKS_H
#define LU_TASKS_H

#include "lu/types.h"

struct lu;
struct lu_device;

/* ABORT TASK SET: ends the tasks of n. */
void lu_abort_task_set(struct lu *lu, const struct lu_nexus *n, void *ctx);

/* QUERY TASK SET: whether n has a task. */
bool lu_query_task_set(const struct lu *lu, const struct lu_nexus *n);

/* CLEAR TASK SET: ends the tasks of all nexuses, and sets unit attention 2F/00 for those other than
 * n whose tasks it has ended. */
void lu_clear_task_set(struct lu *lu, const struct lu_nexus *n, void *ctx);

/* LOGICAL UNIT RESET: ends the tasks of all nexuses and RESERVE(6), restores the modes, and sets a
 * unit attention for all nexuses. */
void lu_reset(struct lu *lu, const struct lu_nexus *n, void *ctx);

/* TARGET WARM RESET and TARGET COLD RESET: do so for all units.  The router ends the sessions. */
void lu_device_reset(struct lu_device *dev, const struct lu_nexus *n, bool cold, void *ctx);

/* PREEMPT AND ABORT: ends the tasks of victim without a response. */
void lu_preempt_tasks(struct lu *lu, const struct lu_nexus *victim);

#endif
