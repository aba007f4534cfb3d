/* SPDX-License-Identifier: MIT */
/* engine/login.h - the sessions that an engine has, one for each record of its table that is
 * logged in.
 *
 * They belong to the engine and not to its clients: a session logs in when a record is to be
 * (`boot`, LOGIN_FLASHNODE, or the first client that asks for it), logs in again by itself whenever
 * it is lost, and ends when it is logged out of.  What is above a session, the engine's side of
 * clients (engine/attach.h), gets its SCSI host and hears of its state.
 *
 * A first login that fails is tried again, as often as it takes, while the record is `boot` or
 * somebody uses it.  A session that was logged in to stays until it is logged out of, whether
 * somebody uses it or not.
 *
 * Everything runs on one loop.  Callbacks come later, never from inside a call.
 */
#ifndef ENGINE_LOGIN_H
#define ENGINE_LOGIN_H

#include "base/list.h"
#include "engine/flash.h"
#include "seam/host.h"
#include "seam/ipc.h"

struct dp_ids;
struct engine_logins;
struct engine_login;
struct transport_registry;

/* All sessions of one loop.  reg, ids (NULL: ids are its own) and f are borrowed and outlive it.
 * -ENOMEM with *err. */
int engine_logins_new(struct loop *loop, const struct transport_registry *reg, struct dp_ids *ids,
                      struct engine_flash *f, struct engine_logins **ret,
                      struct lunette_error *err);
/* The records that are `boot` begin to log in. */
void engine_logins_start(struct engine_logins *e);
/* Logs out of all, and begins no other login.  done is called once, later: when the last has ended.
 * Each logout has a time limit, and a target that does not answer is left without one; uses are
 * told `gone`, and have given up what they had with the hosts by then or get it back. */
void engine_logins_shutdown(struct engine_logins *e, void (*done)(void *user), void *user);
/* After `done` of the shutdown, also inside it, or where nothing was ever logged in to; and after
 * engine_table_forget of each client.  NULL is harmless. */
void engine_logins_free(struct engine_logins *e);

struct loop *engine_logins_loop(const struct engine_logins *e);
struct engine_flash *engine_logins_flash(const struct engine_logins *e);

/* Whoever uses a session; embedded in it. */
struct engine_use {
    struct list node; /* of the login */
    struct engine_login *login;
    bool told; /* the login's own: it knows of the state */
    /* The session is in another state; why is NULL where it runs or is new.  FAILED: commands fail,
     * or the first login has failed; it may come back.  ENDING: it is being logged out of, and
     * `gone` follows.  Commands that were under way have been, or will be, given back by the host.
     */
    void (*state)(struct engine_use *u, enum ipc_session_state st, const struct lunette_error *why);
    /* The session has been logged out of and is about to be gone: its host has given back every
     * command and must not be used any more, and u is in no list. */
    void (*gone)(struct engine_use *u);
    /* The host takes commands again after it had refused one with -EBUSY. */
    void (*restart)(struct engine_use *u);
};

/* The record's session, which begins to log in where it has not yet; u hears of it from now on, and
 * at first, later, of the state as it is.  The callbacks of u are set.  0, or -errno with *err:
 * -ENOMEM, -ENOENT, -ESHUTDOWN. */
int engine_login_use(struct engine_logins *e, uint32_t index, struct engine_use *u,
                     struct lunette_error *err);
/* u hears nothing any more.  It has no command with the host.  The session stays.  Does nothing
 * where u has been told `gone`. */
void engine_login_leave(struct engine_use *u);

/* NULL until it was logged in for the first time. */
struct scsi_host *engine_login_host(const struct engine_login *l);
enum ipc_session_state engine_login_state(const struct engine_login *l);
/* Why it is BLOCKED or FAILED; NULL where it is neither. */
const struct lunette_error *engine_login_why(const struct engine_login *l);
/* The number that this engine has given the login: never used again. */
uint32_t engine_login_id(const struct engine_login *l);
/* Counters of its connection; all 0 where there is none. */
void engine_login_stats(const struct engine_login *l, struct iscsi_stats *ret);

/* ---- for the tables (engine/tables.c) ------------------------------------------------------- */

/* The record's session, unless it is being logged out of; NULL: there is none. */
struct engine_login *engine_login_of(const struct engine_logins *e, uint32_t index);

/* Somebody who waits for a login or a logout; the structure is the caller's until done. */
struct engine_login_wait {
    struct list node;
    /* Once, later.  why is NULL where it went well. */
    void (*done)(struct engine_login_wait *w, const struct lunette_error *why);
};

/* Begins to log in.  w is told when it is logged in, or how the first try has failed.  0, or -errno
 * with *err, and then w is not told: -ENOENT, -ENOMEM, -ESHUTDOWN; -EALREADY: it is logged in. */
int engine_login_start(struct engine_logins *e, uint32_t index, struct engine_login_wait *w,
                       struct lunette_error *err);
/* Begins to log out of it, whoever uses it.  -ENOTCONN: it is not logged in, nor tries to be. */
int engine_login_end(struct engine_logins *e, uint32_t index, struct engine_login_wait *w,
                     struct lunette_error *err);
/* w waits no more. */
void engine_login_forget(struct engine_login_wait *w);

/* Checks that the record's session, if there is one, can go on with another record: its names, its
 * ISID and its transport stay.  0, or -EBUSY with *err. */
int engine_login_may_change(const struct engine_logins *e, uint32_t index,
                            const struct flash_record *r, struct lunette_error *err);
/* The record has been changed: the next login is by what it says now. */
void engine_login_changed(struct engine_logins *e, uint32_t index);

/* Sums of all sessions of the loop. */
struct engine_logins_totals {
    uint32_t sessions, running; /* that are or try to be; that are logged in */
    uint64_t logins, lost;      /* since the engine has started */
    struct iscsi_stats stats;   /* of the connections that there are */
};
void engine_logins_totals(const struct engine_logins *e, struct engine_logins_totals *ret);

#endif
