/* SPDX-License-Identifier: MIT */
/* iscsi/conn_fsm.h - the states of a connection, RFC 7143 8.1; the rows are in conn_fsm.def. */
#ifndef ISCSI_CONN_FSM_H
#define ISCSI_CONN_FSM_H

enum conn_state {
    CONN_FREE,
    CONN_XPT_WAIT, /* the transport connects */
    CONN_IN_LOGIN,
    CONN_LOGGED_IN,        /* full feature phase */
    CONN_IN_LOGOUT,        /* our Logout Request is out */
    CONN_LOGOUT_REQUESTED, /* the target asked for one */
    CONN_CLEANUP_WAIT,     /* lost in full feature phase: tasks are being ended */
    CONN_NSTATES,
};

enum conn_event {
    EV_CONNECT,
    EV_BOUND,
    EV_STARTED,
    EV_LOGOUT_SENT,
    EV_LOGOUT_OK,
    EV_ASYNC_LOGOUT,
    EV_SESSION_CLOSED,
    EV_FAILED,
    EV_CLEANED,
    EV_COUNT,
};

/* The next state, or -1 where the table has no row. */
int conn_fsm_next(enum conn_state from, enum conn_event ev);
/* "T5", or NULL where the table has no row. */
const char *conn_fsm_row(enum conn_state from, enum conn_event ev);
const char *conn_state_name(enum conn_state s);

#endif
