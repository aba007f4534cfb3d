/* SPDX-License-Identifier: MIT */
/* lu/mode.h - mode parameters of a logical unit: caching (08h), control (0Ah), informational
 * exceptions (1Ch). */
#ifndef LU_MODE_H
#define LU_MODE_H

struct lu_cmd;

/* Handlers of the table in ops.c. */
void lu_mode_sense(struct lu_cmd *c);
void lu_mode_select(struct lu_cmd *c);
void lu_mode_select_finish(struct lu_cmd *c);

#endif
