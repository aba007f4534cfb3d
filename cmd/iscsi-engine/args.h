/* SPDX-License-Identifier: MIT */
/* The command line of iscsi-engine. */
#ifndef CMD_ISCSI_ENGINE_ARGS_H
#define CMD_ISCSI_ENGINE_ARGS_H

#include "engine/engine.h"

#define ENGINE_ALLOW_MAX 64 /* users of --allow */

struct engine_args {
    const char *socket, *log, *state; /* NULL: not given */
    unsigned threads;
    enum loop_kind loop;
    uint32_t stop_ms;
    bool fixed, unconfined;
    uid_t allow[ENGINE_ALLOW_MAX];
    unsigned nallow;
    unsigned verbose;
};

/* Returns 0; 1 where --help or --version has been printed; or -EINVAL after a line on stderr. */
int engine_args_parse(struct engine_args *a, int argc, char **argv);

#endif
