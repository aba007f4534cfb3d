/* SPDX-License-Identifier: MIT */
/* gate/peer.c - the peer: sockets, turns, and PDUs in and out.  See peer.h. */
#include "peer_priv.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/crc32c.h"
#include "wire/pdu.h"

#define FDS_MAX  1024 /* of this process, looked through for the initiator's socket */
#define STUCK_NS 50000000ull

void
peer_die(const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    (void)fputs("peer: ", stderr);
    (void)vfprintf(stderr, fmt, ap);
    (void)fputc('\n', stderr);
    va_end(ap);
    exit(1);
}

static uint64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* ---- PDUs ----------------------------------------------------------------------------------- */

static uint8_t *
out_take(struct peer *p, size_t len)
{
    uint8_t *at = p->out + p->out_len;

    if (len > BUF_LEN - p->out_len)
        peer_die("an answer of more than %u bytes", BUF_LEN);
    p->out_len += len;
    return at;
}

/* Least significant byte first, whatever this machine does. */
static void
put_digest(struct peer *p, uint32_t running)
{
    uint32_t v = crc32c_final(running);
    uint8_t *d = out_take(p, PDU_DIGEST_LEN);

    for (unsigned i = 0; i < PDU_DIGEST_LEN; i++)
        d[i] = (uint8_t)(v >> 8 * i);
}

static void
check_digest(uint32_t running, const uint8_t *d, const char *what)
{
    uint32_t v = (uint32_t)d[3] << 24 | (uint32_t)d[2] << 16 | (uint32_t)d[1] << 8 | d[0];

    if (v != crc32c_final(running))
        peer_die("%s digest is wrong", what);
}

void
peer_put(struct peer *p, struct bhs *h, const void *data, uint32_t len)
{
    uint8_t *at;

    st_be24(h->dseg_len.b, len);
    memcpy(out_take(p, ISCSI_BHS_LEN), h, ISCSI_BHS_LEN);
    if (p->hdigest && p->ffp)
        put_digest(p, crc32c_update(CRC32C_INIT, h, ISCSI_BHS_LEN));
    if (len == 0)
        return;
    at = out_take(p, len + pdu_pad(len));
    memcpy(at, data, len);
    memset(at + len, 0, pdu_pad(len));
    if (p->ddigest && p->ffp)
        put_digest(p, crc32c_update(CRC32C_INIT, at, len + pdu_pad(len)));
}

/* Takes one PDU from the front of buf.  Its length, or 0 if it is not all there. */
static size_t
take_pdu(struct peer *p, const uint8_t *buf, size_t len)
{
    bool hd = p->hdigest && p->ffp, dd = p->ddigest && p->ffp;
    const struct bhs *h = (const struct bhs *)buf;
    const uint8_t *data;
    uint32_t n;

    if (len < ISCSI_BHS_LEN || len < ISCSI_BHS_LEN + pdu_trailer(h, hd, dd))
        return 0;
    data = buf + ISCSI_BHS_LEN + pdu_header_trailer(h, hd);
    n = pdu_dseg_len(h);
    if (hd)
        check_digest(crc32c_update(CRC32C_INIT, buf, (size_t)(data - buf) - PDU_DIGEST_LEN),
                     data - PDU_DIGEST_LEN, "a header");
    if (dd && n > 0)
        check_digest(crc32c_update(CRC32C_INIT, data, n + pdu_pad(n)), data + n + pdu_pad(n),
                     "a data");
    peer_serve(p, h, data, n);
    return ISCSI_BHS_LEN + pdu_trailer(h, hd, dd);
}

/* ---- sockets -------------------------------------------------------------------------------- */

/* Reads all that is there and serves what is complete.  False at the end of the stream. */
static bool
receive(struct peer *p)
{
    for (;;) {
        ssize_t n = recv(p->fd, p->in + p->in_len, BUF_LEN - p->in_len, MSG_DONTWAIT);
        size_t at = 0, took;

        if (n < 0 && errno == EAGAIN)
            return true;
        if (n <= 0)
            return false;
        p->received += (uint64_t)n;
        p->in_len += (size_t)n;
        while ((took = take_pdu(p, p->in + at, p->in_len - at)) > 0)
            at += took;
        p->in_len -= at;
        memmove(p->in, p->in + at, p->in_len);
    }
}

/* Sends what the socket takes.  Bytes. */
static size_t
transmit(struct peer *p)
{
    ssize_t n = 0;

    if (p->out_sent < p->out_len)
        n = send(p->fd, p->out + p->out_sent, p->out_len - p->out_sent,
                 MSG_DONTWAIT | MSG_NOSIGNAL);
    if (n < 0 && errno != EAGAIN)
        peer_die("send: %s", strerror(errno));
    n = n < 0 ? 0 : n;
    p->sent += (uint64_t)n;
    p->out_sent += (size_t)n;
    if (p->out_sent == p->out_len)
        p->out_sent = p->out_len = 0;
    return (size_t)n;
}

/* The system's default may pace what is sent by a timer; this does not. */
static void
use_reno(int fd)
{
    int one = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)) < 0)
        peer_die("setsockopt: %s", strerror(errno));
}

static void
take_connection(struct peer *p)
{
    p->fd = accept(p->listener, NULL, NULL);
    if (p->fd < 0)
        peer_die("accept: %s", strerror(errno));
    use_reno(p->fd);
    p->in_len = p->out_len = p->out_sent = 0;
    p->received = p->sent = 0;
    p->answered = 0;
    peer_session_begin(p);
}

static void
drop_connection(struct peer *p)
{
    (void)close(p->fd);
    p->fd = -1;
}

/* Gives the connection, if there is one, to the parent. */
static void
hand_over(const struct peer *p, int control)
{
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } c = {0};
    char one = 1;
    struct iovec iov = {.iov_base = &one, .iov_len = 1};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (p->fd >= 0) {
        m.msg_control = &c;
        m.msg_controllen = sizeof(c);
        c.h.cmsg_len = CMSG_LEN(sizeof(int));
        c.h.cmsg_level = SOL_SOCKET;
        c.h.cmsg_type = SCM_RIGHTS;
        memcpy(CMSG_DATA(&c.h), &p->fd, sizeof(int));
    }
    if (p->in_len != 0)
        peer_die("stopped within a PDU");
    if (sendmsg(control, &m, 0) != 1)
        peer_die("sendmsg: %s", strerror(errno));
}

/* The descriptor that hand_over sent, or -1. */
static int
take_over(int control)
{
    union {
        struct cmsghdr h;
        char room[CMSG_SPACE(sizeof(int))];
    } c;
    char one;
    struct iovec iov = {.iov_base = &one, .iov_len = 1};
    struct msghdr m = {
        .msg_iov = &iov, .msg_iovlen = 1, .msg_control = &c, .msg_controllen = sizeof(c)};
    int fd = -1;

    if (recvmsg(control, &m, MSG_CMSG_CLOEXEC) != 1)
        peer_die("the process that serves logins is gone");
    if (CMSG_FIRSTHDR(&m) != NULL)
        memcpy(&fd, CMSG_DATA(&c.h), sizeof(int));
    return fd;
}

/* Serves while the initiator waits for it, until a byte comes from the parent. */
static void
serve(struct peer *p, int control)
{
    struct pollfd fds[2] = {{.fd = control, .events = POLLIN}, {.events = POLLIN}};

    for (;;) {
        fds[1].fd = p->fd < 0 ? p->listener : p->fd;
        if (poll(fds, 2, -1) < 0)
            peer_die("poll: %s", strerror(errno));
        if (fds[1].revents != 0 && p->fd < 0) {
            take_connection(p);
        } else if (fds[1].revents != 0) {
            bool more = receive(p);

            while (p->out_len > 0)
                (void)transmit(p);
            if (!more)
                drop_connection(p);
        } else if (fds[0].revents != 0) {
            hand_over(p, control);
            return;
        }
    }
}

/* ---- turns ---------------------------------------------------------------------------------- */

static struct tcp_info
info_of(int fd)
{
    struct tcp_info i = {0};
    socklen_t len = sizeof(i);

    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &i, &len) < 0)
        peer_die("TCP_INFO: %s", strerror(errno));
    return i;
}

/* Has everything been read that the initiator gave to its socket? */
static bool
all_read(const struct peer *p)
{
    struct tcp_info i = info_of(p->watched);

    return i.tcpi_notsent_bytes == 0 && i.tcpi_bytes_sent - i.tcpi_bytes_retrans == p->received;
}

/* Sends the answer, until all of it is in the initiator's socket or nothing moves any more. */
static bool
deliver(struct peer *p)
{
    uint64_t since = now_ns(), there = 0;

    for (;;) {
        size_t n = transmit(p);
        uint64_t now_there = info_of(p->watched).tcpi_bytes_received;

        if (p->out_len == 0 && now_there == p->sent)
            return true;
        if (n > 0 || now_there != there)
            since = now_ns();
        else if (now_ns() - since > STUCK_NS)
            return false;
        there = now_there;
        (void)sched_yield();
    }
}

unsigned
peer_turn(struct peer *p)
{
    unsigned n;

    do {
        if (!receive(p))
            peer_die("the initiator went away");
    } while (!all_read(p) && sched_yield() == 0);
    if (!deliver(p)) {
        p->blocked++;
        return 0;
    }
    n = p->answered;
    p->answered = 0;
    return n;
}

void
peer_watch(struct peer *p)
{
    p->watched = -1;
    for (int fd = 0; fd < FDS_MAX && p->watched < 0; fd++) {
        struct sockaddr_in a = {0};
        socklen_t len = sizeof(a);

        if (getpeername(fd, (struct sockaddr *)&a, &len) == 0 && a.sin_family == AF_INET &&
            ntohs(a.sin_port) == p->port)
            p->watched = fd;
    }
    if (p->watched < 0)
        peer_die("the initiator's socket is not among the descriptors");
    use_reno(p->watched);
}

unsigned
peer_blocked(const struct peer *p)
{
    return p->blocked;
}

/* ---- its life ------------------------------------------------------------------------------- */

/* The child keeps no other descriptor: the initiator's socket would not be closed by closing it. */
static void
serve_and_exit(struct peer *p, int control)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int fd = STDERR_FILENO + 1; fd < FDS_MAX; fd++)
        if (fd != control && fd != p->fd && fd != p->listener)
            (void)close(fd);
    serve(p, control);
    _exit(0);
}

void
peer_start(struct peer *p)
{
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
        peer_die("socketpair: %s", strerror(errno));
    p->child = fork();
    if (p->child < 0)
        peer_die("fork: %s", strerror(errno));
    if (p->child == 0)
        serve_and_exit(p, pair[1]);
    (void)close(pair[1]);
    p->control = pair[0];
    p->kept_fd = p->fd;
}

void
peer_stop(struct peer *p)
{
    if (send(p->control, "", 1, MSG_NOSIGNAL) != 1)
        peer_die("the process that serves logins is gone");
    p->fd = take_over(p->control);
    if (p->kept_fd >= 0)
        (void)close(p->kept_fd);
    (void)close(p->control);
    (void)waitpid(p->child, NULL, 0);
}

/* The child works on the same memory. */
static void *
shared(size_t len)
{
    void *m = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

    if (m == MAP_FAILED)
        peer_die("mmap: %s", strerror(errno));
    return m;
}

static void
fill_content(uint8_t *b, size_t len)
{
    uint32_t x = 1;

    for (size_t i = 0; i < len; i++) {
        x = x * 1664525u + 1013904223u; /* the generator of Numerical Recipes */
        b[i] = (uint8_t)(x >> 24);
    }
}

struct peer *
peer_new(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct peer *p = shared(sizeof(*p));
    socklen_t len = sizeof(a);

    p->in = shared(BUF_LEN);
    p->out = shared(BUF_LEN);
    p->content = shared(CONTENT_LEN);
    fill_content(p->content, CONTENT_LEN);
    p->fd = p->watched = -1;
    p->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (p->listener < 0 || bind(p->listener, (struct sockaddr *)&a, sizeof(a)) < 0 ||
        listen(p->listener, 1) < 0 || getsockname(p->listener, (struct sockaddr *)&a, &len) < 0)
        peer_die("no socket: %s", strerror(errno));
    p->port = ntohs(a.sin_port);
    return p;
}

void
peer_free(struct peer *p)
{
    if (p->fd >= 0)
        drop_connection(p);
    (void)close(p->listener);
    (void)munmap(p->content, CONTENT_LEN);
    (void)munmap(p->out, BUF_LEN);
    (void)munmap(p->in, BUF_LEN);
    (void)munmap(p, sizeof(*p));
}

uint16_t
peer_port(const struct peer *p)
{
    return p->port;
}

const uint8_t *
peer_content(const struct peer *p, uint64_t offset, size_t len)
{
    size_t at = offset % CONTENT_LEN;

    if (len > CONTENT_LEN - at)
        peer_die("%zu bytes at %llu cross a MiB", len, (unsigned long long)offset);
    return p->content + at;
}
