/* SPDX-License-Identifier: MIT */
/* The caller's end: against the server, and against a daemon that lies, is silent or dies. */
#include "served.h"

#include <errno.h>
#include <sys/un.h>

static void
count_progress(void *user, json_t *progress)
{
    int *n = user;

    assert_int_equal(json_integer_value(json_object_get(progress, "step")), *n);
    (*n)++;
}

static void
requests_against_the_server(void **state)
{
    struct manage_failure fail;
    struct manage_client *c;
    struct served t;
    json_t *result = NULL;
    int steps = 0;

    (void)state;
    served_begin(&t, NULL);
    c = served_client(&t);
    assert_int_equal(manage_client_request(c, "echo", NULL, json_pack("{s:s}", "a", "b"), 60000,
                                           NULL, NULL, &result, &fail),
                     0);
    assert_string_equal(json_string_value(json_object_get(json_object_get(result, "params"), "a")),
                        "b");
    json_decref(result);
    assert_int_equal(manage_client_request(c, "progress", "tok", NULL, -1, count_progress, &steps,
                                           &result, &fail),
                     0);
    assert_int_equal(steps, 3);
    json_decref(result);
    assert_int_equal(
        manage_client_request(c, "fail", NULL, NULL, 60000, NULL, NULL, &result, &fail),
        -EREMOTEIO);
    assert_int_equal(fail.exit, 21);
    assert_string_equal(fail.code, "NOT_FOUND");
    assert_string_equal(fail.message, "no \"node\" ?[31m here");
    /* the daemon says nothing; its late answer is not taken for another one */
    assert_int_equal(manage_client_request(c, "hold", NULL, NULL, 30, NULL, NULL, &result, &fail),
                     -ETIMEDOUT);
    assert_int_equal(fail.exit, MANAGE_TIMEOUT);
    assert_non_null(strstr(fail.message, "stopped or stuck"));
    assert_non_null(strstr(fail.message, "hold"));
    manage_reply(t.held, json_pack("{s:i}", "late", 1));
    assert_int_equal(
        manage_client_request(c, "echo", NULL, NULL, 60000, NULL, NULL, &result, &fail), 0);
    assert_non_null(json_object_get(result, "runs"));
    json_decref(result);
    /* a large answer */
    assert_int_equal(manage_client_request(c, "large", NULL, json_pack("{s:i}", "bytes", 9000000),
                                           60000, NULL, NULL, &result, &fail),
                     0);
    assert_int_equal(json_string_length(json_object_get(result, "text")), 9000000);
    json_decref(result);
    manage_client_free(&c);
    assert_null(c);
    served_end(&t);
}

static void
events_wait_for_the_caller(void **state)
{
    struct manage_failure fail;
    struct manage_client *c;
    struct served t;
    json_t *got = NULL;

    (void)state;
    served_begin(&t, NULL);
    c = served_client(&t);
    assert_int_equal(
        manage_client_request(c, "events.subscribe", NULL, NULL, 60000, NULL, NULL, &got, &fail),
        0);
    json_decref(got);
    assert_int_equal(manage_client_event(c, 20, &got, &fail), -ETIMEDOUT);
    manage_event(t.m, "one", NULL);
    manage_event(t.m, "two", NULL);
    /* they come while another answer is waited for */
    assert_int_equal(manage_client_request(c, "echo", NULL, NULL, 60000, NULL, NULL, &got, &fail),
                     0);
    json_decref(got);
    assert_int_equal(manage_client_event(c, 60000, &got, &fail), 0);
    assert_string_equal(json_string_value(json_object_get(got, "event")), "one");
    json_decref(got);
    assert_int_equal(manage_client_event(c, 60000, &got, &fail), 0);
    assert_string_equal(json_string_value(json_object_get(got, "event")), "two");
    json_decref(got);
    manage_server_free(&t.m);
    assert_int_equal(manage_client_event(c, 60000, &got, &fail), -ENOTCONN);
    assert_int_equal(manage_client_request(c, "echo", NULL, NULL, 60000, NULL, NULL, &got, &fail),
                     -ENOTCONN);
    assert_int_equal(fail.exit, MANAGE_DAEMON_LOST);
    manage_client_free(&c);
    served_end(&t);
}

/* What a daemon says to the first request, before it closes the connection. */
static void
daemons_that_lie(void **state)
{
    static const struct {
        const char *says;
        int r, exit;
    } rows[] = {
        {"", -ENOTCONN, MANAGE_DAEMON_LOST},
        {"{\"id\":1,\"resu", -ENOTCONN, MANAGE_DAEMON_LOST},
        {"nonsense\n", -ENOTCONN, MANAGE_DAEMON_LOST},
        {"{\"id\":2,\"result\":{}}\n", -ENOTCONN, MANAGE_DAEMON_LOST},
        {"{\"id\":\"1\",\"result\":{}}\n", -ENOTCONN, MANAGE_DAEMON_LOST},
        {"{\"id\":1}\n", -EPROTO, MANAGE_DAEMON_LOST},
        {"{\"id\":1,\"result\":{},\"new\":1}\n", 0, 0},
        {"{\"id\":1,\"error\":{}}\n", -EREMOTEIO, MANAGE_ERROR},
        {"{\"id\":1,\"error\":7}\n", -EREMOTEIO, MANAGE_ERROR},
        {"{\"id\":1,\"error\":{\"exit\":0}}\n", -EREMOTEIO, MANAGE_ERROR},
        {"{\"id\":1,\"error\":{\"exit\":256}}\n", -EREMOTEIO, MANAGE_ERROR},
        {"{\"id\":1,\"error\":{\"exit\":99,\"code\":\"NEW\"}}\n", -EREMOTEIO, 99},
        {"{\"id\":1,\"error\":{\"exit\":5,\"message\":\"\\u001b[2J\"}}\n", -EREMOTEIO, 5},
        {"{\"error\":{\"exit\":13,\"code\":\"ACCESS\"}}\n", -EREMOTEIO, MANAGE_ACCESS},
    };
    static const struct stream_events none;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct manage_failure fail = {.exit = 0};
        struct manage_client *c;
        json_t *result = NULL;
        struct stream *s;
        struct served t;
        int fds[2], r;

        served_begin(&t, NULL);
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds), 0);
        assert_int_equal(stream_adopt(t.loop, fds[0], &none, NULL, &s), 0);
        assert_int_equal(manage_client_adopt(t.loop, s, &c), 0);
        assert_int_equal(send(fds[1], rows[i].says, strlen(rows[i].says), 0), strlen(rows[i].says));
        /* Not closed but shut down: the request that comes would else reset the connection. */
        assert_int_equal(shutdown(fds[1], SHUT_WR), 0);
        r = manage_client_request(c, "m", NULL, NULL, 60000, NULL, NULL, &result, &fail);
        if (r != rows[i].r || fail.exit != rows[i].exit)
            fail_msg("%s: %d, exit %d", rows[i].says, r, fail.exit);
        for (const char *p = fail.message; r < 0 && *p != '\0'; p++)
            assert_in_range(*p, 0x20, 0x7e);
        json_decref(result);
        manage_client_free(&c);
        close(fds[1]);
        served_end(&t);
    }
}

/* Over a path: the daemon is found, and what is no daemon, or none of ours, is told apart. */
static void
a_daemon_at_a_path(void **state)
{
    char dir[] = "/tmp/manage-XXXXXX", path[64], long_path[200];
    struct lunette_error err = {.msg = ""};
    struct manage_failure fail;
    struct manage_client *c = NULL;
    struct served t;
    json_t *result;

    (void)state;
    assert_non_null(mkdtemp(dir));
    (void)snprintf(path, sizeof(path), "%s/sock", dir);
    served_begin_as(&t, NULL, getuid());
    assert_int_equal(manage_client_connect(t.loop, path, getuid(), 60000, &c, &err), -ENOENT);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(manage_server_listen(t.m, path, -1, &err), 0);
    assert_int_equal(manage_server_listen(t.m, path, -1, &err), -EADDRINUSE);
    assert_non_null(strstr(err.msg, path));
    assert_int_equal(manage_client_connect(t.loop, path, getuid(), 60000, &c, &err), 0);
    assert_int_equal(
        manage_client_request(c, "echo", NULL, NULL, 60000, NULL, NULL, &result, &fail), 0);
    json_decref(result);
    manage_client_free(&c);
    memset(long_path, 'x', sizeof(long_path) - 1);
    long_path[sizeof(long_path) - 1] = '\0';
    assert_int_equal(manage_client_connect(t.loop, long_path, 1, 1000, &c, &err), -ENAMETOOLONG);
    if (getuid() != 0)
        assert_int_equal(manage_client_connect(t.loop, path, getuid() + 1, 1000, &c, &err),
                         -EACCES);
    served_turns(&t, 3);
    served_end(&t);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(rmdir(dir), 0);
}

/* A daemon whose queue of connections is full, and the test that empties it after a while. */
struct busy {
    struct loop_timer timer;
    int listener;
};

static void
take_connections(struct loop_timer *t)
{
    int fd, listener = container_of(t, struct busy, timer)->listener;

    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0)
        close(fd);
}

static void
a_daemon_is_busy(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    char dir[] = "/tmp/manage-XXXXXX";
    struct lunette_error err = {.msg = ""};
    struct manage_client *c = NULL;
    struct busy b = {.listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)};
    int fill[8];
    struct served t;

    (void)state;
    served_begin(&t, NULL);
    assert_non_null(mkdtemp(dir));
    (void)snprintf(at.sun_path, sizeof(at.sun_path), "%s/sock", dir);
    assert_int_equal(bind(b.listener, (struct sockaddr *)&at, sizeof(at)), 0);
    assert_int_equal(listen(b.listener, 0), 0);
    for (unsigned i = 0; i < 8; i++) {
        fill[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        (void)connect(fill[i], (struct sockaddr *)&at, sizeof(at));
    }
    assert_int_equal(manage_client_connect(t.loop, at.sun_path, getuid(), 60, &c, &err),
                     -ETIMEDOUT);
    loop_timer_init(&b.timer, take_connections);
    loop_timer_start(t.loop, &b.timer, 50 * LOOP_NS_PER_MS);
    assert_int_equal(manage_client_connect(t.loop, at.sun_path, getuid(), 60000, &c, &err), 0);
    manage_client_free(&c);
    for (unsigned i = 0; i < 8; i++)
        close(fill[i]);
    close(b.listener);
    assert_int_equal(unlink(at.sun_path), 0);
    assert_int_equal(rmdir(dir), 0);
    served_end(&t);
}

/* A listening socket that a service manager has made. */
static void
a_socket_that_is_handed_over(void **state)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};
    socklen_t len = sizeof(at);
    struct lunette_error err = {.msg = ""};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int to = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    struct served t;

    (void)state;
    served_begin_as(&t, NULL, getuid());
    assert_int_equal(manage_server_listen(t.m, NULL, fd, &err), -EINVAL);
    /* an abstract name that the system chooses */
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof(at.sun_family)), 0);
    assert_int_equal(listen(fd, 5), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    assert_int_equal(manage_server_listen(t.m, NULL, fd, &err), 0);
    assert_int_equal(connect(to, (struct sockaddr *)&at, len), 0);
    assert_non_null(strstr(served_ask(&t, to, "{\"method\":\"echo\"}\n"), "result"));
    close(to);
    served_end(&t);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_against_the_server),
        cmocka_unit_test(events_wait_for_the_caller),
        cmocka_unit_test(daemons_that_lie),
        cmocka_unit_test(a_daemon_at_a_path),
        cmocka_unit_test(a_daemon_is_busy),
        cmocka_unit_test(a_socket_that_is_handed_over),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
