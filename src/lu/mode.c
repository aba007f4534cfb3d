/* SPDX-License-Identifier: MIT */
/* MODE SENSE and MODE SELECT. */
#include "lu/mode.h"

#include <assert.h>
#include <string.h>

#include "lu/cmd.h"
#include "lu/nexus.h"
#include "lu/unit.h"
#include "wire/be.h"
#include "wire/mode.h"

#define MODE_SIZE 256

#define ASC_NO_SAVE  SENSE_ASC(0x39, 0x00)
#define ASC_LIST_LEN SENSE_ASC(0x1a, 0x00)

enum page_control { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

static int
build_caching(uint8_t *b, size_t size, const struct lu_mode *m, bool mask)
{
    const struct mode_caching c = {.wce = m->wce};
    int n = mode_caching_build(b, size, &c);

    if (mask && n > 2) {
        memset(b + 2, 0, (size_t)n - 2);
        b[2] = 0x04;
    }
    return n;
}

static int
build_control(uint8_t *b, size_t size, const struct lu_mode *m, bool mask)
{
    /* Long commands, and writes whose data is asked for, are overtaken by others. */
    const struct mode_control c = {.d_sense = m->d_sense, .swp = m->swp, .reorders = true};
    int n = mode_control_build(b, size, &c);

    if (mask && n > 4) {
        memset(b + 2, 0, (size_t)n - 2);
        b[2] = 0x04;
        b[4] = 0x08;
    }
    return n;
}

static int
build_exceptions(uint8_t *b, size_t size, const struct lu_mode *m, bool mask)
{
    (void)m;
    (void)mask;
    return mode_info_exceptions_build(b, size);
}

static const struct {
    uint8_t code;
    int (*build)(uint8_t *b, size_t size, const struct lu_mode *m, bool mask);
} pages[] = {
    {MODE_PAGE_CACHING, build_caching},
    {MODE_PAGE_CONTROL, build_control},
    {MODE_PAGE_INFO_EXCEPTIONS, build_exceptions},
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

/* The pages asked for, behind each other; their length, -1 if there is no such page. */
static int
build_pages(const struct lu *lu, uint8_t code, enum page_control pc, uint8_t *b, size_t size)
{
    const struct lu_mode *m = pc == PC_DEFAULT ? &lu->mode_default : &lu->mode;
    int len = 0;

    for (size_t i = 0; i < PAGES; i++) {
        int n;

        if (code != MODE_PAGE_ALL && code != pages[i].code)
            continue;
        n = pages[i].build(b + len, size - (size_t)len, m, pc == PC_CHANGEABLE);
        assert(n > 0);
        len += n;
    }
    return len > 0 ? len : -1;
}

void
lu_mode_sense(struct lu_cmd *c)
{
    const struct lu *lu = c->lu;
    enum mode_form form = c->cdb[0] == SCSI_MODE_SENSE_6 ? MODE_6 : MODE_10;
    uint32_t alloc = form == MODE_6 ? c->cdb[4] : ld_be16(&c->cdb[7]);
    enum page_control pc = c->cdb[2] >> 6;
    uint8_t body[MODE_SIZE];
    uint8_t dev = (uint8_t)(MODE_DEV_DPOFUA | (lu_read_only(lu) ? MODE_DEV_WP : 0));
    bool dbd = c->cdb[1] & 0x08;
    int head, bd = 0, n;

    if (pc == PC_SAVED) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_NO_SAVE);
        return;
    }
    if (c->cdb[3] != 0 && c->cdb[3] != MODE_SUBPAGE_ALL) {
        lu_cmd_fail_field(c, true, 3);
        return;
    }
    if (!dbd)
        bd = mode_block_descriptor_build(body, sizeof(body), lu->blocks, lu->block);
    assert(bd >= 0);
    n = build_pages(lu, c->cdb[2] & 0x3f, pc, body + bd, sizeof(body) - (size_t)bd);
    if (n < 0) {
        lu_cmd_fail_field(c, true, 2);
        return;
    }
    if (!lu_cmd_buf(c, MODE_SIZE + 8))
        return;
    head = mode_header_build(c->buf, MODE_SIZE, form, dev, (uint16_t)bd, (size_t)(bd + n));
    assert(head > 0);
    memcpy(c->buf + head, body, (size_t)(bd + n));
    lu_cmd_reply(c, (uint32_t)(head + bd + n), alloc);
}

void
lu_mode_select(struct lu_cmd *c)
{
    bool six = c->cdb[0] == SCSI_MODE_SELECT_6;
    uint32_t len = six ? c->cdb[4] : ld_be16(&c->cdb[7]);

    if (c->cdb[1] & 0x01 || !(c->cdb[1] & 0x10)) {
        lu_cmd_fail_field(c, true, 1); /* nothing is saved; pages have the standard form */
    } else if (len > MODE_SIZE + 8) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST,
                    ASC_LIST_LEN); /* more than all pages that there are */
    } else if (len > 0 && lu_cmd_buf(c, len)) {
        lu_cmd_want(c, LU_DATA_BUF, len);
    }
}

/* Takes over a page if only changeable bits differ from the current one. */
static bool
take_page(const struct lu *lu, const struct mode_page *p, struct lu_mode *m)
{
    uint8_t now[64], mask[64];
    int n;

    if (p->subpage != 0 || (p->code != MODE_PAGE_CACHING && p->code != MODE_PAGE_CONTROL &&
                            p->code != MODE_PAGE_INFO_EXCEPTIONS))
        return false;
    n = build_pages(lu, p->code, PC_CURRENT, now, sizeof(now));
    (void)build_pages(lu, p->code, PC_CHANGEABLE, mask, sizeof(mask));
    if (n < 0 || p->len != (size_t)n)
        return false;
    for (int i = 2; i < n; i++) {
        if ((p->data[i] ^ now[i]) & ~(p->code == MODE_PAGE_INFO_EXCEPTIONS ? 0 : mask[i]))
            return false;
    }
    if (p->code == MODE_PAGE_CACHING) {
        m->wce = p->data[2] & 0x04;
    } else if (p->code == MODE_PAGE_CONTROL) {
        m->d_sense = p->data[2] & 0x04;
        m->swp = p->data[4] & 0x08;
    }
    return true;
}

void
lu_mode_select_finish(struct lu_cmd *c)
{
    struct lu *lu = c->lu;
    struct lu_mode m = lu->mode;
    struct mode_data d;
    struct mode_page p;
    const uint8_t *at;

    if (mode_parse(c->buf, c->len, c->cdb[0] == SCSI_MODE_SELECT_6 ? MODE_6 : MODE_10, &d) < 0) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LIST_LEN);
        return;
    }
    if (d.bd_len != 0 && (d.bd == NULL || d.bd_len != 8 || ld_be24(d.bd + 5) != lu->block)) {
        lu_cmd_fail_field(c, false, 4); /* the block length cannot be changed */
        return;
    }
    at = d.pages;
    while (mode_page_next(&d, &at, &p)) {
        if (!take_page(lu, &p, &m)) {
            lu_cmd_fail_field(c, false, (uint16_t)(p.data - c->buf));
            return;
        }
    }
    if (at != d.end) {
        lu_cmd_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LIST_LEN);
        return;
    }
    if (m.wce != lu->mode.wce || m.swp != lu->mode.swp || m.d_sense != lu->mode.d_sense)
        lu_ua_all(lu, c->nexus, LU_UA_MODE_CHANGED);
    c->sync = lu->mode.wce && !m.wce; /* what was cached must not be lost by switching off */
    lu->mode = m;
}
