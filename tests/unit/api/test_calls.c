/* SPDX-License-Identifier: MIT */
/* Calls that want more than data moved: time limits, cancel, compare-and-write, reservations; on a
 * unit whose host and target are the test's. */
#include "tests/unit/scsi/fake_host.h"

#include "api/internal.h"
#include "wire/pr.h"

#define KEY 0x1122334455667788ull

static struct fdisk d;
static struct loop_ops ops;
static struct lunette_ctx ctx;
static struct stack_disk disk;
static struct lunette_session session;
static struct lunette_lun lun;
static struct lunette_queue *q;
static struct lunette_error err;
static char buf[65536];

static int
run_loop(struct loop *l, int64_t timeout_ns)
{
    uint64_t ns = timeout_ns >= 0 && (uint64_t)timeout_ns < MS(10) ? (uint64_t)timeout_ns : MS(10);

    (void)l;
    fake_advance(&d.f.loop, ns);
    return 1;
}

static void
begin(uint32_t depth)
{
    fd_open(&d);
    ops = fake_loop_ops;
    ops.run = run_loop;
    d.f.loop.l.ops = &ops;
    ctx = (struct lunette_ctx){.loop = &d.f.loop.l};
    disk = (struct stack_disk){.dev = d.dev, .bdev = d.b};
    session = (struct lunette_session){.ctx = &ctx};
    lun = (struct lunette_lun){.s = &session, .dev = d.dev, .disk = &disk};
    err = (struct lunette_error)LUNETTE_INIT(err);
    q = NULL;
    if (depth > 0)
        assert_int_equal(lunette_queue_new(&lun, depth, &q, &err), 0);
    d.f.abort_result = SCSI_EH_SUCCESS;
}

static void
finish(void)
{
    lunette_queue_free(q);
    bdev_queue_free(&lun.q);
    free(lun.sync);
    lun.sync = NULL;
    fd_close(&d);
}

static void
stuck(int op, unsigned times)
{
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(op, times, .never = true));
}

/* The next completion, which is user_data's. */
static void
comes(const void *user_data, int e)
{
    struct lunette_completion c;

    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, 0), 1);
    assert_ptr_equal(c.user_data, user_data);
    assert_int_equal(c.err, e);
}

static void
nothing_comes(void)
{
    struct lunette_completion c;

    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, 0), 0);
}

/* ---- cancel --------------------------------------------------------------------------------- */

static void
test_cancel_where_it_is(void **state)
{
    int a, b;

    (void)state;
    begin(4);
    assert_int_equal(lunette_queue_cancel(q, &a), -ENOENT);
    stuck(SCSI_READ_10, 1);
    assert_int_equal(lunette_queue_read(q, buf, 512, 0, &a), 0);
    assert_int_equal(lunette_queue_write(q, buf, 512, 0, 0, &b), 0);
    comes(&b, 0);
    assert_int_equal(lunette_queue_cancel(q, &b), -ENOENT); /* it is polled */
    assert_int_equal(lunette_queue_cancel(q, NULL), -ENOENT);
    assert_int_equal(lunette_queue_cancel(q, &a), 1);
    assert_int_equal(lunette_queue_inflight(q), 1);
    comes(&a, -ECANCELED);
    assert_int_equal(d.f.aborts, 1);
    assert_int_equal(lunette_queue_inflight(q), 0);
    fh_state(&d.f, SCSI_HOST_BLOCKED); /* and while the session is being recovered */
    for (int i = 0; i < 3; i++)
        assert_int_equal(lunette_queue_read(q, buf, 512, 0, i < 2 ? &a : &b), 0);
    nothing_comes();
    assert_int_equal(lunette_queue_cancel(q, &a), 2);
    comes(&a, -ECANCELED);
    comes(&a, -ECANCELED);
    nothing_comes();
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    comes(&b, 0);
    finish();
}

static void
test_cancel_one_that_has_ended(void **state)
{
    int a;

    (void)state;
    begin(2);
    assert_int_equal(lunette_queue_read(q, buf, 512, 0, &a), 0);
    assert_int_equal(lunette_queue_submit(q), 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(lunette_queue_cancel(q, &a), -ENOENT); /* it only waits to be polled */
    comes(&a, 0);
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_MEDIUM_ERROR, 0x11, 0)));
    assert_int_equal(lunette_queue_read(q, buf, 512, 0, &a), 0);
    fake_advance(&d.f.loop, MS(1));
    comes(&a, -ENODATA);
    assert_int_equal(lunette_queue_cancel(q, &a), -ENOENT); /* nor is it the one that is held */
    nothing_comes();
    finish();
}

static void
test_cancel_a_raw_command(void **state)
{
    const uint8_t tur[6] = {0};
    struct lunette_scsi cmd = {.cdb = tur, .cdb_len = 6};
    int a;

    (void)state;
    begin(2);
    stuck(SCSI_TEST_UNIT_READY, 1);
    assert_int_equal(lunette_queue_scsi(q, &cmd, &a), 0);
    nothing_comes();
    assert_int_equal(lunette_queue_cancel(q, &a), 1);
    comes(&a, -ECANCELED);
    nothing_comes();
    finish();
}

static void
test_one_completion_whatever_races(void **state)
{
    static int ids[8];
    struct lunette_completion c[8];
    unsigned got = 0, canceled = 0, out = 0;
    struct fake_loop r;

    (void)state;
    begin(8);
    fake_loop_init(&r, 3);
#define RND(n) (fake_random(&r.l) % (n))
    for (int step = 0; step < 20000; step++) {
        int n, *id = &ids[RND(8)];

        stuck(ANY_OP, (unsigned)RND(3));
        if (RND(10) == 0)
            assert_int_equal(lunette_queue_set_timeout(q, RND(2) == 0 ? 0 : 1 + (unsigned)RND(20)),
                             0);
        d.f.abort_result = (enum scsi_eh_result)RND(3);
        d.f.lu_result = SCSI_EH_SUCCESS;
        if (*id == 0) {
            assert_int_equal(RND(2) == 0 ? lunette_queue_read(q, buf, 512, 0, id)
                                         : lunette_queue_write(q, buf, 512, 0, LUNETTE_FUA, id),
                             0);
            *id = 1;
            out++;
        } else if (RND(2) == 0) {
            canceled += lunette_queue_cancel(q, id) == 1;
        }
        assert_int_equal(lunette_queue_inflight(q), out);
        fake_advance(&d.f.loop, RND(20) == 0 ? SEC(31) : RND(MS(10)));
        n = lunette_queue_poll(q, c, 8, 0, 0);
        assert_true(n >= 0);
        for (int i = 0; i < n; i++) {
            assert_int_equal(*(int *)c[i].user_data, 1); /* once for each */
            *(int *)c[i].user_data = 0;
            got += c[i].err == -ECANCELED;
        }
        out -= (unsigned)n;
        if (d.f.n > FH_MAX - 100)
            d.f.n = 0;
        if (d.dev->state == SDEV_OFFLINE)
            assert_int_equal(scsi_device_online(d.dev), 0);
    }
#undef RND
    assert_true(got > 500 && canceled >= got);
    d.f.nscript = 0;
    finish();
}

/* ---- time limits ---------------------------------------------------------------------------- */

static void
test_a_queue_with_a_time_limit(void **state)
{
    const uint8_t tur[6] = {0};
    struct lunette_scsi cmd = {.cdb = tur, .cdb_len = 6};
    struct iovec iov = {buf, 512};
    uint64_t t0;
    int ids[6];

    (void)state;
    begin(8);
    assert_int_equal(lunette_queue_set_timeout(q, 2000), 0);
    assert_int_equal(lunette_queue_read(q, buf, 512, 0, &ids[0]), 0);
    comes(&ids[0], 0); /* in time */
    stuck(ANY_OP, EVER);
    t0 = d.f.loop.l.now_ns;
    assert_int_equal(lunette_queue_read(q, buf, 512, 0, &ids[0]), 0);
    assert_int_equal(lunette_queue_write(q, buf, 512, 0, 0, &ids[1]), 0);
    assert_int_equal(lunette_queue_readv(q, &iov, 1, 0, &ids[2]), 0);
    assert_int_equal(lunette_queue_flush(q, &ids[3]), 0);
    assert_int_equal(lunette_queue_scsi(q, &cmd, &ids[4]), 0);
    assert_int_equal(lunette_queue_set_timeout(q, 0), 0); /* for those that follow */
    assert_int_equal(lunette_queue_read(q, buf, 512, 0, &ids[5]), 0);
    for (int i = 0; i < 5; i++) {
        struct lunette_completion c;

        assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
        assert_ptr_equal(c.user_data, &ids[i]);
        assert_int_equal(c.err, -ETIMEDOUT);
    }
    assert_true(d.f.loop.l.now_ns - t0 >= SEC(2) && d.f.loop.l.now_ns - t0 < SEC(2) + MS(50));
    d.f.nscript = 0;
    assert_int_equal(lunette_queue_cancel(q, &ids[5]), 1);
    comes(&ids[5], -ECANCELED);
    finish();
}

/* Wall-clock time counts, whatever stands still meanwhile. */
static void
test_the_limit_counts_without_a_session(void **state)
{
    int a;

    (void)state;
    begin(2);
    assert_int_equal(lunette_queue_set_timeout(q, 5000), 0);
    stuck(SCSI_WRITE_10, 1);
    assert_int_equal(lunette_queue_write(q, buf, 512, 0, 0, &a), 0);
    fake_advance(&d.f.loop, SEC(1));
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
    fake_advance(&d.f.loop, SEC(3));
    nothing_comes();
    fake_advance(&d.f.loop, SEC(2));
    comes(&a, -ETIMEDOUT);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(100));
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 1);
    nothing_comes();
    finish();
}

static void
test_synchronous_calls_with_a_time_limit(void **state)
{
    const uint8_t tur[6] = {0};
    struct lunette_scsi cmd = {.cdb = tur, .cdb_len = 6};
    struct lunette_pr_reservation held = LUNETTE_INIT(held);
    uint64_t t0;

    (void)state;
    begin(0);
    stuck(ANY_OP, EVER);
    assert_int_equal(lunette_set_timeout(&lun, 3000), 0);
    t0 = d.f.loop.l.now_ns;
    assert_int_equal(lunette_pread(&lun, buf, 512, 0, &err), -ETIMEDOUT);
    assert_int_equal(err.domain, LUNETTE_DOM_TIMEOUT);
    assert_int_equal(lunette_flush(&lun, &err), -ETIMEDOUT);
    assert_int_equal(lunette_scsi(&lun, &cmd, &err), -ETIMEDOUT);
    assert_int_equal(lunette_pr_read_reservation(&lun, &held, &err), -ETIMEDOUT);
    assert_int_equal(lunette_pr_clear(&lun, KEY, &err), -ETIMEDOUT);
    assert_true(d.f.loop.l.now_ns - t0 >= SEC(15) && d.f.loop.l.now_ns - t0 < SEC(16));
    d.f.nscript = 0;
    assert_int_equal(lunette_pread(&lun, buf, 512, 0, &err), 0);
    finish();
}

/* The unit becomes smaller while a request is under way: no fault of the caller's. */
static void
test_shrunk_under_a_request(void **state)
{
    struct lunette_completion c;

    (void)state;
    begin(2);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    assert_int_equal(lunette_queue_read(q, buf, 512, 4096 * 512, NULL), 0);
    fake_turn(&d.f.loop);
    d.f.luns[0].cap.blocks = 1024;
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, 0), 1);
    assert_int_equal(c.err, -EINVAL);
    assert_int_equal(lunette_queue_explain(q, &c, "read", &err), -EINVAL);
    assert_int_equal(err.domain, LUNETTE_DOM_SCSI);
    assert_non_null(strstr(err.msg, "past the end of the logical unit, which has become smaller"));
    assert_int_equal(lunette_pread(&lun, buf, 512, 4096 * 512, &err), -EINVAL); /* it is known */
    assert_int_equal(err.domain, LUNETTE_DOM_USAGE);
    finish();
}

/* ---- compare and write ---------------------------------------------------------------------- */

static void
test_compare_and_write(void **state)
{
    char expected[1024], data[1024];
    uint64_t differs = 7;

    (void)state;
    begin(2);
    memset(expected, 'e', sizeof(expected));
    memset(data, 'd', sizeof(data));
    assert_int_equal(lunette_compare_and_write(&lun, expected, data, 1024, 512, 0, &differs, &err),
                     0);
    assert_true(differs == UINT64_MAX);
    assert_int_equal(d.f.last_out_len, 2048);
    assert_int_equal(d.f.last_out[0], 'e');
    assert_int_equal(lunette_compare_and_write(&lun, expected, data, 9 * 512, 0, 0, NULL, &err),
                     -EINVAL);
    assert_non_null(strstr(err.msg, "4096"));
    assert_int_equal(lunette_compare_and_write(&lun, expected, data, 5, 0, 0, NULL, &err), -EINVAL);
    assert_int_equal(lunette_compare_and_write(&lun, expected, data, 512, 0, 2, NULL, &err),
                     -EINVAL);
    assert_int_equal(lunette_queue_compare_and_write(q, expected, data, 512, 0, 2, NULL), -EINVAL);
    assert_int_equal(lunette_queue_compare_and_write(q, expected, data, 512, 0, LUNETTE_FUA, data),
                     0);
    comes(data, 0);
    lun.flags = LUNETTE_OPEN_RDONLY;
    assert_int_equal(lunette_compare_and_write(&lun, expected, data, 512, 0, 0, NULL, &err),
                     -EROFS);
    finish();
}

static void
test_compare_and_write_is_sent_once(void **state)
{
    static const struct {
        struct answer a;
        int err;
    } rows[] = {
        {{.host = DID_TRANSPORT_DISRUPTED}, -ENOLINK},
        {{.host = DID_ERROR}, -ENOLINK},
        {{.host = DID_RESET}, -ECANCELED},
        {{.status = SCSI_TASK_ABORTED}, -ECANCELED},
        {{.status = SCSI_RESERVATION_CONFLICT}, -EBADE},
        {{SENSE(SENSE_ABORTED_COMMAND, 0, 0)}, -EIO},
        {{SENSE(SENSE_ABORTED_COMMAND, 0x47, 5)}, -EIO},
        {{SENSE(SENSE_MEDIUM_ERROR, 0x0c, 0)}, -EIO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer a = rows[i].a;

        begin(0);
        a.op = SCSI_COMPARE_AND_WRITE;
        a.sub = a.lun = ANY_OP;
        a.times = EVER;
        fh_script(&d.f, a);
        assert_int_equal(lunette_compare_and_write(&lun, buf, buf, 512, 0, 0, NULL, &err),
                         rows[i].err);
        assert_int_equal(fh_count(&d.f, SCSI_COMPARE_AND_WRITE), 1);
        finish();
    }
}

/* A device that claims to have it, and has it not. */
static void
test_compare_and_write_is_refused(void **state)
{
    (void)state;
    begin(0);
    assert_int_equal(bdev_get_limits(d.b)->max_compare_write, 4096);
    fh_script(&d.f, ANSWER(SCSI_COMPARE_AND_WRITE, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)));
    assert_int_equal(lunette_compare_and_write(&lun, buf, buf, 512, 0, 0, NULL, &err), -EOPNOTSUPP);
    assert_int_equal(bdev_get_limits(d.b)->max_compare_write, 0);
    assert_int_equal(lunette_compare_and_write(&lun, buf, buf, 512, 0, 0, NULL, &err), -EOPNOTSUPP);
    assert_int_equal(fh_count(&d.f, SCSI_COMPARE_AND_WRITE), 1);
    finish();
}

static void
test_where_it_differs(void **state)
{
    const struct scsi_sense s = {
        .key = SENSE_MISCOMPARE, .asc = 0x1d, .has_info = true, .info = 77};
    struct lunette_completion c;
    uint8_t sense[SENSE_MAX];
    uint64_t at = 0;

    (void)state;
    assert_int_equal(lunette_sense_information(sense, (size_t)sense_build_fixed(sense, &s), &at),
                     0);
    assert_int_equal(at, 77);
    assert_int_equal(lunette_sense_information(sense, 8, &at), 0);
    assert_int_equal(lunette_sense_information(sense, 6, &at), -ENOENT);
    assert_int_equal(lunette_sense_information(NULL, 0, &at), -ENOENT);
    begin(2);
    fh_script(&d.f, ANSWER(SCSI_COMPARE_AND_WRITE, EVER, SENSE(SENSE_MISCOMPARE, 0x1d, 0)));
    assert_int_equal(lunette_compare_and_write(&lun, buf, buf, 512, 0, 0, &at, &err), -EILSEQ);
    assert_true(at == UINT64_MAX); /* it does not tell */
    assert_int_equal(lunette_queue_compare_and_write(q, buf, buf, 512, 0, 0, buf), 0);
    assert_int_equal(lunette_queue_poll(q, &c, 1, 1, -1), 1);
    assert_int_equal(c.err, -EILSEQ);
    assert_int_equal(lunette_sense_information(c.sense, c.sense_len, &at), -ENOENT);
    finish();
}

/* ---- persistent reservations ---------------------------------------------------------------- */

static void
test_what_is_sent(void **state)
{
    struct pr_list l;

    (void)state;
    begin(0);
#define SENT(call, sa, type_, key_, sa_key, flags_)                                                \
    do {                                                                                           \
        assert_int_equal(call, 0);                                                                 \
        assert_int_equal(d.f.op[d.f.n - 1], SCSI_PERSISTENT_RESERVE_OUT);                          \
        assert_int_equal(d.f.byte1[d.f.n - 1], sa);                                                \
        assert_int_equal(d.f.byte2[d.f.n - 1], type_);                                             \
        assert_int_equal(d.f.last_out_len, PR_LIST_LEN);                                           \
        pr_list_parse(d.f.last_out, &l);                                                           \
        assert_true(l.key == (key_) && l.service_key == (sa_key) && l.flags == (flags_));          \
    } while (0)
    SENT(lunette_pr_register(&lun, 0, KEY, LUNETTE_PR_APTPL, &err), 0, 0, 0, KEY, PR_APTPL);
    SENT(lunette_pr_register(&lun, KEY, 5, 0, &err), 0, 0, KEY, 5, 0);
    SENT(lunette_pr_register(&lun, KEY, 6, LUNETTE_PR_IGNORE_KEY, &err), 6, 0, 0, 6, 0);
    SENT(lunette_pr_reserve(&lun, 6, LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY, &err), 1, 5, 6, 0,
         0);
    SENT(lunette_pr_release(&lun, 6, LUNETTE_PR_EXCLUSIVE_ACCESS, &err), 2, 3, 6, 0, 0);
    SENT(lunette_pr_clear(&lun, 6, &err), 3, 0, 6, 0, 0);
    SENT(lunette_pr_preempt(&lun, 6, 9, LUNETTE_PR_WRITE_EXCLUSIVE, 0, &err), 4, 1, 6, 9, 0);
    SENT(lunette_pr_preempt(&lun, 6, 9, LUNETTE_PR_EXCLUSIVE_ACCESS_ALL_REGISTRANTS,
                            LUNETTE_PR_ABORT, &err),
         5, 8, 6, 9, 0);
    finish();
}

static void
test_what_is_not_sent(void **state)
{
    unsigned n;

    (void)state;
    begin(0);
    n = d.f.n;
    assert_int_equal(lunette_pr_register(&lun, 0, KEY, LUNETTE_PR_ABORT, &err), -EINVAL);
    assert_int_equal(lunette_pr_preempt(&lun, 1, 2, LUNETTE_PR_WRITE_EXCLUSIVE, 1, &err), -EINVAL);
    assert_int_equal(lunette_pr_reserve(&lun, 1, (enum lunette_pr_type)2, &err), -EINVAL);
    assert_non_null(strstr(err.msg, "type 2"));
    assert_int_equal(lunette_pr_release(&lun, 1, LUNETTE_PR_NONE, &err), -EINVAL);
    assert_int_equal(lunette_pr_preempt(&lun, 1, 2, LUNETTE_PR_NONE, 0, &err), -EINVAL);
    lun.flags = LUNETTE_OPEN_RDONLY;
    assert_int_equal(lunette_pr_register(&lun, 0, KEY, 0, &err), -EROFS);
    lun.flags = 0;
    lun.dev = NULL;
    assert_int_equal(lunette_pr_clear(&lun, KEY, &err), -ENXIO);
    assert_int_equal(lunette_pr_read_keys(&lun, &(struct lunette_pr_registrants *){NULL}, &err),
                     -ENXIO);
    lun.dev = d.dev;
    assert_int_equal(d.f.n, n);
    finish();
}

static void
test_how_they_end(void **state)
{
    static const struct {
        struct answer a;
        int err;
        unsigned sent;
    } rows[] = {
        {{.status = SCSI_RESERVATION_CONFLICT}, -EBADE, 1},
        {{.status = SCSI_BUSY}, -EBUSY, 1},
        {{.status = SCSI_TASK_ABORTED}, -ECANCELED, 1},
        {{SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)}, -EOPNOTSUPP, 1},
        {{SENSE(SENSE_ILLEGAL_REQUEST, 0x26, 0x04)}, -EREMOTEIO, 1},
        {{SENSE(SENSE_ILLEGAL_REQUEST, 0x25, 0)}, -ENXIO, 1},
        {{SENSE(SENSE_RECOVERED, 0, 0)}, 0, 1},
        {{SENSE(SENSE_NOT_READY, 4, 1)}, -EIO, 1},
        {{SENSE(0xff, 0, 0)}, -EIO, 1},
        {{SENSE(SENSE_UNIT_ATTENTION, 0x2a, 0x03)}, -EIO, 9},
        {{.host = DID_TRANSPORT_DISRUPTED}, -ENOLINK, 1},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer a = rows[i].a;

        begin(0);
        a.op = SCSI_PERSISTENT_RESERVE_OUT;
        a.sub = a.lun = ANY_OP;
        a.times = EVER;
        fh_script(&d.f, a);
        assert_int_equal(
            lunette_pr_reserve(&lun, KEY, LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY, &err),
            rows[i].err);
        assert_int_equal(fh_count(&d.f, SCSI_PERSISTENT_RESERVE_OUT), rows[i].sent);
        if (rows[i].err != 0)
            assert_int_equal(strncmp(err.msg, "reserve: ", 9), 0);
        finish();
    }
    begin(0); /* what tells of something else does not count */
    fh_script(&d.f, ANSWER(SCSI_PERSISTENT_RESERVE_OUT, 2, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 3)));
    assert_int_equal(lunette_pr_clear(&lun, KEY, &err), 0);
    assert_int_equal(fh_count(&d.f, SCSI_PERSISTENT_RESERVE_OUT), 3);
    finish();
}

static void
answers(const void *data, size_t len)
{
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(SCSI_PERSISTENT_RESERVE_IN, 1, .data = data, .len = (uint32_t)len));
}

static void
test_asking_for_the_reservation(void **state)
{
    static const uint8_t wero[] = "\0\0\0\x02\0\0\0\x10"
                                  "\0\0\0\0\0\0\0\x07\0\0\0\0\0\x05\0\0";
    struct lunette_pr_reservation held = LUNETTE_INIT(held);

    (void)state;
    begin(0);
    answers(wero, 24);
    assert_int_equal(lunette_pr_read_reservation(&lun, &held, &err), 0);
    assert_int_equal(held.type, LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY);
    assert_int_equal(held.key, 7);
    assert_int_equal(held.generation, 2);
    answers("\0\0\0\x03\0\0\0\0", 8);
    assert_int_equal(lunette_pr_read_reservation(&lun, &held, &err), 0);
    assert_int_equal(held.type, LUNETTE_PR_NONE);
    assert_int_equal(held.generation, 3);
    answers(wero, 20);
    assert_int_equal(lunette_pr_read_reservation(&lun, &held, &err), -EPROTO);
    answers(wero, 24);
    held.struct_size = 3;
    assert_int_equal(lunette_pr_read_reservation(&lun, &held, &err), -EINVAL);
    finish();
}

static void
test_asking_for_all(void **state)
{
    struct lunette_pr_registrant one = LUNETTE_INIT(one);
    struct lunette_pr_registrants *regs = NULL;
    struct pr_registrant r = {.key = 9,
                              .holder = true,
                              .type = 5,
                              .target_port = 1,
                              .protocol = PR_PROTOCOL_ISCSI,
                              .port = "iqn.2026-11.example:a,i,0x00023d000001"};
    uint8_t data[8192] = {[3] = 4};
    int n;

    (void)state;
    begin(0);
    for (uint64_t i = 0; i < 1000; i++)
        st_be64(data + 8 + 8 * i, i + 1);
    st_be32(data + 4, 8 * 1000);
    answers(data, 8 + 8 * 1000); /* more than is asked for at first */
    d.f.script[0].times = 2;
    assert_int_equal(lunette_pr_read_keys(&lun, &regs, &err), 0);
    assert_int_equal(fh_count(&d.f, SCSI_PERSISTENT_RESERVE_IN), 2);
    assert_int_equal(lunette_pr_registrants_count(regs), 1000);
    assert_int_equal(lunette_pr_registrants_generation(regs), 4);
    assert_int_equal(lunette_pr_registrants_get(regs, 999, &one), 0);
    assert_int_equal(one.key, 1000);
    assert_string_equal(one.port, "");
    assert_int_equal(lunette_pr_registrants_get(regs, 1000, &one), -ENOENT);
    one.struct_size = 1;
    assert_int_equal(lunette_pr_registrants_get(regs, 0, &one), -EINVAL);
    one.struct_size = sizeof(one);
    lunette_pr_registrants_free(regs);
    n = pr_status_build(data + 8, sizeof(data) - 8, &r);
    st_be32(data + 4, (uint32_t)n);
    answers(data, 8 + (size_t)n);
    assert_int_equal(lunette_pr_read_full_status(&lun, &regs, &err), 0);
    assert_int_equal(lunette_pr_registrants_count(regs), 1);
    assert_int_equal(lunette_pr_registrants_get(regs, 0, &one), 0);
    assert_true(one.holder && !one.all_target_ports && one.key == 9 && one.target_port == 1);
    assert_int_equal(one.type, LUNETTE_PR_WRITE_EXCLUSIVE_REGISTRANTS_ONLY);
    assert_string_equal(one.port, r.port);
    lunette_pr_registrants_free(regs);
    lunette_pr_registrants_free(NULL);
    finish();
}

static void
test_answers_that_do_not_add_up(void **state)
{
    struct lunette_pr_registrants *regs = NULL;
    uint8_t data[8192] = {0};

    (void)state;
    begin(0);
    answers(data, 7);
    assert_int_equal(lunette_pr_read_keys(&lun, &regs, &err), -EPROTO);
    st_be32(data + 4, 800);
    answers(data, 400); /* shorter than it says, though there was room */
    assert_int_equal(lunette_pr_read_keys(&lun, &regs, &err), -EPROTO);
    st_be32(data + 4, 70000);
    answers(data, sizeof(data));
    assert_int_equal(lunette_pr_read_keys(&lun, &regs, &err), -EOVERFLOW);
    assert_null(regs);
    finish();
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cancel_where_it_is),
        cmocka_unit_test(test_cancel_one_that_has_ended),
        cmocka_unit_test(test_cancel_a_raw_command),
        cmocka_unit_test(test_one_completion_whatever_races),
        cmocka_unit_test(test_a_queue_with_a_time_limit),
        cmocka_unit_test(test_the_limit_counts_without_a_session),
        cmocka_unit_test(test_synchronous_calls_with_a_time_limit),
        cmocka_unit_test(test_shrunk_under_a_request),
        cmocka_unit_test(test_compare_and_write),
        cmocka_unit_test(test_compare_and_write_is_sent_once),
        cmocka_unit_test(test_compare_and_write_is_refused),
        cmocka_unit_test(test_where_it_differs),
        cmocka_unit_test(test_what_is_sent),
        cmocka_unit_test(test_what_is_not_sent),
        cmocka_unit_test(test_how_they_end),
        cmocka_unit_test(test_asking_for_the_reservation),
        cmocka_unit_test(test_asking_for_all),
        cmocka_unit_test(test_answers_that_do_not_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
