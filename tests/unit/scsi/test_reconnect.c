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
            if (n < 2)                      /* the first time at once, and then after a while */
                fake_turn(&d.f.loop);
            else
                fake_advance(&d.f.loop, MS(SCSI_LOST_MAX_MS));
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
        fake_advance(&d.f.loop, SEC(3));
        assert_int_equal(io.done, 1);
        assert_int_equal(io.r.result.err, rows[i].again ? 0 : -ENOLINK);
        assert_int_equal(d.dev->stats.retries, 0);
        assert_int_equal(d.dev->stats.timeouts, 0);
        fd_close(&d);
    }
}

/* A session that does not come back: what changes the disk and has been under way may have been
 * executed, and of nothing else is that said. */
static void
test_what_may_have_been_executed(void **state)
{
    static const struct {
        enum bdev_op op;
        uint32_t flags;
        int err;
    } rows[] = {
        {BDEV_READ, 0, -ENOTCONN},
        {BDEV_READ, BDEV_F_PROMPT, -ENOTCONN},
        {BDEV_FLUSH, 0, -ENOTCONN},
        {BDEV_WRITE, 0, -ENOLINK},
        {BDEV_WRITE, BDEV_F_PROMPT, -ENOLINK},
        {BDEV_WRITE, BDEV_F_FUA, -ENOLINK},
        {BDEV_DISCARD, 0, -ENOLINK},
        {BDEV_WRITE_ZEROES, 0, -ENOLINK},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        /* 0: it is lost for good at once; 1: after it was sent again and refused; 2: it has never
         * been sent */
        for (int how = 0; how < 3; how++) {
            struct flun *l;
            struct io io;

            memset(&d, 0, sizeof(d));
            fh_open(&d.f);
            l = fh_add(&d.f, 0, 0);
            l->cap.lbpme = l->ws16 = true;
            l->b0.max_unmap_lba = l->b0.max_unmap_desc = 100;
            l->b2.lbpu = true;
            fd_up(&d);
            if (how == 2)
                fh_lose(&d.f);
            io_submit(&d, &io, rows[i].op, 4096, rows[i].op == BDEV_FLUSH ? 0 : 512, rows[i].flags);
            hold();
            fh_lose(&d.f);
            let_go();
            if (how == 1) {
                fh_script(&d.f, ANSWER(SCSI_READ_10, EVER, .status = SCSI_BUSY));
                fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER, .status = SCSI_BUSY));
                fh_script(&d.f, ANSWER(SCSI_SYNC_CACHE_10, EVER, .status = SCSI_BUSY));
                fh_script(&d.f, ANSWER(SCSI_UNMAP, EVER, .status = SCSI_BUSY));
                fh_script(&d.f, ANSWER(SCSI_WRITE_SAME_16, EVER, .status = SCSI_BUSY));
                fh_state(&d.f, SCSI_HOST_RUNNING);
                fake_advance(&d.f.loop, SEC(2));
                assert_true(d.dev->stats.busy > 1);
                fh_lose(&d.f);
            }
            fake_advance(&d.f.loop, SEC(1));
            assert_int_equal(io.done, 0);
            fh_state(&d.f, SCSI_HOST_GONE);
            fake_turn(&d.f.loop);
            assert_int_equal(io.done, 1);
            assert_int_equal(io.r.result.err, how == 2 ? -ENOTCONN : rows[i].err);
            fh_state(&d.f, SCSI_HOST_RUNNING); /* and nothing of that stays with the tag */
            d.f.nscript = 0;
            fake_advance(&d.f.loop, SEC(2));
            assert_int_equal(io_run(&d, rows[i].op, 4096, rows[i].op == BDEV_FLUSH ? 0 : 512, 0),
                             0);
            fh_state(&d.f, SCSI_HOST_GONE);
            assert_int_equal(io_run(&d, BDEV_WRITE, 0, 512, 0), -ENOTCONN);
            fd_close(&d);
        }
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

/* The host runs, but waits for a connection: what it has stays with it, and it takes nothing. */
static void
set_adrift(bool adrift)
{
    d.f.refuse = adrift ? UINT32_MAX : 0;
    d.f.h.ev->clock(d.f.h.ev_user, !adrift);
    d.f.h.ev->restart(d.f.h.ev_user);
}

/* A command that the host has not given back yet when the session is back has what was left of its
 * time, and is not aborted before. */
static void
clocks_stand_still(bool adrift)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};
    struct scsi_exec x = {.cdb = cdb, .cdb_len = 6, .timeout_ms = 30000, .done = exec_done};
    struct io io;

    fd_open(&d);
    exec_calls = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .never = true));
    io_submit(&d, &io, BDEV_READ, 0, 512, BDEV_F_PROMPT);
    fake_advance(&d.f.loop, SEC(20));
    if (adrift)
        set_adrift(true);
    else
        fh_state(&d.f, SCSI_HOST_BLOCKED);
    assert_int_equal(scsi_execute(d.dev, &x), 0);
    for (int i = 0; i < 10; i++) {
        fake_advance(&d.f.loop, SEC(100));
        scsi_check_fast(d.f.t);
        blk_check_fast(d.b);
    }
    assert_int_equal(d.f.aborts, 0);
    assert_int_equal(exec_calls, 0);
    if (adrift)
        set_adrift(false);
    else
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

static void
test_clocks_stand_still(void **state)
{
    (void)state;
    clocks_stand_still(false);
    clocks_stand_still(true);
}

/* The time of a request that is retried counts without the outages. */
static void
time_without_outages(bool adrift)
{
    struct io io;
    unsigned n;

    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER, .status = SCSI_BUSY));
    io_submit(&d, &io, BDEV_WRITE, 0, 512, 0);
    for (n = 0; n < 17; n++) { /* 170 s of 180 */
        fake_advance(&d.f.loop, SEC(10));
        if (adrift)
            set_adrift(true);
        else
            fh_lose(&d.f);
        fake_advance(&d.f.loop, SEC(100));
        if (adrift)
            set_adrift(false);
        else
            fh_state(&d.f, SCSI_HOST_RUNNING);
    }
    fake_advance(&d.f.loop, SEC(8));
    assert_int_equal(io.done, 0);
    fake_advance(&d.f.loop, SEC(4));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, -EBUSY);
    fd_close(&d);
}

static void
test_time_of_a_request_without_outages(void **state)
{
    (void)state;
    time_without_outages(false);
    time_without_outages(true);
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
            assert_int_equal(a.r.result.err, -ENOLINK); /* it may have been executed */
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

/* ---- what else may be different ------------------------------------------------------------- */

static void
test_smaller_and_larger(void **state)
{
    struct io in, out, both;

    (void)state;
    open_with(NULL);
    fh_lose(&d.f);
    io_submit(&d, &in, BDEV_WRITE, 0, 4096, 0);
    io_submit(&d, &out, BDEV_WRITE, 512ull << 19, 4096, 0);
    io_submit(&d, &both, BDEV_READ, (512ull << 19) - (2 << 20), 4 << 20, 0);
    d.f.luns[0].cap.blocks = 1 << 19;
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.f.events[SCSI_EV_CAPACITY], 1);
    assert_int_equal(in.r.result.err, 0);
    assert_int_equal(out.r.result.err, -EINVAL);
    assert_int_equal(both.done, 1);
    assert_int_equal(both.r.result.err, -EINVAL);
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 1);
    assert_int_equal(bdev_submit(d.q, &out.r), -EINVAL);
    d.f.luns[0].cap.blocks = 1 << 21;
    lose_and_return();
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.f.events[SCSI_EV_CAPACITY], 2);
    assert_int_equal(io_run(&d, BDEV_WRITE, 512ull << 20, 4096, 0), 0);
    fd_close(&d);
}

/* A unit that is not there when the target is back is waited for a little; then commands fail, and
 * it works again when it is there. */
static void
test_absent_for_a_while(void **state)
{
    struct io a, b;

    (void)state;
    open_with(NULL);
    d.f.luns[0].there = false;
    fh_lose(&d.f);
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(a.done, 0);
    d.f.luns[0].there = true;
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);

    d.f.luns[0].there = false;
    fh_lose(&d.f);
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(10));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENXIO);
    assert_true(why_says(d.dev, "no such unit"));
    assert_int_equal(d.f.events[SCSI_EV_OFFLINE], 1);
    io_submit(&d, &b, BDEV_WRITE, 0, 4096, 0);
    fake_turn(&d.f.loop);
    assert_int_equal(b.r.result.err, -ENXIO);
    fake_advance(&d.f.loop, SEC(500));
    d.f.luns[0].there = true;
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(d.dev->state, SDEV_RUNNING);
    assert_int_equal(d.f.events[SCSI_EV_OFFLINE], 1);
    assert_int_equal(d.f.events[SCSI_EV_ONLINE], 1);
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
    lose_and_return(); /* which is no news of that kind */
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(d.f.events[SCSI_EV_ONLINE], 1);
    fd_close(&d);
}

static void
test_not_ready_for_a_while(void **state)
{
    static const struct {
        uint8_t asc, ascq;
        unsigned times;
        uint64_t s; /* how long a request may wait */
        int err;
    } rows[] = {
        {0x04, 0x01, 8, 20, 0},
        {0x04, 0x02, 4, 10, 0},
        {0x04, 0x0a, 8, 20, 0},
        {0x04, 0x01, EVER, 102, -EIO},
        {0x04, 0x0b, EVER, 1, -EHOSTUNREACH}, /* the path's ALUA state */
        {0x04, 0x0c, EVER, 1, -EHOSTUNREACH},
        {0x04, 0x03, EVER, 1, -EIO},
        {0x3a, 0x00, EVER, 1, -ENOMEDIUM},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct io a;

        open_with(NULL);
        fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, rows[i].times,
                               SENSE(SENSE_NOT_READY, rows[i].asc, rows[i].ascq)));
        fh_lose(&d.f);
        io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(rows[i].s));
        assert_int_equal(a.done, 1);
        assert_int_equal(a.r.result.err, rows[i].err);
        assert_int_equal(fh_count(&d.f, SCSI_START_STOP_UNIT), rows[i].ascq == 0x02);
        if (rows[i].err != 0) {
            assert_int_equal(d.f.n, fh_count(&d.f, SCSI_TEST_UNIT_READY));
            assert_true(why_says(d.dev, "TEST UNIT READY: "));
            d.f.nscript = 0;
            fake_advance(&d.f.loop, SEC(3));
        }
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
        fd_close(&d);
    }
}

/* A unit that does not answer, or answers nonsense, is asked again; and requests do not wait for
 * that for ever. */
static void
test_look_that_fails(void **state)
{
    const struct answer rows[] = {
        ANSWER(SCSI_TEST_UNIT_READY, EVER, .status = SCSI_BUSY),
        ANSWER(SCSI_TEST_UNIT_READY, EVER, SENSE(SENSE_UNIT_ATTENTION, 0x29, 0)),
        ANSWER(SCSI_TEST_UNIT_READY, EVER, .host = DID_ERROR),
        ANSWER(SCSI_INQUIRY, EVER, .status = SCSI_BUSY),
        ANSWER(SCSI_INQUIRY, EVER, .status = SCSI_RESERVATION_CONFLICT),
        ANSWER(SCSI_INQUIRY, EVER, .host = DID_TRANSPORT_DISRUPTED),
        PAGE(0x00, EVER, .status = SCSI_BUSY),
        PAGE(0x80, EVER, SENSE(SENSE_ABORTED_COMMAND, 0, 0)),
        PAGE(0x83, EVER, SENSE(SENSE_ABORTED_COMMAND, 0, 0)),
        PAGE(0x83, EVER, .status = SCSI_RESERVATION_CONFLICT),
        PAGE(0x83, EVER, .data = "", .len = 0),
        ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)),
        ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, .never = true),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct io a;

        open_with(NULL);
        d.f.abort_result = SCSI_EH_SUCCESS;
        fh_script(&d.f, rows[i]);
        fh_lose(&d.f);
        io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(99));
        assert_int_equal(a.done, 0);
        fake_advance(&d.f.loop, SEC(2));
        assert_int_equal(a.done, 1);
        assert_true(a.r.result.err < 0 && a.r.result.err != -ENXIO);
        assert_non_null(scsi_device_why(d.dev));
        assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 0);
        d.f.nscript = 0;
        fake_advance(&d.f.loop, SEC(100));
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
        fd_close(&d);
    }
}

/* A page that cannot be had once, or a unit that goes away while it is asked, makes no other unit
 * of it; nor does a page that could not be had when the unit was found. */
static void
test_pages_that_come_and_go(void **state)
{
    const struct answer rows[] = {
        PAGE(0x83, 2, SENSE(SENSE_ABORTED_COMMAND, 0, 0)),
        PAGE(0x83, 5, .status = SCSI_TASK_SET_FULL),
        PAGE(0x83, 1, SENSE(SENSE_ILLEGAL_REQUEST, 0x25, 0)),
        PAGE(0x83, 2, SENSE(SENSE_ILLEGAL_REQUEST, 0x55, 3)), /* no resources */
        PAGE(0x00, 1, SENSE(SENSE_ILLEGAL_REQUEST, 0x25, 0)),
        PAGE(0x80, 9, SENSE(SENSE_NOT_READY, 0x04, 0x01)),
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        open_with(NULL);
        fh_script(&d.f, rows[i]);
        lose_and_return();
        fake_advance(&d.f.loop, SEC(10));
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        fd_close(&d);
    }
    for (int how = -1; how < 6; how++) {
        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        (void)fh_add(&d.f, 0, 0);
        fh_script(&d.f, PAGE(how % 2 == 0 ? 0x83 : 0x00, EVER, SENSE(SENSE_ABORTED_COMMAND, 0, 0)));
        fd_up(&d);
        assert_true(strncmp(d.dev->name, "vps.", 4) == 0);
        if (how >= 0)
            change(&d.f.luns[0], how);
        lose_and_return();
        fake_advance(&d.f.loop, SEC(10));
        assert_int_equal(d.dev->state, how < 4 ? SDEV_RUNNING : SDEV_OFFLINE);
        fd_close(&d);
    }
}

/* A reservation of somebody else keeps no disk away, and what could not be asked for because of it
 * is as it was: above all that there is a cache to flush. */
static void
test_reserved_by_somebody(void **state)
{
    (void)state;
    open_with(NULL);
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_6, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_10, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fh_script(&d.f, ANSWER(SCSI_READ_CAPACITY_10, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, 1, .status = SCSI_RESERVATION_CONFLICT));
    lose_and_return();
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(d.dev->state, SDEV_RUNNING);
    assert_int_equal(d.f.events[SCSI_EV_CAPACITY] + d.f.events[SCSI_EV_MODE], 0);
    assert_int_equal(bdev_get_limits(d.b)->size, 512ull << 20);
    assert_true(bdev_get_limits(d.b)->write_cache && bdev_get_limits(d.b)->fua);
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 512, 0), -EBADE);
    assert_int_equal(io_run(&d, BDEV_FLUSH, 0, 0, 0), 0);
    assert_int_equal(fh_count(&d.f, SCSI_SYNC_CACHE_10), 1);
    fd_close(&d);
}

/* Without memory the look is repeated. */
static void
test_without_memory(void **state)
{
    struct io a;

    (void)state;
    for (long n = 1; n <= 4; n++) { /* what a look allocates */
        open_with(NULL);
        fh_lose(&d.f);
        io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
        alloc_left = n - 1;
        fh_state(&d.f, SCSI_HOST_RUNNING);
        while (alloc_left >= 0)
            fake_turn(&d.f.loop);
        assert_int_equal(d.dev->state, SDEV_BLOCK);
        assert_int_equal(a.done, 0);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(a.done, 1);
        assert_int_equal(a.r.result.err, 0);
        fd_close(&d);
    }
}

/* ---- losses while it is looked at ----------------------------------------------------------- */

/* The connection is lost at each command of the look, again and again, and the unit is another one
 * in the end, or is not. */
static void
test_lost_again_and_again(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        for (unsigned n = 0; n < 14; n++) {
            struct io a;

            open_with(NULL);
            io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
            hold();
            d.f.n = 0;
            for (int k = 0; k < 40; k++) {
                fh_lose(&d.f);
                let_go();
                if (k % 3 != 0)
                    fake_advance(&d.f.loop, MS(50));
                scsi_check_fast(d.f.t);
                fh_state(&d.f, SCSI_HOST_RUNNING);
                scsi_check_fast(d.f.t);
                d.f.hold_from = d.f.n + n + 1;
                fake_turn(&d.f.loop);
            }
            fh_lose(&d.f);
            if (a.done == 0 && other)
                change(&d.f.luns[0], 0);
            d.f.n = d.f.hold_from = 0;
            fh_state(&d.f, SCSI_HOST_RUNNING);
            fake_advance(&d.f.loop, SEC(2));
            assert_int_equal(a.done, 1);
            assert_true(a.r.result.err == 0 || (other && a.r.result.err == -ENXIO));
            if (a.r.result.err == -ENXIO)
                assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 0);
            fd_close(&d);
        }
    }
}

/* A disk that was being looked at for another reason, and has told its size already, tells it again
 * in the new session. */
static void
test_lost_while_it_is_looked_at(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 20; n++) {
        open_with(NULL);
        disk_want(d.dev->disk, STEPS_ALL);
        d.f.hold_from = n;
        fake_turn(&d.f.loop);
        d.f.hold_from = 0;
        fh_lose(&d.f);
        d.f.luns[0].cap.blocks = 1 << 19;
        fake_advance(&d.f.loop, SEC(1));
        fh_state(&d.f, SCSI_HOST_RUNNING);
        while (d.dev->state != SDEV_RUNNING)
            fake_advance(&d.f.loop, MS(1));
        assert_int_equal(bdev_get_limits(d.b)->size, 512ull << 19);
        fd_close(&d);
    }
}

/* A disk that comes up while the session is lost tells what it is in the new one. */
static void
test_lost_while_it_comes_up(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 12; n++) {
        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        (void)fh_add(&d.f, 0, 0);
        d.dev = fh_scan_lun(&d.f, 0);
        d.f.n = 0;
        assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), 0);
        d.f.hold_from = n;
        fake_turn(&d.f.loop);
        d.f.hold_from = 0;
        if (d.up.done > 0) { /* it takes less */
            assert_true(n > 5);
            fh_close(&d.f);
            break;
        }
        for (int k = 0; k < 10; k++) { /* more often than any command is tried */
            d.f.hold_from = d.f.n + 1;
            fh_lose(&d.f);
            fake_advance(&d.f.loop, SEC(1));
            fh_state(&d.f, SCSI_HOST_RUNNING);
            fake_advance(&d.f.loop, MS(20));
        }
        d.f.hold_from = 0;
        fh_lose(&d.f);
        d.f.luns[0].cap.blocks = 1 << 19;
        d.f.luns[0].wce = false;
        fake_advance(&d.f.loop, SEC(100));
        assert_int_equal(d.up.done, 0);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.up.done, 1);
        assert_int_equal(d.up.err, 0);
        assert_int_equal(scsi_disk_limits(d.dev)->size, 512ull << 19);
        assert_false(scsi_disk_limits(d.dev)->write_cache);
        fh_close(&d.f);
    }
}

/* A unit that is swapped while its disk comes up is not one that came up. */
static void
test_replaced_while_it_comes_up(void **state)
{
    (void)state;
    for (unsigned n = 1; n < 12; n++) {
        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        (void)fh_add(&d.f, 0, 0);
        d.dev = fh_scan_lun(&d.f, 0);
        d.f.n = 0;
        assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), 0);
        d.f.hold_from = n;
        fake_turn(&d.f.loop);
        d.f.hold_from = 0;
        if (d.up.done > 0) { /* it takes less */
            assert_true(n > 5);
            fh_close(&d.f);
            break;
        }
        fh_lose(&d.f);
        change(&d.f.luns[0], 0);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.dev->state, SDEV_OFFLINE);
        assert_int_equal(d.up.done, 1);
        assert_int_equal(d.up.err, -ENXIO);
        fh_close(&d.f);
    }
}

/* ---- what the new nexus has to say ---------------------------------------------------------- */

static void
test_attentions_of_the_new_nexus(void **state)
{
    static const struct {
        uint8_t asc, ascq;
        bool dirty;
        int event; /* -1: none */
    } rows[] = {
        {0x29, 0x07, true, -1},
        {0x29, 0x00, false, -1},
        {0x29, 0x00, true, SCSI_EV_LOST_WRITES},
        {0x29, 0x01, true, SCSI_EV_LOST_WRITES},
        {0x29, 0x04, true, SCSI_EV_LOST_WRITES},
        {0x29, 0x03, true, -1},
        {0x2f, 0x00, false, -1},
        {0x47, 0x7f, false, -1},
        {0x2a, 0x05, false, SCSI_EV_RESERVATIONS},
        {0x3f, 0x0e, false, SCSI_EV_LUNS_CHANGED},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned all = 0;

        open_with(NULL);
        if (rows[i].dirty)
            assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
        memset(d.f.events, 0, sizeof(d.f.events));
        fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 2,
                               SENSE(SENSE_UNIT_ATTENTION, rows[i].asc, rows[i].ascq)));
        lose_and_return();
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        for (int e = 0; e < SCSI_NEVENTS; e++)
            all += d.f.events[e];
        assert_int_equal(all, rows[i].event >= 0);
        if (rows[i].event >= 0)
            assert_int_equal(d.f.events[rows[i].event], 1);
        fd_close(&d);
    }
}

/* A unit that is replaced with the session up says so by a unit attention, on the first command
 * that reaches the new one, which is not sent again before it has been looked at. */
static void
test_replaced_with_the_session_up(void **state)
{
    static const uint8_t codes[][2] = {{0x3f, 0x0e}, {0x3f, 0x05}, {0x3f, 0x03}, {0x3f, 0x01}};

    (void)state;
    for (size_t i = 0; i < 2 * sizeof(codes) / sizeof(codes[0]); i++) {
        bool other = i % 2 != 0;
        struct io a;

        open_with(NULL);
        fh_script(&d.f, ANSWER(SCSI_WRITE_10, 1,
                               SENSE(SENSE_UNIT_ATTENTION, codes[i / 2][0], codes[i / 2][1])));
        if (other)
            change(&d.f.luns[0], (int)i % CHANGES);
        io_submit(&d, &a, BDEV_WRITE, 0, 4096, BDEV_F_PROMPT);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(a.done, 1);
        assert_int_equal(a.r.result.err, other ? -ENXIO : 0);
        assert_int_equal(d.f.events[SCSI_EV_REPLACED], other);
        assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), other ? 1 : 2);
        fd_close(&d);
    }
}

/* The list of units changes while a unit is being looked at: what it has told of itself so far may
 * be of the unit before. */
static void
test_replaced_while_it_is_looked_at(void **state)
{
    unsigned n, looked = 0;

    (void)state;
    for (n = 1; looked == 0; n++) {
        struct io a;
        uint8_t op;

        open_with(NULL);
        io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
        hold();
        d.f.n = 0;
        lose_and_return();
        d.f.hold_from = n;
        fake_turn(&d.f.loop);
        op = d.f.op[d.f.n - 1]; /* the target has it, and has not answered */
        if (op == SCSI_WRITE_10) {
            looked = n;
        } else {
            change(&d.f.luns[0], (int)n % CHANGES);
            fh_script(&d.f, ANSWER(op != SCSI_INQUIRY ? op : SCSI_MODE_SENSE_6, 1,
                                   SENSE(SENSE_UNIT_ATTENTION, 0x3f, 0x0e)));
        }
        d.f.hold_from = 0;
        let_go();
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(a.done, 1);
        assert_int_equal(a.r.result.err, looked != 0 ? 0 : -ENXIO);
        assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), looked != 0);
        assert_int_equal(d.dev->state, looked != 0 ? SDEV_RUNNING : SDEV_OFFLINE);
        fd_close(&d);
    }
    assert_true(looked > 5);
}

/* A unit that says without end that it may have changed is not asked without end. */
static void
test_doubt_without_end(void **state)
{
    struct io a;

    (void)state;
    open_with(NULL);
    fh_lose(&d.f);
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    fh_script(&d.f,
              ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, SENSE(SENSE_UNIT_ATTENTION, 0x3f, 0x0e)));
    d.f.n = 0;
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(10));
    assert_in_range(d.f.n, 20, 1000);
    assert_int_equal(a.done, 0);
    d.f.nscript = 0;
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    fd_close(&d);
}

/* ---- given up, offline, leaving ------------------------------------------------------------- */

/* A device that went offline in another session is looked at before it goes on. */
static void
test_set_online_in_another_session(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        open_with(NULL);
        assert_true(sdev_set_state(sdev_of(d.dev), SDEV_OFFLINE));
        lose_and_return();
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.dev->state, SDEV_OFFLINE);
        if (other)
            change(&d.f.luns[0], 0);
        assert_int_equal(scsi_device_online(d.dev), 0);
        assert_int_equal(d.dev->state, SDEV_BLOCK);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.dev->state, other ? SDEV_OFFLINE : SDEV_RUNNING);
        fd_close(&d);
    }
}

/* A unit that was in doubt when it went offline is looked at before it goes on. */
static void
test_set_online_in_doubt(void **state)
{
    (void)state;
    for (int other = 0; other < 2; other++) {
        open_with(NULL);
        sdev_doubt(sdev_of(d.dev));
        assert_int_equal(d.dev->state, SDEV_BLOCK);
        assert_true(sdev_set_state(sdev_of(d.dev), SDEV_OFFLINE));
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.dev->state, SDEV_OFFLINE);
        if (other)
            change(&d.f.luns[0], 0);
        assert_int_equal(scsi_device_online(d.dev), 0);
        assert_int_equal(d.dev->state, SDEV_BLOCK);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.dev->state, other ? SDEV_OFFLINE : SDEV_RUNNING);
        fd_close(&d);
    }
}

static void
test_leaving_waits_for_nothing(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};
    struct scsi_exec x = {.cdb = cdb, .cdb_len = 6, .timeout_ms = 1000, .done = exec_done};
    struct scsi_exec y = x;
    struct io a, b;

    (void)state;
    open_with(NULL);
    exec_calls = 0;
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0);
    hold();
    fh_lose(&d.f);
    assert_int_equal(scsi_execute(d.dev, &x), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(a.done + exec_calls, 0);
    scsi_device_leave(d.dev);
    fake_turn(&d.f.loop);
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, -ENOLINK); /* it was under way */
    assert_int_equal(exec_calls, 1);
    assert_int_equal(x.result.err, -ENOTCONN);
    io_submit(&d, &b, BDEV_WRITE, 0, 4096, 0);
    assert_int_equal(scsi_execute(d.dev, &y), 0);
    fake_turn(&d.f.loop);
    assert_int_equal(b.r.result.err, -ENOTCONN);
    assert_int_equal(y.result.err, -ENOTCONN);
    fd_close(&d);
}

/* ---- lost without end ----------------------------------------------------------------------- */

/* How long is waited for a session, and what a request has for all its tries. */
#define PATIENCE_S 10
#define OWN_S      ((SCSI_DISK_RETRIES + 1) * 1)

static bool
is_with_host(uint8_t op)
{
    for (unsigned i = 0; i < d.f.nout; i++) {
        if (scsi_cmd_cdb(d.f.out[i])[0] == op)
            return true;
    }
    return false;
}

static void
open_impatient(int32_t patience_s)
{
    open_with(NULL);
    d.f.h.patience_ns = patience_s < 0 ? 0 : SEC((uint64_t)patience_s);
    scsi_set_timeout(d.f.t, 1000);
    bdev_set_timeout(d.b, 1000);
}

/* The session is lost whenever a command with opcode op comes, and is back after down_ns. */
static void
step_with_cuts(uint8_t op, uint64_t down_ns)
{
    fake_advance(&d.f.loop, MS(1));
    scsi_check_fast(d.f.t);
    if (!is_with_host(op))
        return;
    fh_lose(&d.f);
    fake_advance(&d.f.loop, down_ns);
    fh_state(&d.f, SCSI_HOST_RUNNING);
}

/* A request at which the target ends the session, each time: it ends in bounded time, and says what
 * is true of it.  Those beside it go on meanwhile, and none of them fails; so does the next one of
 * its kind. */
static void
test_one_that_ends_sessions(void **state)
{
    static const struct {
        uint8_t op;
        enum bdev_op is;
        int32_t patience_s;
        uint64_t down_ns, limit_ns;
    } rows[] = {
        {SCSI_WRITE_10, BDEV_WRITE, PATIENCE_S, MS(30), SEC(PATIENCE_S + OWN_S)},
        {SCSI_READ_10, BDEV_READ, PATIENCE_S, MS(30), SEC(PATIENCE_S + OWN_S)},
        {SCSI_SYNC_CACHE_10, BDEV_FLUSH, PATIENCE_S, MS(30), SEC(PATIENCE_S + OWN_S)},
        /* long outages, each of which is borne: all together are not */
        {SCSI_WRITE_10, BDEV_WRITE, PATIENCE_S, SEC(9), SEC(2 * PATIENCE_S + OWN_S)},
        /* patience without end is with a session that does not come back */
        {SCSI_WRITE_10, BDEV_WRITE, -1, MS(30), SEC(PATIENCE_S + OWN_S)},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        bool reads = rows[i].is != BDEV_READ;
        unsigned others = 0;
        uint64_t began;
        struct io bad, io;

        open_impatient(rows[i].patience_s);
        fh_script(&d.f, ANSWER(rows[i].op, EVER, .never = true));
        began = d.f.loop.l.now_ns;
        io_submit(&d, &bad, rows[i].is, 0, rows[i].is == BDEV_FLUSH ? 0 : 512, 0);
        io_submit(&d, &io, reads ? BDEV_READ : BDEV_WRITE, 8192, 512, 0);
        while (bad.done == 0) {
            step_with_cuts(rows[i].op, rows[i].down_ns);
            assert_true(d.f.loop.l.now_ns - began <= rows[i].limit_ns + MS(SCSI_LOST_MAX_MS));
            if (io.done == 0)
                continue;
            assert_int_equal(io.r.result.err, 0);
            others++;
            io_submit(&d, &io, reads ? BDEV_READ : BDEV_WRITE, 8192, 512, 0);
        }
        assert_int_equal(bad.r.result.err, -ENOLINK);
        assert_true(others > (rows[i].down_ns > SEC(1) ? 0 : 2000));
        d.f.nscript = 0;
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(io.r.result.err, 0);
        assert_int_equal(io_run(&d, rows[i].is, 0, rows[i].is == BDEV_FLUSH ? 0 : 512, 0), 0);
        fd_close(&d);
    }
}

/* All requests that are there when the target ends the session at one of them get through in the
 * end, though they are sent with it at first. */
static void
test_many_beside_one(void **state)
{
    struct io bad, io[40];

    (void)state;
    open_impatient(PATIENCE_S);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER, .never = true));
    io_submit(&d, &bad, BDEV_WRITE, 0, 512, 0);
    for (size_t i = 0; i < sizeof(io) / sizeof(io[0]); i++)
        io_submit(&d, &io[i], BDEV_READ, 4096 * (i + 1), 512, 0);
    hold(); /* it is the first that the target sees */
    for (int k = 0; k < 5; k++) {
        fh_lose(&d.f);
        d.f.hold = false;
        d.f.hold_from = d.f.n + 12; /* the look is answered */
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, MS(5));
    }
    fh_lose(&d.f);
    d.f.hold_from = 0;
    fh_state(&d.f, SCSI_HOST_RUNNING);
    while (bad.done == 0)
        step_with_cuts(SCSI_WRITE_10, MS(30));
    assert_int_equal(bad.r.result.err, -ENOLINK);
    for (size_t i = 0; i < sizeof(io) / sizeof(io[0]); i++) {
        assert_int_equal(io[i].done, 1);
        assert_int_equal(io[i].r.result.err, 0);
    }
    fd_close(&d);
}

/* One that waits for its next try does not when there is none, or when the disk is closed. */
static void
test_no_try_is_left(void **state)
{
    (void)state;
    for (int closed = 0; closed < 2; closed++) {
        struct io io;

        open_with(NULL);
        fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER, .never = true));
        io_submit(&d, &io, BDEV_WRITE, 0, 512, 0);
        for (int k = 0; k < 12; k++) {
            fake_advance(&d.f.loop, MS(SCSI_LOST_MAX_MS));
            assert_int_equal(d.f.nout, 1);
            fh_lose(&d.f);
            fh_state(&d.f, SCSI_HOST_RUNNING);
            fake_turn(&d.f.loop);
        }
        assert_int_equal(io.done, 0);
        fh_state(&d.f, SCSI_HOST_BLOCKED);
        if (closed)
            scsi_device_leave(d.dev);
        else
            fh_state(&d.f, SCSI_HOST_GONE);
        fake_turn(&d.f.loop);
        assert_int_equal(io.done, 1);
        assert_int_equal(io.r.result.err, -ENOLINK);
        fd_close(&d);
    }
}

/* A session that is up for a moment each time: the last try of a request, which is parted from
 * those of others in the time of the device, is made when that has had two seconds after the
 * patience was over.  So it is at level 2, where the clock stands still and the session goes on. */
static void
test_short_sessions(void **state)
{
    (void)state;
    for (int adrift = 0; adrift < 2; adrift++) {
        uint64_t lost = 0, up_ns = 0;
        struct io io;

        open_impatient(6 * PATIENCE_S);
        fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER, .never = true));
        io_submit(&d, &io, BDEV_WRITE, 0, 512, 0);
        while (io.done == 0) {
            fake_advance(&d.f.loop, MS(5));
            if (lost == 0)
                lost = d.f.loop.l.now_ns;
            if (d.f.loop.l.now_ns - lost >= SEC(6 * PATIENCE_S))
                up_ns += MS(5);
            if (adrift && d.f.nout == 0) {
                d.f.h.ev->clock(d.f.h.ev_user, false);
                fake_advance(&d.f.loop, MS(500));
                d.f.h.ev->clock(d.f.h.ev_user, true);
            } else {
                fh_lose(&d.f);
                fake_advance(&d.f.loop, MS(500));
                fh_state(&d.f, SCSI_HOST_RUNNING);
            }
        }
        assert_true(d.f.loop.l.now_ns - lost >= SEC(6 * PATIENCE_S));
        assert_in_range(up_ns, MS(5), MS(SCSI_LOST_MAX_MS + 10));
        assert_int_equal(io.r.result.err, -ENOLINK);
        fd_close(&d);
    }
}

/* A session that is lost in each look, so that nothing is ever sent: what waits ends, and what
 * comes then fails at once, until the unit can be used. */
static void
test_looks_without_end(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE};
    static const uint8_t cut_at[] = {SCSI_TEST_UNIT_READY, SCSI_INQUIRY, SCSI_SERVICE_ACTION_IN_16};
    struct scsi_exec x = {.cdb = cdb, .cdb_len = 6, .timeout_ms = 1000, .done = exec_done};

    (void)state;
    for (size_t i = 0; i < sizeof(cut_at); i++) {
        uint64_t began, limit = SEC(PATIENCE_S + 100);
        struct io w, r, late;

        open_impatient(PATIENCE_S);
        exec_calls = 0;
        fh_script(&d.f, ANSWER(cut_at[i], EVER, .never = true));
        began = d.f.loop.l.now_ns;
        io_submit(&d, &w, BDEV_WRITE, 0, 512, 0);
        hold();
        fh_lose(&d.f);
        let_go();
        io_submit(&d, &r, BDEV_READ, 0, 512, 0);
        assert_int_equal(scsi_execute(d.dev, &x), 0);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        while (w.done == 0 || r.done == 0 || exec_calls == 0) {
            step_with_cuts(cut_at[i], MS(500));
            assert_true(d.f.loop.l.now_ns - began <= limit + SEC(1));
        }
        assert_true(d.f.loop.l.now_ns - began >= SEC(PATIENCE_S));
        assert_int_equal(w.r.result.err, -ENOLINK); /* it was under way once */
        assert_int_equal(r.r.result.err, -ENOTCONN);
        assert_int_equal(x.result.err, -ENOTCONN);
        for (int k = 0; k < 3; k++) { /* another loss does not make it wait again */
            fh_lose(&d.f);
            io_submit(&d, &late, BDEV_READ, 0, 512, 0);
            fake_turn(&d.f.loop);
            assert_int_equal(late.r.result.err, -ENOTCONN);
            fh_state(&d.f, SCSI_HOST_RUNNING);
            fake_advance(&d.f.loop, MS(100));
        }
        d.f.nscript = 0;
        fh_lose(&d.f);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(5));
        assert_int_equal(io_run(&d, BDEV_READ, 0, 512, 0), 0);
        fh_lose(&d.f); /* and the next loss is waited for again */
        io_submit(&d, &late, BDEV_READ, 0, 512, 0);
        fake_advance(&d.f.loop, SEC(9));
        assert_int_equal(late.done, 0);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(late.r.result.err, 0);
        fd_close(&d);
    }
}

/* A scan, and a disk that comes up, while the session is lost at each command. */
static void
test_coming_up_without_end(void **state)
{
    (void)state;
    for (int disk = 0; disk < 2; disk++) {
        struct scanned s = {0};
        uint64_t began;

        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        (void)fh_add(&d.f, 0, 0);
        d.f.h.patience_ns = SEC(PATIENCE_S);
        if (disk) {
            d.dev = fh_scan_lun(&d.f, 0);
            assert_int_equal(scsi_disk_start(d.dev, scan_done, &s), 0);
        } else {
            assert_int_equal(scsi_scan(d.f.t, scan_done, &s), 0);
        }
        d.f.hold = true;
        began = d.f.loop.l.now_ns;
        while (s.done == 0) {
            fake_advance(&d.f.loop, MS(20));
            fh_lose(&d.f);
            fake_advance(&d.f.loop, MS(500));
            fh_state(&d.f, SCSI_HOST_RUNNING);
            assert_true(d.f.loop.l.now_ns - began < SEC(4 * (PATIENCE_S + 30)));
        }
        assert_true(s.err < 0);
        d.f.hold = false;
        fh_close(&d.f);
    }
}

/* ---- anything at any time ------------------------------------------------------------------- */

#define NIO 12

/* rough: commands that are not answered, error handling that does not help, requests that are
 * canceled, units that say that they may have changed. */
static void
one_world(uint64_t seed, bool rough)
{
    static const uint8_t ops[] = {SCSI_TEST_UNIT_READY, SCSI_INQUIRY, SCSI_SERVICE_ACTION_IN_16,
                                  SCSI_MODE_SENSE_6,    SCSI_READ_10, SCSI_WRITE_10};
    struct io ios[NIO];
    struct fake_loop r;
    bool up = true, strange = false;
    unsigned seen = 0;

    fake_loop_init(&r, seed);
#define RND(n) (fake_random(&r.l) % (n))
    open_with(NULL);
    d.f.abort_result = d.f.session_result = SCSI_EH_SUCCESS; /* a session can be dropped always */
    for (int i = 0; i < NIO; i++)
        io_submit(&d, &ios[i],
                  i % 3 == 2   ? BDEV_FLUSH
                  : i % 3 == 1 ? BDEV_WRITE
                               : BDEV_READ,
                  4096 * (uint64_t)i, i % 3 == 2 ? 0 : 4096, RND(2) ? BDEV_F_PROMPT : 0);
    for (int step = 0; step < 150; step++) {
        switch (RND(rough ? 16 : 12)) {
        case 12:
            d.f.abort_result = RND(2) ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
            d.f.lu_result = RND(2) ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
            d.f.target_result = RND(2) ? SCSI_EH_SUCCESS : SCSI_EH_FAILED;
            break;
        case 13: {
            struct io *io = &ios[RND(NIO)];

            if (io->done == 0)
                bdev_cancel(d.q, &io->r, RND(2) ? -ECANCELED : -ETIMEDOUT);
            break;
        }
        case 14:
            d.f.nscript = 0;
            fh_script(&d.f, ANSWER(ops[RND(6)], (unsigned)RND(4), .never = true));
            break;
        case 15:
            d.f.nscript = 0;
            fh_script(&d.f, ANSWER(ops[RND(6)], (unsigned)RND(4),
                                   SENSE(SENSE_UNIT_ATTENTION, RND(2) ? 0x3f : 0x29,
                                         RND(2) ? 0x0e : 0x03)));
            break;
        case 0:
        case 1:
            if (up) {
                fh_state(&d.f, SCSI_HOST_BLOCKED);
                if (RND(2) == 0)
                    fake_advance(&d.f.loop, MS(RND(100000)));
                fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
                up = false;
                if (RND(8) == 0) { /* only now: behind a session's back no unit is swapped */
                    change(&d.f.luns[0], (int)RND(CHANGES));
                    strange = true;
                    seen = d.f.n;
                } else if (RND(4) == 0) {
                    d.f.luns[0].there = !d.f.luns[0].there;
                }
            }
            break;
        case 2:
            if (!up && RND(4) == 0)
                fh_state(&d.f, SCSI_HOST_GONE);
            break;
        case 3:
        case 4:
        case 5:
            if (!up) {
                fh_state(&d.f, SCSI_HOST_RUNNING);
                up = true;
            }
            break;
        case 6:
            d.f.nscript = 0;
            fh_script(&d.f, ANSWER(ops[RND(6)], (unsigned)RND(3), .status = RND(2) ? SCSI_BUSY : 0,
                                   .host = RND(3) ? DID_OK : DID_TRANSPORT_DISRUPTED));
            break;
        default:
            break;
        }
        for (uint64_t n = RND(6); n > 0; n--)
            fake_turn(&d.f.loop);
        if (RND(3) == 0)
            fake_advance(&d.f.loop, MS(RND(rough && RND(8) == 0 ? 60000 : 3000)));
        scsi_check_fast(d.f.t);
        blk_check_fast(d.b);
        for (; seen < d.f.n; seen++)
            assert_false(strange && d.f.op[seen] == SCSI_WRITE_10);
        for (int i = 0; i < NIO; i++) {
            assert_true(ios[i].done <= 1);
            if (ios[i].done == 1 && RND(2) == 0 && bdev_submit(d.q, &ios[i].r) == 0)
                ios[i].done = 0;
        }
    }
    d.f.nscript = 0;
    d.f.luns[0].there = true;
    d.f.abort_result = d.f.lu_result = d.f.target_result = SCSI_EH_SUCCESS;
    if (!up)
        fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(400));
    for (int i = 0; i < NIO; i++)
        assert_int_equal(ios[i].done, 1);
    if (d.dev->state == SDEV_OFFLINE && rough)
        (void)scsi_device_online(d.dev);
    fake_advance(&d.f.loop, SEC(400));
    assert_int_equal(d.dev->state, strange ? SDEV_OFFLINE : SDEV_RUNNING);
    for (; seen < d.f.n; seen++)
        assert_false(strange && d.f.op[seen] == SCSI_WRITE_10);
    fd_close(&d);
#undef RND
}

static void
test_at_random(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++)
        one_world(seed, false);
}

static void
test_at_random_and_rough(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++)
        one_world(seed, true);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_goes_again),
        cmocka_unit_test(test_what_may_have_been_executed),
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
        cmocka_unit_test(test_smaller_and_larger),
        cmocka_unit_test(test_absent_for_a_while),
        cmocka_unit_test(test_not_ready_for_a_while),
        cmocka_unit_test(test_look_that_fails),
        cmocka_unit_test(test_pages_that_come_and_go),
        cmocka_unit_test(test_reserved_by_somebody),
        cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_lost_again_and_again),
        cmocka_unit_test(test_lost_while_it_is_looked_at),
        cmocka_unit_test(test_lost_while_it_comes_up),
        cmocka_unit_test(test_replaced_while_it_comes_up),
        cmocka_unit_test(test_attentions_of_the_new_nexus),
        cmocka_unit_test(test_replaced_with_the_session_up),
        cmocka_unit_test(test_replaced_while_it_is_looked_at),
        cmocka_unit_test(test_doubt_without_end),
        cmocka_unit_test(test_set_online_in_another_session),
        cmocka_unit_test(test_set_online_in_doubt),
        cmocka_unit_test(test_leaving_waits_for_nothing),
        cmocka_unit_test(test_one_that_ends_sessions),
        cmocka_unit_test(test_many_beside_one),
        cmocka_unit_test(test_no_try_is_left),
        cmocka_unit_test(test_short_sessions),
        cmocka_unit_test(test_looks_without_end),
        cmocka_unit_test(test_coming_up_without_end),
        cmocka_unit_test(test_at_random),
        cmocka_unit_test(test_at_random_and_rough),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
