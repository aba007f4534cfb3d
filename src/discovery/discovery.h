/* SPDX-License-Identifier: MIT */
/* discovery/discovery.h - SendTargets (RFC 7143 appendix C): a Discovery session that asks once.
 *
 * All of it runs on the loop's thread; done comes later, never from inside a call.
 */
#ifndef DISCOVERY_DISCOVERY_H
#define DISCOVERY_DISCOVERY_H

#include <stdint.h>

#include "base/err.h"
#include "ctl/ctl.h"
#include "discovery/result.h"
#include "login/config.h"

struct discovery_callbacks {
    /* Called once.  err NULL: *res becomes the callee's, who frees it by discovery_result_free.
     * Otherwise res is NULL.  The Discovery session is gone in either case. */
    void (*done)(void *user, struct discovery_result *res, const struct lunette_error *err);
    void *user;
    uint32_t text_timeout_ms; /* for each Text Response; 0: 30 s */
};

struct discovery;

/* Starts.  cfg is as for login_start, but kind, discovery, target_name and expected_tpgt, which are
 * set here; it is copied.  what: "All" or NULL, or the name of one target.  0 and *ret, or -errno
 * with *err as login_start. */
int discovery_sendtargets(struct ctl *ctl, const struct login_config *cfg, const char *what,
                          const struct discovery_callbacks *cb, struct discovery **ret,
                          struct lunette_error *err);

/* Ends it early: done comes with -ECANCELED.  Harmless after done. */
void discovery_cancel(struct discovery *d);

/* At any time, also inside done.  Before done: it is never called, and the discovery tidies up by
 * itself.  *d becomes NULL, and may be NULL. */
void discovery_free(struct discovery **d);

#endif
