/* SPDX-License-Identifier: MIT */
/* scsi/scan.c - finding the logical units of a target.
 *
 * LUN 0 first, since it also answers for the target; then REPORT LUNS, from
 * LUN 0 or else from the well-known LUN made for it; where there is no such
 * list, LUN after LUN.  Scans of one target are made one after the other.
 */
#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#include "scsi/scan.h"

#define LIST_ALLOC     4096u
#define GROWS_MAX      4
#define SEQ_SCSI2_LUNS 8u

static void scan_next_lun(struct scsi_scan_op *op);

static void
scan_free(struct scsi_scan_op *op)
{
    loop_timer_stop(op->t->loop, &op->x.timer);
    if (op->cur != NULL)
        sdev_free(op->cur);
    if (op->lun0 != NULL && op->lun0 != op->cur)
        sdev_free(op->lun0);
    if (op->wlun != NULL)
        sdev_free(op->wlun);
    free(op->list);
    free(op->buf);
    free(op);
}

/* Ends the scan and frees it: tells dev, or err where all LUNs were looked for. */
static void
scan_end(struct scsi_scan_op *op, struct scsi_device *dev, int err)
{
    struct scsi_target *t = op->t;

    assert(!list_empty(&op->node) && list_empty(&op->x.node));
    list_del(&op->node);
    if (!list_empty(&t->scans))
        loop_defer(t->loop, &t->scan_work);
    if (op->one)
        op->done_one(op->user, dev, dev == NULL ? &op->why : NULL);
    else
        op->done_all(op->user, err, err != 0 ? &op->why : NULL);
    scan_free(op);
}

/* The unit of s is gone. */
static void
scan_set_offline(struct scsi_sdev *s)
{
    struct lunette_error why;
    char lun[LUN_TEXT_MAX];

    if (s->dev.state != SDEV_RUNNING && s->dev.state != SDEV_BLOCK)
        return;
    sdev_log(s, LOG_LEVEL_WARN, "the unit is gone; offline");
    (void)lunette_fail(&why, -ENXIO, LUNETTE_DOM_NOTFOUND, 0, "the target has no LUN %s any more",
                       lun_format(lun_load(s->dev.lun), lun));
    sdev_set_failed(s, SDEV_OFFLINE, &why);
    sdev_raise(s, 1u << SCSI_EV_OFFLINE, 0);
    if (s->up != NULL)
        s->up->gone(s->bdev, -ENXIO);
}

/* s becomes a device.  Where it was probed in another nexus than there is now, it is looked at
 * again before it RUNs. */
static void
scan_add(struct scsi_scan_op *op, struct scsi_sdev *s)
{
    assert(list_empty(&s->dev.node));
    s->seen = true;
    list_push_back(&op->t->devices, &s->dev.node);
    if (s->dev.state == SDEV_CREATED_BLOCK)
        (void)sdev_set_state(s, SDEV_CREATED);
    (void)sdev_set_state(s, SDEV_RUNNING);
    if (op->t->host->state != SCSI_HOST_RUNNING || s->nexus != op->t->nexus)
        sdev_follow_host(s, op->t->host->state);
    sdev_raise(s, 1u << SCSI_EV_FOUND, 0);
}

/* op->cur has been found: it becomes a device, or is compared with the one that is known. */
static struct scsi_device *
scan_keep(struct scsi_scan_op *op)
{
    struct scsi_sdev *s = op->cur, *known;
    struct scsi_device *dev = scsi_find_device(op->t, s->dev.lun);
    char text[220];

    op->cur = NULL;
    if (op->lun0 == s)
        op->lun0 = NULL;
    if (dev == NULL) {
        scan_add(op, s);
        return &s->dev;
    }
    known = sdev_of(dev);
    known->seen = true;
    if (known->known && s->known && !ident_same(known, s, text, sizeof(text))) {
        sdev_replaced(known, text);
    } else {
        if (known->given_up)
            (void)scsi_device_online(dev);
        if (dev->disk != NULL && dev->disk->up && dev->state == SDEV_RUNNING)
            disk_want(dev->disk, STEPS_ALL);
    }
    sdev_free(s);
    return dev;
}

/* A device that nobody uses, and that has nothing under way: also no look in a new nexus, which
 * asks who the unit is by commands of a device of its own (ident.c).  (One that is used for raw
 * commands is not looked for once more before that use has ended.) */
static bool
scan_may_forget(const struct scsi_sdev *s)
{
    const struct scsi_disk *d = s->dev.disk;

    return s->dev.state == SDEV_OFFLINE && s->dev.user == NULL && s->inflight == 0 &&
           s->rc.step != RECONNECT_READY && s->rc.step != RECONNECT_IDENT && !sdev_in_eh(s) &&
           list_empty(&s->rm.node) && list_empty(&s->eh_tur.node) && (d == NULL || !d->running);
}

/* One unit is wanted by somebody who has opened none before it: where another one was there, which
 * nobody uses, that is forgotten, and op->cur is a device of its own. */
static void
scan_forget(struct scsi_scan_op *op)
{
    struct scsi_device *dev = scsi_find_device(op->t, op->cur->dev.lun);
    struct scsi_sdev *known;
    char text[220];

    if (dev == NULL)
        return;
    known = sdev_of(dev);
    if (known->known && op->cur->known && !ident_same(known, op->cur, text, sizeof(text)))
        sdev_replaced(known, text);
    if (known->replaced && scan_may_forget(known))
        sdev_free(known);
}

/* Looks at a LUN.  Returns false without memory, and then the scan has ended. */
static bool
scan_probe(struct scsi_scan_op *op, struct lun lun,
           void (*probed)(struct scsi_scan_op *op, enum probe_result r))
{
    assert(op->cur == NULL);
    if (sdev_new(op->t, lun.b, &op->cur) < 0) {
        (void)lunette_fail(&op->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
        scan_end(op, NULL, -ENOMEM);
        return false;
    }
    probe_start(op, probed);
    return true;
}

static void
scan_one_probed(struct scsi_scan_op *op, enum probe_result r)
{
    struct scsi_device *dev = NULL;

    if (op->anyway && (r == PROBE_ABSENT || r == PROBE_FAILED)) {
        op->cur->dev.type = SCSI_TYPE_NONE; /* no driver takes it */
        r = PROBE_FOUND;
    }
    if (r == PROBE_FOUND) {
        scan_forget(op);
        dev = scan_keep(op);
        if (dev->state == SDEV_OFFLINE) {
            (void)lunette_fail(&op->why, -ENODEV, LUNETTE_DOM_SCSI, 0,
                               "the device is offline, or another unit took its place");
            dev = NULL;
        }
    }
    scan_end(op, dev, 0);
}

/* ---- those that are known but were not seen: are they gone? ---- */

static void scan_check_unseen(struct scsi_scan_op *op);

/* Goes on looking for devices that are gone, unless the connection is. */
static void
scan_check_unseen_unless_lost(struct scsi_scan_op *op, enum probe_result r)
{
    if (r == PROBE_TRANSPORT)
        scan_end(op, NULL, op->why.code);
    else
        scan_check_unseen(op);
}

static void
scan_unseen_probed(struct scsi_scan_op *op, enum probe_result r)
{
    struct scsi_device *dev = scsi_find_device(op->t, op->cur->dev.lun);

    if (r == PROBE_FOUND) {
        (void)scan_keep(op);
    } else {
        if (dev != NULL) {
            sdev_of(dev)->seen = true;
            if (r == PROBE_ABSENT)
                scan_set_offline(sdev_of(dev));
        }
        sdev_free(op->cur);
        op->cur = NULL;
    }
    scan_check_unseen_unless_lost(op, r);
}

static void
scan_check_unseen(struct scsi_scan_op *op)
{
    LIST_FOREACH (n, &op->t->devices) {
        struct scsi_device *dev = container_of(n, struct scsi_device, node);

        if (!sdev_of(dev)->seen && dev->state != SDEV_DEL && dev->state != SDEV_CANCEL) {
            (void)scan_probe(op, lun_load(dev->lun), scan_unseen_probed);
            return;
        }
    }
    scan_end(op, NULL, 0);
}

/* ---- sequential ---- */

static void scan_next_sequential(struct scsi_scan_op *op);

/* True when a unit of the same name was found at another LUN: a target that ignores the LUN shows
 * one unit everywhere. */
static bool
scan_seen_elsewhere(const struct scsi_scan_op *op)
{
    char text[220];

    LIST_FOREACH (n, &op->t->devices) {
        struct scsi_sdev *s = sdev_of(container_of(n, struct scsi_device, node));

        if (s->seen && s->name_told && op->cur->name_told &&
            memcmp(s->dev.lun, op->cur->dev.lun, 8) != 0 &&
            ident_same(s, op->cur, text, sizeof(text)))
            return true;
    }
    return false;
}

static void
scan_sequential_probed(struct scsi_scan_op *op, enum probe_result r)
{
    if (r == PROBE_FOUND && !scan_seen_elsewhere(op)) {
        (void)scan_keep(op);
        scan_next_sequential(op);
        return;
    }
    sdev_free(op->cur);
    op->cur = NULL;
    scan_check_unseen_unless_lost(op, r);
}

static void
scan_next_sequential(struct scsi_scan_op *op)
{
    uint32_t max = op->t->params.max_scan_lun;

    if (op->level <= SCSI_LEVEL_SCSI2 && max > SEQ_SCSI2_LUNS)
        max = SEQ_SCSI2_LUNS;
    if (op->at >= max)
        scan_check_unseen(op);
    else
        (void)scan_probe(op, lun_from_number(op->at++), scan_sequential_probed);
}

/* LUN 0 has been asked for all that was wanted of the target: it becomes a device where it is one.
 */
static void
scan_settle_lun0(struct scsi_scan_op *op, bool listed)
{
    if (op->lun0 == NULL)
        return;
    if (op->lun0_there && listed) {
        op->cur = op->lun0;
        (void)scan_keep(op);
    } else {
        sdev_free(op->lun0);
    }
    op->lun0 = NULL;
}

static void
scan_start_sequential(struct scsi_scan_op *op)
{
    scan_settle_lun0(op, true);
    op->at = 1;
    scan_next_sequential(op);
}

/* ---- REPORT LUNS ---- */

static void
scan_listed_probed(struct scsi_scan_op *op, enum probe_result r)
{
    if (r == PROBE_FOUND) {
        (void)scan_keep(op);
    } else {
        log_line(op->t->loop->log, LOG_LEVEL_WARN, "%.15s: %s", op->t->host->name, op->why.msg);
        sdev_free(op->cur);
        op->cur = NULL;
    }
    /* Without a path there is none to the others either; and who has no memory to look at a unit
     * must not say that it is not there. */
    if (r == PROBE_TRANSPORT || (r == PROBE_FAILED && op->why.code == -ENOMEM))
        scan_end(op, NULL, op->why.code);
    else
        scan_next_lun(op);
}

static bool
scan_seen_already(const struct scsi_scan_op *op, struct lun lun)
{
    struct scsi_device *dev = scsi_find_device(op->t, lun.b);

    return dev != NULL && sdev_of(dev)->seen;
}

static void
scan_next_lun(struct scsi_scan_op *op)
{
    static const struct lun none = {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}};

    while (op->at < op->count) {
        struct lun lun = report_luns_get(op->list, op->at++);

        if (lun_equal(lun, none) || scan_seen_already(op, lun))
            continue;
        (void)scan_probe(op, lun, scan_listed_probed);
        return;
    }
    scan_check_unseen(op);
}

static void
scan_take_list(struct scsi_scan_op *op, uint32_t count)
{
    bool lun0_listed = count == 0; /* an empty list is no news: what INQUIRY said of LUN 0 holds */

    op->t->luns_changed = false;
    op->count = count < SCSI_LUNS_MAX ? count : SCSI_LUNS_MAX;
    op->at = 0;
    op->list = op->buf; /* the list stays; commands of the scan get other memory */
    op->buf = malloc(SCSI_BUF_SIZE);
    op->buf_size = SCSI_BUF_SIZE;
    if (op->buf == NULL) {
        op->buf_size = 0;
        (void)lunette_fail(&op->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
        scan_end(op, NULL, -ENOMEM);
        return;
    }
    for (uint32_t i = 0; i < op->count && op->lun0 != NULL && !lun0_listed; i++)
        lun0_listed = memcmp(report_luns_get(op->list, i).b, op->lun0->dev.lun, 8) == 0;
    scan_settle_lun0(op, lun0_listed);
    scan_next_lun(op);
}

static void scan_list_done(struct scsi_scan_op *op);

static void
scan_ask_list(struct scsi_scan_op *op)
{
    scan_send(op, op->wlun != NULL ? op->wlun : op->lun0, cdb_report_luns(op->cdb, 0, op->buf_size),
              op->buf_size, SCSI_TIMEOUT_MS, scan_list_done);
}

/* Asks for the list again with more room where it was cut, or ends the scan where there is none;
 * else returns false. */
static bool
scan_grow_list(struct scsi_scan_op *op, uint64_t total)
{
    uint64_t max = REPORT_LUNS_LEN(SCSI_LUNS_MAX);
    uint8_t *buf;

    if (total > max)
        total = max;
    if (total <= op->buf_size || op->grows >= GROWS_MAX)
        return false;
    buf = realloc(op->buf, (size_t)total);
    if (buf == NULL) { /* a part of the list would be taken for all of it */
        (void)lunette_fail(&op->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
        scan_end(op, NULL, -ENOMEM);
        return true;
    }
    op->grows++;
    op->buf = buf;
    op->buf_size = (uint32_t)total;
    scan_ask_list(op);
    return true;
}

/* LUN 0 does not know REPORT LUNS: asks the well-known LUN that is made for it (SPC), once.  False
 * where that makes no sense. */
static bool
scan_ask_well_known(struct scsi_scan_op *op)
{
    struct scsi_sense s;

    if (op->wlun_tried || !scan_sense(op, &s) || s.key != SENSE_ILLEGAL_REQUEST ||
        (s.asc != 0x20 && s.asc != 0x25))
        return false;
    op->wlun_tried = true;
    if (sdev_new(op->t, lun_well_known(1).b, &op->wlun) < 0) {
        (void)lunette_fail(&op->why, -ENOMEM, LUNETTE_DOM_OS, ENOMEM, "out of memory");
        scan_end(op, NULL, -ENOMEM);
    } else {
        scan_ask_list(op);
    }
    return true;
}

static void
scan_list_done(struct scsi_scan_op *op)
{
    uint64_t total;
    int n;

    if (op->x.result.err != 0) {
        (void)lunette_fail(&op->why, op->x.result.err, LUNETTE_DOM_SCSI, 0,
                           "REPORT LUNS got no answer");
        scan_end(op, NULL, op->x.result.err);
        return;
    }
    if (!scan_good(op)) {
        if (!scan_ask_well_known(op))
            scan_start_sequential(op);
        return;
    }
    n = report_luns_count(op->buf, op->x.in_len, &total);
    if (n < 0)
        scan_start_sequential(op);
    else if (!scan_grow_list(op, total))
        scan_take_list(op, (uint32_t)n);
}

static void
scan_lun0_probed(struct scsi_scan_op *op, enum probe_result r)
{
    op->lun0 = op->cur;
    op->cur = NULL;
    op->lun0_there = r == PROBE_FOUND;
    op->level = op->lun0->dev.level;
    if (r == PROBE_TRANSPORT)
        scan_end(op, NULL, op->why.code);
    else if (r == PROBE_FAILED || op->level > SCSI_LEVEL_SCSI2 || op->level == 0)
        scan_ask_list(op);
    else
        scan_start_sequential(op);
}

/* ---- the queue of scans ---- */

static void
scan_start(struct scsi_scan_op *op)
{
    op->running = true;
    TRACE(op->t->loop, scsi_scan, 0, 0);
    if (op->one) {
        (void)scan_probe(op, op->lun, scan_one_probed);
        return;
    }
    LIST_FOREACH (n, &op->t->devices) {
        sdev_of(container_of(n, struct scsi_device, node))->seen = false;
    }
    (void)scan_probe(op, lun_from_number(0), scan_lun0_probed);
}

void
scsi_scan_work(struct loop_work *w)
{
    struct scsi_target *t = container_of(w, struct scsi_target, scan_work);
    struct scsi_scan_op *op;

    if (list_empty(&t->scans))
        return;
    op = container_of(t->scans.next, struct scsi_scan_op, node);
    if (!op->running)
        scan_start(op);
}

void
scsi_scan_fail_all(struct scsi_target *t, int err)
{
    while (!list_empty(&t->scans)) {
        struct scsi_scan_op *op = container_of(t->scans.next, struct scsi_scan_op, node);

        list_del(&op->x.node); /* from the commands that wait */
        (void)lunette_fail(&op->why, err, LUNETTE_DOM_SCSI, 0, "the target is being closed");
        scan_end(op, NULL, err);
    }
}

static struct scsi_scan_op *
scan_new(struct scsi_target *t, void *user)
{
    struct scsi_scan_op *op = calloc(1, sizeof(*op));

    if (op == NULL)
        return NULL;
    op->buf = malloc(LIST_ALLOC);
    op->buf_size = LIST_ALLOC;
    if (op->buf == NULL) {
        free(op);
        return NULL;
    }
    op->t = t;
    op->user = user;
    list_init(&op->x.node);
    list_push_back(&t->scans, &op->node);
    loop_defer(t->loop, &t->scan_work);
    return op;
}

int
scsi_scan(struct scsi_target *t, void (*done)(void *user, int err, const struct lunette_error *why),
          void *user)
{
    struct scsi_scan_op *op = scan_new(t, user);

    if (op == NULL)
        return -ENOMEM;
    op->done_all = done;
    return 0;
}

static int
scan_one_lun(struct scsi_target *t, const uint8_t lun[8], bool anyway,
             void (*done)(void *user, struct scsi_device *dev, const struct lunette_error *why),
             void *user)
{
    struct scsi_scan_op *op = scan_new(t, user);

    if (op == NULL)
        return -ENOMEM;
    op->one = true;
    op->anyway = anyway;
    op->lun = lun_load(lun);
    op->done_one = done;
    return 0;
}

int
scsi_scan_lun(struct scsi_target *t, const uint8_t lun[8],
              void (*done)(void *user, struct scsi_device *dev, const struct lunette_error *why),
              void *user)
{
    return scan_one_lun(t, lun, false, done, user);
}

int
scsi_add_lun(struct scsi_target *t, const uint8_t lun[8],
             void (*done)(void *user, struct scsi_device *dev, const struct lunette_error *why),
             void *user)
{
    return scan_one_lun(t, lun, true, done, user);
}
