/* SPDX-License-Identifier: MIT */
#include "iscsi/conn_fsm.h"

#include "base/fsm.h"
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

void
iscsi_conn_event(struct conn *c, enum conn_event ev)
{
    int next = conn_fsm_next(c->state, ev);

    if (next < 0) {
        c->refused_events++;
        return;
    }
    c->last_row = conn_fsm_row(c->state, ev);
    log_line(c->pub.loop->log, LOG_LEVEL_DEBUG, "%s: connection %u: %s -> %s (%s)",
             c->session->host.name, c->pub.cid, conn_state_name(c->state),
             conn_state_name((enum conn_state)next), c->last_row);
    c->state = (enum conn_state)next;
    iscsi_leave_fast(c);
}
