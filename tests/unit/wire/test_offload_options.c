/* SPDX-License-Identifier: MIT */
/* Options of transports that have an engine. */
#include "tests/test.h"

#include "wire/offload_options.h"

#include <errno.h>
#include <string.h>

static void
test_good(void **state)
{
    struct offload_options o, p;

    (void)state;
    assert_int_equal(offload_options_parse("engine=/run/e", &o, NULL), 0);
    assert_string_equal(o.engine, "/run/e");
    assert_int_equal(o.slots, 128);
    assert_int_equal(o.arena, 16u << 20);
    assert_int_equal(
        offload_options_parse("offload_slots=1024&engine=/a=b&offload_arena=5000001", &p, NULL), 0);
    assert_string_equal(p.engine, "/a=b");
    assert_int_equal(p.slots, 1024);
    assert_int_equal(p.arena, 5000001 / 4096 * 4096);
    assert_false(offload_options_equal(&o, &p));
    assert_true(offload_options_equal(&p, &p));
    assert_int_equal(offload_options_read(NULL, &o, NULL), 0);
    assert_string_equal(o.engine, "");
    assert_true(offload_options_are_of("offload_session"));
    assert_false(offload_options_are_of("offload"));
    assert_false(offload_options_are_of("tcp"));
    assert_true(offload_option_known("engine=", 6));
    assert_false(offload_option_known("engines", 7));
}

static void
test_bad(void **state)
{
    static const struct {
        const char *text, *why;
    } rows[] = {
        {"", "which engine is meant?"},
        {"offload_slots=9", "which engine is meant?"},
        {"engine=", "begins with a slash"},
        {"engine=run/e", "begins with a slash"},
        {"engine=/e&offload_slots=7", "want 8..1024"},
        {"engine=/e&offload_slots=1025", "want 8..1024"},
        {"engine=/e&offload_slots=x", "want 8..1024"},
        {"engine=/e&offload_arena=1025M", "want a size of 4M..1G"},
        {"engine=/e&offload_arena=0", "want a size of 4M..1G"},
        {"engine=/e&offload_arenas=8M", "there is no option offload_arenas=8M"},
        {"engine=/e&engine", "there is no option engine"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct offload_options o = {.slots = 77};
        struct lunette_error err = {.code = 0};

        assert_int_equal(offload_options_parse(rows[i].text, &o, &err), -EINVAL);
        if (strstr(err.msg, rows[i].why) == NULL)
            fail_msg("\"%s\": %s", rows[i].text, err.msg);
        assert_int_equal(o.slots, 77);
    }
}

/* A path of the most bytes, and of one more. */
static void
test_path(void **state)
{
    char text[SOCK_PATH_MAX + 16] = "engine=/";
    struct offload_options o;

    (void)state;
    memset(text + 8, 'x', SOCK_PATH_MAX - 1);
    assert_int_equal(offload_options_parse(text, &o, NULL), 0);
    assert_int_equal(strlen(o.engine), SOCK_PATH_MAX);
    text[8 + SOCK_PATH_MAX - 1] = 'x';
    assert_int_equal(offload_options_parse(text, &o, NULL), -EINVAL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_path),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
