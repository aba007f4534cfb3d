/* SPDX-License-Identifier: MIT */
/* api/open.c - a logical unit's way up and its way down, step by step from the loop.
 *
 * The way up is session, scan of the LUN, disk.  When a step fails, what there is is closed again,
 * and the caller hears of the failure when nothing is left.  The calls that wait for the end are
 * made of those that do not.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
#include "wire/lun.h"

#define OPEN_FLAGS                                                                                 \
    (LUNETTE_OPEN_RDONLY | LUNETTE_OPEN_RAW | LUNETTE_OPEN_SESSION | LUNETTE_OPEN_ZERO_COPY |      \
     LUNETTE_OPEN_ANY_LUN)

struct lunette_open {
    struct lunette_lun *lun;
    void (*done)(void *user, struct lunette_lun *lun, const struct lunette_error *err);
    void *user;
    struct lunette_error err; /* why it failed, while it is being closed again */
    size_t err_size;          /* that the caller's has */
    struct loop_timer later;
};

/* Tells that the opening has failed.  A program that knows a larger structure copies all of it, so
 * it gets one: zero behind what this library knows. */
static void
open_tell_failure(const struct lunette_open *op)
{
    union {
        struct lunette_error err;
        char room[API_SIZED_MAX];
    } told;

    memset(&told, 0, sizeof(told));
    told.err.struct_size = op->err_size;
    (void)lunette_fail_as(&told.err, &op->err);
    op->done(op->user, NULL, &told.err);
}

/* The opening is over: lun is the caller's, or NULL, and op->err says why. */
static void
open_tell(struct lunette_open *op, struct lunette_lun *lun)
{
    assert(lun == NULL || lun->op == NULL);
    if (lun != NULL)
        op->done(op->user, lun, NULL);
    else
        open_tell_failure(op);
    free(op);
}

/* ---- down ----------------------------------------------------------------------------------- */

static void
lun_closed(struct api_session *s)
{
    struct lunette_lun *lun = container_of(s, struct lunette_lun, s);
    void (*closed)(void *user) = lun->closed;
    struct lunette_open *op = lun->op;
    void *user = lun->closed_user;

    assert(lun->disk == NULL);
    if (op != NULL)
        s->ctx->handles--;
    else
        s->ctx->closing--;
    free(lun);
    if (op != NULL)
        open_tell(op, NULL);
    else if (closed != NULL)
        closed(user);
}

static void
lun_disk_closed(void *user, int err)
{
    struct lunette_lun *lun = user;

    (void)err; /* the midlayer logs what may not be on stable storage */
    assert(lun->disk != NULL && lun->op == NULL);
    lun->disk = NULL;
    lun->q = NULL; /* the block device took it along */
    api_session_close_start(&lun->s, lun_closed);
}

void
lunette_close_start(struct lunette_lun *lun, void (*done)(void *user), void *user)
{
    assert(lun->queues == 0 && lun->op == NULL);
    assert(lun->closed == NULL && lun->s.closed == NULL && lun->s.ctx->handles > 0);
    lun->closed = done;
    lun->closed_user = user;
    lun->s.ctx->handles--;
    lun->s.ctx->closing++;
    if (lun->disk == NULL) {
        api_session_close_start(&lun->s, lun_closed);
        return;
    }
    bdev_unlisten(&lun->listener);
    stack_disk_close(lun->disk, lun_disk_closed, lun);
}

static void
lun_closed_flag(void *user)
{
    *(bool *)user = true;
}

void
lunette_close(struct lunette_lun *lun)
{
    struct lunette_ctx *ctx;
    bool done = false;

    if (lun == NULL)
        return;
    ctx = lun->s.ctx;
    lunette_close_start(lun, lun_closed_flag, &done);
    (void)api_wait(ctx, &done, NULL);
}

/* ---- up ------------------------------------------------------------------------------------- */

static void
open_give_up(struct loop_timer *t)
{
    struct lunette_open *op = container_of(t, struct lunette_open, later);
    struct lunette_lun *lun = op->lun;

    if (lun->s.dead && lun->s.why.code != 0)
        (void)lunette_fail_as(&op->err,
                              &lun->s.why); /* what ended the session explains what failed on it */
    api_session_close_start(&lun->s, lun_closed);
}

/* The opening has failed: lun is closed again, from the next turn on.  A command that fails with
 * its connection comes back before it is told that the connection failed, which is the better
 * reason. */
static void
open_fail(struct lunette_lun *lun, const struct lunette_error *err)
{
    assert(lun->op != NULL && err->code < 0 && lun->s.closed == NULL);
    (void)lunette_fail_as(&lun->op->err, err);
    loop_timer_start(lun->s.ctx->loop, &lun->op->later, 0);
}

static void
open_finish(struct lunette_lun *lun, int disk_err)
{
    struct lunette_open *op = lun->op;

    assert(op != NULL && lun->s.closed == NULL);
    lun->op = NULL;
    if (lun->dev != NULL)
        api_device_info(lun->dev, lun->disk != NULL ? bdev_get_limits(lun->disk->bdev) : NULL,
                        &lun->info);
    lun->info.error = disk_err;
    open_tell(op, lun);
}

static void
lun_resized(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    struct lunette_lun *lun = container_of(l, struct lunette_lun, listener);
    int error = lun->info.error;

    (void)ev;
    api_device_info(lun->dev, bdev_get_limits(b), &lun->info);
    lun->info.error = error;
}

/* The device is no disk, or its disk does not come up; that is enough for a caller who only wants
 * to send raw commands. */
static void
open_no_disk(struct lunette_lun *lun, const struct lunette_error *err)
{
    if (lun->flags & LUNETTE_OPEN_RAW)
        open_finish(lun, err->code);
    else
        open_fail(lun, err);
}

static void
open_disk_up(void *user, struct stack_disk *disk, const struct lunette_error *why)
{
    struct lunette_lun *lun = user;

    if (lun->op == NULL)
        return; /* the opening was canceled; the disk ends with its session */
    if (disk == NULL) {
        open_no_disk(lun, why);
        return;
    }
    lun->disk = disk;
    lun->listener.event = lun_resized;
    bdev_listen(disk->bdev, &lun->listener);
    open_finish(lun, 0);
}

/* Says what dev is, where it is no disk.  LUN 0 of some targets (tgt) is a controller, and their
 * disks begin at LUN 1. */
static void
open_not_a_disk(const struct scsi_device *dev, struct lunette_error *err)
{
    static const struct {
        uint8_t type;
        const char *name;
    } known[] = {{0x01, "tape"},       {0x05, "CD or DVD"}, {0x08, "changer"},
                 {0x0c, "controller"}, {0x0d, "enclosure"}, {0x1f, "no device"}};
    struct lun lun = lun_load(dev->lun);
    const char *name = "another device";
    uint64_t number = 0;
    bool first;

    if (lun_to_number(lun, &number) < 0)
        number = lun_to_view(lun);
    first = number == 0 && dev->type == 0x0c;
    for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (known[i].type == dev->type)
            name = known[i].name;
    }
    (void)lunette_fail(err, -EMEDIUMTYPE, LUNETTE_DOM_NOTFOUND, 0,
                       "LUN %llu is not a disk: %s%s (device type 0x%02x, only raw commands reach "
                       "it)",
                       (unsigned long long)number, name, first ? "; try /1" : "", dev->type);
}

static void
open_lun_found(void *user, struct scsi_device *dev, const struct lunette_error *why)
{
    struct lunette_lun *lun = user;
    struct lunette_error e;
    int r;

    if (lun->op == NULL)
        return;
    if (dev == NULL) {
        open_fail(lun, why);
        return;
    }
    lun->dev = dev;
    r = stack_disk_start(lun->s.stack, dev, open_disk_up, lun, NULL);
    if (r == 0)
        return;
    if (r == -EMEDIUMTYPE)
        open_not_a_disk(dev, &e);
    else
        (void)lunette_fail(&e, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r));
    open_no_disk(lun, &e);
}

static void
open_session_up(struct api_session *s, const struct lunette_error *err)
{
    struct lunette_lun *lun = container_of(s, struct lunette_lun, s);
    struct lunette_error e;
    int r;

    if (err != NULL) {
        open_fail(lun, err);
    } else if (lun->flags & LUNETTE_OPEN_SESSION) {
        open_finish(lun, 0);
    } else {
        r = lun->flags & LUNETTE_OPEN_ANY_LUN
                ? stack_add_lun(s->stack, lun->lun_wire, open_lun_found, lun)
                : stack_scan_lun(s->stack, lun->lun_wire, open_lun_found, lun);
        if (r < 0) {
            (void)lunette_fail(&e, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r));
            open_fail(lun, &e);
        }
    }
}

int
lunette_open_start(struct lunette_ctx *ctx, const char *url, uint32_t flags,
                   void (*done)(void *user, struct lunette_lun *lun,
                                const struct lunette_error *err),
                   void *user, struct lunette_open **ret, struct lunette_error *err)
{
    struct lunette_lun *lun = calloc(1, sizeof(*lun));
    struct lunette_open *op = calloc(1, sizeof(*op));
    int r = api_error_check(err);

    if (r < 0)
        goto fail;
    if (flags & ~OPEN_FLAGS) {
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "open: unknown flags 0x%x",
                         flags & ~OPEN_FLAGS);
        goto fail;
    }
    if ((flags & LUNETTE_OPEN_ANY_LUN) && !(flags & LUNETTE_OPEN_RAW)) {
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "open: LUNETTE_OPEN_ANY_LUN goes with LUNETTE_OPEN_RAW");
        goto fail;
    }
    if (lun == NULL || op == NULL) {
        r = lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
        goto fail;
    }
    *op = (struct lunette_open){.lun = lun, .done = done, .user = user};
    op->err_size = err != NULL ? err->struct_size : 0;
    loop_timer_init(&op->later, open_give_up);
    lun->op = op;
    lun->flags = flags;
    lun->s.zero_copy = (flags & LUNETTE_OPEN_ZERO_COPY) != 0;
    r = api_session_open_start(ctx, url, &lun->s, open_session_up, err);
    if (r < 0)
        goto fail;
    memcpy(lun->lun_wire, lun->s.url->lun, sizeof(lun->lun_wire));
    ctx->handles++;
    if (ret != NULL)
        *ret = op;
    return 0;

fail:
    free(lun);
    free(op);
    return r;
}

void
lunette_open_cancel(struct lunette_open *op)
{
    struct lunette_lun *lun;

    if (op == NULL)
        return;
    lun = op->lun;
    assert(lun->op == op && lun->s.ctx->handles > 0);
    lun->op = NULL;
    lun->s.ctx->handles--;
    lun->s.ctx->closing++;
    loop_timer_stop(lun->s.ctx->loop, &op->later);
    if (lun->s.closed == NULL) /* else it has failed, and is being closed already */
        api_session_close_start(&lun->s, lun_closed);
    free(op);
}

struct open_wait {
    bool done;
    struct lunette_lun *lun;
    struct lunette_error err;
};

static void
open_wait_done(void *user, struct lunette_lun *lun, const struct lunette_error *err)
{
    struct open_wait *w = user;

    w->done = true;
    w->lun = lun;
    if (err != NULL)
        w->err = *err;
}

int
lunette_open(struct lunette_ctx *ctx, const char *url, uint32_t flags, struct lunette_lun **ret,
             struct lunette_error *err)
{
    struct lunette_open *op = NULL;
    struct open_wait w = {0};
    int r = lunette_open_start(ctx, url, flags, open_wait_done, &w, &op, err);

    if (r < 0)
        return r;
    r = api_wait(ctx, &w.done, err);
    if (r < 0) {
        lunette_open_cancel(op);
        return r;
    }
    if (w.lun == NULL)
        return lunette_fail_as(err, &w.err);
    *ret = w.lun;
    return 0;
}
