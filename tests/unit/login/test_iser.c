/* SPDX-License-Identifier: MIT */
/* Logins over iSER: what is offered, what is agreed on, and what ends them (RFC 7145 6).  The
 * transport is told apart by CAP_RDMA alone, and everything else is a login as ever.  Ids of
 * docs/rfc-coverage.md in brackets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"
#include "tests/unit/login/fake.h"
#include "wire/bend.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }
#define SEC                                                                                        \
    {                                                                                              \
        "InitiatorName TargetName AuthMethod=None !RDMAExtensions T CSG0",                         \
            "AuthMethod=None TargetPortalGroupTag=1"                                               \
    }

static void
over_iser(struct world *w, struct login_config *cfg)
{
    (void)strcpy(cfg->transport, "iser");
    w->max_recv_dlength = 8192;
}

static struct world *
run_as(const struct step *script, void (*tweak)(struct world *, struct login_config *))
{
    struct world *w = world_new(1);
    struct login_config cfg;

    world_config(w, &cfg);
    over_iser(w, &cfg);
    w->scripts[0] = script;
    w->nscripts = 1;
    if (tweak != NULL)
        tweak(w, &cfg);
    world_login(w, &cfg);
    return w;
}

static struct world *
run(const struct step *script)
{
    return run_as(script, NULL);
}

static void
end_ok(struct world *w)
{
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    world_logout(w);
    assert_int_equal(w->err.code, 0);
    world_free(w);
}

static void
end_failed(struct world *w, enum lunette_domain dom, const char *text)
{
    if (w->err.code == 0)
        fail_msg("logged in, expected \"%s\"", text);
    if (strstr(w->err.msg, text) == NULL)
        fail_msg("\"%s\" should hold \"%s\"", w->err.msg, text);
    assert_int_equal(w->err.domain, dom);
    assert_true(ctl_idle(w->ctl));
    assert_int_equal(w->sessions_made, w->sessions_gone);
    assert_int_equal(w->open_eps, 0);
    world_free(w);
}

static void
told(struct world *w, enum iscsi_param p, const char *value)
{
    assert_string_equal(fake_param(w, p), value);
}

/* ---- what is offered ------------------------------------------------------------------------ */

#define OFFERS                                                                                     \
    "CSG1 T ^RDMAExtensions RDMAExtensions=Yes HeaderDigest=None DataDigest=None "                 \
    "InitiatorRecvDataSegmentLength=8192 TargetRecvDataSegmentLength=8192 InitialR2T=Yes "         \
    "ImmediateData=Yes ErrorRecoveryLevel=0 MaxConnections=1 !MaxRecvDataSegmentLength "           \
    "!MaxOutstandingUnexpectedPDUs !MaxAHSLength !TaggedBufferForSolicitedDataOnly "               \
    "!iSERHelloRequired"

/* As LIO answers: nothing about order, and a length that means nothing. */
static const struct step lio[] = {
    SEC,
    {OFFERS, "RDMAExtensions=Yes HeaderDigest=None DataDigest=None "
             "InitiatorRecvDataSegmentLength=8192 TargetRecvDataSegmentLength=8192 "
             "InitialR2T=Yes ImmediateData=Yes MaxBurstLength=262144 FirstBurstLength=65536 "
             "DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 ErrorRecoveryLevel=0 "
             "MaxConnections=1 MaxRecvDataSegmentLength=1048576"},
    END};

/* The answers that no login can do without. */
#define PLAIN_REST                                                                                 \
    "InitialR2T=Yes ImmediateData=Yes MaxBurstLength=262144 FirstBurstLength=65536 "               \
    "DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 ErrorRecoveryLevel=0 "            \
    "MaxConnections=1"
#define PLAIN_ISER "RDMAExtensions=Yes " PLAIN_REST

/* As tgt answers: no immediate data. */
static const struct step tgt[] = {
    SEC,
    {OFFERS, "RDMAExtensions=Yes HeaderDigest=None DataDigest=None InitialR2T=Yes "
             "ImmediateData=No InitiatorRecvDataSegmentLength=8192 "
             "TargetRecvDataSegmentLength=8192 MaxBurstLength=262144 FirstBurstLength=65536 "
             "DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 ErrorRecoveryLevel=0 "
             "MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes"},
    END};

/* ISR-01, ISR-02: both targets that there are. */
static void
known_targets(void **state)
{
    struct world *w = run(lio);

    (void)state;
    assert_int_equal(w->err.code, 0);
    assert_true(w->res.params.rdma_extensions);
    told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "8192");
    told(w, ISCSI_PARAM_MAX_XMIT_DLENGTH, "8192"); /* and not what LIO says of its own */
    told(w, ISCSI_PARAM_HEADER_DIGEST, "None");
    told(w, ISCSI_PARAM_DATA_DIGEST, "None");
    told(w, ISCSI_PARAM_INITIAL_R2T, "Yes");
    told(w, ISCSI_PARAM_IMM_DATA, "Yes");
    told(w, ISCSI_PARAM_PDU_INORDER, "Yes");
    told(w, ISCSI_PARAM_DATASEQ_INORDER, "Yes");
    told(w, ISCSI_PARAM_OPTIONS, "");
    end_ok(w);

    w = run(tgt);
    assert_int_equal(w->err.code, 0);
    told(w, ISCSI_PARAM_IMM_DATA, "No");
    told(w, ISCSI_PARAM_INITIAL_R2T, "Yes");
    end_ok(w);
}

/* The lengths are what both sides agree on, the defaults where they do not, and never more than was
 * offered: LIO takes any length, and has room for 8192 bytes. */
static void
lengths(void **state)
{
    static const struct {
        const char *answer, *recv, *xmit;
    } t[] = {
        {"InitiatorRecvDataSegmentLength=512 TargetRecvDataSegmentLength=4096", "512", "4096"},
        {"InitiatorRecvDataSegmentLength=Reject TargetRecvDataSegmentLength=Irrelevant", "8192",
         "8192"},
        {"InitiatorRecvDataSegmentLength=NotUnderstood", "8192", "8192"},
        {"", "8192", "8192"},
        {"MaxRecvDataSegmentLength=512 TargetRecvDataSegmentLength=8192", "8192", "8192"},
    };
    static const char *const wrong[] = {
        "TargetRecvDataSegmentLength=8193",    "TargetRecvDataSegmentLength=262144",
        "InitiatorRecvDataSegmentLength=8193", "InitiatorRecvDataSegmentLength=0",
        "TargetRecvDataSegmentLength=511",     "InitiatorRecvDataSegmentLength="};
    char say[400];
    struct step script[] = {SEC, {"CSG1 T", say}, END};

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct world *w;

        (void)snprintf(say, sizeof(say), "%s %s", PLAIN_ISER, t[i].answer);
        w = run(script);
        if (w->err.code != 0)
            fail_msg("%s: %s", t[i].answer, w->err.msg);
        told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, t[i].recv);
        told(w, ISCSI_PARAM_MAX_XMIT_DLENGTH, t[i].xmit);
        end_ok(w);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void)snprintf(say, sizeof(say), "%s %s", PLAIN_ISER, wrong[i]);
        end_failed(run(script), LUNETTE_DOM_PROTO, "DataSegmentLength");
    }
}

/* What the target has room for beside commands is told; nothing is no limit. */
static void
unexpected(void **state)
{
    static const char *const t[][2] = {{"", "0"},
                                       {"MaxOutstandingUnexpectedPDUs=0", "0"},
                                       {"MaxOutstandingUnexpectedPDUs=2", "2"},
                                       {"MaxOutstandingUnexpectedPDUs=4294967295", "4294967295"}};
    static const char *const wrong[] = {"MaxOutstandingUnexpectedPDUs=1",
                                        "MaxOutstandingUnexpectedPDUs=4294967296"};
    char say[400];
    struct step script[] = {SEC, {"CSG1 T", say}, END};

    (void)state;
    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct world *w;

        (void)snprintf(say, sizeof(say), "%s %s", PLAIN_ISER, t[i][0]);
        w = run(script);
        assert_int_equal(w->err.code, 0);
        told(w, ISCSI_PARAM_MAX_UNEXPECTED_PDUS, t[i][1]);
        end_ok(w);
    }
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void)snprintf(say, sizeof(say), "%s %s", PLAIN_ISER, wrong[i]);
        end_failed(run(script), LUNETTE_DOM_PROTO, "MaxOutstandingUnexpectedPDUs");
    }
}

static void
large_receives(struct world *w, struct login_config *cfg)
{
    (void)cfg;
    w->max_recv_dlength = 65536;
}

static void
small_receives(struct world *w, struct login_config *cfg)
{
    (void)w;
    cfg->offer.max_recv_dseg = 4096;
}

/* The transport's receives bound what is offered, and so does who logs in. */
static void
receives_are_as_large_as_the_transport_has_them(void **state)
{
    static const struct step large[] = {
        SEC,
        {"InitiatorRecvDataSegmentLength=65536 TargetRecvDataSegmentLength=8192",
         PLAIN_ISER " InitiatorRecvDataSegmentLength=65536"},
        END};
    static const struct step small[] = {
        SEC,
        {"InitiatorRecvDataSegmentLength=4096 TargetRecvDataSegmentLength=8192", PLAIN_ISER},
        END};
    struct world *w = run_as(large, large_receives);

    (void)state;
    assert_int_equal(w->err.code, 0);
    told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "65536");
    told(w, ISCSI_PARAM_MAX_XMIT_DLENGTH, "8192");
    end_ok(w);
    w = run_as(small, small_receives); /* it says nothing of it: 8192 is what it may send */
    assert_int_equal(w->err.code, 0);
    told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "8192");
    end_ok(w);
}

/* ---- refusals ------------------------------------------------------------------------------- */

/* ISR-01: without RDMAExtensions=Yes there is no iSER, and the login ends at once. */
static void
no_agreement(void **state)
{
    static const char *const answers[] = {"RDMAExtensions=No", "RDMAExtensions=Reject",
                                          "RDMAExtensions=Irrelevant",
                                          "RDMAExtensions=NotUnderstood", ""};
    char say[400];
    struct step script[] = {SEC, {"CSG1 T", say}, END};

    (void)state;
    for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++) {
        for (unsigned stays = 0; stays < 2; stays++) {
            const char *value = strchr(answers[i], '=');
            char want[100];

            if (stays && value == NULL)
                continue; /* it may answer later */
            (void)snprintf(say, sizeof(say), "%s %s %s", answers[i], PLAIN_REST,
                           stays ? "@noT" : "");
            (void)snprintf(want, sizeof(want), "does not agree to iSER (%s%s to",
                           value != NULL ? "it answers " : "no answer",
                           value != NULL ? value + 1 : "");
            end_failed(run(script), LUNETTE_DOM_LOGIN, want);
        }
    }
}

/* What a refusal may mean over iSER: tgt says 0203 for a target that is served over TCP. */
static void
refusals_have_hints(void **state)
{
    static const struct step not_found[] = {{"", "@status=0203"}, END};
    static const struct step bad[] = {SEC, {"", "@status=0200"}, END};

    (void)state;
    end_failed(run(not_found), LUNETTE_DOM_LOGIN, "that it is served over iSER");
    end_failed(run(bad), LUNETTE_DOM_LOGIN, "whether it is served over iSER");
}

/* What is no answer to Yes, and what comes twice. */
static void
wrong_answers(void **state)
{
    static const char *const wrong[] = {
        "RDMAExtensions=yes",
        "RDMAExtensions=1",
        "RDMAExtensions=",
        "RDMAExtensions=Yes RDMAExtensions=Yes",
        "RDMAExtensions=Yes MaxAHSLength=256 MaxAHSLength=512",
        ("RDMAExtensions=Yes TargetRecvDataSegmentLength=8192 "
         "TargetRecvDataSegmentLength=8192"),
    };
    char say[400];
    struct step script[] = {SEC, {"CSG1 T", say}, END};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void)snprintf(say, sizeof(say), "%s %s", wrong[i], PLAIN_REST);
        end_failed(run(script), LUNETTE_DOM_PROTO, "");
    }
}

static void
wants_digests(struct world *w, struct login_config *cfg)
{
    (void)w;
    (void)strcpy(cfg->header_digest, "CRC32C");
}

static void
would_like_digests(struct world *w, struct login_config *cfg)
{
    (void)w;
    (void)strcpy(cfg->header_digest, "CRC32C,None");
    (void)strcpy(cfg->data_digest, "CRC32C,None");
}

/* ISR-02: there are no digests, whoever wants them. */
static void
digests(void **state)
{
    static const struct step forced[] = {
        SEC, {"HeaderDigest=None", "HeaderDigest=CRC32C " PLAIN_ISER}, END};
    static const struct step none[] = {
        SEC,
        {"HeaderDigest=None DataDigest=None", "HeaderDigest=Reject DataDigest=None " PLAIN_ISER},
        END};
    struct world *w;

    (void)state;
    end_failed(run(forced), LUNETTE_DOM_LOGIN, "the target requires HeaderDigest=CRC32C");
    end_failed(run_as(none, wants_digests), LUNETTE_DOM_USAGE, "this transport cannot do CRC32C");
    w = run_as(none, would_like_digests);
    assert_int_equal(w->err.code, 0);
    told(w, ISCSI_PARAM_HEADER_DIGEST, "None");
    end_ok(w);
}

/* ISR-09: Hello messages are for us to ask for, and we do not. */
static void
hello(void **state)
{
    static const struct step asks[] = {
        SEC, {"!iSERHelloRequired", PLAIN_ISER " iSERHelloRequired=Yes"}, END};
    static const struct step says_no[] = {SEC, {"", PLAIN_ISER " iSERHelloRequired=No"}, END};
    struct world *w;

    (void)state;
    end_failed(run(asks), LUNETTE_DOM_PROTO, "iSERHelloRequired asks for Hello messages");
    w = run(says_no);
    assert_int_equal(w->err.code, 0);
    assert_int_equal(w->res.bends, 1u << BEND_KEYS_OF_OURS);
    end_ok(w);
}

/* ---- sessions of other kinds ---------------------------------------------------------------- */

static void
discovers(struct world *w, struct login_config *cfg)
{
    (void)w;
    cfg->discovery = true;
    cfg->target_name[0] = '\0';
}

/* ISR-01: a discovery has no mode of its own.  What is proposed in it is answered, and lengths are
 * those that a login has; ours is told, which LIO takes for 0 otherwise. */
static void
discovery(void **state)
{
    static const struct step proposes[] = {
        {"SessionType=Discovery CSG0 T", "AuthMethod=None"},
        {"CSG1 T !RDMAExtensions !InitiatorRecvDataSegmentLength !TargetRecvDataSegmentLength "
         "MaxRecvDataSegmentLength=8192 HeaderDigest=None DataDigest=None",
         "RDMAExtensions=Yes MaxRecvDataSegmentLength=262144 HeaderDigest=None DataDigest=None "
         "DefaultTime2Wait=2 DefaultTime2Retain=0 ErrorRecoveryLevel=0 @noT"},
        {"CSG1 T RDMAExtensions=Irrelevant", ""},
        END};
    static const struct step plain[] = {{"SessionType=Discovery CSG0 T", "AuthMethod=None"},
                                        {"CSG1 T", "MaxRecvDataSegmentLength=512 @answer"},
                                        END};
    struct world *w = run_as(proposes, discovers);

    (void)state;
    assert_int_equal(w->err.code, 0);
    assert_false(w->res.params.rdma_extensions);
    told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "8192");
    told(w, ISCSI_PARAM_MAX_XMIT_DLENGTH, "8192");
    told(w, ISCSI_PARAM_HEADER_DIGEST, "None");
    end_ok(w);
    w = run_as(plain, discovers);
    assert_int_equal(w->err.code, 0);
    told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "8192");
    told(w, ISCSI_PARAM_MAX_XMIT_DLENGTH, "512");
    end_ok(w);
}

/* A further connection has the mode of the first one, and lengths of its own. */
static void
further_connections(void **state)
{
    static const struct step more[] = {
        {"", "AuthMethod=None"},
        {"CSG1 T !RDMAExtensions !InitialR2T !MaxRecvDataSegmentLength HeaderDigest=None "
         "InitiatorRecvDataSegmentLength=8192 TargetRecvDataSegmentLength=8192",
         "HeaderDigest=None DataDigest=None InitiatorRecvDataSegmentLength=8192 "
         "TargetRecvDataSegmentLength=2048 @TSIH=77"},
        END};
    static const struct step first[] = {SEC, {"", PLAIN_ISER " @TSIH=77"}, END};
    struct world *w = world_new(1);
    struct login_config cfg;

    (void)state;
    world_config(w, &cfg);
    over_iser(w, &cfg);
    w->scripts[0] = first;
    w->scripts[1] = more;
    w->nscripts = 2;
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    cfg.kind = LOGIN_ADD_CONN;
    cfg.sid = w->res.sid;
    cfg.cid = 1;
    cfg.tsih = w->res.tsih;
    world_login(w, &cfg);
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    told(w, ISCSI_PARAM_MAX_XMIT_DLENGTH, "2048");
    told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "8192");
    world_logout_conns(w, 2);
    world_free(w);
}

/* Over TCP nothing of all that is said, and what a target proposes is declined. */
static void
tcp_is_as_ever(void **state)
{
    static const struct step script[] = {
        SEC,
        {"CSG1 T !RDMAExtensions !InitiatorRecvDataSegmentLength !TargetRecvDataSegmentLength "
         "MaxRecvDataSegmentLength=262144 InitialR2T=No",
         "@answer RDMAExtensions=Yes InitiatorRecvDataSegmentLength=8192 iSERHelloRequired=Yes "
         "@noT"},
        {"CSG1 T RDMAExtensions=No InitiatorRecvDataSegmentLength=Irrelevant", ""},
        END};
    struct world *w = world_new(1);
    struct login_config cfg;

    (void)state;
    world_config(w, &cfg);
    w->scripts[0] = script;
    w->nscripts = 1;
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    told(w, ISCSI_PARAM_MAX_RECV_DLENGTH, "262144");
    end_ok(w);
}

/* Responses mutated by seed: whatever comes of them, nobody is logged in who does not speak iSER,
 * and no length is larger than both have room for. */
static void
mutations(void **state)
{
    static const struct step open_[] = {SEC,
                                        {"", PLAIN_ISER " InitiatorRecvDataSegmentLength=8192 "
                                                        "TargetRecvDataSegmentLength=4096 "
                                                        "HeaderDigest=None DataDigest=None"},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        {"", ""},
                                        END};
    static const struct step proposes[] = {SEC,
                                           {"", PLAIN_ISER " MaxRecvDataSegmentLength=65536 "
                                                           "MaxAHSLength=256 iSERHelloRequired=No "
                                                           "MaxOutstandingUnexpectedPDUs=4 @noT"},
                                           {"", ""},
                                           {"", ""},
                                           {"", ""},
                                           {"", ""},
                                           {"", ""},
                                           END};
    unsigned good = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 4000; seed++) {
        struct world *w = world_new(seed);
        struct login_config cfg;

        world_config(w, &cfg);
        over_iser(w, &cfg);
        w->strict = false;
        w->mutate = seed << 8;
        w->scripts[0] = seed % 2 ? open_ : proposes;
        w->nscripts = 1;
        world_login(w, &cfg);
        if (w->err.code == 0) {
            const struct iscsi_params *p = &w->res.params;

            good++;
            assert_true(p->rdma_extensions && p->initial_r2t);
            assert_false(p->iser_hello_required);
            assert_int_equal(p->header_digest, ISCSI_DIGEST_NONE);
            assert_int_equal(p->data_digest, ISCSI_DIGEST_NONE);
            assert_true(p->max_recv_dseg >= 512 && p->max_recv_dseg <= 8192);
            assert_true(p->max_xmit_dseg >= 512 && p->max_xmit_dseg <= 8192);
            world_logout(w);
        }
        assert_true(ctl_idle(w->ctl));
        assert_int_equal(w->sessions_made, w->sessions_gone);
        assert_int_equal(w->open_eps, 0);
        world_free(w);
    }
    assert_true(good > 100);
}

/* ---- the transport -------------------------------------------------------------------------- */

static void
has_options(struct world *w, struct login_config *cfg)
{
    (void)w;
    (void)strcpy(cfg->transport_options, "iser_stag=pool&iser_poll_us=50");
}

/* The transport is told of its options before there is an endpoint, and before it is bound (which
 * the data plane of this test looks at). */
static void
options(void **state)
{
    static const char *const wrong[] = {
        "iser_", "iser_stag",          "iser_=1",        "iserstag=1", "tcp_x=1",
        "=",     "iser_stag=pool&x=1", "&iser_stag=pool"};
    static const struct {
        const char *text, *why;
    } values[] = {
        {"iser_stag=", "iser_stag=: window, pool or register is wanted"},
        {"iser_poll_us=50&iser_stag=rubbish&iser_pool=4M",
         "iser_stag=rubbish: window, pool or register is wanted"},
        {"iser_pool=2G", "iser_pool=2G: a size from 1M to 1G is wanted"},
        {"iser_size=1",
         "\"iser_size=1\" is no option of iser, which has iser_stag=, iser_pool= and "
         "iser_poll_us="},
    };
    struct login_config cfg;
    struct lunette_error err;
    struct world *w = run_as(lio, has_options);

    (void)state;
    assert_int_equal(w->err.code, 0);
    told(w, ISCSI_PARAM_OPTIONS, "iser_stag=pool&iser_poll_us=50");
    assert_string_equal(w->ep_options, "iser_stag=pool&iser_poll_us=50");
    end_ok(w);

    w = world_new(1);
    world_config(w, &cfg);
    over_iser(w, &cfg);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        (void)strcpy(cfg.transport_options, wrong[i]);
        if (login_config_check(&cfg, &err) != -EINVAL)
            fail_msg("%s is taken", wrong[i]);
        assert_non_null(strstr(err.msg, "NAME begins with iser_, as the transport is iser"));
    }
    for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        (void)strcpy(cfg.transport_options, values[i].text);
        if (login_config_check(&cfg, &err) != -EINVAL)
            fail_msg("%s is taken", values[i].text);
        assert_string_equal(err.msg, values[i].why);
    }
    (void)strcpy(cfg.transport, "mine"); /* who knows what this takes */
    (void)strcpy(cfg.transport_options, "mine_x=&mine_y=a=b");
    assert_int_equal(login_config_check(&cfg, &err), 0);
    memset(cfg.transport_options, 'x', sizeof(cfg.transport_options));
    assert_int_equal(login_config_check(&cfg, &err), -EINVAL);
    world_free(w);
}

/* Where there is no such transport, or nothing for it to work with, no later try helps; and what
 * the transport says of a connection is what is told. */
static void
no_transport(void **state)
{
    struct login_config cfg;
    struct world *w = world_new(1);

    (void)state;
    world_config(w, &cfg);
    (void)strcpy(cfg.transport, "none");
    w->refuse_why = "there is no transport \"none\", only tcp";
    world_login(w, &cfg);
    assert_int_equal(w->err.code, -ENODEV);
    end_failed(w, LUNETTE_DOM_USAGE, "there is no transport \"none\", only tcp");

    w = world_new(1);
    world_config(w, &cfg);
    over_iser(w, &cfg);
    w->refuse_why = "iser_stag=x: want window, pool or register";
    w->ep_connect_err = -EINVAL;
    world_login(w, &cfg);
    end_failed(w, LUNETTE_DOM_USAGE,
               "cannot connect to 10.0.0.1:3260: iser_stag=x: want window, pool or register");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(known_targets),
        cmocka_unit_test(lengths),
        cmocka_unit_test(unexpected),
        cmocka_unit_test(receives_are_as_large_as_the_transport_has_them),
        cmocka_unit_test(no_agreement),
        cmocka_unit_test(refusals_have_hints),
        cmocka_unit_test(wrong_answers),
        cmocka_unit_test(digests),
        cmocka_unit_test(hello),
        cmocka_unit_test(discovery),
        cmocka_unit_test(further_connections),
        cmocka_unit_test(tcp_is_as_ever),
        cmocka_unit_test(mutations),
        cmocka_unit_test(options),
        cmocka_unit_test(no_transport),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
