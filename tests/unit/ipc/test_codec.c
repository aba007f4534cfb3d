/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "ipc/ipc.h"

static struct iscsi_uevent
sample(enum iscsi_uevent_type type)
{
    struct iscsi_uevent ev;

    memset(&ev, 0, sizeof(ev));
    ev.type = type;
    ev.seq = 0x1122334455667788;
    ev.sid = 7;
    ev.cid = 65535;
    ev.ep = 9;
    switch ((int)type) {
    case ISCSI_UEVENT_TRANSPORT_EP_CONNECT:
        strcpy(ev.u.ep_connect.transport, "fake");
        ev.u.ep_connect.to.len = 16;
        memset(&ev.u.ep_connect.to.ss, 0xa5, 16);
        break;
    case ISCSI_UEVENT_GET_TRANSPORT:
        strcpy(ev.u.get_transport.transport, "tcp");
        break;
    case ISCSI_UEVENT_CREATE_SESSION:
        memset(ev.u.create_session.transport, 'x', IPC_NAME_MAX - 1);
        ev.u.create_session.initial_cmdsn = 0xfffffff0;
        ev.u.create_session.cmds_max = 32;
        break;
    case ISCSI_UEVENT_BIND_CONN:
        ev.u.bind_conn.fd = -1;
        ev.u.bind_conn.leading = 1;
        break;
    case ISCSI_UEVENT_SET_PARAM:
        ev.u.set_param.param = ISCSI_PARAM_MAX_BURST;
        strcpy(ev.u.set_param.value, "262144");
        break;
    case ISCSI_UEVENT_STOP_CONN:
        ev.u.stop_conn.how = STOP_CONN_RECOVER;
        break;
    case ISCSI_UEVENT_SEND_PDU:
        memset(&ev.u.send_pdu.hdr, 0x43, sizeof(ev.u.send_pdu.hdr));
        ev.u.send_pdu.data_len = 8192;
        break;
    }
    return ev;
}

static void
test_every_request_there_and_back(void **state)
{
    uint8_t buf[IPC_MSG_MAX], again[IPC_MSG_MAX];

    (void)state;
    for (int t = 0; t < ISCSI_UEVENT_COUNT; t++) {
        struct iscsi_uevent ev = sample((enum iscsi_uevent_type)t), back;
        int n = ipc_encode_uevent(&ev, buf, sizeof(buf));

        assert_true(n > 0);
        assert_int_equal(ipc_decode_uevent(buf, (size_t)n, &back), 0);
        assert_memory_equal(&back, &ev, sizeof(ev));
        for (int cut = 0; cut < n; cut++)
            assert_int_equal(ipc_decode_uevent(buf, (size_t)cut, &back), -EPROTO);
        assert_int_equal(ipc_decode_uevent(buf, (size_t)n + 1, &back), -EPROTO);
        assert_int_equal(ipc_encode_uevent(&ev, again, (size_t)n - 1), -ENOBUFS);
    }
}

static void
test_replies_and_events_there_and_back(void **state)
{
    struct iscsi_reply rep, rep_back;
    struct iscsi_kevent ev, ev_back;
    uint8_t buf[IPC_MSG_MAX];
    int n;

    (void)state;
    memset(&rep, 0, sizeof(rep));
    rep.type = ISCSI_UEVENT_GET_STATS;
    rep.r.stats.rxdata_octets = UINT64_MAX;
    rep.r.stats.digest_err = 3;
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &rep_back), 0);
    assert_memory_equal(&rep, &rep_back, sizeof(rep));

    memset(&rep, 0, sizeof(rep));
    rep.type = ISCSI_UEVENT_START_CONN;
    rep.err = -ENOTCONN;
    rep.why.code = -ENOTCONN;
    rep.why.domain = LUNETTE_DOM_PROTO;
    strcpy(rep.why.msg, "because");
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &rep_back), 0);
    assert_memory_equal(&rep, &rep_back, sizeof(rep));

    memset(&rep, 0, sizeof(rep));
    rep.type = ISCSI_UEVENT_GET_TRANSPORT;
    rep.r.transport.caps = CAP_BIND_DESCRIPTOR | CAP_MULTI_R2T;
    rep.r.transport.max_recv_dlength = 262144;
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &rep_back), 0);
    assert_memory_equal(&rep, &rep_back, sizeof(rep));

    memset(&ev, 0, sizeof(ev));
    ev.type = ISCSI_KEVENT_EP_EVENT;
    ev.u.ep_event.ep = 0x1122334455667788;
    ev.u.ep_event.err = -ECONNREFUSED;
    n = ipc_encode_kevent(&ev, buf, sizeof(buf));
    assert_int_equal(ipc_decode_kevent(buf, (size_t)n, &ev_back), 0);
    assert_memory_equal(&ev, &ev_back, sizeof(ev));

    memset(&ev, 0, sizeof(ev));
    ev.type = ISCSI_KEVENT_CONN_ERROR;
    ev.u.conn_error.err = ISCSI_ERR_STATSN;
    ev.u.conn_error.why.code = -EPROTO;
    n = ipc_encode_kevent(&ev, buf, sizeof(buf));
    assert_int_equal(ipc_decode_kevent(buf, (size_t)n, &ev_back), 0);
    assert_memory_equal(&ev, &ev_back, sizeof(ev));
}

/* These numbers are the protocol between processes of different versions: a row may be added, none
 * may be changed or taken out. */
static void
test_message_numbers_stay(void **state)
{
    static const int requests[][2] = {
        {ISCSI_UEVENT_UNKNOWN, 0},           {ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 1},
        {ISCSI_UEVENT_TRANSPORT_EP_POLL, 2}, {ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 3},
        {ISCSI_UEVENT_CREATE_SESSION, 4},    {ISCSI_UEVENT_DESTROY_SESSION, 5},
        {ISCSI_UEVENT_CREATE_CONN, 6},       {ISCSI_UEVENT_DESTROY_CONN, 7},
        {ISCSI_UEVENT_BIND_CONN, 8},         {ISCSI_UEVENT_SET_PARAM, 9},
        {ISCSI_UEVENT_START_CONN, 10},       {ISCSI_UEVENT_STOP_CONN, 11},
        {ISCSI_UEVENT_SEND_PDU, 12},         {ISCSI_UEVENT_GET_STATS, 13},
        {ISCSI_UEVENT_GET_TRANSPORT, 14},
    };
    static const int events[][2] = {
        {ISCSI_KEVENT_UNKNOWN, 0},
        {ISCSI_KEVENT_RECV_PDU, 1},
        {ISCSI_KEVENT_CONN_ERROR, 2},
        {ISCSI_KEVENT_EP_EVENT, 3},
    };

    (void)state;
    assert_int_equal(sizeof(requests) / sizeof(requests[0]), ISCSI_UEVENT_COUNT);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        assert_int_equal(requests[i][0], requests[i][1]);
    assert_int_equal(sizeof(events) / sizeof(events[0]), ISCSI_KEVENT_COUNT);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        assert_int_equal(events[i][0], events[i][1]);
}

/* Whatever the bytes: an error or a message with its enumerations in range. */
static void
test_garbage_is_refused_or_harmless(void **state)
{
    uint64_t x = 88172645463325252ull;
    uint8_t buf[IPC_MSG_MAX];

    (void)state;
    for (int round = 0; round < 20000; round++) {
        struct iscsi_uevent ev = sample((enum iscsi_uevent_type)(round % ISCSI_UEVENT_COUNT)), back;
        int n = ipc_encode_uevent(&ev, buf, sizeof(buf));

        for (int flips = 0; flips < 3; flips++) {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
            buf[x % (uint64_t)n] = (uint8_t)(x >> 32);
        }
        if (ipc_decode_uevent(buf, (size_t)n, &back) == 0) {
            assert_in_range(back.type, 0, ISCSI_UEVENT_COUNT - 1);
            if (back.type == ISCSI_UEVENT_SET_PARAM)
                assert_in_range(back.u.set_param.param, 0, ISCSI_PARAM_COUNT - 1);
        }
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_request_there_and_back),
        cmocka_unit_test(test_replies_and_events_there_and_back),
        cmocka_unit_test(test_message_numbers_stay),
        cmocka_unit_test(test_garbage_is_refused_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
