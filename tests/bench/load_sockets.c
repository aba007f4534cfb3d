/* SPDX-License-Identifier: MIT */
/* tests/bench/load_sockets.c - the same bytes as iSCSI reads and writes, without iSCSI: what an
 * ideal initiator and target could reach.
 *
 * Two processes.  The client sends a request of 48 bytes, or 48 and the payload; the peer answers
 * each with 48 bytes and the payload, or 48.  Nothing is looked at but lengths.  Both receive many
 * units with one call and send all that is due with one call; the client has its payload in a
 * buffer of each request, copied where it is small, received in place where it is large.
 */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/bench/sockets.h"

#define EVENTS     64
#define IN_PLACE   32768u /* payload from here on is received in place */
#define READ_AHEAD 4096u  /* behind a large payload: the next header, and a bit */

/* What the client says to its peer and hears from it. */
struct shared {
    double peer_cpu_us;
};

static struct shared *shared;
static char headers[BHS * HEADERS_MAX];
static char *staging;

static void request(struct side *s, struct conn *c);

/* ---- what has come -------------------------------------------------------------------------- */

/* A batch of units is complete: the client's are answers, the peer's are requests. */
static void
units_done(struct side *s, struct conn *c, uint64_t units)
{
    struct load *l = s->load;

    c->units += units;
    if (!s->client) {
        c->due += units;
        return;
    }
    if (units > 0)
        load_stamp(l);
    for (uint64_t i = 0, n; i < units; i += n) { /* those together that began together */
        uint64_t start_ns = c->ios[c->oldest].start_ns;

        for (n = 0; i + n < units && c->ios[c->oldest].start_ns == start_ns; n++)
            c->oldest = c->oldest + 1 == l->depth ? 0 : c->oldest + 1;
        load_end_n(l, start_ns, n);
    }
    c->inflight -= units;
    for (uint64_t i = 0; i < units && load_more(l); i++)
        request(s, c);
}

static void
request(struct side *s, struct conn *c)
{
    load_begin(s->load, &c->ios[c->next]);
    c->next = c->next + 1 == s->load->depth ? 0 : c->next + 1;
    c->inflight++;
    c->due++;
}

/* Takes n received bytes.  Returns how many units they complete. */
static uint64_t
consume(struct side *s, struct conn *c, const char *b, size_t n)
{
    uint64_t units = 0;
    uint32_t slot = c->oldest;

    if (!s->client || s->rx_payload == 0) {
        c->rx_at += n;
        units = c->rx_at / s->rx_unit;
        c->rx_at %= s->rx_unit;
        return units;
    }
    while (n > 0) {
        if (c->rx_at < BHS) {
            size_t len = BHS - c->rx_at < n ? BHS - c->rx_at : n;

            c->rx_at += len;
            b += len;
            n -= len;
            if (n == 0)
                break;
        }
        size_t at = c->rx_at - BHS, len = s->rx_payload - at < n ? s->rx_payload - at : n;
        memcpy(c->ios[slot].buf + at, b, len);
        c->rx_at += len;
        b += len;
        n -= len;
        if (c->rx_at == s->rx_unit) {
            c->rx_at = 0;
            units++;
            slot = slot + 1 == s->load->depth ? 0 : slot + 1;
        }
    }
    return units;
}

static bool
in_place(const struct side *s, const struct conn *c)
{
    return s->client && s->rx_payload >= IN_PLACE && c->rx_at >= BHS;
}

/* Lists where a receive goes: to room of STAGING bytes, or the rest of a large payload into its
 * buffer, and what follows to room.  Returns the number of iovecs. */
int
list_room(const struct side *s, const struct conn *c, char *room, struct iovec v[2])
{
    if (!in_place(s, c)) {
        v[0].iov_base = room;
        v[0].iov_len = s->client && s->rx_payload >= IN_PLACE ? READ_AHEAD : STAGING;
        return 1;
    }
    size_t at = c->rx_at - BHS;
    v[0] = (struct iovec){c->ios[c->oldest].buf + at, s->rx_payload - at};
    v[1] = (struct iovec){room, READ_AHEAD};
    return 2;
}

/* n bytes have come where list_room said. */
void
bytes_received(struct side *s, struct conn *c, const char *room, size_t n)
{
    if (in_place(s, c)) {
        size_t rest = s->rx_unit - c->rx_at, len = n < rest ? n : rest;

        c->rx_at += len;
        n -= len;
        if (c->rx_at == s->rx_unit) {
            c->rx_at = 0;
            units_done(s, c, 1);
        }
    }
    if (n > 0)
        units_done(s, c, consume(s, c, room, n));
}

/* False at the end of the stream. */
static bool
receive(struct side *s, struct conn *c)
{
    struct iovec v[2];
    struct msghdr m = {.msg_iov = v, .msg_iovlen = (size_t)list_room(s, c, staging, v)};
    ssize_t n = m.msg_iovlen == 1 ? recv(c->fd, v[0].iov_base, v[0].iov_len, MSG_DONTWAIT)
                                  : recvmsg(c->fd, &m, MSG_DONTWAIT);

    s->calls++;
    if (n > 0)
        bytes_received(s, c, staging, (size_t)n);
    return n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
}

/* ---- what is due ---------------------------------------------------------------------------- */

static char *
tx_payload(const struct side *s, const struct conn *c, uint64_t unit)
{
    uint32_t slot;

    if (!s->client)
        return staging;
    slot = (uint32_t)((c->sending + unit) % s->load->depth);
    return c->ios[slot].buf;
}

/* Lists what is due.  Returns the number of iovecs. */
int
list_due(const struct side *s, const struct conn *c, struct iovec *iov)
{
    size_t at = c->tx_at;
    int n = 0;

    if (s->tx_payload == 0) {
        size_t len = (size_t)c->due * BHS - at;

        if (len > sizeof(headers) - BHS)
            len = sizeof(headers) - BHS;
        iov[0] = (struct iovec){headers + at, len};
        return 1;
    }
    for (uint64_t unit = 0; unit < c->due && n + 2 <= IOV_MAX_USED; unit++) {
        if (at < BHS) {
            iov[n++] = (struct iovec){headers + at, BHS - at};
            at = BHS;
        }
        iov[n++] = (struct iovec){tx_payload(s, c, unit) + (at - BHS), s->tx_unit - at};
        at = 0;
    }
    return n;
}

void
bytes_sent(struct side *s, struct conn *c, size_t n)
{
    size_t units = (c->tx_at + n) / s->tx_unit;

    c->tx_at = (c->tx_at + n) % s->tx_unit;
    c->due -= units;
    if (s->client)
        c->sending = (uint32_t)((c->sending + units) % s->load->depth);
}

/* False when the connection is gone. */
static bool
send_due(struct side *s, struct conn *c)
{
    static struct iovec iov[IOV_MAX_USED];

    c->blocked = false;
    while (c->due > 0 && !c->blocked) {
        struct msghdr m = {.msg_iov = iov, .msg_iovlen = (size_t)list_due(s, c, iov)};
        ssize_t n = sendmsg(c->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

        s->calls++;
        if (n > 0)
            bytes_sent(s, c, (size_t)n);
        else if (errno == EAGAIN)
            c->blocked = true;
        else
            return false;
    }
    return true;
}

/* ---- engines -------------------------------------------------------------------------------- */

bool
side_over(const struct side *s)
{
    uint64_t busy = 0;

    for (uint32_t i = 0; i < s->nconns; i++)
        busy += s->client ? s->conns[i].inflight : !s->conns[i].closed;
    return busy == 0;
}

/* The kernel shall not wake us for less than what is missing, within reason. */
void
set_lowat(struct side *s, struct conn *c)
{
    uint32_t want = s->load->lowat;
    size_t rest = s->rx_unit - c->rx_at;

    if (!s->client || want == 0 || s->rx_payload < IN_PLACE)
        return;
    if (rest < want)
        want = (uint32_t)rest;
    if (want == c->lowat)
        return;
    int value = (int)want;
    (void)setsockopt(c->fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof(value));
    s->calls++;
    c->lowat = want;
}

static void
watch(struct side *s, int ep, struct conn *c, int op)
{
    struct epoll_event e = {.events = EPOLLIN | (c->blocked ? EPOLLOUT : 0), .data.ptr = c};

    if (op == EPOLL_CTL_MOD && c->watched_out == c->blocked)
        return;
    if (epoll_ctl(ep, op, c->fd, &e) < 0)
        load_die("epoll_ctl: %s", strerror(errno));
    s->calls++;
    c->watched_out = c->blocked;
}

static void
lost(struct side *s, struct conn *c)
{
    if (s->client)
        load_die("the peer is gone");
    c->closed = true;
    (void)close(c->fd);
}

static void
run_epoll(struct side *s)
{
    struct epoll_event e[EVENTS];
    int ep = epoll_create1(EPOLL_CLOEXEC);

    for (uint32_t i = 0; i < s->nconns; i++)
        watch(s, ep, &s->conns[i], EPOLL_CTL_ADD);
    while (!side_over(s)) {
        for (uint32_t i = 0; i < s->nconns; i++) {
            struct conn *c = &s->conns[i];

            if (c->closed)
                continue;
            if (!send_due(s, c)) {
                lost(s, c);
                continue;
            }
            watch(s, ep, c, EPOLL_CTL_MOD);
            set_lowat(s, c);
        }
        int n = epoll_wait(ep, e, EVENTS, -1);
        s->calls++;
        for (int i = 0; i < n; i++) {
            if ((e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0 && !receive(s, e[i].data.ptr))
                lost(s, e[i].data.ptr);
        }
    }
    (void)close(ep);
}

static void
run_spin(struct side *s)
{
    while (!side_over(s)) {
        for (uint32_t i = 0; i < s->nconns; i++) {
            struct conn *c = &s->conns[i];

            if (!c->closed && !(send_due(s, c) && receive(s, c)))
                lost(s, c);
        }
    }
}

static void
run_engine(struct side *s, const char *engine)
{
    if (strcmp(engine, "epoll") == 0)
        run_epoll(s);
    else if (strcmp(engine, "spin") == 0)
        run_spin(s);
    else if (strcmp(engine, "uring") == 0)
        run_uring(s);
    else
        load_die("%s: want epoll, spin or uring", engine);
}

/* ---- the two processes ---------------------------------------------------------------------- */

static void
no_delay(int fd)
{
    int one = 1;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
}

static void
side_init(struct side *s, struct load *l, bool client)
{
    size_t out = BHS + (l->write ? l->bs : 0), in = BHS + (l->write ? 0 : l->bs);

    *s = (struct side){.load = l, .client = client, .nconns = l->sessions};
    s->tx_unit = client ? out : in;
    s->rx_unit = client ? in : out;
    s->tx_payload = s->tx_unit - BHS;
    s->rx_payload = s->rx_unit - BHS;
}

static void __attribute__((noreturn)) peer(struct load *l, int listener)
{
    struct rusage usage;
    struct side s;

    load_pin(l->peer_cpu);
    side_init(&s, l, false);
    for (uint32_t i = 0; i < s.nconns; i++) {
        s.conns[i].fd = accept(listener, NULL, NULL);
        if (s.conns[i].fd < 0)
            load_die("accept: %s", strerror(errno));
        no_delay(s.conns[i].fd);
    }
    run_engine(&s, l->peer_engine);
    (void)getrusage(RUSAGE_SELF, &usage);
    shared->peer_cpu_us = load_rusage_us(&usage);
    _exit(0);
}

static struct side client;

static uint64_t
calls_so_far(void *user)
{
    (void)user;
    return client.calls;
}

static void
loop(struct load *l)
{
    for (uint32_t i = 0; i < client.nconns; i++) {
        struct conn *c = &client.conns[i];

        for (uint32_t d = 0; d < l->depth && load_more(l); d++)
            request(&client, c);
    }
    run_engine(&client, l->engine);
}

static void
connect_all(struct load *l, const struct sockaddr_in *a)
{
    side_init(&client, l, true);
    for (uint32_t i = 0; i < client.nconns; i++) {
        struct conn *c = &client.conns[i];

        c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (connect(c->fd, (const void *)a, sizeof(*a)) < 0)
            load_die("connect: %s", strerror(errno));
        no_delay(c->fd);
        c->ios = load_ios_new(l, l->depth);
    }
}

int
main(int argc, char **argv)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    struct load l;

    load_options(&l, "sockets", argc, argv);
    if (l.verify != LOAD_VERIFY_NONE)
        load_die("bare sockets carry nothing to compare");
    if (strcmp(l.engine, "auto") == 0)
        l.engine = "epoll";
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    staging = aligned_alloc(4096, STAGING > l.bs ? STAGING : l.bs);
    if (shared == MAP_FAILED || staging == NULL)
        load_die("no memory");
    memset(staging, 1, STAGING > l.bs ? STAGING : l.bs);
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (bind(listener, (void *)&a, sizeof(a)) < 0 || listen(listener, LOAD_SESSIONS_MAX) < 0 ||
        getsockname(listener, (void *)&a, &len) < 0)
        load_die("listen: %s", strerror(errno));
    pid_t pid = fork();
    if (pid < 0)
        load_die("fork: %s", strerror(errno));
    if (pid == 0)
        peer(&l, listener);
    connect_all(&l, &a);
    l.syscalls = calls_so_far;
    load_run(&l, loop);
    for (uint32_t i = 0; i < client.nconns; i++) {
        (void)close(client.conns[i].fd);
        load_ios_free(client.conns[i].ios, l.depth);
    }
    (void)waitpid(pid, NULL, 0);
    l.peer_cpu_us = shared->peer_cpu_us;
    load_print(&l);
    free(staging);
    return 0;
}
