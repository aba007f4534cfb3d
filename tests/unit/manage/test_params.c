/* SPDX-License-Identifier: MIT */
/* Members of parameters: their types and bounds, and errors that name them; codes of errors. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "manage/codes.h"
#include "manage/params.h"

static const char *const words[] = {"new", "delete", NULL};

/* One member as each type, by a letter. */
static int
get(const json_t *p, char type, struct lunette_error *err)
{
    const char *text;
    const json_t *list;
    unsigned word;
    int64_t n;
    bool yes;

    switch (type) {
    case 't':
        return manage_get_text(p, "m", MANAGE_OPTIONAL, 8, &text, err);
    case 'T':
        return manage_get_text(p, "m", MANAGE_NEEDED, 8, &text, err);
    case 'i':
        return manage_get_int(p, "m", MANAGE_OPTIONAL, -1, 9, &n, err);
    case 'I':
        return manage_get_int(p, "m", MANAGE_NEEDED, -1, 9, &n, err);
    case 'b':
        return manage_get_bool(p, "m", &yes, err);
    case 'l':
        return manage_get_texts(p, "m", 2, 4, &list, err);
    case 'p':
        return manage_get_pairs(p, "m", 2, 4, &list, err);
    default:
        return manage_get_word(p, "m", MANAGE_OPTIONAL, words, &word, err);
    }
}

static void
types_and_bounds(void **state)
{
    static const struct {
        char type;
        int r;
        const char *params;
    } rows[] = {
        {'t', 0, "{}"},
        {'t', 0, "{\"m\":null}"},
        {'t', 1, "{\"m\":\"12345678\"}"},
        {'t', -EINVAL, "{\"m\":\"123456789\"}"},
        {'t', -EINVAL, "{\"m\":\"\"}"},
        {'t', -EINVAL, "{\"m\":\"a\\nb\"}"},
        {'t', -EINVAL, "{\"m\":\"a\\u007f\"}"},
        {'t', -EINVAL, "{\"m\":1}"},
        {'T', -EINVAL, "{}"},
        {'T', -EINVAL, "{\"m\":null}"},
        {'i', 0, "{}"},
        {'i', 1, "{\"m\":-1}"},
        {'i', 1, "{\"m\":9}"},
        {'i', -EINVAL, "{\"m\":-2}"},
        {'i', -EINVAL, "{\"m\":10}"},
        {'i', -EINVAL, "{\"m\":1.0}"},
        {'i', -EINVAL, "{\"m\":\"1\"}"},
        {'I', -EINVAL, "{}"},
        {'b', 1, "{\"m\":false}"},
        {'b', -EINVAL, "{\"m\":0}"},
        {'l', 1, "{\"m\":[]}"},
        {'l', 1, "{\"m\":[\"a\",\"b\"]}"},
        {'l', -EINVAL, "{\"m\":[\"a\",\"b\",\"c\"]}"},
        {'l', -EINVAL, "{\"m\":[\"abcde\"]}"},
        {'l', -EINVAL, "{\"m\":[1]}"},
        {'l', -EINVAL, "{\"m\":\"a\"}"},
        {'p', 1, "{\"m\":[[\"a\",\"\"]]}"},
        {'p', -EINVAL, "{\"m\":[[\"\",\"a\"]]}"},
        {'p', -EINVAL, "{\"m\":[[\"a\"]]}"},
        {'p', -EINVAL, "{\"m\":[[\"a\",\"b\",\"c\"]]}"},
        {'p', -EINVAL, "{\"m\":[[\"a\",\"b\\n\"]]}"},
        {'p', -EINVAL, "{\"m\":[[\"a\",\"b\"],[\"a\",\"b\"],[\"a\",\"b\"]]}"},
        {'p', -EINVAL, "{\"m\":{\"a\":\"b\"}}"},
        {'w', 1, "{\"m\":\"delete\"}"},
        {'w', -EINVAL, "{\"m\":\"del\"}"},
        {'w', -EINVAL, "{\"m\":7}"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        json_t *p = json_loads(rows[i].params, 0, NULL);
        struct lunette_error err = {.msg = ""};

        assert_non_null(p);
        if (get(p, rows[i].type, &err) != rows[i].r)
            fail_msg("%c %s", rows[i].type, rows[i].params);
        assert_int_equal(rows[i].r < 0, strstr(err.msg, "\"m\" ") != NULL);
        json_decref(p);
    }
}

static void
values_are_told(void **state)
{
    json_t *p = json_loads("{\"t\":\"x\",\"i\":5,\"b\":true,\"l\":[\"q\"],\"p\":[[\"n\",\"v\"]],"
                           "\"w\":\"delete\"}",
                           0, NULL);
    const char *text = NULL, *name, *value;
    const json_t *list = NULL;
    unsigned word = 9;
    int64_t n = 0;
    bool yes = false;

    (void)state;
    assert_int_equal(manage_get_text(p, "t", MANAGE_NEEDED, 8, &text, NULL), 1);
    assert_string_equal(text, "x");
    assert_int_equal(manage_get_int(p, "i", MANAGE_NEEDED, 0, 9, &n, NULL), 1);
    assert_int_equal(n, 5);
    assert_int_equal(manage_get_bool(p, "b", &yes, NULL), 1);
    assert_true(yes);
    assert_int_equal(manage_get_texts(p, "l", 2, 4, &list, NULL), 1);
    assert_int_equal(json_array_size(list), 1);
    assert_int_equal(manage_get_pairs(p, "p", 2, 4, &list, NULL), 1);
    manage_pair(list, 0, &name, &value);
    assert_string_equal(name, "n");
    assert_string_equal(value, "v");
    assert_int_equal(manage_get_word(p, "w", MANAGE_NEEDED, words, &word, NULL), 1);
    assert_int_equal(word, 1);
    /* no parameters at all */
    assert_int_equal(manage_get_text(NULL, "t", MANAGE_OPTIONAL, 8, &text, NULL), 0);
    assert_int_equal(manage_get_text(NULL, "t", MANAGE_NEEDED, 8, &text, NULL), -EINVAL);
    json_decref(p);
}

static void
codes_are_exit_codes(void **state)
{
    (void)state;
    assert_string_equal(manage_code_name(21), "NOT_FOUND");
    assert_string_equal(manage_code_text(24), "iSCSI login failed due to authorization failure");
    assert_string_equal(manage_code_name(-1), "ERROR");
    assert_string_equal(manage_code_text(1000), "unknown error");
    for (int i = 0; i < MANAGE_CODES; i++)
        assert_non_null(manage_code_name(i));
    assert_int_equal(MANAGE_CODES, 34);
    assert_int_equal(manage_code_of_errno(-EINVAL), 7);
    assert_int_equal(manage_code_of_errno(ENOENT), 21);
    assert_int_equal(manage_code_of_errno(-ENOTTY), 1);
    assert_int_equal(manage_code_of_errno(-ENODEV), 12); /* a transport that cannot be */
    assert_int_equal(manage_code_of_errno(-ENOSPC), MANAGE_DATABASE);
    assert_int_equal(manage_code_of_errno(0), 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(types_and_bounds),
        cmocka_unit_test(values_are_told),
        cmocka_unit_test(codes_are_exit_codes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
