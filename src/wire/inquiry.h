/* SPDX-License-Identifier: MIT */
/* wire/inquiry.h - standard INQUIRY data and vital product data pages (SPC, SBC): parsers for the
 * initiator, builders for the target.
 *
 * Parsers take what was received and look at min(the length the data claim,
 * len) bytes; they accept every prefix and every garbage.  Fields beyond the
 * end are 0, "not told".  Text is cleaned: bytes outside 20h..7Eh become
 * spaces, a NUL ends it, trailing spaces go.  Builders write to buf[size] and return the
 * bytes the page has, or -ENOBUFS; cutting to ALLOCATION LENGTH is the caller's.
 */
#ifndef WIRE_INQUIRY_H
#define WIRE_INQUIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INQUIRY_MIN 36

enum scsi_device_type {
    SCSI_TYPE_DISK = 0x00,
    SCSI_TYPE_TAPE = 0x01,
    SCSI_TYPE_CDROM = 0x05,
    SCSI_TYPE_OPTICAL = 0x07,
    SCSI_TYPE_CHANGER = 0x08,
    SCSI_TYPE_CONTROLLER = 0x0c,
    SCSI_TYPE_ENCLOSURE = 0x0d,
    SCSI_TYPE_RBC = 0x0e,
    SCSI_TYPE_ZONED = 0x14,
    SCSI_TYPE_WELL_KNOWN = 0x1e,
    SCSI_TYPE_NONE = 0x1f,
};

struct scsi_inquiry {
    uint8_t qualifier; /* 0 there, 1 not connected, 3 no LU */
    uint8_t type;
    bool removable;
    uint8_t version;
    uint8_t scsi_level; /* version + 1 (SPC-3: 6); 2 also for version 1 with response format 1 */
    uint8_t response_format;
    bool naca, hisup, sccs, third_party_copy, protect, encserv, multip, cmdque;
    uint8_t tpgs;    /* 1 implicit, 2 explicit, 3 both */
    uint16_t length; /* additional length + 5: what a second INQUIRY may ask for */
    char vendor[9], product[17], revision[5];
    uint16_t versions[8]; /* version descriptors, 0 where there is none */
};

#define SCSI_LEVEL_SCSI2 3
#define SCSI_LEVEL_SPC   4
#define SCSI_LEVEL_SPC2  5
#define SCSI_LEVEL_SPC3  6
#define SCSI_LEVEL_SPC4  7
#define SCSI_LEVEL_SPC5  8

/* Less than 36 bytes are taken as 36, zero-filled.  -EINVAL only for len 0. */
int inquiry_parse(const uint8_t *buf, size_t len, struct scsi_inquiry *ret);

/* 96 bytes from the fields of q (vendor, product, revision padded by spaces). */
int inquiry_build(uint8_t *buf, size_t size, const struct scsi_inquiry *q);

const char *scsi_type_name(uint8_t type);

#define VPD_SUPPORTED             0x00
#define VPD_SERIAL                0x80
#define VPD_DEVICE_ID             0x83
#define VPD_EXTENDED_INQUIRY      0x86
#define VPD_PORTS                 0x88
#define VPD_BLOCK_LIMITS          0xb0
#define VPD_BLOCK_CHARACTERISTICS 0xb1
#define VPD_PROVISIONING          0xb2

/* Total length (4 + page length) that the head of a page claims; -EINVAL: fewer than 4 bytes, not
 * the page that was asked for, or empty - as good as absent. */
int vpd_length(const uint8_t *buf, size_t len, uint8_t page);

/* All parsers below: 0, or -EINVAL as vpd_length. */

struct vpd_supported {
    uint8_t pages[256];
    unsigned n;
};
int vpd_supported_parse(const uint8_t *buf, size_t len, struct vpd_supported *ret);
bool vpd_supported_has(const struct vpd_supported *s, uint8_t page);

/* Cleaned, leading and trailing spaces removed, cut to size - 1. */
int vpd_serial_parse(const uint8_t *buf, size_t len, char *ret, size_t size);

enum vpd_assoc {
    VPD_ASSOC_LU = 0,
    VPD_ASSOC_PORT = 1,
    VPD_ASSOC_TARGET = 2,
};

enum vpd_id_type {
    VPD_ID_VENDOR = 0,
    VPD_ID_T10 = 1,
    VPD_ID_EUI64 = 2,
    VPD_ID_NAA = 3,
    VPD_ID_REL_PORT = 4,
    VPD_ID_PORT_GROUP = 5,
    VPD_ID_LU_GROUP = 6,
    VPD_ID_MD5 = 7,
    VPD_ID_SCSI_NAME = 8,
};

struct vpd_id {
    uint8_t protocol; /* if piv */
    bool piv;
    uint8_t code_set; /* 1 binary, 2 ASCII, 3 UTF-8 */
    uint8_t assoc;    /* enum vpd_assoc */
    uint8_t type;     /* enum vpd_id_type */
    uint8_t len;
    const uint8_t *data;
};

struct vpd_id_iter {
    const uint8_t *at;
    size_t left;
};

/* Designators of page 83h. */
int vpd_id_iter_init(struct vpd_id_iter *it, const uint8_t *buf, size_t len);
/* False at the end, and at a designator that runs past it. */
bool vpd_id_next(struct vpd_id_iter *it, struct vpd_id *ret);

#define VPD_LU_NAME_MAX 264

/* The name by which a logical unit is known on all paths, from page 83h, best first: SCSI name
 * string, NAA 6, EUI-64 of 16 and 12 bytes, NAA 5, NAA 4, EUI-64 of 8, T10 vendor id or NAA 3.
 * Only designators of association 0; a longer one wins among equals.  "naa.6...", "eui.0...",
 * "t10.VENDOR..." or the SCSI name itself.  Length of the text, or -ENOENT. */
int vpd_lu_name(const uint8_t *buf, size_t len, char *ret, size_t size);

/* What stands in when there is no such designator: "vps." and vendor, product and serial (80h) with
 * '_' for spaces; serial may be "". */
int vpd_fallback_name(const struct scsi_inquiry *q, const char *serial, char *ret, size_t size);

/* Relative target port and target port group of the port that answered (association 1);
 * *ret untouched and -ENOENT when the page has none. */
int vpd_port_ids(const uint8_t *buf, size_t len, uint16_t *ret_rel_port, uint16_t *ret_group);

struct vpd_extended {
    uint8_t activate_microcode, spt;
    bool grd_chk, app_chk, ref_chk;
    bool uask_sup, group_sup, prior_sup, headsup, ordsup, simpsup;
    bool wu_sup, crd_sup, nv_sup, v_sup;
    bool p_i_i_sup, luiclr;
    uint16_t self_test_minutes;
    uint8_t max_sense;
};
int vpd_extended_parse(const uint8_t *buf, size_t len, struct vpd_extended *ret);

struct vpd_block_limits {
    bool wsnz;
    uint8_t max_caw; /* COMPARE AND WRITE blocks; 0: not supported */
    uint16_t opt_granularity;
    uint32_t max_transfer, opt_transfer, max_prefetch; /* blocks, 0: not told */
    bool has_unmap;                                    /* the page reaches the next two */
    uint32_t max_unmap_lba, max_unmap_desc;
    uint32_t opt_unmap_granularity;
    bool ugavalid;
    uint32_t unmap_alignment;
    uint64_t max_write_same;
    uint32_t max_atomic, atomic_alignment, atomic_granularity, max_atomic_boundary,
        max_atomic_boundary_size;
};
int vpd_block_limits_parse(const uint8_t *buf, size_t len, struct vpd_block_limits *ret);

struct vpd_block_char {
    uint16_t rotation; /* 0 not told, 1 does not rotate, else per minute */
    uint8_t form_factor, zoned;
    bool fuab, vbuls;
};
int vpd_block_char_parse(const uint8_t *buf, size_t len, struct vpd_block_char *ret);

struct vpd_provisioning {
    uint8_t threshold_exponent;
    bool lbpu, lbpws, lbpws10, anc_sup, dp;
    uint8_t lbprz;   /* 3 bits: xx1 zeros, 010 the initialisation pattern, 000 vendor's */
    uint8_t type;    /* 0 full or not told, 1 resource, 2 thin */
    uint8_t percent; /* threshold */
};
int vpd_provisioning_parse(const uint8_t *buf, size_t len, struct vpd_provisioning *ret);

/* Builders.  `type` is byte 0: qualifier << 5 | device type. */
int vpd_supported_build(uint8_t *buf, size_t size, uint8_t type, const uint8_t *pages, unsigned n);
int vpd_serial_build(uint8_t *buf, size_t size, uint8_t type, const char *serial);
/* SCSI name strings are NUL-terminated and padded to 4 here (ids[].len without that). */
int vpd_device_id_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_id *ids,
                        unsigned n);
int vpd_extended_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_extended *e);
int vpd_block_limits_build(uint8_t *buf, size_t size, uint8_t type,
                           const struct vpd_block_limits *l);
int vpd_block_char_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_block_char *c);
int vpd_provisioning_build(uint8_t *buf, size_t size, uint8_t type,
                           const struct vpd_provisioning *p);

#endif
