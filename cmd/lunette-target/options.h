/* SPDX-License-Identifier: MIT */
/* The options of lunette-target, for getopt_long, for people, and for generators of completions. */
#ifndef CMD_LUNETTE_TARGET_OPTIONS_H
#define CMD_LUNETTE_TARGET_OPTIONS_H

#include "cmd/common/option_rows.h"

/* What getopt_long answers for options that have no letter. */
enum option_id {
    OPT_LISTEN = 256,
    OPT_LISTEN_ISER,
    OPT_ISER_KEEP_STAGS,
    OPT_TARGET,
    OPT_LUN,
    OPT_ALIAS,
    OPT_CHAP,
    OPT_MUTUAL,
    OPT_CHAP_FILE,
    OPT_SET,
    OPT_MAX_CONNECTIONS,
    OPT_RECOVERY_LEVEL,
    OPT_REDIRECT,
    OPT_REDIRECT_PERMANENT,
    OPT_LOOP,
    OPT_SPIN,
    OPT_PACE,
};

/* Without what --help says, which is options_usage. */
extern const struct option_program options_program;
extern const char options_usage[];

#endif
