/* SPDX-License-Identifier: MIT */
/* login/logout.h - ends a session: asks the target, then takes it out of the data plane.
 *
 * On the loop's thread; done comes later, never from inside a call.
 */
#ifndef LOGIN_LOGOUT_H
#define LOGIN_LOGOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ctl/ctl.h"

#define LOGOUT_CONNS_MAX  32
#define LOGOUT_TIMEOUT_MS 5000

struct logout_config {
    uint32_t sid;
    struct {
        uint16_t cid;
        uint64_t ep;           /* 0: none */
    } conns[LOGOUT_CONNS_MAX]; /* all of the session; the Logout Request goes on the first */
    uint32_t nconns;           /* >= 1 */
    uint32_t timeout_ms;       /* for the response, then the session is ended anyway; 0: 5 s */
    bool skip_request;         /* connection is dead: only tidy up */
};

struct iscsi_logout;

/* Logout Request with reason 0 (close the session), then stops and destroys all of it.  Takes over
 * the events of these connections.  done comes once, err NULL: the target agreed; else why not
 * (time limit, connection lost, response code as detail): the session is gone nevertheless.  0 or
 * -ENOMEM. */
int session_logout_task(struct ctl *ctl, const struct logout_config *cfg,
                        void (*done)(void *user, const struct lunette_error *err), void *user,
                        struct iscsi_logout **ret);

/* done is not called any more; the work goes on by itself.  *l may be NULL. */
void logout_free(struct iscsi_logout **l);

#endif
