/* SPDX-License-Identifier: MIT */
/* scsi/judge.c - what the end of a command means: transport result, status, sense, as tables.
 *
 * The first row that matches wins.  Nothing here has a side effect.
 */
#include <errno.h>

#include "scsi/internal.h"

#define ANY   (-1)
#define EV(x) (1u << SCSI_EV_##x)

static const struct scsi_verdict host_rows[] = {
    [DID_OK] = {.action = ACT_DONE},
    [DID_NO_CONNECT] = {ACT_FAIL, -ENOTCONN, true, false, 0, 0},
    [DID_BAD_TARGET] = {ACT_FAIL, -EPROTO, false, false, 0, 0},
    [DID_TRANSPORT_DISRUPTED] = {ACT_REPLAY, -ENOLINK, true, true, 0, 0},
    [DID_TRANSPORT_FAILFAST] = {ACT_FAIL, -ENOTCONN, true, false, 0, 0},
    [DID_IMM_RETRY] = {ACT_AGAIN, -ENOTCONN, false, false, 0, 0},
    [DID_REQUEUE] = {ACT_AGAIN, -ENOTCONN, false, false, 0, 0},
    [DID_ERROR] = {ACT_RETRY, -ENOLINK, true, true, 0, 0},
    [DID_ABORT] = {ACT_RETRY, -ECANCELED, false, true, 0, 0},
    [DID_RESET] = {ACT_SWEPT, -ECANCELED, false, true, 0, 0},
    [DID_TIME_OUT] = {ACT_RETRY, -ETIMEDOUT, true, true, 0, 0},
};

struct scsi_verdict
scsi_judge_host(enum scsi_host_result r)
{
    static const struct scsi_verdict nonsense = {ACT_FAIL, -EPROTO, false, false, 0, 0};

    return (size_t)r < sizeof(host_rows) / sizeof(host_rows[0]) ? host_rows[r] : nonsense;
}

struct scsi_verdict
scsi_judge_status(uint8_t status)
{
    switch ((enum scsi_status)status) {
    case SCSI_GOOD:
    case SCSI_CONDITION_MET:
        return (struct scsi_verdict){.action = ACT_DONE};
    case SCSI_CHECK_CONDITION:
        return (struct scsi_verdict){.action = ACT_SENSE, .err = -EIO};
    case SCSI_BUSY:
        return (struct scsi_verdict){.action = ACT_DELAY, .err = -EBUSY};
    case SCSI_TASK_SET_FULL:
        return (struct scsi_verdict){.action = ACT_FULL, .err = -EBUSY};
    case SCSI_RESERVATION_CONFLICT:
        return (struct scsi_verdict){.action = ACT_FAIL, .err = -EBADE};
    case SCSI_TASK_ABORTED:
        return (struct scsi_verdict){.action = ACT_RETRY, .err = -ECANCELED, .maybe_done = true};
    case SCSI_ACA_ACTIVE:
        return (struct scsi_verdict){.action = ACT_ACA, .err = -EIO};
    case SCSI_COMMAND_TERMINATED:
        return (struct scsi_verdict){.action = ACT_FAIL, .err = -EIO};
    case SCSI_INTERMEDIATE:
    case SCSI_INTERMEDIATE_CONDITION_MET:
    default:
        return (struct scsi_verdict){.action = ACT_FAIL, .err = -EPROTO};
    }
}

struct sense_row {
    int16_t key, asc, ascq; /* ANY matches all */
    enum scsi_action action;
    int err;
    uint32_t steps, events;
};

static const struct sense_row sense_rows[] = {
    {SENSE_NO_SENSE, ANY, ANY, ACT_NOTHING_MOVED, -EIO, 0, 0},
    {SENSE_RECOVERED, ANY, ANY, ACT_DONE, 0, 0, 0},
    {SENSE_NOT_READY, 0x04, 0x01, ACT_RETRY_DELAY, -EIO, 0, 0},
    {SENSE_NOT_READY, 0x04, 0x04, ACT_DELAY, -EIO, 0, 0},         /* format in progress */
    {SENSE_NOT_READY, 0x04, 0x05, ACT_DELAY, -EIO, 0, 0},         /* rebuild */
    {SENSE_NOT_READY, 0x04, 0x06, ACT_DELAY, -EIO, 0, 0},         /* recalculation */
    {SENSE_NOT_READY, 0x04, 0x07, ACT_DELAY, -EIO, 0, 0},         /* operation */
    {SENSE_NOT_READY, 0x04, 0x08, ACT_DELAY, -EIO, 0, 0},         /* long write */
    {SENSE_NOT_READY, 0x04, 0x09, ACT_DELAY, -EIO, 0, 0},         /* self-test */
    {SENSE_NOT_READY, 0x04, 0x0a, ACT_ALUA, -EHOSTUNREACH, 0, 0}, /* in transition: see alua.c */
    {SENSE_NOT_READY, 0x04, 0x0b, ACT_FAIL, -EHOSTUNREACH, 0, 0}, /* standby */
    {SENSE_NOT_READY, 0x04, 0x0c, ACT_FAIL, -EHOSTUNREACH, 0, 0}, /* unavailable */
    {SENSE_NOT_READY, 0x04, 0x11, ACT_DELAY, -EIO, 0, 0},         /* notify needed */
    {SENSE_NOT_READY, 0x04, 0x14, ACT_DELAY, -EIO, 0, 0},         /* space allocation */
    {SENSE_NOT_READY, 0x04, 0x1a, ACT_DELAY, -EIO, 0, 0},         /* start/stop */
    {SENSE_NOT_READY, 0x04, 0x1b, ACT_DELAY, -EIO, 0, 0},         /* sanitize */
    {SENSE_NOT_READY, 0x04, 0x1d, ACT_DELAY, -EIO, 0, 0},         /* configuration */
    {SENSE_NOT_READY, 0x3a, ANY, ACT_FAIL, -ENOMEDIUM, STEPS_CAPACITY, 0},
    {SENSE_NOT_READY, ANY, ANY, ACT_FAIL, -EIO, 0, 0},
    {SENSE_MEDIUM_ERROR, 0x11, ANY, ACT_FAIL, -ENODATA, 0, 0},
    {SENSE_MEDIUM_ERROR, 0x13, ANY, ACT_FAIL, -ENODATA, 0, 0},
    {SENSE_MEDIUM_ERROR, 0x14, ANY, ACT_FAIL, -ENODATA, 0, 0},
    {SENSE_MEDIUM_ERROR, ANY, ANY, ACT_RETRY, -EIO, 0, 0},
    {SENSE_HARDWARE_ERROR, ANY, ANY, ACT_FAIL, -EREMOTEIO, 0, 0},
    {SENSE_ILLEGAL_REQUEST, 0x20, ANY, ACT_OPCODE, -EREMOTEIO, 0, 0},
    {SENSE_ILLEGAL_REQUEST, 0x21, ANY, ACT_FAIL, -EREMOTEIO, STEPS_CAPACITY, 0},
    {SENSE_ILLEGAL_REQUEST, 0x22, ANY, ACT_FIELD, -EREMOTEIO, 0, 0},
    {SENSE_ILLEGAL_REQUEST, 0x24, ANY, ACT_FIELD, -EREMOTEIO, 0, 0},
    {SENSE_ILLEGAL_REQUEST, 0x26, ANY, ACT_FIELD, -EREMOTEIO, 0, 0},
    {SENSE_ILLEGAL_REQUEST, 0x25, ANY, ACT_FAIL, -ENXIO, 0, EV(LUNS_CHANGED)},
    {SENSE_ILLEGAL_REQUEST, 0x10, ANY, ACT_FAIL, -EBADMSG, 0, 0},
    {SENSE_ILLEGAL_REQUEST, 0x27, ANY, ACT_FAIL, -EROFS, STEPS_MODE, 0},
    {SENSE_ILLEGAL_REQUEST, 0x67, 0x0a, ACT_FAIL, -EREMOTEIO, 0, 0},
    {SENSE_ILLEGAL_REQUEST, ANY, ANY, ACT_FAIL, -EIO, 0, 0},
    {SENSE_UNIT_ATTENTION, ANY, ANY, ACT_UA, -EIO, 0, 0},
    {SENSE_DATA_PROTECT, 0x27, 0x07, ACT_FAIL, -ENOSPC, 0, 0},
    {SENSE_DATA_PROTECT, 0x27, ANY, ACT_FAIL, -EROFS, STEPS_MODE, 0},
    {SENSE_DATA_PROTECT, ANY, ANY, ACT_FAIL, -EREMOTEIO, 0, 0}, /* or no zone resources */
    {SENSE_BLANK_CHECK, ANY, ANY, ACT_FAIL, -EREMOTEIO, 0, 0},
    {SENSE_COPY_ABORTED, ANY, ANY, ACT_FAIL, -EREMOTEIO, 0, 0},
    {SENSE_ABORTED_COMMAND, 0x10, ANY, ACT_FAIL, -EBADMSG, 0, 0},
    {SENSE_ABORTED_COMMAND, 0x0c, 0x0c, ACT_RETRY_LINK, -EIO, 0, 0}, /* RFC 7143 11.4.7.2 */
    {SENSE_ABORTED_COMMAND, 0x0c, 0x0d, ACT_RETRY_LINK, -EIO, 0, 0},
    {SENSE_ABORTED_COMMAND, 0x47, 0x05, ACT_RETRY_LINK, -EIO, 0, 0},
    {SENSE_ABORTED_COMMAND, 0x11, 0x13, ACT_RETRY_LINK, -EIO, 0, 0},
    {SENSE_ABORTED_COMMAND, ANY, ANY, ACT_RETRY, -EIO, 0, 0},
    {SENSE_VOLUME_OVERFLOW, ANY, ANY, ACT_FAIL, -EREMOTEIO, 0, 0},
    {SENSE_MISCOMPARE, ANY, ANY, ACT_FAIL, -EILSEQ, 0, 0},
    {ANY, ANY, ANY, ACT_FAIL, -EIO, 0, 0},
};

struct scsi_verdict
scsi_judge_sense(const struct scsi_sense *s)
{
    if (s->deferred) /* an earlier command failed (SPC): this one is not to blame, and is sent again
                      */
        return (struct scsi_verdict){
            .action = ACT_RETRY, .err = -EIO, .events = EV(DEFERRED_ERROR)};
    for (const struct sense_row *r = sense_rows;; r++) {
        if ((r->key == ANY || r->key == s->key) && (r->asc == ANY || r->asc == s->asc) &&
            (r->ascq == ANY || r->ascq == s->ascq))
            return (struct scsi_verdict){.action = r->action,
                                         .err = r->err,
                                         /* It may have written before it failed. */
                                         .maybe_done = s->key == SENSE_MEDIUM_ERROR ||
                                                       s->key == SENSE_ABORTED_COMMAND,
                                         .steps = r->steps,
                                         .events = r->events};
    }
}

struct ua_row {
    int16_t asc, first, last; /* ASCQ from .. to */
    uint8_t what;
    uint32_t steps, events;
};

#define RESET (UA_RESET | UA_UNIT | UA_ALUA)

static const struct ua_row ua_rows[] = {
    {0x28, 0x00, 0x00, 0, STEPS_CAPACITY, 0},
    {0x29, 0x00, 0x00, RESET | UA_POWER, STEPS_CAPACITY | STEPS_MODE, EV(POWER_ON)},
    {0x29, 0x01, 0x01, RESET | UA_POWER | UA_SURE, STEPS_CAPACITY | STEPS_MODE, EV(POWER_ON)},
    {0x29, 0x02, 0x03, RESET, STEPS_CAPACITY | STEPS_MODE, EV(POWER_ON)},
    {0x29, 0x04, 0x04, RESET | UA_POWER | UA_SURE, STEPS_CAPACITY | STEPS_MODE, EV(POWER_ON)},
    {0x29, 0x05, 0x06, 0, 0, 0},
    {0x29, 0x07, 0x07, RESET, STEPS_CAPACITY | STEPS_MODE, EV(POWER_ON)},
    {0x2a, 0x00, 0x01, UA_LOOK, STEPS_MODE, EV(MODE)},
    {0x2a, 0x02, 0x02, 0, 0, 0},
    /* What was not told because of somebody's reservation may be told now. */
    {0x2a, 0x03, 0x05, 0, STEPS_MODE, EV(RESERVATIONS)},
    {0x2a, 0x06, 0x07, UA_ALUA | UA_LOOK, 0, EV(ALUA)},
    {0x2a, 0x09, 0x09, UA_LOOK, STEPS_CAPACITY, EV(CAPACITY)},
    {0x2a, 0x00, 0xff, 0, 0, 0},
    {0x2f, 0x00, 0x03, 0, 0, 0},
    {0x38, 0x07, 0x07, 0, 0, EV(SOFT_THRESHOLD)},
    {0x3f, 0x00, 0x00, 0, STEPS_ALL, 0},
    {0x3f, 0x01, 0x01, 0, STEPS_ALL, EV(INQUIRY_CHANGED)},
    {0x3f, 0x02, 0x02, 0, STEPS_ALL, 0},
    {0x3f, 0x03, 0x03, UA_UNIT, STEPS_ALL, EV(INQUIRY_CHANGED)},
    {0x3f, 0x04, 0x04, 0, 0, 0},
    {0x3f, 0x05, 0x05, UA_UNIT, STEPS_ALL, EV(INQUIRY_CHANGED)},
    {0x3f, 0x06, 0x0b, 0, 0, 0},
    {0x3f, 0x0c, 0x0e, UA_UNIT, 0, EV(LUNS_CHANGED)},
    {0x3f, 0x0f, 0x15, 0, 0, 0},
    {0x3f, 0x16, 0x16, 0, STEPS_ALL, EV(INQUIRY_CHANGED)},
    {0x3f, 0x17, 0x1a, 0, 0, 0},
    {0x47, 0x7f, 0x7f, 0, 0, 0}, /* RFC 7143 11.14.5 */
    {0x5a, 0x00, 0xff, 0, 0, 0},
    {0x5b, 0x00, 0xff, 0, 0, 0},
    {0x5c, 0x00, 0xff, 0, 0, 0},
    {0x5d, 0x00, 0xff, 0, 0, 0},
    {0x5e, 0x00, 0xff, 0, 0, 0},
    {ANY, 0x00, 0xff, 0, STEPS_ALL, 0},
};

struct ua_effects
scsi_ua_effects(uint8_t asc, uint8_t ascq)
{
    const struct ua_row *r = ua_rows;

    while (!((r->asc == ANY || r->asc == asc) && ascq >= r->first && ascq <= r->last))
        r++;
    return (struct ua_effects){.steps = r->steps, .events = r->events, .what = r->what};
}
