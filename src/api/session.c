/* SPDX-License-Identifier: MIT */
/* api/session.c - from a URL to a session with a midlayer on it, and back. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/ping.h"
#include "wire/pdu.h"

#define SPINUP_MIN_S 30

int
api_url_of(struct lunette_ctx *ctx, const char *where, struct api_url *u, struct lunette_error *err)
{
    char text[512];
    const struct iscsi_transport *tt = transport_find(&ctx->registry, sw_tcp_transport.name);
    int r;

    if (strncmp(where, "iscsi://", 8) != 0) {
        if (snprintf(text, sizeof(text), "iscsi://%s/", where) >= (int)sizeof(text))
            return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "the address is too long");
        where = text;
    }
    r = url_parse(where, u, err);
    if (where == text)
        chap_wipe(text, sizeof(text));
    if (r < 0)
        return r;
    (void)snprintf(u->cfg.transport, sizeof(u->cfg.transport), "%s", tt->name);
    u->cfg.caps = tt->caps;
    u->cfg.max_recv_dlength = tt->max_recv_dlength;
    if (u->cfg.initiator_name[0] == '\0')
        memcpy(u->cfg.initiator_name, ctx->initiator_name, sizeof(ctx->initiator_name));
    if (!u->has_isid)
        login_isid_random(ctx->loop, u->cfg.isid);
    r = url_credentials(u, err);
    if (r < 0)
        url_wipe(u);
    return r;
}

/* ---- what happens to a session -------------------------------------------------------------- */

static void
died(struct api_session *s, const struct lunette_error *why)
{
    s->dead = true;
    s->why = *why;
    api_ping_failed(s);
}

static void
asked_out(void *user, const struct lunette_error *err)
{
    struct api_session *s = user;
    struct lunette_error why;

    (void)err;
    logout_free(&s->logout);
    (void)lunette_fail(&why, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                       "the target asked for a logout; the session was closed in order");
    s->logged_in = false;
    died(s, &why);
}

static void
one_conn(const struct api_session *s, struct logout_config *cfg)
{
    *cfg = (struct logout_config){
        .sid = s->res.sid, .nconns = 1, .timeout_ms = 5000, .skip_request = s->dead};
    cfg->conns[0].cid = s->res.cid;
    cfg->conns[0].ep = s->res.ep;
}

/* RFC 7143 11.9.1: a logout request, and a request to negotiate which we do not grant, end the
 * session in order. */
static void
recv_async(struct api_session *s, const struct bhs_async *a)
{
    struct logout_config cfg;

    if (a->event != ISCSI_ASYNC_LOGOUT_REQUEST && a->event != ISCSI_ASYNC_NEGOTIATE)
        return;
    log_line(s->ctx->loop->log, LOG_LEVEL_WARN, "%s asks for a logout", s->url.cfg.target_name);
    one_conn(s, &cfg);
    ctl_watch_del(&s->watch);
    if (session_logout_task(s->ctx->ctl, &cfg, asked_out, s, &s->logout) < 0)
        ctl_watch_add(s->ctx->ctl, &s->watch, s->res.sid, s->res.cid);
}

static void
conn_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct api_session *s = container_of(w, struct api_session, watch);
    const struct bhs *h = &ev->u.recv_pdu.hdr;

    if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        died(s, &ev->u.conn_error.why);
        return;
    }
    if (ev->type != ISCSI_KEVENT_RECV_PDU || s->logout != NULL)
        return;
    if (pdu_opcode(h) == ISCSI_OP_ASYNC)
        recv_async(s, (const void *)h);
    else if (pdu_opcode(h) == ISCSI_OP_NOP_IN)
        api_ping_answered(s, data, ev->u.recv_pdu.data_len);
}

/* ---- login ---------------------------------------------------------------------------------- */

struct login_wait {
    struct api_session *s;
    bool done;
    struct lunette_error err; /* code 0: logged in */
};

static void
login_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct login_wait *w = user;

    w->done = true;
    if (res == NULL) {
        w->err = *err;
        return;
    }
    w->s->res = *res;
    w->s->logged_in = true;
    ctl_watch_add(w->s->ctx->ctl, &w->s->watch, res->sid, res->cid);
}

static int
login(struct api_session *s, struct lunette_error *err)
{
    struct login_wait w = {.s = s};
    struct login_callbacks cb = {login_done, &w};
    int r = login_start(s->ctx->ctl, &s->url.cfg, &cb, &s->login, err);

    if (r == 0)
        r = api_wait(s->ctx, &w.done, err);
    login_free(&s->login);
    if (r == 0 && w.err.code != 0) {
        r = w.err.code;
        if (err != NULL)
            *err = w.err;
    }
    return r;
}

/* What a midlayer wants to tell beyond its own log lines. */
static void
scsi_event(void *user, struct scsi_device *dev, enum scsi_event ev)
{
    struct api_session *s = user;

    (void)dev;
    log_line(s->ctx->loop->log, LOG_LEVEL_INFO, "%s: %s", s->url.cfg.target_name,
             scsi_event_name(ev));
}

static const struct scsi_events scsi_events = {.event = scsi_event};

/* Patience with a disk that becomes ready: the midlayer's own, but not much more than who asks for
 * quicker answers has. */
static uint32_t
spinup_s(uint32_t timeout_ms)
{
    uint32_t s = timeout_ms / 1000;

    return timeout_ms == 0 ? 0 : s > SPINUP_MIN_S ? s : SPINUP_MIN_S;
}

static int
attach(struct api_session *s, struct lunette_error *err)
{
    struct scsi_host *h = dataplane_host(s->ctx->dp, s->res.sid);
    struct scsi_params p = {.timeout_ms = s->url.timeout_ms,
                            .queue_depth = s->url.queue_depth,
                            .max_transfer = s->url.max_transfer,
                            .spinup_s = spinup_s(s->url.timeout_ms)};
    int r;

    if (h == NULL)
        return lunette_fail(err, -ENOTCONN, LUNETTE_DOM_CONNECT, 0,
                            "the session was lost right after login");
    r = scsi_attach(h, &p, &scsi_events, s, &s->target);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no memory");
    TRACE(s->ctx->loop, session_scan_host, s->res.sid, 0);
    return 0;
}

int
api_session_open(struct lunette_ctx *ctx, const char *url, struct api_session *s,
                 struct lunette_error *err)
{
    int r;

    s->ctx = ctx;
    ctl_watch_init(&s->watch, conn_event);
    r = api_url_of(ctx, url, &s->url, err);
    if (r < 0)
        return r;
    if (!s->url.has_target) {
        url_wipe(&s->url);
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "URL: the target's name is missing: iscsi://host[:port]/target[/lun]; "
                            "`lunette discover` lists them");
    }
    r = login(s, err);
    url_wipe(&s->url);
    if (r == 0)
        r = attach(s, err);
    if (r < 0)
        api_session_close(s);
    return r;
}

static void
logged_out(void *user, const struct lunette_error *err)
{
    (void)err; /* the session is gone in any case */
    *(bool *)user = true;
}

void
api_session_close(struct api_session *s)
{
    struct iscsi_logout *l = NULL;
    struct logout_config cfg;
    bool done = false;

    while (s->logout != NULL) { /* the target's wish is being granted */
        if (loop_run(s->ctx->loop, -1) < 0)
            break;
    }
    if (s->logged_in) {
        one_conn(s, &cfg);
        ctl_watch_del(&s->watch);
        if (session_logout_task(s->ctx->ctl, &cfg, logged_out, &done, &l) == 0)
            (void)api_wait(s->ctx, &done, NULL);
        logout_free(&l);
        s->logged_in = false;
    }
    ctl_watch_del(&s->watch);
    scsi_detach(&s->target);
    url_wipe(&s->url);
}

void
api_session_info(const struct api_session *s, struct lunette_session_info *ret)
{
    const struct login_result *r = &s->res;
    const struct iscsi_params *p = &r->params;

    memset(ret, 0, sizeof(*ret));
    (void)snprintf(ret->target_name, sizeof(ret->target_name), "%s", s->url.cfg.target_name);
    (void)snprintf(ret->initiator_name, sizeof(ret->initiator_name), "%s",
                   s->url.cfg.initiator_name);
    (void)log_clean(ret->target_alias, sizeof(ret->target_alias), r->target_alias,
                    strlen(r->target_alias));
    (void)portal_format(&r->portal, ret->portal, sizeof(ret->portal));
    (void)snprintf(ret->auth_method, sizeof(ret->auth_method), "%s", r->auth_method);
    memcpy(ret->isid, s->url.cfg.isid, sizeof(ret->isid));
    ret->tsih = r->tsih;
    ret->tpgt = (uint16_t)(r->tpgt < 0 ? 0 : r->tpgt);
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
