/* SPDX-License-Identifier: MIT */
#include "tests/test.h"

#include <stdlib.h>
#include <string.h>

#include "wire/sense.h"

/* A copy of exactly len bytes; the caller frees. */
static uint8_t *
exact(const uint8_t *buf, size_t len)
{
    uint8_t *p = malloc(len > 0 ? len : 1);

    memcpy(p, buf, len);
    return p;
}

static bool
parse(const uint8_t *buf, size_t len, struct scsi_sense *s)
{
    uint8_t *copy = exact(buf, len);
    bool ok;

    memset(s, 0xa5, sizeof(*s));
    ok = sense_parse(copy, len, s);
    assert_int_equal(ok, s->valid);
    free(copy);
    return ok;
}

/* 5/24/00 about CDB byte 2 bit 7, with information and command-specific information */
static const uint8_t fixed[18] = {0xf0, 0, 0x25, 1,    2, 3,    4,    10, 5,
                                  6,    7, 8,    0x24, 0, 0x42, 0xcf, 0,  2};

static const uint8_t desc[] = {0x72,
                               0x05,
                               0x24,
                               0x01,
                               0,
                               0,
                               0,
                               44,
                               /* information */ 0,
                               10,
                               0x80,
                               0,
                               1,
                               2,
                               3,
                               4,
                               5,
                               6,
                               7,
                               8,
                               /* command specific */ 1,
                               10,
                               0,
                               0,
                               9,
                               10,
                               11,
                               12,
                               13,
                               14,
                               15,
                               16,
                               /* sense-key specific */ 2,
                               6,
                               0,
                               0,
                               0x88,
                               0x12,
                               0x34,
                               0,
                               /* FRU */ 3,
                               2,
                               0,
                               0x42,
                               /* block: ILI */ 5,
                               2,
                               0,
                               0x20,
                               /* unknown */ 0x80,
                               2,
                               1,
                               2};

static void
test_fixed(void **state)
{
    struct scsi_sense s;
    uint8_t b[18];

    (void)state;
    assert_true(parse(fixed, sizeof(fixed), &s));
    assert_false(s.deferred || s.descriptor || s.filemark || s.eom);
    assert_true(s.ili && s.has_info && s.has_cmd_info && s.has_field && s.field_in_cdb &&
                s.has_bit);
    assert_int_equal(s.key, SENSE_ILLEGAL_REQUEST);
    assert_int_equal(sense_code(&s), SENSE_ASC(0x24, 0x00));
    assert_int_equal(s.info, 0x01020304);
    assert_int_equal(s.cmd_info, 0x05060708);
    assert_int_equal(s.fru, 0x42);
    assert_int_equal(s.field, 2);
    assert_int_equal(s.field_bit, 7);
    assert_false(s.has_progress);
    memcpy(b, fixed, sizeof(b));
    b[0] = 0x71;
    b[2] = 0xc2; /* filemark, EOM, NOT READY */
    assert_true(parse(b, sizeof(b), &s));
    assert_true(s.deferred && s.filemark && s.eom && s.has_progress);
    assert_false(s.has_info || s.has_field || s.ili);
    assert_int_equal(s.info, 0);
    assert_int_equal(s.progress, 2);
    b[7] = 9; /* additional length ends within the sense-key specific bytes */
    assert_true(parse(b, sizeof(b), &s));
    assert_false(s.has_progress);
    assert_int_equal(s.fru, 0x42);
    b[7] = 5; /* before ASCQ */
    assert_true(parse(b, sizeof(b), &s));
    assert_int_equal(sense_code(&s), 0);
    b[7] = 6;
    assert_true(parse(b, sizeof(b), &s));
    assert_int_equal(sense_code(&s), 0x2400);
    assert_int_equal(s.fru, 0);
}

static void
test_descriptor(void **state)
{
    uint8_t b[sizeof(desc) + 12];
    struct scsi_sense s;

    (void)state;
    assert_true(parse(desc, sizeof(desc), &s));
    assert_true(s.descriptor && s.has_info && s.has_cmd_info && s.has_field && s.has_bit && s.ili);
    assert_false(s.deferred || s.field_in_cdb || s.has_progress);
    assert_int_equal(s.key, 5);
    assert_int_equal(sense_code(&s), 0x2401);
    assert_true(s.info == 0x0102030405060708 && s.cmd_info == 0x090a0b0c0d0e0f10);
    assert_int_equal(s.field, 0x1234);
    assert_int_equal(s.field_bit, 0);
    assert_int_equal(s.fru, 0x42);
    memcpy(b, desc, sizeof(desc));
    memcpy(b + sizeof(desc), "\0\x0a\x80\0\xff\xff\xff\xff\xff\xff\xff\xff", 12);
    b[7] = sizeof(b) - 8;
    assert_true(parse(b, sizeof(b), &s));
    assert_true(s.info == 0x0102030405060708); /* the first counts */
    b[10] = 0;                                 /* VALID not set */
    assert_true(parse(b, sizeof(b), &s));
    assert_false(s.has_info);
    b[10] = 0x80;
    b[7] = 11; /* the additional length ends before the end of the first descriptor */
    assert_true(parse(b, sizeof(b), &s));
    assert_false(s.has_info || s.has_cmd_info || s.has_field);
    b[7] = 12;
    assert_true(parse(b, sizeof(b), &s));
    assert_true(s.has_info && !s.has_cmd_info);
    b[7] = sizeof(b) - 8;
    b[0] = 0x73;
    b[9] = 200; /* runs past the end: it and what follows is not there */
    assert_true(parse(b, sizeof(b), &s));
    assert_true(s.deferred);
    assert_false(s.has_info || s.has_cmd_info || s.has_field);
    assert_int_equal(sense_code(&s), 0x2401);
}

/* Every prefix; what is cut off is not made up */
static void
test_prefixes(void **state)
{
    struct scsi_sense whole, s;

    (void)state;
    assert_true(parse(fixed, sizeof(fixed), &whole));
    for (size_t n = 0; n < sizeof(fixed); n++) {
        assert_int_equal(parse(fixed, n, &s), n >= 3);
        assert_int_equal(s.has_info, n >= 7);
        assert_int_equal(s.has_cmd_info, n >= 12);
        assert_int_equal(sense_code(&s), n >= 14 ? 0x2400 : 0);
        assert_int_equal(s.key, n >= 3 ? 5 : 0);
        assert_false(s.has_field);
    }
    for (size_t n = 0; n < sizeof(desc); n++) {
        assert_int_equal(parse(desc, n, &s), n >= 2);
        assert_int_equal(s.key, n >= 2 ? 5 : 0);
        assert_int_equal(s.asc, n >= 3 ? 0x24 : 0);
        assert_int_equal(s.ascq, n >= 4 ? 1 : 0);
        assert_int_equal(s.has_info, n >= 20);
        assert_int_equal(s.has_cmd_info, n >= 32);
        assert_int_equal(s.has_field, n >= 40);
        assert_int_equal(s.fru, n >= 44 ? 0x42 : 0);
        assert_int_equal(s.ili, n >= 48);
    }
    for (int code = 0; code < 256; code++) {
        uint8_t b[18];

        memcpy(b, fixed, sizeof(b));
        b[0] = (uint8_t)code;
        assert_int_equal(parse(b, sizeof(b), &s), (code & 0x7f) >= 0x70 && (code & 0x7f) <= 0x73);
    }
}

static void
test_mutations(void **state)
{
    (void)state;
    srand(6);
    for (int n = 0; n < 200000; n++) {
        uint8_t b[SENSE_MAX];
        char text[SENSE_TEXT_MAX];
        struct scsi_sense s;
        size_t len = (size_t)rand() % (sizeof(b) + 1);

        for (size_t i = 0; i < sizeof(b); i++)
            b[i] = (uint8_t)(rand() % 3 == 0 ? rand() : rand() % 16);
        if (rand() % 2 == 0)
            memcpy(b, desc, sizeof(desc));
        for (int k = rand() % 4; k > 0; k--)
            b[(size_t)rand() % sizeof(desc)] = (uint8_t)rand();
        b[0] = (uint8_t)(0x70 + rand() % 4);
        (void)parse(b, len, &s);
        sense_format(&s, text, sizeof(text));
        assert_true(strlen(text) < sizeof(text));
    }
}

static void
test_build(void **state)
{
    static const uint8_t simple[18] = {0x70, 0, 6, 0, 0, 0, 0, 10, 0, 0, 0, 0, 0x29, 7};
    uint8_t buf[SENSE_MAX];
    struct scsi_sense s, back;

    (void)state;
    memset(buf, 0xa5, sizeof(buf));
    assert_int_equal(sense_build(buf, SENSE_UNIT_ATTENTION, 0x29, 7), 18);
    assert_memory_equal(buf, simple, 18);
    assert_true(parse(fixed, sizeof(fixed), &s));
    assert_int_equal(sense_build_fixed(buf, &s), 18);
    assert_memory_equal(buf, fixed, 18);
    assert_true(parse(desc, sizeof(desc), &s));
    assert_int_equal(sense_build_descriptor(buf, &s), sizeof(desc) - 4); /* but the unknown one */
    assert_memory_equal(buf, desc, 7);
    assert_int_equal(buf[7], sizeof(desc) - 8 - 4);
    assert_memory_equal(buf + 8, desc + 8, sizeof(desc) - 8 - 4);
    /* end of medium and block descriptors, each flag alone */
    for (int f = 0; f < 8; f++) {
        s = (struct scsi_sense){.filemark = (f & 1) != 0, .eom = (f & 2) != 0, .ili = (f & 4) != 0};
        assert_int_equal(sense_build_descriptor(buf, &s), f == 0 ? 8 : 12);
        if (f != 0) {
            assert_int_equal(buf[8], (f & 3) != 0 ? 4 : 5);
            assert_int_equal(buf[11],
                             (s.filemark ? 0x80 : 0) | (s.eom ? 0x40 : 0) | (s.ili ? 0x20 : 0));
        }
    }
    /* there and back, all fields, both formats */
    srand(7);
    for (int n = 0; n < 20000; n++) {
        memset(&s, 0, sizeof(s));
        s.valid = true;
        s.deferred = rand() % 2;
        s.key = (uint8_t)(rand() % 16);
        s.asc = (uint8_t)rand();
        s.ascq = (uint8_t)rand();
        s.ili = rand() % 2;
        s.eom = rand() % 2;
        s.filemark = rand() % 2;
        s.fru = (uint8_t)rand();
        s.has_info = rand() % 2;
        s.info = s.has_info ? (uint32_t)rand() : 0;
        s.has_cmd_info = true;
        s.cmd_info = (uint32_t)rand();
        if (s.key == SENSE_ILLEGAL_REQUEST) {
            s.has_field = rand() % 2;
            s.field = (uint16_t)(s.has_field ? rand() : 0);
            s.field_in_cdb = s.has_field && rand() % 2;
            s.has_bit = s.has_field && rand() % 2;
            s.field_bit = (uint8_t)(s.has_bit ? rand() % 8 : 0);
        } else if (s.key == SENSE_NOT_READY || s.key == SENSE_NO_SENSE) {
            s.has_progress = rand() % 2;
            s.progress = (uint16_t)(s.has_progress ? rand() : 0);
        }
        assert_true(parse(buf, (size_t)sense_build_fixed(buf, &s), &back));
        back.descriptor = s.descriptor;
        s.descriptor = false;
        assert_int_equal(back.key, s.key);
        assert_int_equal(sense_code(&back), sense_code(&s));
        assert_true(back.info == s.info && back.cmd_info == s.cmd_info && back.fru == s.fru);
        assert_true(back.has_info == s.has_info && back.has_field == s.has_field &&
                    back.field == s.field && back.field_bit == s.field_bit &&
                    back.has_bit == s.has_bit && back.field_in_cdb == s.field_in_cdb);
        assert_true(back.progress == s.progress && back.has_progress == s.has_progress);
        assert_true(back.ili == s.ili && back.eom == s.eom && back.filemark == s.filemark);
        assert_int_equal(back.deferred, s.deferred);
        s.info |= s.has_info ? 0xabull << 40 : 0;
        assert_true(parse(buf, (size_t)sense_build_descriptor(buf, &s), &back));
        assert_true(back.descriptor && back.info == s.info && back.cmd_info == s.cmd_info);
        assert_true(back.ili == s.ili && back.eom == s.eom && back.filemark == s.filemark);
        assert_true(back.fru == s.fru && back.field == s.field && back.progress == s.progress &&
                    back.has_field == s.has_field && back.has_progress == s.has_progress &&
                    back.has_bit == s.has_bit && back.key == s.key &&
                    sense_code(&back) == sense_code(&s) && back.deferred == s.deferred);
        /* fixed format has no room for more than 32 bits */
        assert_true(parse(buf, (size_t)sense_build_fixed(buf, &s), &back));
        assert_int_equal(back.has_info, false);
    }
}

static void
test_text(void **state)
{
    char text[SENSE_TEXT_MAX];
    struct scsi_sense s;
    int known = 0;

    (void)state;
    parse(fixed, sizeof(fixed), &s);
    s.has_info = false;
    s.ili = false;
    assert_string_equal(sense_format(&s, text, sizeof(text)),
                        "ILLEGAL REQUEST: invalid field in CDB (05/24/00), CDB byte 2 bit 7");
    s = (struct scsi_sense){
        .valid = true, .deferred = true, .key = 3, .asc = 0x11, .info = 99, .has_info = true};
    assert_string_equal(sense_format(&s, text, sizeof(text)),
                        "deferred MEDIUM ERROR: unrecovered read error (03/11/00), information 99");
    s = (struct scsi_sense){
        .valid = true, .key = 2, .asc = 4, .ascq = 4, .has_progress = true, .progress = 32768};
    assert_string_equal(sense_format(&s, text, sizeof(text)),
                        "NOT READY: format in progress (02/04/04), 50% done");
    s = (struct scsi_sense){.valid = true, .key = 6, .asc = 0xee, .ascq = 0xff};
    assert_string_equal(sense_format(&s, text, sizeof(text)), "UNIT ATTENTION (06/ee/ff)");
    s.valid = false;
    assert_string_equal(sense_format(&s, text, sizeof(text)), "no sense data");
    s.valid = true;
    for (size_t size = 1; size < 30; size++) {
        char *small = malloc(size);

        assert_int_equal(strlen(sense_format(&s, small, size)),
                         size - 1 < 25 ? size - 1 : strlen("UNIT ATTENTION (06/ee/ff)"));
        free(small);
    }
    for (int code = 0; code < 65536; code++)
        known += sense_code_text((uint8_t)(code >> 8), (uint8_t)code) != NULL;
    assert_true(known > 300); /* all rows are found, so the table is sorted */
    assert_string_equal(sense_code_text(0x3f, 0x0e), "reported LUNs data has changed");
    assert_string_equal(sense_code_text(0, 0), "no additional sense information");
    assert_string_equal(sense_code_text(0x74, 0x79), "security conflict in translated device");
    assert_null(sense_code_text(0xff, 0xff));
    assert_string_equal(sense_key_name(0x0b), "ABORTED COMMAND");
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),    cmocka_unit_test(test_descriptor),
        cmocka_unit_test(test_prefixes), cmocka_unit_test(test_mutations),
        cmocka_unit_test(test_build),    cmocka_unit_test(test_text),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
