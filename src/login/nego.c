/* SPDX-License-Identifier: MIT */
/* Makes what a login asks, and reads the answers.  The rules of single keys are in wire/keys.h;
 * response.c reads the headers and joins the text.  Ids such as LGN-13 are rows of
 * docs/rfc-coverage.md. */
#include "login/nego.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/log.h"
#include "login/logical.h"
#include "wire/params.h"

/* What LIO has room for in a PDU that is sent to it over RDMA, whatever it agrees on. */
#define TARGET_RECV_DSEG_MAX 8192

/* Over several connections a reset is told on each that it concerns, where the target knows how.  A
 * transport that sends data by itself could not stop it. */
static const char *
reporting_list(const struct nego *n)
{
    if (n->cfg->task_reporting[0] == '\0' && n->offer.max_connections > 1 &&
        (n->caps & CAP_DATA_PATH_OFFLOAD) == 0)
        return "FastAbort,ResponseFence,RFC3720";
    return n->cfg->task_reporting;
}

static const char *
offer_list(const struct nego *n, enum key_id id)
{
    if (id == KEY_HEADER_DIGEST)
        return n->caps & CAP_HDRDGST ? n->cfg->header_digest : TEXT_NONE;
    if (id == KEY_DATA_DIGEST)
        return n->caps & CAP_DATADGST ? n->cfg->data_digest : TEXT_NONE;
    return id == KEY_TASK_REPORTING ? reporting_list(n) : NULL;
}

/* Writes our value of k as text, which is what we offer, and what our answer to an offer of the
 * target is made from. */
static void
our_value(const struct nego *n, const struct key *k, char *buf, size_t size)
{
    const char *list = offer_list(n, k->id);

    if (list != NULL && list[0] != '\0') {
        size_t len = strlen(list);

        assert(len < size);
        memcpy(buf, list, len + 1);
    } else if (params_format(&n->offer, k, buf, size) < 0) {
        buf[0] = '\0';
    }
}

static bool
by_rdma(const struct nego *n)
{
    return n->caps & CAP_RDMA;
}

/* Tells whether it is for the transport to say if k is sent, and then *ret.  Over iSER two lengths
 * take the place of MaxRecvDataSegmentLength (ISR-02), but in a discovery, which has no iSER mode:
 * LIO takes what is not said there for 0, and sends empty Text Responses that promise more, for
 * ever.  What else RFC 7145 has keys for stays as it
 * is by default, and is not sent, since most targets do not know those keys: there is no limit to
 * what comes unasked, as it waits for a receive (6.7), and there are no Hello messages (6.10).
 * Digests are irrelevant there, but LIO takes one for agreed on, and makes none: it hears of None.
 */
static bool
depends_on_rdma(const struct nego *n, const struct key *k, bool *ret)
{
    if (k->id == KEY_RDMA_EXTENSIONS || k->id == KEY_TARGET_RECV_DSEG ||
        k->id == KEY_INITIATOR_RECV_DSEG)
        *ret = n->offer.rdma_extensions;
    else if (k->id == KEY_MAX_RECV_DSEG)
        *ret = !by_rdma(n) || n->cfg->discovery;
    else if (k->irrelevant == KEY_IRR_ISER || k->irrelevant == KEY_IRR_NOT_ISER)
        *ret = k->irrelevant == KEY_IRR_ISER;
    else
        return false;
    return true;
}

/* Tells whether we send k in the operational stage. */
static bool
offers(const struct nego *n, const struct key *k)
{
    bool decided;

    if (k->field < 0 || k->stage != KEY_STAGE_OPER || k->use_initiator == 0 ||
        k->result == KEY_RESULT_REJECT || k->result == KEY_RESULT_QUERY)
        return false;
    if ((k->use_initiator & KEY_USE_LEADING) && n->cfg->kind == LOGIN_ADD_CONN)
        return false; /* LGN-13 */
    if (depends_on_rdma(n, k, &decided))
        return decided;
    if (k->id == KEY_TASK_REPORTING && reporting_list(n)[0] == '\0')
        return false;
    if (k->id == KEY_PROTOCOL_LEVEL && !n->cfg->offer_protocol_level)
        return false;
    /* KEY-15.  FirstBurstLength is offered even where unsolicited data is not: istgt compares its
     * own value with MaxBurstLength otherwise, and fails. */
    return k->id == KEY_FIRST_BURST ? !n->cfg->discovery
                                    : !key_irrelevant(k, n->cfg->discovery, &n->offer);
}

/* iSER has a mode of its own in sessions that are not for discovery (RFC 7145 6.3).  Data is asked
 * for or goes with the command, never behind it: a target that refuses what comes unasked may be
 * lost for others (LIO), and there is nothing to be gained over RDMA Read. */
static void
offer_iser(struct nego *n)
{
    struct iscsi_params *o = &n->offer;

    o->rdma_extensions = !n->cfg->discovery;
    if (n->cfg->discovery)
        o->max_recv_dseg = ISCSI_LOGIN_DSEG_MAX;
    o->initiator_recv_dseg = o->max_recv_dseg;
    o->target_recv_dseg = TARGET_RECV_DSEG_MAX;
    o->initial_r2t = true;
}

/* Lowers the offer to what the transport can do. */
static void
lower_offer(struct nego *n, uint32_t limit)
{
    struct iscsi_params *o = &n->offer;
    uint32_t caps = n->caps;

    *o = n->cfg->offer;
    if (o->max_connections < n->cfg->nr_connections)
        o->max_connections = n->cfg->nr_connections;
    if (limit > 0 && o->max_recv_dseg > limit)
        o->max_recv_dseg = limit < 512 ? 512 : limit;
    if (!(caps & CAP_MULTI_R2T))
        o->max_outstanding_r2t = 1;
    if (!(caps & CAP_MULTI_CONN))
        o->max_connections = 1;
    if (o->erl >= 2 && !(caps & CAP_RECOVERY_L2))
        o->erl = 1;
    if ((o->erl == 1 && !(caps & CAP_RECOVERY_L1)) || n->cfg->discovery)
        o->erl = 0;
    if (o->erl >= 2 && o->time2retain == 0) /* else nothing would be kept for level 2 */
        o->time2retain = 20;
    if (o->erl > 0 && o->data_sequence_in_order) /* RFC 7143 13.19 */
        o->max_outstanding_r2t = 1;
    o->session_type = n->cfg->discovery ? ISCSI_SESSION_DISCOVERY : ISCSI_SESSION_NORMAL;
    o->task_reporting = ISCSI_TASK_RFC3720;
    if (!n->cfg->offer_protocol_level)
        o->protocol_level = 1;
    o->rdma_extensions = false;
    if (by_rdma(n))
        offer_iser(n);
}

int
nego_init(struct nego *n, const struct login_config *cfg, uint32_t caps, uint32_t max_recv_dlength,
          struct ctl *ctl)
{
    *n = (struct nego){.cfg = cfg, .loop = ctl_loop(ctl), .caps = caps, .tpgt = -1};
    auth_init(&n->auth, cfg, ctl);
    params_init(&n->params);
    n->params.session_type = cfg->discovery ? ISCSI_SESSION_DISCOVERY : ISCSI_SESSION_NORMAL;
    lower_offer(n, max_recv_dlength);
    if (cfg->kind == LOGIN_ADD_CONN) /* the leading connection has agreed on it */
        n->params.rdma_extensions = n->offer.rdma_extensions;
    n->csg = auth_has_account(cfg) || cfg->security_first ? ISCSI_STAGE_SECURITY
                                                          : ISCSI_STAGE_OPERATIONAL;
    n->began = n->csg;
    n->unknown = malloc(NEGO_UNKNOWN_MAX * sizeof(n->unknown[0]));
    if (logical_init(&n->in) < 0 || logical_init(&n->out) < 0 || n->unknown == NULL) {
        nego_fini(n);
        return -ENOMEM;
    }
    return 0;
}

void
nego_bend(struct nego *n, enum wire_bend bend)
{
    if (n->bends & UINT32_C(1) << bend)
        return;
    n->bends |= UINT32_C(1) << bend;
    log_line(n->loop->log, LOG_LEVEL_INFO, "login: this target bends: it %s", bend_text(bend));
}

/* Could a target mean by this status that it does not take the first stage?  Those that name a
 * reason of another kind are left out. */
static bool
may_mean_stage(uint16_t status)
{
    switch (status) {
    case ISCSI_LOGIN_NOT_FOUND:
    case ISCSI_LOGIN_TARGET_REMOVED:
    case ISCSI_LOGIN_BAD_VERSION:
    case ISCSI_LOGIN_TOO_MANY_CONNECTIONS:
    case ISCSI_LOGIN_CANNOT_INCLUDE:
    case ISCSI_LOGIN_SESSION_TYPE:
    case ISCSI_LOGIN_NO_SESSION:
        return false;
    default:
        return status == 0 || status >> 8 == ISCSI_LOGIN_INITIATOR_ERROR;
    }
}

enum wire_bend
nego_other_way(const struct nego *n, uint16_t status, struct login_config *cfg)
{
    if (n->began == ISCSI_STAGE_OPERATIONAL && n->exchanges == 1 && may_mean_stage(status)) {
        cfg->security_first = true;
        return BEND_STAGE;
    }
    if (auth_list_is_out(&n->auth) && !n->cfg->chap_algs_fixed &&
        (status == 0 || status == ISCSI_LOGIN_BAD_REQUEST || status == ISCSI_LOGIN_AUTH_FAILED)) {
        memset(cfg->chap_algs, 0, sizeof(cfg->chap_algs));
        cfg->chap_algs[0] = CHAP_MD5;
        cfg->chap_algs_fixed = true;
        return BEND_CHAP_LIST;
    }
    return BEND_COUNT;
}

void
nego_fini(struct nego *n)
{
    if (n->cfg == NULL)
        return;
    auth_fini(&n->auth);
    logical_fini(&n->in);
    logical_fini(&n->out);
    free(n->unknown);
    *n = (struct nego){.cfg = NULL};
}

/* LGN-03 */
static int
put_names(struct nego *n, struct lunette_error *err)
{
    const struct login_config *c = n->cfg;
    const char *type = c->discovery ? "Discovery" : "Normal";
    int r =
        logical_put(&n->out, "InitiatorName", c->initiator_name, strlen(c->initiator_name), err);

    if (r == 0 && c->initiator_alias[0] != '\0' && c->kind != LOGIN_ADD_CONN)
        r = logical_put(&n->out, "InitiatorAlias", c->initiator_alias, strlen(c->initiator_alias),
                        err);
    if (r == 0 && c->target_name[0] != '\0')
        r = logical_put(&n->out, "TargetName", c->target_name, strlen(c->target_name), err);
    if (r == 0 && c->kind != LOGIN_ADD_CONN)
        r = logical_put(&n->out, "SessionType", type, strlen(type), err);
    n->first_sent = true;
    return r;
}

static int
put_offer(struct nego *n, const struct key *k, struct lunette_error *err)
{
    char value[KEY_ANSWER_SIZE];

    if (!offers(n, k) || key_set_has(&n->seen, k->id))
        return 0;
    our_value(n, k, value, sizeof(value));
    (void)key_set_add(&n->offered, k);
    return logical_put(&n->out, k->name, value, strlen(value), err);
}

static int
put_offers(struct nego *n, struct lunette_error *err)
{
    int r = put_offer(n, key_get(KEY_RDMA_EXTENSIONS), err); /* it is the first (RFC 7145 6.3) */

    for (unsigned id = 0; r == 0 && id < KEY_COUNT; id++) {
        if (id != KEY_RDMA_EXTENSIONS)
            r = put_offer(n, key_get((enum key_id)id), err);
    }
    n->offers_sent = true;
    return r;
}

/* Makes the text of a logical request: n->out holds the answers already. */
static int
nego_build(struct nego *n, struct lunette_error *err)
{
    int r = 0;

    if (++n->exchanges > NEGO_EXCHANGES_MAX)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "the target negotiates without end: %u exchanges", NEGO_EXCHANGES_MAX);
    if (!n->first_sent)
        r = put_names(n, err);
    if (r < 0)
        return r;
    if (n->csg == ISCSI_STAGE_SECURITY)
        return auth_send(&n->auth, &n->out, &n->want_transit, err);
    n->want_transit = true;
    return n->offers_sent ? 0 : put_offers(n, err);
}

/* Makes the header of a Login Request.  The data plane fills in ITT, CmdSN and ExpStatSN. */
static void
iscsi_make_login_pdu(const struct nego *n, struct bhs_login_req *hdr, unsigned flag, uint32_t len)
{
    unsigned nsg = 0;

    if (flag == ISCSI_LOGIN_TRANSIT)
        nsg = n->csg == ISCSI_STAGE_SECURITY ? ISCSI_STAGE_OPERATIONAL : ISCSI_STAGE_FFP;
    bhs_init(hdr, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, bhs_login_flags(n->csg, nsg, flag));
    hdr->dseg_len = put24(len);
    memcpy(hdr->isid, n->cfg->isid, sizeof(hdr->isid));
    hdr->tsih = put16(n->cfg->kind == LOGIN_ADD_CONN ? n->cfg->tsih : 0);
    hdr->cid = put16(n->cfg->cid);
    TRACE(n->loop, iscsi_make_login_pdu, hdr->flags, len);
}

int
nego_request(struct nego *n, struct bhs_login_req *hdr, const void **data, uint32_t *len,
             struct lunette_error *err)
{
    size_t left;
    int r;

    assert(n->csg != ISCSI_STAGE_FFP);
    if (++n->pdus > NEGO_PDUS_MAX)
        return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                            "the target negotiates without end: %u PDUs", NEGO_PDUS_MAX);
    *data = NULL;
    *len = 0;
    n->transit = n->continuing = false;
    if (n->gathering) { /* TNG-03: an empty request asks for the rest of the response */
        iscsi_make_login_pdu(n, hdr, 0, 0);
        return 0;
    }
    if (n->out_sent == 0) {
        r = nego_build(n, err);
        if (r < 0)
            return r;
    }
    left = n->out.len - n->out_sent;
    *data = n->out.buf + n->out_sent;
    if (left > ISCSI_LOGIN_DSEG_MAX) {
        *len = ISCSI_LOGIN_DSEG_MAX;
        n->continuing = true;
        iscsi_make_login_pdu(n, hdr, ISCSI_LOGIN_CONTINUE, *len);
    } else {
        *len = (uint32_t)left;
        n->transit = n->want_transit;
        iscsi_make_login_pdu(n, hdr, n->transit ? ISCSI_LOGIN_TRANSIT : 0, *len);
    }
    n->out_sent += *len;
    return 0;
}

/* ---- the target's keys --------------------------------------------------------------------- */

static int
nego_key_error(struct lunette_error *err, const struct text_pair *p, const char *what)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                        "login: the target's key %.*s %s", (int)p->key_len, p->key, what);
}

static uint64_t
nego_hash(const char *text, size_t len)
{
    uint64_t hash = 14695981039346656037u;

    for (size_t i = 0; i < len; i++)
        hash = (hash ^ (uint8_t)text[i]) * 1099511628211u;
    return hash;
}

/* Takes a key that has come before.  A value that is declared twice is harmless where it is the
 * same; what is negotiated, and what authenticates, comes once (RFC 7143 6.3). */
static int
take_twice(struct nego *n, const struct text_pair *p, bool declared, uint64_t before,
           struct lunette_error *err)
{
    if (!declared || nego_hash(p->value, p->value_len) != before)
        return nego_key_error(err, p, "came twice");
    nego_bend(n, BEND_KEY_TWICE);
    return 0;
}

/* Answers NotUnderstood to an unknown key, but not where the target has ended the stage, and so
 * cannot expect an answer. */
static int
take_unknown(struct nego *n, const struct text_pair *p, bool transit, struct lunette_error *err)
{
    uint64_t hash = nego_hash(p->key, p->key_len);
    char name[TEXT_KEY_MAX + 1];

    for (uint32_t i = 0; i < n->nunknown; i++) {
        if (n->unknown[i].key == hash)
            return take_twice(n, p, true, n->unknown[i].value, err);
    }
    if (n->nunknown == NEGO_UNKNOWN_MAX)
        return nego_key_error(err, p, "is one unknown key too many");
    n->unknown[n->nunknown++] =
        (struct nego_unknown){.key = hash, .value = nego_hash(p->value, p->value_len)};
    if (transit || text_word(p->value, p->value_len) != TEXT_WORD_OTHER)
        return 0;
    assert(p->key_len <= TEXT_KEY_MAX);
    memcpy(name, p->key, p->key_len);
    name[p->key_len] = '\0';
    return logical_put(&n->out, name, TEXT_NOT_UNDERSTOOD, strlen(TEXT_NOT_UNDERSTOOD), err);
}

/* Tells whether only an initiator declares k during login. */
static bool
only_we_declare(const struct key *k)
{
    return k->result == KEY_RESULT_DECLARE && (k->use_initiator & KEY_USE_LOGIN) &&
           !(k->use_target & KEY_USE_LOGIN);
}

/* Takes a key that only we may declare.  A target that repeats it says nothing new; one that names
 * somebody else has taken us for somebody else. */
static int
take_ours(struct nego *n, const struct key *k, const struct text_pair *p, struct lunette_error *err)
{
    const struct login_config *c = n->cfg;
    bool hello = k->id == KEY_ISER_HELLO_REQUIRED && by_rdma(n);
    const char *ours = k->id == KEY_TARGET_NAME      ? c->target_name
                       : k->id == KEY_INITIATOR_NAME ? c->initiator_name
                       : k->id != KEY_SESSION_TYPE   ? ""
                       : c->discovery                ? "Discovery"
                                                     : "Normal";

    if (hello && text_is(p->value, p->value_len, TEXT_YES)) /* ISR-09 */
        return nego_key_error(err, p,
                              "asks for Hello messages, which are for an initiator to ask for "
                              "(RFC 7145 6.10), and this one does not");
    if (ours[0] != '\0' &&
        (strlen(ours) != p->value_len || strncasecmp(ours, p->value, p->value_len) != 0))
        return nego_key_error(err, p, "is ours to declare, and has another value than we gave it");
    nego_bend(n, BEND_KEYS_OF_OURS);
    return 0;
}

static int
take_declaration(struct nego *n, const struct key *k, const struct text_pair *p,
                 struct lunette_error *err)
{
    struct key_value v;
    int r = key_check_offer(k, p->value, p->value_len, &v, err);

    if (r < 0)
        return r == -EPROTO ? r : nego_key_error(err, p, "has no legal value");
    params_set(&n->params, k, &v);
    if (k->id == KEY_TARGET_PORTAL_GROUP_TAG) {
        n->tpgt = (int32_t)v.num;
    } else if (k->id == KEY_TARGET_ALIAS) {
        memcpy(n->target_alias, p->value,
               p->value_len); /* key_check_offer has seen to it that it fits */
        n->target_alias[p->value_len] = '\0';
    }
    return 0;
}

/* Checks the answer to an offer of one digest alone, which insists on it.  The target may know
 * another one, or none: that breaks no rule, and the login ends with what to offer instead. */
static int
check_digest(const struct key *k, const char *offer, const struct text_pair *p,
             struct lunette_error *err)
{
    const char *option = k->id == KEY_HEADER_DIGEST ? "header_digest" : "data_digest";
    enum text_word w = text_word(p->value, p->value_len);

    if (strcmp(offer, TEXT_NONE) == 0 && text_is(p->value, p->value_len, "CRC32C"))
        return lunette_fail(err, -EACCES, LUNETTE_DOM_LOGIN, 0,
                            "the target requires %s=CRC32C, and only None is offered: "
                            "%s=crc32c,none takes either",
                            k->name, option);
    if (strcmp(offer, "CRC32C") == 0 && w != TEXT_WORD_OTHER && w != TEXT_WORD_NOT_UNDERSTOOD)
        return lunette_fail(err, -EACCES, LUNETTE_DOM_LOGIN, 0,
                            "%s=CRC32C is required here, and the target does not do it (it answers "
                            "%.*s): %s=crc32c,none goes on without it",
                            k->name, (int)p->value_len, p->value, option);
    return 0;
}

/* ISR-01: whoever was connected to over RDMA speaks iSER or nothing. */
static int
no_iser(const char *answer, size_t len, struct lunette_error *err)
{
    return lunette_fail(err, -EACCES, LUNETTE_DOM_LOGIN, 0,
                        "the target does not agree to iSER (%s%.*s to RDMAExtensions=Yes): log in "
                        "over tcp, or have iSER enabled for the target and its portal",
                        len > 0 ? "it answers " : "no answer", len > 40 ? 40 : (int)len, answer);
}

static int
take_answer(struct nego *n, const struct key *k, const struct text_pair *p,
            struct lunette_error *err)
{
    char offer[KEY_ANSWER_SIZE];
    struct key_value v;
    int r;

    our_value(n, k, offer, sizeof(offer));
    if (k->id == KEY_HEADER_DIGEST || k->id == KEY_DATA_DIGEST) {
        r = check_digest(k, offer, p, err);
        if (r < 0)
            return r;
    }
    r = key_check_answer(k, offer, p->value, p->value_len, &v, err);
    if (r < 0)
        return r;
    if (v.outcome == KEY_AGREED)
        params_set(&n->params, k, &v);
    if (k->id == KEY_RDMA_EXTENSIONS && !n->params.rdma_extensions)
        return no_iser(p->value, p->value_len, err);
    return 0;
}

static int
take_proposal(struct nego *n, const struct key *k, const struct text_pair *p,
              struct lunette_error *err)
{
    char ours[KEY_ANSWER_SIZE], answer[KEY_ANSWER_SIZE];
    struct key_value v;
    int r;

    n->answer_due = true;
    if (key_irrelevant(k, n->cfg->discovery, &n->params))
        return logical_put(&n->out, k->name, TEXT_IRRELEVANT, strlen(TEXT_IRRELEVANT), err);
    our_value(n, k, ours, sizeof(ours));
    r = key_answer(k, p->value, p->value_len, ours, answer, &v, err);
    if (r < 0)
        return r;
    if (v.outcome == KEY_AGREED)
        params_set(&n->params, k, &v);
    return answer[0] == '\0' ? 0 : logical_put(&n->out, k->name, answer, strlen(answer), err);
}

static bool
is_auth_key(enum key_id id)
{
    static_assert(KEY_CHAP_R - KEY_AUTH_METHOD == 5, "struct auth_keys has one place for each");
    return id >= KEY_AUTH_METHOD && id <= KEY_CHAP_R;
}

static void
keep_auth_key(struct auth_keys *a, enum key_id id, const struct text_pair *p)
{
    struct text_pair *at[] = {&a->method, &a->chap_a, &a->chap_i,
                              &a->chap_c, &a->chap_n, &a->chap_r};

    *at[id - KEY_AUTH_METHOD] = *p;
    a->have |= 1u << (id - KEY_AUTH_METHOD);
}

int
nego_take_pair(struct nego *n, const struct text_pair *p, bool transit, struct auth_keys *auth,
               struct lunette_error *err)
{
    const struct key *k = key_find(p->key, p->key_len);
    struct key_context ctx = {
        .from_target = true,
        .leading = n->cfg->kind != LOGIN_ADD_CONN,
        .discovery = n->cfg->discovery,
        .stage = n->csg == ISCSI_STAGE_SECURITY ? KEY_STAGE_SEC : KEY_STAGE_OPER,
    };
    int r;

    if (k == NULL)
        return take_unknown(n, p, transit, err);
    if (only_we_declare(k))
        return take_ours(n, k, p, err);
    r = key_check_context(k, &ctx, err); /* LGN-11, LGN-13 */
    if (r < 0)
        return r;
    if (!key_set_add(&n->seen, k)) /* TNG-13 */
        return take_twice(n, p, k->result == KEY_RESULT_DECLARE && !is_auth_key(k->id),
                          n->said[k->id], err);
    n->said[k->id] = nego_hash(p->value, p->value_len);
    if (is_auth_key(k->id)) {
        keep_auth_key(auth, k->id, p);
        return 0;
    }
    if (k->id == KEY_TARGET_ADDRESS)
        return 0; /* it means something in redirections only */
    if (k->result == KEY_RESULT_DECLARE)
        return take_declaration(n, k, p, err);
    if (key_set_has(&n->offered, k->id))
        return take_answer(n, k, p, err);
    return take_proposal(n, k, p, err);
}

/* Sets the lengths of the data of PDUs.  What was said of MaxRecvDataSegmentLength means nothing
 * over iSER (RFC 7145 6.2); in a discovery, of which that RFC says nothing, no target has been seen
 * that has room for more than a login needs. */
static void
settle_lengths(struct nego *n)
{
    struct iscsi_params *p = &n->params;

    if (!by_rdma(n)) {
        p->max_recv_dseg = n->offer.max_recv_dseg;
    } else if (n->offer.rdma_extensions) {
        p->max_recv_dseg = p->initiator_recv_dseg;
        p->max_xmit_dseg = p->target_recv_dseg;
    } else {
        p->max_recv_dseg = ISCSI_LOGIN_DSEG_MAX;
        if (p->max_xmit_dseg > TARGET_RECV_DSEG_MAX)
            p->max_xmit_dseg = TARGET_RECV_DSEG_MAX;
    }
}

int
nego_conclude(struct nego *n, struct lunette_error *err)
{
    if (n->offer.rdma_extensions && !n->params.rdma_extensions)
        return no_iser("", 0, err);
    for (unsigned id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);
        char offer[KEY_ANSWER_SIZE];
        struct key_value v;

        if (!key_set_has(&n->offered, k->id) || key_set_has(&n->seen, k->id) ||
            k->result == KEY_RESULT_DECLARE || (k->flags & KEY_FLAG_LATER) ||
            (k->irrelevant == KEY_IRR_ISER && n->params.rdma_extensions))
            continue;
        our_value(n, k, offer, sizeof(offer));
        if (!key_answer_optional(k, offer)) /* TNG-07 */
            return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                                "login: the target ended the negotiation without an answer to "
                                "%s=%s",
                                k->name, offer);
        if (key_check_answer(k, offer, offer, strlen(offer), &v, NULL) == 0)
            params_set(&n->params, k, &v);
    }
    settle_lengths(n);
    if (n->cfg->discovery)
        n->params.erl = 0; /* KEY-09 */
    return params_check_integrity(&n->params, err);
}
