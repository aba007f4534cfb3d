/* SPDX-License-Identifier: MIT */
/* The contract of seam/export.h, held by an export that has no clients but the test: it makes its
 * own queues, and stop waits for what they have, frees them, and says when the device may go. */
#include "tests/unit/fake_loop.h"

#include <errno.h>
#include <stdlib.h>

#include "block/block.h"
#include "seam/export.h"
#include "tests/support/bdev_filter.h"
#include "tests/support/ram_driver.h"

#define SIZE    65536u
#define NQUEUES 2
#define NREQ    12

struct export_req {
    struct bdev_req r;
    struct export *e;
    struct iovec iov;
    uint8_t data[1024];
};

struct export
{
    struct bdev *b;
    struct bdev_queue *q[NQUEUES];
    struct export_req reqs[NREQ];
    struct export_stats stats;
    struct bdev_listener listener;
    const struct export_events *ev;
    void *user;
    struct loop *loop;
    struct loop_work end;
    unsigned outstanding;
    bool gone;
    void (*stopped)(void *user); /* NULL: stop has not been called */
    void *stopped_user;
};

static void
export_end(struct loop_work *w)
{
    struct export *e = container_of(w, struct export, end);
    void (*stopped)(void *user) = e->stopped;
    void *user = e->stopped_user;

    if (stopped == NULL) { /* the device has gone */
        e->ev->stopped(e->user, NULL);
        return;
    }
    if (e->outstanding > 0)
        return; /* the last request comes back here */
    for (int i = 0; i < NQUEUES; i++)
        bdev_queue_free(&e->q[i]);
    bdev_unlisten(&e->listener);
    free(e);
    stopped(user);
}

static void
export_req_done(struct bdev_req *r)
{
    struct export *e = container_of(r, struct export_req, r)->e;

    e->outstanding--;
    e->stats.errors += r->result.err != 0;
    e->stats.reads++;
    if (e->stopped != NULL) /* not from here, which is inside the queue's work */
        loop_defer(e->loop, &e->end);
}

static void
export_event(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    struct export *e = container_of(l, struct export, listener);

    assert_ptr_equal(b, e->b);
    if (ev == BDEV_EV_GONE && !e->gone && e->stopped == NULL) {
        e->gone = true;
        loop_defer(e->loop, &e->end);
    }
}

static int
export_start(struct bdev *b, struct loop *loop, const char *where, bool read_only,
             const struct export_events *ev, void *user, struct export **ret,
             struct lunette_error *err)
{
    struct export *e = calloc(1, sizeof(*e));
    int r = 0;

    (void)read_only;
    assert_non_null(e);
    for (int i = 0; i < NQUEUES && r == 0; i++)
        r = bdev_queue_new(b, loop, strcmp(where, "deep") == 0 && i == 1 ? UINT32_MAX : 2,
                           &e->q[i]);
    if (r < 0) {
        for (int i = 0; i < NQUEUES; i++)
            bdev_queue_free(&e->q[i]);
        free(e);
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s: no queue", where);
    }
    e->b = b;
    e->loop = loop;
    e->ev = ev;
    e->user = user;
    e->listener.event = export_event;
    bdev_listen(b, &e->listener);
    loop_work_init(&e->end, export_end);
    *ret = e;
    return 0;
}

static void
export_stop(struct export *e, void (*done)(void *user), void *user)
{
    assert_null(e->stopped);
    e->stopped = done;
    e->stopped_user = user;
    loop_defer(e->loop, &e->end);
}

static void
export_stats(const struct export *e, struct export_stats *ret)
{
    *ret = e->stats;
}

static const struct export_ops test_export = {
    .name = "test", .start = export_start, .stop = export_stop, .stats = export_stats};

/* What a client would do: reads on all queues, as many as there are requests. */
static void
clients_read(struct export *e)
{
    for (unsigned i = 0; i < NREQ; i++) {
        struct export_req *q = &e->reqs[i];

        q->e = e;
        q->iov = (struct iovec){q->data, sizeof(q->data)};
        q->r = (struct bdev_req){.op = BDEV_READ,
                                 .flags = i % 2 == 0 ? BDEV_F_PROMPT : 0,
                                 .offset = i * 1024,
                                 .len = sizeof(q->data),
                                 .iov = &q->iov,
                                 .iovcnt = 1,
                                 .done = export_req_done};
        assert_int_equal(bdev_submit(e->q[i % NQUEUES], &q->r), 0);
        e->outstanding++;
    }
}

/* ---- whoever has the device ------------------------------------------------------------------ */

struct owner {
    struct fake_loop loop;
    struct ram_driver ram;
    struct bdev *null, *top;
    struct bdev_filter *filter;
    struct bdev_queue *own; /* of somebody else: it goes on while the export stops */
    struct export *e;
    int stopped, ended;
};

static struct owner o;
static uint8_t disk[SIZE];

static const struct bdev_limits limits = {
    .size = SIZE, .block_size = 512, .max_transfer = 4096, .max_fast = 4096, .max_sg = 4};

static void
owner_up(bool filtered)
{
    memset(&o, 0, sizeof(o));
    fake_loop_init(&o.loop, 1);
    ram_init(&o.ram, &o.loop.l, &blk_upcalls, disk, SIZE);
    assert_int_equal(blk_dev_new(&ram_driver_ops, &o.ram, &limits, &o.null), 0);
    o.ram.b = o.top = o.null;
    if (filtered) {
        o.filter = bdev_filter_new(o.null, 512);
        o.top = bdev_filter_bdev(o.filter);
    }
    assert_int_equal(bdev_queue_new(o.top, &o.loop.l, 2, &o.own), 0);
}

static void
device_free(void)
{
    bdev_queue_free(&o.own);
    if (o.filter != NULL)
        bdev_filter_free(o.filter);
    blk_dev_free(&o.null);
}

static void
on_stopped(void *user)
{
    assert_ptr_equal(user, &o);
    o.stopped++;
    o.e = NULL;
    if (bdev_queue_outstanding(o.own) == 0)
        device_free(); /* the contract allows it in here */
}

static void
on_ended(void *user, const struct lunette_error *why)
{
    assert_ptr_equal(user, &o);
    assert_null(why);
    o.ended++;
    test_export.stop(o.e, on_stopped, &o); /* also from inside */
}

static const struct export_events events = {.stopped = on_ended};

static void
start_export(void)
{
    struct lunette_error err;

    assert_int_equal(test_export.start(o.top, &o.loop.l, "here", false, &events, &o, &o.e, &err),
                     0);
}

static void
test_stop_waits_then_frees(void **state)
{
    struct export_stats s;

    (void)state;
    for (int filtered = 0; filtered < 2; filtered++) {
        owner_up(filtered);
        start_export();
        clients_read(o.e);
        fake_advance(&o.loop, SEC(1));
        test_export.stats(o.e, &s);
        assert_int_equal(s.reads, NREQ);
        o.ram.hold = true;
        clients_read(o.e);
        fake_advance(&o.loop, SEC(1));
        test_export.stop(o.e, on_stopped, &o);
        assert_int_equal(o.stopped, 0);
        fake_advance(&o.loop, SEC(10));
        assert_int_equal(o.stopped, 0); /* it takes as long as the device does */
        o.ram.hold = false;
        loop_timer_start(&o.loop.l, &o.ram.timer, 0);
        fake_advance(&o.loop, SEC(1));
        assert_int_equal(o.stopped, 1);
        assert_null(o.null);
        fake_advance(&o.loop, SEC(100)); /* nothing is left that runs */
    }
}

static void
test_stop_of_an_idle_export(void **state)
{
    (void)state;
    owner_up(false);
    start_export();
    test_export.stop(o.e, on_stopped, &o);
    assert_int_equal(o.stopped, 0);
    fake_advance(&o.loop, 1);
    assert_int_equal(o.stopped, 1);
    assert_null(o.null);
}

struct own_req {
    struct bdev_req r;
    int done;
};

static void
own_done(struct bdev_req *r)
{
    container_of(r, struct own_req, r)->done++;
}

/* Stopping an export ends nothing of anybody else's: it is no drain of the device. */
static void
test_stop_leaves_the_device_to_others(void **state)
{
    uint8_t data[512];
    struct iovec iov = {data, sizeof(data)};
    struct own_req q = {
        .r = {.op = BDEV_READ, .len = 512, .iov = &iov, .iovcnt = 1, .done = own_done}};

    (void)state;
    owner_up(true);
    start_export();
    test_export.stop(o.e, on_stopped, &o);
    assert_int_equal(bdev_submit(o.own, &q.r), 0); /* keeps on_stopped from freeing the device */
    fake_turn(&o.loop);
    assert_int_equal(o.stopped, 1);
    assert_non_null(o.null);
    fake_advance(&o.loop, SEC(1));
    assert_int_equal(q.done, 1);
    assert_int_equal(bdev_submit(o.own, &q.r), 0);
    fake_advance(&o.loop, SEC(1));
    assert_int_equal(q.done, 2);
    assert_int_equal(q.r.result.err, 0);
    device_free();
}

static void
test_a_device_that_goes(void **state)
{
    (void)state;
    for (int filtered = 0; filtered < 2; filtered++) {
        owner_up(filtered);
        start_export();
        clients_read(o.e);
        fake_turn(&o.loop);
        blk_upcalls.event(o.null, BDEV_EV_GONE, NULL);
        assert_int_equal(o.ended, 0);
        fake_advance(&o.loop, SEC(1)); /* the driver gives back what it has */
        assert_int_equal(o.ended, 1);
        assert_int_equal(o.stopped, 1);
        assert_null(o.null);
    }
}

static void
test_a_start_that_fails_leaves_nothing(void **state)
{
    struct lunette_error err = {0};
    struct export *e = NULL;

    (void)state;
    owner_up(false);
    assert_int_equal(test_export.start(o.top, &o.loop.l, "deep", false, &events, &o, &e, &err),
                     -EINVAL);
    assert_null(e);
    assert_int_equal(err.code, -EINVAL);
    device_free();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stop_waits_then_frees),
        cmocka_unit_test(test_stop_of_an_idle_export),
        cmocka_unit_test(test_stop_leaves_the_device_to_others),
        cmocka_unit_test(test_a_device_that_goes),
        cmocka_unit_test(test_a_start_that_fails_leaves_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
