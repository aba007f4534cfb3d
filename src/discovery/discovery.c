/* SPDX-License-Identifier: MIT */
/* discovery/discovery.c - logs in to a Discovery session, sends SendTargets, gathers the answer,
 * which may take several Text Responses, and logs out.
 *
 * Ids such as DSC-05 are rows of docs/rfc-coverage.md.
 */
#include "discovery/discovery.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "ctl/op.h"
#include "discovery/targets.h"
#include "login/login.h"
#include "login/logout.h"
#include "wire/bend.h"
#include "wire/bhs.h"

#define TEXT_TIMEOUT_MS 30000u
#define ANSWER_TIMES    20u /* time limits of a response that the whole answer may take */
#define EMPTY_MAX       64u /* responses in a row with nothing but NULs; more are a protocol error */

struct discovery {
    struct ctl_op op;
    struct ctl *ctl;
    struct loop *loop;
    struct discovery_callbacks cb;
    char what[ISCSI_NAME_MAX + 1]; /* the value of SendTargets */
    uint32_t text_timeout_ms;
    enum { DISC_LOGIN, DISC_ASKING, DISC_LOGOUT, DISC_OVER } state;
    struct iscsi_login *login;   /* in DISC_LOGIN */
    struct iscsi_logout *logout; /* in DISC_LOGOUT */
    struct logout_config session;
    struct ctl_watch watch;
    struct loop_timer limit;
    uint64_t until_ns; /* when the answer has to be whole */
    uint32_t pending;  /* requests SEND_PDU without a reply */
    uint32_t empty;    /* responses in a row with nothing but NULs, if that */
    bool padded;       /* NULs came behind a text */
    struct targets targets;
    struct discovery_result res;
    struct lunette_error err; /* code 0: none */
};

static void
disc_destroy(struct ctl_op *op)
{
    struct discovery *d = container_of(op, struct discovery, op);

    login_free(&d->login);
    logout_free(&d->logout);
    ctl_watch_del(&d->watch);
    loop_timer_stop(d->loop, &d->limit);
    targets_fini(&d->targets);
    discovery_result_free(&d->res);
    ctl_op_fini(&d->op);
    free(d);
}

static void
disc_tell(struct discovery *d)
{
    struct discovery_result res = d->res;
    struct lunette_error err = d->err;

    if (err.code < 0) {
        d->cb.done(d->cb.user, NULL, &err);
    } else {
        d->res = (struct discovery_result){.targets = NULL}; /* the callee's from now on */
        d->cb.done(d->cb.user, &res, NULL);
    }
}

/* Ends the discovery when its session is gone and no reply is due.  May free d. */
static void
disc_end_if_over(struct discovery *d)
{
    if (d->state == DISC_OVER && d->pending == 0)
        ctl_op_end(&d->op);
}

/* The session is gone: tells the owner.  May free d. */
static void
disc_finish(struct discovery *d)
{
    bool tell;

    assert(d->state != DISC_OVER);
    d->state = DISC_OVER;
    loop_timer_stop(d->loop, &d->limit);
    ctl_op_enter(&d->op);
    tell = ctl_op_tell(&d->op);
    disc_end_if_over(d);
    if (tell)
        disc_tell(d);
    ctl_op_leave(&d->op);
}

static void
disc_on_logged_out(void *user, const struct lunette_error *err)
{
    struct discovery *d = user;

    assert(d->state == DISC_LOGOUT);
    (void)err; /* the session is gone in any case, and the targets are known */
    logout_free(&d->logout);
    disc_finish(d);
}

/* Ends the session: with a Logout Request, unless the target or the connection has failed. */
static void
disc_log_out(struct discovery *d)
{
    int r;

    assert(d->state == DISC_ASKING || d->state == DISC_LOGOUT);
    assert(d->logout == NULL);
    d->state = DISC_LOGOUT;
    ctl_watch_del(&d->watch);
    loop_timer_stop(d->loop, &d->limit);
    d->session.skip_request = d->err.code < 0 && d->err.code != -ECANCELED;
    r = session_logout_task(d->ctl, &d->session, disc_on_logged_out, d, &d->logout);
    if (r < 0) /* disc_on_limit tries again */
        loop_timer_start(d->loop, &d->limit, LOGOUT_RETRY_MS * LOOP_NS_PER_MS);
}

static void
disc_on_sent(void *user, const struct iscsi_reply *rep)
{
    struct discovery *d = user;

    assert(d->pending > 0);
    d->pending--;
    if (rep->err < 0 && d->state == DISC_ASKING) {
        if (rep->why.code < 0)
            d->err = rep->why;
        else
            (void)lunette_fail(&d->err, rep->err, LUNETTE_DOM_OS, (uint32_t)-rep->err,
                               "discovery: the data path refused a request: %s",
                               errno_text(-rep->err));
        disc_log_out(d);
    } else {
        disc_end_if_over(d);
    }
}

/* Sends the question (after is NULL), or the request that asks for more after a response. */
static void
disc_send_text(struct discovery *d, const struct bhs_text_rsp *after)
{
    struct iscsi_uevent ev = {
        .type = ISCSI_UEVENT_SEND_PDU, .sid = d->session.sid, .cid = d->session.conns[0].cid};
    struct bhs_text_req req;
    char mem[sizeof("SendTargets=") + ISCSI_NAME_MAX + 1];
    struct text_buf text;
    int r;

    text_buf_init(&text, mem, sizeof(mem));
    bhs_init(&req, ISCSI_OP_TEXT_REQ | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    req.ttt = put32(ISCSI_TAG_RSVD);
    if (after != NULL) { /* TXT-02, TXT-04 */
        req.itt = after->itt;
        req.ttt = after->ttt;
        memcpy(req.lun, after->lun, sizeof(req.lun));
    } else {
        r = text_put(&text, "SendTargets", d->what);
        assert(r == 0);
    }
    req.dseg_len = put24((uint32_t)text.len);
    memcpy(&ev.u.send_pdu.hdr, &req, sizeof(req));
    ev.u.send_pdu.data_len = (uint32_t)text.len;
    loop_timer_start(d->loop, &d->limit, d->text_timeout_ms * LOOP_NS_PER_MS);
    r = ctl_request(d->ctl, &ev, mem, (uint32_t)text.len, disc_on_sent, d);
    if (r == 0) {
        d->pending++;
        return;
    }
    (void)lunette_fail(&d->err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                       "discovery: the data path cannot be reached: %s", errno_text(-r));
    disc_log_out(d);
}

static int
disc_proto_error(struct discovery *d, const char *what)
{
    return lunette_fail(&d->err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                        "SendTargets: the target %s", what);
}

/* Returns the length of a text without the NULs that a target may count as part of it. */
static uint32_t
disc_trim(struct discovery *d, const void *data, uint32_t len)
{
    size_t text = text_without_padding(data, len);

    if (text < len && !d->padded)
        log_line(d->loop->log, LOG_LEVEL_INFO, "discovery: this target bends: it %s",
                 bend_text(BEND_NULS));
    d->padded |= text < len;
    return text == 0 && len > 0 ? 1 : (uint32_t)text; /* one NUL may end a pair that came before */
}

static uint32_t
disc_answer_ms(const struct discovery *d)
{
    return d->text_timeout_ms > UINT32_MAX / ANSWER_TIMES ? UINT32_MAX
                                                          : d->text_timeout_ms * ANSWER_TIMES;
}

/* TXR-01, TXR-03, DSC-05.  1: more is to come; 0: that was all; or -errno with d->err. */
static int
disc_take_response(struct discovery *d, const struct bhs_text_rsp *h, const void *data,
                   uint32_t len)
{
    bool final = h->flags & ISCSI_FLAG_FINAL;
    int r;

    if (final && (h->flags & ISCSI_TEXT_CONTINUE))
        return disc_proto_error(d, "set both F and C");
    if (!final && get32(h->ttt) == ISCSI_TAG_RSVD)
        return disc_proto_error(d, "has more to say but gives no tag to ask with (TTT)");
    d->empty = text_without_padding(data, len) == 0 ? d->empty + 1 : 0;
    if (!final && d->empty > EMPTY_MAX)
        return disc_proto_error(d, "goes on without saying anything");
    r = targets_feed(&d->targets, data, disc_trim(d, data, len), &d->err);
    if (r == 0 && !final && d->loop->now_ns > d->until_ns)
        r = lunette_fail(&d->err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                         "SendTargets: the target goes on for more than %u s, which is the longest "
                         "that an answer may take",
                         disc_answer_ms(d) / 1000);
    if (r < 0 || !final)
        return r < 0 ? r : 1;
    return targets_end(&d->targets, &d->res, &d->err);
}

static void
disc_on_pdu(struct discovery *d, const struct bhs *hdr, const void *data, uint32_t len)
{
    const union bhs_any *h = (const void *)hdr;
    uint8_t opcode = hdr->opcode & ISCSI_OP_MASK;

    if (opcode == ISCSI_OP_TEXT_RSP) {
        if (disc_take_response(d, &h->text_rsp, data, len) == 1)
            disc_send_text(d, &h->text_rsp);
        else
            disc_log_out(d);
    } else if (opcode == ISCSI_OP_REJECT) {
        (void)lunette_fail(&d->err, -EPROTO, LUNETTE_DOM_PROTO, h->reject.reason,
                           "the target rejected SendTargets (reason 0x%02x)", h->reject.reason);
        disc_log_out(d);
    } else if (opcode != ISCSI_OP_ASYNC) { /* that one announces a close, and CONN_ERROR follows */
        (void)disc_proto_error(d, "answers with something else than a Text Response");
        disc_log_out(d);
    }
}

static void
disc_on_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct discovery *d = container_of(w, struct discovery, watch);

    assert(d->state == DISC_ASKING);
    if (ev->type == ISCSI_KEVENT_RECV_PDU) {
        disc_on_pdu(d, &ev->u.recv_pdu.hdr, data, ev->u.recv_pdu.data_len);
    } else if (ev->type == ISCSI_KEVENT_CONN_ERROR) {
        if (ev->u.conn_error.why.code < 0)
            d->err = ev->u.conn_error.why;
        else
            (void)lunette_fail(&d->err, -ECONNRESET, LUNETTE_DOM_CONNECT, ECONNRESET,
                               "the connection was lost during discovery");
        disc_log_out(d);
    } else if (ev->type == ISCSI_KEVENT_LOST) {
        (void)lunette_fail(&d->err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM,
                           "no memory for an answer to SendTargets");
        disc_log_out(d);
    }
}

static void
disc_on_limit(struct loop_timer *t)
{
    struct discovery *d = container_of(t, struct discovery, limit);

    if (d->state == DISC_LOGOUT) {
        disc_log_out(d);
        return;
    }
    (void)lunette_fail(&d->err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, d->text_timeout_ms,
                       "the target did not answer SendTargets within %u ms", d->text_timeout_ms);
    disc_log_out(d);
}

static void
disc_on_login(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct discovery *d = user;

    assert(d->state == DISC_LOGIN);
    login_free(&d->login);
    if (err != NULL) {
        d->err = *err;
        disc_finish(d);
        return;
    }
    d->state = DISC_ASKING;
    d->session.sid = res->sid;
    d->session.nconns = 1;
    d->session.conns[0].cid = res->cid;
    d->session.conns[0].ep = res->ep;
    d->targets.in_use = res->portal;
    if (res->tpgt >= 0)
        d->targets.in_use.tpgt = res->tpgt;
    d->until_ns = d->loop->now_ns + disc_answer_ms(d) * LOOP_NS_PER_MS;
    ctl_watch_add(d->ctl, &d->watch, res->sid, res->cid);
    disc_send_text(d, NULL);
}

/* The owner has canceled the discovery or let go of it. */
static void
disc_cancel(struct ctl_op *op)
{
    struct discovery *d = container_of(op, struct discovery, op);

    if (d->state == DISC_LOGIN) {
        login_cancel(d->login);
    } else if (d->state == DISC_ASKING) {
        (void)lunette_fail(&d->err, -ECANCELED, LUNETTE_DOM_USAGE, 0, "the discovery was canceled");
        disc_log_out(d);
    }
}

static const struct ctl_op_ops disc_op_ops = {.cancel = disc_cancel, .destroy = disc_destroy};

/* Logs in with a copy of cfg from which what belongs to Normal sessions is removed. */
static int
disc_log_in(struct discovery *d, const struct login_config *cfg, struct lunette_error *err)
{
    struct login_callbacks cb = {.done = disc_on_login, .user = d};
    struct login_config *copy = malloc(sizeof(*copy));
    int r;

    if (copy == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    *copy = *cfg;
    copy->kind = LOGIN_NEW;
    copy->discovery = true;
    copy->target_name[0] = '\0';
    copy->expected_tpgt = -1;
    copy->ngroup = 0;
    /* A Text Response reaches this side of the ipc as one message: no larger one is asked for. */
    if (copy->offer.max_recv_dseg > IPC_PDU_DATA_MAX)
        copy->offer.max_recv_dseg = IPC_PDU_DATA_MAX;
    r = login_start(d->ctl, copy, &cb, &d->login, err);
    login_config_wipe(copy);
    free(copy);
    return r;
}

static int
disc_set_what(struct discovery *d, const char *what, struct lunette_error *err)
{
    if (what != NULL && strcmp(what, "All") != 0)
        return iscsi_name_take(what, strlen(what), d->what, err);
    memcpy(d->what, "All", sizeof("All"));
    return 0;
}

int
discovery_sendtargets(struct ctl *ctl, const struct login_config *cfg, const char *what,
                      const struct discovery_callbacks *cb, struct discovery **ret,
                      struct lunette_error *err)
{
    struct discovery *d = calloc(1, sizeof(*d));
    int r;

    assert(cb->done != NULL);
    if (d == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    d->ctl = ctl;
    d->loop = ctl_loop(ctl);
    d->cb = *cb;
    d->text_timeout_ms = cb->text_timeout_ms > 0 ? cb->text_timeout_ms : TEXT_TIMEOUT_MS;
    ctl_op_init(&d->op, ctl, &disc_op_ops);
    ctl_watch_init(&d->watch, disc_on_event);
    loop_timer_init(&d->limit, disc_on_limit);
    targets_init(&d->targets, &cfg->portal);
    r = disc_set_what(d, what, err);
    if (r == 0)
        r = disc_log_in(d, cfg, err);
    if (r < 0) {
        free(d);
        return r;
    }
    *ret = d;
    return 0;
}

void
discovery_cancel(struct discovery *d)
{
    ctl_op_cancel(&d->op);
}

void
discovery_free(struct discovery **pd)
{
    struct discovery *d = *pd;

    if (d == NULL)
        return;
    *pd = NULL;
    ctl_op_free(&d->op);
}
