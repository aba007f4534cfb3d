/* SPDX-License-Identifier: MIT */
/* scsi/alua.c - asymmetric access (SPC, ALUA) of the one path that a disk has here.
 *
 * A unit that says so in INQUIRY (TPGS) is asked by REPORT TARGET PORT GROUPS for the state of the
 * target port group that answers: when the disk comes up, after each new nexus, after unit
 * attentions that put the state into question, and when a command is refused because of it.
 *
 *     optimized, non-optimized, LBA dependent     commands go
 *     transitioning                               they wait, as long as the unit says, or 60 s
 *     standby, unavailable, offline, and          they fail at once with -EHOSTUNREACH: with one
 * path transitioning for longer than that          there is nothing that waiting would be good for
 *
 * While no commands go the unit is asked again and again.  It establishes a unit attention when the
 * state changes, but that comes with the next command only, and there would be none.  What is at
 * the LUN is looked at anew before I/O goes on after it had failed.
 *
 * SET TARGET PORT GROUPS is never sent: two initiators, each of which wants another path, would
 * have the unit go to and fro.
 */
#include <errno.h>
#include <stdlib.h>

#include "scsi/alua.h"
#include "scsi/disk_up.h"

#define ALUA_ALLOC_MORE   4096u
#define ALUA_ALLOC_MAX    65536u /* REPORT TARGET PORT GROUPS may list that much */
#define ALUA_POLL_WAIT_MS 2000u  /* while it lasts */
#define ALUA_POLL_FAIL_MS 5000u  /* while the path takes no I/O */

static void alua_send(struct disk_alua *a);

/* The run of the disk that waits for the state goes on, or ends. */
static void
alua_step_end(struct disk_alua *a)
{
    struct scsi_disk *d = a->disk;

    if (!a->step || d->sdev->access == ACCESS_WAIT)
        return;
    a->step = false;
    if (d->sdev->access == ACCESS_FAIL)
        disk_fail(d, -EHOSTUNREACH, "%s", scsi_path_trouble(&d->sdev->dev));
    else
        disk_step_done(d);
}

/* What follows from the state as it is known now. */
static void
alua_settle(struct disk_alua *a)
{
    struct scsi_disk *d = a->disk;
    struct scsi_sdev *s = d->sdev;
    struct loop *l = s->dev.target->loop;
    uint32_t ms = ALUA_POLL_FAIL_MS;

    alua_set_gate(a);
    loop_timer_stop(l, &a->poll);
    if (s->access == ACCESS_WAIT) {
        uint64_t left = alua_wait_left_ns(a) / LOOP_NS_PER_MS + 1;

        ms = left < ALUA_POLL_WAIT_MS ? (uint32_t)left : ALUA_POLL_WAIT_MS;
    }
    if (s->access != ACCESS_OK && (d->up || d->running))
        loop_timer_start(l, &a->poll, ms * LOOP_NS_PER_MS);
    alua_step_end(a);
}

static bool
alua_sense(const struct alua_question *q, struct scsi_sense *ret)
{
    return q->x.result.scsi_status == SCSI_CHECK_CONDITION &&
           sense_parse(q->x.io.sc.sense, q->x.result.sense_len, ret) && !ret->deferred;
}

static bool
alua_good(const struct alua_question *q)
{
    struct scsi_sense s;

    return q->x.result.scsi_status == SCSI_GOOD || (alua_sense(q, &s) && s.key == SENSE_RECOVERED);
}

/* The list is longer than what was asked for: true where it makes sense to ask for more. */
static bool
alua_grow(struct disk_alua *a, uint32_t total)
{
    if (total <= a->q->size || a->q->size == ALUA_ALLOC_MAX)
        return false;
    a->size = total <= ALUA_ALLOC_MORE ? ALUA_ALLOC_MORE : ALUA_ALLOC_MAX;
    return true;
}

/* Returns true when the command is to be sent once more. */
static bool
alua_take_groups(struct disk_alua *a)
{
    struct scsi_device *dev = &a->disk->sdev->dev;
    const struct alua_question *q = a->q;
    struct alua_iter it;
    struct alua_group g;
    uint32_t total;

    if (alua_iter_init(&it, q->buf, q->x.in_len, &total) == 0 && alua_grow(a, total))
        return true;
    if (!alua_find(q->buf, q->x.in_len, dev->port_group, dev->rel_port, &g, &a->transition_s)) {
        alua_not_told(a, "REPORT TARGET PORT GROUPS does not tell of our target port group");
        return false;
    }
    a->mute = false;
    dev->alua_preferred = g.preferred;
    alua_take(a, g.state);
    return false;
}

/* The same for sense data. */
static bool
alua_refused(struct disk_alua *a)
{
    struct scsi_sense s;

    if (!alua_sense(a->q, &s))
        return false;
    if (s.key == SENSE_ILLEGAL_REQUEST) {
        if (a->no_ext) {
            alua_not_told(a, "REPORT TARGET PORT GROUPS is refused");
            return false;
        }
        a->no_ext = true;
        return true;
    }
    if (s.key == SENSE_NOT_READY && s.asc == 0x04 && s.ascq == 0x0a)
        alua_take(a, ALUA_TRANSITIONING);
    return false; /* anything else is no news of the state */
}

static void
alua_no_memory(struct disk_alua *a)
{
    bool step = a->step;

    a->step = false;
    alua_settle(a); /* a path that takes no I/O is asked again later */
    if (step)
        disk_fail(a->disk, -ENOMEM, "out of memory");
    else
        disk_miss(a->disk, STEP_ALUA);
}

/* No answer came: the run of the disk finds out why with its next command. */
static void
alua_lost(struct disk_alua *a)
{
    bool step = a->step;

    a->step = a->again = false;
    alua_settle(a);
    if (step)
        disk_step_missed(a->disk);
    else
        disk_miss(a->disk, STEP_ALUA);
}

static void
alua_drop_question(struct disk_alua *a)
{
    free(a->q);
    a->q = NULL;
}

static void
alua_rtpg_done(struct scsi_exec *x)
{
    struct disk_alua *a = container_of(x, struct alua_question, x)->alua;
    bool lost = x->result.err != 0, once_more = false;

    if (!lost)
        once_more = alua_good(a->q) ? alua_take_groups(a) : alua_refused(a);
    alua_drop_question(a);
    if (lost) {
        alua_lost(a);
    } else if (once_more || a->again) {
        a->again = false;
        alua_send(a);
    } else {
        alua_settle(a);
    }
}

static void
alua_ids_done(struct scsi_exec *x)
{
    struct disk_alua *a = container_of(x, struct alua_question, x)->alua;
    struct scsi_device *dev = &a->disk->sdev->dev;
    bool lost = x->result.err != 0;

    if (!lost && alua_good(a->q))
        vpd_port_ids(a->q->buf, x->in_len, &dev->rel_port, &dev->port_group);
    alua_drop_question(a);
    if (lost) {
        alua_lost(a);
        return;
    }
    a->ids_stale = false;
    alua_send(a);
}

static struct alua_question *
alua_new_question(struct disk_alua *a)
{
    struct alua_question *q = calloc(1, sizeof(*q) + a->size);

    if (q == NULL)
        return NULL;
    q->alua = a;
    q->size = a->size;
    q->iov = (struct iovec){q->buf, q->size};
    list_init(&q->x.node);
    return q;
}

static void
alua_send(struct disk_alua *a)
{
    struct scsi_sdev *s = a->disk->sdev;
    bool ids = a->ids_stale && s->has_83;
    struct alua_question *q = alua_new_question(a);
    int len;

    if (q == NULL) {
        alua_no_memory(a);
        return;
    }
    a->q = q;
    len = ids ? cdb_inquiry_vpd(q->cdb, VPD_DEVICE_ID,
                                (uint16_t)(q->size < UINT16_MAX ? q->size : UINT16_MAX))
              : cdb_rtpg(q->cdb, !a->no_ext, q->size);
    q->x.cdb = q->cdb;
    q->x.cdb_len = (uint16_t)len;
    q->x.ua_retries = SCSI_UA_TRIES;
    q->x.timeout_ms = s->dev.target->params.timeout_ms;
    q->x.in = sg_from_iov(&q->iov, 1, 0, q->size);
    q->x.done = ids ? alua_ids_done : alua_rtpg_done;
    if (scsi_execute_internal(s, &q->x) < 0) { /* there is no session */
        alua_drop_question(a);
        alua_lost(a);
    }
}

static void
alua_work(struct loop_work *w)
{
    struct disk_alua *a = container_of(w, struct disk_alua, work);

    if (a->q == NULL)
        alua_send(a);
}

static void
alua_poll(struct loop_timer *t)
{
    struct disk_alua *a = container_of(t, struct disk_alua, poll);
    struct scsi_sdev *s = a->disk->sdev;

    /* Without a session, the next nexus asks; a device that is offline or removed does when it is
     * online again. */
    if (a->step || (s->dev.target->host->state == SCSI_HOST_RUNNING &&
                    (s->dev.state == SDEV_RUNNING || s->dev.state == SDEV_BLOCK)))
        (void)alua_ask(s);
}

void
disk_start_alua(struct scsi_disk *d)
{
    struct disk_alua *a = d->alua;

    if (a == NULL) {
        disk_step_done(d);
        return;
    }
    d->x.result = (struct bdev_result){0}; /* which disk_fail would tell of */
    a->step = true;
    (void)alua_ask(d->sdev);
}

int
alua_new(struct scsi_disk *d)
{
    struct disk_alua *a;

    if (d->alua != NULL || d->sdev->dev.tpgs == 0)
        return 0;
    a = calloc(1, sizeof(*a));
    if (a == NULL)
        return -ENOMEM;
    a->disk = d;
    a->size = ALUA_ALLOC;
    loop_timer_init(&a->poll, alua_poll);
    loop_work_init(&a->work, alua_work);
    d->alua = a;
    return 0;
}
