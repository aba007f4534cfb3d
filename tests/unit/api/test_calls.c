/* SPDX-License-Identifier: MIT */
/* Calls that want more than data moved: time limits, cancel, compare-and-write; on a
 * unit whose host and target are the test's. */
#include "tests/unit/scsi/fake_host.h"

#include "api/internal.h"

static struct fdisk d;
static struct loop_ops ops;
static struct lunette_ctx ctx;
static struct stack_disk disk;
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
    lun = (struct lunette_lun){.s.ctx = &ctx, .dev = d.dev, .disk = &disk};
    lun.info.block_size = 512;
    lun.info.size = bdev_get_limits(d.b)->size;
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
    assert_true(d.f.loop.l.now_ns - t0 >= SEC(9) && d.f.loop.l.now_ns - t0 < SEC(10));
    d.f.nscript = 0;
    assert_int_equal(lunette_pread(&lun, buf, 512, 0, &err), 0);
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
        enum scsi_host_result host;
        uint8_t status;
        int err;
    } rows[] = {
        {DID_TRANSPORT_DISRUPTED, 0, -ENOLINK},
        {DID_ERROR, 0, -ENOLINK},
        {DID_RESET, 0, -ECANCELED},
        {DID_OK, SCSI_TASK_ABORTED, -ECANCELED},
        {DID_OK, SCSI_RESERVATION_CONFLICT, -EBADE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        begin(0);
        fh_script(&d.f, ANSWER(SCSI_COMPARE_AND_WRITE, EVER, .host = rows[i].host,
                               .status = rows[i].status));
        assert_int_equal(lunette_compare_and_write(&lun, buf, buf, 512, 0, 0, NULL, &err),
                         rows[i].err);
        assert_int_equal(fh_count(&d.f, SCSI_COMPARE_AND_WRITE), 1);
        finish();
    }
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
        cmocka_unit_test(test_compare_and_write),
        cmocka_unit_test(test_compare_and_write_is_sent_once),
        cmocka_unit_test(test_where_it_differs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
