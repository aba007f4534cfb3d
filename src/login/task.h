/* SPDX-License-Identifier: MIT */
/* login/task.h - the login task: one object, one state machine (login/fsm.def).
 *
 * An action runs before the state changes: while it runs, l->state is still the old
 * one.  Actions never run each other; they post events, and login_post handles one
 * after the other.  Internal to login/; all on the loop's thread.  The files:
 *
 *   login.c     the table of the actions, the task's life
 *   end.c       how an attempt ends, and what comes after it
 *   connect.c   step one: a transport connection
 *   setup.c     steps two and three: requests to the data plane
 *   response.c  iscsi_recv_login_rsp
 *   task.c      events, requests and errors: called by all of these
 */
#ifndef LOGIN_TASK_H
#define LOGIN_TASK_H

#include "base/fsm.h"
#include "ctl/op.h"
#include "ctl/undo.h"
#include "login/config.h"
#include "login/nego.h"
#include "login/result.h"

enum login_state {
#define STATE(name, flags, text) LOGIN_##name,
#include "login/fsm.def"
    LOGIN_NSTATES,
};

enum login_event {
#define EVENT(name) LOGIN_EV_##name,
#include "login/fsm.def"
    LOGIN_NEVENTS,
};

/* The flags of a state; login/fsm.def says what they mean. */
#define LOGIN_IS_WORKING 1u
#define LOGIN_IS_TIDYING 2u
#define LOGIN_IS_ENDED   4u

extern const struct fsm login_fsm;

struct iscsi_login;

/* The action of a row of the table.  One of the two is set: act takes the task as its argument,
 * act_between the old and the new state as well. */
struct login_action {
    void (*act)(struct iscsi_login *l);
    void (*act_between)(struct iscsi_login *l, enum login_state from, enum login_state to);
};

#define LOGIN_QUEUE_MAX 8 /* events that wait for the action that runs */
#define LOGIN_HELD_MAX  8 /* PDUs between the final Login Response and START_CONN's reply */

/* What follows once the attempt is undone in the data plane: the end, another attempt at once, or
 * another attempt after a delay. */
enum login_after { LOGIN_AFTER_GIVE_UP, LOGIN_AFTER_AGAIN, LOGIN_AFTER_DELAY };

/* A PDU kept for the session's owner. */
struct login_held {
    struct iscsi_kevent ev;
    void *data;
};

struct iscsi_login {
    struct ctl_op op;
    struct ctl *ctl;
    struct loop *loop;
    struct login_config cfg;
    struct login_callbacks cb;

    const struct login_action (*actions)[LOGIN_NEVENTS]; /* login.c's, by state */
    enum login_state state;
    enum login_event queue[LOGIN_QUEUE_MAX];
    unsigned nqueue;
    bool running;     /* login_post is handling events */
    uint32_t refused; /* events without a row */

    struct loop_work begin;
    struct loop_timer deadline, step;

    /* what the data plane says of the transport */
    uint32_t caps;             /* enum iscsi_caps */
    uint32_t max_recv_dlength; /* bytes, 0: no limit */

    /* step one: the connection */
    struct portal portal; /* of this attempt */
    /* The portal of the first attempt and of each retry: the configured one, or the one to which
     * the target has moved for good. */
    struct portal base;
    struct portal visited[LOGIN_REDIRECTS_MAX + 1];
    uint32_t nvisited, redirects, retries;
    uint32_t ngroup_tried;     /* of cfg.group: those before it have had their turn */
    bool passes_over;          /* the attempt before could not connect to its portal */
    uint64_t reach_until_ns;   /* for all portals together, */
    uint32_t connect_limit_ms; /* and for this one */
    uint64_t until_ns;         /* for the whole login */
    uint32_t answer_limit_ms;  /* for the portal's first Login Response; 0: until then */
    uint16_t status;           /* of the attempt's last Login Response; 0 before the first */
    uint32_t bends;            /* bits of enum wire_bend that earlier attempts have shown */
    struct resolve *resolving;
    struct sock_addr addrs[LOOP_RESOLVE_MAX];
    int connect_errno;                /* of the last address tried, positive */
    struct lunette_error connect_why; /* what the transport says of that; code 0: nothing */
    int naddrs, iaddr;                /* iaddr: the address that is being tried */
    uint64_t connect_until_ns;
    uint64_t connect_began_ns, connect_ns; /* to the address that is being tried */
    uint64_t asked_ns,
        answer_ns; /* its first Login Request; how long the answer took, 0: none yet */
    struct stream *stream;
    uint64_t ep;                  /* 0: none */
    int ep_state;                 /* 1: up, 0: not yet, or -errno */
    struct ctl_ep_watch ep_watch; /* while ep connects */
    bool ep_asked;                /* the reply to EP_CONNECT or EP_POLL has not come yet */
    bool attempt_over;            /* the time for this address is over, but a reply is due */

    /* what has been made in the data plane */
    uint32_t sid;
    bool have_session, have_conn, bound;
    bool adapter_up;  /* LOGGED_IN has come before the reply to START_CONN */
    bool conn_stays;  /* the connection was there before, and is only stopped after a failure */
    uint32_t pending; /* requests without a reply */
    struct ctl_watch watch;
    struct undo undo;

    struct nego nego;
    const struct iscsi_kevent *pdu; /* while LOGIN_EV_PDU is handled */
    const void *pdu_data;
    struct login_held held[LOGIN_HELD_MAX];
    uint32_t nheld;

    enum login_after after;
    struct lunette_error err;
};

/* ---- task.c -------------------------------------------------------------------------------- */

/* Handles ev; when an action calls it, ev is queued and handled after the action.  When anybody
 * else calls it, l may be freed before it returns. */
void login_post(struct iscsi_login *l, enum login_event ev);

/* Tells whether the state has this flag (LOGIN_IS_...). */
bool login_is(const struct iscsi_login *l, unsigned flag);

/* Returns where to write an error of this attempt, or NULL when the error does not count: the
 * attempt has failed already, and its first error is the one to report. */
struct lunette_error *login_err(struct iscsi_login *l);

/* Sends a request.  Its reply goes to fn, which calls login_replied at its end.  When the request
 * cannot be sent, this posts FAIL and returns false. */
bool login_request(struct iscsi_login *l, struct iscsi_uevent *ev, const void *data, uint32_t len,
                   void (*fn)(void *user, const struct iscsi_reply *rep));
/* Called by each reply handler at its end: posts FAIL for an error, and REPLIED when no further
 * reply is due.  l may be freed before it returns. */
void login_replied(struct iscsi_login *l, const struct iscsi_reply *rep);
/* A reply handler that only calls login_replied; user is the struct iscsi_login. */
void login_on_reply(void *user, const struct iscsi_reply *rep);

/* The whole login may take that long from now on. */
void login_set_limit(struct iscsi_login *l, uint32_t ms);

/* Has this login been at that portal already? */
bool login_was_there(const struct iscsi_login *l, const struct portal *p);
bool portal_same(const struct portal *a, const struct portal *b);

/* ---- connect.c ----------------------------------------------------------------------------- */

/* The portal takes no connection, or says nothing: the next attempt is at the next one of the
 * group. Called with l->err set.  False: there is none. */
bool login_pass_over(struct iscsi_login *l);
void login_get_transport(struct iscsi_login *l);
void iscsi_conn_connect(struct iscsi_login *l);
void login_resolve_expired(struct iscsi_login *l);
void login_connect_next(struct iscsi_login *l);
void login_connect_expired(struct iscsi_login *l);
void login_connect_init(struct iscsi_login *l);
/* Cancels a lookup and closes a socket that is not bound to a connection, where there is one. */
void login_connect_stop(struct iscsi_login *l);

/* ---- setup.c, response.c ------------------------------------------------------------------- */

void session_ipc_create(struct iscsi_login *l);
void login_create_conn(struct iscsi_login *l);
void login_bind_conn(struct iscsi_login *l);
void login_begin_exchange(struct iscsi_login *l);
void login_tell_adapter(struct iscsi_login *l);
void login_adapter_early(struct iscsi_login *l);
void login_adapter_started(struct iscsi_login *l);
void iscsi_login_req(struct iscsi_login *l);
void iscsi_recv_login_rsp(struct iscsi_login *l);
void setup_full_feature_phase(struct iscsi_login *l);
void login_start_conn(struct iscsi_login *l);

/* ---- end.c --------------------------------------------------------------------------------- */

void login_drain(struct iscsi_login *l);
void login_expired(struct iscsi_login *l, enum login_state from, enum login_state to);
void login_unanswered(struct iscsi_login *l);
void login_canceled(struct iscsi_login *l);
void login_canceled_late(struct iscsi_login *l);
void login_redirect(struct iscsi_login *l);
void login_retry(struct iscsi_login *l);
void login_refused(struct iscsi_login *l);
void login_no_more_tries(struct iscsi_login *l);
void login_teardown(struct iscsi_login *l);
void login_wait_for_retry(struct iscsi_login *l);
void login_report_untidy(struct iscsi_login *l, enum login_state from, enum login_state to);
void login_report(struct iscsi_login *l);

#endif
