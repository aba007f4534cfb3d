/* SPDX-License-Identifier: MIT */
/* api/io.c - synchronous calls: one request, waited for. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/exec.h"
#include "api/sized.h"
#include "wire/scsi.h"
#include "wire/sense.h"

#define SYNC_DEPTH_MAX 64   /* pieces of one synchronous call under way at once */
#define EXEC_OWN_MAX   4096 /* bytes of a raw CDB's data each way that are copied */

const char *
lunette_sense_text(const uint8_t *sense, size_t len, char *buf, size_t size)
{
    struct scsi_sense s;

    if (!sense_parse(sense, len, &s))
        (void)snprintf(buf, size, "no sense data");
    else
        (void)sense_format(&s, buf, size);
    return buf;
}

const char *
lunette_status_text(uint8_t status)
{
    return scsi_status_name(status);
}

static const char *
io_err_text(int err)
{
    switch (err) {
    case -ENOLINK:
        return "the connection was lost with the command under way: it may have been executed";
    case -ENOTCONN:
        return "there is no connection";
    case -ENXIO:
        return "the logical unit is gone";
    case -EHOSTUNREACH:
        return "the path is in an ALUA state in which it takes no I/O";
    case -ETIMEDOUT:
        return "not done in time; what the target had of it was aborted";
    case -ENOSPC:
        return "the target is out of space";
    case -EROFS:
        return "the logical unit is write protected";
    case -EBADE:
        return "reservation conflict";
    case -EILSEQ:
        return "miscompare";
    case -EINVAL:
        return "past the end of the logical unit, which has become smaller meanwhile";
    case -EOPNOTSUPP:
        return "the device cannot do that";
    case -EPROTO:
        return "the answer makes no sense: residual (underflow, overflow), data or sense length "
               "contradict each other";
    case -ENODEV:
        return "the device is offline: error handling gave up on it";
    case -EBUSY:
        return "the device was busy until the time was up";
    case -ECANCELED:
        return "canceled, or swept by a reset";
    default:
        return errno_text(-err);
    }
}

static enum lunette_domain
io_err_domain(const struct bdev_result *r)
{
    switch (r->err) {
    case -ENOLINK:
    case -ENOTCONN:
        return LUNETTE_DOM_CONNECT;
    case -ETIMEDOUT:
        return LUNETTE_DOM_TIMEOUT;
    case -ENXIO:
        return LUNETTE_DOM_NOTFOUND;
    case -EPROTO:
        return LUNETTE_DOM_PROTO;
    default:
        return LUNETTE_DOM_SCSI;
    }
}

/* What ended the connection, or the session, says more than the error.  fails: why all requests
 * fail now, or NULL. */
static int
io_no_connection(const struct lunette_session *s, const struct lunette_error *fails, int code,
                 const char *what, struct lunette_error *err)
{
    bool given_up = fails != NULL && fails->code == -ENOTCONN;
    struct lunette_error why;
    int32_t limit;

    api_session_why(s, &why);
    if (why.code == 0)
        return lunette_fail(err, code, LUNETTE_DOM_CONNECT, (uint32_t)-code, "%s: %s", what,
                            io_err_text(code));
    limit = s->reopen != NULL ? reopen_limits(s->reopen)->replacement_timeout_s : 0;
    if (code == -ENOLINK && given_up && limit > 0)
        return lunette_fail(err, code, why.domain, why.detail,
                            "%s: the session was not recovered within %d s, and what was under way "
                            "may have been executed: %s",
                            what, limit, why.msg);
    if (code == -ENOLINK)
        return lunette_fail(err, code, why.domain, why.detail,
                            "%s: the connection was lost with the command under way, which may "
                            "have been executed: %s",
                            what, why.msg);
    if (s->gone)
        return lunette_fail(err, code, why.domain, why.detail, "%s: the session is gone: %s", what,
                            why.msg);
    if (limit <= 0)
        return lunette_fail(err, code, why.domain, why.detail, "%s: the connection is lost: %s",
                            what, why.msg);
    return lunette_fail(err, code, why.domain, why.detail,
                        "%s: the session was not recovered within %d s: %s", what, limit, why.msg);
}

/* A time limit is over while the session is lost: what had been sent then is not aborted, and may
 * not have been sent at all. */
static int
io_late_in_outage(const struct lunette_session *s, const char *what, struct lunette_error *err)
{
    struct lunette_error why;

    api_session_why(s, &why);
    return lunette_fail(err, -ETIMEDOUT, LUNETTE_DOM_TIMEOUT, ETIMEDOUT,
                        "%s: not done in time, since there is no connection: %s", what,
                        why.code != 0 ? why.msg : "it was lost");
}

int
api_result(const struct lunette_lun *lun, const struct bdev_result *r, const uint8_t *sense,
           const char *what, struct lunette_error *err)
{
    const struct lunette_error *why = lun->dev != NULL ? stack_device_why(lun->dev) : NULL;
    char text[160];
    struct scsi_sense se;
    uint32_t detail = (uint32_t)r->scsi_status << 24;

    if (r->err == 0)
        return 0;
    if (r->err == -ENOLINK || r->err == -ENOTCONN)
        return io_no_connection(lun->s, why, r->err, what, err);
    if (r->err == -ETIMEDOUT && lun->s->lost)
        return io_late_in_outage(lun->s, what, err);
    if (why != NULL && why->code == r->err) /* all requests fail so */
        return lunette_fail(err, r->err, why->domain, why->detail, "%s: %s", what, why->msg);
    if (r->sense_len > 0 && sense_parse(sense, r->sense_len, &se)) {
        detail |= (uint32_t)se.key << 16 | (uint32_t)se.asc << 8 | se.ascq;
        (void)sense_format(&se, text, sizeof(text));
        return lunette_fail(err, r->err, io_err_domain(r), detail, "%s: %s", what, text);
    }
    if (r->scsi_status != 0 && r->err != -EBADE)
        return lunette_fail(err, r->err, io_err_domain(r), detail, "%s: the target answered %s",
                            what, scsi_status_name(r->scsi_status));
    return lunette_fail(err, r->err, io_err_domain(r), detail, "%s: %s", what, io_err_text(r->err));
}

/* A synchronous call.  It is no part of the caller's stack: where the loop cannot run, nobody waits
 * for the end of the request any more, which comes when the loop runs again or ends. */
struct sync {
    struct bdev_req req;
    struct lunette_lun *lun;
    struct loop_timer limit; /* runs where the call has a time limit */
    bool done;
    bool left; /* nobody waits */
    struct iovec iov[2];
    uint8_t sense[SCSI_SENSE_MAX];
};

static void
io_sync_done(struct bdev_req *r)
{
    struct sync *s = container_of(r, struct sync, req);

    loop_timer_stop(s->lun->s->ctx->loop, &s->limit);
    s->done = true;
    if (s->left)
        free(s);
}

static void
io_time_is_up(struct loop_timer *t)
{
    struct sync *s = container_of(t, struct sync, limit);

    bdev_cancel(s->lun->q, &s->req, -ETIMEDOUT);
}

/* Makes the queue that the synchronous calls share, for the first of them, and a deeper one for a
 * call that is cut into more pieces.  Most calls are one piece, and of a program with thousands of
 * units most never see such a call: so it is not made before, and no deeper. */
static int
io_sync_queue(struct lunette_lun *lun, uint64_t len)
{
    uint64_t max = bdev_get_limits(lun->disk->bdev)->max_transfer, depth = 1;
    struct bdev_queue *q = NULL;
    int r;

    while (depth < SYNC_DEPTH_MAX && depth * max < len)
        depth *= 2;
    if (lun->q != NULL && (depth <= lun->q->depth || bdev_queue_outstanding(lun->q) > 0))
        return 0;
    r = bdev_queue_new(lun->disk->bdev, lun->s->ctx->loop, (uint32_t)depth, &q);
    if (r < 0)
        return lun->q != NULL ? 0 : r;
    bdev_queue_free(&lun->q);
    lun->q = q;
    return 0;
}

static int
io_no_disk(const struct lunette_lun *lun, const char *what, struct lunette_error *err)
{
    return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                        "%s: the logical unit is not a disk that came up (type 0x%02x)", what,
                        lun->dev->type);
}

int
api_no_unit(const char *what, struct lunette_error *err)
{
    return lunette_fail(err, -ENXIO, LUNETTE_DOM_USAGE, 0,
                        "%s: only a session was opened, without a logical unit", what);
}

/* Most calls find what the one before has left. */
static struct sync *
io_sync_take(struct lunette_lun *lun, const struct bdev_req *req)
{
    struct sync *s = lun->sync;

    if (s == NULL)
        s = malloc(sizeof(*s));
    if (s == NULL)
        return NULL;
    lun->sync = NULL;
    s->req = *req;
    for (uint32_t i = 0; i < req->iovcnt; i++)
        s->iov[i] = req->iov[i];
    s->req.iov = s->iov;
    s->req.done = io_sync_done;
    s->req.sense = s->sense;
    s->lun = lun;
    s->done = s->left = false;
    loop_timer_init(&s->limit, io_time_is_up);
    return s;
}

static void
io_sync_put(struct sync *s)
{
    struct lunette_lun *lun = s->lun;

    if (lun->sync == NULL)
        lun->sync = s;
    else /* of a call from inside the other */
        free(s);
}

/* Says why a request cannot be tried. */
static int
io_bad_range(const struct lunette_lun *lun, const struct bdev_req *req, const char *what,
             struct lunette_error *err)
{
    const struct bdev_limits *l = bdev_get_limits(lun->disk->bdev);
    uint32_t block = l->block_size, max_compare = l->max_compare_write;

    if (req->op == BDEV_COMPARE_WRITE && req->len > max_compare)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s: %llu bytes are too many: the device does it with %u at most", what,
                            (unsigned long long)req->len, max_compare);
    if (block != 0 && (req->offset % block != 0 || req->len % block != 0))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "%s: %llu bytes at offset %llu are misaligned: the block size is %u",
                            what, (unsigned long long)req->len, (unsigned long long)req->offset,
                            block);
    return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                        "%s: %llu bytes at offset %llu reach past the end: the logical unit has "
                        "%llu bytes",
                        what, (unsigned long long)req->len, (unsigned long long)req->offset,
                        (unsigned long long)l->size);
}

/* Waits for a request.  lun is in use meanwhile: no callback may close it. */
static int
io_wait(struct lunette_lun *lun, const bool *done, struct lunette_error *err)
{
    int r;

    lun->queues++;
    r = api_wait(lun->s->ctx, done, err);
    lun->queues--;
    return r;
}

/* Where the first byte differs that the device has told of. */
static uint64_t
io_differs(const struct sync *s, uint64_t len)
{
    uint64_t at;

    return s->req.result.err == -EILSEQ &&
                   lunette_sense_information(s->sense, s->req.result.sense_len, &at) == 0 &&
                   at < len
               ? at
               : UINT64_MAX;
}

/* Submits the request and waits for its end. */
static int
io_sync_run(struct lunette_lun *lun, struct sync *s, const char *what, struct lunette_error *err)
{
    int r = bdev_submit(lun->q, &s->req);

    if (r == -EINVAL)
        return io_bad_range(lun, &s->req, what, err);
    if (r < 0) {
        s->req.result = (struct bdev_result){.err = r};
        return api_result(lun, &s->req.result, NULL, what, err);
    }
    if (lun->timeout_ms != 0)
        loop_timer_start(lun->s->ctx->loop, &s->limit, lun->timeout_ms * LOOP_NS_PER_MS);
    bdev_commit(lun->q);
    r = io_wait(lun, &s->done, err);
    if (r < 0) {
        s->left = true;
        bdev_cancel(lun->q, &s->req, -ECANCELED);
        return r;
    }
    return api_result(lun, &s->req.result, s->sense, what, err);
}

/* A request as it is, of which done and sense are not set, with at most two pieces of memory.
 * ret_differs: NULL, or as for lunette_compare_and_write. */
static int
io_run(struct lunette_lun *lun, const struct bdev_req *req, const char *what, uint64_t *ret_differs,
       struct lunette_error *err)
{
    struct sync *s;
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (lun->dev == NULL)
        return api_no_unit(what, err);
    if (lun->disk == NULL)
        return io_no_disk(lun, what, err);
    r = io_sync_queue(lun, req->len);
    s = r == 0 ? io_sync_take(lun, req) : NULL;
    if (s == NULL) {
        r = r < 0 ? r : -ENOMEM;
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s: %s", what, errno_text(-r));
    }
    r = io_sync_run(lun, s, what, err);
    if (s->left)
        return r;
    if (ret_differs != NULL && r == -EILSEQ)
        *ret_differs = io_differs(s, req->len);
    io_sync_put(s);
    return r;
}

int
lunette_pread(struct lunette_lun *lun, void *buf, size_t len, uint64_t offset,
              struct lunette_error *err)
{
    const struct iovec iov = {buf, len};
    const struct bdev_req req = {
        .op = BDEV_READ, .offset = offset, .len = len, .iov = &iov, .iovcnt = 1};

    return io_run(lun, &req, "read", NULL, err);
}

int
lunette_set_timeout(struct lunette_lun *lun, uint32_t timeout_ms)
{
    lun->timeout_ms = timeout_ms;
    return 0;
}

int
api_refuse_write(const struct lunette_lun *lun, uint32_t unknown_flags, const char *what,
                 struct lunette_error *err)
{
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (unknown_flags != 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "%s: unknown flags 0x%x", what,
                            unknown_flags);
    return lun->flags & LUNETTE_OPEN_RDONLY
               ? lunette_fail(err, -EROFS, LUNETTE_DOM_USAGE, 0, "%s: opened read-only", what)
               : 0;
}

int
lunette_pwrite(struct lunette_lun *lun, const void *buf, size_t len, uint64_t offset,
               uint32_t flags, struct lunette_error *err)
{
    const struct iovec iov = {(void *)(uintptr_t)buf, len};
    const struct bdev_req req = {.op = BDEV_WRITE,
                                 .flags = flags & LUNETTE_FUA ? BDEV_F_FUA : 0,
                                 .offset = offset,
                                 .len = len,
                                 .iov = &iov,
                                 .iovcnt = 1};
    int r = api_refuse_write(lun, flags & ~API_WRITE_FLAGS, "write", err);

    return r < 0 ? r : io_run(lun, &req, "write", NULL, err);
}

int
lunette_flush(struct lunette_lun *lun, struct lunette_error *err)
{
    const struct bdev_req req = {.op = BDEV_FLUSH};

    return io_run(lun, &req, "flush", NULL, err);
}

int
lunette_discard(struct lunette_lun *lun, uint64_t len, uint64_t offset, struct lunette_error *err)
{
    const struct bdev_req req = {.op = BDEV_DISCARD, .offset = offset, .len = len};
    int r = api_refuse_write(lun, 0, "discard", err);

    return r < 0 ? r : io_run(lun, &req, "discard", NULL, err);
}

int
lunette_write_zeroes(struct lunette_lun *lun, uint64_t len, uint64_t offset, uint32_t flags,
                     struct lunette_error *err)
{
    const struct bdev_req req = {.op = BDEV_WRITE_ZEROES,
                                 .flags = (flags & LUNETTE_FUA ? BDEV_F_FUA : 0) |
                                          (flags & LUNETTE_NO_UNMAP ? BDEV_F_NO_UNMAP : 0),
                                 .offset = offset,
                                 .len = len};
    int r = api_refuse_write(lun, flags & ~API_ZERO_FLAGS, "write zeroes", err);

    return r < 0 ? r : io_run(lun, &req, "write zeroes", NULL, err);
}

int
lunette_sense_information(const uint8_t *sense, size_t len, uint64_t *ret)
{
    struct scsi_sense s;

    if (sense == NULL || !sense_parse(sense, len, &s) || !s.has_info)
        return -ENOENT;
    *ret = s.info;
    return 0;
}

int
lunette_compare_and_write(struct lunette_lun *lun, const void *expected, const void *data,
                          size_t len, uint64_t offset, uint32_t flags, uint64_t *ret_differs,
                          struct lunette_error *err)
{
    const struct iovec iov[2] = {{(void *)(uintptr_t)expected, len},
                                 {(void *)(uintptr_t)data, len}};
    const struct bdev_req req = {.op = BDEV_COMPARE_WRITE,
                                 .flags = flags & LUNETTE_FUA ? BDEV_F_FUA : 0,
                                 .offset = offset,
                                 .len = len,
                                 .iov = iov,
                                 .iovcnt = 2};
    int r = api_refuse_write(lun, flags & ~API_WRITE_FLAGS, "compare and write", err);

    if (ret_differs != NULL)
        *ret_differs = UINT64_MAX;
    return r < 0 ? r : io_run(lun, &req, "compare and write", ret_differs, err);
}

/* ---- raw CDBs ------------------------------------------------------------------------------- */

int
api_scsi_check(const struct lunette_scsi *cmd, struct lunette_error *err)
{
    if (!api_size_possible(cmd->struct_size, API_FIRST_SCSI))
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "lunette_scsi.struct_size is no size of a version: initialize the "
                            "structure with LUNETTE_INIT");
    for (size_t i = sizeof(*cmd); i < cmd->struct_size; i++) {
        if (((const char *)cmd)[i] != 0)
            return lunette_fail(err, -E2BIG, LUNETTE_DOM_USAGE, 0,
                                "lunette_scsi: something is set that this library (%s) does not "
                                "know; a newer one is needed",
                                lunette_version());
    }
    return 0;
}

int
api_exec_prepare(const struct lunette_lun *lun, const struct lunette_scsi *cmd, struct iovec iov[2],
                 struct scsi_exec *x)
{
    if (cmd->cdb_len < 6 || cmd->cdb_len > SCSI_CDB_MAX || cmd->in_len > UINT32_MAX ||
        cmd->out_len > UINT32_MAX)
        return -EINVAL;
    if ((lun->flags & LUNETTE_OPEN_RDONLY) && cmd->out_len > 0)
        return -EROFS;
    memset(x, 0, offsetof(struct scsi_exec, io)); /* io is scsi/'s to set up, and large */
    x->cdb = cmd->cdb;
    x->cdb_len = (uint16_t)cmd->cdb_len;
    x->timeout_ms = cmd->timeout_ms;
    iov[0] = (struct iovec){(void *)(uintptr_t)cmd->out, cmd->out_len};
    iov[1] = (struct iovec){cmd->in, cmd->in_len};
    if (cmd->out_len > 0)
        x->out = sg_from_iov(&iov[0], 1, 0, (uint32_t)cmd->out_len);
    if (cmd->in_len > 0)
        x->in = sg_from_iov(&iov[1], 1, 0, (uint32_t)cmd->in_len);
    return 0;
}

void
api_exec_result(const struct scsi_exec *x, struct lunette_scsi *cmd)
{
    cmd->status = x->result.scsi_status;
    cmd->overflow = x->result.overflow;
    cmd->in_done = x->in_len;
    cmd->out_done = 0;
    if (x->result.err == 0 && x->io.sc.resid_out < cmd->out_len)
        cmd->out_done = cmd->out_len - x->io.sc.resid_out;
    cmd->sense_len = (uint32_t)x->result.sense_len;
    memcpy(cmd->sense, x->io.sc.sense, cmd->sense_len);
}

/* As struct sync: with a copy of what belongs to the caller, but for data that are large. */
struct sync_exec {
    struct scsi_exec x;
    struct loop *loop;
    struct loop_timer limit; /* runs where the call has a time limit */
    bool done;
    bool left; /* nobody waits */
    struct iovec out, in;
    uint8_t cdb[SCSI_CDB_MAX];
    uint8_t data[]; /* to the target, and then from it */
};

static void
io_exec_done(struct scsi_exec *x)
{
    struct sync_exec *s = x->user;

    loop_timer_stop(s->loop, &s->limit);
    s->done = true;
    if (s->left)
        free(s);
}

static void
io_exec_time_is_up(struct loop_timer *t)
{
    stack_cancel(&container_of(t, struct sync_exec, limit)->x, -ETIMEDOUT);
}

/* How much of its data a call has a copy of. */
static uint32_t
io_exec_own(const struct sg *data)
{
    return data->len <= EXEC_OWN_MAX ? data->len : 0;
}

static struct sync_exec *
io_exec_new(struct lunette_lun *lun, const struct scsi_exec *x)
{
    uint32_t out = io_exec_own(&x->out), in = io_exec_own(&x->in);
    struct sync_exec *s = malloc(sizeof(*s) + out + in);

    if (s == NULL)
        return NULL;
    assert(x->cdb_len <= sizeof(s->cdb) && x->out.iovcnt <= 1 && x->in.iovcnt <= 1);
    memcpy(&s->x, x, offsetof(struct scsi_exec, io));
    memcpy(s->cdb, x->cdb, x->cdb_len);
    s->x.cdb = s->cdb;
    s->x.done = io_exec_done;
    s->x.user = s;
    if (x->out.len > 0) {
        s->out = out > 0 ? (struct iovec){s->data, out} : *x->out.iov;
        s->x.out = sg_from_iov(&s->out, 1, 0, x->out.len);
    }
    if (out > 0)
        memcpy(s->data, x->out.iov->iov_base, out);
    if (x->in.len > 0) {
        s->in = in > 0 ? (struct iovec){s->data + out, in} : *x->in.iov;
        s->x.in = sg_from_iov(&s->in, 1, 0, x->in.len);
    }
    if (in > 0) /* what does not come stays as it is */
        memcpy(s->data + out, x->in.iov->iov_base, in);
    s->loop = lun->s->ctx->loop;
    s->done = s->left = false;
    loop_timer_init(&s->limit, io_exec_time_is_up);
    return s;
}

static void
io_exec_take(const struct sync_exec *s, struct scsi_exec *x)
{
    uint32_t in = io_exec_own(&x->in);

    x->result = s->x.result;
    x->in_len = s->x.in_len;
    x->io.sc.resid_out = s->x.io.sc.resid_out;
    memcpy(x->io.sc.sense, s->x.io.sc.sense, s->x.result.sense_len);
    if (in > 0)
        memcpy(x->in.iov->iov_base, s->in.iov_base, in);
}

int
api_exec_run(struct lunette_lun *lun, struct scsi_exec *x, struct lunette_error *err)
{
    struct sync_exec *s = io_exec_new(lun, x);
    int r;

    if (s == NULL)
        return -ENOMEM;
    r = stack_execute(lun->dev, &s->x);
    if (r < 0) {
        free(s);
        return r;
    }
    if (lun->timeout_ms != 0)
        loop_timer_start(s->loop, &s->limit, lun->timeout_ms * LOOP_NS_PER_MS);
    r = io_wait(lun, &s->done, err);
    if (r < 0) {
        s->left = true;
        stack_cancel(&s->x, -ECANCELED);
        return r;
    }
    io_exec_take(s, x);
    free(s);
    return 0;
}

static int
io_too_much(const struct lunette_lun *lun, uint32_t len, struct lunette_error *err)
{
    const struct scsi_host *h = dataplane_host(lun->s->ctx->dp, lun->s->sid);

    return lunette_fail(err, -EMSGSIZE, LUNETTE_DOM_USAGE, 0,
                        "raw command: %u bytes, and one command of this session moves %llu at most",
                        len, h != NULL ? (unsigned long long)h->max_transfer : 0);
}

int
lunette_scsi(struct lunette_lun *lun, struct lunette_scsi *cmd, struct lunette_error *err)
{
    struct scsi_exec x = {0};
    struct iovec iov[2];
    int r = api_error_check(err);

    if (r == 0)
        r = api_scsi_check(cmd, err);
    if (r < 0)
        return r;
    r = api_exec_prepare(lun, cmd, iov, &x);
    cmd->status = 0;
    cmd->in_done = cmd->out_done = cmd->sense_len = 0;
    cmd->overflow = false;
    if (lun->dev == NULL)
        return api_no_unit("raw command", err);
    if (r == -EINVAL)
        return lunette_fail(err, r, LUNETTE_DOM_USAGE, 0, "a CDB has 6..%d bytes", SCSI_CDB_MAX);
    if (r < 0)
        return api_refuse_write(lun, 0, "CDB with data to the target", err);
    r = api_exec_run(lun, &x, err);
    if (r == -EMSGSIZE)
        return io_too_much(lun, x.in.len > x.out.len ? x.in.len : x.out.len, err);
    if (r < 0) {
        x.result.err = r;
        return api_result(lun, &x.result, NULL, "raw command", err);
    }
    api_exec_result(&x, cmd);
    if (x.result.err < 0 && x.result.scsi_status == 0)
        return api_result(lun, &x.result, x.io.sc.sense, "raw command", err);
    return 0;
}
