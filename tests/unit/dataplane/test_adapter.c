/* SPDX-License-Identifier: MIT */
/* Hosts of transports: one adapter carries many sessions, and a reset of it hits all. */
#include "tests/unit/dataplane/dpw.h"

struct fake_host {
    unsigned mark; /* 0 when it is made */
    uint64_t number;
};

/* What became of the hosts of all tests. */
static struct {
    unsigned made, ended;
    struct iscsi_host *now;
    int refuse; /* create_host fails so */
    unsigned sessions;
    const struct iscsi_host *of_session, *of_ep;
} hosts;

static int
fake_create_host(struct iscsi_host *h, struct lunette_error *err)
{
    struct fake_host *fh = h->dd_data;

    assert_int_equal(fh->mark, 0);
    assert_int_equal((uintptr_t)fh % _Alignof(max_align_t), 0);
    assert_true(h->up->version == ISCSI_TRANSPORT_VERSION && ISCSI_HAS(h->up, host_failure));
    assert_null(hosts.now);
    if (hosts.refuse < 0)
        return lunette_fail(err, hosts.refuse, LUNETTE_DOM_OS, 0, "the adapter is not there");
    fh->mark = 0x4f;
    hosts.now = h;
    hosts.made++;
    return 0;
}

static void
fake_destroy_host(struct iscsi_host *h)
{
    assert_ptr_equal(h, hosts.now);
    assert_int_equal(((struct fake_host *)h->dd_data)->mark, 0x4f);
    assert_int_equal(hosts.sessions, 0);
    hosts.now = NULL;
    hosts.ended++;
}

static int
fake_create_session(struct iscsi_session *s, struct lunette_error *err)
{
    (void)err;
    hosts.of_session = s->host;
    hosts.sessions++;
    return 0;
}

static void
fake_destroy_session(struct iscsi_session *s)
{
    assert_ptr_equal(s->host, hosts.now);
    hosts.sessions--;
}

static int
fake_host_ep_connect(struct iscsi_endpoint *ep, const struct sock_addr *to,
                     const struct iscsi_upcalls *up, struct lunette_error *err)
{
    hosts.of_ep = ep->host;
    return dpw_ep_connect(ep, to, up, err);
}

/* "fake" has hosts, "other" has none. */
static struct dpw *
hosted_world(void)
{
    struct dpw *w = dpw_new();
    struct iscsi_transport *t = &w->registry.t[0];

    memset(&hosts, 0, sizeof(hosts));
    t->host_size = sizeof(struct fake_host);
    t->create_host = fake_create_host;
    t->destroy_host = fake_destroy_host;
    t->create_session = fake_create_session;
    t->destroy_session = fake_destroy_session;
    t->ep_connect = fake_host_ep_connect;
    return w;
}

/* Another connection of a session, started. */
static uint64_t
another(struct dpw *w, uint32_t sid, uint16_t cid)
{
    uint64_t ep = dpw_endpoint(w);

    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, cid, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid, cid, ep), 0);
    assert_int_equal(dpw_param(w, sid, cid, ISCSI_PARAM_PING_INTERVAL_MS, "0"), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_START_CONN, sid, cid, 0), 0);
    return ep;
}

static void
destroy_session(struct dpw *w, uint32_t sid)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = sid};

    dpw_send(w, &ev, NULL, 0);
    fake_advance(&w->fl, MS(10));
    assert_int_equal(w->reply.type, ISCSI_UEVENT_DESTROY_SESSION);
}

static void
disconnect(struct dpw *w, uint64_t ep)
{
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 0, 0, ep), 0);
}

/* Made for the first user, whether endpoint or session, had in common by all, and ended behind the
 * last. */
static void
test_one_host_for_all(void **state)
{
    struct dpw *w = hosted_world();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};
    uint64_t ep, ep2;
    uint32_t sid, sid2, other;

    (void)state;
    strcpy(ev.u.create_session.transport, "other");
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    other = w->reply.sid;
    assert_null(dataplane_session(w->dp, other)->host);
    assert_int_equal(hosts.made, 0);
    sid = dpw_started(w, &ep); /* the endpoint comes first */
    assert_int_equal(hosts.made, 1);
    assert_ptr_equal(hosts.of_ep, hosts.now);
    assert_ptr_equal(hosts.of_session, hosts.now);
    sid2 = dpw_started(w, &ep2);
    assert_ptr_equal(hosts.of_session, hosts.now);
    assert_ptr_equal(dataplane_session(w->dp, sid2)->host, hosts.now);
    destroy_session(w, sid);
    disconnect(w, ep);
    destroy_session(w, sid2);
    assert_int_equal(hosts.ended, 0); /* an endpoint is left */
    disconnect(w, ep2);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(hosts.made, 1);
    assert_int_equal(hosts.ended, 1);
    sid = dpw_session(w); /* a session alone has one, too */
    assert_int_equal(hosts.made, 2);
    destroy_session(w, sid);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(hosts.ended, 2);
    dpw_free(w);
}

/* Whoever comes before it is ended has it again. */
static void
test_a_host_that_is_wanted_again(void **state)
{
    struct dpw *w = hosted_world();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION};

    (void)state;
    ev.sid = dpw_session(w);
    dpw_send(w, &ev, NULL, 0);
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_CREATE_SESSION};
    strcpy(ev.u.create_session.transport, "fake");
    dpw_send(w, &ev, NULL, 0);
    fake_advance(&w->fl, MS(10));
    assert_int_equal(hosts.made - hosts.ended, 1);
    assert_non_null(hosts.now);
    dpw_free(w);
    assert_int_equal(hosts.made, hosts.ended);
}

static void
test_a_host_that_cannot_be_made(void **state)
{
    struct dpw *w = hosted_world();

    (void)state;
    hosts.refuse = -ENODEV;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_SESSION, 0, 0, 0), -ENODEV);
    assert_string_equal(w->reply.why.msg, "the adapter is not there");
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), -ENODEV);
    assert_int_equal(dataplane_busy(w->dp), 0);
    hosts.refuse = 0;
    (void)dpw_session(w);
    assert_int_equal(hosts.made, 1);
    dpw_free(w);
    assert_int_equal(hosts.ended, 1);
}

static unsigned
errors_of(const struct dpw *w, uint32_t sid, uint16_t cid)
{
    unsigned n = 0;

    for (unsigned i = 0; i < w->nevents; i++) {
        const struct iscsi_kevent *ev = &w->event[i];

        if (ev->type != ISCSI_KEVENT_CONN_ERROR || ev->sid != sid || ev->cid != cid)
            continue;
        assert_int_equal(ev->u.conn_error.err, ISCSI_ERR_CONN_CLOSED);
        assert_non_null(strstr(ev->u.conn_error.why.msg, "the adapter was reset"));
        n++;
    }
    return n;
}

/* Every connection of each of its sessions is lost, once; sessions of others, connections that are
 * not bound, and endpoints without a connection are not touched. */
static void
test_a_reset_hits_all(void **state)
{
    struct dpw *w = hosted_world();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};
    uint64_t ep, spare;
    uint32_t sid[3], other;

    (void)state;
    strcpy(ev.u.create_session.transport, "other");
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    other = w->reply.sid;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, other, 1, 0), 0);
    sid[0] = dpw_started(w, &ep);
    (void)another(w, sid[0], 2);
    (void)another(w, sid[0], 3);
    sid[1] = dpw_started(w, &ep);
    sid[2] = dpw_bound(w, &ep); /* logs in */
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid[1], 7, 0), 0);
    spare = dpw_endpoint(w);
    w->nevents = 0;
    hosts.now->up->host_failure(hosts.now, ISCSI_ERR_CONN_CLOSED, "the adapter was reset");
    hosts.now->up->host_failure(hosts.now, ISCSI_ERR_CONN_CLOSED, "the adapter was reset");
    fake_advance(&w->fl, SEC(1));
    for (uint16_t cid = 1; cid <= 3; cid++)
        assert_int_equal(errors_of(w, sid[0], cid), 1);
    assert_int_equal(errors_of(w, sid[1], 1), 1);
    assert_int_equal(errors_of(w, sid[2], 1), 1);
    assert_int_equal(dpw_events_of(w, ISCSI_KEVENT_CONN_ERROR), 5);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_POLL, 0, 0, spare), 0);
    assert_int_equal(w->reply.r.value, 1);
    /* It serves again: another connection of the same session, over the same host. */
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_STOP_CONN, sid[1], 1, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_BIND_CONN, sid[1], 1, spare), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_START_CONN, sid[1], 1, 0), 0);
    assert_int_equal(dataplane_host(w->dp, sid[1])->state, SCSI_HOST_RUNNING);
    assert_int_equal(hosts.made, 1);
    dpw_free(w);
    assert_int_equal(hosts.ended, 1);
}

/* What is ended while the adapter fails, since nobody wants it or because of that, is not told. */
static void
test_a_reset_in_the_end(void **state)
{
    struct dpw *w = hosted_world();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION};
    uint64_t ep;
    uint32_t sid;

    (void)state;
    dpw_adapter.slow_stop = true;
    ev.sid = dpw_started(w, &ep);
    dpw_send(w, &ev, NULL, 0);
    sid = dpw_session(w);
    w->nevents = 0;
    hosts.now->up->host_failure(hosts.now, ISCSI_ERR_CONN_CLOSED, "the adapter was reset");
    fake_advance(&w->fl, MS(100));
    assert_int_equal(dpw_events_of(w, ISCSI_KEVENT_CONN_ERROR), 0);
    assert_int_equal(hosts.ended, 0);
    dpw_stopped(); /* the adapter lets go of the buffers at last */
    fake_advance(&w->fl, MS(100));
    destroy_session(w, sid);
    disconnect(w, ep);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(hosts.ended, 1);
    dpw_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_host_for_all),
        cmocka_unit_test(test_a_host_that_is_wanted_again),
        cmocka_unit_test(test_a_host_that_cannot_be_made),
        cmocka_unit_test(test_a_reset_hits_all),
        cmocka_unit_test(test_a_reset_in_the_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
