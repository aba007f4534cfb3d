/* SPDX-License-Identifier: MIT */
/* KEY-01: each row of the table x each kind of value; and the table against what RFC 7143 says,
 * written down here once more. */
#include "tests/test.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "wire/bhs.h"
#include "wire/keys.h"
#include "wire/params.h"
#include "wire/text.h"

/* RFC 7143 12, 13; RFC 7145 6.  use and stage: bits, 0: never sent by that side */
static const struct {
    const char *name, *def;
    uint64_t min, max;
    enum key_result result;
    int use_i, use_t;
    unsigned stage;
} rfc[] = {
    {"HeaderDigest", "None", 1, 255, KEY_RESULT_FIRST, 2, 2, 2},
    {"DataDigest", "None", 1, 255, KEY_RESULT_FIRST, 2, 2, 2},
    {"MaxConnections", "1", 1, 65535, KEY_RESULT_MIN, 3, 3, 2},
    {"SendTargets", NULL, 0, 255, KEY_RESULT_QUERY, 4, 0, 2},
    {"TargetName", NULL, 1, 223, KEY_RESULT_DECLARE, 2, 4, 3},
    {"InitiatorName", NULL, 1, 223, KEY_RESULT_DECLARE, 2, 0, 3},
    {"TargetAlias", NULL, 0, 255, KEY_RESULT_DECLARE, 0, 6, 3},
    {"InitiatorAlias", NULL, 0, 255, KEY_RESULT_DECLARE, 6, 0, 3},
    {"TargetAddress", NULL, 1, 255, KEY_RESULT_DECLARE, 0, 6, 3},
    {"TargetPortalGroupTag", NULL, 0, 65535, KEY_RESULT_DECLARE, 0, 2, 3},
    {"InitialR2T", "Yes", 0, 1, KEY_RESULT_OR, 3, 3, 2},
    {"ImmediateData", "Yes", 0, 1, KEY_RESULT_AND, 3, 3, 2},
    {"MaxRecvDataSegmentLength", "8192", 512, 16777215, KEY_RESULT_DECLARE, 6, 6, 2},
    {"MaxBurstLength", "262144", 512, 16777215, KEY_RESULT_MIN, 3, 3, 2},
    {"FirstBurstLength", "65536", 512, 16777215, KEY_RESULT_MIN, 3, 3, 2},
    {"DefaultTime2Wait", "2", 0, 3600, KEY_RESULT_MAX, 3, 3, 2},
    {"DefaultTime2Retain", "20", 0, 3600, KEY_RESULT_MIN, 3, 3, 2},
    {"MaxOutstandingR2T", "1", 1, 65535, KEY_RESULT_MIN, 3, 3, 2},
    {"DataPDUInOrder", "Yes", 0, 1, KEY_RESULT_OR, 3, 3, 2},
    {"DataSequenceInOrder", "Yes", 0, 1, KEY_RESULT_OR, 3, 3, 2},
    {"ErrorRecoveryLevel", "0", 0, 2, KEY_RESULT_MIN, 3, 3, 2},
    {"SessionType", "Normal", 1, 255, KEY_RESULT_DECLARE, 3, 0, 3},
    {"TaskReporting", "RFC3720", 1, 255, KEY_RESULT_FIRST, 3, 3, 2},
    {"iSCSIProtocolLevel", "1", 0, 31, KEY_RESULT_MIN, 3, 3, 2},
    {"X#NodeArchitecture", NULL, 0, 255, KEY_RESULT_DECLARE, 3, 3, 3},
    {"IFMarker", "No", 0, 1, KEY_RESULT_REJECT, 3, 3, 2},
    {"OFMarker", "No", 0, 1, KEY_RESULT_REJECT, 3, 3, 2},
    {"IFMarkInt", NULL, 1, 65535, KEY_RESULT_REJECT, 3, 3, 2},
    {"OFMarkInt", NULL, 1, 65535, KEY_RESULT_REJECT, 3, 3, 2},
    {"AuthMethod", NULL, 1, 255, KEY_RESULT_FIRST, 2, 2, 1},
    {"CHAP_A", NULL, 1, 255, KEY_RESULT_FIRST, 2, 2, 1},
    {"CHAP_I", NULL, 0, 255, KEY_RESULT_DECLARE, 2, 2, 1},
    {"CHAP_C", NULL, 1, 1024, KEY_RESULT_DECLARE, 2, 2, 1},
    {"CHAP_N", NULL, 1, 255, KEY_RESULT_DECLARE, 2, 2, 1},
    {"CHAP_R", NULL, 1, 1024, KEY_RESULT_DECLARE, 2, 2, 1},
    {"RDMAExtensions", "No", 0, 1, KEY_RESULT_AND, 3, 3, 2},
    {"TargetRecvDataSegmentLength", "8192", 512, 16777215, KEY_RESULT_MIN, 2, 2, 2},
    {"InitiatorRecvDataSegmentLength", "8192", 512, 16777215, KEY_RESULT_MIN, 2, 2, 2},
    {"MaxOutstandingUnexpectedPDUs", "0", 2, 4294967295, KEY_RESULT_DECLARE, 3, 3, 2},
    {"MaxAHSLength", "256", 2, 4294967295, KEY_RESULT_DECLARE, 3, 3, 2},
    {"TaggedBufferForSolicitedDataOnly", "No", 0, 1, KEY_RESULT_DECLARE, 3, 0, 2},
    {"iSERHelloRequired", "No", 0, 1, KEY_RESULT_DECLARE, 3, 0, 2},
};

static const struct key *
find(const char *name)
{
    const struct key *k = key_find(name, strlen(name));

    assert_non_null(k);
    return k;
}

static void
test_table(void **state)
{
    (void)state;
    assert_int_equal(sizeof(rfc) / sizeof(rfc[0]), KEY_COUNT);
    for (size_t i = 0; i < KEY_COUNT; i++) {
        const struct key *k = find(rfc[i].name);

        assert_ptr_equal(k, key_get(k->id));
        assert_string_equal(k->name, rfc[i].name);
        if (rfc[i].def == NULL)
            assert_null(k->def);
        else
            assert_string_equal(k->def, rfc[i].def);
        assert_true(k->min == rfc[i].min && k->max == rfc[i].max);
        assert_int_equal(k->result, rfc[i].result);
        assert_int_equal(k->use_initiator, rfc[i].use_i);
        assert_int_equal(k->use_target, rfc[i].use_t);
        assert_int_equal(k->stage, rfc[i].stage);
        assert_true(text_key_ok(k->name, strlen(k->name)));
    }
    assert_null(key_find("MaxBurstlength", 14)); /* case counts */
    assert_null(key_find("MaxBurstLengt", 13));
    assert_null(key_find("X-com.example", 13));
    assert_null(key_find("", 0));
}

static int
offer(const struct key *k, const char *value)
{
    struct key_value v = {KEY_IRRELEVANT, 4711, NULL, 0};
    struct lunette_error err = {0};
    int r = key_check_offer(k, value, strlen(value), &v, &err);

    if (r == 0) {
        assert_int_equal(v.outcome, KEY_DECLARED);
    } else {
        assert_int_equal(v.outcome, KEY_IRRELEVANT);
        assert_int_equal(err.code, r);
        assert_non_null(strstr(err.msg, k->name));
    }
    return r;
}

static const char *
num(uint64_t n)
{
    static char text[8][32];
    static unsigned at;
    char *t = text[at++ % 8];

    snprintf(t, sizeof(text[0]), "%" PRIu64, n);
    return t;
}

/* What a responder with `ours` says; "!" when the offer breaks the protocol. */
static const char *
answer(const struct key *k, const char *value, const char *ours, struct key_value *v)
{
    static char text[KEY_ANSWER_SIZE];
    struct key_value mine;

    if (v == NULL)
        v = &mine;
    if (key_answer(k, value, strlen(value), ours, text, v, NULL) < 0)
        return "!";
    if (v->outcome == KEY_REJECTED)
        assert_string_equal(text, "Reject");
    if (v->outcome == KEY_DECLARED)
        assert_string_equal(text, "");
    return text;
}

/* The offerer's view; -EPROTO or the outcome. */
static int
accept_answer(const struct key *k, const char *offered, const char *answered, struct key_value *v)
{
    struct key_value mine;
    int r;

    if (v == NULL)
        v = &mine;
    v->outcome = KEY_DECLARED;
    r = key_check_answer(k, offered, answered, strlen(answered), v, NULL);
    if (r < 0) {
        assert_int_equal(v->outcome, KEY_DECLARED);
        return r;
    }
    return (int)v->outcome;
}

/* For every row: reserved words (TNG-11) as offers and answers. */
/* What is wrong is said with what is allowed. */
static void
test_words_of_values(void **state)
{
    static const struct {
        enum key_id id;
        const char *value, *says;
    } rows[] = {
        {KEY_MAX_CONNECTIONS, "0", "MaxConnections=0: out of range: want 1..65535"},
        {KEY_MAX_CONNECTIONS, "-1", "MaxConnections=-1: not a number: want 1..65535"},
        {KEY_MAX_CONNECTIONS, "", "MaxConnections=: not a number: want 1..65535"},
        {KEY_ERROR_RECOVERY_LEVEL, "x", "ErrorRecoveryLevel=x: not a number: want 0..2"},
        {KEY_INITIAL_R2T, "1", "InitialR2T=1: want Yes or No"},
    };
    struct lunette_error err;
    struct key_value v;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_true(key_check_offer(key_get(rows[i].id), rows[i].value, strlen(rows[i].value), &v,
                                    &err) < 0);
        assert_string_equal(err.msg, rows[i].says);
    }
}

static void
test_reserved_words(void **state)
{
    static const char *words[] = {"Reject", "Irrelevant", "NotUnderstood"};

    (void)state;
    for (int id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);
        bool none_ok = k->type == KEY_TYPE_LIST || k->type == KEY_TYPE_TEXT;

        for (int w = 0; w < 3; w++) {
            assert_int_equal(offer(k, words[w]), -EPROTO);
            assert_string_equal(answer(k, words[w], "x", NULL), "!");
        }
        if (!none_ok)
            assert_int_equal(offer(k, "None"), -EPROTO);
        else if (k->id != KEY_SESSION_TYPE)
            assert_int_equal(offer(k, "None"), 0);
        if (k->type == KEY_TYPE_LIST)
            assert_int_equal(offer(k, "CRC32C,Reject"), -EPROTO);
        assert_int_equal(accept_answer(k, "1", "Reject", NULL), KEY_REJECTED);
        assert_int_equal(accept_answer(k, "1", "Irrelevant", NULL), KEY_IRRELEVANT);
        /* TNG-10 */
        assert_int_equal(accept_answer(k, "1", "NotUnderstood", NULL),
                         (k->flags & KEY_FLAG_LATER) != 0 ? KEY_NOT_UNDERSTOOD : -EPROTO);
    }
    assert_true((key_get(KEY_PROTOCOL_LEVEL)->flags & KEY_FLAG_LATER) != 0);
    assert_true((key_get(KEY_TASK_REPORTING)->flags & KEY_FLAG_LATER) != 0);
    assert_true((key_get(KEY_MAX_BURST)->flags & KEY_FLAG_LATER) == 0);
}

/* A number row: below min, min, mid, max, above max, no number. */
static void
num_row(const struct key *k)
{
    static const char *bad[] = {"",   "-1",  "1k",  "0x",
                                "01", "Yes", "1,2", "99999999999999999999999"};
    uint64_t mid = k->min + (k->max - k->min) / 2;
    struct key_value v;
    char hex[32];

    if (k->min > 0) {
        bool zero = (k->flags & KEY_FLAG_ZERO) != 0;

        assert_int_equal(offer(k, num(k->min - 1)), -ERANGE);
        assert_int_equal(offer(k, "0"), zero ? 0 : -ERANGE);
    }
    assert_int_equal(offer(k, num(k->min)), 0);
    assert_int_equal(offer(k, num(mid)), 0);
    assert_int_equal(offer(k, num(k->max)), 0);
    assert_int_equal(offer(k, num(k->max + 1)), -ERANGE);
    snprintf(hex, sizeof(hex), "0x%" PRIx64, mid);
    assert_int_equal(key_check_offer(k, hex, strlen(hex), &v, NULL), 0);
    assert_true(v.num == mid);
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
        assert_true(offer(k, bad[i]) < 0);
    assert_int_equal(offer(k, "Yes"), -EINVAL);
}

/* MIN and MAX rows: the answer, and what the offerer takes (KEY-02). */
static void
function_row(const struct key *k)
{
    const bool is_min = k->result == KEY_RESULT_MIN;
    uint64_t mid = k->min + (k->max - k->min) / 2, values[3];
    struct key_value v;

    values[0] = k->min;
    values[1] = mid;
    values[2] = k->max;
    for (int o = 0; o < 3; o++) {
        for (int m = 0; m < 3; m++) {
            uint64_t want = values[is_min ? (o < m ? o : m) : (o > m ? o : m)];

            assert_string_equal(answer(k, num(values[o]), num(values[m]), &v), num(want));
            assert_int_equal(v.outcome, KEY_AGREED);
            assert_true(v.num == want);
            /* values[m] as the answer to our offer values[o] */
            assert_int_equal(accept_answer(k, num(values[o]), num(values[m]), &v),
                             (is_min ? values[m] <= values[o] : values[m] >= values[o])
                                 ? (int)KEY_AGREED
                                 : -EPROTO);
        }
    }
    if (k->min > 0) {
        assert_string_equal(answer(k, num(k->min - 1), num(mid), NULL), "Reject");
        assert_int_equal(accept_answer(k, num(k->max), num(k->min - 1), NULL), -EPROTO);
    }
    assert_string_equal(answer(k, num(k->max + 1), num(mid), NULL), "Reject");
    assert_string_equal(answer(k, "many", num(mid), NULL), "Reject");
    assert_int_equal(accept_answer(k, num(k->max), num(k->max + 1), NULL), -EPROTO);
    assert_int_equal(accept_answer(k, num(mid), "", NULL), -EPROTO);
    assert_int_equal(accept_answer(k, num(mid), "Yes", NULL), -EPROTO);
    assert_int_equal(accept_answer(k, num(mid), "None", NULL), -EPROTO);
    assert_false(key_answer_optional(k, num(mid)));
}

static void
bool_row(const struct key *k)
{
    static const char *words[] = {"No", "Yes"};
    const bool is_and = k->result == KEY_RESULT_AND, is_or = k->result == KEY_RESULT_OR;
    struct key_value v;

    assert_int_equal(offer(k, "Yes"), 0);
    assert_int_equal(offer(k, "No"), 0);
    assert_int_equal(offer(k, "yes"), -EINVAL);
    assert_int_equal(offer(k, "1"), -EINVAL);
    assert_int_equal(offer(k, ""), -EINVAL);
    for (int o = 0; o < 2 && (is_and || is_or); o++) {
        for (int m = 0; m < 2; m++) {
            int want = is_and ? o && m : o || m;

            assert_string_equal(answer(k, words[o], words[m], &v), words[want]);
            assert_int_equal(v.num, want);
            assert_int_equal(accept_answer(k, words[o], words[m], &v),
                             (is_and ? m <= o : m >= o) ? (int)KEY_AGREED : -EPROTO);
        }
        assert_int_equal(key_answer_optional(k, words[o]), is_and ? o == 0 : o == 1); /* TNG-07 */
    }
    if (is_and || is_or)
        assert_string_equal(answer(k, "1", "Yes", NULL), "Reject");
}

static void
text_row(const struct key *k)
{
    char text[300];

    memset(text, 'a', sizeof(text));
    for (size_t len = 0; len <= 256; len++) {
        struct key_value v;
        bool ok = len >= k->min && len <= k->max;

        assert_int_equal(key_check_offer(k, text, len, &v, NULL), ok ? 0 : -ERANGE);
        if (ok)
            assert_true(v.text == text && v.len == len);
    }
}

static void
binary_row(const struct key *k)
{
    uint8_t data[1025] = {1};
    char text[TEXT_HEX_SIZE(1025)];
    struct key_value v;
    struct lunette_error err;

    for (size_t len = 1; len <= 1025; len = len == 1 ? 16 : len == 16 ? 1024 : len + 1) {
        int n = text_format_hex(text, sizeof(text), data, len);

        assert_int_equal(key_check_offer(k, text, (size_t)n, &v, NULL), len <= 1024 ? 0 : -ERANGE);
        if (len <= 1024)
            assert_int_equal(v.num, len);
        n = text_format_base64(text, sizeof(text), data, len);
        assert_int_equal(key_check_offer(k, text, (size_t)n, &v, NULL), len <= 1024 ? 0 : -ERANGE);
    }
    assert_int_equal(offer(k, "0x"), -EINVAL);
    assert_int_equal(offer(k, ""), -EINVAL);
    assert_int_equal(offer(k, "12"), -EINVAL);
    /* what the peer proves its secret with is not in messages */
    assert_int_equal(key_check_offer(k, "0xdeadbeefzz", 12, &v, &err), -EINVAL);
    assert_null(strstr(err.msg, "dead"));
}

static void
list_row(const struct key *k)
{
    assert_int_equal(offer(k, ""), -EINVAL);
    assert_int_equal(offer(k, ","), -EINVAL);
    if (k->result == KEY_RESULT_FIRST) {
        assert_int_equal(offer(k, "Unknown,None"), 0);
        assert_int_equal(offer(k, "None,"), -EINVAL);
        assert_string_equal(answer(k, "Unknown", "5,None,CHAP", NULL), "Reject");
        assert_string_equal(answer(k, "None,", "None", NULL), "Reject");
        assert_int_equal(accept_answer(k, "A,B", "B", NULL), KEY_AGREED);
        assert_int_equal(accept_answer(k, "A,B", "C", NULL), -EPROTO);
        assert_int_equal(accept_answer(k, "A,B", "A,B", NULL), -EPROTO);
        assert_int_equal(accept_answer(k, "A,B", "", NULL), -EPROTO);
        assert_int_equal(accept_answer(k, "A,B", "None", NULL), -EPROTO);
        assert_int_equal(accept_answer(k, "A,None", "None", NULL), KEY_AGREED);
        assert_false(key_answer_optional(k, "A"));
    }
}

static void
declared_row(const struct key *k, const char *good, const char *bad)
{
    struct key_value v;

    assert_string_equal(answer(k, good, "x", &v), "");
    assert_int_equal(v.outcome, KEY_DECLARED);
    if (bad != NULL) /* there is no way to refuse but to end it */
        assert_string_equal(answer(k, bad, "x", NULL), "!");
    assert_int_equal(accept_answer(k, good, good, NULL), -EPROTO);
    assert_true(key_answer_optional(k, good));
}

static void
test_rows(void **state)
{
    (void)state;
    for (int id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);

        switch (k->type) {
        case KEY_TYPE_NUM:
            num_row(k);
            if (k->result == KEY_RESULT_DECLARE)
                declared_row(k, num(k->max), num(k->max + 1));
            else
                function_row(k);
            break;
        case KEY_TYPE_BOOL:
            bool_row(k);
            if (k->result == KEY_RESULT_DECLARE)
                declared_row(k, "Yes", "yes");
            break;
        case KEY_TYPE_LIST:
            list_row(k);
            break;
        case KEY_TYPE_NAME:
        case KEY_TYPE_TEXT:
            text_row(k);
            declared_row(k, "iqn.x", NULL);
            break;
        case KEY_TYPE_BINARY:
            binary_row(k);
            declared_row(k, "0x01", "hello");
            break;
        case KEY_TYPE_RANGE:
            assert_int_equal(offer(k, "1~65535"), 0);
            assert_int_equal(offer(k, "0~65535"), -ERANGE);
            assert_int_equal(offer(k, "1~65536"), -ERANGE);
            assert_int_equal(offer(k, "5"), -EINVAL);
            break;
        }
    }
}

/* TNG-09, SEC-02: the offerer's order counts */
static void
test_lists(void **state)
{
    const struct key *d = key_get(KEY_HEADER_DIGEST), *a = key_get(KEY_AUTH_METHOD);
    struct key_value v;

    (void)state;
    assert_string_equal(answer(d, "CRC32C,None", "None,CRC32C", &v), "CRC32C");
    assert_int_equal(v.num, ISCSI_DIGEST_CRC32C);
    assert_string_equal(answer(d, "None,CRC32C", "CRC32C,None", &v), "None");
    assert_int_equal(v.num, ISCSI_DIGEST_NONE);
    assert_string_equal(answer(d, "Y-com.example.x,CRC32C", "None,CRC32C", &v), "CRC32C");
    assert_string_equal(answer(d, "CRC32C", "None", &v), "Reject");
    assert_string_equal(answer(d, "crc32c", "CRC32C", &v), "Reject");
    assert_int_equal(accept_answer(d, "CRC32C,None", "CRC32C", &v), KEY_AGREED);
    assert_int_equal(v.num, ISCSI_DIGEST_CRC32C);
    assert_int_equal(accept_answer(d, "CRC32C", "None", &v), -EPROTO);
    assert_string_equal(answer(a, "KRB5,CHAP,None", "CHAP", &v), "CHAP");
    assert_string_equal(answer(a, "None", "CHAP", &v), "Reject");
    assert_string_equal(answer(key_get(KEY_CHAP_A), "7,5", "5,7", &v), "7");
    assert_int_equal(v.num, 7);
    assert_int_equal(accept_answer(key_get(KEY_CHAP_A), "7,5", "9", &v), -EPROTO);
    assert_int_equal(accept_answer(key_get(KEY_CHAP_A), "7,5", "5", &v), KEY_AGREED);
    assert_int_equal(v.num, 5);
    assert_string_equal(
        answer(key_get(KEY_TASK_REPORTING), "FastAbort,ResponseFence", "RFC3720,ResponseFence", &v),
        "ResponseFence");
    assert_int_equal(v.num, ISCSI_TASK_RESPONSE_FENCE);
    /* a list as long as the key allows */
    char longest[256];

    memset(longest, 'a', sizeof(longest));
    longest[255] = '\0';
    assert_int_equal(offer(d, longest), 0);
    assert_string_equal(answer(d, longest, longest, &v), longest);
}

/* KEY-10, and other single rules */
static void
test_special(void **state)
{
    static const char *markers[] = {"IFMarker", "OFMarker", "IFMarkInt", "OFMarkInt"};
    struct key_value v;

    (void)state;
    for (int i = 0; i < 4; i++) {
        assert_string_equal(answer(find(markers[i]), "No", "No", NULL), "Reject");
        assert_string_equal(answer(find(markers[i]), "Yes", "No", NULL), "Reject");
        assert_string_equal(answer(find(markers[i]), "2048~65535", "No", NULL), "Reject");
    }
    assert_string_equal(answer(key_get(KEY_SESSION_TYPE), "Discovery", "", &v), "");
    assert_int_equal(v.num, ISCSI_SESSION_DISCOVERY);
    assert_string_equal(answer(key_get(KEY_SESSION_TYPE), "discovery", "", &v), "!");
    assert_string_equal(answer(key_get(KEY_SESSION_TYPE), "Normal,Discovery", "", &v), "!");
    assert_string_equal(answer(key_get(KEY_SEND_TARGETS), "", "", &v), "");
    assert_string_equal(answer(key_get(KEY_SEND_TARGETS), "All", "", &v), "");
    assert_int_equal(key_value_max("CHAP_C", 6), 2050);
    assert_int_equal(key_value_max("MaxBurstLength", 14), 255);
    assert_int_equal(key_value_max("Whatever", 8), 255);
}

/* LGN-11, LGN-13 */
static void
test_context(void **state)
{
    static const struct {
        enum key_id id;
        struct key_context c;
        int r;
    } rows[] = {
        {KEY_MAX_BURST, {false, true, false, KEY_STAGE_OPER}, 0},
        {KEY_MAX_BURST, {true, true, false, KEY_STAGE_OPER}, 0},
        {KEY_MAX_BURST, {false, true, false, KEY_STAGE_SEC}, -EPROTO},
        {KEY_MAX_BURST, {false, false, false, KEY_STAGE_OPER}, -EPROTO},
        {KEY_MAX_BURST, {false, true, false, 0}, -EPROTO},
        {KEY_CHAP_A, {false, true, false, KEY_STAGE_SEC}, 0},
        {KEY_CHAP_A, {false, false, false, KEY_STAGE_SEC}, 0},
        {KEY_CHAP_A, {false, true, false, KEY_STAGE_OPER}, -EPROTO},
        {KEY_INITIATOR_NAME, {false, false, false, KEY_STAGE_OPER}, 0},
        {KEY_INITIATOR_NAME, {false, false, false, KEY_STAGE_SEC}, 0},
        {KEY_INITIATOR_NAME, {true, true, false, KEY_STAGE_SEC}, -EPROTO},
        {KEY_TARGET_NAME, {true, true, true, 0}, 0},
        {KEY_TARGET_NAME, {true, true, true, KEY_STAGE_SEC}, -EPROTO},
        {KEY_TARGET_NAME, {false, true, true, 0}, -EPROTO},
        {KEY_TARGET_ADDRESS, {true, true, false, KEY_STAGE_SEC}, 0},
        {KEY_TARGET_ADDRESS, {false, true, false, KEY_STAGE_SEC}, -EPROTO},
        {KEY_MAX_RECV_DSEG, {false, false, false, 0}, 0},
        {KEY_MAX_RECV_DSEG, {true, false, false, KEY_STAGE_OPER}, 0},
        {KEY_HEADER_DIGEST, {false, false, false, KEY_STAGE_OPER}, 0},
        {KEY_HEADER_DIGEST, {false, true, false, 0}, -EPROTO},
        {KEY_SEND_TARGETS, {false, true, true, 0}, 0},
        {KEY_SEND_TARGETS, {false, true, true, KEY_STAGE_OPER}, -EPROTO},
        {KEY_SEND_TARGETS, {true, true, true, 0}, -EPROTO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lunette_error err = {0};

        if (key_check_context(key_get(rows[i].id), &rows[i].c, &err) != rows[i].r)
            fail_msg("row %zu: %s", i, err.msg);
    }
}

/* KEY-15 */
static void
test_irrelevant(void **state)
{
    struct iscsi_params p;
    int n = 0;

    (void)state;
    params_init(&p);
    for (int id = 0; id < KEY_COUNT; id++)
        n += key_irrelevant(key_get((enum key_id)id), true, &p);
    /* 13.x "irrelevant when SessionType=Discovery": 10, and the seven of iSER */
    assert_int_equal(n, 17);
    assert_true(key_irrelevant(key_get(KEY_IMMEDIATE_DATA), true, &p));
    assert_false(key_irrelevant(key_get(KEY_TIME2WAIT), true, &p));
    assert_false(key_irrelevant(key_get(KEY_ERROR_RECOVERY_LEVEL), true, &p));
    assert_false(key_irrelevant(key_get(KEY_FIRST_BURST), false, &p));
    p.immediate_data = false;
    assert_true(key_irrelevant(key_get(KEY_FIRST_BURST), false, &p));
    p.initial_r2t = false;
    assert_false(key_irrelevant(key_get(KEY_FIRST_BURST), false, &p));
    assert_true(key_irrelevant(key_get(KEY_MAX_AHS_LENGTH), false, &p));
    assert_false(key_irrelevant(key_get(KEY_HEADER_DIGEST), false, &p));
    p.rdma_extensions = true;
    assert_false(key_irrelevant(key_get(KEY_MAX_AHS_LENGTH), false, &p));
    assert_true(key_irrelevant(key_get(KEY_HEADER_DIGEST), false, &p));
}

/* TNG-13 */
static void
test_set(void **state)
{
    struct key_set s = {0};

    (void)state;
    for (int id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);

        assert_false(key_set_has(&s, k->id));
        assert_true(key_set_add(&s, k));
        assert_true(key_set_has(&s, k->id));
        assert_int_equal(key_set_add(&s, k), k->id == KEY_TARGET_ADDRESS);
    }
}

static void
test_params(void **state)
{
    struct iscsi_params p;
    struct key_value v;
    char text[64];

    (void)state;
    params_init(&p);
    assert_int_equal(p.header_digest, ISCSI_DIGEST_NONE);
    assert_int_equal(p.max_recv_dseg, 8192);
    assert_int_equal(p.max_xmit_dseg, 8192);
    assert_int_equal(p.max_burst, 262144);
    assert_int_equal(p.first_burst, 65536);
    assert_int_equal(p.time2wait, 2);
    assert_int_equal(p.time2retain, 20);
    assert_int_equal(p.max_connections, 1);
    assert_int_equal(p.max_outstanding_r2t, 1);
    assert_int_equal(p.erl, 0);
    assert_int_equal(p.protocol_level, 1);
    assert_int_equal(p.max_ahs_len, 256);
    assert_true(p.initial_r2t && p.immediate_data && p.data_pdu_in_order &&
                p.data_sequence_in_order && !p.rdma_extensions);
    /* every field: its text is the default; a result changes it and nothing else */
    for (int id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);
        struct iscsi_params q = p;
        int n = params_format(&p, k, text, sizeof(text));

        if (k->field < 0) {
            assert_int_equal(n, -ENOENT);
            continue;
        }
        assert_string_equal(text, k->def);
        assert_int_equal(n, strlen(text));
        assert_int_equal(params_format(&p, k, text, (size_t)n), -ENOBUFS);
        v = (struct key_value){.outcome = KEY_REJECTED, .num = 1};
        params_set(&q, k, &v);
        assert_memory_equal(&p, &q, sizeof(p));
        v = (struct key_value){.outcome = KEY_AGREED, .num = strcmp(k->def, "1") == 0 ? 2 : 1};
        if (k->type == KEY_TYPE_BOOL)
            v.num = strcmp(k->def, "No") == 0;
        params_set(&q, k, &v);
        if (id == KEY_MAX_RECV_DSEG) { /* KEY-04 */
            assert_int_equal(q.max_recv_dseg, 8192);
            assert_int_equal(q.max_xmit_dseg, 1);
            continue;
        }
        params_format(&q, k, text, sizeof(text));
        assert_string_not_equal(text, k->def);
        v.outcome = KEY_AGREED;
        assert_int_equal(key_check_offer(k, k->def, strlen(k->def), &v, NULL), 0);
        params_set(&q, k, &v);
        assert_memory_equal(&p, &q, sizeof(p));
    }
}

/* TNG-15, KEY-06, KEY-07 */
static void
test_integrity(void **state)
{
    struct lunette_error err;
    struct iscsi_params p;

    (void)state;
    params_init(&p);
    assert_int_equal(params_check_integrity(&p, NULL), 0);
    p.max_burst = 65535;
    assert_int_equal(params_check_integrity(&p, &err), -EPROTO);
    assert_non_null(strstr(err.msg, "FirstBurstLength 65536"));
    p.immediate_data = false; /* FirstBurstLength is irrelevant now */
    assert_int_equal(params_check_integrity(&p, NULL), 0);
    p.initial_r2t = false;
    assert_int_equal(params_check_integrity(&p, NULL), -EPROTO);
    p.max_burst = 65536;
    assert_int_equal(params_check_integrity(&p, NULL), 0);
    p.max_outstanding_r2t = 2;
    assert_int_equal(params_check_integrity(&p, NULL), 0);
    p.erl = 1;
    assert_int_equal(params_check_integrity(&p, &err), -EPROTO);
    assert_non_null(strstr(err.msg, "MaxOutstandingR2T"));
    p.data_sequence_in_order = false;
    assert_int_equal(params_check_integrity(&p, NULL), 0);
}

/* Whatever two of our sides say to each other, the offerer takes the responder's answer and both
 * have the same value. */
static void
test_both_sides_agree(void **state)
{
    static const char *values[] = {"No",
                                   "Yes",
                                   "0",
                                   "1",
                                   "2",
                                   "31",
                                   "600",
                                   "3600",
                                   "8192",
                                   "512",
                                   "65535",
                                   "16777215",
                                   "None",
                                   "CRC32C,None",
                                   "CHAP",
                                   "5,7",
                                   "0x400",
                                   "None,CRC32C",
                                   "RFC3720,ResponseFence"};
    int agreed = 0;

    (void)state;
    for (int id = 0; id < KEY_COUNT; id++) {
        const struct key *k = key_get((enum key_id)id);

        for (size_t o = 0; o < sizeof(values) / sizeof(values[0]); o++) {
            for (size_t m = 0; m < sizeof(values) / sizeof(values[0]); m++) {
                struct key_value theirs, ours, legal;
                const char *text;

                if (key_check_offer(k, values[m], strlen(values[m]), &legal, NULL) < 0 ||
                    key_check_offer(k, values[o], strlen(values[o]), &legal, NULL) < 0)
                    continue;
                text = answer(k, values[o], values[m], &theirs);
                if (theirs.outcome == KEY_DECLARED)
                    continue;
                assert_int_equal(accept_answer(k, values[o], text, &ours), theirs.outcome);
                assert_true(ours.num == theirs.num);
                agreed += ours.outcome == KEY_AGREED;
            }
        }
    }
    assert_true(agreed > 500);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_words_of_values),
        cmocka_unit_test(test_reserved_words),
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_special),
        cmocka_unit_test(test_context),
        cmocka_unit_test(test_irrelevant),
        cmocka_unit_test(test_set),
        cmocka_unit_test(test_params),
        cmocka_unit_test(test_integrity),
        cmocka_unit_test(test_both_sides_agree),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
