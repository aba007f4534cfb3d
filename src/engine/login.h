/* SPDX-License-Identifier: MIT */
/* engine/login.h - the sessions that an engine has, one for each record of its table that is
 * logged in.
 *
 * They belong to the engine and not to its clients: a session logs in when a record is to be
 * (`boot`, LOGIN_FLASHNODE, or the first client that asks for it), logs in again by itself whenever
 * it is lost, and ends when it is logged out of.  What is above a session, the engine's side of
 * clients (engine/attach.h), gets its SCSI host and hears of its state.
 *
 * Everything runs on one loop.  Callbacks come later, never from inside a call.
 */
#ifndef ENGINE_LOGIN_H
#define ENGINE_LOGIN_H

#include "engine/flash.h"
#include "seam/host.h"
#include "seam/ipc.h"

struct engine_logins;
struct engine_login;

/* Whoever uses a session; embedded in it. */
struct engine_use {
    struct list node; /* of the login */
    struct engine_login *login;
    /* The session is in another state; why is NULL where it runs.  FAILED: commands fail; it may
     * come back.  Commands that were under way have been, or will be, given back by the host. */
    void (*state)(struct engine_use *u, enum ipc_session_state st, const struct lunette_error *why);
    /* The session has been logged out of and is about to be gone: its host has given back every
     * command and must not be used any more, and u is in no list. */
    void (*gone)(struct engine_use *u);
    /* The host takes commands again after it had refused one with -EBUSY. */
    void (*restart)(struct engine_use *u);
};

/* The record's session, which begins to log in where it has not yet; u hears of it from now on, and
 * at first, later, of the state as it is.  0, or -errno with *err: -ENOMEM, -ENOENT. */
int engine_login_use(struct engine_logins *e, uint32_t index, struct engine_use *u,
                     struct lunette_error *err);
/* u hears nothing any more.  It has no command with the host.  The session stays. */
void engine_login_leave(struct engine_use *u);

/* NULL until it was logged in for the first time. */
struct scsi_host *engine_login_host(const struct engine_login *l);
enum ipc_session_state engine_login_state(const struct engine_login *l);
/* The number that this engine has given the login: never used again. */
uint32_t engine_login_id(const struct engine_login *l);
void engine_login_stats(const struct engine_login *l, struct iscsi_stats *ret);

#endif
