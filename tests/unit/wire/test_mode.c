/* SPDX-License-Identifier: MIT */
/* Mode data, capacity, REPORT LUNS, target port groups. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/be.h"
#include "wire/capacity.h"
#include "wire/mode.h"

static uint8_t *
exact(const uint8_t *buf, size_t len)
{
    uint8_t *p = malloc(len > 0 ? len : 1);

    memcpy(p, buf, len);
    return p;
}

static const struct mode_caching caching = {.wce = true, .rcd = false};
static const struct mode_control control = {.d_sense = true,
                                            .swp = true,
                                            .tas = true,
                                            .reorders = true,
                                            .qerr = 3,
                                            .ua_intlck = 2,
                                            .busy_timeout_100ms = 0x1234};

/* Header, block descriptor, pages 08h, 0Ah, 1Ch as the target sends them. */
static size_t
mode_data(uint8_t *b, size_t size, enum mode_form form)
{
    int head = form == MODE_6 ? 4 : 8, n = head, r;

    r = mode_block_descriptor_build(b + n, size - (size_t)n, 1000, 512);
    assert_int_equal(r, 8);
    n += r;
    r = mode_caching_build(b + n, size - (size_t)n, &caching);
    assert_int_equal(r, 20);
    n += r;
    r = mode_control_build(b + n, size - (size_t)n, &control);
    assert_int_equal(r, 12);
    n += r;
    r = mode_info_exceptions_build(b + n, size - (size_t)n);
    assert_int_equal(r, 12);
    n += r;
    assert_int_equal(
        mode_header_build(b, size, form, MODE_DEV_WP | MODE_DEV_DPOFUA, 8, (size_t)(n - head)),
        head);
    return (size_t)n;
}

static void
test_mode_bytes(void **state)
{
    static const uint8_t want6[56] = {
        55,   0,  0x90, 8,    0,    0,    0x03, 0xe8, 0,    0,    2, 0, 0x08, 18, 0x04, 0,
        0,    0,  0,    0,    0,    0,    0,    0,    0,    0,    0, 0, 0,    0,  0,    0,
        0x0a, 10, 0x04, 0x16, 0x28, 0x40, 0,    0,    0x12, 0x34, 0, 0, 0x1c, 10};
    static const uint8_t head10[8] = {0, 58, 0, 0x90, 0, 0, 0, 8};
    uint8_t b[100];

    (void)state;
    assert_int_equal(mode_data(b, sizeof(b), MODE_6), 56);
    assert_memory_equal(b, want6, 56);
    assert_int_equal(mode_data(b, sizeof(b), MODE_10), 60);
    assert_memory_equal(b, head10, 8);
    assert_memory_equal(b + 8, want6 + 4, 52);
    assert_int_equal(mode_header_build(b, 4, MODE_6, 0, 0, 252), 4);
    assert_int_equal(b[0], 255);
    assert_int_equal(mode_header_build(b, 4, MODE_6, 0, 0, 253), -ERANGE);
    assert_int_equal(mode_header_build(b, 7, MODE_10, 0, 0, 253), -ENOBUFS);
    assert_int_equal(mode_header_build(b, 8, MODE_10, 0, 0, 65530), -ERANGE);
    mode_block_descriptor_build(b, 8, 1ull << 32, 4096);
    assert_memory_equal(b, "\xff\xff\xff\xff\0\0\x10\0", 8);
}

/* SC-120..124 at every prefix */
static void
test_mode_parse(void **state)
{
    (void)state;
    for (int form = MODE_6; form <= MODE_10; form++) {
        size_t head = form == MODE_6 ? 4 : 8, len;
        uint8_t b[100];

        len = mode_data(b, sizeof(b), (enum mode_form)form);
        for (size_t n = 0; n <= len + 5; n++) {
            uint8_t *cut = exact(b, n);
            struct mode_caching ca = {0};
            struct mode_control co = {0};
            struct mode_page p;
            struct mode_data d;

            if (n < head) {
                assert_int_equal(mode_parse(cut, n, (enum mode_form)form, &d), -EINVAL);
                free(cut);
                continue;
            }
            assert_int_equal(mode_parse(cut, n, (enum mode_form)form, &d), 0);
            assert_int_equal(d.length, len);
            assert_int_equal(d.dev_specific, MODE_DEV_WP | MODE_DEV_DPOFUA);
            assert_int_equal(d.bd != NULL, n >= head + 8);
            assert_int_equal(mode_page_find(&d, MODE_PAGE_CACHING, 0, &p), n >= head + 28);
            if (n >= head + 28)
                assert_true(mode_caching_parse(&p, &ca) && ca.wce && !ca.rcd);
            assert_int_equal(mode_page_find(&d, MODE_PAGE_CONTROL, 0, &p), n >= head + 40);
            if (n >= head + 40) {
                assert_false(mode_caching_parse(&p, &ca));
                assert_true(mode_control_parse(&p, &co));
                assert_true(co.d_sense && co.swp && co.tas && co.reorders && co.qerr == 3 &&
                            co.ua_intlck == 2 && co.busy_timeout_100ms == 0x1234);
            }
            assert_int_equal(mode_page_find(&d, MODE_PAGE_INFO_EXCEPTIONS, 0, &p), n >= len);
            assert_false(mode_page_find(&d, MODE_PAGE_CONTROL, 1, &p));
            free(cut);
        }
    }
}

static void
test_mode_odd(void **state)
{
    /* subpage format before the caching page; MODE SELECT data with length 0 */
    static const uint8_t select6[] = {0, 0, 0, 0, 0xca, 1, 0, 2, 9, 9, 0x88, 4, 0x05, 0, 0, 0};
    struct mode_caching ca;
    struct mode_page p;
    struct mode_data d;
    uint8_t b[16];

    (void)state;
    assert_int_equal(mode_parse(select6, sizeof(select6), MODE_6, &d), 0);
    assert_int_equal(d.length, sizeof(select6));
    assert_true(mode_page_find(&d, MODE_PAGE_CONTROL, 1, &p));
    assert_int_equal(p.header_len, 4);
    assert_int_equal(p.len, 6);
    assert_true(p.saveable);
    assert_true(mode_page_find(&d, MODE_PAGE_CACHING, 0, &p));
    assert_true(mode_caching_parse(&p, &ca) && ca.wce && ca.rcd);
    /* where the two headers have what */
    static const uint8_t head10[] = {0, 6, 1, 2, 0x01, 0, 0, 0};

    assert_int_equal(mode_parse(head10, sizeof(head10), MODE_10, &d), 0);
    assert_true(d.medium == 1 && d.dev_specific == 2 && d.longlba);
    assert_int_equal(mode_parse((const uint8_t *)"\3\1\2\0", 4, MODE_6, &d), 0);
    assert_true(d.medium == 1 && d.dev_specific == 2 && !d.longlba);
    /* block descriptors longer than the data */
    memcpy(b, select6, sizeof(b));
    b[0] = 15;
    b[3] = 200;
    assert_int_equal(mode_parse(b, sizeof(b), MODE_6, &d), 0);
    assert_null(d.bd);
    assert_ptr_equal(d.pages, d.end);
    /* a header that claims less than itself */
    b[0] = 1;
    assert_int_equal(mode_parse(b, sizeof(b), MODE_6, &d), 0);
    assert_ptr_equal(d.pages, d.end);
    srand(9);
    for (int n = 0; n < 100000; n++) {
        uint8_t raw[40], *cut;
        size_t len = (size_t)rand() % sizeof(raw);
        const uint8_t *at;

        for (size_t i = 0; i < sizeof(raw); i++)
            raw[i] = (uint8_t)(rand() % 3 == 0 ? rand() : rand() % 12);
        cut = exact(raw, len);
        if (mode_parse(cut, len, rand() % 2 == 0 ? MODE_6 : MODE_10, &d) == 0) {
            assert_true(d.pages >= cut && d.pages <= d.end && d.end <= cut + len);
            at = d.pages;
            while (mode_page_next(&d, &at, &p)) {
                assert_true(p.data + p.len <= d.end && p.len >= 2);
                (void)mode_control_parse(&p, &(struct mode_control){0});
            }
        }
        free(cut);
    }
}

static void
test_capacity(void **state)
{
    static const uint8_t want16[32] = {0, 0, 0,    1, 0,    0,    0,    0,
                                       0, 0, 0x02, 0, 0x15, 0x23, 0xd2, 0x34};
    struct scsi_capacity c, d;
    uint8_t b[32];

    (void)state;
    assert_int_equal(capacity10_parse((const uint8_t *)"\0\0\0\x0f\0\0\2\0", 8, &c), 0);
    assert_true(c.blocks == 16 && c.block_len == 512 && !c.more);
    assert_int_equal(capacity10_parse((const uint8_t *)"\0\0\0\x0f\0\0\2\0", 7, &c), -EINVAL);
    assert_int_equal(capacity10_parse((const uint8_t *)"\xff\xff\xff\xff\0\0\2\0", 8, &c), 0);
    assert_true(c.more && c.blocks == 1ull << 32);
    assert_int_equal(capacity16_parse(want16, 32, &c), 0);
    assert_true(c.blocks == (1ull << 32) + 1 && c.block_len == 512);
    assert_int_equal(c.rc_basis, 1);
    assert_int_equal(c.protection, 3);
    assert_int_equal(c.p_i_exponent, 2);
    assert_int_equal(c.physical_exponent, 3);
    assert_true(c.lbpme && c.lbprz);
    assert_int_equal(c.lowest_aligned, 0x1234);
    assert_int_equal(capacity16_build(b, 32, &c), 32);
    assert_memory_equal(b, want16, 32);
    assert_int_equal(capacity16_build(b, 31, &c), -ENOBUFS);
    assert_int_equal(capacity10_build(b, 8, &c), 8);
    assert_memory_equal(b, "\xff\xff\xff\xff\0\0\2\0", 8);
    c.blocks = 1ull << 32;
    assert_int_equal(capacity10_build(b, 8, &c), 8);
    assert_memory_equal(b, "\xff\xff\xff\xff\0\0\2\0", 8);
    c.blocks = 16;
    assert_int_equal(capacity10_build(b, 8, &c), 8);
    assert_memory_equal(b, "\0\0\0\x0f\0\0\2\0", 8);
    for (size_t n = 0; n < 32; n++) {
        uint8_t *cut = exact(want16, n);

        assert_int_equal(capacity16_parse(cut, n, &d), n < 12 ? -EINVAL : 0);
        if (n >= 12)
            assert_int_equal(d.protection, n >= 13 ? 3 : 0);
        free(cut);
    }
    memset(b, 0xff, sizeof(b));
    assert_int_equal(capacity16_parse(b, 32, &c), -EINVAL); /* last LBA + 1 would be 0 */
    b[7] = 0xfe;
    assert_int_equal(capacity16_parse(b, 32, &c), 0);
    assert_true(c.blocks == UINT64_MAX);
    b[13] = 0x8f;
    b[12] = 0x0e; /* P_TYPE without PROT_EN */
    assert_int_equal(capacity16_parse(b, 32, &c), 0);
    assert_int_equal(c.protection, 0);
    assert_int_equal(c.p_i_exponent, 8);
    assert_int_equal(c.physical_exponent, 15);
}

static void
test_report_luns(void **state)
{
    static const struct {
        uint32_t list;
        size_t len;
        int n;
    } rows[] = {{24, 32, 3},         {24, 31, 2},         {24, 8, 0},      {0, 32, 0},
                {7, 32, 0},          {9, 32, 1},          {23, 32, 2},     {32, 32, 3},
                {0xfffffff8, 32, 3}, {0xffffffff, 16, 1}, {24, 7, -EINVAL}};
    struct lun luns[3] = {lun_from_number(0), lun_from_number(300), lun_well_known(1)};
    uint8_t b[32];
    uint64_t total;

    (void)state;
    assert_int_equal(report_luns_build(b, sizeof(b), luns, 3), 32);
    assert_memory_equal(
        b, "\0\0\0\x18\0\0\0\0\0\0\0\0\0\0\0\0\x41\x2c\0\0\0\0\0\0\xc1\1\0\0\0\0\0\0", 32);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t *cut;
        int n;

        st_be32(b, rows[i].list);
        cut = exact(b, rows[i].len);
        n = report_luns_count(cut, rows[i].len, &total);
        assert_int_equal(n, rows[i].n);
        if (n >= 0)
            assert_true(total == (uint64_t)rows[i].list + 8);
        for (int k = 0; k < n; k++)
            assert_true(lun_equal(report_luns_get(cut, (unsigned)k), luns[k]));
        free(cut);
    }
    memset(b, 0xa5, sizeof(b));
    assert_int_equal(report_luns_build(b, 16, luns, 3), 32); /* the header tells of all */
    assert_int_equal(b[3], 24);
    assert_int_equal(b[16], 0xa5);
    assert_int_equal(report_luns_build(b, 0, luns, 3), 32);
}

static void
test_alua(void **state)
{
    static const uint16_t ports[2] = {1, 0x0203};
    struct alua_group g = {.preferred = true,
                           .state = ALUA_STANDBY,
                           .supported = 0x8f,
                           .group = 0x0102,
                           .status = 2},
                      back;
    struct alua_iter it;
    uint32_t total;
    uint8_t b[40];

    (void)state;
    for (int ext = 0; ext < 2; ext++) {
        size_t len = ext ? 24 : 20;

        assert_int_equal(alua_build(b, len - 1, ext, 30, &g, ports, 2), -ENOBUFS);
        assert_int_equal(alua_build(b, sizeof(b), ext, 30, &g, ports, 2), len);
        assert_memory_equal(b,
                            ext ? "\0\0\0\x14\x10\x1e\0\0\x82\x8f\1\2\0\2\0\2\0\0\0\1\0\0\2\3"
                                : "\0\0\0\x10\x82\x8f\1\2\0\2\0\2\0\0\0\1\0\0\2\3",
                            len);
        for (size_t n = 0; n <= len; n++) {
            uint8_t *cut = exact(b, n);
            size_t head = ext ? 8 : 4;

            assert_int_equal(alua_iter_init(&it, cut, n, &total), n < 4 ? -EINVAL : 0);
            if (n >= head) {
                assert_int_equal(total, len);
                assert_int_equal(it.transition_s, ext ? 30 : 0);
                assert_int_equal(alua_next(&it, &back), n >= head + 8);
            }
            if (n >= head + 8) {
                assert_true(back.preferred && back.state == ALUA_STANDBY && back.group == 0x102);
                assert_int_equal(back.supported, 0x8f);
                assert_int_equal(back.status, 2);
                assert_int_equal(back.ports_count, (n - head - 8) / 4);
                for (unsigned k = 0; k < back.ports_count; k++)
                    assert_int_equal(alua_port(&back, k), ports[k]);
                assert_false(alua_next(&it, &back));
            }
            free(cut);
        }
    }
    assert_int_equal(alua_iter_init(&it, (const uint8_t *)"\0\0\0\0", 4, NULL), 0);
    assert_false(alua_next(&it, &back));
    assert_int_equal(alua_iter_init(&it, (const uint8_t *)"\xff\xff\xff\xff", 4, &total), 0);
    assert_true(total == UINT32_MAX);
    assert_string_equal(alua_state_name(ALUA_OPTIMIZED), "active/optimized");
    assert_string_equal(alua_state_name(5), "unknown state");
}

static void
test_alua_find(void **state)
{
    /* groups 1 (ports 1, 2), 2 (port 3), 2 again, and 3, which is cut within its ports */
    static const uint8_t b[] = "\0\0\0\x3c\x10\x07\0\0" /* the header */
                               "\0\x8f\0\1\0\0\0\2\0\0\0\1\0\0\0\2"
                               "\2\x8f\0\2\0\0\0\1\0\0\0\3"
                               "\x83\x8f\0\2\0\0\0\1\0\0\0\4"
                               "\xf\x8f\0\3\0\0\0\xff\0\0\0\5";
    static const struct {
        int32_t group, port;
        size_t len;
        int found; /* the state, or -1 */
    } rows[] = {
        {1, -1, 60, ALUA_OPTIMIZED},
        {1, 99, 60, ALUA_OPTIMIZED},   /* the group decides */
        {2, -1, 60, ALUA_UNAVAILABLE}, /* the last of two */
        {2, -1, 36, ALUA_STANDBY},
        {3, -1, 60, ALUA_TRANSITIONING},
        {4, -1, 60, -1},
        {4, 1, 60, -1},
        {-1, 2, 60, ALUA_OPTIMIZED},
        {-1, 3, 60, ALUA_STANDBY},
        {-1, 5, 60, ALUA_TRANSITIONING},
        {-1, 6, 60, -1},
        {-1, 5, 58, -1},
        {-1, -1, 60, -1}, /* one of several */
        {-1, -1, 24, ALUA_OPTIMIZED},
        {1, 1, 8, -1},
        {1, 1, 3, -1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t *cut = exact(b, rows[i].len), secs = 99;
        struct alua_group g = {.state = 9};
        bool found = alua_find(cut, rows[i].len, rows[i].group, rows[i].port, &g, &secs);

        assert_int_equal(found, rows[i].found >= 0);
        assert_int_equal(g.state, found ? rows[i].found : 9);
        assert_int_equal(secs, found ? 7 : 99);
        free(cut);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mode_bytes),  cmocka_unit_test(test_mode_parse),
        cmocka_unit_test(test_mode_odd),    cmocka_unit_test(test_capacity),
        cmocka_unit_test(test_report_luns), cmocka_unit_test(test_alua),
        cmocka_unit_test(test_alua_find),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
