/* SPDX-License-Identifier: MIT */
/* discovery/result.h - the targets that an answer to SendTargets names. */
#ifndef DISCOVERY_RESULT_H
#define DISCOVERY_RESULT_H

#include <stddef.h>

#include "base/addr.h"
#include "base/err.h"

#define DISCOVERY_TEXT_MAX    (64u << 20) /* bytes of text that an answer may have */
#define DISCOVERY_TARGETS_MAX 65536u
#define DISCOVERY_PORTALS_MAX 262144u /* of all targets together */

struct discovered_target {
    char name[ISCSI_NAME_MAX + 1];
    struct portal *portals; /* tpgt is -1 where it was not told */
    size_t nportals;        /* 0 where all its addresses were bad */
};

struct discovery_result {
    struct discovered_target *targets;
    size_t ntargets;
    size_t bad_names;         /* records left out since their name is no iSCSI name */
    size_t bad_addresses;     /* addresses left out likewise */
    struct lunette_error bad; /* the first of them, if any */
};

/* *r becomes empty. */
void discovery_result_free(struct discovery_result *r);

#endif
