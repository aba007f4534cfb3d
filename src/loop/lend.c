/* SPDX-License-Identifier: MIT */
/* loop/lend.c - sending without a copy (docs/design/zero-copy.md).
 *
 * Large pieces go into a pipe by reference (vmsplice) and on into the socket by
 * reference (splice); small ones are copied (sendmsg), with MSG_MORE, so that
 * headers and payload share segments.  A byte counts as sent when the socket has taken
 * it.  Bytes that the socket did not take stay in the pipe, the `residue`.  The caller
 * does not know of it and offers the same bytes again, first.  So the pipe can be closed
 * at any time and these bytes be copied instead, and none is lost or sent twice.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "loop/real.h"

#define PIPE_BYTES (256 << 10) /* the size that we ask for */
#define PIPE_BYTES_MIN                                                                             \
    (64 << 10) /* a pipe that is smaller, since the user has too many, is too                      \
                  small to be worth it */

struct lend {
    int fd;         /* the socket */
    int pipe[2];    /* both -1 until the first piece is lent */
    uint32_t min;   /* pieces of at least that many bytes are lent; a power of two */
    bool off;       /* lending does not work here: all is copied from now on */
    size_t residue; /* bytes in the pipe that the socket has not taken */
    /* Bytes that the socket has ever taken; the same when the last lent byte had been taken. */
    uint64_t sent, end;
};

/* What is left of the pieces of one lend_sendv. */
struct rest {
    const struct iovec *iov;
    int n;
    size_t off, len; /* bytes of iov[0] that have been sent; bytes left in all pieces */
    bool copy;       /* iov[0] cannot be lent: the rest of it is copied */
    bool blocked;    /* the socket is full */
};

int
lend_new(int fd, uint32_t min, struct lend **ret)
{
    int protocol = 0, flags = fcntl(fd, F_GETFL);
    socklen_t len = sizeof(protocol);
    struct lend *d;

    assert(fd >= 0 && min > 0 && (min & (min - 1)) == 0);
    if (flags < 0 || getsockopt(fd, SOL_SOCKET, SO_PROTOCOL, &protocol, &len) < 0)
        return -errno;
    if (protocol != IPPROTO_TCP) /* other protocols do not say what the peer has acknowledged */
        return -ENOTSUP;
    if (fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) /* splice has no MSG_DONTWAIT */
        return -errno;
    d = calloc(1, sizeof(*d));
    if (d == NULL)
        return -ENOMEM;
    d->fd = fd;
    d->pipe[0] = d->pipe[1] = -1;
    d->min = min;
    *ret = d;
    return 0;
}

static void
close_pipe(struct lend *d)
{
    for (int i = 0; i < 2; i++) {
        if (d->pipe[i] >= 0)
            (void)close(d->pipe[i]);
        d->pipe[i] = -1;
    }
    d->residue = 0;
}

static void
lend_give_up(struct lend *d)
{
    close_pipe(d);
    d->off = true;
}

static bool
open_pipe(struct lend *d, struct loop_stats *stats)
{
    int size;

    stats->syscalls += 2;
    if (pipe2(d->pipe, O_CLOEXEC | O_NONBLOCK) < 0)
        return false;
    size = fcntl(d->pipe[1], F_SETPIPE_SZ, PIPE_BYTES);
    if (size < 0)
        size = fcntl(d->pipe[1], F_GETPIPE_SZ);
    return size >= PIPE_BYTES_MIN;
}

int64_t
lend_unacked(int fd, struct loop_stats *stats)
{
    int n;

    stats->syscalls++;
    return ioctl(fd, SIOCOUTQ, &n) < 0 ? -errno : n;
}

/* After close() alone the kernel would go on sending what is in the write queue. */
void
lend_purge(int fd)
{
    const struct sockaddr none = {.sa_family = AF_UNSPEC};
    const struct linger now = {1, 0};

    if (connect(fd, &none, sizeof(none)) <
        0) /* a filter forbids it: drop it with the last reference */
        (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

void
lend_free(struct lend *d, struct loop_stats *stats)
{
    int64_t unacked;

    if (d == NULL)
        return;
    if (d->end > 0) {
        unacked = lend_unacked(d->fd, stats);
        if (unacked < 0 || d->sent - (uint64_t)unacked < d->end)
            lend_purge(d->fd);
    }
    close_pipe(d);
    free(d);
}

/* splice into a connection that is gone raises SIGPIPE, and has no flag against it as sendmsg has.
 * hush_begin blocks the signal, and hush_end removes one that our splice has raised, so that the
 * program sees none. */
struct hush {
    sigset_t before;
    bool pending; /* the program had blocked SIGPIPE and one was pending, which has to stay */
    bool raised;  /* our splice has raised one */
};

static sigset_t
only_sigpipe(void)
{
    sigset_t set;

    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    return set;
}

static void
hush_begin(struct hush *h, struct loop_stats *stats)
{
    sigset_t set = only_sigpipe();

    *h = (struct hush){.raised = false};
    stats->syscalls++;
    (void)pthread_sigmask(SIG_BLOCK, &set, &h->before);
    if (sigismember(&h->before, SIGPIPE) == 1) {
        stats->syscalls++;
        h->pending = sigpending(&set) == 0 && sigismember(&set, SIGPIPE) == 1;
    }
}

static void
hush_end(const struct hush *h, struct loop_stats *stats)
{
    static const struct timespec now;
    sigset_t set = only_sigpipe();

    if (h->raised && !h->pending) {
        stats->syscalls++;
        (void)sigtimedwait(&set, NULL, &now);
    }
    if (sigismember(&h->before, SIGPIPE) == 1)
        return;
    stats->syscalls++;
    (void)pthread_sigmask(SIG_SETMASK, &h->before, NULL);
}

static inline bool
large(const struct lend *d, const struct iovec *v)
{
    return v->iov_len >= d->min;
}

/* Removes len bytes, which have been sent, from the front. */
static void
lend_advance(struct rest *r, size_t len)
{
    assert(len <= r->len);
    r->len -= len;
    while (r->n > 0 && len >= r->iov->iov_len - r->off) {
        len -= r->iov->iov_len - r->off;
        r->iov++;
        r->n--;
        r->off = 0;
        r->copy = false;
    }
    r->off += len;
}

/* Sends the pieces before the next one that is to be lent, or what is left of the first. */
static ssize_t
copy_some(struct lend *d, struct rest *r, struct loop_stats *stats)
{
    struct iovec begun;
    const struct iovec *iov = r->iov;
    size_t want = 0;
    ssize_t n;
    int k = 0;

    if (r->off > 0 || r->copy) {
        begun = (struct iovec){(char *)r->iov->iov_base + r->off, r->iov->iov_len - r->off};
        iov = &begun;
        want = begun.iov_len;
        k = 1;
    }
    while (k < r->n && iov != &begun && (d->off || !large(d, &r->iov[k])))
        want += r->iov[k++].iov_len;
    n = real_send(d->fd, iov, k, want < r->len ? MSG_MORE : 0, stats);
    r->blocked = n < 0 || (size_t)n < want;
    if (n > 0)
        d->sent += (uint64_t)n;
    return n;
}

/* Whether an errno says that splice does not work here at all, though sendmsg may: a seccomp
 * filter, an old kernel, or a socket of another kind under the same name. */
static bool
cannot(int err)
{
    return err == EINVAL || err == ENOSYS || err == EPERM || err == EACCES || err == EOPNOTSUPP;
}

/* Moves bytes out of the pipe into the socket, until the one is empty or the other full.  Returns
 * how many, or -errno when the connection is dead. */
static ssize_t
lend_drain(struct lend *d, struct rest *r, struct hush *h, struct loop_stats *stats)
{
    unsigned flags = SPLICE_F_NONBLOCK | (d->residue < r->len ? SPLICE_F_MORE : 0);
    size_t done = 0;

    while (d->residue > 0) {
        ssize_t n;

        stats->syscalls++;
        stats->sends++;
        n = splice(d->pipe[0], NULL, d->fd, NULL, d->residue, flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN) {
            r->blocked = true;
            break;
        }
        if (n == 0 || (n < 0 && cannot(errno))) {
            lend_give_up(d);
            break;
        }
        if (n < 0) {
            h->raised = errno == EPIPE;
            return -errno;
        }
        d->residue -= (size_t)n;
        d->sent += (uint64_t)n;
        d->end = d->sent;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

/* Puts references to as much of the first piece as the pipe holds into the pipe, which is empty.
 * False: that piece has to be copied. */
static bool
lend_fill(struct lend *d, struct rest *r, struct loop_stats *stats)
{
    struct iovec v = {(char *)r->iov->iov_base + r->off, r->iov->iov_len - r->off};
    ssize_t n;

    assert(d->residue == 0);
    if (d->pipe[0] < 0 && !open_pipe(d, stats)) {
        lend_give_up(d);
        return false;
    }
    do {
        stats->syscalls++;
        n = vmsplice(d->pipe[1], &v, 1, SPLICE_F_NONBLOCK);
    } while (n < 0 && errno == EINTR);
    if (n <= 0) {
        r->copy = true;
        if (n == 0 || errno != EFAULT) /* with EFAULT only this memory cannot be lent */
            lend_give_up(d);
        return false;
    }
    d->residue = (size_t)n;
    return true;
}

/* Tells whether a piece is large enough to be lent.  min is a power of two, so the OR of all
 * lengths is at least min exactly if one of the lengths is. */
static bool
any_large(const struct lend *d, const struct iovec *iov, int n)
{
    size_t lens = 0;

    for (int i = 0; i < n; i++)
        lens |= iov[i].iov_len;
    return lens >= d->min;
}

ssize_t
lend_sendv(struct lend *d, const struct iovec *iov, int n, size_t total, struct loop_stats *stats)
{
    struct rest r = {.iov = iov, .n = n};
    struct hush h;
    ssize_t sent = 0;

    if (d->residue == 0 && (d->off || !any_large(d, iov, n))) {
        sent = real_send(d->fd, iov, n, 0, stats);
        if (sent > 0)
            d->sent += (uint64_t)sent;
        return sent;
    }
    r.len = total;
    assert(d->residue <= total); /* what was not taken is offered again */
    lend_advance(&r, 0);
    hush_begin(&h, stats);
    while (r.len > 0 && !r.blocked) {
        if (d->residue > 0 || (!d->off && !r.copy && large(d, r.iov) && lend_fill(d, &r, stats)))
            sent = lend_drain(d, &r, &h, stats);
        else
            sent = copy_some(d, &r, stats);
        if (sent > 0)
            lend_advance(&r, (size_t)sent);
        else if (sent < 0)
            break;
    }
    hush_end(&h, stats);
    if (sent < 0 && sent != -EAGAIN)
        return sent;
    return r.len < total ? (ssize_t)(total - r.len) : -EAGAIN;
}
