/* SPDX-License-Identifier: MIT */
/* Login: CHAP, one way or mutual (RFC 7143 9.2.1, 12.1.3). */
#include <string.h>

#include "target/instance.h"
#include "target/login_state.h"
#include "target/state/conn.h"
#include "wire/login_status.h"

bool
tgt_login_auth_ok(const struct tgt_login *l)
{
    return l->auth == AUTH_DONE || l->node == NULL || l->node->chap.secret_len == 0;
}

static uint16_t
put(struct tgt_login *l, const char *key, const char *value)
{
    return text_put(&l->answer, key, value) < 0 ? ISCSI_LOGIN_TARGET_FAILURE : ISCSI_LOGIN_OK;
}

/* AuthMethod: the first of the initiator's list that we want. */
static uint16_t
choose_method(struct tgt_login *l, const struct text_pair *p)
{
    bool wanted = l->node != NULL && l->node->chap.secret_len > 0;
    const char *mine = wanted ? "CHAP" : "None";
    char answer[KEY_ANSWER_SIZE];
    struct key_value v;

    if (l->auth != AUTH_START)
        return ISCSI_LOGIN_BAD_REQUEST;
    if (key_answer(key_get(KEY_AUTH_METHOD), p->value, p->value_len, mine, answer, &v, NULL) < 0)
        return ISCSI_LOGIN_BAD_REQUEST;
    if (v.outcome != KEY_AGREED)
        return ISCSI_LOGIN_AUTH_FAILED;
    l->auth = wanted ? AUTH_CHAP_A : AUTH_DONE;
    return put(l, "AuthMethod", answer);
}

/* CHAP_A: the first algorithm of the initiator's list that the library computes. */
static unsigned
choose_alg(const struct text_pair *p)
{
    struct text_list list;
    const char *item;
    size_t len;
    uint64_t n;

    text_list_init(&list, p->value, p->value_len);
    while (text_list_next(&list, &item, &len)) {
        if (text_parse_num(item, len, &n) == 0 && n <= 255 && chap_alg_usable((unsigned)n))
            return (unsigned)n;
    }
    return 0;
}

static uint16_t
challenge(struct tgt_conn *c, const struct text_pair *p)
{
    struct tgt_login *l = c->login;
    struct loop *loop = c->target->loop;

    l->chap_alg = choose_alg(p);
    if (l->chap_alg == 0)
        return ISCSI_LOGIN_AUTH_FAILED;
    if (loop_secure_random(loop, l->challenge, sizeof(l->challenge)) < 0 ||
        loop_secure_random(loop, &l->chap_id, sizeof(l->chap_id)) < 0)
        return ISCSI_LOGIN_TARGET_FAILURE;
    l->challenged = true;
    l->auth = AUTH_CHAP_R;
    if (text_put_num(&l->answer, "CHAP_A", l->chap_alg) < 0 ||
        text_put_num(&l->answer, "CHAP_I", l->chap_id) < 0 ||
        text_put_hex(&l->answer, "CHAP_C", l->challenge, sizeof(l->challenge)) < 0)
        return ISCSI_LOGIN_TARGET_FAILURE;
    return ISCSI_LOGIN_OK;
}

/* Is that one of the challenges that this target has out, on any connection? */
static bool
is_ours(const struct target *t, const uint8_t *ch, size_t len)
{
    LIST_FOREACH (i, &t->conns) {
        const struct tgt_conn *c = container_of(i, struct tgt_conn, link);

        if (c->login != NULL && c->login->challenged &&
            chap_equal(ch, len, c->login->challenge, sizeof(c->login->challenge)))
            return true;
    }
    return false;
}

static uint16_t
check_response(struct tgt_login *l, const struct tgt_auth_keys *k)
{
    const struct tgt_chap_secret *s = &l->node->chap;
    uint8_t want[CHAP_RESPONSE_MAX], got[CHAP_RESPONSE_MAX];
    size_t want_len = chap_response_len(l->chap_alg);
    int len = text_parse_bin(k->r.value, k->r.value_len, got, sizeof(got));
    bool ok;

    if (chap_response(l->chap_alg, l->chap_id, s->secret, s->secret_len, l->challenge,
                      sizeof(l->challenge), want) < 0)
        return ISCSI_LOGIN_TARGET_FAILURE;
    ok = len >= 0 && chap_equal(got, (size_t)len, want, want_len);
    ok = chap_equal(k->n.value, k->n.value_len, s->user, strlen(s->user)) && ok;
    chap_wipe(want, sizeof(want));
    if (!ok)
        return ISCSI_LOGIN_AUTH_FAILED;
    memcpy(l->user, s->user, sizeof(l->user));
    return ISCSI_LOGIN_OK;
}

/* The initiator wants to know who we are. */
static uint16_t
prove(struct tgt_conn *c, const struct tgt_auth_keys *k)
{
    struct tgt_login *l = c->login;
    const struct tgt_chap_secret *s = &l->node->mutual;
    uint8_t ch[CHAP_CHALLENGE_MAX], out[CHAP_RESPONSE_MAX];
    int len = text_parse_bin(k->c.value, k->c.value_len, ch, sizeof(ch));
    uint64_t id;

    if (len <= 0 || text_parse_num(k->i.value, k->i.value_len, &id) < 0 || id > 255)
        return ISCSI_LOGIN_BAD_REQUEST;
    if (s->secret_len == 0 || is_ours(c->target, ch, (size_t)len))
        return ISCSI_LOGIN_AUTH_FAILED;
    if (chap_response(l->chap_alg, (uint8_t)id, s->secret, s->secret_len, ch, (size_t)len, out) < 0)
        return ISCSI_LOGIN_TARGET_FAILURE;
    if (put(l, "CHAP_N", s->user) != ISCSI_LOGIN_OK ||
        text_put_hex(&l->answer, "CHAP_R", out, chap_response_len(l->chap_alg)) < 0)
        return ISCSI_LOGIN_TARGET_FAILURE;
    chap_wipe(out, sizeof(out));
    return ISCSI_LOGIN_OK;
}

/* An initiator that answers with our own secret for the other direction is our reflection. */
static bool
reflected(const struct tgt_login *l, const struct tgt_auth_keys *k)
{
    const struct tgt_chap_secret *s = &l->node->mutual;
    uint8_t mine[CHAP_RESPONSE_MAX], got[CHAP_RESPONSE_MAX];
    int len = text_parse_bin(k->r.value, k->r.value_len, got, sizeof(got));
    bool same;

    if (s->secret_len == 0 || len < 0 ||
        chap_response(l->chap_alg, l->chap_id, s->secret, s->secret_len, l->challenge,
                      sizeof(l->challenge), mine) < 0)
        return false;
    same = chap_equal(mine, chap_response_len(l->chap_alg), got, (size_t)len);
    chap_wipe(mine, sizeof(mine));
    return same;
}

static uint16_t
chap_answer(struct tgt_conn *c, const struct tgt_auth_keys *k)
{
    struct tgt_login *l = c->login;
    uint16_t status;

    if (k->n.key == NULL || k->r.key == NULL || (k->i.key == NULL) != (k->c.key == NULL))
        return ISCSI_LOGIN_MISSING_PARAMETER;
    if (reflected(l, k))
        return ISCSI_LOGIN_AUTH_FAILED;
    status = check_response(l, k);
    if (status == ISCSI_LOGIN_OK && k->c.key != NULL)
        status = prove(c, k);
    l->challenged = false;
    if (status == ISCSI_LOGIN_OK)
        l->auth = AUTH_DONE;
    return status;
}

/* Which keys there are, as bits: method, A, I, C, N, R. */
static unsigned
present(const struct tgt_auth_keys *k)
{
    return (k->method.key != NULL ? 1u : 0) | (k->a.key != NULL ? 2u : 0) |
           (k->i.key != NULL ? 4u : 0) | (k->c.key != NULL ? 8u : 0) |
           (k->n.key != NULL ? 16u : 0) | (k->r.key != NULL ? 32u : 0);
}

uint16_t
tgt_login_auth(struct tgt_conn *c, const struct tgt_auth_keys *k)
{
    struct tgt_login *l = c->login;
    unsigned keys = present(k);

    if (keys == 0) { /* names only, or nothing: it has to come before the stage can end */
        bool wants_out = c->h.bhs.flags & ISCSI_LOGIN_TRANSIT;

        if (l->auth == AUTH_CHAP_R)
            return ISCSI_LOGIN_MISSING_PARAMETER;
        return wants_out && !tgt_login_auth_ok(l) ? ISCSI_LOGIN_AUTH_FAILED : ISCSI_LOGIN_OK;
    }
    if (keys == 1)
        return choose_method(l, &k->method);
    if (keys == 2 && l->auth == AUTH_CHAP_A)
        return challenge(c, &k->a);
    if ((keys & 3u) == 0 && l->auth == AUTH_CHAP_R)
        return chap_answer(c, k);
    return ISCSI_LOGIN_BAD_REQUEST;
}
