/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/lun.h"

static void
test_rows(void **state)
{
    static const struct {
        uint8_t b[8];
        uint64_t view;
        int64_t number; /* -1: none */
        const char *text;
    } rows[] = {
        {{0}, 0, 0, "0"},
        {{0, 5}, 5, 5, "5"},
        {{0, 255}, 255, 255, "255"},
        {{0x41, 0x00}, 0x4100, 256, "256"},
        {{0x41, 0x2c}, 0x412c, 300, "300"},
        {{0x7f, 0xff}, 0x7fff, 16383, "16383"},
        {{0xd2, 0x00, 0x40, 0x00}, 0x4000d200, 16384, "16384"},
        {{0xd2, 0xff, 0xff, 0xff}, 0xffffd2ff, 0xffffff, "16777215"},
        {{0xe2, 0x00, 0x01, 0x00, 0x00, 0x00}, 0x00000100e200, 0x1000000, "16777216"},
        {{0xe2, 0xff, 0xff, 0xff, 0xff, 0xff}, 0xffffffffe2ff, 0xffffffffff, "1099511627775"},
        /* not what we would make: the same number, another LUN */
        {{0x40, 5}, 0x4005, 5, "0x4005000000000000"},
        {{0xd2, 0, 0, 5}, 0x0005d200, 5, "0xd200000500000000"},
        /* no simple number */
        {{1, 0}, 0x100, -1, "0x0100000000000000"},
        {{0x80, 0x21}, 0x8021, -1, "0x8021000000000000"},
        {{0xc1, 0x01}, 0xc101, -1, "0xc101000000000000"},
        {{0, 5, 0, 1}, 0x10005, -1, "0x0005000100000000"},
        {{0, 5, 0, 0, 0, 0, 0, 1}, 0x1000000000005, -1, "0x0005000000000001"},
        {{0xd2, 0x04, 0x0b, 0x03}, 0x0b03d204, 0x40b03, "264963"},
        {{0xd2, 0, 0, 5, 1}, 0x01000005d200, -1, "0xd200000501000000"},
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, UINT64_MAX, -1, "0xffffffffffffffff"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lun l = lun_load(rows[i].b), back;
        char text[LUN_TEXT_MAX];
        uint64_t n = 12345678901;

        assert_true(lun_to_view(l) == rows[i].view);
        assert_true(lun_equal(lun_from_view(rows[i].view), l));
        assert_int_equal(lun_to_number(l, &n), rows[i].number < 0 ? -EINVAL : 0);
        assert_true(n == (rows[i].number < 0 ? 12345678901 : (uint64_t)rows[i].number));
        assert_string_equal(lun_format(l, text), rows[i].text);
        assert_int_equal(lun_parse(text, strlen(text), &back), 0);
        assert_true(lun_equal(l, back));
    }
    assert_true(lun_is_well_known(lun_well_known(1)));
    assert_int_equal(lun_well_known(1).b[1], 1);
    assert_false(lun_is_well_known(lun_from_number(1)));
}

static void
test_round_trip(void **state)
{
    (void)state;
    srand(4);
    for (uint64_t n = 0; n <= LUN_NUMBER_MAX; n = n < 70000 ? n + 1 : n * 2 - 5) {
        struct lun l = lun_from_number(n), back;
        char text[LUN_TEXT_MAX];
        uint64_t m = 0;

        assert_int_equal(lun_to_number(l, &m), 0);
        assert_true(m == n);
        assert_true(lun_equal(lun_from_view(lun_to_view(l)), l));
        lun_format(l, text);
        assert_int_equal(lun_parse(text, strlen(text), &back), 0);
        assert_true(lun_equal(l, back));
    }
    for (int i = 0; i < 100000; i++) {
        struct lun l, back;
        char text[LUN_TEXT_MAX];
        uint64_t n;

        for (int k = 0; k < 8; k++)
            l.b[k] = rand() % 2 == 0 ? 0 : (uint8_t)rand();
        assert_true(lun_equal(lun_from_view(lun_to_view(l)), l));
        lun_format(l, text);
        assert_int_equal(lun_parse(text, strlen(text), &back), 0);
        assert_true(lun_equal(l, back));
        if (lun_to_number(l, &n) == 0)
            assert_true(n <= LUN_NUMBER_MAX);
    }
}

static void
test_parse_case(void **state)
{
    struct lun l;

    (void)state;
    assert_int_equal(lun_parse("0xAaBbCcDdEeFf0090", 18, &l), 0);
    assert_memory_equal(l.b, "\xaa\xbb\xcc\xdd\xee\xff\0\x90", 8);
    assert_int_equal(lun_parse("0xAaBbCcDdEeFf009G", 18, &l), -EINVAL);
    assert_int_equal(lun_parse("12a", 3, &l), -EINVAL);
}

static void
test_parse_bad(void **state)
{
    static const char *bad[] = {"",
                                "-1",
                                "1x",
                                "0x",
                                "0x1",
                                "0x00000000000000000",
                                "0x000000000000000g",
                                "1099511627776",
                                "99999999999999999999",
                                " 1"};

    (void)state;
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        struct lun l = {{9}};

        assert_int_equal(lun_parse(bad[i], strlen(bad[i]), &l), -EINVAL);
        assert_int_equal(l.b[0], 9);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows), cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_parse_case), cmocka_unit_test(test_parse_bad)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
