/* SPDX-License-Identifier: MIT */
#include "manage/peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define PEER_READ 65536 /* bytes that are received at once, so that peers take turns */
#define PEER_KEEP 65536 /* an empty buffer that is larger is given back */

/* Frees the memory; what went through it may have been a secret. */
static void
buf_wipe(struct manage_buf *b)
{
    if (b->data != NULL)
        explicit_bzero(b->data, b->size);
    free(b->data);
}

/* Makes room for n more bytes behind what waits. */
static int
buf_room(struct manage_buf *b, size_t n)
{
    size_t size = b->size > 0 ? b->size : 4096;
    char *data;

    if (b->at > 0 && (b->size - b->end < n || b->at == b->end)) {
        memmove(b->data, b->data + b->at, b->end - b->at);
        explicit_bzero(b->data + b->end - b->at, b->at);
        b->end -= b->at;
        b->at = 0;
    }
    if (b->size - b->end >= n)
        return 0;
    while (size - b->end < n) {
        if (size > SIZE_MAX / 2)
            return -ENOMEM;
        size *= 2;
    }
    data = malloc(size); /* realloc would leave a copy behind */
    if (data == NULL)
        return -ENOMEM;
    if (b->data != NULL)
        memcpy(data, b->data, b->end);
    buf_wipe(b);
    b->data = data;
    b->size = size;
    return 0;
}

static void
buf_free(struct manage_buf *b)
{
    buf_wipe(b);
    *b = (struct manage_buf){.data = NULL};
}

/* n bytes are done with, and a secret that was among them is not to stay. */
static void
buf_used(struct manage_buf *b, size_t n)
{
    if (n > 0)
        explicit_bzero(b->data + b->at, n);
    b->at += n;
    if (b->at == b->end && b->size > PEER_KEEP)
        buf_free(b);
}

static void
peer_end_now(struct manage_peer *p, const char *why)
{
    if (p->ended == NULL)
        p->ended = why;
}

/* Sends what the system takes. */
static void
peer_flush(struct manage_peer *p)
{
    while (p->out.at < p->out.end && !p->stuck) {
        size_t len = p->out.end - p->out.at;
        struct iovec iov = {p->out.data + p->out.at, len};
        ssize_t n = stream_sendv(p->s, &iov, 1, len);

        if (n < 0 && n != -EAGAIN) {
            peer_end_now(p, "it closed the connection");
            return;
        }
        p->stuck = n < (ssize_t)len;
        buf_used(&p->out, n > 0 ? (size_t)n : 0);
    }
}

/* Tells the owner, when that has to be and is allowed. */
static void
peer_settle(struct manage_peer *p)
{
    if (p->ended == NULL || p->told || p->in_line)
        return;
    p->told = true;
    peer_flush(p);
    loop_defer_cancel(&p->work);
    p->ops->gone(p, p->ended);
}

static void
peer_work(struct loop_work *w)
{
    struct manage_peer *p = container_of(w, struct manage_peer, work);

    if (p->ended == NULL)
        peer_flush(p);
    peer_settle(p);
}

static void
peer_writable(void *user)
{
    struct manage_peer *p = user;

    p->stuck = false;
    peer_work(&p->work);
}

/* Tells the lines among the bytes that have come; data[seen..end) is what is new. */
static void
peer_lines(struct manage_peer *p, size_t seen)
{
    struct manage_buf *b = &p->in;
    char *end;

    while (p->ended == NULL && (end = memchr(b->data + seen, '\n', b->end - seen)) != NULL) {
        const char *text = b->data + b->at;
        size_t len = (size_t)(end - text);

        if (len > p->line_max)
            break;
        seen = b->at + len + 1;
        p->active_ns = p->loop->now_ns;
        if (len > 0 && text[len - 1] == '\r')
            len--;
        if (len > 0)
            p->ops->line(p, text, len);
        explicit_bzero(b->data + b->at, seen - b->at);
        b->at = seen;
    }
    if (b->end - b->at > p->line_max)
        peer_end_now(p, "it sent a line that is too long");
    buf_used(b, 0);
}

static void
peer_readable(void *user)
{
    struct manage_peer *p = user;
    size_t room = PEER_READ;
    struct iovec iov;
    ssize_t n;

    if (p->ended != NULL)
        return;
    /* One byte beyond a line tells that it is too long. */
    if (room > p->line_max + 1)
        room = p->line_max + 1;
    if (buf_room(&p->in, room) < 0) {
        peer_end_now(p, "there is no memory for it");
        peer_settle(p);
        return;
    }
    iov = (struct iovec){p->in.data + p->in.end, room};
    n = stream_recvv(p->s, &iov, 1);
    if (n > 0) {
        size_t seen = p->in.end;

        p->in.end += (size_t)n;
        p->in_line = true;
        peer_lines(p, seen);
        p->in_line = false;
    } else if (n != -EAGAIN) {
        peer_end_now(p, "it closed the connection");
    }
    peer_settle(p);
}

static const struct stream_events peer_events = {
    .readable = peer_readable,
    .writable = peer_writable,
};

int
manage_peer_new(struct loop *l, struct stream *s, size_t line_max, size_t waiting_max,
                const struct manage_peer_ops *ops, void *user, struct manage_peer **ret)
{
    struct manage_peer *p = calloc(1, sizeof(*p));

    if (p == NULL)
        return -ENOMEM;
    list_init(&p->node);
    p->ops = ops;
    p->user = user;
    p->loop = l;
    p->s = s;
    p->line_max = line_max;
    p->waiting_max = waiting_max;
    p->active_ns = l->now_ns;
    loop_work_init(&p->work, peer_work);
    stream_set_events(s, &peer_events, p);
    *ret = p;
    return 0;
}

void
manage_peer_free(struct manage_peer **peer)
{
    struct manage_peer *p = *peer;

    if (p == NULL)
        return;
    *peer = NULL;
    if (p->ended == NULL)
        peer_flush(p);
    loop_defer_cancel(&p->work);
    list_del(&p->node);
    stream_close(p->s);
    buf_free(&p->in);
    buf_free(&p->out);
    free(p);
}

size_t
manage_peer_waiting(const struct manage_peer *p)
{
    return p->out.end - p->out.at;
}

void
manage_peer_send(struct manage_peer *p, const char *text, size_t len)
{
    size_t waiting = manage_peer_waiting(p);

    if (p->ended != NULL)
        return;
    if (waiting > 0 && (waiting > p->waiting_max || len + 1 > p->waiting_max - waiting)) {
        manage_peer_end(p, "it does not read what is sent to it");
    } else if (len > SIZE_MAX - 1 || buf_room(&p->out, len + 1) < 0) {
        manage_peer_end(p, "there is no memory for it");
    } else {
        memcpy(p->out.data + p->out.end, text, len);
        p->out.data[p->out.end + len] = '\n';
        p->out.end += len + 1;
        p->active_ns = p->loop->now_ns;
        loop_defer(p->loop, &p->work);
    }
}

void
manage_peer_end(struct manage_peer *p, const char *why)
{
    if (p->ended != NULL)
        return;
    p->ended = why;
    loop_defer(p->loop, &p->work);
}
