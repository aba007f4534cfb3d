/* SPDX-License-Identifier: MIT */
/* login/logout.h - ends a session: asks the target, then takes it out of the data plane.
 *
 * All of it runs on the loop's thread; done is called later, never from inside a call of
 * this header.
 */
#ifndef LOGIN_LOGOUT_H
#define LOGIN_LOGOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ctl/ctl.h"

#define LOGOUT_CONNS_MAX  32
#define LOGOUT_TIMEOUT_MS 5000
#define LOGOUT_RETRY_MS   50 /* until a logout that was refused with -ENOMEM is tried again */

struct logout_config {
    uint32_t sid;
    struct {
        uint16_t cid;
        uint64_t ep;           /* 0: none */
    } conns[LOGOUT_CONNS_MAX]; /* all that the session has; the Logout Request goes on the first */
    uint32_t nconns;           /* >= 1 */
    uint32_t timeout_ms; /* for the response, and then, where it is less than 5 s, for the data
                            plane to tidy up; 0: 5 s for each */
    bool skip_request;   /* the connection is dead, so no Logout Request is sent */
    bool keep_session;   /* for another login: see session_logout_task */
    bool close_conn;     /* reason 1 (close the connection) for the first: others go on */
    bool until_gone;     /* the caller has commands on the session's host: done comes when that is
                            gone, however slow the data plane is */
};

struct iscsi_logout;

/* Sends a Logout Request with reason 0 (close the session), then stops and destroys all connections
 * and the session.  It watches the events of these connections until then.  done is called once:
 * with err NULL when the target agreed; else err says why not (time limit, connection lost, or the
 * response's code as detail).  In both cases the session is gone from the data plane, or, without
 * until_gone, is going while the data plane is slow.  With keep_session the connections are only
 * stopped, for recovery, and the session stays in the data plane, where LOGIN_REOPEN finds it.  cfg
 * is copied, ctl is borrowed and outlives the logout.  Returns 0; or -ENOMEM when there is no
 * memory and another logout uses that which is kept for this case: the caller tries again later. */
int session_logout_task(struct ctl *ctl, const struct logout_config *cfg,
                        void (*done)(void *user, const struct lunette_error *err), void *user,
                        struct iscsi_logout **ret);

/* Returns the Time2Wait in seconds that the Logout Response has told, or that is in force where the
 * connection was lost before it; -1: neither. */
int32_t logout_time2wait(const struct iscsi_logout *l);

/* Tells whether nothing is left to be undone.  That is so when done is called, unless the data
 * plane has not answered in time. */
bool logout_is_over(const struct iscsi_logout *l);

/* Frees the logout and sets *l to NULL; *l may be NULL.  May be called at any time, also inside
 * done; done is not called any more, but all else is done all the same. */
void logout_free(struct iscsi_logout **l);

#endif
