/* SPDX-License-Identifier: MIT */
/* Commands that are wanted no more: aborted, and waited for where that does not help. */
#include "tests/unit/scsi/fake_host.h"

static struct fdisk d;

static void
start_stuck(struct io *io, enum bdev_op op)
{
    fh_script(&d.f, ANSWER(ANY_OP, 1, .never = true));
    io_submit(&d, io, op, 0, 4096, BDEV_F_PROMPT);
    fake_turn(&d.f.loop);
    assert_int_equal(d.f.nout, 1);
}

static void
test_abort_helps(void **state)
{
    static const enum bdev_op ops[] = {BDEV_READ, BDEV_WRITE, BDEV_COMPARE_WRITE, BDEV_FLUSH};
    struct io io;

    (void)state;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        for (int by_time = 0; by_time < 2; by_time++) {
            int err = by_time ? -ETIMEDOUT : -ECANCELED;

            fd_open(&d);
            d.f.abort_result = SCSI_EH_SUCCESS;
            start_stuck(&io, ops[i]);
            bdev_cancel(d.q, &io.r, err);
            assert_int_equal(io.done, 0);
            fake_advance(&d.f.loop, MS(1));
            assert_int_equal(io.done, 1);
            assert_int_equal(io.r.result.err, err);
            assert_string_equal(d.f.order, "a");
            assert_int_equal(d.f.n, 1); /* nor is it sent again */
            fd_close(&d);
        }
    }
}

static void
test_abort_does_not_help(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    d.f.lu_result = SCSI_EH_SUCCESS;
    start_stuck(&io, BDEV_READ);
    bdev_cancel(d.q, &io.r, -ECANCELED);
    fake_advance(&d.f.loop, SEC(29));
    assert_int_equal(io.done, 0); /* nobody else's commands are reset for a wish */
    assert_string_equal(d.f.order, "a");
    fake_advance(&d.f.loop, SEC(2)); /* now its time is up */
    assert_string_equal(d.f.order, "aal");
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, -ECANCELED);
    fd_close(&d);
}

static void
test_time_is_up_and_abort_does_not_help(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    d.f.lu_result = SCSI_EH_SUCCESS;
    d.f.more_time = true; /* as the transport would like to have; the caller's limit is a limit */
    start_stuck(&io, BDEV_WRITE);
    bdev_cancel(d.q, &io.r, -ETIMEDOUT);
    fake_advance(&d.f.loop, MS(10));
    assert_string_equal(d.f.order, "al");
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, -ETIMEDOUT);
    assert_int_equal(d.f.n, 2); /* the other is the ladder's TEST UNIT READY */
    fd_close(&d);
}

/* First a wish; its abort is under way when the time is up. */
static void
test_wish_then_time(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    d.f.lu_result = SCSI_EH_SUCCESS;
    d.f.hold_waits = true;
    start_stuck(&io, BDEV_READ);
    bdev_cancel(d.q, &io.r, -ECANCELED);
    fake_advance(&d.f.loop, SEC(1));
    bdev_cancel(d.q, &io.r, -ETIMEDOUT);
    assert_int_equal(d.f.aborts, 1);
    d.f.hold_waits = false;
    loop_defer(&d.f.loop.l, &d.f.wait_work);
    fake_advance(&d.f.loop, MS(10));
    assert_string_equal(d.f.order, "al");
    assert_int_equal(io.r.result.err, -ECANCELED);
    assert_int_equal(io.done, 1);
    fd_close(&d);
}

static void
test_answer_comes_before_the_aborts(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_NOT_FOUND;
    d.f.hold = d.f.hold_waits = true;
    io_submit(&d, &io, BDEV_COMPARE_WRITE, 0, 512, 0);
    fake_turn(&d.f.loop);
    bdev_cancel(d.q, &io.r, -ECANCELED);
    d.f.hold = false;
    loop_defer(&d.f.loop.l, &d.f.work);
    fake_turn(&d.f.loop);
    assert_int_equal(io.done, 0); /* the abort still refers to it */
    d.f.hold_waits = false;
    loop_defer(&d.f.loop.l, &d.f.wait_work);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    fd_close(&d);
}

static void
test_while_there_is_no_session(void **state)
{
    struct io was_out, fresh;

    (void)state;
    fd_open(&d);
    start_stuck(&was_out, BDEV_WRITE);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
    io_submit(&d, &fresh, BDEV_READ, 0, 512, 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(was_out.done + fresh.done, 0);
    bdev_cancel(d.q, &was_out.r, -ETIMEDOUT);
    bdev_cancel(d.q, &fresh.r, -ECANCELED);
    fake_turn(&d.f.loop);
    assert_int_equal(was_out.done, 1);
    assert_int_equal(was_out.r.result.err, -ETIMEDOUT);
    assert_int_equal(fresh.done, 1);
    assert_int_equal(fresh.r.result.err, -ECANCELED);
    assert_int_equal(d.f.aborts, 0);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(100));
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 1);
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 0);
    assert_int_equal(io_run(&d, BDEV_READ, 0, 512, 0), 0);
    fd_close(&d);
}

/* ---- raw commands ---- */

struct raw {
    struct scsi_exec x;
    int done;
};

static const uint8_t tur[6] = {0};

static void
raw_done(struct scsi_exec *x)
{
    container_of(x, struct raw, x)->done++;
}

static void
raw_start(struct raw *r)
{
    *r = (struct raw){.x = {.cdb = tur, .cdb_len = sizeof(tur), .done = raw_done}};
    assert_int_equal(scsi_execute(d.dev, &r->x), 0);
}

static void
test_raw_sent_and_not(void **state)
{
    struct raw sent, fresh, waits;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_SUCCESS;
    raw_start(&fresh); /* it leaves at the end of the turn */
    scsi_exec_cancel(&fresh.x, -ECANCELED);
    assert_int_equal(fresh.done, 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(fresh.done, 1);
    assert_int_equal(fresh.x.result.err, -ECANCELED);
    assert_int_equal(d.f.n, 0);
    fh_script(&d.f, ANSWER(ANY_OP, 1, .never = true));
    raw_start(&sent);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(d.f.n, 1);
    scsi_exec_cancel(&sent.x, -ETIMEDOUT);
    assert_int_equal(sent.done, 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(sent.done, 1);
    assert_int_equal(sent.x.result.err, -ETIMEDOUT);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    raw_start(&waits);
    fake_advance(&d.f.loop, SEC(1));
    scsi_exec_cancel(&waits.x, -ECANCELED);
    assert_int_equal(waits.done, 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(waits.done, 1);
    assert_int_equal(waits.x.result.err, -ECANCELED);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    fd_close(&d);
    assert_int_equal(fresh.done + sent.done + waits.done, 3);
}

static void
test_raw_answered_all_the_same(void **state)
{
    struct raw r;

    (void)state;
    fd_open(&d);
    d.f.abort_result = SCSI_EH_FAILED;
    d.f.hold = true;
    raw_start(&r);
    fake_advance(&d.f.loop, MS(1));
    scsi_exec_cancel(&r.x, -ECANCELED);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(r.done, 0);
    d.f.hold = false;
    loop_defer(&d.f.loop.l, &d.f.work);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(r.done, 1);
    assert_int_equal(r.x.result.err, 0);
    fd_close(&d);
}

/* ---- at random ---- */

#define NIO 24

static struct io ios[NIO];
static bool canceled[NIO];

static unsigned
one_world(uint64_t seed)
{
    struct fake_loop r;
    unsigned ended = 0;

    fake_loop_init(&r, seed);
#define RND(n) (fake_random(&r.l) % (n))
    fd_open(&d);
    for (int i = 0; i < NIO; i++) {
        canceled[i] = false;
        io_submit(&d, &ios[i], (enum bdev_op)RND(BDEV_SCSI), RND(1000) * 512, (1 + RND(8)) * 512,
                  RND(2) == 0 ? BDEV_F_FUA : BDEV_F_PROMPT);
    }
    for (int step = 0; step < 200; step++) {
        int i = (int)RND(NIO);

        d.f.nscript = 0;
        fh_script(&d.f, ANSWER(ANY_OP, (unsigned)RND(4), .never = true));
        fh_script(&d.f, ANSWER(ANY_OP, (unsigned)RND(3), .host = (enum scsi_host_result)RND(11)));
        d.f.abort_result = (enum scsi_eh_result)RND(3);
        d.f.lu_result = d.f.target_result = RND(2) == 0 ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
        d.f.session_result = SCSI_EH_SUCCESS;
        d.f.hold_waits = RND(4) == 0;
        loop_defer(&d.f.loop.l, &d.f.wait_work);
        if (RND(20) == 0 && d.f.h.state == SCSI_HOST_RUNNING) {
            fh_state(&d.f, SCSI_HOST_BLOCKED);
            fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
        } else if (RND(3) == 0 && d.f.h.state == SCSI_HOST_BLOCKED) {
            fh_state(&d.f, SCSI_HOST_RUNNING);
        }
        if (ios[i].done == 0) {
            bdev_cancel(d.q, &ios[i].r, RND(2) == 0 ? -ECANCELED : -ETIMEDOUT);
            canceled[i] = true;
            assert_int_equal(ios[i].done, 0);
        }
        fake_advance(&d.f.loop, RND(6) == 0 ? SEC(RND(20)) : MS(RND(50)));
        for (i = 0; i < NIO; i++) {
            assert_true(ios[i].done <= 1);
            if (ios[i].done == 0)
                continue;
            ended += canceled[i] && ios[i].r.result.err == -ECANCELED;
            canceled[i] = false;
            if (RND(2) == 0 && bdev_submit(d.q, &ios[i].r) == 0)
                ios[i].done = 0;
        }
    }
    fd_close(&d);
    for (int i = 0; i < NIO; i++)
        assert_int_equal(ios[i].done, 1);
#undef RND
    return ended;
}

static void
test_exactly_once_at_random(void **state)
{
    unsigned ended = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= 150; seed++)
        ended += one_world(seed);
    assert_true(ended > 150);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_abort_helps),
        cmocka_unit_test(test_abort_does_not_help),
        cmocka_unit_test(test_time_is_up_and_abort_does_not_help),
        cmocka_unit_test(test_wish_then_time),
        cmocka_unit_test(test_answer_comes_before_the_aborts),
        cmocka_unit_test(test_while_there_is_no_session),
        cmocka_unit_test(test_raw_sent_and_not),
        cmocka_unit_test(test_raw_answered_all_the_same),
        cmocka_unit_test(test_exactly_once_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
