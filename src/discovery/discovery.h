/* SPDX-License-Identifier: MIT */
/* discovery/discovery.h - SendTargets (RFC 7143 appendix C): a Discovery session that asks once.
 *
 * All on the loop's thread; done comes later, never from inside a call.
 */
#ifndef DISCOVERY_DISCOVERY_H
#define DISCOVERY_DISCOVERY_H

#include <stdint.h>

#include "base/err.h"
#include "ctl/ctl.h"
#include "discovery/result.h"
#include "login/config.h"

struct discovery_callbacks {
    /* Once.  err NULL: *res is the callee's, to be freed by discovery_result_free.  Otherwise res
     * is NULL.  The Discovery session is gone in either case. */
    void (*done)(void *user, struct discovery_result *res, const struct lunette_error *err);
    void *user;
    uint32_t text_timeout_ms; /* for each Text Response; 0: 30 s */
};

struct discovery;

/* cfg: as for login_start; discovery and target_name are set here.  what: "All" (or NULL) or the
 * name of one target.  Returns as login_start. */
int discovery_sendtargets(struct ctl *ctl, const struct login_config *cfg, const char *what,
                          const struct discovery_callbacks *cb, struct discovery **ret,
                          struct lunette_error *err);

/* done comes with -ECANCELED.  Harmless after done. */
void discovery_cancel(struct discovery *d);

/* Any time; before done: it is never called, tidying up goes on by itself.  *d may be NULL. */
void discovery_free(struct discovery **d);

#endif
