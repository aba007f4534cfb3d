/* SPDX-License-Identifier: MIT */
/* What is said in words: keys and their answers, stages of a login, Text negotiations, discovery;
 * RFC 7143 6, 12, 13.  Ids of docs/rfc-coverage.md. */
#include "tests/unit/target/puppet.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "target/bounds.h"
#include "wire/key_table.h"

#define NAMES  "InitiatorName=" INITIATOR "\0TargetName=" IQN
#define OPER   bhs_login_flags(1, 0, 0)
#define TO_FFP bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT)
#define SEC    bhs_login_flags(0, 0, 0)

/* How many pairs of that key the text has. */
static unsigned
pairs_of(const struct pdu *pdu, const char *key, size_t len)
{
    struct text_iter it;
    struct text_pair p;
    unsigned n = 0;

    text_iter_init(&it, (const char *)pdu->data, pdu->len);
    while (text_next(&it, &p, NULL) == 1)
        n += p.key_len == len && memcmp(p.key, key, len) == 0;
    return n;
}

struct offer {
    const char *offer;
    const char *answer; /* NULL: none; else what stands behind the '=' */
};

static const struct offer offers[] = {
    {"HeaderDigest=None,CRC32C", "None"}, /* TNG-09: the order is the initiator's */
    {"HeaderDigest=CRC32C,None", "CRC32C"},
    {"DataDigest=Y-none.example,CRC32C", "CRC32C"},
    {"DataDigest=Y-none.example", "Reject"},
    {"DataDigest=crc32c", "Reject"}, /* TNG-01: case counts */
    {"InitialR2T=Yes", "Yes"},
    {"InitialR2T=No", "No"},
    {"InitialR2T=yes", "Reject"},
    {"ImmediateData=Yes", "Yes"},
    {"ImmediateData=No", "No"},
    {"DataPDUInOrder=No", "Yes"}, /* KEY-14 */
    {"DataSequenceInOrder=No", "Yes"},
    {"MaxBurstLength=511", "Reject"}, /* KEY-03 */
    {"MaxBurstLength=512", "512"},
    {"MaxBurstLength=0x1000", "4096"}, /* TNG-05 */
    {"MaxBurstLength=0X1000", "4096"},
    {"MaxBurstLength=16777215", "1048576"},
    {"MaxBurstLength=16777216", "Reject"},
    {"MaxBurstLength=-1", "Reject"},
    {"MaxBurstLength=+4096", "Reject"},
    {"MaxBurstLength=1k", "Reject"},
    {"MaxBurstLength=0x", "Reject"},
    {"MaxBurstLength=", "Reject"},
    {"MaxBurstLength=18446744073709551616", "Reject"},
    {"FirstBurstLength=512", "512"},
    {"FirstBurstLength=65536", "65536"},
    {"FirstBurstLength=16777215",
     "262144"}, /* KEY-06: MaxBurstLength's default, which was not offered */
    {"DefaultTime2Wait=0", "2"},
    {"DefaultTime2Wait=3600", "3600"},
    {"DefaultTime2Wait=3601", "Reject"},
    {"DefaultTime2Retain=0", "0"},
    {"MaxOutstandingR2T=0", "Reject"},
    {"MaxOutstandingR2T=1", "1"},
    {"MaxConnections=1", "1"},
    {"MaxConnections=0", "Reject"},
    {"MaxConnections=65536", "Reject"},
    {"ErrorRecoveryLevel=0", "0"},
    {"ErrorRecoveryLevel=3", "Reject"},
    {"iSCSIProtocolLevel=0", "0"},
    {"iSCSIProtocolLevel=1", "1"},
    {"iSCSIProtocolLevel=32", "Reject"},
    {"TaskReporting=RFC3720", "RFC3720"},
    {"TaskReporting=X-other", "Reject"},
    {"IFMarker=Yes", "Reject"}, /* KEY-10 */
    {"OFMarker=No", "Reject"},
    {"IFMarkInt=2048~8192", "Reject"},
    {"OFMarkInt=1", "Reject"},
    {"RDMAExtensions=No", "No"},
    {"InitiatorRecvDataSegmentLength=8192", "Irrelevant"},
    {"X#NodeArchitecture=riscv64,Plan 9", NULL},    /* KEY-12 */
    {"X-example.org.Thing=a=b=c", "NotUnderstood"}, /* TNG-10 */
    {"InitiatorAlias=who", NULL},
};

/* TNG-05, TNG-07 to TNG-10, KEY-01, KEY-02: each offer is answered once, as its rule says. */
static void
each_offer_is_answered(void **state)
{
    for (size_t i = 0; i < sizeof(offers) / sizeof(offers[0]); i++) {
        struct puppet *p = puppet_new(*state, 1);
        const char *offer = offers[i].offer, *eq = strchr(offer, '=');
        char want[300];

        if (puppet_login(p, offer, strlen(offer) + 1) != 0)
            fail_msg("%s is refused", offer);
        (void)snprintf(want, sizeof(want), "%.*s=%s", (int)(eq - offer), offer,
                       offers[i].answer != NULL ? offers[i].answer : "");
        if (offers[i].answer != NULL && !puppet_text_has(&p->rx, want))
            fail_msg("%s: the answer is not %s", offer, want);
        if (pairs_of(&p->rx, offer, (size_t)(eq - offer)) != (offers[i].answer != NULL))
            fail_msg("%s is answered otherwise than once", offer);
        puppet_free(p);
    }
}

/* PL-01, KEY-08: of these the lower one holds, whatever the target can do. */
static void
levels_are_the_lower_ones(void **state)
{
    static const struct {
        const char *key;
        unsigned max; /* that may be offered */
    } keys[] = {{"iSCSIProtocolLevel", 31}, {"ErrorRecoveryLevel", 2}};

    for (size_t k = 0; k < 2; k++) {
        unsigned before = 0;

        for (unsigned n = 0; n <= keys[k].max; n++) {
            struct puppet *p = puppet_new(*state, 1);
            char pair[64], answer[64];
            unsigned got;

            (void)snprintf(pair, sizeof(pair), "%s=%u", keys[k].key, n);
            assert_int_equal(puppet_login(p, pair, strlen(pair) + 1), 0);
            for (got = 0; got <= n; got++) {
                (void)snprintf(answer, sizeof(answer), "%s=%u", keys[k].key, got);
                if (puppet_text_has(&p->rx, answer))
                    break;
            }
            assert_true(got <= n);
            assert_true(got == n || got == before); /* it rises with the offer, to ours */
            before = got;
            puppet_free(p);
        }
    }
}

/* KEY-06, TNG-12, TNG-15: what follows from other keys of the same login. */
static void
keys_depend_on_each_other(void **state)
{
    static const struct {
        const char *keys;
        size_t len;
        const char *answer;
    } rows[] = {
        {KEYS("FirstBurstLength=65536\0MaxBurstLength=16384"), "FirstBurstLength=16384"},
        {KEYS("MaxBurstLength=16384\0FirstBurstLength=65536"), "FirstBurstLength=16384"},
        {KEYS("InitialR2T=Yes\0ImmediateData=No\0FirstBurstLength=4096"),
         "FirstBurstLength=Irrelevant"},
        {KEYS("FirstBurstLength=4096\0ImmediateData=No\0InitialR2T=Yes"),
         "FirstBurstLength=Irrelevant"},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *p = puppet_new(*state, 1);

        assert_int_equal(puppet_login(p, rows[i].keys, rows[i].len), 0);
        if (!puppet_text_has(&p->rx, rows[i].answer))
            fail_msg("row %zu: not %s", i, rows[i].answer);
        puppet_clear_ua(p);
        puppet_free(p);
    }
}

/* One request from a fresh connection; its status, and that the connection ends with a refusal. */
static void
one_request(struct world *w, uint8_t flags, const char *text, size_t len, uint16_t status)
{
    struct puppet *p = puppet_new(w, 1);
    uint16_t got;

    puppet_login_send(p, flags, text, len);
    got = puppet_login_status(p);
    if (got != status)
        fail_msg("\"%s\" ...: status %04x, not %04x", text + sizeof(NAMES), got, status);
    if (status != 0)
        puppet_expect_close(p);
    puppet_free(p);
}

/* TNG-01, TNG-02, TNG-11, TNG-13, NAME-02, NAME-03, NAME-13, KEY-04: texts that are none. */
static void
bad_texts_are_refused(void **state)
{
    static const struct {
        const char *keys;
        size_t len;
        uint16_t status;
    } rows[] = {
        {KEYS("=5"), 0x0200},
        {KEYS("NoEquals"), 0x0200},
        {KEYS("maxBurstLength=512"), 0x0200}, /* a key begins with a capital */
        {"MaxBurstLength=512", 18, 0x0200},   /* without its NUL */
        {KEYS("MaxBurstLength=512\0MaxBurstLength=512"), 0x0200},
        {KEYS("InitiatorName=" INITIATOR), 0x0200}, /* for the second time */
        {KEYS("MaxBurstLength=Reject"), 0x0200},
        {KEYS("MaxBurstLength=Irrelevant"), 0x0200},
        {KEYS("HeaderDigest=NotUnderstood"), 0x0200},
        {KEYS("MaxRecvDataSegmentLength=511"), 0x0200},
        {KEYS("MaxRecvDataSegmentLength=16777216"), 0x0200},
        {KEYS("MaxRecvDataSegmentLength=many"), 0x0200},
        {KEYS("TargetAlias=me"), 0x0200}, /* a target's to say */
        {KEYS("TargetPortalGroupTag=1"), 0x0200},
        {KEYS("TargetAddress=10.0.0.1"), 0x0200},
        {KEYS("SendTargets=All"), 0x0200}, /* not in a login */
        {KEYS("AuthMethod=None"), 0x0200}, /* LGN-11: not in this stage */
        {KEYS("CHAP_A=5"), 0x0200},
        {KEYS("X-k=\xff\xfe"), 0},
        {KEYS("InitiatorAlias=\xff\xfe"), 0}, /* cleaned where it is shown */
    };
    struct world *w = *state;
    char text[1024];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memcpy(text, NAMES, sizeof(NAMES));
        memcpy(text + sizeof(NAMES), rows[i].keys, rows[i].len);
        one_request(w, TO_FFP, text, sizeof(NAMES) + rows[i].len, rows[i].status);
    }
    for (size_t n = 62; n < 66; n++) { /* a key of 63 bytes is the longest, with a value of 255 */
        size_t len = sizeof(NAMES) + n;

        memcpy(text, NAMES, sizeof(NAMES));
        memset(text + sizeof(NAMES), 'X', n);
        memcpy(text + len, "=1", 3);
        one_request(w, TO_FFP, text, len + 3, n <= 63 ? 0 : 0x0200);
    }
    for (size_t n = 254; n < 258; n++) {
        size_t len = sizeof(NAMES) + sizeof("InitiatorAlias=") - 1;

        memcpy(text, NAMES "\0InitiatorAlias=", len + 1);
        memset(text + len, 'a', n);
        text[len + n] = '\0';
        one_request(w, TO_FFP, text, len + n + 1, n <= 255 ? 0 : 0x0200);
    }
    for (size_t n = 222; n < 226; n++) { /* names of 223 bytes */
        size_t len = sizeof("TargetName=" IQN "\0InitiatorName=") - 1;

        memcpy(text, "TargetName=" IQN "\0InitiatorName=", len);
        memset(text + len, 'a', n);
        memcpy(text + len, INITIATOR, sizeof(INITIATOR) - 1);
        text[len + n] = '\0';
        one_request(w, TO_FFP, text, len + n + 1, n <= 223 ? 0 : 0x0200);
    }
}

/* NAME-03 to NAME-10: names of initiators that are none. */
static void
bad_names_are_refused(void **state)
{
    static const struct {
        const char *name;
        uint16_t status;
    } rows[] = {
        {"iqn.2026-11.example", 0},
        {"IQN.2026-11.Example:X", 0}, /* folded */
        {"iqn.2026-11.example:a:b:c", 0},
        {"eui.0123456789abcdef", 0},
        {"naa.0123456789abcdef", 0},
        {"naa.0123456789abcdef0123456789abcdef", 0},
        {"", 0x0200},
        {"iqn.2026-00.example", 0x0200},
        {"iqn.2026-13.example", 0x0200},
        {"iqn.26-11.example", 0x0200},
        {"iqn.2026.11.example", 0x0200},
        {"iqn.2026-11.", 0x0200},
        {"iqn.2026-11.example:a b", 0x0200},
        {"iqn.2026-11.example:a_b", 0x0200},
        {"iqn.2026-11.example:\xc3\xa9", 0x0200},
        {"eui.0123456789abcde", 0x0200},
        {"eui.0123456789abcdef0", 0x0200},
        {"eui.0123456789abcdeg", 0x0200},
        {"naa.0123456789abcdef0", 0x0200},
        {"naa.0123456789abcdeg", 0x0200},
        {"foo.example", 0x0200},
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[300];
        int n =
            snprintf(text, sizeof(text), "TargetName=" IQN "%cInitiatorName=%s", 0, rows[i].name);
        struct puppet *p = puppet_new(*state, 1);
        uint16_t got;

        puppet_login_send(p, TO_FFP, text, (size_t)n + 1);
        got = puppet_login_status(p);
        if (got != rows[i].status)
            fail_msg("%s: status %04x", rows[i].name, got);
        puppet_free(p);
    }
}

/* LGN-05, LGN-06, TNG-13, TNG-16, LGN-02: the ways through the stages. */
static void
ways_through_the_stages(void **state)
{
    static const struct {
        uint8_t flags[4];
        uint16_t status; /* of the last one */
        const char *keys;
    } rows[] = {
        {{0x87}, 0, NULL},       /* 1 to 3 */
        {{0x81, 0x87}, 0, NULL}, /* 0 to 1, 1 to 3 */
        {{0x83}, 0, NULL},       /* 0 to 3 */
        {{0x01, 0x81, 0x04, 0x87}, 0, NULL},
        {{0x04, 0x04, 0x04, 0x87}, 0, NULL},
        {{0x81, 0x81}, 0x0200, NULL}, /* back to 0 */
        {{0x04, 0x81}, 0x0200, NULL},
        {{0x01, 0x87}, 0x0200, NULL}, /* on to 1, without transit */
        {{0x81, 0x8f}, 0x0200, NULL}, /* 3 is no stage of a login */
        {{0x85}, 0x0200, NULL},       /* transit from 1 to 1 */
        {{0x84}, 0x0200, NULL},       /* from 1 to 0 */
        {{0x80}, 0x0200, NULL},       /* from 0 to 0 */
        {{0x8b}, 0x0200, NULL},       /* there is no stage 2 */
        {{0x82}, 0x0200, NULL},
        {{0x04, 0x87}, 0x0200, "MaxBurstLength=512"}, /* a key twice, in two PDUs */
    };

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct puppet *p = puppet_new(*state, 1);
        char text[200];
        size_t key = rows[i].keys != NULL ? strlen(rows[i].keys) + 1 : 0;

        memcpy(text, NAMES, sizeof(NAMES));
        if (key > 0)
            memcpy(text + sizeof(NAMES), rows[i].keys, key);
        for (unsigned k = 0; k < 4 && rows[i].flags[k] != 0; k++) {
            bool last = k == 3 || rows[i].flags[k + 1] == 0;
            uint8_t f = rows[i].flags[k];
            uint16_t got;

            f = f & 0x80 ? f : (uint8_t)(f & 0x0c);
            if (k == 0)
                puppet_login_send(p, f, text, sizeof(NAMES) + key);
            else
                puppet_login_send(p, f, rows[i].keys, key);
            got = puppet_login_status(p);
            if (got != (last ? rows[i].status : 0))
                fail_msg("row %zu, request %u: status %04x", i, k, got);
            if (got == 0) /* it leaves the stage when it is asked to */
                assert_int_equal(p->rx.h.login_rsp.flags & ISCSI_LOGIN_TRANSIT, f & 0x80);
        }
        if (rows[i].status != 0)
            puppet_expect_close(p);
        puppet_free(p);
    }
}

/* TNG-16: one key in each exchange is fine, and there is an end. */
static void
exchanges_have_an_end(void **state)
{
    struct puppet *p = puppet_new(*state, 1);
    unsigned n;

    puppet_login_send(p, OPER, KEYS(NAMES));
    assert_int_equal(puppet_login_status(p), 0);
    for (n = 0; n < 1000; n++) {
        char key[32];
        int len = snprintf(key, sizeof(key), "X-%u=1", n);

        puppet_login_send(p, OPER, key, (size_t)len + 1);
        if (puppet_login_status(p) != 0)
            break;
    }
    assert_true(n >= 6 && n < 1000);
    assert_int_equal(p->rx.h.login_rsp.status_class, ISCSI_LOGIN_INITIATOR_ERROR);
    puppet_expect_close(p);
    puppet_free(p);
}

/* LGN-02, LGN-09, LGN-19: nothing follows a login before its answer, and nothing is left of a login
 * that failed. */
static void
logins_that_come_to_nothing(void **state)
{
    struct world *w = *state;
    struct target_stats st;

    for (unsigned i = 0; i < 40; i++) {
        struct puppet *p = puppet_new(w, 1);
        uint8_t both[2 * ISCSI_BHS_LEN + sizeof(NAMES) + 4] = {0};
        struct bhs_login_req h;
        uint32_t len = sizeof(NAMES), at = ISCSI_BHS_LEN + len + pdu_pad(len);

        bhs_init(&h, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE, i % 4 < 2 ? TO_FFP : OPER);
        memcpy(h.isid, p->isid, sizeof(h.isid));
        h.itt = put32(7);
        h.dseg_len = put24(len);
        memcpy(both, &h, ISCSI_BHS_LEN);
        memcpy(both + ISCSI_BHS_LEN, NAMES, len);
        judge_sent(&p->judge, &h, (const uint8_t *)NAMES, len);
        if (i % 4 == 0) { /* a command that cannot know whether it is logged in */
            bhs_init(both + at, ISCSI_OP_NOP_OUT | ISCSI_OP_IMMEDIATE, ISCSI_FLAG_FINAL);
            puppet_send_raw(p, both, at + ISCSI_BHS_LEN);
            while (puppet_recv(p) == GOT_PDU)
                ;
            puppet_expect_close(p);
        } else if (i % 4 == 1) { /* cut */
            puppet_send_raw(p, both, ISCSI_BHS_LEN + 1 + i);
        } else if (i % 4 == 2) {
            puppet_send_raw(p, both, at);
        } else {
            puppet_send_raw(p, both, at);
            assert_int_equal(puppet_login_status(p), 0);
            puppet_login_send(p, TO_FFP, KEYS("MaxBurstLength=1\0MaxBurstLength=2"));
            assert_int_equal(puppet_login_status(p), 0x0200);
        }
        puppet_free(p);
    }
    target_stats(w->target, &st);
    assert_int_equal(st.sessions, 0);
    assert_int_equal(st.conns, 0);
}

/* TNG-04: 8192 bytes of text in one PDU, and more in several. */
static void
long_texts_are_taken(void **state)
{
    static char text[3 * ISCSI_LOGIN_DSEG_MAX];

    for (unsigned pieces = 1; pieces <= 2; pieces++) {
        struct puppet *p = puppet_new(*state, 1);
        size_t len = sizeof(NAMES), all = pieces * ISCSI_LOGIN_DSEG_MAX;

        memcpy(text, NAMES, sizeof(NAMES));
        for (unsigned i = 0; len + 206 <= all; i++)
            len += (size_t)sprintf(text + len, "X-%03u=%0*d", i, 200, 0) + 1;
        if (pieces == 2) {
            puppet_login_send(p, OPER | ISCSI_LOGIN_CONTINUE, text, ISCSI_LOGIN_DSEG_MAX);
            assert_int_equal(puppet_login_status(p), 0);
            assert_int_equal(p->rx.len, 0);
            puppet_login_send(p, TO_FFP, text + ISCSI_LOGIN_DSEG_MAX, len - ISCSI_LOGIN_DSEG_MAX);
        } else {
            puppet_login_send(p, TO_FFP, text, len);
        }
        assert_int_equal(puppet_login_status(p), 0);
        assert_true(puppet_text_has(&p->rx, "X-030=NotUnderstood"));
        puppet_free(p);
    }
}

/* ID-18: a session begins with the defaults, not with what an older one of the port agreed on. */
static void
sessions_begin_with_the_defaults(void **state)
{
    struct puppet *p, *q;
    uint8_t cdb[CDB_MAX];

    p = puppet_session(*state, KEYS("MaxBurstLength=512\0FirstBurstLength=512\0"
                                    "MaxRecvDataSegmentLength=512\0HeaderDigest=CRC32C"));
    q = puppet_new(*state, 1);
    assert_int_equal(puppet_login(q, KEYS("")), 0);
    puppet_clear_ua(q); /* without digests */
    puppet_expect_close(p);
    (void)cdb_write10(cdb, 0, 1024, 0);
    (void)puppet_cmd(q, 0, WR, cdb, 1024 * 512, NULL, 0);
    assert_int_equal(get32(puppet_expect(q, ISCSI_OP_R2T)->h.r2t.desired_len), 262144);
    (void)cdb_read10(cdb, 0, 16, 0);
    (void)puppet_cmd(q, 0, RD, cdb, 16 * 512, NULL, 0);
    while (puppet_recv(q) == GOT_PDU && pdu_opcode(&q->rx.h.h) == ISCSI_OP_R2T)
        ;
    assert_int_equal(pdu_opcode(&q->rx.h.h), ISCSI_OP_DATA_IN);
    assert_int_equal(q->rx.len, 8192); /* in one PDU */
    puppet_free(p);
    puppet_free(q);
}

/* ---- Text
 * ---------------------------------------------------------------------------------------- */

static void
text_send(struct puppet *p, uint8_t flags, uint32_t ttt, const char *text, size_t len)
{
    struct bhs_text_req h;

    bhs_init(&h, ISCSI_OP_TEXT_REQ, flags);
    h.itt = put32(5);
    h.ttt = put32(ttt);
    h.cmd_sn = put32(p->cmd_sn++);
    puppet_send(p, &h, text, (uint32_t)len);
}

/* The length of the first Data-In of a read of 4096 bytes; the command is gone through. */
static uint32_t
first_piece(struct puppet *p)
{
    uint8_t cdb[CDB_MAX];
    uint32_t first;

    (void)cdb_read10(cdb, 0, 8, 0);
    (void)puppet_cmd(p, 0, RD, cdb, 4096, NULL, 0);
    first = puppet_expect(p, ISCSI_OP_DATA_IN)->len;
    if (!(p->rx.h.data_in.flags & ISCSI_DATA_IN_STATUS))
        assert_int_equal(puppet_status(p, NULL, NULL, NULL), SCSI_GOOD);
    return first;
}

/* TNG-14, KEY-04: what a Text negotiation changes holds from its end on, and not if it has none. */
static void
text_values_hold_at_the_end(void **state)
{
    struct puppet *p = puppet_session(*state, KEYS(""));
    uint32_t ttt;

    assert_int_equal(first_piece(p), 4096);
    text_send(p, 0, ISCSI_TAG_RSVD, KEYS("MaxRecvDataSegmentLength=512"));
    ttt = get32(puppet_expect(p, ISCSI_OP_TEXT_RSP)->h.text_rsp.ttt);
    assert_int_equal(first_piece(p), 4096);
    text_send(p, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, NULL, 0); /* another one; that is forgotten */
    (void)puppet_expect(p, ISCSI_OP_TEXT_RSP);
    p->judge.limit = 8192;
    assert_int_equal(first_piece(p), 4096);
    text_send(p, ISCSI_FLAG_FINAL, ttt, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    text_send(p, 0, ISCSI_TAG_RSVD, KEYS("MaxRecvDataSegmentLength=2048"));
    ttt = get32(puppet_expect(p, ISCSI_OP_TEXT_RSP)->h.text_rsp.ttt);
    text_send(p, ISCSI_FLAG_FINAL, ttt + 1, NULL, 0);
    puppet_expect_reject(p, ISCSI_REJECT_INVALID_FIELD);
    assert_int_equal(first_piece(p), 4096);
    text_send(p, 0, ISCSI_TAG_RSVD, KEYS("MaxRecvDataSegmentLength=1024"));
    ttt = get32(puppet_expect(p, ISCSI_OP_TEXT_RSP)->h.text_rsp.ttt);
    text_send(p, ISCSI_FLAG_FINAL, ttt, NULL, 0);
    assert_int_equal(puppet_expect(p, ISCSI_OP_TEXT_RSP)->h.text_rsp.flags, ISCSI_FLAG_FINAL);
    assert_int_equal(first_piece(p), 1024);
    puppet_free(p);
}

/* TXT-01, TXT-03, TXT-04, TXR-01, TXR-02, LGN-13: texts that go wrong are rejected and forgotten.
 */
static void
bad_text_requests(void **state)
{
    static const struct {
        uint8_t flags, reason;
        uint32_t ttt;
        const char *text;
        size_t len;
    } rows[] = {
        {ISCSI_FLAG_FINAL | ISCSI_TEXT_CONTINUE, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD,
         KEYS("SendTargets=")},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_INVALID_FIELD, 12345, NULL, 0},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD, KEYS("NoEquals")},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD, "SendTargets=", 12},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD,
         KEYS("MaxRecvDataSegmentLength=512\0MaxRecvDataSegmentLength=512")},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD,
         KEYS("MaxBurstLength=512")}, /* only in a login */
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD,
         KEYS("InitiatorName=" INITIATOR)},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD, KEYS("HeaderDigest=None")},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD, KEYS("SendTargets=All")},
        {ISCSI_FLAG_FINAL, ISCSI_REJECT_PROTOCOL_ERROR, ISCSI_TAG_RSVD,
         KEYS("MaxRecvDataSegmentLength=1")},
    };
    struct puppet *p = puppet_session(*state, KEYS(""));

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        text_send(p, rows[i].flags, rows[i].ttt, rows[i].text, rows[i].len);
        puppet_expect_reject(p, rows[i].reason);
    }
    p->judge.limit_next = 8192;
    text_send(p, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, KEYS("X-a=1\0SendTargets="));
    (void)puppet_expect(p, ISCSI_OP_TEXT_RSP);
    assert_int_equal(p->rx.h.text_rsp.flags, ISCSI_FLAG_FINAL);
    assert_true(puppet_text_has(&p->rx, "X-a=NotUnderstood"));
    assert_true(puppet_text_has(&p->rx, "TargetName=" IQN));
    puppet_free(p);
}

/* ---- discovery
 * ----------------------------------------------------------------------------------- */

/* DSC-04, DSC-06, DSC-07, ID-15, KEY-09: all that is told can be logged in to, at each address that
 * is told, and has the portal group that is told. */
static void
discovery_tells_what_can_be_reached(void **state)
{
    const struct lu_config luns[2] = {
        {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1},
        {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1},
    };
    const struct target_node_config n[2] = {
        {.name = IQN, .luns = luns, .luns_count = 2},
        {.name = IQN "2", .luns = luns, .luns_count = 1},
    };
    struct sock_addr first, second;
    struct text_iter it;
    struct text_pair pair;
    struct puppet *p, *q;
    char target[ISCSI_NAME_MAX + 1] = "";
    unsigned names = 0, addresses = 0;
    struct world w;

    (void)state;
    world_new(&w, n, 2);
    first = second = w.addr;
    ((struct sockaddr_in *)(void *)&second.ss)->sin_port = 0;
    assert_int_equal(target_listen(w.target, &second, &second, NULL), 0);
    p = puppet_new(&w, 1);
    puppet_login_send(p, TO_FFP,
                      KEYS("InitiatorName=" INITIATOR
                           "\0SessionType=Discovery\0ErrorRecoveryLevel=2\0InitialR2T=Yes"));
    assert_int_equal(puppet_login_status(p), 0);
    assert_true(puppet_text_has(&p->rx, "ErrorRecoveryLevel=0"));
    assert_true(puppet_text_has(&p->rx, "InitialR2T=Irrelevant")); /* KEY-15 */
    text_send(p, ISCSI_FLAG_FINAL, ISCSI_TAG_RSVD, KEYS("SendTargets=All"));
    (void)puppet_expect(p, ISCSI_OP_TEXT_RSP);
    text_iter_init(&it, (const char *)p->rx.data, p->rx.len);
    while (text_next(&it, &pair, NULL) == 1) {
        struct sock_addr at = w.addr;
        char text[400];
        unsigned port, tag;
        int len;

        if (text_is(pair.key, pair.key_len, "TargetName")) {
            assert_int_equal(addresses, 2 * names); /* the group's are together */
            (void)snprintf(target, sizeof(target), "%.*s", (int)pair.value_len, pair.value);
            names++;
            continue;
        }
        assert_true(text_is(pair.key, pair.key_len, "TargetAddress"));
        addresses++;
        (void)snprintf(text, sizeof(text), "%.*s", (int)pair.value_len, pair.value);
        assert_int_equal(sscanf(text, "127.0.0.1:%u,%u", &port, &tag), 2);
        ((struct sockaddr_in *)(void *)&at.ss)->sin_port = htons((uint16_t)port);
        w.addr = at;
        q = puppet_new(&w, (uint8_t)(10 + addresses));
        len = snprintf(text, sizeof(text), "InitiatorName=" INITIATOR "%cTargetName=%s", 0, target);
        puppet_login_send(q, TO_FFP, text, (size_t)len + 1);
        assert_int_equal(puppet_login_status(q), 0);
        (void)snprintf(text, sizeof(text), "TargetPortalGroupTag=%u", tag);
        assert_true(puppet_text_has(&q->rx, text));
        puppet_free(q);
    }
    assert_int_equal(names, 2);
    assert_int_equal(addresses, 4);
    puppet_free(p);

    p = puppet_session(&w, KEYS("MaxConnections=2")); /* both portals are of one group */
    assert_memory_equal(&w.addr.ss, &second.ss, second.len);
    w.addr = first;
    q = puppet_new(&w, 1);
    q->tsih = p->tsih;
    q->cid = 1;
    assert_int_equal(puppet_login(q, KEYS("")), 0);
    puppet_free(p);
    puppet_free(q);
    world_free(&w);
}

/* KEY-13: no digest can be set that RFC 7143 does not have. */
static void
no_digests_of_others(void **state)
{
    static const char *const lists[] = {"Y-crc64.example,CRC32C", "MD5", "", "CRC32C,,None",
                                        "none"};
    const struct lu_config lun = {.kind = LU_RAM, .size = 1 << 20, .lun = -1, .wce = -1};
    struct world *w = *state;

    for (size_t i = 0; i < 2 * sizeof(lists) / sizeof(lists[0]); i++) {
        const struct target_key_value set = {i % 2 == 0 ? "HeaderDigest" : "DataDigest",
                                             lists[i / 2]};
        const struct target_node_config n = {
            .name = IQN, .luns = &lun, .luns_count = 1, .set = &set, .set_count = 1};
        const struct target_config cfg = {.nodes = &n, .nodes_count = 1};
        struct lunette_error err;
        struct target *t;

        if (target_new(w->loop, &cfg, &t, &err) != -EINVAL)
            fail_msg("%s=%s is taken", set.key, set.value);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_offer_is_answered, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(levels_are_the_lower_ones, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(keys_depend_on_each_other, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(bad_texts_are_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(bad_names_are_refused, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(ways_through_the_stages, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(exchanges_have_an_end, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(logins_that_come_to_nothing, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(long_texts_are_taken, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(sessions_begin_with_the_defaults, world_setup,
                                        world_teardown),
        cmocka_unit_test_setup_teardown(text_values_hold_at_the_end, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(bad_text_requests, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(no_digests_of_others, world_setup, world_teardown),
        cmocka_unit_test(discovery_tells_what_can_be_reached),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
