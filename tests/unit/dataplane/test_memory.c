/* SPDX-License-Identifier: MIT */
/* Each allocation fails in turn around the bindings and the data plane: requests are refused or
 * answered, events arrive or are counted as lost, and nothing else happens. */
#include "tests/test.h"
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "dataplane/dataplane.h"
#include "ipc/ipc.h"
#include "tests/support/fake_transport.h"
#include "tests/support/ipc_queue.h"
#include "transport/transport.h"

/* Volatile, as a compiler that sees all of the program (LTO) may take it that malloc changes no
 * variable of ours. */
static volatile unsigned allocations, fail_at; /* counted from 1; 0: none fails */
static volatile bool fail_all;

static bool
fails(void)
{
    return ++allocations == fail_at || fail_all;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);

void *
__wrap_malloc(size_t n)
{
    return fails() ? NULL : __real_malloc(n);
}

void *
__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *
__wrap_realloc(void *p, size_t n)
{
    return fails() ? NULL : __real_realloc(p, n);
}

enum kind { DIRECT, ENCODED, KINDS };

struct world {
    struct fake_loop fl;
    struct transport_registry registry;
    struct dataplane *dp;
    struct ipc_queue queue;
    struct ipc_direct *direct;
    struct ipc_encoded_client *client_end;
    struct ipc_encoded_server *server_end;
    struct ipc *ipc;
    struct iscsi_reply reply;
    unsigned nreplies, refused, nomem;
    uint64_t next_event, lost;
};

static void
on_reply(void *user, const struct iscsi_reply *rep)
{
    struct world *w = user;

    w->reply = *rep;
    w->nreplies++;
    w->nomem += rep->err == -ENOMEM;
    assert_true(rep->err == 0 || rep->err == -ENOMEM || rep->err == -ENOENT ||
                rep->err == -ENOTCONN || rep->err == -EBUSY);
}

/* Numbers go on without a gap but for what LOST says. */
static void
on_event(void *user, const struct iscsi_kevent *ev, const void *data)
{
    struct world *w = user;

    (void)data;
    if (ev->type == ISCSI_KEVENT_LOST) {
        assert_int_equal(ev->number, w->next_event + ev->u.lost.count);
        w->lost += ev->u.lost.count;
    } else {
        assert_int_equal(ev->number, w->next_event);
    }
    w->next_event = ev->number + 1;
}

static const struct ipc_events client_events = {.reply = on_reply, .event = on_event};

static int
plug(struct world *w, enum kind kind, struct ipc_client *client)
{
    int r;

    if (kind == DIRECT) {
        r = ipc_direct_new(&w->fl.l, &dataplane_server_ops, w->dp, &w->direct, client);
        if (r == 0)
            w->ipc = ipc_direct_ipc(w->direct);
        return r;
    }
    ipc_queue_init(&w->queue, &w->fl.l);
    r = ipc_encoded_client_new(&w->queue.carrier, NULL, NULL, &w->client_end);
    if (r == 0)
        r = ipc_encoded_server_new(&w->queue.carrier, &dataplane_server_ops, w->dp, NULL, NULL,
                                   &w->server_end, client);
    if (r == 0)
        w->ipc = ipc_encoded_client_ipc(w->client_end);
    return r;
}

static void
unplug(struct world *w, enum kind kind)
{
    if (kind == DIRECT) {
        ipc_direct_free(w->direct);
        return;
    }
    ipc_encoded_client_free(w->client_end);
    ipc_encoded_server_free(w->server_end);
    ipc_queue_fini(&w->queue);
}

/* One request: refused at once for want of memory, or answered. */
static int
ask(struct world *w, struct iscsi_uevent *ev, const void *data, uint32_t len)
{
    unsigned before = w->nreplies;
    int r = ipc_request(w->ipc, ev, data, len);

    if (r < 0) {
        assert_int_equal(r, -ENOMEM);
        w->refused++;
        return r;
    }
    fake_advance(&w->fl, MS(200));
    assert_int_equal(w->nreplies, before + 1);
    assert_int_equal(w->reply.seq, ev->seq);
    return w->reply.err;
}

static int
ask_for(struct world *w, enum iscsi_uevent_type type, uint32_t sid, uint64_t ep)
{
    struct iscsi_uevent ev = {.type = type, .sid = sid, .cid = 1, .ep = ep};

    if (type == ISCSI_UEVENT_TRANSPORT_EP_CONNECT)
        strcpy(ev.u.ep_connect.transport, "fake");
    if (type == ISCSI_UEVENT_CREATE_SESSION)
        strcpy(ev.u.create_session.transport, "fake");
    if (type == ISCSI_UEVENT_BIND_CONN)
        ev.u.bind_conn.fd = -1;
    if (type == ISCSI_UEVENT_SET_PARAM) {
        ev.u.set_param.param = ISCSI_PARAM_TARGET_NAME;
        strcpy(ev.u.set_param.value, "iqn.2026-11.example:t");
    }
    if (type == ISCSI_UEVENT_SET_NOTE) {
        ev.u.set_note.len = 5;
        return ask(w, &ev, "hello", 5);
    }
    if (type == ISCSI_UEVENT_SEND_PDU) {
        bhs_init(&ev.u.send_pdu.hdr, ISCSI_OP_LOGIN_REQ | ISCSI_OP_IMMEDIATE,
                 bhs_login_flags(1, 3, ISCSI_LOGIN_TRANSIT));
        ev.u.send_pdu.data_len = 4;
        return ask(w, &ev, "a=b", 4);
    }
    return ask(w, &ev, NULL, 0);
}

/* Every kind of request that takes memory, and events of three kinds. */
static void
drive(struct world *w)
{
    static const enum iscsi_uevent_type on_conn[] = {
        ISCSI_UEVENT_CREATE_CONN, ISCSI_UEVENT_BIND_CONN,   ISCSI_UEVENT_SEND_PDU,
        ISCSI_UEVENT_SET_PARAM,   ISCSI_UEVENT_SET_NOTE,    ISCSI_UEVENT_GET_SESSION,
        ISCSI_UEVENT_GET_CONN,    ISCSI_UEVENT_START_CONN,  ISCSI_UEVENT_LIST_SESSIONS,
        ISCSI_UEVENT_GET_STATS,   ISCSI_UEVENT_DESTROY_CONN};
    uint64_t ep = 0;
    uint32_t sid = 0;

    if (ask_for(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0) == 0)
        ep = w->reply.r.ep;
    if (ask_for(w, ISCSI_UEVENT_CREATE_SESSION, 0, 0) == 0)
        sid = w->reply.sid;
    for (size_t i = 0; i < sizeof(on_conn) / sizeof(on_conn[0]); i++) {
        (void)ask_for(w, on_conn[i], sid, ep);
        if (on_conn[i] == ISCSI_UEVENT_START_CONN && fake_adapter.conn != NULL) {
            struct iscsi_conn *c = fake_adapter.conn;

            c->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, "cut by the test");
            fake_advance(&w->fl, MS(200));
        }
    }
    if (ep != 0)
        (void)ask_for(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, ep);
    if (sid != 0)
        (void)ask_for(w, ISCSI_UEVENT_DESTROY_SESSION, sid, 0);
}

/* One run in which that allocation fails; whether it was reached. */
static bool
run(enum kind kind, unsigned at)
{
    struct world *w = __real_calloc(1, sizeof(*w));
    struct ipc_client client;

    fake_adapter_reset();
    fake_adapter.ep_delay_ns = MS(30);
    fake_loop_init(&w->fl, 1);
    assert_int_equal(transport_register(&w->registry, &fake_transport, NULL), 0);
    assert_int_equal(dataplane_new(&w->fl.l, &w->registry, &w->dp, NULL), 0);
    w->next_event = 1;
    allocations = 0;
    fail_at = at;
    if (plug(w, kind, &client) == 0) {
        w->ipc->ev = &client_events;
        w->ipc->ev_user = w;
        (void)dataplane_set_client(w->dp, &client);
        drive(w);
        fake_advance(&w->fl, SEC(1)); /* what was lost is said by now */
        if (at == 0)
            assert_int_equal(w->next_event, 5);
        assert_true(w->refused + w->nomem + w->lost <= 1); /* one failure has one consequence */
        dataplane_detach(w->dp, 1);
    }
    at = allocations;
    dataplane_shutdown(w->dp);
    fake_advance(&w->fl, SEC(100));
    assert_int_equal(dataplane_busy(w->dp), 0);
    unplug(w, kind);
    dataplane_free(w->dp);
    free(w);
    return at >= fail_at;
}

static void
test_each_allocation_fails_in_turn(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        unsigned at = 1;

        (void)run((enum kind)kind, 0);
        while (run((enum kind)kind, at))
            at++;
        assert_true(at > 20); /* the bindings and the data plane do take memory */
        fail_at = 0;
    }
}

static struct world *
world_with(enum kind kind)
{
    struct world *w = __real_calloc(1, sizeof(*w));
    struct ipc_client client;

    fail_at = 0;
    fake_adapter_reset();
    fake_adapter.ep_delay_ns = SEC(1);
    fake_loop_init(&w->fl, 1);
    assert_int_equal(transport_register(&w->registry, &fake_transport, NULL), 0);
    assert_int_equal(dataplane_new(&w->fl.l, &w->registry, &w->dp, NULL), 0);
    w->next_event = 1;
    assert_int_equal(plug(w, kind, &client), 0);
    w->ipc->ev = &client_events;
    w->ipc->ev_user = w;
    (void)dataplane_set_client(w->dp, &client);
    return w;
}

static void
world_end(struct world *w, enum kind kind)
{
    dataplane_shutdown(w->dp);
    fake_advance(&w->fl, SEC(1));
    unplug(w, kind);
    dataplane_free(w->dp);
    free(w);
}

/* All allocations fail while events come: they are counted, and the client hears of it at once. */
static void
test_events_without_memory(void **state)
{
    struct world *w = world_with(DIRECT);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TRANSPORT_EP_CONNECT};

    (void)state;
    strcpy(ev.u.ep_connect.transport, "fake");
    for (int i = 0; i < 3; i++)
        assert_int_equal(ask(w, &ev, NULL, 0), 0);
    fail_all = true;
    fake_advance(&w->fl, SEC(3));
    fail_all = false;
    assert_int_equal(w->lost, 3);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->lost, 3);
    assert_true(w->next_event == 5 || w->next_event == 7); /* told together, or in turn */
    world_end(w, DIRECT);
}

/* The encoded binding keeps the memory for one LOST, and tells the rest when there is some. */
static void
test_one_lost_without_memory(void **state)
{
    struct world *w = world_with(ENCODED);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TRANSPORT_EP_CONNECT};

    (void)state;
    strcpy(ev.u.ep_connect.transport, "fake");
    assert_int_equal(ask(w, &ev, NULL, 0), 0);
    fake_advance(&w->fl, MS(500));
    assert_int_equal(ask(w, &ev, NULL, 0), 0);
    fail_all = true;
    fake_advance(&w->fl, SEC(3));
    fail_all = false;
    assert_int_equal(w->lost, 1);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->lost, 2);
    world_end(w, ENCODED);
}

/* What is reserved is there for each request that tidies up, again and again, and for no other. */
static void
test_tidying_up_without_memory(void **state)
{
    (void)state;
    for (int kind = 0; kind < KINDS; kind++) {
        struct world *w = world_with((enum kind)kind);
        struct iscsi_uevent gone = {.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = 77};

        assert_int_equal(ipc_reserve(w->ipc), 0);
        fail_all = true;
        assert_int_equal(ipc_reserve(w->ipc), -ENOMEM);
        assert_int_equal(ask_for(w, ISCSI_UEVENT_LIST_SESSIONS, 0, 0), -ENOMEM);
        for (int i = 0; i < 5; i++) {
            assert_int_equal(ask_for(w, ISCSI_UEVENT_STOP_CONN, 77, 0), -ENOENT);
            assert_int_equal(ask_for(w, ISCSI_UEVENT_DESTROY_SESSION, 77, 0), -ENOENT);
        }
        assert_int_equal(ipc_request(w->ipc, &gone, NULL, 0), 0);
        assert_int_equal(ipc_request(w->ipc, &gone, NULL, 0), -ENOMEM); /* one at a time */
        fake_advance(&w->fl, SEC(1));
        fail_all = false;
        ipc_unreserve(w->ipc);
        world_end(w, (enum kind)kind);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_allocation_fails_in_turn),
        cmocka_unit_test(test_events_without_memory),
        cmocka_unit_test(test_one_lost_without_memory),
        cmocka_unit_test(test_tidying_up_without_memory),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
