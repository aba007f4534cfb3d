/* SPDX-License-Identifier: MIT */
/* login/login.c - the login task's life and its driver; the steps are in connect.c and setup.c. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "login/task.h"

static void login_nothing(struct iscsi_login *l);
static void login_hold(struct iscsi_login *l);
static void login_logged_in(struct iscsi_login *l);

static void login_expired(struct iscsi_login *l);
static void login_canceled(struct iscsi_login *l);
static void login_canceled_late(struct iscsi_login *l);
static void login_retry(struct iscsi_login *l);
static void login_no_more_tries(struct iscsi_login *l);
static void login_teardown(struct iscsi_login *l);
static void login_wait_for_retry(struct iscsi_login *l);
static void login_report_untidy(struct iscsi_login *l);
static void login_report(struct iscsi_login *l);

struct row {
    enum login_state to;
    void (*act)(struct iscsi_login *l); /* NULL: a missing cell */
};

static const struct row table[LOGIN_NSTATES][LOGIN_NEVENTS] = {
#define STATE(name, text)
#define EVENT(name)
#define ROW(from, ev, next, action) [LOGIN_##from][LOGIN_EV_##ev] = {LOGIN_##next, login_##action},
#include "login/fsm.def"
#undef STATE
#undef EVENT
#undef ROW
};

static const char *const waits_for[LOGIN_NSTATES] = {
#define STATE(name, text) [LOGIN_##name] = text,
#define EVENT(name)
#define ROW(from, ev, next, action)
#include "login/fsm.def"
#undef STATE
#undef EVENT
#undef ROW
};

static const char *const state_names[LOGIN_NSTATES] = {
#define STATE(name, text) [LOGIN_##name] = #name,
#define EVENT(name)
#define ROW(from, ev, next, action)
#include "login/fsm.def"
#undef STATE
#undef EVENT
#undef ROW
};

bool
portal_same(const struct portal *a, const struct portal *b)
{
    return a->port == b->port && strcasecmp(a->host, b->host) == 0;
}

static bool
ended(const struct iscsi_login *l)
{
    return l->state == LOGIN_UP || l->state == LOGIN_DOWN;
}

bool
login_working(const struct iscsi_login *l)
{
    return l->state < LOGIN_DRAIN || l->state == LOGIN_RETRY_WAIT;
}

struct lunette_error *
login_err(struct iscsi_login *l)
{
    return login_working(l) && l->err.code == 0 ? &l->err : NULL;
}

static void
destroy(struct iscsi_login *l)
{
    loop_defer_cancel(&l->begin);
    loop_timer_stop(l->loop, &l->deadline);
    loop_timer_stop(l->loop, &l->step);
    login_connect_stop(l);
    ctl_watch_del(&l->watch);
    list_del(&l->orphan.node);
    nego_fini(&l->nego);
    for (uint32_t i = 0; i < l->nheld; i++)
        free(l->held[i].data);
    login_config_wipe(&l->cfg);
    free(l);
}

static void
destroy_orphan(struct ctl_orphan *o)
{
    destroy(container_of(o, struct iscsi_login, orphan));
}

/* One event.  An unknown pair is the data plane's or the peer's fault. */
static void
handle(struct iscsi_login *l, enum login_event ev)
{
    const struct row *row = &table[l->state][ev];

    if (row->act == NULL) {
        l->missing_cells++;
        if (ended(l))
            return;
        (void)lunette_fail(login_err(l), -EPROTO, LUNETTE_DOM_PROTO, 0,
                           "login: event %u came in state %s", ev, state_names[l->state]);
        row = &table[l->state][LOGIN_EV_FAIL];
        if (row->act == NULL)
            return;
    }
    if (row->to == LOGIN_DRAIN || row->to >= LOGIN_UP) {
        row->act(l); /* these look at where they come from */
        l->state = row->to;
    } else {
        l->state = row->to;
        row->act(l);
    }
}

void
login_post(struct iscsi_login *l, enum login_event ev)
{
    assert(l->nqueue < LOGIN_QUEUE_MAX);
    l->queue[l->nqueue++] = ev;
    if (l->running)
        return;
    l->running = true;
    while (l->nqueue > 0) {
        enum login_event next = l->queue[0];

        l->nqueue--;
        memmove(l->queue, l->queue + 1, l->nqueue * sizeof(l->queue[0]));
        handle(l, next);
    }
    l->running = false;
    if (ended(l) && l->abandoned)
        destroy(l);
}

/* ---- requests ------------------------------------------------------------------------------ */

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
    if (rep->err < 0 && login_working(l)) {
        if (rep->why.code < 0)
            l->err = rep->why;
        else
            (void)lunette_fail(&l->err, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err,
                               "the data path refused a request: %s", errno_text(-rep->err));
        login_post(l, LOGIN_EV_FAIL); /* looks at pending itself; l may be gone */
    } else if (l->pending == 0) {
        login_post(l, LOGIN_EV_REPLIED);
    }
}

void
login_on_reply(void *user, const struct iscsi_reply *rep)
{
    login_replied(user, rep);
}

static void
on_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct iscsi_login *l = container_of(w, struct iscsi_login, watch);
    struct lunette_error *err = login_err(l);

    assert(!l->running);
    if (ev->type == ISCSI_KEVENT_RECV_PDU) {
        l->pdu = ev;
        l->pdu_data = data;
        login_post(l, LOGIN_EV_PDU);
        return;
    }
    if (ev->type != ISCSI_KEVENT_CONN_ERROR)
        return;
    if (err != NULL && ev->u.conn_error.why.code < 0)
        *err = ev->u.conn_error.why;
    else
        (void)lunette_fail(err, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET,
                           "the connection was lost during login");
    login_post(l, LOGIN_EV_FAIL);
}

/* ---- actions ------------------------------------------------------------------------------- */

static void
login_nothing(struct iscsi_login *l)
{
    (void)l;
}

static void
login_hold(struct iscsi_login *l)
{
    struct login_held *h = l->nheld < LOGIN_HELD_MAX ? &l->held[l->nheld] : NULL;
    uint32_t len = l->pdu->u.recv_pdu.data_len;

    if ((l->pdu->u.recv_pdu.hdr.opcode & ISCSI_OP_MASK) == ISCSI_OP_LOGIN_RSP) { /* LGN-02 */
        (void)lunette_fail(login_err(l), -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                           "login: the target sent a Login Response after the final one");
        login_post(l, LOGIN_EV_FAIL);
        return;
    }
    if (h != NULL)
        h->data = malloc(len > 0 ? len : 1);
    if (h == NULL || h->data == NULL) {
        (void)lunette_fail(login_err(l), -ENOBUFS, LUNETTE_DOM_PROTO, 0,
                           "login: too much came before the session was started");
        login_post(l, LOGIN_EV_FAIL);
        return;
    }
    h->ev = *l->pdu;
    if (len > 0)
        memcpy(h->data, l->pdu_data, len);
    l->nheld++;
}

static void
login_logged_in(struct iscsi_login *l)
{
    struct login_result res = {
        .sid = l->sid,
        .cid = l->cfg.cid,
        .ep = l->ep,
        .tsih = l->nego.tsih,
        .tpgt = l->nego.tpgt,
        .params = l->nego.params,
        .auth_method = auth_method_name(&l->nego.auth),
        .portal = l->portal,
        .peer = l->addrs[l->iaddr],
        .moved = !portal_same(&l->base, &l->cfg.portal),
        .moved_to = l->base,
        .redirects = l->redirects,
        .retries = l->retries,
    };

    memcpy(res.target_alias, l->nego.target_alias, sizeof(res.target_alias));
    l->state = LOGIN_UP;
    loop_timer_stop(l->loop, &l->deadline);
    loop_timer_stop(l->loop, &l->step);
    ctl_watch_del(&l->watch);
    login_config_wipe(&l->cfg);
    if (!l->reported) {
        l->reported = true;
        l->cb.done(l->cb.user, &res, NULL);
    }
    for (uint32_t i = 0; i < l->nheld; i++) {
        ctl_dispatch(l->ctl, &l->held[i].ev, l->held[i].data);
        free(l->held[i].data);
    }
    l->nheld = 0;
    nego_fini(&l->nego);
}

/* From a working state; l->err or l->after say what comes after. */
void
login_drain(struct iscsi_login *l)
{
    login_connect_stop(l);
    for (; l->nheld > 0; l->nheld--)
        free(l->held[l->nheld - 1].data);
    loop_timer_start(l->loop, &l->step, l->cfg.teardown_timeout_ms * LOOP_NS_PER_MS);
    if (l->pending == 0)
        login_post(l, LOGIN_EV_REPLIED);
}

static void
login_expired(struct iscsi_login *l)
{
    char where[PORTAL_TEXT_MAX];

    l->err.code = 0;
    (void)lunette_fail(&l->err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, l->cfg.login_timeout_ms,
                       "login to %s timed out after %u ms: %s",
                       portal_format(&l->portal, where, sizeof(where)), l->cfg.login_timeout_ms,
                       waits_for[l->state]);
    login_drain(l);
}

static void
login_canceled(struct iscsi_login *l)
{
    l->after = LOGIN_AFTER_GIVE_UP;
    (void)lunette_fail(&l->err, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the login was canceled");
    login_drain(l);
}

/* Status-Class 3: l->err says what the target said. */
static void
login_retry(struct iscsi_login *l)
{
    if (l->retries < l->cfg.max_retries) {
        l->retries++;
        l->after = LOGIN_AFTER_DELAY;
    }
    login_drain(l);
}

static void
login_canceled_late(struct iscsi_login *l)
{
    l->after = LOGIN_AFTER_GIVE_UP;
    (void)lunette_fail(&l->err, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the login was canceled");
}

static void
login_no_more_tries(struct iscsi_login *l)
{
    if (l->after == LOGIN_AFTER_GIVE_UP)
        return;
    l->after = LOGIN_AFTER_GIVE_UP;
    if (l->err.code == 0)
        (void)lunette_fail(&l->err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, l->cfg.login_timeout_ms,
                           "the login ended while it followed a redirection");
}

static void
undone(struct undo *u)
{
    struct iscsi_login *l = container_of(u, struct iscsi_login, undo);

    ctl_watch_del(&l->watch);
    if (l->cfg.kind == LOGIN_NEW)
        l->have_session = false;
    if (l->cfg.kind != LOGIN_REOPEN)
        l->have_conn = false;
    l->bound = false;
    l->ep = 0;
    nego_fini(&l->nego);
    loop_timer_stop(l->loop, &l->step);
    login_post(l, l->after == LOGIN_AFTER_AGAIN   ? LOGIN_EV_AGAIN
                  : l->after == LOGIN_AFTER_DELAY ? LOGIN_EV_DELAY
                                                  : LOGIN_EV_GIVE_UP);
}

static void
login_teardown(struct iscsi_login *l)
{
    bool reopen = l->cfg.kind == LOGIN_REOPEN;

    assert(l->pending == 0);
    l->undo = (struct undo){
        .ctl = l->ctl,
        .sid = l->sid,
        .conns = {{.cid = l->cfg.cid,
                   .ep = l->ep,
                   .stop = l->bound,
                   .destroy = l->have_conn && !reopen}},
        .nconns = 1,
        .how = reopen ? STOP_CONN_RECOVER : STOP_CONN_TERM,
        .destroy_session = l->have_session && l->cfg.kind == LOGIN_NEW,
        .done = undone,
    };
    undo_start(&l->undo);
}

static void
login_wait_for_retry(struct iscsi_login *l)
{
    uint32_t shift = l->retries > 6 ? 6 : l->retries - 1;

    assert(l->retries > 0);
    l->after = LOGIN_AFTER_GIVE_UP;
    l->portal = l->base; /* LGN-17: a temporary move holds for one attempt only */
    l->nvisited = 0;
    loop_timer_start(l->loop, &l->step,
                     ((uint64_t)l->cfg.retry_delay_ms << shift) * LOOP_NS_PER_MS);
}

static void
tell_failure(struct iscsi_login *l)
{
    struct lunette_error err = l->err;

    loop_timer_stop(l->loop, &l->deadline);
    loop_timer_stop(l->loop, &l->step);
    assert(err.code < 0);
    if (l->reported)
        return;
    l->reported = true;
    l->cb.done(l->cb.user, NULL, &err);
}

/* The data plane does not answer: the owner need not wait for it, we go on. */
static void
login_report_untidy(struct iscsi_login *l)
{
    login_no_more_tries(l);
    log_line(l->loop->log, LOG_LEVEL_WARN, "login: %s for %u ms", waits_for[l->state],
             l->cfg.teardown_timeout_ms);
    tell_failure(l);
}

static void
login_report(struct iscsi_login *l)
{
    l->state = LOGIN_DOWN;
    login_config_wipe(&l->cfg);
    tell_failure(l);
}

/* ---- the interface ------------------------------------------------------------------------- */

static void
on_begin(struct loop_work *w)
{
    struct iscsi_login *l = container_of(w, struct iscsi_login, begin);

    login_post(l, l->cancel ? LOGIN_EV_CANCEL : LOGIN_EV_BEGIN);
}

static void
on_deadline(struct loop_timer *t)
{
    struct iscsi_login *l = container_of(t, struct iscsi_login, deadline);

    login_post(l, LOGIN_EV_DEADLINE);
}

static void
on_step(struct loop_timer *t)
{
    struct iscsi_login *l = container_of(t, struct iscsi_login, step);

    login_post(l, LOGIN_EV_STEP);
}

static void
session_login_task(struct iscsi_login *l)
{
    TRACE(l->loop, session_login_task, l->sid, 0);
    loop_timer_start(l->loop, &l->deadline, l->cfg.login_timeout_ms * LOOP_NS_PER_MS);
    loop_defer(l->loop, &l->begin);
}

int
login_start(struct ctl *ctl, const struct login_config *cfg, const struct login_callbacks *cb,
            struct iscsi_login **ret, struct lunette_error *err)
{
    struct iscsi_login *l = calloc(1, sizeof(*l));
    int r;

    assert(cb->done != NULL);
    if (l == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    l->ctl = ctl;
    l->loop = ctl_loop(ctl);
    l->cfg = *cfg;
    l->cb = *cb;
    l->portal = l->base = cfg->portal;
    l->sid = cfg->kind == LOGIN_NEW ? 0 : cfg->sid;
    l->have_session = cfg->kind != LOGIN_NEW;
    l->have_conn = cfg->kind == LOGIN_REOPEN;
    l->orphan.destroy = destroy_orphan;
    list_init(&l->orphan.node);
    ctl_watch_init(&l->watch, on_event);
    loop_work_init(&l->begin, on_begin);
    loop_timer_init(&l->deadline, on_deadline);
    loop_timer_init(&l->step, on_step);
    login_connect_init(l);
    r = login_config_check(&l->cfg, err);
    if (r < 0) {
        destroy(l);
        return r;
    }
    session_login_task(l);
    *ret = l;
    return 0;
}

void
login_cancel(struct iscsi_login *l)
{
    if (ended(l) || l->cancel)
        return;
    l->cancel = true;
    loop_defer(l->loop, &l->begin); /* no callback from inside a call */
}

void
login_free(struct iscsi_login **pl)
{
    struct iscsi_login *l = *pl;

    if (l == NULL)
        return;
    *pl = NULL;
    l->reported = l->abandoned = true;
    if (ended(l)) {
        if (!l->running)
            destroy(l);
        return; /* else login_post does it */
    }
    ctl_adopt(l->ctl, &l->orphan);
    login_post(l, LOGIN_EV_CANCEL);
}

bool
login_error_retryable(const struct lunette_error *err)
{
    switch (err->domain) {
    case LUNETTE_DOM_TIMEOUT:
    case LUNETTE_DOM_CONNECT:
        return true;
    case LUNETTE_DOM_LOGIN:
        return err->detail >> 8 == ISCSI_LOGIN_TARGET_ERROR;
    case LUNETTE_DOM_OS:
    case LUNETTE_DOM_USAGE:
    case LUNETTE_DOM_PROTO:
    case LUNETTE_DOM_SCSI:
    case LUNETTE_DOM_NOTFOUND:
        break;
    }
    return false;
}
