/* SPDX-License-Identifier: MIT */
/* stack/disk.c - a disk's way up (midlayer, block device, plug) and down (drain, remove, unplug).
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "stack/internal.h"

static void
stack_unit_free(struct stack_unit *u)
{
    assert(u->disk.dev->user == u && u->disk.bdev == NULL);
    list_del(&u->node);
    u->disk.dev->user = NULL;
    free(u);
}

/* ---- down ----------------------------------------------------------------------------------- */

static void
stack_disk_unplug(struct stack_unit *u)
{
    void (*closed)(void *user, int err) = u->closed;
    void *user = u->closed_user;
    int err = u->close_err;

    assert(closed != NULL && u->state != DISK_UP && u->state != DISK_DRAINING);
    if (u->disk.bdev != NULL) {
        scsi_disk_plug(u->disk.dev, NULL, NULL);
        blk_dev_free(&u->disk.bdev);
    }
    stack_unit_free(u);
    closed(user, err);
}

static void
stack_disk_removed(void *user, int err)
{
    struct stack_unit *u = user;

    assert(u->state == DISK_REMOVING);
    u->close_err = err;
    if (!u->disk.stack->detaching)
        stack_disk_unplug(u);
}

static void
stack_disk_drained(void *user)
{
    struct stack_unit *u = user;

    assert(u->state == DISK_DRAINING);
    u->state = DISK_REMOVING;
    if (scsi_device_remove(u->disk.dev, stack_disk_removed, u) < 0)
        stack_disk_unplug(u); /* it is in no state to be flushed */
}

void
stack_disk_leave(struct stack_disk *d)
{
    assert(stack_unit_of(d)->state == DISK_UP && !d->stack->detaching);
    scsi_device_leave(d->dev);
}

void
stack_disk_close(struct stack_disk *d, void (*closed)(void *user, int err), void *user)
{
    struct stack_unit *u = stack_unit_of(d);

    assert(closed != NULL && u->closed == NULL && !d->stack->detaching);
    u->closed = closed;
    u->closed_user = user;
    u->done = NULL;
    if (u->state == DISK_STARTING) { /* nothing has been written: there is nothing to flush */
        scsi_disk_abandon(d->dev);
        u->state = DISK_REMOVING;
        loop_defer(d->stack->loop, &u->work);
        return;
    }
    assert(u->state == DISK_UP);
    scsi_device_leave(d->dev);
    u->state = DISK_DRAINING;
    if (bdev_drain(d->bdev, stack_disk_drained, u) == -EINPROGRESS)
        return;
    u->state = DISK_REMOVING;
    if (scsi_device_remove(d->dev, stack_disk_removed, u) < 0)
        loop_defer(d->stack->loop, &u->work);
}

void
stack_unit_end(struct stack_unit *u)
{
    struct lunette_error why;
    void (*closed)(void *user, int err) = u->closed;
    void (*done)(void *, struct stack_disk *, const struct lunette_error *) = u->done;
    void *closed_user = u->closed_user, *done_user = u->done_user;
    int err = u->state == DISK_REMOVING ? u->close_err : -ENODEV;

    assert(u->disk.stack->detaching && (u->closed == NULL || u->done == NULL));
    loop_defer_cancel(&u->work);
    blk_dev_free(&u->disk.bdev);
    list_del(&u->node);
    free(u);
    if (closed != NULL) {
        closed(closed_user, err);
    } else if (done != NULL) {
        (void)lunette_fail(&why, -ENODEV, LUNETTE_DOM_SCSI, 0, "the target is being closed");
        done(done_user, NULL, &why);
    }
}

/* ---- up ------------------------------------------------------------------------------------- */

/* Ends the start of a disk that did not come up. */
static void
stack_disk_failed(struct stack_unit *u, const struct lunette_error *why)
{
    void (*done)(void *, struct stack_disk *, const struct lunette_error *) = u->done;
    void *user = u->done_user;

    stack_unit_free(u);
    done(user, NULL, why);
}

static int
stack_disk_plug(struct stack_unit *u)
{
    struct stack_disk *d = &u->disk;
    int r = blk_dev_new(&scsi_disk_ops, d->dev, scsi_disk_limits(d->dev), &d->bdev);

    if (r < 0)
        return r;
    scsi_disk_plug(d->dev, &blk_upcalls, d->bdev);
    if (d->stack->timeout_ms > 0)
        bdev_set_timeout(d->bdev, d->stack->timeout_ms);
    return 0;
}

static void
stack_disk_started(void *user, int err, const struct lunette_error *why)
{
    struct stack_unit *u = user;
    struct lunette_error e;
    void (*done)(void *, struct stack_disk *, const struct lunette_error *) = u->done;
    int r;

    if (u->disk.stack->detaching)
        return; /* stack_unit_end makes the callback */
    assert(u->state == DISK_STARTING && u->closed == NULL);
    if (err < 0) {
        stack_disk_failed(u, why);
        return;
    }
    r = stack_disk_plug(u);
    if (r < 0) {
        (void)lunette_fail(&e, r, LUNETTE_DOM_OS, (uint32_t)-r, "no block device: %s",
                           errno_text(-r));
        stack_disk_failed(u, &e);
        return;
    }
    u->state = DISK_UP;
    u->done = NULL;
    done(u->done_user, &u->disk, NULL);
}

static void
stack_disk_work(struct loop_work *w)
{
    struct stack_unit *u = container_of(w, struct stack_unit, work);

    if (u->state == DISK_STARTING)
        stack_disk_started(u, 0, NULL);
    else
        stack_disk_unplug(u);
}

int
stack_disk_start(struct stack *s, struct scsi_device *dev,
                 void (*done)(void *user, struct stack_disk *d, const struct lunette_error *why),
                 void *user, struct stack_disk **ret)
{
    struct stack_unit *u;
    int r;

    assert(done != NULL && !s->detaching && dev->target == s->target);
    if (dev->state == SDEV_CANCEL || dev->state == SDEV_DEL)
        return -ENODEV;
    if (dev->user != NULL)
        return -EALREADY;
    u = calloc(1, sizeof(*u));
    if (u == NULL)
        return -ENOMEM;
    *u = (struct stack_unit){.disk = {.stack = s, .dev = dev}, .done = done, .done_user = user};
    loop_work_init(&u->work, stack_disk_work);
    r = scsi_disk_start(dev, stack_disk_started, u);
    if (r == -EALREADY) { /* the midlayer has it up: it was closed while it came up */
        loop_defer(s->loop, &u->work);
        r = 0;
    }
    if (r < 0) {
        free(u);
        return r;
    }
    dev->user = u;
    list_push_back(&s->disks, &u->node);
    if (ret != NULL)
        *ret = &u->disk;
    return 0;
}
