/* SPDX-License-Identifier: MIT */
/* iod/unit_list.c - answers that describe units. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "iod/internal.h"

static enum ipc_lun_state
unit_state(const struct unit *u)
{
    if (u->closing)
        return IPC_LUN_CLOSING;
    if (u->disk == NULL)
        return IPC_LUN_NEW;
    if (!u->up)
        return IPC_LUN_STARTING;
    if (u->gone || u->dev->state == SDEV_OFFLINE || u->dev->state == SDEV_TRANSPORT_OFFLINE)
        return IPC_LUN_OFFLINE;
    return IPC_LUN_UP;
}

static void
describe_disk(const struct unit *u, struct ipc_lun_info *info)
{
    const struct bdev_limits *limits = bdev_get_limits(u->disk->bdev);

    info->size = limits->size;
    info->block_size = limits->block_size;
    info->flags |= limits->read_only ? IPC_LUN_READ_ONLY : 0;
    info->flags |= limits->write_cache ? IPC_LUN_WRITE_CACHE : 0;
    info->flags |= limits->rotational ? IPC_LUN_ROTATIONAL : 0;
    info->flags |= stack_disk_thin(u->dev) ? IPC_LUN_THIN : 0;
}

static void
describe(const struct unit *u, struct ipc_lun_info *info)
{
    const struct scsi_device *dev = u->dev;
    const struct lunette_error *why = stack_device_why(dev);

    memset(info, 0, sizeof(*info));
    info->index = u->index;
    memcpy(info->lun, u->lun, sizeof(info->lun));
    info->pdt = dev->type;
    info->state = unit_state(u);
    info->err = u->err;
    memcpy(info->why, u->why, sizeof(info->why));
    if (info->state == IPC_LUN_OFFLINE) {
        info->err = why != NULL ? why->code : -ENODEV;
        (void)snprintf(info->why, sizeof(info->why), "%s",
                       why != NULL ? why->msg : "the unit is offline");
    }
    memcpy(info->vendor, dev->vendor, sizeof(info->vendor));
    memcpy(info->product, dev->product, sizeof(info->product));
    memcpy(info->revision, dev->revision, sizeof(info->revision));
    (void)snprintf(info->ident, sizeof(info->ident), "%s", dev->name);
    if (u->up && !u->closing)
        describe_disk(u, info);
    unit_export_info(u, info);
}

int
unit_serve_list(struct iod_units *units, struct unit_host *h, const struct iscsi_uevent *ev,
                struct iscsi_reply *rep)
{
    struct ipc_lun_info info;

    rep->r.luns.next_event = dataplane_next_event(units->dp);
    rep->data = units->page;
    if (h == NULL)
        return 0;
    LIST_FOREACH (n, &h->list) {
        const struct unit *u = container_of(n, struct unit, node);
        uint32_t len;

        if (u->index <= ev->u.list_luns.after)
            continue;
        if (rep->r.luns.count == IPC_LUNS_PAGE) {
            rep->r.luns.more = true;
            break;
        }
        describe(u, &info);
        len = ipc_lun_pack(&info, units->page + rep->r.luns.data_len);
        assert(len > 0 && len <= IPC_LUN_PACKED_MAX);
        rep->r.luns.data_len += len;
        rep->r.luns.count++;
    }
    return 0;
}

static void
put_bdev_stats(const struct unit *u, struct ipc_lun_stats *s)
{
    struct bdev_stats b;

    bdev_get_stats(u->disk->bdev, &b);
#define PUT_OP(field, op_)                                                                         \
    s->field.reqs = b.op[op_].reqs, s->field.errors = b.op[op_].errors,                            \
    s->field.bytes = b.op[op_].bytes
    PUT_OP(read, BDEV_READ);
    PUT_OP(write, BDEV_WRITE);
    PUT_OP(flush, BDEV_FLUSH);
    PUT_OP(discard, BDEV_DISCARD);
    PUT_OP(write_zeroes, BDEV_WRITE_ZEROES);
    s->pieces = b.pieces;
    s->splits = b.splits;
    s->requeues = b.requeues;
    s->busy = b.busy;
    s->timeouts = b.timeouts;
    s->driver_ns = b.driver_ns;
}

static void
put_latency(const struct unit *u, uint8_t *page, struct iscsi_reply *rep)
{
    const struct bdev_latency *l = bdev_get_latency(u->disk->bdev);

    if (l == NULL)
        return;
    rep->r.lun_stats.timed = l->timed;
    rep->r.lun_stats.data_len = ipc_latency_pack(l, page);
    rep->data = page;
}

int
unit_serve_stats(struct unit_host *h, const struct iscsi_uevent *ev, struct iscsi_reply *rep)
{
    const struct unit *u = h != NULL ? unit_find(h, ev->u.lun.lun) : NULL;
    struct ipc_lun_stats *s = &rep->r.lun_stats;
    struct export_stats x;

    if (u == NULL)
        return unit_missing(ev->u.lun.lun, rep);
    if (u->up && !u->closing) {
        put_bdev_stats(u, s);
        put_latency(u, h->units->page, rep);
    }
    s->commands = u->dev->stats.commands;
    s->retries = u->dev->stats.retries;
    s->unit_attentions = u->dev->stats.unit_attentions;
    s->aborts = u->dev->stats.aborts;
    s->lu_resets = u->dev->stats.lu_resets;
    s->lost_writes = u->dev->stats.lost_writes;
    unit_export_stats(u, &x);
    s->export_reads = x.reads;
    s->export_writes = x.writes;
    s->export_flushes = x.flushes;
    s->export_discards = x.discards;
    s->export_errors = x.errors;
    s->export_bytes_read = x.bytes_read;
    s->export_bytes_written = x.bytes_written;
    s->export_clients = x.clients;
    return 0;
}
