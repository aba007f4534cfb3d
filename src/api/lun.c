/* SPDX-License-Identifier: MIT */
/* api/lun.c - what is known of a logical unit, and listing those of a target. */
#include <errno.h>
#include <stdlib.h>

#include "api/internal.h"
#include "api/sized.h"

int
lunette_get_info(const struct lunette_lun *lun, struct lunette_info *ret)
{
    struct lunette_info info = {0};

    if (lun->dev != NULL)
        api_device_info(lun->dev, lun->disk != NULL ? bdev_get_limits(lun->disk->bdev) : NULL,
                        &info);
    info.error = lun->disk_err;
    return api_sized_out(ret, API_FIRST_INFO, &info, sizeof(info));
}

/* ---- listing -------------------------------------------------------------------------------- */

struct list_step { /* one of several, whose end the listing waits for */
    bool done;
    int err;
    struct lunette_error why;
};

struct list_call {
    struct lunette_session *s;
    struct list_step step;
    struct stack_disk *disk; /* of the step that brings one up */
    /* While the session has no connection, the listing has a time limit: until_ns. */
    struct loop_timer limit;
    uint64_t until_ns;
    bool over;
};

static void
list_step_done(void *user, int err, const struct lunette_error *why)
{
    struct list_call *l = user;

    if (l->step.done)
        return; /* it was given up, and ends with the session */
    l->step.done = true;
    l->step.err = err;
    if (err < 0 && why != NULL)
        l->step.why = *why;
}

static void
list_too_late(struct loop_timer *t)
{
    struct list_call *l = container_of(t, struct list_call, limit);
    struct lunette_error why;

    api_session_why(l->s, &why);
    list_step_done(l, -ENOTCONN, &why);
    l->over = true;
}

static void
list_moved(struct lunette_session *s)
{
    struct list_call *l = s->owner;
    uint64_t now = s->ctx->loop->now_ns;

    if (s->lost && !l->over)
        loop_timer_start(s->ctx->loop, &l->limit, l->until_ns > now ? l->until_ns - now : 0);
    else
        loop_timer_stop(s->ctx->loop, &l->limit);
}

/* Waits for the end of a step; started is what its start returned. */
static int
list_wait(struct list_call *l, int started, struct lunette_error *err)
{
    int r = started;

    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r));
    r = api_wait(l->s->ctx, &l->step.done, err);
    if (r < 0 || l->step.err == 0)
        return r;
    if (l->step.why.code < 0)
        return lunette_fail_as(err, &l->step.why);
    return lunette_fail(err, l->step.err, LUNETTE_DOM_OS, (uint32_t)-l->step.err, "%s",
                        errno_text(-l->step.err));
}

static size_t
list_count(struct stack *s)
{
    size_t n = 0;

    for (struct scsi_device *d = stack_first_device(s); d != NULL; d = stack_next_device(d))
        n++;
    return n;
}

static void
list_disk_up(void *user, struct stack_disk *d, const struct lunette_error *why)
{
    struct list_call *l = user;

    l->disk = d;
    list_step_done(l, why != NULL ? why->code : 0, why);
}

struct lunette_luns {
    size_t n;
    struct lunette_info info[];
};

/* Brings dev up, and keeps what there is to know of it. */
static void
list_device(struct list_call *l, struct scsi_device *dev, struct lunette_info *ret)
{
    int r;

    l->step = (struct list_step){0};
    l->disk = NULL;
    r = list_wait(l, stack_disk_start(l->s->stack, dev, list_disk_up, l, NULL), NULL);
    api_device_info(dev, r == 0 ? bdev_get_limits(l->disk->bdev) : NULL, ret);
    ret->error = r == -EMEDIUMTYPE ? 0 : r;
}

static int
list_devices(struct list_call *l, struct lunette_luns **ret, struct lunette_error *err)
{
    struct stack *stack = l->s->stack;
    struct lunette_luns *luns;
    int r;

    l->step = (struct list_step){0};
    r = list_wait(l, stack_scan(stack, list_step_done, l), err);
    if (r < 0)
        return r;
    luns = calloc(1, sizeof(*luns) + list_count(stack) * sizeof(luns->info[0]));
    if (luns == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    for (struct scsi_device *d = stack_first_device(stack); d != NULL && !l->over;
         d = stack_next_device(d))
        list_device(l, d, &luns->info[luns->n++]);
    if (l->over) { /* the list would say that units fail, which do not */
        free(luns);
        return lunette_fail_as(err, &l->step.why);
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
    struct lunette_ctx *ctx = s->ctx;

    free(s);
    api_close_over(ctx);
}

static void
list_close(struct list_call *l)
{
    struct lunette_ctx *ctx = l->s->ctx;

    loop_timer_stop(ctx->loop, &l->limit);
    l->step.done = true;
    l->s->moved = NULL;
    l->s->owner = NULL;
    api_close_begun(ctx);
    api_session_close_start(l->s, list_closed);
    api_close_wait(ctx, "the end of the session that was listed");
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

/* With the session that l has: waits for its login, then looks for the units. */
static int
list_run(struct list_call *l, struct lunette_luns **ret, struct lunette_session_info *ret_session,
         struct lunette_error *err)
{
    struct lunette_session_info info;
    struct lunette_error why;
    int r = list_wait(l, 0, err);

    if (r < 0)
        return r;
    r = list_devices(l, ret, err);
    if (r < 0 && l->s->lost) {
        api_session_why(l->s, &why);
        (void)lunette_fail_as(err, &why);
    }
    api_session_info(l->s, &info);
    if (ret_session != NULL)
        (void)api_sized_out(ret_session, API_FIRST_SESSION, &info, sizeof(info));
    return r;
}

int
lunette_list_luns(struct lunette_ctx *ctx, const char *url, struct lunette_luns **ret,
                  struct lunette_session_info *ret_session, struct lunette_error *err)
{
    struct list_call l = {.step = {.done = false}};
    struct lunette_session *s;
    int r = list_check(ret_session, err);

    if (r < 0)
        return r;
    s = calloc(1, sizeof(*s));
    if (s == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    l.s = s;
    s->owner = &l;
    s->moved = list_moved;
    loop_timer_init(&l.limit, list_too_late);
    r = api_session_open_start(ctx, url, s, list_opened, err);
    if (r == 0) {
        l.until_ns = ctx->loop->now_ns + s->url->cfg.login_timeout_ms * LOOP_NS_PER_MS;
        r = list_run(&l, ret, ret_session, err);
        list_close(&l);
    } else {
        free(s);
    }
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
