/* SPDX-License-Identifier: MIT */
/* base/fsm.h - state machines that are written as tables.
 *
 * The table of a machine is a .def file of these macros:
 *
 *   STATE(name, flags, text)        flags: the module's own bits, or 0; text: for a person
 *   EVENT(name)
 *   ROW(from, event, to, what)      what: one word: an action, or the row's name in an RFC
 *
 * The module includes the file several times, for the enum of states, the enum of
 * events, and each of the three arrays of struct fsm; before each time it defines the
 * one macro that it wants.  So the file defines the others as nothing, and undefines
 * all three at its end.
 *
 * The order of states and events has no meaning.  An event that has no row for the
 * present state is refused and counted; two rows for one pair of state and event do
 * not compile (-Woverride-init).  Any thread.
 */
#ifndef BASE_FSM_H
#define BASE_FSM_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

struct fsm_state {
    const char *name, *text;
    unsigned flags;
};

struct fsm_row {
    const char *what; /* NULL: there is no such row */
    unsigned to;
};

/* A machine's table.  All of it is constant and lives as long as the program. */
struct fsm {
    const struct fsm_state *states;
    const char *const *events;
    const struct fsm_row *rows; /* [state * nevents + event] */
    unsigned nstates, nevents;
};

/* The initializers of one element of each array.  A module defines STATE as FSM_STATE, EVENT as
 * FSM_EVENT, and ROW as "[state][event] =" with FSM_ROW behind it. */
#define FSM_STATE(name, flags, text) {#name, text, flags},
#define FSM_EVENT(name)              #name,
#define FSM_ROW(to, what)            {#what, to},

/* state and event are the module's enum values; others are a bug and asserted. */
static inline const struct fsm_state *
fsm_state(const struct fsm *f, unsigned state)
{
    assert(state < f->nstates);
    return &f->states[state];
}

static inline const char *
fsm_event_name(const struct fsm *f, unsigned event)
{
    assert(event < f->nevents);
    return f->events[event];
}

/* The row for event in state from, or NULL where the table has none. */
static inline const struct fsm_row *
fsm_find(const struct fsm *f, unsigned from, unsigned event)
{
    const struct fsm_row *row;

    assert(from < f->nstates && event < f->nevents);
    row = &f->rows[from * f->nevents + event];
    return row->what != NULL ? row : NULL;
}

/* Does what fsm_find does for an event that has happened, and counts in *refused an event that has
 * no row. */
static inline const struct fsm_row *
fsm_take(const struct fsm *f, unsigned from, unsigned event, uint32_t *refused)
{
    const struct fsm_row *row = fsm_find(f, from, event);

    if (row == NULL)
        ++*refused;
    return row;
}

#endif
