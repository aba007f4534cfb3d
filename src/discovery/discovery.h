/* SPDX-License-Identifier: MIT */
/* discovery/discovery.h - SendTargets (RFC 7143 appendix C): a Discovery session that asks once.
 *
 * All on the loop's thread; done comes later, never from inside a call.
 */
#ifndef DISCOVERY_DISCOVERY_H
#define DISCOVERY_DISCOVERY_H

#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "login/login.h"

#define DISCOVERY_TEXT_MAX    (64u << 20) /* bytes of text that an answer may have */
#define DISCOVERY_TARGETS_MAX 65536u
#define DISCOVERY_PORTALS_MAX 262144u /* in all */

struct discovered_target {
    char name[ISCSI_NAME_MAX + 1];
    struct portal *portals; /* tpgt -1: not told */
    size_t nportals;        /* 0 where all its addresses were bad */
};

struct discovery_result {
    struct discovered_target *targets;
    size_t ntargets;
    size_t bad_names;         /* records left out since their name is no iSCSI name */
    size_t bad_addresses;     /* addresses left out likewise */
    struct lunette_error bad; /* the first of them, if any */
};

/* *r becomes empty. */
void discovery_result_free(struct discovery_result *r);

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
