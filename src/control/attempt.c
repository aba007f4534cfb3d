/* SPDX-License-Identifier: MIT */
/* control/attempt.c - the first login of a session: when it is tried, on which loop, and what a
 * failure means. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

#define ATTEMPT_COUNT_MS 1000 /* failures count once in so long */

struct control_loop *
attempt_loop(const struct control *c)
{
    struct control_loop *best = NULL;

    for (unsigned i = 0; i < CONTROL_LOOPS_MAX; i++) {
        struct control_loop *l = c->loops[i];

        if (l == NULL || l->state != CONTROL_LOOP_READY)
            continue;
        if (best == NULL || l->nsessions < best->nsessions)
            best = l;
    }
    return best;
}

/* ---- waiting for its turn ------------------------------------------------------------------- */

/* A login is wanted, once it is sure that there is no session. */
void
node_seek(struct control_node *n)
{
    if (n->c->ready)
        node_post(n, NODE_EV_ABSENT);
}

void
node_absent(struct control_node *n)
{
    n->tries = n->failures = 0;
    n->why.code = 0;
    n->began_ns = n->due_ns = n->c->loop->now_ns;
    backoff_reset(&n->backoff, n->began_ns);
    node_post(n, n->wanted == CONTROL_UP && n->packed != NULL ? NODE_EV_DUE : NODE_EV_WANT_DOWN);
}

void
node_vanished(struct control_node *n)
{
    loop_timer_stop(n->c->loop, &n->timer);
    keep_stop(n);
    units_stop(n);
    node_drop_session(n);
    node_seek(n);
}

static void
attempt_enter(struct control_node *n)
{
    n->turn.behind = n->tries > 0 || n->portal->silent;
    if (login_gate_enter(n->c->gate, &n->turn))
        node_post(n, NODE_EV_PASSED);
}

/* A portal that has fallen silent since the node came to the gate sends it behind the others. */
static void
attempt_passed(struct login_turn *t)
{
    struct control_node *n = container_of(t, struct control_node, turn);

    if (!t->behind && n->portal->silent) {
        login_gate_leave(t);
        attempt_enter(n);
    } else {
        node_post(n, NODE_EV_PASSED);
    }
}

static void
attempt_on_timer(struct loop_timer *t)
{
    struct control_node *n = container_of(t, struct control_node, timer);

    if (n->state == CONTROL_IS_WAITING)
        node_post(n, NODE_EV_DUE);
    else if (n->state == CONTROL_IS_LOGOUT)
        leave_on_timer(n);
    else if (n->config_new)
        keep_renew(n);
}

void
attempt_init(struct control_node *n)
{
    login_turn_init(&n->turn, attempt_passed);
    loop_timer_init(&n->timer, attempt_on_timer);
}

void
node_queue(struct control_node *n)
{
    loop_timer_stop(n->c->loop, &n->timer);
    attempt_enter(n);
}

/* ---- a try ---------------------------------------------------------------------------------- */

/* Would the same login fail again unless somebody changes something? */
static bool
attempt_is_refusal(const struct lunette_error *err)
{
    return (err->domain == LUNETTE_DOM_LOGIN && !login_error_retryable(err)) ||
           (err->domain == LUNETTE_DOM_USAGE && err->code == -EINVAL) ||
           (err->code == -ENODEV && !login_error_retryable(err)); /* for its transport */
}

/* Has the data plane gone, as control_loop_lost is told a little later?  It is no try of a target.
 */
static bool
attempt_is_iods(const struct lunette_error *err)
{
    return err->domain == LUNETTE_DOM_OS && err->code == -EPIPE;
}

/* Counts a failure, once a second at most, since a target that is starting fails us quickly. */
static bool
attempt_counts(struct control_node *n)
{
    uint64_t now = n->c->loop->now_ns;

    if (n->failures > 0 && now - n->counted_ns < ATTEMPT_COUNT_MS * LOOP_NS_PER_MS)
        return false;
    n->failures++;
    n->counted_ns = now;
    return true;
}

/* Is this failure the last?  A session that was up once is tried for ever, as one that has lost its
 * connection is: only refusals count. */
static bool
attempt_is_last(struct control_node *n)
{
    uint64_t timeout_ns = n->login_timeout_ms * LOOP_NS_PER_MS; /* of which retries may be many */
    bool refused = attempt_is_refusal(&n->why);

    if (attempt_is_iods(&n->why))
        return false;

    if (n->was_up)
        return refused && attempt_counts(n) && n->reopen_max > 0 && n->failures >= n->reopen_max;
    if (refused)
        return true;
    if (n->login_retries == CONTROL_FOR_EVER)
        return false;
    if (n->why.code != -ETIMEDOUT && attempt_counts(n) && n->failures > n->login_retries)
        return true;
    return (n->c->loop->now_ns - n->began_ns) / timeout_ns > n->login_retries;
}

static void
attempt_failed(struct control_node *n)
{
    login_gate_leave(&n->turn);
    n->tries++;
    n->portal->silent =
        n->why.domain == LUNETTE_DOM_CONNECT || n->why.domain == LUNETTE_DOM_TIMEOUT;
    node_post(n, attempt_is_last(n) ? NODE_EV_REFUSED : NODE_EV_LATER);
}

static void
attempt_made(void *user, uint32_t sid)
{
    struct control_node *n = user;

    node_set_sid(n, sid);
    n->leases.known = true;
    node_send_note(n, false);
}

static void
attempt_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct control_node *n = user;

    if (res == NULL) {
        (void)lunette_fail_as(&n->why, err);
        login_free(&n->login);
        attempt_failed(n);
        return;
    }
    login_gate_leave(&n->turn);
    keep_attach(n, res);
    login_free(&n->login);
    node_post(n, NODE_EV_LOGGED_IN);
}

/* Draws the ISID of a node that has none.  It is kept, as it names the port of the initiator. */
static void
attempt_take_isid(struct control_node *n)
{
    static const uint8_t none[LOGIN_ISID_LEN];

    if (memcmp(n->isid, none, sizeof(none)) == 0)
        login_isid_random(n->c->loop, n->isid);
}

static int
attempt_start(struct control_node *n, struct lunette_error *err)
{
    struct login_callbacks cb = {.done = attempt_done, .made = attempt_made, .user = n};
    struct login_config cfg;
    int r = keep_prepare(n, err);

    if (r < 0)
        return r;
    keep_config(n, &cfg);
    cfg.connect_try_ms = backoff_connect_ms(&n->backoff, &cfg, 0);
    backoff_ep(&n->backoff, &cfg, 0);
    cfg.login_timeout_ms = backoff_login_ms(&n->backoff, &cfg, 0);
    r = login_start(n->loop->ctl, &cfg, &cb, &n->login, err);
    login_config_wipe(&cfg);
    return r;
}

void
node_log_in(struct control_node *n)
{
    struct control_loop *l = attempt_loop(n->c);

    assert(l != NULL); /* else the node had been called away */
    n->try_ns = n->c->loop->now_ns;
    attempt_take_isid(n);
    node_take_loop(n, l);
    n->why.code = 0;
    if (attempt_start(n, &n->why) < 0)
        attempt_failed(n);
}

/* ---- a try has failed ----------------------------------------------------------------------- */

/* Nothing of the try is left that is the node's. */
static void
attempt_forget(struct control_node *n)
{
    login_gate_leave(&n->turn);
    loop_timer_stop(n->c->loop, &n->timer);
    login_free(&n->login);
    keep_stop(n);
    node_drop_session(n);
}

void
node_wait(struct control_node *n)
{
    struct loop *loop = n->c->loop;
    struct lunette_error why = n->why;
    uint64_t delay = backoff_next(&n->backoff, loop, n->try_ns, &why);

    attempt_forget(n);
    if (!n->c->ready) { /* its session may be on a loop that is out of reach */
        node_post(n, NODE_EV_IOD_GONE);
        return;
    }
    n->due_ns = loop->now_ns + delay;
    loop_timer_start(loop, &n->timer, delay);
    node_tell(n, CONTROL_WAITING, (delay + LOOP_NS_PER_MS - 1) / LOOP_NS_PER_MS, &why);
}

void
node_refused(struct control_node *n)
{
    struct lunette_error why = n->why;

    attempt_forget(n);
    log_line(n->c->loop->log, LOG_LEVEL_ERROR, "%s: could not log in: %s", n->name.target, why.msg);
    node_tell_waiters(n, WAITER_LOGIN, &why);
    node_tell_waiters(n, WAITER_UNITS, &why);
    node_kick(n); /* it may have been removed meanwhile */
}

/* A logout has come.  The login is told to us as over when all that it had made is gone. */
void
node_cancel(struct control_node *n)
{
    struct lunette_error why = {.code = 0};

    (void)lunette_fail(&why, -ECANCELED, LUNETTE_DOM_USAGE, 0,
                       "the login was interrupted by a logout");
    login_cancel(n->login);
    node_tell_waiters(n, WAITER_LOGIN, &why);
}

/* The data plane has gone before it was this node's turn. */
void
node_leave_row(struct control_node *n)
{
    login_gate_leave(&n->turn);
    loop_timer_stop(n->c->loop, &n->timer);
}

/* The data plane has gone, and with it all that was there. */
void
node_forget(struct control_node *n)
{
    attempt_forget(n);
    logout_free(&n->logout);
    units_stop(n);
    (void)lunette_fail(&n->why, -EPIPE, LUNETTE_DOM_OS, EPIPE, "the data plane has gone");
}

/* The session that was found with other names than the record's is over. */
static void
attempt_take_names(struct control_node *n)
{
    static const uint8_t none[LOGIN_ISID_LEN];
    struct login_config cfg;

    free(n->initiator_name);
    n->initiator_name = NULL;
    if (n->packed == NULL)
        return;
    login_unpack(n->packed, &cfg);
    if (memcmp(cfg.isid, none, sizeof(none)) != 0)
        memcpy(n->isid, cfg.isid, sizeof(n->isid));
    login_config_wipe(&cfg);
}

void
node_is_down(struct control_node *n)
{
    struct lunette_error why = {.code = 0};

    (void)lunette_fail(&why, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the session is to be logged out");
    attempt_forget(n);
    units_stop(n);
    attempt_take_names(n);
    n->why.code = 0;
    n->was_up = false;
    if (n->wanted != CONTROL_UP) {
        leases_clear(n);
        node_tell_waiters(n, WAITER_LOGIN, &why);
        node_tell_waiters(n, WAITER_UNITS, &why);
    }
    node_tell_waiters(n, WAITER_LOGOUT, NULL);
    node_kick(n); /* it may be wanted up again, or go */
}
