/* SPDX-License-Identifier: MIT */
/* The command line of lunette-target. */
#ifndef CMD_LUNETTE_TARGET_ARGS_H
#define CMD_LUNETTE_TARGET_ARGS_H

#include "loop/loop.h"
#include "lu/config.h"
#include "target/target.h"

#define ARGS_LISTEN_MAX TARGET_LISTENERS_MAX
#define ARGS_LUNS_MAX   256 /* of one target */
#define ARGS_SET_MAX    32  /* of one target */

struct args_node {
    struct target_node_config cfg;
    struct lu_config *luns; /* owned */
    struct target_key_value set[ARGS_SET_MAX];
    char *chap, *mutual; /* user, NUL, secret; owned */
};

struct args {
    struct {
        const char *at;
        bool iser;
    } listen[ARGS_LISTEN_MAX];
    uint32_t listen_count;
    struct args_node *nodes;         /* owned */
    struct target_node_config *cfgs; /* of them, owned */
    uint32_t nodes_count;
    struct loop_config loop;
    uint32_t pace_us;
    bool iser_keep_stags;
    int verbose;
};

/* 0: go on; 1: --help or --version was asked for and answered; -EINVAL: usage, and stderr says why.
 */
int args_parse(struct args *a, int argc, char **argv);
void args_free(struct args *a);

#endif
