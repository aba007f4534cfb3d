/* SPDX-License-Identifier: MIT */
/* Login: what the keys of a request mean and what is answered (RFC 7143 6.2, 13). */
#include <string.h>

#include "target/instance.h"
#include "target/login_state.h"
#include "target/node.h"
#include "target/session.h"
#include "target/state/conn.h"
#include "wire/login_status.h"
#include "wire/params.h"

/* A pair's value if it is a legal one of its key. */
static bool
legal(const struct text_pair *p, const struct key *k, struct key_value *v)
{
    return key_check_offer(k, p->value, p->value_len, v, NULL) == 0;
}

static bool
find_pair(const struct tgt_login *l, enum key_id id, struct text_pair *ret)
{
    const char *name = key_get(id)->name;
    struct text_iter it;

    text_iter_init(&it, l->request.buf, l->request.len);
    while (text_next(&it, ret, NULL) == 1) {
        if (text_is(ret->key, ret->key_len, name))
            return true;
    }
    return false;
}

static uint16_t
redirect(struct tgt_login *l)
{
    if (text_put(&l->answer, "TargetAddress", l->node->redirect) < 0)
        return ISCSI_LOGIN_TARGET_FAILURE;
    return l->node->redirect_permanent ? ISCSI_LOGIN_MOVED_PERMANENTLY
                                       : ISCSI_LOGIN_MOVED_TEMPORARILY;
}

/* Whoever is at the right portal already stays there. */
static bool
is_sent_away(const struct tgt_conn *c)
{
    const struct tgt_login *l = c->login;
    char here[PORTAL_TEXT_MAX];

    return l->node->redirect[0] != '\0' && !l->discovery &&
           strcmp(l->node->redirect, sock_addr_format(&c->local, here, sizeof(here))) != 0;
}

static uint16_t
find_target(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    struct text_pair p;
    char name[ISCSI_NAME_MAX + 1];

    if (!find_pair(l, KEY_TARGET_NAME, &p))
        return l->discovery ? ISCSI_LOGIN_OK : ISCSI_LOGIN_MISSING_PARAMETER;
    if (iscsi_name_normalize(p.value, p.value_len, name, NULL) < 0)
        return ISCSI_LOGIN_NOT_FOUND;
    l->node = tgt_node_find(c->target, name);
    if (l->node == NULL)
        return ISCSI_LOGIN_NOT_FOUND;
    return is_sent_away(c) ? redirect(l) : ISCSI_LOGIN_OK;
}

/* Who it is, from the first complete request. */
static uint16_t
identify(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    struct tgt_session *s;
    struct text_pair p;
    uint16_t status;

    l->identified = true;
    if (!find_pair(l, KEY_INITIATOR_NAME, &p))
        return ISCSI_LOGIN_MISSING_PARAMETER;
    if (iscsi_name_normalize(p.value, p.value_len, l->initiator, NULL) < 0)
        return ISCSI_LOGIN_BAD_REQUEST;
    if (find_pair(l, KEY_SESSION_TYPE, &p)) {
        l->discovery = text_is(p.value, p.value_len, "Discovery");
        if (!l->discovery && !text_is(p.value, p.value_len, "Normal"))
            return ISCSI_LOGIN_SESSION_TYPE;
    }
    if (c->target->stopping)
        return ISCSI_LOGIN_UNAVAILABLE;
    status = find_target(c);
    if (status != ISCSI_LOGIN_OK)
        return status;
    if (l->tsih != 0) {
        s = tgt_session_find(c->target, l->node, l->initiator, l->isid);
        if (s == NULL || s->tsih != l->tsih)
            return ISCSI_LOGIN_NO_SESSION;
        l->params = s->params; /* session-wide values hold for this connection, too */
        l->params.header_digest = l->params.data_digest = ISCSI_DIGEST_NONE;
        l->params.max_xmit_dseg = ISCSI_LOGIN_DSEG_MAX;
        l->params.target_recv_dseg = l->params.initiator_recv_dseg = TGT_RDMA_DSEG_MAX;
    }
    if (l->node == NULL || l->node->chap.secret_len == 0)
        l->auth = l->stage == ISCSI_STAGE_OPERATIONAL ? AUTH_DONE : AUTH_START;
    else if (l->stage == ISCSI_STAGE_OPERATIONAL)
        return ISCSI_LOGIN_AUTH_FAILED; /* it skipped the stage that we insist on */
    return ISCSI_LOGIN_OK;
}

/* What we would choose for k, as text. */
static const char *
ours(const struct tgt_login *l, const struct key *k, char *buf, size_t size)
{
    struct iscsi_params p;

    if (l->node != NULL)
        p = l->node->params;
    else
        params_init(&p);
    p.rdma_extensions = p.rdma_extensions && l->rdma;
    p.initial_r2t =
        p.initial_r2t || l->rdma; /* RDMA Read costs less than data that comes unasked */
    if (k->id == KEY_HEADER_DIGEST)
        return l->node != NULL && !l->rdma ? l->node->header_digests : "None";
    if (k->id == KEY_DATA_DIGEST)
        return l->node != NULL && !l->rdma ? l->node->data_digests : "None";
    if (k->id == KEY_TASK_REPORTING)
        return "RFC3720,ResponseFence,FastAbort";
    if (k->id == KEY_MAX_CONNECTIONS && l->discovery)
        p.max_connections = 1;
    /* Data is asked for in order, so that there is one R2T at a time where it may have to be asked
     * for again (13.17, 13.19). */
    if (k->id == KEY_MAX_OUTSTANDING_R2T && l->params.erl > 0)
        p.max_outstanding_r2t = 1;
    if (k->id == KEY_ERROR_RECOVERY_LEVEL && (l->discovery || l->rdma))
        p.erl = 0; /* 7.4.1; over iSER there is nothing to ask for again */
    if (k->id == KEY_ERROR_RECOVERY_LEVEL && l->params.max_outstanding_r2t > 1)
        p.erl = 0; /* that was agreed on before */
    if (k->id == KEY_FIRST_BURST && p.first_burst > l->params.max_burst)
        p.first_burst = l->params.max_burst;
    return params_format(&p, k, buf, size) < 0 ? NULL : buf;
}

/* Whether the answer is Irrelevant.  MaxConnections would be for discovery (13.2), and digests over
 * iSER (RFC 7145 6.1), but there are initiators that take this answer for a refusal, and 1 and None
 * harm nobody. */
static bool
irrelevant(const struct tgt_login *l, const struct key *k)
{
    if ((k->id == KEY_MAX_CONNECTIONS && l->discovery) || k->irrelevant == KEY_IRR_ISER)
        return false;
    return key_irrelevant(k, l->discovery, &l->params) && k->result != KEY_RESULT_REJECT;
}

static uint16_t
negotiate(struct tgt_login *l, const struct key *k, const struct text_pair *p)
{
    char answer[KEY_ANSWER_SIZE], buf[64];
    const char *mine = ours(l, k, buf, sizeof(buf));
    struct key_value v;

    if (mine == NULL && k->result != KEY_RESULT_REJECT && k->result != KEY_RESULT_DECLARE)
        return text_put(&l->answer, k->name, TEXT_REJECT) < 0 ? ISCSI_LOGIN_BAD_REQUEST
                                                              : ISCSI_LOGIN_OK;
    if (irrelevant(l, k))
        return text_put(&l->answer, k->name, TEXT_IRRELEVANT) < 0 ? ISCSI_LOGIN_BAD_REQUEST
                                                                  : ISCSI_LOGIN_OK;
    if (key_answer(k, p->value, p->value_len, mine != NULL ? mine : "", answer, &v, NULL) < 0)
        return ISCSI_LOGIN_BAD_REQUEST;
    params_set(&l->params, k, &v);
    if (k->id == KEY_RDMA_EXTENSIONS)
        l->rdma_declined = l->rdma && !l->params.rdma_extensions;
    if (answer[0] != '\0' && text_put(&l->answer, k->name, answer) < 0)
        return ISCSI_LOGIN_BAD_REQUEST;
    return ISCSI_LOGIN_OK;
}

/* The answer to our own proposal of RDMAExtensions=Yes. */
static uint16_t
rdma_answered(struct tgt_login *l, const struct key *k, const struct text_pair *p)
{
    struct key_value v;

    l->rdma_asked = false;
    if (key_check_answer(k, TEXT_YES, p->value, p->value_len, &v, NULL) < 0)
        return ISCSI_LOGIN_BAD_REQUEST;
    params_set(&l->params, k, &v);
    return ISCSI_LOGIN_OK;
}

/* A declaration of the initiator. */
static uint16_t
declared(struct tgt_login *l, const struct key *k, const struct text_pair *p)
{
    struct key_value v;

    if (!legal(p, k, &v))
        return ISCSI_LOGIN_BAD_REQUEST;
    if (l->rdma && k->irrelevant == KEY_IRR_NOT_ISER)
        params_set(&l->params, k, &v);
    return ISCSI_LOGIN_OK;
}

static bool
is_auth(enum key_id id)
{
    return id == KEY_AUTH_METHOD || (id >= KEY_CHAP_A && id <= KEY_CHAP_R);
}

static void
note_auth(struct tgt_auth_keys *a, enum key_id id, const struct text_pair *p)
{
    struct text_pair *slots[] = {&a->a, &a->i, &a->c, &a->n, &a->r};

    if (id == KEY_AUTH_METHOD)
        a->method = *p;
    else
        *slots[id - KEY_CHAP_A] = *p;
}

static uint16_t
login_one_key(struct tgt_login *l, const struct text_pair *p, struct tgt_auth_keys *auth)
{
    const struct key *k = key_find(p->key, p->key_len);
    struct key_context ctx = {
        .leading = l->leading,
        .discovery = l->discovery,
        .stage = l->stage == ISCSI_STAGE_SECURITY ? KEY_STAGE_SEC : KEY_STAGE_OPER,
    };
    char name[TEXT_KEY_MAX + 1];

    if (k == NULL) {
        memcpy(name, p->key, p->key_len);
        name[p->key_len] = '\0';
        return text_put(&l->answer, name, TEXT_NOT_UNDERSTOOD) < 0 ? ISCSI_LOGIN_BAD_REQUEST
                                                                   : ISCSI_LOGIN_OK;
    }
    if (key_check_context(k, &ctx, NULL) < 0)
        return ISCSI_LOGIN_BAD_REQUEST;
    if (is_auth(k->id)) {
        note_auth(auth, k->id, p);
        return ISCSI_LOGIN_OK;
    }
    if (k->id == KEY_RDMA_EXTENSIONS && l->rdma_asked)
        return rdma_answered(l, k, p);
    if (k->result == KEY_RESULT_DECLARE && k->id != KEY_MAX_RECV_DSEG)
        return declared(l, k, p);
    return negotiate(l, k, p);
}

/* Each key comes once in a login (6.3), TargetName included. */
static bool
add_seen(struct tgt_login *l, const struct text_pair *p)
{
    const struct key *k = key_find(p->key, p->key_len);

    if (k == NULL)
        return true;
    if (key_set_has(&l->seen, k->id))
        return false;
    (void)key_set_add(&l->seen, k);
    l->seen.bits |= 1ull << k->id; /* also those that may repeat elsewhere */
    return true;
}

/* Whether k is answered last.  FirstBurstLength depends on what became of MaxBurstLength,
 * InitialR2T and ImmediateData, MaxOutstandingR2T on ErrorRecoveryLevel, the lengths of iSER on
 * RDMAExtensions. */
static bool
answered_last(const struct tgt_login *l, const struct text_pair *p)
{
    if (l->rdma && (text_is(p->key, p->key_len, key_get(KEY_TARGET_RECV_DSEG)->name) ||
                    text_is(p->key, p->key_len, key_get(KEY_INITIATOR_RECV_DSEG)->name)))
        return true;
    return text_is(p->key, p->key_len, key_get(KEY_FIRST_BURST)->name) ||
           text_is(p->key, p->key_len, key_get(KEY_MAX_OUTSTANDING_R2T)->name);
}

static uint16_t
all_keys(struct tgt_login *l, struct tgt_auth_keys *auth)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        struct text_iter it;
        struct text_pair p;
        uint16_t status;
        int r;

        text_iter_init(&it, l->request.buf, l->request.len);
        while ((r = text_next(&it, &p, NULL)) == 1) {
            if (answered_last(l, &p) != (pass == 1))
                continue;
            if (!add_seen(l, &p))
                return ISCSI_LOGIN_BAD_REQUEST;
            status = login_one_key(l, &p, auth);
            if (status != ISCSI_LOGIN_OK)
                return status;
        }
        if (r < 0)
            return ISCSI_LOGIN_BAD_REQUEST;
    }
    return ISCSI_LOGIN_OK;
}

/* Tells whether to propose iSER where it could be and the initiator has not, in the first response
 * with which that may be (RFC 7145 6.3). */
static bool
proposes_rdma(const struct tgt_login *l)
{
    return l->rdma && l->leading && !l->discovery && !key_set_has(&l->seen, KEY_RDMA_EXTENSIONS) &&
           l->node != NULL && l->node->params.rdma_extensions;
}

/* What we say without being asked. */
static int
declare(struct tgt_login *l)
{
    int r = 0;

    if (l->node != NULL && !l->tpgt_told) {
        l->tpgt_told = true;
        r = text_put_num(&l->answer, "TargetPortalGroupTag", TGT_TPGT);
        if (r == 0 && l->node->alias[0] != '\0' && l->leading)
            r = text_put(&l->answer, "TargetAlias", l->node->alias);
    }
    if (r == 0 && l->stage == ISCSI_STAGE_OPERATIONAL && !l->declared) {
        l->declared = true;
        l->rdma_asked = proposes_rdma(l);
        if (l->rdma_asked)
            r = text_put(&l->answer, key_get(KEY_RDMA_EXTENSIONS)->name, TEXT_YES);
        if (r == 0 && l->rdma && l->leading && l->node != NULL &&
            l->node->params.max_unexpected_pdus > 0)
            r = text_put_num(&l->answer, key_get(KEY_MAX_UNEXPECTED_PDUS)->name,
                             l->node->params.max_unexpected_pdus);
        if (!l->rdma) /* which has two keys in its place (RFC 7145 6.2) */
            r = text_put_num(&l->answer, "MaxRecvDataSegmentLength",
                             l->node != NULL ? l->node->params.max_recv_dseg
                                             : ISCSI_LOGIN_DSEG_MAX);
    }
    return r;
}

uint16_t
tgt_login_keys(struct tgt_conn *c)
{
    struct tgt_login *l = c->login;
    struct tgt_auth_keys auth = {0};
    uint16_t status = ISCSI_LOGIN_OK;
    bool asked = l->rdma_asked;

    l->rdma_declined = false;
    if (!l->identified)
        status = identify(c);
    if (status == ISCSI_LOGIN_OK)
        status = all_keys(l, &auth);
    if (status == ISCSI_LOGIN_OK && asked && l->rdma_asked)
        status = ISCSI_LOGIN_MISSING_PARAMETER; /* the answer was due in this request */
    if (status == ISCSI_LOGIN_OK && l->stage == ISCSI_STAGE_SECURITY)
        status = tgt_login_auth(c, &auth);
    if (status == ISCSI_LOGIN_OK && declare(l) < 0)
        status = ISCSI_LOGIN_BAD_REQUEST;
    return status;
}
