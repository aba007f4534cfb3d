/* SPDX-License-Identifier: MIT */
/* The command line of iscsi-iod. */
#ifndef CMD_ISCSI_IOD_ARGS_H
#define CMD_ISCSI_IOD_ARGS_H

#include "iod/iod.h"

struct iod_args {
    const char *socket, *log; /* NULL: not given */
    unsigned threads;
    enum loop_kind loop;
    uint32_t grace_ms, stop_ms;
    unsigned watch_every;
    unsigned verbose;
};

/* Returns 0; 1 where --help or --version has been printed; or -EINVAL after a line on stderr. */
int iod_args_parse(struct iod_args *a, int argc, char **argv);

#endif
