/* SPDX-License-Identifier: MIT */
/* base/fsm.h - state machines that are written as tables.
 *
 * Each machine is one .def file, which its module includes once for each thing
 * that it makes of it, with the macros of that thing defined:
 *
 *   STATE(name, flags, text)        flags: the module's own bits, or 0; text: for a person
 *   EVENT(name)
 *   ROW(from, event, to, what)      what: one word: an action, or the row's name in an RFC
 *
 * A .def file gives the macros that are not defined an empty meaning, and
 * undefines all three at its end.  The order of states and events means
 * nothing.  A pair of state and event without a row is refused and counted;
 * two rows for one pair do not compile (-Woverride-init).
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

/* All of it is constant and lives as long as the program. */
struct fsm {
    const struct fsm_state *states;
    const char *const *events;
    const struct fsm_row *rows; /* [state * nevents + event] */
    unsigned nstates, nevents;
};

/* What a module writes between the braces of the three arrays (FSM_ROW: after the two indices). */
#define FSM_STATE(name, flags, text) {#name, text, flags},
#define FSM_EVENT(name)              #name,
#define FSM_ROW(to, what)            {#what, to},

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

/* fsm_find for an event that has happened: without a row, it is counted in *refused. */
static inline const struct fsm_row *
fsm_take(const struct fsm *f, unsigned from, unsigned event, uint32_t *refused)
{
    const struct fsm_row *row = fsm_find(f, from, event);

    if (row == NULL)
        ++*refused;
    return row;
}

#endif
