/* SPDX-License-Identifier: MIT */
/* What seam/loop.h promises of local sockets: streams of bytes, who is at the other end, packets
 * and descriptors in them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/test.h"
#include "tests/unit/loop/contract.h"

#define LIMIT_NS   (20 * LOOP_NS_PER_S)
#define BULK       3000000u
#define PACKET_MAX 65536u

static const struct loop_factory *factory;

/* One end of a connection, and the listener that it came from. */
struct side {
    struct stream *s;
    int connects, connect_err, accepts;
    size_t got, sent, to_send;
    int err; /* 1 the end, <0 an error */
    /* packets */
    bool packets;
    unsigned npackets, nfds, to_send_packets, writables;
    int pass; /* sent with every packet, or -1 */
    int last_fd;
    size_t room; /* for one packet */
};

struct world {
    struct loop *a, *b;
    struct stream *listener;
    struct side c, s;
    char dir[64], path[80];
    struct sock_addr at;
};

static uint8_t
pattern(size_t i)
{
    return (uint8_t)(i * 5 + (i >> 9) * 11);
}

static size_t
packet_len(unsigned i)
{
    return 1 + (i * 7919u) % PACKET_MAX;
}

static void
side_send_packets(struct side *e)
{
    static uint8_t buf[PACKET_MAX];

    while (e->sent < e->to_send_packets) {
        size_t len = packet_len((unsigned)e->sent);
        struct iovec iov[2] = {{buf, len / 3}, {buf + len / 3, len - len / 3}};
        int r;

        for (size_t i = 0; i < len; i++)
            buf[i] = pattern(e->sent + i);
        r = stream_send_packet(e->s, iov, 2, e->pass);
        if (r == -EAGAIN)
            return;
        if (r == -ETOOMANYREFS)
            return;
        assert_int_equal(r, 0);
        e->sent++;
    }
}

static void
side_send(struct side *e)
{
    static uint8_t buf[65536];

    if (e->packets) {
        side_send_packets(e);
        return;
    }
    while (e->sent < e->to_send) {
        size_t n = e->to_send - e->sent < sizeof(buf) ? e->to_send - e->sent : sizeof(buf);
        struct iovec iov = {buf, n};
        ssize_t r;

        for (size_t i = 0; i < n; i++)
            buf[i] = pattern(e->sent + i);
        r = stream_sendv(e->s, &iov, 1, n);
        if (r == -EAGAIN)
            return;
        assert_true(r > 0);
        e->sent += (size_t)r;
        if ((size_t)r < n)
            return;
    }
}

static void
on_connected(void *user, int err)
{
    struct side *e = user;

    e->connects++;
    e->connect_err = err;
    if (err == 0)
        side_send(e);
}

static bool
recv_packet(struct side *e)
{
    static uint8_t buf[PACKET_MAX];
    int fd = 77;
    ssize_t r = stream_recv_packet(e->s, buf, e->room > 0 ? e->room : sizeof(buf), &fd);

    if (r == -EAGAIN) {
        assert_int_equal(fd, -1);
        return false;
    }
    if (r <= 0) {
        assert_int_equal(fd, -1);
        e->err = r == 0 ? 1 : (int)r;
        return false;
    }
    assert_int_equal(r, packet_len(e->npackets));
    for (ssize_t i = 0; i < r; i++)
        assert_int_equal(buf[i], pattern(e->npackets + (size_t)i));
    e->npackets++;
    if (fd != -1)
        e->nfds++;
    if (fd >= 0) {
        assert_true(factory->closes_on_exec(fd));
        loop_close_fd(e->s->loop, fd);
    }
    e->last_fd = fd;
    return true;
}

static void
on_readable(void *user)
{
    struct side *e = user;
    static uint8_t buf[50000];
    struct iovec iov = {buf, sizeof(buf)};
    ssize_t r;

    if (e->packets) {
        while (recv_packet(e)) {
        }
        return;
    }
    while ((r = stream_recvv(e->s, &iov, 1)) > 0) {
        for (ssize_t i = 0; i < r; i++)
            assert_int_equal(buf[i], pattern(e->got + (size_t)i));
        e->got += (size_t)r;
    }
    if (r != -EAGAIN)
        e->err = r == 0 ? 1 : (int)r;
}

static void
on_writable(void *user)
{
    struct side *e = user;

    e->writables++;
    side_send(e);
}

static const struct stream_events side_events = {
    .connected = on_connected, .readable = on_readable, .writable = on_writable};

static void
on_accepted(void *user, struct stream *s, const struct sock_addr *peer)
{
    struct world *w = user;
    char text[128];

    assert_string_equal(sock_addr_format(peer, text, sizeof(text)), "(unnamed)");
    w->s.accepts++;
    if (w->s.s != NULL) {
        stream_close(s);
        return;
    }
    w->s.s = s;
    stream_set_events(s, &side_events, &w->s);
}

static const struct stream_events listener_events = {.accepted = on_accepted};

#define UNTIL(w, cond)                                                                             \
    do {                                                                                           \
        uint64_t limit_ = (w)->a->now_ns + LIMIT_NS;                                               \
        while (!(cond)) {                                                                          \
            assert_true(loop_run((w)->a, (int64_t)LOOP_NS_PER_MS / 2) >= 0);                       \
            assert_true(loop_run((w)->b, (int64_t)LOOP_NS_PER_MS / 2) >= 0);                       \
            if ((w)->a->now_ns > limit_)                                                           \
                fail_msg("never: %s", #cond);                                                      \
        }                                                                                          \
    } while (0)

static int
setup(void **state)
{
    struct world *w = calloc(1, sizeof(*w));
    const char *why = NULL;

    assert_non_null(w);
    if (!factory->make(&w->a, &w->b, &why)) {
        free(w);
        *state = NULL;
        return 0;
    }
    strcpy(w->dir, "/tmp/lunette-loop-XXXXXX");
    assert_non_null(mkdtemp(w->dir));
    (void)snprintf(w->path, sizeof(w->path), "%s/sock", w->dir);
    assert_int_equal(sock_addr_local(w->path, strlen(w->path), &w->at, NULL), 0);
    w->c.pass = w->s.pass = -1;
    *state = w;
    return 0;
}

static void
side_close(struct side *e)
{
    if (e->s != NULL)
        stream_close(e->s);
    e->s = NULL;
}

static int
teardown(void **state)
{
    struct world *w = *state;

    if (w == NULL)
        return 0;
    side_close(&w->c);
    side_close(&w->s);
    if (w->listener != NULL)
        stream_close(w->listener);
    factory->unmake(w->a, w->b);
    (void)unlink(w->path);
    assert_int_equal(rmdir(w->dir), 0);
    free(w);
    return 0;
}

static struct world *
enter(void **state)
{
    if (*state == NULL)
        skip();
    return *state;
}

static int
world_listen(struct world *w, struct stream **ret)
{
    if (w->c.packets)
        return stream_listen_packets(w->b, &w->at, &listener_events, w, ret);
    return stream_listen(w->b, &w->at, &listener_events, w, ret, NULL);
}

static int
world_connect(struct world *w)
{
    if (w->c.packets)
        return stream_connect_packets(w->a, &w->at, &side_events, &w->c, &w->c.s);
    return stream_connect(w->a, &w->at, NULL, &side_events, &w->c, &w->c.s);
}

static void
world_open(struct world *w)
{
    assert_int_equal(world_listen(w, &w->listener), 0);
    assert_int_equal(world_connect(w), 0);
    UNTIL(w, w->c.connects > 0 && w->s.s != NULL);
    assert_int_equal(w->c.connect_err, 0);
}

/* Goes over to packets, where the loop has any. */
static void
world_packets(struct world *w)
{
    w->c.packets = w->s.packets = true;
    if (w->a->ops->packets == NULL) {
        assert_int_equal(world_listen(w, &w->listener), -EOPNOTSUPP);
        assert_int_equal(world_connect(w), -EOPNOTSUPP);
        skip();
    }
}

static void
test_local_bulk(void **state)
{
    struct world *w = enter(state);

    w->c.to_send = BULK;
    w->s.to_send = BULK / 2;
    world_open(w);
    side_send(&w->s);
    UNTIL(w, w->s.got == BULK && w->c.got == BULK / 2);
    assert_int_equal(w->c.err, 0);
    side_close(&w->c);
    UNTIL(w, w->s.err == 1);
}

static void
test_local_names_and_credentials(void **state)
{
    struct world *w = enter(state);
    struct sock_addr local, peer;
    uid_t uid = 12345;
    pid_t pid = 0;

    world_open(w);
    assert_int_equal(stream_names(w->c.s, &local, &peer), 0);
    assert_null(sock_addr_path(&local));
    assert_string_equal(sock_addr_path(&peer), w->path);
    assert_int_equal(stream_names(w->listener, &local, NULL), 0);
    assert_string_equal(sock_addr_path(&local), w->path);
    assert_int_equal(stream_peer_cred(w->s.s, &uid, &pid), 0);
    assert_int_equal(uid, geteuid());
    assert_true(pid > 0);
    assert_int_equal(stream_peer_cred(w->c.s, &uid, NULL), 0);
    assert_int_equal(uid, geteuid());
    assert_int_equal(stream_peer_cred(w->listener, &uid, NULL), -EOPNOTSUPP);
}

static void
test_local_connects_to_nobody(void **state)
{
    struct world *w = enter(state);

    assert_int_equal(world_connect(w), 0);
    UNTIL(w, w->c.connects > 0);
    assert_true(w->c.connect_err == -ENOENT || w->c.connect_err == -ECONNREFUSED);
    side_close(&w->c);
}

/* One at a time, and the name is free again when the listener is closed. */
static void
test_local_listens_once(void **state)
{
    struct world *w = enter(state);
    struct stream *second = NULL;

    world_open(w);
    assert_int_equal(world_listen(w, &second), -EADDRINUSE);
    stream_close(w->listener);
    assert_int_equal(world_listen(w, &w->listener), 0);
    side_close(&w->c);
    side_close(&w->s);
    w->c.connects = 0;
    assert_int_equal(world_connect(w), 0);
    UNTIL(w, w->c.connects > 0 && w->s.s != NULL);
    assert_int_equal(w->c.connect_err, 0);
}

static void
test_local_abstract_name(void **state)
{
    struct world *w = enter(state);
    char name[64] = "", text[128];
    int len = 1 + snprintf(name + 1, sizeof(name) - 1, "lunette-test-%d", (int)getpid());

    assert_int_equal(sock_addr_local(name, (size_t)len, &w->at, NULL), 0);
    assert_string_equal(sock_addr_format(&w->at, text, sizeof(text)) + 1, name + 1);
    w->c.to_send = 10;
    world_open(w);
    UNTIL(w, w->s.got == 10);
}

static void
test_packets_whole_and_in_order(void **state)
{
    struct world *w = enter(state);

    world_packets(w);
    w->c.to_send_packets = 300;
    w->s.to_send_packets = 200;
    world_open(w);
    side_send(&w->s);
    UNTIL(w, w->s.npackets == 300 && w->c.npackets == 200);
    assert_true(w->c.writables > 0); /* there was no room all the time */
    assert_int_equal(w->s.nfds, 0);
    side_close(&w->c);
    UNTIL(w, w->s.err == 1);
}

static void
test_packets_with_descriptors(void **state)
{
    struct world *w = enter(state);
    unsigned before;
    int fd;

    world_packets(w);
    world_open(w);
    fd = factory->bell();
    before = factory->open_fds();
    w->c.pass = fd;
    w->c.to_send_packets = 40;
    side_send(&w->c);
    UNTIL(w, w->s.npackets == 40);
    assert_int_equal(w->s.nfds, 40);
    assert_true(w->s.last_fd >= 0 && w->s.last_fd != fd);
    assert_int_equal(factory->open_fds(), before);
    factory->ring(fd); /* still the sender's */
    assert_int_equal(factory->read(fd), 1);
    factory->bell_free(fd);
}

/* A packet that does not fit is gone, its descriptor is not left open, and the next is received. */
static void
test_packet_longer_than_the_room(void **state)
{
    struct world *w = enter(state);
    unsigned before;
    int fd;

    world_packets(w);
    world_open(w);
    fd = factory->bell();
    before = factory->open_fds();
    w->s.room = packet_len(1) - 1;
    w->c.pass = fd;
    w->c.to_send_packets = 2;
    side_send(&w->c);
    assert_true(packet_len(0) <= w->s.room);
    UNTIL(w, w->s.err != 0);
    assert_int_equal(w->s.err, -EMSGSIZE);
    assert_int_equal(w->s.npackets, 1);
    assert_int_equal(factory->open_fds(), before);
    factory->bell_free(fd);
    w->c.pass = w->s.err = -1;
    w->s.room = 0;
    w->s.npackets = 2;
    w->s.err = 0;
    w->c.to_send_packets = 3;
    side_send(&w->c);
    UNTIL(w, w->s.npackets == 3);
}

static void
test_packet_larger_than_the_socket(void **state)
{
    struct world *w = enter(state);
    static uint8_t big[8u << 20];
    struct iovec iov = {big, sizeof(big)};

    world_packets(w);
    world_open(w);
    assert_int_equal(stream_send_packet(w->c.s, &iov, 1, -1), -EMSGSIZE);
    w->c.to_send_packets = 1;
    side_send(&w->c);
    UNTIL(w, w->s.npackets == 1);
}

/* What is under way arrives, then the end, from whoever adopts the descriptor. */
static void
test_packets_release_and_adopt(void **state)
{
    struct world *w = enter(state);
    struct stream *s = NULL;
    int fd;

    world_packets(w);
    world_open(w);
    fd = stream_release(w->s.s);
    w->s.s = NULL;
    assert_int_equal(stream_adopt(w->a, fd, &side_events, &w->s, &s), -EPROTOTYPE);
    w->c.to_send_packets = 2;
    side_send(&w->c);
    side_close(&w->c);
    assert_int_equal(stream_adopt_packets(w->a, fd, &side_events, &w->s, &w->s.s), 0);
    UNTIL(w, w->s.err != 0);
    assert_int_equal(w->s.err, 1);
    assert_int_equal(w->s.npackets, 2);
}

static void
test_packets_of_a_closed_peer(void **state)
{
    struct world *w = enter(state);
    struct iovec iov = {"x", 1};

    world_packets(w);
    world_open(w);
    side_close(&w->s);
    UNTIL(w, w->c.err != 0);
    assert_int_equal(stream_send_packet(w->c.s, &iov, 1, -1), -EPIPE);
}

/* It goes without having read what was sent to it: what it had sent is not lost. */
static void
test_packets_of_a_peer_that_did_not_read(void **state)
{
    struct world *w = enter(state);
    struct iovec iov = {"x", 1};

    world_packets(w);
    world_open(w);
    assert_int_equal(stream_send_packet(w->c.s, &iov, 1, -1), 0);
    w->s.to_send_packets = 2;
    side_send(&w->s);
    side_close(&w->s);
    UNTIL(w, w->c.err != 0);
    assert_int_equal(w->c.err, 1);
    assert_int_equal(w->c.npackets, 2);
}

static void
test_packets_listen_once(void **state)
{
    struct world *w = enter(state);
    struct stream *second = NULL;

    world_packets(w);
    world_open(w);
    assert_int_equal(world_listen(w, &second), -EADDRINUSE);
    w->c.packets = false; /* nor one for bytes */
    assert_int_equal(world_listen(w, &second), -EADDRINUSE);
}

int
contract_local_run(const struct loop_factory *f)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest local[] = {
        T(test_local_bulk),
        T(test_local_names_and_credentials),
        T(test_local_connects_to_nobody),
        T(test_local_listens_once),
        T(test_local_abstract_name),
        T(test_packets_whole_and_in_order),
        T(test_packets_with_descriptors),
        T(test_packet_longer_than_the_room),
        T(test_packet_larger_than_the_socket),
        T(test_packets_release_and_adopt),
        T(test_packets_of_a_closed_peer),
        T(test_packets_of_a_peer_that_did_not_read),
        T(test_packets_listen_once),
    };

    factory = f;
    return cmocka_run_group_tests(local, NULL, NULL);
}
