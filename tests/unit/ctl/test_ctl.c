/* SPDX-License-Identifier: MIT */
/* Requests, watches, challenges and the undoing of a session, without a login. */
#include "tests/unit/fake_ipc.h"

#include <errno.h>

#include "ctl/undo.h"

static struct fake_loop fl;
static struct fake_ipc fi;
static struct ctl *ctl;

static int
setup(void **state)
{
    (void)state;
    fake_loop_init(&fl, 1);
    fake_ipc_init(&fi);
    return ctl_new(&fl.l, &fi.ipc, &ctl);
}

static int
teardown(void **state)
{
    (void)state;
    ctl_free(&ctl);
    return 0;
}

struct caller {
    unsigned called;
    int err;
};

static void
caller_replied(void *user, const struct iscsi_reply *rep)
{
    struct caller *c = user;

    c->called++;
    c->err = rep->err;
}

static void
test_each_reply_to_its_caller(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_CONN};
    struct caller c[3] = {{0}};
    struct iscsi_reply stray = {.seq = 77};

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(ctl_request(ctl, &ev, NULL, 0, caller_replied, &c[i]), 0);
    assert_false(ctl_idle(ctl));
    fake_ipc_answer(&fi, 2, -EIO);
    fake_ipc_answer(&fi, 0, 0);
    fi.ipc.ev->reply(fi.ipc.ev_user, &stray);
    assert_int_equal(c[0].called, 1);
    assert_int_equal(c[1].called, 0);
    assert_int_equal(c[2].err, -EIO);
    fake_ipc_answer(&fi, 1, -ENOENT);
    assert_int_equal(c[1].err, -ENOENT);
    assert_true(ctl_idle(ctl));
    assert_int_equal(ctl_get_stats(ctl)->requests, 3);
    assert_int_equal(ctl_get_stats(ctl)->replies, 3);
    assert_int_equal(ctl_get_stats(ctl)->stray_replies, 1);
}

static void
test_request_not_sent(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_CONN};
    struct caller c = {0};

    (void)state;
    fi.fail = -ENOBUFS;
    assert_int_equal(ctl_request(ctl, &ev, NULL, 0, caller_replied, &c), -ENOBUFS);
    assert_true(ctl_idle(ctl));
    assert_int_equal(c.called, 0);
}

struct watcher {
    struct ctl_watch w;
    unsigned events;
};

static void
watcher_event(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    (void)ev;
    (void)data;
    container_of(w, struct watcher, w)->events++;
}

static void
test_last_watch_gets_the_event(void **state)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_RECV_PDU, .sid = 4, .cid = 1};
    struct watcher a = {.events = 0}, b = {.events = 0}, other = {.events = 0};

    (void)state;
    ctl_watch_init(&a.w, watcher_event);
    ctl_watch_init(&b.w, watcher_event);
    ctl_watch_init(&other.w, watcher_event);
    ctl_watch_add(ctl, &a.w, 4, 1);
    ctl_watch_add(ctl, &other.w, 4, 2);
    fi.ipc.ev->event(fi.ipc.ev_user, &ev, NULL);
    ctl_watch_add(ctl, &b.w, 4, 1);
    ctl_dispatch(ctl, &ev, NULL);
    ctl_watch_del(&b.w);
    ctl_watch_del(&b.w); /* harmless */
    ctl_dispatch(ctl, &ev, NULL);
    assert_int_equal(a.events, 2);
    assert_int_equal(b.events, 1);
    assert_int_equal(other.events, 0);
    ctl_watch_del(&a.w);
    ctl_dispatch(ctl, &ev, NULL);
    assert_int_equal(ctl_get_stats(ctl)->events, 3);
    assert_int_equal(ctl_get_stats(ctl)->stray_events, 1);
    ctl_free(&ctl);
    assert_null(other.w.ctl);
}

struct ep_watcher {
    struct ctl_ep_watch w;
    unsigned events;
    int err;
};

static void
ep_watcher_event(struct ctl_ep_watch *w, int err)
{
    struct ep_watcher *e = container_of(w, struct ep_watcher, w);

    e->events++;
    e->err = err;
}

static void
test_endpoint_watch(void **state)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_EP_EVENT, .u.ep_event = {.ep = 1ull << 40}};
    struct ep_watcher a = {.events = 0}, b = {.events = 0};
    struct watcher conn = {.events = 0};

    (void)state;
    ctl_ep_watch_init(&a.w, ep_watcher_event);
    ctl_ep_watch_init(&b.w, ep_watcher_event);
    ctl_watch_init(&conn.w, watcher_event);
    ctl_watch_add(ctl, &conn.w, 0, 0); /* an endpoint's event has sid and cid 0: not for this one */
    ctl_ep_watch_add(ctl, &a.w, 1ull << 40);
    ctl_ep_watch_add(ctl, &b.w, 7);
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(a.events, 1);
    assert_int_equal(a.err, 0);
    ev.u.ep_event.err = -ECONNREFUSED;
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(a.err, -ECONNREFUSED);
    ctl_ep_watch_del(&a.w);
    ctl_ep_watch_del(&a.w); /* harmless */
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(a.events, 2);
    assert_int_equal(ctl_get_stats(ctl)->stray_events, 1);
    assert_int_equal(b.events + conn.events, 0);
    ctl_watch_del(&conn.w);
    ctl_free(&ctl);
    assert_null(b.w.ctl);
}

/* What concerns the session is not its connection's, whatever the number of that. */
static void
test_session_watch(void **state)
{
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_SESSION_STATE, .sid = 4};
    struct watcher session = {.events = 0}, conn = {.events = 0};

    (void)state;
    ctl_watch_init(&session.w, watcher_event);
    ctl_watch_init(&conn.w, watcher_event);
    ctl_watch_add_session(ctl, &session.w, 4);
    ctl_watch_add(ctl, &conn.w, 4, 0);
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(session.events, 1);
    assert_int_equal(conn.events, 0);
    ev.type = ISCSI_KEVENT_LUN;
    fake_ipc_event(&fi, &ev, NULL);
    ev.type = ISCSI_KEVENT_EXPORT_STOPPED;
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(session.events, 3);
    assert_int_equal(conn.events, 0);
    ev.type = ISCSI_KEVENT_CONN_ERROR;
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(session.events, 3);
    assert_int_equal(conn.events, 1);
    ev.type = ISCSI_KEVENT_LOST;
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(session.events, 4);
    ev = (struct iscsi_kevent){.type = ISCSI_KEVENT_SESSION_STATE, .sid = 5};
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(ctl_get_stats(ctl)->stray_events, 1);
    ctl_watch_del(&session.w);
    ctl_watch_del(&conn.w);
}

/* Goes, and takes the next one along. */
static void
watcher_goes(struct ctl_watch *w, const struct iscsi_kevent *ev, const void *data)
{
    struct watcher *self = container_of(w, struct watcher, w);

    (void)data;
    assert_int_equal(ev->type, ISCSI_KEVENT_LOST);
    self->events++;
    ctl_watch_del(&self[0].w);
    ctl_watch_del(&self[1].w);
}

/* What was lost may have been for any of them, so all are told; that is no stray. */
static void
test_lost_is_told_to_all(void **state)
{
    static const struct iscsi_kevent ev = {.type = ISCSI_KEVENT_LOST, .u.lost.count = 2};
    struct watcher w[4] = {{.events = 0}};
    struct ep_watcher ep = {.events = 0};

    (void)state;
    for (int i = 0; i < 4; i++) {
        ctl_watch_init(&w[i].w, i == 1 ? watcher_goes : watcher_event);
        ctl_watch_add(ctl, &w[i].w, (uint32_t)i + 1, 1);
    }
    ctl_ep_watch_init(&ep.w, ep_watcher_event);
    ctl_ep_watch_add(ctl, &ep.w, 7);
    fake_ipc_event(&fi, &ev, NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(w[i].events, i == 2 ? 0 : 1);
    assert_int_equal(ep.events, 1);
    assert_int_equal(ep.err, -ENOBUFS);
    assert_int_equal(ctl_get_stats(ctl)->stray_events, 0);
    fake_ipc_event(&fi, &ev, NULL);
    assert_int_equal(w[0].events, 2);
    assert_int_equal(w[1].events, 1);
    ctl_watch_del(&w[0].w);
    ctl_watch_del(&w[3].w);
    ctl_ep_watch_del(&ep.w);
}

static void
test_our_challenge_comes_back(void **state)
{
    struct ctl_challenge c = {.bytes = {1, 2, 3}};
    uint8_t padded[CTL_CHALLENGE_LEN + 3] = {0};

    (void)state;
    memcpy(padded + 3, c.bytes, sizeof(c.bytes));
    assert_false(ctl_challenge_is_ours(ctl, c.bytes, sizeof(c.bytes)));
    ctl_challenge_add(ctl, &c);
    assert_true(ctl_challenge_is_ours(ctl, c.bytes, sizeof(c.bytes)));
    assert_true(ctl_challenge_is_ours(ctl, padded, sizeof(padded)));
    assert_false(ctl_challenge_is_ours(ctl, c.bytes, sizeof(c.bytes) - 1));
    padded[5] ^= 1;
    assert_false(ctl_challenge_is_ours(ctl, padded, sizeof(padded)));
    list_del(&c.node);
    assert_false(ctl_challenge_is_ours(ctl, c.bytes, sizeof(c.bytes)));
}

static unsigned undone;

static void
on_undone(struct undo *u)
{
    (void)u;
    undone++;
}

/* Each step is asked once the one before is answered, well or not; a request that finds the data
 * plane gone is left out. */
static void
test_undo_goes_on(void **state)
{
    static const enum iscsi_uevent_type want[] = {
        ISCSI_UEVENT_STOP_CONN,    ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, ISCSI_UEVENT_STOP_CONN,
        ISCSI_UEVENT_DESTROY_CONN, ISCSI_UEVENT_DESTROY_SESSION,
    };
    struct undo u = {
        .ctl = ctl,
        .sid = 9,
        .conns = {{.cid = 1, .ep = 5, .stop = true, .destroy = true},
                  {.cid = 2, .stop = true, .destroy = true}},
        .nconns = 2,
        .destroy_session = true,
        .done = on_undone,
    };

    (void)state;
    undone = 0;
    undo_start(&u);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(fi.ngot, i + 1);
        assert_int_equal(fi.got[i].type, want[i]);
        assert_int_equal(undone, 0);
        if (i == 0)
            fi.fail = -EPIPE; /* DESTROY_CONN of the first connection */
        fake_ipc_answer(&fi, i, i == 2 ? -EIO : 0);
    }
    assert_int_equal(undone, 1);
    assert_true(ctl_idle(ctl));
}

int
main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        T(test_each_reply_to_its_caller),
        T(test_request_not_sent),
        T(test_last_watch_gets_the_event),
        T(test_endpoint_watch),
        T(test_session_watch),
        T(test_our_challenge_comes_back),
        T(test_undo_goes_on),
        T(test_lost_is_told_to_all),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
