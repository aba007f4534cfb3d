/* SPDX-License-Identifier: MIT */
#include "isns/listen.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_MS 60000 /* for a message, and between two */

struct listen_conn {
    struct list node;
    struct isns_listener *n;
    struct stream *stream;
    struct loop_timer idle;
    struct isns_in in;
    struct isns_out out;
    size_t sent; /* of out; what follows is read when all is sent */
};

static void
conn_free(struct listen_conn *c)
{
    list_del(&c->node);
    c->n->nconns--;
    loop_timer_stop(c->n->loop, &c->idle);
    stream_close(c->stream);
    isns_in_reset(&c->in);
    free(c);
}

static void
conn_on_idle(struct loop_timer *t)
{
    conn_free(container_of(t, struct listen_conn, idle));
}

static void
conn_wait(struct listen_conn *c)
{
    loop_timer_start(c->n->loop, &c->idle, IDLE_MS * LOOP_NS_PER_MS);
}

/* Writes the answer: to an inquiry with all that it held (RFC 4171 5.7.5.13), to a change with whom
 * it was for (5.7.5.8).  Returns false where the message is neither. */
static bool
conn_answer(struct listen_conn *c)
{
    bool inquiry = c->in.function == ISNS_ESI;
    struct isns_attr a;
    size_t at = 0;

    if (!inquiry && c->in.function != ISNS_SCN)
        return false;
    isns_begin(&c->out, c->in.function | ISNS_ANSWER, ISNS_CLIENT, c->in.xid);
    isns_put_status(&c->out, ISNS_OK);
    while (isns_next(&c->in, &at, &a) == 1) {
        isns_put(&c->out, a.tag, a.value, a.len);
        if (!inquiry)
            break;
    }
    c->sent = 0;
    return !c->out.overflow;
}

/* Sends what is left.  Returns false where the connection is gone, and c with it. */
static bool
conn_send(struct listen_conn *c)
{
    struct iovec iov = {c->out.buf + c->sent, c->out.len - c->sent};
    ssize_t n = iov.iov_len > 0 ? stream_sendv(c->stream, &iov, 1, iov.iov_len) : 0;

    if (n < 0 && n != -EAGAIN) {
        conn_free(c);
        return false;
    }
    c->sent += n > 0 ? (size_t)n : 0;
    return true;
}

/* A message is complete.  Returns false where c is gone. */
static bool
conn_message(struct listen_conn *c)
{
    struct isns_listener *n = c->n;
    bool change = c->in.function == ISNS_SCN;

    /* A server that sends on while it takes no answers is not listened to. */
    if (c->sent < c->out.len || !conn_answer(c)) {
        conn_free(c);
        return false;
    }
    isns_in_reset(&c->in);
    conn_wait(c);
    if (!conn_send(c))
        c = NULL;
    if (change)
        n->changed(n);
    return c != NULL;
}

static void
conn_on_readable(void *user)
{
    struct listen_conn *c = user;
    uint8_t bytes[4096];
    struct iovec iov = {bytes, sizeof(bytes)};
    ssize_t len = stream_recvv(c->stream, &iov, 1);
    size_t at = 0, used;
    int r;

    if (len == -EAGAIN)
        return;
    if (len <= 0) {
        conn_free(c);
        return;
    }
    while (at < (size_t)len) {
        r = isns_feed(&c->in, bytes + at, (size_t)len - at, &used, NULL);
        at += used;
        if (r < 0 || c->in.len > ISNS_LISTEN_MAX) {
            conn_free(c);
            return;
        }
        if (r > 0 && !conn_message(c))
            return;
    }
}

static void
conn_on_writable(void *user)
{
    (void)conn_send(user);
}

static const struct stream_events conn_events = {.readable = conn_on_readable,
                                                 .writable = conn_on_writable};

/* ---- the listener --------------------------------------------------------------------------- */

static bool
same_host(const struct sock_addr *a, const struct sock_addr *b)
{
    const void *x = &a->ss, *y = &b->ss;

    if (a->ss.ss_family != b->ss.ss_family)
        return false;
    if (a->ss.ss_family == AF_INET)
        return ((const struct sockaddr_in *)x)->sin_addr.s_addr ==
               ((const struct sockaddr_in *)y)->sin_addr.s_addr;
    return memcmp(&((const struct sockaddr_in6 *)x)->sin6_addr,
                  &((const struct sockaddr_in6 *)y)->sin6_addr, sizeof(struct in6_addr)) == 0;
}

static void
listener_on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct isns_listener *n = user;
    struct listen_conn *c = NULL;

    if (same_host(peer, &n->server) && n->nconns < ISNS_LISTEN_CONNS)
        c = calloc(1, sizeof(*c));
    if (c == NULL) {
        stream_close(s);
        return;
    }
    c->n = n;
    c->stream = s;
    isns_in_init(&c->in);
    loop_timer_init(&c->idle, conn_on_idle);
    list_push_back(&n->conns, &c->node);
    n->nconns++;
    stream_set_events(s, &conn_events, c);
    conn_wait(c);
}

static const struct stream_events listener_events = {.accepted = listener_on_accepted};

void
isns_listener_init(struct isns_listener *n, struct loop *l,
                   void (*changed)(struct isns_listener *n))
{
    *n = (struct isns_listener){.loop = l, .changed = changed};
    list_init(&n->conns);
}

static uint16_t *
port_of(struct sock_addr *a)
{
    void *ss = &a->ss;

    return a->ss.ss_family == AF_INET ? &((struct sockaddr_in *)ss)->sin_port
                                      : &((struct sockaddr_in6 *)ss)->sin6_port;
}

uint16_t
isns_listener_port(const struct isns_listener *n)
{
    struct sock_addr a = n->bound;

    return n->stream != NULL ? ntohs(*port_of(&a)) : 0;
}

int
isns_listener_open(struct isns_listener *n, const struct sock_addr *at,
                   const struct sock_addr *server, struct lunette_error *err)
{
    struct sock_addr free_port = *at;
    int r;

    n->server = *server;
    if (n->stream != NULL && same_host(at, &n->bound))
        return 0;
    isns_listener_close(n);
    *port_of(&free_port) = 0;
    r = stream_listen(n->loop, &free_port, &listener_events, n, &n->stream, &n->bound);
    if (r == 0)
        return 0;
    n->stream = NULL;
    return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r,
                        "cannot listen for what the iSNS server tells: %s", errno_text(r));
}

void
isns_listener_close(struct isns_listener *n)
{
    while (!list_empty(&n->conns))
        conn_free(container_of(n->conns.next, struct listen_conn, node));
    if (n->stream != NULL)
        stream_close(n->stream);
    n->stream = NULL;
}
