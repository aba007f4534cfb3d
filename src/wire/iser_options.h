/* SPDX-License-Identifier: MIT */
/* wire/iser_options.h - what URLs and records, and then ISCSI_PARAM_OPTIONS, say to iSER.  It
 * stands below the transport, so that a mistake is told of where it was made. */
#ifndef WIRE_ISER_OPTIONS_H
#define WIRE_ISER_OPTIONS_H

#include <stdint.h>

#include "base/err.h"

/* How the target is given memory (docs/design/iser.md). */
enum iser_way {
    ISER_WAY_AUTO,     /* windows where the device has them, else the pool */
    ISER_WAY_WINDOW,   /* a memory window for each command */
    ISER_WAY_POOL,     /* the STags of regions that stay open as long as the connection */
    ISER_WAY_REGISTER, /* memory in one piece is registered for the command; else as POOL */
};

#define ISER_POOL_MIN     (1u << 20)
#define ISER_POOL_DEFAULT (4u << 20)
#define ISER_POOL_MAX     (1u << 30)
#define ISER_POLL_US_MAX  1000000u

struct iser_options {
    enum iser_way way;
    uint32_t pool;    /* bytes, a multiple of ISER_POOL_MIN; 0: the default, or less of it where
                         that cannot be had */
    uint32_t poll_us; /* for rnic_spin; 0: it is left as it is */
};

/* Reads NAME=VALUE with & between them:
 *
 *   iser_stag=window|pool|register
 *   iser_pool=SIZE       1M..1G
 *   iser_poll_us=NUMBER  0..1000000
 *
 * NULL and "" are the defaults.  0; or -EINVAL, with what is allowed in *err, and *ret untouched.
 */
int iser_options_parse(const char *text, struct iser_options *ret, struct lunette_error *err);

const char *iser_way_name(enum iser_way way);

#endif
