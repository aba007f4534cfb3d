/* SPDX-License-Identifier: MIT */
#include "target/login.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "target/conn.h"
#include "target/face.h"
#include "target/instance.h"
#include "target/login_state.h"
#include "target/state/node.h"
#include "target/state/session.h"
#include "target/txq.h"
#include "wire/login_status.h"
#include "wire/params.h"

#define TEXT_SIZE_MIN 512u

static void
forget_text(struct text_buf *b)
{
    if (b->buf != NULL)
        chap_wipe(b->buf, b->size);
    free(b->buf);
    *b = (struct text_buf){.buf = NULL};
}

/* Makes b large enough for `more` bytes.  False: there is no memory. */
static bool
login_text_room(struct text_buf *b, size_t more)
{
    size_t size = b->size > 0 ? b->size : TEXT_SIZE_MIN, len = b->len;
    char *mem;

    if (b->size - len >= more)
        return true;
    while (size - len < more)
        size *= 2;
    mem = malloc(size);
    if (mem == NULL)
        return false;
    if (len > 0)
        memcpy(mem, b->buf, len);
    forget_text(b);
    *b = (struct text_buf){.buf = mem, .len = len, .size = size};
    return true;
}

static struct tgt_login *
login_new(void)
{
    struct tgt_login *l = calloc(1, sizeof(*l));

    if (l == NULL)
        return NULL;
    params_init(&l->params);
    return l;
}

void
tgt_login_free(struct tgt_login *l)
{
    if (l == NULL)
        return;
    forget_text(&l->request);
    forget_text(&l->answer);
    chap_wipe(l, sizeof(*l)); /* challenges and responses */
    free(l);
}

static const struct bhs_login_req *
login_header(const struct tgt_conn *c)
{
    return (const struct bhs_login_req *)(const void *)c->h.raw;
}

/* The request that a response is for: the last one, or where another kind of PDU has come, what the
 * login began with. */
static struct bhs_login_req
answered(const struct tgt_conn *c)
{
    const struct tgt_login *l = c->login;
    struct bhs_login_req h;

    if (pdu_opcode(&c->h.bhs) == ISCSI_OP_LOGIN_REQ)
        return *login_header(c);
    bhs_init(&h, ISCSI_OP_LOGIN_REQ, bhs_login_flags(l->stage, 0, 0));
    memcpy(h.isid, l->isid, sizeof(h.isid));
    h.tsih = put16(l->tsih);
    h.itt = put32(l->itt);
    h.cmd_sn = put32(l->cmd_sn);
    return h;
}

static struct tgt_ctl *
login_response(struct tgt_conn *c, uint8_t flags, const void *text, size_t len)
{
    struct bhs_login_req req = answered(c);
    struct tgt_ctl *ctl = tgt_ctl_new_with(ISCSI_OP_LOGIN_RSP, get32(req.itt), text, (uint32_t)len);
    struct bhs_login_rsp *h;

    if (ctl == NULL) {
        tgt_conn_kill(c, "out of memory");
        return NULL;
    }
    h = (struct bhs_login_rsp *)(void *)ctl->hdr;
    h->flags = flags;
    memcpy(h->isid, req.isid, sizeof(h->isid));
    h->tsih = put16(c->sess != NULL ? c->sess->tsih : get16(req.tsih));
    h->exp_cmd_sn = req.cmd_sn;
    h->max_cmd_sn = req.cmd_sn;
    return ctl;
}

/* Refuses the login.  What the answer holds already goes along (TargetAddress of a redirection). */
static void
login_refuse(struct tgt_conn *c, uint16_t status)
{
    struct tgt_login *l = c->login;
    uint8_t csg = answered(c).flags & ISCSI_LOGIN_CSG_MASK;
    bool redirect = status >> 8 == ISCSI_LOGIN_REDIRECT;
    struct tgt_ctl *ctl = login_response(c, csg, l->answer.buf, redirect ? l->answer.len : 0);
    struct bhs_login_rsp *h;
    char who[ISCSI_NAME_MAX + 1];

    if (ctl == NULL)
        return;
    h = (struct bhs_login_rsp *)(void *)ctl->hdr;
    h->status_class = (uint8_t)(status >> 8);
    h->status_detail = (uint8_t)status;
    ctl->close_after = true;
    tgt_conn_log(c, LOG_LEVEL_WARN, "login of %s refused: %s",
                 log_clean(who, sizeof(who), l->initiator, strlen(l->initiator)),
                 login_status_text(h->status_class, h->status_detail));
    c->target->stats.logins_failed++;
    tgt_ctl_send(c, ctl);
    c->state = TGT_CONN_CLOSING;
    loop_timer_start(c->target->loop, &c->timer, LOOP_NS_PER_S); /* for it to leave */
}

/* Header fields that every request must have right. */
static uint16_t
login_check_header(const struct tgt_conn *c)
{
    const struct bhs_login_req *h = login_header(c);
    const struct tgt_login *l = c->login;
    unsigned csg = bhs_login_csg(h->flags), nsg = bhs_login_nsg(h->flags);
    bool transit = h->flags & ISCSI_LOGIN_TRANSIT;

    if (h->version_min > 0)
        return ISCSI_LOGIN_BAD_VERSION;
    if (transit && (h->flags & ISCSI_LOGIN_CONTINUE))
        return ISCSI_LOGIN_BAD_REQUEST;
    if (csg != ISCSI_STAGE_SECURITY && csg != ISCSI_STAGE_OPERATIONAL)
        return ISCSI_LOGIN_BAD_REQUEST;
    if (transit && (nsg <= csg || nsg == 2))
        return ISCSI_LOGIN_BAD_REQUEST;
    if (!l->started)
        return ISCSI_LOGIN_OK;
    if (csg != l->stage || memcmp(h->isid, l->isid, sizeof(l->isid)) != 0 ||
        get16(h->tsih) != l->tsih || get16(h->cid) != l->cid || get32(h->itt) != l->itt)
        return ISCSI_LOGIN_BAD_REQUEST;
    return ISCSI_LOGIN_OK;
}

static void
login_begin(struct tgt_conn *c)
{
    const struct bhs_login_req *h = login_header(c);
    struct tgt_login *l = c->login;

    l->started = true;
    l->stage = bhs_login_csg(h->flags);
    memcpy(l->isid, h->isid, sizeof(l->isid));
    l->tsih = get16(h->tsih);
    l->cid = c->cid = get16(h->cid);
    l->itt = get32(h->itt);
    l->cmd_sn = get32(h->cmd_sn);
    l->exp_stat_sn = get32(h->exp_stat_sn);
    l->leading = l->tsih == 0;
}

/* The last Login Response is made: from here on the connection works as was agreed. */
static void
login_over(struct tgt_conn *c)
{
    const struct tgt_node *node = c->sess->node;

    c->header_digest = c->params.header_digest == ISCSI_DIGEST_CRC32C;
    c->data_digest = c->params.data_digest == ISCSI_DIGEST_CRC32C;
    c->recv_max = c->params.max_recv_dseg;
    c->xmit_max = c->params.max_xmit_dseg;
    c->state = TGT_CONN_FFP;
    c->exp_stat_sn = c->stat_sn; /* login is not recovered (7.1.5) */
    c->erl = c->sess->discovery ? 0 : (uint8_t)c->sess->params.erl;
    c->takes_acks = c->erl > 0;
    c->check_first = c->erl > 0 && c->data_digest;
    tgt_login_free(c->login);
    c->login = NULL;
    tgt_conn_logged_in(c);
    loop_timer_stop(c->target->loop, &c->timer);
    if (node != NULL && node->nop_interval_s != 0)
        loop_timer_start(c->target->loop, &c->timer, node->nop_interval_s * LOOP_NS_PER_S);
    tgt_conn_log(c, LOG_LEVEL_INFO, "logged in%s%s over %s",
                 node != NULL ? " to " : " for discovery", node != NULL ? node->name : "",
                 c->face->name);
}

/* Sends the next piece of the answer.  flags: transit bit and stages, used with the last piece. */
static void
login_respond(struct tgt_conn *c, uint8_t flags, bool last_login_pdu)
{
    struct tgt_login *l = c->login;
    size_t left = l->answer.len - l->answer_sent;
    size_t len = left < ISCSI_LOGIN_DSEG_MAX ? left : ISCSI_LOGIN_DSEG_MAX;
    struct tgt_ctl *ctl;

    assert(!last_login_pdu || len == left);
    if (len < left)
        flags = (uint8_t)((flags & ISCSI_LOGIN_CSG_MASK) | ISCSI_LOGIN_CONTINUE);
    ctl = login_response(c, flags, len > 0 ? l->answer.buf + l->answer_sent : NULL, len);
    if (ctl == NULL)
        return;
    ctl->made = last_login_pdu ? login_over : NULL;
    l->answer_sent += len;
    if (l->answer_sent == l->answer.len) {
        forget_text(&l->answer);
        l->answer_sent = 0;
    }
    tgt_ctl_send(c, ctl);
}

/* Whether we go along when the initiator wants to leave its stage. */
static bool
may_transit(const struct tgt_login *l)
{
    if (l->answer.len > ISCSI_LOGIN_DSEG_MAX || l->rdma_asked || l->rdma_declined)
        return false;
    return l->stage != ISCSI_STAGE_SECURITY || tgt_login_auth_ok(l);
}

/* What comes next may be as many commands as the session has room for. */
static uint16_t
login_prepare(struct tgt_conn *c)
{
    struct lunette_error err;

    if (c->face->prepare(c, c->sess->discovery ? 0 : c->sess->depth, &err) == 0)
        return ISCSI_LOGIN_OK;
    tgt_conn_log(c, LOG_LEVEL_WARN, "%s", err.msg);
    return ISCSI_LOGIN_OUT_OF_RESOURCES;
}

/* The request is complete and its keys are answered. */
static void
login_conclude(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    const struct bhs_login_req *h = login_header(c);
    bool transit = h->flags & ISCSI_LOGIN_TRANSIT;
    unsigned nsg = bhs_login_nsg(h->flags);
    uint8_t csg_bits = h->flags & ISCSI_LOGIN_CSG_MASK;
    uint16_t status;

    if (!transit || !may_transit(l)) {
        login_respond(c, csg_bits, false);
        return;
    }
    if (nsg != ISCSI_STAGE_FFP) {
        l->stage = nsg;
        login_respond(
            c, h->flags & (ISCSI_LOGIN_TRANSIT | ISCSI_LOGIN_CSG_MASK | ISCSI_LOGIN_NSG_MASK),
            false);
        return;
    }
    status = tgt_login_session(c);
    if (status == ISCSI_LOGIN_OK)
        status = login_prepare(c);
    if (status != ISCSI_LOGIN_OK) {
        login_refuse(c, status);
        return;
    }
    l->finished = true;
    login_respond(c, h->flags & (ISCSI_LOGIN_TRANSIT | ISCSI_LOGIN_CSG_MASK | ISCSI_LOGIN_NSG_MASK),
                  true);
}

static uint16_t
login_take(struct tgt_conn *c, const uint8_t *data, uint32_t len)
{
    struct tgt_login *l = c->login;
    bool piece = len > 0 && (login_header(c)->flags & ISCSI_LOGIN_CONTINUE); /* bounded by bytes */
    uint16_t status;

    l->exchanges += !piece;
    if (l->exchanges > LOGIN_EXCHANGES_MAX)
        return ISCSI_LOGIN_BAD_REQUEST;
    status = login_check_header(c);
    if (status != ISCSI_LOGIN_OK)
        return status;
    if (!l->started)
        login_begin(c);
    if (l->answer.len > 0 && (len > 0 || (login_header(c)->flags & ISCSI_LOGIN_CONTINUE)))
        return ISCSI_LOGIN_BAD_REQUEST; /* our answer is not at its end */
    if (len > LOGIN_TEXT_MAX - l->request.len)
        return ISCSI_LOGIN_BAD_REQUEST;
    if (len > 0 && !login_text_room(&l->request, len))
        return ISCSI_LOGIN_OUT_OF_RESOURCES;
    if (len > 0 && text_append(&l->request, data, len, NULL) < 0)
        return ISCSI_LOGIN_BAD_REQUEST;
    return ISCSI_LOGIN_OK;
}

/* Answers the keys of a complete request. */
static uint16_t
answer_keys(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    uint16_t status = ISCSI_LOGIN_OUT_OF_RESOURCES;

    if (login_text_room(&l->answer, LOGIN_ANSWER_MAX))
        status = tgt_login_keys(c);
    forget_text(&l->request);
    if (l->answer.len == 0)
        forget_text(&l->answer);
    return status;
}

/* The first PDU of a connection; false: the connection is dead. */
static bool
login_first_pdu(struct tgt_conn *c)
{
    if (pdu_opcode(&c->h.bhs) != ISCSI_OP_LOGIN_REQ) {
        tgt_conn_kill(c, "the first PDU is not a Login Request");
        return false;
    }
    c->login = login_new();
    if (c->login == NULL) {
        tgt_conn_kill(c, "out of memory");
        return false;
    }
    c->login->rdma = c->rdma;
    return true;
}

void
tgt_login_pdu(struct tgt_conn *c, const uint8_t *data, uint32_t len)
{
    uint8_t csg_bits = login_header(c)->flags & ISCSI_LOGIN_CSG_MASK;
    struct tgt_login *l;
    uint32_t fault;
    uint16_t status;

    if (c->login == NULL && !login_first_pdu(c))
        return;
    l = c->login;
    if (l->finished) {
        tgt_conn_kill(c, "a PDU before the last Login Response");
        return;
    }
    fault = tgt_hook(c->target->hook, TGT_HOOK_LOGIN, NULL);
    if (fault != 0) {
        if (fault != TGT_HOOK_NEVER)
            login_refuse(c, (uint16_t)fault);
        return;
    }
    if (pdu_opcode(&c->h.bhs) != ISCSI_OP_LOGIN_REQ) {
        login_refuse(c, ISCSI_LOGIN_INVALID_DURING_LOGIN);
        return;
    }
    status = login_take(c, data, len);
    if (status != ISCSI_LOGIN_OK) {
        login_refuse(c, status);
        return;
    }
    if (login_header(c)->flags & ISCSI_LOGIN_CONTINUE) {
        login_respond(c, csg_bits, false); /* empty: more is to come */
        return;
    }
    if (l->answer.len > 0) {
        login_conclude(c); /* it asked for the rest of our answer */
        return;
    }
    status = answer_keys(c);
    if (status != ISCSI_LOGIN_OK)
        login_refuse(c, status);
    else
        login_conclude(c);
}
