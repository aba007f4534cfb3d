/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "wire/inquiry.h"

/* A copy of exactly len bytes; the caller frees. */
static uint8_t *
exact(const uint8_t *buf, size_t len)
{
    uint8_t *p = malloc(len > 0 ? len : 1);

    memcpy(p, buf, len);
    return p;
}

static void
disk(uint8_t *b)
{
    memset(b, 0, 96);
    memcpy(b, "\x00\x80\x06\x32\x5b\xb9\x50\x02", 8);
    memcpy(b + 8, "LUNETTE VIRTUAL-DISK    0001", 28);
    b[58] = 0x09;
    b[59] = 0x60;
    b[73] = 0x77;
}

static void
test_inquiry(void **state)
{
    static const struct {
        uint8_t version, format, level;
    } levels[] = {{0, 0, 0}, {1, 0, 1}, {1, 1, 2}, {1, 2, 1}, {2, 2, 3},       {3, 2, 4},
                  {4, 2, 5}, {5, 2, 6}, {6, 2, 7}, {7, 2, 8}, {0x80 | 5, 2, 6}};
    struct scsi_inquiry q;
    uint8_t b[96], again[96];

    (void)state;
    disk(b);
    assert_int_equal(inquiry_parse(b, sizeof(b), &q), 0);
    assert_true(q.removable && q.naca && q.hisup && q.sccs && q.third_party_copy && q.protect);
    assert_true(q.encserv && q.multip && q.cmdque);
    assert_int_equal(q.tpgs, 3);
    assert_int_equal(q.length, 96);
    assert_int_equal(q.response_format, 2);
    assert_string_equal(q.vendor, "LUNETTE");
    assert_string_equal(q.product, "VIRTUAL-DISK");
    assert_string_equal(q.revision, "0001");
    assert_int_equal(q.versions[0], 0x0960);
    assert_int_equal(q.versions[7], 0x0077);
    assert_int_equal(inquiry_build(again, 95, &q), -ENOBUFS);
    assert_int_equal(inquiry_build(again, 96, &q), 96);
    assert_memory_equal(again, b, 96);
    for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
        b[2] = levels[i].version;
        b[3] = levels[i].format;
        assert_int_equal(inquiry_parse(b, sizeof(b), &q), 0);
        assert_int_equal(q.scsi_level, levels[i].level);
        assert_false(q.naca || q.hisup);
    }
    b[0] = 0x7f;
    assert_int_equal(inquiry_parse(b, 1, &q), 0);
    assert_int_equal(q.qualifier, 3);
    assert_int_equal(q.type, SCSI_TYPE_NONE);
    assert_string_equal(q.vendor, "");
    assert_int_equal(inquiry_parse(b, 0, &q), -EINVAL);
}

/* Nothing that a terminal would act on */
static void
test_inquiry_hostile(void **state)
{
    struct scsi_inquiry q;
    uint8_t b[96];

    (void)state;
    disk(b);
    memcpy(b + 8, "\x1b[31mX\x7f\xff", 8);
    memcpy(b + 16, "AB\0CD           ", 16);
    memcpy(b + 32, "\r\n 1", 4);
    assert_int_equal(inquiry_parse(b, sizeof(b), &q), 0);
    assert_string_equal(q.vendor, " [31mX");
    assert_string_equal(q.product, "AB");
    assert_string_equal(q.revision, "   1");
    /* what lies behind the claimed length is not looked at */
    disk(b);
    b[4] = 31;
    assert_int_equal(inquiry_parse(b, sizeof(b), &q), 0);
    assert_string_equal(q.product, "VIRTUAL-DISK");
    assert_int_equal(q.versions[0], 0);
    assert_int_equal(q.length, 36);
    for (size_t n = 1; n <= sizeof(b); n++) {
        uint8_t *cut = exact(b, n);

        assert_int_equal(inquiry_parse(cut, n, &q), 0);
        if (n >= 28)
            assert_string_equal(q.product, "VIRTUAL-DISK");
        free(cut);
    }
}

static const uint8_t supported[] = {0, 0x00, 0, 5, 0x00, 0x80, 0x83, 0xb0, 0xb2};
static const uint8_t serial[] = {0, 0x80, 0, 8, ' ', ' ', 'A', 'B', 1, 'C', ' ', ' '};

static void
test_simple_pages(void **state)
{
    struct vpd_supported s;
    uint8_t b[64];
    char text[16];

    (void)state;
    assert_int_equal(vpd_supported_parse(supported, sizeof(supported), &s), 0);
    assert_int_equal(s.n, 5);
    assert_true(vpd_supported_has(&s, 0xb2) && vpd_supported_has(&s, 0));
    assert_false(vpd_supported_has(&s, 0xb1));
    assert_int_equal(vpd_supported_build(b, 8, 0, supported + 4, 5), -ENOBUFS);
    assert_int_equal(vpd_supported_build(b, 9, 0, supported + 4, 5), 9);
    assert_memory_equal(b, supported, 9);
    assert_int_equal(vpd_serial_parse(serial, sizeof(serial), text, sizeof(text)), 0);
    assert_string_equal(text, "AB C");
    assert_int_equal(vpd_serial_parse(serial, sizeof(serial), text, 3), 0);
    assert_string_equal(text, "AB");
    assert_int_equal(vpd_serial_build(b, sizeof(b), 5, "XY"), 6);
    assert_memory_equal(b, "\5\x80\0\2XY", 6);

    assert_int_equal(vpd_length(serial, sizeof(serial), VPD_SERIAL), 12);
    assert_int_equal(vpd_length(serial, 4, VPD_SERIAL), 12);
    assert_int_equal(vpd_length(serial, 3, VPD_SERIAL), -EINVAL);
    assert_int_equal(vpd_length(serial, 12, VPD_DEVICE_ID), -EINVAL);
    assert_int_equal(vpd_length((const uint8_t *)"\0\x80\0\0", 4, VPD_SERIAL), -EINVAL);
    assert_int_equal(vpd_supported_parse(serial, sizeof(serial), &s), -EINVAL);
    for (size_t n = 4; n < sizeof(supported); n++) {
        uint8_t *cut = exact(supported, n);

        assert_int_equal(vpd_supported_parse(cut, n, &s), 0);
        assert_int_equal(s.n, n - 4);
        free(cut);
    }
}

/* Page 83h with the given designators, each {code set, type byte, length, data}; returns length. */
static size_t
page83(uint8_t *b, const char *designators, size_t len)
{
    b[0] = 0;
    b[1] = 0x83;
    b[2] = (uint8_t)(len >> 8);
    b[3] = (uint8_t)len;
    memcpy(b + 4, designators, len);
    return len + 4;
}

#define T10     "\2\1\0\x0aVENDOR  ab"
#define NAA3    "\1\3\0\x08\x30\0\0\0\0\0\0\1"
#define NAA2    "\1\3\0\x08\x20\0\0\0\0\0\0\2"
#define EUI8    "\1\2\0\x08\1\2\3\4\5\6\7\x08"
#define NAA5    "\1\3\0\x08\x50\0\0\0\0\0\0\5"
#define NAA5B   "\1\3\0\x08\x50\0\0\0\0\0\0\6"
#define EUI12   "\1\2\0\x0c\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c"
#define EUI16   "\1\2\0\x10\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"
#define NAA6    "\1\3\0\x10\x60\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f"
#define NAME    "\3\x08\0\x0ciqn.2001.x\0\0"
#define PNAME   "\x53\x98\0\x0ciqn.2001.p\0\0" /* association 1, with protocol */
#define PORT    "\1\x14\0\4\0\0\0\2"
#define GROUP   "\1\x15\0\4\0\0\1\3"
#define NOTHING "\1\3\0\0"

static void
test_lu_name(void **state)
{
    static const struct {
        const char *page;
        size_t len;
        const char *name; /* NULL: none */
    } rows[] = {
#define ROW(p, n) {p, sizeof(p) - 1, n}
        ROW(T10, "t10.VENDOR  ab"),
        ROW(NAA3, "naa.3000000000000001"),
        ROW(T10 NAA3, "t10.VENDOR  ab"),
        ROW(T10 EUI8, "eui.0102030405060708"),
        ROW(NAA5 NAA5B, "naa.5000000000000005"), /* the first of equals */
        ROW(EUI8 NAA2, "naa.2000000000000002"),
        ROW(NAA2 NAA5, "naa.5000000000000005"),
        ROW(NAA5 EUI12, "eui.0102030405060708090a0b0c"),
        ROW(EUI16 EUI12, "eui.0102030405060708090a0b0c0d0e0f10"),
        ROW(EUI16 NAA6 NAA5, "naa.600102030405060708090a0b0c0d0e0f"),
        ROW(PNAME PORT GROUP NAA6 NAME T10, "iqn.2001.x"),
        ROW(PNAME PORT GROUP, NULL),
        ROW(NOTHING, NULL),
        ROW(NOTHING NAA5, "naa.5000000000000005"),
        ROW(NAA5 "\1\3\0\x10\x60\1\2", "naa.5000000000000005"), /* runs past the page */
        ROW("\1\3\0\x08\x60\1\2\3\4\5\6\7", NULL),              /* NAA 6 that is too short */
        ROW("\1\3\0\x10\x50\1\2\3\4\5\6\7\x08\x09\x0a\x0b\x0c\x0d\x0e\x0f", NULL),
        ROW("\2\1\0\2ab", NULL),
#undef ROW
    };
    uint8_t b[512];
    char name[VPD_LU_NAME_MAX];
    struct scsi_inquiry q;

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        size_t len = page83(b, rows[i].page, rows[i].len);
        int r = vpd_lu_name(b, len, name, sizeof(name));

        if (rows[i].name == NULL) {
            assert_int_equal(r, -ENOENT);
            continue;
        }
        assert_string_equal(name, rows[i].name);
        assert_int_equal(r, strlen(name));
        assert_int_equal(vpd_lu_name(b, len, name, (size_t)r), -ENOENT);
    }
    assert_int_equal(vpd_lu_name(b, 3, name, sizeof(name)), -ENOENT);
    disk(b);
    inquiry_parse(b, 96, &q);
    assert_true(vpd_fallback_name(&q, "S 1", name, sizeof(name)) > 0);
    assert_string_equal(name, "vps.LUNETTE_VIRTUAL-DISK_S_1");
    assert_int_equal(vpd_fallback_name(&q, "S 1", name, 10), -ENOBUFS);
}

static void
test_designators(void **state)
{
    static const char page[] = PNAME PORT GROUP NAA6;
    int32_t port, group;
    struct vpd_id_iter it;
    struct vpd_id ids[5];
    uint8_t b[256], again[256];
    size_t len = page83(b, page, sizeof(page) - 1);
    int n = 0;

    (void)state;
    assert_int_equal(vpd_id_iter_init(&it, b, len), 0);
    while (vpd_id_next(&it, &ids[n]))
        n++;
    assert_int_equal(n, 4);
    assert_true(ids[0].piv && ids[0].protocol == 5 && ids[0].code_set == 3);
    assert_int_equal(ids[0].assoc, VPD_ASSOC_PORT);
    assert_int_equal(ids[0].type, VPD_ID_SCSI_NAME);
    assert_int_equal(ids[0].len, 12);
    vpd_port_ids(b, len, &port, &group);
    assert_int_equal(port, 2);
    assert_int_equal(group, 0x103);
    vpd_port_ids(b, len - 20 - 8, &port, &group); /* each is told by itself */
    assert_int_equal(port, 2);
    assert_int_equal(group, -1);
    vpd_port_ids(b, 3, &port, &group);
    assert_int_equal(port, -1);
    ids[0].len = 10; /* without its NULs, which the builder adds */
    assert_int_equal(vpd_device_id_build(again, sizeof(again), 0, ids, 4), len);
    assert_memory_equal(again, b, len);
    assert_int_equal(vpd_device_id_build(again, len - 1, 0, ids, 4), -ENOBUFS);
    for (uint8_t l = 8; l <= 12; l++) { /* always at least one NUL */
        ids[0].len = l;
        assert_int_equal(vpd_device_id_build(again, sizeof(again), 0, ids, 1),
                         8 + (l < 12 ? 12 : 16));
        assert_int_equal(again[8 + l], 0);
    }
}

static void
test_extended(void **state)
{
    static const uint8_t page[64] = {0,    0x86, 0, 60,   0x7d, 0x3f, 0x0f,
                                     0x11, 0,    0, 0x12, 0x34, 0,    252};
    struct vpd_extended e;
    uint8_t b[64];

    (void)state;
    assert_int_equal(vpd_extended_parse(page, sizeof(page), &e), 0);
    assert_int_equal(e.activate_microcode, 1);
    assert_int_equal(e.spt, 7);
    assert_true(e.grd_chk && !e.app_chk && e.ref_chk && e.uask_sup && e.simpsup && e.wu_sup &&
                e.v_sup && e.p_i_i_sup && e.luiclr);
    assert_int_equal(e.self_test_minutes, 0x1234);
    assert_int_equal(e.max_sense, 252);
    assert_int_equal(vpd_extended_build(b, 64, 0, &e), 64);
    assert_memory_equal(b, page, 64);
    assert_int_equal(vpd_extended_parse(page, 7, &e), 0);
    assert_true(e.v_sup && !e.luiclr);
}

static const uint8_t limits[64] = {0,    0xb0, 0, 60, 1, 2, 0, 3,  0, 0, 0, 4,  0, 0, 0, 5,
                                   0,    0,    0, 6,  0, 0, 0, 7,  0, 0, 0, 8,  0, 0, 0, 9,
                                   0x80, 0,    0, 10, 0, 0, 0, 0,  0, 0, 0, 11, 0, 0, 0, 12,
                                   0,    0,    0, 13, 0, 0, 0, 14, 0, 0, 0, 15, 0, 0, 0, 16};

static void
test_block_limits(void **state)
{
    struct vpd_block_limits l;
    uint8_t b[64];

    (void)state;
    assert_int_equal(vpd_block_limits_parse(limits, sizeof(limits), &l), 0);
    assert_true(l.wsnz && l.has_unmap && l.ugavalid);
    assert_int_equal(l.max_caw, 2);
    assert_int_equal(l.opt_granularity, 3);
    assert_int_equal(l.max_transfer, 4);
    assert_int_equal(l.opt_transfer, 5);
    assert_int_equal(l.max_prefetch, 6);
    assert_int_equal(l.max_unmap_lba, 7);
    assert_int_equal(l.max_unmap_desc, 8);
    assert_int_equal(l.opt_unmap_granularity, 9);
    assert_int_equal(l.unmap_alignment, 10);
    assert_int_equal(l.max_write_same, 11);
    assert_int_equal(l.max_atomic, 12);
    assert_int_equal(l.max_atomic_boundary_size, 16);
    assert_int_equal(vpd_block_limits_build(b, 64, 0, &l), 64);
    assert_memory_equal(b, limits, 64);
    assert_int_equal(vpd_block_limits_build(b, 63, 0, &l), -ENOBUFS);
    for (size_t n = 4; n < sizeof(limits); n++) {
        uint8_t *cut = exact(limits, n);

        assert_int_equal(vpd_block_limits_parse(cut, n, &l), 0);
        assert_int_equal(l.max_transfer, n >= 12 ? 4 : 0);
        assert_int_equal(l.opt_transfer, n >= 16 ? 5 : 0);
        assert_int_equal(l.has_unmap, n >= 28);
        assert_int_equal(l.max_unmap_lba, n >= 28 ? 7 : 0);
        assert_int_equal(l.max_unmap_desc, n >= 28 ? 8 : 0);
        assert_int_equal(l.max_write_same, n >= 44 ? 11 : 0);
        free(cut);
    }
    memcpy(b, limits, 64); /* the page says that it is shorter than what came */
    b[3] = 12;
    assert_int_equal(vpd_block_limits_parse(b, 64, &l), 0);
    assert_int_equal(l.opt_transfer, 5);
    assert_int_equal(l.max_prefetch, 0);
    assert_false(l.has_unmap);
}

/* Nothing told: nothing but the head of each page is set, and reserved bits never. */
static void
test_build_nothing(void **state)
{
    static const uint8_t zero[96];
    struct vpd_block_limits l = {0};
    struct vpd_provisioning p = {0};
    struct vpd_block_char c = {0};
    struct vpd_extended e = {0};
    struct scsi_inquiry q = {0};
    uint8_t b[96];

    (void)state;
    assert_int_equal(inquiry_build(b, sizeof(b), &q), 96);
    assert_memory_equal(b, "\0\0\0\0\x5b\0\0\0                            ", 36);
    assert_memory_equal(b + 36, zero, 60);
    assert_int_equal(vpd_block_limits_build(b, sizeof(b), 0, &l), 64);
    assert_memory_equal(b + 4, zero, 60);
    assert_int_equal(vpd_extended_build(b, sizeof(b), 0, &e), 64);
    assert_memory_equal(b + 4, zero, 60);
    assert_int_equal(vpd_block_char_build(b, sizeof(b), 0, &c), 64);
    assert_memory_equal(b + 4, zero, 60);
    assert_int_equal(vpd_provisioning_build(b, sizeof(b), 0, &p), 8);
    assert_memory_equal(b + 4, zero, 4);
}

static void
test_block_pages(void **state)
{
    static const uint8_t chars[64] = {0, 0xb1, 0, 60, 0x1c, 0x20, 0, 3, 0x13};
    static const uint8_t prov[8] = {0, 0xb2, 0, 4, 9, 0xe7, 2, 80};
    struct vpd_provisioning p;
    struct vpd_block_char c;
    uint8_t b[64];

    (void)state;
    assert_int_equal(vpd_block_char_parse(chars, 64, &c), 0);
    assert_int_equal(c.rotation, 7200);
    assert_int_equal(c.form_factor, 3);
    assert_int_equal(c.zoned, 1);
    assert_true(c.fuab && c.vbuls);
    assert_int_equal(vpd_block_char_build(b, 64, 0, &c), 64);
    assert_memory_equal(b, chars, 64);
    assert_int_equal(vpd_provisioning_parse(prov, 8, &p), 0);
    assert_true(p.lbpu && p.lbpws && p.lbpws10 && p.anc_sup && p.dp);
    assert_int_equal(p.lbprz, 1);
    assert_int_equal(p.type, 2);
    assert_int_equal(p.threshold_exponent, 9);
    assert_int_equal(p.percent, 80);
    assert_int_equal(vpd_provisioning_build(b, 8, 0, &p), 8);
    assert_memory_equal(b, prov, 8);
    /* each bit of byte 5 is a field of its own */
    for (int bit = 0; bit < 8; bit++) {
        uint8_t one[8] = {0, 0xb2, 0, 4, 0, (uint8_t)(1 << bit)};

        assert_int_equal(vpd_provisioning_parse(one, 8, &p), 0);
        assert_true(p.lbpu == (bit == 7) && p.lbpws == (bit == 6) && p.lbpws10 == (bit == 5) &&
                    p.anc_sup == (bit == 1) && p.dp == (bit == 0));
        assert_int_equal(p.lbprz, bit >= 2 && bit <= 4 ? 1 << (bit - 2) : 0);
        assert_int_equal(vpd_provisioning_build(b, 8, 0, &p), 8);
        assert_memory_equal(b, one, 8);
    }
    assert_int_equal(vpd_block_char_parse((const uint8_t *)"\0\xb1\0\5\0\1\0\x0c\x21", 9, &c), 0);
    assert_true(c.rotation == 1 && c.form_factor == 12 && c.zoned == 2 && !c.fuab && c.vbuls);
    assert_int_equal(vpd_provisioning_parse(prov, 5, &p), 0);
    assert_false(p.lbpu);
}

/* Prefixes and mutations of all pages through all parsers */
static void
test_mutations(void **state)
{
    static const char ids[] = T10 NAA3 EUI8 NAA5 EUI12 EUI16 NAA6 NAME PNAME PORT GROUP;

    (void)state;
    srand(8);
    for (int n = 0; n < 100000; n++) {
        uint8_t b[256], *page;
        char text[VPD_LU_NAME_MAX];
        struct vpd_block_limits l;
        struct vpd_provisioning p;
        struct vpd_block_char c;
        struct vpd_supported s;
        struct vpd_extended e;
        struct scsi_inquiry q;
        struct vpd_id_iter it;
        int32_t port, group;
        struct vpd_id d;
        size_t len = page83(b, ids, sizeof(ids) - 1);

        for (int k = rand() % 5; k > 0; k--)
            b[(size_t)rand() % len] = (uint8_t)rand();
        b[1] = "\x00\x80\x83\x86\xb0\xb1\xb2\x83"[rand() % 8];
        len = (size_t)rand() % (len + 1);
        page = exact(b, len);
        (void)vpd_supported_parse(page, len, &s);
        (void)vpd_serial_parse(page, len, text, sizeof(text));
        (void)vpd_lu_name(page, len, text, sizeof(text));
        vpd_port_ids(page, len, &port, &group);
        (void)vpd_extended_parse(page, len, &e);
        (void)vpd_block_limits_parse(page, len, &l);
        (void)vpd_block_char_parse(page, len, &c);
        (void)vpd_provisioning_parse(page, len, &p);
        (void)inquiry_parse(page, len, &q);
        if (vpd_id_iter_init(&it, page, len) == 0)
            while (vpd_id_next(&it, &d))
                assert_true(d.data >= page + 8 && d.data + d.len <= page + len);
        free(page);
    }
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_inquiry),       cmocka_unit_test(test_inquiry_hostile),
        cmocka_unit_test(test_simple_pages),  cmocka_unit_test(test_lu_name),
        cmocka_unit_test(test_designators),   cmocka_unit_test(test_extended),
        cmocka_unit_test(test_block_limits),  cmocka_unit_test(test_block_pages),
        cmocka_unit_test(test_build_nothing), cmocka_unit_test(test_mutations),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
