/* SPDX-License-Identifier: MIT */
/* CDBs against bytes written by hand from SPC and SBC. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/scsi.h"

static void
check(const uint8_t *cdb, int len, int want_len, const char *bytes, const char *name)
{
    if (len != want_len || memcmp(cdb, bytes, (size_t)len) != 0 ||
        strcmp(cdb_name(cdb, (size_t)len), name) != 0)
        fail_msg("%s (%s), length %d", name, cdb_name(cdb, (size_t)len), len);
    for (int i = len; i < CDB_MAX; i++)
        assert_int_equal(cdb[i], 0);
    assert_int_equal(cdb_length(cdb, (size_t)len), len);
}
#define CHECK(call, name, bytes)                                                                   \
    do {                                                                                           \
        uint8_t cdb[CDB_MAX];                                                                      \
        memset(cdb, 0xa5, sizeof(cdb));                                                            \
        check(cdb, call, (int)sizeof(bytes) - 1, bytes, name);                                     \
    } while (0)

static void
test_control(void **state)
{
    (void)state;
    CHECK(cdb_test_unit_ready(cdb), "TEST UNIT READY", "\0\0\0\0\0\0");
    CHECK(cdb_request_sense(cdb, true, 252), "REQUEST SENSE", "\x03\1\0\0\xfc\0");
    CHECK(cdb_inquiry(cdb, 0x1234), "INQUIRY", "\x12\0\0\x12\x34\0");
    CHECK(cdb_inquiry_vpd(cdb, 0x83, 255), "INQUIRY", "\x12\1\x83\0\xff\0");
    CHECK(cdb_report_luns(cdb, 2, 0x01020304), "REPORT LUNS", "\xa0\0\2\0\0\0\1\2\3\4\0\0");
    CHECK(cdb_read_capacity10(cdb), "READ CAPACITY(10)", "\x25\0\0\0\0\0\0\0\0\0");
    CHECK(cdb_read_capacity16(cdb, 32), "READ CAPACITY(16)",
          "\x9e\x10\0\0\0\0\0\0\0\0\0\0\0\x20\0\0");
    CHECK(cdb_mode_sense6(cdb, true, 1, 0x3f, 0xff, 192), "MODE SENSE(6)",
          "\x1a\x08\x7f\xff\xc0\0");
    CHECK(cdb_mode_sense10(cdb, false, 2, 8, 0, 0x1234), "MODE SENSE(10)",
          "\x5a\0\x88\0\0\0\0\x12\x34\0");
    CHECK(cdb_mode_select6(cdb, false, 24), "MODE SELECT(6)", "\x15\x10\0\0\x18\0");
    CHECK(cdb_mode_select10(cdb, true, 0x1234), "MODE SELECT(10)", "\x55\x11\0\0\0\0\0\x12\x34\0");
    CHECK(cdb_mode_select10(cdb, false, 1), "MODE SELECT(10)", "\x55\x10\0\0\0\0\0\0\1\0");
    CHECK(cdb_mode_select6(cdb, true, 24), "MODE SELECT(6)", "\x15\x11\0\0\x18\0");
    CHECK(cdb_start_stop(cdb, true, 0, SCSI_START), "START STOP UNIT", "\x1b\1\0\0\1\0");
    CHECK(cdb_start_stop(cdb, false, 3, 0), "START STOP UNIT", "\x1b\0\0\0\x30\0");
    CHECK(cdb_report_opcodes(cdb, 3, 0x9e, 0x0012, 0x400), "REPORT SUPPORTED OPERATION CODES",
          "\xa3\x0c\3\x9e\0\x12\0\0\4\0\0\0");
    CHECK(cdb_pr_in(cdb, SCSI_PRIN_READ_KEYS, 0x1234), "PERSISTENT RESERVE IN, READ KEYS",
          "\x5e\0\0\0\0\0\0\x12\x34\0");
    CHECK(cdb_pr_out(cdb, SCSI_PROUT_PREEMPT, 0x05, 24), "PERSISTENT RESERVE OUT, PREEMPT",
          "\x5f\4\5\0\0\0\0\0\x18\0");
    CHECK(cdb_rtpg(cdb, true, 0x80), "REPORT TARGET PORT GROUPS", "\xa3\x2a\0\0\0\0\0\0\0\x80\0\0");
    CHECK(cdb_rtpg(cdb, false, 0x80), "REPORT TARGET PORT GROUPS",
          "\xa3\x0a\0\0\0\0\0\0\0\x80\0\0");
    CHECK(cdb_stpg(cdb, 8), "SET TARGET PORT GROUPS", "\xa4\x0a\0\0\0\0\0\0\0\x08\0\0");
}

static void
test_data(void **state)
{
    (void)state;
    CHECK(cdb_read6(cdb, 0x1fffff, 256), "READ(6)", "\x08\x1f\xff\xff\0\0");
    CHECK(cdb_write6(cdb, 0x010203, 255), "WRITE(6)", "\x0a\1\2\3\xff\0");
    CHECK(cdb_read10(cdb, 0x01020304, 0x0506, SCSI_FUA), "READ(10)", "\x28\x08\1\2\3\4\0\5\6\0");
    CHECK(cdb_write10(cdb, 0xfffffffe, 0xffff, SCSI_DPO | 1 << SCSI_PROTECT_SHIFT), "WRITE(10)",
          "\x2a\x30\xff\xff\xff\xfe\0\xff\xff\0");
    CHECK(cdb_read12(cdb, 0x01020304, 0x05060708, 0), "READ(12)", "\xa8\0\1\2\3\4\5\6\7\x08\0\0");
    CHECK(cdb_write12(cdb, 0x01020304, 0x05060708, 0), "WRITE(12)", "\xaa\0\1\2\3\4\5\6\7\x08\0\0");
    CHECK(cdb_read16(cdb, 0x0102030405060708, 0x090a0b0c, SCSI_FUA), "READ(16)",
          "\x88\x08\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\0\0");
    CHECK(cdb_write16(cdb, 0x0102030405060708, 0x090a0b0c, 0), "WRITE(16)",
          "\x8a\0\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\0\0");
    CHECK(cdb_read32(cdb, 0x0102030405060708, 0x090a0b0c, 0x20, 0x0d0e0f10), "READ(32)",
          "\x7f\0\0\0\0\0\0\x18\0\x09\x20\0\1\2\3\4\5\6\7\x08\x0d\x0e\x0f\x10\0\0\0\0\x09\x0a\x0b"
          "\x0c");
    CHECK(cdb_write32(cdb, 1, 2, 0, 1), "WRITE(32)",
          "\x7f\0\0\0\0\0\0\x18\0\x0b\0\0\0\0\0\0\0\0\0\1\0\0\0\1\0\0\0\0\0\0\0\2");
    CHECK(cdb_verify10(cdb, 0x01020304, 5, SCSI_BYTCHK), "VERIFY(10)", "\x2f\2\1\2\3\4\0\0\5\0");
    CHECK(cdb_verify16(cdb, 0x0102030405060708, 5, SCSI_BYTCHK_ONE), "VERIFY(16)",
          "\x8f\6\1\2\3\4\5\6\7\x08\0\0\0\5\0\0");
    CHECK(cdb_sync_cache10(cdb, 0, 0, 0), "SYNCHRONIZE CACHE(10)", "\x35\0\0\0\0\0\0\0\0\0");
    CHECK(cdb_sync_cache16(cdb, 1, 2, SCSI_SYNC_IMMED), "SYNCHRONIZE CACHE(16)",
          "\x91\2\0\0\0\0\0\0\0\1\0\0\0\2\0\0");
    CHECK(cdb_write_same10(cdb, 1, 2, SCSI_WS_UNMAP), "WRITE SAME(10)", "\x41\x08\0\0\0\1\0\0\2\0");
    CHECK(cdb_write_same16(cdb, 1, 2, SCSI_WS_UNMAP | SCSI_WS_NDOB), "WRITE SAME(16)",
          "\x93\x09\0\0\0\0\0\0\0\1\0\0\0\2\0\0");
    CHECK(cdb_unmap(cdb, 24, SCSI_UNMAP_ANCHOR), "UNMAP", "\x42\1\0\0\0\0\0\0\x18\0");
    CHECK(cdb_compare_and_write(cdb, 0x0102030405060708, 9, SCSI_FUA), "COMPARE AND WRITE",
          "\x89\x08\1\2\3\4\5\6\7\x08\0\0\0\x09\0\0");
    CHECK(cdb_get_lba_status(cdb, 0x0102030405060708, 0x0a), "GET LBA STATUS",
          "\x9e\x12\1\2\3\4\5\6\7\x08\0\0\0\x0a\0\0");
}

/* The short builders write 16 bytes, whatever was there, and the same as the others. */
static void
test_short_builders(void **state)
{
    static const struct {
        uint64_t lba;
        uint32_t blocks;
    } rows[] = {{0, 1}, {0x01020304, 0x0506}, {0xffffffff, 0xffff}, {0x80000000, 0x8000}};
    uint8_t a[CDB_MAX], b[CDB_MAX];

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t lba = (uint32_t)rows[i].lba;
        uint64_t lba16 = rows[i].lba * 0x100000001ull;
        uint32_t n = rows[i].blocks, n16 = rows[i].blocks * 0x10001u;

        memset(a, 0xa5, sizeof(a));
        assert_int_equal(cdb_rw10(a, SCSI_READ_10, lba, n), cdb_read10(b, lba, (uint16_t)n, 0));
        assert_memory_equal(a, b, 16);
        assert_int_equal(cdb_rw10(a, SCSI_WRITE_10, lba, n), cdb_write10(b, lba, (uint16_t)n, 0));
        assert_memory_equal(a, b, 16);
        assert_int_equal(cdb_rw16(a, SCSI_READ_16, lba16, n16), cdb_read16(b, lba16, n16, 0));
        assert_memory_equal(a, b, 16);
        assert_int_equal(cdb_rw16(a, SCSI_WRITE_16, lba16, n16), cdb_write16(b, lba16, n16, 0));
        assert_memory_equal(a, b, 16);
        assert_int_equal(a[16], 0xa5);
    }
}

static void
extent(const uint8_t *cdb, int len, uint64_t lba, uint32_t blocks, uint8_t flags, uint8_t protect)
{
    struct scsi_extent e;
    uint32_t n;

    for (int i = 0; i < len; i++) {
        uint8_t *cut = malloc((size_t)i + 1);

        memcpy(cut, cdb, (size_t)i);
        assert_int_equal(cdb_extent(cut, (size_t)i, &e), -EINVAL);
        assert_int_equal(cdb_param_len(cut, (size_t)i, &n), -EINVAL);
        free(cut);
    }
    assert_int_equal(cdb_extent(cdb, (size_t)len, &e), 0);
    assert_true(e.lba == lba && e.blocks == blocks);
    assert_int_equal(e.flags, flags);
    assert_int_equal(e.protect, protect);
    assert_int_equal(cdb_param_len(cdb, (size_t)len, &n), -ENOTSUP);
}
#define EXTENT(call, lba, blocks, flags, protect)                                                  \
    do {                                                                                           \
        uint8_t cdb[CDB_MAX];                                                                      \
        int len = call;                                                                            \
        extent(cdb, len, lba, blocks, flags, protect);                                             \
    } while (0)

/* What was built is what the target reads. */
static void
test_extents(void **state)
{
    const uint64_t lba = 0xfedcba9876543210;

    (void)state;
    EXTENT(cdb_read6(cdb, 0x1fffff, 1), 0x1fffff, 1, 0, 0);
    EXTENT(cdb_write6(cdb, 0, 256), 0, 256, 0, 0);
    EXTENT(cdb_read10(cdb, 0xffffffff, 0, SCSI_FUA | 5 << 5), 0xffffffff, 0, SCSI_FUA, 5);
    EXTENT(cdb_write10(cdb, 7, 0xffff, SCSI_DPO), 7, 0xffff, SCSI_DPO, 0);
    EXTENT(cdb_read12(cdb, 7, 0xffffffff, 0), 7, 0xffffffff, 0, 0);
    EXTENT(cdb_write16(cdb, lba, 0xffffffff, 0), lba, 0xffffffff, 0, 0);
    EXTENT(cdb_verify16(cdb, lba, 1, SCSI_BYTCHK), lba, 1, SCSI_BYTCHK, 0);
    EXTENT(cdb_sync_cache16(cdb, lba, 0, 2), lba, 0, 2, 0);
    EXTENT(cdb_write_same10(cdb, 9, 1, SCSI_WS_UNMAP), 9, 1, SCSI_WS_UNMAP, 0);
    EXTENT(cdb_write_same16(cdb, lba, 1, SCSI_WS_NDOB), lba, 1, SCSI_WS_NDOB, 0);
    EXTENT(cdb_compare_and_write(cdb, lba, 255, SCSI_DPO), lba, 255, SCSI_DPO, 0);
    EXTENT(cdb_read32(cdb, lba, 3, SCSI_FUA | 1 << 5, 1), lba, 3, SCSI_FUA, 1);
}

static void
test_param_lens(void **state)
{
    uint8_t cdb[CDB_MAX];
    struct scsi_extent e;
    uint32_t n;

    (void)state;
#define LEN(call, want)                                                                            \
    do {                                                                                           \
        size_t len = (size_t)(call);                                                               \
        assert_int_equal(cdb_param_len(cdb, len, &n), 0);                                          \
        assert_int_equal(n, want);                                                                 \
        assert_int_equal(cdb_extent(cdb, len, &e), -ENOTSUP);                                      \
    } while (0)
    LEN(cdb_request_sense(cdb, false, 252), 252);
    LEN(cdb_inquiry(cdb, 0x1234), 0x1234);
    LEN(cdb_report_luns(cdb, 0, 0x12345678), 0x12345678);
    LEN(cdb_read_capacity16(cdb, 0x12345678), 0x12345678);
    LEN(cdb_get_lba_status(cdb, 1, 0x12345678), 0x12345678);
    LEN(cdb_mode_sense6(cdb, false, 0, 8, 0, 200), 200);
    LEN(cdb_mode_sense10(cdb, false, 0, 8, 0, 0x1234), 0x1234);
    LEN(cdb_mode_select6(cdb, false, 24), 24);
    LEN(cdb_mode_select10(cdb, false, 0x1234), 0x1234);
    LEN(cdb_unmap(cdb, 0x1234, 0), 0x1234);
    LEN(cdb_pr_in(cdb, SCSI_PRIN_READ_KEYS, 0x1234), 0x1234);
    LEN(cdb_pr_out(cdb, SCSI_PROUT_CLEAR, 0, 0x12345678), 0x12345678);
    LEN(cdb_rtpg(cdb, false, 0x12345678), 0x12345678);
    LEN(cdb_stpg(cdb, 8), 8);
    LEN(cdb_report_opcodes(cdb, 0, 0, 0, 0x12345678), 0x12345678);
#undef LEN
    static const uint8_t read_buffer[10] = {0x3c, 2, 0, 0, 0, 0, 1, 2, 3, 0};

    assert_int_equal(cdb_param_len(read_buffer, 10, &n), 0);
    assert_int_equal(n, 0x010203);
    cdb_test_unit_ready(cdb);
    assert_int_equal(cdb_param_len(cdb, 6, &n), -ENOTSUP);
}

static void
test_lengths(void **state)
{
    static const int by_group[8] = {6, 10, 10, -EINVAL, 16, 12, -EINVAL, -EINVAL};
    uint8_t cdb[CDB_LONGEST] = {0};

    (void)state;
    for (int op = 0; op < 256; op++) {
        cdb[0] = (uint8_t)op;
        assert_int_equal(cdb_length(cdb, sizeof(cdb)), op == 0x7f ? 8 : by_group[op >> 5]);
        assert_int_equal(cdb_length(cdb, 1), by_group[op >> 5]);
    }
    cdb[0] = 0x7f;
    cdb[7] = 0xfc;
    assert_int_equal(cdb_length(cdb, 7), -EINVAL);
    assert_int_equal(cdb_length(cdb, 8), CDB_LONGEST);
    cdb[0] = 0xee;
    assert_string_equal(cdb_name(cdb, 1), "unknown command");
    assert_string_equal(cdb_name(cdb, 0), "unknown command");
    cdb[0] = SCSI_SERVICE_ACTION_IN_16;
    cdb[1] = 0x1f;
    assert_string_equal(cdb_name(cdb, 16), "SERVICE ACTION IN(16)");
    assert_int_equal(cdb_service_action(cdb, 16), 0x1f);
    assert_int_equal(cdb_service_action(cdb, 1), -1);
    assert_int_equal(cdb_service_action((const uint8_t *)"\x12\1", 2), -1);
    assert_string_equal(scsi_status_name(0x28), "TASK SET FULL");
    assert_string_equal(scsi_status_name(0x03), "unknown status");
}

/* Any bytes of any length: no over-read (ASan). */
static void
test_fuzz(void **state)
{
    (void)state;
    srand(5);
    for (int n = 0; n < 100000; n++) {
        size_t len = (size_t)rand() % 34;
        uint8_t *exact = malloc(len > 0 ? len : 1);
        struct scsi_extent e;
        uint32_t v;

        for (size_t i = 0; i < len; i++)
            exact[i] = (uint8_t)rand();
        if (len > 0 && rand() % 3 == 0)
            exact[0] = 0x7f;
        if (len > 7 && rand() % 2 == 0)
            exact[7] = 0x18;
        (void)cdb_extent(exact, len, &e);
        (void)cdb_param_len(exact, len, &v);
        assert_non_null(cdb_name(exact, len));
        free(exact);
    }
}

static void
test_unmap(void **state)
{
    static const uint8_t want[40] = {0, 38, 0, 32, 0, 0, 0, 0, 1,    2,    3,    4,
                                     5, 6,  7, 8,  0, 0, 1, 0, 0,    0,    0,    0,
                                     0, 0,  0, 0,  0, 0, 0, 9, 0xff, 0xff, 0xff, 0xff};
    static const struct unmap_range ranges[2] = {{0x0102030405060708, 256}, {9, 0xffffffff}};
    struct unmap_range back[2];
    uint8_t buf[40];

    (void)state;
    assert_int_equal(unmap_list_build(buf, 39, ranges, 2), -ENOBUFS);
    assert_int_equal(unmap_list_build(buf, 40, ranges, 2), 40);
    assert_memory_equal(buf, want, 40);
    assert_int_equal(unmap_list_parse(buf, 40, back, 2), 2);
    assert_memory_equal(back, ranges, sizeof(ranges[0].lba));
    assert_int_equal(back[1].blocks, 0xffffffff);
    back[1].lba = 5;
    assert_int_equal(unmap_list_parse(buf, 40, back, 1), 2);
    assert_int_equal(back[1].lba, 5);
    for (size_t len = 0; len < 40; len++) {
        uint8_t *cut = malloc(len > 0 ? len : 1);

        memcpy(cut, buf, len);
        assert_int_equal(unmap_list_parse(cut, len, back, 2), -EINVAL);
        free(cut);
    }
    buf[1] = 37; /* less than the descriptors need */
    assert_int_equal(unmap_list_parse(buf, 40, back, 2), -EINVAL);
    buf[1] = 38;
    buf[3] = 31; /* a descriptor and a bit: the bit does not count */
    assert_int_equal(unmap_list_parse(buf, 40, back, 2), 1);
    assert_int_equal(unmap_list_build(buf, 8, NULL, 0), 8);
    assert_int_equal(unmap_list_parse(buf, 8, NULL, 0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_control),        cmocka_unit_test(test_data),
        cmocka_unit_test(test_short_builders), cmocka_unit_test(test_extents),
        cmocka_unit_test(test_param_lens),     cmocka_unit_test(test_lengths),
        cmocka_unit_test(test_fuzz),           cmocka_unit_test(test_unmap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
