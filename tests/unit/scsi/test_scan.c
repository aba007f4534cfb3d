/* SPDX-License-Identifier: MIT */
#include "tests/unit/scsi/fake_host.h"

#include "tests/support/alloc_fail.h"

static struct fhost f;

static void
scan(struct scanned *s)
{
    *s = (struct scanned){0};
    assert_int_equal(scsi_scan(f.t, scan_done, s), 0);
    assert_int_equal(s->done, 0);
    fake_advance(&f.loop, SEC(300));
    assert_int_equal(s->done, 1);
}

static void
test_one_lun(void **state)
{
    struct scanned s = {0};
    struct scsi_device *d;

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    fh_add(&f, 1, 300); /* flat space */
    d = fh_scan_lun(&f, 300);
    assert_non_null(d);
    assert_int_equal(d->state, SDEV_RUNNING);
    assert_string_equal(d->vendor, "LUNETTE");
    assert_string_equal(d->product, "MODEL");
    assert_string_equal(d->serial, "SERIAL1");
    assert_true(strncmp(d->name, "naa.60", 6) == 0);
    assert_int_equal(d->level, SCSI_LEVEL_SPC4);
    assert_int_equal(fh_ndevices(&f), 1);      /* and no other */
    assert_ptr_equal(fh_scan_lun(&f, 300), d); /* known: the same */
    assert_int_equal(fh_ndevices(&f), 1);
    assert_int_equal(scsi_scan_lun(f.t, lun_from_number(5).b, scan_lun_done, &s), 0);
    fake_advance(&f.loop, SEC(1));
    assert_int_equal(s.done, 1);
    assert_null(s.dev);
    assert_int_equal(s.err, -ENXIO);
    assert_int_equal(s.why.domain, LUNETTE_DOM_NOTFOUND);
    assert_string_equal(s.why.msg, "LUN 5 does not exist at this target");
    fh_close(&f);
}

/* For raw commands there is a device wherever an answer comes, which no driver takes. */
static void
test_add_lun(void **state)
{
    struct scanned s[4] = {0};

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    assert_int_equal(scsi_add_lun(f.t, lun_from_number(5).b, scan_lun_done, &s[0]), 0);
    assert_int_equal(scsi_add_lun(f.t, lun_well_known(1).b, scan_lun_done, &s[1]), 0);
    assert_int_equal(scsi_add_lun(f.t, lun_from_number(0).b, scan_lun_done, &s[2]), 0);
    fake_advance(&f.loop, SEC(1));
    for (int i = 0; i < 3; i++) {
        assert_int_equal(s[i].done, 1);
        assert_non_null(s[i].dev);
        assert_int_equal(s[i].dev->state, SDEV_RUNNING);
        assert_int_equal(s[i].dev->type, i == 2 ? 0 : SCSI_TYPE_NONE);
    }
    fh_script(&f, ANSWER(SCSI_INQUIRY, 2, SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)));
    fh_script(&f, ANSWER(SCSI_INQUIRY, 2, SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)));
    fh_script(&f, ANSWER(SCSI_INQUIRY, 2, SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)));
    assert_int_equal(scsi_add_lun(f.t, lun_from_number(6).b, scan_lun_done, &s[3]), 0);
    fake_advance(&f.loop, SEC(100));
    assert_int_equal(s[3].done, 1);
    assert_non_null(s[3].dev);
    assert_int_equal(s[3].dev->type, SCSI_TYPE_NONE);
    fh_close(&f);
}

static void
test_report_luns(void **state)
{
    struct scanned s;

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    fh_add(&f, 1, 7);
    fh_add(&f, 2, 300);
    fh_script(&f, ANSWER(SCSI_INQUIRY, 2, SENSE(SENSE_UNIT_ATTENTION, 0x29, 0)));
    fh_script(&f, ANSWER(SCSI_REPORT_LUNS, 2, SENSE(SENSE_UNIT_ATTENTION, 0x28, 0)));
    scan(&s);
    assert_int_equal(s.err, 0);
    assert_int_equal(fh_ndevices(&f), 3);
    assert_int_equal(fh_count(&f, SCSI_REPORT_LUNS), 3);
    assert_int_equal(lun_load(scsi_next_device(scsi_first_device(f.t))->lun).b[1], 7);
    scan(&s); /* again: nothing doubles */
    assert_int_equal(fh_ndevices(&f), 3);
    fh_close(&f);
}

static void
test_lun0_absent(void **state)
{
    struct scanned s;

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 4); /* LUN 0 answers INQUIRY with qualifier 3, and REPORT LUNS */
    scan(&s);
    assert_int_equal(s.err, 0);
    assert_int_equal(fh_ndevices(&f), 1);
    assert_int_equal(scsi_first_device(f.t)->lun[1], 4);
    fh_close(&f);
}

static void
test_well_known_lun(void **state)
{
    struct scanned s;

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 4);
    fh_script(&f, (struct answer){.op = SCSI_REPORT_LUNS,
                                  .sub = ANY_OP,
                                  .lun = 0,
                                  .times = EVER,
                                  SENSE(SENSE_ILLEGAL_REQUEST, 0x25, 0)});
    scan(&s);
    assert_int_equal(s.err, 0);
    assert_int_equal(fh_count(&f, SCSI_REPORT_LUNS), 2);
    for (unsigned i = 0; i < f.n; i++) {
        if (f.op[i] == SCSI_REPORT_LUNS)
            assert_true(f.lun[i] == 0 || f.lun[i] == 1); /* C1 01 */
    }
    assert_int_equal(fh_ndevices(&f), 1);
    fh_close(&f);
}

static void
test_sequential(void **state)
{
    struct scanned s;

    (void)state;
    fh_open(&f);
    f.no_report_luns = true;
    for (int i = 0; i < 4; i++)
        fh_add(&f, i, (uint64_t)i);
    fh_add(&f, 4, 9); /* behind a hole: not found */
    scan(&s);
    assert_int_equal(s.err, 0);
    assert_int_equal(fh_count(&f, SCSI_REPORT_LUNS), 2);
    assert_int_equal(fh_ndevices(&f), 4);
    fh_close(&f);

    fh_open(&f); /* SCSI-2: no REPORT LUNS, at most 8 */
    for (int i = 0; i < 8; i++) {
        fh_add(&f, i, (uint64_t)i)->inq.version = 2;
        f.luns[i].no_vpd = true;
    }
    scan(&s);
    assert_int_equal(fh_count(&f, SCSI_REPORT_LUNS), 0);
    assert_int_equal(fh_ndevices(&f), 8);
    assert_true(scsi_first_device(f.t)->name[0] != '\0');
    fh_close(&f);

    fh_open(&f); /* a target that shows one unit at every LUN */
    f.no_report_luns = true;
    for (int i = 0; i < 8; i++) {
        fh_add(&f, i, (uint64_t)i);
        f.luns[i].name = f.luns[0].name;
    }
    scan(&s);
    assert_int_equal(fh_ndevices(&f), 1);
    fh_close(&f);
}

static void
test_lying_lists(void **state)
{
    static const struct {
        uint32_t claims, sent;
        unsigned devices;
    } rows[] = {
        {0, 8, 1},   {7, 16, 1},  {9, 24, 1},       {0xfffffff8, 24, 2},
        {16, 12, 1}, {16, 24, 2}, {0x20000, 24, 2}, {8, 4, 1},
    };
    uint8_t list[24] = {0};

    (void)state;
    list[8 + 1] = 0; /* LUN 0 */
    list[16 + 1] = 2;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct scanned s;

        fh_open(&f);
        fh_add(&f, 0, 0);
        fh_add(&f, 1, 2);
        st_be32(list, rows[i].claims);
        fh_script(&f, ANSWER(SCSI_REPORT_LUNS, EVER, .data = list, .len = rows[i].sent));
        scan(&s);
        assert_int_equal(s.err, 0);
        assert_int_equal(fh_ndevices(&f), rows[i].devices);
        assert_true(fh_count(&f, SCSI_REPORT_LUNS) <= 5); /* does not grow for ever */
        fh_close(&f);
    }
}

/* Whichever allocation fails, a scan finds all there is, or says that memory was short. */
static void
test_a_scan_without_memory(void **state)
{
    bool failed = true;
    uint8_t list[24] = {0};

    (void)state;
    st_be32(list, 0x20000); /* much more than there is room for at first */
    list[16 + 1] = 2;
    for (long n = 0; failed; n++) {
        struct scanned s = {0};
        int r;

        assert_true(n < 100);
        fh_open(&f);
        fh_add(&f, 0, 0);
        fh_add(&f, 1, 2);
        fh_script(&f, ANSWER(SCSI_REPORT_LUNS, EVER, .data = list, .len = sizeof(list)));
        alloc_left = n;
        r = scsi_scan(f.t, scan_done, &s);
        if (r == 0)
            fake_advance(&f.loop, SEC(300));
        failed = alloc_left < 0;
        alloc_left = -1;
        assert_int_equal(s.done, r == 0);
        if (r == 0 && s.err == 0) {
            assert_int_equal(fh_ndevices(&f), 2);
            assert_true(fh_count(&f, SCSI_REPORT_LUNS) >=
                        2); /* the list was asked for as a whole */
        } else {
            assert_int_equal(r < 0 ? r : s.err, -ENOMEM);
        }
        fh_close(&f);
    }
}

static void
test_always_one_more(void **state)
{
    struct scanned s;

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    f.one_more = true;
    scan(&s);
    assert_int_equal(s.err, 0);
    assert_int_equal(fh_count(&f, SCSI_REPORT_LUNS), 5);
    assert_int_equal(fh_ndevices(&f), 1);
    fh_close(&f);
}

static void
test_duplicates_and_strange_luns(void **state)
{
    uint8_t list[8 + 8 * 6] = {0};
    struct scanned s;

    (void)state;
    st_be32(list, sizeof(list) - 8);
    list[8 + 1] = 3;
    list[16 + 1] = 3;
    memset(list + 24, 0xff, 8); /* no LUN at all */
    list[32 + 1] = 3;
    list[40] = 0x40; /* flat space: another device than 00 03 */
    list[40 + 1] = 3;
    list[48 + 1] = 0;
    fh_open(&f);
    fh_add(&f, 0, 3);
    fh_add(&f, 1, 0);
    f.luns[2] = f.luns[0];
    f.luns[2].lun[0] = 0x40;
    fh_script(&f, ANSWER(SCSI_REPORT_LUNS, EVER, .data = list, .len = sizeof(list)));
    scan(&s);
    assert_int_equal(fh_ndevices(&f), 3);
    fh_close(&f);
}

static void
test_hostile_inquiry(void **state)
{
    uint8_t inq[64];
    struct scanned s;
    struct scsi_device *d;

    (void)state;
    for (uint32_t len = 1; len <= sizeof(inq); len++) {
        memset(inq, 0x1b, sizeof(inq)); /* escapes in every name */
        inq[0] = 0;
        inq[2] = 6;
        inq[4] = 255;
        fh_open(&f);
        fh_add(&f, 0, 0);
        fh_script(&f, (struct answer){.op = SCSI_INQUIRY,
                                      .sub = -2,
                                      .lun = ANY_OP,
                                      .times = EVER,
                                      .data = inq,
                                      .len = len});
        scan(&s);
        assert_int_equal(fh_ndevices(&f), 1);
        d = scsi_first_device(f.t);
        for (const char *c = d->vendor; *c != '\0'; c++)
            assert_true(*c >= 0x20 && *c < 0x7f);
        for (const char *c = d->product; *c != '\0'; c++)
            assert_true(*c >= 0x20 && *c < 0x7f);
        fh_close(&f);
    }
}

static void
test_hostile_vpd(void **state)
{
    uint8_t page[256];

    (void)state;
    for (uint64_t seed = 1; seed < 400; seed++) {
        struct scanned s;
        struct fake_loop r;

        fake_loop_init(&r, seed);
        for (size_t i = 0; i < sizeof(page); i++)
            page[i] = (uint8_t)fake_random(&r.l);
        page[1] = (uint8_t[]){0, 0x80, 0x83}[seed % 3];
        if (seed % 2 == 0)
            st_be16(page + 2, (uint16_t)(fake_random(&r.l) % 300));
        if (seed % 4 == 0)
            page[4] = 0x80, page[5] = 0x83;
        fh_open(&f);
        fh_add(&f, 0, 0);
        fh_script(&f, (struct answer){.op = SCSI_INQUIRY,
                                      .sub = page[1],
                                      .lun = ANY_OP,
                                      .times = EVER,
                                      .data = page,
                                      .len = (uint32_t)(fake_random(&r.l) % sizeof(page))});
        scan(&s);
        assert_int_equal(s.err, 0);
        assert_int_equal(fh_ndevices(&f), 1);
        assert_true(scsi_first_device(f.t)->name[0] != '\0');
        for (const char *c = scsi_first_device(f.t)->name; *c != '\0'; c++)
            assert_true(*c >= 0x20 && *c < 0x7f);
        assert_true(f.n < 30);
        fh_close(&f);
    }
}

static void
test_nothing_answers(void **state)
{
    struct scanned s, one = {0};

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    fh_script(&f, ANSWER(SCSI_INQUIRY, EVER, .never = true));
    f.abort_result = SCSI_EH_SUCCESS;
    scan(&s); /* timed out, aborted */
    assert_int_equal(s.err, -ETIMEDOUT);
    assert_int_equal(f.aborts, 1);
    assert_int_equal(scsi_scan_lun(f.t, lun_from_number(0).b, scan_lun_done, &one), 0);
    fake_advance(&f.loop, SEC(10));
    assert_int_equal(one.done, 0);
    fh_close(&f); /* the session ends meanwhile */
    assert_int_equal(one.done, 1);
    assert_int_equal(one.err, -ENOTCONN);

    fh_open(&f); /* detached before it began */
    one.done = 0;
    assert_int_equal(scsi_scan_lun(f.t, lun_from_number(0).b, scan_lun_done, &one), 0);
    scsi_detach(&f.t);
    assert_int_equal(one.done, 1);
    assert_int_equal(one.err, -ENODEV);
    fake_advance(&f.loop, SEC(10));
}

static void
test_scan_waits_while_the_session_recovers(void **state)
{
    struct scanned s = {0};

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    fh_state(&f, SCSI_HOST_BLOCKED);
    assert_int_equal(scsi_scan(f.t, scan_done, &s), 0);
    fake_advance(&f.loop, SEC(100)); /* held: no timer runs */
    assert_int_equal(f.n, 0);
    assert_int_equal(s.done, 0);
    fh_state(&f, SCSI_HOST_RUNNING);
    fake_advance(&f.loop, SEC(1));
    assert_int_equal(s.done, 1);
    assert_int_equal(s.err, 0);
    assert_int_equal(fh_ndevices(&f), 1);
    fh_close(&f);
}

static void
test_rescan_sees_changes(void **state)
{
    struct scanned s;
    struct scsi_device *a, *b;

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    fh_add(&f, 1, 1);
    fh_add(&f, 2, 2);
    scan(&s);
    assert_int_equal(fh_ndevices(&f), 3);
    a = scsi_next_device(scsi_first_device(f.t));
    b = scsi_next_device(a);
    f.luns[1].name = f.luns[7].name = "\x60zzzzzzzzzzzzzzz"; /* another disk behind LUN 1 */
    f.luns[2].there = false;
    scan(&s);
    assert_int_equal(a->state, SDEV_OFFLINE);
    assert_int_equal(f.events[SCSI_EV_REPLACED], 1);
    assert_int_equal(b->state, SDEV_OFFLINE);
    assert_int_equal(f.events[SCSI_EV_OFFLINE], 1);
    assert_int_equal(scsi_first_device(f.t)->state, SDEV_RUNNING);
    fh_close(&f);
}

/* Another disk is behind a LUN that was found, and that nobody has in use: who asks for it gets the
 * new one.  Where a disk is in use, nobody does. */
static void
test_unused_unit_gives_way(void **state)
{
    struct scsi_device *a;
    int owner;

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    fh_add(&f, 1, 1);
    a = fh_scan_lun(&f, 1);
    assert_string_equal(a->serial, "SERIAL1");
    for (int seen = 0; seen < 2; seen++) {
        f.luns[1].name = seen ? "\x60zzzzzzzzzzzzzzz" : "\x60yyyyyyyyyyyyyyy";
        if (seen) {
            struct scanned s;

            scan(&s); /* it is known already that it is another one */
            assert_int_equal(a->state, SDEV_OFFLINE);
        }
        a = fh_scan_lun(&f, 1);
        assert_non_null(a);
        assert_int_equal(a->state, SDEV_RUNNING);
        assert_int_equal(fh_ndevices(&f), seen ? 2 : 1);
    }
    a->user = &owner;
    f.luns[1].name = "\x60xxxxxxxxxxxxxxx";
    assert_null(fh_scan_lun(&f, 1));
    assert_int_equal(a->state, SDEV_OFFLINE);
    assert_null(fh_scan_lun(&f, 1));
    a->user = NULL;
    assert_non_null(fh_scan_lun(&f, 1));
    fh_close(&f);
}

/* The session is back with another unit, and somebody wants that one after the device of the one
 * before, which nobody uses, has been looked at, or while it still is. */
static void
test_unused_unit_is_looked_at(void **state)
{
    (void)state;
    for (int meanwhile = 0; meanwhile < 2; meanwhile++) {
        struct scanned s = {0};
        struct scsi_device *a;

        fh_open(&f);
        fh_add(&f, 0, 0);
        assert_non_null(fh_scan_lun(&f, 0));
        fh_lose(&f);
        f.luns[0].name = "\x60yyyyyyyyyyyyyyy";
        if (meanwhile)
            assert_int_equal(scsi_scan_lun(f.t, lun_from_number(0).b, scan_lun_done, &s), 0);
        fh_state(&f, SCSI_HOST_RUNNING);
        fake_advance(&f.loop, SEC(1));
        assert_int_equal(s.done, meanwhile);
        a = fh_scan_lun(&f, 0);
        assert_non_null(a);
        assert_int_equal(a->state, SDEV_RUNNING);
        assert_int_equal(fh_ndevices(&f), 1);
        fh_close(&f);
    }
}

static void
test_scans_wait_for_each_other(void **state)
{
    struct scanned s[3] = {0};

    (void)state;
    fh_open(&f);
    fh_add(&f, 0, 0);
    fh_add(&f, 1, 1);
    assert_int_equal(scsi_scan(f.t, scan_done, &s[0]), 0);
    assert_int_equal(scsi_scan_lun(f.t, lun_from_number(1).b, scan_lun_done, &s[1]), 0);
    assert_int_equal(scsi_scan_lun(f.t, lun_from_number(0).b, scan_lun_done, &s[2]), 0);
    fake_advance(&f.loop, SEC(1));
    for (int i = 0; i < 3; i++)
        assert_int_equal(s[i].done, 1);
    assert_int_equal(f.max_out, 1);
    assert_int_equal(fh_ndevices(&f), 2);
    fh_close(&f);
}

static void
test_transport_failure_stops_the_walk(void **state)
{
    struct scanned s;

    (void)state;
    fh_open(&f);
    for (int i = 0; i < 4; i++)
        fh_add(&f, i, (uint64_t)i);
    fh_script(&f, (struct answer){.op = SCSI_INQUIRY,
                                  .sub = -2,
                                  .lun = 1,
                                  .times = EVER,
                                  SENSE(SENSE_HARDWARE_ERROR, 0x44, 0)}); /* this LUN only */
    fh_script(&f,
              (struct answer){
                  .op = SCSI_INQUIRY, .sub = -2, .lun = 3, .times = EVER, .host = DID_NO_CONNECT});
    scan(&s);
    assert_int_equal(s.err, -ENOTCONN);
    assert_int_equal(fh_ndevices(&f), 2);
    fh_close(&f);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_lun),
        cmocka_unit_test(test_add_lun),
        cmocka_unit_test(test_report_luns),
        cmocka_unit_test(test_lun0_absent),
        cmocka_unit_test(test_well_known_lun),
        cmocka_unit_test(test_sequential),
        cmocka_unit_test(test_lying_lists),
        cmocka_unit_test(test_a_scan_without_memory),
        cmocka_unit_test(test_always_one_more),
        cmocka_unit_test(test_duplicates_and_strange_luns),
        cmocka_unit_test(test_hostile_inquiry),
        cmocka_unit_test(test_hostile_vpd),
        cmocka_unit_test(test_nothing_answers),
        cmocka_unit_test(test_scan_waits_while_the_session_recovers),
        cmocka_unit_test(test_rescan_sees_changes),
        cmocka_unit_test(test_unused_unit_gives_way),
        cmocka_unit_test(test_unused_unit_is_looked_at),
        cmocka_unit_test(test_scans_wait_for_each_other),
        cmocka_unit_test(test_transport_failure_stops_the_walk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
