/* SPDX-License-Identifier: MIT */
/* engine/login_priv.h - what the files of an engine's sessions share. */
#ifndef ENGINE_LOGIN_PRIV_H
#define ENGINE_LOGIN_PRIV_H

#include "engine/login.h"
#include "login/backoff.h"
#include "login/gate.h"
#include "login/login.h"
#include "login/logout.h"
#include "login/reopen.h"

#define LOGINS_SETTLE_NS (10 * LOOP_NS_PER_S) /* logins that were given up may take so long */

/* A walk over the uses of a login, in which each that is called may leave. */
struct use_walk {
    struct list *next;
    struct use_walk *outer;
};

struct engine_uses {
    struct list list;
    struct use_walk *walk; /* the innermost that is under way */
};

void engine_uses_init(struct engine_uses *u);
void engine_uses_add(struct engine_uses *u, struct engine_use *use);
void engine_uses_remove(struct engine_uses *u, struct engine_use *use);
/* Tells those that know of the state of another one. */
void engine_uses_state(struct engine_uses *u, enum ipc_session_state st,
                       const struct lunette_error *why);
/* Tells those that do not know of it yet. */
void engine_uses_news(struct engine_uses *u, enum ipc_session_state st,
                      const struct lunette_error *why);
void engine_uses_restart(struct engine_uses *u);
/* Takes all out of the list and tells them that the session is gone. */
void engine_uses_gone(struct engine_uses *u);

enum engine_login_phase {
    ENGINE_LOGIN_FIRST, /* waits for its first login, or tries it */
    ENGINE_LOGIN_KEPT,  /* logged in once: reopen keeps it */
    ENGINE_LOGIN_OUT,   /* being logged out of */
};

struct engine_login {
    struct list node; /* of the logins */
    struct engine_logins *e;
    uint32_t index, id;
    enum engine_login_phase phase;
    bool again; /* OUT: the session was lost for good, and another is to take its place */
    enum ipc_session_state state;
    struct lunette_error why; /* of BLOCKED and FAILED */
    struct engine_uses uses;
    struct list waits;     /* for the login, or for the logout */
    struct loop_work news; /* tells new uses; in OUT begins the end */
    struct loop_timer retry;
    /* the first login */
    struct login_turn turn;
    struct login_backoff backoff;
    uint64_t began_ns;
    struct iscsi_login *login;
    /* the session */
    struct iscsi_reopen *reopen;
    struct iscsi_logout *logout;
    uint32_t sid; /* of the data plane; 0: none */
    uint16_t cid;
    struct logout_config out; /* what ends it */
    struct scsi_host *host;
};

struct engine_logins {
    struct loop *loop;
    struct engine_flash *flash;
    struct dataplane *dp;
    struct ipc_direct *direct;
    struct ctl *ctl;
    struct login_gate gate;
    struct list list; /* struct engine_login */
    uint32_t last_id;
    uint64_t nlogins, nlost;
    struct loop_timer settle; /* after the last logout, until nothing is under way */
    bool ending, shut;        /* all are logged out of; the data plane is told to end the rest */
    uint64_t settle_until_ns;
    void (*done)(void *user);
    void *done_user;
    struct list calls; /* of tables.c: requests that are answered later */
};

/* Makes one and begins to log in. */
int engine_login_begin(struct engine_logins *e, uint32_t index, struct engine_login **ret,
                       struct lunette_error *err);
/* Begins to end it. */
void engine_login_out(struct engine_login *l);
/* The last login has ended while the logins end. */
void engine_logins_check_end(struct engine_logins *e);

#endif
