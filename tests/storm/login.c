/* SPDX-License-Identifier: MIT */
/* Logging in, in the ways that initiators do, and in some that none does. */
#include <stdio.h>
#include <string.h>

#include "storm.h"
#include "wire/chap.h"
#include "wire/key_table.h"

enum plan {
    PLAN_ONE_STEP, /* operational stage only */
    PLAN_SECURITY, /* AuthMethod=None, then the operational stage */
    PLAN_CHAP,
    PLAN_WRONG_CHAP,
    PLAN_ODD_KEYS, /* any key with any value */
    PLAN_GARBAGE,
    PLANS,
};

static void
put_key(struct storm_link *l, const char *key, const char *value)
{
    (void)text_put(&l->keys, key, value);
}

static void
put_names(struct storm_link *l)
{
    struct party *p = l->party;
    struct rng *r = &p->rng;
    char name[128];

    (void)snprintf(name, sizeof(name), STORM_PREFIX "party-%u", p->index);
    if (!rng_chance(r, 5))
        put_key(l, "InitiatorName", name);
    if (p->discovery)
        put_key(l, "SessionType", "Discovery");
    else if (rng_chance(r, 300))
        put_key(l, "SessionType", "Normal");
    if (!p->discovery || rng_chance(r, 300))
        put_key(l, "TargetName", rng_chance(r, 8) ? STORM_PREFIX "nobody" : p->target);
    if (rng_chance(r, 200))
        put_key(l, "InitiatorAlias", "storm");
}

/* Number keys with values that a session can live with. */
static void
put_numbers(struct storm_link *l)
{
    static const struct {
        const char *key;
        uint32_t values[4];
    } keys[] = {
        {"FirstBurstLength", {512, 4096, 65536, 262144}},
        {"MaxBurstLength", {1024, 16384, 262144, 1048576}},
        {"MaxOutstandingR2T", {1, 2, 4, 16}},
        {"MaxConnections", {1, 3, 3, 8}},
        {"DefaultTime2Wait", {0, 2, 5, 3600}},
        {"DefaultTime2Retain", {0, 20, 60, 3600}},
        {"ErrorRecoveryLevel", {0, 1, 2, 2}},
        {"iSCSIProtocolLevel", {0, 1, 2, 31}},
    };
    struct rng *r = &l->party->rng;

    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        if (rng_chance(r, 600))
            (void)text_put_num(&l->keys, keys[i].key, keys[i].values[rng_below(r, 4)]);
    }
}

static void
put_operational(struct storm_link *l, bool leading)
{
    static const char *const digests[] = {"None", "CRC32C", "CRC32C,None", "None,CRC32C"};
    static const uint32_t recv[] = {512, 8192, 65536, STORM_SEG_MAX};
    struct rng *r = &l->party->rng;

    (void)text_put_num(&l->keys, "MaxRecvDataSegmentLength", recv[rng_below(r, 4)]);
    if (rng_chance(r, 600))
        put_key(l, "HeaderDigest", digests[rng_below(r, 4)]);
    if (rng_chance(r, 600))
        put_key(l, "DataDigest", digests[rng_below(r, 4)]);
    if (rng_chance(r, 100))
        put_key(l, "X-example.storm", "blows");
    if (!leading || l->party->discovery)
        return;
    put_numbers(l);
    put_key(l, "InitialR2T", rng_chance(r, 750) ? "No" : "Yes");
    put_key(l, "ImmediateData", rng_chance(r, 800) ? "Yes" : "No");
    if (rng_chance(r, 200))
        put_key(l, "DataPDUInOrder", "No");
    if (rng_chance(r, 200))
        put_key(l, "TaskReporting", "FastAbort,ResponseFence,RFC3720");
    if (rng_chance(r, 100))
        put_key(l, "RDMAExtensions", "Yes");
}

static void
put_odd_keys(struct storm_link *l)
{
    static const char *const values[] = {
        "",      "Yes",        "No",  "None",   "Reject",        "0",    "1",      "16777215",
        "0x200", "Irrelevant", "1~2", "CRC32C", "NotUnderstood", "0xzz", "0b====", "4294967296",
        "-1",    ",",          "All"};
    struct rng *r = &l->party->rng;
    unsigned n = 1 + rng_below(r, 6);

    while (n-- > 0) {
        const struct key *k = key_get((enum key_id)rng_below(r, KEY_COUNT));

        put_key(l, k->name, values[rng_below(r, sizeof(values) / sizeof(values[0]))]);
    }
}

/* Sends the next piece of what is in keys. */
static void
send_piece(struct storm_link *l, unsigned csg, unsigned nsg)
{
    struct party *p = l->party;
    struct rng *r = &p->rng;
    uint32_t len = (uint32_t)l->keys.len;
    struct bhs_login_req h;
    bool more = false;

    if (len > 8 && rng_chance(r, 120)) {
        len = 1 + rng_below(r, len - 1);
        more = true;
    }
    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
             more ? bhs_login_flags(csg, 0, ISCSI_LOGIN_CONTINUE)
                  : bhs_login_flags(csg, nsg, nsg != csg ? ISCSI_LOGIN_TRANSIT : 0));
    memcpy(h.isid, p->isid, sizeof(h.isid));
    h.tsih = put16(l->tsih);
    h.itt = put32(l->cid);
    h.cid = put16(l->cid);
    h.cmd_sn = put32(p->cmd_sn);
    h.exp_stat_sn = put32(l->stat_sn);
    link_pdu(l, &h, NULL, 0, l->keys.buf, len);
    memmove(l->text, l->text + len, l->keys.len - len);
    l->keys.len -= len;
    l->csg = csg;
    l->nsg = nsg;
}

static bool
find_value(const char *text, uint32_t len, const char *key, struct text_pair *ret)
{
    struct text_iter it;

    text_iter_init(&it, text, len);
    while (text_next(&it, ret, NULL) == 1) {
        if (text_is(ret->key, ret->key_len, key))
            return true;
    }
    return false;
}

static void
answer_challenge(struct storm_link *l, const char *text, uint32_t len)
{
    struct rng *r = &l->party->rng;
    uint8_t challenge[64], response[CHAP_RESPONSE_MAX];
    const char *secret = l->plan == PLAN_CHAP ? STORM_SECRET : "not the secret";
    struct text_pair a, i, c;
    uint64_t alg, id;
    int n;

    if (!find_value(text, len, "CHAP_A", &a) || !find_value(text, len, "CHAP_I", &i) ||
        !find_value(text, len, "CHAP_C", &c) || text_parse_num(a.value, a.value_len, &alg) < 0 ||
        text_parse_num(i.value, i.value_len, &id) < 0)
        return;
    n = text_parse_bin(c.value, c.value_len, challenge, sizeof(challenge));
    if (n <= 0 || chap_response((unsigned)alg, (uint8_t)id, secret, strlen(secret), challenge,
                                (size_t)n, response) < 0)
        return;
    put_key(l, "CHAP_N", STORM_USER);
    (void)text_put_hex(&l->keys, "CHAP_R", response, chap_response_len((unsigned)alg));
    if (rng_chance(r, 500)) {
        (void)text_put_num(&l->keys, "CHAP_I", rng_below(r, 256));
        (void)text_put_hex(&l->keys, "CHAP_C", random_data(r, 24), 24);
    }
}

/* The next request of the plan; text is what the target has answered to the one before. */
static void
login_step(struct storm_link *l, const char *text, uint32_t len)
{
    struct rng *r = &l->party->rng;
    unsigned first = l->plan == PLAN_CHAP || l->plan == PLAN_WRONG_CHAP ? 3
                     : l->plan == PLAN_SECURITY                         ? 1
                                                                        : 0;

    text_buf_init(&l->keys, l->text, sizeof(l->text));
    if (l->step == 0)
        put_names(l);
    if (l->step < first) {
        static const char *const algs[] = {"5", "7,5", "8,7,6,5", "99,6", "99"};

        if (l->step == 0)
            put_key(l, "AuthMethod",
                    first == 1           ? "None"
                    : rng_chance(r, 500) ? "CHAP"
                                         : "CHAP,None");
        else if (l->step == 1)
            put_key(l, "CHAP_A", algs[rng_below(r, rng_chance(r, 900) ? 4 : 5)]);
        else
            answer_challenge(l, text, len);
        send_piece(l, 0, l->step + 1 == first ? 1 : 0);
    } else if (l->step == first) {
        put_operational(l, l->tsih == 0);
        if (l->plan == PLAN_ODD_KEYS)
            put_odd_keys(l);
        if (l->plan == PLAN_GARBAGE)
            (void)text_append(&l->keys, random_data(r, 700), rng_below(r, 700), NULL);
        send_piece(l, 1, 3);
    } else if (l->step < first + 4) {
        send_piece(l, 1, 3); /* nothing more to say */
    } else {
        link_close(l, false);
    }
    l->step++;
}

void
storm_login_start(struct storm_link *l)
{
    static const uint8_t chances[PLANS] = {50, 25, 10, 2, 8, 5};
    struct party *p = l->party;
    uint32_t at = rng_below(&p->rng, 100);

    l->tsih = !p->honest && rng_chance(&p->rng, 30) ? 0 : p->tsih;
    if (party_harms(p, 5))
        l->tsih = (uint16_t)rng_next(&p->rng);
    for (l->plan = 0; l->plan + 1 < PLANS && at >= chances[l->plan]; l->plan++)
        at -= chances[l->plan];
    if (strcmp(p->target, STORM_PREFIX "chap") == 0 && rng_chance(&p->rng, 900))
        l->plan = PLAN_CHAP;
    if (p->honest)
        l->plan = rng_below(&p->rng, PLAN_CHAP);
    l->step = 0;
    l->stat_sn = 0;
    login_step(l, "", 0);
}

static void
note_keys(struct storm_link *l, const char *text, uint32_t len)
{
    struct party *p = l->party;
    struct text_pair v;
    uint64_t n;

    if (find_value(text, len, "InitialR2T", &v))
        p->initial_r2t = text_is(v.value, v.value_len, "Yes");
    if (find_value(text, len, "ImmediateData", &v))
        p->immediate_data = text_is(v.value, v.value_len, "Yes");
    if (find_value(text, len, "HeaderDigest", &v))
        l->agreed_header = text_is(v.value, v.value_len, "CRC32C");
    if (find_value(text, len, "DataDigest", &v))
        l->agreed_data = text_is(v.value, v.value_len, "CRC32C");
    if (find_value(text, len, "FirstBurstLength", &v) &&
        text_parse_num(v.value, v.value_len, &n) == 0)
        p->first_burst = (uint32_t)n;
    if (find_value(text, len, "MaxBurstLength", &v) &&
        text_parse_num(v.value, v.value_len, &n) == 0)
        p->max_burst = (uint32_t)n;
    if (find_value(text, len, "MaxRecvDataSegmentLength", &v) &&
        text_parse_num(v.value, v.value_len, &n) == 0)
        p->seg = n < STORM_SEG_MAX ? (uint32_t)n : STORM_SEG_MAX;
}

static void
login_done(struct storm_link *l, const struct bhs_login_rsp *h)
{
    struct party *p = l->party;

    l->state = LINK_FFP;
    l->header_digest = l->agreed_header;
    l->data_digest = l->agreed_data;
    if (p->first_burst > p->max_burst)
        p->first_burst = p->max_burst;
    p->storm->n.logins++;
    if (l->tsih != 0) {
        p->storm->n.joined++;
        return;
    }
    p->tsih = get16(h->tsih);
    p->cmd_sn = p->exp_cmd_sn = get32(h->exp_cmd_sn);
    p->max_cmd_sn = get32(h->max_cmd_sn);
    p->gaps_count = 0;
    memset(p->tasks, 0, sizeof(p->tasks));
}

void
storm_login_answer(struct storm_link *l, const struct bhs_login_rsp *h, const char *text,
                   uint32_t len)
{
    struct party *p = l->party;

    l->stat_sn = get32(h->stat_sn) + 1;
    if (h->opcode != ISCSI_OP_LOGIN_RSP || h->status_class != 0) {
        p->storm->n.refused++;
        link_close(l, rng_chance(&p->rng, 500));
        return;
    }
    if (l->step == 1 && l->tsih == 0) { /* the defaults of RFC 7143 13 */
        p->initial_r2t = p->immediate_data = true;
        p->first_burst = 65536;
        p->max_burst = 262144;
    }
    if (l->step == 1)
        l->agreed_header = l->agreed_data = false;
    note_keys(l, text, len);
    if ((h->flags & ISCSI_LOGIN_TRANSIT) && bhs_login_nsg(h->flags) == ISCSI_STAGE_FFP)
        login_done(l, h);
    else if (l->keys.len > 0 || (h->flags & ISCSI_LOGIN_CONTINUE))
        send_piece(l, l->csg, l->nsg);
    else
        login_step(l, text, len);
}
