/* SPDX-License-Identifier: MIT */
/* The server of the management API when memory is short: the n-th allocation fails, for each n that
 * there is.  A caller is answered or his connection ends, and others are served afterwards. */
#include "served.h"

#include <errno.h>

#include "manage/line.h"
#include "manage/wipe.h"

#define LONG_TEXT (5u << 20) /* more than any request: an answer */

static unsigned long countdown; /* 0: none fails */
static bool then_all;           /* that follow */
static bool has_failed;

static bool
fails_now(void)
{
    bool fails = countdown == 1;

    if (countdown > 1 || (fails && !then_all))
        countdown--;
    has_failed |= fails;
    return fails;
}

void *__real_malloc(size_t size);
void *__wrap_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__wrap_realloc(void *p, size_t size);
char *__real_strdup(const char *s);
char *__wrap_strdup(const char *s);

void *
__wrap_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails_now() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t size)
{
    return fails_now() ? NULL : __real_realloc(p, size);
}

char *
__wrap_strdup(const char *s)
{
    return fails_now() ? NULL : __real_strdup(s);
}

static void *
jansson_malloc(size_t size)
{
    return fails_now() ? NULL : __real_malloc(size);
}

static const char *const asks[] = {
    "{\"id\":\"a\",\"method\":\"echo\",\"params\":{\"a\":[1,2,{\"b\":null}]}}\n",
    "{\"token\":\"t\",\"method\":\"echo\"}\n{\"token\":\"t\",\"method\":\"echo\"}\n",
    "{\"id\":4,\"method\":\"progress\"}\n",
    "{\"id\":5,\"method\":\"fail\"}\n",
    "{\"id\":6,\"method\":\"nothing\"}\nnonsense\n",
    "{\"id\":7,\"method\":\"events.subscribe\"}\n",
    "{\"id\":8,\"method\":\"large\",\"params\":{\"bytes\":100000}}\n",
    "{\"id\":\"a lexer's text\",\"method\":\"fail\"}\n",
    "{\"method\":\"fail\",\"params\":{\"a buffer grows\":\"at the quote..\"}}\n",
    "{\"id\":10,\"method\":\"listed\"}\n",
    "{\"id\":9,\"method\":\"members\"}\n",
};

/* Each line is a whole one, and none blames the caller for what he did not do. */
static void
check_lines(const char *got, bool nonsense)
{
    for (const char *end; *got != '\0'; got = end + 1) {
        json_t *line, *error;
        const char *code;

        end = strchr(got, '\n');
        assert_non_null(end);
        line = json_loadb(got, (size_t)(end - got), 0, NULL);
        if (line == NULL)
            fail_msg("not JSON: %.*s", (int)(end - got), got);
        error = json_object_get(line, "error");
        code = json_string_value(json_object_get(error, "code"));
        if (error != NULL && !nonsense && (code == NULL || strcmp(code, "INVALID") == 0))
            fail_msg("the caller is blamed: %.*s", (int)(end - got), got);
        if (json_integer_value(json_object_get(line, "id")) == 10 && error != NULL)
            assert_string_equal(code, "NO_MEMORY");
        if (json_integer_value(json_object_get(line, "id")) == 9 && error == NULL)
            assert_int_equal(json_object_size(json_object_get(line, "result")), SERVED_MEMBERS);
        json_decref(line);
    }
}

/* Asks once with the n-th allocation failing; false: there were not as many. */
static bool
ask_short(struct served *t, const char *ask, unsigned long n)
{
    int fd = served_raw(t, SERVED_UID);
    size_t lines = 0, answers = 0;
    const char *got;
    bool end, failed;

    for (const char *p = ask; *p != '\0'; p++)
        lines += *p == '\n';
    countdown = n;
    served_send(t, fd, ask, strlen(ask));
    manage_event(t->m, "e", json_object());
    served_turns(t, 2);
    failed = countdown == 0;
    countdown = 0;
    got = served_recv(t, fd, &end);
    for (const char *p = got; *p != '\0'; p++)
        answers += *p == '\n';
    check_lines(got, strstr(ask, "nonsense") != NULL);
    assert_true(end || answers >= lines);
    close(fd);
    served_turns(t, 3);
    return failed;
}

static void
each_allocation_fails(void **state)
{
    unsigned peers, tried = 0;
    struct served t;

    (void)state;
    for (size_t i = 0; i < sizeof(asks) / sizeof(asks[0]); i++) {
        served_begin(&t, NULL);
        for (unsigned long n = 1; ask_short(&t, asks[i], n); n++) {
            tried++;
            manage_server_load(t.m, &peers, NULL);
            assert_int_equal(peers, 0);
        }
        served_end(&t);
    }
    assert_in_range(tried, 50, 10000);
}

/* An answer that comes later, for which there is no memory then. */
static void
a_later_answer_fails(void **state)
{
    static const char ask[] = "{\"id\":1,\"token\":\"t\",\"method\":\"hold\"}\n";
    bool end = false, failed = true;
    struct served t;

    (void)state;
    for (unsigned long n = 1; failed; n++) {
        const char *got;
        int fd;

        served_begin(&t, NULL);
        fd = served_raw(&t, SERVED_UID);
        assert_string_equal(served_ask(&t, fd, ask), "");
        countdown = n;
        manage_progress(t.held, json_pack("{s:s}", "half", "way"));
        manage_reply(t.held, json_pack("{s:s}", "all", "done"));
        served_turns(&t, 2);
        failed = countdown == 0;
        countdown = 0;
        got = served_recv(&t, fd, &end);
        check_lines(got, false);
        assert_true(end || strstr(got, "result") != NULL || strstr(got, "NO_MEMORY") != NULL);
        close(fd);
        served_turns(&t, 2);
        served_end(&t);
    }
    assert_false(end);
}

/* Parses a line with the n-th allocation failing.  Returns as manage_line_parse does. */
static int
parse_short(const char *text, size_t len, unsigned long n, bool *ret_failed)
{
    struct lunette_error err = LUNETTE_INIT(err);
    json_t *line = NULL;
    int r;

    has_failed = false;
    countdown = n;
    r = manage_line_parse(text, len, 100, &line, &err);
    *ret_failed = has_failed;
    countdown = 0;
    json_decref(line);
    return r;
}

/* What a daemon answers may be long, and so may each of its texts and numbers: the parser has
 * memory for it, or it is told that there is none. */
static void
a_long_answer_fails(void **state)
{
    static const char *const ends[] = {"\"}", "\",\"b\":[1,2,\"", "1}", "\\"};
    char *text = malloc(LONG_TEXT + 32);

    (void)state;
    assert_non_null(text);
    manage_wipe_json();
    for (size_t i = 0; i < 2 * sizeof(ends) / sizeof(ends[0]); i++) {
        const char *end = ends[i / 2];
        size_t len = LONG_TEXT + (size_t)snprintf(text, 32, "{\"a\":");
        bool failed = true;
        int r = 0, good = end[0] == '"' && end[1] == '}' ? 0 : -EINVAL;

        then_all = i % 2 == 1;
        memset(text + 5, end[0] == '1' ? '7' : 'x', LONG_TEXT);
        if (end[0] != '1')
            text[5] = '"';
        memcpy(text + len - 1, end, strlen(end));
        for (unsigned long n = 1; failed; n++) {
            r = parse_short(text, len - 1 + strlen(end), n, &failed);
            assert_int_equal(r, failed ? -ENOMEM : good);
            assert_in_range(n, 1, 100);
        }
    }
    then_all = false;
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_fails),
        cmocka_unit_test(a_later_answer_fails),
        cmocka_unit_test(a_long_answer_fails),
    };

    json_set_alloc_funcs(jansson_malloc, free);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
