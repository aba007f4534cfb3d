/* SPDX-License-Identifier: MIT */
/* login/result.h - what a login tells its owner at its end. */
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
    int32_t tpgt;                           /* -1: the target has not told it */
    struct iscsi_params params;             /* the agreed values */
    char target_alias[LOGIN_ALIAS_MAX + 1]; /* as the target sent it: not fit for printing */
    const char *auth_method;                /* "None", "CHAP", "CHAP mutual" */
    struct portal portal;                   /* the one that is used, after redirects */
    struct sock_addr peer;                  /* its address */
    uint64_t connect_ns;                    /* how long it took to connect to it, */
    uint64_t answer_ns;                     /* and then until its first Login Response */
    bool moved;                             /* the target has moved permanently, to moved_to */
    struct portal moved_to;                 /* to be used from now on, not the configured portal */
    uint32_t redirects, retries;            /* how many it took */
    uint32_t bends; /* bits of enum wire_bend (wire/bend.h) that the target has shown */
};

struct login_callbacks {
    /* Called once.  login_free may be called inside.
     *
     * With err NULL the session is logged in and START_CONN has been answered; *res lives until
     * done returns.  The owner adds its own ctl_watch for (res->sid, res->cid) inside this call, so
     * that it misses no event.
     *
     * With err not NULL the login has failed or was canceled (-ECANCELED), and res is NULL.  What
     * the login had made in the data plane is gone; a session that was to be reopened is stopped
     * for recovery again.  err has the domain CONNECT (detail: errno), LOGIN (detail: Status-Class
     * << 8 | Status-Detail; 0 if we have refused the target), PROTO, TIMEOUT, USAGE or OS. */
    void (*done)(void *user, const struct login_result *res, const struct lunette_error *err);
    /* LOGIN_NEW has made session sid in the data plane, and has sent it nothing yet: what the owner
     * asks for inside this call is served before all that follows, START_CONN above all.  The
     * owner must not free or cancel the login inside.  May be NULL. */
    void (*made)(void *user, uint32_t sid);
    void *user;
};

#endif
