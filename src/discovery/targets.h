/* SPDX-License-Identifier: MIT */
/* discovery/targets.h - reads the answer to SendTargets piece by piece (RFC 7143 appendix C).
 *
 * Pairs may be split anywhere; only one pair is ever kept as text.  Internal to
 * discovery/.
 */
#ifndef DISCOVERY_TARGETS_H
#define DISCOVERY_TARGETS_H

#include <stdbool.h>

#include "discovery/result.h"
#include "wire/text.h"

struct targets {
    char part[TEXT_KEY_MAX + 1 + TEXT_VALUE_MAX + 1]; /* a pair whose end has not come yet */
    size_t part_len;
    size_t text_len;      /* bytes of text so far */
    struct portal in_use; /* for records without an address */
    bool skip;            /* the record's name was bad: its addresses are left out */
    bool has_address;     /* the record has an address, if only a bad one */
    size_t room;          /* targets allocated */
    size_t nportals;
    struct discovery_result res;
};

/* in_use: the portal that is being asked, with its group tag. */
void targets_init(struct targets *t, const struct portal *in_use);
void targets_fini(struct targets *t);

/* Takes a piece of the answer.  -EPROTO or -ENOMEM with *err. */
int targets_feed(struct targets *t, const void *text, size_t len, struct lunette_error *err);

/* The answer is complete.  On success the result is moved to *ret, which is the caller's. */
int targets_end(struct targets *t, struct discovery_result *ret, struct lunette_error *err);

#endif
