/* SPDX-License-Identifier: MIT */
#include "tests/unit/block/fake_driver.h"

static struct drv d;

static void
test_issue_at_once_and_complete_later(void **state)
{
    struct req a;

    (void)state;
    drv_open(&d, &drv_limits, 4);
    req_init(&a, &d, BDEV_READ, 4096, 8192);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    assert_int_equal(d.n, 1); /* issued from inside submit, not yet committed */
    assert_int_equal(d.commits, 0);
    bdev_commit(d.q);
    assert_int_equal(d.commits, 1);
    drv_end(&d, 0, 0);
    assert_int_equal(a.done, 0); /* later, in lists */
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    assert_int_equal(d.commits, 1);
    assert_int_equal(bdev_queue_outstanding(d.q), 0);
    drv_close(&d);
}

static void
test_commit_by_itself_at_the_end_of_the_turn(void **state)
{
    struct req a[3];

    (void)state;
    drv_open(&d, &drv_limits, 4);
    for (int i = 0; i < 3; i++) {
        req_init(&a[i], &d, BDEV_WRITE, 0, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3);
    assert_int_equal(d.commits, 1);
    drv_end_all(&d);
    drv_close(&d);
    for (int i = 0; i < 3; i++)
        assert_int_equal(a[i].done, 1);
}

static void
resubmit(struct req *q)
{
    if (q->done < 5) {
        unsigned n = q->d->n;

        assert_int_equal(bdev_submit(q->d->q, &q->r), 0);
        assert_int_equal(q->d->n, n); /* not from inside the delivery */
    }
}

static void
test_resubmission_is_dispatched_once_per_turn(void **state)
{
    struct req a[4];

    (void)state;
    drv_open(&d, &drv_limits, 4);
    for (int i = 0; i < 4; i++) {
        req_init(&a[i], &d, BDEV_READ, 0, 512);
        a[i].then = resubmit;
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_turn(&d.loop);
    for (int turn = 0; turn < 5; turn++) {
        unsigned commits = d.commits;

        drv_end_all(&d);
        fake_turn(&d.loop);
        assert_int_equal(d.commits, commits + (turn < 4));
    }
    assert_int_equal(a[3].done, 5);
    assert_int_equal(d.n, 20);
    drv_close(&d);
}

static void
test_order_and_depth(void **state)
{
    struct req a[10];

    (void)state;
    drv_open(&d, &drv_limits, 3);
    for (unsigned i = 0; i < 10; i++) {
        req_init(&a[i], &d, BDEV_READ, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_turn(&d.loop);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal(d.n, i + 3 < 10 ? i + 3 : 10);
        assert_int_equal(d.log[i].offset, i * 512);
        drv_end(&d, i, 0);
        fake_turn(&d.loop);
        assert_int_equal(a[i].done, 1);
    }
    drv_close(&d);
}

static void
test_busy_waits_for_restart(void **state)
{
    struct req a[3];
    struct bdev_stats s;

    (void)state;
    drv_open(&d, &drv_limits, 8);
    d.refuse = 1;
    for (unsigned i = 0; i < 3; i++) {
        req_init(&a[i], &d, BDEV_READ, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_advance(&d.loop, SEC(100)); /* no deadline runs for what the driver did not take */
    assert_int_equal(d.n, 0);
    assert_int_equal(d.timeouts, 0);
    blk_upcalls.restart(d.b);
    assert_int_equal(d.n, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(d.log[i].offset, i * 512); /* the refused one first */
    bdev_get_stats(d.b, &s);
    assert_int_equal(s.busy, 1);
    drv_end_all(&d);
    drv_close(&d);
}

static void
test_requeue_with_delay(void **state)
{
    struct req a[2];
    struct blk_request *rq;

    (void)state;
    drv_open(&d, &drv_limits, 8);
    for (unsigned i = 0; i < 2; i++) {
        req_init(&a[i], &d, BDEV_READ, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    rq = d.rq[0];
    d.rq[0] = NULL;
    rq->retries = 3;
    blk_upcalls.requeue(rq, MS(50));
    rq = d.rq[1];
    d.rq[1] = NULL;
    blk_upcalls.requeue(rq, MS(20));
    fake_advance(&d.loop, MS(19));
    assert_int_equal(d.n, 2);
    fake_advance(&d.loop, MS(1));
    assert_int_equal(d.n, 3);
    assert_int_equal(d.log[2].offset, 512);
    fake_advance(&d.loop, MS(30));
    assert_int_equal(d.n, 4);
    assert_int_equal(d.rq[3]->retries, 3); /* the driver's count survives */
    rq = d.rq[3];
    d.rq[3] = NULL;
    blk_upcalls.requeue(rq, 0);
    assert_int_equal(d.n, 4);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 5);
    drv_end(&d, 4, 0);
    drv_end(&d, 2, 0);
    fake_turn(&d.loop);
    assert_int_equal(a[0].done + a[1].done, 2);
    drv_close(&d);
}

static void
test_deadlines_share_a_timer(void **state)
{
    struct req a, b;
    unsigned starts;

    (void)state;
    drv_open(&d, &drv_limits, 8);
    bdev_set_watch(d.b, 0, false); /* which has a timer */
    d.on_timeout = BLK_TIMEOUT_RESET_TIMER;
    req_init(&a, &d, BDEV_READ, 0, 512);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    starts = d.loop.timer_starts;
    for (int i = 0; i < 1000; i++) { /* answered requests start no timer */
        req_init(&b, &d, BDEV_READ, 0, 512);
        assert_int_equal(bdev_submit(d.q, &b.r), 0);
        drv_end(&d, d.n - 1, 0);
        fake_advance(&d.loop, MS(1));
    }
    assert_int_equal(d.loop.timer_starts, starts);
    fake_advance(&d.loop, SEC(28));
    assert_int_equal(d.timeouts, 0);
    fake_advance(&d.loop, SEC(1));
    assert_int_equal(d.timeouts, 1); /* 30 s after a was issued */
    fake_advance(&d.loop, SEC(31));
    assert_int_equal(d.timeouts, 2); /* it was given more time */
    d.on_timeout = BLK_TIMEOUT_DRIVER_HAS_IT;
    fake_advance(&d.loop, SEC(100));
    assert_int_equal(d.timeouts, 3); /* asked once more, then never again */
    drv_end(&d, 0, -ETIMEDOUT);
    fake_turn(&d.loop);
    assert_int_equal(a.r.result.err, -ETIMEDOUT);
    drv_close(&d);
}

static void
test_timeouts_by_op_and_request(void **state)
{
    static const struct {
        enum bdev_op op;
        uint32_t ms, after_ms;
    } rows[] = {
        {BDEV_READ, 0, 30000}, {BDEV_FLUSH, 0, 60000},   {BDEV_WRITE_ZEROES, 0, 120000},
        {BDEV_READ, 700, 700}, {BDEV_FLUSH, 5000, 5000},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct req a;

        drv_open(&d, &drv_limits, 8);
        req_init(&a, &d, rows[i].op, 0, rows[i].op == BDEV_FLUSH ? 0 : 512);
        a.r.timeout_ms = rows[i].ms;
        assert_int_equal(bdev_submit(d.q, &a.r), 0);
        fake_advance(&d.loop, MS(rows[i].after_ms) - 1);
        assert_int_equal(d.timeouts, 0);
        fake_advance(&d.loop, 1);
        assert_int_equal(d.timeouts, 1);
        drv_end(&d, 0, 0);
        fake_turn(&d.loop);
        drv_close(&d);
    }
}

static void
test_what_makes_no_sense_is_refused(void **state)
{
    struct req a;
    struct bdev_limits ro = drv_limits;
    uint8_t cdb[6] = {0};

    (void)state;
    drv_open(&d, &drv_limits, 8);
#define REFUSED(err, op, off, len)                                                                 \
    do {                                                                                           \
        req_init(&a, &d, op, off, len);                                                            \
        assert_int_equal(bdev_submit(d.q, &a.r), err);                                             \
    } while (0)
    REFUSED(-EINVAL, BDEV_READ, 1, 512);
    REFUSED(-EINVAL, BDEV_READ, 0, 511);
    REFUSED(-EINVAL, BDEV_READ, 1 << 30, 512);
    REFUSED(-EINVAL, BDEV_WRITE, (1 << 30) - 512, 1024);
    REFUSED(-EINVAL, BDEV_READ, UINT64_MAX - 511, 1024);
    REFUSED(-EINVAL, BDEV_DISCARD, 512, 1 << 30);
    REFUSED(-EINVAL, BDEV_WRITE_ZEROES, 100, 512);
    REFUSED(-EINVAL, BDEV_COMPARE_WRITE, 0, 8192);
    REFUSED(-EINVAL, BDEV_NOPS, 0, 512);
    REFUSED(-EINVAL, BDEV_SCSI, 0, 0); /* no CDB */
    req_init(&a, &d, BDEV_READ, 0, 1024);
    a.iov.iov_len = 1023;
    assert_int_equal(bdev_submit(d.q, &a.r), -EINVAL);
    req_init(&a, &d, BDEV_SCSI, 7, 7); /* limits do not count for pass-through */
    a.r.cdb = cdb;
    a.r.cdb_len = 6;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    blk_upcalls.event(d.b, BDEV_EV_GONE, NULL);
    REFUSED(-ENODEV, BDEV_READ, 0, 512);
    drv_close(&d);
    ro.read_only = true;
    ro.max_compare_write = 0;
    drv_open(&d, &ro, 8);
    REFUSED(-EROFS, BDEV_WRITE, 0, 512);
    REFUSED(-EROFS, BDEV_DISCARD, 0, 512);
    REFUSED(-EROFS, BDEV_WRITE_ZEROES, 0, 512);
    REFUSED(-EOPNOTSUPP, BDEV_COMPARE_WRITE, 0, 512);
    assert_int_equal(d.n, 0);
    assert_int_equal(bdev_queue_outstanding(d.q), 0);
    drv_close(&d);
#undef REFUSED
}

static void
test_block_status(void **state)
{
    struct bdev_limits ro = drv_limits;
    struct bdev_extent e[BDEV_EXTENTS_MIN];
    struct req a;

    (void)state;
    ro.read_only = true;
    drv_open(&d, &ro, 8);
    req_init(&a, &d, BDEV_BLOCK_STATUS, 512, 1 << 29);
    assert_int_equal(bdev_submit(d.q, &a.r), -EINVAL); /* no room for the answer */
    a.r.extents = e;
    a.r.extents_max = BDEV_EXTENTS_MIN - 1;
    assert_int_equal(bdev_submit(d.q, &a.r), -EINVAL);
    a.r.extents_max = BDEV_EXTENTS_MIN;
    a.r.extents_n = 77;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    assert_int_equal(d.n, 1); /* it is not cut, however long it is */
    assert_int_equal(a.r.extents_n, 0);
    a.r.extents_n = 1;
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(a.r.result.err, 0);
    assert_int_equal(a.r.extents_n, 1); /* as the driver has set it */
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    drv_end(&d, 1, -EOPNOTSUPP);
    fake_turn(&d.loop);
    assert_int_equal(a.r.result.err, 0);
    assert_int_equal(a.r.extents_n, 1);
    assert_int_equal(e[0].len, 1 << 29);
    assert_int_equal(e[0].state, 0);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    drv_end(&d, 2, -EIO);
    fake_turn(&d.loop);
    assert_int_equal(a.r.result.err, -EIO);
    assert_int_equal(a.r.extents_n, 0);
    a.r.len = 0;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 4);
    assert_int_equal(a.r.extents_n, 0);
    assert_int_equal(d.n, 3);
    drv_close(&d);
}

static void
test_done_without_the_device(void **state)
{
    struct bdev_limits l = drv_limits;
    struct req a[4];

    (void)state;
    l.write_cache = false;
    l.max_discard = 0;
    drv_open(&d, &l, 8);
    req_init(&a[0], &d, BDEV_READ, 0, 0);
    req_init(&a[1], &d, BDEV_WRITE, 512, 0);
    req_init(&a[2], &d, BDEV_FLUSH, 0, 0);
    req_init(&a[3], &d, BDEV_DISCARD, 0, 4096);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
        assert_int_equal(a[i].done, 0);
    }
    fake_turn(&d.loop);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].r.result.err, 0);
    }
    assert_int_equal(d.n, 0);
    drv_close(&d);
}

static void
test_fua(void **state)
{
    struct bdev_limits l = drv_limits;
    struct req a;

    (void)state;
    drv_open(&d, &l, 8); /* the device has FUA: on each piece, no flush */
    req_init(&a, &d, BDEV_WRITE, 0, 131072);
    a.r.flags = BDEV_F_FUA;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 2);
    assert_int_equal(d.log[0].flags & d.log[1].flags & BDEV_F_FUA, BDEV_F_FUA);
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 2);
    assert_int_equal(a.done, 1);
    drv_close(&d);

    l.fua = false; /* one flush, after the last piece */
    drv_open(&d, &l, 8);
    req_init(&a, &d, BDEV_WRITE, 0, 131072);
    a.r.flags = BDEV_F_FUA;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 2);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3);
    assert_int_equal(d.log[2].op, BDEV_FLUSH);
    assert_int_equal(a.done, 0);
    drv_end(&d, 2, -EIO);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -EIO);
    drv_close(&d);

    l.write_cache = false; /* nothing to flush */
    drv_open(&d, &l, 8);
    req_init(&a, &d, BDEV_WRITE, 0, 512);
    a.r.flags = BDEV_F_FUA;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 1);
    assert_int_equal(a.done, 1);
    drv_close(&d);
}

static void
test_first_error_wins(void **state)
{
    struct req a;
    uint8_t sense[SCSI_SENSE_MAX];

    (void)state;
    drv_open(&d, &drv_limits, 3);
    req_init(&a, &d, BDEV_READ, 0, 65536 * 6);
    a.r.sense = sense;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3);
    assert_ptr_equal(blk_request_sense(d.rq[0]), sense);
    drv_end(&d, 1, -ENOSPC);
    assert_null(blk_request_sense(d.rq[0])); /* later ones must not write over it */
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3); /* nothing more is issued */
    drv_end(&d, 0, -EIO);
    drv_end(&d, 2, 0);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENOSPC);
    drv_close(&d);
}

static void
test_zeroes_become_writes(void **state)
{
    struct bdev_limits l = drv_limits;
    struct bdev_stats s;
    struct req a;
    uint64_t at = 0;

    (void)state;
    drv_open(&d, &drv_limits, 8);
    req_init(&a, &d, BDEV_WRITE_ZEROES, 0, 200 * 1024);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    assert_int_equal(d.log[0].op, BDEV_WRITE_ZEROES);
    drv_end(&d, 0, -EOPNOTSUPP);
    for (unsigned i = 1; at < 200 * 1024; i++) {
        fake_turn(&d.loop);
        assert_int_equal(d.n, i + 1);
        assert_int_equal(d.log[i].op, BDEV_WRITE);
        assert_int_equal(d.log[i].offset, at);
        assert_int_equal(d.log[i].data_len, d.log[i].len);
        at += d.log[i].len;
        assert_int_equal(a.done, 0);
        drv_end(&d, i, 0);
    }
    fake_turn(&d.loop);
    assert_int_equal(at, 200 * 1024);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    drv_close(&d);

    l.max_write_zeroes = 0; /* known from the start: in parallel */
    drv_open(&d, &l, 8);
    req_init(&a, &d, BDEV_WRITE_ZEROES, 0, 200 * 1024);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 4);
    for (unsigned i = 0; i < d.n; i++) {
        struct sg_cursor c;
        static char page[65536], zero[65536];

        memset(page, 1, sizeof(page));
        sg_cursor_init(&c, &d.rq[i]->data);
        sg_copy_from(&c, &d.rq[i]->data, page, d.rq[i]->data.len);
        assert_memory_equal(page, zero, d.rq[i]->data.len);
    }
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    bdev_get_stats(d.b, &s);
    assert_int_equal(s.op[BDEV_WRITE_ZEROES].reqs, 1);
    assert_int_equal(s.op[BDEV_WRITE_ZEROES].bytes, 200 * 1024);
    assert_int_equal(s.splits, 1);
    assert_int_equal(s.pieces, 4);
    drv_close(&d);
}

/* Unless they are to be fast: then the submitter hears that the device cannot. */
static void
test_fast_zeroes_stay(void **state)
{
    struct bdev_limits l = drv_limits;
    struct req a;

    (void)state;
    drv_open(&d, &drv_limits, 8);
    req_init(&a, &d, BDEV_WRITE_ZEROES, 0, 3 << 20);
    a.r.flags = BDEV_F_FAST;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3);
    drv_end(&d, 0, 0);
    drv_end(&d, 1, -EOPNOTSUPP);
    drv_end(&d, 2, -EOPNOTSUPP);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 3); /* no writes */
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -EOPNOTSUPP);
    drv_close(&d);

    drv_open(&d, &drv_limits, 1); /* found out while some of it waits */
    req_init(&a, &d, BDEV_WRITE_ZEROES, 0, 2 << 20);
    a.r.flags = BDEV_F_FAST;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    l.max_write_zeroes = 0;
    blk_upcalls.event(d.b, BDEV_EV_LIMITS, &l);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 1);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -EOPNOTSUPP);
    assert_int_equal(bdev_submit(d.q, &a.r), -EOPNOTSUPP); /* known from the start */
    a.r.flags = 0;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    drv_close(&d);
}

/* A small request does not wait until all the pieces of a large one have been issued. */
static void
test_pieces_take_turns(void **state)
{
    struct req a, b, c;

    (void)state;
    drv_open(&d, &drv_limits, 2);
    req_init(&a, &d, BDEV_READ, 0, 6 * 65536);
    req_init(&b, &d, BDEV_READ, 1 << 20, 512);
    req_init(&c, &d, BDEV_READ, 2 << 20, 2 * 65536);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 2);
    assert_int_equal(bdev_submit(d.q, &b.r), 0);
    assert_int_equal(bdev_submit(d.q, &c.r), 0);
    for (unsigned i = 0; i < 6; i += 2) {
        drv_end(&d, i, 0);
        drv_end(&d, i + 1, 0);
        fake_turn(&d.loop);
    }
    assert_int_equal(d.n, 8);
    assert_int_equal(d.log[2].offset, 2 * 65536);
    assert_int_equal(d.log[3].offset, 1 << 20);
    assert_int_equal(d.log[4].offset, 2 << 20);
    assert_int_equal(d.log[5].offset, 3 * 65536);
    assert_int_equal(d.log[6].offset, (2 << 20) + 65536);
    assert_int_equal(d.log[7].offset, 4 * 65536);
    assert_int_equal(b.done, 1);
    drv_end_all(&d);
    fake_turn(&d.loop);
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 9);
    assert_int_equal(a.done, 1);
    assert_int_equal(c.done, 1);
    drv_close(&d);
}

static void
test_discard_is_a_hint(void **state)
{
    struct req a;

    (void)state;
    drv_open(&d, &drv_limits, 8);
    req_init(&a, &d, BDEV_DISCARD, 0, 4096);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    drv_end(&d, 0, -EOPNOTSUPP);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    drv_close(&d);
}

static void
test_driver_completes_from_inside_queue_rq(void **state)
{
    struct req a[2];

    (void)state;
    drv_open(&d, &drv_limits, 2);
    d.fail_inside = -ENODEV;
    req_init(&a[0], &d, BDEV_READ, 0, 65536 * 40);
    req_init(&a[1], &d, BDEV_READ, 0, 512);
    a[0].iov.iov_len = 65536 * 40;
    assert_int_equal(bdev_submit(d.q, &a[0].r), 0);
    assert_int_equal(bdev_submit(d.q, &a[1].r), 0);
    assert_int_equal(a[0].done + a[1].done, 0);
    fake_turn(&d.loop);
    assert_int_equal(a[0].done, 1);
    assert_int_equal(a[1].done, 1);
    assert_int_equal(a[0].r.result.err, -ENODEV);
    assert_int_equal(d.n, 2);
    drv_close(&d);
}

static void
test_free_fails_each_once(void **state)
{
    struct req a[12];

    (void)state;
    drv_open(&d, &drv_limits, 4);
    for (unsigned i = 0; i < 12; i++) {
        req_init(&a[i], &d, i == 3 ? BDEV_WRITE : BDEV_READ, 0, i == 3 ? 65536 * 4 : 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_turn(&d.loop);
    drv_end(&d, 0, 0); /* finished, not delivered */
    blk_upcalls.requeue(d.rq[1], MS(10));
    blk_upcalls.requeue(d.rq[2], 0);
    drv_close(&d);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].r.result.err, i == 0 ? 0 : -ENODEV);
    }
    fake_advance(&d.loop, SEC(100));
}

static void
on_drained(void *user)
{
    struct drv *drv = user;

    assert_int_equal(bdev_queue_outstanding(drv->q), 0);
    blk_dev_free(&drv->b);
}

static void
test_drain(void **state)
{
    struct req a[2], b;

    (void)state;
    drv_open(&d, &drv_limits, 1);
    for (int i = 0; i < 2; i++) {
        req_init(&a[i], &d, BDEV_READ, 0, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    assert_int_equal(bdev_drain(d.b, on_drained, &d), -EINPROGRESS);
    req_init(&b, &d, BDEV_READ, 0, 512);
    assert_int_equal(bdev_submit(d.q, &b.r), -ENODEV);
    fake_turn(&d.loop);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_non_null(d.b);
    assert_int_equal(d.n, 2); /* what was there goes on */
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_null(d.b);
    assert_int_equal(a[0].done + a[1].done, 2);
    drv_open(&d, &drv_limits, 1);
    assert_int_equal(bdev_drain(d.b, on_drained, &d), 0);
    drv_close(&d);
}

static enum bdev_event heard;

static void
hear(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    (void)l;
    (void)b;
    heard = ev;
}

static void
test_events_carry_limits(void **state)
{
    struct bdev_limits l = drv_limits;
    struct bdev_listener ear = {.event = hear};
    struct req a;

    (void)state;
    drv_open(&d, &drv_limits, 1);
    bdev_listen(d.b, &ear);
    l.size *= 2;
    blk_upcalls.event(d.b, BDEV_EV_RESIZED, &l);
    assert_int_equal(heard, BDEV_EV_RESIZED);
    req_init(&a, &d, BDEV_READ, 1 << 30, 512);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    bdev_unlisten(&ear);
    blk_upcalls.event(d.b, BDEV_EV_GONE, NULL);
    assert_int_equal(heard, BDEV_EV_RESIZED);
    drv_close(&d);
    l.block_size = 500;
    assert_int_equal(blk_dev_new(&drv_ops, &d, &l, &d.b), -EINVAL);
}

static void
test_gone_driver_is_left_alone(void **state)
{
    struct req a[6];

    (void)state;
    drv_open(&d, &drv_limits, 3);
    for (unsigned i = 0; i < 6; i++) {
        req_init(&a[i], &d, BDEV_READ, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    blk_upcalls.requeue(d.rq[0], MS(10));
    blk_upcalls.requeue(d.rq[1], 0);
    blk_upcalls.event(d.b, BDEV_EV_GONE, NULL);
    fake_advance(&d.loop, SEC(100));
    assert_int_equal(d.n, 3);
    assert_int_equal(d.commits, 0);
    assert_int_equal(d.timeouts, 0);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(a[i].done, i != 2);
        assert_int_equal(a[i].r.result.err, i != 2 ? -ENODEV : 0);
    }
    drv_end(&d, 2, 0); /* what it had it may still give back */
    fake_turn(&d.loop);
    assert_int_equal(a[2].done, 1);
    assert_int_equal(a[2].r.result.err, 0);
    drv_close(&d);
}

static void
test_gone_with_its_own_error(void **state)
{
    struct req a[3];

    (void)state;
    drv_open(&d, &drv_limits, 1);
    for (unsigned i = 0; i < 2; i++) {
        req_init(&a[i], &d, BDEV_WRITE, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    blk_upcalls.requeue(d.rq[0], 0);
    blk_upcalls.gone(d.b, -ENXIO);
    blk_upcalls.event(d.b, BDEV_EV_GONE, NULL); /* the first reason stays */
    fake_turn(&d.loop);
    assert_int_equal(d.n, 1);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].r.result.err, -ENXIO);
    }
    req_init(&a[2], &d, BDEV_READ, 0, 512);
    assert_int_equal(bdev_submit(d.q, &a[2].r), -ENXIO);
    drv_close(&d);
}

/* ---- the clock of the device ---------------------------------------------------------------- */

/* The general path and the fast one: what was left of 30 s when the clock stopped is left when it
 * runs on, whatever has passed between. */
static void
test_clock_stands_still(void **state)
{
    struct req a[2];

    (void)state;
    for (int general = 0; general < 2; general++) {
        drv_open(&d, &drv_limits, 4);
        d.general = general != 0;
        d.on_timeout = BLK_TIMEOUT_DRIVER_HAS_IT;
        req_init(&a[0], &d, BDEV_READ, 0, 512);
        a[0].r.flags = BDEV_F_PROMPT;
        assert_int_equal(bdev_submit(d.q, &a[0].r), 0);
        fake_advance(&d.loop, SEC(20));
        req_init(&a[1], &d, BDEV_FLUSH, 0, 0);
        assert_int_equal(bdev_submit(d.q, &a[1].r), 0);
        fake_advance(&d.loop, SEC(5));
        for (int i = 0; i < 3; i++) { /* again and again */
            blk_upcalls.clock(d.b, false);
            blk_upcalls.clock(d.b, false);
            blk_check_fast(d.b);
            fake_advance(&d.loop, SEC(1000));
            blk_upcalls.clock(d.b, true);
            blk_upcalls.clock(d.b, true);
            blk_check_fast(d.b);
        }
        assert_int_equal(d.timeouts, 0);
        fake_advance(&d.loop, SEC(4));
        assert_int_equal(d.timeouts, 0);
        fake_advance(&d.loop, MS(1001));
        assert_int_equal(d.timeouts, 1); /* the read: 30 s */
        fake_advance(&d.loop, SEC(48));
        assert_int_equal(d.timeouts, 1);
        fake_advance(&d.loop, SEC(2));
        assert_int_equal(d.timeouts, 2); /* the flush: 60 s */
        drv_end_all(&d);
        fake_turn(&d.loop);
        assert_int_equal(a[0].done, 1);
        assert_int_equal(a[1].done, 1);
        drv_close(&d);
    }
}

/* What waits, or came back to be issued again, grows no older either, and a queue that is made in
 * the meantime has nothing to move. */
static void
test_clock_of_what_waits(void **state)
{
    struct bdev_queue *q2;
    struct req a[2];
    uint64_t start;

    (void)state;
    drv_open(&d, &drv_limits, 4);
    for (unsigned i = 0; i < 2; i++) {
        req_init(&a[i], &d, BDEV_WRITE, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_advance(&d.loop, SEC(1));
    start = d.rq[0]->start_ns;
    d.refuse = UINT32_MAX;
    blk_upcalls.requeue(d.rq[0], 0);
    blk_upcalls.requeue(d.rq[1], SEC(2));
    blk_upcalls.clock(d.b, false);
    assert_int_equal(bdev_queue_new(d.b, &d.loop.l, 4, &q2), 0);
    fake_advance(&d.loop, SEC(500));
    blk_upcalls.clock(d.b, true);
    d.refuse = 0;
    blk_upcalls.restart(d.b);
    fake_advance(&d.loop, SEC(2) - 1);
    assert_int_equal(d.n, 3); /* the delay is in the device's time, too */
    fake_advance(&d.loop, 1);
    assert_int_equal(d.n, 4);
    assert_int_equal(d.rq[2]->start_ns, start + SEC(500));
    assert_int_equal(d.rq[3]->start_ns, start + SEC(500));
    d.rq[0] = d.rq[1] = NULL;
    d.held -= 2;
    drv_end_all(&d);
    fake_turn(&d.loop);
    bdev_queue_free(&q2);
    drv_close(&d);
}

/* A delay that begins while the clock stands still, and one in which there is nothing to wait for
 * any more. */
static void
test_delays_of_a_still_clock(void **state)
{
    struct req a[2];

    (void)state;
    drv_open(&d, &drv_limits, 4);
    for (unsigned i = 0; i < 2; i++) {
        req_init(&a[i], &d, BDEV_WRITE, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_turn(&d.loop);
    blk_upcalls.clock(d.b, false);
    fake_advance(&d.loop, SEC(7));
    blk_upcalls.requeue(d.rq[0], SEC(2));
    blk_upcalls.requeue(d.rq[1], SEC(3));
    d.rq[0] = d.rq[1] = NULL;
    d.held -= 2;
    fake_advance(&d.loop, SEC(500));
    assert_int_equal(d.n, 2);
    blk_upcalls.clock(d.b, true);
    fake_advance(&d.loop, SEC(2) - 1);
    assert_int_equal(d.n, 2);
    fake_advance(&d.loop, 1);
    assert_int_equal(d.n, 3);
    blk_upcalls.clock(d.b, false);
    fake_advance(&d.loop, SEC(500));
    assert_int_equal(d.n, 3);
    blk_upcalls.no_delay(d.b);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 4);
    blk_upcalls.clock(d.b, true);
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(a[0].done + a[1].done, 2);
    drv_close(&d);
}

/* A device that has become smaller: what was taken before, and reaches beyond the end now, fails
 * without the driver; what is left goes on. */
static void
test_shrunk_under_requests(void **state)
{
    static const enum bdev_op ops[] = {BDEV_READ, BDEV_WRITE, BDEV_DISCARD, BDEV_WRITE_ZEROES,
                                       BDEV_COMPARE_WRITE};
    struct bdev_limits l = drv_limits;
    struct req a[8];
    unsigned n = sizeof(ops) / sizeof(ops[0]);

    (void)state;
    drv_open(&d, &drv_limits, 8);
    d.refuse = 1;
    for (unsigned i = 0; i < n; i++) {
        req_init(&a[i], &d, ops[i], 8192, 4096);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    req_init(&a[n], &d, BDEV_FLUSH, 0, 0);
    assert_int_equal(bdev_submit(d.q, &a[n].r), 0);
    req_init(&a[n + 1], &d, BDEV_WRITE, 0, 2 * 65536); /* two pieces, of which one fits */
    assert_int_equal(bdev_submit(d.q, &a[n + 1].r), 0);
    l.size = 8192 + 2048;
    blk_upcalls.event(d.b, BDEV_EV_RESIZED, &l);
    blk_upcalls.restart(d.b);
    fake_turn(&d.loop);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].r.result.err, -EINVAL);
    }
    assert_int_equal(a[n + 1].r.result.err, -EINVAL);
    assert_int_equal(d.n, 1); /* the flush */
    assert_int_equal(d.log[0].op, BDEV_FLUSH);
    drv_end_all(&d);
    fake_turn(&d.loop);
    assert_int_equal(a[n].r.result.err, 0);
    drv_close(&d);
}

/* ---- fast requests ------------------------------------------------------------------------- */

static void
prompt_init(struct req *q, enum bdev_op op, uint64_t offset, uint64_t len)
{
    req_init(q, &d, op, offset, len);
    q->r.flags = BDEV_F_PROMPT;
}

static void
test_prompt_is_done_at_once(void **state)
{
    struct req a[3];
    struct bdev_stats s;

    (void)state;
    drv_open(&d, &drv_limits, 4);
    prompt_init(&a[0], BDEV_READ, 4096, 8192);
    prompt_init(&a[1], BDEV_WRITE, (1 << 30) - 512, 512);
    prompt_init(&a[2], BDEV_READ, 0, 512);
    for (int i = 0; i < 3; i++) {
        a[i].r.result.not_ok = 1;
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    assert_int_equal(d.fast, 3);
    bdev_commit(d.q);
    assert_int_equal(d.commits, 1);
    fake_advance(&d.loop, MS(7));
    assert_int_equal(bdev_queue_outstanding(d.q), 3);
    drv_end(&d, 0, 0);
    assert_int_equal(a[0].done, 1);
    assert_int_equal(a[0].r.result.not_ok, 0);
    assert_int_equal(bdev_queue_outstanding(d.q), 2);
    drv_end(&d, 1, 0);
    drv_end(&d, 2, -EIO);
    assert_int_equal(a[2].done, 0); /* not like the others: in lists */
    fake_turn(&d.loop);
    assert_int_equal(a[1].done, 1);
    assert_int_equal(a[2].done, 1);
    assert_int_equal(a[2].r.result.err, -EIO);
    bdev_get_stats(d.b, &s);
    assert_int_equal(s.op[BDEV_READ].reqs, 2);
    assert_int_equal(s.op[BDEV_READ].bytes, 8192);
    assert_int_equal(s.op[BDEV_READ].errors, 1);
    assert_int_equal(s.op[BDEV_WRITE].reqs, 1);
    assert_int_equal(s.op[BDEV_WRITE].bytes, 512);
    assert_int_equal(s.pieces, 3);
    assert_int_equal(s.driver_ns, 3 * MS(7));
    assert_int_equal(d.n, 3);
    drv_close(&d);
}

static void
test_what_is_not_fast(void **state)
{
    static const struct {
        uint64_t offset, len;
        int want;
        uint32_t flags;
        bool write;
    } rows[] = {
        {0, 65536, 0, 0, false},
        {0, 65536 + 512, 0, 0, false},
        {0, 0, 0, 0, false},
        {0, 512, 0, BDEV_F_FUA, true},
        {0, 512, 0, BDEV_F_FAILFAST, false},
        {512 * 3, 512 * 5, 0, 0, true},
        {1, 512, -EINVAL, 0, false},
        {256, 512, -EINVAL, 0, true},
        {0, 511, -EINVAL, 0, false},
        {0, 513, -EINVAL, 0, false},
        {1 << 30, 512, -EINVAL, 0, false},
        {(1 << 30) - 512, 1024, -EINVAL, 0, false},
        {UINT64_MAX - 511, 512, -EINVAL, 0, false},
        {UINT64_MAX - 511, 1024, -EINVAL, 0, false},
        {0, UINT64_MAX - 511, -EINVAL, 0, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool fast =
            rows[i].want == 0 && rows[i].len > 0 && rows[i].len <= 65536 && rows[i].flags == 0;
        struct req a;

        drv_open(&d, &drv_limits, 4);
        prompt_init(&a, rows[i].write ? BDEV_WRITE : BDEV_READ, rows[i].offset, rows[i].len);
        a.r.flags |= rows[i].flags;
        for (int again = 0; again < 2; again++) { /* the first of a batch, and one that follows */
            assert_int_equal(bdev_submit(d.q, &a.r), rows[i].want);
            assert_int_equal(d.fast, fast ? again + 1 : 0);
            fake_turn(&d.loop);
            drv_end_all(&d);
            fake_turn(&d.loop);
            assert_int_equal(a.done, rows[i].want == 0 ? again + 1 : 0);
        }
        drv_close(&d);
    }
}

static void
test_prompt_lets_the_next_one_in(void **state)
{
    struct req a[5];

    (void)state;
    drv_open(&d, &drv_limits, 2);
    for (unsigned i = 0; i < 5; i++) {
        prompt_init(&a[i], BDEV_READ, i * 512ull, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_turn(&d.loop);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(d.n, i + 2 < 5 ? i + 2 : 5);
        assert_int_equal(d.log[i].offset, i * 512);
        drv_end(&d, i, 0);
        fake_turn(&d.loop);
        assert_int_equal(a[i].done, 1);
    }
    drv_close(&d);
}

static void
test_prompt_and_drain(void **state)
{
    struct req a[2];

    (void)state;
    drv_open(&d, &drv_limits, 4);
    for (int i = 0; i < 2; i++) {
        prompt_init(&a[i], BDEV_READ, 0, 512);
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    fake_turn(&d.loop);
    assert_int_equal(bdev_drain(d.b, on_drained, &d), -EINPROGRESS);
    assert_int_equal(bdev_submit(d.q, &a[0].r), -ENODEV);
    fake_turn(&d.loop);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_non_null(d.b);
    drv_end(&d, 1, 0);
    fake_turn(&d.loop);
    assert_null(d.b); /* drained has freed it */
    assert_int_equal(a[0].done + a[1].done, 2);
}

static void
test_fast_goes_the_general_way(void **state)
{
    struct req a[4];
    struct bdev_stats s;

    (void)state;
    drv_open(&d, &drv_limits, 4);
    for (unsigned i = 0; i < 4; i++) {
        prompt_init(&a[i], BDEV_WRITE, 8192 + i * 512ull, 512);
        d.refuse = i == 3;
        assert_int_equal(bdev_submit(d.q, &a[i].r), 0);
    }
    assert_int_equal(d.fast, 3);
    bdev_get_stats(d.b, &s);
    assert_int_equal(s.pieces, 3);
    assert_int_equal(s.busy, 1);
    assert_int_equal(bdev_queue_outstanding(d.q), 4);
    blk_upcalls.requeue(d.rq[0], 0);
    blk_upcalls.make_general(d.rq[1]);
    blk_upcalls.make_general(d.rq[1]);
    assert_int_equal(d.rq[1]->op, BDEV_WRITE);
    assert_int_equal(d.rq[1]->offset, 8192 + 512);
    assert_int_equal(d.rq[1]->len, 512);
    assert_int_equal(d.rq[1]->data.len, 512);
    assert_ptr_equal(d.rq[1]->data.iov, &a[1].iov);
    fake_advance(&d.loop, SEC(31)); /* deadlines of what the driver has */
    assert_int_equal(d.timeouts, 2);
    d.rq[0] = NULL;
    blk_upcalls.restart(d.b);
    fake_turn(&d.loop);
    assert_int_equal(d.n, 5);
    assert_int_equal(d.log[3].offset + d.log[4].offset, 8192 * 2 + 3 * 512);
    drv_end_all(&d);
    fake_turn(&d.loop);
    for (int i = 0; i < 4; i++)
        assert_int_equal(a[i].done, 1);
    bdev_get_stats(d.b, &s);
    assert_int_equal(s.pieces, 4);
    assert_int_equal(s.op[BDEV_WRITE].reqs, 4);
    drv_close(&d);
}

static void
test_limits_that_are_refused_end_the_fast_way(void **state)
{
    struct bdev_limits bad = drv_limits;
    struct req a;

    (void)state;
    bad.block_size = 500;
    drv_open(&d, &drv_limits, 4);
    blk_upcalls.event(d.b, BDEV_EV_LIMITS, &bad);
    prompt_init(&a, BDEV_READ, 0, 512);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    assert_int_equal(d.n, 1);
    assert_int_equal(d.fast, 0);
    drv_close(&d);
}

/* "No session" says that nothing was done: so it is not said of a request of which some was. */
static void
test_session_ends_in_the_middle(void **state)
{
    static const enum bdev_op ops[] = {BDEV_READ, BDEV_WRITE, BDEV_DISCARD, BDEV_WRITE_ZEROES};
    struct bdev_limits l = drv_limits;
    struct req a;

    (void)state;
    l.max_discard = l.max_write_zeroes = 65536;
    for (size_t i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        int maybe = ops[i] == BDEV_READ ? -ENOTCONN : -ENOLINK;

        for (unsigned done = 0; done < 4; done++) { /* 3: none */
            drv_open(&d, &l, 3);
            req_init(&a, &d, ops[i], 0, 3 * 65536);
            assert_int_equal(bdev_submit(d.q, &a.r), 0);
            fake_turn(&d.loop);
            assert_int_equal(d.n, 3);
            for (unsigned k = 0; k < 3; k++)
                drv_end(&d, k, k == done ? 0 : -ENOTCONN);
            fake_turn(&d.loop);
            assert_int_equal(a.done, 1);
            assert_int_equal(a.r.result.err, done < 3 ? maybe : -ENOTCONN);
            drv_close(&d);
        }
    }
}

/* The same of a write whose flush finds no session, and of zeroes that are written by and by. */
static void
test_session_ends_behind_it(void **state)
{
    struct bdev_limits l = drv_limits;
    struct req a;

    (void)state;
    l.fua = false;
    l.max_write_zeroes = 0;
    drv_open(&d, &l, 2);
    req_init(&a, &d, BDEV_WRITE, 0, 512);
    a.r.flags = BDEV_F_FUA;
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    drv_end(&d, 0, 0);
    fake_turn(&d.loop);
    assert_int_equal(d.log[1].op, BDEV_FLUSH);
    drv_end(&d, 1, -ENOTCONN);
    fake_turn(&d.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENOLINK);
    req_init(&a, &d, BDEV_WRITE_ZEROES, 0, 1 << 20);
    assert_int_equal(bdev_submit(d.q, &a.r), 0);
    fake_turn(&d.loop);
    for (unsigned k = 2; k < d.n; k++) {
        drv_end(&d, k, k == 2 ? 0 : -ENOTCONN);
        fake_turn(&d.loop);
    }
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENOLINK);
    drv_close(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_issue_at_once_and_complete_later),
        cmocka_unit_test(test_commit_by_itself_at_the_end_of_the_turn),
        cmocka_unit_test(test_resubmission_is_dispatched_once_per_turn),
        cmocka_unit_test(test_order_and_depth),
        cmocka_unit_test(test_busy_waits_for_restart),
        cmocka_unit_test(test_requeue_with_delay),
        cmocka_unit_test(test_deadlines_share_a_timer),
        cmocka_unit_test(test_timeouts_by_op_and_request),
        cmocka_unit_test(test_what_makes_no_sense_is_refused),
        cmocka_unit_test(test_block_status),
        cmocka_unit_test(test_done_without_the_device),
        cmocka_unit_test(test_fua),
        cmocka_unit_test(test_first_error_wins),
        cmocka_unit_test(test_zeroes_become_writes),
        cmocka_unit_test(test_fast_zeroes_stay),
        cmocka_unit_test(test_pieces_take_turns),
        cmocka_unit_test(test_discard_is_a_hint),
        cmocka_unit_test(test_driver_completes_from_inside_queue_rq),
        cmocka_unit_test(test_free_fails_each_once),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_events_carry_limits),
        cmocka_unit_test(test_gone_driver_is_left_alone),
        cmocka_unit_test(test_gone_with_its_own_error),
        cmocka_unit_test(test_clock_stands_still),
        cmocka_unit_test(test_clock_of_what_waits),
        cmocka_unit_test(test_delays_of_a_still_clock),
        cmocka_unit_test(test_shrunk_under_requests),
        cmocka_unit_test(test_prompt_is_done_at_once),
        cmocka_unit_test(test_what_is_not_fast),
        cmocka_unit_test(test_prompt_lets_the_next_one_in),
        cmocka_unit_test(test_prompt_and_drain),
        cmocka_unit_test(test_fast_goes_the_general_way),
        cmocka_unit_test(test_limits_that_are_refused_end_the_fast_way),
        cmocka_unit_test(test_session_ends_in_the_middle),
        cmocka_unit_test(test_session_ends_behind_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
