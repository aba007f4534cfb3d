/* SPDX-License-Identifier: MIT */
/* login/task.h - the login task: one object, one state machine (login/fsm.def).
 *
 * Actions never run each other: they post events, and login_post's loop drains
 * them.  Internal to login/.
 */
#ifndef LOGIN_TASK_H
#define LOGIN_TASK_H

#include "ctl/undo.h"
#include "login/login.h"
#include "login/nego.h"

enum login_state {
#define STATE(name, text) LOGIN_##name,
#define EVENT(name)
#define ROW(from, ev, to, act)
#include "login/fsm.def"
#undef STATE
#undef EVENT
#undef ROW
    LOGIN_NSTATES,
};

enum login_event {
#define STATE(name, text)
#define EVENT(name) LOGIN_EV_##name,
#define ROW(from, ev, to, act)
#include "login/fsm.def"
#undef STATE
#undef EVENT
#undef ROW
    LOGIN_NEVENTS,
};

#define LOGIN_QUEUE_MAX  8
#define LOGIN_HELD_MAX   8 /* PDUs between the final Login Response and START_CONN's reply */
#define LOGIN_EP_POLL_MS 10

/* What is done once the data plane is tidy. */
enum login_after { LOGIN_AFTER_GIVE_UP, LOGIN_AFTER_AGAIN, LOGIN_AFTER_DELAY };

/* A PDU kept for the session's owner. */
struct login_held {
    struct iscsi_kevent ev;
    void *data;
};

struct iscsi_login {
    struct ctl_orphan orphan;
    struct ctl *ctl;
    struct loop *loop;
    struct login_config cfg;
    struct login_callbacks cb;
    bool cancel;    /* login_cancel was called */
    bool reported;  /* done was called, or nobody wants it */
    bool abandoned; /* login_free was called */

    enum login_state state;
    enum login_event queue[LOGIN_QUEUE_MAX];
    unsigned nqueue;
    bool running;
    uint64_t missing_cells;

    struct loop_work begin;
    struct loop_timer deadline, step, poll;

    /* connect */
    struct portal portal; /* this attempt's */
    struct portal base;   /* where a new attempt begins: as configured, or moved for good */
    struct portal visited[LOGIN_REDIRECTS_MAX + 1];
    uint32_t nvisited, redirects, retries;
    uint16_t status; /* of the last Login Response */
    struct resolve *resolving;
    struct sock_addr addrs[LOOP_RESOLVE_MAX];
    int connect_errno; /* of the last address tried, positive */
    int naddrs, iaddr; /* iaddr: the one being tried */
    uint64_t connect_until_ns;
    struct stream *stream;
    bool attempt_over; /* EP: given up, but a reply is still to come */
    uint64_t ep;

    /* data plane */
    uint32_t sid;
    bool have_session, have_conn, bound; /* ours to undo */
    uint32_t pending;                    /* requests without a reply */
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

void login_post(struct iscsi_login *l, enum login_event ev);

/* Where an error is to be written: only the first of an attempt counts. */
struct lunette_error *login_err(struct iscsi_login *l);

/* Sends a request; the reply comes to fn, which ends with login_replied.  A failure to send is
 * posted as FAIL, and false returned. */
bool login_request(struct iscsi_login *l, struct iscsi_uevent *ev, const void *data, uint32_t len,
                   void (*fn)(void *user, const struct iscsi_reply *rep));
/* Every reply handler's end: a failure becomes FAIL, the last reply REPLIED. */
void login_replied(struct iscsi_login *l, const struct iscsi_reply *rep);
/* A reply handler that does nothing else; user: struct iscsi_login. */
void login_on_reply(void *user, const struct iscsi_reply *rep);

bool portal_same(const struct portal *a, const struct portal *b);

/* Is it still on its way up, so that a reply means "go on"? */
bool login_working(const struct iscsi_login *l);

/* Ends an attempt, from a working state; l->err or l->after say what comes after. */
void login_drain(struct iscsi_login *l);

/* Actions in connect.c */
void login_iscsi_conn_connect(struct iscsi_login *l);
void login_resolve_expired(struct iscsi_login *l);
void login_connect_next(struct iscsi_login *l);
void login_connect_expired(struct iscsi_login *l);
void login_connect_init(struct iscsi_login *l);
void login_redirect(struct iscsi_login *l);
void login_connect_stop(struct iscsi_login *l); /* lets go of lookups and sockets */
/* Actions in setup.c */
void login_session_ipc_create(struct iscsi_login *l);
void login_create_conn(struct iscsi_login *l);
void login_bind_conn(struct iscsi_login *l);
void login_iscsi_login_req(struct iscsi_login *l);
void login_iscsi_recv_login_rsp(struct iscsi_login *l);
void login_setup_full_feature_phase(struct iscsi_login *l);
void login_start_conn(struct iscsi_login *l);

#endif
