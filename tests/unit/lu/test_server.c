/* SPDX-License-Identifier: MIT */
/* The device server: which commands there are, what they check, where their data goes (SPC-4,
 * SBC-3). */
#include "tests/unit/lu/router.h"

#include <stdlib.h>
#include <string.h>

#include "lu/buf.h"
#include "lu/sbc.h"
#include "lu/unit.h"

#define LBA_RANGE  0x052100
#define CDB_FIELD  0x052400
#define MISCOMPARE 0x0e1d00

/* The byte of the CDB that sense data points to. */
static int
bad_byte(struct world *w, const uint8_t *cdb)
{
    struct scsi_sense s = {0};

    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, NULL, 0, NULL, &s), SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), CDB_FIELD);
    assert_true(s.has_field && s.field_in_cdb);
    return s.field;
}

static void
ranges(void **state)
{
    struct world *w = *state;
    static const struct {
        uint64_t lba;
        uint32_t blocks;
        uint32_t code;
    } rows[] = {
        {0, 1, 0},
        {BLOCKS - 1, 1, 0},
        {BLOCKS - 1, 2, LBA_RANGE},
        {BLOCKS, 1, LBA_RANGE},
        {BLOCKS, 0, LBA_RANGE},
        {BLOCKS - 1, 0, 0},
        {0, BLOCKS, 0},
        {0, BLOCKS + 1, LBA_RANGE},
        {UINT32_MAX, 1, LBA_RANGE},
        {UINT64_MAX, 1, LBA_RANGE},
        {UINT64_MAX, UINT32_MAX, LBA_RANGE},
    };
    static uint8_t data[STORE_SIZE + BLOCK];
    uint8_t cdb[CDB_MAX];

    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint32_t len = rows[i].code == 0 ? rows[i].blocks * BLOCK : 0;

        (void)cdb_read16(cdb, rows[i].lba, rows[i].blocks, 0);
        assert_int_equal(do_code(w, w->a, cdb, NULL, 0), rows[i].code);
        (void)cdb_write16(cdb, rows[i].lba, rows[i].blocks, 0);
        assert_int_equal(do_code(w, w->a, cdb, data, len), rows[i].code);
        if (rows[i].lba > UINT32_MAX)
            continue;
        (void)cdb_read12(cdb, (uint32_t)rows[i].lba, rows[i].blocks, 0);
        assert_int_equal(do_code(w, w->a, cdb, NULL, 0), rows[i].code);
        if (rows[i].blocks > UINT16_MAX)
            continue;
        (void)cdb_read10(cdb, (uint32_t)rows[i].lba, (uint16_t)rows[i].blocks, 0);
        assert_int_equal(do_code(w, w->a, cdb, NULL, 0), rows[i].code);
        (void)cdb_write10(cdb, (uint32_t)rows[i].lba, (uint16_t)rows[i].blocks, 0);
        assert_int_equal(do_code(w, w->a, cdb, data, len), rows[i].code);
    }
    (void)cdb_read6(cdb, BLOCKS - 1, 1);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    (void)cdb_read6(cdb, BLOCKS, 1);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), LBA_RANGE);
    assert_true(w->disk.reads > 0 && w->disk.writes > 0);
}

static void
reads_what_was_written(void **state)
{
    struct world *w = *state;
    static uint8_t out[64 * BLOCK], in[64 * BLOCK];
    uint8_t cdb[CDB_MAX];
    uint32_t len;

    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (uint8_t)(i * 13 + i / BLOCK);
    (void)cdb_write10(cdb, 100, 64, 0);
    assert_int_equal(do_code(w, w->a, cdb, out, sizeof(out)), 0);
    assert_memory_equal(w->lu->mem + 100 * BLOCK, out, sizeof(out));
    (void)cdb_read16(cdb, 100, 64, 0);
    assert_int_equal(do_cmd(w, w->b, cdb, NULL, 0, in, sizeof(in), &len, NULL), SCSI_GOOD);
    assert_int_equal(len, sizeof(out));
    assert_memory_equal(in, out, sizeof(out));
}

/* Data may come short; what is not there is not touched. */
static void
short_data(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], data[BLOCK];
    struct req r;
    uint32_t len = 2 * BLOCK;

    memset(data, 0x77, sizeof(data));
    (void)cdb_write10(cdb, 0, 2, 0);
    req_begin(&r, w, w->a, 0, cdb, BLOCK);
    assert_true(r.c.dir == LU_DIR_OUT && r.c.len == 2 * BLOCK);
    assert_ptr_equal(lu_cmd_place(&r.c, 0, &len), w->lu->mem);
    assert_int_equal(len, 2 * BLOCK);
    lu_cmd_take(&r.c, 0, data, BLOCK);
    lu_cmd_finish(&r.c);
    assert_true(r.completed && r.c.status == SCSI_GOOD);
    req_end(&r);
    assert_int_equal(w->lu->mem[BLOCK - 1], 0x77);
    assert_int_equal(w->lu->mem[BLOCK], 0);
}

static void
null_unit(void **state)
{
    struct world *w = *state;
    static uint8_t in[4u << 20];
    uint8_t cdb[CDB_MAX];
    struct req r;
    uint32_t n = sizeof(in);
    void *owned = NULL;

    assert_int_equal(w->dev.lus_count, 2);
    (void)cdb_test_unit_ready(cdb);
    req_begin(&r, w, w->a, 5, cdb, 0);
    assert_true(r.c.failed); /* power on, once for each unit */
    req_finish(&r, NULL, 0);
    req_end(&r);
    memset(in, 0xff, sizeof(in));
    (void)cdb_read16(cdb, (1ull << 28) - 1024, 1024, 0);
    req_begin(&r, w, w->a, 5, cdb, sizeof(in));
    req_finish(&r, NULL, 0);
    (void)lu_cmd_source(&r.c, 0, &n, &owned);
    assert_int_equal(n, LU_ZEROS_SIZE);
    assert_null(owned);
    assert_int_equal(req_read(&r, in, sizeof(in)), sizeof(in));
    req_end(&r);
    for (size_t i = 0; i < sizeof(in); i++)
        assert_int_equal(in[i], 0);
    (void)cdb_write16(cdb, 7, 1024, 0);
    req_begin(&r, w, w->a, 5, cdb, sizeof(in));
    n = 4096;
    assert_null(lu_cmd_place(&r.c, 0, &n));
    req_finish(&r, in, sizeof(in));
    assert_int_equal(r.c.status, SCSI_GOOD);
    req_end(&r);
}

static void
refusals(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX] = {0xc1};
    uint8_t buf[256];
    struct scsi_sense s = {0};
    struct req r;

    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x052000); /* no such opcode */
    memset(cdb, 0, sizeof(cdb));
    cdb[0] = 0x9e;
    cdb[1] = 0x1f; /* no such service action */
    assert_int_equal(bad_byte(w, cdb), 1);
    (void)cdb_test_unit_ready(cdb);
    cdb[5] = 0x04; /* NACA */
    assert_int_equal(bad_byte(w, cdb), 5);
    (void)cdb_read10(cdb, 0, 1, 0);
    cdb[1] = 0x20; /* protection information */
    assert_int_equal(bad_byte(w, cdb), 1);
    (void)cdb_read16(cdb, 0, BLOCKS, 0);
    st_be32(cdb + 10, BLOCKS);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    (void)cdb_test_unit_ready(cdb); /* a LUN that is not there */
    req_begin(&r, w, w->a, 3, cdb, 0);
    assert_null(r.c.lu);
    req_finish(&r, NULL, 0);
    assert_true(sense_parse(r.c.sense, r.c.sense_len, &s));
    assert_int_equal(s.key << 16 | sense_code(&s), 0x052500);
    req_end(&r);
    (void)cdb_inquiry(cdb, 96); /* ... says so, but answers */
    req_begin(&r, w, w->a, 3, cdb, 96);
    req_finish(&r, NULL, 0);
    assert_int_equal(r.c.status, SCSI_GOOD);
    assert_true(req_read(&r, buf, sizeof(buf)) >= 36);
    assert_int_equal(buf[0], 0x7f);
    req_end(&r);
    lu_cmd_init(memset(&r.c, 0, sizeof(r.c))); /* failed by the router: enters the task set only */
    r.completed = false;
    r.c.nexus = w->a;
    lu_cmd_fail_status(&r.c, SCSI_BUSY);
    lu_cmd_start(&r.c);
    assert_ptr_equal(r.c.lu, w->lu);
    assert_false(list_empty(&w->lu->tasks));
    lu_cmd_finish(&r.c);
    assert_true(r.completed && r.c.status == SCSI_BUSY);
    req_end(&r);
    assert_true(list_empty(&w->lu->tasks));
}

static void
too_long(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX];
    struct scsi_sense s = {0};
    struct req r;

    (void)next_ua(w, w->a);
    (void)cdb_test_unit_ready(cdb);
    req_begin(&r, w, w->a, 5, cdb, 0);
    req_finish(&r, NULL, 0);
    req_end(&r);
    (void)cdb_read16(cdb, 0, LU_TRANSFER_MAX / 4096 + 1, 0);
    req_begin(&r, w, w->a, 5, cdb, 0);
    req_finish(&r, NULL, 0);
    assert_true(sense_parse(r.c.sense, r.c.sense_len, &s));
    assert_true(s.has_field && s.field == 10);
    req_end(&r);
}

static void
compares(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], data[4 * BLOCK];
    struct scsi_sense s = {0};

    memset(w->lu->mem, 0x11, 4 * BLOCK);
    memset(data, 0x11, sizeof(data));
    (void)cdb_verify10(cdb, 0, 4, SCSI_BYTCHK);
    assert_int_equal(do_code(w, w->a, cdb, data, sizeof(data)), 0);
    data[3 * BLOCK + 5] = 0;
    assert_int_equal(do_code(w, w->a, cdb, data, sizeof(data)), MISCOMPARE);
    (void)cdb_verify16(cdb, 0, 4, SCSI_BYTCHK_ONE);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    w->lu->mem[2 * BLOCK] = 0;
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), MISCOMPARE);
    w->lu->mem[2 * BLOCK] = 0x11;
    (void)cdb_compare_and_write(cdb, 1, 1, 0);
    memset(data + BLOCK, 0x22, BLOCK);
    assert_int_equal(do_code(w, w->a, cdb, data, 2 * BLOCK), 0);
    assert_int_equal(w->lu->mem[BLOCK], 0x22);
    assert_int_equal(w->lu->mem[2 * BLOCK], 0x11);
    assert_int_equal(do_cmd(w, w->a, cdb, data, 2 * BLOCK, NULL, 0, NULL, &s),
                     SCSI_CHECK_CONDITION);
    assert_int_equal(s.key << 16 | sense_code(&s), MISCOMPARE);
    assert_true(s.has_info && s.info == 0); /* where they differ */
}

static void
zeroes(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], list[8 + 16], data[BLOCK] = {0}, in[8 + 16];
    uint32_t len;

    memset(w->lu->mem, 0x33, STORE_SIZE);
    lu_mark(w->lu, 0, BLOCKS);
    memset(data, 0x44, sizeof(data));
    (void)cdb_write_same10(cdb, 3, 5, 0);
    assert_int_equal(do_code(w, w->a, cdb, data, BLOCK), 0);
    assert_int_equal(w->lu->mem[3 * BLOCK - 1], 0x33);
    assert_int_equal(w->lu->mem[3 * BLOCK], 0x44);
    assert_int_equal(w->lu->mem[8 * BLOCK - 1], 0x44);
    assert_int_equal(w->lu->mem[8 * BLOCK], 0x33);
    memset(list, 0, sizeof(list));
    st_be16(list, sizeof(list) - 2);
    st_be16(list + 2, 16);
    st_be64(list + 8, 1);
    st_be32(list + 16, 100);
    (void)cdb_unmap(cdb, sizeof(list), 0);
    assert_int_equal(do_code(w, w->a, cdb, list, sizeof(list)), 0);
    assert_int_equal(w->disk.discards, 1); /* whole pages; the rest is written */
    assert_int_equal(w->lu->mem[BLOCK - 1], 0x33);
    for (size_t i = BLOCK; i < 101 * BLOCK; i++)
        assert_int_equal(w->lu->mem[i], 0);
    assert_int_equal(w->lu->mem[101 * BLOCK], 0x33);
    (void)cdb_get_lba_status(cdb, 1, sizeof(in));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, in, sizeof(in), &len, NULL), SCSI_GOOD);
    assert_true(len == sizeof(in) && ld_be64(in + 8) == 1 && ld_be32(in + 16) == 100);
    assert_int_equal(in[20], 1); /* deallocated */
    w->disk.no_discard = true;
    (void)cdb_write_same16(cdb, 200, 100, SCSI_WS_UNMAP | SCSI_WS_NDOB);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    assert_int_equal(w->lu->mem[200 * BLOCK], 0);
    assert_int_equal(w->lu->mem[300 * BLOCK - 1], 0);
    assert_int_equal(w->lu->mem[300 * BLOCK], 0x33);
    st_be64(list + 8, BLOCKS - 1);
    st_be32(list + 16, 2);
    (void)cdb_unmap(cdb, sizeof(list), 0);
    assert_int_equal(do_code(w, w->a, cdb, list, sizeof(list)), LBA_RANGE);
    st_be16(list + 2, 15); /* not a whole descriptor */
    assert_int_not_equal(do_code(w, w->a, cdb, list, sizeof(list)), LBA_RANGE);
}

/* What the device says of itself holds for what it does. */
static void
describes_itself(void **state)
{
    struct world *w = *state;
    static uint8_t all[8192], one[64];
    uint8_t cdb[CDB_MAX], buf[1024];
    uint32_t len;
    unsigned ops = 0;

    (void)cdb_report_luns(cdb, 0, sizeof(buf));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_true(len == 24 && buf[8 + 1] == 0 && buf[16 + 1] == 5);
    (void)cdb_inquiry(cdb, 255);
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_memory_equal(buf + 16, "fake disk ", 10);
    assert_int_equal(ld_be16(buf + 60), 0x0961);
    (void)cdb_inquiry(cdb, 5); /* ALLOCATION LENGTH */
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_int_equal(len, 5);
    (void)cdb_inquiry_vpd(cdb, 0x80, 255);
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_memory_equal(buf + len - 5, "disk0", 5);
    (void)cdb_inquiry_vpd(cdb, 0x42, 255);
    assert_int_equal(bad_byte(w, cdb), 2);
    (void)cdb_read_capacity16(cdb, 32);
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_true(ld_be64(buf) == BLOCKS - 1 && ld_be32(buf + 8) == BLOCK);
    (void)cdb_report_opcodes(cdb, 0, 0, 0, sizeof(all));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, all, sizeof(all), &len, NULL), SCSI_GOOD);
    assert_int_equal(len, 4 + ld_be32(all));
    for (uint32_t at = 4; at < len; at += 8) {
        const uint8_t *d = all + at;
        bool has_sa = d[5] & 1;
        uint32_t n;

        ops++;
        (void)cdb_report_opcodes(cdb, has_sa ? 2 : 1, d[0], ld_be16(d + 2), sizeof(one));
        assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, one, sizeof(one), &n, NULL), SCSI_GOOD);
        assert_int_equal(one[1] & 7, 3);
        assert_int_equal(ld_be16(one + 2), ld_be16(d + 6));
        assert_int_equal(one[4], d[0]);
        assert_int_equal(n, 4 + ld_be16(d + 6));
    }
    assert_true(ops > 40);
    (void)cdb_report_opcodes(cdb, 1, 0xc1, 0, sizeof(one));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, one, sizeof(one), NULL, NULL), SCSI_GOOD);
    assert_int_equal(one[1] & 7, 1);
}

/* SPC-4 6.42: the default self test passes, others are not there. */
static void
diagnostic(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX] = {0x1d, 0x04};

    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    cdb[1] = 0x07; /* it may disturb other units */
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    cdb[1] = 0;
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    cdb[1] = 0x24;
    assert_int_equal(bad_byte(w, cdb), 1);
    cdb[1] = 0x14;
    assert_int_equal(bad_byte(w, cdb), 1);
    cdb[1] = 0x04;
    cdb[4] = 8;
    assert_int_equal(bad_byte(w, cdb), 3);
}

/* A chain of buffers is freed as one. */
static void
buffers(void **state)
{
    uint8_t *a = lu_buf_alloc(100), *b = lu_buf_alloc(1);

    (void)state;
    for (int i = 0; i < 100; i++)
        assert_int_equal(a[i], 0);
    assert_int_equal((uintptr_t)a % _Alignof(max_align_t), 0);
    assert_ptr_equal(lu_buf_chain(b, a), b);
    lu_buf_free(b);
    lu_buf_free(NULL);
}

/* A list that is longer than any with a meaning is refused before there is memory for it. */
static void
long_lists(void **state)
{
    static uint8_t list[UNMAP_LIST_LEN(LU_UNMAP_DESC_MAX)];
    struct world *w = *state;
    uint8_t cdb[CDB_MAX];
    struct req r;

    st_be16(list, sizeof(list) - 2);
    st_be16(list + 2, sizeof(list) - 8); /* descriptors of no blocks */
    (void)cdb_unmap(cdb, sizeof(list), 0);
    assert_int_equal(do_code(w, w->a, cdb, list, sizeof(list)), 0);
    (void)cdb_unmap(cdb, sizeof(list) + 16, 0);
    req_begin(&r, w, w->a, 0, cdb, sizeof(list) + 16);
    assert_true(r.c.failed && r.c.buf == NULL);
    req_end(&r);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x052600);
    (void)cdb_mode_select10(cdb, false, 65535);
    req_begin(&r, w, w->a, 0, cdb, 65535);
    assert_true(r.c.failed && r.c.buf == NULL);
    req_end(&r);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x051a00);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(ranges, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(diagnostic, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(reads_what_was_written, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(short_data, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(null_unit, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(refusals, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(too_long, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(compares, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(long_lists, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(zeroes, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(describes_itself, world_setup, world_teardown),
        cmocka_unit_test(buffers),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
