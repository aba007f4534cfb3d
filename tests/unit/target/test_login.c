/* SPDX-License-Identifier: MIT */
/* Login as a scripted initiator sees it: RFC 7143 6.3, 9.2.1, 11.12, 13. */
#include "tests/unit/target/puppet.h"

#include <stdlib.h>
#include <string.h>

#include "wire/chap.h"

#define OPER_FFP bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT)
#define SEC      bhs_login_flags(0, 0, 0)
#define SEC_OPER bhs_login_flags(0, 1, ISCSI_LOGIN_TRANSIT)
#define NAMES    "InitiatorName=" INITIATOR "\0TargetName=" IQN

/* One request from a fresh connection must be refused with that status, and the connection ends. */
static void
refused(struct world *w, uint8_t flags, const char *text, size_t len, uint16_t status)
{
    struct puppet *p = puppet_new(w, 1);

    puppet_login_send(p, flags, text, len);
    assert_int_equal(puppet_login_status(p), status);
    puppet_expect_close(p);
    puppet_free(p);
}

static void
refusals(void **state)
{
    struct world *w = *state;

    refused(w, OPER_FFP, KEYS("TargetName=" IQN), 0x0207);
    refused(w, OPER_FFP, KEYS("InitiatorName=" INITIATOR), 0x0207);
    refused(w, OPER_FFP, KEYS("InitiatorName=" INITIATOR "\0TargetName=iqn.2026-11.example:no"),
            0x0203);
    refused(w, OPER_FFP, KEYS("InitiatorName=nobody\0TargetName=" IQN), 0x0200);
    refused(w, OPER_FFP, KEYS(NAMES "\0SessionType=Other"), 0x0209);
    refused(w, bhs_login_flags(2, 3, ISCSI_LOGIN_TRANSIT), KEYS(NAMES), 0x0200);
    refused(w, bhs_login_flags(1, 0, ISCSI_LOGIN_TRANSIT), KEYS(NAMES), 0x0200);
    refused(w, bhs_login_flags(1, 2, ISCSI_LOGIN_TRANSIT), KEYS(NAMES), 0x0200);
    refused(w, OPER_FFP | ISCSI_LOGIN_CONTINUE, KEYS(NAMES), 0x0200);
    refused(w, OPER_FFP, KEYS(NAMES "\0MaxBurstLength=512\0MaxBurstLength=512"), 0x0200);
    refused(w, OPER_FFP, KEYS(NAMES "\0no equals sign"), 0x0200);
    refused(w, OPER_FFP, KEYS(NAMES "\0ImmediateData=Reject"), 0x0200);
    refused(w, OPER_FFP, KEYS(NAMES "\0CHAP_A=5"), 0x0200);
    refused(w, SEC_OPER, KEYS(NAMES "\0MaxBurstLength=512"), 0x0200);
    refused(w, SEC, KEYS(NAMES "\0AuthMethod=CHAP"), 0x0201);
}

static void
bad_version(void **state)
{
    struct puppet *p = puppet_new(*state, 1);
    struct bhs_login_req h;

    bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, OPER_FFP);
    h.version_max = h.version_min = 1;
    puppet_send(p, &h, KEYS(NAMES));
    assert_int_equal(puppet_login_status(p), 0x0205);
    assert_int_equal(p->rx.h.login_rsp.version_active, 0);
    puppet_expect_close(p);
    puppet_free(p);
}

/* RFC7143-4.2.4: nothing but Login PDUs until full feature phase. */
static void
not_a_login(void **state)
{
    struct puppet *p = puppet_new(*state, 1);
    struct bhs_nop_out h;
    static uint8_t junk[8193];

    bhs_init(&h, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
    puppet_send(p, &h, NULL, 0);
    puppet_expect_close(p);
    puppet_free(p);

    p = puppet_new(*state, 1);
    puppet_login_send(p, bhs_login_flags(1, 0, 0), KEYS(NAMES));
    assert_int_equal(puppet_login_status(p), 0);
    puppet_send(p, &h, NULL, 0);
    assert_int_equal(puppet_login_status(p), 0x020b);
    puppet_expect_close(p);
    puppet_free(p);

    p = puppet_new(*state, 1);
    puppet_login_send(p, OPER_FFP, (const char *)junk, sizeof(junk)); /* 13.12: 8192 at most */
    puppet_expect_close(p);
    puppet_free(p);
}

/* FSM-02: whoever connects and says nothing has the time of a login. */
static void
silence(void **state)
{
    struct puppet *p;
    struct world w;

    (void)state;
    world_login_ms = 200;
    world_new(&w, NULL, 0);
    world_login_ms = 5000;
    p = puppet_new(&w, 1);
    for (int i = 0; i < 300; i++)
        world_turn(&w);
    puppet_expect_close(p);
    puppet_free(p);
    world_free(&w);
}

static void
usual(void **state)
{
    struct puppet *p = puppet_new(*state, 1);
    struct target_stats st;

    assert_int_equal(puppet_login(p, KEYS("HeaderDigest=CRC32C,None\0MaxBurstLength=8192\0"
                                          "FirstBurstLength=65536\0ErrorRecoveryLevel=2\0"
                                          "X-unknown=1\0IFMarker=No\0InitialR2T=No\0"
                                          "MaxConnections=99\0TaskReporting=FastAbort,RFC3720\0"
                                          "DefaultTime2Wait=0")),
                     0);
    assert_true(p->tsih != 0);
    assert_true(puppet_text_has(&p->rx, "HeaderDigest=CRC32C"));
    assert_true(puppet_text_has(&p->rx, "MaxBurstLength=8192"));
    assert_true(puppet_text_has(&p->rx, "FirstBurstLength=8192"));
    assert_true(puppet_text_has(&p->rx, "ErrorRecoveryLevel=0"));
    assert_true(puppet_text_has(&p->rx, "X-unknown=NotUnderstood"));
    assert_true(puppet_text_has(&p->rx, "IFMarker=Reject"));
    assert_true(puppet_text_has(&p->rx, "InitialR2T=No"));
    assert_true(puppet_text_has(&p->rx, "MaxConnections=8"));
    assert_true(puppet_text_has(&p->rx, "TaskReporting=FastAbort"));
    assert_true(puppet_text_has(&p->rx, "DefaultTime2Wait=2"));
    assert_true(puppet_text_has(&p->rx, "TargetPortalGroupTag=1"));
    puppet_clear_ua(p); /* with header digests */
    target_stats(p->w->target, &st);
    assert_int_equal(st.sessions, 1);
    puppet_free(p);
    target_stats(((struct world *)*state)->target, &st);
    assert_int_equal(st.sessions, 0);
}

/* RFC7143-6.2: a pair may be split anywhere; the answer to C is an empty PDU. */
static void
continued(void **state)
{
    static const char text[] = NAMES "\0MaxBurstLength=4096";

    for (size_t cut = 1; cut < sizeof(text); cut += 7) {
        struct puppet *p = puppet_new(*state, 1);

        puppet_login_send(p, bhs_login_flags(1, 0, ISCSI_LOGIN_CONTINUE), text, cut);
        assert_int_equal(puppet_login_status(p), 0);
        assert_int_equal(p->rx.len, 0);
        assert_int_equal(p->rx.h.login_rsp.flags & 0xc0, 0);
        assert_int_equal(get16(p->rx.h.login_rsp.tsih), 0);
        puppet_login_send(p, OPER_FFP, text + cut, sizeof(text) - cut);
        assert_int_equal(puppet_login_status(p), 0);
        assert_true(puppet_text_has(&p->rx, "MaxBurstLength=4096"));
        puppet_free(p);
    }
}

/* The text of a login is bounded by its bytes and not by the number of its pieces; pieces with
 * nothing in them are bounded by number. */
static void
small_pieces(void **state)
{
    static const char text[] = NAMES "\0MaxBurstLength=4096";
    static char more[8000];
    struct puppet *p = puppet_new(*state, 1);

    assert_true(sizeof(text) > 80);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        puppet_login_send(p, bhs_login_flags(1, 0, ISCSI_LOGIN_CONTINUE), text + i, 1);
        assert_int_equal(puppet_login_status(p), 0);
    }
    puppet_login_send(p, OPER_FFP, text + sizeof(text) - 1, 1);
    assert_int_equal(puppet_login_status(p), 0);
    assert_true(puppet_text_has(&p->rx, "MaxBurstLength=4096"));
    puppet_free(p);

    memset(more, 'x', sizeof(more));
    p = puppet_new(*state, 1);
    for (unsigned i = 0; i < 2; i++) {
        puppet_login_send(p, bhs_login_flags(1, 0, ISCSI_LOGIN_CONTINUE), more, sizeof(more));
        assert_int_equal(puppet_login_status(p), 0);
    }
    puppet_login_send(p, bhs_login_flags(1, 0, ISCSI_LOGIN_CONTINUE), more, sizeof(more));
    assert_int_equal(puppet_login_status(p), 0x0200);
    puppet_expect_close(p);
    puppet_free(p);

    p = puppet_new(*state, 1);
    for (unsigned i = 0; i < 64; i++) {
        puppet_login_send(p, bhs_login_flags(1, 0, ISCSI_LOGIN_CONTINUE), NULL, 0);
        assert_int_equal(puppet_login_status(p), 0);
    }
    puppet_login_send(p, bhs_login_flags(1, 0, ISCSI_LOGIN_CONTINUE), NULL, 0);
    assert_int_equal(puppet_login_status(p), 0x0200);
    puppet_expect_close(p);
    puppet_free(p);
}

/* A discovery session has one connection; the answer says so, and is not Irrelevant. */
static void
discovery_keys(void **state)
{
    static const char named[] =
        "InitiatorName=" INITIATOR "\0SessionType=Discovery\0TargetName=" IQN
        "\0MaxConnections=4\0MaxBurstLength=4096";
    static const char unnamed[] = "InitiatorName=" INITIATOR "\0SessionType=Discovery\0"
                                  "MaxConnections=4\0InitialR2T=Yes";
    const char *const texts[] = {named, unnamed};
    const size_t lens[] = {sizeof(named), sizeof(unnamed)};

    for (unsigned i = 0; i < 2; i++) {
        struct puppet *p = puppet_new(*state, 1);

        puppet_login_send(p, OPER_FFP, texts[i], lens[i]);
        assert_int_equal(puppet_login_status(p), 0);
        assert_true(puppet_text_has(&p->rx, "MaxConnections=1"));
        puppet_free(p);
    }
}

/* RFC7143-6.3.1: which session a login means. */
static void
decision_table(void **state)
{
    struct puppet *a = puppet_new(*state, 1), *b = puppet_new(*state, 2), *c;
    uint16_t first;

    b->tsih = 77; /* new ISID, TSIH not 0 */
    assert_int_equal(puppet_login(b, KEYS("")), 0x020a);
    puppet_free(b);

    assert_int_equal(puppet_login(a, KEYS("MaxConnections=2")), 0);
    first = a->tsih;
    c = puppet_new(*state, 1); /* same ISID, unknown TSIH */
    c->tsih = (uint16_t)(first + 1);
    assert_int_equal(puppet_login(c, KEYS("")), 0x020a);
    puppet_free(c);

    c = puppet_new(*state, 1); /* second connection */
    c->tsih = first;
    c->cid = 1;
    c->cmd_sn = a->cmd_sn;
    assert_int_equal(puppet_login(c, KEYS("")), 0);
    assert_int_equal(c->tsih, first);
    b = puppet_new(*state, 1); /* a third is one too many */
    b->tsih = first;
    b->cid = 2;
    assert_int_equal(puppet_login(b, KEYS("")), 0x0206);
    puppet_free(b);
    b = puppet_new(*state, 1); /* session-wide keys on an added connection */
    b->tsih = first;
    b->cid = 1;
    assert_int_equal(puppet_login(b, KEYS("MaxBurstLength=512")), 0x0200);
    puppet_free(b);

    b = puppet_new(*state, 1); /* connection reinstatement */
    b->tsih = first;
    b->cid = 1;
    assert_int_equal(puppet_login(b, KEYS("")), 0);
    puppet_expect_close(c);
    puppet_free(c);

    c = puppet_new(*state, 1); /* session reinstatement */
    assert_int_equal(puppet_login(c, KEYS("")), 0);
    assert_true(c->tsih != first);
    puppet_expect_close(a);
    puppet_expect_close(b);
    puppet_free(a);
    puppet_free(b);
    puppet_free(c);
}

static const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};

/* A target that does not offer None for a digest takes nobody without it. */
static void
required_digests(void **state)
{
    const struct target_key_value set[] = {{"HeaderDigest", "CRC32C"}, {"DataDigest", "CRC32C"}};
    struct target_node_config n = {
        .name = IQN, .luns = &lun, .luns_count = 1, .set = set, .set_count = 2};
    static const struct {
        const char *keys;
        size_t len;
        uint16_t status;
        unsigned set_count;
    } rows[] = {
        {KEYS(""), 0x0200, 2},
        {KEYS("HeaderDigest=None\0DataDigest=None"), 0x0200, 2},
        {KEYS("HeaderDigest=CRC32C"), 0x0200, 2},
        {KEYS("DataDigest=CRC32C"), 0x0200, 2},
        {KEYS("HeaderDigest=CRC32C,None\0DataDigest=None,CRC32C"), 0, 2},
        {KEYS("HeaderDigest=None,CRC32C"), 0, 1},
        {KEYS("DataDigest=CRC32C"), 0x0200, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct world w;
        struct puppet *p;

        n.set_count = rows[i].set_count;
        world_new(&w, &n, 1);
        p = puppet_new(&w, 1);
        assert_int_equal(puppet_login(p, rows[i].keys, rows[i].len), rows[i].status);
        if (rows[i].status != 0)
            puppet_expect_close(p);
        puppet_free(p);
        world_free(&w);
    }
}

static void
redirected(void **state)
{
    const struct target_node_config n[2] = {
        {.name = IQN, .luns = &lun, .luns_count = 1, .redirect = "10.0.0.1:3261"},
        {.name = IQN "2", .redirect = "[fe80::1]:3260", .redirect_permanent = true},
    };
    struct world w;
    struct puppet *p;

    (void)state;
    world_new(&w, n, 2);
    p = puppet_new(&w, 1);
    assert_int_equal(puppet_login(p, KEYS("")), 0x0101);
    assert_true(puppet_text_has(&p->rx, "TargetAddress=10.0.0.1:3261"));
    puppet_expect_close(p);
    puppet_free(p);
    p = puppet_new(&w, 1);
    puppet_login_send(p, OPER_FFP, KEYS("InitiatorName=" INITIATOR "\0TargetName=" IQN "2"));
    assert_int_equal(puppet_login_status(p), 0x0102);
    puppet_free(p);
    world_free(&w);
}

#define SECRET "secret of initiator"
#define MUTUAL "secret of the target"

/* Challenge of the target's last answer, and its identifier. */
static size_t
challenge_of(struct puppet *p, unsigned alg, uint8_t *id, uint8_t *challenge)
{
    struct text_iter it;
    struct text_pair pair;
    size_t len = 0;

    text_iter_init(&it, (const char *)p->rx.data, p->rx.len);
    while (text_next(&it, &pair, NULL) == 1) {
        uint64_t n = 0;

        if (text_is(pair.key, pair.key_len, "CHAP_C"))
            len = (size_t)text_parse_bin(pair.value, pair.value_len, challenge, 1024);
        if (text_is(pair.key, pair.key_len, "CHAP_I"))
            (void)text_parse_num(pair.value, pair.value_len, &n), *id = (uint8_t)n;
        if (text_is(pair.key, pair.key_len, "CHAP_A")) {
            assert_int_equal(text_parse_num(pair.value, pair.value_len, &n), 0);
            assert_int_equal(n, alg);
        }
    }
    assert_true(len >= 16);
    return len;
}

/* CHAP up to our response; secret as given.  reverse: 0 no, 1 a challenge of ours, 2 the target's.
 */
static uint16_t
chap_steps(struct puppet *p, unsigned alg, const char *user, const char *secret, int reverse)
{
    uint8_t id = 0, ch[1024], out[CHAP_RESPONSE_MAX];
    char mem[4096], algs[8] = {(char)('0' + alg)};
    struct text_buf b;
    size_t len;
    uint16_t status;

    puppet_login_send(p, SEC, KEYS(NAMES "\0AuthMethod=CHAP,None"));
    assert_int_equal(puppet_login_status(p), 0);
    assert_true(puppet_text_has(&p->rx, "AuthMethod=CHAP"));
    text_buf_init(&b, mem, sizeof(mem));
    assert_int_equal(text_put(&b, "CHAP_A", algs), 0);
    puppet_login_send(p, SEC, b.buf, b.len);
    assert_int_equal(puppet_login_status(p), 0);
    len = challenge_of(p, alg, &id, ch);
    assert_int_equal(chap_response(alg, id, secret, strlen(secret), ch, len, out), 0);
    b.len = 0;
    assert_int_equal(text_put(&b, "CHAP_N", user), 0);
    assert_int_equal(text_put_base64(&b, "CHAP_R", out, chap_response_len(alg)), 0);
    if (reverse > 0) {
        if (reverse == 1)
            memset(ch, 0x77, len);
        assert_int_equal(text_put_num(&b, "CHAP_I", 9), 0);
        assert_int_equal(text_put_hex(&b, "CHAP_C", ch, len), 0);
    }
    puppet_login_send(p, SEC_OPER, b.buf, b.len);
    status = puppet_login_status(p);
    if (status == 0 && reverse == 1) {
        char hex[TEXT_HEX_SIZE(CHAP_RESPONSE_MAX)], pair[128] = "CHAP_R=";

        assert_int_equal(chap_response(alg, 9, MUTUAL, strlen(MUTUAL), ch, len, out), 0);
        assert_true(text_format_hex(hex, sizeof(hex), out, chap_response_len(alg)) > 0);
        assert_true(puppet_text_has(&p->rx, strcat(pair, hex)));
        assert_true(puppet_text_has(&p->rx, "CHAP_N=them"));
    }
    if (status == 0) {
        puppet_login_send(p, OPER_FFP, NULL, 0);
        assert_int_equal(puppet_login_status(p), 0);
    }
    return status;
}

static uint16_t
chap(struct world *w, unsigned alg, const char *user, const char *secret, int reverse)
{
    struct puppet *p = puppet_new(w, 1);
    uint16_t status = chap_steps(p, alg, user, secret, reverse);

    puppet_free(p);
    return status;
}

/* RFC7143-9.2 (SEC-18): a connection that joins a session authenticates as the first one did. */
static void
chap_again_for_each_connection(void **state)
{
    const struct target_node_config n = {
        .name = IQN, .luns = &lun, .luns_count = 1, .chap_user = "us", .chap_secret = SECRET};
    struct puppet *a, *b;
    struct world w;

    (void)state;
    world_new(&w, &n, 1);
    a = puppet_new(&w, 1);
    assert_int_equal(chap_steps(a, 5, "us", SECRET, 0), 0);
    a->tsih = get16(a->rx.h.login_rsp.tsih);
    for (unsigned way = 0; way < 3; way++) {
        b = puppet_new(&w, 1);
        b->tsih = a->tsih;
        b->cid = 0; /* in the place of the first one, which must not suffer by it */
        if (way == 0) {
            puppet_login_send(b, OPER_FFP, KEYS(NAMES));
            assert_int_equal(puppet_login_status(b), 0x0201);
        } else {
            assert_int_equal(
                chap_steps(b, 5, way == 1 ? "me" : "us", way == 1 ? SECRET : "wrong", 0), 0x0201);
        }
        puppet_free(b);
    }
    puppet_expect_nothing(a);
    b = puppet_new(&w, 1);
    b->tsih = a->tsih;
    assert_int_equal(chap_steps(b, 5, "us", SECRET, 0), 0);
    puppet_expect_close(a);
    puppet_free(a);
    puppet_free(b);
    world_free(&w);
}

static void
chap_logins(void **state)
{
    const struct target_node_config n = {.name = IQN,
                                         .luns = &lun,
                                         .luns_count = 1,
                                         .chap_user = "us",
                                         .chap_secret = SECRET,
                                         .mutual_user = "them",
                                         .mutual_secret = MUTUAL};
    struct world w;

    (void)state;
    world_new(&w, &n, 1);
    for (unsigned alg = 5; alg <= 8; alg++) {
        if (!chap_alg_usable(alg))
            continue;
        assert_int_equal(chap(&w, alg, "us", SECRET, 0), 0);
        assert_int_equal(chap(&w, alg, "us", SECRET, 1), 0);
        assert_int_equal(chap(&w, alg, "us", "wrong secret", 0), 0x0201);
    }
    assert_int_equal(chap(&w, 7, "someone", SECRET, 0), 0x0201);
    assert_int_equal(chap(&w, 7, "us", SECRET, 2), 0x0201); /* our own challenge comes back */
    assert_int_equal(chap(&w, 7, "us", MUTUAL, 0), 0x0201); /* our own secret comes back */
    refused(&w, OPER_FFP, KEYS(NAMES), 0x0201);
    refused(&w, SEC, KEYS(NAMES "\0AuthMethod=None"), 0x0201);
    refused(&w, SEC_OPER, KEYS(NAMES), 0x0201);
    refused(&w, SEC, KEYS(NAMES "\0CHAP_R=0x00"), 0x0200);
    world_free(&w);
}

/* SEC-09: secrets of 128 random bits, of which some are no characters. */
static void
chap_secrets_of_any_bytes(void **state)
{
    static const char secret[] = "\x01\xff\x80\x0a\x7f\xc3\x28\xfe\xa0\x9d\x0d\x20\x22\xe2\x82\x1b";
    const struct target_node_config n = {
        .name = IQN, .luns = &lun, .luns_count = 1, .chap_user = "us", .chap_secret = secret};
    struct world w;

    (void)state;
    world_new(&w, &n, 1);
    assert_int_equal(sizeof(secret), 17);
    assert_int_equal(chap(&w, 5, "us", secret, 0), 0);
    assert_int_equal(chap(&w, 7, "us", secret, 0), 0);
    assert_int_equal(chap(&w, 7, "us", secret + 1, 0), 0x0201);
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(refusals, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(bad_version, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(not_a_login, world_setup, world_teardown),
        cmocka_unit_test(silence),
        cmocka_unit_test_setup_teardown(usual, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(continued, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(small_pieces, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(discovery_keys, world_setup, world_teardown),
        cmocka_unit_test(required_digests),
        cmocka_unit_test_setup_teardown(decision_table, world_setup, world_teardown),
        cmocka_unit_test(redirected),
        cmocka_unit_test(chap_logins),
        cmocka_unit_test(chap_secrets_of_any_bytes),
        cmocka_unit_test(chap_again_for_each_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
