/* SPDX-License-Identifier: MIT */
/* Targets that bend a rule and are logged in to all the same, and refusals after which the login is
 * tried in another way.  CONFORMANCE ids in brackets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "tests/test.h"
#include "tests/unit/login/fake.h"
#include "wire/bend.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }
#define SEC                                                                                        \
    {                                                                                              \
        "AuthMethod=None T CSG0", "AuthMethod=None TargetPortalGroupTag=1"                         \
    }
#define OPER                                                                                       \
    {                                                                                              \
        "CSG1 T", "@answer"                                                                        \
    }
#define NAMES "InitiatorName TargetName SessionType=Normal"

/* The lines that the login has logged. */
static char logged[4096];

static void
keep_line(void *user, enum log_level level, const char *line)
{
    size_t at = strlen(logged);

    (void)user;
    (void)level;
    (void)snprintf(logged + at, sizeof(logged) - at, "%s\n", line);
}
static const struct log keep = {.level = LOG_LEVEL_INFO, .sink = keep_line};

static struct world *
bends_world(uint64_t seed, struct login_config *cfg)
{
    struct world *w = world_new(seed);

    logged[0] = '\0';
    w->l.log = &keep;
    world_config(w, cfg);
    memcpy(cfg->isid, "\x80\xa1\xb2\xc3\x00\x0f", LOGIN_ISID_LEN);
    return w;
}

static void
logged_in(struct world *w, uint32_t bends)
{
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    assert_int_equal(w->res.bends, bends);
    for (unsigned i = 0; i < BEND_COUNT; i++)
        assert_int_equal(strstr(logged, bend_text(i)) != NULL, bends >> i & 1);
    world_logout(w);
    world_free(w);
}

static void
refused(struct world *w, enum lunette_domain dom, const char *text)
{
    if (w->err.code == 0)
        fail_msg("logged in, expected \"%s\"", text);
    if (strstr(w->err.msg, text) == NULL)
        fail_msg("\"%s\" should hold \"%s\"", w->err.msg, text);
    assert_int_equal(w->err.domain, dom);
    assert_true(ctl_idle(w->ctl));
    assert_int_equal(w->sessions_made, w->sessions_gone);
    assert_int_equal(w->open_fds, 0);
    world_free(w);
}

/* ---- bends of a response -------------------------------------------------------------------- */

static const struct {
    struct step steps[4];
    uint32_t bends;
} bent[] = {
    {{SEC, OPER}, 0},
    {{{"", "AuthMethod=None @isid=zero"}, {"", "@answer @isid=zero"}}, BEND_BIT(ISID)},
    {{SEC, {"", "@answer @isid=extended"}}, BEND_BIT(ISID)},
    {{SEC, {"", "@answer @TSIH=0"}}, BEND_BIT(TSIH_ZERO)},
    {{{"", "AuthMethod=None TargetName=iqn.2026-11.org.example:disk"}, OPER},
     BEND_BIT(KEYS_OF_OURS)},
    {{SEC, {"", "@answer TargetName=IQN.2026-11.org.example:disk SessionType=Normal"}},
     BEND_BIT(KEYS_OF_OURS)},
    {{SEC, {"", "@answer InitiatorName=iqn.2026-11.org.example:host InitiatorAlias=somebody"}},
     BEND_BIT(KEYS_OF_OURS)},
    {{SEC, {"", "@answer TargetPortalGroupTag=1"}}, BEND_BIT(KEY_TWICE)},
    {{SEC, {"", "@answer TargetAlias=a TargetAlias=a X-a=1 X-a=1"}}, BEND_BIT(KEY_TWICE)},
    {{{"", "AuthMethod=None @nuls=1"}, {"", "@answer @nuls=3"}}, BEND_BIT(NULS)},
    {{{"", "AuthMethod=None @noT"}, {"T empty", "@nuls=4"}, OPER}, BEND_BIT(NULS)},
    /* all of them together */
    {{{"", "AuthMethod=None @isid=extended TargetPortalGroupTag=1 @nuls=2"},
      {"", "@answer @isid=zero @TSIH=0 TargetName=iqn.2026-11.org.example:disk "
           "TargetPortalGroupTag=1 @nuls=1"}},
     BEND_BIT(ISID) | BEND_BIT(TSIH_ZERO) | BEND_BIT(KEYS_OF_OURS) | BEND_BIT(KEY_TWICE) |
         BEND_BIT(NULS)},
};

static void
each_bend(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(bent) / sizeof(bent[0]); i++) {
        struct login_config cfg;
        struct world *w = bends_world(i + 1, &cfg);

        print_message("%s | %s\n", bent[i].steps[0].say, bent[i].steps[1].say);
        cfg.offer.max_connections = 4;
        w->scripts[0] = bent[i].steps;
        w->nscripts = 1;
        world_login(w, &cfg);
        logged_in(w, bent[i].bends);
    }
}

#define FOUR_CONNECTIONS                                                                           \
    "HeaderDigest=None DataDigest=None InitialR2T=Yes ImmediateData=No MaxBurstLength=65536 "      \
    "FirstBurstLength=Irrelevant DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 "     \
    "ErrorRecoveryLevel=0 MaxConnections=4"

/* A session without a handle has one connection, whatever was agreed on. */
static void
no_handle_no_more_connections(void **state)
{
    static const struct step with[] = {SEC, {"MaxConnections=4", FOUR_CONNECTIONS}, END};
    static const struct step without[] = {
        SEC, {"MaxConnections=4", FOUR_CONNECTIONS " @TSIH=0"}, END};
    struct login_config cfg;

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct world *w = bends_world(1, &cfg);

        w->caps |= CAP_MULTI_CONN;
        w->scripts[0] = i == 0 ? with : without;
        w->nscripts = 1;
        cfg.offer.max_connections = 4;
        world_login(w, &cfg);
        assert_int_equal(w->err.code, 0);
        assert_int_equal(w->res.params.max_connections, i == 0 ? 4 : 1);
        assert_string_equal(fake_param(w, ISCSI_PARAM_MAX_CONNECTIONS), i == 0 ? "4" : "1");
        logged_in(w, i == 0 ? 0 : BEND_BIT(TSIH_ZERO));
    }
}

/* ---- stages --------------------------------------------------------------------------------- */

static const struct step straight[] = {{NAMES " CSG1 T !AuthMethod HeaderDigest MaxBurstLength",
                                        "@answer TargetPortalGroupTag=1 TargetAlias=disk"},
                                       END};

static void
without_credentials_no_security_stage(void **state)
{
    struct login_config cfg;
    struct world *w = bends_world(1, &cfg);

    (void)state;
    cfg.security_first = false;
    w->scripts[0] = straight;
    w->nscripts = 1;
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    assert_string_equal(w->res.auth_method, "None");
    assert_int_equal(w->res.tpgt, 1);
    logged_in(w, 0);
}

/* What the target says to a login that begins with the operational stage, and whether the security
 * stage is tried then. */
static const struct {
    const char *say;
    bool again;
} first_words[] = {
    {"@status=0200", true},  {"@status=0201", true},  {"@status=0202", true},
    {"@status=0207", true},  {"@status=020b", true},  {"@silent @cut", true},
    {"@op=3f", true},        {"@status=0203", false}, {"@status=0204", false},
    {"@status=0205", false}, {"@status=0206", false}, {"@status=0209", false},
    {"@status=0400", false}, {"@CSG=0", false},       {"@op=20", false},
};

static void
the_other_stage_is_tried_once(void **state)
{
    static const struct step secure[] = {
        {NAMES " AuthMethod=None CSG0 T !MaxBurstLength", "AuthMethod=None"}, OPER, END};

    (void)state;
    for (size_t i = 0; i < sizeof(first_words) / sizeof(first_words[0]); i++) {
        const struct step first[] = {{"CSG1", first_words[i].say}, END};
        struct login_config cfg;
        struct world *w = bends_world(i + 1, &cfg);

        print_message("%s\n", first_words[i].say);
        cfg.security_first = false;
        w->scripts[0] = first;
        w->scripts[1] = secure;
        w->nscripts = 2;
        world_login(w, &cfg);
        assert_int_equal(w->nbound, first_words[i].again ? 2 : 1);
        assert_int_equal(w->err.code == 0, first_words[i].again);
        if (first_words[i].again)
            logged_in(w, BEND_BIT(STAGE));
        else
            world_free(w);
    }
}

/* The second refusal is the one that is reported, and a refusal later in the login is no reason to
 * begin anew. */
static void
refused_in_both_stages(void **state)
{
    static const struct step first[] = {{"CSG1", "@status=0201"}, END};
    static const struct step second[] = {{"CSG0", "AuthMethod=CHAP @noT"}, END};
    static const struct step later[] = {{"CSG1", "@answer @noT"}, {"CSG1", "@status=0200"}, END};
    struct login_config cfg;
    struct world *w = bends_world(1, &cfg);

    (void)state;
    cfg.security_first = false;
    w->scripts[0] = first;
    w->scripts[1] = second;
    w->nscripts = 2;
    world_login(w, &cfg);
    assert_int_equal(w->nbound, 2);
    refused(w, LUNETTE_DOM_LOGIN, "set a CHAP user and secret");
    w = bends_world(2, &cfg);
    cfg.security_first = false;
    w->scripts[0] = later;
    w->nscripts = 1;
    world_login(w, &cfg);
    assert_int_equal(w->nbound, 1);
    refused(w, LUNETTE_DOM_LOGIN, "0x0200");
}

/* ---- CHAP algorithms ------------------------------------------------------------------------- */

static void
credentials(struct login_config *cfg)
{
    (void)strcpy(cfg->chap.name, "alice");
    memcpy(cfg->chap.secret, "initiator-secret", 16);
    cfg->chap.secret_len = 16;
}

static const struct {
    const char *say;
    bool fixed, again;
} lists[] = {
    {"@status=0200", false, true},  {"@status=0201", false, true}, {"@silent @cut", false, true},
    {"@status=0202", false, false}, {"@status=0200", true, false}, {"@silent @cut", true, false},
    {"CHAP_A=9", false, false},
};

static void
md5_alone_is_tried_once(void **state)
{
    static const struct step alone[] = {{"AuthMethod=CHAP,None", "AuthMethod=CHAP @noT"},
                                        {"CHAP_A=5", "@chap=5"},
                                        {"CHAP_N=alice CHAP_R T", "@verify"},
                                        OPER,
                                        END};

    (void)state;
    for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        const struct step list[] = {
            {"", "AuthMethod=CHAP @noT"}, {"CHAP_A=8,5,7,6", lists[i].say}, END};
        struct login_config cfg;
        struct world *w = bends_world(i + 1, &cfg);

        print_message("%s%s\n", lists[i].say, lists[i].fixed ? ", chap_algs is set" : "");
        credentials(&cfg);
        cfg.chap_algs_fixed = lists[i].fixed;
        w->scripts[0] = list;
        w->scripts[1] = alone;
        w->nscripts = 2;
        world_login(w, &cfg);
        assert_int_equal(w->nbound, lists[i].again ? 2 : 1);
        assert_int_equal(w->err.code == 0, lists[i].again);
        if (lists[i].again)
            logged_in(w, BEND_BIT(CHAP_LIST));
        else
            world_free(w);
    }
}

/* What somebody in the middle might say on the second connection, so that a login goes on without
 * what the user demands. */
static const char *const ways_around[] = {
    "AuthMethod=None",   "AuthMethod=None @T @NSG=1", "@T @NSG=1", "@T @NSG=3", "@CSG=1",
    "AuthMethod=Reject", "AuthMethod=CHAP @T @NSG=1",
};

/* Who demands CHAP, or a proof of the target, gets no session without it, whatever was refused
 * before. */
static void
demands_outlive_a_refusal(void **state)
{
    static const struct step list[] = {
        {"AuthMethod=CHAP !T", "AuthMethod=CHAP @noT"}, {"CHAP_A", "@silent @cut"}, END};
    static const struct step no_proof[] = {{"AuthMethod=CHAP !T", "AuthMethod=CHAP @noT"},
                                           {"CHAP_A=5", "@chap=5"},
                                           {"CHAP_R CHAP_I CHAP_C", "@T"},
                                           END};
    size_t n = sizeof(ways_around) / sizeof(ways_around[0]);

    (void)state;
    for (size_t i = 0; i < 2 * n + 1; i++) {
        const struct step around[] = {{"AuthMethod=CHAP CSG0 !T", ways_around[i % n]}, END};
        struct login_config cfg;
        struct world *w = bends_world(i + 1, &cfg);

        credentials(&cfg);
        cfg.auth_required = true;
        if (i >= n) {
            (void)strcpy(cfg.mutual.name, "target");
            memcpy(cfg.mutual.secret, "secret-of-target", 16);
            cfg.mutual.secret_len = 16;
            cfg.auth_required = false; /* it follows */
        }
        w->scripts[0] = list;
        w->scripts[1] = i == 2 * n ? no_proof : around;
        w->nscripts = 2;
        world_login(w, &cfg);
        assert_int_equal(w->nbound, 2);
        assert_true(w->err.code < 0);
        assert_int_equal(w->sessions_made, w->sessions_gone);
        world_free(w);
    }
}

/* MD5 alone is refused, too: that is the end.  So is a wrong secret, which comes after the list. */
static void
md5_is_refused_too(void **state)
{
    static const struct step list[] = {
        {"", "AuthMethod=CHAP @noT"}, {"CHAP_A", "@status=0200"}, END};
    static const struct step secret[] = {
        {"", "AuthMethod=CHAP @noT"}, {"CHAP_A", "@chap=5"}, {"CHAP_R", "@status=0201"}, END};
    struct login_config cfg;
    struct world *w = bends_world(1, &cfg);

    (void)state;
    credentials(&cfg);
    w->scripts[0] = w->scripts[1] = list;
    w->nscripts = 2;
    world_login(w, &cfg);
    assert_int_equal(w->nbound, 2);
    refused(w, LUNETTE_DOM_LOGIN, "0x0200");
    w = bends_world(1, &cfg);
    credentials(&cfg);
    w->scripts[0] = secret;
    w->nscripts = 1;
    world_login(w, &cfg);
    assert_int_equal(w->nbound, 1);
    refused(w, LUNETTE_DOM_LOGIN, "initiator to target");
}

/* Other ways leave the bound on redirections as it is. */
static void
redirected_then_another_way(void **state)
{
    static const struct step moved[] = {{"", "@status=0101 TargetAddress=10.0.0.2:3260"}, END};
    static const struct step closes[] = {{"CSG1", "@silent @cut"}, END};
    static const struct step secure[] = {{"CSG0", "AuthMethod=None"}, OPER, END};
    struct login_config cfg;
    struct world *w = bends_world(1, &cfg);

    (void)state;
    cfg.security_first = false;
    cfg.max_redirects = 1;
    w->scripts[0] = moved;
    w->scripts[1] = closes;
    w->scripts[2] = secure;
    w->nscripts = 3;
    world_login(w, &cfg);
    assert_int_equal(w->nbound, 3);
    assert_int_equal(w->res.redirects, 1);
    logged_in(w, BEND_BIT(STAGE));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_bend),
        cmocka_unit_test(no_handle_no_more_connections),
        cmocka_unit_test(without_credentials_no_security_stage),
        cmocka_unit_test(the_other_stage_is_tried_once),
        cmocka_unit_test(refused_in_both_stages),
        cmocka_unit_test(md5_alone_is_tried_once),
        cmocka_unit_test(demands_outlive_a_refusal),
        cmocka_unit_test(md5_is_refused_too),
        cmocka_unit_test(redirected_then_another_way),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
