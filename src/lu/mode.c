/* SPDX-License-Identifier: MIT */
/* MODE SENSE and MODE SELECT: caching (08h), control (0Ah), informational exceptions (1Ch). */
#include <assert.h>
#include <string.h>

#include "lu/cmd.h"
#include "target/session.h"
#include "wire/be.h"
#include "wire/mode.h"

#define MODE_SIZE 256

#define ASC_NO_SAVE  SENSE_ASC(0x39, 0x00)
#define ASC_LIST_LEN SENSE_ASC(0x1a, 0x00)

enum page_control { PC_CURRENT, PC_CHANGEABLE, PC_DEFAULT, PC_SAVED };

static int
build_caching(uint8_t *b, size_t size, const struct tgt_mode *m, bool mask)
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
build_control(uint8_t *b, size_t size, const struct tgt_mode *m, bool mask)
{
    const struct mode_control c = {.d_sense = m->d_sense, .swp = m->swp};
    int n = mode_control_build(b, size, &c);

    if (mask && n > 4) {
        memset(b + 2, 0, (size_t)n - 2);
        b[2] = 0x04;
        b[4] = 0x08;
    }
    return n;
}

static int
build_exceptions(uint8_t *b, size_t size, const struct tgt_mode *m, bool mask)
{
    (void)m;
    (void)mask;
    return mode_info_exceptions_build(b, size);
}

static const struct {
    uint8_t code;
    int (*build)(uint8_t *b, size_t size, const struct tgt_mode *m, bool mask);
} pages[] = {
    {MODE_PAGE_CACHING, build_caching},
    {MODE_PAGE_CONTROL, build_control},
    {MODE_PAGE_INFO_EXCEPTIONS, build_exceptions},
};

#define PAGES (sizeof(pages) / sizeof(pages[0]))

/* The pages asked for, behind each other; their length, -1 if there is no such page. */
static int
build_pages(const struct tgt_lu *lu, uint8_t code, enum page_control pc, uint8_t *b, size_t size)
{
    const struct tgt_mode *m = pc == PC_DEFAULT ? &lu->mode_default : &lu->mode;
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
tgt_mode_sense(struct tgt_cmd *c)
{
    const struct tgt_lu *lu = c->s.lu;
    enum mode_form form = c->s.cdb[0] == SCSI_MODE_SENSE_6 ? MODE_6 : MODE_10;
    uint32_t alloc = form == MODE_6 ? c->s.cdb[4] : ld_be16(&c->s.cdb[7]);
    enum page_control pc = c->s.cdb[2] >> 6;
    uint8_t body[MODE_SIZE];
    uint8_t dev = (uint8_t)(MODE_DEV_DPOFUA | (tgt_lu_read_only(lu) ? MODE_DEV_WP : 0));
    bool dbd = c->s.cdb[1] & 0x08;
    int head, bd = 0, n;

    if (pc == PC_SAVED) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_NO_SAVE);
        return;
    }
    if (c->s.cdb[3] != 0 && c->s.cdb[3] != MODE_SUBPAGE_ALL) {
        tgt_scsi_fail_field(c, true, 3);
        return;
    }
    if (!dbd)
        bd = mode_block_descriptor_build(body, sizeof(body), lu->blocks, lu->block);
    assert(bd >= 0);
    n = build_pages(lu, c->s.cdb[2] & 0x3f, pc, body + bd, sizeof(body) - (size_t)bd);
    if (n < 0) {
        tgt_scsi_fail_field(c, true, 2);
        return;
    }
    if (!tgt_scsi_buf(c, MODE_SIZE + 8))
        return;
    head = mode_header_build(c->s.buf, MODE_SIZE, form, dev, (uint16_t)bd, (size_t)(bd + n));
    assert(head > 0);
    memcpy(c->s.buf + head, body, (size_t)(bd + n));
    tgt_scsi_reply(c, (uint32_t)(head + bd + n), alloc);
}

void
tgt_mode_select(struct tgt_cmd *c)
{
    bool six = c->s.cdb[0] == SCSI_MODE_SELECT_6;
    uint32_t len = six ? c->s.cdb[4] : ld_be16(&c->s.cdb[7]);

    if (c->s.cdb[1] & 0x01 || !(c->s.cdb[1] & 0x10)) {
        tgt_scsi_fail_field(c, true, 1); /* nothing is saved; pages have the standard form */
    } else if (len > 0 && tgt_scsi_buf(c, len)) {
        c->s.dir = TGT_DIR_OUT;
        c->s.data = TGT_DATA_BUF;
        c->s.len = len;
    }
}

/* Takes over a page if only changeable bits differ from the current one. */
static bool
take_page(const struct tgt_lu *lu, const struct mode_page *p, struct tgt_mode *m)
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
tgt_mode_select_finish(struct tgt_cmd *c)
{
    struct tgt_lu *lu = c->s.lu;
    struct tgt_mode m = lu->mode;
    struct mode_data d;
    struct mode_page p;
    const uint8_t *at;

    if (mode_parse(c->s.buf, c->s.len, c->s.cdb[0] == SCSI_MODE_SELECT_6 ? MODE_6 : MODE_10, &d) <
        0) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LIST_LEN);
        return;
    }
    if (d.bd_len != 0 && (d.bd == NULL || d.bd_len != 8 || ld_be24(d.bd + 5) != lu->block)) {
        tgt_scsi_fail_field(c, false, 4); /* the block length cannot be changed */
        return;
    }
    at = d.pages;
    while (mode_page_next(&d, &at, &p)) {
        if (!take_page(lu, &p, &m)) {
            tgt_scsi_fail_field(c, false, (uint16_t)(p.data - c->s.buf));
            return;
        }
    }
    if (at != d.end) {
        tgt_scsi_fail(c, SENSE_ILLEGAL_REQUEST, ASC_LIST_LEN);
        return;
    }
    if (m.wce != lu->mode.wce || m.swp != lu->mode.swp || m.d_sense != lu->mode.d_sense)
        tgt_ua_all(lu, c->s.nexus, TGT_UA_MODE_CHANGED);
    c->s.sync = lu->mode.wce && !m.wce; /* what was cached must not be lost by switching off */
    lu->mode = m;
}
