/* SPDX-License-Identifier: MIT */
/* wire/offload_options.h - what a URL or a record says to the transports offload_*: at which
 * engine, and how much memory is shared with it. */
#ifndef WIRE_OFFLOAD_OPTIONS_H
#define WIRE_OFFLOAD_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define OFFLOAD_OPT_SLOTS     128 /* where nothing is said */
#define OFFLOAD_OPT_SLOTS_MIN 8
#define OFFLOAD_OPT_SLOTS_MAX 1024
#define OFFLOAD_OPT_ARENA     ((uint64_t)16 << 20) /* bytes, where nothing is said */
#define OFFLOAD_OPT_ARENA_MIN ((uint64_t)4 << 20)
#define OFFLOAD_OPT_ARENA_MAX ((uint64_t)1 << 30)

struct offload_options {
    char engine[SOCK_PATH_MAX + 1]; /* the path of the engine's socket */
    uint32_t slots;                 /* requests under way at a time, of all sessions together */
    uint64_t arena;                 /* bytes for their data; a multiple of 4096 */
};

/* Reads NAME=VALUE with & between them (ISCSI_PARAM_OPTIONS); NULL is the empty text.  0, or
 * -EINVAL with a sentence that says what is wrong and what would be right. */
int offload_options_parse(const char *text, struct offload_options *ret, struct lunette_error *err);
/* The same where not all may have been said yet: engine is "" where it has not. */
int offload_options_read(const char *text, struct offload_options *ret, struct lunette_error *err);

/* Are the options of the transport of that name these? */
bool offload_options_are_of(const char *transport);
/* Is name[0..len) the name of one of these? */
bool offload_option_known(const char *name, size_t len);

/* Do both mean the same engine, and memory of the same sizes? */
bool offload_options_equal(const struct offload_options *a, const struct offload_options *b);

#endif
