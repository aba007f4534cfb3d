/* SPDX-License-Identifier: MIT */
/* wire/inquiry.h - standard INQUIRY data and vital product data pages (SPC, SBC): parsers for the
 * initiator, builders for the target.
 *
 * A parser looks at the bytes that lie within both len, which was received, and the
 * length that the data claim.  Any bytes may be given to it.  A field that is not
 * wholly within them is 0, which the SCSI standards define as "not reported" where it
 * matters.  Text is cleaned as by clean_text() (wire/clean.h).
 *
 * A builder writes a whole page to buf[size] and returns its bytes, or -ENOBUFS; the
 * caller cuts it to the ALLOCATION LENGTH.  All functions may be called on any thread.
 */
#ifndef WIRE_INQUIRY_H
#define WIRE_INQUIRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define INQUIRY_MIN 36 /* bytes of standard INQUIRY data that every device has */

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
    uint8_t qualifier; /* 0 a logical unit, 1 none connected at present, 3 none possible */
    uint8_t type;      /* enum scsi_device_type */
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

/* Parses standard INQUIRY data; less than 36 bytes are taken as 36 with zeroes behind.  Returns 0,
 * or -EINVAL when len is 0. */
int inquiry_parse(const uint8_t *buf, size_t len, struct scsi_inquiry *ret);

/* Builds 96 bytes of standard INQUIRY data from q; vendor, product and revision are padded with
 * spaces. */
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

/* Returns the total length (4 + PAGE LENGTH) that the head of a VPD page claims.  Returns -EINVAL
 * when len is less than 4, when it is another page than the one asked for, or when the page is
 * empty, which devices return for pages that they do not have. */
int vpd_length(const uint8_t *buf, size_t len, uint8_t page);

/* The parsers below return 0, or -EINVAL where vpd_length does. */

struct vpd_supported {
    uint8_t pages[256];
    unsigned n;
};
int vpd_supported_parse(const uint8_t *buf, size_t len, struct vpd_supported *ret);
bool vpd_supported_has(const struct vpd_supported *s, uint8_t page);

/* Gets the serial number of page 80h as cleaned text, without leading and trailing spaces, cut to
 * size - 1 bytes. */
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
    uint8_t protocol; /* PROTOCOL IDENTIFIER, valid if piv */
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

/* Starts a walk over the designators of page 83h; buf is borrowed for the walk and for what it
 * finds. */
int vpd_id_iter_init(struct vpd_id_iter *it, const uint8_t *buf, size_t len);
/* Gets the next designator; false at the end, and at a designator that runs past it. */
bool vpd_id_next(struct vpd_id_iter *it, struct vpd_id *ret);

#define VPD_LU_NAME_MAX 264 /* bytes of any name, with the NUL */

/* Gets the name of a logical unit, which is the same on all paths to it, from page 83h.  Of the
 * designators with association 0 it takes the best kind: a SCSI name string, then NAA 6, EUI-64 of
 * 16 bytes, of 12 bytes, NAA 5, NAA 4 or 2, EUI-64 of 8 bytes, a T10 vendor identification, and
 * last NAA 3; of several of one kind, the longest.  The text is the SCSI name itself, or
 * "naa.6...", "eui.0...", "t10.VENDOR  ...", as it came.  Returns its length, or -ENOENT
 * when there is no such designator, or when it does not fit into size. */
int vpd_lu_name(const uint8_t *buf, size_t len, char *ret, size_t size);

/* Makes a name for a logical unit for which vpd_lu_name() finds none: "vps.", then vendor, product
 * and serial number (page 80h; may be ""), with '_' for spaces.  Returns its length, or -ENOBUFS.
 */
int vpd_fallback_name(const struct scsi_inquiry *q, const char *serial, char *ret, size_t size);

/* Gets the relative target port identifier and the target port group of the port that answered
 * (association 1), each -1 where the page does not tell it; of several the first. */
void vpd_port_ids(const uint8_t *buf, size_t len, int32_t *ret_rel_port, int32_t *ret_group);

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
    uint32_t max_transfer, opt_transfer, max_prefetch; /* blocks; 0: not reported */
    bool has_unmap; /* the page is long enough to have the next two fields */
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
    uint16_t rotation; /* rotations per minute; 0 not reported, 1 does not rotate */
    uint8_t form_factor, zoned;
    bool fuab, vbuls;
};
int vpd_block_char_parse(const uint8_t *buf, size_t len, struct vpd_block_char *ret);

struct vpd_provisioning {
    uint8_t threshold_exponent;
    bool lbpu, lbpws, lbpws10, anc_sup, dp;
    uint8_t lbprz;   /* what unmapped blocks read as, 3 bits: xx1 zeroes, 010 the initialisation
                        pattern, 000 vendor-specific */
    uint8_t type;    /* 0 full or not reported, 1 resource, 2 thin */
    uint8_t percent; /* THRESHOLD PERCENTAGE */
};
int vpd_provisioning_parse(const uint8_t *buf, size_t len, struct vpd_provisioning *ret);

/* The builders of VPD pages.  `type` is byte 0 of the page: qualifier << 5 | device type. */
int vpd_supported_build(uint8_t *buf, size_t size, uint8_t type, const uint8_t *pages, unsigned n);
int vpd_serial_build(uint8_t *buf, size_t size, uint8_t type, const char *serial);
/* This ends SCSI name strings with a NUL and pads them to a multiple of 4 bytes; ids[].len is
 * without that. */
int vpd_device_id_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_id *ids,
                        unsigned n);
int vpd_extended_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_extended *e);
int vpd_block_limits_build(uint8_t *buf, size_t size, uint8_t type,
                           const struct vpd_block_limits *l);
int vpd_block_char_build(uint8_t *buf, size_t size, uint8_t type, const struct vpd_block_char *c);
int vpd_provisioning_build(uint8_t *buf, size_t size, uint8_t type,
                           const struct vpd_provisioning *p);

#endif
