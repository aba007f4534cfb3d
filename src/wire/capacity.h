/* SPDX-License-Identifier: MIT */
/* wire/capacity.h - parsers and builders for the data of READ CAPACITY (SBC), REPORT LUNS and
 * REPORT TARGET PORT GROUPS (SPC).  Any thread. */
#ifndef WIRE_CAPACITY_H
#define WIRE_CAPACITY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "wire/lun.h"

#define CAPACITY10_LEN 8
#define CAPACITY16_LEN 32

struct scsi_capacity {
    uint64_t blocks;    /* last LBA + 1 */
    uint32_t block_len; /* bytes */
    /* READ CAPACITY(10) returned FFFFFFFFh, the last LBA that it can tell, so that only READ
     * CAPACITY(16) tells the size; blocks is 2^32. */
    bool more;
    /* The fields from here on are in READ CAPACITY(16) data only. */
    uint8_t rc_basis;
    uint8_t protection; /* 0 none, 1..8: P_TYPE + 1 with PROT_EN */
    uint8_t p_i_exponent, physical_exponent;
    bool lbpme, lbprz;
    uint16_t lowest_aligned; /* LBA */
};

/* Parse READ CAPACITY(10) and READ CAPACITY(16) data.  Return 0, or -EINVAL when len is less than 8
 * or 12, or when the last LBA is 2^64 - 1, so that the number of blocks has no 64-bit value.
 * Fields of (16) that the data do not reach are 0. */
int capacity10_parse(const uint8_t *buf, size_t len, struct scsi_capacity *ret);
int capacity16_parse(const uint8_t *buf, size_t len, struct scsi_capacity *ret);

/* Write READ CAPACITY data, for blocks > 0.  Return the length, CAPACITY10_LEN or CAPACITY16_LEN,
 * or -ENOBUFS when size is less. */
int capacity10_build(uint8_t *buf, size_t size, const struct scsi_capacity *c);
int capacity16_build(uint8_t *buf, size_t size, const struct scsi_capacity *c);

#define REPORT_LUNS_LEN(n) (8u + 8u * (size_t)(n))

/* Returns how many LUNs of REPORT LUNS data lie within both len and the LIST LENGTH, or -EINVAL
 * when len is less than the 8 bytes of the header.  *ret_total (ret_total may be NULL) is the size
 * of the buffer that a REPORT LUNS for all LUNs needs, in bytes. */
int report_luns_count(const uint8_t *buf, size_t len, uint64_t *ret_total);
/* Returns LUN i, which is less than what report_luns_count() returned. */
struct lun report_luns_get(const uint8_t *buf, unsigned i);
/* Writes as much of the data as fits into size: the header, whose LIST LENGTH counts all n LUNs,
 * where size is at least 8, and the LUNs that fit wholly.  Returns the bytes of the data for all n
 * LUNs. */
size_t report_luns_build(uint8_t *buf, size_t size, const struct lun *luns, unsigned n);

/* GET LBA STATUS (SBC-4 5.9): a header and descriptors of 16 bytes. */
#define LBA_STATUS_LEN(n) (8u + 16u * (size_t)(n))

enum lba_provisioning { LBA_MAPPED_OR_UNKNOWN, LBA_DEALLOCATED, LBA_ANCHORED, LBA_MAPPED };

struct lba_status {
    uint64_t lba;
    uint32_t blocks;
    uint8_t provisioning; /* enum lba_provisioning, or a value that is none of them */
};

/* Returns how many descriptors lie within both len and the PARAMETER DATA LENGTH; 0 where not even
 * the header is there. */
uint32_t lba_status_count(const uint8_t *buf, size_t len);
/* Returns descriptor i, which is less than what lba_status_count() returned. */
struct lba_status lba_status_get(const uint8_t *buf, uint32_t i);

/* Asymmetric access states (SPC, REPORT TARGET PORT GROUPS). */
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
    uint8_t status;       /* STATUS CODE */
    uint8_t ports_count;  /* ports whose descriptors are wholly within the buffer */
    const uint8_t *ports; /* 4 bytes each, see alua_port() */
};

struct alua_iter {
    const uint8_t *at;
    size_t left;
    uint8_t transition_s; /* implicit transition time in seconds; 0: the target does not say */
};

/* Starts a walk over REPORT TARGET PORT GROUPS data, with or without the extended header, which its
 * RETURN DATA FORMAT tells.  buf is borrowed for the walk.  *ret_total (ret_total may be NULL) is
 * the size of all the data in bytes.  Returns 0, or -EINVAL when the header is not all there. */
int alua_iter_init(struct alua_iter *it, const uint8_t *buf, size_t len, uint32_t *ret_total);
/* Gets the next group; false at the end, and at a group whose head is not all there. */
bool alua_next(struct alua_iter *it, struct alua_group *ret);
/* Returns the relative target port identifier of port i < g->ports_count. */
uint16_t alua_port(const struct alua_group *g, unsigned i);
/* Writes the header and one group, whose relative target port identifiers are ports[0..nports); it
 * takes all but the ports from g.  Returns the bytes written, or -ENOBUFS. */
int alua_build(uint8_t *buf, size_t size, bool extended, uint8_t transition_s,
               const struct alua_group *g, const uint16_t *ports, unsigned nports);

/* Finds the group of one port in REPORT TARGET PORT GROUPS data: the one that has the number group;
 * where that is -1 (nobody has told it), the one that lists the relative target port identifier
 * rel_port; where that is -1 too, the only group that there is.  Of several that match the last
 * counts.  False where there is none, and then *ret and *ret_transition_s, which is as
 * alua_iter.transition_s, stay as they were. */
bool alua_find(const uint8_t *buf, size_t len, int32_t group, int32_t rel_port,
               struct alua_group *ret, uint8_t *ret_transition_s);
const char *alua_state_name(uint8_t state);

#endif
