/* SPDX-License-Identifier: MIT */
/* login/result.h - how a login ended, as its owner is told. */
#ifndef LOGIN_RESULT_H
#define LOGIN_RESULT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "login/config.h"
#include "wire/iscsi_params.h"

struct login_result {
    uint32_t sid;
    uint16_t cid;
    uint64_t ep; /* endpoint of transports that connect by themselves, 0: none; logout needs it */
    uint16_t tsih;
    int32_t tpgt;                           /* -1: not told */
    struct iscsi_params params;             /* agreed; max_xmit_dseg is the target's */
    char target_alias[LOGIN_ALIAS_MAX + 1]; /* as it came: peer text */
    const char *auth_method;                /* "None", "CHAP", "CHAP mutual" */
    struct portal portal;                   /* actually used, after redirects */
    struct sock_addr peer;                  /* its address */
    bool moved;                             /* a permanent redirect: */
    struct portal moved_to;                 /* keep this instead of the configured portal */
    uint32_t redirects, retries;            /* that it took */
};

struct login_callbacks {
    /* Once.  err NULL: logged in, START_CONN was answered, *res lives until done returns.  The
     * owner adds its own ctl_watch for (res->sid, res->cid) inside this call to miss no event.
     * err not NULL: failed or canceled (-ECANCELED); res NULL; what had been made in the data plane
     * is gone (of a reopened session: stopped for recovery again).  domain and detail: CONNECT
     * (errno); LOGIN (Status-Class << 8 | Status-Detail, 0 if the refusal is ours); PROTO;
     * TIMEOUT; USAGE; OS.  login_free may be called inside. */
    void (*done)(void *user, const struct login_result *res, const struct lunette_error *err);
    void *user;
};

#endif
