/* SPDX-License-Identifier: MIT */
/* api/session.c - makes a session with a stack on its host from a URL, and ends it.  Nothing here
 * waits. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/ping.h"
#include "api/url_text.h"
#include "wire/pdu.h"

/* A random number and a qualifier that counts (RFC 7143 11.12.5), so that no two sessions of one
 * context are the same SCSI initiator port. */
static void
session_next_isid(struct lunette_ctx *ctx, uint8_t isid[LOGIN_ISID_LEN])
{
    uint8_t *qualifier = ctx->isid + 4;

    if (ctx->isids++ == 0)
        login_isid_random(ctx->loop, ctx->isid);
    else
        st_be16(qualifier, (uint16_t)(ld_be16(qualifier) + 1));
    memcpy(isid, ctx->isid, sizeof(ctx->isid));
}

/* A name is sent as it was typed or told, since there are targets that know it only so. */
static void
session_warn_of_name(const struct lunette_ctx *ctx, const char *whose, const char *name)
{
    const char *odd = iscsi_name_oddity(name);

    if (odd != NULL)
        log_line(ctx->loop->log, LOG_LEVEL_WARN,
                 "name: the %s's name %s is sent as it is, though %s", whose, name, odd);
}

int
api_url_of(struct lunette_ctx *ctx, const char *where, bool discovery, struct api_url *u,
           struct lunette_error *err)
{
    char text[512] = "";
    int r;

    if (where == NULL) /* as getenv(3) has it */
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "URL: there is none (NULL)");
    if (url_scheme_len(where) > 0)
        r = url_parse(where, u, err);
    else if (snprintf(text, sizeof(text), URL_SCHEME "%s", where) < (int)sizeof(text))
        r = url_parse(text, u, err);
    else
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "the address is too long");
    chap_wipe(text, sizeof(text)); /* it may hold a secret, also where it was cut */
    if (r < 0)
        return r;
    if (u->cfg.transport[0] == '\0')
        (void)snprintf(u->cfg.transport, sizeof(u->cfg.transport), "%s", sw_tcp_transport.name);
    if (u->cfg.initiator_name[0] == '\0')
        memcpy(u->cfg.initiator_name, ctx->initiator_name, sizeof(ctx->initiator_name));
    if (!u->has_isid)
        session_next_isid(ctx, u->cfg.isid);
    r = discovery ? url_discovery_credentials(u, err) : url_credentials(u, err);
    if (r < 0) {
        url_wipe(u);
        return r;
    }
    session_warn_of_name(ctx, "initiator", u->cfg.initiator_name);
    if (u->has_target)
        session_warn_of_name(ctx, "target", u->cfg.target_name);
    return 0;
}

/* Keeps of a login's result what is asked for later, and no more: it is large, and sessions are
 * many.  Texts for which there is no memory stay as they were. */
static int
session_take_result(struct lunette_session *s, const struct login_result *res)
{
    char text[PORTAL_TEXT_MAX];
    char *portal = strdup(portal_format(&res->portal, text, sizeof(text)));
    char *alias = res->target_alias[0] != '\0' ? strdup(res->target_alias) : NULL;
    bool short_of = portal == NULL || (res->target_alias[0] != '\0' && alias == NULL);

    s->sid = res->sid;
    s->cid = res->cid;
    s->tsih = res->tsih;
    s->tpgt = res->tpgt;
    s->params = res->params;
    s->auth_method = res->auth_method;
    s->bends |= res->bends;
    if (portal != NULL) {
        free(s->portal);
        s->portal = portal;
    }
    if (alias != NULL || res->target_alias[0] == '\0') {
        free(s->target_alias);
        s->target_alias = alias;
    }
    return short_of ? -ENOMEM : 0;
}

/* ---- what happens to it --------------------------------------------------------------------- */

/* Tells the program; the log has it from others. */
static void
session_report(struct lunette_session *s, enum lunette_event_type type, uint32_t attempt,
               uint64_t next_try_ms, uint64_t down_ns, const struct lunette_error *why)
{
    struct lunette_event ev = {.struct_size = sizeof(ev),
                               .type = type,
                               .attempt = attempt,
                               .session = s,
                               .down_ms =
                                   (int64_t)((down_ns + LOOP_NS_PER_MS / 2) / LOOP_NS_PER_MS),
                               .next_try_ms = (int64_t)next_try_ms,
                               .give_up_ms = api_session_give_up_ms(s, down_ns)};

    if (why != NULL) {
        ev.err = why->code;
        (void)snprintf(ev.why, sizeof(ev.why), "%s", why->msg);
    }
    if (s->held)
        api_events_add(&s->ctx->events, &ev);
}

static void
session_moved(struct lunette_session *s)
{
    api_units_moved(s);
    if (s->moved != NULL)
        s->moved(s);
}

static void
session_timed_out(struct lunette_session *s)
{
    struct lunette_error why;

    api_session_why(s, &why);
    log_line(s->ctx->loop->log, LOG_LEVEL_WARN, "%s: requests fail until the session is back: %s",
             s->target_name, why.msg);
    session_report(s, LUNETTE_EVENT_TIMED_OUT, 0, 0, api_session_down_ns(s), &why);
}

static void
session_lost(void *user, const struct lunette_error *why)
{
    struct lunette_session *s = user;

    s->lost = true;
    s->last_error = why->code;
    free(s->last_text);
    s->last_text = strdup(why->msg);
    api_ping_failed(s, -ENOTCONN);
    session_report(s, LUNETTE_EVENT_CONN_LOST, 0, 0, 0, why);
    if (s->timed_out) /* there is nothing to wait for, and that was told before */
        session_timed_out(s);
    session_moved(s);
}

static void
session_waiting(void *user, uint32_t attempt, uint32_t delay_ms, const struct lunette_error *why)
{
    struct lunette_session *s = user;

    session_report(s, LUNETTE_EVENT_REOPENING, attempt, delay_ms, api_session_down_ns(s), why);
}

static void
session_back(void *user, const struct login_result *res, uint64_t down_ns)
{
    struct lunette_session *s = user;

    session_take_result(s, res);
    s->lost = s->timed_out = false;
    session_report(s, LUNETTE_EVENT_RECOVERED, 0, 0, down_ns, NULL);
    session_moved(s);
}

/* A ping may have gone on the connection that led before. */
static void
session_led(void *user, uint16_t cid)
{
    struct lunette_session *s = user;
    char text[PORTAL_TEXT_MAX], *portal;
    struct reopen_conn conn;

    s->cid = cid;
    if (reopen_get_conn(s->reopen, 0, &conn) && conn.portal != NULL) {
        portal = strdup(portal_format(conn.portal, text, sizeof(text)));
        if (portal != NULL) {
            free(s->portal);
            s->portal = portal;
        }
    }
    api_ping_failed(s, -ENOTCONN);
}

static void
session_conn(void *user, uint16_t cid, const struct lunette_error *why)
{
    struct lunette_session *s = user;
    struct lunette_event ev = {.struct_size = sizeof(ev),
                               .type =
                                   why != NULL ? LUNETTE_EVENT_CONN_DOWN : LUNETTE_EVENT_CONN_UP,
                               .session = s,
                               .cid = cid};
    struct reopen_info info;

    reopen_get_info(s->reopen, &info);
    ev.nconnections = (uint16_t)info.conns;
    ev.nconnections_wanted =
        (uint16_t)(info.conns_wanted < s->params.max_connections ? info.conns_wanted
                                                                 : s->params.max_connections);
    if (why != NULL) {
        ev.err = why->code;
        (void)snprintf(ev.why, sizeof(ev.why), "%s", why->code < 0 ? why->msg : "it has ended");
    }
    if (s->held)
        api_events_add(&s->ctx->events, &ev);
}

static void
session_gave_up(void *user, const struct lunette_error *why)
{
    struct lunette_session *s = user;

    s->lost = s->gone = true;
    api_ping_failed(s, -ENOTCONN);
    session_report(s, LUNETTE_EVENT_GONE, 0, 0, api_session_down_ns(s), why);
    session_moved(s);
}

/* The adapter has lost the session, or has it again: nobody but the data plane tells of that. */
static void
session_by_itself(struct lunette_session *s, enum ipc_session_state state,
                  const struct lunette_error *why)
{
    uint64_t down_ns = api_session_down_ns(s);

    if (state == IPC_SESSION_RUNNING) {
        if (!s->lost)
            return;
        s->lost = s->timed_out = false;
        s->down_since_ns = 0;
        s->times_back++;
        session_report(s, LUNETTE_EVENT_RECOVERED, 0, 0, down_ns, NULL);
        session_moved(s);
        return;
    }
    if (!s->lost) {
        s->down_since_ns = s->ctx->loop->now_ns;
        session_lost(s, why);
    }
    if (state == IPC_SESSION_FAILED && !s->timed_out) {
        s->timed_out = true;
        session_timed_out(s);
    }
}

/* The data plane lets requests fail, or holds them no more. */
static void
session_state_event(struct lunette_session *s, enum ipc_session_state state,
                    const struct lunette_error *why)
{
    struct reopen_info info;
    bool was = s->timed_out;

    reopen_get_info(s->reopen, &info);
    if (s->by_itself && info.state == REOPEN_UP) {
        session_by_itself(s, state, why);
        return;
    }
    if (state != IPC_SESSION_FAILED || info.state == REOPEN_ENDING || info.state == REOPEN_GAVE_UP)
        return;
    s->timed_out = true;
    if (s->lost && !was)
        session_timed_out(s);
}

static void
session_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct lunette_session *s = user;

    if (ev->type == ISCSI_KEVENT_SESSION_STATE)
        session_state_event(s, ev->u.session_state.state, &ev->u.session_state.why);
    else if (ev->type == ISCSI_KEVENT_LOST) /* one may have been the answer to a ping */
        api_ping_failed(s, -ENOMEM);
    else if (ev->type == ISCSI_KEVENT_RECV_PDU &&
             pdu_opcode(&ev->u.recv_pdu.hdr) == ISCSI_OP_NOP_IN)
        api_ping_answered(s, data, ev->u.recv_pdu.data_len);
}

/* ---- up ------------------------------------------------------------------------------------- */

static void
api_stack_event(void *user, enum stack_event ev, struct scsi_device *dev, enum scsi_event why)
{
    (void)ev;
    api_unit_event(user, dev, why);
}

static const struct stack_events api_stack_events = {.event = api_stack_event};

static int
api_attach(struct lunette_session *s, struct lunette_error *err)
{
    struct scsi_host *h = dataplane_host(s->ctx->dp, s->sid);
    struct stack_params p = {.timeout_ms = s->timeout_ms,
                             .queue_depth = s->url->queue_depth,
                             .max_transfer = s->url->max_transfer};
    int r;

    if (h == NULL)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                            "the session was lost right after login");
    r = stack_attach(h, &p, &api_stack_events, s, &s->stack);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    TRACE(s->ctx->loop, session_scan_host, s->sid, 0);
    return 0;
}

static void
session_came_up(struct lunette_session *s, const struct lunette_error *err)
{
    assert(s->url != NULL && s->opened != NULL && s->login == NULL);
    url_wipe(s->url);
    free(s->url);
    s->url = NULL;
    s->opened(s, err);
}

static void
session_login_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct lunette_session *s = user;
    struct lunette_error why;
    int r;

    login_free(&s->login);
    login_gate_leave(&s->turn);
    if (res == NULL) {
        why = *err;
        session_came_up(s, &why);
        return;
    }
    s->logged_in = true;
    reopen_attach(s->reopen, res);
    r = session_take_result(s, res);
    if (r < 0)
        (void)lunette_fail(&why, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    else
        r = api_attach(s, &why);
    session_came_up(s, r < 0 ? &why : NULL);
}

static int
session_log_in(struct lunette_session *s, struct lunette_error *err)
{
    struct login_callbacks cb = {.done = session_login_done, .user = s};

    return login_start(s->ctx->ctl, &s->url->cfg, &cb, &s->login, err);
}

/* It is this session's turn to log in. */
static void
session_passed_gate(struct login_turn *t)
{
    struct lunette_session *s = container_of(t, struct lunette_session, turn);
    struct lunette_error err;

    if (session_log_in(s, &err) == 0)
        return;
    login_gate_leave(t);
    session_came_up(s, &err);
}

static int
session_take_names(struct lunette_session *s, struct lunette_error *err)
{
    s->target_name = strdup(s->url->cfg.target_name);
    s->initiator_name = strdup(s->url->cfg.initiator_name);
    memcpy(s->isid, s->url->cfg.isid, sizeof(s->isid));
    if (s->target_name == NULL || s->initiator_name == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    return 0;
}

static int
session_read_url(struct lunette_session *s, const char *url, struct lunette_error *err)
{
    int r = api_url_of(s->ctx, url, false, s->url, err);

    if (r < 0)
        return r;
    if (!s->url->has_target)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: the target's name is missing: iscsi://host[:port]/target[/lun]; "
                            "`lunette discover` lists them");
    s->url->cfg.zero_copy |= s->zero_copy;
    s->timeout_ms = s->url->timeout_ms;
    s->reopen_max = s->url->reopen_max;
    s->nconnections_wanted = s->url->cfg.nr_connections > 1 ? s->url->cfg.nr_connections : 1;
    s->erl_wanted = s->url->cfg.offer.erl;
    return login_config_check(&s->url->cfg, err);
}

int
api_session_keep(struct lunette_session *s, const struct login_config *cfg,
                 struct lunette_error *err)
{
    static const struct reopen_callbacks calls = {.lost = session_lost,
                                                  .waiting = session_waiting,
                                                  .back = session_back,
                                                  .led = session_led,
                                                  .conn = session_conn,
                                                  .gave_up = session_gave_up,
                                                  .event = session_event};
    const struct reopen_config rc = {.login = cfg, .reopen_max = s->reopen_max};
    struct reopen_callbacks cb = calls;

    cb.user = s;
    return reopen_new(s->ctx->ctl, &s->ctx->gate, &rc, &cb, &s->reopen, err);
}

static bool
session_is_by_itself(const struct lunette_session *s)
{
    const struct iscsi_transport *tt = transport_find(&s->ctx->registry, s->url->cfg.transport);

    return tt != NULL && (tt->caps & CAP_LOGIN_OFFLOAD);
}

static int
session_start(struct lunette_session *s, const char *url, struct lunette_error *err)
{
    int r;

    s->url = calloc(1, sizeof(*s->url));
    if (s->url == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    r = session_read_url(s, url, err);
    if (r == 0)
        r = session_take_names(s, err);
    if (r == 0)
        s->by_itself = session_is_by_itself(s);
    if (r < 0)
        return r;
    r = api_session_keep(s, &s->url->cfg, err);
    if (r < 0 || !login_gate_enter(&s->ctx->gate, &s->turn))
        return r;
    r = session_log_in(s, err);
    if (r < 0)
        login_gate_leave(&s->turn);
    return r;
}

/* Frees what is left when the session is gone; s itself is its owner's. */
static void
session_release(struct lunette_session *s)
{
    reopen_free(&s->reopen);
    stack_detach(&s->stack);
    api_units_free(s);
    if (s->url != NULL)
        url_wipe(s->url);
    free(s->url);
    free(s->target_name);
    free(s->initiator_name);
    free(s->target_alias);
    free(s->portal);
    free(s->last_text);
    s->url = NULL;
    s->target_name = s->initiator_name = s->target_alias = s->portal = s->last_text = NULL;
}

static void
session_close_work(struct loop_work *w)
{
    struct lunette_session *s = container_of(w, struct lunette_session, close_work);

    assert(!s->logged_in && s->login == NULL && s->logout == NULL);
    session_release(s);
    s->closed(s);
}

static void session_on_logout_retry(struct loop_timer *t);

int
api_session_open_start(struct lunette_ctx *ctx, const char *url, struct lunette_session *s,
                       void (*opened)(struct lunette_session *s, const struct lunette_error *err),
                       struct lunette_error *err)
{
    int r;

    assert(s->ctx == NULL && opened != NULL);
    s->ctx = ctx;
    s->opened = opened;
    list_init(&s->luns);
    login_turn_init(&s->turn, session_passed_gate);
    loop_work_init(&s->close_work, session_close_work);
    loop_timer_init(&s->logout_retry, session_on_logout_retry);
    r = session_start(s, url, err);
    if (r < 0)
        session_release(s);
    return r;
}

/* ---- down ----------------------------------------------------------------------------------- */

static void
session_logged_out(void *user, const struct lunette_error *err)
{
    struct lunette_session *s = user;

    (void)err; /* the session is gone in any case */
    logout_free(&s->logout);
    s->logged_in = false;
    loop_defer(s->ctx->loop, &s->close_work);
}

/* A session that cannot be logged out for want of memory stays logged in until there is some, or
 * until it is its turn to use that which is kept for logouts: what is under way on its host would
 * outlive the stack otherwise.  For the same reason it is waited for, as long as a device does not
 * give back the memory of commands, say. */
static void
session_log_out(struct lunette_session *s)
{
    struct logout_config cfg = {
        .sid = s->sid, .nconns = 1, .skip_request = s->no_request, .until_gone = true};

    assert(s->logged_in && s->logout == NULL);
    cfg.conns[0].cid = s->cid;
    cfg.conns[0].ep = s->ep;
    if (session_logout_task(s->ctx->ctl, &cfg, session_logged_out, s, &s->logout) < 0)
        loop_timer_start(s->ctx->loop, &s->logout_retry, LOGOUT_RETRY_MS * LOOP_NS_PER_MS);
}

static void
session_on_logout_retry(struct loop_timer *t)
{
    session_log_out(container_of(t, struct lunette_session, logout_retry));
}

/* Ends the attempts to log in again, and keeps of them what the logout needs. */
static void
session_end_reopen(struct lunette_session *s)
{
    struct logout_config cfg;

    reopen_logout_config(s->reopen, &cfg);
    assert(cfg.nconns == 1);
    s->sid = cfg.sid;
    s->cid = cfg.conns[0].cid;
    s->ep = cfg.conns[0].ep;
    s->no_request = cfg.skip_request;
    reopen_free(&s->reopen);
}

void
api_session_close_start(struct lunette_session *s, void (*closed)(struct lunette_session *s))
{
    assert(s->closed == NULL && closed != NULL);
    s->closed = closed;
    login_gate_leave(&s->turn);
    login_free(&s->login); /* a login that is given up closes its connection by itself */
    api_ping_failed(s, -ENOTCONN);
    if (!s->logged_in) {
        loop_defer(s->ctx->loop, &s->close_work);
        return;
    }
    session_end_reopen(s);
    session_log_out(s);
}
