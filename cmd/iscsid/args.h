/* SPDX-License-Identifier: MIT */
/* The command line of iscsid. */
#ifndef CMD_ISCSID_ARGS_H
#define CMD_ISCSID_ARGS_H

#include <stdbool.h>

#include "loop/loop.h"

struct iscsid_args {
    const char *root, *instance; /* NULL: not given */
    const char *config, *initiatorname, *pid_file, *iod_socket, *records, *sysfs, *firmware;
    bool foreground, no_pid_file, classic_socket;
    long uid, gid;  /* -1: not given */
    unsigned debug; /* 0..8 */
    unsigned threads, time_every;
    enum loop_kind loop;
};

/* Returns 0; 1 where --help or --version has been printed; or -EINVAL after a line on stderr. */
int iscsid_args_parse(struct iscsid_args *a, int argc, char **argv);

#endif
