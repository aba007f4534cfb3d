/* SPDX-License-Identifier: MIT */
/* Scripts of logins: what the target says, and how it ends.  CONFORMANCE ids in brackets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "tests/test.h"
#include "tests/unit/login/fake.h"

#define END                                                                                        \
    {                                                                                              \
        NULL, NULL                                                                                 \
    }
#define SEC                                                                                        \
    {                                                                                              \
        "InitiatorName TargetName SessionType=Normal AuthMethod=None T CSG0",                      \
            "AuthMethod=None TargetPortalGroupTag=1"                                               \
    }
#define OPER                                                                                       \
    {                                                                                              \
        "CSG1 T", "@answer"                                                                        \
    }

static const struct step plain[] = {
    {"InitiatorName=iqn.2026-11.org.example:host TargetName=iqn.2026-11.org.example:disk "
     "SessionType=Normal AuthMethod=None !MaxBurstLength T CSG0", /* LGN-03, LGN-11 */
     "AuthMethod=None TargetPortalGroupTag=1 TargetAlias=disk"},
    {"CSG1 T HeaderDigest=None DataDigest=None InitialR2T=No ImmediateData=Yes "
     "MaxRecvDataSegmentLength=262144 MaxBurstLength=16776192 FirstBurstLength=262144 "
     "DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 ErrorRecoveryLevel=0 "
     "MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes !IFMarker !OFMarker "
     "!TaskReporting !iSCSIProtocolLevel !X#NodeArchitecture !RDMAExtensions !SessionType",
     "HeaderDigest=None DataDigest=None InitialR2T=No ImmediateData=Yes MaxBurstLength=262144 "
     "FirstBurstLength=65536 DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 "
     "ErrorRecoveryLevel=0 MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes "
     "MaxRecvDataSegmentLength=131072"},
    END};

static struct world *
run(uint64_t seed, const struct step *script, void (*tweak)(struct world *, struct login_config *))
{
    struct world *w = world_new(seed);
    struct login_config cfg;

    world_config(w, &cfg);
    w->scripts[0] = script;
    w->nscripts = 1;
    if (tweak != NULL)
        tweak(w, &cfg);
    world_login(w, &cfg);
    return w;
}

static void
end_ok(struct world *w)
{
    if (w->err.code != 0)
        fail_msg("%s", w->err.msg);
    assert_true(ctl_idle(w->ctl));
    world_logout(w);
    assert_int_equal(w->err.code, 0);
    world_free(w);
}

static void
check_tidy(struct world *w)
{
    assert_true(ctl_idle(w->ctl));
    assert_int_equal(w->sessions_made, w->sessions_gone);
    assert_int_equal(w->open_fds, 0);
    assert_int_equal(w->open_eps, 0);
    assert_int_equal(w->open_streams, 0);
}

static void
end_failed(struct world *w, enum lunette_domain dom, uint32_t detail, const char *text)
{
    if (w->err.code == 0)
        fail_msg("logged in, expected \"%s\"", text);
    if (strstr(w->err.msg, text) == NULL)
        fail_msg("\"%s\" should hold \"%s\"", w->err.msg, text);
    assert_int_equal(w->err.domain, dom);
    if (detail != 0xffffffff)
        assert_int_equal(w->err.detail, detail);
    check_tidy(w);
    world_free(w);
}

static void
known_isid(struct world *w, struct login_config *cfg)
{
    (void)w;
    memcpy(cfg->isid, "\x80\xa1\xb2\xc3\x00\x0f", LOGIN_ISID_LEN);
}

/* The plain login, with what the data plane is told (ID-04, LGN-09, TNG-14, KEY-04). */
static void
plain_login(void **state)
{
    static const struct {
        enum iscsi_param p;
        const char *value;
    } want[] = {
        {ISCSI_PARAM_HEADER_DIGEST, "None"},
        {ISCSI_PARAM_DATA_DIGEST, "None"},
        {ISCSI_PARAM_MAX_RECV_DLENGTH, "262144"},
        {ISCSI_PARAM_MAX_XMIT_DLENGTH, "131072"},
        {ISCSI_PARAM_INITIAL_R2T, "No"},
        {ISCSI_PARAM_IMM_DATA, "Yes"},
        {ISCSI_PARAM_FIRST_BURST, "65536"},
        {ISCSI_PARAM_MAX_BURST, "262144"},
        {ISCSI_PARAM_MAX_R2T, "1"},
        {ISCSI_PARAM_PDU_INORDER, "Yes"},
        {ISCSI_PARAM_DATASEQ_INORDER, "Yes"},
        {ISCSI_PARAM_ERL, "0"},
        {ISCSI_PARAM_MAX_CONNECTIONS, "1"},
        {ISCSI_PARAM_DEF_TIME2WAIT, "2"},
        {ISCSI_PARAM_DEF_TIME2RETAIN, "0"},
        {ISCSI_PARAM_TASK_REPORTING, "RFC3720"},
        {ISCSI_PARAM_PROTOCOL_LEVEL, "1"},
        {ISCSI_PARAM_EXP_STATSN, "42"},
        {ISCSI_PARAM_TARGET_NAME, "iqn.2026-11.org.example:disk"},
        {ISCSI_PARAM_INITIATOR_NAME, "iqn.2026-11.org.example:host"},
        {ISCSI_PARAM_TPGT, "1"},
        {ISCSI_PARAM_TSIH, "4660"},
        {ISCSI_PARAM_PING_INTERVAL_MS, "5000"},
        {ISCSI_PARAM_ABORT_TIMEOUT_MS, "15000"},
        {ISCSI_PARAM_RECOVERY_TMO, "120"},
        {ISCSI_PARAM_PORTAL, "10.0.0.1:3260"},
        {ISCSI_PARAM_ISID, "80a1b2c3000f"},
    };
    struct world *w = run(1, plain, known_isid);

    (void)state;
    assert_int_equal(w->err.code, 0);
    for (size_t i = 0; i < sizeof(want) / sizeof(want[0]); i++)
        assert_string_equal(fake_param(w, want[i].p), want[i].value);
    assert_memory_equal(w->isid_sent, "\x80\xa1\xb2\xc3\x00\x0f", LOGIN_ISID_LEN);
    assert_int_equal(w->res.tsih, 0x1234);
    assert_int_equal(w->res.tpgt, 1);
    assert_string_equal(w->res.target_alias, "disk");
    assert_string_equal(w->res.auth_method, "None");
    assert_int_equal(w->res.params.max_xmit_dseg, 131072);
    assert_int_equal(w->res.portal.port, 3260);
    assert_false(w->res.moved);
    assert_int_equal(w->requests[ISCSI_UEVENT_START_CONN], 1);
    end_ok(w);
}

/* One response at fault each; what the target says instead of the plain script's answer. */
struct fault {
    const char *id;
    struct step steps[5];
    enum lunette_domain dom;
    const char *text;
};

static const struct fault faults[] = {
    /* headers */
    {"LGN-01", {{"", "@op=3f"}}, LUNETTE_DOM_PROTO, "rejected"},
    {"LGN-01", {{"", "@op=20"}}, LUNETTE_DOM_PROTO, "during login"},
    {"LGN-01", {{"", "@op=32"}}, LUNETTE_DOM_PROTO, "during login"},
    {"LGR-04", {{"", "AuthMethod=None @ver=1"}}, LUNETTE_DOM_PROTO, "version"},
    {"ID-07", {{"", "AuthMethod=None @isid"}}, LUNETTE_DOM_PROTO, "ISID"},
    {"ID-07", {{"", "AuthMethod=None @isid=all"}}, LUNETTE_DOM_PROTO, "ISID"}, /* nobody's */
    {"LGR-01 CSG", {{"", "AuthMethod=None @CSG=1"}}, LUNETTE_DOM_PROTO, "CSG"},
    {"LGR-01 NSG too far", {{"", "AuthMethod=None @NSG=3"}}, LUNETTE_DOM_PROTO, "NSG"},
    {"LGN-05 NSG same", {{"", "AuthMethod=None @NSG=0"}}, LUNETTE_DOM_PROTO, "NSG"},
    {"LGN-05 NSG 2", {SEC, {"", "@answer @NSG=2"}}, LUNETTE_DOM_PROTO, "NSG"},
    {"LGN-05 back", {SEC, {"", "@answer @NSG=1"}}, LUNETTE_DOM_PROTO, "NSG"},
    {"LGR-01 C and T", {SEC, {"", "@answer @C"}}, LUNETTE_DOM_PROTO, "T and C"},
    {"LGN-04", {SEC, {"", "@pad=8193"}}, LUNETTE_DOM_PROTO, "8192"},
    {"LGN-02", {SEC, {"", "@answer @twice"}}, LUNETTE_DOM_PROTO, "after the final one"},
    {"LGN-02", {{"", "AuthMethod=None @twice"}, {"", "@silent"}}, LUNETTE_DOM_PROTO, ""},
    /* text */
    {"TNG-01 NUL", {SEC, {"", "@answer @nonul"}}, LUNETTE_DOM_PROTO, ""},
    {"TNG-13 twice", {SEC, {"", "@answer ErrorRecoveryLevel=0"}}, LUNETTE_DOM_PROTO, "twice"},
    {"TNG-13 later",
     {SEC, {"", "@noT ErrorRecoveryLevel=0"}, {"", "ErrorRecoveryLevel=0"}},
     LUNETTE_DOM_PROTO,
     "twice"},
    {"TNG-13 unknown", {SEC, {"", "@answer X-a=1 X-a=2"}}, LUNETTE_DOM_PROTO, "twice"},
    {"TNG-13 TPGT", {SEC, {"", "@answer TargetPortalGroupTag=2"}}, LUNETTE_DOM_PROTO, "twice"},
    {"TNG-13 CHAP", {{"", "AuthMethod=None AuthMethod=None"}}, LUNETTE_DOM_PROTO, "twice"},
    {"TNG-08 above", {SEC, {"", "MaxBurstLength=16777215"}}, LUNETTE_DOM_PROTO, "MaxBurstLength"},
    {"TNG-08 list",
     {SEC, {"", "HeaderDigest=CRC32C"}},
     LUNETTE_DOM_LOGIN,
     "header_digest=crc32c,none"},
    {"TNG-08 AND", {SEC, {"", "DataPDUInOrder=No"}}, LUNETTE_DOM_PROTO, "DataPDUInOrder"},
    {"KEY-02 max", {SEC, {"", "DefaultTime2Wait=1"}}, LUNETTE_DOM_PROTO, "DefaultTime2Wait"},
    {"TNG-10", {SEC, {"", "MaxBurstLength=NotUnderstood"}}, LUNETTE_DOM_PROTO, "MaxBurstLength"},
    {"TNG-07", {SEC, {"", ""}}, LUNETTE_DOM_PROTO, "without an answer"},
    {"LGN-08", {SEC, {"", "@answer IFMarker=Yes"}}, LUNETTE_DOM_PROTO, "ends the stage"},
    {"LGN-11 early",
     {{"", "AuthMethod=None MaxBurstLength=65536"}},
     LUNETTE_DOM_PROTO,
     "MaxBurstLength"},
    {"LGN-11 late", {SEC, {"", "@answer CHAP_A=5"}}, LUNETTE_DOM_PROTO, "CHAP_A"},
    {"LGN-11 late", {SEC, {"", "@answer AuthMethod=None"}}, LUNETTE_DOM_PROTO, "AuthMethod"},
    {"TargetName",
     {SEC, {"", "@answer TargetName=iqn.2001-01.a:b"}},
     LUNETTE_DOM_PROTO,
     "TargetName"},
    {"InitiatorName",
     {{"", "AuthMethod=None InitiatorName=iqn.2001-01.a:b"}},
     LUNETTE_DOM_PROTO,
     "InitiatorName"},
    {"SessionType",
     {SEC, {"", "@answer SessionType=Discovery"}},
     LUNETTE_DOM_PROTO,
     "another value"},
    {"SendTargets", {SEC, {"", "@answer SendTargets=All"}}, LUNETTE_DOM_PROTO, "SendTargets"},
    {"KEY-04",
     {SEC, {"", "@answer MaxRecvDataSegmentLength=511"}},
     LUNETTE_DOM_PROTO,
     "MaxRecvDataSegmentLength"},
    {"13.9",
     {{"", "AuthMethod=None TargetPortalGroupTag=65536"}},
     LUNETTE_DOM_PROTO,
     "TargetPortalGroupTag"},
    {"TNG-11", {SEC, {"", "@noT TaskReporting=Reject"}}, LUNETTE_DOM_PROTO, ""},
    {"KEY-06",
     {SEC,
      {"", "HeaderDigest=None DataDigest=None InitialR2T=No ImmediateData=Yes MaxBurstLength=8192 "
           "FirstBurstLength=65536 DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 "
           "ErrorRecoveryLevel=0 MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes"}},
     LUNETTE_DOM_PROTO,
     "FirstBurstLength"},
    /* the connection */
    {"LGN-01 cut", {{"", "@silent @cut"}}, LUNETTE_DOM_CONNECT, "closed"},
    /* security without credentials */
    {"SEC-02", {{"", "AuthMethod=CHAP @noT"}}, LUNETTE_DOM_LOGIN, "set a CHAP user and secret"},
    {"SEC-02", {{"", "AuthMethod=Reject @noT"}}, LUNETTE_DOM_LOGIN, "set a CHAP user and secret"},
    {"SEC-02", {{"", "AuthMethod=KRB5 @noT"}}, LUNETTE_DOM_PROTO, "AuthMethod"},
    {"SEC-04", {{"", "AuthMethod=None CHAP_A=5"}}, LUNETTE_DOM_PROTO, "CHAP"},
};

static void
each_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(faults) / sizeof(faults[0]); i++) {
        const struct fault *f = &faults[i];
        struct world *w;

        print_message("%s: %s\n", f->id,
                      f->steps[1].say != NULL ? f->steps[1].say : f->steps[0].say);
        w = run(i + 1, f->steps, NULL);
        end_failed(w, f->dom, 0xffffffff, f->text);
    }
}

/* Every status; which are tried again (LGN-15, LGR-02, LGR-03). */
static void
each_status(void **state)
{
    static const struct {
        uint16_t status;
        const char *text;
    } all[] = {
        {0x0200, "header_digest="},  {0x0201, "set a CHAP user and secret"},
        {0x0202, "access list"},     {0x0203, "check the target's name"},
        {0x0204, "0x0204"},          {0x0205, "0x0205"},
        {0x0206, "0x0206"},          {0x0207, "0x0207"},
        {0x0208, "0x0208"},          {0x0209, "0x0209"},
        {0x020a, "log in anew"},     {0x020b, "0x020b"},
        {0x020c, "0x020c"},          {0x02ff, "0x02ff"},
        {0x0300, "try again later"}, {0x0301, "try again later"},
        {0x0302, "try again later"}, {0x03fe, "try again later"},
        {0x0400, "0x0400"},          {0xff00, "0xff00"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++) {
        char say[64];
        /* garbage in a rejecting response means nothing */
        const struct step script[] = {{"", say}, END};
        bool again = all[i].status >> 8 == 3;
        struct world *w;
        uint64_t t0;

        (void)snprintf(say, sizeof(say), "@status=%04x @ver=3 @CSG=2 @isid X-a=1 @nonul",
                       all[i].status);
        w = run(i, script, NULL);
        t0 = w->l.now_ns;
        assert_int_equal(w->nbound, again ? 3 : 1);
        assert_true(!again || t0 >= 3 * LOOP_NS_PER_S); /* 1 s, then 2 s */
        assert_int_equal(login_error_retryable(&w->err), again);
        end_failed(w, LUNETTE_DOM_LOGIN, all[i].status, all[i].text);
    }
}

/* Class 3 and then it works (LGN-15). */
static void
retry_works(void **state)
{
    static const struct step busy[] = {{"", "@status=0301"}, END};
    static const struct step fine[] = {SEC, OPER, END};
    struct world *w = world_new(3);
    struct login_config cfg;

    (void)state;
    world_config(w, &cfg);
    w->scripts[0] = busy;
    w->scripts[1] = fine;
    w->nscripts = 2;
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    assert_int_equal(w->res.retries, 1);
    assert_int_equal(w->sessions_made, 2);
    end_ok(w);
}

/* The time limit ends while a retry waits: what the target said is the reason. */
static void
retry_too_late(void **state)
{
    static const struct step busy[] = {{"", "@status=0302"}, END};
    struct world *w = world_new(3);
    struct login_config cfg;

    (void)state;
    world_config(w, &cfg);
    cfg.retry_delay_ms = 20000;
    w->scripts[0] = busy;
    w->nscripts = 1;
    world_login(w, &cfg);
    end_failed(w, LUNETTE_DOM_LOGIN, 0x0302, "later");
}

/* Exchanges that are allowed to be odd. */
static const struct {
    const char *id;
    struct step steps[12];
} fine[] = {
    {"LGN-07",
     {{"", "AuthMethod=None @noT"},
      {"T empty", "@noT"},
      {"T empty", "@noT"},
      {"T empty", ""},
      OPER}},
    {"LGN-07 operational", {SEC, {"CSG1 T", "@answer @noT"}, {"T empty", "@noT"}, {"T empty", ""}}},
    {"SEC-02 nothing said", {{"", ""}, OPER}},
    {"LGN-10 tag later", {{"", "AuthMethod=None"}, {"", "@answer TargetPortalGroupTag=0"}}},
    {"TNG-07 optional",
     {SEC,
      {"", "HeaderDigest=None DataDigest=None InitialR2T=Yes ImmediateData=No MaxBurstLength=65536 "
           "FirstBurstLength=Irrelevant DefaultTime2Wait=3600 DefaultTime2Retain=0 "
           "MaxOutstandingR2T=1 ErrorRecoveryLevel=0 MaxConnections=1"}}}, /* TNG-12 */
    {"TNG-16",
     {SEC,
      {"", "HeaderDigest=None DataDigest=None @noT"},
      {"T empty", "InitialR2T=Yes @noT"},
      {"T empty", "ImmediateData=Yes @noT"},
      {"T", "MaxBurstLength=512 FirstBurstLength=512 @noT"},
      {"T", "DefaultTime2Wait=2 @noT"},
      {"T", "DefaultTime2Retain=0 @noT"},
      {"T", "MaxOutstandingR2T=1 @noT"},
      {"T", "ErrorRecoveryLevel=0 @noT"},
      {"T", "MaxConnections=1 DataPDUInOrder=Yes DataSequenceInOrder=Yes"}}},
    {"TNG-10 unknown",
     {{"", "AuthMethod=None X-com.example.a=5 @noT"},
      {"T X-com.example.a=NotUnderstood", ""},
      OPER}},
    {"TNG-10 at the end", {SEC, {"", "@answer X-com.example.a=5"}}},
    {"TNG-17 TaskReporting",
     {SEC,
      {"", "@answer TaskReporting=FastAbort,ResponseFence,RFC3720 @noT"},
      {"T TaskReporting=RFC3720", ""}}},
    {"TNG-17 level",
     {SEC, {"", "@answer iSCSIProtocolLevel=2 @noT"}, {"iSCSIProtocolLevel=1", ""}}},
    {"KEY-10",
     {SEC,
      {"", "@answer IFMarker=Yes OFMarker=No IFMarkInt=1~2 OFMarkInt=2~3 @noT"},
      {"T IFMarker=Reject OFMarker=Reject IFMarkInt=Reject OFMarkInt=Reject", ""}}},
    {"7145", {SEC, {"", "@answer RDMAExtensions=Yes @noT"}, {"T RDMAExtensions=No", ""}}},
    {"KEY-15",
     {SEC,
      {"", "@answer InitiatorRecvDataSegmentLength=4096 @noT"},
      {"T InitiatorRecvDataSegmentLength=Irrelevant", ""}}},
    {"KEY-12", {{"", "AuthMethod=None X#NodeArchitecture=LIO"}, OPER}},
    {"TNG-05 hex", {SEC, {"", "@answer MaxRecvDataSegmentLength=0x10000"}}},
    {"TNG-12 reject",
     {SEC,
      {"", "HeaderDigest=None DataDigest=None InitialR2T=Yes ImmediateData=Yes "
           "MaxBurstLength=Reject FirstBurstLength=Reject DefaultTime2Wait=2 DefaultTime2Retain=0 "
           "MaxOutstandingR2T=1 ErrorRecoveryLevel=0 MaxConnections=1"}}},
    {"LGN-04 8192", {SEC, {"", "@answer @pad=8192"}}},
    {"LGN-09", {SEC, {"", "@answer @async"}}},
};

static void
each_fine(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++) {
        print_message("%s\n", fine[i].id);
        end_ok(run(i, fine[i].steps, NULL));
    }
}

/* What follows the final response goes to the owner, who watches from done on (LGN-09). */
struct owner {
    struct world *w;
    struct ctl_watch watch;
    int events;
};

static void
owner_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct owner *o = container_of(w, struct owner, watch);

    (void)data;
    assert_int_equal(ev->u.recv_pdu.hdr.opcode, ISCSI_OP_ASYNC);
    o->events++;
}

static void
owner_done(void *user, const struct login_result *res, const struct lunette_error *err)
{
    struct owner *o = user;

    assert_null(err);
    o->w->res = *res;
    o->w->done = true;
    ctl_watch_add(o->w->ctl, &o->watch, res->sid, res->cid);
}

static void
nothing_is_lost(void **state)
{
    static const struct step script[] = {SEC, {"", "@answer @async"}, END};

    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct world *w = world_new(seed);
        struct owner o = {.w = w};
        struct login_config cfg;
        struct iscsi_login *l;

        world_config(w, &cfg);
        w->scripts[0] = script;
        w->nscripts = 1;
        ctl_watch_init(&o.watch, owner_event);
        assert_int_equal(login_start(w->ctl, &cfg,
                                     &(struct login_callbacks){.done = owner_done, .user = &o}, &l,
                                     NULL),
                         0);
        world_run(w, &w->done);
        world_drain(w);
        assert_int_equal(o.events, 1);
        assert_int_equal(ctl_get_stats(w->ctl)->stray_events, 0);
        ctl_watch_del(&o.watch);
        login_free(&l);
        end_ok(w);
    }
}

/* TNG-03: every response split at every byte. */
static void
split_everywhere(void **state)
{
    (void)state;
    for (int at = 0; at < 400; at++) {
        struct world *w = world_new((uint64_t)at);
        struct login_config cfg;

        world_config(w, &cfg);
        w->scripts[0] = plain;
        w->nscripts = 1;
        w->split = at;
        world_login(w, &cfg);
        assert_int_equal(w->err.code, 0);
        assert_int_equal(w->res.params.max_burst, 262144);
        assert_int_equal(w->res.params.max_xmit_dseg, 131072);
        assert_string_equal(w->res.target_alias, "disk");
        end_ok(w);
    }
}

/* So many unknown keys that the answer needs the C bit (TNG-03, LGN-04). */
static void
long_answer(void **state)
{
    static char say[16000];
    static const struct step script[] = {SEC,
                                         {"", say},
                                         {"T X-key-that-nobody-knows.0=NotUnderstood "
                                          "X-key-that-nobody-knows.199=NotUnderstood",
                                          ""},
                                         END};
    struct world *w;
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(say + n, sizeof(say) - n, "X-key-that-nobody-knows.%d=1 ", i);
    (void)snprintf(say + n, sizeof(say) - n, "@answer @noT");
    w = run(7, script, NULL);
    assert_int_equal(w->pdus, 4); /* 200 * 43 bytes need two */
    end_ok(w);
}

static uint8_t early_flags;

static void
tweak_early(struct world *w, struct login_config *cfg)
{
    (void)cfg;
    w->early = early_flags;
}

/* TNG-03: a target that says something, or more than that, before the request is whole. */
static void
interrupted(void **state)
{
    static const uint8_t flags[] = {ISCSI_LOGIN_CONTINUE, ISCSI_LOGIN_TRANSIT};
    static char say[16000];
    static const struct step script[] = {SEC, {"", say}, END};
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 200; i++)
        n += (size_t)snprintf(say + n, sizeof(say) - n, "X-key-that-nobody-knows.%d=1 ", i);
    (void)snprintf(say + n, sizeof(say) - n, "@answer @noT");
    for (size_t i = 0; i < sizeof(flags); i++) {
        early_flags = flags[i];
        end_failed(run(7, script, tweak_early), LUNETTE_DOM_PROTO, 4, "before the request");
    }
}

static void
too_many_unknown(void **state)
{
    static char say[16000];
    static const struct step script[] = {SEC, {"", say}, END};
    size_t n = 0;

    (void)state;
    for (int i = 0; i < 257; i++)
        n += (size_t)snprintf(say + n, sizeof(say) - n, "X-k.%d=1 ", i);
    (void)snprintf(say + n, sizeof(say) - n, "@noT");
    end_failed(run(7, script, NULL), LUNETTE_DOM_PROTO, 4, "unknown key");
}

/* TNG-16, TNG-04: no end of exchanges, no end of text. */
static void
endless(void **state)
{
    static struct step script[1100];

    (void)state;
    script[0] = (struct step){"", "AuthMethod=None"};
    for (size_t i = 1; i < 1099; i++)
        script[i] = (struct step){"T", "@noT"};
    end_failed(run(1, script, NULL), LUNETTE_DOM_PROTO, 4, "without end");
    for (size_t i = 1; i < 1099; i++)
        script[i] = (struct step){"", "@C @noT @pad=8192"};
    end_failed(run(1, script, NULL), LUNETTE_DOM_PROTO, 4, "64 KiB");
    for (size_t i = 1; i < 1099; i++)
        script[i] = (struct step){"", "@C @noT"};
    end_failed(run(1, script, NULL), LUNETTE_DOM_PROTO, 4, "without end");
}

/* ---- other kinds --------------------------------------------------------------------------- */

static void
tweak_rich(struct world *w, struct login_config *cfg)
{
    (void)strcpy(cfg->header_digest, "CRC32C,None");
    (void)strcpy(cfg->data_digest, "CRC32C");
    (void)strcpy(cfg->task_reporting, "FastAbort,ResponseFence,RFC3720");
    (void)strcpy(cfg->initiator_alias, "my host");
    cfg->offer_protocol_level = true;
    cfg->offer.protocol_level = 2;
    cfg->offer.erl = 2;
    cfg->offer.max_connections = 4;
    cfg->offer.max_outstanding_r2t = 8;
    w->caps |= CAP_RECOVERY_L1 | CAP_MULTI_CONN;
    w->max_recv_dlength = 65536;
}

static void
rich_offer(void **state)
{
    /* ERL lowered to 1 by the caps, so MaxOutstandingR2T is 1 (KEY-07); KEY-11, PL-01 */
    static const struct step script[] = {
        SEC,
        {"HeaderDigest=CRC32C,None DataDigest=CRC32C TaskReporting=FastAbort,ResponseFence,RFC3720 "
         "iSCSIProtocolLevel=2 ErrorRecoveryLevel=1 MaxConnections=4 MaxOutstandingR2T=1 "
         "MaxRecvDataSegmentLength=65536",
         "HeaderDigest=CRC32C DataDigest=CRC32C InitialR2T=Yes ImmediateData=Yes "
         "MaxBurstLength=262144 FirstBurstLength=65536 DefaultTime2Wait=2 DefaultTime2Retain=0 "
         "MaxOutstandingR2T=1 ErrorRecoveryLevel=1 MaxConnections=2 "
         "TaskReporting=ResponseFence iSCSIProtocolLevel=NotUnderstood"},
        END};
    struct world *w = run(2, script, tweak_rich);

    (void)state;
    assert_int_equal(w->err.code, 0);
    assert_string_equal(fake_param(w, ISCSI_PARAM_HEADER_DIGEST), "CRC32C");
    assert_string_equal(fake_param(w, ISCSI_PARAM_TASK_REPORTING), "ResponseFence");
    assert_string_equal(fake_param(w, ISCSI_PARAM_PROTOCOL_LEVEL), "1");
    assert_string_equal(fake_param(w, ISCSI_PARAM_ERL), "1");
    assert_string_equal(fake_param(w, ISCSI_PARAM_MAX_CONNECTIONS), "2");
    end_ok(w);
}

static void
tweak_several(struct world *w, struct login_config *cfg)
{
    cfg->nr_connections = 3;
    w->caps |= CAP_MULTI_CONN;
}

static void
tweak_several_offloaded(struct world *w, struct login_config *cfg)
{
    tweak_several(w, cfg);
    w->caps |= CAP_DATA_PATH_OFFLOAD;
}

/* KEY-11: where several connections are wanted, FastAbort is offered, unless the transport sends
 * data by itself, which nobody could stop. */
static void
fast_abort_is_offered(void **state)
{
    static const struct step offered[] = {
        SEC,
        {"TaskReporting=FastAbort,ResponseFence,RFC3720 MaxConnections=3 !iSCSIProtocolLevel",
         "HeaderDigest=None DataDigest=None InitialR2T=Yes ImmediateData=Yes MaxBurstLength=262144 "
         "FirstBurstLength=65536 DefaultTime2Wait=2 DefaultTime2Retain=0 MaxOutstandingR2T=1 "
         "ErrorRecoveryLevel=0 MaxConnections=1 TaskReporting=FastAbort"},
        END};
    static const struct step not_offered[] = {
        SEC, {"MaxConnections=3 !TaskReporting", "@answer"}, END};
    struct world *w = run(2, offered, tweak_several);

    (void)state;
    assert_int_equal(w->err.code, 0);
    assert_string_equal(fake_param(w, ISCSI_PARAM_TASK_REPORTING), "FastAbort");
    end_ok(w);
    w = run(2, not_offered, tweak_several_offloaded);
    assert_int_equal(w->err.code, 0);
    assert_string_equal(fake_param(w, ISCSI_PARAM_TASK_REPORTING), "RFC3720");
    end_ok(w);
}

static void
tweak_digests(struct world *w, struct login_config *cfg)
{
    (void)w;
    (void)strcpy(cfg->header_digest, "CRC32C");
    (void)strcpy(cfg->data_digest, "CRC32C");
}

/* A digest that is offered alone is required: the message says what to offer instead.  Reject and
 * Irrelevant would leave None in force (RFC 7143 6.2). */
static void
required_digest(void **state)
{
    static const char *const says[] = {"HeaderDigest=None", "HeaderDigest=Reject",
                                       "HeaderDigest=Irrelevant",
                                       "HeaderDigest=CRC32C DataDigest=None"};

    (void)state;
    for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++) {
        const struct step script[] = {SEC, {"HeaderDigest=CRC32C", says[i]}, END};

        end_failed(run(i, script, tweak_digests), LUNETTE_DOM_LOGIN, 0,
                   i < 3 ? "header_digest=crc32c,none" : "data_digest=crc32c,none");
    }
    {
        const struct step script[] = {SEC, {"HeaderDigest=CRC32C", "HeaderDigest=SHA1"}, END};

        end_failed(run(9, script, tweak_digests), LUNETTE_DOM_PROTO, 0xffffffff, "HeaderDigest");
    }
}

static void
tweak_discovery(struct world *w, struct login_config *cfg)
{
    (void)w;
    cfg->discovery = true;
    cfg->target_name[0] = '\0';
}

static void
discovery_keys(void **state)
{
    static const struct step script[] = {
        {"SessionType=Discovery !TargetName", "AuthMethod=None"},
        {"!MaxConnections !InitialR2T !ImmediateData !MaxBurstLength !FirstBurstLength "
         "!MaxOutstandingR2T !DataPDUInOrder !DataSequenceInOrder MaxRecvDataSegmentLength",
         "@answer MaxBurstLength=262144 InitialR2T=Yes @noT"},
        {"T MaxBurstLength=Irrelevant InitialR2T=Irrelevant", ""}, /* KEY-15, KEY-09 */
        END};

    (void)state;
    end_ok(run(4, script, tweak_discovery));
}

/* REIN-02: the session is kept, CREATE_ requests are skipped, a failure leaves it stopped. */
static void
reopen(void **state)
{
    static const struct step good[] = {SEC, OPER, END};
    static const struct step no[] = {{"", "@status=0202"}, END};
    struct world *w = world_new(5);
    struct login_config cfg;
    struct fake_conn *c;

    (void)state;
    world_config(w, &cfg);
    w->scripts[0] = good;
    w->scripts[1] = no;
    w->scripts[2] = good;
    w->nscripts = 3;
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    for (int i = 0; i < 2; i++) {
        c = fake_conn(w, w->res.sid, w->res.cid);
        if (c->bound) { /* the data plane lost the connection and stopped it */
            c->bound = c->started = false;
            memset(c->names, 0, sizeof(c->names));
            w->open_fds--;
        }
        cfg.kind = LOGIN_REOPEN;
        cfg.sid = w->res.sid;
        world_login(w, &cfg);
        assert_int_equal(w->err.code < 0, i == 0);
        assert_int_equal(c->there, 1);
        assert_int_equal(c->bound, i == 1);
        assert_int_equal(c->stops, 1);
    }
    assert_int_equal(w->sessions_made, 1);
    assert_int_equal(c->starts, 2);
    end_ok(w);
}

/* LGN-13: no leading-only key on a further connection; ID-05, ID-10. */
static void
add_conn(void **state)
{
    static const struct step good[] = {SEC, OPER, END};
    static const struct step more[] = {
        {"InitiatorName TargetName !SessionType AuthMethod=None", "AuthMethod=None"},
        {"HeaderDigest=None DataDigest=None MaxRecvDataSegmentLength !MaxBurstLength "
         "!MaxConnections !ErrorRecoveryLevel",
         "@answer"},
        END};
    static const struct step other[] = {{"", "AuthMethod=None"}, {"", "@answer @TSIH=99"}, END};
    static const struct step lo[] = {
        {"", "AuthMethod=None"}, {"", "@answer MaxBurstLength=512 @noT"}, END};
    struct world *w = world_new(6);
    struct login_config cfg;

    (void)state;
    world_config(w, &cfg);
    w->scripts[0] = good;
    w->scripts[1] = other;
    w->scripts[2] = lo;
    w->scripts[3] = more;
    w->nscripts = 4;
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    cfg.kind = LOGIN_ADD_CONN;
    cfg.sid = w->res.sid;
    cfg.cid = 1;
    cfg.tsih = w->res.tsih;
    world_login(w, &cfg);
    assert_non_null(strstr(w->err.msg, "another session"));
    world_login(w, &cfg);
    assert_int_equal(w->err.domain, LUNETTE_DOM_PROTO);
    assert_null(fake_conn(w, cfg.sid, 1));
    assert_non_null(fake_conn(w, cfg.sid, 0));
    world_login(w, &cfg);
    assert_int_equal(w->err.code, 0);
    assert_true(fake_conn(w, cfg.sid, 1)->started);
    world_logout_conns(w, 2);
    check_tidy(w);
    world_free(w);
}

static void
tpgt(void **state)
{
    static const struct step script[] = {SEC, OPER, END};
    struct world *w = world_new(1);
    struct login_config cfg;

    (void)state;
    world_config(w, &cfg);
    w->scripts[0] = script;
    w->nscripts = 1;
    cfg.expected_tpgt = 1;
    world_login(w, &cfg);
    end_ok(w);
    w = world_new(1);
    world_config(w, &cfg);
    w->scripts[0] = script;
    w->nscripts = 1;
    cfg.expected_tpgt = 2; /* LGN-10, ID-15 */
    world_login(w, &cfg);
    end_failed(w, LUNETTE_DOM_LOGIN, 0, "portal group 1, not 2");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_login),
        cmocka_unit_test(each_fault),
        cmocka_unit_test(each_status),
        cmocka_unit_test(retry_works),
        cmocka_unit_test(retry_too_late),
        cmocka_unit_test(each_fine),
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(split_everywhere),
        cmocka_unit_test(long_answer),
        cmocka_unit_test(interrupted),
        cmocka_unit_test(too_many_unknown),
        cmocka_unit_test(endless),
        cmocka_unit_test(fast_abort_is_offered),
        cmocka_unit_test(rich_offer),
        cmocka_unit_test(required_digest),
        cmocka_unit_test(discovery_keys),
        cmocka_unit_test(reopen),
        cmocka_unit_test(add_conn),
        cmocka_unit_test(tpgt),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
