/* SPDX-License-Identifier: MIT */
/* Builds vital product data pages for the target, as wire/inquiry.h says. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/be.h"
#include "wire/inquiry.h"

/* Clears a page of len bytes and writes its head; false if it does not fit. */
static bool
vpd_start(uint8_t *buf, size_t size, uint8_t type, uint8_t page, size_t len)
{
    assert(len >= 4 && len - 4 <= UINT16_MAX);
    if (size < len)
        return false;
    memset(buf, 0, len);
    buf[0] = type;
    buf[1] = page;
    st_be16(buf + 2, (uint16_t)(len - 4));
    return true;
}

static uint8_t
bit(bool on, uint8_t mask)
{
    return on ? mask : 0;
}

int
vpd_supported_build(uint8_t *buf, size_t size, uint8_t type, const uint8_t *pages, unsigned n)
{
    if (!vpd_start(buf, size, type, VPD_SUPPORTED, 4 + (size_t)n))
        return -ENOBUFS;
    memcpy(buf + 4, pages, n);
    for (unsigned i = 1; i < n; i++)
        assert(pages[i - 1] < pages[i]); /* SPC: ascending */
    return (int)(4 + n);
}

int
vpd_serial_build(uint8_t *buf, size_t size, uint8_t type, const char *serial)
{
    size_t n = strlen(serial);

    assert(n > 0 && n <= UINT16_MAX);
    if (!vpd_start(buf, size, type, VPD_SERIAL, 4 + n))
        return -ENOBUFS;
    /* The page has no NUL.  NOLINTNEXTLINE(bugprone-not-null-terminated-result) */
    memcpy(buf + 4, serial, n);
    return (int)(4 + n);
}

/* SCSI name strings end in one to four NULs. */
static size_t
id_len(const struct vpd_id *id)
{
    return id->type == VPD_ID_SCSI_NAME ? (id->len / 4u + 1u) * 4u : id->len;
}

int
vpd_device_id_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_id *ids, unsigned n)
{
    size_t len = 4;
    uint8_t *at;

    for (unsigned i = 0; i < n; i++)
        len += 4 + id_len(&ids[i]);
    if (!vpd_start(buf, size, type, VPD_DEVICE_ID, len))
        return -ENOBUFS;
    at = buf + 4;
    for (unsigned i = 0; i < n; i++) {
        const struct vpd_id *id = &ids[i];

        assert(id_len(id) <= UINT8_MAX && id->assoc <= 3 && id->type <= 15 && id->code_set <= 15);
        at[0] = (uint8_t)(id->protocol << 4 | id->code_set);
        at[1] = (uint8_t)(bit(id->piv, 0x80) | id->assoc << 4 | id->type);
        at[3] = (uint8_t)id_len(id);
        memcpy(at + 4, id->data, id->len);
        at += 4 + id_len(id);
    }
    return (int)len;
}

int
vpd_extended_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_extended *e)
{
    if (!vpd_start(buf, size, type, VPD_EXTENDED_INQUIRY, 64))
        return -ENOBUFS;
    buf[4] = (uint8_t)(e->activate_microcode << 6 | (e->spt & 7) << 3 | bit(e->grd_chk, 0x04) |
                       bit(e->app_chk, 0x02) | bit(e->ref_chk, 0x01));
    buf[5] = (uint8_t)(bit(e->uask_sup, 0x20) | bit(e->group_sup, 0x10) | bit(e->prior_sup, 0x08) |
                       bit(e->headsup, 0x04) | bit(e->ordsup, 0x02) | bit(e->simpsup, 0x01));
    buf[6] = (uint8_t)(bit(e->wu_sup, 0x08) | bit(e->crd_sup, 0x04) | bit(e->nv_sup, 0x02) |
                       bit(e->v_sup, 0x01));
    buf[7] = (uint8_t)(bit(e->p_i_i_sup, 0x10) | bit(e->luiclr, 0x01));
    st_be16(buf + 10, e->self_test_minutes);
    buf[13] = e->max_sense;
    return 64;
}

int
vpd_block_limits_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_block_limits *l)
{
    assert(l->unmap_alignment <= 0x7fffffff);
    if (!vpd_start(buf, size, type, VPD_BLOCK_LIMITS, 64))
        return -ENOBUFS;
    buf[4] = bit(l->wsnz, 0x01);
    buf[5] = l->max_caw;
    st_be16(buf + 6, l->opt_granularity);
    st_be32(buf + 8, l->max_transfer);
    st_be32(buf + 12, l->opt_transfer);
    st_be32(buf + 16, l->max_prefetch);
    st_be32(buf + 20, l->max_unmap_lba);
    st_be32(buf + 24, l->max_unmap_desc);
    st_be32(buf + 28, l->opt_unmap_granularity);
    st_be32(buf + 32, l->unmap_alignment | (l->ugavalid ? 0x80000000u : 0));
    st_be64(buf + 36, l->max_write_same);
    st_be32(buf + 44, l->max_atomic);
    st_be32(buf + 48, l->atomic_alignment);
    st_be32(buf + 52, l->atomic_granularity);
    st_be32(buf + 56, l->max_atomic_boundary);
    st_be32(buf + 60, l->max_atomic_boundary_size);
    return 64;
}

int
vpd_block_char_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_block_char *c)
{
    assert(c->form_factor <= 15 && c->zoned <= 3);
    if (!vpd_start(buf, size, type, VPD_BLOCK_CHARACTERISTICS, 64))
        return -ENOBUFS;
    st_be16(buf + 4, c->rotation);
    buf[7] = c->form_factor;
    buf[8] = (uint8_t)(c->zoned << 4 | bit(c->fuab, 0x02) | bit(c->vbuls, 0x01));
    return 64;
}

int
vpd_provisioning_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_provisioning *p)
{
    assert(p->lbprz <= 7 && p->type <= 7);
    if (!vpd_start(buf, size, type, VPD_PROVISIONING, 8))
        return -ENOBUFS;
    buf[4] = p->threshold_exponent;
    buf[5] = (uint8_t)(bit(p->lbpu, 0x80) | bit(p->lbpws, 0x40) | bit(p->lbpws10, 0x20) |
                       p->lbprz << 2 | bit(p->anc_sup, 0x02) | bit(p->dp, 0x01));
    buf[6] = p->type;
    buf[7] = p->percent;
    return 8;
}
