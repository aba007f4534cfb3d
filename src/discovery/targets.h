/* SPDX-License-Identifier: MIT */
/* discovery/targets.h - reads the answer to SendTargets piece by piece (RFC 7143 appendix C).
 *
 * A piece may end in the middle of a pair.  The reader keeps at most one pair as text,
 * so that an answer of many megabytes needs little memory beside its result.  Internal
 * to discovery/; loop's thread.
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
    struct portal in_use; /* the portal of a record that has no address */
    bool skip;            /* the record's name was bad, so its addresses are left out */
    bool has_address;     /* the record has an address, good or bad */
    size_t room;          /* targets allocated */
    size_t nportals;      /* addresses of all targets together, the unclear ones included */
    struct discovery_result res;
};

/* in_use is the portal that was asked, with its group tag. */
void targets_init(struct targets *t, const struct portal *in_use);
void targets_fini(struct targets *t);

/* Takes a piece of the answer.  Returns 0, or -EPROTO or -ENOMEM with *err. */
int targets_feed(struct targets *t, const void *text, size_t len, struct lunette_error *err);

/* Called when the answer is complete.  Returns 0 and moves the result to *ret, which the caller
 * owns from then on; or -errno with *err. */
int targets_end(struct targets *t, struct discovery_result *ret, struct lunette_error *err);

#endif
