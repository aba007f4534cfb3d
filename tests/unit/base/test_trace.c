/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/trace.h"

static void
prints(const struct trace *t, const char *want)
{
    char *text = NULL;
    size_t len = 0;
    FILE *to = open_memstream(&text, &len);

    assert_non_null(to);
    trace_dump(t, to);
    assert_int_equal(fclose(to), 0);
    assert_string_equal(text, want);
    free(text);
}

static void
test_a_line_has_the_values_that_have_names(void **state)
{
    struct trace *t = trace_new(4);

    (void)state;
    assert_non_null(t);
    prints(t, "");
    trace_add(t, 7, TRACE_session_login_task, 1, 0);
    trace_add(t, 123456789012345, TRACE_session_conn_poll, 1, (uint64_t)-ECONNREFUSED);
    prints(t, "           7 session_login_task sid=1\n"
              "123456789012345 session_conn_poll sid=1 result=-111\n");
    trace_free(t);
}

static void
test_the_last_ones_are_kept(void **state)
{
    struct trace *t = trace_new(2);

    (void)state;
    assert_non_null(t);
    for (uint64_t i = 1; i <= 5; i++)
        trace_add(t, i, TRACE_bind_conn, i, 0);
    prints(t, "           4 bind_conn sid=4 cid=0\n"
              "           5 bind_conn sid=5 cid=0\n");
    trace_free(t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line_has_the_values_that_have_names),
        cmocka_unit_test(test_the_last_ones_are_kept),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
