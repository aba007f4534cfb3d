/* SPDX-License-Identifier: MIT */
#include "classic/classic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/list.h"

#define CALLERS_MAX 4096 /* iscsiadm opens a connection for each of many logins */
#define READING_MAX 64
#define TIMEOUT_MS  5000
/* A request that came in pieces, and is whole for a smaller size, may still be one of a larger. */
#define PIECES_MS 20
/* One byte more than the longest request tells that it is too long. */
#define BUFFER_SIZE (CLASSIC_REQUEST_MAX + CLASSIC_PAYLOAD_MAX + 1)

struct classic_server {
    struct loop *loop;
    struct classic_config cfg;
    struct stream *listener;
    struct list reading;   /* callers whose request has not come; the oldest first */
    struct list answering; /* and those who wait for the answer */
    unsigned callers, nreading;
};

struct classic_caller {
    struct list node;
    struct classic_server *s;
    struct stream *stream; /* NULL: it has gone */
    bool allowed, reading;
    uint64_t until_ns; /* when its request must have come */
    uint8_t *data;     /* what has come of its request; NULL: nothing */
    size_t len, size;
    struct loop_timer timer;
};

static void
classic_caller_forget_data(struct classic_caller *c)
{
    if (c->data != NULL) /* it may hold secrets */
        explicit_bzero(c->data, c->size);
    free(c->data);
    c->data = NULL;
    c->len = c->size = 0;
}

static void
classic_caller_close(struct classic_caller *c)
{
    if (c->stream == NULL)
        return;
    stream_close(c->stream);
    c->stream = NULL;
}

static void
classic_caller_free(struct classic_caller *c)
{
    if (c->reading)
        c->s->nreading--;
    c->s->callers--;
    list_del(&c->node);
    loop_timer_stop(c->s->loop, &c->timer);
    classic_caller_close(c);
    classic_caller_forget_data(c);
    free(c);
}

void
classic_answer(struct classic_caller *c, const struct classic_reply *rep)
{
    struct iovec iov = {(void *)(uintptr_t)rep->bytes, sizeof(rep->bytes)};

    /* Nothing else was ever sent there, so that there is room; a caller without is not served. */
    if (c->stream != NULL)
        (void)stream_sendv(c->stream, &iov, 1, sizeof(rep->bytes));
    classic_caller_free(c);
}

static void
classic_caller_refuse(struct classic_caller *c, uint32_t command, int code)
{
    struct classic_reply rep;

    classic_reply_init(&rep, command, code);
    classic_answer(c, &rep);
}

/* The request is whole. */
static void
classic_caller_request(struct classic_caller *c)
{
    struct classic_server *s = c->s;
    struct lunette_error err = {.code = 0};
    struct classic_request *rq = calloc(1, sizeof(*rq));

    if (rq == NULL) {
        classic_caller_free(c);
        return;
    }
    loop_timer_stop(s->loop, &c->timer);
    c->reading = false;
    s->nreading--;
    list_del(&c->node);
    list_push_back(&s->answering, &c->node);
    int r = classic_request_read(c->data, c->len, rq, &err);
    classic_caller_forget_data(c);
    if (!c->allowed) {
        classic_caller_refuse(c, rq->command, CLASSIC_ACCESS);
    } else if (r < 0) {
        log_line(s->loop->log, LOG_LEVEL_WARN, "a request of iscsiadm is refused: %s", err.msg);
        classic_caller_refuse(c, rq->command, CLASSIC_INVALID);
    } else {
        s->cfg.request(s->cfg.user, c, rq);
    }
    classic_request_wipe(rq);
    free(rq);
}

static void
classic_caller_on_timer(struct loop_timer *t)
{
    struct classic_caller *c = container_of(t, struct classic_caller, timer);

    if (c->len > 0 && classic_request_whole(c->data, c->len) > 0)
        classic_caller_request(c);
    else
        classic_caller_free(c);
}

static int
classic_caller_room(struct classic_caller *c)
{
    /* Most requests have no payload. */
    size_t size = c->size == 0 ? CLASSIC_REQUEST_MAX + 1 : BUFFER_SIZE;
    uint8_t *data;

    if (c->len < c->size)
        return 0;
    data = calloc(1, size);
    if (data == NULL)
        return -ENOMEM;
    if (c->len > 0)
        memcpy(data, c->data, c->len);
    size_t len = c->len;
    classic_caller_forget_data(c);
    c->data = data;
    c->len = len;
    c->size = size;
    return 0;
}

/* Waits for more of the request, but not for ever. */
static void
classic_caller_wait(struct classic_caller *c)
{
    uint64_t now = c->s->loop->now_ns;

    loop_timer_start(c->s->loop, &c->timer, c->until_ns > now ? c->until_ns - now : 0);
}

/* Receives what is there.  Returns false where the caller is not to be served. */
static bool
classic_caller_receive(struct classic_caller *c)
{
    bool first = c->len == 0;
    struct iovec iov;
    ssize_t n;
    int r;

    if (classic_caller_room(c) < 0)
        return false;
    iov = (struct iovec){c->data + c->len, c->size - c->len};
    n = stream_recvv(c->stream, &iov, 1);
    if (n == -EAGAIN)
        return true;
    if (n <= 0)
        return false;
    c->len += (size_t)n;
    r = classic_request_whole(c->data, c->len);
    if (r < 0)
        return false;
    if (r > 0 && (first || c->len >= CLASSIC_REQUEST_MAX))
        classic_caller_request(c);
    else if (r > 0)
        loop_timer_start(c->s->loop, &c->timer, PIECES_MS * LOOP_NS_PER_MS);
    else
        classic_caller_wait(c);
    return true;
}

static void
classic_caller_readable(void *user)
{
    struct classic_caller *c = user;
    uint8_t more;
    struct iovec iov = {&more, 1};

    if (c->reading) {
        if (!classic_caller_receive(c))
            classic_caller_free(c);
    } else if (stream_recvv(c->stream, &iov, 1) != -EAGAIN) {
        /* It does not wait for the answer; what it has asked for goes on. */
        classic_caller_close(c);
    }
}

static const struct stream_events classic_caller_events = {.readable = classic_caller_readable};

/* Makes room for one more who has not sent its request, or returns false.  Whoever may not call at
 * all does not crowd out who may. */
static bool
classic_make_room(struct classic_server *s, bool allowed)
{
    struct classic_caller *oldest = NULL;

    if (s->nreading >= s->cfg.reading_max) {
        LIST_FOREACH (n, &s->reading) {
            struct classic_caller *c = container_of(n, struct classic_caller, node);

            if (oldest == NULL || (oldest->allowed && !c->allowed))
                oldest = c;
        }
        if (oldest->allowed && !allowed)
            return false;
        classic_caller_free(oldest);
    }
    return s->callers < s->cfg.callers_max;
}

void
classic_server_adopt(struct classic_server *s, struct stream *stream, uid_t uid)
{
    bool allowed = uid == 0 || uid == s->cfg.uid;
    struct classic_caller *c = NULL;

    if (classic_make_room(s, allowed))
        c = calloc(1, sizeof(*c));
    if (c == NULL) {
        /* Others may try as often as they like: that is no news. */
        log_line(s->loop->log, allowed ? LOG_LEVEL_WARN : LOG_LEVEL_DEBUG,
                 "there is no room for another caller of iscsiadm");
        stream_close(stream);
        return;
    }
    c->s = s;
    c->stream = stream;
    c->allowed = allowed;
    c->reading = true;
    c->until_ns = s->loop->now_ns + s->cfg.timeout_ms * LOOP_NS_PER_MS;
    s->callers++;
    s->nreading++;
    loop_timer_init(&c->timer, classic_caller_on_timer);
    classic_caller_wait(c);
    list_push_back(&s->reading, &c->node);
    stream_set_events(stream, &classic_caller_events, c);
}

static void
classic_accepted(void *user, struct stream *stream, const struct sock_addr *peer)
{
    struct classic_server *s = user;
    uid_t uid;
    pid_t pid;

    (void)peer;
    if (stream_peer_cred(stream, &uid, &pid) < 0)
        stream_close(stream);
    else
        classic_server_adopt(s, stream, uid);
}

static const struct stream_events classic_listen_events = {.accepted = classic_accepted};

int
classic_server_listen(struct classic_server *s, struct lunette_error *err)
{
    static const char name[] = "\0" CLASSIC_SOCKET_NAME;
    struct sock_addr at;
    int r = sock_addr_local(name, sizeof(name) - 1, &at, err);

    if (r < 0 || s->listener != NULL)
        return r;
    r = stream_listen(s->loop, &at, &classic_listen_events, s, &s->listener, NULL);
    if (r == -EADDRINUSE)
        return lunette_fail(err, r, LUNETTE_DOM_OS, EADDRINUSE,
                            "another iscsid answers at @%s in this network namespace; end it "
                            "(systemctl stop iscsid.socket), or use another namespace",
                            CLASSIC_SOCKET_NAME);
    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "cannot listen at @%s: %s",
                            CLASSIC_SOCKET_NAME, errno_text(r));
    return 0;
}

int
classic_server_new(struct loop *l, const struct classic_config *cfg, struct classic_server **ret)
{
    struct classic_server *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->loop = l;
    s->cfg = *cfg;
    s->cfg.callers_max = cfg->callers_max > 0 ? cfg->callers_max : CALLERS_MAX;
    s->cfg.reading_max = cfg->reading_max > 0 ? cfg->reading_max : READING_MAX;
    s->cfg.timeout_ms = cfg->timeout_ms > 0 ? cfg->timeout_ms : TIMEOUT_MS;
    list_init(&s->reading);
    list_init(&s->answering);
    *ret = s;
    return 0;
}

void
classic_server_free(struct classic_server **server)
{
    struct classic_server *s = *server;

    if (s == NULL)
        return;
    *server = NULL;
    if (s->listener != NULL)
        stream_close(s->listener);
    LIST_FOREACH_SAFE (n, &s->reading)
        classic_caller_free(container_of(n, struct classic_caller, node));
    LIST_FOREACH_SAFE (n, &s->answering)
        classic_caller_free(container_of(n, struct classic_caller, node));
    free(s);
}

unsigned
classic_server_callers(const struct classic_server *s)
{
    return s->callers;
}
