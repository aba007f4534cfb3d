/* SPDX-License-Identifier: MIT */
/* login/login.h - logs a session in: connect, negotiate, hand over to the data path.
 *
 * RFC 7143 sections 6, 12 and 13 from the initiator's side.  A login speaks to
 * the data path only through seam/ipc.h (by way of ctl/ctl.h) and to the network
 * only to connect the socket of transports with CAP_BIND_DESCRIPTOR.  All of it
 * runs on the loop's thread; done callbacks come later, never from inside a call.
 */
#ifndef LOGIN_LOGIN_H
#define LOGIN_LOGIN_H

#include <stdbool.h>

#include "base/err.h"
#include "ctl/ctl.h"
#include "login/config.h"
#include "login/result.h"

struct iscsi_login;

/* Starts session_login_task.  cfg is copied.  0 and *ret, or -EINVAL and -ENOMEM with *err. */
int login_start(struct ctl *ctl, const struct login_config *cfg, const struct login_callbacks *cb,
                struct iscsi_login **ret, struct lunette_error *err);

/* Ends the login: done comes with -ECANCELED once the data plane is tidy.  Harmless after done. */
void login_cancel(struct iscsi_login *l);

/* At any time, also inside done; *l becomes NULL, and may be NULL.  Before done: done is never
 * called, and the login tidies up by itself (ctl_idle).  A session that is logged in stays. */
void login_free(struct iscsi_login **l);

/* Might the same login succeed later without anybody's doing?  True for time limits, a connection
 * that was refused or lost, and Status-Class 3. */
bool login_error_retryable(const struct lunette_error *err);

#endif
