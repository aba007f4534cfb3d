/* SPDX-License-Identifier: MIT */
/* iscsi/conn_fsm.h - the states of a connection, RFC 7143 8.1; the table is conn_fsm.def. */
#ifndef ISCSI_CONN_FSM_H
#define ISCSI_CONN_FSM_H

enum conn_state {
#define STATE(name, flags, text) CONN_##name,
#include "iscsi/conn_fsm.def"
    CONN_NSTATES,
};

enum conn_event {
#define EVENT(name) EV_##name,
#include "iscsi/conn_fsm.def"
    EV_COUNT,
};

/* The next state, or -1 where the table has no row. */
int conn_fsm_next(enum conn_state from, enum conn_event ev);
/* "T5", or NULL where the table has no row. */
const char *conn_fsm_row(enum conn_state from, enum conn_event ev);
const char *conn_state_name(enum conn_state s);

#endif
