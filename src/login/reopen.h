/* SPDX-License-Identifier: MIT */
/* login/reopen.h - keeps one session: when its connection is lost, logs in again until it is back.
 *
 * This is the control plane's half of session recovery (RFC 7143 7.5): the data plane blocks the
 * session's commands and lets them fail when replacement_timeout is over; this piece notices the
 * loss, waits, and logs in again, for as long as the session has an owner.  It also keeps the
 * further connections of a session (login/members.h), and at error recovery level 2 logs in to a
 * session that has lost its last one.  It acts on the data plane by messages only, so that a
 * library and a daemon in another process use the same piece.  docs/design/reopen.md says what it
 * does when, and why.
 *
 *   UP        logged in: it watches the connection, and sees to it that there are as many others
 *             beside it as are wanted (login/members.h)
 *   LEAVING   the target has asked us to log out (async event 1 or 4), or is going to drop the
 *             connection (2 or 3): the Logout, or the end of the connection, is awaited
 *   STOPPING  what is left of the connection is taken out of the data plane
 *   WAITING   for Time2Wait to be over, or for the next try
 *   QUEUED    at the gate (login/gate.h)
 *   LOGIN     a login is under way
 *   ENDING    no login will do: the data plane is told that nobody will log in again
 *   GAVE_UP   over; the session's commands fail
 *
 * All of it runs on the loop's thread.  Callbacks are made later, never from inside a call of this
 * header, and reopen_free may be called inside each of them.
 */
#ifndef LOGIN_REOPEN_H
#define LOGIN_REOPEN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "ctl/ctl.h"
#include "login/config.h"
#include "login/gate.h"
#include "login/logout.h"
#include "login/result.h"

/* Refusals for good before it gives up, unless the user says otherwise. */
#define REOPEN_MAX_DEFAULT 8

struct iscsi_reopen;

enum reopen_state {
    REOPEN_NEW, /* made, but not told of a session yet */
    REOPEN_UP,
    REOPEN_LEAVING,
    REOPEN_STOPPING,
    REOPEN_WAITING,
    REOPEN_QUEUED,
    REOPEN_LOGIN,
    REOPEN_ENDING,
    REOPEN_GAVE_UP,
};

struct reopen_config {
    /* How the session was logged in to.  It is copied, and the copy's secrets are overwritten when
     * the reopen ends, by reopen_free or by giving up.  kind, sid and cid are ignored, and
     * max_retries is: a target that asks to be tried later is tried when it is its turn. */
    const struct login_config *login;
    /* It gives up at this many logins that the target has refused for good (authentication, no
     * such target, no such version, removed), or that we have refused (it cannot prove who it is);
     * 0: never.  They count from the loss on, and at most once a second, since a target that is
     * being started may say "not found" or "removed" for a moment.  What may pass (no connection,
     * no answer in time, Status-Class 3, no memory, a stream that makes no sense) never counts. */
    uint32_t reopen_max;
};

struct reopen_callbacks {
    /* The connection is lost, or has been closed in order; why says how that came.  The session is
     * blocked, and down_ns of reopen_get_info begins to count.  May be NULL. */
    void (*lost)(void *user, const struct lunette_error *why);
    /* Try number `attempt` (1, 2, ... since the loss) follows in delay_ms, or later where the gate
     * has too many.  why is the loss, or how the try before it has failed.  May be NULL. */
    void (*waiting)(void *user, uint32_t attempt, uint32_t delay_ms,
                    const struct lunette_error *why);
    /* The session is logged in again, down_ns after it was lost; *res as for login_callbacks.done.
     * Where res->moved, the target has moved for good to res->moved_to; it is tried there from now
     * on.  May be NULL. */
    void (*back)(void *user, const struct login_result *res, uint64_t down_ns);
    /* The session goes on, and from now on the connection cid is the leading one, which others ask
     * about and send on.  May be NULL. */
    void (*led)(void *user, uint16_t cid);
    /* The connection cid is lost, as *why says, and the session is not: others go on, or at level 2
     * its requests wait for a connection; or it is logged in beside others or after that, where why
     * is NULL.  reopen_get_info tells how many are up now.  For people: it says nothing of a loss
     * of the session.  The reopen must not be freed in it.  May be NULL. */
    void (*conn)(void *user, uint16_t cid, const struct lunette_error *why);
    /* The session will not come back: it was refused reopen_max times, with *why the last time, or
     * is gone from the data plane.  The session's commands fail.  No other callback follows. */
    void (*gave_up)(void *user, const struct lunette_error *why);
    /* An event of the session or its connection that is not the reopen's own: PDUs other than the
     * Async Messages 1 to 4 (answers to pings among them), SESSION_STATE, LUN, EXPORT_STOPPED, and
     * LOST, after which an answer may be missing.  Borrowed.  May be NULL. */
    void (*event)(void *user, const struct iscsi_kevent *ev, const void *data);
    void *user;
};

/* Makes a reopen for a session.  ctl and gate are borrowed and outlive it.  May be called before
 * the session's first login, so that nothing has to be made afterwards.  Returns 0 and *ret, which
 * the caller frees with reopen_free; or -ENOMEM with *err. */
int reopen_new(struct ctl *ctl, struct login_gate *gate, const struct reopen_config *cfg,
               const struct reopen_callbacks *cb, struct iscsi_reopen **ret,
               struct lunette_error *err);

/* The session is logged in, as *res says.  Called once, inside login_callbacks.done, so that no
 * event is missed. */
void reopen_attach(struct iscsi_reopen *r, const struct login_result *res);

/* A session that another control plane has made, and left behind, as the data plane tells of it.
 */
struct reopen_found {
    /* sid, cid, ep, tpgt, tsih and params.time2wait, time2retain, max_connections and erl, which
     * are what is used.  The connection is one that is up, if the session has any. */
    struct login_result res;
    bool conn_up;         /* it is */
    bool asked_to_leave;  /* the target wants it to be logged out */
    bool down;            /* the session has lost its nexus: its commands wait, or fail */
    const uint16_t *cids; /* of all its connections; borrowed for the call */
    uint32_t ncids;
};

/* The same as reopen_attach for such a session.  What its connections are is asked for.  The data
 * plane is told of the time limits, since what the other one has said last may not have come to it.
 * A loss that is found is told with reopen_lost. */
void reopen_take_over(struct iscsi_reopen *r, const struct reopen_found *found);

/* Tells of a loss that the data plane has not reported to us, such as one that a control plane
 * finds when it takes the session over.  The first try follows time2wait_s seconds later; -1: as
 * agreed.  Does nothing unless the state is UP or LEAVING. */
void reopen_lost(struct iscsi_reopen *r, const struct lunette_error *why, int32_t time2wait_s);

/* Skips the wait for the next try, though not Time2Wait, and begins the back-off anew: somebody
 * knows that the target may be back.  Does nothing unless the state is WAITING. */
void reopen_now(struct iscsi_reopen *r);

struct reopen_info {
    enum reopen_state state;
    bool rejoins;     /* the session is not lost, and waits for a connection at recovery level 2 */
    uint32_t attempt; /* the try that is under way or follows; 0 while UP */
    uint32_t reopens; /* how often the session has come back */
    uint64_t down_ns; /* since the loss; 0 while UP */
    uint64_t next_try_ns;         /* until the next try; 0 unless WAITING */
    struct lunette_error why;     /* the loss, or how the last try failed; code 0: there was none */
    uint32_t conns, conns_wanted; /* connections that are up, and that are to be; the target may
                                     take fewer */
};

/* A connection of the session, which it has or is to have. */
struct reopen_conn {
    uint16_t cid;
    enum reopen_state state;     /* UP, LEAVING or LOGIN; any other: it is lost, or not there yet */
    const struct portal *portal; /* where it is logged in or tried, or was last; NULL: not known,
                                    as of a session that is to have one alone; borrowed */
    int err;         /* why it is not up: -errno; 0: it is, or was not tried, or it leads, and
                        reopen_get_info tells */
    const char *why; /* and a sentence; NULL: none is known; borrowed */
};

/* Fills in *ret with connection number i, of which the leading one is the first.  False: there are
 * no so many. */
bool reopen_get_conn(const struct iscsi_reopen *r, uint32_t i, struct reopen_conn *ret);

void reopen_get_info(const struct iscsi_reopen *r, struct reopen_info *ret);

/* Fills in *ret with the configuration of the next login.  Its portal is the one that the session
 * is known by: the configured one, or the one to which the target has moved for good.  It holds
 * secrets, unless the session was given up: the caller ends it with login_config_wipe. */
void reopen_get_config(const struct iscsi_reopen *r, struct login_config *ret);

/* Those fields of the configuration that the owner may change at any time.  A login that is under
 * way keeps what it has; at its end the data plane is told of what is another by then. */
struct reopen_limits {
    uint32_t login_timeout_ms;
    uint32_t ping_interval_ms, ping_timeout_ms;
    int32_t replacement_timeout_s;
};

struct reopen_limits *reopen_limits(struct iscsi_reopen *r);

/* Logs in by another configuration from the next try on, also while the session is lost; a login
 * that is under way goes on.  Copied as by reopen_new; the target, the ISID and the initiator's
 * name must be those of the session.  Returns 0, or -ENOMEM: nothing has changed. */
int reopen_change(struct iscsi_reopen *r, const struct reopen_config *cfg);

/* To be called when replacement_timeout_s has been changed: a login that is under way would tell
 * the data plane of the one before, and a session be given up too soon. */
void reopen_limits_changed(struct iscsi_reopen *r);

/* Changes reopen_max, also while the session is lost: the next refusal is measured by it. */
void reopen_set_max(struct iscsi_reopen *r, uint32_t reopen_max);

/* Fills in *cfg with what ends this session: its ids and connection, and skip_request where there
 * is nothing to ask on.  To close a session in any state: reopen_logout_config, reopen_free,
 * session_logout_task.  The state is not NEW. */
void reopen_logout_config(const struct iscsi_reopen *r, struct logout_config *cfg);

/* Frees the reopen and sets *r to NULL; *r may be NULL.  May be called in any state, also inside a
 * callback, and calls nothing back.  A login, or a Logout that the target has asked for, is given
 * up, and what it has made in the data plane is undone later (until then ctl_idle is false).  The
 * session stays. */
void reopen_free(struct iscsi_reopen **r);

#endif
