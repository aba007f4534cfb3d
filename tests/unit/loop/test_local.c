/* SPDX-License-Identifier: MIT */
/* Local sockets of the real loops: their files, listeners of others, and descriptors that are too
 * many.  "test_local epoll" or "uring". */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "loop/loop.h"
#include "tests/support/loop_kind.h"
#include "tests/test.h"

#define RACERS 16

static enum loop_kind kind;

struct world {
    struct loop *l;
    char dir[64], path[80];
    struct sock_addr at;
    int accepted;
    struct stream *conn;
};

static const struct stream_events conn_events = {.readable = NULL};

static void
on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct world *w = user;

    (void)peer;
    w->accepted++;
    if (w->conn != NULL)
        stream_close(w->conn);
    w->conn = s;
    stream_set_events(s, &conn_events, w);
}

static const struct stream_events listener_events = {.accepted = on_accepted};

static struct loop *
make_loop(void)
{
    struct loop_config cfg = {.kind = kind};
    struct loop *l = NULL;

    assert_int_equal(loop_new(&cfg, &l, NULL), 0);
    return l;
}

static void
world_open(struct world *w)
{
    memset(w, 0, sizeof(*w));
    w->l = make_loop();
    strcpy(w->dir, "/tmp/lunette-local-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->path, sizeof(w->path), "%s/sock", w->dir);
    assert_int_equal(sock_addr_local(w->path, strlen(w->path), &w->at, NULL), 0);
}

static void
world_close(struct world *w)
{
    if (w->conn != NULL)
        stream_close(w->conn);
    loop_free(w->l);
    (void)unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0);
}

static int
listen_at(struct world *w, struct stream **ret)
{
    return stream_listen(w->l, &w->at, &listener_events, w, ret, NULL);
}

static bool
exists(const char *path)
{
    struct stat st;

    return lstat(path, &st) == 0;
}

/* A socket that is bound and perhaps listens, without a loop. */
static int
plain_socket(const struct sock_addr *at, int type, bool listening)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (const void *)&at->ss, at->len), 0);
    if (listening)
        assert_int_equal(listen(fd, 8), 0);
    return fd;
}

static int
plain_connect(const struct sock_addr *at, int type)
{
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const void *)&at->ss, at->len), 0);
    return fd;
}

static void
test_the_file_is_the_owners_alone(void **state)
{
    struct stream *s = NULL;
    struct world w;
    struct stat st;
    mode_t mask = umask(0);

    (void)state;
    world_open(&w);
    assert_int_equal(listen_at(&w, &s), 0);
    (void)umask(mask);
    assert_int_equal(lstat(w.path, &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0600);
    stream_close(s);
    assert_false(exists(w.path));
    world_close(&w);
}

static void
test_a_file_of_the_dead_is_replaced(void **state)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct stream *s = NULL;
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < 3; i++) {
        (void)close(plain_socket(&w.at, types[i], false));
        assert_true(exists(w.path));
        assert_int_equal(listen_at(&w, &s), 0);
        (void)close(plain_connect(&w.at, SOCK_STREAM));
        stream_close(s);
        (void)close(plain_socket(&w.at, types[i], false));
        assert_int_equal(stream_listen_packets(w.l, &w.at, &listener_events, &w, &s), 0);
        stream_close(s);
    }
    world_close(&w);
}

static void
test_what_is_alive_stays(void **state)
{
    static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM};
    struct stream *s = NULL;
    struct world w;

    (void)state;
    world_open(&w);
    for (size_t i = 0; i < 3; i++) {
        int fd = plain_socket(&w.at, types[i], i < 2), full[32], n = 0;

        assert_int_equal(listen_at(&w, &s), -EADDRINUSE);
        for (; i == 0 && n < 32; n++) { /* nor one with so many waiting that nobody gets in */
            full[n] = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
            (void)connect(full[n], (const void *)&w.at.ss, w.at.len);
        }
        assert_int_equal(listen_at(&w, &s), -EADDRINUSE);
        while (n > 0)
            (void)close(full[--n]);
        assert_true(exists(w.path));
        (void)close(fd);
        (void)unlink(w.path);
    }
    world_close(&w);
}

static void
test_what_is_no_socket_stays(void **state)
{
    struct stream *s = NULL;
    struct world w;
    int fd;

    (void)state;
    world_open(&w);
    fd = open(w.path, O_CREAT | O_WRONLY, 0600);
    assert_true(fd >= 0);
    (void)close(fd);
    assert_int_equal(listen_at(&w, &s), -EADDRINUSE);
    assert_true(exists(w.path));
    assert_int_equal(unlink(w.path), 0);
    assert_int_equal(symlink("nowhere", w.path), 0);
    assert_int_equal(listen_at(&w, &s), -EADDRINUSE);
    assert_true(exists(w.path));
    assert_int_equal(unlink(w.path), 0);
    assert_int_equal(mkdir(w.path, 0700), 0);
    assert_int_equal(listen_at(&w, &s), -EADDRINUSE);
    assert_int_equal(rmdir(w.path), 0);
    assert_int_equal(sock_addr_local("/nonexistent/x", 14, &w.at, NULL), 0);
    assert_int_equal(listen_at(&w, &s), -ENOENT);
    world_close(&w);
}

/* Somebody took the file away, and another listens there now. */
static void
test_a_file_of_another_is_not_removed(void **state)
{
    struct stream *first = NULL, *second = NULL;
    struct world w;

    (void)state;
    world_open(&w);
    assert_int_equal(listen_at(&w, &first), 0);
    assert_int_equal(unlink(w.path), 0);
    assert_int_equal(listen_at(&w, &second), 0);
    stream_close(first);
    assert_true(exists(w.path));
    (void)close(plain_connect(&w.at, SOCK_STREAM));
    stream_close(second);
    assert_false(exists(w.path));
    world_close(&w);
}

/* Many processes find a stale file at once: one of them gets it, and the file is its own. */
static void
test_one_of_many_replaces_it(void **state)
{
    int go[2], told[2];
    struct world w;
    char c, won[RACERS];
    pid_t racer[RACERS];
    int winners = 0;

    (void)state;
    world_open(&w);
    (void)close(plain_socket(&w.at, SOCK_STREAM, false));
    assert_int_equal(pipe(go) + pipe(told), 0);
    for (int i = 0; i < RACERS; i++) {
        racer[i] = fork();
        if (racer[i] == 0) {
            struct stream *s = NULL;
            struct loop *l = make_loop();
            char ok;

            (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* also when the test fails */
            (void)close(go[1]);
            (void)!read(go[0], &c, 1);
            ok = (char)(stream_listen(l, &w.at, &listener_events, &w, &s, NULL) == 0);
            (void)!write(told[1], &ok, 1);
            pause();
            _exit(0);
        }
    }
    (void)close(go[1]);
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(read(told[0], &won[i], 1), 1);
        winners += won[i];
    }
    assert_int_equal(winners, 1);
    (void)close(plain_connect(&w.at, SOCK_STREAM));
    for (int i = 0; i < RACERS; i++) {
        assert_int_equal(kill(racer[i], SIGKILL), 0);
        assert_int_equal(waitpid(racer[i], NULL, 0), racer[i]);
    }
    (void)close(go[0]);
    (void)close(told[0]);
    (void)close(told[1]);
    world_close(&w);
}

static void (*before_listen)(void); /* called once */

/* Stands before the system's in this program. */
int
listen(int fd, int backlog)
{
    void (*fn)(void) = before_listen;

    before_listen = NULL;
    if (fn != NULL)
        fn();
    return (int)syscall(SYS_listen, fd, backlog);
}

static struct {
    struct world *w;
    struct loop *l;
    struct stream *s;
    int r;
} rival;

static void
rival_listens(void)
{
    rival.r = stream_listen(rival.l, &rival.w->at, &listener_events, rival.w, &rival.s, NULL);
}

/* A file whose owner is about to listen looks as one whose owner is dead. */
static void
test_one_that_is_about_to_listen_is_not_replaced(void **state)
{
    (void)state;
    for (int stale = 0; stale < 2; stale++) {
        struct stream *s = NULL;
        struct world w;
        int client;

        world_open(&w);
        if (stale)
            (void)close(plain_socket(&w.at, SOCK_STREAM, false));
        rival.w = &w;
        rival.l = make_loop();
        before_listen = rival_listens;
        assert_int_equal(listen_at(&w, &s), 0);
        assert_null(before_listen);
        assert_int_equal(rival.r, -EADDRINUSE);
        client = plain_connect(&w.at, SOCK_STREAM);
        while (w.accepted == 0)
            assert_true(loop_run(w.l, 5 * (int64_t)LOOP_NS_PER_S) > 0);
        (void)close(client);
        stream_close(s);
        loop_free(rival.l);
        world_close(&w);
    }
}

static void
test_listeners_of_others(void **state)
{
    struct stream *s = NULL;
    struct world w;
    int fd, client;

    (void)state;
    world_open(&w);
    fd = plain_socket(&w.at, SOCK_STREAM, false);
    assert_int_equal(stream_adopt_listener(w.l, fd, &listener_events, &w, &s), -EINVAL);
    assert_int_equal(listen(fd, 8), 0);
    assert_int_equal(stream_adopt_packet_listener(w.l, fd, &listener_events, &w, &s), -EPROTOTYPE);
    assert_int_equal(stream_adopt_listener(w.l, 9999, &listener_events, &w, &s), -EBADF);
    assert_int_equal(stream_adopt_listener(w.l, fd, &listener_events, &w, &s), 0);
    client = plain_connect(&w.at, SOCK_STREAM);
    while (w.accepted == 0)
        assert_true(loop_run(w.l, 5 * (int64_t)LOOP_NS_PER_S) > 0);
    assert_true(loop_run(w.l, 0) >= 0); /* it did not block in accept */
    stream_close(s);
    assert_true(exists(w.path)); /* the file is the service manager's */
    (void)close(client);
    world_close(&w);
}

/* Who connects sees us, and not the process that has listened and ended since. */
static void
test_an_adopted_listener_is_ours(void **state)
{
    struct ucred who = {.pid = 0};
    socklen_t len = sizeof(who);
    struct stream *s = NULL;
    struct world w;
    int fd, client, status = -1;
    pid_t manager;

    (void)state;
    world_open(&w);
    fd = plain_socket(&w.at, SOCK_STREAM, false);
    manager = fork();
    if (manager == 0)
        _exit(listen(fd, 8) == 0 ? 0 : 1);
    assert_int_equal(waitpid(manager, &status, 0), manager);
    assert_int_equal(status, 0);
    assert_int_equal(stream_adopt_listener(w.l, fd, &listener_events, &w, &s), 0);
    client = plain_connect(&w.at, SOCK_STREAM);
    assert_int_equal(getsockopt(client, SOL_SOCKET, SO_PEERCRED, &who, &len), 0);
    assert_int_equal(who.pid, getpid());
    while (w.accepted == 0)
        assert_true(loop_run(w.l, 5 * (int64_t)LOOP_NS_PER_S) > 0);
    stream_close(s);
    (void)close(client);
    world_close(&w);
}

/* A packet with n descriptors of one pipe, whose other end is returned. */
static int
send_many(int fd, int n)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(64 * sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec iov = {"x", 1};
    struct msghdr msg = {.msg_iov = &iov,
                         .msg_iovlen = 1,
                         .msg_control = control.bytes,
                         .msg_controllen = CMSG_SPACE((size_t)n * sizeof(int))};
    struct cmsghdr *c = CMSG_FIRSTHDR(&msg);
    int ends[2];

    assert_int_equal(pipe2(ends, O_NONBLOCK), 0);
    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN((size_t)n * sizeof(int));
    for (int i = 0; i < n; i++)
        memcpy(CMSG_DATA(c) + (size_t)i * sizeof(int), &ends[1], sizeof(int));
    assert_int_equal(sendmsg(fd, &msg, 0), 1);
    (void)close(ends[1]);
    return ends[0];
}

static void
test_too_many_descriptors(void **state)
{
    struct stream *s = NULL;
    struct loop *l = make_loop();
    int sv[2], fd;
    char buf[8];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
    assert_int_equal(stream_adopt_packets(l, sv[0], &conn_events, NULL, &s), 0);
    for (int n = 2; n <= 64; n = n < 4 ? n + 1 : n * 4) {
        int left = send_many(sv[1], n);

        assert_int_equal(stream_recv_packet(s, buf, sizeof(buf), &fd), -EPROTO);
        assert_int_equal(fd, -1);
        assert_int_equal(read(left, buf, 1), 0); /* all of them are closed */
        (void)close(left);
    }
    (void)close(send_many(sv[1], 1));
    assert_int_equal(stream_recv_packet(s, buf, sizeof(buf), &fd), 1);
    assert_true(fd >= 0);
    loop_close_fd(l, fd);
    stream_close(s);
    (void)close(sv[1]);
    loop_free(l);
}

/* The packet arrives all the same, and it is known that a descriptor was lost. */
static void
test_no_room_for_a_descriptor(void **state)
{
    struct rlimit old, none;
    struct stream *s = NULL;
    struct loop *l = make_loop();
    int sv[2], fd = 0, left;
    char buf[8];

    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv), 0);
    assert_int_equal(stream_adopt_packets(l, sv[0], &conn_events, NULL, &s), 0);
    left = send_many(sv[1], 1);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &old), 0);
    none = old;
    none.rlim_cur = 0;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    assert_int_equal(stream_recv_packet(s, buf, sizeof(buf), &fd), 1);
    assert_int_equal(fd, -EMFILE);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &old), 0);
    assert_int_equal(read(left, buf, 1), 0);
    (void)close(left);
    stream_close(s);
    (void)close(sv[1]);
    loop_free(l);
}

static char taken[64];
static size_t taken_len;

/* Receives once, as most owners do. */
static void
on_bytes(void *user)
{
    struct iovec iov = {taken + taken_len, sizeof(taken) - taken_len};
    ssize_t r = stream_recvv(*(struct stream **)user, &iov, 1);

    assert_true(r > 0 || r == -EAGAIN);
    taken_len += r > 0 ? (size_t)r : 0;
}

/* A receive of a stream stops behind a descriptor that came along, and what is behind it is not
 * forgotten; otherwise one that did not fill its room is known to have emptied the socket. */
static void
test_short_receives(void **state)
{
    static const struct stream_events events = {.readable = on_bytes};
    struct stream *s = NULL;
    struct loop *l = make_loop();
    uint64_t recvs;
    int sv[2];

    (void)state;
    taken_len = 0;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sv), 0);
    assert_int_equal(stream_adopt(l, sv[0], &events, &s, &s), 0);
    for (int i = 0; i < 3; i++) {
        int left = send_many(sv[1], i + 1);

        assert_int_equal(write(sv[1], "ab", 2), 2);
        (void)close(left);
    }
    for (int i = 0; i < 100 && taken_len < 9; i++)
        assert_true(loop_run(l, LOOP_NS_PER_S / 100) >= 0);
    assert_int_equal(taken_len, 9);
    assert_memory_equal(taken, "xabxabxab", 9);
    recvs = l->stats.recvs;
    assert_int_equal(write(sv[1], "d", 1), 1);
    for (int i = 0; i < 10; i++)
        assert_true(loop_run(l, LOOP_NS_PER_S / 100) >= 0);
    assert_int_equal(taken_len, 10);
    assert_int_equal(l->stats.recvs - recvs, 1);
    (void)close(sv[1]);
    stream_close(s);
    loop_free(l);
}

/* ---- the end of a process, and of a file ----------------------------------------------------- */

/* A process that listens there with a loop, and says so on a pipe before it sleeps in it. */
static pid_t
listening_process(struct world *w, const struct sock_addr *at)
{
    int told[2];
    pid_t pid;
    char ok;

    assert_int_equal(pipe(told), 0);
    pid = fork();
    if (pid == 0) {
        struct stream *s = NULL;
        struct loop *l = make_loop();

        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        ok = (char)(stream_listen(l, at, &listener_events, w, &s, NULL) == 0);
        (void)loop_run(l, 0);
        (void)!write(told[1], &ok, 1);
        for (;;)
            (void)loop_run(l, -1);
    }
    (void)close(told[1]);
    assert_int_equal(read(told[0], &ok, 1), 1);
    assert_true(ok);
    (void)close(told[0]);
    return pid;
}

static void
abstract_name(struct sock_addr *ret)
{
    char name[64];
    int n = 1 + snprintf(name + 1, sizeof(name) - 1, "lunette-test-local-%ld", (long)getpid());

    name[0] = '\0';
    assert_int_equal(sock_addr_local(name, (size_t)n, ret, NULL), 0);
}

/* As soon as a process is gone, nobody listens at its names, whatever the loop waited with. */
static void
test_a_listener_is_gone_with_its_process(void **state)
{
    struct sock_addr names[2];
    struct world w;

    (void)state;
    world_open(&w);
    names[0] = w.at;
    abstract_name(&names[1]);
    for (int i = 0; i < 60; i++) {
        const struct sock_addr *at = &names[i % 2];
        pid_t pid = listening_process(&w, at);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
        assert_int_equal(connect(fd, (const void *)&at->ss, at->len), -1);
        assert_int_equal(errno, ECONNREFUSED);
        (void)close(fd);
    }
    world_close(&w);
}

/* Whoever takes the place of a process that was killed need not wait for its end. */
static void
test_a_process_that_was_killed_is_waited_for(void **state)
{
    struct sock_addr names[2];
    struct world w;

    (void)state;
    world_open(&w);
    names[0] = w.at;
    abstract_name(&names[1]);
    for (int i = 0; i < 60; i++) {
        pid_t pid = listening_process(&w, &names[i % 2]);
        struct stream *s = NULL;

        assert_int_equal(kill(pid, SIGKILL), 0);
        assert_int_equal(stream_listen(w.l, &names[i % 2], &listener_events, &w, &s, NULL), 0);
        stream_close(s);
        assert_int_equal(waitpid(pid, NULL, 0), pid);
    }
    world_close(&w);
}

/* A process that listens without accepting, is killed, and is held up at its end for as long as a
 * large core would take; *ret_tracer is the one that holds it. */
static void
start_slow_end(const struct sock_addr *at, pid_t *ret_tracer)
{
    int told[2];
    char ok = 0;

    assert_int_equal(pipe(told), 0);
    *ret_tracer = fork();
    if (*ret_tracer == 0) {
        pid_t pid = fork();
        int status;

        if (pid == 0) {
            (void)ptrace(PTRACE_TRACEME, 0, NULL, NULL);
            (void)plain_socket(at, SOCK_STREAM, true);
            (void)raise(SIGSTOP);
            _exit(1);
        }
        (void)waitpid(pid, &status, 0);
        ok = (char)(ptrace(PTRACE_SETOPTIONS, pid, NULL, (void *)PTRACE_O_TRACEEXIT) == 0 &&
                    kill(pid, SIGKILL) == 0 && waitpid(pid, &status, 0) == pid &&
                    WIFSTOPPED(status) && status >> 16 == PTRACE_EVENT_EXIT);
        (void)!write(told[1], &ok, 1);
        (void)usleep(300000);
        (void)ptrace(PTRACE_CONT, pid, NULL, NULL);
        (void)waitpid(pid, &status, 0);
        _exit(0);
    }
    (void)close(told[1]);
    assert_int_equal(read(told[0], &ok, 1), 1);
    (void)close(told[0]);
    if (!ok) { /* where nobody may trace */
        assert_int_equal(waitpid(*ret_tracer, NULL, 0), *ret_tracer);
        skip();
    }
}

/* However long its end takes, questions do not fill its backlog, which is 8 here: a full one would
 * pass for a listener that stays. */
static void
test_a_slow_end_is_waited_for(void **state)
{
    struct sock_addr names[2];
    struct world w;

    (void)state;
    world_open(&w);
    names[0] = w.at;
    abstract_name(&names[1]);
    for (int i = 0; i < 2; i++) {
        struct stream *s = NULL;
        pid_t tracer;

        start_slow_end(&names[i], &tracer);
        assert_int_equal(stream_listen(w.l, &names[i], &listener_events, &w, &s, NULL), 0);
        stream_close(s);
        assert_int_equal(waitpid(tracer, NULL, 0), tracer);
    }
    world_close(&w);
}

static struct {
    struct world *w;
    struct stream *s;
    int r;
    uint64_t took_ns;
} late;

static void
listen_late(struct loop_timer *t)
{
    struct timespec a, b;

    (void)t;
    (void)clock_gettime(CLOCK_MONOTONIC, &a);
    late.r = listen_at(late.w, &late.s);
    (void)clock_gettime(CLOCK_MONOTONIC, &b);
    late.took_ns =
        (uint64_t)(b.tv_sec - a.tv_sec) * LOOP_NS_PER_S + (uint64_t)b.tv_nsec - (uint64_t)a.tv_nsec;
}

/* Inside a turn nobody waits long for whoever holds the directory locked. */
static void
test_a_turn_is_not_held_up(void **state)
{
    struct loop_timer timer;
    struct world w;
    int dir;

    (void)state;
    world_open(&w);
    (void)close(plain_socket(&w.at, SOCK_STREAM, false)); /* a file that is to be replaced */
    dir = open(w.dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(flock(dir, LOCK_EX), 0);
    late.w = &w;
    loop_timer_init(&timer, listen_late);
    loop_timer_start(w.l, &timer, 0);
    assert_true(loop_run(w.l, (int64_t)LOOP_NS_PER_S) > 0);
    assert_int_equal(late.r, -EAGAIN);
    assert_true(late.took_ns < 100 * LOOP_NS_PER_MS);
    assert_int_equal(listen_at(&w, &late.s), -EADDRINUSE); /* outside it waits for longer */
    (void)close(dir);
    assert_int_equal(listen_at(&w, &late.s), 0);
    stream_close(late.s);
    world_close(&w);
}

static bool
can_connect(const struct sock_addr *at)
{
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool ok = connect(fd, (const void *)&at->ss, at->len) == 0;

    (void)close(fd);
    return ok;
}

static unsigned lines_waiting, lines_again;

static void
count_lines(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    lines_waiting += strstr(line, "connections have to wait") != NULL;
    lines_again += strstr(line, "connections are taken again") != NULL;
}

/* Without descriptors connections wait, which is told once; and they are taken when there are some.
 */
static void
test_connections_wait_for_descriptors(void **state)
{
    static const struct log log = {.level = LOG_LEVEL_INFO, .sink = count_lines};
    struct rlimit before, none;
    struct stream *s = NULL;
    struct world w;
    int fd;

    (void)state;
    world_open(&w);
    w.l->log = &log;
    lines_waiting = lines_again = 0;
    assert_int_equal(listen_at(&w, &s), 0);
    fd = plain_connect(&w.at, SOCK_STREAM);
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = (struct rlimit){(rlim_t)fd, before.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    for (int i = 0; i < 10; i++)
        (void)loop_run(w.l, 50 * (int64_t)LOOP_NS_PER_MS);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(w.accepted, 0);
    assert_int_equal(lines_waiting, 1);
    for (int i = 0; i < 20 && w.accepted == 0; i++)
        (void)loop_run(w.l, 50 * (int64_t)LOOP_NS_PER_MS);
    assert_int_equal(w.accepted, 1);
    assert_int_equal(lines_again, 1);
    (void)close(fd);
    stream_close(s);
    world_close(&w);
}

/* Runs the loop until somebody can connect, or for some seconds. */
static bool
comes_back(struct world *w, const struct sock_addr *at)
{
    for (int i = 0; i < 80 && !can_connect(at); i++)
        (void)loop_run(w->l, 100 * (int64_t)LOOP_NS_PER_MS);
    return can_connect(at);
}

static void
test_a_file_that_is_removed_comes_back(void **state)
{
    struct stream *s = NULL;
    struct world w;
    struct stat st;
    int fd;

    (void)state;
    world_open(&w);
    assert_int_equal(listen_at(&w, &s), 0);
    assert_int_equal(unlink(w.path), 0);
    assert_true(comes_back(&w, &w.at));
    fd = plain_connect(&w.at, SOCK_STREAM);
    while (w.conn == NULL)
        assert_true(loop_run(w.l, (int64_t)LOOP_NS_PER_S) > 0);
    /* its folder, too; who is connected stays so */
    assert_int_equal(unlink(w.path), 0);
    assert_int_equal(rmdir(w.dir), 0);
    assert_true(comes_back(&w, &w.at));
    assert_int_equal(lstat(w.path, &st), 0);
    assert_int_equal(st.st_mode, S_IFSOCK | 0600);
    assert_int_equal(send(fd, "x", 1, MSG_NOSIGNAL), 1);
    (void)close(fd);
    stream_close(s);
    assert_false(exists(w.path));
    world_close(&w);
}

/* Whoever listens there meanwhile is left alone; when it goes, the file is ours again. */
static void
test_a_file_that_another_has_taken(void **state)
{
    struct stream *s = NULL;
    struct world w;
    int other;

    (void)state;
    world_open(&w);
    assert_int_equal(listen_at(&w, &s), 0);
    assert_int_equal(unlink(w.path), 0);
    other = plain_socket(&w.at, SOCK_STREAM, true);
    for (int i = 0; i < 40; i++)
        (void)loop_run(w.l, 100 * (int64_t)LOOP_NS_PER_MS);
    assert_int_equal(w.accepted, 0);
    (void)close(plain_connect(&w.at, SOCK_STREAM));
    (void)close(other);
    assert_true(comes_back(&w, &w.at));
    stream_close(s);
    world_close(&w);
}

static unsigned lines_told;

static void
count_all(void *user, enum log_level level, const char *line)
{
    (void)user;
    (void)level;
    (void)line;
    lines_told++;
}

static unsigned refuse_adds; /* how many more registrations find no memory */

/* Stands before the system's in this program. */
int
epoll_ctl(int epfd, int op, int fd, struct epoll_event *ev)
{
    if (op == EPOLL_CTL_ADD && refuse_adds > 0) {
        refuse_adds--;
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epfd, op, fd, ev);
}

/* A listener whose socket was made anew when there was no memory to wait for it answers as soon as
 * there is some, and may be closed before that. */
static void
test_a_file_comes_back_without_memory(void **state)
{
    struct stream *s = NULL;
    struct world w;

    (void)state;
    if (kind != LOOP_EPOLL) /* the other one asks for nothing when something is added */
        skip();
    for (int closed = 0; closed < 2; closed++) {
        world_open(&w);
        assert_int_equal(listen_at(&w, &s), 0);
        assert_int_equal(unlink(w.path), 0);
        refuse_adds = 1;
        assert_true(comes_back(&w, &w.at)); /* nobody would be told */
        assert_int_equal(refuse_adds, 0);
        assert_int_equal(w.accepted, 0);
        for (int i = 0; i < 40 && !closed && w.accepted == 0; i++)
            (void)loop_run(w.l, 100 * (int64_t)LOOP_NS_PER_MS);
        assert_int_equal(w.accepted > 0, !closed);
        stream_close(s);
        assert_false(exists(w.path));
        world_close(&w);
    }
}

/* A file that was only touched is the same as before. */
static void
test_a_file_that_is_touched(void **state)
{
    static const struct log log = {.level = LOG_LEVEL_WARN, .sink = count_all};
    static const struct timespec then[2] = {{1, 0}, {1, 0}};
    struct stream *s = NULL;
    struct world w;

    (void)state;
    world_open(&w);
    w.l->log = &log;
    lines_told = 0;
    assert_int_equal(listen_at(&w, &s), 0);
    assert_int_equal(utimensat(AT_FDCWD, w.path, then, AT_SYMLINK_NOFOLLOW), 0);
    for (int i = 0; i < 40; i++)
        (void)loop_run(w.l, 100 * (int64_t)LOOP_NS_PER_MS);
    assert_int_equal(lines_told, 0);
    assert_int_equal(w.accepted, 0); /* nobody asked whether anybody listens */
    stream_close(s);
    assert_false(exists(w.path));
    world_close(&w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_file_is_the_owners_alone),
        cmocka_unit_test(test_a_listener_is_gone_with_its_process),
        cmocka_unit_test(test_a_process_that_was_killed_is_waited_for),
        cmocka_unit_test(test_a_slow_end_is_waited_for),
        cmocka_unit_test(test_a_turn_is_not_held_up),
        cmocka_unit_test(test_connections_wait_for_descriptors),
        cmocka_unit_test(test_a_file_that_is_removed_comes_back),
        cmocka_unit_test(test_a_file_that_another_has_taken),
        cmocka_unit_test(test_a_file_that_is_touched),
        cmocka_unit_test(test_a_file_comes_back_without_memory),
        cmocka_unit_test(test_a_file_of_the_dead_is_replaced),
        cmocka_unit_test(test_what_is_alive_stays),
        cmocka_unit_test(test_what_is_no_socket_stays),
        cmocka_unit_test(test_a_file_of_another_is_not_removed),
        cmocka_unit_test(test_one_of_many_replaces_it),
        cmocka_unit_test(test_one_that_is_about_to_listen_is_not_replaced),
        cmocka_unit_test(test_listeners_of_others),
        cmocka_unit_test(test_an_adopted_listener_is_ours),
        cmocka_unit_test(test_too_many_descriptors),
        cmocka_unit_test(test_no_room_for_a_descriptor),
        cmocka_unit_test(test_short_receives),
    };
    int r = loop_kind_named(argc, argv, &kind);

    return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
