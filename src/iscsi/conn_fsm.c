/* SPDX-License-Identifier: MIT */
#include "iscsi/conn_fsm.h"

#include "base/fsm.h"

static const struct fsm_state conn_states[CONN_NSTATES] = {
#define STATE FSM_STATE
#include "iscsi/conn_fsm.def"
};

static const char *const conn_events[EV_COUNT] = {
#define EVENT FSM_EVENT
#include "iscsi/conn_fsm.def"
};

static const struct fsm_row conn_rows[CONN_NSTATES][EV_COUNT] = {
#define ROW(from, ev, to, what) [CONN_##from][EV_##ev] = FSM_ROW(CONN_##to, what)
#include "iscsi/conn_fsm.def"
};

static const struct fsm conn_fsm = {.states = conn_states,
                                    .events = conn_events,
                                    .rows = conn_rows[0],
                                    .nstates = CONN_NSTATES,
                                    .nevents = EV_COUNT};

int
conn_fsm_next(enum conn_state from, enum conn_event ev)
{
    const struct fsm_row *row = fsm_find(&conn_fsm, from, ev);

    return row != NULL ? (int)row->to : -1;
}

const char *
conn_fsm_row(enum conn_state from, enum conn_event ev)
{
    const struct fsm_row *row = fsm_find(&conn_fsm, from, ev);

    return row != NULL ? row->what : NULL;
}

const char *
conn_state_name(enum conn_state s)
{
    return fsm_state(&conn_fsm, s)->name;
}
