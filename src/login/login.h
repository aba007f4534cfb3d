/* SPDX-License-Identifier: MIT */
/* login/login.h - logs a session in: connect, negotiate, hand over to the data path.
 *
 * This is the initiator's side of RFC 7143 sections 6, 12 and 13.  A login acts on the
 * data path only by the messages of seam/ipc.h (through ctl/ctl.h), and on the network
 * only to connect the socket of a transport with CAP_BIND_DESCRIPTOR.  All of it runs on
 * the loop's thread; done is called later, never from inside a call of this header.
 */
#ifndef LOGIN_LOGIN_H
#define LOGIN_LOGIN_H

#include <stdbool.h>

#include "base/err.h"
#include "ctl/ctl.h"
#include "login/config.h"
#include "login/result.h"

struct iscsi_login;

/* Starts a login.  ctl is borrowed and outlives it; cfg and cb are copied.  Returns 0 and *ret,
 * which the caller frees with login_free; or with *err -EINVAL (login_config_check) or -ENOMEM, and
 * then done is not called. */
int login_start(struct ctl *ctl, const struct login_config *cfg, const struct login_callbacks *cb,
                struct iscsi_login **ret, struct lunette_error *err);

/* Ends the login early: done is called with -ECANCELED once the login has undone what it made in
 * the data plane.  Does nothing after done. */
void login_cancel(struct iscsi_login *l);

/* Frees the login and sets *l to NULL; *l may be NULL.  May be called at any time, also inside
 * done.  Before done it ends the login early without calling done, and the login goes on to undo
 * what it made in the data plane (until then ctl_idle is false).  A session that is logged in
 * stays. */
void login_free(struct iscsi_login **l);

/* Changes replacement_timeout_s of a login that is under way.  Where it has told the data plane of
 * the one before already, nothing happens. */
void login_set_replacement(struct iscsi_login *l, int32_t replacement_timeout_s);

/* Tells whether the login has gone on from cfg->portal, which took no connection, to another one of
 * cfg->group. */
bool login_passed_over(const struct iscsi_login *l);

/* Tells whether nothing of the login is left to be undone.  That is so when done is called, unless
 * the data plane has not answered in time; another login of the same connection waits for it. */
bool login_is_over(const struct iscsi_login *l);

/* Tells whether the same login may succeed later although nobody changes anything.  That is so for
 * time limits, for a connection that was refused or lost, and for Status-Class 3. */
bool login_error_retryable(const struct lunette_error *err);

#endif
