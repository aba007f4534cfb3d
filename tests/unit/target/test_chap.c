/* SPDX-License-Identifier: MIT */
/* CHAP as initiators may get it wrong; RFC 7143 9.2, 12.1.  Ids of docs/rfc-coverage.md. */
#include "tests/unit/target/puppet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "wire/chap.h"

#define NAMES    "InitiatorName=" INITIATOR "\0TargetName=" IQN
#define SEC      bhs_login_flags(0, 0, 0)
#define SEC_OPER bhs_login_flags(0, 1, ISCSI_LOGIN_TRANSIT)
#define TO_FFP   bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT)
#define SECRET   "secret of initiator"
#define MUTUAL   "secret of the target"

static const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};

static struct world *
chap_world(struct world *w)
{
    const struct target_node_config n = {.name = IQN,
                                         .luns = &lun,
                                         .luns_count = 1,
                                         .chap_user = "us",
                                         .chap_secret = SECRET,
                                         .mutual_user = "them",
                                         .mutual_secret = MUTUAL};

    world_new(w, &n, 1);
    return w;
}

/* What a challenge says. */
struct challenge {
    unsigned alg, id;
    uint8_t bytes[CHAP_CHALLENGE_MAX];
    size_t len;
    char coded[2 * CHAP_CHALLENGE_MAX + 3];
};

static void
challenge_read(const struct pdu *pdu, struct challenge *ret)
{
    struct text_iter it;
    struct text_pair p;
    uint64_t n = 0;

    memset(ret, 0, sizeof(*ret));
    text_iter_init(&it, (const char *)pdu->data, pdu->len);
    while (text_next(&it, &p, NULL) == 1) {
        if (text_is(p.key, p.key_len, "CHAP_A") && text_parse_num(p.value, p.value_len, &n) == 0)
            ret->alg = (unsigned)n;
        if (text_is(p.key, p.key_len, "CHAP_I") && text_parse_num(p.value, p.value_len, &n) == 0)
            ret->id = (unsigned)n;
        if (text_is(p.key, p.key_len, "CHAP_C")) {
            int len = text_parse_bin(p.value, p.value_len, ret->bytes, sizeof(ret->bytes));

            assert_true(len >= 16);
            ret->len = (size_t)len;
            (void)snprintf(ret->coded, sizeof(ret->coded), "%.*s", (int)p.value_len, p.value);
        }
    }
}

/* A login up to the challenge for algorithm 7. */
static struct puppet *
challenged(struct world *w, uint8_t isid, struct challenge *ret)
{
    struct puppet *p = puppet_new(w, isid);

    puppet_login_send(p, SEC, KEYS(NAMES "\0AuthMethod=CHAP"));
    assert_int_equal(puppet_login_status(p), 0);
    puppet_login_send(p, SEC, KEYS("CHAP_A=7"));
    assert_int_equal(puppet_login_status(p), 0);
    challenge_read(&p->rx, ret);
    assert_int_equal(ret->alg, 7);
    return p;
}

/* SEC-02, SEC-05, SEC-20: the first method and the first algorithm of the initiator's list that are
 * wanted here; never a password in clear. */
static void
lists(void **state)
{
    static const struct {
        const char *method;
        uint16_t status;
        const char *algs; /* NULL: not asked */
        unsigned alg;     /* 0: none */
    } rows[] = {
        {"CHAP", 0, "5", 5},
        {"CHAP,None", 0, "7,5", 7},
        {"None,CHAP", 0, "5,7", 5},
        {"KRB5,CHAP", 0, "9,250,6", 6},
        {"SRP,KRB5,CHAP,None", 0, "9", 0},
        {"CHAP", 0, "0", 0},
        {"CHAP", 0, "MD5", 0},
        {"KRB5,SRP", 0x0201, NULL, 0},
        {"None", 0x0201, NULL, 0},
        {"Z-clear.example", 0x0201, NULL, 0},
    };
    struct world w;

    (void)state;
    chap_world(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *p = puppet_new(&w, 1);
        struct challenge c;
        char text[200];
        int n = snprintf(text, sizeof(text),
                         "InitiatorName=" INITIATOR "%cTargetName=" IQN "%cAuthMethod=%s", 0, 0,
                         rows[i].method);

        puppet_login_send(p, SEC, text, (size_t)n + 1);
        assert_int_equal(puppet_login_status(p), rows[i].status);
        if (rows[i].algs != NULL) {
            assert_true(puppet_text_has(&p->rx, "AuthMethod=CHAP"));
            n = snprintf(text, sizeof(text), "CHAP_A=%s", rows[i].algs);
            puppet_login_send(p, SEC, text, (size_t)n + 1);
            assert_int_equal(puppet_login_status(p), rows[i].alg != 0 ? 0 : 0x0201);
            challenge_read(&p->rx, &c);
            assert_int_equal(c.alg, rows[i].alg);
        }
        puppet_free(p);
    }
    world_free(&w);
}

/* SEC-08: challenges are long, and none comes twice; the identifier changes, too. */
static void
challenges_are_fresh(void **state)
{
    enum { N = 64 };
    static struct challenge c[N];
    unsigned other_id = 0;
    struct world w;

    (void)state;
    chap_world(&w);
    for (unsigned i = 0; i < N; i++) {
        struct puppet *p = challenged(&w, 1, &c[i]);

        for (unsigned k = 0; k < i; k++)
            assert_memory_not_equal(c[i].bytes, c[k].bytes, 16);
        other_id += i > 0 && c[i].id != c[i - 1].id;
        puppet_free(p);
    }
    assert_true(other_id > N / 2);
    world_free(&w);
}

/* SEC-04, SEC-15: which keys come at each step. */
static void
keys_of_each_step(void **state)
{
    static const struct {
        unsigned step; /* at which these keys come: 1, 2 or 3 */
        const char *keys;
        size_t len;
        uint16_t status;
    } rows[] = {
        {1, KEYS("AuthMethod=CHAP\0CHAP_A=5"), 0x0200},
        {1, KEYS("CHAP_A=5"), 0x0200},
        {1, KEYS("CHAP_N=us\0CHAP_R=0x00"), 0x0200},
        {2, KEYS("CHAP_N=us\0CHAP_R=0x00"), 0x0200},
        {2, KEYS("CHAP_A=5\0CHAP_I=1"), 0x0200},
        {2, KEYS("AuthMethod=CHAP"), 0x0200},
        {3, NULL, 0, 0x0207},
        {3, KEYS("CHAP_N=us"), 0x0207},
        {3, KEYS("CHAP_R=0x00"), 0x0207},
        {3, KEYS("CHAP_N=us\0CHAP_R=0x00\0CHAP_I=1"), 0x0207},
        {3, KEYS("CHAP_N=us\0CHAP_R=0x00\0CHAP_C=0x00"), 0x0207},
        {3, KEYS("CHAP_A=5"), 0x0200},
        {3, KEYS("CHAP_A=5\0CHAP_N=us\0CHAP_R=0x00"), 0x0200},
        {3, KEYS("CHAP_N=us\0CHAP_R=0x00"), 0x0201},
        {3, KEYS("CHAP_N=us\0CHAP_R=none"), 0x0201},
    };
    struct world w;

    (void)state;
    chap_world(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *p = puppet_new(&w, 1);
        char text[300];
        uint16_t got;

        memcpy(text, NAMES, sizeof(NAMES));
        if (rows[i].step == 1)
            memcpy(text + sizeof(NAMES), rows[i].keys, rows[i].len);
        else
            memcpy(text + sizeof(NAMES), "AuthMethod=CHAP", 16);
        puppet_login_send(p, SEC, text, sizeof(NAMES) + (rows[i].step == 1 ? rows[i].len : 16));
        got = puppet_login_status(p);
        if (rows[i].step == 3) {
            assert_int_equal(got, 0);
            puppet_login_send(p, SEC, KEYS("CHAP_A=7"));
            got = puppet_login_status(p);
        }
        if (rows[i].step > 1) {
            assert_int_equal(got, 0);
            puppet_login_send(p, SEC_OPER, rows[i].keys, rows[i].len);
            got = puppet_login_status(p);
        }
        if (got != rows[i].status)
            fail_msg("row %zu: status %04x", i, got);
        puppet_expect_close(p);
        puppet_free(p);
    }
    world_free(&w);
}

/* SEC-06, SEC-07, TNG-06: the response has the length of its hash, in hex or base64, of any case.
 */
static void
responses_of_each_length(void **state)
{
    static const struct {
        size_t len;
        char code; /* x, X: hex; b: base64 */
        bool good;
    } rows[] = {{32, 'x', true},  {32, 'X', true},  {32, 'b', true},
                {31, 'x', false}, {33, 'x', false}, {16, 'b', false},
                {0, 'x', false},  {1, 'b', false},  {64, 'x', false}};
    struct world w;

    (void)state;
    chap_world(&w);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t out[128] = {0};
        struct challenge c;
        struct puppet *p = challenged(&w, 1, &c);
        char text[512], *at = text;
        int n;

        assert_int_equal(
            chap_response(7, (uint8_t)c.id, SECRET, strlen(SECRET), c.bytes, c.len, out), 0);
        at += sprintf(at, "CHAP_N=us") + 1;
        at += sprintf(at, "CHAP_R=");
        n = rows[i].code == 'b' ? text_format_base64(at, 300, out, rows[i].len)
                                : text_format_hex(at, 300, out, rows[i].len);
        if (rows[i].len == 0)
            n = sprintf(at, "0x");
        assert_true(n >= 0);
        for (char *k = at; rows[i].code == 'X' && *k != '\0'; k++)
            *k = *k >= 'a' ? (char)(*k - 'a' + 'A') : *k;
        puppet_login_send(p, SEC_OPER, text, (size_t)(at - text) + strlen(at) + 1);
        assert_int_equal(puppet_login_status(p), rows[i].good ? 0 : 0x0201);
        puppet_free(p);
    }
    world_free(&w);
}

/* The last step with a challenge of ours; its status. */
static uint16_t
ask_back(struct puppet *p, const struct challenge *c, const char *coded)
{
    uint8_t out[CHAP_RESPONSE_MAX];
    static char text[4096];
    struct text_buf b;

    assert_int_equal(
        chap_response(7, (uint8_t)c->id, SECRET, strlen(SECRET), c->bytes, c->len, out), 0);
    text_buf_init(&b, text, sizeof(text));
    assert_int_equal(text_put(&b, "CHAP_N", "us"), 0);
    assert_int_equal(text_put_hex(&b, "CHAP_R", out, 32), 0);
    assert_int_equal(text_put_num(&b, "CHAP_I", 9), 0);
    assert_int_equal(text_put(&b, "CHAP_C", coded), 0);
    puppet_login_send(p, SEC_OPER, b.buf, b.len);
    return puppet_login_status(p);
}

/* SEC-07, SEC-13, SEC-14: challenges of 1 to 1024 bytes are answered; not our own, whatever its
 * form and whichever connection it was for. */
static void
challenges_of_initiators(void **state)
{
    static const size_t lens[] = {0, 1, 16, 1023, 1024, 1025};
    struct challenge c, other;
    struct puppet *p, *q;
    struct world w;
    char coded[2200], base64[2000];

    (void)state;
    chap_world(&w);
    for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
        bool good = lens[i] >= 1 && lens[i] <= 1024;

        memset(coded, 'a', sizeof(coded));
        memcpy(coded, "0x", 2);
        coded[2 + 2 * lens[i]] = '\0';
        p = challenged(&w, 1, &c);
        assert_int_equal(ask_back(p, &c, coded), good ? 0 : 0x0200);
        if (good) {
            uint8_t asked[1024], out[32];
            char pair[80] = "CHAP_R=";

            memset(asked, 0xaa, sizeof(asked));
            assert_int_equal(chap_response(7, 9, MUTUAL, strlen(MUTUAL), asked, lens[i], out), 0);
            assert_true(text_format_hex(pair + 7, sizeof(pair) - 7, out, 32) > 0);
            assert_true(puppet_text_has(&p->rx, pair));
            assert_true(puppet_text_has(&p->rx, "CHAP_N=them"));
        }
        puppet_free(p);
    }
    p = challenged(&w, 1, &c);
    assert_int_equal(ask_back(p, &c, c.coded), 0x0201);
    puppet_free(p);
    p = challenged(&w, 1, &c);
    assert_true(text_format_base64(base64, sizeof(base64), c.bytes, c.len) > 0);
    assert_int_equal(ask_back(p, &c, base64), 0x0201);
    puppet_free(p);
    p = challenged(&w, 1, &c); /* from another login, which waits meanwhile */
    q = challenged(&w, 2, &other);
    assert_int_equal(ask_back(p, &c, other.coded), 0x0201);
    puppet_free(p);
    puppet_free(q);
    world_free(&w);
}

/* SEC-17, SEC-18: another name with the right secret is nobody, and a connection that joins a
 * session proves itself like the first. */
static void
identities(void **state)
{
    uint8_t out[CHAP_RESPONSE_MAX];
    struct puppet *p, *q;
    struct text_buf b;
    struct challenge c;
    struct world w;
    char text[512];

    (void)state;
    chap_world(&w);
    for (unsigned i = 0; i < 2; i++) {
        p = challenged(&w, 1, &c);
        assert_int_equal(
            chap_response(7, (uint8_t)c.id, SECRET, strlen(SECRET), c.bytes, c.len, out), 0);
        text_buf_init(&b, text, sizeof(text));
        assert_int_equal(text_put(&b, "CHAP_N", i == 0 ? "US" : "us"), 0);
        assert_int_equal(text_put_hex(&b, "CHAP_R", out, 32), 0);
        puppet_login_send(p, SEC_OPER, b.buf, b.len);
        assert_int_equal(puppet_login_status(p), i == 0 ? 0x0201 : 0);
        if (i == 0)
            puppet_free(p);
    }
    puppet_login_send(p, TO_FFP, KEYS("MaxConnections=2"));
    assert_int_equal(puppet_login_status(p), 0);
    q = puppet_new(&w, 1);
    q->tsih = get16(p->rx.h.login_rsp.tsih);
    q->cid = 1;
    assert_int_equal(puppet_login(q, KEYS("")), 0x0201); /* without the security stage */
    puppet_free(q);
    q = puppet_new(&w, 1);
    q->tsih = get16(p->rx.h.login_rsp.tsih);
    q->cid = 1;
    puppet_login_send(q, SEC_OPER, KEYS(NAMES "\0AuthMethod=None"));
    assert_int_equal(puppet_login_status(q), 0x0201);
    puppet_free(q);
    puppet_free(p);
    world_free(&w);
}

/* SEC-11 */
static void
one_secret_for_each_direction(void **state)
{
    const struct target_node_config n = {.name = IQN,
                                         .luns = &lun,
                                         .luns_count = 1,
                                         .chap_user = "us",
                                         .chap_secret = SECRET,
                                         .mutual_user = "them",
                                         .mutual_secret = SECRET};
    const struct target_config cfg = {.nodes = &n, .nodes_count = 1};
    struct world *w = *state;
    struct lunette_error err;
    struct target *t;

    assert_int_equal(target_new(w->loop, &cfg, &t, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "must differ"));
    assert_null(strstr(err.msg, SECRET));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lists),
        cmocka_unit_test(challenges_are_fresh),
        cmocka_unit_test(keys_of_each_step),
        cmocka_unit_test(responses_of_each_length),
        cmocka_unit_test(challenges_of_initiators),
        cmocka_unit_test(identities),
        cmocka_unit_test_setup_teardown(one_secret_for_each_direction, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
