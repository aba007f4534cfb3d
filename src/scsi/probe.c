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

/* The answers of one nexus say what unit is there: where the session was lost and came back
 * meanwhile, they may be those of two. */
static void
probe_end(struct scsi_scan_op *op, enum probe_result r)
{
    if (op->cur->nexus != op->t->nexus && r != PROBE_TRANSPORT)
        probe_start(op, op->probed);
    else
        op->probed(op, r);
}

static void
probe_failed(struct scsi_scan_op *op, const char *what)
{
    struct scsi_sense s;
    char text[SENSE_TEXT_MAX], lun[LUN_TEXT_MAX];

    (void)lun_format(lun_load(op->cur->dev.lun), lun);
    if (op->x.result.err != 0) {
        (void)lunette_fail(&op->why, op->x.result.err, LUNETTE_DOM_SCSI, 0,
                           "LUN %s: %s got no answer", lun, what);
        probe_end(op, PROBE_TRANSPORT);
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
    probe_end(op, PROBE_FAILED);
}

static void
probe_absent(struct scsi_scan_op *op)
{
    char lun[LUN_TEXT_MAX];

    (void)lunette_fail(&op->why, -ENXIO, LUNETTE_DOM_NOTFOUND, 0,
                       "LUN %s does not exist at this target",
                       lun_format(lun_load(op->cur->dev.lun), lun));
    probe_end(op, PROBE_ABSENT);
}

static void
probe_name(struct scsi_scan_op *op)
{
    struct scsi_sdev *s = op->cur;
    char name[VPD_LU_NAME_MAX] = "";

    if (s->dev.name[0] == '\0') {
        (void)vpd_fallback_name(&op->inq, s->dev.serial, name, sizeof(name));
        memcpy(s->dev.name, name, sizeof(s->dev.name) - 1);
    }
    s->known = true;
    probe_end(op, PROBE_FOUND);
}

/* ---- VPD: page 00 tells which of the others to ask for ---- */

static void probe_vpd_done(struct scsi_scan_op *op);

static void
probe_ask_vpd(struct scsi_scan_op *op, uint8_t page, uint32_t alloc)
{
    if (op->page != page)
        op->tries = 0;
    op->page = page;
    scan_send(op, op->cur, cdb_inquiry_vpd(op->cdb, page, (uint16_t)alloc), alloc, SCSI_TIMEOUT_MS,
              probe_vpd_done);
}

/* The first answer was cut: ask for all of it, once. */
static bool
probe_ask_longer(struct scsi_scan_op *op)
{
    int total = vpd_length(op->buf, op->x.in_len, op->page);

    if (op->second || total <= (int)op->x.in_len)
        return false;
    op->second = true;
    probe_ask_vpd(op, op->page, (uint32_t)total < op->buf_size ? (uint32_t)total : op->buf_size);
    return true;
}

static void
probe_take_pages(struct scsi_scan_op *op)
{
    struct scsi_sdev *s = op->cur;
    struct vpd_supported pages;

    if (!scan_good(op) || vpd_supported_parse(op->buf, op->x.in_len, &pages) < 0) {
        probe_name(op);
        return;
    }
    s->has_b0 = vpd_supported_has(&pages, VPD_BLOCK_LIMITS);
    s->has_b1 = vpd_supported_has(&pages, VPD_BLOCK_CHARACTERISTICS);
    s->has_b2 = vpd_supported_has(&pages, VPD_PROVISIONING);
    s->has_83 = s->name_told = vpd_supported_has(&pages, VPD_DEVICE_ID);
    op->second = false;
    if (vpd_supported_has(&pages, VPD_SERIAL))
        probe_ask_vpd(op, VPD_SERIAL, VPD_FIRST);
    else if (s->name_told)
        probe_ask_vpd(op, VPD_DEVICE_ID, VPD_FIRST);
    else
        probe_name(op);
}

/* True where the answer says neither what is in the page nor that there is none (the unit is busy,
 * say): it is asked for again.  In the end the unit has to do without it, but then it is not known
 * what it would have said. */
static bool
probe_ask_again(struct scsi_scan_op *op)
{
    struct scsi_sense s;

    if (scan_good(op) && op->x.in_len >= 4)
        return false;
    if (scan_sense(op, &s) && s.key == SENSE_ILLEGAL_REQUEST && s.asc != 0x55 && !s.deferred)
        return false; /* 55h: a lack of resources, which has this key, too (SPC) */
    if (++op->tries < INQUIRY_TRIES) {
        probe_ask_vpd(op, op->page, (uint32_t)op->iov.iov_len);
        return true;
    }
    op->cur->vague = true;
    return false;
}

static void
probe_vpd_done(struct scsi_scan_op *op)
{
    struct scsi_device *dev = &op->cur->dev;
    char name[VPD_LU_NAME_MAX];
    struct scsi_sense s;

    if (op->x.result.err != 0) {
        probe_failed(op, "INQUIRY");
        return;
    }
    if (probe_ask_again(op))
        return;
    if (scan_sense(op, &s) && s.key == SENSE_ILLEGAL_REQUEST && s.asc == 0x25) {
        probe_absent(op); /* not any more */
        return;
    }
    if (scan_good(op) && probe_ask_longer(op))
        return;
    switch (op->page) {
    case VPD_SUPPORTED:
        probe_take_pages(op);
        return;
    case VPD_SERIAL:
        if (!scan_good(op) ||
            vpd_serial_parse(op->buf, op->x.in_len, dev->serial, sizeof(dev->serial)) < 0)
            dev->serial[0] = '\0';
        op->second = false;
        if (op->cur->name_told)
            probe_ask_vpd(op, VPD_DEVICE_ID, VPD_FIRST);
        else
            probe_name(op);
        return;
    default:
        if (scan_good(op))
            vpd_port_ids(op->buf, op->x.in_len, &dev->rel_port, &dev->port_group);
        op->cur->name_told =
            scan_good(op) && vpd_lu_name(op->buf, op->x.in_len, name, sizeof(name)) > 0;
        if (op->cur->name_told)
            (void)log_clean(dev->name, sizeof(dev->name), name, strlen(name));
        probe_name(op);
        return;
    }
}

/* ---- standard INQUIRY ---- */

static void
probe_judge_inquiry(struct scsi_scan_op *op)
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
        op->cur->depth_max = op->cur->depth_now = op->cur->depth_cap = 1;
    sdev_set_fast(op->cur);
    if (q->qualifier == 3 || (q->qualifier == 1 && q->type == SCSI_TYPE_NONE &&
                              !lun_is_well_known(lun_load(dev->lun)))) {
        probe_absent(op);
        return;
    }
    op->second = false;
    if (dev->level >= SCSI_LEVEL_SPC2)
        probe_ask_vpd(op, VPD_SUPPORTED, VPD_FIRST);
    else
        probe_name(op);
}

static void
probe_long_inquiry_done(struct scsi_scan_op *op)
{
    struct scsi_inquiry q;

    if (op->x.result.err != 0) {
        probe_failed(op, "INQUIRY");
        return;
    }
    if (scan_good(op) && op->x.in_len >= INQUIRY_MIN &&
        inquiry_parse(op->buf, op->x.in_len, &q) == 0)
        op->inq = q; /* else the first 36 bytes stand, which every device has */
    probe_judge_inquiry(op);
}

static void probe_inquiry_done(struct scsi_scan_op *op);

static void
probe_ask_inquiry(struct scsi_scan_op *op)
{
    scan_send(op, op->cur, cdb_inquiry(op->cdb, INQUIRY_MIN), INQUIRY_MIN, SCSI_INQUIRY_TIMEOUT_MS,
              probe_inquiry_done);
}

static void
probe_inquiry_done(struct scsi_scan_op *op)
{
    struct scsi_sense s;
    uint32_t len;

    if (op->x.result.err == 0 && scan_sense(op, &s) && s.key == SENSE_ILLEGAL_REQUEST &&
        s.asc == 0x25) {
        probe_absent(op);
        return;
    }
    if (!scan_good(op)) {
        probe_failed(op, "INQUIRY");
        return;
    }
    if (op->x.in_len == 0) {
        if (++op->tries < INQUIRY_TRIES)
            probe_ask_inquiry(op);
        else
            probe_absent(op); /* GOOD without a byte, again and again: there is no unit */
        return;
    }
    if (op->x.in_len < INQUIRY_MIN)
        sdev_log(op->cur, LOG_LEVEL_WARN, "INQUIRY data has only %u bytes", op->x.in_len);
    if (inquiry_parse(op->buf, op->x.in_len, &op->inq) < 0) {
        probe_absent(op);
        return;
    }
    len = op->inq.length < INQUIRY_LONG ? op->inq.length : INQUIRY_LONG;
    if (len > INQUIRY_MIN)
        scan_send(op, op->cur, cdb_inquiry(op->cdb, (uint16_t)len), len, SCSI_INQUIRY_TIMEOUT_MS,
                  probe_long_inquiry_done);
    else
        probe_judge_inquiry(op);
}

void
probe_start(struct scsi_scan_op *op, void (*probed)(struct scsi_scan_op *op, enum probe_result r))
{
    struct scsi_sdev *s = op->cur;

    op->probed = probed;
    s->nexus = op->t->nexus;
    op->tries = 0;
    s->known = s->vague = s->name_told = s->has_b0 = s->has_b1 = s->has_b2 = false;
    s->dev.serial[0] = s->dev.name[0] = '\0';
    probe_ask_inquiry(op);
}
