/* SPDX-License-Identifier: MIT */
/* Random requests, limits and drivers: pieces cover each request exactly once, within the limits,
 * with the right memory; each request completes exactly once whatever the driver does. */
#include "tests/unit/block/fake_driver.h"

#include "tests/support/bdev_filter.h"

#define SPACE (256 * 1024)
#define NREQ  24

static struct drv d;
static uint8_t covered[SPACE / 512];

static uint64_t
rnd(uint64_t n)
{
    return fake_random(&d.loop.l) % n;
}

static struct bdev_limits
random_limits(void)
{
    struct bdev_limits l = {.size = SPACE, .write_cache = rnd(2), .fua = rnd(2)};

    l.block_size = 512u << rnd(4);
    l.physical_block = l.block_size << rnd(3);
    l.max_transfer = l.block_size * (1 + rnd(40));
    l.max_fast = rnd(4) == 0 ? 0 : l.block_size * (1 + rnd(40));
    l.max_sg = (uint32_t)(8 + rnd(8));
    if (rnd(2) == 0)
        l.opt_transfer = l.physical_block * (1 + rnd(4));
    l.max_discard = rnd(3) == 0 ? 0 : l.block_size * (1 + rnd(64));
    l.discard_granularity = l.physical_block * (1 + rnd(3));
    l.max_write_zeroes = rnd(3) == 0 ? 0 : l.block_size * (1 + rnd(64));
    return l;
}

/* iovecs of odd sizes, among them empty ones, that hold at least len bytes. */
static uint32_t
random_iov(struct iovec *iov, uint32_t max, char *base, uint64_t len, uint32_t block)
{
    uint32_t n = 0;
    uint64_t at = 0;

    while (at < len && n + 1 < max) {
        uint64_t take = rnd(8) == 0 ? 0 : rnd(3) == 0 ? 1 + rnd(300) : block * (1 + rnd(20));

        if (n > 0 && iov[n - 1].iov_len < 300) /* so that a block fits 8 of them */
            take = block * (1 + rnd(4));
        iov[n++] = (struct iovec){base + at, take};
        at += take;
    }
    iov[n++] = (struct iovec){base + at, at < len ? len - at : 0};
    return n;
}

static void
check_piece(const struct bdev_limits *l, const struct blk_request *rq, const struct req *q)
{
    uint64_t end = rq->offset + rq->len;
    bool last = end == q->r.offset + q->r.len;

    assert_int_equal(rq->offset % l->block_size, 0);
    assert_int_equal(rq->len % l->block_size, 0);
    assert_true(rq->len > 0 && rq->offset >= q->r.offset && end <= q->r.offset + q->r.len);
    for (uint64_t b = rq->offset / 512; b < end / 512; b++)
        assert_int_equal(covered[b]++, 0);
    if (rq->op == BDEV_READ || rq->op == BDEV_WRITE) {
        assert_true(rq->len <= l->max_transfer);
        assert_int_equal(rq->data.len, rq->len);
        assert_true(rq->data.iovcnt <= l->max_sg || q->r.op == BDEV_WRITE_ZEROES);
        if (q->r.op != BDEV_WRITE_ZEROES) {
            struct sg_cursor c;
            uint64_t at = rq->offset - q->r.offset;

            sg_cursor_init(&c, &rq->data);
            while (c.at < rq->data.len) { /* byte for byte where the request's memory says */
                struct iovec v;
                uint32_t n;

                (void)sg_cursor_map(&c, &rq->data, rq->data.len - c.at, &v, 1, &n);
                assert_ptr_equal(v.iov_base, (char *)q->r.iov[0].iov_base + at);
                at += n;
            }
        }
    } else if (rq->op == BDEV_DISCARD) {
        assert_true(rq->len <= l->max_discard);
    } else {
        assert_true(rq->len <= l->max_write_zeroes);
    }
    if (!last && rq->op == BDEV_READ && q->r.iovcnt <= l->max_sg &&
        l->max_transfer >= 2 * l->physical_block)
        assert_int_equal(end % l->physical_block, 0);
}

static void
one_split(uint64_t seed)
{
    static const enum bdev_op ops[] = {BDEV_READ, BDEV_WRITE, BDEV_DISCARD, BDEV_WRITE_ZEROES};
    struct bdev_limits l;
    struct iovec iov[400];
    struct req q;
    uint64_t blocks, got = 0;

    fake_loop_init(&d.loop, seed);
    l = random_limits();
    memset(covered, 0, sizeof(covered));
    drv_open(&d, &l, 1 + (uint32_t)(seed % 7));
    fake_loop_init(&d.loop, seed);
    blocks = 1 + rnd(SPACE / l.block_size);
    req_init(&q, &d, ops[rnd(4)], rnd(SPACE / l.block_size - blocks + 1) * l.block_size,
             blocks * l.block_size);
    q.r.iovcnt = random_iov(iov, 400, req_mem, q.r.len, l.block_size);
    q.r.iov = iov;
    if (rnd(2) == 0)
        q.r.flags = BDEV_F_FUA;
    else if (rnd(2) == 0)
        q.r.flags = BDEV_F_PROMPT;
    d.general = true; /* what check_piece looks at is laid out */
    assert_int_equal(bdev_submit(d.q, &q.r), 0);
    while (q.done == 0) {
        fake_turn(&d.loop);
        for (unsigned i = 0; i < d.n; i++) {
            struct blk_request *rq = d.rq[i];

            if (rq == NULL)
                continue;
            if (rq->op == BDEV_FLUSH) {
                assert_int_equal(got, q.r.len); /* after everything */
            } else {
                check_piece(&l, rq, &q);
                got += rq->len;
            }
            drv_end(&d, i, 0);
        }
    }
    assert_int_equal(q.r.result.err, 0);
    if (q.r.op != BDEV_DISCARD || l.max_discard > 0)
        assert_int_equal(got, q.r.len);
    drv_close(&d);
}

static void
test_pieces_cover_exactly_once(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 3000; seed++)
        one_split(seed);
}

static unsigned live, fast, canceled;
static struct bdev_queue *top; /* where the requests go: the driver's, or a filter's above it */

static void
submit_one(struct req *q)
{
    if (bdev_submit(top, &q->r) == 0) {
        live++;
        q->out = true;
    }
}

static void
only_note(struct req *q)
{
    assert_true(q->out);
    assert_true(q->r.result.err != -ECANCELED || q->canceled);
    canceled += q->r.result.err == -ECANCELED;
    q->out = q->canceled = false;
    live--;
}

static void
again_or_not(struct req *q)
{
    only_note(q);
    if (rnd(3) != 0 && q->done < 30)
        submit_one(q);
}

/* Some request that is under way is wanted no more. */
static void
cancel_one(struct req *q)
{
    int done = q->done;

    if (!q->out)
        return;
    q->canceled = true;
    bdev_cancel(top, &q->r, -ECANCELED);
    assert_int_equal(q->done, done);
}

/* The driver takes, refuses, requeues, fails and times out at random. */
static void
one_chaos(uint64_t seed, bool filtered)
{
    struct bdev_filter *f = NULL;
    static const int errs[] = {0, 0, 0, -EIO, -EOPNOTSUPP, -ENOSPC};
    struct bdev_limits l;
    struct req q[NREQ];
    int sum = 0;

    fake_loop_init(&d.loop, seed);
    l = random_limits();
    drv_open(&d, &l, 1 + (uint32_t)(seed % 40));
    fake_loop_init(&d.loop, seed);
    top = d.q;
    if (filtered) {
        f = bdev_filter_new(d.b, l.block_size * (1 + rnd(9)));
        assert_int_equal(bdev_queue_new(bdev_filter_bdev(f), &d.loop.l, 1 + (uint32_t)rnd(9), &top),
                         0);
    }
    live = 0;
    for (int i = 0; i < NREQ; i++) {
        uint64_t blocks = rnd(rnd(2) == 0 ? 9 : SPACE / l.block_size / 4);

        req_init(&q[i], &d, (enum bdev_op)rnd(BDEV_COMPARE_WRITE),
                 rnd(SPACE / l.block_size / 2) * l.block_size, blocks * l.block_size);
        q[i].r.flags = rnd(3) == 0 ? BDEV_F_FUA : rnd(2) == 0 ? BDEV_F_PROMPT : 0;
        q[i].then = q[i].r.flags == BDEV_F_PROMPT ? only_note : again_or_not;
        q[i].want = 1;
        submit_one(&q[i]);
        assert_true(q[i].out);
        blk_check_fast(d.b);
    }
    for (int step = 0; step < 4000 && live > 0; step++) {
        unsigned i = d.n > 0 ? (unsigned)rnd(d.n) : 0;

        blk_check_fast(d.b);
        assert_int_equal(bdev_queue_outstanding(top), live);
        if (rnd(20) == 0)
            d.refuse = 1;
        d.on_cancel = (int)rnd(3);
        d.on_timeout = rnd(2) == 0 ? BLK_TIMEOUT_RESET_TIMER : BLK_TIMEOUT_DRIVER_HAS_IT;
        for (unsigned k = 0; k < d.n && d.rq[i] == NULL; k++)
            i = (i + 1) % d.n;
        if (d.n > 0 && d.rq[i] != NULL) {
            if (rnd(5) == 0) {
                struct blk_request *rq = d.rq[i];

                d.rq[i] = NULL;
                blk_upcalls.requeue(rq, rnd(2) == 0 ? 0 : rnd(MS(5)));
            } else {
                drv_end(&d, i, errs[rnd(6)]);
            }
        }
        if (d.n > DRV_MAX - 100)
            break;
        i = (unsigned)rnd(NREQ);
        assert_true(q[i].done <= q[i].want || q[i].then == again_or_not);
        if (q[i].then == only_note && q[i].done == q[i].want && q[i].done < 30) {
            q[i].want++;
            submit_one(&q[i]);
            assert_true(q[i].out);
        }
        if (rnd(4) == 0)
            cancel_one(&q[rnd(NREQ)]);
        d.general = rnd(4) == 0;
        if (rnd(2) == 0)
            blk_upcalls.restart(d.b);
        fake_advance(&d.loop, rnd(10) == 0 ? SEC(40) : rnd(MS(3)));
    }
    for (int i = 0; i < NREQ; i++)
        q[i].then = NULL;
    if (filtered) { /* a queue goes when nothing is on it; the device below, in whatever state */
        for (d.refuse = 0; bdev_queue_outstanding(top) > 0 && d.n < DRV_MAX - 100;) {
            drv_end_all(&d);
            blk_upcalls.restart(d.b);
            fake_advance(&d.loop, SEC(1));
        }
        bdev_queue_free(&top);
        bdev_filter_free(f);
    }
    drv_close(&d);
    for (int i = 0; i < NREQ; i++)
        sum += q[i].done;
    assert_true(sum >= NREQ);
    fast += d.fast;
}

static void
test_each_completes_once_under_chaos(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 300; seed++)
        one_chaos(seed, false);
    assert_true(fast > 300 && canceled > 300);
}

static void
test_each_completes_once_through_a_filter(void **state)
{
    (void)state;
    fast = canceled = 0;
    for (uint64_t seed = 1; seed <= 300; seed++)
        one_chaos(seed, true);
    assert_true(fast > 300 && canceled > 300);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_pieces_cover_exactly_once),
        cmocka_unit_test(test_each_completes_once_under_chaos),
        cmocka_unit_test(test_each_completes_once_through_a_filter),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
