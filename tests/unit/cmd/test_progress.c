/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cmd/lunette/cli.h"
#include "cmd/lunette/progress.h"

#define MIB (1u << 20)

static const char *
line(int columns, const struct progress_view *v)
{
    static char buf[PROGRESS_LINE_MAX];

    progress_format(buf, columns, v);
    return buf;
}

static void
lines(void **state)
{
    struct progress_view v = {"copying", 64 * MIB, 256 * MIB, 4.0 * MIB, 0, false, NULL};

    (void)state;
    assert_string_equal(line(99, &v),
                        "copying   [#########..........................]  25 %      64 "
                        "MiB       4 MiB/s  0:48 left");
    assert_string_equal(line(59, &v), "copying    25 %      64 MiB       4 MiB/s  0:48 left");
    assert_string_equal(line(40, &v), " 25 %  64 MiB  4 MiB/s  0:48 left");
    assert_string_equal(line(21, &v), " 25 %  64 MiB  4 MiB/");
    assert_string_equal(line(5, &v), " 25 %");
    assert_string_equal(line(0, &v), "");
    v.stalled_sec = 12;
    assert_string_equal(line(59, &v),
                        "copying    25 %      64 MiB       4 MiB/s  stalled for 12 s");
    v.lost = " (118 s)";
    assert_string_equal(line(59, &v), "copying    25 %      64 MiB  no connection (118 s)");
    assert_string_equal(line(99, &v),
                        "copying   [#########..........................]  25 %      64 MiB  "
                        "no connection (118 s)");
    v = (struct progress_view){"copying", 64 * MIB, UINT64_MAX, 4.0 * MIB, 0, false, NULL};
    assert_string_equal(line(59, &v), "copying       64 MiB       4 MiB/s");
    v = (struct progress_view){"copying", 0, 0, 0, 0, true, NULL};
    assert_non_null(strstr(line(59, &v), "100 %"));
}

static void
times_left(void **state)
{
    static const struct {
        double rate;
        const char *left;
    } rows[] = {
        {1.0 * MIB, " 17:04 left"},
        {0.1 * MIB, " 2:50:40 left"},
        {0.01 * MIB, " 1 d 4 h left"},
        {0.001 * MIB, " 11 d 20 h left"},
        {0, "B/s"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct progress_view v = {"copying", 0, 1024u * MIB, rows[i].rate, 0, false, NULL};
        const char *l = line(79, &v);
        assert_string_equal(l + strlen(l) - strlen(rows[i].left), rows[i].left);
    }
}

/* Whatever the numbers and the columns: no line is longer, and the share is there where it fits. */
static void
never_wraps(void **state)
{
    static const uint64_t sizes[] = {0, 1, 1023, 1024, 999 * MIB, 1ull << 40, UINT64_MAX / 2};
    static const double rates[] = {0, 1, 1e3, 1e9, 1e17};

    (void)state;
    for (int columns = 0; columns < 200; columns++) {
        for (size_t n = 0; n < 7 * 5 * 2; n++) {
            struct progress_view v = {"verifying",
                                      sizes[n % 7] / 3,
                                      sizes[n % 7],
                                      rates[n / 7 % 5],
                                      n < 35 ? 0 : 99999,
                                      false,
                                      NULL};
            const char *l = line(columns, &v);
            assert_true((int)strlen(l) <= columns);
            if (columns >= 7)
                assert_non_null(strchr(l, '%'));
        }
    }
}

static void
wraps(const char *text, int columns, int column, int indent, const char *want)
{
    char *got = NULL;
    size_t len;
    FILE *f = open_memstream(&got, &len);

    assert_non_null(f);
    text_wrap(f, text, columns, column, indent);
    fclose(f);
    assert_string_equal(got, want);
    free(got);
}

static void
wrapping(void **state)
{
    (void)state;
    wraps("one two three", 80, 0, 4, "one two three\n");
    wraps("one two three", 7, 0, 2, "one two\n  three\n");
    wraps("one two three", 6, 0, 2, "one\n  two\n  three\n");
    wraps("one two three", 13, 9, 4, "one\n    two three\n");
    wraps("a.  b", 80, 0, 0, "a.  b\n");
    wraps("a.  b", 4, 0, 0, "a.\nb\n");
    wraps("longer-than-all b", 5, 0, 1, "longer-than-all\n b\n");
    wraps("", 5, 0, 1, "\n");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(times_left),
        cmocka_unit_test(never_wraps),
        cmocka_unit_test(wrapping),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
