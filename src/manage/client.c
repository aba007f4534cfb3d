/* SPDX-License-Identifier: MIT */
#include "manage/client.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "manage/codes.h"
#include "manage/line.h"
#include "manage/peer.h"
#include "manage/wipe.h"

#define ANSWER_VALUES_MAX (16u << 20) /* JSON values of an answer */
#define CONNECT_GAP_MS    20          /* between tries to connect to a daemon that is busy */
#define EVENTS_MAX        1024 /* that wait for manage_client_event; the oldest are dropped */

struct manage_client {
    struct loop *loop;
    struct manage_peer *peer; /* NULL: it is gone */
    struct loop_timer timer;
    bool late;
    const char *gone; /* why there is no peer */
    json_int_t id;    /* of the latest request */
    json_t *answer;   /* of it, when it has come */
    json_t *events;   /* array */
    void (*progress)(void *user, json_t *progress);
    void *progress_user;
    int64_t silence_ms;
};

static int failure_set(struct manage_failure *fail, int r, enum manage_code code, const char *fmt,
                       ...) __attribute__((format(printf, 4, 5)));

static int
failure_set(struct manage_failure *fail, int r, enum manage_code code, const char *fmt, ...)
{
    va_list ap;

    fail->exit = (int)code;
    (void)snprintf(fail->code, sizeof(fail->code), "%s", manage_code_name((int)code));
    va_start(ap, fmt);
    (void)vsnprintf(fail->message, sizeof(fail->message), fmt, ap);
    va_end(ap);
    return r;
}

void
manage_failure_read(const json_t *error, struct manage_failure *ret)
{
    const json_t *code = json_object_get(error, "code"), *number = json_object_get(error, "exit");
    const char *text = json_string_value(json_object_get(error, "message"));
    json_int_t n = json_is_integer(number) ? json_integer_value(number) : MANAGE_ERROR;

    /* An exit code has eight bits, and none that stands for an error may be 0. */
    ret->exit = n > 0 && n < 256 ? (int)n : MANAGE_ERROR;
    if (!json_is_string(code))
        code = NULL;
    (void)log_clean(ret->code, sizeof(ret->code),
                    code != NULL ? json_string_value(code) : manage_code_name(ret->exit),
                    code != NULL ? json_string_length(code) : strlen(manage_code_name(ret->exit)));
    if (text == NULL)
        text = manage_code_text(ret->exit);
    (void)log_clean(ret->message, sizeof(ret->message), text, strlen(text));
}

static void
client_silence(struct manage_client *c)
{
    loop_timer_stop(c->loop, &c->timer);
    if (c->silence_ms >= 0)
        loop_timer_start(c->loop, &c->timer, (uint64_t)c->silence_ms * LOOP_NS_PER_MS);
}

static void
client_late(struct loop_timer *t)
{
    container_of(t, struct manage_client, timer)->late = true;
}

static void
client_event(struct manage_client *c, json_t *line)
{
    if (json_array_size(c->events) >= EVENTS_MAX)
        (void)json_array_remove(c->events, 0);
    (void)json_array_append(c->events, line);
}

static void
client_line(struct manage_peer *p, const char *text, size_t len)
{
    struct manage_client *c = p->user;
    json_t *line, *id, *progress;
    struct lunette_error err;

    if (manage_line_parse(text, len, ANSWER_VALUES_MAX, &line, &err) < 0) {
        manage_peer_end(p, "what it says cannot be understood");
        return;
    }
    id = json_object_get(line, "id");
    progress = json_object_get(line, "progress");
    if (json_object_get(line, "event") != NULL) {
        client_event(c, line);
    } else if (json_is_integer(id) && json_integer_value(id) == c->id && progress != NULL) {
        client_silence(c);
        if (c->progress != NULL)
            c->progress(c->progress_user, progress);
    } else if (c->answer == NULL && ((json_is_integer(id) && json_integer_value(id) == c->id) ||
                                     /* An error without an id is about the connection. */
                                     (id == NULL && json_object_get(line, "error") != NULL))) {
        c->answer = json_incref(line);
    } /* else it answers a request that was given up */
    json_decref(line);
}

static void
manage_client_gone(struct manage_peer *p, const char *why)
{
    struct manage_client *c = p->user;

    c->gone = why;
    manage_peer_free(&c->peer);
}

static const struct manage_peer_ops client_peer_ops = {
    .line = client_line,
    .gone = manage_client_gone,
};

int
manage_client_adopt(struct loop *l, struct stream *s, struct manage_client **ret)
{
    struct manage_client *c = calloc(1, sizeof(*c));

    if (c == NULL)
        return -ENOMEM;
    manage_wipe_json();
    c->loop = l;
    loop_timer_init(&c->timer, client_late);
    c->events = json_array();
    if (c->events == NULL || manage_peer_new(l, s, MANAGE_ANSWER_MAX, MANAGE_ANSWER_MAX,
                                             &client_peer_ops, c, &c->peer) < 0) {
        json_decref(c->events);
        free(c);
        return -ENOMEM;
    }
    *ret = c;
    return 0;
}

/* A connection that is being made. */
struct client_connect {
    struct loop_timer timer, again;
    bool done, late, waited;
    int err;
};

static void
client_connected(void *user, int err)
{
    struct client_connect *k = user;

    k->done = true;
    k->err = err;
}

static void
client_connect_late(struct loop_timer *t)
{
    container_of(t, struct client_connect, timer)->late = true;
}

static const struct stream_events client_connect_events = {.connected = client_connected};

static void
client_connect_again(struct loop_timer *t)
{
    container_of(t, struct client_connect, again)->waited = true;
}

/* Tries once: 0 or -errno. */
static int
client_connect_once(struct loop *l, const struct sock_addr *to, struct client_connect *k,
                    struct stream **ret)
{
    int r = stream_connect(l, to, NULL, &client_connect_events, k, ret);

    if (r < 0)
        return r;
    k->done = false;
    while (r >= 0 && !k->done && !k->late)
        r = loop_run(l, -1);
    r = r < 0 ? r : k->done ? k->err : -ETIMEDOUT;
    if (r < 0)
        stream_close(*ret);
    return r;
}

/* Waits for the connection: 0 or -errno.  A daemon that so many want to talk to that its queue is
 * full (-EAGAIN) is asked again. */
static int
client_connect_wait(struct loop *l, const struct sock_addr *to, int64_t timeout_ms,
                    struct stream **ret)
{
    struct client_connect k = {.done = false};
    int r, turn = 0;

    loop_timer_init(&k.timer, client_connect_late);
    loop_timer_init(&k.again, client_connect_again);
    loop_timer_start(l, &k.timer, (uint64_t)timeout_ms * LOOP_NS_PER_MS);
    while ((r = client_connect_once(l, to, &k, ret)) == -EAGAIN && !k.late && turn >= 0) {
        k.waited = false;
        loop_timer_start(l, &k.again, CONNECT_GAP_MS * LOOP_NS_PER_MS);
        while (turn >= 0 && !k.waited && !k.late)
            turn = loop_run(l, -1);
    }
    loop_timer_stop(l, &k.timer);
    loop_timer_stop(l, &k.again);
    return r;
}

/* Is it a daemon that may be told secrets? */
static int
client_check_peer(struct stream *s, const char *path, uid_t uid, struct lunette_error *err)
{
    uid_t other;
    int r = stream_peer_cred(s, &other, NULL);

    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                            "who answers at %s is not known: %s", path, errno_text(r));
    if (other != 0 && other != uid)
        return lunette_fail(err, -EACCES, LUNETTE_DOM_OS, EACCES,
                            "what answers at %s runs as user %ld, which is neither root nor the "
                            "user of this program; it is told nothing",
                            path, (long)other);
    return 0;
}

int
manage_client_connect(struct loop *l, const char *path, uid_t uid, int64_t timeout_ms,
                      struct manage_client **ret, struct lunette_error *err)
{
    struct sock_addr to;
    struct stream *s;
    int r = sock_addr_local(path, strlen(path), &to, err);

    if (r < 0)
        return r;
    r = client_connect_wait(l, &to, timeout_ms, &s);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_CONNECT, (uint32_t)-r,
                            "cannot connect to iscsid at %s: %s", path, errno_text(r));
    r = client_check_peer(s, path, uid, err);
    if (r == 0 && manage_client_adopt(l, s, ret) < 0)
        r = lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
    if (r < 0)
        stream_close(s);
    return r;
}

void
manage_client_free(struct manage_client **client)
{
    struct manage_client *c = *client;

    if (c == NULL)
        return;
    *client = NULL;
    loop_timer_stop(c->loop, &c->timer);
    manage_peer_free(&c->peer);
    json_decref(c->answer);
    json_decref(c->events);
    free(c);
}

static int
client_lost(const struct manage_client *c, struct manage_failure *fail)
{
    return failure_set(fail, -ENOTCONN, MANAGE_DAEMON_LOST,
                       "the connection to iscsid is lost: %s; whether the request was carried out "
                       "is not known",
                       c->gone);
}

static int
client_wait(struct manage_client *c, const char *method, struct manage_failure *fail)
{
    c->late = false;
    client_silence(c);
    while (c->answer == NULL && c->peer != NULL && !c->late) {
        int r = loop_run(c->loop, -1);

        if (r < 0)
            return failure_set(fail, r, MANAGE_INTERNAL, "the event loop failed: %s",
                               errno_text(r));
    }
    loop_timer_stop(c->loop, &c->timer);
    if (c->answer != NULL)
        return 0;
    if (c->peer == NULL)
        return client_lost(c, fail);
    return failure_set(fail, -ETIMEDOUT, MANAGE_TIMEOUT,
                       "iscsid has said nothing about %s for %lld s: it is stopped or stuck, and "
                       "its log may tell why; what was asked for may still be carried out",
                       method, (long long)c->silence_ms / 1000);
}

/* Takes the answer apart; it belongs to c. */
static int
client_answer(struct manage_client *c, json_t **ret, struct manage_failure *fail)
{
    json_t *error = json_object_get(c->answer, "error");
    json_t *result = json_object_get(c->answer, "result");

    if (error == NULL && result == NULL)
        return failure_set(fail, -EPROTO, MANAGE_DAEMON_LOST,
                           "the answer of iscsid holds neither a result nor an error");
    if (error == NULL) {
        *ret = json_incref(result);
        return 0;
    }
    manage_failure_read(error, fail);
    return -EREMOTEIO;
}

int
manage_client_request(struct manage_client *c, const char *method, const char *token,
                      json_t *params, int64_t silence_ms,
                      void (*progress)(void *user, json_t *progress), void *user, json_t **ret,
                      struct manage_failure *fail)
{
    json_t *line = json_pack("{s:I, s:s, s:s*, s:o*}", "id", ++c->id, "method", method, "token",
                             token, "params", params);
    int r;

    if (line == NULL)
        return failure_set(fail, -ENOMEM, MANAGE_NO_MEMORY, "out of memory");
    c->progress = progress;
    c->progress_user = user;
    c->silence_ms = silence_ms;
    if (c->peer != NULL)
        manage_line_send(c->peer, line);
    json_decref(line);
    r = client_wait(c, method, fail);
    if (r == 0)
        r = client_answer(c, ret, fail);
    json_decref(c->answer);
    c->answer = NULL;
    return r;
}

int
manage_client_event(struct manage_client *c, int64_t timeout_ms, json_t **ret,
                    struct manage_failure *fail)
{
    c->late = false;
    c->silence_ms = timeout_ms;
    client_silence(c);
    while (json_array_size(c->events) == 0 && c->peer != NULL && !c->late) {
        int r = loop_run(c->loop, -1);

        if (r < 0)
            return failure_set(fail, r, MANAGE_INTERNAL, "the event loop failed: %s",
                               errno_text(r));
    }
    loop_timer_stop(c->loop, &c->timer);
    if (json_array_size(c->events) > 0) {
        *ret = json_incref(json_array_get(c->events, 0));
        (void)json_array_remove(c->events, 0);
        return 0;
    }
    return c->peer == NULL ? client_lost(c, fail) : -ETIMEDOUT;
}
