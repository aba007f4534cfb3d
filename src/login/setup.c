/* SPDX-License-Identifier: MIT */
/* login/setup.c - steps two and three of a login: requests to the data plane, in the order in which
 * Linux's iscsid sends them. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "login/task.h"

/* Sends SET_PARAMs; after one that could not be sent it sends no more. */
struct setter {
    struct iscsi_login *l;
    bool ok;
};

static void
set_text(struct setter *s, enum iscsi_param p, const char *value)
{
    struct iscsi_login *l = s->l;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .sid = l->sid, .cid = l->cfg.cid};
    size_t len = strlen(value);

    if (!s->ok)
        return;
    assert(len < sizeof(ev.u.set_param.value));
    ev.u.set_param.param = p;
    memcpy(ev.u.set_param.value, value, len + 1);
    s->ok = login_request(l, &ev, NULL, 0, login_on_reply);
}

/* ---- session, connection, descriptor ------------------------------------------------------- */

static void
on_session(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_login *l = user;

    if (rep->err == 0) {
        l->sid = rep->sid;
        l->have_session = true;
        if (l->cb.made != NULL && l->op.state == CTL_OP_RUNNING)
            l->cb.made(l->cb.user, l->sid);
    }
    login_replied(l, rep);
}

void
session_ipc_create(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};

    loop_timer_stop(l->loop, &l->step);
    l->connect_ns = l->loop->now_ns - l->connect_began_ns;
    TRACE(l->loop, session_ipc_create, l->sid, l->cfg.cid);
    if (l->have_session) {
        if (l->pending == 0)
            login_post(l, LOGIN_EV_REPLIED);
        return;
    }
    memcpy(ev.u.create_session.transport, l->cfg.transport, sizeof(ev.u.create_session.transport));
    ev.u.create_session.initial_cmdsn = (uint32_t)loop_random(l->loop);
    ev.u.create_session.cmds_max = l->cfg.cmds_max;
    (void)login_request(l, &ev, NULL, 0, on_session);
}

static void
on_conn(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_login *l = user;

    if (rep->err == 0)
        l->have_conn = true;
    login_replied(l, rep);
}

void
login_create_conn(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_CONN, .sid = l->sid, .cid = l->cfg.cid};

    ctl_watch_add(l->ctl, &l->watch, l->sid, l->cfg.cid);
    if (l->have_conn)
        login_post(l, LOGIN_EV_REPLIED);
    else
        (void)login_request(l, &ev, NULL, 0, on_conn);
}

static void
on_bound(void *user, const struct iscsi_reply *rep)
{
    struct iscsi_login *l = user;

    if (rep->err == 0)
        l->bound = true;
    login_replied(l, rep);
}

void
login_bind_conn(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {
        .type = ISCSI_UEVENT_BIND_CONN, .sid = l->sid, .cid = l->cfg.cid, .ep = l->ep};
    struct setter s = {.l = l, .ok = true};
    int fd = -1;

    assert((l->stream != NULL) != (l->ep != 0)); /* one of the two is what is handed over */
    if (l->cfg.transport_options[0] != '\0')
        set_text(&s, ISCSI_PARAM_OPTIONS, l->cfg.transport_options);
    if (!s.ok)
        return;
    if (l->stream != NULL) {
        fd = stream_release(l->stream);
        l->stream = NULL;
        if (fd < 0) {
            (void)lunette_fail(login_err(l), fd, LUNETTE_DOM_OS, (uint32_t)-fd,
                               "the socket cannot be handed over: %s", errno_text(-fd));
            login_post(l, LOGIN_EV_FAIL);
            return;
        }
    }
    ev.u.bind_conn.fd = fd;
    ev.u.bind_conn.leading = l->cfg.kind != LOGIN_ADD_CONN;
    if (!login_request(l, &ev, NULL, 0, on_bound))
        loop_close_fd(l->loop, fd); /* the request could not be sent, so that it is ours still */
}

/* ---- login PDUs ---------------------------------------------------------------------------- */

static void
iscsi_io_send_pdu(struct iscsi_login *l, const struct bhs_login_req *hdr, const void *data,
                  uint32_t len)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = l->sid, .cid = l->cfg.cid};

    static_assert(sizeof(ev.u.send_pdu.hdr) == sizeof(*hdr), "a BHS");
    TRACE(l->loop, iscsi_io_send_pdu, hdr->opcode, len);
    memcpy(&ev.u.send_pdu.hdr, hdr, sizeof(*hdr));
    ev.u.send_pdu.data_len = len;
    (void)login_request(l, &ev, data, len, login_on_reply);
}

/* How long the portal may take for its first Login Response.  A first login has to find a portal
 * that answers: those that are left share the time.  Others are made again, elsewhere. */
static uint32_t
login_answer_ms(const struct iscsi_login *l)
{
    uint64_t now = l->loop->now_ns, left = l->until_ns > now ? l->until_ns - now : 0;
    uint32_t more = l->cfg.ngroup - l->ngroup_tried;

    if (l->cfg.answer_try_ms > 0 || l->cfg.kind != LOGIN_NEW || more == 0)
        return l->cfg.answer_try_ms;
    return (uint32_t)(left / LOOP_NS_PER_MS / (more + 1)) + 1;
}

void
iscsi_login_req(struct iscsi_login *l)
{
    struct bhs_login_req hdr;
    const void *data;
    uint32_t len;

    TRACE(l->loop, iscsi_login_req, l->sid, l->nego.csg);
    if (l->state != LOGIN_LOGIN) { /* the first one of this connection */
        l->asked_ns = l->loop->now_ns;
        l->answer_ns = 0;
        l->answer_limit_ms = login_answer_ms(l);
        if (l->answer_limit_ms > 0)
            loop_timer_start(l->loop, &l->step, l->answer_limit_ms * LOOP_NS_PER_MS);
    }
    if (nego_request(&l->nego, &hdr, &data, &len, login_err(l)) < 0)
        login_post(l, LOGIN_EV_FAIL);
    else
        iscsi_io_send_pdu(l, &hdr, data, len);
}

/* ---- full feature phase -------------------------------------------------------------------- */

static void
set_num(struct setter *s, enum iscsi_param p, uint32_t value)
{
    char text[16];

    (void)snprintf(text, sizeof(text), "%u", value);
    set_text(s, p, text);
}

/* Sends a time in milliseconds.  0 is not sent, so that the data path keeps its default. */
static void
set_limit(struct setter *s, enum iscsi_param p, uint32_t ms)
{
    if (ms > 0)
        set_num(s, p, ms);
}

static void
set_bool(struct setter *s, enum iscsi_param p, bool value)
{
    set_text(s, p, value ? TEXT_YES : TEXT_NO);
}

static void
set_digest(struct setter *s, enum iscsi_param p, uint32_t digest)
{
    set_text(s, p, digest == ISCSI_DIGEST_CRC32C ? "CRC32C" : TEXT_NONE);
}

static void
set_conn_params(struct setter *s)
{
    const struct nego *n = &s->l->nego;
    const struct login_config *c = &s->l->cfg;
    char portal[PORTAL_TEXT_MAX];

    if (strlen(portal_format(&s->l->portal, portal, sizeof(portal))) < IPC_VALUE_MAX)
        set_text(s, ISCSI_PARAM_PORTAL, portal);
    set_digest(s, ISCSI_PARAM_HEADER_DIGEST, n->params.header_digest);
    set_digest(s, ISCSI_PARAM_DATA_DIGEST, n->params.data_digest);
    set_num(s, ISCSI_PARAM_MAX_RECV_DLENGTH, n->params.max_recv_dseg);
    set_num(s, ISCSI_PARAM_MAX_XMIT_DLENGTH, n->params.max_xmit_dseg);
    if (n->params.rdma_extensions)
        set_num(s, ISCSI_PARAM_MAX_UNEXPECTED_PDUS, n->params.max_unexpected_pdus);
    set_num(s, ISCSI_PARAM_EXP_STATSN, n->stat_sn + 1);
    set_num(s, ISCSI_PARAM_PING_INTERVAL_MS, c->ping_interval_ms);
    set_limit(s, ISCSI_PARAM_PING_TIMEOUT_MS, c->ping_timeout_ms);
    if (c->zero_copy)
        set_bool(s, ISCSI_PARAM_ZERO_COPY, true);
}

static void
set_session_params(struct setter *s)
{
    static const char *const reporting[] = {"RFC3720", "ResponseFence", "FastAbort"};
    const struct iscsi_params *p = &s->l->nego.params;

    set_bool(s, ISCSI_PARAM_INITIAL_R2T, p->initial_r2t);
    set_bool(s, ISCSI_PARAM_IMM_DATA, p->immediate_data);
    set_num(s, ISCSI_PARAM_MAX_BURST, p->max_burst);
    set_num(s, ISCSI_PARAM_FIRST_BURST, p->first_burst);
    set_num(s, ISCSI_PARAM_MAX_R2T, p->max_outstanding_r2t);
    set_bool(s, ISCSI_PARAM_PDU_INORDER, p->data_pdu_in_order);
    set_bool(s, ISCSI_PARAM_DATASEQ_INORDER, p->data_sequence_in_order);
    set_num(s, ISCSI_PARAM_ERL, p->erl);
    set_num(s, ISCSI_PARAM_MAX_CONNECTIONS, p->max_connections);
    set_num(s, ISCSI_PARAM_DEF_TIME2WAIT, p->time2wait);
    set_num(s, ISCSI_PARAM_DEF_TIME2RETAIN, p->time2retain);
    assert(p->task_reporting < 3);
    set_text(s, ISCSI_PARAM_TASK_REPORTING, reporting[p->task_reporting]);
    set_num(s, ISCSI_PARAM_PROTOCOL_LEVEL, p->protocol_level);
}

/* Sends the ISID, which the data plane keeps for a control plane that comes after this one: session
 * reinstatement needs the same ISID (RFC 7143 6.3.5). */
static void
set_isid(struct setter *s)
{
    const uint8_t *isid = s->l->cfg.isid;
    char text[2 * LOGIN_ISID_LEN + 1];

    (void)snprintf(text, sizeof(text), "%02x%02x%02x%02x%02x%02x", isid[0], isid[1], isid[2],
                   isid[3], isid[4], isid[5]);
    set_text(s, ISCSI_PARAM_ISID, text);
}

static void
set_identity(struct setter *s)
{
    const struct login_config *c = &s->l->cfg;
    char text[16];

    set_text(s, ISCSI_PARAM_INITIATOR_NAME, c->initiator_name);
    if (c->target_name[0] != '\0')
        set_text(s, ISCSI_PARAM_TARGET_NAME, c->target_name);
    if ((s->l->caps & CAP_LOGIN_OFFLOAD) == 0) { /* they are the adapter's to find out */
        if (s->l->nego.tpgt >= 0)
            set_num(s, ISCSI_PARAM_TPGT, (uint32_t)s->l->nego.tpgt);
        set_num(s, ISCSI_PARAM_TSIH, s->l->nego.tsih);
    }
    set_isid(s);
    set_limit(s, ISCSI_PARAM_ABORT_TIMEOUT_MS, c->abort_timeout_ms);
    set_limit(s, ISCSI_PARAM_LU_RESET_TIMEOUT_MS, c->lu_reset_timeout_ms);
    set_limit(s, ISCSI_PARAM_TGT_RESET_TIMEOUT_MS, c->tgt_reset_timeout_ms);
    (void)snprintf(text, sizeof(text), "%d", c->replacement_timeout_s);
    set_text(s, ISCSI_PARAM_RECOVERY_TMO, text);
}

void
setup_full_feature_phase(struct iscsi_login *l)
{
    struct setter s = {.l = l, .ok = true};

    TRACE(l->loop, setup_full_feature_phase, l->sid, l->cfg.cid);
    set_conn_params(&s);
    if (l->cfg.kind == LOGIN_ADD_CONN)
        return;
    set_session_params(&s);
    set_identity(&s);
}

void
login_start_conn(struct iscsi_login *l)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_CONN, .sid = l->sid, .cid = l->cfg.cid};

    (void)login_request(l, &ev, NULL, 0, login_on_reply);
}

/* ---- adapters that log in by themselves ------------------------------------------------------ */

void
login_begin_exchange(struct iscsi_login *l)
{
    if (l->caps & CAP_LOGIN_OFFLOAD)
        login_post(l, LOGIN_EV_OFFLOAD);
    else
        iscsi_login_req(l);
}

void
login_tell_adapter(struct iscsi_login *l)
{
    struct setter s = {.l = l, .ok = true};
    char portal[PORTAL_TEXT_MAX];

    l->adapter_up = false;
    (void)portal_format(&l->portal, portal, sizeof(portal));
    assert(strlen(portal) < IPC_VALUE_MAX); /* login_config_check_caps */
    set_text(&s, ISCSI_PARAM_PORTAL, portal);
    set_num(&s, ISCSI_PARAM_PING_INTERVAL_MS, l->cfg.ping_interval_ms);
    set_limit(&s, ISCSI_PARAM_PING_TIMEOUT_MS, l->cfg.ping_timeout_ms);
    set_identity(&s);
}

/* An event may overtake the reply. */
void
login_adapter_early(struct iscsi_login *l)
{
    l->adapter_up = true;
}

void
login_adapter_started(struct iscsi_login *l)
{
    if (l->adapter_up)
        login_post(l, LOGIN_EV_LOGGED_IN);
}
