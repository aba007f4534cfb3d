/* SPDX-License-Identifier: MIT */
/* CHAP as the initiator does it (RFC 7143 9.2, 12.1.3).  CONFORMANCE ids in brackets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"
#include "tests/unit/login/fake.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }
#define OPER                                                                                       \
    {                                                                                              \
        "CSG1 T", "@answer"                                                                        \
    }

static void
account(struct login_account *a, const char *name, const char *secret)
{
    *a = (struct login_account){.secret_len = (uint16_t)strlen(secret)};
    (void)snprintf(a->name, sizeof(a->name), "%s", name);
    memcpy(a->secret, secret, strlen(secret));
}

/* This process must never see a secret in a message. */
static void
run_log(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    assert_null(strstr(line, "initiator-secret"));
    assert_null(strstr(line, "target-secret"));
}
static const struct log quiet = {.level = LOG_LEVEL_DEBUG, .sink = run_log};

static struct world *
run(uint64_t seed, const struct step *script, bool mutual)
{
    struct world *w = world_new(seed);
    struct login_config cfg;

    w->l.log = &quiet;
    world_config(w, &cfg);
    account(&cfg.chap, "alice", "initiator-secret");
    if (mutual)
        account(&cfg.mutual, "bob", "target-secret-12");
    w->scripts[0] = script;
    w->nscripts = 1;
    world_login(w, &cfg);
    return w;
}

static void
end_ok(struct world *w, const char *method)
{
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    assert_string_equal(w->res.auth_method, method);
    world_logout(w);
    world_free(w);
}

static void
end_failed(struct world *w, enum lunette_domain dom, const char *text)
{
    if (w->err.code == 0)
        fail_msg("logged in, expected \"%s\"", text);
    if (strstr(w->err.msg, text) == NULL)
        fail_msg("\"%s\" should hold \"%s\"", w->err.msg, text);
    assert_null(strstr(w->err.msg, "secret-12"));
    assert_null(strstr(w->err.msg, "initiator-secret"));
    assert_int_equal(w->err.domain, dom);
    assert_true(ctl_idle(w->ctl));
    assert_int_equal(w->sessions_made, w->sessions_gone);
    assert_int_equal(w->open_fds, 0);
    assert_int_equal(w->requests[ISCSI_UEVENT_SET_PARAM], 0); /* never near full feature phase */
    world_free(w);
}

/* SEC-01, SEC-05, SEC-06: each algorithm, one-way and mutual; hex and base64 come back. */
static void
each_algorithm(void **state)
{
    char chap[16];
    const struct step one_way[] = {
        {"AuthMethod=CHAP,None T CSG0", "AuthMethod=CHAP @noT TargetPortalGroupTag=1"},
        {"CHAP_A=8,5,7,6 !T CSG0 !CHAP_N", chap},
        {"CHAP_N=alice CHAP_R !CHAP_I !CHAP_C T", "@verify"},
        OPER,
        END};
    const struct step both[] = {
        {"AuthMethod=CHAP !T CSG0", "AuthMethod=CHAP TargetPortalGroupTag=1"},
        {"CHAP_A=8,5,7,6 !T", chap},
        {"CHAP_N=alice CHAP_R CHAP_I CHAP_C T", "@verify @prove"},
        OPER,
        END};

    (void)state;
    for (unsigned alg = 5; alg <= 8; alg++) {
        (void)snprintf(chap, sizeof(chap), "@chap=%u", alg);
        end_ok(run(alg, one_way, false), "CHAP");
        end_ok(run(alg, both, true), "CHAP mutual");
    }
}

/* SEC-09: a secret may be 16 bytes of any value but NUL, and longer. */
static void
secrets_of_any_bytes(void **state)
{
    static const struct step steps[] = {{"", "AuthMethod=CHAP"},
                                        {"CHAP_A", "@chap=7"},
                                        {"CHAP_R CHAP_C T", "@verify @prove"},
                                        OPER,
                                        END};
    static const unsigned lens[] = {12, 16, 32, 255};

    (void)state;
    for (size_t k = 0; k < sizeof(lens) / sizeof(lens[0]); k++) {
        struct world *w = world_new(90 + k);
        char ours[256] = "", theirs[256] = "";
        struct login_config cfg;

        for (unsigned i = 0; i < lens[k]; i++) {
            ours[i] = (char)(255 - i);
            theirs[i] = (char)(i + 1);
        }
        world_config(w, &cfg);
        account(&cfg.chap, "alice", ours);
        account(&cfg.mutual, "bob", theirs);
        assert_int_equal(cfg.chap.secret_len, lens[k]);
        w->chap_secret = ours;
        w->target_secret = theirs;
        w->scripts[0] = steps;
        w->nscripts = 1;
        world_login(w, &cfg);
        end_ok(w, "CHAP mutual");
    }
}

/* Legal detours: the target takes its time (LGN-07), answers without T, prefers None. */
static void
detours(void **state)
{
    static const struct step none[] = {{"AuthMethod=CHAP,None T", "AuthMethod=None"}, OPER, END};
    static const struct step none_later[] = {
        {"AuthMethod=CHAP,None T", "AuthMethod=None @noT"}, {"T empty", ""}, OPER, END};
    static const struct step slow[] = {{"T", "@noT"},
                                       {"T empty", "AuthMethod=CHAP @noT"},
                                       {"CHAP_A", "@noT"},
                                       {"!T empty", "@chap=7 @noT"},
                                       {"T CHAP_R", "@verify @noT"},
                                       {"T empty", ""},
                                       OPER,
                                       END};
    static const struct step prove_first[] = {{"!T", "AuthMethod=CHAP"},
                                              {"CHAP_A", "@chap=6"},
                                              {"T", "@verify @prove @noT"},
                                              {"T empty", ""},
                                              OPER,
                                              END};

    (void)state;
    end_ok(run(1, none, false), "None");
    end_ok(run(1, none_later, false), "None");
    end_ok(run(1, slow, false), "CHAP");
    end_ok(run(1, prove_first, true), "CHAP mutual");
}

struct bad {
    const char *id;
    bool mutual;
    struct step steps[5];
    enum lunette_domain dom;
    const char *text;
};

#define M1                                                                                         \
    {                                                                                              \
        "!T", "AuthMethod=CHAP"                                                                    \
    }
#define O1                                                                                         \
    {                                                                                              \
        "T", "AuthMethod=CHAP @noT"                                                                \
    }

static const struct bad bads[] = {
    {"SEC-02", false, {{"", "AuthMethod=SRP @noT"}}, LUNETTE_DOM_PROTO, "AuthMethod"},
    {"SEC-02", false, {{"", "AuthMethod=Reject @noT"}}, LUNETTE_DOM_LOGIN, "rejects every"},
    {"SEC-02", true, {{"", "AuthMethod=None"}}, LUNETTE_DOM_PROTO, "AuthMethod"},
    {"SEC-16", true, {{"", "AuthMethod=None @T"}}, LUNETTE_DOM_PROTO, ""},
    {"SEC-02", false, {{"", ""}}, LUNETTE_DOM_PROTO, "without choosing a method"},
    {"SEC-04", false, {{"", "AuthMethod=CHAP @T"}}, LUNETTE_DOM_PROTO, "before CHAP was done"},
    {"SEC-04",
     false,
     {{"", "AuthMethod=CHAP CHAP_A=5 @noT"}},
     LUNETTE_DOM_PROTO,
     "before a method"},
    {"SEC-05",
     false,
     {O1, {"", "CHAP_A=9 CHAP_I=1 CHAP_C=0x00 @noT"}},
     LUNETTE_DOM_PROTO,
     "not offered"},
    {"SEC-05",
     false,
     {O1, {"", "CHAP_A=5,6 CHAP_I=1 CHAP_C=0x00"}},
     LUNETTE_DOM_PROTO,
     "not offered"},
    {"SEC-05", false, {O1, {"", "CHAP_A=Reject"}}, LUNETTE_DOM_PROTO, "must answer"},
    {"SEC-04", false, {O1, {"", "CHAP_A=5 CHAP_I=1"}}, LUNETTE_DOM_PROTO, "must answer"},
    {"SEC-04", false, {O1, {"", "CHAP_A=5 CHAP_C=0x00"}}, LUNETTE_DOM_PROTO, "must answer"},
    {"SEC-04", false, {O1, {"", "CHAP_I=1 CHAP_C=0x00"}}, LUNETTE_DOM_PROTO, "must answer"},
    {"SEC-04", false, {O1, {"", "@chap=5 CHAP_N=x"}}, LUNETTE_DOM_PROTO, "must answer"},
    {"SEC-04", false, {O1, {"", "@chap=5 AuthMethod=CHAP"}}, LUNETTE_DOM_PROTO, "twice"},
    {"SEC-07", false, {O1, {"", "CHAP_A=5 CHAP_I=256 CHAP_C=0x00"}}, LUNETTE_DOM_PROTO, "CHAP_I"},
    {"SEC-07", false, {O1, {"", "CHAP_A=5 CHAP_I=-1 CHAP_C=0x00"}}, LUNETTE_DOM_PROTO, "CHAP_I"},
    {"SEC-07", false, {O1, {"", "CHAP_A=5 CHAP_I=1 CHAP_C=0x"}}, LUNETTE_DOM_PROTO, "CHAP_C"},
    {"SEC-07", false, {O1, {"", "CHAP_A=5 CHAP_I=1 CHAP_C=0b"}}, LUNETTE_DOM_PROTO, "CHAP_C"},
    {"SEC-07", false, {O1, {"", "CHAP_A=5 CHAP_I=1 CHAP_C=abc"}}, LUNETTE_DOM_PROTO, "CHAP_C"},
    {"SEC-07", false, {O1, {"", "CHAP_A=5 CHAP_I=1 CHAP_C=0xzz"}}, LUNETTE_DOM_PROTO, "CHAP_C"},
    {"LGR-01",
     false,
     {O1, {"!T", "@chap=7 @NSG=1 @T"}},
     LUNETTE_DOM_PROTO,
     "set T although the request did not"},
    {"SEC-04 unasked",
     false,
     {O1, {"", "@chap=7"}, {"", "@verify CHAP_N=bob CHAP_R=0x00"}},
     LUNETTE_DOM_PROTO,
     "nobody asked"},
    {"SEC-15",
     false,
     {O1, {"", "@chap=7"}, {"", "@status=0201"}},
     LUNETTE_DOM_LOGIN,
     "check the CHAP user and secret"},
    {"SEC-15 mutual, and the target knows no CHAP",
     true,
     {{"!T", "@status=0201"}},
     LUNETTE_DOM_LOGIN,
     "must prove itself (mutual CHAP)"},
    {"SEC-16 none",
     true,
     {M1, {"", "@chap=7"}, {"T", "@verify"}},
     LUNETTE_DOM_LOGIN,
     "did not prove"},
    {"SEC-16 half",
     true,
     {M1, {"", "@chap=7"}, {"", "@verify CHAP_N=bob"}},
     LUNETTE_DOM_PROTO,
     "nothing else"},
    {"SEC-16 half",
     true,
     {M1, {"", "@chap=7"}, {"", "@verify CHAP_R=0x00"}},
     LUNETTE_DOM_PROTO,
     "nothing else"},
    {"SEC-04 more",
     true,
     {M1, {"", "@chap=7"}, {"", "@verify @prove CHAP_I=1"}},
     LUNETTE_DOM_PROTO,
     "twice"},
    {"SEC-06 15",
     true,
     {M1, {"", "@chap=5"}, {"", "CHAP_N=bob CHAP_R=0x000102030405060708090a0b0c0d0e"}},
     LUNETTE_DOM_PROTO,
     "length"},
    {"SEC-06 17",
     true,
     {M1, {"", "@chap=5"}, {"", "CHAP_N=bob CHAP_R=0x000102030405060708090a0b0c0d0e0f10"}},
     LUNETTE_DOM_PROTO,
     "length"},
    {"SEC-16 wrong",
     true,
     {M1, {"", "@chap=5"}, {"", "CHAP_N=bob CHAP_R=0x000102030405060708090a0b0c0d0e0f"}},
     LUNETTE_DOM_LOGIN,
     "failed to prove"},
    {"SEC-12",
     true,
     {M1, {"", "@chap=7"}, {"", "@verify @reflect"}},
     LUNETTE_DOM_LOGIN,
     "our own secret"},
    {"SEC-17",
     true,
     {M1, {"", "@chap=7"}, {"", "@verify @prove=eve"}},
     LUNETTE_DOM_LOGIN,
     "failed to prove"},
    {"SEC-04 twice",
     true,
     {M1, {"", "@chap=7"}, {"", "@verify @prove @noT"}, {"T", "CHAP_N=bob CHAP_R=0x00"}},
     LUNETTE_DOM_PROTO,
     "twice"},
};

static void
each_bad(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bads) / sizeof(bads[0]); i++) {
        print_message("%s: %s\n", bads[i].id, bads[i].text);
        end_failed(run(i, bads[i].steps, bads[i].mutual), bads[i].dom, bads[i].text);
    }
}

/* SEC-07: challenges of 1, 1024 and 1025 bytes, hex and base64. */
static void
challenge_sizes(void **state)
{
    static char say[2200];
    static const struct step script[] = {
        {"T", "AuthMethod=CHAP @noT"}, {"CHAP_A", say}, {"CHAP_R", ""}, OPER, END};
    static const int sizes[] = {1, 1024, 1025};

    (void)state;
    for (int i = 0; i < 3; i++) {
        size_t n = (size_t)snprintf(say, sizeof(say), "CHAP_A=7 CHAP_I=0 @noT CHAP_C=0x");
        struct world *w;

        memset(say + n, 'a', 2 * (size_t)sizes[i]);
        say[n + 2 * (size_t)sizes[i]] = '\0';
        w = run(1, script, false);
        assert_int_equal(w->err.code<0, sizes[i]> 1024);
        if (w->err.code < 0)
            end_failed(w, LUNETTE_DOM_PROTO, "");
        else
            end_ok(w, "CHAP");
    }
    (void)snprintf(say, sizeof(say), "CHAP_A=7 CHAP_I=0 @noT CHAP_C=0bAA==");
    end_ok(run(1, script, false), "CHAP");
}

/* SEC-14: a challenge of ours that comes back over a second connection. */
static void
reflection_across_connections(void **state)
{
    static const struct step first[] = {
        {"!T", "AuthMethod=CHAP"}, {"CHAP_A", "@chap=7"}, {"CHAP_C", "@silent"}, END};
    static const struct step second[] = {{"!T", "AuthMethod=CHAP"}, {"CHAP_A", "@echo"}, END};
    struct world *w = world_new(9);
    struct login_config cfg;
    struct iscsi_login *l;

    (void)state;
    world_config(w, &cfg);
    account(&cfg.chap, "alice", "initiator-secret");
    account(&cfg.mutual, "bob", "target-secret-12");
    w->scripts[0] = first;
    w->scripts[1] = second;
    w->nscripts = 2;
    assert_int_equal(login_start(w->ctl, &cfg,
                                 &(struct login_callbacks){.done = world_login_done, .user = w}, &l,
                                 NULL),
                     0);
    while (w->last_challenge[0] == '\0')
        assert_true(world_step(w));
    {
        struct world *other = w; /* the same node: one table of challenges */
        struct iscsi_login *l2;

        login_isid_random(&w->l, cfg.isid);
        assert_int_equal(login_start(other->ctl, &cfg,
                                     &(struct login_callbacks){.done = world_login_done, .user = w},
                                     &l2, NULL),
                         0);
        world_run(w, &w->done);
        login_free(&l2);
    }
    assert_int_equal(w->err.domain, LUNETTE_DOM_LOGIN);
    assert_non_null(strstr(w->err.msg, "own challenge"));
    login_free(&l);
    world_drain(w);
    assert_int_equal(w->dones, 1);
    assert_true(ctl_idle(w->ctl));
    world_free(w);
}

/* MD5 is always offered, and refused when it is chosen and not wanted. */
static void
no_md5(void **state)
{
    static const struct step script[] = {
        {"T", "AuthMethod=CHAP @noT"}, {"CHAP_A=7,5", "@chap=5"}, END};
    struct world *w = world_new(1);
    struct login_config cfg;

    (void)state;
    world_config(w, &cfg);
    account(&cfg.chap, "alice", "initiator-secret");
    memcpy(cfg.chap_algs, ((uint8_t[]){7, 0, 0, 0}), 4);
    w->scripts[0] = script;
    w->nscripts = 1;
    world_login(w, &cfg);
    end_failed(w, LUNETTE_DOM_LOGIN, "MD5");
}

/* What is refused before anything is sent: SEC-10, SEC-11, and the rest of the lint. */
static void
lint(void **state)
{
    static const struct {
        const char *user, *secret, *muser, *msecret, *text;
    } t[] = {
        {"alice", "elevenbytes", "", "", "say allow_short_secret=yes"},
        {"alice", "", "", "", "no secret"},
        {"", "initiator-secret", "", "", "no name"},
        {"", "", "bob", "target-secret-12", "initiator's own"},
        {"alice", "initiator-secret", "bob", "initiator-secret", "equal"},
        {"alice", "initiator-secret", "bob", "short", "fewer than 12"},
    };
    struct world *w = world_new(1);
    struct login_config cfg;
    struct lunette_error err;

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        world_config(w, &cfg);
        account(&cfg.chap, t[i].user, t[i].secret);
        account(&cfg.mutual, t[i].muser, t[i].msecret);
        assert_int_equal(login_config_check(&cfg, &err), -EINVAL);
        if (strstr(err.msg, t[i].text) == NULL)
            fail_msg("%s / %s", err.msg, t[i].text);
        assert_true(t[i].secret[0] == '\0' || strstr(err.msg, t[i].secret) == NULL);
    }
    world_config(w, &cfg);
    account(&cfg.chap, "alice", "elevenbytes");
    cfg.allow_short_secret = true;
    assert_int_equal(login_config_check(&cfg, &err), 0);
    login_config_wipe(&cfg);
    for (size_t i = 0; i < sizeof(cfg.chap.secret); i++)
        assert_int_equal(cfg.chap.secret[i], 0);
    world_free(w);
}

static void
lint_other(void **state)
{
    struct world *w = world_new(1);
    struct login_config cfg, ok;
    struct lunette_error err;

    (void)state;
    world_config(w, &ok);
#define BAD(change, text)                                                                          \
    do {                                                                                           \
        cfg = ok;                                                                                  \
        change;                                                                                    \
        assert_int_equal(login_config_check(&cfg, &err), -EINVAL);                                 \
        assert_int_equal(err.domain, LUNETTE_DOM_USAGE);                                           \
        if (strstr(err.msg, text) == NULL)                                                         \
            fail_msg("%s / %s", err.msg, text);                                                    \
    } while (0)
    BAD(cfg.isid[0] = 0xc0, "ISID"); /* ID-02 */
    BAD(cfg.target_name[0] = '\0', "target's name");
    BAD((void)strcpy(cfg.target_name, "iqn.2026-11.org.example:a b"), "target name");
    BAD((void)strcpy(cfg.initiator_name, "iqn.2026-11.org.example:\x1b[m"), "initiator name");
    BAD(memset(cfg.initiator_name, 'i', sizeof(cfg.initiator_name)), "initiator name");
    BAD(cfg.portal.port = 0, "portal");
    BAD(cfg.transport[0] = '\0', "transport");
    BAD((void)strcpy(cfg.header_digest, "CRC32C,MD5"), "HeaderDigest");
    BAD(cfg.header_digest[0] = '\0', "HeaderDigest");
    BAD((void)strcpy(cfg.data_digest, "None,,CRC32C"), "DataDigest");
    BAD((void)strcpy(cfg.task_reporting, "FastAbort"), "TaskReporting"); /* KEY-11 */
    BAD(cfg.offer.max_burst = 511, "MaxBurstLength");
    BAD(cfg.offer.time2wait = 3601, "DefaultTime2Wait");
    BAD(cfg.offer.erl = 3, "ErrorRecoveryLevel");
    BAD(cfg.offer.max_recv_dseg = 0x1000000, "MaxRecvDataSegmentLength");
    BAD(cfg.offer.first_burst = cfg.offer.max_burst + 1, "FirstBurstLength");
    BAD(cfg.offer.data_pdu_in_order = false, "DataPDUInOrder"); /* KEY-14 */
    BAD(cfg.login_timeout_ms = 0, "time limits");
    BAD(cfg.max_redirects = 17, "16");
    BAD(cfg.replacement_timeout_s = -2, "replacement timeout");
    BAD(cfg.replacement_timeout_s = ISCSI_RECOVERY_TMO_MAX + 1, "replacement timeout");
    BAD(cfg.kind = LOGIN_ADD_CONN, "TSIH");
    BAD(cfg.auth_required = true, "authentication is required");
    cfg = ok;
    (void)strcpy(cfg.target_name, "IQN.2026-11.Org.Example:My_Disk"); /* sent as it is */
    assert_int_equal(login_config_check(&cfg, &err), 0);
    assert_string_equal(cfg.target_name, "IQN.2026-11.Org.Example:My_Disk");
    world_free(w);
}

/* What the transport cannot do is no matter where the configuration does not insist on it. */
static void
lint_caps(void **state)
{
    static const struct {
        uint32_t caps;
        const char *header, *data, *text; /* NULL: fine */
    } rows[] = {
        {CAP_BIND_DESCRIPTOR, "None", "CRC32C,None", NULL},
        {CAP_HDRDGST | CAP_DATADGST, "CRC32C", "CRC32C", NULL},
        {CAP_DATADGST, "CRC32C", "CRC32C", "HeaderDigest: this transport"},
        {CAP_HDRDGST, "CRC32C", "CRC32C", "DataDigest: this transport"},
        {CAP_LOGIN_OFFLOAD, "None", "None", NULL},
    };
    struct login_config cfg, ok;
    struct lunette_error why = {.code = 0};

    (void)state;
    login_config_init(&cfg);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lunette_error err = {.code = 0};
        int r;

        (void)strcpy(cfg.header_digest, rows[i].header);
        (void)strcpy(cfg.data_digest, rows[i].data);
        r = login_config_check_caps(&cfg, rows[i].caps, &err);
        assert_int_equal(r, rows[i].text == NULL ? 0 : -EINVAL);
        if (rows[i].text != NULL) {
            assert_int_equal(err.domain, LUNETTE_DOM_USAGE);
            assert_non_null(strstr(err.msg, rows[i].text));
        }
    }
    /* What an adapter that logs in by itself cannot be asked for. */
    ok = cfg;
    cfg.discovery = true;
    assert_int_equal(login_config_check_caps(&cfg, CAP_LOGIN_OFFLOAD, &why), -EINVAL);
    assert_non_null(strstr(why.msg, "only to targets"));
    cfg = ok;
    cfg.kind = LOGIN_ADD_CONN;
    assert_int_equal(login_config_check_caps(&cfg, CAP_LOGIN_OFFLOAD, &why), -EINVAL);
    assert_non_null(strstr(why.msg, "with one connection"));
    cfg = ok;
    (void)strcpy(cfg.chap.name, "user");
    assert_int_equal(login_config_check_caps(&cfg, CAP_LOGIN_OFFLOAD, &why), -EINVAL);
    assert_non_null(strstr(why.msg, "secrets of its own table"));
    cfg = ok;
    memset(cfg.portal.host, 'h', HOST_MAX);
    cfg.portal.port = 3;
    assert_int_equal(login_config_check_caps(&cfg, CAP_LOGIN_OFFLOAD, &why), -EINVAL);
    assert_non_null(strstr(why.msg, "use the portal's address"));
    assert_int_equal(login_config_check_caps(&cfg, CAP_HDRDGST | CAP_DATADGST, &why), 0);
    cfg.portal.host[HOST_MAX - 2] = '\0'; /* 253 bytes, a colon and a digit: it just fits */
    assert_int_equal(login_config_check_caps(&cfg, CAP_LOGIN_OFFLOAD, &why), 0);
    cfg.ngroup = 1;
    cfg.group[0] = cfg.portal;
    cfg.group[0].port = 3260;
    assert_int_equal(login_config_check_caps(&cfg, CAP_LOGIN_OFFLOAD, &why), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_algorithm),  cmocka_unit_test(secrets_of_any_bytes),
        cmocka_unit_test(detours),         cmocka_unit_test(each_bad),
        cmocka_unit_test(challenge_sizes), cmocka_unit_test(reflection_across_connections),
        cmocka_unit_test(no_md5),          cmocka_unit_test(lint),
        cmocka_unit_test(lint_other),      cmocka_unit_test(lint_caps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
