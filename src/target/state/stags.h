/* SPDX-License-Identifier: MIT */
/* target/state/stags.h - where the data of a command are to go to and to come from over RDMA. */
#ifndef TARGET_STATE_STAGS_H
#define TARGET_STATE_STAGS_H

#include <stdbool.h>

#include "wire/iser.h"

struct tgt_stags {
    struct iser_stag write; /* of what is asked for, behind what comes unasked */
    struct iser_stag read;
    bool has_write, has_read;
};

#endif
