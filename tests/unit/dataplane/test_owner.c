/* SPDX-License-Identifier: MIT */
/* A transport that owns its sessions (the class of qla4xxx): a fake owner with a host of its own,
 * beside a session of iscsi/. */
#include "tests/unit/dataplane/dpw.h"

#include "seam/session.h"

struct fake_conn {
    uint16_t cid;
    bool there, bound, started;
    bool destroyed; /* and not to be used any more */
};

static struct fake_owner {
    struct scsi_host host;
    struct dp_session_config cfg;
    struct fake_conn conn[4];
    unsigned sessions, teardowns, pdus;
    bool slow; /* destroy_conn leaves the connection bound, until the test says conn_down */
    char param[64];
} owner;

static int
owner_create(const struct dp_session_config *cfg, void **ret_session, struct scsi_host **ret_host,
             struct lunette_error *err)
{
    if (cfg->cmds_max == 13)
        return lunette_fail(err, -EPERM, LUNETTE_DOM_USAGE, 0, "unlucky");
    owner.cfg = *cfg;
    owner.sessions++;
    owner.host.state = SCSI_HOST_BLOCKED;
    *ret_session = &owner;
    *ret_host = &owner.host;
    return 0;
}

static void
owner_teardown(void *session)
{
    assert_ptr_equal(session, &owner);
    owner.teardowns++; /* freed comes later, from the test */
}

static int
owner_create_conn(void *session, uint16_t cid, void **ret_conn, struct lunette_error *err)
{
    assert_ptr_equal(session, &owner);
    if (cid >= 4)
        return lunette_fail(err, -ENOSPC, LUNETTE_DOM_USAGE, 0, "the adapter has four");
    owner.conn[cid] = (struct fake_conn){.cid = cid, .there = true};
    *ret_conn = &owner.conn[cid];
    return 0;
}

static void
owner_stop_conn(void *conn, enum iscsi_stop how)
{
    struct fake_conn *c = conn;

    (void)how;
    assert_false(c->destroyed);
    assert_int_equal(owner.teardowns, 0);
    if (c->bound)
        owner.cfg.ev->conn_down(owner.cfg.user, c);
    c->bound = c->started = false;
}

static void
owner_destroy_conn(void *conn)
{
    if (!owner.slow)
        owner_stop_conn(conn, STOP_CONN_TERM);
    ((struct fake_conn *)conn)->there = false;
    ((struct fake_conn *)conn)->destroyed = true;
}

static int
owner_bind_conn(void *conn, int64_t eph, struct iscsi_endpoint *ep, bool leading,
                struct lunette_error *err)
{
    (void)err;
    assert_true(leading);
    assert_int_equal(eph, ep != NULL ? (int64_t)ep->id : 5);
    ((struct fake_conn *)conn)->bound = true;
    return 0;
}

static int
owner_start_conn(void *conn, struct lunette_error *err)
{
    (void)err;
    ((struct fake_conn *)conn)->started = true;
    owner.host.state = SCSI_HOST_RUNNING;
    return 0;
}

static int
owner_set_param(void *conn, enum iscsi_param p, const char *value, struct lunette_error *err)
{
    (void)conn;
    if (p == ISCSI_PARAM_ERL)
        return lunette_fail(err, -ENOTSUP, LUNETTE_DOM_USAGE, 0, "the adapter chooses");
    (void)snprintf(owner.param, sizeof(owner.param), "%d=%s", (int)p, value);
    return 0;
}

static int
owner_send_pdu(void *conn, const struct bhs *hdr, const void *data, uint32_t len,
               struct lunette_error *err)
{
    (void)conn;
    (void)hdr;
    (void)data;
    (void)len;
    (void)err;
    owner.pdus++;
    return 0;
}

static void
owner_get_stats(void *conn, struct iscsi_stats *ret)
{
    (void)conn;
    ret->scsicmd_pdus = 42;
}

/* The adapter has logged in by itself and knows with whom. */
static int
owner_get_param(void *session, void *conn, enum iscsi_param p, char *buf, size_t size)
{
    assert_ptr_equal(session, &owner);
    if (conn == NULL && p == ISCSI_PARAM_TARGET_NAME)
        return snprintf(buf, size, "iqn.2026-11.example:adapter");
    if (conn == NULL && p == ISCSI_PARAM_TSIH)
        return snprintf(buf, size, "99");
    if (conn != NULL && p == ISCSI_PARAM_PORTAL)
        return snprintf(buf, size, "192.0.2.1:3260");
    return -ENOENT;
}

static const struct dp_session_ops owner_ops = {
    .size = sizeof(struct dp_session_ops),
    .create = owner_create,
    .teardown = owner_teardown,
    .create_conn = owner_create_conn,
    .destroy_conn = owner_destroy_conn,
    .bind_conn = owner_bind_conn,
    .start_conn = owner_start_conn,
    .stop_conn = owner_stop_conn,
    .set_param = owner_set_param,
    .send_pdu = owner_send_pdu,
    .get_stats = owner_get_stats,
    .get_param = owner_get_param,
};

static struct dpw *
owned_world(void)
{
    struct dpw *w = dpw_new();

    memset(&owner, 0, sizeof(owner));
    w->registry.t[0].session_ops = &owner_ops;
    return w;
}

static void
test_a_session_of_another_owner(void **state)
{
    struct dpw *w = owned_world();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};
    struct dp_conn_loss loss = {.err = ISCSI_ERR_CONN_CLOSED,
                                .time2wait_s = 3,
                                .time2retain_s = 7,
                                .why = {.code = -EPIPE, .msg = "gone"}};
    const struct iscsi_kevent *told;
    static const uint8_t large[3 * IPC_PDU_DATA_MAX];
    struct bhs hdr = {.opcode = 0x3f};
    uint64_t ep;
    uint32_t sid;

    (void)state;
    strcpy(ev.u.create_session.transport, "fake");
    ev.u.create_session.cmds_max = 13;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EPERM);
    sid = dpw_started(w, &ep);
    assert_int_equal(owner.cfg.sid, sid);
    assert_ptr_equal(dataplane_host(w->dp, sid), &owner.host);
    assert_null(dataplane_session(w->dp, sid));
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_TSIH, "5"), 0);
    assert_string_equal(owner.param, "21=5");
    assert_int_equal(dpw_param(w, sid, 1, ISCSI_PARAM_ERL, "2"), -ENOTSUP);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_SEND_PDU, sid, 1, 0), 0);
    assert_int_equal(owner.pdus, 1);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_STATS, sid, 1, 0), 0);
    assert_int_equal(w->reply.r.stats.scsicmd_pdus, 42);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 9, 0), -ENOSPC);
    /* what was told goes before what the adapter knows */
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.state, IPC_SESSION_RUNNING);
    assert_string_equal(dpw_value(w, ISCSI_PARAM_TARGET_NAME), "iqn.2026-11.example:adapter");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_TSIH), "5");
    assert_string_equal(dpw_value(w, ISCSI_PARAM_ERL), "-");
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), 0);
    assert_string_equal(dpw_value(w, ISCSI_PARAM_PORTAL), "192.0.2.1:3260");
    owner.cfg.ev->recv_pdu(owner.cfg.user, &owner.conn[1], &hdr, "abcd", 4);
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_RECV_PDU)->u.recv_pdu.data_len, 4);
    owner.cfg.ev->recv_pdu(owner.cfg.user, &owner.conn[1], &hdr, large, sizeof(large));
    assert_int_equal(dpw_last_event(w, ISCSI_KEVENT_RECV_PDU)->u.recv_pdu.data_len, sizeof(large));
    owner.cfg.ev->login_state(owner.cfg.user, &owner.conn[1], NULL);
    told = dpw_last_event(w, ISCSI_KEVENT_CONN_LOGIN_STATE);
    assert_true(told->sid == sid && told->cid == 1 && told->u.conn_login.why.code == 0);
    owner.cfg.ev->login_state(owner.cfg.user, &owner.conn[1], &loss.why);
    told = dpw_last_event(w, ISCSI_KEVENT_CONN_LOGIN_STATE);
    assert_string_equal(told->u.conn_login.why.msg, "gone");
    w->nevents = 0;
    owner.cfg.ev->login_state(owner.cfg.user, &owner.conn[2], NULL); /* which was never made */
    assert_int_equal(w->nevents, 0);
    owner.cfg.ev->conn_down(owner.cfg.user, &owner.conn[1]);
    owner.conn[1].bound = false;
    owner.cfg.ev->conn_error(owner.cfg.user, &owner.conn[1], &loss);
    told = dpw_last_event(w, ISCSI_KEVENT_CONN_ERROR);
    assert_string_equal(told->u.conn_error.why.msg, "gone");
    assert_int_equal(told->u.conn_error.time2wait_s, 3);
    assert_int_equal(told->u.conn_error.time2retain_s, 7);
    owner.host.state = SCSI_HOST_GONE;
    owner.cfg.ev->state(owner.cfg.user, SCSI_HOST_GONE, &loss.why);
    told = dpw_last_event(w, ISCSI_KEVENT_SESSION_STATE);
    assert_int_equal(told->sid, sid);
    assert_int_equal(told->cid, 0);
    assert_int_equal(told->u.session_state.state, IPC_SESSION_FAILED);
    assert_string_equal(told->u.session_state.why.msg, "gone");
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_SESSION, sid, 0, 0), 0);
    assert_int_equal(w->reply.r.session.state, IPC_SESSION_FAILED);
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_DESTROY_SESSION, .sid = sid};
    dpw_send(w, &ev, NULL, 0);
    assert_int_equal(owner.teardowns, 1);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_STOP_CONN, sid, 1, 0), -ENOENT);
    owner.cfg.ev->freed(owner.cfg.user);
    assert_int_equal(w->reply.type, ISCSI_UEVENT_DESTROY_SESSION);
    assert_int_equal(w->reply.err, 0);
    assert_null(dataplane_host(w->dp, sid));
    dpw_free(w);
}

/* Without an endpoint, too, a connection is forgotten once, when the owner has let go of it. */
static void
test_a_connection_on_a_descriptor(void **state)
{
    struct dpw *w = owned_world();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_BIND_CONN, .cid = 1};
    uint32_t sid = ev.sid = dpw_session(w);

    (void)state;
    w->registry.t[0].caps |= CAP_BIND_DESCRIPTOR;
    ev.u.bind_conn.fd = 5;
    ev.u.bind_conn.leading = 1;
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 1, 0), 0);
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    assert_int_equal(w->closed_fds, 0);
    ev.u.bind_conn.fd = 6;
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), -EBUSY);
    assert_int_equal(w->closed_fds, 1);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_DESTROY_CONN, sid, 1, 0), 0);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_GET_CONN, sid, 1, 0), -ENOENT);
    assert_int_equal(dpw_do(w, ISCSI_UEVENT_CREATE_CONN, sid, 1, 0), 0);
    dataplane_shutdown(w->dp);
    owner.cfg.ev->freed(owner.cfg.user);
    dpw_free(w);
}

/* Once a connection is destroyed, or its session torn down, its owner is not asked to stop it: it
 * lets go by itself, and only then is the endpoint disconnected. */
static void
test_an_endpoint_outlives_what_is_destroyed(void **state)
{
    (void)state;
    for (int session = 0; session < 2; session++) {
        struct dpw *w = owned_world();
        struct iscsi_uevent end = {.cid = 1}, gone = {.type = ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT};
        uint64_t ep;

        end.type = session ? ISCSI_UEVENT_DESTROY_SESSION : ISCSI_UEVENT_DESTROY_CONN;
        end.sid = dpw_started(w, &ep);
        owner.slow = true;
        gone.ep = ep;
        dpw_send(w, &end, NULL, 0);
        dpw_send(w, &gone, NULL, 0);
        fake_advance(&w->fl, MS(1));
        assert_int_equal(dpw_adapter.nsteps, 0);
        owner.cfg.ev->conn_down(owner.cfg.user, &owner.conn[1]);
        fake_advance(&w->fl, MS(1));
        assert_int_equal(dpw_adapter.nsteps, 1);
        assert_int_equal(dpw_adapter.step[0], STEP_EP_DISCONNECT);
        assert_int_equal(w->reply.type, ISCSI_UEVENT_TRANSPORT_EP_DISCONNECT);
        dataplane_shutdown(w->dp);
        owner.cfg.ev->freed(owner.cfg.user);
        dpw_free(w);
    }
}

/* After a loss even what would find room counts as lost, so that what waits has no gap. */
static void
test_no_event_passes_one_that_was_lost(void **state)
{
    const struct dataplane_limits limits = {
        .grace_ms = 1000, .events_max = 100, .event_bytes_max = 8192};
    struct dpw *w = dpw_new_alone(&limits);
    static uint8_t pdu[16384];
    struct bhs hdr = {.opcode = 0x3f};
    uint64_t ep;

    (void)state;
    memset(&owner, 0, sizeof(owner));
    w->registry.t[0].session_ops = &owner_ops;
    (void)dataplane_set_client(w->dp, &w->client);
    (void)dpw_started(w, &ep);
    dataplane_detach(w->dp, 1);
    w->nevents = 0;
    owner.cfg.ev->recv_pdu(owner.cfg.user, &owner.conn[1], &hdr, pdu, 64);
    owner.cfg.ev->recv_pdu(owner.cfg.user, &owner.conn[1], &hdr, pdu, sizeof(pdu));
    owner.cfg.ev->recv_pdu(owner.cfg.user, &owner.conn[1], &hdr, pdu, 64);
    (void)dataplane_set_client(w->dp, &w->client);
    assert_int_equal(w->nevents, 2);
    assert_int_equal(w->event[0].u.recv_pdu.data_len, 64);
    assert_int_equal(w->event[1].type, ISCSI_KEVENT_LOST);
    assert_int_equal(w->event[1].u.lost.count, 2);
    assert_int_equal(w->event[1].number, w->event[0].number + 3);
    dataplane_shutdown(w->dp);
    owner.cfg.ev->conn_down(owner.cfg.user, &owner.conn[1]);
    owner.cfg.ev->freed(owner.cfg.user);
    dpw_free(w);
}

static void
test_owners_are_side_by_side(void **state)
{
    struct dpw *w = owned_world();
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};

    (void)state;
    strcpy(ev.u.create_session.transport, "other");
    assert_int_equal(dpw_ask(w, &ev, NULL, 0), 0);
    assert_int_equal(owner.sessions, 0);
    assert_non_null(dataplane_session(w->dp, w->reply.sid));
    assert_int_equal(dpw_session(w), 2);
    assert_int_equal(owner.sessions, 1);
    dataplane_shutdown(w->dp);
    owner.cfg.ev->freed(owner.cfg.user);
    dpw_free(w);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_session_of_another_owner),
        cmocka_unit_test(test_a_connection_on_a_descriptor),
        cmocka_unit_test(test_an_endpoint_outlives_what_is_destroyed),
        cmocka_unit_test(test_no_event_passes_one_that_was_lost),
        cmocka_unit_test(test_owners_are_side_by_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
