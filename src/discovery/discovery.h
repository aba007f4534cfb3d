/* SPDX-License-Identifier: MIT */
/* discovery/discovery.h - asks for targets: opens a Discovery session, sends one SendTargets (RFC
 * 7143 appendix C), and ends the session.
 *
 * All of it runs on the loop's thread; done is called later, never from inside a call of
 * this header.
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
    uint32_t text_timeout_ms; /* for each Text Response, and 20 times that for all; 0: 30 s */
};

struct discovery;

/* Starts a discovery.  cfg and cb are copied, as is what: "All" (NULL means the same) or the name
 * of one target, which is sent as it is.  cfg is as for login_start; this function sets kind,
 * discovery, target_name and expected_tpgt itself.  ctl is borrowed and outlives the discovery.
 * Returns 0 and *ret, which the caller frees with discovery_free; or -errno with *err as
 * login_start, and then done is not called. */
int discovery_sendtargets(struct ctl *ctl, const struct login_config *cfg, const char *what,
                          const struct discovery_callbacks *cb, struct discovery **ret,
                          struct lunette_error *err);

/* Ends the discovery early: done is called with -ECANCELED.  Does nothing after done. */
void discovery_cancel(struct discovery *d);

/* Frees the discovery and sets *d to NULL; *d may be NULL.  May be called at any time, also inside
 * done.  Before done it ends the discovery early without calling done, and the discovery goes on to
 * end its session. */
void discovery_free(struct discovery **d);

#endif
