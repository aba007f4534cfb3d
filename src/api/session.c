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
#include "wire/bend.h"
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
    if (url_has_scheme(where))
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

bool
api_session_is_up(const struct lunette_session *s)
{
    return s->logged_in && !s->dead && s->logout == NULL;
}

/* ---- what happens to a session -------------------------------------------------------------- */

static void
session_died(struct lunette_session *s, const struct lunette_error *why)
{
    s->dead = true;
    s->why = *why;
    api_ping_failed(s, -ENOTCONN);
    api_units_lost(s);
}

static void session_on_logout_retry(struct loop_timer *t);

static void
session_asked_out(void *user, const struct lunette_error *err)
{
    struct lunette_session *s = user;
    struct lunette_error why;

    if (err == NULL)
        (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the target asked for a logout; the session was closed in order");
    else
        (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                           "the target asked for a logout; the session was dropped: %s", err->msg);
    assert(s->logout != NULL);
    logout_free(&s->logout);
    s->logged_in = false;
    session_died(s, &why);
    if (s->closed != NULL)
        loop_defer(s->ctx->loop, &s->close_work);
}

static void
session_logout_config(const struct lunette_session *s, struct logout_config *cfg)
{
    *cfg = (struct logout_config){
        .sid = s->sid, .nconns = 1, .timeout_ms = 5000, .skip_request = s->dead};
    cfg->conns[0].cid = s->cid;
    cfg->conns[0].ep = s->ep;
}

/* RFC 7143 11.9.1: a logout request, and a request to negotiate which we do not grant, end the
 * session in order. */
static void
session_answer_async(struct lunette_session *s)
{
    struct logout_config cfg;

    session_logout_config(s, &cfg);
    ctl_watch_del(&s->watch);
    if (session_logout_task(s->ctx->ctl, &cfg, session_asked_out, s, &s->logout) == 0)
        return;
    ctl_watch_add(s->ctx->ctl, &s->watch, s->sid, s->cid);
    loop_timer_start(s->ctx->loop, &s->logout_retry, LOGOUT_RETRY_MS * LOOP_NS_PER_MS);
}

static void
session_recv_async(struct lunette_session *s, const struct bhs_async *a)
{
    if (a->event != ISCSI_ASYNC_LOGOUT_REQUEST && a->event != ISCSI_ASYNC_NEGOTIATE)
        return;
    log_line(s->ctx->loop->log, LOG_LEVEL_WARN, "%s asks for a logout", s->target_name);
    session_answer_async(s);
}

/* Events were dropped for want of memory; one may have told that the connection was lost, or have
 * been the answer to a ping. */
static void
session_lost_events(struct lunette_session *s)
{
    struct lunette_error why;

    log_line(s->ctx->loop->log, LOG_LEVEL_WARN, "%s: events were lost for want of memory",
             s->target_name);
    if (!dataplane_conn_is_down(s->ctx->dp, s->sid, s->cid)) {
        api_ping_failed(s, -ENOMEM);
        return;
    }
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                       "the connection was lost; there was no memory to tell why");
    session_died(s, &why);
}

static void
session_conn_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct lunette_session *s = container_of(w, struct lunette_session, watch);
    const struct bhs *h = &ev->u.recv_pdu.hdr;

    if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        session_died(s, &ev->u.conn_error.why);
        return;
    }
    if (ev->type == ISCSI_KEVENT_LOST) {
        session_lost_events(s);
        return;
    }
    if (ev->type != ISCSI_KEVENT_RECV_PDU || s->logout != NULL)
        return;
    if (pdu_opcode(h) == ISCSI_OP_ASYNC)
        session_recv_async(s, (const void *)h);
    else if (pdu_opcode(h) == ISCSI_OP_NOP_IN)
        api_ping_answered(s, data, ev->u.recv_pdu.data_len);
}

/* ---- up ------------------------------------------------------------------------------------- */

/* Logs the event with the target's name, which the midlayer does not know. */
static void
api_stack_event(void *user, enum stack_event ev, struct scsi_device *dev, enum scsi_event why)
{
    struct lunette_session *s = user;

    (void)dev;
    if (ev != STACK_EV_CAME)
        log_line(s->ctx->loop->log, LOG_LEVEL_INFO, "%s: %s", s->target_name,
                 stack_event_name(why));
}

static const struct stack_events api_stack_events = {.event = api_stack_event};

static int
api_attach(struct lunette_session *s, struct lunette_error *err)
{
    struct scsi_host *h = dataplane_host(s->ctx->dp, s->sid);
    struct stack_params p = {.timeout_ms = s->url->timeout_ms,
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

/* Keeps of the login's result what is asked for later, and no more: it is large, and sessions are
 * many. */
static int
session_keep_result(struct lunette_session *s, const struct login_result *res,
                    struct lunette_error *err)
{
    char portal[PORTAL_TEXT_MAX];

    s->sid = res->sid;
    s->cid = res->cid;
    s->ep = res->ep;
    s->tsih = res->tsih;
    s->tpgt = res->tpgt;
    s->params = res->params;
    s->auth_method = res->auth_method;
    s->bends = res->bends;
    s->portal = strdup(portal_format(&res->portal, portal, sizeof(portal)));
    if (res->target_alias[0] != '\0')
        s->target_alias = strdup(res->target_alias);
    if (s->portal == NULL || (res->target_alias[0] != '\0' && s->target_alias == NULL))
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    return 0;
}

static void
session_login_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct lunette_session *s = user;
    struct lunette_error why;

    login_free(&s->login);
    if (res == NULL) {
        why = *err;
        session_came_up(s, &why);
        return;
    }
    s->logged_in = true;
    ctl_watch_add(s->ctx->ctl, &s->watch, res->sid, res->cid);
    session_came_up(s,
                    session_keep_result(s, res, &why) < 0 || api_attach(s, &why) < 0 ? &why : NULL);
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
session_start_login(struct lunette_session *s, const char *url, struct lunette_error *err)
{
    struct login_callbacks cb = {session_login_done, s};
    int r;

    s->url = calloc(1, sizeof(*s->url));
    if (s->url == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    r = api_url_of(s->ctx, url, false, s->url, err);
    if (r < 0)
        return r;
    if (!s->url->has_target)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: the target's name is missing: iscsi://host[:port]/target[/lun]; "
                            "`lunette discover` lists them");
    s->url->cfg.zero_copy |= s->zero_copy;
    r = session_take_names(s, err);
    return r < 0 ? r : login_start(s->ctx->ctl, &s->url->cfg, &cb, &s->login, err);
}

/* Frees what is left when the session is gone; s itself is its owner's. */
static void
session_release(struct lunette_session *s)
{
    ctl_watch_del(&s->watch);
    stack_detach(&s->stack);
    api_units_free(s);
    if (s->url != NULL)
        url_wipe(s->url);
    free(s->url);
    free(s->target_name);
    free(s->initiator_name);
    free(s->target_alias);
    free(s->portal);
    s->url = NULL;
    s->target_name = s->initiator_name = s->target_alias = s->portal = NULL;
}

static void
session_close_work(struct loop_work *w)
{
    struct lunette_session *s = container_of(w, struct lunette_session, close_work);

    assert(!s->logged_in && s->login == NULL && s->logout == NULL);
    session_release(s);
    s->closed(s);
}

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
    ctl_watch_init(&s->watch, session_conn_event);
    loop_work_init(&s->close_work, session_close_work);
    loop_timer_init(&s->logout_retry, session_on_logout_retry);
    r = session_start_login(s, url, err);
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
 * outlive the stack otherwise. */
static void
session_log_out(struct lunette_session *s)
{
    struct logout_config cfg;

    assert(s->logged_in && s->logout == NULL);
    session_logout_config(s, &cfg);
    if (session_logout_task(s->ctx->ctl, &cfg, session_logged_out, s, &s->logout) < 0)
        loop_timer_start(s->ctx->loop, &s->logout_retry, LOGOUT_RETRY_MS * LOOP_NS_PER_MS);
}

static void
session_on_logout_retry(struct loop_timer *t)
{
    struct lunette_session *s = container_of(t, struct lunette_session, logout_retry);

    if (s->closed != NULL)
        session_log_out(s);
    else if (!s->dead)
        session_answer_async(s);
}

void
api_session_close_start(struct lunette_session *s, void (*closed)(struct lunette_session *s))
{
    assert(s->closed == NULL && closed != NULL);
    s->closed = closed;
    login_free(&s->login); /* a login that is given up closes its connection by itself */
    if (s->logout != NULL)
        return; /* the target has asked for a logout: session_asked_out goes on */
    ctl_watch_del(&s->watch);
    loop_timer_stop(s->ctx->loop, &s->logout_retry);
    if (s->logged_in)
        session_log_out(s);
    else
        loop_defer(s->ctx->loop, &s->close_work);
}

const char *
lunette_bend_text(unsigned n)
{
    return bend_text(n);
}

void
api_session_info(const struct lunette_session *s, struct lunette_session_info *ret)
{
    const struct iscsi_params *p = &s->params;
    const struct iscsi_session *dp = dataplane_session(s->ctx->dp, s->sid);

    memset(ret, 0, sizeof(*ret));
    ret->bends = s->bends | (dp != NULL ? dp->bends : 0);
    (void)snprintf(ret->target_name, sizeof(ret->target_name), "%s", s->target_name);
    (void)snprintf(ret->initiator_name, sizeof(ret->initiator_name), "%s", s->initiator_name);
    if (s->target_alias != NULL)
        (void)log_clean(ret->target_alias, sizeof(ret->target_alias), s->target_alias,
                        strlen(s->target_alias));
    if (s->portal != NULL) { /* it has logged in */
        (void)snprintf(ret->portal, sizeof(ret->portal), "%s", s->portal);
        (void)snprintf(ret->auth_method, sizeof(ret->auth_method), "%s", s->auth_method);
    }
    memcpy(ret->isid, s->isid, sizeof(ret->isid));
    ret->tsih = s->tsih;
    ret->tpgt = (uint16_t)(s->tpgt < 0 ? 0 : s->tpgt);
    ret->header_digest = p->header_digest == ISCSI_DIGEST_CRC32C;
    ret->data_digest = p->data_digest == ISCSI_DIGEST_CRC32C;
    ret->initial_r2t = p->initial_r2t;
    ret->immediate_data = p->immediate_data;
    ret->max_recv_data_segment_length = p->max_recv_dseg;
    ret->max_xmit_data_segment_length = p->max_xmit_dseg;
    ret->max_burst_length = p->max_burst;
    ret->first_burst_length = p->first_burst;
    ret->max_outstanding_r2t = p->max_outstanding_r2t;
    ret->max_connections = p->max_connections;
    ret->error_recovery_level = p->erl;
    ret->time2wait = p->time2wait;
    ret->time2retain = p->time2retain;
}
