/* SPDX-License-Identifier: MIT */
/* Reads vital product data pages, as wire/inquiry.h says. */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/hex.h"
#include "wire/be.h"
#include "wire/clean.h"
#include "wire/inquiry.h"

int
vpd_length(const uint8_t *buf, size_t len, uint8_t page)
{
    /* Old devices have a one-byte length in byte 3 and 0 in byte 2, which is the same number. */
    if (len < 4 || buf[1] != page || ld_be16(buf + 2) == 0)
        return -EINVAL;
    return 4 + ld_be16(buf + 2);
}

/* The length that the page claims, or that was received if that is less. */
static int
bounded(const uint8_t *buf, size_t len, uint8_t page)
{
    int n = vpd_length(buf, len, page);

    return n > 0 && (size_t)n > len ? (int)len : n;
}

/* Copies the page to b[size], what is not there being 0. */
static int
padded(const uint8_t *buf, size_t len, uint8_t page, uint8_t *b, size_t size)
{
    int n = bounded(buf, len, page);

    if (n < 0)
        return n;
    memset(b, 0, size);
    memcpy(b, buf, (size_t)n < size ? (size_t)n : size);
    return n;
}

int
vpd_supported_parse(const uint8_t *buf, size_t len, struct vpd_supported *ret)
{
    int n = bounded(buf, len, VPD_SUPPORTED);

    if (n < 0)
        return n;
    n -= 4;
    if ((size_t)n > sizeof(ret->pages))
        n = (int)sizeof(ret->pages);
    ret->n = (unsigned)n;
    memcpy(ret->pages, buf + 4, (size_t)n);
    return 0;
}

bool
vpd_supported_has(const struct vpd_supported *s, uint8_t page)
{
    assert(s->n <= sizeof(s->pages));
    return memchr(s->pages, page, s->n) != NULL;
}

int
vpd_serial_parse(const uint8_t *buf, size_t len, char *ret, size_t size)
{
    int n = bounded(buf, len, VPD_SERIAL), from = 4;

    if (n < 0)
        return n;
    while (from < n && buf[from] == ' ')
        from++;
    clean_text(buf + from, (size_t)(n - from), ret, size);
    return 0;
}

int
vpd_id_iter_init(struct vpd_id_iter *it, const uint8_t *buf, size_t len)
{
    int n = bounded(buf, len, VPD_DEVICE_ID);

    if (n < 0)
        return n;
    *it = (struct vpd_id_iter){.at = buf + 4, .left = (size_t)n - 4};
    return 0;
}

bool
vpd_id_next(struct vpd_id_iter *it, struct vpd_id *ret)
{
    const uint8_t *d = it->at;

    if (it->left < 4 || it->left - 4 < d[3])
        return false;
    *ret = (struct vpd_id){
        .protocol = d[0] >> 4,
        .code_set = d[0] & 0x0f,
        .piv = (d[1] & 0x80) != 0,
        .assoc = d[1] >> 4 & 3,
        .type = d[1] & 0x0f,
        .len = d[3],
        .data = d + 4,
    };
    it->at += 4u + d[3];
    it->left -= 4u + d[3];
    return true;
}

/* How good a name a designator makes; 0: none. */
static unsigned
name_rank(const struct vpd_id *d)
{
    if (d->assoc != VPD_ASSOC_LU || d->len == 0)
        return 0;
    switch (d->type) {
    case VPD_ID_SCSI_NAME:
        return d->code_set == 3 || d->code_set == 2 ? 9 : 0;
    case VPD_ID_NAA:
        if (d->data[0] >> 4 == 6)
            return d->len == 16 ? 8 : 0;
        if (d->len != 8)
            return 0;
        switch (d->data[0] >> 4) {
        case 5:
            return 5;
        case 2:
        case 4:
            return 4;
        case 3: /* locally assigned */
            return 1;
        default:
            return 0;
        }
    case VPD_ID_EUI64:
        return d->len == 16 ? 7 : d->len == 12 ? 6 : d->len == 8 ? 3 : 0;
    case VPD_ID_T10:
        return d->len >= 8 ? 2 : 0;
    default:
        return 0;
    }
}

static int
name_of(const struct vpd_id *d, char *ret, size_t size)
{
    char text[256], *end;
    int n;

    switch (d->type) {
    case VPD_ID_SCSI_NAME:
    case VPD_ID_T10:
        clean_text(d->data, d->len, text, sizeof(text));
        n = snprintf(ret, size, "%s%s", d->type == VPD_ID_T10 ? "t10." : "", text);
        return n > 0 && (size_t)n < size ? n : -ENOENT;
    default:
        if (size < 4 + 2u * d->len + 1)
            return -ENOENT;
        (void)snprintf(ret, size, "%s", d->type == VPD_ID_NAA ? "naa." : "eui.");
        end = hex_put(ret + 4, d->data, d->len);
        *end = '\0';
        return (int)(end - ret);
    }
}

int
vpd_lu_name(const uint8_t *buf, size_t len, char *ret, size_t size)
{
    struct vpd_id best = {0}, d;
    struct vpd_id_iter it;
    unsigned best_rank = 0;

    assert(size > 0);
    if (vpd_id_iter_init(&it, buf, len) < 0)
        return -ENOENT;
    while (vpd_id_next(&it, &d)) {
        unsigned rank = name_rank(&d);

        if (rank > best_rank || (rank > 0 && rank == best_rank && d.len > best.len)) {
            best = d;
            best_rank = rank;
        }
    }
    return best_rank > 0 ? name_of(&best, ret, size) : -ENOENT;
}

/* The name that is made here stands in paths and on command lines, where spaces would be in the
 * way. */
static void
no_spaces(char *text)
{
    for (; *text != '\0'; text++)
        if (*text == ' ')
            *text = '_';
}

int
vpd_fallback_name(const struct scsi_inquiry *q, const char *serial, char *ret, size_t size)
{
    int n = snprintf(ret, size, "vps.%s_%s_%s", q->vendor, q->product, serial);

    if (n < 0 || (size_t)n >= size)
        return -ENOBUFS;
    no_spaces(ret);
    return n;
}

void
vpd_port_ids(const uint8_t *buf, size_t len, int32_t *ret_rel_port, int32_t *ret_group)
{
    struct vpd_id_iter it;
    struct vpd_id d;

    *ret_rel_port = *ret_group = -1;
    if (vpd_id_iter_init(&it, buf, len) < 0)
        return;
    while (vpd_id_next(&it, &d)) {
        if (d.assoc != VPD_ASSOC_PORT || d.len != 4)
            continue;
        if (d.type == VPD_ID_REL_PORT && *ret_rel_port < 0)
            *ret_rel_port = ld_be16(d.data + 2);
        else if (d.type == VPD_ID_PORT_GROUP && *ret_group < 0)
            *ret_group = ld_be16(d.data + 2);
    }
}

int
vpd_extended_parse(const uint8_t *buf, size_t len, struct vpd_extended *ret)
{
    uint8_t b[64];
    int n = padded(buf, len, VPD_EXTENDED_INQUIRY, b, sizeof(b));

    if (n < 0)
        return n;
    *ret = (struct vpd_extended){
        .activate_microcode = b[4] >> 6,
        .spt = b[4] >> 3 & 7,
        .grd_chk = (b[4] & 0x04) != 0,
        .app_chk = (b[4] & 0x02) != 0,
        .ref_chk = (b[4] & 0x01) != 0,
        .uask_sup = (b[5] & 0x20) != 0,
        .group_sup = (b[5] & 0x10) != 0,
        .prior_sup = (b[5] & 0x08) != 0,
        .headsup = (b[5] & 0x04) != 0,
        .ordsup = (b[5] & 0x02) != 0,
        .simpsup = (b[5] & 0x01) != 0,
        .wu_sup = (b[6] & 0x08) != 0,
        .crd_sup = (b[6] & 0x04) != 0,
        .nv_sup = (b[6] & 0x02) != 0,
        .v_sup = (b[6] & 0x01) != 0,
        .p_i_i_sup = (b[7] & 0x10) != 0,
        .luiclr = (b[7] & 0x01) != 0,
        .self_test_minutes = ld_be16(b + 10),
        .max_sense = b[13],
    };
    return 0;
}

int
vpd_block_limits_parse(const uint8_t *buf, size_t len, struct vpd_block_limits *ret)
{
    uint8_t b[64];
    int n = padded(buf, len, VPD_BLOCK_LIMITS, b, sizeof(b));

    if (n < 0)
        return n;
    *ret = (struct vpd_block_limits){
        .wsnz = (b[4] & 0x01) != 0,
        .max_caw = b[5],
        .opt_granularity = ld_be16(b + 6),
        .max_transfer = ld_be32(b + 8),
        .opt_transfer = ld_be32(b + 12),
        .max_prefetch = ld_be32(b + 16),
        .has_unmap = n >= 28,
        .max_unmap_lba = n >= 28 ? ld_be32(b + 20) : 0,
        .max_unmap_desc = n >= 28 ? ld_be32(b + 24) : 0,
        .opt_unmap_granularity = ld_be32(b + 28),
        .ugavalid = (b[32] & 0x80) != 0,
        .unmap_alignment = ld_be32(b + 32) & 0x7fffffff,
        .max_write_same = ld_be64(b + 36),
        .max_atomic = ld_be32(b + 44),
        .atomic_alignment = ld_be32(b + 48),
        .atomic_granularity = ld_be32(b + 52),
        .max_atomic_boundary = ld_be32(b + 56),
        .max_atomic_boundary_size = ld_be32(b + 60),
    };
    return 0;
}

int
vpd_block_char_parse(const uint8_t *buf, size_t len, struct vpd_block_char *ret)
{
    uint8_t b[64];
    int n = padded(buf, len, VPD_BLOCK_CHARACTERISTICS, b, sizeof(b));

    if (n < 0)
        return n;
    *ret = (struct vpd_block_char){
        .rotation = ld_be16(b + 4),
        .form_factor = b[7] & 0x0f,
        .zoned = b[8] >> 4 & 3,
        .fuab = (b[8] & 0x02) != 0,
        .vbuls = (b[8] & 0x01) != 0,
    };
    return 0;
}

int
vpd_provisioning_parse(const uint8_t *buf, size_t len, struct vpd_provisioning *ret)
{
    uint8_t b[8];
    int n = padded(buf, len, VPD_PROVISIONING, b, sizeof(b));

    if (n < 0)
        return n;
    *ret = (struct vpd_provisioning){
        .threshold_exponent = b[4],
        .lbpu = (b[5] & 0x80) != 0,
        .lbpws = (b[5] & 0x40) != 0,
        .lbpws10 = (b[5] & 0x20) != 0,
        .lbprz = b[5] >> 2 & 7,
        .anc_sup = (b[5] & 0x02) != 0,
        .dp = (b[5] & 0x01) != 0,
        .type = b[6] & 7,
        .percent = b[7],
    };
    return 0;
}
