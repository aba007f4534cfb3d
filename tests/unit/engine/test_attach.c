/* SPDX-License-Identifier: MIT */
/* A client of an engine: what it may ask for and when, its memory, its sessions, its end. */
#include "tests/unit/engine/engine_world.h"

static struct engine_login *const login0 = &fake_logins.login[0];

/* ---- the way in ----------------------------------------------------------------------------- */

static void
test_hello_first(void **state)
{
    struct ew_client *c;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_HELLO};

    (void)state;
    ew_begin(1);
    c = ew_connect(0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_ENGINE_ATTACH, 0), -EPERM);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_CREATE_SESSION, 0), -EPERM);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_LIST_FLASHNODES, 0), -EPERM);
    ev.u.hello.min = ev.u.hello.max = IPC_VERSION_MAX + 1;
    assert_int_equal(ew_ask(c, &ev), -EPROTONOSUPPORT);
    assert_int_equal(ew_hello(c), 0);
    assert_int_equal(ew_last_reply(c)->r.hello.loops, 1);
    assert_int_equal(ew_last_reply(c)->r.hello.next_event, 1);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_CREATE_SESSION, 0), -ENOTCONN);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_LIST_FLASHNODES, 0), -EOPNOTSUPP);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_CREATE_CONN, 1), -EOPNOTSUPP);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_TAKE_EVENTS, 0), 0);
    ew_end();
}

static void
test_admin_needs_no_memory(void **state)
{
    struct ew_client *c;

    (void)state;
    ew_begin(1);
    c = ew_connect(0);
    assert_int_equal(ew_hello(c), 0);
    assert_int_equal(ew_attach(c, IPC_ENGINE_PDU, 8, 4096), -EOPNOTSUPP);
    assert_int_equal(ew_attach(c, IPC_ENGINE_ADMIN, 0, 0), 0);
    assert_int_equal(ew_last_reply(c)->r.attach.pid, 42);
    assert_string_equal(ew_last_reply(c)->r.attach.version, "1.2.3");
    assert_int_equal(ew_do(c, ISCSI_UEVENT_LIST_FLASHNODES, 0), 0);
    assert_int_equal(fake_logins.served, 1);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_CREATE_SESSION, 0), -ENOTCONN);
    assert_int_equal(ew_attach(c, IPC_ENGINE_ADMIN, 0, 0), -EBUSY);
    ew_die(c);
    assert_int_equal(fake_logins.forgotten, 1);
    ew_end();
}

static void
test_bad_memory_is_refused(void **state)
{
    struct ew_client *c;
    int fd;

    (void)state;
    ew_begin(1);
    c = ew_connect(0);
    assert_int_equal(ew_hello(c), 0);
    ring_client_init(&c->c, &ew.w, 8, 1 << 20);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 8, 1 << 20), -EINVAL); /* none has come */
    assert_int_equal(ew_send_fd(c, IPC_ENGINE_BELL_ENGINE, c->c.fd[0]), -EINVAL);
    assert_false(fake_fd_of(&ew.w.f.l, c->c.fd[0])->open); /* it was ours, whatever we said */
    assert_int_equal(ew_send_fd(c, IPC_ENGINE_REGION, -1), -EINVAL);
    assert_int_equal(ew_send_fd(c, IPC_ENGINE_REGION, -EMFILE), -EMFILE);
    ew_die(c);
    fake_shm_turn(&ew.w);
    for (unsigned k = 1; k < IPC_ENGINE_FDS; k++) /* those that the engine never got */
        loop_close_fd(&ew.w.f.l, c->c.fd[k]);
    assert_int_equal(ew.w.fds, 0);

    c = ew_connect(0);
    assert_int_equal(ew_hello(c), 0);
    ring_client_init(&c->c, &ew.w, 8, 1 << 20);
    for (unsigned k = 0; k < IPC_ENGINE_FDS; k++)
        assert_int_equal(ew_send_fd(c, (enum ipc_engine_fd)k, c->c.fd[k]), 0);
    assert_int_equal(shm_bell_make(&ew.w.f.l, &fd), 0);
    assert_int_equal(ew_send_fd(c, IPC_ENGINE_BELL_CLIENT, fd), -EEXIST);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 0, 1 << 20), -EINVAL);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, OFFLOAD_SLOTS_MAX + 1, 1 << 20), -EINVAL);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 8, (1 << 20) + 1), -EINVAL);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 8, OFFLOAD_ARENA_MAX * 2), -EINVAL);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 1000, 1 << 20), -EINVAL); /* another size */
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 8, 1 << 21), -EINVAL);
    assert_int_equal(ew.w.maps, 0);
    fake_fd_of(&ew.w.f.l, c->c.fd[1])->unsealed = true;
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 8, 1 << 20), -EPERM);
    assert_int_equal(ew.w.maps, 0);
    fake_fd_of(&ew.w.f.l, c->c.fd[1])->unsealed = false;
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 8, 1 << 20), 0);
    assert_int_equal(ew.w.maps, 2);
    assert_int_equal(ew_send_fd(c, IPC_ENGINE_REGION, -1), -EINVAL);
    ew_end();
    assert_int_equal(ew.w.fds, 0);
}

static void
test_clients_have_a_bound(void **state)
{
    struct engine_attach *a[ENGINE_CLIENTS_MAX], *more;
    struct engine_attach_config cfg = {.close = ew_close};

    (void)state;
    ew_begin(1);
    for (unsigned i = 0; i < ENGINE_CLIENTS_MAX; i++)
        assert_int_equal(engine_attach_new(&ew.site, &cfg, &a[i]), 0);
    assert_int_equal(engine_attach_new(&ew.site, &cfg, &more), -EAGAIN);
    for (unsigned i = 0; i < ENGINE_CLIENTS_MAX; i++)
        engine_attach_leave(a[i]);
    fake_shm_turn(&ew.w);
    assert_int_equal(ew.emptied, 1);
    ew_end();
}

/* ---- sessions ------------------------------------------------------------------------------- */

static void
test_session_runs(void **state)
{
    struct ew_client *c;
    uint32_t sid;

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    sid = ew_start(c);
    assert_int_equal(login0->nuses, 1);
    assert_int_equal(c->nevents, 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), -EBUSY);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, "x"), -EBUSY);
    ring_client_read(&c->c, sid, 0, 512); /* nobody has logged in yet */
    ring_client_publish(&c->c);
    assert_int_equal(ring_client_turn(&c->c), 1);
    assert_int_equal(ring_client_last(&c->c)->host_result, DID_NO_CONNECT);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    assert_int_equal(c->nevents, 2);
    assert_int_equal(c->event[0].type, ISCSI_KEVENT_CONN_LOGIN_STATE);
    assert_int_equal(c->event[0].number, 1);
    assert_int_equal(c->event[0].sid, sid);
    assert_int_equal(c->event[0].u.conn_login.why.code, 0);
    assert_int_equal(c->event[1].type, ISCSI_KEVENT_SESSION_STATE);
    assert_int_equal(c->event[1].u.session_state.state, IPC_SESSION_RUNNING);
    ring_client_read(&c->c, sid, 0, 512);
    ring_client_publish(&c->c);
    fake_shm_turn(&ew.w);
    assert_int_equal(login0->host.ncmd, 1);
    fake_host_done(&login0->host, 0, DID_OK);
    assert_int_equal(ring_client_turn(&c->c), 1);
    assert_int_equal(ring_client_last(&c->c)->host_result, DID_OK);
    assert_int_equal(ring_client_last(&c->c)->state, IPC_SESSION_RUNNING);
    assert_int_equal(ring_client_last(&c->c)->state_event, 2);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_GET_STATS, sid), 0);
    assert_int_equal(ew_last_reply(c)->r.stats.txdata_octets, 1000);
    ew_end();
}

/* A DONE tells of a loss no later than its event. */
static void
test_state_goes_with_answers(void **state)
{
    struct lunette_error why = {.code = -ECONNRESET, .msg = "the wire is cut"};
    struct ew_client *c;
    uint32_t sid;

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    sid = ew_start(c);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    ring_client_read(&c->c, sid, 0, 512);
    ring_client_publish(&c->c);
    fake_shm_turn(&ew.w);
    c->deaf = true;
    fake_login_set(login0, IPC_SESSION_BLOCKED, &why);
    fake_host_done(&login0->host, 0, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(ring_client_turn(&c->c), 1);
    assert_int_equal(ring_client_last(&c->c)->state, IPC_SESSION_BLOCKED);
    assert_int_equal(ring_client_last(&c->c)->state_event, 3);
    assert_int_equal(c->nevents, 2);
    c->deaf = false;
    fake_advance(&ew.w.f, MS(100));
    assert_int_equal(c->nevents, 3);
    assert_int_equal(c->event[2].number, 3);
    assert_string_equal(c->event[2].u.session_state.why.msg, "the wire is cut");
    ew_end();
}

static void
test_events_have_a_bound(void **state)
{
    struct ew_client *c;
    uint64_t last = 0;

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    (void)ew_start(c);
    c->deaf = true;
    for (unsigned i = 0; i < 1000; i++)
        fake_login_set(login0, i % 2 == 0 ? IPC_SESSION_RUNNING : IPC_SESSION_BLOCKED, NULL);
    c->deaf = false;
    fake_advance(&ew.w.f, MS(100));
    assert_true(c->nevents <= ENGINE_EVENTS_MAX);
    for (unsigned i = 0; i < c->nevents; i++) {
        if (c->event[i].type == ISCSI_KEVENT_LOST)
            assert_int_equal(last + c->event[i].u.lost.count + 1, c->event[i].number);
        else
            assert_int_equal(c->event[i].number, last + 1);
        last = c->event[i].number;
    }
    assert_true(last >= 1001);
    ew_end();
}

static void
test_login_fails(void **state)
{
    struct lunette_error why = {.code = -EACCES, .msg = "the secret is wrong"};
    struct ew_client *c;
    uint32_t sid;

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    sid = ew_start(c);
    fake_login_set(login0, IPC_SESSION_BLOCKED, &why); /* it is still being tried */
    assert_int_equal(c->nevents, 0);
    fake_login_set(login0, IPC_SESSION_FAILED, &why);
    assert_int_equal(c->event[0].type, ISCSI_KEVENT_CONN_LOGIN_STATE);
    assert_string_equal(c->event[0].u.conn_login.why.msg, "the secret is wrong");
    assert_int_equal(ew_do(c, ISCSI_UEVENT_STOP_CONN, sid), 0);
    assert_int_equal(login0->nuses, 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), 0);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    assert_int_equal(ew_last_event(c)->u.session_state.state, IPC_SESSION_RUNNING);
    ew_end();
}

static void
test_parameters(void **state)
{
    struct ew_client *c;
    uint32_t sid;
    char name[IPC_VALUE_MAX];

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    sid = ew_create(c);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), -EINVAL);
    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, name), -EINVAL);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, ""), -EINVAL);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_PORTAL, "[[:::"), -EINVAL);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_RECOVERY_TMO, "1x"), -EINVAL);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_RECOVERY_TMO, "99999999999999999999"), -EINVAL);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_RECOVERY_TMO, "5"), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_MAX_BURST, "5"), -EOPNOTSUPP);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, EW_TARGET), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_PORTAL, "192.0.2.1:3260"), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), -EINVAL); /* as whom? */
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_INITIATOR_NAME, EW_INITIATOR), 0);
    fake_logins.refuse = true;
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), -ENOMEM);
    fake_logins.refuse = false;
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), 0);
    assert_int_equal(engine_flash_get(ew.site.flash, 0)->login.replacement_timeout_s, 5);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_GET_STATS, sid + 1), -ENODEV);
    ew_end();
}

/* The table decides: who may add to it, and as whom one logs in. */
static void
test_fixed_table(void **state)
{
    struct ew_client *c;
    struct flash_record r;
    const uint8_t *at = ew.values;
    struct ipc_value v;
    uint32_t sid;

    (void)state;
    ew_begin(1);
    ew.site.fixed = true;
    c = ew_up(0, 8);
    sid = ew_create(c);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, EW_TARGET), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_PORTAL, "192.0.2.1:3260"), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), -ENOENT);
    engine_flash_record_init(&r);
    strcpy(r.login.target_name, EW_TARGET);
    strcpy(r.login.initiator_name, "iqn.2026-01.org.example:of-the-table");
    assert_int_equal(portal_parse("192.0.2.1:3260", 14, &r.login.portal, NULL), 0);
    assert_int_equal(engine_flash_add(ew.site.flash, &r, NULL), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_INITIATOR_NAME, EW_INITIATOR), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_GET_SESSION, sid), 0);
    assert_true(ipc_value_next(&at, ew.values + ew_last_reply(c)->r.session.values_len, &v));
    assert_int_equal(v.param, ISCSI_PARAM_TARGET_NAME);
    assert_true(ipc_value_next(&at, ew.values + ew_last_reply(c)->r.session.values_len, &v));
    assert_int_equal(v.param, ISCSI_PARAM_INITIATOR_NAME);
    assert_memory_equal(v.text, "iqn.2026-01.org.example:of-the-table", v.len);
    ew_end();
}

static void
test_targets_have_loops(void **state)
{
    struct ew_client *c;
    uint32_t sid;

    (void)state;
    ew_begin(1);
    ew.site.loops = 4;
    ew.site.index = (offload_loop_of(EW_TARGET, 4) + 1) % 4;
    c = ew_connect(0);
    assert_int_equal(ew_hello(c), -EINVAL); /* loop 0 is not this one */
    ew.site.index = 0;
    assert_int_equal(ew_hello(c), 0);
    ew.site.index = (offload_loop_of(EW_TARGET, 4) + 1) % 4;
    ring_client_init(&c->c, &ew.w, 8, 1 << 20);
    for (unsigned k = 0; k < IPC_ENGINE_FDS; k++)
        assert_int_equal(ew_send_fd(c, (enum ipc_engine_fd)k, c->c.fd[k]), 0);
    assert_int_equal(ew_attach(c, IPC_ENGINE_SESSION, 8, 1 << 20), 0);
    sid = ew_create(c);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, EW_TARGET), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_INITIATOR_NAME, EW_INITIATOR), 0);
    assert_int_equal(ew_set(c, sid, ISCSI_PARAM_PORTAL, "192.0.2.1:3260"), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), -EXDEV);
    ew_end();
}

static void
test_sessions_have_a_bound(void **state)
{
    struct ew_client *c;
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_CREATE_SESSION};
    uint32_t sid = 0;

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    assert_int_equal(ew_ask(c, &ev), -EINVAL);
    for (unsigned i = 0; i < ENGINE_SESSIONS_MAX; i++)
        sid = ew_create(c);
    strcpy(ev.u.create_session.transport, "session");
    assert_int_equal(ew_ask(c, &ev), -EBUSY);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_DESTROY_SESSION, sid), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_DESTROY_SESSION, sid), -ENODEV);
    assert_int_not_equal(ew_create(c), sid);
    ew_end();
}

static void
test_stop_waits_for_commands(void **state)
{
    struct ew_client *c;
    uint32_t sid;

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    sid = ew_start(c);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    ring_client_read(&c->c, sid, 0, 512);
    ring_client_publish(&c->c);
    fake_shm_turn(&ew.w);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_STOP_CONN, sid), 1);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_STOP_CONN, sid), -EBUSY);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_DESTROY_SESSION, sid), 1); /* both in a row */
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), -ENODEV);
    assert_int_equal(c->waiting, 2);
    fake_host_eh(&login0->host, SCSI_EH_SUCCESS);
    assert_int_equal(ring_client_turn(&c->c), 1);
    assert_int_equal(c->waiting, 0);
    assert_int_equal(ew_last_reply(c)->type, ISCSI_UEVENT_DESTROY_SESSION);
    assert_int_equal(login0->nuses, 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_GET_SESSION, sid), -ENODEV);
    ew_end();
}

static void
test_engine_logs_out(void **state)
{
    struct ew_client *c;
    uint32_t sid;

    (void)state;
    ew_begin(1);
    c = ew_up(0, 64);
    sid = ew_start(c);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    for (uint16_t i = 0; i < 40; i++)
        ring_client_read(&c->c, sid, i, 512);
    ring_client_tmf(&c->c, sid, 50, OFFLOAD_ABORT, 0);
    ring_client_tmf(&c->c, sid, 51, OFFLOAD_LU_RESET, 0);
    ring_client_publish(&c->c);
    fake_shm_turn(&ew.w);
    assert_int_equal(login0->host.ncmd, 32);
    fake_login_end(login0);
    assert_int_equal(ring_client_turn(&c->c), 42);
    assert_int_equal(ew_last_event(c)->u.session_state.state, IPC_SESSION_FAILED);
    ring_client_read(&c->c, sid, 0, 512);
    ring_client_publish(&c->c);
    assert_int_equal(ring_client_turn(&c->c), 1);
    assert_int_equal(ring_client_last(&c->c)->host_result, DID_NO_CONNECT);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid), 0);
    ew_end();
}

/* ---- several clients ------------------------------------------------------------------------ */

static void
test_two_clients_one_login(void **state)
{
    struct ew_client *a, *b;
    uint32_t sa, sb;

    (void)state;
    ew_begin(1);
    a = ew_up(0, 8);
    b = ew_up(1, 8);
    sa = ew_start(a);
    sb = ew_start(b);
    assert_int_equal(login0->nuses, 2);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    assert_int_equal(a->nevents, 2);
    assert_int_equal(b->nevents, 2);
    ring_client_read(&a->c, sa, 0, 512);
    ring_client_publish(&a->c);
    ring_client_read(&b->c, sb, 0, 1024);
    ring_client_publish(&b->c);
    fake_shm_turn(&ew.w);
    assert_int_equal(login0->host.ncmd, 2);
    ew_die(a);
    fake_shm_turn(&ew.w);
    assert_int_equal(ew.w.maps, 4); /* the host may still write to what the dead one has left */
    assert_int_equal(login0->host.nwait, 1);
    assert_int_equal(login0->host.victim[0]->in.len, 512);
    fake_host_done(&login0->host, fake_host_find(&login0->host, login0->host.victim[0]), DID_OK);
    fake_shm_turn(&ew.w);
    assert_int_equal(ew.w.maps, 4); /* and it has not said that it lets go of it */
    assert_int_equal(((struct offload_head *)(void *)a->c.region)->released, 0);
    fake_host_eh(&login0->host, SCSI_EH_NOT_FOUND);
    fake_shm_turn(&ew.w);
    assert_int_equal(ew.w.maps, 2);
    assert_int_equal(((struct offload_head *)(void *)a->c.region)->released, 1);
    assert_int_equal(((struct offload_head *)(void *)b->c.region)->released, 0);
    assert_int_equal(login0->nuses, 1);
    fake_host_done(&login0->host, 0, DID_OK);
    assert_int_equal(ring_client_turn(&b->c), 1);
    assert_int_equal(ring_client_last(&b->c)->host_result, DID_OK);
    assert_int_equal(b->nevents, 2);
    ew_end();
}

/* Whoever comes while commands of a dead client are being ended may be its next life, the writes of
 * which must not be overtaken by those of the former one.  Others do not wait. */
static void
test_next_life_waits(void **state)
{
    struct ew_client *dead, *other, *next;
    uint32_t sid[3];

    (void)state;
    ew_begin(1);
    dead = ew_up(0, 8);
    other = ew_up(1, 8);
    sid[0] = ew_start(dead);
    sid[1] = ew_start(other);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    ring_client_read(&dead->c, sid[0], 0, 512);
    ring_client_publish(&dead->c);
    fake_shm_turn(&ew.w);
    assert_int_equal(login0->host.ncmd, 1);
    ew_die(dead);
    fake_shm_turn(&ew.w);
    next = ew_up(2, 8);
    sid[2] = ew_start(next);
    ring_client_read(&next->c, sid[2], 0, 1024);
    ring_client_publish(&next->c);
    ring_client_read(&other->c, sid[1], 0, 2048);
    ring_client_publish(&other->c);
    fake_shm_turn(&ew.w);
    assert_int_equal(login0->host.ncmd, 2);
    assert_int_equal(login0->host.cmd[1]->in.len, 2048);
    fake_host_done(&login0->host, fake_host_find(&login0->host, login0->host.victim[0]), DID_ABORT);
    fake_host_eh(&login0->host, SCSI_EH_SUCCESS);
    fake_shm_turn(&ew.w);
    assert_int_equal(login0->host.ncmd, 2);
    assert_int_equal(login0->host.cmd[1]->in.len, 1024);
    ew_end();
}

/* An abort reaches no command of another session, also of the same client: that is another host's.
 */
static void
test_abort_stays_in_its_session(void **state)
{
    struct engine_login *const login1 = &fake_logins.login[1];
    struct ew_client *c;
    uint32_t sid[2];

    (void)state;
    ew_begin(1);
    c = ew_up(0, 8);
    sid[0] = ew_start(c);
    sid[1] = ew_create(c);
    assert_int_equal(ew_set(c, sid[1], ISCSI_PARAM_TARGET_NAME, EW_TARGET "2"), 0);
    assert_int_equal(ew_set(c, sid[1], ISCSI_PARAM_INITIATOR_NAME, EW_INITIATOR), 0);
    assert_int_equal(ew_set(c, sid[1], ISCSI_PARAM_PORTAL, "192.0.2.1:3260"), 0);
    assert_int_equal(ew_do(c, ISCSI_UEVENT_START_CONN, sid[1]), 0);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    fake_login_set(login1, IPC_SESSION_RUNNING, NULL);
    ring_client_read(&c->c, sid[0], 0, 512);
    ring_client_tmf(&c->c, sid[1], 1, OFFLOAD_ABORT, 0);
    ring_client_publish(&c->c);
    assert_int_equal(ring_client_turn(&c->c), 1);
    assert_int_equal(ring_client_last(&c->c)->result, SCSI_EH_NOT_FOUND);
    assert_int_equal(login0->host.ncmd, 1);
    assert_int_equal(login0->host.nwait + login1->host.nwait, 0);
    ew_end();
}

static void
test_rule_breaker_is_sent_away(void **state)
{
    struct ew_client *a, *b;
    struct offload_sqe e;
    uint32_t sa, sb;

    (void)state;
    ew_begin(1);
    a = ew_up(0, 8);
    b = ew_up(1, 8);
    sa = ew_start(a);
    sb = ew_start(b);
    fake_login_set(login0, IPC_SESSION_RUNNING, NULL);
    ring_client_read(&b->c, sb, 0, 1024);
    ring_client_publish(&b->c);
    ring_client_read(&a->c, sa, 0, 512);
    e = ring_client_entry(&a->c, sa, 1);
    e.in_off = UINT64_MAX;
    e.in_len = 4096;
    ring_client_put(&a->c, &e);
    ring_client_publish(&a->c);
    fake_shm_turn(&ew.w);
    assert_true(a->closed);
    assert_non_null(strstr(a->why.msg, "outside of the arena"));
    assert_false(b->closed);
    assert_int_equal(ew.w.maps, 4);
    fake_host_eh(&login0->host, SCSI_EH_SUCCESS);
    fake_shm_turn(&ew.w);
    assert_int_equal(ew.w.maps, 2);
    ew_end();
}

/* Requests of all kinds in any order, entries and ends: nothing may be left over. */
static void
test_any_order(void **state)
{
    static const char *const value[] = {EW_TARGET, EW_INITIATOR, "192.0.2.1:3260", "7", ""};

    (void)state;
    for (uint64_t seed = 1; seed < 300; seed++) {
        ew_begin(seed);
        for (unsigned i = 0; i < 200; i++) {
            uint64_t r = fake_random(&ew.w.f.l);
            struct ew_client *c = &ew.client[r % 2];
            struct iscsi_uevent ev = {.type = (enum iscsi_uevent_type)((r >> 8) % 48)};
            struct engine_login *l = &fake_logins.login[(r >> 4) % 2];

            if (c->a == NULL) {
                c = (r >> 9) % 2 == 0 ? ew_connect(r % 2) : ew_up(r % 2, 8);
                continue;
            }
            if (i % 3 == 0 && c->a->lane != NULL) { /* along the way that clients go */
                uint32_t sid = c->a->session[0] != NULL ? c->a->session[0]->m.sid : ew_create(c);

                (void)ew_set(c, sid, ISCSI_PARAM_TARGET_NAME, value[0]);
                (void)ew_set(c, sid, ISCSI_PARAM_INITIATOR_NAME, value[1]);
                (void)ew_set(c, sid, ISCSI_PARAM_PORTAL, value[2]);
                (void)ew_do(c, ISCSI_UEVENT_START_CONN, sid);
                if (c->a->lane->slot[(r >> 12) % 8].stage == SLOT_FREE) {
                    ring_client_read(&c->c, sid, (uint16_t)((r >> 12) % 8), 512);
                    ring_client_publish(&c->c);
                }
            }
            ev.sid = (r >> 16) % 4 == 0 ? (uint32_t)(r >> 20) : 64 + (uint32_t)(r >> 20) % 3;
            if (ev.type == ISCSI_UEVENT_SET_PARAM) {
                ev.u.set_param.param = (enum iscsi_param)((r >> 24) % ISCSI_PARAM_COUNT);
                strcpy(ev.u.set_param.value, value[(r >> 28) % 5]);
            } else if (ev.type == ISCSI_UEVENT_ENGINE_FD) {
                ev.u.engine_fd.fd = -1;
            } else if (ev.type == ISCSI_UEVENT_BIND_CONN) {
                ev.u.bind_conn.fd = -1;
            } else if (ev.type == ISCSI_UEVENT_CREATE_SESSION) {
                strcpy(ev.u.create_session.transport, "session");
            }
            (void)ew_ask(c, &ev);
            if ((r >> 32) % 4 == 0 && l->there)
                fake_login_set(l, (enum ipc_session_state)(1 + (r >> 34) % 3), NULL);
            if ((r >> 36) % 32 == 0 && l->there)
                fake_login_end(l);
            if ((r >> 41) % 2 == 0 && l->has_host && l->host.ncmd > 0)
                fake_host_done(&l->host, (unsigned)(r >> 42) % l->host.ncmd, DID_OK);
            if ((r >> 50) % 2 == 0 && l->has_host && l->host.nwait > 0)
                fake_host_eh(&l->host, (enum scsi_eh_result)((r >> 51) % 3));
            if ((r >> 53) % 2 == 0)
                fake_shm_turn(&ew.w);
            if ((r >> 54) % 32 == 0 && c->a != NULL)
                ew_die(c);
        }
        ew_end();
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_hello_first),
        cmocka_unit_test(test_admin_needs_no_memory),
        cmocka_unit_test(test_bad_memory_is_refused),
        cmocka_unit_test(test_clients_have_a_bound),
        cmocka_unit_test(test_session_runs),
        cmocka_unit_test(test_state_goes_with_answers),
        cmocka_unit_test(test_events_have_a_bound),
        cmocka_unit_test(test_login_fails),
        cmocka_unit_test(test_parameters),
        cmocka_unit_test(test_fixed_table),
        cmocka_unit_test(test_targets_have_loops),
        cmocka_unit_test(test_sessions_have_a_bound),
        cmocka_unit_test(test_stop_waits_for_commands),
        cmocka_unit_test(test_engine_logs_out),
        cmocka_unit_test(test_two_clients_one_login),
        cmocka_unit_test(test_next_life_waits),
        cmocka_unit_test(test_abort_stays_in_its_session),
        cmocka_unit_test(test_rule_breaker_is_sent_away),
        cmocka_unit_test(test_any_order),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
