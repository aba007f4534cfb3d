/* SPDX-License-Identifier: MIT */
/* api/export.c - exports of LUNs: plugs export/ to the disk of a LUN. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "api/sized.h"
#include "export/nbd/nbd.h"

static const struct export_ops *const kinds[] = {&nbd_export};

struct lunette_export {
    struct lunette_lun *lun;
    const struct export_ops *ops;
    struct export *e;
    void (*ended)(void *user, const struct lunette_error *why); /* the program's; may be NULL */
    void *user;
    void (*stopped)(void *user); /* likewise */
    void *stopped_user;
};

static void
export_ended(void *user, const struct lunette_error *why)
{
    struct lunette_export *x = user;
    struct lunette_error none;

    if (why == NULL) {
        (void)lunette_fail(&none, -ENODEV, LUNETTE_DOM_OS, 0, "the export has ended");
        why = &none;
    }
    if (x->ended != NULL)
        x->ended(x->user, why);
}

static const struct export_events events = {.stopped = export_ended};

static const struct export_ops *
export_kind(const char *name)
{
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(kinds[i]->name, name) == 0)
            return kinds[i];
    }
    return NULL;
}

int
lunette_export_start(struct lunette_lun *lun, const char *kind, const char *where, uint32_t flags,
                     void (*ended)(void *user, const struct lunette_error *why), void *user,
                     struct lunette_export **ret, struct lunette_error *err)
{
    const struct export_ops *ops = export_kind(kind);
    struct lunette_export *x;
    int r = api_error_check(err);

    if (r < 0)
        return r;
    if (ops == NULL)
        return lunette_fail(err, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "there is no export of the kind %s; there is nbd", kind);
    if ((flags & ~LUNETTE_EXPORT_RDONLY) != 0)
        return lunette_fail(err, -EINVAL, LUNETTE_DOM_USAGE, 0, "export: unknown flags 0x%x",
                            flags & ~LUNETTE_EXPORT_RDONLY);
    if (lun->dev == NULL)
        return api_no_unit("export", err);
    if (lun->disk == NULL)
        return lunette_fail(err, -ENXIO, LUNETTE_DOM_NOTFOUND, 0,
                            "export: the LUN is not a disk, or did not come up");
    x = calloc(1, sizeof(*x));
    if (x == NULL)
        return lunette_fail(err, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    *x = (struct lunette_export){.lun = lun, .ops = ops, .ended = ended, .user = user};
    r = ops->start(lun->disk->bdev, lun->s->ctx->loop, where,
                   ((flags & LUNETTE_EXPORT_RDONLY) | (lun->flags & LUNETTE_OPEN_RDONLY)) != 0,
                   &events, x, &x->e, err);
    if (r < 0) {
        free(x);
        return r;
    }
    lun->queues++;
    *ret = x;
    return 0;
}

static void
export_stopped(void *user)
{
    struct lunette_export *x = user;
    void (*stopped)(void *user) = x->stopped;
    void *stopped_user = x->stopped_user;

    x->lun->queues--;
    free(x);
    if (stopped != NULL)
        stopped(stopped_user);
}

void
lunette_export_stop_start(struct lunette_export *x, void (*done)(void *user), void *user)
{
    x->ended = NULL;
    x->stopped = done;
    x->stopped_user = user;
    x->ops->stop(x->e, export_stopped, x);
}

void
lunette_export_stop(struct lunette_export *x)
{
    struct lunette_ctx *ctx;

    if (x == NULL)
        return;
    ctx = x->lun->s->ctx;
    api_close_begun(ctx);
    lunette_export_stop_start(x, api_close_over, ctx);
    api_close_wait(ctx, "the end of an export");
}

int
lunette_export_get_stats(const struct lunette_export *x, struct lunette_export_stats *ret)
{
    struct export_stats s;
    struct lunette_export_stats all;

    x->ops->stats(x->e, &s);
    all = (struct lunette_export_stats){.reads = s.reads,
                                        .writes = s.writes,
                                        .flushes = s.flushes,
                                        .discards = s.discards,
                                        .errors = s.errors,
                                        .bytes_read = s.bytes_read,
                                        .bytes_written = s.bytes_written,
                                        .clients = s.clients};
    return api_sized_out(ret, API_FIRST_EXPORT, &all, sizeof(all));
}
