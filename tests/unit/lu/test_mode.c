/* SPDX-License-Identifier: MIT */
/* MODE SENSE and MODE SELECT: what is told, what can be changed, what it does. */
#include "tests/unit/lu/router.h"

#include <string.h>

#include "wire/mode.h"

#define LIST_LEN    0x051a00
#define PARAM_FIELD 0x052600

enum { CURRENT, CHANGEABLE, DEFAULT, SAVED };

/* One page by MODE SENSE(10) without block descriptor; its length. */
static uint32_t
sense(struct world *w, unsigned pc, uint8_t page, uint8_t *ret)
{
    uint8_t cdb[CDB_MAX], buf[256];
    uint32_t len;

    (void)cdb_mode_sense10(cdb, true, pc, page, 0, sizeof(buf));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_int_equal(len, 2u + ld_be16(buf));
    assert_int_equal(ld_be16(buf + 6), 0);
    memcpy(ret, buf + 8, len - 8);
    return len - 8;
}

/* Gives one page to MODE SELECT(10). */
static uint32_t
choose(struct world *w, const uint8_t *page, uint32_t len)
{
    uint8_t cdb[CDB_MAX], list[256] = {0};

    memcpy(list + 8, page, len);
    list[8] &= 0x3f; /* PS is reserved */
    (void)cdb_mode_select10(cdb, false, (uint16_t)(8 + len));
    return do_code(w, w->a, cdb, list, 8 + len);
}

static void
pages(void **state)
{
    struct world *w = *state;
    uint8_t cdb[CDB_MAX], p[256], buf[256];
    uint32_t len, sum = 0;

    assert_int_equal(sense(w, CURRENT, MODE_PAGE_CACHING, p), 20);
    assert_int_equal(p[2], 0x04);
    sum += 20;
    assert_int_equal(sense(w, CHANGEABLE, MODE_PAGE_CACHING, p), 20);
    assert_int_equal(p[2], 0x04);
    for (int i = 3; i < 20; i++)
        assert_int_equal(p[i], 0);
    sum += sense(w, CURRENT, MODE_PAGE_CONTROL, p);
    (void)sense(w, CHANGEABLE, MODE_PAGE_CONTROL, p);
    assert_true(p[2] == 0x04 && p[4] == 0x08);
    sum += sense(w, CURRENT, MODE_PAGE_INFO_EXCEPTIONS, p);
    assert_int_equal(sense(w, CURRENT, MODE_PAGE_ALL, p), sum);
    (void)cdb_mode_sense10(cdb, true, SAVED, MODE_PAGE_CACHING, 0, 255);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x053900);
    (void)cdb_mode_sense6(cdb, true, CURRENT, 0x02, 0, 255);
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x052400);
    (void)cdb_mode_sense6(cdb, false, CURRENT, MODE_PAGE_CACHING, 0, 255);
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), &len, NULL), SCSI_GOOD);
    assert_int_equal(buf[3], 8);
    assert_int_equal(ld_be24(buf + 4 + 5), BLOCK);
    assert_int_equal(len, 4 + 8 + 20);
}

static void
cache(void **state)
{
    struct world *w = *state;
    uint8_t p[64];

    (void)sense(w, CURRENT, MODE_PAGE_CACHING, p);
    assert_int_equal(choose(w, p, 20), 0); /* nothing changes: nobody hears of it */
    assert_int_equal(next_ua(w, w->b), 0);
    p[2] &= (uint8_t)~0x04;
    assert_int_equal(w->disk.syncs, 0);
    assert_int_equal(choose(w, p, 20), 0);
    assert_int_equal(w->disk.syncs, 1); /* what was cached is made stable */
    assert_int_equal(next_ua(w, w->a), 0);
    assert_int_equal(next_ua(w, w->b), 0x2a01);
    (void)sense(w, CURRENT, MODE_PAGE_CACHING, p);
    assert_int_equal(p[2], 0);
    (void)sense(w, DEFAULT, MODE_PAGE_CACHING, p);
    assert_int_equal(p[2], 0x04);
    lu_reset(w->lu, w->a, NULL);
    assert_int_equal(next_ua(w, w->a), 0x2903);
    (void)sense(w, CURRENT, MODE_PAGE_CACHING, p);
    assert_int_equal(p[2], 0x04);
}

static void
control(void **state)
{
    struct world *w = *state;
    uint8_t p[64], cdb[CDB_MAX], buf[64];
    struct scsi_sense s = {0};
    struct req r;
    uint32_t len = sense(w, CURRENT, MODE_PAGE_CONTROL, p);

    p[4] |= 0x08; /* SWP */
    p[2] |= 0x04; /* D_SENSE */
    assert_int_equal(choose(w, p, len), 0);
    (void)cdb_write10(cdb, 0, 1, 0);
    req_begin(&r, w, w->a, 0, cdb, BLOCK);
    req_finish(&r, NULL, 0);
    assert_int_equal(r.c.sense[0], 0x72); /* descriptor format */
    assert_true(sense_parse(r.c.sense, r.c.sense_len, &s));
    assert_int_equal(s.key << 16 | sense_code(&s), 0x072700);
    req_end(&r);
    (void)cdb_mode_sense6(cdb, true, CURRENT, MODE_PAGE_CONTROL, 0, sizeof(buf));
    assert_int_equal(do_cmd(w, w->a, cdb, NULL, 0, buf, sizeof(buf), NULL, NULL), SCSI_GOOD);
    assert_int_equal(buf[2] & MODE_DEV_WP, MODE_DEV_WP);
    p[4] = 0;
    assert_int_equal(choose(w, p, len), 0);
    (void)cdb_write10(cdb, 0, 1, 0);
    req_begin(&r, w, w->a, 0, cdb, BLOCK);
    assert_false(r.c.failed);
    req_end(&r);
}

static void
bad_lists(void **state)
{
    struct world *w = *state;
    uint8_t p[64], cdb[CDB_MAX], list[64] = {0};

    (void)sense(w, CURRENT, MODE_PAGE_CACHING, p);
    p[2] |= 0x01; /* RCD cannot be changed */
    assert_int_equal(choose(w, p, 20), PARAM_FIELD);
    p[2] &= (uint8_t)~0x01;
    assert_int_equal(choose(w, p, 19), LIST_LEN);
    p[1] = 17; /* a shorter page */
    assert_int_equal(choose(w, p, 19), PARAM_FIELD);
    p[0] = 0x02; /* a page that is not there */
    p[1] = 18;
    assert_int_equal(choose(w, p, 20), PARAM_FIELD);
    (void)cdb_mode_select10(cdb, true, 28); /* nothing can be saved */
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0x052400);
    (void)cdb_mode_select6(cdb, false, 3); /* not a header */
    assert_int_equal(do_code(w, w->a, cdb, list, 3), LIST_LEN);
    list[3] = 8;
    st_be24(list + 4 + 5, 4096); /* another block length */
    (void)cdb_mode_select6(cdb, false, 12);
    assert_int_equal(do_code(w, w->a, cdb, list, 12), PARAM_FIELD);
    st_be24(list + 4 + 5, BLOCK);
    assert_int_equal(do_code(w, w->a, cdb, list, 12), 0);
    (void)cdb_mode_select6(cdb, false, 0); /* no list is no error */
    assert_int_equal(do_code(w, w->a, cdb, NULL, 0), 0);
    assert_int_equal(next_ua(w, w->b), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pages, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(cache, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(control, world_setup, world_teardown),
        cmocka_unit_test_setup_teardown(bad_lists, world_setup, world_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
