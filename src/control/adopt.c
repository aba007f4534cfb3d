/* SPDX-License-Identifier: MIT */
/* control/adopt.c - a loop of the data plane has come, or we have: what is there is taken over.
 *
 *   GREETING  HELLO; from here on the data plane holds its events back
 *   LISTING   LIST_SESSIONS, page by page
 *   LOOKING   GET_SESSION and GET_CONN of each, one after the other: a session that runs, or has
 *             lost its connection, becomes its node's, found by the note or by its values; one that
 *             was never started is destroyed
 *   TAKING    TAKE_EVENTS: what the data plane has kept comes to whoever watches by now
 *   READY     connections that are down are told to the reopens, if no event has done so before
 *
 * A step that finds no memory is made again later.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/hex.h"
#include "control/internal.h"

/* What is found out about one session. */
struct adopt_found {
    enum ipc_session_state state;
    bool has_note;
    struct control_note note;
    struct node_session session;
    char target[ISCSI_NAME_MAX + 1], initiator[ISCSI_NAME_MAX + 1];
    bool has_isid;
    uint8_t isid[LOGIN_ISID_LEN];
    struct portal portal; /* in use */
};

struct control_adoption {
    struct control_loop *l;
    uint32_t sid[IPC_SESSIONS_PAGE];
    uint32_t count, at;
    bool more;
    struct adopt_found found;
    uint16_t cid[IPC_CONNS_MAX]; /* its connections */
    uint32_t nconns, at_conn;
    struct list asks;
};

static void adopt_ask_conn(struct control_adoption *a, uint16_t cid);
static void adopt_step(struct control_adoption *a);

/* ---- steps ---------------------------------------------------------------------------------- */

static void
adopt_retry(struct control_adoption *a)
{
    loop_timer_start(a->l->c->loop, &a->l->retry, CONTROL_RETRY_MS * LOOP_NS_PER_MS);
}

static void
adopt_on_retry(struct loop_timer *t)
{
    adopt_step(container_of(t, struct control_loop, retry)->adoption);
}

/* Sends the request of a step.  Where it cannot be sent for want of memory, the step is made again;
 * where the data plane is gone, control_loop_lost follows. */
static void
adopt_ask(struct control_adoption *a, struct iscsi_uevent *ev,
          void (*fn)(void *user, const struct iscsi_reply *rep))
{
    int r = ask_send(a->l, &a->asks, ev, NULL, 0, fn, a);

    if (r < 0 && r != -EPIPE)
        adopt_retry(a);
}

/* The data plane and we cannot work together. */
static void
adopt_refuse(struct control_loop *l, const struct lunette_error *why)
{
    struct control_event ev = {.type = CONTROL_TROUBLE, .loop = l->index, .why = why};

    log_line(l->c->loop->log, LOG_LEVEL_ERROR, "%s", why->msg);
    l->state = CONTROL_LOOP_REFUSED;
    control_tell(l->c, &ev);
}

/* Looks at what a reply says if it is no success: -ENOMEM passes, and all else does not.  Returns
 * true where the reply is a success. */
static bool
adopt_took(struct control_adoption *a, const struct iscsi_reply *rep)
{
    struct lunette_error why;

    if (rep->err == 0)
        return true;
    if (rep->err == -ENOMEM) {
        adopt_retry(a);
        return false;
    }
    reply_error(rep, "the data plane refuses us", &why);
    adopt_refuse(a->l, &why);
    return false;
}

/* ---- a session ------------------------------------------------------------------------------ */

static bool
adopt_text(const struct ipc_value *v, char *ret, size_t max)
{
    if (v->len > max || memchr(v->text, '\0', v->len) != NULL)
        return false;
    memcpy(ret, v->text, v->len);
    ret[v->len] = '\0';
    return true;
}

static uint32_t
adopt_number(const struct ipc_value *v)
{
    char text[16];

    return adopt_text(v, text, sizeof(text) - 1) ? (uint32_t)strtoul(text, NULL, 10) : 0;
}

static bool
adopt_isid(const struct ipc_value *v, uint8_t isid[LOGIN_ISID_LEN])
{
    uint8_t b[LOGIN_ISID_LEN];

    if (v->len != 2 * LOGIN_ISID_LEN)
        return false;
    for (unsigned i = 0; i < LOGIN_ISID_LEN; i++) {
        int hi = hex_digit(v->text[2 * i]), lo = hex_digit(v->text[2 * i + 1]);

        if (hi < 0 || lo < 0)
            return false;
        b[i] = (uint8_t)(hi << 4 | lo);
    }
    memcpy(isid, b, sizeof(b));
    return true;
}

static void
adopt_value(struct adopt_found *f, const struct ipc_value *v)
{
    if (v->param == ISCSI_PARAM_TARGET_NAME)
        (void)adopt_text(v, f->target, sizeof(f->target) - 1);
    else if (v->param == ISCSI_PARAM_INITIATOR_NAME)
        (void)adopt_text(v, f->initiator, sizeof(f->initiator) - 1);
    else if (v->param == ISCSI_PARAM_ISID)
        f->has_isid = adopt_isid(v, f->isid);
    else if (v->param == ISCSI_PARAM_TPGT)
        f->session.tpgt = (int32_t)adopt_number(v);
    else if (v->param == ISCSI_PARAM_DEF_TIME2WAIT)
        f->session.time2wait_s = adopt_number(v);
    else if (v->param == ISCSI_PARAM_DEF_TIME2RETAIN)
        f->session.time2retain_s = adopt_number(v);
    else if (v->param == ISCSI_PARAM_MAX_CONNECTIONS)
        f->session.max_connections = adopt_number(v);
    else if (v->param == ISCSI_PARAM_ERL)
        f->session.erl = adopt_number(v);
    else if (v->param == ISCSI_PARAM_TSIH)
        f->session.tsih = (uint16_t)adopt_number(v);
    else if (v->param == ISCSI_PARAM_PORTAL)
        (void)portal_read(v->text, v->len, &f->portal);
}

static void
adopt_values(struct adopt_found *f, const uint8_t *at, uint32_t len)
{
    const uint8_t *end = at + len;
    struct ipc_value v;

    while (ipc_value_next(&at, end, &v))
        adopt_value(f, &v);
}

/* Is n one that the session could be, where the session has no note that says so? */
static bool
adopt_could_be(const struct control_node *n, const struct adopt_found *f)
{
    return n->session.sid == 0 && n->loop == NULL && n->packed != NULL &&
           strcmp(n->name.target, f->target) == 0 && n->name.portal.port == f->portal.port &&
           strcasecmp(n->name.portal.host, f->portal.host) == 0;
}

static struct control_node *
adopt_by_values(struct control *c, const struct adopt_found *f)
{
    LIST_FOREACH (l, &c->nodes) {
        struct control_node *n = container_of(l, struct control_node, node);

        if (adopt_could_be(n, f))
            return n;
    }
    return NULL;
}

/* The node of the session that was found; one is made where there is none.  NULL: no memory. */
static struct control_node *
adopt_node(struct control *c, struct adopt_found *f)
{
    struct control_node *n = f->has_note ? control_find(c, &f->note.name) : adopt_by_values(c, f);

    if (n != NULL && n->session.sid == 0 && n->loop == NULL)
        return n;
    if (!f->has_note) {
        f->note = (struct control_note){.leaving = false};
        memcpy(f->note.name.target, f->target, sizeof(f->target));
        f->note.name.portal = f->portal;
        f->note.name.portal.tpgt = f->session.tpgt;
    }
    while (control_find(c, &f->note.name) != NULL)
        f->note.name.instance++;
    return node_new(c, &f->note.name);
}

/* The node takes over what was found.  -ENOMEM: not yet. */
static int
adopt_session(struct control_loop *l, struct adopt_found *f)
{
    /* Logging in again by another name would make another nexus. */
    char *initiator = f->initiator[0] != '\0' ? strdup(f->initiator) : NULL;
    struct control_node *n;
    bool is_new, was_known, had_leases;

    if (f->initiator[0] != '\0' && initiator == NULL)
        return -ENOMEM;
    n = adopt_node(l->c, f);
    if (n == NULL) {
        free(initiator);
        return -ENOMEM;
    }
    if (f->has_isid)
        memcpy(n->isid, f->isid, sizeof(n->isid));
    free(n->initiator_name);
    n->initiator_name = initiator;
    is_new = n->packed == NULL && n->nexports == 0;
    if (is_new && f->has_note) {
        memcpy(n->exports, f->note.exports, f->note.nexports * sizeof(n->exports[0]));
        n->nexports = f->note.nexports;
        n->scan_manual = f->note.scan_manual;
        memcpy(n->owner, f->note.owner, sizeof(n->owner));
    }
    was_known = n->leases.known;
    had_leases = n->leases.n > 0;
    if (f->has_note)
        leases_take_note(n, &f->note);
    else if (!was_known)
        n->leases.kept = true;
    n->leases.known = true;
    node_take_loop(n, l);
    n->session = f->session;
    n->session.sid = 0; /* it is listed by it */
    node_set_sid(n, f->session.sid);
    if (keep_prepare(n, NULL) < 0) {
        node_drop_session(n);
        return -ENOMEM;
    }
    n->note_due = !f->has_note && n->packed != NULL;
    /* While the data plane was out of reach leases may have changed, or the first have come. */
    if (had_leases || (was_known && f->has_note && (f->note.leased || f->note.nleases > 0)))
        n->note_due = true;
    if (f->note.leaving || f->session.no_conn) {
        keep_stop(n);
        node_post(n, NODE_EV_FOUND_LEAVING);
    } else {
        node_post(n, f->session.conn_down ? NODE_EV_FOUND_LOST : NODE_EV_FOUND_UP);
        if (n->note_due && n->state == CONTROL_IS_LOST)
            node_note_later(n);
    }
    return 0;
}

static void
adopt_next(struct control_adoption *a)
{
    a->at++;
    adopt_step(a);
}

/* A session that cannot be taken over for want of memory is looked at anew. */
static void
adopt_take(struct control_adoption *a)
{
    if (adopt_session(a->l, &a->found) < 0)
        adopt_retry(a);
    else
        adopt_next(a);
}

static void
adopt_on_conn(void *user, const struct iscsi_reply *rep)
{
    struct control_adoption *a = user;
    struct adopt_found *f = &a->found;
    bool up = rep->err == 0 && ipc_conn_is_up(rep->r.conn.state);

    if (rep->err == -ENOMEM) {
        adopt_retry(a);
        return;
    }
    if (!up && ++a->at_conn < a->nconns) { /* another one may be up */
        adopt_ask_conn(a, a->cid[a->at_conn]);
        return;
    }
    if (!up && a->nconns > 1 && f->session.cid != a->cid[0]) {
        a->nconns = 1; /* none is: it is known by its first one */
        adopt_ask_conn(a, a->cid[0]);
        return;
    }
    f->session.no_conn = rep->err < 0;
    f->session.conn_down = !up;
    f->session.asked_to_leave = up && rep->r.conn.state == IPC_CONN_LEAVING;
    if (rep->err == 0) {
        f->session.ep = rep->r.conn.ep;
        adopt_values(f, rep->data, rep->r.conn.values_len);
    }
    adopt_take(a);
}

static void
adopt_on_adopted(void *user, const struct iscsi_reply *rep)
{
    (void)user;
    (void)rep; /* if it has gone meanwhile, its next request says so */
}

static void
adopt_ask_conn(struct control_adoption *a, uint16_t cid)
{
    struct iscsi_uevent ev = {
        .type = ISCSI_UEVENT_GET_CONN, .sid = a->found.session.sid, .cid = cid};

    a->found.session.cid = cid;
    adopt_ask(a, &ev, adopt_on_conn);
}

static void
adopt_ask_conns(struct control_adoption *a, const uint16_t *cid, uint32_t n)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_ADOPT, .sid = a->found.session.sid};

    /* What a reopen of our predecessor has left half-made is not undone behind our back. */
    (void)ask_send(a->l, &a->asks, &ev, NULL, 0, adopt_on_adopted, NULL);
    memcpy(a->cid, cid, n * sizeof(cid[0]));
    a->nconns = n;
    a->at_conn = 0;
    adopt_ask_conn(a, cid[0]);
}

static void
adopt_destroy(struct control_adoption *a, uint32_t sid)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = sid};

    /* Where it cannot be sent, the data plane does so when its time is over. */
    (void)ask_send(a->l, &a->l->c->nobody, &ev, NULL, 0, adopt_on_adopted, NULL);
}

/* The loop clock so long ago; never 0. */
static uint64_t
adopt_before(uint64_t now_ns, uint32_t ms)
{
    uint64_t ns = ms * LOOP_NS_PER_MS;

    return ns < now_ns ? now_ns - ns : 1;
}

static void
adopt_on_session(void *user, const struct iscsi_reply *rep)
{
    struct control_adoption *a = user;
    struct adopt_found *f = &a->found;
    const uint8_t *data = rep->data;

    if (rep->err == -ENOMEM) {
        adopt_retry(a);
        return;
    }
    if (rep->err < 0 || rep->r.session.state == IPC_SESSION_ENDING) {
        adopt_next(a); /* it has gone, or goes */
        return;
    }
    if (rep->r.session.state == IPC_SESSION_NEW) {
        adopt_destroy(a, rep->sid);
        adopt_next(a);
        return;
    }
    *f = (struct adopt_found){.state = rep->r.session.state,
                              .session = {.sid = rep->sid,
                                          .tpgt = -1,
                                          .failing = rep->r.session.state == IPC_SESSION_FAILED},
                              .portal = {.tpgt = -1}};
    f->session.no_conn = f->session.conn_down = rep->r.session.nconns == 0;
    f->session.down = rep->r.session.state != IPC_SESSION_RUNNING;
    f->session.ncids = rep->r.session.nconns;
    memcpy(f->session.cids, rep->r.session.cid, sizeof(f->session.cids));
    if (rep->r.session.down_ms > 0)
        f->session.lost_ns = adopt_before(a->l->c->loop->now_ns, rep->r.session.down_ms);
    adopt_values(f, data, rep->r.session.values_len);
    f->has_note = note_unpack(data + rep->r.session.values_len, rep->r.session.note_len, &f->note);
    if (f->session.no_conn)
        adopt_take(a);
    else
        adopt_ask_conns(a, rep->r.session.cid, rep->r.session.nconns);
}

/* ---- the steps ------------------------------------------------------------------------------ */

/* The connections that were found down are told to their reopens now, since what the data plane has
 * kept of it has come, or has been overtaken. */
static void
adopt_tell_lost(struct control_loop *l)
{
    LIST_FOREACH (at, &l->c->nodes) {
        struct control_node *n = container_of(at, struct control_node, node);

        if (n->loop == l && n->state == CONTROL_IS_LOST && n->session.conn_down)
            keep_lost(n);
    }
}

static void
adopt_on_taken(void *user, const struct iscsi_reply *rep)
{
    struct control_adoption *a = user;
    struct control_loop *l = a->l;

    if (!adopt_took(a, rep))
        return;
    l->state = CONTROL_LOOP_READY;
    l->adoption = NULL;
    asks_forget(&a->asks);
    free(a);
    adopt_tell_lost(l);
    adopt_judge(l->c);
}

static void
adopt_on_list(void *user, const struct iscsi_reply *rep)
{
    struct control_adoption *a = user;

    if (!adopt_took(a, rep))
        return;
    a->count = rep->r.sessions.count;
    a->at = 0;
    a->more = rep->r.sessions.more && a->count > 0; /* else it would be asked for ever */
    memcpy(a->sid, rep->r.sessions.sid, sizeof(a->sid));
    a->l->state = CONTROL_LOOP_LOOKING;
    adopt_step(a);
}

static void
adopt_on_hello(void *user, const struct iscsi_reply *rep)
{
    struct control_adoption *a = user;
    struct control_loop *l = a->l;
    struct control_event ev = {.type = CONTROL_LOOP, .loop = l->index};
    struct lunette_error why = {.code = 0};

    if (!adopt_took(a, rep))
        return;
    if (rep->r.hello.loops == 0 || rep->r.hello.loops > CONTROL_LOOPS_MAX) {
        (void)lunette_fail(&why, -ERANGE, LUNETTE_DOM_USAGE, 0,
                           "the data plane has %u loops, of which at most %d can be served; start "
                           "it with fewer threads",
                           rep->r.hello.loops, CONTROL_LOOPS_MAX);
        adopt_refuse(l, &why);
        return;
    }
    ev.value = l->c->nloops = rep->r.hello.loops;
    l->state = CONTROL_LOOP_LISTING;
    adopt_step(a);
    control_tell(l->c, &ev);
}

static void
adopt_look(struct control_adoption *a)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_SESSION};

    if (a->at < a->count) {
        ev.sid = a->sid[a->at];
        adopt_ask(a, &ev, adopt_on_session);
        return;
    }
    a->l->state = a->more ? CONTROL_LOOP_LISTING : CONTROL_LOOP_TAKING;
    adopt_step(a);
}

static void
adopt_step(struct control_adoption *a)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_UNKNOWN};

    switch (a->l->state) {
    case CONTROL_LOOP_GREETING:
        ev.type = ISCSI_UEVENT_HELLO;
        ev.u.hello.min = IPC_VERSION_MIN;
        ev.u.hello.max = IPC_VERSION_MAX;
        ev.u.hello.loop = a->l->index;
        adopt_ask(a, &ev, adopt_on_hello);
        break;
    case CONTROL_LOOP_LISTING:
        ev.type = ISCSI_UEVENT_LIST_SESSIONS;
        ev.u.list.after = a->count > 0 ? a->sid[a->count - 1] : 0;
        adopt_ask(a, &ev, adopt_on_list);
        break;
    case CONTROL_LOOP_LOOKING:
        adopt_look(a);
        break;
    case CONTROL_LOOP_TAKING:
        ev.type = ISCSI_UEVENT_TAKE_EVENTS;
        adopt_ask(a, &ev, adopt_on_taken);
        break;
    case CONTROL_LOOP_NONE:
    case CONTROL_LOOP_READY:
    case CONTROL_LOOP_REFUSED:
        assert(false); /* there is no adoption */
        break;
    }
}

/* ---- the loop comes and goes ---------------------------------------------------------------- */

int
adopt_begin(struct control_loop *l)
{
    struct control_adoption *a = calloc(1, sizeof(*a));

    assert(l->adoption == NULL && l->ctl != NULL);
    if (a == NULL)
        return -ENOMEM;
    a->l = l;
    list_init(&a->asks);
    l->adoption = a;
    l->state = CONTROL_LOOP_GREETING;
    loop_timer_init(&l->retry, adopt_on_retry);
    adopt_step(a);
    return 0;
}

void
adopt_stop(struct control_loop *l)
{
    loop_timer_stop(l->c->loop, &l->retry);
    if (l->adoption != NULL)
        asks_forget(&l->adoption->asks);
    free(l->adoption);
    l->adoption = NULL;
    l->state = CONTROL_LOOP_NONE;
}

static bool
adopt_is_complete(const struct control *c)
{
    for (unsigned i = 0; i < c->nloops; i++) {
        if (c->loops[i] == NULL || c->loops[i]->state != CONTROL_LOOP_READY)
            return false;
    }
    return c->nloops > 0;
}

/* A node of which no session was found may log in, once all is known. */
static void
adopt_tell_nodes(struct control *c, enum control_state state, enum control_node_event ev)
{
    LIST_FOREACH (at, &c->nodes) {
        struct control_node *n = container_of(at, struct control_node, node);

        if (n->state == state)
            node_post(n, ev);
    }
}

void
adopt_judge(struct control *c)
{
    struct control_event ev = {.type = CONTROL_READY};
    bool was = c->ready;

    c->ready = adopt_is_complete(c);
    if (was == c->ready)
        return;
    if (c->ready) {
        control_tell(c, &ev);
        adopt_tell_nodes(c, CONTROL_IS_AWAY, NODE_EV_ABSENT);
    } else {
        adopt_tell_nodes(c, CONTROL_IS_WAITING, NODE_EV_IOD_GONE);
        adopt_tell_nodes(c, CONTROL_IS_QUEUED, NODE_EV_IOD_GONE);
    }
}
