/* SPDX-License-Identifier: MIT */
/* Time-outs, the ladder, and sessions that come and go; then all of it at random. */
#include "tests/unit/scsi/fake_host.h"

static struct fdisk d;

static void
test_abort_then_retry(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_SUCCESS;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 2, .never = true));
    io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(30) - MS(1));
    assert_int_equal(d.f.aborts, 0);
    fake_advance(&d.f.loop, MS(2));
    assert_int_equal(d.f.aborts, 1);
    assert_int_equal(io.done, 0);
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 2); /* sent again */
    fake_advance(&d.f.loop, SEC(31));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    assert_int_equal(d.f.lu_resets, 0);
    assert_int_equal(d.dev->stats.timeouts, 2);
    fd_close(&d);
}

static void
test_timeouts_end(void **state)
{
    uint64_t t0;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_SUCCESS;
    fh_script(&d.f, ANSWER(SCSI_READ_10, EVER, .never = true));
    fh_script(&d.f, ANSWER(SCSI_COMPARE_AND_WRITE, EVER, .never = true));
    t0 = d.f.loop.l.now_ns;
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), -ETIMEDOUT);
    assert_true(d.f.loop.l.now_ns - t0 <= SEC(181));
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 6);
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, BDEV_F_FAILFAST), -ETIMEDOUT);
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 7);
    assert_int_equal(io_run(&d, BDEV_COMPARE_WRITE, 0, 512, 0), -ETIMEDOUT);
    assert_int_equal(fh_count(&d.f, SCSI_COMPARE_AND_WRITE), 1);
    fd_close(&d);
}

static void
test_transport_asks_for_time(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.more_time = true;
    fh_script(&d.f, ANSWER(SCSI_READ_10, EVER, .never = true));
    io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(1000));
    assert_int_equal(d.f.aborts, 0);
    assert_int_equal(io.done, 0);
    fd_close(&d);
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, -ENOTCONN);
}

static void
test_completion_races_with_abort(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_NOT_FOUND;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
    fake_turn(&d.f.loop);
    d.f.hold = true;
    d.f.loop.l.now_ns += SEC(31);
    fake_timer_start(&d.f.loop.l,
                     container_of(timerq_first(&d.f.loop.timers), struct loop_timer, node), 0);
    while (d.f.aborts == 0) { /* the timer fires; the answer comes before the abort's */
        struct loop_timer *t =
            container_of(timerq_first(&d.f.loop.timers), struct loop_timer, node);

        timerq_del(&d.f.loop.timers, &t->node);
        t->fn(t);
    }
    d.f.out[0]->host_result = DID_OK;
    d.f.out[0]->status = SCSI_GOOD;
    d.f.out[0]->resid_in = 0;
    fh_give_back(&d.f, 0);
    assert_int_equal(io.done, 0);
    d.f.hold = false;
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    assert_int_equal(d.f.lu_resets, 0);
    fd_close(&d);
}

static void
test_ladder_order(void **state)
{
    static const struct {
        enum scsi_eh_result abort, lu, target, session;
        const char *order;
        enum scsi_device_state ends;
    } rows[] = {
        {SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, "a", SDEV_RUNNING},
        {SCSI_EH_FAILED, SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, "al", SDEV_RUNNING},
        {SCSI_EH_NOT_FOUND, SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, "al", SDEV_RUNNING},
        {SCSI_EH_FAILED, SCSI_EH_FAILED, SCSI_EH_SUCCESS, SCSI_EH_SUCCESS, "alt", SDEV_RUNNING},
        {SCSI_EH_FAILED, SCSI_EH_FAILED, SCSI_EH_FAILED, SCSI_EH_SUCCESS, "alts", SDEV_RUNNING},
        {SCSI_EH_FAILED, SCSI_EH_FAILED, SCSI_EH_FAILED, SCSI_EH_FAILED, "alts", SDEV_OFFLINE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct io io, other;

        fd_open(&d);
        d.f.abort_result = rows[i].abort;
        d.f.lu_result = rows[i].lu;
        d.f.target_result = rows[i].target;
        d.f.session_result = rows[i].session;
        fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
        io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
        fake_advance(&d.f.loop, SEC(40));
        assert_string_equal(d.f.order, rows[i].order);
        assert_int_equal(d.dev->state, rows[i].ends);
        if (rows[i].ends == SDEV_RUNNING) {
            assert_int_equal(io.done, 1);
            assert_int_equal(io.r.result.err, 0); /* the second try */
        } else {
            assert_int_equal(io.done, 0); /* its buffer is still the host's */
            assert_int_equal(d.f.events[SCSI_EV_OFFLINE], 1);
            io_submit(&d, &other, BDEV_READ, 0, 512, 0);
            fake_turn(&d.f.loop);
            assert_int_equal(other.done, 1);
            assert_int_equal(other.r.result.err, -ENODEV);
        }
        fd_close(&d);
        assert_int_equal(io.done, 1);
    }
}

static void
test_others_of_the_unit_are_held_and_swept(void **state)
{
    struct io stuck, swept, caw, later;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_COMPARE_AND_WRITE, EVER, .never = true));
    io_submit(&d, &stuck, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(20));
    io_submit(&d, &swept, BDEV_WRITE, 0, 4096, 0);
    io_submit(&d, &caw, BDEV_COMPARE_WRITE, 0, 512, 0);
    fake_advance(&d.f.loop, SEC(9));
    io_submit(&d, &later, BDEV_READ, 8192, 512, 0);
    fake_advance(&d.f.loop, SEC(2));
    assert_string_equal(d.f.order, "al");
    assert_int_equal(stuck.r.result.err, 0);
    assert_int_equal(swept.done, 1); /* swept, sent again */
    assert_int_equal(swept.r.result.err, 0);
    assert_int_equal(caw.done, 1); /* may have been executed: not again */
    assert_int_equal(caw.r.result.err, -ECANCELED);
    assert_int_equal(later.done, 1);
    assert_true(fh_count(&d.f, SCSI_TEST_UNIT_READY) >= 1);
    fd_close(&d);
}

static void
test_unit_dead_after_lu_reset(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, .never = true)); /* after the LU reset */
    io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(30) + MS(1));
    assert_string_equal(d.f.order, "al");
    fake_advance(&d.f.loop, SEC(11)); /* TUR times out, cannot be aborted: up at once */
    assert_string_equal(d.f.order, "alat");
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    assert_int_equal(d.dev->state, SDEV_RUNNING);
    fd_close(&d);
}

static void
test_our_reset_is_not_news(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 3)));
    io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(32));
    assert_int_equal(io.done, 1);
    assert_int_equal(d.f.events[SCSI_EV_POWER_ON], 0);
    fd_close(&d);
}

/* But what only a loss of power says of itself is, also when a unit attention of ours is due. */
static void
test_power_loss_after_our_reset(void **state)
{
    static const uint8_t codes[][2] = {{0x00, 0}, {0x01, 1}, {0x02, 0}, {0x03, 0}, {0x04, 1}};

    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        fd_open(&d);
        assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0); /* into its cache */
        d.f.abort_result = SCSI_EH_FAILED;
        d.f.lu_result = SCSI_EH_SUCCESS;
        fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
        fh_script(&d.f,
                  ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, codes[i][0])));
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        assert_int_equal(d.f.lu_resets, 1);
        assert_int_equal(d.f.events[SCSI_EV_LOST_WRITES], codes[i][1]);
        assert_int_equal(d.f.events[SCSI_EV_POWER_ON], codes[i][1]);
        fd_close(&d);
    }
}

static void
test_alive_but_useless(void **state)
{
    (void)state;
    fd_open(&d); /* TUR is fine, reads never come back */
    d.f.abort_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, EVER, .never = true));
    (void)io_run(&d, BDEV_READ, 0, 4096, 0);
    assert_int_equal(d.dev->state, SDEV_OFFLINE);
    assert_int_equal(d.f.lu_resets, 2);
    d.f.nscript = 0;
    assert_int_equal(scsi_device_online(d.dev), 0); /* the operator */
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fd_close(&d);
}

static void
test_session_lost_and_back(void **state)
{
    struct io a, b;
    struct scsi_exec x = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6};

    (void)state;
    (void)x;
    fd_open(&d);
    d.f.hold = true;
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    fake_turn(&d.f.loop);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
    d.f.hold = false;
    io_submit(&d, &b, BDEV_READ, 0, 4096, 0);
    assert_int_equal(d.dev->state, SDEV_BLOCK);
    fake_advance(&d.f.loop, SEC(60)); /* Held, nothing expires */
    assert_int_equal(a.done + b.done, 0);
    assert_int_equal(d.dev->stats.timeouts, 0);
    assert_int_equal(d.f.n, 1);
    d.f.luns[0].cap.blocks = 4 << 20; /* it grew meanwhile */
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 7)));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.dev->state, SDEV_RUNNING);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    assert_int_equal(b.r.result.err, 0);
    assert_int_equal(bdev_get_limits(d.b)->size, 2048ull << 20);
    for (unsigned i = 1; i < d.f.n; i++) { /* unit attentions were cleared before I/O */
        if (d.f.op[i] == SCSI_WRITE_10 || d.f.op[i] == SCSI_READ_10) {
            assert_true(i > 3);
            break;
        }
    }
    fd_close(&d);
}

static void
test_session_given_up_and_back(void **state)
{
    struct io a, b;

    (void)state;
    fd_open(&d);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(100));
    assert_int_equal(a.done, 0);
    fh_state(&d.f, SCSI_HOST_GONE);
    fake_turn(&d.f.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENOTCONN);
    assert_int_equal(d.dev->state, SDEV_TRANSPORT_OFFLINE);
    io_submit(&d, &b, BDEV_READ, 0, 4096, 0);
    fake_turn(&d.f.loop);
    assert_int_equal(b.r.result.err, -ENOTCONN);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.dev->state, SDEV_RUNNING);
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fd_close(&d);
}

static void
test_another_disk_after_reconnect(void **state)
{
    struct io a;

    (void)state;
    fd_open(&d);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    d.f.luns[0].name = "\x60zzzzzzzzzzzzzzz";
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENXIO); /* never written to the wrong disk */
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 0);
    assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
    fd_close(&d);
}

/* The unit turns out to be another one while a command hangs: that still ends, and nothing but our
 * own session is reset for it. */
static void
test_another_disk_while_a_command_hangs(void **state)
{
    struct io hangs, canceled, b;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    d.f.session_result = SCSI_EH_SUCCESS;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 2, .never = true));
    io_submit(&d, &hangs, BDEV_READ, 0, 4096, 0);
    io_submit(&d, &canceled, BDEV_READ, 0, 4096, BDEV_F_PROMPT);
    fake_turn(&d.f.loop);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x3f, 0x03)));
    d.f.luns[0].name = "\x60zzzzzzzzzzzzzzz";
    io_submit(&d, &b, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
    assert_int_equal(b.done, 1);
    assert_int_equal(b.r.result.err, -ENXIO);
    assert_int_equal(hangs.done + canceled.done, 0);
    bdev_cancel(d.q, &canceled.r, -ECANCELED);
    fake_turn(&d.f.loop);
    assert_string_equal(d.f.order, "a");
    fake_advance(&d.f.loop, SEC(60));
    assert_string_equal(d.f.order, "aaas");
    assert_int_equal(hangs.done, 1);
    assert_int_equal(hangs.r.result.err, -ENXIO);
    assert_int_equal(canceled.done, 1);
    assert_int_equal(canceled.r.result.err, -ECANCELED);
    assert_int_equal(d.dev->state, SDEV_OFFLINE);
    fd_close(&d);
}

static void
test_session_dies_in_the_ladder(void **state)
{
    struct io a;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    d.f.lu_result = SCSI_EH_FAILED;
    d.f.target_result = SCSI_EH_FAILED;
    d.f.session_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    io_submit(&d, &a, BDEV_READ, 0, 4096, 0);
    fake_turn(&d.f.loop);
    fh_state(&d.f, SCSI_HOST_BLOCKED); /* before the time-out: no TMFs without a session */
    fake_advance(&d.f.loop, SEC(35));
    assert_string_equal(d.f.order, ""); /* and no abort either: it gives back what was lost */
    fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    assert_string_equal(d.f.order, "");
    fd_close(&d);
}

/* Makes a READ hang until the ladder has come to a step: 'a' abort, 'l', 't' resets, 's' session
 * reset, or TEST UNIT READY behind that of the unit ('u'), which is stuck then. */
static void
ladder_to(struct io *io, char step)
{
    fd_open(&d);
    d.f.abort_result = d.f.target_result = SCSI_EH_FAILED;
    d.f.lu_result = step == 'u' ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
    d.f.hold_at = step;
    if (step == 'u') /* its READ is not given back, as if the unit had forgotten it */
        fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    io_submit(&d, io, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(31));
    assert_int_equal(fh_last(&d.f), step == 'u' ? 'l' : step);
}

static void
session_comes_back(struct io *io)
{
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(2));
    if (io->r.result.err == -ENOTCONN) /* it ended with the session */
        assert_int_equal(bdev_submit(d.q, &io->r), 0);
    fake_advance(&d.f.loop, SEC(2));
    assert_true(io->done >= 1);
    assert_int_equal(io->r.result.err, 0);
    assert_int_equal(d.dev->state, SDEV_RUNNING);
    assert_int_equal(d.f.events[SCSI_EV_OFFLINE], 0);
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
}

/* A session that is lost in any step ends the ladder, and says nothing of the unit. */
static void
test_session_lost_in_each_step(void **state)
{
    static const char steps[] = {'a', 'l', 't', 'u'};

    (void)state;
    for (size_t i = 0; i < sizeof(steps); i++) {
        for (int how = 0; how < 4; how++) {
            struct io io;
            char order[sizeof(d.f.order)];
            bool gone = how == 2, at_once = how == 3;

            ladder_to(&io, steps[i]);
            memcpy(order, d.f.order, sizeof(order));
            fh_state(&d.f, gone ? SCSI_HOST_GONE : SCSI_HOST_BLOCKED);
            fh_sweep(&d.f, NULL, gone ? DID_NO_CONNECT : DID_TRANSPORT_DISRUPTED);
            if (at_once) /* it is back before the host has told what became of the step */
                fh_state(&d.f, SCSI_HOST_RUNNING);
            if (how != 1) /* 1: it tells that only when the session is back */
                fh_release_waits(&d.f);
            if (!at_once)
                fake_advance(&d.f.loop, SEC(60));
            if (how == 1) {
                fh_state(&d.f, SCSI_HOST_RUNNING);
                fh_release_waits(&d.f);
            }
            session_comes_back(&io);
            assert_string_equal(d.f.order, order); /* no further step */
            fd_close(&d);
        }
    }
}

/* However often that happens without a command that goes well in between. */
static void
test_sessions_lost_again_and_again(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = d.f.lu_result = SCSI_EH_FAILED;
    d.f.hold_at = 'l';
    fh_script(&d.f, ANSWER(SCSI_READ_10, EVER, .never = true));
    io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
    for (int i = 0; i < 8 && io.done == 0; i++) {
        fake_advance(&d.f.loop, SEC(31));
        fh_state(&d.f, SCSI_HOST_BLOCKED);
        fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
        d.f.order[0] = '\0'; /* which lets the wait go */
        loop_defer(&d.f.loop.l, &d.f.wait_work);
        fake_advance(&d.f.loop, SEC(1));
        memset(d.f.order, 0, sizeof(d.f.order));
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(1));
    }
    assert_int_equal(io.done, 1); /* it was not sent for ever: each time-out of its own counts */
    assert_int_equal(io.r.result.err, -ETIMEDOUT);
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 6);
    assert_int_equal(d.f.events[SCSI_EV_OFFLINE], 0);
    d.f.nscript = 0;
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fd_close(&d);
}

/* The session that error handling drops: it waits until that is back, or given up. */
static void
test_session_drop_waits_for_the_login(void **state)
{
    (void)state;
    for (int gone = 0; gone < 2; gone++) {
        struct io io;

        ladder_to(&io, 's');
        fh_state(&d.f, SCSI_HOST_BLOCKED);
        assert_int_equal(d.dev->state, SDEV_BLOCK);
        fake_advance(&d.f.loop, SEC(100));
        assert_int_equal(io.done, 0);
        fh_state(&d.f, gone ? SCSI_HOST_GONE : SCSI_HOST_RUNNING);
        fh_release_waits(&d.f);
        fake_advance(&d.f.loop, SEC(2));
        assert_int_equal(io.done, 1);
        assert_int_equal(io.r.result.err, gone ? -ENOTCONN : 0);
        assert_int_equal(d.dev->state, gone ? SDEV_TRANSPORT_OFFLINE : SDEV_RUNNING);
        session_comes_back(&io);
        fd_close(&d);
    }
}

static void
ladder_to_offline(void)
{
    fd_open(&d);
    d.f.abort_result = d.f.lu_result = d.f.target_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, EVER, .never = true));
    (void)io_run(&d, BDEV_READ, 0, 4096, 0);
    assert_string_equal(d.f.order, "altsa"); /* the last is of TEST UNIT READY */
    assert_int_equal(d.dev->state, SDEV_OFFLINE);
    assert_int_equal(d.f.events[SCSI_EV_OFFLINE], 1);
    d.f.nscript = 0;
    fh_sweep(&d.f, NULL, DID_ABORT); /* TEST UNIT READY, at last */
    fake_turn(&d.f.loop);
}

static void
test_offline_and_back(void **state)
{
    struct scanned s;

    (void)state;
    for (int how = 0; how < 4; how++) {
        ladder_to_offline();
        fake_advance(&d.f.loop, SEC(1000));
        assert_int_equal(d.dev->state, SDEV_OFFLINE); /* not by itself */
        memset(&s, 0, sizeof(s));
        switch (how) {
        case 0:
            assert_int_equal(scsi_device_online(d.dev), 0);
            break;
        case 1:
            assert_ptr_equal(fh_scan_lun(&d.f, 0), d.dev);
            break;
        case 2:
            assert_int_equal(scsi_scan(d.f.t, scan_done, &s), 0);
            break;
        default:
            fh_state(&d.f, SCSI_HOST_BLOCKED);
            fh_state(&d.f, SCSI_HOST_RUNNING);
            break;
        }
        fake_advance(&d.f.loop, SEC(2));
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        assert_int_equal(d.f.events[SCSI_EV_ONLINE], 1);
        assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
        fd_close(&d);
    }
    ladder_to_offline(); /* but not as another unit */
    d.f.luns[0].name = "\x60zzzzzzzzzzzzzzz";
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(d.dev->state, SDEV_OFFLINE);
    assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(d.dev->state, SDEV_OFFLINE);
    assert_int_equal(d.f.events[SCSI_EV_ONLINE], 0);
    fd_close(&d);
}

/* TEST UNIT READY of the ladder has a time limit of its own. */
static void
test_eh_time_limit(void **state)
{
    struct scsi_params p = {.eh_tur_ms = 2000};
    struct io io;

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_init(&d.f);
    assert_int_equal(scsi_attach(&d.f.h, &p, &fh_events, &d.f, &d.f.t), 0);
    fh_add(&d.f, 0, 0);
    fd_up(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, .never = true));
    io_submit(&d, &io, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(30) + MS(1900));
    assert_string_equal(d.f.order, "al");
    fake_advance(&d.f.loop, MS(200));
    assert_string_equal(d.f.order, "alat");
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    fd_close(&d);
}

/* ---- ACA: a raw command with NACA had it set up ---- */

static void
test_aca_is_cleared(void **state)
{
    struct io a, b;

    (void)state;
    fd_open(&d);
    d.f.aca = d.f.hold_waits = true;
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    io_submit(&d, &b, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.f.acas, 1);
    assert_int_equal(d.f.n, 2); /* nothing is sent meanwhile */
    fh_release_waits(&d.f);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(a.done + b.done, 2);
    assert_int_equal(a.r.result.err | b.r.result.err, 0);
    assert_int_equal(d.f.acas, 1);
    fd_close(&d);

    fd_open(&d); /* it cannot be cleared */
    d.f.aca = true;
    d.f.aca_result = SCSI_EH_FAILED;
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), -EIO);
    assert_true(d.f.acas >= 5 && d.f.acas <= 6);
    fd_close(&d);

    fd_open(&d); /* the session is lost meanwhile */
    d.f.aca = d.f.hold_waits = true;
    d.f.aca_result = SCSI_EH_FAILED;
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, MS(1));
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    d.f.aca = false; /* a new nexus has none */
    fh_release_waits(&d.f);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    fd_close(&d);

    fd_open(&d); /* the end comes first */
    d.f.aca = d.f.hold_waits = true;
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, MS(1));
    fd_close(&d);
    assert_int_equal(a.done, 1);
}

static void
test_protocol_errors_end_the_session(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER, SENSE(SENSE_ABORTED_COMMAND, 0x0c, 0x0d)));
    io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.r.result.err, -EIO);
    assert_int_equal(d.f.session_resets, 1);
    fd_close(&d);
}

static void
test_two_units_take_turns(void **state)
{
    struct scsi_device *one;
    struct io a, b;
    struct fdisk second = {0};

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    fh_add(&d.f, 0, 0);
    fh_add(&d.f, 1, 1);
    fd_up(&d);
    one = fh_scan_lun(&d.f, 1);
    assert_int_equal(scsi_disk_start(one, scan_done, &second.up), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(blk_dev_new(&scsi_disk_ops, one, scsi_disk_limits(one), &second.b), 0);
    assert_int_equal(bdev_queue_new(second.b, &d.f.loop.l, 8, &second.q), 0);
    scsi_disk_plug(one, &blk_upcalls, second.b);
    d.f.abort_result = d.f.lu_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 2, .never = true));
    io_submit(&d, &a, BDEV_READ, 0, 4096, 0);
    io_submit(&second, &b, BDEV_READ, 0, 4096, 0);
    d.f.hold_waits = true; /* both time out before any abort is answered */
    fake_advance(&d.f.loop, SEC(31));
    assert_string_equal(d.f.order, "aa");
    d.f.hold_waits = false;
    loop_defer(&d.f.loop.l, &d.f.wait_work);
    fake_advance(&d.f.loop, SEC(1));
    assert_string_equal(d.f.order, "aallt");
    assert_int_equal(a.done + b.done, 2);
    assert_int_equal(a.r.result.err, 0);
    assert_int_equal(b.r.result.err, 0);
    assert_int_equal(d.f.lu_resets, 2);
    assert_int_equal(d.f.target_resets, 1); /* freed both */
    fh_close(&d.f);
    blk_dev_free(&second.b);
    blk_dev_free(&d.b);
}

/* Ends the first n waits and no others. */
static void
end_waits(struct fhost *f, unsigned n)
{
    for (; n > 0; n--) {
        struct scsi_eh_wait *w = f->waits[0];
        enum scsi_eh_result r = f->wait_results[0];

        f->nwaits--;
        memmove(f->waits, f->waits + 1, f->nwaits * sizeof(f->waits[0]));
        memmove(f->wait_results, f->wait_results + 1, f->nwaits * sizeof(f->wait_results[0]));
        w->done(w, r);
    }
}

/* The session is lost while the target is reset for one unit, and others wait for their turn: the
 * ladder of each of them ends, and none is left behind. */
static void
test_session_lost_while_units_wait_for_their_turn(void **state)
{
    enum { UNITS = 4 };
    static struct fdisk others[UNITS];
    struct io ios[UNITS];

    (void)state;
    memset(&d, 0, sizeof(d));
    memset(others, 0, sizeof(others));
    fh_open(&d.f);
    for (int i = 0; i < UNITS; i++) {
        fh_add(&d.f, i, (uint64_t)i);
        others[i].dev = fh_scan_lun(&d.f, (uint64_t)i);
        assert_int_equal(scsi_disk_start(others[i].dev, scan_done, &others[i].up), 0);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(blk_dev_new(&scsi_disk_ops, others[i].dev, scsi_disk_limits(others[i].dev),
                                     &others[i].b),
                         0);
        assert_int_equal(bdev_queue_new(others[i].b, &d.f.loop.l, 8, &others[i].q), 0);
        scsi_disk_plug(others[i].dev, &blk_upcalls, others[i].b);
    }
    d.f.abort_result = d.f.lu_result = d.f.target_result = SCSI_EH_FAILED;
    d.f.hold_waits = true;
    fh_script(&d.f, ANSWER(SCSI_READ_10, UNITS, .never = true));
    for (int i = 0; i < UNITS; i++)
        io_submit(&others[i], &ios[i], BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(31));
    end_waits(&d.f, 2 * UNITS);
    assert_string_equal(d.f.order, "aaaallllt");
    fh_lose(&d.f);
    fh_release_waits(&d.f);
    fake_advance(&d.f.loop, SEC(1));
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    for (int i = 0; i < UNITS; i++) {
        assert_int_equal(ios[i].done, 1);
        assert_int_equal(ios[i].r.result.err, 0);
    }
    assert_string_equal(d.f.order, "aaaallllt");
    fh_close(&d.f);
    for (int i = 0; i < UNITS; i++)
        blk_dev_free(&others[i].b);
}

static void
test_probe_stuck_in_the_ladder(void **state)
{
    struct scanned s = {0};

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    fh_add(&d.f, 0, 0);
    d.f.abort_result = SCSI_EH_FAILED;
    fh_script(&d.f, ANSWER(SCSI_INQUIRY, 1, .never = true));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, .never = true));
    assert_int_equal(scsi_scan_lun(d.f.t, lun_from_number(0).b, scan_lun_done, &s), 0);
    fake_advance(&d.f.loop, SEC(21));
    assert_int_equal(s.done, 1); /* and the ladder goes on without the scan */
    fake_advance(&d.f.loop, SEC(60));
    assert_non_null(fh_scan_lun(&d.f, 0));
    fh_close(&d.f);
}

/* ---- at random ---- */

#define NIO 40

static struct io ios[NIO];

static void
one_world(uint64_t seed)
{
    static const uint8_t keys[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14};
    struct fake_loop r;
    bool alive = true;

    fake_loop_init(&r, seed);
#define RND(n) (fake_random(&r.l) % (n))
    fd_open(&d);
    fake_loop_init(&r, seed);
    for (int i = 0; i < NIO; i++)
        io_submit(&d, &ios[i], (enum bdev_op)RND(BDEV_SCSI), RND(1000) * 512, (1 + RND(8)) * 512,
                  RND(3) == 0 ? BDEV_F_FUA : 0);
    for (int step = 0; step < 120; step++) {
        d.f.nscript = 0;
        for (uint64_t n = RND(4); n > 0; n--) {
            struct answer a = ANSWER(ANY_OP, (unsigned)RND(4), .host = DID_OK);

            switch (RND(6)) {
            case 0:
                a.never = true;
                break;
            case 1:
                a.host = (enum scsi_host_result)RND(11);
                break;
            case 2:
                a.status = (uint8_t[]){8, 0x28, 0x18, 0x40, 0x30, 0x22}[RND(6)];
                break;
            case 3:
                a.is_short = true;
                break;
            default:
                a.status = SCSI_CHECK_CONDITION;
                a.key = keys[RND(sizeof(keys))];
                a.asc = (uint8_t[]){4, 0x29, 0x2a, 0x3f, 0x20, 0x24, 0x11, 0x0c}[RND(8)];
                a.ascq = (uint8_t)RND(16);
                a.deferred = RND(10) == 0;
                break;
            }
            fh_script(&d.f, a);
        }
        d.f.abort_result = (enum scsi_eh_result)RND(3);
        d.f.lu_result = RND(2) == 0 ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
        d.f.target_result = RND(2) == 0 ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
        d.f.session_result = RND(4) != 0 ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
        d.f.window = RND(3) == 0 ? 4 : 0;
        d.f.more_time = RND(5) == 0;
        if (RND(15) == 0) {
            fh_state(&d.f, SCSI_HOST_BLOCKED);
            fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
            alive = false;
        } else if (!alive && RND(2) == 0) {
            fh_state(&d.f, SCSI_HOST_RUNNING);
            alive = true;
        }
        if (d.f.h.ev != NULL)
            d.f.h.ev->restart(d.f.h.ev_user);
        fake_advance(&d.f.loop, RND(4) == 0 ? SEC(RND(40)) : MS(RND(100)));
        for (int i = 0; i < NIO; i++) {
            assert_true(ios[i].done <= 1);
            if (ios[i].done == 1 && d.f.n < FH_MAX - 5000 && RND(2) == 0 &&
                bdev_submit(d.q, &ios[i].r) == 0)
                ios[i].done = 0;
        }
    }
    fd_close(&d);
    for (int i = 0; i < NIO; i++)
        assert_int_equal(ios[i].done, 1);
#undef RND
}

static void
test_exactly_once_at_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++)
        one_world(seed);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abort_then_retry),
        cmocka_unit_test(test_timeouts_end),
        cmocka_unit_test(test_transport_asks_for_time),
        cmocka_unit_test(test_completion_races_with_abort),
        cmocka_unit_test(test_ladder_order),
        cmocka_unit_test(test_others_of_the_unit_are_held_and_swept),
        cmocka_unit_test(test_unit_dead_after_lu_reset),
        cmocka_unit_test(test_our_reset_is_not_news),
        cmocka_unit_test(test_power_loss_after_our_reset),
        cmocka_unit_test(test_alive_but_useless),
        cmocka_unit_test(test_session_lost_and_back),
        cmocka_unit_test(test_session_given_up_and_back),
        cmocka_unit_test(test_another_disk_after_reconnect),
        cmocka_unit_test(test_another_disk_while_a_command_hangs),
        cmocka_unit_test(test_session_dies_in_the_ladder),
        cmocka_unit_test(test_session_lost_in_each_step),
        cmocka_unit_test(test_sessions_lost_again_and_again),
        cmocka_unit_test(test_session_drop_waits_for_the_login),
        cmocka_unit_test(test_offline_and_back),
        cmocka_unit_test(test_eh_time_limit),
        cmocka_unit_test(test_aca_is_cleared),
        cmocka_unit_test(test_protocol_errors_end_the_session),
        cmocka_unit_test(test_two_units_take_turns),
        cmocka_unit_test(test_session_lost_while_units_wait_for_their_turn),
        cmocka_unit_test(test_probe_stuck_in_the_ladder),
        cmocka_unit_test(test_exactly_once_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
