/* SPDX-License-Identifier: MIT */
#include "iscsi/conn_fsm.h"

#include <assert.h>
#include <stddef.h>

static const struct row {
    const char *name;
    enum conn_state to;
} table[CONN_NSTATES][EV_COUNT] = {
#define ROW(t, from, ev, next) [CONN_##from][EV_##ev] = {#t, CONN_##next},
#include "iscsi/conn_fsm.def"
#undef ROW
};

int
conn_fsm_next(enum conn_state from, enum conn_event ev)
{
    assert(from < CONN_NSTATES && ev < EV_COUNT);
    return table[from][ev].name != NULL ? (int)table[from][ev].to : -1;
}

const char *
conn_fsm_row(enum conn_state from, enum conn_event ev)
{
    assert(from < CONN_NSTATES && ev < EV_COUNT);
    return table[from][ev].name;
}

const char *
conn_state_name(enum conn_state s)
{
    static const char *const names[CONN_NSTATES] = {
        "FREE",      "XPT_WAIT",         "IN_LOGIN",     "LOGGED_IN",
        "IN_LOGOUT", "LOGOUT_REQUESTED", "CLEANUP_WAIT",
    };

    assert(s < CONN_NSTATES);
    return names[s];
}
