/* SPDX-License-Identifier: MIT */
/* Clients that come and go: versions, generations, what they leave behind, and the events that wait
 * for the next one. */
#include "tests/unit/dataplane/dpw.h"

#define GRACE_MS 10000

static const struct dataplane_limits small_limits = {
    .grace_ms = GRACE_MS, .events_max = 4, .event_bytes_max = 1u << 20};

static int
hello(struct dpw *w, uint32_t min, uint32_t max)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};

    ev.u.hello.min = min;
    ev.u.hello.max = max;
    return dpw_ask(w, &ev, NULL, 0);
}

static int
take_events(struct dpw *w, uint64_t from)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_TAKE_EVENTS};

    ev.u.take_events.from = from;
    return dpw_ask(w, &ev, NULL, 0);
}

/* A client of another program attaches and says HELLO. */
static void
attach(struct dpw *w)
{
    w->client.hello = true;
    (void)dataplane_set_client(w->dp, &w->client);
    assert_int_equal(hello(w, 1, 1), 0);
}

static void
detach(struct dpw *w, uint64_t generation)
{
    w->nevents = 0;
    dataplane_detach(w->dp, generation);
}

/* One event: an endpoint is up. */
static uint64_t
some_event(struct dpw *w)
{
    return dpw_endpoint(w);
}

static void
test_hello_comes_first(void **state)
{
    struct dpw *w = dpw_new_alone(NULL);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN, .sid = 1, .cid = 1};

    (void)state;
    w->client.hello = true;
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 1);
    for (int t = 0; t < ISCSI_UEVENT_COUNT; t++) {
        if (t != ISCSI_UEVENT_HELLO)
            assert_int_equal(dpw_do(w, (enum iscsi_uevent_type)t, 1, 1, 1), -EPROTO);
    }
    ev.u.bind_conn.fd = 42; /* the data plane's from the call on, served or not */
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EPROTO);
    assert_int_equal(w->closed_fds, 1);
    assert_int_equal(hello(w, 0, 0), -EPROTONOSUPPORT);
    assert_int_equal(hello(w, 2, 1), -EINVAL);
    assert_int_equal(hello(w, IPC_VERSION_MAX + 1, IPC_VERSION_MAX + 5), -EPROTONOSUPPORT);
    assert_non_null(strstr(w->reply.why.msg, "versions 2 to 6"));
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_SESSIONS, 0, 0, 0), -EPROTO);
    assert_int_equal(hello(w, 0, IPC_VERSION_MAX + 7), 0);
    assert_int_equal(w->reply.r.hello.version, IPC_VERSION_MAX);
    assert_int_equal(w->reply.r.hello.generation, 1);
    assert_int_equal(w->reply.r.hello.next_event, 1);
    assert_int_equal(w->reply.r.hello.first_event, 1);
    assert_int_equal(w->reply.r.hello.grace_ms, DATAPLANE_GRACE_MS);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_SESSIONS, 0, 0, 0), 0);
    dpw_free(w);
}

/* Each loop of a process has a data plane, and a client says which it means. */
static void
test_hello_names_the_loop(void **state)
{
    struct dpw *w = dpw_new_alone(NULL);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO, .u.hello = {1, 1, 1}};

    (void)state;
    w->client.hello = true;
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 1);
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EINVAL);
    assert_non_null(strstr(w->reply.why.msg, "loop 1"));
    assert_int_equal(hello(w, 1, 1), 0);
    assert_int_equal(w->reply.r.hello.loops, 1);
    dpw_free(w);
    w = dpw_new_alone(NULL);
    dataplane_set_loops(w->dp, 2, 4);
    w->client.hello = true;
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 1);
    for (ev.u.hello.loop = 0; ev.u.hello.loop < 6; ev.u.hello.loop++) {
        assert_int_equal(dpw_ask(w, &ev, NULL, 0), ev.u.hello.loop == 2 ? 0 : -EINVAL);
        assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_SESSIONS, 0, 0, 0),
                         ev.u.hello.loop < 2 ? -EPROTO : 0);
        if (ev.u.hello.loop == 2)
            assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    }
    assert_int_equal(
        dpw_ask(w, &(struct iscsi_uevent){.type = ISCSI_UEVENT_HELLO, .u.hello = {1, 1, 2}}, NULL,
                0),
        0);
    assert_int_equal(w->reply.r.hello.loops, 4);
    dpw_free(w);
}

/* A descriptor belongs to the data plane from the request on, also where that is refused. */
static void
test_a_descriptor_before_hello_is_closed(void **state)
{
    struct dpw *w = dpw_new_alone(NULL);
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN, .sid = 1, .cid = 1};

    (void)state;
    w->client.hello = true;
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 1);
    ev.u.bind_conn.fd = 5;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EPROTO);
    assert_int_equal(w->closed_fds, 1);
    dpw_free(w);
}

static void
test_events_wait_for_take_events(void **state)
{
    struct dpw *w = dpw_new_alone(NULL);

    (void)state;
    attach(w);
    for (int i = 0; i < 4; i++)
        (void)some_event(w);
    assert_int_equal(w->nevents, 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_ENDPOINTS, 0, 0, 0), 0);
    assert_int_equal(w->reply.r.endpoints.next_event, 5);
    assert_int_equal(take_events(w, 3), 0);
    assert_int_equal(w->nevents, 2);
    assert_int_equal(w->event[0].number, 3);
    assert_int_equal(w->event[1].number, 4);
    (void)some_event(w);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_EP_EVENT)->number, 5);
    dpw_free(w);
}

static void
test_events_wait_for_the_next_client(void **state)
{
    struct dpw *w = dpw_new_alone(NULL);
    uint64_t ep;
    struct iscsi_conn *c;

    (void)state;
    attach(w);
    assert_int_equal(take_events(w, 0), 0);
    (void)dpw_started(w, &ep);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_SESSION_STATE)->u.session_state.state,
                     IPC_SESSION_RUNNING);
    detach(w, 1);
    c = fake_adapter.conn;
    c->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, "cut by the test");
    fake_advance(&w->fl, MS(1));
    assert_int_equal(w->nevents, 0);
    attach(w);
    assert_int_equal(w->reply.r.hello.generation, 2);
    assert_int_equal(w->reply.r.hello.first_event, 3);
    assert_int_equal(w->reply.r.hello.next_event, 5);
    assert_int_equal(take_events(w, w->reply.r.hello.first_event), 0);
    assert_int_equal(w->nevents, 2);
    assert_int_equal(w->event[0].type, ISCSI_KEVENT_SESSION_STATE);
    assert_int_equal(w->event[0].u.session_state.state, IPC_SESSION_FAILED);
    assert_string_equal(w->event[0].u.session_state.why.msg, "cut by the test");
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_CONN_ERROR)->number, 4);
    assert_string_equal(w->event[1].u.conn_error.why.msg, "cut by the test");
    dpw_free(w);
}

/* A session that has lost its connection while no client is there fails on time all the same, the
 * reopen that a client has left in the middle changes nothing of it, and the next client is told
 * and can bring the session back. */
static void
test_a_session_fails_on_time_without_a_client(void **state)
{
    static const struct dataplane_limits limits = {
        .grace_ms = GRACE_MS, .events_max = 64, .event_bytes_max = 1u << 20};

    (void)state;
    for (int reopening = 0; reopening < 2; reopening++) {
        struct dpw *w = dpw_new_alone(&limits);
        const struct iscsi_kevent *told;
        struct scsi_host *h;
        uint64_t ep;
        uint32_t sid;

        attach(w);
        assert_int_equal(take_events(w, 0), 0);
        sid = dpw_started(w, &ep);
        assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_RECOVERY_TMO, "60"), 0);
        h = dataplane_host(w->dp, sid);
        fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
        fake_advance(&w->fl, MS(1));
        assert_int_equal(h->state, SCSI_HOST_BLOCKED);
        if (reopening) {
            ep = dpw_endpoint(w);
            assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), 0);
        }
        detach(w, 1);
        fake_advance(&w->fl, SEC(59));
        assert_int_equal(h->state, SCSI_HOST_BLOCKED);
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(h->state, SCSI_HOST_GONE);
        attach(w);
        assert_int_equal(take_events(w, 0), 0);
        told = dpw_last_event(w, ISCSI_KEVENT_SESSION_STATE);
        assert_int_equal(told->u.session_state.state, IPC_SESSION_FAILED);
        assert_non_null(strstr(told->u.session_state.why.msg, "not recovered within 60 s"));
        ep = dpw_endpoint(w);
        assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 1, ep), 0);
        assert_int_equal(dpw_do(w, ISCSI_UEVENT_START_CONN, sid, 1, 0), 0);
        assert_int_equal(h->state, SCSI_HOST_RUNNING);
        told = dpw_last_event(w, ISCSI_KEVENT_SESSION_STATE);
        assert_int_equal(told->u.session_state.state, IPC_SESSION_RUNNING);
        assert_int_equal(told->u.session_state.why.code, 0);
        dpw_free(w);
    }
}

/* Four fit; the fifth and all after it count as lost until that has been said. */
static void
test_lost_events_are_said(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);

    (void)state;
    attach(w);
    for (int i = 0; i < 7; i++)
        (void)some_event(w);
    assert_int_equal(take_events(w, 0), 0);
    assert_int_equal(w->nevents, 5);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(w->event[i].number, i + 1);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_LOST)->u.lost.count, 3);
    assert_int_equal(w->event[4].number, 8);
    (void)some_event(w);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_EP_EVENT)->number, 9);
    dpw_free(w);
}

/* Whoever has asked for the state after the loss has lost nothing. */
static void
test_a_loss_before_the_list_is_none(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);

    (void)state;
    attach(w);
    for (int i = 0; i < 7; i++)
        (void)some_event(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_ENDPOINTS, 0, 0, 0), 0);
    assert_int_equal(w->reply.r.endpoints.count, 7);
    assert_int_equal(take_events(w, w->reply.r.endpoints.next_event), 0);
    assert_int_equal(w->nevents, 0);
    (void)some_event(w);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_EP_EVENT)->number, 8);
    dpw_free(w);
}

static void
test_bytes_are_bounded_too(void **state)
{
    const struct dataplane_limits limits = {
        .grace_ms = GRACE_MS, .events_max = 1000, .event_bytes_max = 2048};
    struct dpw *w = dpw_new_alone(&limits);
    unsigned kept;

    (void)state;
    attach(w);
    for (int i = 0; i < 30; i++)
        (void)some_event(w);
    assert_int_equal(take_events(w, 0), 0);
    kept = w->nevents - 1;
    assert_true(kept > 0 && kept * sizeof(struct iscsi_kevent) <= limits.event_bytes_max);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_LOST)->u.lost.count, 30 - kept);
    dpw_free(w);
}

/* A client that has no memory for an event gets it a little later, in order. */
static void
test_an_event_that_is_not_taken_comes_again(void **state)
{
    struct dpw *w = dpw_new();

    (void)state;
    w->refuse_events = 3;
    (void)some_event(w);
    (void)some_event(w);
    (void)some_event(w);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nevents, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(w->event[i].number, i + 1);
    dpw_free(w);
}

static void
test_the_word_of_the_loss_comes_again(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);

    (void)state;
    (void)dataplane_set_client(w->dp, &w->client);
    w->refuse_events = UINT32_MAX;
    for (int i = 0; i < 6; i++)
        (void)some_event(w);
    w->refuse_events = 0;
    fake_advance(&w->fl, MS(60));
    assert_int_equal(w->nevents, 5);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_LOST)->u.lost.count, 2);
    dpw_free(w);
}

/* ---- generations ---------------------------------------------------------------------------- */

/* What a client had asked for is not answered to the next one. */
static void
test_answers_to_a_dead_client_are_dropped(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;
    uint32_t sid = dpw_started(w, &ep);
    struct iscsi_uevent destroy = {.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = sid};
    struct iscsi_uevent gone = {.type = ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, .ep = ep};
    unsigned before;

    (void)state;
    dpw_adapter.slow_stop = true;
    dpw_send(w, &destroy, NULL, 0);
    dpw_send(w, &gone, NULL, 0);
    detach(w, 1);
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 2);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.state, IPC_SESSION_ENDING);
    before = w->nreplies;
    dpw_stopped();
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(dataplane_busy(w->dp), 0);
    assert_int_equal(w->nreplies, before);
    dpw_free(w);
}

/* The newest client wins; the older one hears that it is not attached any more. */
static void
test_a_client_that_was_replaced_is_refused(void **state)
{
    struct dpw *w = dpw_new();
    static struct dpw other;
    struct iscsi_uevent bind = {.type = ISCSI_UEVENT_BIND_CONN, .seq = 5};
    struct ipc_client newer = w->client;

    (void)state;
    newer.binding = &other;
    other = (struct dpw){.dp = w->dp, .client = newer, .seq = 100};
    fake_loop_init(&other.fl, 1);
    assert_int_equal(dataplane_set_client(w->dp, &newer), 2);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_SESSION, 0, 0, 0), -ESTALE);
    bind.u.bind_conn.fd = 7;
    assert_int_equal(dpw_ask(w, &bind, NULL, 0), -ESTALE);
    assert_int_equal(w->closed_fds, 1);
    dataplane_detach(w->dp, 1); /* late, and harmless */
    /* the newer one is still attached */
    assert_int_equal(dpw_do(&other, ISCSI_UEVENT_UNKNOWN, 0, 0, 0), -ENOSYS);
    dpw_free(w);
}

static uint32_t
session_state(struct dpw *w, uint32_t sid)
{
    int r = dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0);

    return r < 0 ? UINT32_MAX : w->reply.r.session.state;
}

/* Nobody comes: a session never started and an endpoint go after the grace, and in order; a session
 * that runs stays. */
static void
test_half_made_things_are_undone(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);
    uint64_t ep, ep_bound;
    uint32_t half, runs;

    (void)state;
    (void)dataplane_set_client(w->dp, &w->client);
    ep = dpw_endpoint(w);
    half = dpw_bound(w, &ep_bound);
    runs = dpw_started(w, &ep);
    assert_int_equal(dataplane_busy(w->dp), 5);
    detach(w, 1);
    fake_advance(&w->fl, MS(GRACE_MS) - 1);
    assert_int_equal(dataplane_busy(w->dp), 5);
    dpw_adapter.nsteps = 0;
    fake_advance(&w->fl, MS(1));
    assert_int_equal(dataplane_busy(w->dp), 2);
    assert_int_equal(dpw_adapter.nsteps, 3); /* the lone endpoint may go first */
    assert_int_equal(dpw_adapter.step[2], STEP_EP_DISCONNECT);
    (void)dataplane_set_client(w->dp, &w->client);
    assert_int_equal(w->event[w->nevents - 1].type, ISCSI_KEVENT_SESSION_GONE);
    assert_int_equal(w->event[w->nevents - 1].sid, half);
    assert_int_equal(session_state(w, half), UINT32_MAX);
    assert_int_equal(session_state(w, runs), IPC_SESSION_RUNNING);
    fake_advance(&w->fl, MS(2 * GRACE_MS));
    assert_int_equal(session_state(w, runs), IPC_SESSION_RUNNING);
    dpw_free(w);
}

/* Rows: what the next client does with the half-made session before its time is up. */
static void
test_adopting(void **state)
{
    static const enum iscsi_uevent_type does[] = {
        ISCSI_UEVENT_ADOPT,      ISCSI_UEVENT_SET_NOTE,  ISCSI_UEVENT_SET_PARAM,
        ISCSI_UEVENT_START_CONN, ISCSI_UEVENT_STOP_CONN, ISCSI_UEVENT_UNKNOWN /* only looks */,
    };

    (void)state;
    for (size_t i = 0; i < sizeof(does) / sizeof(does[0]); i++) {
        struct dpw *w = dpw_new_alone(&small_limits);
        bool adopts = does[i] != ISCSI_UEVENT_UNKNOWN;
        uint64_t ep;
        uint32_t sid;

        (void)dataplane_set_client(w->dp, &w->client);
        sid = dpw_bound(w, &ep);
        detach(w, 1);
        fake_advance(&w->fl, MS(GRACE_MS) / 2);
        attach(w);
        assert_int_equal(session_state(w, sid), IPC_SESSION_NEW);
        assert_int_equal(w->reply.r.session.owner, 1);
        assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), 0);
        assert_int_equal(w->reply.r.conn.owner, 1);
        if (does[i] == ISCSI_UEVENT_SET_NOTE)
            assert_int_equal(dpw_note(w, sid, "mine", 4), 0);
        else if (adopts)
            assert_int_equal(dpw_do(w, does[i], sid, 1, 0), 0);
        fake_advance(&w->fl, MS(GRACE_MS));
        if (adopts) {
            assert_int_not_equal(session_state(w, sid), UINT32_MAX);
            assert_int_equal(w->reply.r.session.owner, does[i] == ISCSI_UEVENT_START_CONN ? 0 : 2);
        } else {
            assert_int_equal(session_state(w, sid), UINT32_MAX);
        }
        dpw_free(w);
    }
}

static void
test_adopting_an_endpoint(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);
    uint64_t ep, left;

    (void)state;
    (void)dataplane_set_client(w->dp, &w->client);
    ep = dpw_endpoint(w);
    left = dpw_endpoint(w);
    detach(w, 1);
    attach(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_ADOPT, 0, 0, ep), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_ADOPT, 0, 0, 999), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_ADOPT, 999, 0, 0), -ENOENT);
    fake_advance(&w->fl, MS(GRACE_MS));
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_ENDPOINTS, 0, 0, 0), 0);
    assert_int_equal(w->reply.r.endpoints.count, 1);
    assert_int_equal(w->reply.r.endpoints.ep[0].ep, ep);
    assert_int_equal(w->reply.r.endpoints.ep[0].owner, 2);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, left), -ENOENT);
    dpw_free(w);
}

/* A connection that a dead client was adding to a session that runs goes alone. */
static void
test_a_half_made_connection_of_a_running_session(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);
    uint64_t ep, ep2;
    uint32_t sid;

    (void)state;
    (void)dataplane_set_client(w->dp, &w->client);
    sid = dpw_started(w, &ep);
    ep2 = dpw_endpoint(w);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 2, 0), 0);
    fake_adapter.conn = NULL;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, 2, ep2), 0);
    detach(w, 1);
    fake_advance(&w->fl, MS(GRACE_MS));
    (void)dataplane_set_client(w->dp, &w->client);
    assert_int_not_equal(session_state(w, sid), UINT32_MAX);
    assert_int_equal(w->reply.r.session.nconns, 1);
    assert_int_equal(w->reply.r.session.cid[0], 1);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_ENDPOINTS, 0, 0, 0), 0);
    assert_int_equal(w->reply.r.endpoints.count, 1);
    assert_int_equal(w->reply.r.endpoints.ep[0].ep, ep);
    assert_int_equal(w->reply.r.endpoints.ep[0].owner, 0);
    dpw_free(w);
}

/* A connection is lost while nobody is there: its endpoint waits for the next client, not longer.
 */
static void
test_an_endpoint_that_comes_loose(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);
    struct iscsi_conn *c;
    uint64_t ep;

    (void)state;
    (void)dataplane_set_client(w->dp, &w->client);
    (void)dpw_started(w, &ep);
    c = fake_adapter.conn;
    detach(w, 1);
    fake_advance(&w->fl, MS(5 * GRACE_MS));
    c->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, "cut by the test");
    fake_advance(&w->fl, MS(GRACE_MS) - 1);
    assert_int_equal(dataplane_busy(w->dp), 2);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(dataplane_busy(w->dp), 1);
    dpw_free(w);
}

static uint32_t
endpoints(struct dpw *w)
{
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_LIST_ENDPOINTS, 0, 0, 0), 0);
    return w->reply.r.endpoints.count;
}

/* What the next client does, who was told of the session and its connection, and how the connection
 * ends then.  The endpoint is his only if he has said so: one that he does not know of would stay
 * for good, and they have a limit. */
static void
test_an_endpoint_of_a_dead_client(void **state)
{
    static const struct {
        bool started, adopted, lost;
    } rows[] = {{.started = true, .lost = true},
                {.started = true},
                {.started = false},
                {.started = true, .adopted = true, .lost = true},
                {.started = true, .adopted = true},
                {.started = false, .adopted = true}};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct dpw *w = dpw_new_alone(&small_limits);
        struct iscsi_uevent end = {.type = ISCSI_UEVENT_DESTROY_SESSION};
        uint64_t ep;

        (void)dataplane_set_client(w->dp, &w->client);
        end.sid = rows[i].started ? dpw_started(w, &ep) : dpw_bound(w, &ep);
        detach(w, 1);
        attach(w);
        assert_int_equal(take_events(w, 1), 0);
        if (rows[i].adopted)
            assert_int_equal(dpw_do(w, ISCSI_UEVENT_ADOPT, 0, 0, ep), 0);
        if (rows[i].lost)
            fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
        else
            (void)dpw_ask(w, &end, NULL, 0);
        fake_advance(&w->fl, MS(1));
        assert_int_equal(endpoints(w), 1);
        assert_int_equal(w->reply.r.endpoints.ep[0].sid, 0);
        assert_int_equal(w->reply.r.endpoints.ep[0].owner, rows[i].adopted ? 2 : 1);
        fake_advance(&w->fl, MS(GRACE_MS) - MS(2));
        assert_int_equal(endpoints(w), 1);
        fake_advance(&w->fl, MS(2));
        assert_int_equal(endpoints(w), rows[i].adopted ? 1 : 0);
        if (rows[i].adopted)
            assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), 0);
        fake_advance(&w->fl, MS(1));
        assert_int_equal(dataplane_busy(w->dp), rows[i].lost ? 1 : 0);
        dpw_free(w);
    }
}

/* It knows the number from GET_CONN, and gives the endpoint back as if it had made it. */
static void
test_an_endpoint_is_disconnected_by_the_next(void **state)
{
    struct dpw *w = dpw_new_alone(&small_limits);
    uint64_t ep;

    (void)state;
    (void)dataplane_set_client(w->dp, &w->client);
    (void)dpw_started(w, &ep);
    detach(w, 1);
    attach(w);
    assert_int_equal(take_events(w, 1), 0);
    fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
    fake_advance(&w->fl, MS(1));
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), 0);
    fake_advance(&w->fl, MS(2 * GRACE_MS));
    assert_int_equal(dataplane_busy(w->dp), 1);
    dpw_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_comes_first),
        cmocka_unit_test(test_hello_names_the_loop),
        cmocka_unit_test(test_a_descriptor_before_hello_is_closed),
        cmocka_unit_test(test_events_wait_for_take_events),
        cmocka_unit_test(test_events_wait_for_the_next_client),
        cmocka_unit_test(test_a_session_fails_on_time_without_a_client),
        cmocka_unit_test(test_lost_events_are_said),
        cmocka_unit_test(test_a_loss_before_the_list_is_none),
        cmocka_unit_test(test_bytes_are_bounded_too),
        cmocka_unit_test(test_an_event_that_is_not_taken_comes_again),
        cmocka_unit_test(test_the_word_of_the_loss_comes_again),
        cmocka_unit_test(test_answers_to_a_dead_client_are_dropped),
        cmocka_unit_test(test_a_client_that_was_replaced_is_refused),
        cmocka_unit_test(test_half_made_things_are_undone),
        cmocka_unit_test(test_adopting),
        cmocka_unit_test(test_adopting_an_endpoint),
        cmocka_unit_test(test_a_half_made_connection_of_a_running_session),
        cmocka_unit_test(test_an_endpoint_that_comes_loose),
        cmocka_unit_test(test_an_endpoint_of_a_dead_client),
        cmocka_unit_test(test_an_endpoint_is_disconnected_by_the_next),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
