/* SPDX-License-Identifier: MIT */
/* login/task.c - drives the login task's state machine, and sends its requests. */
#include "login/task.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <strings.h>

static const struct fsm_state login_states[LOGIN_NSTATES] = {
#define STATE(name, flags, text) FSM_STATE(name, LOGIN_IS_##flags, text)
#include "login/fsm.def"
};

static const char *const login_events[LOGIN_NEVENTS] = {
#define EVENT FSM_EVENT
#include "login/fsm.def"
};

static const struct fsm_row login_rows[LOGIN_NSTATES][LOGIN_NEVENTS] = {
#define ROW(from, ev, to, what) [LOGIN_##from][LOGIN_EV_##ev] = FSM_ROW(LOGIN_##to, what)
#include "login/fsm.def"
};

const struct fsm login_fsm = {.states = login_states,
                              .events = login_events,
                              .rows = login_rows[0],
                              .nstates = LOGIN_NSTATES,
                              .nevents = LOGIN_NEVENTS};

bool
portal_same(const struct portal *a, const struct portal *b)
{
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

void
login_set_limit(struct iscsi_login *l, uint32_t ms)
{
    l->cfg.login_timeout_ms = ms;
    l->until_ns = l->loop->now_ns + ms * LOOP_NS_PER_MS;
    loop_timer_start(l->loop, &l->deadline, ms * LOOP_NS_PER_MS);
}

bool
login_was_there(const struct iscsi_login *l, const struct portal *p)
{
    for (uint32_t i = 0; i < l->nvisited; i++) {
        if (portal_same(&l->visited[i], p))
            return true;
    }
    return false;
}

bool
login_is(const struct iscsi_login *l, unsigned flag)
{
    return (fsm_state(&login_fsm, l->state)->flags & flag) != 0;
}

struct lunette_error *
login_err(struct iscsi_login *l)
{
    return login_is(l, LOGIN_IS_WORKING) && l->err.code == 0 ? &l->err : NULL;
}

/* Handles one event: runs the action, then changes the state.  An event without a row is the fault
 * of the data plane or of the peer: the login fails. */
static void
login_handle(struct iscsi_login *l, enum login_event ev)
{
    enum login_state from = l->state;
    const struct fsm_row *row = fsm_take(&login_fsm, from, ev, &l->refused);
    const struct login_action *action;

    if (row == NULL) {
        if (login_is(l, LOGIN_IS_ENDED))
            return;
        (void)lunette_fail(login_err(l), -EPROTO, LUNETTE_DOM_PROTO, 0,
                           "login: event %u came in state %s", ev,
                           fsm_state(&login_fsm, from)->name);
        ev = LOGIN_EV_FAIL;
        row = fsm_find(&login_fsm, from, ev);
        if (row == NULL)
            return;
    }
    action = &l->actions[from][ev];
    if (action->act != NULL)
        action->act(l);
    else
        action->act_between(l, from, (enum login_state)row->to);
    assert(l->state == from);
    l->state = (enum login_state)row->to;
}

void
login_post(struct iscsi_login *l, enum login_event ev)
{
    assert(l->nqueue < LOGIN_QUEUE_MAX);
    l->queue[l->nqueue++] = ev;
    if (l->running)
        return;
    l->running = true;
    ctl_op_enter(&l->op);
    while (l->nqueue > 0) {
        enum login_event next = l->queue[0];

        l->nqueue--;
        memmove(l->queue, l->queue + 1, l->nqueue * sizeof(l->queue[0]));
        login_handle(l, next);
    }
    l->running = false;
    ctl_op_leave(&l->op);
}

bool
login_request(struct iscsi_login *l, struct iscsi_uevent *ev, const void *data, uint32_t len,
              void (*fn)(void *user, const struct iscsi_reply *rep))
{
    int r = ctl_request(l->ctl, ev, data, len, fn, l);

    if (r < 0) {
        (void)lunette_fail(login_err(l), r, LUNETTE_DOM_OS, (uint32_t)-r,
                           "the data path cannot be reached: %s", errno_text(-r));
        login_post(l, LOGIN_EV_FAIL);
        return false;
    }
    l->pending++;
    return true;
}

void
login_replied(struct iscsi_login *l, const struct iscsi_reply *rep)
{
    assert(l->pending > 0);
    l->pending--;
    if (rep->err < 0 && login_is(l, LOGIN_IS_WORKING)) {
        if (rep->why.code < 0)
            l->err = rep->why;
        else
            (void)lunette_fail(&l->err, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err,
                               "the data path refused a request: %s", errno_text(-rep->err));
        login_post(l, LOGIN_EV_FAIL); /* l may be gone */
    } else if (l->pending == 0) {
        login_post(l, LOGIN_EV_REPLIED);
    }
}

void
login_on_reply(void *user, const struct iscsi_reply *rep)
{
    login_replied(user, rep);
}
