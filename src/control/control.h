/* SPDX-License-Identifier: MIT */
/* control/control.h - the policy of a control plane daemon: which sessions there shall be, and what
 * is done so that there are.
 *
 * It has a node for each session that is wanted or that was found.  A node is a target at a
 * portal, through an iface, and which of several such sessions (the instance).  What is wanted of
 * a node (up or down) and what is real are kept apart, and the difference is worked off: logins in
 * parallel under the gate (login/gate.h), again after a failure or a loss, a scan and exports when
 * the session is up, and the end of the session when it is to go.
 *
 * It acts by the messages of seam/ipc.h alone, and knows no files, no sockets and no clients: its
 * owner reads the records, connects to the data plane, of which there is one struct ctl for each
 * of its loops, and tells whoever waits.  The data plane may go away and come again, and so may
 * this side: a session has a note (control/note.h) by which the next control plane finds it again
 * without a login.  docs/design/control.md says what is done when, and why.
 *
 * All of it runs on one loop's thread.  Waiters and events are called later, never from inside a
 * call of this header, but for the events of control_loop_lost.  Every function may be called
 * inside any callback, but for control_free and control_loop_lost, which need a moment in which
 * nobody is being called.
 */
#ifndef CONTROL_CONTROL_H
#define CONTROL_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "base/list.h"
#include "ctl/ctl.h"
#include "discovery/discovery.h"
#include "login/config.h"
#include "login/gate.h"
#include "login/reopen.h"

#define CONTROL_LOOPS_MAX   64
#define CONTROL_IFACE_MAX   64     /* bytes of an iface's name, without the NUL */
#define CONTROL_OWNER_MAX   64     /* bytes of an owner's name, without the NUL */
#define CONTROL_KIND_MAX    15     /* bytes of an export's kind, without the NUL */
#define CONTROL_PATH_MAX    107    /* bytes of an export's path, without the NUL */
#define CONTROL_EXPORTS_MAX 14     /* exports of single LUNs that are wanted of a node */
#define CONTROL_LEASES_MAX  8      /* leases of a session */
#define CONTROL_LEASE_S_MAX 604800 /* seconds of a lease: a week */
#define CONTROL_IDLE_S                                                                             \
    30 /* a session without a lease is idle before it ends; see control_set_idle */
#define CONTROL_FOR_EVER UINT32_MAX

struct control;
struct control_node;

/* Who a node is.  No two nodes are the same; the host is compared without regard to case. */
struct control_name {
    char target[ISCSI_NAME_MAX + 1];
    struct portal portal; /* as in the record; tpgt -1: not known */
    char iface[CONTROL_IFACE_MAX + 1];
    uint32_t instance; /* 0, 1, ... of several sessions of one record */
};

enum control_wanted {
    CONTROL_AS_FOUND, /* nobody has said: up where a session is found, else down */
    CONTROL_DOWN,
    CONTROL_UP,
};

enum control_state {
#define STATE(name, flags, text) CONTROL_IS_##name,
#include "control/fsm.def"
    CONTROL_STATES,
};

/* An export that is wanted. */
struct control_export {
    bool all;       /* of all LUNs that have none of their own; lun is ignored then.  With a kind it
                     * replaces what says that a LUN has none. */
    uint8_t lun[8]; /* as in seam/ipc.h */
    char kind[CONTROL_KIND_MAX + 1]; /* "" (with all false): this LUN has none */
    bool read_only;
};

/* How somebody has come to ask for a session. */
enum control_asked {
    CONTROL_ASKED_UNKNOWN, /* it was found, and nothing says so */
    CONTROL_ASKED_STARTUP, /* its record, at the start of the daemon */
    CONTROL_ASKED_CALLER,
    CONTROL_ASKED_DISCOVERY, /* one that logs in to what it finds */
    CONTROL_ASKED_WAYS,
};

/* Who has asked for a session last.  It goes into the note, and is there for people alone. */
struct control_asker {
    enum control_asked how;
    uint32_t uid; /* of a caller, as the kernel tells it */
    int32_t pid;
    uint64_t at_ns; /* loop clock; 0: not known */
};

/* A lease that is wanted, or is there. */
struct control_lease {
    char owner[CONTROL_OWNER_MAX + 1]; /* of 1 byte or more */
    uint32_t uid;                      /* of who gave it */
    uint64_t ttl_ns;                   /* how long it holds from when it was given or renewed */
    uint64_t left_ns;                  /* control_node_lease: until it ends */
};

struct control_node_config {
    struct control_name name;
    /* How to log in; copied, secrets too.  kind, sid, cid and max_retries are ignored, since the
     * policy here says when to try again.  target_name and portal are what is sent and connected
     * to.  Where isid is all zero, one of the random type is drawn for the first login and kept. */
    const struct login_config *login;
    /* A first login is given up after (login_retries + 1) * login_timeout_ms, or at that many + 1
     * failures that came before a time limit, of which at most one a second counts; or at once
     * when the target refuses it for good.  CONTROL_FOR_EVER: only then.  A session that was up
     * once is tried for ever, as login/reopen.h does, but for reopen_max. */
    uint32_t login_retries;
    uint32_t reopen_max;        /* see struct reopen_config */
    uint32_t logout_timeout_ms; /* see struct logout_config; 0: its default */
    bool scan_manual;           /* SCAN_HOST only when control_scan asks for it */
    bool kept; /* its record wants the session at any time: the end of a lease does not end it */
    char owner[CONTROL_OWNER_MAX + 1]; /* of the record; goes into the note; may be "" */
    /* Copied; nexports <= CONTROL_EXPORTS_MAX.  NULL: what is wanted stays as it is, as it was
     * found or set by control_set_export. */
    const struct control_export *exports;
    unsigned nexports;
};

enum control_event_type {
    CONTROL_LOOP,    /* a loop has been greeted; value: how many loops the data plane has */
    CONTROL_READY,   /* every loop has been looked at, all sessions that are there are found */
    CONTROL_FOUND,   /* a session was found, and goes on without a login */
    CONTROL_STATE,   /* the node is in another state; why says the reason where it is a bad one */
    CONTROL_WAITING, /* another try follows in `value` milliseconds; why: how the last one failed */
    CONTROL_FAILING, /* replacement_timeout is over: commands fail until the session is back */
    CONTROL_CONN,  /* one connection of a session that is not lost, of CID `value`: it is lost where
                      why says how, and else logged in; control_node_get_info tells how many
                      there are.  Nothing may be changed in this call */
    CONTROL_MOVED, /* the target has moved for good, to *portal */
    CONTROL_SCANNED,        /* value: units */
    CONTROL_LUN,            /* something happened to a LUN; why says what */
    CONTROL_EXPORTED,       /* *lun has an export now, at `path` */
    CONTROL_EXPORT_STOPPED, /* why says what happened; it is started again while it is wanted */
    CONTROL_TROUBLE,        /* something was not done, and is tried again; why says what */
    CONTROL_LEASE_GIVEN,    /* *lease is new, and no renewal */
    CONTROL_LEASE_ENDED, /* *lease has; value: 1, its owner has released it; 0, its time is over */
    CONTROL_LEASES_OVER, /* nobody has a lease any more, and nobody uses the session: it is logged
                            out; why says since when */
    CONTROL_GONE,        /* the node is not there any more after this call */
};

/* It is borrowed for the call. */
struct control_event {
    enum control_event_type type;
    struct control_node *node; /* NULL: CONTROL_LOOP, CONTROL_READY */
    unsigned loop;             /* CONTROL_LOOP */
    uint64_t value;
    const struct lunette_error *why;   /* NULL: there is nothing bad */
    const uint8_t *lun;                /* of 8 bytes; CONTROL_LUN, CONTROL_EXPORTED, ..._STOPPED */
    const char *path;                  /* CONTROL_EXPORTED; ..._STOPPED: where it was, or NULL */
    const char *kind;                  /* CONTROL_EXPORT_STOPPED */
    const struct portal *portal;       /* CONTROL_MOVED */
    const struct control_lease *lease; /* CONTROL_LEASE_GIVEN, CONTROL_LEASE_ENDED */
};

struct control_callbacks {
    /* May be NULL. */
    void (*event)(void *user, const struct control_event *ev);
    /* Writes the path for an export of a LUN into path[CONTROL_PATH_MAX + 1].  Called with the
     * session up, and for a session that was exported before with the same result.  Returns 0, or
     * -errno: there is none, and the LUN stays without until somebody wishes for an export again;
     * who waits is told.  It only asks, and changes nothing here.
     * NULL: there are no exports. */
    int (*export_path)(void *user, const struct control_node *node, const char *kind,
                       const uint8_t lun[8], char *path);
    void *user;
};

/* gate and loop are borrowed and outlive it.  Returns 0 or -ENOMEM. */
int control_new(struct loop *loop, struct login_gate *gate, const struct control_callbacks *cb,
                struct control **ret);

/* Frees it and sets *c to NULL; *c may be NULL.  Sessions stay in the data plane as they are, for
 * the next control plane, which also undoes what a login has half-made; waiters are not called.
 * The owner frees the ctls right afterwards, before they bring another message. */
void control_free(struct control **c);

/* How long a session without a lease has to be unused before it ends, at least: ms > 0.  It is
 * looked at once in so long, so that it ends within twice that time. */
void control_set_idle(struct control *c, uint32_t ms);

/* ---- the data plane ------------------------------------------------------------------------- */

/* Gives it the ctl of loop number `index` of the data plane, which is borrowed until
 * control_loop_lost or control_free.  Says HELLO, and takes over what it finds.  CONTROL_LOOP
 * tells how many loops there are, for each of which a ctl has to be given before anything is
 * logged in: a session that nobody has looked for may be there.  Returns 0, or -ENOMEM, and then
 * the ctl was not taken. */
int control_loop_set(struct control *c, unsigned index, struct ctl *ctl);

/* The data plane behind that ctl has gone, or cannot be spoken to.  All that was under way there is
 * forgotten in this call, and the owner frees the ctl right afterwards, before it brings another
 * message.  Sessions wait for the data plane
 * to come again, are looked for there, and are logged in to again where they are not found and are
 * wanted.  Does nothing where the loop has no ctl. */
void control_loop_lost(struct control *c, unsigned index);

/* Is every loop there and looked at? */
bool control_is_ready(const struct control *c);

/* The ctl of the loop, or NULL.  For requests of the owner's own about a session, such as GET_STATS
 * or LIST_LUNS, whose answers must not be waited for after control_loop_lost. */
struct ctl *control_ctl(const struct control *c, unsigned index);

/* ---- nodes ---------------------------------------------------------------------------------- */

/* Makes a node, which is CONTROL_AS_FOUND, and AWAY until the data plane has been looked at; or
 * gives the node of that name, where a session without a record was found, its configuration.
 * Returns 0 and *ret (may be NULL), which lives until CONTROL_GONE; or with *err: -EEXIST, there is
 * one with a configuration; -EINVAL; -ENOMEM. */
int control_node_add(struct control *c, const struct control_node_config *cfg,
                     struct control_node **ret, struct lunette_error *err);

/* Changes what may change at any time: all but the name.  A session that is up keeps what it has
 * agreed on until its next login.  Returns 0; or -EINVAL, -ENOMEM with *err. */
int control_node_change(struct control_node *n, const struct control_node_config *cfg,
                        struct lunette_error *err);

/* The record is gone.  A node without a session goes, later; a session stays as one without a
 * record until it is logged out or lost for good. */
void control_node_remove(struct control_node *n);

struct control_node *control_find(struct control *c, const struct control_name *name);
struct control_node *control_find_sid(struct control *c, uint32_t sid);
/* The next node after n, in no order that means anything; NULL: the first, and behind the last. */
struct control_node *control_next(struct control *c, const struct control_node *n);

const struct control_name *control_node_name(const struct control_node *n);

struct control_info {
    enum control_wanted wanted;
    enum control_state state;
    bool has_config; /* false: a session that was found and has no record */
    uint32_t sid;    /* 0: there is no session */
    uint16_t cid;
    bool failing; /* its commands fail until it is back, since replacement_timeout is over */
    unsigned loop;
    uint8_t isid[LOGIN_ISID_LEN]; /* all zero: not drawn yet */
    uint32_t attempt;             /* the try that is under way or follows; 0: none */
    uint32_t reopens;             /* how often the session has come back */
    uint64_t next_try_ns;         /* until the next try; 0: none is waited for */
    uint64_t down_ns;             /* since the session was lost; 0: it is not */
    struct lunette_error why;     /* of a state that is a bad one; code 0: none */
    uint32_t conns, conns_wanted; /* connections that are up, and that are to be; 0: not known, as
                                     of a session without a configuration */
    unsigned luns, exports;       /* known; exported */
    bool settled;                 /* nothing about LUNs and exports is under way or due */
    char owner[CONTROL_OWNER_MAX + 1];
    char transport[IPC_NAME_MAX]; /* that its configuration names; "": it has none */
    struct control_asker asker;
    uint64_t state_ns;   /* loop clock when it came to this state */
    uint64_t up_ns;      /* loop clock when the session was logged in or found; 0: there is none */
    bool kept;           /* somebody has asked for the session without a lease */
    bool kept_by_record; /* struct control_node_config.kept */
    unsigned leases;
    bool over;        /* leases alone had kept it, and all have ended */
    uint64_t idle_ns; /* where it is over: until it is looked at next */
    uint32_t clients; /* of its exports, when it was looked at last; 0 where it is not over */
};
void control_node_get_info(const struct control_node *n, struct control_info *ret);

/* The name of a state, and what it means. */
const char *control_state_name(enum control_state s);
const char *control_state_text(enum control_state s);

/* LUN number i as it was listed last: its export's path, "" where it has none.  False: there is
 * none.  *lun and *path are borrowed until the loop's next turn. */
bool control_node_lun(const struct control_node *n, unsigned i, const uint8_t **lun,
                      const char **path);

/* Whether the export of LUN number i, which has one, is read-only; *same: an export that is asked
 * to be read-only, or not to be, as `wanted` says, would be no other. */
bool control_node_lun_read_only(const struct control_node *n, unsigned i, bool wanted, bool *same);

/* Whatever its owner keeps with the node; NULL at first. */
void control_node_set_user(struct control_node *n, void *user);
void *control_node_user(const struct control_node *n);

/* Keeps in mind who asks for the session, before control_login or the like. */
void control_node_set_asker(struct control_node *n, const struct control_asker *a);

/* ---- what is wanted ------------------------------------------------------------------------- */

/* Somebody who waits; embedded.  done is called once, with err NULL or how it failed, unless
 * control_waiter_cancel is called before.  It may free what the waiter is part of. */
struct control_waiter {
    struct list node;
    int kind; /* of what is waited for; control's own */
    void (*done)(struct control_waiter *w, const struct lunette_error *err);
};
void control_waiter_init(struct control_waiter *w,
                         void (*done)(struct control_waiter *w, const struct lunette_error *err));
/* Gives up waiting, alone: what was asked for goes on.  Does nothing where w does not wait. */
void control_waiter_cancel(struct control_waiter *w);

/* Wants the session up.  Returns 0: w (may be NULL) is told when it is up, or when the first login
 * is given up, or when a logout comes between (-ECANCELED); all who ask for the same share one
 * login.  Or -EEXIST: there is a session, up or on its way back.  -EINVAL: the node has no
 * configuration. */
int control_login(struct control_node *n, struct control_waiter *w, struct lunette_error *err);

/* The same with a lease: where nobody else wants the session, it is wanted up until all its leases
 * have ended, and not longer than it is used.  A session that is there gets the lease, too
 * (-EEXIST), and a login that is under way shares its end with this one.  -E2BIG: there are
 * CONTROL_LEASES_MAX already, and nothing else was done. */
int control_login_leased(struct control_node *n, const struct control_lease *lease,
                         struct control_waiter *w, struct lunette_error *err);

/* Wants it down, and interrupts whatever is under way.  Returns 0: w (may be NULL) is told when the
 * session is gone; err is never an error of the target, since the session is gone all the same, but
 * -ECANCELED where somebody has wanted it up again before it had begun to go.  -ENOENT: there is no
 * session, and none was wanted. */
int control_logout(struct control_node *n, struct control_waiter *w, struct lunette_error *err);

/* Somebody knows that the target may be back: the next try follows soon.  Harmless otherwise. */
void control_try_now(struct control_node *n);

/* Looks for units again.  w (may be NULL) is told when LUNs and exports are as they shall be, or
 * with the first failure.  Returns 0, or -ENOTCONN: the session is not up. */
int control_scan(struct control_node *n, struct control_waiter *w, struct lunette_error *err);

/* Waits alone, as control_scan does, for what a login or an event has begun.  Returns 0, or
 * -ENOTCONN: the session is not up. */
int control_settle(struct control_node *n, struct control_waiter *w, struct lunette_error *err);

/* Wants an export, in place of one of the same LUN or of all; or with kind "" none.  w as for
 * control_scan; where the session is not up, w may not be given (-ENOTCONN), and the wish is kept.
 * Returns 0; or with *err -E2BIG: more than CONTROL_EXPORTS_MAX. */
int control_set_export(struct control_node *n, const struct control_export *e,
                       struct control_waiter *w, struct lunette_error *err);

/* ---- leases --------------------------------------------------------------------------------- */

/* A session has any number of owners up to CONTROL_LEASES_MAX, each with a lease by his name.  Who
 * logs in without one keeps it for good, and so does a record (struct control_node_config.kept).
 * Where only leases have kept it and all have ended, it is logged out when no export of it has a
 * client and nothing was read or written for the time of control_set_idle.  Time is the loop's
 * clock.  The note has the leases, so that a control plane that comes after this one goes on with
 * what is left of them. */

/* Gives a lease to a session that is there or wanted, or renews that of the same owner; ttl_ns > 0.
 * only: what others had asked for without a lease is given up, so that leases alone keep it from
 * now on.  w (may be NULL) is told when the data plane has it in the note, or knows of no session
 * yet; or that the session has begun to go (-ECANCELED).  Returns 0; or with *err -ENOENT:
 * there is no such session, or it is being logged out; -E2BIG; -EINVAL. */
int control_lease(struct control_node *n, const struct control_lease *lease, bool only,
                  struct control_waiter *w, struct lunette_error *err);

/* Ends a lease before its time.  0; or -ENOENT with *err: the owner has none. */
int control_release(struct control_node *n, const char *owner, struct lunette_error *err);

/* Lease number i.  False: there is none. */
bool control_node_lease(const struct control_node *n, unsigned i, struct control_lease *ret);

/* ---- discovery ------------------------------------------------------------------------------ */

struct control_discovery;

/* Starts discovery_sendtargets on the loop with the fewest sessions, when it is its turn at the
 * gate; where cfg->isid is all zero, one is drawn.  done is called once: with what
 * discovery_callbacks.done is called with; or with -EPIPE where the data plane went away; never
 * from inside this call.  Returns 0 and *ret, which the caller frees; or -errno with *err:
 * -ENOTCONN, no data plane is there; else as discovery_sendtargets. */
int control_discover(struct control *c, const struct login_config *cfg, const char *what,
                     const struct discovery_callbacks *cb, struct control_discovery **ret,
                     struct lunette_error *err);
/* Ends it at any time, also inside done; *d may be NULL, and is set to it. */
void control_discovery_free(struct control_discovery **d);

#endif
