/* SPDX-License-Identifier: MIT */
/* control/internal.h - what the files of control/ share.
 *
 * A node has one machine (control/fsm.def).  Actions run while the state is still the old one, and
 * never run each other: they post events, and node_post handles one after the other.  Functions
 * that post may call the owner back; nodes are freed only by their own deferred work, so that
 * nobody's node goes while he uses it.  Each file calls only those after it:
 *
 *   life.c      the table of the actions, the life of all
 *   wish.c      what is wanted: logins, logouts, scans, exports
 *   targets.c   discovery
 *   adopt.c     a loop of the data plane has come: what is there
 *   node.c      the life of a node, and what it is configured to be
 *   attempt.c   the first login of a session
 *   leave.c     logout
 *   unused.c    the end of a session that nobody has a lease of
 *   keep.c      a session that is there: up, lost, back
 *   units.c     scan, LUNs, exports
 *   post.c      events, waiters, requests and notes: called by all of these
 *   lease.c     who wants a session for how long
 *   portal.c    portals that do not answer
 *   note.c      the note
 */
#ifndef CONTROL_INTERNAL_H
#define CONTROL_INTERNAL_H

#include "base/fsm.h"
#include "base/htab.h"
#include "control/control.h"
#include "control/note.h"
#include "control/portal.h"
#include "login/backoff.h"
#include "login/login.h"
#include "login/logout.h"
#include "login/packed.h"

#define CONTROL_RETRY_MS  50    /* until what found no memory is tried again */
#define CONTROL_UNBIND_MS 10000 /* for the data plane to flush and close the disks of a session */

enum control_node_event {
#define EVENT(name) NODE_EV_##name,
#include "control/fsm.def"
    NODE_NEVENTS,
};

/* The flags of a state; control/fsm.def says what they mean. */
#define NODE_IS_SESSION 1u
#define NODE_IS_IDLE    2u
#define NODE_IS_BUSY    4u

extern const struct fsm control_fsm;

struct node_action {
    void (*act)(struct control_node *n);
};

/* ---- a loop of the data plane --------------------------------------------------------------- */

enum control_loop_state {
    CONTROL_LOOP_NONE,     /* has no ctl */
    CONTROL_LOOP_GREETING, /* HELLO */
    CONTROL_LOOP_LISTING,  /* a page of LIST_SESSIONS */
    CONTROL_LOOP_LOOKING,  /* GET_SESSION, GET_CONN of each */
    CONTROL_LOOP_TAKING,   /* TAKE_EVENTS */
    CONTROL_LOOP_READY,
    CONTROL_LOOP_REFUSED, /* the two do not understand each other */
};

struct control_adoption;

struct control_loop {
    struct control *c;
    unsigned index;
    struct ctl *ctl;
    enum control_loop_state state;
    unsigned nsessions; /* and logins under way */
    struct list asks;   /* requests without a reply */
    struct loop_timer retry;
    struct control_adoption *adoption; /* until READY */
};

struct control {
    struct loop *loop;
    struct login_gate *gate;
    struct control_callbacks cb;
    const struct node_action (*actions)[NODE_NEVENTS]; /* life.c's, by state */
    struct control_loop *loops[CONTROL_LOOPS_MAX];     /* NULL: never given */
    unsigned nloops; /* that the data plane has; 0: nobody has told yet */
    bool ready;
    struct list nodes;
    struct htab by_name, by_sid;
    struct portal_table portals;
    struct list discoveries;
    struct list nobody; /* requests whose replies concern nobody */
    uint64_t idle_ns;   /* control_set_idle */
    uint32_t refused;   /* events of nodes without a row */
};

/* ---- a node --------------------------------------------------------------------------------- */

#define NODE_QUEUE_MAX 8 /* events that wait for the action that runs */

enum waiter_kind { WAITER_NONE, WAITER_LOGIN, WAITER_LOGOUT, WAITER_UNITS, WAITER_NOTE };

struct node_lun {
    uint32_t index; /* which unit of the data plane it is; a list has them in ascending order */
    uint8_t lun[8];
    bool disk_up;            /* there is a disk that could be exported */
    bool starting;           /* it is coming up */
    int err;                 /* -errno with which it did not come up; 0: it did, or was not to */
    bool untouched;          /* nobody has asked for it to come up */
    bool exported, changing; /* changing: the data plane starts or stops the export */
    bool read_only;          /* the export */
    bool disk_read_only;     /* so that no export of it could be written */
    int no_path;             /* why its owner has none for it; 0: it has, or was not asked */
    char *path;              /* NULL: not exported */
};

/* What is known of the session's LUNs, and what is to be done about them. */
struct node_units {
    struct loop_timer timer;
    bool asking; /* a request of this piece has no reply yet */
    bool scan_due, list_due;
    bool list_after;    /* a list is due when nothing is left to be changed: it says what counts */
    bool never_scanned; /* as far as we know: that there are no LUNs may mean that nobody has looked
                         */
    uint32_t delay_ms;  /* until the next try; 0: nothing has failed */
    bool waiting;       /* for the timer */
    struct node_lun *luns;
    unsigned nluns;
    struct node_lun *listed; /* while LIST_LUNS goes on, page by page */
    unsigned nlisted, listed_room;
    unsigned at;   /* the LUN whose export is being started or stopped */
    unsigned from; /* those before it are as they shall be, unless `recheck` */
    bool recheck;
};

struct node_lease {
    char owner[CONTROL_OWNER_MAX + 1];
    uint32_t uid;
    uint64_t ttl_ns, ends_ns; /* ends_ns: loop clock */
    bool told;                /* that it was given */
    bool released;
};

struct lease_look;

/* Who wants the session for how long. */
struct node_leases {
    struct node_lease lease[CONTROL_LEASES_MAX];
    unsigned n;
    bool kept;           /* somebody has asked for it without a lease */
    bool kept_by_record; /* its record wants it at any time */
    bool known;          /* what a note says is older than what is known here */
    struct loop_timer timer;
    char last[CONTROL_OWNER_MAX + 1]; /* whose lease has ended last */
    /* Where nobody has a lease any more: */
    bool over;
    uint64_t over_ns;        /* since when, on the loop clock */
    uint64_t look_ns;        /* when it is looked at next */
    uint64_t alone_ns;       /* since when it has no session; 0: it has one, or is not over */
    bool has_count;          /* nobody used it when it was looked at */
    uint64_t count;          /* requests of its disks and exports by then */
    uint32_t clients;        /* of its exports by then */
    struct lease_look *look; /* that goes on; NULL: none */
};

/* How far a logout is. */
enum node_leave {
    LEAVE_NOT,
    LEAVE_UNBIND,    /* UNBIND_SESSION could not be sent yet */
    LEAVE_UNBINDING, /* it has no reply yet */
    LEAVE_ASKING,    /* the target is asked, and the session destroyed */
};

/* The session in the data plane, as the node needs it to take it over or to end it. */
struct node_session {
    uint32_t sid; /* 0: none */
    uint16_t cid;
    uint64_t ep;
    int32_t tpgt;
    uint16_t tsih;
    uint32_t time2wait_s, time2retain_s, max_connections, erl;
    uint16_t cids[IPC_CONNS_MAX]; /* of all its connections, as they were found */
    uint32_t ncids;
    bool down;        /* as it was found: it has lost its nexus */
    uint64_t lost_ns; /* loop clock when it lost its connection, before it was found; 0: it ran */
    bool no_conn;     /* it has no connection at all */
    bool conn_down;   /* as it was found */
    bool asked_to_leave; /* the same: the target wants that connection to be logged out */
    bool failing;        /* its commands fail until it is back */
};

struct control_node {
    struct control *c;
    struct hnode hnode;    /* of control.by_name */
    struct hnode sid_node; /* of control.by_sid, while session.sid is one */
    struct list node;      /* of control.nodes */
    struct control_name name;
    struct portal_entry *portal;
    struct login_packed *packed;  /* NULL: there is no record */
    char *initiator_name;         /* of the session that was found, where the record has another */
    char transport[IPC_NAME_MAX]; /* as in struct login_config; "" without a record, too */
    uint8_t isid[LOGIN_ISID_LEN];
    uint32_t login_retries, reopen_max, logout_timeout_ms;
    uint32_t login_timeout_ms;
    bool scan_manual;
    char owner[CONTROL_OWNER_MAX + 1];
    struct control_export exports[CONTROL_EXPORTS_MAX];
    unsigned nexports;

    enum control_wanted wanted;
    enum control_state state;
    enum control_node_event queue[NODE_QUEUE_MAX];
    unsigned nqueue;
    bool running;    /* node_post is handling events */
    bool removed;    /* it goes when it has no session */
    bool wish_new;   /* somebody has said what is wanted, and the machine has not heard of it */
    bool config_new; /* there was no memory to keep the session by what is configured now */
    struct loop_work kick; /* what is wanted has changed, or the node is to go */
    struct list waiters;
    struct list asks; /* requests that call the node back */
    struct lunette_error why;

    struct loop_timer timer;   /* WAITING, LOGOUT; else of config_new */
    struct control_loop *loop; /* of the session or of the login; NULL: none */
    struct node_session session;
    struct login_turn turn;
    struct iscsi_login *login;
    struct iscsi_reopen *reopen;
    struct iscsi_logout *logout;
    struct ctl_watch watch, session_watch; /* where there is no reopen */
    enum node_leave leave;
    bool no_request; /* the logout has no connection to ask on */
    bool note_due;   /* the note in the data plane is not what it should be */
    unsigned notes;  /* notes that are on their way */

    bool was_up; /* so that it is tried for ever */
    struct login_backoff backoff;
    uint64_t began_ns; /* of the first try */
    uint64_t try_ns;   /* of this try */
    uint64_t due_ns;
    uint64_t counted_ns; /* when the last failure was counted */
    uint32_t tries, failures;
    uint32_t reopens;
    uint64_t state_ns, up_ns; /* see struct control_info */
    struct control_asker asker;
    void *user; /* of control_node_set_user */

    struct node_units units;
    struct node_leases leases;
};

/* ---- post.c --------------------------------------------------------------------------------- */

/* Handles ev; when an action calls it, ev is queued and handled after the action. */
void node_post(struct control_node *n, enum control_node_event ev);
/* Tells whether the state has this flag (NODE_IS_...). */
bool node_is(const struct control_node *n, unsigned flag);

void control_tell(struct control *c, const struct control_event *ev);
void node_tell(struct control_node *n, enum control_event_type type, uint64_t value,
               const struct lunette_error *why);
/* Tells all waiters of that kind. */
void node_tell_waiters(struct control_node *n, enum waiter_kind kind,
                       const struct lunette_error *err);

/* Sends a request to the loop.  fn is called once with its reply, unless the ask is forgotten
 * before: with its loop (control_loop_lost) or with the list that it is in (asks_forget).  Returns
 * 0, or as ctl_request. */
int ask_send(struct control_loop *l, struct list *asks, struct iscsi_uevent *ev, const void *data,
             uint32_t data_len, void (*fn)(void *user, const struct iscsi_reply *rep), void *user);
/* Their replies are not handed to anybody. */
void asks_forget(struct list *asks);
/* The ctl is gone, and no reply comes. */
void asks_drop(struct control_loop *l);

/* What a reply says is wrong, in a sentence in any case. */
void reply_error(const struct iscsi_reply *rep, const char *what, struct lunette_error *ret);

/* Leaves the note with the session, where there is one.  One that is not taken is sent again when
 * the LUNs are next looked after. */
void node_send_note(struct control_node *n, bool leaving);
/* Is there a session, or one that is being logged in, which can have a note and stays? */
bool node_has_note(const struct control_node *n);
/* It is sent a little later, where it is still due. */
void node_note_later(struct control_node *n);
/* Who waits for the note is told where it is there, or needs not be. */
void node_tell_noted(struct control_node *n);

/* Takes another sid, by which control_find_sid finds the node; 0: none. */
void node_set_sid(struct control_node *n, uint32_t sid);
/* The session is gone, or never came: nothing of it is known any more. */
void node_drop_session(struct control_node *n);
void node_take_loop(struct control_node *n, struct control_loop *l);
/* No reply to what was asked of the session concerns the node any more. */
void node_forget_asks(struct control_node *n);

/* The deferred work of a node whose wish has changed. */
void node_kick(struct control_node *n);

/* ---- units.c -------------------------------------------------------------------------------- */

void units_init(struct control_node *n);
/* Forgets all: the session is gone, or is going. */
void units_stop(struct control_node *n);
/* The session is up: does what is due, one request after the other. */
void units_go_on(struct control_node *n);
void units_hurry(struct control_node *n);
void units_scan(struct control_node *n);
void units_list(struct control_node *n);
void units_event(struct control_node *n, const struct iscsi_kevent *ev);
bool units_settled(const struct control_node *n);

/* ---- lease.c -------------------------------------------------------------------------------- */

void leases_init(struct control_node *n);
/* Gives or renews one.  0; -E2BIG, -EINVAL. */
int lease_put(struct control_node *n, const struct control_lease *lease, struct lunette_error *err);
/* The node is in another state: unused_go_on is called soon. */
void leases_on_state(struct control_node *n);
/* The session is logged out for another reason, or gone for good: nobody has a lease of it. */
void leases_clear(struct control_node *n);
/* What was asked of the data plane gets no answer. */
void leases_stop(struct control_node *n);
/* What the note of a session that was found says. */
void leases_take_note(struct control_node *n, const struct control_note *note);
void leases_put_note(const struct control_node *n, struct control_note *note);

/* ---- unused.c ------------------------------------------------------------------------------- */

void unused_init(struct control_node *n);
/* Ends leases whose time is over, and the session where it is not wanted and not used any more;
 * called in the loop's time, when something has changed. */
void unused_go_on(struct control_node *n);

/* ---- keep.c --------------------------------------------------------------------------------- */

/* Makes the reopen of the session that there is or will be.  Returns 0; or -ENOMEM; a node without
 * a configuration needs none. */
int keep_prepare(struct control_node *n, struct lunette_error *err);
/* Watches the session: by the reopen that has been prepared, or where there is none by itself.  res
 * NULL: the session was found. */
void keep_attach(struct control_node *n, const struct login_result *res);
/* A session that was found has no connection that is up. */
void keep_lost(struct control_node *n);
/* The configuration has changed while there is a session, or a login is under way: from here on it
 * is kept by what is configured now.  Where there is no memory for that, it is tried again. */
void keep_renew(struct control_node *n);
/* Stops to watch. */
void keep_stop(struct control_node *n);
/* The configuration with which the node logs in; it holds secrets. */
void keep_config(const struct control_node *n, struct login_config *ret);

/* Actions. */
void node_take_up(struct control_node *n);
void node_take_lost(struct control_node *n);
void node_lost(struct control_node *n);
void node_back(struct control_node *n);
void node_gave_up(struct control_node *n);
void node_revive(struct control_node *n);
void node_came_up(struct control_node *n);

/* ---- attempt.c ------------------------------------------------------------------------------ */

void attempt_init(struct control_node *n);
/* The loop for a new session; NULL: none is ready. */
struct control_loop *attempt_loop(const struct control *c);

void node_seek(struct control_node *n);
void node_vanished(struct control_node *n);
void node_absent(struct control_node *n);
void node_queue(struct control_node *n);
void node_log_in(struct control_node *n);
void node_cancel(struct control_node *n);
void node_wait(struct control_node *n);
void node_refused(struct control_node *n);
void node_leave_row(struct control_node *n);
void node_forget(struct control_node *n);
void node_is_down(struct control_node *n);

/* ---- leave.c -------------------------------------------------------------------------------- */

void node_log_out(struct control_node *n);
void node_finish_logout(struct control_node *n);
void leave_on_timer(struct control_node *n);

/* ---- node.c --------------------------------------------------------------------------------- */

/* Makes a node without a configuration.  NULL: no memory. */
struct control_node *node_new(struct control *c, const struct control_name *name);
/* Frees it; its session, where there is one, stays in the data plane. */
void node_free(struct control_node *n);
/* Gives it what is configured.  0; or -EINVAL, -ENOMEM with *err, and then nothing has changed. */
int node_configure(struct control_node *n, const struct control_node_config *cfg,
                   struct lunette_error *err);

/* ---- targets.c ------------------------------------------------------------------------------ */

/* The loop's ctl is gone, and with it the discoveries there. */
void targets_lost(struct control_loop *l);
void targets_free(struct control *c);

/* ---- adopt.c -------------------------------------------------------------------------------- */

int adopt_begin(struct control_loop *l);
void adopt_stop(struct control_loop *l);
/* Every loop is looked at, or one is not any more. */
void adopt_judge(struct control *c);

#endif
