/* SPDX-License-Identifier: MIT */
/* Callers of the management API who send too much, read nothing, or never end. */
#include "served.h"

#include <errno.h>

static const char echo[] = "{\"id\":1,\"method\":\"echo\"}\n";

/* Is the server well, and did it end that caller? */
static void
check_served(struct served *t)
{
    int fd = served_raw(t, SERVED_UID);

    assert_non_null(strstr(served_ask(t, fd, echo), "result"));
    close(fd);
    served_turns(t, 3);
}

static void
a_line_never_ends(void **state)
{
    struct served t;
    char *text = malloc(MANAGE_LINE_MAX + 2);
    bool end;
    int fd;

    (void)state;
    assert_non_null(text);
    memset(text, ' ', MANAGE_LINE_MAX + 2);
    served_begin(&t, NULL);
    /* just as long as allowed */
    fd = served_raw(&t, SERVED_UID);
    memcpy(text, echo, sizeof(echo) - 2);
    text[MANAGE_LINE_MAX] = '\n';
    served_send(&t, fd, text, MANAGE_LINE_MAX + 1);
    assert_non_null(strstr(served_recv(&t, fd, &end), "result"));
    assert_false(end);
    /* a byte more, with its newline and without */
    text[MANAGE_LINE_MAX] = ' ';
    text[MANAGE_LINE_MAX + 1] = '\n';
    served_send(&t, fd, text, MANAGE_LINE_MAX + 2);
    (void)served_recv(&t, fd, &end);
    assert_true(end);
    close(fd);
    fd = served_raw(&t, SERVED_UID);
    served_send(&t, fd, text, MANAGE_LINE_MAX + 1);
    (void)served_recv(&t, fd, &end);
    assert_true(end);
    close(fd);
    assert_int_equal(t.runs, 1);
    check_served(&t);
    served_end(&t);
    free(text);
}

static void
too_many_values(void **state)
{
    struct served t;
    char *text = calloc(1, MANAGE_LINE_MAX);
    bool end;
    int fd, at;

    (void)state;
    assert_non_null(text);
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    at = sprintf(text, "{\"id\":1,\"method\":\"echo\",\"params\":{\"a\":[0");
    for (int i = 0; i < 100000; i++)
        at += sprintf(text + at, ",0");
    at += sprintf(text + at, "]}}\n");
    served_send(&t, fd, text, (size_t)at);
    assert_non_null(strstr(served_recv(&t, fd, &end), "too many values"));
    assert_false(end);
    close(fd);
    check_served(&t);
    served_end(&t);
    free(text);
}

static void
too_many_requests_under_way(void **state)
{
    struct manage_limits limits = {.calls_max = 3};
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, &limits);
    fd = served_raw(&t, SERVED_UID);
    for (int i = 0; i < 3; i++)
        assert_string_equal(served_ask(&t, fd, "{\"method\":\"hold\"}\n"), "");
    assert_non_null(strstr(served_ask(&t, fd, echo), "\"BUSY\""));
    manage_reply(t.held, json_object());
    assert_non_null(strstr(served_ask(&t, fd, echo), "\"runs\":4"));
    /* another caller has room of its own */
    check_served(&t);
    close(fd);
    served_end(&t);
}

/* Callers who ask and go: what they have asked for goes on, and must not become ever more. */
static void
too_many_requests_of_nobody(void **state)
{
    struct manage_limits limits = {.peers_max = 3, .calls_max = 2, .under_way = 6};
    struct manage_call *last = NULL;
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, &limits);
    for (unsigned i = 0; i < 6; i++) {
        fd = served_raw(&t, SERVED_UID);
        assert_string_equal(served_ask(&t, fd, "{\"method\":\"hold\"}\n"), "");
        assert_true(t.held != NULL && t.held != last);
        last = t.held;
        manage_call_on_gone(last, NULL, NULL);
        close(fd);
        served_turns(&t, 4);
    }
    fd = served_raw(&t, SERVED_UID);
    assert_non_null(strstr(served_ask(&t, fd, echo), "\"BUSY\""));
    assert_int_equal(t.runs, 6);
    manage_reply(last, json_object());
    assert_non_null(strstr(served_ask(&t, fd, echo), "\"runs\":7"));
    assert_non_null(strstr(served_ask(&t, fd, echo), "\"runs\":8"));
    close(fd);
    served_end(&t);
}

/* Answers wait for a caller who does not read; he ends when there are too many bytes of them. */
static void
a_caller_does_not_read(void **state)
{
    static const char ask[] = "{\"method\":\"large\",\"params\":{\"bytes\":300000}}\n";
    struct manage_limits limits = {.waiting_max = 1000000};
    size_t waiting;
    unsigned peers, i;
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, &limits);
    fd = served_raw(&t, SERVED_UID);
    for (i = 0; i < 100; i++) {
        served_send(&t, fd, ask, sizeof(ask) - 1);
        manage_server_load(t.m, &peers, &waiting);
        assert_true(waiting <= limits.waiting_max);
        if (peers == 0)
            break;
    }
    assert_int_equal(peers, 0);
    assert_in_range(i, 2, 6);
    close(fd);
    check_served(&t);
    served_end(&t);
}

static void
one_answer_may_be_larger_than_the_bound(void **state)
{
    struct manage_limits limits = {.waiting_max = 1000};
    struct served t;
    bool end;
    int fd;

    (void)state;
    served_begin(&t, &limits);
    fd = served_raw(&t, SERVED_UID);
    served_send(&t, fd, "{\"method\":\"large\",\"params\":{\"bytes\":2000000}}\n", 47);
    assert_true(strlen(served_recv(&t, fd, &end)) > 2000000);
    assert_false(end);
    close(fd);
    served_end(&t);
}

static void
a_subscriber_does_not_read(void **state)
{
    struct manage_limits limits = {.event_max = 10000};
    unsigned peers;
    struct served t;
    int fd;

    (void)state;
    served_begin(&t, &limits);
    fd = served_raw(&t, SERVED_UID);
    (void)served_ask(&t, fd, "{\"method\":\"events.subscribe\"}\n");
    for (int i = 0; i < 10000; i++) {
        manage_event(t.m, "session.lost", json_pack("{s:i, s:s}", "sid", i, "why", "a reason"));
        if (i % 16 == 0)
            served_turns(&t, 1);
    }
    served_turns(&t, 2);
    manage_server_load(t.m, &peers, NULL);
    assert_int_equal(peers, 0);
    close(fd);
    check_served(&t);
    served_end(&t);
}

/* Whoever has asked is not silent, though nobody has read it yet. */
static void
a_crowd_loses_no_request(void **state)
{
    static const char request[] = "{\"id\":1,\"method\":\"echo\"}\n";
    struct manage_limits limits = {.peers_max = 3};
    struct served t;
    int fd, crowd[12];

    (void)state;
    served_begin(&t, &limits);
    fd = served_raw(&t, SERVED_UID);
    assert_int_equal(write(fd, request, strlen(request)), strlen(request));
    for (size_t i = 0; i < 12; i++)
        crowd[i] = served_raw(&t, SERVED_UID);
    assert_non_null(strstr(served_ask(&t, fd, ""), "\"result\""));
    for (size_t i = 0; i < 12; i++)
        close(crowd[i]);
    close(fd);
    served_end(&t);
}

/* Whoever is silent makes room; whoever waits for an answer or for events does not. */
static void
too_many_callers(void **state)
{
    struct manage_limits limits = {.peers_max = 3, .silence_ms = 20};
    struct served t;
    int busy, events, idle, fd;
    bool end;

    (void)state;
    served_begin(&t, &limits);
    busy = served_raw(&t, SERVED_UID);
    (void)served_ask(&t, busy, "{\"method\":\"hold\"}\n");
    events = served_raw(&t, SERVED_UID);
    (void)served_ask(&t, events, "{\"method\":\"events.subscribe\"}\n");
    idle = served_raw(&t, SERVED_UID);
    fd = served_raw(&t, SERVED_UID); /* who has just come is not pushed out */
    assert_non_null(strstr(served_recv(&t, fd, &end), "too many callers"));
    assert_true(end);
    close(fd);
    (void)usleep(30000);
    served_turns(&t, 1);
    fd = served_raw(&t, SERVED_UID);
    assert_non_null(
        strstr(served_ask(&t, fd, "{\"method\":\"hold\"}\n{\"method\":\"echo\"}\n"), "result"));
    (void)served_recv(&t, idle, &end);
    assert_true(end);
    close(idle);
    idle = served_raw(&t, SERVED_UID);
    assert_non_null(strstr(served_recv(&t, idle, &end), "too many callers"));
    assert_true(end);
    close(idle);
    close(fd);
    close(busy);
    close(events);
    served_end(&t);
}

/* All lines of one read are served in order, also when an early one ends the caller. */
static void
many_lines_at_once(void **state)
{
    char *text = calloc(1, 200000);
    struct served t;
    bool end;
    int fd, at = 0;

    (void)state;
    assert_non_null(text);
    for (int i = 0; i < 1000; i++)
        at += sprintf(text + at, "%s", echo);
    served_begin(&t, NULL);
    fd = served_raw(&t, SERVED_UID);
    served_send(&t, fd, text, (size_t)at);
    assert_non_null(strstr(served_recv(&t, fd, &end), "\"runs\":1000"));
    close(fd);
    served_end(&t);
    free(text);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_never_ends),
        cmocka_unit_test(too_many_values),
        cmocka_unit_test(too_many_requests_under_way),
        cmocka_unit_test(too_many_requests_of_nobody),
        cmocka_unit_test(a_caller_does_not_read),
        cmocka_unit_test(one_answer_may_be_larger_than_the_bound),
        cmocka_unit_test(a_subscriber_does_not_read),
        cmocka_unit_test(too_many_callers),
        cmocka_unit_test(a_crowd_loses_no_request),
        cmocka_unit_test(many_lines_at_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
