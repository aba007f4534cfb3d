/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "base/hex.h"
#include "base/size.h"

static void
test_sizes(void **state)
{
    static const struct {
        const char *text;
        uint64_t bytes;
        int r;
    } rows[] = {
        {"0", 0, 0},
        {"4096", 4096, 0},
        {"0x200", 512, 0},
        {"4k", 4096, 0},
        {"4K", 4096, 0},
        {"1M", 1 << 20, 0},
        {"1.5G", 3ull << 29, 0},
        {"2T", 2ull << 40, 0},
        {"1P", 1ull << 50, 0},
        {"64KiB", 65536, 0},
        {"64kB", 65536, 0},
        {"12B", 12, 0},
        {"", 0, -EINVAL},
        {"k", 0, -EINVAL},
        {"-1", 0, -EINVAL},
        {" 1", 0, -EINVAL},
        {"1x", 0, -EINVAL},
        {"1kk", 0, -EINVAL},
        {"1.", 0, -EINVAL},
        {"1.5", 0, -EINVAL},
        {"1e3", 0, -EINVAL},
        {"1.0", 0, -EINVAL},
        {"0.5k", 512, 0},
        {"1.25kB", 1280, 0},
        {"0.0009765625k", 1, 0},
        {"4g", 4ull << 30, 0},
        {"010M", 10 << 20, 0}, /* not octal */
        {"0x10k", 16384, 0},
        {"0x2B", 0x2b, 0},
        {"18446744073709551615", UINT64_MAX, 0},
        {"16383.9P", 18446631483718867353ull, 0},
        {"0x", 0, -EINVAL},
        {"0x1.8k", 0, -EINVAL},
        {"1.5B", 0, -EINVAL},
        {".5k", 0, -EINVAL},
        {"1 k", 0, -EINVAL},
        {"1ki", 0, -EINVAL},
        {"1kib", 0, -EINVAL},
        {"1kiBx", 0, -EINVAL},
        {"1E", 0, -EINVAL},
        {"18446744073709551616", 0, -ERANGE},
        {"16384P", 0, -ERANGE},
        {"0x10000000000000000", 0, -ERANGE},
        {"99999999999999999999", 0, -ERANGE},
        {"20000P", 0, -ERANGE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        uint64_t v = 77;
        int r = size_parse(rows[i].text, strlen(rows[i].text), &v);
        if (r != rows[i].r || v != (r == 0 ? rows[i].bytes : 77))
            fail_msg("\"%s\": %d, %llu", rows[i].text, r, (unsigned long long)v);
    }
}

static void
test_only_len_bytes(void **state)
{
    uint64_t v = 0;

    (void)state;
    assert_int_equal(size_parse("4kzz", 2, &v), 0);
    assert_int_equal(v, 4096);
    assert_int_equal(size_parse("4096", 1, &v), 0);
    assert_int_equal(v, 4);
    assert_int_equal(size_parse("4", 0, &v), -EINVAL);
}

static void
test_hex(void **state)
{
    static const uint8_t bytes[] = {0x00, 0x9a, 0xff};
    char out[8] = "zzzzzzz";

    (void)state;
    for (int c = -128; c < 128; c++) {
        const char *all = "0123456789abcdef0123456789ABCDEF";
        const char *at = c != 0 ? strchr(all, c) : NULL;

        assert_int_equal(hex_digit((char)c), at != NULL ? (at - all) % 16 : -1);
    }
    assert_ptr_equal(hex_put(out, bytes, sizeof(bytes)), out + 6);
    assert_string_equal(out, "009affz");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes),
                                       cmocka_unit_test(test_only_len_bytes),
                                       cmocka_unit_test(test_hex)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
