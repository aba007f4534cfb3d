/* SPDX-License-Identifier: MIT */
/* wire/mode.h - mode parameter headers and pages (SPC, SBC), for MODE SENSE and MODE SELECT.
 *
 * The parsers look at no byte beyond what was received nor, in MODE SENSE data, beyond
 * the MODE DATA LENGTH.  A page that runs past that end counts as absent.  What they
 * return points into the caller's buffer.  Any thread.
 */
#ifndef WIRE_MODE_H
#define WIRE_MODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODE_PAGE_CACHING         0x08
#define MODE_PAGE_CONTROL         0x0a
#define MODE_PAGE_INFO_EXCEPTIONS 0x1c
#define MODE_PAGE_ALL             0x3f
#define MODE_SUBPAGE_ALL          0xff

#define MODE_DEV_WP     0x80u /* device-specific parameter of disks */
#define MODE_DEV_DPOFUA 0x10u /* likewise */

enum mode_form {
    MODE_6,
    MODE_10,
};

struct mode_data {
    /* Bytes of all the data, which the header of MODE SENSE data tells, so that a second command
     * can ask for all of them.  The header of MODE SELECT data has 0 there, and this is then len.
     */
    uint32_t length;
    uint8_t medium, dev_specific; /* MEDIUM TYPE, DEVICE-SPECIFIC PARAMETER */
    bool longlba;
    uint16_t bd_len;            /* bytes of the block descriptors */
    const uint8_t *bd;          /* the block descriptors; NULL if there are none or not all */
    const uint8_t *pages, *end; /* the pages that were received */
};

/* Parses the header and finds the block descriptors and the pages.  Returns 0, or -EINVAL when the
 * header is not all there. */
int mode_parse(const uint8_t *buf, size_t len, enum mode_form form, struct mode_data *ret);

struct mode_page {
    uint8_t code, subpage; /* subpage 0 when SPF is 0 */
    bool saveable;         /* PS */
    uint8_t header_len;    /* 2, or 4 with SPF */
    const uint8_t *data;   /* from byte 0 of the page, header included */
    size_t len;            /* bytes, header included */
};

/* Gets the page at *at, which the caller sets to d->pages at first, and moves *at behind it.
 * Returns false at the end, and at a page that runs past it. */
bool mode_page_next(const struct mode_data *d, const uint8_t **at, struct mode_page *ret);
/* Finds a page; false when it is absent. */
bool mode_page_find(const struct mode_data *d, uint8_t code, uint8_t subpage,
                    struct mode_page *ret);

struct mode_caching {
    bool wce, rcd;
};
/* The parsers of pages return false if the page is too short to have the fields. */
bool mode_caching_parse(const struct mode_page *p, struct mode_caching *ret);

struct mode_control {
    bool d_sense, swp, tas;
    bool reorders; /* QUEUE ALGORITHM MODIFIER 1: SIMPLE commands in any order */
    uint8_t qerr, ua_intlck;
    uint16_t busy_timeout_100ms;
};
bool mode_control_parse(const struct mode_page *p, struct mode_control *ret);

/* Builds the header of MODE SENSE data, behind which body_len bytes follow, bd_len of them block
 * descriptors.  Returns the length of the header, 4 or 8; -ENOBUFS; or -ERANGE when MODE_6 has no
 * room for the length. */
int mode_header_build(uint8_t *buf, size_t size, enum mode_form form, uint8_t dev_specific,
                      uint16_t bd_len, size_t body_len);
/* Builds the 8-byte block descriptor of disks, with a block length of 24 bits.  This and the
 * builders below return the bytes written, or -ENOBUFS. */
int mode_block_descriptor_build(uint8_t *buf, size_t size, uint64_t blocks, uint32_t block_len);
/* Build the pages 08h (20 bytes), 0Ah (12 bytes) and 1Ch (12 bytes, whose fields are zero). */
int mode_caching_build(uint8_t *buf, size_t size, const struct mode_caching *c);
int mode_control_build(uint8_t *buf, size_t size, const struct mode_control *c);
int mode_info_exceptions_build(uint8_t *buf, size_t size);

#endif
