/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include "base/sg.h"

static void
test_walk_with_empty_iovecs(void **state)
{
    char buf[16] = "0123456789abcde";
    struct iovec iov[] = {{buf, 3}, {buf, 0}, {buf + 3, 7}, {buf + 10, 0}, {buf + 10, 5}};
    struct sg s = sg_from_iov(iov, 5, 2, 12);
    struct sg_cursor c;
    char out[13] = "";

    (void)state;
    sg_cursor_init(&c, &s);
    sg_copy_from(&c, &s, out, 12);
    assert_string_equal(out, "23456789abcd");
    sg_cursor_seek(&c, &s, 4);
    memset(out, 0, sizeof(out));
    sg_copy_from(&c, &s, out, 3);
    assert_string_equal(out, "678");
}

static void
test_map_is_bounded(void **state)
{
    char buf[10];
    struct iovec iov[] = {{buf, 4}, {buf + 4, 4}, {buf + 8, 2}}, out[2];
    struct sg s = sg_from_iov(iov, 3, 0, 10);
    struct sg_cursor c;
    uint32_t len = 0;

    (void)state;
    sg_cursor_init(&c, &s);
    assert_int_equal(sg_cursor_map(&c, &s, 10, out, 2, &len), 2);
    assert_int_equal(len, 8);
    assert_int_equal(sg_cursor_map(&c, &s, 2, out, 2, &len), 1);
    assert_ptr_equal(out[0].iov_base, buf + 8);
    assert_int_equal(len, 2);
}

static void
test_copy_to_at_every_cut(void **state)
{
    (void)state;
    for (size_t cut = 0; cut <= 9; cut++) {
        char dst[9] = {0};
        struct iovec iov[] = {{dst, cut}, {dst + cut, 9 - cut}};
        struct sg s = sg_from_iov(iov, 2, 1, 8);
        struct sg_cursor c;

        sg_cursor_init(&c, &s);
        sg_copy_to(&c, &s, "abc", 3);
        sg_copy_to(&c, &s, "defgh", 5);
        assert_memory_equal(dst, "\0abcdefgh", 9);
    }
}

/* A slice of nothing needs no memory, whatever its iovcnt is. */
static void
test_nothing(void **state)
{
    struct iovec one;

    (void)state;
    for (uint32_t n = 0; n < 3; n++) {
        const struct sg s = {.iov = NULL, .iovcnt = n};
        struct sg_cursor c = {.idx = 7, .at = 7, .in_iov = 7};
        uint32_t len = 1;

        sg_cursor_init(&c, &s);
        sg_cursor_seek(&c, &s, 0);
        assert_int_equal(c.at, 0);
        assert_int_equal(sg_cursor_map(&c, &s, 0, &one, 1, &len), 0);
        assert_int_equal(len, 0);
    }
}

/* Of each slice of three pieces, one of them empty, and each range: the bytes tell. */
static void
test_touches(void **state)
{
    char m[16];
    const struct iovec iov[] = {{m + 8, 3}, {m, 0}, {m + 2, 4}};
    static const unsigned at[] = {8, 9, 10, 2, 3, 4, 5};

    (void)state;
    for (unsigned skip = 0; skip <= 7; skip++) {
        for (unsigned len = 0; len <= 7 - skip; len++) {
            const struct sg s = sg_from_iov(iov, 3, skip, len);

            for (unsigned from = 0; from < 16; from++) {
                for (unsigned n = 0; from + n <= 16; n++) {
                    bool touched = false;

                    for (unsigned i = skip; i < skip + len; i++)
                        touched |= at[i] >= from && at[i] < from + n;
                    assert_int_equal(sg_touches(&s, m + from, n), touched);
                }
            }
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_touches),
        cmocka_unit_test(test_walk_with_empty_iovecs),
        cmocka_unit_test(test_map_is_bounded),
        cmocka_unit_test(test_copy_to_at_every_cut),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
