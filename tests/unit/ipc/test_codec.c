/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "ipc/ipc.h"
#include "seam/ipc_latency.h"
#include "seam/ipc_lun.h"

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
    case ISCSI_UEVENT_HELLO:
        ev.u.hello.min = 1;
        ev.u.hello.max = 0xffffffff;
        ev.u.hello.loop = 0x01020304;
        break;
    case ISCSI_UEVENT_TAKE_EVENTS:
        ev.u.take_events.from = UINT64_MAX;
        break;
    case ISCSI_UEVENT_LIST_SESSIONS:
    case ISCSI_UEVENT_LIST_ENDPOINTS:
        ev.u.list.after = 1ull << 33;
        break;
    case ISCSI_UEVENT_SET_NOTE:
        ev.u.set_note.len = IPC_NOTE_MAX;
        break;
    case ISCSI_UEVENT_SCAN_HOST:
        ev.u.scan.one = true;
        memset(ev.u.scan.lun, 0x81, sizeof(ev.u.scan.lun));
        break;
    case ISCSI_UEVENT_LIST_LUNS:
        ev.u.list_luns.after = 0xfffffffe;
        break;
    case ISCSI_UEVENT_STOP_EXPORT:
    case ISCSI_UEVENT_GET_LUN_STATS:
        memset(ev.u.lun.lun, 0x18, sizeof(ev.u.lun.lun));
        break;
    case ISCSI_UEVENT_START_EXPORT:
        strcpy(ev.u.start_export.kind, "nbd");
        memset(ev.u.start_export.lun, 0x28, sizeof(ev.u.start_export.lun));
        ev.u.start_export.read_only = true;
        ev.u.start_export.path_len = IPC_PATH_MAX - 1;
        break;
    case ISCSI_UEVENT_START_CAPTURE:
        ev.u.start_capture.unix_ns = UINT64_MAX - 1;
        ev.u.start_capture.segments_max = 1ull << 40;
        ev.u.start_capture.limit_s = 0xfffffff0;
        ev.u.start_capture.no_payload = true;
        ev.u.start_capture.path_len = IPC_PATH_MAX - 1;
        break;
    case ISCSI_UEVENT_ENGINE_FD:
        ev.u.engine_fd.fd = -1;
        ev.u.engine_fd.what = IPC_ENGINE_BELL_CLIENT;
        break;
    case ISCSI_UEVENT_ENGINE_ATTACH:
        ev.u.engine_attach.class = IPC_ENGINE_TCP;
        ev.u.engine_attach.slots = 1024;
        ev.u.engine_attach.generation = 0xfffffff1;
        ev.u.engine_attach.arena = 1ull << 34;
        break;
    case ISCSI_UEVENT_SET_FLASHNODE:
    case ISCSI_UEVENT_DELETE_CHAP:
        ev.u.engine_table.index = IPC_FLASHNODES_MAX - 1;
        ev.u.engine_table.text_len = 4000;
        break;
    case ISCSI_UEVENT_SEND_PDU:
        memset(&ev.u.send_pdu.hdr, 0x43, sizeof(ev.u.send_pdu.hdr));
        ev.u.send_pdu.data_len = 8192;
        break;
    }
    return ev;
}

/* The address to connect from and the transport's options stand last, and are not there at all
 * where neither was given: that is what peers that do not know of them send, and understand. */
static void
test_extras_of_an_endpoint(void **state)
{
    struct iscsi_uevent ev = sample(ISCSI_UEVENT_TRANSPORT_EP_CONNECT), back;
    uint8_t buf[IPC_MSG_MAX];
    int without = ipc_encode_uevent(&ev, buf, sizeof(buf)), n;

    (void)state;
    for (unsigned which = 1; which < 4; which++) {
        memset(&ev.u.ep_connect.source, 0, sizeof(ev.u.ep_connect.source));
        memset(ev.u.ep_connect.options, 0, sizeof(ev.u.ep_connect.options));
        if (which & 1) {
            ev.u.ep_connect.source.len = 28;
            memset(&ev.u.ep_connect.source.ss, 0x5c, 28);
        }
        if (which & 2)
            memset(ev.u.ep_connect.options, 'o', IPC_VALUE_MAX - 1);
        n = ipc_encode_uevent(&ev, buf, sizeof(buf));
        assert_int_equal(n, without + 4 + (which & 1 ? 28 : 0) + 2 +
                                (which & 2 ? IPC_VALUE_MAX - 1 : 0));
        assert_int_equal(ipc_decode_uevent(buf, (size_t)n, &back), 0);
        assert_memory_equal(&back, &ev, sizeof(ev));
        for (int cut = 0; cut < n; cut++)
            assert_int_equal(ipc_decode_uevent(buf, (size_t)cut, &back),
                             cut == without ? 0 : -EPROTO);
        assert_int_equal(ipc_decode_uevent(buf, (size_t)n + 1, &back), -EPROTO);
    }
    memset(buf + without, 0, 6); /* there, and empty */
    assert_int_equal(ipc_decode_uevent(buf, (size_t)without + 6, &back), -EPROTO);
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
reply_sample(enum iscsi_uevent_type type, struct iscsi_reply *rep)
{
    memset(rep, 0, sizeof(*rep));
    rep->type = type;
    rep->seq = 0x1122334455667788;
    rep->sid = 0xfffffffe;
    rep->cid = 65535;
    switch ((int)type) {
    case ISCSI_UEVENT_TRANSPORT_EP_CONNECT:
        rep->r.ep = UINT64_MAX;
        break;
    case ISCSI_UEVENT_TRANSPORT_EP_POLL:
        rep->r.value = 1;
        break;
    case ISCSI_UEVENT_GET_STATS:
        rep->r.stats.rxdata_octets = UINT64_MAX;
        rep->r.stats.digest_err = 3;
        break;
    case ISCSI_UEVENT_GET_TRANSPORT:
        rep->r.transport.caps = CAP_BIND_DESCRIPTOR | CAP_MULTI_R2T;
        rep->r.transport.max_recv_dlength = 262144;
        break;
    case ISCSI_UEVENT_HELLO:
        rep->r.hello.version = 1;
        rep->r.hello.generation = 7;
        rep->r.hello.first_event = 1ull << 40;
        rep->r.hello.next_event = (1ull << 40) + 1;
        rep->r.hello.grace_ms = 60000;
        rep->r.hello.loops = 16;
        break;
    case ISCSI_UEVENT_LIST_SESSIONS:
        rep->r.sessions.next_event = 5;
        rep->r.sessions.more = true;
        rep->r.sessions.count = IPC_SESSIONS_PAGE;
        for (uint32_t i = 0; i < IPC_SESSIONS_PAGE; i++)
            rep->r.sessions.sid[i] = i * 70000;
        break;
    case ISCSI_UEVENT_LIST_ENDPOINTS:
        rep->r.endpoints.next_event = 6;
        rep->r.endpoints.count = IPC_ENDPOINTS_PAGE;
        for (uint32_t i = 0; i < IPC_ENDPOINTS_PAGE; i++) {
            rep->r.endpoints.ep[i].ep = (uint64_t)i << 33;
            rep->r.endpoints.ep[i].owner = i;
            rep->r.endpoints.ep[i].sid = 0xffffffff - i;
            rep->r.endpoints.ep[i].cid = (uint16_t)(65535 - i);
            rep->r.endpoints.ep[i].state = -(int32_t)i;
        }
        break;
    case ISCSI_UEVENT_GET_SESSION:
        rep->r.session.next_event = 7;
        rep->r.session.owner = 2;
        rep->r.session.state = IPC_SESSION_ENDING;
        rep->r.session.down_ms = 0xfedcba98;
        memset(rep->r.session.transport, 'x', IPC_NAME_MAX - 1);
        rep->r.session.nconns = IPC_CONNS_MAX;
        for (uint32_t i = 0; i < IPC_CONNS_MAX; i++)
            rep->r.session.cid[i] = (uint16_t)(i * 2047);
        rep->r.session.values_len = IPC_VALUES_MAX;
        rep->r.session.note_len = IPC_NOTE_MAX;
        break;
    case ISCSI_UEVENT_GET_CONN:
        rep->r.conn.next_event = 8;
        rep->r.conn.owner = 3;
        rep->r.conn.state = IPC_CONN_DOWN;
        rep->r.conn.ep = 9;
        rep->r.conn.local.len = 16;
        memset(&rep->r.conn.local.ss, 0x6b, 16);
        rep->r.conn.peer.len = sizeof(rep->r.conn.peer.ss);
        memset(&rep->r.conn.peer.ss, 0x5a, sizeof(rep->r.conn.peer.ss));
        rep->r.conn.values_len = 17;
        break;
    case ISCSI_UEVENT_SCAN_HOST:
        rep->r.value = 16384;
        break;
    case ISCSI_UEVENT_LIST_LUNS:
        rep->r.luns.next_event = 1ull << 60;
        rep->r.luns.more = true;
        rep->r.luns.count = IPC_LUNS_PAGE;
        rep->r.luns.data_len = IPC_LUNS_DATA_MAX;
        break;
    case ISCSI_UEVENT_GET_LUN_STATS:
        memset(&rep->r.lun_stats, 0x3c, sizeof(rep->r.lun_stats));
        rep->r.lun_stats.export_clients = 3;
        rep->r.lun_stats.data_len = IPC_LATENCY_DATA_MAX;
        break;
    case ISCSI_UEVENT_GET_FLIGHT:
        rep->r.flight.count = IPC_FLIGHT_MAX;
        break;
    case ISCSI_UEVENT_ENGINE_ATTACH:
        rep->r.attach.sessions_max = 64;
        rep->r.attach.max_transfer = 1u << 24;
        rep->r.attach.pid = 0x01020304;
        memset(rep->r.attach.version, 'v', IPC_NAME_MAX - 1);
        break;
    case ISCSI_UEVENT_SEND_PING:
        rep->r.value = 1234567;
        break;
    case ISCSI_UEVENT_GET_FLASHNODE:
    case ISCSI_UEVENT_LIST_CHAP:
        rep->r.text.len = IPC_REPLY_DATA_MAX;
        rep->r.text.more = true;
        break;
    }
}

static void
reply_round_trip(const struct iscsi_reply *rep)
{
    uint8_t buf[IPC_MSG_MAX], again[IPC_MSG_MAX];
    struct iscsi_reply back;
    int n = ipc_encode_reply(rep, buf, sizeof(buf));

    assert_true(n > 0);
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), 0);
    assert_memory_equal(&back, rep, sizeof(back));
    for (int cut = 0; cut < n; cut++)
        assert_int_equal(ipc_decode_reply(buf, (size_t)cut, &back), -EPROTO);
    assert_int_equal(ipc_encode_reply(rep, again, (size_t)n - 1), -ENOBUFS);
}

/* What cannot be negated, or is no error of any system, is no answer. */
static void
test_errors_have_a_bound(void **state)
{
    static const int errs[] = {-1, -4095, -4096, INT32_MIN};

    (void)state;
    for (size_t i = 0; i < sizeof(errs) / sizeof(errs[0]); i++) {
        struct iscsi_reply rep = {.type = ISCSI_UEVENT_HELLO, .err = errs[i]}, back;
        uint8_t buf[IPC_MSG_MAX];
        /* type, seq, sid and cid are behind the head */
        size_t at = 4 + 4 + 8 + 4 + 2;
        int n;

        rep.err = -1;
        n = ipc_encode_reply(&rep, buf, sizeof(buf));
        assert_true(n > 0);
        for (unsigned k = 0; k < 4; k++)
            buf[at + k] = (uint8_t)((uint32_t)errs[i] >> (8 * k));
        assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), i < 2 ? 0 : -EPROTO);
    }
}

static void
test_every_reply_there_and_back(void **state)
{
    struct iscsi_reply rep;

    (void)state;
    for (int t = 0; t < ISCSI_UEVENT_COUNT; t++) {
        assert_true(ipc_reply_room((enum iscsi_uevent_type)t) <= IPC_REPLY_DATA_MAX);
        reply_sample((enum iscsi_uevent_type)t, &rep);
        reply_round_trip(&rep);
        memset(&rep.r, 0, sizeof(rep.r));
        rep.err = -ENOTCONN;
        rep.why.code = -ENOTCONN;
        rep.why.domain = LUNETTE_DOM_PROTO;
        memset(rep.why.msg, 'w', sizeof(rep.why.msg) - 1);
        reply_round_trip(&rep);
        assert_int_equal(ipc_reply_data_len(&rep), 0);
    }
    reply_sample(ISCSI_UEVENT_GET_SESSION, &rep);
    assert_int_equal(ipc_reply_data_len(&rep), ipc_reply_room(ISCSI_UEVENT_GET_SESSION));
    reply_sample(ISCSI_UEVENT_LIST_LUNS, &rep);
    assert_int_equal(ipc_reply_data_len(&rep), ipc_reply_room(ISCSI_UEVENT_LIST_LUNS));
    reply_sample(ISCSI_UEVENT_GET_LUN_STATS, &rep);
    assert_int_equal(ipc_reply_data_len(&rep), ipc_reply_room(ISCSI_UEVENT_GET_LUN_STATS));
    reply_sample(ISCSI_UEVENT_GET_FLIGHT, &rep);
    assert_int_equal(ipc_reply_data_len(&rep), ipc_reply_room(ISCSI_UEVENT_GET_FLIGHT));
}

/* What is packed comes back, and bytes that make no sense do no harm. */
/* A sentence of another process adds no line to a log and steers no terminal. */
static void
test_sentences_are_cleaned(void **state)
{
    struct iscsi_reply rep = {.type = ISCSI_UEVENT_HELLO, .err = -EPERM}, back;
    uint8_t buf[IPC_MSG_MAX];
    int n;

    (void)state;
    rep.why.code = -EPERM;
    (void)snprintf(rep.why.msg, sizeof(rep.why.msg), "no\nroot: all is well\033[2J\xff!");
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    assert_true(n > 0);
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), 0);
    assert_string_equal(back.why.msg, "no?root: all is well?[2J?!");
}

static void
test_latency_there_and_back(void **state)
{
    static struct bdev_latency l, back;
    static uint8_t buf[IPC_LATENCY_DATA_MAX + 1];
    uint32_t n;

    (void)state;
    memset(&l, 0, sizeof(l));
    assert_int_equal(ipc_latency_pack(&l, buf), 0);
    assert_true(ipc_latency_unpack(buf, 0, &back));
    assert_memory_equal(&l, &back, sizeof(l));
    latency_add(&l.total[BDEV_CLASS_WRITE], 5000000, 3);
    latency_add(&l.stage[BDEV_CLASS_WRITE][IO_STAGE_TARGET], 4999999, 3);
    latency_add(&l.stage[BDEV_CLASS_WRITE][IO_STAGE_SEND], 1, 3);
    n = ipc_latency_pack(&l, buf);
    assert_int_equal(n, 3 * (IPC_LATENCY_HEAD + IPC_LATENCY_BUCKET));
    assert_true(ipc_latency_unpack(buf, n, &back));
    assert_memory_equal(&l, &back, sizeof(l));
    for (uint32_t cut = 1; cut < n; cut++)
        assert_true(ipc_latency_unpack(buf, cut, &back) ==
                    (cut % (IPC_LATENCY_HEAD + IPC_LATENCY_BUCKET) == 0));
    memset(&l, 0x7f, sizeof(l));
    l.timed = 0;
    n = ipc_latency_pack(&l, buf);
    assert_true(n <= IPC_LATENCY_DATA_MAX);
    assert_true(ipc_latency_unpack(buf, n, &back));
    assert_memory_equal(&l, &back, sizeof(l));
    for (uint32_t i = 0; i < n; i++) { /* classes, stages and buckets that nobody knows */
        uint8_t kept = buf[i];

        buf[i] = 0xff;
        (void)ipc_latency_unpack(buf, n, &back);
        buf[i] = kept;
    }
}

/* Counts that are larger than what they count, as no encoder writes them. */
static void
test_counts_are_bounded(void **state)
{
    uint8_t buf[IPC_MSG_MAX];
    struct iscsi_reply rep, back;
    int n;

    (void)state;
    reply_sample(ISCSI_UEVENT_LIST_SESSIONS, &rep);
    rep.r.sessions.count = IPC_SESSIONS_PAGE + 1;
    assert_int_equal(ipc_encode_reply(&rep, buf, sizeof(buf)), -ENOBUFS);
    rep.r.sessions.count = 0;
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    assert_true(n > 4);
    memset(buf + n - 4, 0xff, 4); /* the count comes last */
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), -EPROTO);
    reply_sample(ISCSI_UEVENT_GET_CONN, &rep);
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    memset(buf + n - 4, 0xff, 4); /* values_len */
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), -EPROTO);
    reply_sample(ISCSI_UEVENT_LIST_LUNS, &rep);
    rep.r.luns.count = IPC_LUNS_PAGE + 1;
    assert_int_equal(ipc_encode_reply(&rep, buf, sizeof(buf)), -ENOBUFS);
    rep.r.luns.count = IPC_LUNS_PAGE;
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    buf[n - 4]++; /* data_len */
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), -EPROTO);
    reply_sample(ISCSI_UEVENT_GET_LUN_STATS, &rep);
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    buf[n - 8]++; /* data_len */
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), -EPROTO);
    buf[n - 4]++;
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &back), -EPROTO);
}

/* Results that are no errors and no success, texts with an end in their middle, and data that no
 * packet holds. */
static void
test_what_no_encoder_writes(void **state)
{
    uint8_t buf[IPC_MSG_MAX];
    struct iscsi_uevent ev = sample(ISCSI_UEVENT_GET_TRANSPORT), ev_back;
    struct iscsi_kevent kev = {.type = ISCSI_KEVENT_EP_EVENT}, kev_back;
    struct iscsi_reply rep, rep_back;
    int n = ipc_encode_uevent(&ev, buf, sizeof(buf));

    (void)state;
    buf[n - 2] = '\0'; /* "t", NUL, "p" */
    assert_int_equal(ipc_decode_uevent(buf, (size_t)n, &ev_back), -EPROTO);
    reply_sample(ISCSI_UEVENT_STOP_CONN, &rep);
    n = ipc_encode_reply(&rep, buf, sizeof(buf));
    buf[n - 4] = 1; /* err */
    assert_int_equal(ipc_decode_reply(buf, (size_t)n, &rep_back), -EPROTO);
    n = ipc_encode_kevent(&kev, buf, sizeof(buf));
    buf[n - 4] = 1; /* err */
    assert_int_equal(ipc_decode_kevent(buf, (size_t)n, &kev_back), -EPROTO);
    ev = sample(ISCSI_UEVENT_SEND_PDU);
    n = ipc_encode_uevent(&ev, buf, sizeof(buf));
    memset(buf + n - 4, 0x7f, 4); /* data_len */
    assert_int_equal(ipc_decode_uevent(buf, (size_t)n, &ev_back), -EPROTO);
    ev = sample(ISCSI_UEVENT_SET_NOTE);
    n = ipc_encode_uevent(&ev, buf, sizeof(buf));
    memset(buf + n - 4, 0x7f, 4); /* len */
    assert_int_equal(ipc_decode_uevent(buf, (size_t)n, &ev_back), -EPROTO);
    ev = sample(ISCSI_UEVENT_START_EXPORT);
    n = ipc_encode_uevent(&ev, buf, sizeof(buf));
    memset(buf + n - 4, 0x7f, 4); /* path_len */
    assert_int_equal(ipc_decode_uevent(buf, (size_t)n, &ev_back), -EPROTO);
    ev = sample(ISCSI_UEVENT_SCAN_HOST);
    n = ipc_encode_uevent(&ev, buf, sizeof(buf));
    buf[n - 12] = 2; /* one: a truth value of 4 bytes before the LUN */
    assert_int_equal(ipc_decode_uevent(buf, (size_t)n, &ev_back), -EPROTO);
    kev = (struct iscsi_kevent){.type = ISCSI_KEVENT_LUN};
    kev.u.lun.what = IPC_LUN_EVENTS;
    assert_int_equal(ipc_encode_kevent(&kev, buf, sizeof(buf)), -ENOBUFS);
    kev = (struct iscsi_kevent){.type = ISCSI_KEVENT_RECV_PDU};
    n = ipc_encode_kevent(&kev, buf, sizeof(buf));
    memset(buf + n - 4, 0x7f, 4); /* data_len */
    assert_int_equal(ipc_decode_kevent(buf, (size_t)n, &kev_back), -EPROTO);
    kev = (struct iscsi_kevent){.type = ISCSI_KEVENT_SESSION_STATE};
    kev.u.session_state.state = IPC_SESSION_STATES;
    assert_int_equal(ipc_encode_kevent(&kev, buf, sizeof(buf)), -ENOBUFS);
    kev.u.session_state.state = IPC_SESSION_ENDING;
    n = ipc_encode_kevent(&kev, buf, sizeof(buf));
    buf[n - 14 - 4] = IPC_SESSION_STATES; /* the error of 14 bytes follows */
    assert_int_equal(ipc_decode_kevent(buf, (size_t)n, &kev_back), -EPROTO);
}

static void
test_every_event_there_and_back(void **state)
{
    struct iscsi_kevent ev, back;
    uint8_t buf[IPC_MSG_MAX];

    (void)state;
    for (int t = 0; t < ISCSI_KEVENT_COUNT; t++) {
        int n;

        memset(&ev, 0, sizeof(ev));
        ev.type = (enum iscsi_kevent_type)t;
        ev.number = 0x8877665544332211;
        ev.sid = 3;
        ev.cid = 4;
        if (t == ISCSI_KEVENT_RECV_PDU) {
            memset(&ev.u.recv_pdu.hdr, 0x23, sizeof(ev.u.recv_pdu.hdr));
            ev.u.recv_pdu.data_len = 65536;
        } else if (t == ISCSI_KEVENT_CONN_ERROR) {
            ev.u.conn_error.err = ISCSI_ERR_STATSN;
            ev.u.conn_error.time2wait_s = 0x01020304;
            ev.u.conn_error.time2retain_s = 0x05060708;
            ev.u.conn_error.served = true;
            ev.u.conn_error.why.code = -EPROTO;
        } else if (t == ISCSI_KEVENT_EP_EVENT) {
            ev.u.ep_event.ep = 0x1122334455667788;
            ev.u.ep_event.err = -ECONNREFUSED;
        } else if (t == ISCSI_KEVENT_LOST) {
            ev.u.lost.count = UINT64_MAX;
        } else if (t == ISCSI_KEVENT_SESSION_STATE) {
            ev.u.session_state.state = IPC_SESSION_BLOCKED;
            ev.u.session_state.why.code = -ENOTCONN;
            strcpy(ev.u.session_state.why.msg, "cut");
        } else if (t == ISCSI_KEVENT_LUN) {
            memset(ev.u.lun.lun, 0x77, sizeof(ev.u.lun.lun));
            ev.u.lun.what = IPC_LUN_EV_ATTENTION;
            strcpy(ev.u.lun.why.msg, "the capacity has changed");
        } else if (t == ISCSI_KEVENT_EXPORT_STOPPED) {
            memset(ev.u.export_stopped.lun, 0x66, sizeof(ev.u.export_stopped.lun));
            memset(ev.u.export_stopped.kind, 'k', IPC_NAME_MAX - 1);
            ev.u.export_stopped.why.code = -ENODEV;
            memset(ev.u.export_stopped.why.msg, 'w', sizeof(ev.u.export_stopped.why.msg) - 1);
        } else if (t == ISCSI_KEVENT_CONN_LOGIN_STATE) {
            ev.u.conn_login.why.code = -EACCES;
            strcpy(ev.u.conn_login.why.msg, "refused");
        }
        n = ipc_encode_kevent(&ev, buf, sizeof(buf));
        assert_true(n > 0);
        assert_int_equal(ipc_decode_kevent(buf, (size_t)n, &back), 0);
        assert_memory_equal(&ev, &back, sizeof(ev));
        for (int cut = 0; cut < n; cut++)
            assert_int_equal(ipc_decode_kevent(buf, (size_t)cut, &back), -EPROTO);
    }
}

/* These numbers are the protocol between processes of different versions: a row may be added, none
 * may be changed or taken out. */
static void
test_message_numbers_stay(void **state)
{
    static const int requests[][2] = {
        {ISCSI_UEVENT_UNKNOWN, 0},
        {ISCSI_UEVENT_TRANSPORT_EP_CONNECT, 1},
        {ISCSI_UEVENT_TRANSPORT_EP_POLL, 2},
        {ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT, 3},
        {ISCSI_UEVENT_CREATE_SESSION, 4},
        {ISCSI_UEVENT_DESTROY_SESSION, 5},
        {ISCSI_UEVENT_CREATE_CONN, 6},
        {ISCSI_UEVENT_DESTROY_CONN, 7},
        {ISCSI_UEVENT_BIND_CONN, 8},
        {ISCSI_UEVENT_SET_PARAM, 9},
        {ISCSI_UEVENT_START_CONN, 10},
        {ISCSI_UEVENT_STOP_CONN, 11},
        {ISCSI_UEVENT_SEND_PDU, 12},
        {ISCSI_UEVENT_GET_STATS, 13},
        {ISCSI_UEVENT_GET_TRANSPORT, 14},
        {ISCSI_UEVENT_HELLO, 15},
        {ISCSI_UEVENT_TAKE_EVENTS, 16},
        {ISCSI_UEVENT_LIST_SESSIONS, 17},
        {ISCSI_UEVENT_LIST_ENDPOINTS, 18},
        {ISCSI_UEVENT_GET_SESSION, 19},
        {ISCSI_UEVENT_GET_CONN, 20},
        {ISCSI_UEVENT_SET_NOTE, 21},
        {ISCSI_UEVENT_ADOPT, 22},
        {ISCSI_UEVENT_SCAN_HOST, 23},
        {ISCSI_UEVENT_LIST_LUNS, 24},
        {ISCSI_UEVENT_UNBIND_SESSION, 25},
        {ISCSI_UEVENT_START_EXPORT, 26},
        {ISCSI_UEVENT_STOP_EXPORT, 27},
        {ISCSI_UEVENT_GET_LUN_STATS, 28},
        {ISCSI_UEVENT_GET_FLIGHT, 31},
        {ISCSI_UEVENT_START_CAPTURE, 32},
        {ISCSI_UEVENT_ENGINE_FD, 33},
        {ISCSI_UEVENT_ENGINE_ATTACH, 34},
        {ISCSI_UEVENT_NEW_FLASHNODE, 35},
        {ISCSI_UEVENT_DEL_FLASHNODE, 36},
        {ISCSI_UEVENT_SET_FLASHNODE, 37},
        {ISCSI_UEVENT_GET_FLASHNODE, 38},
        {ISCSI_UEVENT_LIST_FLASHNODES, 39},
        {ISCSI_UEVENT_LOGIN_FLASHNODE, 40},
        {ISCSI_UEVENT_LOGOUT_FLASHNODE, 41},
        {ISCSI_UEVENT_SET_CHAP, 42},
        {ISCSI_UEVENT_LIST_CHAP, 43},
        {ISCSI_UEVENT_DELETE_CHAP, 44},
        {ISCSI_UEVENT_SEND_PING, 45},
        {ISCSI_UEVENT_GET_HOST_STATS, 46},
    };
    static const int events[][2] = {
        {ISCSI_KEVENT_UNKNOWN, 0},        {ISCSI_KEVENT_RECV_PDU, 1},
        {ISCSI_KEVENT_CONN_ERROR, 2},     {ISCSI_KEVENT_EP_EVENT, 3},
        {ISCSI_KEVENT_LOST, 4},           {ISCSI_KEVENT_SESSION_GONE, 5},
        {ISCSI_KEVENT_SESSION_STATE, 6},  {ISCSI_KEVENT_LUN, 7},
        {ISCSI_KEVENT_EXPORT_STOPPED, 8}, {ISCSI_KEVENT_CONN_LOGIN_STATE, 9},
    };

    /* The values of parameters cross as well; these stand for those between them. */
    static const int params[][2] = {
        {ISCSI_PARAM_HEADER_DIGEST, 0}, {ISCSI_PARAM_MAX_RECV_DLENGTH, 2},
        {ISCSI_PARAM_MAX_BURST, 7},     {ISCSI_PARAM_ERL, 11},
        {ISCSI_PARAM_EXP_STATSN, 17},   {ISCSI_PARAM_TARGET_NAME, 18},
        {ISCSI_PARAM_TSIH, 21},         {ISCSI_PARAM_PING_INTERVAL_MS, 22},
        {ISCSI_PARAM_ZERO_COPY, 27},    {ISCSI_PARAM_ISID, 28},
        {ISCSI_PARAM_PORTAL, 29},       {ISCSI_PARAM_RECOVERY_TMO, 30},
        {ISCSI_PARAM_OPTIONS, 31},      {ISCSI_PARAM_MAX_UNEXPECTED_PDUS, 32},
    };

    (void)state;
    /* Some numbers stand for nothing. */
    assert_int_equal(requests[sizeof(requests) / sizeof(requests[0]) - 1][1] + 1,
                     ISCSI_UEVENT_COUNT);
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++)
        assert_int_equal(requests[i][0], requests[i][1]);
    for (size_t i = 0; i < sizeof(params) / sizeof(params[0]); i++)
        assert_int_equal(params[i][0], params[i][1]);
    assert_int_equal(ISCSI_PARAM_COUNT, 33);
    assert_int_equal(sizeof(events) / sizeof(events[0]), ISCSI_KEVENT_COUNT);
    for (size_t i = 0; i < sizeof(events) / sizeof(events[0]); i++)
        assert_int_equal(events[i][0], events[i][1]);
}

static void
lun_sample(struct ipc_lun_info *i)
{
    memset(i, 0, sizeof(*i));
    i->index = 0xfffffffe;
    memset(i->lun, 0xc1, sizeof(i->lun));
    i->pdt = 0x1f;
    i->state = IPC_LUN_CLOSING;
    i->flags = 0x80000001;
    i->err = -ENOMEDIUM;
    i->size = UINT64_MAX;
    i->block_size = 4096;
    i->export_clients = 0x01020304;
    memset(i->vendor, 'v', sizeof(i->vendor) - 1);
    memset(i->product, 'p', sizeof(i->product) - 1);
    memset(i->revision, 'r', sizeof(i->revision) - 1);
    memset(i->ident, 'i', sizeof(i->ident) - 1);
    memset(i->why, 'w', sizeof(i->why) - 1);
    memset(i->export_kind, 'k', sizeof(i->export_kind) - 1);
    memset(i->export_path, '/', sizeof(i->export_path) - 1);
}

/* The longest unit that there is; a page of them is the longest data; and cut at each byte. */
static void
test_a_unit_there_and_back(void **state)
{
    uint8_t page[IPC_LUNS_DATA_MAX];
    struct ipc_lun_info info, back;
    const uint8_t *at = page;
    uint32_t len = 0;

    (void)state;
    assert_true(IPC_LUNS_PAGE * IPC_LUN_PACKED_MAX <= IPC_LUNS_DATA_MAX);
    lun_sample(&info);
    for (int i = 0; i < IPC_LUNS_PAGE; i++)
        len += ipc_lun_pack(&info, page + len);
    for (int i = 0; i < IPC_LUNS_PAGE; i++) {
        assert_true(ipc_lun_next(&at, page + len, &back));
        assert_memory_equal(&back, &info, sizeof(info));
    }
    assert_ptr_equal(at, page + len);
    assert_false(ipc_lun_next(&at, page + len, &back));
    len = ipc_lun_pack(&info, page);
    for (uint32_t cut = 0; cut < len; cut++) {
        at = page;
        assert_false(ipc_lun_next(&at, page + cut, &back));
        assert_ptr_equal(at, page);
    }
}

/* A unit of a later version has more fields, one of an earlier version never fewer; a text with an
 * end in it, an unknown state and a result above 0 are no unit. */
static void
test_units_that_are_none(void **state)
{
    uint8_t buf[IPC_LUN_PACKED_MAX + 8], again[IPC_LUN_PACKED_MAX];
    struct ipc_lun_info info, back;
    const uint8_t *at = buf;
    uint32_t len;

    (void)state;
    memset(buf, 0xee, sizeof(buf));
    lun_sample(&info);
    len = ipc_lun_pack(&info, buf);
    assert_true(len > 2 && len <= IPC_LUN_PACKED_MAX);
    memcpy(again, buf, len);
    buf[0] = (uint8_t)(len - 2 + 5);
    buf[1] = (uint8_t)((len - 2 + 5) >> 8);
    assert_true(ipc_lun_next(&at, buf + len + 5, &back));
    assert_ptr_equal(at, buf + len + 5);
    assert_memory_equal(&back, &info, sizeof(info));
    at = buf;
    assert_false(ipc_lun_next(&at, buf + len + 4, &back));
    memcpy(buf, again, len);
    buf[len - 3] = '\0'; /* within the path */
    assert_false(ipc_lun_next(&at, buf + len, &back));
    memcpy(buf, again, len);
    buf[2 + 4 + 8 + 1] = IPC_LUN_STATES;
    assert_false(ipc_lun_next(&at, buf + len, &back));
    memcpy(buf, again, len);
    memset(buf + 2 + 4 + 8 + 1 + 1 + 4, 0x01, 4); /* err */
    assert_false(ipc_lun_next(&at, buf + len, &back));
    info.err = 1;
    assert_int_equal(ipc_lun_pack(&info, buf), 0);
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
        cmocka_unit_test(test_extras_of_an_endpoint),
        cmocka_unit_test(test_errors_have_a_bound),
        cmocka_unit_test(test_every_reply_there_and_back),
        cmocka_unit_test(test_sentences_are_cleaned),
        cmocka_unit_test(test_latency_there_and_back),
        cmocka_unit_test(test_counts_are_bounded),
        cmocka_unit_test(test_what_no_encoder_writes),
        cmocka_unit_test(test_every_event_there_and_back),
        cmocka_unit_test(test_message_numbers_stay),
        cmocka_unit_test(test_a_unit_there_and_back),
        cmocka_unit_test(test_units_that_are_none),
        cmocka_unit_test(test_garbage_is_refused_or_harmless),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
