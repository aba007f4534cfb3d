/* SPDX-License-Identifier: MIT */
#include "wire/mode.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "wire/be.h"

#define PS  0x80u
#define SPF 0x40u

static size_t
min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

int
mode_parse(const uint8_t *buf, size_t len, enum mode_form form, struct mode_data *ret)
{
    size_t head = form == MODE_6 ? 4 : 8, claimed, end, at;
    struct mode_data d = {0};

    if (len < head)
        return -EINVAL;
    if (form == MODE_6) {
        claimed = buf[0] + (size_t)1;
        d.medium = buf[1];
        d.dev_specific = buf[2];
        d.bd_len = buf[3];
    } else {
        claimed = ld_be16(buf) + (size_t)2;
        d.medium = buf[2];
        d.dev_specific = buf[3];
        d.longlba = (buf[4] & 0x01) != 0;
        d.bd_len = ld_be16(buf + 6);
    }
    /* In MODE SELECT the length is 0, and all bytes that came count. */
    if (claimed == (form == MODE_6 ? 1u : 2u))
        claimed = len;
    d.length = (uint32_t)claimed;
    end = min_size(len, claimed);
    if (end < head)
        end = head;
    at = head + min_size(d.bd_len, end - head);
    d.bd = d.bd_len > 0 && at - head == d.bd_len ? buf + head : NULL;
    d.pages = buf + at;
    d.end = buf + end;
    *ret = d;
    return 0;
}

bool
mode_page_next(const struct mode_data *d, const uint8_t **at, struct mode_page *ret)
{
    const uint8_t *p = *at;
    size_t left = (size_t)(d->end - p), len, head;

    assert(p >= d->pages && p <= d->end);
    if (left < 2)
        return false;
    head = (p[0] & SPF) != 0 ? 4 : 2;
    if (left < head)
        return false;
    len = head + (head == 4 ? ld_be16(p + 2) : p[1]);
    if (len > left)
        return false;
    *ret = (struct mode_page){.code = p[0] & 0x3f,
                              .subpage = head == 4 ? p[1] : 0,
                              .saveable = (p[0] & PS) != 0,
                              .header_len = (uint8_t)head,
                              .data = p,
                              .len = len};
    *at = p + len;
    return true;
}

bool
mode_page_find(const struct mode_data *d, uint8_t code, uint8_t subpage, struct mode_page *ret)
{
    const uint8_t *at = d->pages;
    struct mode_page p;

    while (mode_page_next(d, &at, &p)) {
        if (p.code == code && p.subpage == subpage) {
            *ret = p;
            return true;
        }
    }
    return false;
}

bool
mode_caching_parse(const struct mode_page *p, struct mode_caching *ret)
{
    if (p->code != MODE_PAGE_CACHING || p->subpage != 0 || p->header_len != 2 || p->len < 3)
        return false;
    *ret = (struct mode_caching){.wce = (p->data[2] & 0x04) != 0, .rcd = (p->data[2] & 0x01) != 0};
    return true;
}

bool
mode_control_parse(const struct mode_page *p, struct mode_control *ret)
{
    if (p->code != MODE_PAGE_CONTROL || p->subpage != 0 || p->header_len != 2 || p->len < 10)
        return false;
    *ret = (struct mode_control){.d_sense = (p->data[2] & 0x04) != 0,
                                 .reorders = p->data[3] >> 4 == 1,
                                 .qerr = p->data[3] >> 1 & 3,
                                 .ua_intlck = p->data[4] >> 4 & 3,
                                 .swp = (p->data[4] & 0x08) != 0,
                                 .tas = (p->data[5] & 0x40) != 0,
                                 .busy_timeout_100ms = ld_be16(p->data + 8)};
    return true;
}

int
mode_header_build(uint8_t *buf, size_t size, enum mode_form form, uint8_t dev_specific,
                  uint16_t bd_len, size_t body_len)
{
    size_t head = form == MODE_6 ? 4 : 8;

    assert(bd_len <= body_len);
    if (size < head)
        return -ENOBUFS;
    memset(buf, 0, head);
    if (form == MODE_6) {
        if (body_len > UINT8_MAX - 3 || bd_len > UINT8_MAX)
            return -ERANGE;
        buf[0] = (uint8_t)(body_len + 3);
        buf[2] = dev_specific;
        buf[3] = (uint8_t)bd_len;
    } else {
        if (body_len > UINT16_MAX - 6)
            return -ERANGE;
        st_be16(buf, (uint16_t)(body_len + 6));
        buf[3] = dev_specific;
        st_be16(buf + 6, bd_len);
    }
    return (int)head;
}

int
mode_block_descriptor_build(uint8_t *buf, size_t size, uint64_t blocks, uint32_t block_len)
{
    assert(block_len <= 0xffffff);
    if (size < 8)
        return -ENOBUFS;
    st_be32(buf, blocks > UINT32_MAX ? UINT32_MAX : (uint32_t)blocks);
    buf[4] = 0;
    st_be24(buf + 5, block_len);
    return 8;
}

static bool
mode_start(uint8_t *buf, size_t size, uint8_t code, size_t len)
{
    if (size < len)
        return false;
    memset(buf, 0, len);
    buf[0] = code;
    buf[1] = (uint8_t)(len - 2);
    return true;
}

int
mode_caching_build(uint8_t *buf, size_t size, const struct mode_caching *c)
{
    if (!mode_start(buf, size, MODE_PAGE_CACHING, 20))
        return -ENOBUFS;
    buf[2] = (uint8_t)((c->wce ? 0x04 : 0) | (c->rcd ? 0x01 : 0));
    return 20;
}

int
mode_control_build(uint8_t *buf, size_t size, const struct mode_control *c)
{
    assert(c->qerr <= 3 && c->ua_intlck <= 3);
    if (!mode_start(buf, size, MODE_PAGE_CONTROL, 12))
        return -ENOBUFS;
    buf[2] = c->d_sense ? 0x04 : 0;
    buf[3] = (uint8_t)((c->reorders ? 0x10 : 0) | c->qerr << 1);
    buf[4] = (uint8_t)(c->ua_intlck << 4 | (c->swp ? 0x08 : 0));
    buf[5] = c->tas ? 0x40 : 0;
    st_be16(buf + 8, c->busy_timeout_100ms);
    return 12;
}

int
mode_info_exceptions_build(uint8_t *buf, size_t size)
{
    return mode_start(buf, size, MODE_PAGE_INFO_EXCEPTIONS, 12) ? 12 : -ENOBUFS;
}
