/* SPDX-License-Identifier: MIT */
/* scsi/device.c - makes, finds, removes and frees devices. */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "scsi/internal.h"

static void
sdev_removed(struct loop_work *w)
{
    struct scsi_sdev *s = container_of(w, struct scsi_sdev, rm_work);

    (void)sdev_set_state(s, SDEV_DEL);
    if (s->rm_done != NULL)
        s->rm_done(s->rm_user, s->rm_err);
}

int
sdev_new(struct scsi_target *t, const uint8_t lun[8], struct scsi_sdev **ret)
{
    struct scsi_sdev *s = calloc(1, sizeof(*s));

    if (s == NULL)
        return -ENOMEM;
    s->dev.target = t;
    memcpy(s->dev.lun, lun, sizeof(s->dev.lun));
    s->dev.rel_port = s->dev.port_group = -1;
    s->dev.state = SDEV_CREATED;
    if (t->host->state == SCSI_HOST_BLOCKED)
        s->dev.state = SDEV_CREATED_BLOCK;
    s->gate = GATE_STATE;
    s->depth_max = t->params.queue_depth;
    s->depth_now = s->depth_cap = s->depth_max;
    list_init(&s->dev.node);
    list_init(&s->eh_cmds);
    list_init(&s->eh_node);
    list_init(&s->rm.node);
    list_init(&s->eh_tur.node);
    sdev_init(s);
    loop_work_init(&s->rm_work, sdev_removed);
    *ret = s;
    return 0;
}

void
sdev_free(struct scsi_sdev *s)
{
    struct loop *l = s->dev.target->loop;

    assert(s->inflight == 0 || s->dev.target->host == &s->dev.target->dead || sdev_in_eh(s));
    if (s->dev.target->last_first == &s->dev.node)
        s->dev.target->last_first = s->dev.node.prev;
    list_del(&s->dev.node);
    if (sdev_in_eh(s) && !s->doomed) { /* eh_free_if_doomed does, when error handling lets go */
        s->doomed = true;
        list_push_back(&s->dev.target->doomed, &s->dev.node);
        return;
    }
    assert(s->inflight == 0 && list_empty(&s->eh_cmds));
    if (s->up != NULL) /* block/ must not call this driver any more */
        s->up->event(s->bdev, BDEV_EV_GONE, NULL);
    list_del(&s->eh_node);
    loop_timer_stop(l, &s->hold_timer);
    loop_timer_stop(l, &s->eh_tur.timer);
    loop_timer_stop(l, &s->rm.timer);
    sdev_reconnect_stop(s);
    loop_defer_cancel(&s->ev_work);
    loop_defer_cancel(&s->rm_work);
    disk_detach(s);
    sdev_why_clear(s);
    free(s);
}

void
scsi_device_leave(struct scsi_device *dev)
{
    struct scsi_sdev *s = sdev_of(dev);

    s->leaving = true;
    if (s->up != NULL)
        s->up->no_delay(s->bdev);
    sdev_restart(s);
    if (!list_empty(&dev->target->waiting))
        loop_defer(dev->target->loop, &dev->target->commit_work);
}

static void
sdev_last_flush_done(struct scsi_exec *x)
{
    struct scsi_sdev *s = container_of(x, struct scsi_sdev, rm);

    s->rm_err = x->result.err;
    if (s->rm_err == 0 && x->result.scsi_status != SCSI_GOOD)
        s->rm_err = -EIO;
    if (s->rm_err != 0)
        sdev_log(s, LOG_LEVEL_WARN,
                 "the last flush failed: what was written may not be on stable storage");
    sdev_removed(&s->rm_work);
}

/* What a disk that is closed without a flush leaves behind. */
static int
sdev_unflushed(const struct scsi_sdev *s)
{
    const struct scsi_disk *d = s->dev.disk;

    if (d == NULL || !d->up || !d->limits.write_cache || s->writes == s->flushed)
        return 0;
    sdev_log(s, LOG_LEVEL_WARN,
             "closed without a flush: what was written last may not be on stable storage");
    return s->dev.state == SDEV_BLOCK ? -ENOTCONN : sdev_error(s);
}

int
scsi_device_remove(struct scsi_device *dev, void (*done)(void *user, int err), void *user)
{
    struct scsi_sdev *s = sdev_of(dev);
    bool flush = dev->disk != NULL && dev->disk->up && dev->disk->limits.write_cache &&
                 dev->state == SDEV_RUNNING;

    if (dev->state == SDEV_CANCEL || dev->state == SDEV_DEL)
        return -EALREADY;
    if (dev->state == SDEV_QUIESCE)
        (void)sdev_set_state(s, SDEV_RUNNING);
    assert(done != NULL);
    s->rm_err = flush ? 0 : sdev_unflushed(s);
    if (dev->state == SDEV_CREATED || dev->state == SDEV_CREATED_BLOCK) {
        s->dev.state = SDEV_CREATED; /* nobody ever used it: it may be deleted at once */
        flush = false;
    } else if (!sdev_set_state(s, SDEV_CANCEL)) {
        return -EINVAL;
    }
    sdev_reconnect_stop(s);
    s->rm_done = done;
    s->rm_user = user;
    if (flush) {
        s->rm = (struct scsi_exec){.cdb = s->rm_cdb,
                                   .timeout_ms = 2 * dev->target->params.timeout_ms,
                                   .ua_retries = SCSI_UA_TRIES,
                                   .done = sdev_last_flush_done};
        s->rm.cdb_len = (uint16_t)cdb_sync_cache10(s->rm_cdb, 0, 0, 0);
        s->rm_err = scsi_execute_internal(s, &s->rm);
        if (s->rm_err == 0)
            return 0;
    }
    loop_defer(dev->target->loop, &s->rm_work);
    return 0;
}

struct scsi_device *
scsi_first_device(struct scsi_target *t)
{
    return list_empty(&t->devices) ? NULL : container_of(t->devices.next, struct scsi_device, node);
}

struct scsi_device *
scsi_next_device(struct scsi_device *dev)
{
    struct list *n = dev->node.next;

    return n == &dev->target->devices ? NULL : container_of(n, struct scsi_device, node);
}

struct scsi_device *
scsi_find_device(struct scsi_target *t, const uint8_t lun[8])
{
    LIST_FOREACH (n, &t->devices) {
        struct scsi_device *d = container_of(n, struct scsi_device, node);

        if (memcmp(d->lun, lun, sizeof(d->lun)) == 0 && d->state != SDEV_DEL)
            return d;
    }
    return NULL;
}
