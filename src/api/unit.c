/* SPDX-License-Identifier: MIT */
/* api/unit.c - a logical unit of a session: its way up, scan and disk, and its way down.
 *
 * The way down drains and flushes the disk.  Where the session has no connection that could take as
 * long as it stays so, and nobody waits for that: the owner is told at once, and what the stack
 * still has ends when the session is back, or with the session.
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/internal.h"
#include "wire/lun.h"

/* ---- down ----------------------------------------------------------------------------------- */

static void
unit_tell(struct lunette_lun *lun)
{
    void (*ended)(struct lunette_lun * lun) = lun->ended;

    lun->ended = NULL;
    if (ended != NULL)
        ended(lun);
}

/* Nothing is left of lun in the stack. */
static void
unit_gone(struct lunette_lun *lun)
{
    struct lunette_session *s = lun->s;

    assert(lun->ending && !lun->waits && lun->disk == NULL);
    loop_defer_cancel(&lun->work);
    list_del(&lun->node); /* the program may open it anew when it is told */
    unit_tell(lun);
    free(lun->sync);
    free(lun);
    if (s->unit_gone != NULL)
        s->unit_gone(s);
}

static void
unit_work(struct loop_work *w)
{
    struct lunette_lun *lun = container_of(w, struct lunette_lun, work);
    struct lunette_session *s = lun->s;

    if (!lun->waits) {
        unit_gone(lun);
        return;
    }
    unit_tell(lun);
    if (s->unit_gone != NULL) /* nobody waits for it any more */
        s->unit_gone(s);
}

static void
unit_disk_closed(void *user, int err)
{
    struct lunette_lun *lun = user;

    (void)err; /* the midlayer logs what may not be on stable storage */
    assert(lun->ending && lun->waits);
    lun->disk = lun->rising = NULL;
    lun->q = NULL; /* the block device took it along */
    lun->waits = false;
    unit_gone(lun);
}

void
api_unit_end(struct lunette_lun *lun, void (*ended)(struct lunette_lun *lun))
{
    struct stack_disk *disk = lun->disk != NULL ? lun->disk : lun->rising;

    assert(!lun->ending && lun->queues == 0);
    lun->ending = true;
    lun->ended = ended;
    lun->up = NULL;
    if (disk != NULL) {
        lun->waits = true;
        stack_disk_close(disk, unit_disk_closed, lun);
    }
    if (!lun->waits || !api_session_is_up(lun->s))
        loop_defer(lun->s->ctx->loop, &lun->work);
}

void
api_units_moved(struct lunette_session *s)
{
    LIST_FOREACH (n, &s->luns) {
        struct lunette_lun *lun = container_of(n, struct lunette_lun, node);

        if (lun->ending && s->lost)
            loop_defer(s->ctx->loop, &lun->work);
        else if (lun->moved != NULL && !lun->ending)
            lun->moved(lun);
    }
}

void
api_units_free(struct lunette_session *s)
{
    LIST_FOREACH_SAFE (n, &s->luns) {
        struct lunette_lun *lun = container_of(n, struct lunette_lun, node);

        assert(!lun->waits);
        unit_gone(lun);
    }
}

bool
api_units_busy(const struct lunette_session *s)
{
    LIST_FOREACH (n, &s->luns) {
        const struct lunette_lun *lun = container_of(n, struct lunette_lun, node);

        if (!lun->ending || lun->ended != NULL)
            return true;
    }
    return false;
}

/* ---- what it is ---------------------------------------------------------------------------- */

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

/* ---- up ------------------------------------------------------------------------------------- */

void
api_unit_init(struct lunette_lun *lun, struct lunette_session *s, const uint8_t lun_wire[8],
              uint32_t flags)
{
    lun->s = s;
    lun->flags = flags;
    memcpy(lun->lun_wire, lun_wire, sizeof(lun->lun_wire));
    loop_work_init(&lun->work, unit_work);
    list_push_back(&s->luns, &lun->node);
}

/* The stack has called back.  True: lun is ending, and this was all that it waited for. */
static bool
unit_called_back(struct lunette_lun *lun)
{
    lun->waits = false;
    if (!lun->ending)
        return false;
    unit_gone(lun);
    return true;
}

static void
unit_is_up(struct lunette_lun *lun, int disk_err)
{
    void (*up)(struct lunette_lun * lun, const struct lunette_error *err) = lun->up;

    lun->disk_err = disk_err;
    lun->up = NULL;
    up(lun, NULL);
}

static void
unit_failed(struct lunette_lun *lun, const struct lunette_error *err)
{
    void (*up)(struct lunette_lun * lun, const struct lunette_error *err) = lun->up;

    lun->up = NULL;
    up(lun, err);
}

/* The device is no disk, or its disk does not come up; that is enough for a caller who only wants
 * to send raw commands. */
static void
unit_no_disk(struct lunette_lun *lun, const struct lunette_error *err)
{
    if (lun->flags & LUNETTE_OPEN_RAW)
        unit_is_up(lun, err->code);
    else
        unit_failed(lun, err);
}

static void
unit_disk_up(void *user, struct stack_disk *disk, const struct lunette_error *why)
{
    struct lunette_lun *lun = user;

    lun->rising = NULL;
    if (unit_called_back(lun))
        return;
    if (disk == NULL) {
        unit_no_disk(lun, why);
        return;
    }
    lun->disk = disk;
    api_watch(lun->s->ctx, disk->bdev);
    unit_is_up(lun, 0);
}

/* What the midlayer tells of a unit, for the program; the others are for the log alone. */
static const struct unit_event {
    enum lunette_event_type type;
    int err;
    const char *text;
} unit_events[SCSI_NEVENTS] = {
    [SCSI_EV_CAPACITY] = {LUNETTE_EVENT_CAPACITY, 0, "its size is another"},
    [SCSI_EV_LUNS_CHANGED] = {LUNETTE_EVENT_LUNS_CHANGED, 0,
                              "the target's list of units has changed"},
    [SCSI_EV_RESERVATIONS] = {LUNETTE_EVENT_RESERVATIONS, 0,
                              "reservations were preempted or released"},
    [SCSI_EV_MODE] = {LUNETTE_EVENT_MODE, 0, "its write protection or its cache is another"},
    [SCSI_EV_REPLACED] = {LUNETTE_EVENT_REPLACED, -ENXIO,
                          "another unit is in its place: requests fail for good"},
    [SCSI_EV_OFFLINE] = {LUNETTE_EVENT_OFFLINE, -ENODEV,
                         "error handling gave up on it: requests fail until it is tried again"},
    [SCSI_EV_LOST_WRITES] = {LUNETTE_EVENT_LOST_WRITES, -EIO,
                             "its cache may have lost writes that were acknowledged"},
    [SCSI_EV_DEFERRED_ERROR] = {LUNETTE_EVENT_LOST_WRITES, -EIO,
                                "it failed to write what it had acknowledged"},
    [SCSI_EV_ONLINE] = {LUNETTE_EVENT_ONLINE, 0, "requests go on after it was offline"},
    [SCSI_EV_ALUA] = {LUNETTE_EVENT_ALUA, 0, "the state of its path (ALUA) is another"},
};

static struct lunette_lun *
unit_of(const struct lunette_session *s, const struct scsi_device *dev)
{
    LIST_FOREACH (n, &s->luns) {
        struct lunette_lun *lun = container_of(n, struct lunette_lun, node);

        if (lun->dev == dev)
            return lun;
    }
    return NULL;
}

void
api_unit_event(struct lunette_session *s, const struct scsi_device *dev, enum scsi_event why)
{
    const struct unit_event *e = &unit_events[why];
    struct lunette_lun *lun = unit_of(s, dev);
    struct lunette_event ev = {
        .struct_size = sizeof(ev), .type = e->type, .session = s, .lun = lun, .err = e->err};
    const struct lunette_error *fails = stack_device_why(dev);
    char number[LUN_TEXT_MAX];

    if (why != SCSI_EV_FOUND)
        log_line(s->ctx->loop->log, LOG_LEVEL_INFO, "%s: LUN %s: %s", s->target_name,
                 lun_format(lun_load(dev->lun), number), stack_event_name(why));
    if (e->type == LUNETTE_EVENT_NONE || !s->held ||
        (lun != NULL && (lun->op != NULL || lun->ending)))
        return;
    (void)snprintf(ev.why, sizeof(ev.why), "LUN %s: %s", lun_format(lun_load(dev->lun), number),
                   e->text);
    if (why == SCSI_EV_CAPACITY && lun != NULL && lun->disk != NULL)
        (void)snprintf(ev.why, sizeof(ev.why), "LUN %s has %llu bytes now", number,
                       (unsigned long long)bdev_get_limits(lun->disk->bdev)->size);
    if (e->err != 0 && e->type != LUNETTE_EVENT_LOST_WRITES && fails != NULL) {
        ev.err = fails->code;
        (void)snprintf(ev.why, sizeof(ev.why), "%s", fails->msg);
    }
    api_events_add(&s->ctx->events, &ev);
}

/* Says what dev is, where it is no disk.  LUN 0 of some targets (tgt) is a controller, and their
 * disks begin at LUN 1. */
static void
unit_not_a_disk(const struct scsi_device *dev, struct lunette_error *err)
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
unit_found(void *user, struct scsi_device *dev, const struct lunette_error *why)
{
    struct lunette_lun *lun = user;
    struct lunette_error e;
    int r;

    if (unit_called_back(lun))
        return;
    if (dev == NULL) {
        unit_failed(lun, why);
        return;
    }
    lun->dev = dev;
    r = stack_disk_start(lun->s->stack, dev, unit_disk_up, lun, &lun->rising);
    if (r == 0) {
        lun->waits = true;
        return;
    }
    if (r == -EMEDIUMTYPE)
        unit_not_a_disk(dev, &e);
    else
        (void)lunette_fail(&e, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r));
    unit_no_disk(lun, &e);
}

int
api_unit_start(struct lunette_lun *lun,
               void (*up)(struct lunette_lun *lun, const struct lunette_error *err),
               struct lunette_error *err)
{
    struct stack *stack = lun->s->stack;
    int r = lun->flags & LUNETTE_OPEN_ANY_LUN
                ? stack_add_lun(stack, lun->lun_wire, unit_found, lun)
                : stack_scan_lun(stack, lun->lun_wire, unit_found, lun);

    if (r < 0)
        return lunette_fail(err, r, LUNETTE_DOM_OS, (uint32_t)-r, "%s", errno_text(-r));
    lun->up = up;
    lun->waits = true;
    return 0;
}
