/* SPDX-License-Identifier: MIT */
/* New connections over real local sockets: which loop is meant, moving to its thread, and those who
 * say nothing or the wrong thing.  "test_acceptor epoll" or "uring". */
#include "tests/support/alloc_fail.h"
#include "tests/test.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dataplane/dataplane.h"
#include "ipc/acceptor.h"
#include "ipc/socket.h"
#include "loop/loop.h"
#include "tests/support/loop_kind.h"
#include "tests/support/loop_until.h"
#include "transport/transport.h"

#define LIMIT_NS (20 * LOOP_NS_PER_S)
#define PLANES   3

static enum loop_kind kind;

/* One loop of the process that has the sessions, with its thread; number 0 runs in the test's. */
struct plane {
    uint32_t index;
    pthread_t thread;
    struct loop *l;
    struct dataplane *dp;
    struct loop_work stop;
    bool stopping;
    struct ipc_socket *k;
    struct ipc_encoded_server *end;
    uint64_t generation;
};

/* A client on its way to another thread. */
struct move {
    struct loop_work work;
    struct plane *to;
    struct ipc_packet *hello;
    int fd;
};

struct world {
    struct plane plane[PLANES];
    struct transport_registry registry;
    struct ipc_acceptor *acceptor;
    char dir[64], path[80];
    struct sock_addr at;
};

/* What the control plane has for each loop. */
struct client {
    struct world *w;
    struct stream *s;
    struct ipc_socket *k;
    struct ipc_encoded_client *end;
    struct iscsi_reply reply;
    struct lunette_error why;
    unsigned replies, gone;
    uint32_t loop, version;
};

/* ---- the process with the sessions ---------------------------------------------------------- */

static const struct stream_events no_events = {.readable = NULL};

static void
plane_forget(struct plane *p)
{
    dataplane_detach(p->dp, p->generation);
    ipc_encoded_server_free(p->end);
    ipc_socket_free(p->k);
    p->end = NULL;
    p->k = NULL;
}

static void
on_client_gone(void *user, const struct lunette_error *why)
{
    (void)why;
    plane_forget(user);
}

/* The newest client wins. */
static void
plane_attach(struct plane *p, struct stream *s, struct ipc_packet *hello)
{
    struct ipc_client client;

    if (p->k != NULL)
        plane_forget(p);
    assert(ipc_socket_server_new(s, hello, on_client_gone, p, &p->k) == 0);
    assert(ipc_encoded_server_new(ipc_socket_carrier(p->k), &dataplane_server_ops, p->dp,
                                  ipc_socket_broken, p->k, &p->end, &client) == 0);
    client.hello = true;
    p->generation = dataplane_set_client(p->dp, &client);
}

static void
on_moved(struct loop_work *w)
{
    struct move *m = container_of(w, struct move, work);
    struct stream *s = NULL;

    assert(stream_adopt_packets(m->to->l, m->fd, &no_events, NULL, &s) == 0);
    plane_attach(m->to, s, m->hello);
    free(m);
}

static void
on_accepted(void *user, uint32_t loop, struct stream *s, struct ipc_packet *hello)
{
    struct world *w = user;
    struct move *m;

    if (loop == 0) {
        plane_attach(&w->plane[0], s, hello);
        return;
    }
    m = calloc(1, sizeof(*m));
    assert_non_null(m);
    m->to = &w->plane[loop];
    m->hello = hello;
    m->fd = stream_release(s);
    loop_work_init(&m->work, on_moved);
    loop_post(m->to->l, &m->work);
}

static void
on_stop(struct loop_work *w)
{
    container_of(w, struct plane, stop)->stopping = true;
}

static void *
plane_run(void *arg)
{
    struct plane *p = arg;

    while (!p->stopping)
        assert(loop_run(p->l, -1) >= 0);
    if (p->k != NULL)
        plane_forget(p);
    return NULL;
}

static struct world *
world_new(void)
{
    struct world *w = calloc(1, sizeof(*w));
    struct loop_config cfg = {.kind = kind};
    struct lunette_error err;

    assert_non_null(w);
    assert_int_equal(transport_register(&w->registry, &sw_tcp_transport, NULL), 0);
    strcpy(w->dir, "/tmp/lunette-accept-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->path, sizeof(w->path), "%s/sock", w->dir);
    assert_int_equal(sock_addr_local(w->path, strlen(w->path), &w->at, NULL), 0);
    for (uint32_t i = 0; i < PLANES; i++) {
        struct plane *p = &w->plane[i];

        p->index = i;
        assert_int_equal(loop_new(&cfg, &p->l, NULL), 0);
        assert_int_equal(dataplane_new(p->l, &w->registry, &p->dp, NULL), 0);
        dataplane_set_loops(p->dp, i, PLANES);
        loop_work_init(&p->stop, on_stop);
        if (i > 0)
            assert_int_equal(pthread_create(&p->thread, NULL, plane_run, p), 0);
    }
    if (ipc_acceptor_new(w->plane[0].l, &w->at, -1, PLANES, on_accepted, w, &w->acceptor, &err) < 0)
        fail_msg("%s", err.msg);
    return w;
}

static void
world_free(struct world *w)
{
    ipc_acceptor_free(w->acceptor);
    for (uint32_t i = 0; i < PLANES; i++) {
        struct plane *p = &w->plane[i];

        if (i > 0) {
            loop_post(p->l, &p->stop);
            assert_int_equal(pthread_join(p->thread, NULL), 0);
        } else if (p->k != NULL) {
            plane_forget(p);
        }
        dataplane_free(p->dp);
        loop_free(p->l);
    }
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
}

/* ---- clients -------------------------------------------------------------------------------- */

#define UNTIL(w, cond) LOOP_UNTIL((w)->plane[0].l, cond)

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct client *c = user;

    c->reply = *rep;
    c->why = rep->why;
    c->replies++;
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    (void)user;
    (void)ev;
    (void)data;
}

static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

static void
client_close(struct client *c)
{
    if (c->end != NULL)
        ipc_encoded_client_free(c->end);
    ipc_socket_free(c->k);
    c->end = NULL;
    c->k = NULL;
}

static void
on_server_gone(void *user, const struct lunette_error *why)
{
    struct client *c = user;

    (void)why;
    c->gone++;
    client_close(c);
}

static void
ask(struct client *c, enum iscsi_uevent_type type)
{
    struct iscsi_uevent ev = {.type = type};

    if (type == ISCSI_UEVENT_HELLO)
        ev.u.hello.min = ev.u.hello.max = c->version;
    if (type == ISCSI_UEVENT_HELLO)
        ev.u.hello.loop = c->loop;
    assert_int_equal(ipc_request(ipc_encoded_client_ipc(c->end), &ev, NULL, 0), 0);
}

static void
on_connected(void *user, int err)
{
    struct client *c = user;
    struct ipc *ipc;

    assert_int_equal(err, 0);
    assert_int_equal(ipc_socket_client_new(c->s, on_server_gone, c, &c->k), 0);
    assert_int_equal(
        ipc_encoded_client_new(ipc_socket_carrier(c->k), ipc_socket_broken, c->k, &c->end), 0);
    ipc = ipc_encoded_client_ipc(c->end);
    ipc->ev = &client_events;
    ipc->ev_user = c;
    ask(c, ISCSI_UEVENT_HELLO);
    ask(c, ISCSI_UEVENT_LIST_SESSIONS); /* it is not lost on the way to another thread */
}

static const struct stream_events connect_events = {.connected = on_connected};

static void
client_open(struct world *w, struct client *c, uint32_t loop)
{
    *c = (struct client){.w = w, .loop = loop, .version = IPC_VERSION_MAX};
    assert_int_equal(stream_connect_packets(w->plane[0].l, &w->at, &connect_events, c, &c->s), 0);
}

static void
test_each_loop_has_its_client(void **state)
{
    unsigned before = count_fds();
    struct world *w = world_new();
    struct client c[PLANES];

    (void)state;
    for (uint32_t i = 0; i < PLANES; i++)
        client_open(w, &c[i], i);
    for (uint32_t i = 0; i < PLANES; i++) {
        UNTIL(w, c[i].replies == 2);
        assert_int_equal(c[i].reply.type, ISCSI_UEVENT_LIST_SESSIONS);
        assert_int_equal(c[i].reply.err, 0);
        ask(&c[i], ISCSI_UEVENT_HELLO);
    }
    for (uint32_t i = 0; i < PLANES; i++) {
        UNTIL(w, c[i].replies == 3);
        assert_int_equal(c[i].reply.r.hello.loops, PLANES);
        assert_int_equal(c[i].reply.r.hello.generation, 1);
    }
    for (uint32_t i = 0; i < PLANES; i++)
        client_close(&c[i]);
    assert_int_equal(ipc_acceptor_get_stats(w->acceptor)->accepted, PLANES);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

static void
test_the_newest_wins(void **state)
{
    struct world *w = world_new();
    struct client old, new;

    (void)state;
    client_open(w, &old, 1);
    UNTIL(w, old.replies == 2);
    client_open(w, &new, 1);
    UNTIL(w, new.replies == 2 && old.gone == 1);
    ask(&new, ISCSI_UEVENT_HELLO);
    UNTIL(w, new.replies == 3);
    assert_int_equal(new.reply.r.hello.generation, 2);
    client_close(&new);
    world_free(w);
}

/* A client that cannot be served is told so, and takes nobody's place. */
static void
test_refused_without_harm(void **state)
{
    struct world *w = world_new();
    struct client good, bad;

    (void)state;
    client_open(w, &good, 0);
    UNTIL(w, good.replies == 2);
    client_open(w, &bad, PLANES);
    UNTIL(w, bad.gone == 1);
    assert_int_equal(bad.replies, 1);
    assert_int_equal(bad.reply.type, ISCSI_UEVENT_HELLO);
    assert_int_equal(bad.reply.err, -EINVAL);
    assert_non_null(strstr(bad.why.msg, "this data plane has 3"));
    client_open(w, &bad, 0);
    bad.version = IPC_VERSION_MAX + 1;
    UNTIL(w, bad.gone == 1);
    assert_int_equal(bad.reply.err, -EPROTONOSUPPORT);
    ask(&good, ISCSI_UEVENT_LIST_SESSIONS);
    UNTIL(w, good.replies == 3);
    assert_int_equal(good.reply.err, 0);
    assert_int_equal(good.gone, 0);
    assert_int_equal(ipc_acceptor_get_stats(w->acceptor)->refused, 2);
    client_close(&good);
    world_free(w);
}

/* ---- those who say nothing, or the wrong thing ---------------------------------------------- */

static int
plain_connect(struct world *w)
{
    int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (const void *)&w->at.ss, w->at.len), 0);
    return fd;
}

static bool
is_closed(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};

    return poll(&p, 1, 0) == 1 && (p.revents & POLLHUP);
}

static void
test_silence_ends(void **state)
{
    struct world *w = world_new();
    const struct ipc_acceptor_stats *st = ipc_acceptor_get_stats(w->acceptor);
    struct client c;
    int fd[3];

    (void)state;
    ipc_acceptor_set_hello_ms(w->acceptor, 100);
    for (int i = 0; i < 3; i++)
        fd[i] = plain_connect(w);
    UNTIL(w, st->silent == 3);
    for (int i = 0; i < 3; i++) {
        assert_true(is_closed(fd[i]));
        (void)close(fd[i]);
    }
    (void)close(plain_connect(w)); /* one that goes by itself */
    UNTIL(w, st->silent == 4);
    client_open(w, &c, 2);
    UNTIL(w, c.replies == 2);
    client_close(&c);
    world_free(w);
}

/* Without memory for a client the listener is not lost: that client is turned away, and counted. */
static void
test_no_memory_for_a_client(void **state)
{
    unsigned before = count_fds();
    struct world *w = world_new();
    const struct ipc_acceptor_stats *st = ipc_acceptor_get_stats(w->acceptor);
    struct client c;

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        int fd = plain_connect(w);

        alloc_left = i % 2; /* for the connection, or for what the acceptor keeps of it */
        UNTIL(w, alloc_left < 0);
        assert_int_equal(st->starved, (i + 1) / 2);
        assert_true(is_closed(fd));
        (void)close(fd);
    }
    client_open(w, &c, 1);
    UNTIL(w, c.replies == 2);
    client_close(&c);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

/* Those who say nothing keep nobody out. */
static void
test_the_oldest_makes_room(void **state)
{
    unsigned before = count_fds();
    struct world *w = world_new();
    const struct ipc_acceptor_stats *st = ipc_acceptor_get_stats(w->acceptor);
    int fd[IPC_ACCEPTOR_PENDING + 4];
    struct client c;

    (void)state;
    for (int i = 0; i < IPC_ACCEPTOR_PENDING + 4; i++)
        fd[i] = plain_connect(w);
    UNTIL(w, st->silent == 4);
    for (int i = 0; i < IPC_ACCEPTOR_PENDING + 4; i++)
        assert_int_equal(is_closed(fd[i]), i < 4);
    client_open(w, &c, 1);
    UNTIL(w, c.replies == 2);
    assert_int_equal(st->silent, 5);
    client_close(&c);
    for (int i = 0; i < IPC_ACCEPTOR_PENDING + 4; i++)
        (void)close(fd[i]);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

static void
send_with_fd(int fd, const void *bytes, size_t len, int passed)
{
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(sizeof(int))];
    } control = {.bytes = {0}};
    struct iovec iov = {(void *)(uintptr_t)bytes, len};
    struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};

    if (passed >= 0) {
        struct cmsghdr *c;

        msg.msg_control = control.bytes;
        msg.msg_controllen = sizeof(control.bytes);
        c = CMSG_FIRSTHDR(&msg);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &passed, sizeof(passed));
    }
    assert_true(sendmsg(fd, &msg, MSG_NOSIGNAL) > 0);
}

static size_t
framed(uint8_t *buf, size_t size, const struct iscsi_uevent *ev)
{
    int len = ipc_encode_uevent(ev, buf + IPC_FRAGMENT_HEAD, size - IPC_FRAGMENT_HEAD);

    assert_true(len > 0);
    memset(buf, 0, IPC_FRAGMENT_HEAD);
    buf[2] = (uint8_t)len;
    return IPC_FRAGMENT_HEAD + (size_t)len;
}

/* A control plane comes to all loops at once, and each connection has said HELLO before it is first
 * looked at: none of them is silent, however many there are. */
static void
test_many_who_have_said_hello(void **state)
{
    enum { N = 4 * IPC_ACCEPTOR_PENDING };
    struct world *w = world_new();
    const struct ipc_acceptor_stats *st = ipc_acceptor_get_stats(w->acceptor);
    struct iscsi_uevent hello = {.type = ISCSI_UEVENT_HELLO, .u.hello = {1, 1, 0}};
    int fd[N];

    (void)state;
    for (uint32_t i = 0; i < N; i++) {
        uint8_t msg[256];

        hello.u.hello.loop = i % PLANES;
        fd[i] = plain_connect(w);
        send_with_fd(fd[i], msg, framed(msg, sizeof(msg), &hello), -1);
    }
    UNTIL(w, st->accepted + st->silent == N);
    assert_int_equal(st->silent, 0);
    for (int i = 0; i < N; i++)
        (void)close(fd[i]);
    world_free(w);
}

static void
test_impostors(void **state)
{
    static uint8_t big[IPC_FRAGMENT_MAX * 2];
    unsigned before = count_fds();
    struct world *w = world_new();
    const struct ipc_acceptor_stats *st = ipc_acceptor_get_stats(w->acceptor);
    struct iscsi_uevent hello = {.type = ISCSI_UEVENT_HELLO, .u.hello = {1, 1, 0}};
    struct iscsi_uevent bind = {.type = ISCSI_UEVENT_BIND_CONN};
    uint8_t msg[256];
    size_t len = framed(msg, sizeof(msg), &hello);
    const struct {
        const uint8_t *bytes;
        size_t len;
        uint8_t at, byte; /* changed */
        bool fd;
    } rows[] = {
        {msg, len, 0, 1, false},         {msg, len, 1, 1, false},
        {msg, len, 4, 1, false},         {msg, len, 8, 1, false},
        {msg, len, 2, 1, false},         {msg, len, 2, 0, true},
        {msg, len, 0, 0, true},          {msg, len - 1, 0, 0, false},
        {msg, 1, 0, 0, false},           {msg, len, 12, 0xff, true},
        {msg, 12, 0, 0, true},           {big, sizeof(big), 0, 0, true},
        {big, sizeof(big), 0, 0, false},
    };
    unsigned n = 0;
    int ends[2], fd;
    char c;

    (void)state;
    for (size_t i = 0; i <= sizeof(rows) / sizeof(rows[0]); i++) {
        uint8_t copy[sizeof(msg)];

        assert_int_equal(pipe2(ends, O_NONBLOCK | O_CLOEXEC), 0);
        fd = plain_connect(w);
        if (i < sizeof(rows) / sizeof(rows[0])) {
            const uint8_t *bytes = rows[i].bytes;

            if (bytes == msg) {
                memcpy(copy, msg, sizeof(copy));
                if (rows[i].at > 0 || rows[i].byte > 0)
                    copy[rows[i].at] = rows[i].byte;
                bytes = copy;
            }
            send_with_fd(fd, bytes, rows[i].len, rows[i].fd ? ends[1] : -1);
        } else { /* a good message, and not the first of anybody */
            len = framed(msg, sizeof(msg), &bind);
            send_with_fd(fd, msg, len, ends[1]);
        }
        (void)close(ends[1]);
        UNTIL(w, st->impostors == n + 1);
        n++;
        assert_true(is_closed(fd));
        assert_int_equal(read(ends[0], &c, 1), 0);
        (void)close(ends[0]);
        (void)close(fd);
    }
    assert_int_equal(st->accepted, 0);
    world_free(w);
    assert_int_equal(count_fds(), before);
}

/* Root may be turned into another user for the time of a connect; who may not has no stranger. */
static void
test_strangers(void **state)
{
    struct world *w;
    const struct ipc_acceptor_stats *st;
    char name[64] = "";
    int fd, len, r;

    (void)state;
    if (geteuid() != 0)
        skip();
    w = world_new();
    ipc_acceptor_free(w->acceptor);
    /* The file would keep a stranger out already; an abstract name does not. */
    len = 1 + snprintf(name + 1, sizeof(name) - 1, "lunette-strangers-%d", (int)getpid());
    assert_int_equal(sock_addr_local(name, (size_t)len, &w->at, NULL), 0);
    assert_int_equal(
        ipc_acceptor_new(w->plane[0].l, &w->at, -1, PLANES, on_accepted, w, &w->acceptor, NULL), 0);
    st = ipc_acceptor_get_stats(w->acceptor);
    r = seteuid(65534);
    fd = r == 0 ? plain_connect(w) : -1;
    assert_int_equal(seteuid(0), 0);
    if (fd >= 0) {
        UNTIL(w, st->strangers == 1);
        assert_true(is_closed(fd));
        (void)close(fd);
    }
    assert_int_equal(st->accepted, 0);
    world_free(w);
}

static void
test_no_second_acceptor(void **state)
{
    struct world *w = world_new();
    struct ipc_acceptor *second = NULL;
    struct lunette_error err = {.code = 0};

    (void)state;
    assert_int_equal(ipc_acceptor_new(w->plane[0].l, &w->at, -1, 1, on_accepted, w, &second, &err),
                     -EADDRINUSE);
    assert_non_null(strstr(err.msg, w->path));
    assert_int_equal(ipc_acceptor_new(w->plane[0].l, NULL, 0, 1, on_accepted, w, &second, &err),
                     -ENOTSOCK);
    world_free(w);
}

int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_loop_has_its_client),
        cmocka_unit_test(test_the_newest_wins),
        cmocka_unit_test(test_refused_without_harm),
        cmocka_unit_test(test_silence_ends),
        cmocka_unit_test(test_no_memory_for_a_client),
        cmocka_unit_test(test_the_oldest_makes_room),
        cmocka_unit_test(test_many_who_have_said_hello),
        cmocka_unit_test(test_impostors),
        cmocka_unit_test(test_strangers),
        cmocka_unit_test(test_no_second_acceptor),
    };
    int r = loop_kind_named(argc, argv, &kind);

    return r != 0 ? r : cmocka_run_group_tests(tests, NULL, NULL);
}
