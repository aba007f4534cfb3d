/* SPDX-License-Identifier: MIT */
#include "wire/capacity.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/be.h"

int
capacity10_parse(const uint8_t *buf, size_t len, struct scsi_capacity *ret)
{
    uint32_t last;

    if (len < CAPACITY10_LEN)
        return -EINVAL;
    last = ld_be32(buf);
    *ret = (struct scsi_capacity){
        .blocks = (uint64_t)last + 1, .block_len = ld_be32(buf + 4), .more = last == UINT32_MAX};
    return 0;
}

int
capacity16_parse(const uint8_t *buf, size_t len, struct scsi_capacity *ret)
{
    uint8_t b[16] = {0};
    uint64_t last;

    if (len < 12)
        return -EINVAL;
    memcpy(b, buf, len < sizeof(b) ? len : sizeof(b));
    last = ld_be64(b);
    if (last == UINT64_MAX)
        return -EINVAL;
    *ret = (struct scsi_capacity){
        .blocks = last + 1,
        .block_len = ld_be32(b + 8),
        .rc_basis = b[12] >> 4 & 3,
        .protection = (uint8_t)((b[12] & 0x01) != 0 ? (b[12] >> 1 & 7) + 1 : 0),
        .p_i_exponent = b[13] >> 4,
        .physical_exponent = b[13] & 0x0f,
        .lbpme = (b[14] & 0x80) != 0,
        .lbprz = (b[14] & 0x40) != 0,
        .lowest_aligned = ld_be16(b + 14) & 0x3fff,
    };
    return 0;
}

int
capacity10_build(uint8_t *buf, size_t size, const struct scsi_capacity *c)
{
    assert(c->blocks > 0);
    if (size < CAPACITY10_LEN)
        return -ENOBUFS;
    st_be32(buf, c->blocks - 1 > UINT32_MAX ? UINT32_MAX : (uint32_t)(c->blocks - 1));
    st_be32(buf + 4, c->block_len);
    return CAPACITY10_LEN;
}

int
capacity16_build(uint8_t *buf, size_t size, const struct scsi_capacity *c)
{
    assert(c->blocks > 0 && c->protection <= 8 && c->lowest_aligned <= 0x3fff);
    assert(c->rc_basis <= 3 && c->p_i_exponent <= 15 && c->physical_exponent <= 15);
    if (size < CAPACITY16_LEN)
        return -ENOBUFS;
    memset(buf, 0, CAPACITY16_LEN);
    st_be64(buf, c->blocks - 1);
    st_be32(buf + 8, c->block_len);
    buf[12] = (uint8_t)(c->rc_basis << 4);
    if (c->protection > 0)
        buf[12] |= (uint8_t)((c->protection - 1) << 1 | 0x01);
    buf[13] = (uint8_t)(c->p_i_exponent << 4 | c->physical_exponent);
    st_be16(buf + 14,
            (uint16_t)((c->lbpme ? 0x8000 : 0) | (c->lbprz ? 0x4000 : 0) | c->lowest_aligned));
    return CAPACITY16_LEN;
}

int
report_luns_count(const uint8_t *buf, size_t len, uint64_t *ret_total)
{
    uint64_t list, there;

    if (len < 8)
        return -EINVAL;
    list = ld_be32(buf);
    if (ret_total != NULL)
        *ret_total = list + 8;
    there = list < len - 8 ? list : len - 8;
    assert(there / 8 <= INT32_MAX);
    return (int)(there / 8);
}

struct lun
report_luns_get(const uint8_t *buf, unsigned i)
{
    return lun_load(buf + REPORT_LUNS_LEN(i));
}

size_t
report_luns_build(uint8_t *buf, size_t size, const struct lun *luns, unsigned n)
{
    assert(n < UINT32_MAX / 8);
    if (size >= 8) {
        memset(buf, 0, 8);
        st_be32(buf, 8 * n);
    }
    for (unsigned i = 0; i < n && REPORT_LUNS_LEN(i + 1) <= size; i++)
        lun_store(buf + REPORT_LUNS_LEN(i), luns[i]);
    return REPORT_LUNS_LEN(n);
}

#define ALUA_EXT_FORMAT 0x10u /* byte 4, bits 6-4 = 001 */

int
alua_iter_init(struct alua_iter *it, const uint8_t *buf, size_t len, uint32_t *ret_total)
{
    size_t end, at = 4;
    uint32_t claimed;

    if (len < 4)
        return -EINVAL;
    claimed = ld_be32(buf);
    end = claimed < len - 4 ? 4 + (size_t)claimed : len;
    *it = (struct alua_iter){0};
    /* A group descriptor has in this byte PREF, 3 reserved bits, and the state. */
    if (end >= 8 && (buf[4] & 0x70) == ALUA_EXT_FORMAT) {
        it->transition_s = buf[5];
        at = 8;
    }
    it->at = buf + at;
    it->left = end - at;
    if (ret_total != NULL)
        *ret_total = claimed > UINT32_MAX - 4 ? UINT32_MAX : claimed + 4;
    return 0;
}

bool
alua_next(struct alua_iter *it, struct alua_group *ret)
{
    const uint8_t *d = it->at;
    size_t want, there;

    if (it->left < 8)
        return false;
    want = 8 + 4 * (size_t)d[7];
    there = want < it->left ? want : it->left;
    *ret = (struct alua_group){.preferred = (d[0] & 0x80) != 0,
                               .state = d[0] & 0x0f,
                               .supported = d[1],
                               .group = ld_be16(d + 2),
                               .status = d[5],
                               .ports_count = (uint8_t)((there - 8) / 4),
                               .ports = d + 8};
    it->at += there;
    it->left -= there;
    return true;
}

uint16_t
alua_port(const struct alua_group *g, unsigned i)
{
    assert(i < g->ports_count);
    return ld_be16(g->ports + 4 * (size_t)i + 2);
}

int /* NOLINTNEXTLINE(readability-function-size) */
alua_build(uint8_t *buf, size_t size, bool extended, uint8_t transition_s,
           const struct alua_group *g, const uint16_t *ports, unsigned nports)
{
    size_t at = extended ? 8 : 4, len = at + 8 + 4 * (size_t)nports;

    assert(nports <= UINT8_MAX && g->state <= 15);
    if (size < len)
        return -ENOBUFS;
    memset(buf, 0, len);
    st_be32(buf, (uint32_t)(len - 4));
    if (extended) {
        buf[4] = ALUA_EXT_FORMAT;
        buf[5] = transition_s;
    }
    buf[at] = (uint8_t)((g->preferred ? 0x80 : 0) | g->state);
    buf[at + 1] = g->supported;
    st_be16(buf + at + 2, g->group);
    buf[at + 5] = g->status;
    buf[at + 7] = (uint8_t)nports;
    for (unsigned i = 0; i < nports; i++)
        st_be16(buf + at + 8 + 4 * (size_t)i + 2, ports[i]);
    return (int)len;
}

static bool
alua_group_has_port(const struct alua_group *g, int32_t rel_port)
{
    for (unsigned i = 0; i < g->ports_count; i++) {
        if (alua_port(g, i) == rel_port)
            return true;
    }
    return false;
}

bool
alua_find(const uint8_t *buf, size_t len, int32_t group, int32_t rel_port, struct alua_group *ret,
          uint8_t *ret_transition_s)
{
    struct alua_iter it;
    struct alua_group g, found = {0};
    unsigned groups = 0, matches = 0;

    if (alua_iter_init(&it, buf, len, NULL) < 0)
        return false;
    while (alua_next(&it, &g)) {
        groups++;
        if (group >= 0 ? g.group == group : rel_port < 0 || alua_group_has_port(&g, rel_port)) {
            found = g;
            matches++;
        }
    }
    if (matches == 0 || (group < 0 && rel_port < 0 && groups > 1))
        return false;
    *ret = found;
    *ret_transition_s = it.transition_s;
    return true;
}

const char *
alua_state_name(uint8_t state)
{
    switch (state) {
    case ALUA_OPTIMIZED:
        return "active/optimized";
    case ALUA_NON_OPTIMIZED:
        return "active/non-optimized";
    case ALUA_STANDBY:
        return "standby";
    case ALUA_UNAVAILABLE:
        return "unavailable";
    case ALUA_LBA_DEPENDENT:
        return "LBA dependent";
    case ALUA_OFFLINE:
        return "offline";
    case ALUA_TRANSITIONING:
        return "transitioning";
    default:
        return "unknown state";
    }
}

uint32_t
lba_status_count(const uint8_t *buf, size_t len)
{
    uint64_t told;

    if (len < LBA_STATUS_LEN(0))
        return 0;
    told = ld_be32(buf) + 4ull;
    if (told < len)
        len = (size_t)told;
    return len < LBA_STATUS_LEN(0) ? 0 : (uint32_t)((len - LBA_STATUS_LEN(0)) / 16);
}

struct lba_status
lba_status_get(const uint8_t *buf, uint32_t i)
{
    const uint8_t *d = buf + LBA_STATUS_LEN(i);

    return (struct lba_status){ld_be64(d), ld_be32(d + 8), d[12] & 0x0f};
}
