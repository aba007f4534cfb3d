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
    char name[ISCSI_NAME_MAX + 1]; /* as it was told, byte for byte: see iscsi_name_take */
    struct portal *portals; /* owned by the result; tpgt is -1 where the target did not tell it */
    size_t nportals;        /* 0 where none of its addresses was understood */
    char **unclear;         /* the addresses that were not, as they came; owned by the result */
    size_t nunclear;
};

struct discovery_result {
    struct discovered_target *targets;
    size_t ntargets;
    size_t bad_names;         /* records that were left out because their name cannot be sent */
    size_t bad_addresses;     /* addresses that were not understood */
    struct lunette_error bad; /* what is wrong with the first of both; code 0: there is none */
};

/* Frees what r holds, but not r itself, which is empty afterwards. */
void discovery_result_free(struct discovery_result *r);

#endif
