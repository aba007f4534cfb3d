/* SPDX-License-Identifier: MIT */
/* Disk commands: their CDBs, and what becomes of each way in which they can end. */
#include "tests/unit/scsi/fake_host.h"

#include <limits.h>

#include "scsi/internal.h"

static struct fdisk d;

static void
test_cdb_choice(void **state)
{
    static const struct {
        uint64_t blocks;
        enum bdev_op op;
        uint64_t lba, n;
        uint32_t flags;
        uint8_t opcode, byte1;
    } rows[] = {
        {1 << 20, BDEV_READ, 0, 1, 0, SCSI_READ_10, 0},
        {1 << 20, BDEV_WRITE, 100, 8, 0, SCSI_WRITE_10, 0},
        {1 << 20, BDEV_WRITE, 100, 8, BDEV_F_FUA, SCSI_WRITE_10, SCSI_FUA},
        {1 << 20, BDEV_READ, 100, 8, BDEV_F_FUA, SCSI_READ_10, 0},
        {0xffffffff, BDEV_READ, 0xfffffffe, 1, 0, SCSI_READ_10, 0},
        {0x100000000, BDEV_WRITE, 0, 1, BDEV_F_FUA, SCSI_WRITE_16, SCSI_FUA},
        {1 << 20, BDEV_FLUSH, 0, 0, 0, SCSI_SYNC_CACHE_10, 0},
        {1 << 20, BDEV_COMPARE_WRITE, 5, 8, 0, SCSI_COMPARE_AND_WRITE, 0},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        memset(&d, 0, sizeof(d));
        fh_open(&d.f);
        fh_add(&d.f, 0, 0)->cap.blocks = rows[i].blocks;
        fd_up(&d);
        assert_int_equal(io_run(&d, rows[i].op, rows[i].lba * 512, rows[i].n * 512, rows[i].flags),
                         0);
        assert_int_equal(d.f.n, 1);
        assert_int_equal(d.f.op[0], rows[i].opcode);
        assert_int_equal(d.f.byte1[0], rows[i].byte1);
        assert_int_equal(d.f.commits > 0, 1);
        fd_close(&d);
    }
}

#define N_TIME UINT32_MAX /* sent again and again until the time is up */

static const struct {
    uint8_t key, asc, ascq;
    unsigned sends;
    int err;
} sense_rows[] = {
    {SENSE_NO_SENSE, 0, 0, 3, -EIO},
    {SENSE_RECOVERED, 0x17, 1, 3, -EIO}, /* the fake moves nothing */
    {SENSE_NOT_READY, 0x04, 0x01, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x02, 1, -EIO},
    {SENSE_NOT_READY, 0x04, 0x03, 1, -EIO},
    {SENSE_NOT_READY, 0x04, 0x04, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x05, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x06, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x07, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x08, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x09, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x0a, N_TIME, -EHOSTUNREACH},
    {SENSE_NOT_READY, 0x04, 0x0b, 1, -EHOSTUNREACH},
    {SENSE_NOT_READY, 0x04, 0x0c, 1, -EHOSTUNREACH},
    {SENSE_NOT_READY, 0x04, 0x11, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x12, 1, -EIO},
    {SENSE_NOT_READY, 0x04, 0x14, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x1a, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x1b, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x1d, N_TIME, -EIO},
    {SENSE_NOT_READY, 0x04, 0x24, 1, -EIO},
    {SENSE_NOT_READY, 0x3a, 0x01, 1, -ENOMEDIUM},
    {SENSE_NOT_READY, 0x3e, 0, 1, -EIO},
    {SENSE_MEDIUM_ERROR, 0x11, 0, 1, -ENODATA},
    {SENSE_MEDIUM_ERROR, 0x13, 0, 1, -ENODATA},
    {SENSE_MEDIUM_ERROR, 0x14, 0, 1, -ENODATA},
    {SENSE_MEDIUM_ERROR, 0x0c, 2, 6, -EIO},
    {SENSE_HARDWARE_ERROR, 0x44, 0, 1, -EREMOTEIO},
    {SENSE_ILLEGAL_REQUEST, 0x21, 0, 1, -EREMOTEIO},
    {SENSE_ILLEGAL_REQUEST, 0x24, 0, 1, -EREMOTEIO},
    {SENSE_ILLEGAL_REQUEST, 0x25, 0, 1, -ENXIO},
    {SENSE_ILLEGAL_REQUEST, 0x26, 0, 1, -EREMOTEIO},
    {SENSE_ILLEGAL_REQUEST, 0x10, 1, 1, -EBADMSG},
    {SENSE_ILLEGAL_REQUEST, 0x27, 0, 1, -EROFS},
    {SENSE_ILLEGAL_REQUEST, 0x67, 0x0a, 1, -EREMOTEIO},
    {SENSE_ILLEGAL_REQUEST, 0x55, 0, 1, -EIO},
    {SENSE_UNIT_ATTENTION, 0x2f, 0, 17, -EIO},
    {SENSE_DATA_PROTECT, 0x27, 7, 1, -ENOSPC},
    {SENSE_DATA_PROTECT, 0x27, 0, 1, -EROFS},
    {SENSE_DATA_PROTECT, 0x55, 0x0e, 1, -EREMOTEIO},
    {SENSE_DATA_PROTECT, 0x20, 2, 1, -EREMOTEIO},
    {SENSE_BLANK_CHECK, 0, 0, 1, -EREMOTEIO},
    {SENSE_VENDOR, 0x80, 0, 1, -EIO},
    {SENSE_COPY_ABORTED, 0, 0, 1, -EREMOTEIO},
    {SENSE_ABORTED_COMMAND, 0x10, 1, 1, -EBADMSG},
    {SENSE_ABORTED_COMMAND, 0x44, 0, 6, -EIO},
    {SENSE_ABORTED_COMMAND, 0x4b, 0, 6, -EIO},
    {0xc, 0, 0, 1, -EIO},
    {SENSE_VOLUME_OVERFLOW, 0, 0, 1, -EREMOTEIO},
    {SENSE_MISCOMPARE, 0x1d, 0, 1, -EILSEQ},
    {SENSE_COMPLETED, 0, 0, 1, -EIO},
};

static void
test_every_row_of_the_sense_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sense_rows) / sizeof(sense_rows[0]); i++) {
        uint64_t t0;
        struct io io;
        unsigned sends;

        fd_open(&d);
        fh_script(&d.f, ANSWER(SCSI_WRITE_10, EVER,
                               SENSE(sense_rows[i].key, sense_rows[i].asc, sense_rows[i].ascq)));
        t0 = d.f.loop.l.now_ns;
        io_submit(&d, &io, BDEV_WRITE, 0, 4096, 0);
        for (int s = 0; s < 1000 && io.done == 0; s++)
            fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(io.done, 1);
        assert_int_equal(io.r.result.err, sense_rows[i].err);
        sends = fh_count(&d.f, SCSI_WRITE_10);
        if (sense_rows[i].sends == N_TIME) {
            assert_true(sends > 10 && sends < 1000);
            assert_true(d.f.loop.l.now_ns - t0 >= SEC(180) && d.f.loop.l.now_ns - t0 <= SEC(190));
        } else {
            assert_int_equal(sends, sense_rows[i].sends);
        }
        assert_int_equal(io.r.result.scsi_status, SCSI_CHECK_CONDITION);
        assert_int_equal(io.r.result.sense_len, SENSE_FIXED_LEN); /* kept for the caller */
        assert_int_equal(io.sense[2] & 0xf, sense_rows[i].key);
        assert_int_equal(io.sense[12], sense_rows[i].asc);
        fd_close(&d);
    }
}

static void
test_pass_through_is_sent_once(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(sense_rows) / sizeof(sense_rows[0]); i++) {
        static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE, 0, 0, 0, 18, 0};
        struct io io;

        fd_open(&d);
        fh_script(&d.f, ANSWER(SCSI_REQUEST_SENSE, EVER,
                               SENSE(sense_rows[i].key, sense_rows[i].asc, sense_rows[i].ascq)));
        memset(&io, 0, sizeof(io));
        io.iov = (struct iovec){io_mem, 18};
        io.r = (struct bdev_req){.op = BDEV_SCSI,
                                 .cdb = cdb,
                                 .cdb_len = 6,
                                 .sense = io.sense,
                                 .in = sg_from_iov(&io.iov, 1, 0, 18),
                                 .done = io_done};
        assert_int_equal(bdev_submit(d.q, &io.r), 0);
        fake_advance(&d.f.loop, SEC(300));
        assert_int_equal(io.done, 1);
        assert_int_equal(io.r.result.err, 0); /* a status is an answer */
        assert_int_equal(io.r.result.scsi_status, SCSI_CHECK_CONDITION);
        assert_int_equal(io.sense[2] & 0xf, sense_rows[i].key);
        assert_int_equal(fh_count(&d.f, SCSI_REQUEST_SENSE), 1);
        fd_close(&d);
    }
}

/* Nor is it sent where the host does not move so much in one command: it is never split. */
static void
test_pass_through_is_not_too_long(void **state)
{
    static const uint8_t cdb[6] = {SCSI_REQUEST_SENSE, 0, 0, 0, 18, 0};

    (void)state;
    for (unsigned i = 0; i < 4; i++) {
        struct io io;

        fd_open(&d);
        d.f.h.max_transfer = i < 2 ? 17 : 18;
        memset(&io, 0, sizeof(io));
        io.iov = (struct iovec){io_mem, 18};
        io.r = (struct bdev_req){.op = BDEV_SCSI, .cdb = cdb, .cdb_len = 6, .done = io_done};
        if (i % 2 == 0)
            io.r.in = sg_from_iov(&io.iov, 1, 0, 18);
        else
            io.r.out = sg_from_iov(&io.iov, 1, 0, 18);
        (void)bdev_submit(d.q, &io.r);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(io.done, 1);
        assert_int_equal(io.r.result.err, i < 2 ? -EMSGSIZE : 0);
        assert_int_equal(fh_count(&d.f, SCSI_REQUEST_SENSE), i >= 2);
        fd_close(&d);
    }
}

static void
test_statuses_and_host_results(void **state)
{
    static const struct {
        enum scsi_host_result host;
        uint8_t status;
        enum bdev_op op;
        uint32_t flags;
        unsigned sends;
        int err;
    } rows[] = {
        {DID_OK, SCSI_BUSY, BDEV_WRITE, 0, N_TIME, -EBUSY},
        {DID_OK, SCSI_BUSY, BDEV_WRITE, BDEV_F_FAILFAST, N_TIME, -EBUSY},
        {DID_OK, SCSI_TASK_SET_FULL, BDEV_WRITE, 0, N_TIME, -EBUSY},
        {DID_OK, SCSI_RESERVATION_CONFLICT, BDEV_WRITE, 0, 1, -EBADE},
        {DID_OK, SCSI_INTERMEDIATE, BDEV_WRITE, 0, 1, -EPROTO},
        {DID_OK, 0x77, BDEV_WRITE, 0, 1, -EPROTO},
        {DID_OK, SCSI_COMMAND_TERMINATED, BDEV_WRITE, 0, 1, -EIO},
        {DID_OK, SCSI_ACA_ACTIVE, BDEV_WRITE, 0, 6, -EIO},
        {DID_OK, SCSI_TASK_ABORTED, BDEV_WRITE, 0, 6, -ECANCELED},
        {DID_OK, SCSI_TASK_ABORTED, BDEV_COMPARE_WRITE, 0, 1, -ECANCELED},
        {DID_NO_CONNECT, 0, BDEV_WRITE, 0, 1, -ENOTCONN},
        {DID_BAD_TARGET, 0, BDEV_WRITE, 0, 1, -EPROTO},
        {DID_TRANSPORT_DISRUPTED, 0, BDEV_WRITE, 0, N_TIME, -ENOLINK},
        {DID_TRANSPORT_DISRUPTED, 0, BDEV_WRITE, BDEV_F_FAILFAST, 1, -ENOLINK},
        {DID_TRANSPORT_DISRUPTED, 0, BDEV_COMPARE_WRITE, 0, 1, -ENOLINK},
        {DID_TRANSPORT_DISRUPTED, 0, BDEV_FLUSH, 0, N_TIME, -ENOLINK},
        {DID_TRANSPORT_FAILFAST, 0, BDEV_WRITE, 0, 1, -ENOTCONN},
        {DID_IMM_RETRY, 0, BDEV_WRITE, BDEV_F_FAILFAST, N_TIME, -ENOTCONN},
        {DID_IMM_RETRY, 0, BDEV_COMPARE_WRITE, 0, N_TIME, -ENOTCONN}, /* never sent: safe */
        {DID_REQUEUE, 0, BDEV_WRITE, 0, N_TIME, -ENOTCONN},
        {DID_ERROR, 0, BDEV_WRITE, 0, 6, -ENOLINK},
        {DID_ABORT, 0, BDEV_WRITE, 0, 6, -ECANCELED},
        {DID_RESET, 0, BDEV_COMPARE_WRITE, 0, 1, -ECANCELED},
        {DID_TIME_OUT, 0, BDEV_WRITE, 0, 6, -ETIMEDOUT},
        {(enum scsi_host_result)99, 0, BDEV_WRITE, 0, 1, -EPROTO},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        unsigned total_s = rows[i].op == BDEV_FLUSH ? 360 : 180;
        uint64_t t0;

        fd_open(&d);
        fh_script(&d.f, ANSWER(ANY_OP, EVER, .host = rows[i].host, .status = rows[i].status));
        t0 = d.f.loop.l.now_ns;
        assert_int_equal(
            io_run(&d, rows[i].op, 0, rows[i].op == BDEV_FLUSH ? 0 : 512, rows[i].flags),
            rows[i].err);
        if (rows[i].sends == N_TIME)
            assert_true(d.f.n > 10 && d.f.loop.l.now_ns - t0 >= SEC(total_s) &&
                        d.f.loop.l.now_ns - t0 <= SEC(total_s + 10));
        else
            assert_int_equal(fh_count(&d.f, d.f.op[0]), rows[i].sends);
        if (rows[i].sends == 1 && rows[i].host != DID_BAD_TARGET && rows[i].host != DID_RESET &&
            rows[i].host != DID_TRANSPORT_DISRUPTED)
            assert_int_equal(d.f.n, 1); /* the unit is looked at where the answer may be lost */
        fd_close(&d);
    }
}

static void
test_success_after_trouble(void **state)
{
    (void)state;
    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 2, SENSE(SENSE_ABORTED_COMMAND, 0, 0)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .status = SCSI_BUSY));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .host = DID_TRANSPORT_DISRUPTED));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .status = SCSI_CHECK_CONDITION, .key = 0xff));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), -EIO); /* no sense: only as first retry */
    d.f.nscript = 0;
    d.f.n = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .status = SCSI_CHECK_CONDITION, .key = 0xff));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 2, SENSE(SENSE_ABORTED_COMMAND, 0, 0)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .status = SCSI_BUSY));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    assert_int_equal(d.f.n, 5);
    assert_int_equal(d.dev->stats.retries, 5); /* of both requests; the loss is not counted */
    fd_close(&d);
}

static void
test_residuals(void **state)
{
    static const struct {
        enum bdev_op op;
        uint32_t moves[4]; /* bytes, command by command; the rest in full */
        unsigned n, sends;
        int err;
    } rows[] = {
        {BDEV_READ, {4096}, 1, 2, 0},
        {BDEV_READ, {4095}, 1, 2, 0}, /* rounded down to 3584 */
        {BDEV_WRITE, {512, 512, 1024}, 3, 4, 0},
        {BDEV_READ, {0}, 1, 2, 0},
        {BDEV_READ, {0, 0}, 2, 3, 0},
        {BDEV_READ, {0, 0, 0}, 3, 3, -EIO}, /* no progress on two re-issues */
        {BDEV_READ, {0, 0, 512, 0}, 4, 5, 0},
        {BDEV_WRITE, {511, 1, 0}, 3, 3, -EIO},
        {BDEV_COMPARE_WRITE, {4096}, 1, 1, -EIO}, /* all or nothing */
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        fd_open(&d);
        for (unsigned k = 0; k < rows[i].n; k++)
            fh_script(&d.f, ANSWER(ANY_OP, 1, .is_short = true, .len = rows[i].moves[k]));
        assert_int_equal(
            io_run(&d, rows[i].op, 0, rows[i].op == BDEV_COMPARE_WRITE ? 4096 : 8192, 0),
            rows[i].err);
        assert_int_equal(d.f.n, rows[i].sends);
        fd_close(&d);
    }
    fd_open(&d); /* a residual above the length */
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .is_short = true, .len = (uint32_t)-1));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), -EPROTO);
    fd_close(&d);
}

static void
test_short_transfers_go_on_where_they_stopped(void **state)
{
    (void)state;
    fd_open(&d);
    memset(io_mem, 0, 8192);
    for (int i = 0; i < 8192; i++)
        io_mem[i] = (char)(i / 512 + 1);
    fh_script(&d.f, ANSWER(SCSI_WRITE_10, 1, .is_short = true, .len = 1536));
    assert_int_equal(io_run(&d, BDEV_WRITE, 512 * 10, 8192, 0), 0);
    assert_int_equal(d.f.last_out_len, 8192 - 1536);
    assert_int_equal(d.f.last_out[0], 4);
    fd_close(&d);
}

static void
test_unit_attentions_are_acted_on(void **state)
{
    (void)state;
    fd_open(&d);
    d.f.luns[0].cap.blocks = 2 << 20;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 0)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x3f, 0x0e)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(fh_count(&d.f, SCSI_READ_10), 4);
    assert_true(fh_count(&d.f, SCSI_SERVICE_ACTION_IN_16) <= 4);
    assert_int_equal(bdev_get_limits(d.b)->size, 1024ull << 20); /* published */
    assert_int_equal(d.f.events[SCSI_EV_CAPACITY], 1);
    assert_int_equal(d.f.events[SCSI_EV_POWER_ON], 1);
    assert_int_equal(d.f.events[SCSI_EV_LUNS_CHANGED], 1);
    d.f.nscript = 0; /* a second 3F/0E before the list was read is not news */
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x3f, 0x0e)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    assert_int_equal(d.f.events[SCSI_EV_LUNS_CHANGED], 1);
    fd_close(&d);

    fd_open(&d); /* mode parameters changed: write protected now */
    d.f.luns[0].wp = true;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 1)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_true(bdev_get_limits(d.b)->read_only);
    assert_true(d.f.events[SCSI_EV_MODE] >= 1);
    assert_int_equal(fh_count(&d.f, SCSI_SERVICE_ACTION_IN_16), 0);
    fd_close(&d);

    fd_open(&d); /* the block size changed: another unit */
    d.f.luns[0].cap.block_len = 4096;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    (void)io_run(&d, BDEV_READ, 0, 4096, 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(d.dev->state, SDEV_OFFLINE);
    assert_int_equal(d.f.events[SCSI_EV_REPLACED], 1);
    fd_close(&d);

    fd_open(&d); /* our own look is itself answered by unit attentions without end */
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(100));
    assert_true(d.f.n < 300);
    fd_close(&d);
}

static char logged[512];

static void
take_line(void *user, enum log_level level, const char *line)
{
    (void)user;
    if (level <= LOG_LEVEL_WARN)
        (void)snprintf(logged, sizeof(logged), "%s", line);
}

/* The log names the unit once, also where the reason names it. */
static void
test_log_names_the_unit_once(void **state)
{
    const struct log log = {.level = LOG_LEVEL_WARN, .sink = take_line};

    (void)state;
    fd_open(&d);
    d.f.loop.l.log = &log;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x2a, 9)));
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, SENSE(SENSE_MEDIUM_ERROR, 0x11, 0)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    fake_advance(&d.f.loop, SEC(100));
    d.f.loop.l.log = NULL;
    if (strncmp(logged, "host0 lun 0: READ CAPACITY", 26) != 0)
        fail_msg("it says: %s", logged);
    fd_close(&d);
}

static void
test_lost_writes(void **state)
{
    (void)state;
    fd_open(&d);
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
    assert_int_equal(io_run(&d, BDEV_FLUSH, 0, 0, 0), 0);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 1)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    assert_int_equal(d.f.events[SCSI_EV_LOST_WRITES], 0); /* all of it was flushed */
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, BDEV_F_FUA), 0);
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 1)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    assert_int_equal(d.f.events[SCSI_EV_LOST_WRITES], 0); /* written through */
    assert_int_equal(io_run(&d, BDEV_WRITE, 0, 4096, 0), 0);
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_UNIT_ATTENTION, 0x29, 7)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    assert_int_equal(d.f.events[SCSI_EV_LOST_WRITES], 0); /* nexus loss: the cache stays */
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(SCSI_READ_10, 2, SENSE(SENSE_UNIT_ATTENTION, 0x29, 0)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0);
    assert_int_equal(d.f.events[SCSI_EV_LOST_WRITES], 1); /* told once */
    assert_int_equal(d.dev->stats.lost_writes, 1);
    fd_close(&d);
}

static void
test_deferred_error(void **state)
{
    (void)state;
    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, SENSE(SENSE_MEDIUM_ERROR, 0x0c, 2), .deferred = true));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 4096, 0), 0); /* not this one's fault */
    assert_int_equal(d.f.n, 2);
    assert_int_equal(d.f.events[SCSI_EV_DEFERRED_ERROR], 1);
    assert_int_equal(d.dev->stats.deferred, 1);
    fd_close(&d);
}

static struct flun *
thin(void)
{
    struct flun *l;

    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    l = fh_add(&d.f, 0, 0);
    l->cap.lbpme = l->cap.lbprz = true;
    l->b2 = (struct vpd_provisioning){.lbpu = true, .lbpws = true, .lbprz = 1};
    l->b0.max_unmap_lba = 1000;
    l->b0.max_unmap_desc = 1;
    l->ws16 = true;
    fd_up(&d);
    return l;
}

/* Every operation that is sent again, and how many times the time limit one try of it has. */
static const struct {
    enum bdev_op op;
    uint32_t flags;
    uint8_t opcode, byte1;
    unsigned limits;
    unsigned sends; /* where none of them is answered */
} op_rows[] = {
    {BDEV_READ, 0, SCSI_READ_10, 0, 1, 6},
    {BDEV_WRITE, 0, SCSI_WRITE_10, 0, 1, 6},
    {BDEV_WRITE, BDEV_F_FUA, SCSI_WRITE_10, SCSI_FUA, 1, 6},
    {BDEV_FLUSH, 0, SCSI_SYNC_CACHE_10, 0, 2, 6},
    {BDEV_DISCARD, 0, SCSI_UNMAP, 0, 1, 6},
    {BDEV_WRITE_ZEROES, 0, SCSI_WRITE_SAME_16, SCSI_WS_UNMAP, 4, 6},
    {BDEV_WRITE_ZEROES, BDEV_F_NO_UNMAP, SCSI_WRITE_SAME_16, 0, 4, 6},
    {BDEV_COMPARE_WRITE, 0, SCSI_COMPARE_AND_WRITE, 0, 1, 1}, /* not to be executed twice */
    {BDEV_BLOCK_STATUS, 0, SCSI_SERVICE_ACTION_IN_16, SCSI_SAI_GET_LBA_STATUS, 1, 6},
};

/* All commands of the row, and no other, are answered like this. */
static void
op_script(size_t row, struct answer a)
{
    a.sub = op_rows[row].byte1 & 0x1f;
    fh_script(&d.f, a);
}

static unsigned
op_sends(size_t row)
{
    unsigned n = 0;

    for (unsigned i = 0; i < d.f.n; i++)
        n += d.f.op[i] == op_rows[row].opcode && d.f.byte1[i] == op_rows[row].byte1;
    return n;
}

/* Runs the request of a row to its end, with a time limit of its own where timeout_ms is not 0.
 * Returns its error, and in *ret_s how many seconds it took. */
static int
op_run(size_t row, uint32_t timeout_ms, uint64_t *ret_s)
{
    struct bdev_extent e[BDEV_EXTENTS_MIN];
    uint64_t t0 = d.f.loop.l.now_ns;
    struct io io;

    io_init(&io, op_rows[row].op, 0, op_rows[row].op == BDEV_FLUSH ? 0 : 512, op_rows[row].flags);
    io.r.timeout_ms = timeout_ms;
    io.r.extents = e;
    io.r.extents_max = BDEV_EXTENTS_MIN;
    assert_int_equal(bdev_submit(d.q, &io.r), 0);
    for (int i = 0; i < 1000 && io.done == 0; i++)
        fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    *ret_s = (d.f.loop.l.now_ns - t0) / LOOP_NS_PER_S;
    return io.r.result.err;
}

/* Whatever is tried again has as much time in all as its tries may take together. */
static void
test_total_time_of_each_operation(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(op_rows) / sizeof(op_rows[0]); i++) {
        unsigned s = 180 * op_rows[i].limits;
        uint64_t took;

        thin();
        op_script(i, ANSWER(op_rows[i].opcode, EVER, .status = SCSI_BUSY));
        assert_int_equal(op_run(i, 0, &took), -EBUSY);
        assert_in_range(took, s, s + 10);
        assert_true(op_sends(i) > 10);
        /* Who says how long a try may take, says it of every operation. */
        assert_int_equal(op_run(i, 5000, &took), -EBUSY);
        assert_in_range(took, 30, 32);
        fd_close(&d);
    }
}

/* No try is spared because those before it took all of their time. */
static void
test_each_operation_is_tried_as_often(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(op_rows) / sizeof(op_rows[0]); i++) {
        unsigned s = 30 * op_rows[i].limits * op_rows[i].sends;
        uint64_t took;

        thin();
        op_script(i, ANSWER(op_rows[i].opcode, EVER, .never = true));
        assert_int_equal(op_run(i, 0, &took), -ETIMEDOUT);
        assert_int_equal(op_sends(i), op_rows[i].sends);
        assert_int_equal(d.f.aborts, op_rows[i].sends);
        assert_in_range(took, s, s + 1);
        fd_close(&d);
    }
}

struct status_row {
    uint64_t lba;
    uint32_t blocks;
    uint8_t provisioning;
};

/* Asks for the state of 100 blocks from block 10 on, with room for n extents, while the device
 * answers with these rows. */
static int
status_run(const struct status_row *rows, unsigned nrows, struct bdev_extent *e, uint32_t max,
           uint32_t *ret_n)
{
    uint8_t answer[LBA_STATUS_LEN(4)] = {0};
    struct io io;

    st_be32(answer, (uint32_t)LBA_STATUS_LEN(nrows) - 4);
    for (unsigned i = 0; i < nrows; i++) {
        st_be64(answer + LBA_STATUS_LEN(i), rows[i].lba);
        st_be32(answer + LBA_STATUS_LEN(i) + 8, rows[i].blocks);
        answer[LBA_STATUS_LEN(i) + 12] = rows[i].provisioning;
    }
    d.f.nscript = 0;
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, .data = answer,
                           .len = (uint32_t)LBA_STATUS_LEN(nrows)));
    io_init(&io, BDEV_BLOCK_STATUS, 10 * 512, 100 * 512, 0);
    io.r.extents = e;
    io.r.extents_max = max;
    assert_int_equal(bdev_submit(d.q, &io.r), 0);
    fake_advance(&d.f.loop, SEC(1));
    assert_int_equal(io.done, 1);
    d.f.nscript = 0;
    *ret_n = io.r.extents_n;
    return io.r.result.err;
}

static void
test_block_status(void **state)
{
    static const struct status_row rows[] = {
        {5, 10, LBA_MAPPED}, {15, 5, 0}, {20, 10, LBA_DEALLOCATED}, {30, 1000, LBA_ANCHORED}};
    static const struct status_row gap[] = {{10, 10, LBA_DEALLOCATED}, {21, 10, LBA_MAPPED}};
    static const struct status_row nonsense[] = {{11, 10, LBA_DEALLOCATED}};
    struct bdev_extent e[8];
    uint32_t n = 0;

    (void)state;
    thin();
    assert_int_equal(status_run(rows, 4, e, 8, &n), 0);
    assert_int_equal(d.f.op[0], SCSI_SERVICE_ACTION_IN_16);
    assert_int_equal(d.f.byte1[0], SCSI_SAI_GET_LBA_STATUS);
    assert_int_equal(n, 3); /* what is alike is one, from where it was asked to where that ends */
    assert_int_equal(e[0].len, 10 * 512);
    assert_int_equal(e[0].state, 0);
    assert_int_equal(e[1].len, 10 * 512);
    assert_int_equal(e[1].state, BDEV_EXTENT_HOLE | BDEV_EXTENT_ZERO);
    assert_int_equal(e[2].len, 80 * 512);
    assert_int_equal(e[2].state, BDEV_EXTENT_ZERO);
    assert_int_equal(status_run(rows, 4, e, 2, &n), 0); /* room for one descriptor */
    assert_int_equal(n, 1);
    assert_int_equal(e[0].len, 5 * 512);
    assert_int_equal(status_run(gap, 2, e, 8, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(e[0].len, 10 * 512);
    d.f.n = 0;
    assert_int_equal(status_run(nonsense, 1, e, 8, &n), 0);
    assert_int_equal(n, 1);
    assert_int_equal(e[0].len, 100 * 512);
    assert_int_equal(e[0].state, 0);
    assert_int_equal(d.f.n, 1);
    assert_int_equal(status_run(rows, 4, e, 8, &n), 0); /* it is not asked again */
    assert_int_equal(d.f.n, 1);
    assert_int_equal(n, 1);
    fd_close(&d);

    thin();
    assert_int_equal(status_run(rows, 0, e, 8, &n), 0); /* an answer without a descriptor */
    assert_int_equal(n, 1);
    assert_int_equal(e[0].state, 0);
    fd_close(&d);

    thin(); /* refused */
    fh_script(&d.f, ANSWER(SCSI_SERVICE_ACTION_IN_16, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)));
    for (int i = 0; i < 2; i++) {
        struct io io;

        io_init(&io, BDEV_BLOCK_STATUS, 0, 512, 0);
        io.r.extents = e;
        io.r.extents_max = 2;
        assert_int_equal(bdev_submit(d.q, &io.r), 0);
        fake_advance(&d.f.loop, SEC(1));
        assert_int_equal(io.r.result.err, 0);
        assert_int_equal(io.r.extents_n, 1);
        assert_int_equal(e[0].len, 512);
    }
    assert_int_equal(d.f.n, 1);
    fd_close(&d);
}

static void
test_features_go_off(void **state)
{
    (void)state;
    thin();
    fh_script(&d.f, ANSWER(SCSI_UNMAP, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x24, 0)));
    assert_int_equal(io_run(&d, BDEV_DISCARD, 0, 4096, 0), 0); /* a hint */
    assert_int_equal(bdev_get_limits(d.b)->max_discard, 0);
    assert_int_equal(io_run(&d, BDEV_DISCARD, 0, 4096, 0), 0);
    assert_int_equal(fh_count(&d.f, SCSI_UNMAP), 1);
    /* write same with UNMAP, then without, then ordinary writes */
    fh_script(&d.f, ANSWER(SCSI_WRITE_SAME_16, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)));
    d.f.n = 0;
    assert_int_equal(io_run(&d, BDEV_WRITE_ZEROES, 0, 8192, 0), 0);
    assert_int_equal(d.f.n, 3);
    assert_int_equal(d.f.op[0], SCSI_WRITE_SAME_16);
    assert_int_equal(d.f.byte1[0], SCSI_WS_UNMAP);
    assert_int_equal(d.f.op[1], SCSI_WRITE_SAME_16);
    assert_int_equal(d.f.byte1[1], 0);
    assert_int_equal(d.f.op[2], SCSI_WRITE_10);
    assert_int_equal(bdev_get_limits(d.b)->max_write_zeroes, 0);
    assert_int_equal(io_run(&d, BDEV_WRITE_ZEROES, 0, 8192, 0), 0);
    assert_int_equal(fh_count(&d.f, SCSI_WRITE_SAME_16), 2);
    fd_close(&d);

    fd_open(&d); /* READ(10) refused: 6-byte commands, at most 256 blocks each */
    fh_script(&d.f, ANSWER(SCSI_READ_10, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 300 * 512, 0), 0);
    assert_int_equal(d.f.n, 3);
    assert_int_equal(d.f.op[1], SCSI_READ_6);
    assert_int_equal(d.f.op[2], SCSI_READ_6);
    assert_false(bdev_get_limits(d.b)->fua);
    fd_close(&d);

    fd_open(&d); /* SYNCHRONIZE CACHE(10), then (16), then none */
    fh_script(&d.f, ANSWER(SCSI_SYNC_CACHE_10, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)));
    assert_int_equal(io_run(&d, BDEV_FLUSH, 0, 0, 0), 0);
    assert_int_equal(d.f.op[1], SCSI_SYNC_CACHE_16);
    fh_script(&d.f, ANSWER(SCSI_SYNC_CACHE_16, EVER, SENSE(SENSE_ILLEGAL_REQUEST, 0x20, 0)));
    assert_int_equal(io_run(&d, BDEV_FLUSH, 0, 0, 0), 0);
    assert_false(bdev_get_limits(d.b)->write_cache);
    d.f.n = 0;
    assert_int_equal(io_run(&d, BDEV_FLUSH, 0, 0, 0), 0);
    assert_int_equal(d.f.n, 0);
    fd_close(&d);
}

static void
test_status_qualifier(void **state)
{
    struct io a, b;

    (void)state;
    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 1, .status = SCSI_TASK_SET_FULL, .qualifier = 5));
    io_submit(&d, &a, BDEV_READ, 0, 512, 0);
    fake_turn(&d.f.loop);
    io_submit(&d, &b, BDEV_READ, 0, 512, 0);
    fake_advance(&d.f.loop, MS(499));
    assert_int_equal(d.f.n, 1); /* nothing goes for 500 ms */
    fake_advance(&d.f.loop, MS(2));
    assert_int_equal(a.done + b.done, 2);
    fd_close(&d);
}

static void
test_busy_backs_off(void **state)
{
    uint64_t last = 0;
    unsigned longer = 0;

    (void)state;
    fd_open(&d);
    fh_script(&d.f, ANSWER(SCSI_READ_10, 12, .status = SCSI_BUSY));
    assert_int_equal(io_run(&d, BDEV_READ, 0, 512, 0), 0);
    assert_int_equal(d.f.n, 13);
    for (unsigned i = 1; i < d.f.n; i++) {
        uint64_t gap = d.f.at[i] - d.f.at[i - 1];

        assert_true(gap >= MS(2) && gap <= MS(1250));
        longer += gap > last;
        last = gap;
    }
    assert_true(longer >= 7);
    assert_true(d.f.at[12] - d.f.at[11] >= MS(750));
    fd_close(&d);
}

/* A target with room for 7 (end of section 15): no errors, and it settles. */
static void
test_task_set_full_settles(void **state)
{
    static struct io io[64];
    unsigned n = 0, full = 0, done = 0;

    (void)state;
    fd_open(&d);
    d.f.hold = true;
    for (int i = 0; i < 64; i++)
        io_submit(&d, &io[i], BDEV_READ, 0, 512, 0);
    for (int round = 0; round < 400; round++) {
        unsigned had, k;

        fake_advance(&d.f.loop, MS(4));
        had = d.f.nout;
        for (k = 0; k < had; k++) {
            struct scsi_cmd *sc = d.f.out[0];

            sc->status = k < 7 ? SCSI_GOOD : SCSI_TASK_SET_FULL;
            sc->host_result = DID_OK;
            full += k >= 7;
            fh_give_back(&d.f, 0);
        }
        if (round == 1)
            assert_true(had >= 16); /* one burst halves once */
        n = had;
    }
    for (int i = 0; i < 64; i++) {
        done += (unsigned)io[i].done;
        assert_int_equal(io[i].r.result.err, 0);
    }
    assert_int_equal(done, 64);
    assert_true(full < 64 * 4);
    (void)n;
    d.f.hold = false;
    fd_close(&d);
}

static void
test_window_closed(void **state)
{
    static struct io io[200];

    (void)state;
    fd_open(&d);
    d.f.window = 5;
    for (int i = 0; i < 200; i++)
        io_submit(&d, &io[i], BDEV_READ, 0, 512, 0);
    d.f.max_out = 0;
    fake_advance(&d.f.loop, SEC(1));
    for (int i = 0; i < 200; i++)
        assert_int_equal(io[i].done, 1);
    assert_true(d.f.max_out <= 5);
    assert_int_equal(d.dev->stats.task_set_full, 0);
    fd_close(&d);
}

static unsigned exec_calls;

static void
exec_done(struct scsi_exec *x)
{
    (void)x;
    exec_calls++;
}

static void
test_execute_on_any_type(void **state)
{
    static const uint8_t inq[6] = {SCSI_INQUIRY, 0, 0, 0, 96, 0}, tur[6] = {0};
    static uint8_t buf[96], long_cdb[40] = {SCSI_VARIABLE_LENGTH, 0, 0, 0, 0, 0, 0, 32};
    struct iovec iov = {buf, sizeof(buf)};
    struct scsi_exec x = {.cdb = inq, .cdb_len = 6, .done = exec_done};
    struct scsi_device *dev;

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    fh_add(&d.f, 0, 0)->inq.type = SCSI_TYPE_TAPE;
    dev = fh_scan_lun(&d.f, 0);
    x.in = sg_from_iov(&iov, 1, 0, sizeof(buf));
    exec_calls = 0;
    assert_int_equal(scsi_execute(dev, &x), 0);
    assert_int_equal(exec_calls, 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(exec_calls, 1);
    assert_int_equal(x.result.err, 0);
    assert_int_equal(x.in_len, 96);
    assert_memory_equal(buf + 8, "LUNETTE ", 8);
    x = (struct scsi_exec){.cdb = tur, .cdb_len = 6, .ua_retries = 1, .done = exec_done};
    fh_script(&d.f, ANSWER(0, 2, SENSE(SENSE_UNIT_ATTENTION, 0x29, 0)));
    assert_int_equal(scsi_execute(dev, &x), 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(x.result.scsi_status, SCSI_CHECK_CONDITION); /* one was swallowed */
    assert_int_equal(x.result.sense_len, 18);
    fh_script(&d.f, ANSWER(0, EVER, .status = SCSI_BUSY));
    assert_int_equal(scsi_execute(dev, &x), 0); /* BUSY is an answer */
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(x.result.scsi_status, SCSI_BUSY);
    x = (struct scsi_exec){.cdb = long_cdb, .cdb_len = 40, .done = exec_done};
    assert_int_equal(scsi_execute(dev, &x), 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(d.f.op[d.f.n - 1], SCSI_VARIABLE_LENGTH);
    d.f.h.max_cdb_len = 16;
    assert_int_equal(scsi_execute(dev, &x), -EINVAL);
    x.cdb = tur;
    x.cdb_len = 6;
    d.f.h.max_transfer = 95;
    x.in = sg_from_iov(&iov, 1, 0, 96);
    assert_int_equal(scsi_execute(dev, &x), -EMSGSIZE);
    x.in.len = 0;
    x.out = sg_from_iov(&iov, 1, 0, 96);
    assert_int_equal(scsi_execute(dev, &x), -EMSGSIZE);
    x.out.len = 0;
    fh_script(&d.f, ANSWER(0, EVER, .never = true));
    d.f.nscript = 0;
    d.f.hold = true;
    d.f.abort_result = SCSI_EH_SUCCESS;
    x.timeout_ms = 500;
    assert_int_equal(scsi_execute(dev, &x), 0);
    fake_advance(&d.f.loop, MS(499));
    assert_int_equal(d.f.aborts, 0);
    fake_advance(&d.f.loop, MS(10));
    assert_int_equal(d.f.aborts, 1);
    assert_int_equal(x.result.err, -ETIMEDOUT);
    assert_int_equal(exec_calls, 5);
    d.f.hold = false;
    fh_close(&d.f);
}

/* A pass-through command that cannot be sent since the host takes nothing more is given up when its
 * time is over; one of the midlayer's own waits.  While the session is being recovered no time
 * passes. */
static void
test_execute_that_waits(void **state)
{
    static const uint8_t tur[6] = {0};

    (void)state;
    for (int blocked = 0; blocked < 2; blocked++) {
        struct scsi_exec x = {
            .cdb = tur, .cdb_len = 6, .timeout_ms = 500, .ua_retries = 0, .done = exec_done};
        struct scsi_exec own = x;

        fd_open(&d);
        exec_calls = 0;
        if (blocked)
            fh_state(&d.f, SCSI_HOST_BLOCKED);
        else
            d.f.refuse = UINT_MAX;
        assert_int_equal(scsi_execute(d.dev, &x), 0);
        assert_int_equal(scsi_execute_internal(sdev_of(d.dev), &own), 0);
        fake_advance(&d.f.loop, MS(499));
        assert_int_equal(exec_calls, 0);
        if (blocked) {
            fake_advance(&d.f.loop, SEC(500));
            assert_int_equal(exec_calls, 0);
            fh_state(&d.f, SCSI_HOST_RUNNING);
        } else {
            fake_advance(&d.f.loop, MS(2));
            assert_int_equal(exec_calls, 1);
            assert_int_equal(x.result.err, -ETIMEDOUT);
            fake_advance(&d.f.loop, SEC(60));
            assert_int_equal(exec_calls, 1);
            assert_int_equal(scsi_execute(d.dev, &x), 0); /* in time, this once */
            fake_advance(&d.f.loop, MS(400));
            d.f.refuse = 0;
            d.f.h.ev->restart(d.f.h.ev_user);
        }
        fake_advance(&d.f.loop, MS(1));
        assert_int_equal(exec_calls, blocked ? 2 : 3);
        assert_int_equal(x.result.err, 0);
        assert_int_equal(own.result.err, 0);
        fd_close(&d);
    }
}

static void
removed(void *user, int err)
{
    *(int *)user = 1000 + err;
}

static void
test_states_and_removal(void **state)
{
    struct scsi_exec x = {.cdb = (const uint8_t[6]){0}, .cdb_len = 6, .done = exec_done};
    struct io io;
    int gone = 0;

    (void)state;
    fd_open(&d);
    assert_int_equal(scsi_device_online(d.dev), -EINVAL);
    assert_int_equal(scsi_device_remove(d.dev, removed, &gone), 0);
    assert_int_equal(gone, 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(gone, 1000);
    assert_int_equal(d.f.op[0], SCSI_SYNC_CACHE_10);
    assert_int_equal(d.dev->state, SDEV_DEL);
    assert_int_equal(scsi_device_remove(d.dev, removed, &gone), -EALREADY);
    assert_int_equal(scsi_execute(d.dev, &x), -ENODEV);
    io_submit(&d, &io, BDEV_READ, 0, 512, 0);
    fake_advance(&d.f.loop, MS(1));
    assert_int_equal(io.r.result.err, -ENODEV);
    assert_null(scsi_find_device(d.f.t, d.dev->lun));
    for (int s = 0; s < SDEV_NSTATES; s++)
        assert_string_not_equal(scsi_state_name((enum scsi_device_state)s), "unknown");
    for (int e = 0; e < SCSI_NEVENTS; e++)
        assert_string_not_equal(scsi_event_name((enum scsi_event)e), "unknown");
    fd_close(&d);
}

static void
test_state_matrix(void **state)
{
    /* rows: from, columns: to, in the order of the enum */
    static const char allowed[SDEV_NSTATES][SDEV_NSTATES + 1] = {
        "=x..x...x", /* CREATED */
        ".=xx.xxx.", /* RUNNING */
        ".x=......", /* QUIESCE */
        ".x.=.xxx.", /* BLOCK */
        "x...=x..x", /* CREATED_BLOCK */
        ".x.x.=xx.", /* TRANSPORT_OFFLINE */
        ".x.x..=x.", /* OFFLINE */
        ".......=x", /* CANCEL */
        "........=", /* DEL */
    };

    (void)state;
    fd_open(&d);
    for (int from = 0; from < SDEV_NSTATES; from++) {
        for (int to = 0; to < SDEV_NSTATES; to++) {
            bool ok;

            d.dev->state = (enum scsi_device_state)from;
            ok = sdev_set_state(sdev_of(d.dev), (enum scsi_device_state)to);
            assert_int_equal(ok, allowed[from][to] != '.');
            assert_int_equal((int)d.dev->state, ok ? to : from); /* refused: not applied */
        }
    }
    d.dev->state = SDEV_RUNNING;
    fd_close(&d);
}

static void
test_exec_at_detach(void **state)
{
    static const uint8_t tur[6] = {0};
    struct scsi_exec sent = {.cdb = tur, .cdb_len = 6, .done = exec_done};
    struct scsi_exec waits = sent, aborting = sent;
    struct scsi_device *dev;

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    fh_add(&d.f, 0, 0);
    dev = fh_scan_lun(&d.f, 0);
    exec_calls = 0;
    d.f.hold = d.f.hold_waits = true;
    aborting.timeout_ms = 10;
    assert_int_equal(scsi_execute(dev, &aborting), 0);
    fake_advance(&d.f.loop, MS(20));
    assert_int_equal(d.f.aborts, 1);
    assert_int_equal(scsi_execute(dev, &sent), 0);
    fake_turn(&d.f.loop);
    d.f.refuse = 1;
    assert_int_equal(scsi_execute(dev, &waits), 0);
    fake_turn(&d.f.loop);
    fh_close(&d.f);
    assert_int_equal(exec_calls, 3);
    assert_true(sent.result.err < 0 && waits.result.err < 0 && aborting.result.err < 0);
}

/* ---- several units share the room of a host ---- */

#define SHARE_LUNS 4

static struct bdev *share_b[SHARE_LUNS];
static char share_order[64];

static void
share_restart(struct bdev *b)
{
    for (unsigned i = 0; i < SHARE_LUNS; i++) {
        if (share_b[i] == b)
            (void)snprintf(share_order + strlen(share_order), 2, "%u", i);
    }
    blk_upcalls.restart(b);
}

/* All units have commands that the host does not take; then it tells of room and takes none. */
static const char *
share_again(void)
{
    share_order[0] = '\0';
    d.f.h.ev->restart(d.f.h.ev_user);
    fake_turn(&d.f.loop);
    return share_order;
}

/* Units that wait for room of the host take turns in being the first that may try. */
static void
test_room_goes_round(void **state)
{
    static struct io io[SHARE_LUNS];
    struct blk_upcalls up = blk_upcalls;
    struct bdev_queue *q[SHARE_LUNS];
    int gone = 0;

    (void)state;
    memset(&d, 0, sizeof(d));
    fh_open(&d.f);
    up.restart = share_restart;
    for (int i = 0; i < SHARE_LUNS; i++) {
        (void)fh_add(&d.f, i, (uint64_t)i);
        d.dev = fh_scan_lun(&d.f, (uint64_t)i);
        assert_int_equal(scsi_disk_start(d.dev, scan_done, &d.up), 0);
        fake_advance(&d.f.loop, SEC(200));
        assert_int_equal(blk_dev_new(&scsi_disk_ops, d.dev, scsi_disk_limits(d.dev), &share_b[i]),
                         0);
        assert_int_equal(bdev_queue_new(share_b[i], &d.f.loop.l, 64, &q[i]), 0);
        scsi_disk_plug(d.dev, &up, share_b[i]);
    }
    d.f.refuse = UINT_MAX;
    for (int i = 0; i < SHARE_LUNS; i++) {
        d.q = q[i];
        io_submit(&d, &io[i], BDEV_READ, 0, 4096, 0);
    }
    fake_turn(&d.f.loop);
    assert_string_equal(share_again(), "0123");
    assert_string_equal(share_again(), "1230");
    assert_string_equal(share_again(), "2301");
    assert_string_equal(share_again(), "3012");
    assert_string_equal(share_again(), "0123");
    assert_string_equal(share_again(), "1230");
    d.f.refuse = 0;
    assert_string_equal(share_again(), "2301"); /* and now all are taken */
    fake_advance(&d.f.loop, SEC(1));
    assert_string_equal(share_again(), "");
    assert_int_equal(
        scsi_device_remove(scsi_next_device(scsi_next_device(scsi_first_device(d.f.t))), removed,
                           &gone),
        0);
    fake_advance(&d.f.loop, SEC(1)); /* the one that was the first */
    assert_int_equal(gone, 1000);
    d.f.refuse = UINT_MAX;
    for (int i = 0; i < SHARE_LUNS; i++) {
        d.q = q[i];
        if (i != 2)
            io_submit(&d, &io[i], BDEV_READ, 0, 4096, 0);
    }
    fake_turn(&d.f.loop);
    assert_string_equal(share_again(), "301");
    assert_string_equal(share_again(), "013");
    d.f.refuse = 0;
    (void)share_again();
    fh_close(&d.f);
    for (int i = 0; i < SHARE_LUNS; i++)
        blk_dev_free(&share_b[i]);
    fake_advance(&d.f.loop, SEC(1));
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_cdb_choice),
        cmocka_unit_test(test_every_row_of_the_sense_table),
        cmocka_unit_test(test_pass_through_is_sent_once),
        cmocka_unit_test(test_pass_through_is_not_too_long),
        cmocka_unit_test(test_statuses_and_host_results),
        cmocka_unit_test(test_success_after_trouble),
        cmocka_unit_test(test_residuals),
        cmocka_unit_test(test_short_transfers_go_on_where_they_stopped),
        cmocka_unit_test(test_unit_attentions_are_acted_on),
        cmocka_unit_test(test_log_names_the_unit_once),
        cmocka_unit_test(test_lost_writes),
        cmocka_unit_test(test_deferred_error),
        cmocka_unit_test(test_total_time_of_each_operation),
        cmocka_unit_test(test_each_operation_is_tried_as_often),
        cmocka_unit_test(test_block_status),
        cmocka_unit_test(test_features_go_off),
        cmocka_unit_test(test_status_qualifier),
        cmocka_unit_test(test_busy_backs_off),
        cmocka_unit_test(test_task_set_full_settles),
        cmocka_unit_test(test_window_closed),
        cmocka_unit_test(test_execute_on_any_type),
        cmocka_unit_test(test_execute_that_waits),
        cmocka_unit_test(test_states_and_removal),
        cmocka_unit_test(test_state_matrix),
        cmocka_unit_test(test_exec_at_detach),
        cmocka_unit_test(test_room_goes_round),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
