/* SPDX-License-Identifier: MIT */
/* The server of the management API: requests, answers, tokens, events, and callers who go away. */
#include "served.h"

#include <errno.h>

static void
requests_are_answered(void **state)
{
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    assert_string_equal(
        served_ask(&t, fd, "{\"id\":7,\"method\":\"echo\",\"params\":{\"a\":[1]},\"other\":0}\n"),
        "{\"id\":7,\"result\":{\"runs\":1,\"params\":{\"a\":[1]}}}\n");
    /* ids of all kinds, several lines at once, lines of other systems, empty lines */
    assert_string_equal(
        served_ask(&t, fd,
                   "{\"id\":\"x\",\"method\":\"echo\"}\r\n\n{\"id\":null,\"method\":\"echo\"}\n"
                   "{\"method\":\"echo\"}\n{\"id\":1.5,\"method\":\"echo\"}\n"),
        "{\"id\":\"x\",\"result\":{\"runs\":2}}\n{\"id\":null,\"result\":{\"runs\":3}}\n"
        "{\"result\":{\"runs\":4}}\n{\"id\":1.5,\"result\":{\"runs\":5}}\n");
    /* a line in pieces */
    assert_string_equal(served_ask(&t, fd, "{\"id\":8,\"meth"), "");
    assert_string_equal(served_ask(&t, fd, "od\":\"echo\"}\n"),
                        "{\"id\":8,\"result\":{\"runs\":6}}\n");
    /* a failure, and a text that a terminal would obey */
    assert_string_equal(served_ask(&t, fd, "{\"id\":9,\"method\":\"fail\"}\n"),
                        "{\"id\":9,\"error\":{\"code\":\"NOT_FOUND\",\"exit\":21,\"message\":"
                        "\"no \\\"node\\\" ?[31m here\"}}\n");
    assert_string_equal(served_ask(&t, fd, "{\"id\":10,\"method\":\"ecoh\"}\n"),
                        "{\"id\":10,\"error\":{\"code\":\"UNKNOWN_METHOD\",\"exit\":16,\"message\":"
                        "\"there is no method ecoh; was this meant: echo\"}}\n");
    assert_string_equal(
        served_ask(&t, fd, "{\"id\":11,\"method\":\"progress\"}\n"),
        "{\"id\":11,\"progress\":{\"step\":0}}\n{\"id\":11,\"progress\":{\"step\":1}}\n"
        "{\"id\":11,\"progress\":{\"step\":2}}\n{\"id\":11,\"result\":{}}\n");
    close(fd);
    served_turns(&t, 3);
    served_end(&t);
}

/* Lines that are refused; the caller stays and is served afterwards. */
static void
bad_lines_are_refused(void **state)
{
    static const struct {
        const char *line, *answer;
    } rows[] = {
        {"nonsense\n", "{\"error\":{\"code\":\"INVALID\",\"exit\":7,"},
        {"[]\n", "a line must be a JSON object"},
        {"{\"method\":\"echo\"\n", "no JSON object"},
        {"{\"id\":1,\"id\":2,\"method\":\"echo\"}\n", "no JSON object"},
        {"{\"id\":1}\n", "{\"id\":1,\"error\":"},
        {"{\"id\":{},\"method\":\"echo\"}\n", "\\\"id\\\" must be"},
        {"{\"id\":1,\"method\":5}\n", "\\\"method\\\" must be text"},
        {"{\"id\":1,\"method\":\"\"}\n", "\\\"method\\\" must be text"},
        {"{\"id\":1,\"method\":\"echo\",\"token\":[]}\n", "\\\"token\\\" must be text"},
        {"{\"id\":1,\"method\":\"echo\",\"params\":[]}\n", "\\\"params\\\" must be an object"},
        {"{\"id\":1,\"method\":\"a\\u0000b\"}\n", "no JSON object"},
        {"{\"id\":1,\"method\":\"\xff\"}\n", "no JSON object"},
        {"{\"id\":99999999999999999999999,\"method\":\"echo\"}\n", "no JSON object"},
        {"{\"p\":[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]}\n", "too deep"},
    };
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *got = served_ask(&t, fd, rows[i].line);

        if (strstr(got, rows[i].answer) == NULL)
            fail_msg("%s -> %s", rows[i].line, got);
        assert_ptr_equal(strchr(got, '\n'), got + strlen(got) - 1);
    }
    assert_int_equal(t.runs, 0);
    assert_non_null(strstr(served_ask(&t, fd, "{\"method\":\"echo\"}\n"), "result"));
    close(fd);
    served_end(&t);
}

/* A secret in a line that is no JSON is not told again. */
static void
refusals_quote_nothing(void **state)
{
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    assert_null(strstr(served_ask(&t, fd, "{\"password\": verysecret}\n"), "verysecret"));
    assert_null(
        strstr(served_ask(&t, fd, "{\"method\":\"echo\",\"token\":{\"x\":\"verysecret\"}}\n"),
               "verysecret"));
    close(fd);
    served_end(&t);
}

/* A selection with a word that is not understood is not one of everything. */
static void
parameters_that_are_unknown(void **state)
{
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    assert_non_null(strstr(
        served_ask(&t, fd,
                   "{\"id\":1,\"method\":\"select\",\"params\":{\"tpgt\":1,\"taget\":\"x\"}}\n"),
        "{\"id\":1,\"error\":{\"code\":\"INVALID\",\"exit\":7,\"message\":"
        "\"there is no parameter \\\"taget\\\"; was this meant: \\\"target\\\"\""));
    assert_non_null(
        strstr(served_ask(&t, fd, "{\"method\":\"select\",\"params\":{\"zzzzzzzz\":1}}\n"),
               "\\\"zzzzzzzz\\\"\""));
    assert_non_null(
        strstr(served_ask(&t, fd, "{\"method\":\"select\",\"params\":{\"\":1}}\n"), "INVALID"));
    assert_non_null(
        strstr(served_ask(&t, fd, "{\"method\":\"progress\",\"params\":{\"a\":1}}\n"), "INVALID"));
    assert_int_equal(t.runs, 0);
    assert_non_null(
        strstr(served_ask(&t, fd, "{\"method\":\"select\",\"params\":{\"tpgt\":1}}\n"), "result"));
    assert_non_null(strstr(served_ask(&t, fd, "{\"method\":\"select\"}\n"), "result"));
    close(fd);
    served_end(&t);
}

static void
others_may_not_call(void **state)
{
    struct served t;
    bool end;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID + 1);
    served_send(&t, fd, "{\"method\":\"echo\"}\n", 18);
    assert_non_null(strstr(served_recv(&t, fd, &end), "\"ACCESS\""));
    assert_true(end);
    assert_int_equal(t.runs, 0);
    close(fd);
    fd = served_raw(&t, 0);
    assert_non_null(strstr(served_ask(&t, fd, "{\"method\":\"echo\"}\n"), "result"));
    close(fd);
    served_end(&t);
}

static void
an_answer_comes_later(void **state)
{
    struct served t;
    struct manage_call *held;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    assert_string_equal(served_ask(&t, fd, "{\"id\":1,\"method\":\"hold\"}\n"), "");
    held = t.held;
    assert_int_equal(manage_call_uid(held), SERVED_UID);
    manage_progress(held, json_pack("{s:b}", "now", 1));
    /* others are served meanwhile, and answers may come in another order */
    assert_string_equal(
        served_ask(&t, fd, "{\"id\":2,\"method\":\"echo\"}\n"),
        "{\"id\":1,\"progress\":{\"now\":true}}\n{\"id\":2,\"result\":{\"runs\":2}}\n");
    manage_reply(held, json_pack("{s:i}", "late", 1));
    assert_string_equal(served_ask(&t, fd, ""), "{\"id\":1,\"result\":{\"late\":1}}\n");
    /* memory was short */
    assert_string_equal(served_ask(&t, fd, "{\"id\":3,\"method\":\"hold\"}\n"), "");
    manage_reply(t.held, NULL);
    assert_non_null(strstr(served_ask(&t, fd, ""), "{\"id\":3,\"error\":{\"code\":\"NO_MEMORY\""));
    close(fd);
    served_end(&t);
}

/* Those who wait are let go; what goes on is answered to who has joined it since. */
static void
a_call_is_given_up(void **state)
{
    struct served t;
    struct manage_call *held;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    assert_string_equal(served_ask(&t, fd, "{\"id\":1,\"method\":\"hold\",\"token\":\"t\"}\n"), "");
    held = t.held;
    manage_give_up(held, MANAGE_TIMEOUT, "it takes %d s already", 5);
    assert_string_equal(served_ask(&t, fd, ""),
                        "{\"id\":1,\"error\":{\"code\":\"TIMEOUT\",\"exit\":33,"
                        "\"message\":\"it takes 5 s already\"}}\n");
    manage_give_up(held, MANAGE_TIMEOUT, "nobody hears that");
    assert_int_equal(t.gone, 0); /* it has a token */
    assert_string_equal(served_ask(&t, fd, "{\"id\":2,\"method\":\"hold\",\"token\":\"t\"}\n"), "");
    assert_int_equal(t.runs, 1);
    manage_reply(held, json_pack("{s:i}", "late", 1));
    assert_string_equal(served_ask(&t, fd, ""), "{\"id\":2,\"result\":{\"late\":1}}\n");
    /* without a token it need not be finished */
    assert_string_equal(served_ask(&t, fd, "{\"id\":3,\"method\":\"hold\"}\n"), "");
    manage_give_up(t.held, MANAGE_TIMEOUT, "too late");
    assert_int_equal(t.gone, 1);
    assert_non_null(strstr(served_ask(&t, fd, ""), "too late"));
    close(fd);
    served_end(&t);
}

static void
a_caller_goes_away(void **state)
{
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, NULL);
    /* the method is told; it may also not care */
    fd = served_raw(&t, SERVED_UID);
    (void)served_ask(&t, fd, "{\"id\":1,\"method\":\"hold\"}\n");
    close(fd);
    served_turns(&t, 4);
    assert_int_equal(t.gone, 1);
    fd = served_raw(&t, SERVED_UID);
    (void)served_ask(&t, fd, "{\"id\":1,\"method\":\"hold\"}\n");
    manage_call_on_gone(t.held, NULL, NULL);
    close(fd);
    served_turns(&t, 4);
    manage_progress(t.held, json_object());
    manage_reply(t.held, json_object());
    /* in the middle of a line, and without any */
    fd = served_raw(&t, SERVED_UID);
    (void)served_ask(&t, fd, "{\"id\":1,");
    close(fd);
    fd = served_raw(&t, SERVED_UID);
    close(fd);
    served_turns(&t, 4);
    /* with a call under way when the server ends */
    fd = served_raw(&t, SERVED_UID);
    (void)served_ask(
        &t, fd, "{\"id\":1,\"method\":\"hold\"}\n{\"id\":1,\"token\":\"t\",\"method\":\"hold\"}\n");
    served_end(&t);
    close(fd);
}

static void
a_token_is_carried_out_once(void **state)
{
    static const char ask[] = "{\"id\":1,\"token\":\"t\",\"method\":\"echo\"}\n";
    struct served t;
    int a, b;

    (void)state;
    served_begin(&t, NULL);
    a = served_raw(&t, SERVED_UID);
    assert_string_equal(served_ask(&t, a, ask), "{\"id\":1,\"result\":{\"runs\":1}}\n");
    assert_string_equal(served_ask(&t, a, ask), "{\"id\":1,\"result\":{\"runs\":1}}\n");
    b = served_raw(&t, SERVED_UID);
    assert_string_equal(served_ask(&t, b, "{\"id\":5,\"token\":\"t\",\"method\":\"echo\"}\n"),
                        "{\"id\":5,\"result\":{\"runs\":1}}\n");
    assert_non_null(strstr(served_ask(&t, b, "{\"id\":5,\"token\":\"t\",\"method\":\"fail\"}\n"),
                           "used for another method"));
    /* what was asked for is another thing: to be told that it is done would be a lie */
    assert_non_null(strstr(
        served_ask(&t, b, "{\"id\":5,\"token\":\"t\",\"method\":\"echo\",\"params\":{\"a\":1}}\n"),
        "used with other parameters"));
    assert_string_equal(
        served_ask(&t, b, "{\"id\":5,\"token\":\"t\",\"method\":\"echo\",\"params\":{}}\n"),
        "{\"id\":5,\"result\":{\"runs\":1}}\n");
    /* root's tokens are others */
    close(b);
    b = served_raw(&t, 0);
    assert_string_equal(served_ask(&t, b, ask), "{\"id\":1,\"result\":{\"runs\":2}}\n");
    assert_string_equal(served_ask(&t, b, "{\"id\":1,\"token\":\"u\",\"method\":\"echo\"}\n"),
                        "{\"id\":1,\"result\":{\"runs\":3}}\n");
    close(a);
    close(b);
    served_end(&t);
}

/* A caller whose connection broke asks again, while the first request is still under way. */
static void
a_token_joins_what_is_under_way(void **state)
{
    static const char ask[] = "{\"id\":1,\"token\":\"t\",\"method\":\"hold\"}\n";
    struct served t;
    int a, b;

    (void)state;
    served_begin(&t, NULL);
    a = served_raw(&t, SERVED_UID);
    (void)served_ask(&t, a, ask);
    close(a);
    served_turns(&t, 4);
    assert_int_equal(t.gone, 0);
    a = served_raw(&t, SERVED_UID);
    b = served_raw(&t, SERVED_UID);
    assert_string_equal(served_ask(&t, a, ask), "");
    assert_string_equal(served_ask(&t, b, ask), "");
    assert_int_equal(t.runs, 1);
    manage_fail(t.held, MANAGE_LOGIN_AUTH, "the target refused the secret");
    assert_non_null(strstr(served_ask(&t, a, ""), "LOGIN_AUTH"));
    assert_non_null(strstr(served_ask(&t, b, ""), "LOGIN_AUTH"));
    assert_non_null(strstr(served_ask(&t, b, ask), "LOGIN_AUTH"));
    assert_int_equal(t.runs, 1);
    close(a);
    close(b);
    served_end(&t);
}

static void
what_is_remembered_is_bounded(void **state)
{
    struct manage_limits limits = {.tokens_max = 4, .kept_max = 8192};
    char ask[128];
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, &limits);
    fd = served_raw(&t, SERVED_UID);
    for (int i = 0; i < 6; i++) {
        (void)snprintf(ask, sizeof(ask), "{\"token\":\"%d\",\"method\":\"echo\"}\n", i);
        (void)served_ask(&t, fd, ask);
    }
    assert_int_equal(t.runs, 6);
    (void)served_ask(&t, fd, "{\"token\":\"2\",\"method\":\"echo\"}\n");
    assert_int_equal(t.runs, 6); /* remembered still */
    (void)served_ask(&t, fd, "{\"token\":\"1\",\"method\":\"echo\"}\n");
    assert_int_equal(t.runs, 7); /* forgotten */
    /* too large to be remembered, but not carried out twice */
    assert_non_null(strstr(served_ask(&t, fd,
                                      "{\"token\":\"L\",\"method\":\"large\","
                                      "\"params\":{\"bytes\":100000}}\n"),
                           "xxxx"));
    assert_non_null(strstr(served_ask(&t, fd,
                                      "{\"token\":\"L\",\"method\":\"large\","
                                      "\"params\":{\"bytes\":100000}}\n"),
                           "AGAIN"));
    assert_int_equal(t.runs, 8);
    /* when all are under way, new ones are refused, and those without a token are not */
    for (int i = 0; i < 4; i++) {
        (void)snprintf(ask, sizeof(ask), "{\"token\":\"h%d\",\"method\":\"hold\"}\n", i);
        assert_string_equal(served_ask(&t, fd, ask), "");
    }
    assert_non_null(
        strstr(served_ask(&t, fd, "{\"token\":\"new\",\"method\":\"echo\"}\n"), "\"BUSY\""));
    assert_non_null(strstr(served_ask(&t, fd, "{\"method\":\"echo\"}\n"), "result"));
    close(fd);
    served_end(&t);
}

static void
events_reach_those_who_asked(void **state)
{
    struct served t;
    int a, b;

    (void)state;
    served_begin(&t, NULL);
    a = served_raw(&t, SERVED_UID);
    b = served_raw(&t, SERVED_UID);
    assert_string_equal(served_ask(&t, a, "{\"id\":1,\"method\":\"events.subscribe\"}\n"),
                        "{\"id\":1,\"result\":{}}\n");
    manage_event(t.m, "session.lost", json_pack("{s:i}", "sid", 3));
    manage_event(t.m, "daemon.ready", NULL);
    assert_string_equal(served_ask(&t, a, ""),
                        "{\"event\":\"session.lost\",\"time\":1234.5,\"sid\":3}\n"
                        "{\"event\":\"daemon.ready\",\"time\":1234.5}\n");
    assert_string_equal(served_ask(&t, b, ""), "");
    close(a);
    served_turns(&t, 3);
    manage_event(t.m, "daemon.ready", NULL);
    close(b);
    served_end(&t);
}

/* ---- requests from inside ------------------------------------------------------------------- */

struct inside {
    unsigned called;
    bool none;
    char text[200];
};

static void
inside_done(void *user, const json_t *answer)
{
    struct inside *i = user;

    i->called++;
    i->none = answer == NULL;
    if (answer != NULL)
        i->text[json_dumpb(answer, i->text, sizeof(i->text) - 1, JSON_COMPACT)] = '\0';
}

static void
the_daemon_asks_itself(void **state)
{
    struct inside now = {.called = 0}, later = now, failed = now, unknown = now, ended = now;
    json_t *params = json_pack("{s:i}", "a", 1);
    struct served t;

    (void)state;
    served_begin(&t, NULL);
    manage_server_ask(t.m, "echo", params, inside_done, &now);
    json_decref(params);
    assert_int_equal(now.called, 1);
    assert_string_equal(now.text, "{\"result\":{\"runs\":1,\"params\":{\"a\":1}}}");
    manage_server_ask(t.m, "fail", NULL, inside_done, &failed);
    assert_non_null(strstr(failed.text, "\"exit\":21"));
    manage_server_ask(t.m, "nonsense", NULL, inside_done, &unknown);
    assert_non_null(strstr(unknown.text, "\"exit\":16"));
    manage_server_ask(t.m, "hold", NULL, inside_done, &later);
    assert_int_equal(later.called, 0);
    manage_progress(t.held, json_object());
    manage_reply(t.held, json_object());
    assert_int_equal(later.called, 1);
    assert_string_equal(later.text, "{\"result\":{}}");
    /* Where it is not answered before the end, that is told. */
    manage_server_ask(t.m, "hold", NULL, inside_done, &ended);
    served_end(&t);
    assert_int_equal(ended.called, 1);
    assert_true(ended.none);
}

/* Who waits no longer inside the daemon is not told, and the method learns that nobody waits. */
static void
the_daemon_waits_no_longer(void **state)
{
    struct inside one = {.called = 0}, other = one;
    struct served t;

    (void)state;
    served_begin(&t, NULL);
    manage_server_ask(t.m, "hold", NULL, inside_done, &one);
    manage_server_forget(t.m, &other);
    assert_int_equal(t.gone, 0);
    manage_server_forget(t.m, &one);
    assert_int_equal(t.gone, 1);
    manage_server_forget(t.m, &one);
    served_end(&t);
    assert_int_equal(one.called + other.called, 0);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_are_answered),
        cmocka_unit_test(bad_lines_are_refused),
        cmocka_unit_test(refusals_quote_nothing),
        cmocka_unit_test(parameters_that_are_unknown),
        cmocka_unit_test(others_may_not_call),
        cmocka_unit_test(an_answer_comes_later),
        cmocka_unit_test(a_call_is_given_up),
        cmocka_unit_test(a_caller_goes_away),
        cmocka_unit_test(a_token_is_carried_out_once),
        cmocka_unit_test(a_token_joins_what_is_under_way),
        cmocka_unit_test(what_is_remembered_is_bounded),
        cmocka_unit_test(events_reach_those_who_asked),
        cmocka_unit_test(the_daemon_asks_itself),
        cmocka_unit_test(the_daemon_waits_no_longer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
