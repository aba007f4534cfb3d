/* SPDX-License-Identifier: MIT */
/* Primary commands (SPC-4): who we are, which LUNs there are, what we can do. */
#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "lu/cmd.h"
#include "target/session.h"
#include "wire/be.h"
#include "wire/capacity.h"
#include "wire/inquiry.h"
#include "wire/lun.h"

#define VENDOR   "LUNETTE"
#define REVISION "0001"

#define PORT_ID     1 /* relative target port, target port group: there is one of each */
#define CODE_BIN    1
#define CODE_ASCII  2
#define CODE_UTF8   3
#define PROTO_ISCSI 5

/* SAM-5, iSCSI as RFC 7143 has it (7144: 0960h + level), SPC-4, SBC-3 */
static const uint16_t version_descriptors[] = {0x00a0, 0x0961, 0x0460, 0x04c0};

static const uint8_t vpd_pages[] = {VPD_SUPPORTED,
                                    VPD_SERIAL,
                                    VPD_DEVICE_ID,
                                    VPD_EXTENDED_INQUIRY,
                                    VPD_PORTS,
                                    VPD_BLOCK_LIMITS,
                                    VPD_BLOCK_CHARACTERISTICS,
                                    VPD_PROVISIONING};

static const char *
product(const struct tgt_lu *lu)
{
    static const char *const names[] = {"RAM disk", "file disk", "null disk"};

    return names[lu->kind];
}

static void
inquiry_standard(struct tgt_cmd *c, uint32_t alloc)
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

    if (c->s.lu == NULL) {
        q.qualifier = 3;
        q.type = SCSI_TYPE_NONE;
    } else {
        (void)snprintf(q.product, sizeof(q.product), "%s", product(c->s.lu));
    }
    for (size_t i = 0; i < sizeof(version_descriptors) / sizeof(version_descriptors[0]); i++)
        q.versions[i] = version_descriptors[i];
    if (!tgt_scsi_buf(c, 256))
        return;
    n = inquiry_build(c->s.buf, 256, &q);
    assert(n > 0);
    tgt_scsi_reply(c, (uint32_t)n, alloc);
}

static int
device_id(struct tgt_cmd *c, uint8_t *buf, size_t size)
{
    const struct tgt_lu *lu = c->s.lu;
    char t10[8 + TARGET_SERIAL_MAX + 1], port[ISCSI_NAME_MAX + 16];
    uint8_t rel_port[4] = {0, 0, 0, PORT_ID}, group[4] = {0, 0, 0, PORT_ID};
    struct vpd_id ids[] = {
        {.code_set = CODE_BIN, .type = VPD_ID_NAA, .len = sizeof(lu->naa), .data = lu->naa},
        {.code_set = CODE_ASCII, .type = VPD_ID_T10, .data = (uint8_t *)t10},
        {.code_set = CODE_UTF8,
         .assoc = VPD_ASSOC_PORT,
         .type = VPD_ID_SCSI_NAME,
         .piv = true,
         .protocol = PROTO_ISCSI,
         .data = (uint8_t *)port},
        {.code_set = CODE_BIN,
         .assoc = VPD_ASSOC_PORT,
         .type = VPD_ID_REL_PORT,
         .piv = true,
         .protocol = PROTO_ISCSI,
         .len = 4,
         .data = rel_port},
        {.code_set = CODE_BIN,
         .assoc = VPD_ASSOC_PORT,
         .type = VPD_ID_PORT_GROUP,
         .piv = true,
         .protocol = PROTO_ISCSI,
         .len = 4,
         .data = group},
        {.code_set = CODE_UTF8,
         .assoc = VPD_ASSOC_TARGET,
         .type = VPD_ID_SCSI_NAME,
         .piv = true,
         .protocol = PROTO_ISCSI,
         .data = (uint8_t *)lu->node->name},
    };

    (void)snprintf(t10, sizeof(t10), "%-8s%s", VENDOR, lu->serial);
    (void)snprintf(port, sizeof(port), "%s,t,0x%04x", lu->node->name, TGT_TPGT);
    ids[1].len = (uint8_t)strlen(t10);
    ids[2].len = (uint8_t)strlen(port);
    ids[5].len = (uint8_t)strlen(lu->node->name);
    return vpd_device_id_build(buf, size, SCSI_TYPE_DISK, ids, sizeof(ids) / sizeof(ids[0]));
}

/* Page 88h: one relative port with its name. */
static int
ports(const struct tgt_cmd *c, uint8_t *buf, size_t size)
{
    uint8_t *d = buf + 4, *id = d + 12;
    int n = snprintf((char *)id + 4, size - 20, "%s,t,0x%04x", c->s.lu->node->name, TGT_TPGT);
    uint32_t len;

    assert(n > 0);
    len = ((uint32_t)n + 1 + 3) & ~3u;
    d[3] = PORT_ID;
    st_be16(d + 10, (uint16_t)(4 + len));
    id[0] = PROTO_ISCSI << 4 | CODE_UTF8;
    id[1] = 0x80 | VPD_ASSOC_PORT << 4 | VPD_ID_SCSI_NAME;
    id[3] = (uint8_t)len;
    buf[1] = VPD_PORTS;
    st_be16(buf + 2, (uint16_t)(12 + 4 + len));
    return (int)(4 + 12 + 4 + len);
}

static int
block_limits(const struct tgt_lu *lu, uint8_t *buf, size_t size)
{
    struct vpd_block_limits l = {
        .wsnz = true,
        .max_caw = (uint8_t)((TGT_CAW_MAX / lu->block) < 255 ? TGT_CAW_MAX / lu->block : 255),
        .opt_granularity = (uint16_t)(TGT_GRANULE / lu->block),
        .max_transfer = TGT_TRANSFER_MAX / lu->block,
        .opt_transfer = (1u << 20) / lu->block,
        .max_prefetch = TGT_TRANSFER_MAX / lu->block,
        .has_unmap = true,
        .max_unmap_lba = TGT_UNMAP_MAX / lu->block,
        .max_unmap_desc = TGT_UNMAP_DESC_MAX,
        .opt_unmap_granularity = TGT_GRANULE / lu->block,
        .ugavalid = true,
        .max_write_same = TGT_WRITE_SAME_MAX / lu->block,
    };

    return vpd_block_limits_build(buf, size, SCSI_TYPE_DISK, &l);
}

static int
vpd_page(struct tgt_cmd *c, uint8_t page, uint8_t *buf, size_t size)
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
        return vpd_serial_build(buf, size, SCSI_TYPE_DISK, c->s.lu->serial);
    case VPD_DEVICE_ID:
        return device_id(c, buf, size);
    case VPD_EXTENDED_INQUIRY:
        return vpd_extended_build(buf, size, SCSI_TYPE_DISK, &ext);
    case VPD_PORTS:
        return ports(c, buf, size);
    case VPD_BLOCK_LIMITS:
        return block_limits(c->s.lu, buf, size);
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
tgt_spc_inquiry(struct tgt_cmd *c)
{
    uint32_t alloc = ld_be16(&c->s.cdb[3]);
    bool evpd = c->s.cdb[1] & 1;
    int n;

    if (c->s.cdb[1] & ~1u) {
        tgt_scsi_fail_field(c, true, 1);
    } else if (!evpd && c->s.cdb[2] != 0) {
        tgt_scsi_fail_field(c, true, 2);
    } else if (!evpd) {
        inquiry_standard(c, alloc);
    } else if (c->s.lu == NULL) {
        tgt_scsi_fail_field(c, true, 2);
    } else if (tgt_scsi_buf(c, VPD_SIZE)) {
        n = vpd_page(c, c->s.cdb[2], c->s.buf, VPD_SIZE);
        if (n < 0)
            tgt_scsi_fail_field(c, true, 2);
        else
            tgt_scsi_reply(c, (uint32_t)n, alloc);
    }
}

void
tgt_spc_request_sense(struct tgt_cmd *c)
{
    bool descriptor = c->s.cdb[1] & 1;
    struct scsi_sense s = {.key = SENSE_NO_SENSE};
    int n;

    if (!tgt_scsi_buf(c, SENSE_MAX))
        return;
    if (c->s.lu == NULL) {
        s = (struct scsi_sense){.key = SENSE_ILLEGAL_REQUEST, .asc = 0x25};
    } else if (c->s.nexus->ua[c->s.lu->index] != 0) {
        uint16_t code = tgt_ua_take(c->s.nexus, c->s.lu);

        s = (struct scsi_sense){
            .key = SENSE_UNIT_ATTENTION, .asc = (uint8_t)(code >> 8), .ascq = (uint8_t)code};
    }
    n = descriptor ? sense_build_descriptor(c->s.buf, &s) : sense_build_fixed(c->s.buf, &s);
    tgt_scsi_reply(c, (uint32_t)n, c->s.cdb[4]);
}

void
tgt_spc_report_luns(struct tgt_cmd *c)
{
    const struct tgt_node *node = c->sess->node;
    uint32_t alloc = ld_be32(&c->s.cdb[6]), n = c->s.cdb[2] == 1 ? 0 : node->lus_count;

    if (c->s.cdb[2] > 2) {
        tgt_scsi_fail_field(c, true, 2);
    } else if (alloc < 16) {
        tgt_scsi_fail_field(c, true, 6);
    } else if (tgt_scsi_buf(c, (uint32_t)REPORT_LUNS_LEN(n))) {
        st_be32(c->s.buf, 8 * n);
        for (uint32_t i = 0; i < n; i++)
            lun_store(c->s.buf + 8 + 8 * i, lun_from_number(node->lus[i].number));
        tgt_scsi_reply(c, (uint32_t)REPORT_LUNS_LEN(n), alloc);
    }
}

void
tgt_spc_test_unit_ready(struct tgt_cmd *c)
{
    (void)c; /* always ready */
}

void
tgt_spc_reserve6(struct tgt_cmd *c)
{
    if (c->s.lu->pr.count > 0)
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
    else if (c->s.cdb[1] != 0)
        tgt_scsi_fail_field(c, true, 1); /* third party, extents: obsolete */
    else
        c->s.lu->reserved = c->s.nexus;
}

void
tgt_spc_release6(struct tgt_cmd *c)
{
    if (c->s.lu->pr.count > 0)
        tgt_scsi_fail_status(c, SCSI_RESERVATION_CONFLICT);
    else if (c->s.lu->reserved == c->s.nexus)
        c->s.lu->reserved = NULL;
}

void
tgt_spc_rtpg(struct tgt_cmd *c)
{
    const struct alua_group g = {
        .state = ALUA_OPTIMIZED, .supported = 0x01, .group = PORT_ID, .status = 2};
    const uint16_t port = PORT_ID;
    unsigned format = c->s.cdb[1] >> 5;
    int n;

    if (format > 1) {
        tgt_scsi_fail_field(c, true, 1);
    } else if (tgt_scsi_buf(c, 64)) {
        n = alua_build(c->s.buf, 64, format == 1, 0, &g, &port, 1);
        assert(n > 0);
        tgt_scsi_reply(c, (uint32_t)n, ld_be32(&c->s.cdb[6]));
    }
}

#define TIMEOUTS_LEN 12

/* Command timeouts descriptor. */
static uint32_t
put_timeouts(uint8_t *b)
{
    st_be16(b, TIMEOUTS_LEN - 2);
    st_be32(b + 8, TGT_TIMEOUT_S);
    return TIMEOUTS_LEN;
}

static void
report_all(struct tgt_cmd *c, bool rctd, uint32_t alloc)
{
    uint32_t len = 4, each = rctd ? 8 + TIMEOUTS_LEN : 8;

    if (!tgt_scsi_buf(c, 4 + tgt_ops_count * each))
        return;
    for (unsigned i = 0; i < tgt_ops_count; i++) {
        const struct tgt_op *op = &tgt_ops[i];
        uint8_t *d = c->s.buf + len;

        d[0] = op->opcode;
        if (op->sa >= 0)
            d[3] = (uint8_t)op->sa;
        d[5] = (uint8_t)((op->sa >= 0 ? 0x01 : 0) | (rctd ? 0x02 : 0));
        st_be16(d + 6, op->len);
        if (rctd)
            (void)put_timeouts(d + 8);
        len += each;
    }
    st_be32(c->s.buf, len - 4);
    tgt_scsi_reply(c, len, alloc);
}

static void
report_one(struct tgt_cmd *c, const struct tgt_op *op, bool rctd, uint32_t alloc)
{
    uint32_t len = 4;

    if (!tgt_scsi_buf(c, 64))
        return;
    c->s.buf[1] = 1; /* not supported */
    if (op != NULL) {
        c->s.buf[1] = (uint8_t)(3 | (rctd ? 0x80 : 0));
        st_be16(c->s.buf + 2, op->len);
        c->s.buf[4] = op->opcode;
        memcpy(c->s.buf + 5, op->usage, op->len - 1u);
        len += op->len;
        if (rctd)
            len += put_timeouts(c->s.buf + len);
    }
    tgt_scsi_reply(c, len, alloc);
}

void
tgt_spc_report_opcodes(struct tgt_cmd *c)
{
    unsigned options = c->s.cdb[2] & 7, first = c->conn->target->op_first[c->s.cdb[3]];
    uint16_t sa = ld_be16(&c->s.cdb[4]);
    uint32_t alloc = ld_be32(&c->s.cdb[6]);
    bool rctd = c->s.cdb[2] & 0x80, known = first != TGT_OP_ABSENT;
    bool has_sa = known && tgt_ops[first].sa >= 0;
    const struct tgt_op *op = NULL;

    if (options == 0) {
        report_all(c, rctd, alloc);
        return;
    }
    if (options > 3 || (known && options == 1 && has_sa) || (known && options == 2 && !has_sa)) {
        tgt_scsi_fail_field(c, true, options > 3 ? 2 : 3);
        return;
    }
    for (unsigned i = first; known && i < tgt_ops_count && op == NULL; i++) {
        if (tgt_ops[i].opcode != c->s.cdb[3])
            break;
        if (has_sa ? tgt_ops[i].sa == sa : options != 3 || sa == 0)
            op = &tgt_ops[i];
    }
    report_one(c, op, rctd, alloc);
}

void
tgt_spc_report_tmfs(struct tgt_cmd *c)
{
    bool repd = c->s.cdb[2] & 0x80;
    uint32_t alloc = ld_be32(&c->s.cdb[6]);

    if (alloc < 4) {
        tgt_scsi_fail_field(c, true, 6);
    } else if (tgt_scsi_buf(c, 16)) {
        c->s.buf[0] = 0xda; /* ABORT TASK, ABORT and CLEAR TASK SET, LU RESET, TARGET RESET */
        c->s.buf[3] = repd ? 12 : 0;
        tgt_scsi_reply(c, repd ? 16 : 4, alloc);
    }
}
