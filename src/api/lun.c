/* SPDX-License-Identifier: MIT */
/* api/lun.c - what is known of a logical unit, and listing those of a target. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
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
    if (r == 0 && st->err < 0)
        r = st->why.code < 0 ? lunette_fail_as(err, &st->why)
                             : lunette_fail(err, st->err, LUNETTE_DOM_OS, (uint32_t)-st->err, "%s",
                                            errno_text(-st->err));
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

int
lunette_get_info(const struct lunette_lun *lun, struct lunette_info *ret)
{
    return api_sized_out(ret, API_FIRST_INFO, &lun->info, sizeof(lun->info));
}

int
lunette_get_session_info(const struct lunette_lun *lun, struct lunette_session_info *ret)
{
    return lunette_session_get_info(lun->s, ret);
}

int
lunette_session_get_info(const struct lunette_session *s, struct lunette_session_info *ret)
{
    struct lunette_session_info info;

    api_session_info(s, &info);
    return api_sized_out(ret, API_FIRST_SESSION, &info, sizeof(info));
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

struct lunette_luns {
    size_t n;
    struct lunette_info info[];
};

static int
list_devices(struct lunette_session *s, struct lunette_luns **ret, struct lunette_error *err)
{
    struct step st = {0};
    struct lunette_luns *luns;
    int r = list_wait(s->ctx, &st, stack_scan(s->stack, list_step_done, &st), err);

    if (r < 0)
        return r;
    luns = calloc(1, sizeof(*luns) + list_count(s->stack) * sizeof(luns->info[0]));
    if (luns == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (struct scsi_device *d = stack_first_device(s->stack); d != NULL;
         d = stack_next_device(d)) {
        struct list_disk up = {0};

        r = stack_disk_start(s->stack, d, list_disk_up, &up, NULL);
        if (r == 0)
            r = list_wait(s->ctx, &up.st, 0, NULL);
        api_device_info(d, r == 0 ? bdev_get_limits(up.disk->bdev) : NULL, &luns->info[luns->n]);
        luns->info[luns->n++].error = r == -EMEDIUMTYPE ? 0 : r;
    }
    *ret = luns;
    return 0;
}

static void
list_opened(struct lunette_session *s, const struct lunette_error *err)
{
    list_step_done(s->owner, err != NULL ? err->code : 0, err);
}

static void
list_closed(struct lunette_session *s)
{
    list_step_done(s->owner, 0, NULL);
}

static void
list_close(struct lunette_session *s)
{
    struct step st = {0};

    s->owner = &st;
    api_session_close_start(s, list_closed);
    (void)api_wait(s->ctx, &st.done, NULL);
}

/* What lunette_list_luns was given to fill in. */
static int
list_check(const struct lunette_session_info *ret_session, struct lunette_error *err)
{
    int r = api_error_check(err);

    if (r == 0 && ret_session != NULL &&
        !api_size_possible(ret_session->struct_size, API_FIRST_SESSION))
        r = lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0,
                         "lunette_session_info.struct_size is no size of a version: initialize the "
                         "structure with LUNETTE_INIT");
    return r;
}

int
lunette_list_luns(struct lunette_ctx *ctx, const char *url, struct lunette_luns **ret,
                  struct lunette_session_info *ret_session, struct lunette_error *err)
{
    struct lunette_session_info info;
    struct lunette_session *s;
    struct step st = {0};
    int r = list_check(ret_session, err);

    if (r < 0)
        return r;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    s->owner = &st;
    r = api_session_open_start(ctx, url, s, list_opened, err);
    if (r < 0) {
        free(s);
        return r;
    }
    r = list_wait(ctx, &st, 0, err);
    if (r == 0) {
        r = list_devices(s, ret, err);
        if (r < 0 && s->dead)
            (void)lunette_fail_as(err, &s->why);
        api_session_info(s, &info);
        if (ret_session != NULL)
            (void)api_sized_out(ret_session, API_FIRST_SESSION, &info, sizeof(info));
    }
    list_close(s);
    free(s);
    return r;
}

size_t
lunette_luns_count(const struct lunette_luns *luns)
{
    return luns->n;
}

int
lunette_luns_get(const struct lunette_luns *luns, size_t i, struct lunette_info *ret)
{
    if (i >= luns->n)
        return -ENOENT;
    return api_sized_out(ret, API_FIRST_INFO, &luns->info[i], sizeof(luns->info[i]));
}

void
lunette_luns_free(struct lunette_luns *luns)
{
    free(luns);
}
