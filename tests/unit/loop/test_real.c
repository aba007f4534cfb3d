/* SPDX-License-Identifier: MIT */
/* What only the real loops have: threads, descriptors, signals, kernels that say no.
 * "test_real epoll" or "uring". */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "loop/loop.h"
#include "tests/test.h"

#define MS LOOP_NS_PER_MS

static enum loop_kind kind;

static struct loop *
make_loop(uint32_t spin_us)
{
    struct loop_config cfg = {.kind = kind, .spin_us = spin_us};
    struct lunette_error err = {0};
    struct loop *l = NULL;

    assert_int_equal(loop_new(&cfg, &l, &err), 0);
    assert_string_equal(l->ops->name, kind == LOOP_EPOLL ? "epoll" : "uring");
    return l;
}

struct count_work {
    struct loop_work w;
    int n;
};

static void
on_work(struct loop_work *w)
{
    container_of(w, struct count_work, w)->n++;
}

struct count_timer {
    struct loop_timer t;
    int n;
};

static void
on_timer(struct loop_timer *t)
{
    container_of(t, struct count_timer, t)->n++;
}

/* One end of a socket pair. */
struct end {
    struct stream *s;
    int readables, err, accepted, connected;
    size_t got, echo_left;
};

static void
on_readable(void *user)
{
    struct end *e = user;
    char buf[4096];
    struct iovec iov = {buf, sizeof(buf)};
    ssize_t r;

    e->readables++;
    r = stream_recvv(e->s, &iov, 1);
    if (r <= 0) {
        e->err = r == 0 ? 1 : (int)r;
        return;
    }
    e->got += (size_t)r;
    if (e->echo_left > 0) {
        e->echo_left--;
        iov.iov_len = (size_t)r;
        assert_int_equal(stream_sendv(e->s, &iov, 1, iov.iov_len), r);
    }
}

static void
on_connected(void *user, int err)
{
    struct end *e = user;

    e->connected++;
    e->err = err;
}

static void
on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct end *e = user;

    (void)peer;
    e->accepted++;
    stream_close(s);
}

static const struct stream_events events = {
    .connected = on_connected, .readable = on_readable, .accepted = on_accepted};

static bool
readable_within(int fd, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int r;

    do {
        r = poll(&p, 1, ms);
    } while (r < 0 && errno == EINTR);
    return r > 0 && (p.revents & POLLIN);
}

/* Runs what there is, until the descriptor is quiet; it may have woken us in vain. */
static void
settle(struct loop *l, int fd)
{
    for (int i = 0; i < 20; i++) {
        if (!readable_within(fd, 10))
            return;
        assert_true(loop_run(l, 0) >= 0);
    }
    fail_msg("the descriptor does not become quiet");
}

/* As an application does that sleeps on the descriptor alone. */
static void
wait_for(struct loop *l, int fd, const int *n, int want)
{
    for (int vain = 0; *n < want; vain++) {
        assert_true(vain < 5);
        assert_true(readable_within(fd, 5000));
        assert_true(loop_run(l, 0) >= 0);
    }
}

static void
test_fd_shows_work_and_timers(void **state)
{
    struct loop *l = make_loop(0);
    struct count_work w = {.n = 0}, p = {.n = 0};
    struct count_timer t = {.n = 0}, far = {.n = 0};
    int fd;

    (void)state;
    loop_work_init(&w.w, on_work);
    loop_work_init(&p.w, on_work);
    loop_timer_init(&t.t, on_timer);
    loop_timer_init(&far.t, on_timer);
    loop_timer_start(l, &far.t, 3600 * LOOP_NS_PER_S);
    fd = loop_fd(l);
    assert_true(fd >= 0);
    assert_int_equal(loop_fd(l), fd);
    settle(l, fd);

    loop_defer(l, &w.w);
    assert_true(readable_within(fd, 0));
    assert_int_equal(loop_run(l, 0), 1);
    settle(l, fd);

    loop_post(l, &p.w);
    assert_true(readable_within(fd, 0));
    assert_int_equal(loop_run(l, 0), 1);
    settle(l, fd);

    for (int i = 1; i <= 3; i++) {
        loop_timer_start(l, &t.t, 20 * MS);
        wait_for(l, fd, &t.n, i);
        settle(l, fd);
    }
    /* A timer that is moved away costs one idle wake-up at most, and is not lost. */
    loop_timer_start(l, &t.t, 10 * MS);
    loop_timer_start(l, &t.t, 50 * MS);
    wait_for(l, fd, &t.n, 4);
    assert_int_equal(w.n + p.n, 2);
    loop_timer_stop(l, &far.t);
    loop_free(l);
}

static void
test_fd_shows_streams(void **state)
{
    struct loop *l = make_loop(0);
    struct end e = {0}, c = {0}, v = {0};
    struct sock_addr at = {.len = sizeof(struct sockaddr_in)}, bound;
    struct stream *listener;
    int sv[2], fd = loop_fd(l);

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    assert_int_equal(stream_adopt(l, sv[0], &events, &e, &e.s), 0);
    assert_true(fcntl(sv[0], F_GETFD) & FD_CLOEXEC);
    settle(l, fd);
    assert_int_equal(write(sv[1], "hello", 5), 5);
    assert_true(readable_within(fd, 5000));
    (void)loop_run(l, 0);
    assert_int_equal(e.got, 5);
    settle(l, fd);
    assert_int_equal(write(sv[1], "again", 5), 5);
    assert_true(readable_within(fd, 5000));
    settle(l, fd);
    assert_int_equal(e.got, 10);

    ((struct sockaddr_in *)(void *)&at.ss)->sin_family = AF_INET;
    ((struct sockaddr_in *)(void *)&at.ss)->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(stream_listen(l, &at, &events, &v, &listener, &bound), 0);
    assert_int_equal(stream_connect(l, &bound, NULL, &events, &c, &c.s), 0);
    while (v.accepted == 0 || c.connected == 0 || c.err == 0) {
        assert_true(readable_within(fd, 5000));
        assert_true(loop_run(l, 0) >= 0);
    }
    settle(l, fd);
    stream_close(c.s);
    stream_close(listener);
    stream_close(e.s);
    (void)close(sv[1]);
    settle(l, fd);
    loop_free(l);
}

/* Threads. */

enum { POSTERS = 3, POSTS = 200 };

struct poster {
    struct loop *l;
    struct count_work works[POSTS];
};

static void *
poster(void *arg)
{
    struct poster *p = arg;

    for (int i = 0; i < POSTS; i++) {
        loop_post(p->l, &p->works[i].w);
        if (i % 16 == 0)
            (void)usleep(200);
    }
    return NULL;
}

static void
test_post_from_threads(void **state)
{
    struct loop *l = make_loop(0);
    static struct poster p[POSTERS];
    pthread_t t[POSTERS];
    int n = 0;

    (void)state;
    for (int i = 0; i < POSTERS; i++) {
        p[i].l = l;
        for (int k = 0; k < POSTS; k++) {
            p[i].works[k].n = 0;
            loop_work_init(&p[i].works[k].w, on_work);
        }
        assert_int_equal(pthread_create(&t[i], NULL, poster, &p[i]), 0);
    }
    while (n < POSTERS * POSTS) { /* sleeps without limit: each post has to wake it */
        int r = loop_run(l, -1);

        assert_true(r > 0);
        n += r;
    }
    for (int i = 0; i < POSTERS; i++) {
        assert_int_equal(pthread_join(t[i], NULL), 0);
        for (int k = 0; k < POSTS; k++)
            assert_int_equal(p[i].works[k].n, 1);
    }
    loop_free(l);
}

static void *
run_a_loop(void *arg)
{
    struct loop *l = arg;

    assert_int_equal(loop_run(l, -1), 1);
    assert_int_equal(loop_run(l, 1), 0);
    return NULL;
}

/* Made and freed by one thread, run by another. */
static void
test_loop_belongs_to_who_runs_it(void **state)
{
    struct loop *l = make_loop(0);
    struct count_work w = {.n = 0};
    pthread_t t;

    (void)state;
    loop_work_init(&w.w, on_work);
    assert_int_equal(pthread_create(&t, NULL, run_a_loop, l), 0);
    (void)usleep(2000);
    loop_post(l, &w.w);
    assert_int_equal(pthread_join(t, NULL), 0);
    assert_int_equal(w.n, 1);
    loop_free(l);
}

static void
never_resolved(void *user, int err, const struct sock_addr *addr, int count)
{
    (void)err;
    (void)addr;
    (void)count;
    ++*(int *)user;
}

static void
test_free_while_cancelled_lookups_run(void **state)
{
    int calls = 0;

    (void)state;
    for (int round = 0; round < 10; round++) {
        struct loop *l = make_loop(0);
        struct resolve *r[30];

        for (int i = 0; i < 30; i++)
            assert_int_equal(
                loop_resolve(l, "no-such-host.invalid", 1, never_resolved, &calls, &r[i]), 0);
        if (round % 2 == 0)
            (void)usleep((useconds_t)round * 500);
        for (int i = 0; i < 30; i++)
            loop_resolve_cancel(l, r[i]);
        if (round % 3 == 0)
            (void)loop_run(l, 0);
        loop_free(l);
    }
    assert_int_equal(calls, 0);
    (void)usleep(20000);
}

/* Signals. */

static void
on_alarm(int sig)
{
    (void)sig;
}

static void
test_signal_ends_run(void **state)
{
    struct loop *l = make_loop(0);
    struct sigaction sa = {.sa_handler = on_alarm}, old;
    struct itimerval it = {.it_value.tv_usec = 20000};

    (void)state;
    assert_int_equal(sigaction(SIGALRM, &sa, &old), 0);
    assert_int_equal(setitimer(ITIMER_REAL, &it, NULL), 0);
    assert_int_equal(loop_run(l, -1), 0);
    assert_int_equal(sigaction(SIGALRM, &old, NULL), 0);
    loop_free(l);
}

/* Costs. */

static void
ping_pong(struct loop *l, struct end *a, struct end *b, size_t rounds)
{
    struct iovec iov = {(void *)(uintptr_t) "ping", 4};

    a->echo_left = b->echo_left = rounds;
    a->got = 0;
    assert_int_equal(stream_sendv(a->s, &iov, 1, 4), 4);
    while (a->got < 4 * rounds)
        assert_true(loop_run(l, -1) >= 0);
    while (loop_run(l, 0) > 0) {
    }
}

static void
connect_pair(struct loop *l, struct end *a, struct end *b)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    int v = socket(AF_INET, SOCK_STREAM, 0), x = socket(AF_INET, SOCK_STREAM, 0), y;

    assert_int_equal(bind(v, (void *)&at, len), 0);
    assert_int_equal(listen(v, 1), 0);
    assert_int_equal(getsockname(v, (void *)&at, &len), 0);
    assert_int_equal(connect(x, (void *)&at, len), 0);
    y = accept(v, NULL, NULL);
    assert_true(y >= 0);
    (void)close(v);
    assert_int_equal(stream_adopt(l, x, &events, a, &a->s), 0);
    assert_int_equal(stream_adopt(l, y, &events, b, &b->s), 0);
}

static void
test_no_call_but_the_io(void **state)
{
    struct loop *l = make_loop(0);
    struct end a = {0}, b = {0};
    struct loop_stats before;
    uint64_t io;

    (void)state;
    connect_pair(l, &a, &b);
    while (loop_run(l, (int64_t)MS) > 0) {
    }
    before = l->stats;
    ping_pong(l, &a, &b, 500);
    io = l->stats.sends - before.sends + l->stats.recvs - before.recvs;
    assert_true(l->stats.sends - before.sends >= 1000);
    assert_true(l->stats.bytes_received - before.bytes_received >= 4000);
    /* One wait and one receive for each message, no EAGAIN, no epoll_ctl. */
    assert_true(io < 2100);
    assert_true(l->stats.syscalls - before.syscalls - io < 1100);
    stream_close(a.s);
    stream_close(b.s);
    loop_free(l);
}

static void
test_spinning_still_sleeps(void **state)
{
    struct loop *l = make_loop(300);
    struct end a = {0}, b = {0};
    struct count_timer t = {.n = 0};
    uint64_t waits;

    (void)state;
    connect_pair(l, &a, &b);
    ping_pong(l, &a, &b, 200);
    loop_timer_init(&t.t, on_timer);
    loop_timer_start(l, &t.t, MS / 10);
    assert_int_equal(loop_run(l, -1), 1);
    loop_timer_start(l, &t.t, 5 * MS);
    assert_int_equal(loop_run(l, -1), 1);
    waits = l->stats.syscalls;
    assert_int_equal(loop_run(l, (int64_t)(30 * MS)), 0);
    if (kind == LOOP_URING) /* spinning reads memory only */
        assert_true(l->stats.syscalls - waits < 5);
    stream_close(a.s);
    stream_close(b.s);
    loop_free(l);
}

/* Polls of one wait that ends with nothing. */
static uint64_t
polls_in_vain(struct loop *l)
{
    uint64_t before = l->stats.waits;

    assert_int_equal(loop_run(l, (int64_t)(3 * MS)), 0);
    return l->stats.waits - before;
}

/* Polling that finds nothing is given up, and comes back when it pays. */
static void
test_spinning_adapts(void **state)
{
    struct loop *l = make_loop(1000);
    struct end a = {0}, b = {0};
    uint64_t least = UINT64_MAX;

    (void)state;
    connect_pair(l, &a, &b);
    ping_pong(l, &a, &b, 10);
    assert_true(polls_in_vain(l) > 50);
    for (int i = 0; i < 12; i++)
        (void)polls_in_vain(l);
    for (int i = 0; i < 3; i++) {
        uint64_t n = polls_in_vain(l);

        least = n < least ? n : least;
    }
    assert_true(least <= 2);
    ping_pong(l, &a, &b, 100);
    assert_true(polls_in_vain(l) > 50);
    stream_close(a.s);
    stream_close(b.s);
    loop_free(l);
}

/* Limits. */

static void
test_accept_without_descriptors(void **state)
{
    struct loop *l = make_loop(0);
    struct end v = {0}, c = {0};
    struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sock_addr at = {.len = sizeof(sin)}, bound;
    struct stream *listener;
    struct rlimit old, low;
    int last;
    uint64_t turns;

    (void)state;
    memcpy(&at.ss, &sin, sizeof(sin));
    assert_int_equal(stream_listen(l, &at, &events, &v, &listener, &bound), 0);
    while (loop_run(l, (int64_t)MS) > 0) {
    }
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(stream_connect(l, &bound, NULL, &events, &c, &c.s), 0);
    last = dup(0);
    (void)close(last);
    low = old;
    low.rlim_cur = (rlim_t)last;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
    turns = l->stats.turns;
    for (int i = 0; i < 15; i++)
        assert_true(loop_run(l, (int64_t)(10 * MS)) >= 0);
    assert_int_equal(v.accepted, 0);
    assert_true(l->stats.turns - turns < 50); /* it does not spin */
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    for (int i = 0; i < 100 && v.accepted == 0; i++)
        assert_true(loop_run(l, (int64_t)(20 * MS)) >= 0);
    assert_int_equal(v.accepted, 1);
    stream_close(c.s);
    stream_close(listener);
    loop_free(l);
}

/* More events at once than any queue holds. */
static void
test_thousands_ready_at_once(void **state)
{
    enum { N = 5000 };
    struct loop *l = make_loop(0);
    struct end *e = calloc(N, sizeof(*e));
    int *peer = calloc(N, sizeof(*peer));
    struct rlimit old, high;
    size_t got = 0;

    (void)state;
    assert_true(e != NULL && peer != NULL);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    high = old;
    high.rlim_cur = 2 * N + 100;
    if (setrlimit(RLIMIT_NOFILE, &high) < 0) {
        free(e);
        free(peer);
        loop_free(l);
        skip();
    }
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < N; i++) {
            int sv[2];

            if (round == 0) {
                assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
                assert_int_equal(stream_adopt(l, sv[0], &events, &e[i], &e[i].s), 0);
                peer[i] = sv[1];
            }
            assert_int_equal(write(peer[i], "x", 1), 1);
        }
        got = 0;
        for (int turns = 0; turns < 1000 && got < (size_t)N * (size_t)(round + 1); turns++) {
            assert_true(loop_run(l, (int64_t)MS) >= 0);
            got = 0;
            for (int i = 0; i < N; i++)
                got += e[i].got;
        }
        assert_int_equal(got, N * (round + 1));
    }
    for (int i = 0; i < N; i++) {
        stream_close(e[i].s);
        (void)close(peer[i]);
    }
    loop_free(l);
    free(e);
    free(peer);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
}

/* Kernels that say no. */

/* In a child: runs body after forbidding a system call, and returns its exit status. */
static int
in_child(void (*body)(void), int forbidden, int with)
{
    pid_t pid;
    int status = 0;

    (void)fflush(NULL);
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct sock_filter code[] = {
            BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
            BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)forbidden, 0, 1),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)with),
            BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        struct sock_fprog prog = {4, code};

        if (forbidden >= 0 && (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
                               prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0))
            _exit(77);
        body();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 77)
        skip();
    return status;
}

static void
auto_falls_back(void)
{
    struct loop_config cfg = {.kind = LOOP_URING};
    struct lunette_error err = {0};
    struct loop *l = NULL;
    struct count_timer t = {.n = 0};

    if (loop_new(&cfg, &l, &err) >= 0 || l != NULL || err.code >= 0 ||
        strstr(err.msg, "io_uring") == NULL)
        _exit(1);
    cfg.kind = LOOP_AUTO;
    if (loop_new(&cfg, &l, &err) < 0 || strcmp(l->ops->name, "epoll") != 0)
        _exit(2);
    loop_timer_init(&t.t, on_timer);
    loop_timer_start(l, &t.t, MS);
    if (loop_run(l, -1) != 1 || t.n != 1)
        _exit(3);
    loop_free(l);
}

static void
test_io_uring_forbidden(void **state)
{
    static const int with[] = {EPERM, ENOSYS, ENOMEM, EINVAL};

    (void)state;
    if (kind != LOOP_URING)
        skip();
    for (size_t i = 0; i < sizeof(with) / sizeof(with[0]); i++)
        assert_int_equal(in_child(auto_falls_back, SYS_io_uring_setup, with[i]), 0);
}

static void
sleep_without_pwait2(void)
{
    struct loop_config cfg = {.kind = LOOP_EPOLL};
    struct loop *l = NULL;
    uint64_t t0;

    if (loop_new(&cfg, &l, NULL) < 0)
        _exit(1);
    t0 = l->now_ns;
    for (int i = 0; i < 3; i++) {
        if (loop_run(l, (int64_t)MS / 3) != 0)
            _exit(2);
    }
    if (l->now_ns < t0 + MS)
        _exit(3);
    loop_free(l);
}

static void
test_epoll_pwait2_missing(void **state)
{
    (void)state;
    if (kind != LOOP_EPOLL)
        skip();
    assert_int_equal(in_child(sleep_without_pwait2, SYS_epoll_pwait2, ENOSYS), 0);
}

/* Our own mistakes abort. */

static struct loop *inner;

static void
run_inside(struct loop_work *w)
{
    (void)w;
    (void)loop_run(inner, 0);
}

static void
run_from_a_callback(void)
{
    struct loop_work w;

    if (freopen("/dev/null", "w", stderr) == NULL)
        return;
    inner = make_loop(0);
    loop_work_init(&w, run_inside);
    loop_defer(inner, &w);
    (void)loop_run(inner, 0);
}

static void
free_with_a_stream(void)
{
    struct end e = {0};
    int sv[2];

    if (freopen("/dev/null", "w", stderr) == NULL)
        return;
    inner = make_loop(0);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv) == 0 &&
        stream_adopt(inner, sv[0], &events, &e, &e.s) == 0)
        loop_free(inner);
}

static void
test_misuse_aborts(void **state)
{
    static void (*const bodies[])(void) = {run_from_a_callback, free_with_a_stream};

    (void)state;
    for (size_t i = 0; i < 2; i++) {
        int status = in_child(bodies[i], -1, 0);

        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
    }
}

/* What the descriptor of a pipe or a file has for the loop. */
struct watched {
    struct loop *l;
    struct loop_watch *w;
    int fd, calls, ends;
    size_t got;
};

static void
on_watched(void *user)
{
    struct watched *w = user;
    char buf[16];
    ssize_t r = read(w->fd, buf, sizeof(buf));

    w->calls++;
    if (r > 0)
        w->got += (size_t)r;
    if (r != 0)
        return;
    w->ends++;
    loop_unwatch(w->l, w->w);
}

/* An application that sleeps on the descriptor of the loop is woken for a watch, by what is left
 * too, and for nothing when all has been read; the end of a pipe counts. */
static void
test_fd_shows_watches(void **state)
{
    struct watched w = {.l = make_loop(0)};
    int fd = loop_fd(w.l), p[2];

    (void)state;
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    w.fd = p[0];
    assert_int_equal(loop_watch(w.l, p[0], on_watched, &w, &w.w), 0);
    settle(w.l, fd);
    assert_int_equal(write(p[1], "0123456789012345678901234567890123456789", 40), 40);
    wait_for(w.l, fd, &w.calls, 3); /* 16 bytes each time */
    assert_int_equal(w.got, 40);
    settle(w.l, fd);
    assert_int_equal(w.calls, 3);
    assert_int_equal(close(p[1]), 0);
    wait_for(w.l, fd, &w.ends, 1);
    settle(w.l, fd);
    assert_int_equal(close(p[0]), 0);
    loop_free(w.l);
}

/* One that is watched is shown at once, also where it is an eventfd, of which io_uring itself would
 * tell only after a while; whether it was watched before or after the descriptor was asked for. */
static void
test_fd_shows_eventfds_at_once(void **state)
{
    (void)state;
    for (int before = 0; before < 2; before++) {
        struct watched w = {.l = make_loop(0), .fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)};
        int fd = before ? -1 : loop_fd(w.l);

        assert_int_equal(loop_watch(w.l, w.fd, on_watched, &w, &w.w), 0);
        fd = loop_fd(w.l);
        for (int i = 1; i <= 20; i++) {
            settle(w.l, fd);
            assert_int_equal(eventfd_write(w.fd, 1), 0);
            assert_true(readable_within(fd, 0));
            while (w.calls < i)
                assert_true(loop_run(w.l, 0) >= 0);
        }
        settle(w.l, fd);
        assert_int_equal(w.calls, 20);
        loop_unwatch(w.l, w.w);
        assert_int_equal(eventfd_write(w.fd, 1), 0);
        settle(w.l, fd);
        assert_int_equal(w.calls, 20);
        assert_int_equal(close(w.fd), 0);
        loop_free(w.l);
    }
}

static void *
write_later(void *user)
{
    (void)usleep(20000);
    assert_int_equal(write(*(int *)user, "x", 1), 1);
    return NULL;
}

/* Another thread's write ends the sleep of the loop. */
static void
test_watch_wakes(void **state)
{
    struct watched w = {.l = make_loop(0)};
    pthread_t t;
    int p[2];

    (void)state;
    assert_int_equal(pipe2(p, O_NONBLOCK | O_CLOEXEC), 0);
    w.fd = p[0];
    assert_int_equal(loop_watch(w.l, p[0], on_watched, &w, &w.w), 0);
    assert_int_equal(pthread_create(&t, NULL, write_later, &p[1]), 0);
    while (w.calls == 0)
        assert_true(loop_run(w.l, -1) >= 0);
    assert_int_equal(w.got, 1);
    assert_int_equal(pthread_join(t, NULL), 0);
    loop_unwatch(w.l, w.w);
    assert_int_equal(close(p[0]) + close(p[1]), 0);
    loop_free(w.l);
}

/* A file is always ready: to watch one would keep the loop from sleeping. */
static void
test_files_are_not_watched(void **state)
{
    struct loop *l = make_loop(0);
    struct loop_watch *no = NULL;
    int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC),
        dir = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    (void)state;
    assert_true(file >= 0 && dir >= 0);
    assert_int_equal(loop_watch(l, file, on_watched, NULL, &no), -EPERM);
    assert_int_equal(loop_watch(l, dir, on_watched, NULL, &no), -EPERM);
    assert_int_equal(loop_watch(l, -1, on_watched, NULL, &no), -EBADF);
    assert_null(no);
    assert_int_equal(close(file) + close(dir), 0);
    loop_free(l);
}

/* What another process hands over may be anything: it is closed all the same. */
static void
test_any_descriptor_is_closed(void **state)
{
    struct loop *l = make_loop(0);
    struct end e = {0};
    int p[2];
    char c;

    (void)state;
    assert_int_equal(pipe(p), 0);
    assert_true(stream_adopt(l, p[1], &events, &e, &e.s) < 0); /* it stays ours */
    loop_close_fd(l, p[1]);
    assert_int_equal(read(p[0], &c, 1), 0); /* nobody can write any more */
    loop_close_fd(l, p[0]);
    loop_close_fd(l, -1);
    loop_free(l);
}

static void
note_peer(void *user, struct stream *s, const struct sock_addr *peer)
{
    *(struct sock_addr *)user = *peer;
    stream_close(s);
}

static const struct stream_events note_peers = {.accepted = note_peer};

static struct sock_addr
ip4(uint32_t host)
{
    struct sock_addr a = {.len = sizeof(struct sockaddr_in)};

    ((struct sockaddr_in *)(void *)&a.ss)->sin_family = AF_INET;
    ((struct sockaddr_in *)(void *)&a.ss)->sin_addr.s_addr = htonl(host);
    return a;
}

/* What a connection is bound to, or why it is not made. */
static void
test_bound(void **state)
{
    struct stream_opts from = {.device = "lo", .source = ip4(0x7f000005)},
                       other = {.nodelay = true};
    struct sock_addr at = ip4(INADDR_LOOPBACK), bound, peer = {.len = 0};
    struct loop *l = make_loop(0);
    struct stream *listener, *no;
    struct end c = {0};
    char text[64];
    int fd = loop_fd(l);

    (void)state;
    assert_int_equal(stream_listen(l, &at, &note_peers, &peer, &listener, &bound), 0);
    assert_int_equal(stream_connect(l, &bound, &from, &events, &c, &c.s), 0);
    while (peer.len == 0 || c.connected == 0) {
        assert_true(readable_within(fd, 5000));
        assert_true(loop_run(l, 0) >= 0);
    }
    assert_memory_equal(sock_addr_format(&peer, text, sizeof(text)), "127.0.0.5:", 10);
    assert_int_equal(stream_set_opts(c.s, &from), 0); /* once connected, neither counts */
    stream_close(c.s);

    (void)strcpy(other.device, "nodevice");
    assert_int_equal(stream_connect(l, &bound, &other, &events, &c, &no), -ENODEV);
    other = (struct stream_opts){.source = ip4(0xc0000201)}; /* 192.0.2.1, of documentation */
    assert_int_equal(stream_connect(l, &bound, &other, &events, &c, &no), -EADDRNOTAVAIL);
    other.source = (struct sock_addr){.ss.ss_family = AF_INET6, .len = sizeof(struct sockaddr_in6)};
    assert_int_equal(stream_connect(l, &bound, &other, &events, &c, &no), -EAFNOSUPPORT);
    stream_close(listener);
    loop_free(l);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fd_shows_work_and_timers),
        cmocka_unit_test(test_fd_shows_streams),
        cmocka_unit_test(test_bound),
        cmocka_unit_test(test_any_descriptor_is_closed),
        cmocka_unit_test(test_fd_shows_watches),
        cmocka_unit_test(test_fd_shows_eventfds_at_once),
        cmocka_unit_test(test_watch_wakes),
        cmocka_unit_test(test_files_are_not_watched),
        cmocka_unit_test(test_post_from_threads),
        cmocka_unit_test(test_loop_belongs_to_who_runs_it),
        cmocka_unit_test(test_free_while_cancelled_lookups_run),
        cmocka_unit_test(test_signal_ends_run),
        cmocka_unit_test(test_no_call_but_the_io),
        cmocka_unit_test(test_spinning_still_sleeps),
        cmocka_unit_test(test_spinning_adapts),
        cmocka_unit_test(test_accept_without_descriptors),
        cmocka_unit_test(test_thousands_ready_at_once),
        cmocka_unit_test(test_io_uring_forbidden),
        cmocka_unit_test(test_epoll_pwait2_missing),
        cmocka_unit_test(test_misuse_aborts),
    };

    struct loop_config cfg = {LOOP_EPOLL, 0, 0};
    struct lunette_error err;
    struct loop *l = NULL;

    if (argc > 1 && strcmp(argv[1], "uring") == 0)
        cfg.kind = LOOP_URING;
    if (loop_new(&cfg, &l, &err) < 0) {
        print_message("%s\n", err.msg);
        return 77;
    }
    loop_free(l);
    kind = cfg.kind;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
