/* SPDX-License-Identifier: MIT */
/* Ids such as SEC-17 are rows of docs/rfc-coverage.md. */
#include "login/auth.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "login/logical.h"
#include "wire/keys.h"

#define HAVE(id) (1u << (KEY_##id - KEY_AUTH_METHOD))

static bool
mutual(const struct login_config *cfg)
{
    return cfg->mutual.name[0] != '\0';
}

bool
auth_has_account(const struct login_config *cfg)
{
    return cfg->chap.name[0] != '\0';
}

void
auth_init(struct auth *a, const struct login_config *cfg, struct ctl *ctl)
{
    *a = (struct auth){.cfg = cfg, .ctl = ctl};
    list_init(&a->ours.node);
}

void
auth_fini(struct auth *a)
{
    list_del(&a->ours.node);
    chap_wipe(a->response, sizeof(a->response));
    chap_wipe(a->ours.bytes, sizeof(a->ours.bytes));
}

const char *
auth_offer(const struct login_config *cfg)
{
    if (!auth_has_account(cfg))
        return "None";
    return cfg->auth_required || mutual(cfg) ? "CHAP" : "CHAP,None";
}

const char *
auth_method_name(const struct auth *a)
{
    if (!a->chap)
        return "None";
    return mutual(a->cfg) ? "CHAP mutual" : "CHAP";
}

static int
auth_proto_error(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EPROTO, LUNETTE_DOM_PROTO, ISCSI_REJECT_PROTOCOL_ERROR,
                        "CHAP: the target %s", what);
}

/* Fills in an error of a login that we end ourselves.  Its detail is 0, since the target has sent
 * no status. */
static int
auth_refuse(struct lunette_error *err, const char *what)
{
    return lunette_fail(err, -EACCES, LUNETTE_DOM_LOGIN, 0, "%s", what);
}

static bool
listed(const struct login_config *cfg, unsigned alg)
{
    for (size_t i = 0; i < sizeof(cfg->chap_algs) && cfg->chap_algs[i] != 0; i++) {
        if (cfg->chap_algs[i] == alg)
            return true;
    }
    return false;
}

static void
add_alg(struct text_buf *b, unsigned alg)
{
    assert(b->len + 3 <= b->size && alg <= 9);
    if (b->len > 0)
        b->buf[b->len++] = ',';
    b->buf[b->len++] = (char)('0' + alg);
    b->buf[b->len] = '\0';
}

/* CHAP_A offers what the crypto library can do, in the configured order, and always 5 (MD5), as
 * RFC 7143 12.1.3 demands. */
static void
algs_text(const struct login_config *cfg, struct text_buf *b)
{
    bool md5 = false;

    for (size_t i = 0; i < sizeof(cfg->chap_algs) && cfg->chap_algs[i] != 0; i++) {
        md5 |= cfg->chap_algs[i] == CHAP_MD5;
        if (cfg->chap_algs[i] == CHAP_MD5 || chap_alg_usable(cfg->chap_algs[i]))
            add_alg(b, cfg->chap_algs[i]);
    }
    if (!md5)
        add_alg(b, CHAP_MD5);
}

bool
auth_list_is_out(const struct auth *a)
{
    char mem[16];
    struct text_buf algs;

    if (a->step != AUTH_ALGS_SENT)
        return false;
    text_buf_init(&algs, mem, sizeof(mem));
    algs_text(a->cfg, &algs);
    return algs.len > 1;
}

const char *
auth_failure_hint(const struct auth *a)
{
    if (!auth_has_account(a->cfg))
        return "the target wants CHAP: set a CHAP user and secret";
    if (a->step == AUTH_ALGS_SENT)
        return "CHAP was agreed on, but none of the algorithms offered suits the target";
    if (a->step != AUTH_RESPONDED && mutual(a->cfg))
        return "it must prove itself (mutual CHAP), and may know no CHAP, or no such user";
    if (a->step != AUTH_RESPONDED)
        return "no secret was asked for: the target wants another method, or a user for this name";
    if (mutual(a->cfg))
        return "CHAP, initiator to target: check the CHAP user and secret, and that it does "
               "mutual CHAP";
    return "CHAP, initiator to target: check the CHAP user and secret";
}

static int
take_method(struct auth *a, const struct auth_keys *k, bool transit, struct lunette_error *err)
{
    const char *offer = auth_offer(a->cfg);
    struct key_value v;
    int r;

    if ((k->have & ~HAVE(AUTH_METHOD)) != 0)
        return auth_proto_error(err, "sent CHAP keys before a method was agreed on");
    if (!(k->have & HAVE(AUTH_METHOD))) {
        /* A target that skips the key is tolerated where only None was offered. */
        if (transit && text_is(offer, strlen(offer), TEXT_NONE))
            a->step = AUTH_DONE;
        return 0;
    }
    /* A target that names CHAP although only None was offered wants credentials, whatever the
     * rules of lists say. */
    if (!auth_has_account(a->cfg) && (text_is(k->method.value, k->method.value_len, "CHAP") ||
                                      text_is(k->method.value, k->method.value_len, TEXT_REJECT)))
        return auth_refuse(err,
                           "the target wants authentication, and there are no credentials: set a "
                           "CHAP user and secret");
    r = key_check_answer(key_get(KEY_AUTH_METHOD), offer, k->method.value, k->method.value_len, &v,
                         err);
    if (r < 0)
        return r;
    if (v.outcome != KEY_AGREED)
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_LOGIN, 0,
                            "the target rejects every authentication method offered: it does not "
                            "know CHAP, or wants what is not supported");
    a->chap = text_is(v.text, v.len, "CHAP");
    if (a->chap && transit)
        return auth_proto_error(err, "leaves the security stage before CHAP was done");
    a->step = a->chap ? AUTH_CHOSEN : AUTH_DONE;
    return 0;
}

static int
take_challenge(struct auth *a, const struct auth_keys *k, bool transit, struct lunette_error *err)
{
    uint8_t c[CHAP_CHALLENGE_MAX];
    uint64_t num;
    int n, r;

    if (k->have == 0 && !transit)
        return 0; /* the target is not ready: an empty request asks again */
    if (transit || k->have != (HAVE(CHAP_A) | HAVE(CHAP_I) | HAVE(CHAP_C)))
        return auth_proto_error(
            err, "must answer CHAP_A with CHAP_A, CHAP_I and CHAP_C and nothing else");
    if (text_parse_num(k->chap_a.value, k->chap_a.value_len, &num) < 0 || num > 255 ||
        (num != CHAP_MD5 && !listed(a->cfg, (unsigned)num)))
        return auth_proto_error(err, "chose an algorithm that was not offered");
    a->alg = (unsigned)num;
    if (!listed(a->cfg, a->alg))
        return auth_refuse(err,
                           "the target's only CHAP algorithm is MD5, which the configuration does "
                           "not allow");
    if (text_parse_num(k->chap_i.value, k->chap_i.value_len, &num) < 0 || num > 255)
        return auth_proto_error(err, "sent a CHAP_I that is not 0..255");
    a->id = (uint8_t)num;
    n = text_parse_bin(k->chap_c.value, k->chap_c.value_len, c, sizeof(c));
    if (n <= 0)
        return auth_proto_error(err, "sent a CHAP_C that is not a binary value of 1..1024 bytes");
    /* RFC 7143 9.2.1: an impostor lets us answer our own challenge over a second connection. */
    if (ctl_challenge_is_ours(a->ctl, c, (size_t)n))
        return auth_refuse(err,
                           "CHAP: the target sent our own challenge back, as an impostor would");
    r = chap_response(a->alg, a->id, a->cfg->chap.secret, a->cfg->chap.secret_len, c, (size_t)n,
                      a->response);
    if (r < 0)
        return auth_refuse(err,
                           "the target chose a CHAP algorithm that this system's crypto policy "
                           "forbids (MD5 under FIPS?)");
    a->step = AUTH_CHALLENGED;
    return 0;
}

/* Mutual CHAP: the target proves that it knows its secret. */
static int
take_proof(struct auth *a, const struct auth_keys *k, bool transit, struct lunette_error *err)
{
    const struct login_config *cfg = a->cfg;
    uint8_t got[CHAP_CHALLENGE_MAX], want[CHAP_RESPONSE_MAX];
    size_t want_len = chap_response_len(a->alg);
    int n;

    if (!mutual(cfg)) {
        if (k->have != 0)
            return auth_proto_error(err, "sent authentication keys that nobody asked for");
        return 0;
    }
    if (k->have == 0 && !transit)
        return 0;
    if (k->have == 0)
        return auth_refuse(
            err, "the target accepted us, but did not prove its own identity (CHAP, target to "
                 "initiator): mutual CHAP is configured here, but not at the target");
    if (k->have != (HAVE(CHAP_N) | HAVE(CHAP_R)))
        return auth_proto_error(err, "must prove itself with CHAP_N and CHAP_R and nothing else");
    n = text_parse_bin(k->chap_r.value, k->chap_r.value_len, got, sizeof(got));
    if (n < 0 || (size_t)n != want_len)
        return auth_proto_error(err, "sent a CHAP_R whose length is not that of the algorithm");
    /* RFC 7143 9.2.1: a response that we would compute ourselves shows that an impostor had us
     * compute it, with our own secret. */
    if (chap_response(a->alg, a->our_id, cfg->chap.secret, cfg->chap.secret_len, a->ours.bytes,
                      CTL_CHALLENGE_LEN, want) < 0 ||
        chap_equal(got, (size_t)n, want, want_len))
        return auth_refuse(err,
                           "CHAP: the target answered with our own secret, as an impostor would");
    if (chap_response(a->alg, a->our_id, cfg->mutual.secret, cfg->mutual.secret_len, a->ours.bytes,
                      CTL_CHALLENGE_LEN, want) < 0 ||
        !chap_equal(got, (size_t)n, want, want_len) ||
        !chap_equal(k->chap_n.value, k->chap_n.value_len, cfg->mutual.name,
                    strlen(cfg->mutual.name))) /* SEC-17 */
        return auth_refuse(
            err, "the target accepted us, but failed to prove its identity (CHAP, target to "
                 "initiator): check the target's CHAP user and secret configured here "
                 "(mutual CHAP)");
    a->verified = true;
    return 0;
}

int
auth_receive(struct auth *a, const struct auth_keys *keys, bool transit, struct lunette_error *err)
{
    int r;

    switch (a->step) {
    case AUTH_OFFERED:
        r = take_method(a, keys, transit, err);
        if (r == 0 && transit && a->step != AUTH_DONE)
            return auth_proto_error(err, "leaves the security stage without choosing a method");
        return r;
    case AUTH_ALGS_SENT:
        return take_challenge(a, keys, transit, err);
    case AUTH_RESPONDED:
        if (a->verified && keys->have != 0)
            return auth_proto_error(err, "proves itself twice");
        r = a->verified ? 0 : take_proof(a, keys, transit, err);
        if (r == 0 && transit) {
            list_del(&a->ours.node);
            a->step = AUTH_DONE;
        }
        return r;
    case AUTH_DONE:
        return keys->have != 0 ? auth_proto_error(err, "sent authentication keys out of turn") : 0;
    case AUTH_START:
    case AUTH_CHOSEN:
    case AUTH_CHALLENGED:
        break;
    }
    assert(false && "a response came before the request");
    return -EPROTO;
}

static int
auth_send_response(struct auth *a, struct text_buf *out, struct lunette_error *err)
{
    char hex[TEXT_HEX_SIZE(CHAP_RESPONSE_MAX)], num[4];
    struct loop *loop = ctl_loop(a->ctl);
    uint8_t id;
    int len = text_format_hex(hex, sizeof(hex), a->response, chap_response_len(a->alg));
    int r = logical_put(out, "CHAP_N", a->cfg->chap.name, strlen(a->cfg->chap.name), err);

    if (r == 0)
        r = logical_put(out, "CHAP_R", hex, (size_t)len, err);
    if (r < 0 || !mutual(a->cfg))
        return r;
    static_assert(CTL_CHALLENGE_LEN == CHAP_CHALLENGE_LEN, "ctl.h");
    if (loop_secure_random(loop, a->ours.bytes, CTL_CHALLENGE_LEN) < 0 ||
        loop_secure_random(loop, &id, 1) < 0)
        return lunette_fail(err, -EIO, LUNETTE_DOM_OS, EIO,
                            "no random bytes for a CHAP challenge: the system's generator failed");
    a->our_id = id == a->id ? (uint8_t)(id + 1) : id;
    list_del(&a->ours.node);
    ctl_challenge_add(a->ctl, &a->ours);
    len = snprintf(num, sizeof(num), "%u", a->our_id);
    r = logical_put(out, "CHAP_I", num, (size_t)len, err);
    len = text_format_hex(hex, sizeof(hex), a->ours.bytes, CTL_CHALLENGE_LEN);
    return r < 0 ? r : logical_put(out, "CHAP_C", hex, (size_t)len, err);
}

int
auth_send(struct auth *a, struct text_buf *out, bool *ret_transit, struct lunette_error *err)
{
    const char *offer = auth_offer(a->cfg);
    char mem[16];
    struct text_buf algs;
    int r;

    *ret_transit = false;
    switch (a->step) {
    case AUTH_START:
        a->step = AUTH_OFFERED;
        *ret_transit = strstr(offer, TEXT_NONE) != NULL;
        return logical_put(out, "AuthMethod", offer, strlen(offer), err);
    case AUTH_CHOSEN:
        text_buf_init(&algs, mem, sizeof(mem));
        algs_text(a->cfg, &algs);
        a->step = AUTH_ALGS_SENT;
        return logical_put(out, "CHAP_A", algs.buf, algs.len, err);
    case AUTH_CHALLENGED:
        r = auth_send_response(a, out, err);
        a->step = AUTH_RESPONDED;
        *ret_transit = true;
        return r;
    case AUTH_OFFERED:
        *ret_transit = strstr(offer, TEXT_NONE) != NULL;
        return 0;
    case AUTH_ALGS_SENT:
        return 0;
    case AUTH_RESPONDED:
    case AUTH_DONE:
        *ret_transit = true;
        return 0;
    }
    assert(false && "unknown step");
    return -EPROTO;
}
