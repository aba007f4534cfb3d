/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/lunette/cli.h"
#include "cmd/lunette/hist.h"
#include "cmd/lunette/share.h"

static void
times(void **state)
{
    uint64_t v = 0;

    (void)state;
    assert_int_equal(parse_seconds("5", &v), 0);
    assert_true(v == 5000000000ull);
    assert_int_equal(parse_seconds("500ms", &v), 0);
    assert_true(v == 500000000ull);
    assert_int_equal(parse_seconds(".5s", &v), 0);
    assert_true(v == 500000000ull);
    assert_int_equal(parse_seconds("2m", &v), 0);
    assert_true(v == 120000000000ull);
    assert_int_equal(parse_seconds("x", &v), -EINVAL);
    assert_int_equal(parse_seconds("-1", &v), -EINVAL);
    assert_int_equal(parse_seconds("nan", &v), -EINVAL);
    assert_int_equal(parse_seconds("1e30", &v), -ERANGE);
}

static void
formats(void **state)
{
    char t[TEXT_SIZE];

    (void)state;
    assert_string_equal(format_size(t, 0), "0 B");
    assert_string_equal(format_size(t, 1023), "1023 B");
    assert_string_equal(format_size(t, 1536), "1.5 KiB");
    assert_string_equal(format_size(t, 256 << 20), "256 MiB");
    assert_string_equal(format_size(t, 1ull << 40), "1 TiB");
    assert_string_equal(format_size(t, UINT64_MAX), "16384 PiB");
    assert_string_equal(format_size_short(t, 4096), "4k");
    assert_string_equal(format_size_short(t, 256 << 20), "256M");
    assert_string_equal(format_size_short(t, 1000), "1000");
    assert_string_equal(format_ns(t, 12345), "12.3 us");
    assert_string_equal(format_ns(t, 1.5e6), "1.50 ms");
}

static void
hex(void **state)
{
    static const uint8_t inquiry[] = {0x12, 0, 0, 0, 0x60, 0};
    static const char *const same[] = {"120000006000", "12 00 00 00 60 00", "12 0 0 0 60 0",
                                       "0x12,0x00,0x00,0x00,0x60,0x00", "12:00:00:00:60:00"};
    uint8_t b[8];

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_int_equal(parse_hex(same[i], b, sizeof(b)), 6);
        assert_memory_equal(b, inquiry, 6);
    }
    assert_int_equal(parse_hex("", b, sizeof(b)), 0);
    assert_int_equal(parse_hex("zz", b, sizeof(b)), -EINVAL);
    assert_int_equal(parse_hex("0x", b, sizeof(b)), -EINVAL);
    assert_int_equal(parse_hex("1 2 3 4 5 6 7 8 9", b, sizeof(b)), -E2BIG);
}

static void
zeroes(void **state)
{
    char b[100] = {0};

    (void)state;
    for (size_t len = 0; len <= sizeof(b); len++) {
        assert_true(all_zero(b, len));
        for (size_t at = 0; at < len; at++) {
            b[at] = 1;
            assert_false(all_zero(b, len));
            b[at] = 0;
        }
    }
}

static void
public_urls(void **state)
{
    static const char *const rows[][2] = {
        {"iscsi://h/iqn.x/0", "iscsi://h/iqn.x/0"},
        {"iscsi://u%s3cret@h:1/iqn.x/0", "iscsi://u@h:1/iqn.x/0"},
        {"iscsi://u%s3@cret@h/iqn.x", "iscsi://u@h/iqn.x"},
        {"iscsi://u@h/iqn.x/0?target_user=t&target_password=s3cret&a=b",
         "iscsi://u@h/iqn.x/0?target_user=t&target_password=***"},
        {"iscsi://u%s3cret@h?target_password=s3cret", "iscsi://u@h?target_password=***"},
        {"file", "file"},
        {"iscsi://", "iscsi://"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char *got = url_public(rows[i][0]);
        assert_string_equal(got, rows[i][1]);
        free(got);
    }
}

static void
target_urls(void **state)
{
    char *got = url_with_target("iscsi://u%s@old:1/?a=b", "[::1]:3260", "iqn.x");

    (void)state;
    assert_string_equal(got, "iscsi://u%s@[::1]:3260/iqn.x?a=b");
    free(got);
    got = url_with_target("iscsi://old", "h", "iqn.x:a/b?c@%41\x1b_D\xc3");
    assert_string_equal(got, "iscsi://h/iqn.x:a%2Fb%3Fc%40%2541%1B_D%C3");
    free(got);
    assert_false(url_has_target("iscsi://h/"));
    assert_false(url_has_target("iscsi://h?a=b/c"));
    assert_true(url_has_target("iscsi://h/iqn.x"));
    assert_true(url_is_iscsi("ISCSI://h/"));
    assert_false(url_is_iscsi("iscsi:/h"));
}

/* What ps(1) would show of a word of the command line. */
static void
hidden_words(void **state)
{
    static const char *const rows[][2] = {
        {"iscsi://u%secret-12345@h/iqn.x/0", "iscsi://u@h/iqn.x/0"},
        {"iscsi://u%s@h/iqn.x", "iscsi://u@h/iqn.x"},
        {"u:s", "u**"}, /* never longer than the word */
        {"--offset=1M", "--offset=1M"},
        {"disk.img", "disk.img"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char word[64], rest[sizeof(word)] = {0};
        size_t len = strlen(rows[i][0]), n = strlen(rows[i][1]);

        memset(word, 'x', sizeof(word));
        memcpy(word, rows[i][0], len + 1);
        url_hide_secrets(word);
        assert_string_equal(word, rows[i][1]);
        assert_memory_equal(word + n, rest, len + 1 - n); /* nothing stays behind it */
        assert_int_equal(word[len + 1], 'x');
    }
}

static void
odd_names(void **state)
{
    static const char bad[] = "iqn.x:\xff";
    json_t *j = json_of_name(bad);

    (void)state;
    assert_string_equal(json_string_value(j), "iqn.x:%FF"); /* JSON holds nothing but UTF-8 */
    json_decref(j);
    j = json_of_name("iqn.x:\xc3\xa9_%41");
    assert_string_equal(json_string_value(j), "iqn.x:\xc3\xa9_%41");
    json_decref(j);
    assert_null(address_fault("[fe80::1%eth0]:3260,1"));
    assert_non_null(address_fault("host:99999"));
    assert_non_null(address_fault("\x1b[2J"));
}

/* Each percentile is at most 1.6 % above the true one, and never above the maximum. */
static void
histogram(void **state)
{
    struct hist *h = calloc(1, sizeof(*h));

    (void)state;
    assert_non_null(h);
    assert_true(hist_percentile(h, 0.5) == 0);
    for (uint64_t i = 1; i <= 100000; i++)
        hist_add(h, i * 10);
    for (int p = 1; p <= 100; p++) {
        uint64_t want = (uint64_t)p * 10000, got = hist_percentile(h, p / 100.0);
        if (got < want || got > want + want / 60 || got > h->max)
            fail_msg("%d %%: %llu", p, (unsigned long long)got);
    }
    hist_add(h, UINT64_MAX); /* more than there are cells for */
    assert_true(hist_percentile(h, 1) == UINT64_MAX);
    for (uint32_t bits = 0; bits < 64; bits++)
        assert_true(hist_cell(1ull << bits) < sizeof(h->cell) / sizeof(h->cell[0]));
    free(h);
}

static void
exit_codes(void **state)
{
    static const struct {
        enum lunette_domain domain;
        int code;
        uint32_t detail;
        int want;
    } rows[] = {
        {LUNETTE_DOM_OS, -ENOMEM, ENOMEM, EXIT_OTHER},
        {LUNETTE_DOM_USAGE, -EINVAL, 0, EXIT_USAGE},
        {LUNETTE_DOM_CONNECT, -ECONNREFUSED, ECONNREFUSED, EXIT_CONNECT},
        {LUNETTE_DOM_CONNECT, -ETIMEDOUT, ETIMEDOUT, EXIT_TIMEOUT},
        {LUNETTE_DOM_LOGIN, -EACCES, 0x0201, EXIT_LOGIN},
        {LUNETTE_DOM_LOGIN, -ENOENT, 0x0203, EXIT_NOT_FOUND},
        {LUNETTE_DOM_PROTO, -EPROTO, 4, EXIT_PROTOCOL},
        {LUNETTE_DOM_SCSI, -EIO, 2u << 24, EXIT_SCSI},
        {LUNETTE_DOM_TIMEOUT, -ETIMEDOUT, 1000, EXIT_TIMEOUT},
        {LUNETTE_DOM_NOTFOUND, -ENXIO, 0, EXIT_NOT_FOUND},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct lunette_error err = {
            .code = rows[i].code, .domain = rows[i].domain, .detail = rows[i].detail};
        assert_int_equal(exit_code_of(&err), rows[i].want);
    }
}

static void
cpu_shares(void **state)
{
    static const uint64_t s = 1000000000u;
    struct rusage a = {.ru_utime = {10, 900000}, .ru_stime = {3, 0}}, b = a;

    (void)state;
    assert_true(cpu_share(&a, &b, s) == 0);
    assert_true(cpu_share(&a, &b, 0) == 0);
    b.ru_utime = (struct timeval){11, 100000};
    b.ru_stime = (struct timeval){3, 300000};
    assert_in_range((uint64_t)(cpu_share(&a, &b, s) * 1000 + 0.5), 500, 500);
    assert_in_range((uint64_t)(cpu_share(&a, &b, s / 2) * 1000 + 0.5), 1000, 1000);

    assert_true(cpu_is_limit(0.95, s));
    assert_true(cpu_is_limit(1.02, s));
    assert_false(cpu_is_limit(0.94, s));
    assert_false(cpu_is_limit(1, s / 100)); /* 10 ms tell nothing */
    assert_false(cpu_is_limit(0, 0));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(times),        cmocka_unit_test(formats),
        cmocka_unit_test(hex),          cmocka_unit_test(zeroes),
        cmocka_unit_test(public_urls),  cmocka_unit_test(target_urls),
        cmocka_unit_test(hidden_words), cmocka_unit_test(odd_names),
        cmocka_unit_test(histogram),    cmocka_unit_test(exit_codes),
        cmocka_unit_test(cpu_shares),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
