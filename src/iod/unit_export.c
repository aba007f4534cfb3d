/* SPDX-License-Identifier: MIT */
/* iod/unit_export.c - exports of units, by the kinds that the program has. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "iod/internal.h"

struct unit_export {
    struct unit *unit;
    const struct export_ops *ops;
    struct export *e;
    bool read_only;
    bool stopping;
    bool by_itself; /* it could not go on; why says what for */
    struct lunette_error why;
    struct iod_waits waits;
    char path[IPC_PATH_MAX];
};

/* ---- its end -------------------------------------------------------------------------------- */

static void
tell_stopped(const struct unit_export *x)
{
    const struct unit_host *h = x->unit->host;
    struct iscsi_kevent ev = {.type = ISCSI_KEVENT_EXPORT_STOPPED, .sid = h->sid};

    if (!x->by_itself || h->ending)
        return;
    memcpy(ev.u.export_stopped.lun, x->unit->lun, sizeof(ev.u.export_stopped.lun));
    (void)snprintf(ev.u.export_stopped.kind, IPC_NAME_MAX, "%s", x->ops->name);
    ev.u.export_stopped.why = x->why;
    dataplane_event(h->units->dp, &ev);
}

static void
on_export_gone(void *user)
{
    struct unit_export *x = user;
    struct unit_host *h = x->unit->host;
    struct iscsi_reply rep = {.type = ISCSI_UEVENT_STOP_EXPORT, .sid = h->sid};

    assert(x->stopping && h->nexports > 0 && h->units->nexports > 0);
    x->unit->export = NULL;
    h->nexports--;
    h->units->nexports--;
    tell_stopped(x);
    iod_waits_answer(&x->waits, h->units->dp, &rep);
    free(x);
    loop_defer(h->units->loop, &h->step);
}

void
unit_export_stop(struct unit *u)
{
    struct unit_export *x = u->export;

    if (x == NULL || x->stopping)
        return;
    x->stopping = true;
    x->ops->stop(x->e, on_export_gone, x);
}

static void
on_export_stopped(void *user, const struct lunette_error *why)
{
    struct unit_export *x = user;

    if (x->stopping)
        return;
    x->by_itself = true;
    if (why != NULL)
        (void)lunette_fail_as(&x->why, why);
    else
        (void)lunette_fail(&x->why, -EIO, LUNETTE_DOM_OS, EIO, "the export has ended by itself");
    unit_export_stop(x->unit);
}

static const struct export_events export_events = {.stopped = on_export_stopped};

int
unit_serve_stop_export(struct unit_host *h, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    struct unit *u = h != NULL ? unit_find(h, ev->u.lun.lun) : NULL;
    int r;

    if (u == NULL)
        return unit_missing(ev->u.lun.lun, rep);
    if (u->export == NULL)
        return lunette_fail(&rep->why, -ENOENT, LUNETTE_DOM_USAGE, 0, "the unit has no export");
    r = iod_wait_add(&u->export->waits, h->units->dp, ev, rep);
    if (r == DP_ANSWERED_LATER)
        unit_export_stop(u);
    return r;
}

/* ---- its beginning -------------------------------------------------------------------------- */

static const struct export_ops *
kind_of(const struct iod_units *u, const char name[IPC_NAME_MAX])
{
    for (const struct export_ops *const *k = u->kinds; *k != NULL; k++) {
        if (strncmp((*k)->name, name, IPC_NAME_MAX) == 0)
            return *k;
    }
    return NULL;
}

/* Why that unit cannot be exported now, or 0. */
static int
refuse_export(const struct unit *u, struct iscsi_reply *rep)
{
    const struct unit_host *h = u->host;

    if (h->unbinding || u->closing)
        return lunette_fail(&rep->why, -ESHUTDOWN, LUNETTE_DOM_USAGE, 0,
                            "the disk of the unit is being closed");
    if (u->export != NULL)
        return lunette_fail(&rep->why, -EBUSY, LUNETTE_DOM_USAGE, 0,
                            "the unit is exported already");
    if (!u->up)
        return lunette_fail(&rep->why, -ENODEV, LUNETTE_DOM_SCSI, 0,
                            u->disk != NULL ? "the disk of the unit is still coming up%s%s"
                                            : "the unit has no disk that is up%s%s",
                            u->why[0] != '\0' ? ": " : "", u->why);
    if (u->gone)
        return lunette_fail(&rep->why, -ENODEV, LUNETTE_DOM_SCSI, 0,
                            "the unit is gone; scan the session");
    if (h->nexports >= IOD_EXPORTS_MAX)
        return lunette_fail(&rep->why, -ENOSPC, LUNETTE_DOM_USAGE, 0,
                            "the session has %d exports already", IOD_EXPORTS_MAX);
    return 0;
}

static int
start_export(struct unit_export *x, struct lunette_error *err)
{
    struct unit *u = x->unit;
    int r;

    u->export = x; /* clients may come before start has returned */
    r = x->ops->start(u->disk->bdev, u->host->units->loop, x->path, x->read_only, &export_events, x,
                      &x->e, err);
    if (r < 0)
        u->export = NULL;
    return r;
}

int
unit_serve_start_export(struct unit_host *h, const struct iscsi_uevent *ev, const void *path,
                        struct iscsi_reply *rep)
{
    const uint8_t *lun = ev->u.start_export.lun;
    uint32_t len = ev->u.start_export.path_len;
    struct unit *u = h != NULL ? unit_find(h, lun) : NULL;
    const struct export_ops *ops;
    struct unit_export *x;
    int r;

    if (u == NULL)
        return unit_missing(lun, rep);
    ops = kind_of(h->units, ev->u.start_export.kind);
    if (ops == NULL)
        return lunette_fail(&rep->why, -EOPNOTSUPP, LUNETTE_DOM_USAGE, 0,
                            "there are no exports of kind \"%.31s\"", ev->u.start_export.kind);
    if (len == 0 || memchr(path, '\0', len) != NULL)
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the path of an export is missing, or has a NUL in it");
    /* What is relative would be meant from the working directory of this process, which nobody who
     * asks knows. */
    if (((const char *)path)[0] != '/')
        return lunette_fail(&rep->why, -EINVAL, LUNETTE_DOM_USAGE, 0,
                            "the path of an export begins with a slash");
    if (len >= IPC_PATH_MAX)
        return lunette_fail(&rep->why, -ENAMETOOLONG, LUNETTE_DOM_USAGE, 0,
                            "the path of an export has %u bytes: at most %d", len,
                            IPC_PATH_MAX - 1);
    r = refuse_export(u, rep);
    if (r < 0)
        return r;
    x = calloc(1, sizeof(*x));
    if (x == NULL)
        return lunette_fail(&rep->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "no memory");
    x->unit = u;
    x->ops = ops;
    x->read_only = ev->u.start_export.read_only;
    iod_waits_init(&x->waits);
    memcpy(x->path, path, len);
    r = start_export(x, &rep->why);
    if (r < 0) {
        free(x);
        return r;
    }
    h->nexports++;
    h->units->nexports++;
    return 0;
}

/* ---- what is told of it --------------------------------------------------------------------- */

void
unit_export_stats(const struct unit *u, struct export_stats *ret)
{
    *ret = (struct export_stats){.clients = 0};
    if (u->export != NULL && !u->export->stopping)
        u->export->ops->stats(u->export->e, ret);
}

void
unit_export_info(const struct unit *u, struct ipc_lun_info *info)
{
    const struct unit_export *x = u->export;
    struct export_stats stats;

    if (x == NULL)
        return;
    unit_export_stats(u, &stats);
    info->export_clients = stats.clients;
    (void)snprintf(info->export_kind, sizeof(info->export_kind), "%s", x->ops->name);
    memcpy(info->export_path, x->path, sizeof(info->export_path));
    info->flags |= x->read_only ? IPC_LUN_EXPORT_READ_ONLY : 0;
    info->flags |= x->stopping ? IPC_LUN_EXPORT_STOPPING : 0;
}
