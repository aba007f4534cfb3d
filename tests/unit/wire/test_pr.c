/* SPDX-License-Identifier: MIT */
/* Persistent reservations against bytes written by hand from SPC-4. */
#include "tests/test.h"

#include <errno.h>
#include <string.h>

#include "wire/pr.h"

#define NAME "iqn.2026-11.example:a,i,0x00023d000001"

static void
test_list(void **state)
{
    static const uint8_t want[PR_LIST_LEN] =
        "\x11\x22\x33\x44\x55\x66\x77\x88\xaa\xbb\xcc\xdd\xee\xff\x00\x01\0\0\0\0\x01\0\0";
    struct pr_list l = {0x1122334455667788, 0xaabbccddeeff0001, PR_APTPL}, back;
    uint8_t buf[PR_LIST_LEN];

    (void)state;
    memset(buf, 0xa5, sizeof(buf));
    pr_list_build(buf, &l);
    assert_memory_equal(buf, want, sizeof(buf));
    pr_list_parse(buf, &back);
    assert_true(back.key == l.key && back.service_key == l.service_key && back.flags == l.flags);
}

static void
test_types(void **state)
{
    (void)state;
    for (unsigned t = 0; t < 300; t++)
        assert_int_equal(pr_type_known(t), t == 1 || t == 3 || (t >= 5 && t <= 8));
}

static void
test_keys(void **state)
{
    static const uint8_t buf[] =
        "\0\0\0\x09\0\0\0\x18"
        "\0\0\0\0\0\0\0\x01\xff\xff\xff\xff\xff\xff\xff\xfe\0\0\0\0\0\0\0\x03";
    struct pr_head h;

    (void)state;
    assert_int_equal(pr_keys_count(buf, 32, &h), 3);
    assert_int_equal(h.generation, 9);
    assert_int_equal(h.total, 32);
    assert_true(pr_keys_get(buf, 0) == 1 && pr_keys_get(buf, 1) == UINT64_MAX - 1);
    assert_int_equal(pr_keys_get(buf, 2), 3);
    assert_int_equal(pr_keys_count(buf, 31, &h), 2); /* cut: as many as are whole */
    assert_int_equal(h.total, 32);
    assert_int_equal(pr_keys_count(buf, 8, &h), 0);
    assert_int_equal(pr_keys_count(buf, 7, &h), -EINVAL);
    assert_int_equal(pr_keys_count((const uint8_t *)"\0\0\0\0\xff\xff\xff\xff", 8, &h), 0);
    assert_true(h.total == 8 + 0xffffffffull);
}

static void
test_reservation(void **state)
{
    static const uint8_t none[] = "\0\0\0\x02\0\0\0\0";
    static const uint8_t wero[] = "\0\0\0\x02\0\0\0\x10"
                                  "\0\0\0\0\0\0\0\x07\0\0\0\0\0\x05\0\0";
    struct pr_reservation r;

    (void)state;
    assert_int_equal(pr_reservation_parse(none, 8, &r), 0);
    assert_int_equal(r.generation, 2);
    assert_int_equal(r.type, SCSI_PR_NONE);
    assert_int_equal(pr_reservation_parse(wero, 24, &r), 0);
    assert_int_equal(r.key, 7);
    assert_int_equal(r.type, SCSI_PR_WRITE_EXCLUSIVE_RO);
    assert_int_equal(r.scope, 0);
    assert_int_equal(pr_reservation_parse(wero, 22, &r), 0); /* what follows is obsolete */
    for (size_t n = 0; n < 22; n++)
        assert_int_equal(pr_reservation_parse(wero, n, &r), -EINVAL);
}

/* Two descriptors: a holder with a port's name, and a stranger of another protocol. */
static size_t
status_make(uint8_t *buf, size_t size)
{
    struct pr_registrant a = {.key = 5,
                              .holder = true,
                              .type = SCSI_PR_WRITE_EXCLUSIVE_RO,
                              .target_port = 1,
                              .protocol = PR_PROTOCOL_ISCSI,
                              .port = NAME};
    int n = pr_status_build(buf + 8, size - 8, &a);
    size_t len = 8;

    assert_int_equal(n, 24 + 4 + 40);
    len += (size_t)n;
    memset(buf + len, 0, 48);
    buf[len + 7] = 6;     /* the key */
    buf[len + 12] = 0x02; /* all target ports */
    buf[len + 13] = 0x05; /* no holder: means nothing */
    buf[len + 23] = 24;   /* a TransportID of SAS */
    buf[len + 24] = 0x06;
    len += 48;
    memcpy(buf, "\0\0\0\x03\0\0\0", 7);
    buf[7] = (uint8_t)(len - 8);
    return len;
}

static void
test_full_status(void **state)
{
    uint8_t buf[256];
    size_t len = status_make(buf, sizeof(buf)), at = 8;
    struct pr_registrant r;
    struct pr_head h;

    (void)state;
    assert_int_equal(pr_status_head(buf, len, &h), 0);
    assert_int_equal(h.generation, 3);
    assert_int_equal(h.total, len);
    assert_int_equal(buf[8 + 24], 0x45); /* format 01b, iSCSI */
    assert_true(pr_status_next(buf, len, &at, &r));
    assert_int_equal(r.key, 5);
    assert_true(r.holder && !r.all_ports);
    assert_int_equal(r.type, SCSI_PR_WRITE_EXCLUSIVE_RO);
    assert_int_equal(r.target_port, 1);
    assert_string_equal(r.port, NAME);
    assert_true(pr_status_next(buf, len, &at, &r));
    assert_int_equal(r.key, 6);
    assert_true(!r.holder && r.all_ports);
    assert_int_equal(r.type, 0);
    assert_int_equal(r.protocol, 6);
    assert_string_equal(r.port, "");
    assert_false(pr_status_next(buf, len, &at, &r));
    assert_int_equal(at, len);
}

static void
test_full_status_cut_and_lying(void **state)
{
    uint8_t buf[256];
    size_t len = status_make(buf, sizeof(buf)), at;
    struct pr_registrant r;
    uint8_t one[24 + 4 + 40];

    (void)state;
    for (size_t n = 0; n < len; n++) {
        at = 8;
        assert_int_equal(pr_status_next(buf, n, &at, &r), n >= 8 + sizeof(one));
    }
    memcpy(one, buf + 8, sizeof(one));
    buf[8 + 20] = 0xff; /* a TransportID of 4 GiB */
    at = 8;
    assert_false(pr_status_next(buf, len, &at, &r));
    memcpy(buf + 8, one, sizeof(one));
    buf[8 + 24 + 2] = 0xff; /* a name longer than its TransportID */
    at = 8;
    assert_true(pr_status_next(buf, len, &at, &r));
    assert_string_equal(r.port, NAME);
    buf[8 + 23] = 2; /* a TransportID that is not one; what follows it is not understood */
    at = 8;
    assert_true(pr_status_next(buf, len, &at, &r));
    assert_string_equal(r.port, "");
    at = len + 1;
    assert_false(pr_status_next(buf, len, &at, &r));
    r = (struct pr_registrant){.port = NAME};
    assert_int_equal(pr_status_build(one, sizeof(one) - 1, &r), -ENOBUFS);
}

int
main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_list),        cmocka_unit_test(test_types),
        cmocka_unit_test(test_keys),        cmocka_unit_test(test_reservation),
        cmocka_unit_test(test_full_status), cmocka_unit_test(test_full_status_cut_and_lying),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
