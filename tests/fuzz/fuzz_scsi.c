/* SPDX-License-Identifier: MIT */
/* fuzz_scsi.c - what a logical unit says of itself: sense, INQUIRY, VPD, capacity, LUNs, modes,
 * reservations.
 *
 * The first byte chooses the parser, the rest is the answer.  Whatever comes,
 * no parser reads past it, and text that people will see is clean.
 */
#include <errno.h>

#include "fuzz.h"
#include "wire/capacity.h"
#include "wire/inquiry.h"
#include "wire/mode.h"
#include "wire/pr.h"
#include "wire/sense.h"

static void
one_sense(const uint8_t *p, size_t n)
{
    char text[SENSE_TEXT_MAX];
    uint8_t again[SENSE_MAX];
    struct scsi_sense s, t;

    CHECK(sense_parse(p, n, &s) == s.valid);
    fuzz_check_text(sense_format(&s, text, sizeof(text)), sizeof(text));
    CHECK(sense_key_name(s.key) != NULL);
    if (!s.valid)
        return;
    /* what was understood can be said again */
    n = (size_t)sense_build_descriptor(again, &s);
    CHECK(n >= 8 && n <= sizeof(again));
    CHECK(sense_parse(again, n, &t));
    CHECK(t.key == s.key && t.asc == s.asc && t.ascq == s.ascq && t.deferred == s.deferred);
    n = (size_t)sense_build_fixed(again, &s);
    CHECK(n == SENSE_FIXED_LEN && sense_parse(again, n, &t));
    CHECK(t.key == s.key && t.asc == s.asc && t.ascq == s.ascq);
}

static void
one_inquiry(const uint8_t *p, size_t n)
{
    struct scsi_inquiry q;
    char name[VPD_LU_NAME_MAX];

    if (inquiry_parse(p, n, &q) < 0) {
        CHECK(n == 0);
        return;
    }
    fuzz_check_text(q.vendor, sizeof(q.vendor));
    fuzz_check_text(q.product, sizeof(q.product));
    fuzz_check_text(q.revision, sizeof(q.revision));
    CHECK(q.qualifier < 8 && q.type < 32);
    if (vpd_fallback_name(&q, "", name, sizeof(name)) > 0)
        fuzz_check_text(name, sizeof(name));
}

static void
one_device_id(const uint8_t *p, size_t n)
{
    struct vpd_id_iter it;
    struct vpd_id id;
    char name[VPD_LU_NAME_MAX], small[9];
    int32_t port, group;
    unsigned sum = 0;
    int r;

    if (vpd_id_iter_init(&it, p, n) == 0) {
        while (vpd_id_next(&it, &id)) {
            CHECK(id.data >= p && id.data + id.len <= p + n);
            for (unsigned i = 0; i < id.len; i++)
                sum += id.data[i];
        }
    }
    r = vpd_lu_name(p, n, name, sizeof(name));
    if (r >= 0) {
        CHECK((size_t)r == strlen(name));
        fuzz_check_text(name, sizeof(name));
    }
    if (vpd_lu_name(p, n, small, sizeof(small)) >= 0)
        fuzz_check_text(small, sizeof(small));
    vpd_port_ids(p, n, &port, &group);
    CHECK(port >= -1 && port <= 65535 && group >= -1 && group <= 65535);
    CHECK(sum < UINT32_MAX);
}

static void
one_vpd(const uint8_t *p, size_t n)
{
    struct vpd_supported s;
    struct vpd_extended e;
    struct vpd_block_limits l;
    struct vpd_block_char c;
    struct vpd_provisioning v;
    char serial[256], small[4];

    for (unsigned page = 0; page < 256; page++)
        CHECK(vpd_length(p, n, (uint8_t)page) < 65540);
    if (vpd_supported_parse(p, n, &s) == 0)
        CHECK(s.n <= 256 && (s.n == 0 || vpd_supported_has(&s, s.pages[s.n - 1])));
    if (vpd_serial_parse(p, n, serial, sizeof(serial)) >= 0)
        fuzz_check_text(serial, sizeof(serial));
    if (vpd_serial_parse(p, n, small, sizeof(small)) >= 0)
        fuzz_check_text(small, sizeof(small));
    (void)vpd_extended_parse(p, n, &e);
    (void)vpd_block_limits_parse(p, n, &l);
    (void)vpd_block_char_parse(p, n, &c);
    (void)vpd_provisioning_parse(p, n, &v);
}

static void
one_capacity(const uint8_t *p, size_t n)
{
    struct scsi_capacity c;

    if (capacity10_parse(p, n, &c) == 0)
        CHECK(n >= CAPACITY10_LEN && c.blocks > 0);
    if (capacity16_parse(p, n, &c) == 0)
        CHECK(n >= 12 && c.blocks > 0);
}

static void
one_luns(const uint8_t *p, size_t n)
{
    char text[LUN_TEXT_MAX];
    uint64_t total = 0, number;
    int count = report_luns_count(p, n, &total);

    if (count < 0)
        return;
    CHECK(REPORT_LUNS_LEN((unsigned)count) <= n);
    for (unsigned i = 0; i < (unsigned)count; i++) {
        struct lun l = report_luns_get(p, i), m;

        fuzz_check_text(lun_format(l, text), sizeof(text));
        CHECK(lun_parse(text, strlen(text), &m) == 0 && lun_equal(l, m));
        CHECK(lun_equal(lun_from_view(lun_to_view(l)), l));
        if (lun_to_number(l, &number) == 0)
            CHECK(number <= LUN_NUMBER_MAX);
    }
}

static void
one_mode(const uint8_t *p, size_t n, enum mode_form form)
{
    struct mode_caching caching;
    struct mode_control control;
    struct mode_page page;
    struct mode_data d;
    const uint8_t *at;

    if (mode_parse(p, n, form, &d) < 0)
        return;
    CHECK(d.pages >= p && d.pages <= d.end && d.end <= p + n);
    CHECK(d.bd == NULL || (d.bd >= p && d.bd + d.bd_len <= p + n));
    for (at = d.pages; mode_page_next(&d, &at, &page);) {
        CHECK(page.data >= d.pages && page.data + page.len <= d.end);
        CHECK(page.len >= page.header_len);
        (void)mode_caching_parse(&page, &caching);
        (void)mode_control_parse(&page, &control);
    }
    (void)mode_page_find(&d, 0x08, 0, &page);
}

static void
one_alua(const uint8_t *p, size_t n)
{
    struct alua_iter it;
    struct alua_group g;
    uint32_t total;
    unsigned sum = 0;
    uint8_t secs;

    if (alua_find(p, n, n > 0 ? p[0] : -1, n > 1 ? p[1] : -1, &g, &secs))
        CHECK(g.ports == NULL || g.ports + 4u * g.ports_count <= p + n);
    if (alua_iter_init(&it, p, n, &total) < 0)
        return;
    while (alua_next(&it, &g)) {
        for (unsigned i = 0; i < g.ports_count; i++)
            sum += alua_port(&g, i);
        CHECK(alua_state_name(g.state) != NULL);
    }
    CHECK(sum < UINT32_MAX);
}

static void
one_reservation(const uint8_t *p, size_t n)
{
    struct pr_reservation held;
    struct pr_registrant r;
    struct pr_head h;
    uint64_t sum = 0;
    int keys = pr_keys_count(p, n, &h);

    for (int i = 0; i < keys; i++)
        sum ^= pr_keys_get(p, (unsigned)i);
    CHECK(keys < 0 || (size_t)keys <= n / 8);
    if (pr_reservation_parse(p, n, &held) == 0)
        (void)pr_type_known(held.type);
    for (size_t at = 8, before = 0; pr_status_next(p, n, &at, &r); before = at) {
        CHECK(at > before && at <= n);
        CHECK(r.holder || r.type == 0);
        CHECK(strlen(r.port) < PR_PORT_MAX);
        for (const char *c = r.port; *c != '\0'; c++)
            CHECK(*c >= 0x20 && *c < 0x7f);
        sum ^= r.key;
    }
    (void)sum;
}

void
fuzz_one(const uint8_t *data, size_t len)
{
    uint8_t *p;
    size_t n;

    if (len == 0)
        return;
    n = len - 1;
    p = fuzz_copy(data + 1, n);
    switch (data[0] % 10) {
    case 0:
        one_sense(p, n);
        break;
    case 1:
        one_inquiry(p, n);
        break;
    case 2:
        one_device_id(p, n);
        break;
    case 3:
        one_vpd(p, n);
        break;
    case 4:
        one_capacity(p, n);
        break;
    case 5:
        one_luns(p, n);
        break;
    case 6:
        one_mode(p, n, MODE_6);
        break;
    case 7:
        one_mode(p, n, MODE_10);
        break;
    case 8:
        one_alua(p, n);
        break;
    default:
        one_reservation(p, n);
        break;
    }
    free(p);
}
