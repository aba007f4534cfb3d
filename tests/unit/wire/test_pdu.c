/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "samples.h"
#include "wire/pdu.h"
#include "wire/scsi.h"

static struct bhs
header(uint8_t opcode, unsigned ahs_words, uint32_t dseg_len)
{
    struct bhs h;

    bhs_init(&h, opcode, ISCSI_FLAG_FINAL);
    h.ahs_words = (uint8_t)ahs_words;
    h.dseg_len = put24(dseg_len);
    return h;
}

/* PDU-08, DIG-02, DIG-03 */
static void
test_lengths(void **state)
{
    static const uint32_t pad[] = {0, 3, 2, 1, 0, 3, 2, 1, 0, 3};
    struct bhs h;

    (void)state;
    for (uint32_t n = 0; n <= 9; n++) {
        h = header(ISCSI_OP_NOP_OUT, 0, n);
        assert_int_equal(pdu_pad(n), pad[n]);
        assert_int_equal(pdu_trailer(&h, false, false), n + pad[n]);
        assert_int_equal(pdu_trailer(&h, true, true), 4 + n + pad[n] + (n > 0 ? 4 : 0));
        assert_int_equal(pdu_trailer(&h, false, true), n + pad[n] + (n > 0 ? 4 : 0));
    }
    h = header(ISCSI_OP_SCSI_CMD, 255, ISCSI_DSEG_MAX);
    assert_int_equal(pdu_ahs_len(&h), PDU_AHS_MAX);
    assert_int_equal(pdu_header_trailer(&h, true), 1024);
    assert_int_equal(pdu_data_trailer(&h, true), 0x1000004);
}

/* PDU-04: each opcode from each side */
static void
test_opcodes(void **state)
{
    static const uint8_t initiator[] = {0, 1, 2, 3, 4, 5, 6, 0x10};
    static const uint8_t target[] = {0x20, 0x21, 0x22, 0x23, 0x24, 0x25, 0x26, 0x31, 0x32, 0x3f};

    (void)state;
    for (unsigned op = 0; op < 64; op++) {
        bool from_i = memchr(initiator, (int)op, sizeof(initiator)) != NULL;
        bool from_t = memchr(target, (int)op, sizeof(target)) != NULL;
        struct bhs h = header((uint8_t)op, 0, op == ISCSI_OP_REJECT ? 48 : 0);
        struct lunette_error err = {0};

        assert_int_equal(pdu_check_header(&h, PDU_FROM_INITIATOR, 8192, NULL),
                         from_i ? 0 : -EPROTO);
        assert_int_equal(pdu_check_header(&h, PDU_FROM_TARGET, 8192, &err), from_t ? 0 : -EPROTO);
        assert_int_equal(err.detail, from_t ? 0 : ISCSI_REJECT_UNSUPPORTED);
        assert_int_equal(strcmp(pdu_opcode_name((uint8_t)op), "unknown opcode") != 0,
                         from_i || from_t);
        /* the reserved bit, and I of requests, change nothing (PDU-02) */
        h.opcode |= 0xc0;
        assert_int_equal(pdu_check_header(&h, PDU_FROM_INITIATOR, 8192, NULL),
                         from_i ? 0 : -EPROTO);
        /* PDU-06, PDU-07 */
        h = header((uint8_t)op, 1, op == ISCSI_OP_REJECT ? 48 : 0);
        assert_int_equal(pdu_check_header(&h, PDU_FROM_INITIATOR, 8192, NULL),
                         op == ISCSI_OP_SCSI_CMD ? 0 : -EPROTO);
        assert_int_equal(pdu_check_header(&h, PDU_FROM_TARGET, 8192, NULL), -EPROTO);
    }
}

/* PDU-05, TMF-01, TMR-01, LGO-01, LOR-01, R2T-02, REJ-01 */
static void
test_data_lengths(void **state)
{
    static const uint8_t none[] = {ISCSI_OP_TMF_REQ, ISCSI_OP_TMF_RSP, ISCSI_OP_LOGOUT_REQ,
                                   ISCSI_OP_LOGOUT_RSP, ISCSI_OP_R2T};
    struct lunette_error err;
    struct bhs h;

    (void)state;
    h = header(ISCSI_OP_DATA_IN, 0, 8192);
    assert_int_equal(pdu_check_header(&h, PDU_FROM_TARGET, 8192, NULL), 0);
    h = header(ISCSI_OP_DATA_IN, 0, 8193);
    assert_int_equal(pdu_check_header(&h, PDU_FROM_TARGET, 8192, &err), -EPROTO);
    assert_int_equal(err.domain, LUNETTE_DOM_PROTO);
    assert_non_null(strstr(err.msg, "8193"));
    h = header(ISCSI_OP_DATA_IN, 0, ISCSI_DSEG_MAX);
    assert_int_equal(pdu_check_header(&h, PDU_FROM_TARGET, ISCSI_DSEG_MAX, NULL), 0);
    for (size_t i = 0; i < sizeof(none); i++) {
        enum pdu_side side = (none[i] & 0x20) != 0 ? PDU_FROM_TARGET : PDU_FROM_INITIATOR;

        h = header(none[i], 0, 0);
        assert_int_equal(pdu_check_header(&h, side, 8192, NULL), 0);
        h = header(none[i], 0, 1);
        assert_int_equal(pdu_check_header(&h, side, 8192, NULL), -EPROTO);
    }
    h = header(ISCSI_OP_REJECT, 0, 47);
    assert_int_equal(pdu_check_header(&h, PDU_FROM_TARGET, 8192, NULL), -EPROTO);
    h = header(ISCSI_OP_REJECT, 0, 48);
    assert_int_equal(pdu_check_header(&h, PDU_FROM_TARGET, 8192, NULL), 0);
}

/* PDU-09..12 */
static void
test_ahs_good(void **state)
{
    static const char *names[] = {"cmd_bidi_cdb_first", "cmd_bidi_len_first"};

    (void)state;
    for (int k = 0; k < 2; k++) {
        uint8_t buf[SAMPLE_MAX], cdb[CDB_LONGEST];
        struct cmd_ahs a = {0};
        unsigned i = 0;

        while (strcmp(samples[i].name, names[k]) != 0)
            i++;
        samples[i].build(buf);
        assert_int_equal(cmd_ahs_parse(buf + 48, 28, &a, NULL), 0);
        assert_true(a.has_bidi);
        assert_int_equal(a.bidi_read_len, 0x10203);
        assert_int_equal(a.ext_cdb_len, 16);
        assert_int_equal(cmd_cdb_gather((const struct bhs_scsi_cmd *)buf, &a, cdb, sizeof(cdb)),
                         32);
        for (unsigned b = 16; b < 32; b++)
            assert_int_equal(cdb[b], b);
        assert_int_equal(cdb[0], 0x7f);
        assert_int_equal(cmd_cdb_gather((const struct bhs_scsi_cmd *)buf, &a, cdb, 31), -ENOBUFS);
        assert_int_equal(cmd_cdb_gather((const struct bhs_scsi_cmd *)buf, NULL, cdb, 16), 16);
    }
}

/* Every CDB length from 17 to the longest goes out and comes back. */
static void
test_ahs_sizes(void **state)
{
    uint8_t cdb[CDB_LONGEST], out[PDU_AHS_MAX], back[CDB_LONGEST];
    struct bhs_scsi_cmd h;

    (void)state;
    for (size_t i = 0; i < sizeof(cdb); i++)
        cdb[i] = (uint8_t)(i * 7 + 1);
    for (size_t len = 17; len <= sizeof(cdb); len++) {
        size_t want = 4 + (len - 16 + 3) / 4 * 4;
        struct cmd_ahs a;

        memset(out, 0xa5, sizeof(out));
        assert_int_equal(ahs_put_ext_cdb(out, want - 1, cdb, len), -ENOBUFS);
        assert_int_equal(out[0], 0xa5);
        assert_int_equal(ahs_put_ext_cdb(out, want, cdb, len), want);
        assert_int_equal(out[want], 0xa5);
        assert_int_equal(ld_be16(out), len - 15);
        assert_int_equal(cmd_ahs_parse(out, (uint32_t)want, &a, NULL), 0);
        assert_false(a.has_bidi);
        bhs_init(&h, ISCSI_OP_SCSI_CMD, 0);
        memcpy(h.cdb, cdb, 16);
        assert_int_equal(cmd_cdb_gather(&h, &a, back, sizeof(back)), len);
        assert_memory_equal(back, cdb, len);
    }
    assert_int_equal(ahs_put_bidi(out, 7, 1), -ENOBUFS);
}

static void
test_ahs_bad(void **state)
{
    static const struct {
        const char *why;
        uint8_t bytes[24];
        uint32_t len;
    } rows[] = {
        {"empty", {0, 0, 1, 0}, 4},
        {"longer than all", {0, 2, 1, 0}, 4},
        {"longer than all, by padding", {0, 5, 2, 0, 1, 2, 3, 4, 0, 6, 1, 0}, 12},
        {"no CDB byte", {0, 1, 1, 0}, 4},
        {"bidi too short", {0, 4, 2, 0, 1, 2, 3, 0}, 8},
        {"bidi too long", {0, 6, 2, 0, 1, 2, 3, 4, 5, 0, 0, 0}, 12},
        {"unknown type", {0, 5, 3, 0, 1, 2, 3, 4}, 8},
        {"type 0", {0, 5, 0, 0, 1, 2, 3, 4}, 8},
        {"bidi twice", {0, 5, 2, 0, 1, 2, 3, 4, 0, 5, 2, 0, 1, 2, 3, 4}, 16},
        {"CDB twice", {0, 5, 1, 0, 1, 2, 3, 4, 0, 5, 1, 0, 1, 2, 3, 4}, 16},
        {"64K", {0xff, 0xff, 1, 0, 1, 2, 3, 4}, 8},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct cmd_ahs a = {.ext_cdb_len = 99};
        struct lunette_error err = {0};
        uint8_t *exact = malloc(rows[i].len); /* so that a sanitizer sees one byte too many */

        memcpy(exact, rows[i].bytes, rows[i].len);
        if (cmd_ahs_parse(exact, rows[i].len, &a, &err) != -EPROTO)
            fail_msg("accepted: %s", rows[i].why);
        assert_int_equal(err.detail, ISCSI_REJECT_INVALID_FIELD);
        assert_int_equal(a.ext_cdb_len, 99);
        free(exact);
    }
    /* none at all, and reserved bits of the type ignored */
    struct cmd_ahs a;

    assert_int_equal(cmd_ahs_parse("", 0, &a, NULL), 0);
    assert_null(a.ext_cdb);
    assert_int_equal(cmd_ahs_parse("\0\5\xc2\0\1\2\3\4", 8, &a, NULL), 0);
    assert_true(a.has_bidi);
}

/* Random AHS: no over-read (ASan), and whatever is accepted lies inside. */
static void
test_ahs_fuzz(void **state)
{
    (void)state;
    srand(1);
    for (int n = 0; n < 200000; n++) {
        uint32_t len = 4u * (unsigned)(rand() % 10);
        uint8_t *buf = malloc(len > 0 ? len : 1);
        struct cmd_ahs a;

        for (uint32_t i = 0; i < len; i++)
            buf[i] = (uint8_t)(rand() % 3 == 0 ? rand() : rand() % 6);
        if (cmd_ahs_parse(buf, len, &a, NULL) == 0 && a.ext_cdb != NULL)
            assert_true(a.ext_cdb >= buf && a.ext_cdb + a.ext_cdb_len <= buf + len);
        free(buf);
    }
}

/* DIG-01: RFC 7143 A.4 */
static void
test_crc_vectors(void **state)
{
    static const uint8_t read10[48] = {
        0x01, 0xc0, 0, 0, 0, 0, 0,    0, 0, 0, 0,    0,    0, 0, 0, 0, 0x14, 0, 0, 0,    0,
        0,    0x04, 0, 0, 0, 0, 0x14, 0, 0, 0, 0x18, 0x28, 0, 0, 0, 0, 0,    0, 0, 0x02, 0};
    static const uint8_t want[5][4] = {{0xaa, 0x36, 0x91, 0x8a},
                                       {0x43, 0xab, 0xa8, 0x62},
                                       {0x4e, 0x79, 0xdd, 0x46},
                                       {0x5c, 0xdb, 0x3f, 0x11},
                                       {0x56, 0x3a, 0x96, 0xd9}};
    uint8_t data[4][32], out[4];

    (void)state;
    for (int i = 0; i < 32; i++) {
        data[0][i] = 0;
        data[1][i] = 0xff;
        data[2][i] = (uint8_t)i;
        data[3][i] = (uint8_t)(31 - i);
    }
    for (int i = 0; i < 4; i++) {
        pdu_data_digest(data[i], 32, out);
        assert_memory_equal(out, want[i], 4);
        assert_true(pdu_data_digest_ok(data[i], 32, want[i]));
    }
    pdu_header_digest(read10, sizeof(read10), out);
    assert_memory_equal(out, want[4], 4);
}

/* DIG-02: padding is covered, each byte and each bit counts, in pieces or whole */
static void
test_data_digest(void **state)
{
    (void)state;
    for (uint32_t len = 1; len <= 9; len++) {
        uint8_t data[12] = {0}, out[4], again[4];
        uint32_t whole = len + pdu_pad(len), crc;

        memset(data, 0x5a, len);
        pdu_data_digest(data, len, out);
        assert_true(pdu_data_digest_ok(data, len, out));
        crc = crc32c_update(CRC32C_INIT, data, 1);
        crc = crc32c_update(crc, data + 1, len - 1);
        pdu_digest_put(again, pdu_crc_zero_pad(crc, len));
        assert_memory_equal(out, again, 4);
        for (uint32_t bit = 0; bit < 8 * whole; bit++) {
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(pdu_data_digest_ok(data, len, out));
            data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        for (uint32_t bit = 0; bit < 32; bit++) {
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
            assert_false(pdu_data_digest_ok(data, len, out));
            out[bit / 8] ^= (uint8_t)(1 << bit % 8);
        }
        if (whole > len) { /* other pad bytes are fine if the digest covers them */
            data[len] = 0x77;
            pdu_digest_put(out, crc32c_update(CRC32C_INIT, data, whole));
            assert_true(pdu_data_digest_ok(data, len, out));
        }
    }
}

#if defined(__x86_64__)
/* Which parts of the processor's state are in use: XGETBV with ECX 1; 0 where it is not known. */
static uint32_t
state_in_use(void)
{
    uint32_t a = 0, b, c, d = 0;

    if (!__builtin_cpu_supports("avx") || !__get_cpuid_count(0xd, 1, &a, &b, &c, &d) ||
        (a & 4) == 0)
        return 0;
    __asm__ volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(1));
    return a;
}
#endif

/* No register is left in a state that slows down what comes next. */
static void
test_crc_leaves_no_trace(void **state)
{
    (void)state;
#if defined(__x86_64__)
    static uint8_t data[65536];
    uint32_t upper = (1u << 2) | (1u << 6); /* of YMM, and of ZMM 0 to 15 */

    for (size_t len = 16; len <= sizeof(data); len *= 2) {
        (void)crc32c_update(CRC32C_INIT, data, len);
        assert_int_equal(state_in_use() & upper, 0);
    }
#endif
}

/* The header digest covers the AHS, and lies between them and the data. */
static void
test_header_digest(void **state)
{
    (void)state;
    for (unsigned i = 0; i < nsamples; i++) {
        uint8_t plain[SAMPLE_MAX], buf[SAMPLE_MAX];
        size_t n = samples[i].build(plain), hdr;
        const struct bhs *h = (const struct bhs *)buf;

        memcpy(buf, plain, n);
        assert_int_equal(sample_add_digests(buf, n), 48 + pdu_trailer(h, true, true));
        hdr = 48 + pdu_ahs_len(h);
        assert_true(pdu_header_digest_ok(buf, hdr, buf + hdr));
        buf[hdr - 1] ^= 1;
        assert_false(pdu_header_digest_ok(buf, hdr, buf + hdr));
        buf[hdr - 1] ^= 1;
        assert_memory_equal(buf + hdr + 4, plain + hdr, n - hdr);
        if (n > hdr)
            assert_true(
                pdu_data_digest_ok(buf + hdr + 4, pdu_dseg_len(h), buf + hdr + 4 + n - hdr));
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_opcodes),
        cmocka_unit_test(test_data_lengths),
        cmocka_unit_test(test_ahs_good),
        cmocka_unit_test(test_ahs_sizes),
        cmocka_unit_test(test_ahs_bad),
        cmocka_unit_test(test_ahs_fuzz),
        cmocka_unit_test(test_crc_vectors),
        cmocka_unit_test(test_crc_leaves_no_trace),
        cmocka_unit_test(test_data_digest),
        cmocka_unit_test(test_header_digest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
