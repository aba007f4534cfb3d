/* SPDX-License-Identifier: MIT */
/* Asymmetric access on a single path: what a disk does in each state, and how it finds out. */
#include "tests/unit/scsi/fake_host.h"

static struct fdisk d;

static struct flun *
alua_add(uint8_t state)
{
    struct flun *l;

    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    l = fh_add(&d.f, 0, 0);
    l->inq.tpgs = 1;
    l->group = 0x105;
    l->alua = state;
    return l;
}

static struct flun *
alua_open(uint8_t state)
{
    struct flun *l = alua_add(state);

    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    return l;
}

static const struct {
    uint8_t state, ascq;
    const char *text;
} no_access[] = {
    {ALUA_STANDBY, 0x0b, "the path is in ALUA standby state"},
    {ALUA_UNAVAILABLE, 0x0c, "the path is in ALUA unavailable state"},
    {ALUA_OFFLINE, 0x12, "the path is in ALUA offline state"},
};
#define NO_ACCESS (sizeof(no_access) / sizeof(no_access[0]))

static void
test_states_that_take_io(void **state)
{
    static const uint8_t states[] = {ALUA_OPTIMIZED, ALUA_NON_OPTIMIZED, ALUA_LBA_DEPENDENT};

    (void)state;
    for (size_t i = 0; i < sizeof(states); i++) {
        struct flun *l = alua_open(states[i]);

        assert_true(d.dev->alua_told);
        assert_int_equal(d.dev->alua_state, states[i]);
        assert_int_equal(d.dev->port_group, 0x105);
        assert_int_equal(d.dev->rel_port, 0x105);
        assert_null(scsi_path_trouble(d.dev));
        assert_int_equal(l->rtpgs, 1);
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        fake_advance(&d.f.loop, SEC(100));
        assert_int_equal(l->rtpgs, 1); /* a path that works is not asked about */
        assert_int_equal(d.f.events[SCSI_EV_ALUA], 0);
        fd_close(&d);
    }
}

static void
test_not_told(void **state)
{
    (void)state;
    fd_open(&d); /* TPGS 0 */
    assert_false(d.dev->alua_told);
    assert_int_equal(d.dev->port_group, -1);
    assert_int_equal(d.f.luns[0].rtpgs, 0);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 3, SENSE(SENSE_NOT_READY, 0x04, 0x0a)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0); /* a second each */
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 4);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 6)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    assert_int_equal(d.f.events[SCSI_EV_ALUA], 1); /* the user may know what to make of it */
    fd_close(&d);
}

static void
test_coming_up_without_access(void **state)
{
    (void)state;
    for (size_t i = 0; i < NO_ACCESS; i++) {
        struct flun *l = alua_add(no_access[i].state);

        fd_up(&d);
        assert_int_equal(d.up.err, -EHOSTUNREACH);
        assert_non_null(strstr(d.up.why.msg, no_access[i].text));
        assert_string_equal(scsi_path_trouble(d.dev), no_access[i].text);
        assert_true(l->rtpgs <= 2); /* nobody waits for it, so it is not asked for ever */
        l->alua = ALUA_NON_OPTIMIZED;
        memset(&d.up, 0, sizeof(d.up));
        fd_up(&d);
        assert_int_equal(d.up.err, 0);
        assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
        fd_close(&d);
    }
}

static void
test_coming_up_in_transition(void **state)
{
    struct flun *l;
    struct scsi_device *dev;

    (void)state;
    for (int told = 0; told < 2; told++) {
        uint32_t limit = told ? 20 : 60;

        l = alua_add(ALUA_TRANSITIONING); /* it ends */
        l->alua_s = told ? 20 : 0;
        dev = fh_scan_lun(&d.f, 0);
        assert_int_equal(scsi_disk_start(dev, scan_done, &d.up), 0);
        fake_advance(&d.f.loop, SEC(limit - 3));
        assert_int_equal(d.up.done, 0);
        assert_int_equal(fh_count(&d.f, SCSI_TEST_UNIT_READY), 0); /* it would be refused */
        assert_true(l->rtpgs >= (limit - 3) / 2);
        l->alua = ALUA_OPTIMIZED;
        fake_advance(&d.f.loop, SEC(2));
        assert_int_equal(d.up.done, 1);
        assert_int_equal(d.up.err, 0);
        fh_close(&d.f);

        l = alua_add(ALUA_TRANSITIONING); /* it does not */
        l->alua_s = told ? 20 : 0;
        dev = fh_scan_lun(&d.f, 0);
        assert_int_equal(scsi_disk_start(dev, scan_done, &d.up), 0);
        fake_advance(&d.f.loop, SEC(limit - 2));
        assert_int_equal(d.up.done, 0);
        fake_advance(&d.f.loop, SEC(4));
        assert_int_equal(d.up.err, -EHOSTUNREACH);
        assert_non_null(strstr(d.up.why.msg, "the path is in ALUA transitioning state"));
        fh_close(&d.f);
    }
}

static void
test_transition_is_waited_for(void **state)
{
    struct io a, b;
    struct flun *l;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    l->alua = ALUA_TRANSITIONING;
    io_submit(&d, &a, BDEV_WRITE, 0, 4096, 0); /* is refused with 04/0A */
    fake_advance(&d.f.loop, MS(10));
    io_submit(&d, &b, BDEV_READ, 0, 4096, 0); /* is not sent */
    fake_advance(&d.f.loop, SEC(50));
    assert_int_equal(a.done + b.done, 0);
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 1);
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 0);
    assert_int_equal(d.f.events[SCSI_EV_ALUA], 1);
    assert_int_equal(d.dev->alua_state, ALUA_TRANSITIONING);
    l->alua = ALUA_NON_OPTIMIZED;
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(a.done + b.done, 2);
    assert_int_equal(a.r.result.err | b.r.result.err, 0);
    assert_int_equal(d.f.events[SCSI_EV_ALUA], 2);
    assert_int_equal(d.dev->alua_state, ALUA_NON_OPTIMIZED);
    fd_close(&d);
}

/* A disk grows in transition, where it does not tell its size: it is asked behind it. */
static void
test_grows_in_transition(void **state)
{
    struct flun *l;
    struct io a;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    l->cap.blocks *= 2;
    l->alua = ALUA_TRANSITIONING;
    io_submit(&d, &a, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(10));
    assert_int_equal(a.done, 0);
    assert_int_equal(bdev_get_limits(d.b)->size, 512ull << 20);
    l->alua = ALUA_OPTIMIZED;
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(a.done, 1);
    assert_int_equal(a.r.result.err, 0);
    assert_int_equal(bdev_get_limits(d.b)->size, 1024ull << 20);
    fd_close(&d);
}

/* After another login the path has no access: requests say so, not that there is no session; also
 * while it is known already that the state is another one, and the unit was not looked at yet. */
static void
test_no_access_in_a_new_session(void **state)
{
    struct flun *l;
    struct io a;

    (void)state;
    for (size_t i = 0; i < 2; i++) { /* offline state is not told by the code */
        l = alua_open(ALUA_OPTIMIZED);
        fh_lose(&d.f);
        io_submit(&d, &a, BDEV_READ, 0, 4096, 0);
        l->alua = no_access[i].state;
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(a.done, 0);
        fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, MS(100));
        assert_int_equal(a.done, 1);
        assert_int_equal(a.r.result.err, -EHOSTUNREACH);
        l->alua = ALUA_OPTIMIZED;
        for (int n = 0; n < 100; n++) {
            io_submit(&d, &a, BDEV_READ, 0, 4096, 0);
            fake_advance(&d.f.loop, MS(700));
            assert_int_equal(a.done, 1);
            if (a.r.result.err == 0)
                break;
            assert_int_equal(a.r.result.err, -EHOSTUNREACH);
        }
        assert_int_equal(a.r.result.err, 0);
        fd_close(&d);
    }
}

static void
test_transition_without_end(void **state)
{
    struct io a, b, c;
    struct flun *l;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    l->alua_s = 7;
    l->alua = ALUA_TRANSITIONING;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 6)));
    io_submit(&d, &a, BDEV_READ, 0, 4096, 0); /* which also has the time told */
    fake_advance(&d.f.loop, MS(10));
    io_submit(&d, &b, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(6));
    assert_int_equal(a.done + b.done, 0);
    fake_advance(&d.f.loop, SEC(3));
    assert_int_equal(a.done + b.done, 2);
    assert_int_equal(a.r.result.err, -EHOSTUNREACH);
    assert_int_equal(b.r.result.err, -EHOSTUNREACH);
    assert_string_equal(scsi_path_trouble(d.dev), "the path is in ALUA transitioning state");
    io_submit(&d, &c, BDEV_READ, 0, 4096, 0);
    fake_turn(&d.f.loop);
    assert_int_equal(c.done, 1); /* at once */
    l->alua = ALUA_OPTIMIZED;
    fake_advance(&d.f.loop, SEC(6));
    assert_null(scsi_path_trouble(d.dev));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fd_close(&d);
}

static void
test_no_access_fails_at_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < NO_ACCESS; i++) {
        struct flun *l = alua_open(ALUA_OPTIMIZED);
        struct io first, later, raw;
        static const uint8_t tur[6];

        l->alua = no_access[i].state;
        io_submit(&d, &first, BDEV_WRITE, 0, 4096, 0);
        fake_advance(&d.f.loop, MS(1));
        assert_int_equal(first.done, 1);
        assert_int_equal(first.r.result.err, no_access[i].ascq == 0x12 ? -EIO : -EHOSTUNREACH);
        assert_int_equal(first.sense[13], no_access[i].ascq);
        assert_string_equal(scsi_path_trouble(d.dev), no_access[i].text);
        assert_int_equal(d.f.events[SCSI_EV_ALUA], 1);
        for (int n = 0; n < 100; n++) {
            io_submit(&d, &later, BDEV_WRITE, 0, 4096, 0);
            fake_turn(&d.f.loop);
            assert_int_equal(later.done, 1);
            assert_int_equal(later.r.result.err, -EHOSTUNREACH);
        }
        assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 1);
        assert_int_equal(scsi_device_why(d.dev)->code, -EHOSTUNREACH);
        assert_non_null(strstr(scsi_device_why(d.dev)->msg, no_access[i].text));
        memset(&raw, 0, sizeof(raw)); /* some commands work in every state */
        raw.r = (struct bdev_req){
            .op = BDEV_SCSI, .cdb = tur, .cdb_len = 6, .sense = raw.sense, .done = io_done};
        assert_int_equal(bdev_submit(d.q, &raw.r), 0);
        fake_advance(&d.f.loop, MS(1));
        assert_int_equal(raw.done, 1);
        assert_int_equal(raw.r.result.scsi_status, SCSI_CHECK_CONDITION);
        fake_advance(&d.f.loop, SEC(60));
        assert_true(l->rtpgs >= 12 && l->rtpgs <= 16);
        assert_int_equal(d.f.events[SCSI_EV_ALUA], 1);

        l->cap.blocks *= 2; /* it is looked at anew before I/O goes on */
        l->alua = ALUA_OPTIMIZED;
        fake_advance(&d.f.loop, SEC(6));
        assert_null(scsi_path_trouble(d.dev));
        assert_null(scsi_device_why(d.dev));
        assert_int_equal(d.f.events[SCSI_EV_ALUA], 2);
        assert_int_equal(d.f.events[SCSI_EV_CAPACITY], 1);
        assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
        fd_close(&d);
    }
}

static void
test_another_unit_behind_the_state(void **state)
{
    struct io io;
    struct flun *l;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    l->alua = ALUA_STANDBY;
    io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.r.result.err, -EHOSTUNREACH);
    l->name = "\x60zzzzzzzzzzzzzzz";
    l->alua = ALUA_OPTIMIZED;
    d.f.n = 0;
    fake_advance(&d.f.loop, SEC(6));
    assert_int_equal(bdev_submit(d.q, &io.r), -ENXIO);
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 0);
    assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
    fd_close(&d);
}

static void
test_unit_attentions(void **state)
{
    struct flun *l;

    (void)state;
    for (uint8_t ascq = 6; ascq <= 7; ascq++) {
        l = alua_open(ALUA_OPTIMIZED);
        l->alua = ALUA_NON_OPTIMIZED;
        fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, ascq)));
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        fake_advance(&d.f.loop, MS(1));
        assert_int_equal(d.f.events[SCSI_EV_ALUA], 1);
        assert_int_equal(d.dev->alua_state, ALUA_NON_OPTIMIZED);
        d.f.nscript = 0;
        fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, ascq)));
        assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
        fake_advance(&d.f.loop, MS(1));
        assert_int_equal(d.f.events[SCSI_EV_ALUA], 1); /* another group's state, no news here */
        assert_int_equal(l->rtpgs, 3);
        fd_close(&d);
    }
    l = alua_open(ALUA_OPTIMIZED); /* the question is itself answered by them, without end */
    fh_script(&d.f, ANSWER(SCSI_MAINTENANCE_IN, EVER, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 6)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 6)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(100));
    assert_true(d.f.n < 100);
    fd_close(&d);
}

static void
test_another_port_after_a_login(void **state)
{
    /* two groups: 0105h, in standby now, and 0007h, to which the new session goes */
    static const uint8_t two[] = "\0\0\0\x20\x10\0\0\0"
                                 "\x02\xdf\x01\x05\0\0\0\x01\0\0\x01\x05"
                                 "\x01\xdf\x00\x07\0\0\0\x01\0\0\0\x07";
    struct io io;
    struct flun *l;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
    l->group = 7;
    fh_script(&d.f, ((struct answer){.op = SCSI_MAINTENANCE_IN,
                                     .sub = 0x0a,
                                     .lun = ANY_OP,
                                     .times = EVER,
                                     .data = two,
                                     .len = 32}));
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    assert_int_equal(d.dev->port_group, 7);
    assert_int_equal(d.dev->alua_state, ALUA_NON_OPTIMIZED);
    assert_int_equal(d.f.events[SCSI_EV_ALUA], 1);
    fd_close(&d);
}

static void
test_standby_after_a_login(void **state)
{
    struct io io;
    struct flun *l;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
    l->alua = ALUA_STANDBY;
    fake_advance(&d.f.loop, SEC(300));
    assert_int_equal(io.done, 0); /* the session is another's to wait for */
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    assert_true(io.r.result.err == -EHOSTUNREACH || io.r.result.err == -EIO);
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_10), 0);
    l->alua = ALUA_OPTIMIZED;
    fake_advance(&d.f.loop, SEC(10));
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
    fd_close(&d);
}

/* The time for which a unit may be lost does not go on while its path is in standby. */
static void
test_lost_after_standby(void **state)
{
    struct io io;
    struct flun *l;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    d.f.h.patience_ns = SEC(10);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    l->alua = ALUA_STANDBY;
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(20));
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), -EHOSTUNREACH);
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(5));
    assert_int_equal(io.done, 0);
    l->alua = ALUA_OPTIMIZED;
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    fd_close(&d);
}

static void
test_session_lost_in_transition(void **state)
{
    struct scsi_device *dev;
    struct io io;
    struct flun *l;

    (void)state;
    l = alua_open(ALUA_OPTIMIZED);
    l->alua = ALUA_TRANSITIONING;
    io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(3));
    fh_state(&d.f, SCSI_HOST_BLOCKED);
    fake_advance(&d.f.loop, SEC(300)); /* which is no time of the transition */
    assert_int_equal(io.done, 0);
    fh_state(&d.f, SCSI_HOST_RUNNING);
    fake_advance(&d.f.loop, SEC(40));
    assert_int_equal(io.done, 0);
    l->alua = ALUA_OPTIMIZED;
    fake_advance(&d.f.loop, SEC(5));
    assert_int_equal(io.done, 1);
    assert_int_equal(io.r.result.err, 0);
    fd_close(&d);

    for (int gone = 0; gone < 2; gone++) { /* while a disk comes up */
        l = alua_add(ALUA_TRANSITIONING);
        dev = fh_scan_lun(&d.f, 0);
        assert_int_equal(scsi_disk_start(dev, scan_done, &d.up), 0);
        fake_advance(&d.f.loop, SEC(3));
        fh_state(&d.f, gone ? SCSI_HOST_GONE : SCSI_HOST_BLOCKED);
        fake_advance(&d.f.loop, SEC(10));
        assert_int_equal(d.up.done, gone);
        if (!gone) {
            l->alua = ALUA_OPTIMIZED;
            fh_state(&d.f, SCSI_HOST_RUNNING);
            fake_advance(&d.f.loop, SEC(10));
            assert_int_equal(d.up.done, 1);
            assert_int_equal(d.up.err, 0);
        } else {
            assert_int_equal(d.up.err, -ENOTCONN);
        }
        fh_close(&d.f);
    }
}

static void
rtpg_script(const void *data, uint32_t len)
{
    fh_script(&d.f, ((struct answer){.op = SCSI_MAINTENANCE_IN,
                                     .sub = 0x0a,
                                     .lun = ANY_OP,
                                     .times = EVER,
                                     .data = data,
                                     .len = len}));
}

static void
test_odd_answers(void **state)
{
    static uint8_t list[8 + 12 * 100];
    struct flun *l;

    (void)state;
    l = alua_add(ALUA_OPTIMIZED); /* no extended header: asked without, and that is remembered */
    l->rtpg_no_ext = true;
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(l->rtpgs, 2);
    assert_true(d.dev->alua_told);
    l->alua = ALUA_STANDBY;
    (void)io_run(&d, BDEV_READ, 0, 512, 0);
    assert_int_equal(l->rtpgs, 3);
    fd_close(&d);

    l = alua_add(ALUA_OPTIMIZED); /* not at all, though INQUIRY claims it */
    fh_script(&d.f, ((struct answer){.op = SCSI_MAINTENANCE_IN,
                                     .sub = 0x0a,
                                     .lun = ANY_OP,
                                     .times = EVER,
                                     SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)}));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_false(d.dev->alua_told);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_NOT_READY, 0x04, 0x0b)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 512, 0), -EHOSTUNREACH);
    assert_int_equal(io_run(&d, BDEV_READ, 0, 512, 0), 0); /* the state that sense data tell does
                                                              not last */
    assert_int_equal(d.f.events[SCSI_EV_ALUA], 0);
    fd_close(&d);

    alua_add(ALUA_OPTIMIZED); /* no group; another group; less than a header; nothing */
    for (int i = 0; i < 4; i++) {
        static const struct {
            const char *data;
            uint32_t len;
        } odd[] = {{"\0\0\0\4\x10\0\0\0", 8},
                   {"\0\0\0\x10\x10\0\0\0\x02\xdf\0\x09\0\0\0\x01\0\0\0\x01", 20},
                   {"\0\0\0", 3},
                   {"", 0}};

        d.f.nscript = 0;
        rtpg_script(odd[i].data, odd[i].len);
        memset(&d.up, 0, sizeof(d.up));
        fd_up(&d);
        assert_int_equal(d.up.err, 0);
        assert_false(d.dev->alua_told);
        assert_int_equal(io_run(&d, BDEV_READ, 0, 512, 0), 0);
        fd_close(&d);
        alua_add(ALUA_OPTIMIZED);
    }

    st_be32(list, sizeof(list) - 4); /* a hundred groups, and ours is the last */
    list[4] = 0x10;
    for (unsigned i = 0; i < 100; i++) {
        uint8_t *g = list + 8 + 12 * (size_t)i;

        g[0] = i == 99 ? ALUA_NON_OPTIMIZED : ALUA_OFFLINE;
        st_be16(g + 2, (uint16_t)(0x105 - 99 + i));
        g[7] = 1;
    }
    rtpg_script(list, sizeof(list));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_int_equal(d.dev->alua_state, ALUA_NON_OPTIMIZED);
    fd_close(&d);

    alua_add(ALUA_OPTIMIZED); /* it claims to be longer than anything, for ever */
    rtpg_script("\xff\xff\xff\xff\x10\0\0\0\x01\xdf\x01\x05\0\0\0\0", 16);
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_true(d.dev->alua_told);
    fd_close(&d);
}

static void
test_no_answer(void **state)
{
    (void)state;
    alua_add(ALUA_OPTIMIZED); /* the unit is asked in vain, and is used all the same */
    d.f.abort_result = SCSI_EH_SUCCESS;
    fh_script(
        &d.f,
        ((struct answer){
            .op = SCSI_MAINTENANCE_IN, .sub = 0x0a, .lun = ANY_OP, .times = EVER, .never = true}));
    fd_up(&d);
    assert_int_equal(d.up.err, 0);
    assert_false(d.dev->alua_told);
    fd_close(&d);

    alua_open(ALUA_OPTIMIZED); /* while a transition is waited for */
    d.f.abort_result = SCSI_EH_SUCCESS;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_NOT_READY, 0x04, 0x0a)));
    fh_script(&d.f, ANSWER(SCSI_MAINTENANCE_IN, EVER, .never = true));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), -EHOSTUNREACH);
    d.f.nscript = 0;
    fake_advance(&d.f.loop, SEC(60));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fd_close(&d);
}

/* The state changes at random while I/O goes on and the session comes and goes: everything ends,
 * and at the end everything works. */
static void
test_at_random(void **state)
{
    static const uint8_t states[] = {0, 0, 1, 2, 3, 4, 14, 15, 15};
    static struct io ios[16];

    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct fake_loop r;
        struct flun *l = alua_open(ALUA_OPTIMIZED);

        fake_loop_init(&r, seed);
#define RND(n) (fake_random(&r.l) % (n))
        d.f.abort_result = SCSI_EH_SUCCESS;
        for (int i = 0; i < 16; i++)
            io_submit(&d, &ios[i], i % 2 == 0 ? BDEV_WRITE : BDEV_READ, 0, 4096, 0);
        for (int step = 0; step < 60; step++) {
            l->alua = states[RND(sizeof(states))];
            l->alua_s = (uint8_t)RND(30);
            d.f.nscript = 0;
            if (RND(3) == 0)
                fh_script(&d.f, ANSWER(ANY_OP, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 6)));
            if (RND(4) == 0)
                fh_script(&d.f, ANSWER(SCSI_MAINTENANCE_IN, 1, .never = true));
            if (RND(8) == 0) {
                fh_state(&d.f, RND(3) == 0 ? SCSI_HOST_GONE : SCSI_HOST_BLOCKED);
                fh_sweep(&d.f, NULL, DID_TRANSPORT_DISRUPTED);
            } else if (RND(2) == 0 && d.f.h.state != SCSI_HOST_RUNNING) {
                fh_state(&d.f, SCSI_HOST_RUNNING);
            }
            fake_advance(&d.f.loop, RND(3) == 0 ? SEC(RND(20)) : MS(RND(100)));
            for (int i = 0; i < 16; i++) {
                assert_true(ios[i].done <= 1);
                if (ios[i].done == 1 && RND(2) == 0 && bdev_submit(d.q, &ios[i].r) == 0)
                    ios[i].done = 0;
            }
        }
        d.f.nscript = 0;
        l->alua = ALUA_OPTIMIZED;
        if (d.f.h.state != SCSI_HOST_RUNNING)
            fh_state(&d.f, SCSI_HOST_RUNNING);
        fake_advance(&d.f.loop, SEC(120));
        for (int i = 0; i < 16; i++)
            assert_int_equal(ios[i].done, 1);
        assert_null(scsi_path_trouble(d.dev));
        assert_int_equal(d.dev->state, SDEV_RUNNING);
        assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
        fd_close(&d);
#undef RND
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_states_that_take_io),
        cmocka_unit_test(test_not_told),
        cmocka_unit_test(test_coming_up_without_access),
        cmocka_unit_test(test_coming_up_in_transition),
        cmocka_unit_test(test_transition_is_waited_for),
        cmocka_unit_test(test_grows_in_transition),
        cmocka_unit_test(test_no_access_in_a_new_session),
        cmocka_unit_test(test_transition_without_end),
        cmocka_unit_test(test_no_access_fails_at_once),
        cmocka_unit_test(test_another_unit_behind_the_state),
        cmocka_unit_test(test_unit_attentions),
        cmocka_unit_test(test_another_port_after_a_login),
        cmocka_unit_test(test_standby_after_a_login),
        cmocka_unit_test(test_lost_after_standby),
        cmocka_unit_test(test_session_lost_in_transition),
        cmocka_unit_test(test_odd_answers),
        cmocka_unit_test(test_no_answer),
        cmocka_unit_test(test_at_random),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
