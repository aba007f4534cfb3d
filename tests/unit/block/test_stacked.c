/* SPDX-License-Identifier: MIT */
/* Devices through seam/bdev.h alone: one of block/ on a driver without SCSI, a filter on it, and a
 * filter on a filter, all with data that is checked. */
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "block/internal.h"
#include "tests/support/bdev_filter.h"
#include "tests/support/ram_driver.h"

#define SIZE   (256u * 1024)
#define NREQ   16
#define IO_MAX 40000u

/* A tower: `filters` of them on a RAM device; top is what the tests use. */
struct tower {
    struct fake_loop loop;
    struct ram_driver ram;
    struct bdev *null, *top;
    struct bdev_filter *filter[2];
    int filters;
    struct bdev_queue *q;
    unsigned events[3];
    struct bdev_listener listener;
};

static uint8_t disk[SIZE], model[SIZE];
static struct tower t;

static const struct bdev_limits ram_limits = {.size = SIZE / 2,
                                              .block_size = 512,
                                              .max_transfer = 16384,
                                              .max_fast = 16384,
                                              .max_sg = 8,
                                              .max_write_zeroes = 8192,
                                              .write_cache = true};

static void
heard(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    struct tower *w = container_of(l, struct tower, listener);

    assert_ptr_equal(b, w->top);
    w->events[ev]++;
}

static void
tower_up(int filters, uint64_t seed)
{
    memset(&t, 0, sizeof(t));
    memset(disk, 0, sizeof(disk));
    memset(model, 0, sizeof(model));
    fake_loop_init(&t.loop, seed);
    ram_init(&t.ram, &t.loop.l, &blk_upcalls, disk, SIZE);
    assert_int_equal(blk_dev_new(&ram_driver_ops, &t.ram, &ram_limits, &t.null), 0);
    t.ram.b = t.top = t.null;
    t.filters = filters;
    for (int i = 0; i < filters; i++) {
        t.filter[i] = bdev_filter_new(t.top, i == 0 ? 4096 : 9 * 512);
        t.top = bdev_filter_bdev(t.filter[i]);
    }
    t.listener.event = heard;
    bdev_listen(t.top, &t.listener);
    assert_int_equal(bdev_queue_new(t.top, &t.loop.l, 4, &t.q), 0);
    assert_ptr_equal(t.q->bdev, t.top);
    assert_ptr_equal(t.q->loop, &t.loop.l);
    assert_int_equal(t.q->depth, 4);
}

/* From the top down, as owners do. */
static void
tower_down(void)
{
    bdev_queue_free(&t.q);
    assert_null(t.q);
    bdev_queue_free(&t.q); /* harmless */
    while (t.filters > 0)
        bdev_filter_free(t.filter[--t.filters]);
    blk_dev_free(&t.null);
    fake_advance(&t.loop, SEC(100)); /* nothing is left that runs */
}

struct req {
    struct bdev_req r;
    struct iovec iov[3];
    uint8_t data[IO_MAX];
    int done;
    bool busy;
};

static struct req reqs[NREQ];

static void
req_done(struct bdev_req *r)
{
    struct req *q = container_of(r, struct req, r);

    assert_true(q->busy);
    q->busy = false;
    q->done++;
    if (r->op == BDEV_READ && r->result.err == 0) /* before anybody writes there again */
        assert_memory_equal(q->data, model + r->offset, r->len);
}

static uint64_t
rnd(uint64_t n)
{
    return fake_random(&t.loop.l) % n;
}

static void
req_init(struct req *q, enum bdev_op op, uint64_t offset, uint64_t len)
{
    uint64_t half = len / 2 + (len > 100 ? 37 : 0);

    memset(&q->r, 0, sizeof(q->r));
    q->iov[0] = (struct iovec){q->data, half};
    q->iov[1] = (struct iovec){q->data + half, len - half};
    q->r = (struct bdev_req){
        .op = op, .offset = offset, .len = len, .iov = q->iov, .iovcnt = 2, .done = req_done};
}

static int
req_submit(struct req *q)
{
    int r = bdev_submit(t.q, &q->r);

    q->busy = r == 0;
    q->done = 0;
    return r;
}

static bool
overlaps(uint64_t offset, uint64_t len)
{
    for (int i = 0; i < NREQ; i++) {
        if (reqs[i].busy && offset < reqs[i].r.offset + reqs[i].r.len &&
            reqs[i].r.offset < offset + len)
            return true;
    }
    return false;
}

/* A random request in a range that no other uses; false where there was no such. */
static bool
start_one(struct req *q)
{
    static const enum bdev_op ops[] = {BDEV_READ, BDEV_READ, BDEV_WRITE, BDEV_WRITE,
                                       BDEV_WRITE_ZEROES};
    enum bdev_op op = ops[rnd(5)];
    uint64_t len = (1 + rnd(rnd(3) == 0 ? IO_MAX / 512 : 6)) * 512;
    uint64_t offset = rnd((SIZE / 2 - len) / 512 + 1) * 512;

    if (overlaps(offset, len))
        return false;
    req_init(q, op, offset, len);
    if (op == BDEV_WRITE) {
        for (uint64_t i = 0; i < len; i++)
            q->data[i] = (uint8_t)rnd(256);
        memcpy(model + offset, q->data, len);
        q->r.flags = rnd(6) == 0 ? BDEV_F_FUA : 0;
    } else if (op == BDEV_WRITE_ZEROES) {
        memset(model + offset, 0, len);
    } else {
        memset(q->data, 0xee, len);
    }
    if (rnd(3) == 0) { /* what may take the fast path of the device at the bottom */
        q->iov[0].iov_len = len;
        q->r.iovcnt = 1;
        q->r.flags |= BDEV_F_PROMPT;
    }
    assert_int_equal(req_submit(q), 0);
    return true;
}

static void
check_one(struct req *q)
{
    assert_int_equal(q->done, 1);
    assert_int_equal(q->r.result.err, 0);
    q->done = 0;
}

static unsigned
count_busy(void)
{
    unsigned n = 0;

    for (int i = 0; i < NREQ; i++)
        n += reqs[i].busy;
    return n;
}

static void
random_io(int filters, uint64_t seed)
{
    unsigned started = 0;
    struct bdev_stats s;

    memset(reqs, 0, sizeof(reqs));
    tower_up(filters, seed);
    t.ram.busy_every = seed % 3 == 0 ? 5 : 0;
    while (started < 150) {
        struct req *q = &reqs[rnd(NREQ)];

        if (q->done > 0)
            check_one(q);
        if (!q->busy)
            started += start_one(q);
        blk_check_fast(t.null);
        assert_int_equal(bdev_queue_outstanding(t.q), count_busy());
        if (rnd(4) == 0)
            bdev_commit(t.q);
        if (rnd(3) == 0)
            fake_advance(&t.loop, rnd(3) * RAM_DELAY_NS);
        blk_check_fast(t.null);
    }
    fake_advance(&t.loop, SEC(1));
    for (int i = 0; i < NREQ; i++) {
        if (reqs[i].done > 0)
            check_one(&reqs[i]);
    }
    assert_int_equal(count_busy(), 0);
    assert_memory_equal(disk, model, SIZE);
    bdev_get_stats(t.top, &s);
    assert_int_equal(s.op[BDEV_READ].reqs + s.op[BDEV_WRITE].reqs + s.op[BDEV_WRITE_ZEROES].reqs,
                     started);
    assert_true(s.pieces > started); /* FUA has flushes behind it, and there are cuts */
    if (filters > 0)
        assert_true(bdev_filter_parts(t.filter[0]) > started);
    assert_true(t.ram.fast > 0);
    tower_down();
}

static void
test_data_goes_there_and_back(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 60; seed++)
        random_io((int)(seed % 3), seed);
}

static void
test_limits_and_events_come_through(void **state)
{
    struct bdev_limits l = ram_limits;

    (void)state;
    for (int filters = 0; filters <= 2; filters++) {
        tower_up(filters, 1);
        assert_int_equal(bdev_get_limits(t.top)->size, SIZE / 2);
        req_init(&reqs[0], BDEV_READ, SIZE / 2, 512);
        assert_int_equal(req_submit(&reqs[0]), -EINVAL); /* past the end */
        assert_int_equal(bdev_queue_outstanding(t.q), 0);
        l.size = SIZE;
        blk_upcalls.event(t.null, BDEV_EV_RESIZED, &l);
        assert_int_equal(t.events[BDEV_EV_RESIZED], 1);
        assert_int_equal(bdev_get_limits(t.top)->size, SIZE);
        assert_int_equal(req_submit(&reqs[0]), 0);
        fake_advance(&t.loop, SEC(1));
        check_one(&reqs[0]);
        bdev_unlisten(&t.listener);
        blk_upcalls.event(t.null, BDEV_EV_RESIZED, &ram_limits);
        assert_int_equal(t.events[BDEV_EV_RESIZED], 1); /* nobody listens */
        bdev_listen(t.top, &t.listener);
        blk_upcalls.event(t.null, BDEV_EV_GONE, NULL);
        assert_int_equal(t.events[BDEV_EV_GONE], 1);
        req_init(&reqs[0], BDEV_READ, 0, 512);
        assert_int_equal(req_submit(&reqs[0]), -ENODEV);
        tower_down();
    }
}

static void
test_errors_come_through(void **state)
{
    struct bdev_stats s;

    (void)state;
    for (int filters = 0; filters <= 2; filters++) {
        tower_up(filters, 1);
        t.ram.fail_every = 2;
        req_init(&reqs[0], BDEV_WRITE, 0, IO_MAX / 512 * 512);
        assert_int_equal(req_submit(&reqs[0]), 0);
        fake_advance(&t.loop, SEC(1));
        assert_int_equal(reqs[0].done, 1);
        assert_int_equal(reqs[0].r.result.err, -EIO);
        bdev_get_stats(t.top, &s);
        assert_int_equal(s.op[BDEV_WRITE].errors, 1);
        assert_int_equal(s.op[BDEV_WRITE].bytes, 0);
        assert_int_equal(bdev_queue_outstanding(t.q), 0);
        tower_down();
    }
}

static void
drained(void *user)
{
    ++*(int *)user;
}

static void
test_drain(void **state)
{
    int n = 0;

    (void)state;
    for (int filters = 0; filters <= 2; filters++) {
        tower_up(filters, 1);
        n = 0;
        t.ram.hold = true;
        for (int i = 0; i < NREQ; i++) {
            req_init(&reqs[i], BDEV_READ, (uint64_t)i * 512, 6144);
            assert_int_equal(req_submit(&reqs[i]), 0);
        }
        assert_int_equal(bdev_drain(t.top, drained, &n), -EINPROGRESS);
        fake_advance(&t.loop, SEC(1));
        assert_int_equal(n, 0);
        t.ram.hold = false;
        loop_timer_start(&t.loop.l, &t.ram.timer, 0);
        fake_advance(&t.loop, SEC(1));
        assert_int_equal(n, 1);
        for (int i = 0; i < NREQ; i++)
            check_one(&reqs[i]);
        assert_int_equal(req_submit(&reqs[0]), -ENODEV);
        tower_down();
        tower_up(filters, 1);
        assert_int_equal(bdev_drain(t.top, drained, &n), 0); /* nothing is outstanding */
        assert_int_equal(req_submit(&reqs[0]), -ENODEV);
        tower_down();
        assert_int_equal(n, 1);
    }
}

static void
test_freeing_a_device_ends_its_requests(void **state)
{
    (void)state;
    tower_up(0, 1);
    t.ram.hold = true;
    for (int i = 0; i < NREQ; i++) {
        req_init(&reqs[i], BDEV_READ, 0, (uint64_t)(1 + i) * 1024);
        assert_int_equal(req_submit(&reqs[i]), 0);
    }
    fake_advance(&t.loop, SEC(1));
    loop_timer_stop(&t.loop.l, &t.ram.timer); /* it lets go of what it has */
    blk_dev_free(&t.null);
    for (int i = 0; i < NREQ; i++) {
        assert_int_equal(reqs[i].done, 1);
        assert_int_equal(reqs[i].r.result.err, -ENODEV);
    }
    fake_advance(&t.loop, SEC(100));
}

static void
test_all_queues_are_on_one_loop(void **state)
{
    struct fake_loop other;
    struct bdev_queue *q = NULL;

    (void)state;
    fake_loop_init(&other, 1);
    for (int filters = 0; filters <= 2; filters++) {
        tower_up(filters, 1);
        assert_int_equal(bdev_queue_new(t.top, &other.l, 4, &q), -ENOTSUP);
        assert_null(q);
        tower_down();
    }
}

/* ---- faults of ours, which must die of an assertion ------------------------------------------ */

/* True when fault dies of SIGABRT, in a process of its own. */
static bool
dies(void (*fault)(void))
{
    int status = 0;
    pid_t pid = fork();

    assert_true(pid >= 0);
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(1);
        fault();
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void
hold_one(unsigned i, bool fast)
{
    req_init(&reqs[i], BDEV_READ, 0, 1024);
    if (fast) {
        reqs[i].iov[0].iov_len = 1024;
        reqs[i].r.iovcnt = 1;
        reqs[i].r.flags = BDEV_F_PROMPT;
    }
    assert_int_equal(req_submit(&reqs[i]), 0);
}

static void
check_only(void)
{
    blk_check_fast(t.null);
}

static void
free_queue_with_requests(void)
{
    bdev_queue_free(&t.q);
}

static void
submit_twice(void)
{
    (void)bdev_submit(t.q, &reqs[0].r);
    blk_check_fast(t.null);
}

static void
forget_that_a_request_waits(void)
{
    blk_queue_of(t.q)->waits = false;
    blk_check_fast(t.null);
}

static void
forget_that_the_driver_was_busy(void)
{
    blk_queue_of(t.q)->not_fast = 0;
    blk_check_fast(t.null);
}

static void
lose_a_tag(void)
{
    blk_queue_of(t.q)->top--;
    blk_check_fast(t.null);
}

static void
complete_twice(void)
{
    struct ram_cmd *c = container_of(t.ram.taken.next, struct ram_cmd, node);

    t.ram.up->complete(c->rq);
    t.ram.up->complete(c->rq);
}

static void
test_planted_faults_die(void **state)
{
    (void)state;
    tower_up(0, 1);
    t.ram.hold = true;
    hold_one(0, true); /* by the fast path, which is open until the commit */
    assert_false(dies(check_only));
    assert_true(dies(free_queue_with_requests));
    assert_true(dies(submit_twice));
    assert_true(dies(complete_twice));
    assert_true(dies(lose_a_tag));
    for (unsigned i = 1; i < 6; i++) /* of depth 4: the last two wait */
        hold_one(i, false);
    assert_false(dies(check_only));
    assert_true(dies(forget_that_a_request_waits));
    t.ram.hold = false;
    fake_advance(&t.loop, SEC(1));
    t.ram.busy_every = 1;
    hold_one(0, false);
    assert_false(dies(check_only));
    assert_true(dies(forget_that_the_driver_was_busy));
    t.ram.busy_every = 0;
    fake_advance(&t.loop, SEC(1));
    tower_down();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_data_goes_there_and_back),
        cmocka_unit_test(test_limits_and_events_come_through),
        cmocka_unit_test(test_errors_come_through),
        cmocka_unit_test(test_drain),
        cmocka_unit_test(test_freeing_a_device_ends_its_requests),
        cmocka_unit_test(test_all_queues_are_on_one_loop),
        cmocka_unit_test(test_planted_faults_die),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
