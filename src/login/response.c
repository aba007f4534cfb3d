/* SPDX-License-Identifier: MIT */
/* login/response.c - iscsi_recv_login_rsp: headers, stages and status of Login Responses
 * (RFC 7143 6.3, 11.13).  Ids such as LGN-16 are rows of docs/rfc-coverage.md. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "login/logical.h"
#include "login/task.h"
#include "wire/login_status.h"
#include "wire/pdu.h"

static int
response_fault(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                        "login: the target %s", what);
}

/* Returns a text that says what a person can do about a status. */
static const char *
response_hint(const struct nego *n, uint16_t status)
{
    switch (status) {
    case ISCSI_LOGIN_AUTH_FAILED:
        return auth_failure_hint(&n->auth);
    case ISCSI_LOGIN_FORBIDDEN:
        return "the target's access list must name this initiator";
    case ISCSI_LOGIN_NOT_FOUND:
        if (n->caps & CAP_RDMA)
            return "check the target's name, that it is served over iSER, and the access list if "
                   "it "
                   "hides targets";
        return "check the target's name, and the access list if it hides targets";
    case ISCSI_LOGIN_TARGET_REMOVED:
        return "discover again";
    case ISCSI_LOGIN_TOO_MANY_CONNECTIONS:
        return "log another session out or raise the target's limit";
    case ISCSI_LOGIN_SESSION_TYPE:
        return n->cfg->discovery ? "this portal does no discovery" : "check the portal";
    case ISCSI_LOGIN_NO_SESSION:
        return "the session is gone there: log in anew";
    case ISCSI_LOGIN_BAD_REQUEST:
        if (n->caps & CAP_RDMA)
            return "see the target's log, and whether it is served over iSER";
        if (!n->cfg->discovery &&
            (text_is(n->cfg->header_digest, strlen(n->cfg->header_digest), TEXT_NONE) ||
             text_is(n->cfg->data_digest, strlen(n->cfg->data_digest), TEXT_NONE)))
            return "see the target's log; one that requires digests wants header_digest=crc32c and "
                   "data_digest=crc32c in the URL";
        return "see the target's log";
    default:
        return status >> 8 == ISCSI_LOGIN_TARGET_ERROR ? "try again later" : "see the target's log";
    }
}

static int
response_refused(const struct nego *n, uint16_t status, struct lunette_error *err)
{
    bool later = status >> 8 == ISCSI_LOGIN_TARGET_ERROR;

    (void)lunette_fail(err, later ? -EAGAIN : -EACCES, LUNETTE_DOM_LOGIN, status,
                       "target refused the login: %s (0x%04x): %s",
                       login_status_text((uint8_t)(status >> 8), (uint8_t)status), status,
                       response_hint(n, status));
    return later ? NEGO_LATER : NEGO_REFUSED;
}

/* LGN-16 */
static int
response_redirected(struct nego *n, uint16_t status, const void *data, uint32_t len,
                    struct lunette_error *err)
{
    struct text_iter it;
    struct text_pair p;
    int r;

    n->naddresses = 0;
    text_iter_init(&it, data, text_without_padding(data, len));
    while ((r = text_next(&it, &p, err)) == 1) {
        if (!text_is(p.key, p.key_len, "TargetAddress") || n->naddresses == NEGO_ADDRESSES_MAX)
            continue;
        r = portal_parse(p.value, p.value_len, &n->addresses[n->naddresses], err);
        if (r == 0)
            n->naddresses++;
    }
    if (n->naddresses > 0)
        return NEGO_REDIRECT;
    if (r == -EPROTO)
        return r;
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_LOGIN, status,
                        "the target moved (0x%04x) but does not say where: no usable "
                        "TargetAddress in its response",
                        status);
}

static int
response_check_flags(const struct nego *n, uint8_t flags, struct lunette_error *err)
{
    unsigned nsg = bhs_login_nsg(flags);
    unsigned asked = n->csg == ISCSI_STAGE_SECURITY ? ISCSI_STAGE_OPERATIONAL : ISCSI_STAGE_FFP;

    if (bhs_login_csg(flags) != n->csg)
        return response_fault(err, "answers in another stage than it was asked in (CSG)");
    if (!(flags & ISCSI_LOGIN_TRANSIT))
        return 0;
    if (flags & ISCSI_LOGIN_CONTINUE)
        return response_fault(err, "set both T and C");
    if (!n->transit)
        return response_fault(err, "set T although the request did not");
    if (nsg > asked || nsg <= n->csg || nsg == 2)
        return response_fault(err, "goes to a stage that it was not asked to go to (NSG)");
    return 0;
}

/* Tells whether isid is ours as some targets give it back: as zeroes, or with bytes that have
 * become FFh because the one behind them was taken for a negative number. */
static bool
is_our_isid(const uint8_t isid[LOGIN_ISID_LEN], const uint8_t ours[LOGIN_ISID_LEN])
{
    bool zero = true, extended = true;

    for (size_t i = 0; i < LOGIN_ISID_LEN; i++) {
        bool negative = i + 1 < LOGIN_ISID_LEN && isid[i + 1] >= 0x80;

        zero = zero && isid[i] == 0;
        extended = extended && (isid[i] == ours[i] || (isid[i] == 0xff && negative));
    }
    return zero || extended;
}

static int
response_check_header(struct nego *n, const struct bhs_login_rsp *h, struct lunette_error *err)
{
    if (h->version_active != 0) /* LGR-04 */
        return response_fault(err, "uses a protocol version that was not offered");
    if (memcmp(h->isid, n->cfg->isid, sizeof(h->isid)) != 0) { /* ID-07 */
        if (!is_our_isid(h->isid, n->cfg->isid))
            return response_fault(err, "answers with another ISID");
        nego_bend(n, BEND_ISID);
    }
    return response_check_flags(n, h->flags, err);
}

/* Adds a piece to the logical response. */
static int
response_gather(struct nego *n, const void *data, uint32_t len, struct lunette_error *err)
{
    size_t need = n->in.len + len;
    int r;

    if (need > LOGICAL_TEXT_MAX)
        return response_fault(err, "sends more than 64 KiB of text at once");
    r = logical_reserve(&n->in, need, err);
    if (r < 0 || len == 0)
        return r;
    r = text_append(&n->in, data, len, err);
    need = text_without_padding(n->in.buf, n->in.len);
    if (r == 0 && need < n->in.len) {
        n->in.len = need;
        nego_bend(n, BEND_NULS);
    }
    return r;
}

/* Reads a logical response, all of which is in n->in. */
static int
response_take_text(struct nego *n, bool transit, struct lunette_error *err)
{
    struct auth_keys auth = {.have = 0};
    struct text_iter it;
    struct text_pair p;
    int r;

    n->answer_due = false;
    n->out.len = n->out_sent = 0;
    text_iter_init(&it, n->in.buf, n->in.len);
    while ((r = text_next(&it, &p, err)) == 1) {
        r = nego_take_pair(n, &p, transit, &auth, err);
        if (r < 0)
            return r;
    }
    if (r < 0)
        return r;
    if (transit && n->answer_due) /* LGN-08 */
        return response_fault(err, "proposes keys and ends the stage at once");
    r = n->csg == ISCSI_STAGE_SECURITY ? auth_receive(&n->auth, &auth, transit, err) : 0;
    n->in.len = 0;
    return r;
}

static int
response_finish(struct nego *n, const struct bhs_login_rsp *h, struct lunette_error *err)
{
    const struct login_config *cfg = n->cfg;
    int r;

    n->tsih = get16(h->tsih);
    n->stat_sn = get32(h->stat_sn);
    if (n->tsih == 0) /* ID-06 */
        nego_bend(n, BEND_TSIH_ZERO);
    if (cfg->kind == LOGIN_ADD_CONN && n->tsih != cfg->tsih)
        return response_fault(err, "put the connection into another session (TSIH)");
    if (cfg->expected_tpgt >= 0 && n->tpgt >= 0 && n->tpgt != cfg->expected_tpgt)
        return lunette_fail(err, -EACCES, LUNETTE_DOM_LOGIN, 0,
                            "the portal belongs to portal group %d, not %d as expected: discover "
                            "again",
                            n->tpgt, cfg->expected_tpgt);
    r = nego_conclude(n, err);
    if (n->tsih == 0) /* nothing names the session to which a connection could be added */
        n->params.max_connections = 1;
    return r < 0 ? r : NEGO_FINAL;
}

/* LGN-01: during login a target sends nothing but Login Responses. */
static int
response_wrong_opcode(const struct bhs *hdr, struct lunette_error *err)
{
    const union bhs_any *h = (const void *)hdr;

    if (pdu_opcode(hdr) == ISCSI_OP_REJECT) {
        (void)lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, h->reject.reason,
                           "the target rejected a Login Request as malformed (reason 0x%02x)",
                           h->reject.reason);
        return NEGO_REFUSED;
    }
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                        "login: the target sent a PDU of type \"%s\" during login",
                        pdu_opcode_name(pdu_opcode(hdr)));
}

int
nego_response(struct nego *n, const struct bhs *hdr, const void *data, uint32_t len,
              uint16_t *ret_status, struct lunette_error *err)
{
    const struct bhs_login_rsp *h = (const void *)hdr;
    uint16_t status = (uint16_t)(h->status_class << 8 | h->status_detail);
    bool transit = h->flags & ISCSI_LOGIN_TRANSIT;
    int r;

    if (pdu_opcode(hdr) != ISCSI_OP_LOGIN_RSP)
        return response_wrong_opcode(hdr, err);
    if (len > ISCSI_LOGIN_DSEG_MAX) /* LGN-04 */
        return response_fault(err, "sends more than 8192 bytes in one Login Response");
    *ret_status = status;
    if (h->status_class == ISCSI_LOGIN_REDIRECT)
        return response_redirected(n, status, data, len, err);
    if (h->status_class != ISCSI_LOGIN_SUCCESS) /* LGN-15, LGR-02 */
        return response_refused(n, status, err);
    r = response_check_header(n, h, err);
    if (r < 0)
        return r;
    if (n->continuing) /* TNG-03 */
        return len > 0 || (h->flags & (ISCSI_LOGIN_TRANSIT | ISCSI_LOGIN_CONTINUE))
                   ? response_fault(err, "speaks before the request is complete (C bit)")
                   : NEGO_MORE;
    r = response_gather(n, data, len, err);
    if (r < 0)
        return r;
    n->gathering = h->flags & ISCSI_LOGIN_CONTINUE;
    if (n->gathering)
        return NEGO_MORE;
    r = response_take_text(n, transit, err);
    if (r < 0 || !transit)
        return r < 0 ? r : NEGO_MORE;
    n->csg = bhs_login_nsg(h->flags);
    return n->csg == ISCSI_STAGE_FFP ? response_finish(n, h, err) : NEGO_MORE;
}

void
iscsi_recv_login_rsp(struct iscsi_login *l)
{
    static const enum login_event verdicts[] = {
        [NEGO_MORE] = LOGIN_EV_MORE,         [NEGO_FINAL] = LOGIN_EV_FINAL,
        [NEGO_REDIRECT] = LOGIN_EV_REDIRECT, [NEGO_LATER] = LOGIN_EV_LATER,
        [NEGO_REFUSED] = LOGIN_EV_REFUSED,
    };
    const struct iscsi_kevent *ev = l->pdu;
    int r;

    assert(ev != NULL);
    if (l->answer_ns == 0) {
        l->answer_ns = l->loop->now_ns - l->asked_ns;
        loop_timer_stop(l->loop, &l->step);
    }
    r = nego_response(&l->nego, &ev->u.recv_pdu.hdr, l->pdu_data, ev->u.recv_pdu.data_len,
                      &l->status, login_err(l));

    TRACE(l->loop, iscsi_recv_login_rsp, l->sid, r < 0 ? 0xffff : l->status);
    login_post(l, r < 0 ? LOGIN_EV_FAIL : verdicts[r]);
}
