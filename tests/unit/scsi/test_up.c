/* SPDX-License-Identifier: MIT */
/* Bringing disks up, and the limits that follow from what they tell. */
#include "tests/unit/scsi/fake_host.h"

static struct fdisk d;

static struct flun *
start(void)
{
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    return fh_add(&d.f, 0, 0);
}

static const struct bdev_limits *
lim(void)
{
    return scsi_disk_limits(d.dev);
}

static void
test_plain(void **state)
{
    (void)state;
    fd_open(&d);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(lim()->size, 512ull << 20);
    assert_int_equal(lim()->block_size, 512);
    assert_int_equal(lim()->physical_block, 4096);
    assert_int_equal(lim()->max_transfer, 1 << 20);
    assert_int_equal(lim()->max_sg, 256);
    assert_int_equal(lim()->max_compare_write, 8 * 512);
    assert_int_equal(lim()->max_discard, 0);
    assert_int_equal(lim()->max_write_zeroes, 0);
    assert_true(lim()->write_cache && lim()->fua && lim()->rotational && !lim()->read_only);
    assert_int_equal(fh_count(&d.f, SCSI_READ_CAPACITY_10), 0);
    assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), -EALREADY);
    fd_close(&d);
}

static void
test_unit_attentions_at_start(void **state)
{
    (void)state;
    start();
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 0)));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_UNIT_ATTENTION, 0x3f, 0x0e)));
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 1)));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(d.dev->stats.unit_attentions, 4);
    assert_int_equal(d.f.events[SCSI_EV_POWER_ON], 1);
    assert_int_equal(d.f.events[SCSI_EV_LUNS_CHANGED], 1);
    fd_close(&d);
}

/* A unit that has no resources now has what it is asked for all the same; one that always says so
 * does not keep the disk from coming up. */
static void
test_short_of_resources(void **state)
{
    (void)state;
    start();
    for (int page = 0xb0; page <= 0xb1; page++) {
        struct answer a =
            ANSWER(SCSI_INQUIRY, page == 0xb0 ? 2 : EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x55, 3));

        a.sub = page;
        fh_script(&d.f, a);
    }
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, 2, SENSE(SENSE_ILLEGAL_REQUEST, 0x55, 3)));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_6, 4, SENSE(SENSE_ILLEGAL_REQUEST, 0x55, 3)));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(lim()->max_compare_write, 8 * 512);
    assert_true(lim()->write_cache && lim()->fua);
    assert_true(fh_count(&d.f, SCSI_INQUIRY) < 30);
    fd_close(&d);
}

/* The disk grows while it comes up, when it has told its size already: it is asked again. */
static void
test_grows_at_start(void **state)
{
    static const uint8_t before[32] = {[5] = 0x0f, [6] = 0xff, [7] = 0xff, [10] = 2};
    struct flun *l = start();

    (void)state;
    d.dev = fh_scan_lun(&d.f, 0);
    l->cap.blocks *= 2;
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, 1, .data = before, .len = sizeof(before)));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_6, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), 0);
    fake_advance(&d.f.loop, SEC(10));
    assert_int_equal(d.up.done, 1);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(fh_count(&d.f, SCSI_SERVICE_ACTION_IN_16), 2);
    assert_int_equal(lim()->size, 1024ull << 20);
    fh_close(&d.f);
}

static void
test_spin_up(void **state)
{
    uint64_t t0;

    (void)state;
    start();
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 10, SENSE(SENSE_NOT_READY, 4, 1)));
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 5, SENSE(SENSE_NOT_READY, 4, 2)));
    t0 = d.f.loop.l.now_ns;
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    (void)t0;
    fd_close(&d);

    start(); /* START STOP UNIT only once, polls each second */
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 5, SENSE(SENSE_NOT_READY, 4, 2)));
    d.dev = fh_scan_lun(&d.f, 0);
    assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), 0);
    fake_advance(&d.f.loop, SEC(4));
    assert_int_equal(d.up.done, 0);
    fake_advance(&d.f.loop, SEC(2));
    assert_int_equal(d.up.done, 1);
    assert_int_equal(fh_count(&d.f, SCSI_START_STOP_UNIT), 1);
    assert_int_equal(fh_count(&d.f, SCSI_TEST_UNIT_READY), 6);
    fh_close(&d.f);

    start(); /* patience ends, and it may be tried again */
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, 150, SENSE(SENSE_NOT_READY, 4, 1)));
    fd_up(&d);
    assert_int_equal(d.up.err, -EAGAIN);
    d.f.nscript = 0;
    d.up.done = 0;
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    fd_close(&d);
}

static void
test_not_coming_up(void **state)
{
    const struct {
        struct answer a;
        int err;
        const char *text;
    } rows[] = {
        {ANSWER(SCSI_TEST_UNIT_READY, EVER, SENSE(SENSE_NOT_READY, 4, 3)), -EIO, "not ready"},
        {ANSWER(SCSI_TEST_UNIT_READY, EVER, SENSE(SENSE_NOT_READY, 4, 0x1b)), -EIO, "not ready"},
        {ANSWER(SCSI_TEST_UNIT_READY, EVER, SENSE(SENSE_NOT_READY, 0x3a, 0)), -ENOMEDIUM,
         "no medium"},
        {ANSWER(SCSI_TEST_UNIT_READY, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x25, 0)), -ENXIO, "gone"},
        {ANSWER(SCSI_TEST_UNIT_READY, EVER, SENSE(SENSE_UNIT_ATTENTION, 0x29, 0)), -EIO,
         "without end"},
        {ANSWER(SCSI_TEST_UNIT_READY, EVER, .status = SCSI_BUSY), -EBUSY, "TEST UNIT READY"},
        {ANSWER(SCSI_TEST_UNIT_READY, EVER, .host = DID_NO_CONNECT), -ENOTCONN, "no answer"},
        {ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)), -EIO,
         "READ CAPACITY(16)"},
        {ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, .data = "xxxx", .len = 4), -EPROTO, "4 bytes"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        start();
        fh_script(&d.f, rows[i].a);
        fd_up(&d);
        assert_int_equal(d.up.err, rows[i].err);
        assert_non_null(strstr(d.up.why.msg, rows[i].text));
        assert_int_equal(d.dev->state, SDEV_RUNNING); /* stays known */
        fh_close(&d.f);
    }
}

static void
test_reservation_conflict_is_no_reason(void **state)
{
    (void)state;
    start();
    fh_script(&d.f, ANSWER(SCSI_TEST_UNIT_READY, EVER, .status = SCSI_RESERVATION_CONFLICT));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    fd_close(&d);
}

static void
test_capacity_ways(void **state)
{
    struct flun *l;

    (void)state;
    l = start(); /* RC16 refused: RC10 */
    l->no_rc16 = true;
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(lim()->size, 512ull << 20);
    fd_close(&d);

    l = start(); /* SPC-2: RC10 first, and RC16 when it says FFFFFFFFh */
    l->inq.version = 4;
    l->cap.blocks = 0x180000000;
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(lim()->size, 0x180000000 * 512);
    assert_int_equal(io_run(&d, BDEV_READ, 0x17fffffffull * 512, 512, 0), 0);
    assert_int_equal(d.f.op[0], SCSI_READ_16);
    fd_close(&d);

    l = start(); /* ... and refuses RC16: nobody knows how large it is */
    l->cap.blocks = 0x180000000;
    l->no_rc16 = true;
    fd_up(&d);
    assert_int_equal(d.up.err, -EREMOTEIO);
    assert_non_null(strstr(d.up.why.msg, "2^32"));
    fh_close(&d.f);

    l = start(); /* exactly 2^32 blocks: 16-byte commands */
    l->cap.blocks = 0x100000000;
    fd_up(&d);
    assert_int_equal(io_run(&d, BDEV_READ, 0, 512, 0), 0);
    assert_int_equal(d.f.op[0], SCSI_READ_16);
    fd_close(&d);

    l = start(); /* too large for 63 bits */
    l->cap.blocks = UINT64_MAX / 512;
    fd_up(&d);
    assert_int_equal(d.up.err, -EFBIG);
    assert_non_null(strstr(d.up.why.msg, "2^63"));
    fh_close(&d.f);
}

static void
test_block_sizes(void **state)
{
    static const struct {
        uint32_t size;
        int err;
    } rows[] = {
        {512, 0}, {1024, 0},       {2048, 0},        {4096, 0},
        {0, 0},   {520, -ENOTSUP}, {8192, -ENOTSUP}, {1, -ENOTSUP},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flun *l = start();

        l->cap.block_len = rows[i].size;
        l->cap.physical_exponent = 0;
        fd_up(&d);
        assert_int_equal(d.up.err, rows[i].err);
        if (rows[i].err == 0) {
            uint32_t bs = rows[i].size == 0 ? 512 : rows[i].size;

            assert_int_equal(lim()->block_size, bs);
            assert_int_equal(lim()->size, (uint64_t)bs << 20);
            assert_int_equal(io_run(&d, BDEV_READ, bs * 3, bs * 2, 0), 0);
            fd_close(&d);
        } else {
            assert_non_null(strstr(d.up.why.msg, "are not supported"));
            fh_close(&d.f);
        }
    }
}

static void
test_write_protect_and_cache(void **state)
{
    struct flun *l;

    (void)state;
    l = start();
    l->wp = true;
    fd_up(&d);
    assert_true(lim()->read_only);
    assert_false(lim()->write_cache);
    fd_close(&d);

    l = start();
    l->wce = false;
    fd_up(&d);
    assert_false(lim()->write_cache);
    assert_int_equal(io_run(&d, BDEV_FLUSH, 0, 0, 0), 0);
    assert_int_equal(d.f.n, 0);
    fd_close(&d);

    l = start(); /* only the 10-byte MODE SENSE */
    l->ms6_refused = true;
    fd_up(&d);
    assert_true(lim()->write_cache && lim()->fua);
    fd_close(&d);

    start(); /* nothing answers MODE SENSE: writable, write-through */
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_6, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x24, 0)));
    fh_script(&d.f, ANSWER(SCSI_MODE_SENSE_10, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x24, 0)));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_true(!lim()->read_only && !lim()->write_cache && !lim()->fua);
    fd_close(&d);
}

static void
test_transfer_limits(void **state)
{
    static const struct {
        uint32_t max, opt, gran, param; /* blocks; param: bytes */
        uint64_t want_max, want_opt;    /* bytes */
    } rows[] = {
        {0, 0, 0, 0, 1 << 20, 0},
        {256, 0, 0, 0, 128 << 10, 0},
        {0, 128, 0, 0, 64 << 10, 64 << 10},
        {64, 128, 0, 0, 32 << 10, 0}, /* optimal above the maximum: ignored */
        {0, 7, 0, 0, 1 << 20, 0},     /* below 4096 bytes */
        {0, 100, 0, 0, 1 << 20, 0},   /* not a multiple of the physical block */
        {0, 128, 48, 0, 1 << 20, 0},  /* not of the granularity */
        {0, 1024, 0, 4 << 20, 4 << 20, 512 << 10},
        {0, 0, 0, 64 << 20, 0xffff * 512 / 4096 * 4096, 0}, /* 16 MiB, and 10-byte CDBs */
        {1, 0, 0, 0, 512, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flun *l;
        struct scsi_params p = {.max_transfer = rows[i].param};

        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        scsi_detach(&d.f.t);
        d.f.h.max_transfer = 64 << 20;
        assert_int_equal(scsi_attach(&d.f.h, &p, &fh_events, &d.f, &d.f.t), 0);
        l = fh_add(&d.f, 0, 0);
        l->b0.max_transfer = rows[i].max;
        l->b0.opt_transfer = rows[i].opt;
        l->b0.opt_granularity = (uint16_t)rows[i].gran;
        fd_up(&d);
        assert_int_equal(d.up.err, 0);
        if (rows[i].param == 64 << 20)
            assert_true(lim()->max_transfer <= 16 << 20 && lim()->max_transfer > 15 << 20);
        else
            assert_int_equal(lim()->max_transfer, rows[i].want_max);
        assert_int_equal(lim()->opt_transfer, rows[i].want_opt);
        fd_close(&d);
    }
}

static void
test_provisioning(void **state)
{
    enum { OFF = 0 };
    static const struct {
        bool b2, lbpme, lbpu, ws, ws10;
        uint32_t unmap, desc;
        uint64_t max_ws;
        uint8_t op, flags;
        uint64_t max; /* blocks */
    } rows[] = {
        {true, true, true, true, true, 1000, 1, 0, SCSI_UNMAP, 0, 1000},
        {true, true, true, true, true, UINT32_MAX, 1, 0, SCSI_UNMAP, 0, 0x7fffff},
        {true, true, true, true, true, 0, 1, 0, SCSI_WRITE_SAME_16, 8, 0x7fffff},
        {true, true, true, true, true, 5, 0, 77, SCSI_WRITE_SAME_16, 8, 77},
        {true, true, false, false, true, 5, 1, 0, SCSI_WRITE_SAME_10, 8, 0xffff},
        {true, true, false, false, true, 5, 1, 100000, SCSI_WRITE_SAME_10, 8, 0xffff},
        {true, true, false, false, false, 5, 1, 0, 0, 0, OFF},
        {true, false, true, true, true, 5, 1, 0, 0, 0, OFF},
        {false, true, false, false, false, 50, 1, 0, SCSI_UNMAP, 0, 50},
        {false, true, false, false, false, 0, 0, 9, SCSI_WRITE_SAME_16, 8, 9},
        {false, false, false, false, false, 50, 1, 9, 0, 0, OFF},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flun *l = start();

        l->cap.lbpme = rows[i].lbpme;
        l->b2 = (struct vpd_provisioning){
            .lbpu = rows[i].lbpu, .lbpws = rows[i].ws, .lbpws10 = rows[i].ws10};
        l->b0.max_unmap_lba = rows[i].unmap;
        l->b0.max_unmap_desc = rows[i].desc;
        l->b0.max_write_same = rows[i].max_ws;
        if (!rows[i].b2)
            fh_script(&d.f, (struct answer){.op = SCSI_INQUIRY,
                                            .sub = 0xb2,
                                            .lun = ANY_OP,
                                            .times = EVER,
                                            SENSE(SENSE_ILLEGAL_REQUEST, 0x24, 0)});
        fd_up(&d);
        assert_int_equal(lim()->max_discard, rows[i].max * 512);
        if (rows[i].max > 0) {
            assert_int_equal(io_run(&d, BDEV_DISCARD, 4096, 512, 0), 0);
            assert_int_equal(d.f.op[0], rows[i].op);
            assert_int_equal(d.f.byte1[0], rows[i].flags);
        }
        if (rows[i].op == SCSI_UNMAP) {
            struct unmap_range r;

            assert_int_equal(d.f.last_out_len, 24);
            assert_int_equal(unmap_list_parse(d.f.last_out, 24, &r, 1), 1);
            assert_int_equal(r.lba, 8);
            assert_int_equal(r.blocks, 1);
        }
        fd_close(&d);
    }
}

static void
test_write_zeroes_forms(void **state)
{
    static const struct {
        bool lbprz16, ws, ws10u;
        uint8_t lbprz;
        bool has16, has10;
        uint32_t flags;
        uint8_t op, byte1;
    } rows[] = {
        {true, true, false, 1, false, false, 0, SCSI_WRITE_SAME_16, 8},
        {true, false, true, 1, false, false, 0, SCSI_WRITE_SAME_10, 8},
        {false, true, false, 1, true, false, 0, SCSI_WRITE_SAME_16, 0}, /* sources disagree */
        {true, true, false, 2, true, false, 0, SCSI_WRITE_SAME_16, 0},  /* a pattern, not zeroes */
        {true, true, false, 1, true, false, BDEV_F_NO_UNMAP, SCSI_WRITE_SAME_16, 0},
        {true, true, false, 1, false, true, BDEV_F_NO_UNMAP, SCSI_WRITE_SAME_10, 0},
        {true, true, false, 1, false, false, BDEV_F_NO_UNMAP, SCSI_WRITE_10, 0},
        {false, false, false, 0, false, false, 0, SCSI_WRITE_10, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flun *l = start();

        l->cap.lbpme = true;
        l->cap.lbprz = rows[i].lbprz16;
        l->b2 = (struct vpd_provisioning){
            .lbpws = rows[i].ws, .lbpws10 = rows[i].ws10u, .lbprz = rows[i].lbprz};
        l->ws16 = rows[i].has16;
        l->ws10 = rows[i].has10;
        fd_up(&d);
        assert_int_equal(io_run(&d, BDEV_WRITE_ZEROES, 4096, 8192, rows[i].flags), 0);
        assert_int_equal(d.f.op[0], rows[i].op);
        assert_int_equal(d.f.byte1[0], rows[i].byte1);
        assert_int_equal(d.f.n, 1);
        assert_int_equal(d.f.last_out_len, rows[i].op == SCSI_WRITE_10 ? 8192 : 512);
        for (int k = 0; k < 64; k++)
            assert_int_equal(d.f.last_out[k], 0);
        fd_close(&d);
    }
}

static void
test_other_types(void **state)
{
    static const struct {
        uint8_t qualifier, type;
        int err;
    } rows[] = {
        {0, SCSI_TYPE_DISK, 0},
        {0, SCSI_TYPE_ZONED, -EMEDIUMTYPE},
        {0, SCSI_TYPE_TAPE, -EMEDIUMTYPE},
        {1, SCSI_TYPE_DISK, -EMEDIUMTYPE},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct flun *l = start();

        l->inq.type = rows[i].type;
        l->inq.qualifier = rows[i].qualifier;
        d.dev = fh_scan_lun(&d.f, 0);
        assert_non_null(d.dev);
        assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), rows[i].err);
        fh_close(&d.f);
        assert_int_equal(d.up.done, rows[i].err == 0);
    }
}

static void
test_hostile_pages(void **state)
{
    static const uint8_t ops[] = {SCSI_SERVICE_ACTION_IN_16, SCSI_MODE_SENSE_6, SCSI_MAINTENANCE_IN,
                                  SCSI_INQUIRY};
    uint8_t junk[300];

    (void)state;
    for (uint64_t seed = 1; seed < 500; seed++) {
        struct fake_loop r;

        fake_loop_init(&r, seed);
        for (size_t i = 0; i < sizeof(junk); i++)
            junk[i] = (uint8_t)(fake_random(&r.l) >> 20);
        start();
        fh_script(&d.f, (struct answer){.op = ops[seed % 4],
                                        .sub = seed % 4 == 3 ? 0xb0 + (int)(seed % 3) : ANY_OP,
                                        .lun = ANY_OP,
                                        .times = EVER,
                                        .data = junk,
                                        .len = (uint32_t)(fake_random(&r.l) % sizeof(junk))});
        if (seed % 4 == 3) {
            junk[1] = (uint8_t)(0xb0 + seed % 3);
            junk[2] = 0;
        }
        d.dev = fh_scan_lun(&d.f, 0);
        assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), 0);
        fake_advance(&d.f.loop, SEC(200));
        assert_int_equal(d.up.done, 1);
        if (d.up.err == 0) {
            assert_int_equal(blk_dev_new(&scsi_disk_ops, d.dev, lim(), &d.b), 0);
            blk_dev_free(&d.b);
        }
        fh_close(&d.f);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_plain),
        cmocka_unit_test(test_unit_attentions_at_start),
        cmocka_unit_test(test_short_of_resources),
        cmocka_unit_test(test_spin_up),
        cmocka_unit_test(test_not_coming_up),
        cmocka_unit_test(test_reservation_conflict_is_no_reason),
        cmocka_unit_test(test_capacity_ways),
        cmocka_unit_test(test_block_sizes),
        cmocka_unit_test(test_write_protect_and_cache),
        cmocka_unit_test(test_transfer_limits),
        cmocka_unit_test(test_provisioning),
        cmocka_unit_test(test_write_zeroes_forms),
        cmocka_unit_test(test_grows_at_start),
        cmocka_unit_test(test_other_types),
        cmocka_unit_test(test_hostile_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
