/* SPDX-License-Identifier: MIT */
/* Queue depth: a unit with room for so many commands, which answers the others with TASK SET FULL
 * or BUSY, honestly and otherwise. */
#include "tests/unit/scsi/fake_host.h"

#define NIO 64

static struct fdisk d;
static struct io ios[NIO];
static unsigned errors;

static void
depth_open(void)
{
    fd_open(&d);
    d.f.hold = true;
    errors = 0;
    for (int i = 0; i < NIO; i++)
        io_submit(&d, &ios[i], i % 2 == 0 ? BDEV_READ : BDEV_WRITE, 0, 4096, 0);
}

/* What was done is submitted again. */
static void
depth_feed(void)
{
    for (int i = 0; i < NIO; i++) {
        if (ios[i].done == 0)
            continue;
        errors += ios[i].r.result.err != 0;
        ios[i].done = 0;
        assert_int_equal(bdev_submit(d.q, &ios[i].r), 0);
    }
}

/* One round: all that is out is answered, those beyond room with status.  Returns how many were so.
 */
static unsigned
depth_round(unsigned room, uint8_t status)
{
    unsigned had = d.f.nout, refused = 0;

    for (unsigned k = 0; k < had; k++) {
        struct scsi_cmd *sc = d.f.out[0];

        sc->host_result = DID_OK;
        sc->status = k < room ? SCSI_GOOD : status;
        refused += k >= room;
        fh_give_back(&d.f, 0);
    }
    depth_feed();
    d.f.n = 0; /* of the log of commands */
    return refused;
}

static unsigned
depth_rounds(unsigned rounds, unsigned room, uint8_t status, uint64_t ns)
{
    unsigned refused = 0;

    for (unsigned i = 0; i < rounds; i++) {
        fake_advance(&d.f.loop, ns);
        refused += depth_round(room, status);
    }
    return refused;
}

/* Commands that are out when no more come. */
static unsigned
depth_out(void)
{
    for (int i = 0; i < 2; i++) {
        fake_advance(&d.f.loop, SEC(2));
        depth_feed();
    }
    fake_turn(&d.f.loop);
    return d.f.nout;
}

static void
depth_close(void)
{
    d.f.hold = false;
    fd_close(&d);
}

static void
test_settles_and_rises(void **state)
{
    unsigned refused;

    (void)state;
    depth_open();
    refused = depth_rounds(20, 7, SCSI_TASK_SET_FULL, MS(4));
    assert_true(refused > 0);
    refused = depth_rounds(400, 7, SCSI_TASK_SET_FULL, MS(4));
    assert_true(refused < 60);
    refused = depth_rounds(1000, 7, SCSI_TASK_SET_FULL, MS(4)); /* 8 was found to be too many */
    assert_int_equal(refused, 0);
    assert_int_equal(depth_out(), 7);
    /* Two minutes later it is tried again, and found to be still so. */
    refused = depth_rounds(1500, 7, SCSI_TASK_SET_FULL, MS(200));
    assert_true(refused >= 1 && refused <= 4);
    /* The room grows. */
    (void)depth_rounds(60 * 130, 32, SCSI_TASK_SET_FULL, SEC(1));
    assert_true(depth_out() >= 32);
    /* And shrinks. */
    (void)depth_rounds(1000, 3, SCSI_TASK_SET_FULL, MS(4));
    assert_int_equal(depth_rounds(1000, 3, SCSI_TASK_SET_FULL, MS(4)), 0);
    assert_int_equal(depth_out(), 3);
    assert_int_equal(errors, 0);
    depth_close();
}

/* BUSY is not TASK SET FULL: the depth stays. */
static void
test_busy_leaves_the_depth(void **state)
{
    (void)state;
    depth_open();
    (void)depth_rounds(50, 7, SCSI_BUSY, MS(4));
    (void)depth_rounds(2, NIO, SCSI_GOOD, SEC(2));
    assert_int_equal(depth_out(), NIO);
    assert_int_equal(d.dev->stats.task_set_full, 0);
    assert_int_equal(errors, 0);
    depth_close();
}

/* A unit that says so of every command, even of one alone: each request ends in time, none hangs,
 * the depth stays 1 at least, and afterwards everything works. */
static void
test_always_full(void **state)
{
    (void)state;
    for (int busy = 0; busy < 2; busy++) {
        unsigned sent;

        depth_open();
        fake_turn(&d.f.loop);
        for (int i = 0; i < 400; i++) {
            fake_advance(&d.f.loop, SEC(1));
            sent = d.f.nout;
            for (unsigned k = 0; k < sent; k++) {
                d.f.out[0]->status = busy ? SCSI_BUSY : SCSI_TASK_SET_FULL;
                fh_give_back(&d.f, 0);
            }
        }
        assert_true(d.f.n < 400u * NIO);
        for (int i = 0; i < NIO; i++) {
            assert_int_equal(ios[i].done, 1);
            assert_int_equal(ios[i].r.result.err, -EBUSY);
        }
        d.f.hold = false;
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        fd_close(&d);
    }
}

/* Answers at random, without any sense: nothing is lost, and the numbers stay within bounds, which
 * scsi_check_fast looks at. */
static void
test_hostile(void **state)
{
    static const uint8_t statuses[] = {SCSI_GOOD, SCSI_GOOD, SCSI_GOOD, SCSI_BUSY,
                                       SCSI_TASK_SET_FULL};

    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct fake_loop r;

        fake_loop_init(&r, seed);
#define RND(n) (fake_random(&r.l) % (n))
        depth_open();
        for (int round = 0; round < 300; round++) {
            fake_advance(&d.f.loop, RND(20) == 0 ? SEC(RND(130)) : MS(RND(30)));
            for (unsigned k = (unsigned)RND(d.f.nout + 1); k > 0; k--) {
                unsigned at = (unsigned)RND(d.f.nout);

                fh_model(&d.f, d.f.out[at]); /* it may be one of a look at the unit */
                d.f.out[at]->status = statuses[RND(sizeof(statuses))];
                d.f.out[at]->status_qualifier = RND(10) == 0 ? (uint16_t)RND(65536) : 0;
                fh_give_back(&d.f, at);
            }
            scsi_check_fast(d.f.t);
            depth_feed();
            d.f.n = 0;
        }
#undef RND
        depth_close();
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_settles_and_rises),
        cmocka_unit_test(test_busy_leaves_the_depth),
        cmocka_unit_test(test_always_full),
        cmocka_unit_test(test_hostile),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
