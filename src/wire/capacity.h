/* SPDX-License-Identifier: MIT */
/* wire/capacity.h - READ CAPACITY, REPORT LUNS and REPORT TARGET PORT GROUPS data, both ways. */
#ifndef WIRE_CAPACITY_H
#define WIRE_CAPACITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/lun.h"

#define CAPACITY10_LEN 8
#define CAPACITY16_LEN 32

struct scsi_capacity {
    uint64_t blocks; /* last LBA + 1 */
    uint32_t block_len;
    bool more; /* READ CAPACITY(10) answered FFFFFFFFh: ask with (16); blocks is then 2^32 */
    /* (16) only */
    uint8_t rc_basis;
    uint8_t protection; /* 0 none, 1..8: P_TYPE + 1 with PROT_EN */
    uint8_t p_i_exponent, physical_exponent;
    bool lbpme, lbprz;
    uint16_t lowest_aligned; /* LBA */
};

/* -EINVAL: fewer than 8 bytes (10), fewer than 12 (16; what is behind is 0 if cut), or a last LBA
 * that has no successor. */
int capacity10_parse(const uint8_t *buf, size_t len, struct scsi_capacity *ret);
int capacity16_parse(const uint8_t *buf, size_t len, struct scsi_capacity *ret);

/* Write READ CAPACITY data, for blocks > 0.  CAPACITY10_LEN or CAPACITY16_LEN, or -ENOBUFS. */
int capacity10_build(uint8_t *buf, size_t size, const struct scsi_capacity *c);
int capacity16_build(uint8_t *buf, size_t size, const struct scsi_capacity *c);

#define REPORT_LUNS_LEN(n) (8u + 8u * (size_t)(n))

/* LUNs that are wholly within len, by min(LIST LENGTH + 8, len); -EINVAL: no header.
 * *ret_total (may be NULL): the bytes that a buffer for all of them needs. */
int report_luns_count(const uint8_t *buf, size_t len, uint64_t *ret_total);
/* i < report_luns_count() */
struct lun report_luns_get(const uint8_t *buf, unsigned i);
/* Bytes of the whole list; as many LUNs as fit into size are written, the header (if size >= 8)
 * tells of all. */
size_t report_luns_build(uint8_t *buf, size_t size, const struct lun *luns, unsigned n);

/* Asymmetric access states */
enum alua_state {
    ALUA_OPTIMIZED = 0x0,
    ALUA_NON_OPTIMIZED = 0x1,
    ALUA_STANDBY = 0x2,
    ALUA_UNAVAILABLE = 0x3,
    ALUA_LBA_DEPENDENT = 0x4,
    ALUA_OFFLINE = 0xe,
    ALUA_TRANSITIONING = 0xf,
};

struct alua_group {
    bool preferred;
    uint8_t state;     /* enum alua_state */
    uint8_t supported; /* byte 1: T 80 O 40 LBD 10 U 08 S 04 AN 02 AO 01 */
    uint16_t group;
    uint8_t status;
    uint8_t ports_count;  /* wholly within the buffer */
    const uint8_t *ports; /* 4 bytes each, see alua_port() */
};

struct alua_iter {
    const uint8_t *at;
    size_t left;
    uint8_t transition_s; /* implicit transition time, 0: not told */
};

/* RTPG data, with or without the extended header, which is recognised by its format.  -EINVAL: no
 * header. */
int alua_iter_init(struct alua_iter *it, const uint8_t *buf, size_t len, uint32_t *ret_total);
bool alua_next(struct alua_iter *it, struct alua_group *ret);
uint16_t alua_port(const struct alua_group *g, unsigned i);
/* Header and one group with consecutive ports; the bytes, or -ENOBUFS. */
int alua_build(uint8_t *buf, size_t size, bool extended, uint8_t transition_s,
               const struct alua_group *g, const uint16_t *ports, unsigned nports);
const char *alua_state_name(uint8_t state);

#endif
