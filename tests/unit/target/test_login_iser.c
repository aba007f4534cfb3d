/* SPDX-License-Identifier: MIT */
/* What is agreed on in the login of a connection that came in over iSER (RFC 7145 6): the keys are
 * the same whatever carries them, so that the connections here are of TCP, and the target is told
 * that they are not.  Ids of docs/rfc-coverage.md. */
#include "tests/unit/target/puppet.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "target/bounds.h"
#include "target/instance.h"
#include "target/state/conn.h"
#include "target/state/session.h"

#define NAMES     "InitiatorName=" INITIATOR "\0TargetName=" IQN "\0"
#define DISCOVERY "InitiatorName=" INITIATOR "\0SessionType=Discovery\0"
#define OPER      bhs_login_flags(1, 0, 0)
#define TO_FFP    bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT)
#define RDMA      "RDMAExtensions=Yes\0"

static void
world_with(struct world *w, const struct target_key_value *set, uint32_t n)
{
    static const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    const struct target_node_config node = {
        .name = IQN, .luns = &lun, .luns_count = 1, .set = set, .set_count = n};

    world_new(w, &node, 1);
}

/* The target's end of the connection that came last. */
static struct tgt_conn *
last_conn(struct world *w)
{
    for (int i = 0; i < 100 && list_empty(&w->target->conns); i++)
        world_turn(w);
    assert_false(list_empty(&w->target->conns));
    return container_of(w->target->conns.prev, struct tgt_conn, link);
}

/* A puppet whose connection the target takes for one over iSER. */
static struct puppet *
puppet_over_iser(struct world *w)
{
    uint32_t before = w->target->conns_count;
    struct puppet *p = puppet_new(w, 1);

    for (int i = 0; i < 100 && w->target->conns_count == before; i++)
        world_turn(w);
    last_conn(w)->rdma = true;
    return p;
}

#define SAY(p, flags, text) puppet_login_send(p, flags, text, sizeof(text) - 1)

static void
has(const struct puppet *p, const char *pair)
{
    if (!puppet_text_has(&p->rx, pair))
        fail_msg("%s is not there", pair);
}

/* Is there a pair of that key in the answer? */
static bool
speaks_of(const struct puppet *p, const char *key)
{
    size_t n = strlen(key);

    for (uint32_t at = 0; at + n < p->rx.len; at++) {
        if ((at == 0 || p->rx.data[at - 1] == '\0') && memcmp(p->rx.data + at, key, n) == 0 &&
            p->rx.data[at + n] == '=')
            return true;
    }
    return false;
}

/* ISR-01, ISR-02: all that an initiator offers. */
static void
agreement(void **state)
{
    static const char all[] =
        NAMES RDMA "HeaderDigest=CRC32C,None\0DataDigest=CRC32C\0InitialR2T=No\0ImmediateData=Yes\0"
                   "InitiatorRecvDataSegmentLength=4096\0TargetRecvDataSegmentLength=262144\0"
                   "ErrorRecoveryLevel=2\0MaxRecvDataSegmentLength=262144\0"
                   "MaxOutstandingUnexpectedPDUs=16\0MaxAHSLength=256\0"
                   "TaggedBufferForSolicitedDataOnly=Yes\0iSERHelloRequired=No\0";
    struct puppet *p = puppet_over_iser(*state);
    struct tgt_conn *c = last_conn(*state);

    SAY(p, TO_FFP, all);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "RDMAExtensions=Yes");
    has(p, "HeaderDigest=None");
    has(p, "DataDigest=Reject");
    has(p, "InitialR2T=Yes");
    has(p, "ImmediateData=Yes");
    has(p, "InitiatorRecvDataSegmentLength=4096");
    has(p, "TargetRecvDataSegmentLength=8192");
    has(p, "ErrorRecoveryLevel=0");
    assert_false(speaks_of(p, "MaxRecvDataSegmentLength"));
    assert_false(speaks_of(p, "MaxOutstandingUnexpectedPDUs")); /* declarations */
    assert_false(speaks_of(p, "MaxAHSLength"));
    assert_false(speaks_of(p, "TaggedBufferForSolicitedDataOnly"));
    assert_false(speaks_of(p, "iSERHelloRequired"));
    assert_int_equal(c->state, TGT_CONN_FFP);
    assert_int_equal(c->recv_max, 8192);
    assert_int_equal(c->xmit_max, 4096);
    assert_false(c->header_digest || c->data_digest);
    assert_true(c->params.rdma_extensions && c->params.tagged_solicited_only);
    assert_int_equal(c->params.max_unexpected_pdus, 16);
    assert_int_equal(c->erl, 0);
    puppet_free(p);
}

/* The lengths are answered for what RDMAExtensions becomes, wherever it stands. */
static void
order_is_no_matter(void **state)
{
    struct puppet *p = puppet_over_iser(*state);

    SAY(p, TO_FFP,
        NAMES "TargetRecvDataSegmentLength=512\0InitiatorRecvDataSegmentLength=65536\0" RDMA);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "TargetRecvDataSegmentLength=512");
    has(p, "InitiatorRecvDataSegmentLength=8192");
    assert_int_equal(last_conn(*state)->recv_max, 512);
    puppet_free(p);
}

/* RFC 7145 6.3: the target proposes what the initiator has not, at its first occasion, and goes on
 * only when that is answered. */
static void
proposal(void **state)
{
    static const struct {
        const char *answer;
        uint16_t status;
    } t[] = {
        {"RDMAExtensions=Yes", ISCSI_LOGIN_OK},
        {"RDMAExtensions=No", ISCSI_LOGIN_BAD_REQUEST},
        {"RDMAExtensions=NotUnderstood", ISCSI_LOGIN_BAD_REQUEST},
        {"RDMAExtensions=yes", ISCSI_LOGIN_BAD_REQUEST},
        {"X-other=1", ISCSI_LOGIN_MISSING_PARAMETER},
    };

    for (size_t i = 0; i < sizeof(t) / sizeof(t[0]); i++) {
        struct puppet *p = puppet_over_iser(*state);

        SAY(p, TO_FFP, NAMES "TargetRecvDataSegmentLength=512\0");
        assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
        has(p, "RDMAExtensions=Yes");
        has(p, "TargetRecvDataSegmentLength=Irrelevant"); /* so far */
        assert_int_equal(p->rx.h.login_rsp.flags & ISCSI_LOGIN_TRANSIT, 0);
        puppet_login_send(p, TO_FFP, t[i].answer, strlen(t[i].answer) + 1);
        if (puppet_login_status(p) != t[i].status)
            fail_msg("%s: another status", t[i].answer);
        assert_false(speaks_of(p, "RDMAExtensions"));
        if (t[i].status == ISCSI_LOGIN_OK) {
            assert_int_not_equal(p->rx.h.login_rsp.flags & ISCSI_LOGIN_TRANSIT, 0);
            assert_int_equal(last_conn(*state)->recv_max, 8192);
            assert_int_equal(last_conn(*state)->xmit_max, 8192);
        }
        puppet_free(p);
    }
}

/* ISR-01: nobody is made to speak iSER, and then there is no session. */
static void
unwilling(void **state)
{
    static const struct target_key_value no[] = {{"RDMAExtensions", "No"}};
    struct world w;
    struct puppet *p;

    (void)state;
    world_with(&w, no, 1);
    p = puppet_over_iser(&w);
    SAY(p, OPER, NAMES RDMA "TargetRecvDataSegmentLength=8192\0");
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "RDMAExtensions=No");
    has(p, "TargetRecvDataSegmentLength=Irrelevant");
    puppet_login_send(p, TO_FFP, NULL, 0);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_BAD_REQUEST);
    puppet_expect_close(p);
    puppet_free(p);

    p = puppet_over_iser(&w); /* who would go on at once hears the answer before */
    SAY(p, TO_FFP, NAMES RDMA);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "RDMAExtensions=No");
    assert_int_equal(p->rx.h.login_rsp.flags & ISCSI_LOGIN_TRANSIT, 0);
    puppet_login_send(p, TO_FFP, NULL, 0);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_BAD_REQUEST);
    puppet_free(p);

    p = puppet_over_iser(&w); /* nor is anything proposed */
    SAY(p, TO_FFP, NAMES);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_BAD_REQUEST);
    puppet_free(p);
    world_free(&w);

    world_new(&w, NULL, 0); /* an initiator that does not want it */
    p = puppet_over_iser(&w);
    SAY(p, TO_FFP, NAMES "RDMAExtensions=No\0");
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "RDMAExtensions=No");
    puppet_login_send(p, TO_FFP, NULL, 0);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_BAD_REQUEST);
    puppet_free(p);
    world_free(&w);
}

/* ISR-09: whoever asks for Hello messages is told that there are none. */
static void
hello(void **state)
{
    struct puppet *p = puppet_over_iser(*state);

    SAY(p, TO_FFP, NAMES RDMA "iSERHelloRequired=Yes\0");
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_BAD_REQUEST);
    puppet_free(p);
    p = puppet_over_iser(*state);
    SAY(p, TO_FFP, NAMES RDMA "iSERHelloRequired=maybe\0");
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_BAD_REQUEST);
    puppet_free(p);
}

/* Discovery has no mode of its own (RFC 7145 6.3), and goes on in the messages that it came in. */
static void
discovery(void **state)
{
    struct puppet *p = puppet_over_iser(*state);
    struct tgt_conn *c = last_conn(*state);

    SAY(p, TO_FFP,
        DISCOVERY RDMA "InitiatorRecvDataSegmentLength=65536\0MaxRecvDataSegmentLength=262144\0"
                       "HeaderDigest=CRC32C,None\0");
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "RDMAExtensions=Irrelevant");
    has(p, "InitiatorRecvDataSegmentLength=Irrelevant");
    has(p, "HeaderDigest=None");
    assert_false(speaks_of(p, "MaxRecvDataSegmentLength"));
    assert_int_equal(c->state, TGT_CONN_FFP);
    assert_int_equal(c->recv_max, 8192);
    assert_int_equal(c->xmit_max, 8192);
    puppet_free(p);
}

/* A session is of one kind of connections. */
static void
further_connections(void **state)
{
    for (unsigned first = 0; first < 2; first++) {
        for (unsigned second = 0; second < 2; second++) {
            struct puppet *a = first ? puppet_over_iser(*state) : puppet_new(*state, 1), *b;
            uint16_t status = first == second ? ISCSI_LOGIN_OK : ISCSI_LOGIN_CANNOT_INCLUDE;
            static const char keys[] = RDMA "MaxConnections=2";

            /* over TCP the answer is No */
            assert_int_equal(puppet_login(a, keys, sizeof(keys)), ISCSI_LOGIN_OK);
            b = second ? puppet_over_iser(*state) : puppet_new(*state, 1);
            b->tsih = a->tsih;
            b->cid = 1;
            SAY(b, TO_FFP, NAMES "TargetRecvDataSegmentLength=1024\0");
            assert_int_equal(puppet_login_status(b), status);
            if (first && second) {
                assert_int_equal(last_conn(*state)->recv_max, 1024);
                assert_int_equal(last_conn(*state)->xmit_max, 8192);
            }
            puppet_free(b);
            puppet_free(a);
        }
    }
}

/* Digests that a target insists on are for TCP (RFC 7145 6.1). */
static void
required_digests(void **state)
{
    static const struct target_key_value must[] = {{"HeaderDigest", "CRC32C"},
                                                   {"DataDigest", "CRC32C"}};
    struct world w;
    struct puppet *p;

    (void)state;
    world_with(&w, must, 2);
    p = puppet_over_iser(&w);
    SAY(p, TO_FFP, NAMES RDMA "HeaderDigest=None\0DataDigest=None\0");
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "HeaderDigest=None");
    puppet_free(p);
    p = puppet_new(&w, 1);
    SAY(p, TO_FFP, NAMES);
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_BAD_REQUEST);
    puppet_free(p);
    world_free(&w);
}

/* Whatever an initiator says, in whatever order and over how many requests: who comes through
 * speaks iSER, or discovers, and no PDU is longer than there is room for. */
static void
anything_said(void **state)
{
    static const char *const words[] = {
        "RDMAExtensions=Yes",
        "RDMAExtensions=No",
        "RDMAExtensions=Reject",
        "TargetRecvDataSegmentLength=8192",
        "TargetRecvDataSegmentLength=16777215",
        "TargetRecvDataSegmentLength=0",
        "InitiatorRecvDataSegmentLength=512",
        "InitiatorRecvDataSegmentLength=262144",
        "MaxRecvDataSegmentLength=16777215",
        "HeaderDigest=CRC32C",
        "DataDigest=CRC32C,None",
        "iSERHelloRequired=Yes",
        "iSERHelloRequired=No",
        "MaxOutstandingUnexpectedPDUs=4294967295",
        "MaxAHSLength=1",
        "InitialR2T=No",
        "ErrorRecoveryLevel=2",
        "MaxOutstandingR2T=16",
        "X-other=1",
        "SessionType=Discovery",
    };
    uint32_t x = 7, up = 0;

    for (unsigned round = 0; round < 600; round++) {
        struct puppet *p = puppet_over_iser(*state);
        struct tgt_conn *c = last_conn(*state);
        uint16_t status = ISCSI_LOGIN_OK;

        for (unsigned n = 0; n < 3 && status == ISCSI_LOGIN_OK && c->state == TGT_CONN_LOGIN; n++) {
            char text[1024] = NAMES;
            size_t len = n == 0 ? sizeof(NAMES) - 1 : 0;

            for (unsigned i = 0; i < 5; i++) {
                const char *word;

                x = x * 1664525 + 1013904223;
                word = words[(x >> 12) % (sizeof(words) / sizeof(words[0]))];
                if ((x >> 8) % 4 == 0 || i == n)
                    continue;
                memcpy(text + len, word, strlen(word) + 1);
                len += strlen(word) + 1;
            }
            puppet_login_send(p, (x >> 28) % 3 == 0 ? OPER : TO_FFP, text, len);
            status = puppet_login_status(p);
        }
        if (status == ISCSI_LOGIN_OK && c->state == TGT_CONN_FFP) {
            const struct iscsi_params *a = &c->params;

            up++;
            assert_true(a->rdma_extensions || a->session_type == ISCSI_SESSION_DISCOVERY ||
                        c->sess->discovery);
            assert_true(c->recv_max >= 512 && c->recv_max <= TGT_RDMA_DSEG_MAX);
            assert_true(c->xmit_max >= 512 && c->xmit_max <= TGT_RDMA_DSEG_MAX);
            assert_false(c->header_digest || c->data_digest || a->iser_hello_required);
            assert_int_equal(c->erl, 0);
        }
        puppet_free(p);
    }
    assert_true(up > 30);
}

/* What a target may be told of them. */
static void
settings(void **state)
{
    static const struct {
        const char *key, *value, *why;
    } wrong[] = {
        {"RDMAExtensions", "maybe", "want Yes or No"},
        {"TargetRecvDataSegmentLength", "16384", "must be 512..8192"},
        {"InitiatorRecvDataSegmentLength", "8193", "must be 512..8192"},
        {"TargetRecvDataSegmentLength", "511", "512"},
        {"iSERHelloRequired", "Yes", "cannot be set"},
        {"MaxOutstandingUnexpectedPDUs", "1", "MaxOutstandingUnexpectedPDUs"},
        {"MaxOutstandingUnexpectedPDUs", "17", "must be 0, or 2..16"},
    };
    static const struct target_key_value small[] = {{"TargetRecvDataSegmentLength", "1024"},
                                                    {"InitiatorRecvDataSegmentLength", "512"},
                                                    {"ImmediateData", "No"},
                                                    {"MaxOutstandingUnexpectedPDUs", "5"}};
    static const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    struct lunette_error err;
    struct target *t = NULL;
    struct puppet *p;
    struct world w;

    (void)state;
    world_with(&w, small, 4);
    p = puppet_over_iser(&w);
    SAY(p, TO_FFP,
        NAMES RDMA "TargetRecvDataSegmentLength=8192\0InitiatorRecvDataSegmentLength=8192\0"
                   "ImmediateData=Yes\0");
    assert_int_equal(puppet_login_status(p), ISCSI_LOGIN_OK);
    has(p, "TargetRecvDataSegmentLength=1024");
    has(p, "InitiatorRecvDataSegmentLength=512");
    has(p, "ImmediateData=No");
    has(p, "MaxOutstandingUnexpectedPDUs=5");
    puppet_free(p);
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        const struct target_key_value kv = {wrong[i].key, wrong[i].value};
        const struct target_node_config node = {
            .name = IQN, .luns = &lun, .luns_count = 1, .set = &kv, .set_count = 1};
        const struct target_config cfg = {.nodes = &node, .nodes_count = 1};

        assert_int_equal(target_new(w.loop, &cfg, &t, &err), -EINVAL);
        if (strstr(err.msg, wrong[i].why) == NULL)
            fail_msg("%s", err.msg);
    }
    world_free(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(agreement, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(order_is_no_matter, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(proposal, world_setup, world_teardown),
        cmocka_unit_test(unwilling),
        cmocka_unit_test_setup_teardown(hello, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(discovery, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(further_connections, world_setup, world_teardown),
        cmocka_unit_test(required_digests),
        cmocka_unit_test_setup_teardown(anything_said, world_setup, world_teardown),
        cmocka_unit_test(settings),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
