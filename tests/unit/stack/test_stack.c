/* SPDX-License-Identifier: MIT */
/* The stack between two fakes: a host with a modelled target below, the test as its owner above. */
#include "tests/unit/scsi/fake_host.h"

#include "stack/stack.h"
#include "tests/support/alloc_fail.h"

#define BLOCK 512

struct owner {
    struct fhost f;
    struct stack *s;
    struct scsi_device *dev;
    struct stack_disk *disk;
    struct bdev_queue *q;
    struct lunette_error why;
    int found, up, closed, scanned; /* callbacks */
    int close_err;
    int scan_err;
    unsigned ev[STACK_EV_ATTENTION + 1];
    enum scsi_event last;
};

static struct owner o;

static void
on_event(void *user, enum stack_event ev, struct scsi_device *dev, enum scsi_event why)
{
    assert_ptr_equal(user, &o);
    assert_non_null(dev);
    o.ev[ev]++;
    o.last = why;
}

static const struct stack_events events = {.event = on_event};

static void
on_found(void *user, struct scsi_device *dev, const struct lunette_error *why)
{
    assert_ptr_equal(user, &o);
    assert_true((dev == NULL) == (why != NULL));
    o.found++;
    o.dev = dev;
    if (why != NULL)
        o.why = *why;
}

static void
on_up(void *user, struct stack_disk *d, const struct lunette_error *why)
{
    assert_ptr_equal(user, &o);
    assert_true((d == NULL) == (why != NULL));
    o.up++;
    o.disk = d;
    if (why != NULL)
        o.why = *why;
}

static void
on_closed(void *user, int err)
{
    assert_ptr_equal(user, &o);
    o.closed++;
    o.close_err = err;
    o.disk = NULL;
}

static void
on_scanned(void *user, int err, const struct lunette_error *why)
{
    assert_ptr_equal(user, &o);
    assert_true((err != 0) == (why != NULL));
    o.scanned++;
    o.scan_err = err;
}

static void
owner_up(void)
{
    memset(&o, 0, sizeof(o));
    fh_init(&o.f);
    (void)fh_add(&o.f, 0, 0);
    assert_int_equal(stack_attach(&o.f.h, NULL, &events, &o, &o.s), 0);
    assert_non_null(o.f.h.ev);
}

/* The session ends, with everything that is on it, then the stack. */
static void
owner_down(void)
{
    fh_end(&o.f);
    stack_detach(&o.s);
    assert_null(o.s);
    stack_detach(&o.s); /* harmless */
    o.q = NULL;         /* it went with the disk */
    fake_advance(&o.f.loop, SEC(1000));
}

static void
scan_lun(uint64_t lun)
{
    int found = o.found;

    assert_int_equal(stack_scan_lun(o.s, lun_from_number(lun).b, on_found, &o), 0);
    assert_int_equal(o.found, found); /* later */
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.found, found + 1);
}

static void
disk_up(void)
{
    struct stack_disk *on_its_way = NULL;
    int up = o.up;

    scan_lun(0);
    assert_non_null(o.dev);
    assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, &on_its_way), 0);
    assert_int_equal(o.up, up);
    assert_non_null(on_its_way);
    assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, NULL), -EALREADY);
    fake_advance(&o.f.loop, SEC(200));
    assert_int_equal(o.up, up + 1);
    assert_ptr_equal(o.disk, on_its_way);
    assert_ptr_equal(o.disk->dev, o.dev);
    assert_int_equal(bdev_get_limits(o.disk->bdev)->size, (uint64_t)BLOCK << 20);
    assert_int_equal(bdev_queue_new(o.disk->bdev, &o.f.loop.l, 8, &o.q), 0);
}

static void
submit(struct io *io, enum bdev_op op, uint64_t offset)
{
    memset(io, 0, sizeof(*io));
    io->iov = (struct iovec){io_mem, sizeof(io_mem)};
    io->r = (struct bdev_req){
        .op = op, .offset = offset, .len = 4096, .iov = &io->iov, .iovcnt = 1, .done = io_done};
    if (op == BDEV_READ || op == BDEV_WRITE)
        io->r.flags = BDEV_F_PROMPT;
    assert_int_equal(bdev_submit(o.q, &io->r), 0);
}

static void
close_disk(void)
{
    int closed = o.closed;

    stack_disk_close(o.disk, on_closed, &o);
    assert_int_equal(o.closed, closed);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.closed, closed + 1);
    o.q = NULL;
}

/* ---- the way up and down -------------------------------------------------------------------- */

static void
test_up_io_down(void **state)
{
    struct io a, b;

    (void)state;
    owner_up();
    disk_up();
    assert_int_equal(o.ev[STACK_EV_CAME], 1);
    submit(&a, BDEV_WRITE, 0);
    submit(&b, BDEV_READ, 4096);
    stack_check_fast(o.s);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(a.done + b.done, 2);
    assert_int_equal(a.r.result.err, 0);
    assert_int_equal(fh_count(&o.f, SCSI_WRITE_10), 1);
    stack_check_fast(o.s);
    o.f.n = 0;
    close_disk();
    assert_int_equal(fh_count(&o.f, SCSI_SYNC_CACHE_10), 1);
    assert_int_equal(o.dev->state, SDEV_DEL);
    assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, NULL), -ENODEV);
    /* A new scan finds the unit afresh. */
    disk_up();
    submit(&a, BDEV_READ, 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(a.r.result.err, 0);
    owner_down();
    assert_int_equal(o.found, 2);
    assert_int_equal(o.up, 2);
    assert_int_equal(o.closed, 1);
}

static void
test_scan_all(void **state)
{
    struct scsi_device *d;
    unsigned n = 0;

    (void)state;
    owner_up();
    (void)fh_add(&o.f, 1, 3);
    (void)fh_add(&o.f, 2, 7);
    assert_int_equal(stack_scan(o.s, on_scanned, &o), 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.scanned, 1);
    assert_int_equal(o.scan_err, 0);
    for (d = stack_first_device(o.s); d != NULL; d = stack_next_device(d))
        n++;
    assert_int_equal(n, 3);
    assert_int_equal(o.ev[STACK_EV_CAME], 3);
    assert_int_equal(stack_scan(o.s, on_scanned, &o), 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.ev[STACK_EV_CAME], 3); /* known already */
    owner_down();
}

static void
on_exec(struct scsi_exec *x)
{
    ++*(int *)x->user;
}

static void
test_a_device_that_is_no_disk(void **state)
{
    static const uint8_t tur[6];
    struct scsi_exec x = {.cdb = tur, .cdb_len = 6, .done = on_exec};
    int done = 0;

    (void)state;
    owner_up();
    o.f.luns[0].inq.type = 1; /* a tape */
    scan_lun(0);
    assert_non_null(o.dev);
    assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, NULL), -EMEDIUMTYPE);
    x.user = &done;
    assert_int_equal(stack_execute(o.dev, &x), 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(done, 1);
    assert_int_equal(x.result.scsi_status, SCSI_GOOD);
    owner_down();
    assert_int_equal(o.up, 0);
}

static void
test_failure_at_each_step(void **state)
{
    (void)state;
    owner_up();
    scan_lun(5);
    assert_null(o.dev);
    assert_int_equal(o.why.domain, LUNETTE_DOM_NOTFOUND);
    scan_lun(0);
    fh_script(&o.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_NOT_READY, 0x3a, 0)));
    assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, NULL), 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.up, 1);
    assert_null(o.disk);
    assert_int_equal(o.why.code, -ENOMEDIUM);
    fh_script(&o.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, 3, SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)));
    assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, NULL), 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.up, 2);
    assert_null(o.disk);
    disk_up(); /* in the end */
    owner_down();
}

/* ---- what happens to the host --------------------------------------------------------------- */

static void
test_host_blocked_running_gone(void **state)
{
    struct io a, b, c;

    (void)state;
    owner_up();
    disk_up();
    fh_state(&o.f, SCSI_HOST_BLOCKED);
    submit(&a, BDEV_READ, 0);
    stack_check_fast(o.s);
    fake_advance(&o.f.loop, SEC(5));
    assert_int_equal(a.done, 0); /* held */
    fh_state(&o.f, SCSI_HOST_RUNNING);
    fake_advance(&o.f.loop, SEC(5));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    stack_check_fast(o.s);
    o.f.hold = true;
    submit(&b, BDEV_READ, 0);
    fake_turn(&o.f.loop);
    fh_state(&o.f, SCSI_HOST_GONE);
    fh_sweep(&o.f, NULL, DID_NO_CONNECT);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(b.done, 1);
    assert_int_equal(b.r.result.err, -ENOTCONN);
    submit(&c, BDEV_READ, 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(c.r.result.err, -ENOTCONN);
    stack_check_fast(o.s);
    o.f.n = 0;
    close_disk(); /* in order, without a word to the target */
    assert_int_equal(o.f.n, 0);
    owner_down();
}

static void
attention(uint8_t asc, uint8_t ascq)
{
    struct io a;

    fh_script(&o.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, asc, ascq)));
    submit(&a, BDEV_READ, 0);
    fake_advance(&o.f.loop, SEC(2));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
}

static void
test_events(void **state)
{
    (void)state;
    owner_up();
    disk_up();
    o.f.luns[0].cap.blocks *= 2;
    attention(0x2a, 0x09);
    assert_int_equal(o.ev[STACK_EV_CHANGED], 1);
    assert_int_equal(o.last, SCSI_EV_CAPACITY);
    assert_string_equal(stack_event_name(o.last), "capacity-changed");
    assert_int_equal(bdev_get_limits(o.disk->bdev)->size, (uint64_t)BLOCK << 21);
    attention(0x3f, 0x0e);
    assert_int_equal(o.ev[STACK_EV_LUNS_CHANGED], 1);
    attention(0x2a, 0x03);
    assert_int_equal(o.ev[STACK_EV_ATTENTION], 1);
    assert_int_equal(o.last, SCSI_EV_RESERVATIONS);
    assert_int_equal(o.ev[STACK_EV_GONE], 0);
    o.f.luns[0].there = false;
    (void)fh_add(&o.f, 1, 1);
    assert_int_equal(stack_scan(o.s, on_scanned, &o), 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.ev[STACK_EV_GONE], 1);
    assert_int_equal(o.ev[STACK_EV_CAME], 2);
    close_disk();
    owner_down();
}

/* ---- the end, at any time ------------------------------------------------------------------- */

static void
test_close_while_it_comes_up(void **state)
{
    struct stack_disk *d = NULL;

    (void)state;
    for (int i = 0; i < 4; i++) {
        bool fails = i % 2 != 0, wait = i / 2 != 0;

        owner_up();
        scan_lun(0);
        fh_script(&o.f, ANSWER(SCSI_TEST_UNIT_READY, 3, SENSE(SENSE_NOT_READY, 4, 1)));
        if (fails)
            fh_script(&o.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_NOT_READY, 0x3a, 0)));
        assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, &d), 0);
        fake_advance(&o.f.loop, SEC(1));
        stack_disk_close(d, on_closed, &o);
        assert_int_equal(o.closed, 0);
        fake_turn(&o.f.loop);
        assert_int_equal(o.closed, 1); /* at once */
        if (wait || fails)             /* else the next start takes over what is under way */
            fake_advance(&o.f.loop, SEC(20));
        assert_int_equal(o.up, 0);
        disk_up(); /* the device is as it was */
        assert_int_equal(o.up, 1);
        owner_down();
    }
}

static void
test_close_waits_for_requests(void **state)
{
    struct io a[12];

    (void)state;
    owner_up();
    disk_up();
    o.f.hold = true;
    for (int i = 0; i < 12; i++)
        submit(&a[i], i % 2 == 0 ? BDEV_READ : BDEV_WRITE, (uint64_t)i * 4096);
    stack_disk_close(o.disk, on_closed, &o);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.closed, 0);
    assert_int_equal(bdev_submit(o.q, &a[0].r), -ENODEV);
    o.f.hold = false;
    loop_defer(&o.f.loop.l, &o.f.work);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.closed, 1);
    for (int i = 0; i < 12; i++) {
        assert_int_equal(a[i].done, 1);
        assert_int_equal(a[i].r.result.err, 0);
    }
    owner_down();
}

/* ---- closed while there is no session ------------------------------------------------------- */

/* Whoever closes has decided: nothing waits for the session, neither what has been given back nor
 * what was never sent, and the flush is not made. */
static void
test_close_while_blocked(void **state)
{
    struct io a, b, before;

    (void)state;
    for (int dirty = 0; dirty < 2; dirty++) {
        owner_up();
        disk_up();
        submit(&before, dirty ? BDEV_WRITE : BDEV_READ, 0);
        fake_advance(&o.f.loop, SEC(1));
        assert_int_equal(before.r.result.err, 0);
        o.f.hold = true;
        submit(&a, BDEV_WRITE, 0);
        fake_turn(&o.f.loop);
        o.f.n = 0;
        fh_state(&o.f, SCSI_HOST_BLOCKED);
        submit(&b, BDEV_WRITE, 4096);
        fake_advance(&o.f.loop, SEC(1));
        stack_disk_close(o.disk, on_closed, &o);
        fake_turn(&o.f.loop);
        fake_turn(&o.f.loop);
        assert_int_equal(b.done, 1);
        assert_int_equal(b.r.result.err, -ENOTCONN);
        assert_int_equal(o.closed, 0); /* a is still the host's: its memory may be read */
        fh_sweep(&o.f, NULL, DID_TRANSPORT_DISRUPTED);
        for (int i = 0; i < 4; i++)
            fake_turn(&o.f.loop);
        assert_int_equal(a.done, 1);
        assert_int_equal(a.r.result.err, -ENOLINK); /* it may have been executed */
        assert_int_equal(o.closed, 1);
        assert_int_equal(o.close_err, dirty ? -ENOTCONN : 0);
        assert_int_equal(o.f.n, 0);
        owner_down();
    }
}

/* The connection goes when the last flush is under way, or requests are being waited for. */
static void
test_connection_lost_while_closing(void **state)
{
    struct io a;

    (void)state;
    for (int flush = 0; flush < 2; flush++) {
        owner_up();
        disk_up();
        submit(&a, BDEV_WRITE, 0);
        if (flush)
            fake_advance(&o.f.loop, SEC(1));
        o.f.hold = true;
        o.f.n = 0;
        fake_turn(&o.f.loop);
        stack_disk_close(o.disk, on_closed, &o);
        fake_advance(&o.f.loop, SEC(1));
        assert_int_equal(fh_count(&o.f, SCSI_SYNC_CACHE_10), flush);
        fh_lose(&o.f);
        fake_advance(&o.f.loop, MS(20));
        assert_int_equal(a.r.result.err, flush ? 0 : -ENOLINK);
        assert_int_equal(o.closed, 1);
        assert_int_equal(o.close_err, flush ? -ENOTCONN : 0); /* nothing was acknowledged */
        owner_down();
    }
}

/* A flush that was lost is not sent in another session, which would be no proof for what was
 * written in this one. */
static void
test_last_flush_is_of_one_session(void **state)
{
    struct io a;

    (void)state;
    owner_up();
    disk_up();
    submit(&a, BDEV_WRITE, 0);
    fake_advance(&o.f.loop, SEC(1));
    o.f.hold = true;
    stack_disk_close(o.disk, on_closed, &o);
    fake_turn(&o.f.loop);
    o.f.n = 0;
    fh_lose(&o.f);
    fh_state(&o.f, SCSI_HOST_RUNNING); /* before it is sent again */
    o.f.hold = false;
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(fh_count(&o.f, SCSI_SYNC_CACHE_10), 0);
    assert_int_equal(o.closed, 1);
    assert_int_equal(o.close_err, -ENOTCONN);
    owner_down();
}

static void
test_close_while_it_comes_up_blocked(void **state)
{
    struct stack_disk *on_its_way = NULL;

    (void)state;
    owner_up();
    scan_lun(0);
    fh_state(&o.f, SCSI_HOST_BLOCKED);
    assert_int_equal(stack_disk_start(o.s, o.dev, on_up, &o, &on_its_way), 0);
    fake_advance(&o.f.loop, SEC(50));
    stack_disk_close(on_its_way, on_closed, &o);
    fake_turn(&o.f.loop);
    assert_int_equal(o.closed, 1);
    assert_int_equal(o.close_err, 0);
    fh_state(&o.f, SCSI_HOST_RUNNING);
    disk_up(); /* takes over what is under way */
    close_disk();
    owner_down();
}

/* Why nothing works is told by the device. */
static void
test_why(void **state)
{
    struct lunette_error why = LUNETTE_INIT(why);
    struct io a;

    (void)state;
    owner_up();
    disk_up();
    assert_null(stack_device_why(o.dev));
    (void)lunette_fail(&why, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, 30,
                       "the session was not recovered within 30 s");
    fh_state(&o.f, SCSI_HOST_BLOCKED);
    submit(&a, BDEV_WRITE, 0);
    fake_advance(&o.f.loop, SEC(30));
    assert_null(stack_device_why(o.dev)); /* it waits */
    fh_state_why(&o.f, SCSI_HOST_GONE, &why);
    fake_turn(&o.f.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENOTCONN);
    assert_non_null(stack_device_why(o.dev));
    assert_int_equal(stack_device_why(o.dev)->code, -ENOTCONN);
    assert_string_equal(stack_device_why(o.dev)->msg, why.msg);
    fh_state(&o.f, SCSI_HOST_RUNNING); /* a late login */
    fake_advance(&o.f.loop, SEC(1));
    assert_null(stack_device_why(o.dev));
    submit(&a, BDEV_WRITE, 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(a.r.result.err, 0);
    stack_check_fast(o.s);
    owner_down();
}

/* One thing happens: a piece of deferred work, else the next timer. */
static bool
step(void)
{
    struct list *n = list_pop_front(&o.f.loop.deferred);
    struct timerq_node *t = timerq_first(&o.f.loop.timers);

    if (n != NULL) {
        struct loop_work *w = container_of(n, struct loop_work, node);

        w->fn(w);
        return true;
    }
    if (t == NULL || t->when_ns > o.f.loop.l.now_ns + SEC(10))
        return false;
    timerq_del(&o.f.loop.timers, t);
    if (t->when_ns > o.f.loop.l.now_ns)
        o.f.loop.l.now_ns = t->when_ns;
    container_of(t, struct loop_timer, node)->fn(container_of(t, struct loop_timer, node));
    return true;
}

/* What the owner has asked for, and heard of. */
struct life {
    int scans, starts, closes, ios;
    struct io io[4];
    struct stack_disk *on_its_way;
};

/* The next thing that an owner does when the last has ended. */
static void
go_on(struct life *w, bool early_close)
{
    if (w->scans == 0) {
        w->scans += stack_scan_lun(o.s, lun_from_number(0).b, on_found, &o) == 0;
    } else if (o.dev != NULL && w->starts == 0) {
        w->starts += stack_disk_start(o.s, o.dev, on_up, &o, &w->on_its_way) == 0;
    } else if (early_close && w->starts == 1 && w->closes == 0) {
        w->closes++;
        stack_disk_close(w->on_its_way, on_closed, &o);
    } else if (o.disk != NULL && w->closes == 0 && o.q == NULL) {
        if (bdev_queue_new(o.disk->bdev, &o.f.loop.l, 2, &o.q) != 0)
            return;
        for (; w->ios < 4; w->ios++)
            submit(&w->io[w->ios], w->ios % 2 == 0 ? BDEV_READ : BDEV_WRITE,
                   (uint64_t)w->ios * 4096);
    } else if (o.q != NULL && w->closes == 0 && w->io[1].done != 0) {
        w->closes++;
        stack_disk_close(o.disk, on_closed, &o);
    }
}

static void
check_life(const struct life *w, bool early_close)
{
    assert_int_equal(o.found, w->scans);
    assert_int_equal(o.closed, w->closes);
    assert_int_equal(o.up, early_close && w->closes > 0 ? 0 : w->starts);
    for (int i = 0; i < w->ios; i++)
        assert_int_equal(w->io[i].done, 1);
}

/* Everything that was asked for is answered once, at whatever step the session ends, and nothing
 * happens afterwards. */
static void
test_detach_at_each_step(void **state)
{
    static struct life w;
    unsigned ended_by_itself = 0;

    (void)state;
    for (unsigned max = 0; ended_by_itself < 3; max++) {
        for (int early = 0; early < 2; early++) {
            unsigned n = 0;

            memset(&w, 0, sizeof(w));
            owner_up();
            go_on(&w, early);
            while (n < max && step()) {
                stack_check_fast(o.s);
                go_on(&w, early);
                n++;
            }
            ended_by_itself += n < max && !early;
            assert_true(max < 5000);
            owner_down();
            check_life(&w, early);
        }
    }
    assert_int_equal(w.closes, 1);
}

/* With an allocation that fails wherever one is made, somebody is told, and nothing is lost. */
static void
test_allocations_fail(void **state)
{
    static struct life w;
    long k;

    (void)state;
    for (k = 0;; k++) {
        bool failed;
        int r;

        memset(&w, 0, sizeof(w));
        memset(&o, 0, sizeof(o));
        fh_init(&o.f);
        (void)fh_add(&o.f, 0, 0);
        alloc_left = k;
        r = stack_attach(&o.f.h, NULL, &events, &o, &o.s);
        if (r < 0) {
            alloc_left = -1;
            assert_int_equal(r, -ENOMEM);
            assert_null(o.f.h.ev);
            continue;
        }
        go_on(&w, false);
        while (step())
            go_on(&w, false);
        failed = alloc_left < 0;
        alloc_left = -1;
        if (o.disk != NULL || o.dev != NULL || w.closes > 0)
            assert_true(w.scans == 1);
        if (!failed)
            assert_int_equal(o.closed, 1); /* it went all the way */
        owner_down();
        check_life(&w, false);
        if (!failed)
            break;
    }
    assert_true(k > 6);
}

static void
test_host_goes_out_of_memory_first(void **state)
{
    (void)state;
    owner_up();
    disk_up();
    fh_end(&o.f); /* freed, too */
    fake_advance(&o.f.loop, SEC(100));
    close_disk();
    assert_int_equal(stack_scan_lun(o.s, lun_from_number(0).b, on_found, &o), 0);
    fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(o.found, 2);
    assert_null(o.dev);
    stack_detach(&o.s);
    fake_advance(&o.f.loop, SEC(100));
}

/* A time limit that is changed holds for each try, and for all of them together. */
static void
test_timeout_changes(void **state)
{
    struct io a;
    uint64_t t0;

    (void)state;
    owner_up();
    disk_up();
    stack_set_timeout(o.s, 60000);
    o.f.abort_result = SCSI_EH_SUCCESS;
    fh_script(&o.f, ANSWER(SCSI_READ_10, EVER, .never = true));
    o.f.n = 0;
    t0 = o.f.loop.l.now_ns;
    submit(&a, BDEV_READ, 0);
    while (a.done == 0 && o.f.loop.l.now_ns < t0 + SEC(1000))
        fake_advance(&o.f.loop, SEC(1));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ETIMEDOUT);
    assert_int_equal(fh_count(&o.f, SCSI_READ_10), 6);
    assert_true(o.f.loop.l.now_ns - t0 >= SEC(360) && o.f.loop.l.now_ns - t0 <= SEC(362));
    owner_down();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_up_io_down),
        cmocka_unit_test(test_scan_all),
        cmocka_unit_test(test_a_device_that_is_no_disk),
        cmocka_unit_test(test_failure_at_each_step),
        cmocka_unit_test(test_host_blocked_running_gone),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_close_while_it_comes_up),
        cmocka_unit_test(test_close_waits_for_requests),
        cmocka_unit_test(test_close_while_blocked),
        cmocka_unit_test(test_connection_lost_while_closing),
        cmocka_unit_test(test_last_flush_is_of_one_session),
        cmocka_unit_test(test_close_while_it_comes_up_blocked),
        cmocka_unit_test(test_why),
        cmocka_unit_test(test_detach_at_each_step),
        cmocka_unit_test(test_allocations_fail),
        cmocka_unit_test(test_host_goes_out_of_memory_first),
        cmocka_unit_test(test_timeout_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
