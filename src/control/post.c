/* SPDX-License-Identifier: MIT */
/* control/post.c - drives the machine of a node, and what all its parts need: events and waiters,
 * requests whose replies find their node or nobody, and the note. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "control/internal.h"

static const struct fsm_state control_states[CONTROL_STATES] = {
#define STATE(name, flags, text) FSM_STATE(name, NODE_IS_##flags, text)
#include "control/fsm.def"
};

static const char *const control_events[NODE_NEVENTS] = {
#define EVENT FSM_EVENT
#include "control/fsm.def"
};

static const struct fsm_row control_rows[CONTROL_STATES][NODE_NEVENTS] = {
#define ROW(from, ev, to, what) [CONTROL_IS_##from][NODE_EV_##ev] = FSM_ROW(CONTROL_IS_##to, what)
#include "control/fsm.def"
};

const struct fsm control_fsm = {.states = control_states,
                                .events = control_events,
                                .rows = control_rows[0],
                                .nstates = CONTROL_STATES,
                                .nevents = NODE_NEVENTS};

const char *
control_state_name(enum control_state s)
{
    return fsm_state(&control_fsm, s)->name;
}

const char *
control_state_text(enum control_state s)
{
    return fsm_state(&control_fsm, s)->text;
}

bool
node_is(const struct control_node *n, unsigned flag)
{
    return (fsm_state(&control_fsm, n->state)->flags & flag) != 0;
}

/* ---- events for the owner, and waiters ------------------------------------------------------ */

void
control_tell(struct control *c, const struct control_event *ev)
{
    if (c->cb.event != NULL)
        c->cb.event(c->cb.user, ev);
}

void
node_tell(struct control_node *n, enum control_event_type type, uint64_t value,
          const struct lunette_error *why)
{
    struct control_event ev = {.type = type, .node = n, .value = value, .why = why};

    control_tell(n->c, &ev);
}

/* A waiter may free itself and others, and new ones may come, in each call. */
void
node_tell_waiters(struct control_node *n, enum waiter_kind kind, const struct lunette_error *err)
{
    struct list due;
    struct list *at;

    list_init(&due);
    LIST_FOREACH_SAFE (l, &n->waiters) {
        struct control_waiter *w = container_of(l, struct control_waiter, node);

        if (w->kind != (int)kind)
            continue;
        list_del(&w->node);
        list_push_back(&due, &w->node);
    }
    while ((at = list_pop_front(&due)) != NULL) {
        struct control_waiter *w = container_of(at, struct control_waiter, node);

        w->kind = WAITER_NONE;
        w->done(w, err);
    }
}

/* ---- the machine ---------------------------------------------------------------------------- */

static void
node_handle(struct control_node *n, enum control_node_event ev)
{
    enum control_state from = n->state;
    const struct fsm_row *row = fsm_take(&control_fsm, from, ev, &n->c->refused);

    if (row == NULL)
        return; /* counted; no state of a node is harmed by an event that is not for it */
    n->c->actions[from][ev].act(n);
    assert(n->state == from);
    n->state = (enum control_state)row->to;
    if (n->state != from) {
        struct lunette_error why = n->why;

        n->state_ns = n->c->loop->now_ns;
        leases_on_state(n);
        node_tell(n, CONTROL_STATE, 0, why.code < 0 ? &why : NULL);
        /* Not before the state is UP: they go on with what needs a session that is up. */
        if (n->state == CONTROL_IS_UP)
            node_tell_waiters(n, WAITER_LOGIN, NULL);
    }
}

void
node_post(struct control_node *n, enum control_node_event ev)
{
    assert(n->nqueue < NODE_QUEUE_MAX);
    n->queue[n->nqueue++] = ev;
    if (n->running)
        return;
    n->running = true;
    while (n->nqueue > 0) {
        ev = n->queue[0];
        n->nqueue--;
        memmove(&n->queue[0], &n->queue[1], n->nqueue * sizeof(n->queue[0]));
        node_handle(n, ev);
    }
    n->running = false;
}

void
node_kick(struct control_node *n)
{
    loop_defer(n->c->loop, &n->kick);
}

/* ---- requests ------------------------------------------------------------------------------- */

struct ask {
    struct list of_loop, of_owner;
    void (*fn)(void *user, const struct iscsi_reply *rep); /* NULL: it was forgotten */
    void *user;
};

static void
ask_on_reply(void *user, const struct iscsi_reply *rep)
{
    struct ask *a = user, over = *a;

    list_del(&a->of_loop);
    list_del(&a->of_owner);
    free(a);
    if (over.fn != NULL)
        over.fn(over.user, rep);
}

int
ask_send(struct control_loop *l, struct list *asks, struct iscsi_uevent *ev, const void *data,
         uint32_t data_len, void (*fn)(void *user, const struct iscsi_reply *rep), void *user)
{
    struct ask *a = malloc(sizeof(*a));
    int r;

    if (a == NULL)
        return -ENOMEM;
    *a = (struct ask){.fn = fn, .user = user};
    r = ctl_request(l->ctl, ev, data, data_len, ask_on_reply, a);
    if (r < 0) {
        free(a);
        return r;
    }
    list_push_back(&l->asks, &a->of_loop);
    list_push_back(asks, &a->of_owner);
    return 0;
}

void
asks_forget(struct list *asks)
{
    struct list *at;

    while ((at = list_pop_front(asks)) != NULL)
        container_of(at, struct ask, of_owner)->fn = NULL;
}

void
asks_drop(struct control_loop *l)
{
    struct list *at;

    while ((at = list_pop_front(&l->asks)) != NULL) {
        struct ask *a = container_of(at, struct ask, of_loop);

        list_del(&a->of_owner);
        free(a);
    }
}

void
reply_error(const struct iscsi_reply *rep, const char *what, struct lunette_error *ret)
{
    assert(rep->err < 0);
    *ret = (struct lunette_error){.code = 0};
    if (rep->why.code < 0)
        (void)lunette_fail_as(ret, &rep->why);
    else
        (void)lunette_fail(ret, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err, "%s",
                           errno_text(rep->err));
    (void)lunette_fail_prefix(ret, rep->err, "%s", what);
}

/* ---- the session ---------------------------------------------------------------------------- */

bool
node_has_note(const struct control_node *n)
{
    return node_is(n, NODE_IS_SESSION) || (n->state == CONTROL_IS_LOGIN && n->session.sid != 0);
}

void
node_note_later(struct control_node *n)
{
    n->note_due = true;
    if (n->units.waiting)
        return;
    n->units.waiting = true;
    loop_timer_start(n->c->loop, &n->units.timer, CONTROL_RETRY_MS * LOOP_NS_PER_MS);
}

void
node_tell_noted(struct control_node *n)
{
    struct lunette_error why = {.code = 0};

    if (n->wanted == CONTROL_DOWN) {
        (void)lunette_fail(&why, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the session is logged out");
        node_tell_waiters(n, WAITER_NOTE, &why);
    } else if (!n->note_due && n->notes == 0 && n->state != CONTROL_IS_AWAY) {
        node_tell_waiters(n, WAITER_NOTE, NULL);
    }
}

static void
node_on_note(void *user, const struct iscsi_reply *rep)
{
    struct control_node *n = user;

    assert(n->notes > 0);
    n->notes--;
    if (rep->err == 0 || rep->err == -ENOENT) {
        node_tell_noted(n);
        return;
    }
    node_note_later(n);
    log_line(n->c->loop->log, LOG_LEVEL_WARN, "%s: the session's note was not taken: %s",
             n->name.target, rep->why.msg);
}

void
node_send_note(struct control_node *n, bool leaving)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_NOTE, .sid = n->session.sid};
    struct control_note note = {.name = n->name,
                                .leaving = leaving,
                                .scan_manual = n->scan_manual,
                                .nexports = n->nexports};
    uint8_t buf[IPC_NOTE_MAX];
    uint32_t len;

    assert(n->loop != NULL && n->session.sid != 0);
    memcpy(note.owner, n->owner, sizeof(note.owner));
    memcpy(note.isid, n->isid, sizeof(note.isid));
    memcpy(note.exports, n->exports, n->nexports * sizeof(note.exports[0]));
    leases_put_note(n, &note);
    len = note_pack(&note, buf);
    ev.u.set_note.len = len;
    n->note_due = ask_send(n->loop, &n->asks, &ev, buf, len, node_on_note, n) < 0;
    n->notes += !n->note_due;
}

void
node_forget_asks(struct control_node *n)
{
    leases_stop(n);
    asks_forget(&n->asks);
    n->notes = 0;
}

void
node_take_loop(struct control_node *n, struct control_loop *l)
{
    assert(n->loop == NULL);
    n->loop = l;
    l->nsessions++;
}

void
node_set_sid(struct control_node *n, uint32_t sid)
{
    if (n->session.sid != 0)
        htab_del(&n->c->by_sid, &n->sid_node);
    n->session.sid = sid;
    if (sid != 0)
        htab_add(&n->c->by_sid, &n->sid_node, hash_u64(0, sid));
}

void
node_drop_session(struct control_node *n)
{
    node_set_sid(n, 0);
    n->session = (struct node_session){.sid = 0};
    n->note_due = n->no_request = false;
    n->leave = LEAVE_NOT;
    node_forget_asks(n);
    n->up_ns = 0;
    if (n->loop != NULL) {
        assert(n->loop->nsessions > 0);
        n->loop->nsessions--;
    }
    n->loop = NULL;
}
