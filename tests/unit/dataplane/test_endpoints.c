/* SPDX-License-Identifier: MIT */
/* The life of endpoints: events instead of polling, and the order in which connections, endpoints
 * and sessions end, however long the transport takes. */
#include "tests/unit/dataplane/dpw.h"

static void
test_an_event_says_that_it_is_up(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;

    (void)state;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), 0);
    ep = w->reply.r.ep;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_POLL, 0, 0, ep), 0);
    assert_int_equal(w->reply.r.value, 0);
    assert_int_equal(w->nevents, 0);
    fake_advance(&w->fl, MS(40));
    assert_int_equal(w->nevents, 1);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_EP_EVENT)->u.ep_event.ep, ep);
    assert_int_equal(w->event[0].u.ep_event.err, 0);
    assert_int_equal(w->event[0].number, 1);
    assert_int_equal(w->event[0].sid, 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_POLL, 0, 0, ep), 0);
    assert_int_equal(w->reply.r.value, 1);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), 0);
    assert_int_equal(dataplane_busy(w->dp), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_POLL, 0, 0, ep), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), -ENOENT);
    dpw_free(w);
}

/* The transport is told from where, and with which options, where there are any. */
static void
test_what_an_endpoint_knows(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TRANSPORT_EP_CONNECT};
    struct dpw *w = dpw_new();

    (void)state;
    (void)dpw_endpoint(w);
    assert_int_equal(dpw_adapter.source.len, 0);
    assert_string_equal(dpw_adapter.options, "-");
    strcpy(ev.u.ep_connect.transport, "fake");
    strcpy(ev.u.ep_connect.options, "iser_stag=pool");
    ev.u.ep_connect.source.len = 16;
    memset(&ev.u.ep_connect.source.ss, 0x11, 16);
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    assert_string_equal(dpw_adapter.options, "iser_stag=pool");
    assert_int_equal(dpw_adapter.source.len, 16);
    assert_memory_equal(&dpw_adapter.source.ss, &ev.u.ep_connect.source.ss, 16);
    memset(ev.u.ep_connect.options, 'x', sizeof(ev.u.ep_connect.options));
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EINVAL);
    dpw_free(w);
}

static void
test_an_event_says_that_it_failed(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;

    (void)state;
    fake_adapter.ep_result = -ECONNREFUSED;
    ep = dpw_endpoint(w);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_EP_EVENT)->u.ep_event.err, -ECONNREFUSED);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_POLL, 0, 0, ep), -ECONNREFUSED);
    assert_string_equal(w->reply.why.msg, "Connection refused");
    fake_adapter.ep_why = "nobody listens there for RDMA";
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_POLL, 0, 0, ep), -ECONNREFUSED);
    assert_string_equal(w->reply.why.msg, fake_adapter.ep_why);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), 0);
    dpw_free(w);
}

static void
test_no_event_after_the_end(void **state)
{
    struct dpw *w = dpw_new();

    (void)state;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, w->reply.r.ep), 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nevents, 0);
    dpw_free(w);
}

/* Rows: who ends what, and whether the transport takes its time to stop. */
enum ending {
    END_EP,
    END_CONN_THEN_EP,
    END_SESSION_THEN_EP,
    END_EP_THEN_SESSION,
    END_ALL,
    ENDINGS
};

static void
end_it(struct dpw *w, enum ending how, uint32_t sid, uint64_t ep)
{
    struct iscsi_uevent gone = {.type = ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, .ep = ep};
    struct iscsi_uevent conn = {.type = ISCSI_UEVENT_DESTROY_CONN, .sid = sid, .cid = 1};
    struct iscsi_uevent session = {.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = sid};

    if (how == END_CONN_THEN_EP)
        dpw_send(w, &conn, NULL, 0);
    if (how == END_SESSION_THEN_EP)
        dpw_send(w, &session, NULL, 0);
    if (how == END_ALL)
        dataplane_shutdown(w->dp);
    else
        dpw_send(w, &gone, NULL, 0);
    if (how == END_EP_THEN_SESSION)
        dpw_send(w, &session, NULL, 0);
}

/* Whatever ends first: the endpoint is disconnected once, after the connection was let go of. */
static void
test_stop_conn_ends_before_ep_disconnect(void **state)
{
    (void)state;
    for (int how = 0; how < ENDINGS; how++) {
        for (int slow = 0; slow < 2; slow++) {
            struct dpw *w = dpw_new();
            uint64_t ep;
            uint32_t sid = how % 2 == 0 ? dpw_started(w, &ep) : dpw_bound(w, &ep);

            dpw_adapter.slow_stop = slow;
            end_it(w, (enum ending)how, sid, ep);
            fake_advance(&w->fl, SEC(1));
            if (slow) {
                assert_int_equal(dpw_adapter.nsteps, 0);
                assert_true(dataplane_busy(w->dp) > 0);
                dpw_stopped();
                fake_advance(&w->fl, SEC(1));
            }
            assert_int_equal(dpw_adapter.nsteps, 2);
            assert_int_equal(dpw_adapter.step[0], STEP_STOP_CONN);
            assert_int_equal(dpw_adapter.step[1], STEP_EP_DISCONNECT);
            assert_int_equal(dpw_events_of(w, ISCSI_KEVENT_CONN_ERROR), 0);
            dpw_free(w);
            assert_int_equal(dpw_adapter.nsteps, 2);
        }
    }
}

/* EP_DISCONNECT is answered when the endpoint is really gone. */
static void
test_ep_disconnect_is_answered_at_the_end(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct iscsi_uevent gone = {.type = ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, .ep = ep};
    unsigned before = w->nreplies;

    (void)state;
    dpw_adapter.slow_stop = true;
    dpw_send(w, &gone, NULL, 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nreplies, before);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), 0);
    assert_int_equal(w->reply.r.conn.state, IPC_CONN_DOWN);
    dpw_stopped();
    fake_advance(&w->fl, MS(1));
    assert_int_equal(w->nreplies, before + 3);
    assert_int_equal(w->reply.type, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT);
    assert_int_equal(w->reply.seq, gone.seq);
    assert_int_equal(w->reply.err, 0);
    dpw_free(w);
}

/* A connection that is lost gives its endpoint back to the client. */
static void
test_a_lost_connection_lets_go(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct iscsi_conn *c = fake_adapter.conn;

    (void)state;
    c->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, "cut by the test");
    fake_advance(&w->fl, MS(1));
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_CONN_ERROR)->sid, sid);
    assert_int_equal(w->event[w->nevents - 1].cid, 1);
    assert_int_equal(w->event[w->nevents - 1].u.conn_error.err, ISCSI_ERR_CONN_CLOSED);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), 0);
    assert_int_equal(w->reply.r.conn.state, IPC_CONN_DOWN);
    assert_int_equal(w->reply.r.conn.ep, 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_ENDPOINTS, 0, 0, 0), 0);
    assert_int_equal(w->reply.r.endpoints.count, 1);
    assert_int_equal(w->reply.r.endpoints.ep[0].sid, 0);
    assert_int_equal(w->reply.r.endpoints.ep[0].owner, 1);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), 0);
    dpw_free(w);
}

/* The number of a connection may be used again while its predecessor is still with the transport,
 * and the end of that is not taken for the end of the new one. */
static void
test_a_new_connection_of_the_same_number(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep, ep2;
    uint32_t sid = dpw_bound(w, &ep);

    (void)state;
    dpw_adapter.slow_stop = true;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_CONN, sid, 1, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 1, 0), 0);
    ep2 = dpw_endpoint(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), -EBUSY);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep2), 0);
    dpw_stopped();
    fake_advance(&w->fl, MS(1));
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), 0);
    assert_int_equal(w->reply.r.conn.state, IPC_CONN_BOUND);
    assert_int_equal(w->reply.r.conn.ep, ep2);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), 0);
    dpw_free(w);
}

static void
test_binding_is_refused(void **state)
{
    struct dpw *w = dpw_new();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN, .cid = 2};
    uint64_t ep, other;
    uint32_t sid = dpw_bound(w, &ep);
    struct iscsi_uevent con = {.type = ISCSI_UEVENT_TRANSPORT_EP_CONNECT};

    (void)state;
    strcpy(con.u.ep_connect.transport, "other");
    assert_int_equal(dpw_ask(w, &con, NULL, 0), 0);
    other = w->reply.r.ep;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 2, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 2, ep), -EBUSY); /* has another */
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), -EBUSY);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 2, 77), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 2, other), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 2, 0), -ENOENT);
    /* a descriptor is closed wherever it is not taken */
    ev.sid = sid;
    ev.u.bind_conn.fd = 5;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EINVAL); /* the adapter takes none */
    ev.cid = 9;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -ENOENT);
    assert_int_equal(w->closed_fds, 2);
    dpw_free(w);
}

/* A transport is asked only for what its table says: it gets a descriptor where it takes one, and
 * an endpoint that is up.  (The adapter would take both here.) */
static int
bind_anything(struct iscsi_conn *c, int64_t eph, struct iscsi_endpoint *ep, bool leading,
              struct lunette_error *err)
{
    (void)c;
    (void)eph;
    (void)ep;
    (void)leading;
    (void)err;
    return 0;
}

/* What the seam promises of the transport's part of each. */
static void
test_dd_data_suits_any_type(void **state)
{
    struct dpw *w = dpw_new();
    const struct iscsi_conn *c;
    uint64_t ep;

    (void)state;
    (void)dpw_bound(w, &ep);
    c = fake_adapter.conn;
    assert_int_equal((uintptr_t)c->dd_data % _Alignof(max_align_t), 0);
    assert_int_equal((uintptr_t)c->session->dd_data % _Alignof(max_align_t), 0);
    assert_int_equal((uintptr_t)dpw_adapter.ep_dd_data % _Alignof(max_align_t), 0);
    dpw_free(w);
}

static void
test_a_descriptor_is_not_for_every_transport(void **state)
{
    struct dpw *w = dpw_new();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN, .cid = 1};

    (void)state;
    w->registry.t[0].bind_conn = bind_anything;
    ev.sid = dpw_session(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, ev.sid, 1, 0), 0);
    ev.u.bind_conn.fd = 5;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EINVAL);
    assert_int_equal(w->closed_fds, 1);
    ev.u.bind_conn.fd = -EMFILE; /* one was sent, and the binding could not receive it */
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EMFILE);
    assert_non_null(strstr(w->reply.why.msg, "LimitNOFILE"));
    assert_int_equal(w->closed_fds, 1);
    dpw_free(w);
}

static void
test_an_endpoint_is_up_before_it_is_bound(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;
    uint32_t sid = dpw_session(w);

    (void)state;
    w->registry.t[0].bind_conn = bind_anything;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 1, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), 0);
    ep = w->reply.r.ep;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), -ENOTCONN);
    fake_advance(&w->fl, MS(40));
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 2, 0), 0);
    fake_adapter.ep_result = -ECONNREFUSED;
    ep = dpw_endpoint(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 2, ep), -ENOTCONN);
    dpw_free(w);
}

/* A client that never disconnects any finds an end. */
static void
test_endpoints_are_bounded(void **state)
{
    struct dpw *w = dpw_new();

    (void)state;
    w->registry.t[0].ep_disconnect = fake_transport.ep_disconnect; /* nobody counts them */
    for (unsigned i = 0; i < DATAPLANE_ENDPOINTS_MAX; i++)
        assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), -EAGAIN);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, 1), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), 0);
    dpw_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_event_says_that_it_is_up),
        cmocka_unit_test(test_what_an_endpoint_knows),
        cmocka_unit_test(test_an_event_says_that_it_failed),
        cmocka_unit_test(test_no_event_after_the_end),
        cmocka_unit_test(test_stop_conn_ends_before_ep_disconnect),
        cmocka_unit_test(test_ep_disconnect_is_answered_at_the_end),
        cmocka_unit_test(test_a_lost_connection_lets_go),
        cmocka_unit_test(test_a_new_connection_of_the_same_number),
        cmocka_unit_test(test_binding_is_refused),
        cmocka_unit_test(test_dd_data_suits_any_type),
        cmocka_unit_test(test_a_descriptor_is_not_for_every_transport),
        cmocka_unit_test(test_an_endpoint_is_up_before_it_is_bound),
        cmocka_unit_test(test_endpoints_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
