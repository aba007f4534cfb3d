/* SPDX-License-Identifier: MIT */
/* The encoded binding between simulated processes: HELLO at an acceptor with two loops, requests
 * and events of all sizes, memory that is sent along, strangers, and processes that are killed. */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "ipc/acceptor.h"
#include "ipc/socket.h"
#include "seam/shm.h"
#include "tests/sim/sim_loop.h"

#define MS       LOOP_NS_PER_MS
#define SEC      LOOP_NS_PER_S
#define SEEDS    60
#define PLANES   2 /* loops of the server's process */
#define CLIENTS  3
#define REQUESTS 24
#define MEMORY   ((size_t)8192)
#define PATH     "/run/lunette-test"

struct world;

/* A client of the server, on one of its loops. */
struct served {
    struct world *w;
    struct loop *l;
    struct ipc_socket *k;
    struct ipc_encoded_server *end;
    struct ipc_client to;
    uint64_t events;
    bool gone;
};

/* A connection on its way to the server's other loop. */
struct move {
    struct loop_work work;
    struct served *s;
    struct ipc_packet *hello;
    int fd;
};

struct client {
    struct world *w;
    struct loop *l;
    struct stream *s;
    struct ipc_socket *k;
    struct ipc_encoded_client *end;
    unsigned asked, replies, events, bad;
    bool gone, connected;
    int connect_err;
    uint32_t plane;
};

struct world {
    struct sim *sim;
    struct loop *plane[PLANES];
    struct ipc_acceptor *acceptor;
    struct served served[CLIENTS];
    struct client client[CLIENTS];
    unsigned nserved, memories;
    struct sock_addr at;
};

static uint8_t
pattern(size_t i)
{
    return (uint8_t)(i * 3 + (i >> 8) * 7);
}

static void
fill(uint8_t *p, size_t len)
{
    for (size_t i = 0; i < len; i++)
        p[i] = pattern(i);
}

static bool
is_filled(const void *data, size_t len)
{
    const uint8_t *p = data;

    for (size_t i = 0; i < len; i++) {
        if (p[i] != pattern(i))
            return false;
    }
    return true;
}

/* The server. */

static void
take_memory(struct served *s, int fd)
{
    void *map = NULL;

    assert_true(fd >= 0);
    assert_int_equal(shm_map(s->l, fd, MEMORY, &map), 0);
    assert_true(is_filled(map, MEMORY));
    shm_unmap(s->l, map, MEMORY);
    loop_close_fd(s->l, fd);
    s->w->memories++;
}

static void
serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev, const void *data,
      uint32_t data_len)
{
    static uint8_t out[IPC_REPLY_DATA_MAX];
    struct served *s = server;
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .data = out};

    (void)from;
    assert_true(is_filled(data, data_len));
    fill(out, sizeof(out));
    if (ev->type == ISCSI_UEVENT_HELLO)
        rep.r.hello.loops = PLANES;
    if (ev->type == ISCSI_UEVENT_ENGINE_FD)
        take_memory(s, ev->u.engine_fd.fd);
    if (ev->type == ISCSI_UEVENT_GET_SESSION) {
        rep.r.session.values_len = IPC_VALUES_MAX;
        rep.r.session.note_len = IPC_NOTE_MAX;
    }
    s->to.reply(s->to.binding, &rep);
    if (ev->type == ISCSI_UEVENT_SEND_PDU) {
        struct iscsi_kevent kev = {.type = ISCSI_KEVENT_RECV_PDU, .number = ++s->events};

        kev.u.recv_pdu.data_len = data_len;
        assert_int_equal(s->to.event(s->to.binding, &kev, data), 0);
    }
}

static const struct ipc_server_ops server_ops = {.serve = serve};

static void
served_end(struct served *s)
{
    if (s->end != NULL)
        ipc_encoded_server_free(s->end);
    ipc_socket_free(s->k);
    s->end = NULL;
    s->k = NULL;
}

static void
on_client_gone(void *user, const struct lunette_error *why)
{
    struct served *s = user;

    assert_true(why->msg[0] != '\0');
    s->gone = true;
    served_end(s);
}

static void
served_begin(struct served *s, struct stream *stream, struct ipc_packet *hello)
{
    assert_int_equal(ipc_socket_server_new(stream, hello, on_client_gone, s, &s->k), 0);
    assert_int_equal(ipc_encoded_server_new(ipc_socket_carrier(s->k), &server_ops, s,
                                            ipc_socket_broken, s->k, &s->end, &s->to),
                     0);
}

static void
on_moved(struct loop_work *work)
{
    static const struct stream_events none = {.readable = NULL};
    struct move *m = container_of(work, struct move, work);
    struct stream *s = NULL;

    assert_int_equal(stream_adopt(m->s->l, m->fd, &none, NULL, &s), -EPROTOTYPE);
    assert_int_equal(stream_adopt_packets(m->s->l, m->fd, &none, NULL, &s), 0);
    served_begin(m->s, s, m->hello);
    free(m);
}

static void
on_accepted(void *user, uint32_t plane, struct stream *stream, struct ipc_packet *hello)
{
    struct world *w = user;
    struct served *s = &w->served[w->nserved++];
    struct move *m;

    assert_true(plane < PLANES && w->nserved <= CLIENTS);
    s->w = w;
    s->l = w->plane[plane];
    if (plane == 0) {
        served_begin(s, stream, hello);
        return;
    }
    m = calloc(1, sizeof(*m));
    assert_non_null(m);
    *m = (struct move){.s = s, .hello = hello, .fd = stream_release(stream)};
    loop_work_init(&m->work, on_moved);
    loop_post(s->l, &m->work);
}

/* Clients. */

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct client *c = user;

    c->bad += !is_filled(rep->data, ipc_reply_data_len(rep)) || rep->err != 0;
    c->replies++;
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct client *c = user;

    c->bad += ev->number != ++c->events || !is_filled(data, ipc_kevent_data_len(ev));
}

static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

static void
client_end(struct client *c)
{
    if (c->end != NULL)
        ipc_encoded_client_free(c->end);
    if (c->k != NULL)
        ipc_socket_free(c->k);
    else if (c->s != NULL)
        stream_close(c->s);
    c->end = NULL;
    c->k = NULL;
    c->s = NULL;
}

static void
on_server_gone(void *user, const struct lunette_error *why)
{
    struct client *c = user;

    assert_true(why->msg[0] != '\0');
    c->gone = true;
    client_end(c);
}

static void
ask(struct client *c, enum iscsi_uevent_type type, uint32_t data_len)
{
    static uint8_t data[IPC_PDU_DATA_MAX];
    struct iscsi_uevent ev = {.type = type, .sid = 1, .cid = 2};

    fill(data, data_len);
    if (type == ISCSI_UEVENT_SEND_PDU)
        ev.u.send_pdu.data_len = data_len;
    if (type == ISCSI_UEVENT_HELLO) {
        ev.sid = ev.cid = 0;
        ev.u.hello.min = IPC_VERSION_MIN;
        ev.u.hello.max = IPC_VERSION_MAX;
        ev.u.hello.loop = c->plane;
    }
    if (type == ISCSI_UEVENT_ENGINE_FD) {
        void *map = NULL;

        assert_int_equal(shm_make(c->l, MEMORY, &ev.u.engine_fd.fd, &map), 0);
        fill(map, MEMORY);
        shm_unmap(c->l, map, MEMORY);
    }
    assert_int_equal(ipc_request(ipc_encoded_client_ipc(c->end), &ev, data, data_len), 0);
    c->asked++;
}

static void
ask_all(struct client *c)
{
    static const uint32_t sizes[] = {0, 1, 4000, IPC_FRAGMENT_MAX, 130000, IPC_PDU_DATA_MAX};

    ask(c, ISCSI_UEVENT_HELLO, 0);
    for (unsigned i = 0; i < REQUESTS; i++) {
        if (i % 3 == 0)
            ask(c, ISCSI_UEVENT_SEND_PDU, sizes[i / 3 % 6]);
        else
            ask(c, i % 3 == 1 ? ISCSI_UEVENT_GET_SESSION : ISCSI_UEVENT_ENGINE_FD, 0);
    }
}

static void
on_connected(void *user, int err)
{
    struct client *c = user;

    c->connected = true;
    c->connect_err = err;
    if (err < 0)
        return;
    assert_int_equal(ipc_socket_client_new(c->s, on_server_gone, c, &c->k), 0);
    assert_int_equal(
        ipc_encoded_client_new(ipc_socket_carrier(c->k), ipc_socket_broken, c->k, &c->end), 0);
    ipc_encoded_client_ipc(c->end)->ev = &client_events;
    ipc_encoded_client_ipc(c->end)->ev_user = c;
    ask_all(c);
}

static const struct stream_events connect_events = {.connected = on_connected};

static void
client_begin(struct client *c)
{
    assert_int_equal(stream_connect_packets(c->l, &c->w->at, &connect_events, c, &c->s), 0);
}

/* Worlds. */

static void
world_open(struct world *w, uint64_t seed)
{
    struct lunette_error err;

    memset(w, 0, sizeof(*w));
    w->sim = sim_new(seed, seed % 2 == 1 ? &sim_rough : NULL);
    w->plane[0] = sim_loop(w->sim);
    w->plane[1] = sim_loop_beside(w->plane[0]);
    assert_int_equal(sock_addr_local(PATH, strlen(PATH), &w->at, NULL), 0);
    if (ipc_acceptor_new(w->plane[0], &w->at, -1, PLANES, on_accepted, w, &w->acceptor, &err) < 0)
        fail_msg("%s", err.msg);
    for (uint32_t i = 0; i < CLIENTS; i++)
        w->client[i] = (struct client){.w = w, .l = sim_loop(w->sim), .plane = i % PLANES};
}

static void
world_close(struct world *w)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        client_end(&w->client[i]);
        served_end(&w->served[i]);
    }
    ipc_acceptor_free(w->acceptor);
    sim_free(w->sim);
}

static bool
all_answered(void *user)
{
    struct world *w = user;

    for (unsigned i = 0; i < CLIENTS; i++) {
        const struct client *c = &w->client[i];

        if (!c->gone && (c->replies < REQUESTS + 1 || c->events < REQUESTS / 3))
            return false;
    }
    return true;
}

static bool
all_parted(void *user)
{
    struct world *w = user;
    unsigned left = 0;

    for (unsigned i = 0; i < CLIENTS; i++) {
        left += !w->client[i].gone && !sim_process_killed(w->client[i].l);
        left += i < w->nserved && !w->served[i].gone && !sim_process_killed(w->served[i].l);
    }
    return left == 0;
}

static uint64_t
exchange(uint64_t seed)
{
    struct world w;
    uint64_t hash;

    world_open(&w, seed);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_begin(&w.client[i]);
    assert_true(sim_run_until(w.sim, all_answered, &w, 60 * SEC));
    for (unsigned i = 0; i < CLIENTS; i++) {
        assert_int_equal(w.client[i].bad, 0);
        assert_int_equal(w.client[i].replies, w.client[i].asked);
    }
    assert_int_equal(w.memories, CLIENTS * REQUESTS / 3);
    assert_int_equal(ipc_acceptor_get_stats(w.acceptor)->accepted, CLIENTS);
    hash = sim_hash(w.sim);
    world_close(&w);
    return hash;
}

static void
test_requests_and_events(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        uint64_t hash = exchange(seed);

        if (seed < 6)
            assert_true(exchange(seed) == hash);
    }
}

static void
kill_server(void *user)
{
    struct world *w = user;

    sim_process_kill(w->plane[0]);
}

static void
kill_client(void *user)
{
    struct client *c = user;

    sim_process_kill(c->l);
}

/* All its clients are told, and none before. */
static void
test_server_is_killed(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world w;

        world_open(&w, seed);
        for (unsigned i = 0; i < CLIENTS; i++)
            client_begin(&w.client[i]);
        sim_at(w.sim, sim_below(w.sim, 20 * MS), kill_server, &w);
        (void)sim_run_until(w.sim, NULL, NULL, 5 * SEC);
        for (unsigned i = 0; i < CLIENTS; i++) {
            const struct client *c = &w.client[i];

            assert_true(c->gone || c->connect_err == -ECONNREFUSED);
            assert_int_equal(c->bad, 0);
        }
        world_close(&w);
    }
}

/* The server is told; the other clients see nothing of it. */
static void
test_client_is_killed(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        struct world w;

        world_open(&w, seed);
        for (unsigned i = 0; i < CLIENTS; i++)
            client_begin(&w.client[i]);
        sim_at(w.sim, sim_below(w.sim, 20 * MS), kill_client, &w.client[0]);
        (void)sim_run_until(w.sim, NULL, NULL, 60 * SEC);
        for (unsigned i = 1; i < CLIENTS; i++) {
            assert_false(w.client[i].gone);
            assert_int_equal(w.client[i].bad, 0);
            assert_int_equal(w.client[i].replies, w.client[i].asked);
        }
        for (unsigned i = 0, gone = 0; i < w.nserved; i++) {
            gone += w.served[i].gone;
            assert_true(gone <= 1);
        }
        world_close(&w);
    }
}

static void
test_strangers_are_turned_away(void **state)
{
    struct world w;

    (void)state;
    world_open(&w, 2);
    sim_process_set_uid(w.client[0].l, geteuid() + 1);
    for (unsigned i = 0; i < CLIENTS; i++)
        client_begin(&w.client[i]);
    assert_true(sim_run_until(w.sim, all_answered, &w, 60 * SEC));
    assert_true(w.client[0].gone && !w.client[1].gone && !w.client[2].gone);
    assert_int_equal(w.client[0].replies, 0);
    assert_int_equal(ipc_acceptor_get_stats(w.acceptor)->strangers, geteuid() + 1 == 0 ? 0 : 1);
    sim_process_kill(w.client[1].l);
    sim_process_kill(w.plane[0]);
    assert_true(sim_run_until(w.sim, all_parted, &w, SEC));
    world_close(&w);
}

/* A listener of packets has no streams of bytes, and whoever says nothing has to go. */
static void
silent_connected(void *user, int err)
{
    struct client *c = user;

    c->connected = true;
    c->connect_err = err;
}

static void
silent_readable(void *user)
{
    struct client *c = user;
    uint8_t buf[64];
    int fd;
    ssize_t r = stream_recv_packet(c->s, buf, sizeof(buf), &fd);

    c->gone |= r == 0;
}

static void
test_the_silent_have_to_go(void **state)
{
    static const struct stream_events ev = {.connected = silent_connected,
                                            .readable = silent_readable};
    struct world w;

    (void)state;
    world_open(&w, 3);
    ipc_acceptor_set_hello_ms(w.acceptor, 100);
    assert_int_equal(stream_connect(w.client[0].l, &w.at, NULL, &ev, &w.client[0], &w.client[0].s),
                     0);
    assert_int_equal(
        stream_connect_packets(w.client[1].l, &w.at, &ev, &w.client[1], &w.client[1].s), 0);
    (void)sim_run_until(w.sim, NULL, NULL, SEC);
    assert_true(w.client[0].connected && w.client[1].connected);
    assert_int_equal(w.client[0].connect_err, -EPROTOTYPE);
    assert_int_equal(w.client[1].connect_err, 0);
    assert_true(w.client[1].gone);
    assert_int_equal(ipc_acceptor_get_stats(w.acceptor)->silent, 1);
    world_close(&w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_and_events),
        cmocka_unit_test(test_server_is_killed),
        cmocka_unit_test(test_client_is_killed),
        cmocka_unit_test(test_strangers_are_turned_away),
        cmocka_unit_test(test_the_silent_have_to_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
