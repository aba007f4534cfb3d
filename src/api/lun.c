/* SPDX-License-Identifier: MIT */
/* api/lun.c - what is known of a logical unit, and listing those of a target. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "wire/lun.h"

struct step { /* one of several steps, whose end a synchronous call waits for */
    bool done;
    int err;
    struct lunette_error why;
};

static void
list_step_done(void *user, int err, const struct lunette_error *why)
{
    struct step *st = user;

    st->done = true;
    st->err = err;
    if (err < 0 && why != NULL)
        st->why = *why;
}

static int
list_wait(struct lunette_ctx *ctx, struct step *st, int started, struct lunette_error *err)
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
    ret->thin = stack_disk_thin(dev);
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
list_count(struct stack *s)
{
    size_t n = 0;

    for (struct scsi_device *d = stack_first_device(s); d != NULL; d = stack_next_device(d))
        n++;
    return n;
}

struct list_disk { /* a disk that a synchronous call brings up and waits for */
    struct step st;
    struct stack_disk *disk;
};

static void
list_disk_up(void *user, struct stack_disk *d, const struct lunette_error *why)
{
    struct list_disk *up = user;

    up->disk = d;
    list_step_done(&up->st, why != NULL ? why->code : 0, why);
}

static int
list_devices(struct api_session *s, struct lunette_info **ret, size_t *ret_count,
             struct lunette_error *err)
{
    struct step st = {0};
    struct lunette_info *info;
    size_t n = 0;
    int r = list_wait(s->ctx, &st, stack_scan(s->stack, list_step_done, &st), err);

    if (r < 0)
        return r;
    info = calloc(list_count(s->stack) + 1, sizeof(*info));
    if (info == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (struct scsi_device *d = stack_first_device(s->stack); d != NULL;
         d = stack_next_device(d)) {
        struct list_disk up = {0};

        r = stack_disk_start(s->stack, d, list_disk_up, &up, NULL);
        if (r == 0)
            r = list_wait(s->ctx, &up.st, 0, NULL);
        api_device_info(d, r == 0 ? bdev_get_limits(up.disk->bdev) : NULL, &info[n]);
        info[n++].error = r == -EMEDIUMTYPE ? 0 : r;
    }
    *ret = info;
    *ret_count = n;
    return 0;
}

struct list_session {
    struct api_session s;
    struct step st;
};

static void
list_opened(struct api_session *s, const struct lunette_error *err)
{
    struct list_session *l = container_of(s, struct list_session, s);

    list_step_done(&l->st, err != NULL ? err->code : 0, err);
}

static void
list_closed(struct api_session *s)
{
    container_of(s, struct list_session, s)->st.done = true;
}

static void
list_close(struct list_session *l)
{
    l->st = (struct step){0};
    api_session_close_start(&l->s, list_closed);
    (void)api_wait(l->s.ctx, &l->st.done, NULL);
}

int
lunette_list_luns(struct lunette_ctx *ctx, const char *url, struct lunette_info **ret,
                  size_t *ret_count, struct lunette_session_info *ret_session,
                  struct lunette_error *err)
{
    struct list_session *l = calloc(1, sizeof(*l));
    int r;

    if (l == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    r = api_session_open_start(ctx, url, &l->s, list_opened, err);
    if (r < 0) {
        free(l);
        return r;
    }
    r = list_wait(ctx, &l->st, 0, err);
    if (r == 0) {
        r = list_devices(&l->s, ret, ret_count, err);
        if (r < 0 && l->s.dead && err != NULL)
            *err = l->s.why;
        if (ret_session != NULL)
            api_session_info(&l->s, ret_session);
    }
    list_close(l);
    free(l);
    return r;
}
