/* SPDX-License-Identifier: MIT */
/* A session that was lost and is back: what is sent again, when, to whom, and what is not. */
#include "tests/support/alloc_fail.h"
#include "tests/unit/scsi/fake_host.h"

#include "scsi/internal.h"

#define OTHER "\x60zzzzzzzzzzzzzzz"

#define PAGE(page, times_, ...)                                                                    \
    ((struct answer){                                                                              \
        .op = SCSI_INQUIRY, .sub = (page), .lun = ANY_OP, .times = (times_), __VA_ARGS__})

static struct fdisk d;
static int exec_calls;

static void
exec_done(struct scsi_exec *x)
{
    (void)x;
    exec_calls++;
}

/* Sends what there is to send, and leaves it with the host. */
static void
hold(void)
{
    d.f.hold = true;
    fake_turn(&d.f.loop);
    fake_turn(&d.f.loop);
}

static void
let_go(void)
{
    d.f.hold = false;
    loop_defer(&d.f.loop.l, &d.f.work);
}

/* The connection is lost, and the session is back. */
static void
lose_and_return(void)
{
    fh_lose(&d.f);
    fake_advance(&d.f.loop, SEC(2));
    let_go();
    fh_state(&d.f, SCSI_HOST_RUNNING);
}

static void
open_with(const struct flun *like)
{
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    (void)fh_add(&d.f, 0, 0);
    if (like != NULL)
        d.f.luns[0] = *like;
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
}

/* ---- what goes again ------------------------------------------------------------------------ */

/* However often the connection is lost under it, what is safe to send again is, and only then. */
static void
test_what_goes_again(void **state)
{
    static const struct {
        enum bdev_op op;
        uint32_t flags;
        uint8_t cdb0; /* that it is sent as */
        bool again;
    } rows[] = {
        {BDEV_READ, 0, SCSI_READ_10, true},
        {BDEV_READ, BDEV_F_PROMPT, SCSI_READ_10, true},
        {BDEV_WRITE, 0, SCSI_WRITE_10, true},
        {BDEV_WRITE, BDEV_F_FUA, SCSI_WRITE_10, true},
        {BDEV_WRITE, BDEV_F_PROMPT, SCSI_WRITE_10, true},
        {BDEV_FLUSH, 0, SCSI_SYNC_CACHE_10, true},
        {BDEV_DISCARD, 0, SCSI_UNMAP, true},
        {BDEV_WRITE_ZEROES, 0, SCSI_WRITE_SAME_16, true},
        {BDEV_WRITE, BDEV_F_FAILFAST, SCSI_WRITE_10, false},
        {BDEV_COMPARE_WRITE, 0, SCSI_COMPARE_AND_WRITE, false},
        {BDEV_SCSI, 0, SCSI_REQUEST_SENSE, false},
    };
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flun *l;
        struct io io;

        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        l = fh_add(&d.f, 0, 0);
        l->cap.lbpme = l->ws16 = true;
        l->b0.max_unmap_lba = l->b0.max_unmap_desc = 100;
        l->b2.lbpu = true;
        fd_up(&d);
        fh_script(&d.f, ANSWER(rows[i].cdb0, EVER, .never = true));
        if (rows[i].op == BDEV_SCSI) {
            memset(&io, 0, sizeof(io));
            io.r = (struct bdev_req){.op = BDEV_SCSI, .cdb = cdb, .cdb_len = 6, .done = io_done};
            assert_int_equal(bdev_submit(d.q, &io.r), 0);
        } else {
            io_submit(&d, &io, rows[i].op, 4096, rows[i].op == BDEV_FLUSH ? 0 : 512, rows[i].flags);
        }
        for (unsigned n = 0; n < 30; n++) { /* many more than retries are allowed */
            fake_turn(&d.f.loop);
            assert_int_equal(d.f.nout, rows[i].again || n == 0);
            assert_int_equal(fh_count(&d.f, rows[i].cdb0), rows[i].again ? n + 1 : 1);
            fh_lose(&d.f);
            fake_advance(&d.f.loop, SEC(100));
            assert_int_equal(io.done, !rows[i].again);
            fh_state(&d.f, SCSI_HOST_RUNNING);
        }
        fake_turn(&d.f.loop);
        d.f.nscript = 0;
        lose_and_return();
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(io.done, 1);
        assert_int_equal(io.r.result.err, rows[i].again ? 0 : -ENOLINK);
        assert_int_equal(d.dev->stats.retries, 0);
        assert_int_equal(d.dev->stats.timeouts, 0);
        fd_close(&d);
    }
}

/* A raw command: one that was under way may have been executed, one that was not goes. */
static void
test_raw_commands(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};
    struct scsi_exec sent = {.cdb = cdb, .cdb_len = 6, .timeout_ms = 1000, .done = exec_done};
    struct scsi_exec waits = sent;
    struct scsi_device *dev;

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    (void)fh_add(&d.f, 0, 0);
    dev = fh_scan_lun(&d.f, 0);
    d.f.n = 0;
    exec_calls = 0;
    assert_int_equal(scsi_execute(dev, &sent), 0);
    hold();
    fh_lose(&d.f);
    assert_int_equal(scsi_execute(dev, &waits), 0);
    fake_advance(&d.f.loop, SEC(500));
    assert_int_equal(exec_calls, 1);
    assert_int_equal(sent.result.err, -ENOLINK);
    let_go();
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, MS(100));
    assert_int_equal(exec_calls, 2);
    assert_int_equal(waits.result.err, 0);
    assert_int_equal(fh_count(&d.f, SCSI_REQUEST_SENSE), 2);
    assert_int_equal(d.f.op[d.f.n - 1], SCSI_REQUEST_SENSE); /* after the look */
    fh_close(&d.f);
}

/* What a write has moved already is not written again. */
static void
test_partly_done_write(void **state)
{
    struct io io;

    (void)state;
    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, 1, .is_short = true, .len = 3 * 512));
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, 2, .never = true));
    io_submit(&d, &io, BDEV_WRITE, 8192, 8 * 512, 0);
    fake_turn(&d.f.loop);
    assert_int_equal(d.f.nout, 1); /* the rest */
    lose_and_return();
    fake_turn(&d.f.loop);
    assert_int_equal(d.f.nout, 1);
    assert_int_equal(ld_be32(d.f.out[0]->cdb + 2), 8192 / 512 + 3);
    assert_int_equal(ld_be16(d.f.out[0]->cdb + 7), 5);
    assert_int_equal(d.f.out[0]->out.len, 5 * 512);
    lose_and_return();
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 4);
    fd_close(&d);
}

/* A flush that is sent again covers what was acknowledged before the loss. */
static void
test_flush_after_a_loss(void **state)
{
    struct scsi_sdev *s;
    struct io io;

    (void)state;
    fd_open(&d);
    s = sdev_of(d.dev);
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
    io_submit(&d, &io, BDEV_FLUSH, 0, 0, 0);
    hold();
    lose_and_return();
    assert_int_equal(io.done, 0);
    assert_true(s->flushed < s->writes);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    assert_int_equal(fh_count(&d.f, SCSI_SYNC_CACHE_10), 2);
    assert_int_equal(s->flushed, s->writes);
    fd_close(&d);
}

/* ---- clocks --------------------------------------------------------------------------------- */

/* A command that the host has not given back yet when the session is back has what was left of its
 * time, and is not aborted before. */
static void
test_clocks_stand_still(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};
    struct scsi_exec x = {.cdb = cdb, .cdb_len = 6, .timeout_ms = 30000, .done = exec_done};
    struct io io;

    (void)state;
    fd_open(&d);
    exec_calls = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    io_submit(&d, &io, BDEV_READ, 0, 512, BDEV_F_PROMPT);
    fake_advance(&d.f.loop, SEC(20));
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    assert_int_equal(scsi_execute(d.dev, &x), 0);
    for (int i = 0; i < 10; i++) {
        fake_advance(&d.f.loop, SEC(100));
        scsi_check_fast(d.f.t);
        blk_check_fast(d.b);
    }
    assert_int_equal(d.f.aborts, 0);
    assert_int_equal(exec_calls, 0);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(9));
    assert_int_equal(exec_calls, 1);
    assert_int_equal(x.result.err, 0);
    assert_int_equal(d.f.aborts, 0);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(d.f.aborts, 1);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    fd_close(&d);
}

/* The time of a request that is retried counts without the outages. */
static void
test_time_of_a_request_without_outages(void **state)
{
    struct io io;
    unsigned n;

    (void)state;
    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER, .status = SCSI_BUSY));
    io_submit(&d, &io, BDEV_WRITE, 0, 512, 0);
    for (n = 0; n < 17; n++) { /* 170 s of 180 */
        fake_advance(&d.f.loop, SEC(10));
        fh_lose(&d.f);
        fake_advance(&d.f.loop, SEC(100));
        fh_state(&d.f, SCSI_HOST_RUNNING);
    }
    fake_advance(&d.f.loop, SEC(8));
    assert_int_equal(io.done, 0);
    fake_advance(&d.f.loop, SEC(4));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, -EBUSY);
    fd_close(&d);
}

/* ---- who is there --------------------------------------------------------------------------- */

/* Each way in which a unit may differ. */
static void
change(struct flun *l, int how)
{
    switch (how) {
    case 0:
        l->name = OTHER;
        break;
    case 1:
        l->name = NULL;
        break;
    case 2:
        l->serial = "SERIAL2";
        break;
    case 3:
        l->serial = NULL;
        break;
    case 4:
        memcpy(l->inq.vendor, "STRANGER", 8);
        break;
    case 5:
        memcpy(l->inq.product, "THING", 6);
        break;
    case 6:
        l->inq.type = SCSI_TYPE_ZONED;
        break;
    case 7:
        l->cap.block_len = 4096;
        break;
    case 8: /* nothing of what it told is told */
        l->no_vpd = true;
        break;
    default:
        l->name = NULL;
        l->serial = "SERIAL2";
        break;
    }
}
#define CHANGES 10

static bool
why_says(const struct scsi_device *dev, const char *text)
{
    const struct lunette_error *why = scsi_device_why(dev);

    return why != NULL && strstr(why->msg, text) != NULL;
}

/* Nothing is written to another unit, not by what was under way, not by what waits, and not later,
 * even if the old unit is back. */
static void
test_another_unit(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};

    (void)state;
    for (int how = 0; how < 2 * CHANGES; how++) { /* also after the session was given up */
        struct flun old;
        struct io a, b, c;
        struct scsi_exec x;

        open_with(NULL);
        old = d.f.luns[0];
        io_submit(&d, &a, BDEV_WRITE, 0, 4096, BDEV_F_PROMPT);
        hold();
        d.f.n = 0;
        fh_lose(&d.f);
        io_submit(&d, &b, BDEV_WRITE, 4096, 8 << 20, 0); /* many pieces */
        fake_advance(&d.f.loop, SEC(1));
        if (how >= CHANGES) {
            fh_state(&d.f, SCSI_HOST_GONE);
            fake_advance(&d.f.loop, SEC(1));
            assert_int_equal(a.r.result.err, -ENOTCONN);
        }
        change(&d.f.luns[0], how % CHANGES);
        let_go();
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.dev->state, SDEV_OFFLINE);
        assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
        assert_int_equal(a.done, 1);
        assert_int_equal(b.done, 1);
        if (how < CHANGES) {
            assert_int_equal(a.r.result.err, -ENXIO);
            assert_int_equal(b.r.result.err, -ENXIO);
        }
        assert_true(why_says(d.dev, "another unit is in the place of LUN 0: its "));
        memset(&c, 0, sizeof(c));
        c.r = (struct bdev_req){.op = BDEV_FLUSH, .done = io_done};
        assert_int_equal(bdev_submit(d.q, &c.r), -ENXIO);
        x = (struct scsi_exec){.cdb = cdb, .cdb_len = 6, .done = exec_done};
        assert_int_equal(scsi_execute(d.dev, &x), -ENXIO);
        assert_int_equal(scsi_device_online(d.dev), -EINVAL);
        d.f.luns[0] = old;
        lose_and_return();
        fake_advance(&d.f.loop, SEC(10));
        assert_int_equal(d.dev->state, SDEV_OFFLINE);
        assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
        assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 0);
        fd_close(&d);
    }
}

/* A unit that has no name, or neither name nor serial number, is known by what it has; and one that
 * has a name all of a sudden is another one. */
static void
test_units_without_a_name(void **state)
{
    (void)state;
    for (int what = 0; what < 3; what++) {
        for (int how = -1; how < 6; how++) {
            struct flun l;

            memset(&d, 0, sizeof(d));
            fh_init(&d.f);
            l = *fh_add(&d.f, 0, 0);
            l.name = NULL;
            if (what > 0)
                l.serial = NULL;
            l.no_vpd = what > 1;
            open_with(&l);
            fh_lose(&d.f);
            if (how == 0)
                d.f.luns[0].name = OTHER;
            else if (how == 1)
                d.f.luns[0].serial = "SERIAL2";
            else if (how > 1)
                change(&d.f.luns[0], how);
            fh_state(&d.f, SCSI_HOST_RUNNING);
            fake_advance(&d.f.loop, SEC(1));
            if (how < 0 || (how == 3 && what > 0) || (what > 1 && how < 4))
                assert_int_equal(d.dev->state, SDEV_RUNNING);
            else
                assert_int_equal(d.dev->state, SDEV_OFFLINE);
            fd_close(&d);
        }
    }
}

/* A raw command must not reach another unit either. */
static void
test_raw_command_and_another_unit(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};

    (void)state;
    for (int how = 0; how < CHANGES; how++) {
        struct scsi_exec x = {.cdb = cdb, .cdb_len = 6, .timeout_ms = 1000, .done = exec_done};
        struct scsi_device *dev;

        if (how == 7) /* of what is no disk nobody knows */
            continue;
        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        (void)fh_add(&d.f, 0, 0);
        dev = fh_scan_lun(&d.f, 0);
        exec_calls = 0;
        fh_lose(&d.f);
        assert_int_equal(scsi_execute(dev, &x), 0);
        change(&d.f.luns[0], how);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(exec_calls, 1);
        assert_int_equal(x.result.err, -ENXIO);
        assert_int_equal(fh_count(&d.f, SCSI_REQUEST_SENSE), 0);
        assert_int_equal(scsi_execute(dev, &x), -ENXIO);
        fh_close(&d.f);
    }
}

/* A device that was added although no unit answers has nothing that could be compared. */
static void
test_raw_device_without_a_unit(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};
    struct scsi_exec x = {.cdb = cdb, .cdb_len = 6, .timeout_ms = 1000, .done = exec_done};
    struct scanned s = {0};

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    assert_int_equal(scsi_add_lun(d.f.t, lun_from_number(3).b, scan_lun_done, &s), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_non_null(s.dev);
    exec_calls = 0;
    fh_lose(&d.f);
    assert_int_equal(scsi_execute(s.dev, &x), 0);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(exec_calls, 1);
    assert_int_equal(x.result.err, 0);
    assert_int_equal(x.result.scsi_status, SCSI_CHECK_CONDITION);
    fh_close(&d.f);
}

/* A unit that is swapped while it is being probed is told as what it is, not as half of both. */
static void
test_swapped_while_probed(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 6; n++) {
        struct scanned s = {0};
        struct flun *l;

        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        l = fh_add(&d.f, 0, 0);
        assert_int_equal(scsi_scan_lun(d.f.t, lun_from_number(0).b, scan_lun_done, &s), 0);
        d.f.hold_from = n;
        fake_turn(&d.f.loop);
        assert_int_equal(d.f.n, n);
        d.f.hold_from = 0;
        fh_lose(&d.f);
        change(l, 0);
        change(l, 2);
        change(l, 4);
        change(l, 5);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(s.done, 1);
        assert_non_null(s.dev);
        assert_string_equal(s.dev->vendor, "STRANGER");
        assert_string_equal(s.dev->product, "THING");
        assert_string_equal(s.dev->serial, "SERIAL2");
        assert_non_null(strstr(s.dev->name, "7a7a7a"));
        assert_int_equal(s.dev->state, SDEV_RUNNING);
        scsi_check_fast(d.f.t);
        fh_close(&d.f);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_again),
        cmocka_unit_test(test_raw_commands),
        cmocka_unit_test(test_partly_done_write),
        cmocka_unit_test(test_flush_after_a_loss),
        cmocka_unit_test(test_clocks_stand_still),
        cmocka_unit_test(test_time_of_a_request_without_outages),
        cmocka_unit_test(test_another_unit),
        cmocka_unit_test(test_units_without_a_name),
        cmocka_unit_test(test_raw_command_and_another_unit),
        cmocka_unit_test(test_raw_device_without_a_unit),
        cmocka_unit_test(test_swapped_while_probed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
