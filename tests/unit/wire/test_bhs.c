/* SPDX-License-Identifier: MIT */
/* The samples against bytes written by hand from the figures of RFC 7143 section 11. */
#include "tests/test.h"

#include <ctype.h>
#include <string.h>

#include "samples.h"
#include "wire/bhs.h"
#include "wire/sn.h"

static size_t
unhex(const char *text, uint8_t *out, size_t size)
{
    size_t n = 0;

    for (; *text != '\0'; text++) {
        unsigned v = 0;

        if (*text == ' ')
            continue;
        for (int i = 0; i < 2; i++, text++) {
            assert_true(isxdigit((unsigned char)*text));
            v = v * 16 + (unsigned)(isdigit((unsigned char)*text) ? *text - '0' : *text - 'a' + 10);
        }
        text--;
        assert_true(n < size);
        out[n++] = (uint8_t)v;
    }
    return n;
}

struct vector {
    const char *name;
    const char *header; /* 12 words */
    const char *ahs;
    const char *text; /* data with embedded NULs, or NULL */
    size_t text_len;
    const char *data; /* data in hex, or NULL */
    int fill;         /* else fill_len bytes of this */
    size_t fill_len;
};

#define TEXT(s) .text = (s), .text_len = sizeof(s)

static const struct vector vectors[] = {
    {.name = "login_req",
     .header = "43810000 00000075 80123456 00070000 00000011 00030000 "
               "00000064 00000000 00000000 00000000 00000000 00000000",
     TEXT("InitiatorName=iqn.2024-01.org.example:i\0TargetName=iqn.2024-01.org.example:t\0"
          "SessionType=Normal\0AuthMethod=CHAP,None")},
    {.name = "login_rsp",
     .header = "23810000 00000027 80123456 00070000 00000011 00000000 "
               "000001f4 00000064 00000083 00000000 00000000 00000000",
     TEXT("TargetPortalGroupTag=1\0AuthMethod=None")},
    {.name = "login_req_final",
     .header = "43870000 0000001f 80123456 00070000 00000011 00030000 "
               "00000064 000001f5 00000000 00000000 00000000 00000000",
     TEXT("MaxConnections=4\0InitialR2T=No")},
    {.name = "login_rsp_final",
     .header = "23870000 00000020 80123456 00070042 00000011 00000000 "
               "000001f5 00000064 00000083 00000000 00000000 00000000",
     TEXT("MaxConnections=1\0InitialR2T=Yes")},
    {.name = "cmd_read",
     .header = "01c15000 00000000 00010000 00000000 00000021 00000402 "
               "00000064 000001f6 28080102 03040000 02000000 00000000"},
    {.name = "data_in",
     .header = "25400000 00000200 00010000 00000000 00000021 5a5a0001 "
               "00000000 00000065 00000084 00000000 00000000 00000000",
     .fill = 'A',
     .fill_len = 512},
    {.name = "data_in_status",
     .header = "25830004 00000201 00000000 00000000 00000021 ffffffff "
               "000001f6 00000065 00000084 00000001 00000200 00000001",
     .fill = 'B',
     .fill_len = 513},
    {.name = "cmd_write32",
     .header = "01a20000 05000100 00010000 00000000 00000022 00000400 "
               "00000065 000001f6 7f000000 00000018 000b1000 11223344",
     .ahs = "00110100 55667788 aabbccdd 00000000 00000002",
     .fill = 'C',
     .fill_len = 256},
    {.name = "r2t",
     .header = "31800000 00000000 00010000 00000000 00000022 00000077 "
               "000001f7 00000066 00000085 00000003 00000100 00000300"},
    {.name = "data_out",
     .header = "05800000 00000007 00010000 00000000 00000022 00000077 "
               "00000000 000001f7 00000000 00000004 000003f9 00000000",
     .fill = 'D',
     .fill_len = 7},
    {.name = "scsi_rsp",
     .header = "218a0002 00000014 00050000 00000000 00000022 00000099 "
               "000001f7 00000067 00000086 00000006 0000004d 00000400",
     .data = "0012 70 00 06 00000000 0a 00000000 29 00 00 000000"},
    {.name = "cmd_bidi_cdb_first",
     .header = "01e10000 07000000 00010000 00000000 00000027 00000200 "
               "00000066 000001f6 7f000000 00000018 00070000 00000000",
     .ahs = "00110100 10111213 14151617 18191a1b 1c1d1e1f 00050200 00010203"},
    {.name = "cmd_bidi_len_first",
     .header = "01e10000 07000000 00010000 00000000 00000027 00000200 "
               "00000066 000001f6 7f000000 00000018 00070000 00000000",
     .ahs = "00050200 00010203 00110100 10111213 14151617 18191a1b 1c1d1e1f"},
    {.name = "tmf_req",
     .header = "42810000 00000000 00010000 00000000 00000023 00000022 "
               "00000067 000001f8 00000065 00000008 00000000 00000000"},
    {.name = "tmf_rsp",
     .header = "22800100 00000000 01020300 00000000 00000023 00000000 "
               "000001f8 00000067 00000086 00000000 00000000 00000000"},
    {.name = "nop_out",
     .header = "40800000 00000005 412c0000 00000000 00000024 00000088 "
               "00000067 000001f9 00000000 00000000 00000000 00000000",
     .data = "70696e6721"},
    {.name = "nop_in",
     .header = "20800000 00000005 00000000 00000000 00000024 ffffffff "
               "000001f9 00000067 00000086 00000000 00000000 00000000",
     .data = "70696e6721"},
    {.name = "text_req",
     .header = "04800000 00000010 00000000 00000000 00000025 ffffffff "
               "00000067 000001fa 00000000 00000000 00000000 00000000",
     TEXT("SendTargets=All")},
    {.name = "text_rsp",
     .header = "24400000 00000044 00000000 00000000 00000025 00000099 "
               "000001fa 00000068 00000087 00000000 00000000 00000000",
     TEXT("TargetName=iqn.2024-01.org.example:t\0TargetAddress=127.0.0.1:3260,1")},
    {.name = "snack_req",
     .header = "10810000 00000000 00000000 00000000 ffffffff ffffffff "
               "00000000 000001fb 00000000 00000000 000001f9 00000002"},
    {.name = "async",
     .header = "32800000 00000000 00000000 00000000 ffffffff 00000000 "
               "000001fb 00000068 00000087 02090003 00020014 00000000"},
    {.name = "reject",
     .header = "3f800400 00000030 00000000 00000000 ffffffff 00000000 "
               "000001fc 00000068 00000087 0000000b 00000000 00000000",
     .data = "10810000 00000000 00000000 00000000 ffffffff ffffffff "
             "00000000 000001fb 00000000 00000000 000001f9 00000002"},
    {.name = "logout_req",
     .header = "46810000 00000000 00000000 00000000 00000026 00030000 "
               "00000068 000001fd 00000000 00000000 00000000 00000000"},
    {.name = "logout_rsp",
     .header = "26800300 00000000 00000000 00000000 00000026 00000000 "
               "000001fd 00000069 00000088 00000000 00020014 00000000"},
};
#define NVECTORS (sizeof(vectors) / sizeof(vectors[0]))

static size_t
vector_bytes(const struct vector *v, uint8_t *out)
{
    size_t n = unhex(v->header, out, SAMPLE_MAX);

    assert_int_equal(n, 48);
    if (v->ahs != NULL)
        n += unhex(v->ahs, out + n, SAMPLE_MAX - n);
    if (v->text != NULL) {
        memcpy(out + n, v->text, v->text_len);
        n += v->text_len;
    } else if (v->data != NULL) {
        n += unhex(v->data, out + n, SAMPLE_MAX - n);
    } else {
        memset(out + n, v->fill, v->fill_len);
        n += v->fill_len;
    }
    while (n % 4 != 0)
        out[n++] = 0;
    return n;
}

/* RFC7143-11: every PDU as bytes */
static void
test_vectors(void **state)
{
    uint64_t opcodes = 0;

    (void)state;
    assert_int_equal(nsamples, NVECTORS);
    for (unsigned i = 0; i < nsamples; i++) {
        uint8_t want[SAMPLE_MAX], got[SAMPLE_MAX];
        size_t n = vector_bytes(&vectors[i], want);

        memset(got, 0xa5, sizeof(got));
        assert_string_equal(samples[i].name, vectors[i].name);
        if (samples[i].build(got) != n || memcmp(want, got, n) != 0) {
            print_error("sample %s\n", samples[i].name);
            assert_int_equal(samples[i].build(got), n);
            assert_memory_equal(got, want, n);
        }
        opcodes |= (uint64_t)1 << (got[0] & ISCSI_OP_MASK);
        assert_int_equal(samples[i].from_target, (got[0] & 0x20) != 0);
    }
    /* all 18 kinds */
    assert_true(opcodes ==
                (0x7full | 1ull << 0x10 | 0x7full << 0x20 | 3ull << 0x31 | 1ull << 0x3f));
}

/* What a receiver reads is what was sent, for fields at each kind of place. */
static void
test_fields(void **state)
{
    union bhs_any h;

    (void)state;
    memset(&h, 0xff, sizeof(h));
    bhs_init(&h, ISCSI_OP_R2T, ISCSI_FLAG_FINAL);
    for (size_t i = 2; i < sizeof(h.raw); i++)
        assert_int_equal(h.raw[i], 0);
    h.r2t.desired_len = put32(0x80000001);
    assert_int_equal(h.raw[44], 0x80);
    assert_int_equal(h.raw[47], 0x01);
    assert_int_equal(get32(h.r2t.desired_len), 0x80000001);
    h.h.dseg_len = put24(0x00fedcba);
    assert_int_equal(get24(h.h.dseg_len), 0xfedcba);
    assert_int_equal(h.raw[5], 0xfe);
    assert_int_equal(bhs_login_csg(0x87), ISCSI_STAGE_OPERATIONAL);
    assert_int_equal(bhs_login_nsg(0x87), ISCSI_STAGE_FFP);
    assert_int_equal(bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT), 0x87);
    assert_int_equal(bhs_login_flags(0, 0, ISCSI_LOGIN_CONTINUE), 0x40);
}

static void
test_be(void **state)
{
    uint8_t b[8];

    (void)state;
    st_be64(b, 0x0102030405060708ull);
    for (int i = 0; i < 8; i++)
        assert_int_equal(b[i], i + 1);
    assert_true(ld_be64(b) == 0x0102030405060708ull);
    assert_int_equal(ld_be32(b + 4), 0x05060708);
    assert_int_equal(ld_be24(b + 5), 0x060708);
    assert_int_equal(ld_be16(b + 6), 0x0708);
    st_be24(b, 0xffeeddcc);
    assert_int_equal(ld_be24(b), 0xeeddcc);
    assert_int_equal(b[3], 4);
    assert_int_equal(get16(put16(0xfffe)), 0xfffe);
    assert_int_equal(get24(put24(0xfffefd)), 0xfffefd);
    assert_true(get32(put32(0xfffefdfc)) == 0xfffefdfcu);
    assert_true(get64(put64(0xfffefdfcfbfaf9f8ull)) == 0xfffefdfcfbfaf9f8ull);
}

/* CSN-01, RFC 1982 */
static void
test_sn(void **state)
{
    static const struct {
        uint32_t a, b;
        int order; /* -1 less, 0 equal, 1 greater, 2 none */
    } rows[] = {
        {0, 0, 0},
        {0, 1, -1},
        {0xffffffff, 0, -1},
        {0xffffffff, 0xffffffff, 0},
        {0xfffffff0, 5, -1},
        {0x7fffffff, 0x80000000, -1},
        {0x7ffffffe, 0x80000001, -1},
        {0, 0x7fffffff, -1},
        {0, 0x80000000, 2},
        {0, 0x80000001, 1},
        {0x80000000, 0, 2},
        {0x80000001, 1, 2},
        {0xffffffff, 0x7fffffff, 2},
        {0xffffffff, 0x7ffffffe, -1},
        {0xffffffff, 0x80000000, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t a = rows[i].a, b = rows[i].b;
        int o = rows[i].order;

        assert_int_equal(sn_lt(a, b), o == -1);
        assert_int_equal(sn_gt(a, b), o == 1);
        assert_int_equal(sn_lte(a, b), o == -1 || o == 0);
        assert_int_equal(sn_gte(a, b), o == 1 || o == 0);
        assert_int_equal(sn_lt(b, a), o == 1);
        assert_int_equal(sn_gt(b, a), o == -1);
        assert_int_equal(sn_lte(b, a), o == 1 || o == 0);
        assert_int_equal(sn_gte(b, a), o == -1 || o == 0);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_vectors),
                                       cmocka_unit_test(test_fields), cmocka_unit_test(test_be),
                                       cmocka_unit_test(test_sn)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
