/* SPDX-License-Identifier: MIT */
/* Which requests are timed, and where their time goes as far as block/ knows. */
#include "tests/unit/block/fake_driver.h"

static struct drv d;

static void
open_watched(uint32_t depth, uint32_t every)
{
    drv_open(&d, &drv_limits, depth);
    bdev_set_watch(d.b, every, true);
}

static void
submit(struct req *q, enum bdev_op op, uint64_t len)
{
    req_init(q, &d, op, 0, len);
    assert_int_equal(bdev_submit(d.q, &q->r), 0);
}

/* A small request of a queue, which takes the fast path. */
static void
submit_fast(struct req *q)
{
    req_init(q, &d, BDEV_READ, 0, 4096);
    q->r.flags = BDEV_F_PROMPT;
    assert_int_equal(bdev_submit(d.q, &q->r), 0);
}

/* Time passes without a turn. */
static void
pass(uint64_t ns)
{
    d.loop.l.now_ns += ns;
}

static const struct latency *
stage(enum bdev_class c, enum io_stage s)
{
    return &bdev_get_latency(d.b)->stage[c][s];
}

/* What has been counted of the requests of the class; the stages add up. */
static void
check(enum bdev_class c, const uint64_t ms[IO_STAGES], uint64_t count)
{
    const struct bdev_latency *l = bdev_get_latency(d.b);
    uint64_t total = 0;

    assert_non_null(l);
    for (int i = 0; i < IO_STAGES; i++) {
        assert_int_equal(stage(c, (enum io_stage)i)->sum_ns, ms[i] * 1000000);
        assert_int_equal(latency_count(stage(c, (enum io_stage)i)), count);
        total += ms[i] * 1000000;
    }
    assert_int_equal(l->total[c].sum_ns, total);
    assert_int_equal(latency_count(&l->total[c]), count);
}

/* A driver that says nothing of what it does: all of that is the target's. */
static void
test_general(void **state)
{
    struct req a;

    (void)state;
    open_watched(4, 1);
    assert_null(bdev_get_latency(d.b));
    submit(&a, BDEV_READ, 4096);
    pass(MS(7));
    drv_end(&d, 0, 0);
    pass(MS(2));
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    check(BDEV_CLASS_READ, (const uint64_t[]){0, 0, 0, 7, 2}, 1);
    assert_int_equal(latency_count(&bdev_get_latency(d.b)->total[BDEV_CLASS_WRITE]), 0);
    assert_int_equal(bdev_get_latency(d.b)->timed, 1);
    drv_close(&d);
}

static void
test_fast(void **state)
{
    struct req a;

    (void)state;
    open_watched(4, 1);
    submit_fast(&a);
    assert_int_equal(d.fast, 1);
    pass(MS(3));
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    check(BDEV_CLASS_READ, (const uint64_t[]){0, 0, 0, 3, 0}, 1);
    drv_close(&d);
}

/* No tag is free: that is the queue's time.  The unit is full: that is the window's. */
static void
test_waits(void **state)
{
    struct req a, b;

    (void)state;
    open_watched(1, 1);
    submit(&a, BDEV_WRITE, 512);
    submit(&b, BDEV_READ, 512);
    pass(MS(5));
    drv_end(&d, 0, 0);
    d.refuse = 1;
    fake_turn(&d.loop); /* b comes to the driver, which has no room */
    assert_int_equal(a.done, 1);
    pass(MS(11));
    blk_upcalls.restart(d.b);
    fake_turn(&d.loop);
    pass(MS(1));
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_int_equal(b.done, 1);
    check(BDEV_CLASS_WRITE, (const uint64_t[]){0, 0, 0, 5, 0}, 1);
    check(BDEV_CLASS_READ, (const uint64_t[]){5, 11, 0, 1, 0}, 1);
    drv_close(&d);
}

/* The same for one that the driver refuses on the fast path. */
static void
test_fast_is_refused(void **state)
{
    struct req a;

    (void)state;
    open_watched(4, 1);
    d.refuse = 1;
    submit_fast(&a);
    pass(MS(4));
    blk_upcalls.restart(d.b);
    fake_turn(&d.loop);
    pass(MS(6));
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    check(BDEV_CLASS_READ, (const uint64_t[]){0, 4, 0, 6, 0}, 1);
    drv_close(&d);
}

/* The driver has ended it before it comes back from taking it. */
static void
test_ends_inside(void **state)
{
    struct req a, b;

    (void)state;
    open_watched(4, 1);
    d.fail_inside = -EIO;
    submit(&a, BDEV_READ, 512);
    submit_fast(&b);
    fake_turn(&d.loop);
    assert_int_equal(a.done + b.done, 2);
    check(BDEV_CLASS_READ, (const uint64_t[]){0, 0, 0, 0, 0}, 2);
    drv_close(&d);
}

/* What is given back waits to be sent again; all of it is one request's. */
static void
test_requeue(void **state)
{
    struct req a;

    (void)state;
    open_watched(4, 1);
    submit_fast(&a);
    pass(MS(1));
    d.held--;
    blk_upcalls.requeue(d.rq[0], MS(8));
    d.rq[0] = NULL;
    fake_advance(&d.loop, MS(8));
    assert_int_equal(d.n, 2);
    pass(MS(2));
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    check(BDEV_CLASS_READ, (const uint64_t[]){0, 8, 0, 3, 0}, 1);
    drv_close(&d);
}

/* The watch goes with the first piece; what comes after is still to be received. */
static void
test_pieces(void **state)
{
    struct req a;

    (void)state;
    open_watched(1, 1);
    submit(&a, BDEV_READ, 2 * 65536);
    fake_turn(&d.loop);
    pass(MS(3));
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    pass(MS(4));
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    check(BDEV_CLASS_READ, (const uint64_t[]){0, 0, 0, 3, 4}, 1);
    drv_close(&d);
}

/* A write that must be stable, on a device that has no FUA: the flush is part of it. */
static void
test_flush_behind_a_write(void **state)
{
    struct bdev_limits l = drv_limits;
    struct req a;

    (void)state;
    l.fua = false;
    drv_open(&d, &l, 4);
    bdev_set_watch(d.b, 1, false);
    req_init(&a, &d, BDEV_WRITE, 0, 512);
    a.r.flags = BDEV_F_FUA;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    pass(MS(1));
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.log[1].op, BDEV_FLUSH);
    pass(MS(9));
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    check(BDEV_CLASS_WRITE, (const uint64_t[]){0, 0, 0, 1, 9}, 1);
    drv_close(&d);
}

/* Nobody waits for the device: there is nothing to time, and it is counted all the same. */
static void
test_done_without_the_device(void **state)
{
    struct req a;
    struct bdev_stats s;

    (void)state;
    open_watched(4, 1);
    submit(&a, BDEV_READ, 0);
    assert_int_equal(bdev_queue_outstanding(d.q), 1);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    assert_null(bdev_get_latency(d.b));
    bdev_get_stats(d.b, &s);
    assert_int_equal(s.op[BDEV_READ].reqs, 1);
    drv_close(&d);
}

/* One in ten is timed, counts for all, and none is lost or counted twice, however requests come. */
static void
test_one_in_many(void **state)
{
    struct req a[7];
    struct bdev_stats s;
    uint64_t n = 0;

    (void)state;
    open_watched(4, 10);
    for (unsigned i = 0; i < 1000; i++) {
        for (unsigned k = 0; k < 7; k++) {
            if (k % 3 == 0)
                submit(&a[k], BDEV_READ, 4096);
            else
                submit_fast(&a[k]);
            n++;
        }
        do {
            drv_end_all(&d);
            fake_turn(&d.loop);
        } while (bdev_queue_outstanding(d.q) > 0);
        if (d.n > DRV_MAX - 20)
            d.n = 0;
    }
    bdev_get_stats(d.b, &s);
    assert_int_equal(s.op[BDEV_READ].reqs, n);
    assert_int_equal(s.pieces, n);
    assert_in_range(bdev_get_latency(d.b)->timed, n / 11, n / 9);
    assert_in_range(latency_count(&bdev_get_latency(d.b)->total[BDEV_CLASS_READ]), n - 19, n);
    drv_close(&d);
}

/* With few requests each one is timed, about one in twenty milliseconds. */
static void
test_few_requests(void **state)
{
    struct req a;

    (void)state;
    open_watched(4, 1000);
    for (unsigned i = 0; i < 20; i++) {
        submit_fast(&a);
        fake_turn(&d.loop);
        pass(MS(40));
        drv_end(&d, i, 0);
        fake_turn(&d.loop);
    }
    assert_int_equal(bdev_get_latency(d.b)->timed, 19); /* but the first, with which it begins */
    for (unsigned i = 0; i < 100; i++) {
        submit_fast(&a);
        fake_turn(&d.loop);
        pass(MS(1));
        drv_end(&d, 20 + i, 0);
        fake_turn(&d.loop);
    }
    assert_in_range(bdev_get_latency(d.b)->timed, 19 + 3, 19 + 10);
    drv_close(&d);
}

/* Any request of a batch may be the one that is timed, not only the first. */
static void
test_not_the_first_of_a_batch(void **state)
{
    struct req a[8];
    unsigned seen[8] = {0}, places = 0;
    uint64_t timed = 0;

    (void)state;
    open_watched(8, 100000);
    for (unsigned i = 0; i < 400; i++) {
        for (unsigned k = 0; k < 8; k++)
            submit_fast(&a[k]);
        fake_turn(&d.loop);
        fake_advance(&d.loop, MS(40));
        for (unsigned k = 0; k < 8; k++) {
            drv_end(&d, d.n - 8 + k, 0);
            fake_turn(&d.loop);
            if (bdev_get_latency(d.b) != NULL && bdev_get_latency(d.b)->timed > timed) {
                seen[k]++;
                timed = bdev_get_latency(d.b)->timed;
            }
        }
    }
    for (unsigned k = 0; k < 8; k++)
        places += seen[k] > 20;
    assert_int_equal(places, 8);
    drv_close(&d);
}

/* More are to be timed than there is room for: those that are not count with the next one. */
static void
test_all_places_are_taken(void **state)
{
    struct req a[40];

    (void)state;
    open_watched(40, 1);
    for (unsigned i = 0; i < 40; i++)
        submit_fast(&a[i]);
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(bdev_get_latency(d.b)->timed, 16);
    submit_fast(&a[0]);
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(latency_count(&bdev_get_latency(d.b)->total[BDEV_CLASS_READ]), 41);
    drv_close(&d);
}

static void
test_off_and_on(void **state)
{
    struct req a;

    (void)state;
    open_watched(4, 0);
    for (unsigned i = 0; i < 50; i++) {
        submit_fast(&a);
        fake_turn(&d.loop);
        pass(MS(50));
        drv_end(&d, i, 0);
        fake_turn(&d.loop);
    }
    assert_null(bdev_get_latency(d.b));
    bdev_set_watch(d.b, 1, false);
    submit(&a, BDEV_FLUSH, 0);
    fake_turn(&d.loop);
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(latency_count(&bdev_get_latency(d.b)->total[BDEV_CLASS_OTHER]), 51);
    drv_close(&d);
}

/* What is timed while everything ends is let go of. */
static void
test_cancel_and_free(void **state)
{
    struct req a, b, c;

    (void)state;
    open_watched(1, 1);
    submit(&a, BDEV_READ, 512);
    submit(&b, BDEV_READ, 512);
    bdev_cancel(d.q, &b.r, -ECANCELED);
    fake_turn(&d.loop);
    assert_int_equal(b.done, 1);
    d.on_cancel = 2;
    bdev_cancel(d.q, &a.r, -ECANCELED);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(latency_count(&bdev_get_latency(d.b)->total[BDEV_CLASS_READ]), 2);
    submit_fast(&a);
    submit_fast(&b);
    submit(&c, BDEV_WRITE, 3 * 65536);
    drv_close(&d);
    assert_int_equal(a.done + b.done + c.done, 3);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_general),
        cmocka_unit_test(test_fast),
        cmocka_unit_test(test_waits),
        cmocka_unit_test(test_fast_is_refused),
        cmocka_unit_test(test_ends_inside),
        cmocka_unit_test(test_requeue),
        cmocka_unit_test(test_pieces),
        cmocka_unit_test(test_flush_behind_a_write),
        cmocka_unit_test(test_done_without_the_device),
        cmocka_unit_test(test_one_in_many),
        cmocka_unit_test(test_few_requests),
        cmocka_unit_test(test_not_the_first_of_a_batch),
        cmocka_unit_test(test_all_places_are_taken),
        cmocka_unit_test(test_off_and_on),
        cmocka_unit_test(test_cancel_and_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
