/* SPDX-License-Identifier: MIT */
/* Primary commands (SPC-4), which describe the device and its units. */
#include "lu/spc.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "lu/cmd.h"
#include "lu/nexus.h"
#include "lu/sbc.h"
#include "lu/store.h"
#include "lu/types.h"
#include "wire/be.h"
#include "wire/capacity.h"
#include "wire/inquiry.h"
#include "wire/lun.h"

#define VENDOR   "LUNETTE"
#define REVISION "0001"

#define PORT_ID              1 /* relative target port, target port group: there is one of each */
#define ALUA_SUPPORTED       0xcf /* all states but LBA dependent, which needs a map of the LBAs */
#define ALUA_STATUS_IMPLICIT 2    /* the state was not set by SET TARGET PORT GROUPS */

#define CODE_BIN   1
#define CODE_ASCII 2
#define CODE_UTF8  3

#define VERSION_SAM5 0x00a0
#define VERSION_SPC4 0x0460
#define VERSION_SBC3 0x04c0

static const uint8_t vpd_pages[] = {VPD_SUPPORTED,
                                    VPD_SERIAL,
                                    VPD_DEVICE_ID,
                                    VPD_EXTENDED_INQUIRY,
                                    VPD_PORTS,
                                    VPD_BLOCK_LIMITS,
                                    VPD_BLOCK_CHARACTERISTICS,
                                    VPD_PROVISIONING};

static void
inquiry_standard(struct lu_cmd *c, uint32_t alloc)
{
    struct scsi_inquiry q = {
        .version = 6,
        .response_format = 2,
        .cmdque = true,
        .hisup = true,
        .tpgs = 1,
        .vendor = VENDOR,
        .revision = REVISION,
    };
    int n;

    if (c->lu == NULL) {
        q.qualifier = 3;
        q.type = SCSI_TYPE_NONE;
    } else {
        (void)snprintf(q.product, sizeof(q.product), "%s", c->lu->store->ops->product);
    }
    q.versions[0] = VERSION_SAM5;
    q.versions[1] = c->dev->protocol_version;
    q.versions[2] = VERSION_SPC4;
    q.versions[3] = VERSION_SBC3;
    if (!lu_cmd_buf(c, 256))
        return;
    n = inquiry_build(c->buf, 256, &q);
    assert(n > 0);
    lu_cmd_reply(c, (uint32_t)n, alloc);
}

static int
vpd_device_id(struct lu_cmd *c, uint8_t *buf, size_t size)
{
    const struct lu *lu = c->lu;
    char t10[8 + LU_SERIAL_MAX + 1];
    uint8_t rel_port[4] = {0, 0, 0, PORT_ID}, group[4] = {0, 0, 0, PORT_ID};
    struct vpd_id ids[] = {
        {.code_set = CODE_BIN, .type = VPD_ID_NAA, .len = sizeof(lu->naa), .data = lu->naa},
        {.code_set = CODE_ASCII, .type = VPD_ID_T10, .data = (uint8_t *)t10},
        {.code_set = CODE_UTF8,
         .assoc = VPD_ASSOC_PORT,
         .type = VPD_ID_SCSI_NAME,
         .piv = true,
         .protocol = c->dev->protocol,
         .len = (uint8_t)strlen(c->dev->port),
         .data = (const uint8_t *)c->dev->port},
        {.code_set = CODE_BIN,
         .assoc = VPD_ASSOC_PORT,
         .type = VPD_ID_REL_PORT,
         .piv = true,
         .protocol = c->dev->protocol,
         .len = 4,
         .data = rel_port},
        {.code_set = CODE_BIN,
         .assoc = VPD_ASSOC_PORT,
         .type = VPD_ID_PORT_GROUP,
         .piv = true,
         .protocol = c->dev->protocol,
         .len = 4,
         .data = group},
        {.code_set = CODE_UTF8,
         .assoc = VPD_ASSOC_TARGET,
         .type = VPD_ID_SCSI_NAME,
         .piv = true,
         .protocol = c->dev->protocol,
         .len = (uint8_t)strlen(c->dev->name),
         .data = (const uint8_t *)c->dev->name},
    };

    (void)snprintf(t10, sizeof(t10), "%-8s%s", VENDOR, lu->serial);
    ids[1].len = (uint8_t)strlen(t10);
    return vpd_device_id_build(buf, size, SCSI_TYPE_DISK, ids, sizeof(ids) / sizeof(ids[0]));
}

/* Page 88h: one relative port with its name. */
static int
vpd_ports(const struct lu_cmd *c, uint8_t *buf, size_t size)
{
    uint8_t *d = buf + 4, *id = d + 12;
    int n = snprintf((char *)id + 4, size - 20, "%s", c->dev->port);
    uint32_t len;

    assert(n > 0);
    len = ((uint32_t)n + 1 + 3) & ~3u;
    d[3] = PORT_ID;
    st_be16(d + 10, (uint16_t)(4 + len));
    id[0] = (uint8_t)(c->dev->protocol << 4 | CODE_UTF8);
    id[1] = 0x80 | VPD_ASSOC_PORT << 4 | VPD_ID_SCSI_NAME;
    id[3] = (uint8_t)len;
    buf[1] = VPD_PORTS;
    st_be16(buf + 2, (uint16_t)(12 + 4 + len));
    return (int)(4 + 12 + 4 + len);
}

static int
vpd_block_limits_of(const struct lu *lu, uint8_t *buf, size_t size)
{
    struct vpd_block_limits l = {
        .wsnz = true,
        .max_caw = (uint8_t)((LU_CAW_MAX / lu->block) < 255 ? LU_CAW_MAX / lu->block : 255),
        .opt_granularity = (uint16_t)(LU_GRANULE / lu->block),
        .max_transfer = LU_TRANSFER_MAX / lu->block,
        .opt_transfer = (1u << 20) / lu->block,
        .max_prefetch = LU_TRANSFER_MAX / lu->block,
        .has_unmap = true,
        .max_unmap_lba = LU_UNMAP_MAX / lu->block,
        .max_unmap_desc = LU_UNMAP_DESC_MAX,
        .opt_unmap_granularity = LU_GRANULE / lu->block,
        .ugavalid = true,
        .max_write_same = LU_WRITE_SAME_MAX / lu->block,
    };

    return vpd_block_limits_build(buf, size, SCSI_TYPE_DISK, &l);
}

static int
vpd_page(struct lu_cmd *c, uint8_t page, uint8_t *buf, size_t size)
{
    const struct vpd_extended ext = {
        .headsup = true, .ordsup = true, .simpsup = true, .luiclr = true, .v_sup = true};
    const struct vpd_block_char chr = {.rotation = 1, .fuab = true};
    const struct vpd_provisioning prov = {
        .lbpu = true, .lbpws = true, .lbpws10 = true, .lbprz = 1, .type = 2};

    switch (page) {
    case VPD_SUPPORTED:
        return vpd_supported_build(buf, size, SCSI_TYPE_DISK, vpd_pages, sizeof(vpd_pages));
    case VPD_SERIAL:
        return vpd_serial_build(buf, size, SCSI_TYPE_DISK, c->lu->serial);
    case VPD_DEVICE_ID:
        return vpd_device_id(c, buf, size);
    case VPD_EXTENDED_INQUIRY:
        return vpd_extended_build(buf, size, SCSI_TYPE_DISK, &ext);
    case VPD_PORTS:
        return vpd_ports(c, buf, size);
    case VPD_BLOCK_LIMITS:
        return vpd_block_limits_of(c->lu, buf, size);
    case VPD_BLOCK_CHARACTERISTICS:
        return vpd_block_char_build(buf, size, SCSI_TYPE_DISK, &chr);
    case VPD_PROVISIONING:
        return vpd_provisioning_build(buf, size, SCSI_TYPE_DISK, &prov);
    default:
        return -1;
    }
}

#define VPD_SIZE 1024

void
lu_spc_inquiry(struct lu_cmd *c)
{
    uint32_t alloc = ld_be16(&c->cdb[3]);
    bool evpd = c->cdb[1] & 1;
    int n;

    if (c->cdb[1] & ~1u) {
        lu_cmd_fail_field(c, true, 1);
    } else if (!evpd && c->cdb[2] != 0) {
        lu_cmd_fail_field(c, true, 2);
    } else if (!evpd) {
        inquiry_standard(c, alloc);
    } else if (c->lu == NULL) {
        lu_cmd_fail_field(c, true, 2);
    } else if (lu_cmd_buf(c, VPD_SIZE)) {
        n = vpd_page(c, c->cdb[2], c->buf, VPD_SIZE);
        if (n < 0)
            lu_cmd_fail_field(c, true, 2);
        else
            lu_cmd_reply(c, (uint32_t)n, alloc);
    }
}

void
lu_spc_request_sense(struct lu_cmd *c)
{
    bool descriptor = c->cdb[1] & 1;
    struct scsi_sense s = {.key = SENSE_NO_SENSE};
    int n;

    if (!lu_cmd_buf(c, SENSE_MAX))
        return;
    if (c->lu == NULL) {
        s = (struct scsi_sense){.key = SENSE_ILLEGAL_REQUEST, .asc = 0x25};
    } else if (lu_ua_pending(c->nexus, c->lu->index)) {
        uint16_t code = lu_ua_take(c->nexus, c->lu, &c->ua);

        s = (struct scsi_sense){
            .key = SENSE_UNIT_ATTENTION, .asc = (uint8_t)(code >> 8), .ascq = (uint8_t)code};
    }
    n = descriptor ? sense_build_descriptor(c->buf, &s) : sense_build_fixed(c->buf, &s);
    lu_cmd_reply(c, (uint32_t)n, c->cdb[4]);
}

void
lu_spc_report_luns(struct lu_cmd *c)
{
    const struct lu_device *dev = c->dev;
    uint32_t alloc = ld_be32(&c->cdb[6]), n = c->cdb[2] == 1 ? 0 : dev->lus_count;

    if (c->cdb[2] > 2) {
        lu_cmd_fail_field(c, true, 2);
    } else if (alloc < 16) {
        lu_cmd_fail_field(c, true, 6);
    } else if (lu_cmd_buf(c, (uint32_t)REPORT_LUNS_LEN(n))) {
        st_be32(c->buf, 8 * n);
        for (uint32_t i = 0; i < n; i++)
            lun_store(c->buf + 8 + 8 * i, lun_from_number(dev->lus[i].number));
        lu_cmd_reply(c, (uint32_t)REPORT_LUNS_LEN(n), alloc);
    }
}

void
lu_spc_test_unit_ready(struct lu_cmd *c)
{
    (void)c; /* always ready */
}

/* The default self test, which passes: there is nothing that could be tested better than by reading
 * and writing.  Others would need a log page of their results, and pages have no use here. */
void
lu_spc_send_diagnostic(struct lu_cmd *c)
{
    bool test_code = c->cdb[1] & 0xe0, pages = c->cdb[1] & 0x10;

    if (test_code || pages)
        lu_cmd_fail_field(c, true, 1);
    else if (ld_be16(&c->cdb[3]) != 0)
        lu_cmd_fail_field(c, true, 3);
}

void
lu_spc_reserve6(struct lu_cmd *c)
{
    if (c->lu->pr.count > 0)
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
    else if (c->cdb[1] != 0)
        lu_cmd_fail_field(c, true, 1); /* third party, extents: obsolete */
    else
        c->lu->reserved = c->nexus;
}

void
lu_spc_release6(struct lu_cmd *c)
{
    if (c->lu->pr.count > 0)
        lu_cmd_fail_status(c, SCSI_RESERVATION_CONFLICT);
    else if (c->lu->reserved == c->nexus)
        c->lu->reserved = NULL;
}

void
lu_spc_rtpg(struct lu_cmd *c)
{
    const struct lu_alua *a = &c->lu->alua;
    const struct alua_group g = {.preferred = a->preferred,
                                 .state = a->state,
                                 .supported = ALUA_SUPPORTED,
                                 .group = PORT_ID,
                                 .status = ALUA_STATUS_IMPLICIT};
    const uint16_t port = PORT_ID;
    unsigned format = c->cdb[1] >> 5;
    int n;

    if (format > 1) {
        lu_cmd_fail_field(c, true, 1);
    } else if (lu_cmd_buf(c, 64)) {
        n = alua_build(c->buf, 64, format == 1, a->transition_s, &g, &port, 1);
        assert(n > 0);
        lu_cmd_reply(c, (uint32_t)n, ld_be32(&c->cdb[6]));
    }
}

void
lu_spc_report_tmfs(struct lu_cmd *c)
{
    bool repd = c->cdb[2] & 0x80;
    uint32_t alloc = ld_be32(&c->cdb[6]);

    if (alloc < 4) {
        lu_cmd_fail_field(c, true, 6);
    } else if (lu_cmd_buf(c, 16)) {
        c->buf[0] = 0xda; /* ABORT TASK, ABORT and CLEAR TASK SET, LU RESET, TARGET RESET */
        c->buf[3] = repd ? 12 : 0;
        lu_cmd_reply(c, repd ? 16 : 4, alloc);
    }
}
