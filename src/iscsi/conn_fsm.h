/* SPDX-License-Identifier: MIT */
/* iscsi/conn_fsm.h - the states of a connection, RFC 7143 8.1; the table is conn_fsm.def. */
#ifndef ISCSI_CONN_FSM_H
#define ISCSI_CONN_FSM_H

#include "base/fsm.h"

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

/* By enum conn_state and enum conn_event; the rows have the RFC's names. */
extern const struct fsm conn_fsm;

#endif
