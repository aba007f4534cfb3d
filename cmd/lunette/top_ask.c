/* SPDX-License-Identifier: MIT */
#include "cmd/lunette/top.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "cmd/lunette/cli.h"

#define ANSWER_MAX (256u << 20) /* bytes; the API promises no more */
#define ANSWER_MS  10000
#define SLICE_MS   100

static const char question[] =
    "{\"id\":1,\"method\":\"session.stats\",\"params\":{\"histograms\":true}}\n";

void
top_hang_up(struct top_daemon *d)
{
    if (d->fd >= 0)
        (void)close(d->fd);
    d->fd = -1;
}

static json_t *
top_ask_failed(struct top_daemon *d, char *why, size_t size, const char *what, int err)
{
    (void)snprintf(why, size, "%s %s%s%s", what, d->path, err != 0 ? ": " : "",
                   err != 0 ? strerror(err) : "");
    top_hang_up(d);
    return NULL;
}

static int
top_ask_connect(struct top_daemon *d)
{
    struct sockaddr_un at = {.sun_family = AF_UNIX};

    _Static_assert(sizeof(at.sun_path) >= sizeof(d->path), "the path fits");
    memcpy(at.sun_path, d->path, sizeof(d->path));
    d->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (d->fd < 0)
        return errno;
    return connect(d->fd, (const struct sockaddr *)&at, sizeof(at)) < 0 ? errno : 0;
}

static int
top_ask_send(const struct top_daemon *d)
{
    ssize_t n = send(d->fd, question, sizeof(question) - 1, MSG_NOSIGNAL);

    if (n == (ssize_t)sizeof(question) - 1)
        return 0;
    return n < 0 ? errno : EPIPE; /* there is always room for so little */
}

struct answer {
    char *text;
    size_t len, size;
};

/* Receives once.  Returns 1 when the line has ended, 0, or -errno. */
static int
top_ask_receive(const struct top_daemon *d, struct answer *a)
{
    ssize_t n;

    if (a->len == a->size) {
        size_t size = a->size > 0 ? 2 * a->size : 1u << 16;
        char *more = size <= ANSWER_MAX ? realloc(a->text, size) : NULL;

        if (more == NULL)
            return -EMSGSIZE;
        a->text = more;
        a->size = size;
    }
    n = recv(d->fd, a->text + a->len, a->size - a->len, 0);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN ? 0 : -errno;
    if (n == 0)
        return -ECONNRESET;
    a->len += (size_t)n;
    return a->text[a->len - 1] == '\n';
}

/* Waits for the line.  Returns 0 or -errno; -EINTR: it is not wanted any more. */
static int
top_ask_line(const struct top_daemon *d, bool (*enough)(void), struct answer *a)
{
    uint64_t end = now_ns() + ANSWER_MS * 1000000ull;

    while (now_ns() < end) {
        struct pollfd p = {.fd = d->fd, .events = POLLIN};
        int r = poll(&p, 1, SLICE_MS);

        if (enough())
            return -EINTR;
        if (r > 0)
            r = top_ask_receive(d, a);
        if (r < 0 && errno != EINTR)
            return r;
        if (r > 0)
            return 0;
    }
    return -ETIMEDOUT;
}

/* The answer that the line has, or NULL. */
static json_t *
top_ask_parse(struct top_daemon *d, const struct answer *a, char *why, size_t size)
{
    json_t *line = json_loadb(a->text, a->len, 0, NULL), *result;
    const char *message =
        json_string_value(json_object_get(json_object_get(line, "error"), "message"));

    result = json_incref(json_object_get(line, "result"));
    if (result == NULL)
        (void)top_ask_failed(d, why, size,
                             message != NULL ? message : "there is no sense in the answer at", 0);
    json_decref(line);
    return result;
}

json_t *
top_ask(struct top_daemon *d, bool (*enough)(void), char *why, size_t size)
{
    struct answer a = {.text = NULL};
    json_t *result = NULL;
    int r = d->fd < 0 ? top_ask_connect(d) : 0;

    d->denied = r == EACCES || r == EPERM;
    if (d->denied)
        return top_ask_failed(d, why, size, "no access to iscsid at", r);
    if (r != 0)
        return top_ask_failed(d, why, size, "no iscsid at", r);
    r = top_ask_send(d);
    if (r != 0)
        return top_ask_failed(d, why, size, "iscsid takes no question at", r);
    r = top_ask_line(d, enough, &a);
    if (r < 0)
        (void)top_ask_failed(d, why, size, "iscsid does not answer at", -r);
    else
        result = top_ask_parse(d, &a, why, size);
    free(a.text);
    return result;
}
