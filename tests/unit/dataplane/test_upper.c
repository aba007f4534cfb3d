/* SPDX-License-Identifier: MIT */
/* Whoever stands above the sessions: which requests it serves, when it is told that a session is
 * started and ends, and how long an id stays taken. */
#include "tests/unit/dataplane/dpw.h"

static struct upper {
    struct dpw *w;
    int answer; /* of serve */
    bool keeps; /* it has something left above a session whose host is gone */
    struct dp_call call;
    unsigned served, started, ending, gone;
    uint32_t sid; /* of the last call */
    struct iscsi_uevent ev;
    uint32_t data_len;
} upper;

static int
upper_serve(void *user, const struct iscsi_uevent *ev, const void *data, uint32_t data_len,
            struct iscsi_reply *rep)
{
    assert_ptr_equal(user, &upper);
    assert_true(data_len == 0 || memcmp(data, "/run/x", data_len) == 0);
    upper.served++;
    upper.sid = ev->sid;
    upper.ev = *ev;
    upper.data_len = data_len;
    if (upper.answer == DP_ANSWERED_LATER)
        upper.call = dataplane_call_of(upper.w->dp, ev);
    if (upper.answer < 0)
        return lunette_fail(&rep->why, upper.answer, LUNETTE_DOM_USAGE, 0, "no");
    rep->r.value = 7;
    return upper.answer;
}

static void
upper_started(void *user, uint32_t sid)
{
    assert_ptr_equal(user, &upper);
    upper.started++;
    upper.sid = sid;
}

static void
upper_ending(void *user, uint32_t sid)
{
    assert_ptr_equal(user, &upper);
    upper.ending++;
    upper.sid = sid;
    assert_null(dataplane_host(upper.w->dp, sid)); /* nothing new begins on it */
}

static bool
upper_gone(void *user, uint32_t sid)
{
    assert_ptr_equal(user, &upper);
    assert_int_equal(upper.ending, upper.gone + 1);
    upper.gone++;
    upper.sid = sid;
    return upper.keeps;
}

static const struct dataplane_upper_ops upper_ops = {
    .serve = upper_serve, .started = upper_started, .ending = upper_ending, .gone = upper_gone};

static struct dpw *
upper_new(void)
{
    struct dpw *w = dpw_new_alone(NULL);

    memset(&upper, 0, sizeof(upper));
    upper.w = w;
    dataplane_set_upper(w->dp, &upper_ops, &upper);
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 1);
    return w;
}

static void
test_which_requests(void **state)
{
    struct dpw *w = upper_new();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_START_EXPORT};
    uint32_t sid = dpw_session(w);

    (void)state;
    for (int t = ISCSI_UEVENT_SCAN_HOST; t <= ISCSI_UEVENT_GET_LUN_STATS; t++) {
        if (t == ISCSI_UEVENT_LIST_LUNS)
            continue; /* value would be read as the length of data */
        upper.answer = 0;
        assert_int_equal(dpw_do(w, (enum iscsi_uevent_type)t, sid, 0, 0), 0);
        assert_int_equal(upper.ev.type, t);
        assert_int_equal(w->reply.r.value, 7);
        upper.answer = -EBUSY;
        assert_int_equal(dpw_do(w, (enum iscsi_uevent_type)t, sid, 0, 0), -EBUSY);
        assert_int_equal(dpw_do(w, (enum iscsi_uevent_type)t, sid + 1, 0, 0), -ENOENT);
    }
    assert_int_equal(upper.served, 10);
    ev.sid = sid;
    ev.u.start_export.path_len = 6;
    upper.answer = 0;
    assert_int_equal(dpw_ask(w, &ev, "/run/x", 6), 0);
    assert_int_equal(upper.data_len, 6);
    dpw_free(w);
    assert_int_equal(upper.gone, 1);
}

/* The answer finds whoever has asked, and nobody else. */
static void
test_answers_that_come_later(void **state)
{
    struct dpw *w = upper_new();
    struct iscsi_reply rep = {.type = ISCSI_UEVENT_SCAN_HOST};
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SCAN_HOST, .sid = dpw_session(w)};
    unsigned before = w->nreplies;

    (void)state;
    upper.answer = DP_ANSWERED_LATER;
    dpw_send(w, &ev, NULL, 0);
    assert_int_equal(w->nreplies, before);
    rep.sid = ev.sid;
    rep.r.value = 3;
    dataplane_answer(w->dp, &upper.call, &rep);
    assert_int_equal(w->nreplies, before + 1);
    assert_int_equal(w->reply.seq, ev.seq);
    dataplane_answer(w->dp, &upper.call, &rep); /* once */
    assert_int_equal(w->nreplies, before + 1);
    dpw_send(w, &ev, NULL, 0);
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 2);
    dataplane_answer(w->dp, &upper.call, &rep);
    assert_int_equal(w->nreplies, before + 1);
    dpw_free(w);
}

static void
test_a_session_under_the_upper(void **state)
{
    struct dpw *w = upper_new();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION};
    struct iscsi_kevent kev = {.type = ISCSI_KEVENT_LUN};
    uint64_t ep, number;
    unsigned before;

    (void)state;
    assert_false(dataplane_started(w->dp, 1));
    ev.sid = dpw_started(w, &ep);
    assert_true(dataplane_started(w->dp, ev.sid));
    assert_int_equal(upper.started, 1);
    assert_int_equal(upper.sid, ev.sid);
    assert_non_null(dataplane_host(w->dp, ev.sid));
    number = dataplane_next_event(w->dp);
    kev.sid = ev.sid;
    dataplane_event(w->dp, &kev);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_LUN)->number, number);
    assert_int_equal(dataplane_next_event(w->dp), number + 1);
    upper.keeps = true;
    before = w->nreplies;
    dpw_send(w, &ev, NULL, 0);
    assert_int_equal(upper.ending, 1);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(upper.gone, 1);
    assert_int_equal(w->nreplies, before); /* the upper has something left */
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, ev.sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.state, IPC_SESSION_ENDING);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_SCAN_HOST, ev.sid, 0, 0), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_SESSION, ev.sid, 0, 0), -ENOENT);
    dataplane_shutdown(w->dp); /* does not end it twice */
    assert_true(dataplane_busy(w->dp) > 0);
    before = w->nreplies;
    dataplane_upper_done(w->dp, ev.sid);
    assert_int_equal(w->nreplies, before + 1);
    assert_int_equal(w->reply.type, ISCSI_UEVENT_DESTROY_SESSION);
    assert_int_equal(w->reply.err, 0);
    assert_int_equal(upper.ending, 1);
    upper.keeps = false;
    dpw_free(w);
}

/* A session that is undone, and one that is left at the end, end as one that is destroyed. */
static void
test_every_end_is_told(void **state)
{
    struct dpw *w = upper_new();

    (void)state;
    (void)dpw_session(w);
    dataplane_detach(w->dp, 1);
    fake_advance(&w->fl, MS(DATAPLANE_GRACE_MS + 10));
    assert_int_equal(upper.ending, 1);
    assert_int_equal(upper.gone, 1);
    assert_int_equal(dataplane_set_client(w->dp, &w->client), 2);
    (void)dpw_session(w);
    dpw_free(w);
    assert_int_equal(upper.ending, 2);
    assert_int_equal(upper.gone, 2);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_requests),
        cmocka_unit_test(test_answers_that_come_later),
        cmocka_unit_test(test_a_session_under_the_upper),
        cmocka_unit_test(test_every_end_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
