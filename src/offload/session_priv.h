/* SPDX-License-Identifier: MIT */
/* offload/session_priv.h - a session that an engine has, as its client sees it (seam/session.h),
 * and its SCSI host.
 *
 * What the engine is asked for goes step by step: CREATE_SESSION, its values, START_CONN; and then
 * the engine tells.  Whenever the attachment is lost, all of it begins anew with the next.
 */
#ifndef OFFLOAD_SESSION_PRIV_H
#define OFFLOAD_SESSION_PRIV_H

#include <errno.h>

#include "offload/types.h"
#include "seam/session.h"

/* Where the engine is with it. */
enum offload_phase {
    OFFLOAD_OUT,      /* it does not know of it */
    OFFLOAD_CREATING, /* CREATE_SESSION has no answer */
    OFFLOAD_TELLING,  /* nor has SET_PARAM */
    OFFLOAD_STARTING, /* nor START_CONN */
    OFFLOAD_LOGIN,    /* it is logging in */
    OFFLOAD_IN,
    OFFLOAD_REFUSED, /* it could not log in, and the session is to be destroyed there */
    OFFLOAD_LEAVING, /* DESTROY_SESSION has no answer */
};

struct offload_session;

/* The one connection of a session. */
struct offload_conn {
    struct offload_session *s;
    uint16_t cid;
    bool bound;                 /* until conn_down */
    bool stopping;              /* bound, and conn_down is due */
    bool destroyed;             /* it is freed with conn_down */
    struct offload_options opt; /* of the endpoint that it is bound to */
    struct offload_adapter *ad; /* the same */
};

struct offload_session {
    struct offload_user user; /* of the attachment */
    struct scsi_host host;
    struct loop *loop;
    const struct dp_session_events *ev;
    void *ev_user;
    struct offload_conn *conn; /* NULL: there is none */
    char *value[ISCSI_PARAM_COUNT];
    uint32_t cmds_max;
    bool sized; /* max_transfer and can_queue of the host are the attachment's */
    /* The session is in that state since the engine's event of that number; older ones mean nothing
     * any more. */
    void (*stated)(struct offload_session *s, enum ipc_session_state st, uint32_t number,
                   const struct lunette_error *why);
    /* Something of the host has ended. */
    void (*moved)(struct offload_session *s);

    enum offload_phase phase;
    bool wanted;  /* started, and not stopped: it is to be logged in */
    bool due;     /* login_state is to be told */
    bool asking;  /* call waits for its answer */
    bool came_up; /* CONN_LOGIN_STATE has come before the answer to START_CONN */
    bool logout;  /* a Logout Response is to be told when it is out */
    unsigned at;  /* which value is told next */
    struct offload_call call;
    uint32_t esid; /* the engine's name of it; 0: none */
    uint32_t state_event;
    struct lunette_error why; /* of a login that has failed */
    unsigned refusals;        /* logins in a row that have failed */

    int32_t recovery_tmo_s;
    uint64_t blocked_ns;
    struct loop_timer recovery, again; /* the replacement timeout; another login */

    unsigned live; /* slots that are ours */
    bool want_restart;
    bool dying;
    struct list done;      /* struct scsi_cmd: ended without the engine */
    struct list eh_slots;  /* struct scsi_eh_wait: waits for a slot */
    struct list eh_resets; /* session resets: for RUNNING or GONE */
    struct list eh_done;
    struct loop_work work;
    struct loop_work freed;
    struct iscsi_stats stats; /* what went by here */
};

#endif
