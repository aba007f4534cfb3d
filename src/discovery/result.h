/* SPDX-License-Identifier: MIT */
/* discovery/result.h - the targets that the answer to SendTargets names.  Any thread. */
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
    struct portal *portals; /* owned by the result; tpgt is -1 where the target did not tell it */
    size_t nportals;        /* 0 where all its addresses were bad */
};

struct discovery_result {
    struct discovered_target *targets;
    size_t ntargets;
    size_t bad_names;         /* records that were left out because their name is no iSCSI name */
    size_t bad_addresses;     /* addresses that were left out because they are not legal */
    struct lunette_error bad; /* what is wrong with the first of both; code 0: there is none */
};

/* Frees what r holds, but not r itself, which is empty afterwards. */
void discovery_result_free(struct discovery_result *r);

#endif
