/* SPDX-License-Identifier: MIT */
/* Units, their disks and exports above a session: what each request does, and what happens when the
 * session, a unit or an export ends. */
#include "tests/unit/iod/iodw.h"

#include "tests/support/alloc_fail.h"

/* A session with that many disks, which have been scanned. */
static void
up(int disks)
{
    iodw_new();
    for (int i = 1; i < disks; i++)
        (void)fh_add(&iodw.f, i, (uint64_t)i);
    iodw_start();
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
    assert_int_equal(iodw.reply[iodw.nreplies - 1].r.value, disks);
}

/* ---- scans ---------------------------------------------------------------------------------- */

static void
test_nothing_before_the_session_is_started(void **state)
{
    (void)state;
    iodw_new();
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), -EAGAIN);
    iodw_list();
    assert_int_equal(iodw.nluns, 0);
    assert_int_equal(iodw_lun(ISCSI_UEVENT_GET_LUN_STATS, 0), -ENXIO);
    assert_int_equal(iodw_lun(ISCSI_UEVENT_STOP_EXPORT, 0), -ENXIO);
    assert_int_equal(iodw_export(0, "fake", "/x"), -ENXIO);
    assert_int_equal(iodw_do(ISCSI_UEVENT_UNBIND_SESSION), 0);
    iodw_free();
}

static void
test_scan_brings_disks_up(void **state)
{
    const struct ipc_lun_info *l = iodw.lun;

    (void)state;
    iodw_new();
    (void)fh_add(&iodw.f, 1, 1);
    (void)fh_add(&iodw.f, 2, 300);
    iodw.f.luns[1].inq.type = 1; /* a tape */
    iodw.f.luns[2].wp = true;
    iodw_start();
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
    assert_int_equal(iodw.reply[iodw.nreplies - 1].r.value, 3);
    assert_int_equal(iodw_events_of(ISCSI_KEVENT_LUN), 3);
    assert_int_equal(iodw.event[0].u.lun.what, IPC_LUN_EV_CAME);
    iodw_list();
    assert_int_equal(iodw.nluns, 3);
    assert_int_equal(l[0].state, IPC_LUN_UP);
    assert_int_equal(l[0].size, 512 << 20);
    assert_int_equal(l[0].block_size, 512);
    assert_true((l[0].flags & IPC_LUN_WRITE_CACHE) != 0);
    assert_true((l[0].flags & IPC_LUN_READ_ONLY) == 0);
    assert_string_equal(l[0].vendor, "LUNETTE");
    assert_true(strncmp(l[0].ident, "naa.", 4) == 0);
    assert_int_equal(l[0].err, 0);
    assert_int_equal(l[1].state, IPC_LUN_NEW);
    assert_int_equal(l[1].pdt, 1);
    assert_int_equal(l[1].err, 0);
    assert_int_equal(l[2].state, IPC_LUN_UP);
    assert_memory_equal(l[2].lun, lun_from_number(300).b, 8);
    assert_true((l[2].flags & IPC_LUN_READ_ONLY) != 0);
    assert_true(l[0].index < l[1].index && l[1].index < l[2].index);
    iodw_free();
}

/* A disk that does not come up says why, and the next scan tries again. */
static void
test_a_disk_that_does_not_come_up(void **state)
{
    (void)state;
    iodw_new();
    iodw_start();
    for (int one = 0; one < 2; one++) {
        iodw.f.nscript = 0;
        fh_script(&iodw.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_NOT_READY, 0x3a, 0)));
        if (one)
            assert_int_equal(iodw_lun(ISCSI_UEVENT_SCAN_HOST, 0), -ENOMEDIUM);
        else
            assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
        iodw_list();
        assert_int_equal(iodw.nluns, 1);
        assert_int_equal(iodw.lun[0].state, IPC_LUN_NEW);
        assert_int_equal(iodw.lun[0].err, -ENOMEDIUM);
        assert_true(iodw.lun[0].why[0] != '\0');
        assert_int_equal(iodw_export(0, "fake", "/x"), -ENODEV);
    }
    assert_int_equal(iodw_lun(ISCSI_UEVENT_SCAN_HOST, 0), 0);
    iodw_list();
    assert_int_equal(iodw.lun[0].state, IPC_LUN_UP);
    assert_int_equal(iodw.lun[0].err, 0);
    assert_int_equal(iodw_lun(ISCSI_UEVENT_SCAN_HOST, 7), -ENXIO);
    iodw_free();
}

/* Scans wait for each other, and not without a bound. */
static void
test_many_scans(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_SCAN_HOST};
    unsigned refused = 0, before;

    (void)state;
    up(2);
    before = iodw.nreplies;
    for (int i = 0; i < IOD_WAITS_MAX + 3; i++) {
        iodw_send(&ev, NULL);
        if (iodw.nreplies > before)
            refused++;
        before = iodw.nreplies;
    }
    assert_int_equal(refused, 3);
    assert_int_equal(iodw.reply[iodw.nreplies - 1].err, -EBUSY);
    fake_advance(&iodw.f.loop, SEC(20));
    assert_int_equal(iodw.nreplies, before + IOD_WAITS_MAX);
    for (unsigned i = before; i < iodw.nreplies; i++)
        assert_int_equal(iodw.reply[i].err, 0);
    iodw_free();
}

/* More units than a page holds, page after page. */
static void
test_pages(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_LIST_LUNS};

    (void)state;
    up(FH_LUNS);
    ev.u.list_luns.after = 5;
    assert_int_equal(iodw_ask(&ev, NULL), 0);
    assert_int_equal(iodw.nluns, FH_LUNS - 5);
    assert_int_equal(iodw.lun[0].index, 6);
    ev.u.list_luns.after = UINT32_MAX;
    assert_int_equal(iodw_ask(&ev, NULL), 0);
    assert_int_equal(iodw.nluns, 0);
    iodw_free();
}

/* ---- exports -------------------------------------------------------------------------------- */

static void
test_an_export(void **state)
{
    struct ipc_lun_stats *s;

    (void)state;
    up(2);
    assert_int_equal(iodw_export(1, "vhost_user", "/run/1"), -EOPNOTSUPP);
    assert_int_equal(iodw_export(1, "fake", ""), -EINVAL);
    assert_int_equal(iodw_export(9, "fake", "/run/1"), -ENXIO);
    fx.refuse = true;
    assert_int_equal(iodw_export(1, "fake", "/run/1"), -EACCES);
    iodw_list();
    assert_string_equal(iodw.lun[1].export_kind, "");
    fx.refuse = false;
    assert_int_equal(iodw_export(1, "fake", "/run/1"), 0);
    assert_string_equal(fx.where, "/run/1");
    assert_int_equal(iodw_export(1, "fake", "/run/2"), -EBUSY);
    fx_submit(fx.last, BDEV_READ);
    fake_advance(&iodw.f.loop, SEC(1));
    assert_int_equal(fx.last->done, 1);
    iodw_list();
    assert_string_equal(iodw.lun[0].export_kind, "");
    assert_string_equal(iodw.lun[1].export_kind, "fake");
    assert_string_equal(iodw.lun[1].export_path, "/run/1");
    assert_int_equal(iodw.lun[1].export_clients, 2);
    assert_int_equal(iodw_lun(ISCSI_UEVENT_GET_LUN_STATS, 1), 0);
    s = &iodw.reply[iodw.nreplies - 1].r.lun_stats;
    assert_int_equal(s->read.reqs, 1);
    assert_int_equal(s->read.bytes, 4096);
    assert_int_equal(s->export_reads, 1);
    assert_int_equal(s->export_bytes_read, 4096);
    assert_true(s->commands > 0);
    assert_int_equal(iodw_lun(ISCSI_UEVENT_STOP_EXPORT, 0), -ENOENT);
    assert_int_equal(iodw_lun(ISCSI_UEVENT_STOP_EXPORT, 1), 0);
    assert_int_equal(fx.there, 0);
    assert_int_equal(iodw_events_of(ISCSI_KEVENT_EXPORT_STOPPED), 0); /* it was asked for */
    assert_int_equal(iodw_export(1, "fake", "/run/2"), 0);
    iodw_free();
}

static void
test_paths(void **state)
{
    char path[IPC_PATH_MAX + 1];
    struct iscsi_uevent ev = iodw_lun_request(ISCSI_UEVENT_START_EXPORT, 0);

    (void)state;
    up(1);
    memset(path, 'p', sizeof(path));
    path[0] = '/';
    strcpy(ev.u.start_export.kind, "fake");
    ev.u.start_export.path_len = IPC_PATH_MAX;
    assert_int_equal(iodw_ask(&ev, path), -ENAMETOOLONG);
    ev.u.start_export.path_len = 5;
    assert_int_equal(iodw_ask(&ev, "/a\0b"), -EINVAL);
    assert_int_equal(iodw_ask(&ev, "a/b/c"), -EINVAL); /* from which folder? */
    assert_int_equal(iodw_ask(&ev, "../ab"), -EINVAL);
    assert_int_equal(fx.starts, 0);
    ev.u.start_export.path_len = IPC_PATH_MAX - 1;
    assert_int_equal(iodw_ask(&ev, path), 0);
    assert_int_equal(strlen(fx.where), IPC_PATH_MAX - 1);
    iodw_free();
}

/* Whoever asks for a stop that is under way is answered with the first. */
static void
test_a_stop_that_takes_its_time(void **state)
{
    struct iscsi_uevent a = iodw_lun_request(ISCSI_UEVENT_STOP_EXPORT, 0), b = a;

    (void)state;
    up(1);
    assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
    fx.hold_stop = true;
    iodw_send(&a, NULL);
    iodw_send(&b, NULL);
    fake_advance(&iodw.f.loop, SEC(1));
    assert_null(iodw_answer(a.seq));
    iodw_list();
    assert_true((iodw.lun[0].flags & IPC_LUN_EXPORT_STOPPING) != 0);
    assert_int_equal(iodw_export(0, "fake", "/run/1"), -EBUSY);
    assert_int_equal(iodw_lun(ISCSI_UEVENT_GET_LUN_STATS, 0), 0);
    fx_let_go();
    assert_int_equal(iodw_answer(a.seq)->err, 0);
    assert_int_equal(iodw_answer(b.seq)->err, 0);
    assert_int_equal(fx.stops, 1);
    iodw_free();
}

static void
test_an_export_that_ends_by_itself(void **state)
{
    struct lunette_error why;

    (void)state;
    up(1);
    assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
    (void)lunette_fail(&why, -EMFILE, LUNETTE_DOM_OS, EMFILE, "no descriptors");
    fx.last->ev->stopped(fx.last->user, &why);
    fake_advance(&iodw.f.loop, SEC(1));
    assert_int_equal(iodw_events_of(ISCSI_KEVENT_EXPORT_STOPPED), 1);
    assert_string_equal(iodw.event[iodw.nevents - 1].u.export_stopped.kind, "fake");
    assert_int_equal(iodw.event[iodw.nevents - 1].u.export_stopped.why.code, -EMFILE);
    iodw_list();
    assert_string_equal(iodw.lun[0].export_kind, "");
    assert_int_equal(iodw.lun[0].state, IPC_LUN_UP);
    iodw_free();
}

/* ---- sessions that are lost, and that are back with something else --------------------------- */

static void
test_an_export_outlives_a_cut(void **state)
{
    (void)state;
    up(1);
    assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
    fh_lose(&iodw.f);
    fx_submit(fx.last, BDEV_READ);
    fake_advance(&iodw.f.loop, SEC(5));
    assert_int_equal(fx.last->done, 0);
    iodw_list();
    assert_int_equal(iodw.lun[0].state, IPC_LUN_UP); /* it waits */
    fh_state(&iodw.f, SCSI_HOST_RUNNING);
    fake_advance(&iodw.f.loop, SEC(5));
    assert_int_equal(fx.last->done, 1);
    assert_int_equal(fx.last->r.result.err, 0);
    fh_state(&iodw.f, SCSI_HOST_GONE); /* the time is up */
    iodw_list();
    assert_int_equal(iodw.lun[0].state, IPC_LUN_OFFLINE);
    assert_int_equal(fx.stops, 0);
    fh_state(&iodw.f, SCSI_HOST_RUNNING);
    fake_advance(&iodw.f.loop, SEC(5));
    iodw_list();
    assert_int_equal(iodw.lun[0].state, IPC_LUN_UP);
    fx_submit(fx.last, BDEV_WRITE);
    fake_advance(&iodw.f.loop, SEC(1));
    assert_int_equal(fx.last->r.result.err, 0);
    iodw_free();
}

/* After the cut another unit answers: the export is never served from that one, it ends; the scan
 * after it finds the other unit as a new one. */
static void
test_another_unit_in_its_place(void **state)
{
    uint32_t index;

    (void)state;
    for (int one = 0; one < 2; one++) {
        up(2);
        assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
        iodw_list();
        index = iodw.lun[1].index;
        fh_lose(&iodw.f);
        iodw.f.luns[0].name = "\x60yyyyyyyyyyyyyyy";
        fx_submit(fx.last, BDEV_WRITE);
        iodw.f.n = 0;
        fx.hold_stop = true;
        fh_state(&iodw.f, SCSI_HOST_RUNNING);
        fake_advance(&iodw.f.loop, SEC(5));
        assert_int_equal(fx.last->r.result.err, -ENXIO);
        assert_int_equal(fh_count(&iodw.f, SCSI_WRITE_10), 0);
        iodw_list();
        assert_int_equal(iodw.lun[0].state, IPC_LUN_OFFLINE);
        assert_int_equal(iodw.lun[0].err, -ENXIO);
        assert_int_equal(iodw.lun[1].state, IPC_LUN_UP);
        (void)iodw_do(ISCSI_UEVENT_SCAN_HOST); /* its export is still there */
        iodw_list();
        assert_int_equal(iodw.lun[0].state, IPC_LUN_OFFLINE);
        fx_let_go();
        assert_int_equal(iodw_events_of(ISCSI_KEVENT_EXPORT_STOPPED), 1);
        assert_int_equal(
            one ? iodw_lun(ISCSI_UEVENT_SCAN_HOST, 0) : iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
        iodw_list();
        assert_int_equal(iodw.nluns, 2);
        assert_int_equal(iodw.lun[0].index, index);
        assert_int_equal(iodw.lun[1].state, IPC_LUN_UP);
        assert_true(iodw.lun[1].index > index); /* a new one */
        assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
        iodw_free();
    }
}

/* The same of a unit whose disk has never come up: the midlayer may forget it by itself. */
static void
test_another_unit_without_a_disk(void **state)
{
    (void)state;
    iodw_new();
    iodw_start();
    fh_script(&iodw.f, ANSWER(SCSI_TEST_UNIT_READY, 1, SENSE(SENSE_NOT_READY, 0x3a, 0)));
    assert_int_equal(iodw_lun(ISCSI_UEVENT_SCAN_HOST, 0), -ENOMEDIUM);
    iodw.f.luns[0].name = "\x60yyyyyyyyyyyyyyy";
    assert_int_equal(iodw_lun(ISCSI_UEVENT_SCAN_HOST, 0), 0);
    iodw_list();
    assert_int_equal(iodw.nluns, 1);
    assert_int_equal(iodw.lun[0].state, IPC_LUN_UP);
    assert_non_null(strstr(iodw.lun[0].ident, "79797979"));
    iodw_free();
}

/* The target has taken a unit away that is exported, and brings another one. */
static void
test_a_unit_that_vanishes(void **state)
{
    (void)state;
    up(2);
    assert_int_equal(iodw_export(1, "fake", "/run/1"), 0);
    iodw.f.luns[1].there = false;
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
    assert_int_equal(iodw_events_of(ISCSI_KEVENT_EXPORT_STOPPED), 1);
    iodw_list();
    assert_int_equal(iodw.lun[1].state, IPC_LUN_OFFLINE);
    assert_int_equal(iodw.lun[1].err, -ENXIO);
    assert_int_equal(iodw_export(1, "fake", "/run/1"), -ENODEV);
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
    iodw_list();
    assert_int_equal(iodw.nluns, 1);
    iodw.f.luns[1].there = true;
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
    iodw_list();
    assert_int_equal(iodw.nluns, 2);
    assert_int_equal(iodw_export(1, "fake", "/run/1"), 0);
    iodw_free();
}

/* ---- unbinding ------------------------------------------------------------------------------- */

static void
test_unbind(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_UNBIND_SESSION};
    struct iscsi_uevent scan = {.type = ISCSI_UEVENT_SCAN_HOST}, again = ev;

    (void)state;
    up(3);
    assert_int_equal(iodw_export(1, "fake", "/run/1"), 0);
    fx_submit(fx.last, BDEV_WRITE);
    fake_advance(&iodw.f.loop, SEC(1));
    fx.hold_stop = true;
    iodw_send(&ev, NULL);
    iodw_send(&again, NULL);
    iodw_send(&scan, NULL);
    assert_int_equal(iodw_answer(scan.seq)->err, -EAGAIN);
    iodw.f.n = 0;
    fake_advance(&iodw.f.loop, SEC(1));
    assert_null(iodw_answer(ev.seq));
    iodw_list();
    assert_int_equal(iodw.nluns, 1); /* the other two are closed */
    assert_int_equal(iodw_export(1, "fake", "/run/2"), -ESHUTDOWN);
    fx_let_go();
    fake_advance(&iodw.f.loop, SEC(1));
    assert_int_equal(iodw_answer(ev.seq)->err, 0);
    assert_int_equal(iodw_answer(again.seq)->err, 0);
    assert_int_equal(fh_count(&iodw.f, SCSI_SYNC_CACHE_10), 3);
    iodw_list();
    assert_int_equal(iodw.nluns, 0);
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), -EAGAIN);
    assert_int_equal(iodw_do(ISCSI_UEVENT_UNBIND_SESSION), 0);
    ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_START_CONN, .cid = 1};
    assert_int_equal(iodw_ask(&ev, NULL), 0);
    assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
    iodw_list();
    assert_int_equal(iodw.nluns, 3);
    iodw_free();
}

/* Nothing waits for a session that is lost: what cannot be written any more is said. */
static void
test_unbind_without_a_session(void **state)
{
    (void)state;
    up(1);
    assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
    fx_submit(fx.last, BDEV_WRITE);
    fake_advance(&iodw.f.loop, SEC(1));
    assert_int_equal(fx.last->done, 1);
    fh_lose(&iodw.f);
    fx_submit(fx.last, BDEV_WRITE);
    fake_turn(&iodw.f.loop);
    assert_int_equal(iodw_do(ISCSI_UEVENT_UNBIND_SESSION), -ENOTCONN);
    assert_int_equal(fx.there, 0);
    iodw_list();
    assert_int_equal(iodw.nluns, 0);
    iodw_free();
}

/* A session that runs: what a client has under way may take its time, but where the session is lost
 * before its end, it is not waited for without end. */
static void
test_unbind_is_patient_for_a_while(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_UNBIND_SESSION};

    (void)state;
    up(1);
    assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
    iodw.f.hold = true;
    fx_submit(fx.last, BDEV_WRITE);
    fake_turn(&iodw.f.loop);
    iodw_send(&ev, NULL);
    fake_advance(&iodw.f.loop, MS(500));
    fh_lose(&iodw.f);
    fake_advance(&iodw.f.loop, MS(IOD_UNBIND_MS) - SEC(1));
    assert_null(iodw_answer(ev.seq));
    assert_int_equal(fx.there, 1);
    fake_advance(&iodw.f.loop, SEC(2));
    assert_int_equal(fx.there, 0);
    assert_int_equal(iodw_answer(ev.seq)->err, 0); /* nothing that was acknowledged is lost */
    iodw.f.hold = false;
    iodw_free();
}

/* A scan that waits for a session that is lost holds nothing up, and brings nothing when it goes
 * on; one that comes after the next login does. */
static void
test_unbind_does_not_wait_for_a_scan(void **state)
{
    (void)state;
    for (int again = 0; again < 2; again++) {
        struct iscsi_uevent scan = {.type = ISCSI_UEVENT_SCAN_HOST}, one;
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_UNBIND_SESSION}, later = scan;

        iodw_new();
        (void)fh_add(&iodw.f, 0, 1);
        iodw_start();
        iodw.f.hold = true;
        iodw_send(&scan, NULL);
        fake_turn(&iodw.f.loop);
        fh_lose(&iodw.f);
        iodw.f.hold = false;
        one = iodw_lun_request(ISCSI_UEVENT_SCAN_HOST, 0);
        iodw_send(&one, NULL);
        fake_turn(&iodw.f.loop);
        iodw_send(&ev, NULL);
        fake_advance(&iodw.f.loop, SEC(1));
        assert_non_null(iodw_answer(ev.seq));
        assert_int_equal(iodw_answer(ev.seq)->err, 0);
        assert_int_equal(iodw_answer(scan.seq)->err, -ECANCELED);
        assert_int_equal(iodw_answer(one.seq)->err, -ECANCELED);
        if (again) {
            ev = (struct iscsi_uevent){.type = ISCSI_UEVENT_START_CONN, .cid = 1};
            iodw_send(&ev, NULL);
            iodw_send(&later, NULL);
        }
        fh_state(&iodw.f, SCSI_HOST_RUNNING);
        fake_advance(&iodw.f.loop, SEC(20));
        iodw_list();
        assert_int_equal(iodw.nluns, again ? 1 : 0);
        if (again)
            assert_true(iodw_answer(later.seq)->err == 0 && iodw.lun[0].state == IPC_LUN_UP);
        iodw_free();
    }
}

/* While scans wait, disks come up and the midlayer looks: all of them end. */
static void
test_unbind_at_any_time(void **state)
{
    (void)state;
    for (int turns = 0; turns < 60; turns++) {
        struct iscsi_uevent a = {.type = ISCSI_UEVENT_SCAN_HOST}, b = a;
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_UNBIND_SESSION};

        iodw_new();
        (void)fh_add(&iodw.f, 1, 1);
        iodw_start();
        iodw.f.hold_from = (unsigned)turns + 1;
        iodw_send(&a, NULL);
        iodw_send(&b, NULL);
        fake_turn(&iodw.f.loop);
        iodw_send(&ev, NULL);
        fake_turn(&iodw.f.loop);
        iodw.f.hold_from = 0;
        loop_defer(&iodw.f.loop.l, &iodw.f.work);
        fake_advance(&iodw.f.loop, SEC(200));
        assert_non_null(iodw_answer(ev.seq));
        assert_true(iodw_answer(a.seq)->err == 0 || iodw_answer(a.seq)->err == -ECANCELED);
        assert_true(iodw_answer(b.seq)->err == 0 || iodw_answer(b.seq)->err == -ECANCELED);
        iodw_list();
        assert_int_equal(iodw.nluns, 0);
        iodw_free();
    }
}

/* ---- the session's end ----------------------------------------------------------------------- */

static void
test_destroy_under_exports(void **state)
{
    struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION};

    (void)state;
    up(2);
    assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
    iodw.f.hold = true;
    fx_submit(fx.last, BDEV_WRITE);
    fake_turn(&iodw.f.loop);
    fx.hold_stop = true;
    iodw_send(&ev, NULL);
    fake_advance(&iodw.f.loop, SEC(1));
    assert_null(iodw_answer(ev.seq));
    assert_int_equal(fx.last->done, 1); /* the device has answered at once */
    fx_let_go();
    assert_int_equal(iodw_answer(ev.seq)->err, 0);
    assert_int_equal(iodw_events_of(ISCSI_KEVENT_EXPORT_STOPPED), 0);
    assert_int_equal(dataplane_busy(iodw.dp), 0);
    iodw_free();
}

/* The end comes while the midlayer scans, disks come up, exports stop and disks are closed. */
static void
test_destroy_at_any_time(void **state)
{
    (void)state;
    for (int turns = 0; turns < 80; turns++) {
        struct iscsi_uevent scan = {.type = ISCSI_UEVENT_SCAN_HOST}, more = scan;
        struct iscsi_uevent unbind = {.type = ISCSI_UEVENT_UNBIND_SESSION};
        struct iscsi_uevent ev = {.type = ISCSI_UEVENT_DESTROY_SESSION};

        iodw_new();
        (void)fh_add(&iodw.f, 1, 1);
        iodw_start();
        iodw.f.hold_from = (unsigned)(turns % 40) + 1;
        iodw_send(&scan, NULL);
        iodw_send(&more, NULL);
        fake_turn(&iodw.f.loop);
        if (turns >= 40)
            iodw_send(&unbind, NULL);
        if (turns % 2 != 0)
            fake_turn(&iodw.f.loop);
        iodw_send(&ev, NULL);
        fake_advance(&iodw.f.loop, SEC(1));
        assert_int_equal(iodw_answer(ev.seq)->err, 0);
        assert_non_null(iodw_answer(scan.seq));
        assert_non_null(iodw_answer(more.seq));
        assert_true(turns < 40 || iodw_answer(unbind.seq) != NULL);
        iodw_free();
    }
}

/* The control plane goes and another comes: all is as it was, and what the first had asked for is
 * done. */
static void
test_another_control_plane(void **state)
{
    struct iscsi_uevent ev = iodw_lun_request(ISCSI_UEVENT_STOP_EXPORT, 0);

    (void)state;
    up(2);
    assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
    assert_int_equal(iodw_export(1, "fake", "/run/1"), 0);
    fx.hold_stop = true;
    iodw_send(&ev, NULL);
    (void)dataplane_set_client(iodw.dp, &iodw.client);
    fx.hold_stop = false;
    fake_advance(&iodw.f.loop, SEC(1));
    assert_null(iodw_answer(ev.seq));
    iodw_list();
    assert_int_equal(iodw.nluns, 2);
    assert_string_equal(iodw.lun[0].export_kind, "");
    assert_string_equal(iodw.lun[1].export_path, "/run/1");
    iodw_free();
}

/* Without memory a request fails and says so; when there is memory again, so is everything else. */
static void
test_allocations_fail(void **state)
{
    bool failed = true;
    long k;

    (void)state;
    for (k = 0; failed; k++) {
        int scan, export;

        iodw_new();
        (void)fh_add(&iodw.f, 1, 1);
        iodw_start();
        alloc_left = k;
        scan = iodw_do(ISCSI_UEVENT_SCAN_HOST);
        export = iodw_export(0, "fake", "/run/0");
        (void)iodw_lun(ISCSI_UEVENT_STOP_EXPORT, 0);
        failed = alloc_left < 0;
        alloc_left = -1;
        assert_true(failed || (scan == 0 && export == 0));
        assert_true(scan == 0 || scan == -ENOMEM);
        assert_int_equal(iodw_do(ISCSI_UEVENT_SCAN_HOST), 0);
        iodw_list();
        assert_int_equal(iodw.nluns, 2);
        assert_int_equal(iodw.lun[0].state, IPC_LUN_UP);
        assert_int_equal(iodw.lun[1].state, IPC_LUN_UP);
        if (iodw.lun[0].export_kind[0] == '\0')
            assert_int_equal(iodw_export(0, "fake", "/run/0"), 0);
        alloc_left = k % 3;
        (void)iodw_do(ISCSI_UEVENT_UNBIND_SESSION);
        alloc_left = -1;
        assert_int_equal(iodw_do(ISCSI_UEVENT_UNBIND_SESSION), 0);
        iodw_free();
    }
    assert_true(k > 10);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_before_the_session_is_started),
        cmocka_unit_test(test_scan_brings_disks_up),
        cmocka_unit_test(test_a_disk_that_does_not_come_up),
        cmocka_unit_test(test_many_scans),
        cmocka_unit_test(test_pages),
        cmocka_unit_test(test_an_export),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_a_stop_that_takes_its_time),
        cmocka_unit_test(test_an_export_that_ends_by_itself),
        cmocka_unit_test(test_an_export_outlives_a_cut),
        cmocka_unit_test(test_another_unit_in_its_place),
        cmocka_unit_test(test_another_unit_without_a_disk),
        cmocka_unit_test(test_a_unit_that_vanishes),
        cmocka_unit_test(test_unbind),
        cmocka_unit_test(test_unbind_without_a_session),
        cmocka_unit_test(test_unbind_is_patient_for_a_while),
        cmocka_unit_test(test_unbind_does_not_wait_for_a_scan),
        cmocka_unit_test(test_unbind_at_any_time),
        cmocka_unit_test(test_destroy_under_exports),
        cmocka_unit_test(test_destroy_at_any_time),
        cmocka_unit_test(test_another_control_plane),
        cmocka_unit_test(test_allocations_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
