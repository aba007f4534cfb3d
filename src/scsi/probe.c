/* SPDX-License-Identifier: MIT */
/* scsi/probe.c - one LUN: is a logical unit there, what is it, what is its name?
 *
 * Everything a target says is bounded by what was received and cleaned before
 * it is kept; a page that makes no sense is as good as absent.
 */
#include <errno.h>

#include "scsi/scan.h"

#define INQUIRY_TRIES 3
#define INQUIRY_LONG  255
#define VPD_FIRST     252 /* fits the one-byte length of old devices */

static void
end(struct scsi_scan_op *op, enum probe_result r)
{
    op->probed(op, r);
}

static void
failed(struct scsi_scan_op *op, const char *what)
{
    struct scsi_sense s;
    char text[SENSE_TEXT_MAX], lun[LUN_TEXT_MAX];

    (void)lun_format(lun_load(op->cur->dev.lun), lun);
    if (op->x.result.err != 0) {
        (void)lunette_fail(&op->why, op->x.result.err, LUNETTE_DOM_SCSI, 0,
                           "LUN %s: %s got no answer", lun, what);
        end(op, PROBE_TRANSPORT);
        return;
    }
    if (scan_sense(op, &s))
        (void)lunette_fail(&op->why, -EIO, LUNETTE_DOM_SCSI,
                           (uint32_t)SCSI_CHECK_CONDITION << 24 | (uint32_t)s.key << 16 |
                               sense_code(&s),
                           "LUN %s: %s: %s", lun, what, sense_format(&s, text, sizeof(text)));
    else
        (void)lunette_fail(&op->why, -EIO, LUNETTE_DOM_SCSI,
                           (uint32_t)op->x.result.scsi_status << 24, "LUN %s: %s: %s", lun, what,
                           scsi_status_name(op->x.result.scsi_status));
    end(op, PROBE_FAILED);
}

static void
absent(struct scsi_scan_op *op)
{
    char lun[LUN_TEXT_MAX];

    (void)lunette_fail(&op->why, -ENXIO, LUNETTE_DOM_NOTFOUND, 0,
                       "LUN %s does not exist at this target",
                       lun_format(lun_load(op->cur->dev.lun), lun));
    end(op, PROBE_ABSENT);
}

static void
name_it(struct scsi_scan_op *op)
{
    struct scsi_sdev *s = op->cur;
    char name[VPD_LU_NAME_MAX] = "";

    if (s->dev.name[0] == '\0') {
        (void)vpd_fallback_name(&op->inq, s->dev.serial, name, sizeof(name));
        memcpy(s->dev.name, name, sizeof(s->dev.name) - 1);
    }
    end(op, PROBE_FOUND);
}

/* ---- VPD: page 00 tells which of the others to ask for ---- */

static void vpd_done(struct scsi_scan_op *op);

static void
ask_vpd(struct scsi_scan_op *op, uint8_t page, uint32_t alloc)
{
    op->page = page;
    scan_send(op, op->cur, cdb_inquiry_vpd(op->cdb, page, (uint16_t)alloc), alloc, SCSI_TIMEOUT_MS,
              vpd_done);
}

/* The first answer was cut: ask for all of it, once. */
static bool
ask_longer(struct scsi_scan_op *op)
{
    int total = vpd_length(op->buf, op->x.in_len, op->page);

    if (op->second || total <= (int)op->x.in_len)
        return false;
    op->second = true;
    ask_vpd(op, op->page, (uint32_t)total < op->buf_size ? (uint32_t)total : op->buf_size);
    return true;
}

static void
take_page_list(struct scsi_scan_op *op)
{
    struct scsi_sdev *s = op->cur;
    struct vpd_supported pages;

    if (!scan_good(op) || vpd_supported_parse(op->buf, op->x.in_len, &pages) < 0) {
        name_it(op);
        return;
    }
    s->has_b0 = vpd_supported_has(&pages, VPD_BLOCK_LIMITS);
    s->has_b1 = vpd_supported_has(&pages, VPD_BLOCK_CHARACTERISTICS);
    s->has_b2 = vpd_supported_has(&pages, VPD_PROVISIONING);
    s->name_told = vpd_supported_has(&pages, VPD_DEVICE_ID);
    op->second = false;
    if (vpd_supported_has(&pages, VPD_SERIAL))
        ask_vpd(op, VPD_SERIAL, VPD_FIRST);
    else if (s->name_told)
        ask_vpd(op, VPD_DEVICE_ID, VPD_FIRST);
    else
        name_it(op);
}

static void
vpd_done(struct scsi_scan_op *op)
{
    struct scsi_device *dev = &op->cur->dev;
    char name[VPD_LU_NAME_MAX];

    if (op->x.result.err != 0) {
        failed(op, "INQUIRY");
        return;
    }
    if (scan_good(op) && ask_longer(op))
        return;
    switch (op->page) {
    case VPD_SUPPORTED:
        take_page_list(op);
        return;
    case VPD_SERIAL:
        if (!scan_good(op) ||
            vpd_serial_parse(op->buf, op->x.in_len, dev->serial, sizeof(dev->serial)) < 0)
            dev->serial[0] = '\0';
        op->second = false;
        if (op->cur->name_told)
            ask_vpd(op, VPD_DEVICE_ID, VPD_FIRST);
        else
            name_it(op);
        return;
    default:
        op->cur->name_told =
            scan_good(op) && vpd_lu_name(op->buf, op->x.in_len, name, sizeof(name)) > 0;
        if (op->cur->name_told)
            (void)log_clean(dev->name, sizeof(dev->name), name, strlen(name));
        name_it(op);
        return;
    }
}

/* ---- standard INQUIRY ---- */

static void
judge_inquiry(struct scsi_scan_op *op)
{
    const struct scsi_inquiry *q = &op->inq;
    struct scsi_device *dev = &op->cur->dev;

    dev->qualifier = q->qualifier;
    dev->type = q->type;
    dev->version = q->version;
    dev->level = q->scsi_level;
    dev->tpgs = q->tpgs;
    dev->removable = q->removable;
    dev->cmdque = q->cmdque;
    dev->protect = q->protect;
    memcpy(dev->vendor, q->vendor, sizeof(dev->vendor));
    memcpy(dev->product, q->product, sizeof(dev->product));
    memcpy(dev->revision, q->revision, sizeof(dev->revision));
    if (!q->cmdque)
        op->cur->depth_max = op->cur->depth_now = 1;
    sdev_set_fast(op->cur);
    if (q->qualifier == 3 || (q->qualifier == 1 && q->type == SCSI_TYPE_NONE &&
                              !lun_is_well_known(lun_load(dev->lun)))) {
        absent(op);
        return;
    }
    op->second = false;
    if (dev->level >= SCSI_LEVEL_SPC2)
        ask_vpd(op, VPD_SUPPORTED, VPD_FIRST);
    else
        name_it(op);
}

static void
long_inquiry_done(struct scsi_scan_op *op)
{
    struct scsi_inquiry q;

    if (op->x.result.err != 0) {
        failed(op, "INQUIRY");
        return;
    }
    if (scan_good(op) && op->x.in_len >= INQUIRY_MIN &&
        inquiry_parse(op->buf, op->x.in_len, &q) == 0)
        op->inq = q; /* else what the short one said stands (SC-020) */
    judge_inquiry(op);
}

static void inquiry_done(struct scsi_scan_op *op);

static void
ask_inquiry(struct scsi_scan_op *op)
{
    scan_send(op, op->cur, cdb_inquiry(op->cdb, INQUIRY_MIN), INQUIRY_MIN, SCSI_INQUIRY_TIMEOUT_MS,
              inquiry_done);
}

static void
inquiry_done(struct scsi_scan_op *op)
{
    struct scsi_sense s;
    uint32_t len;

    if (op->x.result.err == 0 && scan_sense(op, &s) && s.key == SENSE_ILLEGAL_REQUEST &&
        s.asc == 0x25) {
        absent(op);
        return;
    }
    if (!scan_good(op)) {
        failed(op, "INQUIRY");
        return;
    }
    if (op->x.in_len == 0) {
        if (++op->tries < INQUIRY_TRIES)
            ask_inquiry(op);
        else
            absent(op); /* nothing ever moved */
        return;
    }
    if (op->x.in_len < INQUIRY_MIN)
        sdev_log(op->cur, LOG_LEVEL_WARN, "INQUIRY data has only %u bytes", op->x.in_len);
    if (inquiry_parse(op->buf, op->x.in_len, &op->inq) < 0) {
        absent(op);
        return;
    }
    len = op->inq.length < INQUIRY_LONG ? op->inq.length : INQUIRY_LONG;
    if (len > INQUIRY_MIN)
        scan_send(op, op->cur, cdb_inquiry(op->cdb, (uint16_t)len), len, SCSI_INQUIRY_TIMEOUT_MS,
                  long_inquiry_done);
    else
        judge_inquiry(op);
}

void
probe_start(struct scsi_scan_op *op, void (*probed)(struct scsi_scan_op *op, enum probe_result r))
{
    op->probed = probed;
    op->tries = 0;
    ask_inquiry(op);
}
