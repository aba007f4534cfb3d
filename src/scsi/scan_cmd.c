/* SPDX-License-Identifier: MIT */
/* scsi/scan_cmd.c - the commands of a scan: sending one, and what its answer says. */
#include <assert.h>

#include "scsi/scan.h"

static void
scan_command_done(struct scsi_exec *x)
{
    struct scsi_scan_op *op = container_of(x, struct scsi_scan_op, x);

    op->next(op);
}

bool
scan_sense(const struct scsi_scan_op *op, struct scsi_sense *ret)
{
    return op->x.result.scsi_status == SCSI_CHECK_CONDITION &&
           sense_parse(op->x.io.sc.sense, op->x.result.sense_len, ret);
}

bool
scan_good(const struct scsi_scan_op *op)
{
    struct scsi_sense s;

    return op->x.result.err == 0 &&
           (op->x.result.scsi_status == SCSI_GOOD ||
            (scan_sense(op, &s) && s.key == SENSE_RECOVERED && !s.deferred));
}

void
scan_send(struct scsi_scan_op *op, struct scsi_sdev *s, int cdb_len, uint32_t in_len,
          uint32_t timeout_ms, void (*next)(struct scsi_scan_op *op))
{
    int err;

    assert(in_len <= op->buf_size && list_empty(&op->x.node));
    memset(op->buf, 0, in_len);
    if (timeout_ms > op->t->params.timeout_ms)
        timeout_ms = op->t->params.timeout_ms; /* who asks for quicker answers means these too */
    op->next = next;
    op->iov = (struct iovec){op->buf, in_len};
    op->x = (struct scsi_exec){.cdb = op->cdb,
                               .cdb_len = (uint16_t)cdb_len,
                               .ua_retries = SCSI_UA_TRIES,
                               .timeout_ms = timeout_ms,
                               .in = sg_from_iov(&op->iov, 1, 0, in_len),
                               .done = scan_command_done};
    list_init(&op->x.node); /* it is on no list, even where it cannot be sent */
    err = scsi_execute_internal(s, &op->x);
    if (err < 0) {
        op->x.result = (struct bdev_result){.err = err};
        next(op);
    }
}
