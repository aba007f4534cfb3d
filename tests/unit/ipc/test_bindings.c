/* SPDX-License-Identifier: MIT */
/* Bindings on one loop, direct and encoded, between a client that keeps what it hears and a server
 * that answers when it is told to. */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "ipc/ipc.h"
#include "tests/support/ipc_queue.h"

#define KEPT 32

enum kind { DIRECT, ENCODED, KINDS };

struct world {
    struct fake_loop fl;
    struct ipc_queue queue;
    struct ipc_direct *direct;
    struct ipc_encoded_client *client_end;
    struct ipc_encoded_server *server_end;
    struct ipc *ipc;
    struct ipc_client client; /* how the server talks back */
    /* the server's */
    bool later; /* requests are not answered at once */
    struct iscsi_uevent request[KEPT];
    uint8_t request_data[IPC_PDU_DATA_MAX];
    uint32_t request_data_len;
    unsigned nrequests;
    /* the client's */
    struct iscsi_reply reply[KEPT];
    struct iscsi_kevent event[KEPT];
    uint8_t data[3 * IPC_PDU_DATA_MAX];
    unsigned nreplies, nevents;
    int client_broken, server_broken;
    unsigned closed_fds;
};

static struct world *now;
static struct loop_ops loop_ops;

static void
close_fd(struct loop *l, int fd)
{
    (void)l;
    assert_true(fd >= 0);
    now->closed_fds++;
}

/* What the server says of GET_SESSION: three bytes of values and two of a note. */
static void
answer(struct world *w, const struct iscsi_uevent *ev)
{
    struct iscsi_reply rep = {.type = ev->type, .seq = ev->seq, .sid = ev->sid, .cid = ev->cid};

    if (ev->type == ISCSI_UEVENT_GET_SESSION) {
        rep.r.session.values_len = 3;
        rep.r.session.note_len = 2;
        rep.data = "abcde";
    }
    w->client.reply(w->client.binding, &rep);
}

static void
serve(void *server, const struct ipc_client *from, const struct iscsi_uevent *ev, const void *data,
      uint32_t data_len)
{
    struct world *w = server;

    assert_ptr_equal(from->binding, w->client.binding);
    assert_true(w->nrequests < KEPT);
    w->request[w->nrequests++] = *ev;
    w->request_data_len = data_len;
    if (data_len > 0)
        memcpy(w->request_data, data, data_len);
    if (!w->later)
        answer(w, ev);
}

static const struct ipc_server_ops server_ops = {.serve = serve};

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;
    uint32_t len = ipc_reply_data_len(rep);

    assert_true(w->nreplies < KEPT);
    w->reply[w->nreplies++] = *rep;
    if (len > 0)
        memcpy(w->data, rep->data, len);
}

static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct world *w = user;
    uint32_t len = ipc_kevent_data_len(ev);

    assert_true(w->nevents < KEPT);
    w->event[w->nevents++] = *ev;
    if (len > 0)
        memcpy(w->data, data, len);
}

static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

static void
on_client_broken(void *user, int err)
{
    struct world *w = user;

    assert_int_equal(w->client_broken, 0);
    w->client_broken = err;
}

static void
on_server_broken(void *user, int err)
{
    struct world *w = user;

    assert_int_equal(w->server_broken, 0);
    w->server_broken = err;
}

static struct world *
world_new(enum kind kind)
{
    struct world *w = calloc(1, sizeof(*w));

    now = w;
    fake_loop_init(&w->fl, 1);
    loop_ops = fake_loop_ops;
    loop_ops.close_fd = close_fd;
    w->fl.l.ops = &loop_ops;
    if (kind == DIRECT) {
        assert_int_equal(ipc_direct_new(&w->fl.l, &server_ops, w, &w->direct, &w->client), 0);
        w->ipc = ipc_direct_ipc(w->direct);
    } else {
        ipc_queue_init(&w->queue, &w->fl.l);
        assert_int_equal(
            ipc_encoded_client_new(&w->queue.carrier, on_client_broken, w, &w->client_end), 0);
        assert_int_equal(ipc_encoded_server_new(&w->queue.carrier, &server_ops, w, on_server_broken,
                                                w, &w->server_end, &w->client),
                         0);
        w->ipc = ipc_encoded_client_ipc(w->client_end);
    }
    w->ipc->ev = &client_events;
    w->ipc->ev_user = w;
    return w;
}

static void
world_free(struct world *w)
{
    if (w->direct != NULL) {
        ipc_direct_free(w->direct);
    } else {
        ipc_encoded_client_free(w->client_end);
        ipc_encoded_server_free(w->server_end);
        ipc_queue_fini(&w->queue);
    }
    free(w);
}

static void
test_requests_replies_events(void **state)
{
    static uint8_t large[3 * IPC_PDU_DATA_MAX];
    static const uint8_t pdu[5] = {1, 2, 3, 4, 5};

    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct world *w = world_new((enum kind)kind);
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU, .sid = 3, .cid = 4};
        struct iscsi_kevent up = {.type = ISCSI_KEVENT_RECV_PDU, .number = 9, .sid = 3};

        ev.u.send_pdu.data_len = sizeof(pdu);
        assert_int_equal(ipc_request(w->ipc, &ev, pdu, sizeof(pdu)), 0);
        assert_int_equal(w->nrequests, 0); /* never from inside the call */
        fake_turn(&w->fl);
        assert_int_equal(w->nrequests, 1);
        assert_int_equal(w->request_data_len, sizeof(pdu));
        assert_memory_equal(w->request_data, pdu, sizeof(pdu));
        assert_int_equal(w->nreplies, 1);
        assert_int_equal(w->reply[0].seq, ev.seq);
        assert_int_equal(w->reply[0].sid, 3);
        assert_int_equal(w->reply[0].cid, 4);
        ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_GET_SESSION, .sid = 3};
        assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
        fake_turn(&w->fl);
        assert_int_equal(w->nreplies, 2);
        assert_memory_equal(w->data, "abcde", 5);
        up.u.recv_pdu.data_len = sizeof(pdu);
        assert_int_equal(w->client.event(w->client.binding, &up, pdu), 0);
        assert_int_equal(w->nevents, 0);
        fake_turn(&w->fl);
        assert_int_equal(w->nevents, 1);
        assert_int_equal(w->event[0].number, 9);
        assert_memory_equal(w->data, pdu, sizeof(pdu));
        memset(large, 0x5a, sizeof(large));
        up.u.recv_pdu.data_len = sizeof(large); /* what comes is not limited as what is sent is */
        assert_int_equal(w->client.event(w->client.binding, &up, large), 0);
        fake_turn(&w->fl);
        assert_int_equal(w->nevents, 2);
        assert_memory_equal(w->data, large, sizeof(large));
        world_free(w);
    }
}

/* Answers come in any order that the server likes, each to its request. */
static void
test_answers_that_come_later(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct world *w = world_new((enum kind)kind);
        uint64_t seq[3];

        w->later = true;
        for (uint32_t i = 0; i < 3; i++) {
            struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = i};

            assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
            seq[i] = ev.seq;
        }
        fake_turn(&w->fl);
        assert_int_equal(w->nrequests, 3);
        assert_int_equal(w->nreplies, 0);
        answer(w, &w->request[1]);
        answer(w, &w->request[0]);
        fake_turn(&w->fl);
        assert_int_equal(w->nreplies, 2);
        assert_int_equal(w->reply[0].seq, seq[1]);
        assert_int_equal(w->reply[1].seq, seq[0]);
        world_free(w); /* the third is never answered */
    }
}

static void
test_limits_of_a_request(void **state)
{
    static uint8_t data[IPC_PDU_DATA_MAX + 1];

    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct world *w = world_new((enum kind)kind);
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SEND_PDU};

        ev.u.send_pdu.data_len = IPC_PDU_DATA_MAX + 1;
        assert_int_equal(ipc_request(w->ipc, &ev, data, IPC_PDU_DATA_MAX + 1), -EMSGSIZE);
        ev.u.send_pdu.data_len = IPC_PDU_DATA_MAX;
        assert_int_equal(ipc_request(w->ipc, &ev, data, IPC_PDU_DATA_MAX), 0);
        fake_turn(&w->fl);
        assert_int_equal(w->request_data_len, IPC_PDU_DATA_MAX);
        assert_int_equal(w->nreplies, 1);
        world_free(w);
    }
}

/* A descriptor arrives beside its message, or is closed where it does not. */
static void
test_descriptors(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct world *w = world_new((enum kind)kind);
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN};

        ev.u.bind_conn.fd = 42;
        assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
        fake_turn(&w->fl);
        assert_int_equal(w->request[0].u.bind_conn.fd, 42);
        assert_int_equal(w->closed_fds, 0);
        assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
        if (kind == DIRECT)
            ipc_direct_free(w->direct);
        else
            ipc_queue_fini(&w->queue);
        assert_int_equal(w->closed_fds, 1);
        w->direct = NULL;
        if (kind == ENCODED)
            world_free(w);
        else
            free(w);
    }
}

static void
test_a_cut_carrier(void **state)
{
    struct world *w = world_new(ENCODED);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN};
    struct iscsi_kevent up = {.type = ISCSI_KEVENT_EP_EVENT};

    (void)state;
    w->queue.cut = true;
    ev.u.bind_conn.fd = 42;
    assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), -EPIPE);
    assert_int_equal(w->closed_fds, 0); /* it stays the caller's */
    assert_int_equal(w->client.event(w->client.binding, &up, NULL), -EPIPE);
    world_free(w);
}

/* ---- what no encoder writes ----------------------------------------------------------------- */

static void
send_raw(struct world *w, enum ipc_lane lane, const struct iscsi_uevent *ev, uint32_t data_len,
         uint32_t room)
{
    struct ipc_packet *p = ipc_packet_new(room);
    uint8_t buf[IPC_MSG_MAX];
    int n = ipc_encode_uevent(ev, buf, sizeof(buf));

    assert_true(n > 0 && (uint32_t)n + data_len <= room);
    memcpy(p->bytes, buf, (size_t)n);
    memset(p->bytes + n, 0, data_len);
    p->lane = lane;
    p->len = (uint32_t)n;
    p->data_len = data_len;
    p->fd = 7;
    assert_int_equal(ipc_queue_send(&w->queue.carrier, p), 0);
    fake_turn(&w->fl);
}

/* Rows: a packet for the server that is at fault; afterwards it hears nothing any more. */
static void
test_a_client_at_fault(void **state)
{
    (void)state;
    for (int row = 0; row < 5; row++) {
        struct world *w = world_new(ENCODED);
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_SESSION};

        if (row == 0) { /* garbage */
            struct ipc_packet *p = ipc_packet_new(IPC_MSG_MAX);

            memset(p->bytes, 0xee, 99);
            p->len = 99;
            p->lane = IPC_LANE_REQUESTS;
            assert_int_equal(ipc_queue_send(&w->queue.carrier, p), 0);
            fake_turn(&w->fl);
        } else if (row == 1) { /* data that the message does not speak of */
            send_raw(w, IPC_LANE_REQUESTS, &ev, 8, 2 * IPC_MSG_MAX + IPC_REPLY_DATA_MAX);
        } else if (row == 2) { /* no room for the answer */
            send_raw(w, IPC_LANE_REQUESTS, &ev, 0, IPC_MSG_MAX);
        } else if (row == 3) { /* a descriptor that nobody asks for */
            send_raw(w, IPC_LANE_REQUESTS, &ev, 0, 2 * IPC_MSG_MAX + IPC_REPLY_DATA_MAX);
        } else { /* data that is promised and not there */
            ev.type = ISCSI_UEVENT_SEND_PDU;
            ev.u.send_pdu.data_len = IPC_PDU_DATA_MAX;
            send_raw(w, IPC_LANE_REQUESTS, &ev, 0, 2 * IPC_MSG_MAX);
        }
        assert_int_equal(w->nrequests, 0);
        assert_int_equal(w->server_broken, -EPROTO);
        assert_int_equal(w->closed_fds, row > 0);
        ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_LIST_SESSIONS};
        assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), 0);
        fake_turn(&w->fl);
        assert_int_equal(w->nrequests, 0);
        world_free(w);
    }
}

static void
test_a_server_at_fault(void **state)
{
    struct world *w = world_new(ENCODED);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_SESSIONS};

    (void)state;
    send_raw(w, IPC_LANE_EVENTS, &ev, 0, IPC_MSG_MAX); /* a request is no event */
    assert_int_equal(w->nevents, 0);
    assert_int_equal(w->client_broken, -EPROTO);
    assert_int_equal(w->closed_fds, 1);
    assert_int_equal(ipc_request(w->ipc, &ev, NULL, 0), -EPIPE);
    world_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_requests_replies_events),
        cmocka_unit_test(test_answers_that_come_later),
        cmocka_unit_test(test_limits_of_a_request),
        cmocka_unit_test(test_descriptors),
        cmocka_unit_test(test_a_cut_carrier),
        cmocka_unit_test(test_a_client_at_fault),
        cmocka_unit_test(test_a_server_at_fault),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
