/* SPDX-License-Identifier: MIT */
/* tests/unit/manage/served.h - a server of the management API with methods for tests, on a real
 * loop, and callers of it over socket pairs. */
#ifndef TESTS_UNIT_MANAGE_SERVED_H
#define TESTS_UNIT_MANAGE_SERVED_H

#include "tests/test.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/loop.h"
#include "manage/client.h"
#include "manage/manage.h"

#define SERVED_UID     1000
#define SERVED_MEMBERS 20 /* of what "members" answers */
#define SERVED_TEXT    (4u << 20)

struct served {
    struct loop *loop;
    struct manage_server *m;
    struct manage_call *held; /* of the method "hold", to be answered by the test */
    unsigned runs, gone;      /* how often a method ran; how often nobody waited any more */
    char *text;               /* what a caller has received last */
};

static inline void
served_echo(void *user, struct manage_call *call, const json_t *params)
{
    struct served *t = user;

    t->runs++;
    manage_reply(call, json_pack("{s:i, s:O*}", "runs", (int)t->runs, "params", params));
}

static inline void
served_gone(void *user, struct manage_call *call)
{
    struct served *t = user;

    t->gone++;
    t->held = NULL;
    manage_fail(call, MANAGE_ERROR, "nobody waits");
}

static inline void
served_hold(void *user, struct manage_call *call, const json_t *params)
{
    struct served *t = user;

    (void)params;
    t->runs++;
    t->held = call;
    manage_call_on_gone(call, served_gone, t);
}

static inline void
served_fail(void *user, struct manage_call *call, const json_t *params)
{
    (void)user;
    (void)params;
    manage_fail(call, MANAGE_NOT_FOUND, "no \"%s\" \x1b[31m here", "node");
}

/* Answers with that many bytes. */
static inline void
served_large(void *user, struct manage_call *call, const json_t *params)
{
    size_t n = (size_t)json_integer_value(json_object_get(params, "bytes"));
    char *text = malloc(n + 1);

    ((struct served *)user)->runs++;
    if (text == NULL) {
        manage_reply(call, NULL);
        return;
    }
    memset(text, 'x', n);
    text[n] = '\0';
    manage_reply(call, json_pack("{s:s}", "text", text));
    free(text);
}

static inline void
served_progress(void *user, struct manage_call *call, const json_t *params)
{
    (void)user;
    (void)params;
    for (int i = 0; i < 3; i++)
        manage_progress(call, json_pack("{s:i}", "step", i));
    manage_progress(call, NULL);
    manage_reply(call, json_object());
}

/* As many answers are made: whoever sets a member does not look whether there was memory for it. */
static inline void
served_members(void *user, struct manage_call *call, const json_t *params)
{
    json_t *o = json_object();
    char name[8];

    (void)user;
    (void)params;
    for (int i = 0; i < SERVED_MEMBERS; i++) {
        (void)snprintf(name, sizeof(name), "m%d", i);
        (void)json_object_set_new(o, name, json_integer(i));
    }
    manage_reply(call, o);
}

/* What is there is not found where the list of it got no memory. */
static inline void
served_listed(void *user, struct manage_call *call, const json_t *params)
{
    json_t *list = json_array();

    (void)user;
    (void)params;
    (void)json_array_append_new(list, json_integer(1));
    if (json_array_size(list) == 0) {
        json_decref(list);
        manage_fail(call, MANAGE_NOT_FOUND, "there is none");
    } else {
        manage_reply(call, list);
    }
}

static const struct manage_method served_methods[] = {
    {"echo", served_echo, NULL},
    {"hold", served_hold, NULL},
    {"fail", served_fail, NULL},
    {"large", served_large, "bytes"},
    {"listed", served_listed, ""},
    {"members", served_members, ""},
    {"progress", served_progress, ""},
    {"select", served_echo, "target portal tpgt"},
    {NULL, NULL, NULL},
};

static inline double
served_time(void *user)
{
    (void)user;
    return 1234.5;
}

static inline void
served_begin_as(struct served *t, const struct manage_limits *limits, uid_t uid)
{
    struct manage_config cfg = {
        .methods = served_methods, .user = t, .uid = uid, .unix_time = served_time};

    memset(t, 0, sizeof(*t));
    if (limits != NULL)
        cfg.limits = *limits;
    t->text = malloc(SERVED_TEXT);
    assert_non_null(t->text);
    assert_int_equal(loop_new(&(struct loop_config){.kind = LOOP_EPOLL}, &t->loop, NULL), 0);
    assert_int_equal(manage_server_new(t->loop, &cfg, &t->m), 0);
}

static inline void
served_begin(struct served *t, const struct manage_limits *limits)
{
    served_begin_as(t, limits, SERVED_UID);
}

static inline void
served_end(struct served *t)
{
    manage_server_free(&t->m);
    assert_null(t->m);
    loop_free(t->loop);
    free(t->text);
}

static inline struct stream *
served_stream(struct served *t, int *ret_fd)
{
    static const struct stream_events none;
    struct stream *s;
    int fds[2];

    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), 0);
    assert_int_equal(stream_adopt(t->loop, fds[0], &none, NULL, &s), 0);
    *ret_fd = fds[1];
    return s;
}

/* A caller that is a descriptor. */
static inline int
served_raw(struct served *t, uid_t uid)
{
    int fd;

    manage_server_adopt(t->m, served_stream(t, &fd), uid, 42);
    return fd;
}

static inline struct manage_client *
served_client(struct served *t)
{
    static const struct stream_events none;
    int fd = served_raw(t, SERVED_UID);
    struct manage_client *c;
    struct stream *s;

    assert_int_equal(stream_adopt(t->loop, fd, &none, NULL, &s), 0);
    assert_int_equal(manage_client_adopt(t->loop, s, &c), 0);
    return c;
}

static inline void
served_turns(struct served *t, int n)
{
    while (n-- > 0)
        assert_true(loop_run(t->loop, 0) >= 0);
}

/* Sends len bytes while the server reads them. */
static inline void
served_send(struct served *t, int fd, const char *text, size_t len)
{
    for (unsigned idle = 0; len > 0 && idle < 1000;) {
        ssize_t n = send(fd, text, len, MSG_NOSIGNAL);

        served_turns(t, 2);
        if (n < 0 && errno != EAGAIN)
            break;
        idle = n > 0 ? 0 : idle + 1;
        text += n > 0 ? n : 0;
        len -= n > 0 ? (size_t)n : 0;
    }
    served_turns(t, 4);
}

/* Receives all that there is; *ret_end: the server has closed.  The text is t->text. */
static inline const char *
served_recv(struct served *t, int fd, bool *ret_end)
{
    size_t len = 0;

    *ret_end = false;
    for (unsigned idle = 0; idle < 8 && !*ret_end;) {
        ssize_t n = recv(fd, t->text + len, SERVED_TEXT - 1 - len, 0);

        *ret_end = n == 0 || (n < 0 && errno != EAGAIN);
        len += n > 0 ? (size_t)n : 0;
        idle = n > 0 ? 0 : idle + 1;
        served_turns(t, 1);
    }
    t->text[len] = '\0';
    return t->text;
}

/* What is answered to a text that a caller sends; the caller stays. */
static inline const char *
served_ask(struct served *t, int fd, const char *text)
{
    const char *answer;
    bool end;

    served_send(t, fd, text, strlen(text));
    answer = served_recv(t, fd, &end);
    assert_false(end);
    return answer;
}

#endif
