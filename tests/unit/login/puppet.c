/* SPDX-License-Identifier: MIT */
/* tests/unit/login/puppet.c - the scripted target. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/test.h"
#include "tests/unit/login/fake.h"
#include "wire/chap.h"
#include "wire/keys.h"
#include "wire/params.h"

struct say {
    struct world *w;
    struct fake_conn *c;
    const struct bhs_login_req *req;
    const char *text; /* of the request */
    size_t text_len;
    char *out; /* FAKE_TEXT bytes */
    struct text_buf b;
    struct bhs_login_rsp rsp;
    bool transit, silent, twice, async, cut, nonul, fixed_len;
    int pad;
    size_t nuls;
};

/* The value of a key in the request, or NULL. */
static const char *
value_of(const char *text, size_t len, const char *key)
{
    size_t n = strlen(key);

    for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
        if (strncmp(text + at, key, n) == 0 && text[at + n] == '=')
            return text + at + n + 1;
    }
    return NULL;
}

static bool
wanted(const struct say *s, const char *word)
{
    char key[300];
    const char *eq = strchr(word, '='), *v;
    uint8_t f = s->req->flags;

    if (word[0] == '!' && strcmp(word, "!T") != 0)
        return value_of(s->text, s->text_len, word + 1) == NULL;
    if (word[0] == '^')
        return strncmp(s->text, word + 1, strlen(word + 1)) == 0 &&
               s->text[strlen(word + 1)] == '=';
    if (strcmp(word, "T") == 0 || strcmp(word, "!T") == 0)
        return !(f & ISCSI_LOGIN_TRANSIT) == (word[0] == '!');
    if (strcmp(word, "CSG0") == 0 || strcmp(word, "CSG1") == 0)
        return bhs_login_csg(f) == (unsigned)(word[3] - '0');
    if (strcmp(word, "empty") == 0)
        return s->text_len == 0;
    (void)snprintf(key, sizeof(key), "%.*s", eq != NULL ? (int)(eq - word) : 290, word);
    v = value_of(s->text, s->text_len, key);
    return v != NULL && (eq == NULL || strcmp(v, eq + 1) == 0);
}

/* A plain target's answer to each offer. */
static void
answer_all(struct say *s)
{
    struct text_iter it;
    struct text_pair p;

    text_iter_init(&it, s->text, s->text_len);
    while (text_next(&it, &p, NULL) == 1) {
        const struct key *k = key_find(p.key, p.key_len);
        struct iscsi_params ours;
        char mine[KEY_ANSWER_SIZE] = "", answer[KEY_ANSWER_SIZE];
        struct key_value v;

        if (k == NULL || k->stage != KEY_STAGE_OPER)
            continue;
        params_init(&ours);
        ours.erl = 2; /* as is offered */
        ours.max_connections = 8;
        (void)params_format(&ours, k, mine, sizeof(mine));
        if (k->type == KEY_TYPE_LIST)
            (void)strcpy(mine, "CRC32C,None,RFC3720");
        if (key_answer(k, p.value, p.value_len, mine, answer, &v, NULL) == 0 && answer[0] != '\0')
            assert_int_equal(text_put(&s->b, k->name, answer), 0);
    }
}

static void
put_response(struct say *s, const char *user, const char *secret)
{
    const char *a = value_of(s->text, s->text_len, "CHAP_I");
    const char *c = value_of(s->text, s->text_len, "CHAP_C");
    uint8_t challenge[CHAP_CHALLENGE_MAX], r[CHAP_RESPONSE_MAX];
    unsigned alg = s->c->chap_alg;
    int n;

    assert_non_null(a);
    assert_non_null(c);
    n = text_parse_bin(c, strlen(c), challenge, sizeof(challenge));
    assert_int_equal(n, CHAP_CHALLENGE_LEN); /* SEC-08 */
    assert_int_equal(
        chap_response(alg, (uint8_t)atoi(a), secret, strlen(secret), challenge, (size_t)n, r), 0);
    (void)text_put(&s->b, "CHAP_N", user);
    (void)text_put_base64(&s->b, "CHAP_R", r, chap_response_len(alg));
}

static const uint8_t our_challenge[16] = "0123456789abcde";
#define OUR_ID 77

static void
verify(struct say *s)
{
    const char *n = value_of(s->text, s->text_len, "CHAP_N");
    const char *r = value_of(s->text, s->text_len, "CHAP_R");
    unsigned alg = s->c->chap_alg;
    uint8_t got[64], want[CHAP_RESPONSE_MAX];

    assert_non_null(n);
    assert_non_null(r);
    assert_string_equal(n, s->w->chap_user);
    assert_int_equal(chap_response(alg, OUR_ID, s->w->chap_secret, strlen(s->w->chap_secret),
                                   our_challenge, sizeof(our_challenge), want),
                     0);
    assert_int_equal(text_parse_bin(r, strlen(r), got, sizeof(got)), chap_response_len(alg));
    assert_memory_equal(got, want, chap_response_len(alg));
}

static void
directive(struct say *s, const char *d)
{
    uint8_t f = s->rsp.flags;
    long n = strchr(d, '=') != NULL ? strtol(strchr(d, '=') + 1, NULL, 0) : 0;

    if (strcmp(d, "@answer") == 0) {
        answer_all(s);
    } else if (strncmp(d, "@chap=", 6) == 0) {
        (void)text_put_num(&s->b, "CHAP_A", (uint64_t)n);
        (void)text_put_num(&s->b, "CHAP_I", OUR_ID);
        (void)text_put_hex(&s->b, "CHAP_C", our_challenge, sizeof(our_challenge));
        s->c->chap_alg = (unsigned)n;
    } else if (strcmp(d, "@echo") == 0) {
        (void)text_put_num(&s->b, "CHAP_A", 7);
        (void)text_put_num(&s->b, "CHAP_I", OUR_ID);
        (void)text_put(&s->b, "CHAP_C", s->w->last_challenge);
    } else if (strcmp(d, "@verify") == 0) {
        verify(s);
    } else if (strcmp(d, "@prove") == 0) {
        put_response(s, s->w->target_user, s->w->target_secret);
    } else if (strcmp(d, "@reflect") == 0) {
        put_response(s, s->w->target_user, s->w->chap_secret);
    } else if (strncmp(d, "@prove=", 7) == 0) {
        put_response(s, d + 7, s->w->target_secret);
    } else if (strcmp(d, "@T") == 0 || strcmp(d, "@noT") == 0) {
        s->transit = d[1] == 'T';
    } else if (strcmp(d, "@C") == 0) {
        s->rsp.flags = f | ISCSI_LOGIN_CONTINUE;
    } else if (strncmp(d, "@CSG=", 5) == 0) {
        s->rsp.flags = (uint8_t)((f & ~ISCSI_LOGIN_CSG_MASK) | n << ISCSI_LOGIN_CSG_SHIFT);
    } else if (strncmp(d, "@NSG=", 5) == 0) {
        s->rsp.flags = (uint8_t)((f & ~ISCSI_LOGIN_NSG_MASK) | n);
    } else if (strncmp(d, "@TSIH=", 6) == 0) {
        s->rsp.tsih = put16((uint16_t)n);
    } else if (strncmp(d, "@ver=", 5) == 0) {
        s->rsp.version_active = (uint8_t)n;
    } else if (strcmp(d, "@isid=zero") == 0) {
        memset(s->rsp.isid, 0, sizeof(s->rsp.isid));
    } else if (strcmp(d, "@isid=extended") == 0) {
        memset(s->rsp.isid, 0xff, 3);
    } else if (strncmp(d, "@nuls=", 6) == 0) {
        s->nuls = (size_t)n;
    } else if (strcmp(d, "@isid=all") == 0) {
        memset(s->rsp.isid, 0xff, sizeof(s->rsp.isid));
    } else if (strcmp(d, "@isid") == 0) {
        s->rsp.isid[5] ^= 1;
    } else if (strncmp(d, "@status=", 8) == 0) {
        n = strtol(d + 8, NULL, 16);
        s->rsp.status_class = (uint8_t)(n >> 8);
        s->rsp.status_detail = (uint8_t)n;
        s->transit = false;
    } else if (strncmp(d, "@op=", 4) == 0) {
        s->rsp.opcode = (uint8_t)strtol(d + 4, NULL, 16);
    } else if (strcmp(d, "@silent") == 0) {
        s->silent = true;
    } else if (strcmp(d, "@twice") == 0) {
        s->twice = true;
    } else if (strncmp(d, "@pad=", 5) == 0) {
        s->pad = (int)n;
    } else if (strcmp(d, "@nonul") == 0) {
        s->nonul = true;
    } else if (strcmp(d, "@async") == 0) {
        s->async = true;
    } else if (strcmp(d, "@cut") == 0) {
        s->cut = true;
    } else {
        fail_msg("%s", d);
    }
}

/* X-pad.N=xxxx up to n bytes in all. */
static void
pad(struct say *s)
{
    char key[32], value[250];

    for (int i = 0; (int)s->b.len < s->pad; i++) {
        size_t left = (size_t)s->pad - s->b.len, overhead;

        (void)snprintf(key, sizeof(key), "X-pad.%d", i);
        overhead = strlen(key) + 2;
        memset(value, 'x', sizeof(value));
        if (left < overhead)
            left = overhead;
        if (left > sizeof(value) / 2 + overhead && left < sizeof(value) + overhead)
            left = sizeof(value) / 2 + overhead;
        if (left > sizeof(value) + overhead)
            left = sizeof(value) / 2 + overhead;
        assert_int_equal(text_put_len(&s->b, key, value, left - overhead), 0);
    }
}

/* For each word between blanks. */
static void
each_word(struct say *s, const char *words, void (*fn)(struct say *s, const char *word))
{
    char word[2500];

    while (*words != '\0') {
        size_t n = strcspn(words, " ");

        if (n > 0) {
            (void)snprintf(word, sizeof(word), "%.*s", (int)n, words);
            fn(s, word);
        }
        words += n + (words[n] == ' ');
    }
}

static void
check_word(struct say *s, const char *word)
{
    if (wanted(s, word) || !s->w->strict)
        return;
    for (size_t i = 0; i < s->text_len; i += strlen(s->text + i) + 1)
        print_error("  %s\n", s->text + i);
    fail_msg("connection %d step %d: the request (flags %02x) lacks \"%s\"", s->c->script,
             s->c->step, s->req->flags, word);
}

static void
say_word(struct say *s, const char *word)
{
    const char *eq = strchr(word, '=');
    char key[300];

    if (word[0] == '@') {
        directive(s, word);
        return;
    }
    (void)snprintf(key, sizeof(key), "%.*s", (int)(eq - word), word);
    assert_int_equal(text_put(&s->b, key, eq + 1), 0);
}

static void
mutate(struct world *w, struct bhs_login_rsp *rsp, char *text, size_t *len)
{
    uint64_t save = w->rng;
    uint64_t n;

    w->rng = w->mutate++;
    n = world_random(w) % 4;
    for (uint64_t i = 0; i < n; i++) {
        uint64_t r = world_random(w), at = *len > 0 ? (r >> 8) % *len : 0;

        if (r % 7 == 0) {
            ((uint8_t *)rsp)[(r >> 16) % 48] ^= (uint8_t)(1u << ((r >> 4) & 7));
        } else if (*len > 0 && r % 7 < 3) {
            text[at] = (char)(r >> 40);
        } else if (*len > 1 && r % 7 == 3) {
            memmove(text + at, text + at + 1, *len - at - 1);
            (*len)--;
        } else if (*len > 0 && r % 7 == 4) {
            *len = at;                                      /* cut */
        } else if (*len > 0 && *len < 4000 && r % 7 == 5) { /* again */
            memmove(text + *len, text, *len);
            *len *= 2;
        } else if (*len > 0) {
            text[at] = (r & 1) ? '\0' : '=';
        }
    }
    w->rng = save;
}

/* The whole answer; with split, a first part with C now and the rest after an empty request. */
static void
send_answer(struct say *s)
{
    struct world *w = s->w;
    size_t len = s->b.len - (s->nonul ? 1 : 0);

    s->rsp.flags |= s->transit ? ISCSI_LOGIN_TRANSIT : 0;
    if (!(s->rsp.flags & ISCSI_LOGIN_TRANSIT))
        s->rsp.flags &= (uint8_t)~ISCSI_LOGIN_NSG_MASK;
    memset(s->out + len, 0, s->nuls);
    len += s->nuls;
    if (w->mutate != 0)
        mutate(w, &s->rsp, s->out, &len);
    s->silent |= fake_is_mute(w);
    if (s->silent && s->cut)
        fake_cut(w, s->c);
    if (s->silent)
        return;
    if (w->split >= 0 && (size_t)w->split < len) {
        s->c->rest = fake_alloc(len);
        s->c->transit_later = s->transit;
        s->c->rest_len = len - (size_t)w->split;
        memcpy(s->c->rest, s->out + w->split, s->c->rest_len);
        s->rsp.flags =
            (uint8_t)(bhs_login_csg(s->rsp.flags) << ISCSI_LOGIN_CSG_SHIFT) | ISCSI_LOGIN_CONTINUE;
        len = (size_t)w->split;
    }
    st_be24(s->rsp.dseg_len.b, (uint32_t)len);
    fake_send_pdu(w, s->c, (const void *)&s->rsp, s->out, (uint32_t)len);
    if (s->twice)
        fake_send_pdu(w, s->c, (const void *)&s->rsp, s->out, (uint32_t)len);
    if (s->async) {
        struct bhs_async a;

        bhs_init(&a, ISCSI_OP_ASYNC, ISCSI_FLAG_FINAL);
        a.event = ISCSI_ASYNC_VENDOR_LAST;
        fake_send_pdu(w, s->c, (const void *)&a, NULL, 0);
    }
    if (s->cut)
        fake_cut(w, s->c);
}

static void
base_response(struct say *s)
{
    bhs_init(&s->rsp, ISCSI_OP_LOGIN_RSP, 0);
    s->rsp.flags = s->req->flags & (ISCSI_LOGIN_CSG_MASK | ISCSI_LOGIN_NSG_MASK);
    memcpy(s->rsp.isid, s->req->isid, sizeof(s->rsp.isid));
    s->rsp.tsih = s->req->tsih;
    s->transit = s->req->flags & ISCSI_LOGIN_TRANSIT;
    if (s->transit && bhs_login_nsg(s->req->flags) == ISCSI_STAGE_FFP && get16(s->rsp.tsih) == 0)
        s->rsp.tsih = put16(0x1234);
    s->rsp.stat_sn = put32(41);
}

static void
login_request(struct say *s)
{
    struct world *w = s->w;
    const struct step *step = &w->scripts[s->c->script][s->c->step];

    base_response(s);
    if (s->c->rest != NULL) { /* the second part; then T is asked for again */
        assert_int_equal(s->text_len, 0);
        assert_int_equal(s->req->flags & (ISCSI_LOGIN_TRANSIT | ISCSI_LOGIN_CONTINUE), 0);
        fake_send_pdu(w, s->c, (const void *)&s->rsp, s->c->rest, (uint32_t)s->c->rest_len);
        free(s->c->rest);
        s->c->rest = NULL;
        return;
    }
    if (s->c->transit_later && s->text_len == 0 && s->transit) {
        s->c->transit_later = false;
        s->rsp.flags |= ISCSI_LOGIN_TRANSIT;
        fake_send_pdu(w, s->c, (const void *)&s->rsp, NULL, 0);
        return;
    }
    if (step->want == NULL) {
        if (w->strict)
            fail_msg("connection %d: more requests than the script has", s->c->script);
        return;
    }
    each_word(s, step->want, check_word);
    s->out = fake_alloc(FAKE_TEXT);
    text_buf_init(&s->b, s->out, FAKE_TEXT);
    each_word(s, step->say, say_word);
    if (s->pad > 0)
        pad(s);
    s->c->step++;
    send_answer(s);
    free(s->out);
}

/* Requests with C are gathered and answered with nothing. */
static void
login_pdu(struct world *w, struct fake_conn *c, const struct bhs_login_req *req, const void *data,
          uint32_t len)
{
    struct say s = {.w = w, .c = c, .req = req};
    const char *challenge;

    assert_true(len <= ISCSI_LOGIN_DSEG_MAX);
    assert_int_equal(req->opcode, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE); /* LGQ-01 */
    assert_int_equal(req->version_max | req->version_min, 0);               /* LGQ-02 */
    memcpy(w->isid_sent, req->isid, sizeof(w->isid_sent));
    assert_false((req->flags & ISCSI_LOGIN_CONTINUE) && (req->flags & ISCSI_LOGIN_TRANSIT));
    if ((req->flags & ISCSI_LOGIN_CONTINUE) || c->text != NULL) {
        c->text = realloc(c->text, c->text_len + len);
        memcpy(c->text + c->text_len, data, len);
        c->text_len += len;
        if (req->flags & ISCSI_LOGIN_CONTINUE) {
            bool speaks = w->early & ISCSI_LOGIN_TRANSIT;

            base_response(&s);
            s.rsp.flags |= w->early & ISCSI_LOGIN_CONTINUE;
            fake_send_pdu(w, c, (const void *)&s.rsp, speaks ? "X-a=1" : NULL, speaks ? 6 : 0);
            return;
        }
        data = c->text;
        len = (uint32_t)c->text_len;
    }
    s.text = data;
    s.text_len = len;
    assert_true(len == 0 || s.text[len - 1] == '\0'); /* TNG-01 */
    challenge = value_of(s.text, s.text_len, "CHAP_C");
    if (challenge != NULL) {
        assert_string_not_equal(challenge, w->last_challenge); /* SEC-08 */
        (void)snprintf(w->last_challenge, sizeof(w->last_challenge), "%s", challenge);
    }
    if (c->text != NULL) {
        char *text = c->text;

        c->text = NULL;
        c->text_len = 0;
        login_request(&s);
        free(text);
    } else {
        login_request(&s);
    }
}

static void
text_pdu(struct world *w, struct fake_conn *c, const struct bhs_text_req *req, const char *data,
         uint32_t len)
{
    struct bhs_text_rsp rsp;
    size_t n = w->targets_len - w->targets_at;
    char *piece;

    bhs_init(&rsp, ISCSI_OP_TEXT_RSP, 0);
    rsp.itt = put32(5);
    if (w->texts++ == 0) {
        assert_int_equal(get32(req->ttt), ISCSI_TAG_RSVD);
        assert_true(len > 12 && memcmp(data, "SendTargets=", 12) == 0); /* DSC-03 */
        assert_int_equal(strlen(data) + 1, len);
    } else {
        assert_int_equal(len, 0);
        assert_int_equal(get32(req->ttt), w->ttt); /* TXT-04 */
        assert_int_equal(get32(req->itt), 5);      /* TXT-02 */
        assert_int_equal(req->lun[1], 9);
    }
    if (w->silent_text)
        return;
    if (w->cut_text) {
        fake_cut(w, c);
        return;
    }
    if (w->text_reject != 0) {
        struct bhs_reject rj;

        bhs_init(&rj, ISCSI_OP_REJECT, ISCSI_FLAG_FINAL);
        rj.reason = w->text_reject;
        fake_send_pdu(w, c, (const void *)&rj, req, 48);
        return;
    }
    if (w->targets_piece > 0 && n > w->targets_piece)
        n = w->targets_piece;
    rsp.ttt = put32(ISCSI_TAG_RSVD);
    rsp.flags = ISCSI_FLAG_FINAL;
    if (w->targets_at + n < w->targets_len) {
        w->ttt = (uint32_t)world_random(w) & 0x7fffffff;
        rsp.ttt = put32(w->ttt);
        rsp.lun[1] = 9;
        rsp.flags = w->text_c_bit ? ISCSI_TEXT_CONTINUE : 0;
    }
    if (w->odd_text) {
        w->ttt = w->text_ttt;
        rsp.ttt = put32(w->ttt);
        rsp.lun[1] = 9;
        rsp.flags = w->text_flags;
    }
    piece = fake_alloc(n + 1);
    for (size_t i = 0; i < n; i++) {
        char ch = w->targets[w->targets_at + i];

        piece[i] = ch == '|' ? '\0' : ch;
    }
    w->targets_at += n;
    fake_send_pdu(w, c, (const void *)&rsp, piece, (uint32_t)n);
    free(piece);
}

static void
logout_pdu(struct world *w, struct fake_conn *c, const struct bhs_logout_req *req)
{
    struct bhs_logout_rsp rsp;

    if (w->several && req->flags == 0x81) /* reason 1: of this connection alone */
        assert_int_equal(get16(req->cid), c->cid);
    else
        assert_int_equal(req->flags, 0x80); /* reason 0 */
    assert_int_equal(get24(req->dseg_len), 0);
    w->logouts++;
    if (w->silent_logout)
        return;
    bhs_init(&rsp, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    rsp.response = w->logout_response;
    rsp.time2wait = put16(w->logout_time2wait);
    fake_send_pdu(w, c, (const void *)&rsp, NULL, 0);
    fake_cut(w, c); /* LOUT-02: the target's FIN */
}

void
puppet_receive(struct world *w, struct fake_conn *c, const struct bhs *hdr, const void *data,
               uint32_t len)
{
    const union bhs_any *h = (const void *)hdr;

    w->pdus++;
    assert_int_equal(get24(hdr->dseg_len), len);
    switch (hdr->opcode & ISCSI_OP_MASK) {
    case ISCSI_OP_LOGIN_REQ:
        assert_false(c->started);
        login_pdu(w, c, &h->login_req, data, len);
        break;
    case ISCSI_OP_TEXT_REQ:
        assert_true(c->started);
        text_pdu(w, c, &h->text_req, data, len);
        break;
    case ISCSI_OP_LOGOUT_REQ:
        assert_true(c->started);
        logout_pdu(w, c, &h->logout_req);
        break;
    default:
        fail_msg("opcode %02x", hdr->opcode);
    }
}
