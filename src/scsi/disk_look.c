/* SPDX-License-Identifier: MIT */
/* scsi/disk_look.c - asks a disk for its capacity, VPD pages, mode pages and opcodes. */
#include <errno.h>
#include <stdio.h>

#include "scsi/disk_up.h"
#include "wire/mode.h"

#define VPD_ALLOC      252
#define MODE_ALLOC_6   252
#define CAPACITY_TRIES 3

/* True for a disk in use whose answer is withheld since somebody else has reserved it: what it told
 * before stands.  Above all, a cache that is there must go on being flushed. */
static bool
disk_keeps(const struct scsi_disk *d)
{
    return d->up && d->x.result.err == 0 && d->x.result.scsi_status == SCSI_RESERVATION_CONFLICT;
}

/* ---- capacity ---- */

static void disk_rc10_done(struct scsi_disk *d);
static void disk_rc16_done(struct scsi_disk *d);

static void
disk_send_rc10(struct scsi_disk *d)
{
    disk_send(d, cdb_read_capacity10(d->cdb), CAPACITY10_LEN, disk_rc10_done);
}

static void
disk_send_rc16(struct scsi_disk *d)
{
    disk_send(d, cdb_read_capacity16(d->cdb, CAPACITY16_LEN), CAPACITY16_LEN, disk_rc16_done);
}

/* True where the unit is asked once more, at once.  One that answers nothing but unit attentions
 * was asked often enough. */
static bool
disk_capacity_again(struct scsi_disk *d)
{
    struct scsi_sense s;

    return d->x.result.err == 0 && !(disk_sense(d, &s) && s.key == SENSE_UNIT_ATTENTION) &&
           ++d->tries < CAPACITY_TRIES;
}

static void
disk_take_capacity(struct scsi_disk *d, struct scsi_capacity c)
{
    if (c.block_len == 0) {
        sdev_log(d->sdev, LOG_LEVEL_WARN, "tells no block size, taking 512 bytes");
        c.block_len = 512;
    }
    if (d->up && c.block_len != d->limits.block_size) { /* so it must be another unit */
        char text[80];

        (void)snprintf(text, sizeof(text), "its block size was %u, and is %u", d->limits.block_size,
                       c.block_len);
        disk_replaced(d, text);
        return;
    }
    if (c.block_len != 512 && c.block_len != 1024 && c.block_len != 2048 && c.block_len != 4096) {
        disk_fail(d, -ENOTSUP, "blocks of %u bytes are not supported (512, 1024, 2048, 4096 are)",
                  c.block_len);
        return;
    }
    if (c.blocks > INT64_MAX / c.block_len) {
        disk_fail(d, -EFBIG, "it has %llu blocks of %u bytes; 2^63 bytes and more are not served",
                  (unsigned long long)c.blocks, c.block_len);
        return;
    }
    if (c.protection > 3) {
        disk_fail(d, -ENOTSUP, "protection type %u is unknown", c.protection);
        return;
    }
    if (d->up && c.blocks < d->capacity.blocks)
        sdev_log(d->sdev, LOG_LEVEL_WARN, "the unit has shrunk");
    d->capacity = c;
    disk_step_done(d);
}

static void
disk_rc10_done(struct scsi_disk *d)
{
    struct scsi_capacity c;

    if (disk_keeps(d)) {
        disk_step_done(d);
        return;
    }
    if (!disk_good(d)) {
        if (disk_capacity_again(d))
            disk_send_rc10(d);
        else
            disk_fail_sense(d, -EIO, "READ CAPACITY(10)");
        return;
    }
    if (capacity10_parse(d->buf, d->x.in_len, &c) < 0) {
        disk_fail(d, -EPROTO, "READ CAPACITY(10) answered %u bytes that make no sense",
                  d->x.in_len);
    } else if (c.more && d->second) {
        disk_fail(d, -EREMOTEIO,
                  "larger than 2^32 blocks, but it refuses READ CAPACITY(16): size unknown");
    } else if (c.more) {
        d->second = true;
        d->tries = 0;
        disk_send_rc16(d);
    } else {
        disk_take_capacity(d, c);
    }
}

static void
disk_rc16_done(struct scsi_disk *d)
{
    struct scsi_capacity c;
    struct scsi_sense s;

    if (disk_keeps(d)) {
        disk_step_done(d);
        return;
    }
    if (disk_good(d)) {
        if (capacity16_parse(d->buf, d->x.in_len, &c) < 0)
            disk_fail(d, -EPROTO, "READ CAPACITY(16) answered %u bytes that make no sense",
                      d->x.in_len);
        else
            disk_take_capacity(d, c);
        return;
    }
    if (disk_sense(d, &s) && s.key == SENSE_ILLEGAL_REQUEST && (s.asc == 0x20 || s.asc == 0x24)) {
        d->second = true;
        d->tries = 0;
        disk_send_rc10(d);
    } else if (disk_capacity_again(d)) {
        disk_send_rc16(d);
    } else {
        disk_fail_sense(d, -EIO, "READ CAPACITY(16)");
    }
}

void
disk_start_capacity(struct scsi_disk *d)
{
    if (d->sdev->dev.level > SCSI_LEVEL_SPC2 || d->sdev->dev.protect)
        disk_send_rc16(d);
    else
        disk_send_rc10(d);
}

/* ---- VPD: a page that cannot be had says nothing, which is no error ---- */

static bool
disk_look_lost(struct scsi_disk *d)
{
    if (d->x.result.err == 0)
        return false;
    disk_fail_sense(d, d->x.result.err, "the disk was being looked at, but");
    return true;
}

static void
disk_b2_done(struct scsi_disk *d)
{
    if (disk_look_lost(d))
        return;
    d->b2_told = disk_good(d) && vpd_provisioning_parse(d->buf, d->x.in_len, &d->b2) == 0;
    disk_step_done(d);
}

void
disk_start_provisioning(struct scsi_disk *d)
{
    d->b2_told = false;
    if (d->sdev->has_b2)
        disk_send(d, cdb_inquiry_vpd(d->cdb, VPD_PROVISIONING, VPD_ALLOC), VPD_ALLOC, disk_b2_done);
    else
        disk_step_done(d);
}

static void
disk_b0_done(struct scsi_disk *d)
{
    if (disk_look_lost(d))
        return;
    d->b0_told = disk_good(d) && vpd_block_limits_parse(d->buf, d->x.in_len, &d->b0) == 0;
    if (!d->b0_told)
        d->b0 = (struct vpd_block_limits){0};
    disk_step_done(d);
}

void
disk_start_block_limits(struct scsi_disk *d)
{
    d->b0_told = false;
    d->b0 = (struct vpd_block_limits){0};
    if (d->sdev->has_b0)
        disk_send(d, cdb_inquiry_vpd(d->cdb, VPD_BLOCK_LIMITS, VPD_ALLOC), VPD_ALLOC, disk_b0_done);
    else
        disk_step_done(d);
}

static void
disk_b1_done(struct scsi_disk *d)
{
    if (disk_look_lost(d))
        return;
    if (!disk_good(d) || vpd_block_char_parse(d->buf, d->x.in_len, &d->b1) < 0)
        d->b1 = (struct vpd_block_char){0};
    disk_step_done(d);
}

void
disk_start_block_char(struct scsi_disk *d)
{
    d->b1 = (struct vpd_block_char){0};
    if (d->sdev->has_b1)
        disk_send(d, cdb_inquiry_vpd(d->cdb, VPD_BLOCK_CHARACTERISTICS, VPD_ALLOC), VPD_ALLOC,
                  disk_b1_done);
    else
        disk_step_done(d);
}

/* ---- mode pages ---- */

static void
disk_send_mode_sense(struct scsi_disk *d, uint8_t page, uint32_t alloc,
                     void (*next)(struct scsi_disk *d))
{
    int len = d->use_ms10 ? cdb_mode_sense10(d->cdb, false, 0, page, 0, (uint16_t)alloc)
                          : cdb_mode_sense6(d->cdb, false, 0, page, 0, (uint8_t)alloc);

    disk_send(d, len, alloc, next);
}

static uint32_t
disk_mode_header(const struct scsi_disk *d)
{
    return d->use_ms10 ? 8 : 4;
}

/* ILLEGAL REQUEST, INVALID OPCODE: the device has only the other size of MODE SENSE, which is tried
 * once. */
static bool
disk_other_mode_sense(struct scsi_disk *d)
{
    struct scsi_sense s;

    if (d->second || !disk_sense(d, &s) || s.key != SENSE_ILLEGAL_REQUEST || s.asc != 0x20)
        return false;
    d->second = true;
    d->use_ms10 = !d->use_ms10;
    d->tries = 0;
    return true;
}

static void
disk_wp_done(struct scsi_disk *d)
{
    struct mode_data m;

    if (disk_look_lost(d))
        return;
    if (disk_keeps(d)) {
        disk_step_done(d);
        return;
    }
    if (disk_good(d) && mode_parse(d->buf, d->x.in_len, d->use_ms10 ? MODE_10 : MODE_6, &m) == 0) {
        d->write_protect = (m.dev_specific & MODE_DEV_WP) != 0;
        disk_step_done(d);
        return;
    }
    if (!disk_other_mode_sense(d))
        d->tries++;
    if (d->tries == 0)
        disk_start_write_protect(d);
    else if (d->tries == 1) /* some know page 0 only, others want a longer buffer */
        disk_send_mode_sense(d, 0, disk_mode_header(d), disk_wp_done);
    else if (d->tries == 2)
        disk_send_mode_sense(d, MODE_PAGE_ALL, MODE_ALLOC_6, disk_wp_done);
    else {
        d->write_protect = false;
        disk_step_done(d);
    }
}

void
disk_start_write_protect(struct scsi_disk *d)
{
    disk_send_mode_sense(d, MODE_PAGE_ALL, disk_mode_header(d), disk_wp_done);
}

/* Somebody else has reserved the unit, and so it does not tell its mode pages (SPC).  It is taken
 * to have a cache, since a flush in vain does no harm, until it tells (unit attentions 2A/03 to
 * 05). */
static bool
disk_mode_reserved(struct scsi_disk *d)
{
    if (d->x.result.err != 0 || d->x.result.scsi_status != SCSI_RESERVATION_CONFLICT)
        return false;
    if (!d->up) {
        d->wce = true;
        d->dpofua = false;
    }
    return true;
}

static void
disk_cache_done(struct scsi_disk *d)
{
    struct mode_data m;
    struct mode_page page;
    struct mode_caching c;

    if (disk_look_lost(d))
        return;
    if (disk_mode_reserved(d)) {
        disk_step_done(d);
        return;
    }
    d->wce = d->dpofua = false;
    if (disk_good(d) && mode_parse(d->buf, d->x.in_len, d->use_ms10 ? MODE_10 : MODE_6, &m) == 0 &&
        mode_page_find(&m, MODE_PAGE_CACHING, 0, &page) && mode_caching_parse(&page, &c)) {
        d->wce = c.wce;
        d->dpofua = (m.dev_specific & MODE_DEV_DPOFUA) != 0;
    }
    disk_step_done(d);
}

static void
disk_cache_header_done(struct scsi_disk *d)
{
    struct mode_data m;
    uint32_t max = d->use_ms10 ? sizeof(d->buf) : MODE_ALLOC_6;

    if (disk_look_lost(d))
        return;
    if (disk_keeps(d)) {
        disk_step_done(d);
        return;
    }
    if (!disk_good(d) || mode_parse(d->buf, d->x.in_len, d->use_ms10 ? MODE_10 : MODE_6, &m) < 0) {
        if (disk_other_mode_sense(d)) {
            disk_start_cache(d);
            return;
        }
        if (!disk_mode_reserved(d))
            d->wce = d->dpofua = false;
        disk_step_done(d);
        return;
    }
    if (m.length < disk_mode_header(d))
        m.length = disk_mode_header(d);
    disk_send_mode_sense(d, MODE_PAGE_CACHING, m.length < max ? m.length : max, disk_cache_done);
}

void
disk_start_cache(struct scsi_disk *d)
{
    disk_send_mode_sense(d, MODE_PAGE_CACHING, disk_mode_header(d), disk_cache_header_done);
}

/* ---- WRITE SAME: used only where the device says that it has it ---- */

static bool
disk_opcode_supported(const struct scsi_disk *d)
{
    return disk_good(d) && d->x.in_len >= 2 && (d->buf[1] & 7) == 3;
}

static void
disk_ws10_done(struct scsi_disk *d)
{
    if (disk_look_lost(d))
        return;
    d->ws10 = disk_opcode_supported(d);
    disk_step_done(d);
}

static void
disk_ws16_done(struct scsi_disk *d)
{
    if (disk_look_lost(d))
        return;
    d->ws16 = disk_opcode_supported(d);
    if (d->ws16 || !disk_good(d))
        disk_step_done(d);
    else
        disk_send(d, cdb_report_opcodes(d->cdb, 1, SCSI_WRITE_SAME_10, 0, VPD_ALLOC), VPD_ALLOC,
                  disk_ws10_done);
}

void
disk_start_opcodes(struct scsi_disk *d)
{
    d->ws16 = d->ws10 = false;
    if (d->sdev->dev.level >= SCSI_LEVEL_SPC3)
        disk_send(d, cdb_report_opcodes(d->cdb, 1, SCSI_WRITE_SAME_16, 0, VPD_ALLOC), VPD_ALLOC,
                  disk_ws16_done);
    else
        disk_step_done(d);
}
