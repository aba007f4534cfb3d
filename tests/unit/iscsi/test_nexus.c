/* SPDX-License-Identifier: MIT */
/* A session loses its connection, another one is bound, and it goes on: over the fake adapter. */
#include "tests/unit/iscsi/world.h"

#include "iscsi/internal.h"

static struct session *
session_of(const struct world *w)
{
    return container_of(w->host, struct session, host);
}

static unsigned timeouts_told;

static void
recovery_timedout(struct iscsi_session *s)
{
    (void)s;
    timeouts_told++;
}

/* Up, and with patience for so many seconds. */
static struct world *
patient_world(uint64_t seed, const char *seconds)
{
    struct world *w = world_new(seed);

    w->registry.t[0].session_recovery_timedout = recovery_timedout;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, seconds), 0);
    world_start(w);
    return w;
}

static void
lose(struct world *w)
{
    unsigned before = w->nerrors;
    struct iscsi_conn *c = fake_adapter.conn;

    c->up->conn_failure(c, ISCSI_ERR_CONN_CLOSED, "cut");
    fake_turn(&w->fl);
    assert_int_equal(w->nerrors, before); /* events take their time here */
    fake_advance(&w->fl, MS(60));
    assert_int_equal(w->nerrors, before + 1);
}

/* What a reopening login asks of the data plane. */
static void
reopen(struct world *w, uint32_t window)
{
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    world_login(w, session_of(w)->win.cmdsn, window);
    assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
    assert_int_equal(w->host->state, SCSI_HOST_RUNNING);
    assert_int_equal(session_of(w)->state, ISCSI_STATE_LOGGED_IN);
}

/* A command goes out and comes back. */
static void
works(struct world *w)
{
    struct cmd c;

    one_command(w, &c, true);
    fake_adapter.exp_cmdsn++;
    fake_adapter.max_cmdsn++;
    assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
    fake_advance(&w->fl, fake_adapter.cleanup_delay_ns + MS(1));
    assert_int_equal(c.done, 1);
    assert_int_equal(c.sc.host_result, DID_OK);
}

/* ERL-02, REIN-02: without patience the session fails at once; the same connection, bound once
 * more, brings it back. */
static void
failed_session_is_brought_back(void **state)
{
    struct world *w = world_new(1);
    struct cmd c, d;

    (void)state;
    world_up(w);
    one_command(w, &c, true);
    lose(w);
    assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(w->gone, 1);
    assert_int_equal(w->blocked, 0);
    one_command(w, &d, true);
    assert_int_equal(d.sc.host_result, DID_NO_CONNECT);
    assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0); /* harmless */
    reopen(w, 4);
    assert_int_equal(w->running, 1);
    works(w);
    lose(w);
    reopen(w, 4);
    works(w);
    world_free(w);
}

/* A loss tells whether the target has answered much since the login, and the host for how long it
 * may be waited for. */
static void
what_a_loss_tells(void **state)
{
    struct world *w = patient_world(50, "20");

    (void)state;
    assert_int_equal(w->host->patience_ns, SEC(20));
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "-1"), 0);
    assert_int_equal(w->host->patience_ns, 0);
    lose(w);
    assert_false(w->event.u.conn_error.served);
    reopen(w, 4);
    works(w); /* as little as it takes to look at a unit */
    lose(w);
    assert_false(w->event.u.conn_error.served);
    reopen(w, 4);
    for (int i = 0; i < 16; i++)
        works(w);
    lose(w);
    assert_true(w->event.u.conn_error.served);
    reopen(w, 4); /* what was answered before does not count */
    lose(w);
    assert_false(w->event.u.conn_error.served);
    world_free(w);
}

/* The window, the numbers and the tags are those of the new nexus. */
static void
new_nexus_has_a_window_of_its_own(void **state)
{
    struct world *w = world_new(2);
    struct cmd c[8];
    uint32_t first;
    int took = 0;

    (void)state;
    world_up(w);
    fake_adapter.max_cmdsn += 100; /* the old nexus was generous */
    works(w);
    lose(w);
    assert_int_equal(session_of(w)->outstanding, 0);
    reopen(w, 2);
    first = get32(fake_last(ISCSI_OP_LOGIN_REQ)->h.login_req.cmd_sn);
    for (int i = 0; i < 8; i++) {
        cmd_init(&c[i], true, 16);
        took += world_queue(w, &c[i]) == 0;
    }
    world_commit(w);
    assert_int_equal(took, 2);
    assert_int_equal(get32(fake_last(ISCSI_OP_SCSI_CMD)->h.scsi_cmd.cmd_sn), first + 1);
    assert_int_equal(session_of(w)->win.exp_cmdsn, first);
    world_free(w);
}

/* What was agreed on in one nexus is not in force in the next. */
static void
new_nexus_starts_from_the_defaults(void **state)
{
    struct world *w = world_new(3);

    (void)state;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_MAX_R2T, "8"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_TASK_REPORTING, "FastAbort"), 0);
    world_start(w);
    lose(w);
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    assert_int_equal(session_of(w)->pub.params.max_r2t, 1);
    assert_int_equal(session_of(w)->pub.params.first_burst, 65536);
    assert_false(session_of(w)->pub.params.fast_abort);
    world_free(w);
}

/* With patience the midlayer holds commands back instead of failing them. */
static void
lost_session_waits(void **state)
{
    struct world *w = patient_world(4, "60");
    struct cmd sent, waiting, late;

    (void)state;
    one_command(w, &sent, true);
    fake_adapter.full = true;
    cmd_init(&waiting, false, 512);
    assert_int_equal(world_queue(w, &waiting), 0);
    fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
    one_command(w, &late, true); /* before anybody has been told */
    assert_int_equal(late.done, 1);
    assert_int_equal(late.sc.host_result, DID_IMM_RETRY);
    assert_int_equal(sent.done, 1);
    assert_int_equal(sent.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(waiting.done, 1);
    assert_int_equal(waiting.sc.host_result, DID_REQUEUE);
    assert_int_equal(waiting.sc.resid_out, 512);
    assert_int_equal(w->blocked, 1);
    assert_int_equal(w->gone, 0);
    assert_int_equal(w->host->state, SCSI_HOST_BLOCKED);
    fake_adapter.full = false;
    for (int i = 0; i < 3; i++) { /* logins that fail change nothing */
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
        w->how = STOP_CONN_RECOVER;
        assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
        assert_int_equal(session_of(w)->state, ISCSI_STATE_BLOCKED);
    }
    reopen(w, 4);
    assert_int_equal(w->running, 1);
    works(w);
    fake_advance(&w->fl, MS(1));
    assert_int_equal(w->gone, 0);
    world_free(w);
}

/* Another connection, with another cid, may lead the session on; the old one may be gone by then or
 * not. */
static void
another_cid_leads_on(void **state)
{
    for (int first = 0; first < 2; first++) {
        struct world *w = patient_world(5, "60");

        (void)state;
        works(w);
        lose(w);
        if (first)
            assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
        w->cid = 7;
        assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
        reopen(w, 4);
        works(w);
        if (!first) {
            w->cid = 1;
            assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
        }
        works(w);
        assert_int_equal(w->gone, 0);
        world_free(w);
    }
}

static void
patience_ends(void **state)
{
    struct world *w = patient_world(6, "5");
    struct cmd c;

    (void)state;
    timeouts_told = 0;
    lose(w);
    fake_advance(&w->fl, SEC(4));
    assert_int_equal(w->gone, 0);
    fake_advance(&w->fl, SEC(2));
    assert_int_equal(w->gone, 1);
    assert_int_equal(timeouts_told, 1);
    assert_int_equal(session_of(w)->state, ISCSI_STATE_FAILED);
    one_command(w, &c, true);
    assert_int_equal(c.sc.host_result, DID_NO_CONNECT);
    reopen(w, 4); /* late, but not too late */
    works(w);
    /* the timer of a loss does not outlive it */
    lose(w);
    fake_advance(&w->fl, SEC(2));
    reopen(w, 4);
    for (int i = 0; i < 10; i++) {
        fake_adapter.conn->last_recv_ns = w->fl.l.now_ns;
        fake_advance(&w->fl, SEC(1));
    }
    assert_int_equal(w->gone, 1);
    works(w);
    /* the control plane may end it sooner */
    lose(w);
    assert_int_equal(session_of(w)->state, ISCSI_STATE_BLOCKED);
    w->how = STOP_CONN_TERM;
    assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
    assert_int_equal(w->gone, 2);
    assert_int_equal(timeouts_told, 1);
    world_free(w);
}

/* It ends between the login's first and last step: commands fail from then on, and flow again when
 * the login is through; or the login fails, and nothing is told twice. */
static void
patience_ends_during_a_login(void **state)
{
    (void)state;
    for (int good = 0; good < 2; good++) {
        struct world *w = patient_world(21, "5");
        struct cmd c;

        lose(w);
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
        world_login(w, session_of(w)->win.cmdsn, 4);
        fake_advance(&w->fl, SEC(5));
        assert_int_equal(w->gone, 1);
        one_command(w, &c, true);
        assert_int_equal(c.sc.host_result, DID_NO_CONNECT);
        if (!good) {
            lose(w);
            assert_int_equal(w->gone, 1);
            world_connect(w);
            assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
            world_login(w, session_of(w)->win.cmdsn, 4);
        }
        assert_int_equal(world_do(w, ISCSI_UEVENT_START_CONN), 0);
        assert_int_equal(w->running, 1);
        works(w);
        world_free(w);
    }
}

static void
recovery_time_has_bounds(void **state)
{
    struct world *w = world_new(7);

    (void)state;
    world_logged_in(w);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "31536001"), -EINVAL);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "-2"), -EINVAL);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "4294967295"), -EINVAL);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "-1"), 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "31536000"), 0);
    world_free(w);
}

static void
wait_seconds(struct world *w, int n)
{
    for (int i = 0; i < n; i++)
        fake_advance(&w->fl, SEC(1));
}

/* ERL-02: -1 waits for ever. */
static void
patience_without_end(void **state)
{
    struct world *w = patient_world(17, "-1");

    (void)state;
    works(w);
    lose(w);
    for (int day = 0; day < 800; day++)
        fake_advance(&w->fl, SEC(86400));
    assert_int_equal(w->blocked, 1);
    assert_int_equal(w->gone, 0);
    reopen(w, 4);
    works(w);
    world_free(w);
}

/* A change concerns the loss that there is: the time counts from there, not from the change. */
static void
patience_changes_while_waiting(void **state)
{
    struct world *w = patient_world(18, "-1");

    (void)state;
    timeouts_told = 0;
    lose(w);
    wait_seconds(w, 10);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "30"), 0);
    wait_seconds(w, 18);
    assert_int_equal(w->gone, 0);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "60"), 0);
    wait_seconds(w, 28);
    assert_int_equal(w->gone, 0);
    wait_seconds(w, 5);
    assert_int_equal(w->gone, 1);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "-1"), 0);
    assert_int_equal(session_of(w)->state, ISCSI_STATE_FAILED); /* what is given up stays so */
    reopen(w, 4);
    lose(w);
    wait_seconds(w, 10);
    assert_int_equal(w->gone, 1);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "9"), 0); /* over already */
    fake_advance(&w->fl, MS(1));
    assert_int_equal(w->gone, 2);
    reopen(w, 4);
    assert_int_equal(world_param(w, ISCSI_PARAM_RECOVERY_TMO, "0"), 0); /* while it runs */
    works(w);
    lose(w);
    assert_int_equal(w->gone, 3);
    assert_int_equal(w->blocked, 2);
    assert_int_equal(timeouts_told, 3); /* the transport hears of each */
    world_free(w);
}

/* Logins that fail do not begin the time anew; a connection that was started does, however short it
 * lived. */
static void
patience_counts_from_the_loss(void **state)
{
    struct world *w = patient_world(19, "30");

    (void)state;
    lose(w);
    for (int i = 0; i < 5; i++) {
        world_connect(w);
        assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
        lose(w);
        wait_seconds(w, 2);
    }
    assert_int_equal(w->blocked, 1);
    reopen(w, 4);
    lose(w);
    assert_int_equal(w->blocked, 2);
    wait_seconds(w, 28);
    assert_int_equal(w->gone, 0);
    wait_seconds(w, 3);
    assert_int_equal(w->gone, 1);
    world_free(w);
}

/* A nexus ends before the next begins: nobody takes the lead from a connection that is up. */
static void
one_leads_at_a_time(void **state)
{
    struct world *w = patient_world(8, "60");

    (void)state;
    w->cid = 2;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY);
    works(w);
    world_free(w);
}

/* The transport still refers to a command of the old nexus while the new one works: the command
 * ends when the transport has let go, once, and its slot is not used meanwhile. */
static void
memory_of_the_old_nexus(void **state)
{
    struct world *w = patient_world(9, "60");
    struct cmd old;
    uint32_t slot;

    (void)state;
    fake_adapter.cleanup_delay_ns = SEC(20);
    one_command(w, &old, true);
    slot = get32(fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt) & ((1u << ISCSI_SLOT_BITS) - 1);
    lose(w);
    assert_int_equal(old.done, 0);
    assert_int_equal(iscsi_task_at(session_of(w), slot)->pub.state, ISCSI_TASK_COMPLETED);
    fake_adapter.cleanup_delay_ns = 0;
    reopen(w, 4);
    for (int i = 0; i < 4; i++) {
        works(w);
        assert_int_not_equal(
            get32(fake_last(ISCSI_OP_SCSI_CMD)->h.h.itt) & ((1u << ISCSI_SLOT_BITS) - 1), slot);
    }
    assert_int_equal(old.done, 0);
    for (int i = 0; i < 25; i++) {
        fake_adapter.conn->last_recv_ns = w->fl.l.now_ns;
        fake_advance(&w->fl, SEC(1));
    }
    assert_int_equal(old.done, 1);
    assert_int_equal(old.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(w->nerrors, 1);
    world_free(w);
}

/* A session reset is over when all commands are back (seam/host.h). */
static void
session_reset_waits_for_the_commands(void **state)
{
    struct world *w = world_new(10);
    struct waiter x = {.w.done = eh_done}, y = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    world_up(w);
    fake_adapter.cleanup_delay_ns = SEC(2);
    one_command(w, &c, true);
    w->host->ops->eh_session_reset(w->host, &x.w);
    assert_int_equal(x.done, 0);
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(c.done, 0);
    assert_int_equal(x.done, 0);
    w->host->ops->eh_session_reset(w->host, &y.w); /* somebody else wants it, too */
    fake_turn(&w->fl);
    assert_int_equal(y.done, 0);
    fake_advance(&w->fl, SEC(2));
    assert_int_equal(c.done, 1);
    assert_int_equal(x.done + y.done, 2);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    assert_int_equal(y.r, SCSI_EH_SUCCESS);
    world_free(w);
}

/* With patience it is over when somebody has logged in again, or nobody will. */
static void
session_reset_waits_for_the_session(void **state)
{
    struct world *w = patient_world(11, "30");
    struct waiter x = {.w.done = eh_done}, y = {.w.done = eh_done};
    struct waiter lu = {.w.done = eh_done};
    static const uint8_t lun[8];
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    w->host->ops->eh_session_reset(w->host, &x.w);
    fake_advance(&w->fl, SEC(5));
    assert_int_equal(c.done, 1);
    assert_int_equal(x.done, 0);
    w->host->ops->eh_device_reset(w->host, lun, &lu.w); /* has no connection to go on */
    fake_turn(&w->fl);
    assert_int_equal(lu.done, 1);
    assert_int_equal(lu.r, SCSI_EH_FAILED);
    reopen(w, 4);
    fake_turn(&w->fl);
    assert_int_equal(x.done, 1);
    assert_int_equal(x.r, SCSI_EH_SUCCESS);
    w->host->ops->eh_session_reset(w->host, &y.w);
    fake_advance(&w->fl, SEC(29));
    assert_int_equal(y.done, 0);
    fake_advance(&w->fl, SEC(2));
    assert_int_equal(y.done, 1);
    assert_int_equal(w->gone, 1);
    world_free(w);
}

/* Tags whose late PDUs are dropped. */
static unsigned
ended_tags(const struct world *w)
{
    unsigned n = 0;

    for (uint32_t slot = 0; slot < session_of(w)->pub.tasks.made; slot++)
        n += iscsi_task_at(session_of(w), slot)->ended_itt != ISCSI_TAG_RSVD;
    return n;
}

/* Task management that was out when the connection was lost is forgotten by the next nexus. */
static void
task_management_begins_anew(void **state)
{
    struct world *w = patient_world(12, "60");
    struct waiter x = {.w.done = eh_done}, y = {.w.done = eh_done};
    struct cmd c;

    (void)state;
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &x.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(0), 0); /* its tag is one whose late PDUs are dropped */
    fake_turn(&w->fl);
    assert_int_equal(ended_tags(w), 1);
    one_command(w, &c, true);
    w->host->ops->eh_abort(w->host, &c.sc, &y.w);
    fake_turn(&w->fl);
    lose(w);
    assert_int_equal(y.r, SCSI_EH_FAILED);
    reopen(w, 4);
    assert_int_equal(ended_tags(w), 0);
    one_command(w, &c, true);
    y.done = 0;
    w->host->ops->eh_abort(w->host, &c.sc, &y.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(y.done, 1);
    assert_int_equal(y.r, SCSI_EH_SUCCESS);
    assert_int_equal(c.sc.host_result, DID_ABORT);
    world_free(w);
}

/* A transport that takes its time to stop: the connection that it has not let go of. */
static struct iscsi_conn *stopping;

static int
slow_stop(struct iscsi_conn *c, enum iscsi_stop how)
{
    (void)fake_transport.stop_conn(c, how);
    if (c->cid != 1)
        return 0;
    stopping = c;
    return -EINPROGRESS;
}

/* A command is still with a connection that stops, while a new nexus works.  Nobody takes it from
 * the transport before that has stopped, its tag means nothing to the new nexus, and whoever resets
 * the logical unit waits for it. */
static void
command_of_a_stopping_connection(void **state)
{
    struct world *w = patient_world(16, "60");
    struct waiter abort = {.w.done = eh_done}, reset = {.w.done = eh_done};
    static const uint8_t lun[8];
    struct cmd old;
    unsigned cleanups;

    (void)state;
    w->registry.t[0].stop_conn = slow_stop;
    one_command(w, &old, true);
    fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
    fake_advance(&w->fl, MS(60));
    assert_non_null(stopping);
    assert_int_equal(w->blocked, 1);
    w->cid = 2;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    reopen(w, 4);
    cleanups = fake_adapter.cleanups;
    assert_int_equal(w->host->ops->eh_timed_out(w->host, &old.sc), SCSI_TIMEOUT_RESET_TIMER);
    w->host->ops->eh_abort(w->host, &old.sc, &abort.w);
    fake_turn(&w->fl);
    assert_null(fake_last(ISCSI_OP_TMF_REQ));
    assert_int_equal(abort.done, 1);
    assert_int_equal(abort.r, SCSI_EH_FAILED);
    w->host->ops->eh_device_reset(w->host, lun, &reset.w);
    fake_turn(&w->fl);
    assert_int_equal(tmf_answer(0), 0);
    fake_turn(&w->fl);
    assert_int_equal(fake_adapter.cleanups, cleanups + 1); /* of the request itself */
    assert_int_equal(ended_tags(w), 0);
    assert_int_equal(old.done, 0);
    assert_int_equal(reset.done, 0);
    stopping->up->conn_stopped(stopping);
    fake_turn(&w->fl);
    assert_int_equal(old.done, 1);
    assert_int_equal(old.sc.host_result, DID_TRANSPORT_DISRUPTED);
    assert_int_equal(reset.done, 1);
    assert_int_equal(reset.r, SCSI_EH_SUCCESS);
    works(w);
    world_free(w);
}

/* What a connection of the old nexus does not let go of is not the new one's fault: whoever resets
 * the logical unit fails at the time limit, and the new connection works on.  What it detains by
 * itself is given up with it. */
static void
reset_waits_in_vain(void **state)
{
    static const uint8_t lun[8];

    (void)state;
    for (int own = 0; own < 2; own++) {
        struct world *w = patient_world(20, "60");
        struct waiter reset = {.w.done = eh_done};
        struct cmd old, c;

        w->registry.t[0].stop_conn = slow_stop;
        one_command(w, &old, true);
        fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
        fake_advance(&w->fl, MS(60));
        w->cid = 2;
        assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
        reopen(w, 4);
        if (own) {
            fake_adapter.cleanup_delay_ns = SEC(500);
            one_command(w, &c, true);
        }
        w->host->ops->eh_device_reset(w->host, lun, &reset.w);
        fake_turn(&w->fl);
        assert_int_equal(tmf_answer(0), 0);
        for (int i = 0; i < 31; i++) {
            if (fake_adapter.conn != NULL)
                fake_adapter.conn->last_recv_ns = w->fl.l.now_ns;
            fake_advance(&w->fl, SEC(1));
        }
        assert_int_equal(reset.done, 1);
        assert_int_equal(reset.r, SCSI_EH_FAILED);
        assert_int_equal(w->nerrors, own); /* the old one is told when it has stopped */
        fake_adapter.cleanup_delay_ns = 0;
        if (!own)
            works(w);
        assert_int_equal(old.done, 0);
        stopping->up->conn_stopped(stopping);
        fake_advance(&w->fl, own ? SEC(500) : MS(1));
        assert_int_equal(old.done, 1);
        world_free(w);
    }
}

/* Nobody will log in again, says the control plane, while the connection is still being stopped. */
static void
patience_ends_while_stopping(void **state)
{
    struct world *w = patient_world(17, "60");

    (void)state;
    w->registry.t[0].stop_conn = slow_stop;
    fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
    fake_advance(&w->fl, MS(60));
    assert_int_equal(w->host->state, SCSI_HOST_BLOCKED);
    w->how = STOP_CONN_TERM;
    assert_int_equal(world_do(w, ISCSI_UEVENT_STOP_CONN), 0);
    assert_int_equal(w->host->state, SCSI_HOST_GONE);
    stopping->up->conn_stopped(stopping);
    world_free(w);
}

static void
bind_second(struct world *w)
{
    struct iscsi_conn *first = fake_adapter.conn;

    w->cid = 2;
    w->follows = true;
    world_connect(w);
    assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
    fake_adapter.conn = first;
    w->cid = 1;
    w->follows = false;
}

/* A second connection of the session, bound; the adapter's answers go to the first one still. */
static struct iscsi_conn *
second_conn(struct world *w)
{
    w->cid = 2;
    assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
    bind_second(w);
    return iscsi_conn_find(&session_of(w)->pub, 2);
}

/* The loss of a connection that does not lead is not the loss of the session. */
static void
second_connection_is_lost(void **state)
{
    for (int started = 0; started < 2; started++) {
        struct world *w = world_new(13);
        struct iscsi_conn *first, *second;
        struct cmd c;

        (void)state;
        world_up(w);
        first = fake_adapter.conn;
        second = second_conn(w);
        if (started)
            assert_int_equal(iscsi_conn_start(second, NULL), 0);
        one_command(w, &c, true);
        second->up->conn_failure(second, ISCSI_ERR_CONN_CLOSED, "only the second");
        fake_advance(&w->fl, SEC(1));
        assert_int_equal(w->nerrors, 1);
        assert_int_equal(w->event.cid, 2);
        assert_int_equal(w->gone, 0);
        assert_int_equal(c.done, 0);
        fake_adapter.conn = first;
        assert_int_equal(fake_answer(fake_last(ISCSI_OP_SCSI_CMD), 0, NULL, 0, 0), 0);
        assert_int_equal(c.done, 1);
        assert_int_equal(c.sc.host_result, DID_OK);
        fake_adapter.conn = first;
        works(w);
        /* it may come again */
        bind_second(w);
        works(w);
        world_free(w);
    }
}

/* Leads on with the second connection, while c, sent on the first one, has no answer. */
static struct iscsi_conn *
pass_lead_on(struct world *w, struct cmd *c)
{
    struct iscsi_conn *second = second_conn(w);

    assert_int_equal(iscsi_conn_start(second, NULL), 0);
    one_command(w, c, true);
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
    assert_int_equal(w->gone, 0);
    assert_ptr_equal(session_of(w)->leadconn, to_conn(second));
    fake_adapter.conn = second;
    fake_adapter.stat_sn = 77; /* each connection has its own */
    return second;
}

/* The target is asked to log a lost connection out, and says that it has none. */
static void
cid_not_found(void)
{
    union bhs_any h;

    bhs_init(&h, ISCSI_OP_LOGOUT_RSP, ISCSI_FLAG_FINAL);
    h.h.itt = fake_last(ISCSI_OP_LOGOUT_REQ)->h.h.itt;
    h.logout_rsp.response = ISCSI_LOGOUT_RSP_CID_NOT_FOUND;
    assert_int_equal(fake_pdu(&h, NULL, 0, true), 0);
}

/* ERL-18: another connection of the nexus works, so the midlayer would send a command again
 * at once: it does not get it back before the old one is certain to be over at the target. */
static void
command_may_still_run(void **state)
{
    enum { TIME, SESSION_LOST, CLOSED, CID_AGAIN, WAYS };

    (void)state;
    for (int way = 0; way < WAYS; way++) {
        struct world *w = world_new(16);
        struct iscsi_conn *second, *again;
        struct cmd c;

        world_up(w);
        second = pass_lead_on(w, &c);
        works(w);
        fake_advance(&w->fl, MS(500));
        assert_int_equal(c.done, 0);
        if (way == TIME) {
            for (int i = 0; i < 10 + 2 + 20 - 1; i++) { /* to notice, Time2Wait and Time2Retain */
                fake_advance(&w->fl, SEC(1));
                assert_int_equal(c.done, 0);
                if (i == 2)
                    cid_not_found();
                works(w);
            }
            fake_advance(&w->fl, SEC(1));
        } else if (way == SESSION_LOST) {
            second->up->conn_failure(second, ISCSI_ERR_CONN_CLOSED, "cut");
            fake_advance(&w->fl, MS(1));
        } else if (way == CLOSED) {
            assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_SESSION), 0);
            fake_advance(&w->fl, MS(1));
        } else {
            w->cid = 1;
            assert_int_equal(world_do(w, ISCSI_UEVENT_CREATE_CONN), 0);
            w->follows = true;
            world_connect(w);
            assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), -EBUSY); /* it is asked about */
            fake_advance(&w->fl, SEC(2));
            cid_not_found();
            assert_int_equal(c.done, 0);
            assert_int_equal(world_do(w, ISCSI_UEVENT_BIND_CONN), 0);
            fake_adapter.conn = second;
            again = iscsi_conn_find(&session_of(w)->pub, 1);
            assert_int_equal(c.done, 0);
            assert_int_equal(iscsi_conn_start(again, NULL), 0);
        }
        assert_int_equal(c.done, 1);
        assert_int_equal(c.sc.host_result, DID_TRANSPORT_DISRUPTED);
        world_free(w);
    }
}

/* The leading connection is destroyed in order, or is lost: another one leads.  When the last is
 * lost, so is the session. */
static void
lead_passes_on(void **state)
{
    struct world *w = world_new(14);
    struct iscsi_conn *second;
    struct cmd c;

    (void)state;
    world_up(w);
    second = pass_lead_on(w, &c);
    works(w);
    w->cid = 2;
    assert_int_equal(world_do(w, ISCSI_UEVENT_DESTROY_CONN), 0);
    assert_int_equal(w->gone, 1);
    world_free(w);

    w = world_new(15);
    world_up(w);
    second = second_conn(w);
    assert_int_equal(iscsi_conn_start(second, NULL), 0);
    fake_adapter.conn->up->conn_failure(fake_adapter.conn, ISCSI_ERR_CONN_CLOSED, "cut");
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 1);
    assert_int_equal(w->gone, 0);
    assert_ptr_equal(session_of(w)->leadconn, to_conn(second));
    fake_adapter.conn = second;
    fake_adapter.stat_sn = 77;
    works(w);
    second->up->conn_failure(second, ISCSI_ERR_CONN_CLOSED, "cut");
    fake_advance(&w->fl, SEC(1));
    assert_int_equal(w->nerrors, 2);
    assert_int_equal(w->gone, 1);
    world_free(w);
}

/* Losses and logins at random moments: each command ends exactly once, and none that was lost is
 * told to have gone well. */
static void
many_nexuses(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 100; seed++) {
        struct world *w = patient_world(2000 + seed, seed % 4 == 0 ? "0" : "600");
        static struct cmd c[200];
        unsigned queued = 0, answered;

        for (int nexus = 0; nexus < 4; nexus++) {
            uint64_t n = loop_random(&w->fl.l) % 40;

            answered = fake_adapter.nsent;
            fake_adapter.cleanup_delay_ns = loop_random(&w->fl.l) % 3 == 0 ? MS(700) : 0;
            for (uint64_t i = 0; i < n; i++) {
                cmd_init(&c[queued], loop_random(&w->fl.l) & 1, 64);
                queued += world_queue(w, &c[queued]) == 0;
                if (loop_random(&w->fl.l) % 3 == 0)
                    world_commit(w);
                if (answered < fake_adapter.nsent && loop_random(&w->fl.l) % 2 == 0) {
                    fake_adapter.exp_cmdsn++;
                    fake_adapter.max_cmdsn++;
                    assert_int_equal(fake_answer(&fake_adapter.sent[answered++], 0, NULL, 0, 0), 0);
                }
            }
            lose(w);
            if (loop_random(&w->fl.l) & 1)
                fake_advance(&w->fl, SEC(1));
            reopen(w, 1 + (uint32_t)(loop_random(&w->fl.l) % 8));
        }
        fake_adapter.cleanup_delay_ns = 0;
        works(w);
        world_free(w);
        for (unsigned i = 0; i < queued; i++)
            assert_int_equal(c[i].done, 1);
    }
}

/* "gathers": the adapter gathers, so that the fast path is taken. */
int
main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(failed_session_is_brought_back),
        cmocka_unit_test(what_a_loss_tells),
        cmocka_unit_test(new_nexus_has_a_window_of_its_own),
        cmocka_unit_test(new_nexus_starts_from_the_defaults),
        cmocka_unit_test(lost_session_waits),
        cmocka_unit_test(another_cid_leads_on),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(patience_ends_during_a_login),
        cmocka_unit_test(recovery_time_has_bounds),
        cmocka_unit_test(patience_without_end),
        cmocka_unit_test(patience_changes_while_waiting),
        cmocka_unit_test(patience_counts_from_the_loss),
        cmocka_unit_test(one_leads_at_a_time),
        cmocka_unit_test(memory_of_the_old_nexus),
        cmocka_unit_test(session_reset_waits_for_the_commands),
        cmocka_unit_test(session_reset_waits_for_the_session),
        cmocka_unit_test(task_management_begins_anew),
        cmocka_unit_test(command_of_a_stopping_connection),
        cmocka_unit_test(reset_waits_in_vain),
        cmocka_unit_test(patience_ends_while_stopping),
        cmocka_unit_test(second_connection_is_lost),
        cmocka_unit_test(command_may_still_run),
        cmocka_unit_test(lead_passes_on),
        cmocka_unit_test(many_nexuses),
    };
    int r;

    fake_gathers = argc > 1 && strcmp(argv[1], "gathers") == 0;
    r = cmocka_run_group_tests(tests, NULL, NULL);
    return r != 0 || (fake_gathers && fake_fast == 0);
}
