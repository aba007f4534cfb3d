/* SPDX-License-Identifier: MIT */
/* tests/support/engine_process.h - an engine that is a process of a simulated world, with one loop.
 * It listens at a path, is killed or ends in order, and another one may follow it. */
#ifndef TESTS_ENGINE_PROCESS_H
#define TESTS_ENGINE_PROCESS_H

#include "engine/node.h"
#include "tests/sim/sim_loop.h"

struct engine_process;

/* state: the folder of its tables, which outlives it; NULL: they are in its memory.  Never NULL. */
struct engine_process *engine_process_start(struct sim *sim, const char *path, const char *state);
struct loop *engine_process_loop(const struct engine_process *e);
struct engine_node *engine_process_node(const struct engine_process *e);

/* Kills it with SIGKILL.  What it had in memory is never looked at again. */
void engine_process_kill(struct engine_process *e);
/* It sends its clients away and logs out, and engine_process_over says when it has. */
void engine_process_stop(struct engine_process *e);
bool engine_process_over(const struct engine_process *e);
/* After one of both. */
void engine_process_free(struct engine_process *e);

#endif
