/* SPDX-License-Identifier: MIT */
/* Unit attentions: what each is told as, and what is looked at because of it (SPC, SBC, RFC 7143).
 */
#include "tests/unit/scsi/fake_host.h"

static struct fdisk d;

#define EV(x) (1u << SCSI_EV_##x)

enum looks {
    LK_CAPACITY = 1,
    LK_MODE = 2,
    LK_NAME = 4,
    LK_FIRST = 8, /* at who it is, before the command that was refused is sent again */
    LK_ALUA = 16,
    LK_UNIT = LK_CAPACITY | LK_MODE | LK_NAME | LK_FIRST, /* another unit may be there */
    LK_ALL = LK_CAPACITY | LK_MODE | LK_NAME,
};

static const struct row {
    uint8_t asc, first, last;
    unsigned looks;
    uint32_t events; /* each told once */
} rows[] = {
    {0x28, 0x00, 0x00, LK_CAPACITY, 0},
    {0x28, 0x01, 0x02, LK_ALL | LK_ALUA, 0}, /* unknown here: looked at all the same */
    {0x29, 0x00, 0x04, LK_UNIT | LK_ALUA, EV(POWER_ON)},
    {0x29, 0x05, 0x06, 0, 0},
    {0x29, 0x07, 0x07, LK_UNIT | LK_ALUA, EV(POWER_ON)},
    {0x2a, 0x00, 0x01, LK_MODE, 0}, /* nothing has changed: see below */
    {0x2a, 0x02, 0x02, 0, 0},
    {0x2a, 0x03, 0x05, LK_MODE, EV(RESERVATIONS)},
    {0x2a, 0x06, 0x07, LK_ALUA, 0},
    {0x2a, 0x08, 0x08, 0, 0},
    {0x2a, 0x09, 0x09, LK_CAPACITY, 0},
    {0x2a, 0x0a, 0x16, 0, 0},
    {0x2f, 0x00, 0x03, 0, 0},
    {0x38, 0x07, 0x07, 0, EV(SOFT_THRESHOLD)},
    {0x3f, 0x00, 0x00, LK_ALL | LK_ALUA, 0},
    {0x3f, 0x01, 0x01, LK_ALL | LK_ALUA, EV(INQUIRY_CHANGED)},
    {0x3f, 0x02, 0x02, LK_ALL | LK_ALUA, 0},
    {0x3f, 0x03, 0x03, LK_UNIT | LK_ALUA, EV(INQUIRY_CHANGED)},
    {0x3f, 0x04, 0x04, 0, 0},
    {0x3f, 0x05, 0x05, LK_UNIT | LK_ALUA, EV(INQUIRY_CHANGED)},
    {0x3f, 0x06, 0x0b, 0, 0},
    {0x3f, 0x0c, 0x0e, LK_UNIT | LK_ALUA, EV(LUNS_CHANGED)},
    {0x3f, 0x0f, 0x15, 0, 0},
    {0x3f, 0x16, 0x16, LK_ALL | LK_ALUA, EV(INQUIRY_CHANGED)},
    {0x3f, 0x17, 0x1a, 0, 0},
    {0x47, 0x7f, 0x7f, 0, 0},
    {0x5a, 0x01, 0x03, 0, 0},
    {0x5b, 0x00, 0x03, 0, 0},
    {0x5c, 0x00, 0x02, 0, 0},
    {0x5d, 0x00, 0x00, 0, 0},
    {0x5e, 0x00, 0x07, 0, 0},
    {0x99, 0x33, 0x33, LK_ALL | LK_ALUA, 0},
};
#define NROWS (sizeof(rows) / sizeof(rows[0]))

static struct flun *
ua_open(void)
{
    struct flun *l;

    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    l = fh_add(&d.f, 0, 0);
    l->inq.tpgs = 1;
    l->group = 1;
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    return l;
}

static unsigned
looks_seen(const struct flun *l)
{
    unsigned seen = 0, reads = 0;

    for (unsigned i = 0; i < d.f.n; i++) {
        bool name = d.f.op[i] == SCSI_INQUIRY && d.f.byte2[i] == 0x83;

        reads += d.f.op[i] == SCSI_READ_10;
        seen |= name ? LK_NAME | (reads == 1 ? LK_FIRST : 0u) : 0;
        seen |= d.f.op[i] == SCSI_SERVICE_ACTION_IN_16 ? LK_CAPACITY : 0;
        seen |= d.f.op[i] == SCSI_MODE_SENSE_6 ? LK_MODE : 0;
    }
    assert_int_equal(reads, 2); /* the command was not executed, and is sent again once */
    return seen | (l->rtpgs > 1 ? LK_ALUA : 0);
}

static void
test_each_row(void **state)
{
    (void)state;
    for (size_t i = 0; i < NROWS; i++) {
        for (unsigned q = rows[i].first; q <= rows[i].last; q++) {
            struct flun *l = ua_open();

            fh_script(&d.f, ANSWER(SCSI_READ_10, 1,
                                   SENSE(SENSE_UNIT_ATTENTION, rows[i].asc, (uint8_t)q)));
            assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
            fake_advance(&d.f.loop, SEC(1));
            /* A look at all need not come before the command, but may. */
            assert_int_equal(looks_seen(l) | (rows[i].looks & LK_NAME ? LK_FIRST : 0),
                             rows[i].looks | (rows[i].looks & LK_NAME ? LK_FIRST : 0));
            if ((rows[i].looks & LK_FIRST) != 0)
                assert_true((looks_seen(l) & LK_FIRST) != 0);
            for (int e = 0; e < SCSI_NEVENTS; e++) {
                assert_int_equal(d.f.events[e], (rows[i].events >> e & 1) + (e == SCSI_EV_FOUND));
                if ((rows[i].events >> e & 1) != 0)
                    assert_int_equal(scsi_event_code(d.dev, (enum scsi_event)e),
                                     rows[i].asc << 8 | q);
            }
            assert_int_equal(d.dev->stats.unit_attentions, 1);
            assert_int_equal(d.dev->state, SDEV_RUNNING);
            fd_close(&d);
        }
    }
}

/* What has changed is told once, when it is known, and the bdev has it. */
static void
test_changes_are_told_once(void **state)
{
    struct flun *l;

    (void)state;
    l = ua_open();
    l->cap.blocks = 2 << 20;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.f.events[SCSI_EV_CAPACITY], 1);
    assert_int_equal(bdev_get_limits(d.b)->size, 1024ull << 20);
    for (uint8_t q = 0; q < 2; q++) {
        l->wp = q == 0;
        d.f.nscript = 0;
        fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, q)));
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(d.f.events[SCSI_EV_MODE], 1u + q);
        assert_int_equal(bdev_get_limits(d.b)->read_only, l->wp);
    }
    l->alua = ALUA_NON_OPTIMIZED;
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 6)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.f.events[SCSI_EV_ALUA], 1);
    fd_close(&d);
}

/* Several that are queued are all acted on, each once. */
static void
test_several(void **state)
{
    struct flun *l = ua_open();

    (void)state;
    l->cap.blocks = 2 << 20;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 3)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x38, 7)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 4);
    assert_int_equal(d.f.events[SCSI_EV_RESERVATIONS], 1);
    assert_int_equal(d.f.events[SCSI_EV_CAPACITY], 1);
    assert_int_equal(d.f.events[SCSI_EV_SOFT_THRESHOLD], 1);
    fd_close(&d);
}

/* The LUN was given to another unit: its 3F/0E, 3F/03 or 3F/05 comes with the write that must not
 * reach it. */
static void
test_no_write_to_another_unit(void **state)
{
    static const uint8_t codes[][2] = {{0x3f, 0x0e}, {0x3f, 0x03}, {0x3f, 0x05}, {0x29, 0x00}};

    (void)state;
    for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
        struct io io;

        ua_open()->name = "\x60zzzzzzzzzzzzzzz";
        fh_script(&d.f,
                  ANSWER(SCSI_WRITE_10, 1, SENSE(SENSE_UNIT_ATTENTION, codes[i][0], codes[i][1])));
        io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(io.done, 1);
        assert_true(io.r.result.err == -ENODEV || io.r.result.err == -ENXIO);
        assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 1); /* the refused one */
        assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
        fd_close(&d);
    }
}

/* A unit that is reserved does not tell its mode pages: it is taken to have a cache until it does.
 */
static void
test_reserved_when_it_comes_up(void **state)
{
    struct flun *l;

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    l = fh_add(&d.f, 0, 0);
    l->wce = false;
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_6, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_true(bdev_get_limits(d.b)->write_cache);
    assert_false(bdev_get_limits(d.b)->fua);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, 1, .status = SCSI_RESERVATION_CONFLICT));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .status = SCSI_RESERVATION_CONFLICT));
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), -EBADE); /* at once, and not again */
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), -EBADE);
    assert_int_equal(d.f.n, 2);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 4)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0); /* released */
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.f.events[SCSI_EV_RESERVATIONS], 1);
    assert_false(bdev_get_limits(d.b)->write_cache);
    fd_close(&d);
}

/* Devices that are no disks have nobody who looks: all is told. */
static unsigned exec_done_calls;

static void
exec_done(struct scsi_exec *x)
{
    (void)x;
    exec_done_calls++;
}

static void
test_no_disk(void **state)
{
    static const struct {
        uint8_t asc, ascq;
        enum scsi_event ev;
    } told[] = {{0x2a, 0x01, SCSI_EV_MODE},
                {0x2a, 0x06, SCSI_EV_ALUA},
                {0x2a, 0x09, SCSI_EV_CAPACITY},
                {0x2a, 0x05, SCSI_EV_RESERVATIONS}};
    static const uint8_t tur[6];
    struct scsi_device *dev;

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    fh_add(&d.f, 0, 0)->inq.type = SCSI_TYPE_TAPE;
    dev = fh_scan_lun(&d.f, 0);
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        struct scsi_exec x = {.cdb = tur, .cdb_len = 6, .ua_retries = 1, .done = exec_done};

        fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1,
                               SENSE(SENSE_UNIT_ATTENTION, told[i].asc, told[i].ascq)));
        exec_done_calls = 0;
        assert_int_equal(scsi_execute(dev, &x), 0);
        fake_advance(&d.f.loop, MS(1));
        assert_int_equal(exec_done_calls, 1);
        assert_int_equal(x.result.scsi_status, SCSI_GOOD);
        assert_int_equal(d.f.events[told[i].ev], 1);
    }
    fh_close(&d.f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_row),
        cmocka_unit_test(test_changes_are_told_once),
        cmocka_unit_test(test_several),
        cmocka_unit_test(test_no_write_to_another_unit),
        cmocka_unit_test(test_reserved_when_it_comes_up),
        cmocka_unit_test(test_no_disk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
