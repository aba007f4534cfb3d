/* SPDX-License-Identifier: MIT */
/* scsi/scan.h - what scan.c, which goes over the LUNs, and probe.c, which looks at one, share. */
#ifndef SCSI_SCAN_H
#define SCSI_SCAN_H

#include "scsi/internal.h"

enum probe_result {
    PROBE_FOUND,
    PROBE_ABSENT,    /* no logical unit there */
    PROBE_FAILED,    /* answered, but with an error: this LUN only */
    PROBE_TRANSPORT, /* no answer: no use in going on */
};

struct scsi_scan_op {
    struct list node; /* of the target */
    struct scsi_target *t;
    bool one;    /* scan_lun */
    bool anyway; /* its device is made even if no unit answers */
    bool running;
    struct lun lun;
    void (*done_all)(void *user, int err, const struct lunette_error *why);
    void (*done_one)(void *user, struct scsi_device *dev, const struct lunette_error *why);
    void *user;
    struct lunette_error why; /* of the last probe that did not find */

    struct scsi_sdev *cur; /* being looked at; becomes a device or is freed */
    struct scsi_inquiry inq;
    uint8_t tries, page;
    bool second; /* the longer form of a command */
    void (*probed)(struct scsi_scan_op *op, enum probe_result r);

    struct scsi_sdev *lun0; /* asked for the list; a device if it is in the list */
    struct scsi_sdev *wlun; /* asked when LUN 0 did not know */
    bool lun0_there, wlun_tried;
    uint8_t level;
    uint8_t grows;
    uint8_t *list;      /* REPORT LUNS data, once it is had */
    uint32_t count, at; /* LUNs in the list; sequential: LUN number */

    struct scsi_exec x;
    void (*next)(struct scsi_scan_op *op);
    uint8_t cdb[CDB_MAX];
    struct iovec iov;
    uint8_t *buf;
    uint32_t buf_size;
};

/* Sends op->cdb to s. */
void scan_send(struct scsi_scan_op *op, struct scsi_sdev *s, int cdb_len, uint32_t in_len,
               uint32_t timeout_ms, void (*next)(struct scsi_scan_op *op));
bool scan_good(const struct scsi_scan_op *op);
bool scan_sense(const struct scsi_scan_op *op, struct scsi_sense *ret);

/* Looks at op->cur by INQUIRY and VPD pages, fills it in, then calls probed. */
void probe_start(struct scsi_scan_op *op,
                 void (*probed)(struct scsi_scan_op *op, enum probe_result r));

#endif
