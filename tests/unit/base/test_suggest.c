/* SPDX-License-Identifier: MIT */
#include "base/suggest.h"

#include "tests/test.h"

#include <string.h>

static const char *
of(const char *typed, const char *const *known)
{
    struct suggest s = {.typed = typed};

    for (; *known != NULL; known++)
        suggest_try(&s, *known);
    return s.best;
}

static const char *const words[] = {"demo", "discover", "ls",   "info", "read", "write",
                                    "copy", "bench",    "ping", "scsi", NULL};

static void
near_words(void **state)
{
    (void)state;
    assert_string_equal(of("cpoy", words), "copy");
    assert_string_equal(of("discovr", words), "discover");
    assert_string_equal(of("discvoer", words), "discover");
    assert_string_equal(of("BENCH", words), "bench");
    assert_string_equal(of("disc", words), "discover");
    assert_string_equal(of("inof", words), "info");
    assert_string_equal(of("sl", words), "ls");
}

static void
far_words(void **state)
{
    char longer[400];

    (void)state;
    assert_null(of("nonsense", words));
    assert_null(of("", words));
    assert_null(of("mount", words));
    assert_null(of("x", words));
    memset(longer, 'a', sizeof(longer) - 1);
    longer[sizeof(longer) - 1] = '\0';
    assert_null(of(longer, words));
    const char *const long_words[] = {longer, NULL};
    assert_null(of("aaaa", long_words));
}

/* The nearest wins, and of two that are equally near the first. */
static void
nearest(void **state)
{
    static const char *const keys[] = {"data_digest", "header_digest", "max_burst_length", NULL};
    static const char *const twins[] = {"abcdef", "abcdeg", NULL};

    (void)state;
    assert_string_equal(of("headr_digest", keys), "header_digest");
    assert_string_equal(of("datadigest", keys), "data_digest");
    assert_string_equal(of("abcdex", twins), "abcdef");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_words),
        cmocka_unit_test(far_words),
        cmocka_unit_test(nearest),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
