/* SPDX-License-Identifier: MIT */
/* Looks at a disk in use that have failed, and those for what an answer that was lost may have
 * told.
 */
#include "tests/unit/scsi/fake_host.h"

#include "scsi/internal.h"

#define GROWN (1024ull << 20)

static struct fdisk d;

/* READ CAPACITY (16) of the unit as it was. */
static const uint8_t before[32] = {[5] = 0x0f, [6] = 0xff, [7] = 0xff, [10] = 2};

static uint64_t
size_known(void)
{
    return bdev_get_limits(d.b)->size;
}

/* The unit has grown, and says so in answer to a read. */
static void
grow(void)
{
    fd_open(&d);
    d.f.luns[0].cap.blocks *= 2;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
}

/* A read is with the host, and the unit has grown. */
static void
grow_meanwhile(struct io *io)
{
    fd_open(&d);
    io_submit(&d, io, BDEV_READ, 0, 4096, 0);
    d.f.hold = true;
    fake_turn(&d.f.loop);
    assert_int_equal(d.f.nout, 1);
    d.f.luns[0].cap.blocks *= 2;
}

/* What the host has comes back with r, and what it gets from now on is answered. */
static void
lose(enum scsi_host_result r)
{
    fh_sweep(&d.f, NULL, r);
    d.f.hold = false;
    loop_defer(&d.f.loop.l, &d.f.work);
}

/* ---- a look that fails ------------------------------------------------------------------------
 */

static void
test_a_look_is_repeated(void **state)
{
    static const struct answer rows[] = {
        {SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)},
        {SENSE(SENSE_NOT_READY, 0x04, 0x07)},
        {.host = DID_TRANSPORT_DISRUPTED},
        {.host = DID_ERROR},
        {.data = "xxxx", .len = 4},
        {.never = true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct answer a = rows[i];

        grow();
        a.op = SCSI_SERVICE_ACTION_IN_16;
        a.sub = a.lun = ANY_OP;
        a.times = a.never ? 2 : a.data != NULL ? 8 : 30; /* one, or several, in a look */
        fh_script(&d.f, a);
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        fake_advance(&d.f.loop, MS(20));
        assert_int_equal(size_known(), GROWN / 2);
        for (int n = 0; n < 400 && size_known() != GROWN; n++) {
            fake_advance(&d.f.loop, MS(500));
            scsi_check_fast(d.f.t);
        }
        assert_int_equal(size_known(), GROWN);
        assert_int_equal(d.f.events[SCSI_EV_CAPACITY], 1);
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        d.f.n = 0;
        fake_advance(&d.f.loop, SEC(1000));
        assert_int_equal(d.f.n, 0); /* it is known now */
        fd_close(&d);
    }
}

/* A unit that never answers what it is asked for is asked less and less often, and the rest of what
 * was to be found is found as soon as it does. */
static void
test_no_storm(void **state)
{
    unsigned asked[3];

    (void)state;
    grow();
    d.f.luns[0].wp = true;
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 1)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    for (int i = 0; i < 3; i++) {
        fake_advance(&d.f.loop, i == 0 ? SEC(1) : SEC(300));
        asked[i] = d.f.n;
        d.f.n = 0;
    }
    assert_true(asked[0] > 10); /* several looks in the first second */
    assert_true(asked[1] < 200);
    assert_true(asked[2] > 20 && asked[2] < 200);
    assert_false(bdev_get_limits(d.b)->read_only);
    d.f.nscript = 0;
    fake_advance(&d.f.loop, MS(SCSI_LOOK_MAX_MS));
    assert_int_equal(size_known(), GROWN);
    assert_true(bdev_get_limits(d.b)->read_only);
    fd_close(&d);
}

/* The session is lost, or the unit is given up, before the look is repeated: it is not, until there
 * is somebody to ask. */
static void
test_not_while_nobody_is_there(void **state)
{
    (void)state;
    for (int how = 0; how < 4; how++) {
        grow();
        fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, .host = DID_ERROR));
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        fake_advance(&d.f.loop, SEC(1));
        if (how == 0)
            fh_lose(&d.f);
        else if (how == 1)
            fh_state(&d.f, SCSI_HOST_GONE);
        else
            assert_true(sdev_set_state(sdev_of(d.dev), SDEV_OFFLINE));
        fake_advance(&d.f.loop, MS(50));
        d.f.n = d.f.nscript = 0;
        fake_advance(&d.f.loop, SEC(300));
        assert_int_equal(d.f.n, 0);
        assert_int_equal(size_known(), GROWN / 2);
        if (how < 2)
            fh_state(&d.f, SCSI_HOST_RUNNING);
        else if (how == 2)
            assert_int_equal(scsi_device_online(d.dev), 0);
        fake_advance(&d.f.loop, MS(SCSI_LOOK_MAX_MS));
        assert_int_equal(size_known(), how == 3 ? GROWN / 2 : GROWN);
        fd_close(&d);
    }
}

/* News that come during each look at the last news are all looked at in the end. */
static void
test_news_during_each_look(void **state)
{
    (void)state;
    grow();
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, 8, .data = before, .len = sizeof(before)));
    for (int i = 0; i < 8; i++) {
        fh_script(&d.f, (struct answer){.op = SCSI_INQUIRY,
                                        .sub = 0xb2,
                                        .lun = ANY_OP,
                                        .times = 1,
                                        SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)});
        fh_script(&d.f,
                  (struct answer){.op = SCSI_INQUIRY, .sub = 0xb2, .lun = ANY_OP, .times = 1});
    }
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, MS(SCSI_LOOK_MAX_MS));
    assert_int_equal(size_known(), GROWN);
    fd_close(&d);
}

/* ---- an answer that is lost -------------------------------------------------------------------
 */

/* Any answer that does not come while the session goes on may have been a unit attention. */
static void
test_an_answer_is_lost(void **state)
{
    static const struct {
        enum scsi_host_result r;
        bool looks;
    } rows[] = {
        {DID_TRANSPORT_DISRUPTED, true},
        {DID_ABORT, true},
        {DID_RESET, true},
        {DID_TIME_OUT, true},
        {DID_BAD_TARGET, true},
        {DID_ERROR, false}, /* that is an answer */
        {DID_REQUEUE, false},
        {DID_IMM_RETRY, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct io io;

        grow_meanwhile(&io);
        d.f.n = 0;
        lose(rows[i].r);
        fake_advance(&d.f.loop, MS(20));
        assert_int_equal(d.f.n, rows[i].r != DID_BAD_TARGET); /* the read first */
        fake_advance(&d.f.loop, SEC(10));
        assert_int_equal(io.done, 1);
        assert_int_equal(size_known(), rows[i].looks ? GROWN : GROWN / 2);
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        d.f.n = 0;
        fake_advance(&d.f.loop, SEC(1000));
        assert_int_equal(d.f.n, 0);
        fd_close(&d);
    }
}

/* However many are lost at once, the unit is looked at once. */
static void
test_many_are_lost(void **state)
{
    struct io io[64];

    (void)state;
    fd_open(&d);
    d.f.hold = true;
    for (int i = 0; i < 64; i++)
        io_submit(&d, &io[i], BDEV_READ, 0, 4096, 0);
    fake_turn(&d.f.loop);
    assert_int_equal(d.f.nout, 64);
    lose(DID_TRANSPORT_DISRUPTED);
    fake_advance(&d.f.loop, SEC(10));
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 128);
    assert_int_equal(fh_count(&d.f, SCSI_SERVICE_ACTION_IN_16), 1);
    assert_int_equal(d.f.n, fh_count(&d.f, SCSI_INQUIRY) + fh_count(&d.f, SCSI_MODE_SENSE_6) + 129);
    fd_close(&d);
}

/* The answer to a command of the look itself is lost, with what it would have told of another step.
 */
static void
test_the_answer_to_a_look_is_lost(void **state)
{
    struct io io;

    (void)state;
    grow_meanwhile(&io);
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, 1, .data = before, .len = sizeof(before)));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_6, 1, .host = DID_TRANSPORT_DISRUPTED));
    lose(DID_TRANSPORT_DISRUPTED);
    fake_advance(&d.f.loop, SEC(10));
    assert_int_equal(fh_count(&d.f, SCSI_SERVICE_ACTION_IN_16), 2);
    assert_int_equal(size_known(), GROWN);
    fd_close(&d);
}

/* The unit may have been another one since; where that cannot be found out, it is asked again, and
 * the rest is not held up by it. */
static void
test_who_is_it(void **state)
{
    struct io io;

    (void)state;
    for (unsigned times = 0; times < 20; times += 10) {
        grow_meanwhile(&io);
        d.f.luns[0].name = "\x60zzzzzzzzzzzzzzz";
        fh_script(
            &d.f,
            (struct answer){
                .op = SCSI_INQUIRY, .sub = 0x83, .lun = ANY_OP, .times = times, .host = DID_ERROR});
        lose(DID_TRANSPORT_DISRUPTED);
        fake_advance(&d.f.loop, SEC(10));
        assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
        assert_int_equal(d.f.events[SCSI_EV_CAPACITY], times > 0);
        fd_close(&d);
    }
}

/* The same while the disk comes up, when it has told its size. */
static void
test_an_answer_is_lost_at_start(void **state)
{
    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    (void)fh_add(&d.f, 0, 0);
    d.dev = fh_scan_lun(&d.f, 0);
    d.f.luns[0].cap.blocks *= 2;
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, 1, .data = before, .len = sizeof(before)));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_6, 1, .host = DID_TRANSPORT_DISRUPTED));
    assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), 0);
    fake_advance(&d.f.loop, SEC(10));
    assert_int_equal(d.up.done, 1);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(scsi_disk_limits(d.dev)->size, GROWN);
    fh_close(&d.f);
}

/* A reset of ours ends what the unit had to tell before, and gives it the modes that it began with.
 */
static void
test_after_a_reset(void **state)
{
    (void)state;
    fd_open(&d);
    sdev_of(d.dev)->expecting_ua = true;
    d.f.luns[0].wce = false;
    d.f.luns[0].cap.blocks *= 2;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 3)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.f.events[SCSI_EV_POWER_ON], 0);
    assert_int_equal(d.dev->stats.lost_writes, 0);
    assert_false(bdev_get_limits(d.b)->write_cache);
    assert_int_equal(size_known(), GROWN);
    fd_close(&d);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_look_is_repeated),
        cmocka_unit_test(test_no_storm),
        cmocka_unit_test(test_not_while_nobody_is_there),
        cmocka_unit_test(test_news_during_each_look),
        cmocka_unit_test(test_an_answer_is_lost),
        cmocka_unit_test(test_many_are_lost),
        cmocka_unit_test(test_the_answer_to_a_look_is_lost),
        cmocka_unit_test(test_who_is_it),
        cmocka_unit_test(test_an_answer_is_lost_at_start),
        cmocka_unit_test(test_after_a_reset),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
