/* SPDX-License-Identifier: MIT */
/* Every request's errors, the answers that describe, and ids. */
#include "tests/unit/dataplane/dpw.h"

#include <pthread.h>

#include "dataplane/values.h"

/* What each request says of things that are not there. */
static void
test_what_is_not_there(void **state)
{
    static const struct {
        enum iscsi_uevent_type type;
        int nothing; /* no session, no endpoint */
        int no_conn; /* the session is there */
    } rows[] = {
        {ISCSI_UEVENT_UNKNOWN, -ENOSYS, -ENOSYS},
        {ISCSI_UEVENT_TRANSPORT_EP_POLL, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_DESTROY_SESSION, -ENOENT, 0},
        {ISCSI_UEVENT_CREATE_CONN, -ENOENT, 0},
        {ISCSI_UEVENT_DESTROY_CONN, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_BIND_CONN, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_SET_PARAM, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_START_CONN, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_STOP_CONN, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_SEND_PDU, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_GET_STATS, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_GET_SESSION, -ENOENT, 0},
        {ISCSI_UEVENT_GET_CONN, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_SET_NOTE, -ENOENT, 0},
        {ISCSI_UEVENT_ADOPT, -ENOENT, 0},
        {ISCSI_UEVENT_SCAN_HOST, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_LIST_LUNS, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_UNBIND_SESSION, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_START_EXPORT, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_STOP_EXPORT, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_GET_LUN_STATS, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_GET_FLIGHT, -ENOENT, -ENOENT},
        {ISCSI_UEVENT_START_CAPTURE, -ENOENT, -EINVAL},
        {ISCSI_UEVENT_ENGINE_FD, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_ENGINE_ATTACH, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_NEW_FLASHNODE, -EOPNOTSUPP, -EOPNOTSUPP},
        {ISCSI_UEVENT_GET_HOST_STATS, -EOPNOTSUPP, -EOPNOTSUPP},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct dpw *w = dpw_new();
        uint32_t sid;

        assert_int_equal(dpw_do(w, rows[i].type, 77, 1, 88), rows[i].nothing);
        sid = dpw_session(w);
        assert_int_equal(dpw_do(w, rows[i].type, sid, 1, 88), rows[i].no_conn);
        dpw_free(w);
    }
}

static void
test_transports(void **state)
{
    struct dpw *w = dpw_new();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_GET_TRANSPORT};

    (void)state;
    strcpy(ev.u.get_transport.transport, "tcp");
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    assert_int_equal(w->reply.r.transport.caps, sw_tcp_transport.caps);
    assert_int_equal(w->reply.r.transport.max_recv_dlength, sw_tcp_transport.max_recv_dlength);
    memset(ev.u.get_transport.transport, 'x', IPC_NAME_MAX); /* no end */
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -ENOENT);
    ev.type = ISCSI_UEVENT_CREATE_SESSION;
    strcpy(ev.u.create_session.transport, "iser");
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -ENOENT);
    strcpy(ev.u.create_session.transport, "fake");
    ev.u.create_session.cmds_max = 1000000;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EINVAL);
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_TRANSPORT_EP_CONNECT};
    strcpy(ev.u.ep_connect.transport, "tcp");
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -ENOTSUP);
    assert_int_equal(dataplane_busy(w->dp), 0);
    dpw_free(w);
}

static void
test_nothing_is_made_on_the_way_down(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;

    (void)state;
    (void)dpw_started(w, &ep);
    dataplane_shutdown(w->dp);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_SESSION, 0, 0, 0), -ESHUTDOWN);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 0, 0, 0), -ESHUTDOWN);
    dpw_free(w);
}

static void
test_connections(void **state)
{
    struct dpw *w = dpw_new();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SET_PARAM, .cid = 3};
    uint32_t sid = dpw_session(w);

    (void)state;
    for (uint16_t cid = 0; cid < IPC_CONNS_MAX; cid++)
        assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, cid, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 99, 0), -ENOSPC);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_CONN, sid, 7, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 8, 0), -EEXIST);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 99, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_START_CONN, sid, 99, 0), -ENOTCONN);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_SEND_PDU, sid, 99, 0), -ENOTCONN);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_STATS, sid, 99, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.nconns, IPC_CONNS_MAX);
    ev.sid = sid;
    memset(ev.u.set_param.value, '1', IPC_VALUE_MAX); /* no end */
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EINVAL);
    assert_int_equal(dpw_param(w, sid, 3, ISCSI_PARAM_COUNT, "1"), -ENOTSUP);
    assert_int_equal(dpw_param(w, sid, 3, ISCSI_PARAM_MAX_BURST, "1"), -EINVAL);
    dpw_free(w);
}

/* ---- what was told is given back ------------------------------------------------------------ */

static void
test_values_come_back(void **state)
{
    struct dpw *w = dpw_new();
    uint64_t ep;
    uint32_t sid = dpw_bound(w, &ep);
    char name[ISCSI_NAME_MAX + 1];

    (void)state;
    memset(name, 'n', ISCSI_NAME_MAX);
    name[ISCSI_NAME_MAX] = '\0';
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_TARGET_NAME, "iqn.2026-11.example:t"), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_INITIATOR_NAME, name), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_TPGT, "1"), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_TSIH, "4660"), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_ISID, "80123456789a"), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_PORTAL, "10.0.0.1:3260"), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_MAX_XMIT_DLENGTH, "65536"), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_MAX_BURST, "4096"), 0);
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_MAX_BURST, "16776192"), 0); /* longer */
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_MAX_BURST, "1"), -EINVAL);
    assert_int_equal(dpw_note(w, sid, "node record 7", 13), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.state, IPC_SESSION_NEW);
    assert_int_equal(w->reply.r.session.owner, 1);
    assert_int_equal(w->reply.r.session.next_event, 2); /* the endpoint came up */
    assert_string_equal(w->reply.r.session.transport, "fake");
    assert_int_equal(w->reply.r.session.nconns, 1);
    assert_int_equal(w->reply.r.session.cid[0], 1);
    assert_string_equal(dpw_value(w, ISCSI_PARAM_TARGET_NAME), "iqn.2026-11.example:t");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_INITIATOR_NAME), name);
    assert_string_equal(dpw_value(w, ISCSI_PARAM_TPGT), "1");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_TSIH), "4660");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_ISID), "80123456789a");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_MAX_BURST), "16776192");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_PORTAL), "-");
    assert_int_equal(w->reply.r.session.note_len, 13);
    assert_memory_equal(w->reply_data + w->reply.r.session.values_len, "node record 7", 13);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), 0);
    assert_int_equal(w->reply.r.conn.state, IPC_CONN_BOUND);
    assert_int_equal(w->reply.r.conn.ep, ep);
    assert_string_equal(dpw_value(w, ISCSI_PARAM_PORTAL), "10.0.0.1:3260");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_MAX_XMIT_DLENGTH), "65536");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_TSIH), "-");
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_START_CONN, sid, 1, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), 0);
    assert_int_equal(w->reply.r.conn.state, IPC_CONN_STARTED);
    assert_int_equal(w->reply.r.conn.owner, 0);
    dpw_free(w);
}

static void
test_notes_are_bounded(void **state)
{
    struct dpw *w = dpw_new();
    uint32_t sid = dpw_session(w);
    uint8_t note[IPC_NOTE_MAX + 1];

    (void)state;
    memset(note, 0xa5, sizeof(note));
    assert_int_equal(dpw_note(w, sid, note, IPC_NOTE_MAX), 0);
    assert_int_equal(dpw_note(w, sid, note, IPC_NOTE_MAX + 1), -EMSGSIZE);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.note_len, IPC_NOTE_MAX);
    assert_memory_equal(w->reply_data + w->reply.r.session.values_len, note, IPC_NOTE_MAX);
    assert_int_equal(dpw_note(w, sid, NULL, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.note_len, 0);
    dpw_free(w);
}

/* Values replace each other, and there is an end to them that leaves what is there alone. */
static void
test_values_are_bounded(void **state)
{
    struct dp_values v = {NULL, 0, 0};
    char text[IPC_VALUE_MAX];
    uint32_t n = 0, before;

    (void)state;
    memset(text, 't', sizeof(text));
    while (dp_values_reserve(&v, (enum iscsi_param)n, 255) == 0)
        dp_values_set(&v, (enum iscsi_param)n++, text, 255);
    assert_int_equal(n, IPC_VALUES_MAX / (IPC_VALUE_HEAD + 255));
    before = v.len;
    assert_int_equal(dp_values_reserve(&v, (enum iscsi_param)n, 255), -ENOSPC);
    assert_false(dp_values_has(&v, (enum iscsi_param)n));
    assert_int_equal(v.len, before);
    for (uint32_t i = 0; i < n; i++) { /* in place of what is there, there is always room */
        assert_int_equal(dp_values_reserve(&v, (enum iscsi_param)i, 255), 0);
        dp_values_set(&v, (enum iscsi_param)i, text, 255);
        assert_true(dp_values_has(&v, (enum iscsi_param)i));
    }
    assert_int_equal(v.len, before);
    dp_values_fini(&v);
}

static void
test_lists_come_in_pages(void **state)
{
    struct dpw *w = dpw_new();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_SESSIONS};
    const unsigned many = 2 * IPC_SESSIONS_PAGE + 5;
    unsigned seen = 0;
    uint32_t last = 0;
    bool more;

    (void)state;
    for (unsigned i = 0; i < many; i++)
        assert_int_equal(dpw_session(w), i + 1);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_SESSION, 3, 0, 0), 0);
    do {
        ev.u.list.after = last;
        assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
        for (uint32_t i = 0; i < w->reply.r.sessions.count; i++) {
            assert_true(w->reply.r.sessions.sid[i] > last);
            last = w->reply.r.sessions.sid[i];
            seen++;
        }
        more = w->reply.r.sessions.more;
        if (seen == IPC_SESSIONS_PAGE) /* the next page is found without it, too */
            assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_SESSION, last, 0, 0), 0);
    } while (more);
    assert_int_equal(seen, many - 1);
    assert_int_equal(last, many);
    ev.type = ISCSI_UEVENT_LIST_ENDPOINTS;
    for (unsigned i = 0; i < IPC_ENDPOINTS_PAGE + 1; i++)
        (void)dpw_endpoint(w);
    ev.u.list.after = 0;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    assert_int_equal(w->reply.r.endpoints.count, IPC_ENDPOINTS_PAGE);
    assert_true(w->reply.r.endpoints.more);
    ev.u.list.after = w->reply.r.endpoints.ep[IPC_ENDPOINTS_PAGE - 1].ep;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    assert_int_equal(w->reply.r.endpoints.count, 1);
    assert_false(w->reply.r.endpoints.more);
    assert_int_equal(w->reply.r.endpoints.ep[0].state, 1);
    dpw_free(w);
}

/* ---- ids ------------------------------------------------------------------------------------ */

static void
test_data_planes_share_ids(void **state)
{
    struct dp_ids *ids = dp_ids_new();
    struct dpw *a = dpw_new(), *b = dpw_new();
    uint64_t ep;

    (void)state;
    dataplane_share_ids(a->dp, ids);
    dataplane_share_ids(b->dp, ids);
    assert_int_equal(dpw_session(a), 1);
    assert_int_equal(dpw_session(b), 2);
    assert_int_equal(dpw_session(a), 3);
    ep = dpw_endpoint(a);
    assert_true(dpw_endpoint(b) > ep);
    dpw_free(a);
    dpw_now = b;
    dpw_free(b);
    dp_ids_free(ids);
}

static void
test_ids_are_not_used_twice(void **state)
{
    struct dp_ids *ids = dp_ids_new();

    (void)state;
    for (uint32_t i = 1; i <= DP_SIDS_MAX; i++)
        assert_int_equal(dp_ids_take_sid(ids), i);
    assert_int_equal(dp_ids_take_sid(ids), 0);
    dp_ids_put_sid(ids, 4711);
    assert_int_equal(dp_ids_take_sid(ids) % (DP_SIDS_MAX + 1), 4711); /* another number */
    assert_int_equal(dp_ids_take_sid(ids), 0);
    dp_ids_free(ids);
}

#define TAKERS     4
#define TAKEN_EACH 8000

struct taker {
    pthread_t thread;
    struct dp_ids *ids;
    uint32_t sid[TAKEN_EACH];
};

static void *
take_many(void *arg)
{
    struct taker *t = arg;

    for (unsigned i = 0; i < TAKEN_EACH; i++) {
        t->sid[i] = dp_ids_take_sid(t->ids);
        if (i % 3 == 0) { /* some come and go */
            dp_ids_put_sid(t->ids, t->sid[i]);
            t->sid[i] = dp_ids_take_sid(t->ids);
        }
    }
    return NULL;
}

static void
test_threads_share_ids(void **state)
{
    static struct taker t[TAKERS];
    static uint8_t seen[1u << 20];
    struct dp_ids *ids = dp_ids_new();

    (void)state;
    for (unsigned i = 0; i < TAKERS; i++) {
        t[i].ids = ids;
        assert_int_equal(pthread_create(&t[i].thread, NULL, take_many, &t[i]), 0);
    }
    for (unsigned i = 0; i < TAKERS; i++)
        assert_int_equal(pthread_join(t[i].thread, NULL), 0);
    for (unsigned i = 0; i < TAKERS; i++) {
        for (unsigned j = 0; j < TAKEN_EACH; j++) {
            assert_in_range(t[i].sid[j], 1, sizeof(seen) - 1);
            assert_int_equal(seen[t[i].sid[j]]++, 0);
        }
    }
    dp_ids_free(ids);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_not_there),
        cmocka_unit_test(test_transports),
        cmocka_unit_test(test_nothing_is_made_on_the_way_down),
        cmocka_unit_test(test_connections),
        cmocka_unit_test(test_values_come_back),
        cmocka_unit_test(test_notes_are_bounded),
        cmocka_unit_test(test_values_are_bounded),
        cmocka_unit_test(test_lists_come_in_pages),
        cmocka_unit_test(test_data_planes_share_ids),
        cmocka_unit_test(test_ids_are_not_used_twice),
        cmocka_unit_test(test_threads_share_ids),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
