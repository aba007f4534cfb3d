/* SPDX-License-Identifier: MIT */
#include "iscsi/conn_fsm.h"

#include "iscsi/internal.h"

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

const struct fsm conn_fsm = {.states = conn_states,
                             .events = conn_events,
                             .rows = conn_rows[0],
                             .nstates = CONN_NSTATES,
                             .nevents = EV_COUNT};

void
iscsi_conn_event(struct conn *c, enum conn_event ev)
{
    const struct fsm_row *row = fsm_take(&conn_fsm, c->state, ev, &c->refused_events);

    if (row == NULL)
        return;
    c->last_row = row->what;
    log_line(c->pub.loop->log, LOG_LEVEL_DEBUG, "%s: connection %u: %s -> %s (%s)",
             c->session->host.name, c->pub.cid, fsm_state(&conn_fsm, c->state)->name,
             fsm_state(&conn_fsm, row->to)->name, row->what);
    c->state = (enum conn_state)row->to;
    iscsi_leave_fast(c);
    iscsi_count_serving(c->session);
}
