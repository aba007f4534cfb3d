/* SPDX-License-Identifier: MIT */
/* The way of a command through the device server. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "lu/buf.h"
#include "lu/lu.h"
#include "lu/medium.h"
#include "lu/ops.h"
#include "lu/pr.h"
#include "lu/unit.h"
#include "wire/capacity.h"

#define CONTROL_NACA 0x04u

#define ASC_IN_TRANSITION SENSE_ASC(0x04, 0x0a)
#define ASC_STANDBY       SENSE_ASC(0x04, 0x0b)
#define ASC_UNAVAILABLE   SENSE_ASC(0x04, 0x0c)
#define ASC_OFFLINE       SENSE_ASC(0x04, 0x12)
#define ASC_LBA_RANGE     SENSE_ASC(0x21, 0x00)
#define ASC_LUN           SENSE_ASC(0x25, 0x00)
#define ASC_WRITE_PROTECT SENSE_ASC(0x27, 0x00)

/* The number of failed syncs that do not matter to c.  What a write puts into the store is stable
 * when no sync fails from its start to its own sync.  SYNCHRONIZE CACHE is about earlier writes,
 * and some of its nexus may be lost. */
static uint32_t
failures_known(const struct lu_cmd *c)
{
    if (c->op->flags & LU_OP_WRITES)
        return c->lu->sync_failures;
    return c->nexus->sync[c->lu->index].done_with;
}

/* A part of what takes long. */
static uint32_t
cmd_slice(struct lu_work *w)
{
    struct lu_cmd *c = container_of(w, struct lu_cmd, work);

    return c->failed ? 0 : c->op->slice(c);
}

/* All that a command does is done, or it has failed. */
static void
cmd_settle(struct lu_cmd *c)
{
    struct lu *lu = c->lu;

    if (c->failed || !c->sync || lu == NULL || lu->store->ops->sync == NULL) {
        c->dev->router->complete(c);
        return;
    }
    c->flushing = true;
    c->job.store = lu->store;
    lu_flusher_sync(c->dev->flusher, &c->job);
}

static void
count_work(struct lu_cmd *c, uint32_t n)
{
    c->lu->works += n;
    if (c->ordered)
        c->lu->ordered_works += n;
}

static void
cmd_worked(struct lu_work *w)
{
    struct lu_cmd *c = container_of(w, struct lu_cmd, work);

    count_work(c, -1u);
    cmd_settle(c);
}

/* The store has been synced for a command, or has failed to.  The system reports a failure to one
 * sync only, and forgets what it could not write.  So all commands that wait for a sync fail, and
 * the next SYNCHRONIZE CACHE of each nexus.  That goes on failing, since initiators take MEDIUM
 * ERROR as a reason to try again, and would take GOOD as the end of it. */
static void
cmd_synced(struct lu_flush_job *job)
{
    struct lu_cmd *c = container_of(job, struct lu_cmd, job);
    struct lu *lu = c->lu;

    assert(c->flushing);
    c->flushing = false;
    if (job->result < 0) {
        lu->dirty = true;
        lu->sync_failures++;
        lu->sync_error = job->result;
    }
    if (c->ended) {
        c->dev->router->released(c);
        return;
    }
    if (c->sync_failures != lu->sync_failures) {
        lu_cmd_fail_store(c, lu->sync_error, true);
        c->sync_failures = lu->sync_failures;
        c->sync_failed = true;
    }
    c->dev->router->complete(c);
}

void
lu_cmd_init(struct lu_cmd *c)
{
    list_init(&c->link);
    list_init(&c->job.link);
    lu_work_init(&c->work);
    c->job.done = cmd_synced;
}

/* Reports one pending unit attention. */
static bool
unit_attention(struct lu_cmd *c)
{
    uint32_t taken;

    if (!lu_ua_pending(c->nexus, c->lu->index))
        return false;
    lu_cmd_fail(c, SENSE_UNIT_ATTENTION, lu_ua_take(c->nexus, c->lu, &taken));
    c->ua = taken;
    return true;
}

/* The ALUA state does not allow op (SPC-4 5.15.2): the command fails. */
static bool
no_access(struct lu_cmd *c, const struct lu_op *op)
{
    if (c->lu->alua.state == ALUA_NON_OPTIMIZED || c->lu->alua.state == ALUA_LBA_DEPENDENT ||
        (op->flags & (LU_OP_NO_UA | LU_OP_ALUA)) != 0 ||
        (c->lu->alua.state == ALUA_STANDBY && (op->flags & LU_OP_STANDBY) != 0))
        return false;
    switch (c->lu->alua.state) {
    case ALUA_STANDBY:
        lu_cmd_fail(c, SENSE_NOT_READY, ASC_STANDBY);
        break;
    case ALUA_UNAVAILABLE:
        lu_cmd_fail(c, SENSE_NOT_READY, ASC_UNAVAILABLE);
        break;
    case ALUA_TRANSITIONING:
        lu_cmd_fail(c, SENSE_NOT_READY, ASC_IN_TRANSITION);
        break;
    default:
        lu_cmd_fail(c, SENSE_NOT_READY, ASC_OFFLINE);
        break;
    }
    return true;
}

static bool
reserved_elsewhere(const struct lu_cmd *c, const struct lu_op *op)
{
    const struct lu *lu = c->lu;

    if (lu->reserved != NULL && lu->reserved != c->nexus && !(op->flags & LU_OP_RSV6))
        return true;
    return lu->pr.type != LU_PR_NONE && lu_pr_conflict(&lu->pr, c->nexus, op->pr);
}

/* Whether c would overtake a command that is done in slices, or be overtaken by it, although one of
 * them is ORDERED (SAM-5 8.6.3).  That is as rare as it is short: the initiator tries again. */
static bool
out_of_order(const struct lu_cmd *c)
{
    return c->lu->works > 0 && (c->ordered || c->lu->ordered_works > 0);
}

/* LBA and count; they must be on the medium. */
static bool
check_extent(struct lu_cmd *c)
{
    struct scsi_extent e;
    const struct lu *lu = c->lu;
    int r = cdb_extent(c->cdb, sizeof(c->cdb), &e);

    assert(r == 0); /* the table has LU_OP_EXTENT only for opcodes that cdb_extent knows */
    c->lba = e.lba;
    c->blocks = e.blocks;
    if (e.lba > lu->blocks || e.blocks > lu->blocks - e.lba ||
        (e.blocks == 0 && e.lba == lu->blocks)) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LBA_RANGE);
        return false;
    }
    return true;
}

/* False: the command has failed. */
static bool
check_op(struct lu_cmd *c, const struct lu_op *op)
{
    if (!(op->flags & LU_OP_NO_UA) && out_of_order(c)) {
        lu_cmd_fail_status(c, SCSI_BUSY);
        return false;
    }
    if (!(op->flags & LU_OP_NO_UA) && unit_attention(c))
        return false;
    if (__builtin_expect(c->lu->alua.state != ALUA_OPTIMIZED, 0) && no_access(c, op))
        return false;
    if (reserved_elsewhere(c, op)) {
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
        return false;
    }
    if (c->cdb[op->len - 1] & CONTROL_NACA) {
        lu_cmd_fail_field(c, true, (uint16_t)(op->len - 1));
        return false;
    }
    if ((op->flags & LU_OP_PROTECT) && (c->cdb[1] & 0xe0)) {
        lu_cmd_fail_field(c, true, 1);
        return false;
    }
    if ((op->flags & LU_OP_WRITES) && lu_read_only(c->lu)) {
        lu_cmd_fail(c, SENSE_DATA_PROTECT, ASC_WRITE_PROTECT);
        return false;
    }
    return !(op->flags & LU_OP_EXTENT) || check_extent(c);
}

void
lu_cmd_start(struct lu_cmd *c)
{
    const struct lu_op *op;

    assert(c->nexus != NULL && c->nexus->live && c->lu == NULL);
    c->dev = c->nexus->dev;
    c->lu = lu_device_find(c->dev, c->lun);
    if (c->lu != NULL)
        list_push_back(&c->lu->tasks, &c->link);
    if (c->failed)
        return;
    c->status = SCSI_GOOD;
    op = lu_op_find(c);
    if (c->lu == NULL && (op == NULL || !(op->flags & LU_OP_NO_LU))) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LUN);
        return;
    }
    if (op == NULL)
        return;
    c->op = op;
    if (c->lu != NULL)
        c->sync_failures = failures_known(c);
    if (c->lu != NULL && !check_op(c, op))
        return;
    op->start(c);
}

/* Does what is left to do when all data are there. */
static void
finish_op(struct lu_cmd *c)
{
    if (c->op->finish == NULL)
        return;
    if (c->dir == LU_DIR_OUT)
        c->op->finish(c);
    if (!c->failed && c->dir == LU_DIR_NONE && (c->op->flags & LU_OP_EXTENT))
        c->op->finish(c); /* there was nothing to move, but perhaps there is to sync */
}

void
lu_cmd_finish(struct lu_cmd *c)
{
    assert(!c->flushing && !c->ended);
    if (!c->failed)
        finish_op(c);
    if (c->failed || c->op->slice == NULL) {
        cmd_settle(c);
        return;
    }
    c->work.slice = cmd_slice;
    c->work.done = cmd_worked;
    count_work(c, 1);
    lu_work_start(c->dev->worker, &c->nexus->work, &c->work);
}

void
lu_cmd_answered(struct lu_cmd *c)
{
    c->ua = 0;
    if (__builtin_expect(c->sync_failed, 0))
        c->nexus->sync[c->lu->index].told = c->sync_failures;
}

bool
lu_cmd_end(struct lu_cmd *c)
{
    assert(!c->ended);
    if (__builtin_expect(c->ua != 0, 0))
        lu_ua_give_back(c->nexus, c->lu, c->ua);
    c->ua = 0;
    list_del(&c->link);
    if (lu_work_cancel(&c->work))
        count_work(c, -1u);
    /* Else an initiator could pile up syncs: those of tasks that it has aborted. */
    if (c->flushing && lu_flusher_cancel(c->dev->flusher, &c->job))
        c->flushing = false;
    c->ended = c->flushing;
    return !c->flushing;
}

uint8_t *
lu_cmd_place(struct lu_cmd *c, uint32_t off, uint32_t *len)
{
    assert(off < c->len);
    if (*len > c->len - off)
        *len = c->len - off;
    if (c->data == LU_DATA_BUF)
        return c->buf + off;
    if (c->data == LU_DATA_MEDIA && c->lu->mem != NULL)
        return lu_block_memory(c->lu, c->lba) + off;
    return NULL;
}

/* Takes data for a unit without memory. */
static void
write_medium(struct lu_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    int r = lu_medium_write(c->lu, lu_address(c->lu, c->lba) + off, data, len);

    if (r < 0)
        lu_cmd_fail_store(c, r, true);
}

void
lu_cmd_take(struct lu_cmd *c, uint32_t off, const uint8_t *data, uint32_t len)
{
    while (!c->failed && len > 0) {
        uint32_t n = len;
        uint8_t *p = lu_cmd_place(c, off, &n);

        if (p != NULL)
            memcpy(p, data, n);
        else if (c->data == LU_DATA_STREAM)
            c->op->chunk(c, off, data, n);
        else
            write_medium(c, off, data, n);
        off += n;
        data += n;
        len -= n;
    }
}

/* Reads the next part of the command's data into c->buf. */
static bool
read_part(struct lu_cmd *c, uint32_t off)
{
    uint32_t size = c->len - off < LU_PART_MAX ? c->len - off : LU_PART_MAX;
    int r = -ENOMEM;

    c->buf = lu_buf_alloc_unset(size);
    c->buf_size = size;
    c->buf_off = off;
    if (c->buf != NULL)
        r = lu_medium_read(c->lu, lu_address(c->lu, c->lba) + off, c->buf, size);
    if (r == 0)
        return true;
    lu_buf_free(c->buf);
    c->buf = NULL;
    lu_cmd_fail_store(c, r, false);
    return false;
}

/* As lu_cmd_source, for a unit whose store has calls. */
static const uint8_t *
source_by_calls(struct lu_cmd *c, uint32_t off, uint32_t *len, void **ret_owned)
{
    const uint8_t *p;

    if (c->buf == NULL && !read_part(c, off))
        return NULL;
    assert(off >= c->buf_off && off - c->buf_off < c->buf_size);
    off -= c->buf_off;
    p = c->buf + off;
    if (*len >= c->buf_size - off) {
        *len = c->buf_size - off;
        *ret_owned = c->buf;
        c->buf = NULL;
    }
    return p;
}

const uint8_t *
lu_cmd_source(struct lu_cmd *c, uint32_t off, uint32_t *len, void **ret_owned)
{
    assert(off < c->len);
    if (*len > c->len - off)
        *len = c->len - off;
    if (c->data == LU_DATA_BUF)
        return c->buf + off;
    assert(c->data == LU_DATA_MEDIA);
    if (c->lu->mem != NULL)
        return lu_block_memory(c->lu, c->lba) + off;
    if (!lu_is_null(c->lu))
        return source_by_calls(c, off, len, ret_owned);
    if (*len > LU_ZEROS_SIZE)
        *len = LU_ZEROS_SIZE;
    return c->dev->zeros;
}

uint32_t
lu_cmd_part(const struct lu_cmd *c)
{
    bool by_calls = c->data == LU_DATA_MEDIA && c->lu->mem == NULL && !lu_is_null(c->lu);

    return by_calls ? LU_PART_MAX : 0;
}

const uint8_t *
lu_cmd_again(const struct lu_cmd *c, uint32_t off, uint32_t len, void **ret_owned)
{
    uint64_t at;
    void *buf;

    if (c->data == LU_DATA_BUF)
        return c->buf + off;
    if (c->data != LU_DATA_MEDIA)
        return NULL;
    at = lu_address(c->lu, c->lba) + off;
    if (at + len > lu_address(c->lu, c->lu->blocks))
        return NULL; /* the unit is smaller than it was */
    if (c->lu->mem != NULL)
        return lu_block_memory(c->lu, c->lba) + off;
    if (lu_is_null(c->lu))
        return len <= LU_ZEROS_SIZE ? c->dev->zeros : NULL;
    buf = lu_buf_alloc_unset(len);
    if (buf != NULL && lu_medium_read(c->lu, at, buf, len) < 0) {
        lu_buf_free(buf);
        buf = NULL;
    }
    *ret_owned = buf;
    return buf;
}
