/* SPDX-License-Identifier: MIT */
/* api/lun.c - opening and closing a logical unit, and listing those of a target. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "wire/lun.h"

#define SYNC_DEPTH 64 /* pieces of one synchronous call under way at once */

struct step { /* one asynchronous step, waited for */
    bool done;
    int err;
    struct scsi_device *dev;
    struct lunette_error why;
};

static void
step_done(void *user, int err, const struct lunette_error *why)
{
    struct step *st = user;

    st->done = true;
    st->err = err;
    if (err < 0 && why != NULL)
        st->why = *why;
}

static void
step_device(void *user, struct scsi_device *dev, const struct lunette_error *why)
{
    struct step *st = user;

    st->dev = dev;
    step_done(user, dev != NULL ? 0 : why->code, why);
}

static int
wait_step(struct lunette_ctx *ctx, struct step *st, int started, struct lunette_error *err)
{
    int r = started;

    if (r == 0)
        r = api_wait(ctx, &st->done, err);
    else
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r));
    if (r == 0 && st->err < 0) {
        r = st->err;
        if (err != NULL)
            *err = st->why;
    }
    return r;
}

void
api_device_info(const struct scsi_device *dev, const struct bdev_limits *l,
                struct lunette_info *ret)
{
    struct lun lun = lun_load(dev->lun);

    memset(ret, 0, sizeof(*ret));
    memcpy(ret->lun_wire, dev->lun, sizeof(ret->lun_wire));
    if (lun_to_number(lun, &ret->lun) < 0)
        ret->lun = lun_to_view(lun);
    ret->type = dev->type;
    (void)snprintf(ret->vendor, sizeof(ret->vendor), "%s", dev->vendor);
    (void)snprintf(ret->product, sizeof(ret->product), "%s", dev->product);
    (void)snprintf(ret->revision, sizeof(ret->revision), "%s", dev->revision);
    (void)snprintf(ret->serial, sizeof(ret->serial), "%s", dev->serial);
    (void)snprintf(ret->name, sizeof(ret->name), "%s", dev->name);
    if (l == NULL)
        return;
    ret->size = l->size;
    ret->block_size = l->block_size;
    ret->physical_block_size = l->physical_block;
    ret->max_transfer = l->max_transfer;
    ret->optimal_transfer = l->opt_transfer;
    ret->max_discard = l->max_discard;
    ret->max_write_zeroes = l->max_write_zeroes;
    ret->max_compare_write = l->max_compare_write;
    ret->read_only = l->read_only;
    ret->write_cache = l->write_cache;
    ret->fua = l->fua;
    ret->rotational = l->rotational;
    ret->thin = scsi_disk_thin(dev);
}

/* ---- open ----------------------------------------------------------------------------------- */

static int
find_device(struct lunette_lun *lun, struct lunette_error *err)
{
    struct step st = {0};
    int r = scsi_scan_lun(lun->s.target, lun->s.url.lun, step_device, &st);

    r = wait_step(lun->s.ctx, &st, r, err);
    if (r == 0)
        lun->dev = st.dev;
    return r;
}

static void
resized(struct bdev_listener *l, struct bdev *b, enum bdev_event ev)
{
    struct lunette_lun *lun = container_of(l, struct lunette_lun, listener);
    int error = lun->info.error;

    (void)ev;
    api_device_info(lun->dev, bdev_get_limits(b), &lun->info);
    lun->info.error = error;
}

static int
start_disk(struct lunette_lun *lun, struct lunette_error *err)
{
    struct step st = {0};
    int r = scsi_disk_start(lun->dev, step_done, &st);

    if (r == -EMEDIUMTYPE)
        return lunette_fail(
            err, r, LUNETTE_DOM_NOTFOUND, 0,
            "the logical unit is not a disk (device type 0x%02x): only raw commands "
            "reach it",
            lun->dev->type);
    r = wait_step(lun->s.ctx, &st, r, err);
    if (r < 0)
        return r;
    r = bdev_new(&scsi_disk_ops, lun->dev, scsi_disk_limits(lun->dev), &lun->bdev);
    if (r == 0) {
        scsi_disk_plug(lun->dev, &blk_upcalls, lun->bdev);
        if (lun->s.url.timeout_ms > 0)
            bdev_set_timeout(lun->bdev, lun->s.url.timeout_ms);
        r = bdev_queue_new(lun->bdev, lun->s.ctx->loop, SYNC_DEPTH, &lun->q);
    }
    if (r < 0) {
        scsi_disk_plug(lun->dev, NULL, NULL);
        bdev_free(&lun->bdev);
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "no block device: %s",
                            errno_text(-r));
    }
    lun->listener.event = resized;
    bdev_listen(lun->bdev, &lun->listener);
    return 0;
}

static int
bring_up(struct lunette_lun *lun, struct lunette_error *err)
{
    int r = find_device(lun, err);

    if (r < 0)
        return r;
    r = start_disk(lun, err);
    if (r < 0 && !(lun->flags & LUNETTE_OPEN_RAW))
        return r;
    api_device_info(lun->dev, lun->bdev != NULL ? bdev_get_limits(lun->bdev) : NULL, &lun->info);
    lun->info.error = r;
    return 0;
}

int
lunette_open(struct lunette_ctx *ctx, const char *url, uint32_t flags, struct lunette_lun **ret,
             struct lunette_error *err)
{
    struct lunette_lun *lun = calloc(1, sizeof(*lun));
    int r;

    if (lun == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    lun->flags = flags;
    r = api_session_open(ctx, url, &lun->s, err);
    if (r < 0) {
        free(lun);
        return r;
    }
    ctx->handles++;
    r = bring_up(lun, err);
    if (r < 0) {
        if (lun->s.dead && lun->s.why.code != 0 && err != NULL)
            *err = lun->s.why; /* the reason behind the reason */
        lunette_close(lun);
        return r;
    }
    *ret = lun;
    return 0;
}

/* ---- close ---------------------------------------------------------------------------------- */

static void
drained(void *user)
{
    *(bool *)user = true;
}

static void
removed(void *user, int err)
{
    (void)err; /* nobody is left to tell; scsi/ logs a cache that could not be flushed */
    *(bool *)user = true;
}

static void
quiesce(struct lunette_lun *lun)
{
    bool done = false;

    if (bdev_drain(lun->bdev, drained, &done) == -EINPROGRESS)
        (void)api_wait(lun->s.ctx, &done, NULL);
    done = false;
    if (!lun->s.dead && scsi_device_remove(lun->dev, removed, &done) == 0)
        (void)api_wait(lun->s.ctx, &done, NULL);
}

void
lunette_close(struct lunette_lun *lun)
{
    if (lun == NULL)
        return;
    assert(lun->queues == 0);
    if (lun->bdev != NULL) {
        quiesce(lun);
        bdev_unlisten(&lun->listener);
        scsi_disk_plug(lun->dev, NULL, NULL);
        bdev_queue_free(&lun->q);
        bdev_free(&lun->bdev);
    }
    api_session_close(&lun->s);
    lun->s.ctx->handles--;
    free(lun);
}

void
lunette_get_info(const struct lunette_lun *lun, struct lunette_info *ret)
{
    *ret = lun->info;
}

void
lunette_get_session_info(const struct lunette_lun *lun, struct lunette_session_info *ret)
{
    api_session_info(&lun->s, ret);
}

/* ---- listing -------------------------------------------------------------------------------- */

static size_t
count_devices(struct scsi_target *t)
{
    size_t n = 0;

    for (struct scsi_device *d = scsi_first_device(t); d != NULL; d = scsi_next_device(d))
        n++;
    return n;
}

static int
list(struct api_session *s, struct lunette_info **ret, size_t *ret_count, struct lunette_error *err)
{
    struct step st = {0};
    struct lunette_info *info;
    size_t n = 0;
    int r = wait_step(s->ctx, &st, scsi_scan(s->target, step_done, &st), err);

    if (r < 0)
        return r;
    info = calloc(count_devices(s->target) + 1, sizeof(*info));
    if (info == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (struct scsi_device *d = scsi_first_device(s->target); d != NULL; d = scsi_next_device(d)) {
        struct step up = {0};

        r = scsi_disk_start(d, step_done, &up);
        if (r == 0)
            r = wait_step(s->ctx, &up, 0, NULL);
        api_device_info(d, r == 0 ? scsi_disk_limits(d) : NULL, &info[n]);
        info[n++].error = r == -EMEDIUMTYPE ? 0 : r;
    }
    *ret = info;
    *ret_count = n;
    return 0;
}

int
lunette_list_luns(struct lunette_ctx *ctx, const char *url, struct lunette_info **ret,
                  size_t *ret_count, struct lunette_session_info *ret_session,
                  struct lunette_error *err)
{
    struct api_session *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    r = api_session_open(ctx, url, s, err);
    if (r == 0) {
        r = list(s, ret, ret_count, err);
        if (r < 0 && s->dead && err != NULL)
            *err = s->why;
        if (ret_session != NULL)
            api_session_info(s, ret_session);
        api_session_close(s);
    }
    free(s);
    return r;
}
