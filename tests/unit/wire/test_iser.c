/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/iser.h"

/* ISR-03 */
static void
test_layout(void **state)
{
    static const struct iser_stag w = {.stag = 0x11223344, .base = 0x7f0123456789abcd};
    static const struct iser_stag r = {.stag = 0xfeedbeef, .base = 0xfedcba9876543210};
    static const uint8_t none[ISER_LEN] = {0x10};
    static const uint8_t read[ISER_LEN] = {
        0x14, 0, 0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,    0,
        0,    0, 0xfe, 0xed, 0xbe, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
    static const uint8_t write[ISER_LEN] = {0x18, 0,    0,    0,    0x11, 0x22, 0x33, 0x44,
                                            0x7f, 0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd};
    static const uint8_t both[ISER_LEN] = {
        0x1c, 0,    0,    0,    0x11, 0x22, 0x33, 0x44, 0x7f, 0x01, 0x23, 0x45, 0x67, 0x89,
        0xab, 0xcd, 0xfe, 0xed, 0xbe, 0xef, 0xfe, 0xdc, 0xba, 0x98, 0x76, 0x54, 0x32, 0x10};
    struct iser_hdr h;

    (void)state;
    memset(&h, 0xee, sizeof(h));
    iser_put(&h, NULL, NULL);
    assert_memory_equal(&h, none, sizeof(h));
    memset(&h, 0xee, sizeof(h));
    iser_put(&h, NULL, &r);
    assert_memory_equal(&h, read, sizeof(h));
    memset(&h, 0xee, sizeof(h));
    iser_put(&h, &w, NULL);
    assert_memory_equal(&h, write, sizeof(h));
    iser_put(&h, &w, &r);
    assert_memory_equal(&h, both, sizeof(h));
    assert_int_equal(ISER_HDRS_LEN, 76);
    assert_int_equal(ISER_RECV_LEN, 8268);
}

/* A message in memory of exactly its length, which iser_take must not leave. */
struct message {
    uint8_t *p;
    uint32_t len;
};

static struct message
message(uint8_t iser, uint8_t opcode, uint8_t flags, unsigned ahs_words, uint32_t dseg,
        uint32_t have)
{
    struct message m = {.len = ISER_HDRS_LEN + 4 * ahs_words + have};
    struct bhs b;

    m.p = calloc(1, m.len);
    assert_non_null(m.p);
    m.p[0] = iser;
    bhs_init(&b, opcode, flags);
    b.ahs_words = (uint8_t)ahs_words;
    b.dseg_len = put24(dseg);
    memcpy(m.p + ISER_LEN, &b, sizeof(b));
    for (uint32_t i = 0; i < 4 * ahs_words + have; i++)
        m.p[ISER_HDRS_LEN + i] = (uint8_t)(i + 1);
    return m;
}

static int
take(struct message m, enum pdu_side side, struct iser_pdu *ret, struct lunette_error *err)
{
    int r = iser_take(m.p, m.len, side, ISER_DSEG_MAX, ret, err);

    if (r == 0) {
        assert_ptr_equal(ret->hdr, m.p + ISER_LEN);
        assert_ptr_equal(ret->data, m.p + ISER_HDRS_LEN + pdu_ahs_len(ret->hdr));
    }
    return r;
}

static void
refused(struct message m, enum pdu_side side, const char *why)
{
    struct iser_pdu pdu, before;
    struct lunette_error err = {0};

    memset(&pdu, 0xee, sizeof(pdu));
    before = pdu;
    assert_int_equal(take(m, side, &pdu, &err), -EPROTO);
    assert_memory_equal(&pdu, &before, sizeof(pdu));
    if (strstr(err.msg, why) == NULL)
        fail_msg("'%s' does not have '%s'", err.msg, why);
    assert_int_equal(take(m, side, &pdu, NULL), -EPROTO);
    free(m.p);
}

static struct iser_pdu
taken(struct message m, enum pdu_side side)
{
    struct iser_pdu pdu;
    struct lunette_error err = {0};

    if (take(m, side, &pdu, &err) != 0)
        fail_msg("%s", err.msg);
    return pdu;
}

static void
test_take_command(void **state)
{
    struct message m = message(ISER_CONTROL | ISER_RSV, ISCSI_OP_SCSI_CMD,
                               ISCSI_FLAG_FINAL | ISCSI_CMD_READ, 0, 0, 0);
    struct iser_pdu p;

    (void)state;
    st_be32(m.p + 16, 0x01020304);
    st_be64(m.p + 20, 0x1122334455667788);
    st_be32(m.p + 4, 0xffffffff); /* not valid, and not read */
    p = taken(m, PDU_FROM_INITIATOR);
    assert_true(p.has_read && !p.has_write);
    assert_int_equal(p.read.stag, 0x01020304);
    assert_true(p.read.base == 0x1122334455667788);
    assert_int_equal(p.write.stag, 0);
    assert_int_equal(p.data_len, 0);
    free(m.p);
    m = message(ISER_CONTROL | ISER_RSV | ISER_WSV, ISCSI_OP_SCSI_CMD,
                ISCSI_FLAG_FINAL | ISCSI_CMD_READ | ISCSI_CMD_WRITE, 2, 0, 0);
    st_be32(m.p + 4, 7);
    st_be64(m.p + 8, 8);
    p = taken(m, PDU_FROM_INITIATOR);
    assert_true(p.has_read && p.has_write);
    assert_int_equal(p.write.stag, 7);
    assert_true(p.write.base == 8);
    free(m.p);
}

/* 420 bytes for 343 of text, as was seen; and a peer that leaves the padding out. */
static void
test_take_padding(void **state)
{
    struct message m = message(ISER_CONTROL, ISCSI_OP_LOGIN_RSP, 0x87, 0, 343, 344);
    struct iser_pdu p;

    (void)state;
    assert_int_equal(m.len, 420);
    p = taken(m, PDU_FROM_TARGET);
    assert_int_equal(p.data_len, 343);
    assert_int_equal(p.data[342], (uint8_t)343);
    m.len = 419;
    assert_int_equal(taken(m, PDU_FROM_TARGET).data_len, 343);
    free(m.p);
    m = message(ISER_CONTROL, ISCSI_OP_SCSI_CMD, ISCSI_FLAG_FINAL | ISCSI_CMD_WRITE, 3, 8192, 8192);
    assert_int_equal(taken(m, PDU_FROM_INITIATOR).data_len, 8192);
    free(m.p);
    /* the low bits of a field that is reserved are ignored (RFC 7145 9.2) */
    m = message(ISER_CONTROL | 0x03, ISCSI_OP_NOP_IN, ISCSI_FLAG_FINAL, 0, 0, 0);
    m.p[1] = m.p[2] = m.p[3] = 0xff;
    (void)taken(m, PDU_FROM_TARGET);
    free(m.p);
}

static void
test_take_lengths(void **state)
{
    const uint8_t rsp = ISCSI_OP_SCSI_RSP, f = ISCSI_FLAG_FINAL;
    struct message m = message(ISER_CONTROL, rsp, f, 0, 0, 0);

    (void)state;
    for (uint32_t n = 0; n < ISER_HDRS_LEN; n++) {
        struct message cut = {calloc(1, n + 1), n};

        memcpy(cut.p, m.p, n);
        refused(cut, PDU_FROM_TARGET, n < ISER_LEN ? "no iSER header" : "no whole PDU header");
    }
    free(m.p);
    refused(message(ISER_CONTROL, rsp, f, 0, 100, 96), PDU_FROM_TARGET, "want 176");
    refused(message(ISER_CONTROL, rsp, f, 0, 100, 104), PDU_FROM_TARGET, "message of 180");
    refused(message(ISER_CONTROL, rsp, f, 0, 97, 98), PDU_FROM_TARGET, "want 176");
    refused(message(ISER_CONTROL, rsp, f, 0, 0, 4), PDU_FROM_TARGET, "message of 80");
    refused(message(ISER_CONTROL, rsp, f, 0, ISER_DSEG_MAX + 1, ISER_DSEG_MAX + 1), PDU_FROM_TARGET,
            "the limit is 8192");
    refused(message(ISER_CONTROL, rsp, f, 0, ISCSI_DSEG_MAX, 0), PDU_FROM_TARGET, "the limit is");
    refused(message(ISER_CONTROL, rsp, f, 1, 0, 0), PDU_FROM_TARGET, "TotalAHSLength 1");
    m = message(ISER_CONTROL, ISCSI_OP_SCSI_CMD, f, 255, 0, 0);
    m.len -= 4;
    refused(m, PDU_FROM_INITIATOR, "want 1096");
}

/* ISR-05, ISR-06 */
static void
test_take_kinds(void **state)
{
    const uint8_t f = ISCSI_FLAG_FINAL;

    (void)state;
    for (unsigned op = 0; op < 16; op++)
        if (op != 1)
            refused(message((uint8_t)(op << 4), ISCSI_OP_NOP_IN, f, 0, 0, 0), PDU_FROM_TARGET,
                    "where only PDUs");
    refused(message(ISER_CONTROL, ISCSI_OP_DATA_IN, f | 1, 0, 0, 0), PDU_FROM_TARGET,
            "SCSI Data-In: there is none over iSER");
    refused(message(ISER_CONTROL, ISCSI_OP_R2T, f, 0, 0, 0), PDU_FROM_TARGET, "none over iSER");
    refused(message(ISER_CONTROL, ISCSI_OP_SNACK_REQ, f, 0, 0, 0), PDU_FROM_INITIATOR,
            "none over iSER");
    refused(message(ISER_CONTROL, ISCSI_OP_SCSI_CMD, f, 0, 0, 0), PDU_FROM_TARGET,
            "must not come from the target");
    refused(message(ISER_CONTROL | ISER_RSV, ISCSI_OP_SCSI_RSP, f, 0, 0, 0), PDU_FROM_TARGET,
            "only a SCSI Command has an STag");
    refused(message(ISER_CONTROL | ISER_WSV, ISCSI_OP_NOP_OUT, f, 0, 0, 0), PDU_FROM_INITIATOR,
            "only a SCSI Command has an STag");
    refused(message(ISER_CONTROL | ISER_RSV, ISCSI_OP_SCSI_CMD, f | ISCSI_CMD_WRITE, 0, 0, 0),
            PDU_FROM_INITIATOR, "nothing is read");
    refused(message(ISER_CONTROL | ISER_WSV, ISCSI_OP_SCSI_CMD, f | ISCSI_CMD_READ, 0, 0, 0),
            PDU_FROM_INITIATOR, "nothing is written");
}

/* ISR-09 */
static void
test_hello(void **state)
{
    static const uint8_t wire[ISER_LEN] = {0x20, 0xaa, 0x00, 0x10};
    static const uint8_t reply[ISER_LEN] = {0x30, 0xaa, 0x01, 0x02};
    struct lunette_error err = {0};
    struct iser_hello h;
    uint16_t n = 77;

    (void)state;
    iser_put_hello(&h, 16);
    assert_memory_equal(&h, wire, sizeof(h));
    assert_int_equal(iser_take_hello(&h, sizeof(h), &n, &err), 0);
    assert_int_equal(n, 16);
    n = 77;
    assert_int_equal(iser_take_hello(&h, sizeof(h) - 1, &n, &err), -EPROTO);
    assert_int_equal(iser_take_hello(&h, 0, &n, &err), -EPROTO);
    assert_int_equal(iser_take_hello(&h, ISER_HDRS_LEN, &n, &err), -EPROTO);
    h.versions = 0xbb; /* 11 at least */
    assert_int_equal(iser_take_hello(&h, sizeof(h), &n, &err), -EPROTO);
    assert_non_null(strstr(err.msg, "versions 11 to 11"));
    h.versions = 0x99;
    assert_int_equal(iser_take_hello(&h, sizeof(h), &n, &err), -EPROTO);
    assert_int_equal(n, 77);
    h.versions = 0xf0; /* 0 to 15: ours is among them */
    assert_int_equal(iser_take_hello(&h, sizeof(h), &n, &err), 0);

    iser_put_hello_reply(&h, 0x102, false);
    assert_memory_equal(&h, reply, sizeof(h));
    assert_int_equal(iser_take_hello_reply(&h, sizeof(h), 0x102, &n, &err), 0);
    assert_int_equal(n, 0x102);
    assert_int_equal(iser_take_hello_reply(&h, sizeof(h), 0x101, &n, &err), -EPROTO);
    assert_int_equal(iser_take_hello_reply(&h, 27, 0x102, &n, &err), -EPROTO);
    assert_int_equal(iser_take_hello(&h, sizeof(h), &n, &err), -EPROTO);
    h.versions = 0xab;
    assert_int_equal(iser_take_hello_reply(&h, sizeof(h), 0x102, &n, &err), -EPROTO);
    iser_put_hello_reply(&h, 0, true);
    assert_int_equal(h.flags, 0x31);
    assert_int_equal(iser_take_hello_reply(&h, sizeof(h), 16, &n, &err), -ECONNREFUSED);
    iser_put_hello(&h, 16);
    assert_int_equal(iser_take_hello_reply(&h, sizeof(h), 16, &n, &err), -EPROTO);
}

/* As seen: c0 from LIO, 80 where it invalidates, 00 from tgt; and a buffer of zeroes behind. */
static void
test_private(void **state)
{
    uint8_t p[196] = {0};

    (void)state;
    iser_put_private(p, ISER_NO_ZBVA | ISER_NO_SEND_INV);
    assert_int_equal(p[0], 0xc0);
    assert_int_equal(p[1] | p[2] | p[3], 0);
    assert_false(iser_private_send_inv(p, sizeof(p)));
    iser_put_private(p, ISER_NO_ZBVA);
    assert_true(iser_private_send_inv(p, sizeof(p)));
    assert_true(iser_private_send_inv(p, 1));
    assert_false(iser_private_send_inv(p, 0));
    assert_false(iser_private_send_inv(NULL, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layout),       cmocka_unit_test(test_take_command),
        cmocka_unit_test(test_take_padding), cmocka_unit_test(test_take_lengths),
        cmocka_unit_test(test_take_kinds),   cmocka_unit_test(test_hello),
        cmocka_unit_test(test_private),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
