/* SPDX-License-Identifier: MIT */
/* Requests that are wanted no more: wherever they are, each ends once, and says so only where the
 * device has not told otherwise. */
#include "tests/unit/block/fake_driver.h"

static struct drv d;

static void
start(struct req *q, enum bdev_op op, uint64_t len, uint32_t flags)
{
    req_init(q, &d, op, 0, len);
    q->r.flags = flags;
    assert_int_equal(bdev_submit(d.q, &q->r), 0);
}

/* Cancels q, which must not be told from inside. */
static void
cancel(struct req *q, int err)
{
    int done = q->done;

    bdev_cancel(d.q, &q->r, err);
    assert_int_equal(q->done, done);
    blk_check_fast(d.b);
}

static void
ends(const struct req *q, int err)
{
    fake_turn(&d.loop);
    assert_int_equal(q->done, 1);
    assert_int_equal(q->r.result.err, err);
}

static void
test_not_with_the_driver(void **state)
{
    struct req a, waits, refused, delayed;

    (void)state;
    drv_open(&d, &drv_limits, 1);
    start(&a, BDEV_READ, 512, BDEV_F_PROMPT);
    start(&waits, BDEV_WRITE, 512, BDEV_F_PROMPT);
    cancel(&waits, -ECANCELED);
    ends(&waits, -ECANCELED);
    assert_int_equal(d.n, 1);
    blk_upcalls.requeue(d.rq[0], SEC(1));
    d.rq[0] = NULL;
    d.held--;
    cancel(&a, -ETIMEDOUT);
    ends(&a, -ETIMEDOUT);
    d.refuse = 1;
    start(&refused, BDEV_READ, 512, 0);
    fake_turn(&d.loop);
    cancel(&refused, -ECANCELED);
    ends(&refused, -ECANCELED);
    blk_upcalls.restart(d.b);
    fake_advance(&d.loop, SEC(2));
    assert_int_equal(d.n, 1); /* none is issued any more, and the driver was not asked */
    assert_int_equal(d.cancels, 0);
    start(&delayed, BDEV_READ, 512, BDEV_F_PROMPT); /* all is as before */
    drv_end(&d, 1, 0);
    ends(&delayed, 0);
    assert_int_equal(bdev_queue_outstanding(d.q), 0);
    drv_close(&d);
}

static void
test_with_the_driver(void **state)
{
    static const struct {
        int err, on_cancel;                         /* 0: it ends by and by, as follows */
        int then_err, then_host, then_status, told; /* how the request ends */
    } rows[] = {
        {-ECANCELED, 1, 0, 0, 0, -ECANCELED},
        {-ETIMEDOUT, 1, 0, 0, 0, -ETIMEDOUT},
        {-ECANCELED, 2, 0, 0, 0, -ECANCELED},
        {-ECANCELED, 0, 0, 0, 0, 0}, /* it had gone well */
        {-ECANCELED, 0, -EILSEQ, 0, 2, -EILSEQ},
        {-ECANCELED, 0, -ENOLINK, DID_ERROR, 0, -ECANCELED},
        {-ETIMEDOUT, 0, -ECANCELED, 0, 0x40, -ETIMEDOUT},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        for (uint32_t flags = 0; flags <= BDEV_F_PROMPT; flags += BDEV_F_PROMPT) {
            struct req a;

            drv_open(&d, &drv_limits, 2);
            start(&a, BDEV_WRITE, 4096, flags);
            d.on_cancel = rows[i].on_cancel;
            cancel(&a, rows[i].err);
            assert_int_equal(d.cancels, 1);
            assert_int_equal(d.cancel_err, rows[i].err);
            if (d.on_cancel == 0) {
                fake_turn(&d.loop);
                assert_int_equal(a.done, 0); /* the driver may still write to its memory */
                d.rq[0]->result = (struct bdev_result){.err = rows[i].then_err,
                                                       .host_result = (uint8_t)rows[i].then_host,
                                                       .scsi_status = (uint8_t)rows[i].then_status};
                blk_upcalls.complete(d.rq[0]);
            }
            ends(&a, rows[i].told);
            drv_close(&d);
            assert_int_equal(a.done, 1);
        }
    }
}

static void
test_deadline_still_runs(void **state)
{
    struct req a;

    (void)state;
    drv_open(&d, &drv_limits, 2);
    start(&a, BDEV_READ, 512, BDEV_F_PROMPT);
    cancel(&a, -ECANCELED);
    fake_advance(&d.loop, SEC(31));
    assert_int_equal(d.timeouts, 1); /* the driver may do more about it now */
    cancel(&a, -ETIMEDOUT);
    assert_int_equal(d.cancels, 2);
    assert_int_equal(d.cancel_err, -ETIMEDOUT);
    blk_upcalls.requeue(d.rq[0], 0);
    ends(&a, -ECANCELED); /* the first counts */
    drv_close(&d);
}

static void
test_some_pieces_here_and_some_there(void **state)
{
    struct req a;

    (void)state;
    drv_open(&d, &drv_limits, 3);
    start(&a, BDEV_WRITE, 8 * 65536, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3);
    blk_upcalls.requeue(d.rq[1], SEC(1));
    cancel(&a, -ECANCELED);
    assert_int_equal(d.cancels, 2);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 0);
    drv_end(&d, 2, 0);
    ends(&a, -ECANCELED); /* its pieces went well, but not all of it was issued */
    assert_int_equal(d.n, 3);
    drv_close(&d);
    assert_int_equal(a.done, 1);
}

static void
test_flush_behind_it(void **state)
{
    struct bdev_limits l = drv_limits;
    struct req a, b;

    (void)state;
    l.fua = false;
    drv_open(&d, &l, 2);
    start(&a, BDEV_WRITE, 512, BDEV_F_FUA);
    cancel(&a, -ECANCELED);
    drv_end(&d, 0, 0);
    ends(&a, -ECANCELED); /* written, but not stable: no flush follows */
    assert_int_equal(d.n, 1);
    start(&b, BDEV_WRITE, 512, BDEV_F_FUA);
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.log[2].op, BDEV_FLUSH);
    d.on_cancel = 1;
    cancel(&b, -ECANCELED);
    ends(&b, -ECANCELED);
    drv_close(&d);
}

static void
test_zeroes_by_writes(void **state)
{
    struct bdev_limits l = drv_limits;
    struct req a;

    (void)state;
    l.max_write_zeroes = 0;
    drv_open(&d, &l, 1);
    start(&a, BDEV_WRITE_ZEROES, 1 << 20, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 1);
    cancel(&a, -ECANCELED);
    drv_end(&d, 0, 0);
    ends(&a, -ECANCELED);
    assert_int_equal(d.n, 1);
    drv_close(&d);
}

static void
test_one_that_has_ended(void **state)
{
    struct req a, b;

    (void)state;
    drv_open(&d, &drv_limits, 2);
    start(&a, BDEV_READ, 512, 0);
    start(&b, BDEV_READ, 0, 0); /* ends without the device */
    drv_end(&d, 0, 0);
    cancel(&a, -ECANCELED); /* it is only not told yet */
    cancel(&b, -ECANCELED);
    ends(&a, 0);
    ends(&b, 0);
    assert_int_equal(d.cancels, 0);
    drv_close(&d);
}

/* A request that the driver has refused, and that does not fit any more when it is its turn again:
 * the next one with its tag has nothing of it, by whatever path it goes. */
static void
test_refused_and_then_too_far(void **state)
{
    struct bdev_limits small = drv_limits;
    struct req refused, next;

    (void)state;
    drv_open(&d, &drv_limits, 1);
    d.refuse = 1;
    req_init(&refused, &d, BDEV_WRITE, drv_limits.size - 512, 512);
    bdev_submit(d.q, &refused.r);
    fake_turn(&d.loop);
    assert_int_equal(refused.done, 0);
    small.size = drv_limits.size / 2;
    blk_upcalls.event(d.b, BDEV_EV_RESIZED, &small);
    blk_upcalls.restart(d.b);
    ends(&refused, -EINVAL);
    assert_int_equal(d.n, 0);
    start(&next, BDEV_READ, 512, BDEV_F_PROMPT); /* drv_queue_fast looks at its part */
    fake_turn(&d.loop);
    assert_int_equal(d.fast, 1);
    drv_end(&d, 0, 0);
    ends(&next, 0);
    drv_close(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_not_with_the_driver),
        cmocka_unit_test(test_with_the_driver),
        cmocka_unit_test(test_deadline_still_runs),
        cmocka_unit_test(test_some_pieces_here_and_some_there),
        cmocka_unit_test(test_flush_behind_it),
        cmocka_unit_test(test_zeroes_by_writes),
        cmocka_unit_test(test_one_that_has_ended),
        cmocka_unit_test(test_refused_and_then_too_far),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
