/* SPDX-License-Identifier: MIT */
/* Sending without a copy, on real sockets whose system calls are made to do less than asked, or to
 * fail: what arrives is what was offered, in order, once.  The calls are wrapped by the linker. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "loop/loop.h"
#include "tests/test.h"

#define MIN   32768u
#define BYTES (3u << 20)
#define HEADS (64u << 10)
#define FDS   4096 /* above all that a test opens */

/* ---- system calls ---------------------------------------------------------------------------- */

enum call { VMSPLICE, SPLICE, PIPE, SETPIPE, CALLS };

static struct script {
    size_t most[CALLS];    /* bytes a call moves; 0: all of them */
    unsigned again;        /* one splice in so many finds the socket full; 0: none */
    int err[CALLS];        /* how each fails ... */
    unsigned after[CALLS]; /* ... after so many that do not */
    int getpipe;           /* what F_GETPIPE_SZ says */
    unsigned calls[CALLS];
    uint64_t rng;
} script;

static uint64_t
below(uint64_t n)
{
    script.rng = script.rng * 6364136223846793005u + 1442695040888963407u;
    return (script.rng >> 33) % n;
}

static bool
fails(enum call c)
{
    if (script.calls[c]++ < script.after[c] || script.err[c] == 0)
        return false;
    errno = script.err[c];
    return true;
}

static size_t
most(enum call c, size_t len)
{
    size_t n = script.most[c] == 0 ? len : 1 + below(script.most[c]);

    return n < len ? n : len;
}

ssize_t __real_vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags);
ssize_t __wrap_vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags);
ssize_t __real_splice(int in, off_t *inp, int out, off_t *outp, size_t len, unsigned flags);
ssize_t __wrap_splice(int in, off_t *inp, int out, off_t *outp, size_t len, unsigned flags);
int __real_pipe2(int fds[2], int flags);
int __wrap_pipe2(int fds[2], int flags);
int REAL_FCNTL(int fd, int op, long arg); /* as glibc calls it with 64-bit offsets and times */
int WRAP_FCNTL(int fd, int op, long arg);

ssize_t
__wrap_vmsplice(int fd, const struct iovec *iov, size_t n, unsigned flags)
{
    struct iovec v = *iov;

    assert_int_equal(n, 1);
    if (fails(VMSPLICE))
        return -1;
    v.iov_len = most(VMSPLICE, v.iov_len);
    return __real_vmsplice(fd, &v, 1, flags);
}

ssize_t
__wrap_splice(int in, off_t *inp, int out, off_t *outp, size_t len, unsigned flags)
{
    if (fails(SPLICE))
        return -1;
    if (script.again > 0 && below(script.again) == 0) {
        errno = EAGAIN;
        return -1;
    }
    return __real_splice(in, inp, out, outp, most(SPLICE, len), flags);
}

int
__wrap_pipe2(int fds[2], int flags)
{
    return fails(PIPE) ? -1 : __real_pipe2(fds, flags);
}

int
WRAP_FCNTL(int fd, int op, long arg)
{
    if (op == F_SETPIPE_SZ && fails(SETPIPE))
        return -1;
    if (op == F_GETPIPE_SZ && script.getpipe > 0)
        return script.getpipe;
    return REAL_FCNTL(fd, op, arg);
}

/* ---- a connection ---------------------------------------------------------------------------- */

static struct rig {
    struct loop *l;
    struct stream *tx;
    int rx;
    uint8_t *data, *want, *got; /* what is offered, in what order it has to come, what came */
    size_t sent, received, len;
    struct iovec iov[1024];
    int n;
} r;

static const struct stream_events no_events = {.readable = NULL};

/* A connected pair of TCP sockets; the one that sends is small. */
static void
tcp_pair(int fds[2], int sndbuf)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(a);
    int l = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(l >= 0);
    assert_int_equal(bind(l, (void *)&a, sizeof(a)), 0);
    assert_int_equal(listen(l, 1), 0);
    assert_int_equal(getsockname(l, (void *)&a, &len), 0);
    fds[0] = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(fds[0] >= 0);
    if (sndbuf > 0)
        assert_int_equal(setsockopt(fds[0], SOL_SOCKET, SO_SNDBUF, &sndbuf, sizeof(sndbuf)), 0);
    assert_int_equal(connect(fds[0], (void *)&a, sizeof(a)), 0);
    fds[1] = accept(l, NULL, NULL);
    assert_true(fds[1] >= 0);
    (void)close(l);
}

static void
setup(uint64_t seed, int sndbuf)
{
    struct loop_config cfg = {.kind = LOOP_EPOLL};
    int fds[2];

    memset(&r, 0, sizeof(r));
    script = (struct script){.rng = seed};
    assert_int_equal(loop_new(&cfg, &r.l, NULL), 0);
    tcp_pair(fds, sndbuf);
    r.rx = fds[1];
    assert_int_equal(stream_adopt(r.l, fds[0], &no_events, NULL, &r.tx), 0);
    assert_int_equal(stream_lend(r.tx, MIN), 0);
    r.data = malloc(BYTES);
    r.want = malloc(BYTES);
    r.got = malloc(BYTES);
    assert_true(r.data != NULL && r.want != NULL && r.got != NULL);
    for (size_t i = 0; i < BYTES; i++)
        r.data[i] = (uint8_t)below(256);
}

static void
teardown(void)
{
    if (r.tx != NULL)
        stream_close(r.tx);
    (void)close(r.rx);
    loop_free(r.l);
    free(r.data);
    free(r.want);
    free(r.got);
    script = (struct script){.rng = 1};
}

/* Headers from the front of data, payload from behind it, both at odd places. */
static void
offer(size_t bytes)
{
    size_t head = 0, at = HEADS;

    while (r.len < bytes && r.n < 1000) {
        bool large = below(2) == 0;
        size_t n = large ? MIN + below(200000) : below(4) == 0 ? below(MIN) : 48;
        size_t *from = n == 48 ? &head : &at;

        if (*from + n > (from == &head ? HEADS : BYTES))
            break;
        r.iov[r.n++] = (struct iovec){r.data + *from, n};
        memcpy(r.want + r.len, r.data + *from, n);
        *from += n;
        r.len += n;
        if (below(8) == 0)
            r.iov[r.n++] = (struct iovec){r.data, 0};
    }
}

static void
receive(size_t max)
{
    ssize_t n = recv(r.rx, r.got + r.received, max, MSG_DONTWAIT);

    if (n > 0)
        r.received += (size_t)n;
}

/* What was taken goes off the front; the rest is offered again. */
static void
taken(struct iovec **iov, int *n, size_t len)
{
    while (*n > 0 && len >= (*iov)->iov_len) {
        len -= (*iov)->iov_len;
        (*iov)++;
        (*n)--;
    }
    if (len > 0) {
        (*iov)->iov_base = (char *)(*iov)->iov_base + len;
        (*iov)->iov_len -= len;
    }
}

/* All of it there and back. */
static void
deliver(void)
{
    struct iovec *iov = r.iov;
    time_t limit = time(NULL) + 60;
    int n = r.n;

    while (r.received < r.len) {
        assert_true(time(NULL) < limit);
        if (r.sent < r.len) {
            ssize_t k = stream_sendv(r.tx, iov, n, r.len - r.sent);

            assert_true(k > 0 || k == -EAGAIN);
            if (k > 0) {
                r.sent += (size_t)k;
                taken(&iov, &n, (size_t)k);
            }
        }
        if (below(3) != 0 || r.sent == r.len)
            receive(1 + below(100000));
    }
    assert_memory_equal(r.got, r.want, r.len);
    receive(1);
    assert_int_equal(r.received, r.len);
    assert_int_equal(r.l->stats.bytes_sent, r.len);
}

static void
until_acked(void)
{
    for (int i = 0; i < 5000 && stream_unacked(r.tx) != 0; i++)
        (void)usleep(1000);
    assert_int_equal(stream_unacked(r.tx), 0);
}

/* ---- tests ----------------------------------------------------------------------------------- */

static void
everything_in_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        bool tiny = seed % 3 == 0; /* which takes its time */

        setup(seed, tiny ? 4608 : 0);
        offer(tiny ? 300u << 10 : 2u << 20);
        deliver();
        assert_true(script.calls[VMSPLICE] > 0 && script.calls[PIPE] == 1);
        until_acked();
        teardown();
    }
}

static void
calls_that_do_less(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        bool tiny = seed % 3 == 0;

        setup(seed, tiny ? 4608 : 0);
        script.most[VMSPLICE] = seed % 2 == 0 ? 100000 : 0;
        script.most[SPLICE] = seed % 4 < 2 ? 30000 : 0;
        script.again = 1 + (unsigned)below(5);
        if (script.again == 1)
            script.again = 2;
        offer(tiny ? 300u << 10 : 2u << 20);
        deliver();
        teardown();
    }
}

/* In the middle of it, with bytes in the pipe. */
static void
what_cannot_be_lent_is_copied(void **state)
{
    static const int errs[] = {EINVAL, ENOSYS, EPERM, EOPNOTSUPP};
    uint64_t seed = 1;

    (void)state;
    for (int c = VMSPLICE; c <= SPLICE; c++) {
        for (unsigned after = 0; after < 12; after++) {
            setup(seed++, 0);
            script.most[SPLICE] = 30000;
            script.again = 3;
            script.err[c] = errs[after % 4];
            script.after[c] = after;
            offer(2u << 20);
            deliver();
            assert_true(script.calls[c] == after + 1); /* and is not tried again */
            teardown();
        }
    }
}

/* Device memory and the like: the next piece may do. */
static void
memory_that_cannot_be_lent(void **state)
{
    (void)state;
    setup(7, 0);
    script.err[VMSPLICE] = EFAULT;
    offer(2u << 20);
    deliver();
    assert_true(script.calls[VMSPLICE] > 1);
    assert_int_equal(script.calls[SPLICE], 0);
    teardown();
}

static void
no_pipe(void **state)
{
    (void)state;
    setup(8, 0);
    script.err[PIPE] = EMFILE;
    offer(2u << 20);
    deliver();
    assert_int_equal(script.calls[PIPE], 1);
    assert_int_equal(script.calls[VMSPLICE], 0);
    teardown();
}

/* pipe-user-pages-soft is used up. */
static void
a_small_pipe(void **state)
{
    (void)state;
    for (int size = 4096; size <= 65536; size += 61440) {
        setup(9, 0);
        script.err[SETPIPE] = EPERM;
        script.getpipe = size;
        offer(2u << 20);
        deliver();
        assert_int_equal(script.calls[VMSPLICE] > 0, size == 65536);
        teardown();
    }
}

static void
small_pieces_are_copied(void **state)
{
    struct iovec iov[2];
    uint64_t before;

    (void)state;
    setup(10, 0);
    before = r.l->stats.syscalls;
    iov[0] = (struct iovec){r.data, MIN - 1};
    iov[1] = (struct iovec){r.data + MIN, MIN - 1};
    assert_int_equal(stream_sendv(r.tx, iov, 2, 2 * (MIN - 1)), 2 * (MIN - 1));
    assert_int_equal(script.calls[PIPE], 0);
    assert_int_equal(r.l->stats.syscalls, before + 1);
    teardown();
}

static void
not_on_other_sockets(void **state)
{
    struct loop_config cfg = {.kind = LOOP_EPOLL};
    struct loop *l = NULL;
    struct stream *s = NULL;
    int sv[2];

    (void)state;
    assert_int_equal(loop_new(&cfg, &l, NULL), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    assert_int_equal(stream_adopt(l, sv[0], &no_events, NULL, &s), 0);
    assert_int_equal(stream_lend(s, MIN), -ENOTSUP);
    stream_close(s);
    (void)close(sv[1]);
    loop_free(l);
}

/* Sends until the socket is full. */
static void
fill_up(void)
{
    struct iovec iov = {r.data, BYTES};
    ssize_t k;

    do {
        iov = (struct iovec){r.data + r.sent, BYTES - r.sent};
        k = stream_sendv(r.tx, &iov, 1, iov.iov_len);
        if (k > 0)
            r.sent += (size_t)k;
    } while (k > 0 && r.sent < BYTES);
    assert_true(r.sent < BYTES);
}

/* Nothing leaves after the close, although much was taken, and the peer learns that it is not the
 * whole. */
static void
a_close_drops_what_is_lent(void **state)
{
    int there = 0;
    ssize_t n;

    (void)state;
    setup(11, 1 << 20);
    fill_up();
    assert_true(stream_unacked(r.tx) > 0);
    stream_close(r.tx);
    r.tx = NULL;
    assert_int_equal(ioctl(r.rx, FIONREAD, &there), 0);
    assert_true((size_t)there < r.sent);
    for (;;) {
        n = recv(r.rx, r.got + r.received, BYTES - r.received, 0);
        if (n <= 0)
            break;
        r.received += (size_t)n;
    }
    assert_true(n < 0 && errno == ECONNRESET);
    assert_int_equal(r.received, there);
    assert_memory_equal(r.got, r.data, r.received);
    teardown();
}

static void
a_close_when_all_is_acknowledged_is_in_order(void **state)
{
    (void)state;
    setup(12, 0);
    offer(2u << 20);
    deliver();
    until_acked();
    stream_close(r.tx);
    r.tx = NULL;
    assert_int_equal(recv(r.rx, r.got, 1, 0), 0);
    teardown();
}

static volatile sig_atomic_t sigpipes;

static void
on_sigpipe(int sig)
{
    (void)sig;
    sigpipes++;
}

/* The peer has closed its half before it resets: splice then raises SIGPIPE, and we must not. */
static void
no_signal(bool blocked)
{
    static const struct linger now = {1, 0};
    struct iovec iov;
    sigset_t set, old;
    ssize_t k;

    setup(13, 65536);
    sigpipes = 0;
    (void)sigemptyset(&set);
    (void)sigaddset(&set, SIGPIPE);
    if (blocked)
        (void)pthread_sigmask(SIG_BLOCK, &set, NULL);
    fill_up(); /* there is a residue, which goes by splice */
    assert_int_equal(shutdown(r.rx, SHUT_WR), 0);
    (void)setsockopt(r.rx, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
    (void)close(r.rx);
    (void)usleep(20000);
    for (int i = 0; i < 3; i++) {
        iov = (struct iovec){r.data + r.sent, BYTES - r.sent};
        k = stream_sendv(r.tx, &iov, 1, iov.iov_len);
        assert_true(k == -EPIPE || k == -ECONNRESET);
    }
    assert_int_equal(k, -EPIPE);
    (void)pthread_sigmask(SIG_SETMASK, NULL, &old);
    assert_int_equal(sigismember(&old, SIGPIPE), blocked);
    (void)sigpending(&set);
    assert_int_equal(sigismember(&set, SIGPIPE), 0);
    if (blocked) {
        (void)sigemptyset(&set);
        (void)sigaddset(&set, SIGPIPE);
        (void)pthread_sigmask(SIG_UNBLOCK, &set, NULL);
    }
    assert_int_equal(sigpipes, 0);
    r.rx = dup(0);
    teardown();
}

static void
no_signal_of_a_dead_connection(void **state)
{
    struct sigaction act = {.sa_handler = on_sigpipe}, old;

    (void)state;
    (void)sigaction(SIGPIPE, &act, &old);
    no_signal(false);
    no_signal(true);
    (void)sigaction(SIGPIPE, &old, NULL);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(everything_in_order),
        cmocka_unit_test(calls_that_do_less),
        cmocka_unit_test(what_cannot_be_lent_is_copied),
        cmocka_unit_test(memory_that_cannot_be_lent),
        cmocka_unit_test(no_pipe),
        cmocka_unit_test(a_small_pipe),
        cmocka_unit_test(small_pieces_are_copied),
        cmocka_unit_test(not_on_other_sockets),
        cmocka_unit_test(a_close_drops_what_is_lent),
        cmocka_unit_test(a_close_when_all_is_acknowledged_is_in_order),
        cmocka_unit_test(no_signal_of_a_dead_connection),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
