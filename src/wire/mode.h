/* SPDX-License-Identifier: MIT */
/* wire/mode.h - mode parameter headers and pages (SPC, SBC), for MODE SENSE and MODE SELECT.
 *
 * Lengths are bounded by what was received and, for MODE SENSE data, by the
 * mode data length; a page that runs past the data is as if absent.
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
    uint32_t length; /* of all the data as the header tells: what to ask for next time; the length
                        received for MODE SELECT, whose header says 0 */
    uint8_t medium, dev_specific;
    bool longlba;
    uint16_t bd_len;            /* block descriptors */
    const uint8_t *bd;          /* NULL if none or cut */
    const uint8_t *pages, *end; /* the pages, cut to what is there */
};

/* The header and where things are.  -EINVAL when not even the header is there. */
int mode_parse(const uint8_t *buf, size_t len, enum mode_form form, struct mode_data *ret);

struct mode_page {
    uint8_t code, subpage; /* subpage 0 when SPF is 0 */
    bool saveable;         /* PS */
    uint8_t header_len;    /* 2, or 4 with SPF */
    const uint8_t *data;   /* from byte 0 of the page, header included */
    size_t len;            /* with header */
};

/* The next page at *at (start with d->pages); false at the end or at a page that runs past it. */
bool mode_page_next(const struct mode_data *d, const uint8_t **at, struct mode_page *ret);
bool mode_page_find(const struct mode_data *d, uint8_t code, uint8_t subpage,
                    struct mode_page *ret);

struct mode_caching {
    bool wce, rcd;
};
/* False if the page is too short to tell. */
bool mode_caching_parse(const struct mode_page *p, struct mode_caching *ret);

struct mode_control {
    bool d_sense, swp, tas;
    uint8_t qerr, ua_intlck;
    uint16_t busy_timeout_100ms;
};
bool mode_control_parse(const struct mode_page *p, struct mode_control *ret);

/* Target side: the header for MODE SENSE data of body_len bytes (block descriptors and pages)
 * after it.  Returns its length, 4 or 8, or -ENOBUFS; -ERANGE: too long for MODE_6. */
int mode_header_build(uint8_t *buf, size_t size, enum mode_form form, uint8_t dev_specific,
                      uint16_t bd_len, size_t body_len);
/* The 8-byte block descriptor of disks (24-bit block length). */
int mode_block_descriptor_build(uint8_t *buf, size_t size, uint64_t blocks, uint32_t block_len);
/* Pages 08h (20 bytes), 0Ah (12 bytes) and 1Ch (12 bytes, all zero). */
int mode_caching_build(uint8_t *buf, size_t size, const struct mode_caching *c);
int mode_control_build(uint8_t *buf, size_t size, const struct mode_control *c);
int mode_info_exceptions_build(uint8_t *buf, size_t size);

#endif
